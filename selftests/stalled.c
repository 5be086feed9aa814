// SPDX-License-Identifier: GPL-2.0-only
/*
 * A caller whose memory does not come delays nobody: its system call sleeps in the
 * middle of copying, on a page that userfaultfd(2) withholds, while everything else in
 * the session is done.  What it was about comes too late, or not, when it is let
 * go on; it can be killed meanwhile; and rewriting its memory while it sleeps gains
 * nothing.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */

#include "process_test.h"

#include <linux/userfaultfd.h>
#include <pthread.h>

#define CHANNELS	8
/* the one whose publisher is stalled */
#define VICTIM		3

/* ---- withheld memory ----------------------------------------------------- */

#define PAGES		4
/* Of memory: what userfaultfd stops at. */
#define PAGE		((size_t)getpagesize())

/* Pages that come when they are let come, with what is written beside them. */
struct trap {
	int uffd;
	char *mem;		/* the caller's */
	char *beside;		/* its contents, always readable */
};

/*
 * Withhold the pages of which the bit is set in @missing; the others have what
 * stands in @t->beside.  0 or -errno.
 */
static int trap_open(struct trap *t, unsigned int missing)
{
	const int prot = PROT_READ | PROT_WRITE;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int i;

	t->mem = mmap(NULL, PAGES * PAGE, prot, flags, -1, 0);
	if (t->mem == MAP_FAILED)
		return -errno;
	t->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (t->uffd < 0 || ioctl(t->uffd, UFFDIO_API, &api))
		return -errno;
	for (i = 0; i < PAGES; i++) {
		if (!(missing & 1u << i)) {
			memcpy(t->mem + i * PAGE, t->beside + i * PAGE, PAGE);
			continue;
		}
		reg.range.start = cb_ptr(t->mem + i * PAGE);
		reg.range.len = PAGE;
		if (ioctl(t->uffd, UFFDIO_REGISTER, &reg))
			return -errno;
	}
	return 0;
}

static void trap_close(struct trap *t)
{
	if (t->uffd >= 0)
		close(t->uffd);
	if (t->mem)
		munmap(t->mem, PAGES * PAGE);
	t->uffd = -1;
	t->mem = NULL;
}

/* Somebody has run into a withheld page: its address, or -errno. */
static long trap_sprung(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;
	int ret;

	ret = cb_errno(poll(&p, 1, CB_PATIENCE_MS));
	if (ret <= 0)
		return ret ? ret : -ETIMEDOUT;
	if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return -errno;
	return msg.event == UFFD_EVENT_PAGEFAULT ?
		(long)msg.arg.pagefault.address : -EPROTO;
}

/* The same, as the number of the page. */
static int trap_await(struct trap *t)
{
	long address = trap_sprung(t->uffd);

	return address < 0 ? (int)address :
			     (int)((address - (long)t->mem) / (long)PAGE);
}

static int trap_release(struct trap *t, int page)
{
	struct uffdio_copy copy = {
		.dst = cb_ptr(t->mem + page * PAGE),
		.src = cb_ptr(t->beside + page * PAGE),
		.len = PAGE,
	};

	return cb_errno(ioctl(t->uffd, UFFDIO_COPY, &copy));
}

/* ---- the stalled call ---------------------------------------------------- */

enum stall_at {
	PUBLISH_STRUCT,
	PUBLISH_WORDS,
	PUBLISH_WORDS_TAIL,
	PUBLISH_MESSAGE,
	PROGRESS_STRUCT,
	PROGRESS_MESSAGE,
};

static bool is_publish(enum stall_at at)
{
	return at <= PUBLISH_MESSAGE;
}

static const char stalled_text[] = "from memory that came late";

struct stall {
	struct trap trap;
	int fd;
	unsigned long cmd;
	void *arg;
	int page;		/* the one that it waits for */
	int ret;
	__u32 done;
	pthread_t thread;
	/* for the model: pointers into trap.beside */
	struct chipboot_publish publish;
};

/* The struct at the beginning, words or text at @data; withhold what is asked for. */
static int stall_prepare(struct stall *st, enum stall_at at, int publisher,
			 __u32 generation)
{
	size_t data = PAGE;
	struct chipboot_progress progress = {
		.generation = generation,
		.message_len = sizeof(stalled_text) - 1,
	};
	struct chipboot_publish p;
	int ret;

	st->fd = publisher;
	st->cmd = is_publish(at) ? CHIPBOOT_IOC_PUBLISH :
				     CHIPBOOT_IOC_PROGRESS;
	st->trap.beside = calloc(PAGES, PAGE);
	if (!st->trap.beside)
		return -ENOMEM;
	/* half of the words are there */
	if (at == PUBLISH_WORDS_TAIL)
		data += PAGE - CHIPBOOT_WORDS_MAX / 2 * sizeof(__u64);
	if (at == PUBLISH_MESSAGE) {
		memcpy(st->trap.beside + data, stalled_text,
		       sizeof(stalled_text));
		p = cb_an_error(generation, -71, st->trap.beside + data,
				sizeof(stalled_text) - 1);
	} else {
		p = cb_a_success(generation, 7,
				 (__u64 *)(st->trap.beside + data),
				 CHIPBOOT_WORDS_MAX);
	}
	if (!is_publish(at))
		memcpy(st->trap.beside + data, stalled_text,
		       sizeof(stalled_text));
	st->publish = p;

	st->page = at == PUBLISH_STRUCT || at == PROGRESS_STRUCT ? 0 :
		   at == PUBLISH_WORDS_TAIL ? 2 : 1;
	ret = trap_open(&st->trap, 1u << st->page);
	if (ret)
		return ret;
	/* the caller's pointers, now that it is known where the memory is */
	if (p.words)
		p.words = cb_ptr(st->trap.mem + data);
	if (p.message)
		p.message = cb_ptr(st->trap.mem + data);
	progress.message = cb_ptr(st->trap.mem + data);
	if (is_publish(at))
		memcpy(st->trap.beside, &p, sizeof(p));
	else
		memcpy(st->trap.beside, &progress, sizeof(progress));
	if (st->page)
		memcpy(st->trap.mem, st->trap.beside, PAGE);
	st->arg = st->trap.mem;
	return 0;
}

static void *stall_main(void *arg)
{
	struct stall *st = arg;

	st->ret = cb_ioctl(st->fd, st->cmd, st->arg);
	__atomic_store_n(&st->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static bool stall_done(struct stall *st)
{
	return __atomic_load_n(&st->done, __ATOMIC_ACQUIRE);
}

/* In a thread of its own; return when it is stalled at the page it should be. */
static int stall_start(struct stall *st)
{
	int ret = -pthread_create(&st->thread, NULL, stall_main, st);

	if (!ret)
		ret = trap_await(&st->trap);
	return ret == st->page ? 0 : ret < 0 ? ret : -EPROTO;
}

/* Let it go on; what it returned. */
static int stall_finish(struct stall *st)
{
	int ret = stall_done(st) ? -EPROTO : trap_release(&st->trap, st->page);

	if (ret < 0)
		return ret;
	pthread_join(st->thread, NULL);
	return st->ret;
}

static void stall_close(struct stall *st)
{
	trap_close(&st->trap);
	free(st->trap.beside);
	st->trap.beside = NULL;
}

/* ---- everybody else ------------------------------------------------------ */

struct rig {
	struct cb_session s;
	int pub[CHANNELS];
	__u32 gen[CHANNELS];
	struct stall st;
};

static const char *rig_open(struct rig *r)
{
	__u32 ch;
	int ret;

	memset(r, 0, sizeof(*r));
	r->st.trap.uffd = -1;
	ret = cb_session_open(&r->s, CHANNELS);
	if (ret)
		return r->s.why;
	for (ch = 0; ch < CHANNELS; ch++) {
		r->pub[ch] = cb_claim(r->s.owner, ch, &r->gen[ch]);
		if (r->pub[ch] < 0)
			return cb_complain(&r->s, "CLAIM: %s",
					   strerror(-r->pub[ch]));
	}
	return cb_check(&r->s);
}

static void rig_close(struct rig *r)
{
	__u32 ch;

	for (ch = 0; ch < CHANNELS; ch++) {
		if (r->pub[ch] >= 0)
			close(r->pub[ch]);
	}
	cb_session_close(&r->s);
	stall_close(&r->st);
}

#define TRY(ret, what) do { \
	int _ret = (ret); \
	if (_ret < 0) \
		return cb_complain(s, "%s: %s", what, strerror(-_ret)); \
} while (0)

#define CHECK() do { \
	const char *_why = cb_check(s); \
	if (*_why) \
		return _why; \
} while (0)

/* STATUS and poll of owner and publishers; they have never acknowledged a change. */
static const char *ask_all_handles(struct rig *r)
{
	struct cb_session *s = &r->s;
	const __u32 holds = cb_want_holds(s) | CHIPBOOT_EVENT_CHANGE;
	int revents = 0;
	const char *why;
	__u32 ch;

	if (holds & CHIPBOOT_EVENT_COMPLETE)
		revents |= POLLIN | POLLRDNORM;
	if (holds & CHIPBOOT_EVENT_ERROR)
		revents |= POLLPRI;
	why = cb_check_status(s, s->owner, VICTIM, 0, 0,
			      CHIPBOOT_EVENT_COMPLETE, holds);
	if (!why && cb_revents(s->owner) != revents)
		why = cb_complain(s, "poll of the owner says %#x",
				  cb_revents(s->owner));
	for (ch = 0; !why && ch < CHANNELS; ch++) {
		if (r->pub[ch] < 0)
			continue;
		why = cb_check_status(s, r->pub[ch], ch, 0, r->gen[ch],
				      CHIPBOOT_EVENT_COMPLETE, holds);
		if (!why && cb_revents(r->pub[ch]) != revents)
			why = cb_complain(s, "poll of publisher %u says %#x",
					  ch, cb_revents(r->pub[ch]));
	}
	return why ? why : "";
}

static const char *publish_seed(struct rig *r, __u32 ch, __u64 seed)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = cb_a_success(r->gen[ch], seed, words,
						 CHIPBOOT_WORDS_MAX);
	struct cb_session *s = &r->s;

	TRY(cb_publish(r->pub[ch], &p), "PUBLISH");
	cb_want_publish(s, ch, &p, getpid());
	CHECK();
	return "";
}

/*
 * All that others may do while one is stalled; each is complete when it returns, and the
 * check after it looks at every channel by STATUS, READ, mapping and poll.  Of the
 * victim's channel only the progress text changes, if its handle is at hand.
 */
static const char *meanwhile(struct rig *r)
{
	static const char still[] = "still waiting for memory";
	struct cb_session *s = &r->s;
	__u32 ch, aborted, seq;
	const char *why;
	int observer;

	for (ch = 0; ch < CHANNELS; ch++) {
		if (ch == VICTIM)
			continue;
		why = publish_seed(r, ch, ch);
		if (*why)
			return why;
	}
	why = ask_all_handles(r);
	if (*why)
		return why;
	if (r->pub[VICTIM] >= 0) {
		TRY(cb_progress(r->pub[VICTIM], r->gen[VICTIM], still),
		    "PROGRESS");
		cb_want_progress(s, VICTIM, still);
		CHECK();
	}

	/* RESET, CLAIM, PROGRESS, ABORT of one of the others */
	TRY(cb_reset(s->owner, 0, 1, 0), "RESET");
	cb_want_reset(s, 0, 0);
	CHECK();
	close(r->pub[0]);
	r->pub[0] = cb_claim(s->owner, 0, &r->gen[0]);
	TRY(r->pub[0], "CLAIM");
	CHECK();
	TRY(cb_abort(s->owner, 0, 1, -5, "not this one", &aborted), "ABORT");
	cb_want_verdict(s, 0, CHIPBOOT_ORIGIN_OWNER, -5, "not this one");
	CHECK();
	if (aborted != 1)
		return cb_complain(s, "%u aborted", aborted);
	why = ask_all_handles(r);
	if (*why)
		return why;

	/* a deadline comes and goes */
	s->deadline_ns = cb_now() + 3600u * 1000000000u;
	s->change = 1;
	TRY(cb_deadline(s->owner, s->deadline_ns, CHIPBOOT_DEADLINE_ABSOLUTE),
	    "SET_DEADLINE");
	CHECK();
	s->deadline_ns = 0;
	s->change = 1;
	TRY(cb_deadline(s->owner, 0, 0), "SET_DEADLINE");
	CHECK();

	observer = cb_observe(s->owner, CHIPBOOT_EVENT_ALL);
	TRY(observer, "OBSERVE");
	close(observer);
	/* nobody is in the middle of writing a page */
	for (ch = 0; ch < CHANNELS; ch++) {
		seq = __atomic_load_n(&cb_page(s, ch)->seq, __ATOMIC_ACQUIRE);
		if (seq & 1)
			return cb_complain(s, "channel %u: seq is odd", ch);
	}
	if (stall_done(&r->st))
		return cb_complain(s, "the stalled one came back with %d",
				   r->st.ret);
	return "";
}

/* ---- a stalled publisher, let go on -------------------------------------- */

FIXTURE(stalled) {
	struct rig r;
};

FIXTURE_VARIANT(stalled) {
	enum stall_at at;
};

FIXTURE_VARIANT_ADD(stalled, publish_struct) {
	.at = PUBLISH_STRUCT,
};

FIXTURE_VARIANT_ADD(stalled, publish_words) {
	.at = PUBLISH_WORDS,
};

FIXTURE_VARIANT_ADD(stalled, publish_tail_of_words) {
	.at = PUBLISH_WORDS_TAIL,
};

FIXTURE_VARIANT_ADD(stalled, publish_message) {
	.at = PUBLISH_MESSAGE,
};

FIXTURE_VARIANT_ADD(stalled, progress_struct) {
	.at = PROGRESS_STRUCT,
};

FIXTURE_VARIANT_ADD(stalled, progress_message) {
	.at = PROGRESS_MESSAGE,
};

FIXTURE_SETUP(stalled)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_open(r));
	ASSERT_EQ(0, stall_prepare(&r->st, variant->at, r->pub[VICTIM],
				   r->gen[VICTIM]));
	ASSERT_EQ(0, stall_start(&r->st));
	ASSERT_STATE(&r->s);
	ASSERT_OK(meanwhile(r));
}

FIXTURE_TEARDOWN(stalled)
{
	rig_close(&self->r);
}

/* What the stalled call was about has come to pass. */
static void want_it(struct rig *r, enum stall_at at)
{
	if (is_publish(at))
		cb_want_publish(&r->s, VICTIM, &r->st.publish, getpid());
	else
		cb_want_progress(&r->s, VICTIM, stalled_text);
}

TEST_F(stalled, nothing_happened)
{
	struct rig *r = &self->r;

	ASSERT_EQ(0, stall_finish(&r->st));
	want_it(r, variant->at);
	ASSERT_STATE(&r->s);
}

TEST_F(stalled, another_has_answered)
{
	struct rig *r = &self->r;

	ASSERT_OK(publish_seed(r, VICTIM, 99));
	ASSERT_EQ(-EALREADY, stall_finish(&r->st));
	ASSERT_STATE(&r->s);
}

TEST_F(stalled, aborted)
{
	struct rig *r = &self->r;
	__u32 n;

	ASSERT_EQ(0, cb_abort(r->s.owner, 0, CHANNELS, -9, "enough", &n));
	ASSERT_EQ(1, n);
	cb_want_verdict(&r->s, VICTIM, CHIPBOOT_ORIGIN_OWNER, -9, "enough");
	ASSERT_STATE(&r->s);
	ASSERT_EQ(is_publish(variant->at) ? -ECANCELED : -EALREADY,
		  stall_finish(&r->st));
	ASSERT_STATE(&r->s);
}

TEST_F(stalled, deadline_passed)
{
	struct rig *r = &self->r;

	/* long past: it has fired when the ioctl returns */
	ASSERT_EQ(0, cb_deadline(r->s.owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE));
	r->s.deadline_ns = 1;
	pt_want_deadline(&r->s, VICTIM);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(is_publish(variant->at) ? -ECANCELED : -EALREADY,
		  stall_finish(&r->st));
	ASSERT_STATE(&r->s);
}

/* The next generation has begun; @flags of RESET. */
static const char *next_generation(struct rig *r, __u32 flags)
{
	struct cb_session *s = &r->s;
	__u32 ch;

	TRY(cb_abort(s->owner, VICTIM, 1, -9, "enough", NULL), "ABORT");
	cb_want_verdict(s, VICTIM, CHIPBOOT_ORIGIN_OWNER, -9, "enough");
	CHECK();
	TRY(cb_reset(s->owner, 0, CHANNELS, flags), "RESET");
	for (ch = 0; ch < CHANNELS; ch++) {
		cb_want_reset(s, ch, flags != 0);
		r->gen[ch]++;
	}
	CHECK();
	return "";
}

TEST_F(stalled, reset_and_claimed_anew)
{
	struct rig *r = &self->r;
	int old = r->pub[VICTIM];

	ASSERT_OK(next_generation(r, 0));
	r->pub[VICTIM] = cb_claim(r->s.owner, VICTIM, NULL);
	ASSERT_LE(0, r->pub[VICTIM]);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(-ESTALE, stall_finish(&r->st));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(POLLERR, cb_revents(old));
	close(old);
	ASSERT_STATE(&r->s);
	ASSERT_OK(publish_seed(r, VICTIM, 99));
}

TEST_F(stalled, reset_and_answered_anew)
{
	struct rig *r = &self->r;
	int old = r->pub[VICTIM];

	ASSERT_OK(next_generation(r, 0));
	r->pub[VICTIM] = cb_claim(r->s.owner, VICTIM, NULL);
	ASSERT_LE(0, r->pub[VICTIM]);
	ASSERT_OK(publish_seed(r, VICTIM, 99));
	ASSERT_EQ(-ESTALE, stall_finish(&r->st));
	ASSERT_STATE(&r->s);
	close(old);
	ASSERT_STATE(&r->s);
}

/* The handle is good, the generation it was meant for is not. */
TEST_F(stalled, reset_with_publishers_kept)
{
	struct rig *r = &self->r;

	ASSERT_OK(next_generation(r, CHIPBOOT_RESET_KEEP_PUBLISHERS));
	ASSERT_EQ(-ESTALE, stall_finish(&r->st));
	ASSERT_STATE(&r->s);
	ASSERT_OK(publish_seed(r, VICTIM, 99));
}

/* The call holds on to its handle; when it is done, that was the last copy. */
TEST_F(stalled, handle_closed)
{
	struct rig *r = &self->r;

	close(r->pub[VICTIM]);
	r->pub[VICTIM] = -1;
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, stall_finish(&r->st));
	want_it(r, variant->at);
	if (!is_publish(variant->at))
		pt_want_closed(&r->s, VICTIM);
	ASSERT_STATE(&r->s);
}

/* ---- killed while stalled ------------------------------------------------ */

enum tie {
	BOUND,			/* others hold copies of its handle */
	BOUND_SOLE_HOLDER,
	UNBOUND_SOLE_HOLDER,
};

FIXTURE(killed) {
	struct rig r;
	struct pt_kid kid;
	int sock[2];
	int uffd;
};

FIXTURE_VARIANT(killed) {
	enum stall_at at;
	enum tie tie;
};

FIXTURE_VARIANT_ADD(killed, publish_struct) {
	.at = PUBLISH_STRUCT,
	.tie = BOUND,
};

FIXTURE_VARIANT_ADD(killed, publish_words) {
	.at = PUBLISH_WORDS,
	.tie = BOUND,
};

FIXTURE_VARIANT_ADD(killed, publish_message) {
	.at = PUBLISH_MESSAGE,
	.tie = BOUND,
};

FIXTURE_VARIANT_ADD(killed, progress_struct) {
	.at = PROGRESS_STRUCT,
	.tie = BOUND,
};

FIXTURE_VARIANT_ADD(killed, progress_message) {
	.at = PROGRESS_MESSAGE,
	.tie = BOUND,
};

FIXTURE_VARIANT_ADD(killed, publish_struct_sole) {
	.at = PUBLISH_STRUCT,
	.tie = BOUND_SOLE_HOLDER,
};

FIXTURE_VARIANT_ADD(killed, publish_words_sole) {
	.at = PUBLISH_WORDS,
	.tie = BOUND_SOLE_HOLDER,
};

FIXTURE_VARIANT_ADD(killed, publish_message_sole) {
	.at = PUBLISH_MESSAGE,
	.tie = BOUND_SOLE_HOLDER,
};

FIXTURE_VARIANT_ADD(killed, publish_words_unbound) {
	.at = PUBLISH_WORDS,
	.tie = UNBOUND_SOLE_HOLDER,
};

FIXTURE_VARIANT_ADD(killed, progress_message_unbound) {
	.at = PROGRESS_MESSAGE,
	.tie = UNBOUND_SOLE_HOLDER,
};

FIXTURE_SETUP(killed)
{
	self->uffd = -1;
	ASSERT_EQ(0, pt_adopt_orphans());
	ASSERT_OK(rig_open(&self->r));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				self->sock));
}

FIXTURE_TEARDOWN(killed)
{
	pt_kill_all();
	close(self->uffd);
	rig_close(&self->r);
}

TEST_F(killed, by_sigkill)
{
	struct rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_page at_once;
	char diff[400];
	__u64 begin;

	ASSERT_LE(0, pt_fork(&self->kid));
	if (self->kid.pid == getpid()) {
		if (stall_prepare(&r->st, variant->at, r->pub[VICTIM],
				  r->gen[VICTIM]) ||
		    cb_send_fds(self->sock[1], &r->st.trap.uffd, 1))
			_exit(100);
		pt_wait_go(&self->kid);
		cb_ioctl(r->st.fd, r->st.cmd, r->st.arg);
		_exit(101);
	}
	ASSERT_EQ(0, cb_recv_fds(self->sock[0], &self->uffd, 1));
	if (variant->tie != UNBOUND_SOLE_HOLDER) {
		ASSERT_EQ(0, cb_bind(r->pub[VICTIM], self->kid.pid, 0));
		cb_want_bound(s, VICTIM, self->kid.pid);
	}
	if (variant->tie != BOUND) {
		close(r->pub[VICTIM]);
		r->pub[VICTIM] = -1;
	}
	ASSERT_STATE(s);
	ASSERT_EQ(0, pt_go(&self->kid));
	ASSERT_LT(0, trap_sprung(self->uffd));
	ASSERT_OK(meanwhile(r));

	/* nobody ever lets it go on */
	begin = cb_now();
	ASSERT_EQ(0, kill(self->kid.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(self->kid.pid));
	cb_copy_page(&at_once, cb_page(s, VICTIM));
	TH_LOG("dead after %llu us",
	       (unsigned long long)(cb_now() - begin) / 1000);
	if (variant->tie != UNBOUND_SOLE_HOLDER) {
		ASSERT_EQ(CHIPBOOT_ORIGIN_EXIT, at_once.origin);
		ASSERT_EQ(SIGKILL, at_once.wait_status);
		pt_want_died(s, VICTIM, SIGKILL, 0);
	} else {
		ASSERT_EQ(CHIPBOOT_ORIGIN_CLOSED, at_once.origin);
		pt_want_closed(s, VICTIM);
	}
	ASSERT_STATE(s);
	ASSERT_EQ(NULL, cb_page_diff(&s->want[VICTIM], &at_once, diff,
				     sizeof(diff))) TH_LOG("%s", diff);
	ASSERT_EQ(SIGKILL, cb_reap(self->kid.pid));
	ASSERT_STATE(s);
}

/* The owner, in the middle of ABORT: it has not aborted anything. */
TEST(owner_killed_in_abort)
{
	struct chipboot_abort *a;
	struct chipboot_status st;
	struct chipboot_page page;
	struct trap t = { .uffd = -1 };
	struct cb_session s;
	int fds[2], sock[2];
	pid_t owner;
	__u32 ch;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		t.beside = calloc(PAGES, PAGE);
		if (!t.beside || cb_session_open(&s, CHANNELS) ||
		    trap_open(&t, 1u << 1))
			_exit(100);
		fds[0] = t.uffd;
		fds[1] = s.observer;
		if (cb_send_fds(sock[1], fds, 2))
			_exit(101);
		a = (void *)t.mem;
		a->count = CHANNELS;
		a->error_code = -1;
		a->message = cb_ptr(t.mem + PAGE);
		a->message_len = 1;
		cb_ioctl(s.owner, CHIPBOOT_IOC_ABORT, a);
		_exit(102);
	}
	ASSERT_EQ(0, cb_recv_fds(sock[0], fds, 2));
	ASSERT_LT(0, trap_sprung(fds[0]));
	ASSERT_EQ(0, kill(owner, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(owner));
	ASSERT_EQ(0, cb_status(fds[1], CHIPBOOT_NO_CHANNEL, 0, &st));
	EXPECT_EQ(CHIPBOOT_OWNER_DEAD, st.owner_state);
	EXPECT_EQ(CHANNELS, st.idle);
	EXPECT_EQ(0, st.error);
	for (ch = 0; ch < CHANNELS; ch++) {
		ASSERT_EQ(0, cb_read(fds[1], ch, &page));
		EXPECT_EQ(CHIPBOOT_IDLE, page.state);
		EXPECT_EQ(0, page.seq);
	}
	ASSERT_EQ(SIGKILL, cb_reap(owner));
	close(fds[0]);
	close(fds[1]);
	close(sock[0]);
	close(sock[1]);
}

/* ---- others that stall --------------------------------------------------- */

FIXTURE(others) {
	struct rig r;
	struct trap *t;
};

FIXTURE_SETUP(others)
{
	ASSERT_OK(rig_open(&self->r));
	self->t = &self->r.st.trap;
	self->t->beside = calloc(PAGES, PAGE);
	ASSERT_NE(NULL, self->t->beside);
}

FIXTURE_TEARDOWN(others)
{
	rig_close(&self->r);
}

/* Withhold @page; the argument stands at the beginning of page 0. */
static int others_start(struct rig *r, int fd, unsigned long cmd, int page)
{
	r->st.fd = fd;
	r->st.cmd = cmd;
	r->st.page = page;
	r->st.arg = r->st.trap.mem;
	return stall_start(&r->st);
}

/* The owner's ABORT takes effect when it has its memory, on what is IDLE then. */
static void stalled_abort(struct __test_metadata *_metadata, struct rig *r,
			  int page)
{
	struct cb_session *s = &r->s;
	struct trap *t = &r->st.trap;
	struct chipboot_abort a = {
		.count = CHANNELS,
		.error_code = -4,
		.message_len = sizeof(stalled_text) - 1,
	};
	__u32 ch, n;

	memcpy(t->beside + PAGE, stalled_text, sizeof(stalled_text));
	ASSERT_EQ(0, trap_open(t, 1u << page));
	a.message = cb_ptr(t->mem + PAGE);
	memcpy(t->beside, &a, sizeof(a));
	if (page)
		memcpy(t->mem, &a, sizeof(a));
	ASSERT_EQ(0, others_start(r, s->owner, CHIPBOOT_IOC_ABORT, page));
	ASSERT_STATE(s);
	ASSERT_OK(meanwhile(r));
	/* RESET of all, and ABORT of some, pass it by */
	ASSERT_OK(next_generation(r, CHIPBOOT_RESET_KEEP_PUBLISHERS));
	ASSERT_EQ(0, cb_abort(s->owner, 0, 2, -8, "two", &n));
	ASSERT_EQ(2, n);
	for (ch = 0; ch < 2; ch++)
		cb_want_verdict(s, ch, CHIPBOOT_ORIGIN_OWNER, -8, "two");
	ASSERT_STATE(s);
	ASSERT_OK(publish_seed(r, 5, 55));
	ASSERT_FALSE(stall_done(&r->st));

	ASSERT_EQ(0, stall_finish(&r->st));
	for (ch = 2; ch < CHANNELS; ch++) {
		if (ch != 5)
			cb_want_verdict(s, ch, CHIPBOOT_ORIGIN_OWNER, -4,
					stalled_text);
	}
	ASSERT_STATE(s);
	memcpy(&a, t->mem, sizeof(a));
	ASSERT_EQ(CHANNELS - 3, a.aborted);
}

TEST_F(others, abort_struct)
{
	stalled_abort(_metadata, &self->r, 0);
}

TEST_F(others, abort_message)
{
	stalled_abort(_metadata, &self->r, 1);
}

TEST_F(others, bind_struct)
{
	struct rig *r = &self->r;

	/* all zero: the caller's own process */
	ASSERT_EQ(0, trap_open(self->t, 1u << 0));
	ASSERT_EQ(0, others_start(r, r->pub[VICTIM], CHIPBOOT_IOC_BIND, 0));
	ASSERT_OK(meanwhile(r));
	ASSERT_OK(next_generation(r, 0));
	ASSERT_EQ(-ESTALE, stall_finish(&r->st));
	ASSERT_STATE(&r->s);
}

/* The claim counts when its number has been delivered. */
TEST_F(others, claim)
{
	struct rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_claim c = { .channel = VICTIM };
	int fd;

	memcpy(self->t->beside, &c, sizeof(c));
	ASSERT_EQ(0, trap_open(self->t, 1u << 0));
	ASSERT_EQ(0, others_start(r, s->owner, CHIPBOOT_IOC_CLAIM, 0));
	ASSERT_OK(meanwhile(r));
	ASSERT_OK(next_generation(r, 0));
	fd = stall_finish(&r->st);
	ASSERT_LE(0, fd);
	memcpy(&c, self->t->mem, sizeof(c));
	EXPECT_EQ(2, c.generation);
	ASSERT_STATE(s);
	close(r->pub[VICTIM]);
	r->pub[VICTIM] = fd;
	ASSERT_OK(publish_seed(r, VICTIM, 3));
}

/* A READ is of the moment before its reader's memory failed to come. */
TEST_F(others, read)
{
	struct rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_read *read;
	struct chipboot_page before;
	char diff[400];

	ASSERT_EQ(0, cb_progress(r->pub[VICTIM], 1, "before"));
	cb_want_progress(s, VICTIM, "before");
	ASSERT_STATE(s);
	before = s->want[VICTIM];
	ASSERT_EQ(0, trap_open(self->t, 1u << 1));
	read = (void *)self->t->mem;
	read->channel = VICTIM;
	read->page = cb_ptr(self->t->mem + PAGE);
	ASSERT_EQ(0, others_start(r, s->observer, CHIPBOOT_IOC_READ, 1));
	ASSERT_OK(meanwhile(r));
	ASSERT_OK(next_generation(r, 0));
	ASSERT_EQ(0, stall_finish(&r->st));
	ASSERT_EQ(NULL, cb_page_diff(&before, (void *)(self->t->mem + PAGE),
				     diff, sizeof(diff))) TH_LOG("%s", diff);
	ASSERT_STATE(s);
}

/* The same for STATUS: it acknowledges what it tells, not what came after. */
TEST_F(others, status)
{
	struct rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_status *st;
	int observer, i;
	__u64 pending;

	observer = cb_observe(s->owner, CHIPBOOT_EVENT_CHANGE);
	ASSERT_LE(0, observer);
	ASSERT_EQ(0, trap_open(self->t, 1u << 1));
	st = (void *)self->t->mem;
	st->flags = CHIPBOOT_STATUS_ACK;
	st->channel = VICTIM;
	st->pending = cb_ptr(self->t->mem + PAGE);
	st->pending_words = 1;
	ASSERT_EQ(0, others_start(r, observer, CHIPBOOT_IOC_STATUS, 1));
	ASSERT_OK(meanwhile(r));
	ASSERT_OK(next_generation(r, 0));
	ASSERT_EQ(0, stall_finish(&r->st));
	EXPECT_EQ(CHANNELS, st->idle);
	EXPECT_EQ(1, st->channel_generation);
	EXPECT_EQ(0, st->success);
	memcpy(&pending, self->t->mem + PAGE, sizeof(pending));
	EXPECT_EQ((1u << CHANNELS) - 1, pending);
	EXPECT_EQ(POLLIN | POLLRDNORM, cb_revents(observer));
	ASSERT_STATE(s);
	/* and one that is not stalled acknowledges all */
	for (i = 0; i < 2; i++) {
		struct chipboot_status now;

		ASSERT_EQ(0, cb_status(observer, VICTIM, CHIPBOOT_STATUS_ACK,
				       &now));
		EXPECT_EQ(i ? 0 : CHIPBOOT_EVENT_CHANGE, now.holds);
	}
	EXPECT_EQ(0, cb_revents(observer));
	close(observer);
}

/* ---- memory rewritten between two faults --------------------------------- */

/*
 * Page 0 has the head of the struct and is there, page 1 its tail, page 2 and 3 the
 * words or the text of A and of B; these are withheld.
 *
 * 1. The call reads the head of A and is stalled at the tail.  The head becomes B's.
 *    The tail comes: A's or B's.
 * 2. The call is stalled at the words or the text.  The whole struct becomes C, which
 *    would be refused, and would count for more than there is.
 *
 * Each field was read once, so it is A's or B's, never C's; what is published is as
 * long as the length says that was read.
 */
enum torn { TORN_SUCCESS, TORN_ERROR, TORN_PROGRESS };

FIXTURE(torn) {
	struct cb_session s;
};

FIXTURE_VARIANT(torn) {
	enum torn torn;
	size_t size;
};

FIXTURE_VARIANT_ADD(torn, success) {
	.torn = TORN_SUCCESS,
	.size = sizeof(struct chipboot_publish),
};

FIXTURE_VARIANT_ADD(torn, error) {
	.torn = TORN_ERROR,
	.size = sizeof(struct chipboot_publish),
};

FIXTURE_VARIANT_ADD(torn, progress) {
	.torn = TORN_PROGRESS,
	.size = sizeof(struct chipboot_progress),
};

FIXTURE_SETUP(torn)
{
	ASSERT_EQ(0, cb_session_open(&self->s, 1)) TH_LOG("%s", self->s.why);
}

FIXTURE_TEARDOWN(torn)
{
	cb_session_close(&self->s);
}

#define SMALL	3

union any {
	struct chipboot_publish publish;
	struct chipboot_progress progress;
	char bytes[sizeof(struct chipboot_publish)];
};

/* A and B differ wherever they may; @large is B's length. */
static union any torn_struct(enum torn torn, __u32 generation, char *data,
			     bool b, __u32 large)
{
	union any any = { .bytes = { 0 } };
	const __u32 len = b ? large : SMALL;

	if (torn == TORN_PROGRESS) {
		any.progress.generation = generation;
		any.progress.message = cb_ptr(data);
		any.progress.message_len = len;
		return any;
	}
	any.publish.generation = generation;
	if (torn == TORN_ERROR) {
		any.publish.state = CHIPBOOT_ERROR;
		any.publish.error_code = b ? -200 : -100;
		any.publish.message = cb_ptr(data);
		any.publish.message_len = len;
		return any;
	}
	any.publish.state = CHIPBOOT_SUCCESS;
	any.publish.device_ctx = b ? 0xb1 : 0xa1;
	any.publish.local_window_base = b ? 0xb2 : 0xa2;
	any.publish.actual_window_size = b ? 0xb3 : 0xa3;
	any.publish.words = cb_ptr(data);
	any.publish.count = len;
	return any;
}

/* "" if the page has what could be read of A, B; @data is of the one it waited for. */
static const char *torn_check(struct cb_session *s, enum torn torn,
			      const struct chipboot_page *p,
			      const char *data, __u32 large)
{
	const __u64 *words = (const void *)data;
	__u32 i;

#define A_OR_B(field, a, b) do { \
	if (p->field != (a) && p->field != (b)) \
		return cb_complain(s, #field " is %#llx", \
				   (unsigned long long)p->field); \
} while (0)
	if (torn == TORN_SUCCESS) {
		A_OR_B(state, CHIPBOOT_SUCCESS, CHIPBOOT_SUCCESS);
		A_OR_B(error_code, 0, 0);
		A_OR_B(device_ctx, 0xa1, 0xb1);
		A_OR_B(local_window_base, 0xa2, 0xb2);
		A_OR_B(actual_window_size, 0xa3, 0xb3);
		A_OR_B(count, SMALL, (__s32)large);
		for (i = 0; i < CHIPBOOT_WORDS_MAX; i++) {
			if (p->words[i] != (i < (__u32)p->count ? words[i] : 0))
				return cb_complain(s, "count %d, words[%u] is %#llx",
						   p->count, i,
						   (unsigned long long)
						   p->words[i]);
		}
		A_OR_B(message[0], 0, 0);
		return "";
	}
	if (torn == TORN_ERROR) {
		A_OR_B(state, CHIPBOOT_ERROR, CHIPBOOT_ERROR);
		A_OR_B(error_code, -100, -200);
	} else {
		A_OR_B(state, CHIPBOOT_IDLE, CHIPBOOT_IDLE);
		A_OR_B(error_code, 0, 0);
	}
	A_OR_B(count, 0, 0);
	i = (__u32)strnlen(p->message, sizeof(p->message));
	if (i != SMALL && i != large)
		return cb_complain(s, "%u bytes of text", i);
	if (memcmp(p->message, data, i))
		return cb_complain(s, "another text");
	for (; i < CHIPBOOT_MESSAGE_SIZE; i++)
		A_OR_B(message[i], 0, 0);
	return "";
#undef A_OR_B
}

static bool torn_long(enum torn torn, const struct chipboot_page *p)
{
	return torn == TORN_SUCCESS ? p->count != SMALL :
				      p->message[SMALL] != 0;
}

static size_t torn_length_at(enum torn torn)
{
	return torn == TORN_SUCCESS ? offsetof(struct chipboot_publish, count) :
	       torn == TORN_ERROR ?
		offsetof(struct chipboot_publish, message_len) :
		offsetof(struct chipboot_progress, message_len);
}

TEST_F(torn, between_two_faults)
{
	const enum torn torn = variant->torn;
	const size_t size = variant->size;
	struct cb_session *s = &self->s;
	unsigned int small = 0, large = 0, refused = 0;
	struct chipboot_page page, before;
	int pub, round, i, ret, tail_of_b, too_large;
	const __u32 fits = torn == TORN_SUCCESS ? CHIPBOOT_WORDS_MAX :
						  CHIPBOOT_MESSAGE_SIZE - 1;
	__u32 generation, len;
	union any a, b, c;
	struct stall st;
	struct trap *t = &st.trap;
	size_t split;

	/* every split, each with either tail, and with a length for B that is too large */
	for (round = 0; round < (int)(size / 4 - 1) * 4; round++) {
		split = 4 + (size_t)(round / 4) * 4;
		tail_of_b = round & 1;
		too_large = round & 2;
		len = too_large ? 100000 : fits;
		pub = cb_claim(s->owner, 0, &generation);
		ASSERT_LE(0, pub);

		memset(&st, 0, sizeof(st));
		t->beside = calloc(PAGES, PAGE);
		ASSERT_NE(NULL, t->beside);
		memset(t->beside + 2 * PAGE, 'a', PAGE);
		memset(t->beside + 3 * PAGE, 'b', PAGE);
		ASSERT_EQ(0, trap_open(t, 1u << 1 | 1u << 2 | 1u << 3));
		a = torn_struct(torn, generation, t->mem + 2 * PAGE, false, len);
		b = torn_struct(torn, generation, t->mem + 3 * PAGE, true, len);
		memset(&c, 0x7f, sizeof(c));
		st.fd = pub;
		st.cmd = torn == TORN_PROGRESS ? CHIPBOOT_IOC_PROGRESS :
						 CHIPBOOT_IOC_PUBLISH;
		st.page = 1;
		st.arg = t->mem + PAGE - split;
		memcpy(st.arg, &a, split);
		memcpy(t->beside + PAGE, (tail_of_b ? &b : &a)->bytes + split,
		       size - split);
		ASSERT_EQ(0, cb_read(s->observer, 0, &before));
		ASSERT_EQ(0, stall_start(&st));
		memcpy(st.arg, &b, split);
		ASSERT_EQ(0, trap_release(t, 1));

		/* it goes on to the words or the text, or it is refused */
		i = -1;
		do {
			struct pollfd p = { .fd = t->uffd, .events = POLLIN };

			if (poll(&p, 1, 1) > 0)
				i = trap_await(t);
		} while (i < 0 && !stall_done(&st));
		if (i >= 0) {
			ASSERT_TRUE(i == 2 || i == 3) TH_LOG("page %d", i);
			memcpy(st.arg, &c, size);
			ASSERT_EQ(0, trap_release(t, i));
		}
		pthread_join(st.thread, NULL);
		ret = st.ret;
		ASSERT_EQ(0, cb_read(s->observer, 0, &page));
		if (ret) {
			ASSERT_TRUE(too_large);
			ASSERT_EQ(-1, i);
			ASSERT_EQ(torn == TORN_SUCCESS ? -EOVERFLOW : -EMSGSIZE,
				  ret);
			ASSERT_EQ(0, memcmp(&page, &before, sizeof(page)));
			refused++;
		} else {
			ASSERT_STREQ("", torn_check(s, torn, &page,
						    t->beside + i * PAGE, len))
				TH_LOG("split at %zu, tail of %c, %u", split,
				       tail_of_b ? 'B' : 'A', len);
			if (torn_long(torn, &page))
				large++;
			else
				small++;
		}
		/* the length lay in the tail, which came once */
		if (split <= torn_length_at(torn)) {
			ASSERT_EQ(tail_of_b && too_large, ret != 0);
			if (!ret)
				ASSERT_EQ(tail_of_b, torn_long(torn, &page));
		}

		stall_close(&st);
		cb_abort(s->owner, 0, 1, -1, "next", NULL);
		ASSERT_EQ(0, cb_reset(s->owner, 0, 1, 0));
		close(pub);
	}
	ksft_print_msg("%d rounds: %u had the small length, %u the large one, %u one too large\n",
		       round, small, large, refused);
	EXPECT_LT(0, small);
	EXPECT_LT(0, large);
	EXPECT_LT(0, refused);
}

/* The same without faults, as fast as it goes; only the generation is left alone. */
struct scribble {
	char *to;
	union any with[3];
	size_t size;
	__u32 running;
	__u32 stop;
};

static void *scribble_main(void *arg)
{
	const size_t skip = sizeof(__u32);
	struct scribble *sc = arg;
	unsigned int i;

	cb_pin(1);
	for (i = 0; !__atomic_load_n(&sc->stop, __ATOMIC_ACQUIRE); i++) {
		memcpy(sc->to + skip, sc->with[i % 3].bytes + skip,
		       sc->size - skip);
		/* the compiler must not leave out a copy */
		__asm__ __volatile__("" ::: "memory");
		__atomic_store_n(&sc->running, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

#define SCRIBBLED	5000

TEST_F(torn, all_the_time)
{
	const enum torn torn = variant->torn;
	const __u32 fits = torn == TORN_SUCCESS ? CHIPBOOT_WORDS_MAX :
						  CHIPBOOT_MESSAGE_SIZE - 1;
	const unsigned long cmd = torn == TORN_PROGRESS ?
		CHIPBOOT_IOC_PROGRESS : CHIPBOOT_IOC_PUBLISH;
	unsigned int small = 0, large = 0, refused = 0;
	static __u64 data[CHIPBOOT_PAGE_SIZE / sizeof(__u64)];
	struct cb_session *s = &self->s;
	struct scribble sc = { .size = variant->size };
	struct chipboot_page page;
	union any arg;
	pthread_t thread;
	int pub, ret, i;
	__u32 round;

	ASSERT_EQ(0, cb_pin(0));
	memset(data, 'd', sizeof(data));
	for (i = 0; i < 3; i++)
		sc.with[i] = torn_struct(torn, 0, (char *)data, i,
					 i < 2 ? fits : 100000);
	sc.to = arg.bytes;
	arg = sc.with[0];
	pub = cb_claim(s->owner, 0, NULL);
	ASSERT_LE(0, pub);
	ASSERT_EQ(0, pthread_create(&thread, NULL, scribble_main, &sc));
	while (!__atomic_load_n(&sc.running, __ATOMIC_ACQUIRE))
		sched_yield();
	for (round = 1; round <= SCRIBBLED; round++) {
		/* the generation is the first field of both */
		memcpy(arg.bytes, &round, sizeof(round));
		for (;;) {
			ret = cb_ioctl(pub, cmd, &arg);
			if (ret != -EOVERFLOW && ret != -EMSGSIZE)
				break;
			refused++;
		}
		ASSERT_EQ(0, ret) TH_LOG("round %u", round);
		ASSERT_EQ(0, cb_read(s->observer, 0, &page));
		ASSERT_STREQ("", torn_check(s, torn, &page, (char *)data, fits))
			TH_LOG("round %u", round);
		if (torn_long(torn, &page))
			large++;
		else
			small++;
		if (torn == TORN_PROGRESS)
			ASSERT_EQ(0, cb_abort(s->owner, 0, 1, -1, "", NULL));
		ASSERT_EQ(0, cb_reset(s->owner, 0, 1,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	}
	__atomic_store_n(&sc.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ksft_print_msg("%u rounds: %u had the small length, %u the large one, %u one too large\n",
		       SCRIBBLED, small, large, refused);
	EXPECT_LT(0, small);
	EXPECT_LT(0, large);
	EXPECT_LT(0, refused);
	close(pub);
}

TEST_HARNESS_MAIN
