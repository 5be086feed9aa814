// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 3600 */
/* arch: x86_64 arm64 */
/*
 * Kill at every step: a publisher, an owner, a waiter and a reader, each a process that
 * does all that one of its kind does, through the library where that is what it would
 * use, ended at its first system call, at its second, and so on until it comes through.
 *
 * It is ended by SIGKILL after the call, by SIGKILL as it enters the call (so that it
 * may die in the middle of it), and by exit_group() in the call's place; with siblings
 * that hold copies of all it had, and without.  After each end: what the pages say is
 * what was said before, and that it died; a waiter comes to the end of its wait; and the
 * module can be unloaded when the handles are closed, which it cannot as long as
 * anything of a session is left.
 */
#include "process_test.h"

#include <elf.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include <chipboot.h>

#define MODULE	"/vm/module.ko"		/* selftests/vm/init.c puts it there */
#define STEPS	400			/* none of them makes that many calls */
#define CODE	7			/* of exit_group() in a call's place */
#define TEXT	"half way"

/* ---- the module ------------------------------------------------------------- */

/* The last reference to a file may be dropped by delayed work. */
static int reload(void)
{
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	int fd, ret;

	do {
		ret = cb_errno((int)syscall(SYS_delete_module, "chipboot",
					    O_NONBLOCK));
	} while (ret == -EWOULDBLOCK && cb_now() < end && !usleep(1000));
	if (ret)
		return ret;
	fd = open(MODULE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = cb_errno((int)syscall(SYS_finit_module, fd, "", 0));
	close(fd);
	return ret;
}

/* ---- a subject under a tracer --------------------------------------------- */

enum way { KILL_AFTER, KILL_WITHIN, EXIT_INSTEAD, WAYS };

static const char * const way_name[WAYS] = {
	"SIGKILL after", "SIGKILL within", "exit instead of",
};

/* The call that it is just entering becomes exit_group(CODE). */
static int make_it_exit(pid_t pid)
{
	struct user_regs_struct regs;
	struct iovec iov = { &regs, sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &iov))
		return -errno;
#ifdef __aarch64__
	{
		int nr = SYS_exit_group;
		struct iovec call = { &nr, sizeof(nr) };

		regs.regs[0] = CODE;
		if (ptrace(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &call))
			return -errno;
	}
#else
	regs.orig_rax = SYS_exit_group;
	regs.rdi = CODE;
#endif
	return ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &iov) ? -errno : 0;
}

/* One call further: to where the next begins, or this one ends.  0, or how it ended. */
static int to_the_next_stop(pid_t pid, int *status)
{
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL))
			return -errno;
		if (waitpid(pid, status, __WALL) != pid)
			return -errno;
		if (WIFEXITED(*status) || WIFSIGNALED(*status))
			return 1;
		if (WSTOPSIG(*status) == (SIGTRAP | 0x80))
			return 0;
	}
}

/*
 * Let the subject, which has stopped itself, come to its @k-th system call, and end it
 * there as @way says; the moment before, look at what there is.  1: ended, with
 * *@status; 0: it came through; -errno.
 */
static int end_at(pid_t pid, int k, enum way way, int *status,
		  void (*look)(void *), void *arg)
{
	int i, ret;

	if (waitpid(pid, status, __WALL | WUNTRACED) != pid || !WIFSTOPPED(*status))
		return -ECHILD;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
		   (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)))
		return -errno;
	for (i = 0;; i++) {
		ret = to_the_next_stop(pid, status);		/* entry */
		if (ret)
			return ret < 0 ? ret : 0;
		if (i == k && way != KILL_AFTER)
			break;
		ret = to_the_next_stop(pid, status);		/* exit */
		if (ret)
			return ret < 0 ? ret : 0;
		if (i == k)
			break;
	}
	look(arg);
	if (way == EXIT_INSTEAD) {
		ret = make_it_exit(pid);
		if (ret)
			return ret;
		if (ptrace(PTRACE_CONT, pid, NULL, NULL))
			return -errno;
	} else if (way == KILL_WITHIN) {
		/* It comes no further than to the call's end, where it would stop. */
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) || kill(pid, SIGKILL))
			return -errno;
	} else if (kill(pid, SIGKILL)) {
		return -errno;
	}
	return pt_wait_dead(pid) ? -ECHILD : 1;
}

/* In the subject: from here on its calls count. */
static void begin_to_count(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(110);
	raise(SIGSTOP);
}

/* ---- what there is around it --------------------------------------------------- */

FIXTURE(steps)
{
	struct cb_session s;
	int publisher;
	struct pt_kid sibling;
	int sock[2];		/* from a subject that has something to send */
};

FIXTURE_VARIANT(steps)
{
	bool siblings;
	enum way way;
};

FIXTURE_VARIANT_ADD(steps, kill_after)
{
	.way = KILL_AFTER,
};

FIXTURE_VARIANT_ADD(steps, kill_within)
{
	.way = KILL_WITHIN,
};

FIXTURE_VARIANT_ADD(steps, exit_instead)
{
	.way = EXIT_INSTEAD,
};

FIXTURE_VARIANT_ADD(steps, kill_after_with_siblings)
{
	.siblings = true,
	.way = KILL_AFTER,
};

FIXTURE_VARIANT_ADD(steps, kill_within_with_siblings)
{
	.siblings = true,
	.way = KILL_WITHIN,
};

FIXTURE_VARIANT_ADD(steps, exit_instead_with_siblings)
{
	.siblings = true,
	.way = EXIT_INSTEAD,
};

FIXTURE_SETUP(steps)
{
	self->publisher = -1;
	self->s.control = -1;
	self->sock[0] = -1;
	self->sock[1] = -1;
	ASSERT_EQ(0, pt_adopt_orphans());
}

FIXTURE_TEARDOWN(steps)
{
	pt_kill_all();
	if (access(CB_DEVICE, F_OK))
		reload();
}

/* A sibling holds what it inherits until it is told to go. */
static int sibling_begin(struct pt_kid *k)
{
	pid_t pid = pt_fork(k);

	if (pid < 0)
		return pid;
	if (!pid) {
		pt_say(k);
		pt_wait_go(k);
		_exit(0);
	}
	return pt_await(k);
}

static int sibling_end(struct pt_kid *k)
{
	int ret = pt_go(k);

	if (!ret)
		ret = cb_reap(k->pid);
	pt_forget(k);
	return ret;
}

/* Returns when EPOLLIN or @also holds; a wait without an end is a failure. */
static int wait_for(int fd, short also)
{
	struct pollfd p = { .fd = fd, .events = (short)(POLLIN | also) };

	return poll(&p, 1, CB_PATIENCE_MS) == 1 ? p.revents : -ETIMEDOUT;
}

/* ---- the publisher --------------------------------------------------------------- */

/* What the session looked like the moment before. */
struct looked {
	struct cb_session *s;
	struct chipboot_page page;
	struct chipboot_status st;
};

static void look_at_channel(void *arg)
{
	struct looked *l = arg;

	cb_read(l->s->observer, 0, &l->page);
	cb_status(l->s->observer, 0, 0, &l->st);
}

/* A runtime process's whole life, as the library has it. */
static void publish_all(struct chipboot_session *session)
{
	const uint64_t words[3] = { 1, 2, 3 };
	struct chipboot_publisher *mine;
	struct chipboot_observer *peers;
	struct chipboot_answer answer;

	if (chipboot_session_child(session, 0, SIGTERM, 0, &mine, &peers))
		_exit(111);
	if (chipboot_progress(mine, TEXT) ||
	    chipboot_publish_success(mine, 1, 2, 3, words, 3) ||
	    chipboot_publish_success(mine, 1, 2, 3, words, 3) != -EALREADY ||
	    chipboot_read(peers, 0, &answer) != CHIPBOOT_STATE_SUCCESS)
		_exit(112);
	chipboot_publisher_close(mine);
	chipboot_observer_close(peers);
	_exit(0);
}

/*
 * The page after the end.  It says what it said, and the death if it was bound; one
 * that was not bound and had the only handle has closed it.
 */
static const char *want_after(struct looked *l, int status, bool last_handle,
			      struct chipboot_page *want)
{
	static char cause[64];
	char text[2 * CHIPBOOT_MESSAGE_SIZE] = "";

	*want = l->page;
	if (l->page.state == CHIPBOOT_IDLE && (l->st.channel_bound || last_handle)) {
		want->state = CHIPBOOT_ERROR;
		want->error_code = -EOWNERDEAD;
		want->order = 1;
		want->origin = l->st.channel_bound ? CHIPBOOT_ORIGIN_EXIT :
			CHIPBOOT_ORIGIN_CLOSED;
		pt_cause(text, sizeof(text), l->st.channel_bound ?
			 pt_died_of(status, cause, sizeof(cause)) : PT_CLOSED_TEXT,
			 l->page.message);
		cb_set_text(want, text, strlen(text));
	} else if (l->page.state == CHIPBOOT_SUCCESS && l->st.channel_bound) {
		want->flags |= CHIPBOOT_PAGE_GONE;
	}
	if (l->st.channel_bound) {
		want->flags |= CHIPBOOT_PAGE_STATUS_VALID;
		want->wait_status = (__u16)status;
	}
	return cause;
}

/*
 * "" or what is wrong with the page.  Killed within a call, it may have done that call:
 * then the page is one that it would have given the next time.
 */
static const char *check_after(struct looked *l, int status, bool last_handle,
			       bool within)
{
	static char why[512];
	struct chipboot_page want, page;

	if (cb_read(l->s->observer, 0, &page))
		return "READ";
	if (within) {
		struct chipboot_status st;

		if (cb_status(l->s->observer, 0, 0, &st))
			return "STATUS";
		/* Answered, or bound, in the last call. */
		if (page.origin == CHIPBOOT_ORIGIN_PUBLISHER) {
			l->page = page;
			l->page.flags = 0;
			l->page.wait_status = 0;
		}
		if (page.origin == CHIPBOOT_ORIGIN_EXIT)
			l->st.channel_bound = 1;
		if (page.publisher_pid)
			l->page.publisher_pid = page.publisher_pid;
		if (strstr(page.message, TEXT))
			cb_set_text(&l->page, TEXT, strlen(TEXT));
	}
	want_after(l, status, last_handle, &want);
	want.seq = page.seq;
	want.updated_ns = page.updated_ns;
	if (page.seq & 1)
		return "seq is odd";
	if (cb_page_diff(&want, &page, why, sizeof(why)))
		return why;
	return "";
}

/* @from_fork: bound by the launcher, right after the fork. */
static void publisher_steps(struct __test_metadata *_metadata,
			    struct _test_data_steps *self, bool siblings,
			    enum way way, bool from_fork)
{
	struct chipboot_publisher *publisher;
	struct chipboot_session *session;
	int k, ret, status, revents, ends[4] = { 0 };
	struct looked l = { .s = &self->s };
	const char *why;
	pid_t pid;

	for (k = 0; k < STEPS; k++) {
		ASSERT_EQ(0, chipboot_session_create(&session, 1));
		ASSERT_EQ(0, chipboot_session_claim(session, 0, &publisher));
		self->s.observer = chipboot_observer_fd(chipboot_session_observer(session));
		if (siblings) {
			ASSERT_EQ(0, sibling_begin(&self->sibling));
		}
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			begin_to_count();
			publish_all(session);
		}
		if (from_fork) {
			ret = chipboot_publisher_bind(publisher, pid, SIGTERM);
			ASSERT_EQ(0, ret);
		}
		chipboot_publisher_close(publisher);
		ret = end_at(pid, k, way, &status, look_at_channel, &l);
		ASSERT_LE(0, ret) TH_LOG("step %d: %s", k, strerror(-ret));
		if (!ret) {
			ASSERT_TRUE(WIFEXITED(status));
			ASSERT_EQ(0, WEXITSTATUS(status));
		} else {
			/* told before it can be reaped */
			siginfo_t si = { 0 };

			ASSERT_EQ(0, waitid(P_PID, (id_t)pid, &si,
					    WEXITED | WNOWAIT));
			status = si.si_code == CLD_EXITED ?
				si.si_status << 8 : si.si_status;
			why = check_after(&l, status, !siblings, way == KILL_WITHIN);
			ASSERT_STREQ("", why)
				TH_LOG("%s step %d", way_name[way], k);
			ASSERT_EQ(status, cb_reap(pid));
		}
		if (siblings) {
			ASSERT_EQ(0, sibling_end(&self->sibling));
		}
		/* nobody hangs: with the last handle gone there is an answer */
		revents = wait_for(self->s.observer, 0);
		ASSERT_EQ(POLLIN, revents & POLLIN)
			TH_LOG("%s step %d", way_name[way], k);
		cb_read(self->s.observer, 0, &l.page);
		ends[l.page.state + (l.page.origin == CHIPBOOT_ORIGIN_CLOSED)]++;
		chipboot_session_close(session);
		ASSERT_EQ(0, reload()) TH_LOG("%s step %d", way_name[way], k);
		if (!ret)
			break;
	}
	ASSERT_LT(k, STEPS);
	TH_LOG("%s: %d steps; answered %d, died %d, closed %d", way_name[way], k,
	       ends[1], ends[2], ends[3]);
	/* both sides of the answer have been seen */
	EXPECT_LT(0, ends[1]);
	EXPECT_LT(0, ends[2] + ends[3]);
}

TEST_F(steps, publisher_binds_itself)
{
	publisher_steps(_metadata, self, variant->siblings, variant->way, false);
}

TEST_F(steps, publisher_is_bound_by_the_launcher)
{
	publisher_steps(_metadata, self, variant->siblings, variant->way, true);
}

/* ---- the owner -------------------------------------------------------------------- */

/* A launcher's whole life; the tester gets an observer, a publisher, and a copy. */
static void own_all(int sock)
{
	int control = cb_open();
	int owner = cb_create(control, 2, NULL);
	int fds[3];

	fds[0] = cb_observe(owner, CHIPBOOT_EVENT_ALL);
	fds[1] = cb_claim(owner, 0, NULL);
	fds[2] = owner;
	if (cb_send_fds(sock, fds, 3))
		_exit(111);
	close(fds[1]);
	if (cb_deadline(owner, 3600 * 1000000000ull, 0) ||
	    cb_abort(owner, 1, 1, 5, "not this one", NULL) != 0 ||
	    cb_reset(owner, 1, 1, 0) || cb_abort(owner, 1, 1, 6, "again", NULL))
		_exit(112);
	if (cb_detach(owner))
		_exit(113);
	_exit(0);
}

struct looked_owner {
	int sock;
	bool siblings;		/* keep the copy of the owner's handle */
	int fds[3];
	struct chipboot_status st;
};

static void look_at_owner(void *arg)
{
	struct looked_owner *l = arg;

	if (l->fds[0] < 0) {
		if (cb_recv_fds(l->sock, l->fds, 3))
			return;
		if (!l->siblings)
			close(l->fds[2]);
	}
	cb_status(l->fds[0], 1, 0, &l->st);
}

TEST_F(steps, owner)
{
	int k, ret, status, revents, told = 0, detached = 0;
	struct chipboot_status st;
	struct looked_owner l;
	bool within = variant->way == KILL_WITHIN;
	pid_t pid;

	for (k = 0; k < STEPS; k++) {
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC |
					SOCK_NONBLOCK, 0, self->sock));
		memset(&l, 0, sizeof(l));
		l.sock = self->sock[0];
		l.siblings = variant->siblings;
		l.fds[0] = -1;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			begin_to_count();
			own_all(self->sock[1]);
		}
		ret = end_at(pid, k, variant->way, &status, look_at_owner, &l);
		ASSERT_LE(0, ret) TH_LOG("step %d: %s", k, strerror(-ret));
		ASSERT_LE(0, cb_reap(pid) + !ret * ECHILD);
		if (l.fds[0] < 0)
			look_at_owner(&l);
		if (l.fds[0] >= 0) {
			ASSERT_EQ(0, cb_status(l.fds[0], 1, 0, &st));
			if (!ret || l.st.owner_state == CHIPBOOT_OWNER_DETACHED ||
			    (within && st.owner_state == CHIPBOOT_OWNER_DETACHED)) {
				ASSERT_EQ(CHIPBOOT_OWNER_DETACHED, st.owner_state);
				detached++;
			} else {
				ASSERT_EQ(CHIPBOOT_OWNER_DEAD, st.owner_state)
					TH_LOG("%s step %d", way_name[variant->way], k);
				revents = wait_for(l.fds[0], 0);
				ASSERT_EQ(POLLHUP, revents & POLLHUP);
				revents = wait_for(l.fds[1], 0);
				ASSERT_EQ(POLLHUP, revents & POLLHUP);
				told++;
			}
			/* what it had decided stands, no more */
			if (!within) {
				ASSERT_EQ(l.st.channel_state, st.channel_state);
				ASSERT_EQ(l.st.channel_generation,
					  st.channel_generation);
				ASSERT_EQ(l.st.deadline_ns, st.deadline_ns);
			}
			/* who is left answers, and is heard */
			ASSERT_EQ(0, cb_success(l.fds[1], 1));
			ASSERT_EQ(0, cb_status(l.fds[0], 0, 0, &st));
			ASSERT_EQ(CHIPBOOT_SUCCESS, st.channel_state);
			close(l.fds[0]);
			close(l.fds[1]);
			if (variant->siblings)
				close(l.fds[2]);
		}
		close(self->sock[0]);
		close(self->sock[1]);
		ASSERT_EQ(0, reload()) TH_LOG("%s step %d", way_name[variant->way], k);
		if (!ret)
			break;
	}
	ASSERT_LT(k, STEPS);
	TH_LOG("%s: %d steps; told as dead %d, detached %d", way_name[variant->way], k,
	       told, detached);
	EXPECT_LT(0, told);
	EXPECT_LT(0, detached);
}

/* ---- a waiter and a reader --------------------------------------------------------- */

/* Waits for an answer that is not there yet; the alarm is its timeout. */
static void wait_all(struct chipboot_observer *o)
{
	struct chipboot_observer *own;

	if (chipboot_observer_observe(o, 0, &own) ||
	    chipboot_wait(own, CHIPBOOT_ALL, 50 * 1000 * 1000, 0, 0) != -ETIMEDOUT ||
	    chipboot_wait(own, CHIPBOOT_ALL, 50 * 1000 * 1000, 0, 0) != -ETIMEDOUT)
		_exit(111);
	chipboot_observer_close(own);
	_exit(0);
}

/* Maps, looks, reads, asks, unmaps. */
static void read_all(int observer, __u32 stride)
{
	struct chipboot_status st;
	struct chipboot_page page;
	const void *map;
	int own, i;

	own = cb_observe(observer, 0);
	for (i = 0; i < 3; i++) {
		map = cb_map(own, stride, 0, 2);
		if (!map || cb_load_state(map) != CHIPBOOT_IDLE ||
		    cb_read(own, 1, &page) ||
		    cb_status(own, 1, CHIPBOOT_STATUS_ACK, &st))
			_exit(112);
		if (i)
			munmap((void *)(uintptr_t)map, 2 * (size_t)stride);
	}
	_exit(0);
}

static void look_at_nothing(void *arg)
{
	(void)arg;
}

/* Nobody else notices that it is gone. */
static void others_steps(struct __test_metadata *_metadata,
			 struct _test_data_steps *self, bool siblings, enum way way,
			 bool waits)
{
	struct chipboot_observer *observer;
	struct chipboot_publisher *publisher[2];
	struct chipboot_session *session;
	struct chipboot_page before[2], after;
	struct chipboot_answer answer;
	int k, ret, status, i;
	pid_t pid;

	for (k = 0; k < STEPS; k++) {
		ASSERT_EQ(0, chipboot_session_create(&session, 2));
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, chipboot_session_claim(session, (uint32_t)i,
							    &publisher[i]));
		observer = chipboot_session_observer(session);
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, cb_read(chipboot_observer_fd(observer),
					     (__u32)i, &before[i]));
		if (siblings) {
			ASSERT_EQ(0, sibling_begin(&self->sibling));
		}
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			begin_to_count();
			if (waits)
				wait_all(observer);
			read_all(chipboot_observer_fd(observer),
				 (__u32)sysconf(_SC_PAGESIZE));
		}
		ret = end_at(pid, k, way, &status, look_at_nothing, NULL);
		ASSERT_LE(0, ret) TH_LOG("step %d: %s", k, strerror(-ret));
		if (ret)
			status = cb_reap(pid);
		/* killed as it enters its last call, it may be through with it */
		if (!ret || (way == KILL_WITHIN && !status)) {
			ASSERT_EQ(0, status);
		} else {
			ASSERT_EQ(way == EXIT_INSTEAD ? CODE << 8 : SIGKILL, status);
		}
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(0, cb_read(chipboot_observer_fd(observer),
					     (__u32)i, &after));
			ASSERT_EQ(0, memcmp(&before[i], &after, sizeof(after)));
		}
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, chipboot_publish_success(publisher[i], 1, 2, 3,
							      NULL, 0));
		ASSERT_EQ(2, chipboot_wait(observer, CHIPBOOT_ALL, CHIPBOOT_FOREVER,
					   0, 0));
		ASSERT_EQ(CHIPBOOT_STATE_SUCCESS, chipboot_read(observer, 1, &answer));
		if (siblings) {
			ASSERT_EQ(0, sibling_end(&self->sibling));
		}
		for (i = 0; i < 2; i++)
			chipboot_publisher_close(publisher[i]);
		chipboot_session_close(session);
		ASSERT_EQ(0, reload()) TH_LOG("%s step %d", way_name[way], k);
		if (!ret)
			break;
	}
	ASSERT_LT(k, STEPS);
	TH_LOG("%s: %d steps", way_name[way], k);
	EXPECT_LT(4, k);
}

TEST_F(steps, waiter)
{
	others_steps(_metadata, self, variant->siblings, variant->way, true);
}

TEST_F(steps, reader)
{
	others_steps(_metadata, self, variant->siblings, variant->way, false);
}

TEST_HARNESS_MAIN
