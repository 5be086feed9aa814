// SPDX-License-Identifier: MIT
/*
 * A pipe for each channel, and poll(): the answer goes through the pipe, and its end
 * without one is a death, if nobody else holds the writing end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

struct ends {
	int reads;
	int writes;
};

struct by_pipe {
	unsigned int n;
	unsigned int pending_count;
	struct ends *pipes;
	struct answer *answers;
	struct pollfd *pending;
	unsigned int *channel;	/* of pending[i] */
};

static void *create(unsigned int n)
{
	struct by_pipe *by = calloc(1, sizeof(*by));

	if (!by)
		bench_die("malloc");
	by->n = n;
	by->pipes = calloc(n, sizeof(*by->pipes));
	by->answers = calloc(n, sizeof(*by->answers));
	by->pending = calloc(n, sizeof(*by->pending));
	by->channel = calloc(n, sizeof(*by->channel));
	if (!by->pipes || !by->answers || !by->pending || !by->channel)
		bench_die("malloc");
	return by;
}

static void claim(void *self, unsigned int first, unsigned int count)
{
	struct by_pipe *by = self;
	unsigned int i;
	int ends[2];

	for (i = first; i < first + count; i++) {
		if (pipe2(ends, O_CLOEXEC) < 0)
			bench_die("pipe2");
		by->pipes[i] = (struct ends) { .reads = ends[0], .writes = ends[1] };
		by->pending[i] = (struct pollfd) { .fd = ends[0], .events = POLLIN };
		by->channel[i] = i;
		by->pending_count++;
	}
}

/* With a copy here, the pipe would not end with the process. */
static void bind(void *self, unsigned int first, unsigned int count, pid_t pid)
{
	struct by_pipe *by = self;
	unsigned int i;

	(void)pid;
	for (i = first; i < first + count; i++)
		close(by->pipes[i].writes);
}

static void publish(void *self, unsigned int i, const struct answer *answer)
{
	struct by_pipe *by = self;

	/* Less than PIPE_BUF: whole or not at all. */
	if (write(by->pipes[i].writes, answer, sizeof(*answer)) !=
	    sizeof(*answer))
		bench_die("write to a pipe");
}

static void take(struct by_pipe *by, unsigned int at)
{
	struct answer *answer = &by->answers[by->channel[at]];
	ssize_t size = read(by->pending[at].fd, answer, sizeof(*answer));

	if (size == 0)
		answer->state = DIED;
	else if (size != sizeof(*answer))
		bench_die("read from a pipe");
	by->pending[at] = by->pending[--by->pending_count];
	by->channel[at] = by->channel[by->pending_count];
}

static bool wait_for_all(void *self, int timeout_ms)
{
	struct by_pipe *by = self;

	while (by->pending_count) {
		int ready = poll(by->pending, by->pending_count, timeout_ms);
		unsigned int i;

		if (ready < 0)
			bench_die("poll");
		if (!ready)
			return false;
		/* From the end: take() moves the last one forward. */
		for (i = by->pending_count; i && ready; i--) {
			if (!by->pending[i - 1].revents)
				continue;
			take(by, i - 1);
			ready--;
		}
	}
	return true;
}

static void read_taken(void *self, unsigned int i, struct answer *answer)
{
	struct by_pipe *by = self;

	*answer = by->answers[i];
}

static void destroy(void *self)
{
	struct by_pipe *by = self;
	unsigned int i;

	for (i = 0; i < by->n; i++)
		close(by->pipes[i].reads);
	free(by->pipes);
	free(by->answers);
	free(by->pending);
	free(by->channel);
	free(by);
}

const struct contender bench_pipe = {
	.name = "pipe per channel + poll",
	.is = "s6 readiness, ready pipes of inference servers",
	.notices = true,
	.death = "end of file, if no other process holds a copy; the cause is waitpid()'s",
	.create = create,
	.claim = claim,
	.bind = bind,
	.publish = publish,
	.wait = wait_for_all,
	.read = read_taken,
	.destroy = destroy,
};
