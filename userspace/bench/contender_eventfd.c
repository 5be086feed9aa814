// SPDX-License-Identifier: MIT
/*
 * memfd + an eventfd for each channel + epoll, and a pidfd for each process: what an
 * event-loop program that cares would write.  Edge-triggered, so that an eventfd that
 * rings once need not be read.
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define EVENTS	64
/* In an event's data: a process; else a channel. */
#define PROCESS	(UINT64_C(1) << 32)

struct process {
	int pidfd;
	unsigned int first;
	unsigned int count;
};

struct by_eventfd {
	struct board board;
	int epoll;
	unsigned int processes_count;
	struct process processes[BENCH_PROCESSES];
	unsigned int known;	/* channels that are answered or whose process died */
	struct {
		int eventfd;
		bool known;
		bool died;
	} channels[];
};

static void *create(unsigned int n)
{
	struct by_eventfd *by = calloc(1, sizeof(*by) + n * sizeof(*by->channels));

	if (!by)
		bench_die("malloc");
	board_create(&by->board, n);
	by->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (by->epoll < 0)
		bench_die("epoll_create1");
	return by;
}

static void map(void *self)
{
	struct by_eventfd *by = self;

	board_map(&by->board);
}

static void watch(struct by_eventfd *by, int fd, uint64_t what)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLET, .data.u64 = what,
	};

	if (epoll_ctl(by->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		bench_die("epoll_ctl");
}

static void claim(void *self, unsigned int first, unsigned int count)
{
	struct by_eventfd *by = self;
	unsigned int i;

	for (i = first; i < first + count; i++) {
		by->channels[i].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (by->channels[i].eventfd < 0)
			bench_die("eventfd");
		watch(by, by->channels[i].eventfd, i);
	}
}

static void bind(void *self, unsigned int first, unsigned int count, pid_t pid)
{
	struct by_eventfd *by = self;
	struct process *process = &by->processes[by->processes_count];

	process->first = first;
	process->count = count;
	process->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (process->pidfd < 0)
		bench_die("pidfd_open");
	watch(by, process->pidfd, PROCESS | by->processes_count++);
}

static void publish(void *self, unsigned int i, const struct answer *answer)
{
	struct by_eventfd *by = self;

	board_publish(&by->board.slots[i], answer);
	if (eventfd_write(by->channels[i].eventfd, 1) < 0)
		bench_die("eventfd_write");
}

static void know(struct by_eventfd *by, unsigned int i)
{
	by->known += !by->channels[i].known;
	by->channels[i].known = true;
}

/* An answer that was given just before death counts. */
static void process_died(struct by_eventfd *by, const struct process *process)
{
	unsigned int i;

	for (i = process->first; i < process->first + process->count; i++) {
		by->channels[i].died =
			board_state(&by->board.slots[i]) == PENDING;
		know(by, i);
	}
}

static bool wait_for_all(void *self, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	struct by_eventfd *by = self;

	while (by->known < by->board.n) {
		int i, count = epoll_wait(by->epoll, events, EVENTS, timeout_ms);

		if (!count)
			return false;
		for (i = 0; i < count; i++)
			if (events[i].data.u64 & PROCESS)
				process_died(by, &by->processes[events[i].data.u32]);
			else
				know(by, events[i].data.u32);
	}
	return true;
}

static void read_slot(void *self, unsigned int i, struct answer *answer)
{
	struct by_eventfd *by = self;

	if (by->channels[i].died)
		answer->state = DIED;
	else
		board_read(&by->board, i, answer);
}

static void destroy(void *self)
{
	struct by_eventfd *by = self;
	unsigned int i;

	/* First, so that the files need not be taken out of it one by one. */
	close(by->epoll);
	for (i = 0; i < by->board.n; i++)
		close(by->channels[i].eventfd);
	for (i = 0; i < by->processes_count; i++)
		close(by->processes[i].pidfd);
	board_destroy(&by->board);
	free(by);
}

const struct contender bench_eventfd = {
	.name = "memfd + eventfd + epoll + pidfd",
	.is = "an event-loop program that cares",
	.notices = true,
	.death = "a pidfd for each process; the cause is waitpid()'s",
	.create = create,
	.map = map,
	.claim = claim,
	.bind = bind,
	.publish = publish,
	.wait = wait_for_all,
	.read = read_slot,
	.destroy = destroy,
};
