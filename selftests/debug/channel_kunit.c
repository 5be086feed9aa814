// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state machine, kmod/channel.c, and its unit tests, selftests/unit/, as they
 * are, in a kernel that watches: under KUnit. Called by: selftests/debug/kunit.
 *
 * As in userspace (selftests/unit/include), a barrier is a place where a reader may
 * look in, and disabling preemption is counted.
 */
#include <kunit/test.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/barrier.h>

#include "look_in.h"
#include "../../kmod/channel.c"
#include "../unit/state_machine.c"

static struct kunit_case machine_cases[] = {
#include "channel_kunit_cases.h"
	{ }
};

static struct kunit_suite machine_suite = {
	.name = "chipboot_channel",
	.init = machine_init,
	.exit = machine_exit,
	.test_cases = machine_cases,
};

kunit_test_suite(machine_suite);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("chipboot's state machine under KUnit");
