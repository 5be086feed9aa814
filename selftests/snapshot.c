// SPDX-License-Identifier: GPL-2.0-only
/*
 * A reader sees one moment, whatever is being done to the channel: the seqcount's
 * recipe as the header has it, READ, and the plain acquire load of the state word
 * within one generation.
 *
 * Everything in an answer follows from the channel and its generation, which stands
 * in the page: every word, the message to its last byte, count, state, order.  So
 * a snapshot says itself whether it is whole, without asking the writer.
 *
 * Writer and reader sit on a processor each.  The reader does nothing but copy and
 * check, and the answers are as large as they can be.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */
/* alone: two processors that really race */

#include "rendezvous_test.h"

#define CHANNELS	2
/* of the recipe, before READ is asked */
#define TRIES_MAX	10000
/* steps of the words; odd, so that no two words of an answer are the same */
#define WORD_STEP	0x9e3779b97f4a7c15u

/* ---- what an answer should be -------------------------------------------- */

/* What all else follows from. */
static __u64 value_of(__u32 ch, __u32 generation)
{
	__u64 z = ((__u64)generation << 8 | ch) * 0xbf58476d1ce4e5b9u;

	return (z ^ (z >> 29)) * 0x94d049bb133111ebu;
}

static bool is_error(__u32 ch, __u32 generation)
{
	return (generation + ch) % 4 == 3;
}

static bool has_progress(__u32 ch, __u32 generation)
{
	return (generation + ch) % 4 < 2;
}

static __u32 count_of(__u64 v, __u32 generation)
{
	return generation % 8 ? CHIPBOOT_WORDS_MAX :
				(__u32)(v % (CHIPBOOT_WORDS_MAX + 1));
}

static __u32 progress_len(__u64 v)
{
	return 8 * (1 + (__u32)(v >> 32) % 127);
}

/* The message: eight letters, again and again. */
static __u64 letters_of(__u64 v)
{
	__u64 letters = 0;
	int i;

	for (i = 0; i < 8; i++, v >>= 8)
		letters = letters << 8 | ('a' + (v & 15));
	return letters;
}

static __s32 code_of(__u64 v)
{
	return (__s32)(v >> 16) | 1;
}

static void fill_text(char *text, __u64 v)
{
	const __u64 letters = letters_of(v);
	int i;

	for (i = 0; i < CHIPBOOT_MESSAGE_SIZE; i += 8)
		memcpy(text + i, &letters, 8);
}

/* Every channel is answered in every generation, in this order. */
static __u32 order_of(__u32 ch, __u32 generation)
{
	return (generation - 1) * CHANNELS + ch + 1;
}

/* ---- what a snapshot is -------------------------------------------------- */

struct want {
	__s32 writer;		/* publisher_pid */
	char why[200];
};

#define WRONG(want, ...) \
	(snprintf((want)->why, sizeof((want)->why), __VA_ARGS__), (want)->why)

#define CHECK_FIELD(field, value) do { \
	if (p->field != (value)) \
		return WRONG(w, "generation %u, state %d: " #field \
			     " should be %#llx, is %#llx", p->generation, \
			     p->state, (unsigned long long)(value), \
			     (unsigned long long)p->field); \
} while (0)

/* @len bytes of letters, zero behind them, to the end. */
static const char *check_message(struct want *w, const struct chipboot_page *p,
				 __u64 v, __u32 len)
{
	const __u64 letters = letters_of(v);
	__u32 i, in;
	__u64 is, should;

	for (i = 0; i < CHIPBOOT_MESSAGE_SIZE; i += 8) {
		memcpy(&is, p->message + i, 8);
		in = i >= len ? 0 : len - i < 8 ? len - i : 8;
		/* little or big endian: bytes, not bits */
		should = 0;
		memcpy(&should, &letters, in);
		if (is != should)
			return WRONG(w, "generation %u, state %d: message[%u] should be %#llx, is %#llx",
				     p->generation, p->state, i,
				     (unsigned long long)should,
				     (unsigned long long)is);
	}
	return NULL;
}

/* One moment's truth of channel @ch?  NULL or the complaint. */
static const char *check_snapshot(struct want *w, __u32 ch,
				  const struct chipboot_page *p)
{
	const __u32 g = p->generation;
	const __u64 v = value_of(ch, g);
	const bool error = is_error(ch, g);
	__u32 i, count = 0, text = 0;

	CHECK_FIELD(wait_status, 0);
	if (p->state == CHIPBOOT_IDLE) {
		CHECK_FIELD(error_code, 0);
		CHECK_FIELD(device_ctx, 0);
		CHECK_FIELD(local_window_base, 0);
		CHECK_FIELD(actual_window_size, 0);
		CHECK_FIELD(publisher_pid, 0);
		CHECK_FIELD(order, 0);
		CHECK_FIELD(origin, CHIPBOOT_ORIGIN_NONE);
		CHECK_FIELD(flags, 0);
		if (p->updated_ns) {
			if (!has_progress(ch, g))
				return WRONG(w, "generation %u: IDLE without progress, updated_ns %llu",
					     g,
					     (unsigned long long)p->updated_ns);
			text = progress_len(v);
		}
	} else {
		CHECK_FIELD(state, error ? CHIPBOOT_ERROR : CHIPBOOT_SUCCESS);
		CHECK_FIELD(error_code, error ? code_of(v) : 0);
		CHECK_FIELD(device_ctx, error ? 0 : v);
		CHECK_FIELD(local_window_base, error ? 0 : v * 3);
		CHECK_FIELD(actual_window_size, error ? 0 : v * 5);
		CHECK_FIELD(publisher_pid, w->writer);
		CHECK_FIELD(order, order_of(ch, g));
		CHECK_FIELD(origin, CHIPBOOT_ORIGIN_PUBLISHER);
		CHECK_FIELD(flags, error && g & 8 ? CHIPBOOT_PAGE_TRUNCATED : 0);
		if (!p->updated_ns)
			return WRONG(w, "generation %u, answered: updated_ns 0",
				     g);
		if (error)
			text = CHIPBOOT_MESSAGE_SIZE - 1;
		else
			count = count_of(v, g);
	}
	CHECK_FIELD(count, (__s32)count);
	for (i = 0; i < count; i++)
		CHECK_FIELD(words[i], v + i * WORD_STEP);
	for (; i < CHIPBOOT_WORDS_MAX; i++)
		CHECK_FIELD(words[i], 0);
	return check_message(w, p, v, text);
}

/* ---- the writer ---------------------------------------------------------- */

/* 0 or -errno; the number of writes to the page goes to @writes. */
static int answer(int publisher, __u32 ch, __u32 generation, __u32 *writes)
{
	const __u64 v = value_of(ch, generation);
	__u64 words[CHIPBOOT_WORDS_MAX];
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_publish p = {
		.generation = generation,
		.state = CHIPBOOT_SUCCESS,
	};
	__u32 i;
	int ret;

	fill_text(text, v);
	if (has_progress(ch, generation)) {
		ret = cb_progress_n(publisher, generation, text,
				    progress_len(v), 0);
		if (ret)
			return ret;
		++*writes;
	}
	if (is_error(ch, generation)) {
		p.state = CHIPBOOT_ERROR;
		p.flags = generation & 8 ? CHIPBOOT_PUBLISH_TRUNCATED : 0;
		p.error_code = code_of(v);
		p.message = cb_ptr(text);
		p.message_len = CHIPBOOT_MESSAGE_SIZE - 1;
	} else {
		p.device_ctx = v;
		p.local_window_base = v * 3;
		p.actual_window_size = v * 5;
		p.count = count_of(v, generation);
		p.words = cb_ptr(words);
		for (i = 0; i < p.count; i++)
			words[i] = v + i * WORD_STEP;
	}
	++*writes;
	return cb_publish(publisher, &p);
}

/* ---- the reader ---------------------------------------------------------- */

struct report {
	struct bell start;	/* plain: spin for the state of this generation */
	struct bell seen;	/* plain: it has been seen */
	__u32 stop;
	__u32 failed;
	__u64 snapshots;	/* by the recipe */
	__u64 retries;		/* copies that the writer has spoilt */
	__u64 odd;		/* looks at a seq that said "not now" */
	__u64 exhausted;	/* and READ asked instead */
	__u64 reads;
	__u64 states[3];
	char why[256];
};

/* The recipe of the header; 0 or -EAGAIN. */
static int take_snapshot(struct report *r, struct chipboot_page *copy,
			 const struct chipboot_page *page)
{
	__u32 seq;
	int tries;

	for (tries = 0; tries < TRIES_MAX; tries++) {
		seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);
		if (seq & 1) {
			r->odd++;
			continue;
		}
		memcpy(copy, page, sizeof(*copy));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (seq == __atomic_load_n(&page->seq, __ATOMIC_RELAXED)) {
			r->snapshots++;
			return 0;
		}
		r->retries++;
	}
	r->exhausted++;
	return -EAGAIN;
}

static void fail(struct report *r, const char *how, __u32 ch, const char *why)
{
	snprintf(r->why, sizeof(r->why), "%s, channel %u: %s", how, ch, why);
	__atomic_store_n(&r->failed, 1, __ATOMIC_RELEASE);
}

/* Time does not go backwards: generation, then IDLE, progress, answered. */
static __u64 moment_of(const struct chipboot_page *p)
{
	return (__u64)p->generation << 2 |
	       (p->state ? 2 : p->updated_ns ? 1 : 0);
}

/* One in @read_every is by READ. */
static void reader_main(struct cb_session *s, struct report *r, __s32 writer,
			unsigned int read_every)
{
	struct want want = { .writer = writer };
	struct chipboot_page copy;
	__u64 last[CHANNELS] = { 0 };
	unsigned int turn = 0;
	const char *how, *why;
	__u32 ch;
	int ret;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		ch = turn % CHANNELS;
		ret = -EAGAIN;
		if (++turn % read_every) {
			how = "snapshot";
			ret = take_snapshot(r, &copy, cb_page(s, ch));
		}
		if (ret < 0) {
			how = "READ";
			ret = cb_read(s->observer, ch, &copy);
			if (ret < 0)
				return fail(r, how, ch, strerror(-ret));
			r->reads++;
		}
		why = copy.seq & 1 ? "seq is odd" :
				     check_snapshot(&want, ch, &copy);
		if (!why && moment_of(&copy) < last[ch])
			why = "older than the one before";
		if (why)
			return fail(r, how, ch, why);
		last[ch] = moment_of(&copy);
		r->states[copy.state]++;
	}
}

/* Spin for the state word, nothing else; then everything is there. */
static void plain_reader_main(struct cb_session *s, struct report *r,
			      __s32 writer)
{
	struct want want = { .writer = writer };
	struct pollfd p = { .events = POLLIN };
	struct chipboot_page copy;
	__u32 generation = 0;
	const char *why;
	unsigned int i;

	/* for the writer that has no processor while this one spins */
	p.fd = cb_observe(s->observer, CHIPBOOT_EVENT_COMPLETE);
	if (p.fd < 0)
		return fail(r, "OBSERVE", 0, strerror(-p.fd));
	for (;;) {
		generation = bell_wait(&r->start, generation);
		if (__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE))
			return;
		for (i = 0; !cb_load_state(cb_page(s, 0)); i++) {
			if (i > 20000)
				poll(&p, 1, -1);
		}
		memcpy(&copy, cb_page(s, 0), sizeof(copy));
		why = copy.generation != generation ?
			WRONG(&want, "generation should be %u, is %u",
			      generation, copy.generation) :
			check_snapshot(&want, 0, &copy);
		if (why)
			return fail(r, "state word", 0, why);
		r->states[copy.state]++;
		bell_ring(&r->seen, generation);
	}
}

/* ---- tests --------------------------------------------------------------- */

struct bench {
	struct cb_session s;
	struct report *r;
	int pub[CHANNELS];
	pid_t reader;
};

FIXTURE(snapshot) {
	struct bench b;
};

FIXTURE_SETUP(snapshot)
{
	__u32 ch;

	ASSERT_LE(2, sysconf(_SC_NPROCESSORS_ONLN))
		TH_LOG("needs two processors: nothing can race on one");
	ASSERT_EQ(0, cb_session_open(&self->b.s, CHANNELS))
		TH_LOG("%s", self->b.s.why);
	for (ch = 0; ch < CHANNELS; ch++) {
		self->b.pub[ch] = cb_claim(self->b.s.owner, ch, NULL);
		ASSERT_LE(0, self->b.pub[ch]);
	}
	self->b.r = cb_shared(sizeof(*self->b.r));
}

FIXTURE_TEARDOWN(snapshot)
{
	__u32 ch;

	for (ch = 0; ch < CHANNELS; ch++)
		close(self->b.pub[ch]);
	cb_session_close(&self->b.s);
}

/* @rounds of all there is; one look in @read_every is by READ. */
static void hold_against_reset(struct __test_metadata *_metadata,
			       struct bench *b, __u32 rounds,
			       unsigned int read_every)
{
	struct report *r = b->r;
	struct chipboot_page page;
	struct want want = { .writer = getpid() };
	const pid_t parent = getpid();
	__u32 round, ch, generation = 0, writes[CHANNELS] = { 0 };
	__u32 seq[CHANNELS];
	__u64 begin;

	for (ch = 0; ch < CHANNELS; ch++) {
		ASSERT_EQ(0, cb_read(b->s.observer, ch, &page));
		seq[ch] = page.seq;
	}
	b->reader = fork();
	ASSERT_LE(0, b->reader);
	if (!b->reader) {
		cb_die_with(parent);
		if (cb_pin(0))
			_exit(1);
		reader_main(&b->s, r, parent, read_every);
		_exit(0);
	}
	ASSERT_EQ(0, cb_pin(1));
	begin = cb_now();
	/*
	 * Where the host has one processor for both, a reader may hardly have
	 * run by the end: then a little more.
	 */
	for (round = 0; round < rounds ||
	     (round < 10 * rounds && read_every > 1 &&
	      !__atomic_load_n(&r->retries, __ATOMIC_RELAXED)); round++) {
		generation = round + 1;
		for (ch = 0; ch < CHANNELS; ch++) {
			ASSERT_EQ(0, answer(b->pub[ch], ch, generation,
					    &writes[ch]));
			writes[ch]++;
		}
		ASSERT_EQ(0, cb_reset(b->s.owner, 0, CHANNELS,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
		if (__atomic_load_n(&r->failed, __ATOMIC_ACQUIRE))
			break;
	}
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELEASE);
	EXPECT_EQ(0, cb_reap(b->reader));
	ksft_print_msg("%u rounds of %u channels in %llu ms: %llu snapshots, %llu retries (and %llu looks at an odd seq; %llu given up), %llu by READ; IDLE %llu, SUCCESS %llu, ERROR %llu\n",
		       round, CHANNELS,
		       (unsigned long long)((cb_now() - begin) / 1000000),
		       (unsigned long long)r->snapshots,
		       (unsigned long long)r->retries,
		       (unsigned long long)r->odd,
		       (unsigned long long)r->exhausted,
		       (unsigned long long)r->reads,
		       (unsigned long long)r->states[CHIPBOOT_IDLE],
		       (unsigned long long)r->states[CHIPBOOT_SUCCESS],
		       (unsigned long long)r->states[CHIPBOOT_ERROR]);
	ASSERT_STREQ("", r->why) TH_LOG("torn in round %u", round);

	/* the readers saw what there was to see */
	EXPECT_LT(0, r->reads);
	EXPECT_LT(0, r->states[CHIPBOOT_IDLE]);
	EXPECT_LT(0, r->states[CHIPBOOT_SUCCESS]);
	EXPECT_LT(0, r->states[CHIPBOOT_ERROR]);
	if (read_every > 1) {
		EXPECT_LT(0, r->snapshots);
		EXPECT_LT(0, r->retries);
	}
	/* at rest: the last generation, and each write has counted */
	for (ch = 0; ch < CHANNELS; ch++) {
		ASSERT_EQ(0, cb_read(b->s.observer, ch, &page));
		EXPECT_EQ(NULL, check_snapshot(&want, ch, &page))
			TH_LOG("%s", want.why);
		EXPECT_EQ(generation + 1, page.generation);
		EXPECT_EQ(CHIPBOOT_IDLE, page.state);
		EXPECT_EQ(seq[ch] + 2 * writes[ch], page.seq);
		EXPECT_EQ(0, take_snapshot(r, &page,
					   cb_page(&b->s, ch)));
	}
}

/* By the recipe, and now and then by READ, so that each confirms the other. */
TEST_F(snapshot, seqcount_holds_against_reset)
{
	hold_against_reset(_metadata, &self->b, 100000, 8);
}

TEST_F(snapshot, read_holds_against_reset)
{
	hold_against_reset(_metadata, &self->b, 20000, 1);
}

#define PLAIN_ROUNDS	50000

/*
 * Nobody resets while others read: then the state word is enough.  The reader spins
 * on it, so that it looks at the payload the moment it is announced.
 */
TEST_F(snapshot, state_word_announces_the_payload)
{
	struct report *r = self->b.r;
	const pid_t parent = getpid();
	__u32 generation, ch, writes = 0;
	__u32 random = 12345;
	__u64 begin;

	self->b.reader = fork();
	ASSERT_LE(0, self->b.reader);
	if (!self->b.reader) {
		cb_die_with(parent);
		if (cb_pin(0))
			_exit(1);
		plain_reader_main(&self->b.s, r, parent);
		/* who waits for us finds out */
		bell_ring(&r->seen, ~0u);
		_exit(0);
	}
	ASSERT_EQ(0, cb_pin(1));
	begin = cb_now();
	for (generation = 1; generation <= PLAIN_ROUNDS; generation++) {
		/* channel 0 is looked at; the order is as in the other tests */
		random = random * 1664525 + 1013904223;
		bell_ring(&r->start, generation);
		delay_spin((__s32)(random >> 16) % 1000);
		for (ch = 0; ch < CHANNELS; ch++)
			ASSERT_EQ(0, answer(self->b.pub[ch], ch, generation,
					    &writes));
		ASSERT_EQ(generation, bell_wait(&r->seen, generation - 1))
			TH_LOG("round %u: %s", generation, r->why);
		ASSERT_EQ(0, cb_reset(self->b.s.owner, 0, CHANNELS,
				      CHIPBOOT_RESET_KEEP_PUBLISHERS));
	}
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELEASE);
	bell_ring(&r->start, generation);
	EXPECT_EQ(0, cb_reap(self->b.reader));
	ksft_print_msg("%u rounds in %llu ms: SUCCESS %llu, ERROR %llu\n",
		       PLAIN_ROUNDS,
		       (unsigned long long)((cb_now() - begin) / 1000000),
		       (unsigned long long)r->states[CHIPBOOT_SUCCESS],
		       (unsigned long long)r->states[CHIPBOOT_ERROR]);
	EXPECT_STREQ("", r->why);
	EXPECT_EQ(PLAIN_ROUNDS, r->states[CHIPBOOT_SUCCESS] +
				r->states[CHIPBOOT_ERROR]);
}

TEST_HARNESS_MAIN
