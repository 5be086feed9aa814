// SPDX-License-Identifier: MIT
/*
 * Starting runtime processes by fork, with nothing in the child but what is the
 * child's, and its death watched from its first instruction on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

/*
 * The child's first act: wait until the parent has bound it.  Only system calls,
 * since the parent may have threads.
 *
 * Were the child let run at once, the launcher could be killed before it binds, and
 * the death signal would not be sent.  The publisher tells the child of that, in the
 * only way that does not depend on who else inherited a descriptor: POLLHUP.
 * It then does to itself what was missed.
 */
static void wait_for_binding(int publisher, int bound, int death_signal)
{
	struct pollfd fds[2] = {
		{ .fd = bound, .events = POLLIN },
		{ .fd = publisher },
	};

	while (poll(fds, 2, -1) < 0)
		;
	if (fds[0].revents & POLLIN)
		return;
	cb_kernel_bind(publisher, 0, death_signal);
	if (death_signal)
		kill(getpid(), death_signal);
}

pid_t chipboot_fork(struct chipboot_session *session, uint32_t channel,
		    int death_signal, uint32_t events,
		    struct chipboot_publisher **publisher_out,
		    struct chipboot_observer **observer_out)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	pid_t pid;
	int bound;
	int ret;

	if (!publisher_out || !observer_out)
		return cb_error(CB_ANY, EINVAL);
	*publisher_out = NULL;
	*observer_out = NULL;
	ret = cb_check_signal(death_signal);
	if (ret < 0)
		return ret;
	ret = chipboot_session_claim(session, channel, &publisher);
	if (ret < 0)
		return ret;
	ret = chipboot_session_observe(session, events, &observer);
	if (ret < 0)
		goto close_publisher;
	bound = eventfd(0, EFD_CLOEXEC);
	if (bound < 0) {
		ret = cb_error(CB_ANY, errno);
		goto close_observer;
	}

	pid = fork();
	if (pid < 0) {
		ret = cb_error(CB_ANY, errno);
		goto close_bound;
	}
	if (!pid) {
		/* Not ours any more: its last copy here would hide its end. */
		cb_session_drop(session, publisher, observer);
		wait_for_binding(publisher->fd, bound, death_signal);
		close(bound);
		*publisher_out = publisher;
		*observer_out = observer;
		return 0;
	}

	ret = cb_kernel_bind(publisher->fd, pid, death_signal);
	if (ret < 0) {
		/*
		 * ESRCH: killed by somebody already, and reaped since the program
		 * ignores SIGCHLD.  Then the number is nobody's, or another's.
		 */
		if (ret != -ESRCH) {
			kill(pid, SIGKILL);
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
		}
		goto close_bound;
	}
	/* Fails only on a counter near its limit. */
	eventfd_write(bound, 1);
	ret = pid;

close_bound:
	close(bound);
close_observer:
	chipboot_observer_close(observer);
close_publisher:
	chipboot_publisher_close(publisher);
	return ret;
}

static struct chipboot_publisher *
find_publisher(struct chipboot_session *session, uint32_t channel)
{
	struct chipboot_publisher *publisher = NULL;
	struct cb_link *link;

	cb_register_lock();
	for (link = session->publishers; link; link = link->next) {
		publisher = cb_publisher_of(link);
		if (publisher->channel == channel)
			break;
	}
	cb_register_unlock();
	return link ? publisher : NULL;
}

int chipboot_session_child(struct chipboot_session *session, uint32_t channel,
			   int death_signal, uint32_t events,
			   struct chipboot_publisher **publisher_out,
			   struct chipboot_observer **observer_out)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	struct chipboot_info info;
	int ret;

	if (!session || !publisher_out || !observer_out)
		return cb_error(CB_ANY, EINVAL);
	*publisher_out = NULL;
	*observer_out = NULL;
	ret = cb_check_signal(death_signal);
	if (ret < 0)
		return ret;
	if (session->fd < 0)
		return cb_error(CB_ANY, EBADF);
	if (cb_session_is_mine(session))
		return cb_errorf(EPERM,
				 "this is the process that created the session, not a child forked from it");
	publisher = find_publisher(session, channel);
	if (!publisher)
		return cb_errorf(ENOENT,
				 "channel %u was not claimed before the fork",
				 channel);

	ret = cb_observer_open(session->all_fd,
			       events ? events : CHIPBOOT_ON_COMPLETE,
			       &observer);
	if (ret < 0)
		return ret;
	ret = cb_kernel_bind(publisher->fd, 0, death_signal);
	if (ret < 0)
		goto close_observer;
	/* If the owner is dead, the signal is on its way; one may ignore it. */
	if (death_signal) {
		ret = chipboot_publisher_info(publisher, &info);
		if (ret < 0)
			goto close_observer;
		if (info.owner_state == CHIPBOOT_OWNER_IS_DEAD) {
			ret = cb_errorf(EOWNERDEAD,
					"the launcher died before this process was bound");
			goto close_observer;
		}
	}
	cb_session_drop(session, publisher, NULL);
	*publisher_out = publisher;
	*observer_out = observer;
	return 0;

close_observer:
	chipboot_observer_close(observer);
	return ret;
}
