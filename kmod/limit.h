/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many channels there may be: on the host, of one user, in one session.
 */
#ifndef CHIPBOOT_LIMIT_H
#define CHIPBOOT_LIMIT_H

#include <linux/types.h>

struct user_channels;

u32 limits_per_session(void);
struct user_channels *limits_charge(u32 n);
void limits_uncharge(struct user_channels *user, u32 n);
bool limits_all_returned(void);

#endif /* CHIPBOOT_LIMIT_H */
