// SPDX-License-Identifier: MIT
/*
 * A user's C++ program, built against an installed chipboot and with nothing of this
 * tree. Called by: selftests/install/consumers, with the version it is to find.
 */
#include <cerrno>
#include <cstring>
#include <iostream>
#include <system_error>

#include <sys/mman.h>
#include <unistd.h>

#include <chipboot.hpp>
#include <linux/chipboot.h>

int main(int argc, char **argv)
{
	chipboot_versions versions;
	void *page = mmap(nullptr, CHIP_BOOTSTRAP_MAILBOX_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	chipboot_get_versions(&versions);
	if (argc != 2 || std::strcmp(versions.library, argv[1])) {
		std::cerr << "this is version " << versions.library << "\n";
		return 1;
	}

	ChipBootstrapChannel channel(page, CHIP_BOOTSTRAP_PTR_CAPACITY);
	channel.write_success(7, 8, 9, {1, 2, 3});
	if (channel.buffer_ptrs() != std::vector<std::uint64_t>{1, 2, 3}) {
		std::cerr << "the mailbox does not work\n";
		return 1;
	}

	try {
		chipboot::Session session(1);
		auto child = session.fork(0);

		if (child.in_child()) {
			child.publisher.publish_success(1, 2, 3, {4});
			_exit(0);
		}
		session.observer().wait();
		std::cout << "mailbox and session\n";
	} catch (const std::system_error &error) {
		std::cout << "mailbox; no session: " << error.what() << "\n";
		return error.code().value() == ENXIO ? 0 : 1;
	}
	return 0;
}
