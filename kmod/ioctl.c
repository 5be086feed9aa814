// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ioctl dispatch, and the rules of extensible structs (uapi's opening comment).
 *
 * Called by each handle's file with the table of its ioctls.
 */
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <linux/chipboot.h>

#include "compat.h"
#include "ioctl.h"
#include "session.h"

/* Each ioctl of any handle: to tell ENOTTY from EOPNOTSUPP. */
static const unsigned int all_commands[] = {
	CHIPBOOT_IOC_VERSION,
	CHIPBOOT_IOC_CREATE,
	CHIPBOOT_IOC_CLAIM,
	CHIPBOOT_IOC_RESET,
	CHIPBOOT_IOC_ABORT,
	CHIPBOOT_IOC_DETACH,
	CHIPBOOT_IOC_SET_DEADLINE,
	CHIPBOOT_IOC_BIND,
	CHIPBOOT_IOC_PROGRESS,
	CHIPBOOT_IOC_PUBLISH,
	CHIPBOOT_IOC_OBSERVE,
	CHIPBOOT_IOC_READ,
	CHIPBOOT_IOC_STATUS,
};

/* Room for the struct of any. */
union argument {
	struct chipboot_version version;
	struct chipboot_create create;
	struct chipboot_claim claim;
	struct chipboot_reset reset;
	struct chipboot_abort abort;
	struct chipboot_deadline deadline;
	struct chipboot_bind bind;
	struct chipboot_progress progress;
	struct chipboot_publish publish;
	struct chipboot_observe observe;
	struct chipboot_read read;
	struct chipboot_status status;
};

static long ioctl_not_ours(unsigned int cmd)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all_commands); i++)
		if (_IOC_NR(all_commands[i]) == _IOC_NR(cmd))
			return -EOPNOTSUPP;
	return -ENOTTY;
}

/**
 * ioctl_run() - do an ioctl
 * @file: the handle's file
 * @cmd: from the caller: number and struct size
 * @arg: from the caller: the struct
 * @commands: what this kind of handle can do
 * @count: how many
 *
 * Return: what the command returns, or the errno of the rules every ioctl shares.
 */
long ioctl_run(struct file *file, unsigned int cmd, unsigned long arg,
	       const struct command *commands, size_t count)
{
	/* All that a command looks at is copied in. */
	union argument argument __uninitialized;
	struct call call = {
		.file = file,
		.argument = &argument,
		.user = (void __user *)arg,
		.user_size = _IOC_SIZE(cmd),
	};
	size_t i;
	int err;

	if (_IOC_TYPE(cmd) != CHIPBOOT_IOC_MAGIC)
		return -ENOTTY;
	for (i = 0; i < count; i++)
		if (_IOC_NR(commands[i].cmd) == _IOC_NR(cmd))
			break;
	if (i == count)
		return ioctl_not_ours(cmd);

	/* All are in their first version: what the kernel knows is the least. */
	call.size = _IOC_SIZE(commands[i].cmd);
	if (call.user_size < call.size)
		return -EINVAL;
	if (!call.user_size) {
		/* No struct now; there may be one some day. */
		if (arg)
			return -EINVAL;
		return commands[i].run(&call);
	}
	err = copy_struct_from_user(&argument, call.size, call.user,
				    call.user_size);
	if (err)
		return err;
	return commands[i].run(&call);
}

/**
 * call_return_struct() - give the caller its struct back
 * @call: the call, with the output in its argument
 *
 * Return: 0, -EFAULT.
 */
int call_return_struct(const struct call *call)
{
	return copy_to_user(call->user, call->argument, call->size) ?
		-EFAULT : 0;
}

/**
 * call_copy_message() - copy a text in
 * @pointer: the caller's
 * @len: in: its bytes; out: those before the first NUL
 *
 * Return: the text, for kfree(); -EMSGSIZE, -ENOMEM, -EFAULT.  Without a lock: the
 * caller's memory may take for ever to come.
 */
char *call_copy_message(u64 pointer, u32 *len)
{
	char *text;

	if (*len >= CHIPBOOT_MESSAGE_SIZE)
		return ERR_PTR(-EMSGSIZE);
	text = kmalloc(*len + 1, CHIPBOOT_GFP);
	if (!text)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(text, u64_to_user_ptr(pointer), *len)) {
		kfree(text);
		return ERR_PTR(-EFAULT);
	}
	text[*len] = 0;
	*len = strlen(text);
	return text;
}
