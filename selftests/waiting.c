// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting: each event and each bit, by select, poll, ppoll, epoll (level and
 * edge) and io_uring, both when it holds already and when it begins to hold while
 * the waiter is asleep; and that nobody is woken for what it did not ask for.
 *
 * A round: a session, a number of waiters (threads), each with a handle and bits
 * of its own, all seen asleep in /proc; then one thing happens.  Those for whom
 * it is an event must come back, with exactly the bits that hold and that they
 * asked for, after one wake-up.  The others must sleep on as they did: their
 * voluntary context switches stand still.
 *
 * The owner is a process of its own (the agent), because one of the things that
 * happen is its death.
 */
/* vm: --cpus 2 --mem 512 --timeout 1800 */

#include "chipboot_test.h"

#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/select.h>

#define C	CHIPBOOT_EVENT_COMPLETE
#define E	CHIPBOOT_EVENT_ERROR
#define G	CHIPBOOT_EVENT_GONE
#define H	CHIPBOOT_EVENT_CHANGE

/* ---- a waiter ----------------------------------------------------------- */

struct mechanism;

struct waiter {
	const struct mechanism *m;
	int fd;
	unsigned int interest;	/* of POLLIN, POLLPRI; POLLHUP, POLLERR always */
	const char *handle;	/* for messages */
	__u32 events;		/* subscription */
	unsigned int expect;	/* what must come back; 0: sleeps on */
	bool pri_wakes;		/* see by_select() */

	pthread_t thread;
	pid_t tid;
	bool done;
	int result;		/* bits, or -errno */
	long begin;		/* voluntary switches: before the wait, */
	long asleep;		/* when first seen asleep, */
	long end;		/* after the wait */
};

/*
 * What to wait with.  @wait takes a waiter, notes its switches in ->begin last
 * before it may sleep, in ->end first after it, and returns the bits or -errno.
 */
struct mechanism {
	const char *name;
	int (*wait)(struct waiter *w);
	int nr, nr2;		/* system calls that it sleeps in */
	bool select;
};

/*
 * Bits by which select() may tell: reading (also hang-up and error) and
 * exceptional, and nothing can be asked without one of the two.
 *
 * The kernel's select() lets itself be woken by EPOLLPRI whatever sets were given
 * (POLLEX_SET is always in its key), looks, and sleeps on.  That is not ours.
 */
static int by_select(struct waiter *w)
{
	fd_set in, ex;
	int ret;

	FD_ZERO(&in);
	FD_ZERO(&ex);
	if (w->interest & POLLIN)
		FD_SET(w->fd, &in);
	if (w->interest & POLLPRI)
		FD_SET(w->fd, &ex);
	w->begin = cb_my_voluntary();
	ret = cb_errno(select(w->fd + 1, &in, NULL, &ex, NULL));
	w->end = cb_my_voluntary();
	if (ret < 0)
		return ret;
	return (FD_ISSET(w->fd, &in) ? POLLIN : 0) |
	       (FD_ISSET(w->fd, &ex) ? POLLPRI : 0);
}

static int by_poll(struct waiter *w)
{
	struct pollfd p = { .fd = w->fd, .events = (short)w->interest };
	int ret;

	w->begin = cb_my_voluntary();
	ret = cb_errno(poll(&p, 1, -1));
	w->end = cb_my_voluntary();
	return ret < 0 ? ret : p.revents;
}

static int by_ppoll(struct waiter *w)
{
	struct pollfd p = { .fd = w->fd, .events = (short)w->interest };
	sigset_t none;
	int ret;

	sigemptyset(&none);
	w->begin = cb_my_voluntary();
	ret = cb_errno(ppoll(&p, 1, NULL, &none));
	w->end = cb_my_voluntary();
	return ret < 0 ? ret : p.revents;
}

/*
 * Where more than one thing happens at once, level may say more the second time
 * and edge may come twice; then the second look is left out.
 */
static bool look_once;

static int epoll_once(struct waiter *w, unsigned int mode)
{
	struct epoll_event ev = { .events = w->interest | mode };
	struct epoll_event again = { .events = 0 };
	int ep, ret;

	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		return -errno;
	ret = cb_errno(epoll_ctl(ep, EPOLL_CTL_ADD, w->fd, &ev));
	if (ret < 0)
		goto out;
	w->begin = cb_my_voluntary();
	ret = cb_errno(epoll_wait(ep, &ev, 1, -1));
	w->end = cb_my_voluntary();
	if (ret < 0)
		goto out;
	if (ret != 1) {
		ret = -EPROTO;
		goto out;
	}
	ret = cb_errno(epoll_wait(ep, &again, 1, 0));
	if (ret < 0)
		goto out;
	/* level: it still holds; edge: it has been told */
	if (!look_once && (mode ? ret != 0 :
				  ret != 1 || again.events != ev.events))
		ret = -EPROTO;
	else
		ret = (int)ev.events;
out:
	close(ep);
	return ret;
}

static int by_epoll_level(struct waiter *w)
{
	return epoll_once(w, 0);
}

static int by_epoll_edge(struct waiter *w)
{
	return epoll_once(w, EPOLLET);
}

/* One POLL_ADD through a ring of its own, without liburing. */
struct ring {
	int fd;
	size_t sq_size, cq_size, sqes_size;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
};

static int ring_open(struct ring *r)
{
	memset(r, 0, sizeof(*r));
	r->fd = cb_errno((int)syscall(SYS_io_uring_setup, 2, &r->p));
	if (r->fd < 0)
		return r->fd;
	r->sq_size = r->p.sq_off.array + r->p.sq_entries * sizeof(__u32);
	r->cq_size = r->p.cq_off.cqes +
		     r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->sqes_size = r->p.sq_entries * sizeof(struct io_uring_sqe);
	r->sq = mmap(NULL, r->sq_size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, r->cq_size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, r->sqes_size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (r->sq == MAP_FAILED || r->cq == MAP_FAILED ||
	    (void *)r->sqes == MAP_FAILED)
		return -errno;
	return 0;
}

static void ring_close(struct ring *r)
{
	munmap(r->sq, r->sq_size);
	munmap(r->cq, r->cq_size);
	munmap(r->sqes, r->sqes_size);
	close(r->fd);
}

static __u32 *ring_word(char *ring, __u32 off)
{
	return (__u32 *)(void *)(ring + off);
}

static int by_io_uring(struct waiter *w)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	__u32 tail, head = 0, ready = 0;
	struct ring r;
	int ret;

	ret = ring_open(&r);
	if (ret)
		return ret;
	sqe = &r.sqes[0];
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = w->fd;
	sqe->poll32_events = w->interest;
	sqe->user_data = 0xc0ffee;
	tail = *ring_word(r.sq, r.p.sq_off.tail);
	ring_word(r.sq, r.p.sq_off.array)[tail & (r.p.sq_entries - 1)] = 0;
	/* pairs with the kernel's acquire load of the tail */
	__atomic_store_n(ring_word(r.sq, r.p.sq_off.tail), tail + 1,
			 __ATOMIC_RELEASE);
	w->begin = cb_my_voluntary();
	ret = cb_errno((int)syscall(SYS_io_uring_enter, r.fd, 1, 1,
				    IORING_ENTER_GETEVENTS, NULL, 0));
	/* the poll was submitted: then a signal is told by the next call */
	if (ret == 1) {
		head = *ring_word(r.cq, r.p.cq_off.head);
		ready = __atomic_load_n(ring_word(r.cq, r.p.cq_off.tail),
					__ATOMIC_ACQUIRE) - head;
		if (!ready)
			ret = -EINTR;
	}
	w->end = cb_my_voluntary();
	if (ret < 0)
		goto out;
	cqe = (struct io_uring_cqe *)(void *)(r.cq + r.p.cq_off.cqes) +
	      (head & (r.p.cq_entries - 1));
	ret = cqe->res;
	if (ready != 1 || cqe->user_data != 0xc0ffee)
		ret = -EPROTO;
out:
	ring_close(&r);
	return ret;
}

enum { SELECT, POLL, PPOLL, EPOLL_LEVEL, EPOLL_EDGE, IO_URING };

static const struct mechanism mechanism[] = {
	[SELECT] = { "select", by_select, CB_NR_SELECT, SYS_pselect6, true },
	[POLL] = { "poll", by_poll, CB_NR_POLL, SYS_ppoll, false },
	[PPOLL] = { "ppoll", by_ppoll, SYS_ppoll, -1, false },
	[EPOLL_LEVEL] = { "epoll, level", by_epoll_level, CB_NR_EPOLL,
			  SYS_epoll_pwait, false },
	[EPOLL_EDGE] = { "epoll, edge", by_epoll_edge, CB_NR_EPOLL,
			 SYS_epoll_pwait, false },
	[IO_URING] = { "io_uring", by_io_uring, SYS_io_uring_enter, -1, false },
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->tid, cb_gettid(), __ATOMIC_RELEASE);
	w->result = w->m->wait(w);
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static int waiter_start(struct waiter *w)
{
	pthread_attr_t attr;
	int ret;

	w->done = false;
	w->tid = 0;
	w->result = -12345;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	ret = -pthread_create(&w->thread, &attr, waiter_main, w);
	pthread_attr_destroy(&attr);
	if (ret)
		return ret;
	while (!__atomic_load_n(&w->tid, __ATOMIC_ACQUIRE))
		sched_yield();
	return 0;
}

static bool waiter_done(struct waiter *w)
{
	return __atomic_load_n(&w->done, __ATOMIC_ACQUIRE);
}

/* 0: asleep in the call it waits with; -EALREADY: it has come back. */
static int waiter_asleep(struct waiter *w)
{
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	struct timespec nap = { .tv_nsec = 100 * 1000 };
	int nr;

	while (!waiter_done(w)) {
		if (cb_task_state(w->tid) == 'S') {
			nr = cb_task_syscall(w->tid);
			if (nr >= 0 && (nr == w->m->nr || nr == w->m->nr2) &&
			    cb_task_state(w->tid) == 'S')
				return 0;
		}
		if (cb_now() > end)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
	return -EALREADY;
}

/* 0: it has come back; -ETIMEDOUT: a lost wake-up. */
static int waiter_back(struct waiter *w)
{
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	struct timespec nap = { .tv_nsec = 100 * 1000 };

	while (!waiter_done(w)) {
		if (cb_now() > end)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
	return pthread_join(w->thread, NULL) ? -EIO : 0;
}

static void on_signal(int sig)
{
	(void)sig;
}

static void catch_usr1(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &sa, NULL);
}

/* ---- the agent: the process that owns the session ------------------------ */

#define CHANNELS	3

struct agent {
	pid_t pid;
	int sock;
	int owner;		/* copy; only the agent may use it */
	int observer;		/* everything */
	int pub[CHANNELS];
};

static int agent_create(int sock)
{
	int control, owner, i, ret;
	int fds[2 + CHANNELS];

	control = cb_open();
	if (control < 0)
		return control;
	owner = cb_create(control, CHANNELS, NULL);
	if (owner < 0)
		return owner;
	fds[0] = owner;
	fds[1] = cb_observe(owner, CHIPBOOT_EVENT_ALL);
	for (i = 0; i < CHANNELS; i++)
		fds[2 + i] = cb_claim(owner, (__u32)i, NULL);
	for (i = 0; i < 2 + CHANNELS; i++) {
		if (fds[i] < 0)
			return fds[i];
	}
	ret = cb_send_fds(sock, fds, 2 + CHANNELS);
	/* the only copies are the test's now */
	for (i = 1; i < 2 + CHANNELS; i++)
		close(fds[i]);
	close(control);
	return ret ? ret : owner;
}

static void agent_main(int sock)
{
	int owner = agent_create(sock);
	int ret = owner;
	__u32 aborted;
	char command;

	while (recv(sock, &command, 1, 0) == 1) {
		switch (command) {
		case 'a':
			ret = cb_abort(owner, 0, CHANNELS, -7, "abort", &aborted);
			break;
		case 'c':
			ret = close(owner);
			break;
		case 'd':
			ret = cb_detach(owner);
			break;
		case 'r':
			ret = cb_reset(owner, 0, 1, 0);
			break;
		case 't':
			ret = cb_deadline(owner, 20 * 1000 * 1000, 0);
			break;
		case 'x':
			_exit(0);
		}
		if (send(sock, &ret, sizeof(ret), 0) != sizeof(ret))
			break;
	}
	_exit(0);
}

static int agent_start(struct agent *a)
{
	int fds[2 + CHANNELS] = { -1 };
	pid_t parent = getpid();
	int sv[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return -errno;
	a->pid = fork();
	if (a->pid < 0)
		return -errno;
	if (!a->pid) {
		cb_die_with(parent);
		close(sv[0]);
		agent_main(sv[1]);
	}
	close(sv[1]);
	a->sock = sv[0];
	ret = cb_recv_fds(a->sock, fds, 2 + CHANNELS);
	if (ret)
		return ret;
	a->owner = fds[0];
	a->observer = fds[1];
	memcpy(a->pub, fds + 2, sizeof(a->pub));
	return 0;
}

/* Tell the agent; its ioctl's result. */
static int agent_do(struct agent *a, char command)
{
	int ret;

	if (send(a->sock, &command, 1, 0) != 1)
		return -errno;
	if (command == 'x') {
		ret = cb_reap(a->pid);
		a->pid = 0;
		return ret;
	}
	if (recv(a->sock, &ret, sizeof(ret), 0) != sizeof(ret))
		return -EPIPE;
	return ret;
}

static void agent_stop(struct agent *a)
{
	int i;

	close(a->sock);
	if (a->pid)
		cb_reap(a->pid);
	close(a->observer);
	if (a->owner >= 0)
		close(a->owner);
	for (i = 0; i < CHANNELS; i++)
		close(a->pub[i]);
}

/* ---- what happens -------------------------------------------------------- */

struct round {
	struct agent a;
	pid_t first, second;	/* bound to channels 0 and 1 */
};

static int kill_and_reap(pid_t *pid)
{
	int ret = cb_errno(kill(*pid, SIGKILL));

	if (!ret)
		ret = cb_reap(*pid) == SIGKILL ? 0 : -EPROTO;
	*pid = 0;
	return ret;
}

static int act_success(struct round *r)
{
	return cb_success(r->a.pub[1], 1);
}

static int act_error(struct round *r)
{
	return cb_error(r->a.pub[1], 1, 5, "no chip");
}

static int act_progress(struct round *r)
{
	return cb_progress(r->a.pub[1], 1, "comm_init");
}

static int act_bind(struct round *r)
{
	return cb_bind(r->a.pub[2], 0, 0);
}

static int act_gone(struct round *r)
{
	return kill_and_reap(&r->first);
}

static int act_exit(struct round *r)
{
	return kill_and_reap(&r->second);
}

static int act_close(struct round *r)
{
	int ret = cb_errno(close(r->a.pub[2]));

	r->a.pub[2] = -1;
	return ret;
}

static int act_abort(struct round *r)
{
	return agent_do(&r->a, 'a');
}

static int act_detach(struct round *r)
{
	return agent_do(&r->a, 'd');
}

static int act_reset(struct round *r)
{
	return agent_do(&r->a, 'r');
}

static int act_deadline(struct round *r)
{
	return agent_do(&r->a, 't');
}

static int act_owner_closes(struct round *r)
{
	int ret = cb_errno(close(r->a.owner));

	r->a.owner = -1;
	return ret ? ret : agent_do(&r->a, 'c');
}

static int act_owner_dies(struct round *r)
{
	return agent_do(&r->a, 'x');
}

/*
 * Before: channel 0 is SUCCESS and its process lives; channel 1 is IDLE, with a
 * process bound to it; channel 2 is IDLE, or SUCCESS if so said.
 */
struct source {
	const char *name;
	int (*act)(struct round *r);
	bool others_complete;	/* channel 2 is SUCCESS before */
	__u32 events;		/* that hold afterwards, CHANGE included */
	unsigned int bits;	/* POLLPRI, POLLHUP: on every handle */
	bool stale;		/* POLLERR on publisher 0 */
	bool twice;		/* CHANGE comes first, the rest a moment later */
	bool no_owner;		/* no waiter may hold the owner handle */
};

static const struct source source[] = {
	{ "last success", act_success, .others_complete = true,
	  .events = C | H },
	{ "last answer an error", act_error, .others_complete = true,
	  .events = C | E | H, .bits = POLLPRI },
	{ "one error", act_error, .events = E | H, .bits = POLLPRI },
	{ "bound process dies", act_exit, .events = E | H, .bits = POLLPRI },
	{ "last close of a publisher", act_close, .events = E | H,
	  .bits = POLLPRI },
	{ "death after success", act_gone, .events = G | H },
	{ "progress", act_progress, .events = H },
	{ "bind", act_bind, .events = H },
	{ "abort", act_abort, .events = C | E | H, .bits = POLLPRI },
	{ "deadline", act_deadline, .events = C | E | H, .bits = POLLPRI,
	  .twice = true },
	{ "reset", act_reset, .events = H, .stale = true },
	{ "detach", act_detach, .events = H },
	{ "owner closes", act_owner_closes, .events = H, .bits = POLLHUP,
	  .no_owner = true },
	{ "owner dies", act_owner_dies, .events = H, .bits = POLLHUP },
};

static pid_t start_sleeper(void)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (!pid) {
		cb_die_with(parent);
		for (;;)
			pause();
	}
	return pid < 0 ? -errno : pid;
}

static int round_start(struct round *r, const struct source *src)
{
	int ret;

	/* before there are handles, so that they hold no copies */
	r->first = start_sleeper();
	r->second = start_sleeper();
	if (r->first < 0 || r->second < 0)
		return -EAGAIN;
	ret = agent_start(&r->a);
	if (!ret)
		ret = cb_bind(r->a.pub[0], r->first, 0);
	if (!ret)
		ret = cb_success(r->a.pub[0], 1);
	if (!ret)
		ret = cb_bind(r->a.pub[1], r->second, 0);
	if (!ret && src->others_complete)
		ret = cb_success(r->a.pub[2], 1);
	return ret;
}

static void round_stop(struct round *r)
{
	agent_stop(&r->a);
	if (r->first)
		kill_and_reap(&r->first);
	if (r->second)
		kill_and_reap(&r->second);
}

/*
 * Linux takes EPOLLPRI out of what a sleeping POLL_ADD is woken for (io_poll_wake()
 * in io_uring/poll.c, IO_ASYNC_POLL_COMMON), for every kind of file whose wake-ups
 * carry keys.  uring_pri_control() finds out, with a file that is not ours.
 */
static bool uring_sleeps_through_pri;

/* What the source must bring to a waiter, asleep before it or not. */
static unsigned int expected(const struct source *src, const struct waiter *w,
			     bool before)
{
	unsigned int bits = src->bits;
	bool publisher0 = !strcmp(w->handle, "publisher");

	if (w->events & src->events)
		bits |= POLLIN;
	if (src->stale && publisher0)
		bits |= POLLERR;
	if (w->m->select)
		return (w->interest & POLLIN &&
			bits & (POLLIN | POLLHUP | POLLERR) ? POLLIN : 0) |
		       (w->interest & POLLPRI & bits);
	bits &= w->interest | POLLHUP | POLLERR;
	/* with another bit that wakes it, it is told PRI as well */
	if (uring_sleeps_through_pri && !before && bits == POLLPRI)
		bits = 0;
	return bits;
}

#define MAX_WAITERS	64

static const __u32 subscription[] = {
	C, E, G, H, C | E, G | H, C | E | G, C | E | G | H,
};

static const unsigned int interests[] = {
	POLLIN, POLLPRI, POLLIN | POLLPRI, 0,
};

static unsigned int add_waiters(struct waiter *w, unsigned int n,
				const struct mechanism *m, int fd,
				const char *handle, __u32 events,
				const struct source *src, bool before)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(interests); i++) {
		/* select() cannot wait for hang-up and error alone */
		if (m->select && !interests[i])
			continue;
		w[n] = (struct waiter) {
			.m = m,
			.fd = fd,
			.interest = interests[i],
			.handle = handle,
			.events = events,
		};
		w[n].expect = expected(src, &w[n], before);
		w[n].pri_wakes = m->select && src->bits & POLLPRI;
		n++;
	}
	return n;
}

/* @n voluntary switches, but for what a task sleeps for locks? */
static bool switched(long n, long from, long to)
{
	long more = to - from - n;

	return more >= 0 && more <= 2 * (n + 1) * cb_sleeps_for_locks();
}

static void tell_waiter(char *buf, size_t size, const struct source *src,
			const struct waiter *w, const char *when)
{
	snprintf(buf, size, "%s, %s: '%s': %s subscribed to %#x, asks %#x",
		 w->m->name, when, src->name, w->handle, w->events, w->interest);
}

/* One waiter after the source: did what it must? */
static void judge_waiter(struct __test_metadata *_metadata,
			 const struct source *src, struct waiter *w,
			 const char *when)
{
	bool was_asleep = w->asleep >= 0;
	char who[256];
	int ret;

	tell_waiter(who, sizeof(who), src, w, when);
	if (w->expect) {
		ASSERT_EQ(0, waiter_back(w)) TH_LOG("%s: LOST", who);
		if (src->twice && w->events & H && was_asleep) {
			/* CHANGE was the first: IN, and maybe the rest */
			EXPECT_EQ(0, w->result & ~(int)w->expect)
				TH_LOG("%s", who);
			EXPECT_NE(0, w->result) TH_LOG("%s", who);
			return;
		}
		EXPECT_EQ((int)w->expect, w->result) TH_LOG("%s", who);
		if (was_asleep && !w->pri_wakes) {
			/* woken once, and it was for this */
			EXPECT_TRUE(switched(0, w->asleep, w->end))
				TH_LOG("%s: %ld, %ld", who, w->asleep, w->end);
		}
		return;
	}
	ret = waiter_asleep(w);
	EXPECT_EQ(0, ret) TH_LOG("%s: came back with %#x", who, w->result);
	if (!ret) {
		if (was_asleep && !w->pri_wakes) {
			EXPECT_EQ(w->asleep, cb_voluntary(w->tid))
				TH_LOG("%s: was woken for nothing", who);
		}
		pthread_kill(w->thread, SIGUSR1);
	}
	ASSERT_EQ(0, waiter_back(w)) TH_LOG("%s", who);
	if (!ret) {
		EXPECT_EQ(-EINTR, w->result) TH_LOG("%s", who);
	}
}

/*
 * Every handle and interest of one mechanism against one source; @before: the
 * source comes before the waiters, else they are asleep when it comes.
 */
static void one_round(struct __test_metadata *_metadata,
		      const struct mechanism *m, const struct source *src,
		      bool before)
{
	const char *when = before ? "held already" : "asleep";
	int observer[ARRAY_SIZE(subscription)], sentinel[2];
	struct waiter w[MAX_WAITERS];
	struct chipboot_status st;
	unsigned int n = 0, i;
	struct round r;
	char who[256];

	memset(w, 0, sizeof(w));
	ASSERT_EQ(0, round_start(&r, src)) TH_LOG("%s", src->name);
	for (i = 0; i < ARRAY_SIZE(subscription); i++) {
		observer[i] = cb_observe(r.a.observer, subscription[i]);
		ASSERT_LE(0, observer[i]);
		ASSERT_EQ(0, cb_status(observer[i], 0, CHIPBOOT_STATUS_ACK,
				       &st));
		ASSERT_EQ(H, st.holds);
		ASSERT_EQ(subscription[i], st.events);
		n = add_waiters(w, n, m, observer[i], "observer",
				subscription[i], src, before);
	}
	if (!src->no_owner)
		n = add_waiters(w, n, m, r.a.owner, "owner", C, src, before);
	n = add_waiters(w, n, m, r.a.pub[0], "publisher", C, src, before);
	for (i = 0; i < 2; i++) {
		sentinel[i] = cb_observe(r.a.observer, i ? C | E | G | H : H);
		ASSERT_LE(0, sentinel[i]);
		ASSERT_EQ(0, cb_status(sentinel[i], 0, CHIPBOOT_STATUS_ACK,
				       &st));
		ASSERT_EQ(0, cb_revents(sentinel[i]));
	}

	look_once = src->twice;
	for (i = 0; !before && i < n; i++) {
		ASSERT_EQ(0, waiter_start(&w[i]));
	}
	for (i = 0; !before && i < n; i++) {
		tell_waiter(who, sizeof(who), src, &w[i], when);
		ASSERT_EQ(0, waiter_asleep(&w[i]))
			TH_LOG("%s: before anything happened: %#x", who,
			       w[i].result);
		w[i].asleep = cb_voluntary(w[i].tid);
		ASSERT_LT(w[i].begin, w[i].asleep) TH_LOG("%s", who);
	}

	ASSERT_EQ(0, src->act(&r)) TH_LOG("%s", src->name);
	/*
	 * Deaths are told by a work item, a moment later: those who are not to
	 * be woken are looked at when those who are have been.
	 */
	for (i = 0; i < 2; i++) {
		struct pollfd p = { .fd = sentinel[i], .events = POLLIN };

		ASSERT_EQ(1, poll(&p, 1, CB_PATIENCE_MS)) TH_LOG("%s", src->name);
		if (src->twice && src->bits & POLLPRI) {
			p.events = POLLPRI;
			ASSERT_EQ(1, poll(&p, 1, CB_PATIENCE_MS));
		}
		ASSERT_EQ(0, cb_status(sentinel[i], 0, 0, &st));
		EXPECT_EQ(src->events, st.holds) TH_LOG("%s", src->name);
	}
	for (i = 0; before && i < n; i++) {
		w[i].asleep = -1;
		ASSERT_EQ(0, waiter_start(&w[i]));
	}
	for (i = 0; i < n; i++)
		judge_waiter(_metadata, src, &w[i], when);

	for (i = 0; i < ARRAY_SIZE(subscription); i++)
		close(observer[i]);
	close(sentinel[0]);
	close(sentinel[1]);
	round_stop(&r);
}

/* ---- io_uring and EPOLLPRI: the control ----------------------------------- */

/* Two ends of a TCP connection in a network of this process's own. */
static int tcp_pair(int *end)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int listener, ret;

	if (unshare(CLONE_NEWNET))
		return -errno;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	end[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || end[0] < 0)
		return -errno;
	if (ioctl(listener, SIOCSIFFLAGS, &lo) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&sin, &len))
		return -errno;
	/* bound to any address by listen() */
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(end[0], (struct sockaddr *)&sin, sizeof(sin)))
		return -errno;
	end[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ret = end[1] < 0 ? -errno : 0;
	close(listener);
	return ret;
}

/*
 * Urgent data arrives at a TCP socket while one waiter sleeps on EPOLLPRI in
 * poll() and one in io_uring.  The first is the control's own control: it comes
 * back.  Its entry is behind the other's in the queue (the newest is first), so
 * when it is back the other's has had its turn.
 */
static void uring_pri_control(struct __test_metadata *_metadata)
{
	struct waiter w[2] = {
		{ .m = &mechanism[POLL], .interest = POLLPRI, .handle = "TCP" },
		{ .m = &mechanism[IO_URING], .interest = POLLPRI,
		  .handle = "TCP" },
	};
	int end[2] = { -1, -1 }, i;

	ASSERT_EQ(0, tcp_pair(end));
	for (i = 0; i < 2; i++) {
		w[i].fd = end[1];
		ASSERT_EQ(0, waiter_start(&w[i]));
		ASSERT_EQ(0, waiter_asleep(&w[i]));
	}
	ASSERT_EQ(1, send(end[0], "!", 1, MSG_OOB));
	ASSERT_EQ(0, waiter_back(&w[0]));
	ASSERT_EQ(POLLPRI, w[0].result);
	uring_sleeps_through_pri = waiter_asleep(&w[1]) == 0;
	if (uring_sleeps_through_pri) {
		ksft_print_msg("this kernel's io_uring sleeps through EPOLLPRI, on a TCP socket too: where nothing else holds, the same is expected here\n");
		pthread_kill(w[1].thread, SIGUSR1);
	}
	ASSERT_EQ(0, waiter_back(&w[1]));
	ASSERT_EQ(uring_sleeps_through_pri ? -EINTR : POLLPRI, w[1].result);
	close(end[0]);
	close(end[1]);
}

/* ---- the tests of each mechanism ----------------------------------------- */

FIXTURE(waiting) {
	const struct mechanism *m;
};

FIXTURE_VARIANT(waiting) {
	int mechanism;
};

FIXTURE_VARIANT_ADD(waiting, select) {
	.mechanism = SELECT,
};

FIXTURE_VARIANT_ADD(waiting, poll) {
	.mechanism = POLL,
};

FIXTURE_VARIANT_ADD(waiting, ppoll) {
	.mechanism = PPOLL,
};

FIXTURE_VARIANT_ADD(waiting, epoll_level) {
	.mechanism = EPOLL_LEVEL,
};

FIXTURE_VARIANT_ADD(waiting, epoll_edge) {
	.mechanism = EPOLL_EDGE,
};

FIXTURE_VARIANT_ADD(waiting, io_uring) {
	.mechanism = IO_URING,
};

FIXTURE_SETUP(waiting)
{
	self->m = &mechanism[variant->mechanism];
	catch_usr1();
	if (variant->mechanism == IO_URING) {
		char sysctl[32] = "not there";
		struct ring r;
		int ret;

		cb_slurp("/proc/sys/kernel/io_uring_disabled", sysctl,
			 sizeof(sysctl));
		ret = ring_open(&r);
		ASSERT_EQ(0, ret)
			TH_LOG("io_uring cannot be tested on this kernel: %s; kernel.io_uring_disabled: %s",
			       strerror(-ret), sysctl);
		ring_close(&r);
		uring_pri_control(_metadata);
	}
}

FIXTURE_TEARDOWN(waiting)
{
}

TEST_F(waiting, woken_while_asleep)
{
	__u64 begin = cb_now();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(source); i++)
		one_round(_metadata, self->m, &source[i], false);
	ksft_print_msg("%s: %zu events in %llu ms\n", self->m->name,
		       ARRAY_SIZE(source),
		       (unsigned long long)((cb_now() - begin) / 1000000));
}

TEST_F(waiting, held_already)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(source); i++)
		one_round(_metadata, self->m, &source[i], true);
}

/*
 * Each of the 15 sets of events: io_uring allows a file two wait queues at most,
 * so a file with one queue for each event would fail here, and only here.
 */
TEST_F(waiting, every_subscription)
{
	struct chipboot_publish p = cb_an_error(1, 5, "no chip", 7);
	struct chipboot_status st;
	struct waiter w[15];
	struct cb_session s;
	__u32 mask, holds;
	int pub, i;

	ASSERT_EQ(0, cb_session_open(&s, 1)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	ASSERT_STATE(&s);
	memset(w, 0, sizeof(w));
	for (i = 0; i < 15; i++) {
		mask = (__u32)i + 1;
		w[i].m = self->m;
		w[i].handle = "observer";
		w[i].events = mask;
		w[i].interest = POLLIN;
		w[i].fd = cb_observe(s.observer, mask);
		ASSERT_LE(0, w[i].fd);
		ASSERT_EQ(0, cb_status(w[i].fd, 0, CHIPBOOT_STATUS_ACK, &st));
		ASSERT_EQ(mask, st.events);
		ASSERT_EQ(0, waiter_start(&w[i]));
	}
	for (i = 0; i < 15; i++) {
		ASSERT_EQ(0, waiter_asleep(&w[i]))
			TH_LOG("events %#x: %d", w[i].events, w[i].result);
		w[i].asleep = cb_voluntary(w[i].tid);
	}
	ASSERT_EQ(0, cb_publish(pub, &p));
	cb_want_publish(&s, 0, &p, getpid());
	ASSERT_STATE(&s);
	holds = C | E | H;
	for (i = 0; i < 15; i++) {
		if (w[i].events & holds) {
			ASSERT_EQ(0, waiter_back(&w[i]))
				TH_LOG("events %#x: LOST", w[i].events);
			EXPECT_EQ(POLLIN, w[i].result)
				TH_LOG("events %#x", w[i].events);
			EXPECT_TRUE(switched(0, w[i].asleep, w[i].end))
				TH_LOG("events %#x: %ld, %ld", w[i].events,
				       w[i].asleep, w[i].end);
		} else {
			EXPECT_EQ(0, waiter_asleep(&w[i]))
				TH_LOG("events %#x", w[i].events);
			pthread_kill(w[i].thread, SIGUSR1);
			ASSERT_EQ(0, waiter_back(&w[i]));
			EXPECT_EQ(-EINTR, w[i].result);
		}
		close(w[i].fd);
	}
	close(pub);
	cb_session_close(&s);
}

/* ---- one wake-up ---------------------------------------------------------- */

#define MANY	64

struct turn {
	pid_t waiter;
	int slept[MANY];	/* cb_wait_asleep2()'s result in publisher k */
	int ret[MANY];
};

/*
 * Publisher k of 64 publishes only when the waiter has been seen asleep, so each
 * of the 64 has its chance to wake it.
 */
TEST_F(waiting, one_wakeup_for_64)
{
	struct turn *t = cb_shared(sizeof(*t));
	int go[MANY][2], said[2], pub[MANY];
	pid_t pid[MANY], parent = getpid();
	struct cb_session s;
	struct waiter w = {
		.m = self->m,
		.handle = "observer",
		.events = C,
		.interest = POLLIN,
	};
	int i;

	ASSERT_EQ(0, cb_session_open(&s, MANY)) TH_LOG("%s", s.why);
	w.fd = cb_observe(s.owner, C);
	ASSERT_LE(0, w.fd);
	ASSERT_EQ(0, pipe2(said, O_CLOEXEC));
	for (i = 0; i < MANY; i++) {
		pub[i] = cb_claim(s.owner, (__u32)i, NULL);
		ASSERT_LE(0, pub[i]);
		ASSERT_EQ(0, pipe2(go[i], O_CLOEXEC));
	}
	for (i = 0; i < MANY; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			cb_die_with(parent);
			if (cb_await(go[i][0]))
				_exit(1);
			t->slept[i] = cb_wait_asleep2(t->waiter, w.m->nr,
						      w.m->nr2);
			t->ret[i] = cb_success(pub[i], 1);
			_exit(cb_tell(said[1]) ? 1 : 0);
		}
	}
	ASSERT_EQ(0, waiter_start(&w));
	t->waiter = w.tid;
	for (i = 0; i < MANY; i++) {
		t->slept[i] = 1;
		t->ret[i] = 1;
		ASSERT_EQ(0, cb_tell(go[i][1]));
		ASSERT_EQ(0, cb_await(said[0]));
		ASSERT_EQ(0, t->slept[i]) TH_LOG("publisher %d", i);
		ASSERT_EQ(0, t->ret[i]) TH_LOG("publisher %d", i);
	}
	ASSERT_EQ(0, waiter_back(&w)) TH_LOG("LOST");
	EXPECT_EQ(POLLIN, w.result);
	EXPECT_TRUE(switched(1, w.begin, w.end));
	ksft_print_msg("%s: %d publishers, each while the waiter slept: %ld voluntary switches\n",
		       self->m->name, MANY, w.end - w.begin);
	for (i = 0; i < MANY; i++) {
		EXPECT_EQ(0, cb_reap(pid[i]));
		close(pub[i]);
		close(go[i][0]);
		close(go[i][1]);
	}
	close(said[0]);
	close(said[1]);
	close(w.fd);
	cb_session_close(&s);
}

/* 1,000 progress texts are nothing to one who waits for COMPLETE. */
TEST_F(waiting, progress_wakes_nobody)
{
	struct waiter w = {
		.m = self->m,
		.handle = "observer",
		.events = C,
		.interest = POLLIN,
	};
	struct chipboot_publish p = {
		.generation = 1,
		.state = CHIPBOOT_SUCCESS,
	};
	struct cb_session s;
	char text[32];
	int pub, i;

	ASSERT_EQ(0, cb_session_open(&s, 1)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	w.fd = cb_observe(s.owner, C);
	ASSERT_LE(0, w.fd);
	ASSERT_STATE(&s);
	ASSERT_EQ(0, waiter_start(&w));
	ASSERT_EQ(0, waiter_asleep(&w));
	w.asleep = cb_voluntary(w.tid);
	EXPECT_EQ(1, w.asleep - w.begin);
	for (i = 1; i <= 1000; i++) {
		snprintf(text, sizeof(text), "step %d of 1000", i);
		ASSERT_EQ(0, cb_progress(pub, 1, text));
		/* never running, not even for a moment, when looked at */
		if (i % 50 == 0) {
			ASSERT_EQ('S', cb_task_state(w.tid));
			ASSERT_EQ(w.asleep, cb_voluntary(w.tid))
				TH_LOG("after %d progress calls", i);
		}
	}
	cb_want_progress(&s, 0, text);
	ASSERT_STATE(&s);
	EXPECT_EQ(0, waiter_asleep(&w));
	EXPECT_EQ(w.asleep, cb_voluntary(w.tid));
	ASSERT_EQ(0, cb_publish(pub, &p));
	cb_want_publish(&s, 0, &p, getpid());
	ASSERT_EQ(0, waiter_back(&w));
	EXPECT_EQ(POLLIN, w.result);
	EXPECT_TRUE(switched(1, w.begin, w.end));
	ksft_print_msg("%s: 1000 progress calls and one answer: %ld voluntary switches\n",
		       self->m->name, w.end - w.begin);
	ASSERT_STATE(&s);
	close(w.fd);
	close(pub);
	cb_session_close(&s);
}

/* ---- the same harness over eventfds, for comparison ----------------------- */

static int eventfds[MANY];

/* Waits until all 64 have been collected. */
static int by_collecting(struct waiter *w)
{
	struct pollfd p[MANY];
	unsigned int left = MANY, i;
	__u64 value;
	int ret = 0;

	for (i = 0; i < MANY; i++)
		p[i] = (struct pollfd) { .fd = eventfds[i], .events = POLLIN };
	w->begin = cb_my_voluntary();
	while (left) {
		ret = cb_errno(poll(p, left, -1));
		if (ret < 0)
			break;
		for (i = 0; i < left; i++) {
			if (!(p[i].revents & POLLIN))
				continue;
			if (read(p[i].fd, &value, 8) != 8)
				return -EPROTO;
			p[i--] = p[--left];
		}
	}
	w->end = cb_my_voluntary();
	return ret;
}

TEST(sixtyfour_eventfds)
{
	const struct mechanism m = {
		.name = "64 eventfds",
		.wait = by_collecting,
		.nr = CB_NR_POLL,
		.nr2 = SYS_ppoll,
	};
	struct waiter w = { .m = &m };
	__u64 one = 1;
	int i;

	for (i = 0; i < MANY; i++) {
		eventfds[i] = eventfd(0, EFD_CLOEXEC);
		ASSERT_LE(0, eventfds[i]);
	}
	ASSERT_EQ(0, waiter_start(&w));
	for (i = 0; i < MANY; i++) {
		ASSERT_EQ(0, waiter_asleep(&w));
		ASSERT_EQ(8, write(eventfds[i], &one, 8));
	}
	ASSERT_EQ(0, waiter_back(&w));
	ASSERT_LE(0, w.result);
	ksft_print_msg("64 eventfds, each written while the waiter slept: %ld voluntary switches\n",
		       w.end - w.begin);
	/* the count can see more than one: what chipboot's 1 is worth */
	EXPECT_TRUE(switched(MANY, w.begin, w.end));
	for (i = 0; i < MANY; i++)
		close(eventfds[i]);
}

/* ---- CHANGE and ACK ------------------------------------------------------- */

/* Whether CHANGE holds, as poll() and STATUS both say it; or -errno. */
static int change_holds(int fd)
{
	struct chipboot_status st;
	int ret = cb_status(fd, CHIPBOOT_NO_CHANNEL, 0, &st);
	int revents = cb_revents(fd);

	if (ret)
		return ret;
	if (!!(st.holds & H) != !!(revents & POLLIN))
		return -EPROTO;
	return !!(st.holds & H);
}

static int ack(int fd)
{
	struct chipboot_status st;
	int ret = cb_status(fd, CHIPBOOT_NO_CHANNEL, CHIPBOOT_STATUS_ACK, &st);

	/* what it tells is from before */
	return ret ? ret : !!(st.holds & H);
}

TEST(change_and_ack)
{
	struct cb_session s;
	int a, b, derived, copy, pub;
	__u32 aborted;

	ASSERT_EQ(0, cb_session_open(&s, 2)) TH_LOG("%s", s.why);
	a = cb_observe(s.owner, H);
	b = cb_observe(s.owner, H);
	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	/* before the first ACK it holds, though nothing has changed */
	EXPECT_EQ(1, change_holds(a));
	EXPECT_EQ(1, change_holds(b));
	/* per handle; STATUS without ACK takes nothing away */
	EXPECT_EQ(1, ack(a));
	EXPECT_EQ(0, change_holds(a));
	EXPECT_EQ(0, ack(a));
	EXPECT_EQ(1, change_holds(b));
	/* new handle, nothing seen yet */
	derived = cb_observe(a, 0);
	ASSERT_LE(0, derived);
	EXPECT_EQ(1, change_holds(derived));
	/* the same handle under another number: has seen it */
	copy = fcntl(a, F_DUPFD_CLOEXEC, 0);
	ASSERT_LE(0, copy);
	EXPECT_EQ(0, change_holds(copy));
	EXPECT_EQ(1, ack(b));
	EXPECT_EQ(1, ack(derived));

#define CHANGES(what) do { \
	EXPECT_EQ(0, change_holds(a)) TH_LOG("before %s", #what); \
	EXPECT_EQ(0, what) TH_LOG("%s", #what); \
	EXPECT_EQ(1, change_holds(a)) TH_LOG("%s", #what); \
	EXPECT_EQ(1, change_holds(copy)) TH_LOG("%s", #what); \
	EXPECT_EQ(1, change_holds(b)) TH_LOG("%s", #what); \
	EXPECT_EQ(1, ack(copy)) TH_LOG("%s", #what); \
	EXPECT_EQ(0, change_holds(a)) TH_LOG("%s", #what); \
	EXPECT_EQ(1, change_holds(b)) TH_LOG("%s", #what); \
	EXPECT_EQ(1, ack(b)) TH_LOG("%s", #what); \
} while (0)
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	ack(a);
	ack(b);
	CHANGES(cb_progress(pub, 1, "one"));
	/* the same text is another sign of life */
	CHANGES(cb_progress(pub, 1, "one"));
	CHANGES(cb_bind(pub, 0, 0));
	CHANGES(cb_success(pub, 1));
	CHANGES(cb_abort(s.owner, 0, 2, 1, "x", &aborted));
	CHANGES(cb_reset(s.owner, 0, 2, CHIPBOOT_RESET_KEEP_PUBLISHERS));
	CHANGES(cb_error(pub, 2, 1, "x"));
	CHANGES(cb_detach(s.owner));
#undef CHANGES
	/* what is refused is no change */
	EXPECT_EQ(-EALREADY, cb_error(pub, 2, 1, "x"));
	EXPECT_EQ(-EALREADY, cb_progress(pub, 2, "x"));
	EXPECT_EQ(-EPERM, cb_detach(s.owner));
	EXPECT_EQ(0, change_holds(a));
	EXPECT_EQ(0, change_holds(b));
	close(a);
	close(b);
	close(copy);
	close(derived);
	close(pub);
	cb_session_close(&s);
}

/* After an ACK the next change is an edge again; without one, nothing is lost. */
TEST(edge_after_edge)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct chipboot_status st;
	struct cb_session s;
	int fd, ep, pub, i;

	ASSERT_EQ(0, cb_session_open(&s, 1)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	fd = cb_observe(s.owner, H);
	ASSERT_LE(0, fd);
	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	ASSERT_EQ(1, epoll_wait(ep, &ev, 1, 0));
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, epoll_wait(ep, &ev, 1, 0)) TH_LOG("round %d", i);
		ASSERT_EQ(0, cb_status(fd, 0, CHIPBOOT_STATUS_ACK, &st));
		ASSERT_EQ(H, st.holds);
		ASSERT_EQ(0, epoll_wait(ep, &ev, 1, 0)) TH_LOG("round %d", i);
		ASSERT_EQ(0, cb_progress(pub, 1, "on"));
		ASSERT_EQ(1, epoll_wait(ep, &ev, 1, 0)) TH_LOG("round %d", i);
		ASSERT_EQ(EPOLLIN, ev.events);
	}
	close(ep);
	close(fd);
	close(pub);
	cb_session_close(&s);
}

/* EPOLLIN goes away again with RESET, EPOLLPRI too: level, not history. */
TEST(level_falls_with_reset)
{
	struct cb_session s;
	int fd, pub;

	ASSERT_EQ(0, cb_session_open(&s, 1)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 0, NULL);
	ASSERT_LE(0, pub);
	fd = cb_observe(s.owner, C | E);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, cb_revents(fd));
	EXPECT_EQ(0, cb_revents(pub));
	EXPECT_EQ(0, cb_revents(s.owner));
	ASSERT_EQ(0, cb_error(pub, 1, 1, "x"));
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLPRI, cb_revents(fd));
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLPRI, cb_revents(pub));
	EXPECT_EQ(POLLIN | POLLRDNORM | POLLPRI, cb_revents(s.owner));
	ASSERT_EQ(0, cb_reset(s.owner, 0, 1, CHIPBOOT_RESET_KEEP_PUBLISHERS));
	EXPECT_EQ(0, cb_revents(fd));
	EXPECT_EQ(0, cb_revents(pub));
	EXPECT_EQ(0, cb_revents(s.owner));
	ASSERT_EQ(0, cb_success(pub, 2));
	EXPECT_EQ(POLLIN | POLLRDNORM, cb_revents(fd));
	ASSERT_EQ(0, cb_reset(s.owner, 0, 1, 0));
	EXPECT_EQ(0, cb_revents(fd));
	EXPECT_EQ(POLLERR, cb_revents(pub));
	EXPECT_EQ(0, cb_revents(s.owner));
	close(fd);
	close(pub);
	cb_session_close(&s);
}

/*
 * What io_uring is told of a publisher handle that RESET drops is whole: EPOLLERR,
 * and EPOLLPRI for the ERROR of a channel that the RESET leaves alone.  (EPOLLHUP
 * cannot hold then: who could RESET is alive.)  EPOLLPRI alone does not end this wait,
 * see uring_pri_control(); where it does, there is nothing to see.
 */
TEST(stale_publisher_in_io_uring)
{
	struct waiter w = {
		.m = &mechanism[IO_URING],
		.interest = POLLIN | POLLPRI,
	};
	struct cb_session s;
	int pub[3], i;

	catch_usr1();
	uring_pri_control(_metadata);
	if (!uring_sleeps_through_pri)
		SKIP(return, "this kernel's io_uring is woken by EPOLLPRI");
	ASSERT_EQ(0, cb_session_open(&s, 3)) TH_LOG("%s", s.why);
	for (i = 0; i < 3; i++) {
		pub[i] = cb_claim(s.owner, (__u32)i, NULL);
		ASSERT_LE(0, pub[i]);
	}
	ASSERT_EQ(0, cb_success(pub[0], 1));
	w.fd = pub[0];
	ASSERT_EQ(0, waiter_start(&w));
	ASSERT_EQ(0, waiter_asleep(&w));
	ASSERT_EQ(0, cb_error(pub[1], 1, -5, "x"));
	ASSERT_EQ(0, waiter_asleep(&w));
	/* channel 2 is IDLE: COMPLETE does not hold */
	ASSERT_EQ(0, cb_reset(s.owner, 0, 1, 0));
	ASSERT_EQ(0, waiter_back(&w));
	EXPECT_EQ(POLLERR | POLLPRI, w.result);
	EXPECT_EQ(POLLERR | POLLPRI, cb_revents(pub[0]));
	for (i = 0; i < 3; i++)
		close(pub[i]);
	cb_session_close(&s);
}

TEST_HARNESS_MAIN
