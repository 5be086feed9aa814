/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counts, so that a test sees them balanced.
 */
#ifndef UNIT_LINUX_PREEMPT_H
#define UNIT_LINUX_PREEMPT_H

extern int unit_preempt_count;

#define preempt_disable()	((void)unit_preempt_count++)
#define preempt_enable()	((void)unit_preempt_count--)

#endif
