/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs from kernel to kernel: the newest name is used everywhere, and
 * defined here for kernels that do not have it.  Kbuild probes the headers and
 * sets CHIPBOOT_HAVE_*; there is no version test anywhere.
 */
#ifndef CHIPBOOT_COMPAT_H
#define CHIPBOOT_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/mm.h>

#ifndef CHIPBOOT_HAVE_WAIT_PIDFD
/* Linux 5.3 and later have it; without it no death would be told. */
#error "struct pid has no wait_pidfd: see kmod/death.c, and please report this kernel"
#endif

/* vm_insert_pages() refuses them, and so every container's mmap() would fail. */
#ifdef CHIPBOOT_HAVE_PAGE_KMEMCG
#error "this kernel cannot map pages that are charged to a memory cgroup"
#endif

#ifndef CONFIG_64BIT
#error "chipboot needs a 64-bit kernel; 32-bit programs can use it there."
#endif

#ifndef CHIPBOOT_HAVE_VM_FLAGS_MOD
static inline void vm_flags_mod(struct vm_area_struct *vma,
				unsigned long set, unsigned long clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

#ifndef CHIPBOOT_HAVE_HRTIMER_SETUP
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock_id, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock_id, mode);
	timer->function = function;
}
#endif

#endif /* CHIPBOOT_COMPAT_H */
