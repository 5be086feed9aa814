/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scnprintf(): bytes written, not bytes wanted.
 */
#ifndef UNIT_LINUX_KERNEL_H
#define UNIT_LINUX_KERNEL_H

#include <stdio.h>

#define scnprintf(buf, size, ...)					\
({									\
	int _n = snprintf(buf, size, __VA_ARGS__);			\
									\
	_n < (int)(size) ? _n : (int)(size) - 1;			\
})

#endif
