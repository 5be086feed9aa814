// SPDX-License-Identifier: GPL-2.0-only
/*
 * Visibility: what one process publishes, every other process reads, field by
 * field, whatever way it came by its handle: inherited over fork, kept over
 * exec, received over a socket; mapped before or after; by mapping or by READ.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */

#include "chipboot_test.h"

#include <pthread.h>

#define PUBLISHERS	64

/* ---- the layout ------------------------------------------------------- */

TEST(layout_of_the_original)
{
	EXPECT_EQ(4096, sizeof(struct chipboot_page));
	EXPECT_EQ(0, offsetof(struct chipboot_page, state));
	EXPECT_EQ(4, offsetof(struct chipboot_page, error_code));
	EXPECT_EQ(8, offsetof(struct chipboot_page, count));
	EXPECT_EQ(12, offsetof(struct chipboot_page, seq));
	EXPECT_EQ(16, offsetof(struct chipboot_page, device_ctx));
	EXPECT_EQ(24, offsetof(struct chipboot_page, local_window_base));
	EXPECT_EQ(32, offsetof(struct chipboot_page, actual_window_size));
	EXPECT_EQ(40, offsetof(struct chipboot_page, updated_ns));
	EXPECT_EQ(48, offsetof(struct chipboot_page, publisher_pid));
	EXPECT_EQ(52, offsetof(struct chipboot_page, generation));
	EXPECT_EQ(56, offsetof(struct chipboot_page, order));
	EXPECT_EQ(60, offsetof(struct chipboot_page, wait_status));
	EXPECT_EQ(62, offsetof(struct chipboot_page, origin));
	EXPECT_EQ(63, offsetof(struct chipboot_page, flags));
	EXPECT_EQ(64, offsetof(struct chipboot_page, words));
	EXPECT_EQ(3072, offsetof(struct chipboot_page, message));
	EXPECT_EQ(376, sizeof(((struct chipboot_page *)0)->words) / 8);
	EXPECT_EQ(1024, sizeof(((struct chipboot_page *)0)->message));
	EXPECT_EQ(0, CHIPBOOT_IDLE);
	EXPECT_EQ(1, CHIPBOOT_SUCCESS);
	EXPECT_EQ(2, CHIPBOOT_ERROR);
}

/*
 * The same on a real mapping, by offset alone: what a reader of the original,
 * which never saw this header, finds there.
 */
TEST(original_reader_on_a_mapping)
{
	__u64 words[CHIPBOOT_WORDS_MAX], v;
	struct chipboot_publish p;
	struct cb_session s;
	const char *page;
	__u32 gen;
	__s32 w;
	int pub, i;

	ASSERT_EQ(0, cb_session_open(&s, 2)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 1, &gen);
	ASSERT_LE(0, pub);
	p = cb_a_success(gen, 1, words, CHIPBOOT_WORDS_MAX);
	ASSERT_EQ(0, cb_publish(pub, &p));

	page = s.map + s.stride;
	memcpy(&w, page, 4);
	EXPECT_EQ(1, w);
	memcpy(&w, page + 4, 4);
	EXPECT_EQ(0, w);
	memcpy(&w, page + 8, 4);
	EXPECT_EQ(376, w);
	memcpy(&v, page + 16, 8);
	EXPECT_EQ(p.device_ctx, v);
	memcpy(&v, page + 24, 8);
	EXPECT_EQ(p.local_window_base, v);
	memcpy(&v, page + 32, 8);
	EXPECT_EQ(p.actual_window_size, v);
	for (i = 0; i < 376; i++) {
		memcpy(&v, page + 64 + 8 * i, 8);
		EXPECT_EQ(words[i], v);
	}
	EXPECT_EQ(0, page[3072]);
	close(pub);
	cb_session_close(&s);
}

/* ---- one publisher after the other: the edges of every field ---------- */

FIXTURE(session) {
	struct cb_session s;
	int pub[CB_MAX_CHANNELS];
	__u32 gen[CB_MAX_CHANNELS];
};

FIXTURE_SETUP(session)
{
	__u32 i;

	ASSERT_EQ(0, cb_session_open(&self->s, PUBLISHERS))
		TH_LOG("%s", self->s.why);
	for (i = 0; i < PUBLISHERS; i++) {
		self->gen[i] = ~0u;
		self->pub[i] = cb_claim(self->s.owner, i, &self->gen[i]);
		ASSERT_LE(0, self->pub[i]);
		ASSERT_EQ(1, self->gen[i]);
	}
	ASSERT_STATE(&self->s);
}

FIXTURE_TEARDOWN(session)
{
	__u32 i;

	for (i = 0; i < PUBLISHERS; i++)
		close(self->pub[i]);
	cb_session_close(&self->s);
}

TEST_F(session, handles_close_on_exec)
{
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->s.owner, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->s.observer, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->pub[0], F_GETFD));
}

TEST_F(session, edges_of_success)
{
	static const __u64 patterns[] = {
		0, ~0ull, 1, 1ull << 63, 0x7fffffffffffffffull,
		0x5555555555555555ull, 0xaaaaaaaaaaaaaaaaull,
		0x00000000ffffffffull, 0xffffffff00000000ull,
		0x0123456789abcdefull,
	};
	static const __u32 counts[] = { 0, 1, 2, 63, 64, 375, 376 };
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	__u32 ch = 0, i, k;

	/* one pattern everywhere */
	for (i = 0; i < ARRAY_SIZE(patterns); i++, ch++) {
		for (k = 0; k < CHIPBOOT_WORDS_MAX; k++)
			words[k] = patterns[i];
		p = (struct chipboot_publish) {
			.generation = 1,
			.state = CHIPBOOT_SUCCESS,
			.device_ctx = patterns[i],
			.local_window_base = patterns[i],
			.actual_window_size = patterns[i],
			.words = cb_ptr(words),
			.count = CHIPBOOT_WORDS_MAX,
		};
		ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
		cb_want_publish(&self->s, ch, &p, getpid());
		ASSERT_STATE(&self->s);
	}
	/* every single bit, in words and in the three fields by turns */
	for (k = 0; k < CHIPBOOT_WORDS_MAX; k++)
		words[k] = 1ull << (k % 64);
	for (i = 0; i < 3; i++, ch++) {
		p = (struct chipboot_publish) {
			.generation = 1,
			.state = CHIPBOOT_SUCCESS,
			.device_ctx = i == 0 ? ~0ull : 0,
			.local_window_base = i == 1 ? ~0ull : 0,
			.actual_window_size = i == 2 ? ~0ull : 0,
			.words = cb_ptr(words),
			.count = CHIPBOOT_WORDS_MAX,
		};
		ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
		cb_want_publish(&self->s, ch, &p, getpid());
		ASSERT_STATE(&self->s);
	}
	/* so many words and no more, though more stand behind them */
	for (i = 0; i < ARRAY_SIZE(counts); i++, ch++) {
		p = cb_a_success(1, ch, words, CHIPBOOT_WORDS_MAX);
		p.count = counts[i];
		ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
		cb_want_publish(&self->s, ch, &p, getpid());
		ASSERT_STATE(&self->s);
	}
	/* a progress text before it is gone after it */
	ASSERT_EQ(0, cb_progress(self->pub[ch], 1, "comm_init"));
	cb_want_progress(&self->s, ch, "comm_init");
	ASSERT_STATE(&self->s);
	p = cb_a_success(1, ch, words, 3);
	ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
	cb_want_publish(&self->s, ch, &p, getpid());
	ASSERT_STATE(&self->s);
	EXPECT_EQ(0, cb_page(&self->s, ch)->message[0]);
}

TEST_F(session, edges_of_error)
{
	static const __s32 codes[] = { INT_MIN, INT_MAX, -1, 0, 1, -110, 507899 };
	static const size_t lengths[] = { 0, 1, 2, 7, 8, 1022, 1023 };
	struct chipboot_publish p;
	char text[2048];
	__u32 ch = 0, i;
	size_t k;

	for (i = 0; i < ARRAY_SIZE(codes); i++, ch++) {
		p = cb_an_error(1, codes[i], "cause", 5);
		ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
		cb_want_publish(&self->s, ch, &p, getpid());
		ASSERT_STATE(&self->s);
		EXPECT_EQ(codes[i], cb_page(&self->s, ch)->error_code);
	}
	/*
	 * All byte values but NUL, no NUL at the end: text goes on behind the
	 * length that is given.
	 */
	for (k = 0; k < sizeof(text); k++)
		text[k] = (char)(k % 255 + 1);
	for (i = 0; i < ARRAY_SIZE(lengths); i++, ch++) {
		p = cb_an_error(1, -5, text, lengths[i]);
		ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
		cb_want_publish(&self->s, ch, &p, getpid());
		ASSERT_STATE(&self->s);
		EXPECT_EQ(lengths[i], strlen(cb_page(&self->s, ch)->message));
	}
	/* no text: no pointer either */
	p = cb_an_error(1, 7, NULL, 0);
	ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
	cb_want_publish(&self->s, ch, &p, getpid());
	ASSERT_STATE(&self->s);
	ch++;
	/* the text ends at its first NUL, and nothing of the rest is shown */
	for (k = 0; k < 4; k++, ch++) {
		static const struct {
			char bytes[12];
			size_t len;
			const char *shown;
		} nul[] = {
			{ "one\0two", 7, "one" },
			{ "\0secret", 7, "" },
			{ "tail\0", 5, "tail" },
			{ "a\0b\0c", 5, "a" },
		};

		p = cb_an_error(1, 1, nul[k].bytes, nul[k].len);
		ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
		cb_want_publish(&self->s, ch, &p, getpid());
		ASSERT_STATE(&self->s);
		EXPECT_STREQ(nul[k].shown, cb_page(&self->s, ch)->message);
	}
	/* a long progress text leaves nothing behind a short cause */
	text[1023] = '\0';
	ASSERT_EQ(0, cb_progress(self->pub[ch], 1, text));
	cb_want_progress(&self->s, ch, text);
	ASSERT_STATE(&self->s);
	p = cb_an_error(1, 1, "short", 5);
	ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
	cb_want_publish(&self->s, ch, &p, getpid());
	ASSERT_STATE(&self->s);
	ch++;
	/* the mark of a text that was cut */
	p = cb_an_error(1, 1, text, 1023);
	p.flags = CHIPBOOT_PUBLISH_TRUNCATED;
	ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
	cb_want_publish(&self->s, ch, &p, getpid());
	ASSERT_STATE(&self->s);
	EXPECT_EQ(CHIPBOOT_PAGE_TRUNCATED, cb_page(&self->s, ch)->flags);
}

/*
 * seq is even and grows with each change and stands still otherwise; order
 * counts answers in the order they were given, not channels.
 */
TEST_F(session, seq_and_order)
{
	const struct chipboot_page *page;
	__u32 i, ch, seq, last;
	char text[32];

	page = cb_page(&self->s, 5);
	last = page->seq;
	EXPECT_EQ(0, last & 1);
	for (i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "step %u", i);
		ASSERT_EQ(0, cb_progress(self->pub[5], 1, text));
		seq = page->seq;
		ASSERT_EQ(0, seq & 1);
		ASSERT_LT(last, seq);
		last = seq;
	}
	cb_want_progress(&self->s, 5, text);
	ASSERT_STATE(&self->s);

	for (i = 0; i < PUBLISHERS; i++) {
		struct chipboot_publish p = {
			.generation = 1,
			.state = CHIPBOOT_SUCCESS,
		};

		ch = (i * 37 + 11) % PUBLISHERS;	/* all of them, once */
		ASSERT_EQ(0, cb_publish(self->pub[ch], &p));
		cb_want_publish(&self->s, ch, &p, getpid());
		ASSERT_STATE(&self->s);
		EXPECT_EQ(i + 1, cb_page(&self->s, ch)->order);
		EXPECT_EQ(1, cb_page(&self->s, ch)->generation);
	}
}

/* ---- mappings --------------------------------------------------------- */

TEST_F(session, mapped_before_and_after)
{
	static const struct {
		__u32 first, count;
	} run[] = { { 0, 1 }, { 63, 1 }, { 17, 2 }, { 0, 64 }, { 1, 63 } };
	const char *before[ARRAY_SIZE(run)], *after;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	__u32 i, k;
	int second;

	for (i = 0; i < ARRAY_SIZE(run); i++) {
		before[i] = cb_map(self->s.observer, self->s.stride,
				   run[i].first, run[i].count);
		ASSERT_NE(NULL, before[i]);
		/* touched: an answer must appear in a page already faulted in */
		for (k = 0; k < run[i].count; k++) {
			ASSERT_EQ(0, memcmp(before[i] + k * self->s.stride,
					    cb_page(&self->s, run[i].first + k),
					    self->s.stride));
		}
	}
	for (i = 0; i < PUBLISHERS; i++) {
		p = cb_a_success(1, i, words, i * 376 / 63);
		ASSERT_EQ(0, cb_publish(self->pub[i], &p));
		cb_want_publish(&self->s, i, &p, getpid());
	}
	ASSERT_STATE(&self->s);
	second = cb_observe(self->s.observer, CHIPBOOT_EVENT_ERROR);
	ASSERT_LE(0, second);
	for (i = 0; i < ARRAY_SIZE(run); i++) {
		after = cb_map(second, self->s.stride, run[i].first,
			       run[i].count);
		ASSERT_NE(NULL, after);
		for (k = 0; k < run[i].count; k++) {
			EXPECT_EQ(0, memcmp(before[i] + k * self->s.stride,
					    &self->s.want[run[i].first + k],
					    CHIPBOOT_PAGE_SIZE));
			EXPECT_EQ(0, memcmp(after + k * self->s.stride,
					    cb_page(&self->s, run[i].first + k),
					    self->s.stride));
		}
		munmap((void *)(uintptr_t)after,
		       (size_t)run[i].count * self->s.stride);
		munmap((void *)(uintptr_t)before[i],
		       (size_t)run[i].count * self->s.stride);
	}
	close(second);
}

/*
 * The reader's whole protocol: an acquire load of state, no system call.  When
 * it says SUCCESS, everything else is there.
 */
TEST_F(session, mapping_alone)
{
	const struct chipboot_page *page = cb_page(&self->s, 9);
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	unsigned int i;
	__s32 state;
	pid_t pid;

	p = cb_a_success(1, 9, words, CHIPBOOT_WORDS_MAX);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(cb_publish(self->pub[9], &p) ? 1 : 0);
	while ((state = cb_load_state(page)) == CHIPBOOT_IDLE)
		sched_yield();
	EXPECT_EQ(CHIPBOOT_SUCCESS, state);
	EXPECT_EQ(CHIPBOOT_WORDS_MAX, page->count);
	EXPECT_EQ(p.device_ctx, page->device_ctx);
	EXPECT_EQ(p.local_window_base, page->local_window_base);
	EXPECT_EQ(p.actual_window_size, page->actual_window_size);
	for (i = 0; i < CHIPBOOT_WORDS_MAX; i++) {
		EXPECT_EQ(words[i], page->words[i]);
	}
	EXPECT_EQ(0, page->message[0]);
	EXPECT_EQ(1, page->order);
	EXPECT_EQ(pid, page->publisher_pid);
	EXPECT_EQ(0, cb_reap(pid));
	cb_want_publish(&self->s, 9, &p, pid);
	ASSERT_STATE(&self->s);
}

/* ---- who published ---------------------------------------------------- */

struct thread_publish {
	int pub;
	int ret;
	pid_t tid;
};

static void *publish_in_thread(void *arg)
{
	struct thread_publish *t = arg;

	t->tid = cb_gettid();
	t->ret = cb_success(t->pub, 1);
	return NULL;
}

TEST_F(session, publisher_pid)
{
	struct chipboot_publish p = {
		.generation = 1,
		.state = CHIPBOOT_SUCCESS,
	};
	struct thread_publish t = { .pub = self->pub[0] };
	pthread_t thread;
	pid_t pid, *grandchild = cb_shared(sizeof(*grandchild));
	int go[2], bound[2];

	/* a thread publishes: it is the process that did */
	ASSERT_EQ(0, pthread_create(&thread, NULL, publish_in_thread, &t));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, t.ret);
	EXPECT_NE(getpid(), t.tid);
	cb_want_publish(&self->s, 0, &p, getpid());
	ASSERT_STATE(&self->s);

	/* a child's child publishes, as a shell script's would; not bound */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pid = fork();
		if (!pid) {
			*grandchild = getpid();
			_exit(cb_success(self->pub[1], 1) ? 1 : 0);
		}
		_exit(cb_reap(pid));
	}
	EXPECT_EQ(0, cb_reap(pid));
	cb_want_publish(&self->s, 1, &p, *grandchild);
	ASSERT_STATE(&self->s);

	/* the same with the child bound before: it is the child's answer */
	ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(bound, O_CLOEXEC));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pid_t inner;

		close(go[1]);
		close(bound[1]);
		inner = fork();
		if (!inner) {
			if (cb_await(bound[0]))
				_exit(4);
			*grandchild = getpid();
			_exit(cb_success(self->pub[2], 1) ? 1 : 0);
		}
		if (cb_reap(inner))
			_exit(2);
		/* live until told: its death would be seen */
		_exit(cb_await(go[0]) == 0 ? 0 : 3);
	}
	ASSERT_EQ(0, cb_bind(self->pub[2], pid, 0));
	ASSERT_EQ(0, cb_tell(bound[1]));
	while (cb_load_state(cb_page(&self->s, 2)) == CHIPBOOT_IDLE)
		sched_yield();
	self->s.bound[2] = 1;
	self->s.want[2].publisher_pid = pid;
	cb_want_publish(&self->s, 2, &p, *grandchild);
	ASSERT_STATE(&self->s);
	EXPECT_EQ(0, cb_tell(go[1]));
	EXPECT_EQ(0, cb_reap(pid));
}

/* ---- 64 processes ----------------------------------------------------- */

struct forked {
	struct {
		pid_t pid;
		__u64 before_ns, after_ns;
		int ret;
	} child[PUBLISHERS];
	/* what the sibling observer saw, each way */
	struct chipboot_page sibling_read[PUBLISHERS];
	struct chipboot_page sibling_mapped[PUBLISHERS];
	int sibling_error;
};

/* What publisher @i says: sizes from 0 to 376, every eighth an ERROR. */
static struct chipboot_publish forked_answer(__u32 generation, __u32 i,
					     __u64 *words, char *text)
{
	size_t len;

	if (i % 8 == 5) {
		len = i == 5 ? CHIPBOOT_MESSAGE_SIZE - 1 : i * 3;
		memset(text, 'A' + (int)i % 26, len);
		return cb_an_error(generation, INT_MIN + (int)i, text, len);
	}
	return cb_a_success(generation, i, words, i * CHIPBOOT_WORDS_MAX / 63);
}

/*
 * A sibling of the publishers that has only what it inherited: makes its own
 * mapping, waits for COMPLETE, keeps what it sees.
 */
static int sibling_observer(struct forked *f, int observer, __u32 stride,
			    int ready)
{
	const char *map = cb_map(observer, stride, 0, PUBLISHERS);
	struct pollfd p = { .events = POLLIN };
	__u32 i;
	int ret;

	if (!map)
		return -errno;
	p.fd = cb_observe(observer, CHIPBOOT_EVENT_COMPLETE);
	if (p.fd < 0)
		return p.fd;
	ret = cb_tell(ready);
	if (ret)
		return ret;
	if (poll(&p, 1, CB_PATIENCE_MS) != 1)
		return -ETIMEDOUT;
	for (i = 0; i < PUBLISHERS; i++) {
		cb_copy_page(&f->sibling_mapped[i], map + (size_t)i * stride);
		ret = cb_read(p.fd, i, &f->sibling_read[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/* What is true of the 64 answers however they were scheduled. */
static void check_forked(struct __test_metadata *_metadata,
			 struct cb_session *s, struct forked *f)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	char text[CHIPBOOT_MESSAGE_SIZE], why[400];
	__u32 i, k, first_order = s->orders;
	struct chipboot_publish p;
	__u64 seen = 0;

	for (i = 0; i < PUBLISHERS; i++) {
		const struct chipboot_page *page = cb_page(s, i);

		EXPECT_EQ(0, f->child[i].ret)
			TH_LOG("publisher %u", i);
		EXPECT_LE(f->child[i].before_ns, page->updated_ns);
		EXPECT_GE(f->child[i].after_ns, page->updated_ns);
		ASSERT_LT(first_order, page->order);
		ASSERT_GE(first_order + PUBLISHERS, page->order);
		seen |= 1ull << (page->order - first_order - 1);

		p = forked_answer(s->want[i].generation, i, words, text);
		cb_want_publish(s, i, &p, f->child[i].pid);
		/* the model cannot know it: checked here to be a permutation */
		s->want[i].order = page->order;
		for (k = 0; k < i; k++) {
			const struct chipboot_page *other = cb_page(s, k);

			/* order and time stamp are taken together */
			if (page->order < other->order) {
				EXPECT_LE(page->updated_ns, other->updated_ns);
			} else {
				EXPECT_GE(page->updated_ns, other->updated_ns);
			}
			/* and one that was over before another began is first */
			if (f->child[i].after_ns < f->child[k].before_ns) {
				EXPECT_LT(page->order, other->order);
			}
			if (f->child[k].after_ns < f->child[i].before_ns) {
				EXPECT_GT(page->order, other->order);
			}
		}
	}
	EXPECT_EQ(~0ull, seen);
	ASSERT_STATE(s);

	/* s->want has now been found equal to both of the parent's views */
	for (i = 0; i < PUBLISHERS; i++) {
		if (cb_page_diff(&s->want[i], &f->sibling_read[i], why,
				 sizeof(why))) {
			EXPECT_STREQ("", why) TH_LOG("sibling READ %u", i);
		}
		if (cb_page_diff(&s->want[i], &f->sibling_mapped[i], why,
				 sizeof(why))) {
			EXPECT_STREQ("", why) TH_LOG("sibling mapped %u", i);
		}
	}
}

TEST_F(session, forked)
{
	struct forked *f = cb_shared(sizeof(*f));
	__u64 words[CHIPBOOT_WORDS_MAX];
	char text[CHIPBOOT_MESSAGE_SIZE];
	int ready[2], start[2];
	pid_t sibling, pid;
	__u32 i;

	ASSERT_EQ(0, pipe2(ready, O_CLOEXEC));
	sibling = fork();
	ASSERT_LE(0, sibling);
	if (!sibling) {
		f->sibling_error = sibling_observer(f, self->s.observer,
						    self->s.stride, ready[1]);
		_exit(0);
	}
	close(ready[1]);
	ASSERT_EQ(0, cb_await(ready[0]));

	/* plain fork: everybody inherits every handle and nobody closes one */
	ASSERT_EQ(0, pipe2(start, O_CLOEXEC));
	for (i = 0; i < PUBLISHERS; i++) {
		f->child[i].ret = 1;
		pid = fork();
		ASSERT_LE(0, pid);
		if (pid) {
			f->child[i].pid = pid;
		} else {
			struct chipboot_publish p;
			char c;

			p = forked_answer(self->gen[i], i, words, text);
			/* all start together, when the pipe loses its writer */
			close(start[1]);
			if (read(start[0], &c, 1) != 0)
				_exit(1);
			f->child[i].before_ns = cb_now();
			f->child[i].ret = cb_publish(self->pub[i], &p);
			f->child[i].after_ns = cb_now();
			_exit(0);
		}
	}
	close(start[1]);
	for (i = 0; i < PUBLISHERS; i++) {
		EXPECT_EQ(0, cb_reap(f->child[i].pid));
	}
	EXPECT_EQ(0, cb_reap(sibling));
	EXPECT_EQ(0, f->sibling_error);
	check_forked(_metadata, &self->s, f);
}

/* ---- exec ------------------------------------------------------------- */

/*
 * The program that is exec'ed: it knows two descriptor numbers and nothing
 * else.  What must not have come over exec, it is told to look for.
 */
static int exec_main(char **argv)
{
	int pub = atoi(argv[2]), observer = atoi(argv[3]);
	int owner = atoi(argv[4]);
	__u64 words[CHIPBOOT_WORDS_MAX], before, after;
	char text[CHIPBOOT_MESSAGE_SIZE];
	const struct chipboot_page *page;
	struct chipboot_publish p;
	struct chipboot_status st;
	__u32 ch;

	if (fcntl(owner, F_GETFD) != -1 || errno != EBADF)
		return 10;
	/* its channel and generation it learns from the handle */
	if (cb_status(pub, 12345, 0, &st))
		return 11;
	ch = st.channel;
	if (ch != (__u32)atoi(argv[5]) || st.handle_generation != 1 ||
	    st.channel_generation != 1 || st.channel_state != CHIPBOOT_IDLE ||
	    st.channels != PUBLISHERS || st.events != CHIPBOOT_EVENT_COMPLETE)
		return 12;
	page = cb_map(observer, st.stride, ch, 1);
	if (!page)
		return 13;
	if (cb_load_state(page) != CHIPBOOT_IDLE)
		return 14;
	p = forked_answer(st.handle_generation, ch, words, text);
	before = cb_now();
	if (cb_publish(pub, &p))
		return 15;
	after = cb_now();
	if (cb_load_state(page) != p.state || page->error_code != p.error_code ||
	    page->publisher_pid != getpid() || page->updated_ns < before ||
	    page->updated_ns > after)
		return 16;
	return 0;
}

TEST_F(session, execed)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_publish p;
	__u32 i, ch, seen = 0;
	pid_t pid[16];

	for (i = 0; i < ARRAY_SIZE(pid); i++) {
		ch = 4 * i + 1;
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			char a[4][16];

			fcntl(self->pub[ch], F_SETFD, 0);
			fcntl(self->s.observer, F_SETFD, 0);
			snprintf(a[0], sizeof(a[0]), "%d", self->pub[ch]);
			snprintf(a[1], sizeof(a[1]), "%d", self->s.observer);
			snprintf(a[2], sizeof(a[2]), "%d", self->s.owner);
			snprintf(a[3], sizeof(a[3]), "%u", ch);
			execl("/proc/self/exe", "visibility", "--publish", a[0],
			      a[1], a[2], a[3], NULL);
			_exit(9);
		}
	}
	for (i = 0; i < ARRAY_SIZE(pid); i++) {
		EXPECT_EQ(0, cb_reap(pid[i])) TH_LOG("exec'ed %u", i);
	}
	for (i = 0; i < ARRAY_SIZE(pid); i++) {
		ch = 4 * i + 1;
		p = forked_answer(1, ch, words, text);
		cb_want_publish(&self->s, ch, &p, pid[i]);
		self->s.want[ch].order = cb_page(&self->s, ch)->order;
		ASSERT_LE(1, self->s.want[ch].order);
		ASSERT_GE(ARRAY_SIZE(pid), self->s.want[ch].order);
		seen |= 1u << (self->s.want[ch].order - 1);
	}
	EXPECT_EQ(0xffff, seen);
	ASSERT_STATE(&self->s);
}

/* ---- an unrelated process --------------------------------------------- */

struct unrelated {
	pid_t pid;
	int step;		/* where it stopped; 0: all well */
	int error;
	struct chipboot_page other_before, other_read, other_mapped, own;
};

/*
 * In a session of its own (setsid), child of nobody here, begun before the
 * handles existed: it has what comes over the socket.  Publishes channel 3 and
 * reads channel 2, mapped before the answer and after.
 */
static void unrelated_main(struct unrelated *u, int sock)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	struct chipboot_status st;
	const char *map;
	int fds[3];
	char c;

#define STEP(n, what) do { \
	u->step = (n); \
	u->error = (what); \
	if (u->error) \
		return; \
} while (0)
	STEP(1, cb_recv_fds(sock, fds, 2));
	STEP(2, cb_status(fds[0], 0, 0, &st));
	map = cb_map(fds[1], st.stride, 2, 2);
	STEP(3, map ? 0 : -errno);
	cb_copy_page(&u->other_before, map);
	STEP(4, send(sock, "m", 1, 0) == 1 ? 0 : -errno);
	STEP(5, recv(sock, &c, 1, 0) == 1 ? 0 : -EPIPE);
	cb_copy_page(&u->other_mapped, map);
	STEP(6, cb_read(fds[1], 2, &u->other_read));
	p = cb_a_success(st.handle_generation, 3, words, CHIPBOOT_WORDS_MAX);
	STEP(7, cb_publish(fds[0], &p));
	cb_copy_page(&u->own, map + st.stride);
	/* a handle made here goes back, and is as good as one of the owner's */
	fds[2] = cb_observe(fds[1], CHIPBOOT_EVENT_ERROR);
	STEP(8, fds[2] < 0 ? fds[2] : 0);
	STEP(9, cb_send_fds(sock, &fds[2], 1));
	/* it is still there when its answer is looked at: nobody's death */
	STEP(10, recv(sock, &c, 1, 0) == 1 ? 0 : -EPIPE);
#undef STEP
	u->step = 0;
}

TEST(unrelated_process)
{
	struct unrelated *u = cb_shared(sizeof(*u));
	__u64 words[2][CHIPBOOT_WORDS_MAX];
	struct chipboot_page page;
	struct chipboot_publish p;
	struct cb_session s;
	int sv[2], fds[2], pub, back;
	char why[400], c;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		setsid();
		if (fork())
			_exit(0);
		u->pid = getpid();
		close(sv[0]);
		unrelated_main(u, sv[1]);
		_exit(0);
	}
	close(sv[1]);
	ASSERT_EQ(0, cb_reap(pid));

	ASSERT_EQ(0, cb_session_open(&s, 5)) TH_LOG("%s", s.why);
	pub = cb_claim(s.owner, 2, NULL);
	ASSERT_LE(0, pub);
	fds[0] = cb_claim(s.owner, 3, NULL);
	ASSERT_LE(0, fds[0]);
	fds[1] = s.observer;
	ASSERT_STATE(&s);
	ASSERT_EQ(0, cb_send_fds(sv[0], fds, 2));
	close(fds[0]);	/* the only copy is the other's now */
	ASSERT_EQ(1, recv(sv[0], &c, 1, 0))
		TH_LOG("it stopped at step %d: %s", u->step, strerror(-u->error));
	ASSERT_STATE(&s);
	if (cb_page_diff(&s.want[2], &u->other_before, why, sizeof(why))) {
		EXPECT_STREQ("", why);
	}

	p = cb_a_success(1, 2, words[0], 376);
	ASSERT_EQ(0, cb_publish(pub, &p));
	cb_want_publish(&s, 2, &p, getpid());
	ASSERT_STATE(&s);
	ASSERT_EQ(1, send(sv[0], "p", 1, 0));
	back = -1;
	ASSERT_EQ(0, cb_recv_fds(sv[0], &back, 1))
		TH_LOG("it stopped at step %d: %s", u->step, strerror(-u->error));
	p = cb_a_success(1, 3, words[1], 376);
	cb_want_publish(&s, 3, &p, u->pid);
	ASSERT_STATE(&s);
	if (cb_page_diff(&s.want[2], &u->other_mapped, why, sizeof(why))) {
		EXPECT_STREQ("", why);
	}
	if (cb_page_diff(&s.want[2], &u->other_read, why, sizeof(why))) {
		EXPECT_STREQ("", why);
	}
	if (cb_page_diff(&s.want[3], &u->own, why, sizeof(why))) {
		EXPECT_STREQ("", why);
	}
	ASSERT_EQ(0, cb_read(back, 3, &page));
	if (cb_page_diff(&s.want[3], &page, why, sizeof(why))) {
		EXPECT_STREQ("", why);
	}
	/* new, so CHANGE holds for it, though it is not what it waits for */
	ASSERT_EQ(NULL, cb_check_status(&s, back, 3, 0, 0, CHIPBOOT_EVENT_ERROR,
					CHIPBOOT_EVENT_CHANGE))
		TH_LOG("%s", s.why);
	ASSERT_EQ(1, send(sv[0], "q", 1, 0));
	/* end of file: it has gone, by its own will */
	EXPECT_EQ(0, recv(sv[0], &c, 1, 0));
	EXPECT_EQ(0, u->step);
	ASSERT_STATE(&s);
	close(back);
	close(pub);
	close(sv[0]);
	cb_session_close(&s);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "--publish"))
		return exec_main(argv);
	return test_harness_run(argc, argv);
}
