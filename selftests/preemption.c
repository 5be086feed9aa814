// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * A reader that takes the processor away from the kernel's writing never finds the
 * page half written: it would wait for ever for one that it keeps from running.  A
 * spinlock disables preemption only where the kernel is not PREEMPT_RT; the module
 * does so itself.
 *
 * The reader runs at real-time priority on the writer's processor.  It sleeps for a
 * moment, another each time, wakes while the writer is somewhere on its way, and
 * looks at seq once.  How long a moment must be, so that the writer gets anywhere
 * at all, depends on the machine: it grows while the writer does not, and shrinks
 * while it does.
 */
#include "process_test.h"

#include <sched.h>

/* Looks that came after another writing than the one before. */
#define ENOUGH		5000
#define SHORTEST_NS	10000u
#define LONGEST_NS	50000000u
/* Loads of seq in a row that must not all be odd: longer than any writing takes. */
#define PATIENCE	200000

struct reader {
	const struct chipboot_page *page;
	unsigned int stop;
	unsigned int looks;	/* wake-ups that looked */
	unsigned int moved;	/* of these, saw another seq than the time before */
	unsigned int odd;	/* found the page half written */
};

static __u32 load_seq(const struct chipboot_page *page)
{
	return __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);
}

/* Has the writer come any further since the last time? */
static bool look(struct reader *r)
{
	static __u32 last;
	unsigned int i;
	__u32 seq = load_seq(r->page);
	bool moved = seq != last;

	last = seq;
	for (i = 0; load_seq(r->page) & 1; i++) {
		if (i == PATIENCE) {
			r->odd++;
			break;
		}
	}
	r->looks++;
	__atomic_store_n(&r->moved, r->moved + moved, __ATOMIC_RELAXED);
	return moved;
}

static void reader_main(struct reader *r)
{
	struct sched_param param = { .sched_priority = 50 };
	struct timespec ts = { .tv_sec = 0 };
	unsigned int random = 12345, pause = SHORTEST_NS;

	if (cb_pin(0) || sched_setscheduler(0, SCHED_FIFO, &param)) {
		__atomic_store_n(&r->moved, ENOUGH, __ATOMIC_RELAXED);
		_exit(100);
	}
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		random = random * 1103515245 + 12345;
		ts.tv_nsec = pause + (random >> 8) % pause;
		nanosleep(&ts, NULL);
		if (look(r))
			pause -= pause > SHORTEST_NS ? pause / 16 : 0;
		else if (pause < LONGEST_NS)
			pause += pause / 4;
	}
	_exit(0);
}

TEST(reader_on_the_writers_processor)
{
	struct reader *r = cb_shared(sizeof(*r));
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct cb_session s;
	struct pt_kid kid;
	unsigned int i;
	pid_t pid;
	int pub;

	ASSERT_EQ(0, cb_session_open(&s, 1)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	r->page = cb_page(&s, 0);
	ASSERT_EQ(0, cb_pin(0));
	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid)
		reader_main(r);
	memset(text, 'x', sizeof(text) - 1);
	for (i = 0; __atomic_load_n(&r->moved, __ATOMIC_RELAXED) < ENOUGH; i++) {
		/* the longest writing there is: a text, and its end zeroed */
		text[sizeof(text) - 1] = '\0';
		ASSERT_EQ(0, cb_progress(pub, 1, i % 2 ? text : "x"));
	}
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, cb_reap(pid));
	ksft_print_msg("%u writings, %u looks, %u after another, %u at a page half written\n",
		       i, r->looks, r->moved, r->odd);
	EXPECT_EQ(0, r->odd);
	close(pub);
	cb_session_close(&s);
}

TEST_HARNESS_MAIN
