// SPDX-License-Identifier: MIT
/*
 * chipboot, as its README shows it, and the same with answers read where they are.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chipboot.h>

#include "bench.h"

struct by_chipboot {
	struct chipboot_session *session;
	struct chipboot_observer *all;
	struct chipboot_publisher *publishers[];
};

static void check(int ret)
{
	char why[256];

	if (ret >= 0)
		return;
	fprintf(stderr, "%s: %s\n", bench_program,
		chipboot_explain(ret, why, sizeof(why)));
	exit(1);
}

static void *create(unsigned int n)
{
	struct by_chipboot *by = malloc(sizeof(*by) + n * sizeof(*by->publishers));

	if (!by)
		bench_die("malloc");
	check(chipboot_session_create(&by->session, n));
	by->all = chipboot_session_observer(by->session);
	return by;
}

static void claim(void *self, unsigned int first, unsigned int count)
{
	struct by_chipboot *by = self;
	unsigned int i;

	for (i = first; i < first + count; i++)
		check(chipboot_session_claim(by->session, i, &by->publishers[i]));
}

static void bind(void *self, unsigned int first, unsigned int count, pid_t pid)
{
	struct by_chipboot *by = self;
	unsigned int i;

	for (i = first; i < first + count; i++) {
		check(chipboot_publisher_bind(by->publishers[i], pid, 0));
		chipboot_publisher_close(by->publishers[i]);
	}
}

static void publish(void *self, unsigned int i, const struct answer *answer)
{
	struct by_chipboot *by = self;

	if (answer->state == FAILED)
		check(chipboot_publish_error(by->publishers[i], answer->code,
					     "device not found"));
	else
		check(chipboot_publish_success(by->publishers[i],
					       answer->device_ctx,
					       answer->window_base,
					       answer->window_size,
					       answer->words, BENCH_WORDS));
}

static bool wait_for_all(void *self, int timeout_ms)
{
	struct by_chipboot *by = self;
	int ret = chipboot_wait(by->all, CHIPBOOT_ALL, timeout_ms < 0 ?
				CHIPBOOT_FOREVER : timeout_ms * INT64_C(1000000),
				0, 0);

	if (ret == -ETIMEDOUT)
		return false;
	check(ret);
	return true;
}

static void take(const struct chipboot_answer *from, int state,
		 struct answer *answer)
{
	answer->state = state == CHIPBOOT_STATE_IDLE ? PENDING :
			state == CHIPBOOT_STATE_SUCCESS ? SUCCESS :
			from->origin == CHIPBOOT_BY_EXIT ? DIED : FAILED;
	answer->code = from->error_code;
	answer->device_ctx = from->device_ctx;
	answer->window_base = from->window_base;
	answer->window_size = from->window_size;
	memcpy(answer->words, from->words, sizeof(answer->words));
}

static void read_copy(void *self, unsigned int i, struct answer *answer)
{
	struct by_chipboot *by = self;
	struct chipboot_answer copy;
	int state = chipboot_read(by->all, i, &copy);

	check(state);
	take(&copy, state, answer);
}

static void read_in_place(void *self, unsigned int i, struct answer *answer)
{
	struct by_chipboot *by = self;
	int state = chipboot_state(by->all, i);

	check(state);
	take(chipboot_page(by->all, i), state, answer);
}

static void destroy(void *self)
{
	struct by_chipboot *by = self;

	chipboot_session_close(by->session);
	free(by);
}

#define CHIPBOOT(how, reads) { \
	.name = how, \
	.is = "this project", \
	.notices = true, \
	.death = "the kernel answers for the dead, with the cause", \
	.create = create, \
	.claim = claim, \
	.bind = bind, \
	.publish = publish, \
	.wait = wait_for_all, \
	.read = reads, \
	.destroy = destroy, \
}

const struct contender bench_chipboot = CHIPBOOT("chipboot", read_copy);
const struct contender bench_chipboot_in_place =
	CHIPBOOT("chipboot, read in place", read_in_place);
