// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 --append init_on_alloc=0 */
/*
 * The mapping: read-only for everyone, for good; nothing a process does to its own
 * mapping, nor what the kernel can be asked to do with it, changes a page or
 * loses one; and it holds the session's memory by itself.
 *
 * Everything twice: in the root's memory cgroup, where the pages are not charged,
 * and in a child's, where they are and the kernel counts their mappings too.
 *
 * init_on_alloc=0: or the allocator would zero the pages that the module forgot.
 */
#include "system_test.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define N	5
#define SECOND_GROUP	"mapping-launcher"

FIXTURE(mapping)
{
	struct cb_session s;
	size_t stride;
	int pub[N];
	/* a second mapping, for the test to play with; s.map stays whole */
	char *map;
};

FIXTURE_VARIANT(mapping)
{
	const char *group;
};

FIXTURE_VARIANT_ADD(mapping, uncharged)
{
	.group = "",
};

FIXTURE_VARIANT_ADD(mapping, charged)
{
	.group = "mapping",
};

/* 0 and 4 IDLE, 1 SUCCESS and 2 ERROR, both at full size, 3 has said progress. */
static void fill(struct __test_metadata *_metadata, struct cb_session *s,
		 int *pub)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_publish p;
	__u32 i;

	for (i = 0; i < N; i++) {
		pub[i] = cb_claim(s->owner, i, NULL);
		ASSERT_LE(0, pub[i]);
	}
	p = cb_a_success(1, 1, words, CHIPBOOT_WORDS_MAX);
	ASSERT_EQ(0, cb_publish(pub[1], &p));
	cb_want_publish(s, 1, &p, getpid());
	memset(text, 'e', sizeof(text));
	p = cb_an_error(1, -5, text, CHIPBOOT_MESSAGE_SIZE - 1);
	ASSERT_EQ(0, cb_publish(pub[2], &p));
	cb_want_publish(s, 2, &p, getpid());
	ASSERT_EQ(0, cb_progress(pub[3], 1, "comm_init"));
	cb_want_progress(s, 3, "comm_init");
	ASSERT_STATE(s);
}

FIXTURE_SETUP(mapping)
{
	struct cb_session *s = &self->s;

	if (*variant->group)
		ASSERT_EQ(0, st_group_make(variant->group));
	ASSERT_EQ(0, st_group_enter(variant->group));
	ASSERT_EQ(0, cb_session_open(s, N)) TH_LOG("%s", s->why);
	fill(_metadata, s, self->pub);
	self->stride = s->stride;
	self->map = (char *)(uintptr_t)cb_map(s->observer, s->stride, 0, N);
	ASSERT_NE(NULL, self->map);
}

FIXTURE_TEARDOWN(mapping)
{
	__u32 i;

	pt_kill_all();
	EXPECT_STATE(&self->s);
	for (i = 0; i < N; i++)
		close(self->pub[i]);
	if (self->map)
		munmap(self->map, N * self->stride);
	cb_session_close(&self->s);
	EXPECT_EQ(0, st_group_enter(""));
	if (*variant->group)
		EXPECT_EQ(0, st_group_remove(variant->group));
}

/* mmap() with an offset that off_t would call negative. */
static long map_raw(int fd, size_t len, int prot, int flags, __u64 offset)
{
	return syscall(SYS_mmap, 0, len, prot, flags, fd, offset);
}

/* 0, and nothing stays mapped, or -errno. */
static int try_map(int fd, size_t len, int prot, int flags, __u64 offset)
{
	long at = map_raw(fd, len, prot, flags, offset);

	if (at == -1)
		return -errno;
	munmap((void *)at, len);
	return 0;
}

/* The page at @at is the model's of @ch: NULL, or the complaint. */
static const char *differs(struct cb_session *s, const void *at, __u32 ch)
{
	static char why[400];
	struct chipboot_page page;

	cb_copy_page(&page, at);
	return cb_page_diff(&s->want[ch], &page, why, sizeof(why));
}

#define EXPECT_PAGE(at, ch)	EXPECT_EQ(NULL, differs(&self->s, at, ch))

/* Is an address mapped at all? */
static bool is_mapped(const void *at)
{
	unsigned char vec;

	return !mincore((void *)(uintptr_t)at, 1, &vec) || errno != ENOMEM;
}

/* In the answer, so that a byte that was lost or zeroed is seen. */
static const void *answer_byte(const char *map, size_t stride)
{
	return map + stride + offsetof(struct chipboot_page, words) + 8;
}

/* ---- what mmap() refuses ---------------------------------------------- */

TEST_F(mapping, protection)
{
	static const struct {
		int prot, flags, err;
	} no[] = {
		{ PROT_WRITE, MAP_SHARED, EACCES },
		{ PROT_READ | PROT_WRITE, MAP_SHARED, EACCES },
		{ PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, EACCES },
		{ PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, EACCES },
		{ PROT_EXEC, MAP_SHARED, EPERM },
		{ PROT_READ | PROT_EXEC, MAP_SHARED, EPERM },
		{ PROT_READ, MAP_PRIVATE, EINVAL },
		{ PROT_NONE, MAP_PRIVATE, EINVAL },
		{ PROT_WRITE, MAP_PRIVATE, EINVAL },
		{ PROT_READ | PROT_WRITE, MAP_PRIVATE, EINVAL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(no); i++) {
		EXPECT_EQ(-no[i].err, try_map(self->s.observer, self->stride,
					      no[i].prot, no[i].flags, 0))
			TH_LOG("prot %d, flags %d", no[i].prot, no[i].flags);
		EXPECT_EQ(-no[i].err, try_map(self->s.observer, self->stride,
					      no[i].prot,
					      no[i].flags | MAP_POPULATE, 0));
		ASSERT_STATE(&self->s);
	}
	EXPECT_EQ(0, try_map(self->s.observer, self->stride, PROT_READ,
			     MAP_SHARED | MAP_POPULATE | MAP_LOCKED, 0));
}

/* Each offset of a channel, and each run; nothing beyond them. */
TEST_F(mapping, runs)
{
	__u32 first, count, i;

	for (first = 0; first <= N; first++) {
		for (count = 1; count <= N + 1; count++) {
			const char *map = cb_map(self->s.observer, self->stride,
						 first, count);

			if (first + count > N) {
				EXPECT_EQ(NULL, map);
				EXPECT_EQ(EINVAL, errno);
				continue;
			}
			ASSERT_NE(NULL, map);
			for (i = 0; i < count; i++)
				EXPECT_PAGE(map + i * self->stride, first + i);
			munmap((void *)(uintptr_t)map, count * self->stride);
		}
	}
	/* a byte is a page */
	EXPECT_EQ(0, try_map(self->s.observer, 1, PROT_READ, MAP_SHARED,
			     (N - 1) * self->stride));
	EXPECT_EQ(-EINVAL, try_map(self->s.observer, self->stride + 1,
				   PROT_READ, MAP_SHARED,
				   (N - 1) * self->stride));
	EXPECT_EQ(-EINVAL, try_map(self->s.observer, 0, PROT_READ, MAP_SHARED,
				   0));
	EXPECT_EQ(-EINVAL, try_map(self->s.observer, 1, PROT_READ, MAP_SHARED,
				   1));
}

/*
 * Numbers that wrap somewhere: the first channel and the count, in 32 bits, in
 * bytes, in pages.  What ends beyond 2^64 the kernel itself refuses.
 */
TEST_F(mapping, far_offsets)
{
	const int shift = __builtin_ctzl(self->stride);
	const __u64 pages = 1ull << (64 - shift);	/* in 2^64 bytes */
	const __u64 first[] = {
		N, N + 1, 1ull << 31, (1ull << 31) + 1,
		(1ull << 32) - 1, 1ull << 32, (1ull << 32) + 1,
		pages / 2 - 1, pages / 2, pages / 2 + 1,
		pages - N - 1, pages - N, pages - 4, pages - 3, pages - 2,
		pages - 1,
	};
	const __u64 count[] = {
		1, 2, 3, N, 1ull << 31, (1ull << 32) - 1, 1ull << 32,
		(1ull << 32) + 1, (1ull << 32) + N,
	};
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(first); i++) {
		for (k = 0; k < ARRAY_SIZE(count); k++) {
			bool past = first[i] + count[k] >= pages;
			int ret = try_map(self->s.observer, count[k] << shift,
					  PROT_READ, MAP_SHARED,
					  first[i] << shift);

			EXPECT_TRUE(ret == -EINVAL ||
				    (past && ret == -EOVERFLOW))
				TH_LOG("%#llx pages from %#llx: %d", count[k],
				       first[i], ret);
		}
	}
	for (k = 4; k < ARRAY_SIZE(count); k++) {
		EXPECT_EQ(-EINVAL, try_map(self->s.observer, count[k] << shift,
					   PROT_READ, MAP_SHARED, 0))
			TH_LOG("%#llx pages", count[k]);
		EXPECT_EQ(-EINVAL, try_map(self->s.observer, count[k] << shift,
					   PROT_READ, MAP_SHARED,
					   (N - 1) << shift));
	}
}

/* Observers are open for reading only, and stay so; nothing else can be mapped. */
TEST_F(mapping, handles)
{
	const int no[] = { self->s.control, self->s.owner, self->pub[0] };
	char path[64], c = 'x';
	int obs, again;
	unsigned int i;

	again = cb_observe(self->s.observer, 0);
	ASSERT_LE(0, again);
	for (i = 0; i < 2; i++) {
		obs = i ? again : self->s.observer;
		EXPECT_EQ(O_RDONLY, fcntl(obs, F_GETFL) & O_ACCMODE);
		EXPECT_EQ(FD_CLOEXEC, fcntl(obs, F_GETFD));
		fcntl(obs, F_SETFL, O_RDWR);
		EXPECT_EQ(O_RDONLY, fcntl(obs, F_GETFL) & O_ACCMODE);
		EXPECT_EQ(-EACCES, try_map(obs, 1, PROT_WRITE, MAP_SHARED, 0));
		EXPECT_EQ(-EBADF, cb_errno(write(obs, &c, 1)));
		EXPECT_EQ(-EINVAL, cb_errno(read(obs, &c, 1)));
		EXPECT_EQ(-EINVAL, cb_errno(ftruncate(obs, 0)));
		EXPECT_EQ(-EBADF, cb_errno(fallocate(obs, 0, 0, 4096)));
		/* there is no second way to open it */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", obs);
		EXPECT_EQ(-ENXIO, cb_errno(open(path, O_RDWR)));
		EXPECT_EQ(-ENXIO, cb_errno(open(path, O_RDONLY)));
	}
	close(again);
	for (i = 0; i < ARRAY_SIZE(no); i++) {
		EXPECT_EQ(O_RDWR, fcntl(no[i], F_GETFL) & O_ACCMODE);
		EXPECT_EQ(-ENODEV, try_map(no[i], 1, PROT_READ, MAP_SHARED, 0));
		EXPECT_EQ(-ENODEV, try_map(no[i], 1, PROT_READ | PROT_WRITE,
					   MAP_SHARED, 0));
		EXPECT_EQ(-ENODEV, try_map(no[i], 1, PROT_READ, MAP_PRIVATE,
					   0));
	}
}

/*
 * A personality in which what can be read can be executed: mmap() asks for that
 * too and is refused, or the kernel knows better; never executable.
 */
TEST_F(mapping, read_implies_exec)
{
	int ret;

	ASSERT_LE(0, personality(READ_IMPLIES_EXEC));
	ret = try_map(self->s.observer, self->stride, PROT_READ, MAP_SHARED, 0);
	ksft_print_msg("mmap under READ_IMPLIES_EXEC: %d\n", ret);
	EXPECT_TRUE(ret == -EPERM || !ret);
	if (!ret)
		EXPECT_EQ(-EPERM, try_map(self->s.observer, self->stride,
					  PROT_EXEC, MAP_SHARED, 0));
	/* what is there stays what it is, whatever this brings with it */
	EXPECT_EQ(0, mprotect(self->map, N * self->stride, PROT_READ));
	ASSERT_LE(0, personality(PER_LINUX));
	EXPECT_EQ(-EACCES, cb_errno(mprotect(self->map, self->stride,
					     PROT_EXEC)));
	EXPECT_PAGE(self->map + self->stride, 1);
}

/* ---- what becomes of a mapping ----------------------------------------- */

/* The VmFlags of the mapping at @at, with a space at either end; or "". */
static const char *vm_flags(const void *at)
{
	static char flags[256];
	char line[512], want[32];
	bool mine = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	flags[0] = '\0';
	snprintf(want, sizeof(want), "%lx-", (unsigned long)(uintptr_t)at);
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, want, strlen(want)))
			mine = true;
		if (mine && !strncmp(line, "VmFlags:", 8)) {
			snprintf(flags, sizeof(flags), "%.200s", line + 8);
			flags[strcspn(flags, "\n")] = ' ';
			break;
		}
	}
	if (f)
		fclose(f);
	return flags;
}

TEST_F(mapping, flags)
{
	static const char yes[][8] = {
		" rd ", " mr ", " ms ", " de ", " dd ",
	};
	static const char no[][8] = {
		" wr ", " ex ", " mw ", " me ", " sh ",
	};
	static const char frames[][8] = { " io ", " pf " };
	/* at an address of its own, not one behind another mapping's end */
	const char *flags = vm_flags(self->map);
	unsigned int i;

	ASSERT_NE(0, flags[0]);
	for (i = 0; i < ARRAY_SIZE(yes); i++)
		EXPECT_NE(NULL, strstr(flags, yes[i]))
			TH_LOG("no%sin%s", yes[i], flags);
	for (i = 0; i < ARRAY_SIZE(no); i++)
		EXPECT_EQ(NULL, strstr(flags, no[i]))
			TH_LOG("%sin%s", no[i], flags);
	for (i = 0; i < ARRAY_SIZE(frames); i++)
		EXPECT_EQ(st_by_frame_number(), !!strstr(flags, frames[i]))
			TH_LOG("%sin%s", frames[i], flags);
}

TEST_F(mapping, mprotect)
{
	static const int no[] = {
		PROT_WRITE, PROT_READ | PROT_WRITE, PROT_EXEC,
		PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC,
	};
	char *one = self->map + 2 * self->stride, *none;
	/* a kernel for processors without protection keys may not have the call */
	const int keyed = cb_errno((int)syscall(SYS_pkey_mprotect, one,
						self->stride, PROT_READ, -1));
	unsigned int i;

	EXPECT_TRUE(!keyed || keyed == -ENOSYS);
	for (i = 0; i < ARRAY_SIZE(no); i++) {
		EXPECT_EQ(-EACCES, cb_errno(mprotect(self->map,
						     N * self->stride, no[i])))
			TH_LOG("prot %d", no[i]);
		EXPECT_EQ(-EACCES, cb_errno(mprotect(one, self->stride,
						     no[i])));
		EXPECT_EQ(keyed ? keyed : -EACCES,
			  cb_errno((int)syscall(SYS_pkey_mprotect, one,
						self->stride, no[i], -1)));
	}
	/* not by way of PROT_NONE either */
	EXPECT_EQ(0, mprotect(one, self->stride, PROT_NONE));
	EXPECT_EQ(SIGSEGV, st_touch(one, false));
	EXPECT_EQ(-EACCES, cb_errno(mprotect(one, self->stride,
					     PROT_READ | PROT_WRITE)));
	EXPECT_EQ(0, mprotect(one, self->stride, PROT_READ));
	for (i = 0; i < N; i++)
		EXPECT_PAGE(self->map + i * self->stride, i);

	none = mmap(NULL, self->stride, PROT_NONE, MAP_SHARED, self->s.observer,
		    (off_t)self->stride);
	ASSERT_NE(MAP_FAILED, none);
	EXPECT_EQ(SIGSEGV, st_touch(none, false));
	EXPECT_EQ(-EACCES, cb_errno(mprotect(none, self->stride, PROT_WRITE)));
	EXPECT_EQ(0, mprotect(none, self->stride, PROT_READ));
	EXPECT_PAGE(none, 1);
	munmap(none, self->stride);
}

TEST_F(mapping, store)
{
	struct cb_session *s = &self->s;
	__u32 i;
	int status;
	pid_t pid;

	for (i = 0; i < N; i++) {
		EXPECT_EQ(SIGSEGV, st_touch(self->map + i * self->stride, true));
		EXPECT_EQ(SIGSEGV, st_touch(self->map + (i + 1) * self->stride -
					    1, true));
	}
	ASSERT_STATE(s);
	/* and to one that has it from its parent */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		__atomic_fetch_add((int *)(uintptr_t)cb_page(s, 0), 1,
				   __ATOMIC_SEQ_CST);
		_exit(0);
	}
	status = cb_reap(pid);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

TEST_F(mapping, mremap)
{
	const size_t size = N * self->stride, stride = self->stride;
	char *room, *to;
	__u32 i;

	room = mmap(NULL, 4 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	ASSERT_NE(MAP_FAILED, room);

#define REFUSED(err, ...) do { \
	to = mremap(__VA_ARGS__); \
	EXPECT_EQ(MAP_FAILED, to); \
	EXPECT_EQ(err, errno); \
	for (i = 0; i < N; i++) \
		EXPECT_PAGE(self->map + i * stride, i); \
} while (0)
	REFUSED(EFAULT, self->map, size, size + stride, 0);
	REFUSED(EFAULT, self->map, size, size + stride, MREMAP_MAYMOVE);
	REFUSED(EFAULT, self->map, size, 2 * size,
		MREMAP_MAYMOVE | MREMAP_FIXED, room);
	REFUSED(EFAULT, self->map + stride, stride, 2 * stride, MREMAP_MAYMOVE);
	/* a second mapping of the same */
	REFUSED(EFAULT, self->map, 0, stride, MREMAP_MAYMOVE);
	REFUSED(EINVAL, self->map, size, size,
		MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	REFUSED(EINVAL, self->map, size, size,
		MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, room);
#undef REFUSED
	EXPECT_EQ(-EINVAL, cb_errno((int)syscall(SYS_remap_file_pages,
						 self->map, stride, 0, 1, 0)));

	/* moved as a whole */
	to = mremap(self->map, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	ASSERT_EQ(room, to);
	EXPECT_FALSE(is_mapped(self->map));
	self->map = to;
	for (i = 0; i < N; i++)
		EXPECT_PAGE(to + i * stride, i);
	EXPECT_EQ(SIGSEGV, st_touch(to, true));
	EXPECT_EQ(-EACCES, cb_errno(mprotect(to, size, PROT_WRITE)));

	/* the middle alone */
	to = mremap(room + 2 * stride, stride, stride,
		    MREMAP_MAYMOVE | MREMAP_FIXED, room + 2 * size);
	ASSERT_EQ(room + 2 * size, to);
	EXPECT_PAGE(to, 2);
	EXPECT_FALSE(is_mapped(room + 2 * stride));
	EXPECT_EQ(-EACCES, cb_errno(mprotect(to, stride, PROT_EXEC)));
	for (i = 0; i < N; i++) {
		if (i != 2)
			EXPECT_PAGE(room + i * stride, i);
	}

	/* shrunk */
	to = mremap(room + 3 * stride, 2 * stride, stride, 0);
	ASSERT_EQ(room + 3 * stride, to);
	EXPECT_PAGE(to, 3);
	EXPECT_FALSE(is_mapped(room + 4 * stride));
	munmap(room, 4 * size);
	self->map = NULL;
}

/* What remains of a run is the run's remainder, and alive. */
TEST_F(mapping, partial_unmap)
{
	static const __u32 order[] = { 2, 0, 4 };
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct cb_session *s = &self->s;
	struct chipboot_publish p;
	bool there[N];
	__u32 i, k;

	for (i = 0; i < N; i++)
		there[i] = true;
	for (k = 0; k < ARRAY_SIZE(order); k++) {
		__u32 hole = order[k];

		ASSERT_EQ(0, munmap(self->map + hole * self->stride,
				    self->stride));
		there[hole] = false;
		for (i = 0; i < N; i++) {
			if (there[i]) {
				EXPECT_PAGE(self->map + i * self->stride, i);
			} else {
				EXPECT_EQ(SIGSEGV,
					  st_touch(self->map +
						   i * self->stride, false));
			}
		}
		ASSERT_STATE(s);
	}
	/* what is published now arrives in the remainder and behind the hole */
	p = cb_a_success(1, 33, words, CHIPBOOT_WORDS_MAX);
	ASSERT_EQ(0, cb_publish(self->pub[3], &p));
	cb_want_publish(s, 3, &p, getpid());
	ASSERT_STATE(s);
	EXPECT_PAGE(self->map + 3 * self->stride, 3);
	ASSERT_EQ(0, cb_publish(self->pub[4], &p));
	cb_want_publish(s, 4, &p, getpid());
	ASSERT_STATE(s);
	munmap(self->map, N * self->stride);
	self->map = NULL;
}

/*
 * What madvise() does here, kernel 6.1 and 6.12: DONTNEED takes the pages out of
 * this one mapping, and as there is no fault handler that would bring them back,
 * the process that asked for it gets SIGBUS.  It never reads zeros.  Everything
 * else is refused or leaves the mapping as it is.
 */
TEST_F(mapping, madvise)
{
	const size_t size = N * self->stride;
	static const struct {
		const char *name;
		int advice, err;
	} harmless[] = {
		{ "NORMAL", MADV_NORMAL, 0 },
		{ "RANDOM", MADV_RANDOM, 0 },
		{ "WILLNEED", MADV_WILLNEED, 0 },
		{ "REMOVE", MADV_REMOVE, EACCES },
		{ "FREE", MADV_FREE, EINVAL },
		{ "WIPEONFORK", MADV_WIPEONFORK, EINVAL },
		{ "DODUMP", MADV_DODUMP, EINVAL },
		{ "DONTDUMP", MADV_DONTDUMP, 0 },
		{ "MERGEABLE", MADV_MERGEABLE, 0 },
		{ "COLD", MADV_COLD, 0 },
		{ "PAGEOUT", MADV_PAGEOUT, 0 },
		{ "POPULATE_READ", MADV_POPULATE_READ, 0 },
		{ "POPULATE_WRITE", MADV_POPULATE_WRITE, EINVAL },
	};
	const void *byte = answer_byte(self->map, self->stride);
	const char *again;
	unsigned int i, k;
	int status;
	pid_t pid;

	for (i = 0; i < ARRAY_SIZE(harmless); i++) {
		int ret = cb_errno(madvise(self->map, size,
					   harmless[i].advice));

		/* those of one mind: it does not apply to such a mapping */
		if (!st_by_frame_number() || ret != -EINVAL)
			EXPECT_EQ(-harmless[i].err, ret)
				TH_LOG("MADV_%s", harmless[i].name);
		for (k = 0; k < N; k++)
			EXPECT_PAGE(self->map + k * self->stride, k);
		ASSERT_STATE(&self->s);
	}

	if (st_by_frame_number()) {
		EXPECT_EQ(-EINVAL, cb_errno(madvise(self->map, size,
						    MADV_DONTNEED)));
		for (k = 0; k < N; k++)
			EXPECT_PAGE(self->map + k * self->stride, k);
		return;
	}
	/* of one page: that one, and no other */
	EXPECT_EQ(0, madvise(self->map + self->stride, self->stride,
			     MADV_DONTNEED));
	EXPECT_EQ(SIGBUS, st_touch(byte, false));
	EXPECT_EQ(SIGBUS, st_touch(byte, false));
	EXPECT_EQ(SIGSEGV, st_touch(self->map, true));
	EXPECT_EQ(-EFAULT, cb_errno(madvise(self->map, size,
					    MADV_POPULATE_READ)));
	EXPECT_EQ(SIGBUS, st_touch(byte, false));
	for (k = 0; k < N; k++) {
		if (k != 1)
			EXPECT_PAGE(self->map + k * self->stride, k);
	}
	ASSERT_STATE(&self->s);
	/* a child does not read zeros either, and a new mapping is whole */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(st_touch(byte, false));
	status = cb_reap(pid);
	EXPECT_EQ(SIGBUS << 8, status);
	again = cb_map(self->s.observer, self->s.stride, 0, N);
	ASSERT_NE(NULL, again);
	for (k = 0; k < N; k++)
		EXPECT_PAGE(again + k * self->stride, k);
	munmap((void *)(uintptr_t)again, size);

	EXPECT_EQ(0, madvise(self->map, size, MADV_DONTNEED));
	for (k = 0; k < N; k++)
		EXPECT_EQ(SIGBUS, st_touch(self->map + k * self->stride,
					   false));
	ASSERT_STATE(&self->s);
}

TEST_F(mapping, dontfork)
{
	int status, ret;
	pid_t pid;

	ASSERT_EQ(0, madvise(self->map, N * self->stride, MADV_DONTFORK));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(st_touch(self->map, false));
	status = cb_reap(pid);
	EXPECT_EQ(SIGSEGV << 8, status);
	EXPECT_PAGE(self->map + self->stride, 1);
	ret = cb_errno(madvise(self->map, N * self->stride, MADV_DOFORK));
	if (st_by_frame_number() || (ret && st_kernel_has(6, 13))) {
		/* for mappings of a driver, later kernels have no way back */
		ASSERT_EQ(-EINVAL, ret);
		return;
	}
	ASSERT_EQ(0, ret);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(differs(&self->s, self->map + self->stride, 1) ? 1 : 0);
	status = cb_reap(pid);
	EXPECT_EQ(0, status);
}

/* The child reads what is published later; it unmaps, and the parent has it. */
TEST_F(mapping, fork)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct cb_session *s = &self->s;
	struct chipboot_publish p;
	struct pt_kid kid;
	pid_t pid;
	__u32 i;

	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid) {
		for (i = 0; i < N; i++) {
			if (differs(s, self->map + i * self->stride, i))
				_exit(1);
		}
		pt_say(&kid);
		pt_wait_go(&kid);
		p = cb_a_success(1, 44, words, CHIPBOOT_WORDS_MAX);
		cb_want_publish(s, 4, &p, getppid());
		/* those two are not the model's */
		s->want[4].seq = cb_page(s, 4)->seq;
		s->want[4].updated_ns = cb_page(s, 4)->updated_ns;
		for (i = 0; i < N; i++) {
			if (differs(s, self->map + i * self->stride, i))
				_exit(2);
		}
		if (munmap(self->map, N * self->stride))
			_exit(3);
		if (st_touch(self->map, false) != SIGSEGV)
			_exit(4);
		pt_say(&kid);
		pt_wait_go(&kid);
		_exit(0);
	}
	ASSERT_EQ(0, pt_await(&kid));
	p = cb_a_success(1, 44, words, CHIPBOOT_WORDS_MAX);
	ASSERT_EQ(0, cb_publish(self->pub[4], &p));
	cb_want_publish(s, 4, &p, getpid());
	ASSERT_STATE(s);
	ASSERT_EQ(0, pt_go(&kid));
	ASSERT_EQ(0, pt_await(&kid)) TH_LOG("%#x", cb_reap(pid));
	for (i = 0; i < N; i++)
		EXPECT_PAGE(self->map + i * self->stride, i);
	ASSERT_STATE(s);
	ASSERT_EQ(0, pt_go(&kid));
	EXPECT_EQ(0, cb_reap(pid));
	for (i = 0; i < N; i++)
		EXPECT_PAGE(self->map + i * self->stride, i);
	pt_forget(&kid);
}

TEST_F(mapping, mlock)
{
	const size_t size = N * self->stride;
	__u32 i;

	EXPECT_EQ(0, mlock(self->map, size));
	EXPECT_EQ(0, mlock2(self->map, self->stride, MLOCK_ONFAULT));
	EXPECT_EQ(0, munlock(self->map + self->stride, self->stride));
	EXPECT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
	EXPECT_EQ(0, try_map(self->s.observer, size, PROT_READ, MAP_SHARED, 0));
	for (i = 0; i < N; i++)
		EXPECT_PAGE(self->map + i * self->stride, i);
	EXPECT_EQ(0, munlockall());
	EXPECT_EQ(0, msync(self->map, size, MS_SYNC));
	EXPECT_EQ(0, msync(self->map, size, MS_INVALIDATE));
	for (i = 0; i < N; i++)
		EXPECT_PAGE(self->map + i * self->stride, i);
}

/* The machine looks for memory, and finds none here. */
TEST_F(mapping, reclaim)
{
	int i;

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, st_write("/proc/sys/vm/drop_caches", "3"));
		EXPECT_EQ(0, st_write("/proc/sys/vm/compact_memory", "1"));
		EXPECT_EQ(0, st_write("/proc/self/clear_refs", "1"));
		EXPECT_EQ(0, st_write("/proc/self/clear_refs", "3"));
		/* it may say that there was less than that */
		if (*variant->group)
			st_group_write(variant->group, "memory.reclaim", "64M");
		ASSERT_STATE(&self->s);
		EXPECT_PAGE(self->map + self->stride, 1);
	}
}

/* ---- the kernel's other ways to write to a process's memory ------------ */

TEST_F(mapping, proc_mem)
{
	const __u64 value = 0x4141414141414141u;
	off_t at = (off_t)(uintptr_t)self->map;
	__u64 seen = 0;
	__u32 i;
	int fd;

	fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for (i = 0; i < N; i++) {
		EXPECT_EQ(-EIO, cb_errno((int)pwrite(fd, &value, sizeof(value),
						     at)));
		EXPECT_EQ(-EIO, cb_errno((int)pwrite(fd, &value, 1, at + 3000)));
		ASSERT_STATE(&self->s);
		EXPECT_PAGE(self->map + i * self->stride, i);
		at += (off_t)self->stride;
	}
	/* reading is no secret */
	at = (off_t)(uintptr_t)answer_byte(self->map, self->stride);
	EXPECT_EQ(8, pread(fd, &seen, sizeof(seen), at));
	EXPECT_EQ(self->s.want[1].words[1], seen);
	close(fd);
}

TEST_F(mapping, ptrace)
{
	char *at = (char *)(uintptr_t)answer_byte(self->map, self->stride);
	__u64 value = 0x4242424242424242u, seen = 0;
	struct iovec mine = { .iov_base = &value, .iov_len = sizeof(value) };
	struct iovec theirs = { .iov_base = at, .iov_len = sizeof(value) };
	struct pt_kid kid;
	int status;
	pid_t pid;

	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid)
		pt_sleep_for_ever();
	ASSERT_EQ(0, ptrace(PTRACE_ATTACH, pid, 0, 0));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	errno = 0;
	seen = (__u64)ptrace(PTRACE_PEEKDATA, pid, at, 0);
	EXPECT_EQ(0, errno);
	EXPECT_EQ(self->s.want[1].words[1], seen);
	EXPECT_EQ(-EIO, cb_errno((int)ptrace(PTRACE_POKEDATA, pid, at, value)));
	EXPECT_EQ(-EIO, cb_errno((int)ptrace(PTRACE_POKETEXT, pid, at, value)));
	ASSERT_STATE(&self->s);
	EXPECT_EQ(-EFAULT, cb_errno((int)process_vm_writev(pid, &mine, 1,
							   &theirs, 1, 0)));
	EXPECT_EQ(-EFAULT, cb_errno((int)process_vm_writev(getpid(), &mine, 1,
							   &theirs, 1, 0)));
	ASSERT_STATE(&self->s);
	/* and neither has the child a copy of its own now */
	seen = (__u64)ptrace(PTRACE_PEEKDATA, pid, at, 0);
	EXPECT_EQ(self->s.want[1].words[1], seen);
	if (st_by_frame_number()) {
		EXPECT_EQ(-EFAULT, cb_errno((int)process_vm_readv(pid, &mine, 1,
								  &theirs, 1, 0)));
	} else {
		EXPECT_EQ(8, process_vm_readv(pid, &mine, 1, &theirs, 1, 0));
		EXPECT_EQ(self->s.want[1].words[1], value);
	}
	kill(pid, SIGKILL);
	cb_reap(pid);
	pt_forget(&kid);
}

TEST_F(mapping, io)
{
	char *at = (char *)(uintptr_t)answer_byte(self->map, self->stride);
	struct iovec buffer = { .iov_base = self->map, .iov_len = self->stride };
	struct io_uring_params params = { 0 };
	int ring, p[2];

	/* a system call that would fill it */
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	ASSERT_EQ(8, write(p[1], "12345678", 8));
	EXPECT_EQ(-EFAULT, cb_errno((int)read(p[0], at, 8)));
	EXPECT_EQ(-EFAULT, cb_errno((int)syscall(SYS_clock_gettime,
						 CLOCK_MONOTONIC, at)));
	close(p[0]);
	close(p[1]);
	ASSERT_STATE(&self->s);

	ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0) {
		ksft_print_msg("no io_uring: %s\n", strerror(errno));
		return;
	}
	EXPECT_EQ(-EFAULT,
		  cb_errno((int)syscall(SYS_io_uring_register, ring,
					IORING_REGISTER_BUFFERS, &buffer, 1)));
	close(ring);
	ASSERT_STATE(&self->s);
}

/*
 * A page in a pipe, as a gift even: what is written behind it does not land in
 * it, and it is the answer for as long as it is there.
 */
TEST_F(mapping, vmsplice)
{
	char *at = (char *)(uintptr_t)answer_byte(self->map, self->stride);
	struct iovec iov = { .iov_base = at, .iov_len = 64 };
	char junk[100], seen[164];
	struct iovec page = {
		.iov_base = self->map + self->stride,
		.iov_len = self->stride,
	};
	int p[2], file;
	loff_t off = 0;

	memset(junk, 'j', sizeof(junk));
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	if (st_by_frame_number()) {
		EXPECT_EQ(-EFAULT, cb_errno((int)vmsplice(p[1], &iov, 1, 0)));
		close(p[0]);
		close(p[1]);
		return;
	}
	ASSERT_EQ(64, vmsplice(p[1], &iov, 1, 0));
	ASSERT_EQ(100, write(p[1], junk, sizeof(junk)));
	ASSERT_STATE(&self->s);
	ASSERT_EQ(164, read(p[0], seen, sizeof(seen)));
	EXPECT_EQ(0, memcmp(seen, &self->s.want[1].words[1], 64));

	ASSERT_EQ((ssize_t)self->stride, vmsplice(p[1], &page, 1,
						  SPLICE_F_GIFT));
	ASSERT_EQ(0, munmap(self->map, N * self->stride));
	self->map = NULL;
	file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_LE(0, file);
	ASSERT_EQ((ssize_t)self->stride, splice(p[0], NULL, file, &off,
						self->stride, SPLICE_F_MOVE));
	ASSERT_EQ(100, pwrite(file, junk, sizeof(junk), 0));
	ASSERT_STATE(&self->s);
	close(file);
	close(p[0]);
	close(p[1]);
}

/* ---- alone ------------------------------------------------------------- */

/*
 * A launcher and its runtime process, of another memory cgroup; the test has
 * nothing but a mapping.  Then everybody dies, and the cgroup goes too.
 */
TEST_F(mapping, outlives_everything)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct cb_session s;
	struct chipboot_publish p;
	struct pt_kid launcher;
	int sock[2], observer = -1, pub[N], status;
	struct chipboot_page page;
	pid_t pid, *runtime;
	const char *map;
	__u32 i;

	runtime = cb_shared(sizeof(*runtime));
	ASSERT_EQ(0, pt_adopt_orphans());
	if (*variant->group)
		ASSERT_EQ(0, st_group_make(SECOND_GROUP));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sock));
	pid = pt_fork(&launcher);
	ASSERT_LE(0, pid);
	if (!pid) {
		pt_unleashed = true;
		if (*variant->group && st_group_enter(SECOND_GROUP))
			_exit(10);
		/* those of the test's own session */
		for (i = 0; i < N; i++)
			close(self->pub[i]);
		if (cb_session_open(&s, N))
			_exit(11);
		for (i = 0; i < N; i++)
			pub[i] = cb_claim(s.owner, i, NULL);
		pid = fork();
		if (!pid)
			pt_sleep_for_ever();
		*runtime = pid;
		if (cb_bind(pub[1], *runtime, 0) || cb_bind(pub[2], *runtime, 0))
			_exit(12);
		p = cb_a_success(1, 66, words, CHIPBOOT_WORDS_MAX);
		if (cb_publish(pub[1], &p))
			_exit(13);
		if (cb_send_fds(sock[1], &s.observer, 1))
			_exit(14);
		pt_say(&launcher);
		pt_wait_go(&launcher);
		_exit(0);
	}
	ASSERT_EQ(0, pt_await(&launcher));
	ASSERT_EQ(0, cb_recv_fds(sock[0], &observer, 1));
	close(sock[0]);
	close(sock[1]);
	map = cb_map(observer, self->s.stride, 0, N);
	ASSERT_NE(NULL, map);
	close(observer);

	cb_copy_page(&page, map + self->stride);
	EXPECT_EQ(CHIPBOOT_SUCCESS, page.state);
	EXPECT_EQ(0, page.flags);
	EXPECT_EQ(*runtime, page.publisher_pid);
	cb_copy_page(&page, map + 2 * self->stride);
	EXPECT_EQ(CHIPBOOT_IDLE, page.state);

	/* the session still hears of deaths, and says so in the mapping */
	ASSERT_EQ(0, kill(*runtime, SIGKILL));
	ASSERT_EQ(0, pt_go(&launcher));
	EXPECT_EQ(0, cb_reap(pid));
	ASSERT_EQ(SIGKILL, cb_reap(*runtime));
	if (*variant->group)
		EXPECT_EQ(0, st_group_remove(SECOND_GROUP));
	for (i = 0; i < 3; i++) {
		p = cb_a_success(1, 66, words, CHIPBOOT_WORDS_MAX);
		cb_copy_page(&page, map + self->stride);
		EXPECT_EQ(CHIPBOOT_SUCCESS, page.state);
		EXPECT_EQ(CHIPBOOT_PAGE_GONE | CHIPBOOT_PAGE_STATUS_VALID,
			  page.flags);
		EXPECT_EQ(SIGKILL, page.wait_status);
		EXPECT_EQ(p.device_ctx, page.device_ctx);
		EXPECT_EQ(CHIPBOOT_WORDS_MAX, page.count);
		EXPECT_EQ(0, memcmp(words, page.words, sizeof(words)));
		cb_copy_page(&page, map + 2 * self->stride);
		EXPECT_EQ(CHIPBOOT_ERROR, page.state);
		EXPECT_EQ(CHIPBOOT_ORIGIN_EXIT, page.origin);
		EXPECT_EQ(SIGKILL, page.wait_status);
		EXPECT_STREQ("killed by signal 9", page.message);
		/* nobody was bound to these; their handles went with them */
		cb_copy_page(&page, map + 3 * self->stride);
		EXPECT_EQ(CHIPBOOT_ERROR, page.state);
		EXPECT_EQ(CHIPBOOT_ORIGIN_CLOSED, page.origin);
		ASSERT_EQ(0, st_write("/proc/sys/vm/drop_caches", "3"));
	}
	status = st_touch(map, true);
	EXPECT_EQ(SIGSEGV, status);
	EXPECT_EQ(0, munmap((void *)(uintptr_t)map, N * self->stride));
	pt_forget(&launcher);
}

/*
 * A new session's pages hold nothing but a generation, in the layout and behind
 * it, whatever the memory held before: other sessions' answers, most likely.
 */
TEST_F(mapping, new_pages_are_empty)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	const __u32 n = 128;
	struct chipboot_publish p;
	int owner, observer, pub, round;
	const char *map;
	size_t at;
	__u32 i;

	for (round = 0; round < 8; round++) {
		owner = cb_create(self->s.control, n, NULL);
		ASSERT_LE(0, owner);
		observer = cb_observe(owner, 0);
		ASSERT_LE(0, observer);
		map = cb_map(observer, self->s.stride, 0, n);
		ASSERT_NE(NULL, map);
		for (i = 0; i < n; i++) {
			const char *page = map + i * self->stride;

			for (at = 0; at < self->stride; at++) {
				char want = at == offsetof(struct chipboot_page,
							   generation);

				if (page[at] != want)
					break;
			}
			ASSERT_EQ(self->stride, at)
				TH_LOG("round %d, channel %u, byte %zu: %#x",
				       round, i, at, page[at]);
		}
		for (i = 0; i < n; i++) {
			pub = cb_claim(owner, i, NULL);
			p = cb_a_success(1, i, words, CHIPBOOT_WORDS_MAX);
			ASSERT_EQ(0, cb_publish(pub, &p));
			close(pub);
		}
		munmap((void *)(uintptr_t)map, n * self->stride);
		close(observer);
		close(owner);
	}
}

TEST_HARNESS_MAIN
