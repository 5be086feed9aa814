/* SPDX-License-Identifier: MIT */
/*
 * What `chipboot join` and `chipboot run --socket` say to each other, over a
 * SOCK_SEQPACKET socket of one host: a hello, an answer, and, if that is yes, two
 * parcels of chipboot_send(): the observer, then the publisher.
 */
#ifndef CHIPBOOT_JOIN_H
#define CHIPBOOT_JOIN_H

#include <stdint.h>

#define JOIN_VERSION	1
#define JOIN_ANY_CHIP	UINT32_MAX

struct join_hello {
	char magic[8];			/* "chipjoin" */
	uint32_t version;
	uint32_t chip;			/* its number, or JOIN_ANY_CHIP */
};

struct join_answer {
	uint32_t version;
	uint32_t accepted;
	uint32_t chip;
	uint32_t reserved;
	char why[256];			/* if not; NUL-terminated */
};

#endif /* CHIPBOOT_JOIN_H */
