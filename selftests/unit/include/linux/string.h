/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The same functions by their userspace header.
 */
#ifndef UNIT_LINUX_STRING_H
#define UNIT_LINUX_STRING_H

#include <string.h>

#endif
