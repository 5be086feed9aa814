/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the handles on a session (owner, publisher, observer) have in common, and
 * how a handle is made.
 */
#ifndef CHIPBOOT_HANDLE_H
#define CHIPBOOT_HANDLE_H

#include <linux/fs.h>
#include <linux/types.h>

/* Words of STATUS's bitmap, at most: of 65536 channels. */
#define HANDLE_PENDING_WORDS_MAX	1024

struct call;
struct handle;
struct seq_file;
struct session;

/**
 * struct new_file - a descriptor that is not installed yet
 * @fd: reserved
 * @file: what it is going to be
 */
struct new_file {
	int fd;
	struct file *file;
};

int new_file_open(struct new_file *new, const char *name,
		  const struct file_operations *fops, void *private,
		  int access);
int new_file_install(const struct new_file *new);
void new_file_cancel(const struct new_file *new);

void handle_init(struct handle *h, struct session *s, u32 events);
long handle_status(struct call *call, struct handle *h, u32 channel,
		   const bool *stale);
void handle_show_fdinfo(struct seq_file *m, const char *kind,
			const struct handle *h);

int owner_open(struct new_file *new, struct session *s);
int observer_open(struct new_file *new, struct session *s, u32 events);

#endif /* CHIPBOOT_HANDLE_H */
