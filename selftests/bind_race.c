// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 1800 */
/* alone: two processors that really race */
/*
 * BIND of a child while it dies and is reaped, by another thread or by nobody
 * (SIGCHLD ignored).  A launcher does that when a chip's process fails at once and a
 * handler of SIGCHLD, or a thread that waits for all children, is quick.
 *
 * One thread BINDs the child again and again until there is no such process.  So in
 * each round one of the calls, wherever it is just then, meets the end of the child;
 * in some rounds the first.
 */
#include "process_test.h"

#include <linux/futex.h>
#include <pthread.h>

#define ROUNDS	2000

struct race {
	struct cb_session s;
	int pub;
	pthread_t reaper;
	int reaper_ret;		/* of what it does once; 0 */
	bool ignored;		/* SIGCHLD is */
	/* handed to and fro between the two threads */
	__u32 round;
	__u32 started;		/* a round: pid is valid */
	__u32 reaped;		/* a round: status is */
	pid_t pid;
	int status;		/* what waitpid() said, or -errno */
};

/* ---- the two threads meet ------------------------------------------------ */

static void tell(__u32 *word, __u32 round)
{
	__atomic_store_n(word, round, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(__u32 *word, __u32 round)
{
	unsigned int spins = 0;
	__u32 now;

	while ((now = __atomic_load_n(word, __ATOMIC_SEQ_CST)) != round) {
		if (++spins > 2000)
			syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, now, NULL,
				NULL, 0);
	}
}

/* xorshift: the same on every run */
static __u32 random_below(__u32 *state, __u32 limit)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state % limit;
}

/* ---- the child ------------------------------------------------------------ */

static int exit_code(__u32 round)
{
	return (int)(round % 251);
}

/* In the reaper's memory, and with its thread-local storage. */
static int child_main(void *arg)
{
	const struct race *r = arg;

	syscall(SYS_exit_group, exit_code(r->round));
	return 0;
}

/* ---- the thread that reaps ------------------------------------------------ */

static void *reaper_main(void *arg)
{
	/* long double: the alignment a stack needs */
	static long double stack[PT_STACK / sizeof(long double)];
	const int flags = CLONE_VM | SIGCHLD;
	struct race *r = arg;
	__u32 round, seed = 4711;
	bool zombie;

	r->reaper_ret = cb_pin(1);
	for (round = 1; round <= ROUNDS; round++) {
		await(&r->round, round);
		/* dead before the race begins, or in it? */
		zombie = !r->ignored && random_below(&seed, 2);
		r->pid = clone(child_main, (char *)stack + sizeof(stack),
			       zombie ? flags | CLONE_VFORK : flags, r);
		tell(&r->started, round);
		if (r->pid > 0) {
			pt_spin(random_below(&seed, 4) ?
				random_below(&seed, 2000) : 0);
			r->status = cb_reap(r->pid);
		}
		tell(&r->reaped, round);
	}
	return NULL;
}

/* ---- the thread that BINDs ------------------------------------------------ */

FIXTURE(bind_race)
{
	struct race r;
};

FIXTURE_VARIANT(bind_race)
{
	bool ignored;
};

FIXTURE_VARIANT_ADD(bind_race, waitpid)
{
	.ignored = false,
};

FIXTURE_VARIANT_ADD(bind_race, sigchld_ignored)
{
	.ignored = true,
};

FIXTURE_SETUP(bind_race)
{
	struct race *r = &self->r;

	ASSERT_EQ(0, cb_session_open(&r->s, 1)) TH_LOG("%s", r->s.why);
	r->pub = cb_claim(r->s.owner, 0, NULL);
	ASSERT_LE(0, r->pub);
	r->ignored = variant->ignored;
	if (r->ignored)
		signal(SIGCHLD, SIG_IGN);
	ASSERT_EQ(0, cb_pin(0));
	ASSERT_EQ(0, pthread_create(&r->reaper, NULL, reaper_main, r));
}

FIXTURE_TEARDOWN(bind_race)
{
	close(self->r.pub);
	cb_session_close(&self->r.s);
}

/*
 * Bound at least once: the child's end is the channel's.  Never: as if nothing had
 * been asked.
 */
static void judge(struct __test_metadata *_metadata, struct race *r,
		  __u32 round, __u32 bound)
{
	const struct chipboot_page *page = cb_page(&r->s, 0);
	struct chipboot_status st;

	ASSERT_EQ(0, cb_status(r->pub, 0, 0, &st));
	ASSERT_EQ(round, st.channel_generation);
	ASSERT_EQ(0, st.channel_bound);
	if (bound) {
		ASSERT_EQ(CHIPBOOT_ERROR, st.channel_state);
		ASSERT_EQ(CHIPBOOT_ORIGIN_EXIT, page->origin);
		ASSERT_EQ(-EOWNERDEAD, page->error_code);
		ASSERT_EQ(exit_code(round) << 8, page->wait_status);
		ASSERT_EQ(CHIPBOOT_PAGE_STATUS_VALID, page->flags);
		ASSERT_EQ(r->pid, page->publisher_pid);
		ASSERT_EQ(-ECANCELED, cb_success(r->pub, round));
	} else {
		ASSERT_EQ(CHIPBOOT_IDLE, st.channel_state);
		ASSERT_EQ(0, page->publisher_pid);
		ASSERT_EQ(0, cb_success(r->pub, round));
	}
}

TEST_F(bind_race, child_is_reaped_meanwhile)
{
	__u32 round, bound, never = 0, once = 0, more = 0;
	struct race *r = &self->r;
	int ret;

	for (round = 1; round <= ROUNDS; round++) {
		tell(&r->round, round);
		await(&r->started, round);
		ASSERT_LT(0, r->pid);
		bound = 0;
		while (!(ret = cb_bind(r->pub, r->pid, 0)))
			bound++;
		ASSERT_EQ(-ESRCH, ret) TH_LOG("round %u", round);
		await(&r->reaped, round);
		ASSERT_EQ(r->ignored ? -ECHILD : exit_code(round) << 8,
			  r->status);
		ASSERT_EQ(-ESRCH, cb_bind(r->pub, r->pid, 0));
		judge(_metadata, r, round, bound);
		if (!bound)
			never++;
		else if (bound == 1)
			once++;
		else
			more++;
		ASSERT_EQ(0, cb_reset(r->s.owner, 0, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	}
	pthread_join(r->reaper, NULL);
	ASSERT_EQ(0, r->reaper_ret);
	ksft_print_msg("%u children could not be bound, %u once, %u more often\n",
		       never, once, more);
	/* or the two did not meet */
	EXPECT_LT(0, once + more);
}

/* ---- credentials ----------------------------------------------------------- */

#define BINDS	5000

static void *opener_main(void *arg)
{
	const bool *ended = arg;

	while (!__atomic_load_n(ended, __ATOMIC_SEQ_CST))
		close(open("/dev/null", O_RDONLY | O_CLOEXEC));
	return NULL;
}

/*
 * A binding takes a reference to the credentials that every file a thread of the same
 * process opens has, too.  The kernel's own function for it writes without a lock;
 * debug-kcsan watches.
 */
TEST(credentials_are_shared)
{
	struct cb_session s;
	bool ended = false;
	pthread_t opener;
	int i, pub;

	ASSERT_EQ(0, cb_session_open(&s, 1)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	ASSERT_EQ(0, pthread_create(&opener, NULL, opener_main, &ended));
	for (i = 0; i < BINDS; i++)
		ASSERT_EQ(0, cb_bind(pub, 0, SIGTERM));
	__atomic_store_n(&ended, true, __ATOMIC_SEQ_CST);
	pthread_join(opener, NULL);
	close(pub);
	cb_session_close(&s);
}

TEST_HARNESS_MAIN
