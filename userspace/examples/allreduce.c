// SPDX-License-Identifier: MIT
/*
 * allreduce: what runtime processes need their peers' answers for.
 *
 *	allreduce --generate SEED RANKS FLOATS FILE
 *	chipboot run -n RANKS -- allreduce FILE OUTDIR
 *
 * Each process is a rank.  It puts its slice of FILE (float32) into a window, says in
 * its answer where the window is, waits until all are up, opens the peers' windows,
 * adds the slices up, writes OUTDIR/rank-R.f32, and compares that with the sum taken
 * straight from FILE.
 *
 * A memfd stands in for device memory: like a chip's window it belongs to one
 * process and others map it by what they are told.  Descriptor number, size and offset
 * are random, so that nobody can know them but from that rank's page:
 *
 *	device_ctx	a random number, also at the window's start
 *	window_base	offset of the slice in the memfd
 *	window_size	bytes of the slice
 *	words[0]	descriptor number in the rank's process
 *	words[1]	bytes in the memfd
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* memfd_create() */
#endif
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chipboot.h>

#define NOBODY UINT32_MAX

/* What a window starts with. */
struct header {
	uint64_t device_ctx;
	atomic_uint readers;		/* peers that have mapped it; a futex */
};

struct window {
	struct header *header;
	const float *slice;
};

struct job {
	const char *input;
	const char *outdir;
	uint32_t fail_rank, kill_rank, hang_rank;
	bool generate;
	char **arguments;

	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	uint32_t rank, ranks;
	size_t floats;			/* in a slice */
	struct window *windows;		/* of every rank */
};

/*
 * While the chip is coming up the launcher wants to know what is wrong; afterwards
 * the answer is given and this only speaks to the terminal.
 */
__attribute__((noreturn, format(printf, 2, 3)))
static void fail(struct job *job, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "allreduce: rank %u: %s\n", job->rank, text);
	if (job->publisher)
		chipboot_publish_error(job->publisher, 1, text);
	exit(1);
}

static uint64_t random_below(uint64_t limit)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		abort();
	return limit ? number % limit : number;
}

static void read_slice(struct job *job, int input, uint32_t rank, float *slice)
{
	size_t size = job->floats * sizeof(*slice);
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(input, (char *)slice + done, size - done,
				    (off_t)rank * size + done);

		if (got <= 0)
			fail(job, "%s: %s", job->input,
			     got ? strerror(errno) : "became shorter");
		done += got;
	}
}

static int open_input(struct job *job)
{
	int input = open(job->input, O_RDONLY | O_CLOEXEC);
	struct stat file;

	if (input < 0 || fstat(input, &file) < 0)
		fail(job, "%s: %s", job->input, strerror(errno));
	if (!file.st_size || file.st_size % (job->ranks * sizeof(float)))
		fail(job, "%s: %lld bytes are not float32 for %u ranks",
		     job->input, (long long)file.st_size, job->ranks);
	job->floats = file.st_size / sizeof(float) / job->ranks;
	return input;
}

/* ---- bring-up ---- */

static void misbehave(struct job *job)
{
	if (job->rank == job->fail_rank) {
		chipboot_publish_error(job->publisher, 42, "device not found");
		exit(1);
	}
	if (job->rank == job->kill_rank) {
		chipboot_progress(job->publisher, "comm_init");
		raise(SIGKILL);
	}
	if (job->rank == job->hang_rank) {
		signal(SIGTERM, SIG_IGN);
		chipboot_progress(job->publisher, "comm_init");
		for (;;)
			pause();
	}
}

static void publish_window(struct job *job, int input)
{
	size_t slice_size = job->floats * sizeof(float);
	uint64_t base = sizeof(struct header) +
			random_below(4096) * sizeof(float);
	uint64_t size = base + slice_size + random_below(65536);
	uint64_t words[2];
	struct header *header;
	int memory, fd;

	memory = memfd_create("window", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, size) < 0)
		fail(job, "memfd: %s", strerror(errno));
	/* The lowest free one from a random number on. */
	fd = fcntl(memory, F_DUPFD_CLOEXEC, 16 + (int)random_below(200));
	if (fd < 0)
		fail(job, "memfd: %s", strerror(errno));
	close(memory);
	header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (header == MAP_FAILED)
		fail(job, "window: %s", strerror(errno));
	header->device_ctx = random_below(0);
	read_slice(job, input, job->rank, (float *)((char *)header + base));

	words[0] = fd;
	words[1] = size;
	if (chipboot_publish_success(job->publisher, header->device_ctx, base,
				     slice_size, words, 2) < 0)
		fail(job, "the launcher does not take the answer any more");
}

/* ---- the peers ---- */

static void wait_for_peers(struct job *job)
{
	struct chipboot_info info;
	char text[512];
	int ret = chipboot_wait(job->observer, CHIPBOOT_ALL, CHIPBOOT_FOREVER,
				0, CHIPBOOT_WAIT_FAIL_FAST);

	if (ret >= 0)
		ret = chipboot_observer_info(job->observer, 0, &info);
	if (ret < 0)
		fail(job, "%s", chipboot_explain(ret, text, sizeof(text)));
	if (info.first_failed != CHIPBOOT_NOBODY)
		fail(job, "rank %u is not up", info.first_failed);
}

static void open_window(struct job *job, uint32_t rank)
{
	struct window *window = &job->windows[rank];
	struct chipboot_channel peer;
	struct chipboot_answer answer;
	char path[64];
	struct stat file;
	int fd;

	if (chipboot_read(job->observer, rank, &answer) !=
	    CHIPBOOT_STATE_SUCCESS)
		fail(job, "rank %u is not up", rank);
	if (chipboot_channel_info(job->observer, rank, &peer) < 0 || !peer.pid)
		fail(job, "rank %u has no process here", rank);
	if (answer.count != 2 ||
	    answer.window_size != job->floats * sizeof(float) ||
	    answer.window_base % sizeof(float) ||
	    answer.window_base > answer.words[1] ||
	    answer.window_size > answer.words[1] - answer.window_base)
		fail(job, "rank %u describes no window of this job", rank);

	snprintf(path, sizeof(path), "/proc/%d/fd/%llu", peer.pid,
		 (unsigned long long)answer.words[0]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &file) < 0)
		fail(job, "window of rank %u: %s: %s", rank, path,
		     strerror(errno));
	if ((uint64_t)file.st_size != answer.words[1])
		fail(job, "window of rank %u: not of the size it says", rank);
	window->header = mmap(NULL, file.st_size, PROT_READ | PROT_WRITE,
			      MAP_SHARED, fd, 0);
	if (window->header == MAP_FAILED)
		fail(job, "window of rank %u: %s", rank, strerror(errno));
	close(fd);
	if (window->header->device_ctx != answer.device_ctx)
		fail(job, "window of rank %u: not the one it published", rank);
	window->slice = (const float *)((char *)window->header +
					answer.window_base);
}

/*
 * A window is reached through its process, which so must not end before all have
 * opened it.  If one dies instead, `chipboot run` ends us.
 */
static void open_windows(struct job *job)
{
	atomic_uint *mine;
	unsigned int readers;
	uint32_t rank;

	job->windows = calloc(job->ranks, sizeof(*job->windows));
	if (!job->windows)
		fail(job, "no memory");
	for (rank = 0; rank < job->ranks; rank++) {
		open_window(job, rank);
		atomic_fetch_add(&job->windows[rank].header->readers, 1);
		syscall(SYS_futex, &job->windows[rank].header->readers,
			FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	}
	mine = &job->windows[job->rank].header->readers;
	while ((readers = atomic_load(mine)) < job->ranks)
		syscall(SYS_futex, mine, FUTEX_WAIT, readers, NULL, NULL, 0);
}

/* ---- the sum ---- */

static void write_output(struct job *job, const float *sum)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/rank-%u.f32", job->outdir, job->rank);
	file = fopen(path, "we");
	if (!file || fwrite(sum, sizeof(*sum), job->floats, file) !=
		     job->floats || fclose(file))
		fail(job, "%s: %s", path, strerror(errno));
}

/* Rank after rank, here and there: float addition depends on the order. */
static void add(float *sum, const float *slice, size_t floats)
{
	size_t i;

	for (i = 0; i < floats; i++)
		sum[i] += slice[i];
}

static void reduce(struct job *job, int input)
{
	size_t size = job->floats * sizeof(float);
	float *sum = calloc(job->floats, sizeof(*sum));
	float *expected = calloc(job->floats, sizeof(*sum));
	float *slice = malloc(size);
	uint32_t rank;

	if (!sum || !expected || !slice)
		fail(job, "no memory");
	for (rank = 0; rank < job->ranks; rank++)
		add(sum, job->windows[rank].slice, job->floats);
	write_output(job, sum);

	for (rank = 0; rank < job->ranks; rank++) {
		read_slice(job, input, rank, slice);
		add(expected, slice, job->floats);
	}
	if (memcmp(sum, expected, size))
		fail(job, "the sum differs from the one taken from %s",
		     job->input);
	printf("rank %u: sum of %zu floats over %u ranks equals the one taken from the file\n",
	       job->rank, job->floats, job->ranks);
	free(sum);
	free(expected);
	free(slice);
}

static int work(struct job *job)
{
	char text[512];
	int input;
	int ret = chipboot_from_env(&job->publisher, &job->observer);

	if (ret < 0)
		fail(job, "%s", chipboot_explain(ret, text, sizeof(text)));
	job->rank = chipboot_publisher_channel(job->publisher);
	job->ranks = chipboot_observer_channels(job->observer);
	misbehave(job);

	chipboot_progress(job->publisher, "reading the input");
	input = open_input(job);
	publish_window(job, input);
	wait_for_peers(job);
	open_windows(job);
	reduce(job, input);
	return 0;
}

/* ---- input ---- */

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Numbers of many magnitudes, so that a sum in another order would differ. */
static float next_float(uint64_t *state)
{
	uint64_t bits = next_random(state);
	float fraction = (int32_t)(bits >> 32) / 2147483648.0f;

	return fraction * (1u << (bits & 15));
}

static int generate(char **arguments)
{
	uint64_t seed = strtoull(arguments[0], NULL, 0);
	uint64_t count = strtoull(arguments[1], NULL, 0) *
			 strtoull(arguments[2], NULL, 0);
	FILE *file = fopen(arguments[3], "we");
	float number;

	while (file && count--) {
		number = next_float(&seed);
		if (fwrite(&number, sizeof(number), 1, file) != 1)
			break;
	}
	if (!file || count != UINT64_MAX || fclose(file)) {
		fprintf(stderr, "allreduce: %s: %s\n", arguments[3],
			strerror(errno));
		return 1;
	}
	return 0;
}

/* ---- arguments ---- */

enum { GENERATE = 256, FAIL_RANK, KILL_RANK, HANG_RANK };

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct job *job = state->input;

	switch (key) {
	case GENERATE:
		job->generate = true;
		return 0;
	case FAIL_RANK:
		job->fail_rank = atoi(argument);
		return 0;
	case KILL_RANK:
		job->kill_rank = atoi(argument);
		return 0;
	case HANG_RANK:
		job->hang_rank = atoi(argument);
		return 0;
	case ARGP_KEY_ARGS:
		job->arguments = state->argv + state->next;
		if (state->argc - state->next != (job->generate ? 4 : 2))
			argp_usage(state);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return EINVAL;
	}
	return ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "generate", GENERATE, NULL, 0, "Write an input file", 0 },
		{ "fail-rank", FAIL_RANK, "R", 0,
		  "Rank R answers error 42: device not found", 1 },
		{ "kill-rank", KILL_RANK, "R", 0,
		  "Rank R is killed in its bring-up", 1 },
		{ "hang-rank", HANG_RANK, "R", 0,
		  "Rank R hangs in its bring-up, ignoring SIGTERM", 1 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options, .parser = parse,
		.args_doc = "INPUT OUTDIR\n--generate SEED RANKS FLOATS FILE",
		.doc = "Sum float32 slices across the processes of `chipboot run'.",
	};
	struct job job = {
		.fail_rank = NOBODY, .kill_rank = NOBODY, .hang_rank = NOBODY,
	};

	argp_parse(&argp, argc, argv, 0, NULL, &job);
	if (job.generate)
		return generate(job.arguments);
	job.input = job.arguments[0];
	job.outdir = job.arguments[1];
	return work(&job);
}
