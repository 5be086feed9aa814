// SPDX-License-Identifier: GPL-2.0-only
/*
 * The owner handle: the session as its creator sees it.
 *
 * Made by control.c.  Its ioctls but STATUS are for the creating process alone.
 */
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "handle.h"
#include "ioctl.h"
#include "publisher.h"
#include "session.h"

static struct handle *call_owner(const struct call *call)
{
	return call->file->private_data;
}

/* Runs a command if the caller is the owner. */
static int owner_check(const struct call *call)
{
	return session_owned_by_caller(call_owner(call)->s) ? 0 : -EPERM;
}

static long owner_claim(struct call *call)
{
	struct session *s = call_owner(call)->s;
	struct chipboot_claim *claim = call->argument;
	struct new_file publisher;
	int err;

	err = owner_check(call);
	if (err)
		return err;
	if (claim->flags || claim->reserved)
		return -EINVAL;
	err = session_check_channel(s, &claim->channel);
	if (err)
		return err;
	err = publisher_open(&publisher, s, claim->channel);
	if (err)
		return err;
	/*
	 * The generation goes out before the claim counts, so that a bad pointer
	 * leaves nothing behind; if RESET was faster, once more.
	 */
	do {
		err = publisher_may_claim(publisher.file, &claim->generation);
		if (!err)
			err = call_return_struct(call);
		if (!err)
			err = publisher_claim(publisher.file, claim->generation);
	} while (err == -ESTALE);
	if (err) {
		new_file_cancel(&publisher);
		return err;
	}
	return new_file_install(&publisher);
}

static long owner_reset(struct call *call)
{
	struct session *s = call_owner(call)->s;
	struct chipboot_reset *reset = call->argument;
	int err;

	err = owner_check(call);
	if (err)
		return err;
	if (reset->flags & ~CHIPBOOT_RESET_KEEP_PUBLISHERS || reset->reserved)
		return -EINVAL;
	err = session_check_range(s, &reset->first, reset->count);
	if (err)
		return err;
	return session_reset(s, reset->first, reset->count,
			     reset->flags & CHIPBOOT_RESET_KEEP_PUBLISHERS);
}

static long owner_abort(struct call *call)
{
	struct session *s = call_owner(call)->s;
	struct chipboot_abort *abort = call->argument;
	struct channel_answer verdict = {
		.error_code = abort->error_code,
		.message_len = abort->message_len,
		.truncated = abort->flags & CHIPBOOT_PUBLISH_TRUNCATED,
	};
	char *message;
	int err;

	err = owner_check(call);
	if (err)
		return err;
	if (abort->flags & ~CHIPBOOT_PUBLISH_TRUNCATED)
		return -EINVAL;
	err = session_check_range(s, &abort->first, abort->count);
	if (err)
		return err;
	message = call_copy_message(abort->message, &verdict.message_len);
	if (IS_ERR(message))
		return PTR_ERR(message);
	verdict.message = message;
	/* A struct that cannot be written is found out before anything changes. */
	err = call_return_struct(call);
	if (!err) {
		abort->aborted = session_abort(s, abort->first, abort->count,
					       &verdict);
		err = call_return_struct(call);
	}
	kfree(message);
	return err;
}

static long owner_detach(struct call *call)
{
	int err = owner_check(call);

	return err ?: session_detach(call_owner(call)->s);
}

static long owner_set_deadline(struct call *call)
{
	const struct chipboot_deadline *deadline = call->argument;
	u64 ns = deadline->ns;
	int err;

	err = owner_check(call);
	if (err)
		return err;
	if (deadline->flags & ~CHIPBOOT_DEADLINE_ABSOLUTE || deadline->reserved)
		return -EINVAL;
	/* What is beyond the clock's range never comes. */
	ns = min_t(u64, ns, KTIME_MAX);
	if (ns && !(deadline->flags & CHIPBOOT_DEADLINE_ABSOLUTE))
		ns = min_t(u64, ktime_get_ns() + ns, KTIME_MAX);
	deadline_set(call_owner(call)->s, ns);
	return 0;
}

static long owner_observe(struct call *call)
{
	const struct chipboot_observe *observe = call->argument;
	struct handle *h = call_owner(call);
	struct new_file observer;
	int err;

	err = owner_check(call);
	if (err)
		return err;
	if (observe->events & ~CHIPBOOT_EVENT_ALL || observe->flags)
		return -EINVAL;
	err = observer_open(&observer, h->s, observe->events ?: h->events);
	return err ?: new_file_install(&observer);
}

static long owner_status(struct call *call)
{
	return handle_status(call, call_owner(call), CHIPBOOT_NO_CHANNEL, NULL);
}

static const struct command owner_commands[] = {
	{ CHIPBOOT_IOC_CLAIM, owner_claim },
	{ CHIPBOOT_IOC_RESET, owner_reset },
	{ CHIPBOOT_IOC_ABORT, owner_abort },
	{ CHIPBOOT_IOC_DETACH, owner_detach },
	{ CHIPBOOT_IOC_SET_DEADLINE, owner_set_deadline },
	{ CHIPBOOT_IOC_OBSERVE, owner_observe },
	{ CHIPBOOT_IOC_STATUS, owner_status },
};

static long owner_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return ioctl_run(file, cmd, arg, owner_commands,
			 ARRAY_SIZE(owner_commands));
}

static __poll_t owner_poll(struct file *file, struct poll_table_struct *wait)
{
	return session_poll(file, wait, file->private_data);
}

static void owner_show_fdinfo(struct seq_file *m, struct file *file)
{
	handle_show_fdinfo(m, "owner", file->private_data);
}

static int owner_release(struct inode *inode, struct file *file)
{
	struct handle *h = file->private_data;

	session_owner_closed(h->s);
	session_put(h->s);
	kfree(h);
	return 0;
}

static const struct file_operations owner_fops = {
	.owner = THIS_MODULE,
	.release = owner_release,
	.poll = owner_poll,
	.unlocked_ioctl = owner_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = owner_show_fdinfo,
	.llseek = noop_llseek,
};

/**
 * owner_open() - the owner handle of a session
 * @new: the descriptor
 * @s: the session
 *
 * Return: 0 or -errno.
 */
int owner_open(struct new_file *new, struct session *s)
{
	struct handle *h;
	int err;

	h = kzalloc(sizeof(*h), CHIPBOOT_GFP);
	if (!h)
		return -ENOMEM;
	err = new_file_open(new, "[chipboot-owner]", &owner_fops, h, O_RDWR);
	if (err) {
		kfree(h);
		return err;
	}
	handle_init(h, s, CHIPBOOT_EVENT_COMPLETE);
	return 0;
}
