// SPDX-License-Identifier: GPL-2.0-only
/*
 * The observer handle: looks, waits, maps.  It can change nothing, and is open for
 * reading only.
 *
 * Made by owner.c, and by observers for others.
 */
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "handle.h"
#include "ioctl.h"
#include "session.h"

static struct handle *call_observer(const struct call *call)
{
	return call->file->private_data;
}

static long observer_observe(struct call *call)
{
	const struct chipboot_observe *observe = call->argument;
	struct handle *h = call_observer(call);
	struct new_file new;
	int err;

	if (observe->events & ~CHIPBOOT_EVENT_ALL || observe->flags)
		return -EINVAL;
	if (observe->events & ~h->events)
		return -EPERM;
	err = observer_open(&new, h->s, observe->events ?: h->events);
	return err ?: new_file_install(&new);
}

static long observer_read(struct call *call)
{
	struct chipboot_read *read = call->argument;
	struct session *s = call_observer(call)->s;
	struct chipboot_page *copy;
	unsigned long flags;
	int err;

	if (read->flags)
		return -EINVAL;
	err = session_check_channel(s, &read->channel);
	if (err)
		return err;
	copy = kmalloc(sizeof(*copy), CHIPBOOT_GFP);
	if (!copy)
		return -ENOMEM;
	spin_lock_irqsave(&s->lock, flags);
	memcpy(copy, s->slots[read->channel].ch.page, sizeof(*copy));
	spin_unlock_irqrestore(&s->lock, flags);
	if (copy_to_user(u64_to_user_ptr(read->page), copy, sizeof(*copy)))
		err = -EFAULT;
	kfree(copy);
	return err;
}

static long observer_status(struct call *call)
{
	return handle_status(call, call_observer(call), CHIPBOOT_NO_CHANNEL,
			     NULL);
}

static const struct command observer_commands[] = {
	{ CHIPBOOT_IOC_READ, observer_read },
	{ CHIPBOOT_IOC_STATUS, observer_status },
	{ CHIPBOOT_IOC_OBSERVE, observer_observe },
};

static long observer_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	return ioctl_run(file, cmd, arg, observer_commands,
			 ARRAY_SIZE(observer_commands));
}

static __poll_t observer_poll(struct file *file, struct poll_table_struct *wait)
{
	return session_poll(file, wait, file->private_data);
}

static int observer_mmap_prepare(struct vm_area_desc *desc)
{
	struct handle *h = desc->file->private_data;

	return session_mmap(h->s, desc);
}

COMPAT_MMAP(observer_mmap_prepare);

static void observer_show_fdinfo(struct seq_file *m, struct file *file)
{
	handle_show_fdinfo(m, "observer", file->private_data);
}

static int observer_release(struct inode *inode, struct file *file)
{
	struct handle *h = file->private_data;

	session_put(h->s);
	kfree(h);
	return 0;
}

static const struct file_operations observer_fops = {
	.owner = THIS_MODULE,
	.release = observer_release,
	.poll = observer_poll,
	MMAP_PREPARE(observer_mmap_prepare),
	.unlocked_ioctl = observer_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = observer_show_fdinfo,
	.llseek = noop_llseek,
};

/**
 * observer_open() - an observer handle
 * @new: the descriptor
 * @s: the session
 * @events: CHIPBOOT_EVENT_*, not 0; checked
 *
 * Return: 0 or -errno.
 */
int observer_open(struct new_file *new, struct session *s, u32 events)
{
	struct handle *h;
	int err;

	h = kzalloc(sizeof(*h), CHIPBOOT_GFP);
	if (!h)
		return -ENOMEM;
	err = new_file_open(new, "[chipboot-observer]", &observer_fops, h,
			    O_RDONLY);
	if (err) {
		kfree(h);
		return err;
	}
	handle_init(h, s, events);
	return 0;
}
