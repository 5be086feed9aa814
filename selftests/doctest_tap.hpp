// SPDX-License-Identifier: MIT
/*
 * doctest, reporting in TAP: a test case is a test point, its failures are comments.
 *
 * Included by every C++ test, once: main() is in here.  What a case has to tell of
 * itself it prints with figure().  The plan comes last, so that a program that dies
 * has none.
 */
#ifndef DOCTEST_TAP_HPP
#define DOCTEST_TAP_HPP

#define DOCTEST_CONFIG_IMPLEMENT
/* A crash is the sanitizer's to report, and ends the program. */
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS
#include <doctest/doctest.h>

#include <cstdio>
#include <iostream>
#include <string>

namespace {

inline void figure(const std::string &text)
{
	std::cout << "# " << text << std::endl;
}

class TapReporter : public doctest::IReporter {
public:
	explicit TapReporter(const doctest::ContextOptions &) {}

	void report_query(const doctest::QueryData &) override {}
	void test_run_start() override { std::cout << "TAP version 13" << std::endl; }
	void test_run_end(const doctest::TestRunStats &) override
	{
		std::cout << "1.." << count_ << std::endl;
	}

	void test_case_start(const doctest::TestCaseData &data) override { name_ = data.m_name; }
	void test_case_reenter(const doctest::TestCaseData &) override {}
	void test_case_end(const doctest::CurrentTestCaseStats &stats) override
	{
		std::cout << (stats.failure_flags ? "not ok " : "ok ") << ++count_ << " " << name_
			  << std::endl;
	}
	void test_case_exception(const doctest::TestCaseException &exception) override
	{
		figure("threw: " + std::string(exception.error_string.c_str()));
	}
	void test_case_skipped(const doctest::TestCaseData &) override {}
	void subcase_start(const doctest::SubcaseSignature &) override {}
	void subcase_end() override {}

	void log_assert(const doctest::AssertData &data) override
	{
		if (!data.m_failed)
			return;
		std::cout << "# " << data.m_file << ":" << data.m_line << ": " << data.m_expr;
		if (data.m_threw)
			std::cout << ": threw " << data.m_exception.c_str();
		else
			std::cout << ": " << data.m_decomp.c_str();
		std::cout << std::endl;
	}
	void log_message(const doctest::MessageData &data) override
	{
		figure(data.m_string.c_str());
	}

private:
	std::string name_;
	int count_ = 0;
};

REGISTER_REPORTER("tap", 1, TapReporter);

} // namespace

int main(int argc, char **argv)
{
	doctest::Context context(argc, argv);

	context.setOption("reporters", "tap");
	context.setOption("order-by", "file");
	return context.run();
}

#endif /* DOCTEST_TAP_HPP */
