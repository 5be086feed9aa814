/* SPDX-License-Identifier: MIT */
/*
 * The mailbox: one answer through any 4096 bytes of shared memory.
 *
 * The mechanism that chipboot grew from (the class ChipBootstrapChannel), for the
 * programs that use it: the same page, the same functions, no kernel module, no
 * descriptor.  One side writes SUCCESS or ERROR, the other polls the state word and
 * then reads the payload.  A channel's page of a session has the same layout, so
 * the reading functions work on chipboot_page() too.
 *
 * A mailbox is memory and no more.  That an answer is given once, that it cannot
 * change or be forged, that a death is an answer, that a wait costs nothing and
 * ends, that a reset cannot meet a late answer: all that is what a session adds, see
 * chipboot.h.
 *
 * The page.  4096 bytes, aligned to 8, at any address in each process, of native byte
 * order, laid out as &struct chipboot_answer.  All zero is IDLE: fresh shared memory
 * needs no reset.  The fields that the mailbox does not name (seq, updated_ns,
 * publisher_pid, generation, order, wait_status, origin, flags) belong to the kernel
 * and stay zero in a plain mailbox.
 *
 * Memory order.  The writer stores the payload, by plain stores, and then the state
 * by one release store.  The reader loads the state by one acquire load, and then the
 * payload, by plain loads.  If the acquire load reads what the release store wrote,
 * every store before that is visible to every load after it: who sees SUCCESS or
 * ERROR sees the whole payload of it.  Nothing stronger is needed, because one
 * location, the state, decides: no fence, no locked instruction.  It is stlr and ldar
 * on aarch64, and ldapr instead of ldar where the compiler may use it: all that ldar
 * has on top is that it does not overtake an earlier stlr of the same thread to
 * another location, and no reader here stores anything that its load would have to
 * wait for.  On x86-64 both are a plain mov.
 *
 * Hostile peers.  Whoever has the memory mapped can write anything at any moment.
 * Each value is loaded from the page once, checked, and then that copy of it is used;
 * nothing outside the page is ever read, nothing is clamped: a value that is out of
 * range is an error.  What the values say is as trustworthy as who can write them.
 *
 * Writing again.  A write onto an answered page is not refused; it overwrites in
 * place, without going through IDLE, as the original did.  What a reader can see then:
 *
 *	SUCCESS over ERROR, or the reverse
 *		The two payloads have no byte in common, so a reader that has seen
 *		either state reads that answer's payload whole.
 *	SUCCESS over SUCCESS, ERROR over ERROR
 *		A reader that saw the first can read any mixture of both, value by
 *		value; a message byte by byte, but always with an end in the page.
 *	two writers at once
 *		Anything that both have written, in any mixture.
 *
 * A write leaves the other state's fields as they are: the error code of an earlier
 * ERROR is still there in SUCCESS.  Reset in between where that matters.
 *
 * Errors.  Negative errno, and then nothing has changed; chipboot_explain() has the
 * words.  A &struct chipboot_mailbox is what chipboot_mailbox_init() made; NULL in its
 * place is not checked for.
 *
 * Threads.  Every function may be called from any thread at any time.  None blocks,
 * none makes a system call, and none uses memory but the page and the caller's.
 */
#ifndef CHIPBOOT_MAILBOX_H
#define CHIPBOOT_MAILBOX_H

#include <chipboot.h>

#ifdef __cplusplus
extern "C" {
#endif

/** CHIPBOOT_MAILBOX_SIZE - bytes of a mailbox */
#define CHIPBOOT_MAILBOX_SIZE		4096
/** CHIPBOOT_MAILBOX_PTR_CAPACITY - buffer pointers there is room for */
#define CHIPBOOT_MAILBOX_PTR_CAPACITY	CHIPBOOT_MAX_WORDS
/** CHIPBOOT_MAILBOX_MESSAGE_SIZE - bytes of a message, with its NUL */
#define CHIPBOOT_MAILBOX_MESSAGE_SIZE	(CHIPBOOT_MAX_TEXT + 1)

/**
 * struct chipboot_mailbox - one process's view of a mailbox
 * @page: the shared memory; it stays the caller's, who unmaps it after last use
 * @max_buffer_count: buffer pointers that both sides have agreed on, at most
 *
 * Made by chipboot_mailbox_init(), copied freely, nothing to free.
 */
struct chipboot_mailbox {
	struct chipboot_answer *page;
	size_t max_buffer_count;
};

/**
 * chipboot_mailbox_init - look at 4096 bytes as a mailbox
 * @mailbox: is filled in
 * @page: CHIPBOOT_MAILBOX_SIZE bytes of shared memory, not touched here.  Mapped
 *	read-only if only the reading functions are called, as chipboot_page() is
 *	(cast its const away): a write then is SIGSEGV
 * @max_buffer_count: 0 to CHIPBOOT_MAILBOX_PTR_CAPACITY
 *
 * -EINVAL: @mailbox or @page is NULL, @page is not aligned to 8 bytes, or
 * @max_buffer_count is more.
 */
int chipboot_mailbox_init(struct chipboot_mailbox *mailbox, void *page,
			  size_t max_buffer_count);

/* Writing --------------------------------------------------------------- */

/**
 * chipboot_mailbox_reset - make it IDLE and all zero
 *
 * IDLE is stored first, then a release fence, then the rest is zeroed: a process that
 * is killed in between leaves IDLE behind, never an answer half gone, and a reader that
 * finds zeroes where it did not expect them knows why by an acquire fence and another
 * look at the state.  A reader that saw the answer and is still reading gets a mixture
 * of it and zeroes.  Who resets has to know by other means that nobody is reading, and
 * that no writer is on its way.
 */
void chipboot_mailbox_reset(const struct chipboot_mailbox *mailbox);

/**
 * chipboot_mailbox_write_success - publish: the chip is up
 * @device_ctx: any
 * @local_window_base: any
 * @actual_window_size: any
 * @buffer_ptrs: @count values, any; may be NULL if @count is 0
 * @count: 0 to &chipboot_mailbox.max_buffer_count
 *
 * Stores count, the three values and the pointers, then SUCCESS with release.
 *
 * -EOVERFLOW: @count is more than max_buffer_count.  -EINVAL: @buffer_ptrs is NULL.
 */
int chipboot_mailbox_write_success(const struct chipboot_mailbox *mailbox,
				   uint64_t device_ctx,
				   uint64_t local_window_base,
				   uint64_t actual_window_size,
				   const uint64_t *buffer_ptrs, size_t count);

/**
 * chipboot_mailbox_write_error - publish: it is not
 * @error_code: any
 * @message: @length bytes; ends earlier at the first NUL if there is one.  More than
 *	1023 bytes are cut, at the end of a UTF-8 character.  May be NULL if @length
 *	is 0
 * @length: any
 *
 * Stores code and message with its NUL, then ERROR with release.
 *
 * -EINVAL: @message is NULL.
 */
int chipboot_mailbox_write_error(const struct chipboot_mailbox *mailbox,
				 int32_t error_code, const char *message,
				 size_t length);

/* Reading --------------------------------------------------------------- */

/** chipboot_mailbox_unknown_state - internal: chipboot_mailbox_state()'s error */
int chipboot_mailbox_unknown_state(int32_t state);

/**
 * chipboot_mailbox_state - what the mailbox says: one acquire load
 *
 * Returns CHIPBOOT_STATE_IDLE, _SUCCESS or _ERROR.  -EPROTO: the page holds something
 * else.  After SUCCESS or ERROR the functions below give that answer's payload, until
 * somebody writes again.  Before, the fields are what they are: zero in a page that
 * is fresh or reset.
 */
CHIPBOOT_STATIC inline int
chipboot_mailbox_state(const struct chipboot_mailbox *mailbox)
{
	/* Pairs with the release store of state in both writers. */
	int32_t state = __atomic_load_n(&mailbox->page->state,
					__ATOMIC_ACQUIRE);

	if (state < CHIPBOOT_STATE_IDLE || state > CHIPBOOT_STATE_ERROR)
		return chipboot_mailbox_unknown_state(state);
	return state;
}

/** chipboot_mailbox_error_code - the code of an ERROR; any value, 0 included */
int32_t chipboot_mailbox_error_code(const struct chipboot_mailbox *mailbox);

/** chipboot_mailbox_device_ctx - the device context of a SUCCESS */
uint64_t chipboot_mailbox_device_ctx(const struct chipboot_mailbox *mailbox);

/** chipboot_mailbox_local_window_base - the window's base, of a SUCCESS */
uint64_t
chipboot_mailbox_local_window_base(const struct chipboot_mailbox *mailbox);

/** chipboot_mailbox_actual_window_size - the window's size, of a SUCCESS */
uint64_t
chipboot_mailbox_actual_window_size(const struct chipboot_mailbox *mailbox);

/**
 * chipboot_mailbox_buffer_ptrs - copy the buffer pointers of a SUCCESS
 * @buffer_ptrs: gets them; may be NULL if @capacity is 0
 * @capacity: how many there is room for; max_buffer_count is always enough
 *
 * Returns how many there are, 0 to max_buffer_count.  The count is loaded once: the
 * one that was checked is the one that is copied and returned.
 *
 * -EPROTO: the page's count is negative or more than max_buffer_count (never clamped).
 * -EOVERFLOW: it is more than @capacity.  -EINVAL: @buffer_ptrs is NULL.
 */
int chipboot_mailbox_buffer_ptrs(const struct chipboot_mailbox *mailbox,
				 uint64_t *buffer_ptrs, size_t capacity);

/**
 * chipboot_mailbox_error_message - copy the message of an ERROR
 * @buffer: gets it, NUL-terminated.  Untrusted bytes of unknown encoding
 * @size: bytes of @buffer; CHIPBOOT_MAILBOX_MESSAGE_SIZE is always enough
 *
 * Returns its length without the NUL, 0 to 1023.  Loads the state itself, with
 * acquire, and gives an empty message unless that is ERROR: a session's page holds
 * progress text while it is IDLE.
 *
 * -EPROTO: an unknown state, or no NUL in the page's 1024 bytes of message.
 * -EOVERFLOW: it does not fit into @size.  -EINVAL: @buffer is NULL.
 */
int chipboot_mailbox_error_message(const struct chipboot_mailbox *mailbox,
				   char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* CHIPBOOT_MAILBOX_H */
