// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * BIND: whose death may be made a channel's, by whom, and what it means when that
 * process is dead already, moves on, or is numbered differently by those who look.
 *
 * What a death then does is in death.c.
 */
#include "process_test.h"

#define N	3

FIXTURE(bind)
{
	struct pt_rig r;
	struct pt_kid kid[4];
	int *ret;		/* what a child's ioctl returned */
};

FIXTURE_SETUP(bind)
{
	self->ret = cb_shared(4096);
	ASSERT_OK(pt_rig_open(&self->r, N));
}

FIXTURE_TEARDOWN(bind)
{
	pt_rig_close(&self->r);
}

/* A child that sleeps until it is told to _exit(@code). */
static pid_t sleeper_prepared(struct pt_kid *k, int code)
{
	pid_t pid = pt_fork_prepared(k);

	if (!pid) {
		pt_wait_go(k);
		_exit(code);
	}
	return pid;
}

static pid_t sleeper(struct pt_kid *k, int code)
{
	int ret = pt_prepare(k);

	return ret ? ret : sleeper_prepared(k, code);
}

/* A child that does one BIND, says what came of it, and then sleeps likewise. */
static pid_t binder(struct pt_kid *k, int publisher, pid_t pid, int *ret,
		    int code)
{
	pid_t child = pt_fork(k);

	if (!child) {
		*ret = cb_bind(publisher, pid, 0);
		pt_say(k);
		pt_wait_go(k);
		_exit(code);
	}
	return child;
}

/* ---- arguments ----------------------------------------------------------- */

TEST_F(bind, arguments)
{
	struct pt_rig *r = &self->r;
	struct chipboot_bind b = { .death_signal = 65 };
	pid_t pid;

	ASSERT_EQ(-EINVAL, cb_ioctl(r->pub[0], CHIPBOOT_IOC_BIND, &b));
	b.death_signal = UINT_MAX;
	ASSERT_EQ(-EINVAL, cb_ioctl(r->pub[0], CHIPBOOT_IOC_BIND, &b));
	b.death_signal = 0;
	b.flags = 1;
	ASSERT_EQ(-EINVAL, cb_ioctl(r->pub[0], CHIPBOOT_IOC_BIND, &b));
	b.flags = 0;
	b.reserved = 1;
	ASSERT_EQ(-EINVAL, cb_ioctl(r->pub[0], CHIPBOOT_IOC_BIND, &b));
	ASSERT_EQ(-EFAULT, cb_ioctl(r->pub[0], CHIPBOOT_IOC_BIND, NULL));

	/* no process has these */
	ASSERT_EQ(-ESRCH, cb_bind(r->pub[0], -1, 0));
	ASSERT_EQ(-ESRCH, cb_bind(r->pub[0], -getpid(), 0));
	ASSERT_EQ(-ESRCH, cb_bind(r->pub[0], INT_MIN, 0));
	ASSERT_EQ(-ESRCH, cb_bind(r->pub[0], INT_MAX, 0));
	pid = sleeper(&self->kid[0], 0);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	ASSERT_EQ(0, cb_reap(pid));
	ASSERT_EQ(-ESRCH, cb_bind(r->pub[0], pid, 0));

	/* another kind of handle */
	ASSERT_EQ(-EOPNOTSUPP, cb_bind(r->s.owner, 0, 0));
	ASSERT_EQ(-EOPNOTSUPP, cb_bind(r->s.observer, 0, 0));
	ASSERT_STATE(&r->s);
}

TEST_F(bind, self_and_child)
{
	struct pt_rig *r = &self->r;
	pid_t pid;

	/* 0 is the caller; its own number is as good */
	ASSERT_EQ(0, cb_bind(r->pub[0], 0, 0));
	cb_want_bound(&r->s, 0, getpid());
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_bind(r->pub[1], getpid(), 64));
	cb_want_bound(&r->s, 1, getpid());
	ASSERT_STATE(&r->s);

	pid = sleeper(&self->kid[0], 7);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, cb_bind(r->pub[2], pid, 0));
	cb_want_bound(&r->s, 2, pid);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	r->kid[2] = self->kid[0];
	ASSERT_OK(pt_rig_died(r, 2, 7 << 8, 0));
}

/* A failed BIND leaves the binding that was there, and its signal, alone. */
TEST_F(bind, failure_keeps_the_old)
{
	struct pt_rig *r = &self->r;
	pid_t pid = sleeper(&self->kid[0], 7);

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, cb_bind(r->pub[0], pid, 0));
	cb_want_bound(&r->s, 0, pid);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(-ESRCH, cb_bind(r->pub[0], INT_MAX, 0));
	ASSERT_EQ(-EPERM, cb_bind(r->pub[0], 1, 0));
	ASSERT_EQ(-EINVAL, cb_bind(r->pub[0], 0, 65));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	r->kid[0] = self->kid[0];
	ASSERT_OK(pt_rig_died(r, 0, 7 << 8, 0));
}

static int thread_waits(void *arg)
{
	(void)arg;
	pt_sleep_for_ever();
	return 0;
}

struct forker {
	struct pt_kid *kid;
	pid_t pid;
	int done;
};

static int thread_forks(void *arg)
{
	struct forker *f = arg;

	f->pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (!f->pid) {
		pt_wait_go(f->kid);
		_exit(7);
	}
	__atomic_store_n(&f->done, 1, __ATOMIC_RELEASE);
	pt_sleep_for_ever();
	return 0;
}

/* A process is meant, not a task: a thread's number is no process's ... */
TEST_F(bind, thread_is_no_process)
{
	struct pt_rig *r = &self->r;
	pid_t tid = pt_thread(thread_waits, NULL, 0);

	ASSERT_LT(0, tid);
	ASSERT_EQ(-ESRCH, cb_bind(r->pub[0], tid, 0));
	ASSERT_STATE(&r->s);
}

/* ... and the child of any of its threads is a child of the process. */
TEST_F(bind, child_of_another_thread)
{
	struct pt_rig *r = &self->r;
	static struct forker f;

	f.kid = &self->kid[0];
	ASSERT_EQ(0, pt_prepare(f.kid));
	ASSERT_LT(0, pt_thread(thread_forks, &f, 0));
	while (!__atomic_load_n(&f.done, __ATOMIC_ACQUIRE))
		sched_yield();
	ASSERT_LT(0, f.pid);
	f.kid->pid = f.pid;
	ASSERT_EQ(0, cb_bind(r->pub[0], f.pid, 0));
	cb_want_bound(&r->s, 0, f.pid);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(f.kid));
	r->kid[0] = *f.kid;
	ASSERT_OK(pt_rig_died(r, 0, 7 << 8, 0));
}

static int thread_binds(void *arg)
{
	struct pt_rig *r = arg;

	/* raw, so as to leave the errno it shares alone */
	struct chipboot_bind b = { 0 };

	syscall(SYS_ioctl, r->pub[0], CHIPBOOT_IOC_BIND, &b);
	syscall(SYS_exit, 0);
	return 0;
}

/* 0 in a thread is its process, which the thread's end does not end. */
TEST_F(bind, by_a_thread)
{
	struct pt_rig *r = &self->r;
	pid_t tid = pt_thread(thread_binds, r, 0);

	ASSERT_LT(0, tid);
	pt_wait_task_gone(getpid(), tid);
	cb_want_bound(&r->s, 0, getpid());
	ASSERT_STATE(&r->s);
}

/* ---- who may ------------------------------------------------------------- */

TEST_F(bind, stranger)
{
	struct pt_rig *r = &self->r;
	struct pt_kid *k = self->kid;
	pid_t pid;

	/* init; the harness, which is this process's parent */
	ASSERT_EQ(-EPERM, cb_bind(r->pub[0], 1, 0));
	ASSERT_EQ(-EPERM, cb_bind(r->pub[0], getppid(), 0));
	ASSERT_STATE(&r->s);

	/* a sibling, and the parent */
	pid = sleeper(&k[0], 0);
	ASSERT_LT(0, pid);
	ASSERT_LT(0, binder(&k[1], r->pub[0], pid, &self->ret[1], 0));
	ASSERT_EQ(0, pt_await(&k[1]));
	ASSERT_EQ(-EPERM, self->ret[1]);
	ASSERT_LT(0, binder(&k[2], r->pub[0], getpid(), &self->ret[2], 0));
	ASSERT_EQ(0, pt_await(&k[2]));
	ASSERT_EQ(-EPERM, self->ret[2]);
	ASSERT_STATE(&r->s);
}

/* A child with a child of its own, whose number goes to @grandchild. */
static void parent_of_one(struct pt_kid *me, struct pt_kid *kid, int *grandchild)
{
	pt_unleashed = true;
	*grandchild = sleeper_prepared(kid, 7);
	pt_say(me);
	pt_wait_go(me);
	_exit(0);
}

/* A grandchild is not the caller's, until its parent is gone and it is adopted. */
TEST_F(bind, grandchild)
{
	struct pt_rig *r = &self->r;
	struct pt_kid *k = self->kid;
	pid_t pid, grandchild;

	ASSERT_EQ(0, pt_prepare(&k[1]));
	pid = pt_fork(&k[0]);
	ASSERT_LE(0, pid);
	if (!pid)
		parent_of_one(&k[0], &k[1], &self->ret[0]);
	ASSERT_EQ(0, pt_await(&k[0]));
	grandchild = self->ret[0];
	ASSERT_LT(0, grandchild);
	ASSERT_EQ(-EPERM, cb_bind(r->pub[0], grandchild, 0));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&k[0]));
	ASSERT_EQ(0, cb_reap(pid));

	/* adopted (this process is a subreaper): it can reap it, so it may bind it */
	ASSERT_EQ(0, cb_bind(r->pub[0], grandchild, 0));
	cb_want_bound(&r->s, 0, grandchild);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(grandchild, SIGKILL));
	r->kid[0].pid = grandchild;
	ASSERT_OK(pt_rig_died(r, 0, SIGKILL, 0));
}

/* ---- moving -------------------------------------------------------------- */

TEST_F(bind, moved_by_owner)
{
	struct pt_rig *r = &self->r;
	struct pt_kid *k = self->kid;
	pid_t first, second;

	first = sleeper(&k[0], 1);
	second = sleeper(&k[1], 2);
	ASSERT_LT(0, first);
	ASSERT_LT(0, second);
	ASSERT_EQ(0, cb_bind(r->pub[0], first, 0));
	cb_want_bound(&r->s, 0, first);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_bind(r->pub[0], second, 0));
	cb_want_bound(&r->s, 0, second);
	ASSERT_STATE(&r->s);
	/* the first is nobody's now */
	ASSERT_EQ(0, pt_go(&k[0]));
	ASSERT_EQ(1 << 8, cb_reap(first));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&k[1]));
	r->kid[0] = k[1];
	ASSERT_OK(pt_rig_died(r, 0, 2 << 8, 0));
}

/* Bound by itself, it hands over to its own child; others get EBUSY meanwhile. */
static void moves_to_its_child(struct pt_rig *r, struct pt_kid *me,
			       struct pt_kid *kid, int *ret, int *child)
{
	ret[0] = cb_bind(r->pub[0], 0, 0);
	pt_say(me);
	pt_wait_go(me);
	pt_unleashed = true;
	*child = sleeper_prepared(kid, 5);
	ret[1] = cb_bind(r->pub[0], *child, 0);
	pt_say(me);
	pt_wait_go(me);
	/* no longer the bound process, nor the owner */
	ret[2] = cb_bind(r->pub[0], 0, 0);
	pt_say(me);
	pt_wait_go(me);
	_exit(1);
}

TEST_F(bind, moved_by_the_bound_process)
{
	struct pt_rig *r = &self->r;
	struct pt_kid *k = self->kid;
	pid_t pid;

	ASSERT_EQ(0, pt_prepare(&k[1]));
	pid = pt_fork(&k[0]);
	ASSERT_LE(0, pid);
	if (!pid)
		moves_to_its_child(r, &k[0], &k[1], self->ret, &self->ret[8]);
	ASSERT_EQ(0, pt_await(&k[0]));
	ASSERT_EQ(0, self->ret[0]);
	cb_want_bound(&r->s, 0, pid);
	ASSERT_STATE(&r->s);

	/* somebody else with the same handle */
	ASSERT_LT(0, binder(&k[2], r->pub[0], 0, &self->ret[3], 0));
	ASSERT_EQ(0, pt_await(&k[2]));
	ASSERT_EQ(-EBUSY, self->ret[3]);
	ASSERT_STATE(&r->s);

	ASSERT_EQ(0, pt_go(&k[0]));
	ASSERT_EQ(0, pt_await(&k[0]));
	ASSERT_EQ(0, self->ret[1]);
	cb_want_bound(&r->s, 0, self->ret[8]);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&k[0]));
	ASSERT_EQ(0, pt_await(&k[0]));
	ASSERT_EQ(-EBUSY, self->ret[2]);
	ASSERT_STATE(&r->s);

	ASSERT_EQ(0, pt_go(&k[0]));
	ASSERT_EQ(1 << 8, cb_reap(pid));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&k[1]));
	k[1].pid = self->ret[8];
	r->kid[0] = k[1];
	ASSERT_OK(pt_rig_died(r, 0, 5 << 8, 0));
}

/* The owner who has let go is nobody special any more. */
TEST_F(bind, former_owner_may_not_move)
{
	struct pt_rig *r = &self->r;
	struct pt_kid *k = self->kid;
	pid_t first, second;

	first = sleeper(&k[0], 1);
	second = sleeper(&k[1], 2);
	ASSERT_LT(0, first);
	ASSERT_LT(0, second);
	ASSERT_EQ(0, cb_bind(r->pub[0], first, 0));
	cb_want_bound(&r->s, 0, first);
	ASSERT_EQ(0, cb_detach(r->s.owner));
	r->s.owner_state = CHIPBOOT_OWNER_DETACHED;
	r->s.change = 1;
	ASSERT_STATE(&r->s);
	ASSERT_EQ(-EBUSY, cb_bind(r->pub[0], second, 0));
	ASSERT_STATE(&r->s);
	/* an unbound channel is anybody's as before */
	ASSERT_EQ(0, cb_bind(r->pub[1], second, 0));
	cb_want_bound(&r->s, 1, second);
	ASSERT_STATE(&r->s);
}

/* ---- dead already -------------------------------------------------------- */

/* A zombie, not reaped. */
static pid_t zombie(struct pt_kid *k, int code)
{
	pid_t pid = sleeper(k, code);

	if (pid < 0 || pt_go(k) || pt_wait_dead(pid))
		return -1;
	return pid;
}

TEST_F(bind, zombie)
{
	struct pt_rig *r = &self->r;
	pid_t pid;

	ASSERT_EQ(0, cb_progress(r->pub[1], r->gen[1], "load_binary"));
	cb_want_progress(&r->s, 1, "load_binary");
	ASSERT_STATE(&r->s);
	pid = zombie(&self->kid[0], 7);
	ASSERT_LT(0, pid);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_bind(r->pub[1], pid, 0));
	cb_want_bound(&r->s, 1, pid);
	pt_want_died(&r->s, 1, 7 << 8, 0);
	ASSERT_STATE(&r->s);
	EXPECT_STREQ("exited with code 7; last progress: load_binary",
		     r->s.want[1].message);
	EXPECT_EQ(7 << 8, cb_reap(pid));
	ASSERT_STATE(&r->s);
	EXPECT_EQ(-ECANCELED, cb_success(r->pub[1], r->gen[1]));
	ASSERT_STATE(&r->s);
}

/* The answer was given by another holder of the handle, and its process is dead. */
TEST_F(bind, zombie_after_success)
{
	struct pt_rig *r = &self->r;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, 1, words);
	pid_t pid;

	ASSERT_EQ(0, cb_publish(r->pub[1], &p));
	cb_want_publish(&r->s, 1, &p, getpid());
	ASSERT_STATE(&r->s);
	pid = zombie(&self->kid[0], 7);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, cb_bind(r->pub[1], pid, 0));
	pt_want_died(&r->s, 1, 7 << 8, 0);
	ASSERT_STATE(&r->s);
	EXPECT_EQ(7 << 8, cb_reap(pid));
}

/* After an error there is nothing for it to change. */
TEST_F(bind, zombie_after_error)
{
	struct pt_rig *r = &self->r;
	struct chipboot_publish p = cb_an_error(1, -5, "no", 2);
	pid_t pid;

	ASSERT_EQ(0, cb_publish(r->pub[1], &p));
	cb_want_publish(&r->s, 1, &p, getpid());
	ASSERT_STATE(&r->s);
	pid = zombie(&self->kid[0], 7);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, cb_bind(r->pub[1], pid, 0));
	r->s.change = 1;
	ASSERT_STATE(&r->s);
	EXPECT_EQ(7 << 8, cb_reap(pid));
}

/* Bound after the answer: the living process's death makes it GONE. */
TEST_F(bind, after_success)
{
	struct pt_rig *r = &self->r;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, 1, words);
	pid_t pid = sleeper(&self->kid[0], 7);

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, cb_publish(r->pub[1], &p));
	cb_want_publish(&r->s, 1, &p, getpid());
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_bind(r->pub[1], pid, 0));
	r->s.bound[1] = 1;
	r->s.change = 1;
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	r->kid[1] = self->kid[0];
	ASSERT_OK(pt_rig_died(r, 1, 7 << 8, 0));
}

/* A dead binding is none: anybody may bind after it. */
TEST_F(bind, again_after_death)
{
	struct pt_rig *r = &self->r;
	struct pt_kid *k = self->kid;
	pid_t pid = sleeper(&k[0], 7);

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, cb_bind(r->pub[0], pid, 0));
	cb_want_bound(&r->s, 0, pid);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&k[0]));
	r->kid[0] = k[0];
	ASSERT_OK(pt_rig_died(r, 0, 7 << 8, 0));

	/* in the same generation the verdict stands */
	pid = binder(&k[1], r->pub[0], 0, &self->ret[1], 8);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, pt_await(&k[1]));
	ASSERT_EQ(0, self->ret[1]);
	r->s.bound[0] = 1;
	r->s.change = 1;
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&k[1]));
	r->kid[0] = k[1];
	ASSERT_OK(pt_rig_died(r, 0, 8 << 8, 0));

	/* in the next, with the old handle, it counts */
	ASSERT_EQ(0, cb_reset(r->s.owner, 0, 1,
			      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	cb_want_reset(&r->s, 0, true);
	ASSERT_STATE(&r->s);
	pid = binder(&k[2], r->pub[0], 0, &self->ret[2], 9);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, pt_await(&k[2]));
	ASSERT_EQ(0, self->ret[2]);
	cb_want_bound(&r->s, 0, pid);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&k[2]));
	r->kid[0] = k[2];
	ASSERT_OK(pt_rig_died(r, 0, 9 << 8, 0));
}

/* One process may stand for several channels; its death ends them all, in one go. */
TEST_F(bind, one_process_for_all)
{
	struct pt_rig *r = &self->r;
	pid_t pid = sleeper(&self->kid[0], 7);
	__u32 i;

	ASSERT_LT(0, pid);
	for (i = 0; i < N; i++) {
		ASSERT_EQ(0, cb_bind(r->pub[i], pid, 0));
		cb_want_bound(&r->s, i, pid);
	}
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	ASSERT_EQ(0, pt_wait_dead(pid));
	for (i = 0; i < N; i++) {
		EXPECT_EQ(CHIPBOOT_ERROR, cb_load_state(cb_page(&r->s, i)));
		/* which of them was first is the kernel's choice: no two alike */
		pt_want_died(&r->s, i, 7 << 8, 0);
		r->s.want[i].order = cb_page(&r->s, i)->order;
	}
	EXPECT_EQ(1 + 2 + 3, r->s.want[0].order + r->s.want[1].order +
			     r->s.want[2].order);
	EXPECT_EQ(1 * 2 * 3, r->s.want[0].order * r->s.want[1].order *
			     r->s.want[2].order);
	ASSERT_STATE(&r->s);
	EXPECT_EQ(7 << 8, cb_reap(pid));
}

/* A process watched by two sessions dies in both. */
TEST_F(bind, one_process_in_two_sessions)
{
	struct pt_rig *r = &self->r;
	static struct pt_rig other;
	pid_t pid = sleeper(&self->kid[0], 7);

	ASSERT_LT(0, pid);
	ASSERT_OK(pt_rig_open(&other, 1));
	ASSERT_EQ(0, cb_bind(r->pub[2], pid, 0));
	cb_want_bound(&r->s, 2, pid);
	ASSERT_EQ(0, cb_bind(other.pub[0], pid, 0));
	cb_want_bound(&other.s, 0, pid);
	ASSERT_STATE(&r->s);
	ASSERT_STATE(&other.s);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	ASSERT_EQ(0, pt_wait_dead(pid));
	pt_want_died(&r->s, 2, 7 << 8, 0);
	ASSERT_STATE(&r->s);
	pt_want_died(&other.s, 0, 7 << 8, 0);
	ASSERT_STATE(&other.s);
	EXPECT_EQ(7 << 8, cb_reap(pid));
	close(other.pub[0]);
	cb_session_close(&other.s);
}

/* ---- pid namespaces ------------------------------------------------------ */

struct seen {
	int ret;
	__s32 mine;		/* getpid() */
	__s32 pid;		/* channel_pid */
	__s32 owner;		/* owner_pid */
	__s32 child;
	int bind_child;
};

static void look(struct seen *seen, int fd, __u32 ch)
{
	struct chipboot_status st;

	seen->ret = cb_status(fd, ch, 0, &st);
	seen->mine = getpid();
	seen->pid = st.channel_pid;
	seen->owner = st.owner_pid;
}

/* Process 1 of a namespace of its own. */
static void in_its_own_namespace(struct pt_rig *r, struct pt_kid *me,
				 struct seen *seen)
{
	pid_t child;

	seen->bind_child = cb_bind(r->pub[0], 0, 0);
	look(seen, r->pub[0], 0);
	child = fork();
	if (!child)
		pt_sleep_for_ever();
	seen->child = child;
	seen[1].bind_child = cb_bind(r->pub[1], child, 0);
	look(&seen[1], r->pub[1], 1);
	/* outside's numbers mean nothing here */
	seen[2].bind_child = cb_bind(r->pub[2], me->pid, 0);
	pt_say(me);
	pt_sleep_for_ever();
}

/* The creator's numbers on the page, the caller's in STATUS. */
TEST_F(bind, pid_namespace_inside)
{
	struct pt_rig *r = &self->r;
	struct pt_kid *k = &self->kid[0];
	struct seen *seen = (void *)self->ret;
	char path[64], buf[256];
	pid_t pid, child;

	ASSERT_EQ(0, pt_prepare(k));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		k->pid = INT_MAX;
		in_its_own_namespace(r, k, seen);
	}
	k->pid = pid;
	ASSERT_EQ(0, pt_await(k));
	EXPECT_EQ(0, seen[0].bind_child);
	EXPECT_EQ(0, seen[0].ret);
	EXPECT_EQ(1, seen[0].mine);
	EXPECT_EQ(1, seen[0].pid);
	EXPECT_EQ(0, seen[0].owner);
	EXPECT_EQ(0, seen[1].bind_child);
	EXPECT_EQ(0, seen[1].ret);
	EXPECT_EQ(seen[0].child, seen[1].pid);
	EXPECT_EQ(-ESRCH, seen[2].bind_child);

	/* the grandchild's number out here */
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	ASSERT_LT(0, cb_slurp(path, buf, sizeof(buf)));
	child = atoi(buf);
	ASSERT_NE(seen[0].child, child);
	cb_want_bound(&r->s, 0, pid);
	cb_want_bound(&r->s, 1, child);
	ASSERT_STATE(&r->s);

	/* its init's end is everybody's in the namespace */
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(pid));
	/* init waits for the others before it is a zombie */
	pt_want_died(&r->s, 1, SIGKILL, 0);
	pt_want_died(&r->s, 0, SIGKILL, 0);
	ASSERT_STATE(&r->s);
	EXPECT_EQ(SIGKILL, cb_reap(pid));
}

/* The session is made inside: process 1 there sends handles out. */
static void creates_inside(struct pt_kid *me, int sock, struct seen *seen)
{
	int control = cb_open();
	int owner = cb_create(control, 2, NULL);
	int fds[3] = {
		cb_observe(owner, 0),
		cb_claim(owner, 0, NULL),
		cb_claim(owner, 1, NULL),
	};

	seen->bind_child = cb_bind(fds[1], 0, 0);
	seen->ret = cb_send_fds(sock, fds, 3);
	pt_say(me);
	pt_wait_go(me);
	look(seen, fds[2], 1);
	pt_say(me);
	pt_sleep_for_ever();
}

TEST_F(bind, pid_namespace_outside)
{
	struct pt_kid *k = &self->kid[0];
	struct seen *seen = (void *)self->ret;
	struct chipboot_status st;
	struct chipboot_page page;
	int sock[2], fds[3] = { -1, -1, -1 };
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	ASSERT_EQ(0, pt_prepare(k));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		creates_inside(k, sock[1], seen);
	k->pid = pid;
	ASSERT_EQ(0, pt_await(k));
	ASSERT_EQ(0, seen->bind_child);
	ASSERT_EQ(0, seen->ret);
	ASSERT_EQ(0, cb_recv_fds(sock[0], fds, 3));

	ASSERT_EQ(0, cb_read(fds[0], 0, &page));
	EXPECT_EQ(1, page.publisher_pid);
	ASSERT_EQ(0, cb_status(fds[0], 0, 0, &st));
	EXPECT_EQ(pid, st.channel_pid);
	EXPECT_EQ(pid, st.owner_pid);
	EXPECT_EQ(1, st.channel_bound);

	/* this process has no number in there */
	ASSERT_EQ(0, cb_bind(fds[2], 0, 0));
	ASSERT_EQ(0, cb_read(fds[0], 1, &page));
	EXPECT_EQ(0, page.publisher_pid);
	ASSERT_EQ(0, cb_status(fds[0], 1, 0, &st));
	EXPECT_EQ(getpid(), st.channel_pid);
	EXPECT_EQ(1, st.channel_bound);
	ASSERT_EQ(0, pt_go(k));
	ASSERT_EQ(0, pt_await(k));
	EXPECT_EQ(0, seen->ret);
	EXPECT_EQ(0, seen->pid);
	EXPECT_EQ(1, seen->owner);

	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(pid));
	ASSERT_EQ(0, cb_read(fds[0], 0, &page));
	EXPECT_EQ(CHIPBOOT_ERROR, page.state);
	EXPECT_EQ(CHIPBOOT_ORIGIN_EXIT, page.origin);
	EXPECT_EQ(SIGKILL, page.wait_status);
	EXPECT_EQ(SIGKILL, cb_reap(pid));
	close(fds[0]);
	close(fds[1]);
	close(fds[2]);
}

TEST_HARNESS_MAIN
