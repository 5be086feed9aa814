/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's barriers, each with a reader who looks in, and disabling preemption,
 * counted: as selftests/unit/include has them in userspace.
 */
#ifndef DEBUG_LOOK_IN_H
#define DEBUG_LOOK_IN_H

void unit_look_in(const char *barrier, const void *word);
extern int unit_preempt_count;

#undef smp_wmb
#define smp_wmb()							\
do {									\
	__smp_wmb();							\
	unit_look_in("wmb", NULL);					\
} while (0)

#undef smp_store_release
#define smp_store_release(p, v)						\
do {									\
	unit_look_in("before release", p);				\
	__smp_store_release(p, v);					\
	unit_look_in("release", p);					\
} while (0)

#undef preempt_disable
#define preempt_disable()						\
do {									\
	preempt_disable_notrace();					\
	unit_preempt_count++;						\
} while (0)

#undef preempt_enable
#define preempt_enable()						\
do {									\
	unit_preempt_count--;						\
	preempt_enable_notrace();					\
} while (0)

#endif
