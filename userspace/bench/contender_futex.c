// SPDX-License-Identifier: MIT
/*
 * memfd + a futex for each channel: the state word is what the waiter sleeps on, on
 * up to 128 of them at once by FUTEX_WAITV, where the kernel has it.
 *
 * A wake-up is one system call for each publisher, needed or not: a flag "somebody
 * sleeps on this one" would have to be set in each word before each sleep.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* Linux 5.16; the number is the same everywhere. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv	449
#endif
#define WAITV_MAX	128

/* As <linux/futex.h> has it since 5.16. */
struct waitv {
	uint64_t value;
	uint64_t address;
	uint32_t flags;
	uint32_t reserved;
};

#define WAITV_32	2

struct by_futex {
	struct board board;
	bool one_by_one;	/* no FUTEX_WAITV */
	unsigned int pending_count;
	unsigned int pending[];	/* channels, in the order of their numbers */
};

static void *create(unsigned int n)
{
	struct by_futex *by = malloc(sizeof(*by) + n * sizeof(*by->pending));

	if (!by)
		bench_die("malloc");
	board_create(&by->board, n);
	/* A kernel that has it says of no futexes that this is not a number. */
	by->one_by_one = syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 &&
			 errno != EINVAL;
	for (by->pending_count = 0; by->pending_count < n; by->pending_count++)
		by->pending[by->pending_count] = by->pending_count;
	return by;
}

static void map(void *self)
{
	struct by_futex *by = self;

	board_map(&by->board);
}

static void publish(void *self, unsigned int i, const struct answer *answer)
{
	struct by_futex *by = self;
	struct slot *slot = &by->board.slots[i];

	board_publish(slot, answer);
	bench_futex_wake(&slot->state, 1);
}

static void forget_answered(struct by_futex *by)
{
	unsigned int i, left = 0;

	for (i = 0; i < by->pending_count; i++)
		if (board_state(&by->board.slots[by->pending[i]]) == PENDING)
			by->pending[left++] = by->pending[i];
	by->pending_count = left;
}

/* False: time is up. */
static bool sleep_on(struct by_futex *by, const struct timespec *until)
{
	struct waitv waiters[WAITV_MAX];
	unsigned int i;
	long ret;

	for (i = 0; i < by->pending_count && i < WAITV_MAX; i++)
		waiters[i] = (struct waitv) {
			.value = PENDING,
			.address = (uintptr_t)
				&by->board.slots[by->pending[i]].state,
			.flags = WAITV_32,
		};
	if (by->one_by_one)
		ret = syscall(SYS_futex, (void *)(uintptr_t)waiters[0].address,
			      FUTEX_WAIT_BITSET, PENDING, until, NULL,
			      FUTEX_BITSET_MATCH_ANY);
	else
		ret = syscall(SYS_futex_waitv, waiters, i, 0, until,
			      CLOCK_MONOTONIC);
	return ret >= 0 || errno != ETIMEDOUT;
}

static bool wait_for_all(void *self, int timeout_ms)
{
	uint64_t ns = bench_now_ns() + timeout_ms * UINT64_C(1000000);
	struct timespec until = {
		.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000,
	};
	struct by_futex *by = self;

	for (;;) {
		forget_answered(by);
		if (!by->pending_count)
			return true;
		if (!sleep_on(by, timeout_ms < 0 ? NULL : &until))
			return false;
	}
}

static void read_slot(void *self, unsigned int i, struct answer *answer)
{
	struct by_futex *by = self;

	board_read(&by->board, i, answer);
}

static void destroy(void *self)
{
	struct by_futex *by = self;

	board_destroy(&by->board);
	free(by);
}

const struct contender bench_futex = {
	.name = "memfd + futex per channel",
	.is = "careful hand work",
	.death = "not noticed; it would take a thread that polls pidfds, or robust futexes",
	.create = create,
	.map = map,
	.publish = publish,
	.wait = wait_for_all,
	.read = read_slot,
	.destroy = destroy,
};
