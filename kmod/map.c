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
 * @vma: what mmap() made
 *
 * Return: 0; -EINVAL: private, or not a run of channels; -EACCES: writable;
 * -EPERM: executable; -ENOMEM.
 */
int session_mmap(struct session *s, struct vm_area_struct *vma)
{
	unsigned long first = vma->vm_pgoff;
	unsigned long count = vma_pages(vma);

	/*
	 * VM_MAYSHARE, not VM_SHARED: the latter is cleared in the shared
	 * mapping of a descriptor that is opened read-only, as all of ours are.
	 */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	/* By subtraction: first is the user's, up to 2^52. */
	if (first >= s->n || count > s->n - first)
		return -EINVAL;
	first = array_index_nospec(first, s->n);

	/* Without the MAY flags mprotect() cannot bring back what was refused. */
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP,
		     VM_MAYWRITE | VM_MAYEXEC);
	vma->vm_ops = &session_vm_ops;
	return vm_insert_pages(vma, vma->vm_start, s->pages + first, &count);
}
