/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From an ioctl's number and pointer to a checked call of a function.
 */
#ifndef CHIPBOOT_IOCTL_H
#define CHIPBOOT_IOCTL_H

#include <linux/types.h>

struct file;

/**
 * struct call - an ioctl on its way
 * @file: the handle's file
 * @argument: the kernel's copy of the struct, whole; what is beyond the
 *	caller's size is zero
 * @size: bytes of @argument
 * @user: the caller's struct
 * @user_size: its bytes
 */
struct call {
	struct file *file;
	void *argument;
	size_t size;
	void __user *user;
	size_t user_size;
};

/**
 * struct command - an ioctl of one kind of handle
 * @cmd: its number
 * @run: does it
 */
struct command {
	unsigned int cmd;
	long (*run)(struct call *call);
};

long ioctl_run(struct file *file, unsigned int cmd, unsigned long arg,
	       const struct command *commands, size_t count);
int call_return_struct(const struct call *call);
char *call_copy_message(u64 pointer, u32 *len);

#endif /* CHIPBOOT_IOCTL_H */
