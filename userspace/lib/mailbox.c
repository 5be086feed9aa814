// SPDX-License-Identifier: MIT
/*
 * The mailbox: both sides of the original mechanism, over memory that anybody may be
 * writing at any moment.  The orderings are explained in chipboot_mailbox.h; what is
 * an atomic access here is so that a value is loaded or stored whole, and once.
 *
 * Called by programs, and by the C++ and Python bindings.  Needs no module.
 */
#include <errno.h>
#include <string.h>

#include <chipboot_mailbox.h>

#include "internal.h"

/* The original's layout, which its programs on the other side rely on. */
_Static_assert(sizeof(struct chipboot_answer) == CHIPBOOT_MAILBOX_SIZE, "");
_Static_assert(offsetof(struct chipboot_answer, state) == 0, "");
_Static_assert(offsetof(struct chipboot_answer, error_code) == 4, "");
_Static_assert(offsetof(struct chipboot_answer, count) == 8, "");
_Static_assert(offsetof(struct chipboot_answer, device_ctx) == 16, "");
_Static_assert(offsetof(struct chipboot_answer, window_base) == 24, "");
_Static_assert(offsetof(struct chipboot_answer, window_size) == 32, "");
_Static_assert(offsetof(struct chipboot_answer, words) == 64, "");
_Static_assert(offsetof(struct chipboot_answer, message) == 3072, "");

#define STORE(field, value) \
	__atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

/* By unsigned long as in cb_load(): no 8-byte atomics on 32-bit machines. */
static void store(uint64_t *to, const void *from, size_t size)
{
	unsigned long *words = (unsigned long *)to;
	unsigned long word;
	size_t i;

	for (i = 0; i < size / sizeof(word); i++) {
		memcpy(&word, (const char *)from + i * sizeof(word),
		       sizeof(word));
		STORE(words[i], word);
	}
}

static void store_u64(uint64_t *to, uint64_t value)
{
	store(to, &value, sizeof(value));
}

static uint64_t load_u64(const uint64_t *from)
{
	uint64_t value;

	cb_load(&value, from, sizeof(value));
	return value;
}

/* The last store of an answer.  Pairs with chipboot_mailbox_state(). */
static void publish(struct chipboot_answer *page, int32_t state)
{
	__atomic_store_n(&page->state, state, __ATOMIC_RELEASE);
}

int chipboot_mailbox_init(struct chipboot_mailbox *mailbox, void *page,
			  size_t max_buffer_count)
{
	if (!mailbox)
		return cb_error(CB_ANY, EINVAL);
	if (!page)
		return cb_errorf(EINVAL, "mailbox must not be null");
	if ((uintptr_t)page % sizeof(uint64_t))
		return cb_errorf(EINVAL, "mailbox must be aligned to 8 bytes");
	if (max_buffer_count > CHIPBOOT_MAILBOX_PTR_CAPACITY)
		return cb_errorf(EINVAL,
				 "max_buffer_count exceeds CHIP_BOOTSTRAP_PTR_CAPACITY");
	mailbox->page = page;
	mailbox->max_buffer_count = max_buffer_count;
	return 0;
}

void chipboot_mailbox_reset(const struct chipboot_mailbox *mailbox)
{
	static const struct chipboot_answer zero;
	struct chipboot_answer *page = mailbox->page;

	STORE(page->state, CHIPBOOT_STATE_IDLE);
	/* Pairs with an acquire fence between a payload and another look at state. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	store((uint64_t *)page, &zero, sizeof(zero));
}

int chipboot_mailbox_write_success(const struct chipboot_mailbox *mailbox,
				   uint64_t device_ctx,
				   uint64_t local_window_base,
				   uint64_t actual_window_size,
				   const uint64_t *buffer_ptrs, size_t count)
{
	struct chipboot_answer *page = mailbox->page;

	if (count > mailbox->max_buffer_count)
		return cb_errorf(EOVERFLOW,
				 "buffer_ptrs exceeds max_buffer_count");
	if (count && !buffer_ptrs)
		return cb_errorf(EINVAL, "buffer_ptrs must not be null");
	STORE(page->count, (int32_t)count);
	store_u64(&page->device_ctx, device_ctx);
	store_u64(&page->window_base, local_window_base);
	store_u64(&page->window_size, actual_window_size);
	store(page->words, buffer_ptrs, count * sizeof(*buffer_ptrs));
	publish(page, CHIPBOOT_STATE_SUCCESS);
	return 0;
}

int chipboot_mailbox_write_error(const struct chipboot_mailbox *mailbox,
				 int32_t error_code, const char *message,
				 size_t length)
{
	struct chipboot_answer *page = mailbox->page;
	uint32_t fit;
	uint32_t i;

	if (length && !message)
		return cb_errorf(EINVAL, "message must not be null");
	if (length > CHIPBOOT_MAX_TEXT + 1)
		length = CHIPBOOT_MAX_TEXT + 1;
	fit = length ? cb_text_fit(message, strnlen(message, length)) : 0;
	STORE(page->error_code, error_code);
	for (i = 0; i < fit; i++)
		STORE(page->message[i], message[i]);
	/* No writer ever puts anything else into the last byte than this. */
	STORE(page->message[fit], '\0');
	publish(page, CHIPBOOT_STATE_ERROR);
	return 0;
}

/* Out of line, so that what every poll goes through stays a load and a compare. */
int chipboot_mailbox_unknown_state(int32_t state)
{
	return cb_errorf(EPROTO, "mailbox: unknown state %d", state);
}

int32_t chipboot_mailbox_error_code(const struct chipboot_mailbox *mailbox)
{
	return __atomic_load_n(&mailbox->page->error_code, __ATOMIC_RELAXED);
}

uint64_t chipboot_mailbox_device_ctx(const struct chipboot_mailbox *mailbox)
{
	return load_u64(&mailbox->page->device_ctx);
}

uint64_t
chipboot_mailbox_local_window_base(const struct chipboot_mailbox *mailbox)
{
	return load_u64(&mailbox->page->window_base);
}

uint64_t
chipboot_mailbox_actual_window_size(const struct chipboot_mailbox *mailbox)
{
	return load_u64(&mailbox->page->window_size);
}

int chipboot_mailbox_buffer_ptrs(const struct chipboot_mailbox *mailbox,
				 uint64_t *buffer_ptrs, size_t capacity)
{
	struct chipboot_answer *page = mailbox->page;
	int32_t count = __atomic_load_n(&page->count, __ATOMIC_RELAXED);

	if (count < 0 || (size_t)count > mailbox->max_buffer_count)
		return cb_errorf(EPROTO,
				 "mailbox: count of buffer pointers %d is not in 0 to %zu",
				 count, mailbox->max_buffer_count);
	if ((size_t)count > capacity)
		return cb_errorf(EOVERFLOW,
				 "mailbox: %d buffer pointers, and room for %zu",
				 count, capacity);
	if (count && !buffer_ptrs)
		return cb_errorf(EINVAL, "buffer_ptrs must not be null");
	cb_load(buffer_ptrs, page->words, count * sizeof(*buffer_ptrs));
	return count;
}

int chipboot_mailbox_error_message(const struct chipboot_mailbox *mailbox,
				   char *buffer, size_t size)
{
	char message[CHIPBOOT_MAILBOX_MESSAGE_SIZE] = "";
	int state = chipboot_mailbox_state(mailbox);
	size_t length;

	if (state < 0)
		return state;
	if (state == CHIPBOOT_STATE_ERROR)
		cb_load(message, mailbox->page->message, sizeof(message));
	length = strnlen(message, sizeof(message));
	if (length == sizeof(message))
		return cb_errorf(EPROTO, "mailbox: message without end");
	if (!buffer)
		return cb_errorf(EINVAL, "buffer must not be null");
	if (length >= size)
		return cb_errorf(EOVERFLOW,
				 "mailbox: a message of %zu bytes, and room for %zu with its NUL",
				 length, size);
	memcpy(buffer, message, length + 1);
	return length;
}
