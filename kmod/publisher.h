/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The publisher handle, for owner.c (CLAIM) and session.c (RESET).
 */
#ifndef CHIPBOOT_PUBLISHER_H
#define CHIPBOOT_PUBLISHER_H

#include <linux/types.h>

struct file;
struct new_file;
struct session;
struct slot;

int publisher_open(struct new_file *new, struct session *s, u32 channel);
int publisher_may_claim(struct file *file, u32 *generation);
int publisher_claim(struct file *file, u32 generation);
void publisher_drop(struct slot *slot);

#endif /* CHIPBOOT_PUBLISHER_H */
