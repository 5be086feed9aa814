// SPDX-License-Identifier: MIT
/*
 * Writing to standard output and error without ever waiting for who reads them: a
 * launcher that sleeps in write() forwards no signals and kills nobody.
 *
 * What cannot be written stays in a queue.  Who produces much (output.c) asks
 * sink_is_full() and stops reading meanwhile.
 *
 * Called by run.c, screen.c and output.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink.h"

#define FULL (256 * 1024)

static void ready(struct watch *watch);

/*
 * O_NONBLOCK belongs to the open file, which the shell and others share.  So a
 * terminal or pipe is opened once more.  Where that is refused (another user's
 * terminal) poll() must do: it promises a pipe room for PIPE_BUF bytes.
 */
int sink_open(struct sink *sink, int loop, int fd)
{
	struct stat file;
	char path[32];

	*sink = (struct sink) {
		.watch = { .fd = fd, .ready = ready },
		.loop = loop, .original = fd, .terminal = isatty(fd),
	};
	if (fstat(fd, &file) < 0) {
		/* Closed by who started us. */
		sink->dead = true;
		return 0;
	}
	sink->socket = S_ISSOCK(file.st_mode);
	sink->at_once = !S_ISFIFO(file.st_mode) && !sink->socket &&
			!sink->terminal;
	if (sink->at_once || sink->socket)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	sink->watch.fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (sink->watch.fd < 0) {
		sink->watch.fd = fd;
		sink->shared = true;
	}
	return 0;
}

static void stop_waiting(struct sink *sink)
{
	if (sink->waits)
		loop_remove(sink->loop, &sink->watch);
	sink->waits = false;
}

static ssize_t put(struct sink *sink)
{
	const char *data = sink->data + sink->from;
	size_t length = sink->to - sink->from;

	if (sink->socket)
		return send(sink->watch.fd, data, length,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sink->shared) {
		struct pollfd room = { .fd = sink->watch.fd, .events = POLLOUT };

		if (poll(&room, 1, 0) <= 0) {
			errno = EAGAIN;
			return -1;
		}
		if (length > PIPE_BUF)
			length = PIPE_BUF;
	}
	return write(sink->watch.fd, data, length);
}

static void flush(struct sink *sink)
{
	while (sink->from < sink->to) {
		ssize_t done = put(sink);

		if (done >= 0) {
			sink->from += done;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN) {
			if (!sink->waits && !loop_add(sink->loop, &sink->watch,
						      EPOLLOUT))
				sink->waits = true;
			return;
		}
		/* The reader has gone, or the disk is full. */
		if (!sink->at_once)
			sink->dead = true;
		break;
	}
	sink->from = 0;
	sink->to = 0;
	stop_waiting(sink);
}

static void ready(struct watch *watch)
{
	flush(container_of(watch, struct sink, watch));
}

void sink_write(struct sink *sink, const char *data, size_t length)
{
	if (sink->dead || !length)
		return;
	if (sink->to + length > sink->size && sink->from) {
		memmove(sink->data, sink->data + sink->from,
			sink->to - sink->from);
		sink->to -= sink->from;
		sink->from = 0;
	}
	if (sink->to + length > sink->size) {
		size_t size = (sink->to + length) * 2;
		char *more = realloc(sink->data, size);

		if (!more)
			return;
		sink->data = more;
		sink->size = size;
	}
	memcpy(sink->data + sink->to, data, length);
	sink->to += length;
	if (!sink->waits)
		flush(sink);
}

bool sink_is_full(const struct sink *sink)
{
	return sink->to - sink->from >= FULL;
}

bool sink_is_empty(const struct sink *sink)
{
	return sink->from == sink->to;
}

void sink_close(struct sink *sink)
{
	stop_waiting(sink);
	if (sink->watch.fd != sink->original)
		close(sink->watch.fd);
	free(sink->data);
	sink->data = NULL;
}
