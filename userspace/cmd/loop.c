// SPDX-License-Identifier: MIT
/*
 * The event loop.
 *
 * Called by run.c, and by whoever has a descriptor to watch.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "loop.h"

int loop_add(int loop, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	return epoll_ctl(loop, EPOLL_CTL_ADD, watch->fd, &event) < 0 ? -errno : 0;
}

int loop_remove(int loop, struct watch *watch)
{
	return epoll_ctl(loop, EPOLL_CTL_DEL, watch->fd, NULL) < 0 ? -errno : 0;
}

/*
 * One event at a time: a second one of the same batch could be of a watch that the
 * first has freed.  The kernel keeps who is ready in a queue, so all get their turn.
 */
int loop_once(int loop, int timeout_ms)
{
	struct epoll_event event;
	struct watch *watch;
	int ret = epoll_wait(loop, &event, 1, timeout_ms);

	if (ret < 0)
		return errno == EINTR ? 0 : -errno;
	if (ret) {
		watch = event.data.ptr;
		watch->ready(watch);
	}
	return 0;
}
