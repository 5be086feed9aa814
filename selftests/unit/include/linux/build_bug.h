/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's static_assert, whose message may be left out.
 */
#ifndef UNIT_LINUX_BUILD_BUG_H
#define UNIT_LINUX_BUILD_BUG_H

#undef static_assert
#define static_assert(expr) _Static_assert(expr, #expr)

#endif
