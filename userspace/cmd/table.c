// SPDX-License-Identifier: MIT
/*
 * Tables: libsmartcols' columns, with untrusted text made harmless.
 *
 * Called by report.c and status.c.
 */
#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>

#include "cmd.h"

struct table {
	struct libscols_table *lines;
	struct libscols_line *line;	/* the one being filled */
};

/* @terminal_columns: 0: a file or a pipe, where lines are as long as they are. */
struct table *table_new(FILE *out, const struct column *columns,
			unsigned int count, unsigned int terminal_columns)
{
	struct table *table = calloc(1, sizeof(*table));
	unsigned int i;

	if (!table)
		return NULL;
	table->lines = scols_new_table();
	if (!table->lines)
		goto fail;
	scols_table_set_stream(table->lines, out);
	scols_table_set_termforce(table->lines, terminal_columns ?
				  SCOLS_TERMFORCE_ALWAYS :
				  SCOLS_TERMFORCE_NEVER);
	if (terminal_columns)
		scols_table_set_termwidth(table->lines, terminal_columns);
	for (i = 0; i < count; i++)
		if (!scols_table_new_column(table->lines, columns[i].name,
					    columns[i].wraps ? 0.5 : 1,
					    (columns[i].right ?
					     SCOLS_FL_RIGHT : 0) |
					    (columns[i].wraps ?
					     SCOLS_FL_WRAP : 0)))
			goto fail;
	return table;

fail:
	table_free(table);
	return NULL;
}

int table_row(struct table *table)
{
	table->line = scols_table_new_line(table->lines, NULL);
	return table->line ? 0 : -ENOMEM;
}

/* The column gets @text, which this frees. */
static int set(struct table *table, unsigned int column, char *text)
{
	if (!text)
		return -ENOMEM;
	return scols_line_refer_data(table->line, column, text);
}

int table_cell(struct table *table, unsigned int column,
	       const char *format, ...)
{
	va_list arguments;
	char *text;
	int ret;

	va_start(arguments, format);
	ret = vasprintf(&text, format, arguments);
	va_end(arguments);
	return ret < 0 ? -ENOMEM : set(table, column, text);
}

int table_untrusted(struct table *table, unsigned int column, const char *text)
{
	return set(table, column, escape(text));
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
