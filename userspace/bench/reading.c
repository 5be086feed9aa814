// SPDX-License-Identifier: MIT
/*
 * What reading costs, between marks, while nobody writes: a state against an acquire
 * load, a snapshot against a memcpy, and one more observer with its mapping, as each
 * runtime process has one.
 *
 * Called by main.c; userspace/bench/run knows the loops by their order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chipboot.h>

#include "bench.h"
#include "mark.h"

/* The compiler neither drops @value nor knows it next time. */
#define USE(value)	({ __asm__ __volatile__("" : "+r"(value) : : "memory"); })

#define LOOP(...) do { \
	unsigned int turn; \
	MARK(MARK_LOOP); \
	for (turn = 0; turn < times; turn++) { \
		USE(turn); \
		__VA_ARGS__; \
	} \
	MARK(MARK_LOOP + 1); \
} while (0)

/* A function for each loop, so that none takes another's registers. */
#define APART	static __attribute__((noinline)) void

static struct chipboot_answer copy;

APART nothing(unsigned int times)
{
	LOOP();
}

APART load(const int32_t *state, unsigned int times)
{
	int value;

	LOOP(USE(state);
	     value = __atomic_load_n(state, __ATOMIC_ACQUIRE);
	     USE(value));
}

APART state_by_number(const struct chipboot_observer *all, unsigned int times)
{
	int value;

	LOOP(value = chipboot_state(all, turn & 1);
	     USE(value));
}

APART state_by_page(const struct chipboot_answer *page, unsigned int times)
{
	int value;

	LOOP(USE(page);
	     value = chipboot_page_state(page);
	     USE(value));
}

APART flat_copy(const struct chipboot_answer *page, unsigned int times)
{
	LOOP(USE(page);
	     memcpy(&copy, page, sizeof(copy));
	     __asm__ __volatile__("" : : "r"(&copy) : "memory"));
}

APART snapshot(const struct chipboot_observer *all, unsigned int times)
{
	int value;

	LOOP(USE(all);
	     value = chipboot_read(all, 0, &copy);
	     USE(value));
}

static void die(int ret)
{
	char why[256];

	if (ret >= 0)
		return;
	fprintf(stderr, "%s: %s\n", bench_program,
		chipboot_explain(ret, why, sizeof(why)));
	exit(1);
}

void reading_run(unsigned int times)
{
	const struct chipboot_answer *page;
	struct chipboot_publisher *publisher;
	struct chipboot_session *session;
	struct chipboot_observer *all;
	uint64_t words[BENCH_WORDS] = { 1, 2, 3 };

	die(chipboot_session_create(&session, 2));
	die(chipboot_session_claim(session, 0, &publisher));
	die(chipboot_publish_success(publisher, 1, 2, 3, words, BENCH_WORDS));
	all = chipboot_session_observer(session);
	page = chipboot_page(all, 0);

	MARK(MARK_RUN);
	nothing(times);
	load(&page->state, times);
	state_by_number(all, times);
	state_by_page(page, times);
	flat_copy(page, times);
	snapshot(all, times);
	if (copy.words[2] != 3)
		bench_die("a snapshot");

	chipboot_publisher_close(publisher);
	chipboot_session_close(session);
}

void observing_run(unsigned int n)
{
	struct chipboot_observer *peer;
	struct chipboot_session *session;

	die(chipboot_session_create(&session, n));
	MARK(MARK_RUN);
	MARK(MARK_OBSERVE);
	die(chipboot_session_observe(session, 0, &peer));
	MARK(MARK_OBSERVE + 1);
	chipboot_observer_close(peer);
	chipboot_session_close(session);
}
