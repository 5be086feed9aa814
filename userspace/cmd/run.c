// SPDX-License-Identifier: MIT
/*
 * chipboot run: starts one process per chip, sleeps until they have answered, and
 * stays with them until they end.
 *
 * The kernel gives the verdicts (deaths, the deadline); this decides what follows
 * from them.  One loop, two descriptors: the session's changes and signals.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

#define DEFAULT_KILL_AFTER_NS UINT64_C(5000000000)

/* ---- arguments ---- */

enum {
	OPTION_TIMEOUT = 256,
	OPTION_KILL_AFTER,
	OPTION_FAIL_FAST,
	OPTION_KEEP_GOING,
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct run *run = state->input;
	uint64_t number;

	switch (key) {
	case 'n':
		if (parse_u64(argument, &number) < 0 || !number ||
		    number > UINT32_MAX) {
			argp_error(state, "not a number of chips: %s",
				   argument);
			return EINVAL;
		}
		run->channels = number;
		return 0;
	case OPTION_TIMEOUT:
		if (parse_seconds(argument, &run->timeout_ns) < 0 ||
		    !run->timeout_ns) {
			argp_error(state, "not a time in seconds: --timeout %s",
				   argument);
			return EINVAL;
		}
		return 0;
	case OPTION_KILL_AFTER:
		if (parse_seconds(argument, &run->kill_after_ns) < 0) {
			argp_error(state,
				   "not a time in seconds: --kill-after %s",
				   argument);
			return EINVAL;
		}
		return 0;
	case OPTION_FAIL_FAST:
		run->keep_going = false;
		return 0;
	case OPTION_KEEP_GOING:
		run->keep_going = true;
		return 0;
	case ARGP_KEY_ARG:
		run->command = state->argv + state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!run->channels)
			argp_error(state, "how many chips? -n N");
		else if (!run->command)
			argp_error(state, "no command to run");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp_option options[] = {
	{ "number", 'n', "N", 0, "How many chips, one process each", 0 },
	{ "timeout", OPTION_TIMEOUT, "SECONDS", 0,
	  "By when all must have answered (default: no limit)", 0 },
	{ "fail-fast", OPTION_FAIL_FAST, NULL, 0,
	  "Stop all when one fails (default)", 0 },
	{ "keep-going", OPTION_KEEP_GOING, NULL, 0,
	  "Let the others go on when one fails; only those that miss --timeout are stopped",
	  0 },
	{ "kill-after", OPTION_KILL_AFTER, "SECONDS", 0,
	  "From SIGTERM, or a forwarded signal, to SIGKILL (default: 5)", 0 },
	{ 0 }
};

static const char doc[] =
	"Start one runtime process per chip, wait for an answer from each, stay with them.\n"
	"\013Each process finds CHIPBOOT_CHANNEL (its number), CHIPBOOT_CHANNELS,\n"
	"CHIPBOOT_PUBLISHER_FD and CHIPBOOT_OBSERVER_FD in its environment, and answers\n"
	"by libchipboot or `chipboot publish'.\n"
	"\n"
	"SIGINT, SIGTERM and SIGHUP are forwarded; a second one kills at once. If this\n"
	"launcher itself is killed, so are the processes.\n"
	"\n"
	"Exit status: 0; the number of failed chips (97 at most); 98 misuse or no\n"
	"device; 99 time-out; 128 + n on signal n.";

static const struct argp argp = {
	.options = options, .parser = parse, .args_doc = "-- CMD ARGS...",
	.doc = doc,
};

/* ---- signals ---- */

static const int forwarded[] = { SIGINT, SIGTERM, SIGHUP };

static sigset_t original_mask;
static struct sigaction original_pipe, original_child;

/*
 * Signals arrive by descriptor.  A signal that was ignored when this started (nohup)
 * stays so, and is never seen.
 */
static int open_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t mask;
	size_t i;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	for (i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&mask, forwarded[i]);
	sigprocmask(SIG_BLOCK, &mask, &original_mask);

	/* If ignored, the kernel would reap children, and their codes be lost. */
	sigaction(SIGCHLD, &action, &original_child);
	/* Who closes the report's pipe does not mean to end the processes. */
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, &original_pipe);
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void restore_signals(void)
{
	sigaction(SIGCHLD, &original_child, NULL);
	sigaction(SIGPIPE, &original_pipe, NULL);
	sigprocmask(SIG_SETMASK, &original_mask, NULL);
}

/* ---- starting ---- */

/* In the child.  Whatever fails here is the chip's answer. */
__attribute__((noreturn))
static void become_runtime(const struct run *run,
			   struct chipboot_publisher *publisher,
			   struct chipboot_observer *observer)
{
	char text[512], *cause;
	int error;
	int ret;

	restore_signals();
	ret = chipboot_exec_prepare(publisher, observer);
	if (ret < 0) {
		chipboot_publish_error(publisher, -ret,
				       chipboot_explain(ret, text,
							sizeof(text)));
		_exit(EXIT_MISUSE);
	}
	execv(run->program, run->command);
	error = errno;
	/* A script without an interpreter line is the shell's, as in execvp(). */
	if (error == ENOEXEC) {
		execvp(run->program, run->command);
		error = errno;
	}
	if (asprintf(&cause, "cannot execute %s: %s", run->program,
		     strerror(error)) >= 0)
		chipboot_publish_error(publisher, error, cause);
	_exit(EXIT_MISUSE);
}

static int start(struct run *run)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	uint32_t i;
	pid_t pid;

	for (i = 0; i < run->channels; i++) {
		pid = chipboot_fork(run->session, i, SIGKILL, 0, &publisher,
				    &observer);
		if (!pid)
			become_runtime(run, publisher, observer);
		if (pid < 0) {
			char text[512];

			complain("cannot start chip %u: %s", i,
				 chipboot_explain(pid, text, sizeof(text)));
			return pid;
		}
		run->chips[i].pid = pid;
		run->processes++;
	}
	return 0;
}

static int create(struct run *run)
{
	struct chipboot_info info;
	int ret;

	run->chips = calloc(run->channels, sizeof(*run->chips));
	if (!run->chips)
		return -ENOMEM;
	ret = chipboot_session_create(&run->session, run->channels);
	if (!ret)
		ret = chipboot_session_observe(run->session,
					       CHIPBOOT_ON_CHANGE,
					       &run->observer);
	if (!ret)
		ret = chipboot_session_info(run->session, &info);
	if (ret)
		return ret;
	run->first = run->channels;
	run->start_ns = info.now_ns;
	if (run->timeout_ns)
		ret = chipboot_session_set_deadline_at(run->session,
						       run->start_ns +
						       run->timeout_ns);
	return ret;
}

/* ---- stopping ---- */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void signal_chip(const struct chip *chip, int signal)
{
	if (chip->pid)
		kill(chip->pid, signal);
}

static void signal_all(const struct run *run, int signal)
{
	uint32_t i;

	for (i = 0; i < run->channels; i++)
		signal_chip(&run->chips[i], signal);
}

static void arm_kill(struct run *run)
{
	if (!run->kill_at_ns)
		run->kill_at_ns = now_ns() + run->kill_after_ns;
}

/*
 * End all processes.  First the channels that have not answered get the launcher's
 * verdict, so that nobody takes a death by our signal for a failure.
 */
static void stop(struct run *run, int signal, const char *why)
{
	run->stopping = true;
	chipboot_session_abort(run->session, 0, run->channels, -ECANCELED, why);
	signal_all(run, signal);
	arm_kill(run);
}

/* ---- looking ---- */

/* NULL for an empty text. */
static void keep(char **text, const char *from)
{
	free(*text);
	*text = *from ? strdup(from) : NULL;
}

static void learn(struct run *run, struct chip *chip,
		  const struct chipboot_answer *answer)
{
	if (answer->state == CHIPBOOT_STATE_IDLE) {
		keep(&chip->doing, answer->message);
		chip->doing_ns = answer->updated_ns;
		return;
	}
	if (chip->state == CHIPBOOT_STATE_IDLE) {
		chip->answered_ns = answer->updated_ns;
		keep(&chip->message, answer->message);
	}
	chip->state = answer->state;
	chip->error_code = answer->error_code;
	chip->order = answer->order;
	chip->origin = answer->origin;
	chip->flags = answer->flags;
	chip->wait_status = answer->wait_status;
	/* An end with code 0 after the answer is the job's, not a loss. */
	if (answer->flags & CHIPBOOT_IS_GONE && answer->wait_status &&
	    !run->stopping && !chip->lost) {
		chip->lost = true;
		chip->lost_ns = answer->updated_ns;
	}
}

/* Read the channels that have changed.  To be called after acknowledging. */
static int look(struct run *run)
{
	struct chipboot_answer answer;
	uint32_t idle = 0;
	uint32_t i;

	for (i = 0; i < run->channels; i++) {
		const struct chipboot_answer *page =
			chipboot_page(run->observer, i);
		struct chip *chip = &run->chips[i];
		uint32_t seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);

		if (seq != chip->seq) {
			int ret = chipboot_read(run->observer, i, &answer);

			if (ret < 0)
				return ret;
			chip->seq = answer.seq;
			learn(run, chip, &answer);
		}
		idle += chip->state == CHIPBOOT_STATE_IDLE;
	}
	run->idle = idle;
	run->first = first_failure(run);
	return 0;
}

static void break_off(struct run *run, int error)
{
	char text[512];

	complain("%s", chipboot_explain(error, text, sizeof(text)));
	run->broken = true;
	stop(run, SIGKILL, "the launcher failed");
}

static void update(struct run *run)
{
	struct chipboot_info info;
	int ret = chipboot_observer_info(run->observer, CHIPBOOT_ACK, &info);

	if (!ret)
		ret = look(run);
	if (ret && !run->broken)
		break_off(run, ret);
}

/* ---- deciding ---- */

static void stop_for_failure(struct run *run)
{
	char why[64];

	/*
	 * What a failure follows from is on its page before it: look again, or
	 * a peer that gave up could be taken for the cause.
	 */
	update(run);
	if (run->stopping)
		return;
	if (timed_out(run, &run->chips[run->first])) {
		snprintf(why, sizeof(why), "stopped: timed out");
	} else {
		report_trouble(run, run->first);
		snprintf(why, sizeof(why), "stopped: chip %u failed",
			 run->first);
	}
	stop(run, SIGTERM, why);
}

/* With --keep-going failures are told, and only who missed the deadline is ended. */
static void go_on_after_failures(struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->channels; i++) {
		struct chip *chip = &run->chips[i];

		if (chip->told)
			continue;
		if (timed_out(run, chip)) {
			signal_chip(chip, SIGTERM);
			arm_kill(run);
		} else if (failed(run, chip)) {
			report_trouble(run, i);
		} else {
			continue;
		}
		chip->told = true;
	}
}

static void decide(struct run *run)
{
	if (run->stopping)
		return;
	if (run->first < run->channels) {
		if (!run->keep_going) {
			stop_for_failure(run);
			return;
		}
		go_on_after_failures(run);
	}
	if (!run->idle && !run->announced) {
		run->announced = true;
		report_up(run);
	}
}

static void kill_the_rest(struct run *run)
{
	uint32_t i;

	run->kill_at_ns = 0;
	for (i = 0; i < run->channels; i++)
		if (run->stopping || timed_out(run, &run->chips[i]))
			signal_chip(&run->chips[i], SIGKILL);
}

static void reap(struct run *run)
{
	uint32_t i;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (i = 0; i < run->channels; i++)
			if (run->chips[i].pid == pid) {
				run->chips[i].pid = 0;
				run->processes--;
				break;
			}
}

static void forward(struct run *run, const struct signalfd_siginfo *info)
{
	char why[64];
	int signal = info->ssi_signo;

	if (run->stopping) {
		signal_all(run, SIGKILL);
		return;
	}
	run->signal = signal;
	snprintf(why, sizeof(why), "stopped: the launcher got signal %d",
		 signal);
	/*
	 * Ctrl-C goes to the whole foreground group: the processes have theirs
	 * from the terminal, and a second one may mean more to them.
	 */
	stop(run, info->ssi_code == SI_KERNEL && signal == SIGINT ? 0 : signal,
	     why);
}

static void read_signals(struct run *run, int signals)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(run);
		else
			forward(run, &info);
	}
}

static int poll_timeout(const struct run *run)
{
	int64_t left;

	if (!run->kill_at_ns)
		return -1;
	left = run->kill_at_ns - now_ns();
	if (left <= 0)
		return 0;
	left = (left + 999999) / 1000000;
	return left > INT32_MAX ? INT32_MAX : left;
}

static void stay(struct run *run, int signals)
{
	struct pollfd fds[2] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = chipboot_observer_fd(run->observer), .events = POLLIN },
	};

	while (run->processes) {
		if (poll(fds, 2, poll_timeout(run)) < 0 && errno != EINTR)
			break_off(run, -errno);
		if (run->kill_at_ns && now_ns() >= run->kill_at_ns)
			kill_the_rest(run);
		/* A death is on its page before it can be reaped: look last. */
		read_signals(run, signals);
		update(run);
		decide(run);
	}
}

/* ---- the command ---- */

static int exit_code(const struct run *run)
{
	uint32_t bad = count(run, failed);

	if (run->broken)
		return EXIT_MISUSE;
	if (run->signal)
		return 128 + run->signal;
	if (count(run, timed_out))
		return EXIT_TIMED_OUT;
	return bad > EXIT_FAILED_MAX ? EXIT_FAILED_MAX : bad;
}

static void free_run(struct run *run)
{
	uint32_t i;

	for (i = 0; run->chips && i < run->channels; i++) {
		free(run->chips[i].message);
		free(run->chips[i].doing);
	}
	free(run->chips);
	free(run->program);
	chipboot_observer_close(run->observer);
	chipboot_session_close(run->session);
}

int command_run(int argc, char **argv)
{
	/* Whole lines, among those that the processes write. */
	static char line[65536];
	struct run run = { .kill_after_ns = DEFAULT_KILL_AFTER_NS };
	char text[512];
	int signals;
	int ret;

	setvbuf(stderr, line, _IOLBF, sizeof(line));
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &run))
		return EXIT_MISUSE;
	run.program = find_program(run.command[0]);
	if (!run.program)
		return EXIT_MISUSE;

	signals = open_signals();
	if (signals < 0) {
		complain("signalfd: %s", strerror(errno));
		ret = EXIT_MISUSE;
		goto out;
	}
	ret = create(&run);
	if (ret < 0) {
		complain("%s", chipboot_explain(ret, text, sizeof(text)));
		ret = EXIT_MISUSE;
		goto out;
	}
	if (start(&run) < 0) {
		run.broken = true;
		stop(&run, SIGTERM, "stopped: the launcher could not start all");
	}
	stay(&run, signals);
	report_end(&run);
	ret = exit_code(&run);
out:
	if (signals >= 0)
		close(signals);
	free_run(&run);
	return ret;
}
