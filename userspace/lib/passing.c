// SPDX-License-Identifier: MIT
/*
 * Handing a publisher and an observer to another process over a unix socket.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

#define HAS_PUBLISHER	0x1
#define HAS_OBSERVER	0x2

/* The bytes that go with the descriptors, native endian: both ends are one host. */
struct parcel {
	char magic[8];
	uint32_t version;
	uint32_t contents;		/* HAS_*, the descriptors in this order */
};

static const struct parcel empty_parcel = {
	.magic = { 'c', 'h', 'i', 'p', 'b', 'o', 'o', 't' },
	.version = 1,
};

/* More than belong, so that those which do not are seen, and closed. */
#define FDS_RECEIVED 8

union control {
	/* The kernel adds credentials where the receiver has set SO_PASSCRED. */
	char buffer[CMSG_SPACE(sizeof(struct ucred)) +
		    CMSG_SPACE(FDS_RECEIVED * sizeof(int))];
	struct cmsghdr align;
};

int chipboot_send(int socket, struct chipboot_publisher *publisher,
		  struct chipboot_observer *observer)
{
	struct parcel parcel = empty_parcel;
	struct iovec iov = { .iov_base = &parcel, .iov_len = sizeof(parcel) };
	union control control = { .buffer = { 0 } };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buffer,
	};
	struct cmsghdr *header;
	unsigned int count = 0;
	int fds[2];
	ssize_t sent;

	if (!publisher && !observer)
		return cb_error(CB_ANY, EINVAL);
	if ((publisher && publisher->fd < 0) || (observer && observer->fd < 0))
		return cb_error(CB_ANY, EBADF);
	if (publisher) {
		fds[count++] = publisher->fd;
		parcel.contents |= HAS_PUBLISHER;
	}
	if (observer) {
		fds[count++] = observer->fd;
		parcel.contents |= HAS_OBSERVER;
	}
	message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(header), fds, count * sizeof(int));

	do {
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return cb_error(CB_ANY, errno);
	/* A stream may take less; so few bytes it never splits. */
	return (size_t)sent == sizeof(parcel) ? 0 : cb_error(CB_ANY, EMSGSIZE);
}

/* Both of one session?  Who sends is not trusted to have looked. */
static int check_pair(const struct chipboot_publisher *publisher,
		      const struct chipboot_observer *observer)
{
	struct chipboot_info published, observed;
	int ret = chipboot_publisher_info(publisher, &published);

	if (!ret)
		ret = chipboot_observer_info(observer, 0, &observed);
	if (!ret && published.session_id != observed.session_id)
		ret = -EBADMSG;
	return ret;
}

/* The descriptors that came, all of them ours from here on. */
static unsigned int received_fds(struct msghdr *message, int *fds)
{
	struct cmsghdr *header;
	unsigned int count = 0;

	for (header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		size_t bytes;

		if (header->cmsg_level != SOL_SOCKET ||
		    header->cmsg_type != SCM_RIGHTS)
			continue;
		bytes = header->cmsg_len - CMSG_LEN(0);
		memcpy(fds + count, CMSG_DATA(header), bytes);
		count += bytes / sizeof(int);
	}
	return count;
}

int chipboot_receive(int socket, struct chipboot_publisher **publisher_out,
		     struct chipboot_observer **observer_out)
{
	struct chipboot_publisher *publisher = NULL;
	struct chipboot_observer *observer = NULL;
	struct parcel parcel = { .contents = 0 };
	struct iovec iov = { .iov_base = &parcel, .iov_len = sizeof(parcel) };
	union control control;
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof(control.buffer),
	};
	int fds[FDS_RECEIVED];
	unsigned int expected;
	unsigned int count;
	ssize_t got;
	int ret = 0;

	if (!publisher_out || !observer_out)
		return cb_error(CB_ANY, EINVAL);
	*publisher_out = NULL;
	*observer_out = NULL;

	got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	if (got < 0)
		return cb_error(CB_ANY, errno);
	count = received_fds(&message, fds);
	if (got == 0 && !count)
		return cb_errorf(ENODATA,
				 "the other side closed the socket without sending a handle");

	expected = !!(parcel.contents & HAS_PUBLISHER) +
		   !!(parcel.contents & HAS_OBSERVER);
	if (got != sizeof(parcel) || message.msg_flags & MSG_TRUNC ||
	    message.msg_flags & MSG_CTRUNC ||
	    memcmp(parcel.magic, empty_parcel.magic, sizeof(parcel.magic)) ||
	    parcel.version != empty_parcel.version ||
	    parcel.contents & ~(HAS_PUBLISHER | HAS_OBSERVER) ||
	    !expected || count != expected)
		ret = -EBADMSG;
	if (!ret && parcel.contents & HAS_PUBLISHER)
		ret = cb_publisher_wrap(fds[0], &publisher);
	if (!ret && parcel.contents & HAS_OBSERVER)
		ret = cb_observer_wrap(fds[count - 1], &observer);
	if (!ret && publisher && observer)
		ret = check_pair(publisher, observer);
	if (!ret) {
		*publisher_out = publisher;
		*observer_out = observer;
		return 0;
	}

	/* A handle that was wrapped closes its descriptor itself. */
	while (count--)
		if ((!publisher || fds[count] != publisher->fd) &&
		    (!observer || fds[count] != observer->fd))
			close(fds[count]);
	chipboot_publisher_close(publisher);
	chipboot_observer_close(observer);
	if (ret != -ENOMEM && ret != -ESTALE)
		ret = cb_errorf(EBADMSG,
				"what came over the socket is not a parcel of chipboot handles");
	return ret;
}
