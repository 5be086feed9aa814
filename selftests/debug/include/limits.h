/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Userspace has this header; here the kernel's own have been included before.
 */
