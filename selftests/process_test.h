/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of processes share (death.c, death_race.c, bind.c, lifecycle.c,
 * owner.c, deadline.c): forked children that are told step by step what to do, the
 * page a death should leave behind, and a rig of one runtime process per channel
 * in which everybody inherits everything.
 *
 * A child never uses ASSERT: a failed one jumps into the child's copy of the
 * harness, which would tear down the test.  EXPECT is fine, the verdict is shared.
 */
#ifndef PROCESS_TEST_H
#define PROCESS_TEST_H

#include "chipboot_test.h"

#include <sched.h>
#include <stdbool.h>
#include <sys/prctl.h>

/* ---- children ------------------------------------------------------------ */

struct pt_kid {
	pid_t pid;
	int go[2];		/* parent to child */
	int said[2];		/* child to parent */
};

/*
 * The pipes alone, for a kid that somebody else will fork.  Close-on-exec, so that
 * a test says with fcntl() what it hands over an exec.
 */
static CB_MAYBE_UNUSED int pt_prepare(struct pt_kid *k)
{
	k->pid = 0;
	if (pipe2(k->go, O_CLOEXEC) || pipe2(k->said, O_CLOEXEC))
		return -errno;
	return 0;
}

static CB_MAYBE_UNUSED void pt_forget(struct pt_kid *k)
{
	close(k->go[0]);
	close(k->go[1]);
	close(k->said[0]);
	close(k->said[1]);
}

/*
 * A kid dies with its parent, so that a failed ASSERT leaves no process behind.  Who
 * wants its kids to outlive it sets this.
 */
static CB_MAYBE_UNUSED bool pt_unleashed;

/* fork(), with the pipes that pt_prepare() made; in the child 0. */
static CB_MAYBE_UNUSED pid_t pt_fork_prepared(struct pt_kid *k)
{
	pid_t pid = fork();

	k->pid = pid ? pid : getpid();
	if (!pid && !pt_unleashed)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	return pid < 0 ? -errno : pid;
}

/* Both. */
static CB_MAYBE_UNUSED pid_t pt_fork(struct pt_kid *k)
{
	int ret = pt_prepare(k);

	return ret ? ret : pt_fork_prepared(k);
}

/* The kid's two. */
static CB_MAYBE_UNUSED void pt_say(struct pt_kid *k)
{
	if (cb_tell(k->said[1]))
		_exit(120);
}

static CB_MAYBE_UNUSED void pt_wait_go(struct pt_kid *k)
{
	if (cb_await(k->go[0]))
		_exit(121);
}

static CB_MAYBE_UNUSED void pt_sleep_for_ever(void)
{
	for (;;)
		pause();
}

/* The parent's two. */
static CB_MAYBE_UNUSED int pt_go(struct pt_kid *k)
{
	return cb_tell(k->go[1]);
}

/*
 * Wait for the kid's word.  Everybody holds the pipe's write end, so a dead kid is
 * no end of file: -ECHILD if it died without a word.
 */
static CB_MAYBE_UNUSED int pt_await(struct pt_kid *k)
{
	struct pollfd p = { .fd = k->said[0], .events = POLLIN };
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	bool dead = false;
	siginfo_t si;

	while (cb_now() < end) {
		if (poll(&p, 1, dead ? 0 : 100) > 0)
			return cb_await(k->said[0]);
		if (dead)
			return -ECHILD;
		si.si_pid = 0;
		if (!waitid(P_PID, (id_t)k->pid, &si,
			    WEXITED | WNOWAIT | WNOHANG) &&
		    si.si_pid == k->pid)
			dead = true;
	}
	return -ETIMEDOUT;
}

/* Return when @pid could be reaped, and leave it so. */
static CB_MAYBE_UNUSED int pt_wait_dead(pid_t pid)
{
	siginfo_t si;

	/*
	 * A tracer is told of stops, too, asked for or not, and one may begin
	 * with SIGKILL pending (seen on 5.10); it does not last.
	 */
	for (;;) {
		if (!waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT)) {
			if (si.si_code != CLD_TRAPPED)
				break;
			sched_yield();
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return si.si_pid == pid ? 0 : -EPROTO;
}

/* Orphans come to this process, so that it sees how they end. */
static CB_MAYBE_UNUSED int pt_adopt_orphans(void)
{
	return cb_errno(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

/*
 * Kill and reap every child, and by that every descendant (this process adopts
 * orphans).  Each waitpid() has a killed child to wait for: an orphan can only
 * arrive when a child died, and that one is in the list until it is reaped.
 */
static CB_MAYBE_UNUSED void pt_kill_all(void)
{
	char path[64], buf[8192], *p, *end;
	int n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	for (;;) {
		n = cb_slurp(path, buf, sizeof(buf));
		if (n < 0)
			return;
		for (p = buf;; p = end) {
			long pid = strtol(p, &end, 10);

			if (end == p)
				break;
			kill((pid_t)pid, SIGKILL);
		}
		if (waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD)
			return;
	}
}

/* ---- raw threads --------------------------------------------------------- */

#define PT_STACK	(64 * 1024)
#define PT_THREAD	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | \
			 CLONE_THREAD | CLONE_SYSVSEM)

/*
 * A thread libc knows nothing of: it shares the caller's errno, and it ends alone by
 * SYS_exit.  Its tid, or -errno.
 */
static CB_MAYBE_UNUSED pid_t pt_thread(int (*fn)(void *arg), void *arg,
				       int flags)
{
	char *stack = mmap(NULL, PT_STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t tid;

	if (stack == MAP_FAILED)
		return -errno;
	tid = clone(fn, stack + PT_STACK, PT_THREAD | flags, arg);
	return tid < 0 ? -errno : tid;
}

/* Return when the task is a zombie or has left the process; the caller lives on. */
static CB_MAYBE_UNUSED void pt_wait_task_gone(pid_t tgid, pid_t tid)
{
	char path[64], buf[512], *p;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", tgid, tid);
	for (;;) {
		if (cb_slurp(path, buf, sizeof(buf)) < 0)
			return;
		p = strrchr(buf, ')');
		if (p && (p[2] == 'Z' || p[2] == 'X'))
			return;
		sched_yield();
	}
}

/* Busy for about that long, to meet the other side now earlier, now later. */
static CB_MAYBE_UNUSED void pt_spin(unsigned int spins)
{
	while (spins--)
		__asm__ __volatile__("" ::: "memory");
}

/*
 * So long that the other side is first about every other time: how long that is
 * depends on the machine and its load, and follows from who was first.
 */
static CB_MAYBE_UNUSED void pt_spin_about(unsigned int spins)
{
	pt_spin((unsigned int)rand() % (2 * spins));
}

static CB_MAYBE_UNUSED void pt_spins_follow(unsigned int *spins, bool too_late)
{
	if (too_late)
		*spins -= *spins / 16;
	else if (*spins < 1u << 28)
		*spins += *spins / 16 + 1;
}

/* ---- what a death leaves ------------------------------------------------- */

#define PT_CLOSED_TEXT		"publisher handle closed without an answer"
#define PT_DEADLINE_TEXT	"deadline passed"

/* CAUSE, or "CAUSE; last progress: TEXT", as the kernel's own verdicts have it. */
static CB_MAYBE_UNUSED void pt_cause(char *buf, size_t size, const char *cause,
				     const char *progress)
{
	if (progress[0])
		snprintf(buf, size, "%s; last progress: %s", cause, progress);
	else
		snprintf(buf, size, "%s", cause);
}

/* The kernel's verdict over an IDLE channel, with the last progress in it. */
static CB_MAYBE_UNUSED void pt_want_kernel_verdict(struct cb_session *s,
						   __u32 ch, __u8 origin,
						   __s32 code,
						   const char *cause)
{
	struct chipboot_page *w = &s->want[ch];
	char text[2 * CHIPBOOT_MESSAGE_SIZE];

	pt_cause(text, sizeof(text), cause, w->message);
	if (strlen(text) >= CHIPBOOT_MESSAGE_SIZE) {
		text[CHIPBOOT_MESSAGE_SIZE - 1] = '\0';
		w->flags |= CHIPBOOT_PAGE_TRUNCATED;
	}
	cb_want_verdict(s, ch, origin, code, text);
}

static CB_MAYBE_UNUSED void pt_want_closed(struct cb_session *s, __u32 ch)
{
	pt_want_kernel_verdict(s, ch, CHIPBOOT_ORIGIN_CLOSED, -EOWNERDEAD,
			       PT_CLOSED_TEXT);
}

static CB_MAYBE_UNUSED void pt_want_deadline(struct cb_session *s, __u32 ch)
{
	pt_want_kernel_verdict(s, ch, CHIPBOOT_ORIGIN_DEADLINE, -ETIMEDOUT,
			       PT_DEADLINE_TEXT);
}

/* What waitpid() said, in the kernel's words. */
static CB_MAYBE_UNUSED const char *pt_died_of(int status, char *buf,
					      size_t size)
{
	if (WIFEXITED(status))
		snprintf(buf, size, "exited with code %d", WEXITSTATUS(status));
	else
		snprintf(buf, size, "killed by signal %d%s", WTERMSIG(status),
			 WCOREDUMP(status) ? " (core dumped)" : "");
	return buf;
}

/*
 * The bound process ended with @status; @oom: 0 or CHIPBOOT_PAGE_OOM_VICTIM.  An
 * ERROR is the last word: a death after it only ends the binding.
 */
static CB_MAYBE_UNUSED void pt_want_died(struct cb_session *s, __u32 ch,
					 int status, __u8 oom)
{
	struct chipboot_page *w = &s->want[ch];
	char cause[64];

	s->bound[ch] = 0;
	switch (w->state) {
	case CHIPBOOT_IDLE:
		pt_want_kernel_verdict(s, ch, CHIPBOOT_ORIGIN_EXIT,
				       -EOWNERDEAD,
				       pt_died_of(status, cause,
						  sizeof(cause)));
		break;
	case CHIPBOOT_SUCCESS:
		cb_touch(s, ch);
		w->flags |= CHIPBOOT_PAGE_GONE;
		break;
	default:
		s->change = 1;
		return;
	}
	w->flags |= CHIPBOOT_PAGE_STATUS_VALID | oom;
	w->wait_status = (__u16)status;
}

/* ---- the rig ------------------------------------------------------------- */

#define PT_RIG_MAX	16

struct pt_rig {
	struct cb_session s;
	int pub[PT_RIG_MAX];
	__u32 gen[PT_RIG_MAX];
	struct pt_kid kid[PT_RIG_MAX];
};

/* What a runtime process does when it is told to go on. */
typedef void (*pt_recipe)(struct pt_rig *r, __u32 ch);

/* "" or the complaint. */
static CB_MAYBE_UNUSED const char *pt_rig_open(struct pt_rig *r, __u32 n)
{
	__u32 i;
	int ret;

	memset(r, 0, sizeof(*r));
	for (i = 0; i < PT_RIG_MAX; i++)
		r->pub[i] = -1;
	ret = pt_adopt_orphans();
	if (ret)
		return cb_complain(&r->s, "subreaper: %s", strerror(-ret));
	ret = cb_session_open(&r->s, n);
	if (ret)
		return r->s.why;
	for (i = 0; i < n; i++) {
		r->pub[i] = cb_claim(r->s.owner, i, &r->gen[i]);
		if (r->pub[i] < 0)
			return cb_complain(&r->s, "CLAIM %u: %s", i,
					   strerror(-r->pub[i]));
		if (r->gen[i] != 1)
			return cb_complain(&r->s, "CLAIM %u: generation %u", i,
					   r->gen[i]);
	}
	return cb_check(&r->s);
}

static CB_MAYBE_UNUSED void pt_rig_close(struct pt_rig *r)
{
	__u32 i;

	pt_kill_all();
	for (i = 0; i < PT_RIG_MAX; i++) {
		if (r->pub[i] >= 0)
			close(r->pub[i]);
	}
	cb_session_close(&r->s);
}

static CB_MAYBE_UNUSED void pt_progress_text(char buf[64], __u32 ch)
{
	snprintf(buf, 64, "comm_init of chip %u", ch);
}

/* The answer of a runtime process that nothing happened to. */
static CB_MAYBE_UNUSED struct chipboot_publish
pt_answer(struct pt_rig *r, __u32 ch, __u64 words[CHIPBOOT_WORDS_MAX])
{
	return cb_a_success(r->gen[ch], ch, words, CHIPBOOT_WORDS_MAX);
}

static CB_MAYBE_UNUSED void pt_want_answer(struct pt_rig *r, __u32 ch)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, ch, words);

	cb_want_publish(&r->s, ch, &p, r->kid[ch].pid);
}

/* A recipe: answer, say so, and die of _exit(CHANNEL) when told. */
static CB_MAYBE_UNUSED void pt_answers(struct pt_rig *r, __u32 ch)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = pt_answer(r, ch, words);

	if (cb_publish(r->pub[ch], &p))
		_exit(122);
	pt_say(&r->kid[ch]);
	pt_wait_go(&r->kid[ch]);
	_exit((int)ch);
}

/*
 * One process per channel, bound by the launcher right after the fork; each has
 * every handle of every channel, or (@sole) nobody but itself has its publisher
 * handle.  Each says its progress, and waits; then @victim follows @recipe, the
 * others answer.  "" or the complaint.
 */
static CB_MAYBE_UNUSED const char *pt_rig_start(struct pt_rig *r, __u32 victim,
						pt_recipe recipe, bool sole)
{
	struct cb_session *s = &r->s;
	char text[64];
	__u32 i, j;
	int ret;

	for (i = 0; i < s->n; i++) {
		pid_t pid = pt_fork(&r->kid[i]);

		if (pid < 0)
			return cb_complain(s, "fork: %s", strerror(-pid));
		if (!pid) {
			for (j = 0; sole && j < s->n; j++) {
				if (j != i)
					close(r->pub[j]);
			}
			pt_progress_text(text, i);
			if (cb_progress(r->pub[i], r->gen[i], text))
				_exit(123);
			pt_say(&r->kid[i]);
			pt_wait_go(&r->kid[i]);
			if (i == victim)
				recipe(r, i);
			else
				pt_answers(r, i);
			_exit(124);
		}
		ret = cb_bind(r->pub[i], pid, 0);
		if (ret)
			return cb_complain(s, "BIND %u: %s", i, strerror(-ret));
	}
	for (i = 0; i < s->n; i++) {
		ret = pt_await(&r->kid[i]);
		if (ret)
			return cb_complain(s, "child %u: %s", i,
					   strerror(-ret));
		cb_want_bound(s, i, r->kid[i].pid);
		pt_progress_text(text, i);
		cb_want_progress(s, i, text);
		if (sole) {
			close(r->pub[i]);
			r->pub[i] = -1;
		}
	}
	return cb_check(s);
}

/* All but @victim answer and then end; nothing else changes. */
static CB_MAYBE_UNUSED const char *pt_rig_others_answer(struct pt_rig *r,
							__u32 victim)
{
	const char *why;
	__u32 i;
	int ret;

	for (i = 0; i < r->s.n; i++) {
		if (i == victim)
			continue;
		ret = pt_go(&r->kid[i]);
		if (!ret)
			ret = pt_await(&r->kid[i]);
		if (ret)
			return cb_complain(&r->s, "child %u: %s", i,
					   strerror(-ret));
		pt_want_answer(r, i);
		why = cb_check(&r->s);
		if (*why)
			return why;
	}
	for (i = 0; i < r->s.n; i++) {
		if (i == victim)
			continue;
		ret = pt_go(&r->kid[i]);
		if (!ret)
			ret = cb_reap(r->kid[i].pid);
		if (ret != (int)i << 8)
			return cb_complain(&r->s, "child %u ended with %#x", i,
					   ret);
		pt_want_died(&r->s, i, ret, 0);
		why = cb_check(&r->s);
		if (*why)
			return why;
	}
	return "";
}

/*
 * The process of channel @ch dies with @status.  The oracle: once waitid(WNOWAIT)
 * has returned, one read of the page has it all, without a second look; waitpid()
 * says the same; nothing else in the session has changed.
 */
static CB_MAYBE_UNUSED const char *pt_rig_died(struct pt_rig *r, __u32 ch,
					       int status, __u8 oom)
{
	struct cb_session *s = &r->s;
	/* after an ERROR, that of an earlier death included, it is not recorded */
	const bool counts = s->want[ch].state != CHIPBOOT_ERROR;
	struct chipboot_page at_once;
	char diff[400];
	const char *why;
	int ret;

	ret = pt_wait_dead(r->kid[ch].pid);
	cb_copy_page(&at_once, cb_page(s, ch));
	if (ret)
		return cb_complain(s, "waitid: %s", strerror(-ret));
	/* before it is reaped, too */
	pt_want_died(s, ch, status, oom);
	why = cb_check(s);
	if (*why)
		return why;
	ret = cb_reap(r->kid[ch].pid);
	if (ret != status)
		return cb_complain(s, "waitpid should say %#x, says %#x",
				   status, ret);
	if (counts && at_once.wait_status != ret)
		return cb_complain(s, "wait_status %#x, waitpid says %#x",
				   at_once.wait_status, ret);
	if (cb_page_diff(&s->want[ch], &at_once, diff, sizeof(diff)))
		return cb_complain(s, "not final when waitid returned: %s",
				   diff);
	return cb_check(s);
}

/* ---- exec'ed helpers ----------------------------------------------------- */

/*
 * A test program that execs itself begins main() with this: "--pause FD" writes one
 * byte to FD and sleeps for ever.
 */
static CB_MAYBE_UNUSED void pt_helper_main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--pause")) {
		if (cb_tell(atoi(argv[2])))
			_exit(125);
		pt_sleep_for_ever();
	}
}

/* Become "--pause"; handles go unless somebody clears FD_CLOEXEC. */
static CB_MAYBE_UNUSED void pt_exec_pause(struct pt_kid *k)
{
	char self[] = "self", pause[] = "--pause", fd[16];
	char *const argv[] = { self, pause, fd, NULL };
	char *const envp[] = { NULL };

	snprintf(fd, sizeof(fd), "%d", k->said[1]);
	fcntl(k->said[1], F_SETFD, 0);
	/* of this thread: that of a process whose leader has left is not there */
	execve("/proc/thread-self/exe", argv, envp);
	_exit(126);
}

#define ASSERT_OK(complaint)	ASSERT_STREQ("", complaint)
#define EXPECT_OK(complaint)	EXPECT_STREQ("", complaint)

#endif /* PROCESS_TEST_H */
