// SPDX-License-Identifier: MIT
/*
 * The launcher's processes: started, signalled, reaped, and what they leave behind.
 *
 * The launcher is a subreaper: a process whose parent has died becomes its child.
 * So it finds what a runtime process started and left, ends it and reaps it.
 *
 * Called by run.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

/* ---- signals ---- */

static const int collected[] = {
	SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH,
};

static sigset_t original_mask;
static struct sigaction original_pipe, original_child;
static struct rlimit original_files;

/* One that was ignored when this started (nohup) stays so; blocked, it would be seen. */
static bool is_ignored(int signal)
{
	struct sigaction action;

	return signal != SIGCHLD && !sigaction(signal, NULL, &action) &&
	       action.sa_handler == SIG_IGN;
}

/* Signals arrive by descriptor. */
int open_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	struct rlimit files;
	sigset_t mask;
	size_t i;

	sigemptyset(&mask);
	for (i = 0; i < sizeof(collected) / sizeof(collected[0]); i++)
		if (!is_ignored(collected[i]))
			sigaddset(&mask, collected[i]);
	sigprocmask(SIG_BLOCK, &mask, &original_mask);

	/* If ignored, the kernel would reap children, and their codes be lost. */
	sigaction(SIGCHLD, &action, &original_child);
	/* Who closes the report's pipe does not mean to end the processes. */
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, &original_pipe);

	/* Two pipes for each process; they themselves get the limit back. */
	getrlimit(RLIMIT_NOFILE, &original_files);
	files = original_files;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

void restore_signals(void)
{
	sigaction(SIGCHLD, &original_child, NULL);
	sigaction(SIGPIPE, &original_pipe, NULL);
	sigprocmask(SIG_SETMASK, &original_mask, NULL);
}

/* ---- starting ---- */

/*
 * --output-dir: all files before the first process, since a full disk shows here.  They
 * are emptied when their process starts: what does not come so far has cost nobody the
 * last run's output.
 */
int open_logs(struct run *run)
{
	uint32_t i;
	int dir;

	if (!run->output_dir)
		return 0;
	if (mkdir(run->output_dir, 0777) < 0 && errno != EEXIST)
		goto fail;
	dir = open(run->output_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		goto fail;
	for (i = 0; i < run->channels; i++) {
		char name[32];

		if (run->chips[i].joins)
			continue;
		snprintf(name, sizeof(name), "chip-%u.log",
			 run->chips[i].number);
		run->chips[i].log = openat(dir, name, O_WRONLY | O_CREAT |
					   O_APPEND | O_NOFOLLOW | O_CLOEXEC,
					   0666);
		if (run->chips[i].log < 0) {
			complain("cannot write %s/%s: %s", run->output_dir,
				 name, strerror(errno));
			close(dir);
			return -1;
		}
	}
	close(dir);
	return 0;

fail:
	complain("cannot use --output-dir %s: %s", run->output_dir,
		 strerror(errno));
	return -1;
}

/* In the child.  Whatever fails here is the chip's answer. */
__attribute__((noreturn))
static void become_runtime(const struct run *run, uint32_t i,
			   const int ends[2],
			   struct chipboot_publisher *publisher,
			   struct chipboot_observer *observer)
{
	char text[512], *cause;
	char **variable;
	int error;
	int ret;

	if (dup2(ends[0], STDOUT_FILENO) < 0 || dup2(ends[1], STDERR_FILENO) < 0)
		_exit(EXIT_MISUSE);
	setrlimit(RLIMIT_NOFILE, &original_files);
	restore_signals();
	if (run->directory_fd >= 0 && fchdir(run->directory_fd) < 0) {
		chipboot_publish_error(publisher, errno, "cannot enter --cwd");
		_exit(EXIT_MISUSE);
	}
	for (variable = run->variables; variable && *variable; variable++)
		putenv(*variable);
	/* The notifications are the launcher's. */
	unsetenv("NOTIFY_SOCKET");
	snprintf(text, sizeof(text), "%u", run->chips[i].number);
	setenv("CHIPBOOT_CHIP", text, 1);
	ret = chipboot_exec_prepare(publisher, observer);
	if (ret < 0) {
		chipboot_publish_error(publisher, -ret,
				       chipboot_explain(ret, text,
							sizeof(text)));
		_exit(EXIT_MISUSE);
	}
	error = run_program(run->program, run->command);
	if (asprintf(&cause, "cannot execute %s: %s", run->program,
		     strerror(error)) >= 0)
		chipboot_publish_error(publisher, error, cause);
	_exit(EXIT_MISUSE);
}

/* What the process gets for its stdout and stderr; the copies here are closed after. */
static int open_ends(struct run *run, uint32_t i, int ends[2])
{
	if (run->chips[i].log < 0)
		return output_add(run, i, ends);
	ends[0] = run->chips[i].log;
	ends[1] = ends[0];
	run->chips[i].log = -1;
	/* EINVAL: not a file that has a length. */
	return ftruncate(ends[0], 0) < 0 && errno != EINVAL ? -errno : 0;
}

static int start_child(struct run *run, uint32_t i)
{
	const uint32_t every = CHIPBOOT_ON_COMPLETE | CHIPBOOT_ON_GONE |
			       CHIPBOOT_ON_CHANGE | CHIPBOOT_ON_ERROR;
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	int ends[2] = { -1, -1 };
	pid_t pid;
	int ret;

	ret = open_ends(run, i, ends);
	/* All events: an observer can only hand on what it has. */
	pid = ret < 0 ? ret : chipboot_fork(run->session, i, SIGKILL, every,
					    &publisher, &observer);
	if (!pid)
		become_runtime(run, i, ends, publisher, observer);
	if (pid == -ECANCELED)
		goto out;
	if (pid < 0) {
		char text[512];

		complain("cannot start chip %u: %s", run->chips[i].number,
			 chipboot_explain(pid, text, sizeof(text)));
		goto out;
	}
	run->chips[i].pid = pid;
	run->children++;
	event_started(run, i);
out:
	if (ends[0] >= 0)
		close(ends[0]);
	if (ends[1] >= 0 && ends[1] != ends[0])
		close(ends[1]);
	return pid < 0 ? pid : 0;
}

int start_children(struct run *run)
{
	uint32_t i;
	int ret;

	for (i = 0; i < run->channels; i++) {
		if (run->chips[i].joins)
			continue;
		ret = start_child(run, i);
		/* The deadline was faster: it is decided on as when all have started. */
		if (ret == -ECANCELED)
			return 0;
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* ---- ending ---- */

bool is_alive(const struct chip *chip)
{
	return chip->joins ? chip->ends.fd >= 0 : chip->pid;
}

/* A joined process is not our child: its number could be another's by now. */
void signal_chip(const struct chip *chip, int signal)
{
	if (!is_alive(chip))
		return;
	if (chip->joins)
		pidfd_send_signal(chip->ends.fd, signal, NULL, 0);
	else
		kill(chip->pid, signal);
}

void signal_all(const struct run *run, int signal)
{
	uint32_t i;

	for (i = 0; i < run->channels; i++)
		signal_chip(&run->chips[i], signal);
}

void reap(struct run *run)
{
	uint32_t i;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (i = 0; i < run->channels; i++)
			if (!run->chips[i].joins && run->chips[i].pid == pid) {
				run->chips[i].pid = 0;
				run->children--;
				/* A death is on its page before it can be reaped. */
				update(run);
				event_ended(run, i, pid, status);
				break;
			}
}

/* ---- what they leave behind ---- */

static bool is_listed(const pid_t *list, pid_t pid)
{
	for (; list && *list; list++)
		if (*list == pid)
			return true;
	return false;
}

static bool is_chip(const struct run *run, pid_t pid)
{
	uint32_t i;

	for (i = 0; i < run->channels; i++)
		if (!run->chips[i].joins && run->chips[i].pid == pid)
			return true;
	return false;
}

/* How many children were left to us; they get @signal, if it is one. */
static uint32_t visit_orphans(const struct run *run, int signal)
{
	FILE *file = fopen("/proc/thread-self/children", "re");
	uint32_t found = 0;
	pid_t pid;

	while (file && fscanf(file, "%d", &pid) == 1) {
		if (is_listed(run->not_ours, pid) || is_chip(run, pid))
			continue;
		found++;
		if (signal)
			kill(pid, signal);
	}
	if (file)
		fclose(file);
	return found;
}

uint32_t count_orphans(const struct run *run)
{
	return visit_orphans(run, 0);
}

void signal_orphans(const struct run *run, int signal)
{
	visit_orphans(run, signal);
}

/* A shell that has become this launcher by exec may have had children of its own. */
void note_own_children(struct run *run)
{
	FILE *file = fopen("/proc/thread-self/children", "re");
	size_t number = 0;
	pid_t pid;

	while (file && fscanf(file, "%d", &pid) == 1) {
		pid_t *more = realloc(run->not_ours,
				      (number + 2) * sizeof(*more));

		if (!more)
			break;
		run->not_ours = more;
		run->not_ours[number++] = pid;
		run->not_ours[number] = 0;
	}
	if (file)
		fclose(file);
}
