// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 1536 --timeout 900 */
/*
 * Limits: the three module parameters at their edges, and whose channels count
 * against whom; descriptors; memory cgroups, which are charged for every channel
 * and refuse without a victim.
 */
#include "system_test.h"

#include <sys/mman.h>

#define ALICE	1001
#define BOB	1002
#define GROUP	"limits"
#define FILL	GROUP "/fill"

FIXTURE(limits)
{
	long long saved[ST_PARAMS];
	int control;
	int kmsg;
};

FIXTURE_SETUP(limits)
{
	struct rlimit files = { .rlim_cur = 16384, .rlim_max = 16384 };
	int i;

	for (i = 0; i < ST_PARAMS; i++) {
		self->saved[i] = st_param(i);
		ASSERT_LE(0, self->saved[i]);
	}
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	self->control = cb_open();
	ASSERT_LE(0, self->control);
	ASSERT_EQ(0, chmod(CB_DEVICE, 0666));
	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->kmsg);
	ASSERT_LE(0, lseek(self->kmsg, 0, SEEK_END));
	ASSERT_EQ(0, pt_adopt_orphans());
}

FIXTURE_TEARDOWN(limits)
{
	int i;

	pt_kill_all();
	chmod(CB_DEVICE, 0600);
	for (i = 0; i < ST_PARAMS; i++)
		EXPECT_EQ(0, st_set_param(i, (__u32)self->saved[i]));
	close(self->kmsg);
	close(self->control);
}

/* CREATE, and close at once; 0 or -errno. */
static int try_create(int control, __u32 n)
{
	int fd = cb_create(control, n, NULL);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* There is room for @n channels, to the last one, and then @err. */
#define EXPECT_ROOM(n, err) do { \
	__u32 room = (n); \
	if (room) \
		EXPECT_EQ(0, try_create(self->control, room)); \
	EXPECT_EQ(-(err), try_create(self->control, room + 1)); \
} while (0)

/* ---- the parameters ---------------------------------------------------- */

TEST_F(limits, defaults)
{
	EXPECT_EQ(4096, self->saved[ST_PER_SESSION]);
	EXPECT_EQ(16384, self->saved[ST_PER_USER]);
	EXPECT_EQ(65536, self->saved[ST_ALL]);
	EXPECT_ROOM(4096, ERANGE);
	EXPECT_EQ(-ERANGE, try_create(self->control, ~0u));
	EXPECT_EQ(-EINVAL, try_create(self->control, 0));
}

TEST_F(limits, parameter_files)
{
	static const char * const bad[] = { "-1", "4294967296", "x", "" };
	struct stat st;
	char path[128];
	unsigned int k;
	int i;

	for (i = 0; i < ST_PARAMS; i++) {
		snprintf(path, sizeof(path),
			 "/sys/module/chipboot/parameters/%s",
			 st_param_name[i]);
		ASSERT_EQ(0, stat(path, &st));
		EXPECT_EQ(0644, st.st_mode & 07777);
		EXPECT_EQ(0, st.st_uid);
		/* an empty write is none at all */
		for (k = 0; k < ARRAY_SIZE(bad) - 1; k++) {
			EXPECT_NE(0, st_write(path, bad[k]));
			EXPECT_EQ(self->saved[i], st_param(i));
		}
		EXPECT_EQ(0, st_set_param(i, ~0u));
		EXPECT_EQ(~0u, st_param(i));
	}
}

TEST_F(limits, per_session)
{
	static const __u32 max[] = { 0, 1, 2, 63, 64, 65, 4097, 8000 };
	struct chipboot_version v;
	unsigned int i;
	int one;

	one = cb_create(self->control, 1, NULL);
	ASSERT_LE(0, one);
	for (i = 0; i < ARRAY_SIZE(max); i++) {
		ASSERT_EQ(0, st_set_param(ST_PER_SESSION, max[i]));
		ASSERT_EQ(0, cb_version(self->control, &v));
		EXPECT_EQ(max[i], v.max_channels_per_session);
		/* each session anew: what others have does not count */
		EXPECT_ROOM(max[i], ERANGE);
		EXPECT_EQ(-ERANGE, try_create(self->control, ~0u));
	}
	close(one);
}

/* The same for the user's and for the host's, which count sessions together. */
static void edges(struct __test_metadata *_metadata, int control, int param,
		  int err)
{
	int fd[8];
	__u32 i;

	ASSERT_EQ(0, st_set_param(param, 0));
	EXPECT_EQ(-err, try_create(control, 1));
	ASSERT_EQ(0, st_set_param(param, 10));
	EXPECT_EQ(-err, try_create(control, 11));
	EXPECT_EQ(0, try_create(control, 10));

	/* 1 + 2 + 3 + 4 */
	for (i = 0; i < 4; i++) {
		fd[i] = cb_create(control, i + 1, NULL);
		ASSERT_LE(0, fd[i]);
	}
	EXPECT_EQ(-err, try_create(control, 1));
	EXPECT_EQ(-err, try_create(control, 4096));
	/* a refusal costs nothing, and what is closed is there again at once */
	for (i = 0; i < 4; i++) {
		close(fd[i]);
		EXPECT_EQ(-err, try_create(control, i + 2));
		EXPECT_EQ(0, try_create(control, i + 1));
		fd[i] = cb_create(control, i + 1, NULL);
		ASSERT_LE(0, fd[i]);
		EXPECT_EQ(-err, try_create(control, 1));
	}

	/* lowered below use: nobody is evicted, nobody is let in */
	for (i = 11; i-- > 0;) {
		ASSERT_EQ(0, st_set_param(param, i));
		EXPECT_EQ(-err, try_create(control, 1));
	}
	ASSERT_EQ(0, st_set_param(param, 7));
	close(fd[2]);	/* of 3 */
	EXPECT_EQ(-err, try_create(control, 1));
	close(fd[0]);	/* of 1: 6 left */
	EXPECT_EQ(0, try_create(control, 1));
	EXPECT_EQ(-err, try_create(control, 2));
	/* and raised: now */
	ASSERT_EQ(0, st_set_param(param, 4000));
	EXPECT_EQ(-err, try_create(control, 3995));
	EXPECT_EQ(0, try_create(control, 3994));
	ASSERT_EQ(0, st_set_param(param, ~0u));
	EXPECT_EQ(0, try_create(control, 4096));
	close(fd[1]);
	close(fd[3]);
	ASSERT_EQ(0, st_set_param(param, 10));
	EXPECT_EQ(0, try_create(control, 10));
	EXPECT_EQ(-err, try_create(control, 11));
}

TEST_F(limits, per_user)
{
	edges(_metadata, self->control, ST_PER_USER, EDQUOT);
}

TEST_F(limits, of_all)
{
	edges(_metadata, self->control, ST_ALL, ENOSPC);
}

/* The narrowest name is given when several would do. */
TEST_F(limits, which_one)
{
	ASSERT_EQ(0, st_set_param(ST_PER_SESSION, 5));
	ASSERT_EQ(0, st_set_param(ST_PER_USER, 5));
	ASSERT_EQ(0, st_set_param(ST_ALL, 5));
	EXPECT_ROOM(5, ERANGE);
	ASSERT_EQ(0, st_set_param(ST_PER_SESSION, 6));
	EXPECT_ROOM(5, EDQUOT);
	ASSERT_EQ(0, st_set_param(ST_PER_USER, 6));
	EXPECT_ROOM(5, ENOSPC);
	ASSERT_EQ(0, st_set_param(ST_ALL, 6));
	EXPECT_ROOM(6, ERANGE);
}

/* Parameters have no largest value; a session has, STATUS's bitmap. */
TEST_F(limits, largest)
{
	const __u32 n = 65536, words = n / 64;
	struct chipboot_version v;
	struct chipboot_status st;
	struct chipboot_page page;
	__u64 *pending;
	int i, fd, obs;

	for (i = 0; i < ST_PARAMS; i++)
		ASSERT_EQ(0, st_set_param(i, ~0u));
	ASSERT_EQ(0, cb_version(self->control, &v));
	EXPECT_EQ(n, v.max_channels_per_session);
	EXPECT_EQ(-ERANGE, try_create(self->control, ~0u));
	EXPECT_EQ(-ERANGE, try_create(self->control, 1u << 31));
	EXPECT_EQ(-ERANGE, try_create(self->control, n + 1));
	fd = cb_create(self->control, n, NULL);
	ASSERT_LE(0, fd);
	obs = cb_observe(fd, 0);
	ASSERT_LE(0, obs);
	pending = calloc(words + 1, sizeof(*pending));
	ASSERT_NE(NULL, pending);
	ASSERT_EQ(0, cb_status_pending(obs, n - 1, 0, &st, pending, words));
	EXPECT_EQ(n, st.channels);
	EXPECT_EQ(n, st.idle);
	for (i = 0; i < (int)words; i++)
		EXPECT_EQ(~0ull, pending[i]);
	EXPECT_EQ(-ENOENT, cb_status(obs, n, 0, &st));
	EXPECT_EQ(0, cb_read(obs, n - 1, &page));
	EXPECT_EQ(-ENOENT, cb_read(obs, n, &page));
	free(pending);
	close(obs);
	close(fd);
	/* all that has been given back */
	ASSERT_EQ(0, st_set_param(ST_PER_USER, 10));
	EXPECT_ROOM(10, EDQUOT);
	ASSERT_EQ(0, st_set_param(ST_PER_USER, ~0u));
	ASSERT_EQ(0, st_set_param(ST_ALL, 10));
	EXPECT_ROOM(10, ENOSPC);
}

/* While one is being changed it is the old or the new one, and this has room in both. */
TEST_F(limits, changed_meanwhile)
{
	int *enough = cb_shared(sizeof(*enough));
	struct pt_kid kid;
	__u32 round;
	pid_t pid;
	int i;

	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid) {
		int ret = 0;

		while (!ret && !__atomic_load_n(enough, __ATOMIC_RELAXED))
			ret = try_create(self->control, 1);
		_exit(-ret);
	}
	for (round = 0; round < 300; round++)
		for (i = 0; i < ST_PARAMS; i++)
			ASSERT_EQ(0, st_set_param(i, 10 + (round & 1)));
	__atomic_store_n(enough, 1, __ATOMIC_RELAXED);
	EXPECT_EQ(0, cb_reap(pid));
	pt_forget(&kid);
}

/* A session's channels are in use as long as one of its handles or mappings. */
TEST_F(limits, until_the_last_reference)
{
	struct chipboot_create c;
	int owner, pub, obs;
	const char *map;

	ASSERT_EQ(0, st_set_param(ST_PER_USER, 3));
	owner = cb_create(self->control, 3, &c);
	ASSERT_LE(0, owner);
	pub = cb_claim(owner, 0, NULL);
	ASSERT_LE(0, pub);
	obs = cb_observe(owner, 0);
	ASSERT_LE(0, obs);
	map = cb_map(obs, c.stride, 1, 1);
	ASSERT_NE(NULL, map);
	EXPECT_EQ(-EDQUOT, try_create(self->control, 1));
	close(owner);
	EXPECT_EQ(-EDQUOT, try_create(self->control, 1));
	close(pub);
	EXPECT_EQ(-EDQUOT, try_create(self->control, 1));
	close(obs);
	EXPECT_EQ(-EDQUOT, try_create(self->control, 1));
	munmap((void *)(uintptr_t)map, c.stride);
	EXPECT_EQ(0, try_create(self->control, 3));
}

/* ---- users ------------------------------------------------------------- */

/* A process of another user that creates and closes when told. */
struct client {
	struct pt_kid kid;
	struct {
		__u32 create;	/* 0: close the oldest */
		uid_t become;	/* if not 0: change the user, before */
		int ret;
	} *cmd;
};

static void client_main(struct client *c, uid_t uid)
{
	int fds[64], first = 0, last = 0, control;

	if (setresuid(uid, uid, 0))
		_exit(1);
	control = cb_open();
	if (control < 0)
		_exit(2);
	for (;;) {
		pt_say(&c->kid);
		pt_wait_go(&c->kid);
		if (c->cmd->become &&
		    (setresuid((uid_t)-1, 0, (uid_t)-1) ||
		     setresuid(c->cmd->become, c->cmd->become, 0)))
			_exit(3);
		if (c->cmd->create) {
			c->cmd->ret = cb_create(control, c->cmd->create, NULL);
			if (c->cmd->ret >= 0)
				fds[last++] = c->cmd->ret;
			if (c->cmd->ret > 0)
				c->cmd->ret = 0;
		} else {
			c->cmd->ret = cb_errno(close(fds[first++]));
		}
	}
}

static int client_start(struct client *c, uid_t uid)
{
	pid_t pid;

	c->cmd = cb_shared(sizeof(*c->cmd));
	pid = pt_fork(&c->kid);
	if (!pid)
		client_main(c, uid);
	return pid < 0 ? pid : pt_await(&c->kid);
}

static int client_create(struct client *c, __u32 n)
{
	int ret;

	c->cmd->create = n;
	c->cmd->ret = -12345;
	ret = pt_go(&c->kid);
	if (!ret)
		ret = pt_await(&c->kid);
	return ret ? ret : c->cmd->ret;
}

static int client_close(struct client *c)
{
	return client_create(c, 0);
}

TEST_F(limits, users)
{
	struct client alice, more, bob;
	int root;

	ASSERT_EQ(0, st_set_param(ST_PER_USER, 8));
	ASSERT_EQ(0, st_set_param(ST_ALL, 20));
	ASSERT_EQ(0, client_start(&alice, ALICE));
	ASSERT_EQ(0, client_start(&more, ALICE));
	ASSERT_EQ(0, client_start(&bob, BOB));

	/* alice's processes have one account */
	EXPECT_EQ(0, client_create(&alice, 5));
	EXPECT_EQ(-EDQUOT, client_create(&alice, 4));
	EXPECT_EQ(-EDQUOT, client_create(&more, 4));
	EXPECT_EQ(0, client_create(&more, 3));
	EXPECT_EQ(-EDQUOT, client_create(&alice, 1));
	EXPECT_EQ(-EDQUOT, client_create(&more, 1));
	/* and take nothing of bob's */
	EXPECT_EQ(0, client_create(&bob, 8));
	EXPECT_EQ(-EDQUOT, client_create(&bob, 1));
	/* nor of root's, who is a user like others */
	EXPECT_ROOM(4, ENOSPC);
	EXPECT_EQ(-EDQUOT, try_create(self->control, 9));
	root = cb_create(self->control, 4, NULL);
	ASSERT_LE(0, root);
	EXPECT_EQ(-ENOSPC, try_create(self->control, 1));

	/* what one gives back to the host another gets, within its own */
	EXPECT_EQ(0, client_close(&alice));	/* 5 */
	EXPECT_ROOM(4, EDQUOT);			/* has 4 of 8 */
	EXPECT_EQ(-EDQUOT, client_create(&bob, 1));
	EXPECT_EQ(-EDQUOT, client_create(&more, 6));
	EXPECT_EQ(0, client_create(&more, 5));
	EXPECT_EQ(-EDQUOT, client_create(&alice, 1));
	close(root);
	EXPECT_ROOM(4, ENOSPC);

	/* killed: given back before it can be reaped */
	ASSERT_EQ(0, kill(more.kid.pid, SIGKILL));
	ASSERT_EQ(0, pt_wait_dead(more.kid.pid));
	EXPECT_EQ(0, client_create(&alice, 8));
	EXPECT_EQ(-EDQUOT, client_create(&alice, 1));
}

/* Channels are the user's who created them, whoever that process is later. */
TEST_F(limits, change_of_user)
{
	struct client turncoat, alice, bob;

	ASSERT_EQ(0, st_set_param(ST_PER_USER, 8));
	ASSERT_EQ(0, client_start(&turncoat, ALICE));
	ASSERT_EQ(0, client_start(&alice, ALICE));
	ASSERT_EQ(0, client_start(&bob, BOB));
	EXPECT_EQ(0, client_create(&turncoat, 6));
	EXPECT_EQ(-EDQUOT, client_create(&alice, 3));
	turncoat.cmd->become = BOB;
	EXPECT_EQ(0, client_create(&turncoat, 7));
	EXPECT_EQ(-EDQUOT, client_create(&alice, 3));
	EXPECT_EQ(0, client_create(&alice, 2));
	EXPECT_EQ(-EDQUOT, client_create(&bob, 2));
	EXPECT_EQ(0, client_create(&bob, 1));
	/* closed by what is bob now, they are alice's again */
	EXPECT_EQ(0, client_close(&turncoat));
	EXPECT_EQ(-EDQUOT, client_create(&bob, 1));
	EXPECT_EQ(0, client_create(&alice, 6));
	EXPECT_EQ(-EDQUOT, client_create(&alice, 1));
}

/* ---- the kernel log ---------------------------------------------------- */

/* Records since the last call that contain @text. */
static int kmsg_count(int kmsg, const char *text)
{
	char record[2048];
	int count = 0;
	ssize_t n;

	for (;;) {
		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;	/* overwritten; the next one */
		if (n <= 0)
			return count;
		record[n] = '\0';
		if (strstr(record, text))
			count++;
	}
}

/*
 * Each refusal is a line with the parameter's name and value.  Those of earlier
 * tests may have used up the rate limit: so once more, until it is said.
 */
TEST_F(limits, said_in_the_log)
{
	static const struct {
		int param, err;
		const char *text;
	} refusal[] = {
		{ ST_PER_SESSION, ERANGE,
		  "session of 33 channels refused: max_channels_per_session is 32" },
		{ ST_PER_USER, EDQUOT,
		  "session of 33 channels refused for user 0: max_channels_per_user is 32" },
		{ ST_ALL, ENOSPC,
		  "session of 33 channels refused for user 0: max_channels is 32" },
	};
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	unsigned int i;
	int lines;

	for (i = 0; i < ARRAY_SIZE(refusal); i++) {
		ASSERT_EQ(0, st_set_param(refusal[i].param, 32));
		do {
			ASSERT_EQ(-refusal[i].err,
				  try_create(self->control, 33));
			lines = kmsg_count(self->kmsg, refusal[i].text);
			if (!lines)
				usleep(100 * 1000);
		} while (!lines && cb_now() < end);
		EXPECT_EQ(1, lines);
		ASSERT_EQ(0, st_set_param(refusal[i].param, ~0u));
	}
}

/* Ten in five seconds, in this kernel; a machine that is slow sees some more. */
TEST_F(limits, rate_limited)
{
	const int tries = 2000;
	__u64 begin = cb_now();
	int lines, most, i;

	ASSERT_EQ(0, st_set_param(ST_PER_SESSION, 32));
	for (i = 0; i < tries; i++)
		ASSERT_EQ(-ERANGE, try_create(self->control, 77));
	most = 10 * (int)((cb_now() - begin) / 5000000000u + 2);
	lines = kmsg_count(self->kmsg, "session of 77 channels refused");
	ksft_print_msg("%d refusals, %d lines\n", tries, lines);
	EXPECT_LE(lines, most);
	EXPECT_LT(most, tries);
}

/* ---- descriptors ------------------------------------------------------- */

/* Without a descriptor nothing is created, claimed or counted. */
TEST_F(limits, no_descriptor)
{
	struct rlimit none, files;
	struct cb_session s;
	__u32 generation;
	int fd;

	ASSERT_EQ(0, cb_session_open(&s, 3)) TH_LOG("%s", s.why);
	ASSERT_EQ(0, st_set_param(ST_ALL, 5));
	ASSERT_STATE(&s);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &files));
	fd = open("/dev/null", O_RDONLY);
	ASSERT_LE(0, fd);
	close(fd);
	none = files;
	none.rlim_cur = (rlim_t)fd;	/* the lowest that is free */
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, cb_create(s.control, 2, NULL));
	EXPECT_EQ(-EMFILE, cb_claim(s.owner, 1, NULL));
	EXPECT_EQ(-EMFILE, cb_observe(s.owner, 0));
	EXPECT_EQ(-EMFILE, cb_observe(s.observer, 0));
	ASSERT_STATE(&s);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	EXPECT_ROOM(2, ENOSPC);
	fd = cb_claim(s.owner, 1, &generation);
	EXPECT_LE(0, fd);
	EXPECT_EQ(1, generation);
	ASSERT_STATE(&s);
	EXPECT_EQ(-EBUSY, cb_claim(s.owner, 1, NULL));
	cb_session_close(&s);
	close(fd);
}

/* The same when the host has no file left for those without privilege. */
#define MANY_FILES 300

TEST_F(limits, no_file)
{
	int many[MANY_FILES], i;
	struct cb_session s;
	struct pt_kid kid;
	char files[32];
	int status;
	pid_t pid;

	ASSERT_LE(0, cb_slurp("/proc/sys/fs/file-max", files, sizeof(files)));
	pid = pt_fork(&kid);
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setresuid(ALICE, ALICE, ALICE))
			_exit(1);
		if (cb_session_open(&s, 3) || *cb_check(&s))
			_exit(2);
		pt_say(&kid);
		pt_wait_go(&kid);
		if (cb_create(s.control, 1, NULL) != -ENFILE)
			_exit(3);
		if (cb_claim(s.owner, 1, NULL) != -ENFILE)
			_exit(4);
		if (cb_observe(s.owner, 0) != -ENFILE)
			_exit(5);
		if (cb_observe(s.observer, 0) != -ENFILE)
			_exit(6);
		if (*cb_check(&s))
			_exit(7);
		pt_say(&kid);
		pt_wait_go(&kid);
		if (cb_claim(s.owner, 1, NULL) < 0 || *cb_check(&s))
			_exit(8);
		_exit(0);
	}
	ASSERT_EQ(0, pt_await(&kid));
	/* the kernel counts by processor, and adds up a batch of 32 at a time */
	for (i = 0; i < MANY_FILES; i++) {
		many[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		ASSERT_LE(0, many[i]);
	}
	ASSERT_EQ(0, st_write("/proc/sys/fs/file-max", "1"));
	EXPECT_EQ(0, pt_go(&kid));
	EXPECT_EQ(0, pt_await(&kid));
	/* this process may still open it, by privilege */
	ASSERT_EQ(0, st_write("/proc/sys/fs/file-max", files));
	EXPECT_EQ(0, pt_go(&kid));
	for (i = 0; i < MANY_FILES; i++)
		close(many[i]);
	status = cb_reap(pid);
	EXPECT_EQ(0, status);
}

/* ---- the largest session there is -------------------------------------- */

#define LARGE		4096
#define LARGE_WORDS	(LARGE / 64)
#define PUBLISHERS	4

/* What publisher process @k of PUBLISHERS answers for its channels. */
static struct chipboot_publish large_answer(__u32 ch, __u64 *words)
{
	return cb_a_success(1, ch, words, ch % (CHIPBOOT_WORDS_MAX + 1));
}

/* How many bits differ from "those of the processes before @done are set". */
static __u32 pending_errors(const __u64 *pending, __u32 done)
{
	__u32 ch, errors = 0;

	for (ch = 0; ch < LARGE; ch++) {
		bool idle = ch % PUBLISHERS >= done;

		errors += idle != (pending[ch / 64] >> ch % 64 & 1);
	}
	return errors;
}

TEST_F(limits, whole_round_of_4096)
{
	__u64 words[CHIPBOOT_WORDS_MAX], pending[LARGE_WORDS + 2];
	struct pt_kid kid[PUBLISHERS];
	struct chipboot_status st;
	struct chipboot_create c;
	struct chipboot_publish p;
	struct chipboot_page page;
	struct pollfd poller;
	int owner, obs, *pub;
	unsigned char *seen;
	const char *map;
	__u32 ch, k, done;
	pid_t pid;

	pub = calloc(LARGE, sizeof(*pub));
	seen = calloc(LARGE + 1, 1);
	ASSERT_NE(NULL, pub);
	ASSERT_NE(NULL, seen);
	owner = cb_create(self->control, LARGE, &c);
	ASSERT_LE(0, owner);
	obs = cb_observe(owner, CHIPBOOT_EVENT_COMPLETE);
	ASSERT_LE(0, obs);
	map = cb_map(obs, c.stride, 0, LARGE);
	ASSERT_NE(NULL, map);
	for (ch = 0; ch < LARGE; ch++) {
		pub[ch] = cb_claim(owner, ch, NULL);
		ASSERT_LE(0, pub[ch]);
	}
	EXPECT_EQ(-ENOENT, cb_claim(owner, LARGE, NULL));
	for (k = 0; k < PUBLISHERS; k++) {
		pid = pt_fork(&kid[k]);
		ASSERT_LE(0, pid);
		if (!pid) {
			pt_wait_go(&kid[k]);
			for (ch = k; ch < LARGE; ch += PUBLISHERS) {
				p = large_answer(ch, words);
				if (cb_publish(pub[ch], &p))
					_exit(1);
			}
			pt_say(&kid[k]);
			pt_sleep_for_ever();
		}
	}
	for (done = 0; done <= PUBLISHERS; done++) {
		EXPECT_EQ(done == PUBLISHERS ? POLLIN | POLLRDNORM : 0,
			  cb_revents(obs));
		memset(pending, CB_POISON, sizeof(pending));
		ASSERT_EQ(0, cb_status_pending(obs, LARGE - 1, 0, &st, pending,
					       LARGE_WORDS + 1));
		EXPECT_EQ(LARGE, st.channels);
		EXPECT_EQ(LARGE / PUBLISHERS * (PUBLISHERS - done), st.idle);
		EXPECT_EQ(LARGE / PUBLISHERS * done, st.success);
		EXPECT_EQ(0, st.error);
		EXPECT_EQ(done == PUBLISHERS, st.channel_state);
		EXPECT_EQ(0, pending_errors(pending, done));
		EXPECT_EQ(0, pending[LARGE_WORDS]);
		if (done == PUBLISHERS)
			break;
		ASSERT_EQ(0, pt_go(&kid[done]));
		if (done < PUBLISHERS - 1) {
			ASSERT_EQ(0, pt_await(&kid[done]));
			continue;
		}
		/* the last one's last answer ends the wait */
		poller = (struct pollfd) { .fd = obs, .events = POLLIN };
		EXPECT_EQ(1, poll(&poller, 1, CB_PATIENCE_MS));
		EXPECT_EQ(POLLIN, poller.revents);
	}
	/* a bitmap that is too small for all is filled as far as it goes */
	memset(pending, CB_POISON, sizeof(pending));
	ASSERT_EQ(0, cb_status_pending(obs, CHIPBOOT_NO_CHANNEL, 0, &st,
				       pending, 1));
	EXPECT_EQ(0, pending[0]);

	for (ch = 0; ch < LARGE; ch++) {
		ASSERT_EQ(0, cb_read(obs, ch, &page));
		p = large_answer(ch, words);
		ASSERT_EQ(CHIPBOOT_SUCCESS, page.state) TH_LOG("%u", ch);
		ASSERT_EQ(p.count, (__u32)page.count);
		ASSERT_EQ(p.device_ctx, page.device_ctx);
		ASSERT_EQ(p.local_window_base, page.local_window_base);
		ASSERT_EQ(p.actual_window_size, page.actual_window_size);
		ASSERT_EQ(0, memcmp(page.words, words, p.count * 8));
		ASSERT_EQ(kid[ch % PUBLISHERS].pid, page.publisher_pid);
		/* each order once */
		ASSERT_LE(1, page.order);
		ASSERT_GE(LARGE, page.order);
		ASSERT_EQ(0, seen[page.order]);
		seen[page.order] = 1;
		ASSERT_EQ(0, memcmp(&page, map + (size_t)ch * c.stride,
				    sizeof(page)));
	}
	EXPECT_EQ(-ENOENT, cb_read(obs, LARGE, &page));

	/* and once more */
	ASSERT_EQ(0, cb_reset(owner, 0, LARGE, 0));
	ASSERT_EQ(0, cb_status_pending(obs, LARGE - 1, 0, &st, pending,
				       LARGE_WORDS));
	EXPECT_EQ(LARGE, st.idle);
	EXPECT_EQ(2, st.channel_generation);
	EXPECT_EQ(0, pending_errors(pending, 0));
	for (ch = 0; ch < LARGE; ch++)
		close(pub[ch]);
	ASSERT_EQ(0, cb_status(obs, LARGE - 1, 0, &st));
	EXPECT_EQ(LARGE, st.idle);
	munmap((void *)(uintptr_t)map, (size_t)LARGE * c.stride);
	close(obs);
	close(owner);
	free(pub);
	free(seen);
}

/* ---- memory cgroups ---------------------------------------------------- */

/*
 * Groups below GROUP, removed with the fixture: all made while there is room, since
 * a group costs its parent memory.
 */
#define POOL	128

static int pool_make(void)
{
	char group[64];
	int i, ret = 0;

	for (i = 0; i < POOL && !ret; i++) {
		snprintf(group, sizeof(group), GROUP "/%d", i);
		ret = st_group_make(group);
	}
	return ret;
}

FIXTURE(charged)
{
	struct cb_session s;
	long long max_all;
	size_t stride;
	int pub;
	int used;		/* groups of the pool */
};

/*
 * A session of three channels that is charged to nobody, channel 0 claimed.  The
 * test lives in the root's group and visits others for single calls, so that what
 * they are charged is the module's.
 */
FIXTURE_SETUP(charged)
{
	self->max_all = st_param(ST_ALL);
	ASSERT_EQ(0, st_group_make(GROUP));
	ASSERT_EQ(0, cb_session_open(&self->s, 3)) TH_LOG("%s", self->s.why);
	self->pub = cb_claim(self->s.owner, 0, NULL);
	ASSERT_LE(0, self->pub);
	self->stride = self->s.stride;
	ASSERT_STATE(&self->s);
}

FIXTURE_TEARDOWN(charged)
{
	char group[64];
	int i;

	EXPECT_EQ(0, st_group_enter(""));
	pt_kill_all();
	st_set_param(ST_ALL, (__u32)self->max_all);
	close(self->pub);
	cb_session_close(&self->s);
	for (i = 0; i < POOL; i++) {
		snprintf(group, sizeof(group), GROUP "/%d", i);
		rmdir(st_group_file(group, ""));
	}
	rmdir(st_group_file(FILL, ""));
	EXPECT_EQ(0, st_group_remove(GROUP));
}

/* CREATE as one of @group. */
static int create_in(const char *group, int control, __u32 n)
{
	int fd, ret;

	ret = st_group_enter(group);
	if (ret)
		return ret;
	fd = cb_create(control, n, NULL);
	ret = st_group_enter("");
	return ret ? ret : fd;
}

/*
 * Kernel statistics are summed up every two seconds: wait for @from to @to, for a
 * minute.
 */
static long long settles(const char *key, long long from, long long to)
{
	__u64 end = cb_now() + 60 * 1000000000ull;
	long long now;

	do {
		now = key ? st_group_key(GROUP, "memory.stat", key) :
			    st_group_number(GROUP, "memory.current");
		if (now >= from && now <= to)
			break;
		usleep(50 * 1000);
	} while (cb_now() < end);
	return now;
}

/* Has memory.stat a figure for kernel memory alone? */
static bool kernel_figure(void)
{
	return st_kernel_has(5, 18);
}

TEST_F(charged, visible)
{
	const __u32 n = 2048;
	const long long pages = (long long)n * (long long)self->stride;
	/* slots, a pointer and a bit for each channel, rounded up; the file */
	const long long more = pages / 16;
	const long long page = getpagesize();
	long long kernel, current;
	int fd, round;

	fd = create_in(GROUP, self->s.control, 1);
	ASSERT_LE(0, fd);
	close(fd);
	for (round = 0; round < 2; round++) {
		fd = create_in(GROUP, self->s.control, n);
		ASSERT_LE(0, fd);
		current = settles(NULL, pages, pages + more);
		kernel = kernel_figure() ?
			settles("kernel", pages, pages + more) : current;
		ksft_print_msg("%u channels: kernel %lld, current %lld bytes\n",
			       n, kernel, current);
		ASSERT_LE(pages, kernel);
		ASSERT_GE(pages + more, kernel);
		ASSERT_LE(pages, current);
		ASSERT_GE(pages + more, current);
		close(fd);
		/* what is left is what the kernel keeps in store, in pages */
		current = settles(NULL, 0, 128 * page);
		kernel = kernel_figure() ? settles("kernel", 0, 8 * page) : 0;
		ksft_print_msg("closed: kernel %lld, current %lld bytes\n",
			       kernel, current);
		ASSERT_GE(8 * page, kernel);
		ASSERT_GE(128 * page, current);
	}
}

#define EXPECT_NO_VICTIM() do { \
	EXPECT_EQ(0, st_group_key(GROUP, "memory.events", "oom")); \
	EXPECT_EQ(0, st_group_key(GROUP, "memory.events", "oom_kill")); \
	EXPECT_EQ(st_kernel_has(5, 17) ? 0 : -ENOENT, \
		  st_group_key(GROUP, "memory.events", "oom_group_kill")); \
} while (0)

/* A session that does not fit ends half-way, and leaves nothing behind. */
TEST_F(charged, create_half_way)
{
	const __u32 sizes[] = { 4096, 1000, 300, 120 };
	const long long room = 100;
	char max[32];
	unsigned int i;
	int fd;

	/* this process's own pages for the calls are all there */
	fd = create_in(GROUP, self->s.control, 1);
	ASSERT_LE(0, fd);
	close(fd);
	snprintf(max, sizeof(max), "%lld", room * (long long)self->stride);
	ASSERT_EQ(0, st_group_write(GROUP, "memory.max", max));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* counted exactly, so that what is not given back is missed */
		ASSERT_EQ(0, st_set_param(ST_ALL, 3 + sizes[i]));
		EXPECT_EQ(-ENOMEM, create_in(GROUP, self->s.control, sizes[i]));
		EXPECT_EQ(-ENOMEM, create_in(GROUP, self->s.control, sizes[i]));
		EXPECT_NO_VICTIM();
		fd = create_in(GROUP, self->s.control, 50);
		EXPECT_LE(0, fd);
		close(fd);
	}
	EXPECT_LT(0, st_group_key(GROUP, "memory.events", "max"));
	ASSERT_STATE(&self->s);
	ASSERT_EQ(0, st_group_write(GROUP, "memory.max", "max"));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, st_set_param(ST_ALL, 3 + sizes[i]));
		fd = create_in(GROUP, self->s.control, sizes[i]);
		EXPECT_LE(0, fd);
		close(fd);
	}
}

/* One that never was charged and so has nothing in store; "" if there is none. */
static const char *pool_next(int *used)
{
	static char group[64];

	if (*used == POOL)
		return "";
	snprintf(group, sizeof(group), GROUP "/%d", (*used)++);
	return group;
}

/*
 * Lower GROUP's limit to what it has when it has given up what the kernel keeps in
 * store for it (memory.high makes it), until one of the pool is refused its first
 * byte, again and again, on any processor.  That one, or "".
 */
static const char *make_full(struct cb_session *s, int *used)
{
	static struct chipboot_page page;
	const char *group = pool_next(used);
	int ret, refused = 0;
	char max[32];

	while (*group && refused < 6) {
		st_group_write(GROUP, "memory.high", "0");
		st_group_write(GROUP, "memory.high", "max");
		usleep(1000);
		snprintf(max, sizeof(max), "%lld",
			 st_group_number(GROUP, "memory.current"));
		ret = st_group_write(GROUP, "memory.max", max);
		cb_pin((unsigned int)refused % 2);
		if (ret || st_group_enter(group))
			return "";
		ret = cb_read(s->observer, 0, &page);
		if (st_group_enter(""))
			return "";
		if (ret == -ENOMEM) {
			refused++;
		} else {
			refused = 0;
			group = pool_next(used);
		}
	}
	return group;
}

enum small { CREATE, CLAIM, OBSERVE, OBSERVE_AGAIN, BIND, PROGRESS, SUCCESS,
	     FAILURE, READ, PENDING, ABORT, SMALLS };

static const char * const small_name[SMALLS] = {
	"CREATE", "CLAIM", "OBSERVE", "OBSERVE by an observer", "BIND",
	"PROGRESS", "PUBLISH of a SUCCESS", "PUBLISH of an ERROR", "READ",
	"STATUS with a bitmap", "ABORT",
};

/* Everything that needs memory; valid in this order.  Return as the ioctl. */
static int small_call(struct cb_session *s, int pub, enum small what)
{
	static __u64 words[CHIPBOOT_WORDS_MAX], pending[64];
	static struct chipboot_status st;
	static struct chipboot_page page;
	struct chipboot_publish p;

	switch (what) {
	case CREATE:
		return cb_create(s->control, 1, NULL);
	case CLAIM:
		return cb_claim(s->owner, 1, NULL);
	case OBSERVE:
		return cb_observe(s->owner, 0);
	case OBSERVE_AGAIN:
		return cb_observe(s->observer, 0);
	case BIND:
		return cb_bind(pub, 0, 0);
	case PROGRESS:
		return cb_progress(pub, 1, "");
	case SUCCESS:
		p = cb_a_success(1, 9, words, CHIPBOOT_WORDS_MAX);
		return cb_publish(pub, &p);
	case FAILURE:
		return cb_error(pub, 2, -9, "no memory");
	case READ:
		return cb_read(s->observer, 0, &page);
	case PENDING:
		return cb_status_pending(s->observer, 0, 0, &st, pending, 64);
	case ABORT:
		return cb_abort(s->owner, 1, 1, -9, "", NULL);
	default:
		return -EINVAL;
	}
}

/* What the model is to be told after it. */
static void small_done(struct cb_session *s, enum small what)
{
	static __u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;

	switch (what) {
	case BIND:
		cb_want_bound(s, 0, getpid());
		break;
	case PROGRESS:
		cb_want_progress(s, 0, "");
		break;
	case SUCCESS:
		p = cb_a_success(1, 9, words, CHIPBOOT_WORDS_MAX);
		cb_want_publish(s, 0, &p, getpid());
		/* for the next one */
		if (!cb_reset(s->owner, 0, 1, CHIPBOOT_RESET_KEEP_PUBLISHERS))
			cb_want_reset(s, 0, 1);
		break;
	case FAILURE:
		p = cb_an_error(2, -9, "no memory", strlen("no memory"));
		cb_want_publish(s, 0, &p, getpid());
		break;
	case ABORT:
		cb_want_verdict(s, 1, CHIPBOOT_ORIGIN_OWNER, -9, "");
		break;
	default:
		break;
	}
}

/* What needs none has to work even there.  "" or its name. */
static const char *needs_no_memory(struct cb_session *s)
{
	static struct chipboot_version v;
	static struct chipboot_status st;

	if (cb_version(s->control, &v))
		return "VERSION";
	if (cb_status(s->observer, 0, 0, &st))
		return "STATUS";
	if (cb_deadline(s->owner, 0, 0))
		return "SET_DEADLINE";
	if (cb_reset(s->owner, 2, 1, 0) != -EBUSY)
		return "RESET";
	if (cb_revents(s->observer) < 0)
		return "poll";
	return "";
}

TEST_F(charged, full)
{
	struct cb_session *s = &self->s;
	const char *group, *why;
	int ret, ballast, at, i;

	ASSERT_EQ(0, st_group_write(GROUP, "cgroup.subtree_control",
				    "+memory"));
	ASSERT_EQ(0, st_group_make(FILL));
	ASSERT_EQ(0, pool_make());
	/*
	 * A page of its own that the test needs in there is one too many: so all
	 * of them now, and each call once, to no effect, without a limit.
	 */
	ASSERT_EQ(0, mlockall(MCL_CURRENT));
	for (at = 0; at < SMALLS; at++) {
		struct cb_session nobody = {
			.control = -1, .owner = -1, .observer = -1,
		};

		ASSERT_EQ(0, st_group_enter(FILL));
		EXPECT_EQ(-EBADF, small_call(&nobody, -1, (enum small)at));
		needs_no_memory(&nobody);
		ASSERT_EQ(0, st_group_enter(""));
	}
	ballast = create_in(FILL, s->control, 300);
	ASSERT_LE(0, ballast);

	for (at = 0; at < SMALLS; at++) {
		group = make_full(s, &self->used);
		ASSERT_NE(0, *group);
		for (i = 0; i < 3; i++) {
			ASSERT_EQ(0, st_group_enter(group));
			ret = small_call(s, self->pub, (enum small)at);
			why = needs_no_memory(s);
			/* that one is a change */
			s->change = 1;
			ASSERT_EQ(0, st_group_enter(""));
			EXPECT_EQ(-ENOMEM, ret) TH_LOG("%s", small_name[at]);
			EXPECT_STREQ("", why);
			ASSERT_STATE(s) TH_LOG("%s", small_name[at]);
		}
		EXPECT_NO_VICTIM();
		/* there is memory again, and the same call works */
		ASSERT_EQ(0, st_group_write(GROUP, "memory.max", "max"));
		ASSERT_EQ(0, st_group_enter(group));
		ret = small_call(s, self->pub, (enum small)at);
		ASSERT_EQ(0, st_group_enter(""));
		EXPECT_LE(0, ret) TH_LOG("%s", small_name[at]);
		small_done(s, (enum small)at);
		ASSERT_STATE(s) TH_LOG("%s", small_name[at]);
		/* a claim that is closed would be a verdict */
		if (at != CLAIM && ret > 0)
			close(ret);
	}
	EXPECT_LT(0, st_group_key(GROUP, "memory.events", "max"));
	EXPECT_NO_VICTIM();
	close(ballast);
}

/*
 * A program that asks until there is no more is told so, and lives.  (It has what
 * it touches; whatever else a process needs, the kernel would kill it for.)
 */
TEST_F(charged, until_full)
{
	struct rlimit files = { .rlim_cur = 8192, .rlim_max = 8192 };
	const char *group;
	struct pt_kid kid;
	int status, run;
	pid_t pid;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	ASSERT_EQ(0, st_group_write(GROUP, "cgroup.subtree_control",
				    "+memory"));
	ASSERT_EQ(0, pool_make());
	for (run = 0; run < 4; run++) {
		group = pool_next(&self->used);
		ASSERT_EQ(0, st_group_write(group, "memory.max", "1M"));
		pid = pt_fork(&kid);
		ASSERT_LE(0, pid);
		if (!pid) {
			int fd, n = 0;

			/* the table of descriptors is no small allocation */
			if (fcntl(0, F_DUPFD, 8000) < 0)
				_exit(1);
			if (st_group_enter("") || mlockall(MCL_CURRENT))
				_exit(5);
			cb_observe(-1, 0);
			if (st_group_enter(group))
				_exit(2);
			do {
				fd = cb_observe(self->s.owner, run & 1);
				if (fd == -EPERM)
					fd = cb_observe(self->s.observer,
							run & 1);
			} while (fd >= 0 && ++n);
			st_group_enter("");
			_exit(fd != -ENOMEM ? 3 : n < 100 ? 4 : 0);
		}
		status = cb_reap(pid);
		EXPECT_EQ(0, status);
		EXPECT_EQ(0, st_group_key(group, "memory.events", "oom_kill"));
		pt_forget(&kid);
	}
}

TEST_HARNESS_MAIN
