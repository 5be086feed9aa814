// SPDX-License-Identifier: MIT
/*
 * chipboot publish and chipboot progress: a shell script's way to answer, through
 * the handles that `chipboot run` left in its environment.
 */
#include <argp.h>
#include <errno.h>
#include <string.h>

#include <chipboot.h>

#include "cmd.h"

/*
 * An answer that came too late or twice is a failure of the script's, not misuse of
 * the command: 1.
 */
static int finish(const char *what, int ret)
{
	if (ret >= 0)
		return 0;
	explain(what, ret);
	switch (ret) {
	case -EALREADY:
	case -ECANCELED:
	case -ESTALE:
		return 1;
	}
	return EXIT_MISUSE;
}

static int take_publisher(const char *what,
			  struct chipboot_publisher **publisher)
{
	return finish(what, chipboot_from_env(publisher, NULL));
}

/* ---- publish success ---- */

struct payload {
	uint64_t device_ctx;
	uint64_t window_base;
	uint64_t window_size;
	uint64_t words[CHIPBOOT_MAX_WORDS];
	uint32_t count;
};

static error_t parse_payload(int key, char *argument, struct argp_state *state)
{
	struct payload *payload = state->input;
	uint64_t number;

	switch (key) {
	case 'd':
	case 'w':
	case 's':
	case 'b':
		if (parse_u64(argument, &number) < 0) {
			argp_error(state,
				   "not a number from 0 to 2^64 - 1: %s",
				   argument);
			return EINVAL;
		}
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument: %s", argument);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	switch (key) {
	case 'd':
		payload->device_ctx = number;
		break;
	case 'w':
		payload->window_base = number;
		break;
	case 's':
		payload->window_size = number;
		break;
	case 'b':
		if (payload->count == CHIPBOOT_MAX_WORDS) {
			argp_error(state, "more than %d buffers",
				   CHIPBOOT_MAX_WORDS);
			return EINVAL;
		}
		payload->words[payload->count++] = number;
		break;
	}
	return 0;
}

static int publish_success(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "device-ctx", 'd', "X", 0, "Device context", 0 },
		{ "window-base", 'w', "X", 0, "Base of the local window", 0 },
		{ "window-size", 's', "X", 0, "Bytes in the window", 0 },
		{ "buffer", 'b', "X", 0,
		  "A buffer pointer; give it as often as needed", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options, .parser = parse_payload,
		.doc = "Answer for this process's chip: it is up.\n"
		       "\013Numbers are decimal, 0x... or 0...; what is left out is 0.",
	};
	struct chipboot_publisher *publisher;
	struct payload payload = { .count = 0 };
	int code;

	if (argp_parse(&argp, argc, argv, 0, NULL, &payload))
		return EXIT_MISUSE;
	code = take_publisher(argv[0], &publisher);
	if (code)
		return code;
	code = finish(argv[0],
		      chipboot_publish_success(publisher, payload.device_ctx,
					       payload.window_base,
					       payload.window_size,
					       payload.words, payload.count));
	chipboot_publisher_close(publisher);
	return code;
}

/* ---- publish error, progress ---- */

/*
 * By hand, not by argp: a code can start with a dash, and so can a text, and neither
 * is an option.  Returns the positional arguments, or NULL after --help (*code 0) or
 * misuse.
 */
static char **positional(int argc, char **argv, int count, const char *usage,
			 int *code)
{
	int first = 1;

	if (argc == 2 && (!strcmp(argv[1], "--help") ||
			  !strcmp(argv[1], "--usage") ||
			  !strcmp(argv[1], "-?"))) {
		printf("Usage: %s %s\n", argv[0], usage);
		*code = 0;
		return NULL;
	}
	if (argc == count + 2 && !strcmp(argv[1], "--"))
		first = 2;
	if (argc - first != count) {
		fprintf(stderr, "Usage: %s %s\n", argv[0], usage);
		*code = EXIT_MISUSE;
		return NULL;
	}
	return argv + first;
}

static int publish_error(int argc, char **argv)
{
	struct chipboot_publisher *publisher;
	char **arguments;
	int32_t error;
	int code;

	arguments = positional(argc, argv, 2, "CODE TEXT", &code);
	if (!arguments)
		return code;
	if (parse_s32(arguments[0], &error) < 0) {
		complain("publish error: not a number from %d to %d: %s",
			 INT32_MIN, INT32_MAX, arguments[0]);
		return EXIT_MISUSE;
	}
	code = take_publisher(argv[0], &publisher);
	if (code)
		return code;
	code = finish(argv[0], chipboot_publish_error(publisher, error,
						      arguments[1]));
	chipboot_publisher_close(publisher);
	return code;
}

int command_progress(int argc, char **argv)
{
	struct chipboot_publisher *publisher;
	char **arguments;
	int code;

	arguments = positional(argc, argv, 1, "TEXT", &code);
	if (!arguments)
		return code;
	code = take_publisher(argv[0], &publisher);
	if (code)
		return code;
	code = finish(argv[0], chipboot_progress(publisher, arguments[0]));
	chipboot_publisher_close(publisher);
	return code;
}

int command_publish(int argc, char **argv)
{
	static char success[] = "chipboot publish success";
	static char error[] = "chipboot publish error";
	static const char usage[] =
		"Usage: chipboot publish success [--device-ctx X] [--window-base X] [--window-size X] [--buffer X]...\n"
		"       chipboot publish error CODE TEXT\n";

	if (argc >= 2 && !strcmp(argv[1], "success")) {
		argv[1] = success;
		return publish_success(argc - 1, argv + 1);
	}
	if (argc >= 2 && !strcmp(argv[1], "error")) {
		argv[1] = error;
		return publish_error(argc - 1, argv + 1);
	}
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	fputs(usage, stderr);
	return EXIT_MISUSE;
}
