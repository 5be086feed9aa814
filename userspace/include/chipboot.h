/* SPDX-License-Identifier: MIT */
/*
 * libchipboot: a launcher, N runtime processes, one answer from each.
 *
 * This is the whole interface of the library, for C and C++.  A session has N
 * channels.  The launcher creates it and owns it, a publisher answers for one
 * channel, once, and an observer reads every channel and waits for them.
 *
 * The header does not include <linux/chipboot.h> on purpose: programs see
 * handles, answers and descriptors to poll, and nothing says what stands
 * behind them.  So it has names of its own, and both can be included together;
 * the library asserts at compile time that the numbers agree.
 *
 * Errors.  Functions return 0, or what their comment says, or a negative errno
 * and then nothing has changed.  chipboot_explain() says what to do about it.
 * Every function can also return
 *	-EINVAL	a NULL that is not allowed, an unknown flag
 *	-EBADF	a handle that a fork has dropped, see chipboot_fork()
 *	-ENOMEM, -EMFILE, -ENFILE
 *
 * Threads.  Every function may be called from any thread and on any handle at
 * the same time as any other, with two exceptions: a handle must not be in use
 * while it is closed, and the functions that touch the environment (named
 * there) follow setenv(3).  Nothing blocks except chipboot_wait() and
 * chipboot_receive(), and chipboot_send() on a full socket.  None is safe in a
 * signal handler, except chipboot_state() and chipboot_page_state().
 *
 * Descriptors.  All of them are close-on-exec, until chipboot_exec_prepare().
 *
 * Clocks.  *_ns is nanoseconds.  Points in time are CLOCK_MONOTONIC of the host,
 * which differs from the process's own in a time namespace: compare them with
 * &chipboot_info.now_ns.
 */
#ifndef CHIPBOOT_H
#define CHIPBOOT_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The library has its inline functions as symbols too, for bindings: ffi.c. */
#ifndef CHIPBOOT_STATIC
#define CHIPBOOT_STATIC static
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Answers --------------------------------------------------------------- */

/** enum - what a channel says */
enum {
	CHIPBOOT_STATE_IDLE	= 0,	/* no answer yet */
	CHIPBOOT_STATE_SUCCESS	= 1,	/* the chip is up; the payload is valid */
	CHIPBOOT_STATE_ERROR	= 2,	/* it is not: error_code, message, origin */
};

/** enum - who gave the answer */
enum {
	CHIPBOOT_BY_NOBODY	= 0,	/* IDLE */
	CHIPBOOT_BY_PUBLISHER	= 1,	/* the runtime process */
	CHIPBOOT_BY_EXIT	= 2,	/* it died first; -EOWNERDEAD, wait_status */
	CHIPBOOT_BY_CLOSE	= 3,	/* it let go of its handle; -EOWNERDEAD */
	CHIPBOOT_BY_DEADLINE	= 4,	/* the session's deadline; -ETIMEDOUT */
	CHIPBOOT_BY_OWNER	= 5,	/* chipboot_session_abort() */
};

/* &chipboot_answer.flags */
#define CHIPBOOT_HAS_STATUS	0x01	/* the process died, wait_status is valid */
#define CHIPBOOT_WAS_CUT	0x02	/* the message was longer than fits */
#define CHIPBOOT_OOM_KILLED	0x04	/* a hint: the OOM killer chose it */
#define CHIPBOOT_IS_GONE	0x08	/* answered SUCCESS and has died since */

/** CHIPBOOT_MAX_WORDS - buffer pointers in an answer */
#define CHIPBOOT_MAX_WORDS	376
/** CHIPBOOT_MAX_TEXT - bytes of a message, without its NUL */
#define CHIPBOOT_MAX_TEXT	1023

/**
 * struct chipboot_answer - a channel as chipboot_read() gives it
 * @state: CHIPBOOT_STATE_*
 * @error_code: in ERROR: the publisher's code, or a negative errno, see CHIPBOOT_BY_*
 * @count: number of valid @words, 0 to CHIPBOOT_MAX_WORDS
 * @seq: internal
 * @device_ctx: in SUCCESS: the publisher's device context; not interpreted
 * @window_base: in SUCCESS: base of its window; not interpreted
 * @window_size: in SUCCESS: bytes in the window; not interpreted
 * @updated_ns: when it last changed, progress included; 0: never
 * @publisher_pid: the process whose death counts, else the one that published, in
 *	the pid namespace of the session's creator; 0: none, or not visible there.
 *	chipboot_channel_info() has it in the caller's
 * @generation: 1 at first, one more by each reset; wraps
 * @order: 1 for the first answer in the session's life, 2 for the second, ...
 * @wait_status: as waitpid(2) gives it, if CHIPBOOT_HAS_STATUS
 * @origin: CHIPBOOT_BY_*
 * @flags: CHIPBOOT_HAS_STATUS and so on
 * @words: buffer pointers; not interpreted
 * @message: IDLE: the last progress text; ERROR: the cause; SUCCESS: empty.
 *	NUL-terminated.  Untrusted bytes of unknown encoding
 *
 * It has the layout of the shared page itself, so it will never grow.
 */
struct chipboot_answer {
	int32_t  state;
	int32_t  error_code;
	int32_t  count;
	uint32_t seq;
	uint64_t device_ctx;
	uint64_t window_base;
	uint64_t window_size;
	uint64_t updated_ns;
	int32_t  publisher_pid;
	uint32_t generation;
	uint32_t order;
	uint16_t wait_status;
	uint8_t  origin;
	uint8_t  flags;
	uint64_t words[CHIPBOOT_MAX_WORDS];
	char     message[CHIPBOOT_MAX_TEXT + 1];
};

/*
 * What a handle's descriptor is readable for, besides what poll() reports on every
 * handle (POLLPRI: a channel is ERROR; POLLHUP: the owner died or closed its session
 * without detaching; POLLERR: a publisher that a reset dropped)
 */
#define CHIPBOOT_ON_COMPLETE	0x1	/* no channel is IDLE */
#define CHIPBOOT_ON_GONE	0x2	/* one that was up has died */
#define CHIPBOOT_ON_CHANGE	0x4	/* any change since chipboot_observer_info(ACK) */
#define CHIPBOOT_ON_ERROR	0x8	/* at least one channel is ERROR */

/** enum - &chipboot_info.owner_state */
enum {
	CHIPBOOT_OWNER_IS_ALIVE		= 0,	/* with a copy of its handle open */
	CHIPBOOT_OWNER_HAS_DETACHED	= 1,	/* by chipboot_session_detach() */
	CHIPBOOT_OWNER_HAS_CLOSED	= 2,	/* without detaching; it may live */
	CHIPBOOT_OWNER_IS_DEAD		= 3,	/* the process died */
};

/** CHIPBOOT_NOBODY - &chipboot_info.first_failed when none has failed */
#define CHIPBOOT_NOBODY		UINT32_MAX

/**
 * struct chipboot_info - where a session stands, all of it at one moment
 * @session_id: no other session of this host had it since boot
 * @now_ns: when
 * @deadline_ns: the session's deadline, passed or not; 0: none
 * @channels: N
 * @idle: how many have not answered
 * @success: how many are up
 * @error: how many have failed
 * @gone: how many of @success have died since
 * @first_failed: the channel that failed first, or CHIPBOOT_NOBODY
 * @owner_state: CHIPBOOT_OWNER_*
 * @owner_pid: in the caller's pid namespace, also after its death; 0: not visible
 * @events: CHIPBOOT_ON_* this handle is subscribed to
 * @holds: CHIPBOOT_ON_* that hold now, subscribed to or not
 * @reserved: zero
 */
struct chipboot_info {
	uint64_t session_id;
	uint64_t now_ns;
	uint64_t deadline_ns;
	uint32_t channels;
	uint32_t idle;
	uint32_t success;
	uint32_t error;
	uint32_t gone;
	uint32_t first_failed;
	uint32_t owner_state;
	int32_t  owner_pid;
	uint32_t events;
	uint32_t holds;
	uint64_t reserved[8];
};

/**
 * struct chipboot_channel - what chipboot_read() does not say of a channel
 * @state: CHIPBOOT_STATE_*
 * @generation: as in &struct chipboot_answer
 * @pid: publisher_pid in the caller's pid namespace; 0: none or not visible
 * @bound: 1 if the death of a living process is being watched, else 0
 * @reserved: zero
 */
struct chipboot_channel {
	uint32_t state;
	uint32_t generation;
	int32_t  pid;
	uint32_t bound;
	uint64_t reserved[4];
};

/* The three kinds of handle.  Only the library makes them. */
struct chipboot_session;
struct chipboot_publisher;
struct chipboot_observer;

/**
 * struct chipboot_map - the first member of a chipboot_observer
 * @base: channel 0's page, read-only
 * @stride: bytes from one channel's page to the next; never assume 4096
 * @channels: N
 *
 * Public only for chipboot_state() to be inline.
 */
struct chipboot_map {
	const unsigned char *base;
	size_t stride;
	uint32_t channels;
};

/* Owning a session ------------------------------------------------------ */

/**
 * chipboot_session_create - make a session owned by the calling process
 * @channels: N, at least 1
 *
 * A launcher that daemonizes does so first: only the process that calls this owns
 * it, its forked children do not.
 *
 * -ENXIO: the module is not installed or not loaded, or a container has no device.
 * -EACCES: no permission.  -EPROTONOSUPPORT: the module is too old.  -ERANGE,
 * -EDQUOT, -ENOSPC: a limit per session, per user, of the host.
 */
int chipboot_session_create(struct chipboot_session **session,
			    uint32_t channels);

/**
 * chipboot_session_close - close a session's handles and free it
 *
 * In the owner without chipboot_session_detach() the others see POLLHUP.  In a
 * forked child it closes the child's copies and touches nobody.  Publishers and
 * observers made from it stay valid, except chipboot_session_observer().  NULL is
 * ignored.
 */
void chipboot_session_close(struct chipboot_session *session);

/**
 * chipboot_session_detach - give up ownership; nobody sees POLLHUP
 *
 * No death signal is sent, the deadline stays armed.  Final.
 * -EPERM: not the owner process, or detached already.
 */
int chipboot_session_detach(struct chipboot_session *session);

/** chipboot_session_channels - how many channels the session has: N */
uint32_t chipboot_session_channels(const struct chipboot_session *session);

/**
 * chipboot_session_fd - the descriptor to poll, readable on COMPLETE
 *
 * Returns it; it belongs to the session.  -EBADF in a child that has dropped that.
 */
int chipboot_session_fd(const struct chipboot_session *session);

/**
 * chipboot_session_observer - the session's own observer (COMPLETE)
 *
 * For chipboot_read(), chipboot_wait() and so on; it is closed with the session.
 * NULL in a child that has dropped the session.
 */
struct chipboot_observer *
chipboot_session_observer(const struct chipboot_session *session);

/**
 * chipboot_session_observe - make another observer
 * @events: CHIPBOOT_ON_*, 0 for CHIPBOOT_ON_COMPLETE
 *
 * -EPERM: not the owner process, or detached.
 */
int chipboot_session_observe(struct chipboot_session *session, uint32_t events,
			     struct chipboot_observer **observer);

/**
 * chipboot_session_claim - take a channel, to answer for it or to hand it on
 *
 * If the last copy is closed before an answer, the channel becomes ERROR by
 * CHIPBOOT_BY_CLOSE, unless the process that is bound is exiting: then by its death.
 *
 * -EPERM: not the owner process, or detached.  -ENOENT: no such channel.  -EBUSY: its
 * claim lives.  -EALREADY, -ECANCELED: answered, by its publisher or another.
 */
int chipboot_session_claim(struct chipboot_session *session, uint32_t channel,
			   struct chipboot_publisher **publisher);

/** CHIPBOOT_KEEP_PUBLISHERS - living publishers carry over, see reset */
#define CHIPBOOT_KEEP_PUBLISHERS	0x1

/**
 * chipboot_session_reset - answered channels become IDLE, in a new generation
 * @first: first channel
 * @count: how many, at least 1
 * @flags: 0, or CHIPBOOT_KEEP_PUBLISHERS: publishers then go on, each after
 *	chipboot_publisher_refresh()
 *
 * -EPERM: not the owner process, or detached.  -ENOENT: the range leaves the session.
 * -EBUSY: a channel in it is IDLE.
 */
int chipboot_session_reset(struct chipboot_session *session, uint32_t first,
			   uint32_t count, uint32_t flags);

/**
 * chipboot_session_abort - IDLE channels become ERROR by CHIPBOOT_BY_OWNER
 * @first: first channel
 * @count: how many, at least 1; those that have answered are left alone
 * @error_code: any
 * @text: the cause, cut like chipboot_publish_error()'s
 *
 * Returns how many were IDLE.  -EPERM, -ENOENT: as chipboot_session_reset().
 */
int chipboot_session_abort(struct chipboot_session *session, uint32_t first,
			   uint32_t count, int32_t error_code,
			   const char *text);

/**
 * chipboot_session_set_deadline - channels IDLE then become ERROR, -ETIMEDOUT
 * @ns: from now; 0 clears the deadline
 *
 * Moving it is allowed.  -EPERM: not the owner process, or detached.
 */
int chipboot_session_set_deadline(struct chipboot_session *session,
				  uint64_t ns);

/**
 * chipboot_session_set_deadline_at - the same with a point in time
 * @ns: on the clock of &chipboot_info.now_ns; a past one fires before this returns;
 *	0 clears
 */
int chipboot_session_set_deadline_at(struct chipboot_session *session,
				     uint64_t ns);

/** chipboot_session_info - where it stands */
int chipboot_session_info(const struct chipboot_session *session,
			  struct chipboot_info *info);

/* Starting runtime processes -------------------------------------------- */

/**
 * chipboot_fork - fork the runtime process of a channel
 * @channel: which; it must not be claimed
 * @death_signal: signal the child gets when this process dies; 0: none
 * @events: CHIPBOOT_ON_* for the child's observer; 0 for CHIPBOOT_ON_COMPLETE
 * @publisher: in the child: its publisher
 * @observer: in the child: its observer
 *
 * Returns the child's pid, and 0 in the child.  The child runs on only once its
 * death is watched, and has of this session nothing but the two handles: every
 * other handle that this process made from it is closed there, and fails with
 * -EBADF.  Closing those again is harmless, so frames may be unwound.  Handles of
 * other sessions stay as fork() leaves them.  In the parent @publisher and
 * @observer are set to NULL.
 *
 * Errors: as chipboot_session_claim(), and -EAGAIN.  If watching the child fails,
 * the child is killed and reaped.
 */
pid_t chipboot_fork(struct chipboot_session *session, uint32_t channel,
		    int death_signal, uint32_t events,
		    struct chipboot_publisher **publisher,
		    struct chipboot_observer **observer);

/**
 * chipboot_session_child - become a channel's runtime process after a plain fork
 * @channel: one that the parent claimed before it forked
 * @death_signal: signal to get when the owner dies; 0: none
 * @events: as chipboot_fork()
 * @publisher: the one chipboot_session_claim() gave, with this process bound
 * @observer: a new observer
 *
 * Called in the child.  Drops every other handle, as chipboot_fork() does.  The
 * parent should chipboot_publisher_bind() the child as well, which covers a
 * death before this call, and close its own copy.
 *
 * -EPERM: called in the owner process itself.  -ENOENT: not claimed before the fork.
 * -EBUSY: another living process is bound to it.
 * -EOWNERDEAD: the owner is dead, and @death_signal was asked for: it is on its way.
 */
int chipboot_session_child(struct chipboot_session *session, uint32_t channel,
			   int death_signal, uint32_t events,
			   struct chipboot_publisher **publisher,
			   struct chipboot_observer **observer);

/**
 * chipboot_exec_prepare - let exactly these handles through the next exec
 * @publisher: or NULL
 * @observer: or NULL
 *
 * Called in the child just before exec.  Clears close-on-exec on their descriptors
 * and sets CHIPBOOT_CHANNEL, CHIPBOOT_CHANNELS, CHIPBOOT_PUBLISHER_FD and
 * CHIPBOOT_OBSERVER_FD; a variable that describes nothing is removed.  Uses
 * setenv(3): in the child of a process with threads, see signal-safety(7).
 */
int chipboot_exec_prepare(struct chipboot_publisher *publisher,
			  struct chipboot_observer *observer);

/**
 * chipboot_from_env - take the handles that chipboot_exec_prepare() let through
 * @publisher: or NULL if it is not wanted
 * @observer: or NULL if it is not wanted
 *
 * Once in a process: the handles become close-on-exec again, what is not wanted is
 * closed, and the variables are removed (unsetenv(3)).  The descriptors are checked
 * to be handles of one session and of that channel; after an error all is as before.
 *
 * -ENOENT: a variable is not set: not started by a launcher.  -EINVAL: not a number
 * or out of range.  -EBADF, -ENOTTY: a descriptor is not open, or not a chipboot
 * handle of that kind.  -EBADMSG: handles of another session or channel.
 * -ESTALE: the launcher has reset the channel.
 */
int chipboot_from_env(struct chipboot_publisher **publisher,
		      struct chipboot_observer **observer);

/**
 * chipboot_send - send handles to another process
 * @socket: a connected unix socket, stream or datagram
 * @publisher: or NULL
 * @observer: or NULL; not both
 *
 * The sender keeps its copies; it should close the publisher.
 *
 * Errors: those of sendmsg(2).
 */
int chipboot_send(int socket, struct chipboot_publisher *publisher,
		  struct chipboot_observer *observer);

/**
 * chipboot_receive - receive what chipboot_send() sent
 * @publisher: set to NULL if none was sent
 * @observer: set to NULL if none was sent
 *
 * The receiver should chipboot_publisher_bind() itself.  Who may send is between the
 * caller and its socket.  Descriptors that do not belong are closed.
 *
 * -ENODATA: the peer has closed.  -EBADMSG: not what chipboot_send() sends.
 * -ESTALE: the publisher was reset on its way.
 *
 * Errors: else those of recvmsg(2).
 */
int chipboot_receive(int socket, struct chipboot_publisher **publisher,
		     struct chipboot_observer **observer);

/* Publishing ------------------------------------------------------------ */

/**
 * chipboot_publisher_close - close this copy and free it; NULL is ignored
 *
 * The last copy of an unanswered channel makes it ERROR.
 */
void chipboot_publisher_close(struct chipboot_publisher *publisher);

/**
 * chipboot_publisher_fd - the descriptor to poll, readable on COMPLETE
 *
 * Returns it; it belongs to the handle.
 */
int chipboot_publisher_fd(const struct chipboot_publisher *publisher);

/** chipboot_publisher_channel - which channel */
uint32_t chipboot_publisher_channel(const struct chipboot_publisher *publisher);

/** chipboot_publisher_generation - the generation it publishes in */
uint32_t
chipboot_publisher_generation(const struct chipboot_publisher *publisher);

/**
 * chipboot_publisher_bind - say whose death is this channel's
 * @pid: 0 for the calling process, or its child (a zombie too)
 * @death_signal: signal that process gets when the owner dies; 0: none
 *
 * A process that is dead already makes an IDLE channel ERROR at once.
 *
 * -ESRCH: no such process.  -EPERM: neither the caller nor its child.  -EBUSY: bound
 * to a living process, and the caller is neither that nor the owner.
 * -ESTALE: a reset dropped the handle.
 */
int chipboot_publisher_bind(struct chipboot_publisher *publisher, pid_t pid,
			    int death_signal);

/**
 * chipboot_publisher_refresh - move on to the channel's present generation
 *
 * After a reset with CHIPBOOT_KEEP_PUBLISHERS publishing fails with -ESTALE until
 * then, so that a late answer of the last round cannot land in this one.
 * -ESTALE: the reset dropped the handle.
 */
int chipboot_publisher_refresh(struct chipboot_publisher *publisher);

/**
 * chipboot_publish_success - answer: the chip is up
 * @device_ctx: any
 * @window_base: any
 * @window_size: any
 * @words: buffer pointers; may be NULL if @count is 0
 * @count: 0 to CHIPBOOT_MAX_WORDS
 *
 * -EALREADY: answered before.  -ECANCELED: another verdict was first (the deadline, an
 * abort, a death).  -ESTALE: the channel was reset.  -EOVERFLOW: @count.
 */
int chipboot_publish_success(struct chipboot_publisher *publisher,
			     uint64_t device_ctx, uint64_t window_base,
			     uint64_t window_size, const uint64_t *words,
			     uint32_t count);

/**
 * chipboot_publish_error - answer: it is not
 * @error_code: any
 * @text: the cause, for a person to read.  More than CHIPBOOT_MAX_TEXT bytes are cut,
 *	at the end of a UTF-8 character, and the answer says so (CHIPBOOT_WAS_CUT)
 *
 * Errors: as chipboot_publish_success().
 */
int chipboot_publish_error(struct chipboot_publisher *publisher,
			   int32_t error_code, const char *text);

/**
 * chipboot_progress - say what is being done
 * @text: cut like chipboot_publish_error()'s
 *
 * -EALREADY: the channel has an answer, whoever gave it.  -ESTALE: it was reset.
 */
int chipboot_progress(struct chipboot_publisher *publisher, const char *text);

/** chipboot_publisher_info - where the session stands; a stale handle may ask too */
int chipboot_publisher_info(const struct chipboot_publisher *publisher,
			    struct chipboot_info *info);

/* Observing ------------------------------------------------------------- */

/**
 * chipboot_observer_from_fd - an observer around a descriptor got elsewhere
 * @fd: of an observer handle, by pidfd_getfd(2) or a protocol of one's own.  The
 *	observer owns it from here on; after an error it is still the caller's
 *
 * -ENOTTY: not an observer.
 */
int chipboot_observer_from_fd(int fd, struct chipboot_observer **observer);

/** chipboot_observer_close - unmap, close and free; NULL is ignored */
void chipboot_observer_close(struct chipboot_observer *observer);

/**
 * chipboot_observer_fd - the descriptor to poll, readable on the observer's events
 *
 * Returns it; it belongs to the handle.
 */
int chipboot_observer_fd(const struct chipboot_observer *observer);

/** chipboot_observer_channels - how many channels the session has: N */
uint32_t chipboot_observer_channels(const struct chipboot_observer *observer);

/**
 * chipboot_observer_observe - make another observer from this one
 * @events: CHIPBOOT_ON_*; 0 for those of this one.  -EPERM: more than those
 */
int chipboot_observer_observe(struct chipboot_observer *observer,
			      uint32_t events,
			      struct chipboot_observer **another);

/**
 * chipboot_page - the channel's page itself, read-only; NULL: no such channel
 *
 * For those who read in place after chipboot_state(), where nobody resets meanwhile:
 * check count against CHIPBOOT_MAX_WORDS.  Everybody else calls chipboot_read().
 */
CHIPBOOT_STATIC inline const struct chipboot_answer *
chipboot_page(const struct chipboot_observer *observer, uint32_t channel)
{
	const struct chipboot_map *map = (const struct chipboot_map *)observer;

	return channel < map->channels ?
	       (const struct chipboot_answer *)(map->base +
						channel * map->stride) : NULL;
}

/**
 * chipboot_page_state - what a channel says, by its page: one acquire load
 * @page: of chipboot_page(); not NULL
 *
 * For who looks at one channel again and again.  Returns CHIPBOOT_STATE_*.  -EPROTO: an
 * unknown state.  Safe in a signal handler.
 */
CHIPBOOT_STATIC inline int
chipboot_page_state(const struct chipboot_answer *page)
{
	/* Pairs with the release store that ends an answer's writing. */
	const int32_t state = __atomic_load_n(&page->state, __ATOMIC_ACQUIRE);

	return state >= CHIPBOOT_STATE_IDLE && state <= CHIPBOOT_STATE_ERROR ?
	       state : -EPROTO;
}

/**
 * chipboot_state - what a channel says: one acquire load, no system call
 *
 * Returns CHIPBOOT_STATE_*.  -ENOENT: no such channel.  -EPROTO: an unknown state.
 * Safe in a signal handler.  After SUCCESS or ERROR, chipboot_page() is whole, until
 * the owner resets.
 */
CHIPBOOT_STATIC inline int
chipboot_state(const struct chipboot_observer *observer, uint32_t channel)
{
	const struct chipboot_map *map = (const struct chipboot_map *)observer;

	if (channel >= map->channels)
		return -ENOENT;
	return chipboot_page_state((const struct chipboot_answer *)
				   (map->base + channel * map->stride));
}

/**
 * chipboot_read - a consistent copy of a channel, whoever resets meanwhile
 *
 * Returns its state, CHIPBOOT_STATE_*.  No system call, unless the page is being
 * written all the time.
 *
 * -ENOENT: no such channel.  -EPROTO: the page holds an unknown state, a count out of
 * range or a message without end; @answer then holds it as it is.
 */
int chipboot_read(const struct chipboot_observer *observer, uint32_t channel,
		  struct chipboot_answer *answer);

/** CHIPBOOT_WAIT_FAIL_FAST - return at the first ERROR */
#define CHIPBOOT_WAIT_FAIL_FAST		0x1
/** CHIPBOOT_WAIT_INTERRUPTIBLE - return -EINTR when a signal handler ran */
#define CHIPBOOT_WAIT_INTERRUPTIBLE	0x2

/** CHIPBOOT_ALL - chipboot_wait() for every channel */
#define CHIPBOOT_ALL			0
/** CHIPBOOT_FOREVER - chipboot_wait() without a time limit of its own */
#define CHIPBOOT_FOREVER		(-1)

/**
 * chipboot_wait - sleep until channels have answered
 * @count: how many must have, or CHIPBOOT_ALL.  Fewer than all needs an observer with
 *	CHIPBOOT_ON_CHANGE, or the session's own
 * @timeout_ns: at most so long, whatever signals arrive; 0: look only; negative:
 *	for ever.  The session's deadline ends a wait as well: by answers
 * @spin_ns: look at the pages for so long before sleeping; 0: sleep at once
 * @flags: CHIPBOOT_WAIT_*
 *
 * Returns how many have answered, at least @count; less than that only with
 * CHIPBOOT_WAIT_FAIL_FAST, after an ERROR.
 *
 * -ETIMEDOUT: not in time.  -EOWNERDEAD: the owner is gone and not as many have
 * answered (who detached is not gone).  -EPERM: see @count.  -EINVAL: more than N.
 * -EINTR: with CHIPBOOT_WAIT_INTERRUPTIBLE, a signal handler ran.
 */
int chipboot_wait(const struct chipboot_observer *observer, uint32_t count,
		  int64_t timeout_ns, uint64_t spin_ns, uint32_t flags);

/** CHIPBOOT_ACK - chipboot_observer_info() has seen every change up to now */
#define CHIPBOOT_ACK	0x1

/**
 * chipboot_observer_info - where the session stands
 * @flags: 0, or CHIPBOOT_ACK: CHIPBOOT_ON_CHANGE holds again at the next change
 */
int chipboot_observer_info(const struct chipboot_observer *observer,
			   uint32_t flags, struct chipboot_info *info);

/**
 * chipboot_observer_pending - which channels are IDLE
 * @bitmap: bit i % 64 of word i / 64 is channel i; all words are written
 * @words: 1 to 1024
 */
int chipboot_observer_pending(const struct chipboot_observer *observer,
			      uint64_t *bitmap, uint32_t words);

/** chipboot_channel_info - pid and binding of a channel.  -ENOENT: no such channel */
int chipboot_channel_info(const struct chipboot_observer *observer,
			  uint32_t channel, struct chipboot_channel *info);

/* Words for people ------------------------------------------------------ */

/**
 * chipboot_explain - what an error means and what to do about it
 * @error: what a function returned, negative or positive
 * @buffer: gets the text, NUL-terminated, cut if it does not fit
 *
 * If it is the calling thread's last error in this library, the text has what was
 * found at that moment: which group, both versions, which limit.  Returns @buffer.
 */
const char *chipboot_explain(int error, char *buffer, size_t size);

/** chipboot_state_name - a state as a word: "idle", "success", "error"; "unknown" */
const char *chipboot_state_name(int state);

/**
 * chipboot_origin_name - an origin as a word
 *
 * Returns "none", "publisher", "exit", "closed", "deadline", "owner"; else "unknown".
 */
const char *chipboot_origin_name(int origin);

/**
 * struct chipboot_versions - what is installed and what is loaded
 * @library_abi: the newest kernel interface the library knows
 * @module_abi: the module's; a newer one is fine
 * @max_channels_per_session: the module's limit now
 * @reserved: zero
 * @library: the library's version
 * @module: the module's version
 */
struct chipboot_versions {
	uint32_t library_abi;
	uint32_t module_abi;
	uint32_t max_channels_per_session;
	uint32_t reserved;
	char     library[32];
	char     module[32];
};

/**
 * chipboot_get_versions - ask the module what it is
 *
 * Errors: -ENXIO, -EACCES, -EPROTONOSUPPORT as chipboot_session_create(); the
 * library's part is filled in all the same.
 */
int chipboot_get_versions(struct chipboot_versions *versions);

#ifdef __cplusplus
}
#endif

#endif /* CHIPBOOT_H */
