// SPDX-License-Identifier: MIT
/*
 * chipboot run: starts one process per chip, sleeps until they have answered, and
 * stays with them until they end.
 *
 * The kernel gives the verdicts (deaths, the deadline); this decides what follows
 * from them.  One loop over everything; nothing else waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

/* From SIGKILL to saying that a process has not ended. */
#define STUCK_NS (5 * NS_PER_S)

/* ---- stopping ---- */

static void arm_kill(struct run *run)
{
	if (!run->kill_at_ns)
		run->kill_at_ns = now_ns() + run->kill_after_ns;
}

/*
 * End all processes.  First the channels that have not answered get the launcher's
 * verdict, so that nobody takes a death by our signal for a failure.
 */
void stop(struct run *run, int signal, const char *why)
{
	run->stopping = true;
	chipboot_session_abort(run->session, 0, run->channels, -ECANCELED, why);
	event_stopping(run, why);
	signal_all(run, signal);
	if (signal)
		signal_orphans(run, signal);
	arm_kill(run);
}

static bool is_to_end(const struct run *run, const struct chip *chip)
{
	return run->stopping || timed_out(run, chip);
}

static void kill_the_rest(struct run *run)
{
	uint32_t i;

	run->kill_at_ns = 0;
	run->killing = run->stopping;
	for (i = 0; i < run->channels; i++)
		if (is_to_end(run, &run->chips[i]))
			signal_chip(&run->chips[i], SIGKILL);
	if (run->stopping)
		signal_orphans(run, SIGKILL);
	run->stuck_at_ns = now_ns() + STUCK_NS;
}

/* Nothing more can be done about them, but who waits should know for whom. */
static void tell_stuck(struct run *run)
{
	uint32_t orphans = run->stopping ? count_orphans(run) : 0;
	uint32_t i;

	run->stuck_at_ns = 0;
	for (i = 0; i < run->channels; i++)
		if (is_to_end(run, &run->chips[i]) &&
		    is_alive(&run->chips[i]))
			event_stuck(run, i);
	if (orphans)
		complain(orphans == 1 ?
			 "%u more process was killed, and something in the kernel holds it" :
			 "%u more processes were killed, and something in the kernel holds them",
			 orphans);
}

void break_off(struct run *run, int error)
{
	complain_of(error);
	run->broken = true;
	stop(run, SIGKILL, "the launcher failed");
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
		event_trouble(run, run->first);
		snprintf(why, sizeof(why), "stopped: chip %u failed",
			 run->chips[run->first].number);
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
			event_trouble(run, i);
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
		screen_close(run);
		report_up(run);
	}
}

/* ---- what wakes the loop ---- */

static void forward(struct run *run, const struct signalfd_siginfo *info)
{
	int signal = info->ssi_signo;
	char why[64];

	if (run->stopping) {
		kill_the_rest(run);
		return;
	}
	run->signal = signal;
	snprintf(why, sizeof(why), "stopped: the launcher got signal %d",
		 signal);
	/*
	 * Ctrl-C goes to the whole foreground group: the processes have theirs
	 * from the terminal, and a second one may mean more to them.
	 */
	stop(run, info->ssi_code == SI_KERNEL &&
	     (signal == SIGINT || signal == SIGQUIT) ? 0 : signal, why);
}

static void signals_ready(struct watch *watch)
{
	struct run *run = container_of(watch, struct run, signals);
	struct signalfd_siginfo info;

	if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		reap(run);
		/* What they had started has lost its parent, and has us now. */
		if (run->killing)
			signal_orphans(run, SIGKILL);
		else if (run->stopping)
			signal_orphans(run, SIGTERM);
		break;
	case SIGWINCH:
		screen_resized(run);
		break;
	case SIGUSR1:
	case SIGUSR2:
		signal_all(run, info.ssi_signo);
		break;
	default:
		forward(run, &info);
	}
}

static void changes_ready(struct watch *watch)
{
	update(container_of(watch, struct run, changes));
}

static bool is_due(uint64_t at_ns)
{
	return at_ns && now_ns() >= at_ns;
}

static int timeout_ms(const struct run *run)
{
	uint64_t due = screen_due(run);
	uint64_t now = now_ns();

	if (run->kill_at_ns && run->kill_at_ns < due)
		due = run->kill_at_ns;
	if (run->stuck_at_ns && run->stuck_at_ns < due)
		due = run->stuck_at_ns;
	if (due == UINT64_MAX)
		return -1;
	if (due <= now)
		return 0;
	due = (due - now + NS_PER_MS - 1) / NS_PER_MS;
	return due > INT32_MAX ? INT32_MAX : due;
}

static bool expects_guests(const struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->channels && !run->stopping; i++) {
		const struct chip *chip = &run->chips[i];

		if (chip->joins && chip->state == CHIPBOOT_STATE_IDLE)
			return true;
		if (chip->unseen && chip->state == CHIPBOOT_STATE_SUCCESS &&
		    !(chip->flags & CHIPBOOT_IS_GONE))
			return true;
	}
	return run->guests;
}

static void turn(struct run *run)
{
	int ret;

	output_throttle(run);
	screen_update(run);
	ret = loop_once(run->loop, timeout_ms(run));
	if (ret < 0 && !run->broken)
		break_off(run, ret);
	if (is_due(run->kill_at_ns))
		kill_the_rest(run);
	if (is_due(run->stuck_at_ns))
		tell_stuck(run);
	decide(run);
	notify_update(run);
}

static void stay(struct run *run)
{
	/* What happened while they were started. */
	update(run);
	decide(run);
	while (run->children || expects_guests(run))
		turn(run);
	/* The session is over: what is left of its processes goes with it. */
	run->stopping = true;
	if (count_orphans(run)) {
		signal_orphans(run, run->killing ? SIGKILL : SIGTERM);
		arm_kill(run);
		while (count_orphans(run))
			turn(run);
	}
	update(run);
}

/* Until all is written; a signal ends the wait for a reader that does not read. */
static void write_out(struct run *run)
{
	struct signalfd_siginfo info;
	struct watch *signals = &run->signals;

	loop_remove(run->loop, signals);
	while (!sink_is_empty(run->out) || !sink_is_empty(run->err)) {
		if (loop_once(run->loop, 100) < 0)
			break;
		if (read(signals->fd, &info, sizeof(info)) == sizeof(info) &&
		    info.ssi_signo != SIGCHLD && info.ssi_signo != SIGWINCH)
			break;
	}
}

/* ---- before and after ---- */

static void say_on_stderr(void *who, const char *line, size_t length)
{
	struct run *run = who;

	print(run, run->err, line, length);
}

static bool same_file(const struct sink *a, const struct sink *b)
{
	struct stat x, y;

	if (fstat(a->original, &x) < 0 || fstat(b->original, &y) < 0)
		return false;
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* One queue for one file, or one's half lines would have the other's between. */
static void open_sinks(struct run *run)
{
	sink_open(&run->stdout_sink, run->loop, STDOUT_FILENO);
	sink_open(&run->stderr_sink, run->loop, STDERR_FILENO);
	run->err = &run->stderr_sink;
	run->out = same_file(&run->stdout_sink, run->err) ? run->err :
							    &run->stdout_sink;
	complain_to(say_on_stderr, run);
}

static bool is_joining(const struct run *run, uint32_t number)
{
	uint32_t i;

	if (!run->command)
		return true;
	for (i = 0; i < run->join_count; i++)
		if (run->join_numbers[i] == number)
			return true;
	return false;
}

/* Can there be such a session?  Nothing is created for who has no module, say. */
static int check_device(const struct run *run)
{
	struct chipboot_versions versions;
	int ret = chipboot_get_versions(&versions);

	if (ret < 0) {
		complain_of(ret);
		return -1;
	}
	if (run->channels <= versions.max_channels_per_session)
		return 0;
	complain("%u chips are more than a session may have, %u (root can raise %s)",
		 run->channels, versions.max_channels_per_session,
		 "/sys/module/chipboot/parameters/max_channels_per_session");
	return -1;
}

static int open_chips(struct run *run)
{
	uint32_t i;

	run->chips = calloc(run->channels, sizeof(*run->chips));
	if (!run->chips) {
		complain_of(-ENOMEM);
		return -1;
	}
	for (i = 0; i < run->channels; i++) {
		struct chip *chip = &run->chips[i];

		chip->number = run->numbers ? run->numbers[i] : i;
		chip->joins = is_joining(run, chip->number);
		chip->run = run;
		chip->ends.fd = -1;
		chip->log = -1;
	}
	run->first = run->channels;
	run->idle = run->channels;
	return 0;
}

/* What can be wrong before there is a session; it has been said. */
static int find_command(struct run *run)
{
	const char *search = getenv("PATH");
	uint32_t i;

	if (!run->command)
		return 0;
	if (run->directory) {
		run->directory_fd = open(run->directory, O_PATH | O_DIRECTORY |
					 O_CLOEXEC);
		if (run->directory_fd < 0 ||
		    faccessat(run->directory_fd, ".", X_OK, 0) < 0) {
			complain("cannot use --cwd %s: %s", run->directory,
				 strerror(errno));
			return -1;
		}
	}
	for (i = 0; i < run->variable_count; i++)
		if (!strncmp(run->variables[i], "PATH=", 5))
			search = run->variables[i] + 5;
	run->program = find_program(run->command[0], search, run->directory_fd);
	return run->program ? 0 : -1;
}

static int create(struct run *run)
{
	struct chipboot_info info;
	int ret;

	ret = chipboot_session_create(&run->session, run->channels);
	if (!ret)
		ret = chipboot_session_observe(run->session,
					       CHIPBOOT_ON_CHANGE,
					       &run->observer);
	if (!ret)
		ret = chipboot_session_info(run->session, &info);
	if (ret)
		return ret;
	run->start_ns = info.now_ns;
	run->host_offset_ns = info.now_ns - now_ns();
	run->changed_ns = now_ns();
	return 0;
}

static int watch_session(struct run *run)
{
	int ret;

	run->changes = (struct watch) {
		.fd = chipboot_observer_fd(run->observer),
		.ready = changes_ready,
	};
	ret = loop_add(run->loop, &run->changes, EPOLLIN);
	if (!ret)
		ret = output_open(run);
	if (!ret && run->timeout_ns)
		ret = chipboot_session_set_deadline_at(run->session,
						       run->start_ns +
						       run->timeout_ns);
	return ret;
}

static int open_loop(struct run *run)
{
	run->loop = epoll_create1(EPOLL_CLOEXEC);
	run->signals = (struct watch) {
		.fd = open_signals(), .ready = signals_ready,
	};
	if (run->loop < 0 || run->signals.fd < 0)
		return -errno;
	return loop_add(run->loop, &run->signals, EPOLLIN);
}

static void free_run(struct run *run)
{
	uint32_t i;

	complain_to(NULL, NULL);
	output_close(run);
	for (i = 0; run->chips && i < run->channels; i++) {
		free(run->chips[i].message);
		free(run->chips[i].doing);
		chipboot_publisher_close(run->chips[i].publisher);
		if (run->chips[i].ends.fd >= 0)
			close(run->chips[i].ends.fd);
	}
	free(run->chips);
	if (run->directory_fd >= 0)
		close(run->directory_fd);
	free(run->program);
	free(run->numbers);
	free(run->join_numbers);
	free(run->variables);
	free(run->not_ours);
	chipboot_observer_close(run->observer);
	chipboot_session_close(run->session);
	sink_close(&run->stdout_sink);
	sink_close(&run->stderr_sink);
	close(run->signals.fd);
	close(run->loop);
}

int command_run(int argc, char **argv)
{
	struct run run = {
		.outputs.fd = -1, .door.fd = -1, .directory_fd = AT_FDCWD,
	};
	int ret = run_arguments(argc, argv, &run);

	if (ret)
		return ret;
	note_own_children(&run);
	ret = open_loop(&run);
	open_sinks(&run);
	if (ret < 0) {
		complain("cannot start: %s", strerror(-ret));
		goto misuse;
	}
	if (check_device(&run) < 0 || open_chips(&run) < 0 ||
	    find_command(&run) < 0 || open_logs(&run) < 0 ||
	    door_open(&run) < 0)
		goto misuse;
	ret = create(&run);
	if (!ret)
		ret = watch_session(&run);
	if (ret < 0) {
		complain_of(ret);
		goto misuse;
	}
	notify_open();
	event_begin(&run);
	screen_open(&run);
	if (start_children(&run) < 0) {
		run.broken = true;
		stop(&run, SIGTERM, "stopped: the launcher could not start all");
	}
	stay(&run);
	door_close(&run);
	output_drain(&run);
	screen_close(&run);
	report_end(&run);
	notify_end(&run);
	write_out(&run);
	ret = exit_code(&run);
	free_run(&run);
	return ret;

misuse:
	door_close(&run);
	write_out(&run);
	free_run(&run);
	return EXIT_MISUSE;
}
