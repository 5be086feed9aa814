// SPDX-License-Identifier: MIT
/*
 * The first process of the throwaway machine.
 *
 * Owns the machine from the kernel's hand-over to its end: mounts, the module's
 * life, COMMAND, and the report. Called by the kernel (rdinit=/init); its
 * counterpart on the host is selftests/vm/run, which packs /vm:
 *
 *	/vm/argv	COMMAND and its arguments, each ended by NUL
 *	/vm/module.ko	the module; absent: none is loaded
 *	/vm/shell	"ROWS COLUMNS"; present: COMMAND gets the output's
 *			port as its terminal
 *
 * Serial ports: one is the kernel's console, one carries COMMAND's output (raw),
 * one the report, lines of text and then the kernel log; the last two are named
 * by vm_output= and vm_report= on the kernel's command line.
 *
 *	booted			the first line; the kernel came this far
 *	error TEXT		something of the machine itself failed
 *	exit CODE		COMMAND ended
 *	log			all that follows is the kernel log, and then what a debug
 *				kernel has found to be leaked
 *	NUL "done\n"		and this its end
 *
 * A byte from the host on the report's port means: time is up, say what hangs and end.
 * With vm_no_leaks=1 on the kernel's command line leaks are not looked for, which takes
 * as long as a boot.
 */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define SYSLOG_ACTION_READ_ALL		3
#define SYSLOG_ACTION_SIZE_BUFFER	10

/* The last references to a file are dropped by delayed work: look again. */
#define UNLOAD_TRIES	30
#define UNLOAD_PAUSE_US	100000

/* What is younger may be about to be pointed to, and is not reported. */
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define KMEMLEAK_AGE_S	6

static int report_fd = -1;
/* Read and written, or -1: this kernel does not look for leaks. */
static int kmemleak_fd = -1;

static void write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t done = write(fd, at, size);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		at += done;
		size -= done;
	}
}

__attribute__((format(printf, 1, 2)))
static void report(const char *format, ...)
{
	char line[1024];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (len > (int)sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len] = '\n';
	write_all(report_fd, line, len + 1);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		report("error %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void mount_at(const char *type, const char *dir, const char *options)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, options))
		report("error mount %s on %s: %s", type, dir, strerror(errno));
}

static int open_port(const char *path, int raw)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios tio;

	if (fd >= 0 && raw && !tcgetattr(fd, &tio)) {
		cfmakeraw(&tio);
		tcsetattr(fd, TCSANOW, &tio);
	}
	return fd;
}

static void bring_up_lo(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		report("error lo: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void set_up(void)
{
	mount_at("proc", "/proc", NULL);
	mount_at("sysfs", "/sys", NULL);
	mount_at("devpts", "/dev/pts", "mode=620,ptmxmode=666");
	mount_at("tmpfs", "/dev/shm", "mode=1777");
	mount_at("tmpfs", "/tmp", "mode=1777");
	mount_at("tmpfs", "/run", "mode=755");
	mount_at("debugfs", "/sys/kernel/debug", NULL);
	/* Now: lockdown, which a test may switch on, lets nobody open it. */
	kmemleak_fd = open(KMEMLEAK, O_RDWR | O_CLOEXEC);
	if (kmemleak_fd < 0 && errno != ENOENT)
		report("error %s: %s", KMEMLEAK, strerror(errno));
	mount_at("tracefs", "/sys/kernel/tracing", NULL);
	mount_at("cgroup2", "/sys/fs/cgroup", NULL);
	symlink("/proc/self/fd", "/dev/fd");

	write_file("/sys/fs/cgroup/cgroup.subtree_control",
		   "+memory +pids +cpu +cpuset");
	write_file("/proc/sys/kernel/core_pattern", "/tmp/core.%e.%p");
	sethostname("chipboot", strlen("chipboot"));
	bring_up_lo();
}

static int load_module(void)
{
	int fd = open("/vm/module.ko", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (syscall(SYS_finit_module, fd, "", 0)) {
		report("error the module does not load: %s", strerror(errno));
		return -1;
	}
	close(fd);
	return 1;
}

/* Who is still there: the usual reason why a module does not unload. */
static void list_processes(char *text, size_t size)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	size_t used = 0;

	text[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		char path[300], comm[64] = "", byte;
		int pid = atoi(entry->d_name);
		int fd, has_memory;

		if (pid <= 1)
			continue;
		/* Kernel threads have no command line. */
		snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		has_memory = fd >= 0 && read(fd, &byte, 1) == 1;
		if (fd >= 0)
			close(fd);
		if (!has_memory)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			if (read(fd, comm, sizeof(comm) - 1) > 0)
				comm[strcspn(comm, "\n")] = '\0';
			close(fd);
		}
		if (used < size)
			used += snprintf(text + used, size - used, "%s%s (%d)",
					 used ? ", " : "", comm, pid);
	}
	if (dir)
		closedir(dir);
}

static void unload_module(void)
{
	char left[512];
	int try;

	for (try = 0; try < UNLOAD_TRIES; try++) {
		/* COMMAND may have unloaded it itself. */
		if (!syscall(SYS_delete_module, "chipboot", O_NONBLOCK) ||
		    errno == ENOENT)
			return;
		usleep(UNLOAD_PAUSE_US);
	}
	list_processes(left, sizeof(left));
	report("error the module does not unload: %s; still running: %s",
	       strerrordesc_np(errno), left[0] ? left : "nothing");
}

/* The first scan only remembers what has not changed by the second. */
static void scan_for_leaks(void)
{
	int i;

	for (i = 0; i < 2; i++)
		if (write(kmemleak_fd, "scan", strlen("scan")) < 0)
			report("error %s: %s", KMEMLEAK, strerror(errno));
}

static char **read_argv(void)
{
	static char text[1 << 16];
	static char *argv[1024];
	int fd = open("/vm/argv", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	char *at = text;
	int n = 0;

	while (at < text + size && n < 1023) {
		argv[n++] = at;
		at += strlen(at) + 1;
	}
	if (fd >= 0)
		close(fd);
	return n ? argv : NULL;
}

/* In the child: a terminal of its own, or nothing on input and a pipe. */
static void set_stdio(int out)
{
	FILE *shell = fopen("/vm/shell", "re");
	struct winsize size = { 0 };

	setsid();
	if (shell) {
		if (fscanf(shell, "%hu %hu", &size.ws_row, &size.ws_col) == 2)
			ioctl(out, TIOCSWINSZ, &size);
		fclose(shell);
		ioctl(out, TIOCSCTTY, 0);
		dup2(out, 0);
	} else {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, 0);
		if (null > 0)
			close(null);
	}
	dup2(out, 1);
	dup2(out, 2);
}

/* The kernel made one of its command line. */
static void set_environment(void)
{
	clearenv();
	setenv("PATH", "/usr/local/bin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("USER", "root", 1);
	setenv("LOGNAME", "root", 1);
	setenv("SHELL", "/bin/sh", 1);
	setenv("TERM", "linux", 1);
}

static pid_t start(char **argv, int out)
{
	pid_t pid = fork();
	sigset_t none;

	if (pid)
		return pid;
	set_stdio(out);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/work"))
		_exit(126);
	execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Move what is there; 0 when nothing more comes. */
static ssize_t relay(int from, int to)
{
	char data[4096];
	ssize_t size = read(from, data, sizeof(data));

	if (size > 0)
		write_all(to, data, size);
	return size;
}

/*
 * Until COMMAND has ended and what it wrote is on the port. Processes it left
 * behind may hold the pipe open for ever; they are not waited for. False: time was up.
 */
static int supervise(pid_t command, int out, int port, int signals)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = report_fd, .events = POLLIN },
		{ .fd = out, .events = POLLIN },
	};
	int ended = 0, status = 0;

	while (!ended) {
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[2].revents && relay(out, port) <= 0)
			fds[2].fd = -1;
		if (fds[1].revents) {
			write_file("/proc/sysrq-trigger", "w");
			return 0;
		}
		if (fds[0].revents) {
			struct signalfd_siginfo info;
			pid_t pid;
			int st;

			if (read(signals, &info, sizeof(info)) < 0)
				continue;
			while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
				if (pid == command) {
					ended = 1;
					status = st;
				}
			}
		}
	}
	while (fds[2].fd >= 0 && poll(&fds[2], 1, 0) > 0 && relay(out, port) > 0)
		;
	tcdrain(port);
	report("exit %d", WIFEXITED(status) ? WEXITSTATUS(status) :
					      128 + WTERMSIG(status));
	return 1;
}

/* They are not in the kernel's log, which only counts them. */
static void dump_leaks(void)
{
	while (kmemleak_fd >= 0 && relay(kmemleak_fd, report_fd) > 0)
		;
}

static void dump_log(void)
{
	int size = klogctl(SYSLOG_ACTION_SIZE_BUFFER, NULL, 0);
	char *text = malloc(size);
	int len = text ? klogctl(SYSLOG_ACTION_READ_ALL, text, size) : -1;

	report("log");
	if (len > 0)
		write_all(report_fd, text, len);
	dump_leaks();
	write_all(report_fd, "\0done\n", 6);
	tcdrain(report_fd);
}

static int run_command(int port, int signals)
{
	int shell = !access("/vm/shell", F_OK);
	char **argv = read_argv();
	int ends[2] = { -1, -1 };
	pid_t command;

	if (!argv || (!shell && pipe2(ends, O_CLOEXEC))) {
		report("error no command");
		return 0;
	}
	command = start(argv, shell ? port : ends[1]);
	close(ends[1]);
	if (command < 0) {
		report("error fork: %s", strerror(errno));
		return 0;
	}
	return supervise(command, ends[0], port, signals);
}

int main(void)
{
	int ended, leaks, loaded, port, signals;
	sigset_t mask;

	mount("devtmpfs", "/dev", "devtmpfs", 0, "mode=755");
	port = open_port(getenv("vm_output"), access("/vm/shell", F_OK));
	report_fd = open_port(getenv("vm_report"), 1);
	leaks = !getenv("vm_no_leaks");		/* set_environment() clears it */
	report("booted");
	set_up();

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signals = signalfd(-1, &mask, SFD_CLOEXEC);

	set_environment();
	loaded = load_module();
	ended = loaded >= 0 && run_command(port, signals);
	/*
	 * While the module is there, reports have names in them; what its own
	 * variables hold on to is leaked only when it has gone.
	 */
	leaks = leaks && ended && kmemleak_fd >= 0;
	if (leaks) {
		sleep(KMEMLEAK_AGE_S);
		scan_for_leaks();
	}
	if (loaded > 0)
		unload_module();
	if (leaks && loaded > 0)
		scan_for_leaks();
	dump_log();
	reboot(RB_AUTOBOOT);
	return 0;
}
