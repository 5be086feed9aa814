// SPDX-License-Identifier: MIT
/*
 * memfd + one counter of those who are pending: the last of them wakes the waiter.
 * The least that waiting for all can cost, and it notices nothing, an error neither.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"

struct by_counter {
	struct board board;
	uint32_t *left;		/* how many are pending */
	uint32_t *complete;	/* 1: none; the futex */
};

static void *create(unsigned int n)
{
	struct by_counter *by = malloc(sizeof(*by));

	if (!by)
		bench_die("malloc");
	board_create(&by->board, n);
	return by;
}

static void map(void *self)
{
	struct by_counter *by = self;

	board_map(&by->board);
	by->left = &by->board.extra[0];
	by->complete = &by->board.extra[1];
	*by->left = by->board.n;
}

static void publish(void *self, unsigned int i, const struct answer *answer)
{
	struct by_counter *by = self;

	board_publish(&by->board.slots[i], answer);
	if (__atomic_sub_fetch(by->left, 1, __ATOMIC_ACQ_REL))
		return;
	__atomic_store_n(by->complete, 1, __ATOMIC_RELEASE);
	bench_futex_wake(by->complete, 1);
}

static bool wait_for_all(void *self, int timeout_ms)
{
	struct by_counter *by = self;

	while (!__atomic_load_n(by->complete, __ATOMIC_ACQUIRE))
		if (bench_futex_wait(by->complete, 0, timeout_ms) < 0 &&
		    errno == ETIMEDOUT)
			return false;
	return true;
}

static void read_slot(void *self, unsigned int i, struct answer *answer)
{
	struct by_counter *by = self;

	board_read(&by->board, i, answer);
}

static void destroy(void *self)
{
	struct by_counter *by = self;

	board_destroy(&by->board);
	free(by);
}

const struct contender bench_counter = {
	.name = "memfd + one counter futex",
	.is = "the least a wait-all can cost",
	.death = "not noticed; it would take a thread that polls pidfds and counts for the dead",
	.create = create,
	.map = map,
	.publish = publish,
	.wait = wait_for_all,
	.read = read_slot,
	.destroy = destroy,
};
