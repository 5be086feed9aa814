// SPDX-License-Identifier: MIT
/*
 * Reading the session: which channels have changed, and what that means for their
 * chips.
 *
 * Called by run.c and children.c.
 */
#include <stdlib.h>
#include <string.h>

#include "run.h"

uint64_t host_now(const struct run *run)
{
	return now_ns() + run->host_offset_ns;
}

/* NULL for an empty text. */
static void keep(char **text, const char *from)
{
	free(*text);
	*text = *from ? strdup(from) : NULL;
}

static void learn(struct run *run, uint32_t i,
		  const struct chipboot_answer *answer)
{
	struct chip *chip = &run->chips[i];
	bool answered = chip->state == CHIPBOOT_STATE_IDLE;

	if (answer->state == CHIPBOOT_STATE_IDLE) {
		if (answer->message[0] && (!chip->doing ||
					   strcmp(chip->doing, answer->message) ||
					   chip->doing_ns != answer->updated_ns)) {
			keep(&chip->doing, answer->message);
			chip->doing_ns = answer->updated_ns;
			event_progress(run, i);
		}
		return;
	}
	if (answered) {
		chip->answered_ns = answer->updated_ns;
		keep(&chip->message, answer->message);
	}
	chip->state = answer->state;
	chip->error_code = answer->error_code;
	chip->order = answer->order;
	chip->origin = answer->origin;
	chip->flags = answer->flags;
	chip->wait_status = answer->wait_status;
	if (answered)
		event_answer(run, i, answer);
	/* An end with code 0 after the answer is the job's, not a loss. */
	if (answer->flags & CHIPBOOT_IS_GONE && answer->wait_status &&
	    !run->stopping && !chip->lost) {
		chip->lost = true;
		chip->lost_ns = answer->updated_ns;
		event_gone(run, i);
	}
}

struct change {
	uint64_t updated_ns;
	uint32_t order;
	uint32_t chip;
};

static int by_time(const void *a, const void *b)
{
	const struct change *x = a;
	const struct change *y = b;

	if (x->updated_ns != y->updated_ns)
		return x->updated_ns < y->updated_ns ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return 0;
}

/* The channels that have changed, in the order in which they did. */
static uint32_t find_changes(struct run *run, struct change *changes)
{
	uint32_t found = 0;
	uint32_t i;

	for (i = 0; i < run->channels; i++) {
		const struct chipboot_answer *page =
			chipboot_page(run->observer, i);

		if (__atomic_load_n(&page->seq, __ATOMIC_ACQUIRE) ==
		    run->chips[i].seq)
			continue;
		/* Only for the order: a torn value does no harm. */
		changes[found++] = (struct change) {
			.updated_ns = __atomic_load_n(&page->updated_ns,
						      __ATOMIC_RELAXED),
			.order = __atomic_load_n(&page->order,
						 __ATOMIC_RELAXED),
			.chip = i,
		};
	}
	qsort(changes, found, sizeof(*changes), by_time);
	return found;
}

/* To be called after acknowledging. */
static int look(struct run *run)
{
	struct change *changes = calloc(run->channels, sizeof(*changes));
	struct chipboot_answer answer;
	uint32_t found, i;
	int ret = 0;

	if (!changes)
		return -ENOMEM;
	found = find_changes(run, changes);
	for (i = 0; i < found && ret >= 0; i++) {
		ret = chipboot_read(run->observer, changes[i].chip, &answer);
		if (ret < 0)
			break;
		run->chips[changes[i].chip].seq = answer.seq;
		learn(run, changes[i].chip, &answer);
	}
	free(changes);
	if (ret < 0)
		return ret;
	if (found) {
		run->changed_ns = now_ns();
		screen_changed(run);
	}
	run->idle = 0;
	for (i = 0; i < run->channels; i++)
		run->idle += run->chips[i].state == CHIPBOOT_STATE_IDLE;
	run->first = first_failure(run);
	return 0;
}

void update(struct run *run)
{
	struct chipboot_info info;
	int ret = chipboot_observer_info(run->observer, CHIPBOOT_ACK, &info);

	if (!ret) {
		run->host_offset_ns = info.now_ns - now_ns();
		ret = look(run);
	}
	if (ret && !run->broken)
		break_off(run, ret);
}
