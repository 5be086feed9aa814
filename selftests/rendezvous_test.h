/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How two sides on two processors meet in the same few microseconds, over and over:
 * a bell that starts both, and a delay that is led by who came first (rearm.c,
 * snapshot.c).
 */
#ifndef RENDEZVOUS_TEST_H
#define RENDEZVOUS_TEST_H

#include "chipboot_test.h"

#include <linux/futex.h>
#include <stdbool.h>

/* ---- the bell ------------------------------------------------------------ */

/* One rings, one waits; in memory that both share, threads or processes. */
struct bell {
	__u32 rung;
	__u32 sleeping;
};

static CB_MAYBE_UNUSED long bell_futex(__u32 *word, int op, __u32 val)
{
	return syscall(SYS_futex, word, op, val, NULL, NULL, 0);
}

/*
 * Return when the bell has rung for something else than @last.  A bounded spin, so
 * that both sides usually start hot, then sleep: where the two processors are not
 * really two, the other side needs the one we spin on.
 */
static CB_MAYBE_UNUSED __u32 bell_wait(struct bell *b, __u32 last)
{
	unsigned int i;
	__u32 now;

	for (i = 0; i < 3000; i++) {
		now = __atomic_load_n(&b->rung, __ATOMIC_ACQUIRE);
		if (now != last)
			return now;
	}
	for (;;) {
		__atomic_store_n(&b->sleeping, 1, __ATOMIC_SEQ_CST);
		now = __atomic_load_n(&b->rung, __ATOMIC_SEQ_CST);
		if (now != last)
			break;
		bell_futex(&b->rung, FUTEX_WAIT, last);
	}
	__atomic_store_n(&b->sleeping, 0, __ATOMIC_SEQ_CST);
	return now;
}

static CB_MAYBE_UNUSED void bell_ring(struct bell *b, __u32 value)
{
	__atomic_store_n(&b->rung, value, __ATOMIC_SEQ_CST);
	/* pairs with the store of sleeping, the load of rung after it */
	if (__atomic_load_n(&b->sleeping, __ATOMIC_SEQ_CST))
		bell_futex(&b->rung, FUTEX_WAKE, 1);
}

/* ---- the delay ----------------------------------------------------------- */

/* Turns of a loop that the compiler keeps. */
static CB_MAYBE_UNUSED void delay_spin(__s32 turns)
{
	while (turns-- > 0)
		__asm__ __volatile__("" ::: "memory");
}

/* how far a walk may go from "both at once", in turns of delay_spin() */
#define WALK_MAX	(1 << 20)

/*
 * How much later one side starts than the other; negative: the other.  It walks to
 * where either outcome is about as likely, which is where the two overlap, whatever
 * the speed of the machine.
 */
struct walk {
	__s32 at;
	__s32 step;
	__u32 same;
	bool late;
};

/* The delay for the next race: the walk's, and not every race is the same race. */
static CB_MAYBE_UNUSED __s32 walk_delay(const struct walk *w, __u32 random)
{
	const __s32 spread = w->step > 64 ? w->step : 64;

	return w->at + (__s32)(random % (2 * (__u32)spread + 1)) - spread;
}

/* The one who was delayed came @late: a little sooner; or else a little later. */
static CB_MAYBE_UNUSED void walk_learn(struct walk *w, bool late)
{
	if (!w->step)
		w->step = 64;
	/* the step grows while the outcome stays, shrinks when it turns */
	if (late == w->late) {
		if (++w->same % 8 == 0 && w->step < WALK_MAX / 16)
			w->step *= 2;
	} else {
		w->same = 0;
		if (w->step > 4)
			w->step /= 2;
	}
	w->late = late;
	w->at += late ? -w->step : w->step;
	if (w->at > WALK_MAX)
		w->at = WALK_MAX;
	if (w->at < -WALK_MAX)
		w->at = -WALK_MAX;
}

#endif /* RENDEZVOUS_TEST_H */
