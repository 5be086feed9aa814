// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit tests of the state machine, kmod/channel.c, compiled in userspace: every
 * transition from every state, whole pages compared, and what a reader could see
 * at each barrier on the way.  Runs on the host: no module, no machine.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "channel.h"
#include "kselftest_harness.h"

int unit_preempt_count;

/* Set while a test wants readers at the barriers. */
static const struct chipboot_page *watched;
static struct chipboot_page watched_before;
static int looks_in;
static int torn;

/*
 * A reader: if it finds seq even, the page is either what it was before the
 * operation, or (once seq has moved) what it is after; a page that differs with
 * the old seq is torn.  A final state implies its payload.
 */
void unit_look_in(const char *barrier, const void *word)
{
	(void)barrier;
	(void)word;
	if (!watched)
		return;
	looks_in++;
	if (watched->seq % 2 == 0 && watched->seq == watched_before.seq &&
	    memcmp(watched, &watched_before, sizeof(watched_before)))
		torn++;
	if (watched->seq % 2 && !unit_preempt_count)
		torn++;
	/* the mailbox's reader: a new final state, and no order with it */
	if (watched->state != CHIPBOOT_IDLE && !watched->order)
		torn++;
}

#define NOW 1000
#define WORDS(n) ((n) * sizeof(__u64))

FIXTURE(machine) {
	struct chipboot_page page;
	struct channel_tally tally;
	struct channel ch;
	u64 words[CHIPBOOT_WORDS_MAX];
};

FIXTURE_SETUP(machine)
{
	int i;

	memset(self, 0, sizeof(*self));
	for (i = 0; i < CHIPBOOT_WORDS_MAX; i++)
		self->words[i] = ~(u64)i;
	channel_init(&self->ch, &self->tally, &self->page);
}

FIXTURE_TEARDOWN(machine)
{
	EXPECT_EQ(0, unit_preempt_count);
	EXPECT_EQ(0, self->page.seq % 2);
	EXPECT_EQ(self->page.state, self->ch.state);
	EXPECT_EQ(self->page.origin, self->ch.origin);
	EXPECT_EQ(self->page.order, self->ch.order);
	EXPECT_EQ(self->page.generation, self->ch.generation);
	EXPECT_EQ(1, self->tally.idle + self->tally.success +
		     self->tally.error);
	EXPECT_EQ(0, torn);
}

#define WATCH(self) do {						\
	watched = &(self)->page;					\
	watched_before = (self)->page;					\
	looks_in = 0;							\
} while (0)

#define UNWATCH() do {							\
	watched = NULL;							\
	EXPECT_LE(4, looks_in);						\
} while (0)

static struct channel_answer success_of(const u64 *words, u32 count)
{
	return (struct channel_answer) {
		.state = CHIPBOOT_SUCCESS,
		.device_ctx = 0xdeadbeefcafe1234,
		.local_window_base = 0xaabbccdd00112233,
		.actual_window_size = 65536,
		.words = words,
		.count = count,
		.message = "",
	};
}

static struct channel_answer error_of(s32 code, const char *text)
{
	return (struct channel_answer) {
		.state = CHIPBOOT_ERROR,
		.error_code = code,
		.words = &(u64){ 0 },
		.message = text,
		.message_len = strlen(text),
	};
}

/* The page is zero but for seq, generation and what @set says. */
#define EXPECT_PAGE(self, set...) do {					\
	static struct chipboot_page want;				\
									\
	want = (struct chipboot_page) { set };				\
	want.seq = (self)->page.seq;					\
	want.generation = (self)->ch.generation;			\
	EXPECT_EQ(0, memcmp(&want, &(self)->page, sizeof(want)));	\
} while (0)

TEST_F(machine, new_is_idle)
{
	EXPECT_PAGE(self);
	EXPECT_EQ(0, channel_may_answer(&self->ch));
	EXPECT_EQ(1, self->tally.idle);
}

TEST_F(machine, success_is_whole)
{
	struct channel_answer a = success_of(self->words, 3);

	ASSERT_EQ(0, channel_progress(&self->ch, 1, "comm", 4, false, 5));
	WATCH(self);
	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 77, NOW));
	UNWATCH();
	EXPECT_PAGE(self, .state = CHIPBOOT_SUCCESS, .count = 3,
		    .device_ctx = 0xdeadbeefcafe1234,
		    .local_window_base = 0xaabbccdd00112233,
		    .actual_window_size = 65536, .updated_ns = NOW,
		    .publisher_pid = 77, .order = 1,
		    .origin = CHIPBOOT_ORIGIN_PUBLISHER,
		    .words = { ~0ULL, ~1ULL, ~2ULL });
	EXPECT_EQ(1, self->tally.success);
	EXPECT_EQ(-EALREADY, channel_may_answer(&self->ch));
}

TEST_F(machine, full_words)
{
	struct channel_answer a = success_of(self->words, CHIPBOOT_WORDS_MAX);

	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 1, NOW));
	EXPECT_EQ(0, memcmp(self->words, self->page.words,
			    sizeof(self->words)));
	EXPECT_EQ(0, self->page.message[0]);
	channel_reset(&self->ch, &self->tally, 0);
	EXPECT_PAGE(self);
}

TEST_F(machine, error_is_whole)
{
	struct channel_answer a = error_of(INT_MIN, "device not found");

	a.truncated = true;
	WATCH(self);
	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 77, NOW));
	UNWATCH();
	EXPECT_PAGE(self, .state = CHIPBOOT_ERROR, .error_code = INT_MIN,
		    .updated_ns = NOW, .publisher_pid = 77, .order = 1,
		    .origin = CHIPBOOT_ORIGIN_PUBLISHER,
		    .flags = CHIPBOOT_PAGE_TRUNCATED,
		    .message = "device not found");
	EXPECT_EQ(1, self->tally.error);
}

TEST_F(machine, longest_message)
{
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct channel_answer a;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	a = error_of(0, text);
	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 1, NOW));
	EXPECT_EQ(0, memcmp(text, self->page.message, sizeof(text)));
}

TEST_F(machine, other_generation)
{
	struct channel_answer a = success_of(self->words, 1);

	EXPECT_EQ(-ESTALE, channel_publish(&self->ch, &self->tally, 0, &a, 1,
					   NOW));
	EXPECT_EQ(-ESTALE, channel_publish(&self->ch, &self->tally, 2, &a, 1,
					   NOW));
	EXPECT_EQ(-ESTALE, channel_progress(&self->ch, 2, "x", 1, false, NOW));
	EXPECT_PAGE(self);
	EXPECT_EQ(0, self->tally.last_order);
}

TEST_F(machine, progress)
{
	WATCH(self);
	ASSERT_EQ(0, channel_progress(&self->ch, 1, "comm_init", 9, true, 5));
	watched = NULL;
	EXPECT_PAGE(self, .updated_ns = 5, .message = "comm_init",
		    .flags = CHIPBOOT_PAGE_TRUNCATED);
	ASSERT_EQ(0, channel_progress(&self->ch, 1, "up", 2, false, 6));
	EXPECT_PAGE(self, .updated_ns = 6, .message = "up");
	ASSERT_EQ(0, channel_progress(&self->ch, 1, "", 0, false, 7));
	EXPECT_PAGE(self, .updated_ns = 7);
}

TEST_F(machine, bound)
{
	struct channel_answer a = success_of(self->words, 0);

	channel_bound(&self->ch, 12, 5);
	EXPECT_PAGE(self, .updated_ns = 5, .publisher_pid = 12);
	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 12, NOW));
	/* final: a later binding is not written */
	channel_bound(&self->ch, 13, 6);
	EXPECT_EQ(12, self->page.publisher_pid);
	EXPECT_EQ(NOW, self->page.updated_ns);
}

TEST_F(machine, exit_code)
{
	WATCH(self);
	EXPECT_TRUE(channel_died(&self->ch, &self->tally, 7 << 8, false, NOW));
	UNWATCH();
	EXPECT_PAGE(self, .state = CHIPBOOT_ERROR, .error_code = -EOWNERDEAD,
		    .updated_ns = NOW, .order = 1, .wait_status = 7 << 8,
		    .origin = CHIPBOOT_ORIGIN_EXIT,
		    .flags = CHIPBOOT_PAGE_STATUS_VALID,
		    .message = "exited with code 7");
	EXPECT_EQ(-ECANCELED, channel_may_answer(&self->ch));
	/* told twice is told once */
	EXPECT_FALSE(channel_died(&self->ch, &self->tally, 9, false, 2 * NOW));
	EXPECT_EQ(7 << 8, self->page.wait_status);
}

TEST_F(machine, signal_and_progress)
{
	ASSERT_EQ(0, channel_progress(&self->ch, 1, "comm_init", 9, false, 5));
	EXPECT_TRUE(channel_died(&self->ch, &self->tally, 9, true, NOW));
	EXPECT_PAGE(self, .state = CHIPBOOT_ERROR, .error_code = -EOWNERDEAD,
		    .updated_ns = NOW, .order = 1, .wait_status = 9,
		    .origin = CHIPBOOT_ORIGIN_EXIT,
		    .flags = CHIPBOOT_PAGE_STATUS_VALID |
			     CHIPBOOT_PAGE_OOM_VICTIM,
		    .message = "killed by signal 9; last progress: comm_init");
}

TEST_F(machine, core)
{
	EXPECT_TRUE(channel_died(&self->ch, &self->tally, 0x80 | 11, false,
				 NOW));
	EXPECT_STREQ("killed by signal 11 (core dumped)", self->page.message);
}

TEST_F(machine, gone)
{
	struct channel_answer a = success_of(self->words, 2);

	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 77, NOW));
	WATCH(self);
	EXPECT_TRUE(channel_died(&self->ch, &self->tally, 11, false, 2 * NOW));
	watched = NULL;
	EXPECT_PAGE(self, .state = CHIPBOOT_SUCCESS, .count = 2,
		    .device_ctx = 0xdeadbeefcafe1234,
		    .local_window_base = 0xaabbccdd00112233,
		    .actual_window_size = 65536, .updated_ns = 2 * NOW,
		    .publisher_pid = 77, .order = 1, .wait_status = 11,
		    .origin = CHIPBOOT_ORIGIN_PUBLISHER,
		    .flags = CHIPBOOT_PAGE_STATUS_VALID | CHIPBOOT_PAGE_GONE,
		    .words = { ~0ULL, ~1ULL });
	EXPECT_EQ(1, self->tally.gone);
	EXPECT_EQ(1, self->tally.success);
	EXPECT_FALSE(channel_died(&self->ch, &self->tally, 9, false, 3 * NOW));
	EXPECT_EQ(1, self->tally.gone);
	channel_reset(&self->ch, &self->tally, 5);
	EXPECT_PAGE(self, .publisher_pid = 5);
	EXPECT_EQ(0, self->tally.gone);
}

TEST_F(machine, closed_deadline_abort)
{
	EXPECT_TRUE(channel_closed(&self->ch, &self->tally, NOW));
	EXPECT_PAGE(self, .state = CHIPBOOT_ERROR, .error_code = -EOWNERDEAD,
		    .updated_ns = NOW, .order = 1,
		    .origin = CHIPBOOT_ORIGIN_CLOSED,
		    .message = "publisher handle closed without an answer");
	channel_reset(&self->ch, &self->tally, 0);

	ASSERT_EQ(0, channel_progress(&self->ch, 2, "step", 4, false, 5));
	EXPECT_TRUE(channel_expired(&self->ch, &self->tally, NOW));
	EXPECT_PAGE(self, .state = CHIPBOOT_ERROR, .error_code = -ETIMEDOUT,
		    .updated_ns = NOW, .order = 2,
		    .origin = CHIPBOOT_ORIGIN_DEADLINE,
		    .message = "deadline passed; last progress: step");
	channel_reset(&self->ch, &self->tally, 0);

	ASSERT_EQ(0, channel_progress(&self->ch, 3, "step", 4, true, 5));
	EXPECT_TRUE(channel_aborted(&self->ch, &self->tally, -3, "no", 2, false,
				    NOW));
	EXPECT_PAGE(self, .state = CHIPBOOT_ERROR, .error_code = -3,
		    .updated_ns = NOW, .order = 3,
		    .origin = CHIPBOOT_ORIGIN_OWNER, .message = "no");
	channel_reset(&self->ch, &self->tally, 0);

	EXPECT_TRUE(channel_aborted(&self->ch, &self->tally, -3, "cut", 3, true,
				    NOW));
	EXPECT_PAGE(self, .state = CHIPBOOT_ERROR, .error_code = -3,
		    .updated_ns = NOW, .order = 4,
		    .origin = CHIPBOOT_ORIGIN_OWNER, .message = "cut",
		    .flags = CHIPBOOT_PAGE_TRUNCATED);
}

TEST_F(machine, nothing_overrides_an_answer)
{
	struct channel_answer a = success_of(self->words, 1);
	struct channel_answer b = error_of(1, "late");
	struct chipboot_page before;

	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 1, NOW));
	before = self->page;
	EXPECT_EQ(-EALREADY, channel_publish(&self->ch, &self->tally, 1, &b, 1,
					     NOW));
	EXPECT_EQ(-EALREADY, channel_progress(&self->ch, 1, "x", 1, false, 5));
	EXPECT_FALSE(channel_closed(&self->ch, &self->tally, NOW));
	EXPECT_FALSE(channel_expired(&self->ch, &self->tally, NOW));
	EXPECT_FALSE(channel_aborted(&self->ch, &self->tally, 1, "x", 1, false,
				     NOW));
	EXPECT_EQ(0, memcmp(&before, &self->page, sizeof(before)));
	EXPECT_EQ(1, self->tally.last_order);
}

TEST_F(machine, verdict_on_error_by_others)
{
	struct channel_answer a = success_of(self->words, 1);
	struct chipboot_page before;

	EXPECT_TRUE(channel_expired(&self->ch, &self->tally, NOW));
	before = self->page;
	EXPECT_EQ(-ECANCELED, channel_publish(&self->ch, &self->tally, 1, &a, 1,
					      NOW));
	EXPECT_FALSE(channel_died(&self->ch, &self->tally, 9, false, NOW));
	EXPECT_FALSE(channel_closed(&self->ch, &self->tally, NOW));
	EXPECT_EQ(0, memcmp(&before, &self->page, sizeof(before)));
}

TEST_F(machine, reset_shows_idle_first)
{
	struct channel_answer a = success_of(self->words, 4);

	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 1, &a, 1, NOW));
	WATCH(self);
	channel_reset(&self->ch, &self->tally, 0);
	watched = NULL;
	EXPECT_LE(3, looks_in);
	EXPECT_PAGE(self);
	EXPECT_EQ(1, self->tally.idle);
	/* order goes on */
	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, 2, &a, 1, NOW));
	EXPECT_EQ(2, self->page.order);
}

/* The kernel's verdict cuts a long progress text between two characters. */
TEST_F(machine, long_progress_is_cut_on_a_character)
{
	const char *cause = "killed by signal 9; last progress: ";
	const size_t room = CHIPBOOT_MESSAGE_SIZE - 1 - strlen(cause);
	char text[CHIPBOOT_MESSAGE_SIZE];
	size_t shift, i;

	for (shift = 0; shift < 4; shift++) {
		size_t len, want;

		memset(text, 'a', shift);
		for (i = shift; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3);
		len = i;
		text[len] = 0;
		want = shift + (room - shift) / 3 * 3;

		ASSERT_EQ(0, channel_progress(&self->ch, self->ch.generation,
					      text, len, false, 5));
		ASSERT_TRUE(channel_died(&self->ch, &self->tally, 9, false,
					 NOW));
		EXPECT_EQ(strlen(cause) + want, strlen(self->page.message));
		EXPECT_EQ(0, memcmp(cause, self->page.message, strlen(cause)));
		EXPECT_EQ(0, memcmp(text, self->page.message + strlen(cause),
				    want));
		EXPECT_EQ(CHIPBOOT_PAGE_STATUS_VALID | CHIPBOOT_PAGE_TRUNCATED,
			  self->page.flags);
		for (i = strlen(cause) + want; i < CHIPBOOT_MESSAGE_SIZE; i++)
			ASSERT_EQ(0, self->page.message[i]);
		channel_reset(&self->ch, &self->tally, 0);
	}
}

/* Bytes that are no UTF-8 are cut where the room ends. */
TEST_F(machine, long_progress_of_another_encoding)
{
	const char *cause = "deadline passed; last progress: ";
	char text[CHIPBOOT_MESSAGE_SIZE];

	memset(text, 0x80, sizeof(text));
	ASSERT_EQ(0, channel_progress(&self->ch, 1, text,
				      CHIPBOOT_MESSAGE_SIZE - 1, false, 5));
	ASSERT_TRUE(channel_expired(&self->ch, &self->tally, NOW));
	EXPECT_EQ(CHIPBOOT_MESSAGE_SIZE - 1, strlen(self->page.message));
	EXPECT_EQ(0, memcmp(cause, self->page.message, strlen(cause)));
	EXPECT_EQ(CHIPBOOT_PAGE_TRUNCATED, self->page.flags);
}

/* A truncated progress text keeps its flag in the verdict that quotes it. */
TEST_F(machine, truncated_progress_is_said)
{
	ASSERT_EQ(0, channel_progress(&self->ch, 1, "half", 4, true, 5));
	ASSERT_TRUE(channel_closed(&self->ch, &self->tally, NOW));
	EXPECT_EQ(CHIPBOOT_PAGE_TRUNCATED, self->page.flags);
	EXPECT_STREQ("publisher handle closed without an answer; last progress: half",
		     self->page.message);
}

TEST_F(machine, generation_and_seq_wrap)
{
	struct channel_answer a = success_of(self->words, 1);

	self->ch.generation = UINT_MAX;
	self->page.generation = UINT_MAX;
	self->page.seq = UINT_MAX - 1;
	ASSERT_EQ(0, channel_publish(&self->ch, &self->tally, UINT_MAX, &a, 1,
				     NOW));
	EXPECT_EQ(0, self->page.seq);
	channel_reset(&self->ch, &self->tally, 0);
	EXPECT_EQ(0, self->ch.generation);
	EXPECT_EQ(-ESTALE, channel_publish(&self->ch, &self->tally, UINT_MAX,
					   &a, 1, NOW));
	EXPECT_EQ(0, channel_publish(&self->ch, &self->tally, 0, &a, 1, NOW));
}

TEST_HARNESS_MAIN
