// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * The session's deadline and the owner's ABORT: verdicts over whoever is IDLE.
 *
 * Nothing here says how late a deadline may be, only that it is never early and what was
 * true before and after it.  Where a test has to be faster than a deadline it looks
 * whether it was, and takes a later one if not.
 */
#include "process_test.h"

#include <sched.h>

#define N	5
#define MS	1000000ull
#define SECOND	(1000 * MS)
#define HOUR	(3600 * SECOND)

FIXTURE(deadline)
{
	struct pt_rig r;
	int complete;		/* an observer of COMPLETE alone */
};

FIXTURE_SETUP(deadline)
{
	ASSERT_OK(pt_rig_open(&self->r, N));
	self->complete = cb_observe(self->r.s.owner, 0);
	ASSERT_LE(0, self->complete);
}

FIXTURE_TEARDOWN(deadline)
{
	close(self->complete);
	pt_rig_close(&self->r);
}

static __u64 deadline_of(struct pt_rig *r)
{
	struct chipboot_status st;

	return cb_status(r->s.observer, CHIPBOOT_NO_CHANNEL, 0, &st) ?
		0 : st.deadline_ns;
}

/* The deadline stands in STATUS from now on, and that is a change. */
static void want_deadline(struct pt_rig *r, __u64 ns)
{
	r->s.deadline_ns = ns;
	r->s.change = 1;
}

/* Sleep until the clock of deadlines is past @ns. */
static void sleep_past(__u64 ns)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(ns / SECOND),
		.tv_nsec = (long)(ns % SECOND),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
		;
}

/*
 * The verdict of the deadline over every channel that the model has as IDLE, in the
 * order of their numbers.
 */
static void want_all_expired(struct pt_rig *r)
{
	__u32 ch;

	for (ch = 0; ch < r->s.n; ch++) {
		if (r->s.want[ch].state == CHIPBOOT_IDLE)
			pt_want_deadline(&r->s, ch);
	}
}

/* Sleep in poll() until all is answered; when that was, on the clock of deadlines. */
static int wait_complete(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ret = poll(&p, 1, CB_PATIENCE_MS);

	return ret == 1 ? p.revents & POLLIN : ret < 0 ? -errno : -ETIMEDOUT;
}

/* ---- when ---------------------------------------------------------------- */

static void fires(struct __test_metadata *_metadata, struct pt_rig *r,
		  int complete, bool absolute)
{
	const __u64 ns = 300 * MS;
	__u64 before, after, at;
	__u32 ch;

	before = cb_now();
	at = before + ns;
	ASSERT_EQ(0, cb_deadline(r->s.owner, absolute ? at : ns,
				 absolute ? CHIPBOOT_DEADLINE_ABSOLUTE : 0));
	after = cb_now();
	if (absolute) {
		ASSERT_EQ(at, deadline_of(r));
	} else {
		at = deadline_of(r);
		ASSERT_LE(before + ns, at);
		ASSERT_GE(after + ns, at);
	}
	want_deadline(r, at);
	ASSERT_EQ(POLLIN, wait_complete(complete));
	EXPECT_LE(at, cb_now());
	TH_LOG("seen %llu us after it",
	       (unsigned long long)(cb_now() - at) / 1000);
	want_all_expired(r);
	ASSERT_STATE(&r->s);
	for (ch = 0; ch < N; ch++) {
		EXPECT_LE(at, r->s.want[ch].updated_ns);
		EXPECT_EQ(-ECANCELED, cb_success(r->pub[ch], 1));
		EXPECT_EQ(-EALREADY, cb_progress(r->pub[ch], 1, "late"));
	}
	EXPECT_STREQ("deadline passed", r->s.want[0].message);
	EXPECT_EQ(-ETIMEDOUT, r->s.want[0].error_code);
	EXPECT_EQ(CHIPBOOT_ORIGIN_DEADLINE, r->s.want[0].origin);
	ASSERT_STATE(&r->s);
}

TEST_F(deadline, relative)
{
	fires(_metadata, &self->r, self->complete, false);
}

TEST_F(deadline, absolute)
{
	fires(_metadata, &self->r, self->complete, true);
}

/* A past one has fired when the ioctl returns: one look at the page, no waiting. */
static void fires_at_once(struct __test_metadata *_metadata, struct pt_rig *r,
			  __u64 at)
{
	ASSERT_EQ(0, cb_deadline(r->s.owner, at, CHIPBOOT_DEADLINE_ABSOLUTE));
	EXPECT_EQ(CHIPBOOT_ERROR, cb_load_state(cb_page(&r->s, 0)));
	EXPECT_EQ(CHIPBOOT_ERROR, cb_load_state(cb_page(&r->s, N - 1)));
	want_deadline(r, at);
	want_all_expired(r);
	ASSERT_STATE(&r->s);
}

TEST_F(deadline, past)
{
	fires_at_once(_metadata, &self->r, cb_now() - 1);
}

TEST_F(deadline, long_past)
{
	fires_at_once(_metadata, &self->r, 1);
}

TEST_F(deadline, moved_into_the_past)
{
	struct pt_rig *r = &self->r;

	ASSERT_EQ(0, cb_deadline(r->s.owner, HOUR, 0));
	want_deadline(r, deadline_of(r));
	ASSERT_STATE(&r->s);
	fires_at_once(_metadata, r, cb_now() - 1);
}

TEST_F(deadline, moved_earlier)
{
	struct pt_rig *r = &self->r;

	ASSERT_EQ(0, cb_deadline(r->s.owner, HOUR, 0));
	want_deadline(r, deadline_of(r));
	ASSERT_STATE(&r->s);
	fires(_metadata, r, self->complete, false);
}

/*
 * A deadline of @ns that is moved or cleared before it comes; the caller tries again
 * with a later one if this process was too slow.  When it would have come, or 0.
 */
static __u64 set_and_replace(struct pt_rig *r, __u64 ns, __u64 then)
{
	__u64 at = cb_now() + ns;

	if (cb_deadline(r->s.owner, at, CHIPBOOT_DEADLINE_ABSOLUTE) ||
	    cb_deadline(r->s.owner, then, CHIPBOOT_DEADLINE_ABSOLUTE))
		return 0;
	want_deadline(r, then);
	return cb_now() < at ? at : 0;
}

static void does_not_fire(struct __test_metadata *_metadata, struct pt_rig *r,
			  __u64 then)
{
	__u64 ns, at = 0;

	for (ns = 200 * MS; !at; ns *= 2) {
		ASSERT_GT(100 * SECOND, ns);
		at = set_and_replace(r, ns, then);
		if (at)
			break;
		/* it may have fired; from the start */
		if (cb_abort(r->s.owner, 0, N, -1, NULL, NULL) ||
		    cb_reset(r->s.owner, 0, N, CHIPBOOT_RESET_KEEP_PUBLISHERS))
			break;
	}
	ASSERT_NE(0, at);
	/* far enough for a timer that was not stopped to show */
	sleep_past(at + 300 * MS);
	if (ns > 200 * MS) {
		struct chipboot_status st;

		/* generations have moved on, the model has not */
		ASSERT_EQ(0, cb_status(r->s.observer, 0, 0, &st));
		EXPECT_EQ(N, st.idle);
		EXPECT_EQ(then, st.deadline_ns);
		return;
	}
	ASSERT_STATE(&r->s);
	EXPECT_EQ(then, deadline_of(r));
}

TEST_F(deadline, moved_later)
{
	does_not_fire(_metadata, &self->r, cb_now() + HOUR);
}

TEST_F(deadline, cleared)
{
	does_not_fire(_metadata, &self->r, 0);
}

/* 0 clears, whatever the flag, also where there is none. */
TEST_F(deadline, cleared_when_there_is_none)
{
	struct pt_rig *r = &self->r;

	ASSERT_EQ(0, cb_deadline(r->s.owner, 0, 0));
	want_deadline(r, 0);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_deadline(r->s.owner, 0, CHIPBOOT_DEADLINE_ABSOLUTE));
	want_deadline(r, 0);
	ASSERT_STATE(&r->s);
}

/* Numbers at the clock's end mean never, not long ago. */
TEST_F(deadline, far_future)
{
	static const __u64 far[] = {
		UINT64_MAX, UINT64_MAX - 1, (__u64)INT64_MAX + 1, INT64_MAX,
		INT64_MAX - 1, UINT64_MAX - 1000 * SECOND,
	};
	struct pt_rig *r = &self->r;
	unsigned int i;
	__u32 flags;

	for (i = 0; i < 2 * ARRAY_SIZE(far); i++) {
		flags = i % 2 ? CHIPBOOT_DEADLINE_ABSOLUTE : 0;
		ASSERT_EQ(0, cb_deadline(r->s.owner, far[i / 2], flags));
		EXPECT_LT(INT64_MAX / 2, deadline_of(r));
		want_deadline(r, deadline_of(r));
		ASSERT_STATE(&r->s);
		sleep_past(cb_now() + 20 * MS);
		ASSERT_STATE(&r->s);
	}
}

TEST_F(deadline, arguments)
{
	struct chipboot_deadline d = { .ns = 1, .flags = 2 };
	struct pt_rig *r = &self->r;

	ASSERT_EQ(0, cb_deadline(r->s.owner, HOUR, 0));
	want_deadline(r, deadline_of(r));
	ASSERT_STATE(&r->s);
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_SET_DEADLINE, &d));
	d.flags = 0x80000001;
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_SET_DEADLINE, &d));
	d.flags = 0;
	d.reserved = 1;
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_SET_DEADLINE, &d));
	EXPECT_EQ(-EFAULT, cb_ioctl(r->s.owner, CHIPBOOT_IOC_SET_DEADLINE,
				    NULL));
	EXPECT_EQ(-EOPNOTSUPP, cb_deadline(r->s.observer, 1, 0));
	EXPECT_EQ(-EOPNOTSUPP, cb_deadline(r->pub[0], 1, 0));
	ASSERT_STATE(&r->s);
}

/* ---- what it says -------------------------------------------------------- */

/* Who is pending, before and after; what each was doing; the answered are left alone. */
TEST_F(deadline, names_the_pending)
{
	struct pt_rig *r = &self->r;
	struct chipboot_publish error = cb_an_error(1, -5, "own error", 9);
	struct chipboot_publish p;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_status st;
	__u64 pending;

	ASSERT_EQ(0, cb_progress(r->pub[3], 1, "comm_init"));
	cb_want_progress(&r->s, 3, "comm_init");
	ASSERT_EQ(0, cb_progress(r->pub[3], 1, "load_binary"));
	cb_want_progress(&r->s, 3, "load_binary");
	ASSERT_EQ(0, cb_progress_n(r->pub[4], 1, "cut", 3,
				   CHIPBOOT_PUBLISH_TRUNCATED));
	cb_want_progress(&r->s, 4, "cut");
	r->s.want[4].flags = CHIPBOOT_PAGE_TRUNCATED;
	ASSERT_EQ(0, cb_publish(r->pub[1], &error));
	cb_want_publish(&r->s, 1, &error, getpid());
	p = pt_answer(r, 2, words);
	ASSERT_EQ(0, cb_publish(r->pub[2], &p));
	cb_want_publish(&r->s, 2, &p, getpid());
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_status_pending(r->s.observer, CHIPBOOT_NO_CHANNEL, 0,
				       &st, &pending, 1));
	EXPECT_EQ(0x19, pending);

	fires_at_once(_metadata, r, cb_now() - 1);
	EXPECT_STREQ("deadline passed", r->s.want[0].message);
	EXPECT_STREQ("own error", r->s.want[1].message);
	EXPECT_STREQ("deadline passed; last progress: load_binary",
		     r->s.want[3].message);
	EXPECT_STREQ("deadline passed; last progress: cut",
		     r->s.want[4].message);
	EXPECT_EQ(CHIPBOOT_PAGE_TRUNCATED, r->s.want[4].flags);
	EXPECT_EQ(1, r->s.want[1].order);
	EXPECT_EQ(2, r->s.want[2].order);
	ASSERT_EQ(0, cb_status_pending(r->s.observer, CHIPBOOT_NO_CHANNEL, 0,
				       &st, &pending, 1));
	EXPECT_EQ(0, pending);
}

/* All have answered: a deadline that comes then does nothing. */
TEST_F(deadline, after_the_last_answer)
{
	struct pt_rig *r = &self->r;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	__u32 ch;

	for (ch = 0; ch < N; ch++) {
		p = pt_answer(r, ch, words);
		ASSERT_EQ(0, cb_publish(r->pub[ch], &p));
		cb_want_publish(&r->s, ch, &p, getpid());
	}
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_deadline(r->s.owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE));
	want_deadline(r, 1);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_deadline(r->s.owner, 50 * MS, 0));
	want_deadline(r, deadline_of(r));
	sleep_past(r->s.deadline_ns + 200 * MS);
	ASSERT_STATE(&r->s);
}

/* One that has fired is over: the next round has none until the owner sets it. */
TEST_F(deadline, next_round)
{
	struct pt_rig *r = &self->r;
	__u32 ch;

	fires_at_once(_metadata, r, cb_now() - 1);
	ASSERT_EQ(0, cb_reset(r->s.owner, 0, N,
			      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	for (ch = 0; ch < N; ch++)
		cb_want_reset(&r->s, ch, 1);
	ASSERT_STATE(&r->s);
	sleep_past(cb_now() + 100 * MS);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_deadline(r->s.owner, 100 * MS, 0));
	want_deadline(r, deadline_of(r));
	ASSERT_EQ(POLLIN, wait_complete(self->complete));
	want_all_expired(r);
	ASSERT_STATE(&r->s);
	EXPECT_EQ(2 * N, r->s.want[N - 1].order);
}

/*
 * One that has fired has no part in the next round, whatever else the session's work
 * item is queued for: here, to tell of two deaths.  What the first has queued is
 * through when the second is told.
 */
TEST_F(deadline, next_round_has_work)
{
	struct pt_rig *r = &self->r;
	struct chipboot_status st;
	struct pt_kid kid[2];
	struct pollfd p = { .fd = r->s.observer, .events = POLLIN };
	pid_t pid;
	__u32 ch;

	fires_at_once(_metadata, r, cb_now() - 1);
	ASSERT_EQ(0, cb_reset(r->s.owner, 0, N,
			      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	for (ch = 0; ch < 2; ch++) {
		pid = pt_fork(&kid[ch]);
		ASSERT_LE(0, pid);
		if (!pid)
			pt_sleep_for_ever();
		ASSERT_EQ(0, cb_bind(r->pub[ch], kid[ch].pid, 0));
	}
	for (ch = 0; ch < 2; ch++) {
		ASSERT_EQ(0, cb_status(r->s.observer, CHIPBOOT_NO_CHANNEL,
				       CHIPBOOT_STATUS_ACK, &st));
		kill(kid[ch].pid, SIGKILL);
		ASSERT_EQ(1, poll(&p, 1, CB_PATIENCE_MS));
		ASSERT_EQ(SIGKILL, cb_reap(kid[ch].pid));
	}
	ASSERT_EQ(0, cb_status(r->s.observer, CHIPBOOT_NO_CHANNEL, 0, &st));
	EXPECT_EQ(2, st.error);
	EXPECT_EQ(N - 2, st.idle);
}

/*
 * A past one has fired when the ioctl returns, by the ioctl itself: the work item
 * cannot have run, because the caller does not let go of its processor.
 */
TEST_F(deadline, past_by_the_caller)
{
	struct sched_param param = { .sched_priority = 1 };
	struct pt_rig *r = &self->r;
	__u32 round;

	ASSERT_EQ(0, cb_pin(0));
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &param));
	for (round = 0; round < 20; round++) {
		ASSERT_EQ(0, cb_deadline(r->s.owner, 1,
					 CHIPBOOT_DEADLINE_ABSOLUTE));
		ASSERT_EQ(CHIPBOOT_ERROR, cb_load_state(cb_page(&r->s, 0)))
			TH_LOG("round %u", round);
		ASSERT_EQ(0, cb_reset(r->s.owner, 0, N,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	}
}

/* Set, moved and cleared: who waits for changes hears of it. */
TEST_F(deadline, is_a_change)
{
	const __u64 at[] = { HOUR, 2 * HOUR, 0 };
	struct pt_rig *r = &self->r;
	struct chipboot_status st;
	__u32 i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, cb_status(r->s.observer, CHIPBOOT_NO_CHANNEL,
				       CHIPBOOT_STATUS_ACK, &st));
		ASSERT_EQ(0, cb_revents(r->s.observer));
		ASSERT_EQ(0, cb_deadline(r->s.owner, at[i], 0));
		EXPECT_EQ(POLLIN | POLLRDNORM, cb_revents(r->s.observer));
	}
}

/* Bound processes are not killed by it, and their later end is no news. */
TEST_F(deadline, over_living_processes)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, 2, pt_answers, false));
	fires_at_once(_metadata, r, cb_now() - 1);
	EXPECT_STREQ("deadline passed; last progress: comm_init of chip 2",
		     r->s.want[2].message);
	ASSERT_EQ(0, kill(r->kid[2].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, 2, SIGKILL, 0));
}

/* ---- against a publish --------------------------------------------------- */

#define RACES	4000

struct racer {
	int publisher;
	__u32 generation;
	unsigned int spins;
	int go;			/* round that may start */
	int done;		/* round that has ended */
	int ret;
	bool stop;
};

static int publishes_in_rounds(void *arg)
{
	struct racer *x = arg;
	int round = 0;

	for (;;) {
		round++;
		while (__atomic_load_n(&x->go, __ATOMIC_ACQUIRE) != round) {
			if (x->stop)
				return 0;
			sched_yield();
		}
		pt_spin(x->spins);
		x->ret = cb_success(x->publisher, x->generation);
		__atomic_store_n(&x->done, round, __ATOMIC_RELEASE);
	}
}

/*
 * Exactly one verdict, and the publisher is told which.  The two are steered together:
 * who came first starts later the next time.
 */
TEST_F(deadline, against_publish)
{
	struct racer *x = cb_shared(sizeof(*x));
	struct pt_rig *r = &self->r;
	struct chipboot_page page;
	int round, won = 0, lost = 0;
	unsigned int spins = 20000;
	struct pt_kid kid;
	pid_t pid;
	__u32 ch;

	/* one channel is raced for; the rest is answered */
	ASSERT_EQ(0, cb_abort(r->s.owner, 1, N - 1, -1, NULL, NULL));
	for (ch = 1; ch < N; ch++)
		cb_want_verdict(&r->s, ch, CHIPBOOT_ORIGIN_OWNER, -1, "");
	ASSERT_STATE(&r->s);
	x->publisher = r->pub[0];
	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(publishes_in_rounds(x));
	for (round = 1; round <= RACES; round++) {
		x->generation = (__u32)round;
		x->spins = spins;
		__atomic_store_n(&x->go, round, __ATOMIC_RELEASE);
		ASSERT_EQ(0, cb_deadline(r->s.owner, 100000, 0));
		ASSERT_EQ(POLLIN, wait_complete(self->complete));
		while (__atomic_load_n(&x->done, __ATOMIC_ACQUIRE) != round)
			sched_yield();
		cb_copy_page(&page, cb_page(&r->s, 0));
		pt_spins_follow(&spins, x->ret);
		if (!x->ret) {
			won++;
			ASSERT_EQ(CHIPBOOT_SUCCESS, page.state);
			ASSERT_EQ(CHIPBOOT_ORIGIN_PUBLISHER, page.origin);
			ASSERT_EQ(0, page.error_code);
			ASSERT_EQ(pid, page.publisher_pid);
			ASSERT_STREQ("", page.message);
			/* whatever is left of the deadline, it is too late */
			sleep_past(deadline_of(r));
		} else {
			lost++;
			ASSERT_EQ(-ECANCELED, x->ret);
			ASSERT_EQ(CHIPBOOT_ERROR, page.state);
			ASSERT_EQ(CHIPBOOT_ORIGIN_DEADLINE, page.origin);
			ASSERT_EQ(-ETIMEDOUT, page.error_code);
			ASSERT_EQ(0, page.publisher_pid);
			ASSERT_STREQ("deadline passed", page.message);
		}
		ASSERT_EQ(N - 1 + round, page.order);
		ASSERT_EQ((__u32)round, page.generation);
		/* final */
		ASSERT_EQ(0, cb_deadline(r->s.owner, 0, 0));
		ASSERT_EQ(0, memcmp(&page, cb_page(&r->s, 0), sizeof(page)));
		ASSERT_EQ(0, cb_reset(r->s.owner, 0, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	}
	x->stop = true;
	TH_LOG("%d published in time, %d too late", won, lost);
	EXPECT_LT(RACES / 20, won);
	EXPECT_LT(RACES / 20, lost);
}

/* ---- ABORT --------------------------------------------------------------- */

TEST_F(deadline, abort_all)
{
	struct pt_rig *r = &self->r;
	__u32 aborted, ch;

	ASSERT_EQ(0, cb_progress(r->pub[1], 1, "comm_init"));
	cb_want_progress(&r->s, 1, "comm_init");
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_abort(r->s.owner, 0, N, INT_MIN, "peer failed",
			      &aborted));
	EXPECT_EQ(N, aborted);
	for (ch = 0; ch < N; ch++)
		cb_want_verdict(&r->s, ch, CHIPBOOT_ORIGIN_OWNER, INT_MIN,
				"peer failed");
	ASSERT_STATE(&r->s);
	for (ch = 0; ch < N; ch++) {
		EXPECT_EQ(-ECANCELED, cb_success(r->pub[ch], 1));
		EXPECT_EQ(-EALREADY, cb_progress(r->pub[ch], 1, "x"));
	}
	/* once more there is nobody left */
	ASSERT_EQ(0, cb_abort(r->s.owner, 0, N, -1, "again", &aborted));
	EXPECT_EQ(0, aborted);
	ASSERT_STATE(&r->s);
}

TEST_F(deadline, abort_a_range)
{
	struct pt_rig *r = &self->r;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, 2, words);
	__u32 aborted;

	ASSERT_EQ(0, cb_publish(r->pub[2], &p));
	cb_want_publish(&r->s, 2, &p, getpid());
	ASSERT_STATE(&r->s);
	/* one of the three has answered and keeps its answer */
	ASSERT_EQ(0, cb_abort(r->s.owner, 1, 3, 0, "", &aborted));
	EXPECT_EQ(2, aborted);
	cb_want_verdict(&r->s, 1, CHIPBOOT_ORIGIN_OWNER, 0, "");
	cb_want_verdict(&r->s, 3, CHIPBOOT_ORIGIN_OWNER, 0, "");
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_abort(r->s.owner, 2, 1, -1, "x", &aborted));
	EXPECT_EQ(0, aborted);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_abort(r->s.owner, 4, 1, INT_MAX, "last", &aborted));
	EXPECT_EQ(1, aborted);
	cb_want_verdict(&r->s, 4, CHIPBOOT_ORIGIN_OWNER, INT_MAX, "last");
	ASSERT_STATE(&r->s);
	EXPECT_EQ(CHIPBOOT_IDLE, cb_load_state(cb_page(&r->s, 0)));
}

/* A channel that nobody has claimed can be aborted too. */
TEST_F(deadline, abort_unclaimed)
{
	struct cb_session s;
	__u32 aborted;

	ASSERT_EQ(0, cb_session_open(&s, 2));
	ASSERT_EQ(0, cb_abort(s.owner, 0, 2, -1, "x", &aborted));
	EXPECT_EQ(2, aborted);
	cb_want_verdict(&s, 0, CHIPBOOT_ORIGIN_OWNER, -1, "x");
	cb_want_verdict(&s, 1, CHIPBOOT_ORIGIN_OWNER, -1, "x");
	ASSERT_STATE(&s);
	EXPECT_EQ(-ECANCELED, cb_claim(s.owner, 0, NULL));
	cb_session_close(&s);
}

TEST_F(deadline, abort_text)
{
	struct pt_rig *r = &self->r;
	char text[CHIPBOOT_MESSAGE_SIZE + 1];
	struct chipboot_abort a = {
		.first = 0,
		.count = 1,
		.flags = CHIPBOOT_PUBLISH_TRUNCATED,
		.error_code = -1,
		.message = cb_ptr(text),
		.message_len = CHIPBOOT_MESSAGE_SIZE - 1,
	};

	/* all of it, and the caller's word that it is not all */
	memset(text, 'x', sizeof(text));
	ASSERT_EQ(0, cb_ioctl(r->s.owner, CHIPBOOT_IOC_ABORT, &a));
	EXPECT_EQ(1, a.aborted);
	text[CHIPBOOT_MESSAGE_SIZE - 1] = '\0';
	cb_want_verdict(&r->s, 0, CHIPBOOT_ORIGIN_OWNER, -1, text);
	r->s.want[0].flags = CHIPBOOT_PAGE_TRUNCATED;
	ASSERT_STATE(&r->s);

	/* up to the first NUL */
	a.first = 1;
	a.flags = 0;
	a.message_len = 10;
	a.aborted = 0;
	memcpy(text, "abc\0defghi", 10);
	ASSERT_EQ(0, cb_ioctl(r->s.owner, CHIPBOOT_IOC_ABORT, &a));
	EXPECT_EQ(1, a.aborted);
	cb_want_verdict(&r->s, 1, CHIPBOOT_ORIGIN_OWNER, -1, "abc");
	ASSERT_STATE(&r->s);
}

TEST_F(deadline, abort_refused)
{
	struct pt_rig *r = &self->r;
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_abort a = { .first = 0, .count = 1, .flags = 2 };

	memset(text, 'x', sizeof(text));
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_ABORT, &a));
	EXPECT_EQ(-EFAULT, cb_ioctl(r->s.owner, CHIPBOOT_IOC_ABORT, NULL));
	EXPECT_EQ(-EINVAL, cb_abort(r->s.owner, 0, 0, -1, "x", NULL));
	EXPECT_EQ(-ENOENT, cb_abort(r->s.owner, N, 1, -1, "x", NULL));
	EXPECT_EQ(-ENOENT, cb_abort(r->s.owner, 0, N + 1, -1, "x", NULL));
	EXPECT_EQ(-ENOENT, cb_abort(r->s.owner, 1, UINT_MAX, -1, "x", NULL));
	EXPECT_EQ(-ENOENT, cb_abort(r->s.owner, UINT_MAX, 2, -1, "x", NULL));
	a.flags = 0;
	a.message = cb_ptr(text);
	a.message_len = sizeof(text);
	EXPECT_EQ(-EMSGSIZE, cb_ioctl(r->s.owner, CHIPBOOT_IOC_ABORT, &a));
	a.message_len = UINT_MAX;
	EXPECT_EQ(-EMSGSIZE, cb_ioctl(r->s.owner, CHIPBOOT_IOC_ABORT, &a));
	a.message = 0;
	a.message_len = 1;
	EXPECT_EQ(-EFAULT, cb_ioctl(r->s.owner, CHIPBOOT_IOC_ABORT, &a));
	EXPECT_EQ(-EOPNOTSUPP, cb_abort(r->pub[0], 0, 1, -1, "x", NULL));
	EXPECT_EQ(-EOPNOTSUPP, cb_abort(r->s.observer, 0, 1, -1, "x", NULL));
	ASSERT_STATE(&r->s);
}

TEST_HARNESS_MAIN
