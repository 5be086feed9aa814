// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 --append slab_nomerge */
/*
 * Lifetime: what keeps a session and the module alive, what those that remain see
 * when something is closed, that nothing remains of what is gone, and what fdinfo
 * says in between.
 *
 * slab_nomerge: each slab cache is counted by itself.
 */
#include "system_test.h"

#include <sys/mman.h>

#define GROUP	"lifetime"
#define MODULE	"/vm/module.ko"		/* selftests/vm/init.c puts it there */

enum thing { CONTROL, OWNER, PUBLISHER, OBSERVER, MAPPING, THINGS };

static const char * const thing_name[THINGS] = {
	"control", "owner", "publisher", "observer", "mapping",
};

struct things {
	int fd[MAPPING];	/* -1: closed */
	const char *map;	/* NULL: unmapped */
	size_t size;
};

static void things_close(struct things *t, enum thing which)
{
	if (which == MAPPING) {
		if (t->map)
			munmap((void *)(uintptr_t)t->map, t->size);
		t->map = NULL;
	} else if (t->fd[which] >= 0) {
		close(t->fd[which]);
		t->fd[which] = -1;
	}
}

/* One of each, of a session of @n channels; 0 or -errno. */
static int things_open(struct things *t, __u32 n)
{
	struct chipboot_create c;
	int i;

	t->fd[CONTROL] = cb_open();
	if (t->fd[CONTROL] < 0)
		return t->fd[CONTROL];
	t->fd[OWNER] = cb_create(t->fd[CONTROL], n, &c);
	t->fd[PUBLISHER] = cb_claim(t->fd[OWNER], 0, NULL);
	t->fd[OBSERVER] = cb_observe(t->fd[OWNER], CHIPBOOT_EVENT_ALL);
	for (i = 0; i < MAPPING; i++) {
		if (t->fd[i] < 0)
			return t->fd[i];
	}
	t->map = cb_map(t->fd[OBSERVER], c.stride, 0, n);
	t->size = (size_t)n * c.stride;
	return t->map ? 0 : -errno;
}

/* ---- the module -------------------------------------------------------- */

FIXTURE(module)
{
	struct things t;
};

static int unload(void)
{
	return cb_errno((int)syscall(SYS_delete_module, "chipboot",
				     O_NONBLOCK));
}

/* The last reference to a file may be dropped by delayed work. */
static int unload_soon(void)
{
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	int ret;

	for (;;) {
		ret = unload();
		if (ret != -EWOULDBLOCK || cb_now() > end)
			return ret;
		usleep(1000);
	}
}

static int load(void)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = cb_errno((int)syscall(SYS_finit_module, fd, "", 0));
	close(fd);
	return ret;
}

FIXTURE_SETUP(module)
{
	ASSERT_EQ(0, pt_adopt_orphans());
}

/* Whatever happened, the next test finds it loaded. */
FIXTURE_TEARDOWN(module)
{
	int i;

	pt_kill_all();
	for (i = 0; i < THINGS; i++)
		things_close(&self->t, (enum thing)i);
	if (access(CB_DEVICE, F_OK))
		load();
}

TEST_F(module, one_thing_holds_it)
{
	struct chipboot_version v;
	struct chipboot_status st;
	struct chipboot_page page;
	struct things *t = &self->t;
	int keep, i;

	for (keep = 0; keep < THINGS; keep++) {
		ASSERT_EQ(0, things_open(t, 2));
		for (i = 0; i < THINGS; i++) {
			EXPECT_EQ(-EWOULDBLOCK, unload());
			if (i != keep)
				things_close(t, (enum thing)i);
		}
		for (i = 0; i < 3; i++)
			EXPECT_EQ(-EWOULDBLOCK, unload())
				TH_LOG("only the %s is left", thing_name[keep]);
		/* and an attempt has harmed nothing */
		switch (keep) {
		case CONTROL:
			EXPECT_EQ(0, cb_version(t->fd[CONTROL], &v));
			break;
		case MAPPING:
			cb_copy_page(&page, t->map);
			EXPECT_EQ(CHIPBOOT_ERROR, page.state);
			EXPECT_EQ(CHIPBOOT_ORIGIN_CLOSED, page.origin);
			break;
		default:
			EXPECT_EQ(0, cb_status(t->fd[keep], 0, 0, &st));
			EXPECT_EQ(2, st.channels);
		}
		things_close(t, (enum thing)keep);
		ASSERT_EQ(0, unload_soon());
		EXPECT_EQ(-ENOENT, cb_open());
		EXPECT_EQ(-ENOENT, unload());
		ASSERT_EQ(0, load());
		EXPECT_EQ(-EEXIST, load());
	}
}

/* A handle that nobody has but a message that nobody has read. */
TEST_F(module, in_flight)
{
	struct things *t = &self->t;
	int sock[2], i;

	for (i = CONTROL; i <= OBSERVER; i++) {
		int k;

		ASSERT_EQ(0, things_open(t, 1));
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0,
					sock));
		ASSERT_EQ(0, cb_send_fds(sock[1], &t->fd[i], 1));
		for (k = 0; k < THINGS; k++)
			things_close(t, (enum thing)k);
		EXPECT_EQ(-EWOULDBLOCK, unload()) TH_LOG("%s", thing_name[i]);
		close(sock[0]);
		close(sock[1]);
		ASSERT_EQ(0, unload_soon());
		ASSERT_EQ(0, load());
	}
}

/*
 * What does not hold it: a bound process that lives on, an epoll of handles that
 * are closed, a page in a pipe.
 */
TEST_F(module, what_remains)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct things *t = &self->t;
	char page[CHIPBOOT_PAGE_SIZE], piped[CHIPBOOT_PAGE_SIZE];
	struct pt_kid kid;
	struct iovec iov;
	int ep, i, p[2];
	pid_t pid;

	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid)
		pt_sleep_for_ever();
	ASSERT_EQ(0, things_open(t, 1));
	ASSERT_EQ(0, cb_bind(t->fd[PUBLISHER], pid, SIGTERM));
	ASSERT_EQ(0, cb_deadline(t->fd[OWNER], 3600 * 1000000000ull, 0));
	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, ep);
	for (i = OWNER; i <= OBSERVER; i++)
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, t->fd[i], &event));
	ASSERT_EQ(0, cb_success(t->fd[PUBLISHER], 1));
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	iov.iov_base = (void *)(uintptr_t)t->map;
	iov.iov_len = sizeof(page);
	ASSERT_EQ(st_by_frame_number() ? -EFAULT : (int)sizeof(page),
		  cb_errno((int)vmsplice(p[1], &iov, 1, 0)));
	memcpy(page, t->map, sizeof(page));
	for (i = 0; i < THINGS; i++)
		things_close(t, (enum thing)i);
	ASSERT_EQ(0, unload_soon());
	/* it dies with nobody there to be told */
	EXPECT_LT(0, cb_task_state(pid));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(SIGKILL, cb_reap(pid));
	EXPECT_EQ(0, epoll_wait(ep, &event, 1, 0));
	if (!st_by_frame_number()) {
		EXPECT_EQ((ssize_t)sizeof(piped),
			  read(p[0], piped, sizeof(piped)));
		EXPECT_EQ(0, memcmp(page, piped, sizeof(page)));
	}
	ASSERT_EQ(0, load());
	close(ep);
	close(p[0]);
	close(p[1]);
	pt_forget(&kid);
}

/* Everything of a process is gone when it can be reaped. */
TEST_F(module, after_a_kill)
{
	struct pt_kid kid[2];
	struct things t;
	pid_t pid, runtime;
	int round, i;

	for (round = 0; round < 10; round++) {
		runtime = pt_fork(&kid[1]);
		ASSERT_LE(0, runtime);
		if (!runtime)
			pt_sleep_for_ever();
		pid = pt_fork(&kid[0]);
		ASSERT_LE(0, pid);
		if (!pid) {
			if (things_open(&t, 8))
				_exit(1);
			for (i = 1; i < 8; i++)
				cb_bind(cb_claim(t.fd[OWNER], (__u32)i, NULL),
					0, SIGTERM);
			cb_deadline(t.fd[OWNER], 1000, 0);
			pt_say(&kid[0]);
			for (;;)
				cb_deadline(t.fd[OWNER], 10, 0);
		}
		ASSERT_EQ(0, pt_await(&kid[0]));
		EXPECT_EQ(-EWOULDBLOCK, unload());
		ASSERT_EQ(0, kill(pid, SIGKILL));
		EXPECT_EQ(SIGKILL, cb_reap(pid));
		EXPECT_EQ(0, unload());
		ASSERT_EQ(0, kill(runtime, SIGKILL));
		EXPECT_EQ(SIGKILL, cb_reap(runtime));
		ASSERT_EQ(0, load());
		pt_forget(&kid[0]);
		pt_forget(&kid[1]);
	}
}

/* ---- in any order ------------------------------------------------------ */

#define ORDERS	120	/* of five */

FIXTURE(order)
{
	struct pt_kid launcher, runtime;
	pid_t *pids;		/* the launcher, the runtime process */
	struct things t[ORDERS];
	__u64 id[ORDERS];
	long long max_all;
};

FIXTURE_VARIANT(order)
{
	bool launcher_dead, runtime_dead;
};

FIXTURE_VARIANT_ADD(order, all_alive)
{
	.launcher_dead = false,
};

FIXTURE_VARIANT_ADD(order, runtime_dead)
{
	.runtime_dead = true,
};

FIXTURE_VARIANT_ADD(order, launcher_dead)
{
	.launcher_dead = true,
};

FIXTURE_VARIANT_ADD(order, both_dead)
{
	.launcher_dead = true,
	.runtime_dead = true,
};

/*
 * Two channels, both bound to the runtime process: 0 is IDLE and has said progress,
 * its handle is open; 1 is SUCCESS and its handle closed.
 */
static void launch(struct pt_kid *launcher, struct pt_kid *runtime, pid_t *pids,
		   int sock, bool runtime_dies)
{
	struct things t;
	__u64 id;
	int i, pub;

	pt_unleashed = true;
	pids[0] = getpid();
	if (!pt_fork_prepared(runtime)) {
		pids[1] = getpid();
		pt_say(runtime);
		pt_sleep_for_ever();
	}
	if (cb_await(runtime->said[0]))
		_exit(10);
	for (i = 0; i < ORDERS; i++) {
		struct chipboot_status st;

		if (things_open(&t, 2))
			_exit(11);
		pub = cb_claim(t.fd[OWNER], 1, NULL);
		if (cb_bind(t.fd[PUBLISHER], pids[1], 0) ||
		    cb_bind(pub, pids[1], 0) || cb_success(pub, 1) ||
		    cb_progress(t.fd[PUBLISHER], 1, "comm_init") ||
		    cb_status(t.fd[OWNER], 0, 0, &st))
			_exit(12);
		close(pub);
		id = st.session_id;
		if (cb_send_fds(sock, t.fd, MAPPING) ||
		    send(sock, &id, sizeof(id), 0) != sizeof(id))
			_exit(13);
		for (pub = 0; pub < THINGS; pub++)
			things_close(&t, (enum thing)pub);
	}
	pt_say(launcher);
	pt_wait_go(launcher);
	if (runtime_dies) {
		/* a zombie then, of which everybody has heard */
		if (kill(pids[1], SIGKILL) || pt_wait_dead(pids[1]))
			_exit(14);
		pt_say(launcher);
		pt_wait_go(launcher);
	}
	_exit(0);
}

FIXTURE_SETUP(order)
{
	struct rlimit files = { .rlim_cur = 4096, .rlim_max = 4096 };
	int sock[2], i;
	pid_t pid;

	self->max_all = st_param(ST_ALL);
	self->pids = cb_shared(2 * sizeof(pid_t));
	ASSERT_EQ(0, pt_adopt_orphans());
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sock));
	ASSERT_EQ(0, pt_prepare(&self->runtime));
	pid = pt_fork(&self->launcher);
	ASSERT_LE(0, pid);
	if (!pid)
		launch(&self->launcher, &self->runtime, self->pids, sock[1],
		       variant->runtime_dead);
	for (i = 0; i < ORDERS; i++) {
		struct things *t = &self->t[i];

		ASSERT_EQ(0, cb_recv_fds(sock[0], t->fd, MAPPING));
		ASSERT_EQ((ssize_t)sizeof(self->id[i]),
			  recv(sock[0], &self->id[i], sizeof(self->id[i]), 0));
		t->size = 2 * (size_t)sysconf(_SC_PAGESIZE);
		t->map = cb_map(t->fd[OBSERVER], (__u32)sysconf(_SC_PAGESIZE),
				0, 2);
		ASSERT_NE(NULL, t->map);
	}
	close(sock[0]);
	close(sock[1]);
	ASSERT_EQ(0, pt_await(&self->launcher));
	if (variant->runtime_dead) {
		ASSERT_EQ(0, pt_go(&self->launcher));
		ASSERT_EQ(0, pt_await(&self->launcher));
	}
	if (variant->launcher_dead) {
		ASSERT_EQ(0, pt_go(&self->launcher));
		ASSERT_EQ(0, cb_reap(self->pids[0]));
	}
}

FIXTURE_TEARDOWN(order)
{
	int i, k;

	pt_kill_all();
	for (i = 0; i < ORDERS; i++) {
		for (k = 0; k < THINGS; k++)
			things_close(&self->t[i], (enum thing)k);
	}
	st_set_param(ST_ALL, (__u32)self->max_all);
}

/* The @number-th order of the five. */
static void nth_order(int number, enum thing order[THINGS])
{
	enum thing left[THINGS] = {
		CONTROL, OWNER, PUBLISHER, OBSERVER, MAPPING,
	};
	int i, k, n;

	for (i = 0; i < THINGS; i++) {
		n = THINGS - i;
		k = number % n;
		number /= n;
		order[i] = left[k];
		left[k] = left[n - 1];
	}
}

/* The page is the model's; seq and time are as they were seen the first time. */
static const char *check_page(struct cb_session *s, __u32 ch, const void *seen)
{
	static char why[400];
	struct chipboot_page page;

	cb_copy_page(&page, seen);
	if (page.seq & 1)
		return "seq is odd";
	if (s->touch[ch] != CB_SAME) {
		s->want[ch].seq = page.seq;
		s->want[ch].updated_ns = page.updated_ns;
		s->touch[ch] = CB_SAME;
	}
	return cb_page_diff(&s->want[ch], &page, why, sizeof(why));
}

static const char *check_poll(struct cb_session *s, int fd, __u32 events)
{
	const __u32 holds = cb_want_holds(s) | CHIPBOOT_EVENT_CHANGE;
	int seen = cb_revents(fd), want = 0;

	if (holds & events)
		want |= POLLIN | POLLRDNORM;
	if (holds & CHIPBOOT_EVENT_ERROR)
		want |= POLLPRI;
	if (s->owner_state == CHIPBOOT_OWNER_CLOSED ||
	    s->owner_state == CHIPBOOT_OWNER_DEAD)
		want |= POLLHUP;
	return seen == want ? NULL :
	       cb_complain(s, "poll should say %#x, says %#x", want, seen);
}

/* What one that is still there sees; NULL or the complaint. */
static const char *check_thing(struct cb_session *s, struct things *t,
			       enum thing which)
{
	const __u32 holds = cb_want_holds(s) | CHIPBOOT_EVENT_CHANGE;
	struct chipboot_version v;
	struct chipboot_page page;
	const char *why = NULL;
	int fd = which == MAPPING ? -1 : t->fd[which];
	int ret;
	__u32 ch;

	switch (which) {
	case CONTROL:
		ret = cb_version(fd, &v);
		if (ret)
			return "VERSION";
		ret = cb_create(fd, 1, NULL);
		if (ret < 0)
			return "CREATE";
		close(ret);
		return NULL;
	case OWNER:
		for (ch = 0; ch < 2 && !why; ch++)
			why = cb_check_status(s, fd, ch, 0, 0,
					      CHIPBOOT_EVENT_COMPLETE, holds);
		if (!why && cb_claim(fd, 0, NULL) != -EPERM)
			why = "CLAIM by a stranger";
		return why ? why : check_poll(s, fd, CHIPBOOT_EVENT_COMPLETE);
	case PUBLISHER:
		why = cb_check_status(s, fd, 0, 0, 1, CHIPBOOT_EVENT_COMPLETE,
				      holds);
		return why ? why : check_poll(s, fd, CHIPBOOT_EVENT_COMPLETE);
	case OBSERVER:
		for (ch = 0; ch < 2 && !why; ch++)
			why = cb_check_status(s, fd, ch, 0, 0,
					      CHIPBOOT_EVENT_ALL, holds);
		for (ch = 0; ch < 2 && !why; ch++) {
			if (cb_read(fd, ch, &page))
				return "READ";
			why = check_page(s, ch, &page);
		}
		return why ? why : check_poll(s, fd, CHIPBOOT_EVENT_ALL);
	case MAPPING:
		for (ch = 0; ch < 2 && !why; ch++)
			why = check_page(s, ch, t->map + ch * s->stride);
		return why;
	default:
		return "?";
	}
}

static const char *check_things(struct cb_session *s, struct things *t)
{
	const char *why = NULL;
	int i;

	for (i = 0; i < THINGS && !why; i++) {
		if (i == MAPPING ? !!t->map : t->fd[i] >= 0)
			why = check_thing(s, t, (enum thing)i);
	}
	return why;
}

TEST_F(order, close)
{
	struct chipboot_page want[2];
	struct chipboot_publish p = {
		.generation = 1,
		.state = CHIPBOOT_SUCCESS,
	};
	enum thing order[THINGS];
	struct cb_session s;
	const char *why;
	int i, k;

	for (i = 0; i < ORDERS; i++) {
		struct things *t = &self->t[i];

		memset(&s, 0, sizeof(s));
		memset(want, 0, sizeof(want));
		s.n = 2;
		s.stride = (__u32)sysconf(_SC_PAGESIZE);
		s.id = self->id[i];
		s.want = want;
		s.owner_pid = self->pids[0];
		s.owner_state = variant->launcher_dead ? CHIPBOOT_OWNER_DEAD :
							 CHIPBOOT_OWNER_ALIVE;
		want[0].generation = 1;
		want[1].generation = 1;
		cb_want_bound(&s, 0, self->pids[1]);
		cb_want_bound(&s, 1, self->pids[1]);
		cb_want_publish(&s, 1, &p, self->pids[1]);
		cb_want_progress(&s, 0, "comm_init");
		if (variant->runtime_dead) {
			pt_want_died(&s, 0, SIGKILL, 0);
			pt_want_died(&s, 1, SIGKILL, 0);
		}
		why = check_things(&s, t);
		ASSERT_EQ(NULL, why) TH_LOG("order %d: %s", i, why);
		nth_order(i, order);
		for (k = 0; k < THINGS; k++) {
			things_close(t, order[k]);
			if (order[k] == OWNER &&
			    s.owner_state == CHIPBOOT_OWNER_ALIVE)
				s.owner_state = CHIPBOOT_OWNER_CLOSED;
			if (order[k] == PUBLISHER &&
			    want[0].state == CHIPBOOT_IDLE)
				pt_want_closed(&s, 0);
			why = check_things(&s, t);
			ASSERT_EQ(NULL, why)
				TH_LOG("order %d, the %s was closed: %s", i,
				       thing_name[order[k]], why);
		}
	}
	/* and nothing of all that is left */
	ASSERT_EQ(0, st_set_param(ST_ALL, 2));
	k = cb_open();
	ASSERT_LE(0, k);
	i = cb_create(k, 2, NULL);
	EXPECT_LE(0, i);
	close(i);
	close(k);
}

/* ---- fdinfo ------------------------------------------------------------ */

/* As the kernel's %*pbl: "0-2,5". */
static void list_bits(const __u64 *bits, __u32 n, char *buf)
{
	__u32 i, end;

	*buf = '\0';
	for (i = 0; i < n; i = end) {
		end = i + 1;
		if (!(bits[i / 64] >> i % 64 & 1))
			continue;
		while (end < n && bits[end / 64] >> end % 64 & 1)
			end++;
		buf += sprintf(buf, "%u", i);
		if (end > i + 1)
			buf += sprintf(buf, "-%u", end - 1);
		*buf++ = ',';
		*buf = '\0';
	}
	if (n && buf[-1] == ',')
		buf[-1] = '\0';
}

#define FDINFO_MAX	32768

/* The whole text but the kernel's own mnt_id and ino, from what STATUS says. */
static int fdinfo_want(int fd, const char *kind, long channel, char *buf)
{
	static const char * const owner[] = {
		"alive", "detached", "closed", "dead",
	};
	static char bits[FDINFO_MAX / 2];
	static __u64 pending[64];
	struct chipboot_status st;
	int ret;

	ret = cb_status_pending(fd, CHIPBOOT_NO_CHANNEL, 0, &st, pending, 64);
	if (ret)
		return ret;
	bits[0] = ',';
	list_bits(pending, st.channels, bits + 1);
	buf += sprintf(buf, "pos:\t0\nflags:\t0%o\n",
		       (unsigned int)(fcntl(fd, F_GETFL) |
				      (fcntl(fd, F_GETFD) ? O_CLOEXEC : 0)));
	buf += sprintf(buf, "chipboot-session:\t%llu\nchipboot-kind:\t%s\n"
		       "chipboot-channels:\t%u\nchipboot-idle:\t%u\n"
		       "chipboot-success:\t%u\nchipboot-error:\t%u\n"
		       "chipboot-gone:\t%u\nchipboot-owner:\t%d\n"
		       "chipboot-owner-state:\t%s\nchipboot-deadline-ns:\t%llu\n"
		       "chipboot-pending:\t%s\n",
		       (unsigned long long)st.session_id, kind, st.channels,
		       st.idle, st.success, st.error, st.gone, st.owner_pid,
		       owner[st.owner_state & 3],
		       (unsigned long long)st.deadline_ns, bits + 1);
	if (channel >= 0)
		sprintf(buf, "chipboot-channel:\t%ld\nchipboot-stale:\t%d\n",
			channel, !st.handle_generation);
	return 0;
}

/* Without the lines "mnt_id:" and "ino:", which are the kernel's affair. */
static int fdinfo_seen(int fd, char *buf)
{
	char path[64], line[FDINFO_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	*buf = '\0';
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "mnt_id:", 7) && strncmp(line, "ino:", 4))
			buf = stpcpy(buf, line);
	}
	fclose(f);
	return 0;
}

/* @kind's fdinfo says what STATUS says; "" or the two texts. */
static const char *fdinfo_check(int fd, const char *kind, long channel)
{
	static char want[FDINFO_MAX], seen[FDINFO_MAX], why[2 * FDINFO_MAX];

	if (fdinfo_want(fd, kind, channel, want))
		return "STATUS";
	if (fdinfo_seen(fd, seen))
		return "no fdinfo";
	if (!strcmp(want, seen))
		return "";
	snprintf(why, sizeof(why), "%s: should be\n%.20000sis\n%.20000s", kind,
		 want, seen);
	return why;
}

#define EXPECT_FDINFO(owner) do { \
	EXPECT_STREQ("", fdinfo_check(t.fd[OWNER], "owner", -1)); \
	EXPECT_STREQ("", fdinfo_check(t.fd[PUBLISHER], "publisher", 0)); \
	EXPECT_STREQ("", fdinfo_check(t.fd[OBSERVER], "observer", -1)); \
	EXPECT_EQ(0, cb_status(t.fd[OBSERVER], 0, 0, &st)); \
	EXPECT_EQ(owner, st.owner_state); \
} while (0)

static const __u32 fdinfo_sizes[] = { 1, 2, 63, 64, 65, 200, 1024 };

TEST(fdinfo)
{
	struct rlimit files = { .rlim_cur = 4096, .rlim_max = 4096 };
	struct chipboot_status st;
	static int pub[1024];
	struct things t;
	char text[FDINFO_MAX];
	unsigned int k;
	__u32 n, i;
	pid_t pid;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	for (k = 0; k < ARRAY_SIZE(fdinfo_sizes); k++) {
		n = fdinfo_sizes[k];
		ASSERT_EQ(0, things_open(&t, n));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		/* a control handle has no session to tell of */
		ASSERT_EQ(0, fdinfo_seen(t.fd[CONTROL], text));
		EXPECT_EQ(NULL, strstr(text, "chipboot-"));

		/* every second, then some runs, then all */
		for (i = 1; i < n; i += 2) {
			pub[i] = cb_claim(t.fd[OWNER], i, NULL);
			ASSERT_LE(0, pub[i]);
			ASSERT_EQ(0, i % 4 == 1 ? cb_success(pub[i], 1) :
						  cb_error(pub[i], 1, -1, "no"));
			if (i < 8)
				EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		}
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		ASSERT_EQ(0, cb_deadline(t.fd[OWNER], ~0ull,
					 CHIPBOOT_DEADLINE_ABSOLUTE));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		ASSERT_EQ(0, cb_deadline(t.fd[OWNER], 0, 0));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		ASSERT_EQ(0, cb_abort(t.fd[OWNER], n / 2, n - n / 2, -2, "x",
				      NULL));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		ASSERT_EQ(0, cb_abort(t.fd[OWNER], 0, n, -2, "x", NULL));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);

		/* anew; GONE, and a handle that is stale */
		ASSERT_EQ(0, cb_reset(t.fd[OWNER], 0, n,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(cb_bind(t.fd[PUBLISHER], 0, 0) ||
			      cb_success(t.fd[PUBLISHER], 2));
		EXPECT_EQ(0, cb_reap(pid));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		EXPECT_EQ(1, st.gone);
		ASSERT_EQ(0, cb_reset(t.fd[OWNER], 0, 1, 0));
		EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
		ASSERT_EQ(0, fdinfo_seen(t.fd[PUBLISHER], text));
		EXPECT_NE(NULL, strstr(text, "chipboot-stale:\t1\n"));
		ASSERT_EQ(0, cb_detach(t.fd[OWNER]));
		EXPECT_FDINFO(CHIPBOOT_OWNER_DETACHED);
		for (i = 0; i < THINGS; i++)
			things_close(&t, (enum thing)i);
		for (i = 1; i < n; i += 2)
			close(pub[i]);
	}
}

/* Without its owner handle, and without its owner, who is still named. */
TEST(fdinfo_of_an_orphan)
{
	struct chipboot_status st;
	struct pt_kid kid;
	struct things t;
	int sock[2];
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sock));
	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid) {
		if (things_open(&t, 3) || cb_send_fds(sock[1], t.fd, MAPPING))
			_exit(1);
		close(t.fd[OWNER]);
		pt_say(&kid);
		pt_wait_go(&kid);
		_exit(0);
	}
	ASSERT_EQ(0, cb_recv_fds(sock[0], t.fd, MAPPING));
	ASSERT_EQ(0, pt_await(&kid));
	EXPECT_FDINFO(CHIPBOOT_OWNER_ALIVE);
	EXPECT_EQ(pid, st.owner_pid);
	close(t.fd[OWNER]);
	EXPECT_STREQ("", fdinfo_check(t.fd[PUBLISHER], "publisher", 0));
	EXPECT_STREQ("", fdinfo_check(t.fd[OBSERVER], "observer", -1));
	EXPECT_EQ(0, cb_status(t.fd[OBSERVER], 0, 0, &st));
	EXPECT_EQ(CHIPBOOT_OWNER_CLOSED, st.owner_state);
	ASSERT_EQ(0, pt_go(&kid));
	ASSERT_EQ(0, pt_wait_dead(pid));
	EXPECT_EQ(0, cb_status(t.fd[OBSERVER], 0, 0, &st));
	EXPECT_EQ(CHIPBOOT_OWNER_DEAD, st.owner_state);
	EXPECT_STREQ("", fdinfo_check(t.fd[PUBLISHER], "publisher", 0));
	EXPECT_STREQ("", fdinfo_check(t.fd[OBSERVER], "observer", -1));
	EXPECT_EQ(0, cb_reap(pid));
	EXPECT_STREQ("", fdinfo_check(t.fd[OBSERVER], "observer", -1));
	EXPECT_EQ(0, cb_status(t.fd[OBSERVER], 0, 0, &st));
	EXPECT_EQ(pid, st.owner_pid);
	close(t.fd[CONTROL]);
	close(t.fd[PUBLISHER]);
	close(t.fd[OBSERVER]);
	close(sock[0]);
	close(sock[1]);
	pt_forget(&kid);
}

/* The reader's pid namespace counts: who is not there is 0. */
TEST(fdinfo_elsewhere)
{
	char text[FDINFO_MAX];
	struct things t;
	int status, i;
	pid_t pid;

	ASSERT_EQ(0, things_open(&t, 70));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		pid = fork();
		if (pid)
			_exit(cb_reap(pid) >> 8);
		if (getpid() != 1)
			_exit(2);
		for (i = OWNER; i <= OBSERVER; i++) {
			if (fdinfo_seen(t.fd[i], text) ||
			    !strstr(text, "chipboot-owner:\t0\n") ||
			    !strstr(text, "chipboot-owner-state:\talive\n"))
				_exit(3);
			if (*fdinfo_check(t.fd[i], thing_name[i],
					  i == PUBLISHER ? 0 : -1))
				_exit(4);
		}
		_exit(0);
	}
	status = cb_reap(pid);
	EXPECT_EQ(0, status);
	/* the same for its owner */
	snprintf(text, sizeof(text), "chipboot-owner:\t%d\n", getpid());
	{
		char seen[FDINFO_MAX];

		ASSERT_EQ(0, fdinfo_seen(t.fd[OBSERVER], seen));
		EXPECT_NE(NULL, strstr(seen, text));
	}
	for (i = 0; i < THINGS; i++)
		things_close(&t, (enum thing)i);
}

/* ---- nothing is left --------------------------------------------------- */

#define BATCH		20
#define SESSIONS	10000

/* One session and what can be done with it; @k says what.  It stays open. */
static int live(struct things *t, int *more, int control, int k, pid_t runtime)
{
	const __u32 n = 1 + (__u32)k % 5;
	static __u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	struct chipboot_create c;
	struct chipboot_page page;
	int owner, pub, obs;

	owner = cb_create(control, n, &c);
	if (owner < 0)
		return owner;
	pub = cb_claim(owner, n - 1, NULL);
	obs = cb_observe(owner, CHIPBOOT_EVENT_ALL);
	t->fd[CONTROL] = -1;
	t->fd[OWNER] = owner;
	t->fd[PUBLISHER] = pub;
	t->fd[OBSERVER] = obs;
	t->map = cb_map(obs, c.stride, 0, n);
	t->size = (size_t)n * c.stride;
	if (pub < 0 || obs < 0 || !t->map)
		return -EPROTO;

	/* refusals, which have allocated something by then */
	if (cb_claim(owner, n - 1, NULL) != -EBUSY ||
	    cb_ioctl(owner, CHIPBOOT_IOC_CLAIM, (void *)8) != -EFAULT ||
	    cb_progress_n(pub, 1, (void *)8, 9, 0) != -EFAULT ||
	    cb_bind(pub, 1, 0) != -EPERM || cb_success(pub, 7) != -ESTALE ||
	    cb_observe(obs, ~0u) != -EINVAL)
		return -EPROTO;
	if (k % 2 && cb_deadline(owner, 3600 * 1000000000ull, 0))
		return -EPROTO;
	if (k % 3 && cb_bind(pub, k % 3 == 1 ? runtime : 0, k & 4 ? SIGTERM : 0))
		return -EPROTO;
	if (k % 7 == 1 && cb_bind(pub, runtime, 0))
		return -EPROTO;
	if (cb_progress(pub, 1, "comm_init") || cb_revents(obs) < 0 ||
	    cb_revents(pub) < 0 || cb_revents(owner) < 0 ||
	    cb_read(obs, 0, &page))
		return -EPROTO;
	*more = cb_observe(obs, 0);
	switch (k % 8) {
	case 0:		/* never answered */
		break;
	case 1:
		p = cb_a_success(1, (__u64)k, words, CHIPBOOT_WORDS_MAX);
		if (cb_publish(pub, &p))
			return -EPROTO;
		break;
	case 2:
		if (cb_error(pub, 1, -5, "E01001"))
			return -EPROTO;
		break;
	case 3:		/* a second round, with the same publisher */
		if (cb_abort(owner, 0, n, -1, "enough", NULL) ||
		    cb_reset(owner, 0, n, CHIPBOOT_RESET_KEEP_PUBLISHERS) ||
		    cb_success(pub, 2))
			return -EPROTO;
		break;
	case 4:		/* and with another */
		if (cb_abort(owner, 0, n, -1, "enough", NULL) ||
		    cb_reset(owner, 0, n, 0))
			return -EPROTO;
		close(*more);
		*more = cb_claim(owner, n - 1, NULL);
		if (*more < 0 || cb_bind(*more, 0, 0))
			return -EPROTO;
		break;
	case 5:
		if (cb_deadline(owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE))
			return -EPROTO;
		break;
	case 6:
		if (cb_detach(owner))
			return -EPROTO;
		break;
	case 7:		/* fires some time later, or not */
		if (cb_deadline(owner, (__u64)k * 1000, 0))
			return -EPROTO;
		break;
	}
	return 0;
}

/* A launcher: BATCH sessions, a runtime process that dies, and then its own end. */
static int live_batch(int batch)
{
	int control = cb_open(), more[BATCH], i, k, ret = 0;
	struct things t[BATCH];
	pid_t runtime;

	runtime = fork();
	if (!runtime)
		pt_sleep_for_ever();
	for (i = 0; i < BATCH && !ret; i++)
		ret = live(&t[i], &more[i], control, batch * BATCH + i,
			   runtime);
	/* some are gone before it dies, the others hear of it */
	for (i = 0; i < BATCH / 4 && !ret; i++) {
		for (k = 0; k < THINGS; k++)
			things_close(&t[i], (enum thing)((batch + k) % THINGS));
		close(more[i]);
	}
	kill(runtime, SIGKILL);
	if (cb_reap(runtime) != SIGKILL)
		ret = -EPROTO;
	for (; i < BATCH / 2 && !ret; i++) {
		for (k = 0; k < THINGS; k++)
			things_close(&t[i], (enum thing)((batch + k) % THINGS));
		close(more[i]);
	}
	/* the rest go with the process */
	return ret;
}

/* In GROUP; 0 or what live() said. */
static int live_sessions(int sessions)
{
	pid_t worker = fork(), pid;
	int batch, status;

	if (worker)
		return worker < 0 ? -errno : cb_reap(worker);
	if (st_group_enter(GROUP))
		_exit(100);
	for (batch = 0; batch < sessions / BATCH; batch++) {
		pid = fork();
		if (!pid) {
			int ret;

			/* its own death signals are none of its business */
			signal(SIGTERM, SIG_IGN);
			ret = live_batch(batch);
			_exit(ret ? -ret : 0);
		}
		status = cb_reap(pid);
		if (status)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 101);
	}
	_exit(0);
}

/*
 * What GROUP has been charged for and not given back, in bytes, when it is empty of
 * processes.  memory.high makes it give up what it has in store; frees are
 * on their way for a moment, on a busy host for longer, so it is looked at until it is
 * @enough, or has not become less in 200 looks.
 */
static long long charge_left(long long enough)
{
	long long least = LLONG_MAX, now;
	int same = 0;

	while (least > enough && same < 200) {
		st_group_write(GROUP, "memory.high", "0");
		st_group_write(GROUP, "memory.high", "max");
		now = st_group_number(GROUP, "memory.current");
		same = now < least ? 0 : same + 1;
		if (now < least)
			least = now;
		usleep(50 * 1000);
	}
	return least;
}

/* What GROUP is charged for, as far as the kernel tells. */
static void print_charges(void)
{
	char text[8192], *line, *rest = text;

	if (cb_slurp(st_group_file(GROUP, "memory.stat"), text, sizeof(text)) < 0)
		return;
	while ((line = strsep(&rest, "\n"))) {
		size_t len = strlen(line);

		if (len > 2 && strcmp(line + len - 2, " 0"))
			ksft_print_msg("memory.stat: %s\n", line);
	}
}

#define CACHES_MAX	512

struct caches {
	int n;
	struct {
		char name[48];
		long long objects;
	} cache[CACHES_MAX];
};

/* Objects in each slab cache, none of them only kept for later. */
static int caches_count(struct caches *c)
{
	char line[512], path[128];
	FILE *f;
	int i;

	for (i = 0; i < c->n; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink",
			 c->cache[i].name);
		st_write(path, "1");
	}
	c->n = 0;
	f = fopen("/proc/slabinfo", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f) && c->n < CACHES_MAX) {
		if (sscanf(line, "%47s %lld", c->cache[c->n].name,
			   &c->cache[c->n].objects) == 2)
			c->n++;
	}
	fclose(f);
	return c->n > 10 ? 0 : -EPROTO;
}

/*
 * By how much a cache may have grown.  Those of charged memory are still when nobody
 * calls; from the others the whole kernel allocates, which is never quite at rest.
 */
static long long cache_slack(const char *name)
{
	if (!strncmp(name, "kmalloc-cg-", 11) || !strcmp(name, "pid") ||
	    !strcmp(name, "cred_jar"))
		return SESSIONS / 1000 - 1;
	if (!strncmp(name, "kmalloc-", 8) || !strcmp(name, "filp"))
		return SESSIONS / 10 - 1;
	return LLONG_MAX;
}

/*
 * The first cache that has grown by more, and by how much; "" if none has.  What a
 * processor has at hand counts as used, so it is looked at more than once.
 */
static const char *caches_grown(const struct caches *before)
{
	static struct caches now;
	static char why[128];
	long long grown;
	int try, i, k;

	for (try = 0; try < 40; try++) {
		now = *before;
		if (caches_count(&now))
			return "no slabinfo";
		why[0] = '\0';
		for (i = 0; i < now.n && !why[0]; i++) {
			grown = now.cache[i].objects;
			for (k = 0; k < before->n; k++) {
				if (!strcmp(now.cache[i].name,
					    before->cache[k].name))
					grown -= before->cache[k].objects;
			}
			if (grown > cache_slack(now.cache[i].name))
				snprintf(why, sizeof(why), "%s: %lld",
					 now.cache[i].name, grown);
		}
		if (!why[0])
			break;
		usleep(50 * 1000);
	}
	return why;
}

/* Pages in use, by all the counters there are of free ones. */
static long long pages_used(void)
{
	long long managed = 0, unused = 0, v;
	char line[256];
	FILE *f;

	st_write("/proc/sys/vm/drop_caches", "3");
	st_write("/proc/sys/vm/stat_refresh", "1");
	f = fopen("/proc/zoneinfo", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " managed %lld", &v) == 1)
			managed += v;
		else if (sscanf(line, " nr_free_pages %lld", &v) == 1 ||
			 sscanf(line, " count: %lld", &v) == 1)
			unused += v;
	}
	if (f)
		fclose(f);
	return managed - unused;
}

/*
 * A page lost in each thousand sessions is ten pages in all, and MemFree wanders by
 * more than that.  What a memory cgroup has been charged does not: all that the module
 * allocates for a session is charged to the group of who made it, to the byte for
 * slab objects and to the page for pages, and stays charged until it is free.  So the
 * sessions live in a group of their own, and when its processes are gone and it has
 * given up what the kernel keeps in store for it, it must have as much as before,
 * give or take four pages.  That the charges are there at all is in limits.c.
 *
 * Beside that, for what may be lost without being charged: objects in slab caches,
 * after they were shrunk, and used pages, less sharply.
 */
TEST(nothing_is_left)
{
	const long long charge_slack = 4 * sysconf(_SC_PAGESIZE);
	const long long pages_slack = SESSIONS / 20;
	static struct caches before;
	long long was_left, left, used[2];
	long long max_all = st_param(ST_ALL);
	int control, fd;

	ASSERT_EQ(0, st_group_make(GROUP));
	/* what the first few bring with them stays */
	ASSERT_EQ(0, live_sessions(SESSIONS / 10));
	was_left = charge_left(0);
	ASSERT_EQ(0, caches_count(&before));
	/* now their names are known, and they can be shrunk */
	ASSERT_EQ(0, caches_count(&before));
	used[0] = pages_used();

	ASSERT_EQ(0, live_sessions(SESSIONS));
	left = charge_left(was_left);
	used[1] = pages_used();

	ksft_print_msg("%d sessions: charged %lld bytes before, %lld after; used %lld pages before, %lld after\n",
		       SESSIONS, was_left, left, used[0], used[1]);
	EXPECT_GE(was_left + charge_slack, left)
		print_charges();
	EXPECT_GE(used[0] + pages_slack, used[1]);
	EXPECT_STREQ("", caches_grown(&before));
	/* and the module counts none */
	ASSERT_EQ(0, st_set_param(ST_ALL, 1));
	control = cb_open();
	fd = cb_create(control, 1, NULL);
	EXPECT_LE(0, fd);
	close(fd);
	close(control);
	ASSERT_EQ(0, st_set_param(ST_ALL, (__u32)max_all));
	EXPECT_EQ(0, st_group_remove(GROUP));
}

TEST_HARNESS_MAIN
