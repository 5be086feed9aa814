/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's marked accesses, for kmod/channel.c in userspace.
 */
#ifndef UNIT_LINUX_COMPILER_H
#define UNIT_LINUX_COMPILER_H

#define WRITE_ONCE(x, val) __atomic_store_n(&(x), val, __ATOMIC_RELAXED)

#endif
