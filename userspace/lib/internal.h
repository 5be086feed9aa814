/* SPDX-License-Identifier: MIT */
/*
 * What the files of libchipboot share: the handles, the copying of pages, the register
 * of handles that a fork must find, the calls into the module (kernel.c) and the record
 * of the last error (error.c).
 */
#ifndef CHIPBOOT_INTERNAL_H
#define CHIPBOOT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <chipboot.h>
#include <linux/chipboot.h>

#define CB_HIDDEN __attribute__((visibility("hidden")))

/*
 * A handle made from a session in this process is on the session's list, so that
 * a forked child can drop it.  @session is NULL for handles from elsewhere and for
 * those whose session was closed first.  The list is guarded by cb_register_lock.
 */
struct cb_link {
	struct chipboot_session *session;
	struct cb_link *next;
	struct cb_link **at;
};

struct chipboot_publisher {
	int fd;				/* -EBADF: dropped by a fork */
	uint32_t channel;
	uint32_t channels;
	atomic_uint generation;
	struct cb_link link;
};

struct chipboot_observer {
	struct chipboot_map map;	/* first: chipboot_state() is inline */
	int fd;				/* -EBADF: dropped by a fork */
	int change_fd;			/* subscribed to all, or -1: only fd is */
	uint32_t events;
	struct cb_link link;
};

struct chipboot_session {
	int fd;				/* -EBADF: dropped by a fork */
	int all_fd;			/* unmapped observer of every event */
	pid_t owner;
	unsigned int owner_forks;	/* cb_forks when it was created */
	uint32_t channels;
	struct chipboot_observer *observer;
	struct cb_link *publishers;
	struct cb_link *observers;
};

static inline struct chipboot_publisher *cb_publisher_of(struct cb_link *link)
{
	return (struct chipboot_publisher *)
		((char *)link - offsetof(struct chipboot_publisher, link));
}

static inline struct chipboot_observer *cb_observer_of(struct cb_link *link)
{
	return (struct chipboot_observer *)
		((char *)link - offsetof(struct chipboot_observer, link));
}

/*
 * Copy @size bytes, a multiple of 8, of a page that somebody may be writing.  The
 * loads are atomic, because a compiler may assume of plain ones that nobody writes,
 * and load twice what the source loads once.
 */
static inline void cb_load(void *to, const void *page, size_t size)
{
	const unsigned long *from = (const unsigned long *)page;
	unsigned long word;
	size_t i;

	for (i = 0; i < size / sizeof(word); i++) {
		word = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		memcpy((char *)to + i * sizeof(word), &word, sizeof(word));
	}
}

/*
 * Copy a page that somebody may be writing, where the copy is thrown away if somebody
 * was: the loads need not be atomic, only done once.  After the second statement the
 * compiler does not know what is in the copy, and so cannot look at the page again.
 */
static inline void cb_copy_page(struct chipboot_answer *to,
				const struct chipboot_answer *page)
{
	memcpy(to, page, sizeof(*to));
	__asm__ __volatile__("" : : "r"(to) : "memory");
}

/* session.c: the register of handles, safe across fork */
CB_HIDDEN void cb_register_lock(void);
CB_HIDDEN void cb_register_unlock(void);
CB_HIDDEN void cb_link_add(struct cb_link *link, struct cb_link **list,
			   struct chipboot_session *session);
CB_HIDDEN void cb_link_beside(struct cb_link *link,
			      const struct cb_link *sibling);
CB_HIDDEN void cb_link_remove(struct cb_link *link);
CB_HIDDEN bool cb_session_is_mine(const struct chipboot_session *session);
CB_HIDDEN void cb_session_drop(struct chipboot_session *session,
			       const struct chipboot_publisher *keep_publisher,
			       const struct chipboot_observer *keep_observer);

/* publisher.c */
CB_HIDDEN int cb_check_signal(int signal);

/* publisher.c, observer.c: an object around @fd, which stays the caller's on error */
CB_HIDDEN int cb_publisher_wrap(int fd, struct chipboot_publisher **publisher);
CB_HIDDEN int cb_observer_wrap(int fd, struct chipboot_observer **observer);
CB_HIDDEN void cb_observer_unmap(struct chipboot_observer *observer);
/* observer.c: a new descriptor and an object around it */
CB_HIDDEN int cb_observer_open(int from_fd, uint32_t events,
			       struct chipboot_observer **observer);

/* text.c */
CB_HIDDEN uint32_t cb_text_fit(const char *text, size_t length);
CB_HIDDEN uint32_t cb_text_length(const char *text, uint32_t *flags);

/*
 * kernel.c: the only file that knows the device and its ioctls.  Each returns what
 * the call does or a negative errno, recorded together with @call for
 * chipboot_explain().
 */
enum cb_call {
	CB_ANY,
	CB_OPEN,
	CB_VERSION,
	CB_CREATE,
	CB_CLAIM,
	CB_RESET,
	CB_ABORT,
	CB_DETACH,
	CB_DEADLINE,
	CB_BIND,
	CB_PROGRESS,
	CB_PUBLISH,
	CB_OBSERVE,
	CB_READ,
	CB_STATUS,
	CB_MAP,
};

CB_HIDDEN int cb_kernel_open(struct chipboot_versions *versions);
CB_HIDDEN int cb_kernel_create(int control, uint32_t channels);
CB_HIDDEN int cb_kernel_claim(int fd, uint32_t channel, uint32_t *generation);
CB_HIDDEN int cb_kernel_reset(int fd, uint32_t first, uint32_t count,
			      uint32_t flags);
CB_HIDDEN int cb_kernel_abort(int fd, struct chipboot_abort *abort);
CB_HIDDEN int cb_kernel_detach(int fd);
CB_HIDDEN int cb_kernel_deadline(int fd, uint64_t ns, uint32_t flags);
CB_HIDDEN int cb_kernel_bind(int fd, pid_t pid, int death_signal);
CB_HIDDEN int cb_kernel_progress(int fd, const struct chipboot_progress *text);
CB_HIDDEN int cb_kernel_publish(int fd, const struct chipboot_publish *answer);
CB_HIDDEN int cb_kernel_observe(int fd, uint32_t events);
CB_HIDDEN int cb_kernel_read(int fd, uint32_t channel,
			     struct chipboot_answer *answer);
CB_HIDDEN int cb_kernel_status(int fd, struct chipboot_status *status);
CB_HIDDEN int cb_kernel_map(int fd, uint32_t channels, uint32_t stride,
			    struct chipboot_map *map);
CB_HIDDEN void cb_kernel_info(const struct chipboot_status *status,
			      struct chipboot_info *info);

/*
 * error.c: both record and return -|error|.  cb_error() leaves the words to the table
 * of what each call's errno means, cb_errorf() has words of its own.
 */
CB_HIDDEN int cb_error(enum cb_call call, int error);
CB_HIDDEN int cb_errorf(int error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
CB_HIDDEN int cb_error_open(int error, const char *device);
CB_HIDDEN int cb_error_limit(int error, uint32_t channels);

#endif /* CHIPBOOT_INTERNAL_H */
