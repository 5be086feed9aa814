// SPDX-License-Identifier: MIT
/*
 * chipboot.hpp against the real module: sessions as objects, and the original's class
 * over their pages.
 *
 * vm: --cpus 2 --timeout 900
 */
#include "doctest_tap.hpp"

#include <chrono>
#include <random>

#include <sys/wait.h>
#include <unistd.h>

#include <chipboot.hpp>

using namespace std::chrono_literals;
using chipboot::Forked;
using chipboot::Observer;
using chipboot::Publisher;
using chipboot::Session;
using chipboot::State;
using Ptrs = std::vector<std::uint64_t>;

namespace {

/* A wait that lasts longer is a lost wake-up, not a slow machine. */
constexpr auto patience = 300s;

/* The errno that it throws; 0 if it does not. */
template <typename Function> int refused(Function function)
{
	try {
		function();
	} catch (const std::system_error &error) {
		return error.code().value();
	}
	return 0;
}

int reap(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* The answer of a channel, from its number alone: 0 to 376 pointers. */
struct Answer {
	explicit Answer(std::uint32_t channel)
	{
		std::mt19937_64 random(channel);

		device_ctx = random();
		base = random();
		size = random();
		ptrs.resize(channel == 0 ? 0 : channel == 1 ? 376 : random() % 377);
		for (auto &ptr : ptrs)
			ptr = random();
	}

	std::uint64_t device_ctx, base, size;
	Ptrs ptrs;
};

} // namespace

TEST_CASE("a round by fork: 64 random answers, read as mailboxes")
{
	Session session(64);
	std::vector<pid_t> pids;

	for (std::uint32_t i = 0; i < session.channels(); i++) {
		Forked forked = session.fork(i, SIGKILL);

		if (forked.in_child()) {
			const Answer answer(i);

			/* the launcher's objects are dropped, and harm nobody */
			if (session.observer() || refused([&] { session.reset(i, 1); }) != EPERM)
				_exit(1);
			forked.publisher.publish_success(answer.device_ctx, answer.base,
							 answer.size, answer.ptrs);
			if (refused([&] { forked.publisher.publish_error(1, "again"); }) != EALREADY)
				_exit(2);
			if (forked.observer.wait(patience) != 64)
				_exit(3);
			session.close();
			_exit(forked.observer.mailbox(63).buffer_ptrs() == Answer(63).ptrs ? 0 : 4);
		}
		CHECK(!forked.publisher);
		CHECK(!forked.observer);
		pids.push_back(forked.pid);
	}
	CHECK(session.observer().wait(patience) == 64);
	for (const pid_t pid : pids)
		CHECK(reap(pid) == 0);
	for (std::uint32_t i = 0; i < 64; i++) {
		const ChipBootstrapChannel mailbox = session.observer().mailbox(i);
		const Answer answer(i);

		CHECK(mailbox.state() == State::SUCCESS);
		CHECK(mailbox.device_ctx() == answer.device_ctx);
		CHECK(mailbox.local_window_base() == answer.base);
		CHECK(mailbox.actual_window_size() == answer.size);
		CHECK(mailbox.buffer_ptrs() == answer.ptrs);
		CHECK(mailbox.error_code() == 0);
		CHECK(mailbox.error_message().empty());
		CHECK(session.observer().read(i).publisher_pid == pids[i]);
	}
}

TEST_CASE("errors, progress, reset")
{
	Session session(2);
	const Observer observer = session.observe(CHIPBOOT_ON_ERROR);
	const ChipBootstrapChannel mailbox = observer.mailbox(0);

	{
		Publisher publisher = session.claim(0);

		CHECK(publisher.channel() == 0);
		CHECK(refused([&] { session.claim(0); }) == EBUSY);
		publisher.progress("loading firmware");
		CHECK(std::string(observer.page(0).message) == "loading firmware");
		CHECK(mailbox.state() == State::IDLE);
		CHECK(mailbox.error_message().empty());
		CHECK(observer.pending() == std::vector<std::uint32_t>{0, 1});
		publisher.publish_error(42, "device not found");
	}
	CHECK(mailbox.state() == State::ERROR);
	CHECK(mailbox.error_code() == 42);
	CHECK(mailbox.error_message() == "device not found");
	CHECK(observer.pending() == std::vector<std::uint32_t>{1});
	CHECK(session.observer().wait(patience, CHIPBOOT_WAIT_FAIL_FAST) == 1);
	CHECK(refused([&] { session.observer().wait(0s); }) == ETIMEDOUT);

	session.reset(0, 1);
	CHECK(mailbox.state() == State::IDLE);
	CHECK(mailbox.error_code() == 0);

	/* A publisher that goes out of scope without an answer is one. */
	session.claim(0);
	CHECK(observer.read(0).origin == CHIPBOOT_BY_CLOSE);
	CHECK(session.abort(0, 2, 7, "enough") == 1);
	CHECK(observer.mailbox(1).error_message() == "enough");
	CHECK(session.info().error == 2);
}

TEST_CASE("a plain fork, and the deadline")
{
	Session session(2);
	Publisher publisher = session.claim(0);
	const pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (!pid) {
		Observer peers = session.child(publisher, SIGKILL);

		publisher.publish_success(1, 2, 3, {4});
		_exit(peers.state(0) == State::SUCCESS ? 0 : 1);
	}
	publisher.bind(pid);
	publisher.close();
	CHECK(reap(pid) == 0);
	CHECK(session.observer().mailbox(0).buffer_ptrs() == Ptrs{4});

	CHECK_THROWS_AS(session.set_deadline(0ns), std::invalid_argument);
	CHECK_THROWS_AS(session.set_deadline(-1s), std::invalid_argument);
	session.set_deadline(1ms);
	CHECK(session.observer().wait(patience) == 2);
	CHECK(session.observer().read(1).origin == CHIPBOOT_BY_DEADLINE);
}

TEST_CASE("handles move, and empty ones say so")
{
	Session first(1);
	Session session = std::move(first);
	Publisher publisher = session.claim(0);
	Publisher moved = std::move(publisher);
	Observer observer = session.observe();
	Observer other = std::move(observer);

	CHECK(!first);
	CHECK(!publisher);
	CHECK(!observer);
	CHECK(refused([&] { first.channels(); }) == EINVAL);
	CHECK(refused([&] { publisher.publish_success(1, 2, 3); }) == EINVAL);
	CHECK(refused([&] { observer.state(0); }) == EINVAL);
	CHECK(refused([&] { other.mailbox(1); }) == ENOENT);
	moved.publish_success(1, 2, 3);
	other = session.observe();
	CHECK(other.state(0) == State::SUCCESS);
	CHECK(refused([] { Session(0); }) != 0);
	CHECK(chipboot::versions().module_abi >= 1);
}
