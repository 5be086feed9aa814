/* SPDX-License-Identifier: MIT */
/*
 * `chipboot run`'s event loop, a thin layer over epoll.  Whoever has a descriptor
 * puts a struct watch beside it.
 */
#ifndef CHIPBOOT_LOOP_H
#define CHIPBOOT_LOOP_H

#include <stdint.h>

struct watch {
	int fd;
	void (*ready)(struct watch *watch);
};

#define container_of(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))

/* All return 0, or -errno. */
int loop_add(int loop, struct watch *watch, uint32_t events);
int loop_remove(int loop, struct watch *watch);
/* Sleep, and serve one descriptor: who is served may end any other's watch. */
int loop_once(int loop, int timeout_ms);

#endif /* CHIPBOOT_LOOP_H */
