// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * COMPLETE is never told in the middle of a RESET, which lets go of its lock every
 * 16 channels: living publishers may have answered all it has been at, and the
 * others still have their answers of the round before.
 *
 * Several processes answer each new generation as soon as its page says so.  They
 * run at real-time priority on the owner's processor and sleep until something
 * changes, so that they come between the parts of RESET nearly every time.  Three
 * watch: the owner, one who asks without end, one who sleeps until COMPLETE.
 *
 * Each RESET is of all channels, and generations only grow.  So if COMPLETE is told
 * by a call, a generation G was on a page before the call, and one below G is still
 * on another page after it, then it was told in the middle: the RESET to G had
 * begun before, and was not through after.
 */
#include "process_test.h"

#define N		64
#define PUBLISHERS	4
#define ROUNDS		400

enum { BY_STATUS, BY_POLL, BY_SLEEPING, WAYS };

static const char * const way_name[WAYS] = {
	[BY_STATUS] = "STATUS",
	[BY_POLL] = "poll() that does not sleep",
	[BY_SLEEPING] = "poll() that sleeps",
};

struct shared {
	__u32 complete;		/* the last round that the owner saw complete */
	__u32 mixed[WAYS];	/* COMPLETE was told in the middle of a RESET */
	__u32 told[WAYS];	/* COMPLETE was told at all */
	__u32 between;		/* publishers came between the parts of a RESET */
	int failed;		/* a child's line, if something else went wrong */
};

struct race {
	struct cb_session s;
	int pub[N];
	int complete;		/* observers */
	int change[PUBLISHERS + 1];
	struct shared *sh;
};

static void child_failed(struct race *r, int line)
{
	__atomic_store_n(&r->sh->failed, line, __ATOMIC_RELEASE);
	_exit(1);
}

static __u32 generation(const struct race *r, __u32 ch)
{
	return __atomic_load_n(&cb_page(&r->s, ch)->generation,
			       __ATOMIC_ACQUIRE);
}

static __u32 newest(const struct race *r)
{
	__u32 ch, g = 0;

	for (ch = 0; ch < N; ch++) {
		if (generation(r, ch) > g)
			g = generation(r, ch);
	}
	return g;
}

static __u32 oldest(const struct race *r)
{
	__u32 ch, g = generation(r, 0);

	for (ch = 1; ch < N; ch++) {
		if (generation(r, ch) < g)
			g = generation(r, ch);
	}
	return g;
}

/* COMPLETE was told, when every page should have had generation @least or a later. */
static void told(struct race *r, int way, __u32 least)
{
	r->sh->told[way]++;
	if (oldest(r) < least)
		r->sh->mixed[way]++;
}

/* 1: EPOLLIN */
static int readable(struct race *r, int fd, int timeout)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ret = cb_errno(poll(&p, 1, timeout));

	if (ret < 0 || (ret && p.revents != POLLIN))
		child_failed(r, __LINE__);
	return ret;
}

/* Sleep until something has changed since the last time. */
static void await_change(struct race *r, int fd)
{
	struct chipboot_status st;

	readable(r, fd, -1);
	if (cb_status(fd, CHIPBOOT_NO_CHANNEL, CHIPBOOT_STATUS_ACK, &st))
		child_failed(r, __LINE__);
}

static void real_time(struct race *r)
{
	struct sched_param param = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		child_failed(r, __LINE__);
}

/* Answers for every PUBLISHERSth channel. */
static void publisher_main(struct race *r, __u32 first)
{
	__u32 ch, next[N];

	for (ch = first; ch < N; ch += PUBLISHERS)
		next[ch] = 1;
	if (cb_pin(0))
		child_failed(r, __LINE__);
	real_time(r);
	for (;;) {
		/* before looking: what changes meanwhile is looked at again */
		await_change(r, r->change[first]);
		for (ch = first; ch < N; ch += PUBLISHERS) {
			if (generation(r, ch) != next[ch])
				continue;
			if (cb_success(r->pub[ch], next[ch]))
				child_failed(r, __LINE__);
			next[ch]++;
		}
		if (oldest(r) != newest(r))
			__atomic_add_fetch(&r->sh->between, 1,
					   __ATOMIC_RELAXED);
	}
}

/* Asks without end. */
static void asker_main(struct race *r)
{
	struct chipboot_status st;
	__u32 before;

	if (cb_pin(1))
		child_failed(r, __LINE__);
	for (;;) {
		before = newest(r);
		if (cb_status(r->complete, CHIPBOOT_NO_CHANNEL, 0, &st))
			child_failed(r, __LINE__);
		if (st.holds & CHIPBOOT_EVENT_COMPLETE)
			told(r, BY_STATUS, before);
		before = newest(r);
		if (readable(r, r->complete, 0))
			told(r, BY_POLL, before);
	}
}

/*
 * Sleeps until COMPLETE.  What it knows before it sleeps: that a round was complete,
 * and that now it is not.  So the RESET to the next has begun.
 */
static void sleeper_main(struct race *r)
{
	__u32 least, complete;

	if (cb_pin(1))
		child_failed(r, __LINE__);
	real_time(r);
	for (;;) {
		await_change(r, r->change[PUBLISHERS]);
		complete = __atomic_load_n(&r->sh->complete, __ATOMIC_ACQUIRE);
		least = newest(r);
		if (!readable(r, r->complete, 0)) {
			if (least < complete + 1)
				least = complete + 1;
			readable(r, r->complete, -1);
		}
		told(r, BY_SLEEPING, least);
	}
}

FIXTURE(reset_race)
{
	struct race r;
};

FIXTURE_SETUP(reset_race)
{
	struct race *r = &self->r;
	__u32 i;

	r->sh = cb_shared(sizeof(*r->sh));
	ASSERT_EQ(0, pt_adopt_orphans());
	ASSERT_EQ(0, cb_session_open(&r->s, N)) TH_LOG("%s", r->s.why);
	for (i = 0; i < N; i++) {
		r->pub[i] = cb_claim(r->s.owner, i, NULL);
		ASSERT_LE(0, r->pub[i]);
	}
	r->complete = cb_observe(r->s.owner, CHIPBOOT_EVENT_COMPLETE);
	ASSERT_LE(0, r->complete);
	for (i = 0; i <= PUBLISHERS; i++) {
		r->change[i] = cb_observe(r->s.owner, CHIPBOOT_EVENT_CHANGE);
		ASSERT_LE(0, r->change[i]);
	}
}

FIXTURE_TEARDOWN(reset_race)
{
	pt_kill_all();
	cb_session_close(&self->r.s);
}

/* The owner's wait; -ECHILD if a child has failed. */
static int await_complete(struct race *r)
{
	struct pollfd p = { .fd = r->s.owner, .events = POLLIN };
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	int ret;

	do {
		ret = cb_errno(poll(&p, 1, 1000));
		if (__atomic_load_n(&r->sh->failed, __ATOMIC_ACQUIRE))
			return -ECHILD;
		if (ret)
			return ret;
	} while (cb_now() < end);
	return -ETIMEDOUT;
}

TEST_F(reset_race, complete_is_of_one_round)
{
	struct race *r = &self->r;
	struct shared *sh = r->sh;
	__u32 i, round;
	pid_t pid;

	ASSERT_EQ(0, cb_pin(0));
	for (i = 0; i < PUBLISHERS + 2; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (i == PUBLISHERS)
				asker_main(r);
			else if (i > PUBLISHERS)
				sleeper_main(r);
			else
				publisher_main(r, i);
		}
	}
	for (round = 1; round <= ROUNDS; round++) {
		ASSERT_EQ(1, await_complete(r))
			TH_LOG("round %u, line %d", round, sh->failed);
		ASSERT_EQ(round, oldest(r));
		ASSERT_EQ(round, newest(r));
		__atomic_store_n(&sh->complete, round, __ATOMIC_RELEASE);
		if (round < ROUNDS)
			ASSERT_EQ(0, cb_reset(r->s.owner, 0, N,
					      CHIPBOOT_RESET_KEEP_PUBLISHERS))
				TH_LOG("round %u", round);
	}
	pt_kill_all();
	for (i = 0; i < WAYS; i++) {
		ksft_print_msg("%s: COMPLETE %u times, %u in the middle of a RESET\n",
			       way_name[i], sh->told[i], sh->mixed[i]);
		EXPECT_EQ(0, sh->mixed[i])
			TH_LOG("COMPLETE in the middle of a RESET, by %s",
			       way_name[i]);
		/* or nobody was there to hear it */
		EXPECT_LT(0, sh->told[i]);
	}
	/* or the publishers never came between, and nothing was tested */
	EXPECT_LT(0, sh->between);
}

/* ---- two threads' RESETs -------------------------------------------------- */

#define MANY		4096
#define PAIRS		40

struct pair {
	int owner;
	unsigned int here;	/* how many have come to this round's start */
	int ret[2];
};

struct half {
	struct pair *pair;
	int which;
};

/* Both begin at once, each on a processor of its own. */
static void reset_together(struct pair *p, int which, unsigned int round)
{
	__atomic_add_fetch(&p->here, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&p->here, __ATOMIC_ACQUIRE) < 2 * round)
		;
	p->ret[which] = cb_reset(p->owner, 0, MANY, 0);
	__atomic_add_fetch(&p->here, 1, __ATOMIC_ACQ_REL);
}

static int second_half(void *arg)
{
	struct half *h = arg;
	unsigned int i;

	if (cb_pin(1))
		return 1;
	for (i = 1; i <= PAIRS; i++) {
		reset_together(h->pair, h->which, 2 * i - 1);
		while (__atomic_load_n(&h->pair->here, __ATOMIC_ACQUIRE) <
		       4 * i)
			;
	}
	return 0;
}

/*
 * Of two RESETs of the same channels one is first, and then the other finds them
 * IDLE: no channel moves on twice, and the counts stay true.
 */
TEST(two_resets)
{
	struct pair *p = cb_shared(sizeof(*p));
	struct half second = { .pair = p, .which = 1 };
	struct chipboot_create c;
	struct chipboot_status st;
	int control = cb_open();
	unsigned int i;

	p->owner = cb_create(control, MANY, &c);
	ASSERT_LE(0, p->owner);
	ASSERT_EQ(0, cb_pin(0));
	ASSERT_LE(0, pt_thread(second_half, &second, 0));
	for (i = 1; i <= PAIRS; i++) {
		ASSERT_EQ(0, cb_abort(p->owner, 0, MANY, -1, "", NULL));
		reset_together(p, 0, 2 * i - 1);
		while (__atomic_load_n(&p->here, __ATOMIC_ACQUIRE) < 4 * i)
			;
		EXPECT_EQ(-EBUSY, p->ret[0] ? p->ret[0] : p->ret[1])
			TH_LOG("round %u", i);
		EXPECT_EQ(0, p->ret[0] ? p->ret[1] : p->ret[0]);
		ASSERT_EQ(0, cb_status(p->owner, MANY - 1, 0, &st));
		EXPECT_EQ(i + 1, st.channel_generation);
		EXPECT_EQ(MANY, st.idle);
		EXPECT_EQ(0, st.error);
	}
	close(p->owner);
	close(control);
}

TEST_HARNESS_MAIN
