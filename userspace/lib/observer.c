// SPDX-License-Identifier: MIT
/*
 * Observers: the read-only mapping of all channels, snapshots of them, and what
 * the session says of itself.  Waiting is in wait.c.
 *
 * Made by session.c, fork.c, environment.c and passing.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

/*
 * The kernel writes a page in a few microseconds, with preemption off.  Who meets
 * that writing so often in a row is better off with a system call.
 */
#define SNAPSHOT_TRIES 64

static int not_an_observer(int fd)
{
	return cb_errorf(ENOTTY,
			 "descriptor %d is a chipboot handle, but not an observer",
			 fd);
}

int cb_observer_wrap(int fd, struct chipboot_observer **out)
{
	struct chipboot_status status = { .channel = CHIPBOOT_NO_CHANNEL };
	struct chipboot_observer *observer;
	int ret = cb_kernel_status(fd, &status);

	if (ret < 0)
		return ret;
	/* Only a publisher's STATUS fills in a channel that was not asked for. */
	if (status.channel != CHIPBOOT_NO_CHANNEL)
		return not_an_observer(fd);
	observer = calloc(1, sizeof(*observer));
	if (!observer)
		return cb_error(CB_ANY, ENOMEM);
	ret = cb_kernel_map(fd, status.channels, status.stride, &observer->map);
	if (ret < 0) {
		free(observer);
		/* An owner's handle has no pages. */
		return ret == -ENODEV ? not_an_observer(fd) : ret;
	}
	observer->fd = fd;
	observer->change_fd = -1;
	observer->events = status.events;
	*out = observer;
	return 0;
}

int cb_observer_open(int from_fd, uint32_t events,
		     struct chipboot_observer **observer)
{
	int fd = cb_kernel_observe(from_fd, events);
	int ret;

	if (fd < 0)
		return fd;
	ret = cb_observer_wrap(fd, observer);
	if (ret < 0)
		close(fd);
	return ret;
}

void cb_observer_unmap(struct chipboot_observer *observer)
{
	if (observer->map.base)
		munmap((void *)observer->map.base,
		       observer->map.channels * observer->map.stride);
	observer->map = (struct chipboot_map) { .base = NULL };
}

void chipboot_observer_close(struct chipboot_observer *observer)
{
	if (!observer)
		return;
	cb_link_remove(&observer->link);
	cb_observer_unmap(observer);
	if (observer->fd >= 0)
		close(observer->fd);
	free(observer);
}

int chipboot_observer_from_fd(int fd, struct chipboot_observer **observer)
{
	if (!observer)
		return cb_error(CB_ANY, EINVAL);
	*observer = NULL;
	return cb_observer_wrap(fd, observer);
}

int chipboot_observer_fd(const struct chipboot_observer *observer)
{
	return observer->fd;
}

uint32_t chipboot_observer_channels(const struct chipboot_observer *observer)
{
	return observer->map.channels;
}

int chipboot_observer_observe(struct chipboot_observer *observer,
			      uint32_t events,
			      struct chipboot_observer **another)
{
	int ret;

	if (!observer || !another)
		return cb_error(CB_ANY, EINVAL);
	*another = NULL;
	ret = cb_observer_open(observer->fd, events, another);
	if (!ret)
		cb_link_beside(&(*another)->link, &observer->link);
	return ret;
}

/*
 * True if @answer holds a copy that no writing overlapped.  The acquire load pairs
 * with the barrier after the kernel made seq odd and with the release that made it
 * even again; the fence keeps the copy before the second look at seq.
 */
static bool snapshot(const struct chipboot_answer *page,
		     struct chipboot_answer *answer)
{
	uint32_t seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);

	if (seq & 1)
		return false;
	cb_copy_page(answer, page);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&page->seq, __ATOMIC_RELAXED) == seq;
}

int chipboot_read(const struct chipboot_observer *observer, uint32_t channel,
		  struct chipboot_answer *answer)
{
	const struct chipboot_answer *page;
	int tries;
	int ret;

	if (!observer || !answer)
		return cb_error(CB_ANY, EINVAL);
	if (observer->fd < 0)
		return cb_error(CB_READ, EBADF);
	page = chipboot_page(observer, channel);
	if (!page)
		return cb_error(CB_READ, ENOENT);

	for (tries = 0; tries < SNAPSHOT_TRIES; tries++)
		if (snapshot(page, answer))
			break;
	if (tries == SNAPSHOT_TRIES) {
		ret = cb_kernel_read(observer->fd, channel, answer);
		if (ret < 0)
			return ret;
	}

	if (answer->state < CHIPBOOT_STATE_IDLE ||
	    answer->state > CHIPBOOT_STATE_ERROR)
		return cb_errorf(EPROTO, "channel %u: unknown state %d",
				 channel, answer->state);
	if (answer->count < 0 || answer->count > CHIPBOOT_MAX_WORDS)
		return cb_errorf(EPROTO,
				 "channel %u: count of buffer pointers %d is not in 0 to %d",
				 channel, answer->count, CHIPBOOT_MAX_WORDS);
	if (!memchr(answer->message, 0, sizeof(answer->message)))
		return cb_errorf(EPROTO, "channel %u: message without end",
				 channel);
	return answer->state;
}

int chipboot_observer_info(const struct chipboot_observer *observer,
			   uint32_t flags, struct chipboot_info *info)
{
	struct chipboot_status status = {
		.flags = flags, .channel = CHIPBOOT_NO_CHANNEL,
	};
	int ret;

	if (!observer || !info)
		return cb_error(CB_ANY, EINVAL);
	ret = cb_kernel_status(observer->fd, &status);
	if (ret < 0)
		return ret;
	cb_kernel_info(&status, info);
	return 0;
}

int chipboot_observer_pending(const struct chipboot_observer *observer,
			      uint64_t *bitmap, uint32_t words)
{
	struct chipboot_status status = {
		.channel = CHIPBOOT_NO_CHANNEL,
		.pending = (uintptr_t)bitmap,
		.pending_words = words,
	};

	/* The kernel writes at most 1024 words, and all are promised. */
	if (!observer || !bitmap || !words || words > 1024)
		return cb_error(CB_ANY, EINVAL);
	return cb_kernel_status(observer->fd, &status);
}

int chipboot_channel_info(const struct chipboot_observer *observer,
			  uint32_t channel, struct chipboot_channel *info)
{
	struct chipboot_status status = { .channel = channel };
	int ret;

	if (!observer || !info)
		return cb_error(CB_ANY, EINVAL);
	/* For the kernel this number is "none", not a channel that is not there. */
	if (channel == CHIPBOOT_NO_CHANNEL)
		return cb_error(CB_STATUS, ENOENT);
	ret = cb_kernel_status(observer->fd, &status);
	if (ret < 0)
		return ret;
	*info = (struct chipboot_channel) {
		.state = status.channel_state,
		.generation = status.channel_generation,
		.pid = status.channel_pid,
		.bound = status.channel_bound,
	};
	return 0;
}
