// SPDX-License-Identifier: MIT
/*
 * What `chipboot run` says: that all are up, or who failed first and why, and the
 * table of every answer.
 *
 * Called by run.c.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "run.h"

static bool is_up(const struct run *run, const struct chip *chip)
{
	(void)run;
	return chip->state == CHIPBOOT_STATE_SUCCESS;
}

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / 1e9 : 0;
}

/* "[3,5]" */
static void print_chips(const struct run *run,
			bool (*counts)(const struct run *run,
				       const struct chip *chip))
{
	const char *separator = "";
	uint32_t i;

	fputc('[', stderr);
	for (i = 0; i < run->channels; i++)
		if (counts(run, &run->chips[i])) {
			fprintf(stderr, "%s%u", separator, i);
			separator = ",";
		}
	fputc(']', stderr);
}

static void print_untrusted(const char *text)
{
	char *harmless = escape(text ? text : "");

	fputs(harmless ? harmless : "(no memory)", stderr);
	free(harmless);
}

static void print_status(uint16_t status)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "killed by signal %d%s", WTERMSIG(status),
			WCOREDUMP(status) ? " (core dumped)" : "");
	else
		fprintf(stderr, "exited with code %d", WEXITSTATUS(status));
}

/* "chip 3 after 1.204 s, error 42: device not found" */
static void print_failure(const struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];

	if (chip->lost) {
		fprintf(stderr, "chip %u gone after %.3f s, ", i,
			seconds(run->start_ns, chip->lost_ns));
		print_status(chip->wait_status);
		return;
	}
	fprintf(stderr, "chip %u after %.3f s, ", i,
		seconds(run->start_ns, chip->answered_ns));
	if (chip->origin == CHIPBOOT_BY_PUBLISHER)
		fprintf(stderr, "error %d%s", chip->error_code,
			chip->message && *chip->message ? ": " : "");
	print_untrusted(chip->message);
	if (chip->flags & CHIPBOOT_OOM_KILLED)
		fputs(" (out of memory)", stderr);
}

/*
 * Is the last progress we read the one the verdict speaks of?  One that came just
 * before the deadline may have been overwritten before we looked.
 */
static bool knows_progress(const struct chip *chip)
{
	size_t doing, message;

	if (!chip->doing || !chip->message)
		return false;
	if (chip->flags & CHIPBOOT_WAS_CUT)
		return true;
	doing = strlen(chip->doing);
	message = strlen(chip->message);
	return message >= doing &&
	       !strcmp(chip->message + message - doing, chip->doing);
}

/* "chip 2: comm_init since 2.9 s" */
static void print_pending(const struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];

	fprintf(stderr, "chip %u: ", i);
	if (knows_progress(chip)) {
		print_untrusted(chip->doing);
		fprintf(stderr, " since %.1f s",
			seconds(chip->doing_ns, chip->answered_ns));
	} else if (chip->message && strchr(chip->message, ';')) {
		print_untrusted(chip->message);
	} else {
		fputs("no progress reported", stderr);
	}
}

static void print_table(const struct run *run)
{
	struct table *table = table_new(stderr);
	uint32_t i;
	int ret = 0;

	if (!table) {
		complain("no memory for the table");
		return;
	}
	for (i = 0; i < run->channels && !ret; i++) {
		const struct chip *chip = &run->chips[i];
		struct row row = {
			.chip = i,
			.state = chip->lost ? "gone" :
				 chipboot_state_name(chip->state),
			.code = chip->error_code,
			.has_code = chip->state == CHIPBOOT_STATE_ERROR,
			.origin = chipboot_origin_name(chip->origin),
			.after_ns = chip->answered_ns - run->start_ns,
			.has_time = chip->answered_ns >= run->start_ns,
			.message = chip->message ? chip->message : "",
		};

		ret = table_add(table, &row);
	}
	if (ret)
		complain("no memory for the table");
	else
		table_print(table);
	table_free(table);
}

/* When the last one answered. */
static uint64_t last_answer(const struct run *run)
{
	uint64_t last = run->start_ns;
	uint32_t i;

	for (i = 0; i < run->channels; i++)
		if (run->chips[i].answered_ns > last)
			last = run->chips[i].answered_ns;
	return last;
}

void report_up(const struct run *run)
{
	print_table(run);
	fprintf(stderr, "%u of %u chips up in %.3f s\n",
		count(run, is_up), run->channels,
		seconds(run->start_ns, last_answer(run)));
}

void report_trouble(const struct run *run, uint32_t i)
{
	print_failure(run, i);
	fputs(run->keep_going ? "\n" : "; stopping the others\n", stderr);
}

static void report_timeout(const struct run *run)
{
	uint32_t i;

	fprintf(stderr, "timed out after %.9g s: chips ",
		run->timeout_ns / 1e9);
	print_chips(run, timed_out);
	fputs(" pending", stderr);
	for (i = 0; i < run->channels; i++)
		if (timed_out(run, &run->chips[i])) {
			fputs("; ", stderr);
			print_pending(run, i);
		}
}

/* With a time-out as well, the first of the others. */
static uint32_t first_failed(const struct run *run)
{
	const struct chip *first = NULL;
	uint32_t i;

	if (failed(run, &run->chips[run->first]))
		return run->first;
	for (i = 0; i < run->channels; i++) {
		const struct chip *chip = &run->chips[i];

		if (failed(run, chip) &&
		    (!first || chip->order < first->order))
			first = chip;
	}
	return first - run->chips;
}

static void report_failed(const struct run *run, uint32_t number)
{
	fprintf(stderr, "%u of %u chips failed: ", number, run->channels);
	print_chips(run, failed);
	fputs("; first: ", stderr);
	print_failure(run, first_failed(run));
}

void report_end(const struct run *run)
{
	uint32_t late = count(run, timed_out);
	uint32_t bad = count(run, failed);

	if (!late && !bad && !run->signal)
		return;
	if (!run->announced)
		print_table(run);
	if (run->signal) {
		fprintf(stderr, "stopped by signal %d (%s): %u of %u chips were up",
			run->signal, strsignal(run->signal),
			count(run, is_up), run->channels);
		if (late || bad)
			fputs("; ", stderr);
	}
	if (late)
		report_timeout(run);
	if (late && bad)
		fputs("; ", stderr);
	if (bad)
		report_failed(run, bad);
	fputc('\n', stderr);
}
