/* SPDX-License-Identifier: MIT */
/*
 * `chipboot run`: what it was asked for, what it knows of its chips, and who among
 * its files does what.
 */
#ifndef CHIPBOOT_RUN_H
#define CHIPBOOT_RUN_H

#include <sys/types.h>

#include "cmd.h"
#include "loop.h"
#include "sink.h"

struct run;
struct stream;

struct chip {
	uint32_t number;		/* what people call it */
	pid_t pid;			/* 0: not started, or ended */
	bool joins;			/* comes by the socket, is no child */
	bool joined;			/* has been handed its handles */
	struct watch ends;		/* joined: its pidfd, -1 if there is none */
	bool unseen;			/* joined, from a pid namespace not ours */
	struct run *run;
	struct chipboot_publisher *publisher;	/* until it is handed over */
	struct stream *streams;		/* its stdout and stderr, or NULL */
	int log;			/* --output-dir: its file, else -1 */

	uint32_t seq;			/* of the page when it was last read */
	int state;
	int32_t error_code;
	uint32_t order;
	uint16_t wait_status;
	uint8_t origin;
	uint8_t flags;
	bool lost;			/* was up, and has died badly since */
	bool told;			/* its failure has been announced */
	uint64_t answered_ns;
	uint64_t lost_ns;
	char *message;			/* of the answer */
	char *doing;			/* last progress text, NULL if none */
	uint64_t doing_ns;
};

/* screen.c: the live table, and what is to be printed above it */
struct screen {
	bool on;
	unsigned int rows;		/* that it has drawn */
	unsigned short *widths;		/* of each */
	char *above;
	size_t above_length, above_size;
	bool dirty;
	uint64_t drawn_ns;		/* own clock, as due_ns */
	uint64_t due_ns;
};

struct run {
	/* arguments.c: what was asked for */
	uint32_t channels;
	uint32_t *numbers;		/* of the chips; NULL: 0, 1, 2, ... */
	uint64_t timeout_ns;		/* 0: none */
	uint64_t kill_after_ns;
	bool keep_going;
	bool quiet;
	bool json;
	char **variables;		/* --env, NULL-terminated */
	uint32_t variable_count;
	const char *directory;
	int directory_fd;		/* --cwd, opened; AT_FDCWD without */
	const char *output_dir;
	const char *socket_path;
	uint32_t *join_numbers;		/* --join */
	uint32_t join_count;
	char **command;			/* NULL: all chips join */
	char *program;

	int loop;
	struct watch signals;
	struct watch changes;		/* of the session */
	struct watch outputs;		/* an epoll of all streams */
	struct watch door;		/* the listening socket */
	bool outputs_paused;
	struct sink stdout_sink, stderr_sink;
	struct sink *out, *err;		/* the same one if they are one file */
	struct screen screen;

	struct chipboot_session *session;
	struct chipboot_observer *observer;	/* of every change */
	struct chip *chips;
	uint64_t start_ns;
	uint64_t host_offset_ns;	/* host's CLOCK_MONOTONIC less ours */
	uint32_t children;		/* chips' processes not reaped */
	uint32_t guests;		/* joined ones that have not ended */
	pid_t *not_ours;		/* children we were born with, 0-terminated */

	uint32_t idle;			/* as of the last look */
	uint32_t first;			/* failure in time; channels: none */
	uint64_t changed_ns;		/* own clock: when a chip last changed */
	bool announced;			/* all were up, and it has been said */
	bool stopping;
	bool killing;
	int signal;			/* the one that ended it */
	uint64_t kill_at_ns;		/* own clock; 0: not set */
	uint64_t stuck_at_ns;		/* the same: who then lives is stuck */
	bool broken;			/* an error of the launcher's own */
};

/* arguments.c: 0, or an exit code; complains */
int run_arguments(int argc, char **argv, struct run *run);

/* run.c */
void stop(struct run *run, int signal, const char *why);
void break_off(struct run *run, int error);

/*
 * verdict.c: did @chip miss the deadline?  Did it fail otherwise?  Not what the
 * launcher has stopped, nor, unless --keep-going, a process that was up and gave up
 * after another's failure: that is its consequence and would hide it.
 */
bool is_up(const struct run *run, const struct chip *chip);
bool timed_out(const struct run *run, const struct chip *chip);
bool failed(const struct run *run, const struct chip *chip);
uint32_t count(const struct run *run,
	       bool (*counts)(const struct run *run, const struct chip *chip));
/* What run->first is to be. */
uint32_t first_failure(const struct run *run);
/* With a time-out as well, the first of the others; channels: none. */
uint32_t first_failed(const struct run *run);
int exit_code(const struct run *run);

/* look.c: read what has changed, and tell */
void update(struct run *run);
uint64_t host_now(const struct run *run);

/* children.c */
int open_logs(struct run *run);
int start_children(struct run *run);
void reap(struct run *run);
bool is_alive(const struct chip *chip);	/* as far as can be seen from here */
void signal_chip(const struct chip *chip, int signal);
void signal_all(const struct run *run, int signal);
void note_own_children(struct run *run);
uint32_t count_orphans(const struct run *run);
void signal_orphans(const struct run *run, int signal);
/* signals: block and collect them, and how a child gets back what we had */
int open_signals(void);
void restore_signals(void);

/* output.c */
int output_open(struct run *run);
int output_add(struct run *run, uint32_t chip, int ends[2]);
void output_throttle(struct run *run);
void output_drain(struct run *run);
void output_close(struct run *run);

/* screen.c: print() is for all that is written while a run lasts */
void screen_open(struct run *run);
void screen_close(struct run *run);
void screen_update(struct run *run);
void screen_changed(struct run *run);
void screen_resized(struct run *run);
uint64_t screen_due(const struct run *run);	/* own clock, UINT64_MAX: never */
void print(struct run *run, struct sink *sink, const char *text, size_t length);
unsigned int terminal_columns(const struct sink *sink);	/* 0: none */

/* events.c: what happens, as lines or as JSON */
void event_begin(struct run *run);
void event_started(struct run *run, uint32_t chip);
void event_joined(struct run *run, uint32_t chip);
void event_progress(struct run *run, uint32_t chip);
void event_answer(struct run *run, uint32_t chip,
		  const struct chipboot_answer *answer);
void event_gone(struct run *run, uint32_t chip);
void event_ended(struct run *run, uint32_t chip, pid_t pid, int status);
void event_trouble(struct run *run, uint32_t chip);
void event_stuck(struct run *run, uint32_t chip);
void event_stopping(struct run *run, const char *why);

/* report.c */
void put_failure(FILE *out, const struct run *run, uint32_t chip);
void put_summary(FILE *out, const struct run *run);
void report_up(struct run *run);
void report_end(struct run *run);

/* door.c: the socket of --socket */
int door_open(struct run *run);
void door_close(struct run *run);

/* systemd.c */
void notify_open(void);
void notify_update(struct run *run);
void notify_end(const struct run *run);

#endif /* CHIPBOOT_RUN_H */
