// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arguments of every ioctl, to the last bit: numbers, sizes, flags and
 * reserved fields, pointers, limits.  What is wrong is refused by its errno and
 * changes nothing.  Which state allows what is interface.c's subject.
 */
/* vm: --cpus 2 --mem 512 --timeout 900 */

#include "chipboot_test.h"

#include <stdbool.h>
#include <sys/mman.h>

#define N		2
#define SIZE_MAX_IOC	16383	/* as large as an ioctl's number can say */
#define TEXT		"comm_init"

enum handle { CONTROL, OWNER, PUBLISHER, OBSERVER, HANDLES };

FIXTURE(arguments) {
	struct cb_session s;
	int fd[HANDLES];
	char *room;		/* PAGES pages, and behind them nothing */
	char *end;
	char *readonly;		/* one page of room, a second time */
};

#define PAGES		8

FIXTURE_SETUP(arguments)
{
	const size_t size = PAGES * 4096;
	int memory = memfd_create("room", MFD_CLOEXEC);
	struct cb_session *s = &self->s;
	char *p;

	ASSERT_LE(0, memory);
	ASSERT_EQ(0, ftruncate(memory, (off_t)size));
	p = mmap(NULL, size + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	self->room = mmap(p, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED, memory, 0);
	ASSERT_EQ(p, self->room);
	self->end = p + size;
	self->readonly = mmap(NULL, size, PROT_READ, MAP_SHARED, memory, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->readonly);
	ASSERT_EQ(0, close(memory));

	ASSERT_EQ(0, cb_session_open(s, N)) TH_LOG("%s", s->why);
	self->fd[CONTROL] = s->control;
	self->fd[OWNER] = s->owner;
	self->fd[PUBLISHER] = cb_claim(s->owner, 0, NULL);
	ASSERT_LE(0, self->fd[PUBLISHER]);
	self->fd[OBSERVER] = cb_observe(s->owner, CHIPBOOT_EVENT_ALL);
	ASSERT_LE(0, self->fd[OBSERVER]);
	ASSERT_EQ(0, cb_progress(self->fd[PUBLISHER], 1, TEXT));
	cb_want_progress(s, 0, TEXT);
	ASSERT_STATE(s);
}

FIXTURE_TEARDOWN(arguments)
{
	close(self->fd[PUBLISHER]);
	close(self->fd[OBSERVER]);
	cb_session_close(&self->s);
}

/* ---- one good call of each ioctl -------------------------------------- */

union argument {
	struct chipboot_version version;
	struct chipboot_create create;
	struct chipboot_claim claim;
	struct chipboot_reset reset;
	struct chipboot_abort abort;
	struct chipboot_deadline deadline;
	struct chipboot_bind bind;
	struct chipboot_progress progress;
	struct chipboot_publish publish;
	struct chipboot_observe observe;
	struct chipboot_read read;
	struct chipboot_status status;
	unsigned char bytes[112];
};

static __u64 words[CHIPBOOT_WORDS_MAX + 1];
static struct chipboot_page page;

#define FIELD(type, field, bits) \
	{ #field, offsetof(struct chipboot_##type, field), bits }
#define ALL	0xffffffffu

/* @fields: the bits that have to be zero; in 32-bit fields. */
static const struct command {
	const char *name;
	enum handle handle;
	unsigned int cmd;
	struct {
		const char *name;
		size_t offset;
		__u32 bits;
	} fields[3];
} commands[] = {
	{ "VERSION", CONTROL, CHIPBOOT_IOC_VERSION, { } },
	{ "CREATE", CONTROL, CHIPBOOT_IOC_CREATE,
	  { FIELD(create, flags, ALL), FIELD(create, reserved, ALL) } },
	{ "CLAIM", OWNER, CHIPBOOT_IOC_CLAIM,
	  { FIELD(claim, flags, ALL), FIELD(claim, reserved, ALL) } },
	{ "RESET", OWNER, CHIPBOOT_IOC_RESET,
	  { FIELD(reset, flags, ALL & ~CHIPBOOT_RESET_KEEP_PUBLISHERS),
	    FIELD(reset, reserved, ALL) } },
	{ "ABORT", OWNER, CHIPBOOT_IOC_ABORT,
	  { FIELD(abort, flags, ALL & ~CHIPBOOT_PUBLISH_TRUNCATED) } },
	{ "SET_DEADLINE", OWNER, CHIPBOOT_IOC_SET_DEADLINE,
	  { FIELD(deadline, flags, ALL & ~CHIPBOOT_DEADLINE_ABSOLUTE),
	    FIELD(deadline, reserved, ALL) } },
	{ "BIND", PUBLISHER, CHIPBOOT_IOC_BIND,
	  { FIELD(bind, flags, ALL), FIELD(bind, reserved, ALL),
	    FIELD(bind, death_signal, ALL & ~0x7fu) } },
	{ "PROGRESS", PUBLISHER, CHIPBOOT_IOC_PROGRESS,
	  { FIELD(progress, flags, ALL & ~CHIPBOOT_PUBLISH_TRUNCATED),
	    FIELD(progress, reserved, ALL) } },
	/* of a SUCCESS */
	{ "PUBLISH", PUBLISHER, CHIPBOOT_IOC_PUBLISH,
	  { FIELD(publish, flags, ALL), FIELD(publish, error_code, ALL),
	    FIELD(publish, message_len, ALL) } },
	{ "OBSERVE", OWNER, CHIPBOOT_IOC_OBSERVE,
	  { FIELD(observe, flags, ALL),
	    FIELD(observe, events, ALL & ~CHIPBOOT_EVENT_ALL) } },
	{ "OBSERVE", OBSERVER, CHIPBOOT_IOC_OBSERVE,
	  { FIELD(observe, flags, ALL),
	    FIELD(observe, events, ALL & ~CHIPBOOT_EVENT_ALL) } },
	{ "READ", OBSERVER, CHIPBOOT_IOC_READ,
	  { FIELD(read, flags, ALL) } },
	{ "STATUS", OWNER, CHIPBOOT_IOC_STATUS,
	  { FIELD(status, flags, ALL & ~CHIPBOOT_STATUS_ACK) } },
	{ "STATUS", PUBLISHER, CHIPBOOT_IOC_STATUS,
	  { FIELD(status, flags, ALL & ~CHIPBOOT_STATUS_ACK) } },
	{ "STATUS", OBSERVER, CHIPBOOT_IOC_STATUS,
	  { FIELD(status, flags, ALL & ~CHIPBOOT_STATUS_ACK) } },
};

/* An argument that does what it should; RESET has an IDLE channel before it. */
static union argument good(unsigned int cmd)
{
	union argument a;

	memset(&a, 0, sizeof(a));
	switch (cmd) {
	case CHIPBOOT_IOC_CREATE:
		a.create.channels = 1;
		break;
	case CHIPBOOT_IOC_CLAIM:
		a.claim.channel = 1;
		break;
	case CHIPBOOT_IOC_RESET:
		a.reset.count = 1;
		break;
	case CHIPBOOT_IOC_ABORT:
		a.abort.first = 1;
		a.abort.count = 1;
		a.abort.error_code = -3;
		break;
	case CHIPBOOT_IOC_SET_DEADLINE:
		a.deadline.ns = (__u64)1 << 62;
		a.deadline.flags = CHIPBOOT_DEADLINE_ABSOLUTE;
		break;
	case CHIPBOOT_IOC_PROGRESS:
		a.progress.generation = 1;
		a.progress.message = cb_ptr(TEXT);
		a.progress.message_len = 4;
		break;
	case CHIPBOOT_IOC_PUBLISH:
		a.publish = cb_a_success(1, 3, words, CHIPBOOT_WORDS_MAX);
		break;
	case CHIPBOOT_IOC_READ:
		a.read.page = cb_ptr(&page);
		break;
	case CHIPBOOT_IOC_STATUS:
		a.status.channel = CHIPBOOT_NO_CHANNEL;
		break;
	}
	return a;
}

/* What good() does to the session; -EBUSY for RESET. */
static int want_good(struct cb_session *s, unsigned int cmd)
{
	union argument a = good(cmd);

	switch (cmd) {
	case CHIPBOOT_IOC_RESET:
		return -EBUSY;
	case CHIPBOOT_IOC_ABORT:
		cb_want_verdict(s, 1, CHIPBOOT_ORIGIN_OWNER, -3, "");
		break;
	case CHIPBOOT_IOC_SET_DEADLINE:
		s->deadline_ns = (__u64)1 << 62;
		s->change = 1;
		break;
	case CHIPBOOT_IOC_BIND:
		cb_want_bound(s, 0, getpid());
		break;
	case CHIPBOOT_IOC_PROGRESS:
		cb_want_progress(s, 0, "comm");
		break;
	case CHIPBOOT_IOC_PUBLISH:
		cb_want_publish(s, 0, &a.publish, getpid());
		break;
	}
	return 0;
}

static bool makes_handle(unsigned int cmd)
{
	return cmd == CHIPBOOT_IOC_CREATE || cmd == CHIPBOOT_IOC_CLAIM ||
	       cmd == CHIPBOOT_IOC_OBSERVE;
}

/* Does it write to its struct? */
static bool gives_back(unsigned int cmd)
{
	return cmd == CHIPBOOT_IOC_VERSION || cmd == CHIPBOOT_IOC_CREATE ||
	       cmd == CHIPBOOT_IOC_CLAIM || cmd == CHIPBOOT_IOC_ABORT ||
	       cmd == CHIPBOOT_IOC_STATUS;
}

static unsigned long sized(unsigned int cmd, unsigned int size)
{
	return _IOC(_IOC_DIR(cmd), _IOC_TYPE(cmd), _IOC_NR(cmd), size);
}

/* ---- numbers ---------------------------------------------------------- */

static bool is_of_handle(unsigned int nr, int handle)
{
	size_t i;

	if (nr == _IOC_NR(CHIPBOOT_IOC_DETACH))
		return handle == OWNER;
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (_IOC_NR(commands[i].cmd) == nr &&
		    (int)commands[i].handle == handle)
			return true;
	}
	return false;
}

TEST_F(arguments, unknown_numbers)
{
	static const unsigned int sizes[] = { 0, 8, 16, 112, SIZE_MAX_IOC };
	unsigned int nr, h, i, known, own = 0, others = 0;
	int want;

	for (h = 0; h < HANDLES; h++) {
		for (nr = 0; nr < 256; nr++) {
			if (is_of_handle(nr, h)) {
				own++;
				continue;
			}
			for (known = 0, i = 0; i < HANDLES; i++)
				known |= is_of_handle(nr, i);
			others += known;
			want = known ? -EOPNOTSUPP : -ENOTTY;
			for (i = 0; i < ARRAY_SIZE(sizes); i++) {
				EXPECT_EQ(want,
					  cb_ioctl(self->fd[h],
						   _IOC(_IOC_WRITE,
							CHIPBOOT_IOC_MAGIC, nr,
							sizes[i]),
						   self->room))
					TH_LOG("handle %u, number %#x", h, nr);
			}
		}
	}
	/* 13 ioctls, of which OBSERVE has two kinds of handle and STATUS three */
	EXPECT_EQ(13 + 1 + 2, own);
	EXPECT_EQ(4 * 13 - own, others);
	ASSERT_STATE(&self->s);
}

TEST_F(arguments, other_types)
{
	unsigned int type, i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		for (type = 0; type < 256; type++) {
			union argument a = good(c->cmd);

			if (type == CHIPBOOT_IOC_MAGIC)
				continue;
			EXPECT_EQ(-ENOTTY,
				  cb_ioctl(self->fd[c->handle],
					   _IOC(_IOC_DIR(c->cmd), type,
						_IOC_NR(c->cmd),
						_IOC_SIZE(c->cmd)), &a))
				TH_LOG("%s of type %#x", c->name, type);
		}
	}
	ASSERT_STATE(&self->s);
}

/* The document says that nobody looks at the direction. */
TEST_F(arguments, direction)
{
	unsigned int dir;

	for (dir = 0; dir < 4; dir++) {
		struct chipboot_version v;

		memset(&v, CB_POISON, sizeof(v));
		EXPECT_EQ(0, cb_ioctl(self->fd[CONTROL],
				      _IOC(dir, CHIPBOOT_IOC_MAGIC, 0,
					   sizeof(v)), &v));
		EXPECT_EQ(CHIPBOOT_ABI_VERSION, v.abi);
	}
}

/* ---- flags and reserved fields ---------------------------------------- */

TEST_F(arguments, every_bit)
{
	unsigned int i, f, bit, tried = 0;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		for (f = 0; f < 3 && c->fields[f].name; f++) {
			for (bit = 0; bit < 32; bit++) {
				union argument a = good(c->cmd);
				__u32 value;

				if (!(c->fields[f].bits >> bit & 1))
					continue;
				memcpy(&value, a.bytes + c->fields[f].offset,
				       sizeof(value));
				value |= 1u << bit;
				memcpy(a.bytes + c->fields[f].offset, &value,
				       sizeof(value));
				EXPECT_EQ(-EINVAL,
					  cb_ioctl(self->fd[c->handle], c->cmd,
						   &a))
					TH_LOG("%s: bit %u of %s", c->name, bit,
					       c->fields[f].name);
				ASSERT_STATE(&self->s)
					TH_LOG("%s", c->name);
				tried++;
			}
		}
	}
	EXPECT_LT(700, tried);
}

/* What an ERROR has no place for, and what is no state and no signal. */
TEST_F(arguments, values)
{
	static const struct {
		size_t offset;
		__u64 value;
	} wrong[] = {
		{ offsetof(struct chipboot_publish, device_ctx), 1 },
		{ offsetof(struct chipboot_publish, local_window_base),
		  (__u64)1 << 63 },
		{ offsetof(struct chipboot_publish, actual_window_size), 1 },
		{ offsetof(struct chipboot_publish, words), (__u64)1 << 32 },
	};
	static const __s32 states[] = { 0, 3, -1, 0x101, INT_MIN };
	static const __u32 signals[] = { 65, 127, 0x80000000, 0xffffffff };
	int pub = self->fd[PUBLISHER];
	struct chipboot_publish p;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		p = cb_an_error(1, 4, TEXT, 4);
		memcpy((char *)&p + wrong[i].offset, &wrong[i].value, 8);
		EXPECT_EQ(-EINVAL, cb_publish(pub, &p));
		ASSERT_STATE(&self->s);
	}
	p = cb_an_error(1, 4, TEXT, 4);
	p.count = 1;
	EXPECT_EQ(-EINVAL, cb_publish(pub, &p));
	p = cb_a_success(1, 4, words, 3);
	p.message = cb_ptr(TEXT);
	EXPECT_EQ(-EINVAL, cb_publish(pub, &p));
	for (i = 1; i < 32; i++) {
		p = cb_an_error(1, 4, TEXT, 4);
		p.flags = 1u << i;
		EXPECT_EQ(-EINVAL, cb_publish(pub, &p));
	}
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		p = cb_an_error(1, 4, TEXT, 4);
		p.state = states[i];
		EXPECT_EQ(-EINVAL, cb_publish(pub, &p));
	}
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		EXPECT_EQ(-EINVAL, cb_bind(pub, 0, signals[i]));
	ASSERT_STATE(&self->s);
	EXPECT_EQ(0, cb_bind(pub, 0, 64));
	cb_want_bound(&self->s, 0, getpid());
	ASSERT_STATE(&self->s);
}

TEST_F(arguments, channels)
{
	static const struct {
		__u32 first, count;
		int errno_;
	} ranges[] = {
		{ 0, 0, EINVAL }, { N, 0, EINVAL }, { ALL, 0, EINVAL },
		{ 0, N + 1, ENOENT }, { 0, ALL, ENOENT }, { 1, N, ENOENT },
		{ 1, ALL, ENOENT }, { N, 1, ENOENT }, { ALL, 1, ENOENT },
		{ ALL, ALL, ENOENT }, { 0x80000000, 0x80000001, ENOENT },
	};
	static const __u32 none[] = { N, N + 1, 64, 0x80000000, ALL - 1 };
	struct cb_session *s = &self->s;
	struct chipboot_status st;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		EXPECT_EQ(-ranges[i].errno_,
			  cb_reset(s->owner, ranges[i].first, ranges[i].count,
				   0));
		EXPECT_EQ(-ranges[i].errno_,
			  cb_abort(s->owner, ranges[i].first, ranges[i].count,
				   -1, "x", NULL));
		ASSERT_STATE(s);
	}
	for (i = 0; i < ARRAY_SIZE(none); i++) {
		EXPECT_EQ(-ENOENT, cb_claim(s->owner, none[i], NULL));
		EXPECT_EQ(-ENOENT, cb_read(self->fd[OBSERVER], none[i], &page));
		EXPECT_EQ(-ENOENT, cb_status(s->owner, none[i], 0, &st));
		EXPECT_EQ(-ENOENT,
			  cb_status(self->fd[OBSERVER], none[i], 0, &st));
		/* a publisher's channel is its own, whatever is asked for */
		EXPECT_EQ(0, cb_status(self->fd[PUBLISHER], none[i], 0, &st));
		EXPECT_EQ(0, st.channel);
		EXPECT_EQ(1, st.channel_generation);
	}
	/* NO_CHANNEL is one of STATUS's only */
	EXPECT_EQ(-ENOENT, cb_claim(s->owner, CHIPBOOT_NO_CHANNEL, NULL));
	EXPECT_EQ(-ENOENT, cb_read(self->fd[OBSERVER], CHIPBOOT_NO_CHANNEL,
				   &page));
	ASSERT_STATE(s);
}

/* DETACH has no argument, and takes none. */
TEST_F(arguments, detach)
{
	static const unsigned long some[] = { 1, 4096, LONG_MAX, ~0ul };
	struct cb_session *s = &self->s;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(some); i++) {
		EXPECT_EQ(-EINVAL, cb_ioctl(s->owner, CHIPBOOT_IOC_DETACH,
					    (void *)some[i]));
		ASSERT_STATE(s);
	}
	EXPECT_EQ(-EINVAL, cb_ioctl(s->owner, CHIPBOOT_IOC_DETACH, self->room));
	/* a struct it may get one day: nothing in it, something in it */
	memset(self->room, 0, 64);
	self->room[63] = 1;
	EXPECT_EQ(-E2BIG, cb_ioctl(s->owner, sized(CHIPBOOT_IOC_DETACH, 64),
				   self->room));
	EXPECT_EQ(-EFAULT, cb_ioctl(s->owner, sized(CHIPBOOT_IOC_DETACH, 64),
				    self->end));
	ASSERT_STATE(s);
	self->room[63] = 0;
	EXPECT_EQ(0, cb_ioctl(s->owner, sized(CHIPBOOT_IOC_DETACH, 64),
			      self->room));
	s->owner_state = CHIPBOOT_OWNER_DETACHED;
	s->change = 1;
	ASSERT_STATE(s);
}

/* ---- sizes ------------------------------------------------------------ */

TEST_F(arguments, sizes)
{
	unsigned int i, size, known;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];
		union argument a = good(c->cmd);
		int fd = self->fd[c->handle];

		known = _IOC_SIZE(c->cmd);
		for (size = 0; size < known; size++) {
			EXPECT_EQ(-EINVAL, cb_ioctl(fd, sized(c->cmd, size),
						    &a))
				TH_LOG("%s: %u bytes", c->name, size);
		}
		memset(self->room, 0, SIZE_MAX_IOC);
		memcpy(self->room, &a, known);
		for (size = known + 1; size < known + 18; size++) {
			self->room[size - 1] = 1;
			EXPECT_EQ(-E2BIG, cb_ioctl(fd, sized(c->cmd, size),
						   self->room))
				TH_LOG("%s: %u bytes", c->name, size);
			self->room[size - 1] = 0;
		}
		self->room[SIZE_MAX_IOC - 1] = (char)0x80;
		EXPECT_EQ(-E2BIG, cb_ioctl(fd, sized(c->cmd, SIZE_MAX_IOC),
					   self->room)) TH_LOG("%s", c->name);
		self->room[SIZE_MAX_IOC - 1] = 0;
		self->room[known] = 1;
		EXPECT_EQ(-E2BIG, cb_ioctl(fd, sized(c->cmd, SIZE_MAX_IOC),
					   self->room)) TH_LOG("%s", c->name);
		ASSERT_STATE(&self->s)
			TH_LOG("%s", c->name);
	}
}

/* The largest there is does what the usual one does, and is not written to. */
TEST_F(arguments, largest)
{
	struct cb_session *s = &self->s;
	unsigned int i, k;
	int ret;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];
		union argument a = good(c->cmd);

		memset(self->room, 0, SIZE_MAX_IOC);
		memcpy(self->room, &a, _IOC_SIZE(c->cmd));
		ret = cb_ioctl(self->fd[c->handle],
			       sized(c->cmd, SIZE_MAX_IOC), self->room);
		if (makes_handle(c->cmd)) {
			EXPECT_LT(0, ret) TH_LOG("%s", c->name);
			/* CLAIM's stays: its close would be an answer */
			if (ret > 0 && c->cmd != CHIPBOOT_IOC_CLAIM)
				close(ret);
			ret = 0;
		}
		EXPECT_EQ(want_good(s, c->cmd), ret) TH_LOG("%s", c->name);
		ASSERT_STATE(s)
			TH_LOG("%s", c->name);
		for (k = _IOC_SIZE(c->cmd); !self->room[k] && k < SIZE_MAX_IOC;)
			k++;
		EXPECT_EQ(SIZE_MAX_IOC, k) TH_LOG("%s", c->name);
	}
}

/* ---- pointers --------------------------------------------------------- */

/* Not there, the kernel's, no address at all. */
static const __u64 nowhere[] = {
	8, 0x7ffffffff000, 0x7ffffffffff8, 0x8000000000000, 0x8000000000000000,
	0xffff888000000000, 0xffffffff81000000, 0xffffffffffffff00,
	0xffffffffffffffff,
};

TEST_F(arguments, structs_nowhere)
{
	unsigned int i, k, size;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];
		union argument a = good(c->cmd);
		int fd = self->fd[c->handle];

		size = _IOC_SIZE(c->cmd);
		for (k = 0; k < ARRAY_SIZE(nowhere); k++) {
			EXPECT_EQ(-EFAULT,
				  cb_ioctl(fd, c->cmd,
					   (void *)(uintptr_t)nowhere[k]))
				TH_LOG("%s at %#llx", c->name,
				       (unsigned long long)nowhere[k]);
		}
		EXPECT_EQ(-EFAULT, cb_ioctl(fd, c->cmd, NULL))
			TH_LOG("%s", c->name);
		/* all but its last byte, and but its first */
		memcpy(self->end - size + 1, &a, size - 1);
		EXPECT_EQ(-EFAULT, cb_ioctl(fd, c->cmd, self->end - size + 1))
			TH_LOG("%s", c->name);
		self->end[-1] = 0;
		EXPECT_EQ(-EFAULT, cb_ioctl(fd, c->cmd, self->end - 1))
			TH_LOG("%s", c->name);
		/* what it says it is longer by is not there */
		memcpy(self->end - size, &a, size);
		EXPECT_EQ(-EFAULT, cb_ioctl(fd, sized(c->cmd, size + 1),
					    self->end - size))
			TH_LOG("%s", c->name);
		ASSERT_STATE(&self->s)
			TH_LOG("%s", c->name);
	}
}

/* Who writes to a struct needs to be able to; who does not, does not. */
TEST_F(arguments, structs_readonly)
{
	struct cb_session *s = &self->s;
	unsigned int i;
	int ret, want;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];
		union argument a = good(c->cmd);

		memcpy(self->room, &a, sizeof(a));
		ret = cb_ioctl(self->fd[c->handle], c->cmd, self->readonly);
		if (gives_back(c->cmd)) {
			want = -EFAULT;
		} else {
			want = want_good(s, c->cmd);
			if (ret > 0 && makes_handle(c->cmd)) {
				close(ret);
				ret = 0;
			}
		}
		EXPECT_EQ(want, ret) TH_LOG("%s", c->name);
		EXPECT_EQ(0, memcmp(self->room, &a, sizeof(a)));
		ASSERT_STATE(s)
			TH_LOG("%s", c->name);
	}
	/* it was only the memory */
	ret = cb_claim(s->owner, 1, NULL);
	EXPECT_LT(0, ret);
	ASSERT_STATE(s);
	close(ret);
}

/* @cmd with a pointer to @at in the place of the good one. */
static int points_to(int fd, unsigned int cmd, __u64 at, __u32 len)
{
	union argument a = good(cmd);

	switch (cmd) {
	case CHIPBOOT_IOC_PUBLISH:
		if (len <= CHIPBOOT_WORDS_MAX) {
			a.publish.words = at;
			a.publish.count = len;
			break;
		}
		a.publish = cb_an_error(1, 4, NULL, len);
		a.publish.message = at;
		break;
	case CHIPBOOT_IOC_PROGRESS:
		a.progress.message = at;
		a.progress.message_len = len;
		break;
	case CHIPBOOT_IOC_ABORT:
		a.abort.message = at;
		a.abort.message_len = len;
		break;
	case CHIPBOOT_IOC_READ:
		a.read.page = at;
		break;
	case CHIPBOOT_IOC_STATUS:
		a.status.pending = at;
		a.status.pending_words = len;
		break;
	}
	return cb_ioctl(fd, cmd, &a);
}

TEST_F(arguments, pointers_nowhere)
{
	/* how long in the units of points_to(), how many bytes that is */
	static const struct {
		const char *name;
		enum handle handle;
		unsigned int cmd;
		__u32 len, bytes;
		bool out;
	} pointers[] = {
		{ "words", PUBLISHER, CHIPBOOT_IOC_PUBLISH, 376, 3008, false },
		{ "word", PUBLISHER, CHIPBOOT_IOC_PUBLISH, 1, 8, false },
		{ "message", PUBLISHER, CHIPBOOT_IOC_PUBLISH, 1023, 1023,
		  false },
		{ "progress", PUBLISHER, CHIPBOOT_IOC_PROGRESS, 1023, 1023,
		  false },
		{ "a byte", PUBLISHER, CHIPBOOT_IOC_PROGRESS, 1, 1, false },
		{ "cause", OWNER, CHIPBOOT_IOC_ABORT, 1023, 1023, false },
		{ "page", OBSERVER, CHIPBOOT_IOC_READ, 0, 4096, true },
		{ "pending", OWNER, CHIPBOOT_IOC_STATUS, 3, 24, true },
		{ "pending", PUBLISHER, CHIPBOOT_IOC_STATUS, 1, 8, true },
		{ "pending", OBSERVER, CHIPBOOT_IOC_STATUS, 1024, 8192, true },
	};
	unsigned int i, k;

	memset(self->room, 'x', PAGES * 4096);
	for (i = 0; i < ARRAY_SIZE(pointers); i++) {
		const __u32 len = pointers[i].len;
		unsigned int cmd = pointers[i].cmd;
		int fd = self->fd[pointers[i].handle];

		for (k = 0; k < ARRAY_SIZE(nowhere); k++) {
			EXPECT_EQ(-EFAULT, points_to(fd, cmd, nowhere[k], len))
				TH_LOG("%s at %#llx", pointers[i].name,
				       (unsigned long long)nowhere[k]);
		}
		/* all but the last byte */
		EXPECT_EQ(-EFAULT,
			  points_to(fd, cmd,
				    cb_ptr(self->end) - pointers[i].bytes + 1,
				    len)) TH_LOG("%s", pointers[i].name);
		if (pointers[i].out)
			EXPECT_EQ(-EFAULT,
				  points_to(fd, cmd, cb_ptr(self->readonly),
					    len))
				TH_LOG("%s", pointers[i].name);
		ASSERT_STATE(&self->s)
			TH_LOG("%s", pointers[i].name);
	}
}

/* Nothing is touched before or behind what was said, and nothing of nothing. */
TEST_F(arguments, pointers_to_the_end)
{
	struct cb_session *s = &self->s;
	int pub = self->fd[PUBLISHER];
	char text[CHIPBOOT_MESSAGE_SIZE];
	struct chipboot_publish p;
	__u64 *pending;
	unsigned int i;

	EXPECT_EQ(0, points_to(self->fd[OBSERVER], CHIPBOOT_IOC_STATUS, 8, 0));
	EXPECT_EQ(0, points_to(pub, CHIPBOOT_IOC_PROGRESS, 8, 0));
	cb_want_progress(s, 0, "");
	ASSERT_STATE(s);

	memset(self->room, CB_POISON, PAGES * 4096);
	EXPECT_EQ(0, points_to(self->fd[OBSERVER], CHIPBOOT_IOC_READ,
			       cb_ptr(self->end) - 4096, 0));
	EXPECT_EQ(0, memcmp(self->end - 4096, cb_page(s, 0), 4096));
	EXPECT_EQ(CB_POISON, (unsigned char)self->end[-4097]);

	/* 1024 words are written, however many there are said to be */
	memset(self->room, CB_POISON, PAGES * 4096);
	EXPECT_EQ(0, points_to(s->owner, CHIPBOOT_IOC_STATUS,
			       cb_ptr(self->end) - 8192, ALL));
	pending = (void *)(self->end - 8192);
	EXPECT_EQ(3, pending[0]);
	for (i = 1; i < 1024; i++)
		EXPECT_EQ(0, pending[i]);
	EXPECT_EQ(CB_POISON, (unsigned char)self->end[-8193]);

	memset(text, 'y', sizeof(text));
	text[CHIPBOOT_MESSAGE_SIZE - 1] = '\0';
	memcpy(self->end - 1023, text, 1023);
	EXPECT_EQ(0, points_to(pub, CHIPBOOT_IOC_PROGRESS,
			       cb_ptr(self->end) - 1023, 1023));
	cb_want_progress(s, 0, text);
	ASSERT_STATE(s);

	p = cb_a_success(1, 8, (void *)(self->end - 3008), CHIPBOOT_WORDS_MAX);
	EXPECT_EQ(0, cb_publish(pub, &p));
	cb_want_publish(s, 0, &p, getpid());
	ASSERT_STATE(s);
}

/* ---- limits ----------------------------------------------------------- */

TEST_F(arguments, limits)
{
	static const __u32 too_long[] = { 1024, 1025, 4096, 0x80000000, ALL };
	static const __u32 too_many[] = { 377, 378, 0x20000000, 0x20000001, ALL };
	int pub = self->fd[PUBLISHER];
	struct cb_session *s = &self->s;
	unsigned int i;

	memset(self->room, 'z', PAGES * 4096);
	for (i = 0; i < ARRAY_SIZE(too_long); i++) {
		struct chipboot_publish p = cb_an_error(1, 4, self->room,
							too_long[i]);

		EXPECT_EQ(-EMSGSIZE, cb_publish(pub, &p));
		EXPECT_EQ(-EMSGSIZE, points_to(pub, CHIPBOOT_IOC_PROGRESS,
					       cb_ptr(self->room),
					       too_long[i]));
		EXPECT_EQ(-EMSGSIZE, points_to(s->owner, CHIPBOOT_IOC_ABORT,
					       cb_ptr(self->room),
					       too_long[i]));
		ASSERT_STATE(s);
	}
	for (i = 0; i < ARRAY_SIZE(too_many); i++) {
		struct chipboot_publish p = cb_a_success(1, 4, words, 0);

		p.words = cb_ptr(self->room);
		p.count = too_many[i];
		EXPECT_EQ(-EOVERFLOW, cb_publish(pub, &p));
		ASSERT_STATE(s);
	}
	/* and what is just not too long */
	self->room[1023] = '\0';
	EXPECT_EQ(0, points_to(s->owner, CHIPBOOT_IOC_ABORT, cb_ptr(self->room),
			       1023));
	cb_want_verdict(s, 1, CHIPBOOT_ORIGIN_OWNER, -3, self->room);
	ASSERT_STATE(s);
	EXPECT_EQ(0, cb_error(pub, 1, 9, self->room));
	cb_want_verdict(s, 0, CHIPBOOT_ORIGIN_PUBLISHER, 9, self->room);
	s->want[0].publisher_pid = getpid();
	ASSERT_STATE(s);
}

TEST_F(arguments, number_of_channels)
{
	static const struct {
		__u32 n;
		int ret;
	} numbers[] = {
		{ 0, -EINVAL }, { 1, 0 }, { 4096, 0 }, { 4097, -ERANGE },
		{ 0x80000000, -ERANGE }, { ALL, -ERANGE },
	};
	struct chipboot_status st;
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		fd = cb_create(self->s.control, numbers[i].n, NULL);
		if (numbers[i].ret) {
			EXPECT_EQ(numbers[i].ret, fd);
			continue;
		}
		ASSERT_LT(0, fd);
		EXPECT_EQ(0, cb_status(fd, numbers[i].n - 1, 0, &st));
		EXPECT_EQ(numbers[i].n, st.channels);
		EXPECT_EQ(numbers[i].n, st.idle);
		EXPECT_EQ(1, st.channel_generation);
		EXPECT_EQ(-ENOENT, cb_status(fd, numbers[i].n, 0, &st));
		close(fd);
	}
	ASSERT_STATE(&self->s);
}

/* CREATE makes something, so it takes a descriptor that is open for writing. */
TEST_F(arguments, how_control_is_open)
{
	static const struct {
		int flags;
		bool may_create;
	} ways[] = {
		{ O_RDONLY, false }, { O_WRONLY, true }, { O_RDWR, true },
	};
	struct chipboot_version v;
	unsigned int i;
	int control, fd;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		control = open(CB_DEVICE, ways[i].flags | O_CLOEXEC);
		ASSERT_LT(0, control);
		EXPECT_EQ(0, cb_version(control, &v));
		EXPECT_EQ(CHIPBOOT_ABI_VERSION, v.abi);
		fd = cb_create(control, 1, NULL);
		if (ways[i].may_create) {
			EXPECT_LT(0, fd);
		} else {
			EXPECT_EQ(-EBADF, fd);
		}
		if (fd > 0)
			close(fd);
		close(control);
	}
}

TEST_HARNESS_MAIN
