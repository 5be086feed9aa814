// SPDX-License-Identifier: MIT
/*
 * Handing a publisher and an observer through exec: two descriptors left open, and
 * four variables that say what they are.
 *
 * The environment describes at any time exactly the handles that pass through the
 * next exec, so taking them removes the variables.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const char channel_variable[] = "CHIPBOOT_CHANNEL";
static const char channels_variable[] = "CHIPBOOT_CHANNELS";
static const char publisher_variable[] = "CHIPBOOT_PUBLISHER_FD";
static const char observer_variable[] = "CHIPBOOT_OBSERVER_FD";

static int set_variable(const char *name, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return setenv(name, text, 1) < 0 ? cb_error(CB_ANY, errno) : 0;
}

static void clear_variables(void)
{
	unsetenv(channel_variable);
	unsetenv(channels_variable);
	unsetenv(publisher_variable);
	unsetenv(observer_variable);
}

static int set_close_on_exec(int fd, bool on)
{
	/* FD_CLOEXEC is the only descriptor flag there is. */
	if (fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0)
		return cb_error(CB_ANY, errno);
	return 0;
}

static int prepare(int fd, const char *variable)
{
	int ret = set_close_on_exec(fd, false);

	return ret < 0 ? ret : set_variable(variable, fd);
}

int chipboot_exec_prepare(struct chipboot_publisher *publisher,
			  struct chipboot_observer *observer)
{
	int ret = 0;

	if ((publisher && publisher->fd < 0) || (observer && observer->fd < 0))
		return cb_error(CB_ANY, EBADF);
	clear_variables();
	if (publisher) {
		ret = prepare(publisher->fd, publisher_variable);
		if (!ret)
			ret = set_variable(channel_variable,
					   publisher->channel);
		if (!ret)
			ret = set_variable(channels_variable,
					   publisher->channels);
	}
	if (!ret && observer) {
		ret = prepare(observer->fd, observer_variable);
		if (!ret)
			ret = set_variable(channels_variable,
					   observer->map.channels);
	}
	if (!ret)
		return 0;
	clear_variables();
	if (publisher)
		set_close_on_exec(publisher->fd, true);
	if (observer)
		set_close_on_exec(observer->fd, true);
	return ret;
}

/* A variable's number: decimal digits and nothing else, at most @limit. */
static int number(const char *name, uint32_t limit, uint32_t *value)
{
	const char *text = getenv(name);
	const char *at;
	uint64_t sum = 0;

	if (!text)
		return cb_errorf(ENOENT,
				 "%s is not set: this process was not started by a chipboot launcher (chipboot run), or has taken its handles already",
				 name);
	for (at = text; *at >= '0' && *at <= '9' && sum <= limit; at++)
		sum = sum * 10 + (*at - '0');
	if (at == text || *at || sum > limit)
		return cb_errorf(EINVAL, "%s=%.40s is not a number from 0 to %u",
				 name, text, limit);
	*value = sum;
	return 0;
}

/* The descriptor a variable names, checked to be open. */
static int descriptor(const char *name, int *fd)
{
	uint32_t value;
	int ret = number(name, INT32_MAX, &value);

	if (ret < 0)
		return ret;
	if (fcntl(value, F_GETFD) < 0)
		return cb_errorf(EBADF,
				 "%s=%u: no such descriptor is open; did a program in between close it?",
				 name, value);
	*fd = value;
	return 0;
}

/* What wrapping a descriptor that is no chipboot handle says is about ioctls. */
static int not_a_handle(const char *name, int fd, int error)
{
	if (error == -ENOMEM || error == -ESTALE)
		return error;
	return cb_errorf(ENOTTY,
			 "%s=%d: that descriptor is not the chipboot handle it should be; did a program in between close and reuse it?",
			 name, fd);
}

/* Is @fd a handle of the session that the variables describe? */
static int check_session(int fd, uint32_t channels, uint64_t *session_id)
{
	struct chipboot_status status = { .channel = CHIPBOOT_NO_CHANNEL };
	int ret = cb_kernel_status(fd, &status);

	if (ret < 0)
		return ret;
	if (status.channels != channels)
		return cb_errorf(EBADMSG,
				 "%s=%u, but the session of descriptor %d has %u",
				 channels_variable, channels, fd,
				 status.channels);
	if (*session_id && *session_id != status.session_id)
		return cb_errorf(EBADMSG,
				 "%s and %s are handles of two sessions",
				 publisher_variable, observer_variable);
	*session_id = status.session_id;
	return 0;
}

static int take_publisher(uint32_t channels, uint64_t *session_id,
			  struct chipboot_publisher **publisher)
{
	uint32_t channel;
	int fd;
	int ret = number(channel_variable, UINT32_MAX, &channel);

	if (!ret)
		ret = descriptor(publisher_variable, &fd);
	if (ret < 0)
		return ret;
	ret = cb_publisher_wrap(fd, publisher);
	if (ret < 0)
		return not_a_handle(publisher_variable, fd, ret);
	ret = check_session(fd, channels, session_id);
	if (ret < 0)
		return ret;
	if ((*publisher)->channel != channel)
		return cb_errorf(EBADMSG,
				 "%s=%u, but the handle of %s is channel %u's",
				 channel_variable, channel, publisher_variable,
				 (*publisher)->channel);
	return 0;
}

static int take_observer(uint32_t channels, uint64_t *session_id,
			 struct chipboot_observer **observer)
{
	int fd;
	int ret = descriptor(observer_variable, &fd);

	if (ret < 0)
		return ret;
	ret = cb_observer_wrap(fd, observer);
	if (ret < 0)
		return not_a_handle(observer_variable, fd, ret);
	return check_session(fd, channels, session_id);
}

/* Close the handle that a variable names, if it is one: nobody asked for it. */
static void close_unwanted(const char *name)
{
	struct chipboot_status status = { .channel = CHIPBOOT_NO_CHANNEL };
	uint32_t fd;

	if (number(name, INT32_MAX, &fd) == 0 &&
	    cb_kernel_status(fd, &status) == 0)
		close(fd);
}

int chipboot_from_env(struct chipboot_publisher **publisher_out,
		      struct chipboot_observer **observer_out)
{
	struct chipboot_publisher *publisher = NULL;
	struct chipboot_observer *observer = NULL;
	uint64_t session_id = 0;
	uint32_t channels;
	int ret;

	if (publisher_out)
		*publisher_out = NULL;
	if (observer_out)
		*observer_out = NULL;
	ret = number(channels_variable, UINT32_MAX, &channels);
	if (!ret && publisher_out)
		ret = take_publisher(channels, &session_id, &publisher);
	if (!ret && observer_out)
		ret = take_observer(channels, &session_id, &observer);
	if (!ret && publisher)
		ret = set_close_on_exec(publisher->fd, true);
	if (!ret && observer)
		ret = set_close_on_exec(observer->fd, true);
	if (ret < 0) {
		/* The descriptors are still the environment's. */
		if (publisher)
			publisher->fd = -EBADF;
		if (observer)
			observer->fd = -EBADF;
		chipboot_publisher_close(publisher);
		chipboot_observer_close(observer);
		return ret;
	}

	if (publisher_out)
		*publisher_out = publisher;
	else
		close_unwanted(publisher_variable);
	if (observer_out)
		*observer_out = observer;
	else
		close_unwanted(observer_variable);
	clear_variables();
	return 0;
}
