// SPDX-License-Identifier: MIT
/*
 * chipboot wait and chipboot dump: looking at the session from within a runtime
 * process, through the observer in its environment.
 */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

/* The arguments, and the observer to look through; NULL: it has complained. */
static struct chipboot_observer *begin(const struct argp *argp, int argc,
				       char **argv, void *arguments)
{
	struct chipboot_observer *observer;
	int ret;

	if (argp_parse(argp, argc, argv, 0, NULL, arguments))
		return NULL;
	ret = chipboot_from_env(NULL, &observer);
	if (ret < 0) {
		explain(argv[0], ret);
		return NULL;
	}
	return observer;
}

/* ---- wait ---- */

enum { OPTION_ALL = 256, OPTION_ANY, OPTION_COUNT, OPTION_TIMEOUT };

struct wait {
	int goals;
	uint32_t count;
	int64_t timeout_ns;
};

static error_t parse_wait(int key, char *argument, struct argp_state *state)
{
	struct wait *wait = state->input;
	uint64_t number;

	switch (key) {
	case OPTION_ALL:
		wait->count = CHIPBOOT_ALL;
		wait->goals++;
		return 0;
	case OPTION_ANY:
		wait->count = 1;
		wait->goals++;
		return 0;
	case OPTION_COUNT:
		if (parse_u64(argument, &number) < 0 || !number ||
		    number > INT32_MAX) {
			argp_error(state, "not a number of chips: --count %s",
				   argument);
			return EINVAL;
		}
		wait->count = number;
		wait->goals++;
		return 0;
	case OPTION_TIMEOUT:
		if (parse_seconds(argument, &number) < 0) {
			argp_error(state, "not a time in seconds: --timeout %s",
				   argument);
			return EINVAL;
		}
		wait->timeout_ns = number;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument: %s", argument);
		return EINVAL;
	case ARGP_KEY_END:
		if (wait->goals != 1)
			argp_error(state,
				   "one of --all, --any and --count K");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int failed_chips(const struct chipboot_observer *observer)
{
	uint32_t n = chipboot_observer_channels(observer);
	uint32_t failed = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		failed += chipboot_state(observer, i) == CHIPBOOT_STATE_ERROR;
	return failed > EXIT_FAILED_MAX ? EXIT_FAILED_MAX : failed;
}

int command_wait(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "all", OPTION_ALL, NULL, 0, "For every chip's answer", 0 },
		{ "any", OPTION_ANY, NULL, 0, "For the first answer", 0 },
		{ "count", OPTION_COUNT, "K", 0, "For K answers", 0 },
		{ "timeout", OPTION_TIMEOUT, "SECONDS", 0,
		  "At most so long; 0 looks only (default: no limit)", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options, .parser = parse_wait,
		.doc = "Wait, in a runtime process, until chips have answered.\n"
		       "\013Exit status: 0; the number of chips that have failed (97 at most); 98\n"
		       "misuse; 99 not in time; 100 the launcher is gone.",
	};
	struct wait wait = { .timeout_ns = CHIPBOOT_FOREVER };
	struct chipboot_observer *observer;
	int ret;

	observer = begin(&argp, argc, argv, &wait);
	if (!observer)
		return EXIT_MISUSE;
	ret = chipboot_wait(observer, wait.count, wait.timeout_ns, 0, 0);
	if (ret >= 0)
		return failed_chips(observer);
	explain(argv[0], ret);
	return ret == -ETIMEDOUT ? EXIT_TIMED_OUT :
	       ret == -EOWNERDEAD ? EXIT_NO_OWNER : EXIT_MISUSE;
}

/* ---- dump ---- */

struct dump {
	uint32_t channel;
	bool has_channel;
	bool json;
};

static error_t parse_dump(int key, char *argument, struct argp_state *state)
{
	struct dump *dump = state->input;
	uint64_t number;

	switch (key) {
	case 'j':
		dump->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (dump->has_channel || parse_u64(argument, &number) < 0 ||
		    number > INT32_MAX) {
			argp_error(state, "not one channel's number: %s",
				   argument);
			return EINVAL;
		}
		dump->channel = number;
		dump->has_channel = true;
		return 0;
	case ARGP_KEY_END:
		if (!dump->has_channel)
			argp_error(state, "which channel?");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static void dump_text(const struct chipboot_answer *answer, uint32_t channel,
		      const struct chipboot_channel *info, uint64_t now)
{
	int i;

	printf("channel:     %u\n", channel);
	printf("state:       %s\n", chipboot_state_name(answer->state));
	printf("by:          %s\n", chipboot_origin_name(answer->origin));
	printf("generation:  %u\n", answer->generation);
	printf("pid:         %d%s\n", info->pid, info->bound ? " (bound)" : "");
	if (answer->order)
		printf("order:       %u\n", answer->order);
	if (answer->updated_ns) {
		printf("changed:     ");
		put_age(stdout, now - answer->updated_ns);
		printf(" ago\n");
	}
	if (answer->state == CHIPBOOT_STATE_ERROR)
		printf("code:        %d\n", answer->error_code);
	if (answer->flags & CHIPBOOT_HAS_STATUS) {
		printf("process:     ");
		put_wait_status(stdout, answer->wait_status);
		printf("%s\n", answer->flags & CHIPBOOT_OOM_KILLED ?
		       " (out of memory)" : "");
	}
	if (answer->message[0]) {
		printf("message:     ");
		put_untrusted(stdout, answer->message);
		printf("\n");
	}
	if (answer->state != CHIPBOOT_STATE_SUCCESS)
		return;
	printf("device_ctx:  0x%llx\n", (unsigned long long)answer->device_ctx);
	printf("window_base: 0x%llx\n", (unsigned long long)answer->window_base);
	printf("window_size: %llu\n", (unsigned long long)answer->window_size);
	for (i = 0; i < answer->count; i++)
		printf("buffer %d:    0x%llx\n", i,
		       (unsigned long long)answer->words[i]);
}

static void dump_json(const struct chipboot_answer *answer, uint32_t channel,
		      const struct chipboot_channel *info, uint64_t now)
{
	struct json_object *object = json_object_new_object();
	size_t length;
	char *line;

	json_put_number(object, "channel", channel);
	json_put_text(object, "state", chipboot_state_name(answer->state));
	json_put_text(object, "by", chipboot_origin_name(answer->origin));
	json_put_number(object, "generation", answer->generation);
	json_put_number(object, "order", answer->order);
	json_put_number(object, "pid", info->pid);
	json_put(object, "bound", json_object_new_boolean(info->bound));
	json_put(object, "age_ns", answer->updated_ns ?
		 json_object_new_uint64(now - answer->updated_ns) : NULL);
	json_put(object, "code", json_object_new_int(answer->error_code));
	json_put_text(object, "message", answer->message);
	json_put(object, "gone",
		 json_object_new_boolean(answer->flags & CHIPBOOT_IS_GONE));
	if (answer->flags & CHIPBOOT_HAS_STATUS)
		json_put_status(object, answer->wait_status);
	json_put_payload(object, answer);
	line = json_line(object, &length);
	if (line)
		fputs(line, stdout);
	free(line);
}

int command_dump(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "As a JSON object", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options, .parser = parse_dump,
		.args_doc = "CHANNEL",
		.doc = "Show one channel's whole answer, in a runtime process.\n"
		       "\013Exit status: 0; 98 misuse, or no such channel.",
	};
	struct dump dump = { .json = false };
	struct chipboot_channel info;
	struct chipboot_observer *observer;
	struct chipboot_answer answer;
	struct chipboot_info session;
	int ret;

	observer = begin(&argp, argc, argv, &dump);
	if (!observer)
		return EXIT_MISUSE;
	ret = chipboot_read(observer, dump.channel, &answer);
	if (ret >= 0)
		ret = chipboot_channel_info(observer, dump.channel, &info);
	if (ret >= 0)
		ret = chipboot_observer_info(observer, 0, &session);
	if (ret < 0) {
		explain(argv[0], ret);
		return EXIT_MISUSE;
	}
	if (dump.json)
		dump_json(&answer, dump.channel, &info, session.now_ns);
	else
		dump_text(&answer, dump.channel, &info, session.now_ns);
	return fflush(stdout) ? EXIT_MISUSE : 0;
}
