# SPDX-License-Identifier: MIT
# arch: x86_64
# vm: --timeout 1800 --file userspace/examples/worker.py --file selftests/python/processes.py
"""The example's Worker: what a launcher that forks owes to its users, whatever its
children do. And the example as a program."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time

import pytest

import chipboot
import worker
from chipboot import OwnerState
from processes import LONG, process, reap, until_asleep
from worker import Config, Up, Worker, WorkerFailed


# ---- what a test says and sees ----------------------------------------------

class Board:
    """Where chips' processes write, and the test reads; everybody inherits it."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()
        self.lines = []
        self.rest = b""

    def say(self, *words):
        os.write(self.write_end, (" ".join(map(str, words)) + "\n").encode())

    def hear(self, count=1):
        """So many lines, as lists of words; those that more was said of stay."""
        while len(self.lines) < count:
            *whole, self.rest = (self.rest + os.read(self.read_end, 4096)).split(b"\n")
            self.lines += [line.decode().split() for line in whole]
        heard, self.lines = self.lines[:count], self.lines[count:]
        return heard

    def all(self):
        """Every line there is."""
        self.say("end")
        lines = []
        while (line := self.hear()[0]) != ["end"]:
            lines.append(line)
        return lines

    def close(self):
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.fixture(name="board")
def fixture_board():
    board = Board()
    yield board
    board.close()


def processes():
    """Every process but the kernel's own, {pid: name}, zombies included."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                comm, _, rest = file.read().partition(" (")[2].rpartition(") ")
            if "2" not in (name, rest.split()[1]):
                found[int(name)] = comm
    return found


def descriptors():
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return sorted(found)


def files():
    return [os.path.join(where, name) for top in ("/dev", "/tmp", ".")
            for where, _, names in os.walk(top) for name in names
            if not where.startswith("/tmp/pytest-of-")]


@pytest.fixture(autouse=True)
def fixture_nothing_left(board):
    """After every test: no process, no descriptor, no file, no changed signal."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    before = processes(), descriptors(), files()
    yield
    # Orphans are init's to reap; of our own children none is.
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    while processes() != before[0]:
        time.sleep(0.01)
    assert descriptors() == before[1]
    assert files() == before[2]
    assert handlers == {n: signal.getsignal(n) for n in handlers}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert board.all() == []


def chip(name, board=None, work=lambda chip: None, buffers=(), clean=lambda: None):
    """A chip that says who it is, and that it cleans up; between, WORK(chip)."""
    @contextlib.contextmanager
    def bring_up(me):
        if board:
            board.say(me.name, os.getpid())
        try:
            yield work(me) or Up(me.rank, 0xb000, 4096,
                                 {name: me.rank for name in buffers})
        finally:
            clean()
            if board:
                board.say(me.name, "clean")
    return Config(name, bring_up, buffers)


def node(name, *configs, **how):
    """A chip that is a worker itself; its answer has what the first of its own said."""
    @contextlib.contextmanager
    def bring_up(me):
        with Worker(configs, parent=me, **how) as own:
            first = own.contexts[f"{me.name}/{configs[0].name}"]
            yield Up(first.device_ctx, own.session.status().deadline_ns or 0, 0)
    return Config(name, bring_up)


def raises(error):
    def work(me):
        for answer in me.peers:
            # The last one fails when all before it are up.
            if answer.order == me.ranks - 1:
                raise error
        raise error
    return work


def hangs(me, tell=lambda: None):
    """Does nothing more once it has told."""
    me.progress("comm_init")
    tell()
    while True:
        time.sleep(LONG)


def hangs_in_a_driver(me, tell=lambda: None):
    """The same, and does not listen."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hangs(me, tell)


class DeadlineNow(Worker):
    """Its deadline passes when so many lines stand on the board."""

    def __init__(self, configs, board, lines, **how):
        super().__init__(configs, **how)
        self.board, self.lines, self.heard = board, lines, None

    def _wait(self, session):
        self.heard = self.board.hear(self.lines)
        session.deadline(0.001)
        return super()._wait(session)


def failure(bad, text, *words):
    """It is BAD that failed, first; TEXT is how its cause begins."""
    names = list(bad.causes)
    assert bad.causes[names[0]].startswith(text), bad.causes
    for word in words:
        assert word in str(bad)
    return names[0]


# ---- all goes well ----------------------------------------------------------

def test_contexts_by_name(board):
    configs = [chip("north", board, buffers=("x", "y")), chip("south", board)]
    launcher = Worker(configs)
    with pytest.raises(RuntimeError, match="after init"):
        print(launcher.contexts)
    for _ in range(2):
        launcher.init()
        with pytest.raises(RuntimeError, match="close.. comes first"):
            launcher.init()
        said = dict(board.hear(2))
        assert sorted(launcher.contexts) == ["north", "south"]
        assert launcher.contexts["north"] == worker.Context(
            "north", 0, int(said["north"]), 0, 0xb000, 4096, {"x": 0, "y": 0})
        south = launcher.contexts["south"]
        assert (south.rank, south.pid, south.device_ctx, south.buffers) == \
            (1, int(said["south"]), 1, {})
        launcher.close()
        launcher.close()
        assert launcher.exit_codes == {"north": 0, "south": 0}
        assert sorted(board.hear(2)) == [["north", "clean"], ["south", "clean"]]
        with pytest.raises(RuntimeError, match="after init"):
            print(launcher.contexts)


def whoami(me, *args):
    return me.name, os.getpid(), [peer.name for peer in me.contexts()], args


def test_work():
    with Worker([chip(name) for name in ("a", "b", "c")]) as launcher:
        for args in (), (1, "two"):
            got = launcher.run(whoami, *args)
            assert got == {name: (name, context.pid, ["a", "b", "c"], args)
                           for name, context in launcher.contexts.items()}


def test_wrong_configurations():
    for configs, error in (
            ([], "no chips"), ([chip("a"), chip("a")], "two chips have the name 'a'"),
            ([chip("a", buffers=[str(n) for n in range(377)])], "room for 376")):
        with pytest.raises(ValueError, match=error):
            Worker(configs)


def untouchable(*_):
    raise AssertionError("something exists")


@pytest.mark.parametrize("argument", ["timeout", "grace"])
@pytest.mark.parametrize("seconds", [0, 0.0, -1, math.inf, -math.inf, math.nan, 1e300,
                                     10 ** 400, True, False, "1", b"1", "", [1], {}])
def test_invalid_timeouts(monkeypatch, argument, seconds):
    """Refused before anything exists."""
    for where, name in (worker, "Session"), (os, "fork"), (os, "pipe"):
        monkeypatch.setattr(where, name, untouchable)
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    with pytest.raises(ValueError if number else TypeError,
                       match=f"{argument} (must be|is too long)"):
        Worker([chip("a")], **{argument: seconds})


# ---- one fails --------------------------------------------------------------

@pytest.mark.parametrize("error, text", [
    (ValueError("firmware 3 != 4"), "error 1: ValueError: firmware 3 != 4"),
    (OSError(19, "No such device"), "error 1: OSError: [Errno 19] No such device"),
    (RuntimeError("caf\udce9"), "error 1: RuntimeError: caf\udce9"),
    (SystemExit(3), "error 1: SystemExit: 3")])
def test_error_text_reaches_the_launcher(error, text):
    launcher = Worker([chip("good"), chip("bad", work=raises(error))])
    with pytest.raises(WorkerFailed) as caught:
        launcher.init()
    assert caught.value.causes == {"bad": text}
    assert str(caught.value) == f"1 of 2 chips failed: bad; first: bad, {text}"
    assert not caught.value.timed_out
    assert isinstance(caught.value.__cause__, chipboot.ChipFailed)
    assert launcher.exit_codes == {"good": 0, "bad": 1}


def test_stopped_while_it_says_that_it_failed(monkeypatch):
    """The launcher knows as soon as the answer is there, and stops everybody: the one
    that failed has failed nonetheless."""
    publish_error = chipboot.Publisher.publish_error

    def publish_and_be_stopped(publisher, code, text):
        publish_error(publisher, code, text)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(chipboot.Publisher, "publish_error", publish_and_be_stopped)
    launcher = Worker([chip("good"), chip("bad", work=raises(ValueError("firmware")))])
    with pytest.raises(WorkerFailed):
        launcher.init()
    assert launcher.exit_codes == {"good": 0, "bad": 1}


def test_up_when_the_session_has_ended(board):
    """It is stopped, by what it hears first: the refusal or SIGTERM."""
    def late(me):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        while me.peers.read(me.rank).state is not chipboot.State.ERROR:
            time.sleep(0.01)

    def bad(_):
        raise ValueError("firmware")

    launcher = Worker([chip("late", board, work=late), chip("bad", work=bad)])
    with pytest.raises(WorkerFailed) as caught:
        launcher.init()
    assert list(caught.value.causes) == ["bad"]
    assert [words[1:] for words in board.hear(2)][1] == ["clean"]
    assert launcher.exit_codes == {"late": 0, "bad": 1}


def test_what_a_bring_up_must_give():
    for work, error in ((lambda me: Up(1, 2, 3, {"x": 1, "z": 2}), "not ['x', 'y']"),
                        (lambda me: Up(-1, 2, 3, {"x": 1, "y": 2}), "OverflowError"),
                        (lambda me: 5, "AttributeError")):
        with pytest.raises(WorkerFailed) as caught:
            Worker([chip("a", work=work, buffers=("x", "y"))]).init()
        assert error in caught.value.causes["a"]


class Observed(Worker):
    """Looks at a chip that failed before anybody has reaped it."""

    seen = None

    def _end(self, why):
        if self._contexts is None and self._children:
            pid = self._children[-1].pid
            code = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            self.seen = why, processes()[pid], code and code.si_status
        super()._end(why)


class AtOnce(Observed):
    """The last chip ends before it has done anything, and the first hangs there: with
    every handle that the launcher had when they were forked."""

    def _live(self, rank, connection, stop):
        if rank == len(self._configs) - 1:
            os._exit(42)
        elif not rank:
            time.sleep(LONG)
        super()._live(rank, connection, stop)


@pytest.mark.parametrize("kind", [Observed, AtOnce])
def test_exit_before_an_answer(kind):
    """Named with its code while it is a zombie still."""
    def dies(me):
        me.progress("loading firmware")
        os._exit(42)

    launcher = kind([chip("a"), chip("b"), chip("dead", work=dies)])
    with pytest.raises(WorkerFailed) as caught:
        launcher.init()
    assert failure(caught.value, "exited with code 42") == "dead"
    if kind is Observed:
        assert "last progress: loading firmware" in str(caught.value)
    why, _, code = launcher.seen
    assert (why, code) == ("stopped: dead failed", 42)
    # Who was not up yet has found its answer given.
    assert launcher.exit_codes.pop("dead") == 42
    assert set(launcher.exit_codes.values()) <= {0, 1}


@pytest.mark.parametrize("hang, code", [(hangs, 0), (hangs_in_a_driver, -9)])
def test_hung_chip(board, hang, code):
    """Ends in the deadline, which names it; it need not listen."""
    def work(me):
        wait_for_rank(me, 0)
        hang(me, lambda: board.say("hangs"))

    launcher = DeadlineNow([chip("up"), chip("hung", work=work)], board, 1,
                           grace=1 if code else LONG)
    with pytest.raises(WorkerFailed) as caught:
        launcher.init()
    assert caught.value.timed_out
    assert caught.value.causes == {
        "hung": "deadline passed; last progress: comm_init"}
    assert launcher.exit_codes["hung"] == code


def wait_for_rank(me, rank):
    for answer in me.peers:
        if answer.channel == rank:
            return


def test_deadline_by_itself():
    with pytest.raises(WorkerFailed) as caught:
        Worker([chip("hung", work=hangs)], timeout=0.05).init()
    assert caught.value.timed_out
    assert caught.value.causes["hung"].startswith("deadline passed")


def test_all_are_reaped(board):
    """Whoever was forked, and the session is over for those who looked at it."""
    launcher = DeadlineNow([chip("a", board), chip("b", board, work=hangs_in_a_driver),
                            chip("c", board, work=hangs)], board, 3, grace=1)
    with pytest.raises(WorkerFailed):
        launcher.init()
    pids = [int(pid) for _, pid in launcher.heard]
    assert len(set(pids)) == 3
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    assert sorted(launcher.exit_codes) == ["a", "b", "c"]
    board.all()


def test_siblings_that_were_up_clean_up(board):
    """However long it takes; what fails a chip's start does not kill the others."""
    launcher = Worker([*(chip(f"up{n}", board, clean=lambda: time.sleep(0.2))
                         for n in range(3)),
                       chip("bad", work=raises(ValueError("bad")))], grace=LONG)
    with pytest.raises(WorkerFailed, match="ValueError: bad"):
        launcher.init()
    said = board.all()
    assert sorted(name for name, word in said if word == "clean") == \
        ["up0", "up1", "up2"]
    assert launcher.exit_codes == {"up0": 0, "up1": 0, "up2": 0, "bad": 1}


def test_one_failure_ends_all(board):
    """Those that are up, that are starting, that wait for all, that hang."""
    def waits(me):
        board.say("waits")
        with pytest.raises(chipboot.ChipFailed) as caught:
            me.peers.wait()
        board.say("told", *caught.value.chips)

    def bad(me):
        wait_for_rank(me, 0)
        while len(said) < 3:
            said.extend(board.hear())
        raise ValueError("bad")

    def tell():
        board.say("hangs")

    said = []
    launcher = Worker([chip("up"), chip("waits", work=waits),
                       chip("starts", work=lambda me: hangs(me, tell)),
                       chip("driver", work=lambda me: hangs_in_a_driver(me, tell)),
                       chip("bad", work=bad)], grace=5)
    with pytest.raises(WorkerFailed) as caught:
        launcher.init()
    assert caught.value.causes == {"bad": "error 1: ValueError: bad"}
    assert launcher.exit_codes.pop("waits") in (0, 1)
    assert launcher.exit_codes == {"up": 0, "starts": 0, "driver": -9, "bad": 1}
    # Unless SIGTERM came first.
    assert board.all() in ([], [["told", "1", "2", "3", "4"]])


# ---- the launcher is interrupted, or dies -----------------------------------

def test_ctrl_c_before_all_are_up(board):
    """And once more while it goes back, which does not stop that."""
    parent = os.getpid()

    def interrupt():
        board.hear()
        until_asleep(parent)
        os.kill(parent, signal.SIGINT)

    def once_more():
        board.say("clean")
        os.kill(parent, signal.SIGINT)

    launcher = Worker([chip("up", clean=once_more), chip("starts", work=lambda me: (
        wait_for_rank(me, 0), hangs(me, lambda: board.say("starts"))))], grace=LONG)
    helper = process(interrupt)
    with pytest.raises(KeyboardInterrupt):
        launcher.init()
    reap(helper)
    assert launcher.exit_codes == {"up": 0, "starts": 0}
    assert board.all() == [["clean"]]
    # It can be tried again.
    with Worker([chip("up")]):
        pass


def test_ctrl_c_at_any_moment():
    """From a chip's first instruction on, while others are being forked."""
    parent = os.getpid()
    for n in range(20):
        launcher = Worker([chip("first", work=lambda me: os.kill(parent, signal.SIGINT)),
                           *(chip(str(i)) for i in range(n % 5))], grace=LONG)
        with pytest.raises(KeyboardInterrupt):
            launcher.init()
        # Who was not up yet may have found its answer given. None was killed.
        assert set(launcher.exit_codes.values()) <= {0, 1}


@pytest.mark.parametrize("up", [True, False])
def test_killed_launcher(board, up):
    """SIGKILL of the launcher leaves none of its processes, nor theirs."""
    def launch():
        work = (lambda me: None) if up else hangs_in_a_driver
        with Worker([chip("a", board), node("east", chip("b", board),
                                            chip("c", board, work=work))]):
            board.say("up")
            signal.pause()

    pid = process(launch)
    heard = board.hear(4 if up else 3)
    assert (["up"] in heard) is up
    pids = [int(line[1]) for line in heard if len(line) == 2]
    assert len(set(pids)) == 3 and set(pids) <= set(processes())
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    # fixture_nothing_left() waits for them to be gone.
    assert all(word != "clean" for _, word in board.all())


def test_a_forked_copy_touches_nobody():
    """Somebody forks a process that has nothing to do with it and leaves its frames."""
    with Worker([chip("a"), chip("b")]) as launcher:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                launcher.close()
                code = 0 if not descriptors_of_ours() else 2
            finally:
                os._exit(code)
        reap(pid)
        assert launcher.session.status().owner_state is OwnerState.ALIVE
        assert sorted(launcher.run(whoami)) == ["a", "b"]


def descriptors_of_ours():
    return [name for _, name in descriptors() if "chipboot" in name or "pidfd" in name]


# ---- work that fails --------------------------------------------------------

def fails_at(me, rank, how):
    if me.rank == rank:
        how()
    time.sleep(LONG)


def divides():
    raise ZeroDivisionError("nobody counted")


def dies():
    os._exit(7)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("how, cause, code", [
    (divides, "ZeroDivisionError: nobody counted", 0), (dies, "exited with code 7", 7),
    (killed, "killed by signal 9", -9)])
def test_work_that_fails(board, how, cause, code):
    """The others wait for ever, busy or not, and clean up when they are stopped."""
    launcher = Worker([chip(name, board) for name in ("a", "b", "c")], grace=LONG)
    with launcher, pytest.raises(WorkerFailed) as caught:
        launcher.run(fails_at, 1, how)
    assert caught.value.causes == {"b": cause}
    assert launcher.exit_codes == {"a": 0, "b": code, "c": 0}
    clean = sorted(name for name, word in board.all() if word == "clean")
    assert clean == (["a", "b", "c"] if code == 0 else ["a", "c"])
    with pytest.raises(RuntimeError, match="after init"):
        launcher.run(whoami)


def test_dead_between_two_runs():
    launcher = Worker([chip("a"), chip("b")])
    with launcher, pytest.raises(WorkerFailed) as caught:
        os.kill(launcher.contexts["b"].pid, signal.SIGKILL)
        launcher.run(whoami)
    assert caught.value.causes == {"b": "killed by signal 9"}


def sleeps(me, board):
    board.say(me.name)
    time.sleep(LONG)


def test_ctrl_c_at_work(board):
    parent = os.getpid()
    helper = process(lambda: (board.hear(), until_asleep(parent),
                              os.kill(parent, signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt), \
            Worker([chip("a", clean=lambda: board.say("clean"))]) as launcher:
        launcher.run(sleeps, board)
    reap(helper)
    assert launcher.exit_codes == {"a": 0}
    assert board.all() == [["clean"]]


# ---- workers of workers -----------------------------------------------------

def deadline_of(me):
    return Up(me.deadline_ns or 0, 0, 0)


def test_two_levels_under_one_deadline(board):
    launcher = Worker([node("east", chip("a", work=deadline_of), chip("b", board)),
                       node("west", chip("a", work=deadline_of), chip("b", board)),
                       chip("solo", work=deadline_of)], timeout=LONG)
    with launcher:
        contexts = launcher.contexts
        assert list(contexts) == ["east", "west", "solo"]
        deadline = launcher.session.status().deadline_ns
        assert deadline > 0
        for name in "east", "west":
            # As its first chip and as its own session know it.
            assert (contexts[name].device_ctx, contexts[name].window_base) == \
                (deadline, deadline)
        assert contexts["solo"].device_ctx == deadline
        names = [name for name, _ in board.hear(2)]
        assert sorted(names) == ["east/b", "west/b"]
    assert launcher.exit_codes == {"east": 0, "west": 0, "solo": 0}
    assert sorted(board.all()) == [["east/b", "clean"], ["west/b", "clean"]]


def test_a_shorter_deadline_of_its_own():
    launcher = Worker([node("east", chip("a", work=deadline_of), timeout=LONG / 2)],
                      timeout=LONG)
    with launcher:
        assert 0 < launcher.contexts["east"].device_ctx < \
            launcher.session.status().deadline_ns


def test_a_grandchild_fails(board):
    launcher = Worker([chip("solo", board),
                       node("east", chip("a", board),
                            chip("b", board, work=raises(ValueError("bad"))))],
                      grace=LONG)
    with pytest.raises(WorkerFailed) as caught:
        launcher.init()
    assert failure(caught.value, "error 1: WorkerFailed: 1 of 2 chips failed: east/b; ",
                   "first: east/b, error 1: ValueError: bad") == "east"
    assert launcher.exit_codes == {"solo": 0, "east": 1}
    said = board.all()
    assert sorted(name for name, word in said if word == "clean") == \
        ["east/a", "east/b", "solo"]
    assert not set(processes()) & {int(word) for _, word in said if word != "clean"}


@pytest.mark.parametrize("hang", [hangs, hangs_in_a_driver])
def test_a_grandchild_hangs(board, hang):
    """It is named, by way of its parent; and reaped, by its parent, which ends well."""
    def work(me):
        hang(me, lambda: board.say(me.name, os.getpid()))

    launcher = DeadlineNow([node("east", chip("a"), chip("b", work=work))], board, 1,
                           grace=12)
    with pytest.raises(WorkerFailed) as caught:
        launcher.init()
    assert caught.value.timed_out
    assert failure(caught.value, "deadline passed; last progress: waiting for ",
                   "east/b") == "east"
    assert launcher.exit_codes == {"east": 0}
    assert int(launcher.heard[0][1]) not in processes()


def test_one_deadline_for_both_levels():
    """It passes for both at once: whoever says so first, nothing is left."""
    for _ in range(3):
        with pytest.raises(WorkerFailed) as caught:
            Worker([node("east", chip("a", work=hangs))], timeout=1).init()
        assert "deadline passed" in str(caught.value)


# ---- the program ------------------------------------------------------------

PROGRAM = [sys.executable, "worker.py"]


@pytest.fixture(name="input_file")
def fixture_input(tmp_path):
    path = str(tmp_path / "input.f32")
    subprocess.run(["allreduce", "--generate", "20240608", "4", "1000", path],
                   check=True)
    for name in "python", "c":
        (tmp_path / name).mkdir()
    yield path
    for where, dirs, names in os.walk(tmp_path, topdown=False):
        for name in names:
            os.unlink(os.path.join(where, name))
        for name in dirs:
            os.rmdir(os.path.join(where, name))


def run(*args, **how):
    return subprocess.run([*PROGRAM, *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, **how)


def test_program(input_file, tmp_path):
    """Its sums are those of the example in C, byte by byte."""
    done = run("--chips", "4", input_file, str(tmp_path / "python"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == \
        ["chip0", "chip1", "chip2", "chip3"]
    assert lines[4] == f"4 sums of 1000 floats equal the one taken from {input_file}"
    subprocess.run(["chipboot", "run", "-n", "4", "--", "allreduce", input_file,
                    str(tmp_path / "c")], stdin=subprocess.DEVNULL,
                   capture_output=True, check=True)
    sums = [(tmp_path / who / f"rank-{rank}.f32").read_bytes()
            for who in ("python", "c") for rank in range(4)]
    assert len(sums[0]) == 4000 and set(sums) == {sums[0]}


def test_program_notices_a_wrong_sum(input_file, tmp_path):
    job = worker.Job(input_file, 1000)
    outdir = str(tmp_path / "python")
    run("--chips", "4", input_file, outdir)
    assert worker.differing(job, outdir, 4) == []
    with open(worker.output(outdir, 2), "r+b") as file:
        file.write(b"\1")
    assert worker.differing(job, outdir, 4) == [2]


@pytest.mark.parametrize("args, code, error", [
    (["--fail-chip", "chip3"], 1, "chips failed: chip3; first: chip3, error 1: "
                                  "RuntimeError: device not found"),
    (["--kill-chip", "chip1"], 1, "first: chip1, killed by signal 9; "
                                  "last progress: comm_init"),
    (["--hang-chip", "chip2", "--timeout", "10", "--grace", "1"], 99,
     "first: chip2, deadline passed; last progress: comm_init")])
def test_program_failures(input_file, tmp_path, args, code, error):
    done = run("--chips", "4", *args, input_file, str(tmp_path / "python"))
    assert done.returncode == code, done.stderr
    assert error in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_program_help():
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in "INPUT", "OUTDIR", "--timeout S", "98 for misuse":
        assert word in done.stdout


def test_program_misuse(input_file, tmp_path):
    here = str(tmp_path / "python")
    for args, error in (
            ([], "required: INPUT, OUTDIR"), (["--chips", "0", input_file, here], "0"),
            (["--chips", "3", input_file, here], "not float32 for 3 chips"),
            (["--timeout", "nan", input_file, here], "timeout must be"),
            (["--timeout", "0", input_file, here], "timeout must be"),
            (["--timeout", "x", input_file, here], "invalid float value"),
            (["--hang-chip", "chip9", input_file, here], "no chip chip9"),
            ([here + "/absent", here], "No such file"),
            ([input_file, here + "/absent"], "not a directory"),
            (["--colour", input_file, here], "unrecognized")):
        done = run(*args)
        assert (done.returncode, done.stdout) == (98, "")
        assert error in done.stderr and "--help" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_program_without_permission(input_file, tmp_path):
    for path in tmp_path, *tmp_path.parents[:2]:
        path.chmod(0o755)
    done = run("--chips", "4", input_file, str(tmp_path / "python"), user=65534,
               group=65534, extra_groups=[])
    assert done.returncode == 98
    assert "no permission" in done.stderr and "Traceback" not in done.stderr


def test_program_ctrl_c(input_file, tmp_path):
    """The terminal's, which all of them get."""
    launcher = subprocess.Popen(
        [*PROGRAM, "--chips", "4", "--hang-chip", "chip0", "--grace", "1", input_file,
         str(tmp_path / "python")], start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_asleep(launcher.pid)
    os.killpg(launcher.pid, signal.SIGINT)
    out, error = launcher.communicate()
    assert (launcher.returncode, out) == (130, ""), error
    assert error.endswith("worker.py: interrupted\n")
