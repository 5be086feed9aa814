// SPDX-License-Identifier: GPL-2.0-only
/*
 * RESET: the next generation begins, and belongs to its claimant alone.  Whatever the
 * last one left behind (answers, progress, bindings, handles, processes) comes too late,
 * in whatever order, and on another processor at the same moment.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */
/* alone: two processors that really race */

#include "process_test.h"
#include "rendezvous_test.h"

#include <pthread.h>

#define KEEP	CHIPBOOT_RESET_KEEP_PUBLISHERS

/* More than two of the batches in which RESET lets go of its lock. */
#define MANY	40

struct rig {
	struct cb_session s;
	int pub[MANY];
	__u32 gen[MANY];
};

static const char *rig_open(struct rig *r, __u32 n)
{
	__u32 ch;
	int ret;

	memset(r, 0, sizeof(*r));
	for (ch = 0; ch < MANY; ch++)
		r->pub[ch] = -1;
	ret = pt_adopt_orphans();
	if (!ret)
		ret = cb_session_open(&r->s, n);
	if (ret)
		return cb_complain(&r->s, "no session: %s", strerror(-ret));
	for (ch = 0; ch < n; ch++) {
		r->pub[ch] = cb_claim(r->s.owner, ch, &r->gen[ch]);
		if (r->pub[ch] < 0)
			return cb_complain(&r->s, "CLAIM: %s",
					   strerror(-r->pub[ch]));
	}
	return cb_check(&r->s);
}

static void rig_close(struct rig *r)
{
	__u32 ch;

	pt_kill_all();
	for (ch = 0; ch < MANY; ch++) {
		if (r->pub[ch] >= 0)
			close(r->pub[ch]);
	}
	cb_session_close(&r->s);
}

/* Each of these does one thing, tells the model, and returns what the kernel said. */

static int do_success(struct rig *r, __u32 ch, __u64 seed)
{
	__u64 words[16];
	struct chipboot_publish p = cb_a_success(r->gen[ch], seed, words, 16);
	int ret = cb_publish(r->pub[ch], &p);

	if (!ret)
		cb_want_publish(&r->s, ch, &p, getpid());
	return ret;
}

static int do_error(struct rig *r, __u32 ch, __s32 code)
{
	static const char text[] = "the chip is not well";
	struct chipboot_publish p = cb_an_error(r->gen[ch], code, text,
						sizeof(text) - 1);
	int ret = cb_publish(r->pub[ch], &p);

	if (!ret)
		cb_want_publish(&r->s, ch, &p, getpid());
	return ret;
}

static int do_progress(struct rig *r, __u32 ch, const char *text)
{
	int ret = cb_progress(r->pub[ch], r->gen[ch], text);

	if (!ret)
		cb_want_progress(&r->s, ch, text);
	return ret;
}

static int do_reset(struct rig *r, __u32 first, __u32 count, __u32 flags)
{
	int ret = cb_reset(r->s.owner, first, count, flags);
	__u32 ch;

	for (ch = first; !ret && ch < first + count; ch++) {
		cb_want_reset(&r->s, ch, flags != 0);
		r->gen[ch]++;
	}
	return ret;
}

/* Success in even channels, ERROR in odd ones. */
static const char *answer_all(struct rig *r, __u32 first, __u32 count)
{
	__u32 ch;
	int ret;

	for (ch = first; ch < first + count; ch++) {
		ret = ch & 1 ? do_error(r, ch, -(__s32)ch) :
			       do_success(r, ch, ch);
		if (ret)
			return cb_complain(&r->s, "PUBLISH %u: %s", ch,
					   strerror(-ret));
	}
	return cb_check(&r->s);
}

FIXTURE(rearm) {
	struct rig r;
};

FIXTURE_SETUP(rearm)
{
	ASSERT_OK(rig_open(&self->r, MANY));
}

FIXTURE_TEARDOWN(rearm)
{
	rig_close(&self->r);
}

/* ---- ranges -------------------------------------------------------------- */

TEST_F(rearm, bad_ranges)
{
	static const struct {
		__u32 first, count, flags;
		int ret;
	} bad[] = {
		{ 0, 0, 0, -EINVAL },
		{ MANY - 1, 0, 0, -EINVAL },
		{ MANY, 0, 0, -EINVAL },
		{ MANY, 1, 0, -ENOENT },
		{ 0, MANY + 1, 0, -ENOENT },
		{ 1, MANY, 0, -ENOENT },
		{ MANY - 1, 2, 0, -ENOENT },
		{ 0, ~0u, 0, -ENOENT },
		{ ~0u, 1, 0, -ENOENT },
		{ ~0u, ~0u, 0, -ENOENT },
		/* their sum is small again */
		{ 1, ~0u, 0, -ENOENT },
		{ 2, ~0u, 0, -ENOENT },
		{ MANY - 1, ~0u, 0, -ENOENT },
		{ MANY - 1, ~0u - MANY + 3, 0, -ENOENT },
		{ 1u << 31, 1u << 31, 0, -ENOENT },
		{ ~0u, 2, 0, -ENOENT },
		{ 0, MANY, 2, -EINVAL },
		{ 0, MANY, KEEP | 1u << 31, -EINVAL },
	};
	struct chipboot_reset reserved = { .count = MANY, .reserved = 1 };
	struct rig *r = &self->r;
	__u32 keep, i;

	/* so that nothing but the range is wrong */
	ASSERT_OK(answer_all(r, 0, MANY));
	for (keep = 0; keep < 2; keep++) {
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			EXPECT_EQ(bad[i].ret,
				  cb_reset(r->s.owner, bad[i].first,
					   bad[i].count, bad[i].flags | keep))
				TH_LOG("%u, %u", bad[i].first, bad[i].count);
			ASSERT_STATE(&r->s);
		}
	}
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_RESET, &reserved));
	EXPECT_EQ(-EFAULT, cb_ioctl(r->s.owner, CHIPBOOT_IOC_RESET, NULL));
	ASSERT_STATE(&r->s);
}

TEST_F(rearm, good_ranges)
{
	static const struct {
		__u32 first, count;
	} good[] = {
		{ 0, 1 }, { 7, 1 }, { MANY - 1, 1 },
		{ 3, 5 }, { 0, 16 }, { 1, 16 }, { 16, 16 }, { 5, 17 },
		{ 0, 32 }, { 7, 33 }, { MANY - 2, 2 }, { 0, MANY },
	};
	struct rig *r = &self->r;
	__u32 i, ch;

	ASSERT_OK(answer_all(r, 0, MANY));
	for (i = 0; i < 2 * ARRAY_SIZE(good); i++) {
		const __u32 first = good[i / 2].first;
		const __u32 count = good[i / 2].count;
		const __u32 flags = i & 1 ? KEEP : 0;

		ASSERT_EQ(0, do_reset(r, first, count, flags));
		ASSERT_STATE(&r->s);
		for (ch = first; ch < first + count; ch++) {
			int old = r->pub[ch];
			__u32 generation;

			r->pub[ch] = cb_claim(r->s.owner, ch, &generation);
			if (flags) {
				ASSERT_EQ(-EBUSY, r->pub[ch]);
				r->pub[ch] = old;
				ASSERT_EQ(0, cb_revents(old) & POLLERR);
				continue;
			}
			ASSERT_LE(0, r->pub[ch]);
			ASSERT_EQ(r->gen[ch], generation);
			ASSERT_EQ(POLLERR, cb_revents(old) & POLLERR);
			close(old);
		}
		ASSERT_STATE(&r->s);
		/* and it goes on: order, too */
		ASSERT_OK(answer_all(r, first, count));
	}
	ASSERT_EQ(r->s.orders, cb_page(&r->s, MANY - 1)->order);
}

/* One that is IDLE, wherever it stands, and nothing has changed. */
TEST_F(rearm, partly_idle)
{
	static const __u32 idle[] = { 0, 1, 15, 16, 17, 31, 32, MANY - 1 };
	struct rig *r = &self->r;
	__u32 i, keep;

	/* all of them */
	ASSERT_EQ(-EBUSY, cb_reset(r->s.owner, 0, MANY, 0));
	ASSERT_STATE(&r->s);
	ASSERT_OK(answer_all(r, 0, MANY));
	for (i = 0; i < ARRAY_SIZE(idle); i++) {
		const __u32 ch = idle[i];

		ASSERT_EQ(0, do_reset(r, ch, 1, KEEP));
		ASSERT_STATE(&r->s);
		for (keep = 0; keep < 2; keep++) {
			EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, 0, MANY, keep));
			EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, ch, 1, keep));
			EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, 0, ch + 1, keep));
			EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, ch, MANY - ch,
						   keep));
			ASSERT_STATE(&r->s);
		}
		/* beside it there is nothing in the way */
		if (ch) {
			ASSERT_EQ(0, do_reset(r, 0, ch, KEEP));
			ASSERT_STATE(&r->s);
			ASSERT_OK(answer_all(r, 0, ch));
		}
		if (ch < MANY - 1) {
			ASSERT_EQ(0, do_reset(r, ch + 1, MANY - 1 - ch, KEEP));
			ASSERT_STATE(&r->s);
			ASSERT_OK(answer_all(r, ch + 1, MANY - 1 - ch));
		}
		/* and ABORT clears the way */
		ASSERT_EQ(0, cb_abort(r->s.owner, 0, MANY, -5, "go", NULL));
		cb_want_verdict(&r->s, ch, CHIPBOOT_ORIGIN_OWNER, -5, "go");
		ASSERT_STATE(&r->s);
		ASSERT_EQ(0, do_reset(r, 0, MANY, KEEP));
		ASSERT_STATE(&r->s);
		ASSERT_OK(answer_all(r, 0, MANY));
	}
}

/* ---- what is kept -------------------------------------------------------- */

/* A child bound to the channel, without a handle, that lives until it is killed. */
static pid_t bind_kid(struct rig *r, __u32 ch)
{
	struct pt_kid kid;
	int ret, i;

	ret = pt_fork(&kid);
	if (ret < 0)
		return ret;
	if (!ret) {
		for (i = 0; i < MANY; i++) {
			if (r->pub[i] >= 0)
				close(r->pub[i]);
		}
		pt_say(&kid);
		pt_sleep_for_ever();
	}
	ret = pt_await(&kid);
	pt_forget(&kid);
	if (!ret)
		ret = cb_bind(r->pub[ch], kid.pid, 0);
	if (ret)
		return ret;
	cb_want_bound(&r->s, ch, kid.pid);
	return kid.pid;
}

/* Kill and reap it; the model is told by the caller. */
static int end_kid(pid_t pid)
{
	kill(pid, SIGKILL);
	return cb_reap(pid);
}

/*
 * 0, 1: bound to one that lives; 2: answered, and died; 3: an ERROR, and died; 4: never
 * bound, answered by another process; 5: its handle is closed.
 */
static void all_sorts(struct __test_metadata *_metadata, struct rig *r,
		      pid_t living[2])
{
	struct cb_session *s = &r->s;
	struct chipboot_publish p;
	pid_t pid, child;
	__u64 words[4];
	__u32 ch;

	for (ch = 0; ch < 2; ch++) {
		living[ch] = bind_kid(r, ch);
		ASSERT_LT(0, living[ch]);
		/* answered by whomever: the binding's is the pid */
		ASSERT_EQ(0, do_success(r, ch, 1));
		ASSERT_STATE(s);
	}
	for (ch = 2; ch < 4; ch++) {
		pid = bind_kid(r, ch);
		ASSERT_LT(0, pid);
		ASSERT_EQ(0, ch == 2 ? do_success(r, ch, 2) :
				       do_error(r, ch, -2));
		ASSERT_EQ(SIGKILL, end_kid(pid));
		pt_want_died(s, ch, SIGKILL, 0);
		ASSERT_STATE(s);
	}
	p = cb_a_success(r->gen[4], 4, words, 4);
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(cb_publish(r->pub[4], &p) ? 1 : 0);
	ASSERT_EQ(0, cb_reap(child));
	cb_want_publish(s, 4, &p, child);
	/* STATUS gives pids of today, and it is no more */
	ASSERT_EQ(child, cb_page(s, 4)->publisher_pid);
	ASSERT_EQ(0, do_error(r, 5, -5));
	close(r->pub[5]);
	r->pub[5] = -1;
}

/* The rest of the rig's channels, for RESET of all. */
static const char *answer_rest(struct rig *r)
{
	__u32 ch;
	int ret;

	for (ch = 6; ch < MANY; ch++) {
		ret = do_success(r, ch, ch);
		if (ret)
			return cb_complain(&r->s, "PUBLISH: %s",
					   strerror(-ret));
	}
	return "";
}

TEST_F(rearm, keeps_what_lives)
{
	struct rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_status st;
	pid_t living[2], pid;
	__u32 ch, round;

	all_sorts(_metadata, r, living);
	ASSERT_OK(answer_rest(r));
	for (round = 2; round < 4; round++) {
		ASSERT_EQ(0, do_reset(r, 0, MANY, KEEP));
		ASSERT_STATE(s);
		ASSERT_EQ(living[0], cb_page(s, 0)->publisher_pid);
		ASSERT_EQ(living[1], cb_page(s, 1)->publisher_pid);
		for (ch = 2; ch < MANY; ch++)
			ASSERT_EQ(0, cb_page(s, ch)->publisher_pid);
		for (ch = 0; ch < MANY; ch++) {
			if (r->pub[ch] < 0)
				continue;
			ASSERT_EQ(-EBUSY, cb_claim(s->owner, ch, NULL));
			ASSERT_EQ(0, cb_status(r->pub[ch], ch, 0, &st));
			ASSERT_EQ(round, st.handle_generation);
			ASSERT_EQ(ch < 2, st.channel_bound);
			ASSERT_EQ(0, cb_revents(r->pub[ch]));
			/* the handle lives, what was meant for the last does not */
			r->gen[ch]--;
			ASSERT_EQ(-ESTALE, do_success(r, ch, 0));
			ASSERT_EQ(-ESTALE, do_progress(r, ch, "late"));
			r->gen[ch]++;
		}
		ASSERT_STATE(s);
		/* whose handle is gone can be claimed */
		r->pub[5] = cb_claim(s->owner, 5, NULL);
		ASSERT_LE(0, r->pub[5]);
		ASSERT_STATE(s);
		if (round == 2) {
			ASSERT_OK(answer_all(r, 0, MANY));
			ASSERT_EQ(living[0], cb_page(s, 0)->publisher_pid);
			ASSERT_EQ(getpid(), cb_page(s, 2)->publisher_pid);
			close(r->pub[5]);
			r->pub[5] = -1;
			ASSERT_STATE(s);
		}
	}
	/* a binding that was kept is a binding */
	ASSERT_EQ(SIGKILL, end_kid(living[0]));
	pt_want_died(s, 0, SIGKILL, 0);
	ASSERT_STATE(s);
	ASSERT_EQ(0, do_success(r, 1, 1));
	ASSERT_EQ(SIGKILL, end_kid(living[1]));
	pt_want_died(s, 1, SIGKILL, 0);
	ASSERT_STATE(s);
	/* and where one was dropped another may be made, by anybody's rules */
	pid = bind_kid(r, 2);
	ASSERT_LT(0, pid);
	ASSERT_STATE(s);
	ASSERT_EQ(SIGKILL, end_kid(pid));
	pt_want_died(s, 2, SIGKILL, 0);
	ASSERT_STATE(s);
}

TEST_F(rearm, drops_everything)
{
	struct rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_status st;
	pid_t living[2];
	__u32 ch;

	all_sorts(_metadata, r, living);
	ASSERT_OK(answer_rest(r));
	ASSERT_EQ(0, do_reset(r, 0, MANY, 0));
	ASSERT_STATE(s);
	for (ch = 0; ch < MANY; ch++) {
		ASSERT_EQ(0, cb_page(s, ch)->publisher_pid);
		if (r->pub[ch] < 0)
			continue;
		ASSERT_EQ(0, cb_status(r->pub[ch], ch, 0, &st));
		ASSERT_EQ(0, st.handle_generation);
		ASSERT_EQ(0, st.channel_bound);
		ASSERT_EQ(POLLERR, cb_revents(r->pub[ch]));
		close(r->pub[ch]);
		r->pub[ch] = -1;
	}
	ASSERT_STATE(s);
	for (ch = 0; ch < 2; ch++) {
		ASSERT_EQ(SIGKILL, end_kid(living[ch]));
		ASSERT_STATE(s);
	}
	for (ch = 0; ch < MANY; ch++) {
		r->pub[ch] = cb_claim(s->owner, ch, NULL);
		ASSERT_LE(0, r->pub[ch]);
	}
	ASSERT_STATE(s);
	ASSERT_OK(answer_all(r, 0, MANY));
}

/* ---- what comes late ----------------------------------------------------- */

#define LATE	1

/* How far the new generation is when something of the old one arrives. */
enum stage { UNCLAIMED, CLAIMED, IN_PROGRESS, BOUND, SUCCEEDED, FAILED };

FIXTURE(late) {
	struct rig r;
	int old;		/* a handle of the generation before */
	pid_t kid;		/* a process bound in it */
	pid_t new_kid;
};

FIXTURE_VARIANT(late) {
	enum stage stage;
};

FIXTURE_VARIANT_ADD(late, unclaimed) {
	.stage = UNCLAIMED,
};

FIXTURE_VARIANT_ADD(late, claimed) {
	.stage = CLAIMED,
};

FIXTURE_VARIANT_ADD(late, in_progress) {
	.stage = IN_PROGRESS,
};

FIXTURE_VARIANT_ADD(late, bound) {
	.stage = BOUND,
};

FIXTURE_VARIANT_ADD(late, succeeded) {
	.stage = SUCCEEDED,
};

FIXTURE_VARIANT_ADD(late, failed) {
	.stage = FAILED,
};

FIXTURE_SETUP(late)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_open(r, 3));
	ASSERT_EQ(0, do_success(r, 0, 0));
	self->kid = bind_kid(r, LATE);
	ASSERT_LT(0, self->kid);
	ASSERT_EQ(0, do_progress(r, LATE, "the old one"));
	ASSERT_EQ(0, do_success(r, LATE, 1));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, do_reset(r, LATE, 1, 0));
	ASSERT_STATE(&r->s);
	self->old = r->pub[LATE];
	r->pub[LATE] = -1;
	if (variant->stage == UNCLAIMED)
		return;
	r->pub[LATE] = cb_claim(r->s.owner, LATE, NULL);
	ASSERT_LE(0, r->pub[LATE]);
	if (variant->stage == IN_PROGRESS)
		ASSERT_EQ(0, do_progress(r, LATE, "the new one"));
	if (variant->stage == BOUND) {
		self->new_kid = bind_kid(r, LATE);
		ASSERT_LT(0, self->new_kid);
	}
	if (variant->stage == SUCCEEDED)
		ASSERT_EQ(0, do_success(r, LATE, 2));
	if (variant->stage == FAILED)
		ASSERT_EQ(0, do_error(r, LATE, -2));
	ASSERT_STATE(&r->s);
}

/* Whatever came, the new generation ends as if it had not. */
FIXTURE_TEARDOWN(late)
{
	struct rig *r = &self->r;

	EXPECT_STATE(&r->s);
	if (r->pub[LATE] < 0) {
		r->pub[LATE] = cb_claim(r->s.owner, LATE, NULL);
		EXPECT_LE(0, r->pub[LATE]);
	}
	if (variant->stage < SUCCEEDED)
		EXPECT_EQ(0, do_success(r, LATE, 3));
	EXPECT_STATE(&r->s);
	if (self->old >= 0)
		close(self->old);
	EXPECT_STATE(&r->s);
	rig_close(r);
}

TEST_F(late, answer)
{
	struct rig *r = &self->r;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	__u32 g;

	/* for its own generation, the new one, and nonsense */
	for (g = 0; g < 5; g++) {
		p = cb_a_success(g, 9, words, CHIPBOOT_WORDS_MAX);
		EXPECT_EQ(-ESTALE, cb_publish(self->old, &p));
		p = cb_an_error(g, -1, "late", 4);
		EXPECT_EQ(-ESTALE, cb_publish(self->old, &p));
		ASSERT_STATE(&r->s);
		if (r->pub[LATE] < 0 || g == r->gen[LATE])
			continue;
		/* by a good handle, for another generation */
		EXPECT_EQ(-ESTALE, cb_publish(r->pub[LATE], &p));
		ASSERT_STATE(&r->s);
	}
}

TEST_F(late, progress)
{
	struct rig *r = &self->r;
	__u32 g;

	for (g = 0; g < 5; g++) {
		EXPECT_EQ(-ESTALE, cb_progress(self->old, g, "late"));
		ASSERT_STATE(&r->s);
		if (r->pub[LATE] < 0 || g == r->gen[LATE])
			continue;
		EXPECT_EQ(-ESTALE, cb_progress(r->pub[LATE], g, "late"));
		ASSERT_STATE(&r->s);
	}
}

TEST_F(late, bind)
{
	struct rig *r = &self->r;
	pid_t dead;

	EXPECT_EQ(-ESTALE, cb_bind(self->old, 0, 0));
	EXPECT_EQ(-ESTALE, cb_bind(self->old, getpid(), SIGTERM));
	EXPECT_EQ(-ESTALE, cb_bind(self->old, self->kid, 0));
	ASSERT_STATE(&r->s);
	/* whose death would count at once */
	dead = fork();
	ASSERT_LE(0, dead);
	if (!dead)
		_exit(5);
	ASSERT_EQ(0, pt_wait_dead(dead));
	EXPECT_EQ(-ESTALE, cb_bind(self->old, dead, 0));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(5 << 8, cb_reap(dead));
}

TEST_F(late, close)
{
	int copy = fcntl(self->old, F_DUPFD_CLOEXEC, 0);

	ASSERT_LE(0, copy);
	close(self->old);
	ASSERT_STATE(&self->r.s);
	close(copy);
	self->old = -1;
	ASSERT_STATE(&self->r.s);
}

TEST_F(late, exit)
{
	struct cb_session *s = &self->r.s;

	ASSERT_EQ(0, kill(self->kid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(self->kid));
	ASSERT_STATE(s);
	ASSERT_EQ(SIGKILL, cb_reap(self->kid));
	ASSERT_STATE(s);
}

/* One that held the last copy: close and exit in one. */
TEST_F(late, exit_of_the_last_holder)
{
	struct cb_session *s = &self->r.s;
	struct pt_kid kid;

	ASSERT_LE(0, pt_fork(&kid));
	if (kid.pid == getpid()) {
		pt_wait_go(&kid);
		_exit(6);
	}
	close(self->old);
	self->old = -1;
	ASSERT_STATE(s);
	ASSERT_EQ(0, pt_go(&kid));
	ASSERT_EQ(6 << 8, cb_reap(kid.pid));
	ASSERT_STATE(s);
	pt_forget(&kid);
}

TEST_F(late, question)
{
	struct cb_session *s = &self->r.s;
	const __u32 holds = cb_want_holds(s) | CHIPBOOT_EVENT_CHANGE;
	int revents = POLLERR;

	if (holds & CHIPBOOT_EVENT_COMPLETE)
		revents |= POLLIN | POLLRDNORM;
	if (holds & CHIPBOOT_EVENT_ERROR)
		revents |= POLLPRI;
	EXPECT_EQ(revents, cb_revents(self->old));
	EXPECT_EQ(NULL, cb_check_status(s, self->old, LATE, 0, 0,
					CHIPBOOT_EVENT_COMPLETE, holds))
		TH_LOG("%s", s->why);
	/* and the new generation dies of its own */
	if (self->new_kid) {
		ASSERT_EQ(SIGKILL, end_kid(self->new_kid));
		pt_want_died(s, LATE, SIGKILL, 0);
		ASSERT_STATE(s);
		ASSERT_EQ(0, do_reset(&self->r, LATE, 1, KEEP));
	}
}

/* ---- any order of things ------------------------------------------------- */

#define STEPS	500

static __u32 random_next(__u32 *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 12;
}

/* Many generations side by side, and the model knows each. */
TEST_F(late, walk)
{
	struct rig *r = &self->r;
	struct cb_session *s = &r->s;
	__u32 random = 77 + variant->stage, step, ch, first, count, flags, i;
	unsigned int resets = 0, busy = 0;
	bool idle;
	int ret;

	/* from where each variant stands */
	for (step = 0; step < STEPS; step++) {
		ch = random_next(&random) % s->n;
		switch (random_next(&random) % 8) {
		case 0:
			ret = cb_claim(s->owner, ch, NULL);
			if (r->pub[ch] >= 0) {
				ASSERT_TRUE(ret == -EBUSY);
			} else if (s->want[ch].state == CHIPBOOT_IDLE) {
				ASSERT_LE(0, ret);
				r->pub[ch] = ret;
			} else {
				ASSERT_TRUE(ret == -EALREADY ||
					    ret == -ECANCELED);
			}
			break;
		case 1:
			if (r->pub[ch] < 0)
				break;
			idle = s->want[ch].state == CHIPBOOT_IDLE;
			ret = do_success(r, ch, step);
			ASSERT_EQ(idle, !ret);
			break;
		case 2:
			if (r->pub[ch] < 0)
				break;
			idle = s->want[ch].state == CHIPBOOT_IDLE;
			ret = do_error(r, ch, -(__s32)step);
			ASSERT_EQ(idle, !ret);
			break;
		case 3:
			if (r->pub[ch] < 0)
				break;
			idle = s->want[ch].state == CHIPBOOT_IDLE;
			ret = do_progress(r, ch, "a step");
			ASSERT_EQ(idle ? 0 : -EALREADY, ret);
			break;
		case 4:
			if (r->pub[ch] < 0)
				break;
			idle = s->want[ch].state == CHIPBOOT_IDLE;
			close(r->pub[ch]);
			r->pub[ch] = -1;
			if (idle)
				pt_want_closed(s, ch);
			break;
		default:
			first = ch;
			count = 1 + random_next(&random) % (s->n - first);
			flags = random_next(&random) % 2;
			idle = false;
			for (i = first; i < first + count; i++)
				idle |= s->want[i].state == CHIPBOOT_IDLE;
			ret = do_reset(r, first, count, flags);
			ASSERT_EQ(idle ? -EBUSY : 0, ret);
			busy += idle;
			resets += !idle;
			if (ret || flags)
				break;
			for (i = first; i < first + count; i++) {
				if (r->pub[i] < 0)
					continue;
				ASSERT_EQ(-ESTALE, do_success(r, i, step));
				close(r->pub[i]);
				r->pub[i] = -1;
			}
		}
		ASSERT_STATE(s);
	}
	EXPECT_LT(0, resets);
	EXPECT_LT(0, busy);
	/* for the teardown, which wants to answer once more */
	if (variant->stage < SUCCEEDED &&
	    s->want[LATE].state != CHIPBOOT_IDLE)
		ASSERT_EQ(0, do_reset(r, LATE, 1, KEEP));
	if (variant->stage >= SUCCEEDED && r->pub[LATE] < 0 &&
	    s->want[LATE].state != CHIPBOOT_IDLE)
		ASSERT_EQ(0, do_reset(r, LATE, 1, KEEP));
}

/* ---- all of it at the same moment ---------------------------------------- */

#define ROUNDS	50000
#define SESSION	3

enum kind { ANSWER, PROGRESS, BIND, CLOSE, EXIT, CLAIM, KINDS };

static const char * const kind_names[KINDS] = {
	"answer", "progress", "bind", "close", "exit", "claim",
};

/* Real processes cost the most. */
static const enum kind schedule[16] = {
	ANSWER, PROGRESS, BIND, CLOSE, ANSWER, PROGRESS, CLOSE, CLAIM,
	ANSWER, PROGRESS, BIND, CLOSE, ANSWER, EXIT, BIND, CLAIM,
};

/* The one who acts for the old generation, on the other processor. */
struct racer {
	struct bell start;
	struct bell done;
	const struct cb_session *s;
	/* this round */
	bool stop;
	enum kind kind;
	int fd;
	__u32 ch;
	__u32 generation;
	__s32 delay;
	pid_t pid;		/* EXIT: who is to die.  BIND: whom to */
	struct chipboot_publish publish;
	/* what came of it */
	int ret;
	__u32 before;		/* the page's generation then */
	__u32 after;
};

static int racer_act(struct racer *racer)
{
	switch (racer->kind) {
	case ANSWER:
		return cb_publish(racer->fd, &racer->publish);
	case PROGRESS:
		return cb_progress(racer->fd, racer->generation,
				   "of the old generation");
	case BIND:
		return cb_bind(racer->fd, racer->pid, 0);
	case CLOSE:
		return cb_errno(close(racer->fd));
	case EXIT:
		kill(racer->pid, SIGKILL);
		return pt_wait_dead(racer->pid);
	case CLAIM:
		return cb_claim(racer->s->owner, racer->ch, NULL);
	default:
		return -EINVAL;
	}
}

static void *racer_main(void *arg)
{
	struct racer *racer = arg;
	const __u32 *generation;
	__u32 round = 0;

	cb_pin(1);
	for (;;) {
		round = bell_wait(&racer->start, round);
		if (racer->stop)
			return NULL;
		generation = &cb_page(racer->s, racer->ch)->generation;
		delay_spin(racer->delay);
		racer->before = __atomic_load_n(generation, __ATOMIC_SEQ_CST);
		racer->ret = racer_act(racer);
		racer->after = __atomic_load_n(generation, __ATOMIC_SEQ_CST);
		bell_ring(&racer->done, round);
	}
}

/* Who was first: the racer; then RESET had not come; or it had. */
enum place { FIRST, BETWEEN, TOO_LATE, PLACES };

struct race {
	struct rig r;
	struct racer racer;
	struct walk walk[KINDS][2];
	__u32 random;
	int complete;		/* epoll of COMPLETE alone */
	pid_t bystander;
	bool was_idle;
	bool aborted;		/* the verdict on the old generation is ABORT's */
	__u32 places[KINDS][PLACES];
	__u32 overlaps[KINDS];
	__u32 keeping;
};

/* A process that shares our memory, which is cheap, and does nothing. */
static int nobody(void *arg)
{
	for (;;)
		pt_sleep_for_ever();
	return 0;
}

static pid_t spawn_nobody(void)
{
	/* long double: the alignment a stack needs */
	static long double stack[PT_STACK / sizeof(long double)];
	cpu_set_t set;
	pid_t pid;

	pid = clone(nobody, (char *)stack + sizeof(stack), CLONE_VM | SIGCHLD,
		    NULL);
	if (pid < 0)
		return -errno;
	CPU_ZERO(&set);
	CPU_SET(1, &set);
	sched_setaffinity(pid, sizeof(set), &set);
	return pid;
}

/* What the racer may say; @old, @new: the generations.  "" or the complaint. */
static const char *judge(struct race *race, __u32 old, __u32 new, bool won)
{
	struct racer *racer = &race->racer;
	struct cb_session *s = &race->r.s;
	const bool first = race->was_idle && !race->aborted;
	const enum kind kind = racer->kind;
	const int ret = racer->ret;
	enum place place;
	bool good;

	if ((racer->before != old && racer->before != new) ||
	    (racer->after != old && racer->after != new))
		return cb_complain(s, "generations %u and %u were seen",
				   racer->before, racer->after);
	switch (kind) {
	case ANSWER:
		if (first)
			good = !ret;
		else if (race->was_idle)
			good = ret == -ECANCELED || ret == -ESTALE;
		else
			good = ret == -EALREADY || ret == -ESTALE;
		break;
	case PROGRESS:
		good = !first && (ret == -EALREADY || ret == -ESTALE ||
				  (race->was_idle && !ret));
		break;
	case BIND:
		good = !first && (!ret || ret == -ESTALE);
		break;
	case CLOSE:
	case EXIT:
		good = !ret;
		break;
	default:
		good = !first && (won ? ret == -EBUSY : ret >= 0);
	}
	if (!good)
		return cb_complain(s, "%s said %d; was idle %d, aborted %d",
				   kind_names[kind], ret, race->was_idle,
				   race->aborted);

	if (kind == ANSWER || kind == PROGRESS || kind == BIND) {
		place = ret == -ESTALE ? TOO_LATE : ret ? BETWEEN : FIRST;
		/* what it saw on either side leaves no choice */
		if ((racer->before == new && place != TOO_LATE) ||
		    (racer->after == old && place == TOO_LATE))
			return cb_complain(s, "%s said %d between generation %u and %u",
					   kind_names[kind], ret,
					   racer->before, racer->after);
	} else if (kind == CLAIM) {
		place = ret >= 0 ? FIRST :
			racer->before == new ? TOO_LATE : BETWEEN;
		/* before RESET the old handle has it */
		if (ret >= 0 && racer->after == old)
			return cb_complain(s, "two claims in generation %u",
					   old);
	} else {
		place = first ? FIRST :
			racer->before == new ? TOO_LATE : BETWEEN;
		if (first && racer->before == new)
			return cb_complain(s, "%s was counted before it was",
					   kind_names[kind]);
	}
	race->places[kind][place]++;
	race->overlaps[kind] += racer->before == old && racer->after == new;
	return "";
}

/* Between ABORT and RESET: who has answered the old generation? */
static const char *look(struct race *race, __u32 ch)
{
	struct cb_session *s = &race->r.s;
	struct racer *racer = &race->racer;
	struct chipboot_page page;
	__u8 origin = CHIPBOOT_ORIGIN_OWNER;
	int ret = cb_read(s->observer, ch, &page);

	if (ret)
		return cb_complain(s, "READ: %s", strerror(-ret));
	if (!race->aborted)
		origin = racer->kind == ANSWER ? CHIPBOOT_ORIGIN_PUBLISHER :
			 racer->kind == CLOSE ? CHIPBOOT_ORIGIN_CLOSED :
						CHIPBOOT_ORIGIN_EXIT;
	if (page.origin != origin || page.order != s->orders + 1 ||
	    page.state != (origin == CHIPBOOT_ORIGIN_PUBLISHER ?
			   CHIPBOOT_SUCCESS : CHIPBOOT_ERROR))
		return cb_complain(s, "state %d of origin %u, order %u; aborted %d, racer %s",
				   page.state, page.origin, page.order,
				   race->aborted, kind_names[racer->kind]);
	if (origin == CHIPBOOT_ORIGIN_PUBLISHER &&
	    (page.device_ctx != racer->publish.device_ctx ||
	     (__u32)page.count != racer->publish.count ||
	     memcmp(page.words, (void *)(uintptr_t)racer->publish.words,
		    page.count * sizeof(__u64))))
		return cb_complain(s, "not the racer's answer");
	return "";
}

/* What the claimant does in the new generation; that, and nothing else, shows. */
static int claimant_acts(struct race *race, __u32 ch)
{
	struct rig *r = &race->r;

	switch (random_next(&race->random) % 6) {
	case 0:
		return 0;
	case 1:
		return do_progress(r, ch, "of the new generation");
	case 2:
		return do_error(r, ch, -42);
	case 3:
		cb_want_bound(&r->s, ch, getpid());
		return cb_bind(r->pub[ch], 0, 0);
	default:
		return do_success(r, ch, race->random);
	}
}

#define TRY(ret, what) do { \
	int _ret = (ret); \
	if (_ret < 0) \
		return cb_complain(s, "%s: %s", what, strerror(-_ret)); \
} while (0)

/* One generation ends while the racer acts for it, and the next one begins. */
static const char *run_round(struct race *race, __u32 round)
{
	struct rig *r = &race->r;
	struct cb_session *s = &r->s;
	struct racer *racer = &race->racer;
	const enum kind kind = schedule[round % 16];
	const __u32 hot = round % s->n;
	const bool keep = kind <= PROGRESS && random_next(&race->random) % 4 == 0;
	const bool wide = !keep && random_next(&race->random) % 16 == 0;
	const __u32 first = wide ? 0 : hot, count = wide ? s->n : 1;
	const __u32 old = r->gen[hot];
	static __u64 words[16];
	struct chipboot_page then, now;
	__u32 ch, idle = 0, aborted = 0;
	struct walk *walk;
	int fds[SESSION], ret;
	struct epoll_event ev;
	const char *why;
	bool won = true, late;
	__s32 delay;

	/* the old generation, as it stands */
	race->was_idle = s->want[hot].state == CHIPBOOT_IDLE;
	for (ch = first; ch < first + count; ch++) {
		fds[ch] = r->pub[ch];
		idle += s->want[ch].state == CHIPBOOT_IDLE;
	}
	racer->pid = race->bystander;
	if (kind == EXIT) {
		racer->pid = spawn_nobody();
		TRY(racer->pid, "clone");
		TRY(cb_bind(r->pub[hot], racer->pid, 0), "BIND");
		cb_want_bound(s, hot, racer->pid);
	}
	racer->kind = kind;
	racer->fd = r->pub[hot];
	racer->ch = hot;
	racer->generation = old;
	racer->publish = cb_a_success(old, round, words, 16);

	/*
	 * Led to where the racer and the first of our calls overlap, or the
	 * racer and RESET.
	 */
	walk = &race->walk[kind][race->was_idle && kind != BIND &&
				 kind != CLAIM &&
				 random_next(&race->random) % 2];
	delay = walk_delay(walk, random_next(&race->random));
	racer->delay = delay > 0 ? delay : 0;
	bell_ring(&racer->start, round);
	delay_spin(-delay);

	if (idle)
		TRY(cb_abort(s->owner, first, count, -7, "the next one",
			     &aborted), "ABORT");
	if (aborted != idle && (aborted != idle - 1 || !race->was_idle))
		return cb_complain(s, "%u of %u aborted", aborted, idle);
	race->aborted = race->was_idle && aborted == idle;
	if (race->was_idle && !wide && random_next(&race->random) % 2) {
		why = look(race, hot);
		if (*why)
			return why;
	}
	TRY(cb_reset(s->owner, first, count, keep ? KEEP : 0), "RESET");
	/* now and then it is nobody's for a while */
	if (kind == CLAIM)
		delay_spin((__s32)(random_next(&race->random) % 65536));
	for (ch = first; ch < first + count && !keep; ch++) {
		__u32 generation;

		ret = cb_claim(s->owner, ch, &generation);
		if (ch == hot && kind == CLAIM && ret == -EBUSY) {
			won = false;
			continue;
		}
		TRY(ret, "CLAIM");
		if (generation != r->gen[ch] + 1)
			return cb_complain(s, "CLAIM: generation %u, not %u",
					   generation, r->gen[ch] + 1);
		r->pub[ch] = ret;
	}
	/* each channel that was IDLE has got one answer, whosever */
	s->orders += idle;
	for (ch = first; ch < first + count; ch++) {
		cb_want_reset(s, ch, keep);
		r->gen[ch]++;
	}
	if (won)
		TRY(claimant_acts(race, hot), "the claimant");

	/* from here on not one bit changes, whatever the racer is still at */
	TRY(cb_read(s->observer, hot, &then), "READ");
	bell_wait(&racer->done, round - 1);
	TRY(cb_read(s->observer, hot, &now), "READ");
	if (cb_page_diff(&then, &now, s->why, sizeof(s->why)))
		return s->why;
	why = judge(race, old, r->gen[hot], won);
	if (*why)
		return why;
	if (walk != race->walk[kind])
		late = kind == PROGRESS ? racer->ret != 0 : race->aborted;
	else if (kind == ANSWER || kind == PROGRESS || kind == BIND)
		late = racer->ret == -ESTALE;
	else
		late = racer->before != old;
	walk_learn(walk, late);
	race->keeping += keep;
	if (!won)
		r->pub[hot] = racer->ret;

	/* the whole session: pages, STATUS, poll */
	why = cb_check(s);
	if (*why)
		return why;
	/* of COMPLETE alone, by one who depends on being woken */
	ret = epoll_wait(race->complete, &ev, 1, 0);
	if (ret != (cb_want_holds(s) & CHIPBOOT_EVENT_COMPLETE ? 1 : 0))
		return cb_complain(s, "COMPLETE: epoll says %d", ret);

	/* what is left of the old generation; the next check sees if it mattered */
	if (kind == EXIT && cb_reap(racer->pid) != SIGKILL)
		return cb_complain(s, "nobody's end");
	for (ch = first; ch < first + count && !keep; ch++) {
		if (ch == hot && kind == CLOSE)
			continue;
		if (!(cb_revents(fds[ch]) & POLLERR))
			return cb_complain(s, "an old handle is not stale");
		close(fds[ch]);
	}
	return "";
}

FIXTURE(race) {
	struct race race;
	pthread_t thread;
};

FIXTURE_SETUP(race)
{
	struct race *race = &self->race;
	struct epoll_event ev = { .events = EPOLLIN };
	int observer;

	memset(race, 0, sizeof(*race));
	ASSERT_LE(2, sysconf(_SC_NPROCESSORS_ONLN))
		TH_LOG("needs two processors: nothing can race on one");
	ASSERT_OK(rig_open(&race->r, SESSION));
	observer = cb_observe(race->r.s.owner, CHIPBOOT_EVENT_COMPLETE);
	ASSERT_LE(0, observer);
	race->complete = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, race->complete);
	ASSERT_EQ(0, epoll_ctl(race->complete, EPOLL_CTL_ADD, observer, &ev));
	race->bystander = bind_kid(&race->r, 0);
	ASSERT_LT(0, race->bystander);
	race->racer.s = &race->r.s;
	race->random = 4711;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, racer_main,
				    &race->racer));
	ASSERT_EQ(0, cb_pin(0));
}

FIXTURE_TEARDOWN(race)
{
	rig_close(&self->race.r);
}

TEST_F(race, old_generation_against_new)
{
	struct race *race = &self->race;
	__u64 begin = cb_now();
	__u32 round, k, n;

	for (round = 1; round <= ROUNDS; round++) {
		ASSERT_OK(run_round(race, round))
			TH_LOG("round %u, %s", round,
			       kind_names[race->racer.kind]);
	}
	race->racer.stop = true;
	bell_ring(&race->racer.start, round);
	pthread_join(self->thread, NULL);

	ksft_print_msg("%u rounds in %llu ms, %u of them with KEEP_PUBLISHERS, %u answers\n",
		       ROUNDS,
		       (unsigned long long)((cb_now() - begin) / 1000000),
		       race->keeping, race->r.s.orders);
	for (k = 0; k < KINDS; k++) {
		const __u32 *places = race->places[k];

		n = places[FIRST] + places[BETWEEN] + places[TOO_LATE];
		ksft_print_msg("%-8s %5u: first %5u, between %5u, too late %5u; %5u met RESET\n",
			       kind_names[k], n, places[FIRST],
			       places[BETWEEN], places[TOO_LATE],
			       race->overlaps[k]);
		EXPECT_LT(0, places[FIRST]);
		EXPECT_LT(0, places[TOO_LATE]);
		/* who binds is too late for RESET alone */
		if (k != BIND)
			EXPECT_LT(0, places[BETWEEN]);
		EXPECT_LT(0, race->overlaps[k]);
	}
	EXPECT_LT(0, race->keeping);
}

TEST_HARNESS_MAIN
