// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 1 --mem 512 --timeout 1800 */
/* kernel: debug-kasan */
/*
 * Everything a program can ask of the module, with its first allocation failing, then
 * its second, its third, ... until it passes untouched. Copies from and to the
 * program's memory are among what fails. Each time: ENOMEM (EFAULT for a copy), the
 * session is what it was to the last bit, no descriptor is left, and the same call
 * then succeeds; or the failure was absorbed, and then all is as if there had been
 * none. What memory it may have left is found by the machine's end, when the module
 * must unload and kmemleak looks.
 *
 * Needs a kernel with fault injection (/proc/self/fail-nth), so a debug kernel.
 */
#include "chipboot_test.h"

#define POINTS_MAX	2000
#define CHANNELS	3
#define TEXT		"a cause of some length, so that it is somewhere of its own"

static int fail_nth_fd = -1;

/* Of all tests, each of which is a process. */
static struct {
	unsigned int failed;
	unsigned int absorbed;
} *points;

static __attribute__((constructor)) void share_points(void)
{
	points = cb_shared(sizeof(*points));
}

/* ---- fault injection --------------------------------------------------- */

static int put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* What may fail: every allocation that may sleep, and without a word in the log. */
static const struct {
	const char *path;
	const char *value;
} knobs[] = {
	{ "failslab/ignore-gfp-wait", "N" },
	{ "failslab/verbose", "0" },
	{ "fail_page_alloc/ignore-gfp-wait", "N" },
	{ "fail_page_alloc/min-order", "0" },
	{ "fail_page_alloc/verbose", "0" },
	{ "fail_usercopy/verbose", "0" },
};

/* "" or what is missing. */
static const char *fail_nth_set_up(void)
{
	static char why[200];
	char path[128];
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(knobs); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", knobs[i].path);
		err = put_text(path, knobs[i].value);
		if (err) {
			snprintf(why, sizeof(why), "%s: %s", path, strerror(-err));
			return why;
		}
	}
	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", cb_gettid());
	fail_nth_fd = open(path, O_RDWR | O_CLOEXEC);
	if (fail_nth_fd < 0) {
		snprintf(why, sizeof(why), "%s: %s", path, strerror(errno));
		return why;
	}
	return "";
}

/* From the next system call on, the @nth that can fail does. */
static int arm(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	return pwrite(fail_nth_fd, text, (size_t)len, 0) == len ? 0 : -errno;
}

/* Has it failed? Nothing fails from now on. */
static int disarm(void)
{
	char text[16] = "";
	/* If one was left, it may be this copy that fails. */
	ssize_t n = pread(fail_nth_fd, text, sizeof(text) - 1, 0);

	arm(0);
	return n > 0 && atoi(text) == 0;
}

/* ---- what is called ---------------------------------------------------- */

/* A session, and what a call needs to be called. */
struct world {
	struct cb_session s;
	int publisher;
	int other;		/* another descriptor, made by arrange() */
	pid_t child;
	void *map;
	char *text;		/* fdinfo */
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish publish;
	struct chipboot_page page;
};

/**
 * struct call - something to be asked of the module
 * @arrange: before it, with nothing failing; NULL: there is nothing to arrange
 * @call: the call; a descriptor, 0 or -errno
 * @done: it returned @ret, which is no error: tell the model, check and release
 *	what it gave; NULL: it changes nothing and gives nothing.  "" or a complaint
 * @may_stand: it may have been done in spite of EFAULT
 */
struct call {
	void (*arrange)(struct world *w);
	int (*call)(struct world *w);
	const char *(*done)(struct world *w, int ret);
	int may_stand;
};

/* Only what tests elsewhere have shown to work. */
static void must(int ret, const char *what)
{
	if (ret < 0) {
		fprintf(stderr, "# arrange: %s: %s\n", what, strerror(-ret));
		abort();
	}
}

static void claim_one(struct world *w)
{
	w->publisher = cb_claim(w->s.owner, 0, NULL);
	must(w->publisher, "CLAIM");
}

static void bind_one(struct world *w)
{
	claim_one(w);
	must(cb_bind(w->publisher, 0, 0), "BIND");
	cb_want_bound(&w->s, 0, getpid());
}

static void fork_one(struct world *w)
{
	pid_t parent = getpid();

	claim_one(w);
	w->child = fork();
	if (!w->child) {
		cb_die_with(parent);
		for (;;)
			pause();
	}
	must(w->child, "fork");
}

/* All channels ERROR, the first of them by its publisher, which is bound. */
static void answer_all(struct world *w)
{
	__u32 i;

	bind_one(w);
	w->publish = cb_an_error(1, 7, TEXT, strlen(TEXT));
	must(cb_publish(w->publisher, &w->publish), "PUBLISH");
	cb_want_publish(&w->s, 0, &w->publish, getpid());
	must(cb_abort(w->s.owner, 1, CHANNELS - 1, 5, TEXT, NULL), "ABORT");
	for (i = 1; i < CHANNELS; i++)
		cb_want_verdict(&w->s, i, CHIPBOOT_ORIGIN_OWNER, 5, TEXT);
}

/* A descriptor was given. */
static const char *close_it(struct world *w, int ret)
{
	(void)w;
	return close(ret) ? "close" : "";
}

static int call_open(struct world *w)
{
	(void)w;
	return cb_open();
}

static int call_version(struct world *w)
{
	struct chipboot_version v;

	return cb_version(w->s.control, &v);
}

static int call_create(struct world *w)
{
	return cb_create(w->s.control, 2, NULL);
}

/* Its parts no longer fit in a page. */
static int call_create_large(struct world *w)
{
	return cb_create(w->s.control, 150, NULL);
}

static int call_claim(struct world *w)
{
	return cb_claim(w->s.owner, 1, NULL);
}

static const char *close_claim(struct world *w, int ret)
{
	if (close(ret))
		return "close";
	cb_want_verdict(&w->s, 1, CHIPBOOT_ORIGIN_CLOSED, -EOWNERDEAD,
			"publisher handle closed without an answer");
	return "";
}

static int call_owner_observe(struct world *w)
{
	return cb_observe(w->s.owner, CHIPBOOT_EVENT_ALL);
}

static int call_observe(struct world *w)
{
	return cb_observe(w->s.observer, CHIPBOOT_EVENT_ERROR);
}

static int call_reset(struct world *w)
{
	return cb_reset(w->s.owner, 0, CHANNELS, 0);
}

static const char *want_reset(struct world *w, int ret)
{
	__u32 i;

	(void)ret;
	for (i = 0; i < CHANNELS; i++)
		cb_want_reset(&w->s, i, 0);
	return "";
}

static int call_reset_keep(struct world *w)
{
	return cb_reset(w->s.owner, 0, CHANNELS, CHIPBOOT_RESET_KEEP_PUBLISHERS);
}

static const char *want_reset_keep(struct world *w, int ret)
{
	__u32 i;

	(void)ret;
	for (i = 0; i < CHANNELS; i++)
		cb_want_reset(&w->s, i, 1);
	return "";
}

static int call_abort(struct world *w)
{
	return cb_abort(w->s.owner, 0, CHANNELS, 5, TEXT, NULL);
}

static const char *want_abort(struct world *w, int ret)
{
	__u32 i;

	(void)ret;
	for (i = 0; i < CHANNELS; i++)
		if (w->s.want[i].state == CHIPBOOT_IDLE)
			cb_want_verdict(&w->s, i, CHIPBOOT_ORIGIN_OWNER, 5, TEXT);
	return "";
}

static int call_detach(struct world *w)
{
	return cb_detach(w->s.owner);
}

static const char *want_detached(struct world *w, int ret)
{
	(void)ret;
	w->s.owner_state = CHIPBOOT_OWNER_DETACHED;
	w->s.change = 1;
	return "";
}

/* Never comes: a day from when the machine was started. */
#define A_DAY	(86400ull * 1000000000)

static int call_deadline(struct world *w)
{
	return cb_deadline(w->s.owner, A_DAY, CHIPBOOT_DEADLINE_ABSOLUTE);
}

static const char *want_deadline(struct world *w, int ret)
{
	(void)ret;
	w->s.deadline_ns = A_DAY;
	w->s.change = 1;
	return "";
}

/* Has been when it is set: gives its verdict before the call returns. */
static int call_deadline_past(struct world *w)
{
	return cb_deadline(w->s.owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE);
}

static const char *want_deadline_past(struct world *w, int ret)
{
	__u32 i;

	(void)ret;
	w->s.deadline_ns = 1;
	for (i = 0; i < CHANNELS; i++)
		cb_want_verdict(&w->s, i, CHIPBOOT_ORIGIN_DEADLINE, -ETIMEDOUT,
				"deadline passed");
	return "";
}

static int call_bind(struct world *w)
{
	return cb_bind(w->publisher, 0, SIGUSR1);
}

static const char *want_bound(struct world *w, int ret)
{
	(void)ret;
	cb_want_bound(&w->s, 0, getpid());
	return "";
}

static int call_bind_child(struct world *w)
{
	return cb_bind(w->publisher, w->child, SIGUSR1);
}

static const char *want_child_bound(struct world *w, int ret)
{
	(void)ret;
	cb_want_bound(&w->s, 0, w->child);
	return "";
}

static int call_progress(struct world *w)
{
	return cb_progress(w->publisher, 1, TEXT);
}

static const char *want_progress(struct world *w, int ret)
{
	(void)ret;
	cb_want_progress(&w->s, 0, TEXT);
	return "";
}

static int call_success(struct world *w)
{
	w->publish = cb_a_success(1, 17, w->words, CHIPBOOT_WORDS_MAX);
	return cb_publish(w->publisher, &w->publish);
}

static int call_error(struct world *w)
{
	w->publish = cb_an_error(1, 7, TEXT, strlen(TEXT));
	return cb_publish(w->publisher, &w->publish);
}

static const char *want_publish(struct world *w, int ret)
{
	(void)ret;
	cb_want_publish(&w->s, 0, &w->publish, getpid());
	return "";
}

static int call_read(struct world *w)
{
	return cb_read(w->s.observer, 0, &w->page);
}

static const char *check_read(struct world *w, int ret)
{
	static char why[400];

	(void)ret;
	return cb_page_diff(&w->s.want[0], &w->page, why, sizeof(why)) ? why : "";
}

static int call_owner_status(struct world *w)
{
	struct chipboot_status st;

	return cb_status(w->s.owner, 1, 0, &st);
}

static int call_publisher_status(struct world *w)
{
	struct chipboot_status st;

	return cb_status(w->publisher, 0, 0, &st);
}

static void change_one(struct world *w)
{
	claim_one(w);
	must(cb_progress(w->publisher, 1, TEXT), "PROGRESS");
	cb_want_progress(&w->s, 0, TEXT);
}

/* Seen is only what has been given out. */
static int call_ack(struct world *w)
{
	struct chipboot_status st;
	__u64 pending[4];

	return cb_status_pending(w->s.observer, 0, CHIPBOOT_STATUS_ACK, &st,
				 pending, 4);
}

static const char *want_seen(struct world *w, int ret)
{
	(void)ret;
	w->s.change = 0;
	return "";
}

/* Nobody has waited for this alone before. */
static void observe_error(struct world *w)
{
	w->other = cb_observe(w->s.owner, CHIPBOOT_EVENT_ERROR);
	must(w->other, "OBSERVE");
}

static int call_poll(struct world *w)
{
	int revents = cb_revents(w->other);

	/* The other descriptors of poll() are not the module's business. */
	return revents < 0 ? revents : 0;
}

static int call_owner_poll(struct world *w)
{
	int revents = cb_revents(w->s.owner);

	return revents < 0 ? revents : 0;
}

static int call_publisher_poll(struct world *w)
{
	int revents = cb_revents(w->publisher);

	return revents < 0 ? revents : 0;
}

static void epoll_and_claim(struct world *w)
{
	claim_one(w);
	w->other = cb_errno(epoll_create1(EPOLL_CLOEXEC));
	must(w->other, "epoll_create1");
}

/* A publisher handle is polled in two queues. */
static int call_epoll(struct world *w)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLERR };

	return cb_errno(epoll_ctl(w->other, EPOLL_CTL_ADD, w->publisher, &event));
}

static int call_mmap(struct world *w)
{
	w->map = mmap(NULL, CHANNELS * (size_t)w->s.stride, PROT_READ, MAP_SHARED,
		      w->s.observer, 0);
	return w->map == MAP_FAILED ? -errno : 0;
}

static const char *check_map(struct world *w, int ret)
{
	const size_t size = CHANNELS * (size_t)w->s.stride;
	int same = !memcmp(w->map, w->s.map, size);

	(void)ret;
	if (munmap(w->map, size))
		return "munmap";
	return same ? "" : "the mapping is another";
}

/* Without memory a line is left out, and none is wrong. */
static int call_fdinfo(struct world *w)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", w->s.observer);
	return cb_slurp(path, w->text, 4096);
}

static const char *check_fdinfo(struct world *w, int ret)
{
	const char *pending = strstr(w->text, "chipboot-pending:");

	(void)ret;
	if (!strstr(w->text, "chipboot-idle:\t3\n") ||
	    !strstr(w->text, "chipboot-owner-state:\talive\n"))
		return w->text;
	return !pending || !strcmp(pending, "chipboot-pending:\t0-2\n") ?
		"" : pending;
}

/* ---- each, until it passes untouched ------------------------------------ */

static int count_fds(void)
{
	int fd, count = 0;

	for (fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static const char *world_open(struct world *w, const struct call *c)
{
	memset(w->words, 0, sizeof(w->words));
	w->publisher = -1;
	w->other = -1;
	w->child = 0;
	if (cb_session_open(&w->s, CHANNELS))
		return w->s.why;
	if (c->arrange)
		c->arrange(w);
	/* A change that nobody has seen is part of what ACK is about. */
	return c->call == call_ack ? "" : cb_check(&w->s);
}

/* "" if nothing is left of it: neither a child nor a use of the module. */
static const char *world_close(struct world *w)
{
	char users[16];

	if (w->child) {
		kill(w->child, SIGKILL);
		cb_reap(w->child);
	}
	if (w->other >= 0)
		close(w->other);
	if (w->publisher >= 0)
		close(w->publisher);
	cb_session_close(&w->s);
	cb_slurp("/sys/module/chipboot/refcnt", users, sizeof(users));
	return strcmp(users, "0\n") ? "the module is in use" : "";
}

FIXTURE(fail_nth) {
	struct world *w;
};

FIXTURE_SETUP(fail_nth)
{
	ASSERT_STREQ("", fail_nth_set_up());
	self->w = calloc(1, sizeof(*self->w));
	ASSERT_NE(NULL, self->w);
	self->w->text = malloc(4096);
	ASSERT_NE(NULL, self->w->text);
	/* What a page fault allocates is not what is asked for here. */
	ASSERT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
}

FIXTURE_TEARDOWN(fail_nth)
{
	free(self->w->text);
	free(self->w);
}

/* After an error: is the session what it was? */
static const char *check_same(struct world *w, const struct call *c)
{
	struct chipboot_status st;

	if (c->call != call_ack)
		return cb_check(&w->s);
	/* Without acknowledging the change, which the retry is to do. */
	if (cb_status(w->s.observer, 0, 0, &st))
		return "STATUS";
	return st.holds & CHIPBOOT_EVENT_CHANGE ? "" : "CHANGE is no more";
}

FIXTURE_VARIANT(fail_nth) {
	struct call c;
};

FIXTURE_VARIANT_ADD(fail_nth, open)
{
	.c = { .call = call_open, .done = close_it },
};

FIXTURE_VARIANT_ADD(fail_nth, version)
{
	.c = { .call = call_version },
};

FIXTURE_VARIANT_ADD(fail_nth, create)
{
	.c = { .call = call_create, .done = close_it },
};

FIXTURE_VARIANT_ADD(fail_nth, create_large)
{
	.c = { .call = call_create_large, .done = close_it },
};

FIXTURE_VARIANT_ADD(fail_nth, claim)
{
	.c = { .call = call_claim, .done = close_claim },
};

FIXTURE_VARIANT_ADD(fail_nth, owner_observe)
{
	.c = { .call = call_owner_observe, .done = close_it },
};

FIXTURE_VARIANT_ADD(fail_nth, observe)
{
	.c = { .call = call_observe, .done = close_it },
};

FIXTURE_VARIANT_ADD(fail_nth, reset)
{
	.c = { .arrange = answer_all, .call = call_reset, .done = want_reset },
};

FIXTURE_VARIANT_ADD(fail_nth, reset_keep)
{
	.c = { .arrange = answer_all, .call = call_reset_keep, .done = want_reset_keep },
};

/* EFAULT "if another thread takes its memory away just then ... the verdicts stand" */
FIXTURE_VARIANT_ADD(fail_nth, abort)
{
	.c = { .call = call_abort, .done = want_abort, .may_stand = 1 },
};

FIXTURE_VARIANT_ADD(fail_nth, deadline)
{
	.c = { .call = call_deadline, .done = want_deadline },
};

FIXTURE_VARIANT_ADD(fail_nth, deadline_past)
{
	.c = { .call = call_deadline_past, .done = want_deadline_past },
};

FIXTURE_VARIANT_ADD(fail_nth, bind)
{
	.c = { .arrange = claim_one, .call = call_bind, .done = want_bound },
};

FIXTURE_VARIANT_ADD(fail_nth, bind_child)
{
	.c = { .arrange = fork_one, .call = call_bind_child, .done = want_child_bound },
};

FIXTURE_VARIANT_ADD(fail_nth, bind_again)
{
	.c = { .arrange = bind_one, .call = call_bind, .done = want_bound },
};

FIXTURE_VARIANT_ADD(fail_nth, progress)
{
	.c = { .arrange = claim_one, .call = call_progress, .done = want_progress },
};

FIXTURE_VARIANT_ADD(fail_nth, success)
{
	.c = { .arrange = claim_one, .call = call_success, .done = want_publish },
};

FIXTURE_VARIANT_ADD(fail_nth, error)
{
	.c = { .arrange = claim_one, .call = call_error, .done = want_publish },
};

FIXTURE_VARIANT_ADD(fail_nth, read)
{
	.c = { .call = call_read, .done = check_read },
};

FIXTURE_VARIANT_ADD(fail_nth, owner_status)
{
	.c = { .call = call_owner_status },
};

FIXTURE_VARIANT_ADD(fail_nth, publisher_status)
{
	.c = { .arrange = claim_one, .call = call_publisher_status },
};

FIXTURE_VARIANT_ADD(fail_nth, ack)
{
	.c = { .arrange = change_one, .call = call_ack, .done = want_seen },
};

FIXTURE_VARIANT_ADD(fail_nth, poll)
{
	.c = { .arrange = observe_error, .call = call_poll },
};

FIXTURE_VARIANT_ADD(fail_nth, owner_poll)
{
	.c = { .call = call_owner_poll },
};

FIXTURE_VARIANT_ADD(fail_nth, publisher_poll)
{
	.c = { .arrange = claim_one, .call = call_publisher_poll },
};

FIXTURE_VARIANT_ADD(fail_nth, epoll)
{
	.c = { .arrange = epoll_and_claim, .call = call_epoll },
};

FIXTURE_VARIANT_ADD(fail_nth, mmap)
{
	.c = { .call = call_mmap, .done = check_map },
};

FIXTURE_VARIANT_ADD(fail_nth, fdinfo)
{
	.c = { .call = call_fdinfo, .done = check_fdinfo },
};

TEST_F(fail_nth, until_untouched)
{
	const struct call *c = &variant->c;
	struct world *w = self->w;
	unsigned int nth, failed = 0, absorbed = 0;
	int before, ret, injected = 1;

	for (nth = 1; injected; nth++) {
		ASSERT_GE(POINTS_MAX, nth);
		ASSERT_STREQ("", world_open(w, c));
		before = count_fds();

		ASSERT_EQ(0, arm(nth));
		ret = c->call(w);
		injected = disarm();

		if (injected && ret < 0) {
			failed++;
			ASSERT_TRUE(ret == -ENOMEM || ret == -EFAULT) {
				TH_LOG("point %u: %s", nth, strerror(-ret));
			}
			ASSERT_EQ(before, count_fds());
			if (c->may_stand && ret == -EFAULT &&
			    *check_same(w, c))
				ASSERT_STREQ("", c->done(w, ret));
			ASSERT_STREQ("", check_same(w, c)) {
				TH_LOG("point %u: %s", nth, strerror(-ret));
			}
			ret = c->call(w);
		} else if (injected) {
			absorbed++;
		}
		ASSERT_LE(0, ret) {
			TH_LOG("point %u: %s", nth, strerror(-ret));
		}
		ASSERT_STREQ("", c->done ? c->done(w, ret) : "");
		ASSERT_EQ(before, count_fds());
		ASSERT_STREQ("", cb_check(&w->s));
		ASSERT_STREQ("", world_close(w));
	}
	ASSERT_LT(0, failed);
	printf("#   %u points fail, %u are absorbed\n", failed, absorbed);
	points->failed += failed;
	points->absorbed += absorbed;
}

/* No struct, no allocation: there is no point at which it could fail. */
TEST(detach)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct call c = { .call = call_detach };

	ASSERT_NE(NULL, w);
	ASSERT_STREQ("", fail_nth_set_up());
	ASSERT_STREQ("", world_open(w, &c));
	ASSERT_EQ(0, arm(1));
	ASSERT_EQ(0, call_detach(w));
	ASSERT_FALSE(disarm());
	want_detached(w, 0);
	ASSERT_STATE(&w->s);
	ASSERT_STREQ("", world_close(w));
	free(w);
}

/* A fixture of its own, for what stands in none runs first. */
FIXTURE(all) {
};

FIXTURE_SETUP(all)
{
}

FIXTURE_TEARDOWN(all)
{
}

TEST_F(all, number_of_points)
{
	ASSERT_LT(0, points->failed);
	printf("# %u points at which a call can fail, %u at which it need not\n",
	       points->failed, points->absorbed);
}

TEST_HARNESS_MAIN
