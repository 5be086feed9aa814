// SPDX-License-Identifier: MIT
/*
 * The mailbox in C, over plain shared memory: what the original's users rely on, and
 * what a page that somebody scribbles in may do.  Runs on the host: no module.
 *
 * The library is compiled with AddressSanitizer, the page lies between two that nobody
 * may touch, and what the readers fill is allocated to the byte.  What they must return
 * is worked out here from the page's bytes, by the offsets of the original's layout,
 * and not by the library's struct.
 */
#include <pthread.h>
#include <stdlib.h>

#include "chipboot_test.h"

#include <chipboot_mailbox.h>

#if defined(__clang__)
#if !__has_feature(address_sanitizer)
#error "build this with -fsanitize=address"
#endif
#elif !defined(__SANITIZE_ADDRESS__)
#error "build this with -fsanitize=address"
#endif

#define PAGE	4096
#define MOST	376
#define MESSAGE	1024

enum offset {
	AT_STATE	= 0,
	AT_CODE		= 4,
	AT_COUNT	= 8,
	AT_CONTEXT	= 16,
	AT_BASE		= 24,
	AT_SIZE		= 32,
	AT_PTRS		= 64,
	AT_MESSAGE	= 3072,
};

/* Every test is a process of its own; who leaks in it harms nobody. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* Zeroes, shared with children, PROT_NONE on both sides. */
static unsigned char *guarded_page(void)
{
	unsigned char *p = mmap(NULL, 3 * PAGE, PROT_NONE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED ||
	    mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE)) {
		perror("guarded_page");
		abort();
	}
	return p + PAGE;
}

static void put32(unsigned char *page, size_t at, int32_t value)
{
	memcpy(page + at, &value, sizeof(value));
}

static int32_t get32(const unsigned char *page, size_t at)
{
	int32_t value;

	memcpy(&value, page + at, sizeof(value));
	return value;
}

static uint64_t get64(const unsigned char *page, size_t at)
{
	uint64_t value;

	memcpy(&value, page + at, sizeof(value));
	return value;
}

static void fill(void *to, size_t size, uint64_t *random)
{
	uint64_t z;
	size_t i;

	/* splitmix64 */
	for (i = 0; i < size; i += sizeof(z)) {
		z = (*random += 0x9e3779b97f4a7c15u);
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		memcpy((char *)to + i, &z, sizeof(z));
	}
}

static uint32_t draw(uint64_t *random, uint32_t below)
{
	uint64_t z;

	fill(&z, sizeof(z), random);
	return (z >> 32) % below;
}

/* What the readers must return for the bytes of a page. */
struct want {
	int state;
	int count;
	int length;
};

static struct want want_of(const unsigned char *page, size_t most)
{
	struct want want = { .length = 0 };
	const unsigned char *end;
	int32_t count = get32(page, AT_COUNT);

	want.state = get32(page, AT_STATE);
	if (want.state != 0 && want.state != 1 && want.state != 2)
		want.state = -EPROTO;
	want.count = count >= 0 && count <= (int32_t)most ? count : -EPROTO;
	if (want.state < 0) {
		want.length = -EPROTO;
	} else if (want.state == 2) {
		end = memchr(page + AT_MESSAGE, 0, MESSAGE);
		want.length = end ? (int)(end - page - AT_MESSAGE) : -EPROTO;
	}
	return want;
}

/* Are these the words for the last -EPROTO? */
static __attribute__((format(printf, 1, 2))) bool explained(const char *format,
							     ...)
{
	char said[256], words[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	return !strcmp(words, chipboot_explain(-EPROTO, said, sizeof(said)));
}

#define EACH_BYTE_IS(buffer, size, byte) \
	(!(size) || (((unsigned char *)(buffer))[0] == (byte) && \
		     !memcmp(buffer, (unsigned char *)(buffer) + 1, (size) - 1)))

/* The pointers, in all the room there may be, to the byte, and in too little. */
static const char *pointers_complaint(const struct chipboot_mailbox *mailbox,
				      const unsigned char *page, int count)
{
	size_t size = mailbox->max_buffer_count * sizeof(uint64_t);
	uint64_t *room = malloc(size ? size : 1);
	const char *why = "";
	size_t used = count > 0 ? count * sizeof(uint64_t) : 0;

	memset(room, 0xa5, size);
	if (chipboot_mailbox_buffer_ptrs(mailbox, room,
					 mailbox->max_buffer_count) != count)
		why = "buffer_ptrs";
	else if (memcmp(room, page + AT_PTRS, used))
		why = "buffer_ptrs: other values";
	else if (!EACH_BYTE_IS((char *)room + used, size - used, 0xa5))
		why = "buffer_ptrs: wrote past its count";
	else if (count < 0 &&
		 !explained("mailbox: count of buffer pointers %d is not in 0 to %zu",
			    get32(page, AT_COUNT), mailbox->max_buffer_count))
		why = "buffer_ptrs: the words";
	free(room);
	if (*why || count < 1)
		return why;

	room = malloc(used);
	if (chipboot_mailbox_buffer_ptrs(mailbox, room, count) != count ||
	    memcmp(room, page + AT_PTRS, used))
		why = "buffer_ptrs with just the room";
	memset(room, 0xa5, used);
	if (chipboot_mailbox_buffer_ptrs(mailbox, room, count - 1) !=
	    -EOVERFLOW || !EACH_BYTE_IS(room, used, 0xa5))
		why = "buffer_ptrs with too little room";
	free(room);
	return why;
}

static const char *message_complaint(const struct chipboot_mailbox *mailbox,
				     const unsigned char *page,
				     const struct want *want)
{
	char *room = malloc(MESSAGE);
	const char *why = "";
	int length = want->length;

	memset(room, 0xa5, MESSAGE);
	if (chipboot_mailbox_error_message(mailbox, room, MESSAGE) != length)
		why = "error_message";
	else if (length < 0 && !EACH_BYTE_IS(room, MESSAGE, 0xa5))
		why = "error_message: wrote, and failed";
	else if (want->state < 0 &&
		 !explained("mailbox: unknown state %d",
			    get32(page, AT_STATE)))
		why = "error_message: the words for the state";
	else if (want->state >= 0 && length < 0 &&
		 !explained("mailbox: message without end"))
		why = "error_message: the words";
	else if (length >= 0 && room[length])
		why = "error_message: no NUL";
	else if (length > 0 && memcmp(room, page + AT_MESSAGE, length))
		why = "error_message: another text";
	else if (length >= 0 && !EACH_BYTE_IS(room + length + 1,
					      (size_t)MESSAGE - length - 1,
					      0xa5))
		why = "error_message: wrote past its NUL";
	free(room);
	if (*why || length < 0)
		return why;

	room = malloc(length + 1);
	if (chipboot_mailbox_error_message(mailbox, room, length + 1) !=
	    length || strlen(room) != (size_t)length)
		why = "error_message with just the room";
	memset(room, 0xa5, length + 1);
	if (chipboot_mailbox_error_message(mailbox, room, length) !=
	    -EOVERFLOW || !EACH_BYTE_IS(room, (size_t)length + 1, 0xa5))
		why = "error_message with too little room";
	free(room);
	return why;
}

/* All readers against the page's bytes, which stay as they are.  "" or what differs. */
static const char *complaint(const struct chipboot_mailbox *mailbox,
			     const unsigned char *page)
{
	const struct want want = want_of(page, mailbox->max_buffer_count);
	unsigned char before[PAGE];
	const char *why;

	memcpy(before, page, PAGE);
	if (chipboot_mailbox_state(mailbox) != want.state)
		return "state";
	if (want.state < 0 && !explained("mailbox: unknown state %d",
					 get32(page, AT_STATE)))
		return "state: the words";
	if (chipboot_mailbox_error_code(mailbox) != get32(page, AT_CODE))
		return "error_code";
	if (chipboot_mailbox_device_ctx(mailbox) != get64(page, AT_CONTEXT))
		return "device_ctx";
	if (chipboot_mailbox_local_window_base(mailbox) != get64(page, AT_BASE))
		return "local_window_base";
	if (chipboot_mailbox_actual_window_size(mailbox) !=
	    get64(page, AT_SIZE))
		return "actual_window_size";
	why = pointers_complaint(mailbox, page, want.count);
	if (*why)
		return why;
	why = message_complaint(mailbox, page, &want);
	if (*why)
		return why;
	return memcmp(before, page, PAGE) ? "a reader wrote" : "";
}

#define EXPECT_SAYS(error, words) do {					\
	char said[256];							\
									\
	EXPECT_STREQ(words, chipboot_explain(error, said, sizeof(said)));	\
} while (0)

FIXTURE(mailbox) {
	unsigned char *page;
	struct chipboot_mailbox mailbox;
	uint64_t ptrs[MOST + 1];
	char message[MESSAGE];
};

FIXTURE_SETUP(mailbox)
{
	uint64_t random = 1;

	ASSERT_EQ(PAGE, sysconf(_SC_PAGESIZE));
	self->page = guarded_page();
	fill(self->ptrs, sizeof(self->ptrs), &random);
	ASSERT_EQ(0, chipboot_mailbox_init(&self->mailbox, self->page, MOST));
}

FIXTURE_TEARDOWN(mailbox)
{
	munmap(self->page - PAGE, 3 * PAGE);
}

/* The page is zero but for what the model has put into @want. */
#define EXPECT_PAGE(want) \
	EXPECT_EQ(0, memcmp(want, self->page, PAGE))

TEST_F(mailbox, init)
{
	struct chipboot_mailbox other = { .max_buffer_count = 7 };

	EXPECT_EQ(-EINVAL, chipboot_mailbox_init(NULL, self->page, 1));
	EXPECT_EQ(-EINVAL, chipboot_mailbox_init(&other, NULL, 1));
	EXPECT_SAYS(EINVAL, "mailbox must not be null");
	EXPECT_EQ(-EINVAL, chipboot_mailbox_init(&other, self->page, 377));
	EXPECT_SAYS(EINVAL,
		    "max_buffer_count exceeds CHIP_BOOTSTRAP_PTR_CAPACITY");
	EXPECT_EQ(-EINVAL, chipboot_mailbox_init(&other, self->page, SIZE_MAX));
	EXPECT_EQ(-EINVAL, chipboot_mailbox_init(&other, self->page + 4, 1));
	EXPECT_SAYS(EINVAL, "mailbox must be aligned to 8 bytes");
	EXPECT_EQ(NULL, other.page);
	EXPECT_EQ(7, other.max_buffer_count);

	ASSERT_EQ(0, chipboot_mailbox_init(&other, self->page, 0));
	EXPECT_EQ(-EOVERFLOW, chipboot_mailbox_write_success(&other, 1, 2, 3,
							     self->ptrs, 1));
	EXPECT_EQ(0, chipboot_mailbox_state(&other));
	EXPECT_EQ(0, chipboot_mailbox_write_success(&other, 1, 2, 3, NULL, 0));
	EXPECT_EQ(1, chipboot_mailbox_state(&other));
	EXPECT_EQ(0, chipboot_mailbox_buffer_ptrs(&other, NULL, 0));
}

/* What it is for is that the other tests can fail. */
TEST_F(mailbox, guards_and_sanitizer_bite)
{
	unsigned char *heap = malloc(8);
	unsigned char *bad[] = {
		self->page - 1, self->page + PAGE, heap + 8,
	};
	size_t i;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (!freopen("/dev/null", "w", stderr))
				_exit(0);
			__asm__ volatile("" : : "r" (*bad[i]));
			_exit(0);
		}
		EXPECT_NE(0, cb_reap(pid));
	}
	free(heap);
}

/* 1 */
TEST_F(mailbox, zero_page_is_idle)
{
	uint64_t none = 7;

	EXPECT_EQ(CHIPBOOT_STATE_IDLE, chipboot_mailbox_state(&self->mailbox));
	EXPECT_EQ(0, chipboot_mailbox_error_code(&self->mailbox));
	EXPECT_EQ(0, chipboot_mailbox_device_ctx(&self->mailbox));
	EXPECT_EQ(0, chipboot_mailbox_local_window_base(&self->mailbox));
	EXPECT_EQ(0, chipboot_mailbox_actual_window_size(&self->mailbox));
	EXPECT_EQ(0, chipboot_mailbox_buffer_ptrs(&self->mailbox, &none, 1));
	EXPECT_EQ(7, none);
	EXPECT_EQ(0, chipboot_mailbox_error_message(&self->mailbox,
						    self->message, MESSAGE));
	EXPECT_STREQ("", self->message);
	EXPECT_STREQ("", complaint(&self->mailbox, self->page));
}

/* 2, and where in the page it lies */
TEST_F(mailbox, success)
{
	static const uint64_t ptrs[] = { 0x1000, 0x2000, 0x3000 };
	unsigned char want[PAGE] = "";

	ASSERT_EQ(0, chipboot_mailbox_write_success(&self->mailbox,
						    0xdeadbeefcafe1234,
						    0xaabbccdd00112233, 65536,
						    ptrs, 3));
	EXPECT_EQ(CHIPBOOT_STATE_SUCCESS,
		  chipboot_mailbox_state(&self->mailbox));
	EXPECT_EQ(0xdeadbeefcafe1234,
		  chipboot_mailbox_device_ctx(&self->mailbox));
	EXPECT_EQ(0xaabbccdd00112233,
		  chipboot_mailbox_local_window_base(&self->mailbox));
	EXPECT_EQ(65536, chipboot_mailbox_actual_window_size(&self->mailbox));
	ASSERT_EQ(3, chipboot_mailbox_buffer_ptrs(&self->mailbox, self->ptrs,
						  MOST));
	EXPECT_EQ(0, memcmp(ptrs, self->ptrs, sizeof(ptrs)));

	put32(want, AT_STATE, 1);
	put32(want, AT_COUNT, 3);
	memcpy(want + AT_CONTEXT, &(uint64_t){ 0xdeadbeefcafe1234 }, 8);
	memcpy(want + AT_BASE, &(uint64_t){ 0xaabbccdd00112233 }, 8);
	memcpy(want + AT_SIZE, &(uint64_t){ 65536 }, 8);
	memcpy(want + AT_PTRS, ptrs, sizeof(ptrs));
	EXPECT_PAGE(want);
	EXPECT_STREQ("", complaint(&self->mailbox, self->page));
}

/* 3 */
TEST_F(mailbox, error)
{
	static const struct {
		int32_t code;
		const char *text;
	} errors[] = {
		{ 42, "device not found" },
		{ 0, "" },
		{ INT_MIN, "x" },
		{ INT_MAX, "\xff\xfe not UTF-8" },
	};
	unsigned char want[PAGE];
	size_t i, length;

	for (i = 0; i < 4; i++) {
		length = strlen(errors[i].text);
		chipboot_mailbox_reset(&self->mailbox);
		ASSERT_EQ(0, chipboot_mailbox_write_error(&self->mailbox,
							  errors[i].code,
							  errors[i].text,
							  length));
		EXPECT_EQ(CHIPBOOT_STATE_ERROR,
			  chipboot_mailbox_state(&self->mailbox));
		EXPECT_EQ(errors[i].code,
			  chipboot_mailbox_error_code(&self->mailbox));
		EXPECT_EQ((int)length,
			  chipboot_mailbox_error_message(&self->mailbox,
							 self->message,
							 MESSAGE));
		EXPECT_STREQ(errors[i].text, self->message);

		memset(want, 0, PAGE);
		put32(want, AT_STATE, 2);
		put32(want, AT_CODE, errors[i].code);
		memcpy(want + AT_MESSAGE, errors[i].text, length);
		EXPECT_PAGE(want);
		EXPECT_STREQ("", complaint(&self->mailbox, self->page));
	}

	/* no text at all; a text that ends before its length */
	EXPECT_EQ(0, chipboot_mailbox_write_error(&self->mailbox, 1, NULL, 0));
	EXPECT_EQ(0, chipboot_mailbox_error_message(&self->mailbox,
						    self->message, MESSAGE));
	EXPECT_EQ(0, chipboot_mailbox_write_error(&self->mailbox, 1, "ab\0cd",
						  5));
	EXPECT_EQ(2, chipboot_mailbox_error_message(&self->mailbox,
						    self->message, MESSAGE));
	EXPECT_STREQ("ab", self->message);
	EXPECT_EQ(-EINVAL, chipboot_mailbox_write_error(&self->mailbox, 9, NULL,
							1));
	EXPECT_SAYS(EINVAL, "message must not be null");
	EXPECT_EQ(1, chipboot_mailbox_error_code(&self->mailbox));
	EXPECT_EQ(-EINVAL, chipboot_mailbox_error_message(&self->mailbox, NULL,
							  MESSAGE));
}

/* 4 */
TEST_F(mailbox, reset)
{
	static const unsigned char zero[PAGE];
	int round;

	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, chipboot_mailbox_write_success(&self->mailbox, 0,
							    0, 0, NULL, 0));
		EXPECT_EQ(CHIPBOOT_STATE_SUCCESS,
			  chipboot_mailbox_state(&self->mailbox));
		EXPECT_EQ(0, chipboot_mailbox_buffer_ptrs(&self->mailbox,
							  self->ptrs, MOST));
		/* as the original did: over an answer, and no reset between */
		ASSERT_EQ(0, chipboot_mailbox_write_success(&self->mailbox, 1,
							    2, 3, self->ptrs,
							    MOST));
		ASSERT_EQ(0, chipboot_mailbox_write_error(&self->mailbox, 4,
							  "five", 4));
		EXPECT_STREQ("", complaint(&self->mailbox, self->page));
		memset(self->page + 40, 0xff, 24);

		chipboot_mailbox_reset(&self->mailbox);
		EXPECT_EQ(CHIPBOOT_STATE_IDLE,
			  chipboot_mailbox_state(&self->mailbox));
		EXPECT_PAGE(zero);
	}
}

/* Whatever else lies in the page, the header's promise about it. */
TEST_F(mailbox, a_write_keeps_to_its_fields)
{
	unsigned char want[PAGE];

	memset(self->page, 0xa5, PAGE);
	memset(want, 0xa5, PAGE);
	ASSERT_EQ(0, chipboot_mailbox_write_success(&self->mailbox, 1, 2, 3,
						    self->ptrs, 5));
	put32(want, AT_STATE, 1);
	put32(want, AT_COUNT, 5);
	memcpy(want + AT_CONTEXT, &(uint64_t){ 1 }, 8);
	memcpy(want + AT_BASE, &(uint64_t){ 2 }, 8);
	memcpy(want + AT_SIZE, &(uint64_t){ 3 }, 8);
	memcpy(want + AT_PTRS, self->ptrs, 40);
	EXPECT_PAGE(want);

	ASSERT_EQ(0, chipboot_mailbox_write_error(&self->mailbox, -1, "abc",
						  3));
	put32(want, AT_STATE, 2);
	put32(want, AT_CODE, -1);
	memcpy(want + AT_MESSAGE, "abc", 4);
	EXPECT_PAGE(want);
}

/* 5 */
TEST_F(mailbox, across_fork)
{
	static const uint64_t base[] = { 0x10, 0x200, 0x3000, 0x40000 };
	struct chipboot_mailbox fresh;
	uint64_t want[4], got[4];
	unsigned char *page;
	uint64_t round;
	pid_t pid;
	int i, look;

	for (round = 0; round < 100; round++) {
		page = guarded_page();
		ASSERT_EQ(0, chipboot_mailbox_init(&fresh, page, 4));
		for (i = 0; i < 4; i++)
			want[i] = base[i] + round;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			chipboot_mailbox_reset(&fresh);
			_exit(chipboot_mailbox_write_success(&fresh, round, ~round,
							     round << 32, want,
							     4) ? 1 : 0);
		}
		while (chipboot_mailbox_state(&fresh) == CHIPBOOT_STATE_IDLE)
			;
		for (look = 0; look < 2; look++) {
			EXPECT_EQ(CHIPBOOT_STATE_SUCCESS,
				  chipboot_mailbox_state(&fresh));
			EXPECT_EQ(round, chipboot_mailbox_device_ctx(&fresh));
			EXPECT_EQ(~round,
				  chipboot_mailbox_local_window_base(&fresh));
			EXPECT_EQ(round << 32,
				  chipboot_mailbox_actual_window_size(&fresh));
			ASSERT_EQ(4, chipboot_mailbox_buffer_ptrs(&fresh, got,
								  4));
			EXPECT_EQ(0, memcmp(want, got, sizeof(got)));
			if (look)
				break;
			ASSERT_EQ(0, cb_reap(pid));
			memset(&fresh, 0, sizeof(fresh));
			ASSERT_EQ(0, chipboot_mailbox_init(&fresh, page, 4));
		}
		munmap(page - PAGE, 3 * PAGE);
	}
}

/* 6 */
TEST_F(mailbox, too_many_pointers)
{
	static const unsigned char zero[PAGE];
	size_t count;

	for (count = 0; count <= MOST; count++) {
		ASSERT_EQ(0, chipboot_mailbox_write_success(&self->mailbox, 1,
							    2, 3, self->ptrs,
							    count));
		ASSERT_EQ((int32_t)count, get32(self->page, AT_COUNT));
		ASSERT_STREQ("", complaint(&self->mailbox, self->page));
	}
	chipboot_mailbox_reset(&self->mailbox);
	EXPECT_EQ(-EOVERFLOW,
		  chipboot_mailbox_write_success(&self->mailbox, 1, 2, 3,
						 self->ptrs, MOST + 1));
	EXPECT_SAYS(EOVERFLOW, "buffer_ptrs exceeds max_buffer_count");
	EXPECT_EQ(-EOVERFLOW,
		  chipboot_mailbox_write_success(&self->mailbox, 1, 2, 3,
						 self->ptrs, SIZE_MAX));
	EXPECT_EQ(-EOVERFLOW,
		  chipboot_mailbox_write_success(&self->mailbox, 1, 2, 3,
						 self->ptrs,
						 (size_t)UINT32_MAX + 1));
	EXPECT_EQ(-EINVAL, chipboot_mailbox_write_success(&self->mailbox, 1, 2,
							  3, NULL, 1));
	EXPECT_SAYS(EINVAL, "buffer_ptrs must not be null");
	EXPECT_EQ(CHIPBOOT_STATE_IDLE, chipboot_mailbox_state(&self->mailbox));
	EXPECT_PAGE(zero);
}

/* 7: how much of @ahead 'x', @character and more is left */
static int kept(const struct chipboot_mailbox *mailbox, size_t ahead,
		const char *character, char message[MESSAGE])
{
	size_t length = ahead + strlen(character) + 50;
	char *text = malloc(length);
	int ret;

	/* to the byte, without a NUL: more than length is not read */
	memset(text, 'x', ahead);
	memcpy(text + ahead, character, strlen(character));
	memset(text + length - 50, 'y', 50);
	ret = chipboot_mailbox_write_error(mailbox, 1, text, length);
	if (!ret)
		ret = chipboot_mailbox_error_message(mailbox, message, MESSAGE);
	if (ret >= 0 && memcmp(text, message, ret))
		ret = -EBADMSG;
	free(text);
	return ret;
}

TEST_F(mailbox, long_messages)
{
	char text[2000];

	memset(text, 'x', sizeof(text));
	ASSERT_EQ(0, chipboot_mailbox_write_error(&self->mailbox, 1, text,
						  sizeof(text)));
	EXPECT_EQ(1023, chipboot_mailbox_error_message(&self->mailbox,
						       self->message, MESSAGE));
	EXPECT_EQ(0, memcmp(text, self->message, 1023));
	EXPECT_EQ('\0', self->message[1023]);
	for (size_t length = 1020; length < 1030; length++) {
		ASSERT_EQ(0, chipboot_mailbox_write_error(&self->mailbox, 1,
							  text, length));
		EXPECT_EQ(length < 1023 ? (int)length : 1023,
			  chipboot_mailbox_error_message(&self->mailbox,
							 self->message,
							 MESSAGE));
	}

	/* bytes of U+20AC from 1020, 1021, 1022 on; 1023 is the NUL's */
#define EURO "\xe2\x82\xac"
	EXPECT_EQ(1023, kept(&self->mailbox, 1020, EURO, self->message));
	EXPECT_EQ(1021, kept(&self->mailbox, 1021, EURO, self->message));
	EXPECT_EQ(1022, kept(&self->mailbox, 1022, EURO, self->message));
	EXPECT_EQ(1023, kept(&self->mailbox, 1023, EURO, self->message));
	/* two and four bytes */
	EXPECT_EQ(1022, kept(&self->mailbox, 1022, "\xc3\xa4", self->message));
	EXPECT_EQ(1020, kept(&self->mailbox, 1020, "\xf0\x9f\x98\x80",
			     self->message));
	/* another encoding's bytes are kept */
	EXPECT_EQ(1023, kept(&self->mailbox, 1022, "\xe4hnlich",
			     self->message));
}

/* 8 */
TEST_F(mailbox, what_no_writer_writes)
{
	static const int32_t counts[] = {
		-1, 377, 100000, INT_MIN, INT_MAX
	};
	static const int32_t states[] = { -1, 3, INT_MIN, INT_MAX, 256, 1 << 24 };
	size_t i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, chipboot_mailbox_write_success(&self->mailbox, 1,
							    2, 3, self->ptrs,
							    MOST));
		put32(self->page, AT_COUNT, counts[i]);
		EXPECT_EQ(-EPROTO,
			  chipboot_mailbox_buffer_ptrs(&self->mailbox,
						       self->ptrs, MOST));
		EXPECT_STREQ("", complaint(&self->mailbox, self->page));
	}
	for (i = 0; i < 6; i++) {
		put32(self->page, AT_STATE, states[i]);
		EXPECT_EQ(-EPROTO, chipboot_mailbox_state(&self->mailbox));
		EXPECT_STREQ("", complaint(&self->mailbox, self->page));
	}
	ASSERT_EQ(0, chipboot_mailbox_write_error(&self->mailbox, 1, "x", 1));
	memset(self->page + AT_MESSAGE, 'x', MESSAGE);
	EXPECT_EQ(-EPROTO, chipboot_mailbox_error_message(&self->mailbox,
							  self->message,
							  MESSAGE));
	EXPECT_STREQ("", complaint(&self->mailbox, self->page));
}

TEST_F(mailbox, every_byte_of_the_page_changed)
{
	static const unsigned char values[] = { 0, 1, 2, 0x7f, 0x80, 0xff };
	unsigned char was;
	const char *why;
	size_t i, at;
	int state;

	for (state = 1; state <= 2; state++) {
		ASSERT_EQ(0, chipboot_mailbox_write_success(&self->mailbox, 1,
							    2, 3, self->ptrs,
							    MOST));
		memset(self->page + AT_MESSAGE, 'x', MESSAGE - 1);
		put32(self->page, AT_STATE, state);
		for (at = 0; at < PAGE; at++) {
			was = self->page[at];
			for (i = 0; i < 6; i++) {
				self->page[at] = values[i];
				why = complaint(&self->mailbox, self->page);
				ASSERT_STREQ("", why) {
					TH_LOG("byte %zu, value %d", at,
					       values[i]);
				}
			}
			self->page[at] = was;
		}
	}
}

/* Closer to a valid page than chance comes: its state, count and message drawn. */
static void shape(unsigned char *page, uint64_t *random)
{
	static const int32_t edges[] = {
		0, 1, 2, 3, -1, MOST, MOST + 1, 100000, INT_MIN, INT_MAX
	};
	size_t i;

	if (draw(random, 8))
		put32(page, AT_STATE, draw(random, 3));
	else
		put32(page, AT_STATE, edges[draw(random, 10)]);
	if (draw(random, 2))
		put32(page, AT_COUNT, draw(random, MOST + 1));
	else
		put32(page, AT_COUNT, edges[draw(random, 10)]);
	if (!draw(random, 4))
		return;
	for (i = AT_MESSAGE; i < PAGE; i++)
		page[i] += !page[i];
	if (draw(random, 3))
		page[AT_MESSAGE + draw(random, MESSAGE)] = 0;
	else if (draw(random, 2))
		page[PAGE - 1] = 0;
}

TEST_F(mailbox, random_pages)
{
	const int seeds = 100000;
	unsigned int unknown = 0, bad_count = 0, endless = 0, good = 0;
	struct want want;
	uint64_t random;
	const char *why;
	int seed, shaped;

	for (seed = 0; seed < seeds; seed++) {
		random = (uint64_t)seed << 20;
		fill(self->page, PAGE, &random);
		for (shaped = 0; shaped < 2; shaped++) {
			self->mailbox.max_buffer_count = MOST;
			if (shaped) {
				shape(self->page, &random);
				if (draw(&random, 2))
					self->mailbox.max_buffer_count =
						draw(&random, MOST + 1);
			}
			want = want_of(self->page,
				       self->mailbox.max_buffer_count);
			unknown += want.state < 0;
			bad_count += want.count < 0;
			endless += want.state == 2 && want.length < 0;
			good += want.state >= 0 && want.count >= 0 &&
				want.length >= 0;
			why = complaint(&self->mailbox, self->page);
			ASSERT_STREQ("", why) {
				TH_LOG("seed %d, shaped %d", seed, shaped);
			}
		}
	}
	EXPECT_LT(seeds, unknown);
	EXPECT_LT(seeds, bad_count);
	EXPECT_LT(1000, endless);
	EXPECT_LT(1000, good);
	TH_LOG("%d seeds, 2 pages each: %u unknown states, %u bad counts, %u endless messages, %u good pages",
	       seeds, unknown, bad_count, endless, good);
}

/*
 * Four bytes of the page that change from one value to the other while a reader is at
 * work: what it returns belongs to one of the two, as if it had looked once.
 */
struct change {
	const char *what;
	size_t at;
	int32_t values[2];
	int results[2];
	int (*read)(const struct chipboot_mailbox *mailbox, void *room);
};

#define WORD(a, b, c, d)	((a) | (b) << 8 | (c) << 16 | (d) << 24)

static int read_pointers(const struct chipboot_mailbox *mailbox, void *room)
{
	return chipboot_mailbox_buffer_ptrs(mailbox, room, 3);
}

static int read_message(const struct chipboot_mailbox *mailbox, void *room)
{
	int ret = chipboot_mailbox_error_message(mailbox, room, MESSAGE);

	if (ret >= 0 && memchr(room, 0, MESSAGE) != (char *)room + ret)
		return -EBADMSG;
	return ret;
}

static const struct change changes[] = {
	{ "count", AT_COUNT, { 3, 100000 }, { 3, -EPROTO }, read_pointers },
	{ "count", AT_COUNT, { 3, -1 }, { 3, -EPROTO }, read_pointers },
	{
		"end of message", PAGE - 4,
		{ WORD('x', 'x', 'x', 0), WORD('x', 'x', 'x', 'x') },
		{ MESSAGE - 1, -EPROTO }, read_message
	},
	{ "state", AT_STATE, { 2, 7 }, { MESSAGE - 1, -EPROTO }, read_message },
	{ "state", AT_STATE, { 2, 0 }, { MESSAGE - 1, 0 }, read_message },
};

#define CHANGES	(sizeof(changes) / sizeof(changes[0]))

/* ERROR with the longest message, and three pointers, which are all there may be. */
static void prepare(struct chipboot_mailbox *mailbox, unsigned char *page)
{
	mailbox->max_buffer_count = 3;
	put32(page, AT_STATE, 2);
	put32(page, AT_COUNT, 3);
	memset(page + AT_MESSAGE, 'x', MESSAGE - 1);
	page[PAGE - 1] = 0;
}

/* Exactly what the reader may fill. */
static void *room_for(const struct change *change)
{
	return malloc(change->read == read_pointers ? 3 * sizeof(uint64_t) :
						      MESSAGE);
}

static void set(unsigned char *page, const struct change *change, int which)
{
	__atomic_store_n((int32_t *)(page + change->at),
			 change->values[which], __ATOMIC_RELAXED);
}

#ifdef __x86_64__
/* Single steps: the processor traps after each instruction, until the change. */
#define TRAP_FLAG	0x100ull

static unsigned char *stepped_page;
static const struct change *stepped_change;
static int stepped_to;
static long steps, change_after;

static void on_step(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)signal;
	(void)info;
	if (++steps != change_after)
		return;
	set(stepped_page, stepped_change, stepped_to);
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

/* One call in which the value changes after so many instructions; -1: never. */
static int stepped_read(const struct chipboot_mailbox *mailbox,
			const struct change *change, int from, long after,
			void *room)
{
	int ret;

	stepped_page = (unsigned char *)mailbox->page;
	stepped_change = change;
	stepped_to = !from;
	change_after = after;
	steps = 0;
	set(stepped_page, change, from);
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() |
				       TRAP_FLAG);
	ret = change->read(mailbox, room);
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() &
				       ~TRAP_FLAG);
	return ret;
}

TEST_F(mailbox, a_change_after_any_instruction)
{
	struct sigaction action = { .sa_sigaction = on_step,
				    .sa_flags = SA_SIGINFO };
	const struct change *change;
	long all, after, stride;
	int from, ret, seen[2];
	void *room;
	size_t i;

	ASSERT_EQ(0, sigaction(SIGTRAP, &action, NULL));
	prepare(&self->mailbox, self->page);
	for (i = 0; i < CHANGES; i++) {
		change = &changes[i];
		room = room_for(change);
		for (from = 0; from < 2; from++) {
			ret = stepped_read(&self->mailbox, change, from, -1,
					   room);
			ASSERT_EQ(change->results[from], ret);
			all = steps;
			ASSERT_LT(20, all);
			/* what is long is copying, all alike, and printing */
			stride = all > 200 ? all / 50 : 1;
			seen[0] = 0;
			seen[1] = 0;
			for (after = 1; after < all; after += stride) {
				ret = stepped_read(&self->mailbox, change,
						   from, after, room);
				ASSERT_TRUE(ret == change->results[0] ||
					    ret == change->results[1]) {
					TH_LOG("%s %d, from %d: %d after %ld of %ld instructions",
					       change->what, change->values[1],
					       from, ret, after, all);
				}
				seen[ret == change->results[1]]++;
			}
			EXPECT_LT(0, seen[0]);
			EXPECT_LT(0, seen[1]);
			TH_LOG("%s %d to %d: changed at %d of %ld instructions",
			       change->what, change->values[from],
			       change->values[!from], seen[0] + seen[1], all);
		}
		/* and it is as it was for the next one */
		set(self->page, change, 0);
		free(room);
	}
}
#endif

struct scribbler {
	unsigned char *page;
	const struct change *change;
	bool stop;
};

/* It yields, and so does the reader: there may be but one processor for the two. */
static void *scribble(void *argument)
{
	struct scribbler *s = argument;
	int which = 0;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		set(s->page, s->change, which);
		which = !which;
		sched_yield();
	}
	return NULL;
}

/* Reads at least; more until both values have been met. */
#define READS	100000

TEST_F(mailbox, a_thread_that_scribbles)
{
	struct scribbler s = { .page = self->page };
	unsigned int seen[2];
	pthread_t thread;
	void *room;
	size_t i;
	int ret;

	prepare(&self->mailbox, self->page);
	for (i = 0; i < CHANGES; i++) {
		s.change = &changes[i];
		s.stop = false;
		room = room_for(s.change);
		seen[0] = 0;
		seen[1] = 0;
		ASSERT_EQ(0, pthread_create(&thread, NULL, scribble, &s));
		while (seen[0] + seen[1] < READS || !seen[0] || !seen[1]) {
			ret = s.change->read(&self->mailbox, room);
			ASSERT_TRUE(ret == s.change->results[0] ||
				    ret == s.change->results[1]) {
				TH_LOG("%s: %d", s.change->what, ret);
			}
			seen[ret == s.change->results[1]]++;
			if ((seen[0] + seen[1]) % 8 == 0)
				sched_yield();
		}
		__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		set(self->page, s.change, 0);
		free(room);
		TH_LOG("%s %d and %d: read %u and %u times", s.change->what,
		       s.change->values[0], s.change->values[1], seen[0],
		       seen[1]);
	}
}

TEST_HARNESS_MAIN
