/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state machine of one channel, and what a session's channels add up to.
 *
 * Pure: no file, task, lock or clock in this interface, so that the same file
 * compiles in userspace for its unit tests.  The caller holds the lock that guards
 * channel, page and tally (in the module: session->lock), and passes in the time.
 */
#ifndef CHIPBOOT_CHANNEL_H
#define CHIPBOOT_CHANNEL_H

#include <linux/types.h>
#include <linux/chipboot.h>

/**
 * struct channel - what the kernel knows of one channel
 * @page: the page that is mapped; written by channel.c only, and never read back
 *	for a decision (a progress text and its TRUNCATED flag move on into the
 *	verdict, seq is counted up; that is all)
 * @generation: see &chipboot_page.generation
 * @order: see &chipboot_page.order
 * @words: how many of page->words are not zero by now, so that RESET can clear
 *	just those
 * @message_len: bytes of page->message before the NUL; those behind are zero
 * @state: enum chipboot_state
 * @origin: enum chipboot_origin
 * @gone: answered SUCCESS, and the bound process died since
 */
struct channel {
	struct chipboot_page *page;
	u32 generation;
	u32 order;
	u16 words;
	u16 message_len;
	u8 state;
	u8 origin;
	bool gone;
};

/**
 * struct channel_tally - the channels of a session, counted
 * @idle: channels that are IDLE
 * @success: channels that are SUCCESS
 * @error: channels that are ERROR
 * @gone: channels of @success that are gone
 * @last_order: order of the last answer; never restarts
 */
struct channel_tally {
	u32 idle;
	u32 success;
	u32 error;
	u32 gone;
	u32 last_order;
};

/**
 * struct channel_answer - what a publisher says, copied in and checked
 * @state: CHIPBOOT_SUCCESS or CHIPBOOT_ERROR
 * @error_code: ERROR: the code
 * @device_ctx: SUCCESS
 * @local_window_base: SUCCESS
 * @actual_window_size: SUCCESS
 * @words: SUCCESS: @count words; never NULL
 * @count: at most CHIPBOOT_WORDS_MAX
 * @message: ERROR: @message_len bytes, without a NUL; never NULL
 * @message_len: less than CHIPBOOT_MESSAGE_SIZE
 * @truncated: the caller cut @message
 */
struct channel_answer {
	s32 state;
	s32 error_code;
	u64 device_ctx;
	u64 local_window_base;
	u64 actual_window_size;
	const u64 *words;
	u32 count;
	const char *message;
	u32 message_len;
	bool truncated;
};

void channel_init(struct channel *ch, struct channel_tally *tally,
		  struct chipboot_page *page);
int channel_may_answer(const struct channel *ch);
int channel_publish(struct channel *ch, struct channel_tally *tally,
		    u32 generation, const struct channel_answer *answer,
		    s32 pid, u64 now);
int channel_progress(struct channel *ch, u32 generation, const char *message,
		     u32 message_len, bool truncated, u64 now);
void channel_bound(struct channel *ch, s32 pid, u64 now);
bool channel_died(struct channel *ch, struct channel_tally *tally,
		  u16 wait_status, bool oom_victim, u64 now);
bool channel_closed(struct channel *ch, struct channel_tally *tally, u64 now);
bool channel_expired(struct channel *ch, struct channel_tally *tally, u64 now);
bool channel_aborted(struct channel *ch, struct channel_tally *tally,
		     s32 error_code, const char *message, u32 message_len,
		     bool truncated, u64 now);
void channel_reset(struct channel *ch, struct channel_tally *tally, s32 pid);

#endif /* CHIPBOOT_CHANNEL_H */
