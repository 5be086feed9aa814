/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The death of a process, told before its parent can reap it.
 */
#ifndef CHIPBOOT_DEATH_H
#define CHIPBOOT_DEATH_H

#include <linux/types.h>
#include <linux/wait.h>

struct cred;
struct pid;
struct session;

/**
 * struct death - how a process died
 * @wait_status: as waitpid() gives it
 * @oom_victim: the OOM killer chose it; a hint
 */
struct death {
	u16 wait_status;
	bool oom_victim;
};

/**
 * struct death_hook - an entry in pid->wait_pidfd
 * @wait: the entry
 * @pid: the process (thread group); a reference that is the hook's owner's to put
 * @told: @died has been called.  Guarded by pid->wait_pidfd's lock
 * @died: called once or more with how @pid died: in process context, or with
 *	interrupts off, under tasklist_lock and pid->wait_pidfd's lock
 */
struct death_hook {
	struct wait_queue_entry wait;
	struct pid *pid;
	bool told;
	void (*died)(struct death_hook *hook, const struct death *death);
};

int death_hook_add(struct death_hook *hook, struct pid *pid,
		   void (*died)(struct death_hook *, const struct death *));
void death_hook_remove(struct death_hook *hook);
bool death_is_near(struct pid *pid);

/**
 * struct binding - whose death counts for a channel
 * @hook: tells of it
 * @session: the session; outlives the binding, which the last put removes
 * @channel: the channel's number
 * @dead: the process died, as @death says.  Guarded by session->lock
 * @death: how.  Guarded by session->lock
 * @death_signal: sent to the process when the owner dies; 0: none.  Never changes
 * @signalled: it has been sent.  Guarded by session->lock
 * @cred: who asked for @death_signal; a reference
 *
 * A binding counts while its slot points to it; whoever takes that pointer away,
 * under session->lock, frees the binding after dropping the lock.
 */
struct binding {
	struct death_hook hook;
	struct session *session;
	u32 channel;
	bool dead;
	struct death death;
	u8 death_signal;
	bool signalled;
	const struct cred *cred;
};

int binding_create(struct session *s, u32 channel, s32 pid, u32 death_signal,
		   struct binding **result);
void binding_tell(struct binding *b);
void binding_free(struct binding *b);
void binding_signal_all(struct session *s);

#endif /* CHIPBOOT_DEATH_H */
