// SPDX-License-Identifier: MIT
/*
 * Publishers: one channel's answer, given once.  The generation that an answer is
 * meant for is kept here.
 *
 * Made by session.c (claim), environment.c and passing.c (received).
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

int cb_publisher_wrap(int fd, struct chipboot_publisher **out)
{
	struct chipboot_status status = { .channel = CHIPBOOT_NO_CHANNEL };
	struct chipboot_publisher *publisher;
	int ret = cb_kernel_status(fd, &status);

	if (ret < 0)
		return ret;
	/* Only a publisher's STATUS fills in a channel that was not asked for. */
	if (status.channel == CHIPBOOT_NO_CHANNEL)
		return cb_errorf(ENOTTY,
				 "descriptor %d is a chipboot handle, but not a publisher",
				 fd);
	if (!status.handle_generation)
		return cb_error(CB_PUBLISH, ESTALE);
	publisher = calloc(1, sizeof(*publisher));
	if (!publisher)
		return cb_error(CB_ANY, ENOMEM);
	publisher->fd = fd;
	publisher->channel = status.channel;
	publisher->channels = status.channels;
	publisher->generation = status.handle_generation;
	*out = publisher;
	return 0;
}

void chipboot_publisher_close(struct chipboot_publisher *publisher)
{
	if (!publisher)
		return;
	cb_link_remove(&publisher->link);
	if (publisher->fd >= 0)
		close(publisher->fd);
	free(publisher);
}

int chipboot_publisher_fd(const struct chipboot_publisher *publisher)
{
	return publisher->fd;
}

uint32_t chipboot_publisher_channel(const struct chipboot_publisher *publisher)
{
	return publisher->channel;
}

uint32_t
chipboot_publisher_generation(const struct chipboot_publisher *publisher)
{
	return atomic_load_explicit(&publisher->generation,
				    memory_order_relaxed);
}

int cb_check_signal(int signal)
{
	if (signal < 0 || signal > 64)
		return cb_errorf(EINVAL, "%d is not a signal", signal);
	return 0;
}

int chipboot_publisher_bind(struct chipboot_publisher *publisher, pid_t pid,
			    int death_signal)
{
	int ret;

	if (!publisher || pid < 0)
		return cb_error(CB_ANY, EINVAL);
	ret = cb_check_signal(death_signal);
	if (ret < 0)
		return ret;
	return cb_kernel_bind(publisher->fd, pid, death_signal);
}

int chipboot_publisher_refresh(struct chipboot_publisher *publisher)
{
	struct chipboot_status status = { .channel = CHIPBOOT_NO_CHANNEL };
	int ret;

	if (!publisher)
		return cb_error(CB_ANY, EINVAL);
	ret = cb_kernel_status(publisher->fd, &status);
	if (ret < 0)
		return ret;
	if (!status.handle_generation)
		return cb_error(CB_PUBLISH, ESTALE);
	atomic_store_explicit(&publisher->generation, status.handle_generation,
			      memory_order_relaxed);
	return 0;
}

int chipboot_publish_success(struct chipboot_publisher *publisher,
			     uint64_t device_ctx, uint64_t window_base,
			     uint64_t window_size, const uint64_t *words,
			     uint32_t count)
{
	struct chipboot_publish answer = {
		.state = CHIPBOOT_SUCCESS,
		.device_ctx = device_ctx,
		.local_window_base = window_base,
		.actual_window_size = window_size,
		.words = (uintptr_t)words,
		.count = count,
	};

	if (!publisher || (count && !words))
		return cb_error(CB_ANY, EINVAL);
	answer.generation = chipboot_publisher_generation(publisher);
	return cb_kernel_publish(publisher->fd, &answer);
}

int chipboot_publish_error(struct chipboot_publisher *publisher,
			   int32_t error_code, const char *text)
{
	struct chipboot_publish answer = {
		.state = CHIPBOOT_ERROR,
		.error_code = error_code,
		.message = (uintptr_t)text,
	};

	if (!publisher || !text)
		return cb_error(CB_ANY, EINVAL);
	answer.generation = chipboot_publisher_generation(publisher);
	answer.message_len = cb_text_length(text, &answer.flags);
	return cb_kernel_publish(publisher->fd, &answer);
}

int chipboot_progress(struct chipboot_publisher *publisher, const char *text)
{
	struct chipboot_progress progress = { .message = (uintptr_t)text };

	if (!publisher || !text)
		return cb_error(CB_ANY, EINVAL);
	progress.generation = chipboot_publisher_generation(publisher);
	progress.message_len = cb_text_length(text, &progress.flags);
	return cb_kernel_progress(publisher->fd, &progress);
}

int chipboot_publisher_info(const struct chipboot_publisher *publisher,
			    struct chipboot_info *info)
{
	struct chipboot_status status = { .channel = CHIPBOOT_NO_CHANNEL };
	int ret;

	if (!publisher || !info)
		return cb_error(CB_ANY, EINVAL);
	ret = cb_kernel_status(publisher->fd, &status);
	if (ret < 0)
		return ret;
	cb_kernel_info(&status, info);
	return 0;
}
