// SPDX-License-Identifier: MIT
/* The least a launcher does: four processes, one answer from each. */
#include <chipboot.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	struct chipboot_session *session;
	struct chipboot_publisher *mine;
	struct chipboot_observer *peers, *all;
	struct chipboot_answer answer;
	int chip, ret = chipboot_session_create(&session, 4);
	char why[256];

	for (chip = 0; chip < 4 && ret >= 0; chip++) {
		ret = chipboot_fork(session, chip, SIGKILL, 0, &mine, &peers);
		if (ret == 0)	/* the runtime process; chip 3 dies without a word */
			_exit(chip == 3 ? 7 :
			      chipboot_publish_success(mine, chip, 0xb000, 4096, NULL, 0));
	}
	if (ret < 0) {
		fprintf(stderr, "hello: %s\n", chipboot_explain(ret, why, sizeof(why)));
		return 1;
	}
	all = chipboot_session_observer(session);
	chipboot_wait(all, CHIPBOOT_ALL, CHIPBOOT_FOREVER, 0, 0);
	for (chip = 0; chip < 4; chip++) {
		chipboot_read(all, chip, &answer);
		printf("chip %d: %s %s\n", chip, chipboot_state_name(answer.state), answer.message);
	}
	chipboot_session_close(session);
	return 0;
}
