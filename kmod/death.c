// SPDX-License-Identifier: GPL-2.0-only
/*
 * The death of processes: a wait entry in pid->wait_pidfd, where the kernel
 * tells pollers of a pidfd, under tasklist_lock and before the parent can reap.
 *
 * Used by session.c (the owner's death) and by publisher.c (bindings).
 *
 * Why not a file's flush or release: flush is called when a thread with files
 * of its own ends and its process lives on, and is not called for a process
 * whose files are shared, closed already, or gone by O_CLOEXEC; release sees
 * nothing while siblings hold copies.  wait_pidfd is core-private by convention;
 * outside of a kernel tree Kbuild looks for it first.
 */
#include <linux/compiler.h>
#include <linux/cred.h>
#include <linux/oom.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "session.h"
#include "trace.h"

enum life { LIVES, DIED, REAPED };

/*
 * Is the process dead for waitpid(): its leader has exited and no other thread is
 * left?  In the hook tasklist_lock is held and the answer exact.  Elsewhere it
 * may say LIVES of one that is just dying; the hook tells of that one later.
 */
static enum life death_read(struct pid *pid, struct death *death)
{
	enum life life = REAPED;
	struct task_struct *leader;

	rcu_read_lock();
	leader = pid_task(pid, PIDTYPE_TGID);
	if (leader) {
		life = LIVES;
		/*
		 * exit_code was written before the many full barriers of
		 * do_exit() that come before exit_state.  data_race(): that is
		 * written plainly, but is one word, and who does not see it yet
		 * is told by the hook.
		 */
		if (data_race(smp_load_acquire(&leader->exit_state)) &&
		    thread_group_empty(leader)) {
			const struct signal_struct *sig = leader->signal;

			life = DIED;
			death->wait_status = sig->flags & SIGNAL_GROUP_EXIT ?
				sig->group_exit_code : leader->exit_code;
			death->oom_victim = tsk_is_oom_victim(leader);
		}
	}
	rcu_read_unlock();
	return life;
}

static int death_hook_wake(struct wait_queue_entry *wait, unsigned int mode,
			   int sync, void *key)
{
	struct death_hook *hook = container_of(wait, struct death_hook, wait);
	struct death death;

	/* Newer kernels wake for the death of single threads too. */
	if (death_read(hook->pid, &death) == DIED) {
		hook->told = true;
		hook->died(hook, &death);
	}
	return 0;
}

/**
 * death_hook_add() - be told of the death of a process
 * @hook: what to add
 * @pid: the process; the caller's reference becomes the hook's
 * @died: see &struct death_hook.  Called before this returns if @pid is dead
 *
 * Return: 0; -ESRCH: it was dead and reaped before, and nobody knows how it died.
 */
int death_hook_add(struct death_hook *hook, struct pid *pid,
		   void (*died)(struct death_hook *, const struct death *))
{
	struct death death;
	bool told;

	hook->pid = pid;
	hook->told = false;
	hook->died = died;
	init_waitqueue_func_entry(&hook->wait, death_hook_wake);
	add_wait_queue(&pid->wait_pidfd, &hook->wait);
	/* A death from now on is told; this is for one before. */
	switch (death_read(pid, &death)) {
	case LIVES:
		return 0;
	case DIED:
		died(hook, &death);
		return 0;
	case REAPED:
		break;
	}
	/* Died and reaped since it was added?  Then all is known. */
	spin_lock_irq(&pid->wait_pidfd.lock);
	told = hook->told;
	spin_unlock_irq(&pid->wait_pidfd.lock);
	if (told)
		return 0;
	death_hook_remove(hook);
	return -ESRCH;
}

/**
 * death_hook_remove() - be told no more; ->died is not running when it returns
 * @hook: was added
 *
 * Not under a lock that ->died takes: both come with wait_pidfd's lock.
 */
void death_hook_remove(struct death_hook *hook)
{
	remove_wait_queue(&hook->pid->wait_pidfd, &hook->wait);
}

/**
 * death_is_near() - has the process begun to exit as a whole?
 * @pid: the process
 *
 * For a release() that runs while its process is exiting: the hook is about to
 * tell, and knows the exit code.
 *
 * Return: whether it has, or is dead already.
 */
bool death_is_near(struct pid *pid)
{
	struct task_struct *leader;
	bool near = true;

	rcu_read_lock();
	leader = pid_task(pid, PIDTYPE_TGID);
	if (leader) {
		/*
		 * Written plainly, under siglock: by an exiting process before
		 * it comes to its files; of another, which is about to be
		 * killed, either answer is true.
		 */
		near = data_race(READ_ONCE(leader->signal->flags)) &
		       SIGNAL_GROUP_EXIT;
		/* The last thread counts it down to 0 before it closes files. */
		near |= !atomic_read(&leader->signal->live);
	}
	rcu_read_unlock();
	return near;
}

static void binding_died(struct death_hook *hook, const struct death *death)
{
	struct binding *b = container_of(hook, struct binding, hook);
	struct session *s = b->session;
	unsigned long flags;

	spin_lock_irqsave(&s->lock, flags);
	if (!b->dead) {
		b->dead = true;
		b->death = *death;
		/* One that was replaced, or dropped by RESET, is nobody's. */
		if (s->slots[b->channel].binding == b)
			binding_tell(b);
	}
	session_unlock_and_wake(s, flags);
}

/**
 * binding_tell() - the death of its process becomes the channel's
 * @b: dead, and its slot's binding
 *
 * Under session->lock.
 */
void binding_tell(struct binding *b)
{
	struct session *s = b->session;

	lockdep_assert_held(&s->lock);
	trace_chipboot_died(s->id, b->channel, b->death.wait_status,
			    b->death.oom_victim);
	if (channel_died(&s->slots[b->channel].ch, &s->tally,
			 b->death.wait_status, b->death.oom_victim,
			 ktime_get_ns()))
		session_answered(s, b->channel);
	else
		session_changed(s, 0);	/* bound no more, as STATUS says */
}

/*
 * The process that @nr means to the caller, if it may be bound by the caller.  A
 * caller's child is one its process has forked; a debugger's is not.
 */
static struct pid *binding_target(s32 nr)
{
	struct pid *pid, *result = ERR_PTR(-ESRCH);
	struct task_struct *task;

	rcu_read_lock();
	/* Not task_tgid(task) afterwards: reaping makes that NULL. */
	pid = nr ? find_vpid(nr) : task_tgid(current);
	task = pid_task(pid, PIDTYPE_TGID);
	if (task && (same_thread_group(task, current) ||
		     same_thread_group(rcu_dereference(task->real_parent),
				       current)))
		result = get_pid(pid);
	else if (task)
		result = ERR_PTR(-EPERM);
	rcu_read_unlock();
	return result;
}

static const struct cred *cred_take(const struct cred *cred)
{
	/*
	 * data_race(): the kernel's function, inline, writes a 0 plainly over what is
	 * 0 already, as it does for each file that is opened with these credentials.
	 */
	return data_race(get_cred(cred));
}

/**
 * binding_create() - a binding that is told of its process's death
 * @s: the session
 * @channel: whose death it is to be
 * @nr: the process, see &struct chipboot_bind
 * @death_signal: see there; checked
 * @result: the binding.  It counts once it is in its slot, and may be dead by then
 *
 * Return: 0, -ENOMEM, -ESRCH, -EPERM.
 */
int binding_create(struct session *s, u32 channel, s32 nr, u32 death_signal,
		   struct binding **result)
{
	struct binding *b;
	struct pid *pid;
	int err;

	b = kzalloc(sizeof(*b), CHIPBOOT_GFP);
	if (!b)
		return -ENOMEM;
	b->session = s;
	b->channel = channel;
	b->death_signal = death_signal;
	pid = binding_target(nr);
	if (IS_ERR(pid)) {
		kfree(b);
		return PTR_ERR(pid);
	}
	err = death_hook_add(&b->hook, pid, binding_died);
	if (err) {
		put_pid(pid);
		kfree(b);
		return err;
	}
	b->cred = cred_take(current_cred());
	*result = b;
	return 0;
}

/**
 * binding_free() - end a binding
 * @b: not in its slot, or NULL
 *
 * Not under session->lock, see death_hook_remove().
 */
void binding_free(struct binding *b)
{
	if (!b)
		return;
	death_hook_remove(&b->hook);
	put_pid(b->hook.pid);
	put_cred(b->cred);
	kfree(b);
}

/**
 * binding_signal_all() - the owner died: each living process gets its death signal
 * @s: the session
 *
 * Once for each binding, also for those made since.  In the name of who asked for
 * it, with the checks of kill(2): a child may have become somebody else's since,
 * by a set-user-ID program.
 *
 * Process context, without session->lock: signals take locks that a dying
 * process holds on its way to binding_died().
 */
void binding_signal_all(struct session *s)
{
	const struct cred *cred, *old;
	unsigned long flags;
	struct binding *b;
	struct pid *pid;
	int signal;
	u32 i;

	for (i = 0; i < s->n; i++) {
		cond_resched();
		pid = NULL;
		spin_lock_irqsave(&s->lock, flags);
		b = s->slots[i].binding;
		if (b && !b->dead && b->death_signal && !b->signalled) {
			b->signalled = true;
			pid = get_pid(b->hook.pid);
			cred = cred_take(b->cred);
			signal = b->death_signal;
		}
		spin_unlock_irqrestore(&s->lock, flags);
		if (!pid)
			continue;
		old = override_creds(cred);
		kill_pid(pid, signal, 0);
		revert_creds(old);
		put_cred(cred);
		put_pid(pid);
	}
}
