// SPDX-License-Identifier: MIT
/*
 * Who has failed, and who first: what `chipboot run` decides by and reports.
 *
 * Called by run.c, report.c, events.c and screen.c.
 */
#include "run.h"

bool is_up(const struct run *run, const struct chip *chip)
{
	(void)run;
	return chip->state == CHIPBOOT_STATE_SUCCESS && !chip->lost;
}

bool timed_out(const struct run *run, const struct chip *chip)
{
	(void)run;
	return chip->state == CHIPBOOT_STATE_ERROR &&
	       chip->origin == CHIPBOOT_BY_DEADLINE;
}

bool failed(const struct run *run, const struct chip *chip)
{
	if (chip->lost)
		return run->keep_going || chip == &run->chips[run->first];
	return chip->state == CHIPBOOT_STATE_ERROR &&
	       chip->origin != CHIPBOOT_BY_OWNER &&
	       chip->origin != CHIPBOOT_BY_DEADLINE;
}

uint32_t count(const struct run *run,
	       bool (*counts)(const struct run *run, const struct chip *chip))
{
	uint32_t sum = 0;
	uint32_t i;

	for (i = 0; i < run->channels; i++)
		sum += counts(run, &run->chips[i]);
	return sum;
}

/* When @chip went wrong; UINT64_MAX: it has not. */
static uint64_t failure_ns(const struct chip *chip)
{
	if (chip->lost)
		return chip->lost_ns;
	if (chip->state == CHIPBOOT_STATE_ERROR &&
	    chip->origin != CHIPBOOT_BY_OWNER)
		return chip->answered_ns;
	return UINT64_MAX;
}

/* The same clock reading can serve several: then their order says. */
uint32_t first_failure(const struct run *run)
{
	uint64_t first_ns = UINT64_MAX;
	uint32_t first = run->channels;
	uint32_t i;

	for (i = 0; i < run->channels; i++) {
		const struct chip *chip = &run->chips[i];
		uint64_t ns = failure_ns(chip);

		if (ns < first_ns ||
		    (ns == first_ns && ns != UINT64_MAX &&
		     chip->order < run->chips[first].order)) {
			first_ns = ns;
			first = i;
		}
	}
	return first;
}

uint32_t first_failed(const struct run *run)
{
	const struct chip *first = NULL;
	uint32_t i;

	if (run->first < run->channels && failed(run, &run->chips[run->first]))
		return run->first;
	for (i = 0; i < run->channels; i++) {
		const struct chip *chip = &run->chips[i];

		if (failed(run, chip) &&
		    (!first || chip->order < first->order))
			first = chip;
	}
	return first ? first - run->chips : run->channels;
}

int exit_code(const struct run *run)
{
	uint32_t bad = count(run, failed);

	if (run->broken)
		return EXIT_MISUSE;
	if (run->signal)
		return 128 + run->signal;
	if (count(run, timed_out))
		return EXIT_TIMED_OUT;
	return bad > EXIT_FAILED_MAX ? EXIT_FAILED_MAX : bad;
}
