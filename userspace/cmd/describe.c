// SPDX-License-Identifier: MIT
/*
 * Phrases that several files say in the same words.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd.h"

void put_untrusted(FILE *out, const char *text)
{
	escape_to(out, text ? text : "", text ? strlen(text) : 0, 0);
}

void put_wait_status(FILE *out, uint16_t status)
{
	if (WIFSIGNALED(status))
		fprintf(out, "killed by signal %d%s", WTERMSIG(status),
			WCOREDUMP(status) ? " (core dumped)" : "");
	else
		fprintf(out, "exited with code %d", WEXITSTATUS(status));
}
