// SPDX-License-Identifier: MIT
/*
 * sd_notify(3)'s protocol, for a launcher that is a unit of Type=notify.
 *
 * By hand: it is one datagram, documented as stable and meant to be written by those
 * who do not want libsystemd and what that needs in turn.
 *
 * Called by run.c.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "run.h"

/* How long the manager is to wait for the next sign of progress. */
#define EXTENSION_NS	(30 * NS_PER_S)
#define INTERVAL_NS	NS_PER_S

static int channel = -1;
static uint32_t told_up;
static bool told_ready, told_stopping;
static uint64_t told_change_ns, told_at_ns;

void notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 5 };
	size_t length = path ? strlen(path) : 0;

	if (!length)
		return;
	if ((*path != '/' && *path != '@') || length >= sizeof(address.sun_path)) {
		complain("NOTIFY_SOCKET=%s is not a socket that can be used; going on without",
			 path);
		return;
	}
	memcpy(address.sun_path, path, length);
	/* Abstract: a leading NUL, and no NUL at the end. */
	if (*path == '@')
		address.sun_path[0] = '\0';
	channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (channel < 0)
		return;
	if (connect(channel, (struct sockaddr *)&address,
		    offsetof(struct sockaddr_un, sun_path) + length +
		    (*path == '/')) < 0) {
		complain("NOTIFY_SOCKET=%s: %s; going on without", path,
			 strerror(errno));
		close(channel);
		channel = -1;
		return;
	}
	setsockopt(channel, SOL_SOCKET, SO_SNDTIMEO, &patience,
		   sizeof(patience));
}

/* What must arrive may wait for a while. */
__attribute__((format(printf, 2, 3)))
static void tell(bool must, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	if (channel < 0)
		return;
	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	while (send(channel, text, length,
		    MSG_NOSIGNAL | (must ? 0 : MSG_DONTWAIT)) < 0 &&
	       errno == EINTR)
		;
	free(text);
}

void notify_update(struct run *run)
{
	uint32_t up = count(run, is_up);
	uint64_t now = now_ns();

	if (channel < 0 || told_stopping)
		return;
	if (run->stopping) {
		told_stopping = true;
		tell(true, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu",
		     (unsigned long long)((run->kill_after_ns + EXTENSION_NS) / 1000));
		return;
	}
	if (run->announced && !told_ready) {
		told_ready = true;
		tell(true, "READY=1\nSTATUS=%u/%u chips up", up, run->channels);
		return;
	}
	if (told_ready)
		return;
	if (up != told_up || !told_at_ns)
		tell(false, "STATUS=%u/%u chips up", up, run->channels);
	told_up = up;
	if (run->changed_ns != told_change_ns &&
	    (!told_at_ns || now - told_at_ns >= INTERVAL_NS)) {
		tell(false, "EXTEND_TIMEOUT_USEC=%llu",
		     (unsigned long long)(EXTENSION_NS / 1000));
		told_change_ns = run->changed_ns;
		told_at_ns = now;
	}
}

/* An errno for who has none of his own: what the chip said, if it can be one. */
static int error_number(const struct run *run)
{
	uint32_t first = first_failed(run);
	int code = first < run->channels ? run->chips[first].error_code : 0;

	if (count(run, timed_out))
		return ETIMEDOUT;
	if (code < 0)
		code = -code;
	return code > 0 && code < 4096 ? code : EIO;
}

void notify_end(const struct run *run)
{
	char *text = NULL;
	size_t size;
	FILE *out;

	if (channel < 0 || (!exit_code(run) && !run->signal))
		goto out;
	out = open_memstream(&text, &size);
	if (!out)
		goto out;
	put_summary(out, run);
	fclose(out);
	if (run->signal)
		tell(true, "STATUS=%s", text);
	else
		tell(true, "STATUS=%s\nERRNO=%d", text, error_number(run));
	free(text);
out:
	if (channel >= 0)
		close(channel);
	channel = -1;
}
