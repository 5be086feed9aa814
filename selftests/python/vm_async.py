# SPDX-License-Identifier: MIT
# arch: x86_64
# vm: --timeout 1800 --file selftests/python/processes.py
"""chipboot and asyncio: on descriptors, no threads, no timers, no busy loop."""

import asyncio
import errno
import os
import selectors
import signal

import pytest

import chipboot
from chipboot import ChipFailed, Session
from processes import child, process, reap, until_asleep


class Watched(selectors.EpollSelector):
    """Counts how often the loop looks, and how it means to sleep."""

    def __init__(self):
        super().__init__()
        self.timeouts = []

    def select(self, timeout=None):
        self.timeouts.append(timeout)
        return super().select(timeout)


def run(work):
    """asyncio.run(); how the loop has slept. Threads would show in /proc."""
    selector = Watched()
    loop = asyncio.SelectorEventLoop(selector)
    try:
        loop.run_until_complete(work)
        assert len(os.listdir("/proc/self/task")) == 1
        return selector.timeouts
    finally:
        loop.close()


def answers_when_asleep(session, channel, answer):
    """A runtime process that answers once this one sleeps in epoll_wait()."""
    parent = os.getpid()
    pid, publisher, _ = session.fork(channel)
    if not pid:
        child(lambda: (until_asleep(parent), answer(publisher)))
    return pid


def success(publisher):
    publisher.publish_success(100 + publisher.channel, 0, 0)


def error(publisher):
    publisher.publish_error(7, "no device")


def is_asleep_for_ever(timeouts):
    """Slept at least once, never on a timer, and looked a few times only."""
    return None in timeouts and set(timeouts) <= {None, 0} and len(timeouts) < 40


def test_wait_all():
    async def wait():
        answers = await session.wait_all()
        assert [a.device_ctx for a in answers] == [100, 101]

    with Session(2) as session:
        pids = [answers_when_asleep(session, i, success) for i in range(2)]
        assert is_asleep_for_ever(run(wait()))
        reap(*pids)


def test_async_for_in_order_of_arrival():
    async def collect():
        return [answer.channel async for answer in session]

    async def work():
        assert await collect() == [2, 0, 1]

    with Session(3) as session:
        publishers = [session.claim(i) for i in range(3)]
        parent = os.getpid()

        def answers():
            for i in 2, 0, 1:
                until_asleep(parent)
                publishers[i].progress("almost")
                until_asleep(parent)
                success(publishers[i])

        pid = process(answers)
        assert is_asleep_for_ever(run(work()))
        reap(pid)


def test_async_for_all_there():
    async def work():
        assert [a.channel async for a in session] == [1, 0]

    with Session(2) as session:
        success(session.claim(1))
        error(session.claim(0))
        assert set(run(work())) == {0}


def test_failures():
    async def work():
        with pytest.raises(ChipFailed) as caught:
            await session.wait_all(fail_fast=True)
        assert caught.value.chips == [0]
        success(other)
        with pytest.raises(ChipFailed) as caught:
            await session.wait_all()
        assert caught.value.first.cause == "error 7: no device"

    with Session(2) as session:
        pid = answers_when_asleep(session, 0, error)
        other = session.claim(1)
        assert is_asleep_for_ever(run(work()))
        reap(pid)


def test_not_woken_by_what_nobody_waits_for():
    """wait_all() sleeps through an error, unless it is to fail fast."""
    async def work():
        task = asyncio.ensure_future(session.wait_all())
        await asyncio.sleep(0)
        error(publishers[0])
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        success(publishers[1])
        with pytest.raises(ChipFailed):
            await task

    with Session(2) as session:
        publishers = [session.claim(i) for i in range(2)]
        run(work())


def test_time_limit_and_cancelling():
    async def work():
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.wait_all(), 0.05)

        async def endless():
            async for _ in session:
                pass
        task = asyncio.ensure_future(endless())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_asyncgens()
        assert len(os.listdir("/proc/self/fd")) == before
        success(publisher)
        assert (await session.wait_all())[0].device_ctx == 100

    with Session(1) as session, session.claim(0) as publisher:
        run(work())


@pytest.mark.parametrize("iterate", [False, True])
def test_ctrl_c(iterate):
    """A real SIGINT, as a program with asyncio.run() has it; nothing is left."""
    parent = os.getpid()

    async def work():
        if iterate:
            async for _ in session:
                pass
        await session.wait_all()

    def interrupt():
        until_asleep(parent)
        os.kill(parent, signal.SIGINT)

    with Session(1) as session, session.claim(0) as publisher:
        before = len(os.listdir("/proc/self/fd"))
        pid = process(interrupt)
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(work())
        reap(pid)
        assert len(os.listdir("/proc/self/fd")) == before
        success(publisher)
        assert session.wait()


def test_many_waiters_at_once():
    async def work():
        async def first(session):
            async for answer in session:
                return answer.channel
        got = await asyncio.gather(*(s.wait_all() for s in sessions),
                                   *(first(s) for s in sessions))
        assert [[a.device_ctx for a in answers] for answers in got[:3]] == \
            [[100]] * 3
        assert got[3:] == [0] * 3

    sessions = [Session(1) for _ in range(3)]
    pids = [answers_when_asleep(session, 0, success) for session in sessions]
    assert is_asleep_for_ever(run(work()))
    reap(*pids)
    for session in sessions:
        session.close()


@pytest.mark.parametrize("iterate", [False, True])
def test_owner_dies(iterate):
    read_end, write_end = os.pipe()

    async def work(observer):
        with pytest.raises(chipboot.Error) as caught:
            if iterate:
                async for _ in observer:
                    pass
            else:
                await observer.wait_all()
        os.write(write_end, bytes([caught.value.errno]))

    launcher = os.fork()
    if not launcher:
        session = Session(1)
        pid, _publisher, observer = session.fork(0, death_signal=0)
        if not pid:
            try:
                run(work(observer))
            finally:
                os._exit(0)
        until_asleep(pid)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(launcher, 0)
    os.close(write_end)
    assert os.read(read_end, 9) == bytes([errno.EOWNERDEAD])
    os.close(read_end)
