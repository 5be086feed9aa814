#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A supervisor of chips' processes, and an all-reduce under it.

    allreduce --generate SEED CHIPS FLOATS INPUT
    worker.py [--chips N] [--timeout S] INPUT OUTDIR

`Worker` does on a session what a launcher over ChipBootstrapChannel did on shared
memory: a configuration for each chip, os.fork() with everybody inheriting everything,
one wait for all, contexts by name, work for the chips, and an end at which no process
is left. The first failure ends all of it.

The all-reduce is that of allreduce.c, whose INPUT it takes and whose output it must
give: each chip puts its slice of INPUT (float32) into a window, and adds up the slices
in its peers' windows, which it knows from their answers alone. The sums go into
OUTDIR/rank-R.f32 and are compared here with the one taken straight from INPUT.

Exit code: 0; how many chips failed (at most 97); 98 for misuse or no device; 99 for a
timeout; 130 after Ctrl-C.
"""

import argparse
import array
import contextlib
import errno
import fcntl
import mmap
import operator
import os
import random
import select
import signal
import sys
import time
import traceback
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import (Any, Callable, ContextManager, Dict, Iterable, Iterator, List,
                    Mapping, NamedTuple, NoReturn, Optional, Sequence)

import chipboot
from chipboot import Answer, ChipFailed, Event, Origin, Session, State

# ---- the supervisor ---------------------------------------------------------

TIMEOUT = 120.0
GRACE = 10.0


class Up(NamedTuple):
    """What a chip has to say once it is up; numbers of 64 bits, not interpreted."""

    device_ctx: int
    window_base: int
    window_size: int
    buffers: Mapping[str, int] = {}


class Config(NamedTuple):
    """A chip: its name, how it is brought up, what its buffers are called.

    bring_up(chip) runs in the chip's process and is a context manager: it yields Up,
    and what follows its yield is the chip's cleaning up. An exception before is the
    chip's answer.
    """

    name: str
    bring_up: Callable[["Chip"], ContextManager[Up]]
    buffers: Sequence[str] = ()


class Context(NamedTuple):
    """A chip that is up, as the worker and the chip's peers know it."""

    name: str
    rank: int
    pid: int
    device_ctx: int
    window_base: int
    window_size: int
    buffers: Mapping[str, int]


class WorkerFailed(RuntimeError):
    """Chips failed, and the worker is closed: `causes` has the name and cause of
    each, the first one first; `timed_out` says that the first was the deadline."""

    def __init__(self, causes: Mapping[str, str], chips: int,
                 timed_out: bool = False) -> None:
        super().__init__(causes, chips, timed_out)
        self.causes = dict(causes)
        self.chips = chips
        self.timed_out = timed_out

    def __str__(self) -> str:
        first, cause = next(iter(self.causes.items()))
        return (f"{len(self.causes)} of {self.chips} chips failed: "
                f"{', '.join(self.causes)}; first: {first}, {cause}")


class Chip:
    """Who a chip's process is. A worker of its own goes by it: Worker(parent=chip)."""

    def __init__(self, rank: int, configs: Sequence[Config], prefix: str,
                 publisher: chipboot.Publisher, peers: chipboot.Observer,
                 grace: float) -> None:
        self.rank = rank
        self.ranks = len(configs)
        self.name = prefix + configs[rank].name
        self.peers = peers
        self.publisher = publisher
        self.deadline_ns = peers.status().deadline_ns
        self.grace = grace
        self._configs = configs
        self._prefix = prefix

    def progress(self, text: str) -> None:
        """Say what is being done; the error names it if nothing follows."""
        self.publisher.progress(text)

    def contexts(self) -> List[Context]:
        """The chips by rank, this one too, once all are up."""
        return _contexts(self._configs, self._prefix,
                         self.peers.wait(fail_fast=True))


def _contexts(configs: Sequence[Config], prefix: str,
              answers: Sequence[Answer]) -> List[Context]:
    return [Context(prefix + config.name, answer.channel, answer.pid,
                    answer.device_ctx, answer.local_window_base,
                    answer.actual_window_size,
                    dict(zip(config.buffers, answer.buffer_ptrs)))
            for config, answer in zip(configs, answers)]


class Stopped(BaseException):
    """SIGTERM has reached a chip's process."""


class _Stop:
    """A handler that raises once, and not any more when it is disarmed: what
    cleans up is not interrupted, nothing unwinds past a process's beginning, and
    who has failed is not taken for one that was stopped."""

    def __init__(self) -> None:
        self.armed = True

    @contextlib.contextmanager
    def disarmed_by_failure(self) -> Iterator[None]:
        """An exception in the block is the end, whatever comes while it is told."""
        try:
            yield
        except BaseException:
            self.armed = False
            raise

    def __call__(self, *_: Any) -> None:
        if self.armed:
            self.armed = False
            raise Stopped("stopped by SIGTERM")


ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _mask(how: int, signals: Iterable[int]) -> Iterator[Iterable[int]]:
    """pthread_sigmask() in the block, which gets the mask from before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # It raises what has come in the meantime, with the mask changed.
        signal.pthread_sigmask(how, signals)
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Child:
    """A chip's process, as the worker that forked it knows it."""

    def __init__(self, name: str, pid: int, pidfd: int,
                 connection: Connection) -> None:
        self.name = name
        self.pid = pid
        self.pidfd = pidfd
        self.connection = connection

    def kill(self, number: int) -> None:
        """A signal, to this process and none that has its number later."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def stop(self) -> None:
        """Ask it to end: by a word where it waits for one, else by SIGTERM."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.kill(signal.SIGTERM)

    def forget(self) -> None:
        """Close what this process has of it."""
        self.connection.close()
        os.close(self.pidfd)

    def reap(self) -> Optional[int]:
        """Its exit code, -n for signal n; None: somebody else has taken it."""
        self.forget()
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return None


class Worker:
    """Brings up a chip for each of configs, has them work, and ends them.

    timeout: seconds that all of them have to come up. grace: seconds that they get to
    clean up before they are killed. parent: the chip that this worker is, if it is one
    of another worker's: its deadline holds here too, and alone if there is no timeout;
    its name comes before those of the chips here, its progress says who is pending.

    init() or a with statement brings all up, or none: then it raises, and every
    process has ended and been reaped. So it is when run() fails. If the process that
    called init() dies, the kernel kills the chips, and theirs. Other processes forked
    from it may unwind their copies of its frames; they touch nobody.

    exit_codes: by name, of the chips that have ended since init(): -n for signal n.

    Not for several threads at once; where there is but one, Ctrl-C leaves nothing
    behind wherever it comes.
    """

    def __init__(self, configs: Sequence[Config], *,
                 timeout: Optional[float] = None, grace: Optional[float] = None,
                 parent: Optional[Chip] = None) -> None:
        if timeout is None and not parent:
            timeout = TIMEOUT
        self._timeout_ns = None if timeout is None else \
            chipboot.nanoseconds(timeout, "timeout")
        if grace is None:
            # A child's children must be gone before the child's own time is up.
            grace = parent.grace / 2 if parent else GRACE
        chipboot.nanoseconds(grace, "grace")
        self._grace = grace
        self._configs = list(configs)
        if not self._configs:
            raise ValueError("no chips: configs is empty")
        names = [config.name for config in self._configs]
        for config in self._configs:
            if names.count(config.name) > 1:
                raise ValueError(f"two chips have the name {config.name!r}")
            if len(config.buffers) > chipboot.CHIP_BOOTSTRAP_PTR_CAPACITY:
                raise ValueError(f"{config.name}: {len(config.buffers)} buffers, an "
                                 "answer has room for "
                                 f"{chipboot.CHIP_BOOTSTRAP_PTR_CAPACITY}")
        self._parent = parent
        self._prefix = f"{parent.name}/" if parent else ""
        self._owner = 0
        self._session: Optional[Session] = None
        self._children: List[_Child] = []
        self._contexts: Optional[Dict[str, Context]] = None
        self.exit_codes: Dict[str, Optional[int]] = {}

    # -- what a launcher calls --

    def init(self) -> None:
        """Fork and bring up every chip. WorkerFailed: one has failed, or has not
        come up in time; chipboot.Error: there is no session to be had."""
        if self._session:
            raise RuntimeError("init() has been called; close() comes first")
        self.exit_codes = {}
        self._owner = os.getpid()
        why = "stopped: the launcher gave up"
        # Ctrl-C interrupts the wait, and neither a fork nor the way back.
        with _mask(signal.SIG_BLOCK, ENDING) as before:
            try:
                self._session = Session(len(self._configs))
                self._fork_all(self._session)
                with _mask(signal.SIG_SETMASK, before):
                    answers = self._wait(self._session)
                self._contexts = {context.name: context for context in
                                  _contexts(self._configs, self._prefix, answers)}
            except ChipFailed as failed:
                error = self._failed(failed)
                why = f"stopped: {next(iter(error.causes))} failed"
                raise error from failed
            finally:
                if self._contexts is None:
                    self._end(why)

    @property
    def contexts(self) -> Dict[str, Context]:
        """The chips that are up, by name."""
        if self._contexts is None:
            raise RuntimeError("the chips are not up: contexts are there after "
                               "init() and until close()")
        return self._contexts

    @property
    def session(self) -> Session:
        """The session, between init() and close()."""
        if self._session is None:
            raise RuntimeError("the session is there after init() and until close()")
        return self._session

    def run(self, task: Callable[..., Any], *args: Any) -> Dict[str, Any]:
        """task(chip, *args) in each chip's process; what they returned, by name.

        The task, its arguments and results are pickled. WorkerFailed: one has raised
        or has died.
        """
        waiting = dict(zip(self.contexts, self._children))
        results = {}
        try:
            for child in self._children:
                # One that has died is found below.
                with contextlib.suppress(BrokenPipeError):
                    child.connection.send((task, args))
            with self.session.observe(Event.GONE) as gone:
                while waiting:
                    ready = wait_for_any([gone.fileno(), *(
                        child.connection for child in waiting.values())])
                    for name, child in list(waiting.items()):
                        if child.connection in ready:
                            results[name] = self._result(child, gone)
                            del waiting[name]
                    if gone.fileno() in ready and waiting:
                        raise self._gone()
        except BaseException:
            self.close()
            raise
        return results

    def close(self) -> None:
        """End every chip: time to clean up, then SIGKILL. Again is harmless."""
        with _mask(signal.SIG_BLOCK, ENDING):
            self._end("stopped: the launcher closed")

    def __enter__(self) -> "Worker":
        self.init()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # -- bringing up --

    def _fork_all(self, session: Session) -> None:
        with contextlib.ExitStack() as copies:
            publishers = [copies.enter_context(session.claim(rank))
                          for rank in range(len(self._configs))]
            ends = [] if self._timeout_ns is None else \
                [session.status().now_ns + self._timeout_ns]
            if self._parent and self._parent.deadline_ns:
                ends.append(self._parent.deadline_ns)
            if ends:
                session.deadline_at(min(ends))
            # Or each child would print again what is buffered.
            sys.stdout.flush()
            sys.stderr.flush()
            # Before any of them can hang.
            self._tell(self._names())
            for rank, publisher in enumerate(publishers):
                self._fork(rank, publisher)

    def _fork(self, rank: int, publisher: chipboot.Publisher) -> None:
        ours, theirs = Pipe()
        pid = os.fork()
        if not pid:
            self._be_chip(rank, theirs)
        theirs.close()
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._children.append(_Child(self._prefix + self._configs[rank].name, pid,
                                     pidfd, ours))
        # So its death is an answer from now on, whoever has copies of what.
        publisher.bind(pid, death_signal=signal.SIGKILL)

    def _wait(self, session: Session) -> List[Answer]:
        waiting = self._names()
        with contextlib.closing(iter(session)) as answers:
            while self._parent and waiting:
                answer = next(answers)
                if answer.state is State.ERROR:
                    break
                del waiting[answer.channel]
                self._tell(waiting)
        return session.wait(fail_fast=True)

    def _names(self) -> Dict[int, str]:
        return {rank: self._prefix + config.name
                for rank, config in enumerate(self._configs)}

    def _tell(self, waiting: Mapping[int, str]) -> None:
        """The launcher above knows from this who is pending here."""
        if self._parent and waiting:
            self._parent.progress(f"waiting for {', '.join(waiting.values())}")

    def _failed(self, failed: ChipFailed) -> WorkerFailed:
        return WorkerFailed(
            {self._prefix + self._configs[answer.channel].name: answer.cause
             for answer in failed.failures}, len(self._configs),
            failed.first.origin is Origin.DEADLINE)

    # -- a chip's process --

    def _be_chip(self, rank: int, connection: Connection) -> NoReturn:
        """From fork to end: the caller's frames, of which this process has a copy,
        are not for it to unwind."""
        code = 1
        stop = _Stop()
        try:
            try:
                # A terminal's Ctrl-C is for the launcher, which then says so.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, stop)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
                self._live(rank, connection, stop)
                code = 0
            finally:
                stop.armed = False
        except Stopped:
            code = 0
        except BaseException:
            print(f"{self._prefix}{self._configs[rank].name}:", file=sys.stderr)
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _live(self, rank: int, connection: Connection, stop: _Stop) -> None:
        config = self._configs[rank]
        publisher, peers = self.session.child(rank, death_signal=signal.SIGKILL)
        self._forget()
        chip = Chip(rank, self._configs, self._prefix, publisher, peers, self._grace)
        with publisher.reporting(), stop.disarmed_by_failure(), \
                config.bring_up(chip) as up:
            if set(up.buffers) != set(config.buffers):
                raise ValueError(f"buffers are {sorted(up.buffers)}, and not "
                                 f"{sorted(config.buffers)} as configured")
            try:
                publisher.publish_success(
                    up.device_ctx, up.window_base, up.window_size,
                    [up.buffers[name] for name in config.buffers])
            except chipboot.Error as error:
                if error.errno == errno.ECANCELED:
                    raise Stopped("the session ended before it was up") from error
                raise
            self._serve(chip, connection)
            stop.armed = False

    @staticmethod
    def _serve(chip: Chip, connection: Connection) -> None:
        while True:
            message = connection.recv()
            if message is None:
                return
            task, args = message
            try:
                reply = True, task(chip, *args)
            except Exception as error:
                traceback.print_exc()
                reply = False, f"{type(error).__name__}: {error}"
            connection.send(reply)

    # -- work, and the end --

    def _result(self, child: _Child, gone: chipboot.Observer) -> Any:
        try:
            good, value = child.connection.recv()
        except (EOFError, ConnectionResetError):
            # A process closes its files before its death is told.
            child.kill(signal.SIGKILL)
            wait_for_any([gone.fileno()])
            raise self._gone() from None
        if not good:
            raise WorkerFailed({child.name: value}, len(self._children))
        return value

    def _gone(self) -> WorkerFailed:
        """Who was up and is not any more."""
        codes = {context.name: self.session.read(context.rank).exit_code
                 for context in self.contexts.values()}
        return WorkerFailed(
            {name: f"killed by signal {-code}" if code < 0 else
             f"exited with code {code}" for name, code in codes.items()
             if code is not None}, len(codes))

    def _forget(self) -> None:
        for child in self._children:
            child.forget()
        self._children = []
        self._contexts = None
        if self._session:
            self._session.close()
            self._session = None

    def _end(self, why: str) -> None:
        if self._owner != os.getpid():
            self._forget()
            return
        if self._session:
            # Whoever waits for all to come up hears of it.
            with contextlib.suppress(chipboot.Error):
                self._session.abort(errno.ECANCELED, why)
        for child in self._children:
            child.stop()
        self._reap(self._grace)
        for child in self._children:
            child.kill(signal.SIGKILL)
        self._reap(None)
        self._forget()

    def _reap(self, seconds: Optional[float]) -> None:
        """Take those that end, for so long or until all have."""
        until = seconds and time.monotonic() + seconds
        poller = select.poll()
        for child in self._children:
            poller.register(child.pidfd, select.POLLIN)
        while self._children:
            ended = poller.poll(until and
                                max(0, (until - time.monotonic()) * 1000))
            if not ended:
                return
            for fd, _ in ended:
                child = next(c for c in self._children if c.pidfd == fd)
                poller.unregister(fd)
                self._children.remove(child)
                self.exit_codes[child.name] = child.reap()


# ---- an all-reduce ----------------------------------------------------------

# At a window's start, the number that the answer gives as device_ctx.
HEADER = 8


class Job(NamedTuple):
    """What the chips are to add up, and which of them is to misbehave."""

    path: str
    floats: int                 # in a slice
    fail: Optional[str] = None
    kill: Optional[str] = None
    hang: Optional[str] = None

    def slice(self, rank: int) -> "array.array[float]":
        """Rank's part of the input."""
        with open(self.path, "rb") as file:
            file.seek(rank * self.floats * 4)
            numbers = array.array("f")
            numbers.fromfile(file, self.floats)
            return numbers

    def config(self, name: str) -> Config:
        """A chip that has its slice in a window."""
        return Config(name, self.bring_up, ("fd", "bytes"))

    def misbehave(self, chip: Chip) -> None:
        """As allreduce.c can."""
        if chip.name == self.fail:
            raise RuntimeError("device not found")
        if chip.name in (self.kill, self.hang):
            chip.progress("comm_init")
        if chip.name == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if chip.name == self.hang:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()

    @contextlib.contextmanager
    def bring_up(self, chip: Chip) -> Iterator[Up]:
        """A memfd stands in for device memory: peers map it by what they are told.
        Descriptor number, size and offset are random, so that nobody knows them but
        from the answer."""
        chip.progress("reading the input")
        self.misbehave(chip)
        part = self.slice(chip.rank).tobytes()
        base = HEADER + 4 * random.randrange(4096)
        size = base + len(part) + random.randrange(65536)
        device_ctx = random.getrandbits(64)
        with open(os.memfd_create("window"), "r+b", buffering=0) as memory:
            memory.truncate(size)
            with mmap.mmap(memory.fileno(), size) as window:
                window[:HEADER] = device_ctx.to_bytes(HEADER, sys.byteorder)
                window[base:base + len(part)] = part
            fd = fcntl.fcntl(memory, fcntl.F_DUPFD_CLOEXEC, 16 + random.randrange(200))
        try:
            yield Up(device_ctx, base, len(part), {"fd": fd, "bytes": size})
        finally:
            os.close(fd)


def slice_of(peer: Context, floats: int) -> "array.array[float]":
    """What a chip has in its window; it must be the one its answer describes."""
    if peer.window_size != 4 * floats or \
            peer.window_base + peer.window_size > peer.buffers["bytes"]:
        raise ValueError(f"{peer.name} describes no window of this job")
    with open(f"/proc/{peer.pid}/fd/{peer.buffers['fd']}", "rb") as memory, \
            mmap.mmap(memory.fileno(), peer.buffers["bytes"],
                      access=mmap.ACCESS_READ) as window:
        if int.from_bytes(window[:HEADER], sys.byteorder) != peer.device_ctx:
            raise ValueError(f"{peer.name}: the window is not the one it published")
        return array.array("f", window[peer.window_base:
                                       peer.window_base + peer.window_size])


def total(slices: Iterator["array.array[float]"]) -> "array.array[float]":
    """Their sum, one after the other: float addition depends on the order."""
    numbers = next(slices)
    for more in slices:
        # The sum of two float32 in double, rounded to float32, is float32's own.
        numbers = array.array("f", map(operator.add, numbers, more))
    return numbers


def allreduce(chip: Chip, floats: int, outdir: str) -> None:
    """The task: add up what is in the peers' windows."""
    numbers = total(slice_of(peer, floats) for peer in chip.contexts())
    with open(output(outdir, chip.rank), "wb") as file:
        numbers.tofile(file)


def output(outdir: str, rank: int) -> str:
    """Where a rank's sum is."""
    return os.path.join(outdir, f"rank-{rank}.f32")


def differing(job: Job, outdir: str, ranks: int) -> List[int]:
    """The ranks whose output is not the sum taken straight from the input."""
    wanted = total(job.slice(rank) for rank in range(ranks)).tobytes()
    found = []
    for rank in range(ranks):
        with open(output(outdir, rank), "rb") as file:
            if file.read() != wanted:
                found.append(rank)
    return found


# ---- the program ------------------------------------------------------------

MISUSE = 98
TIMED_OUT = 99


class Arguments(argparse.ArgumentParser):
    """argparse exits with 2 for bad usage, which here is two failed chips."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (try --help)", file=sys.stderr)
        raise SystemExit(MISUSE)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = Arguments(
        prog="worker.py", allow_abbrev=False,
        description="Sum float32 slices of INPUT across the processes of a worker.",
        epilog="Exit code: 0; how many chips failed (at most 97); 98 for misuse or "
        "no device; 99 for a timeout; 130 after Ctrl-C. Input is written by "
        "`allreduce --generate SEED CHIPS FLOATS INPUT`.")
    parser.add_argument("--chips", type=int, default=8, metavar="N",
                        help="how many (8); they are called chip0, chip1, ...")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, metavar="S",
                        help=f"seconds for all to come up ({TIMEOUT:g})")
    parser.add_argument("--grace", type=float, default=GRACE, metavar="S",
                        help=f"seconds between SIGTERM and SIGKILL ({GRACE:g})")
    parser.add_argument("--fail-chip", metavar="NAME",
                        help="this one raises in its bring-up")
    parser.add_argument("--kill-chip", metavar="NAME",
                        help="this one is killed in its bring-up")
    parser.add_argument("--hang-chip", metavar="NAME",
                        help="this one hangs in its bring-up, ignoring SIGTERM")
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("outdir", metavar="OUTDIR")
    args = parser.parse_args(argv)
    if args.chips < 1:
        parser.error(f"--chips: {args.chips} is not 1 or more")
    names = [f"chip{rank}" for rank in range(args.chips)]
    for name in args.fail_chip, args.kill_chip, args.hang_chip:
        if name and name not in names:
            parser.error(f"no chip {name}: there are {names[0]} to {names[-1]}")
    try:
        size = os.stat(args.input).st_size
    except OSError as error:
        parser.error(f"{args.input}: {error.strerror}")
    if not os.path.isdir(args.outdir):
        parser.error(f"{args.outdir}: not a directory")
    if not size or size % (4 * args.chips):
        parser.error(f"{args.input}: {size} bytes are not float32 for {args.chips} "
                     "chips")
    job = Job(args.input, size // 4 // args.chips, args.fail_chip, args.kill_chip,
              args.hang_chip)
    args.job = job
    try:
        args.worker = Worker([job.config(name) for name in names],
                             timeout=args.timeout, grace=args.grace)
    except ValueError as error:
        parser.error(f"--{error}")
    return args


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    args = parse(argv)
    try:
        with args.worker as worker:
            for context in worker.contexts.values():
                print(f"{context.name}: pid {context.pid}, {context.window_size} bytes "
                      f"at {context.window_base:#x} of its descriptor "
                      f"{context.buffers['fd']}")
            worker.run(allreduce, args.job.floats, args.outdir)
        wrong = differing(args.job, args.outdir, args.chips)
    except WorkerFailed as failed:
        print(f"worker.py: {failed}", file=sys.stderr)
        return TIMED_OUT if failed.timed_out else min(len(failed.causes), 97)
    except chipboot.Error as error:
        print(f"worker.py: {error.strerror}", file=sys.stderr)
        return MISUSE
    except KeyboardInterrupt:
        print("worker.py: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    if wrong:
        print(f"worker.py: the sums of ranks {wrong} differ from the one taken from "
              f"{args.input}", file=sys.stderr)
        return min(len(wrong), 97)
    print(f"{args.chips} sums of {args.job.floats} floats equal the one taken from "
          f"{args.input}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
