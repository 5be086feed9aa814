// SPDX-License-Identifier: MIT
/*
 * The mailbox's readers over the pages of a session: what they read is what the kernel
 * was told, and what differs from plain shared memory differs on purpose.
 *
 * vm: --cpus 2 --timeout 900
 */
#include "chipboot_test.h"

#include <chipboot_mailbox.h>

#define CHANNELS	64

FIXTURE(mailbox) {
	struct chipboot_session *session;
	struct chipboot_observer *observer;
	struct chipboot_publisher *publisher;
	struct chipboot_answer before;
	struct chipboot_mailbox mailbox[CHANNELS];
	uint64_t words[CHIPBOOT_MAX_WORDS];
	char text[CHIPBOOT_MAILBOX_MESSAGE_SIZE];
};

/* Readers of an observer of one's own, like a runtime process has. */
FIXTURE_SETUP(mailbox)
{
	int i;

	ASSERT_EQ(0, chipboot_session_create(&self->session, CHANNELS));
	ASSERT_EQ(0, chipboot_session_observe(self->session, 0,
					      &self->observer));
	for (i = 0; i < CHANNELS; i++)
		ASSERT_EQ(0, chipboot_mailbox_init(&self->mailbox[i],
						   (void *)chipboot_page(self->observer, i),
						   CHIPBOOT_MAILBOX_PTR_CAPACITY));
}

FIXTURE_TEARDOWN(mailbox)
{
	chipboot_observer_close(self->observer);
	chipboot_session_close(self->session);
}

/* What a channel was given; its numbers depend on the seed alone. */
static struct chipboot_publish answer_of(uint64_t seed,
					 uint64_t words[CHIPBOOT_MAX_WORDS])
{
	uint64_t mixed = (seed + 1) * 0x9e3779b97f4a7c15u;
	uint32_t count = (mixed >> 32) % (CHIPBOOT_MAX_WORDS + 1);

	if (seed < 2)
		count = seed * CHIPBOOT_MAX_WORDS;
	/* the library's uint64_t and the kernel's __u64 are two types */
	return cb_a_success(0, seed, (__u64 *)words, count);
}

/* A runtime process of the channel answers, and is reaped; its wait status. */
static int publish(struct chipboot_session *session, uint32_t channel,
		   const struct chipboot_publish *answer, const uint64_t *words)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *peers;
	pid_t pid = chipboot_fork(session, channel, SIGKILL, 0, &publisher,
				  &peers);

	if (pid)
		return pid < 0 ? pid : cb_reap(pid);
	_exit(-chipboot_publish_success(publisher, answer->device_ctx,
					answer->local_window_base,
					answer->actual_window_size, words,
					answer->count));
}

TEST_F(mailbox, random_answers_through_the_kernel)
{
	uint64_t words[CHIPBOOT_MAX_WORDS];
	const struct chipboot_mailbox *mailbox;
	struct chipboot_publish answer;
	unsigned int pointers = 0;
	int i;

	for (i = 0; i < CHANNELS; i++) {
		EXPECT_EQ(CHIPBOOT_STATE_IDLE,
			  chipboot_mailbox_state(&self->mailbox[i]));
		answer = answer_of(i, words);
		ASSERT_EQ(0, publish(self->session, i, &answer, words));
	}
	for (i = 0; i < CHANNELS; i++) {
		mailbox = &self->mailbox[i];
		answer = answer_of(i, words);
		ASSERT_EQ(CHIPBOOT_STATE_SUCCESS,
			  chipboot_mailbox_state(mailbox));
		EXPECT_EQ(answer.device_ctx,
			  chipboot_mailbox_device_ctx(mailbox));
		EXPECT_EQ(answer.local_window_base,
			  chipboot_mailbox_local_window_base(mailbox));
		EXPECT_EQ(answer.actual_window_size,
			  chipboot_mailbox_actual_window_size(mailbox));
		EXPECT_EQ(0, chipboot_mailbox_error_code(mailbox));
		ASSERT_EQ((int)answer.count,
			  chipboot_mailbox_buffer_ptrs(mailbox, self->words,
						       CHIPBOOT_MAX_WORDS));
		EXPECT_EQ(0, memcmp(words, self->words,
				    answer.count * sizeof(*words)));
		EXPECT_EQ(0, chipboot_mailbox_error_message(mailbox, self->text,
							    sizeof(self->text)));
		EXPECT_STREQ("", self->text);
		pointers += answer.count;
	}
	TH_LOG("%d answers, %u pointers", CHANNELS, pointers);
}

TEST_F(mailbox, errors_through_the_kernel)
{
	char text[2000];
	int i;

	memset(text, 'x', sizeof(text));
	for (i = 0; i < 3; i++) {
		text[i < 2 ? 700 * i : 1999] = '\0';
		ASSERT_EQ(0, chipboot_session_claim(self->session, i,
						    &self->publisher));
		ASSERT_EQ(0, chipboot_publish_error(self->publisher,
						    INT_MIN + i, text));
		chipboot_publisher_close(self->publisher);
		EXPECT_EQ(CHIPBOOT_STATE_ERROR,
			  chipboot_mailbox_state(&self->mailbox[i]));
		EXPECT_EQ(INT_MIN + i,
			  chipboot_mailbox_error_code(&self->mailbox[i]));
		EXPECT_EQ(i < 2 ? 700 * i : 1023,
			  chipboot_mailbox_error_message(&self->mailbox[i],
							 self->text,
							 sizeof(self->text)));
		EXPECT_EQ(0, strncmp(text, self->text, 1023));
		memset(text, 'x', sizeof(text));
	}
}

/* On plain memory a second write overwrites the first. */
TEST_F(mailbox, second_publish_is_refused)
{
	ASSERT_EQ(0, chipboot_session_claim(self->session, 0,
					    &self->publisher));
	ASSERT_EQ(0, chipboot_publish_success(self->publisher, 1, 2, 3,
					      self->words, 4));
	self->before = *chipboot_page(self->observer, 0);
	EXPECT_EQ(-EALREADY, chipboot_publish_success(self->publisher, 9, 9, 9,
						      NULL, 0));
	EXPECT_EQ(-EALREADY, chipboot_publish_error(self->publisher, 9, "no"));
	EXPECT_EQ(CHIPBOOT_STATE_SUCCESS,
		  chipboot_mailbox_state(&self->mailbox[0]));
	EXPECT_EQ(1, chipboot_mailbox_device_ctx(&self->mailbox[0]));
	EXPECT_EQ(0, memcmp(&self->before, chipboot_page(self->observer, 0),
			    sizeof(self->before)));
	chipboot_publisher_close(self->publisher);
}

/* And whoever has the memory can reset it. */
TEST_F(mailbox, reset_is_the_owners)
{
	struct chipboot_observer *peers;
	pid_t pid;
	int ret;

	pid = chipboot_fork(self->session, 0, SIGKILL, 0, &self->publisher,
			    &peers);
	ASSERT_LE(0, pid);
	if (!pid) {
		ret = chipboot_publish_success(self->publisher, 1, 2, 3, NULL,
					       0);
		if (!ret)
			ret = chipboot_session_reset(self->session, 0, 1, 0);
		_exit(-ret);
	}
	EXPECT_EQ(EPERM << 8, cb_reap(pid));
	EXPECT_EQ(CHIPBOOT_STATE_SUCCESS,
		  chipboot_mailbox_state(&self->mailbox[0]));

	/* the mapping is read-only: the mailbox's own reset is a fault */
	self->before = *chipboot_page(self->observer, 0);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		chipboot_mailbox_reset(&self->mailbox[0]);
		_exit(0);
	}
	EXPECT_EQ(SIGSEGV, cb_reap(pid) & 127);
	EXPECT_EQ(0, memcmp(&self->before, chipboot_page(self->observer, 0),
			    sizeof(self->before)));

	EXPECT_EQ(0, chipboot_session_reset(self->session, 0, 1, 0));
	EXPECT_EQ(CHIPBOOT_STATE_IDLE,
		  chipboot_mailbox_state(&self->mailbox[0]));
	EXPECT_EQ(0, chipboot_mailbox_device_ctx(&self->mailbox[0]));
}

#define EXPECT_MESSAGE(text_, channel)						\
	do {									\
		EXPECT_EQ((int)strlen(text_),					\
			  chipboot_mailbox_error_message(&self->mailbox[channel],	\
							 self->text,		\
							 sizeof(self->text)));	\
		EXPECT_STREQ(text_, self->text);				\
	} while (0)

/* A session's page holds the last progress text while it is IDLE. */
TEST_F(mailbox, progress_is_no_error_message)
{
	const char *progress = "loading firmware";
	uint32_t i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, chipboot_session_claim(self->session, i,
						    &self->publisher));
		ASSERT_EQ(0, chipboot_progress(self->publisher, progress));
		EXPECT_STREQ(progress, chipboot_page(self->observer,
						     i)->message);
		EXPECT_MESSAGE("", i);
		if (i) {
			ASSERT_EQ(0, chipboot_publish_error(self->publisher, 42,
							    "device not found"));
		} else {
			ASSERT_EQ(0, chipboot_publish_success(self->publisher,
							      0, 0, 0, NULL,
							      0));
		}
		EXPECT_MESSAGE(i ? "device not found" : "", i);
		EXPECT_EQ(i ? 42 : 0,
			  chipboot_mailbox_error_code(&self->mailbox[i]));
		chipboot_publisher_close(self->publisher);
	}
}

TEST_HARNESS_MAIN
