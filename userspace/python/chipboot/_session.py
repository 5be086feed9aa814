# SPDX-License-Identifier: MIT
"""Sessions: a launcher, N runtime processes, one answer from each.

What the C half leaves to Python: times in seconds, answers as tuples with names,
failures as exceptions, iteration and asyncio. All waits sleep on descriptors.
"""

import asyncio
import contextlib
import enum
import errno
import math
import os
import select
import signal
import weakref
from typing import (Any, AsyncIterator, Generator, Iterable, Iterator, List,
                    NamedTuple, Optional, Sequence, Tuple)

from . import _chipboot
from ._chipboot import Error
from ._mailbox import CHIP_BOOTSTRAP_PTR_CAPACITY, ChipBootstrapChannel

_NOBODY = 0xffffffff
_NS = 1_000_000_000


class State(enum.IntEnum):
    """What a channel says."""

    IDLE = 0
    SUCCESS = 1
    ERROR = 2


class Origin(enum.IntEnum):
    """Who gave the answer."""

    NOBODY = 0
    PUBLISHER = 1
    EXIT = 2
    CLOSED = 3
    DEADLINE = 4
    OWNER = 5


class Event(enum.IntFlag):
    """What an observer's descriptor is readable for."""

    COMPLETE = 1
    GONE = 2
    CHANGE = 4
    ERROR = 8
    ALL = 15


class OwnerState(enum.IntEnum):
    """What became of the owner."""

    ALIVE = 0
    DETACHED = 1
    CLOSED = 2
    DEAD = 3


class Answer(NamedTuple):
    """A channel at one moment; see struct chipboot_answer in chipboot.h."""

    channel: int
    state: State
    error_code: int
    device_ctx: int
    local_window_base: int
    actual_window_size: int
    buffer_ptrs: Tuple[int, ...]
    message: str                    # not UTF-8: with surrogateescape
    origin: Origin
    order: int
    generation: int
    updated_ns: int
    pid: int
    wait_status: Optional[int]      # as waitpid() gives it; None: not died
    was_cut: bool
    oom_killed: bool
    is_gone: bool

    @property
    def exit_code(self) -> Optional[int]:
        """What the process exited with; -n: killed by signal n; None: neither."""
        if self.wait_status is None:
            return None
        return os.waitstatus_to_exitcode(self.wait_status)

    @property
    def cause(self) -> str:
        """Why it failed, for a person to read; empty if it did not."""
        if self.state != State.ERROR:
            return ""
        if self.origin == Origin.PUBLISHER or self.origin == Origin.OWNER:
            return f"error {self.error_code}: {self.message}"
        return self.message + (" (OOM killer)" if self.oom_killed else "")


class Status(NamedTuple):
    """Where a session stands; see struct chipboot_info in chipboot.h."""

    session_id: int
    now_ns: int
    deadline_ns: Optional[int]
    channels: int
    idle: int
    success: int
    error: int
    gone: int
    first_failed: Optional[int]
    owner_state: OwnerState
    owner_pid: int
    events: Event
    holds: Event


class ChipFailed(RuntimeError):
    """Chips answered with an error, or died. `failures` is in order of arrival."""

    def __init__(self, failures: Sequence[Answer], channels: int) -> None:
        super().__init__(failures, channels)
        self.failures = tuple(failures)
        self.channels = channels

    @property
    def first(self) -> Answer:
        """The first cause."""
        return self.failures[0]

    @property
    def chips(self) -> List[int]:
        """Which chips failed."""
        return sorted(answer.channel for answer in self.failures)

    def __str__(self) -> str:
        return (f"{len(self.failures)} of {self.channels} chips failed: "
                f"{self.chips}; first: chip {self.first.channel}, "
                f"{self.first.cause}")


class WaitTimeout(Error, TimeoutError):
    """Not all have answered in time. `pending` has who, doing what."""

    def __init__(self, number: int, text: str,
                 pending: Sequence[Answer] = ()) -> None:
        super().__init__(number, text)
        self.pending = tuple(pending)

    def __reduce__(self) -> Any:
        return type(self), (self.errno, self.strerror, self.pending)


def nanoseconds(seconds: float, what: str, *, zero: bool = False) -> int:
    """Seconds as a user gives them: a number, finite, more than 0 (or 0 if zero).

    TypeError and ValueError say what is wrong with them, and with what.
    """
    # float() would take "1" and True: more often a mistake than a second.
    if isinstance(seconds, (bool, str, bytes, bytearray)):
        raise TypeError(f"{what} must be a number of seconds, not {seconds!r}")
    try:
        value = float(seconds)
    except TypeError:
        raise TypeError(f"{what} must be a number of seconds, not "
                        f"{seconds!r}") from None
    except OverflowError:
        value = math.inf
    if math.isnan(value) or math.isinf(value) or value < 0 or \
            (not value and not zero):
        raise ValueError(f"{what} must be a {'' if zero else 'positive '}finite "
                         f"number of seconds, not {seconds!r}")
    if value >= 2 ** 63 / _NS:
        raise ValueError(f"{what} is too long: {seconds!r} seconds")
    return math.ceil(value * _NS)


def _status(info: Tuple[int, ...]) -> Status:
    (session_id, now, deadline, channels, idle, success, error, gone, first,
     owner, pid, events, holds) = info
    return Status(session_id, now, deadline or None, channels, idle, success,
                  error, gone, None if first == _NOBODY else first,
                  OwnerState(owner), pid, Event(events), Event(holds))


class _Observing:
    """What Session and Observer share: reading and waiting."""

    # From the C half.
    _read: Any
    _wait: Any
    _info: Any
    _pending: Any
    _observe: Any
    close: Any

    def read(self, channel: int) -> Answer:
        """A consistent copy of a channel, whoever resets meanwhile."""
        (number, state, code, ctx, base, size, words, text, origin, flags,
         order, generation, updated, pid, status) = self._read(channel)
        return Answer(number, State(state), code, ctx, base, size, words, text,
                      Origin(origin), order, generation, updated, pid,
                      status if flags & 1 else None, bool(flags & 2),
                      bool(flags & 4), bool(flags & 8))

    def status(self) -> Status:
        """Where the session stands, all of it at one moment."""
        return _status(self._info())

    def pending(self) -> List[int]:
        """The channels that have not answered."""
        pending: List[int] = self._pending()
        return pending

    def mailbox(self, channel: int,
                max_buffer_count: int = CHIP_BOOTSTRAP_PTR_CAPACITY
                ) -> ChipBootstrapChannel:
        """The channel's page as a mailbox, for code that reads through
        ChipBootstrapChannel. Read-only: writing and resetting it is TypeError.
        Whole within one generation only; where the owner resets, read()."""
        page: ChipBootstrapChannel = ChipBootstrapChannel._over(
            self, channel, max_buffer_count)
        return page

    def observe(self, events: int = Event.ALL) -> "Observer":
        """Another observer, of these events or fewer."""
        observer: Observer = self._observe(Observer, events)
        return observer

    def wait(self, timeout: Optional[float] = None, *,
             fail_fast: bool = False) -> List[Answer]:
        """Sleep until all have answered; their answers.

        timeout in seconds, 0 only looks. fail_fast ends the wait at the first
        error. Raises ChipFailed, WaitTimeout, or Error (EOWNERDEAD).
        """
        limit = -1 if timeout is None else nanoseconds(timeout, "timeout",
                                                       zero=True)
        try:
            self._wait(0, limit, fail_fast)
        except Error as error:
            if error.errno != errno.ETIMEDOUT:
                raise
            self._raise_timeout(error)
        return self._result()

    def _raise_timeout(self, error: Error) -> None:
        pending = [answer for answer in map(self.read, self.pending())
                   if answer.state == State.IDLE]
        doing = "; ".join(f"chip {answer.channel}: {answer.message}"
                          for answer in pending if answer.message)
        raise WaitTimeout(error.errno or 0, "not in time: chips "
                          f"{[answer.channel for answer in pending]} pending"
                          + (f"; {doing}" if doing else ""),
                          pending) from None

    def _result(self) -> List[Answer]:
        answers = [self.read(i) for i in range(self.status().channels)]
        failures = [answer for answer in answers if answer.state == State.ERROR]
        if failures:
            failures.sort(key=lambda answer: answer.order)
            raise ChipFailed(failures, len(answers))
        return answers

    def _new(self, change: "Observer", left: "set[int]") -> List[Answer]:
        """Answers since the last look, in order of arrival."""
        # What is answered at the moment of pending() came before all that is not.
        change._info(True)
        answers = [answer for answer in
                   map(self.read, left - set(change._pending()))
                   if answer.state != State.IDLE]
        answers.sort(key=lambda answer: answer.order)
        return answers

    def __iter__(self) -> Generator[Answer, None, None]:
        """Each channel's answer once, in order of arrival, as they come."""
        left = set(range(self.status().channels))
        with self.observe(Event.CHANGE) as change:
            poller = select.poll()
            poller.register(change.fileno(), select.POLLIN)
            gone = False
            while left:
                new = self._new(change, left)
                for answer in new:
                    left.discard(answer.channel)
                    yield answer
                if new or not left:
                    continue
                if gone:
                    change._wait(0, 0, False)
                gone = any(events & select.POLLHUP
                           for _, events in poller.poll())

    async def wait_all(self, *, fail_fast: bool = False) -> List[Answer]:
        """wait() for asyncio; for a time limit use asyncio.wait_for()."""
        events = Event.COMPLETE | (Event.ERROR if fail_fast else 0)
        with self.observe(events) as observer:
            while True:
                try:
                    observer._wait(0, 0, fail_fast)
                    return self._result()
                except Error as error:
                    if error.errno != errno.ETIMEDOUT:
                        raise
                await _readable(observer.fileno())

    async def __aiter__(self) -> AsyncIterator[Answer]:
        """__iter__() for asyncio."""
        left = set(range(self.status().channels))
        with self.observe(Event.CHANGE) as change:
            while left:
                new = self._new(change, left)
                for answer in new:
                    left.discard(answer.channel)
                    yield answer
                if not new and left:
                    if change.status().owner_state in (OwnerState.CLOSED,
                                                       OwnerState.DEAD):
                        change._wait(0, 0, False)
                    await _readable(change.fileno())

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


async def _readable(fd: int) -> None:
    """Sleep until the descriptor is readable, or its other side is gone."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await future
    finally:
        loop.remove_reader(fd)


def _unpickled(kind: Any, source: Any) -> Any:
    """A handle in the process that it was sent to, close-on-exec again."""
    fd = source.detach()
    try:
        os.set_inheritable(fd, False)
        return kind._from_fd(fd)
    except BaseException:
        os.close(fd)
        raise


class _Picklable:
    """A handle as an argument of a multiprocessing.Process, or through its
    queues and pipes: the other process gets a copy of its own."""

    fileno: Any

    def __reduce__(self) -> Any:
        # Not loaded for those who do without.
        from multiprocessing.reduction import DupFd
        return _unpickled, (type(self), DupFd(self.fileno()))


class Observer(_Observing, _Picklable, _chipboot.Observer):
    """Reads every channel of a session and waits for them. Picklable for
    multiprocessing."""


class Publisher(_Picklable, _chipboot.Publisher):
    """Answers for one channel, once. Any holder may.

    Picklable for multiprocessing (fork, spawn, forkserver), where the sender
    closes its copy after start(), and the process that answers calls bind(): only
    then is its death an answer.
    """

    def bind(self, pid: int = 0, *, death_signal: int = 0) -> None:
        """Say whose death is this channel's: this process's (0) or a child's."""
        self._bind(pid, death_signal)

    def publish_success(self, device_ctx: int, local_window_base: int,
                        actual_window_size: int,
                        buffer_ptrs: Iterable[int] = ()) -> None:
        """Answer: the chip is up."""
        self._publish_success(device_ctx, local_window_base,
                              actual_window_size, buffer_ptrs)

    def publish_error(self, error_code: int, message: str) -> None:
        """Answer: it is not; more than 1023 bytes are cut."""
        self._publish_error(error_code, message)

    def status(self) -> Status:
        """Where the session stands."""
        return _status(self._info())

    @contextlib.contextmanager
    def reporting(self) -> Iterator["Publisher"]:
        """An exception in the block becomes ERROR 1 "Type: text"; it goes on.

        SystemExit and KeyboardInterrupt too: the process is on its way out. Where
        the channel has an answer already that answer stands.
        """
        try:
            yield self
        except BaseException as error:
            text = f"{type(error).__name__}: {error}".replace("\0", "\\0")
            with contextlib.suppress(Error, ValueError):
                self.publish_error(1, text.encode(
                    "utf-8", "surrogateescape" if _escapable(text)
                    else "backslashreplace").decode("utf-8", "surrogateescape"))
            raise

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _escapable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


class Session(_Observing, _chipboot.Session):
    """Session(channels): owned by the process that creates it.

    Leaving the context closes: in the owner the others see a hang-up unless it
    has detached; in a forked child it touches nobody.
    """

    _publishers: "weakref.WeakSet[Publisher]"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._publishers = weakref.WeakSet()

    def claim(self, channel: int) -> Publisher:
        """Take a channel, to answer for it or to hand it on."""
        publisher: Publisher = self._claim(Publisher, channel)
        self._publishers.add(publisher)
        return publisher

    def fork(self, channel: int, *, death_signal: int = signal.SIGKILL,
             events: int = Event.ALL
             ) -> Tuple[int, Optional[Publisher], Optional[Observer]]:
        """os.fork() of a channel's process: (pid, None, None), and in the child
        (0, publisher, observer), which is all it has of this session."""
        forked: Tuple[int, Optional[Publisher], Optional[Observer]]
        forked = self._fork((Publisher, Observer), channel, death_signal, events)
        return forked

    def child(self, channel: int, *, death_signal: int = signal.SIGKILL,
              events: int = Event.ALL) -> Tuple[Publisher, Observer]:
        """After os.fork(), in the child: be the process of a channel that was
        claimed before. Every other handle of the session is closed here."""
        both: Tuple[Publisher, Observer]
        both = self._child(Observer, list(self._publishers), channel,
                           death_signal, events)
        return both

    def reset(self, first: int = 0, count: Optional[int] = None, *,
              keep: bool = False) -> None:
        """Answered channels become idle; keep: living publishers carry over."""
        if count is None:
            count = self.status().channels - first
        self._reset(first, count, keep)

    def abort(self, error_code: int, message: str, first: int = 0,
              count: Optional[int] = None) -> int:
        """Idle channels become errors of the owner's; how many did."""
        if count is None:
            count = self.status().channels - first
        aborted: int = self._abort(first, count, error_code, message)
        return aborted

    def deadline(self, seconds: Optional[float]) -> None:
        """Channels still idle then become errors; None clears it."""
        self._deadline(0 if seconds is None else
                       nanoseconds(seconds, "deadline"), False)

    def deadline_at(self, ns: int) -> None:
        """The same as a point on the clock of status().now_ns."""
        self._deadline(ns, True)

    def __reduce__(self) -> Any:
        raise TypeError("a session belongs to the process that created it: hand "
                        "on what claim() and observe() give")


def from_env() -> Tuple[Publisher, Observer]:
    """The handles that `chipboot run` gave this process; once."""
    _, publisher, observer = _chipboot.from_env((Publisher, Observer))
    return publisher, observer
