/* SPDX-License-Identifier: MIT */
/*
 * What `chipboot run` knows of its chips, between run.c, which finds it out, and
 * report.c, which says it.
 */
#ifndef CHIPBOOT_RUN_H
#define CHIPBOOT_RUN_H

#include <sys/types.h>

#include <chipboot.h>

#include "cmd.h"

struct chip {
	pid_t pid;			/* 0: not started, or reaped */
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

struct run {
	/* what was asked for */
	uint32_t channels;
	uint64_t timeout_ns;		/* 0: none */
	uint64_t kill_after_ns;
	bool keep_going;
	char **command;
	char *program;

	struct chipboot_session *session;
	struct chipboot_observer *observer;	/* of every change */
	struct chip *chips;
	uint64_t start_ns;
	uint32_t processes;		/* that have not been reaped */

	uint32_t idle;			/* as of the last look */
	uint32_t first;			/* failure in time; channels: none */
	bool announced;			/* all were up, and it has been said */
	bool stopping;
	int signal;			/* the one that ended it */
	int64_t kill_at_ns;		/* own CLOCK_MONOTONIC; 0: not set */
	bool broken;			/* an error of the launcher's own */
};

/*
 * Did @chip miss the deadline?  Did it fail otherwise?  Not what the launcher has
 * stopped, nor, unless --keep-going, a process that was up and gave up after
 * another's failure: that is its consequence and would hide it.
 */
bool timed_out(const struct run *run, const struct chip *chip);
bool failed(const struct run *run, const struct chip *chip);
uint32_t count(const struct run *run,
	       bool (*counts)(const struct run *run, const struct chip *chip));
/* What run->first is to be. */
uint32_t first_failure(const struct run *run);

/* report.c: to stderr, since stdout is the processes' */
void report_up(const struct run *run);
void report_trouble(const struct run *run, uint32_t chip);
void report_end(const struct run *run);

/* program.c: the file that execvp() would run, to be freed; complains if there is none */
char *find_program(const char *name);

#endif /* CHIPBOOT_RUN_H */
