// SPDX-License-Identifier: GPL-2.0-only
/*
 * The channels' pages: allocating them, mapping them for observers.
 *
 * Called by session.c (allocation) and observer.c (mmap).
 */
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "session.h"

/**
 * session_alloc_pages() - a zeroed page for each channel, charged to the caller
 * @s: the session; its @n is set
 *
 * Return: 0, -ENOMEM, -EINTR.  After an error session_free_pages() cleans up.
 */
int session_alloc_pages(struct session *s)
{
	u32 i;

	s->pages = kvcalloc(s->n, sizeof(*s->pages), CHIPBOOT_GFP);
	if (!s->pages)
		return -ENOMEM;
	for (i = 0; i < s->n; i++) {
		/* Thousands of pages may be a long time under memory pressure. */
		if (fatal_signal_pending(current))
			return -EINTR;
		s->pages[i] = alloc_page(CHIPBOOT_GFP | __GFP_ZERO);
		if (!s->pages[i])
			return -ENOMEM;
	}
	return 0;
}

/**
 * session_free_pages() - what session_alloc_pages() took
 * @s: the session
 *
 * A mapping holds its observer's file and so the session: no page is mapped now.
 */
void session_free_pages(struct session *s)
{
	u32 i;

	for (i = 0; s->pages && i < s->n && s->pages[i]; i++)
		__free_page(s->pages[i]);
	kvfree(s->pages);
}

/*
 * Nothing to do: all pages are inserted at once, and a fault (after MADV_DONTNEED)
 * is SIGBUS, never a made-up page.
 */
static const struct vm_operations_struct session_vm_ops = { };

/**
 * session_mmap() - map a run of channels, shared and read-only, for good
 * @s: the session
 * @desc: of the mapping that is to be made
 *
 * Return: 0; -EINVAL: private, or not a run of channels; -EACCES: writable;
 * -EPERM: executable.  The kernel maps the pages when this has returned.
 */
int session_mmap(struct session *s, struct vm_area_desc *desc)
{
	unsigned long first = desc->pgoff;
	unsigned long count = vma_desc_pages(desc);

	/*
	 * MAYSHARE, not SHARED: the latter is cleared in the shared mapping of a
	 * descriptor that is opened read-only, as all of ours are.
	 */
	if (!vma_desc_test(desc, VMA_MAYSHARE_BIT))
		return -EINVAL;
	if (vma_desc_test(desc, VMA_WRITE_BIT))
		return -EACCES;
	if (vma_desc_test(desc, VMA_EXEC_BIT))
		return -EPERM;
	/* By subtraction: first is the user's, up to 2^52. */
	if (first >= s->n || count > s->n - first)
		return -EINVAL;
	first = array_index_nospec(first, s->n);

	vma_desc_set_flags(desc, VMA_DONTEXPAND_BIT, VMA_DONTDUMP_BIT);
	/* Without the MAY flags mprotect() cannot bring back what was refused. */
	vma_desc_clear_flags(desc, VMA_MAYWRITE_BIT, VMA_MAYEXEC_BIT);
	desc->vm_ops = &session_vm_ops;
	mmap_action_map_kernel_pages_full(desc, s->pages + first);
	return 0;
}
