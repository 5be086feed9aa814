/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * chipboot: the answers of N accelerator runtime processes, one page each.
 *
 * This file is the whole interface between the module and its users: the
 * channel page, the ioctls of the four kinds of handle, and what each errno
 * means.  Documentation/design.md says why it has this shape.
 *
 * Extending a struct: fields are only ever added at the end, and zero in a new
 * field means what the older kernel did.  The kernel takes the size from the
 * ioctl number, reads at most what it knows, refuses a longer struct with a
 * non-zero tail (E2BIG) and one shorter than the first version (EINVAL), and
 * writes back no more than the caller's size.
 */
#ifndef _LINUX_CHIPBOOT_H
#define _LINUX_CHIPBOOT_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * CHIPBOOT_ABI_VERSION - the number CHIPBOOT_IOC_VERSION returns
 *
 * It grows when something is added.  Nothing is ever removed or changed.
 */
#define CHIPBOOT_ABI_VERSION	1

/* The mapped page ------------------------------------------------------- */

/** CHIPBOOT_PAGE_SIZE - bytes of a channel page that carry the layout below */
#define CHIPBOOT_PAGE_SIZE	4096
/** CHIPBOOT_WORDS_MAX - capacity of &chipboot_page.words */
#define CHIPBOOT_WORDS_MAX	376
/** CHIPBOOT_MESSAGE_SIZE - bytes of &chipboot_page.message, with the NUL */
#define CHIPBOOT_MESSAGE_SIZE	1024

/**
 * enum chipboot_state - what a channel says (&chipboot_page.state)
 * @CHIPBOOT_IDLE: no answer yet
 * @CHIPBOOT_SUCCESS: the chip is up; the payload is valid
 * @CHIPBOOT_ERROR: the chip is not; @error_code, @message and @origin say why
 */
enum chipboot_state {
	CHIPBOOT_IDLE		= 0,
	CHIPBOOT_SUCCESS	= 1,
	CHIPBOOT_ERROR		= 2
};

/**
 * enum chipboot_origin - who gave the answer (&chipboot_page.origin)
 * @CHIPBOOT_ORIGIN_NONE: nobody yet (the channel is IDLE)
 * @CHIPBOOT_ORIGIN_PUBLISHER: the holder of the publisher handle
 * @CHIPBOOT_ORIGIN_EXIT: the kernel: the bound process died; @wait_status is
 *	valid, @error_code is -EOWNERDEAD
 * @CHIPBOOT_ORIGIN_CLOSED: the kernel: the last copy of the publisher handle
 *	was closed; the process may live; @error_code is -EOWNERDEAD
 * @CHIPBOOT_ORIGIN_DEADLINE: the kernel: the session's deadline passed;
 *	@error_code is -ETIMEDOUT
 * @CHIPBOOT_ORIGIN_OWNER: the owner, by CHIPBOOT_IOC_ABORT
 */
enum chipboot_origin {
	CHIPBOOT_ORIGIN_NONE		= 0,
	CHIPBOOT_ORIGIN_PUBLISHER	= 1,
	CHIPBOOT_ORIGIN_EXIT		= 2,
	CHIPBOOT_ORIGIN_CLOSED		= 3,
	CHIPBOOT_ORIGIN_DEADLINE	= 4,
	CHIPBOOT_ORIGIN_OWNER		= 5
};

/* &chipboot_page.flags; the other bits are reserved and zero */
/** CHIPBOOT_PAGE_STATUS_VALID - the bound process died, wait_status is valid */
#define CHIPBOOT_PAGE_STATUS_VALID	0x01
/** CHIPBOOT_PAGE_TRUNCATED - the message was cut to fit, by whoever gave it */
#define CHIPBOOT_PAGE_TRUNCATED		0x02
/** CHIPBOOT_PAGE_OOM_VICTIM - a hint: the OOM killer chose the dead process */
#define CHIPBOOT_PAGE_OOM_VICTIM	0x04
/** CHIPBOOT_PAGE_GONE - answered SUCCESS, and the process has died since */
#define CHIPBOOT_PAGE_GONE		0x08

/**
 * struct chipboot_page - the first 4096 bytes of a mapped channel
 * @state: enum chipboot_state.  The one word a reader polls, by an acquire load
 * @error_code: in ERROR: the publisher's code, or a negative errno by the kernel
 * @count: number of valid @words, 0 to CHIPBOOT_WORDS_MAX
 * @seq: sequence count; odd while the kernel writes.  It wraps: compare for
 *	equality only
 * @device_ctx: in SUCCESS: the publisher's device context; not interpreted
 * @local_window_base: in SUCCESS: base of the window; not interpreted
 * @actual_window_size: in SUCCESS: bytes in the window; not interpreted
 * @updated_ns: CLOCK_MONOTONIC of the host (not of a time namespace) at the last
 *	change, progress included; 0 before the first
 * @publisher_pid: the bound process, else the process that published, as
 *	numbered in the pid namespace of the session's creator; 0 if none or not
 *	visible there.  CHIPBOOT_IOC_STATUS gives it in the caller's namespace
 * @generation: 1 at creation, one more by each CHIPBOOT_IOC_RESET; wraps
 * @order: 1 for the first answer in the session's life, 2 for the second, ...;
 *	0 while IDLE.  Taken together with @updated_ns, and not restarted by RESET
 * @wait_status: as waitpid() gives it, if CHIPBOOT_PAGE_STATUS_VALID; of the
 *	process that was bound when it died, which after a BIND to a channel that
 *	is SUCCESS already may be another than @publisher_pid
 * @origin: enum chipboot_origin
 * @flags: CHIPBOOT_PAGE_*
 * @words: buffer pointers; not interpreted
 * @message: IDLE: the last progress text.  ERROR: the cause.  SUCCESS: empty.
 *	NUL-terminated always; bytes behind the NUL are zero.  It comes from the
 *	publisher: treat it as untrusted text of unknown encoding
 *
 * Native byte order.  The page is mapped read-only; only the kernel writes it.
 * The rest of a page larger than 4096 bytes is zero.
 *
 * Reading one word::
 *
 *	state = __atomic_load_n(&page->state, __ATOMIC_ACQUIRE);
 *
 * pairs with the kernel's release store: in SUCCESS and ERROR the whole payload
 * of that answer is visible.  An answer is final until the owner RESETs, so
 * where nobody resets while others read, nothing more is needed.
 *
 * A snapshot that holds against RESET as well::
 *
 *	do {
 *		seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);
 *		if (seq & 1)
 *			continue;
 *		memcpy(&copy, page, sizeof(copy));
 *		__atomic_thread_fence(__ATOMIC_ACQUIRE);
 *	} while ((seq & 1) ||
 *		 seq != __atomic_load_n(&page->seq, __ATOMIC_RELAXED));
 *
 * The kernel writes with preemption off, in a few microseconds.  Bound the
 * number of retries all the same and take CHIPBOOT_IOC_READ when they run out.
 */
struct chipboot_page {
	__s32 state;
	__s32 error_code;
	__s32 count;
	__u32 seq;
	__u64 device_ctx;
	__u64 local_window_base;
	__u64 actual_window_size;
	__u64 updated_ns;
	__s32 publisher_pid;
	__u32 generation;
	__u32 order;
	__u16 wait_status;
	__u8  origin;
	__u8  flags;
	__u64 words[CHIPBOOT_WORDS_MAX];
	char  message[CHIPBOOT_MESSAGE_SIZE];
};

/* Events ---------------------------------------------------------------- */

/*
 * What a handle subscribes to.  EPOLLIN holds while one of them holds.  Owner
 * and publisher handles wait for COMPLETE.  Besides, on every handle:
 *
 *	EPOLLPRI	at least one channel is ERROR
 *	EPOLLHUP	the owner is gone: it died, or its last handle was closed
 *			without CHIPBOOT_IOC_DETACH
 *	EPOLLERR	(publisher) the handle is stale: RESET dropped it
 */
/** CHIPBOOT_EVENT_COMPLETE - no channel is IDLE, and no RESET is under way */
#define CHIPBOOT_EVENT_COMPLETE	0x1
/** CHIPBOOT_EVENT_GONE - a channel answered SUCCESS and its process died since */
#define CHIPBOOT_EVENT_GONE	0x2
/**
 * CHIPBOOT_EVENT_CHANGE - something changed (progress, a binding and the owner's
 * state included) since this handle's last STATUS with CHIPBOOT_STATUS_ACK;
 * holds before the first
 */
#define CHIPBOOT_EVENT_CHANGE	0x4
/** CHIPBOOT_EVENT_ERROR - at least one channel is ERROR */
#define CHIPBOOT_EVENT_ERROR	0x8
/** CHIPBOOT_EVENT_ALL - every event of this version */
#define CHIPBOOT_EVENT_ALL	0xf

/* Arguments ------------------------------------------------------------- */

/**
 * struct chipboot_version - argument of CHIPBOOT_IOC_VERSION
 * @abi: out: CHIPBOOT_ABI_VERSION of the module
 * @stride: out: bytes from one channel to the next in an observer's mapping:
 *	the kernel's page size
 * @max_channels_per_session: out: the module parameter's value now
 * @reserved: out: zero
 * @release: out: the module's version, NUL-terminated; the kernel's where the module
 *	is part of it
 */
struct chipboot_version {
	__u32 abi;
	__u32 stride;
	__u32 max_channels_per_session;
	__u32 reserved;
	char  release[32];
};

/**
 * struct chipboot_create - argument of CHIPBOOT_IOC_CREATE
 * @channels: in: number of channels, 1 to max_channels_per_session
 * @flags: in: 0
 * @stride: out: as in &struct chipboot_version
 * @reserved: in, out: 0
 * @session_id: out: a number no other session had since the module was loaded
 */
struct chipboot_create {
	__u32 channels;
	__u32 flags;
	__u32 stride;
	__u32 reserved;
	__u64 session_id;
};

/**
 * struct chipboot_claim - argument of CHIPBOOT_IOC_CLAIM
 * @channel: in: which, from 0
 * @flags: in: 0
 * @generation: out: the channel's generation, to be passed to PUBLISH, PROGRESS
 * @reserved: in, out: 0
 */
struct chipboot_claim {
	__u32 channel;
	__u32 flags;
	__u32 generation;
	__u32 reserved;
};

/**
 * struct chipboot_observe - argument of CHIPBOOT_IOC_OBSERVE
 * @events: in: CHIPBOOT_EVENT_* to be told of; 0: those of this handle
 *	(COMPLETE for an owner).  An observer can hand on only what it has
 * @flags: in: 0
 */
struct chipboot_observe {
	__u32 events;
	__u32 flags;
};

/* &chipboot_reset.flags */
/**
 * CHIPBOOT_RESET_KEEP_PUBLISHERS - living publisher handles and bindings to living
 * processes carry over to the new generation, instead of becoming stale
 */
#define CHIPBOOT_RESET_KEEP_PUBLISHERS	0x1

/**
 * struct chipboot_reset - argument of CHIPBOOT_IOC_RESET
 * @first: in: first channel of the range
 * @count: in: how many, at least 1
 * @flags: in: CHIPBOOT_RESET_*
 * @reserved: in: 0
 */
struct chipboot_reset {
	__u32 first;
	__u32 count;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct chipboot_abort - argument of CHIPBOOT_IOC_ABORT
 * @first: in: first channel of the range
 * @count: in: how many, at least 1.  Those that have answered are left alone
 * @flags: in: 0, or CHIPBOOT_PUBLISH_TRUNCATED
 * @error_code: in: the code each IDLE channel gets
 * @message: in: pointer to the cause
 * @message_len: in: its bytes, 0 to 1023; ends at the first NUL if there is one
 * @aborted: out: how many channels were IDLE and are ERROR now
 */
struct chipboot_abort {
	__u32 first;
	__u32 count;
	__u32 flags;
	__s32 error_code;
	__u64 message;
	__u32 message_len;
	__u32 aborted;
};

/* &chipboot_deadline.flags */
/** CHIPBOOT_DEADLINE_ABSOLUTE - @ns is host CLOCK_MONOTONIC, as in STATUS */
#define CHIPBOOT_DEADLINE_ABSOLUTE	0x1

/**
 * struct chipboot_deadline - argument of CHIPBOOT_IOC_SET_DEADLINE
 * @ns: in: nanoseconds from now, or absolute; 0 clears.  One that has passed
 *	fires at once, before the ioctl returns
 * @flags: in: CHIPBOOT_DEADLINE_*
 * @reserved: in: 0
 */
struct chipboot_deadline {
	__u64 ns;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct chipboot_bind - argument of CHIPBOOT_IOC_BIND
 * @pid: in: the process whose death counts: 0 for the caller's, or a child of the
 *	caller's process (a zombie too), in the caller's pid namespace
 * @death_signal: in: signal it gets when the owner dies, at once if that is dead
 *	(not: detached, closed), 0 for none, else 1 to 64.  It is sent in the name of
 *	the caller of BIND, by kill(2)'s rules
 * @flags: in: 0
 * @reserved: in: 0
 */
struct chipboot_bind {
	__s32 pid;
	__u32 death_signal;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct chipboot_progress - argument of CHIPBOOT_IOC_PROGRESS
 * @generation: in: the generation this is meant for
 * @flags: in: 0, or CHIPBOOT_PUBLISH_TRUNCATED
 * @message: in: pointer to the text
 * @message_len: in: its bytes, 0 to 1023; ends at the first NUL if there is one
 * @reserved: in: 0
 */
struct chipboot_progress {
	__u32 generation;
	__u32 flags;
	__u64 message;
	__u32 message_len;
	__u32 reserved;
};

/* &chipboot_publish.flags, &chipboot_progress.flags, &chipboot_abort.flags */
/** CHIPBOOT_PUBLISH_TRUNCATED - the caller cut the message to fit */
#define CHIPBOOT_PUBLISH_TRUNCATED	0x1

/**
 * struct chipboot_publish - argument of CHIPBOOT_IOC_PUBLISH
 * @generation: in: the generation this is meant for
 * @flags: in: 0, or CHIPBOOT_PUBLISH_TRUNCATED with a message
 * @state: in: CHIPBOOT_SUCCESS or CHIPBOOT_ERROR
 * @error_code: in: ERROR: any value; SUCCESS: 0
 * @device_ctx: in: SUCCESS: any value; ERROR: 0
 * @local_window_base: in: SUCCESS: any value; ERROR: 0
 * @actual_window_size: in: SUCCESS: any value; ERROR: 0
 * @words: in: SUCCESS: pointer to @count words; ERROR: 0
 * @message: in: ERROR: pointer to the cause; SUCCESS: 0
 * @count: in: SUCCESS: 0 to CHIPBOOT_WORDS_MAX; ERROR: 0
 * @message_len: in: ERROR: bytes of the cause, 0 to 1023; ends at the first NUL if
 *	there is one; SUCCESS: 0
 */
struct chipboot_publish {
	__u32 generation;
	__u32 flags;
	__s32 state;
	__s32 error_code;
	__u64 device_ctx;
	__u64 local_window_base;
	__u64 actual_window_size;
	__u64 words;
	__u64 message;
	__u32 count;
	__u32 message_len;
};

/**
 * struct chipboot_read - argument of CHIPBOOT_IOC_READ
 * @channel: in: which
 * @flags: in: 0
 * @page: in: pointer to 4096 bytes for a &struct chipboot_page.  A snapshot taken
 *	under the session's lock; its @seq is even
 */
struct chipboot_read {
	__u32 channel;
	__u32 flags;
	__u64 page;
};

/**
 * enum chipboot_owner_state - &chipboot_status.owner_state
 * @CHIPBOOT_OWNER_ALIVE: the creating process lives and a copy of its handle is open
 * @CHIPBOOT_OWNER_DETACHED: it let go, by CHIPBOOT_IOC_DETACH
 * @CHIPBOOT_OWNER_CLOSED: the last copy of its handle was closed without DETACH;
 *	the process may live
 * @CHIPBOOT_OWNER_DEAD: it died
 *
 * Only ALIVE can change, and CLOSED into DEAD.
 */
enum chipboot_owner_state {
	CHIPBOOT_OWNER_ALIVE	= 0,
	CHIPBOOT_OWNER_DETACHED	= 1,
	CHIPBOOT_OWNER_CLOSED	= 2,
	CHIPBOOT_OWNER_DEAD	= 3
};

/* &chipboot_status.flags */
/** CHIPBOOT_STATUS_ACK - this handle has seen every change up to this call */
#define CHIPBOOT_STATUS_ACK	0x1
/** CHIPBOOT_NO_CHANNEL - &chipboot_status.channel: no single channel is meant */
#define CHIPBOOT_NO_CHANNEL	0xffffffffu

/**
 * struct chipboot_status - argument of CHIPBOOT_IOC_STATUS
 * @flags: in: CHIPBOOT_STATUS_*
 * @channel: in: the channel that the channel_* fields describe, or
 *	CHIPBOOT_NO_CHANNEL; out: on a publisher handle always its own (what was
 *	passed is not looked at)
 * @pending: in: pointer to a bitmap of __u64 words in which bit i % 64 of word
 *	i / 64 is set if channel i is IDLE, or 0
 * @pending_words: in: words the bitmap has room for; those beyond the
 *	session's channels are set to zero, at most 1024 are written
 * @channels: out: N
 * @stride: out: as in &struct chipboot_version
 * @idle: out: channels that are IDLE
 * @success: out: channels that are SUCCESS
 * @error: out: channels that are ERROR
 * @gone: out: channels of @success whose process died since
 * @first_failed: out: the ERROR channel with the lowest order, or
 *	CHIPBOOT_NO_CHANNEL
 * @owner_state: out: enum chipboot_owner_state
 * @owner_pid: out: the owner process in the caller's pid namespace, also after
 *	its death; 0 if not visible there
 * @now_ns: out: host CLOCK_MONOTONIC now
 * @deadline_ns: out: host CLOCK_MONOTONIC of the deadline, passed or not; 0: none
 * @session_id: out: as CREATE gave it
 * @channel_state: out: enum chipboot_state
 * @channel_generation: out: its generation
 * @channel_pid: out: publisher_pid in the caller's pid namespace; 0: none or not
 *	visible there
 * @channel_bound: out: 1 if bound to a living process, else 0
 * @handle_generation: out: publisher: the generation this handle may publish in,
 *	0 if the handle is stale; other handles: 0
 * @events: out: the events this handle is subscribed to
 * @holds: out: which CHIPBOOT_EVENT_* hold now, subscribed to or not; CHANGE as
 *	this handle has it, before ACK
 * @reserved: out: zero
 *
 * All of it is one moment's truth, taken under the session's lock.  The channel_*
 * fields are zero with CHIPBOOT_NO_CHANNEL.
 */
struct chipboot_status {
	__u32 flags;
	__u32 channel;
	__u64 pending;
	__u32 pending_words;
	__u32 channels;
	__u32 stride;
	__u32 idle;
	__u32 success;
	__u32 error;
	__u32 gone;
	__u32 first_failed;
	__u32 owner_state;
	__s32 owner_pid;
	__u64 now_ns;
	__u64 deadline_ns;
	__u64 session_id;
	__u32 channel_state;
	__u32 channel_generation;
	__s32 channel_pid;
	__u32 channel_bound;
	__u32 handle_generation;
	__u32 events;
	__u32 holds;
	__u32 reserved;
};

/* Ioctls ---------------------------------------------------------------- */

/*
 * On every handle: ENOTTY: no such ioctl.  EOPNOTSUPP: an ioctl of another kind
 * of handle.  EINVAL: an unknown flag, a non-zero reserved field, a struct
 * shorter than its first version.  E2BIG: a longer struct with a non-zero tail.
 * EFAULT: a bad pointer.  ENOMEM: no memory, or the memory cgroup is full.
 *
 * After every error nothing has changed, fields that are output excepted.
 * Direction bits of the number are not looked at.
 */
#define CHIPBOOT_IOC_MAGIC	0xC8

/** CHIPBOOT_IOC_VERSION - (control) what is loaded */
#define CHIPBOOT_IOC_VERSION \
	_IOR(CHIPBOOT_IOC_MAGIC, 0x00, struct chipboot_version)
/**
 * CHIPBOOT_IOC_CREATE - (control, opened for writing) make a session; returns
 * its owner handle, with O_CLOEXEC
 *
 * The calling process (its thread group) becomes the owner.  EBADF: opened
 * read-only.  EINVAL: no channels.  ERANGE: more than
 * max_channels_per_session.  EDQUOT: the user's max_channels_per_user.
 * ENOSPC: the host's max_channels.  EMFILE, ENFILE: descriptors.  EINTR: killed.
 */
#define CHIPBOOT_IOC_CREATE \
	_IOWR(CHIPBOOT_IOC_MAGIC, 0x01, struct chipboot_create)

/*
 * The owner's.  EPERM: in any other process than the one that created the
 * session, and after DETACH.
 */
/**
 * CHIPBOOT_IOC_CLAIM - (owner) take a channel; returns its publisher handle,
 * with O_CLOEXEC
 *
 * ENOENT: no such channel.  EBUSY: its claim lives.  EALREADY, ECANCELED: it has
 * been answered, by its publisher or by another verdict; RESET first.
 */
#define CHIPBOOT_IOC_CLAIM \
	_IOWR(CHIPBOOT_IOC_MAGIC, 0x10, struct chipboot_claim)
/**
 * CHIPBOOT_IOC_RESET - (owner) answered channels become IDLE, in a new generation
 *
 * ENOENT: the range leaves the session.  EINVAL: count 0.  EBUSY: a channel of the
 * range is IDLE (ABORT first).
 */
#define CHIPBOOT_IOC_RESET \
	_IOW(CHIPBOOT_IOC_MAGIC, 0x11, struct chipboot_reset)
/**
 * CHIPBOOT_IOC_ABORT - (owner) IDLE channels become ERROR with the owner's text
 *
 * The struct is found writable before anything changes; if another thread takes
 * its memory away just then, EFAULT is returned and the verdicts stand.
 *
 * ENOENT, EINVAL: as RESET.  EMSGSIZE: more than 1023 bytes.
 */
#define CHIPBOOT_IOC_ABORT \
	_IOWR(CHIPBOOT_IOC_MAGIC, 0x12, struct chipboot_abort)
/**
 * CHIPBOOT_IOC_DETACH - (owner) give up ownership; no argument, must be 0
 *
 * Nobody sees EPOLLHUP and no death signal is sent.  The session lives on for
 * publishers and observers, its deadline stays armed.
 */
#define CHIPBOOT_IOC_DETACH	_IO(CHIPBOOT_IOC_MAGIC, 0x13)
/** CHIPBOOT_IOC_SET_DEADLINE - (owner) set, move or clear the session's deadline */
#define CHIPBOOT_IOC_SET_DEADLINE \
	_IOW(CHIPBOOT_IOC_MAGIC, 0x14, struct chipboot_deadline)

/*
 * The publisher's.  Any holder may call them.  ESTALE: RESET dropped the handle.
 */
/**
 * CHIPBOOT_IOC_BIND - (publisher) say whose death is this channel's
 *
 * A process that is dead already makes an IDLE channel ERROR at once.
 *
 * ESRCH: no such process.  EPERM: not the caller nor its child.  EBUSY: bound to a
 * living process, and the caller is neither that nor the owner.
 */
#define CHIPBOOT_IOC_BIND \
	_IOW(CHIPBOOT_IOC_MAGIC, 0x20, struct chipboot_bind)
/**
 * CHIPBOOT_IOC_PROGRESS - (publisher) say what is being done, while IDLE
 *
 * ESTALE: also a generation that is not the channel's.  EALREADY: answered.
 * EMSGSIZE: more than 1023 bytes.
 */
#define CHIPBOOT_IOC_PROGRESS \
	_IOW(CHIPBOOT_IOC_MAGIC, 0x21, struct chipboot_progress)
/**
 * CHIPBOOT_IOC_PUBLISH - (publisher) answer, once
 *
 * ESTALE: also a generation that is not the channel's.  EALREADY: its publisher has
 * answered.  ECANCELED: another verdict was first (exit, closed, deadline,
 * owner).  EOVERFLOW: more than 376 words.  EMSGSIZE: more than 1023 bytes.
 */
#define CHIPBOOT_IOC_PUBLISH \
	_IOW(CHIPBOOT_IOC_MAGIC, 0x22, struct chipboot_publish)

/*
 * The observer's, and those of several kinds of handle.
 */
/**
 * CHIPBOOT_IOC_OBSERVE - (owner, observer) returns an observer handle, with
 * O_CLOEXEC, that can be mapped: offset = channel * stride, MAP_SHARED, PROT_READ
 *
 * EPERM: (owner) in any other process, and after DETACH; (observer) more events
 * than its own.
 */
#define CHIPBOOT_IOC_OBSERVE \
	_IOW(CHIPBOOT_IOC_MAGIC, 0x30, struct chipboot_observe)
/** CHIPBOOT_IOC_READ - (observer) snapshot of one channel.  ENOENT: no such channel */
#define CHIPBOOT_IOC_READ \
	_IOW(CHIPBOOT_IOC_MAGIC, 0x31, struct chipboot_read)
/**
 * CHIPBOOT_IOC_STATUS - (owner in any process, publisher, observer) where the
 * session stands
 *
 * A stale publisher handle may ask too.  ENOENT: no such channel.
 */
#define CHIPBOOT_IOC_STATUS \
	_IOWR(CHIPBOOT_IOC_MAGIC, 0x40, struct chipboot_status)

/* Layout is ABI: the same for 32- and 64-bit callers, in C and in C++. */
#if (defined(__cplusplus) && __cplusplus >= 201103L) || \
	(defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L)
#ifdef __cplusplus
#define CHIPBOOT_ASSERT_SIZE(type, size) \
	static_assert(sizeof(struct type) == (size), #type)
#else
#define CHIPBOOT_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(struct type) == (size), #type)
#endif
CHIPBOOT_ASSERT_SIZE(chipboot_page, CHIPBOOT_PAGE_SIZE);
CHIPBOOT_ASSERT_SIZE(chipboot_version, 48);
CHIPBOOT_ASSERT_SIZE(chipboot_create, 24);
CHIPBOOT_ASSERT_SIZE(chipboot_claim, 16);
CHIPBOOT_ASSERT_SIZE(chipboot_observe, 8);
CHIPBOOT_ASSERT_SIZE(chipboot_reset, 16);
CHIPBOOT_ASSERT_SIZE(chipboot_abort, 32);
CHIPBOOT_ASSERT_SIZE(chipboot_deadline, 16);
CHIPBOOT_ASSERT_SIZE(chipboot_bind, 16);
CHIPBOOT_ASSERT_SIZE(chipboot_progress, 24);
CHIPBOOT_ASSERT_SIZE(chipboot_publish, 64);
CHIPBOOT_ASSERT_SIZE(chipboot_read, 16);
CHIPBOOT_ASSERT_SIZE(chipboot_status, 112);
#undef CHIPBOOT_ASSERT_SIZE
#endif

#endif /* _LINUX_CHIPBOOT_H */
