// SPDX-License-Identifier: GPL-2.0-only
/*
 * The publisher handle: one channel, to be answered once.
 *
 * Made by owner.c (CLAIM).  A capability: whoever holds it may publish.  What may
 * be slow or hostile in a caller (its memory) is copied before any lock is taken.
 */
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "handle.h"
#include "ioctl.h"
#include "publisher.h"
#include "session.h"

/**
 * struct publisher - the handle.  Lives as long as its file
 * @h: session and events
 * @channel: which.  Never changes
 * @stale: RESET has dropped it.  Guarded by session->lock
 * @stale_queue: where poll() waits for that.  RESET wakes it under session->lock,
 *	under which release() takes the handle out of its slot
 */
struct publisher {
	struct handle h;
	u32 channel;
	bool stale;
	wait_queue_head_t stale_queue;
};

static struct publisher *call_publisher(const struct call *call)
{
	return call->file->private_data;
}

static struct slot *publisher_slot(const struct publisher *p)
{
	return &p->h.s->slots[p->channel];
}

/* May the caller bind anew what is bound already?  Under session->lock. */
static bool may_move_binding(struct session *s, const struct binding *old)
{
	return !old || old->dead || old->hook.pid == task_tgid(current) ||
	       session_owned_by_caller(s);
}

static long publisher_bind(struct call *call)
{
	const struct chipboot_bind *bind = call->argument;
	struct publisher *p = call_publisher(call);
	struct slot *slot = publisher_slot(p);
	struct session *s = p->h.s;
	struct binding *b, *old;
	unsigned long flags;
	int err;

	if (bind->flags || bind->reserved || !valid_signal(bind->death_signal))
		return -EINVAL;
	err = binding_create(s, p->channel, bind->pid, bind->death_signal, &b);
	if (err)
		return err;

	spin_lock_irqsave(&s->lock, flags);
	old = slot->binding;
	if (p->stale) {
		err = -ESTALE;
	} else if (!may_move_binding(s, old)) {
		err = -EBUSY;
	} else {
		slot->binding = b;
		if (slot->ch.state == CHIPBOOT_IDLE) {
			put_pid(slot->pid);
			slot->pid = get_pid(b->hook.pid);
			channel_bound(&slot->ch, session_pid_nr(s, slot->pid),
				      ktime_get_ns());
		}
		session_changed(s, 0);
		if (b->dead)
			binding_tell(b);
		/* Too late for the signal to all: this one gets its own. */
		if (s->owner_state == CHIPBOOT_OWNER_DEAD && b->death_signal)
			session_signal_later(s);
	}
	session_unlock_and_wake(s, flags);

	binding_free(err ? b : old);
	return err;
}

static long publisher_progress(struct call *call)
{
	const struct chipboot_progress *progress = call->argument;
	struct publisher *p = call_publisher(call);
	u32 message_len = progress->message_len;
	struct session *s = p->h.s;
	unsigned long flags;
	char *message;
	int err;

	if (progress->flags & ~CHIPBOOT_PUBLISH_TRUNCATED || progress->reserved)
		return -EINVAL;
	message = call_copy_message(progress->message, &message_len);
	if (IS_ERR(message))
		return PTR_ERR(message);

	spin_lock_irqsave(&s->lock, flags);
	if (p->stale)
		err = -ESTALE;
	else
		err = channel_progress(&publisher_slot(p)->ch,
				       progress->generation,
				       message, message_len,
				       progress->flags &
				       CHIPBOOT_PUBLISH_TRUNCATED,
				       ktime_get_ns());
	if (!err)
		session_changed(s, 0);
	session_unlock_and_wake(s, flags);
	kfree(message);
	return err;
}

/* What has no place in an ERROR, or in a SUCCESS, must be zero. */
static bool publish_is_valid(const struct chipboot_publish *publish)
{
	switch (publish->state) {
	case CHIPBOOT_SUCCESS:
		return !publish->flags && !publish->error_code &&
		       !publish->message && !publish->message_len;
	case CHIPBOOT_ERROR:
		return !(publish->flags & ~CHIPBOOT_PUBLISH_TRUNCATED) &&
		       !publish->device_ctx && !publish->local_window_base &&
		       !publish->actual_window_size &&
		       !publish->words && !publish->count;
	default:
		return false;
	}
}

/* So many words are copied to the stack, without an allocation. */
#define PUBLISH_FEW	32

/*
 * Copy the words in, without a lock, to @few if they fit.  Returns where they are,
 * for kfree() unless that is @few.
 */
static u64 *copy_words(u64 pointer, u32 count, u64 *few)
{
	u64 *words = few;

	if (count > CHIPBOOT_WORDS_MAX)
		return ERR_PTR(-EOVERFLOW);
	if (count > PUBLISH_FEW)
		words = kmalloc_array(count, sizeof(u64), CHIPBOOT_GFP);
	if (!words)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(words, u64_to_user_ptr(pointer),
			   count * sizeof(u64))) {
		if (words != few)
			kfree(words);
		return ERR_PTR(-EFAULT);
	}
	return words;
}

static int publisher_answer(struct publisher *p, u32 generation,
			    const struct channel_answer *answer)
{
	struct slot *slot = publisher_slot(p);
	struct session *s = p->h.s;
	unsigned long flags;
	int err = -ESTALE;
	struct pid *pid;

	spin_lock_irqsave(&s->lock, flags);
	pid = slot->pid ?: task_tgid(current);
	if (!p->stale)
		err = channel_publish(&slot->ch, &s->tally, generation, answer,
				      session_pid_nr(s, pid), ktime_get_ns());
	if (!err) {
		if (!slot->pid)
			slot->pid = get_pid(pid);
		session_answered(s, p->channel);
	}
	session_unlock_and_wake(s, flags);
	return err;
}

static long publisher_publish(struct call *call)
{
	const struct chipboot_publish *publish = call->argument;
	struct channel_answer answer = {
		.state = publish->state,
		.error_code = publish->error_code,
		.device_ctx = publish->device_ctx,
		.local_window_base = publish->local_window_base,
		.actual_window_size = publish->actual_window_size,
		.count = publish->count,
		.message_len = publish->message_len,
		.truncated = publish->flags & CHIPBOOT_PUBLISH_TRUNCATED,
	};
	char *message = NULL;
	u64 few[PUBLISH_FEW] __uninitialized;
	u64 *words;
	int err;

	if (!publish_is_valid(publish))
		return -EINVAL;
	words = copy_words(publish->words, answer.count, few);
	if (IS_ERR(words))
		return PTR_ERR(words);
	if (answer.message_len)
		message = call_copy_message(publish->message,
					    &answer.message_len);
	if (IS_ERR(message)) {
		err = PTR_ERR(message);
		goto free_words;
	}
	answer.words = words;
	answer.message = message ?: "";
	err = publisher_answer(call_publisher(call), publish->generation,
			       &answer);
	kfree(message);
free_words:
	if (words != few)
		kfree(words);
	return err;
}

static long publisher_status(struct call *call)
{
	struct publisher *p = call_publisher(call);

	return handle_status(call, &p->h, p->channel, &p->stale);
}

static const struct command publisher_commands[] = {
	{ CHIPBOOT_IOC_PUBLISH, publisher_publish },
	{ CHIPBOOT_IOC_PROGRESS, publisher_progress },
	{ CHIPBOOT_IOC_BIND, publisher_bind },
	{ CHIPBOOT_IOC_STATUS, publisher_status },
};

static long publisher_ioctl(struct file *file, unsigned int cmd,
			    unsigned long arg)
{
	return ioctl_run(file, cmd, arg, publisher_commands,
			 ARRAY_SIZE(publisher_commands));
}

static __poll_t publisher_poll(struct file *file,
			       struct poll_table_struct *wait)
{
	struct publisher *p = file->private_data;
	__poll_t mask;

	/* Before session_poll(), whose lock orders the two; see there. */
	poll_wait(file, &p->stale_queue, wait);
	mask = session_poll(file, wait, &p->h);
	if (READ_ONCE(p->stale))
		mask |= EPOLLERR;
	return mask;
}

static void publisher_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct publisher *p = file->private_data;

	handle_show_fdinfo(m, "publisher", &p->h);
	seq_printf(m, "chipboot-channel:\t%u\n", p->channel);
	seq_printf(m, "chipboot-stale:\t%d\n", READ_ONCE(p->stale));
}

static int publisher_release(struct inode *inode, struct file *file)
{
	struct publisher *p = file->private_data;
	struct slot *slot = publisher_slot(p);
	struct session *s = p->h.s;
	unsigned long flags;

	spin_lock_irqsave(&s->lock, flags);
	if (slot->claim == p) {
		slot->claim = NULL;
		/*
		 * A bound process that is exiting closes its files before its
		 * death is told; the hook knows the exit code, this does not.
		 */
		if (!(slot->binding && death_is_near(slot->binding->hook.pid)) &&
		    channel_closed(&slot->ch, &s->tally, ktime_get_ns()))
			session_answered(s, p->channel);
	}
	session_unlock_and_wake(s, flags);
	session_put(s);
	kfree(p);
	return 0;
}

static const struct file_operations publisher_fops = {
	.owner = THIS_MODULE,
	.release = publisher_release,
	.poll = publisher_poll,
	.unlocked_ioctl = publisher_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = publisher_show_fdinfo,
	.llseek = noop_llseek,
};

/**
 * publisher_open() - a publisher handle that has not claimed its channel yet
 * @new: the descriptor
 * @s: the session
 * @channel: checked
 *
 * Return: 0 or -errno.
 */
int publisher_open(struct new_file *new, struct session *s, u32 channel)
{
	struct publisher *p;
	int err;

	p = kzalloc(sizeof(*p), CHIPBOOT_GFP);
	if (!p)
		return -ENOMEM;
	p->channel = channel;
	init_waitqueue_head(&p->stale_queue);
	err = new_file_open(new, "[chipboot-publisher]", &publisher_fops, p,
			    O_RDWR);
	if (err) {
		kfree(p);
		return err;
	}
	handle_init(&p->h, s, CHIPBOOT_EVENT_COMPLETE);
	return 0;
}

/* Can the channel be claimed?  Under session->lock. */
static int slot_may_claim(const struct slot *slot)
{
	return slot->claim ? -EBUSY : channel_may_answer(&slot->ch);
}

/**
 * publisher_may_claim() - could the channel be taken now?
 * @file: of a handle by publisher_open()
 * @generation: the channel's
 *
 * Return: 0; -EBUSY: its claim lives; -EALREADY, -ECANCELED: it is answered.
 */
int publisher_may_claim(struct file *file, u32 *generation)
{
	struct publisher *p = file->private_data;
	struct slot *slot = publisher_slot(p);
	struct session *s = p->h.s;
	unsigned long flags;
	int err;

	spin_lock_irqsave(&s->lock, flags);
	*generation = slot->ch.generation;
	err = slot_may_claim(slot);
	spin_unlock_irqrestore(&s->lock, flags);
	return err;
}

/**
 * publisher_claim() - take the channel
 * @file: of a handle by publisher_open()
 * @generation: what the caller has been told
 *
 * Return: as publisher_may_claim(); -ESTALE: it is in another generation now.
 */
int publisher_claim(struct file *file, u32 generation)
{
	struct publisher *p = file->private_data;
	struct slot *slot = publisher_slot(p);
	struct session *s = p->h.s;
	unsigned long flags;
	int err;

	spin_lock_irqsave(&s->lock, flags);
	err = slot_may_claim(slot);
	if (!err && generation != slot->ch.generation)
		err = -ESTALE;
	if (!err)
		slot->claim = p;
	spin_unlock_irqrestore(&s->lock, flags);
	return err;
}

/**
 * publisher_drop() - RESET: the slot's publisher is of the past
 * @slot: with a live claim
 *
 * Under session->lock.
 */
void publisher_drop(struct slot *slot)
{
	struct publisher *p = slot->claim;

	lockdep_assert_held(&p->h.s->lock);
	slot->claim = NULL;
	WRITE_ONCE(p->stale, true);
	wake_up_poll(&p->stale_queue, EPOLLERR | session_poll_always(p->h.s));
}
