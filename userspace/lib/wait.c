// SPDX-License-Identifier: MIT
/*
 * Sleeping until channels have answered.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define NS_PER_S INT64_C(1000000000)

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* @ns from now as a point in time; INT64_MAX is never. */
static int64_t after(int64_t ns)
{
	int64_t at;

	return __builtin_add_overflow(now_ns(), ns, &at) ? INT64_MAX : at;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

struct goal {
	const struct chipboot_observer *observer;
	uint32_t count;
	bool fail_fast;
};

/*
 * Look at the pages.  1: reached, @answered says how many; 0: not yet; or -EPROTO.
 */
static int reached(const struct goal *goal, uint32_t *answered)
{
	uint32_t n = goal->observer->map.channels;
	bool failed = false;
	uint32_t i;

	*answered = 0;
	for (i = 0; i < n; i++) {
		int state = chipboot_state(goal->observer, i);

		if (state < 0)
			return cb_errorf(EPROTO, "channel %u: unknown state",
					 i);
		*answered += state != CHIPBOOT_STATE_IDLE;
		failed |= state == CHIPBOOT_STATE_ERROR;
	}
	return *answered >= goal->count || (failed && goal->fail_fast);
}

/*
 * The descriptor to sleep on, which is readable for nothing but what the goal needs:
 * on the caller's, another event of its subscription may hold all the time.
 * *@borrowed says that it is not ours to close.
 */
static int wait_fd(const struct goal *goal, uint32_t *event, bool *borrowed)
{
	const struct chipboot_observer *observer = goal->observer;
	int from = observer->change_fd >= 0 ? observer->change_fd :
					      observer->fd;

	*borrowed = false;
	*event = CHIPBOOT_ON_CHANGE;
	if (goal->count == observer->map.channels) {
		if (observer->events == CHIPBOOT_ON_COMPLETE) {
			*event = CHIPBOOT_ON_COMPLETE;
			*borrowed = true;
			return observer->fd;
		}
		if (observer->events & CHIPBOOT_ON_COMPLETE)
			*event = CHIPBOOT_ON_COMPLETE;
	}
	return cb_kernel_observe(from, *event);
}

static int sleep_on(int fd, short events, int64_t until, short *revents)
{
	struct pollfd pollfd = { .fd = fd, .events = events };
	struct timespec left;
	int64_t ns = 0;
	int ret;

	if (until != INT64_MAX) {
		ns = until - now_ns();
		if (ns < 0)
			ns = 0;
		left.tv_sec = ns / NS_PER_S;
		left.tv_nsec = ns % NS_PER_S;
	}
	ret = ppoll(&pollfd, 1, until == INT64_MAX ? NULL : &left, NULL);
	*revents = pollfd.revents;
	return ret < 0 ? -errno : ret;
}

int chipboot_wait(const struct chipboot_observer *observer, uint32_t count,
		  int64_t timeout_ns, uint64_t spin_ns, uint32_t flags)
{
	struct goal goal = {
		.observer = observer,
		.count = count,
		.fail_fast = flags & CHIPBOOT_WAIT_FAIL_FAST,
	};
	int64_t until, spin_until;
	uint32_t answered;
	uint32_t event;
	short revents;
	bool borrowed;
	int ret;
	int fd;

	if (!observer ||
	    flags & ~(CHIPBOOT_WAIT_FAIL_FAST | CHIPBOOT_WAIT_INTERRUPTIBLE))
		return cb_error(CB_ANY, EINVAL);
	if (observer->fd < 0)
		return cb_error(CB_ANY, EBADF);
	if (count > observer->map.channels)
		return cb_errorf(EINVAL, "the session has %u channels, not %u",
				 observer->map.channels, count);
	if (count == CHIPBOOT_ALL)
		goal.count = observer->map.channels;

	until = timeout_ns < 0 ? INT64_MAX : after(timeout_ns);
	spin_until = after(spin_ns > INT64_MAX ? INT64_MAX : (int64_t)spin_ns);
	if (spin_until > until)
		spin_until = until;
	for (;;) {
		ret = reached(&goal, &answered);
		if (ret)
			return ret < 0 ? ret : (int)answered;
		if (!spin_ns || now_ns() >= spin_until)
			break;
		relax();
	}

	fd = wait_fd(&goal, &event, &borrowed);
	if (fd < 0)
		return fd;
	for (;;) {
		bool owner_gone;

		ret = sleep_on(fd, POLLIN | (goal.fail_fast ? POLLPRI : 0),
			       until, &revents);
		if (ret == -EINTR && !(flags & CHIPBOOT_WAIT_INTERRUPTIBLE))
			continue;
		if (ret < 0) {
			cb_error(CB_ANY, ret);
			break;
		}
		if (ret == 0) {
			ret = cb_error(CB_ANY, ETIMEDOUT);
			break;
		}
		owner_gone = revents & POLLHUP;
		/* Before the look at the pages, or a change could be missed. */
		if (event == CHIPBOOT_ON_CHANGE && revents & POLLIN) {
			struct chipboot_status status = {
				.flags = CHIPBOOT_STATUS_ACK,
				.channel = CHIPBOOT_NO_CHANNEL,
			};

			ret = cb_kernel_status(fd, &status);
			if (ret < 0)
				break;
		}
		ret = reached(&goal, &answered);
		if (ret) {
			ret = ret < 0 ? ret : (int)answered;
			break;
		}
		if (owner_gone) {
			ret = cb_errorf(EOWNERDEAD,
					"the launcher that owns the session is gone, %u of %u had answered",
					answered, observer->map.channels);
			break;
		}
	}
	if (!borrowed)
		close(fd);
	return ret;
}
