// SPDX-License-Identifier: MIT
/*
 * ChipBootstrapChannel over plain shared memory: the original's behaviour, in C++.
 * Runs on the host, built by g++ and by clang++, with AddressSanitizer: no module.
 *
 * The page lies between two that nobody may touch, and what it must read as is worked
 * out from its bytes, by the offsets of the original's layout.
 */
#include "doctest_tap.hpp"

#include <array>
#include <climits>
#include <cstring>
#include <random>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chipboot.hpp>

#if defined(__clang__)
#if !__has_feature(address_sanitizer)
#error "build this with -fsanitize=address"
#endif
#elif !defined(__SANITIZE_ADDRESS__)
#error "build this with -fsanitize=address"
#endif

extern "C" const char *__asan_default_options();
extern "C" const char *__asan_default_options()
{
	return "detect_leaks=0";
}

namespace {

using State = ChipBootstrapMailboxState;
using Ptrs = std::vector<std::uint64_t>;

constexpr std::size_t page_size = 4096;

static_assert(CHIP_BOOTSTRAP_MAILBOX_SIZE == 4096);
static_assert(CHIP_BOOTSTRAP_HEADER_SIZE == 64);
static_assert(CHIP_BOOTSTRAP_ERROR_MSG_SIZE == 1024);
static_assert(CHIP_BOOTSTRAP_PTR_CAPACITY == 376);
static_assert(CHIP_BOOTSTRAP_OFF_STATE == 0 && CHIP_BOOTSTRAP_OFF_ERROR_CODE == 4);
static_assert(CHIP_BOOTSTRAP_OFF_BUFFER_COUNT == 8 && CHIP_BOOTSTRAP_OFF_DEVICE_CTX == 16);
static_assert(CHIP_BOOTSTRAP_OFF_LOCAL_WINDOW_BASE == 24);
static_assert(CHIP_BOOTSTRAP_OFF_ACTUAL_WINDOW_SIZE == 32);
static_assert(CHIP_BOOTSTRAP_OFF_BUFFER_PTRS == 64 && CHIP_BOOTSTRAP_OFF_ERROR_MSG == 3072);
static_assert(static_cast<int>(State::IDLE) == 0 && static_cast<int>(State::SUCCESS) == 1 &&
	      static_cast<int>(State::ERROR) == 2);

/* 4096 zeroes, shared with children, PROT_NONE on both sides. */
class Page {
public:
	Page()
	{
		void *p = mmap(nullptr, 3 * page_size, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		REQUIRE(p != MAP_FAILED);
		REQUIRE(sysconf(_SC_PAGESIZE) == page_size);
		bytes_ = static_cast<unsigned char *>(p) + page_size;
		REQUIRE(mprotect(bytes_, page_size, PROT_READ | PROT_WRITE) == 0);
	}
	~Page() { munmap(bytes_ - page_size, 3 * page_size); }
	Page(const Page &) = delete;
	Page &operator=(const Page &) = delete;

	unsigned char *bytes() { return bytes_; }

	template <typename T> T get(std::size_t at) const
	{
		T value;

		std::memcpy(&value, bytes_ + at, sizeof(value));
		return value;
	}
	template <typename T> void put(std::size_t at, T value)
	{
		std::memcpy(bytes_ + at, &value, sizeof(value));
	}
	bool is_zero() const
	{
		for (std::size_t i = 0; i < page_size; i++)
			if (bytes_[i])
				return false;
		return true;
	}

private:
	unsigned char *bytes_;
};

/* The words of the exception that it throws; "" if none. */
template <typename Exception, typename Function> std::string thrown(Function function)
{
	try {
		function();
	} catch (const Exception &exception) {
		return exception.what();
	}
	return "";
}

/* What a call gives: its value, or that the page cannot be. */
template <typename Function> auto given(Function function, std::string *why = nullptr)
	-> std::pair<bool, decltype(function())>
{
	try {
		return {true, function()};
	} catch (const std::system_error &error) {
		REQUIRE(error.code() == std::errc::protocol_error);
		if (why)
			*why = error.what();
		return {false, {}};
	}
}

/* The first member that differs from what the page's bytes say, or "". */
std::string complaint(const ChipBootstrapChannel &channel, const Page &page, std::size_t most)
{
	const auto state = page.get<std::int32_t>(0);
	const auto count = page.get<std::int32_t>(8);
	const bool known = state >= 0 && state <= 2;
	std::string why;

	const auto state_now = given([&] { return channel.state(); }, &why);
	if (state_now.first != known || (known && static_cast<int>(state_now.second) != state))
		return "state";
	if (!known && why.find("unknown state " + std::to_string(state)) == std::string::npos)
		return "state: " + why;
	if (channel.error_code() != page.get<std::int32_t>(4) ||
	    channel.device_ctx() != page.get<std::uint64_t>(16) ||
	    channel.local_window_base() != page.get<std::uint64_t>(24) ||
	    channel.actual_window_size() != page.get<std::uint64_t>(32))
		return "a value";

	const bool countable = count >= 0 && static_cast<std::size_t>(count) <= most;
	const auto ptrs = given([&] { return channel.buffer_ptrs(); }, &why);
	if (ptrs.first != countable)
		return "buffer_ptrs";
	if (countable) {
		Ptrs want;

		for (int i = 0; i < count; i++)
			want.push_back(page.get<std::uint64_t>(64 + 8 * static_cast<std::size_t>(i)));
		if (ptrs.second != want)
			return "buffer_ptrs: other values";
	} else if (why.find("pointers " + std::to_string(count) + " is not in 0 to " +
			    std::to_string(most)) == std::string::npos) {
		return "buffer_ptrs: " + why;
	}

	std::string want;
	bool ended = state != 2;
	for (std::size_t i = 0; state == 2 && i < 1024 && !ended; i++) {
		const char c = page.get<char>(3072 + i);

		ended = !c;
		if (c)
			want += c;
	}
	const auto message = given([&] { return channel.error_message(); }, &why);
	if (message.first != (known && ended))
		return "error_message";
	if (message.first && message.second != want)
		return "error_message: another text";
	if (known && !ended && why.find("message without end") == std::string::npos)
		return "error_message: " + why;
	return "";
}

} // namespace

/* What it is for is that the other cases can fail. */
TEST_CASE("guards and sanitizer bite")
{
	const std::vector<unsigned char> heap(8);
	Page page;

	for (const volatile unsigned char *byte :
	     {static_cast<const unsigned char *>(page.bytes() - 1),
	      static_cast<const unsigned char *>(page.bytes() + page_size), heap.data() + 8}) {
		const pid_t pid = fork();

		REQUIRE(pid >= 0);
		if (!pid) {
			if (freopen("/dev/null", "w", stderr))
				static_cast<void>(*byte);
			_exit(0);
		}
		int status = 0;
		REQUIRE(waitpid(pid, &status, 0) == pid);
		CHECK(status != 0);
	}
}

TEST_CASE("what the constructor refuses")
{
	Page page;

	CHECK(thrown<std::invalid_argument>([] { ChipBootstrapChannel(nullptr, 1); }) ==
	      "mailbox must not be null");
	CHECK(thrown<std::invalid_argument>([&] { ChipBootstrapChannel(page.bytes(), 377); }) ==
	      "max_buffer_count exceeds CHIP_BOOTSTRAP_PTR_CAPACITY");
	CHECK(thrown<std::invalid_argument>([&] { ChipBootstrapChannel(page.bytes() + 1, 1); }) ==
	      "mailbox must be aligned to 8 bytes");

	ChipBootstrapChannel none(page.bytes(), 0);
	CHECK_THROWS_AS(none.write_success(1, 2, 3, {4}), std::invalid_argument);
	CHECK(none.state() == State::IDLE);
	none.write_success(1, 2, 3, {});
	CHECK(none.state() == State::SUCCESS);
}

TEST_CASE("1: a zero page is IDLE")
{
	Page page;
	const ChipBootstrapChannel channel(page.bytes(), 376);

	CHECK(channel.state() == State::IDLE);
	CHECK(channel.error_code() == 0);
	CHECK(channel.device_ctx() == 0);
	CHECK(channel.local_window_base() == 0);
	CHECK(channel.actual_window_size() == 0);
	CHECK(channel.buffer_ptrs().empty());
	CHECK(channel.error_message().empty());
}

TEST_CASE("2: a success reads back exactly")
{
	Page page;
	ChipBootstrapChannel channel(page.bytes(), 376);
	const Ptrs ptrs{0x1000, 0x2000, 0x3000};

	channel.write_success(0xDEADBEEFCAFE1234, 0xAABBCCDD00112233, 65536, ptrs);
	CHECK(channel.state() == State::SUCCESS);
	CHECK(channel.device_ctx() == 0xDEADBEEFCAFE1234);
	CHECK(channel.local_window_base() == 0xAABBCCDD00112233);
	CHECK(channel.actual_window_size() == 65536);
	CHECK(channel.buffer_ptrs() == ptrs);
	CHECK(channel.error_message().empty());
	CHECK(complaint(channel, page, 376) == "");
}

TEST_CASE("3: so does an error")
{
	Page page;
	ChipBootstrapChannel channel(page.bytes(), 376);
	const std::vector<std::pair<std::int32_t, std::string>> errors{
		{42, "device not found"}, {0, ""}, {INT_MIN, "\xff\xfe"}, {INT_MAX, "x"}};

	for (const auto &error : errors) {
		channel.write_error(error.first, error.second);
		CHECK(channel.state() == State::ERROR);
		CHECK(channel.error_code() == error.first);
		CHECK(channel.error_message() == error.second);
		CHECK(complaint(channel, page, 376) == "");
	}
	channel.write_error(1, std::string("ab\0cd", 5));
	CHECK(channel.error_message() == "ab");
}

TEST_CASE("4: reset, and once more")
{
	Page page;
	ChipBootstrapChannel channel(page.bytes(), 376);

	for (int round = 0; round < 3; round++) {
		channel.write_success(0, 0, 0, {});
		CHECK(channel.state() == State::SUCCESS);
		CHECK(channel.buffer_ptrs().empty());
		channel.write_error(round, "over it");
		CHECK(channel.state() == State::ERROR);
		channel.reset();
		CHECK(channel.state() == State::IDLE);
		CHECK(page.is_zero());
	}
}

TEST_CASE("5: from a child, and after it")
{
	for (std::uint64_t round = 0; round < 50; round++) {
		Page page;
		ChipBootstrapChannel channel(page.bytes(), 376);
		const Ptrs ptrs{round, round + 1, ~round, round << 40};
		const pid_t pid = fork();

		REQUIRE(pid >= 0);
		if (!pid) {
			channel.reset();
			channel.write_success(round, 2, 3, ptrs);
			_exit(0);
		}
		while (channel.state() == State::IDLE)
			;
		CHECK(channel.state() == State::SUCCESS);
		CHECK(channel.device_ctx() == round);
		CHECK(channel.buffer_ptrs() == ptrs);

		int status = -1;
		REQUIRE(waitpid(pid, &status, 0) == pid);
		CHECK(status == 0);
		const ChipBootstrapChannel fresh(page.bytes(), 4);
		CHECK(fresh.state() == State::SUCCESS);
		CHECK(fresh.local_window_base() == 2);
		CHECK(fresh.actual_window_size() == 3);
		CHECK(fresh.buffer_ptrs() == ptrs);
	}
}

TEST_CASE("6: too many pointers")
{
	Page page;
	ChipBootstrapChannel channel(page.bytes(), 376);

	CHECK(thrown<std::invalid_argument>([&] {
		      channel.write_success(1, 2, 3, Ptrs(377, 9));
	      }) == "buffer_ptrs exceeds max_buffer_count");
	CHECK(channel.state() == State::IDLE);
	CHECK(page.is_zero());
	channel.write_success(1, 2, 3, Ptrs(376, 9));
	CHECK(channel.buffer_ptrs() == Ptrs(376, 9));
}

TEST_CASE("7: long messages are cut, between characters")
{
	const std::string euro = "\xe2\x82\xac";
	Page page;
	ChipBootstrapChannel channel(page.bytes(), 376);

	channel.write_error(1, std::string(2000, 'x'));
	CHECK(channel.error_message() == std::string(1023, 'x'));
	for (std::size_t ahead = 1018; ahead < 1026; ahead++) {
		const std::size_t kept = ahead == 1021 || ahead == 1022 ? ahead : 1023;
		const std::string text = std::string(ahead, 'x') + euro + "yyyyyyyy";

		channel.write_error(1, text);
		CHECK(channel.error_message() == text.substr(0, kept));
	}
}

TEST_CASE("8: what no writer writes")
{
	Page page;
	ChipBootstrapChannel channel(page.bytes(), 376);

	for (const std::int32_t count : {-1, 377, 100000, INT_MIN, INT_MAX}) {
		page.put(8, count);
		CHECK_THROWS_AS(channel.buffer_ptrs(), std::system_error);
		CHECK(complaint(channel, page, 376) == "");
	}
	for (const std::int32_t state : {-1, 3, INT_MIN, INT_MAX}) {
		page.put(0, state);
		CHECK_THROWS_AS(channel.state(), std::system_error);
		CHECK_THROWS_AS(channel.error_message(), std::system_error);
		CHECK(complaint(channel, page, 376) == "");
	}
	page.put(0, std::int32_t{2});
	std::memset(page.bytes() + 3072, 'x', 1024);
	CHECK_THROWS_AS(channel.error_message(), std::system_error);
	CHECK(complaint(channel, page, 376) == "");
}

TEST_CASE("8: 100,000 random pages")
{
	constexpr unsigned int seeds = 100000;
	unsigned int unknown = 0, endless = 0, good = 0;
	Page page;

	for (unsigned int seed = 0; seed < seeds; seed++) {
		std::mt19937_64 random(seed);
		const std::size_t most = random() % 377;
		const ChipBootstrapChannel channel(page.bytes(), most);

		for (std::size_t at = 0; at < page_size; at += 8)
			page.put<std::uint64_t>(at, random());
		/* every other one closer to a valid page than chance comes */
		if (seed % 2) {
			page.put(0, static_cast<std::int32_t>(random() % 4));
			page.put(8, static_cast<std::int32_t>(random() % (most + 2)));
			for (std::size_t at = 3072; at < page_size; at++)
				page.bytes()[at] = 'x';
			if (const auto end = random() % 1280; end < 1024)
				page.bytes()[3072 + end] = 0;
		}
		const std::string why = complaint(channel, page, most);
		const std::int32_t state = page.get<std::int32_t>(0);
		const bool ended = std::memchr(page.bytes() + 3072, 0, 1024);

		unknown += state < 0 || state > 2;
		endless += state == 2 && !ended;
		good += state == 1 || (state == 2 && ended);
		if (!why.empty())
			FAIL("seed " << seed << ": " << why);
	}
	CHECK(unknown > seeds / 2);
	CHECK(endless > 1);
	CHECK(good > 1000);
	figure(std::to_string(seeds) + " seeds: " + std::to_string(unknown) + " unknown states, " +
	       std::to_string(endless) + " endless messages, " + std::to_string(good) + " answers");
}
