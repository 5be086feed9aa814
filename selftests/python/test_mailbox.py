# SPDX-License-Identifier: MIT
"""The original's class over plain shared memory, on a host without the module."""

import ctypes
import mmap
import os
import random
import struct

import pytest

import chipboot
from chipboot import ChipBootstrapChannel, ChipBootstrapMailboxState

STATE, COUNT, MESSAGE = 0, 8, 3072


@pytest.fixture(name="page")
def fixture_page():
    return mmap.mmap(-1, chipboot.CHIP_BOOTSTRAP_MAILBOX_SIZE)


def address(page):
    return ctypes.addressof(ctypes.c_char.from_buffer(page))


@pytest.fixture(name="channel")
def fixture_channel(page):
    return ChipBootstrapChannel(address(page), 376)


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
    for reader in channel, ChipBootstrapChannel(address(page), 376):
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
    fresh = ChipBootstrapChannel(address(page), 4)
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
    channel = ChipBootstrapChannel(address(page), 0)
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


@pytest.mark.parametrize("offset, value, field", [
    (COUNT, -1, "buffer_ptrs"), (COUNT, 100000, "buffer_ptrs"),
    (COUNT, 377, "buffer_ptrs"), (STATE, 3, "state"), (STATE, -1, "state"),
    (STATE, 3, "error_message")])
def test_bad_page(channel, page, offset, value, field):
    page[offset:offset + 4] = struct.pack("=i", value)
    with pytest.raises(chipboot.ProtocolError):
        getattr(channel, field)


def test_unterminated_message(channel, page):
    channel.write_error(1, "")
    page[MESSAGE:] = b"x" * 1024
    with pytest.raises(chipboot.ProtocolError):
        channel.error_message  # pylint: disable=pointless-statement


def test_random_pages(channel, page):
    """100,000 seeds: what is in range reads back, all else is ProtocolError."""
    for seed in range(100_000):
        content = bytearray(random.Random(seed).randbytes(4096))
        if seed % 2:
            content[STATE:STATE + 4] = struct.pack("=i", seed // 2 % 3)
            content[COUNT:COUNT + 4] = struct.pack("=i", seed % 500 - 50)
        page[:] = bytes(content)
        state, = struct.unpack_from("=i", content, STATE)
        count, = struct.unpack_from("=i", content, COUNT)
        if 0 <= state <= 2:
            assert channel.state == state
        else:
            with pytest.raises(chipboot.ProtocolError):
                channel.state  # pylint: disable=pointless-statement
        if 0 <= count <= 376:
            assert channel.buffer_ptrs == list(
                struct.unpack_from(f"={count}Q", content, 64))
        else:
            with pytest.raises(chipboot.ProtocolError):
                channel.buffer_ptrs  # pylint: disable=pointless-statement
