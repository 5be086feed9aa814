# SPDX-License-Identifier: MIT
"""The original's class: one answer through 4096 bytes of shared memory.

No module, no device: see chipboot_mailbox.h for the page and its memory order.
"""

import enum
from typing import List

from . import _chipboot

CHIP_BOOTSTRAP_MAILBOX_SIZE = _chipboot.MAILBOX_SIZE
CHIP_BOOTSTRAP_PTR_CAPACITY = _chipboot.PTR_CAPACITY


class ChipBootstrapMailboxState(enum.IntEnum):
    """What a mailbox says."""

    IDLE = 0
    SUCCESS = 1
    ERROR = 2


class ChipBootstrapChannel(_chipboot.Mailbox):
    """ChipBootstrapChannel(mailbox_ptr, max_buffer_count)

    A view of CHIP_BOOTSTRAP_MAILBOX_SIZE bytes of shared memory at the address
    mailbox_ptr, which the caller keeps mapped, aligned to 8. Bad arguments are
    ValueError; a page that no writer of this class can have left is
    ProtocolError when the broken field is read.
    """

    @property
    def state(self) -> ChipBootstrapMailboxState:
        """One acquire load; after SUCCESS or ERROR the fields are that answer's."""
        return ChipBootstrapMailboxState(self._state())

    @property
    def buffer_ptrs(self) -> List[int]:
        """The pointers of a SUCCESS."""
        return list(self._buffer_ptrs())
