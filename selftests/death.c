// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 512 --timeout 900 */
/*
 * Death is an answer: every way for a process to end, and every event that looks like
 * an end and is none.
 *
 * Each test runs twice: in "all", every process has every handle by plain fork and
 * nobody closes; in "sole", the runtime process has the only copy of its publisher
 * handle, so that the handle's last close comes out of the middle of its exit.
 *
 * The oracle, in pt_rig_died(): as soon as waitid(WNOWAIT) has returned, one read of
 * the mapped page gives waitpid()'s status, and the whole of the session shows nothing
 * else.
 */
#include "process_test.h"

#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>

#define N	4
#define VICTIM	2

FIXTURE(death)
{
	struct pt_rig r;
};

FIXTURE_VARIANT(death)
{
	bool sole;
};

FIXTURE_VARIANT_ADD(death, all)
{
	.sole = false,
};

FIXTURE_VARIANT_ADD(death, sole)
{
	.sole = true,
};

FIXTURE_SETUP(death)
{
	ASSERT_OK(pt_rig_open(&self->r, N));
}

FIXTURE_TEARDOWN(death)
{
	pt_rig_close(&self->r);
}

/* The usual course: everybody up, the victim follows @recipe and dies with @status. */
#define DIES(recipe, status, oom) do { \
	ASSERT_OK(pt_rig_start(&self->r, VICTIM, recipe, variant->sole)); \
	ASSERT_EQ(0, pt_go(&self->r.kid[VICTIM])); \
	ASSERT_OK(pt_rig_died(&self->r, VICTIM, status, oom)); \
	ASSERT_OK(pt_rig_others_answer(&self->r, VICTIM)); \
} while (0)

/* ---- one thread ---------------------------------------------------------- */

static void exit_7(struct pt_rig *r, __u32 ch)
{
	(void)r;
	(void)ch;
	_exit(7);
}

TEST_F(death, exit_7)
{
	DIES(exit_7, 7 << 8, 0);
	EXPECT_STREQ("exited with code 7; last progress: comm_init of chip 2",
		     self->r.s.want[VICTIM].message);
}

static void exit_0(struct pt_rig *r, __u32 ch)
{
	(void)r;
	(void)ch;
	_exit(0);
}

/* A wait status of zero is a death too. */
TEST_F(death, exit_0)
{
	DIES(exit_0, 0, 0);
	EXPECT_STREQ("exited with code 0; last progress: comm_init of chip 2",
		     self->r.s.want[VICTIM].message);
}

static void sigkill(struct pt_rig *r, __u32 ch)
{
	(void)r;
	(void)ch;
	kill(getpid(), SIGKILL);
}

TEST_F(death, sigkill)
{
	DIES(sigkill, SIGKILL, 0);
	EXPECT_STREQ("killed by signal 9; last progress: comm_init of chip 2",
		     self->r.s.want[VICTIM].message);
}

/* The same from outside, while the victim sleeps in a system call. */
TEST_F(death, sigkill_by_parent)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, pt_answers, variant->sole));
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

/* A stopped process has not died; killed while stopped, it has. */
TEST_F(death, stopped_is_not_dead)
{
	struct pt_rig *r = &self->r;
	int status;

	ASSERT_OK(pt_rig_start(r, VICTIM, pt_answers, variant->sole));
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGSTOP));
	ASSERT_EQ(r->kid[VICTIM].pid,
		  waitpid(r->kid[VICTIM].pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static void write_file(struct __test_metadata *_metadata, const char *path,
		       const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = errno;

	ASSERT_LE(0, fd)
		TH_LOG("%s: %s", path, strerror(err));
	ASSERT_EQ((ssize_t)strlen(text), write(fd, text, strlen(text)))
		TH_LOG("%s: %s", path, strerror(errno));
	close(fd);
}

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

static void core_unlimited(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_CORE, &unlimited))
		_exit(100);
}

static void segv_core(struct pt_rig *r, __u32 ch)
{
	char *forbidden = mmap(NULL, 4096, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)r;
	(void)ch;
	core_unlimited();
	forbidden[0] = 1;
	/* the store has to happen: its page is read again */
	_exit(forbidden[0]);
}

static void abort_core(struct pt_rig *r, __u32 ch)
{
	(void)r;
	(void)ch;
	core_unlimited();
	abort();
}

/* Cores go to a file of ours, whatever the machine does with them. */
static void core_to(struct __test_metadata *_metadata, const char *file,
		    char *old, size_t size)
{
	mkdir("/tmp", 01777);
	unlink(file);
	ASSERT_LT(0, cb_slurp(CORE_PATTERN, old, size));
	write_file(_metadata, CORE_PATTERN, file);
}

static void core_was_written(struct __test_metadata *_metadata,
			     const char *file, const char *old)
{
	struct stat st;

	write_file(_metadata, CORE_PATTERN, old);
	ASSERT_EQ(0, stat(file, &st));
	EXPECT_LT(0, st.st_size);
	unlink(file);
}

TEST_F(death, sigsegv_with_core)
{
	static const char file[] = "/tmp/chipboot-death.core";
	char old[256];

	core_to(_metadata, file, old, sizeof(old));
	DIES(segv_core, SIGSEGV | 0x80, 0);
	EXPECT_STREQ("killed by signal 11 (core dumped); last progress: comm_init of chip 2",
		     self->r.s.want[VICTIM].message);
	core_was_written(_metadata, file, old);
}

TEST_F(death, abort_with_core)
{
	static const char file[] = "/tmp/chipboot-death.core";
	char old[256];

	core_to(_metadata, file, old, sizeof(old));
	DIES(abort_core, SIGABRT | 0x80, 0);
	EXPECT_STREQ("killed by signal 6 (core dumped); last progress: comm_init of chip 2",
		     self->r.s.want[VICTIM].message);
	core_was_written(_metadata, file, old);
}

static void abort_without_core(struct pt_rig *r, __u32 ch)
{
	const struct rlimit none = { 0, 0 };

	(void)r;
	(void)ch;
	if (setrlimit(RLIMIT_CORE, &none))
		_exit(100);
	abort();
}

TEST_F(death, abort_without_core)
{
	DIES(abort_without_core, SIGABRT, 0);
	EXPECT_STREQ("killed by signal 6; last progress: comm_init of chip 2",
		     self->r.s.want[VICTIM].message);
}

static void highest_signal(struct pt_rig *r, __u32 ch)
{
	(void)r;
	(void)ch;
	kill(getpid(), 64);
}

TEST_F(death, realtime_signal)
{
	DIES(highest_signal, 64, 0);
	EXPECT_STREQ("killed by signal 64; last progress: comm_init of chip 2",
		     self->r.s.want[VICTIM].message);
}

/* ---- out of memory ------------------------------------------------------- */

#define CGROUP		"/sys/fs/cgroup"
#define OOM_CGROUP	CGROUP "/chipboot-death"

static void eat_memory(struct pt_rig *r, __u32 ch)
{
	const size_t size = 64 << 20;
	char *p;
	size_t i;

	(void)r;
	(void)ch;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		_exit(100);
	for (i = 0; i < size; i += 4096)
		p[i] = 1;
	/* not killed: the test sees it */
}

TEST_F(death, oom_in_a_memory_cgroup)
{
	struct pt_rig *r = &self->r;
	char text[64];

	/* the runner's machine may not have it mounted */
	mount("none", CGROUP, "cgroup2", 0, NULL);
	write_file(_metadata, CGROUP "/cgroup.subtree_control", "+memory");
	rmdir(OOM_CGROUP);
	ASSERT_EQ(0, mkdir(OOM_CGROUP, 0755));
	write_file(_metadata, OOM_CGROUP "/memory.max", "16M");
	if (!access(OOM_CGROUP "/memory.swap.max", F_OK))
		write_file(_metadata, OOM_CGROUP "/memory.swap.max", "0");

	ASSERT_OK(pt_rig_start(r, VICTIM, eat_memory, variant->sole));
	snprintf(text, sizeof(text), "%d", r->kid[VICTIM].pid);
	write_file(_metadata, OOM_CGROUP "/cgroup.procs", text);
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, CHIPBOOT_PAGE_OOM_VICTIM));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
	ASSERT_EQ(0, rmdir(OOM_CGROUP));
}

/* ---- threads ------------------------------------------------------------- */

static int thread_sleeps(void *arg)
{
	(void)arg;
	for (;;)
		syscall(SYS_sched_yield);
	return 0;
}

static int thread_exits_group_5(void *arg)
{
	(void)arg;
	syscall(SYS_exit_group, 5);
	return 0;
}

static void sixteen_threads(struct pt_rig *r, __u32 ch)
{
	int i;

	(void)r;
	(void)ch;
	/* this one, 14 that run, and one that ends them all */
	for (i = 0; i < 14; i++) {
		if (pt_thread(thread_sleeps, NULL, 0) < 0)
			_exit(100);
	}
	if (pt_thread(thread_exits_group_5, NULL, 0) < 0)
		_exit(100);
	pt_sleep_for_ever();
}

TEST_F(death, one_of_16_threads_exits_the_group)
{
	DIES(sixteen_threads, 5 << 8, 0);
}

static int thread_exits_9_after_leader(void *arg)
{
	pid_t tgid = (pid_t)(long)arg;

	pt_wait_task_gone(tgid, tgid);
	/* a zombie leader of a living group: this must not count as a death */
	syscall(SYS_exit, 9);
	return 0;
}

static void leader_first(struct pt_rig *r, __u32 ch)
{
	(void)r;
	(void)ch;
	if (pt_thread(thread_exits_9_after_leader, (void *)(long)getpid(),
		      0) < 0)
		_exit(100);
	syscall(SYS_exit, 3);
}

/*
 * Newer kernels give the last thread's code, older ones the leader's; the oracle is
 * waitpid() of a process that ended so without chipboot.
 */
static int status_of_leader_first(void)
{
	pid_t pid = fork();

	if (!pid)
		leader_first(NULL, 0);
	return pid < 0 ? -errno : cb_reap(pid);
}

TEST_F(death, leader_leaves_first)
{
	int status = status_of_leader_first();

	ASSERT_TRUE(status == 3 << 8 || status == 9 << 8)
		TH_LOG("%#x", status);
	TH_LOG("this kernel's wait status: %#x", status);
	DIES(leader_first, status, 0);
}

struct slow_thread {
	struct pt_kid *kid;
	pid_t tgid;
};

static int thread_exits_9_when_told(void *arg)
{
	struct slow_thread *t = arg;

	pt_wait_task_gone(t->tgid, t->tgid);
	pt_say(t->kid);
	pt_wait_go(t->kid);
	syscall(SYS_exit, 9);
	return 0;
}

static void leader_long_gone(struct pt_rig *r, __u32 ch)
{
	static struct slow_thread t;

	t.kid = &r->kid[ch];
	t.tgid = getpid();
	if (pt_thread(thread_exits_9_when_told, &t, 0) < 0)
		_exit(100);
	syscall(SYS_exit, 3);
}

/* A zombie leader with a thread that works on is a living process. */
TEST_F(death, zombie_leader_lives)
{
	struct pt_rig *r = &self->r;
	int status = status_of_leader_first();

	ASSERT_OK(pt_rig_start(r, VICTIM, leader_long_gone, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_EQ('Z', cb_task_state(r->kid[VICTIM].pid));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, status, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

/* ... and can still be killed from outside. */
TEST_F(death, zombie_leader_is_killed)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, leader_long_gone, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static int thread_unshares_files_and_ends(void *arg)
{
	(void)arg;
	if (syscall(SYS_unshare, CLONE_FILES))
		syscall(SYS_exit_group, 100);
	syscall(SYS_exit, 1);
	return 0;
}

static void thread_with_own_files(struct pt_rig *r, __u32 ch)
{
	pid_t tid = pt_thread(thread_unshares_files_and_ends, NULL, 0);

	if (tid < 0)
		_exit(100);
	pt_wait_task_gone(getpid(), tid);
	pt_say(&r->kid[ch]);
	pt_wait_go(&r->kid[ch]);
	pt_answers(r, ch);
}

/* flush() with PF_EXITING would call this a death. */
TEST_F(death, not_a_thread_with_unshared_files_ending)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, thread_with_own_files,
			       variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_STATE(&r->s);
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
	/* the thread's process answers as if nothing had been */
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	pt_want_answer(r, VICTIM);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, VICTIM << 8, 0));
}

/* ---- files --------------------------------------------------------------- */

static void close_everything(struct pt_rig *r, __u32 keep1, __u32 keep2)
{
	__u32 i;

	for (i = 3; i < 1024; i++) {
		if (i != keep1 && i != keep2)
			close((int)i);
	}
	(void)r;
}

static void closes_and_exits_7(struct pt_rig *r, __u32 ch)
{
	struct pt_kid *k = &r->kid[ch];

	close_everything(r, (__u32)k->said[1], (__u32)k->go[0]);
	pt_say(k);
	pt_wait_go(k);
	_exit(7);
}

/* No handle left in it, and its death still counts, if anybody has one. */
TEST_F(death, closes_its_own_copies_and_exits_7)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, closes_and_exits_7, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	/* the only copy: nobody can answer any more, though the process lives */
	if (variant->sole)
		pt_want_closed(&r->s, VICTIM);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, 7 << 8, 0));
	if (variant->sole) {
		EXPECT_STREQ(PT_CLOSED_TEXT "; last progress: comm_init of chip 2",
			     r->s.want[VICTIM].message);
	} else {
		EXPECT_STREQ("exited with code 7; last progress: comm_init of chip 2",
			     r->s.want[VICTIM].message);
	}
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static void execs_with_cloexec(struct pt_rig *r, __u32 ch)
{
	pt_exec_pause(&r->kid[ch]);
}

TEST_F(death, exec_with_cloexec_then_sigkill)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, execs_with_cloexec, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	if (variant->sole)
		pt_want_closed(&r->s, VICTIM);
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static void keeps_handle_over_exec(struct pt_rig *r, __u32 ch)
{
	if (fcntl(r->pub[ch], F_SETFD, 0))
		_exit(100);
	pt_exec_pause(&r->kid[ch]);
}

TEST_F(death, exec_then_sigkill)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, keeps_handle_over_exec,
			       variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

struct exec_thread {
	struct pt_rig *r;
	__u32 ch;
};

static int thread_execs(void *arg)
{
	struct exec_thread *t = arg;

	keeps_handle_over_exec(t->r, t->ch);
	return 0;
}

static void execs_by_thread(struct pt_rig *r, __u32 ch)
{
	static struct exec_thread t;

	t.r = r;
	t.ch = ch;
	if (pt_thread(thread_execs, &t, 0) < 0)
		_exit(100);
	pt_sleep_for_ever();
}

/* The leader's task dies and the thread takes its number: the process lives on. */
TEST_F(death, not_an_exec_by_another_thread)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, execs_by_thread, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static void leader_exits_thread_execs(struct pt_rig *r, __u32 ch)
{
	static struct exec_thread t;

	t.r = r;
	t.ch = ch;
	if (pt_thread(thread_execs, &t, 0) < 0)
		_exit(100);
	syscall(SYS_exit, 3);
}

/* The same when the leader has left by itself, perhaps before, perhaps meanwhile. */
TEST_F(death, not_an_exec_after_the_leader_left)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, leader_exits_thread_execs,
			       variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static void shares_its_files(struct pt_rig *r, __u32 ch)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL,
				   NULL, NULL);

	if (pid < 0)
		_exit(100);
	if (!pid) {
		pt_say(&r->kid[ch]);
		pt_sleep_for_ever();
	}
	pt_sleep_for_ever();
}

/* A process that shares its descriptor table outlives it: release never comes. */
TEST_F(death, sharer_of_files_outlives_it)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, shares_its_files, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
	/* the sharer's own end adds nothing */
	pt_kill_all();
	ASSERT_STATE(&r->s);
}

static void closes_a_dup(struct pt_rig *r, __u32 ch)
{
	int fd = dup(r->pub[ch]);

	if (fd < 0 || close(fd))
		_exit(100);
	pt_say(&r->kid[ch]);
	pt_wait_go(&r->kid[ch]);
	_exit(7);
}

TEST_F(death, not_the_close_of_a_dup)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, closes_a_dup, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, 7 << 8, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static void has_a_child(struct pt_rig *r, __u32 ch)
{
	struct pt_kid *k = &r->kid[ch];
	pid_t pid = fork();

	if (!pid)
		_exit(1);
	if (pid < 0 || cb_reap(pid) != 1 << 8)
		_exit(100);
	pt_say(k);
	pt_wait_go(k);
	_exit(7);
}

/* Processes die around it: a child of its own, and then all the siblings. */
TEST_F(death, not_that_of_a_child_or_a_sibling)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, has_a_child, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[0].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, 0, SIGKILL, 0));
	ASSERT_EQ(0, kill(r->kid[3].pid, SIGTERM));
	ASSERT_OK(pt_rig_died(r, 3, SIGTERM, 0));
	ASSERT_EQ(0, kill(r->kid[1].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, 1, SIGKILL, 0));
	ASSERT_EQ(CHIPBOOT_IDLE, cb_load_state(cb_page(&r->s, VICTIM)));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, 7 << 8, 0));
	/* in the order in which they died, not in that of their fork */
	EXPECT_EQ(1, r->s.want[0].order);
	EXPECT_EQ(2, r->s.want[3].order);
	EXPECT_EQ(3, r->s.want[1].order);
	EXPECT_EQ(4, r->s.want[VICTIM].order);
}

/* ---- a debugger ---------------------------------------------------------- */

TEST_F(death, not_a_debugger_that_attaches_and_detaches)
{
	struct pt_rig *r = &self->r;
	pid_t pid;
	int status;

	ASSERT_OK(pt_rig_start(r, VICTIM, exit_7, variant->sole));
	pid = r->kid[VICTIM].pid;
	ASSERT_EQ(0, ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, pid, NULL, NULL));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, pid, NULL, NULL));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, 7 << 8, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

/*
 * Under a debugger that is not the parent, the end of a leader is reported at once,
 * threads or not, and the end of the process first to the debugger: the parent can
 * reap only after it.
 */
static void debugs(struct pt_kid *me, pid_t pid, int *reaped)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		_exit(100);
	pt_say(me);
	while (waitpid(pid, &status, __WALL) == pid) {
		if (!WIFSTOPPED(status)) {
			*reaped = status;
			pt_say(me);
			pt_sleep_for_ever();
		}
		ptrace(PTRACE_CONT, pid, NULL, NULL);
	}
	_exit(101);
}

TEST_F(death, under_a_debugger)
{
	struct pt_rig *r = &self->r;
	struct pt_kid debugger;
	int *reaped = cb_shared(sizeof(*reaped));
	pid_t pid;

	ASSERT_OK(pt_rig_start(r, VICTIM, sigkill, variant->sole));
	pid = pt_fork(&debugger);
	ASSERT_LE(0, pid);
	if (!pid)
		debugs(&debugger, r->kid[VICTIM].pid, reaped);
	ASSERT_EQ(0, pt_await(&debugger));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	/* the debugger has seen it; so it is in the page already */
	ASSERT_EQ(0, pt_await(&debugger));
	ASSERT_EQ(CHIPBOOT_ERROR, cb_load_state(cb_page(&r->s, VICTIM)));
	EXPECT_EQ(SIGKILL, *reaped);
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

TEST_F(death, not_a_leader_leaving_under_a_debugger)
{
	struct pt_rig *r = &self->r;
	struct pt_kid debugger;
	int *reaped = cb_shared(sizeof(*reaped));
	int status = status_of_leader_first();
	pid_t pid;

	ASSERT_OK(pt_rig_start(r, VICTIM, leader_long_gone, variant->sole));
	pid = pt_fork(&debugger);
	ASSERT_LE(0, pid);
	if (!pid)
		debugs(&debugger, r->kid[VICTIM].pid, reaped);
	ASSERT_EQ(0, pt_await(&debugger));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	ASSERT_EQ('Z', cb_task_state(r->kid[VICTIM].pid));
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&debugger));
	ASSERT_EQ(CHIPBOOT_ERROR, cb_load_state(cb_page(&r->s, VICTIM)));
	EXPECT_EQ(status, *reaped);
	ASSERT_OK(pt_rig_died(r, VICTIM, status, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

/* ---- after an answer ----------------------------------------------------- */

TEST_F(death, after_success_is_gone)
{
	struct pt_rig *r = &self->r;
	struct cb_session *s = &r->s;
	struct chipboot_page answer;
	struct epoll_event ev = { .events = EPOLLIN }, got;
	int gone, epoll;

	gone = cb_observe(s->owner, CHIPBOOT_EVENT_GONE);
	ASSERT_LE(0, gone);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, epoll);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, gone, &ev));

	ASSERT_OK(pt_rig_start(r, VICTIM, pt_answers, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	pt_want_answer(r, VICTIM);
	ASSERT_STATE(s);
	answer = s->want[VICTIM];
	EXPECT_EQ(0, cb_revents(gone));
	EXPECT_EQ(0, epoll_wait(epoll, &got, 1, 0));

	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	EXPECT_EQ(POLLIN | POLLRDNORM, cb_revents(gone));
	ASSERT_EQ(1, epoll_wait(epoll, &got, 1, CB_PATIENCE_MS));
	EXPECT_EQ(EPOLLIN, got.events);

	/* the answer itself is whole: only what says GONE has changed */
	answer.seq = s->want[VICTIM].seq;
	answer.updated_ns = s->want[VICTIM].updated_ns;
	answer.wait_status = SIGKILL;
	answer.flags = CHIPBOOT_PAGE_GONE | CHIPBOOT_PAGE_STATUS_VALID;
	EXPECT_EQ(0, memcmp(&answer, cb_page(s, VICTIM), sizeof(answer)));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
	EXPECT_EQ(POLLIN | POLLRDNORM, cb_revents(gone));
	close(epoll);
	close(gone);
}

static void publishes_an_error(struct pt_rig *r, __u32 ch)
{
	if (cb_error(r->pub[ch], r->gen[ch], 507018, "HCCL init failed"))
		_exit(100);
	pt_say(&r->kid[ch]);
	pt_wait_go(&r->kid[ch]);
	_exit(7);
}

/* The runtime's own words stand; that it then ends is no news. */
TEST_F(death, after_error_changes_nothing)
{
	static const char text[] = "HCCL init failed";
	struct pt_rig *r = &self->r;
	struct chipboot_publish p;
	struct chipboot_page before;

	ASSERT_OK(pt_rig_start(r, VICTIM, publishes_an_error, variant->sole));
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_EQ(0, pt_await(&r->kid[VICTIM]));
	p = cb_an_error(r->gen[VICTIM], 507018, text, strlen(text));
	cb_want_publish(&r->s, VICTIM, &p, r->kid[VICTIM].pid);
	ASSERT_STATE(&r->s);
	before = r->s.want[VICTIM];
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, 7 << 8, 0));
	EXPECT_EQ(0, memcmp(&before, cb_page(&r->s, VICTIM), sizeof(before)));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

/* An abort is the owner's word alone, and a death after it no news either. */
TEST_F(death, after_abort_changes_nothing)
{
	struct pt_rig *r = &self->r;
	__u32 aborted;

	ASSERT_OK(pt_rig_start(r, VICTIM, pt_answers, variant->sole));
	ASSERT_EQ(0, cb_abort(r->s.owner, VICTIM, 1, -ECANCELED, "enough",
			      &aborted));
	ASSERT_EQ(1, aborted);
	cb_want_verdict(&r->s, VICTIM, CHIPBOOT_ORIGIN_OWNER, -ECANCELED,
			"enough");
	ASSERT_STATE(&r->s);
	ASSERT_EQ(0, kill(r->kid[VICTIM].pid, SIGKILL));
	ASSERT_OK(pt_rig_died(r, VICTIM, SIGKILL, 0));
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

/* ---- what the message carries -------------------------------------------- */

static void says_nothing_left(struct pt_rig *r, __u32 ch)
{
	if (cb_progress(r->pub[ch], r->gen[ch], ""))
		_exit(100);
	_exit(7);
}

/* An empty progress text is none. */
TEST_F(death, message_without_progress)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, says_nothing_left, variant->sole));
	cb_want_progress(&r->s, VICTIM, "");
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, 7 << 8, 0));
	EXPECT_STREQ("exited with code 7", r->s.want[VICTIM].message);
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

static const char *long_text(void)
{
	static char text[CHIPBOOT_MESSAGE_SIZE];
	unsigned int i;

	for (i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('a' + i % 26);
	return text;
}

static void says_much(struct pt_rig *r, __u32 ch)
{
	if (cb_progress(r->pub[ch], r->gen[ch], long_text()))
		_exit(100);
	_exit(7);
}

/* 1023 bytes of progress: the cause comes first and whole, the rest is cut. */
TEST_F(death, message_with_long_progress)
{
	struct pt_rig *r = &self->r;

	ASSERT_OK(pt_rig_start(r, VICTIM, says_much, variant->sole));
	cb_want_progress(&r->s, VICTIM, long_text());
	ASSERT_EQ(0, pt_go(&r->kid[VICTIM]));
	ASSERT_OK(pt_rig_died(r, VICTIM, 7 << 8, 0));
	EXPECT_EQ(CHIPBOOT_MESSAGE_SIZE - 1,
		  strlen(r->s.want[VICTIM].message));
	EXPECT_EQ(CHIPBOOT_PAGE_STATUS_VALID | CHIPBOOT_PAGE_TRUNCATED,
		  r->s.want[VICTIM].flags);
	ASSERT_OK(pt_rig_others_answer(r, VICTIM));
}

int main(int argc, char **argv)
{
	pt_helper_main(argc, argv);
	return test_harness_run(argc, argv);
}
