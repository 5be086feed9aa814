// SPDX-License-Identifier: MIT
/*
 * chipboot join: becomes a runtime process of a run that is somebody else's child: in
 * another container, a Slurm step, a unit of its own.
 *
 * The other side is door.c.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd.h"
#include "join.h"

struct join {
	const char *path;
	uint32_t chip;
	char **command;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct join *join = state->input;
	uint64_t number;

	switch (key) {
	case 'c':
		if (parse_u64(argument, &number) < 0 || number > INT32_MAX) {
			argp_error(state, "not a chip's number: %s", argument);
			return EINVAL;
		}
		join->chip = number;
		return 0;
	case ARGP_KEY_ARG:
		if (!join->path) {
			join->path = argument;
			return 0;
		}
		join->command = state->argv + state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!join->path)
			argp_error(state, "which socket?");
		else if (!join->command)
			argp_error(state, "no command to run");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp_option options[] = {
	{ "chip", 'c', "N", 0, "This chip (default: the first that is free)", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = options, .parser = parse, .args_doc = "SOCKET -- CMD ARGS...",
	.doc = "Become a runtime process of the run at SOCKET (chipboot run --socket).\n"
	       "\013The command takes this process's place and finds what chipboot run's own\n"
	       "processes find in their environment. Its death is watched, and if the\n"
	       "launcher dies it is killed. Only the launcher's user and root may join.\n"
	       "\n"
	       "Exit status: the command's; 98 misuse, or it could not join; 127 the\n"
	       "command was not found, 126 it could not be executed.",
};

static int dial(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		complain("%s: a socket's path has at most %zu bytes", path,
			 sizeof(address.sun_path) - 1);
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address,
			       sizeof(address)) == 0)
		return fd;
	complain("cannot join at %s: %s", path, errno == ECONNREFUSED ?
		 "no launcher listens there any more" :
		 errno == EACCES ? "only the launcher's user and root may" :
		 strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int ask(int fd, const struct join *join, struct join_answer *answer)
{
	struct join_hello hello = {
		.magic = { 'c', 'h', 'i', 'p', 'j', 'o', 'i', 'n' },
		.version = JOIN_VERSION, .chip = join->chip,
	};

	if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello) ||
	    recv(fd, answer, sizeof(*answer), 0) != sizeof(*answer) ||
	    answer->version != JOIN_VERSION) {
		complain("cannot join at %s: what listens there does not answer like chipboot run",
			 join->path);
		return -1;
	}
	if (!answer->accepted) {
		answer->why[sizeof(answer->why) - 1] = '\0';
		complain("cannot join at %s: %s", join->path, answer->why);
		return -1;
	}
	return 0;
}

static int become_runtime(int fd, const struct join *join, const char *program,
			  uint32_t chip)
{
	struct chipboot_publisher *publisher, *none;
	struct chipboot_observer *observer, *nothing;
	char text[512];
	int ret, error;

	ret = chipboot_receive(fd, &none, &observer);
	if (!ret)
		ret = chipboot_receive(fd, &publisher, &nothing);
	if (ret < 0)
		return complain_of(ret);
	if (none || nothing || !observer || !publisher)
		return complain_of(-EBADMSG);
	ret = chipboot_publisher_bind(publisher, 0, SIGKILL);
	if (!ret)
		ret = chipboot_exec_prepare(publisher, observer);
	snprintf(text, sizeof(text), "%u", chip);
	if (ret < 0)
		return complain_of(ret);
	setenv("CHIPBOOT_CHIP", text, 1);
	error = run_program(program, join->command);
	snprintf(text, sizeof(text), "cannot execute %s: %s", program,
		 strerror(error));
	chipboot_publish_error(publisher, error, text);
	complain("%s", text);
	return EXIT_NOT_RUN;
}

int command_join(int argc, char **argv)
{
	struct join join = { .chip = JOIN_ANY_CHIP };
	struct join_answer answer;
	char *program;
	int fd;

	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &join))
		return EXIT_MISUSE;
	/* Before it has a chip that would fail. */
	program = find_program(join.command[0], getenv("PATH"), AT_FDCWD);
	if (!program)
		return EXIT_NOT_FOUND;
	fd = dial(join.path);
	if (fd < 0)
		return EXIT_MISUSE;
	if (ask(fd, &join, &answer) < 0)
		return EXIT_MISUSE;
	return become_runtime(fd, &join, program, answer.chip);
}
