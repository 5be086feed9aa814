// SPDX-License-Identifier: MIT
/*
 * One unix datagram socket, to which every publisher sends its answer, and the kernel
 * who it was: sd_notify.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

/* Received by one system call, if there are so many. */
#define BATCH	16

struct datagram {
	uint32_t channel;
	struct answer answer;
};

struct by_datagram {
	unsigned int n;
	unsigned int known;
	int receives;
	int sends;		/* in a publisher */
	struct sockaddr_un name;
	socklen_t name_size;
	struct answer *answers;
	pid_t *pids;		/* who may answer for a channel */
};

static void *create(unsigned int n)
{
	struct by_datagram *by = calloc(1, sizeof(*by));
	static unsigned int made;
	int on = 1;

	if (!by)
		bench_die("malloc");
	by->n = n;
	by->answers = calloc(n, sizeof(*by->answers));
	by->pids = calloc(n, sizeof(*by->pids));
	if (!by->answers || !by->pids)
		bench_die("malloc");
	by->receives = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	by->name.sun_family = AF_UNIX;
	/* An abstract name, of one length whatever the pid: counts do not vary. */
	by->name_size = offsetof(struct sockaddr_un, sun_path) + 1 +
		snprintf(by->name.sun_path + 1, sizeof(by->name.sun_path) - 1,
			 "bench-%08d-%04u", getpid(), made++);
	if (by->receives < 0 ||
	    setsockopt(by->receives, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
	    bind(by->receives, (void *)&by->name, by->name_size))
		bench_die("socket");
	return by;
}

static void remember(void *self, unsigned int first, unsigned int count,
		     pid_t pid)
{
	struct by_datagram *by = self;
	unsigned int i;

	for (i = first; i < first + count; i++)
		by->pids[i] = pid;
}

static void in_child(void *self, unsigned int first, unsigned int count)
{
	struct by_datagram *by = self;

	(void)first;
	(void)count;
	by->sends = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (by->sends < 0 ||
	    connect(by->sends, (void *)&by->name, by->name_size))
		bench_die("connect");
}

static void publish(void *self, unsigned int i, const struct answer *answer)
{
	struct datagram datagram = { .channel = i, .answer = *answer };
	struct by_datagram *by = self;

	if (send(by->sends, &datagram, sizeof(datagram), 0) != sizeof(datagram))
		bench_die("send");
}

static pid_t sender(struct msghdr *header)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(header);
	struct ucred cred;

	if (!control || control->cmsg_type != SCM_CREDENTIALS)
		return -1;
	memcpy(&cred, CMSG_DATA(control), sizeof(cred));
	return cred.pid;
}

static bool wait_for_all(void *self, int timeout_ms)
{
	struct datagram datagrams[BATCH];
	char controls[BATCH][CMSG_SPACE(sizeof(struct ucred))];
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct by_datagram *by = self;
	int i, count;

	for (i = 0; i < BATCH; i++)
		vectors[i] = (struct iovec) {
			.iov_base = &datagrams[i],
			.iov_len = sizeof(datagrams[i]),
		};
	while (by->known < by->n) {
		struct pollfd readable = { .fd = by->receives, .events = POLLIN };

		if (timeout_ms >= 0 && !poll(&readable, 1, timeout_ms))
			return false;
		for (i = 0; i < BATCH; i++)
			messages[i].msg_hdr = (struct msghdr) {
				.msg_iov = &vectors[i],
				.msg_iovlen = 1,
				.msg_control = controls[i],
				.msg_controllen = sizeof(controls[i]),
			};
		count = recvmmsg(by->receives, messages, BATCH, MSG_WAITFORONE,
				 NULL);
		if (count < 0)
			bench_die("recvmmsg");
		for (i = 0; i < count; i++) {
			uint32_t channel = datagrams[i].channel;

			/* Anybody can send: only its own process answers for it. */
			if (messages[i].msg_len != sizeof(datagrams[i]) ||
			    channel >= by->n ||
			    by->answers[channel].state != PENDING ||
			    sender(&messages[i].msg_hdr) != by->pids[channel])
				continue;
			by->answers[channel] = datagrams[i].answer;
			by->known++;
		}
	}
	return true;
}

static void read_taken(void *self, unsigned int i, struct answer *answer)
{
	struct by_datagram *by = self;

	*answer = by->answers[i];
}

static void destroy(void *self)
{
	struct by_datagram *by = self;

	close(by->receives);
	free(by->answers);
	free(by->pids);
	free(by);
}

const struct contender bench_datagram = {
	.name = "unix datagram with credentials",
	.is = "sd_notify",
	.death = "not noticed; it would take a pidfd for each process, or SIGCHLD",
	.create = create,
	.bind = remember,
	.in_child = in_child,
	.publish = publish,
	.wait = wait_for_all,
	.read = read_taken,
	.destroy = destroy,
};
