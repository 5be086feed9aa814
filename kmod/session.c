// SPDX-License-Identifier: GPL-2.0-only
/*
 * A session: its life, its owner, and who is told when something changes.
 *
 * Called by the handles' files (owner.c, publisher.c, observer.c, handle.c), by
 * death.c and by deadline.c.  session.h has lifetimes and lock order.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "limit.h"
#include "publisher.h"
#include "session.h"
#include "trace.h"

/* How many channels are worked through before the lock is let go. */
#define SESSION_BATCH	16

static atomic64_t session_ids = ATOMIC64_INIT(0);

static void session_work(struct work_struct *work)
{
	struct session *s = container_of(work, struct session, work);
	unsigned long flags;
	bool signals;

	spin_lock_irqsave(&s->lock, flags);
	signals = s->signals_due;
	s->signals_due = false;
	spin_unlock_irqrestore(&s->lock, flags);

	deadline_check(s);
	if (signals)
		binding_signal_all(s);
}

static void session_owner_died(struct death_hook *hook,
			       const struct death *death)
{
	struct session *s = container_of(hook, struct session, owner_hook);
	unsigned long flags;

	spin_lock_irqsave(&s->lock, flags);
	if (s->owner_state == CHIPBOOT_OWNER_ALIVE ||
	    s->owner_state == CHIPBOOT_OWNER_CLOSED) {
		/* CLOSED has been told as EPOLLHUP already. */
		session_changed(s, s->owner_state == CHIPBOOT_OWNER_ALIVE ?
				   SESSION_WAKE_HUP : 0);
		WRITE_ONCE(s->owner_state, CHIPBOOT_OWNER_DEAD);
		session_signal_later(s);
	}
	session_unlock_and_wake(s, flags);
}

static void session_free(struct session *s)
{
	u32 i;

	for (i = 0; i < s->n; i++) {
		binding_free(s->slots[i].binding);
		put_pid(s->slots[i].pid);
	}
	put_pid(s->owner_hook.pid);
	session_free_pages(s);
	bitmap_free(s->idle);
	limits_uncharge(s->user, s->n);
	kvfree(s);
}

/**
 * session_create() - a session owned by the calling process
 * @n: number of channels; not 0
 *
 * Return: the session, with one reference, or -ENOMEM, -EINTR (a fatal signal),
 * or what limits_charge() says.
 */
struct session *session_create(u32 n)
{
	struct user_channels *user;
	struct session *s;
	int err = -ENOMEM;
	u32 i;

	user = limits_charge(n);
	if (IS_ERR(user))
		return ERR_CAST(user);
	s = kvzalloc(struct_size(s, slots, n), CHIPBOOT_GFP);
	if (!s) {
		limits_uncharge(user, n);
		return ERR_PTR(-ENOMEM);
	}
	spin_lock_init(&s->lock);
	mutex_init(&s->mutex);
	refcount_set(&s->files, 1);
	s->n = n;
	s->user = user;
	s->id = atomic64_inc_return(&session_ids);
	s->changes = 1;		/* a handle that has seen none has seen 0 */
	s->first_failed = CHIPBOOT_NO_CHANNEL;
	INIT_WORK(&s->work, session_work);
	deadline_init(s);
	for (i = 0; i < SESSION_QUEUES; i++)
		init_waitqueue_head(&s->queue[i]);

	s->idle = bitmap_zalloc(n, CHIPBOOT_GFP);
	if (!s->idle)
		goto free;
	bitmap_set(s->idle, 0, n);
	err = session_alloc_pages(s);
	if (err)
		goto free;
	for (i = 0; i < n; i++)
		channel_init(&s->slots[i].ch, &s->tally,
			     page_address(s->pages[i]));

	/* The last that can fail: from here on session_put() undoes all. */
	err = death_hook_add(&s->owner_hook, get_pid(task_tgid(current)),
			     session_owner_died);
	if (!err)
		return s;
free:
	session_free(s);
	return ERR_PTR(err);
}

/**
 * session_put() - one file less
 * @s: the session
 *
 * Process context.  The last file takes everything with it.
 */
void session_put(struct session *s)
{
	if (!refcount_dec_and_test(&s->files))
		return;
	death_hook_remove(&s->owner_hook);
	hrtimer_cancel(&s->deadline_timer);
	/* Not cancelled: the owner's death may have left signals to be sent. */
	flush_work(&s->work);
	session_free(s);
}

/**
 * session_owned_by_caller() - may the calling process act as the owner?
 * @s: the session
 *
 * By process, not by handle: a forked child that unwinds its copy of the
 * launcher's frames must not end its siblings.
 *
 * Return: whether it may.
 */
bool session_owned_by_caller(struct session *s)
{
	return s->owner_hook.pid == task_tgid(current) &&
	       READ_ONCE(s->owner_state) == CHIPBOOT_OWNER_ALIVE;
}

/* Telling --------------------------------------------------------------- */

/**
 * session_changed() - something changed
 * @s: the session
 * @events: what began to hold by it: CHIPBOOT_EVENT_* and SESSION_WAKE_HUP
 *
 * Under session->lock; tell by session_unlock_and_wake().
 */
void session_changed(struct session *s, u32 events)
{
	lockdep_assert_held(&s->lock);
	s->changes++;
	s->wake |= events | CHIPBOOT_EVENT_CHANGE;
}

/*
 * Does COMPLETE hold?  Not while RESET is on its way through many channels: those
 * it has been at may be answered anew before it has been at all.
 */
static bool session_complete(const struct session *s)
{
	return !s->tally.idle && !s->resetting;
}

/**
 * session_answered() - an answer was given, or the process that gave it is gone
 * @s: the session
 * @i: the channel whose state channel.c has just changed
 *
 * Under session->lock.
 */
void session_answered(struct session *s, u32 i)
{
	const struct channel *ch = &s->slots[i].ch;
	const struct channel_tally *tally = &s->tally;
	u32 events = 0;

	lockdep_assert_held(&s->lock);
	if (ch->gone) {
		if (tally->gone == 1)
			events = CHIPBOOT_EVENT_GONE;
		session_changed(s, events);
		return;
	}

	__clear_bit(i, s->idle);
	if (session_complete(s))
		events |= CHIPBOOT_EVENT_COMPLETE;
	if (ch->state == CHIPBOOT_ERROR && tally->error == 1) {
		events |= CHIPBOOT_EVENT_ERROR;
		s->first_failed = i;
	}
	trace_chipboot_publish(s->id, i, ch);
	session_changed(s, events);
}

/**
 * session_first_failed() - the ERROR channel that answered first
 * @s: the session
 *
 * Under session->lock.
 *
 * Return: its number, or CHIPBOOT_NO_CHANNEL.
 */
u32 session_first_failed(struct session *s)
{
	u32 i, first = CHIPBOOT_NO_CHANNEL;

	lockdep_assert_held(&s->lock);
	if (!s->tally.error)
		return CHIPBOOT_NO_CHANNEL;
	if (!s->first_failed_stale)
		return s->first_failed;
	for (i = 0; i < s->n; i++) {
		const struct channel *ch = &s->slots[i].ch;

		if (ch->state == CHIPBOOT_ERROR &&
		    (first == CHIPBOOT_NO_CHANNEL ||
		     ch->order < s->slots[first].ch.order))
			first = i;
	}
	s->first_failed = first;
	s->first_failed_stale = false;
	return first;
}

/* The events that hold, for one who has seen no change. */
static u32 session_events(const struct session *s)
{
	u32 events = CHIPBOOT_EVENT_CHANGE;

	if (session_complete(s))
		events |= CHIPBOOT_EVENT_COMPLETE;
	if (s->tally.error)
		events |= CHIPBOOT_EVENT_ERROR;
	if (s->tally.gone)
		events |= CHIPBOOT_EVENT_GONE;
	return events;
}

/**
 * session_poll_always() - EPOLLPRI and EPOLLHUP, which need no subscription
 * @s: the session
 *
 * Under session->lock.
 *
 * Return: those that hold.
 */
__poll_t session_poll_always(const struct session *s)
{
	__poll_t mask = 0;

	if (s->tally.error)
		mask |= EPOLLPRI;
	if (s->owner_state == CHIPBOOT_OWNER_CLOSED ||
	    s->owner_state == CHIPBOOT_OWNER_DEAD)
		mask |= EPOLLHUP;
	return mask;
}

/**
 * session_holds() - which events hold for this handle, subscribed to or not
 * @s: the session
 * @h: the handle
 *
 * Under session->lock.
 *
 * Return: CHIPBOOT_EVENT_*.
 */
u32 session_holds(struct session *s, const struct handle *h)
{
	u32 events = session_events(s);

	lockdep_assert_held(&s->lock);
	if (h->seen == s->changes)
		events &= ~CHIPBOOT_EVENT_CHANGE;
	return events;
}

/* queue[i] is for the set of events i + 1. */
static u32 queue_events(u32 i)
{
	return i + 1;
}

/**
 * session_unlock_and_wake() - drop session->lock and tell of what changed
 * @s: the session
 * @flags: of spin_lock_irqsave()
 *
 * The keys carry what is true under the lock: io_uring reports the key as it is.
 * A queue nobody ever polled is left out; that is no waitqueue_active(), see
 * session_poll().
 *
 * In a death hook too, under tasklist_lock and pid->wait_pidfd's lock, as pollers of
 * a pidfd are woken.  The session lives until the hook has returned: its last put
 * waits for that lock to remove the hook.
 */
void session_unlock_and_wake(struct session *s, unsigned long flags)
	__releases(&s->lock)
{
	const u32 always = CHIPBOOT_EVENT_ERROR | SESSION_WAKE_HUP;
	const __poll_t mask = session_poll_always(s);
	const u32 holds = session_events(s);
	u32 polled = s->polled;
	u32 wake = s->wake;
	u32 queues = 0;
	u32 i;

	lockdep_assert_held(&s->lock);
	s->wake = 0;
	/* What another has undone since it began is not told. */
	wake &= holds | (mask & EPOLLHUP ? SESSION_WAKE_HUP : 0);
	for (; wake && polled; polled &= polled - 1) {
		i = __ffs(polled);
		if ((queue_events(i) | always) & wake)
			queues |= BIT(i);
	}
	spin_unlock_irqrestore(&s->lock, flags);

	for (; queues; queues &= queues - 1) {
		i = __ffs(queues);
		wake_up_poll(&s->queue[i],
			     queue_events(i) & holds ?
			     mask | EPOLLIN | EPOLLRDNORM : mask);
	}
}

/**
 * session_signal_later() - send death signals, where none may be sent
 * @s: the session
 *
 * Under session->lock, from a death hook.
 */
void session_signal_later(struct session *s)
{
	lockdep_assert_held(&s->lock);
	s->signals_due = true;
	queue_work(system_highpri_wq, &s->work);
}

/**
 * session_poll() - poll() of a handle, apart from EPOLLERR
 * @file: the handle's file
 * @wait: poll()'s table
 * @h: the handle
 *
 * No wake-up is lost.  Waiter and waker meet in session->lock:
 *
 *	waiter				waker
 *	poll_wait(): in the queue	lock
 *	lock				  look at polled, change state
 *	  polled |= queue, test state	unlock
 *	unlock				wake the queue
 *
 * If the waker's section comes after the waiter's, it finds polled set and the
 * waiter in the queue.  If it comes before, the test sees the new state.  So the
 * full barrier that poll_wait() lacks on older kernels is not missed here.
 *
 * Return: EPOLL* as they hold now.
 */
__poll_t session_poll(struct file *file, struct poll_table_struct *wait,
		      const struct handle *h)
{
	const u32 queue = h->events - 1;
	struct session *s = h->s;
	unsigned long flags;
	__poll_t mask;

	poll_wait(file, &s->queue[queue], wait);
	spin_lock_irqsave(&s->lock, flags);
	s->polled |= BIT(queue);
	mask = session_poll_always(s);
	if (session_holds(s, h) & h->events)
		mask |= EPOLLIN | EPOLLRDNORM;
	spin_unlock_irqrestore(&s->lock, flags);
	return mask;
}

/* What goes through many channels -------------------------------------- */

/**
 * session_check_range() - is it a range of channels?
 * @s: the session
 * @first: first channel, from the caller; as in session_check_channel()
 * @count: how many
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int session_check_range(struct session *s, u32 *first, u32 count)
{
	if (!count)
		return -EINVAL;
	if (*first >= s->n || count > s->n - *first)
		return -ENOENT;
	*first = array_index_nospec(*first, s->n);
	return 0;
}

/**
 * session_check_channel() - is it a channel?
 * @s: the session
 * @channel: from the caller; from now on not even speculated to be out of range
 *
 * Return: 0, -ENOENT.
 */
int session_check_channel(struct session *s, u32 *channel)
{
	if (*channel >= s->n)
		return -ENOENT;
	*channel = array_index_nospec(*channel, s->n);
	return 0;
}

/* One channel of RESET.  Returns the binding that is to be freed, or NULL. */
static struct binding *session_reset_slot(struct session *s, u32 i, bool keep)
{
	struct slot *slot = &s->slots[i];
	struct binding *dropped = NULL;
	s32 pid = 0;

	lockdep_assert_held(&s->lock);
	if (slot->claim && !keep)
		publisher_drop(slot);
	if (slot->binding && (!keep || slot->binding->dead)) {
		dropped = slot->binding;
		slot->binding = NULL;
	}
	put_pid(slot->pid);
	slot->pid = NULL;
	if (slot->binding) {
		slot->pid = get_pid(slot->binding->hook.pid);
		pid = session_pid_nr(s, slot->pid);
	}
	if (i == s->first_failed)
		s->first_failed_stale = true;
	channel_reset(&slot->ch, &s->tally, pid);
	if (!s->tally.error)
		s->first_failed_stale = false;
	__set_bit(i, s->idle);
	s->resetting--;
	trace_chipboot_reset(s->id, i, slot->ch.generation, keep);
	session_changed(s, 0);
	return dropped;
}

/**
 * session_reset() - answered channels become IDLE again
 * @s: the session
 * @first: first channel of the range; checked
 * @count: how many; checked
 * @keep: see CHIPBOOT_RESET_KEEP_PUBLISHERS
 *
 * Return: 0; -EBUSY: one is IDLE, and nothing changed.
 */
int session_reset(struct session *s, u32 first, u32 count, bool keep)
{
	struct binding *dropped[SESSION_BATCH];
	const u32 end = first + count;
	unsigned long flags;
	u32 i, k, batch;
	int err = 0;

	mutex_lock(&s->mutex);
	spin_lock_irqsave(&s->lock, flags);
	/* Only RESET makes a channel IDLE, so with the mutex this stays true. */
	if (find_next_bit(s->idle, end, first) < end)
		err = -EBUSY;
	else
		s->resetting = count;
	spin_unlock_irqrestore(&s->lock, flags);

	for (i = first; !err && i < end; i += batch) {
		batch = min_t(u32, SESSION_BATCH, end - i);
		spin_lock_irqsave(&s->lock, flags);
		for (k = 0; k < batch; k++)
			dropped[k] = session_reset_slot(s, i + k, keep);
		session_unlock_and_wake(s, flags);
		for (k = 0; k < batch; k++)
			binding_free(dropped[k]);
		cond_resched();
	}
	mutex_unlock(&s->mutex);
	return err;
}

/*
 * Every channel of the range that is IDLE gets the verdict, or, without one, that
 * of the deadline.  Under session->mutex.  Returns how many.
 */
static u32 session_cancel(struct session *s, u32 first, u32 count,
			  const struct channel_answer *verdict)
{
	const u32 end = first + count;
	unsigned long flags;
	u32 done = 0;
	u32 i = first;

	lockdep_assert_held(&s->mutex);
	spin_lock_irqsave(&s->lock, flags);
	for_each_set_bit_from(i, s->idle, end) {
		struct channel *ch = &s->slots[i].ch;
		u64 now = ktime_get_ns();

		if (verdict)
			channel_aborted(ch, &s->tally, verdict->error_code,
					verdict->message, verdict->message_len,
					verdict->truncated, now);
		else
			channel_expired(ch, &s->tally, now);
		session_answered(s, i);
		if (++done % SESSION_BATCH == 0) {
			session_unlock_and_wake(s, flags);
			cond_resched();
			spin_lock_irqsave(&s->lock, flags);
		}
	}
	session_unlock_and_wake(s, flags);
	return done;
}

/**
 * session_abort() - the owner's verdict on what is IDLE
 * @s: the session
 * @first: first channel of the range; checked
 * @count: how many; checked
 * @verdict: error_code, message, message_len, truncated
 *
 * Return: how many channels got it.
 */
u32 session_abort(struct session *s, u32 first, u32 count,
		  const struct channel_answer *verdict)
{
	u32 done;

	mutex_lock(&s->mutex);
	done = session_cancel(s, first, count, verdict);
	mutex_unlock(&s->mutex);
	return done;
}

/**
 * session_expire() - the deadline's verdict on what is IDLE
 * @s: the session; session->mutex is held
 */
void session_expire(struct session *s)
{
	session_cancel(s, 0, s->n, NULL);
}

/* The owner ------------------------------------------------------------- */

/**
 * session_detach() - the owner lets go
 * @s: the session
 *
 * Return: 0; -EPERM: there is no owner any more (another thread was first).
 */
int session_detach(struct session *s)
{
	unsigned long flags;
	int err = -EPERM;

	spin_lock_irqsave(&s->lock, flags);
	if (s->owner_state == CHIPBOOT_OWNER_ALIVE) {
		WRITE_ONCE(s->owner_state, CHIPBOOT_OWNER_DETACHED);
		session_changed(s, 0);
		err = 0;
	}
	session_unlock_and_wake(s, flags);
	return err;
}

/**
 * session_owner_closed() - the last copy of the owner handle was closed
 * @s: the session
 */
void session_owner_closed(struct session *s)
{
	static const struct death unknown;
	unsigned long flags;

	/*
	 * A process that is exiting closes its files first and its death is told
	 * a moment later; but the session may not live to see it, and there may
	 * be death signals to send.
	 */
	if (death_is_near(s->owner_hook.pid)) {
		session_owner_died(&s->owner_hook, &unknown);
		return;
	}
	spin_lock_irqsave(&s->lock, flags);
	if (s->owner_state == CHIPBOOT_OWNER_ALIVE) {
		WRITE_ONCE(s->owner_state, CHIPBOOT_OWNER_CLOSED);
		session_changed(s, SESSION_WAKE_HUP);
	}
	session_unlock_and_wake(s, flags);
}
