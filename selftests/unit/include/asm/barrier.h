/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's barriers by the compiler's.  Each one is a place where a reader may
 * look in: unit_look_in() is called there with what a reader would see.
 */
#ifndef UNIT_ASM_BARRIER_H
#define UNIT_ASM_BARRIER_H

void unit_look_in(void);

#define smp_wmb()							\
do {									\
	__atomic_thread_fence(__ATOMIC_RELEASE);			\
	unit_look_in();							\
} while (0)

#define smp_store_release(p, v)						\
do {									\
	unit_look_in();							\
	__atomic_store_n(p, v, __ATOMIC_RELEASE);			\
	unit_look_in();							\
} while (0)

#endif
