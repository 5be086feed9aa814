# SPDX-License-Identifier: MIT
# arch: x86_64
# vm: --timeout 1800 --file selftests/python/processes.py
"""ChipBootstrapChannel over a session's page: the original's readers, the
kernel's guarantees."""

import errno
import random

import pytest

import chipboot
from chipboot import ChipBootstrapChannel, ChipBootstrapMailboxState, Session
from processes import process, reap


def test_random_answers():
    """All fields of 64 answers of 0 to 376 pointers, published by the kernel."""
    rng = random.Random(5)
    counts = [0, 376] + [rng.randrange(377) for _ in range(62)]
    with Session(64) as session, session.observe() as observer:
        mailboxes = [source.mailbox(i) for i in range(64)
                     for source in (session, observer)]
        for channel, count in enumerate(counts):
            with session.claim(channel) as publisher:
                wanted = [rng.getrandbits(64) for _ in range(3 + count)]
                publisher.progress("nothing a reader is to see")
                publisher.publish_success(*wanted[:3], wanted[3:])
            for mailbox in mailboxes[2 * channel:2 * channel + 2]:
                assert isinstance(mailbox, ChipBootstrapChannel)
                assert mailbox.state is ChipBootstrapMailboxState.SUCCESS
                assert [mailbox.device_ctx, mailbox.local_window_base,
                        mailbox.actual_window_size, *mailbox.buffer_ptrs] == wanted
                assert (mailbox.error_code, mailbox.error_message) == (0, "")
    print("# 64 answers")


def test_random_errors():
    rng = random.Random(6)
    with Session(64) as session:
        for channel in range(64):
            code = rng.randrange(-2 ** 31, 2 ** 31)
            text = "".join(chr(rng.randrange(1, 0xd800))
                           for _ in range(rng.randrange(330)))
            with session.claim(channel) as publisher:
                publisher.publish_error(code, text)
            mailbox = session.mailbox(channel)
            assert mailbox.state is ChipBootstrapMailboxState.ERROR
            assert (mailbox.error_code, mailbox.error_message) == (code, text)
            assert mailbox.buffer_ptrs == [] and mailbox.device_ctx == 0


def test_what_differs_on_purpose():
    """One answer only; reset is the owner's; a message is an error's."""
    with Session(1) as session, session.claim(0) as publisher:
        mailbox = session.mailbox(0)
        assert mailbox.state is ChipBootstrapMailboxState.IDLE
        publisher.progress("firmware")
        assert session.read(0).message == "firmware"
        assert mailbox.error_message == ""
        publisher.publish_success(1, 2, 3, [4])
        for again in (lambda: publisher.publish_success(5, 6, 7, [8]),
                      lambda: publisher.publish_error(1, "x")):
            with pytest.raises(chipboot.Error) as caught:
                again()
            assert caught.value.errno == errno.EALREADY
        assert (mailbox.device_ctx, mailbox.buffer_ptrs) == (1, [4])
        for write in (mailbox.reset, lambda: mailbox.write_error(1, "x"),
                      lambda: mailbox.write_success(1, 2, 3, [])):
            with pytest.raises(TypeError, match="read-only"):
                write()
        assert mailbox.state is ChipBootstrapMailboxState.SUCCESS

        def resets():
            with pytest.raises(chipboot.Error) as caught:
                session.reset()
            assert caught.value.errno == errno.EPERM

        reap(process(resets))
        assert mailbox.state is ChipBootstrapMailboxState.SUCCESS
        session.reset()
        assert mailbox.state is ChipBootstrapMailboxState.IDLE
        assert (mailbox.device_ctx, mailbox.buffer_ptrs) == (0, [])
        session.claim(0).publish_error(42, "device not found")
        assert (mailbox.error_code, mailbox.error_message) == \
            (42, "device not found")


def test_less_room():
    """A reader made for fewer pointers is told; nothing is clamped."""
    with Session(1) as session:
        session.claim(0).publish_success(1, 2, 3, [4, 5, 6])
        assert session.mailbox(0, 3).buffer_ptrs == [4, 5, 6]
        with pytest.raises(ValueError, match="exceeds"):
            session.mailbox(0, 377)
        with pytest.raises(chipboot.Error):
            session.mailbox(1)


def test_outlives_nothing():
    """After close() the page is gone: an exception, not a fault."""
    session = Session(1)
    mailbox = session.mailbox(0)
    session.close()
    with pytest.raises(ValueError, match="closed"):
        print(mailbox.state)
