// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * The life of a claim: from CLAIM over copies of the handle to its last close, the
 * claim after it, and what RESET leaves of the old one.
 */
#include "process_test.h"

#define N	4

FIXTURE(life)
{
	struct pt_rig r;
	struct pt_kid kid[4];
	int *ret;
};

FIXTURE_SETUP(life)
{
	self->ret = cb_shared(4096);
	ASSERT_OK(pt_rig_open(&self->r, N));
}

FIXTURE_TEARDOWN(life)
{
	pt_rig_close(&self->r);
}

static void close_pub(struct pt_rig *r, __u32 ch)
{
	close(r->pub[ch]);
	r->pub[ch] = -1;
}

/* STATUS by a publisher handle, about its own channel, as the model has it. */
static const char *check_pub(struct pt_rig *r, __u32 ch, int fd,
			     __u32 handle_generation)
{
	__u32 holds = cb_want_holds(&r->s) | CHIPBOOT_EVENT_CHANGE;

	const char *why;

	/* a handle that has never acknowledged */
	why = cb_check_status(&r->s, fd, ch, 0, handle_generation,
			      CHIPBOOT_EVENT_COMPLETE, holds);
	return why ? why : "";
}

/* The caller answers as the publisher of @ch; "" or the complaint. */
static const char *answer(struct pt_rig *r, __u32 ch)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, ch, words);
	int ret = cb_publish(r->pub[ch], &p);

	if (ret)
		return cb_complain(&r->s, "PUBLISH: %s", strerror(-ret));
	cb_want_publish(&r->s, ch, &p, getpid());
	return cb_check(&r->s);
}

/* ---- last close ---------------------------------------------------------- */

TEST_F(life, close_unbound)
{
	struct pt_rig *r = &self->r;

	close_pub(r, 1);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
	EXPECT_STREQ("publisher handle closed without an answer",
		     r->s.want[1].message);
	EXPECT_EQ(-EOWNERDEAD, r->s.want[1].error_code);
	EXPECT_EQ(CHIPBOOT_ORIGIN_CLOSED, r->s.want[1].origin);
}

TEST_F(life, close_unbound_with_progress)
{
	struct pt_rig *r = &self->r;

	ASSERT_EQ(0, cb_progress(r->pub[1], 1, "aicpu_init"));
	cb_want_progress(&r->s, 1, "aicpu_init");
	ASSERT_STATE(&r->s);
	close_pub(r, 1);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
	EXPECT_STREQ("publisher handle closed without an answer; last progress: aicpu_init",
		     r->s.want[1].message);
}

/* Bound to a process that lives and works on: nobody can answer any more all the same. */
TEST_F(life, close_bound_to_the_living)
{
	struct pt_rig *r = &self->r;

	ASSERT_EQ(0, cb_bind(r->pub[1], 0, 0));
	cb_want_bound(&r->s, 1, getpid());
	ASSERT_STATE(&r->s);
	close_pub(r, 1);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
	EXPECT_EQ(getpid(), r->s.want[1].publisher_pid);
	EXPECT_EQ(1, r->s.bound[1]);
}

TEST_F(life, close_after_success)
{
	ASSERT_OK(answer(&self->r, 1));
	close_pub(&self->r, 1);
	ASSERT_STATE(&self->r.s);
}

TEST_F(life, close_after_error)
{
	struct pt_rig *r = &self->r;
	struct chipboot_publish p = cb_an_error(1, INT_MIN, "text", 4);

	ASSERT_EQ(0, cb_publish(r->pub[1], &p));
	cb_want_publish(&r->s, 1, &p, getpid());
	ASSERT_STATE(&r->s);
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
}

TEST_F(life, close_after_abort)
{
	struct pt_rig *r = &self->r;

	ASSERT_EQ(0, cb_abort(r->s.owner, 1, 1, -5, "enough", NULL));
	cb_want_verdict(&r->s, 1, CHIPBOOT_ORIGIN_OWNER, -5, "enough");
	ASSERT_STATE(&r->s);
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
}

/* In the order in which they were closed. */
TEST_F(life, close_order)
{
	static const __u32 order[N] = { 2, 0, 3, 1 };
	struct pt_rig *r = &self->r;
	__u32 i;

	for (i = 0; i < N; i++) {
		close_pub(r, order[i]);
		pt_want_closed(&r->s, order[i]);
		EXPECT_EQ(i + 1, r->s.want[order[i]].order);
		ASSERT_STATE(&r->s);
	}
}

/* ---- copies -------------------------------------------------------------- */

TEST_F(life, copy_by_dup)
{
	struct pt_rig *r = &self->r;
	int fd = dup(r->pub[1]);

	ASSERT_LE(0, fd);
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
	/* the copy is as good as the first */
	ASSERT_EQ(0, cb_progress(fd, 1, "by the copy"));
	cb_want_progress(&r->s, 1, "by the copy");
	ASSERT_STATE(&r->s);
	close(fd);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
}

static void holds_copies(struct pt_kid *k, int code)
{
	pt_say(k);
	pt_wait_go(k);
	_exit(code);
}

/* A process that nobody bound holds copies; its end is a close, and the last counts. */
TEST_F(life, copy_by_fork)
{
	struct pt_rig *r = &self->r;
	__u32 ch, i;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		pid = pt_fork(&self->kid[i]);
		ASSERT_LE(0, pid);
		if (!pid)
			holds_copies(&self->kid[i], 7);
		ASSERT_EQ(0, pt_await(&self->kid[i]));
	}
	for (ch = 0; ch < N; ch++)
		close_pub(r, ch);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	ASSERT_EQ(7 << 8, cb_reap(self->kid[0].pid));
	ASSERT_STATE(&r->s);

	/* in no particular order, but all of them, and no two alike */
	ASSERT_EQ(0, kill(self->kid[1].pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(self->kid[1].pid));
	for (ch = 0, i = 0; ch < N; ch++) {
		pt_want_closed(&r->s, ch);
		r->s.want[ch].order = cb_page(&r->s, ch)->order;
		i |= 1U << r->s.want[ch].order;
	}
	EXPECT_EQ(0x1eU, i);
	ASSERT_STATE(&r->s);
}

/*
 * The last copy goes with a sibling that dies, while the bound process lives: an exit
 * is going on, but not the one that counts.
 */
TEST_F(life, last_copy_dies_with_another)
{
	struct pt_rig *r = &self->r;
	pid_t pid;

	ASSERT_EQ(0, cb_bind(r->pub[1], 0, 0));
	cb_want_bound(&r->s, 1, getpid());
	pid = pt_fork(&self->kid[0]);
	ASSERT_LE(0, pid);
	if (!pid)
		holds_copies(&self->kid[0], 7);
	ASSERT_EQ(0, pt_await(&self->kid[0]));
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(pid));
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
}

struct own_files {
	int publisher;
	int ready;
	int go;
};

static int thread_takes_its_files(void *arg)
{
	struct own_files *o = arg;

	if (syscall(SYS_unshare, CLONE_FILES))
		syscall(SYS_exit_group, 100);
	__atomic_store_n(&o->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&o->go, __ATOMIC_ACQUIRE))
		syscall(SYS_sched_yield);
	syscall(SYS_exit, 0);
	return 0;
}

/*
 * The last copy goes with a thread of the bound process that has files of its own.
 * PF_EXITING is set in that close(), but the process lives.
 */
TEST_F(life, last_copy_dies_with_a_thread)
{
	static struct own_files o;
	struct pt_rig *r = &self->r;
	pid_t tid;

	ASSERT_EQ(0, cb_bind(r->pub[1], 0, 0));
	cb_want_bound(&r->s, 1, getpid());
	tid = pt_thread(thread_takes_its_files, &o, 0);
	ASSERT_LT(0, tid);
	while (!__atomic_load_n(&o.ready, __ATOMIC_ACQUIRE))
		sched_yield();
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
	__atomic_store_n(&o.go, 1, __ATOMIC_RELEASE);
	pt_wait_task_gone(getpid(), tid);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
}

/* On the way in a socket it is open; a socket thrown away with it in is a close. */
TEST_F(life, copy_in_a_socket)
{
	struct pt_rig *r = &self->r;
	int sock[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	ASSERT_EQ(0, cb_send_fds(sock[0], &r->pub[1], 1));
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_recv_fds(sock[1], &r->pub[1], 1));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_send_fds(sock[0], &r->pub[1], 1));
	close_pub(r, 1);
	close(sock[0]);
	ASSERT_STATE(&r->s);
	close(sock[1]);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
}

/* Handles are close-on-exec, so an exec is a close. */
TEST_F(life, handles_are_cloexec)
{
	struct pt_rig *r = &self->r;
	pid_t pid;

	EXPECT_EQ(FD_CLOEXEC, fcntl(r->s.owner, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(r->s.observer, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(r->pub[1], F_GETFD));
	pid = pt_fork(&self->kid[0]);
	ASSERT_LE(0, pid);
	if (!pid) {
		pt_say(&self->kid[0]);
		pt_wait_go(&self->kid[0]);
		pt_exec_pause(&self->kid[0]);
	}
	ASSERT_EQ(0, pt_await(&self->kid[0]));
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	ASSERT_EQ(0, pt_await(&self->kid[0]));
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
}

/* ---- claims -------------------------------------------------------------- */

TEST_F(life, claim_refused)
{
	struct pt_rig *r = &self->r;
	struct chipboot_publish p = cb_an_error(1, 5, "no", 2);
	struct chipboot_claim c = { .channel = 0, .flags = 1 };

	EXPECT_EQ(-ENOENT, cb_claim(r->s.owner, N, NULL));
	EXPECT_EQ(-ENOENT, cb_claim(r->s.owner, UINT_MAX, NULL));
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_CLAIM, &c));
	c.flags = 0;
	c.reserved = 1;
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_CLAIM, &c));
	EXPECT_EQ(-EFAULT, cb_ioctl(r->s.owner, CHIPBOOT_IOC_CLAIM, NULL));
	EXPECT_EQ(-EBUSY, cb_claim(r->s.owner, 0, NULL));
	ASSERT_STATE(&r->s);

	/* answered, and the claim still lives */
	ASSERT_OK(answer(&self->r, 1));
	EXPECT_EQ(-EBUSY, cb_claim(r->s.owner, 1, NULL));
	/* answered by its publisher, success or not */
	close_pub(r, 1);
	EXPECT_EQ(-EALREADY, cb_claim(r->s.owner, 1, NULL));
	ASSERT_EQ(0, cb_publish(r->pub[2], &p));
	cb_want_publish(&r->s, 2, &p, getpid());
	close_pub(r, 2);
	EXPECT_EQ(-EALREADY, cb_claim(r->s.owner, 2, NULL));
	/* by the close itself */
	close_pub(r, 3);
	pt_want_closed(&r->s, 3);
	EXPECT_EQ(-ECANCELED, cb_claim(r->s.owner, 3, NULL));
	/* by the owner */
	ASSERT_EQ(0, cb_abort(r->s.owner, 0, 1, -5, "x", NULL));
	cb_want_verdict(&r->s, 0, CHIPBOOT_ORIGIN_OWNER, -5, "x");
	EXPECT_EQ(-EBUSY, cb_claim(r->s.owner, 0, NULL));
	close_pub(r, 0);
	EXPECT_EQ(-ECANCELED, cb_claim(r->s.owner, 0, NULL));
	ASSERT_STATE(&r->s);
}

/* No descriptor was left behind by a claim that was refused. */
TEST_F(life, refused_claim_leaves_no_descriptor)
{
	struct pt_rig *r = &self->r;
	int before = dup(0), after;

	ASSERT_LE(0, before);
	close(before);
	ASSERT_EQ(-EBUSY, cb_claim(r->s.owner, 0, NULL));
	ASSERT_EQ(-ENOENT, cb_claim(r->s.owner, N, NULL));
	after = dup(0);
	EXPECT_EQ(before, after);
	close(after);
	ASSERT_STATE(&r->s);
}

/* Without a free descriptor nothing is claimed. */
TEST_F(life, claim_without_descriptors)
{
	struct pt_rig *r = &self->r;
	struct rlimit old, none;
	int free_fd = dup(0);

	ASSERT_LE(0, free_fd);
	close(free_fd);
	close_pub(r, 1);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, cb_reset(r->s.owner, 1, 1, 0));
	cb_want_reset(&r->s, 1, 0);
	ASSERT_STATE(&r->s);

	/* the lowest free number was the publisher's own */
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = 3;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, cb_claim(r->s.owner, 1, NULL));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	ASSERT_STATE(&r->s);
	r->pub[1] = cb_claim(r->s.owner, 1, &r->gen[1]);
	ASSERT_LE(0, r->pub[1]);
	EXPECT_EQ(2, r->gen[1]);
	ASSERT_OK(answer(&self->r, 1));
}

TEST_F(life, claim_again_after_reset)
{
	struct pt_rig *r = &self->r;

	close_pub(r, 1);
	pt_want_closed(&r->s, 1);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(-ECANCELED, cb_claim(r->s.owner, 1, NULL));
	ASSERT_EQ(0, cb_reset(r->s.owner, 1, 1, 0));
	cb_want_reset(&r->s, 1, 0);
	ASSERT_STATE(&r->s);
	r->pub[1] = cb_claim(r->s.owner, 1, &r->gen[1]);
	ASSERT_LE(0, r->pub[1]);
	EXPECT_EQ(2, r->gen[1]);
	/* a claim alone is seen by nobody */
	ASSERT_STATE(&r->s);
	ASSERT_OK(check_pub(r, 1, r->pub[1], 2));
	ASSERT_OK(answer(&self->r, 1));
	EXPECT_EQ(2, r->s.want[1].order);
}

/* ---- reset --------------------------------------------------------------- */

TEST_F(life, reset_refused)
{
	struct pt_rig *r = &self->r;
	struct chipboot_reset bad = { .first = 1, .count = 1, .flags = 2 };

	ASSERT_OK(answer(&self->r, 1));
	ASSERT_OK(answer(&self->r, 2));
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_RESET, &bad));
	bad.flags = 0;
	bad.reserved = 1;
	EXPECT_EQ(-EINVAL, cb_ioctl(r->s.owner, CHIPBOOT_IOC_RESET, &bad));
	EXPECT_EQ(-EFAULT, cb_ioctl(r->s.owner, CHIPBOOT_IOC_RESET, NULL));
	EXPECT_EQ(-EINVAL, cb_reset(r->s.owner, 1, 0, 0));
	EXPECT_EQ(-ENOENT, cb_reset(r->s.owner, N, 1, 0));
	EXPECT_EQ(-ENOENT, cb_reset(r->s.owner, 1, N, 0));
	EXPECT_EQ(-ENOENT, cb_reset(r->s.owner, 1, UINT_MAX, 0));
	EXPECT_EQ(-ENOENT, cb_reset(r->s.owner, UINT_MAX, 2, 0));
	/* one IDLE channel, at either end, keeps all as they are */
	EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, 0, 3, 0));
	EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, 1, 3, 0));
	EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, 0, N, 0));
	EXPECT_EQ(-EBUSY, cb_reset(r->s.owner, 3, 1,
				   CHIPBOOT_RESET_KEEP_PUBLISHERS));
	ASSERT_STATE(&r->s);
	EXPECT_EQ(0, cb_revents(r->pub[1]));
}

TEST_F(life, reset_drops_publishers)
{
	struct pt_rig *r = &self->r;
	int old = r->pub[1];
	int copy = dup(old);

	ASSERT_LE(0, copy);
	ASSERT_EQ(0, cb_bind(old, 0, 0));
	cb_want_bound(&r->s, 1, getpid());
	ASSERT_OK(check_pub(r, 1, old, 1));
	ASSERT_STATE(&r->s);
	ASSERT_OK(answer(&self->r, 1));
	EXPECT_EQ(0, cb_revents(old));
	ASSERT_EQ(0, cb_reset(r->s.owner, 1, 1, 0));
	cb_want_reset(&r->s, 1, 0);
	EXPECT_EQ(0, r->s.want[1].publisher_pid);
	ASSERT_STATE(&r->s);

	/* every copy is stale; it may ask, and nothing else */
	EXPECT_EQ(POLLERR, cb_revents(old));
	EXPECT_EQ(POLLERR, cb_revents(copy));
	EXPECT_EQ(-ESTALE, cb_success(old, 1));
	EXPECT_EQ(-ESTALE, cb_success(old, 2));
	EXPECT_EQ(-ESTALE, cb_progress(old, 1, "x"));
	EXPECT_EQ(-ESTALE, cb_progress(copy, 2, "x"));
	EXPECT_EQ(-ESTALE, cb_bind(old, 0, 0));
	ASSERT_OK(check_pub(r, 1, old, 0));
	ASSERT_STATE(&r->s);

	/* the new claim and the old handle do not know each other */
	r->pub[1] = cb_claim(r->s.owner, 1, &r->gen[1]);
	ASSERT_LE(0, r->pub[1]);
	EXPECT_EQ(2, r->gen[1]);
	EXPECT_EQ(0, cb_revents(r->pub[1]));
	ASSERT_OK(check_pub(r, 1, r->pub[1], 2));
	ASSERT_OK(check_pub(r, 1, copy, 0));
	EXPECT_EQ(-ESTALE, cb_success(r->pub[1], 1));
	EXPECT_EQ(-ESTALE, cb_success(r->pub[1], 3));
	EXPECT_EQ(-ESTALE, cb_progress(r->pub[1], 1, "x"));
	ASSERT_STATE(&r->s);
	close(old);
	close(copy);
	ASSERT_STATE(&r->s);
	ASSERT_OK(answer(&self->r, 1));
}

/* A stale handle closed before the channel is claimed anew changes nothing either. */
TEST_F(life, stale_close_before_the_new_claim)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(answer(&self->r, 1));
	ASSERT_EQ(0, cb_reset(r->s.owner, 1, 1, 0));
	cb_want_reset(&r->s, 1, 0);
	ASSERT_STATE(&r->s);
	close_pub(r, 1);
	ASSERT_STATE(&r->s);
	r->pub[1] = cb_claim(r->s.owner, 1, &r->gen[1]);
	ASSERT_LE(0, r->pub[1]);
	ASSERT_OK(answer(&self->r, 1));
}

/* The process of the last round dies in this one. */
TEST_F(life, stale_death)
{
	struct pt_rig *r = &self->r;
	pid_t first, second;

	first = pt_fork(&self->kid[0]);
	ASSERT_LE(0, first);
	if (!first)
		holds_copies(&self->kid[0], 7);
	ASSERT_EQ(0, cb_bind(r->pub[1], first, 0));
	cb_want_bound(&r->s, 1, first);
	ASSERT_STATE(&r->s);
	ASSERT_OK(answer(&self->r, 1));
	EXPECT_EQ(first, r->s.want[1].publisher_pid);
	ASSERT_EQ(0, cb_reset(r->s.owner, 1, 1, 0));
	cb_want_reset(&r->s, 1, 0);
	ASSERT_STATE(&r->s);
	close_pub(r, 1);
	r->pub[1] = cb_claim(r->s.owner, 1, &r->gen[1]);
	ASSERT_LE(0, r->pub[1]);
	second = pt_fork(&self->kid[1]);
	ASSERT_LE(0, second);
	if (!second)
		holds_copies(&self->kid[1], 8);
	ASSERT_EQ(0, cb_bind(r->pub[1], second, 0));
	cb_want_bound(&r->s, 1, second);
	ASSERT_STATE(&r->s);

	/* it dies, and with it go its copies of the stale handle */
	ASSERT_EQ(0, kill(first, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(first));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_await(&self->kid[1]));
	ASSERT_EQ(0, pt_go(&self->kid[1]));
	r->kid[1] = self->kid[1];
	ASSERT_OK(pt_rig_died(r, 1, 8 << 8, 0));
}

TEST_F(life, reset_keeps_publishers)
{
	struct pt_rig *r = &self->r;
	__u32 round;
	pid_t pid;

	pid = pt_fork(&self->kid[0]);
	ASSERT_LE(0, pid);
	if (!pid)
		holds_copies(&self->kid[0], 7);
	ASSERT_EQ(0, cb_bind(r->pub[1], pid, 0));
	cb_want_bound(&r->s, 1, pid);
	ASSERT_STATE(&r->s);

	for (round = 1; round <= 3; round++) {
		EXPECT_EQ(-ESTALE, cb_success(r->pub[1], round - 1));
		EXPECT_EQ(-ESTALE, cb_success(r->pub[1], round + 1));
		EXPECT_EQ(-ESTALE, cb_progress(r->pub[1], round - 1, "x"));
		ASSERT_STATE(&r->s);
		ASSERT_OK(check_pub(r, 1, r->pub[1], round));
		r->gen[1] = round;
		ASSERT_OK(answer(&self->r, 1));
		ASSERT_EQ(0, cb_reset(r->s.owner, 1, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		cb_want_reset(&r->s, 1, 1);
		EXPECT_EQ(pid, r->s.want[1].publisher_pid);
		ASSERT_STATE(&r->s);
		EXPECT_EQ(0, cb_revents(r->pub[1]));
		EXPECT_EQ(-EBUSY, cb_claim(r->s.owner, 1, NULL));
	}
	/* the binding is the new generation's */
	ASSERT_EQ(0, pt_await(&self->kid[0]));
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	r->kid[1] = self->kid[0];
	ASSERT_OK(pt_rig_died(r, 1, 7 << 8, 0));
}

/* What is dead does not carry over: a binding, and a handle that was closed. */
TEST_F(life, reset_keeps_only_the_living)
{
	struct pt_rig *r = &self->r;
	pid_t pid;

	pid = pt_fork(&self->kid[0]);
	ASSERT_LE(0, pid);
	if (!pid)
		holds_copies(&self->kid[0], 7);
	ASSERT_EQ(0, cb_bind(r->pub[1], pid, 0));
	cb_want_bound(&r->s, 1, pid);
	ASSERT_EQ(0, cb_bind(r->pub[2], 0, 0));
	cb_want_bound(&r->s, 2, getpid());
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_await(&self->kid[0]));
	ASSERT_EQ(0, pt_go(&self->kid[0]));
	r->kid[1] = self->kid[0];
	ASSERT_OK(pt_rig_died(r, 1, 7 << 8, 0));
	close_pub(r, 2);
	pt_want_closed(&r->s, 2);
	ASSERT_STATE(&r->s);

	ASSERT_EQ(0, cb_reset(r->s.owner, 1, 2,
			      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	cb_want_reset(&r->s, 1, 1);
	cb_want_reset(&r->s, 2, 1);
	EXPECT_EQ(0, r->s.want[1].publisher_pid);
	EXPECT_EQ(getpid(), r->s.want[2].publisher_pid);
	ASSERT_STATE(&r->s);
	EXPECT_EQ(-EBUSY, cb_claim(r->s.owner, 1, NULL));
	r->pub[2] = cb_claim(r->s.owner, 2, &r->gen[2]);
	ASSERT_LE(0, r->pub[2]);
	EXPECT_EQ(2, r->gen[2]);
	ASSERT_STATE(&r->s);
	r->gen[1] = 2;
	ASSERT_OK(answer(&self->r, 1));
	ASSERT_OK(answer(&self->r, 2));
}

/* Completion, counts and the first failure are computed anew; the order goes on. */
TEST_F(life, reset_of_a_range)
{
	struct pt_rig *r = &self->r;
	struct chipboot_publish p;
	__u32 round, ch;

	for (round = 1; round <= 3; round++) {
		for (ch = N; ch-- > 0;) {
			r->gen[ch] = round;
			if (ch != 2) {
				ASSERT_OK(answer(&self->r, ch));
				continue;
			}
			p = cb_an_error(round, (int)round, "error", 5);
			ASSERT_EQ(0, cb_publish(r->pub[ch], &p));
			cb_want_publish(&r->s, ch, &p, getpid());
			ASSERT_STATE(&r->s);
		}
		EXPECT_EQ(round * N, r->s.want[0].order);
		/* the failed one first, and the rest after it */
		ASSERT_EQ(0, cb_reset(r->s.owner, 2, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		cb_want_reset(&r->s, 2, 1);
		ASSERT_STATE(&r->s);
		ASSERT_EQ(0, cb_reset(r->s.owner, 0, 2,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		cb_want_reset(&r->s, 0, 1);
		cb_want_reset(&r->s, 1, 1);
		ASSERT_STATE(&r->s);
		ASSERT_EQ(0, cb_reset(r->s.owner, 3, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		cb_want_reset(&r->s, 3, 1);
		ASSERT_STATE(&r->s);
	}
}

/* The first failure goes by RESET: the next in order takes its place, not in number. */
TEST_F(life, first_failed_after_reset)
{
	static const __u32 order[3] = { 2, 3, 1 };
	struct pt_rig *r = &self->r;
	struct chipboot_publish p = cb_an_error(1, 1, "error", 5);
	struct chipboot_status st;
	__u32 i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, cb_publish(r->pub[order[i]], &p));
		cb_want_publish(&r->s, order[i], &p, getpid());
		ASSERT_STATE(&r->s);
	}
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, cb_status(r->s.observer, CHIPBOOT_NO_CHANNEL, 0,
				       &st));
		EXPECT_EQ(order[i], st.first_failed);
		ASSERT_EQ(0, cb_reset(r->s.owner, order[i], 1, 0));
		cb_want_reset(&r->s, order[i], 0);
		ASSERT_STATE(&r->s);
	}
}

/* ---- which handle goes first --------------------------------------------- */

/* Every handle but the publisher's is closed; it works, and sees that the owner left. */
TEST_F(life, publisher_outlives_all)
{
	struct pt_rig *r = &self->r;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, 1, words);
	struct chipboot_status st;
	__u32 ch;

	for (ch = 0; ch < N; ch++) {
		if (ch != 1)
			close_pub(r, ch);
	}
	cb_session_close(&r->s);
	EXPECT_EQ(POLLPRI | POLLHUP, cb_revents(r->pub[1]));
	ASSERT_EQ(0, cb_status(r->pub[1], 0, 0, &st));
	EXPECT_EQ(1, st.channel);
	EXPECT_EQ(CHIPBOOT_OWNER_CLOSED, st.owner_state);
	EXPECT_EQ(1, st.idle);
	EXPECT_EQ(N - 1, st.error);
	EXPECT_EQ(0, cb_publish(r->pub[1], &p));
	EXPECT_EQ(-EALREADY, cb_publish(r->pub[1], &p));
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLPRI | POLLHUP,
		  cb_revents(r->pub[1]));
	ASSERT_EQ(0, cb_status(r->pub[1], 0, 0, &st));
	EXPECT_EQ(0, st.idle);
	EXPECT_EQ(1, st.success);
	close_pub(r, 1);
}

/* A mapping shows what happens after its observer's descriptor was closed ... */
TEST_F(life, mapping_outlives_its_descriptor)
{
	struct pt_rig *r = &self->r;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, 1, words);
	const struct chipboot_page *page;
	int observer = cb_observe(r->s.owner, 0);

	ASSERT_LE(0, observer);
	page = cb_map(observer, r->s.stride, 1, 1);
	ASSERT_NE(NULL, page);
	close(observer);
	ASSERT_EQ(0, cb_publish(r->pub[1], &p));
	cb_want_publish(&r->s, 1, &p, getpid());
	ASSERT_STATE(&r->s);
	EXPECT_EQ(0, memcmp(page, cb_page(&r->s, 1), sizeof(*page)));
	munmap((void *)(uintptr_t)page, r->s.stride);
}

/* ... and after every descriptor of the session was. */
TEST_F(life, mapping_outlives_everything)
{
	struct pt_rig *r = &self->r;
	const struct chipboot_page *page;
	int observer = cb_observe(r->s.owner, 0);
	__u32 ch, stride = r->s.stride;

	ASSERT_LE(0, observer);
	page = cb_map(observer, stride, 1, 1);
	ASSERT_NE(NULL, page);
	close(observer);
	for (ch = 0; ch < N; ch++)
		close_pub(r, ch);
	cb_session_close(&r->s);
	EXPECT_EQ(CHIPBOOT_ERROR, cb_load_state(page));
	EXPECT_EQ(CHIPBOOT_ORIGIN_CLOSED, page->origin);
	EXPECT_STREQ(PT_CLOSED_TEXT, page->message);
	munmap((void *)(uintptr_t)page, stride);
}

/* The last to hold anything at all is a process that is killed. */
TEST_F(life, all_of_it_dies_with_a_process)
{
	struct pt_rig *r = &self->r;
	pid_t pid;
	__u32 ch;

	pid = pt_fork(&self->kid[0]);
	ASSERT_LE(0, pid);
	if (!pid)
		holds_copies(&self->kid[0], 7);
	ASSERT_EQ(0, pt_await(&self->kid[0]));
	for (ch = 0; ch < N; ch++) {
		ASSERT_EQ(0, cb_bind(r->pub[ch], ch ? pid : 0, 0));
		cb_want_bound(&r->s, ch, ch ? pid : getpid());
	}
	ASSERT_STATE(&r->s);
	for (ch = 0; ch < N; ch++)
		close_pub(r, ch);
	ASSERT_STATE(&r->s);
	cb_session_close(&r->s);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(pid));
	/* that nothing of it is left, the runner sees when the module unloads */
}

int main(int argc, char **argv)
{
	pt_helper_main(argc, argv);
	return test_harness_run(argc, argv);
}
