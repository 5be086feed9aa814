// SPDX-License-Identifier: MIT
/*
 * The table of every chip's answer.
 *
 * Called by run.c.
 */
#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd.h"

enum column { CHIP, STATE, CODE, ORIGIN, AFTER, MESSAGE, COLUMNS };

struct table {
	struct libscols_table *lines;
};

struct table *table_new(FILE *out)
{
	static const struct {
		const char *name;
		double width;
		int flags;
	} columns[COLUMNS] = {
		[CHIP] = { "CHIP", 1, SCOLS_FL_RIGHT },
		[STATE] = { "STATE", 1, 0 },
		[CODE] = { "CODE", 1, SCOLS_FL_RIGHT },
		[ORIGIN] = { "BY", 1, 0 },
		[AFTER] = { "AFTER", 1, SCOLS_FL_RIGHT },
		[MESSAGE] = { "MESSAGE", 0.5, SCOLS_FL_WRAP },
	};
	struct table *table = calloc(1, sizeof(*table));
	size_t i;

	if (!table)
		return NULL;
	table->lines = scols_new_table();
	if (!table->lines)
		goto fail;
	scols_table_set_stream(table->lines, out);
	/* In a file or a pipe lines are as long as they are. */
	scols_table_set_termforce(table->lines, isatty(fileno(out)) ?
				  SCOLS_TERMFORCE_AUTO :
				  SCOLS_TERMFORCE_NEVER);
	for (i = 0; i < COLUMNS; i++)
		if (!scols_table_new_column(table->lines, columns[i].name,
					    columns[i].width,
					    columns[i].flags))
			goto fail;
	return table;

fail:
	table_free(table);
	return NULL;
}

/* The column gets @text, which this frees. */
static int set(struct libscols_line *line, enum column column, char *text)
{
	if (!text)
		return -ENOMEM;
	return scols_line_refer_data(line, column, text);
}

__attribute__((format(printf, 3, 4)))
static int setf(struct libscols_line *line, enum column column,
		const char *format, ...)
{
	va_list arguments;
	char *text;
	int ret;

	va_start(arguments, format);
	ret = vasprintf(&text, format, arguments);
	va_end(arguments);
	return ret < 0 ? -ENOMEM : set(line, column, text);
}

int table_add(struct table *table, const struct row *row)
{
	struct libscols_line *line = scols_table_new_line(table->lines, NULL);
	int ret;

	if (!line)
		return -ENOMEM;
	ret = setf(line, CHIP, "%u", row->chip);
	if (!ret)
		ret = setf(line, STATE, "%s", row->state);
	if (!ret && row->has_code)
		ret = setf(line, CODE, "%d", row->code);
	if (!ret)
		ret = setf(line, ORIGIN, "%s", row->origin);
	if (!ret && row->has_time)
		ret = setf(line, AFTER, "%.3f s", row->after_ns / 1e9);
	if (!ret)
		ret = set(line, MESSAGE, escape(row->message));
	return ret;
}

void table_print(struct table *table)
{
	scols_print_table(table->lines);
}

void table_free(struct table *table)
{
	if (!table)
		return;
	scols_unref_table(table->lines);
	free(table);
}
