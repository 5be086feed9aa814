// SPDX-License-Identifier: GPL-2.0-only
/*
 * chipboot: the answers of N accelerator runtime processes, one page each.
 *
 * Module entry and the device node.  A session lives as long as its files, and
 * each file holds the module, so there is nothing to tear down at exit.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "control.h"
#include "limit.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static struct miscdevice chipboot_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "chipboot",
	.fops = &control_fops,
};

static int __init chipboot_init(void)
{
	return misc_register(&chipboot_device);
}

static void __exit chipboot_exit(void)
{
	misc_deregister(&chipboot_device);
	WARN_ON(!limits_all_returned());
}

module_init(chipboot_init);
module_exit(chipboot_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The chipboot authors");
MODULE_DESCRIPTION("Answers of accelerator runtime processes at bring-up");
#ifdef CHIPBOOT_RELEASE
MODULE_VERSION(CHIPBOOT_RELEASE);
#endif
