/* SPDX-License-Identifier: MIT */
/*
 * Where the launcher writes: its standard output or error, never waited for.
 */
#ifndef CHIPBOOT_SINK_H
#define CHIPBOOT_SINK_H

#include <stdbool.h>
#include <stddef.h>

#include "loop.h"

struct sink {
	struct watch watch;
	int loop;
	int original;		/* the descriptor of the process */
	bool waits;		/* the watch is in the loop */
	bool at_once;		/* a file: writing does not wait */
	bool socket;
	bool shared;		/* the original: its mode is not ours to change */
	bool dead;		/* nobody reads it any more */
	bool terminal;
	char *data;
	size_t from, to, size;
};

int sink_open(struct sink *sink, int loop, int fd);
/* Never fails: what cannot be written or kept is dropped. */
void sink_write(struct sink *sink, const char *data, size_t length);
bool sink_is_full(const struct sink *sink);
bool sink_is_empty(const struct sink *sink);
void sink_close(struct sink *sink);

#endif /* CHIPBOOT_SINK_H */
