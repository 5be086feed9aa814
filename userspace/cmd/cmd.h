/* SPDX-License-Identifier: MIT */
/*
 * What the files of the chipboot command share.
 */
#ifndef CHIPBOOT_CMD_H
#define CHIPBOOT_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <chipboot.h>

/* Exit codes besides 0, the number of failed chips, and 128 + a signal. */
#define EXIT_FAILED_MAX	97
#define EXIT_MISUSE	98
#define EXIT_TIMED_OUT	99
#define EXIT_NO_OWNER	100		/* wait: the launcher is gone */
#define EXIT_NOT_RUN	126		/* join: as a shell has it */
#define EXIT_NOT_FOUND	127

#define NS_PER_S	UINT64_C(1000000000)
#define NS_PER_MS	UINT64_C(1000000)

/*
 * run.c, publish.c, join.c, status.c, observe.c: a subcommand with its own arguments,
 * argv[0] its full name
 */
int command_run(int argc, char **argv);
int command_join(int argc, char **argv);
int command_publish(int argc, char **argv);
int command_progress(int argc, char **argv);
int command_status(int argc, char **argv);
int command_wait(int argc, char **argv);
int command_dump(int argc, char **argv);

/*
 * main.c: "chipboot: ..." on stderr, or to who has taken that over: then it gets the
 * line with its newline.  failed() explains what the library returned, and returns
 * EXIT_MISUSE.
 */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void complain_to(void (*take)(void *who, const char *line, size_t length),
		 void *who);
int complain_of(int error);
/* The same under the name of a subcommand, which has its own exit codes. */
void explain(const char *who, int error);

/* numbers.c: 0, or -EINVAL, -ERANGE and *value as it was */
int parse_u64(const char *text, uint64_t *value);
int parse_s32(const char *text, int32_t *value);
int parse_seconds(const char *text, uint64_t *ns);

/*
 * list.c: "0,2,5-7,8-14:2" as the kernel's cpulists, in the order given.  Returns how
 * many, and *numbers to be freed; or -EINVAL, and *why in words.
 */
int parse_list(const char *text, uint32_t **numbers, const char **why);

/*
 * program.c: the file that execvp() would run in @directory, an open one or AT_FDCWD;
 * to be freed.  NULL: it has complained
 */
char *find_program(const char *name, const char *search, int directory);
/* Runs it; returns the errno if that fails. */
int run_program(const char *program, char **command);

/* escape.c */
#define ESCAPE_KEEPS_COLOUR	0x1	/* SGR sequences and tabs stay */
void escape_to(FILE *out, const char *text, size_t length, unsigned int flags);
char *escape(const char *text);		/* to be freed; NULL without memory */
unsigned int decode_utf8(const unsigned char *text, size_t length,
			 uint32_t *character);
bool is_harmful(uint32_t character);

/* width.c: as much of @text as fits into @columns, what the locale lacks as '?' */
unsigned int put_cut(FILE *out, const char *text, unsigned int columns);

/* clock.c */
uint64_t now_ns(void);			/* this process's CLOCK_MONOTONIC */
uint64_t wall_ns(void);			/* since 1970 */
void put_wall(FILE *out, uint64_t wall);	/* 2026-01-31T11:05:26.123456Z */
void put_age(FILE *out, uint64_t ns);		/* 9.2 s, 41 s */

/* describe.c: "killed by signal 9" and so on */
void put_wait_status(FILE *out, uint16_t status);
void put_untrusted(FILE *out, const char *text);

/* table.c: libsmartcols' tables */
struct column {
	const char *name;
	bool right;			/* numbers */
	bool wraps;			/* in what the terminal has left */
};

struct table;
struct table *table_new(FILE *out, const struct column *columns,
			unsigned int count, unsigned int terminal_columns);
int table_row(struct table *table);
int table_cell(struct table *table, unsigned int column,
	       const char *format, ...) __attribute__((format(printf, 3, 4)));
int table_untrusted(struct table *table, unsigned int column, const char *text);
void table_print(struct table *table);
void table_free(struct table *table);

#endif /* CHIPBOOT_CMD_H */
