/* SPDX-License-Identifier: MIT */
/*
 * Running the chipboot command from a test in C.  Included by command_*.c.
 */
#ifndef COMMAND_TEST_H
#define COMMAND_TEST_H

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wclobbered"
#endif
#include "kselftest_harness.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

/*
 * Start it, with @out and @err for its output (-1: this test's own); @before runs in the
 * child.  It does not outlive the test.
 */
static pid_t start(const char *const argv[], int out, int err,
		   void (*before)(const void *with), const void *with)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if ((out >= 0 && dup2(out, 1) < 0) || (err >= 0 && dup2(err, 2) < 0))
		_exit(126);
	if (before)
		before(with);
	execvp(argv[0], (char *const *)argv);
	_exit(126);
}

#endif /* COMMAND_TEST_H */
