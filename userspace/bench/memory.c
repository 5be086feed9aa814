// SPDX-License-Identifier: MIT
/*
 * What a contender takes in memory for n channels, kernel and user, by what a memory
 * cgroup of its own is charged.
 *
 * The processes are left out: the waiter is its own publisher, so that all it makes
 * for them exists, and none of what a process is.  Called by main.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define ROOT	"/sys/fs/cgroup"
#define GROUP	ROOT "/bench"

/* What is counted is summed up in batches, every two seconds. */
#define SETTLE_S	5

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		bench_die(path);
	close(fd);
}

struct usage {
	long kernel;	/* charged as kernel memory, slabs too; whole pages */
	long slab;	/* of that, in slabs; to the byte */
	long user;	/* anonymous */
	long shared;	/* of files in memory: memfd, shared mappings */
};

static struct usage usage(void)
{
	struct usage usage = { 0 };
	char name[64];
	long value;
	FILE *file;

	sleep(SETTLE_S);
	file = fopen(GROUP "/memory.stat", "re");
	if (!file)
		bench_die(GROUP "/memory.stat");
	while (fscanf(file, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, "kernel"))
			usage.kernel = value;
		else if (!strcmp(name, "slab"))
			usage.slab = value;
		else if (!strcmp(name, "anon"))
			usage.user = value;
		else if (!strcmp(name, "shmem"))
			usage.shared = value;
	}
	fclose(file);
	return usage;
}

static void say(const struct contender *contender, unsigned int n,
		const char *step, const struct usage *before)
{
	struct usage now = usage();

	printf("memory;%s;%u;%s;%ld;%ld;%ld;%ld\n", contender->name, n, step,
	       now.kernel - before->kernel, now.slab - before->slab,
	       now.user - before->user, now.shared - before->shared);
	fflush(stdout);
}

static void in_group(const struct contender *contender, unsigned int n)
{
	struct usage before;
	void *self;

	write_text(GROUP "/cgroup.procs", "0");
	/* What the first call of anything takes is there now. */
	self = contender->create(1);
	if (contender->map)
		contender->map(self);
	before = usage();
	self = contender->create(n);
	if (contender->map)
		contender->map(self);
	say(contender, n, "created", &before);
	if (contender->claim)
		contender->claim(self, 0, n);
	say(contender, n, "claimed", &before);
	/* What a publisher would hold is closed by it, and there is none. */
	if (contender->bind)
		contender->bind(self, 0, n, getpid());
	say(contender, n, "bound", &before);
}

static void *make_descriptors(unsigned int n)
{
	while (n--)
		if (syscall(SYS_pidfd_open, getpid(), 0) < 0)
			bench_die("pidfd_open");
	return NULL;
}

const struct contender bench_descriptors = {
	.name = "descriptors",
	.is = "what the VFS takes for one: a pidfd has nothing of its own",
	.create = make_descriptors,
};

void memory_run(const struct contender *contender, unsigned int n)
{
	int status;
	pid_t pid;

	if (access(ROOT "/cgroup.procs", F_OK) < 0) {
		mkdir(ROOT, 0755);
		if (mount("cgroup2", ROOT, "cgroup2", 0, NULL) < 0)
			bench_die("mount " ROOT);
	}
	write_text(ROOT "/cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755) < 0)
		bench_die(GROUP);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		bench_die("fork");
	if (!pid) {
		in_group(contender, n);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		exit(1);
	while (rmdir(GROUP) < 0)
		if (errno != EBUSY)
			bench_die(GROUP);
}
