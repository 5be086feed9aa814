// SPDX-License-Identifier: MIT
/*
 * Finding the runtime program before anything is started, so that a wrong name is
 * one line and not N failed chips.
 *
 * Called by run.c and join.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"

/* 0, or why @path cannot be executed. */
static int check(const char *path, int directory)
{
	struct stat file;

	if (fstatat(directory, path, &file, 0) < 0)
		return errno;
	if (S_ISDIR(file.st_mode))
		return EISDIR;
	if (faccessat(directory, path, X_OK, 0) < 0)
		return errno;
	return 0;
}

int run_program(const char *program, char **command)
{
	execv(program, command);
	/* A script without an interpreter line is the shell's, as in execvp(). */
	if (errno == ENOEXEC)
		execvp(program, command);
	return errno;
}

char *find_program(const char *name, const char *search, int directory)
{
	const char *at, *end;
	char *refused = NULL;
	int error;

	if (strchr(name, '/')) {
		error = check(name, directory);
		if (!error)
			return strdup(name);
		complain("cannot execute %s: %s", name, strerror(error));
		return NULL;
	}
	if (!*name) {
		complain("the program's name is empty");
		return NULL;
	}
	if (!search)
		search = "/bin:/usr/bin";
	for (at = search;; at = end + 1) {
		char *path;

		end = strchrnul(at, ':');
		/* An empty entry is the working directory. */
		if (asprintf(&path, "%.*s/%s", end == at ? 1 : (int)(end - at),
			     end == at ? "." : at, name) < 0)
			break;
		error = check(path, directory);
		if (!error) {
			free(refused);
			return path;
		}
		if (error == EACCES && !refused)
			refused = path;
		else
			free(path);
		if (!*end)
			break;
	}
	if (refused)
		complain("cannot execute %s: %s", refused, strerror(EACCES));
	else
		complain("program not found: %s (not in PATH)", name);
	free(refused);
	return NULL;
}
