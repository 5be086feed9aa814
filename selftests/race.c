// SPDX-License-Identifier: GPL-2.0-only
/*
 * No wake-up is lost: a publisher on one processor answers while, on another, a
 * waiter is on its way into poll().
 *
 * One session of one channel, RESET with KEEP_PUBLISHERS for each race.  Both
 * sides start from one shared word and each spins for a while before its system
 * call; the difference of the two delays is led by the outcome: the poll slept,
 * so publish a little sooner; it did not, so publish a little later.  This walk
 * stays where both outcomes are about as likely, which is where the two system
 * calls overlap, whatever the speed of the machine.
 *
 * The window in which a careless poll() would lose a wake-up is a few instructions
 * long, and a publisher's whole critical section must fall into it.  So both are
 * interrupted all the time, by a sampling clock of perf: what stops a waiter
 * between two instructions makes the window as long as the interrupt.
 *
 * "Slept": the waiter's voluntary context switches grew from just before poll()
 * to just after.  A poll that finds the event holding does not switch
 * voluntarily; one that goes to sleep does, exactly once.
 *
 * "Lost": the answer was there and nobody woke the waiter; its time-out of a minute
 * did.  It need not show as a time-out: poll() looks once more when its time is
 * up, and says that the event holds.  So the page's own time stamp decides: the
 * wait lasted its full minute, though the answer is older than half of one.  A
 * time-out alone is not it: on a busy machine the publisher may not have had its
 * processor yet.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */
/* alone: two processors that really race */

#include "chipboot_test.h"

#include <linux/futex.h>
#include <linux/perf_event.h>

#define LOST_MS		(60 * 1000)
#define LOST_NS		(LOST_MS * 1000000ull)
/* how far the walk may go from "both at once", in turns of spin() */
#define DELAY_MAX	(1 << 20)

struct rendezvous {
	__u32 round;		/* the waiter's: start race number so and so */
	__u32 sleeping;		/* the publisher sleeps in futex() for @round */
	__s32 delay;		/* the publisher's, for this round */
	__u32 stop;
	int publish_error;
	__u32 error_round;
};

/* Turns of a loop that the compiler keeps. */
static void spin(__s32 turns)
{
	while (turns-- > 0)
		__asm__ volatile("" : : : "memory");
}

/*
 * Interrupt the caller every so many nanoseconds that it runs.  Nobody reads the
 * samples.  Closed with the process.
 */
static int interrupt_me(__u64 ns)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = ns,
	};

	return cb_errno((int)syscall(SYS_perf_event_open, &attr, 0, -1, -1,
				     PERF_FLAG_FD_CLOEXEC));
}

static long futex(__u32 *word, int op, __u32 val)
{
	return syscall(SYS_futex, word, op, val, NULL, NULL, 0);
}

/*
 * Wait for the next round: a bounded spin, so that both sides usually start hot,
 * then sleep: where the two processors are not really two, the other side needs
 * the one we spin on.
 */
static void await_round(struct rendezvous *r, __u32 last)
{
	unsigned int i;

	for (i = 0; i < 3000; i++) {
		if (__atomic_load_n(&r->round, __ATOMIC_ACQUIRE) != last)
			return;
	}
	while (__atomic_load_n(&r->round, __ATOMIC_SEQ_CST) == last) {
		__atomic_store_n(&r->sleeping, 1, __ATOMIC_SEQ_CST);
		futex(&r->round, FUTEX_WAIT, last);
		__atomic_store_n(&r->sleeping, 0, __ATOMIC_SEQ_CST);
	}
}

static void start_round(struct rendezvous *r, __u32 round)
{
	__atomic_store_n(&r->round, round, __ATOMIC_SEQ_CST);
	/* pairs with the store of sleeping, the load of round after it */
	if (__atomic_load_n(&r->sleeping, __ATOMIC_SEQ_CST))
		futex(&r->round, FUTEX_WAKE, 1);
}

static void publisher_main(struct rendezvous *r, int pub)
{
	struct chipboot_publish p = { .state = CHIPBOOT_SUCCESS };
	__u32 round = 0;
	int ret;

	for (;;) {
		await_round(r, round);
		round = r->round;
		if (__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE))
			return;
		/* generation 1 is round 1 */
		p.generation = round;
		p.device_ctx = (__u64)round << 32 | round;
		spin(r->delay);
		ret = cb_publish(pub, &p);
		if (ret) {
			r->error_round = round;
			__atomic_store_n(&r->publish_error, ret,
					 __ATOMIC_RELEASE);
			return;
		}
	}
}

enum waiter { BY_POLL, BY_EPOLL };

FIXTURE(race) {
	struct cb_session s;
	struct rendezvous *r;
	int pub;
	pid_t publisher;
};

FIXTURE_VARIANT(race) {
	enum waiter waiter;
	__u32 rounds;
};

FIXTURE_VARIANT_ADD(race, poll) {
	.waiter = BY_POLL,
	.rounds = 100000,
};

/* EPOLL_CTL_ADD is where epoll looks for the first time. */
FIXTURE_VARIANT_ADD(race, epoll) {
	.waiter = BY_EPOLL,
	.rounds = 20000,
};

FIXTURE_SETUP(race)
{
	pid_t parent = getpid();

	ASSERT_LE(2, sysconf(_SC_NPROCESSORS_ONLN))
		TH_LOG("needs two processors: nothing can race on one");
	ASSERT_EQ(0, cb_session_open(&self->s, 1)) TH_LOG("%s", self->s.why);
	self->pub = cb_claim(self->s.owner, 0, NULL);
	ASSERT_LE(0, self->pub);
	self->r = cb_shared(sizeof(*self->r));
	self->publisher = fork();
	ASSERT_LE(0, self->publisher);
	if (!self->publisher) {
		cb_die_with(parent);
		if (cb_pin(1) || interrupt_me(193 * 1000) < 0)
			_exit(1);
		publisher_main(self->r, self->pub);
		_exit(0);
	}
	ASSERT_EQ(0, cb_pin(0));
	ASSERT_LE(0, interrupt_me(83 * 1000));
}

FIXTURE_TEARDOWN(race)
{
	close(self->pub);
	cb_session_close(&self->s);
}

/* One wait for COMPLETE, from the start; 1, 0 for a time-out, or -errno. */
static int wait_complete(enum waiter waiter, int observer)
{
	struct pollfd p = { .fd = observer, .events = POLLIN };
	struct epoll_event ev = { .events = EPOLLIN };
	int ep, ret;

	if (waiter == BY_POLL) {
		ret = cb_errno(poll(&p, 1, LOST_MS));
		if (ret == 1 && p.revents != POLLIN)
			return -EPROTO;
		return ret;
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		return -errno;
	ret = cb_errno(epoll_ctl(ep, EPOLL_CTL_ADD, observer, &ev));
	if (!ret)
		ret = cb_errno(epoll_wait(ep, &ev, 1, LOST_MS));
	if (ret == 1 && ev.events != EPOLLIN)
		ret = -EPROTO;
	close(ep);
	return ret;
}

TEST_F(race, none_is_lost)
{
	const struct chipboot_page *page = cb_page(&self->s, 0);
	const __u32 rounds = variant->rounds;
	__u32 round, slept = 0, awake = 0, late = 0;
	__s32 walk = 0, step = 64, jitter, mine;
	__u32 random = 12345, same = 0;
	int observer, ret, last = -1, now;
	long before, after;
	__u64 begin, entered, left;

	observer = cb_observe(self->s.owner, CHIPBOOT_EVENT_COMPLETE);
	ASSERT_LE(0, observer);
	begin = cb_now();
	for (round = 1; round <= rounds; round++) {
		if (round > 1) {
			ASSERT_EQ(0, cb_reset(self->s.owner, 0, 1,
					      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		}
		/* so that not every race is the same race */
		random = random * 1664525 + 1013904223;
		jitter = (__s32)(random >> 16) % (2 * step + 1) - step;
		mine = walk + jitter < 0 ? -(walk + jitter) : 0;
		self->r->delay = walk + jitter > 0 ? walk + jitter : 0;

		before = cb_my_voluntary();
		start_round(self->r, round);
		spin(mine);
		entered = cb_now();
		while (!(ret = wait_complete(variant->waiter, observer))) {
			/* a minute has passed; is the answer there? */
			ASSERT_EQ(CHIPBOOT_IDLE, cb_load_state(page))
				TH_LOG("LOST in round %u: answered, poll slept on; now poll says %#x",
				       round, cb_revents(observer));
			ASSERT_EQ(0, __atomic_load_n(&self->r->publish_error,
						     __ATOMIC_ACQUIRE))
				TH_LOG("publisher in round %u",
				       self->r->error_round);
			ASSERT_EQ(0, waitpid(self->publisher, NULL, WNOHANG))
				TH_LOG("no publisher in round %u", round);
			ksft_print_msg("round %u: a minute without an answer; the publisher: state %c, system call %d\n",
				       round, cb_task_state(self->publisher),
				       cb_task_syscall(self->publisher));
			late++;
			entered = cb_now();
		}
		after = cb_my_voluntary();
		left = cb_now();
		ASSERT_EQ(1, ret) TH_LOG("round %u", round);
		if (left - entered >= LOST_NS) {
			ASSERT_GT(LOST_NS / 2, left - page->updated_ns)
				TH_LOG("LOST in round %u: woken by its time-out, %llu ms after the answer",
				       round, (unsigned long long)
				       ((left - page->updated_ns) / 1000000));
		}
		/* what woke it is this round's answer, and all of it */
		ASSERT_EQ(CHIPBOOT_SUCCESS, cb_load_state(page))
			TH_LOG("round %u", round);
		ASSERT_EQ((__u64)round << 32 | round, page->device_ctx);
		ASSERT_EQ(round, page->generation);
		ASSERT_EQ(round, page->order);

		now = after != before;
		if (now)
			slept++;
		else
			awake++;
		/* the step grows while the outcome stays, shrinks when it turns */
		if (now == last) {
			if (++same % 8 == 0 && step < DELAY_MAX / 16)
				step *= 2;
		} else {
			same = 0;
			if (step > 4)
				step /= 2;
		}
		last = now;
		walk += now ? -step : step;
		if (walk > DELAY_MAX)
			walk = DELAY_MAX;
		if (walk < -DELAY_MAX)
			walk = -DELAY_MAX;
	}
	ksft_print_msg("%u races in %llu ms: %u polls slept (%u.%u %%), %u did not (%u.%u %%), none lost; %u times the publisher had no processor for a minute\n",
		       rounds, (unsigned long long)((cb_now() - begin) / 1000000),
		       slept, slept * 100 / rounds, slept * 1000 / rounds % 10,
		       awake, awake * 100 / rounds, awake * 1000 / rounds % 10,
		       late);
	EXPECT_EQ(rounds, slept + awake);
	EXPECT_LE(rounds / 20, slept);
	EXPECT_LE(rounds / 20, awake);

	self->r->stop = 1;
	start_round(self->r, rounds + 1);
	EXPECT_EQ(0, cb_reap(self->publisher));
	EXPECT_EQ(0, self->r->publish_error);
	close(observer);
}

TEST_HARNESS_MAIN
