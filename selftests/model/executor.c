// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does what a script says, with real processes, threads and handles, and compares all
 * that comes of it with what the script says should come of it.
 *
 *	executor FILE [SECONDS]
 *
 * SECONDS is how long something may take before it is taken to be for ever (120).
 * Runs in the throwaway machine, called by selftests/model/run, which writes the
 * script by the model.  A script is rounds, a round is steps:
 *
 *	R ID				a round begins, with one process (0)
 *	O PROCESS THREAD OP RESULT TEXT ARG...	do that, and this should come of it
 *	P SESSION TEXT CHANNEL HOW STATE CODE ORIGIN FLAGS STATUS ORDER GENERATION
 *	  PID BOUND CTX BASE SIZE SEED COUNT	a page that is to be as said after it
 *	S SESSION IDLE SUCCESS ERROR GONE FIRST OWNER DEADLINE KIND CHANGE OWNER N
 *					a session, likewise
 *	K PROCESS N			that process has had N death signals by then
 *	X				now
 *	.				the round ends
 *
 * Texts are in hexadecimal, "-" is none.  One process does one thing at a time: the
 * conductor hands each step to the process and thread that it is for, over a pipe,
 * with the step in shared memory, and then compares with its own observers (the
 * witnesses): the fields of every page; words, texts, STATUS, READ and poll() where
 * something has happened, elsewhere in turn and at the end of the round, for time's
 * sake.  Every round has a process-ID namespace, whose first process is the
 * conductor; so nothing of a round is left when it ends.
 *
 * Prints "ok ROUNDS STEPS" at the end, and "FAILED round ID step N: what" for each
 * round that went wrong, which ends there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/chipboot.h>

#define PROCESSES	6	/* that live at once */
#define LIVES		256	/* in a round: whom BIND and kill mean */
#define SESSIONS	4
#define CHANNELS	72
#define SLOTS		10	/* descriptors of a process */
#define MAPPINGS	2
#define ARGS		16
#define TEXT		1100
#define DEATH_SIGNALS	40	/* that the rounds ask for, and are counted */
#define DEATH_SIGNALS_END 44
#define NOBODYS_PID	30000	/* as the namespace is new, nobody comes that far */

/* Descriptors with a number that everybody knows. */
enum {
	FD_SHARED = 40,
	FD_REPLY = 42,		/* and 43, its write end */
	FD_MAIL = 44,		/* and 45: SCM_RIGHTS between the processes */
	FD_WITNESS = 46,	/* and 47: observers for the conductor */
	FD_GO = 50,		/* 4 for each process: two pipes for two threads */
	FD_SLOT = 100,
};

enum op {
	OPEN, IOCTL, CLOSE, DUP, CLOEXEC, SEND, RECV, FORK, EXEC, EXIT, THREAD_EXIT,
	THREAD, KILL, REAP, MMAP, MUNMAP, LOOK, MPROTECT, POLL,
};

/* What is special about an ioctl's number and struct. */
enum how { PLAIN, MAGIC, SHORT, LONGER, TAIL, FAULT, READONLY };

enum call {
	VERSION, CREATE, CLAIM, RESET, ABORT, DETACH, SET_DEADLINE, BIND, PROGRESS,
	PUBLISH, OBSERVE, READ, STATUS, UNKNOWN,
};

static const unsigned int command[] = {
	CHIPBOOT_IOC_VERSION, CHIPBOOT_IOC_CREATE, CHIPBOOT_IOC_CLAIM,
	CHIPBOOT_IOC_RESET, CHIPBOOT_IOC_ABORT, CHIPBOOT_IOC_DETACH,
	CHIPBOOT_IOC_SET_DEADLINE, CHIPBOOT_IOC_BIND, CHIPBOOT_IOC_PROGRESS,
	CHIPBOOT_IOC_PUBLISH, CHIPBOOT_IOC_OBSERVE, CHIPBOOT_IOC_READ,
	CHIPBOOT_IOC_STATUS, _IO(CHIPBOOT_IOC_MAGIC, 0x7f),
};

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
	char bytes[256];
};

struct step {
	int process;
	int thread;
	int op;
	long result;
	__u64 arg[ARGS];
	unsigned int text_len;
	char text[TEXT];
};

struct want_session {
	__u32 n;
	__u64 id;
	struct chipboot_status status;
	__u64 deadline_kind;	/* 0: as it says, 1: relative, 2: in a moment */
	bool changed;
	bool touched[CHANNELS];
	bool told;		/* something happened to the session or a channel of it */
	__u32 bound[CHANNELS];
	int life[CHANNELS];	/* of publisher_pid */
};

struct shared {
	struct step step;
	long result;
	char why[400];
	__u64 before, after;	/* the step, by the clock */
	pid_t pid[LIVES];
	unsigned int signals[LIVES];
	unsigned int want_signals[LIVES];
	int lives;
	int sessions;
	struct want_session session[SESSIONS];
	struct chipboot_page page[SESSIONS][CHANNELS];	/* set when a session is met */
	__u64 steps_of_all;	/* rounds: the conductors' sum */
};

static struct shared *sh;
static long stride;
static unsigned int patience_s = 120;

static __u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000000000u + (__u64)ts.tv_nsec;
}

static __u64 ptr(const void *p)
{
	return (__u64)(uintptr_t)p;
}

static long errno_of(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* The first complaint of a step is the one that counts. */
__attribute__((format(printf, 1, 2)))
static void complain(const char *fmt, ...)
{
	va_list ap;

	if (sh->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(sh->why, sizeof(sh->why), fmt, ap);
	va_end(ap);
}

__attribute__((noreturn, format(printf, 1, 2)))
static void broken(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "executor: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(errno));
	va_end(ap);
	_exit(99);
}

/* ---- descriptors over a socket ---------------------------------------------- */

static long send_fd(int sock, int fd)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	char c = 'f';
	struct iovec iov = { &c, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = u.room, .msg_controllen = sizeof(u.room),
	};

	u.h.cmsg_level = SOL_SOCKET;
	u.h.cmsg_type = SCM_RIGHTS;
	u.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.h), &fd, sizeof(int));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -errno;
}

static long recv_fd(int sock)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	char c;
	struct iovec iov = { &c, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = u.room, .msg_controllen = sizeof(u.room),
	};
	int fd;

	if (recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return -errno;
	memcpy(&fd, CMSG_DATA(&u.h), sizeof(int));
	return fd;
}

/* ---- a process's side ------------------------------------------------------- */

static int my_process, my_life;
static const void *mapping[MAPPINGS];
static size_t mapping_size[MAPPINGS];
/* The same page, to be written and to be read only. */
static char *rw_page, *ro_page;
static char big[8192];
static __u64 words[512];

static void count_signal(int nr)
{
	(void)nr;
	__atomic_add_fetch(&sh->signals[my_life], 1, __ATOMIC_SEQ_CST);
}

static void become(int process, int life)
{
	my_process = process;
	my_life = life;
}

static void set_up(void)
{
	struct sigaction sa = { .sa_handler = count_signal, .sa_flags = SA_RESTART };
	int fd = memfd_create("argument", MFD_CLOEXEC);
	int nr;

	if (fd < 0 || ftruncate(fd, 4096))
		broken("memfd");
	rw_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ro_page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (rw_page == MAP_FAILED || ro_page == MAP_FAILED)
		broken("mmap");
	close(fd);
	for (nr = DEATH_SIGNALS; nr < DEATH_SIGNALS_END; nr++)
		sigaction(nr, &sa, NULL);
}

/* The lowest free descriptor: no call may leave one behind. */
static int lowest_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static int slot_fd(__u64 slot)
{
	return FD_SLOT + (int)slot;
}

/* What came as @fd stands in @slot from now on. */
static long put_in_slot(long fd, __u64 slot)
{
	int flags;

	if (fd < 0)
		return fd;
	flags = fcntl((int)fd, F_GETFD);
	if (!(flags & FD_CLOEXEC))
		complain("a new handle is not O_CLOEXEC");
	if (dup3((int)fd, slot_fd(slot), O_CLOEXEC) < 0)
		broken("dup3");
	close((int)fd);
	return 0;
}

static pid_t pid_of_life(__u64 life)
{
	return sh->pid[life] ? sh->pid[life] : NOBODYS_PID;
}

/* Fill the struct of @call from the step's arguments, which begin at @a. */
static void fill(enum call call, union argument *u, const __u64 *a)
{
	const struct step *st = &sh->step;
	__u32 i;

	memset(u, 0, sizeof(*u));
	switch (call) {
	case VERSION:
		break;
	case CREATE:
		u->create = (struct chipboot_create) {
			.channels = (__u32)a[0], .flags = (__u32)a[1],
			.reserved = (__u32)a[2], .stride = 0xa5, .session_id = 0xa5,
		};
		break;
	case CLAIM:
		u->claim = (struct chipboot_claim) {
			.channel = (__u32)a[0], .flags = (__u32)a[1],
			.reserved = (__u32)a[2], .generation = 0xa5,
		};
		break;
	case RESET:
		u->reset = (struct chipboot_reset) {
			.first = (__u32)a[0], .count = (__u32)a[1],
			.flags = (__u32)a[2], .reserved = (__u32)a[3],
		};
		break;
	case ABORT:
		u->abort = (struct chipboot_abort) {
			.first = (__u32)a[0], .count = (__u32)a[1],
			.flags = (__u32)a[2], .error_code = (__s32)a[3],
			.message = a[4] ? 8 : ptr(st->text),
			.message_len = (__u32)a[5], .aborted = 0xa5,
		};
		break;
	case SET_DEADLINE:
		u->deadline = (struct chipboot_deadline) {
			.ns = a[0], .flags = (__u32)a[1], .reserved = (__u32)a[2],
		};
		/* in a moment: the executor alone knows the time */
		if (a[3])
			u->deadline.ns = now() + a[0];
		break;
	case BIND:
		/* a life, or 1000: the caller, 1001: nobody, 1002: never was */
		u->bind = (struct chipboot_bind) {
			.pid = a[0] == 1000 ? 0 : a[0] == 1001 ? NOBODYS_PID :
			       a[0] == 1002 ? -1 : pid_of_life(a[0]),
			.death_signal = (__u32)a[1], .flags = (__u32)a[2],
			.reserved = (__u32)a[3],
		};
		break;
	case PROGRESS:
		u->progress = (struct chipboot_progress) {
			.generation = (__u32)a[0], .flags = (__u32)a[1],
			.message = a[2] ? 8 : ptr(st->text),
			.message_len = (__u32)a[3], .reserved = (__u32)a[4],
		};
		break;
	case PUBLISH:
		for (i = 0; i < a[8] && i < 512; i++)
			words[i] = a[7] * 0x9e3779b97f4a7c15u + i;
		u->publish = (struct chipboot_publish) {
			.generation = (__u32)a[0], .flags = (__u32)a[1],
			.state = (__s32)a[2], .error_code = (__s32)a[3],
			.device_ctx = a[4], .local_window_base = a[5],
			.actual_window_size = a[6],
			.words = a[9] == 1 ? 8 : a[9] == 2 ? 0 : ptr(words),
			.count = (__u32)a[8],
			.message = a[10] == 1 ? 8 : a[10] == 2 ? 0 : ptr(st->text),
			.message_len = (__u32)a[11],
		};
		break;
	case OBSERVE:
		u->observe = (struct chipboot_observe) {
			.events = (__u32)a[0], .flags = (__u32)a[1],
		};
		break;
	case READ:
		memset(big, 0xa5, sizeof(big));
		u->read = (struct chipboot_read) {
			.channel = (__u32)a[0], .flags = (__u32)a[1],
			.page = a[2] ? 8 : ptr(big),
		};
		break;
	case STATUS:
		memset(big, 0xa5, sizeof(big));
		memset(&u->status, 0xa5, sizeof(u->status));
		u->status.channel = (__u32)a[0];
		u->status.flags = (__u32)a[1];
		u->status.pending = a[2] == 1 ? 8 : a[2] == 2 ? 0 : ptr(big);
		u->status.pending_words = (__u32)a[3];
		break;
	case DETACH:
	case UNKNOWN:
		break;
	}
}

#define SAME(what, want, is) do {						\
	if ((__u64)(want) != (__u64)(is))					\
		complain("%s should be %lld, is %lld", what,			\
			 (long long)(want), (long long)(is));			\
} while (0)

/* The pending bitmap in @bits. */
static void check_pending(const struct want_session *s, int nr, const __u64 *bits,
			  __u32 room)
{
	__u32 w, i;

	for (w = 0; w < room; w++) {
		__u64 want = 0;

		for (i = w * 64; i < s->n && i < w * 64 + 64; i++) {
			if (sh->page[nr][i].state == CHIPBOOT_IDLE)
				want |= 1ull << (i % 64);
		}
		SAME("pending", want, bits[w]);
	}
	SAME("behind pending", 0xa5a5a5a5a5a5a5a5u, bits[room]);
}

/* STATUS of session @nr as it came by a handle with these events. */
static void check_status(int nr, const struct chipboot_status *st, __u32 events,
			 __u32 holds, __u32 handle_generation)
{
	const struct want_session *s = &sh->session[nr];
	const struct chipboot_status *want = &s->status;

	SAME("channels", s->n, st->channels);
	SAME("stride", stride, st->stride);
	SAME("idle", want->idle, st->idle);
	SAME("success", want->success, st->success);
	SAME("error", want->error, st->error);
	SAME("gone", want->gone, st->gone);
	SAME("first_failed", want->first_failed, st->first_failed);
	SAME("owner_state", want->owner_state, st->owner_state);
	SAME("owner_pid", want->owner_pid, st->owner_pid);
	SAME("deadline_ns", want->deadline_ns, st->deadline_ns);
	SAME("session_id", s->id, st->session_id);
	SAME("events", events, st->events);
	SAME("holds", holds, st->holds);
	SAME("handle_generation", handle_generation, st->handle_generation);
	SAME("reserved", 0, st->reserved);
	if (st->now_ns < sh->before || st->now_ns > now())
		complain("now_ns is not now");
	if (st->channel < s->n) {
		const struct chipboot_page *page = &sh->page[nr][st->channel];

		SAME("channel_state", page->state, st->channel_state);
		SAME("channel_generation", page->generation, st->channel_generation);
		SAME("channel_pid", page->publisher_pid, st->channel_pid);
		SAME("channel_bound", s->bound[st->channel], st->channel_bound);
	} else {
		SAME("channel", CHIPBOOT_NO_CHANNEL, st->channel);
		SAME("channel_state", 0, st->channel_state);
		SAME("channel_generation", 0, st->channel_generation);
		SAME("channel_pid", 0, st->channel_pid);
		SAME("channel_bound", 0, st->channel_bound);
	}
}

/* What a successful call gave, against the step's arguments from @a. */
static void check_output(enum call call, const union argument *u, const __u64 *a)
{
	int nr;

	switch (call) {
	case VERSION:
		SAME("abi", CHIPBOOT_ABI_VERSION, u->version.abi);
		SAME("stride", stride, u->version.stride);
		SAME("reserved", 0, u->version.reserved);
		break;
	case CREATE:
		SAME("stride", stride, u->create.stride);
		nr = sh->sessions;
		sh->session[nr].id = u->create.session_id;
		if (nr && u->create.session_id <= sh->session[nr - 1].id)
			complain("session_id is not a new one");
		break;
	case CLAIM:
		SAME("generation", a[3], u->claim.generation);
		break;
	case ABORT:
		SAME("aborted", a[6], u->abort.aborted);
		break;
	case READ:
		if (memcmp(big, &sh->page[a[3]][a[0]], CHIPBOOT_PAGE_SIZE))
			complain("READ gives another page");
		break;
	case STATUS:
		nr = (int)a[4];
		SAME("flags", a[1], u->status.flags);
		SAME("channel", a[8], u->status.channel);
		check_status(nr, &u->status, (__u32)a[5], (__u32)a[6], (__u32)a[7]);
		if (a[2] == 0)
			check_pending(&sh->session[nr], nr, (__u64 *)big,
				      (__u32)(a[3] < 900 ? a[3] : 900));
		break;
	default:
		break;
	}
}

/* arg: slot, call, how, slot for a new handle, then the call's own */
static long do_ioctl(const struct step *st)
{
	enum call call = (enum call)st->arg[1];
	enum how how = (enum how)st->arg[2];
	const __u64 *a = &st->arg[4];
	unsigned int cmd = command[call];
	unsigned int size = _IOC_SIZE(cmd);
	union argument before, *u = (union argument *)rw_page;
	int fd = slot_fd(st->arg[0]);
	int lowest = lowest_fd();
	char *user = rw_page;
	long ret;

	memset(rw_page, 0, sizeof(*u));
	fill(call, u, a);
	if (how == MAGIC)
		cmd = _IOC(_IOC_DIR(cmd), 0xC9, _IOC_NR(cmd), size);
	if (how == SHORT)
		cmd = _IOC(_IOC_DIR(cmd), _IOC_TYPE(cmd), _IOC_NR(cmd), size - 4);
	if (how == LONGER || how == TAIL)
		cmd = _IOC(_IOC_DIR(cmd), _IOC_TYPE(cmd), _IOC_NR(cmd), size + 8);
	if (how == LONGER || how == TAIL)
		memset(u->bytes + size, how == TAIL, 8);
	if (how == FAULT)
		user = (char *)8;
	if (how == READONLY)
		user = ro_page;
	before = *u;
	if (call == DETACH || call == UNKNOWN)
		ret = errno_of(ioctl(fd, cmd, a[0]));
	else
		ret = errno_of(ioctl(fd, cmd, user));
	if (ret < 0) {
		if (ret != -EFAULT && memcmp(&before, u, sizeof(before)))
			complain("the struct has changed with errno %ld", -ret);
		SAME("the lowest free descriptor", lowest, lowest_fd());
		return ret;
	}
	check_output(call, u, a);
	if (call == CREATE) {
		struct chipboot_observe o = { .events = CHIPBOOT_EVENT_ALL };
		int witness = ioctl((int)ret, CHIPBOOT_IOC_OBSERVE, &o);

		if (witness < 0 || send_fd(FD_WITNESS, witness))
			complain("no witness: %s", strerror(errno));
		close(witness);
	}
	if (call == CREATE || call == CLAIM || call == OBSERVE)
		ret = put_in_slot(ret, st->arg[3]);
	if (call == CREATE || call == CLAIM || call == OBSERVE || call >= UNKNOWN)
		SAME("the lowest free descriptor", lowest, lowest_fd());
	return ret;
}

static long revents(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLPRI | POLLRDNORM };

	poll(&p, 1, 0);
	return p.revents;
}

static long do_mmap(const struct step *st)
{
	size_t size = (size_t)st->arg[3] * (size_t)stride;
	int m = (int)st->arg[1];
	void *p = mmap(NULL, size, (int)st->arg[4],
		       st->arg[5] ? MAP_PRIVATE : MAP_SHARED, slot_fd(st->arg[0]),
		       (off_t)st->arg[2] * stride);

	if (p == MAP_FAILED)
		return -errno;
	if (mapping[m])
		munmap((void *)(uintptr_t)mapping[m], mapping_size[m]);
	mapping[m] = p;
	mapping_size[m] = size;
	return 0;
}

static long do_look(const struct step *st)
{
	const char *p = mapping[st->arg[0]];
	__u64 i;

	for (i = 0; i < st->arg[3]; i++, p += stride) {
		if (memcmp(p, &sh->page[st->arg[1]][st->arg[2] + i],
			   CHIPBOOT_PAGE_SIZE))
			complain("channel %llu looks otherwise in this mapping",
				 (unsigned long long)(st->arg[2] + i));
	}
	return 0;
}

static void reply(long result)
{
	char c = 'r';

	sh->result = result;
	if (write(FD_REPLY + 1, &c, 1) != 1)
		_exit(98);
}

static void obey(int thread);

static int thread_main(void *arg)
{
	(void)arg;
	obey(1);
	return 0;
}

static long do_thread(void)
{
	const size_t size = 256 * 1024;
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED)
		broken("stack");
	return clone(thread_main, stack + size, CLONE_VM | CLONE_FS | CLONE_FILES |
		     CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL) < 0 ?
		-errno : 0;
}

/* The next step may be there before this thread is gone: it is done with this one. */
static long do_thread_exit(int code, bool others)
{
	if (others)
		reply(0);
	syscall(SYS_exit, code);
	return -1;
}

static long do_fork(const struct step *st)
{
	int process = (int)st->arg[0], life = (int)st->arg[1];
	sigset_t counted, before;
	pid_t pid;
	int nr;

	/* a death signal that comes at once is the child's, and not its parent's */
	sigemptyset(&counted);
	for (nr = DEATH_SIGNALS; nr < DEATH_SIGNALS_END; nr++)
		sigaddset(&counted, nr);
	sigprocmask(SIG_BLOCK, &counted, &before);
	pid = fork();
	if (!pid) {
		become(process, life);
		/* as the argument's page is shared, the child has one of its own */
		set_up();
		sigprocmask(SIG_SETMASK, &before, NULL);
		obey(0);
	}
	nr = errno_of(pid < 0 ? -1 : 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	sh->pid[life] = pid;
	return nr;
}

static long do_exec(void)
{
	char name[] = "executor", obey_word[] = "--obey";
	char process[16], life[16];
	char *argv[] = { name, obey_word, process, life, NULL };

	snprintf(process, sizeof(process), "%d", my_process);
	snprintf(life, sizeof(life), "%d", my_life);
	execv("/proc/thread-self/exe", argv);
	return -errno;
}

static long do_reap(const struct step *st)
{
	int status = 0;
	pid_t pid = waitpid(pid_of_life(st->arg[0]), &status, WNOHANG | __WALL);

	return pid < 0 ? -errno : pid ? status : -EAGAIN;
}

static long do_step(const struct step *st)
{
	const __u64 *a = st->arg;
	long ret;

	switch ((enum op)st->op) {
	case OPEN:
		return put_in_slot(errno_of(open("/dev/chipboot", O_CLOEXEC |
						 (a[1] ? O_RDONLY : O_RDWR))),
				   a[0]);
	case IOCTL:
		return do_ioctl(st);
	case CLOSE:
		return errno_of(close(slot_fd(a[0])));
	case DUP:
		ret = errno_of(dup3(slot_fd(a[0]), slot_fd(a[1]),
				    a[2] ? O_CLOEXEC : 0));
		return ret < 0 ? ret : 0;
	case CLOEXEC:
		return errno_of(fcntl(slot_fd(a[0]), F_SETFD,
				      a[1] ? FD_CLOEXEC : 0));
	case SEND:
		return send_fd(FD_MAIL, slot_fd(a[0]));
	case RECV:
		return put_in_slot(recv_fd(FD_MAIL + 1), a[0]);
	case FORK:
		return do_fork(st);
	case EXEC:
		return do_exec();
	case EXIT:
		syscall(SYS_exit_group, (int)a[0]);
		return -1;
	case THREAD_EXIT:
		return do_thread_exit((int)a[0], !a[1]);
	case THREAD:
		return do_thread();
	case REAP:
		return do_reap(st);
	case MMAP:
		return do_mmap(st);
	case MUNMAP:
		ret = munmap((void *)(uintptr_t)mapping[a[0]], mapping_size[a[0]]);
		mapping[a[0]] = NULL;
		return errno_of(ret);
	case LOOK:
		return do_look(st);
	case MPROTECT:
		return errno_of(mprotect((void *)(uintptr_t)mapping[a[0]],
					 mapping_size[a[0]], (int)a[1]));
	case POLL:
		return revents(slot_fd(a[0]));
	case KILL:
		break;
	}
	return -ENOSYS;
}

static int go_fd(int process, int thread)
{
	return FD_GO + process * 4 + thread * 2;
}

/* A thread's life: wait for a step, do it, say so. */
__attribute__((noreturn))
static void obey(int thread)
{
	ssize_t n;
	char c;

	for (;;) {
		n = read(go_fd(my_process, thread), &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != 1)
			_exit(97);
		reply(do_step(&sh->step));
	}
}

/* ---- the conductor ---------------------------------------------------------- */

struct update {
	char kind;		/* P or S */
	__u64 arg[20];
	int session;
	unsigned int text_len;
	char text[TEXT];
};

#define UPDATES	256

static struct update update[UPDATES];
static int updates;
static int witness[SESSIONS];
static const char *witness_map[SESSIONS];
static __u64 steps;

static bool readable(int fd, int seconds)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ret;

	do {
		ret = poll(&p, 1, seconds * 1000);
	} while (ret < 0 && errno == EINTR);
	return ret > 0;
}

/*
 * Return when the process is dead and its death has been told.  A pidfd's poller is
 * woken by the same walk through the same queue as the module's hook; taking
 * tasklist_lock, which that walk holds, waits for its end.
 */
static void await_death(int pidfd)
{
	siginfo_t si;

	if (!readable(pidfd, (int)patience_s))
		complain("a process does not die");
	waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT | __WALL);
	close(pidfd);
}

static void await_signals(void)
{
	__u64 end = now() + patience_s * 1000000000ull;
	struct timespec nap = { .tv_nsec = 100000 };
	int k;

	for (k = 0; k < sh->lives; k++) {
		while (__atomic_load_n(&sh->signals[k], __ATOMIC_SEQ_CST) <
		       sh->want_signals[k] && now() < end)
			nanosleep(&nap, NULL);
		if (sh->signals[k] != sh->want_signals[k])
			complain("process %d should have had %u death signals, had %u",
				 k, sh->want_signals[k], sh->signals[k]);
	}
}

/* Give the step to whom it is for; what came of it. */
static long hand_over(const struct step *st)
{
	const bool dies = st->op == EXIT || st->op == KILL ||
			  (st->op == THREAD_EXIT && st->arg[1]);
	int life = (int)st->arg[st->op == KILL ? 0 : 2];
	int pidfd = -1;
	char c = 'g';

	if (dies) {
		pidfd = (int)syscall(SYS_pidfd_open, sh->pid[life], 0);
		if (pidfd < 0)
			broken("pidfd_open %d", sh->pid[life]);
	}
	if (st->op == KILL) {
		if (kill(sh->pid[life], (int)st->arg[1]))
			broken("kill");
	} else if (write(go_fd(st->process, st->thread) + 1, &c, 1) != 1) {
		broken("pipe");
	}
	if (dies) {
		await_death(pidfd);
		return 0;
	}
	/* After an exec it is the new program that says so. */
	if (!readable(FD_REPLY, (int)patience_s)) {
		complain("hangs");
		return 0;
	}
	if (read(FD_REPLY, &c, 1) != 1)
		broken("reply");
	return sh->result;
}

static void apply_page(const struct update *up)
{
	const __u64 *a = up->arg;
	struct want_session *s = &sh->session[up->session];
	__u32 ch = (__u32)a[0], i;
	struct chipboot_page *want = &sh->page[up->session][ch];
	struct chipboot_page is;

	memcpy(&is, witness_map[up->session] + ch * stride, sizeof(is));
	s->touched[ch] = true;
	s->told = true;
	/* how: 0 only the binding, 1 changed, 2 zeroed, 3 new */
	if (a[1] == 3) {
		if (is.seq & 1)
			complain("channel %u: seq %u", ch, is.seq);
		want->seq = is.seq;
		want->updated_ns = 0;
	} else if (a[1]) {
		if ((__s32)(is.seq - want->seq) <= 0 || (is.seq & 1))
			complain("channel %u: seq was %u, is %u", ch, want->seq,
				 is.seq);
		want->seq = is.seq;
		if (a[1] == 1 &&
		    (is.updated_ns < sh->before || is.updated_ns > sh->after))
			complain("channel %u: updated_ns is not now", ch);
		want->updated_ns = a[1] == 1 ? is.updated_ns : 0;
	}
	want->state = (__s32)a[2];
	want->error_code = (__s32)a[3];
	want->origin = (__u8)a[4];
	want->flags = (__u8)a[5];
	want->wait_status = (__u16)a[6];
	want->order = (__u32)a[7];
	want->generation = (__u32)a[8];
	want->publisher_pid = a[9] == LIVES ? 0 : sh->pid[a[9]];
	s->bound[ch] = (__u32)a[10];
	want->device_ctx = a[11];
	want->local_window_base = a[12];
	want->actual_window_size = a[13];
	want->count = (__s32)a[15];
	memset(want->words, 0, sizeof(want->words));
	for (i = 0; i < a[15]; i++)
		want->words[i] = a[14] * 0x9e3779b97f4a7c15u + i;
	memset(want->message, 0, sizeof(want->message));
	memcpy(want->message, up->text, up->text_len);
}

static void apply_session(const struct update *up)
{
	struct want_session *s = &sh->session[up->session];
	const __u64 *a = up->arg;
	struct chipboot_status *st = &s->status;

	s->told = true;
	st->idle = (__u32)a[0];
	st->success = (__u32)a[1];
	st->error = (__u32)a[2];
	st->gone = (__u32)a[3];
	st->first_failed = (__u32)a[4];
	st->owner_state = (__u32)a[5];
	/* kind 3: relative, and has been measured when it was set */
	if (a[7] != 3)
		st->deadline_ns = a[6];
	s->deadline_kind = a[7] % 3;
	s->changed = a[8];
	st->owner_pid = sh->pid[a[9]];
	s->n = (__u32)a[10];
}

/* A relative deadline is known when it is set; a new session is seen first here. */
static void meet(int nr)
{
	struct want_session *s = &sh->session[nr];
	struct chipboot_status st = { .channel = CHIPBOOT_NO_CHANNEL };
	__u64 end = now() + patience_s * 1000000000ull;
	struct timespec nap = { .tv_nsec = 500000 };
	const __u64 ns = s->status.deadline_ns;

	if (nr >= sh->sessions) {
		witness[nr] = (int)recv_fd(FD_WITNESS + 1);
		if (witness[nr] < 0)
			broken("witness");
		witness_map[nr] = mmap(NULL, s->n * (size_t)stride, PROT_READ,
				       MAP_SHARED, witness[nr], 0);
		if (witness_map[nr] == MAP_FAILED)
			broken("witness's mapping");
		sh->sessions = nr + 1;
	}
	if (!s->deadline_kind)
		return;
	ioctl(witness[nr], CHIPBOOT_IOC_STATUS, &st);
	if (st.deadline_ns < sh->before + ns || st.deadline_ns > sh->after + ns)
		complain("deadline_ns %lld is not %lld from now",
			 (long long)st.deadline_ns, (long long)ns);
	s->status.deadline_ns = st.deadline_ns;
	if (s->deadline_kind == 2) {
		while (st.idle && now() < end) {
			nanosleep(&nap, NULL);
			st.channel = CHIPBOOT_NO_CHANNEL;
			ioctl(witness[nr], CHIPBOOT_IOC_STATUS, &st);
		}
		sh->after = now();
	}
	s->deadline_kind = 0;
}

/* Is all of a channel looked at, or what a glance tells? */
static bool whole(const struct want_session *s, __u32 ch, bool all)
{
	return all || s->touched[ch] || ch == steps % s->n;
}

/*
 * Each page's fields; where something has happened, in one session in turn and in @all
 * its STATUS and poll(), there again of such channels the words, the text and STATUS.
 */
static void check_session(int nr, bool all)
{
	struct want_session *s = &sh->session[nr];
	struct chipboot_status st;
	struct chipboot_read rd;
	static struct chipboot_page page;
	__u64 bits[CHANNELS / 64 + 2];
	__u32 holds, i;
	long want;

	for (i = 0; i < s->n; i++) {
		const struct chipboot_page *is =
			(const void *)(witness_map[nr] + i * stride);
		const struct chipboot_page *w = &sh->page[nr][i];

		if (!memcmp(w, is, whole(s, i, all) ? CHIPBOOT_PAGE_SIZE :
			    offsetof(struct chipboot_page, words)))
			continue;
#define FIELD(field) do {							\
	if (w->field != is->field)						\
		complain("session %d channel %u: " #field			\
			 " should be %lld, is %lld", nr, i,			\
			 (long long)w->field, (long long)is->field);		\
} while (0)
		FIELD(state);
		FIELD(origin);
		FIELD(error_code);
		FIELD(order);
		FIELD(generation);
		FIELD(publisher_pid);
		FIELD(flags);
		FIELD(wait_status);
		FIELD(count);
		FIELD(device_ctx);
		FIELD(local_window_base);
		FIELD(actual_window_size);
		FIELD(updated_ns);
		FIELD(seq);
		complain("session %d channel %u: words, or message: should be '%.60s', is '%.60s'",
			 nr, i, w->message, is->message);
	}

	if (!all && !s->told && (__u64)nr != steps % (__u64)sh->sessions)
		return;
	s->told = false;

	holds = (s->status.idle ? 0 : CHIPBOOT_EVENT_COMPLETE) |
		(s->status.gone ? CHIPBOOT_EVENT_GONE : 0) |
		(s->status.error ? CHIPBOOT_EVENT_ERROR : 0) |
		(s->changed ? CHIPBOOT_EVENT_CHANGE : 0);
	want = (holds ? POLLIN | POLLRDNORM : 0) |
		(s->status.error ? POLLPRI : 0) |
		(s->status.owner_state >= CHIPBOOT_OWNER_CLOSED ? POLLHUP : 0);
	SAME("poll", want, revents(witness[nr]));
	memset(bits, 0xa5, sizeof(bits));
	memset(&st, 0xa5, sizeof(st));
	st.flags = CHIPBOOT_STATUS_ACK;
	st.channel = CHIPBOOT_NO_CHANNEL;
	st.pending = ptr(bits);
	st.pending_words = CHANNELS / 64 + 1;
	SAME("STATUS", 0, errno_of(ioctl(witness[nr], CHIPBOOT_IOC_STATUS, &st)));
	check_status(nr, &st, CHIPBOOT_EVENT_ALL, holds, 0);
	check_pending(s, nr, bits, CHANNELS / 64 + 1);
	s->changed = false;
	holds &= ~CHIPBOOT_EVENT_CHANGE;

	for (i = 0; i < s->n; i++) {
		if (!whole(s, i, all))
			continue;
		st.flags = 0;
		st.channel = i;
		st.pending = 0;
		SAME("STATUS", 0, errno_of(ioctl(witness[nr], CHIPBOOT_IOC_STATUS,
						 &st)));
		check_status(nr, &st, CHIPBOOT_EVENT_ALL, holds, 0);
	}
	i = (__u32)(steps % s->n);
	rd = (struct chipboot_read) { .channel = i, .page = ptr(&page) };
	SAME("READ", 0, errno_of(ioctl(witness[nr], CHIPBOOT_IOC_READ, &rd)));
	if (memcmp(&page, &sh->page[nr][i], sizeof(page)))
		complain("session %d channel %u: READ gives another page", nr, i);
	memset(s->touched, 0, sizeof(s->touched));
}

static void check_sessions(bool all)
{
	int i;

	for (i = 0; !sh->why[0] && i < sh->sessions; i++)
		check_session(i, all);
}

/* A step, and everything after it. */
static bool take_step(void)
{
	long ret;
	int i;

	sh->why[0] = '\0';
	sh->before = now();
	ret = hand_over(&sh->step);
	sh->after = now();
	steps++;
	if (ret != sh->step.result)
		complain("should return %ld, returns %ld", sh->step.result, ret);
	for (i = 0; !sh->why[0] && i < updates; i++) {
		if (update[i].kind == 'S') {
			apply_session(&update[i]);
			meet(update[i].session);
		}
	}
	for (i = 0; !sh->why[0] && i < updates; i++) {
		if (update[i].kind == 'P')
			apply_page(&update[i]);
	}
	check_sessions(false);
	if (!sh->why[0])
		await_signals();
	updates = 0;
	return !sh->why[0];
}

static __u64 number(char **p)
{
	bool minus;
	__u64 v = 0;

	while (**p == ' ')
		(*p)++;
	minus = **p == '-';
	if (minus)
		(*p)++;
	while (**p >= '0' && **p <= '9')
		v = v * 10 + (__u64)(*(*p)++ - '0');
	return minus ? -v : v;
}

static unsigned int hex(char c)
{
	return (unsigned int)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static unsigned int text(char **p, char *to)
{
	unsigned int n = 0;

	while (**p == ' ')
		(*p)++;
	if (**p == '-') {
		(*p)++;
		return 0;
	}
	while (**p > ' ' && n < TEXT) {
		to[n++] = (char)(hex((*p)[0]) << 4 | hex((*p)[1]));
		*p += 2;
	}
	return n;
}

static void numbers(char **p, __u64 *to, int most)
{
	int i;

	for (i = 0; i < most && **p == ' '; i++)
		to[i] = number(p);
}

/* The lines of one round, until it ends or goes wrong; in a namespace of its own. */
static bool conduct(char *line)
{
	struct step *st = &sh->step;
	struct update *up;
	char *p = line + 1;
	int k;

	switch (line[0]) {
	case 'O':
		memset(st, 0, offsetof(struct step, text));
		st->process = (int)number(&p);
		st->thread = (int)number(&p);
		st->op = (int)number(&p);
		st->result = (long)number(&p);
		st->text_len = text(&p, st->text);
		st->text[st->text_len] = '\0';
		numbers(&p, st->arg, ARGS);
		if (st->op == FORK)
			sh->lives = (int)st->arg[1] + 1;
		return true;
	case 'P':
	case 'S':
		if (updates == UPDATES)
			broken("too many updates");
		up = &update[updates++];
		up->kind = line[0];
		up->session = (int)number(&p);
		up->text_len = line[0] == 'P' ? text(&p, up->text) : 0;
		numbers(&p, up->arg, 20);
		return true;
	case 'K':
		k = (int)number(&p);
		sh->want_signals[k] = (unsigned int)number(&p);
		return true;
	case 'X':
		return take_step();
	}
	broken("line '%.60s'", line);
}

static void take_fds(int from[2], int to)
{
	if (dup2(from[0], to) < 0 || dup2(from[1], to + 1) < 0)
		broken("dup2");
	close(from[0]);
	close(from[1]);
}

static void begin_round(void)
{
	int pair[2], i;
	pid_t pid;

	memset(sh, 0, offsetof(struct shared, page));
	updates = 0;
	for (i = 0; i < PROCESSES * 2; i++) {
		if (pipe(pair))
			broken("pipe");
		take_fds(pair, FD_GO + i * 2);
	}
	if (pipe(pair))
		broken("pipe");
	take_fds(pair, FD_REPLY);
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
		broken("socketpair");
	take_fds(pair, FD_MAIL);
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
		broken("socketpair");
	take_fds(pair, FD_WITNESS);
	sh->lives = 1;
	pid = fork();
	if (pid < 0)
		broken("fork");
	if (!pid) {
		become(0, 0);
		set_up();
		obey(0);
	}
	sh->pid[0] = pid;
}

/* One round by a child that is the first process of its namespace. */
static int run_round(char *lines, char *end, const char *id)
{
	int status;
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		broken("clone: a process-ID namespace");
	if (!pid) {
		char *line = lines;

		steps = 0;
		begin_round();
		while (line < end && conduct(line))
			line = strchr(line, '\n') + 1;
		check_sessions(true);
		sh->steps_of_all += steps;
		if (!sh->why[0])
			_exit(0);
		printf("FAILED round %s step %llu: %s\n", id, (unsigned long long)steps,
		       sh->why);
		fflush(stdout);
		_exit(1);
	}
	while (waitpid(pid, &status, __WALL) < 0) {
		if (errno != EINTR)
			broken("waitpid");
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
		printf("FAILED round %s: the conductor ended with %#x\n", id, status);
		fflush(stdout);
		return 1;
	}
	return WEXITSTATUS(status);
}

static void map_shared(void)
{
	stride = sysconf(_SC_PAGESIZE);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED, FD_SHARED, 0);
	if (sh == MAP_FAILED)
		broken("shared memory");
}

int main(int argc, char **argv)
{
	unsigned int rounds = 0, failed = 0;
	char *text_of_file, *line, *next;
	off_t size;
	int fd;

	if (argc == 4 && !strcmp(argv[1], "--obey")) {
		map_shared();
		become(atoi(argv[2]), atoi(argv[3]));
		set_up();
		reply(0);
		obey(0);
	}
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: executor FILE [SECONDS]\n");
		return 2;
	}
	if (argc == 3)
		patience_s = (unsigned int)atoi(argv[2]);
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (size <= 0)
		broken("%s", argv[1]);
	text_of_file = mmap(NULL, (size_t)size + 1, PROT_READ, MAP_SHARED, fd, 0);
	if (text_of_file == MAP_FAILED)
		broken("%s", argv[1]);
	close(fd);
	fd = memfd_create("executor", 0);
	if (fd < 0 || ftruncate(fd, sizeof(*sh)) || dup2(fd, FD_SHARED) < 0)
		broken("memfd");
	close(fd);
	map_shared();

	for (line = text_of_file; line < text_of_file + size; line = next + 1) {
		char id[32];
		char *end;

		next = strchr(line, '\n');
		end = next ? strstr(next, "\n.\n") : NULL;
		/* sscanf() would look for the end of all rounds, in each of them. */
		if (!end || strncmp(line, "R ", 2) || next - line - 2 >= (long)sizeof(id))
			broken("no round at '%.40s'", line);
		snprintf(id, sizeof(id), "%.*s", (int)(next - line - 2), line + 2);
		rounds++;
		failed += (unsigned int)run_round(next + 1, end + 1, id);
		next = end + 2;
	}
	printf("ok %u rounds, %llu steps, %u failed\n", rounds,
	       (unsigned long long)sh->steps_of_all, failed);
	return failed ? 1 : 0;
}
