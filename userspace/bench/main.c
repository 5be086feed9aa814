// SPDX-License-Identifier: MIT
/*
 * bench: the benchmark, in a throwaway machine.
 *
 *	bench STEP...
 *
 *	round=CONTENDER,N,VARIANT[,TIMES]	VARIANT: succeed, fail, die
 *	still=CONTENDER,N,VARIANT[,TIMES]	begun when nothing else is left to do
 *	profile=CONTENDER,N,VARIANT		a round, for selftests/vm/run --profile
 *	late=VARIANT,TIMES			N = 1, on two processors, all in turn
 *	coming-up=SECONDS			all at once
 *	reading=TIMES
 *	observing=N
 *	memory=CONTENDER,N	or "descriptors", that many
 *
 * Called by userspace/bench/run, which knows what a step is for, reads the lines that
 * go to standard output, fields separated by ';', and has the instruction counts from
 * the machine's counter.  The output of rounds is held back to the end: a serial port
 * takes instructions too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

const char bench_program[] = "bench";

/* Does nothing: what is left is the round's own, its barrier and its processes. */
static void *nothing_create(unsigned int n)
{
	static unsigned int channels;

	channels = n;
	return &channels;
}

static void nothing_publish(void *self, unsigned int i,
			    const struct answer *answer)
{
	(void)self;
	(void)i;
	(void)answer;
}

static bool nothing_wait(void *self, int timeout_ms)
{
	const struct timespec time = { .tv_nsec = 100000000 };

	(void)self;
	(void)timeout_ms;
	nanosleep(&time, NULL);
	return true;
}

static void nothing_read(void *self, unsigned int i, struct answer *answer)
{
	unsigned int k;

	(void)self;
	/* What verifying costs is everybody's: none of it is a contender's reading. */
	answer->state = SUCCESS;
	answer->device_ctx = 0xc0de0000 + i;
	answer->window_base = UINT64_C(0xb000) * i;
	answer->window_size = 4096 + i;
	for (k = 0; k < BENCH_WORDS; k++)
		answer->words[k] = (uint64_t)i << 32 | k;
}

const struct contender bench_nothing = {
	.name = "nothing",
	.is = "what every round costs",
	.create = nothing_create,
	.publish = nothing_publish,
	.wait = nothing_wait,
	.read = nothing_read,
};

const struct contender *const bench_contenders[] = {
	&bench_chipboot,
	&bench_chipboot_in_place,
	&bench_mailbox_spinning,
	&bench_mailbox_poll,
	&bench_futex,
	&bench_counter,
	&bench_eventfd,
	&bench_pipe,
	&bench_datagram,
	&bench_nothing,
	NULL,
};

void bench_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", bench_program, what, strerror(errno));
	exit(1);
}

static void usage(const char *step)
{
	fprintf(stderr, "%s: %s: not a step; userspace/bench/main.c has them\n",
		bench_program, step);
	exit(2);
}

const struct contender *bench_find(const char *name)
{
	const struct contender *const *c;

	for (c = bench_contenders; *c; c++)
		if (!strcmp((*c)->name, name))
			return *c;
	fprintf(stderr, "%s: no contender \"%s\"\n", bench_program, name);
	exit(2);
}

static const char *const variants[] = {
	[ALL_SUCCEED] = "succeed",
	[ONE_FAILS] = "fail",
	[ONE_DIES] = "die",
};

static enum variant find_variant(const char *name)
{
	unsigned int i;

	for (i = 0; i < sizeof(variants) / sizeof(*variants); i++)
		if (!strcmp(variants[i], name))
			return i;
	fprintf(stderr, "%s: no variant \"%s\"\n", bench_program, name);
	exit(2);
}

static FILE *held;	/* output that is held back */

static void say_round(const char *word, const struct round *round)
{
	fprintf(held, "%s;%s;%u;%s;%d;%ld;%ld;%lld;%lld\n", word,
		round->contender->name, round->n, variants[round->variant],
		round->noticed, round->switches, round->preemptions,
		(long long)round->late_ns, (long long)round->idle_cpu_ns);
}

/* "CONTENDER,N,VARIANT[,TIMES]": a contender's name may have commas itself. */
static void step_round(const char *word, char *step)
{
	char *fields[4] = { NULL };
	unsigned int times = 1;
	char *comma;
	int k = 3;

	/* From the end; with three fields behind the name, there are TIMES. */
	while (k > 0 && (comma = strrchr(step, ','))) {
		if (k == 3 && (comma[1] < '0' || comma[1] > '9'))
			k = 2;
		*comma = 0;
		fields[k--] = comma + 1;
	}
	if (k > 0)
		usage(step);
	if (fields[3])
		times = atoi(fields[3]);
	while (times--) {
		struct round round = {
			.contender = bench_find(step),
			.n = strtoul(fields[1], NULL, 10),
			.variant = find_variant(fields[2]),
			.still = !strcmp(word, "still"),
			.profile = !strcmp(word, "profile"),
		};

		if (!round.n)
			usage(step);
		round_run(&round);
		say_round(word, &round);
	}
}

static void step_late(char *step)
{
	char *comma = strchr(step, ',');
	const struct contender *const *c;
	unsigned int times;

	if (!comma)
		usage(step);
	*comma = 0;
	for (times = atoi(comma + 1); times; times--)
		for (c = bench_contenders; *c; c++) {
			struct round round = {
				.contender = *c,
				.n = 1,
				.variant = find_variant(step),
				.timed = true,
				.pinned = true,
			};

			if (*c == &bench_nothing ||
			    (round.variant == ONE_DIES && !(*c)->notices))
				continue;
			round_run(&round);
			say_round("late", &round);
		}
}

static void step_coming_up(const char *step)
{
	const struct contender *const *c;
	unsigned int count = 0;
	int status;

	fflush(held);
	for (c = bench_contenders; *c; c++) {
		struct round round = {
			.contender = *c,
			.n = 8,
			.coming_up_ms = atoi(step) * 1000,
		};
		pid_t pid;

		if (*c == &bench_nothing)
			continue;
		pid = fork();
		if (pid < 0)
			bench_die("fork");
		if (!pid) {
			round_run(&round);
			held = stdout;
			say_round("coming-up", &round);
			fflush(held);
			_exit(0);
		}
		count++;
	}
	while (count--)
		if (wait(&status) < 0 || status)
			exit(1);
}

static void step_reading(const char *times)
{
	reading_run(atoi(times));
	fprintf(held, "reading;%s\n", times);
}

static void step_observing(const char *n)
{
	observing_run(atoi(n));
	fprintf(held, "observing;%s\n", n);
}

static void step_memory(char *step)
{
	char *comma = strrchr(step, ',');

	if (!comma)
		usage(step);
	*comma = 0;
	memory_run(strcmp(step, bench_descriptors.name) ? bench_find(step) :
		   &bench_descriptors, strtoul(comma + 1, NULL, 10));
}

int main(int argc, char **argv)
{
	const struct rlimit files = { .rlim_cur = 16384, .rlim_max = 16384 };
	size_t size;
	char *text;
	int i;

	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		bench_die("setrlimit");
	held = open_memstream(&text, &size);
	if (!held)
		bench_die("open_memstream");
	for (i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			usage(argv[i]);
		*value++ = 0;
		if (!strcmp(argv[i], "round") || !strcmp(argv[i], "still") ||
		    !strcmp(argv[i], "profile"))
			step_round(argv[i], value);
		else if (!strcmp(argv[i], "late"))
			step_late(value);
		else if (!strcmp(argv[i], "coming-up"))
			step_coming_up(value);
		else if (!strcmp(argv[i], "reading"))
			step_reading(value);
		else if (!strcmp(argv[i], "observing"))
			step_observing(value);
		else if (!strcmp(argv[i], "memory"))
			step_memory(value);
		else
			usage(argv[i]);
	}
	fclose(held);
	fputs(text, stdout);
	return 0;
}
