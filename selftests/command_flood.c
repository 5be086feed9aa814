// SPDX-License-Identifier: MIT
/*
 * chipboot run under load: 64 processes write 10 MB each while they publish.  Every line
 * arrives whole, and the launcher's memory stays bounded, also while nobody reads.
 *
 * vm: --cpus 2 --mem 1024 --timeout 3600
 */
#include "command_test.h"

#include <fcntl.h>

#include <chipboot.h>

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 3000

#define CHIPS 64
#define BYTES 10000000
#define LINE 100
#define LINES (BYTES / LINE)

/* Two sinks of 256 KiB, 128 pipes read by 64 KiB, half lines, the program itself. */
#define MEMORY_MAX_KIB (24 * 1024)

/* "chip 03 line 0000123 xxxx...\n", LINE bytes, with nothing lost or mixed. */
static void flood(void)
{
	struct chipboot_publisher *publisher;
	char buffer[LINE * 40 + 1];
	uint32_t chip;
	int line = 0;

	if (chipboot_from_env(&publisher, NULL) < 0)
		_exit(1);
	chip = chipboot_publisher_channel(publisher);
	while (line < LINES) {
		size_t used = 0;
		ssize_t done;

		while (used < LINE * 40 && line < LINES) {
			memset(buffer + used, 'a' + chip % 26, LINE);
			snprintf(buffer + used, LINE, "chip %02u line %07u",
				 chip, line++);
			buffer[used + strlen(buffer + used)] = ' ';
			buffer[used + LINE - 1] = '\n';
			used += LINE;
		}
		for (size_t from = 0; from < used; from += done) {
			/* Of odd lengths, so that lines are cut in two. */
			size_t length = used - from > 1537 ? 1537 : used - from;

			done = write(1, buffer + from, length);
			if (done < 0)
				_exit(2);
		}
		if (line % 10000 == 0)
			chipboot_progress(publisher, "flooding");
		if (line == LINES / 2)
			chipboot_publish_success(publisher, chip, 0, 0, NULL, 0);
	}
	_exit(0);
}

static long memory_peak(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmHWM: %ld", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib;
}

struct count {
	unsigned int next[CHIPS];
	unsigned long lines, broken;
};

static void check_line(struct count *count, const char *line, size_t length)
{
	unsigned int label, chip, number;
	size_t head;

	count->lines++;
	if (sscanf(line, "[%u] chip %u line %u ", &label, &chip, &number) != 3 ||
	    label != chip || chip >= CHIPS || number != count->next[chip]) {
		count->broken++;
		return;
	}
	count->next[chip]++;
	head = chip < 10 ? 4 : 5;
	if (length != head + LINE - 1 ||
	    line[length - 1] != (char)('a' + chip % 26))
		count->broken++;
}

TEST(sixty_four_floods)
{
	const char *argv[] = { "chipboot", "run", "-q", "-n", "64", "--",
			       "PROGRAM", "--flood", NULL };
	static char buffer[1 << 16];
	struct count count = { .lines = 0 };
	size_t used = 0;
	long peak = -1;
	char self[256];
	int fds[2];
	int status;
	pid_t pid;
	ssize_t got;

	ASSERT_GT(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	self[readlink("/proc/self/exe", self, sizeof(self) - 1)] = '\0';
	argv[6] = self;
	ASSERT_EQ(pipe(fds), 0);
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	pid = start(argv, fds[1], -1, NULL, NULL);
	ASSERT_GT(pid, 0);
	close(fds[1]);
	/* Nobody reads: the launcher must not gather what the pipes do not hold. */
	sleep(5);
	while ((got = read(fds[0], buffer + used, sizeof(buffer) - 1 - used)) > 0) {
		char *at = buffer;
		char *newline;

		used += got;
		while ((newline = memchr(at, '\n', buffer + used - at))) {
			*newline = '\0';
			check_line(&count, at, newline - at);
			at = newline + 1;
		}
		used -= at - buffer;
		memmove(buffer, at, used);
		if (memory_peak(pid) > peak)
			peak = memory_peak(pid);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(count.lines, (unsigned long)CHIPS * LINES);
	EXPECT_EQ(count.broken, 0);
	EXPECT_EQ(used, 0);
	EXPECT_GT(peak, 0);
	EXPECT_LT(peak, MEMORY_MAX_KIB);
	TH_LOG("%lu lines, %lu broken; the launcher's memory peaked at %ld KiB",
	       count.lines, count.broken, peak);
	close(fds[0]);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--flood"))
		flood();
	return test_harness_run(argc, argv);
}
