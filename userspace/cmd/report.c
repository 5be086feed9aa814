// SPDX-License-Identifier: MIT
/*
 * What `chipboot run` says: that all are up, or who failed first and why, and the
 * table of every answer.
 *
 * Called by run.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "run.h"

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / 1e9 : 0;
}

/* "[3,5]" */
static void put_chips(FILE *out, const struct run *run,
		      bool (*counts)(const struct run *run,
				     const struct chip *chip))
{
	const char *separator = "";
	uint32_t i;

	fputc('[', out);
	for (i = 0; i < run->channels; i++)
		if (counts(run, &run->chips[i])) {
			fprintf(out, "%s%u", separator,
				run->chips[i].number);
			separator = ",";
		}
	fputc(']', out);
}

/* "chip 3 after 1.204 s, error 42: device not found" */
void put_failure(FILE *out, const struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];

	if (chip->lost) {
		fprintf(out, "chip %u gone after %.3f s, ", chip->number,
			seconds(run->start_ns, chip->lost_ns));
		put_wait_status(out, chip->wait_status);
		return;
	}
	fprintf(out, "chip %u after %.3f s, ", chip->number,
		seconds(run->start_ns, chip->answered_ns));
	if (chip->origin == CHIPBOOT_BY_PUBLISHER)
		fprintf(out, "error %d%s", chip->error_code,
			chip->message && *chip->message ? ": " : "");
	put_untrusted(out, chip->message);
	if (chip->flags & CHIPBOOT_OOM_KILLED)
		fputs(" (out of memory)", out);
}

/*
 * Is the last progress we read the one the verdict speaks of?  One that came just
 * before the deadline may have been overwritten before we looked.
 */
static bool knows_progress(const struct chip *chip)
{
	size_t doing, message;

	if (!chip->doing || !chip->message)
		return false;
	if (chip->flags & CHIPBOOT_WAS_CUT)
		return true;
	doing = strlen(chip->doing);
	message = strlen(chip->message);
	return message >= doing &&
	       !strcmp(chip->message + message - doing, chip->doing);
}

/* "chip 2: comm_init since 2.9 s" */
static void put_pending(FILE *out, const struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];

	fprintf(out, "chip %u: ", chip->number);
	if (knows_progress(chip)) {
		put_untrusted(out, chip->doing);
		fputs(" since ", out);
		put_age(out, chip->answered_ns - chip->doing_ns);
	} else if (chip->message && strchr(chip->message, ';')) {
		put_untrusted(out, chip->message);
	} else if (chip->joins && !chip->joined) {
		fputs("nobody has joined", out);
	} else {
		fputs("no progress reported", out);
	}
}

enum { CHIP, STATE, CODE, BY, AFTER, MESSAGE, COLUMNS };

static int fill_row(struct table *table, const struct run *run,
		    const struct chip *chip)
{
	int ret = table_row(table);

	if (!ret)
		ret = table_cell(table, CHIP, "%u", chip->number);
	if (!ret)
		ret = table_cell(table, STATE, "%s", chip->lost ? "gone" :
				 chipboot_state_name(chip->state));
	if (!ret && chip->state == CHIPBOOT_STATE_ERROR)
		ret = table_cell(table, CODE, "%d", chip->error_code);
	if (!ret)
		ret = table_cell(table, BY, "%s",
				 chipboot_origin_name(chip->origin));
	if (!ret && chip->answered_ns)
		ret = table_cell(table, AFTER, "%.3f s",
				 seconds(run->start_ns, chip->answered_ns));
	if (!ret && chip->lost) {
		char text[64] = "";
		FILE *words = fmemopen(text, sizeof(text), "w");

		if (words) {
			put_wait_status(words, chip->wait_status);
			fclose(words);
		}
		return table_untrusted(table, MESSAGE, text);
	}
	if (!ret)
		ret = table_untrusted(table, MESSAGE,
				      chip->message ? chip->message : "");
	return ret;
}

static void put_table(FILE *out, const struct run *run)
{
	static const struct column columns[COLUMNS] = {
		[CHIP] = { "CHIP", true, false },
		[STATE] = { "STATE", false, false },
		[CODE] = { "CODE", true, false },
		[BY] = { "BY", false, false },
		[AFTER] = { "AFTER", true, false },
		[MESSAGE] = { "MESSAGE", false, true },
	};
	struct table *table = table_new(out, columns, COLUMNS,
					terminal_columns(run->err));
	int ret = table ? 0 : -ENOMEM;
	uint32_t i;

	for (i = 0; i < run->channels && !ret; i++)
		ret = fill_row(table, run, &run->chips[i]);
	if (!ret)
		table_print(table);
	else
		fputs("(no memory for the table)\n", out);
	table_free(table);
}

/* When the last one answered. */
static uint64_t last_answer(const struct run *run)
{
	uint64_t last = run->start_ns;
	uint32_t i;

	for (i = 0; i < run->channels; i++)
		if (run->chips[i].answered_ns > last)
			last = run->chips[i].answered_ns;
	return last;
}

static void put_up(FILE *out, const struct run *run)
{
	fprintf(out, "%u of %u chips up in %.3f s", count(run, is_up),
		run->channels, seconds(run->start_ns, last_answer(run)));
}

static void put_timeout(FILE *out, const struct run *run)
{
	uint32_t i;

	fprintf(out, "timed out after %.9g s: chips ", run->timeout_ns / 1e9);
	put_chips(out, run, timed_out);
	fputs(" pending", out);
	for (i = 0; i < run->channels; i++)
		if (timed_out(run, &run->chips[i])) {
			fputs("; ", out);
			put_pending(out, run, i);
		}
}

static void put_failed(FILE *out, const struct run *run, uint32_t number)
{
	fprintf(out, "%u of %u chips failed: ", number, run->channels);
	put_chips(out, run, failed);
	fputs("; first: ", out);
	put_failure(out, run, first_failed(run));
}

void put_summary(FILE *out, const struct run *run)
{
	uint32_t late = count(run, timed_out);
	uint32_t bad = count(run, failed);

	if (run->signal) {
		fprintf(out, "stopped by signal %d (%s): %u of %u chips were up",
			run->signal, strsignal(run->signal),
			count(run, is_up), run->channels);
		if (late || bad)
			fputs("; ", out);
	} else if (run->broken && !late && !bad) {
		fputs("stopped: the launcher itself failed", out);
	} else if (!late && !bad) {
		put_up(out, run);
	}
	if (late)
		put_timeout(out, run);
	if (late && bad)
		fputs("; ", out);
	if (bad)
		put_failed(out, run, bad);
}

/* ---- as text ---- */

static void print_report(struct run *run,
			 void (*put)(FILE *out, const struct run *run),
			 bool with_table)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	put(out, run);
	fputc('\n', out);
	if (with_table)
		put_table(out, run);
	if (!fclose(out))
		print(run, run->err, text, size);
	free(text);
}

/* ---- as JSON ---- */

static struct json_object *chip_list(const struct run *run,
				     bool (*counts)(const struct run *run,
						    const struct chip *chip))
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < run->channels; i++)
		if (counts(run, &run->chips[i]))
			json_object_array_add(list, json_object_new_uint64(run->chips[i].number));
	return list;
}

static struct json_object *answer_of(const struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];
	struct json_object *answer = json_object_new_object();

	json_put_number(answer, "chip", chip->number);
	json_put_number(answer, "channel", i);
	json_put_text(answer, "state", chipboot_state_name(chip->state));
	json_put_text(answer, "by", chipboot_origin_name(chip->origin));
	if (chip->answered_ns)
		json_put_number(answer, "after_ns",
				chip->answered_ns - run->start_ns);
	if (chip->state == CHIPBOOT_STATE_ERROR) {
		json_put(answer, "code",
			 json_object_new_int(chip->error_code));
		json_put_text(answer, "message",
			      chip->message ? chip->message : "");
	}
	json_put(answer, "gone", json_object_new_boolean(chip->lost));
	if (chip->flags & CHIPBOOT_HAS_STATUS)
		json_put_status(answer, chip->wait_status);
	return answer;
}

static const char *result(const struct run *run)
{
	if (run->broken)
		return "broken";
	if (run->signal)
		return "signal";
	if (count(run, timed_out))
		return "timeout";
	return count(run, failed) ? "failed" : "up";
}

static void emit_summary(struct run *run)
{
	struct json_object *summary = json_object_new_object();
	struct json_object *answers = json_object_new_array();
	uint32_t first = first_failed(run);
	char *text = NULL, *line;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	uint32_t i;

	json_put_text(summary, "event", "summary");
	json_put_text(summary, "result", result(run));
	json_put_number(summary, "exit_code", exit_code(run));
	if (out) {
		put_summary(out, run);
		fclose(out);
		json_put_text(summary, "text", text);
		free(text);
	}
	json_put_number(summary, "channels", run->channels);
	json_put_number(summary, "up", count(run, is_up));
	json_put(summary, "failed", chip_list(run, failed));
	json_put(summary, "timed_out", chip_list(run, timed_out));
	json_put(summary, "first_failed", first < run->channels ?
		 json_object_new_uint64(run->chips[first].number) : NULL);
	for (i = 0; i < run->channels; i++)
		json_object_array_add(answers, answer_of(run, i));
	json_put(summary, "answers", answers);
	line = json_line(summary, &size);
	if (line)
		sink_write(run->out, line, size);
	free(line);
}

/* ---- when ---- */

void report_up(struct run *run)
{
	struct json_object *event;
	size_t size;
	char *line;

	if (!run->json) {
		print_report(run, put_up, true);
		return;
	}
	event = json_object_new_object();
	json_put_text(event, "event", "complete");
	json_put_number(event, "after_ns", last_answer(run) - run->start_ns);
	line = json_line(event, &size);
	if (line)
		sink_write(run->out, line, size);
	free(line);
}

void report_end(struct run *run)
{
	bool bad = count(run, timed_out) || count(run, failed);

	if (run->json)
		emit_summary(run);
	else if (bad || run->signal || run->broken)
		print_report(run, put_summary, bad || !run->announced);
}
