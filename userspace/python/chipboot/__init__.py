# SPDX-License-Identifier: MIT
"""One start-up answer from each of N runtime processes: libchipboot for Python."""

from ._chipboot import VERSION as __version__
from ._chipboot import Error, ProtocolError
from ._mailbox import (CHIP_BOOTSTRAP_MAILBOX_SIZE, CHIP_BOOTSTRAP_PTR_CAPACITY,
                       ChipBootstrapChannel, ChipBootstrapMailboxState)

from ._session import (Answer, ChipFailed, Event, Observer, Origin, OwnerState,
                       Publisher, Session, State, Status, WaitTimeout, from_env,
                       nanoseconds)

__all__ = [
    "Answer", "CHIP_BOOTSTRAP_MAILBOX_SIZE", "CHIP_BOOTSTRAP_PTR_CAPACITY",
    "ChipBootstrapChannel", "ChipBootstrapMailboxState", "ChipFailed", "Error",
    "Event", "Observer", "Origin", "OwnerState", "ProtocolError", "Publisher",
    "Session", "State", "Status", "WaitTimeout", "__version__", "from_env",
    "nanoseconds",
]
