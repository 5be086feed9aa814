// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interface, case by case: Documentation/interface.md has a table of what
 * every ioctl does on every kind of handle in every situation, and this makes
 * each of those situations, calls the ioctl, and compares errno, effect, and all
 * that must not have changed.  Then what the table has no columns for: every
 * flag bit, every struct size, every pointer, the limits.
 */
/* One call at a time: a second processor would only be in the way of the first. */
/* vm: --cpus 1 --mem 512 --timeout 1800 --file Documentation/interface.md */

#include "chipboot_test.h"

#include <stdbool.h>
#include <sys/mman.h>

#define DOCUMENT	"interface.md"
#define BIT(n)		((__u64)1 << (n))

/* ---- the words of the table ------------------------------------------- */

enum column {
	IOCTL, HANDLE, CALLER, STATE, BOUND, CLAIMED, ARGUMENT, COLUMNS
};

enum {
	VERSION, CREATE, CLAIM, RESET, ABORT, DETACH, SET_DEADLINE, BIND,
	PROGRESS, PUBLISH, OBSERVE, READ, STATUS, UNKNOWN, IOCTLS
};

enum { CONTROL, CONTROL_RO, OWNER, PUBLISHER, STALE, OBSERVER, HANDLES };
enum { BY_OWNER, BY_OTHER, BY_DETACHED, CALLERS };
enum { IDLE, SUCCESS, ERROR, EXIT, CLOSED, DEADLINE, ABORTED, STATES };
enum { UNBOUND, TO_CALLER, TO_OTHER, TO_DEAD, BOUNDS };
enum { UNCLAIMED, HELD, CLAIMS };

enum argument {
	/* variants: each call has one */
	PLAIN, DROP, KEEP, RANGE, FUTURE, PAST, CLEAR, SELF, CHILD, ZOMBIE,
	NOBODY, STRANGER, A_SUCCESS, AN_ERROR, SAME, FEWER, MORE, SESSION,
	CHANNEL, ACK,
	/* properties that a call may have besides */
	MAGIC, SHORT, LONGER, TAIL, FAULT, READONLY, NOT_ZERO, FLAG, RESERVED,
	ZERO, MANY, NO_CHANNEL, LONG, TEXT, SIGNAL, KIND, GENERATION, WORDS,
	WORDS_MANY, PAGE, PENDING, ARGUMENTS
};

static const char * const ioctl_names[] = {
	"VERSION", "CREATE", "CLAIM", "RESET", "ABORT", "DETACH",
	"SET_DEADLINE", "BIND", "PROGRESS", "PUBLISH", "OBSERVE", "READ",
	"STATUS", "unknown", NULL
};

static const char * const handle_names[] = {
	"control", "control-ro", "owner", "publisher", "stale", "observer", NULL
};

static const char * const caller_names[] = {
	"owner", "other", "detached", NULL
};

static const char * const state_names[] = {
	"idle", "success", "error", "exit", "closed", "deadline", "abort", NULL
};

static const char * const bound_names[] = {
	"no", "caller", "other", "dead", NULL
};

static const char * const claimed_names[] = {
	"no", "yes", NULL
};

static const char * const argument_names[] = {
	"plain", "drop", "keep", "range", "future", "past", "clear", "self",
	"child", "zombie", "nobody", "stranger", "SUCCESS", "ERROR", "same",
	"fewer", "more", "session", "channel", "ack",
	"magic", "short", "longer", "tail", "fault", "readonly", "argument",
	"flag", "reserved", "zero", "many", "no-channel", "long", "text",
	"signal", "kind", "generation", "words", "words-many", "page",
	"pending", NULL
};

static const char * const * const names[COLUMNS] = {
	ioctl_names, handle_names, caller_names, state_names, bound_names,
	claimed_names, argument_names
};

enum effect {
	E_CLAIM, E_RESET, E_VERDICT, E_DETACH, E_DEADLINE, E_BIND, E_REBIND,
	E_DEATH, E_GONE, E_PROGRESS, E_ANSWER, E_ACK, EFFECTS
};

static const char * const effect_names[] = {
	"claim", "reset", "verdict", "detach", "deadline", "bind", "rebind",
	"death", "gone", "progress", "answer", "ack", NULL
};

#define A_DESCRIPTOR	1	/* the result "fd" */

static const struct {
	const char *name;
	int result;
} results[] = {
	{ "0", 0 },
	{ "fd", A_DESCRIPTOR },
#define RESULT(name)	{ #name, -(name) }
	RESULT(ENOTTY), RESULT(EOPNOTSUPP), RESULT(EINVAL), RESULT(EFAULT),
	RESULT(E2BIG), RESULT(EBADF), RESULT(EPERM), RESULT(ERANGE),
	RESULT(ENOENT), RESULT(EOVERFLOW), RESULT(EMSGSIZE), RESULT(ESRCH),
	RESULT(ESTALE), RESULT(EBUSY), RESULT(EALREADY), RESULT(ECANCELED),
#undef RESULT
};

struct field {
	const char *name;
	size_t offset, size;
};

#define FIELD(type, name) \
	{ #name, offsetof(struct type, name), sizeof(((struct type *)0)->name) }
static const struct field page_fields[] = {
#define F(name)	FIELD(chipboot_page, name)
	F(state), F(error_code), F(count), F(seq), F(device_ctx),
	F(local_window_base), F(actual_window_size), F(updated_ns),
	F(publisher_pid), F(generation), F(order), F(wait_status), F(origin),
	F(flags), F(words), F(message),
#undef F
};

static const struct field status_fields[] = {
#define F(name)	FIELD(chipboot_status, name)
	F(flags), F(channel), F(pending), F(pending_words), F(channels),
	F(stride), F(idle), F(success), F(error), F(gone), F(first_failed),
	F(owner_state), F(owner_pid), F(now_ns), F(deadline_ns), F(session_id),
	F(channel_state), F(channel_generation), F(channel_pid),
	F(channel_bound), F(handle_generation), F(events), F(holds),
	F(reserved),
#undef F
};

/* ---- the table -------------------------------------------------------- */

#define MAX_RULES	100

struct rule {
	__u64 mask[COLUMNS];	/* ~0: any */
	int result;
	__u32 effects;
	int line;
};

static struct rule rules[MAX_RULES];
static unsigned int n_rules;

/* What each effect may change, a bit for each of page_fields, status_fields. */
static struct {
	__u64 page, status;
	int line;
} effects[EFFECTS];

/* What has been seen, by all of the tests, which are processes of their own. */
static struct seen {
	unsigned int combinations, pairs, sessions;
	unsigned int rule[MAX_RULES];
	__u64 page[EFFECTS], status[EFFECTS];
} *seen;

static __attribute__((constructor)) void share_what_is_seen(void)
{
	seen = cb_shared(sizeof(*seen));
}

static int find_name(const char *const *list, const char *word)
{
	int i;

	for (i = 0; list[i]; i++) {
		if (!strcmp(list[i], word))
			return i;
	}
	return -1;
}

static int find_field(const struct field *list, size_t n, const char *word)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!strcmp(list[i].name, word))
			return (int)i;
	}
	return -1;
}

static int find_page_field(const char *word)
{
	return find_field(page_fields, ARRAY_SIZE(page_fields), word);
}

static int find_status_field(const char *word)
{
	return find_field(status_fields, ARRAY_SIZE(status_fields), word);
}

static const char * const *names_now;

static int find_name_now(const char *word)
{
	return find_name(names_now, word);
}

static int find_effect(const char *word)
{
	return find_name(effect_names, word);
}

/* "a, b" as a mask; false if a word is unknown. */
static bool parse_list(char *cell, int (*find)(const char *), __u64 *mask)
{
	char *save = NULL, *word;
	int i;

	*mask = 0;
	for (word = strtok_r(cell, ", ", &save); word;
	     word = strtok_r(NULL, ", ", &save)) {
		i = find(word);
		if (i < 0)
			return false;
		*mask |= BIT(i);
	}
	return true;
}

/* A cell of one of the columns. */
static bool parse_cell(char *cell, enum column column, __u64 *mask)
{
	bool negate = !strncmp(cell, "not ", 4);

	if (!strcmp(cell, "any")) {
		*mask = ~(__u64)0;
		return true;
	}
	/* An argument has several properties: what "not" means is not clear. */
	if (negate && column == ARGUMENT)
		return false;
	names_now = names[column];
	if (!parse_list(negate ? cell + 4 : cell, find_name_now, mask) || !*mask)
		return false;
	if (negate)
		*mask = ~*mask;
	return true;
}

/* Cut "| a | b |" into at most @n cells; how many there are. */
static int split_row(char *line, char **cells, int n)
{
	char *p = line + 1, *end;
	int found = 0;

	for (; (end = strchr(p, '|')); p = end + 1) {
		char *last = end;

		while (*p == ' ')
			p++;
		while (last > p && last[-1] == ' ')
			last--;
		*last = '\0';
		*end = '\0';
		if (found < n)
			cells[found] = p;
		found++;
	}
	return found;
}

static bool parse_rule(char **cells, int line)
{
	struct rule *rule = &rules[n_rules];
	unsigned int i;
	__u64 mask;

	if (n_rules == MAX_RULES)
		return false;
	for (i = 0; i < COLUMNS; i++) {
		if (!parse_cell(cells[i], i, &rule->mask[i]))
			return false;
	}
	for (i = 0; i < ARRAY_SIZE(results); i++) {
		if (!strcmp(results[i].name, cells[COLUMNS]))
			break;
	}
	if (i == ARRAY_SIZE(results))
		return false;
	rule->result = results[i].result;
	if (!parse_list(cells[COLUMNS + 1], find_effect, &mask))
		return false;
	rule->effects = (__u32)mask;
	rule->line = line;
	n_rules++;
	return rule->result >= 0 || !rule->effects;
}

static bool parse_effect(char **cells, int line)
{
	int i = find_effect(cells[0]);

	if (i < 0 || effects[i].line)
		return false;
	effects[i].line = line;
	return parse_list(cells[1], find_page_field, &effects[i].page) &&
	       parse_list(cells[2], find_status_field, &effects[i].status);
}

/* Read the document's two tables.  0, or the number of the line that is wrong. */
static int parse_document(void)
{
	enum { NONE, RULES, WHAT, OTHER } table = NONE;
	char *cells[COLUMNS + 2];
	char line[4096];
	int number = 0;
	int n, i;
	FILE *f;

	f = fopen(DOCUMENT, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		number++;
		if (line[0] != '|') {
			table = NONE;
			continue;
		}
		n = split_row(line, cells, ARRAY_SIZE(cells));
		if (table == NONE) {
			table = !strcmp(cells[0], "ioctl") ? RULES :
				!strcmp(cells[0], "effect") ? WHAT : OTHER;
			continue;
		}
		if (table == OTHER || !strncmp(cells[0], "---", 3))
			continue;
		if (table == RULES ? n != COLUMNS + 2 || !parse_rule(cells, number) :
				     n != 3 || !parse_effect(cells, number)) {
			fclose(f);
			return number;
		}
	}
	fclose(f);
	for (i = 0; i < EFFECTS; i++) {
		if (!effects[i].line)
			return number;
	}
	return n_rules ? 0 : number;
}

/* ---- a combination ---------------------------------------------------- */

struct point {
	int at[ARGUMENT];	/* of each other column */
	__u64 arguments;
};

static const struct rule *find_rule(const struct point *p)
{
	unsigned int i, c;

	for (i = 0; i < n_rules; i++) {
		const __u64 *mask = rules[i].mask;

		for (c = 0; c < ARGUMENT; c++) {
			if (!(mask[c] & BIT(p->at[c])))
				break;
		}
		if (c == ARGUMENT &&
		    (mask[ARGUMENT] == ~(__u64)0 ||
		     mask[ARGUMENT] & p->arguments))
			return &rules[i];
	}
	return NULL;
}

#define ANY_STRUCT	(BIT(MAGIC) | BIT(SHORT) | BIT(LONGER) | BIT(TAIL) | \
			 BIT(FAULT) | BIT(READONLY))

/* Each ioctl's arguments. */
static const struct {
	unsigned int cmd;
	__u64 variants, properties;
} ioctls[IOCTLS] = {
	[VERSION] = { CHIPBOOT_IOC_VERSION, BIT(PLAIN), ANY_STRUCT },
	[CREATE] = { CHIPBOOT_IOC_CREATE, BIT(PLAIN),
		ANY_STRUCT | BIT(FLAG) | BIT(RESERVED) | BIT(ZERO) |
		BIT(MANY) },
	[CLAIM] = { CHIPBOOT_IOC_CLAIM, BIT(PLAIN),
		ANY_STRUCT | BIT(FLAG) | BIT(RESERVED) | BIT(NO_CHANNEL) },
	[RESET] = { CHIPBOOT_IOC_RESET, BIT(DROP) | BIT(KEEP) | BIT(RANGE),
		ANY_STRUCT | BIT(FLAG) | BIT(RESERVED) | BIT(ZERO) |
		BIT(NO_CHANNEL) },
	[ABORT] = { CHIPBOOT_IOC_ABORT, BIT(PLAIN),
		ANY_STRUCT | BIT(FLAG) | BIT(ZERO) | BIT(NO_CHANNEL) |
		BIT(LONG) | BIT(TEXT) },
	[DETACH] = { CHIPBOOT_IOC_DETACH, BIT(PLAIN),
		BIT(MAGIC) | BIT(LONGER) | BIT(TAIL) | BIT(NOT_ZERO) },
	[SET_DEADLINE] = { CHIPBOOT_IOC_SET_DEADLINE,
		BIT(FUTURE) | BIT(PAST) | BIT(CLEAR),
		ANY_STRUCT | BIT(FLAG) | BIT(RESERVED) },
	[BIND] = { CHIPBOOT_IOC_BIND,
		BIT(SELF) | BIT(CHILD) | BIT(ZOMBIE) | BIT(NOBODY) |
		BIT(STRANGER),
		ANY_STRUCT | BIT(FLAG) | BIT(RESERVED) | BIT(SIGNAL) },
	[PROGRESS] = { CHIPBOOT_IOC_PROGRESS, BIT(PLAIN),
		ANY_STRUCT | BIT(FLAG) | BIT(RESERVED) | BIT(LONG) |
		BIT(TEXT) | BIT(GENERATION) },
	[PUBLISH] = { CHIPBOOT_IOC_PUBLISH, BIT(A_SUCCESS) | BIT(AN_ERROR),
		ANY_STRUCT | BIT(FLAG) | BIT(KIND) | BIT(GENERATION) |
		BIT(WORDS) | BIT(WORDS_MANY) | BIT(LONG) | BIT(TEXT) },
	[OBSERVE] = { CHIPBOOT_IOC_OBSERVE, BIT(SAME) | BIT(FEWER) | BIT(MORE),
		ANY_STRUCT | BIT(FLAG) },
	[READ] = { CHIPBOOT_IOC_READ, BIT(PLAIN),
		ANY_STRUCT | BIT(FLAG) | BIT(NO_CHANNEL) | BIT(PAGE) },
	[STATUS] = { CHIPBOOT_IOC_STATUS,
		BIT(SESSION) | BIT(CHANNEL) | BIT(ACK),
		ANY_STRUCT | BIT(FLAG) | BIT(NO_CHANNEL) | BIT(PENDING) },
	/* The size of RESET's, and no number near any other. */
	[UNKNOWN] = { _IOW(CHIPBOOT_IOC_MAGIC, 0x7f, struct chipboot_reset),
		BIT(PLAIN), ANY_STRUCT },
};

static bool among(__u64 set, __u64 few)
{
	set &= few;
	return set & (set - 1);		/* two of them */
}

/* Can an argument have all these properties? */
static bool can_be(__u64 arguments)
{
	if (among(arguments, BIT(SHORT) | BIT(LONGER) | BIT(TAIL)) ||
	    among(arguments, BIT(FAULT) | BIT(READONLY)) ||
	    among(arguments, BIT(FAULT) | BIT(TAIL)) ||
	    among(arguments, BIT(NOT_ZERO) | BIT(LONGER)) ||
	    among(arguments, BIT(NOT_ZERO) | BIT(TAIL)) ||
	    among(arguments, BIT(ZERO) | BIT(MANY)))
		return false;
	/* SUCCESS has no message, ERROR no words; either is KIND. */
	if (among(arguments, BIT(A_SUCCESS) | BIT(LONG)) ||
	    among(arguments, BIT(A_SUCCESS) | BIT(TEXT)) ||
	    among(arguments, BIT(AN_ERROR) | BIT(WORDS)) ||
	    among(arguments, BIT(AN_ERROR) | BIT(WORDS_MANY)))
		return false;
	return true;
}

/* Is there such a situation? */
static bool can_happen(int state, int bound, int claimed)
{
	/* The death of the bound process is an answer. */
	if (state == IDLE && bound == TO_DEAD)
		return false;
	/* Whose handle can bind, can bind; only RESET takes a binding away. */
	if (state == EXIT && bound == UNBOUND)
		return false;
	return state != CLOSED || claimed == UNCLAIMED;
}

/* ---- the rig ---------------------------------------------------------- */

#define N		2	/* channel 0 is meant; 1 is IDLE and stands by */
#define ROOM		512	/* for any struct and what is behind it */

/* What a call's struct points to, and the struct. */
struct arena {
	union {
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
		unsigned char bytes[ROOM];
	};
	char text[1536];
	__u64 words[CHIPBOOT_WORDS_MAX + 8];
	struct chipboot_page page;
	__u64 pending[2];
};

enum { BY_CHECKER, BY_THE_OWNER, BY_PUBLISHER, BY_STALE, BY_OBSERVER, VIEWS };

/* All there is to see of a session. */
struct view {
	struct chipboot_page page[N];
	struct chipboot_status status[VIEWS];
	short revents[VIEWS];
};

/* The two processes that call; children that never do anything. */
struct caller {
	pid_t pid, child, zombie;
};

/* What the other process is asked to do. */
struct errand {
	int go[2], said[2];
	struct caller other;
	int fd, ret;
	unsigned int cmd;
	void *arg;
};

struct rig {
	struct cb_session s;
	int who;		/* CALLERS */
	struct caller me;
	struct caller *caller;
	pid_t sleeper;
	struct errand *errand;

	int control_ro;
	int publisher, stale, observer;
	int acked;		/* VIEWS: this one has called STATUS with ACK */
	bool dropped;		/* the publisher handle is stale too */
	pid_t bound_pid;	/* a living one, or 0 */
	int free_fd;		/* the lowest */
	struct view view;
	bool built;

	struct arena *arena;	/* shared with the other process */
	struct arena *locked;	/* the same memory, read-only */
	char *hole;		/* memory that is not there */
	struct arena sent;	/* what went in */
	unsigned int failures;
};

static const char *bad(struct rig *r, const char *what, int ret)
{
	return cb_complain(&r->s, "%s: %s", what, strerror(-ret));
}

/* The ioctl, by the caller that is being looked at. */
static int call(struct rig *r, int fd, unsigned int cmd, void *arg)
{
	struct errand *e = r->errand;

	if (r->who != BY_OTHER)
		return cb_ioctl(fd, cmd, arg);
	e->fd = fd;
	e->cmd = cmd;
	e->arg = arg;
	e->ret = -EPROTO;
	if (cb_tell(e->go[1]) || cb_await(e->said[0]))
		return -EPROTO;
	return e->ret;
}

/* A child that sleeps, without handles of its own: it shares the descriptors. */
static pid_t spawn(void)
{
	pid_t parent = getpid();
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid)
		return pid;
	cb_die_with(parent);
	for (;;)
		pause();
}

#define ZOMBIE_CODE	7

static int make_children(struct caller *c)
{
	siginfo_t si;
	pid_t pid;

	c->pid = getpid();
	c->child = spawn();
	pid = fork();
	if (!pid)
		_exit(ZOMBIE_CODE);
	c->zombie = pid;
	if (c->child < 0 || c->zombie < 0)
		return -errno;
	return cb_errno(waitid(P_PID, (id_t)c->zombie, &si,
			       WEXITED | WNOWAIT));
}

/* A process of its own with the test's descriptors, which does errands. */
static int hire(struct rig *r)
{
	struct errand *e = cb_shared(sizeof(*e));
	pid_t parent = getpid();
	pid_t pid;

	r->errand = e;
	if (pipe2(e->go, O_CLOEXEC) || pipe2(e->said, O_CLOEXEC))
		return -errno;
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return -errno;
	if (pid)
		return cb_await(e->said[0]);
	cb_die_with(parent);
	if (make_children(&e->other))
		_exit(1);
	while (!cb_tell(e->said[1]) && !cb_await(e->go[0]))
		e->ret = cb_ioctl(e->fd, e->cmd, e->arg);
	_exit(2);
}

static int lay_out_memory(struct rig *r)
{
	size_t size = (sizeof(*r->arena) + 4095) & ~(size_t)4095;
	int fd = memfd_create("arena", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size))
		return -errno;
	r->arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	r->locked = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	r->hole = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	if (r->arena == MAP_FAILED || r->locked == MAP_FAILED ||
	    r->hole == MAP_FAILED)
		return -errno;
	return cb_errno(close(fd));
}

static void close_handle(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void tear_down(struct rig *r)
{
	close_handle(&r->publisher);
	close_handle(&r->stale);
	close_handle(&r->observer);
	close_handle(&r->control_ro);
	if (r->built)
		cb_session_close(&r->s);
	r->built = false;
}

/* ---- a situation ------------------------------------------------------ */

#define PROGRESS_TEXT	"comm_init"

/* A verdict of the kernel, with the progress that went before it. */
static void want_kernel_verdict(struct cb_session *s, __u32 channel, __u8 origin,
				__s32 code, const char *cause)
{
	char text[2048];

	snprintf(text, sizeof(text), "%s%s%.1000s", cause,
		 s->want[channel].message[0] ? "; last progress: " : "",
		 s->want[channel].message);
	cb_want_verdict(s, channel, origin, code, text);
}

static void want_expired(struct cb_session *s)
{
	__u32 i;

	for (i = 0; i < N; i++) {
		if (s->want[i].state == CHIPBOOT_IDLE)
			want_kernel_verdict(s, i, CHIPBOOT_ORIGIN_DEADLINE,
					    -ETIMEDOUT, "deadline passed");
	}
}

/* The death of the bound process, of what wait status, and what it is told as. */
static void want_death(struct cb_session *s, __u16 status, const char *cause)
{
	struct chipboot_page *w = &s->want[0];

	s->bound[0] = 0;
	s->change = 1;
	if (w->state == CHIPBOOT_ERROR || w->flags & CHIPBOOT_PAGE_GONE)
		return;
	cb_touch(s, 0);
	w->wait_status = status;
	w->flags |= CHIPBOOT_PAGE_STATUS_VALID;
	if (w->state == CHIPBOOT_SUCCESS)
		w->flags |= CHIPBOOT_PAGE_GONE;
	else
		want_kernel_verdict(s, 0, CHIPBOOT_ORIGIN_EXIT, -EOWNERDEAD,
				    cause);
}

static int kill_bound(struct rig *r, pid_t pid)
{
	int ret = cb_errno(kill(pid, SIGKILL));

	if (!ret)
		ret = cb_reap(pid);
	if (ret != SIGKILL)
		return ret < 0 ? ret : -EPROTO;
	want_death(&r->s, SIGKILL, "killed by signal 9");
	r->bound_pid = 0;
	return 0;
}

static int bind_to(struct rig *r, int bound, pid_t *kid)
{
	struct chipboot_bind b = { .pid = 0 };
	pid_t pid = 0;
	int ret;

	switch (bound) {
	case UNBOUND:
		return 0;
	case TO_CALLER:
		pid = r->caller->pid;
		r->arena->bind = b;
		ret = call(r, r->publisher, CHIPBOOT_IOC_BIND, r->arena);
		break;
	case TO_OTHER:
		pid = r->sleeper;
		ret = cb_bind(r->publisher, pid, 0);
		break;
	default:
		*kid = spawn();
		if (*kid < 0)
			return -errno;
		pid = *kid;
		ret = cb_bind(r->publisher, pid, 0);
		break;
	}
	if (!ret) {
		cb_want_bound(&r->s, 0, pid);
		r->bound_pid = pid;
	}
	return ret;
}

static int publish_something(struct rig *r, int state)
{
	struct cb_session *s = &r->s;
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	int ret;

	if (state == SUCCESS)
		p = cb_a_success(s->want[0].generation, 5, words,
				 CHIPBOOT_WORDS_MAX);
	else
		p = cb_an_error(s->want[0].generation, 507899, "no chip", 7);
	ret = cb_publish(r->publisher, &p);
	cb_want_publish(s, 0, &p, r->me.pid);
	return ret;
}

/* From IDLE, claimed and bound, to @state. */
static int enter(struct rig *r, int state, pid_t kid)
{
	struct cb_session *s = &r->s;
	int ret;

	switch (state) {
	case SUCCESS:
	case ERROR:
		return publish_something(r, state);
	case EXIT:
		return kill_bound(r, kid);
	case CLOSED:
		ret = cb_errno(close(r->publisher));
		r->publisher = -1;
		want_kernel_verdict(s, 0, CHIPBOOT_ORIGIN_CLOSED, -EOWNERDEAD,
				    "publisher handle closed without an answer");
		return ret;
	case DEADLINE:
		/* 1 ns after boot: long past */
		ret = cb_deadline(s->owner, 1, CHIPBOOT_DEADLINE_ABSOLUTE);
		s->deadline_ns = 1;
		want_expired(s);
		if (!ret)
			ret = cb_reset(s->owner, 1, 1, 0);
		cb_want_reset(s, 1, 0);
		return ret;
	case ABORTED:
		ret = cb_abort(s->owner, 0, 1, -5, "enough", NULL);
		cb_want_verdict(s, 0, CHIPBOOT_ORIGIN_OWNER, -5, "enough");
		return ret;
	}
	return 0;
}

/* The handles all of them look through, and which channel each asks for. */
static int view_fd(const struct rig *r, int i)
{
	const int fds[VIEWS] = {
		[BY_CHECKER] = r->s.observer,
		[BY_THE_OWNER] = r->s.owner,
		[BY_PUBLISHER] = r->publisher,
		[BY_STALE] = r->stale,
		[BY_OBSERVER] = r->observer,
	};

	return fds[i];
}

static __u32 view_channel(int i)
{
	return i == BY_THE_OWNER || i == BY_OBSERVER ? 1 : 0;
}

static int look(struct rig *r, struct view *v)
{
	struct pollfd p[VIEWS];
	int i, ret;

	memset(v->status, 0, sizeof(v->status));
	for (i = 0; i < N; i++)
		cb_copy_page(&v->page[i], cb_page(&r->s, (__u32)i));
	for (i = 0; i < VIEWS; i++) {
		p[i].fd = view_fd(r, i);
		p[i].events = POLLIN | POLLPRI | POLLOUT | POLLRDNORM |
			      POLLRDBAND | POLLRDHUP;
		if (p[i].fd < 0)
			continue;
		ret = cb_status(p[i].fd, view_channel(i), 0, &v->status[i]);
		if (ret)
			return ret;
		v->status[i].now_ns = 0;
	}
	if (poll(p, VIEWS, 0) < 0)
		return -errno;
	for (i = 0; i < VIEWS; i++)
		v->revents[i] = p[i].fd < 0 ? 0 : p[i].revents;
	return 0;
}

/* The number the next descriptor will have. */
static int lowest_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/*
 * A new session in which channel 0 is in this situation, checked against the
 * model.  NULL, or what went wrong.
 */
static const char *build(struct rig *r, const struct point *at)
{
	const int state = at->at[STATE], bound = at->at[BOUND];
	const bool claimed = at->at[CLAIMED] == HELD;
	struct cb_session *s = &r->s;
	pid_t kid = 0;
	int ret;

	tear_down(r);
	r->acked = -1;
	r->dropped = false;
	r->bound_pid = 0;
	seen->sessions++;
	ret = cb_session_open(s, N);
	if (ret)
		return bad(r, s->why, ret);
	r->built = true;
	r->control_ro = cb_errno(open(CB_DEVICE, O_RDONLY | O_CLOEXEC));
	r->observer = cb_observe(s->owner, CHIPBOOT_EVENT_COMPLETE |
					   CHIPBOOT_EVENT_ERROR);
	/* Generation 2, and a handle of generation 1. */
	r->stale = cb_claim(s->owner, 0, NULL);
	ret = cb_abort(s->owner, 0, 1, -7, "old", NULL);
	cb_want_verdict(s, 0, CHIPBOOT_ORIGIN_OWNER, -7, "old");
	if (!ret)
		ret = cb_reset(s->owner, 0, 1, 0);
	cb_want_reset(s, 0, 0);
	if (ret || r->control_ro < 0 || r->observer < 0 || r->stale < 0)
		return bad(r, "generation 1", ret);

	if (state != IDLE || bound != UNBOUND || claimed) {
		r->publisher = cb_claim(s->owner, 0, NULL);
		if (r->publisher < 0)
			return bad(r, "CLAIM", r->publisher);
		ret = bind_to(r, state == EXIT ? TO_DEAD : bound, &kid);
		if (ret)
			return bad(r, "BIND", ret);
		ret = cb_progress(r->publisher, 2, PROGRESS_TEXT);
		if (ret)
			return bad(r, "PROGRESS", ret);
		cb_want_progress(s, 0, PROGRESS_TEXT);
		ret = enter(r, state, kid);
		if (ret)
			return bad(r, state_names[state], ret);
		if (state == EXIT && bound != TO_DEAD) {
			ret = bind_to(r, bound, &kid);
			if (ret)
				return bad(r, "BIND again", ret);
		}
		if (state != EXIT && bound == TO_DEAD) {
			ret = kill_bound(r, kid);
			if (ret)
				return bad(r, "kill", ret);
		}
	}
	if (state == IDLE && bound != UNBOUND && !claimed) {
		/* A living binding goes with KEEP from a handle that is closed. */
		ret = publish_something(r, SUCCESS);
		close_handle(&r->publisher);
		if (!ret)
			ret = cb_reset(s->owner, 0, 1,
				       CHIPBOOT_RESET_KEEP_PUBLISHERS);
		if (ret)
			return bad(r, "bound, not claimed", ret);
		cb_want_reset(s, 0, 1);
	}
	if (!claimed)
		close_handle(&r->publisher);
	if (r->who == BY_DETACHED) {
		ret = cb_detach(s->owner);
		if (ret)
			return bad(r, "DETACH", ret);
		s->owner_state = CHIPBOOT_OWNER_DETACHED;
		s->change = 1;
	}
	if (*cb_check(s))
		return s->why;
	r->free_fd = lowest_fd();
	ret = look(r, &r->view);
	return ret ? bad(r, "STATUS", ret) : NULL;
}

/* ---- the call --------------------------------------------------------- */

#define OTHER_TEXT	"enough of it"

static __u32 flag_if(__u64 arguments, int property, __u32 flag)
{
	return arguments & BIT(property) ? flag : 0;
}

static void fill_publish(struct rig *r, struct chipboot_publish *p,
			 __u64 arguments, __u32 generation)
{
	struct arena *a = r->arena;

	if (arguments & BIT(A_SUCCESS)) {
		*p = cb_a_success(generation, 99, a->words, 20);
		p->flags = flag_if(arguments, FLAG, 0x80000000);
		p->error_code = arguments & BIT(KIND) ? 1 : 0;
		if (arguments & BIT(WORDS))
			p->words = cb_ptr(r->hole);
		if (arguments & BIT(WORDS_MANY))
			p->count = CHIPBOOT_WORDS_MAX + 1;
		return;
	}
	*p = cb_an_error(generation, -11, a->text, strlen(OTHER_TEXT));
	p->flags = CHIPBOOT_PUBLISH_TRUNCATED |
		   flag_if(arguments, FLAG, 0x80000000);
	if (arguments & BIT(KIND))
		p->state = 3;
	if (arguments & BIT(TEXT))
		p->message = cb_ptr(r->hole);
	if (arguments & BIT(LONG))
		p->message_len = CHIPBOOT_MESSAGE_SIZE;
}

static __s32 whom(const struct rig *r, __u64 arguments)
{
	if (arguments & BIT(CHILD))
		return r->caller->child;
	if (arguments & BIT(ZOMBIE))
		return r->caller->zombie;
	if (arguments & BIT(NOBODY))
		return INT_MAX;
	return arguments & BIT(STRANGER) ? 1 : 0;
}

static void fill_status(struct rig *r, struct chipboot_status *st,
			__u64 arguments)
{
	memset(st, CB_POISON, sizeof(*st));
	st->flags = flag_if(arguments, ACK, CHIPBOOT_STATUS_ACK) |
		    flag_if(arguments, FLAG, 0x80000000);
	st->channel = arguments & BIT(NO_CHANNEL) ? N :
		      arguments & BIT(CHANNEL) ? 0 : CHIPBOOT_NO_CHANNEL;
	st->pending = arguments & BIT(PENDING) ? cb_ptr(r->hole) :
		      arguments & BIT(SESSION) ? cb_ptr(r->arena->pending) : 0;
	st->pending_words = ARRAY_SIZE(r->arena->pending);
}

/* The struct, in r->arena; also what it points to. */
static void fill(struct rig *r, const struct point *p)
{
	const __u64 arguments = p->arguments;
	const __u32 generation = r->s.want[0].generation -
				 flag_if(arguments, GENERATION, 1);
	const __u32 reserved = flag_if(arguments, RESERVED, 1);
	const __u64 text = cb_ptr(arguments & BIT(TEXT) ? r->hole :
							  r->arena->text);
	const __u32 text_len = arguments & BIT(LONG) ? CHIPBOOT_MESSAGE_SIZE :
						       strlen(OTHER_TEXT);
	const __u32 flag = flag_if(arguments, FLAG, 0x80000000);
	const __u32 count = arguments & BIT(ZERO) ? 0 : 1;
	const __u32 first = flag_if(arguments, NO_CHANNEL, N);
	struct arena *a = r->arena;

	/* Zeros stand behind a struct that is longer than the kernel's. */
	memset(a, 0, offsetof(struct arena, words));
	memcpy(a->text, OTHER_TEXT, sizeof(OTHER_TEXT));
	memset(&a->page, CB_POISON, sizeof(a->page));
	memset(a->pending, CB_POISON, sizeof(a->pending));
	switch (p->at[IOCTL]) {
	case VERSION:
		memset(&a->version, CB_POISON, sizeof(a->version));
		break;
	case CREATE:
		memset(&a->create, CB_POISON, sizeof(a->create));
		a->create.channels = arguments & BIT(MANY) ? 4097 : count;
		a->create.flags = flag;
		a->create.reserved = reserved;
		break;
	case CLAIM:
		a->claim = (struct chipboot_claim) {
			.channel = first,
			.flags = flag,
			.generation = 0xa5a5a5a5,
			.reserved = reserved,
		};
		break;
	case RESET:
		a->reset = (struct chipboot_reset) {
			.first = first,
			.count = arguments & BIT(RANGE) ? 2 * count : count,
			.flags = flag_if(arguments, KEEP,
					 CHIPBOOT_RESET_KEEP_PUBLISHERS) | flag,
			.reserved = reserved,
		};
		break;
	case ABORT:
		a->abort = (struct chipboot_abort) {
			.first = first,
			.count = count,
			.flags = CHIPBOOT_PUBLISH_TRUNCATED | flag,
			.error_code = -12,
			.message = text,
			.message_len = text_len,
			.aborted = 0xa5a5a5a5,
		};
		break;
	case SET_DEADLINE:
		a->deadline = (struct chipboot_deadline) {
			.ns = arguments & BIT(FUTURE) ? (__u64)1 << 62 :
			      arguments & BIT(PAST) ? 2 : 0,
			.flags = CHIPBOOT_DEADLINE_ABSOLUTE | flag,
			.reserved = reserved,
		};
		break;
	case BIND:
		a->bind = (struct chipboot_bind) {
			.pid = whom(r, arguments),
			.death_signal = flag_if(arguments, SIGNAL, 65),
			.flags = flag,
			.reserved = reserved,
		};
		break;
	case PROGRESS:
		a->progress = (struct chipboot_progress) {
			.generation = generation,
			.flags = CHIPBOOT_PUBLISH_TRUNCATED | flag,
			.message = text,
			.message_len = text_len,
			.reserved = reserved,
		};
		break;
	case PUBLISH:
		fill_publish(r, &a->publish, arguments, generation);
		break;
	case OBSERVE:
		a->observe = (struct chipboot_observe) {
			.events = arguments & BIT(FEWER) ?
					CHIPBOOT_EVENT_COMPLETE :
				  arguments & BIT(MORE) ?
					CHIPBOOT_EVENT_ALL : 0,
			.flags = flag,
		};
		break;
	case READ:
		a->read = (struct chipboot_read) {
			.channel = first,
			.flags = flag,
			.page = cb_ptr(arguments & BIT(PAGE) ?
				       (void *)r->hole : &a->page),
		};
		break;
	case STATUS:
		fill_status(r, &a->status, arguments);
		break;
	}
	if (arguments & BIT(TAIL))
		a->bytes[_IOC_SIZE(ioctls[p->at[IOCTL]].cmd) + 7] = 1;
	r->sent = *a;
}

static int make_call(struct rig *r, const struct point *p)
{
	const int fds[HANDLES] = {
		[CONTROL] = r->s.control,
		[CONTROL_RO] = r->control_ro,
		[OWNER] = r->s.owner,
		[PUBLISHER] = r->publisher,
		[STALE] = r->stale,
		[OBSERVER] = r->observer,
	};
	const unsigned int cmd = ioctls[p->at[IOCTL]].cmd;
	const __u64 arguments = p->arguments;
	unsigned int size = _IOC_SIZE(cmd);
	void *arg = r->arena;

	if (arguments & BIT(SHORT))
		size--;
	if (arguments & (BIT(LONGER) | BIT(TAIL)))
		size += 8;
	if (!size)
		arg = NULL;
	if (arguments & BIT(NOT_ZERO))
		arg = (void *)1;
	if (arguments & BIT(FAULT))
		arg = r->hole;
	if (arguments & BIT(READONLY))
		arg = r->locked;
	return call(r, fds[p->at[HANDLE]],
		    _IOC(_IOC_DIR(cmd),
			 arguments & BIT(MAGIC) ? CHIPBOOT_IOC_MAGIC - 1 :
						  CHIPBOOT_IOC_MAGIC,
			 _IOC_NR(cmd), size), arg);
}

/* ---- what came of it -------------------------------------------------- */

/* The model does what an effect's paragraph in the document says. */
static void want_effect(struct rig *r, const struct point *p,
			enum effect effect)
{
	struct cb_session *s = &r->s;
	const struct arena *a = &r->sent;
	struct chipboot_page *w = &s->want[0];
	bool idle = w->state == CHIPBOOT_IDLE;
	pid_t pid;

	switch (effect) {
	case E_CLAIM:
		break;
	case E_RESET:
		r->dropped = p->arguments & BIT(DROP);
		cb_want_reset(s, 0, !r->dropped);
		if (s->bound[0])
			w->publisher_pid = r->bound_pid;
		break;
	case E_VERDICT:
		if (p->at[IOCTL] == SET_DEADLINE) {
			want_expired(s);
			break;
		}
		cb_want_verdict(s, 0, CHIPBOOT_ORIGIN_OWNER, -12, OTHER_TEXT);
		w->flags = CHIPBOOT_PAGE_TRUNCATED;
		break;
	case E_DETACH:
		s->owner_state = CHIPBOOT_OWNER_DETACHED;
		s->change = 1;
		break;
	case E_DEADLINE:
		s->deadline_ns = a->deadline.ns;
		s->change = 1;
		break;
	case E_BIND:
	case E_REBIND:
		pid = a->bind.pid ? a->bind.pid : r->caller->pid;
		if (effect == E_BIND && idle)
			cb_touch(s, 0)->publisher_pid = pid;
		s->bound[0] = !(p->arguments & BIT(ZOMBIE));
		s->change = 1;
		break;
	case E_DEATH:
	case E_GONE:
		want_death(s, ZOMBIE_CODE << 8, "exited with code 7");
		break;
	case E_PROGRESS:
		cb_want_progress(s, 0, OTHER_TEXT);
		w->flags = CHIPBOOT_PAGE_TRUNCATED;
		break;
	case E_ANSWER:
		cb_want_publish(s, 0, &a->publish, r->caller->pid);
		break;
	case E_ACK:
		r->acked = p->at[HANDLE] == OWNER ? BY_THE_OWNER :
			   p->at[HANDLE] == PUBLISHER ? BY_PUBLISHER :
			   p->at[HANDLE] == STALE ? BY_STALE : BY_OBSERVER;
		break;
	case EFFECTS:
		break;
	}
}

static __u32 view_events(int i)
{
	switch (i) {
	case BY_CHECKER:
		return CHIPBOOT_EVENT_ALL;
	case BY_OBSERVER:
		return CHIPBOOT_EVENT_COMPLETE | CHIPBOOT_EVENT_ERROR;
	default:
		return CHIPBOOT_EVENT_COMPLETE;
	}
}

/* Each handle against the model; cb_check() has done the checker's. */
static const char *check_handles(struct rig *r)
{
	struct cb_session *s = &r->s;
	const char *why;
	int i;

	for (i = BY_THE_OWNER; i < VIEWS; i++) {
		const bool stale = i == BY_STALE ||
				   (i == BY_PUBLISHER && r->dropped);
		__u32 holds = cb_want_holds(s);
		int revents = stale ? POLLERR : 0;
		int fd = view_fd(r, i);

		if (fd < 0)
			continue;
		/* None has acknowledged anything, but for ACK's own test. */
		if (i != r->acked)
			holds |= CHIPBOOT_EVENT_CHANGE;
		if (holds & view_events(i))
			revents |= POLLIN | POLLRDNORM;
		if (holds & CHIPBOOT_EVENT_ERROR)
			revents |= POLLPRI;
		if (cb_revents(fd) != revents)
			return cb_complain(s, "handle %d: poll should say %#x, says %#x",
					   i, revents, cb_revents(fd));
		why = cb_check_status(s, fd, view_channel(i), 0,
				      i == BY_PUBLISHER && !stale ?
				      s->want[0].generation : 0,
				      view_events(i), holds);
		if (why)
			return why;
	}
	return NULL;
}

/* The fields in which @a and @b differ. */
static __u64 differing(const struct field *fields, size_t n, const void *a,
		       const void *b)
{
	__u64 mask = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (memcmp((const char *)a + fields[i].offset,
			   (const char *)b + fields[i].offset, fields[i].size))
			mask |= BIT(i);
	}
	return mask;
}

static const char *list_fields(const struct field *fields, __u64 mask)
{
	static char text[512];
	size_t n = 0;
	int i;

	text[0] = '\0';
	for (i = 0; mask >> i; i++) {
		if (mask & BIT(i))
			n += (size_t)snprintf(text + n, sizeof(text) - n, " %s",
					      fields[i].name);
	}
	return text;
}

/* Has anything changed that the rule's effects do not name? */
static const char *check_fields(struct rig *r, const struct rule *rule,
				const struct view *now)
{
	__u64 page = 0, status = 0, may_page = 0, may_status = 0;
	int i;

	for (i = 0; i < N; i++)
		page |= differing(page_fields, ARRAY_SIZE(page_fields),
				  &r->view.page[i], &now->page[i]);
	for (i = 0; i < VIEWS; i++)
		status |= differing(status_fields, ARRAY_SIZE(status_fields),
				    &r->view.status[i], &now->status[i]);
	for (i = 0; i < EFFECTS; i++) {
		if (!(rule->effects & BIT(i)))
			continue;
		may_page |= effects[i].page;
		may_status |= effects[i].status;
		seen->page[i] |= page & effects[i].page;
		seen->status[i] |= status & effects[i].status;
	}
	if (page & ~may_page)
		return cb_complain(&r->s, "page:%s changed",
				   list_fields(page_fields, page & ~may_page));
	if (status & ~may_status)
		return cb_complain(&r->s, "STATUS:%s changed",
				   list_fields(status_fields,
					       status & ~may_status));
	return NULL;
}

/* What the ioctl gives back.  r->sent becomes what the arena should be. */
static const char *want_output(struct rig *r, const struct point *p, int ret)
{
	const struct arena *a = r->arena;
	struct cb_session *s = &r->s;
	struct chipboot_status st;
	struct arena *want = &r->sent;
	size_t len;
	int fd;

	switch (p->at[IOCTL]) {
	case VERSION:
		len = strnlen(a->version.release, sizeof(a->version.release));
		if (!len || len == sizeof(a->version.release))
			return cb_complain(s, "VERSION's release");
		memset(&want->version, 0, sizeof(want->version));
		want->version.abi = CHIPBOOT_ABI_VERSION;
		want->version.stride = s->stride;
		want->version.max_channels_per_session = 4096;
		memcpy(want->version.release, a->version.release, len);
		break;
	case CREATE:
		if (a->create.session_id <= s->id)
			return cb_complain(s, "session_id is not new");
		want->create.session_id = a->create.session_id;
		want->create.stride = s->stride;
		break;
	case CLAIM:
		want->claim.generation = s->want[0].generation;
		break;
	case ABORT:
		want->abort.aborted = p->at[STATE] == IDLE;
		break;
	case READ:
		cb_copy_page(&want->page, cb_page(s, 0));
		break;
	case STATUS:
		/* What the model has been compared with. */
		fd = p->at[HANDLE] == OWNER ? s->owner :
		     p->at[HANDLE] == PUBLISHER ? r->publisher :
		     p->at[HANDLE] == STALE ? r->stale : r->observer;
		ret = cb_status(fd, want->status.channel, 0, &st);
		if (ret)
			return bad(r, "STATUS once more", ret);
		st.flags = want->status.flags;
		st.pending = want->status.pending;
		st.pending_words = want->status.pending_words;
		st.now_ns = a->status.now_ns;
		if (p->arguments & BIT(ACK))
			st.holds |= CHIPBOOT_EVENT_CHANGE;
		want->status = st;
		if (st.pending) {
			want->pending[0] = s->want[0].state ? 2 : 3;
			want->pending[1] = 0;
		}
		break;
	}
	return NULL;
}

static const char *check_memory(struct rig *r)
{
	const unsigned char *is = (const void *)r->arena;
	const unsigned char *want = (const void *)&r->sent;
	size_t i;

	if (!memcmp(is, want, sizeof(r->sent)))
		return NULL;
	for (i = 0; is[i] == want[i]; i++)
		;
	return cb_complain(&r->s, "the caller's memory, byte %zu, should be %#x, is %#x",
			   i, want[i], is[i]);
}

/* The new handle: what number, what flags, what it is for. */
static const char *check_descriptor(struct rig *r, const struct point *p,
				    int fd)
{
	__u32 events = CHIPBOOT_EVENT_COMPLETE, generation = 0;
	struct cb_session *s = &r->s;
	struct chipboot_status st;
	int ret;

	if (fd != r->free_fd)
		return cb_complain(s, "descriptor should be %d, is %d",
				   r->free_fd, fd);
	if (fcntl(fd, F_GETFD) != FD_CLOEXEC)
		return cb_complain(s, "descriptor is not close-on-exec");
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) !=
	    (p->at[IOCTL] == OBSERVE ? O_RDONLY : O_RDWR))
		return cb_complain(s, "access mode");
	ret = cb_status(fd, CHIPBOOT_NO_CHANNEL, 0, &st);
	if (ret)
		return bad(r, "STATUS of the new handle", ret);
	if (p->at[IOCTL] == CLAIM)
		generation = s->want[0].generation;
	if (p->at[IOCTL] == OBSERVE)
		events = p->arguments & BIT(MORE) ? CHIPBOOT_EVENT_ALL :
			 p->arguments & BIT(FEWER) ? CHIPBOOT_EVENT_COMPLETE :
			 p->at[HANDLE] == OBSERVER ? view_events(BY_OBSERVER) :
						     CHIPBOOT_EVENT_COMPLETE;
	if (st.events != events || st.handle_generation != generation)
		return cb_complain(s, "the new handle has events %#x, generation %u",
				   st.events, st.handle_generation);
	if (p->at[IOCTL] == CREATE) {
		if (st.session_id == s->id || st.idle != 1 ||
		    st.owner_pid != r->caller->pid)
			return cb_complain(s, "the new session is not new");
	} else if (st.session_id != s->id) {
		return cb_complain(s, "the new handle is of another session");
	}
	return NULL;
}

static const char *check_point(struct rig *r, const struct point *p,
			       const struct rule *rule, int ret)
{
	const bool makes_handle = p->at[IOCTL] == CREATE ||
				  p->at[IOCTL] == CLAIM ||
				  p->at[IOCTL] == OBSERVE;
	static struct view now;		/* too large for a stack */
	struct cb_session *s = &r->s;
	const char *why = NULL;
	int want = rule->result;
	bool same;
	int i, err;

	if (want == A_DESCRIPTOR ? ret < 0 : ret != want)
		return cb_complain(s, "line %d says %s, it is %s", rule->line,
				   want < 0 ? strerror(-want) : "success",
				   ret < 0 ? strerror(-ret) : "success");
	if (want == A_DESCRIPTOR)
		why = check_descriptor(r, p, ret);
	if (!why && want >= 0)
		why = want_output(r, p, ret);
	if (want == -EFAULT)
		memcpy(r->sent.pending, r->arena->pending,
		       sizeof(r->sent.pending));
	if (!why)
		why = check_memory(r);
	if (why)
		return why;
	err = look(r, &now);
	if (err)
		return bad(r, "STATUS", err);
	same = !memcmp(&now, &r->view, sizeof(now));
	if (!same)
		why = check_fields(r, rule, &now);
	if (!why && rule->effects) {
		for (i = 0; i < EFFECTS; i++) {
			if (rule->effects & BIT(i))
				want_effect(r, p, i);
		}
		why = cb_check(s);
		if (!*why)
			why = check_handles(r);
	} else if (!why && !same) {
		why = cb_complain(s, "poll, or what no field names, changed");
	}
	if (want == A_DESCRIPTOR)
		close(ret);
	if (!why && makes_handle && lowest_fd() != r->free_fd)
		why = cb_complain(s, "a descriptor is left over");
	return why;
}

static void describe(const struct point *p, const char *why)
{
	char arguments[256] = "";
	int i;

	for (i = 0; i < ARGUMENTS; i++) {
		if (p->arguments & BIT(i)) {
			strcat(arguments, " ");
			strcat(arguments, argument_names[i]);
		}
	}
	ksft_print_msg("%s on %s by %s, %s, bound %s, claimed %s, argument%s: %s\n",
		       ioctl_names[p->at[IOCTL]], handle_names[p->at[HANDLE]],
		       caller_names[p->at[CALLER]], state_names[p->at[STATE]],
		       bound_names[p->at[BOUND]],
		       claimed_names[p->at[CLAIMED]], arguments, why);
}

#define ENOUGH	20	/* failures, to see what they have in common */

static void try_point(struct rig *r, const struct point *p)
{
	const struct rule *rule = find_rule(p);
	const char *why = NULL;

	seen->combinations++;
	if (!rule) {
		describe(p, "there is no rule");
		r->failures++;
		return;
	}
	seen->rule[rule - rules]++;
	if (!r->built)
		why = build(r, p);
	if (!why) {
		fill(r, p);
		why = check_point(r, p, rule, make_call(r, p));
	}
	if (why) {
		describe(p, why);
		r->failures++;
	}
	/* After an error, and after what only looks, all is as it was. */
	if (why || rule->effects)
		tear_down(r);
}

/* Is the ioctl one of this kind of handle's?  What the table says. */
static bool is_known(struct point *p)
{
	const struct rule *rule;

	p->arguments = 0;
	rule = find_rule(p);
	return !rule ||
	       (rule->result != -EOPNOTSUPP && rule->result != -ENOTTY);
}

/* Every argument of one ioctl on one handle. */
static void try_arguments(struct rig *r, struct point *p, bool pairs)
{
	const __u64 variants = ioctls[p->at[IOCTL]].variants;
	const __u64 properties = ioctls[p->at[IOCTL]].properties;
	int v, i, k;

	pairs = pairs && is_known(p);
	for (v = 0; v < ARGUMENTS && r->failures < ENOUGH; v++) {
		if (!(variants & BIT(v)))
			continue;
		p->arguments = BIT(v);
		try_point(r, p);
		for (i = 0; i < ARGUMENTS; i++) {
			p->arguments = BIT(v) | BIT(i);
			if (!(properties & BIT(i)) || !can_be(p->arguments))
				continue;
			try_point(r, p);
			for (k = 0; pairs && k < i; k++) {
				p->arguments = BIT(v) | BIT(i) | BIT(k);
				if (!(properties & BIT(k)) ||
				    !can_be(p->arguments))
					continue;
				seen->pairs++;
				try_point(r, p);
			}
		}
	}
}

static void try_situation(struct rig *r, struct point *p)
{
	/*
	 * Which of two wrong things comes first does not depend on the state,
	 * so one that is right for as much as can be, and one that is not.
	 */
	const bool pairs = p->at[BOUND] == TO_OTHER &&
			   (p->at[STATE] == IDLE || p->at[STATE] == EXIT);
	int *handle = &p->at[HANDLE];
	int *nr = &p->at[IOCTL];

	tear_down(r);
	for (*handle = 0; *handle < HANDLES; ++*handle) {
		if (*handle == PUBLISHER && p->at[CLAIMED] == UNCLAIMED)
			continue;
		for (*nr = 0; *nr < IOCTLS; ++*nr)
			try_arguments(r, p, pairs);
	}
}

FIXTURE(table) {
	struct rig *r;
};

FIXTURE_VARIANT(table) {
	int who;
};

FIXTURE_VARIANT_ADD(table, owner) {
	.who = BY_OWNER,
};

FIXTURE_VARIANT_ADD(table, other) {
	.who = BY_OTHER,
};

FIXTURE_VARIANT_ADD(table, detached) {
	.who = BY_DETACHED,
};

FIXTURE_SETUP(table)
{
	struct rig *r = calloc(1, sizeof(*r));

	ASSERT_NE(NULL, r);
	self->r = r;
	r->who = variant->who;
	r->publisher = -1;
	r->stale = -1;
	r->observer = -1;
	r->control_ro = -1;
	ASSERT_EQ(0, parse_document())
		TH_LOG("the line of " DOCUMENT " that is not understood");
	ASSERT_EQ(0, lay_out_memory(r));
	ASSERT_EQ(0, make_children(&r->me));
	ASSERT_EQ(0, hire(r));
	r->caller = r->who == BY_OTHER ? &r->errand->other : &r->me;
	r->sleeper = spawn();
	ASSERT_LT(0, r->sleeper);
}

FIXTURE_TEARDOWN(table)
{
	tear_down(self->r);
}

TEST_F(table, every_combination)
{
	struct rig *r = self->r;
	struct point p = { .at = { [CALLER] = variant->who } };
	int *state = &p.at[STATE], *bound = &p.at[BOUND];
	int *claimed = &p.at[CLAIMED];

	for (*state = 0; *state < STATES; ++*state) {
		for (*bound = 0; *bound < BOUNDS; ++*bound) {
			for (*claimed = 0; *claimed < CLAIMS; ++*claimed) {
				if (can_happen(*state, *bound, *claimed))
					try_situation(r, &p);
			}
		}
	}
	EXPECT_EQ(0, r->failures);
	EXPECT_NE(0, seen->combinations);
}

/* What the three above have come by; the harness keeps the order of fixtures. */
FIXTURE(afterwards) {
};

FIXTURE_SETUP(afterwards)
{
	ASSERT_EQ(0, parse_document());
}

FIXTURE_TEARDOWN(afterwards)
{
}

/* A rule nothing comes to says nothing. */
TEST_F(afterwards, every_rule_is_used)
{
	unsigned int i;

	for (i = 0; i < n_rules; i++) {
		EXPECT_NE(0, seen->rule[i])
			TH_LOG("line %d of " DOCUMENT, rules[i].line);
	}
	ksft_print_msg("%u rules, %u combinations, %u of them of two properties, in %u sessions\n",
		       n_rules, seen->combinations, seen->pairs,
		       seen->sessions);
}

TEST_F(afterwards, every_field_changes)
{
	__u64 page, status;
	int i;

	for (i = 0; i < EFFECTS; i++) {
		page = effects[i].page & ~seen->page[i];
		status = effects[i].status & ~seen->status[i];
		EXPECT_EQ(0, page)
			TH_LOG("%s: page:%s", effect_names[i],
			       list_fields(page_fields, page));
		EXPECT_EQ(0, status)
			TH_LOG("%s: STATUS:%s", effect_names[i],
			       list_fields(status_fields, status));
	}
}

TEST_HARNESS_MAIN
