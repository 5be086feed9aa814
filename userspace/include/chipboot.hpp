/* SPDX-License-Identifier: MIT */
/*
 * chipboot for C++17: the mailbox as its users know it, and sessions as objects.
 *
 * Everything is a thin cover of the C library, link it with -lchipboot.  What each
 * function does, its errors, thread safety and what it costs is said once, in
 * chipboot_mailbox.h and chipboot.h; said here is what C++ makes of it.  What takes no
 * handle is called as it is: chipboot_state_name(), chipboot_origin_name().
 *
 * Errors.  What C returns as a negative errno is thrown as std::system_error, with the
 * errno as code() (generic_category) and chipboot_explain()'s words in what().
 * ChipBootstrapChannel throws std::invalid_argument where the original did.
 *
 * Handles.  Session, Publisher and Observer own what they are made of, can be moved and
 * not copied, and are closed by their destructors, which never throw.  One that was
 * moved from or closed is empty: false as a bool, and every other member throws
 * std::system_error (invalid_argument).
 */
#ifndef CHIPBOOT_HPP
#define CHIPBOOT_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <chipboot.h>
#include <chipboot_mailbox.h>

namespace chipboot {
namespace detail {

inline std::string explain(int error)
{
	char text[512];

	return chipboot_explain(error, text, sizeof(text));
}

[[noreturn]] inline void fail(int error)
{
	throw std::system_error(-error, std::generic_category(), explain(error));
}

/* What a C function returned, if that is no error. */
inline int check(int result)
{
	if (result < 0)
		fail(result);
	return result;
}

template <typename Handle> Handle *need(Handle *handle)
{
	if (!handle)
		throw std::system_error(std::make_error_code(std::errc::invalid_argument),
					"this chipboot handle is empty: closed, or moved from");
	return handle;
}

/* A size for C, in which one that does not fit is refused and not wrapped. */
inline std::uint32_t count(std::size_t size)
{
	return size < UINT32_MAX ? static_cast<std::uint32_t>(size) : UINT32_MAX;
}

struct Close {
	void operator()(chipboot_session *handle) const { chipboot_session_close(handle); }
	void operator()(chipboot_publisher *handle) const { chipboot_publisher_close(handle); }
	void operator()(chipboot_observer *handle) const { chipboot_observer_close(handle); }
};

} // namespace detail
} // namespace chipboot

/* The mailbox ----------------------------------------------------------- */

/* The original's names, in the original's place. */
inline constexpr std::size_t CHIP_BOOTSTRAP_MAILBOX_SIZE = CHIPBOOT_MAILBOX_SIZE;
inline constexpr std::size_t CHIP_BOOTSTRAP_HEADER_SIZE = offsetof(chipboot_answer, words);
inline constexpr std::size_t CHIP_BOOTSTRAP_ERROR_MSG_SIZE = CHIPBOOT_MAILBOX_MESSAGE_SIZE;
inline constexpr std::size_t CHIP_BOOTSTRAP_PTR_CAPACITY = CHIPBOOT_MAILBOX_PTR_CAPACITY;

inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_STATE = offsetof(chipboot_answer, state);
inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_ERROR_CODE =
	offsetof(chipboot_answer, error_code);
inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_BUFFER_COUNT = offsetof(chipboot_answer, count);
inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_DEVICE_CTX =
	offsetof(chipboot_answer, device_ctx);
inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_LOCAL_WINDOW_BASE =
	offsetof(chipboot_answer, window_base);
inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_ACTUAL_WINDOW_SIZE =
	offsetof(chipboot_answer, window_size);
inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_BUFFER_PTRS = offsetof(chipboot_answer, words);
inline constexpr std::ptrdiff_t CHIP_BOOTSTRAP_OFF_ERROR_MSG = offsetof(chipboot_answer, message);

static_assert(CHIP_BOOTSTRAP_PTR_CAPACITY * sizeof(std::uint64_t) + CHIP_BOOTSTRAP_HEADER_SIZE +
		      CHIP_BOOTSTRAP_ERROR_MSG_SIZE == CHIP_BOOTSTRAP_MAILBOX_SIZE,
	      "the parts of the page are the page");

enum class ChipBootstrapMailboxState : std::int32_t {
	IDLE = CHIPBOOT_STATE_IDLE,
	SUCCESS = CHIPBOOT_STATE_SUCCESS,
	ERROR = CHIPBOOT_STATE_ERROR,
};

/**
 * class ChipBootstrapChannel - a mailbox in 4096 bytes of shared memory
 *
 * The original's class: same members, same page, same words in its exceptions.  It
 * differs where the original hid something.  A page that no writer can have written
 * (unknown state, count out of range, message without end) throws std::system_error
 * with std::errc::protocol_error, where the original clamped; error_message() is empty
 * unless the state is ERROR; a cut message ends at the end of a UTF-8 character; and
 * memory that is not aligned to 8 bytes is refused (std::invalid_argument).
 *
 * A view, like a pointer: it can be copied, and the memory stays the caller's.
 */
class ChipBootstrapChannel {
public:
	/** mailbox: CHIP_BOOTSTRAP_MAILBOX_SIZE bytes; writable if anything is written */
	ChipBootstrapChannel(void *mailbox, std::size_t max_buffer_count)
	{
		if (chipboot_mailbox_init(&mailbox_, mailbox, max_buffer_count) < 0)
			throw std::invalid_argument(chipboot::detail::explain(EINVAL));
	}

	/* Write side. */

	void reset() { chipboot_mailbox_reset(&mailbox_); }

	/** std::invalid_argument: more pointers than max_buffer_count; nothing is written */
	void write_success(std::uint64_t device_ctx, std::uint64_t local_window_base,
			   std::uint64_t actual_window_size,
			   const std::vector<std::uint64_t> &buffer_ptrs)
	{
		int error = chipboot_mailbox_write_success(&mailbox_, device_ctx, local_window_base,
							   actual_window_size, buffer_ptrs.data(),
							   buffer_ptrs.size());

		if (error < 0)
			throw std::invalid_argument(chipboot::detail::explain(error));
	}

	void write_error(std::int32_t error_code, const std::string &message)
	{
		chipboot::detail::check(chipboot_mailbox_write_error(
			&mailbox_, error_code, message.data(), message.size()));
	}

	/* Read side. */

	ChipBootstrapMailboxState state() const
	{
		return static_cast<ChipBootstrapMailboxState>(
			chipboot::detail::check(chipboot_mailbox_state(&mailbox_)));
	}

	std::int32_t error_code() const { return chipboot_mailbox_error_code(&mailbox_); }

	std::uint64_t device_ctx() const { return chipboot_mailbox_device_ctx(&mailbox_); }

	std::uint64_t local_window_base() const
	{
		return chipboot_mailbox_local_window_base(&mailbox_);
	}

	std::uint64_t actual_window_size() const
	{
		return chipboot_mailbox_actual_window_size(&mailbox_);
	}

	std::vector<std::uint64_t> buffer_ptrs() const
	{
		std::uint64_t ptrs[CHIP_BOOTSTRAP_PTR_CAPACITY];
		int count = chipboot::detail::check(chipboot_mailbox_buffer_ptrs(
			&mailbox_, ptrs, CHIP_BOOTSTRAP_PTR_CAPACITY));

		return std::vector<std::uint64_t>(ptrs, ptrs + count);
	}

	/** Untrusted bytes of unknown encoding. */
	std::string error_message() const
	{
		char message[CHIP_BOOTSTRAP_ERROR_MSG_SIZE];
		int length = chipboot::detail::check(chipboot_mailbox_error_message(
			&mailbox_, message, sizeof(message)));

		return std::string(message, static_cast<std::size_t>(length));
	}

private:
	chipboot_mailbox mailbox_;
};

/* Sessions -------------------------------------------------------------- */

namespace chipboot {

using State = ChipBootstrapMailboxState;

/** forever - wait() without a time limit of its own */
inline constexpr std::chrono::nanoseconds forever = std::chrono::nanoseconds::max();

class Observer;

/**
 * class ObserverView - reading and waiting, through an observer somebody else owns
 *
 * Session::observer() gives one, valid as long as that session, and every Observer is
 * one.
 */
class ObserverView {
public:
	explicit ObserverView(chipboot_observer *handle = nullptr) noexcept : handle_(handle) {}

	explicit operator bool() const noexcept { return handle_; }
	/** the handle for the C functions; it stays its owner's */
	chipboot_observer *get() const noexcept { return handle_; }

	/** to poll, for its events */
	int fd() const { return chipboot_observer_fd(need()); }
	std::uint32_t channels() const { return chipboot_observer_channels(need()); }

	/** another observer, of CHIPBOOT_ON_*; 0 for those of this one */
	Observer observe(std::uint32_t events = 0) const;

	/** one acquire load, no system call */
	State state(std::uint32_t channel) const
	{
		return static_cast<State>(detail::check(chipboot_state(need(), channel)));
	}

	/** the page itself, read-only; see chipboot_page() for who may read in place */
	const chipboot_answer &page(std::uint32_t channel) const
	{
		const chipboot_answer *page = chipboot_page(need(), channel);

		if (!page)
			detail::fail(-ENOENT);
		return *page;
	}

	/**
	 * The page as a mailbox: for code that reads through ChipBootstrapChannel.  Only
	 * its read side works (the mapping is read-only: a write is SIGSEGV), where
	 * nobody resets meanwhile, and as long as this observer is open.
	 */
	ChipBootstrapChannel mailbox(std::uint32_t channel) const
	{
		return ChipBootstrapChannel(const_cast<chipboot_answer *>(&page(channel)),
					    CHIP_BOOTSTRAP_PTR_CAPACITY);
	}

	/** a consistent copy, whoever resets meanwhile */
	chipboot_answer read(std::uint32_t channel) const
	{
		chipboot_answer answer;

		detail::check(chipboot_read(need(), channel, &answer));
		return answer;
	}

	/**
	 * Sleep until count channels have answered (CHIPBOOT_ALL: every one).  Returns how
	 * many have; fewer only with CHIPBOOT_WAIT_FAIL_FAST, after an ERROR.  A timeout of
	 * zero or less looks once.  std::errc::timed_out: not in time.
	 */
	std::uint32_t wait(std::chrono::nanoseconds timeout = forever, std::uint32_t flags = 0,
			   std::uint32_t count = CHIPBOOT_ALL,
			   std::chrono::nanoseconds spin = std::chrono::nanoseconds::zero()) const
	{
		std::int64_t limit = timeout == forever ? CHIPBOOT_FOREVER :
				     timeout.count() < 0 ? 0 : timeout.count();
		std::uint64_t spin_ns = spin.count() < 0 ? 0 :
					static_cast<std::uint64_t>(spin.count());

		return static_cast<std::uint32_t>(
			detail::check(chipboot_wait(need(), count, limit, spin_ns, flags)));
	}

	/** where the session stands; flags: 0 or CHIPBOOT_ACK */
	chipboot_info info(std::uint32_t flags = 0) const
	{
		chipboot_info info;

		detail::check(chipboot_observer_info(need(), flags, &info));
		return info;
	}

	/** the channels that are IDLE, in order */
	std::vector<std::uint32_t> pending() const
	{
		std::vector<std::uint64_t> bitmap((channels() + 63) / 64);
		std::vector<std::uint32_t> idle;

		detail::check(chipboot_observer_pending(need(), bitmap.data(),
							detail::count(bitmap.size())));
		for (std::uint32_t i = 0; i < channels(); i++)
			if (bitmap[i / 64] >> i % 64 & 1)
				idle.push_back(i);
		return idle;
	}

	/** pid and binding of a channel */
	chipboot_channel channel_info(std::uint32_t channel) const
	{
		chipboot_channel info;

		detail::check(chipboot_channel_info(need(), channel, &info));
		return info;
	}

protected:
	chipboot_observer *need() const { return detail::need(handle_); }

	chipboot_observer *handle_;
};

/** class Observer - an observer of one's own */
class Observer : public ObserverView {
public:
	/** takes over a handle of the C library */
	explicit Observer(chipboot_observer *handle = nullptr) noexcept : ObserverView(handle) {}
	Observer(Observer &&other) noexcept
		: ObserverView(std::exchange(other.handle_, nullptr)) {}
	Observer &operator=(Observer &&other) noexcept
	{
		Observer old(std::move(*this));

		handle_ = std::exchange(other.handle_, nullptr);
		return *this;
	}
	Observer(const Observer &) = delete;
	Observer &operator=(const Observer &) = delete;
	~Observer() { close(); }

	void close() noexcept { chipboot_observer_close(std::exchange(handle_, nullptr)); }
};

inline Observer ObserverView::observe(std::uint32_t events) const
{
	chipboot_observer *another;

	detail::check(chipboot_observer_observe(need(), events, &another));
	return Observer(another);
}

/** class Publisher - one channel's answer, to be given once */
class Publisher {
public:
	/** takes over a handle of the C library */
	explicit Publisher(chipboot_publisher *handle = nullptr) noexcept : handle_(handle) {}

	explicit operator bool() const noexcept { return handle_ != nullptr; }
	/** the handle for the C functions; it stays this object's */
	chipboot_publisher *get() const noexcept { return handle_.get(); }
	/** the last copy of an unanswered channel makes it ERROR */
	void close() noexcept { handle_.reset(); }

	/** to poll: readable when every channel has answered */
	int fd() const { return chipboot_publisher_fd(need()); }
	std::uint32_t channel() const { return chipboot_publisher_channel(need()); }
	std::uint32_t generation() const { return chipboot_publisher_generation(need()); }

	/** say whose death is this channel's; 0 for the calling process, or its child */
	void bind(pid_t pid = 0, int death_signal = 0)
	{
		detail::check(chipboot_publisher_bind(need(), pid, death_signal));
	}

	/** move on to the channel's present generation, after CHIPBOOT_KEEP_PUBLISHERS */
	void refresh() { detail::check(chipboot_publisher_refresh(need())); }

	void publish_success(std::uint64_t device_ctx, std::uint64_t window_base,
			     std::uint64_t window_size,
			     const std::vector<std::uint64_t> &words = {})
	{
		detail::check(chipboot_publish_success(need(), device_ctx, window_base, window_size,
						       words.data(), detail::count(words.size())));
	}

	/** text ends at its first NUL, if there is one */
	void publish_error(std::int32_t error_code, const std::string &text)
	{
		detail::check(chipboot_publish_error(need(), error_code, text.c_str()));
	}

	void progress(const std::string &text)
	{
		detail::check(chipboot_progress(need(), text.c_str()));
	}

	chipboot_info info() const
	{
		chipboot_info info;

		detail::check(chipboot_publisher_info(need(), &info));
		return info;
	}

private:
	chipboot_publisher *need() const { return detail::need(handle_.get()); }

	std::unique_ptr<chipboot_publisher, detail::Close> handle_;
};

/** struct Handles - what a runtime process has; either may be empty */
struct Handles {
	Publisher publisher;
	Observer observer;
};

/** struct Forked - what Session::fork() returns, in each of the two processes */
struct Forked : Handles {
	/** the child's pid; 0 in the child, which alone has the handles */
	pid_t pid = -1;

	bool in_child() const noexcept { return pid == 0; }
};

/** class Session - N channels, owned by the process that made it */
class Session {
public:
	/** std::errc::no_such_device_or_address: the module is not there */
	explicit Session(std::uint32_t channels)
	{
		chipboot_session *session;

		detail::check(chipboot_session_create(&session, channels));
		handle_.reset(session);
	}

	explicit operator bool() const noexcept { return handle_ != nullptr; }
	/** the handle for the C functions; it stays this object's */
	chipboot_session *get() const noexcept { return handle_.get(); }
	/** in the owner the others see POLLHUP, unless it has detached */
	void close() noexcept { handle_.reset(); }

	/** give up ownership; nobody sees POLLHUP */
	void detach() { detail::check(chipboot_session_detach(need())); }

	std::uint32_t channels() const { return chipboot_session_channels(need()); }
	/** to poll: readable when every channel has answered */
	int fd() const { return chipboot_session_fd(need()); }

	/** the session's own; empty in a child that has dropped the session */
	ObserverView observer() const { return ObserverView(chipboot_session_observer(need())); }

	/** an observer of CHIPBOOT_ON_*; 0 for CHIPBOOT_ON_COMPLETE */
	Observer observe(std::uint32_t events = 0)
	{
		chipboot_observer *observer;

		detail::check(chipboot_session_observe(need(), events, &observer));
		return Observer(observer);
	}

	/** take a channel, to answer for it or to hand it on */
	Publisher claim(std::uint32_t channel)
	{
		chipboot_publisher *publisher;

		detail::check(chipboot_session_claim(need(), channel, &publisher));
		return Publisher(publisher);
	}

	/** answered channels become IDLE; flags: 0 or CHIPBOOT_KEEP_PUBLISHERS */
	void reset(std::uint32_t first, std::uint32_t count, std::uint32_t flags = 0)
	{
		detail::check(chipboot_session_reset(need(), first, count, flags));
	}

	/** IDLE channels become ERROR; returns how many were IDLE */
	std::uint32_t abort(std::uint32_t first, std::uint32_t count, std::int32_t error_code,
			    const std::string &text)
	{
		return static_cast<std::uint32_t>(detail::check(chipboot_session_abort(
			need(), first, count, error_code, text.c_str())));
	}

	/**
	 * Channels that are IDLE after so long become ERROR.  std::invalid_argument: zero or
	 * less, which would be a deadline that has passed, but means none to C.
	 */
	void set_deadline(std::chrono::nanoseconds from_now)
	{
		if (from_now.count() <= 0)
			throw std::invalid_argument("a deadline lies ahead; clear_deadline() removes it");
		detail::check(chipboot_session_set_deadline(
			need(), static_cast<std::uint64_t>(from_now.count())));
	}

	/** the same with a point in time, on the clock of chipboot_info.now_ns; 0 clears */
	void set_deadline_at(std::uint64_t ns)
	{
		detail::check(chipboot_session_set_deadline_at(need(), ns));
	}

	void clear_deadline() { detail::check(chipboot_session_set_deadline(need(), 0)); }

	chipboot_info info() const
	{
		chipboot_info info;

		detail::check(chipboot_session_info(need(), &info));
		return info;
	}

	/**
	 * Fork the runtime process of a channel.  In the child every other handle made from
	 * this session is closed; the objects around them may be destroyed as usual.
	 */
	Forked fork(std::uint32_t channel, int death_signal = 0, std::uint32_t events = 0)
	{
		chipboot_publisher *publisher;
		chipboot_observer *observer;
		Forked forked;

		forked.pid = detail::check(chipboot_fork(need(), channel, death_signal, events,
							 &publisher, &observer));
		forked.publisher = Publisher(publisher);
		forked.observer = Observer(observer);
		return forked;
	}

	/**
	 * After a plain fork(), in the child: become the runtime process of the channel that
	 * the parent claimed, from this session, as mine, which stays the handle to publish
	 * by.  Returns an observer.  Every other handle made from this session is closed here.
	 */
	Observer child(const Publisher &mine, int death_signal = 0, std::uint32_t events = 0)
	{
		chipboot_publisher *publisher;
		chipboot_observer *observer;

		detail::check(chipboot_session_child(need(), mine.channel(), death_signal, events,
						     &publisher, &observer));
		Observer peers(observer);

		if (publisher != mine.get())
			throw std::system_error(std::make_error_code(std::errc::invalid_argument),
						"that publisher was not claimed from this session");
		return peers;
	}

private:
	chipboot_session *need() const { return detail::need(handle_.get()); }

	std::unique_ptr<chipboot_session, detail::Close> handle_;
};

/* Handles on their way to other programs -------------------------------- */

/** let these handles through the next exec, in the child just before it; or empty ones */
inline void exec_prepare(const Publisher &publisher, const ObserverView &observer)
{
	detail::check(chipboot_exec_prepare(publisher.get(), observer.get()));
}

/** take the handles that exec_prepare() let through, once; those not wanted are closed */
inline Handles from_env(bool want_publisher = true, bool want_observer = true)
{
	chipboot_publisher *publisher = nullptr;
	chipboot_observer *observer = nullptr;

	detail::check(chipboot_from_env(want_publisher ? &publisher : nullptr,
					want_observer ? &observer : nullptr));
	return Handles{Publisher(publisher), Observer(observer)};
}

/** send handles over a connected unix socket, one of them may be empty; copies stay here */
inline void send(int socket, const Publisher &publisher,
		 const ObserverView &observer = ObserverView())
{
	detail::check(chipboot_send(socket, publisher.get(), observer.get()));
}

/** receive what send() sent; what was not is empty */
inline Handles receive(int socket)
{
	chipboot_publisher *publisher;
	chipboot_observer *observer;

	detail::check(chipboot_receive(socket, &publisher, &observer));
	return Handles{Publisher(publisher), Observer(observer)};
}

/** what is installed and what is loaded; throws if no module is */
inline chipboot_versions versions()
{
	chipboot_versions versions;

	detail::check(chipboot_get_versions(&versions));
	return versions;
}

} // namespace chipboot

#endif /* CHIPBOOT_HPP */
