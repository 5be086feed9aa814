/* SPDX-License-Identifier: MIT */
/*
 * The benchmark: the same work for chipboot and for what a user would pick instead.
 *
 * A contender is a file with one struct contender, and knows nothing of how it is
 * measured.  round.c does the work with it, in one way for all; main.c says what is
 * done in which order.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_WORDS	16
/** BENCH_PROCESSES - publishers are at most so many processes */
#define BENCH_PROCESSES	64
/** BENCH_ROOM - bytes that every contender has for an answer, as chipboot has */
#define BENCH_ROOM	4096

enum state { PENDING, SUCCESS, FAILED, DIED };

/* What a publisher says, and what the waiter must have of it. */
struct answer {
	uint32_t state;
	int32_t code;
	uint64_t device_ctx;
	uint64_t window_base;
	uint64_t window_size;
	uint64_t words[BENCH_WORDS];
};

/**
 * struct contender - one way to do it
 * @name: for tables
 * @is: what it stands for
 * @notices: does wait() end when a publisher dies without an answer?
 * @death: how it knows, or what it would take
 * @create: by the waiter: for @n channels
 * @map: the waiter's view of the answers, if that is a step of its own
 * @claim: before the publisher of these channels is forked
 * @bind: after it was forked: whose they are, and what the waiter must let go
 * @in_child: by the publisher, before it does anything else: what it must let go
 * @publish: by the publisher
 * @wait: until every channel has an answer or its publisher is dead; false: not
 *	within @timeout_ms (-1: for ever)
 * @read: what a channel says; after wait()
 * @destroy: by the waiter, when the publishers have ended
 *
 * Any of map, claim, bind, in_child and destroy may be NULL.  What fails ends the
 * program: there is nothing to measure.
 */
struct contender {
	const char *name;
	const char *is;
	bool notices;
	const char *death;
	void *(*create)(unsigned int n);
	void (*map)(void *self);
	void (*claim)(void *self, unsigned int first, unsigned int count);
	void (*bind)(void *self, unsigned int first, unsigned int count, pid_t pid);
	void (*in_child)(void *self, unsigned int first, unsigned int count);
	void (*publish)(void *self, unsigned int i, const struct answer *answer);
	bool (*wait)(void *self, int timeout_ms);
	void (*read)(void *self, unsigned int i, struct answer *answer);
	void (*destroy)(void *self);
};

extern const struct contender bench_chipboot;
extern const struct contender bench_chipboot_in_place;
extern const struct contender bench_mailbox_spinning;
extern const struct contender bench_mailbox_poll;
extern const struct contender bench_futex;
extern const struct contender bench_counter;
extern const struct contender bench_eventfd;
extern const struct contender bench_pipe;
extern const struct contender bench_datagram;
extern const struct contender bench_nothing;

/* main.c */
extern const struct contender *const bench_contenders[];
extern const char bench_program[];
void bench_die(const char *what) __attribute__((noreturn));
const struct contender *bench_find(const char *name);

/* round.c: publish all, wait, read all */
enum variant { ALL_SUCCEED, ONE_FAILS, ONE_DIES };

/**
 * struct round - one round, what is to be done and what came of it
 * @contender: by which
 * @n: channels
 * @variant: what its publishers do
 * @timed: take times; reading the clock is part of the round then
 * @pinned: waiter and publishers on a processor of their own each
 * @still: begin when nothing else is left to do, right behind a timer's interrupt
 * @profile: between the marks that the counter profiles
 * @coming_up_ms: publishers do nothing for so long first
 * @switches: of the waiter in wait(): voluntary, that is: how often it slept
 * @preemptions: of the waiter in wait(): involuntary
 * @noticed: wait() ended
 * @late_ns: from publishing (or killing) to the waiter running
 * @idle_cpu_ns: processor time of the waiter while they are coming up
 */
struct round {
	const struct contender *contender;
	unsigned int n;
	enum variant variant;
	bool timed;
	bool pinned;
	bool still;
	bool profile;
	unsigned int coming_up_ms;
	long switches;
	long preemptions;
	bool noticed;
	int64_t late_ns;
	int64_t idle_cpu_ns;
};

void round_run(struct round *round);
uint64_t bench_now_ns(void);

/* board.c: shared memory, a slot of BENCH_ROOM bytes for each channel */
struct slot {
	uint32_t state;		/* enum state: the last to be written */
	struct answer answer;
	char room[BENCH_ROOM - sizeof(struct answer) - sizeof(uint64_t)];
};

struct board {
	unsigned int n;
	size_t size;
	int fd;
	struct slot *slots;
	uint32_t *extra;	/* a page of its own behind the slots */
};

void board_create(struct board *board, unsigned int n);
void board_map(struct board *board);
void board_write(struct slot *slot, const struct answer *answer);
void board_publish(struct slot *slot, const struct answer *answer);
uint32_t board_state(const struct slot *slot);
void board_read(const struct board *board, unsigned int i, struct answer *answer);
void board_destroy(struct board *board);

long bench_futex_wait(uint32_t *word, uint32_t value, int timeout_ms);
void bench_futex_wake(uint32_t *word, int count);

/* reading.c, memory.c */
void reading_run(unsigned int times);
void observing_run(unsigned int n);
extern const struct contender bench_descriptors;
void memory_run(const struct contender *contender, unsigned int n);

#endif /* BENCH_H */
