// SPDX-License-Identifier: MIT
/*
 * The command with a module of another version: what the kernel answers to VERSION is
 * changed on its way, by a debugger, so that the programs are those that people run.
 *
 * vm: --cpus 2 --timeout 900
 */
#include "command_test.h"

#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <linux/chipboot.h>

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 600

static void be_traced(const void *with)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
}

/* In the tracee: what is loaded has interface @abi and calls itself 9.8.7. */
static bool change(pid_t pid, uint64_t address, uint32_t abi)
{
	struct chipboot_version version;
	struct iovec ours = { &version, sizeof(version) };
	struct iovec theirs = { (void *)(uintptr_t)address, sizeof(version) };

	if (process_vm_readv(pid, &ours, 1, &theirs, 1, 0) != sizeof(version))
		return false;
	version.abi = abi;
	snprintf(version.release, sizeof(version.release), "9.8.7");
	return process_vm_writev(pid, &ours, 1, &theirs, 1, 0) == sizeof(version);
}

/* Run until the end; how often VERSION was asked, or -1. */
static int trace(pid_t pid, uint32_t abi, int *status)
{
	uint64_t address = 0;
	int changed = 0;

	if (waitpid(pid, status, 0) != pid || !WIFSTOPPED(*status) ||
	    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD) < 0)
		return -1;
	for (int signal = 0;; ) {
		struct __ptrace_syscall_info info;

		if (ptrace(PTRACE_SYSCALL, pid, 0, signal) < 0 ||
		    waitpid(pid, status, 0) != pid)
			return -1;
		if (!WIFSTOPPED(*status))
			return changed;
		signal = WSTOPSIG(*status);
		if (signal != (SIGTRAP | 0x80)) {
			/* The stop of its own exec. */
			if (signal == SIGTRAP)
				signal = 0;
			continue;
		}
		signal = 0;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
			return -1;
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
			bool asks = info.entry.nr == __NR_ioctl &&
				    info.entry.args[1] == CHIPBOOT_IOC_VERSION;

			address = asks ? info.entry.args[2] : 0;
		} else if (address && info.op == PTRACE_SYSCALL_INFO_EXIT) {
			if (info.exit.rval || !change(pid, address, abi))
				return -1;
			changed++;
			address = 0;
		}
	}
}

static void run(struct __test_metadata *_metadata, uint32_t abi,
		const char *const argv[], int *code, char said[2048])
{
	ssize_t length;
	size_t used = 0;
	int fds[2];
	int status;

	ASSERT_EQ(pipe(fds), 0);
	ASSERT_GT(trace(start(argv, fds[1], fds[1], be_traced, NULL), abi, &status), 0);
	close(fds[1]);
	while ((length = read(fds[0], said + used, 2047 - used)) > 0)
		used += length;
	said[used] = '\0';
	close(fds[0]);
	ASSERT_TRUE(WIFEXITED(status));
	*code = WEXITSTATUS(status);
}

static const char *const run_argv[] = {
	"chipboot", "run", "-n", "1", "--", "chipboot", "publish", "success", NULL,
};

static const char *const version_argv[] = { "chipboot", "--version", NULL };

TEST(an_older_module_is_refused_with_both_numbers)
{
	static const char numbers[] =
		"the loaded chipboot module 9.8.7 has interface 0, library "
		CHIPBOOT_RELEASE " needs 1: ";
	static const char advice[] =
		"load the module of the installed version (modprobe -r chipboot; "
		"modprobe chipboot)\n";
	char said[2048];
	int code;

	run(_metadata, 0, run_argv, &code, said);
	EXPECT_EQ(code, 98);
	EXPECT_EQ(strncmp(said, "chipboot: ", 10), 0);
	EXPECT_EQ(strstr(said, numbers), said + 10);
	EXPECT_STREQ(said + 10 + sizeof(numbers) - 1, advice);
	run(_metadata, 0, version_argv, &code, said);
	EXPECT_EQ(code, 0);
	EXPECT_NE(strstr(said, "chipboot " CHIPBOOT_RELEASE " (kernel interface 1)\n"),
		  NULL);
	EXPECT_NE(strstr(said, numbers), NULL);
	EXPECT_NE(strstr(said, advice), NULL);
}

/* Nothing is ever taken from the interface, so this one has all that is needed. */
TEST(a_newer_module_works_and_both_numbers_can_be_seen)
{
	char said[2048];
	int code;

	run(_metadata, 2, run_argv, &code, said);
	EXPECT_EQ(code, 0);
	EXPECT_NE(strstr(said, "1 of 1 chips up in "), NULL);
	run(_metadata, 2, version_argv, &code, said);
	EXPECT_EQ(code, 0);
	EXPECT_STREQ(said, "chipboot " CHIPBOOT_RELEASE " (kernel interface 1)\n"
		     "module 9.8.7 loaded (kernel interface 2: newer, which is fine)\n");
}

TEST_HARNESS_MAIN
