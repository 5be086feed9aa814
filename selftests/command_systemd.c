// SPDX-License-Identifier: MIT
/*
 * chipboot run as a systemd unit of Type=notify: the protocol, on a real datagram socket.
 *
 * vm: --cpus 2 --timeout 1200
 */
#include "command_test.h"

#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 900

/* What the manager gets, in order: each message ends with '|'. */
struct manager {
	int socket;
	pid_t launcher;
	bool ended;
	int status;
	char all[1 << 14];
	size_t used;
};

static void set_notify(const void *name)
{
	setenv("NOTIFY_SOCKET", name, 1);
}

static void take(struct manager *manager)
{
	struct pollfd fd = { .fd = manager->socket, .events = POLLIN };
	ssize_t got;

	while (poll(&fd, 1, manager->ended ? 0 : 100) > 0) {
		got = recv(manager->socket, manager->all + manager->used,
			   sizeof(manager->all) - manager->used - 2, 0);
		if (got <= 0)
			return;
		manager->used += got;
		manager->all[manager->used++] = '|';
		manager->all[manager->used] = '\0';
	}
}

/* Until the launcher has ended, or all of @text has come. */
static bool listen_for(struct manager *manager, const char *text)
{
	while (!manager->ended) {
		manager->ended = waitpid(manager->launcher, &manager->status,
					 WNOHANG) == manager->launcher;
		take(manager);
		if (text && strstr(manager->all, text))
			return true;
	}
	return false;
}

/* @name: a path, or "@name" for one of the abstract kind. */
static void manage(struct __test_metadata *_metadata, struct manager *manager,
		   const char *name, const char *const argv[])
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(name) +
			   (*name == '/');

	*manager = (struct manager) {
		.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
	};
	memcpy(address.sun_path, name, strlen(name));
	if (*name == '@')
		address.sun_path[0] = '\0';
	else
		unlink(name);
	ASSERT_EQ(bind(manager->socket, (struct sockaddr *)&address, length), 0);
	manager->launcher = start(argv, -1, -1, set_notify, name);
	ASSERT_GT(manager->launcher, 0);
}

static void finish(struct manager *manager)
{
	listen_for(manager, NULL);
	close(manager->socket);
}

FIXTURE(unit) {
	struct manager manager;
};

FIXTURE_SETUP(unit)
{
}

FIXTURE_TEARDOWN(unit)
{
	if (!__test_passed(_metadata))
		TH_LOG("messages: %s", self->manager.all);
}

static int occurrences(const char *all, const char *text)
{
	int count = 0;

	while ((all = strstr(all, text))) {
		count++;
		all += strlen(text);
	}
	return count;
}

/* The processes do not have the manager's socket: the first one would fail. */
TEST_F(unit, all_come_up)
{
	static const char script[] =
		"[ -z \"$NOTIFY_SOCKET\" ] || exit 9; chipboot progress a; "
		"[ $CHIPBOOT_CHANNEL = 1 ] && sleep 5; chipboot publish success";
	static const char *const argv[] = {
		"chipboot", "run", "-n", "2", "--", "sh", "-c", script, NULL,
	};
	struct manager *manager = &self->manager;
	const char *up, *ready;

	manage(_metadata, manager, "/tmp/notify", argv);
	finish(manager);
	EXPECT_EQ(manager->status, 0);
	up = strstr(manager->all, "STATUS=1/2 chips up|");
	ready = strstr(manager->all, "READY=1\nSTATUS=2/2 chips up|");
	ASSERT_NE(up, NULL);
	ASSERT_NE(ready, NULL);
	EXPECT_LT(up, ready);
	EXPECT_EQ(occurrences(manager->all, "READY=1"), 1);
	EXPECT_NE(strstr(manager->all, "|EXTEND_TIMEOUT_USEC=30000000|"), NULL);
	EXPECT_EQ(strstr(manager->all, "ERRNO="), NULL);
}

TEST_F(unit, one_fails)
{
	static const char script[] =
		"[ $CHIPBOOT_CHANNEL = 1 ] && chipboot publish error 19 'device not found'; "
		"sleep 1000";
	static const char *const argv[] = {
		"chipboot", "run", "-n", "2", "--", "sh", "-c", script, NULL,
	};
	struct manager *manager = &self->manager;

	manage(_metadata, manager, "@chipboot-notify", argv);
	finish(manager);
	EXPECT_EQ(WEXITSTATUS(manager->status), 1);
	EXPECT_EQ(strstr(manager->all, "READY=1"), NULL);
	EXPECT_NE(strstr(manager->all, "STOPPING=1\nEXTEND_TIMEOUT_USEC="), NULL);
	EXPECT_NE(strstr(manager->all,
			 "STATUS=1 of 2 chips failed: [1]; first: chip 1 after "), NULL);
	EXPECT_NE(strstr(manager->all, "error 19: device not found\nERRNO=19|"),
		  NULL);
}

/*
 * Whether an extension comes is up to the progress, not to the time: what hangs has one,
 * for its start, and none in its four seconds of silence.
 */
TEST_F(unit, one_hangs)
{
	static const char script[] =
		"[ $CHIPBOOT_CHANNEL = 0 ] && chipboot publish success; exec sleep 1000";
	static const char *const argv[] = {
		"chipboot", "run", "-n", "2", "--timeout", "6", "--", "sh", "-c",
		script, NULL,
	};
	struct manager *manager = &self->manager;
	char *silence;

	manage(_metadata, manager, "/tmp/notify", argv);
	ASSERT_TRUE(listen_for(manager, "STATUS=1/2 chips up|"));
	silence = manager->all + manager->used;
	finish(manager);
	EXPECT_EQ(WEXITSTATUS(manager->status), 99);
	EXPECT_LE(occurrences(silence, "EXTEND_TIMEOUT_USEC=30000000|"), 1);
	EXPECT_EQ(strstr(manager->all, "READY=1"), NULL);
	EXPECT_NE(strstr(manager->all, "STATUS=timed out after 6 s: chips [1] pending; "
			 "chip 1: no progress reported\nERRNO=110|"), NULL);
}

/* One chip speaks for longer than a manager's patience would be: it is asked for more. */
TEST_F(unit, progress_extends)
{
	static const char script[] =
		"for i in 1 2 3 4 5 6; do chipboot progress \"step $i\"; sleep 1.5; done; "
		"chipboot publish success";
	static const char *const argv[] = {
		"chipboot", "run", "-n", "1", "--", "sh", "-c", script, NULL,
	};
	struct manager *manager = &self->manager;

	manage(_metadata, manager, "/tmp/notify", argv);
	finish(manager);
	EXPECT_EQ(manager->status, 0);
	EXPECT_GE(occurrences(manager->all, "EXTEND_TIMEOUT_USEC=30000000|"), 3);
}

TEST_F(unit, one_dies_after_all_were_up)
{
	static const char script[] =
		"chipboot publish success; "
		"[ $CHIPBOOT_CHANNEL = 1 ] && chipboot wait --all && kill -KILL $$; "
		"exec sleep 1000";
	static const char *const argv[] = {
		"chipboot", "run", "-n", "2", "--", "sh", "-c", script, NULL,
	};
	struct manager *manager = &self->manager;

	manage(_metadata, manager, "/tmp/notify", argv);
	finish(manager);
	EXPECT_EQ(WEXITSTATUS(manager->status), 1);
	EXPECT_NE(strstr(manager->all,
			 "STATUS=1 of 2 chips failed: [1]; first: chip 1 gone after "),
		  NULL);
	/* No errno of its own. */
	EXPECT_NE(strstr(manager->all, "killed by signal 9\nERRNO=5|"), NULL);
}

TEST_F(unit, the_manager_stops_it)
{
	static const char *const argv[] = {
		"chipboot", "run", "-n", "2", "--kill-after", "7", "--", "sh", "-c",
		"chipboot publish success; exec sleep 1000", NULL,
	};
	struct manager *manager = &self->manager;

	manage(_metadata, manager, "/tmp/notify", argv);
	ASSERT_TRUE(listen_for(manager, "READY=1"));
	kill(manager->launcher, SIGTERM);
	finish(manager);
	EXPECT_EQ(WEXITSTATUS(manager->status), 128 + SIGTERM);
	EXPECT_NE(strstr(manager->all, "STOPPING=1\nEXTEND_TIMEOUT_USEC=37000000|"),
		  NULL);
	EXPECT_NE(strstr(manager->all,
			 "STATUS=stopped by signal 15 (Terminated): 2 of 2 chips were up|"),
		  NULL);
	EXPECT_EQ(strstr(manager->all, "ERRNO="), NULL);
}

/* A manager that is not there costs a line, not the run. */
TEST_F(unit, no_manager)
{
	static const char *const argv[] = {
		"chipboot", "run", "-n", "1", "--", "chipboot", "publish", "success", NULL,
	};
	static const char *const names[] = { "/tmp/nobody", "vsock:2:1234", "@nobody" };
	char said[4096];
	int fds[2], status;
	ssize_t length;
	size_t i, used;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(pipe(fds), 0);
		ASSERT_EQ(waitpid(start(argv, fds[1], fds[1], set_notify, names[i]), &status,
				  0) > 0, 1);
		close(fds[1]);
		for (used = 0; (length = read(fds[0], said + used,
					      sizeof(said) - 1 - used)) > 0;)
			used += length;
		said[used] = '\0';
		close(fds[0]);
		EXPECT_EQ(status, 0);
		EXPECT_NE(strstr(said, "chipboot: NOTIFY_SOCKET="), NULL);
		EXPECT_NE(strstr(said, "going on without\n"), NULL);
	}
}

TEST_HARNESS_MAIN
