// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * What selftests/mutants/ showed to be tested nowhere else: small things, each of
 * which one fault in the module would break unseen.
 */
#include "process_test.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

FIXTURE(catchers)
{
	struct cb_session s;
	int pub;
};

FIXTURE_SETUP(catchers)
{
	ASSERT_EQ(0, cb_session_open(&self->s, 1)) TH_LOG("%s", self->s.why);
	self->pub = cb_claim(self->s.owner, 0, NULL);
	ASSERT_LE(0, self->pub);
}

FIXTURE_TEARDOWN(catchers)
{
	close(self->pub);
	cb_session_close(&self->s);
}

/* A copy of @what that can be read and not written. */
static void *readonly(const void *what, size_t size)
{
	void *p = cb_shared(4096);

	memcpy(p, what, size);
	mprotect(p, 4096, PROT_READ);
	return p;
}

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Who gets EFAULT from what makes a handle has no handle. */
TEST_F(catchers, refused_leaves_no_descriptor)
{
	struct chipboot_create create = { .channels = 1 };
	struct chipboot_claim claim = { .channel = 0 };
	int control = cb_open();
	int before;

	ASSERT_LE(0, control);
	close(self->pub);
	ASSERT_EQ(0, cb_reset(self->s.owner, 0, 1, 0));
	before = descriptors();
	EXPECT_EQ(-EFAULT, cb_ioctl(control, CHIPBOOT_IOC_CREATE,
				    readonly(&create, sizeof(create))));
	EXPECT_EQ(before, descriptors());
	EXPECT_EQ(-EFAULT, cb_ioctl(self->s.owner, CHIPBOOT_IOC_CLAIM,
				    readonly(&claim, sizeof(claim))));
	EXPECT_EQ(before, descriptors());
	self->pub = cb_claim(self->s.owner, 0, NULL);
	EXPECT_LE(0, self->pub);
	close(control);
}

/* What STATUS could not tell has not been seen. */
TEST_F(catchers, ack_that_was_not_told)
{
	struct chipboot_status in = {
		.flags = CHIPBOOT_STATUS_ACK,
		.channel = CHIPBOOT_NO_CHANNEL,
	};
	struct chipboot_status st;
	int observer = cb_observe(self->s.owner, CHIPBOOT_EVENT_CHANGE);

	ASSERT_LE(0, observer);
	EXPECT_EQ(-EFAULT, cb_ioctl(observer, CHIPBOOT_IOC_STATUS,
				    readonly(&in, sizeof(in))));
	EXPECT_EQ(POLLIN | POLLRDNORM, cb_revents(observer));
	in.pending = 8;
	in.pending_words = 1;
	EXPECT_EQ(-EFAULT, cb_ioctl(observer, CHIPBOOT_IOC_STATUS, &in));
	EXPECT_EQ(POLLIN | POLLRDNORM, cb_revents(observer));
	EXPECT_EQ(0, cb_status(observer, CHIPBOOT_NO_CHANNEL,
			       CHIPBOOT_STATUS_ACK, &st));
	EXPECT_EQ(0, cb_revents(observer));
	close(observer);
}

/* A process under a debugger is its parent's child, and not the debugger's. */
TEST_F(catchers, bind_under_a_debugger)
{
	int *ret = cb_shared(4096);
	struct pt_kid child, debugger;
	pid_t pid;

	pid = pt_fork(&child);
	ASSERT_LE(0, pid);
	if (!pid)
		pt_sleep_for_ever();
	*ret = 1;
	pid = pt_fork(&debugger);
	ASSERT_LE(0, pid);
	if (!pid) {
		if (ptrace(PTRACE_SEIZE, child.pid, NULL, NULL))
			_exit(100);
		*ret = cb_bind(self->pub, child.pid, 0);
		pt_say(&debugger);
		pt_wait_go(&debugger);
		_exit(0);
	}
	ASSERT_EQ(0, pt_await(&debugger));
	EXPECT_EQ(-EPERM, *ret);
	EXPECT_EQ(0, cb_bind(self->pub, child.pid, 0));
	ASSERT_EQ(0, pt_go(&debugger));
	EXPECT_EQ(0, cb_reap(debugger.pid));
	kill(child.pid, SIGKILL);
	EXPECT_EQ(SIGKILL, cb_reap(child.pid));
}

/* ---- a whole process exits, and one thread has files of its own ---------- */

#define GROUP	16
#define ROUNDS	150

struct group {
	struct cb_session *s;
	int pub;
	unsigned int ready;
	struct pt_kid kid;
};

static int thread_sleeps(void *arg)
{
	struct group *g = arg;

	__atomic_add_fetch(&g->ready, 1, __ATOMIC_RELEASE);
	pt_sleep_for_ever();
	return 0;
}

/* After this the handle is in this thread's table alone. */
static int thread_has_the_handle(void *arg)
{
	if (syscall(SYS_unshare, CLONE_FILES))
		syscall(SYS_exit_group, 100);
	return thread_sleeps(arg);
}

static void group_exits(struct group *g)
{
	unsigned int i;

	for (i = 0; i < GROUP; i++) {
		if (pt_thread(i ? thread_sleeps : thread_has_the_handle, g,
			      0) < 0)
			_exit(101);
	}
	while (__atomic_load_n(&g->ready, __ATOMIC_ACQUIRE) != GROUP)
		sched_yield();
	close(g->pub);
	pt_say(&g->kid);
	pt_wait_go(&g->kid);
	_exit(7);
}

/*
 * The last close comes from a thread of an exiting process before the others have
 * come that far: that is no close by one that lives on.
 */
TEST_F(catchers, last_close_in_a_group_exit)
{
	const struct chipboot_page *page = cb_page(&self->s, 0);
	struct group *g = cb_shared(sizeof(*g));
	unsigned int round;
	pid_t pid;

	for (round = 0; round < ROUNDS; round++) {
		g->pub = self->pub;
		g->ready = 0;
		pid = pt_fork(&g->kid);
		ASSERT_LE(0, pid);
		if (!pid)
			group_exits(g);
		ASSERT_EQ(0, cb_bind(self->pub, pid, 0));
		close(self->pub);
		ASSERT_EQ(0, pt_await(&g->kid));
		ASSERT_EQ(0, pt_go(&g->kid));
		ASSERT_EQ(7 << 8, cb_reap(pid));
		ASSERT_EQ(CHIPBOOT_ERROR, cb_load_state(page));
		ASSERT_EQ(CHIPBOOT_ORIGIN_EXIT, page->origin)
			TH_LOG("round %u: %s", round, page->message);
		pt_forget(&g->kid);
		ASSERT_EQ(0, cb_reset(self->s.owner, 0, 1, 0));
		self->pub = cb_claim(self->s.owner, 0, NULL);
		ASSERT_LE(0, self->pub);
	}
}

TEST_HARNESS_MAIN
