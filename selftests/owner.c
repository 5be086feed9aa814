// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * The owner: who may act as it, how it lets go, and what its end means for the others.
 *
 * In most tests the owner is a launcher process that this one forks, watches through an
 * observer sent over a socket, and kills; the launcher's runtime processes come to this
 * one as orphans, so that it sees how they end.
 */
#include "process_test.h"

#define N	6

struct note {
	pid_t run[N];
	int ret[32];
	struct chipboot_status st;
	/* counts(): what it is asked, and its answer */
	struct {
		char what;
		__u32 signal;
		int ret;
	} ask[N];
};

struct launch;

/* What a runtime process does; what the launcher does after it has started them. */
typedef void (*runtime_fn)(struct launch *l, __u32 ch);
typedef void (*launcher_fn)(struct launch *l, struct cb_session *s);

struct launch {
	struct cb_session s;		/* this process's model */
	struct pt_kid launcher;
	struct pt_kid run[N];
	int pub[N];
	int sock[2];
	struct note *note;
	/* chosen by the test before launch_start() */
	bool sole;			/* runtimes close the owner handle */
	runtime_fn runtime[N];		/* NULL: sleeps_blocked() */
	int death_signal[N];		/* by the launcher; -1: it binds nobody */
	launcher_fn act;
};

/* ---- runtime processes --------------------------------------------------- */

/* Signals stay pending, so that a wrong one is seen. */
static void sleeps_blocked(struct launch *l, __u32 ch)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		pt_say(&l->run[ch]);
		pt_wait_go(&l->run[ch]);
	}
}

static void sleeps(struct launch *l, __u32 ch)
{
	pt_say(&l->run[ch]);
	pt_sleep_for_ever();
}

static void asks_for_sigterm(struct launch *l, __u32 ch)
{
	l->note->ret[ch] = cb_bind(l->pub[ch], 0, SIGTERM);
	sleeps(l, ch);
}

/* A real-time signal: each one sent is one delivered. */
#define DEATH_SIGNAL	((__u32)SIGRTMIN)

/* How many have come?  The first may take until then. */
static int signals_taken(int patience_ms)
{
	struct timespec wait = {
		.tv_sec = patience_ms / 1000,
		.tv_nsec = patience_ms % 1000 * 1000000L,
	};
	const struct timespec none = { .tv_sec = 0 };
	sigset_t set;
	int n = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	while (sigtimedwait(&set, NULL, n ? &none : &wait) > 0)
		n++;
	return n;
}

/* 'b': BINDs itself; 't': takes what has come; 'w': waits for one before. */
static void counts(struct launch *l, __u32 ch)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		pt_say(&l->run[ch]);
		pt_wait_go(&l->run[ch]);
		switch (l->note->ask[ch].what) {
		case 'b':
			l->note->ask[ch].ret = cb_bind(l->pub[ch], 0,
						       l->note->ask[ch].signal);
			break;
		case 't':
			l->note->ask[ch].ret = signals_taken(0);
			break;
		case 'w':
			l->note->ask[ch].ret = signals_taken(CB_PATIENCE_MS / 2);
			break;
		}
	}
}

/* Its answer; -EPROTO if it gives none. */
static int ask(struct launch *l, __u32 ch, char what, __u32 signal)
{
	l->note->ask[ch].what = what;
	l->note->ask[ch].signal = signal;
	if (pt_go(&l->run[ch]) || pt_await(&l->run[ch]))
		return -EPROTO;
	return l->note->ask[ch].ret;
}

static void closes_all(struct launch *l, __u32 ch)
{
	int i;

	for (i = 3; i < 1024; i++) {
		if (i != l->run[ch].said[1])
			close(i);
	}
	sleeps(l, ch);
}

static void execs(struct launch *l, __u32 ch)
{
	pt_exec_pause(&l->run[ch]);
}

/* ---- the launcher -------------------------------------------------------- */

static void launcher_main(struct launch *l)
{
	struct cb_session s;
	int fds[1 + N];
	pid_t pid;
	__u32 i;

	/* the test wants to see what becomes of orphans */
	pt_unleashed = true;
	if (cb_session_open(&s, N))
		_exit(100);
	fds[0] = s.observer;
	for (i = 0; i < N; i++) {
		l->pub[i] = cb_claim(s.owner, i, NULL);
		if (l->pub[i] < 0)
			_exit(101);
		fds[1 + i] = l->pub[i];
	}
	if (cb_send_fds(l->sock[1], fds, 1 + N))
		_exit(102);
	pt_wait_go(&l->launcher);
	for (i = 0; i < N; i++) {
		pid = pt_fork_prepared(&l->run[i]);
		if (!pid) {
			if (l->sole)
				close(s.owner);
			if (l->runtime[i])
				l->runtime[i](l, i);
			else
				sleeps_blocked(l, i);
			_exit(103);
		}
		if (pid < 0)
			_exit(104);
		l->note->run[i] = pid;
		if (l->death_signal[i] >= 0 &&
		    cb_bind(l->pub[i], pid, (__u32)l->death_signal[i]))
			_exit(105);
	}
	pt_say(&l->launcher);
	pt_wait_go(&l->launcher);
	if (l->act)
		l->act(l, &s);
	pt_say(&l->launcher);
	pt_sleep_for_ever();
}

/* A model of the session behind @observer, made by somebody else a moment ago. */
static const char *adopt_session(struct cb_session *s, int observer,
				 pid_t creator)
{
	struct chipboot_status st;
	__u32 i;
	int ret;

	memset(s, 0, sizeof(*s));
	s->control = -1;
	s->owner = -1;
	s->observer = observer;
	s->since_ns = cb_now();
	ret = cb_status(observer, CHIPBOOT_NO_CHANNEL, 0, &st);
	if (ret)
		return cb_complain(s, "STATUS: %s", strerror(-ret));
	s->n = st.channels;
	s->stride = st.stride;
	s->id = st.session_id;
	s->creator = creator;
	s->map = cb_map(observer, s->stride, 0, s->n);
	s->want = calloc(s->n, sizeof(*s->want));
	if (!s->map || !s->want)
		return cb_complain(s, "no memory, or no mapping");
	for (i = 0; i < s->n; i++) {
		s->want[i].generation = 1;
		s->touch[i] = CB_FRESH;
	}
	s->change = 1;
	s->owner_state = CHIPBOOT_OWNER_ALIVE;
	s->owner_pid = creator;
	return cb_check(s);
}

static void launch_prepare(struct launch *l, struct note *note)
{
	__u32 i;

	memset(l, 0, sizeof(*l));
	l->note = note;
	for (i = 0; i < N; i++) {
		l->pub[i] = -1;
		pt_prepare(&l->run[i]);
	}
	l->s.control = -1;
	l->s.owner = -1;
	l->s.observer = -1;
}

/* The launcher and all runtimes are up, and bound as the test has chosen. */
static const char *launch_start(struct launch *l)
{
	struct cb_session *s = &l->s;
	int fds[1 + N];
	const char *why;
	pid_t pid;
	__u32 i;
	int ret;

	if (pt_adopt_orphans() ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, l->sock))
		return "no subreaper, or no socket";
	pid = pt_fork(&l->launcher);
	if (!pid)
		launcher_main(l);
	if (pid < 0 || cb_recv_fds(l->sock[0], fds, 1 + N))
		return "no launcher";
	memcpy(l->pub, &fds[1], sizeof(l->pub));
	why = adopt_session(s, fds[0], pid);
	if (*why)
		return why;
	ret = pt_go(&l->launcher);
	if (!ret)
		ret = pt_await(&l->launcher);
	if (ret)
		return cb_complain(s, "launcher: %s", strerror(-ret));
	for (i = 0; i < N; i++) {
		l->run[i].pid = l->note->run[i];
		/* orphans to be: pt_await() does not see them die */
		ret = pt_await(&l->run[i]);
		if (ret)
			return cb_complain(s, "runtime %u: %s", i,
					   strerror(-ret));
		if (l->runtime[i] == asks_for_sigterm && l->note->ret[i])
			return cb_complain(s, "runtime %u: BIND: %s", i,
					   strerror(-l->note->ret[i]));
		if (l->death_signal[i] >= 0 ||
		    l->runtime[i] == asks_for_sigterm)
			cb_want_bound(s, i, l->run[i].pid);
	}
	return cb_check(s);
}

/* The launcher does what the test has chosen for it. */
static int launch_act(struct launch *l)
{
	int ret = pt_go(&l->launcher);

	return ret ? ret : pt_await(&l->launcher);
}

/* A runtime that blocks signals is alive, and none is pending. */
static const char *alive_and_unsignalled(struct launch *l, __u32 ch)
{
	char path[64], buf[4096], *p;
	int ret = pt_go(&l->run[ch]);

	if (!ret)
		ret = pt_await(&l->run[ch]);
	if (ret)
		return cb_complain(&l->s, "runtime %u does not answer: %s", ch,
				   strerror(-ret));
	snprintf(path, sizeof(path), "/proc/%d/status", l->run[ch].pid);
	if (cb_slurp(path, buf, sizeof(buf)) < 0)
		return cb_complain(&l->s, "%s", path);
	p = strstr(buf, "\nShdPnd:\t");
	if (!p || strncmp(p, "\nShdPnd:\t0000000000000000\n", 26))
		return cb_complain(&l->s, "runtime %u: pending: %.30s", ch,
				   p ? p + 1 : "?");
	return "";
}

static const char *all_alive_and_unsignalled(struct launch *l)
{
	const char *why = "";
	__u32 ch;

	for (ch = 0; ch < N && !*why; ch++) {
		if (!l->runtime[ch])
			why = alive_and_unsignalled(l, ch);
	}
	return why;
}

/* The model's owner changes. */
static void want_owner(struct launch *l, __u32 state)
{
	l->s.owner_state = state;
	l->s.change = 1;
}

/* What each copy of a publisher handle says of the owner in poll(). */
static const char *publishers_poll(struct launch *l, int revents)
{
	__u32 ch;
	int got;

	for (ch = 0; ch < N; ch++) {
		got = l->pub[ch] < 0 ? revents : cb_revents(l->pub[ch]);
		if (got != revents)
			return cb_complain(&l->s, "publisher %u polls %#x, not %#x",
					   ch, got, revents);
	}
	return "";
}

/*
 * A runtime has died with @status.  Those that are signalled together die in any order:
 * the model takes it from the page.
 */
static const char *runtime_died(struct launch *l, __u32 ch, int status)
{
	struct cb_session *s = &l->s;
	int ret = pt_wait_dead(l->run[ch].pid);
	struct chipboot_page at_once;

	cb_copy_page(&at_once, cb_page(s, ch));
	if (ret)
		return cb_complain(s, "waitid: %s", strerror(-ret));
	ret = cb_reap(l->run[ch].pid);
	if (ret != status)
		return cb_complain(s, "runtime %u ended with %#x, not %#x", ch,
				   ret, status);
	if (s->bound[ch] && s->want[ch].state == CHIPBOOT_IDLE &&
	    (at_once.state != CHIPBOOT_ERROR || at_once.wait_status != status))
		return cb_complain(s, "runtime %u: state %d, wait status %#x",
				   ch, at_once.state, at_once.wait_status);
	pt_want_died(s, ch, status, 0);
	s->want[ch].order = at_once.order;
	return "";
}

FIXTURE(owner)
{
	struct launch l;
};

FIXTURE_VARIANT(owner)
{
	bool sole;
};

/* Everybody has a copy of the owner handle ... */
FIXTURE_VARIANT_ADD(owner, all)
{
	.sole = false,
};

/* ... or only the owner has: its last close comes out of its exit. */
FIXTURE_VARIANT_ADD(owner, sole)
{
	.sole = true,
};

FIXTURE_SETUP(owner)
{
	launch_prepare(&self->l, cb_shared(sizeof(struct note)));
	self->l.sole = variant->sole;
}

FIXTURE_TEARDOWN(owner)
{
	__u32 ch;

	pt_kill_all();
	for (ch = 0; ch < N; ch++) {
		if (self->l.pub[ch] >= 0)
			close(self->l.pub[ch]);
	}
	cb_session_close(&self->l.s);
}

/* ---- its end ------------------------------------------------------------- */

static void exits_3(struct launch *l, struct cb_session *s)
{
	(void)s;
	(void)l;
	_exit(3);
}

static void owner_ends(struct __test_metadata *_metadata, struct launch *l,
		       int status)
{
	struct epoll_event ev = { .events = 0 }, got;
	struct chipboot_status at_once;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int ret;

	ASSERT_LE(0, epoll);
	ASSERT_OK(launch_start(l));
	ASSERT_OK(publishers_poll(l, 0));
	/* EPOLLHUP needs no asking for */
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, l->pub[0], &ev));
	EXPECT_EQ(0, epoll_wait(epoll, &got, 1, 0));

	ret = WIFSIGNALED(status) ? kill(l->launcher.pid, WTERMSIG(status)) :
				    pt_go(&l->launcher);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	ASSERT_EQ(0, cb_status(l->s.observer, CHIPBOOT_NO_CHANNEL, 0,
			       &at_once));
	EXPECT_EQ(CHIPBOOT_OWNER_DEAD, at_once.owner_state);
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, POLLHUP));
	ASSERT_EQ(1, epoll_wait(epoll, &got, 1, CB_PATIENCE_MS));
	EXPECT_EQ(EPOLLHUP, got.events);
	ASSERT_EQ(status, cb_reap(l->launcher.pid));
	ASSERT_STATE(&l->s);
	ASSERT_OK(all_alive_and_unsignalled(l));

	/* the others go on: there are still answers to give and to read */
	p = cb_a_success(1, 1, words, CHIPBOOT_WORDS_MAX);
	ASSERT_EQ(0, cb_publish(l->pub[1], &p));
	cb_want_publish(&l->s, 1, &p, l->run[1].pid);
	ASSERT_STATE(&l->s);
	ASSERT_EQ(0, kill(l->run[2].pid, SIGKILL));
	ASSERT_OK(runtime_died(l, 2, SIGKILL));
	ASSERT_STATE(&l->s);
	close(epoll);
}

TEST_F(owner, sigkill)
{
	owner_ends(_metadata, &self->l, SIGKILL);
}

TEST_F(owner, exit)
{
	self->l.act = exits_3;
	owner_ends(_metadata, &self->l, 3 << 8);
}

static int thread_ends_process_when_told(void *arg)
{
	struct launch *l = arg;

	pt_wait_task_gone(l->launcher.pid, l->launcher.pid);
	pt_say(&l->launcher);
	pt_wait_go(&l->launcher);
	syscall(SYS_exit_group, 4);
	return 0;
}

static void leader_leaves(struct launch *l, struct cb_session *s)
{
	(void)s;
	if (pt_thread(thread_ends_process_when_told, l, 0) < 0)
		_exit(106);
	syscall(SYS_exit, 0);
}

/* An owner whose leader has left is alive. */
TEST_F(owner, leader_leaves)
{
	struct launch *l = &self->l;

	l->act = leader_leaves;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, launch_act(l));
	ASSERT_EQ('Z', cb_task_state(l->launcher.pid));
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, 0));
	ASSERT_EQ(0, pt_go(&l->launcher));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, POLLHUP));
	ASSERT_EQ(4 << 8, cb_reap(l->launcher.pid));
}

/* An exec is no end: the process goes on as the owner, if it has kept the handle. */
static void execs_itself(struct launch *l, struct cb_session *s)
{
	(void)l;
	if (fcntl(s->owner, F_SETFD, 0))
		_exit(106);
	pt_exec_pause(&l->launcher);
}

TEST_F(owner, exec_keeping_the_handle)
{
	struct launch *l = &self->l;

	l->act = execs_itself;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, launch_act(l));
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, 0));
	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_STATE(&l->s);
}

static void sets_a_deadline(struct launch *l, struct cb_session *s)
{
	l->note->ret[0] = cb_deadline(s->owner, 300 * 1000 * 1000, 0);
	cb_status(s->owner, CHIPBOOT_NO_CHANNEL, 0, &l->note->st);
}

/* With the owner gone every poll() returns at once, so this one looks again. */
static int wait_complete(int observer)
{
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	const struct timespec nap = { .tv_nsec = 1000 * 1000 };

	while (!(cb_revents(observer) & POLLIN)) {
		if (cb_now() > end)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
	return 0;
}

static void want_expired(struct launch *l)
{
	__u32 ch;

	l->s.deadline_ns = l->note->st.deadline_ns;
	for (ch = 0; ch < N; ch++)
		pt_want_deadline(&l->s, ch);
}

/* The deadline outlives its owner. */
TEST_F(owner, deadline_after_death)
{
	struct launch *l = &self->l;
	int complete;

	l->act = sets_a_deadline;
	ASSERT_OK(launch_start(l));
	complete = cb_observe(l->s.observer, CHIPBOOT_EVENT_COMPLETE);
	ASSERT_LE(0, complete);
	ASSERT_EQ(0, launch_act(l));
	ASSERT_EQ(0, l->note->ret[0]);
	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_EQ(0, wait_complete(complete));
	EXPECT_LE(l->note->st.deadline_ns, cb_now());
	want_expired(l);
	ASSERT_STATE(&l->s);
	close(complete);
}

/* ---- letting go ---------------------------------------------------------- */

/* Each of the owner's ioctls, with arguments that the owner would succeed with. */
static void try_all(struct cb_session *s, int *ret)
{
	int fd = cb_observe(s->owner, 0);

	ret[0] = fd;
	ret[1] = cb_claim(s->owner, 0, NULL);
	ret[2] = cb_reset(s->owner, 0, 1, 0);
	ret[3] = cb_abort(s->owner, 0, s->n, -1, "no", NULL);
	ret[4] = cb_deadline(s->owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE);
	ret[5] = cb_detach(s->owner);
}

#define ALL_EPERM(ret) do { \
	int _i; \
	for (_i = 0; _i < 6; _i++) \
		EXPECT_EQ(-EPERM, (ret)[_i]) \
			TH_LOG("try_all()'s number %d", _i); \
} while (0)

static void detaches(struct launch *l, struct cb_session *s)
{
	sets_a_deadline(l, s);
	l->note->ret[0] = cb_detach(s->owner);
	try_all(s, &l->note->ret[1]);
	l->note->ret[7] = cb_status(s->owner, CHIPBOOT_NO_CHANNEL, 0,
				    &l->note->st);
	pt_say(&l->launcher);
	pt_wait_go(&l->launcher);
	close(s->owner);
	pt_say(&l->launcher);
	pt_wait_go(&l->launcher);
	_exit(3);
}

/*
 * No HUP then, nor when the handle is closed, nor when the process ends; nobody is
 * signalled; the deadline stays.
 */
TEST_F(owner, detach)
{
	struct launch *l = &self->l;
	int complete;
	__u32 ch;

	l->act = detaches;
	l->death_signal[0] = SIGTERM;
	l->death_signal[1] = SIGUSR1;
	ASSERT_OK(launch_start(l));
	complete = cb_observe(l->s.observer, CHIPBOOT_EVENT_COMPLETE);
	ASSERT_LE(0, complete);
	ASSERT_EQ(0, launch_act(l));
	EXPECT_EQ(0, l->note->ret[0]);
	ALL_EPERM(&l->note->ret[1]);
	EXPECT_EQ(0, l->note->ret[7]);
	EXPECT_EQ(CHIPBOOT_OWNER_DETACHED, l->note->st.owner_state);
	want_owner(l, CHIPBOOT_OWNER_DETACHED);
	/* whether the deadline has come by now is up to the machine */
	ASSERT_EQ(0, wait_complete(complete));
	want_expired(l);
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, POLLIN | POLLRDNORM | POLLPRI));

	ASSERT_EQ(0, launch_act(l));
	ASSERT_STATE(&l->s);
	ASSERT_EQ(0, pt_go(&l->launcher));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	ASSERT_STATE(&l->s);
	ASSERT_EQ(3 << 8, cb_reap(l->launcher.pid));
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, POLLIN | POLLRDNORM | POLLPRI));
	for (ch = 0; ch < N; ch++)
		ASSERT_OK(alive_and_unsignalled(l, ch));
	close(complete);
}

static void detaches_only(struct launch *l, struct cb_session *s)
{
	l->note->ret[0] = cb_errno(ioctl(s->owner, CHIPBOOT_IOC_DETACH, 1));
	l->note->ret[1] = cb_errno(ioctl(s->owner, CHIPBOOT_IOC_DETACH, s));
	cb_status(s->owner, CHIPBOOT_NO_CHANNEL, 0, &l->note->st);
	l->note->ret[2] = cb_detach(s->owner);
	_exit(3);
}

/* DETACH and the end right after it. */
TEST_F(owner, detach_and_exit)
{
	struct launch *l = &self->l;
	__u32 ch;

	l->act = detaches_only;
	for (ch = 0; ch < N; ch++)
		l->death_signal[ch] = SIGTERM;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, pt_go(&l->launcher));
	ASSERT_EQ(3 << 8, cb_reap(l->launcher.pid));
	/* its argument is kept for later use */
	EXPECT_EQ(-EINVAL, l->note->ret[0]);
	EXPECT_EQ(-EINVAL, l->note->ret[1]);
	EXPECT_EQ(CHIPBOOT_OWNER_ALIVE, l->note->st.owner_state);
	EXPECT_EQ(0, l->note->ret[2]);
	want_owner(l, CHIPBOOT_OWNER_DETACHED);
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, 0));
	ASSERT_OK(all_alive_and_unsignalled(l));
}

static void closes_owner(struct launch *l, struct cb_session *s)
{
	(void)l;
	close(s->owner);
}

/* Closed without DETACH: HUP, once nobody has a copy; signals only at its death. */
TEST_F(owner, close_without_detach)
{
	struct launch *l = &self->l;
	__u32 ch;

	l->act = closes_owner;
	for (ch = 0; ch < N; ch++)
		l->death_signal[ch] = ch < 3 ? SIGUSR1 : 0;
	l->runtime[2] = sleeps;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, launch_act(l));
	if (l->sole)
		want_owner(l, CHIPBOOT_OWNER_CLOSED);
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, l->sole ? POLLHUP : 0));
	ASSERT_OK(all_alive_and_unsignalled(l));

	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	/* the others' signal stays pending, so the page cannot have changed but here */
	ASSERT_OK(runtime_died(l, 2, SIGUSR1));
	ASSERT_STATE(&l->s);
	ASSERT_OK(publishers_poll(l, POLLPRI | POLLHUP));
	ASSERT_STRNE("", alive_and_unsignalled(l, 0));
	ASSERT_STRNE("", alive_and_unsignalled(l, 1));
	for (ch = 3; ch < N; ch++)
		ASSERT_OK(alive_and_unsignalled(l, ch));
}

/* ---- death signals ------------------------------------------------------- */

/*
 * Chosen by the process itself, by its parent, one that can be blocked and one that
 * cannot, by a process without any handle; and those beside them who did not ask.
 */
TEST_F(owner, death_signal)
{
	struct launch *l = &self->l;
	__u32 seen = 0, ch;

	l->death_signal[0] = 0;			/* bound, asks for nothing */
	l->runtime[1] = asks_for_sigterm;
	l->death_signal[1] = -1;
	l->death_signal[2] = SIGKILL;		/* blocks what can be blocked */
	l->runtime[2] = NULL;
	l->runtime[3] = closes_all;
	l->death_signal[3] = SIGTERM;
	l->death_signal[4] = -1;		/* not even bound */
	l->runtime[5] = execs;
	l->death_signal[5] = SIGKILL;
	ASSERT_OK(launch_start(l));

	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_EQ(SIGKILL, cb_reap(l->launcher.pid));
	ASSERT_OK(runtime_died(l, 1, SIGTERM));
	ASSERT_OK(runtime_died(l, 2, SIGKILL));
	ASSERT_OK(runtime_died(l, 3, SIGTERM));
	ASSERT_OK(runtime_died(l, 5, SIGKILL));
	ASSERT_STATE(&l->s);
	for (ch = 0; ch < N; ch++)
		seen |= 1U << l->s.want[ch].order;
	EXPECT_EQ(0x1fU, seen);
	/* the last in number has been signalled, so these would have been */
	ASSERT_OK(alive_and_unsignalled(l, 0));
	ASSERT_OK(alive_and_unsignalled(l, 4));
}

/* The launcher had the only copies: they close in its exit, and still. */
TEST_F(owner, death_signal_without_handles)
{
	struct launch *l = &self->l;
	__u32 seen = 0, ch;

	for (ch = 0; ch < N; ch++) {
		l->runtime[ch] = closes_all;
		l->death_signal[ch] = ch % 2 ? SIGTERM : SIGKILL;
	}
	ASSERT_OK(launch_start(l));
	for (ch = 0; ch < N; ch++) {
		close(l->pub[ch]);
		l->pub[ch] = -1;
	}
	ASSERT_STATE(&l->s);
	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	for (ch = 0; ch < N; ch++) {
		/* the handle went first, with the launcher's files */
		pt_want_closed(&l->s, ch);
		ASSERT_OK(runtime_died(l, ch, ch % 2 ? SIGTERM : SIGKILL));
		seen |= 1U << l->s.want[ch].order;
	}
	EXPECT_EQ(0x7eU, seen);
	ASSERT_STATE(&l->s);
}

/* Nobody at all has a handle of the session once its owner is gone. */
TEST_F(owner, death_signal_at_the_session_s_end)
{
	struct launch *l = &self->l;
	__u32 ch;

	for (ch = 0; ch < N; ch++) {
		l->runtime[ch] = closes_all;
		l->death_signal[ch] = ch % 2 ? SIGTERM : SIGKILL;
	}
	ASSERT_OK(launch_start(l));
	for (ch = 0; ch < N; ch++) {
		close(l->pub[ch]);
		l->pub[ch] = -1;
	}
	cb_session_close(&l->s);
	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(l->launcher.pid));
	for (ch = 0; ch < N; ch++)
		ASSERT_EQ(ch % 2 ? SIGTERM : SIGKILL, cb_reap(l->run[ch].pid));
}

static void resets_some(struct launch *l, struct cb_session *s)
{
	/* 0, 1, 2: answered; 1, 2: next round, without and with the old binding */
	int *ret = l->note->ret;
	__u32 i;

	for (i = 0; i < 3; i++)
		ret[i] = cb_success(l->pub[i], 1);
	ret[3] = cb_reset(s->owner, 1, 1, 0);
	ret[4] = cb_reset(s->owner, 2, 1, CHIPBOOT_RESET_KEEP_PUBLISHERS);
	/* 3: the binding moves from there to 4's process, without a signal */
	ret[5] = cb_bind(l->pub[3], l->note->run[4], 0);
}

/* The signal is the binding's, wherever that goes. */
TEST_F(owner, death_signal_follows_the_binding)
{
	struct chipboot_publish p = {
		.generation = 1,
		.state = CHIPBOOT_SUCCESS,
	};
	struct launch *l = &self->l;
	__u32 seen = 0, ch;

	for (ch = 0; ch < N; ch++)
		l->death_signal[ch] = ch == 4 ? 0 : SIGTERM;
	l->runtime[0] = sleeps;
	l->runtime[2] = sleeps;
	l->runtime[5] = sleeps;
	l->act = resets_some;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, launch_act(l));
	for (ch = 0; ch < 6; ch++)
		ASSERT_EQ(0, l->note->ret[ch]);
	for (ch = 0; ch < 3; ch++)
		cb_want_publish(&l->s, ch, &p, l->run[ch].pid);
	cb_want_reset(&l->s, 1, 0);
	cb_want_reset(&l->s, 2, 1);
	cb_want_bound(&l->s, 3, l->run[4].pid);
	ASSERT_STATE(&l->s);

	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_OK(runtime_died(l, 0, SIGTERM));
	ASSERT_OK(runtime_died(l, 2, SIGTERM));
	ASSERT_OK(runtime_died(l, 5, SIGTERM));
	ASSERT_STATE(&l->s);
	EXPECT_EQ(CHIPBOOT_PAGE_GONE | CHIPBOOT_PAGE_STATUS_VALID,
		  l->s.want[0].flags);
	EXPECT_EQ(1, l->s.want[0].order);
	seen = 1U << l->s.want[2].order | 1U << l->s.want[5].order;
	EXPECT_EQ(0x30U, seen);
	ASSERT_OK(alive_and_unsignalled(l, 1));
	ASSERT_OK(alive_and_unsignalled(l, 3));
	ASSERT_OK(alive_and_unsignalled(l, 4));
}

/* ---- death signals that are asked for late -------------------------------- */

/* Signals go out by channel, so when this one has its, the others have theirs. */
#define LAST	(N - 1)

/* A BIND of its own for LAST, and its signal has come. */
static const char *last_is_signalled(struct launch *l)
{
	int ret = ask(l, LAST, 'b', DEATH_SIGNAL);

	if (ret)
		return cb_complain(&l->s, "BIND: %s", strerror(-ret));
	cb_want_bound(&l->s, LAST, l->run[LAST].pid);
	ret = ask(l, LAST, 'w', 0);
	if (ret != 1)
		return cb_complain(&l->s, "signals after BIND: %d", ret);
	return "";
}

/* The others have been sent so many each since they were asked last. */
static const char *others_took(struct launch *l, const int want[LAST])
{
	__u32 ch;
	int got;

	for (ch = 0; ch < LAST; ch++) {
		got = ask(l, ch, 't', 0);
		if (got != want[ch])
			return cb_complain(&l->s, "channel %u: %d signals, not %d",
					   ch, got, want[ch]);
	}
	return "";
}

static void all_count(struct launch *l)
{
	__u32 ch;

	for (ch = 0; ch < N; ch++) {
		l->runtime[ch] = counts;
		l->death_signal[ch] = -1;
	}
}

/*
 * A binding is signalled once: those that were there when the owner died, then each
 * new one, also of the same process, and nobody for another's.
 */
TEST_F(owner, death_signal_for_late_bindings)
{
	struct launch *l = &self->l;
	__u32 ch;

	all_count(l);
	l->death_signal[0] = (int)DEATH_SIGNAL;
	l->death_signal[1] = 0;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, ask(l, 2, 'b', DEATH_SIGNAL));
	cb_want_bound(&l->s, 2, l->run[2].pid);
	ASSERT_STATE(&l->s);
	for (ch = 0; ch < N; ch++)
		ASSERT_EQ(0, ask(l, ch, 't', 0));

	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_STATE(&l->s);
	/* 3 is bound while it is still a zombie, LAST when it is not */
	ASSERT_EQ(0, ask(l, 3, 'b', DEATH_SIGNAL));
	cb_want_bound(&l->s, 3, l->run[3].pid);
	ASSERT_EQ(1, ask(l, 3, 'w', 0));
	ASSERT_EQ(SIGKILL, cb_reap(l->launcher.pid));
	ASSERT_OK(last_is_signalled(l));
	ASSERT_OK(others_took(l, (int[]){ 1, 0, 1, 0, 0 }));
	ASSERT_STATE(&l->s);

	/* again: 0 by itself, 1 asks for the first time, 2 for nothing any more */
	ASSERT_EQ(0, ask(l, 0, 'b', DEATH_SIGNAL));
	cb_want_bound(&l->s, 0, l->run[0].pid);
	ASSERT_EQ(1, ask(l, 0, 'w', 0));
	ASSERT_EQ(0, ask(l, 1, 'b', DEATH_SIGNAL));
	cb_want_bound(&l->s, 1, l->run[1].pid);
	ASSERT_EQ(1, ask(l, 1, 'w', 0));
	ASSERT_EQ(0, ask(l, 2, 'b', 0));
	cb_want_bound(&l->s, 2, l->run[2].pid);
	/* 4 by its new parent, this process */
	ASSERT_EQ(0, cb_bind(l->pub[4], l->run[4].pid, DEATH_SIGNAL));
	cb_want_bound(&l->s, 4, l->run[4].pid);
	ASSERT_EQ(1, ask(l, 4, 'w', 0));
	ASSERT_OK(last_is_signalled(l));
	ASSERT_OK(others_took(l, (int[]){ 0, 0, 0, 0, 0 }));
	ASSERT_STATE(&l->s);

	/* an answered channel's binding too */
	ASSERT_EQ(0, ask(l, 3, 'b', DEATH_SIGNAL));
	cb_want_bound(&l->s, 3, l->run[3].pid);
	ASSERT_EQ(0, kill(l->run[2].pid, SIGKILL));
	ASSERT_OK(runtime_died(l, 2, SIGKILL));
	ASSERT_EQ(0, cb_bind(l->pub[2], l->run[4].pid, DEATH_SIGNAL));
	cb_want_bound(&l->s, 2, l->run[4].pid);
	ASSERT_EQ(1, ask(l, 4, 'w', 0));
	ASSERT_EQ(1, ask(l, 3, 'w', 0));
	ASSERT_STATE(&l->s);
}

/* Long enough for a signal that should not be sent. */
static void let_signals_come(void)
{
	const struct timespec nap = { .tv_nsec = 200 * 1000 * 1000 };

	nanosleep(&nap, NULL);
}

/* Asked for after DETACH: never, not even when the process dies that was the owner. */
TEST_F(owner, no_death_signal_after_detach)
{
	struct launch *l = &self->l;

	all_count(l);
	l->act = detaches;
	l->death_signal[1] = (int)DEATH_SIGNAL;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, launch_act(l));
	ASSERT_EQ(0, l->note->ret[0]);
	ASSERT_EQ(0, ask(l, 0, 'b', DEATH_SIGNAL));
	let_signals_come();
	ASSERT_OK(others_took(l, (int[]){ 0, 0, 0, 0, 0 }));
	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(l->launcher.pid));
	ASSERT_EQ(0, ask(l, 2, 'b', DEATH_SIGNAL));
	let_signals_come();
	ASSERT_OK(others_took(l, (int[]){ 0, 0, 0, 0, 0 }));
}

/* Asked for after the owner has closed its handle: once, when it dies. */
TEST_F(owner, death_signal_after_close)
{
	struct launch *l = &self->l;

	all_count(l);
	l->act = closes_owner;
	l->death_signal[1] = (int)DEATH_SIGNAL;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, launch_act(l));
	if (l->sole)
		want_owner(l, CHIPBOOT_OWNER_CLOSED);
	ASSERT_EQ(0, ask(l, 0, 'b', DEATH_SIGNAL));
	cb_want_bound(&l->s, 0, l->run[0].pid);
	ASSERT_STATE(&l->s);
	let_signals_come();
	ASSERT_OK(others_took(l, (int[]){ 0, 0, 0, 0, 0 }));

	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_OK(last_is_signalled(l));
	ASSERT_OK(others_took(l, (int[]){ 1, 1, 0, 0, 0 }));
	ASSERT_STATE(&l->s);
	ASSERT_OK(last_is_signalled(l));
	ASSERT_OK(others_took(l, (int[]){ 0, 0, 0, 0, 0 }));
}

/* ---- death signals and users ---------------------------------------------- */

struct ids {
	uid_t uid, euid, suid;
};

#define ROOT	0
#define ALICE	1001
#define BOB	1002

/* Who the runtimes become, after they were bound. */
static const struct ids becomes[N] = {
	{ ALICE, ALICE, ALICE },
	{ BOB, BOB, BOB },
	{ ROOT, ROOT, ROOT },
	{ BOB, ALICE, BOB },	/* kill(2) does not look at the effective one */
	{ BOB, BOB, ALICE },
	{ BOB, BOB, BOB },	/* binds itself */
};

/* The launcher's, from before it binds. */
static struct ids binder_ids;

static void become(const struct ids *ids)
{
	if (setresuid(ids->uid, ids->euid, ids->suid))
		_exit(107);
}

static void becomes_and_counts(struct launch *l, __u32 ch)
{
	pt_say(&l->run[ch]);
	pt_wait_go(&l->run[ch]);
	become(&becomes[ch]);
	counts(l, ch);
}

/* The session is root's; then the launcher is not root any more, and binds. */
static void becomes_and_binds(struct launch *l, struct cb_session *s)
{
	__u32 ch;

	(void)s;
	become(&binder_ids);
	for (ch = 0; ch < LAST; ch++)
		l->note->ret[ch] = cb_bind(l->pub[ch], l->note->run[ch],
					   DEATH_SIGNAL);
	pt_say(&l->launcher);
	pt_wait_go(&l->launcher);
	/* now they are who they are: what does kill(2) say? */
	for (ch = 0; ch < LAST; ch++)
		l->note->ret[N + ch] = cb_errno(kill(l->note->run[ch], 0));
}

/* The signal is sent where the one who asked for it could send it by kill(2). */
static void users(struct __test_metadata *_metadata, struct launch *l,
		  struct ids ids, const int want[LAST])
{
	__u32 ch;

	binder_ids = ids;
	for (ch = 0; ch < N; ch++) {
		l->runtime[ch] = becomes_and_counts;
		l->death_signal[ch] = -1;
	}
	l->act = becomes_and_binds;
	ASSERT_OK(launch_start(l));
	ASSERT_EQ(0, launch_act(l));
	for (ch = 0; ch < LAST; ch++) {
		ASSERT_EQ(0, l->note->ret[ch]);
		cb_want_bound(&l->s, ch, l->run[ch].pid);
	}
	ASSERT_STATE(&l->s);
	for (ch = 0; ch < N; ch++) {
		ASSERT_EQ(0, pt_go(&l->run[ch]));
		ASSERT_EQ(0, pt_await(&l->run[ch]));
	}
	ASSERT_EQ(0, ask(l, LAST, 'b', DEATH_SIGNAL));
	cb_want_bound(&l->s, LAST, l->run[LAST].pid);
	ASSERT_EQ(0, launch_act(l));
	for (ch = 0; ch < LAST; ch++)
		ASSERT_EQ(want[ch] ? 0 : -EPERM, l->note->ret[N + ch])
			TH_LOG("the test's own table, channel %u", ch);

	ASSERT_EQ(0, kill(l->launcher.pid, SIGKILL));
	ASSERT_EQ(SIGKILL, cb_reap(l->launcher.pid));
	want_owner(l, CHIPBOOT_OWNER_DEAD);
	ASSERT_EQ(1, ask(l, LAST, 'w', 0));
	ASSERT_OK(others_took(l, want));
	ASSERT_STATE(&l->s);
}

TEST_F(owner, death_signal_from_a_user)
{
	users(_metadata, &self->l, (struct ids){ ALICE, ALICE, ALICE },
	      (int[]){ 1, 0, 0, 0, 1 });
}

TEST_F(owner, death_signal_from_root)
{
	users(_metadata, &self->l, (struct ids){ ROOT, ROOT, ROOT },
	      (int[]){ 1, 1, 1, 1, 1 });
}

/* Root for as long as it likes, but not now. */
static const struct ids half_root = { ROOT, ALICE, ROOT };

TEST_F(owner, death_signal_from_half_a_root)
{
	users(_metadata, &self->l, half_root, (int[]){ 1, 0, 1, 0, 1 });
}

TEST_F(owner, death_signal_from_two_users)
{
	users(_metadata, &self->l, (struct ids){ ALICE, BOB, ALICE },
	      (int[]){ 1, 1, 0, 1, 1 });
}

/* ---- who is the owner ---------------------------------------------------- */

FIXTURE(launcher)
{
	struct pt_rig r;
	struct note *note;
};

FIXTURE_SETUP(launcher)
{
	self->note = cb_shared(sizeof(*self->note));
	ASSERT_OK(pt_rig_open(&self->r, N));
}

FIXTURE_TEARDOWN(launcher)
{
	pt_rig_close(&self->r);
}

TEST_F(launcher, forked_child_is_not_the_owner)
{
	struct pt_rig *r = &self->r;
	struct pt_kid k;
	pid_t pid = pt_fork(&k);

	ASSERT_LE(0, pid);
	if (!pid) {
		try_all(&r->s, self->note->ret);
		/* STATUS is for everybody who has the handle */
		self->note->ret[6] = cb_status(r->s.owner, 0, 0,
					       &self->note->st);
		pt_say(&k);
		pt_sleep_for_ever();
	}
	ASSERT_EQ(0, pt_await(&k));
	ALL_EPERM(self->note->ret);
	EXPECT_EQ(0, self->note->ret[6]);
	EXPECT_EQ(N, self->note->st.idle);
	EXPECT_EQ(CHIPBOOT_OWNER_ALIVE, self->note->st.owner_state);
	ASSERT_STATE(&r->s);
}

struct trial {
	struct cb_session *s;
	int *ret;
	int done;
};

static int tries_and_exits(void *arg)
{
	struct trial *t = arg;

	try_all(t->s, t->ret);
	_exit(0);
}

/* The same memory does not make the same process. */
TEST_F(launcher, vforked_child_is_not_the_owner)
{
	/* long double: the alignment a stack needs */
	static long double stack[PT_STACK / sizeof(long double)];
	struct trial t = { .s = &self->r.s, .ret = self->note->ret };
	pid_t pid = clone(tries_and_exits, (char *)stack + sizeof(stack),
			  CLONE_VM | CLONE_VFORK | SIGCHLD, &t);

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, cb_reap(pid));
	ALL_EPERM(self->note->ret);
	ASSERT_STATE(&self->r.s);
}

static int thread_aborts(void *arg)
{
	struct trial *t = arg;

	t->ret[0] = cb_abort(t->s->owner, 0, 2, -5, "by a thread", NULL);
	__atomic_store_n(&t->done, 1, __ATOMIC_RELEASE);
	syscall(SYS_exit, 0);
	return 0;
}

/* A thread is the same process. */
TEST_F(launcher, thread_is_the_owner)
{
	static struct trial t;
	struct pt_rig *r = &self->r;
	__u32 ch;

	t.s = &r->s;
	t.ret = self->note->ret;
	t.ret[0] = 1;
	ASSERT_LT(0, pt_thread(thread_aborts, &t, 0));
	while (!__atomic_load_n(&t.done, __ATOMIC_ACQUIRE))
		sched_yield();
	EXPECT_EQ(0, t.ret[0]);
	for (ch = 0; ch < 2; ch++)
		cb_want_verdict(&r->s, ch, CHIPBOOT_ORIGIN_OWNER, -5,
				"by a thread");
	ASSERT_STATE(&r->s);
}

static int *unwound;

/* The launcher's own cleanup, run by a child that left its part by an exception. */
static void unwinds(struct pt_rig *r, __u32 ch)
{
	__u32 i;

	(void)ch;
	unwound[0] = cb_abort(r->s.owner, 0, N, -ECANCELED,
			      "the launcher gives up", NULL);
	unwound[1] = cb_reset(r->s.owner, 0, N, 0);
	unwound[2] = cb_deadline(r->s.owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE);
	unwound[3] = cb_detach(r->s.owner);
	for (i = 0; i < N; i++)
		close(r->pub[i]);
	munmap((void *)(uintptr_t)r->s.map, (size_t)N * r->s.stride);
	close(r->s.observer);
	close(r->s.owner);
	close(r->s.control);
	_exit(1);
}

TEST_F(launcher, child_raises_out_of_the_launcher_s_frames)
{
	struct pt_rig *r = &self->r;
	__u32 ch;
	int i;

	unwound = self->note->ret;
	ASSERT_OK(pt_rig_start(r, 3, unwinds, false));
	ASSERT_EQ(0, pt_go(&r->kid[3]));
	/* its own channel by its exit, nothing else, and nobody hears of the owner */
	ASSERT_OK(pt_rig_died(r, 3, 1 << 8, 0));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(-EPERM, unwound[i]);
	EXPECT_STREQ("exited with code 1; last progress: comm_init of chip 3",
		     r->s.want[3].message);
	for (ch = 0; ch < N; ch++) {
		EXPECT_EQ(ch == 3 ? CHIPBOOT_ERROR : CHIPBOOT_IDLE,
			  cb_load_state(cb_page(&r->s, ch)));
		EXPECT_EQ(POLLPRI, cb_revents(r->pub[ch]));
	}
	ASSERT_OK(pt_rig_others_answer(r, 3));
}

int main(int argc, char **argv)
{
	pt_helper_main(argc, argv);
	return test_harness_run(argc, argv);
}
