/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every guest test of chipboot shares: the ioctls as calls that return a
 * descriptor, 0 or -errno; a model of what a session should look like, compared
 * completely after every step; what /proc says of a sleeper.
 *
 * Raw ioctls on purpose: the library has tests of its own.
 *
 * The model.  struct cb_session holds, for each channel, the page it should
 * have.  A test does one thing to the session, tells the model with one of the
 * cb_want_*() calls, and says EXPECT_STATE(s) or ASSERT_STATE(s).  That compares
 * with what was expected: STATUS (each field, for each channel), a READ
 * snapshot, the mapped page, byte for byte.  A channel of which the model was
 * told nothing must be the same to the last bit, with its sequence count and
 * its time stamp, and CHANGE must hold only if something changed.
 */
#ifndef CHIPBOOT_TEST_H
#define CHIPBOOT_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/* What the harness's macros expand to is not clean under -Wextra. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wclobbered"
#endif
#include "kselftest_harness.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

#include <linux/chipboot.h>

/*
 * Seconds for one test.  The harness has 30; an emulated machine with two
 * processors is 20 to 30 times slower while something else keeps a core busy.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 900

/* A wait that lasts longer is a lost wake-up, not a slow machine. */
#define CB_PATIENCE_MS	(300 * 1000)

#define CB_MAYBE_UNUSED	__attribute__((unused))
#define CB_POISON	0xa5
#define CB_DEVICE	"/dev/chipboot"

/* ---- small things ----------------------------------------------------- */

static CB_MAYBE_UNUSED __u64 cb_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000000000u + (__u64)ts.tv_nsec;
}

static CB_MAYBE_UNUSED __u64 cb_ptr(const void *p)
{
	return (__u64)(uintptr_t)p;
}

static CB_MAYBE_UNUSED pid_t cb_gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static CB_MAYBE_UNUSED int cb_errno(int ret)
{
	return ret < 0 ? -errno : ret;
}

/* Memory shared with every process forked later. */
static CB_MAYBE_UNUSED void *cb_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("cb_shared");
		abort();
	}
	return p;
}

/* Pin the calling thread; 0 or -errno. */
static CB_MAYBE_UNUSED int cb_pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return cb_errno(sched_setaffinity(0, sizeof(set), &set));
}

/*
 * In a forked child that waits for the test in a loop: end with the test.  A
 * test that failed an ASSERT does not come to tell its children.
 */
static CB_MAYBE_UNUSED void cb_die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
}

/*
 * One byte through a pipe: "I have come this far" and "wait until it has".
 * 0, or -errno; -EPIPE if the other side is gone.
 */
static CB_MAYBE_UNUSED int cb_tell(int fd)
{
	char c = '!';
	ssize_t n;

	do {
		n = write(fd, &c, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -errno;
}

static CB_MAYBE_UNUSED int cb_await(int fd)
{
	char c;
	ssize_t n;

	do {
		n = read(fd, &c, 1);
	} while (n < 0 && errno == EINTR);
	if (!n)
		return -EPIPE;
	return n == 1 ? 0 : -errno;
}

/* Reap one child; its wait status, or -errno. */
static CB_MAYBE_UNUSED int cb_reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return status;
}

/* ---- the ioctls ------------------------------------------------------- */

/*
 * Output fields go in poisoned, so that a field the kernel forgot is seen.
 * Each returns what the ioctl returns, or -errno.
 */

static CB_MAYBE_UNUSED int cb_ioctl(int fd, unsigned long cmd, const void *arg)
{
	return cb_errno(ioctl(fd, cmd, arg));
}

static CB_MAYBE_UNUSED int cb_open(void)
{
	return cb_errno(open(CB_DEVICE, O_RDWR | O_CLOEXEC));
}

static CB_MAYBE_UNUSED int cb_version(int control, struct chipboot_version *v)
{
	memset(v, CB_POISON, sizeof(*v));
	return cb_ioctl(control, CHIPBOOT_IOC_VERSION, v);
}

/* @out may be NULL. */
static CB_MAYBE_UNUSED int cb_create(int control, __u32 channels,
				     struct chipboot_create *out)
{
	struct chipboot_create c;
	int ret;

	memset(&c, CB_POISON, sizeof(c));
	c.channels = channels;
	c.flags = 0;
	c.reserved = 0;
	ret = cb_ioctl(control, CHIPBOOT_IOC_CREATE, &c);
	if (out)
		*out = c;
	return ret;
}

/* @generation may be NULL. */
static CB_MAYBE_UNUSED int cb_claim(int owner, __u32 channel, __u32 *generation)
{
	struct chipboot_claim c;
	int ret;

	memset(&c, CB_POISON, sizeof(c));
	c.channel = channel;
	c.flags = 0;
	c.reserved = 0;
	ret = cb_ioctl(owner, CHIPBOOT_IOC_CLAIM, &c);
	if (generation)
		*generation = c.generation;
	return ret;
}

static CB_MAYBE_UNUSED int cb_observe(int fd, __u32 events)
{
	struct chipboot_observe o = { .events = events };

	return cb_ioctl(fd, CHIPBOOT_IOC_OBSERVE, &o);
}

static CB_MAYBE_UNUSED int cb_reset(int owner, __u32 first, __u32 count,
				    __u32 flags)
{
	struct chipboot_reset r = {
		.first = first,
		.count = count,
		.flags = flags,
	};

	return cb_ioctl(owner, CHIPBOOT_IOC_RESET, &r);
}

/* @text may be NULL, @aborted too. */
static CB_MAYBE_UNUSED int cb_abort(int owner, __u32 first, __u32 count,
				    __s32 code, const char *text,
				    __u32 *aborted)
{
	struct chipboot_abort a;
	int ret;

	memset(&a, CB_POISON, sizeof(a));
	a.first = first;
	a.count = count;
	a.flags = 0;
	a.error_code = code;
	a.message = cb_ptr(text);
	a.message_len = text ? (__u32)strlen(text) : 0;
	ret = cb_ioctl(owner, CHIPBOOT_IOC_ABORT, &a);
	if (aborted)
		*aborted = a.aborted;
	return ret;
}

static CB_MAYBE_UNUSED int cb_detach(int owner)
{
	return cb_errno(ioctl(owner, CHIPBOOT_IOC_DETACH, 0));
}

static CB_MAYBE_UNUSED int cb_deadline(int owner, __u64 ns, __u32 flags)
{
	struct chipboot_deadline d = { .ns = ns, .flags = flags };

	return cb_ioctl(owner, CHIPBOOT_IOC_SET_DEADLINE, &d);
}

static CB_MAYBE_UNUSED int cb_bind(int publisher, pid_t pid, __u32 death_signal)
{
	struct chipboot_bind b = { .pid = pid, .death_signal = death_signal };

	return cb_ioctl(publisher, CHIPBOOT_IOC_BIND, &b);
}

static CB_MAYBE_UNUSED int cb_progress_n(int publisher, __u32 generation,
					 const void *text, size_t len,
					 __u32 flags)
{
	struct chipboot_progress p = {
		.generation = generation,
		.flags = flags,
		.message = cb_ptr(text),
		.message_len = (__u32)len,
	};

	return cb_ioctl(publisher, CHIPBOOT_IOC_PROGRESS, &p);
}

static CB_MAYBE_UNUSED int cb_progress(int publisher, __u32 generation,
				       const char *text)
{
	return cb_progress_n(publisher, generation, text, strlen(text), 0);
}

static CB_MAYBE_UNUSED int cb_publish(int publisher,
				      const struct chipboot_publish *p)
{
	return cb_ioctl(publisher, CHIPBOOT_IOC_PUBLISH, p);
}

/* An ERROR with these bytes; the struct is kept by the caller for the model. */
static CB_MAYBE_UNUSED struct chipboot_publish
cb_an_error(__u32 generation, __s32 code, const void *text, size_t len)
{
	return (struct chipboot_publish) {
		.generation = generation,
		.state = CHIPBOOT_ERROR,
		.error_code = code,
		.message = cb_ptr(text),
		.message_len = (__u32)len,
	};
}

/*
 * A SUCCESS in which every bit depends on @seed, @words are written to and must
 * live as long as the struct.
 */
static CB_MAYBE_UNUSED struct chipboot_publish
cb_a_success(__u32 generation, __u64 seed, __u64 *words, __u32 count)
{
	/* splitmix64 */
	__u64 x = (seed + 1) * 0x9e3779b97f4a7c15u;
	__u64 v[3];
	__u32 i;

	for (i = 0; i < count + 3; i++) {
		__u64 z = (x += 0x9e3779b97f4a7c15u);

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		if (i < 3)
			v[i] = z;
		else
			words[i - 3] = z;
	}
	return (struct chipboot_publish) {
		.generation = generation,
		.state = CHIPBOOT_SUCCESS,
		.device_ctx = v[0],
		.local_window_base = v[1],
		.actual_window_size = v[2],
		.words = cb_ptr(words),
		.count = count,
	};
}

/* The shortest answers, for tests that are about something else. */
static CB_MAYBE_UNUSED int cb_success(int publisher, __u32 generation)
{
	struct chipboot_publish p = {
		.generation = generation,
		.state = CHIPBOOT_SUCCESS,
	};

	return cb_publish(publisher, &p);
}

static CB_MAYBE_UNUSED int cb_error(int publisher, __u32 generation, __s32 code,
				    const char *text)
{
	struct chipboot_publish p = cb_an_error(generation, code, text,
						strlen(text));

	return cb_publish(publisher, &p);
}

static CB_MAYBE_UNUSED int cb_read(int observer, __u32 channel,
				   struct chipboot_page *page)
{
	struct chipboot_read r = { .channel = channel, .page = cb_ptr(page) };

	memset(page, CB_POISON, sizeof(*page));
	return cb_ioctl(observer, CHIPBOOT_IOC_READ, &r);
}

/* STATUS without the bitmap. */
static CB_MAYBE_UNUSED int cb_status(int fd, __u32 channel, __u32 flags,
				     struct chipboot_status *st)
{
	memset(st, CB_POISON, sizeof(*st));
	st->flags = flags;
	st->channel = channel;
	st->pending = 0;
	st->pending_words = 0;
	return cb_ioctl(fd, CHIPBOOT_IOC_STATUS, st);
}

/* STATUS with a bitmap of @words words, poisoned before. */
static CB_MAYBE_UNUSED int cb_status_pending(int fd, __u32 channel, __u32 flags,
					     struct chipboot_status *st,
					     __u64 *pending, __u32 words)
{
	memset(st, CB_POISON, sizeof(*st));
	memset(pending, CB_POISON, words * sizeof(*pending));
	st->flags = flags;
	st->channel = channel;
	st->pending = cb_ptr(pending);
	st->pending_words = words;
	return cb_ioctl(fd, CHIPBOOT_IOC_STATUS, st);
}

/* @count channels from @first, or NULL with errno. */
static CB_MAYBE_UNUSED const void *cb_map(int observer, __u32 stride,
					  __u32 first, __u32 count)
{
	void *p = mmap(NULL, (size_t)count * stride, PROT_READ, MAP_SHARED,
		       observer, (off_t)first * stride);

	return p == MAP_FAILED ? NULL : p;
}

/* What poll() says now, all bits asked for; or -errno. */
static CB_MAYBE_UNUSED int cb_revents(int fd)
{
	struct pollfd p = {
		.fd = fd,
		.events = POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND |
			  POLLRDHUP,
	};
	int ret;

	do {
		ret = poll(&p, 1, 0);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : p.revents;
}

/* ---- handles to other processes --------------------------------------- */

static CB_MAYBE_UNUSED int cb_send_fds(int sock, const int *fds, unsigned int n)
{
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} u;
	char c = 'f';
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)),
	};

	memset(&u, 0, sizeof(u));
	u.h.cmsg_level = SOL_SOCKET;
	u.h.cmsg_type = SCM_RIGHTS;
	u.h.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&u.h), fds, n * sizeof(int));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -errno;
}

static CB_MAYBE_UNUSED int cb_recv_fds(int sock, int *fds, unsigned int n)
{
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} u;
	char c;
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	ssize_t got = recvmsg(sock, &m, 0);

	if (got != 1)
		return got < 0 ? -errno : -EPIPE;
	if (m.msg_flags & MSG_CTRUNC || !CMSG_FIRSTHDR(&m) ||
	    u.h.cmsg_type != SCM_RIGHTS ||
	    u.h.cmsg_len != CMSG_LEN(n * sizeof(int)))
		return -EPROTO;
	memcpy(fds, CMSG_DATA(&u.h), n * sizeof(int));
	return 0;
}

/* ---- what /proc says of a sleeper -------------------------------------- */

static CB_MAYBE_UNUSED int cb_slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return (int)n;
}

/* The state letter of /proc/TID/stat, or -errno (-ESRCH: no such task). */
static CB_MAYBE_UNUSED int cb_task_state(pid_t tid)
{
	char path[64], buf[512];
	char *p;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	ret = cb_slurp(path, buf, sizeof(buf));
	if (ret < 0)
		return ret == -ENOENT ? -ESRCH : ret;
	p = strrchr(buf, ')');
	return p && p[1] == ' ' ? p[2] : -EPROTO;
}

/*
 * The number of the system call that the task sleeps in; -EAGAIN if it is
 * running.  The kernel gives a number only after it has seen the task off its
 * processor, so the switch to sleep has been counted by then.
 */
static CB_MAYBE_UNUSED int cb_task_syscall(pid_t tid)
{
	char path[64], buf[512];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	ret = cb_slurp(path, buf, sizeof(buf));
	if (ret < 0)
		return ret == -ENOENT ? -ESRCH : ret;
	if (!strncmp(buf, "running", 7))
		return -EAGAIN;
	return atoi(buf);
}

/*
 * Return when @tid is asleep (state S, off its processor) in one of the system
 * calls @nr1, @nr2 (-1: none).  0; -ESRCH if it is gone; -ETIMEDOUT.
 */
static CB_MAYBE_UNUSED int cb_wait_asleep2(pid_t tid, int nr1, int nr2)
{
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	struct timespec nap = { .tv_nsec = 200 * 1000 };
	int state, nr;

	for (;;) {
		state = cb_task_state(tid);
		if (state < 0)
			return state;
		if (state == 'Z' || state == 'X')
			return -ESRCH;
		if (state == 'S') {
			nr = cb_task_syscall(tid);
			/* still S: it did not run in between */
			if (nr >= 0 && (nr == nr1 || nr == nr2) &&
			    cb_task_state(tid) == 'S')
				return 0;
			/* EAGAIN: it has run; ESRCH is told apart above */
			if (nr < 0 && nr != -EAGAIN && nr != -ESRCH && nr != -1)
				return nr;
		}
		if (cb_now() > end)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
}

static CB_MAYBE_UNUSED int cb_wait_asleep(pid_t tid, int nr)
{
	return cb_wait_asleep2(tid, nr, -1);
}

/* Number of the system call that libc's poll() and select() end in. */
#ifdef SYS_poll
#define CB_NR_POLL	SYS_poll
#else
#define CB_NR_POLL	SYS_ppoll
#endif
#ifdef SYS_select
#define CB_NR_SELECT	SYS_select
#else
#define CB_NR_SELECT	SYS_pselect6
#endif
#ifdef SYS_epoll_wait
#define CB_NR_EPOLL	SYS_epoll_wait
#else
#define CB_NR_EPOLL	SYS_epoll_pwait
#endif

/* voluntary_ctxt_switches of a task, or -errno. */
static CB_MAYBE_UNUSED long cb_voluntary(pid_t tid)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	char path[64], buf[4096];
	char *p;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	ret = cb_slurp(path, buf, sizeof(buf));
	if (ret < 0)
		return ret;
	p = strstr(buf, key);
	return p ? atol(p + sizeof(key) - 1) : -EPROTO;
}

/*
 * Does a task on this kernel also sleep for a lock?  On PREEMPT_RT who has been woken
 * may have to wait for the waker's spinlock, which is then a voluntary switch more.
 */
static CB_MAYBE_UNUSED int cb_sleeps_for_locks(void)
{
	struct utsname u;

	return !uname(&u) && strstr(u.version, "PREEMPT_RT");
}

/* The caller's own, without the cost of /proc. */
static CB_MAYBE_UNUSED long cb_my_voluntary(void)
{
	struct rusage ru;

	getrusage(RUSAGE_THREAD, &ru);
	return ru.ru_nvcsw;
}

/* ---- the model of a session ------------------------------------------- */

enum cb_touch {
	CB_SAME,	/* not one bit may differ */
	CB_CHANGED,	/* seq has grown, updated_ns lies since the last check */
	CB_ZEROED,	/* seq has grown, updated_ns is 0 (by RESET) */
	CB_FRESH,	/* just created: seq even, updated_ns 0 */
};

#define CB_MAX_CHANNELS	256

struct cb_session {
	int control;
	int owner;
	int observer;		/* subscribed to everything; the checks ACK it */
	__u32 n;
	__u32 stride;
	__u64 id;
	pid_t creator;
	const char *map;	/* all channels, through the observer */

	/* what should be */
	struct chipboot_page *want;	/* [n] */
	unsigned char touch[CB_MAX_CHANNELS];
	unsigned char bound[CB_MAX_CHANNELS];
	__u32 orders;		/* answers in the session's life */
	__u32 owner_state;
	__s32 owner_pid;
	__u64 deadline_ns;
	int change;		/* CHANGE holds for the observer */

	__u64 since_ns;		/* time of the last check */
	char why[512];		/* the last check's complaint */
};

static CB_MAYBE_UNUSED struct chipboot_page *
cb_touch(struct cb_session *s, __u32 channel)
{
	s->touch[channel] = CB_CHANGED;
	s->change = 1;
	return &s->want[channel];
}

/*
 * A binding to @pid exists from now on; 0: it does not.  In an answered channel
 * that is a change, but the page stays: answers are final.
 */
static CB_MAYBE_UNUSED void cb_want_bound(struct cb_session *s, __u32 channel,
					  pid_t pid)
{
	if (s->want[channel].state == CHIPBOOT_IDLE)
		cb_touch(s, channel)->publisher_pid = pid;
	s->change = 1;
	s->bound[channel] = pid != 0;
}

static CB_MAYBE_UNUSED void cb_set_text(struct chipboot_page *page,
					const void *text, size_t len)
{
	memset(page->message, 0, sizeof(page->message));
	/* the text ends at its first NUL */
	if (len)
		memcpy(page->message, text, strnlen(text, len));
}

static CB_MAYBE_UNUSED void cb_want_progress(struct cb_session *s,
					     __u32 channel, const char *text)
{
	cb_set_text(cb_touch(s, channel), text, strlen(text));
}

/* PUBLISH of @p by @publisher; the binding, if there is one, goes before it. */
static CB_MAYBE_UNUSED void cb_want_publish(struct cb_session *s, __u32 channel,
					    const struct chipboot_publish *p,
					    pid_t publisher)
{
	struct chipboot_page *w = cb_touch(s, channel);

	w->state = p->state;
	w->error_code = p->error_code;
	w->count = (__s32)p->count;
	w->device_ctx = p->device_ctx;
	w->local_window_base = p->local_window_base;
	w->actual_window_size = p->actual_window_size;
	if (!s->bound[channel])
		w->publisher_pid = publisher;
	w->order = ++s->orders;
	w->origin = CHIPBOOT_ORIGIN_PUBLISHER;
	w->flags = p->flags & CHIPBOOT_PUBLISH_TRUNCATED ?
		CHIPBOOT_PAGE_TRUNCATED : 0;
	memset(w->words, 0, sizeof(w->words));
	if (p->count)
		memcpy(w->words, (const void *)(uintptr_t)p->words,
		       p->count * sizeof(w->words[0]));
	cb_set_text(w, (const void *)(uintptr_t)p->message, p->message_len);
}

/* A verdict that the publisher did not give. */
static CB_MAYBE_UNUSED void cb_want_verdict(struct cb_session *s, __u32 channel,
					    __u8 origin, __s32 code,
					    const char *text)
{
	struct chipboot_page *w = cb_touch(s, channel);

	w->state = CHIPBOOT_ERROR;
	w->error_code = code;
	w->order = ++s->orders;
	w->origin = origin;
	cb_set_text(w, text, strlen(text));
}

/*
 * RESET; @keep: with KEEP_PUBLISHERS, so that a living binding stays.  Without
 * it the page ends as it was at creation, but for generation and seq.
 */
static CB_MAYBE_UNUSED void cb_want_reset(struct cb_session *s, __u32 channel,
					  int keep)
{
	struct chipboot_page *w = cb_touch(s, channel);
	__u32 generation = w->generation + 1;
	__u32 seq = w->seq;
	__s32 pid = w->publisher_pid;

	if (!keep)
		s->bound[channel] = 0;
	memset(w, 0, sizeof(*w));
	w->generation = generation;
	w->seq = seq;
	if (s->bound[channel])
		w->publisher_pid = pid;
	s->touch[channel] = CB_ZEROED;
}

__attribute__((format(printf, 2, 3)))
static CB_MAYBE_UNUSED const char *cb_complain(struct cb_session *s,
					       const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	return s->why;
}

/* Name the first difference of two pages in @why; NULL if there is none. */
static CB_MAYBE_UNUSED const char *
cb_page_diff(const struct chipboot_page *want, const struct chipboot_page *seen,
	     char *why, size_t size)
{
	unsigned int i;

#define CB_DIFF(field) do { \
	if (want->field != seen->field) { \
		snprintf(why, size, #field " should be %lld (%#llx), is %lld (%#llx)", \
			 (long long)want->field, \
			 (unsigned long long)want->field, \
			 (long long)seen->field, \
			 (unsigned long long)seen->field); \
		return why; \
	} \
} while (0)
	CB_DIFF(state);
	CB_DIFF(origin);
	CB_DIFF(error_code);
	CB_DIFF(count);
	CB_DIFF(device_ctx);
	CB_DIFF(local_window_base);
	CB_DIFF(actual_window_size);
	CB_DIFF(publisher_pid);
	CB_DIFF(generation);
	CB_DIFF(order);
	CB_DIFF(wait_status);
	CB_DIFF(flags);
	CB_DIFF(seq);
	CB_DIFF(updated_ns);
#undef CB_DIFF
	for (i = 0; i < CHIPBOOT_WORDS_MAX; i++) {
		if (want->words[i] != seen->words[i]) {
			snprintf(why, size, "words[%u] should be %#llx, is %#llx", i,
				 (unsigned long long)want->words[i],
				 (unsigned long long)seen->words[i]);
			return why;
		}
	}
	for (i = 0; i < CHIPBOOT_MESSAGE_SIZE; i++) {
		if (want->message[i] != seen->message[i]) {
			snprintf(why, size, "message[%u] should be %#x, is %#x: should be '%.80s', is '%.80s'",
				 i, (unsigned char)want->message[i],
				 (unsigned char)seen->message[i],
				 want->message, seen->message);
			return why;
		}
	}
	/* every byte has been looked at; this says that none was forgotten */
	if (memcmp(want, seen, sizeof(*want))) {
		snprintf(why, size, "pages differ outside of the known fields");
		return why;
	}
	return NULL;
}

/* The mapped bytes, copied; the caller knows that nobody writes. */
static CB_MAYBE_UNUSED void cb_copy_page(struct chipboot_page *to,
					 const void *from)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	memcpy(to, from, sizeof(*to));
}

static CB_MAYBE_UNUSED const char *
cb_check_channel(struct cb_session *s, __u32 ch, __u64 now)
{
	struct chipboot_page *want = &s->want[ch];
	struct chipboot_page read, mapped;
	const char *m = s->map + (size_t)ch * s->stride;
	char why[400];
	__u32 i;
	int ret;

	ret = cb_read(s->observer, ch, &read);
	if (ret)
		return cb_complain(s, "channel %u: READ: %s", ch,
				   strerror(-ret));
	if (read.seq & 1)
		return cb_complain(s, "channel %u: seq %u is odd", ch, read.seq);
	switch (s->touch[ch]) {
	case CB_CHANGED:
		if ((__s32)(read.seq - want->seq) <= 0)
			return cb_complain(s, "channel %u: seq was %u, is %u",
					   ch, want->seq, read.seq);
		if (read.updated_ns < s->since_ns || read.updated_ns > now)
			return cb_complain(s, "channel %u: updated_ns %llu is not within %llu and %llu",
					   ch,
					   (unsigned long long)read.updated_ns,
					   (unsigned long long)s->since_ns,
					   (unsigned long long)now);
		want->seq = read.seq;
		want->updated_ns = read.updated_ns;
		break;
	case CB_ZEROED:
		if ((__s32)(read.seq - want->seq) <= 0)
			return cb_complain(s, "channel %u: seq was %u, is %u",
					   ch, want->seq, read.seq);
		want->seq = read.seq;
		break;
	case CB_FRESH:
		want->seq = read.seq;
		break;
	}
	if (cb_page_diff(want, &read, why, sizeof(why)))
		return cb_complain(s, "channel %u, READ: %s", ch, why);
	cb_copy_page(&mapped, m);
	if (cb_page_diff(want, &mapped, why, sizeof(why)))
		return cb_complain(s, "channel %u, mapped: %s", ch, why);
	for (i = CHIPBOOT_PAGE_SIZE; i < s->stride; i++) {
		if (m[i])
			return cb_complain(s, "channel %u: byte %u is %#x", ch,
					   i, (unsigned char)m[i]);
	}
	s->touch[ch] = CB_SAME;
	return NULL;
}

/*
 * STATUS by @fd, about @ch, as the model has it.  @handle_generation, @events
 * and @holds are the handle's own and not in the model.  NULL if all is well.
 */
static CB_MAYBE_UNUSED const char *
cb_check_status(struct cb_session *s, int fd, __u32 ch, __u32 flags,
		__u32 handle_generation, __u32 events, __u32 holds)
{
	__u64 pending[CB_MAX_CHANNELS / 64 + 2], want_pending;
	const __u32 words = CB_MAX_CHANNELS / 64 + 1;
	__u32 counts[3] = { 0 }, gone = 0, first = CHIPBOOT_NO_CHANNEL;
	struct chipboot_status st;
	__u64 before, after;
	__u32 i, w;
	int ret;

	pending[words] = 0x5a5a5a5a5a5a5a5au;
	before = cb_now();
	ret = cb_status_pending(fd, ch, flags, &st, pending, words);
	after = cb_now();
	if (ret)
		return cb_complain(s, "STATUS of channel %u: %s", ch,
				   strerror(-ret));

	for (i = 0; i < s->n; i++) {
		counts[s->want[i].state]++;
		if (s->want[i].flags & CHIPBOOT_PAGE_GONE)
			gone++;
		if (s->want[i].state == CHIPBOOT_ERROR &&
		    (first == CHIPBOOT_NO_CHANNEL ||
		     s->want[i].order < s->want[first].order))
			first = i;
	}

#define CB_SAME_FIELD(field, value) do { \
	if (st.field != (value)) \
		return cb_complain(s, "STATUS of channel %u: " #field \
				   " should be %lld, is %lld", ch, \
				   (long long)(value), (long long)st.field); \
} while (0)
	CB_SAME_FIELD(flags, flags);
	CB_SAME_FIELD(channel, ch);
	CB_SAME_FIELD(pending, cb_ptr(pending));
	CB_SAME_FIELD(pending_words, words);
	CB_SAME_FIELD(channels, s->n);
	CB_SAME_FIELD(stride, s->stride);
	CB_SAME_FIELD(idle, counts[CHIPBOOT_IDLE]);
	CB_SAME_FIELD(success, counts[CHIPBOOT_SUCCESS]);
	CB_SAME_FIELD(error, counts[CHIPBOOT_ERROR]);
	CB_SAME_FIELD(gone, gone);
	CB_SAME_FIELD(first_failed, first);
	CB_SAME_FIELD(owner_state, s->owner_state);
	CB_SAME_FIELD(owner_pid, s->owner_pid);
	CB_SAME_FIELD(deadline_ns, s->deadline_ns);
	CB_SAME_FIELD(session_id, s->id);
	if (ch == CHIPBOOT_NO_CHANNEL) {
		CB_SAME_FIELD(channel_state, 0);
		CB_SAME_FIELD(channel_generation, 0);
		CB_SAME_FIELD(channel_pid, 0);
		CB_SAME_FIELD(channel_bound, 0);
	} else {
		CB_SAME_FIELD(channel_state, (__u32)s->want[ch].state);
		CB_SAME_FIELD(channel_generation, s->want[ch].generation);
		CB_SAME_FIELD(channel_pid, s->want[ch].publisher_pid);
		CB_SAME_FIELD(channel_bound, s->bound[ch]);
	}
	CB_SAME_FIELD(handle_generation, handle_generation);
	CB_SAME_FIELD(events, events);
	CB_SAME_FIELD(holds, holds);
	CB_SAME_FIELD(reserved, 0);
#undef CB_SAME_FIELD
	if (st.now_ns < before || st.now_ns > after)
		return cb_complain(s, "STATUS: now_ns %llu is not within %llu and %llu",
				   (unsigned long long)st.now_ns,
				   (unsigned long long)before,
				   (unsigned long long)after);
	for (w = 0; w < words; w++) {
		want_pending = 0;
		for (i = 0; i < 64; i++) {
			if (w * 64 + i < s->n &&
			    s->want[w * 64 + i].state == CHIPBOOT_IDLE)
				want_pending |= (__u64)1 << i;
		}
		if (pending[w] != want_pending)
			return cb_complain(s, "STATUS: pending[%u] should be %#llx, is %#llx",
					   w, (unsigned long long)want_pending,
					   (unsigned long long)pending[w]);
	}
	if (pending[words] != 0x5a5a5a5a5a5a5a5au)
		return cb_complain(s, "STATUS wrote behind the bitmap");
	return NULL;
}

/* Which of COMPLETE, GONE and ERROR the model says hold. */
static CB_MAYBE_UNUSED __u32 cb_want_holds(const struct cb_session *s)
{
	__u32 holds = CHIPBOOT_EVENT_COMPLETE;
	__u32 i;

	for (i = 0; i < s->n; i++) {
		if (s->want[i].state == CHIPBOOT_IDLE)
			holds &= ~CHIPBOOT_EVENT_COMPLETE;
		if (s->want[i].state == CHIPBOOT_ERROR)
			holds |= CHIPBOOT_EVENT_ERROR;
		if (s->want[i].flags & CHIPBOOT_PAGE_GONE)
			holds |= CHIPBOOT_EVENT_GONE;
	}
	return holds;
}

/* The whole session against the model; "" if it is as it should be. */
static CB_MAYBE_UNUSED const char *cb_check(struct cb_session *s)
{
	__u64 now = cb_now();
	__u32 holds = cb_want_holds(s);
	int revents, want_revents;
	const char *why;
	__u32 i;

	if (s->change)
		holds |= CHIPBOOT_EVENT_CHANGE;
	for (i = 0; i < s->n; i++) {
		why = cb_check_channel(s, i, now);
		if (why)
			return why;
	}
	for (i = 0; i < s->n; i++) {
		why = cb_check_status(s, s->observer, i, 0, 0,
				      CHIPBOOT_EVENT_ALL, holds);
		if (why)
			return why;
	}

	want_revents = 0;
	if (holds)
		want_revents |= POLLIN | POLLRDNORM;
	if (holds & CHIPBOOT_EVENT_ERROR)
		want_revents |= POLLPRI;
	if (s->owner_state == CHIPBOOT_OWNER_CLOSED ||
	    s->owner_state == CHIPBOOT_OWNER_DEAD)
		want_revents |= POLLHUP;
	revents = cb_revents(s->observer);
	if (revents != want_revents)
		return cb_complain(s, "poll should say %#x, says %#x",
				   want_revents, revents);

	why = cb_check_status(s, s->observer, CHIPBOOT_NO_CHANNEL,
			      CHIPBOOT_STATUS_ACK, 0, CHIPBOOT_EVENT_ALL,
			      holds);
	if (why)
		return why;
	s->change = 0;
	s->since_ns = now;
	return "";
}

#define EXPECT_STATE(s)	EXPECT_STREQ("", cb_check(s))
#define ASSERT_STATE(s)	ASSERT_STREQ("", cb_check(s))

/*
 * A new session of @n channels with an observer that has everything mapped, and
 * a model of it.  0, or -errno with the cause in @s->why.
 */
static CB_MAYBE_UNUSED int cb_session_open(struct cb_session *s, __u32 n)
{
	struct chipboot_create c;
	__u32 i;

	memset(s, 0, sizeof(*s));
	s->owner = -1;
	s->observer = -1;
	s->since_ns = cb_now();
	if (n > CB_MAX_CHANNELS)
		return -ERANGE;
	s->control = cb_open();
	if (s->control < 0) {
		cb_complain(s, "open " CB_DEVICE);
		return s->control;
	}
	s->owner = cb_create(s->control, n, &c);
	if (s->owner < 0) {
		cb_complain(s, "CREATE");
		return s->owner;
	}
	s->n = n;
	s->stride = c.stride;
	s->id = c.session_id;
	s->creator = getpid();
	if (c.channels != n || c.flags || c.reserved ||
	    c.stride != (__u32)sysconf(_SC_PAGESIZE)) {
		cb_complain(s, "CREATE gave back channels %u, flags %u, reserved %u, stride %u",
			    c.channels, c.flags, c.reserved, c.stride);
		return -EPROTO;
	}
	s->observer = cb_observe(s->owner, CHIPBOOT_EVENT_ALL);
	if (s->observer < 0) {
		cb_complain(s, "OBSERVE");
		return s->observer;
	}
	s->map = cb_map(s->observer, s->stride, 0, n);
	if (!s->map) {
		cb_complain(s, "mmap");
		return -errno;
	}
	s->want = calloc(n, sizeof(*s->want));
	if (!s->want)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		s->want[i].generation = 1;
		s->touch[i] = CB_FRESH;
	}
	s->change = 1;
	s->owner_state = CHIPBOOT_OWNER_ALIVE;
	s->owner_pid = s->creator;
	return 0;
}

static CB_MAYBE_UNUSED void cb_session_close(struct cb_session *s)
{
	if (s->map)
		munmap((void *)(uintptr_t)s->map, (size_t)s->n * s->stride);
	if (s->observer >= 0)
		close(s->observer);
	if (s->owner >= 0)
		close(s->owner);
	if (s->control >= 0)
		close(s->control);
	free(s->want);
	memset(s, 0, sizeof(*s));
	s->control = -1;
	s->owner = -1;
	s->observer = -1;
}

/* The page of a channel in this process's mapping. */
static CB_MAYBE_UNUSED const struct chipboot_page *
cb_page(const struct cb_session *s, __u32 channel)
{
	return (const void *)(s->map + (size_t)channel * s->stride);
}

static CB_MAYBE_UNUSED __s32 cb_load_state(const struct chipboot_page *page)
{
	return __atomic_load_n(&page->state, __ATOMIC_ACQUIRE);
}

#endif /* CHIPBOOT_TEST_H */
