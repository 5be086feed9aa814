// SPDX-License-Identifier: MIT
/*
 * The runtime processes' output: whole lines, each with its chip's label.
 *
 * Every process has a pipe for stdout and one for stderr.  They are watched in an
 * epoll of their own, which leaves the loop while our own output is not taken: then
 * the pipes fill, and the processes wait in write() as they would without us.  What
 * is kept here is at most one line per pipe, and a queue of bounded length.
 *
 * Called by run.c and children.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "run.h"

/* What comes without a newline for longer is passed on in pieces. */
#define LINE_MAX_BYTES (64 * 1024)

struct stream {
	struct watch watch;
	struct run *run;
	uint32_t chip;
	bool is_error;
	char *part;			/* of a line that has not ended */
	size_t part_length;
};

static void outputs_ready(struct watch *watch)
{
	loop_once(watch->fd, 0);
}

int output_open(struct run *run)
{
	run->outputs = (struct watch) {
		.fd = epoll_create1(EPOLL_CLOEXEC), .ready = outputs_ready,
	};
	if (run->outputs.fd < 0)
		return -errno;
	return loop_add(run->loop, &run->outputs, EPOLLIN);
}

static struct sink *target(const struct stream *stream)
{
	const struct run *run = stream->run;

	/* With --json stdout is for the events. */
	return stream->is_error || run->json ? run->err : run->out;
}

/* @text has no newline at its end. */
static void put_line(FILE *out, const struct stream *stream, const char *text,
		     size_t length)
{
	fprintf(out, "[%u] ", stream->run->chips[stream->chip].number);
	if (target(stream)->terminal) {
		if (length && text[length - 1] == '\r')
			length--;
		escape_to(out, text, length, ESCAPE_KEEPS_COLOUR);
		if (memchr(text, '\033', length))
			fputs("\033[0m", out);
	} else {
		fwrite(text, 1, length, out);
	}
	fputc('\n', out);
}

static void keep_part(struct stream *stream, const char *text, size_t length)
{
	char *more = realloc(stream->part, stream->part_length + length);

	if (!more)
		return;
	memcpy(more + stream->part_length, text, length);
	stream->part = more;
	stream->part_length += length;
}

static void drop_part(struct stream *stream)
{
	free(stream->part);
	stream->part = NULL;
	stream->part_length = 0;
}

static void take(struct stream *stream, const char *data, size_t length)
{
	const char *end = data + length;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	while (data < end) {
		const char *newline = memchr(data, '\n', end - data);
		size_t bytes = (newline ? newline : end) - data;

		if (!newline || stream->part_length)
			keep_part(stream, data, bytes);
		if (newline && stream->part_length)
			put_line(out, stream, stream->part,
				 stream->part_length);
		else if (newline)
			put_line(out, stream, data, bytes);
		else if (stream->part_length >= LINE_MAX_BYTES)
			put_line(out, stream, stream->part,
				 stream->part_length);
		if (newline || stream->part_length >= LINE_MAX_BYTES)
			drop_part(stream);
		data += bytes + !!newline;
	}
	if (!fclose(out))
		print(stream->run, target(stream), text, size);
	free(text);
}

static void end_stream(struct stream *stream)
{
	if (stream->watch.fd < 0)
		return;
	if (stream->part_length)
		take(stream, "\n", 1);
	loop_remove(stream->run->outputs.fd, &stream->watch);
	close(stream->watch.fd);
	stream->watch.fd = -1;
}

/* At most @limit bytes; false when there is no more. */
static bool pass_on(struct stream *stream, size_t limit)
{
	static char data[64 * 1024];
	ssize_t length = read(stream->watch.fd, data,
			      limit < sizeof(data) ? limit : sizeof(data));

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (length <= 0) {
		end_stream(stream);
		return false;
	}
	take(stream, data, length);
	return true;
}

static void stream_ready(struct watch *watch)
{
	pass_on(container_of(watch, struct stream, watch), SIZE_MAX);
}

/* Pipes for a chip's two streams; @ends gets the child's ends, close-on-exec. */
int output_add(struct run *run, uint32_t chip, int ends[2])
{
	struct stream *streams = calloc(2, sizeof(*streams));
	int i;

	if (!streams)
		return -ENOMEM;
	streams[0].watch.fd = -1;
	streams[1].watch.fd = -1;
	ends[0] = -1;
	ends[1] = -1;
	run->chips[chip].streams = streams;
	for (i = 0; i < 2; i++) {
		int fds[2];

		if (pipe2(fds, O_CLOEXEC) < 0)
			return -errno;
		streams[i] = (struct stream) {
			.watch = { .fd = fds[0], .ready = stream_ready },
			.run = run, .chip = chip, .is_error = i == 1,
		};
		ends[i] = fds[1];
		if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
		if (loop_add(run->outputs.fd, &streams[i].watch, EPOLLIN) < 0)
			return -ENOSPC;
	}
	return 0;
}

static bool is_full(const struct run *run)
{
	return sink_is_full(run->out) || sink_is_full(run->err);
}

void output_throttle(struct run *run)
{
	bool full = is_full(run);

	if (full == run->outputs_paused)
		return;
	if (full)
		loop_remove(run->loop, &run->outputs);
	else
		loop_add(run->loop, &run->outputs, EPOLLIN);
	run->outputs_paused = full;
}

/*
 * All processes have ended: what they left in the pipes.  No more than that: somebody
 * else may hold a pipe, and write for ever.
 */
void output_drain(struct run *run)
{
	uint32_t i;
	int k;

	for (i = 0; i < run->channels; i++)
		for (k = 0; k < 2 && run->chips[i].streams; k++) {
			struct stream *stream = &run->chips[i].streams[k];
			int tries, left = 0;

			/* A pipe holds 1 MiB at most, and is read by 64 KiB. */
			for (tries = 0; tries < 16; tries++) {
				if (stream->watch.fd < 0 ||
				    ioctl(stream->watch.fd, FIONREAD, &left) < 0 ||
				    left <= 0 || !pass_on(stream, left))
					break;
			}
			end_stream(stream);
		}
}

void output_close(struct run *run)
{
	uint32_t i;
	int k;

	for (i = 0; run->chips && i < run->channels; i++) {
		for (k = 0; k < 2 && run->chips[i].streams; k++) {
			struct stream *stream = &run->chips[i].streams[k];

			if (stream->watch.fd >= 0)
				close(stream->watch.fd);
			free(stream->part);
		}
		free(run->chips[i].streams);
	}
	if (run->outputs.fd >= 0)
		close(run->outputs.fd);
}
