// SPDX-License-Identifier: MIT
/*
 * The arguments of chipboot run.  What is wrong with them is said before anything is
 * created.
 *
 * Called by run.c.
 */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define DEFAULT_KILL_AFTER_NS (5 * NS_PER_S)

enum {
	OPTION_TIMEOUT = 256,
	OPTION_KILL_AFTER,
	OPTION_FAIL_FAST,
	OPTION_KEEP_GOING,
	OPTION_CHIPS,
	OPTION_ENV,
	OPTION_CWD,
	OPTION_OUTPUT_DIR,
	OPTION_SOCKET,
	OPTION_JOIN,
	OPTION_JSON,
};

static error_t add_variable(struct run *run, char *text,
			    struct argp_state *state)
{
	char *equals = strchr(text, '=');
	char **more;

	if (!equals || equals == text) {
		argp_error(state, "not NAME=VALUE: --env %s", text);
		return EINVAL;
	}
	if (!strncmp(text, "CHIPBOOT_", 9)) {
		argp_error(state,
			   "--env %s: variables CHIPBOOT_* are the launcher's",
			   text);
		return EINVAL;
	}
	more = realloc(run->variables,
		       (run->variable_count + 2) * sizeof(*more));
	if (!more)
		return ENOMEM;
	run->variables = more;
	run->variables[run->variable_count++] = text;
	run->variables[run->variable_count] = NULL;
	return 0;
}

static error_t take_list(const char *option, const char *text,
			 uint32_t **numbers, uint32_t *count,
			 struct argp_state *state)
{
	const char *why;
	int ret = parse_list(text, numbers, &why);

	if (ret < 0) {
		argp_error(state, "%s %s %s", option, text, why);
		return EINVAL;
	}
	*count = ret;
	return 0;
}

/* Every chip of --join must be one of the run's. */
static const char *check_join(const struct run *run)
{
	uint32_t i, j;

	for (i = 0; i < run->join_count; i++) {
		bool found = !run->numbers &&
			     run->join_numbers[i] < run->channels;

		for (j = 0; run->numbers && j < run->channels && !found; j++)
			found = run->numbers[j] == run->join_numbers[i];
		if (!found)
			return "--join names a chip that is not in this run";
	}
	return NULL;
}

static const char *check(const struct run *run)
{
	if (!run->channels)
		return "how many chips? -n N or --chips LIST";
	if (run->join_count && !run->socket_path)
		return "--join needs --socket PATH";
	if (!run->command && !run->socket_path)
		return "no command to run";
	if (!run->command && (run->output_dir || run->variables ||
			      run->directory || run->join_count))
		return "--env, --cwd, --output-dir and --join are for a command, and there is none";
	if (run->command && run->socket_path && !run->join_count)
		return "with a command, --socket needs --join LIST: which chips come by the socket";
	return check_join(run);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct run *run = state->input;
	const char *wrong;
	uint64_t number;

	switch (key) {
	case 'n':
		if (run->channels)
			argp_error(state, "-n and --chips: one of them, once");
		if (parse_u64(argument, &number) < 0 || !number ||
		    number > UINT32_MAX) {
			argp_error(state, "not a number of chips: %s",
				   argument);
			return EINVAL;
		}
		run->channels = number;
		return 0;
	case OPTION_CHIPS:
		if (run->channels)
			argp_error(state, "-n and --chips: one of them, once");
		return take_list("--chips", argument, &run->numbers,
				 &run->channels, state);
	case OPTION_JOIN:
		return take_list("--join", argument, &run->join_numbers,
				 &run->join_count, state);
	case OPTION_TIMEOUT:
		if (parse_seconds(argument, &run->timeout_ns) < 0 ||
		    !run->timeout_ns) {
			argp_error(state, "not a time in seconds: --timeout %s",
				   argument);
			return EINVAL;
		}
		return 0;
	case OPTION_KILL_AFTER:
		if (parse_seconds(argument, &run->kill_after_ns) < 0) {
			argp_error(state,
				   "not a time in seconds: --kill-after %s",
				   argument);
			return EINVAL;
		}
		return 0;
	case OPTION_FAIL_FAST:
		run->keep_going = false;
		return 0;
	case OPTION_KEEP_GOING:
		run->keep_going = true;
		return 0;
	case OPTION_ENV:
		return add_variable(run, argument, state);
	case OPTION_CWD:
		run->directory = argument;
		return 0;
	case OPTION_OUTPUT_DIR:
		run->output_dir = argument;
		return 0;
	case OPTION_SOCKET:
		run->socket_path = argument;
		return 0;
	case OPTION_JSON:
		run->json = true;
		return 0;
	case 'q':
		run->quiet = true;
		return 0;
	case ARGP_KEY_ARG:
		run->command = state->argv + state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		wrong = check(run);
		if (wrong) {
			argp_error(state, "%s", wrong);
			return EINVAL;
		}
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp_option options[] = {
	{ "number", 'n', "N", 0, "Chips 0 to N - 1, one process each", 0 },
	{ "chips", OPTION_CHIPS, "LIST", 0,
	  "These chips, like 0,2,5-7; the first is channel 0, and so on", 0 },
	{ "timeout", OPTION_TIMEOUT, "SECONDS", 0,
	  "By when all must have answered (default: never)", 0 },
	{ "fail-fast", OPTION_FAIL_FAST, NULL, 0,
	  "Stop all when one fails (default)", 0 },
	{ "keep-going", OPTION_KEEP_GOING, NULL, 0,
	  "Let the others go on when one fails; only those that miss --timeout are stopped",
	  0 },
	{ "kill-after", OPTION_KILL_AFTER, "SECONDS", 0,
	  "From SIGTERM, or a forwarded signal, to SIGKILL (default: 5)", 0 },
	{ "env", OPTION_ENV, "NAME=VALUE", 0,
	  "Set a variable for the processes; give it as often as needed", 0 },
	{ "cwd", OPTION_CWD, "DIR", 0, "Start the processes in DIR", 0 },
	{ "output-dir", OPTION_OUTPUT_DIR, "DIR", 0,
	  "Write the processes' output to DIR/chip-N.log instead of passing it on with a label",
	  0 },
	{ "socket", OPTION_SOCKET, "PATH", 0,
	  "Let runtime processes from elsewhere join at PATH (chipboot join)", 0 },
	{ "join", OPTION_JOIN, "LIST", 0,
	  "With a command: these chips are not started, they join", 0 },
	{ "json", OPTION_JSON, NULL, 0,
	  "On stdout a JSON object per event and a summary; the processes' output goes to stderr",
	  0 },
	{ "quiet", 'q', NULL, 0,
	  "Say who fails and how it ended, not each event; no live table", 0 },
	{ 0 }
};

static const char doc[] =
	"Start one runtime process per chip, wait for an answer from each, stay with them.\n"
	"\013Each process finds CHIPBOOT_CHANNEL (its number among CHIPBOOT_CHANNELS),\n"
	"CHIPBOOT_CHIP (the chip's number in --chips), CHIPBOOT_PUBLISHER_FD and\n"
	"CHIPBOOT_OBSERVER_FD in its environment, and answers by libchipboot or\n"
	"`chipboot publish'.\n"
	"\n"
	"SIGINT, SIGTERM, SIGHUP and SIGQUIT are forwarded and end the run; a second\n"
	"one kills at once. SIGUSR1 and SIGUSR2 are forwarded. If this launcher itself\n"
	"is killed, so are the processes.\n"
	"\n"
	"Exit status: 0; the number of failed chips (97 at most); 98 misuse or no\n"
	"device; 99 time-out; 128 + n on signal n.";

static const struct argp argp = {
	.options = options, .parser = parse, .args_doc = "-- CMD ARGS...",
	.doc = doc,
};

int run_arguments(int argc, char **argv, struct run *run)
{
	run->kill_after_ns = DEFAULT_KILL_AFTER_NS;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, run))
		return EXIT_MISUSE;
	return 0;
}
