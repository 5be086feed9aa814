# SPDX-License-Identifier: MIT
"""Processes that the guest tests start and watch. Travels with those that name it
in their `vm:` line."""

import os
import re
import time

# Of a wait that must succeed: a host may be busy, a test must end.
LONG = 600


def child(work, *args):
    """In a forked child: run WORK and exit, with 99 if it raised."""
    code = 99
    try:
        work(*args)
        code = 0
    finally:
        os._exit(code)


def process(work, *args):
    """os.fork(); the child runs WORK and exits."""
    pid = os.fork()
    if not pid:
        child(work, *args)
    return pid


def reap(*pids):
    """They have ended well, or do."""
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def until_asleep(pid):
    """Until the process sleeps in poll(), ppoll() or epoll_wait()."""
    while True:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            if re.match(r"(7|271|232|281) ", file.read()):
                return
        time.sleep(0.01)
