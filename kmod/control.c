// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control handle: an open file of /dev/chipboot.  It has no state of its own.
 */
#include <linux/fs.h>
#include <linux/module.h>

#include "control.h"
#include "handle.h"
#include "ioctl.h"
#include "limit.h"
#include "session.h"

/* Outside of a kernel tree Kbuild gives the project's own version. */
#ifndef CHIPBOOT_RELEASE
#include <generated/utsrelease.h>
#define CHIPBOOT_RELEASE UTS_RELEASE
#endif

static long control_version(struct call *call)
{
	struct chipboot_version *version = call->argument;

	memset(version, 0, sizeof(*version));
	version->abi = CHIPBOOT_ABI_VERSION;
	version->stride = PAGE_SIZE;
	version->max_channels_per_session = limits_per_session();
	strscpy(version->release, CHIPBOOT_RELEASE, sizeof(version->release));
	return call_return_struct(call);
}

static long control_create(struct call *call)
{
	struct chipboot_create *create = call->argument;
	struct new_file owner;
	struct session *s;
	int err;

	/* As write(2) on a descriptor that is not open for writing. */
	if (!(call->file->f_mode & FMODE_WRITE))
		return -EBADF;
	if (!create->channels || create->flags || create->reserved)
		return -EINVAL;
	s = session_create(create->channels);
	if (IS_ERR(s))
		return PTR_ERR(s);
	create->stride = PAGE_SIZE;
	create->session_id = s->id;
	err = call_return_struct(call);
	if (!err)
		err = owner_open(&owner, s);
	/* From here on the owner's file holds it. */
	session_put(s);
	return err ?: new_file_install(&owner);
}

static const struct command control_commands[] = {
	{ CHIPBOOT_IOC_VERSION, control_version },
	{ CHIPBOOT_IOC_CREATE, control_create },
};

static long control_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	return ioctl_run(file, cmd, arg, control_commands,
			 ARRAY_SIZE(control_commands));
}

const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.unlocked_ioctl = control_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
