// SPDX-License-Identifier: MIT
/*
 * Shared memory by hand: a memfd with a slot for each channel, and futexes.
 *
 * Called by the contenders that share memory.  The waiter's pages are there before
 * the round begins (MAP_POPULATE); a publisher's are mapped when it writes.
 */
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

_Static_assert(sizeof(struct slot) == BENCH_ROOM, "");

void board_create(struct board *board, unsigned int n)
{
	board->n = n;
	board->size = ((size_t)n + 1) * BENCH_ROOM;
	board->fd = memfd_create("bench", MFD_CLOEXEC);
	if (board->fd < 0 || ftruncate(board->fd, board->size) < 0)
		bench_die("memfd");
}

void board_map(struct board *board)
{
	board->slots = mmap(NULL, board->size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE, board->fd, 0);
	if (board->slots == MAP_FAILED)
		bench_die("mmap");
	board->extra = &board->slots[board->n].state;
}

void board_write(struct slot *slot, const struct answer *answer)
{
	slot->answer = *answer;
}

void board_publish(struct slot *slot, const struct answer *answer)
{
	board_write(slot, answer);
	__atomic_store_n(&slot->state, answer->state, __ATOMIC_RELEASE);
}

uint32_t board_state(const struct slot *slot)
{
	return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

void board_read(const struct board *board, unsigned int i, struct answer *answer)
{
	const struct slot *slot = &board->slots[i];

	if (board_state(slot) == PENDING)
		answer->state = PENDING;
	else
		*answer = slot->answer;
}

void board_destroy(struct board *board)
{
	munmap(board->slots, board->size);
	close(board->fd);
}

/* Shared between processes: no FUTEX_PRIVATE_FLAG. */
long bench_futex_wait(uint32_t *word, uint32_t value, int timeout_ms)
{
	struct timespec left = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000L,
	};

	return syscall(SYS_futex, word, FUTEX_WAIT, value,
		       timeout_ms < 0 ? NULL : &left, NULL, 0);
}

void bench_futex_wake(uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}
