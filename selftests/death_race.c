// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 1800 */
/* alone: two processors that really race */
/*
 * Death against everything that can happen at the same moment, many times over: the
 * order in which threads leave, an answer just before, BIND, the last close, RESET, the
 * end of the session.
 *
 * The oracle of death.c, once per round: when waitid(WNOWAIT) has returned, one read of
 * the page.
 */
#include "process_test.h"

static const struct chipboot_page *page_of(struct pt_rig *r, __u32 ch)
{
	return cb_page(&r->s, ch);
}

FIXTURE(race)
{
	struct pt_rig r;
	__u64 start;
};

FIXTURE_SETUP(race)
{
	memset(&self->r, 0, sizeof(self->r));
	ASSERT_EQ(0, pt_adopt_orphans());
	self->start = cb_now();
}

FIXTURE_TEARDOWN(race)
{
	TH_LOG("%llu ms",
	       (unsigned long long)(cb_now() - self->start) / 1000000);
	pt_rig_close(&self->r);
}

/* ---- threads ------------------------------------------------------------- */

#define LEADER_ROUNDS	1000

struct leaving {
	pid_t tgid;
	bool leader_first;
};

static int thread_exits_9(void *arg)
{
	struct leaving *l = arg;

	if (l->leader_first)
		pt_wait_task_gone(l->tgid, l->tgid);
	syscall(SYS_exit, 9);
	return 0;
}

/* The leader leaves by SYS_exit(3), the other by SYS_exit(9), in one of three orders. */
static void two_threads(int round)
{
	static struct leaving l;
	pid_t tid;

	l.tgid = getpid();
	l.leader_first = round % 3 == 0;
	tid = pt_thread(thread_exits_9, &l, 0);
	if (tid < 0)
		_exit(100);
	if (round % 3 == 1)
		pt_wait_task_gone(l.tgid, tid);
	syscall(SYS_exit, 3);
}

TEST_F(race, leader_against_last_thread)
{
	struct pt_rig *r = &self->r;
	int status, round, three[3] = { 0 }, nine[3] = { 0 };
	struct chipboot_page at_once;
	struct cb_session *s = &r->s;
	const __u32 n = 8;
	__u32 ch;
	pid_t pid;

	ASSERT_OK(pt_rig_open(r, n));
	for (round = 0; round < LEADER_ROUNDS; round++) {
		ch = (__u32)round % n;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (cb_bind(r->pub[ch], 0, 0))
				_exit(101);
			two_threads(round);
		}
		ASSERT_EQ(0, pt_wait_dead(pid));
		cb_copy_page(&at_once, page_of(r, ch));
		status = cb_reap(pid);
		ASSERT_EQ(CHIPBOOT_ERROR, at_once.state);
		ASSERT_EQ(status, at_once.wait_status);
		ASSERT_TRUE(status == 3 << 8 || status == 9 << 8)
			TH_LOG("%#x", status);
		if (status == 3 << 8)
			three[round % 3]++;
		else
			nine[round % 3]++;
		cb_want_bound(s, ch, pid);
		pt_want_died(s, ch, status, 0);
		ASSERT_STATE(s);
		if (ch == n - 1) {
			ASSERT_EQ(0, cb_reset(s->owner, 0, n,
					      CHIPBOOT_RESET_KEEP_PUBLISHERS));
			for (ch = 0; ch < n; ch++)
				cb_want_reset(s, ch, 1);
			ASSERT_STATE(s);
		}
	}
	TH_LOG("wait status 3: %d leader first, %d thread first, %d as it comes; 9: %d, %d, %d",
	       three[0], three[1], three[2], nine[0], nine[1], nine[2]);
	/* with the leader last there is no doubt in any kernel */
	EXPECT_EQ(0, nine[1]);
}

/* ---- an answer, and then death ------------------------------------------- */

#define BATCH		100
#define ANSWER_ROUNDS	10000
#define PARENT_BINDS	2000

struct brief {
	int publisher;
	bool binds;
	struct chipboot_publish publish;
};

static int answers_and_is_killed(void *arg)
{
	struct brief *b = arg;

	if (b->binds && cb_bind(b->publisher, 0, 0))
		_exit(100);
	if (cb_publish(b->publisher, &b->publish))
		_exit(101);
	kill(getpid(), SIGKILL);
	return 0;
}

/*
 * Most rounds in a process that shares its parent's memory, which is cheap, and binds
 * itself; the last ones by plain fork, and the parent's BIND races with all of it.
 */
TEST_F(race, publish_then_sigkill)
{
	/* long double: the alignment a stack needs */
	static long double stack[PT_STACK / sizeof(long double)];
	struct cb_session *s = &self->r.s;
	static int pub[BATCH];
	static __u32 gen[BATCH];
	struct chipboot_page at_once;
	struct brief b;
	__u64 words[8];
	int round, ret;
	__u32 ch;
	pid_t pid;

	ASSERT_EQ(0, cb_session_open(s, BATCH));
	for (ch = 0; ch < BATCH; ch++) {
		pub[ch] = cb_claim(s->owner, ch, &gen[ch]);
		ASSERT_LE(0, pub[ch]);
	}
	ASSERT_STATE(s);
	for (round = 0; round < ANSWER_ROUNDS; round++) {
		ch = (__u32)round % BATCH;
		b.publisher = pub[ch];
		b.binds = round < ANSWER_ROUNDS - PARENT_BINDS;
		b.publish = cb_a_success(gen[ch], (__u64)round, words, 8);
		if (b.binds) {
			pid = clone(answers_and_is_killed,
				    (char *)stack + sizeof(stack),
				    CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
			ASSERT_LT(0, pid);
		} else {
			pid = fork();
			ASSERT_LE(0, pid);
			if (!pid)
				answers_and_is_killed(&b);
			ret = cb_bind(pub[ch], pid, 0);
			ASSERT_EQ(0, ret);
		}
		ASSERT_EQ(0, pt_wait_dead(pid));
		cb_copy_page(&at_once, page_of(&self->r, ch));
		ASSERT_EQ(CHIPBOOT_SUCCESS, at_once.state);
		ASSERT_EQ(CHIPBOOT_ORIGIN_PUBLISHER, at_once.origin);
		ASSERT_EQ(CHIPBOOT_PAGE_GONE | CHIPBOOT_PAGE_STATUS_VALID,
			  at_once.flags);
		ASSERT_EQ(SIGKILL, at_once.wait_status);
		ASSERT_EQ(SIGKILL, cb_reap(pid));
		cb_want_bound(s, ch, pid);
		cb_want_publish(s, ch, &b.publish, pid);
		pt_want_died(s, ch, SIGKILL, 0);
		if (ch < BATCH - 1)
			continue;
		ASSERT_STATE(s);
		ASSERT_EQ(0, cb_reset(s->owner, 0, BATCH,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		for (ch = 0; ch < BATCH; ch++) {
			cb_want_reset(s, ch, 1);
			gen[ch]++;
		}
		ASSERT_STATE(s);
	}
	for (ch = 0; ch < BATCH; ch++)
		close(pub[ch]);
}

/* ---- BIND ---------------------------------------------------------------- */

#define ROUNDS	1000

/* The launcher binds right after the fork; the child is dying meanwhile. */
TEST_F(race, bind_against_death)
{
	struct pt_rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_page at_once;
	unsigned int spins = 100000;
	int round, already = 0;
	siginfo_t si;
	pid_t pid;

	ASSERT_OK(pt_rig_open(r, 2));
	srand(1);
	for (round = 0; round < ROUNDS; round++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(round & 0x7f);
		pt_spin_about(spins);
		si.si_pid = 0;
		waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT | WNOHANG);
		already += si.si_pid == pid;
		pt_spins_follow(&spins, si.si_pid == pid);
		ASSERT_EQ(0, cb_bind(r->pub[0], pid, 0));
		ASSERT_EQ(0, pt_wait_dead(pid));
		cb_copy_page(&at_once, page_of(r, 0));
		ASSERT_EQ(CHIPBOOT_ERROR, at_once.state);
		ASSERT_EQ(CHIPBOOT_ORIGIN_EXIT, at_once.origin);
		ASSERT_EQ((round & 0x7f) << 8, at_once.wait_status);
		ASSERT_EQ((round & 0x7f) << 8, cb_reap(pid));
		cb_want_bound(s, 0, pid);
		pt_want_died(s, 0, (round & 0x7f) << 8, 0);
		ASSERT_STATE(s);
		ASSERT_EQ(0, cb_reset(s->owner, 0, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		cb_want_reset(s, 0, 1);
		ASSERT_STATE(s);
	}
	TH_LOG("%d of %d were dead before", already, ROUNDS);
	EXPECT_LT(0, already);
	EXPECT_GT(ROUNDS, already);
}

/* The owner moves the binding from one that is dying to one that lives. */
TEST_F(race, move_against_death)
{
	struct pt_rig *r = &self->r;
	struct cb_session *s = &r->s;
	unsigned int spins = 50000;
	int round, died = 0;
	struct pt_kid living;
	bool first;
	pid_t pid;

	ASSERT_OK(pt_rig_open(r, 2));
	ASSERT_LE(0, pt_fork(&living));
	if (living.pid == getpid())
		pt_sleep_for_ever();
	srand(2);
	for (round = 0; round < ROUNDS; round++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			pt_sleep_for_ever();
		ASSERT_EQ(0, cb_bind(r->pub[0], pid, 0));
		kill(pid, SIGKILL);
		pt_spin_about(spins);
		ASSERT_EQ(0, cb_bind(r->pub[0], living.pid, 0));
		ASSERT_EQ(SIGKILL, cb_reap(pid));
		cb_want_bound(s, 0, pid);
		first = cb_load_state(page_of(r, 0)) == CHIPBOOT_ERROR;
		pt_spins_follow(&spins, first);
		if (first) {
			/* dead first: the verdict, and a binding after it */
			died++;
			pt_want_died(s, 0, SIGKILL, 0);
			s->bound[0] = 1;
			ASSERT_STATE(s);
		} else {
			cb_want_bound(s, 0, living.pid);
			ASSERT_STATE(s);
			ASSERT_EQ(0, cb_abort(s->owner, 0, 1, -5, "next", NULL));
			cb_want_verdict(s, 0, CHIPBOOT_ORIGIN_OWNER, -5,
					"next");
			ASSERT_STATE(s);
		}
		ASSERT_EQ(0, cb_reset(s->owner, 0, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		cb_want_reset(s, 0, 1);
		s->want[0].publisher_pid = living.pid;
		ASSERT_STATE(s);
	}
	TH_LOG("%d of %d died first", died, ROUNDS);
	EXPECT_LT(0, died);
	EXPECT_GT(ROUNDS, died);
}

/* ---- the last close ------------------------------------------------------ */

/*
 * Somebody else closes the last copy while the bound process is dying.  Either verdict
 * is true; what must not be is that each leaves it to the other.
 */
TEST_F(race, last_close_against_death)
{
	unsigned int *go = cb_shared(sizeof(*go));
	struct pt_rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_page at_once;
	unsigned int spins = 100000;
	int round, closed = 0;
	pid_t pid;

	ASSERT_OK(pt_rig_open(r, 2));
	close(r->pub[0]);
	pt_want_closed(s, 0);
	ASSERT_STATE(s);
	srand(3);
	for (round = 0; round < ROUNDS; round++) {
		unsigned int its = (unsigned int)rand() % 10000;

		ASSERT_EQ(0, cb_reset(s->owner, 0, 1, 0));
		cb_want_reset(s, 0, 0);
		*go = 0;
		/* forked before the claim: the copy that counts is here */
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			while (!__atomic_load_n(go, __ATOMIC_ACQUIRE))
				sched_yield();
			pt_spin(its);
			_exit(7);
		}
		r->pub[0] = cb_claim(s->owner, 0, NULL);
		ASSERT_LE(0, r->pub[0]);
		ASSERT_EQ(0, cb_bind(r->pub[0], pid, 0));
		cb_want_bound(s, 0, pid);
		__atomic_store_n(go, 1, __ATOMIC_RELEASE);
		pt_spin_about(spins);
		close(r->pub[0]);
		r->pub[0] = -1;
		ASSERT_EQ(0, pt_wait_dead(pid));
		cb_copy_page(&at_once, page_of(r, 0));
		ASSERT_EQ(7 << 8, cb_reap(pid));
		ASSERT_EQ(CHIPBOOT_ERROR, at_once.state);
		pt_spins_follow(&spins, at_once.origin != CHIPBOOT_ORIGIN_CLOSED);
		if (at_once.origin == CHIPBOOT_ORIGIN_CLOSED) {
			closed++;
			pt_want_closed(s, 0);
			s->bound[0] = 0;
		} else {
			pt_want_died(s, 0, 7 << 8, 0);
		}
		ASSERT_STATE(s);
	}
	TH_LOG("%d of %d were closed first", closed, ROUNDS);
	EXPECT_LT(0, closed);
	EXPECT_GT(ROUNDS, closed);
}

/* ---- RESET --------------------------------------------------------------- */

/*
 * SUCCESS; the process dies while RESET starts the next round.  It is GONE in the old
 * generation, or, if its binding was kept, an ERROR in the new one; never GONE in that.
 */
static void reset_against_death(struct __test_metadata *_metadata,
				struct pt_rig *r, __u32 flags)
{
	struct cb_session *s = &r->s;
	__u64 words[CHIPBOOT_WORDS_MAX];
	unsigned int spins = 50000;
	struct chipboot_publish p;
	int round, before = 0, carried = 0;
	bool gone;
	pid_t pid;

	ASSERT_OK(pt_rig_open(r, 2));
	srand(4 + flags);
	for (round = 0; round < ROUNDS; round++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			pt_sleep_for_ever();
		ASSERT_EQ(0, cb_bind(r->pub[0], pid, 0));
		cb_want_bound(s, 0, pid);
		p = pt_answer(r, 0, words);
		ASSERT_EQ(0, cb_publish(r->pub[0], &p));
		cb_want_publish(s, 0, &p, pid);
		kill(pid, SIGKILL);
		pt_spin_about(spins);
		gone = page_of(r, 0)->flags & CHIPBOOT_PAGE_GONE;
		pt_spins_follow(&spins, gone);
		before += gone;
		ASSERT_EQ(0, cb_reset(s->owner, 0, 1, flags));
		ASSERT_EQ(SIGKILL, cb_reap(pid));
		r->gen[0]++;
		if (page_of(r, 0)->state == CHIPBOOT_ERROR) {
			ASSERT_FALSE(gone);
			carried++;
			cb_want_reset(s, 0, 1);
			pt_want_died(s, 0, SIGKILL, 0);
			ASSERT_STATE(s);
			ASSERT_EQ(0, cb_reset(s->owner, 0, 1, flags));
			r->gen[0]++;
		}
		cb_want_reset(s, 0, 0);
		ASSERT_STATE(s);
		if (flags)
			continue;
		close(r->pub[0]);
		r->pub[0] = cb_claim(s->owner, 0, NULL);
		ASSERT_LE(0, r->pub[0]);
	}
	TH_LOG("%d of %d died before, %d in the new generation", before, ROUNDS,
	       carried);
	EXPECT_LT(0, before);
	EXPECT_GT(ROUNDS, before);
	if (flags) {
		EXPECT_LT(0, carried);
	} else {
		EXPECT_EQ(0, carried);
	}
}

TEST_F(race, reset_against_death)
{
	reset_against_death(_metadata, &self->r, 0);
}

TEST_F(race, keeping_reset_against_death)
{
	reset_against_death(_metadata, &self->r,
			    CHIPBOOT_RESET_KEEP_PUBLISHERS);
}

/* ---- the session's end --------------------------------------------------- */

/* All handles go while the bound process is dying: for the tools that look for misuse. */
TEST_F(race, teardown_against_death)
{
	struct cb_session s;
	int round, publisher;
	pid_t pid;

	srand(6);
	for (round = 0; round < ROUNDS; round++) {
		unsigned int spins = (unsigned int)rand() % 50000;

		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			pt_sleep_for_ever();
		ASSERT_EQ(0, cb_session_open(&s, 1));
		publisher = cb_claim(s.owner, 0, NULL);
		ASSERT_LE(0, publisher);
		ASSERT_EQ(0, cb_bind(publisher, pid, SIGTERM));
		ASSERT_EQ(0, cb_deadline(s.owner, 1000000, 0));
		kill(pid, SIGKILL);
		pt_spin(spins);
		close(publisher);
		cb_session_close(&s);
		ASSERT_EQ(SIGKILL, cb_reap(pid));
	}
}

/* The owner and its runtime processes are killed in one go, over and over. */
TEST_F(race, owner_against_death)
{
	int sock[2], fds[2], round, i;
	struct chipboot_status st;
	struct chipboot_page page;
	struct pt_kid launcher;
	pid_t pid;

	pt_unleashed = true;
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	ASSERT_EQ(0, pt_prepare(&launcher));
	for (round = 0; round < ROUNDS / 4; round++) {
		pid = pt_fork_prepared(&launcher);
		ASSERT_LE(0, pid);
		if (!pid) {
			struct cb_session s;

			if (cb_session_open(&s, 2))
				_exit(100);
			for (i = 0; i < 2; i++) {
				int publisher = cb_claim(s.owner, (__u32)i, NULL);
				pid_t kid = fork();

				if (!kid)
					pt_sleep_for_ever();
				if (publisher < 0 || kid < 0 ||
				    cb_bind(publisher, kid, SIGKILL))
					_exit(101);
				fds[1] = kid;
			}
			if (cb_send_fds(sock[1], &s.observer, 1))
				_exit(102);
			/* which one is killed, by the test and by the kernel */
			if (write(launcher.said[1], &fds[1], sizeof(fds[1])) !=
			    sizeof(fds[1]))
				_exit(103);
			pt_sleep_for_ever();
		}
		ASSERT_EQ(0, cb_recv_fds(sock[0], fds, 1));
		ASSERT_EQ((ssize_t)sizeof(fds[1]),
			  read(launcher.said[0], &fds[1], sizeof(fds[1])));
		kill(fds[1], SIGKILL);
		kill(pid, SIGKILL);
		ASSERT_EQ(0, pt_wait_dead(pid));
		ASSERT_EQ(0, cb_status(fds[0], 0, 0, &st));
		ASSERT_EQ(CHIPBOOT_OWNER_DEAD, st.owner_state);
		ASSERT_EQ(SIGKILL, cb_reap(pid));
		/* both runtimes come here, and both die */
		for (i = 0; i < 2; i++) {
			int status;

			ASSERT_LT(0, waitpid(-1, &status, 0));
			ASSERT_EQ(SIGKILL, status);
		}
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(0, cb_read(fds[0], (__u32)i, &page));
			ASSERT_EQ(CHIPBOOT_ERROR, page.state);
		}
		close(fds[0]);
	}
	pt_forget(&launcher);
}

TEST_HARNESS_MAIN
