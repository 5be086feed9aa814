// SPDX-License-Identifier: MIT
/*
 * What happens in a run, as it happens: a line with a time stamp, or a JSON object.
 * On a terminal the live table shows it, and only trouble is said in lines.
 *
 * Called by run.c, look.c, children.c and door.c.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"
#include "run.h"

/* @ns of the host's CLOCK_MONOTONIC on the wall. */
static uint64_t wall_of(const struct run *run, uint64_t ns)
{
	return wall_ns() - (host_now(run) - ns);
}

static bool has_lines(const struct run *run)
{
	return !run->json && !run->quiet && !run->screen.on;
}

/* A line that has begun with its time; end_line() prints it. */
struct line {
	FILE *out;
	char *text;
	size_t size;
};

static bool begin_line(struct line *line, const struct run *run, uint64_t ns)
{
	line->text = NULL;
	line->out = open_memstream(&line->text, &line->size);
	if (!line->out)
		return false;
	put_wall(line->out, wall_of(run, ns));
	fputc(' ', line->out);
	return true;
}

static void end_line(struct line *line, struct run *run)
{
	fputc('\n', line->out);
	if (!fclose(line->out))
		print(run, run->err, line->text, line->size);
	free(line->text);
}

__attribute__((format(printf, 3, 4)))
static void say(struct run *run, uint64_t ns, const char *format, ...)
{
	struct line line;
	va_list arguments;

	if (!has_lines(run) || !begin_line(&line, run, ns))
		return;
	va_start(arguments, format);
	vfprintf(line.out, format, arguments);
	va_end(arguments);
	end_line(&line, run);
}

static struct json_object *new_event(const struct run *run, const char *name,
				     uint64_t ns)
{
	struct json_object *event = json_object_new_object();
	char time[40];
	FILE *out = fmemopen(time, sizeof(time), "w");

	json_put_text(event, "event", name);
	if (out) {
		put_wall(out, wall_of(run, ns));
		fclose(out);
		json_put_text(event, "time", time);
	}
	return event;
}

static struct json_object *new_chip_event(const struct run *run,
					  const char *name, uint64_t ns,
					  uint32_t i)
{
	struct json_object *event = new_event(run, name, ns);

	json_put_number(event, "chip", run->chips[i].number);
	json_put_number(event, "channel", i);
	json_put_number(event, "after_ns",
			ns > run->start_ns ? ns - run->start_ns : 0);
	return event;
}

static void emit(struct run *run, struct json_object *event)
{
	size_t length;
	char *line = json_line(event, &length);

	if (line)
		sink_write(run->out, line, length);
	free(line);
}

void event_begin(struct run *run)
{
	struct json_object *event, *list;
	struct chipboot_info info;
	uint32_t i;

	if (!run->json)
		return;
	event = new_event(run, "begin", run->start_ns);
	if (!chipboot_session_info(run->session, &info))
		json_put_number(event, "session", info.session_id);
	json_put_number(event, "channels", run->channels);
	list = json_object_new_array();
	for (i = 0; i < run->channels; i++)
		json_object_array_add(list, json_object_new_uint64(run->chips[i].number));
	json_put(event, "chips", list);
	emit(run, event);
}

void event_started(struct run *run, uint32_t i)
{
	struct json_object *event;

	say(run, host_now(run), "chip %u started, pid %d", run->chips[i].number,
	    run->chips[i].pid);
	if (!run->json)
		return;
	event = new_chip_event(run, "started", host_now(run), i);
	json_put_number(event, "pid", run->chips[i].pid);
	emit(run, event);
}

void event_joined(struct run *run, uint32_t i)
{
	struct json_object *event;

	say(run, host_now(run), "chip %u joined, pid %d", run->chips[i].number,
	    run->chips[i].pid);
	if (!run->json)
		return;
	event = new_chip_event(run, "joined", host_now(run), i);
	json_put_number(event, "pid", run->chips[i].pid);
	emit(run, event);
}

void event_progress(struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];
	struct json_object *event;
	struct line line;

	/* The next one says more than those that nobody has read. */
	if (sink_is_full(run->json ? run->out : run->err))
		return;
	if (has_lines(run) && begin_line(&line, run, chip->doing_ns)) {
		fprintf(line.out, "chip %u: ", chip->number);
		put_untrusted(line.out, chip->doing);
		end_line(&line, run);
	}
	if (!run->json)
		return;
	event = new_chip_event(run, "progress", chip->doing_ns, i);
	json_put_text(event, "text", chip->doing);
	emit(run, event);
}

/* Failures in lines are event_trouble()'s, which knows whose consequence they are. */
void event_answer(struct run *run, uint32_t i,
		  const struct chipboot_answer *answer)
{
	const struct chip *chip = &run->chips[i];
	struct json_object *event;

	if (answer->state == CHIPBOOT_STATE_SUCCESS)
		say(run, chip->answered_ns, "chip %u up after %.3f s",
		    chip->number, (chip->answered_ns - run->start_ns) / 1e9);
	if (!run->json)
		return;
	event = new_chip_event(run, answer->state == CHIPBOOT_STATE_SUCCESS ?
			       "up" : "failed", chip->answered_ns, i);
	json_put_number(event, "order", answer->order);
	if (answer->state == CHIPBOOT_STATE_SUCCESS) {
		json_put_payload(event, answer);
	} else {
		json_put_text(event, "by",
			      chipboot_origin_name(answer->origin));
		json_put(event, "code",
			 json_object_new_int(answer->error_code));
		json_put_text(event, "message", answer->message);
		if (answer->flags & CHIPBOOT_HAS_STATUS)
			json_put_status(event, answer->wait_status);
		json_put(event, "out_of_memory",
			 json_object_new_boolean(answer->flags &
						 CHIPBOOT_OOM_KILLED));
	}
	emit(run, event);
}

void event_gone(struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];
	struct json_object *event;

	if (!run->json)
		return;
	event = new_chip_event(run, "gone", chip->lost_ns, i);
	json_put_status(event, chip->wait_status);
	emit(run, event);
}

void event_ended(struct run *run, uint32_t i, pid_t pid, int status)
{
	struct json_object *event;
	struct line line;

	if (has_lines(run) && begin_line(&line, run, host_now(run))) {
		fprintf(line.out, "chip %u: process %d ",
			run->chips[i].number, pid);
		if (status < 0)
			fputs("has ended", line.out);
		else
			put_wait_status(line.out, status);
		end_line(&line, run);
	}
	if (!run->json)
		return;
	event = new_chip_event(run, "ended", host_now(run), i);
	json_put_number(event, "pid", pid);
	if (status >= 0)
		json_put_status(event, status);
	emit(run, event);
}

void event_trouble(struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];
	struct line line;

	if (run->json || !begin_line(&line, run, chip->lost ? chip->lost_ns :
				     chip->answered_ns))
		return;
	put_failure(line.out, run, i);
	if (!run->keep_going)
		fputs("; stopping the others", line.out);
	end_line(&line, run);
}

/* Killed, and not ended: only the kernel can still hold it. */
void event_stuck(struct run *run, uint32_t i)
{
	const struct chip *chip = &run->chips[i];
	struct json_object *event;
	struct line line;

	if (!run->json) {
		if (!begin_line(&line, run, host_now(run)))
			return;
		fprintf(line.out,
			"chip %u: process %d was killed and has not ended: something in the kernel holds it (as root: cat /proc/%d/task/*/stack); waiting for it; kill -KILL %d ends the launcher without it",
			chip->number, chip->pid, chip->pid, getpid());
		end_line(&line, run);
		return;
	}
	event = new_chip_event(run, "stuck", host_now(run), i);
	json_put_number(event, "pid", chip->pid);
	emit(run, event);
}

void event_stopping(struct run *run, const char *why)
{
	struct json_object *event;

	if (!run->json)
		return;
	event = new_event(run, "stopping", host_now(run));
	json_put_text(event, "why", why);
	emit(run, event);
}
