// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state machine of one channel: every write to a channel page is in this
 * file, and every decision whether an answer counts.
 *
 * Called by session.c and the handles' files under session->lock; compiled in
 * userspace by the unit tests.
 */
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/preempt.h>
#include <linux/string.h>
#include <asm/barrier.h>

#include "channel.h"

#define PROGRESS_PREFIX "; last progress: "

/*
 * A reader on the writer's processor that preempts it with seq odd would spin
 * for as long as it has the higher priority: PREEMPT_RT does not disable
 * preemption by taking a spinlock, so it is done here.  Between begin and end
 * there are only stores and copies of memory that cannot fault.
 */
static void page_write_begin(struct chipboot_page *page)
{
	preempt_disable();
	WRITE_ONCE(page->seq, page->seq + 1);
	/*
	 * seq is odd before anything else changes.  Pairs with the acquire
	 * fence between a reader's copy and its second look at seq.
	 */
	smp_wmb();
}

static void page_write_end(struct chipboot_page *page)
{
	/*
	 * Everything has changed before seq is even.  Pairs with the acquire
	 * load of seq that begins a reader's copy.
	 */
	smp_store_release(&page->seq, page->seq + 1);
	preempt_enable();
}

/*
 * Bytes of @text that fit in @room, which is hundreds of bytes, without cutting a
 * UTF-8 character in half.
 */
static u32 utf8_fit(const char *text, u32 len, u32 room)
{
	u32 fit = room;

	if (len <= room)
		return len;
	/* A character is at most four bytes; in other encodings just cut. */
	while (room - fit < 3 && (text[fit] & 0xc0) == 0x80)
		fit--;
	return (text[fit] & 0xc0) == 0x80 ? room : fit;
}

/* The message is @len bytes at @text; all behind them is zero. */
static void page_set_message(struct channel *ch, const char *text, u32 len)
{
	char *message = ch->page->message;

	memcpy(message, text, len);
	if (ch->message_len > len)
		memset(message + len, 0, ch->message_len - len);
	ch->message_len = len;
}

/*
 * The message becomes @cause, followed by the progress text that stands in the
 * page.  Returns whether something had to be cut.
 */
static bool page_set_cause(struct channel *ch, const char *cause, u32 len)
{
	const u32 prefix = sizeof(PROGRESS_PREFIX) - 1;
	char *message = ch->page->message;
	u32 progress = ch->message_len;
	u32 fit;

	if (!progress) {
		page_set_message(ch, cause, len);
		return false;
	}
	fit = utf8_fit(message, progress,
		       CHIPBOOT_MESSAGE_SIZE - 1 - len - prefix);
	memmove(message + len + prefix, message, fit);
	memcpy(message, cause, len);
	memcpy(message + len, PROGRESS_PREFIX, prefix);
	ch->message_len = len + prefix + fit;
	/* A cut at a character's edge may end before the old text did. */
	memset(message + ch->message_len, 0,
	       CHIPBOOT_MESSAGE_SIZE - ch->message_len);
	return fit < progress;
}

/* The fields that every answer has in common; the payload comes before. */
static void page_set_answer(struct channel *ch, struct channel_tally *tally,
			    u8 state, u8 origin, u8 flags, u64 now)
{
	struct chipboot_page *page = ch->page;

	ch->state = state;
	ch->origin = origin;
	ch->order = ++tally->last_order;

	tally->idle--;
	if (state == CHIPBOOT_SUCCESS)
		tally->success++;
	else
		tally->error++;

	page->updated_ns = now;
	page->order = ch->order;
	page->origin = origin;
	page->flags = flags;
	/*
	 * The payload is there before the state that announces it.  Pairs
	 * with the acquire load of state by every reader.
	 */
	smp_store_release(&page->state, (s32)state);
}

/* An answer by the kernel: @cause, and what was being done. */
static void page_set_verdict(struct channel *ch, struct channel_tally *tally,
			     u8 origin, s32 code, const char *cause, u32 len,
			     u8 flags, u64 now)
{
	struct chipboot_page *page = ch->page;

	/* The progress text that goes into the cause was cut already. */
	flags |= page->flags & CHIPBOOT_PAGE_TRUNCATED;
	if (page_set_cause(ch, cause, len))
		flags |= CHIPBOOT_PAGE_TRUNCATED;
	page->error_code = code;
	page_set_answer(ch, tally, CHIPBOOT_ERROR, origin, flags, now);
}

/**
 * channel_init() - a new channel: IDLE, generation 1
 * @ch: zeroed
 * @tally: counts it
 * @page: its page, zeroed
 */
void channel_init(struct channel *ch, struct channel_tally *tally,
		  struct chipboot_page *page)
{
	ch->page = page;
	ch->generation = 1;
	page->generation = 1;
	tally->idle++;
}

/**
 * channel_may_answer() - is the channel still to be answered?
 * @ch: the channel
 *
 * Return: 0; -EALREADY if its publisher has answered; -ECANCELED if another
 * verdict was first.
 */
int channel_may_answer(const struct channel *ch)
{
	if (ch->state == CHIPBOOT_IDLE)
		return 0;
	return ch->origin == CHIPBOOT_ORIGIN_PUBLISHER ? -EALREADY : -ECANCELED;
}

/**
 * channel_publish() - the publisher's answer
 * @ch: the channel
 * @tally: counts it
 * @generation: the one that is meant
 * @answer: checked by the caller
 * @pid: for the page's publisher_pid
 * @now: for updated_ns
 *
 * Return: 0; -ESTALE: another generation; what channel_may_answer() says.
 */
int channel_publish(struct channel *ch, struct channel_tally *tally,
		    u32 generation, const struct channel_answer *answer,
		    s32 pid, u64 now)
{
	struct chipboot_page *page = ch->page;
	int err;

	if (generation != ch->generation)
		return -ESTALE;
	err = channel_may_answer(ch);
	if (err)
		return err;

	page_write_begin(page);
	page->error_code = answer->error_code;
	page->count = answer->count;
	page->device_ctx = answer->device_ctx;
	page->local_window_base = answer->local_window_base;
	page->actual_window_size = answer->actual_window_size;
	page->publisher_pid = pid;
	memcpy(page->words, answer->words, answer->count * sizeof(u64));
	ch->words = answer->count;
	page_set_message(ch, answer->message, answer->message_len);
	page_set_answer(ch, tally, answer->state, CHIPBOOT_ORIGIN_PUBLISHER,
			answer->truncated ? CHIPBOOT_PAGE_TRUNCATED : 0, now);
	page_write_end(page);
	return 0;
}

/**
 * channel_progress() - what the publisher is doing
 * @ch: the channel
 * @generation: the one that is meant
 * @message: @message_len bytes, without a NUL
 * @message_len: less than CHIPBOOT_MESSAGE_SIZE
 * @truncated: the caller cut @message
 * @now: for updated_ns
 *
 * Return: 0; -ESTALE: another generation; -EALREADY: the channel is answered.
 */
int channel_progress(struct channel *ch, u32 generation, const char *message,
		     u32 message_len, bool truncated, u64 now)
{
	struct chipboot_page *page = ch->page;

	if (generation != ch->generation)
		return -ESTALE;
	if (ch->state != CHIPBOOT_IDLE)
		return -EALREADY;

	page_write_begin(page);
	page_set_message(ch, message, message_len);
	page->updated_ns = now;
	page->flags = truncated ? CHIPBOOT_PAGE_TRUNCATED : 0;
	page_write_end(page);
	return 0;
}

/**
 * channel_bound() - a process stands for this channel from now on
 * @ch: the channel
 * @pid: for the page's publisher_pid
 * @now: for updated_ns
 *
 * An answer is final, so in SUCCESS and ERROR the page stays as it is.
 */
void channel_bound(struct channel *ch, s32 pid, u64 now)
{
	struct chipboot_page *page = ch->page;

	if (ch->state != CHIPBOOT_IDLE)
		return;
	page_write_begin(page);
	page->publisher_pid = pid;
	page->updated_ns = now;
	page_write_end(page);
}

/**
 * channel_died() - the bound process died
 * @ch: the channel
 * @tally: counts it
 * @wait_status: as waitpid() gives it
 * @oom_victim: the OOM killer chose it
 * @now: for updated_ns
 *
 * Return: whether anything changed.
 */
bool channel_died(struct channel *ch, struct channel_tally *tally,
		  u16 wait_status, bool oom_victim, u64 now)
{
	struct chipboot_page *page = ch->page;
	u8 flags = CHIPBOOT_PAGE_STATUS_VALID;
	char cause[64];
	int len;

	if (ch->state == CHIPBOOT_ERROR || ch->gone)
		return false;
	if (oom_victim)
		flags |= CHIPBOOT_PAGE_OOM_VICTIM;

	/* wait(2)'s encoding: 7 bits of signal, 0x80 core, then the code. */
	if (wait_status & 0x7f)
		len = scnprintf(cause, sizeof(cause), "killed by signal %u%s",
				wait_status & 0x7f,
				wait_status & 0x80 ? " (core dumped)" : "");
	else
		len = scnprintf(cause, sizeof(cause), "exited with code %u",
				wait_status >> 8);

	page_write_begin(page);
	page->wait_status = wait_status;
	if (ch->state == CHIPBOOT_SUCCESS) {
		ch->gone = true;
		tally->gone++;
		page->updated_ns = now;
		page->flags |= flags | CHIPBOOT_PAGE_GONE;
	} else {
		page_set_verdict(ch, tally, CHIPBOOT_ORIGIN_EXIT, -EOWNERDEAD,
				 cause, len, flags, now);
	}
	page_write_end(page);
	return true;
}

/* An IDLE channel gets a verdict with a fixed text. */
static bool channel_cancel(struct channel *ch, struct channel_tally *tally,
			   u8 origin, s32 code, const char *cause, u64 now)
{
	if (ch->state != CHIPBOOT_IDLE)
		return false;
	page_write_begin(ch->page);
	page_set_verdict(ch, tally, origin, code, cause, strlen(cause), 0, now);
	page_write_end(ch->page);
	return true;
}

/**
 * channel_closed() - the last copy of the publisher handle was closed
 * @ch: the channel
 * @tally: counts it
 * @now: for updated_ns
 *
 * Return: whether anything changed.
 */
bool channel_closed(struct channel *ch, struct channel_tally *tally, u64 now)
{
	return channel_cancel(ch, tally, CHIPBOOT_ORIGIN_CLOSED, -EOWNERDEAD,
			      "publisher handle closed without an answer", now);
}

/**
 * channel_expired() - the session's deadline passed
 * @ch: the channel
 * @tally: counts it
 * @now: for updated_ns
 *
 * Return: whether anything changed.
 */
bool channel_expired(struct channel *ch, struct channel_tally *tally, u64 now)
{
	return channel_cancel(ch, tally, CHIPBOOT_ORIGIN_DEADLINE, -ETIMEDOUT,
			      "deadline passed", now);
}

/**
 * channel_aborted() - the owner's verdict, with the owner's text
 * @ch: the channel
 * @tally: counts it
 * @error_code: any
 * @message: @message_len bytes, without a NUL
 * @message_len: less than CHIPBOOT_MESSAGE_SIZE
 * @truncated: the caller cut @message
 * @now: for updated_ns
 *
 * Return: whether anything changed.
 */
bool channel_aborted(struct channel *ch, struct channel_tally *tally,
		     s32 error_code, const char *message, u32 message_len,
		     bool truncated, u64 now)
{
	struct chipboot_page *page = ch->page;

	if (ch->state != CHIPBOOT_IDLE)
		return false;
	page_write_begin(page);
	page->error_code = error_code;
	page_set_message(ch, message, message_len);
	page_set_answer(ch, tally, CHIPBOOT_ERROR, CHIPBOOT_ORIGIN_OWNER,
			truncated ? CHIPBOOT_PAGE_TRUNCATED : 0, now);
	page_write_end(page);
	return true;
}

/**
 * channel_reset() - an answered channel becomes IDLE, one generation on
 * @ch: the channel, not IDLE (the caller has checked)
 * @tally: counts it
 * @pid: publisher_pid of the new generation: the process whose binding carries
 *	over, or 0
 */
void channel_reset(struct channel *ch, struct channel_tally *tally, s32 pid)
{
	struct chipboot_page *page = ch->page;

	if (ch->state == CHIPBOOT_SUCCESS)
		tally->success--;
	else
		tally->error--;
	if (ch->gone)
		tally->gone--;
	tally->idle++;
	ch->state = CHIPBOOT_IDLE;
	ch->origin = CHIPBOOT_ORIGIN_NONE;
	ch->gone = false;
	ch->order = 0;
	ch->generation++;

	page_write_begin(page);
	WRITE_ONCE(page->state, CHIPBOOT_IDLE);
	/*
	 * IDLE before the payload goes.  A reader that knows only the state
	 * word is consistent within one generation; this keeps what it sees in
	 * between as short as it can be.  Pairs with its acquire load of state.
	 */
	smp_wmb();
	memset(page->words, 0, ch->words * sizeof(u64));
	ch->words = 0;
	page_set_message(ch, "", 0);
	page->error_code = 0;
	page->count = 0;
	page->device_ctx = 0;
	page->local_window_base = 0;
	page->actual_window_size = 0;
	page->updated_ns = 0;
	page->publisher_pid = pid;
	page->generation = ch->generation;
	page->order = 0;
	page->wait_status = 0;
	page->origin = CHIPBOOT_ORIGIN_NONE;
	page->flags = 0;
	page_write_end(page);
}

/* Layout is ABI: what the original's readers and the documentation rely on. */
static_assert(offsetof(struct chipboot_page, state) == 0);
static_assert(offsetof(struct chipboot_page, error_code) == 4);
static_assert(offsetof(struct chipboot_page, count) == 8);
static_assert(offsetof(struct chipboot_page, seq) == 12);
static_assert(offsetof(struct chipboot_page, device_ctx) == 16);
static_assert(offsetof(struct chipboot_page, local_window_base) == 24);
static_assert(offsetof(struct chipboot_page, actual_window_size) == 32);
static_assert(offsetof(struct chipboot_page, updated_ns) == 40);
static_assert(offsetof(struct chipboot_page, publisher_pid) == 48);
static_assert(offsetof(struct chipboot_page, generation) == 52);
static_assert(offsetof(struct chipboot_page, order) == 56);
static_assert(offsetof(struct chipboot_page, wait_status) == 60);
static_assert(offsetof(struct chipboot_page, origin) == 62);
static_assert(offsetof(struct chipboot_page, flags) == 63);
static_assert(offsetof(struct chipboot_page, words) == 64);
static_assert(offsetof(struct chipboot_page, message) == 3072);
