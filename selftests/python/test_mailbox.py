# SPDX-License-Identifier: MIT
"""The original's class over plain shared memory, on a host without the module.

The page lies between two that nobody may touch, and what it must read as is worked
out from its bytes, by the offsets of the original's layout. test_sanitized.py runs
this once more, with AddressSanitizer in the extension.
"""

import ctypes
import faulthandler
import mmap
import os
import random
import struct
import sys

import pytest

import chipboot
from chipboot import ChipBootstrapChannel, ChipBootstrapMailboxState

SIZE, MOST = 4096, 376
STATE, COUNT, POINTERS, MESSAGE = 0, 8, 64, 3072

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                      ctypes.c_int, ctypes.c_long]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PROT_NONE = 0


class Page:
    """4096 zeroes, shared with children, PROT_NONE on both sides."""

    def __init__(self):
        assert mmap.PAGESIZE == SIZE == chipboot.CHIP_BOOTSTRAP_MAILBOX_SIZE
        start = LIBC.mmap(None, 3 * SIZE, PROT_NONE,
                          mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0)
        assert start not in (None, ctypes.c_void_p(-1).value)
        self.address = start + SIZE
        assert not LIBC.mprotect(self.address, SIZE, mmap.PROT_READ | mmap.PROT_WRITE)
        self.bytes = (ctypes.c_char * SIZE).from_address(self.address)

    def put(self, at, data):
        ctypes.memmove(self.address + at, data, len(data))

    def close(self):
        LIBC.munmap(self.address - SIZE, 3 * SIZE)


@pytest.fixture(name="page")
def fixture_page():
    page = Page()
    yield page
    page.close()


@pytest.fixture(name="channel")
def fixture_channel(page):
    return ChipBootstrapChannel(page.address, MOST)


@pytest.mark.parametrize("offset", [-1, SIZE])
def test_guards_bite(page, offset):
    """What the guards are for is that the other tests can fail."""
    for at, well in ((0, True), (offset, False)):
        pid = os.fork()
        if not pid:
            try:
                faulthandler.disable()
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                ctypes.string_at(page.address + at, 1)
            finally:
                os._exit(0)
        assert (os.waitpid(pid, 0)[1] == 0) is well


def assert_empty(channel):
    assert channel.state == ChipBootstrapMailboxState.IDLE
    assert isinstance(channel.state, ChipBootstrapMailboxState)
    assert (channel.error_code, channel.device_ctx, channel.local_window_base,
            channel.actual_window_size) == (0, 0, 0, 0)
    assert channel.buffer_ptrs == []
    assert channel.error_message == ""


def test_zero_page_is_idle(channel):
    assert_empty(channel)


def test_success_reads_back(channel, page):
    channel.write_success(0xDEADBEEFCAFE1234, 0xAABBCCDD00112233, 65536,
                          [0x1000, 0x2000, 0x3000])
    for reader in channel, ChipBootstrapChannel(page.address, MOST):
        assert reader.state == ChipBootstrapMailboxState.SUCCESS
        assert reader.device_ctx == 0xDEADBEEFCAFE1234
        assert reader.local_window_base == 0xAABBCCDD00112233
        assert reader.actual_window_size == 65536
        assert reader.buffer_ptrs == [0x1000, 0x2000, 0x3000]


@pytest.mark.parametrize("code, text", [
    (42, "device not found"), (0, ""), (-2 ** 31, "INT_MIN"),
    (1, "\udcff not UTF-8")])
def test_error_reads_back(channel, code, text):
    channel.write_error(code, text)
    assert channel.state == ChipBootstrapMailboxState.ERROR
    assert (channel.error_code, channel.error_message) == (code, text)


def test_empty_success_and_reset(channel):
    channel.write_success(0, 0, 0, [])
    assert channel.state == ChipBootstrapMailboxState.SUCCESS
    channel.reset()
    assert_empty(channel)
    channel.write_error(7, "again")
    assert (channel.error_code, channel.error_message) == (7, "again")


def test_across_fork(channel, page):
    pid = os.fork()
    if not pid:
        try:
            channel.reset()
            channel.write_success(1, 2, 3, [4, 5, 6, 2 ** 64 - 1])
        finally:
            os._exit(0)
    while channel.state == ChipBootstrapMailboxState.IDLE:
        pass
    assert channel.buffer_ptrs == [4, 5, 6, 2 ** 64 - 1]
    os.waitpid(pid, 0)
    fresh = ChipBootstrapChannel(page.address, 4)
    assert (fresh.device_ctx, fresh.local_window_base,
            fresh.actual_window_size) == (1, 2, 3)
    assert fresh.buffer_ptrs == [4, 5, 6, 2 ** 64 - 1]


def test_too_many_pointers(channel):
    with pytest.raises(ValueError) as error:
        channel.write_success(1, 2, 3, range(377))
    assert str(error.value) == "buffer_ptrs exceeds max_buffer_count"
    assert_empty(channel)


def test_long_messages(channel):
    channel.write_error(1, "x" * 2000)
    assert channel.error_message == "x" * 1023
    channel.write_error(1, "x" * 1021 + "\u20ac" + "y")
    assert channel.error_message == "x" * 1021


@pytest.mark.parametrize("pointer, count, words", [
    (0, 1, "mailbox must not be null"),
    (4096, 377, "max_buffer_count exceeds CHIP_BOOTSTRAP_PTR_CAPACITY")])
def test_constructor_refuses(pointer, count, words):
    with pytest.raises(ValueError) as error:
        ChipBootstrapChannel(mailbox_ptr=pointer, max_buffer_count=count)
    assert str(error.value) == words


def test_no_room_for_pointers_is_legal(page):
    channel = ChipBootstrapChannel(page.address, 0)
    channel.write_success(1, 2, 3, [])
    with pytest.raises(ValueError, match="exceeds max_buffer_count"):
        channel.write_success(1, 2, 3, [1])


def test_arguments_out_of_range(channel):
    for call in (lambda: channel.write_success(-1, 0, 0, []),
                 lambda: channel.write_success(0, 2 ** 64, 0, []),
                 lambda: channel.write_success(0, 0, 0, [-1]),
                 lambda: channel.write_error(2 ** 31, "")):
        with pytest.raises(OverflowError):
            call()
    with pytest.raises(ValueError, match="NUL"):
        channel.write_error(1, "a\0b")
    assert_empty(channel)


@pytest.mark.parametrize("offset, value, field, words", [
    (COUNT, -1, "buffer_ptrs", "count of buffer pointers -1 is not in 0 to 376"),
    (COUNT, 100000, "buffer_ptrs", "count of buffer pointers 100000 is not in"),
    (COUNT, 377, "buffer_ptrs", "count of buffer pointers 377 is not in 0 to 376"),
    (STATE, 3, "state", "unknown state 3"), (STATE, -1, "state", "unknown state -1"),
    (STATE, 3, "error_message", "unknown state 3")])
def test_bad_page(channel, page, offset, value, field, words):
    page.put(offset, struct.pack("=i", value))
    with pytest.raises(chipboot.ProtocolError, match=words) as caught:
        getattr(channel, field)
    assert isinstance(caught.value, ValueError)


def test_unterminated_message(channel, page):
    channel.write_error(1, "")
    page.put(MESSAGE, b"x" * 1024)
    with pytest.raises(chipboot.ProtocolError, match="message without end"):
        channel.error_message  # pylint: disable=pointless-statement


def given(channel, field):
    """What a property gives: its value, or the error's words."""
    try:
        return getattr(channel, field)
    except chipboot.ProtocolError as error:
        return error


def complaint(channel, page, most):
    """The first property that differs from what the page's bytes say, or ""."""
    before = page.bytes.raw
    state, code, count = struct.unpack_from("=iii", before)
    known = 0 <= state <= 2

    got = given(channel, "state")
    if known and got != state or not known and f"unknown state {state}" not in str(got):
        return f"state: {got}"
    if (channel.error_code, channel.device_ctx, channel.local_window_base,
            channel.actual_window_size) != (code, *struct.unpack_from("=QQQ", before, 16)):
        return "a value"

    got = given(channel, "buffer_ptrs")
    if 0 <= count <= most:
        if got != list(struct.unpack_from(f"={count}Q", before, POINTERS)):
            return f"buffer_ptrs: {got}"
    elif f"{count} is not in 0 to {most}" not in str(got):
        return f"buffer_ptrs: {got}"

    got = given(channel, "error_message")
    end = before.find(0, MESSAGE)
    if not known:
        right = f"unknown state {state}" in str(got)
    elif state != ChipBootstrapMailboxState.ERROR:
        right = got == ""
    elif end < 0:
        right = "message without end" in str(got)
    else:
        right = got == before[MESSAGE:end].decode("utf-8", "surrogateescape")
    if not right:
        return f"error_message: {got}"
    return "a reader wrote" if page.bytes.raw != before else ""


def shape(content, rng, most):
    """Closer to a valid page than chance comes."""
    struct.pack_into("=i", content, STATE, rng.randrange(4))
    struct.pack_into("=i", content, COUNT, rng.randrange(-1, most + 2))
    content[MESSAGE:] = content[MESSAGE:].replace(b"\0", b"x")
    end = rng.randrange(1280)
    if end < 1024:
        content[MESSAGE + end] = 0


def test_random_pages(page, capsys):
    """100,000 seeds: what is in range reads back, all else is ProtocolError."""
    seeds, unknown, endless, good = 100_000, 0, 0, 0
    for seed in range(seeds):
        rng = random.Random(seed)
        most = rng.randrange(MOST + 1)
        content = bytearray(rng.randbytes(SIZE))
        if seed % 2:
            shape(content, rng, most)
        page.put(0, bytes(content))
        why = complaint(ChipBootstrapChannel(page.address, most), page, most)
        assert not why, f"seed {seed}: {why}"
        state, = struct.unpack_from("=i", content, STATE)
        ended = 0 in content[MESSAGE:]
        unknown += not 0 <= state <= 2
        endless += state == 2 and not ended
        good += state == 1 or state == 2 and ended
    assert unknown > seeds / 2 and endless > 1000 and good > 1000
    with capsys.disabled():
        print(f"# {seeds} seeds: {unknown} unknown states, {endless} endless messages, "
              f"{good} answers", file=sys.stdout, flush=True)
