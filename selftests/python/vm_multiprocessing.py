# SPDX-License-Identifier: MIT
# arch: x86_64
# vm: --timeout 1800
"""Handles as arguments of multiprocessing's processes, by every start method."""

import errno
import multiprocessing
import os
import pickle

import pytest

import chipboot
from chipboot import ChipFailed, Origin, Session, State

METHODS = ["fork", "spawn", "forkserver"]
LONG = 600


def answers(publisher, observer):
    publisher.bind()
    publisher.publish_success(os.getpid(), publisher.channel,
                              len([fd for fd in (publisher, observer)
                                   if os.get_inheritable(fd.fileno())]))
    # Peers' answers too.
    observer.wait(LONG)


def dies(publisher):
    publisher.bind()
    publisher.progress("loading")
    os._exit(42)


def raises(publisher):
    with publisher.reporting():
        raise RuntimeError("firmware mismatch")


@pytest.mark.parametrize("method", METHODS)
def test_answers(method):
    context = multiprocessing.get_context(method)
    with Session(2) as session:
        processes = []
        for i in range(2):
            with session.claim(i) as publisher:
                process = context.Process(target=answers,
                                          args=(publisher, session.observe()))
                process.start()
                processes.append(process)
        got = session.wait(LONG)
        assert [a.device_ctx for a in got] == [p.pid for p in processes]
        assert [a.pid for a in got] == [p.pid for p in processes]
        assert [a.local_window_base for a in got] == [0, 1]
        assert [a.actual_window_size for a in got] == [0, 0], "over exec"
        for process in processes:
            process.join()
            assert process.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_failures(method):
    context = multiprocessing.get_context(method)
    with Session(2) as session:
        processes = []
        for i, target in enumerate((dies, raises)):
            with session.claim(i) as publisher:
                processes.append(context.Process(target=target,
                                                 args=(publisher,)))
                processes[-1].start()
        with pytest.raises(ChipFailed) as caught:
            session.wait(LONG)
        for process in processes:
            process.join()
    died, said = sorted(caught.value.failures)
    assert (died.origin, died.exit_code) == (Origin.EXIT, 42)
    assert "loading" in died.cause
    assert said.cause == "error 1: RuntimeError: firmware mismatch"


def receives(pipe):
    publisher = pipe.recv()
    publisher.publish_success(1, 2, 3)


def test_through_a_pipe():
    """To a process that runs already."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=receives, args=(theirs,))
    process.start()
    with Session(1) as session, session.claim(0) as publisher:
        ours.send(publisher)
        assert session.wait(LONG)[0].local_window_base == 2
        process.join()


def test_stale_on_the_way():
    """A publisher that a reset has dropped does not arrive; nothing leaks."""
    before = len(os.listdir("/proc/self/fd"))
    with Session(1) as session:
        publisher = session.claim(0)
        publisher.publish_success(0, 0, 0)
        session.reset()
        fd = os.dup(publisher.fileno())
        with pytest.raises(chipboot.Error) as caught:
            chipboot._session._unpickled(chipboot.Publisher, Sent(fd))
        assert caught.value.errno == errno.ESTALE
        publisher.close()
        assert session.read(0).state is State.IDLE
        with pytest.raises(TypeError, match="belongs to the process"):
            pickle.dumps(session)
    assert len(os.listdir("/proc/self/fd")) == before


class Sent:
    """What DupFd is at its destination."""

    def __init__(self, fd):
        self.fd = fd

    def detach(self):
        return self.fd
