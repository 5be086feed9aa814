/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the machine around a session share (mapping.c, limits.c,
 * lifetime.c): control groups, the module's parameters, what a mapping does when
 * it is touched.
 *
 * These tests change the whole machine.  Each puts back what it found.
 */
#ifndef SYSTEM_TEST_H
#define SYSTEM_TEST_H

#include "process_test.h"

#include <setjmp.h>
#include <sys/stat.h>

/* ---- what differs from kernel to kernel --------------------------------- */

/* Is this Linux MAJOR.MINOR or later?  Only for what the kernel's own parts do. */
static CB_MAYBE_UNUSED bool st_kernel_has(int major, int minor)
{
	int of, is;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%d.%d", &of, &is) != 2)
		return false;
	return of > major || (of == major && is >= minor);
}

/*
 * Before 5.11 a page that is charged to a memory cgroup cannot have a map count, and
 * is mapped by its frame number: nobody can pin it, and madvise() keeps off.
 */
static CB_MAYBE_UNUSED bool st_by_frame_number(void)
{
	return !st_kernel_has(5, 11);
}

/* ---- files of one value ------------------------------------------------ */

static CB_MAYBE_UNUSED int st_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len)
		ret = -errno;
	close(fd);
	return ret;
}

/* The number a file begins with, or -errno. */
static CB_MAYBE_UNUSED long long st_number(const char *path)
{
	char buf[64];
	int ret = cb_slurp(path, buf, sizeof(buf));

	return ret < 0 ? ret : atoll(buf);
}

/* ---- module parameters ------------------------------------------------- */

enum { ST_PER_SESSION, ST_PER_USER, ST_ALL, ST_PARAMS };

static CB_MAYBE_UNUSED const char * const st_param_name[ST_PARAMS] = {
	[ST_PER_SESSION] = "max_channels_per_session",
	[ST_PER_USER] = "max_channels_per_user",
	[ST_ALL] = "max_channels",
};

static CB_MAYBE_UNUSED long long st_param(int param)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/chipboot/parameters/%s",
		 st_param_name[param]);
	return st_number(path);
}

static CB_MAYBE_UNUSED int st_set_param(int param, __u32 value)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/module/chipboot/parameters/%s",
		 st_param_name[param]);
	snprintf(text, sizeof(text), "%u", value);
	return st_write(path, text);
}

/* ---- control groups ---------------------------------------------------- */

#define ST_CGROUPS	"/sys/fs/cgroup"

static CB_MAYBE_UNUSED const char *st_group_file(const char *group,
						 const char *file)
{
	static __thread char path[256];

	snprintf(path, sizeof(path), ST_CGROUPS "/%s/%s", group, file);
	return path;
}

/* A child of the root, with memory controlled; or of one of those: "a/b". */
static CB_MAYBE_UNUSED int st_group_make(const char *group)
{
	if (mkdir(st_group_file(group, ""), 0755) && errno != EEXIST)
		return -errno;
	return access(st_group_file(group, "memory.current"), R_OK) ? -errno : 0;
}

/* Its processes have been reaped, but the kernel may be a moment behind. */
static CB_MAYBE_UNUSED int st_group_remove(const char *group)
{
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;

	while (rmdir(st_group_file(group, ""))) {
		if (errno != EBUSY || cb_now() > end)
			return -errno;
		usleep(1000);
	}
	return 0;
}

/*
 * The calling process moves; "" is the root.  The way back is opened before, since
 * in a group that is full even that is too much.
 */
static CB_MAYBE_UNUSED int st_group_enter(const char *group)
{
	static int root = -1;

	if (root < 0)
		root = open(st_group_file("", "cgroup.procs"),
			    O_WRONLY | O_CLOEXEC);
	if (*group)
		return st_write(st_group_file(group, "cgroup.procs"), "0");
	return write(root, "0", 1) == 1 ? 0 : -errno;
}

static CB_MAYBE_UNUSED long long st_group_number(const char *group,
						 const char *file)
{
	return st_number(st_group_file(group, file));
}

static CB_MAYBE_UNUSED int st_group_write(const char *group, const char *file,
					  const char *text)
{
	return st_write(st_group_file(group, file), text);
}

/* The value behind @key in a file of "KEY VALUE" lines, or -errno. */
static CB_MAYBE_UNUSED long long st_group_key(const char *group,
					      const char *file, const char *key)
{
	size_t len = strlen(key);
	char buf[8192], *line;
	int ret;

	ret = cb_slurp(st_group_file(group, file), buf, sizeof(buf));
	if (ret < 0)
		return ret;
	for (line = buf; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (!strncmp(line, key, len) && line[len] == ' ')
			return atoll(line + len);
	}
	return -ENOENT;
}

/* ---- touching memory --------------------------------------------------- */

static sigjmp_buf st_fault_jump;

static CB_MAYBE_UNUSED void st_fault_handler(int sig)
{
	siglongjmp(st_fault_jump, sig);
}

/* Load (or store) a byte: 0, or the signal that it ended in. */
static CB_MAYBE_UNUSED int st_touch(const void *at, bool store)
{
	struct sigaction sa = { .sa_handler = st_fault_handler }, segv, bus;
	char *p = (char *)(uintptr_t)at;
	int sig;
	char c;

	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	sig = sigsetjmp(st_fault_jump, 1);
	if (!sig) {
		c = __atomic_load_n(p, __ATOMIC_RELAXED);
		if (store)
			__atomic_store_n(p, (char)~c, __ATOMIC_RELAXED);
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return sig;
}

#endif /* SYSTEM_TEST_H */
