/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control handle, for main.c.
 */
#ifndef CHIPBOOT_CONTROL_H
#define CHIPBOOT_CONTROL_H

extern const struct file_operations control_fops;

#endif /* CHIPBOOT_CONTROL_H */
