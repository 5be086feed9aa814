// SPDX-License-Identifier: MIT
/*
 * The chipboot command: finds the subcommand, and answers --help and --version.
 */
#include <argp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <locale.h>
#include <string.h>

#include <chipboot.h>

#include "cmd.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", command_run },
	{ "join", command_join },
	{ "publish", command_publish },
	{ "progress", command_progress },
	{ "status", command_status },
	{ "wait", command_wait },
	{ "dump", command_dump },
};

/* \013 is the vertical tab that ends what argp prints before the options. */
static const char doc[] =
	"Start one runtime process per chip and collect one answer from each.\n"
	"\013Commands:\n"
	"  run -n N -- CMD ARGS...   start N runtime processes, wait for their answers\n"
	"  join SOCKET -- CMD ARGS.. become a runtime process of a run elsewhere\n"
	"  publish success [...]     answer for this process's chip: it is up\n"
	"  publish error CODE TEXT   answer for this process's chip: it is not\n"
	"  progress TEXT             say what this process's chip is doing\n"
	"  wait --all                wait, in a runtime process, for the peers' answers\n"
	"  dump CHANNEL              show one channel's whole answer\n"
	"  status                    show the sessions on this host\n"
	"\n"
	"chipboot COMMAND --help says more.";

static void (*take_complaint)(void *who, const char *line, size_t length);
static void *complaint_taker;

void complain_to(void (*take)(void *who, const char *line, size_t length),
		 void *who)
{
	take_complaint = take;
	complaint_taker = who;
}

void complain(const char *format, ...)
{
	va_list arguments;
	char *text;
	char *line;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	length = asprintf(&line, "chipboot: %s\n", text);
	free(text);
	if (length < 0)
		return;
	if (take_complaint)
		take_complaint(complaint_taker, line, length);
	else
		fputs(line, stderr);
	free(line);
}

int complain_of(int error)
{
	char text[512];

	complain("%s", chipboot_explain(error, text, sizeof(text)));
	return EXIT_MISUSE;
}

void explain(const char *who, int error)
{
	char text[512];

	fprintf(stderr, "%s: %s\n", who,
		chipboot_explain(error, text, sizeof(text)));
}

/* What is installed here, and what is loaded in the kernel. */
static void print_version(FILE *stream, struct argp_state *state)
{
	struct chipboot_versions versions;
	char text[512];
	int ret = chipboot_get_versions(&versions);

	(void)state;
	fprintf(stream, "chipboot %s (kernel interface %u)\n",
		versions.library, versions.library_abi);
	if (ret < 0)
		fprintf(stream, "module: %s\n",
			chipboot_explain(ret, text, sizeof(text)));
	else
		fprintf(stream, "module %s loaded (kernel interface %u%s)\n",
			versions.module, versions.module_abi,
			versions.module_abi > versions.library_abi ?
			": newer, which is fine" : "");
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	char *name;
	size_t i;

	switch (key) {
	case ARGP_KEY_ARG:
		for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
			int first = state->next - 1;
			int rest = state->argc - first;

			if (strcmp(argument, commands[i].name))
				continue;
			if (asprintf(&name, "chipboot %s", argument) < 0)
				return ENOMEM;
			state->argv[first] = name;
			*(int *)state->input =
				commands[i].run(rest, state->argv + first);
			free(name);
			state->next = state->argc;
			return 0;
		}
		argp_error(state, "unknown command: %s", argument);
		return EINVAL;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return EINVAL;
	}
	return ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse, .args_doc = "COMMAND [ARG...]", .doc = doc,
	};
	int code = EXIT_MISUSE;

	/* For the width of characters in the table; numbers stay the C locale's. */
	setlocale(LC_CTYPE, "");
	argp_program_version_hook = print_version;
	argp_err_exit_status = EXIT_MISUSE;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &code))
		return EXIT_MISUSE;
	return code;
}
