/* SPDX-License-Identifier: MIT */
/*
 * What the files of the chipboot command share.
 */
#ifndef CHIPBOOT_CMD_H
#define CHIPBOOT_CMD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes besides 0, the number of failed chips, and 128 + a signal. */
#define EXIT_FAILED_MAX	97
#define EXIT_MISUSE	98
#define EXIT_TIMED_OUT	99

/* run.c, publish.c: a subcommand with its own arguments, argv[0] its full name */
int command_run(int argc, char **argv);
int command_publish(int argc, char **argv);
int command_progress(int argc, char **argv);

/* main.c: "chipboot: ..." on stderr */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* numbers.c: 0, or -EINVAL, -ERANGE and *value as it was */
int parse_u64(const char *text, uint64_t *value);
int parse_s32(const char *text, int32_t *value);
int parse_seconds(const char *text, uint64_t *ns);

/* escape.c: to be freed; NULL without memory */
char *escape(const char *text);

/* table.c */
struct row {
	uint32_t chip;
	const char *state;
	int32_t code;
	bool has_code;
	const char *origin;
	uint64_t after_ns;		/* since the start */
	bool has_time;
	const char *message;		/* untrusted */
};

struct table;
struct table *table_new(FILE *out);
int table_add(struct table *table, const struct row *row);
void table_print(struct table *table);
void table_free(struct table *table);

#endif /* CHIPBOOT_CMD_H */
