// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 32-bit program on a 64-bit kernel does a whole round, and each ioctl once:
 * the structs are the same, and pointers (the stack's have bit 31 set) are not
 * sign-extended on their way.  Built by i686's or armhf's compiler, see the
 * Makefile.  An arm64 kernel with pages of 16 KiB runs no 32-bit programs.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */
/* arch: x86_64 arm64 */

#include "process_test.h"

#include <sys/mman.h>
#include <sys/utsname.h>

/* What is read here must not have been built for 64 bits by mistake. */
#if defined(__LP64__) || defined(__ILP32__) && defined(__x86_64__)
#error "for a 32-bit ABI"
#endif

#define N		4
#define TEXT		"comm_init: 3 of 8 links"

FIXTURE(round) {
	struct cb_session s;
	struct pt_kid kid[N];
	int pub[N];
};

FIXTURE_SETUP(round)
{
	struct cb_session *s = &self->s;
	struct utsname u;
	__u32 i, generation;

	ASSERT_EQ(4, sizeof(void *));
	ASSERT_EQ(0, uname(&u));
	ASSERT_TRUE(!strcmp("x86_64", u.machine) ||
		    !strcmp("aarch64", u.machine));
	ASSERT_EQ(0, cb_session_open(s, N)) TH_LOG("%s", s->why);
	for (i = 0; i < N; i++) {
		self->pub[i] = cb_claim(s->owner, i, &generation);
		ASSERT_LE(0, self->pub[i]);
		ASSERT_EQ(1, generation);
	}
	ASSERT_STATE(s);
}

FIXTURE_TEARDOWN(round)
{
	int i;

	pt_kill_all();
	for (i = 0; i < N; i++)
		close(self->pub[i]);
	cb_session_close(&self->s);
}

/* What a runtime process does; the words are on its stack, above 2 GB. */
static int runtime(struct pt_kid *me, int pub, __u32 i)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;

	if (cb_bind(pub, 0, SIGTERM))
		return 1;
	pt_say(me);
	pt_wait_go(me);
	if (cb_progress(pub, 1, TEXT))
		return 2;
	pt_say(me);
	pt_wait_go(me);
	if (i == 3)
		return 7;
	p = i == 2 ? cb_an_error(1, -2147483647, TEXT, strlen(TEXT)) :
		     cb_a_success(1, i, words, CHIPBOOT_WORDS_MAX);
	if (cb_publish(pub, &p) || cb_publish(pub, &p) != -EALREADY)
		return 3;
	pt_say(me);
	pt_wait_go(me);
	return 0;
}

TEST_F(round, whole)
{
	struct cb_session *s = &self->s;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct pollfd wait = { .fd = s->owner, .events = POLLIN };
	struct chipboot_publish p;
	pid_t pid;
	__u32 i;

	/* the address that a sign extension would spoil */
	ASSERT_NE(0, cb_ptr(words) & 0x80000000);
	ASSERT_EQ(0, cb_ptr(words) >> 32);

	for (i = 0; i < N; i++) {
		pid = pt_fork(&self->kid[i]);
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(runtime(&self->kid[i], self->pub[i], i));
		ASSERT_EQ(0, pt_await(&self->kid[i]));
		cb_want_bound(s, i, self->kid[i].pid);
	}
	ASSERT_STATE(s);
	for (i = 0; i < N; i++) {
		ASSERT_EQ(0, pt_go(&self->kid[i]));
		ASSERT_EQ(0, pt_await(&self->kid[i]));
		cb_want_progress(s, i, TEXT);
	}
	ASSERT_STATE(s);
	EXPECT_EQ(0, poll(&wait, 1, 0));

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pt_go(&self->kid[i]));
		ASSERT_EQ(0, pt_await(&self->kid[i]));
		p = i == 2 ? cb_an_error(1, -2147483647, TEXT, strlen(TEXT)) :
			     cb_a_success(1, i, words, CHIPBOOT_WORDS_MAX);
		cb_want_publish(s, i, &p, 0);
		ASSERT_STATE(s);
	}
	/* the last one dies without an answer, and that is one */
	EXPECT_EQ(POLLPRI, cb_revents(s->owner));
	ASSERT_EQ(0, pt_go(&self->kid[3]));
	ASSERT_EQ(1, poll(&wait, 1, CB_PATIENCE_MS));
	EXPECT_EQ(POLLIN, wait.revents);
	EXPECT_EQ(7 << 8, cb_reap(self->kid[3].pid));
	s->bound[3] = 0;
	s->want[3].wait_status = 7 << 8;
	s->want[3].flags = CHIPBOOT_PAGE_STATUS_VALID;
	cb_want_verdict(s, 3, CHIPBOOT_ORIGIN_EXIT, -EOWNERDEAD,
			"exited with code 7; last progress: " TEXT);
	ASSERT_STATE(s);

	/* the next round, for two of them with the handles of this one */
	ASSERT_EQ(0, cb_reset(s->owner, 0, 2, CHIPBOOT_RESET_KEEP_PUBLISHERS));
	ASSERT_EQ(0, cb_reset(s->owner, 2, 2, 0));
	for (i = 0; i < N; i++)
		cb_want_reset(s, i, i < 2);
	ASSERT_STATE(s);
	EXPECT_EQ(-ESTALE, cb_success(self->pub[0], 1));
	EXPECT_EQ(-ESTALE, cb_success(self->pub[3], 2));
	ASSERT_STATE(s);
	p = cb_a_success(2, 9, words, 5);
	EXPECT_EQ(0, cb_publish(self->pub[0], &p));
	cb_want_publish(s, 0, &p, 0);
	ASSERT_STATE(s);
}

/* What is not in a round. */
TEST_F(round, the_other_ioctls)
{
	struct cb_session *s = &self->s;
	struct chipboot_version v;
	struct chipboot_page page;
	struct {
		struct chipboot_status status;
		__u64 tail;
	} longer;
	__u32 aborted;
	int observer;

	memset(&longer, 0, sizeof(longer));
	EXPECT_EQ(0, cb_version(s->control, &v));
	EXPECT_EQ(CHIPBOOT_ABI_VERSION, v.abi);
	EXPECT_EQ(0, v.reserved);

	observer = cb_observe(s->observer, CHIPBOOT_EVENT_COMPLETE);
	ASSERT_LE(0, observer);
	EXPECT_EQ(0, cb_read(observer, 1, &page));
	EXPECT_EQ(0, memcmp(&page, cb_page(s, 1), sizeof(page)));
	EXPECT_EQ(-ENOENT, cb_read(observer, N, &page));
	EXPECT_EQ(-EPERM, cb_observe(observer, CHIPBOOT_EVENT_ERROR));
	EXPECT_EQ(-EOPNOTSUPP, cb_detach(observer));
	EXPECT_EQ(-ENOTTY, cb_ioctl(observer, _IO(CHIPBOOT_IOC_MAGIC, 0x7f),
				    NULL));
	EXPECT_EQ(-EFAULT, cb_ioctl(observer, CHIPBOOT_IOC_READ,
				    (void *)0xfffff000));
	longer.status.channel = 1;
	EXPECT_EQ(0, cb_ioctl(observer,
			      _IOWR(CHIPBOOT_IOC_MAGIC, 0x40, longer),
			      &longer));
	EXPECT_EQ(1, longer.status.channel_generation);
	EXPECT_EQ(s->id, longer.status.session_id);
	longer.status.flags = 0;
	longer.tail = 1;
	EXPECT_EQ(-E2BIG, cb_ioctl(observer,
				   _IOWR(CHIPBOOT_IOC_MAGIC, 0x40, longer),
				   &longer));
	EXPECT_EQ(-EINVAL, cb_ioctl(s->owner, CHIPBOOT_IOC_DETACH,
				    (void *)0x80000000));
	EXPECT_EQ(-EOPNOTSUPP, cb_success(observer, 1));
	ASSERT_STATE(s);

	/* 64 bits in a register pair's time */
	EXPECT_EQ(0, cb_deadline(s->owner, ((__u64)1 << 62) + 3,
				 CHIPBOOT_DEADLINE_ABSOLUTE));
	s->deadline_ns = ((__u64)1 << 62) + 3;
	s->change = 1;
	ASSERT_STATE(s);
	EXPECT_EQ(0, cb_abort(s->owner, 1, 2, -1, TEXT, &aborted));
	EXPECT_EQ(2, aborted);
	cb_want_verdict(s, 1, CHIPBOOT_ORIGIN_OWNER, -1, TEXT);
	cb_want_verdict(s, 2, CHIPBOOT_ORIGIN_OWNER, -1, TEXT);
	ASSERT_STATE(s);
	EXPECT_EQ(-ECANCELED, cb_success(self->pub[1], 1));
	EXPECT_EQ(0, cb_detach(s->owner));
	s->owner_state = CHIPBOOT_OWNER_DETACHED;
	s->change = 1;
	ASSERT_STATE(s);
	EXPECT_EQ(-EPERM, cb_detach(s->owner));
	close(observer);
	ASSERT_STATE(s);
}

/* An owner's end is seen, and a mapping of all channels is where it was. */
TEST_F(round, owner_closes)
{
	struct cb_session *s = &self->s;

	close(s->owner);
	s->owner = -1;
	s->owner_state = CHIPBOOT_OWNER_CLOSED;
	s->change = 1;
	ASSERT_STATE(s);
	EXPECT_EQ(POLLHUP, cb_revents(self->pub[0]));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, s->stride, PROT_READ, MAP_SHARED,
				   s->observer, (off_t)s->stride * N));
	EXPECT_EQ(EINVAL, errno);
}

TEST_HARNESS_MAIN
