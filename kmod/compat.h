/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs from kernel to kernel: the newest name is used everywhere, and
 * defined here for kernels that do not have it.  Kbuild probes the headers and
 * sets CHIPBOOT_HAVE_*; there is no version test anywhere.
 */
#ifndef CHIPBOOT_COMPAT_H
#define CHIPBOOT_COMPAT_H

#include <linux/build_bug.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/string.h>

#ifndef CHIPBOOT_HAVE_WAIT_PIDFD
/* Without it no death would be told. */
#error "struct pid has no wait_pidfd: build for Linux 5.3 or later, or see kmod/death.c"
#endif

#ifndef CONFIG_64BIT
#error "chipboot needs a 64-bit kernel; 32-bit programs can use it there."
#endif

/*
 * For a local that is filled before it is read, where CONFIG_INIT_STACK_ALL_ZERO would
 * clear it first, in each call.  No header has a name for it.
 */
#if __has_attribute(__uninitialized__)
#define __uninitialized	__attribute__((__uninitialized__))
#else
#define __uninitialized
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

#ifdef CHIPBOOT_HAVE_MMAP_PREPARE
#define COMPAT_MMAP(prepare)	struct prepare##_needs_no_mmap
#define MMAP_PREPARE(prepare)	.mmap_prepare = prepare
#else
/*
 * As much of .mmap_prepare() and its words as map.c uses, by way of .mmap(): the
 * flags are the vma's own, and the action is taken when the function has returned.
 * Some kernels have a struct of that name that cannot do this yet; so by macros.
 *
 * In a struct file_operations stands MMAP_PREPARE(function), and somewhere before
 * it COMPAT_MMAP(function).
 */
struct compat_vm_area_desc {
	struct file *file;
	pgoff_t pgoff;
	const struct vm_operations_struct *vm_ops;
	struct vm_area_struct *vma;
	struct page **pages;
};

#define vm_area_desc		compat_vm_area_desc
#define VMA_WRITE_BIT		ilog2(VM_WRITE)
#define VMA_EXEC_BIT		ilog2(VM_EXEC)
#define VMA_MAYWRITE_BIT	ilog2(VM_MAYWRITE)
#define VMA_MAYEXEC_BIT		ilog2(VM_MAYEXEC)
#define VMA_MAYSHARE_BIT	ilog2(VM_MAYSHARE)
#define VMA_DONTEXPAND_BIT	ilog2(VM_DONTEXPAND)
#define VMA_DONTDUMP_BIT	ilog2(VM_DONTDUMP)
#define vma_desc_pages(desc)	vma_pages((desc)->vma)
#define vma_desc_test(desc, bit) \
	(!!((desc)->vma->vm_flags & BIT(bit)))
#define vma_desc_set_flags(desc, bit1, bit2) \
	vm_flags_mod((desc)->vma, BIT(bit1) | BIT(bit2), 0)
#define vma_desc_clear_flags(desc, bit1, bit2) \
	vm_flags_mod((desc)->vma, 0, BIT(bit1) | BIT(bit2))
#define mmap_action_map_kernel_pages_full(desc, first) \
	((desc)->pages = (first))

#ifdef CHIPBOOT_HAVE_PAGE_KMEMCG
/*
 * A page that is charged to a memory cgroup has a page type here, where a mapped
 * page has its mapcount, and vm_insert_pages() refuses it.  So the page tables get
 * page frame numbers, without a count for each: a mapping holds its observer's file,
 * that its session, and that the pages.  Nobody can pin such pages; a debugger,
 * which does just that elsewhere, reads them through here.
 */
static inline int compat_pfn_access(struct vm_area_struct *vma,
				    unsigned long addr, void *buf, int len,
				    int write)
{
	unsigned long pfn;
	int room = PAGE_SIZE - offset_in_page(addr);

	if (write)
		return -EACCES;
	if (follow_pfn(vma, addr, &pfn))
		return -EFAULT;
	if (len > room)
		len = room;
	memcpy(buf, page_address(pfn_to_page(pfn)) + offset_in_page(addr), len);
	return len;
}

static const struct vm_operations_struct compat_pfn_vm_ops __maybe_unused = {
	.access = compat_pfn_access,
};

static inline int compat_map_pages(struct vm_area_struct *vma,
				   struct page **pages)
{
	unsigned long i;
	int err = 0;

	vma->vm_ops = &compat_pfn_vm_ops;
	for (i = 0; !err && i < vma_pages(vma); i++)
		err = remap_pfn_range(vma, vma->vm_start + i * PAGE_SIZE,
				      page_to_pfn(pages[i]), PAGE_SIZE,
				      vma->vm_page_prot);
	return err;
}
#else
static inline int compat_map_pages(struct vm_area_struct *vma,
				   struct page **pages)
{
	unsigned long count = vma_pages(vma);

	return vm_insert_pages(vma, vma->vm_start, pages, &count);
}
#endif /* CHIPBOOT_HAVE_PAGE_KMEMCG */

static inline int compat_mmap(struct file *file, struct vm_area_struct *vma,
			      int (*prepare)(struct vm_area_desc *desc))
{
	struct vm_area_desc desc = {
		.file = file,
		.pgoff = vma->vm_pgoff,
		.vma = vma,
	};
	int err = prepare(&desc);

	if (err)
		return err;
	vma->vm_ops = desc.vm_ops;
	return compat_map_pages(vma, desc.pages);
}

#define COMPAT_MMAP(prepare) \
static int prepare##_now(struct file *file, struct vm_area_struct *vma) \
{ \
	return compat_mmap(file, vma, prepare); \
} \
static_assert(true)
#define MMAP_PREPARE(prepare)	.mmap = prepare##_now
#endif /* CHIPBOOT_HAVE_MMAP_PREPARE */

#endif /* CHIPBOOT_COMPAT_H */
