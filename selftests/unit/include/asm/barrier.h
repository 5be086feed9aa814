/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's barriers by the compiler's.  Each one is a place where a reader may
 * look in: unit_look_in() is called there with what a reader would see, and with
 * the barrier's name and the word that it publishes.
 */
#ifndef UNIT_ASM_BARRIER_H
#define UNIT_ASM_BARRIER_H

void unit_look_in(const char *barrier, const void *word);

#define smp_wmb()							\
do {									\
	__atomic_thread_fence(__ATOMIC_RELEASE);			\
	unit_look_in("wmb", NULL);					\
} while (0)

#define smp_store_release(p, v)						\
do {									\
	unit_look_in("before release", p);				\
	__atomic_store_n(p, v, __ATOMIC_RELEASE);			\
	unit_look_in("release", p);					\
} while (0)

#endif
