// SPDX-License-Identifier: MIT
/*
 * A user's C program, built against an installed chipboot and with nothing of this
 * tree. Called by: selftests/install/consumers, with the version it is to find.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chipboot.h>
#include <chipboot_mailbox.h>
#include <linux/chipboot.h>

static int mailbox(void)
{
	const uint64_t words[] = { 1, 2, 3 };
	struct chipboot_mailbox box;
	uint64_t read[3] = { 0 };
	void *page;

	page = mmap(NULL, CHIPBOOT_MAILBOX_SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || chipboot_mailbox_init(&box, page, 3) < 0 ||
	    chipboot_mailbox_write_success(&box, 7, 8, 9, words, 3) < 0)
		return 0;
	return chipboot_mailbox_state(&box) == CHIPBOOT_STATE_SUCCESS &&
	       chipboot_mailbox_buffer_ptrs(&box, read, 3) == 3 &&
	       !memcmp(read, words, sizeof(words));
}

/* With a module: one process, one answer. */
static int session(void)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	struct chipboot_session *s;
	int ret = chipboot_session_create(&s, 1);

	if (ret < 0)
		return ret;
	ret = chipboot_fork(s, 0, 0, 0, &publisher, &observer);
	if (ret == 0)
		_exit(chipboot_publish_success(publisher, 1, 2, 3, NULL, 0));
	if (ret > 0)
		ret = chipboot_wait(chipboot_session_observer(s), CHIPBOOT_ALL,
				    CHIPBOOT_FOREVER, 0, 0);
	if (ret == 1)
		ret = chipboot_state(chipboot_session_observer(s), 0);
	chipboot_session_close(s);
	return ret;
}

int main(int argc, char **argv)
{
	struct chipboot_versions versions;
	int ret = chipboot_get_versions(&versions);
	char why[256];

	if (argc != 2 || strcmp(versions.library, argv[1])) {
		fprintf(stderr, "this is version %s\n", versions.library);
		return 1;
	}
	if (!mailbox()) {
		fprintf(stderr, "the mailbox does not work\n");
		return 1;
	}
	if (versions.library_abi != CHIPBOOT_ABI_VERSION) {
		fprintf(stderr, "linux/chipboot.h is another version's\n");
		return 1;
	}
	if (ret == 0)
		ret = session();
	if (ret == CHIPBOOT_STATE_SUCCESS) {
		printf("mailbox and session\n");
		return 0;
	}
	printf("mailbox; no session: %s\n", chipboot_explain(ret, why, sizeof(why)));
	return ret == -ENXIO ? 0 : 1;
}
