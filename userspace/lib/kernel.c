// SPDX-License-Identifier: MIT
/*
 * The module as the rest of the library sees it: one function per ioctl, and the
 * only place that knows the device's name and the uapi structs' numbers.  Another
 * backend would stand here.
 *
 * Called by session.c, publisher.c, observer.c and wait.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#ifndef CHIPBOOT_RELEASE
#error "the build passes the library's version: -DCHIPBOOT_RELEASE='\"...\"'"
#endif

static const char device[] = "/dev/chipboot";

/* The library's own names and the kernel's must be the same numbers. */
#define SAME(ours, theirs) \
	_Static_assert((ours) == (theirs), #ours " is not " #theirs)
#define SAME_FIELD(ours, theirs) \
	SAME(offsetof(struct chipboot_answer, ours), \
	     offsetof(struct chipboot_page, theirs))

SAME(CHIPBOOT_STATE_IDLE, (int)CHIPBOOT_IDLE);
SAME(CHIPBOOT_STATE_SUCCESS, (int)CHIPBOOT_SUCCESS);
SAME(CHIPBOOT_STATE_ERROR, (int)CHIPBOOT_ERROR);
SAME(CHIPBOOT_BY_NOBODY, (int)CHIPBOOT_ORIGIN_NONE);
SAME(CHIPBOOT_BY_PUBLISHER, (int)CHIPBOOT_ORIGIN_PUBLISHER);
SAME(CHIPBOOT_BY_EXIT, (int)CHIPBOOT_ORIGIN_EXIT);
SAME(CHIPBOOT_BY_CLOSE, (int)CHIPBOOT_ORIGIN_CLOSED);
SAME(CHIPBOOT_BY_DEADLINE, (int)CHIPBOOT_ORIGIN_DEADLINE);
SAME(CHIPBOOT_BY_OWNER, (int)CHIPBOOT_ORIGIN_OWNER);
SAME(CHIPBOOT_HAS_STATUS, CHIPBOOT_PAGE_STATUS_VALID);
SAME(CHIPBOOT_WAS_CUT, CHIPBOOT_PAGE_TRUNCATED);
SAME(CHIPBOOT_OOM_KILLED, CHIPBOOT_PAGE_OOM_VICTIM);
SAME(CHIPBOOT_IS_GONE, CHIPBOOT_PAGE_GONE);
SAME(CHIPBOOT_MAX_WORDS, CHIPBOOT_WORDS_MAX);
SAME(CHIPBOOT_MAX_TEXT + 1, CHIPBOOT_MESSAGE_SIZE);
SAME(CHIPBOOT_ON_COMPLETE, CHIPBOOT_EVENT_COMPLETE);
SAME(CHIPBOOT_ON_GONE, CHIPBOOT_EVENT_GONE);
SAME(CHIPBOOT_ON_CHANGE, CHIPBOOT_EVENT_CHANGE);
SAME(CHIPBOOT_ON_ERROR, CHIPBOOT_EVENT_ERROR);
SAME(CHIPBOOT_OWNER_IS_ALIVE, (int)CHIPBOOT_OWNER_ALIVE);
SAME(CHIPBOOT_OWNER_HAS_DETACHED, (int)CHIPBOOT_OWNER_DETACHED);
SAME(CHIPBOOT_OWNER_HAS_CLOSED, (int)CHIPBOOT_OWNER_CLOSED);
SAME(CHIPBOOT_OWNER_IS_DEAD, (int)CHIPBOOT_OWNER_DEAD);
SAME(CHIPBOOT_NOBODY, CHIPBOOT_NO_CHANNEL);
SAME(CHIPBOOT_KEEP_PUBLISHERS, CHIPBOOT_RESET_KEEP_PUBLISHERS);
SAME(CHIPBOOT_ACK, CHIPBOOT_STATUS_ACK);
SAME(sizeof(struct chipboot_answer), sizeof(struct chipboot_page));
SAME_FIELD(state, state);
SAME_FIELD(error_code, error_code);
SAME_FIELD(count, count);
SAME_FIELD(seq, seq);
SAME_FIELD(device_ctx, device_ctx);
SAME_FIELD(window_base, local_window_base);
SAME_FIELD(window_size, actual_window_size);
SAME_FIELD(updated_ns, updated_ns);
SAME_FIELD(publisher_pid, publisher_pid);
SAME_FIELD(generation, generation);
SAME_FIELD(order, order);
SAME_FIELD(wait_status, wait_status);
SAME_FIELD(origin, origin);
SAME_FIELD(flags, flags);
SAME_FIELD(words, words);
SAME_FIELD(message, message);

static int call(int fd, enum cb_call what, unsigned long request, void *argument)
{
	int ret = ioctl(fd, request, argument);

	return ret < 0 ? cb_error(what, errno) : ret;
}

/* A control handle to a module that this library can talk to. */
int cb_kernel_open(struct chipboot_versions *versions)
{
	struct chipboot_version version = { .abi = 0 };
	int control;

	memset(versions, 0, sizeof(*versions));
	versions->library_abi = CHIPBOOT_ABI_VERSION;
	snprintf(versions->library, sizeof(versions->library), "%s",
		 CHIPBOOT_RELEASE);

	control = open(device, O_RDWR | O_CLOEXEC);
	if (control < 0)
		return cb_error_open(errno, device);

	if (ioctl(control, CHIPBOOT_IOC_VERSION, &version) < 0) {
		close(control);
		return cb_errorf(EPROTONOSUPPORT,
				 "%s does not answer like chipboot's module: what has that name is something else",
				 device);
	}
	versions->module_abi = version.abi;
	versions->max_channels_per_session = version.max_channels_per_session;
	snprintf(versions->module, sizeof(versions->module), "%.*s",
		 (int)sizeof(version.release), version.release);

	/*
	 * Nothing is ever removed from the interface: a newer module is fine, an
	 * older one lacks what this library may call.
	 */
	if (version.abi < CHIPBOOT_ABI_VERSION) {
		close(control);
		return cb_errorf(EPROTONOSUPPORT,
				 "the loaded chipboot module %s has interface %u, library %s needs %u: load the module of the installed version (modprobe -r chipboot; modprobe chipboot)",
				 versions->module, version.abi,
				 versions->library, CHIPBOOT_ABI_VERSION);
	}
	return control;
}

int cb_kernel_create(int control, uint32_t channels)
{
	struct chipboot_create create = { .channels = channels };
	int fd = ioctl(control, CHIPBOOT_IOC_CREATE, &create);

	return fd < 0 ? cb_error_limit(errno, channels) : fd;
}

int cb_kernel_claim(int fd, uint32_t channel, uint32_t *generation)
{
	struct chipboot_claim claim = { .channel = channel };
	int publisher = call(fd, CB_CLAIM, CHIPBOOT_IOC_CLAIM, &claim);

	*generation = claim.generation;
	return publisher;
}

int cb_kernel_reset(int fd, uint32_t first, uint32_t count, uint32_t flags)
{
	struct chipboot_reset reset = {
		.first = first, .count = count, .flags = flags,
	};

	return call(fd, CB_RESET, CHIPBOOT_IOC_RESET, &reset);
}

int cb_kernel_abort(int fd, struct chipboot_abort *abort)
{
	return call(fd, CB_ABORT, CHIPBOOT_IOC_ABORT, abort);
}

int cb_kernel_detach(int fd)
{
	return call(fd, CB_DETACH, CHIPBOOT_IOC_DETACH, NULL);
}

int cb_kernel_deadline(int fd, uint64_t ns, uint32_t flags)
{
	struct chipboot_deadline deadline = { .ns = ns, .flags = flags };

	return call(fd, CB_DEADLINE, CHIPBOOT_IOC_SET_DEADLINE, &deadline);
}

int cb_kernel_bind(int fd, pid_t pid, int death_signal)
{
	struct chipboot_bind bind = {
		.pid = pid, .death_signal = death_signal,
	};

	return call(fd, CB_BIND, CHIPBOOT_IOC_BIND, &bind);
}

int cb_kernel_progress(int fd, const struct chipboot_progress *text)
{
	return call(fd, CB_PROGRESS, CHIPBOOT_IOC_PROGRESS, (void *)text);
}

int cb_kernel_publish(int fd, const struct chipboot_publish *answer)
{
	return call(fd, CB_PUBLISH, CHIPBOOT_IOC_PUBLISH, (void *)answer);
}

int cb_kernel_observe(int fd, uint32_t events)
{
	struct chipboot_observe observe = { .events = events };

	return call(fd, CB_OBSERVE, CHIPBOOT_IOC_OBSERVE, &observe);
}

int cb_kernel_read(int fd, uint32_t channel, struct chipboot_answer *answer)
{
	struct chipboot_read read = {
		.channel = channel, .page = (uintptr_t)answer,
	};

	return call(fd, CB_READ, CHIPBOOT_IOC_READ, &read);
}

int cb_kernel_status(int fd, struct chipboot_status *status)
{
	return call(fd, CB_STATUS, CHIPBOOT_IOC_STATUS, status);
}

int cb_kernel_map(int fd, uint32_t channels, uint32_t stride,
		  struct chipboot_map *map)
{
	size_t size;
	void *base;

	if (__builtin_mul_overflow((size_t)channels, stride, &size))
		return cb_error(CB_MAP, ENOMEM);
	base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return cb_error(CB_MAP, errno);
	map->base = base;
	map->stride = stride;
	map->channels = channels;
	return 0;
}

void cb_kernel_info(const struct chipboot_status *status,
		    struct chipboot_info *info)
{
	*info = (struct chipboot_info) {
		.session_id = status->session_id,
		.now_ns = status->now_ns,
		.deadline_ns = status->deadline_ns,
		.channels = status->channels,
		.idle = status->idle,
		.success = status->success,
		.error = status->error,
		.gone = status->gone,
		.first_failed = status->first_failed,
		.owner_state = status->owner_state,
		.owner_pid = status->owner_pid,
		.events = status->events,
		.holds = status->holds,
	};
}

int chipboot_get_versions(struct chipboot_versions *versions)
{
	int control;

	if (!versions)
		return cb_error(CB_ANY, EINVAL);
	control = cb_kernel_open(versions);
	if (control < 0)
		return control;
	close(control);
	return 0;
}
