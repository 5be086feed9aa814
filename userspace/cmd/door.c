// SPDX-License-Identifier: MIT
/*
 * The socket at which runtime processes join a run that did not start them.
 *
 * Who may: the launcher's own user, and root, by the credentials that the kernel
 * attaches to a connection (SO_PEERCRED).  A process that joins gets a chip's handles
 * and binds itself; from then on its death is the kernel's to tell, as a child's is.
 *
 * Called by run.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "join.h"
#include "run.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77			/* Linux 6.5 */
#endif

struct visitor {
	struct watch watch;
	struct run *run;
	struct ucred who;
};

static struct stat own_socket;

/* ---- a joined process's end ---- */

static void guest_ended(struct watch *watch)
{
	struct chip *chip = container_of(watch, struct chip, ends);
	struct run *run = chip->run;
	pid_t pid = chip->pid;

	loop_remove(run->loop, watch);
	close(watch->fd);
	watch->fd = -1;
	chip->pid = 0;
	run->guests--;
	update(run);
	event_ended(run, chip - run->chips, pid, -1);
}

/*
 * Not by pid, which could be somebody else's by now, where the kernel can help it.
 * A process in a pid namespace that is not ours or below has no number here: it is
 * noticed by its page alone.
 */
static void watch_guest(struct run *run, struct chip *chip,
			const struct visitor *visitor)
{
	socklen_t size = sizeof(chip->ends.fd);
	int fd = -1;

	if (getsockopt(visitor->watch.fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) < 0)
		fd = visitor->who.pid > 0 ? pidfd_open(visitor->who.pid, 0) : -1;
	chip->ends = (struct watch) { .fd = fd, .ready = guest_ended };
	chip->pid = visitor->who.pid;
	chip->unseen = fd < 0;
	if (fd < 0)
		return;
	if (loop_add(run->loop, &chip->ends, EPOLLIN) < 0) {
		close(fd);
		chip->ends.fd = -1;
		chip->unseen = true;
		return;
	}
	run->guests++;
}

/* ---- letting in ---- */

static void dismiss(struct visitor *visitor)
{
	loop_remove(visitor->run->loop, &visitor->watch);
	close(visitor->watch.fd);
	free(visitor);
}

/* NULL, and @why says so, or the chip. */
static struct chip *choose(struct run *run, const struct join_hello *hello,
			   char why[256])
{
	uint32_t i;

	if (run->stopping) {
		snprintf(why, 256, "the run is being stopped");
		return NULL;
	}
	for (i = 0; i < run->channels; i++) {
		struct chip *chip = &run->chips[i];

		if (hello->chip != JOIN_ANY_CHIP && hello->chip != chip->number)
			continue;
		if (chip->joins && !chip->joined &&
		    chip->state == CHIPBOOT_STATE_IDLE)
			return chip;
		if (hello->chip == JOIN_ANY_CHIP)
			continue;
		snprintf(why, 256, "chip %u %s", chip->number, !chip->joins ?
			 "is the launcher's own to start" : chip->joined ?
			 "is taken" : "is answered already");
		return NULL;
	}
	if (hello->chip == JOIN_ANY_CHIP)
		snprintf(why, 256, "all chips are taken");
	else
		snprintf(why, 256, "the run has no chip %u", hello->chip);
	return NULL;
}

static int hand_over(struct run *run, struct chip *chip, int socket)
{
	const uint32_t every = CHIPBOOT_ON_COMPLETE | CHIPBOOT_ON_GONE |
			       CHIPBOOT_ON_CHANGE | CHIPBOOT_ON_ERROR;
	struct chipboot_observer *observer;
	int ret = 0;

	/* Kept if a visitor could not be sent it. */
	if (!chip->publisher)
		ret = chipboot_session_claim(run->session, chip - run->chips,
					     &chip->publisher);
	if (ret < 0)
		return ret;
	ret = chipboot_session_observe(run->session, every, &observer);
	if (ret < 0)
		return ret;
	ret = chipboot_send(socket, NULL, observer);
	chipboot_observer_close(observer);
	if (!ret)
		ret = chipboot_send(socket, chip->publisher, NULL);
	if (ret < 0)
		return ret;
	chipboot_publisher_close(chip->publisher);
	chip->publisher = NULL;
	return 0;
}

static void serve(struct visitor *visitor, const struct join_hello *hello)
{
	struct join_answer answer = { .version = JOIN_VERSION };
	struct run *run = visitor->run;
	int socket = visitor->watch.fd;
	struct chip *chip = NULL;
	uid_t own = geteuid();

	if (memcmp(hello->magic, "chipjoin", 8) ||
	    hello->version != JOIN_VERSION)
		snprintf(answer.why, sizeof(answer.why),
			 "this is no hello of chipboot join's version %d",
			 JOIN_VERSION);
	else if (visitor->who.uid != own && visitor->who.uid)
		snprintf(answer.why, sizeof(answer.why),
			 "only user %u, who started the run, and root may join it",
			 own);
	else
		chip = choose(run, hello, answer.why);
	answer.accepted = !!chip;
	answer.chip = chip ? chip->number : 0;
	if (send(socket, &answer, sizeof(answer),
		 MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(answer))
		return;
	if (!chip || hand_over(run, chip, socket) < 0)
		return;
	chip->joined = true;
	watch_guest(run, chip, visitor);
	event_joined(run, chip - run->chips);
	screen_changed(run);
}

static void visitor_ready(struct watch *watch)
{
	struct visitor *visitor = container_of(watch, struct visitor, watch);
	struct join_hello hello;
	ssize_t length = recv(watch->fd, &hello, sizeof(hello), MSG_DONTWAIT);

	if (length < 0 && errno == EAGAIN)
		return;
	if (length == sizeof(hello))
		serve(visitor, &hello);
	/* What was sent stays for the other side to receive. */
	dismiss(visitor);
}

static void door_ready(struct watch *watch)
{
	struct run *run = container_of(watch, struct run, door);
	int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct visitor *visitor;
	socklen_t size = sizeof(visitor->who);

	if (fd < 0)
		return;
	visitor = calloc(1, sizeof(*visitor));
	if (!visitor) {
		close(fd);
		return;
	}
	visitor->watch = (struct watch) { .fd = fd, .ready = visitor_ready };
	visitor->run = run;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &visitor->who, &size) < 0 ||
	    loop_add(run->loop, &visitor->watch, EPOLLIN) < 0) {
		close(fd);
		free(visitor);
	}
}

/* ---- the socket ---- */

/* A launcher that was killed leaves its socket behind: nobody answers there. */
static bool is_stale(const struct sockaddr_un *address)
{
	struct stat file;
	bool stale;
	int fd;

	if (lstat(address->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)address,
			sizeof(*address)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

int door_open(struct run *run)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int ret;

	run->door = (struct watch) { .fd = -1, .ready = door_ready };
	if (!run->socket_path)
		return 0;
	if (!*run->socket_path ||
	    strlen(run->socket_path) >= sizeof(address.sun_path)) {
		complain("--socket %s: a socket's path has 1 to %zu bytes",
			 run->socket_path, sizeof(address.sun_path) - 1);
		return -1;
	}
	memcpy(address.sun_path, run->socket_path,
	       strlen(run->socket_path));
	run->door.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
			      SOCK_NONBLOCK, 0);
	if (run->door.fd < 0)
		goto fail;
	if (is_stale(&address))
		unlink(address.sun_path);
	mask = umask(0177);
	ret = bind(run->door.fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (ret < 0) {
		close(run->door.fd);
		run->door.fd = -1;
		goto fail;
	}
	if (stat(run->socket_path, &own_socket) < 0 ||
	    listen(run->door.fd, SOMAXCONN) < 0 ||
	    loop_add(run->loop, &run->door, EPOLLIN) < 0)
		goto fail;
	return 0;

fail:
	complain("cannot listen at --socket %s: %s", address.sun_path,
		 errno == EADDRINUSE ? "something of that name is there" :
				       strerror(errno));
	return -1;
}

void door_close(struct run *run)
{
	struct stat now;

	if (run->door.fd < 0)
		return;
	/* Not another's that has taken its place. */
	if (lstat(run->socket_path, &now) == 0 &&
	    now.st_dev == own_socket.st_dev && now.st_ino == own_socket.st_ino)
		unlink(run->socket_path);
	loop_remove(run->loop, &run->door);
	close(run->door.fd);
	run->door.fd = -1;
}
