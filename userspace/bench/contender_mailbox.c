// SPDX-License-Identifier: MIT
/*
 * The mailbox that chipboot grew from, by this library's functions for it: a page
 * for each channel, polled, with a processor for the waiter or every millisecond.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <chipboot_mailbox.h>

#include "bench.h"

struct by_mailbox {
	unsigned int n;
	unsigned char *pages;
};

static struct chipboot_mailbox box(const struct by_mailbox *by, unsigned int i)
{
	struct chipboot_mailbox mailbox;

	if (chipboot_mailbox_init(&mailbox, by->pages + i * CHIPBOOT_MAILBOX_SIZE,
				  BENCH_WORDS) < 0)
		bench_die("chipboot_mailbox_init");
	return mailbox;
}

static void *create(unsigned int n)
{
	struct by_mailbox *by = malloc(sizeof(*by));

	if (!by)
		bench_die("malloc");
	by->n = n;
	by->pages = mmap(NULL, n * CHIPBOOT_MAILBOX_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (by->pages == MAP_FAILED)
		bench_die("mmap");
	return by;
}

static void publish(void *self, unsigned int i, const struct answer *answer)
{
	static const char text[] = "device not found";
	struct chipboot_mailbox mailbox = box(self, i);
	int ret;

	if (answer->state == FAILED)
		ret = chipboot_mailbox_write_error(&mailbox, answer->code, text,
						   sizeof(text) - 1);
	else
		ret = chipboot_mailbox_write_success(&mailbox, answer->device_ctx,
						     answer->window_base,
						     answer->window_size,
						     answer->words, BENCH_WORDS);
	if (ret < 0)
		bench_die("chipboot_mailbox_write");
}

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static bool wait_for_all(struct by_mailbox *by, int timeout_ms, bool spin)
{
	uint64_t until = timeout_ms < 0 ? UINT64_MAX :
			 bench_now_ns() + timeout_ms * UINT64_C(1000000);
	unsigned int i;

	for (i = 0; i < by->n; i++) {
		struct chipboot_mailbox mailbox = box(by, i);

		while (chipboot_mailbox_state(&mailbox) == CHIPBOOT_STATE_IDLE) {
			if (spin)
				relax();
			else
				usleep(1000);
			if (timeout_ms >= 0 && bench_now_ns() > until)
				return false;
		}
	}
	return true;
}

static bool wait_spinning(void *self, int timeout_ms)
{
	return wait_for_all(self, timeout_ms, true);
}

static bool wait_polling(void *self, int timeout_ms)
{
	return wait_for_all(self, timeout_ms, false);
}

static void read_box(void *self, unsigned int i, struct answer *answer)
{
	struct chipboot_mailbox mailbox = box(self, i);
	int state = chipboot_mailbox_state(&mailbox);

	answer->state = state == CHIPBOOT_STATE_IDLE ? PENDING :
			state == CHIPBOOT_STATE_SUCCESS ? SUCCESS : FAILED;
	answer->code = chipboot_mailbox_error_code(&mailbox);
	answer->device_ctx = chipboot_mailbox_device_ctx(&mailbox);
	answer->window_base = chipboot_mailbox_local_window_base(&mailbox);
	answer->window_size = chipboot_mailbox_actual_window_size(&mailbox);
	if (state == CHIPBOOT_STATE_SUCCESS &&
	    chipboot_mailbox_buffer_ptrs(&mailbox, answer->words,
					 BENCH_WORDS) != BENCH_WORDS)
		bench_die("chipboot_mailbox_buffer_ptrs");
}

static void destroy(void *self)
{
	struct by_mailbox *by = self;

	munmap(by->pages, by->n * CHIPBOOT_MAILBOX_SIZE);
	free(by);
}

#define MAILBOX(how, what, waits) { \
	.name = how, \
	.is = what, \
	.death = "not noticed; it would take a pidfd for each process, or SIGCHLD", \
	.create = create, \
	.publish = publish, \
	.wait = waits, \
	.read = read_box, \
	.destroy = destroy, \
}

const struct contender bench_mailbox_spinning =
	MAILBOX("mailbox, spinning", "the original", wait_spinning);
const struct contender bench_mailbox_poll =
	MAILBOX("mailbox, 1 ms poll", "the original, as its users ran it",
		wait_polling);
