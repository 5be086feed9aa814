// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the handles on a session have in common: making a descriptor, STATUS,
 * fdinfo.
 *
 * Called by owner.c, publisher.c and observer.c.
 */
#include <linux/anon_inodes.h>
#include <linux/bitmap.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/pid.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "handle.h"
#include "ioctl.h"
#include "session.h"

/**
 * new_file_open() - make a descriptor that nobody can use yet
 * @new: the descriptor
 * @name: for /proc/PID/fd
 * @fops: what it can do
 * @private: its private_data, which its release() frees
 * @access: O_RDONLY or O_RDWR
 *
 * Return: 0, or -errno, and then @private is still the caller's.
 */
int new_file_open(struct new_file *new, const char *name,
		  const struct file_operations *fops, void *private,
		  int access)
{
	struct page *spare;
	int fd;

	/*
	 * The VFS allocates a file's parts in its own way, and in a full memory
	 * cgroup that calls the OOM killer.  So more than they need (less than a
	 * page) is asked for by our rules first and given back: it stays in the
	 * cgroup's stock of this processor, where the VFS finds it.
	 */
	spare = alloc_pages(CHIPBOOT_GFP, 1);
	if (!spare)
		return -ENOMEM;
	__free_pages(spare, 1);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	new->file = anon_inode_getfile(name, fops, private, access);
	if (IS_ERR(new->file)) {
		put_unused_fd(fd);
		return PTR_ERR(new->file);
	}
	new->fd = fd;
	return 0;
}

/**
 * new_file_install() - hand it to the caller, who can use and close it at once
 * @new: the descriptor
 *
 * After the last thing that can fail.
 *
 * Return: the descriptor's number.
 */
int new_file_install(const struct new_file *new)
{
	fd_install(new->fd, new->file);
	return new->fd;
}

/**
 * new_file_cancel() - nobody has seen it; its release() runs
 * @new: the descriptor
 */
void new_file_cancel(const struct new_file *new)
{
	put_unused_fd(new->fd);
	fput(new->file);
}

/**
 * handle_init() - one more file of a session
 * @h: the handle; its release() is to call session_put()
 * @s: the session
 * @events: CHIPBOOT_EVENT_*, not 0
 */
void handle_init(struct handle *h, struct session *s, u32 events)
{
	refcount_inc(&s->files);
	h->s = s;
	h->events = events;
}

/* All of STATUS that is one moment's truth.  Under session->lock. */
static void handle_fill_status(struct chipboot_status *status,
			       const struct handle *h, const bool *stale)
{
	struct session *s = h->s;
	const struct channel_tally *tally = &s->tally;

	lockdep_assert_held(&s->lock);
	status->idle = tally->idle;
	status->success = tally->success;
	status->error = tally->error;
	status->gone = tally->gone;
	status->first_failed = session_first_failed(s);
	status->owner_state = s->owner_state;
	status->now_ns = ktime_get_ns();
	status->deadline_ns = s->deadline_ns;
	status->holds = session_holds(s, h);
	if (status->channel != CHIPBOOT_NO_CHANNEL) {
		const struct slot *slot = &s->slots[status->channel];

		status->channel_state = slot->ch.state;
		status->channel_generation = slot->ch.generation;
		status->channel_pid = pid_vnr(slot->pid);
		status->channel_bound = slot->binding && !slot->binding->dead;
		if (stale && !*stale)
			status->handle_generation = slot->ch.generation;
	}
}

/**
 * handle_status() - CHIPBOOT_IOC_STATUS
 * @call: the call
 * @h: the handle
 * @channel: the handle's own channel, or CHIPBOOT_NO_CHANNEL
 * @stale: publisher: is the handle stale; guarded by session->lock.  Others: NULL
 *
 * Return: 0, -EINVAL, -ENOENT, -ENOMEM, -EFAULT.
 */
long handle_status(struct call *call, struct handle *h, u32 channel,
		   const bool *stale)
{
	const struct chipboot_status in =
		*(const struct chipboot_status *)call->argument;
	struct chipboot_status *status = call->argument;
	struct session *s = h->s;
	unsigned long flags;
	u64 *pending = NULL;
	u32 words = 0;
	int err = 0;
	u64 changes;

	if (in.flags & ~CHIPBOOT_STATUS_ACK)
		return -EINVAL;
	memset(status, 0, sizeof(*status));
	status->flags = in.flags;
	status->channel = channel == CHIPBOOT_NO_CHANNEL ? in.channel : channel;
	if (status->channel != CHIPBOOT_NO_CHANNEL) {
		err = session_check_channel(s, &status->channel);
		if (err)
			return err;
	}
	status->pending = in.pending;
	status->pending_words = in.pending_words;
	if (in.pending) {
		words = min_t(u32, in.pending_words, HANDLE_PENDING_WORDS_MAX);
		pending = kcalloc(words, sizeof(u64), CHIPBOOT_GFP);
		if (!pending)
			return -ENOMEM;
	}
	status->channels = s->n;
	status->stride = PAGE_SIZE;
	status->session_id = s->id;
	status->owner_pid = pid_vnr(s->owner_hook.pid);
	status->events = h->events;

	spin_lock_irqsave(&s->lock, flags);
	handle_fill_status(status, h, stale);
	if (words)
		bitmap_copy((unsigned long *)pending, s->idle,
			    min_t(u32, s->n, words * 64));
	changes = s->changes;
	spin_unlock_irqrestore(&s->lock, flags);

	if (copy_to_user(u64_to_user_ptr(in.pending), pending,
			 words * sizeof(u64)))
		err = -EFAULT;
	kfree(pending);
	if (!err)
		err = call_return_struct(call);
	/* Seen is what the caller has got, and no more. */
	if (!err && in.flags & CHIPBOOT_STATUS_ACK) {
		spin_lock_irqsave(&s->lock, flags);
		h->seen = max(h->seen, changes);
		spin_unlock_irqrestore(&s->lock, flags);
	}
	return err;
}

/**
 * handle_show_fdinfo() - what /proc/PID/fdinfo/FD says of every handle; ABI
 * @m: where to
 * @kind: of handle
 * @h: the handle
 */
void handle_show_fdinfo(struct seq_file *m, const char *kind,
			const struct handle *h)
{
	static const char * const owner_states[] = {
		[CHIPBOOT_OWNER_ALIVE] = "alive",
		[CHIPBOOT_OWNER_DETACHED] = "detached",
		[CHIPBOOT_OWNER_CLOSED] = "closed",
		[CHIPBOOT_OWNER_DEAD] = "dead",
	};
	struct session *s = h->s;
	struct channel_tally tally;
	unsigned long *idle;
	unsigned long flags;
	u64 deadline_ns;
	u8 owner_state;

	idle = bitmap_zalloc(s->n, CHIPBOOT_GFP);
	spin_lock_irqsave(&s->lock, flags);
	tally = s->tally;
	owner_state = s->owner_state;
	deadline_ns = s->deadline_ns;
	if (idle)
		bitmap_copy(idle, s->idle, s->n);
	spin_unlock_irqrestore(&s->lock, flags);

	seq_printf(m, "chipboot-session:\t%llu\n", s->id);
	seq_printf(m, "chipboot-kind:\t%s\n", kind);
	seq_printf(m, "chipboot-channels:\t%u\n", s->n);
	seq_printf(m, "chipboot-idle:\t%u\n", tally.idle);
	seq_printf(m, "chipboot-success:\t%u\n", tally.success);
	seq_printf(m, "chipboot-error:\t%u\n", tally.error);
	seq_printf(m, "chipboot-gone:\t%u\n", tally.gone);
	seq_printf(m, "chipboot-owner:\t%d\n", pid_vnr(s->owner_hook.pid));
	seq_printf(m, "chipboot-owner-state:\t%s\n", owner_states[owner_state]);
	seq_printf(m, "chipboot-deadline-ns:\t%llu\n", deadline_ns);
	/* Without memory the line is left out rather than wrong. */
	if (idle)
		seq_printf(m, "chipboot-pending:\t%*pbl\n", s->n, idle);
	bitmap_free(idle);
}
