/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A session: N channels, who owns them, who waits for them.
 *
 * Lifetime: a session lives as long as one of its files (owner, publishers,
 * observers; a mapping holds its observer's file).  Nothing else holds a
 * reference: what can call back into a session (the wait entries of death.c,
 * the deadline's timer, the work item) is removed or cancelled by the last put,
 * which runs in ->release, in process context.
 *
 * Locks, outer first:
 *
 *   session->mutex	makes RESET, ABORT, SET_DEADLINE and the deadline's verdict,
 *			which work through many channels and let go of the lock in
 *			between, one after the other.  Never held over a copy from
 *			or to user memory.
 *   session->lock	irq-safe.  Guards every field that says so, the slots and
 *			the pages.  Taken inside pid->wait_pidfd's lock, under
 *			tasklist_lock (death.c); so under it nothing of that kind is
 *			taken, and remove_wait_queue() is called without it.
 *   publisher->stale_queue's lock, inside session->lock.
 *
 * The session's own wait queues are woken after session->lock is dropped, and in a
 * death hook under pid->wait_pidfd's lock, as a pidfd's pollers are.
 */
#ifndef CHIPBOOT_SESSION_H
#define CHIPBOOT_SESSION_H

#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "channel.h"
#include "compat.h"
#include "death.h"

struct file;
struct user_channels;

/*
 * Memory a user can ask for without end is charged to its memory cgroup, and a
 * full cgroup is an error for the one who asks, not a victim for the OOM killer.
 */
#define CHIPBOOT_GFP	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* Beside the events of uapi: what wakes everybody. */
#define SESSION_WAKE_HUP	0x10

/*
 * One queue for each set of events a file can be subscribed to, so that a file
 * waits in exactly one of them (io_uring allows no more than two), is called
 * only for what it asked for, and the wake-up's key is the same for the whole
 * queue.  EPOLLPRI and EPOLLHUP go to all queues: whether a waiter cares for them
 * is filtered by the key, before its task is woken.  (The set cannot depend on
 * what poll() asks for: EPOLL_CTL_MOD changes that without polling anew.)
 */
#define SESSION_QUEUES	CHIPBOOT_EVENT_ALL

/**
 * struct slot - a channel in its session.  All of it is guarded by session->lock
 * @ch: its state
 * @claim: the live publisher handle, or NULL
 * @binding: whose death counts, or NULL; death.c has its lifetime
 * @pid: whom the page's publisher_pid names, or NULL; a reference
 */
struct slot {
	struct channel ch;
	struct publisher *claim;
	struct binding *binding;
	struct pid *pid;
};

/**
 * struct session - N channels
 * @lock: see above
 * @mutex: see above
 * @files: references: the session's files
 * @n: number of channels.  Never changes
 * @id: number for fdinfo and STATUS.  Never changes
 * @pages: the channels' pages, for mapping.  Never changes
 * @user: whose limit the channels count against.  Never changes
 * @owner_hook: tells of the death of the process that created it; its pid never
 *	changes
 * @owner_state: enum chipboot_owner_state.  Guarded by @lock
 * @signals_due: the owner died, death signals are to be sent.  Guarded by @lock
 * @deadline_armed: the deadline has not fired yet.  Guarded by @lock
 * @deadline_ns: host CLOCK_MONOTONIC, 0: none.  Guarded by @lock
 * @deadline_timer: queues @work
 * @work: what must not run in a wake-up's or an interrupt's context: the deadline's
 *	verdict, death signals.  Holds no reference
 * @tally: the channels, counted.  Guarded by @lock
 * @resetting: channels that a RESET under way has not been at.  Guarded by @lock
 * @changes: counts changes, for CHIPBOOT_EVENT_CHANGE.  Guarded by @lock
 * @first_failed: see STATUS; recomputed when stale.  Guarded by @lock
 * @first_failed_stale: RESET took the first failed channel.  Guarded by @lock
 * @wake: events that began to hold and were not yet told.  Guarded by @lock
 * @polled: bit i: @queue[i] has been waited in.  Guarded by @lock
 * @queue: see above
 * @idle: bitmap of the channels that are IDLE.  Guarded by @lock
 * @slots: the channels.  Guarded by @lock
 */
struct session {
	spinlock_t lock;	/* see above, "Locks" */
	struct mutex mutex;	/* see above, "Locks" */
	refcount_t files;
	u32 n;
	u64 id;
	struct page **pages;
	struct user_channels *user;

	struct death_hook owner_hook;
	u8 owner_state;
	bool signals_due;

	bool deadline_armed;
	u64 deadline_ns;
	struct hrtimer deadline_timer;
	struct work_struct work;

	struct channel_tally tally;
	u32 resetting;
	u64 changes;
	u32 first_failed;
	bool first_failed_stale;

	u32 wake;
	u32 polled;
	wait_queue_head_t queue[SESSION_QUEUES];

	unsigned long *idle;
	struct slot slots[];
};

/**
 * struct handle - what the three kinds of handle on a session have in common
 * @s: the session; a reference
 * @events: what EPOLLIN means for this handle.  Never changes
 * @seen: session->changes at the last STATUS with ACK.  Guarded by session->lock
 */
struct handle {
	struct session *s;
	u32 events;
	u64 seen;
};

/*
 * The number a process has in the page: in the namespace of the session's creator,
 * whose struct pid holds on to it.
 */
static inline s32 session_pid_nr(const struct session *s, struct pid *pid)
{
	return pid_nr_ns(pid, ns_of_pid(s->owner_hook.pid));
}

struct session *session_create(u32 n);
void session_put(struct session *s);
bool session_owned_by_caller(struct session *s);
void session_changed(struct session *s, u32 events);
void session_answered(struct session *s, u32 i);
void session_unlock_and_wake(struct session *s, unsigned long flags)
	__releases(&s->lock);
void session_signal_later(struct session *s);
u32 session_first_failed(struct session *s);
__poll_t session_poll_always(const struct session *s);
u32 session_holds(struct session *s, const struct handle *h);
__poll_t session_poll(struct file *file, struct poll_table_struct *wait,
		      const struct handle *h);
int session_check_range(struct session *s, u32 *first, u32 count);
int session_check_channel(struct session *s, u32 *channel);
int session_reset(struct session *s, u32 first, u32 count, bool keep);
u32 session_abort(struct session *s, u32 first, u32 count,
		  const struct channel_answer *verdict);
void session_expire(struct session *s);
int session_detach(struct session *s);
void session_owner_closed(struct session *s);

/* deadline.c */
void deadline_init(struct session *s);
void deadline_set(struct session *s, u64 ns);
void deadline_check(struct session *s);

/* map.c */
int session_alloc_pages(struct session *s);
void session_free_pages(struct session *s);
int session_mmap(struct session *s, struct vm_area_desc *desc);

#endif /* CHIPBOOT_SESSION_H */
