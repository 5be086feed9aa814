# SPDX-License-Identifier: MIT
# arch: x86_64
# vm: --timeout 1800 --file README.md --file selftests/python/processes.py
"""chipboot.Session in a machine with the module: processes, failures, waiting."""

import contextlib
import errno
import gc
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import threading

import pytest

import chipboot
from chipboot import ChipFailed, Origin, OwnerState, Session, State, WaitTimeout
from processes import LONG, child, process, reap, until_asleep


def runtime(session, channel, work, **how):
    """session.fork(); the child runs WORK(publisher, observer) and exits."""
    pid, publisher, observer = session.fork(channel, **how)
    if not pid:
        child(work, publisher, observer)
    assert publisher is None and observer is None
    return pid


def own_handles():
    """What /proc says of this process's descriptors of the module."""
    # A test's frame that an exception has gone through is garbage in a cycle.
    gc.collect()
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [name for name in found if "chipboot" in name]


@contextlib.contextmanager
def error(number):
    with pytest.raises(chipboot.Error) as caught:
        yield
    assert caught.value.errno == number, caught.value
    assert len(caught.value.strerror) > 10, "no words"


# ---- answers ----------------------------------------------------------------

def test_every_process_answers():
    with Session(3) as session:
        pids = [runtime(session, i, lambda publisher, _: publisher
                        .publish_success(2 ** 64 - 1, publisher.channel, 4096,
                                         [7, 2 ** 64 - 1]))
                for i in range(3)]
        answers = session.wait(LONG)
        reap(*pids)
        status = session.status()
    assert [answer.channel for answer in answers] == [0, 1, 2]
    assert sorted(answer.order for answer in answers) == [1, 2, 3]
    for i, answer in enumerate(answers):
        assert answer.state is State.SUCCESS
        assert answer.origin is Origin.PUBLISHER
        assert (answer.device_ctx, answer.local_window_base,
                answer.actual_window_size) == (2 ** 64 - 1, i, 4096)
        assert answer.buffer_ptrs == (7, 2 ** 64 - 1)
        assert (answer.pid, answer.message, answer.cause) == (pids[i], "", "")
    assert (status.channels, status.idle, status.success, status.error) == \
        (3, 0, 3, 0)
    assert status.first_failed is None and status.owner_pid == os.getpid()
    assert session.closed
    with pytest.raises(ValueError, match="closed"):
        session.read(0)


def test_read_without_waiting():
    with Session(1) as session, session.claim(0) as publisher:
        assert session.read(0).state is State.IDLE
        publisher.progress("firmware")
        assert session.read(0).message == "firmware"
        assert session.pending() == [0]
        publisher.publish_error(-2 ** 31, "no device")
        answer = session.read(0)
        assert (answer.error_code, answer.message) == (-2 ** 31, "no device")
        assert answer.cause == f"error {-2 ** 31}: no device"
        assert session.pending() == []
        with error(errno.ENOENT):
            session.read(1)


def test_once():
    with Session(1) as session, session.claim(0) as publisher:
        publisher.publish_success(1, 2, 3, [])
        with error(errno.EALREADY):
            publisher.publish_error(1, "late")
        with error(errno.EALREADY):
            publisher.progress("late")
        assert session.read(0).device_ctx == 1


def test_too_many_pointers():
    with Session(1) as session, session.claim(0) as publisher:
        with error(errno.EOVERFLOW):
            publisher.publish_success(0, 0, 0, range(377))
        with pytest.raises(OverflowError):
            publisher.publish_success(0, 0, 0, [2 ** 64])
        with pytest.raises((OverflowError, TypeError)):
            publisher.publish_success(-1, 0, 0)
        assert session.read(0).state is State.IDLE
        publisher.publish_success(0, 0, 0, range(376))
        assert session.read(0).buffer_ptrs == tuple(range(376))


def test_text_that_is_not_utf8():
    with Session(1) as session, session.claim(0) as publisher:
        publisher.progress("at \udcff")
        assert session.read(0).message == "at \udcff"
        publisher.publish_error(1, "caf\u00e9 \udce9")
        assert session.read(0).message == "caf\u00e9 \udce9"
        with pytest.raises(ValueError, match="NUL"):
            publisher.publish_error(1, "a\0b")


def test_long_text_is_cut():
    with Session(1) as session, session.claim(0) as publisher:
        publisher.publish_error(1, "x" * 1022 + "\u20ac")
        assert session.read(0).message == "x" * 1022
        assert session.read(0).was_cut


def test_bad_arguments():
    with pytest.raises(chipboot.Error):
        Session(0)
    with pytest.raises((OverflowError, TypeError)):
        Session(-1)
    with pytest.raises(TypeError):
        Session("2")
    for kind in chipboot.Publisher, chipboot.Observer:
        with pytest.raises(TypeError, match="made by a session"):
            kind()
    with Session(1) as session:
        with pytest.raises(TypeError, match="belongs to the process"):
            pickle.dumps(session)
        with error(errno.ENOENT):
            session.claim(1)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, -math.inf, 1e300,
                                     10 ** 400, True, "1", b"1", [1], 1j])
def test_bad_times(seconds):
    wrong = ValueError if isinstance(seconds, (int, float)) and \
        seconds is not True else TypeError
    with Session(1) as session:
        with pytest.raises(wrong, match="timeout"):
            session.wait(seconds)
        with pytest.raises(wrong, match="deadline"):
            session.deadline(seconds)
        with pytest.raises(ValueError, match="deadline"):
            session.deadline(0)
        assert session.status().deadline_ns is None


# ---- failures ---------------------------------------------------------------

def test_failures():
    go, tell = os.pipe()

    def dies(publisher, _):
        publisher.progress("mapping HBM")
        os._exit(42)

    def killed(publisher, observer):
        observer.mailbox(2)
        os.read(go, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    def says(publisher, _):
        os.read(go, 1)
        publisher.publish_error(7, "no device")

    with Session(4) as session:
        with session.claim(0) as publisher:
            publisher.publish_success(0, 0, 0)
        pids = [runtime(session, 2, dies)]
        with pytest.raises(ChipFailed) as caught:
            session.wait(LONG, fail_fast=True)
        assert caught.value.chips == [2]
        # The death is an answer before anybody has reaped the child.
        assert os.waitpid(pids[0], 0)[1] == 42 << 8
        pids = [runtime(session, 1, says)]
        os.write(tell, b"1")
        reap(*pids)
        pids = [runtime(session, 3, killed)]
        os.write(tell, b"3")
        with pytest.raises(ChipFailed) as caught:
            session.wait(LONG)
        assert os.waitpid(pids[0], 0)[1] == signal.SIGKILL
        assert session.status().first_failed == 2
    failed = caught.value
    for failed in caught.value, pickle.loads(pickle.dumps(caught.value)):
        assert failed.chips == [1, 2, 3] and failed.channels == 4
        assert [a.channel for a in failed.failures] == [2, 1, 3]
        assert [a.origin for a in failed.failures] == \
            [Origin.EXIT, Origin.PUBLISHER, Origin.EXIT]
        assert [a.exit_code for a in failed.failures][::2] == [42, -9]
        first = failed.first
        assert first.error_code == -errno.EOWNERDEAD
        assert "42" in first.cause and "mapping HBM" in first.cause
        assert failed.failures[1].cause == "error 7: no device"
        assert "signal 9" in failed.failures[2].cause
        assert str(failed) == ("3 of 4 chips failed: [1, 2, 3]; first: chip 2, "
                               + first.cause)
    os.close(go)
    os.close(tell)


def test_last_close_is_an_answer():
    with Session(1) as session:
        session.claim(0).close()
        with pytest.raises(ChipFailed) as caught:
            session.wait(LONG)
    assert caught.value.first.origin is Origin.CLOSED
    assert caught.value.first.exit_code is None


def test_dies_after_success():
    with Session(1) as session:
        pid = runtime(session, 0, lambda publisher, _: publisher
                      .publish_success(0, 0, 0))
        session.wait(LONG)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with session.observe(chipboot.Event.GONE) as gone:
            assert gone.status().holds & chipboot.Event.GONE
        os.waitpid(pid, 0)
        answer = session.read(0)
        assert answer.state is State.SUCCESS and answer.is_gone
        assert (answer.exit_code, session.status().gone) == (0, 1)


@pytest.mark.parametrize("raised, text", [
    (ValueError("bad firmware"), "ValueError: bad firmware"),
    (KeyboardInterrupt(), "KeyboardInterrupt: "),
    (SystemExit(3), "SystemExit: 3"),
    (OSError(2, "gone", "/\udcff"), "FileNotFoundError: [Errno 2] gone: '/\\udcff'"),
    (ValueError("a\0b \udcff"), "ValueError: a\\0b \udcff"),
    (ValueError("\ud800"), "ValueError: \\ud800")])
def test_reporting(raised, text):
    with Session(1) as session, session.claim(0) as publisher:
        with pytest.raises(type(raised)) as caught, publisher.reporting() as same:
            assert same is publisher
            raise raised
        assert caught.value is raised
        answer = session.read(0)
        assert (answer.state, answer.error_code, answer.message) == \
            (State.ERROR, 1, text)


def test_reporting_leaves_an_answer():
    with Session(2) as session:
        with session.claim(0) as publisher, publisher.reporting():
            publisher.publish_success(5, 0, 0)
        with session.claim(1) as publisher, pytest.raises(ValueError):
            with publisher.reporting():
                publisher.publish_success(6, 0, 0)
                raise ValueError("later")
        assert [answer.device_ctx for answer in session.wait()] == [5, 6]


# ---- waiting ----------------------------------------------------------------

def test_timeout_names_who_is_pending():
    with Session(3) as session:
        publishers = [session.claim(i) for i in range(3)]
        publishers[0].publish_success(0, 0, 0)
        publishers[1].progress("comm_init")
        for seconds in 0, 0.05:
            with pytest.raises(TimeoutError) as caught:
                session.wait(seconds)
            assert isinstance(caught.value, WaitTimeout)
            assert isinstance(caught.value, chipboot.Error)
            assert caught.value.errno == errno.ETIMEDOUT
            for copy in caught.value, pickle.loads(pickle.dumps(caught.value)):
                assert [a.channel for a in copy.pending] == [1, 2]
                assert copy.pending[0].message == "comm_init"
                assert "[1, 2] pending; chip 1: comm_init" in str(copy)


def test_arrival_order():
    with Session(4) as session:
        publishers = [session.claim(i) for i in range(4)]
        publishers[2].publish_error(1, "first")
        publishers[0].publish_success(0, 0, 0)
        answers = iter(session)
        assert [next(answers).channel for _ in range(2)] == [2, 0]
        publishers[3].progress("nothing that ends the sleep for good")
        publishers[3].publish_success(0, 0, 0)
        assert next(answers).channel == 3
        publishers[1].publish_success(0, 0, 0)
        assert [answer.channel for answer in answers] == [1]


def test_iteration_sleeps():
    parent = os.getpid()

    def later(publisher, _):
        until_asleep(parent)
        publisher.progress("awake")
        until_asleep(parent)
        publisher.publish_success(9, 0, 0)

    with Session(2) as session:
        session.claim(1).publish_success(1, 0, 0)
        pid = runtime(session, 0, later)
        assert [answer.channel for answer in session] == [1, 0]
        reap(pid)


def test_owner_dies():
    """Whoever waits or iterates hears of it, answered or not."""
    read_end, write_end = os.pipe()

    def bereft(publisher, observer):
        for wait in observer.wait, lambda: list(observer):
            try:
                wait()
            except chipboot.Error as caught:
                os.write(write_end, bytes([caught.errno]))
        dead = observer.status().owner_state is OwnerState.DEAD
        os.write(write_end, bytes([dead]))

    def launcher():
        session = Session(1)
        pid = runtime(session, 0, bereft, death_signal=0)
        until_asleep(pid)
        os._exit(0 if session.pending() == [0] else 1)

    reap(process(launcher))
    os.close(write_end)
    got = b""
    while len(got) < 3 and (more := os.read(read_end, 9)):
        got += more
    assert list(got) == [errno.EOWNERDEAD, errno.EOWNERDEAD, 1]
    os.close(read_end)


def test_ctrl_c():
    """A real SIGINT, in every wait; the session lives on."""
    parent = os.getpid()

    def interrupt():
        until_asleep(parent)
        os.kill(parent, signal.SIGINT)

    with Session(1) as session, session.claim(0) as publisher:
        observer = session.observe()
        for wait in session.wait, lambda: session.wait(LONG), \
                lambda: session.wait(fail_fast=True), lambda: list(session), \
                observer.wait, lambda: list(observer):
            pid = process(interrupt)
            with pytest.raises(KeyboardInterrupt):
                wait()
            reap(pid)
        publisher.publish_success(0, 0, 0)
        assert session.wait()


def test_signal_handler_does_not_end_a_wait():
    parent, seen = os.getpid(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(True))

    def later(publisher, _):
        until_asleep(parent)
        os.kill(parent, signal.SIGUSR1)
        while os.getppid() == parent:
            with open(f"/proc/{parent}/status", encoding="ascii") as file:
                if not int(re.search(r"ShdPnd:\s*(\w+)", file.read())[1], 16):
                    break
        until_asleep(parent)
        publisher.publish_success(0, 0, 0)

    try:
        with Session(1) as session:
            pid = runtime(session, 0, later)
            assert session.wait(LONG) and seen == [True]
            reap(pid)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("wait", [
    lambda session: session.wait(60), lambda session: session.wait(fail_fast=True),
    list])
def test_other_threads_run_during_a_wait(wait):
    """With this switch interval another thread runs only if the wait lets it."""
    interval = sys.getswitchinterval()
    go = threading.Lock()
    with Session(1) as session, session.claim(0) as publisher:
        def answer():
            with go:
                publisher.publish_success(3, 0, 0)

        go.acquire()
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            sys.setswitchinterval(3600)
            go.release()
            assert wait(session)[0].device_ctx == 3
        finally:
            sys.setswitchinterval(interval)
        thread.join()


def test_close_under_a_wait():
    with Session(1) as session, session.claim(0) as publisher:
        observer = session.observe()
        result = []
        thread = threading.Thread(
            target=lambda: result.append(observer._wait(0, -1, False)))
        thread.start()
        until_asleep(f"self/task/{thread.native_id}")
        observer.close()
        assert observer.closed
        publisher.publish_success(0, 0, 0)
        thread.join()
        assert result == [1]


# ---- what an owner does -----------------------------------------------------

def test_deadline():
    with Session(2) as session:
        publishers = [session.claim(i) for i in range(2)]
        publishers[1].publish_success(0, 0, 0)
        publishers[0].progress("link training")
        session.deadline(LONG)
        status = session.status()
        assert status.now_ns < status.deadline_ns
        session.deadline(None)
        assert session.status().deadline_ns is None
        session.deadline(0.05)
        with pytest.raises(ChipFailed) as caught:
            session.wait()
        first = caught.value.first
        assert caught.value.chips == [0] and first.origin is Origin.DEADLINE
        assert first.error_code == -errno.ETIMEDOUT
        assert "link training" in first.cause
        with error(errno.ECANCELED):
            publishers[0].publish_success(0, 0, 0)


def test_deadline_at():
    with Session(1) as session, session.claim(0):
        session.deadline_at(session.status().now_ns + LONG * 10 ** 9)
        assert session.read(0).state is State.IDLE
        session.deadline_at(session.status().now_ns - 1)
        with pytest.raises(ChipFailed) as caught:
            session.wait()
        assert caught.value.first.origin is Origin.DEADLINE


def test_abort():
    with Session(3) as session:
        publishers = [session.claim(i) for i in range(3)]
        publishers[1].publish_success(0, 0, 0)
        assert session.abort(125, "giving up \udcff") == 2
        assert session.abort(126, "again") == 0
        with pytest.raises(ChipFailed) as caught:
            session.wait()
        assert caught.value.chips == [0, 2]
        first = caught.value.first
        assert (first.origin, first.error_code, first.message) == \
            (Origin.OWNER, 125, "giving up \udcff")
        with error(errno.ECANCELED):
            publishers[0].publish_success(0, 0, 0)


def test_reset():
    with Session(2) as session:
        dropped, kept = session.claim(0), session.claim(1)
        dropped.publish_success(1, 0, 0)
        with error(errno.EBUSY):
            session.reset()
        kept.publish_error(1, "x")
        session.reset(0, 1)
        session.reset(1, keep=True)
        assert session.pending() == [0, 1]
        assert session.read(0).generation == session.read(1).generation == 2
        with error(errno.ESTALE):
            dropped.publish_success(2, 0, 0)
        with error(errno.ESTALE):
            dropped.refresh()
        with error(errno.ESTALE):
            kept.publish_success(2, 0, 0)
        assert kept.generation == 1
        kept.refresh()
        assert kept.generation == 2
        kept.publish_success(2, 0, 0)
        session.claim(0).publish_success(3, 0, 0)
        assert [(answer.device_ctx, answer.order)
                for answer in session.wait()] == [(3, 4), (2, 3)]


def test_detach():
    session = Session(1)
    publisher, observer = session.claim(0), session.observe()
    session.detach()
    with pytest.raises(chipboot.Error):
        session.claim(0)
    session.close()
    session.close()
    assert observer.status().owner_state is OwnerState.DETACHED
    publisher.publish_success(4, 0, 0)
    assert observer.wait(LONG)[0].device_ctx == 4


def test_close_is_seen():
    session = Session(1)
    publisher, observer = session.claim(0), session.observe()
    session.close()
    assert observer.status().owner_state is OwnerState.CLOSED
    with error(errno.EOWNERDEAD):
        observer.wait()
    publisher.close()


# ---- forks ------------------------------------------------------------------

def test_forked_child_touches_nobody():
    """The child leaves the parent's with-block by an exception."""
    with Session(2) as session, session.observe() as observer:
        publisher = session.claim(0)
        before = own_handles()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                with session, observer, publisher:
                    try:
                        session.abort(1, "not mine")
                    except chipboot.Error as caught:
                        code = 0 if caught.errno == errno.EPERM else 2
                    raise RuntimeError("the child unwinds")
            except RuntimeError:
                code = code or (3 if own_handles() else 0)
            finally:
                os._exit(code)
        reap(pid)
        assert own_handles() == before
        assert session.status().owner_state is OwnerState.ALIVE
        assert session.pending() == [0, 1]
        publisher.publish_success(1, 0, 0)
        session.claim(1).publish_success(2, 0, 0)
        assert [a.device_ctx for a in session.wait()] == [1, 2]
        publisher.close()
    assert not own_handles()


def test_fork_child_has_its_own_only():
    def counts(publisher, observer):
        names = own_handles()
        publisher.publish_success(len(names), observer.status().channels, 0)

    with Session(2) as session:
        others = session.claim(1), session.observe()
        reap(runtime(session, 0, counts))
        answer = session.read(0)
        # A publisher and an observer, which may have a second descriptor.
        assert answer.device_ctx in (2, 3) and answer.local_window_base == 2
        assert session.pending() == [1] and not others[0].closed


def test_child_after_os_fork():
    with Session(2) as session:
        publishers = [session.claim(i) for i in range(2)]

        def be(channel):
            publisher, observer = session.child(channel)
            assert publisher is publishers[channel]
            assert len(own_handles()) in (2, 3)
            with pytest.raises((chipboot.Error, ValueError)):
                publishers[1 - channel].publish_error(1, "another's")
            with pytest.raises((chipboot.Error, ValueError)):
                session.wait(0)
            publisher.publish_success(os.getpid(), 0, 0)
            assert observer.read(channel).state is State.SUCCESS

        pids = [process(be, i) for i in range(2)]
        assert [a.device_ctx for a in session.wait(LONG)] == pids
        reap(*pids)


def test_child_not_claimed():
    with Session(1) as session:
        def be():
            with error(errno.ENOENT):
                session.child(0)
        reap(process(be))


def test_bind_by_parent():
    go, tell = os.pipe()
    with Session(1) as session, session.claim(0) as publisher:
        pid = process(lambda: os.read(go, 1) and os._exit(7))
        publisher.bind(pid)
        with error(errno.ESRCH):
            publisher.bind(2 ** 22)
        os.write(tell, b"x")
        with pytest.raises(ChipFailed) as caught:
            session.wait(LONG)
        os.waitpid(pid, 0)
        assert caught.value.first.exit_code == 7
    os.close(go)
    os.close(tell)


def test_nothing_over_exec():
    with Session(1) as session, session.claim(0), session.observe():
        assert len(own_handles()) >= 3
        listing = subprocess.run(["ls", "-l", "/proc/self/fd"], check=True,
                                 close_fds=False, stdout=subprocess.PIPE,
                                 text=True).stdout
    assert "->" in listing and "chipboot" not in listing


def test_no_descriptor_is_left():
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with Session(2) as session:
            session.claim(0).publish_success(0, 0, 0)
            publisher = session.claim(1)
            iterator = iter(session)
            next(iterator)
            publisher.publish_error(1, "x")
            with pytest.raises(ChipFailed):
                session.wait()
            del publisher, iterator
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_from_env():
    """Under `chipboot run`, which is another program's session."""
    code = ("import chipboot; p, o = chipboot.from_env(); "
            "p.publish_success(40 + p.channel, 0, 0); o.wait()")
    done = subprocess.run(["chipboot", "run", "-n", "2", "--", sys.executable,
                           "-c", code], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with error(errno.ENOENT):
        chipboot.from_env()


def test_readme():
    """What README shows, as printed there."""
    with open("README.md", encoding="utf-8") as file:
        section = file.read().split("\n## Use it from Python\n")[1]
    code, said = re.search(r"```python\n(.*?)```\n\n    (.*?)\n", section,
                           re.DOTALL).groups()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True,
                          text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (said, "")
