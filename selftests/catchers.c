// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * What selftests/mutants/ showed to be tested nowhere else: small things, each of
 * which one fault in the module would break unseen.
 */
#include "process_test.h"

#include <dirent.h>
#include <linux/userfaultfd.h>
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

/* ---- bindings that are nobody's any more --------------------------------- */

/* In a child: its copies must not keep the session. */
static void drop_all(const struct cb_session *s, int pub)
{
	munmap((void *)(uintptr_t)s->map, (size_t)s->n * s->stride);
	close(s->observer);
	close(s->owner);
	close(s->control);
	close(pub);
}

/* A process that has nothing of the session and does nothing. */
static int sleeper(struct pt_kid *k, const struct cb_session *s, int pub)
{
	pid_t pid = pt_fork(k);

	if (!pid) {
		drop_all(s, pub);
		pt_say(k);
		pt_sleep_for_ever();
	}
	return pid < 0 ? pid : pt_await(k);
}

/*
 * A binding that another has replaced is gone with its session: who was bound by it
 * dies later, and there is nobody to be told.
 */
TEST_F(catchers, replaced_binding_is_gone)
{
	struct pt_kid first, second;

	ASSERT_EQ(0, sleeper(&first, &self->s, self->pub));
	ASSERT_EQ(0, sleeper(&second, &self->s, self->pub));
	ASSERT_EQ(0, cb_bind(self->pub, first.pid, 0));
	ASSERT_EQ(0, cb_bind(self->pub, second.pid, 0));
	close(self->pub);
	self->pub = -1;
	cb_session_close(&self->s);
	kill(first.pid, SIGKILL);
	EXPECT_EQ(SIGKILL, cb_reap(first.pid));
	kill(second.pid, SIGKILL);
	EXPECT_EQ(SIGKILL, cb_reap(second.pid));
}

/* The same for one that was refused, because another process is bound and lives. */
TEST_F(catchers, refused_binding_is_gone)
{
	struct pt_kid bound, other;
	int *ret = cb_shared(4096);
	pid_t pid;

	ASSERT_EQ(0, sleeper(&bound, &self->s, self->pub));
	ASSERT_EQ(0, cb_bind(self->pub, bound.pid, 0));
	*ret = 1;
	pid = pt_fork(&other);
	ASSERT_LE(0, pid);
	if (!pid) {
		*ret = cb_bind(self->pub, 0, 0);
		drop_all(&self->s, self->pub);
		pt_say(&other);
		pt_sleep_for_ever();
	}
	ASSERT_EQ(0, pt_await(&other));
	EXPECT_EQ(-EBUSY, *ret);
	kill(bound.pid, SIGKILL);
	EXPECT_EQ(SIGKILL, cb_reap(bound.pid));
	close(self->pub);
	self->pub = -1;
	cb_session_close(&self->s);
	kill(other.pid, SIGKILL);
	EXPECT_EQ(SIGKILL, cb_reap(other.pid));
}

/* In the owner process: it is killed with the only handles that there are. */
static void owner_of_one(struct pt_kid *self, struct pt_kid *runtime)
{
	int control = cb_open();
	int owner = cb_create(control, 1, NULL);
	int pub = cb_claim(owner, 0, NULL);

	if (!pt_fork(runtime)) {
		close(pub);
		close(owner);
		close(control);
		pt_say(runtime);
		pt_sleep_for_ever();
	}
	if (pub < 0 || cb_bind(pub, runtime->pid, SIGTERM))
		_exit(100);
	pt_say(self);
	pt_sleep_for_ever();
}

/* A session that ends by its owner's death still sends the death signals. */
TEST_F(catchers, last_files_go_with_the_owner)
{
	struct pt_kid *kid = cb_shared(2 * sizeof(*kid));
	pid_t pid;

	ASSERT_EQ(0, pt_adopt_orphans());
	pt_unleashed = true;
	pid = pt_fork(&kid[0]);
	ASSERT_LE(0, pid);
	if (!pid)
		owner_of_one(&kid[0], &kid[1]);
	ASSERT_EQ(0, pt_await(&kid[0]));
	kill(kid[0].pid, SIGKILL);
	EXPECT_EQ(SIGKILL, cb_reap(kid[0].pid));
	EXPECT_EQ(SIGTERM, cb_reap(kid[1].pid));
}

/* ---- CLAIM and RESET ------------------------------------------------------ */

struct claimer {
	int owner;
	struct chipboot_claim *claim;
	int ret;
};

static int thread_claims(void *arg)
{
	struct claimer *c = arg;

	c->ret = cb_ioctl(c->owner, CHIPBOOT_IOC_CLAIM, c->claim);
	return 0;
}

/* From here on the page of @claim stalls whoever writes to it.  A userfaultfd. */
static int stall_writes(struct chipboot_claim *claim)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register reg = {
		.range = { .start = cb_ptr(claim), .len = getpagesize() },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = {
		.range = reg.range,
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	/* or poll() would not wait, but say POLLERR */
	int uffd = cb_errno(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));

	if (uffd < 0)
		return uffd;
	if (ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg) ||
	    ioctl(uffd, UFFDIO_WRITEPROTECT, &wp)) {
		close(uffd);
		return -EOPNOTSUPP;
	}
	return uffd;
}

/* A RESET comes while CLAIM is telling the generation: it is told anew. */
TEST_F(catchers, claim_across_a_reset)
{
	struct claimer c = { .owner = self->s.owner, .ret = 1 };
	struct uffdio_writeprotect on = { .mode = 0 };
	struct pollfd stalled = { .events = POLLIN };
	pid_t tid;

	c.claim = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)c.claim);
	close(self->pub);
	ASSERT_EQ(0, cb_reset(self->s.owner, 0, 1, 0));
	memset(c.claim, 0, getpagesize());
	stalled.fd = stall_writes(c.claim);
	if (stalled.fd == -EOPNOTSUPP)
		SKIP(return, "no write-protecting userfaultfd on this kernel");
	ASSERT_LE(0, stalled.fd);
	tid = pt_thread(thread_claims, &c, 0);
	ASSERT_LE(0, tid);
	ASSERT_EQ(1, poll(&stalled, 1, CB_PATIENCE_MS));
	ASSERT_EQ(POLLIN, stalled.revents);
	/* it has looked: generation 2, and is about to say so */
	ASSERT_EQ(0, cb_abort(self->s.owner, 0, 1, -9, "enough", NULL));
	ASSERT_EQ(0, cb_reset(self->s.owner, 0, 1, 0));
	on.range.start = cb_ptr(c.claim);
	on.range.len = getpagesize();
	ASSERT_EQ(0, ioctl(stalled.fd, UFFDIO_WRITEPROTECT, &on));
	pt_wait_task_gone(getpid(), tid);
	self->pub = c.ret;
	ASSERT_LE(0, self->pub);
	EXPECT_EQ(3, c.claim->generation);
	EXPECT_EQ(0, cb_success(self->pub, c.claim->generation));
	close(stalled.fd);
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
