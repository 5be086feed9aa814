// SPDX-License-Identifier: MIT
/*
 * The live table of chipboot run on a terminal: a bar over all and a line per chip,
 * redrawn in place, with everything else that is printed scrolling away above it.
 *
 * Nothing of the terminal is changed that would have to be restored: no alternate
 * screen, no hidden cursor, no raw mode.  So however the launcher ends, SIGKILL
 * included, the terminal is as it was, with the cursor below the table.
 *
 * Called by run.c; print() by all that write.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "run.h"

#define REDRAW_NS	(100 * NS_PER_MS)
#define GATHER_NS	(50 * NS_PER_MS)	/* lines printed above */
#define ABOVE_MAX	(64 * 1024)
#define BAR_MAX		40

enum colour { PLAIN, GREEN, RED, YELLOW };

static bool has_colour(void)
{
	const char *no_color = getenv("NO_COLOR");

	return !no_color || !*no_color;
}

static void get_size(const struct run *run, unsigned int *columns,
		     unsigned int *rows)
{
	struct winsize size = { 0 };

	ioctl(run->err->original, TIOCGWINSZ, &size);
	*columns = size.ws_col ? size.ws_col : 80;
	*rows = size.ws_row ? size.ws_row : 24;
}

unsigned int terminal_columns(const struct sink *sink)
{
	struct winsize size = { 0 };

	if (!sink->terminal)
		return 0;
	ioctl(sink->original, TIOCGWINSZ, &size);
	return size.ws_col ? size.ws_col : 80;
}

/* ---- printing above the table ---- */

void print(struct run *run, struct sink *sink, const char *text, size_t length)
{
	struct screen *screen = &run->screen;
	uint64_t due = now_ns() + GATHER_NS;

	if (!screen->on || sink != run->err) {
		sink_write(sink, text, length);
		return;
	}
	if (screen->above_length + length > screen->above_size) {
		size_t size = (screen->above_length + length) * 2;
		char *more = realloc(screen->above, size);

		if (!more)
			return;
		screen->above = more;
		screen->above_size = size;
	}
	memcpy(screen->above + screen->above_length, text, length);
	screen->above_length += length;
	if (due < screen->due_ns)
		screen->due_ns = due;
	if (screen->above_length >= ABOVE_MAX)
		screen->due_ns = 0;
}

/* ---- drawing ---- */

/*
 * Where a terminal has been made narrower, what was drawn wider takes more rows now,
 * in those that break lines anew; others have cut them.
 */
static void erase(struct screen *screen, FILE *out, unsigned int columns)
{
	unsigned int up = 0;
	unsigned int i;

	for (i = 0; i < screen->rows; i++)
		up += screen->widths[i] > columns ?
		      (screen->widths[i] + columns - 1) / columns : 1;
	fputc('\r', out);
	if (up)
		fprintf(out, "\033[%uA", up);
	fputs("\033[J", out);
	screen->rows = 0;
}

struct row {
	char *text;
	size_t size;
	FILE *out;
};

/* One row: @head in a colour, @text after it, cut at @columns. */
static void put_row(struct screen *screen, FILE *out, enum colour colour,
		    const char *head, const char *text, unsigned int columns)
{
	unsigned int used;
	bool coloured = colour != PLAIN && has_colour();

	if (coloured)
		fputs(colour == GREEN ? "\033[32m" :
		      colour == RED ? "\033[31m" : "\033[33m", out);
	used = put_cut(out, head, columns);
	if (coloured)
		fputs("\033[0m", out);
	used += put_cut(out, text, columns - used);
	fputc('\n', out);
	screen->widths[screen->rows++] = used;
}

struct tally {
	uint32_t up, bad, pending, stopped;
};

static bool is_stopped(const struct chip *chip)
{
	return chip->state == CHIPBOOT_STATE_ERROR &&
	       chip->origin == CHIPBOOT_BY_OWNER;
}

static bool is_pending(const struct chip *chip)
{
	return chip->state == CHIPBOOT_STATE_IDLE;
}

static bool is_bad(const struct chip *chip)
{
	return chip->lost || (chip->state == CHIPBOOT_STATE_ERROR &&
			      !is_stopped(chip));
}

static void count_chip(struct tally *tally, const struct chip *chip)
{
	if (is_pending(chip))
		tally->pending++;
	else if (is_bad(chip))
		tally->bad++;
	else if (is_stopped(chip))
		tally->stopped++;
	else
		tally->up++;
}

static void put_tally(FILE *out, const struct tally *tally)
{
	const char *separator = "";

	if (tally->up)
		fprintf(out, "%u up", tally->up), separator = ", ";
	if (tally->bad)
		fprintf(out, "%s%u failed", separator, tally->bad),
		separator = ", ";
	if (tally->stopped)
		fprintf(out, "%s%u stopped", separator, tally->stopped),
		separator = ", ";
	if (tally->pending)
		fprintf(out, "%s%u pending", separator, tally->pending);
}

/* "[######x.....] 5/8 up, 1 failed, 2 pending, 12 s" */
static void put_bar(struct run *run, FILE *out, unsigned int columns)
{
	struct tally tally = { 0 };
	unsigned int width, done, bad, i;
	char *text = NULL, *bar = NULL;
	size_t text_size, bar_size;
	FILE *words = open_memstream(&text, &text_size);
	FILE *picture;

	if (!words)
		return;
	for (i = 0; i < run->channels; i++)
		count_chip(&tally, &run->chips[i]);
	fprintf(words, "%u/%u up", tally.up, run->channels);
	if (tally.bad)
		fprintf(words, ", %u failed", tally.bad);
	if (run->stopping)
		fputs(", stopping", words);
	fprintf(words, ", %llu s",
		(unsigned long long)((host_now(run) - run->start_ns) / NS_PER_S));
	fclose(words);
	picture = open_memstream(&bar, &bar_size);
	if (!picture)
		goto out;
	width = columns > text_size + 8 ? columns - text_size - 3 : 0;
	if (width > BAR_MAX)
		width = BAR_MAX;
	done = (uint64_t)tally.up * width / run->channels;
	bad = ((uint64_t)tally.bad * width + run->channels - 1) / run->channels;
	if (bad > width - done)
		bad = width - done;
	if (width)
		fputc('[', picture);
	for (i = 0; i < width; i++)
		fputc(i < done ? '#' : i < done + bad ? 'x' : '.', picture);
	if (width)
		fputs("] ", picture);
	fclose(picture);
	put_row(&run->screen, out, tally.bad ? RED : GREEN, bar ? bar : "",
		text, columns);
out:
	free(bar);
	free(text);
}

static void put_chip(struct run *run, FILE *out, uint32_t i,
		     unsigned int digits, unsigned int columns)
{
	const struct chip *chip = &run->chips[i];
	uint64_t end = is_pending(chip) ? host_now(run) :
		       chip->lost ? chip->lost_ns : chip->answered_ns;
	const char *state = chip->lost ? "gone" : is_pending(chip) ? "pending" :
			    is_stopped(chip) ? "stopped" :
			    is_bad(chip) ? "failed" : "up";
	char *head = NULL, *text = NULL;
	size_t head_size, text_size;
	FILE *words = open_memstream(&head, &head_size);

	if (!words)
		return;
	fprintf(words, "%*u %-7s", (int)digits, chip->number, state);
	fclose(words);
	words = open_memstream(&text, &text_size);
	if (!words)
		goto out;
	fprintf(words, " %4llu s  ", end < run->start_ns ? 0ULL :
		(unsigned long long)((end - run->start_ns) / NS_PER_S));
	if (chip->lost) {
		put_wait_status(words, chip->wait_status);
	} else if (is_pending(chip)) {
		if (chip->joins && !chip->joined)
			fputs("waiting for a process to join", words);
		else
			put_untrusted(words, chip->doing);
	} else if (chip->state == CHIPBOOT_STATE_ERROR) {
		if (chip->origin == CHIPBOOT_BY_PUBLISHER)
			fprintf(words, "error %d: ", chip->error_code);
		put_untrusted(words, chip->message);
	}
	fclose(words);
	put_row(&run->screen, out, is_bad(chip) ? RED : is_pending(chip) ?
		YELLOW : is_stopped(chip) ? PLAIN : GREEN, head, text, columns);
out:
	free(head);
	free(text);
}

/* What matters most: who has failed, then who is pending. */
static unsigned int rank(const struct chip *chip)
{
	return is_bad(chip) ? 0 : is_pending(chip) ? 1 : 2;
}

/* Rows for the chips, in their order; what has no room is counted. */
static void put_chips(struct run *run, FILE *out, unsigned int columns,
		      unsigned int rows)
{
	unsigned int left = run->channels <= rows ? rows : rows - 1;
	unsigned int room[3] = { 0 };
	struct tally others = { 0 };
	unsigned int digits = 1;
	uint32_t hidden = 0;
	uint32_t members[3] = { 0 };
	char *text = NULL, head[32];
	size_t size;
	FILE *words;
	uint32_t i;

	if (!rows)
		return;
	for (i = 0; i < run->channels; i++) {
		unsigned int wide = snprintf(NULL, 0, "%u",
					     run->chips[i].number);

		members[rank(&run->chips[i])]++;
		if (wide > digits)
			digits = wide;
	}
	for (i = 0; i < 3; i++) {
		room[i] = members[i] < left ? members[i] : left;
		left -= room[i];
	}
	for (i = 0; i < run->channels; i++) {
		unsigned int class = rank(&run->chips[i]);

		if (room[class]) {
			room[class]--;
			put_chip(run, out, i, digits, columns);
		} else {
			hidden++;
			count_chip(&others, &run->chips[i]);
		}
	}
	if (!hidden)
		return;
	words = open_memstream(&text, &size);
	if (!words)
		return;
	put_tally(words, &others);
	fclose(words);
	snprintf(head, sizeof(head), "+%u more: ", hidden);
	put_row(&run->screen, out, PLAIN, head, text, columns);
	free(text);
}

static void draw(struct run *run, FILE *out, unsigned int columns,
		 unsigned int rows)
{
	struct screen *screen = &run->screen;
	unsigned short *widths = realloc(screen->widths,
					 (rows + 1) * sizeof(*widths));

	if (!widths)
		return;
	screen->widths = widths;
	/*
	 * Three columns stay free: the terminal's echo of a key, as "^C", comes
	 * between two rows of one write, and would begin a row that erase() knows
	 * nothing of; and terminals differ in what the last column does.  One row
	 * stays free, for the cursor.
	 */
	columns = columns > 3 ? columns - 3 : 1;
	rows = rows > 2 ? rows - 1 : 1;
	put_bar(run, out, columns);
	put_chips(run, out, columns, rows - 1);
}

static void put_all(struct run *run, bool with_table)
{
	struct screen *screen = &run->screen;
	unsigned int columns, rows;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	get_size(run, &columns, &rows);
	erase(screen, out, columns);
	fwrite(screen->above, 1, screen->above_length, out);
	screen->above_length = 0;
	if (with_table)
		draw(run, out, columns, rows);
	if (!fclose(out))
		sink_write(run->err, text, size);
	free(text);
}

void screen_update(struct run *run)
{
	struct screen *screen = &run->screen;
	uint64_t now = now_ns();

	/* Behind a slow line frames must not pile up. */
	if (!screen->on || now < screen->due_ns || !sink_is_empty(run->err))
		return;
	put_all(run, true);
	/* Seconds tick. */
	screen->due_ns = now + NS_PER_S;
	screen->drawn_ns = now;
}

uint64_t screen_due(const struct run *run)
{
	/* While the sink is not empty, its readiness wakes the loop. */
	return run->screen.on && sink_is_empty(run->err) ? run->screen.due_ns :
							   UINT64_MAX;
}

void screen_changed(struct run *run)
{
	uint64_t due = run->screen.drawn_ns + REDRAW_NS;

	if (due < run->screen.due_ns)
		run->screen.due_ns = due;
}

void screen_resized(struct run *run)
{
	run->screen.due_ns = 0;
}

void screen_open(struct run *run)
{
	const char *kind = getenv("TERM");

	run->screen.on = run->err->terminal && !run->json && !run->quiet &&
			 kind && *kind && strcmp(kind, "dumb");
}

/* The table goes, what was printed stays. */
void screen_close(struct run *run)
{
	struct screen *screen = &run->screen;

	if (screen->on)
		put_all(run, false);
	screen->on = false;
	free(screen->above);
	free(screen->widths);
	*screen = (struct screen) { .on = false };
}
