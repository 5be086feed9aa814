// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exactly once: of many who publish on one channel at the same time one wins
 * and the page is the winner's whole; whoever comes later, or means another
 * generation, is told so and changes nothing.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */

#include "chipboot_test.h"

#include <linux/futex.h>
#include <pthread.h>

#define RACERS	16
#define ROUNDS	200

/*
 * What racer @i says in this round: even ones SUCCESS, odd ones ERROR, at full
 * size, and every word and every byte is the racer's own.
 */
static struct chipboot_publish racer_answer(__u32 generation, __u32 i,
					    __u64 *words, char *text)
{
	if (i & 1) {
		memset(text, 'A' + (int)i, CHIPBOOT_MESSAGE_SIZE - 1);
		return cb_an_error(generation, (__s32)(generation * 100 + i),
				   text, CHIPBOOT_MESSAGE_SIZE - 1);
	}
	return cb_a_success(generation, (__u64)generation << 8 | i, words,
			    CHIPBOOT_WORDS_MAX);
}

/* Everybody waits here; the last to come opens it for all. */
struct gate {
	unsigned int in, round;
};

static void gate_pass(struct gate *g, unsigned int n)
{
	unsigned int round = __atomic_load_n(&g->round, __ATOMIC_ACQUIRE);
	unsigned int i;

	if (__atomic_add_fetch(&g->in, 1, __ATOMIC_ACQ_REL) == n) {
		__atomic_store_n(&g->in, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&g->round, round + 1, __ATOMIC_RELEASE);
		syscall(SYS_futex, &g->round, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
		return;
	}
	/*
	 * Yield first, for a hot start; but there are more racers than
	 * processors, and on a busy machine the one that is missing needs them.
	 */
	for (i = 0; i < 20; i++) {
		if (__atomic_load_n(&g->round, __ATOMIC_ACQUIRE) != round)
			return;
		sched_yield();
	}
	while (__atomic_load_n(&g->round, __ATOMIC_ACQUIRE) == round)
		syscall(SYS_futex, &g->round, FUTEX_WAIT, round, NULL, NULL, 0);
}

struct racer {
	struct contest *contest;
	__u32 i;
	pthread_t thread;
};

/* Shared by threads and by forked processes alike. */
struct contest {
	struct gate gate;
	int pub;
	__u32 rounds;
	int ret[RACERS];
	pid_t pid[RACERS];
	struct racer racer[RACERS];
};

static void race(struct contest *c, __u32 i)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_publish p;
	__u32 round;

	c->pid[i] = getpid();
	for (round = 1; round <= c->rounds; round++) {
		p = racer_answer(round, i, words, text);
		gate_pass(&c->gate, RACERS + 1);	/* start */
		c->ret[i] = cb_publish(c->pub, &p);
		gate_pass(&c->gate, RACERS + 1);	/* all have tried */
		gate_pass(&c->gate, RACERS + 1);	/* it was judged */
	}
}

static void *race_thread(void *arg)
{
	struct racer *r = arg;

	race(r->contest, r->i);
	return NULL;
}

/* The judge's side; the racers have been started. */
static void judge(struct __test_metadata *_metadata, struct cb_session *s,
		  struct contest *c, __u32 *wins)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_publish p;
	__u32 round, i, winner, winners, losers;

	for (round = 1; round <= c->rounds; round++) {
		for (i = 0; i < RACERS; i++)
			c->ret[i] = 12345;
		gate_pass(&c->gate, RACERS + 1);
		gate_pass(&c->gate, RACERS + 1);
		winner = RACERS;
		winners = 0;
		losers = 0;
		for (i = 0; i < RACERS; i++) {
			if (!c->ret[i]) {
				winner = i;
				winners++;
			} else if (c->ret[i] == -EALREADY) {
				losers++;
			} else {
				EXPECT_EQ(-EALREADY, c->ret[i]);
			}
		}
		ASSERT_EQ(1, winners) TH_LOG("round %u", round);
		ASSERT_EQ(RACERS - 1, losers) TH_LOG("round %u", round);
		wins[winner]++;
		p = racer_answer(round, winner, words, text);
		cb_want_publish(s, 1, &p, c->pid[winner]);
		ASSERT_STATE(s) TH_LOG("round %u, winner %u", round, winner);

		ASSERT_EQ(0, cb_reset(s->owner, 1, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		cb_want_reset(s, 1, 1);
		ASSERT_STATE(s);
		gate_pass(&c->gate, RACERS + 1);
	}
}

/* Printed, and that there was a race at all: not always the same one wins. */
static void judge_wins(struct __test_metadata *_metadata, const __u32 *wins)
{
	__u32 i, different = 0;
	char line[256];
	int n = 0;

	for (i = 0; i < RACERS; i++) {
		different += wins[i] != 0;
		n += snprintf(line + n, sizeof(line) - n, " %u", wins[i]);
	}
	ksft_print_msg("%u rounds, won by racer 0 to %u:%s\n", ROUNDS,
		       RACERS - 1, line);
	EXPECT_LE(2, different);
}

TEST(threads)
{
	struct contest *c = cb_shared(sizeof(*c));
	__u32 wins[RACERS] = { 0 };
	struct cb_session s;
	__u32 i;

	ASSERT_EQ(0, cb_session_open(&s, 3)) TH_LOG("%s", s.why);
	c->pub = cb_claim(s.owner, 1, NULL);
	ASSERT_LE(0, c->pub);
	c->rounds = ROUNDS;
	ASSERT_STATE(&s);
	for (i = 0; i < RACERS; i++) {
		c->racer[i].contest = c;
		c->racer[i].i = i;
		ASSERT_EQ(0, pthread_create(&c->racer[i].thread, NULL,
					    race_thread, &c->racer[i]));
	}
	judge(_metadata, &s, c, wins);
	for (i = 0; i < RACERS; i++)
		pthread_join(c->racer[i].thread, NULL);
	judge_wins(_metadata, wins);
	close(c->pub);
	cb_session_close(&s);
}

/* The same with processes: the page names the winner's. */
TEST(processes)
{
	struct contest *c = cb_shared(sizeof(*c));
	__u32 wins[RACERS] = { 0 };
	struct cb_session s;
	pid_t pid[RACERS], judge_pid = getpid();
	__u32 i;

	ASSERT_EQ(0, cb_session_open(&s, 3)) TH_LOG("%s", s.why);
	c->pub = cb_claim(s.owner, 1, NULL);
	ASSERT_LE(0, c->pub);
	c->rounds = ROUNDS;
	ASSERT_STATE(&s);
	for (i = 0; i < RACERS; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			cb_die_with(judge_pid);
			race(c, i);
			_exit(0);
		}
	}
	judge(_metadata, &s, c, wins);
	for (i = 0; i < RACERS; i++)
		EXPECT_EQ(0, cb_reap(pid[i]));
	judge_wins(_metadata, wins);
	close(c->pub);
	cb_session_close(&s);
}

/* ---- too late ---------------------------------------------------------- */

FIXTURE(answered) {
	struct cb_session s;
	int pub;
};

enum how { BY_SUCCESS, BY_ERROR, BY_OWNER, BY_DEADLINE, BY_EXIT };

FIXTURE_VARIANT(answered) {
	enum how how;
	int refusal;		/* of a second PUBLISH, and of CLAIM */
};

FIXTURE_VARIANT_ADD(answered, success) {
	.how = BY_SUCCESS,
	.refusal = -EALREADY,
};

FIXTURE_VARIANT_ADD(answered, error) {
	.how = BY_ERROR,
	.refusal = -EALREADY,
};

FIXTURE_VARIANT_ADD(answered, owner) {
	.how = BY_OWNER,
	.refusal = -ECANCELED,
};

FIXTURE_VARIANT_ADD(answered, deadline) {
	.how = BY_DEADLINE,
	.refusal = -ECANCELED,
};

FIXTURE_VARIANT_ADD(answered, exit) {
	.how = BY_EXIT,
	.refusal = -ECANCELED,
};

/*
 * Channel 1 of two has been answered, its publisher handle lives, and the model
 * has been found true.
 */
FIXTURE_SETUP(answered)
{
	struct cb_session *s = &self->s;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	__u32 aborted;
	pid_t pid;

	ASSERT_EQ(0, cb_session_open(s, 2)) TH_LOG("%s", s->why);
	self->pub = cb_claim(s->owner, 1, NULL);
	ASSERT_LE(0, self->pub);
	ASSERT_STATE(s);
	switch (variant->how) {
	case BY_SUCCESS:
		p = cb_a_success(1, 77, words, 376);
		ASSERT_EQ(0, cb_publish(self->pub, &p));
		cb_want_publish(s, 1, &p, getpid());
		break;
	case BY_ERROR:
		p = cb_an_error(1, 507899, "E01001: no such chip", 20);
		ASSERT_EQ(0, cb_publish(self->pub, &p));
		cb_want_publish(s, 1, &p, getpid());
		break;
	case BY_OWNER:
		ASSERT_EQ(0, cb_abort(s->owner, 1, 1, -7, "enough", &aborted));
		ASSERT_EQ(1, aborted);
		cb_want_verdict(s, 1, CHIPBOOT_ORIGIN_OWNER, -7, "enough");
		break;
	case BY_DEADLINE:
		/* 1 ns after boot: long past, so it fires before it returns */
		ASSERT_EQ(0, cb_deadline(s->owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE));
		s->deadline_ns = 1;
		/* the whole session's: channel 0 is first in no other sense */
		for (__u32 ch = 0; ch < 2; ch++) {
			cb_want_verdict(s, ch, CHIPBOOT_ORIGIN_DEADLINE,
					-ETIMEDOUT, "");
			/* the text is the kernel's; not what this is about */
			memcpy(s->want[ch].message, cb_page(s, ch)->message,
			       CHIPBOOT_MESSAGE_SIZE);
		}
		break;
	case BY_EXIT:
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			pause();
			_exit(0);
		}
		ASSERT_EQ(0, cb_bind(self->pub, pid, 0));
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(SIGKILL, cb_reap(pid));
		s->want[1].publisher_pid = pid;
		s->want[1].wait_status = SIGKILL;
		s->want[1].flags = CHIPBOOT_PAGE_STATUS_VALID;
		cb_want_verdict(s, 1, CHIPBOOT_ORIGIN_EXIT, -EOWNERDEAD, "");
		memcpy(s->want[1].message, cb_page(s, 1)->message,
		       CHIPBOOT_MESSAGE_SIZE);
		break;
	}
	ASSERT_STATE(s);
}

FIXTURE_TEARDOWN(answered)
{
	close(self->pub);
	cb_session_close(&self->s);
}

TEST_F(answered, publish_is_refused)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	int i;

	for (i = 0; i < 3; i++) {
		p = cb_a_success(1, 88, words, 376);
		EXPECT_EQ(variant->refusal, cb_publish(self->pub, &p));
		ASSERT_STATE(&self->s);
		p = cb_an_error(1, -1, "me too", 6);
		EXPECT_EQ(variant->refusal, cb_publish(self->pub, &p));
		ASSERT_STATE(&self->s);
	}
}

/* The same answer once more is a second answer too. */
TEST_F(answered, other_process_is_refused)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(cb_success(self->pub, 1) == variant->refusal ? 0 : 1);
	status = cb_reap(pid);
	EXPECT_EQ(0, status);
	ASSERT_STATE(&self->s);
}

TEST_F(answered, progress_is_refused)
{
	EXPECT_EQ(-EALREADY, cb_progress(self->pub, 1, "still at it"));
	ASSERT_STATE(&self->s);
	EXPECT_EQ(-EALREADY, cb_progress(self->pub, 1, ""));
	ASSERT_STATE(&self->s);
}

TEST_F(answered, abort_leaves_it_alone)
{
	__u32 aborted = 99;

	EXPECT_EQ(0, cb_abort(self->s.owner, 1, 1, -9, "never mind", &aborted));
	EXPECT_EQ(0, aborted);
	ASSERT_STATE(&self->s);
}

TEST_F(answered, other_generation_is_refused)
{
	static const __u32 wrong[] = { 0, 2, 3, 0x80000001, ~0u };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(-ESTALE, cb_success(self->pub, wrong[i]));
		ASSERT_STATE(&self->s);
		EXPECT_EQ(-ESTALE, cb_progress(self->pub, wrong[i], "late"));
		ASSERT_STATE(&self->s);
	}
}

/* The channel cannot be taken anew, neither with its handle open nor after. */
TEST_F(answered, claim_is_refused)
{
	EXPECT_EQ(-EBUSY, cb_claim(self->s.owner, 1, NULL));
	ASSERT_STATE(&self->s);
	close(self->pub);
	self->pub = -1;
	ASSERT_STATE(&self->s);
	EXPECT_EQ(variant->refusal, cb_claim(self->s.owner, 1, NULL));
	ASSERT_STATE(&self->s);
}

/* The late answer of the last round does not land in this one. */
TEST_F(answered, late_answer_after_reset)
{
	struct cb_session *s = &self->s;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;

	ASSERT_EQ(0, cb_reset(s->owner, 1, 1, CHIPBOOT_RESET_KEEP_PUBLISHERS));
	/* the binding of a process that is dead does not carry over */
	cb_want_reset(s, 1, 0);
	ASSERT_STATE(s);
	p = cb_a_success(1, 99, words, 376);
	EXPECT_EQ(-ESTALE, cb_publish(self->pub, &p));
	ASSERT_STATE(s);
	EXPECT_EQ(-ESTALE, cb_progress(self->pub, 1, "late"));
	ASSERT_STATE(s);
	EXPECT_EQ(-ESTALE, cb_success(self->pub, 3));
	ASSERT_STATE(s);
	/* this round's own is taken, once */
	p.generation = 2;
	EXPECT_EQ(0, cb_publish(self->pub, &p));
	cb_want_publish(s, 1, &p, getpid());
	ASSERT_STATE(s);
	EXPECT_EQ(-EALREADY, cb_publish(self->pub, &p));
	ASSERT_STATE(s);
}

/* Without KEEP_PUBLISHERS the handle itself is of the past, in any generation. */
TEST_F(answered, dropped_handle_after_reset)
{
	struct cb_session *s = &self->s;
	int pub;

	ASSERT_EQ(0, cb_reset(s->owner, 1, 1, 0));
	cb_want_reset(s, 1, 0);
	ASSERT_STATE(s);
	EXPECT_EQ(-ESTALE, cb_success(self->pub, 1));
	EXPECT_EQ(-ESTALE, cb_success(self->pub, 2));
	EXPECT_EQ(-ESTALE, cb_progress(self->pub, 2, "late"));
	EXPECT_EQ(-ESTALE, cb_bind(self->pub, 0, 0));
	ASSERT_STATE(s);
	/* and its last close is not the end of the new claim */
	pub = cb_claim(s->owner, 1, NULL);
	ASSERT_LE(0, pub);
	close(self->pub);
	self->pub = -1;
	ASSERT_STATE(s);
	close(pub);
	cb_want_verdict(s, 1, CHIPBOOT_ORIGIN_CLOSED, -EOWNERDEAD, "");
	memcpy(s->want[1].message, cb_page(s, 1)->message,
	       CHIPBOOT_MESSAGE_SIZE);
	ASSERT_STATE(s);
	EXPECT_EQ(-ECANCELED, cb_claim(s->owner, 1, NULL));
	ASSERT_STATE(s);
}

/* ---- refused while IDLE: nothing changed ------------------------------- */

TEST(refused_while_idle)
{
	__u64 words[CHIPBOOT_WORDS_MAX + 1] = { 0 };
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_publish good[2], p;
	struct cb_session s;
	int pub, i;

	ASSERT_EQ(0, cb_session_open(&s, 2)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	ASSERT_EQ(0, cb_progress(pub, 1, "comm_init"));
	cb_want_progress(&s, 0, "comm_init");
	ASSERT_STATE(&s);

	memset(text, 'x', sizeof(text));
	good[0] = cb_a_success(1, 5, words, 376);
	good[1] = cb_an_error(1, 5, text, 10);

#define REFUSED(errno_, which, change) do { \
	p = good[which]; \
	change; \
	EXPECT_EQ(-(errno_), cb_publish(pub, &p)) \
		TH_LOG("%s", #change); \
	ASSERT_STATE(&s) \
		TH_LOG("%s", #change); \
} while (0)
	for (i = 0; i < 2; i++) {
		REFUSED(ESTALE, i, p.generation = 0);
		REFUSED(ESTALE, i, p.generation = 2);
		REFUSED(EINVAL, i, p.flags = 2);
		REFUSED(EINVAL, i, p.flags = 0x80000000);
		REFUSED(EINVAL, i, p.state = CHIPBOOT_IDLE);
		REFUSED(EINVAL, i, p.state = 3);
		REFUSED(EINVAL, i, p.state = -1);
	}
	REFUSED(EINVAL, 0, p.error_code = 1);
	REFUSED(EINVAL, 0, p.message = cb_ptr(text));
	REFUSED(EINVAL, 0, p.message_len = 1);
	REFUSED(EINVAL, 0, p.flags = CHIPBOOT_PUBLISH_TRUNCATED);
	REFUSED(EOVERFLOW, 0, p.count = 377);
	REFUSED(EOVERFLOW, 0, p.count = ~0u);
	REFUSED(EFAULT, 0, p.words = 8);
	REFUSED(EINVAL, 1, p.device_ctx = 1);
	REFUSED(EINVAL, 1, p.local_window_base = 1);
	REFUSED(EINVAL, 1, p.actual_window_size = 1);
	REFUSED(EINVAL, 1, p.words = cb_ptr(words));
	REFUSED(EINVAL, 1, p.count = 1);
	REFUSED(EMSGSIZE, 1, p.message_len = 1024);
	REFUSED(EMSGSIZE, 1, p.message_len = ~0u);
	REFUSED(EFAULT, 1, p.message = 8);
#undef REFUSED
	EXPECT_EQ(-EMSGSIZE, cb_progress_n(pub, 1, text, 1024, 0));
	EXPECT_EQ(-EINVAL, cb_progress_n(pub, 1, text, 10, 2));
	EXPECT_EQ(-EFAULT, cb_progress_n(pub, 1, (void *)8, 10, 0));
	EXPECT_EQ(-ESTALE, cb_progress_n(pub, 0, text, 10, 0));
	EXPECT_EQ(-ESTALE, cb_progress_n(pub, 2, text, 10, 0));
	ASSERT_STATE(&s);

	/* after all that it is as good as ever */
	EXPECT_EQ(0, cb_publish(pub, &good[0]));
	cb_want_publish(&s, 0, &good[0], getpid());
	ASSERT_STATE(&s);
	close(pub);
	cb_session_close(&s);
}

TEST_HARNESS_MAIN
