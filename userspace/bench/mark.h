/* SPDX-License-Identifier: MIT */
/*
 * Marks: instructions that do nothing, and that selftests/vm/counter.c finds in the
 * stream of what a machine executes.  Elsewhere they cost one instruction.
 */
#ifndef BENCH_MARK_H
#define BENCH_MARK_H

/* Known to userspace/bench/run too, by these numbers. */
#define MARK_RUN	1	/* what follows belongs to the next line of output */
#define MARK_PROFILE	2	/* to the counter: the profile begins */
#define MARK_PROFILED	3	/* and ends */
#define MARK_GO		4	/* all is still and the waiter sleeps; publishers go */
#define MARK_PUBLISH	5	/* a publisher is about to answer, or to be killed */
#define MARK_DONE	6	/* a publisher has given all its answers */
#define MARK_WOKEN	7	/* the waiter has left wait() */
#define MARK_READ	8	/* and has verified all answers */
/* The beginning of a phase; the next number is its end. */
#define MARK_CREATE	16
#define MARK_MAP	18
#define MARK_CLAIM	20
#define MARK_FORK	22
#define MARK_BIND	24
#define MARK_EXIT	26
#define MARK_DESTROY	28
#define MARK_OBSERVE	30
/* A loop over one of the ways of reading; the next number is its end. */
#define MARK_LOOP	40

#if defined(__x86_64__)
#define MARK(id) ({ \
	__asm__ __volatile__(".byte 0x0f,0x1f,0x80; .long %c0" \
			     : : "i"(0x63620000 | (id)) : "memory"); \
})
#elif defined(__aarch64__)
#define MARK(id) ({ \
	__asm__ __volatile__("movz xzr, #%c0" : : "i"(0x6300 | (id)) : "memory"); \
})
#else
#error "a mark is an instruction: say which"
#endif

#endif /* BENCH_MARK_H */
