// SPDX-License-Identifier: MIT
/*
 * The header's inline functions as symbols of the library, for bindings that load
 * it and cannot inline C.
 */
#define CHIPBOOT_INLINE
/* Being the definition, the header declares them nowhere else. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include <chipboot.h>
