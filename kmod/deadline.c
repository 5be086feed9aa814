// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session's deadline: an hrtimer that queues the session's work item, which
 * gives what is still IDLE its verdict.
 *
 * Called by owner.c (SET_DEADLINE) and by session.c (the work item).  An hrtimer,
 * because delayed_work at HZ=250 is 1.6 s late after 17 s.
 */
#include <linux/ktime.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "session.h"

static enum hrtimer_restart deadline_fires(struct hrtimer *timer)
{
	struct session *s = container_of(timer, struct session, deadline_timer);

	queue_work(system_highpri_wq, &s->work);
	return HRTIMER_NORESTART;
}

/**
 * deadline_init() - no deadline yet
 * @s: the session
 */
void deadline_init(struct session *s)
{
	hrtimer_setup(&s->deadline_timer, deadline_fires, CLOCK_MONOTONIC,
		      HRTIMER_MODE_ABS);
}

/**
 * deadline_check() - if the deadline has passed, its verdict
 * @s: the session
 *
 * It fires once: channels that a later RESET makes IDLE are not under it.
 * Process context.
 */
void deadline_check(struct session *s)
{
	unsigned long flags;
	bool due;

	mutex_lock(&s->mutex);
	spin_lock_irqsave(&s->lock, flags);
	due = s->deadline_armed && ktime_get_ns() >= s->deadline_ns;
	if (due)
		s->deadline_armed = false;
	spin_unlock_irqrestore(&s->lock, flags);
	if (due)
		session_expire(s);
	mutex_unlock(&s->mutex);
}

/**
 * deadline_set() - set, move or clear it
 * @s: the session
 * @ns: host CLOCK_MONOTONIC, at most KTIME_MAX, which never comes; 0: clear
 *
 * One that has passed has fired when this returns.
 */
void deadline_set(struct session *s, u64 ns)
{
	unsigned long flags;

	mutex_lock(&s->mutex);
	spin_lock_irqsave(&s->lock, flags);
	s->deadline_ns = ns;
	s->deadline_armed = ns;
	session_changed(s, 0);
	session_unlock_and_wake(s, flags);
	if (ns)
		hrtimer_start(&s->deadline_timer, ns_to_ktime(ns),
			      HRTIMER_MODE_ABS);
	else
		hrtimer_cancel(&s->deadline_timer);
	mutex_unlock(&s->mutex);
	deadline_check(s);
}
