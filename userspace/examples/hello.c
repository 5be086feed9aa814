// SPDX-License-Identifier: MIT
/*
 * The least that a launcher does: four processes, one answer from each.
 */
#include <chipboot.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	struct chipboot_session *session;
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	struct chipboot_answer answer;
	char why[256];
	int ret = chipboot_session_create(&session, 4);

	for (int i = 0; ret >= 0 && i < 4; i++) {
		ret = chipboot_fork(session, i, SIGKILL, 0, &publisher, &observer);
		if (ret == 0)	/* the runtime process of chip i */
			_exit(i == 3 ? 7 :	/* dies without a word */
			      -chipboot_publish_success(publisher, 0xc0de + i, 0x1000 * i, 0x1000, NULL, 0));
	}
	if (ret >= 0)
		ret = chipboot_wait(chipboot_session_observer(session), CHIPBOOT_ALL, 10000000000, 0, 0);
	if (ret < 0) {
		fprintf(stderr, "hello: %s\n", chipboot_explain(ret, why, sizeof(why)));
		return 1;
	}
	for (int i = 0; i < 4; i++)
		if (chipboot_read(chipboot_session_observer(session), i, &answer) == CHIPBOOT_STATE_SUCCESS)
			printf("chip %d is up: context %#llx\n", i, (unsigned long long)answer.device_ctx);
		else
			printf("chip %d is not: %s\n", i, answer.message);
	chipboot_session_close(session);
	while (wait(NULL) > 0)
		;
	return 0;
}
