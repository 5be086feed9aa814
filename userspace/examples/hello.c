// SPDX-License-Identifier: MIT
/*
 * The least a launcher does: four processes, one answer from each.
 */
#include <chipboot.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int bring_up(struct chipboot_publisher *publisher, int chip)
{
	if (chip == 3)
		return 7;	/* dies without a word */
	return -chipboot_publish_success(publisher, 0xc0de + chip, 0, 0, NULL, 0);
}

int main(void)
{
	struct chipboot_session *session;
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	struct chipboot_answer answer;
	int chip, ret = chipboot_session_create(&session, 4);
	char why[256];

	for (chip = 0; chip < 4 && ret >= 0; chip++) {
		ret = chipboot_fork(session, chip, SIGKILL, 0, &publisher, &observer);
		if (ret == 0)
			_exit(bring_up(publisher, chip));
	}
	if (ret >= 0)
		ret = chipboot_wait(chipboot_session_observer(session), CHIPBOOT_ALL,
				    CHIPBOOT_FOREVER, 0, 0);
	if (ret < 0) {
		fprintf(stderr, "hello: %s\n", chipboot_explain(ret, why, sizeof(why)));
		return 1;
	}
	for (chip = 0; chip < 4; chip++) {
		chipboot_read(chipboot_session_observer(session), chip, &answer);
		printf("chip %d: %s %s\n", chip, chipboot_state_name(answer.state),
		       answer.message);
	}
	while (wait(NULL) > 0)
		;
	chipboot_session_close(session);
	return 0;
}
