// SPDX-License-Identifier: MIT
/*
 * One round: publish all, wait, read all, the same for every contender.
 *
 * Three kinds of process: the waiter, which a launcher would be; the publishers,
 * which it forks and which then wait at a barrier; and the starter, which opens the
 * barrier once the waiter sleeps.  Each round has a waiter of its own, so that no
 * round inherits anything from the one before.
 *
 * Called by main.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "mark.h"

/* A waiter that does not notice: so long after everybody has published. */
#define NOT_NOTICED_MS	2000

/* What the processes of a round share.  Futexes but for the last few. */
struct barrier {
	uint32_t ready;		/* publishers that wait for go */
	uint32_t go;
	uint32_t finish;
	uint32_t waiting;	/* the waiter is about to wait */
	int64_t published_ns;	/* when the last of them began to */
	struct round result;
};

static struct barrier *barrier;

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

static void answer_make(unsigned int i, bool failed, struct answer *answer)
{
	unsigned int k;

	memset(answer, 0, sizeof(*answer));
	answer->state = failed ? FAILED : SUCCESS;
	if (failed) {
		answer->code = 1000 + i;
		return;
	}
	answer->device_ctx = 0xc0de0000 + i;
	answer->window_base = UINT64_C(0xb000) * i;
	answer->window_size = 4096 + i;
	for (k = 0; k < BENCH_WORDS; k++)
		answer->words[k] = (uint64_t)i << 32 | k;
}

/* Which publisher is process @p's first; p == processes is one behind the last. */
static unsigned int share(const struct round *round, unsigned int p)
{
	unsigned int processes = round->n < BENCH_PROCESSES ? round->n :
							      BENCH_PROCESSES;

	return (uint64_t)round->n * p / processes;
}

static unsigned int processes_of(const struct round *round)
{
	return round->n < BENCH_PROCESSES ? round->n : BENCH_PROCESSES;
}

/* The channel that fails, or whose process dies: the last one of a middle process. */
static unsigned int victim_of(const struct round *round)
{
	return share(round, processes_of(round) / 2 + 1) - 1;
}

/* Run on one processor, or on any. */
static void run_on(const int *cpu)
{
	cpu_set_t set;

	memset(&set, cpu ? 0 : 0xff, sizeof(set));
	if (cpu)
		CPU_SET(*cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		bench_die("sched_setaffinity");
}

static const int waiter_cpu, publisher_cpu = 1;

static void wait_until_set(uint32_t *word)
{
	while (!__atomic_load_n(word, __ATOMIC_ACQUIRE))
		bench_futex_wait(word, 0, -1);
}

static void set_and_wake(uint32_t *word)
{
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	bench_futex_wake(word, INT_MAX);
}

/*
 * All that the process has mapped is there, as it is in one that has run for a while:
 * else what is counted is mostly how many pages of the program a step is the first to
 * touch, which depends on where the linker put it.
 */
static void touch_all(void)
{
	if (mlockall(MCL_CURRENT) < 0 || munlockall() < 0)
		bench_die("mlockall");
}

static void publisher(const struct round *round, void *self, unsigned int p)
{
	const struct contender *c = round->contender;
	unsigned int first = share(round, p), end = share(round, p + 1);
	unsigned int victim = victim_of(round);
	struct answer answer;
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run_on(round->pinned ? &publisher_cpu : NULL);
	if (c->in_child)
		c->in_child(self, first, end - first);
	touch_all();
	if (__atomic_add_fetch(&barrier->ready, 1, __ATOMIC_ACQ_REL) ==
	    processes_of(round))
		bench_futex_wake(&barrier->ready, 1);
	wait_until_set(&barrier->go);
	for (i = first; i < end; i++) {
		answer_make(i, round->variant == ONE_FAILS && i == victim,
			    &answer);
		if (round->timed)
			barrier->published_ns = bench_now_ns();
		MARK(MARK_PUBLISH);
		if (round->variant == ONE_DIES && i == victim)
			kill(getpid(), SIGKILL);
		c->publish(self, i, &answer);
	}
	MARK(MARK_DONE);
	wait_until_set(&barrier->finish);
	_exit(0);
}

/* One field, by its number, of a file with a line of them. */
static void proc_field(pid_t pid, const char *file, int field, char *text,
		       size_t size)
{
	char path[64], line[512] = "";
	char *at = line;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		bench_die(path);
	close(fd);
	while (--field && (at = strchr(at, ' ')))
		at++;
	snprintf(text, size, "%s", at ? at : "");
}

/* Processor time that the process has had, of which its clock tells to the ns. */
static int64_t cpu_ns(pid_t pid)
{
	char text[32];

	proc_field(pid, "schedstat", 1, text, sizeof(text));
	return strtoll(text, NULL, 10);
}

static void sleep_ms(unsigned int ms)
{
	const struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/* Until the waiter sleeps in wait(); one that never sleeps has begun at least. */
static void until_asleep(pid_t waiter)
{
	char state[4];
	int tries;

	while (!__atomic_load_n(&barrier->waiting, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	for (tries = 0; tries < 20; tries++) {
		sleep_ms(1);
		proc_field(waiter, "stat", 3, state, sizeof(state));
		if (state[0] == 'S')
			break;
	}
}

/* Nobody else runs on this processor until the process sleeps. */
static void before_others(bool yes)
{
	const struct sched_param param = { .sched_priority = yes };

	if (sched_setscheduler(0, yes ? SCHED_FIFO | SCHED_RESET_ON_FORK :
				  SCHED_OTHER, &param) < 0)
		bench_die("sched_setscheduler");
}

/*
 * Let others do now what would be counted later: what the kernel has put off in the
 * round before or in this one's forks, the first steps of processes just forked, which
 * another processor would run beside, and the timer's interrupt, of which the next is
 * some million instructions away.
 */
static void settle(const struct round *round)
{
	struct timespec before, now;

	if (!round->still)
		return;
	sleep_ms(20);
	/* This clock is as old as the last interrupt. */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &before);
	do {
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	} while (now.tv_nsec == before.tv_nsec);
}

static void starter(const struct round *round, pid_t waiter)
{
	uint32_t ready;
	int64_t before;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run_on(round->pinned ? &publisher_cpu : NULL);
	while ((ready = __atomic_load_n(&barrier->ready, __ATOMIC_ACQUIRE)) <
	       processes_of(round))
		bench_futex_wait(&barrier->ready, ready, -1);
	until_asleep(waiter);
	/* It sleeps again before a publisher runs. */
	if (round->still)
		before_others(true);
	settle(round);
	if (round->coming_up_ms) {
		/* What going to sleep costs is over. */
		sleep_ms(100);
		before = cpu_ns(waiter);
		sleep_ms(round->coming_up_ms);
		barrier->result.idle_cpu_ns = cpu_ns(waiter) - before;
	}
	if (round->profile)
		MARK(MARK_PROFILE);
	MARK(MARK_GO);
	set_and_wake(&barrier->go);
	/* Its end is not to be among what the round takes. */
	if (round->still)
		wait_until_set(&barrier->finish);
	_exit(0);
}

static void verify(const struct round *round, void *self)
{
	unsigned int victim = victim_of(round);
	unsigned int dead_end = share(round, processes_of(round) / 2 + 1);
	struct answer got, wanted;
	unsigned int i;

	for (i = 0; i < round->n; i++) {
		bool failed = round->variant == ONE_FAILS && i == victim;
		bool dead = round->variant == ONE_DIES && i >= victim &&
			    i < dead_end;

		round->contender->read(self, i, &got);
		if (dead) {
			if (got.state == (barrier->result.noticed ? DIED : PENDING))
				continue;
		} else if (failed) {
			if (got.state == FAILED && got.code == (int)(1000 + i))
				continue;
		} else {
			answer_make(i, false, &wanted);
			if (got.state == SUCCESS &&
			    got.device_ctx == wanted.device_ctx &&
			    got.window_base == wanted.window_base &&
			    got.window_size == wanted.window_size &&
			    !memcmp(got.words, wanted.words, sizeof(got.words)))
				continue;
		}
		fprintf(stderr, "%s: %s: channel %u of %u: wrong answer (state %u)\n",
			bench_program, round->contender->name, i, round->n,
			got.state);
		exit(1);
	}
}

static pid_t fork_or_die(void)
{
	pid_t pid = fork();

	if (pid < 0)
		bench_die("fork");
	return pid;
}

/*
 * Before and after the round itself the waiter is not to be preempted, on a processor
 * that it shares with all it forks: what the publishers do to get ready would be
 * counted as the waiter's.
 */
static void undisturbed(const struct round *round, bool yes)
{
	run_on(yes || round->pinned ? &waiter_cpu : NULL);
	before_others(yes);
}

static void *set_up(const struct round *round)
{
	const struct contender *c = round->contender;
	unsigned int p, first, count;
	void *self;
	pid_t pid;

	MARK(MARK_CREATE);
	self = c->create(round->n);
	MARK(MARK_CREATE + 1);
	MARK(MARK_MAP);
	if (c->map)
		c->map(self);
	MARK(MARK_MAP + 1);
	for (p = 0; p < processes_of(round); p++) {
		first = share(round, p);
		count = share(round, p + 1) - first;
		MARK(MARK_CLAIM);
		if (c->claim)
			c->claim(self, first, count);
		MARK(MARK_CLAIM + 1);
		MARK(MARK_FORK);
		pid = fork_or_die();
		if (!pid)
			publisher(round, self, p);
		MARK(MARK_FORK + 1);
		MARK(MARK_BIND);
		if (c->bind)
			c->bind(self, first, count, pid);
		MARK(MARK_BIND + 1);
	}
	return self;
}

static void wait_for_all(const struct round *round, void *self)
{
	const struct contender *c = round->contender;
	struct round *result = &barrier->result;
	struct rusage before, after;
	uint64_t woken_ns = 0;

	touch_all();
	getrusage(RUSAGE_SELF, &before);
	__atomic_store_n(&barrier->waiting, 1, __ATOMIC_RELEASE);
	result->noticed = c->wait(self, round->variant == ONE_DIES ?
					NOT_NOTICED_MS : -1);
	MARK(MARK_WOKEN);
	if (round->timed)
		woken_ns = bench_now_ns();
	verify(round, self);
	MARK(MARK_READ);
	if (round->profile)
		MARK(MARK_PROFILED);
	getrusage(RUSAGE_SELF, &after);
	result->switches = after.ru_nvcsw - before.ru_nvcsw;
	result->preemptions = after.ru_nivcsw - before.ru_nivcsw;
	result->late_ns = woken_ns - barrier->published_ns;
}

static void waiter(const struct round *round)
{
	const struct contender *c = round->contender;
	pid_t self_pid = getpid();
	void *self;

	/* Before there is anything that it could hold a copy of. */
	if (!fork_or_die())
		starter(round, self_pid);
	undisturbed(round, true);
	settle(round);
	self = set_up(round);
	undisturbed(round, false);
	wait_for_all(round, self);
	undisturbed(round, true);
	MARK(MARK_EXIT);
	set_and_wake(&barrier->finish);
	while (wait(NULL) > 0)
		;
	MARK(MARK_EXIT + 1);
	MARK(MARK_DESTROY);
	if (c->destroy)
		c->destroy(self);
	MARK(MARK_DESTROY + 1);
}

void round_run(struct round *round)
{
	int status;
	pid_t pid;

	barrier = mmap(NULL, sizeof(*barrier), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (barrier == MAP_FAILED)
		bench_die("mmap");
	barrier->result = *round;
	MARK(MARK_RUN);
	pid = fork_or_die();
	if (!pid) {
		waiter(round);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0 || status) {
		fprintf(stderr, "%s: %s, %u channels: the round failed\n",
			bench_program, round->contender->name, round->n);
		exit(1);
	}
	*round = barrier->result;
	munmap(barrier, sizeof(*barrier));
}
