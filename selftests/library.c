// SPDX-License-Identifier: MIT
/*
 * libchipboot against the real module, through its interface alone.
 *
 * vm: --cpus 2 --timeout 900
 */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wclobbered"
#endif
#include "kselftest_harness.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <chipboot.h>

/* An emulated machine next to a busy neighbour is 20 to 30 times slower. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#define MS INT64_C(1000000)
#define PATIENCE (INT64_C(200000) * MS)

/* Ends a child with the number of the line that went wrong, or 0. */
#define CHILD_ASSERT(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "# child: line %d: %s\n", __LINE__, \
				#condition); \
			_exit(1); \
		} \
	} while (0)

static int reap(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Descriptors open in this process, less the one that counts them. */
static int count_fds(void)
{
	int count = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static struct chipboot_observer *own(struct chipboot_session *session)
{
	return chipboot_session_observer(session);
}

FIXTURE(library) {
	struct chipboot_session *session;
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	struct chipboot_answer answer;
	struct chipboot_info info;
	int fds;
};

FIXTURE_SETUP(library)
{
	self->fds = count_fds();
	ASSERT_EQ(chipboot_session_create(&self->session, 4), 0);
}

FIXTURE_TEARDOWN(library)
{
	chipboot_session_close(self->session);
	EXPECT_EQ(count_fds(), self->fds);
}

TEST_F(library, versions)
{
	struct chipboot_versions versions;

	ASSERT_EQ(chipboot_get_versions(&versions), 0);
	EXPECT_EQ(versions.library_abi, 1);
	EXPECT_GE(versions.module_abi, 1);
	EXPECT_GE(versions.max_channels_per_session, 4);
	EXPECT_STREQ(versions.library, versions.module);
}

TEST_F(library, a_round_by_fork)
{
	uint64_t words[CHIPBOOT_MAX_WORDS];
	pid_t pids[4];
	int i, w;

	for (i = 0; i < CHIPBOOT_MAX_WORDS; i++)
		words[i] = UINT64_MAX - i;
	for (i = 0; i < 4; i++) {
		pids[i] = chipboot_fork(self->session, i, SIGKILL, 0,
					&self->publisher, &self->observer);
		if (pids[i])
			continue;
		/* Nothing but standard streams, the two handles. */
		CHILD_ASSERT(count_fds() == self->fds + 2);
		CHILD_ASSERT(chipboot_publisher_channel(self->publisher) ==
			     (uint32_t)i);
		CHILD_ASSERT(!own(self->session));
		CHILD_ASSERT(chipboot_session_abort(self->session, 0, 4, 1,
						    "x") == -EPERM);
		if (i == 3)
			_exit(7);
		CHILD_ASSERT(chipboot_publish_success(self->publisher, i,
						      i + 1, i + 2, words,
						      CHIPBOOT_MAX_WORDS - i) ==
			     0);
		CHILD_ASSERT(chipboot_publish_success(self->publisher, 0, 0, 0,
						      NULL, 0) == -EALREADY);
		CHILD_ASSERT(chipboot_wait(self->observer, CHIPBOOT_ALL,
					   PATIENCE, 0, 0) == 4);
		CHILD_ASSERT(chipboot_state(self->observer, 3) ==
			     CHIPBOOT_STATE_ERROR);
		/* A child that unwinds the launcher's frames harms nobody. */
		chipboot_session_close(self->session);
		chipboot_publisher_close(self->publisher);
		chipboot_observer_close(self->observer);
		_exit(0);
	}
	for (i = 0; i < 4; i++)
		ASSERT_GT(pids[i], 0);
	EXPECT_EQ(self->publisher, NULL);
	EXPECT_EQ(self->observer, NULL);
	EXPECT_EQ(chipboot_wait(own(self->session), CHIPBOOT_ALL, PATIENCE, 0,
				0), 4);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(reap(pids[i]), 0);
		ASSERT_EQ(chipboot_read(own(self->session), i, &self->answer),
			  CHIPBOOT_STATE_SUCCESS);
		EXPECT_EQ(self->answer.device_ctx, i);
		EXPECT_EQ(self->answer.window_base, i + 1);
		EXPECT_EQ(self->answer.window_size, i + 2);
		EXPECT_EQ(self->answer.publisher_pid, pids[i]);
		EXPECT_EQ(self->answer.flags,
			  CHIPBOOT_HAS_STATUS | CHIPBOOT_IS_GONE);
		ASSERT_EQ(self->answer.count, CHIPBOOT_MAX_WORDS - i);
		for (w = 0; w < self->answer.count; w++)
			ASSERT_EQ(self->answer.words[w], words[w]);
	}
	EXPECT_EQ(reap(pids[3]), 7 << 8);
	ASSERT_EQ(chipboot_read(own(self->session), 3, &self->answer),
		  CHIPBOOT_STATE_ERROR);
	EXPECT_EQ(self->answer.origin, CHIPBOOT_BY_EXIT);
	EXPECT_EQ(self->answer.wait_status, 7 << 8);
	EXPECT_EQ(self->answer.error_code, -EOWNERDEAD);
	EXPECT_STREQ(self->answer.message, "exited with code 7");
	EXPECT_EQ(chipboot_read(own(self->session), 4, &self->answer), -ENOENT);
	EXPECT_EQ(chipboot_state(own(self->session), 4), -ENOENT);
	EXPECT_EQ(chipboot_page(own(self->session), 4), NULL);
}

TEST_F(library, a_child_of_a_plain_fork)
{
	struct chipboot_publisher *publishers[4];
	pid_t pids[4];
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(chipboot_session_claim(self->session, i,
						 &publishers[i]), 0);
	EXPECT_EQ(chipboot_session_child(self->session, 0, 0, 0,
					 &self->publisher, &self->observer),
		  -EPERM);
	for (i = 0; i < 4; i++) {
		pids[i] = fork();
		ASSERT_GE(pids[i], 0);
		if (pids[i])
			continue;
		CHILD_ASSERT(chipboot_session_child(self->session, 4, 0, 0,
						    &self->publisher,
						    &self->observer) ==
			     -ENOENT);
		CHILD_ASSERT(chipboot_session_child(self->session, i, SIGKILL,
						    CHIPBOOT_ON_CHANGE,
						    &self->publisher,
						    &self->observer) == 0);
		CHILD_ASSERT(self->publisher == publishers[i]);
		CHILD_ASSERT(count_fds() == self->fds + 2);
		CHILD_ASSERT(chipboot_publish_success(publishers[!i], 0, 0, 0,
						      NULL, 0) == -EBADF);
		/* Fewer than all, with an observer of changes. */
		if (i == 3)
			CHILD_ASSERT(chipboot_wait(self->observer, 3, PATIENCE,
						   0, 0) >= 3);
		CHILD_ASSERT(chipboot_publish_error(self->publisher, i, "") ==
			     0);
		_exit(0);
	}
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(chipboot_publisher_bind(publishers[i], pids[i],
						  SIGKILL), 0);
		chipboot_publisher_close(publishers[i]);
	}
	EXPECT_EQ(chipboot_wait(own(self->session), CHIPBOOT_ALL, PATIENCE, 0,
				0), 4);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(reap(pids[i]), 0);
		EXPECT_EQ(chipboot_read(own(self->session), i, &self->answer),
			  CHIPBOOT_STATE_ERROR);
		EXPECT_EQ(self->answer.error_code, i);
		EXPECT_EQ(self->answer.origin, CHIPBOOT_BY_PUBLISHER);
	}
	EXPECT_EQ(self->answer.order, 4);
}

static void *fork_often(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		if (pid > 0)
			reap(pid);
	}
	return NULL;
}

/* The register of handles is never inherited locked or half changed. */
TEST_F(library, forks_beside_claims)
{
	struct chipboot_publisher *publisher;
	pthread_t thread;
	int stop = 0;
	pid_t pid;
	int i;

	ASSERT_EQ(pthread_create(&thread, NULL, fork_often, &stop), 0);
	for (i = 0; i < 50; i++) {
		pid = chipboot_fork(self->session, 0, SIGKILL, 0,
				    &self->publisher, &self->observer);
		if (!pid)
			_exit(-chipboot_publish_success(self->publisher, i, 0,
							0, NULL, 0));
		ASSERT_GT(pid, 0);
		EXPECT_EQ(reap(pid), 0);
		EXPECT_EQ(chipboot_state(own(self->session), 0),
			  CHIPBOOT_STATE_SUCCESS);
		EXPECT_EQ(chipboot_session_reset(self->session, 0, 1, 0), 0);
		ASSERT_EQ(chipboot_session_claim(self->session, 1, &publisher),
			  0);
		chipboot_publisher_close(publisher);
		/* A child of the other thread may hold a copy for a moment. */
		EXPECT_GE(chipboot_session_abort(self->session, 1, 1, 1, ""), 0);
		ASSERT_EQ(chipboot_session_reset(self->session, 1, 1, 0), 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

static int take(struct __test_metadata *_metadata)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	int ret = chipboot_from_env(&publisher, &observer);

	EXPECT_EQ(!!publisher, ret == 0);
	EXPECT_EQ(!!observer, ret == 0);
	return ret;
}

TEST_F(library, the_environment)
{
	static const struct {
		const char *name, *value;
		int error;
	} garbage[] = {
		{ "CHIPBOOT_CHANNEL", NULL, -ENOENT },
		{ "CHIPBOOT_CHANNELS", NULL, -ENOENT },
		{ "CHIPBOOT_PUBLISHER_FD", NULL, -ENOENT },
		{ "CHIPBOOT_OBSERVER_FD", NULL, -ENOENT },
		{ "CHIPBOOT_CHANNEL", "", -EINVAL },
		{ "CHIPBOOT_CHANNEL", "2x", -EINVAL },
		{ "CHIPBOOT_CHANNEL", " 2", -EINVAL },
		{ "CHIPBOOT_CHANNEL", "+2", -EINVAL },
		{ "CHIPBOOT_CHANNEL", "-2", -EINVAL },
		{ "CHIPBOOT_CHANNEL", "4294967296", -EINVAL },
		{ "CHIPBOOT_CHANNEL", "18446744073709551618", -EINVAL },
		{ "CHIPBOOT_CHANNEL", "3", -EBADMSG },
		{ "CHIPBOOT_CHANNELS", "5", -EBADMSG },
		{ "CHIPBOOT_PUBLISHER_FD", "2147483648", -EINVAL },
		{ "CHIPBOOT_PUBLISHER_FD", "1000", -EBADF },
		{ "CHIPBOOT_PUBLISHER_FD", "1", -ENOTTY },
		{ "CHIPBOOT_OBSERVER_FD", "1", -ENOTTY },
	};
	struct chipboot_session *other;
	struct chipboot_observer *stranger;
	char text[512], observer_fd[16], number[16];
	size_t i;

	EXPECT_EQ(take(_metadata), -ENOENT);
	ASSERT_EQ(chipboot_session_claim(self->session, 2, &self->publisher),
		  0);
	ASSERT_EQ(chipboot_session_observe(self->session, 0, &self->observer),
		  0);
	ASSERT_EQ(chipboot_exec_prepare(self->publisher, self->observer), 0);
	EXPECT_EQ(fcntl(chipboot_publisher_fd(self->publisher), F_GETFD), 0);
	EXPECT_EQ(fcntl(chipboot_observer_fd(self->observer), F_GETFD), 0);
	EXPECT_STREQ(getenv("CHIPBOOT_CHANNEL"), "2");
	EXPECT_STREQ(getenv("CHIPBOOT_CHANNELS"), "4");
	snprintf(observer_fd, sizeof(observer_fd), "%s",
		 getenv("CHIPBOOT_OBSERVER_FD"));

	for (i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		char *was = strdup(getenv(garbage[i].name));
		int ret;

		if (garbage[i].value)
			setenv(garbage[i].name, garbage[i].value, 1);
		else
			unsetenv(garbage[i].name);
		ret = take(_metadata);
		EXPECT_EQ(ret, garbage[i].error)
			TH_LOG("%s=%s", garbage[i].name, garbage[i].value);
		/* Says which variable. */
		chipboot_explain(ret, text, sizeof(text));
		EXPECT_NE(strstr(text, garbage[i].name), NULL)
			TH_LOG("%s", text);
		setenv(garbage[i].name, was, 1);
		free(was);
	}

	/* A handle of the wrong kind, or of another session. */
	setenv("CHIPBOOT_OBSERVER_FD", getenv("CHIPBOOT_PUBLISHER_FD"), 1);
	EXPECT_EQ(take(_metadata), -ENOTTY);
	ASSERT_EQ(chipboot_session_create(&other, 4), 0);
	ASSERT_EQ(chipboot_session_observe(other, 0, &stranger), 0);
	snprintf(number, sizeof(number), "%d", chipboot_observer_fd(stranger));
	setenv("CHIPBOOT_OBSERVER_FD", number, 1);
	EXPECT_EQ(take(_metadata), -EBADMSG);
	setenv("CHIPBOOT_OBSERVER_FD", observer_fd, 1);
	chipboot_observer_close(stranger);
	chipboot_session_close(other);

	/* And in the end, the real thing, once.  The descriptors change hands. */
	EXPECT_EQ(take(_metadata), 0);
	EXPECT_EQ(getenv("CHIPBOOT_CHANNEL"), NULL);
	EXPECT_EQ(getenv("CHIPBOOT_CHANNELS"), NULL);
	EXPECT_EQ(getenv("CHIPBOOT_PUBLISHER_FD"), NULL);
	EXPECT_EQ(getenv("CHIPBOOT_OBSERVER_FD"), NULL);
	EXPECT_EQ(fcntl(chipboot_publisher_fd(self->publisher), F_GETFD),
		  FD_CLOEXEC);
	EXPECT_EQ(fcntl(chipboot_observer_fd(self->observer), F_GETFD),
		  FD_CLOEXEC);
	EXPECT_EQ(take(_metadata), -ENOENT);
	chipboot_publisher_close(self->publisher);
	chipboot_observer_close(self->observer);
}

TEST_F(library, over_a_socket)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	int sockets[2];
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		ASSERT_EQ(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0,
				     sockets), 0);
		ASSERT_EQ(chipboot_session_claim(self->session, i,
						 &self->publisher), 0);
		ASSERT_EQ(chipboot_send(sockets[0], self->publisher,
					own(self->session)), 0);
		chipboot_publisher_close(self->publisher);
		ASSERT_EQ(chipboot_receive(sockets[1], &publisher, &observer),
			  0);
		EXPECT_EQ(fcntl(chipboot_publisher_fd(publisher), F_GETFD),
			  FD_CLOEXEC);
		EXPECT_EQ(chipboot_publisher_channel(publisher), i);
		EXPECT_EQ(chipboot_publish_success(publisher, 5, 0, 0, NULL,
						   0), 0);
		EXPECT_EQ(chipboot_state(observer, i), CHIPBOOT_STATE_SUCCESS);
		chipboot_publisher_close(publisher);
		chipboot_observer_close(observer);

		ASSERT_EQ(chipboot_send(sockets[0], NULL, own(self->session)),
			  0);
		ASSERT_EQ(chipboot_receive(sockets[1], &publisher, &observer),
			  0);
		EXPECT_EQ(publisher, NULL);
		EXPECT_EQ(chipboot_observer_channels(observer), 4);
		chipboot_observer_close(observer);

		/* Not a parcel; and nobody there any more. */
		ASSERT_EQ(write(sockets[0], "sixteen bytes ok", 16), 16);
		EXPECT_EQ(chipboot_receive(sockets[1], &publisher, &observer),
			  -EBADMSG);
		close(sockets[0]);
		if (types[i] == SOCK_STREAM)
			EXPECT_EQ(chipboot_receive(sockets[1], &publisher,
						   &observer), -ENODATA);
		EXPECT_LT(chipboot_send(sockets[1], NULL, own(self->session)),
			  0);
		close(sockets[1]);
	}
	EXPECT_EQ(chipboot_send(0, NULL, NULL), -EINVAL);
}

TEST_F(library, generations)
{
	uint64_t words[1] = { 1 };

	ASSERT_EQ(chipboot_session_claim(self->session, 1, &self->publisher),
		  0);
	ASSERT_EQ(chipboot_publisher_bind(self->publisher, 0, 0), 0);
	EXPECT_EQ(chipboot_session_reset(self->session, 0, 4,
					 CHIPBOOT_KEEP_PUBLISHERS), -EBUSY);
	EXPECT_EQ(chipboot_publish_success(self->publisher, 1, 0, 0, NULL, 1),
		  -EINVAL);
	EXPECT_EQ(chipboot_publish_success(self->publisher, 1, 0, 0, words,
					   CHIPBOOT_MAX_WORDS + 1),
		  -EOVERFLOW);
	EXPECT_EQ(chipboot_progress(self->publisher, "x"), 0);
	EXPECT_EQ(chipboot_publish_success(self->publisher, 1, 0, 0, words, 1),
		  0);
	EXPECT_EQ(chipboot_progress(self->publisher, "x"), -EALREADY);
	EXPECT_EQ(chipboot_session_reset(self->session, 1, 1,
					 CHIPBOOT_KEEP_PUBLISHERS), 0);
	EXPECT_EQ(chipboot_publish_success(self->publisher, 2, 0, 0, NULL, 0),
		  -ESTALE);
	EXPECT_EQ(chipboot_progress(self->publisher, "x"), -ESTALE);
	EXPECT_EQ(chipboot_publisher_generation(self->publisher), 1);
	EXPECT_EQ(chipboot_publisher_refresh(self->publisher), 0);
	EXPECT_EQ(chipboot_publisher_generation(self->publisher), 2);
	EXPECT_EQ(chipboot_publish_success(self->publisher, 2, 0, 0, NULL, 0),
		  0);
	EXPECT_EQ(chipboot_read(own(self->session), 1, &self->answer),
		  CHIPBOOT_STATE_SUCCESS);
	EXPECT_EQ(self->answer.generation, 2);
	EXPECT_EQ(self->answer.device_ctx, 2);
	EXPECT_EQ(self->answer.count, 0);
	EXPECT_EQ(chipboot_session_reset(self->session, 1, 1, 0), 0);
	EXPECT_EQ(chipboot_publisher_refresh(self->publisher), -ESTALE);
	EXPECT_EQ(chipboot_publisher_info(self->publisher, &self->info), 0);
	EXPECT_EQ(self->info.idle, 4);
	chipboot_publisher_close(self->publisher);
}

static void fill(char *text, size_t size, const char *with)
{
	size_t length = strlen(with);
	size_t i;

	for (i = 0; i < size; i++)
		text[i] = with[i % length];
	text[size] = '\0';
}

TEST_F(library, texts_are_cut_between_characters)
{
	/* What to repeat, bytes put in front, bytes expected to remain. */
	static const struct {
		const char *with;
		size_t front, remain;
	} texts[] = {
		{ "x", 0, 1023 },
		{ "\xe4\xbd\xa0", 0, 1023 },		/* fits to the byte */
		{ "\xe4\xbd\xa0", 1, 1021 },
		{ "\xe4\xbd\xa0", 2, 1022 },
		{ "\xf0\x9f\x98\x80", 0, 1020 },
		{ "\xf0\x9f\x98\x80", 1, 1021 },
		{ "\xf0\x9f\x98\x80", 2, 1022 },
		{ "\xf0\x9f\x98\x80", 3, 1023 },
		{ "\xc3\xa9", 0, 1022 },
		{ "\xc3\xa9", 1, 1023 },
		{ "\xa0", 0, 1023 },			/* not UTF-8 */
		{ "\xe4", 0, 1023 },
		{ "\xff", 0, 1023 },
	};
	char text[3001];
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t remain = texts[i].remain;

		memset(text, 'a', texts[i].front);
		fill(text + texts[i].front, 3000 - texts[i].front,
		     texts[i].with);
		ASSERT_EQ(chipboot_session_claim(self->session, 0,
						 &self->publisher), 0);
		EXPECT_EQ(chipboot_progress(self->publisher, text), 0);
		EXPECT_EQ(chipboot_publish_error(self->publisher, INT32_MIN,
						 text), 0);
		EXPECT_EQ(chipboot_read(own(self->session), 0, &self->answer),
			  CHIPBOOT_STATE_ERROR);
		EXPECT_EQ(self->answer.error_code, INT32_MIN);
		EXPECT_EQ(strlen(self->answer.message), remain)
			TH_LOG("text %zu", i);
		EXPECT_EQ(memcmp(self->answer.message, text, remain), 0);
		EXPECT_EQ(self->answer.flags, CHIPBOOT_WAS_CUT);
		chipboot_publisher_close(self->publisher);
		ASSERT_EQ(chipboot_session_reset(self->session, 0, 1, 0), 0);
	}

	fill(text, 1023, "y");
	EXPECT_EQ(chipboot_session_abort(self->session, 0, 2, 9, text), 2);
	EXPECT_EQ(chipboot_read(own(self->session), 1, &self->answer),
		  CHIPBOOT_STATE_ERROR);
	EXPECT_STREQ(self->answer.message, text);
	EXPECT_EQ(self->answer.flags, 0);
	EXPECT_EQ(self->answer.origin, CHIPBOOT_BY_OWNER);
	EXPECT_EQ(chipboot_session_abort(self->session, 0, 4, 9, ""), 2);
}

static void on_alarm(int signal)
{
}

TEST_F(library, waiting)
{
	struct itimerval often = {
		.it_interval = { .tv_usec = 2000 }, .it_value = { .tv_usec = 2000 },
	};
	struct sigaction action = { .sa_handler = on_alarm };
	struct chipboot_observer *mine = own(self->session);
	struct chipboot_publisher *publishers[4];
	struct timespec before, after;
	uint64_t bitmap[2] = { ~0ull, ~0ull };
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(chipboot_session_claim(self->session, i,
						 &publishers[i]), 0);
	EXPECT_EQ(chipboot_wait(mine, CHIPBOOT_ALL, 0, 0, 0), -ETIMEDOUT);
	EXPECT_EQ(chipboot_wait(mine, 1, 0, 0, 0), -ETIMEDOUT);
	EXPECT_EQ(chipboot_wait(mine, 5, 0, 0, 0), -EINVAL);
	EXPECT_EQ(chipboot_wait(mine, 1, 0, 0, 4), -EINVAL);

	/* Signals neither end a wait nor make it longer, unless asked to. */
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	clock_gettime(CLOCK_MONOTONIC, &before);
	EXPECT_EQ(chipboot_wait(mine, CHIPBOOT_ALL, 200 * MS, 0, 0),
		  -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &after);
	TH_LOG("200 ms wait among signals took %ld ms",
	       (after.tv_sec - before.tv_sec) * 1000 +
	       (after.tv_nsec - before.tv_nsec) / 1000000);
	EXPECT_EQ(chipboot_wait(mine, CHIPBOOT_ALL, CHIPBOOT_FOREVER, 0,
				CHIPBOOT_WAIT_INTERRUPTIBLE), -EINTR);
	memset(&often, 0, sizeof(often));
	setitimer(ITIMER_REAL, &often, NULL);

	EXPECT_EQ(chipboot_publish_success(publishers[2], 0, 0, 0, NULL, 0), 0);
	EXPECT_EQ(chipboot_wait(mine, 1, CHIPBOOT_FOREVER, 0, 0), 1);
	EXPECT_EQ(chipboot_wait(mine, 2, MS, MS, 0), -ETIMEDOUT);
	EXPECT_EQ(chipboot_observer_pending(mine, bitmap, 2), 0);
	EXPECT_EQ(bitmap[0], 0xb);
	EXPECT_EQ(bitmap[1], 0);

	EXPECT_EQ(chipboot_publish_error(publishers[1], 3, "c"), 0);
	EXPECT_EQ(chipboot_wait(mine, CHIPBOOT_ALL, 0, 0, 0), -ETIMEDOUT);
	EXPECT_EQ(chipboot_wait(mine, CHIPBOOT_ALL, CHIPBOOT_FOREVER, 0,
				CHIPBOOT_WAIT_FAIL_FAST), 2);
	EXPECT_EQ(chipboot_observer_info(mine, 0, &self->info), 0);
	EXPECT_EQ(self->info.first_failed, 1);
	EXPECT_EQ(self->info.idle, 2);

	/* An observer of other events is not woken by them, nor spins. */
	ASSERT_EQ(chipboot_session_observe(self->session, CHIPBOOT_ON_ERROR |
					   CHIPBOOT_ON_COMPLETE,
					   &self->observer), 0);
	EXPECT_EQ(chipboot_wait(self->observer, CHIPBOOT_ALL, 20 * MS, 0, 0),
		  -ETIMEDOUT);
	EXPECT_EQ(chipboot_wait(self->observer, 3, 20 * MS, 0, 0), -EPERM);
	chipboot_observer_close(self->observer);

	EXPECT_EQ(chipboot_session_set_deadline(self->session, MS), 0);
	EXPECT_EQ(chipboot_wait(mine, CHIPBOOT_ALL, CHIPBOOT_FOREVER, 0, 0), 4);
	EXPECT_EQ(chipboot_read(mine, 3, &self->answer), CHIPBOOT_STATE_ERROR);
	EXPECT_EQ(self->answer.origin, CHIPBOOT_BY_DEADLINE);
	EXPECT_EQ(chipboot_publish_success(publishers[3], 0, 0, 0, NULL, 0),
		  -ECANCELED);
	for (i = 0; i < 4; i++)
		chipboot_publisher_close(publishers[i]);
}

/* Each answer while others wait for k of them, asleep or spinning. */
TEST_F(library, waiting_for_some)
{
	pid_t pids[4];
	int i;

	for (i = 0; i < 4; i++) {
		pids[i] = chipboot_fork(self->session, i, SIGKILL,
					CHIPBOOT_ON_CHANGE | CHIPBOOT_ON_COMPLETE,
					&self->publisher, &self->observer);
		if (pids[i])
			continue;
		/* Chip i answers once i others have. */
		if (i)
			CHILD_ASSERT(chipboot_wait(self->observer, i, PATIENCE,
						   i == 2 ? 50 * MS : 0, 0) ==
				     i);
		CHILD_ASSERT(chipboot_progress(self->publisher, "now") == 0);
		CHILD_ASSERT(chipboot_publish_success(self->publisher, 0, 0, 0,
						      NULL, 0) == 0);
		_exit(0);
	}
	for (i = 0; i < 4; i++)
		ASSERT_GT(pids[i], 0);
	EXPECT_EQ(chipboot_wait(own(self->session), 3, PATIENCE, 0, 0) >= 3, 1);
	EXPECT_EQ(chipboot_wait(own(self->session), 0, PATIENCE, 0, 0), 4);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(reap(pids[i]), 0);
		EXPECT_EQ(chipboot_read(own(self->session), i, &self->answer),
			  CHIPBOOT_STATE_SUCCESS);
		EXPECT_EQ(self->answer.order, i + 1);
	}
}

/* A peer that waits learns of the launcher's death; after a detach it waits on. */
TEST_F(library, the_owner_leaves)
{
	int sockets[2];
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	int detach;
	pid_t pid;

	for (detach = 0; detach < 2; detach++) {
		ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			struct chipboot_session *session;

			CHILD_ASSERT(chipboot_session_create(&session, 1) == 0);
			CHILD_ASSERT(chipboot_session_claim(session, 0,
							    &publisher) == 0);
			CHILD_ASSERT(chipboot_send(sockets[0], publisher,
						   own(session)) == 0);
			if (detach) {
				CHILD_ASSERT(chipboot_session_detach(session) ==
					     0);
				CHILD_ASSERT(chipboot_session_detach(session) ==
					     -EPERM);
			}
			_exit(0);
		}
		EXPECT_EQ(reap(pid), 0);
		ASSERT_EQ(chipboot_receive(sockets[1], &publisher, &observer),
			  0);
		EXPECT_EQ(chipboot_wait(observer, CHIPBOOT_ALL,
					detach ? 20 * MS : CHIPBOOT_FOREVER, 0,
					0), detach ? -ETIMEDOUT : -EOWNERDEAD);
		EXPECT_EQ(chipboot_observer_info(observer, 0, &self->info), 0);
		EXPECT_EQ(self->info.owner_state,
			  detach ? CHIPBOOT_OWNER_HAS_DETACHED :
				   CHIPBOOT_OWNER_IS_DEAD);
		EXPECT_EQ(chipboot_publish_success(publisher, 0, 0, 0, NULL, 0),
			  0);
		EXPECT_EQ(chipboot_wait(observer, CHIPBOOT_ALL, 0, 0, 0), 1);
		chipboot_publisher_close(publisher);
		chipboot_observer_close(observer);
		close(sockets[0]);
		close(sockets[1]);
	}
}

TEST_F(library, channel_info)
{
	struct chipboot_channel channel;

	ASSERT_EQ(chipboot_session_claim(self->session, 1, &self->publisher),
		  0);
	EXPECT_EQ(chipboot_publisher_bind(self->publisher, 0, 65), -EINVAL);
	EXPECT_EQ(chipboot_publisher_bind(self->publisher, 1, 0), -EPERM);
	EXPECT_EQ(chipboot_publisher_bind(self->publisher, 0, 0), 0);
	EXPECT_EQ(chipboot_channel_info(own(self->session), 1, &channel), 0);
	EXPECT_EQ(channel.pid, getpid());
	EXPECT_EQ(channel.bound, 1);
	EXPECT_EQ(channel.state, CHIPBOOT_STATE_IDLE);
	EXPECT_EQ(channel.generation, 1);
	EXPECT_EQ(chipboot_channel_info(own(self->session), 4, &channel),
		  -ENOENT);
	EXPECT_EQ(chipboot_channel_info(own(self->session), UINT32_MAX,
					&channel), -ENOENT);
	chipboot_publisher_close(self->publisher);
}

/* A descriptor that came by a way of the caller's own. */
TEST_F(library, an_observer_from_a_descriptor)
{
	struct chipboot_observer *observer;
	int fd, others[3];
	size_t i;

	fd = dup(chipboot_observer_fd(own(self->session)));
	ASSERT_GE(fd, 0);
	ASSERT_EQ(chipboot_observer_from_fd(fd, &observer), 0);
	EXPECT_EQ(chipboot_observer_fd(observer), fd);
	EXPECT_EQ(chipboot_observer_channels(observer), 4);
	ASSERT_EQ(chipboot_session_claim(self->session, 2, &self->publisher),
		  0);
	EXPECT_EQ(chipboot_publish_success(self->publisher, 7, 0, 0, NULL, 0),
		  0);
	EXPECT_EQ(chipboot_state(observer, 2), CHIPBOOT_STATE_SUCCESS);
	EXPECT_EQ(chipboot_read(observer, 2, &self->answer),
		  CHIPBOOT_STATE_SUCCESS);
	EXPECT_EQ(self->answer.device_ctx, 7);
	/* It is the observer's now. */
	chipboot_observer_close(observer);
	EXPECT_EQ(fcntl(fd, F_GETFD), -1);
	/* What it was a copy of goes on. */
	EXPECT_EQ(chipboot_state(own(self->session), 2),
		  CHIPBOOT_STATE_SUCCESS);

	/* Handles of other kinds, and no handle: they stay the caller's. */
	others[0] = dup(chipboot_session_fd(self->session));
	others[1] = dup(chipboot_publisher_fd(self->publisher));
	others[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (i = 0; i < 3; i++) {
		observer = (void *)1;
		EXPECT_EQ(chipboot_observer_from_fd(others[i], &observer),
			  -ENOTTY);
		EXPECT_EQ(observer, NULL);
		EXPECT_EQ(close(others[i]), 0);
	}
	EXPECT_EQ(chipboot_observer_from_fd(-1, &observer), -EBADF);
	EXPECT_EQ(chipboot_observer_from_fd(fd, NULL), -EINVAL);
	chipboot_publisher_close(self->publisher);
}

TEST_F(library, errors_say_what_to_do)
{
	struct chipboot_session *session;
	struct chipboot_versions versions;
	char text[512];
	int ret;

	ASSERT_EQ(chipboot_get_versions(&versions), 0);
	EXPECT_EQ(chipboot_session_create(&session, 0), -EINVAL);
	ret = chipboot_session_create(&session,
				      versions.max_channels_per_session + 1);
	EXPECT_EQ(ret, -ERANGE);
	EXPECT_EQ(session, NULL);
	chipboot_explain(ret, text, sizeof(text));
	TH_LOG("%s", text);
	EXPECT_NE(strstr(text, "max_channels_per_session"), NULL);
	EXPECT_EQ(strchr(text, '?'), NULL);

	if (fork() == 0) {
		CHILD_ASSERT(setgid(1000) == 0 && setuid(1000) == 0);
		ret = chipboot_session_create(&session, 1);
		CHILD_ASSERT(ret == -EACCES);
		TH_LOG("%s", chipboot_explain(ret, text, sizeof(text)));
		CHILD_ASSERT(strstr(text, "/dev/chipboot"));
		_exit(0);
	}
	EXPECT_EQ(reap(-1), 0);

	/* What is cut is ended. */
	memset(text, 'x', sizeof(text));
	chipboot_explain(-ETIMEDOUT, text, 4);
	EXPECT_STREQ(text, "not");
	/* Of another error than this thread's last: by its number. */
	chipboot_explain(-EOWNERDEAD, text, sizeof(text));
	EXPECT_STREQ(text, "the launcher that owns the session is gone");
}

TEST_HARNESS_MAIN
