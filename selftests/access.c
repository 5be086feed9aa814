// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * Access: what a member of the device's group can do to others, and what not, as
 * Documentation/access.md says it.  Three users, of whom two are members; what
 * must be refused to one is done, beside it, by one who may.
 */
#include "process_test.h"

#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define ALICE	1001
#define MALLORY	1003
#define BOB	1002		/* not a member */
#define GROUP	1100

/* What alice hands to those who are to have a try. */
struct target {
	pid_t pid;
	int owner;
	int publisher;
	int observer;
};

FIXTURE(access)
{
	struct target *alice;	/* shared with her process */
	struct pt_kid kid;
};

/* The calling process becomes a user, for good. */
static int become(uid_t uid, bool member)
{
	gid_t group = GROUP;

	if (setgroups(member, &group) || setresgid(uid, uid, uid) ||
	    setresuid(uid, uid, uid))
		return -errno;
	/* A change of user makes a process private even from that user's others. */
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) ? -errno : 0;
}

/* Run @what in a process of a user's; its result. */
static int as_user(uid_t uid, bool member, int (*what)(const struct target *t),
		   const struct target *t)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (become(uid, member))
			_exit(255);
		_exit(-what(t));
	}
	status = cb_reap(pid);
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EPROTO;
}

/* alice: a session of two channels, one of them hers to answer. */
static void alice_main(struct target *t, struct pt_kid *k)
{
	int control;

	if (become(ALICE, true))
		_exit(1);
	control = cb_open();
	if (control < 0)
		_exit(2);
	t->pid = getpid();
	t->owner = cb_create(control, 2, NULL);
	if (t->owner < 0)
		_exit(3);
	t->publisher = cb_claim(t->owner, 0, NULL);
	t->observer = cb_observe(t->owner, 0);
	if (t->publisher < 0 || t->observer < 0)
		_exit(4);
	pt_say(k);
	pt_sleep_for_ever();
}

FIXTURE_SETUP(access)
{
	ASSERT_EQ(0, pt_adopt_orphans());
	/* As userspace/system/60-chipboot.rules has it. */
	ASSERT_EQ(0, chown(CB_DEVICE, 0, GROUP));
	ASSERT_EQ(0, chmod(CB_DEVICE, 0660));
	self->alice = cb_shared(sizeof(*self->alice));
	ASSERT_NE(NULL, self->alice);
	ASSERT_EQ(0, pt_prepare(&self->kid));
	if (!pt_fork_prepared(&self->kid))
		alice_main(self->alice, &self->kid);
	ASSERT_EQ(0, pt_await(&self->kid));
}

FIXTURE_TEARDOWN(access)
{
	pt_kill_all();
	pt_forget(&self->kid);
	munmap(self->alice, sizeof(*self->alice));
	EXPECT_EQ(0, chmod(CB_DEVICE, 0600));
	EXPECT_EQ(0, chown(CB_DEVICE, 0, 0));
}

/* ---- the device -------------------------------------------------------- */

static int open_for_reading(const struct target *t)
{
	(void)t;
	return open(CB_DEVICE, O_RDONLY) < 0 ? -errno : 0;
}

static int open_for_writing(const struct target *t)
{
	(void)t;
	return open(CB_DEVICE, O_RDWR) < 0 ? -errno : 0;
}

TEST_F(access, device_is_the_groups)
{
	EXPECT_EQ(-EACCES, as_user(BOB, false, open_for_reading, NULL));
	EXPECT_EQ(-EACCES, as_user(BOB, false, open_for_writing, NULL));
	EXPECT_EQ(0, as_user(MALLORY, true, open_for_reading, NULL));
	EXPECT_EQ(0, as_user(MALLORY, true, open_for_writing, NULL));
}

/* ---- another one's session, without having been given a handle --------- */

static int get_fd(const struct target *t, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, t->pid, 0);
	int got;

	if (pidfd < 0)
		return -errno;
	got = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	return got < 0 ? -errno : got;
}

static int take_owner(const struct target *t)
{
	int fd = get_fd(t, t->owner);

	return fd < 0 ? fd : 0;
}

static int take_publisher(const struct target *t)
{
	int fd = get_fd(t, t->publisher);

	return fd < 0 ? fd : 0;
}

static int take_observer(const struct target *t)
{
	int fd = get_fd(t, t->observer);
	struct chipboot_page page;

	return fd < 0 ? fd : cb_read(fd, 0, &page);
}

static int look_at_fdinfo(const struct target *t)
{
	char path[64], text[4096];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", t->pid, t->observer);
	ret = cb_slurp(path, text, sizeof(text));
	if (ret < 0)
		return ret;
	return strstr(text, "chipboot-session:") ? 0 : -EPROTO;
}

/* Not even who may look can open a handle anew: it has no name. */
static int open_by_proc(const struct target *t)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->pid, t->observer);
	return open(path, O_RDONLY) < 0 ? -errno : 0;
}

TEST_F(access, other_users_sessions_are_out_of_reach)
{
	const struct target *alice = self->alice;

	EXPECT_EQ(-EPERM, as_user(MALLORY, true, take_owner, alice));
	EXPECT_EQ(-EPERM, as_user(MALLORY, true, take_publisher, alice));
	EXPECT_EQ(-EPERM, as_user(MALLORY, true, take_observer, alice));
	EXPECT_EQ(-EACCES, as_user(MALLORY, true, look_at_fdinfo, alice));
	EXPECT_EQ(-EACCES, as_user(MALLORY, true, open_by_proc, alice));
	/* The same by herself, from another process. */
	EXPECT_EQ(0, as_user(ALICE, true, take_owner, alice));
	EXPECT_EQ(0, as_user(ALICE, true, take_observer, alice));
	EXPECT_EQ(0, as_user(ALICE, true, look_at_fdinfo, alice));
	/* the file that all such handles share is root's */
	EXPECT_EQ(-EACCES, as_user(ALICE, true, open_by_proc, alice));
	EXPECT_EQ(-ENXIO, open_by_proc(alice));
}

/* ---- other users' processes --------------------------------------------- */

static int bind_in_own_session(const struct target *t)
{
	int publisher, owner = cb_create(cb_open(), 1, NULL);

	if (owner < 0)
		return owner;
	publisher = cb_claim(owner, 0, NULL);
	return publisher < 0 ? publisher : cb_bind(publisher, t->pid, SIGKILL);
}

static int bind_self_in_own_session(const struct target *t)
{
	struct target self = { .pid = getpid() };

	(void)t;
	return bind_in_own_session(&self);
}

TEST_F(access, other_users_processes_are_not_bound_or_signalled)
{
	EXPECT_EQ(-EPERM, as_user(MALLORY, true, bind_in_own_session, self->alice));
	/* Not a matter of the user: only oneself and one's children. */
	EXPECT_EQ(-EPERM, as_user(ALICE, true, bind_in_own_session, self->alice));
	EXPECT_EQ(0, as_user(MALLORY, true, bind_self_in_own_session, NULL));
	/* She lives: the session's owner, mallory, is dead by now. */
	EXPECT_EQ(0, kill(self->kid.pid, 0));
	EXPECT_EQ(0, waitpid(self->kid.pid, NULL, WNOHANG));
}

/* ---- with a handle that was given --------------------------------------- */

/* Root takes them for the test, as alice would have sent them. */
static int given[3];

static int use_owner(const struct target *t)
{
	(void)t;
	return cb_claim(given[0], 1, NULL);
}

static int abort_by_owner(const struct target *t)
{
	__u32 aborted;

	(void)t;
	return cb_abort(given[0], 0, 2, 1, "no", &aborted);
}

static int answer(const struct target *t)
{
	(void)t;
	return cb_success(given[1], 1);
}

static int write_to_page(const struct target *t)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	(void)t;
	return mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, given[2], 0) ==
	       MAP_FAILED ? -errno : 0;
}

static int read_page(const struct target *t)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *map = mmap(NULL, page, PROT_READ, MAP_SHARED, given[2], 0);

	(void)t;
	if (map == MAP_FAILED)
		return -errno;
	return mprotect(map, page, PROT_READ | PROT_WRITE) ? -errno : 0;
}

static int ask_for_more(const struct target *t)
{
	(void)t;
	return cb_observe(given[2], CHIPBOOT_EVENT_ALL);
}

static int publish_by_observer(const struct target *t)
{
	(void)t;
	return cb_success(given[2], 1);
}

TEST_F(access, a_handle_gives_what_it_is_and_no_more)
{
	const struct target *alice = self->alice;
	struct chipboot_page page;

	given[0] = get_fd(alice, alice->owner);
	given[1] = get_fd(alice, alice->publisher);
	given[2] = get_fd(alice, alice->observer);
	ASSERT_LE(0, given[0]);
	ASSERT_LE(0, given[1]);
	ASSERT_LE(0, given[2]);

	/* The owner's acts in its process alone, whoever has a copy; so for root. */
	EXPECT_EQ(-EPERM, as_user(MALLORY, true, use_owner, alice));
	EXPECT_EQ(-EPERM, as_user(ALICE, true, abort_by_owner, alice));
	EXPECT_EQ(-EPERM, cb_claim(given[0], 1, NULL));

	/* An observer reads, and there is no way to more. */
	EXPECT_EQ(-EACCES, as_user(MALLORY, true, write_to_page, alice));
	EXPECT_EQ(-EACCES, as_user(MALLORY, true, read_page, alice));
	EXPECT_EQ(-EPERM, as_user(MALLORY, true, ask_for_more, alice));
	EXPECT_EQ(-EOPNOTSUPP,
		  as_user(MALLORY, true, publish_by_observer, alice));
	ASSERT_EQ(0, cb_read(given[2], 0, &page));
	EXPECT_EQ(CHIPBOOT_IDLE, page.state);

	/* A publisher answers, in whoever's hands, and needs no membership. */
	EXPECT_EQ(0, as_user(BOB, false, answer, alice));
	EXPECT_EQ(-EALREADY, as_user(MALLORY, true, answer, alice));
	ASSERT_EQ(0, cb_read(given[2], 0, &page));
	EXPECT_EQ(CHIPBOOT_SUCCESS, page.state);
	close(given[0]);
	close(given[1]);
	close(given[2]);
}

TEST_HARNESS_MAIN
