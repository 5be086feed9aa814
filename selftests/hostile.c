// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --disk 1 --timeout 1800 */
/*
 * Hostile users: the attacks of Documentation/security.md that have no test with the
 * thing that they attack (mapping.c, limits.c, bind.c, stalled.c and so on, as that file
 * says).  What they could win is a forged answer, somebody else's, a hidden death, or
 * more channels than theirs.
 */
#include "system_test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define ALICE	1001
#define BOB	1002
#define N	3

/* From the kernel's headers that Debian 12's libc does not have. */
struct clone3_args {
	__u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size,
	      tls, set_tid, set_tid_size, cgroup;
};

FIXTURE(hostile)
{
	struct cb_session s;
	int pub[N];
	char *map;
	size_t stride;
};

/* 0 IDLE, 1 SUCCESS, 2 ERROR */
FIXTURE_SETUP(hostile)
{
	struct cb_session *s = &self->s;
	__u64 words[4];
	struct chipboot_publish p;
	__u32 i;

	ASSERT_EQ(0, pt_adopt_orphans());
	ASSERT_EQ(0, cb_session_open(s, N)) TH_LOG("%s", s->why);
	for (i = 0; i < N; i++) {
		self->pub[i] = cb_claim(s->owner, i, NULL);
		ASSERT_LE(0, self->pub[i]);
	}
	p = cb_a_success(1, 1, words, 4);
	ASSERT_EQ(0, cb_publish(self->pub[1], &p));
	cb_want_publish(s, 1, &p, getpid());
	p = cb_an_error(1, 3, "no", 2);
	ASSERT_EQ(0, cb_publish(self->pub[2], &p));
	cb_want_publish(s, 2, &p, getpid());
	ASSERT_STATE(s);
	self->stride = s->stride;
	self->map = (char *)(uintptr_t)cb_map(s->observer, s->stride, 0, N);
	ASSERT_NE(NULL, self->map);
}

FIXTURE_TEARDOWN(hostile)
{
	int i;

	pt_kill_all();
	EXPECT_STATE(&self->s);
	munmap(self->map, N * self->stride);
	for (i = 0; i < N; i++)
		close(self->pub[i]);
	cb_session_close(&self->s);
}

/* Becomes a user with nothing but itself. */
static void become(uid_t uid)
{
	if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		_exit(120);
	prctl(PR_SET_DUMPABLE, 1);
}

/* ---- writing a page ------------------------------------------------------------- */

/* A fault handler in userspace could make up pages: it is not let near. */
TEST_F(hostile, userfaultfd)
{
	const __u64 modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP,
		UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
		1 << 2,		/* MINOR */
	};
	struct uffdio_register reg = {
		.range.start = cb_ptr(self->map),
		.range.len = N * self->stride,
	};
	struct uffdio_copy copy = {
		.dst = cb_ptr(self->map + self->stride),
		.src = cb_ptr(self->map),
		.len = self->stride,
	};
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	unsigned int i;

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		reg.mode = modes[i];
		EXPECT_EQ(-EINVAL, cb_errno(ioctl(uffd, UFFDIO_REGISTER, &reg)))
			TH_LOG("mode %#llx", (unsigned long long)modes[i]);
	}
	EXPECT_GT(0, ioctl(uffd, UFFDIO_COPY, &copy));
	EXPECT_EQ(0, madvise(self->map, self->stride, MADV_DONTNEED) &&
		  errno != EINVAL);
	EXPECT_GT(0, ioctl(uffd, UFFDIO_COPY, &copy));
	close(uffd);
	/* what was thrown away comes as the page it is, or not at all */
	munmap(self->map, N * self->stride);
	self->map = (char *)(uintptr_t)cb_map(self->s.observer, self->s.stride, 0, N);
	ASSERT_NE(NULL, self->map);
}

/* The machine's disk (selftests/vm/run --disk), or a debug kernel's, in memory. */
static int open_disk(void)
{
	static const char *const disks[] = { "/dev/nvme0n1", "/dev/ram0" };
	unsigned int i;
	int fd = -1;

	for (i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
		fd = open(disks[i], O_RDWR | O_DIRECT | O_CLOEXEC);
		if (fd >= 0 || (errno != ENOENT && errno != ENXIO))
			break;
	}
	return fd;
}

/* A disk writes where it is told to, if the page can be had for that. */
TEST_F(hostile, direct_io)
{
	void *own = mmap(NULL, self->stride, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open_disk();
	int i;

	if (fd < 0 && (errno == ENOENT || errno == ENXIO))
		SKIP(return, "this kernel has no driver for the machine's disk");
	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, own);
	memset(own, 'd', self->stride);
	/* the control: it works with memory of one's own */
	ASSERT_EQ((ssize_t)self->stride, pwrite(fd, own, self->stride, 0));
	memset(own, 0, self->stride);
	ASSERT_EQ((ssize_t)self->stride, pread(fd, own, self->stride, 0));
	ASSERT_EQ('d', *(char *)own);
	for (i = 0; i < N; i++) {
		EXPECT_EQ(-EFAULT,
			  cb_errno((int)pread(fd, self->map + i * self->stride,
					      self->stride, 0)));
		ASSERT_STATE(&self->s);
	}
	close(fd);
	munmap(own, self->stride);
}

/* A handle is no file to be written, moved into, cut, or opened anew. */
TEST_F(hostile, handles_are_no_files)
{
	const int fds[] = { self->s.owner, self->s.observer, self->pub[0] };
	char path[64], c = 'x';
	unsigned int i;
	int p[2];

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	ASSERT_EQ(1, write(p[1], &c, 1));
	for (i = 0; i < 3; i++) {
		const int fd = fds[i];

		EXPECT_GT(0, write(fd, &c, 1));
		EXPECT_GT(0, pwrite(fd, &c, 1, 0));
		EXPECT_GT(0, read(fd, &c, 1));
		EXPECT_GT(0, ftruncate(fd, 0));
		EXPECT_GT(0, fallocate(fd, 0, 0, 1));
		EXPECT_GT(0, splice(p[0], NULL, fd, NULL, 1, 0));
		EXPECT_GT(0, sendfile(fd, p[0], NULL, 1));
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		EXPECT_EQ(-ENXIO, cb_errno(open(path, O_RDWR | O_CLOEXEC)));
		EXPECT_EQ(-ENXIO, cb_errno(open(path, O_RDONLY | O_CLOEXEC)));
		ASSERT_STATE(&self->s);
	}
	close(p[0]);
	close(p[1]);
}

/* ---- somebody else's session ------------------------------------------------------- */

/* A session of alice's, and bob, who knows everything of it but has no handle. */
TEST_F(hostile, another_users_session)
{
	struct pt_kid alice, bob;
	char path[64];
	int status, i;
	pid_t pid;

	pid = pt_fork(&alice);
	ASSERT_LE(0, pid);
	if (!pid) {
		become(ALICE);
		pt_say(&alice);
		pt_sleep_for_ever();
	}
	ASSERT_EQ(0, pt_await(&alice));
	pid = pt_fork(&bob);
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd, pidfd = (int)syscall(SYS_pidfd_open, alice.pid, 0);
		struct iovec to = { path, 8 }, from = { self->map, 8 };

		for (i = 3; i < 1024; i++)
			close(i == bob.go[0] || i == bob.said[1] || i == pidfd ?
			      -1 : i);
		munmap(self->map, N * self->stride);
		become(BOB);
		for (i = 3; i < 64; i++) {
			snprintf(path, sizeof(path), "/proc/%d/fd/%d", alice.pid, i);
			if (open(path, O_RDONLY) >= 0)
				_exit(1);
			snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d",
				 alice.pid, i);
			if (open(path, O_RDONLY) >= 0)
				_exit(2);
			fd = (int)syscall(SYS_pidfd_getfd, pidfd, i, 0);
			if (fd >= 0 || errno != EPERM)
				_exit(3);
		}
		if (process_vm_readv(alice.pid, &to, 1, &from, 1, 0) >= 0 ||
		    errno != EPERM)
			_exit(4);
		if (!ptrace(PTRACE_ATTACH, alice.pid, 0, 0) || errno != EPERM)
			_exit(5);
		_exit(0);
	}
	status = cb_reap(pid);
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, kill(alice.pid, SIGKILL));
	cb_reap(alice.pid);
	pt_forget(&alice);
	pt_forget(&bob);
}

/* The device belongs to who may open it: mode 0600 until the host's admin says else. */
TEST_F(hostile, device_is_roots)
{
	struct stat st;
	pid_t pid;

	ASSERT_EQ(0, stat(CB_DEVICE, &st));
	EXPECT_EQ(0600, st.st_mode & 0777);
	EXPECT_EQ(0, st.st_uid);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		become(ALICE);
		_exit(cb_open() == -EACCES ? 0 : 1);
	}
	EXPECT_EQ(0, cb_reap(pid));
}

/* Root of a user namespace of one's own is nobody here. */
TEST_F(hostile, user_namespace)
{
	const long long before = st_param(ST_PER_USER);
	struct chipboot_status st;
	pid_t pid;

	ASSERT_EQ(0, st_set_param(ST_PER_USER, 4));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int i, fd[2];

		become(ALICE);
		fd[0] = cb_create(self->s.control, 3, NULL);
		if (fd[0] < 0)
			_exit(1);
		for (i = 0; i < 3; i++) {
			if (unshare(CLONE_NEWUSER))
				_exit(2);
			/* not mapped, then root: it is alice's account */
			if (cb_create(self->s.control, 2, NULL) != -EDQUOT)
				_exit(3);
			if (st_write("/proc/self/uid_map", i ? "0 0 1" : "0 1001 1") ||
			    st_write("/proc/self/setgroups", "deny") ||
			    st_write("/proc/self/gid_map", i ? "0 0 1" : "0 1001 1"))
				_exit(4);
			if (cb_create(self->s.control, 2, NULL) != -EDQUOT)
				_exit(5);
		}
		/* nor does it own what it holds a copy of */
		if (cb_detach(self->s.owner) != -EPERM ||
		    cb_reset(self->s.owner, 1, 1, 0) != -EPERM ||
		    cb_abort(self->s.owner, 0, 1, 1, NULL, NULL) != -EPERM)
			_exit(6);
		/* and who opens the device there opens this host's, with its mode */
		if (cb_open() != -EACCES)
			_exit(7);
		fd[1] = cb_create(self->s.control, 1, NULL);
		_exit(fd[1] >= 0 ? 0 : 8);
	}
	EXPECT_EQ(0, cb_reap(pid));
	EXPECT_EQ(0, st_set_param(ST_PER_USER, (__u32)before));
	ASSERT_EQ(0, cb_status(self->s.observer, 0, 0, &st));
	EXPECT_EQ(CHIPBOOT_OWNER_ALIVE, st.owner_state);
}

/* ---- seccomp ----------------------------------------------------------------------- */

/* Who may make no system call but exit() still reads a state. */
TEST_F(hostile, seccomp_strict_reader)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		struct chipboot_page copy;

		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			_exit(1);
		cb_copy_page(&copy, self->map + self->stride);
		syscall(SYS_exit, copy.state == CHIPBOOT_SUCCESS &&
			cb_load_state((void *)self->map) == CHIPBOOT_IDLE ? 0 : 2);
	}
	EXPECT_EQ(0, cb_reap(pid));
}

/* One that a filter kills in the middle of an ioctl's way dies like any other. */
TEST_F(hostile, seccomp_kill_is_told)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	struct chipboot_page page;
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		if (cb_bind(self->pub[0], 0, 0) ||
		    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
			_exit(1);
		syscall(SYS_getpriority, 0, 0);
		_exit(2);
	}
	ASSERT_EQ(0, pt_wait_dead(pid));
	ASSERT_EQ(0, cb_read(self->s.observer, 0, &page));
	EXPECT_EQ(CHIPBOOT_ORIGIN_EXIT, page.origin);
	cb_want_bound(&self->s, 0, pid);
	status = cb_reap(pid);
	EXPECT_EQ(SIGSYS, status & 0x7f);
	pt_want_died(&self->s, 0, status, 0);
	EXPECT_STATE(&self->s);
}

/* ---- hiding a death ------------------------------------------------------------------ */

/* A runtime process that is bound to channel 0 and does as @way says for ever. */
enum way { STOPS, VFORKS, IS_LARGE };

#define LARGE	(192ul << 20)

static pid_t start_obstinate(struct pt_kid *k, int publisher, enum way way)
{
	pid_t pid = pt_fork(k);
	char *p;

	if (pid)
		return pid;
	if (cb_bind(publisher, 0, 0))
		_exit(1);
	switch (way) {
	case STOPS:
		pt_say(k);
		raise(SIGSTOP);
		break;
	case VFORKS:
		/* asleep in state D until the child is gone, which it never is */
		pt_say(k);
		if (!vfork()) {
			for (;;)
				syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
		}
		break;
	case IS_LARGE:
		p = mmap(NULL, LARGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			_exit(2);
		pt_say(k);
		break;
	}
	pt_sleep_for_ever();
	return 0;
}

/* The deadline does not wait for it, and its death is told when it is dead. */
static void obstinate(struct __test_metadata *_metadata,
		      struct _test_data_hostile *self, enum way way, int state)
{
	struct cb_session *s = &self->s;
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	struct chipboot_status st;
	struct pt_kid kid;
	int status;
	pid_t pid;

	pid = start_obstinate(&kid, self->pub[0], way);
	ASSERT_LE(0, pid);
	ASSERT_EQ(0, pt_await(&kid));
	while (state && cb_task_state(pid) != state && cb_now() < end)
		usleep(1000);
	if (state)
		ASSERT_EQ(state, cb_task_state(pid));
	cb_want_bound(s, 0, pid);
	ASSERT_STATE(s);

	/* killed, it is told before it can be reaped; IDLE until then or ERROR */
	ASSERT_EQ(0, cb_deadline(s->owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE));
	s->deadline_ns = 1;
	pt_want_deadline(s, 0);
	ASSERT_STATE(s);
	ASSERT_EQ(0, cb_reset(s->owner, 0, 1, CHIPBOOT_RESET_KEEP_PUBLISHERS));
	cb_want_reset(s, 0, 1);
	ASSERT_STATE(s);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(pid));
	ASSERT_EQ(0, cb_status(s->observer, 0, 0, &st));
	EXPECT_EQ(CHIPBOOT_ERROR, st.channel_state);
	EXPECT_EQ(0, st.channel_bound);
	status = cb_reap(pid);
	EXPECT_EQ(SIGKILL, status);
	pt_want_died(s, 0, status, 0);
	EXPECT_STATE(s);
	pt_forget(&kid);
}

TEST_F(hostile, stopped)
{
	obstinate(_metadata, self, STOPS, 'T');
}

TEST_F(hostile, uninterruptible)
{
	obstinate(_metadata, self, VFORKS, 'D');
}

TEST_F(hostile, large_address_space)
{
	obstinate(_metadata, self, IS_LARGE, 0);
}

/* ---- a number that is used again -------------------------------------------------------- */

/* fork() with this pid; -errno if it is taken. */
static pid_t fork_as(pid_t pid)
{
	struct clone3_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = cb_ptr(&pid),
		.set_tid_size = 1,
	};
	long ret = syscall(SYS_clone3, &args, sizeof(args));

	return ret < 0 ? -errno : (pid_t)ret;
}

/*
 * A binding is to a process and not to a number: who has the number next is not bound,
 * gets no death signal, and its death is nobody's.
 */
TEST_F(hostile, pid_reuse)
{
	struct cb_session *s = &self->s;
	struct chipboot_status st;
	struct pt_kid kid;
	pid_t pid, again;
	int status;

	ASSERT_EQ(0, pt_prepare(&kid));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	/* channel 1 is SUCCESS: it stays so, with the death in it */
	ASSERT_EQ(0, cb_bind(self->pub[1], pid, SIGTERM));
	ASSERT_EQ(0, pt_wait_dead(pid));
	cb_want_bound(s, 1, pid);
	status = cb_reap(pid);
	pt_want_died(s, 1, status, 0);
	ASSERT_STATE(s);

	again = fork_as(pid);
	ASSERT_LE(0, again);
	if (!again) {
		cb_tell(kid.said[1]);
		pt_sleep_for_ever();
	}
	ASSERT_EQ(pid, again);
	kid.pid = again;
	ASSERT_EQ(0, pt_await(&kid));
	ASSERT_STATE(s);
	ASSERT_EQ(0, cb_status(s->observer, 1, 0, &st));
	EXPECT_EQ(0, st.channel_bound);
	ASSERT_EQ(0, kill(again, SIGKILL));
	EXPECT_EQ(SIGKILL, cb_reap(again));
	ASSERT_STATE(s);

	/* and once more with one that is bound to channel 0 by its number */
	again = fork_as(pid);
	ASSERT_LE(0, again);
	if (!again)
		pt_sleep_for_ever();
	ASSERT_EQ(0, cb_bind(self->pub[0], again, 0));
	cb_want_bound(s, 0, again);
	ASSERT_STATE(s);
	ASSERT_EQ(0, kill(again, SIGKILL));
	status = cb_reap(again);
	pt_want_died(s, 0, status, 0);
	ASSERT_STATE(s);
	pt_forget(&kid);
}

/* ---- close against every ioctl ------------------------------------------------------------ */

#define ROUNDS	300

struct closing {
	int fd;			/* the number that comes and goes */
	int stop;
	unsigned long calls, closed, wrong;
};

/* Every ioctl on one number, which is a handle of some kind, or of none. */
static void *call_all(void *arg)
{
	struct closing *c = arg;
	struct chipboot_status st;
	struct chipboot_version v;
	struct chipboot_page page;
	int made[4], i;
	int ret[16];
	unsigned int n;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		n = 0;
		made[0] = cb_claim(c->fd, 0, NULL);
		made[1] = cb_observe(c->fd, 0);
		made[2] = cb_create(c->fd, 1, NULL);
		made[3] = -1;
		for (i = 0; i < 3; i++)
			ret[n++] = made[i] < 0 ? made[i] : 0;
		ret[n++] = cb_version(c->fd, &v);
		ret[n++] = cb_reset(c->fd, 0, 1, 0);
		ret[n++] = cb_abort(c->fd, 0, 1, 1, "x", NULL);
		ret[n++] = cb_deadline(c->fd, 3600 * 1000000000ull, 0);
		ret[n++] = cb_bind(c->fd, 0, 0);
		ret[n++] = cb_progress(c->fd, 1, "x");
		ret[n++] = cb_error(c->fd, 1, 1, "x");
		ret[n++] = cb_read(c->fd, 0, &page);
		ret[n++] = cb_status(c->fd, 0, CHIPBOOT_STATUS_ACK, &st);
		/* seldom: an owner that has let go may do nothing more */
		if (c->calls / 12 % 8 == 0)
			ret[n++] = cb_detach(c->fd);
		cb_revents(c->fd);
		for (i = 0; i < 4; i++) {
			if (made[i] >= 0)
				close(made[i]);
		}
		while (n--) {
			c->calls++;
			switch (ret[n]) {
			case 0:
			case -EOPNOTSUPP:
			case -EPERM:
			case -EBUSY:
			case -EALREADY:
			case -ECANCELED:
			case -ESTALE:
				break;
			case -EBADF:
				c->closed++;
				break;
			default:
				c->wrong++;
			}
		}
	}
	return NULL;
}

/*
 * The number is an owner's, a publisher's, an observer's handle in turn, and is replaced
 * and closed under the hands of those who call.
 */
TEST(close_against_every_ioctl)
{
	struct closing c[2] = { 0 };
	int control = cb_open();
	pthread_t thread[2];
	int i, round;
	int fd = fcntl(control, F_DUPFD_CLOEXEC, 200);

	ASSERT_LE(200, fd);
	for (i = 0; i < 2; i++) {
		c[i].fd = fd;
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, call_all, &c[i]));
	}
	for (round = 0; round < ROUNDS; round++) {
		int owner = cb_create(control, 2, NULL);
		int made[3];

		ASSERT_LE(0, owner);
		made[0] = cb_claim(owner, round % 2, NULL);
		made[1] = cb_observe(owner, CHIPBOOT_EVENT_ALL);
		made[2] = owner;
		for (i = 0; i < 3; i++) {
			ASSERT_LE(0, made[i]);
			ASSERT_EQ(fd, dup3(made[i], fd, O_CLOEXEC));
			close(made[i]);
			sched_yield();
			if ((round + i) % 2)
				close(fd);
			sched_yield();
		}
	}
	for (i = 0; i < 2; i++)
		__atomic_store_n(&c[i].stop, 1, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		EXPECT_EQ(0, c[i].wrong);
		EXPECT_LT(0, c[i].calls);
	}
	TH_LOG("%lu calls, %lu on a closed number", c[0].calls + c[1].calls,
	       c[0].closed + c[1].closed);
	close(fd);
	close(control);
}

TEST_HARNESS_MAIN
