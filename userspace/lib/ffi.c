// SPDX-License-Identifier: MIT
/*
 * The headers' inline functions as symbols of the library, for bindings that load
 * it and cannot inline C.
 *
 * Not static, an inline function becomes a symbol where it is also declared without
 * "inline" (C11 6.7.4).
 */
#define CHIPBOOT_STATIC
#include <chipboot.h>
#include <chipboot_mailbox.h>

__typeof__(chipboot_state) chipboot_state;
__typeof__(chipboot_page) chipboot_page;
__typeof__(chipboot_page_state) chipboot_page_state;
__typeof__(chipboot_mailbox_state) chipboot_mailbox_state;
