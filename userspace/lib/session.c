// SPDX-License-Identifier: MIT
/*
 * Sessions, on their owner's side, and the register of the handles made from them,
 * by which a forked child finds what it must not keep.
 *
 * The register is called by publisher.c, observer.c and fork.c.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

/* ---- the register ---- */

/*
 * One lock for all lists: handles are made and closed a few times in a process's
 * life.  It is taken around every fork of the process, so that the child of a
 * program with threads does not inherit it locked, nor a list half changed.
 */
static pthread_mutex_t register_mutex = PTHREAD_MUTEX_INITIALIZER;

/*
 * Tells a child from its parent where pids do not: both can be 1, each in its own
 * pid namespace.
 */
static atomic_uint forks;

void cb_register_lock(void)
{
	pthread_mutex_lock(&register_mutex);
}

void cb_register_unlock(void)
{
	pthread_mutex_unlock(&register_mutex);
}

static void in_forked_child(void)
{
	atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
	cb_register_unlock();
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(cb_register_lock, cb_register_unlock, in_forked_child);
}

static void link_locked(struct cb_link *link, struct cb_link **list,
			struct chipboot_session *session)
{
	link->session = session;
	link->next = *list;
	link->at = list;
	if (link->next)
		link->next->at = &link->next;
	*list = link;
}

void cb_link_add(struct cb_link *link, struct cb_link **list,
		 struct chipboot_session *session)
{
	cb_register_lock();
	link_locked(link, list, session);
	cb_register_unlock();
}

/* An observer made from @sibling is on the same list, if that is on one. */
void cb_link_beside(struct cb_link *link, const struct cb_link *sibling)
{
	cb_register_lock();
	if (sibling->session)
		link_locked(link, &sibling->session->observers,
			    sibling->session);
	cb_register_unlock();
}

static void unlink_locked(struct cb_link *link)
{
	if (!link->session)
		return;
	*link->at = link->next;
	if (link->next)
		link->next->at = link->at;
	link->session = NULL;
}

void cb_link_remove(struct cb_link *link)
{
	cb_register_lock();
	unlink_locked(link);
	cb_register_unlock();
}

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
}

/*
 * Close in this process what was made from @session, except the two.  The objects
 * stay: the launcher's frames, which a forked child may still unwind, point to
 * them.
 */
void cb_session_drop(struct chipboot_session *session,
		     const struct chipboot_publisher *keep_publisher,
		     const struct chipboot_observer *keep_observer)
{
	struct cb_link *link;

	cb_register_lock();
	while ((link = session->publishers)) {
		struct chipboot_publisher *publisher = cb_publisher_of(link);

		unlink_locked(link);
		if (publisher != keep_publisher)
			drop_fd(&publisher->fd);
	}
	while ((link = session->observers)) {
		struct chipboot_observer *observer = cb_observer_of(link);

		unlink_locked(link);
		if (observer != keep_observer) {
			cb_observer_unmap(observer);
			drop_fd(&observer->fd);
			observer->change_fd = -1;
		}
	}
	drop_fd(&session->all_fd);
	drop_fd(&session->fd);
	cb_register_unlock();
}

/* ---- sessions ---- */

bool cb_session_is_mine(const struct chipboot_session *session)
{
	return session->owner == getpid() &&
	       session->owner_forks == atomic_load_explicit(&forks,
							    memory_order_relaxed);
}

/*
 * Refuse what only the owner may before it reaches the kernel, which would say the
 * same, but cannot for a handle that the child has dropped.
 */
static int check_owner(const struct chipboot_session *session)
{
	if (!session)
		return cb_error(CB_ANY, EINVAL);
	if (!cb_session_is_mine(session))
		return cb_errorf(EPERM,
				 "only the process that created the session owns it; this is another one, forked from it");
	return 0;
}

int chipboot_session_create(struct chipboot_session **out, uint32_t channels)
{
	struct chipboot_versions versions;
	struct chipboot_session *session;
	int control;
	int ret;

	if (!out)
		return cb_error(CB_ANY, EINVAL);
	*out = NULL;
	if (!channels)
		return cb_errorf(EINVAL, "a session needs at least one channel");
	session = calloc(1, sizeof(*session));
	if (!session)
		return cb_error(CB_ANY, ENOMEM);
	session->owner = getpid();
	session->owner_forks = atomic_load_explicit(&forks,
						    memory_order_relaxed);
	session->channels = channels;
	session->all_fd = -1;

	control = cb_kernel_open(&versions);
	if (control < 0) {
		ret = control;
		goto free_session;
	}
	ret = cb_kernel_create(control, channels);
	close(control);
	if (ret < 0)
		goto free_session;
	session->fd = ret;

	ret = cb_kernel_observe(session->fd, CHIPBOOT_EVENT_ALL);
	if (ret < 0)
		goto close_session;
	session->all_fd = ret;

	ret = chipboot_session_observe(session, 0, &session->observer);
	if (ret < 0)
		goto close_session;
	session->observer->change_fd = session->all_fd;

	*out = session;
	return 0;

close_session:
	if (session->all_fd >= 0)
		close(session->all_fd);
	close(session->fd);
free_session:
	free(session);
	return ret;
}

void chipboot_session_close(struct chipboot_session *session)
{
	if (!session)
		return;
	chipboot_observer_close(session->observer);
	cb_register_lock();
	while (session->publishers)
		unlink_locked(session->publishers);
	while (session->observers)
		unlink_locked(session->observers);
	drop_fd(&session->all_fd);
	drop_fd(&session->fd);
	cb_register_unlock();
	free(session);
}

int chipboot_session_detach(struct chipboot_session *session)
{
	int ret = check_owner(session);

	return ret < 0 ? ret : cb_kernel_detach(session->fd);
}

uint32_t chipboot_session_channels(const struct chipboot_session *session)
{
	return session->channels;
}

int chipboot_session_fd(const struct chipboot_session *session)
{
	return session->fd;
}

struct chipboot_observer *
chipboot_session_observer(const struct chipboot_session *session)
{
	return session->fd < 0 ? NULL : session->observer;
}

int chipboot_session_observe(struct chipboot_session *session, uint32_t events,
			     struct chipboot_observer **observer)
{
	int ret;

	if (!observer)
		return cb_error(CB_ANY, EINVAL);
	*observer = NULL;
	ret = check_owner(session);
	if (ret < 0)
		return ret;
	ret = cb_observer_open(session->fd, events, observer);
	if (ret < 0)
		return ret;
	cb_link_add(&(*observer)->link, &session->observers, session);
	return 0;
}

int chipboot_session_claim(struct chipboot_session *session, uint32_t channel,
			   struct chipboot_publisher **out)
{
	struct chipboot_publisher *publisher;
	uint32_t generation;
	int ret;

	if (!out)
		return cb_error(CB_ANY, EINVAL);
	*out = NULL;
	ret = check_owner(session);
	if (ret < 0)
		return ret;
	publisher = calloc(1, sizeof(*publisher));
	if (!publisher)
		return cb_error(CB_ANY, ENOMEM);
	ret = cb_kernel_claim(session->fd, channel, &generation);
	if (ret < 0) {
		free(publisher);
		return ret;
	}
	publisher->fd = ret;
	publisher->channel = channel;
	publisher->channels = session->channels;
	publisher->generation = generation;
	cb_link_add(&publisher->link, &session->publishers, session);
	*out = publisher;
	return 0;
}

int chipboot_session_reset(struct chipboot_session *session, uint32_t first,
			   uint32_t count, uint32_t flags)
{
	int ret = check_owner(session);

	return ret < 0 ? ret : cb_kernel_reset(session->fd, first, count, flags);
}

int chipboot_session_abort(struct chipboot_session *session, uint32_t first,
			   uint32_t count, int32_t error_code, const char *text)
{
	struct chipboot_abort abort = {
		.first = first, .count = count, .error_code = error_code,
	};
	int ret = check_owner(session);

	if (ret < 0)
		return ret;
	if (!text)
		return cb_error(CB_ANY, EINVAL);
	abort.message = (uintptr_t)text;
	abort.message_len = cb_text_length(text, &abort.flags);
	ret = cb_kernel_abort(session->fd, &abort);
	return ret < 0 ? ret : (int)abort.aborted;
}

int chipboot_session_set_deadline(struct chipboot_session *session, uint64_t ns)
{
	int ret = check_owner(session);

	return ret < 0 ? ret : cb_kernel_deadline(session->fd, ns, 0);
}

int chipboot_session_set_deadline_at(struct chipboot_session *session,
				     uint64_t ns)
{
	int ret = check_owner(session);

	if (ret < 0)
		return ret;
	return cb_kernel_deadline(session->fd, ns,
				  ns ? CHIPBOOT_DEADLINE_ABSOLUTE : 0);
}

int chipboot_session_info(const struct chipboot_session *session,
			  struct chipboot_info *info)
{
	struct chipboot_status status = { .channel = CHIPBOOT_NO_CHANNEL };
	int ret;

	if (!session || !info)
		return cb_error(CB_ANY, EINVAL);
	ret = cb_kernel_status(session->fd, &status);
	if (ret < 0)
		return ret;
	cb_kernel_info(&status, info);
	return 0;
}
