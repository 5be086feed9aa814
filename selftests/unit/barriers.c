// SPDX-License-Identifier: GPL-2.0-only
/*
 * The barriers of kmod/channel.c are those that the litmus tests are about
 * (Documentation/litmus): which, in which order, on which word, and what stands in
 * the page at each.  Neither x86 nor its emulation would show that one is missing,
 * and herd7 reads no C of ours; this is what connects the two.  Runs on the host.
 */
#include <errno.h>
#include <stddef.h>

#include "channel.h"
#include "kselftest_harness.h"

int unit_preempt_count;

static struct chipboot_page page;
static struct channel_tally tally;
static struct channel ch;
static const u64 words[] = { 7 };

/* What happened since begin(): "wmb state seq" */
static char seen[80];
/* What the page had in it at the last smp_wmb(). */
static struct chipboot_page at_wmb;

void unit_look_in(const char *barrier, const void *word)
{
	const char *name = "wmb";

	if (!strcmp(barrier, "before release"))
		return;
	if (!strcmp(barrier, "release"))
		name = word == &page.seq ? "seq" :
		       word == &page.state ? "state" : "?";
	else
		at_wmb = page;
	if (seen[0])
		strcat(seen, " ");
	strcat(seen, name);
}

static void begin(void)
{
	seen[0] = '\0';
}

static int publish(void)
{
	const struct channel_answer answer = {
		.state = CHIPBOOT_SUCCESS,
		.words = words,
		.count = 1,
		.message = "",
	};

	return channel_publish(&ch, &tally, ch.generation, &answer, 1, 1);
}

FIXTURE(barriers) {
};

FIXTURE_SETUP(barriers)
{
	memset(&page, 0, sizeof(page));
	memset(&tally, 0, sizeof(tally));
	memset(&ch, 0, sizeof(ch));
	channel_init(&ch, &tally, &page);
	begin();
}

FIXTURE_TEARDOWN(barriers)
{
}

/* publish-read.litmus and snapshot.litmus, P0 */
TEST_F(barriers, publish)
{
	ASSERT_EQ(0, publish());
	EXPECT_STREQ("wmb state seq", seen);
	/* seq is odd before anything else changes */
	EXPECT_EQ(1, at_wmb.seq);
	EXPECT_EQ(0, at_wmb.words[0]);
	EXPECT_EQ(CHIPBOOT_IDLE, at_wmb.state);
}

/* The kernel's and the owner's verdicts are announced like an answer. */
TEST_F(barriers, verdicts)
{
	EXPECT_TRUE(channel_died(&ch, &tally, 9, false, 1));
	EXPECT_STREQ("wmb state seq", seen);
	channel_reset(&ch, &tally, 0);
	begin();
	EXPECT_TRUE(channel_closed(&ch, &tally, 1));
	EXPECT_STREQ("wmb state seq", seen);
	channel_reset(&ch, &tally, 0);
	begin();
	EXPECT_TRUE(channel_expired(&ch, &tally, 1));
	EXPECT_STREQ("wmb state seq", seen);
	channel_reset(&ch, &tally, 0);
	begin();
	EXPECT_TRUE(channel_aborted(&ch, &tally, 1, "no", 2, false, 1));
	EXPECT_STREQ("wmb state seq", seen);
}

/* What changes no state has the sequence count alone. */
TEST_F(barriers, without_an_answer)
{
	ASSERT_EQ(0, channel_progress(&ch, 1, "step", 4, false, 1));
	EXPECT_STREQ("wmb seq", seen);
	begin();
	channel_bound(&ch, 5, 1);
	EXPECT_STREQ("wmb seq", seen);
	ASSERT_EQ(0, publish());
	begin();
	EXPECT_TRUE(channel_died(&ch, &tally, 9, false, 1));
	EXPECT_STREQ("wmb seq", seen);
}

/* snapshot.litmus, P1; and IDLE is there before the payload goes. */
TEST_F(barriers, reset)
{
	ASSERT_EQ(0, publish());
	begin();
	channel_reset(&ch, &tally, 0);
	EXPECT_STREQ("wmb wmb seq", seen);
	EXPECT_EQ(1, at_wmb.seq % 2);
	EXPECT_EQ(CHIPBOOT_IDLE, at_wmb.state);
	EXPECT_EQ(words[0], at_wmb.words[0]);
}

TEST_HARNESS_MAIN
