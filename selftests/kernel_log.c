// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 600 */
/*
 * What the module says in the kernel log: who finds a line there can tell whose it
 * is, and which limit refused what to whom.
 */
#include "chipboot_test.h"

/* Kernel log from here on; one record a read(). */
static int log_open(void)
{
	int fd = cb_errno(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));

	if (fd >= 0 && lseek(fd, 0, SEEK_END) < 0)
		return -errno;
	return fd;
}

/* The text of the next record that has @word in it, or "". */
static const char *log_find(int fd, const char *word)
{
	static char buf[2048];
	char *text, *end;
	ssize_t n;

	for (;;) {
		n = read(fd, buf, sizeof(buf) - 1);
		/* overwritten before it was read: there are later ones */
		if (n < 0 && errno == EPIPE)
			continue;
		if (n < 0)
			return "";
		buf[n] = '\0';
		/* LEVEL,NUMBER,TIME,FLAGS;TEXT\n, and lines with a key each */
		text = strchr(buf, ';');
		end = text ? strchr(text, '\n') : NULL;
		if (!end)
			continue;
		*end = '\0';
		if (strstr(text, word))
			return text + 1;
	}
}

/* Set a parameter of the module; what it was, or 0. */
static unsigned int swap_param(const char *name, unsigned int value)
{
	char path[128], text[16], buf[32];
	int fd, len;

	snprintf(path, sizeof(path), "/sys/module/chipboot/parameters/%s", name);
	if (cb_slurp(path, buf, sizeof(buf)) <= 0)
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = snprintf(text, sizeof(text), "%u", value);
	if (write(fd, text, (size_t)len) != len)
		buf[0] = '\0';
	close(fd);
	return (unsigned int)strtoul(buf, NULL, 10);
}

#define REFUSED	"chipboot: session of 2 channels refused"

/* Each limit in turn is too low for two channels. */
TEST(refused_sessions)
{
	static const struct {
		const char *param;
		int err;
		const char *line;
	} limit[] = {
		{ "max_channels_per_session", -ERANGE,
		  REFUSED ": max_channels_per_session is 1" },
		{ "max_channels_per_user", -EDQUOT,
		  REFUSED " for user 0: max_channels_per_user is 1" },
		{ "max_channels", -ENOSPC,
		  REFUSED " for user 0: max_channels is 1" },
	};
	int control = cb_open();
	int log = log_open();
	unsigned int i, was;
	int ret;

	ASSERT_LE(0, control);
	ASSERT_LE(0, log);
	for (i = 0; i < ARRAY_SIZE(limit); i++) {
		was = swap_param(limit[i].param, 1);
		ASSERT_LT(1, was);
		ret = cb_create(control, 2, NULL);
		ASSERT_EQ(1, swap_param(limit[i].param, was));
		EXPECT_EQ(limit[i].err, ret);
		EXPECT_STREQ(limit[i].line, log_find(log, "refused"));
	}
	close(log);
	close(control);
}

TEST_HARNESS_MAIN
