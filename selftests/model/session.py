# SPDX-License-Identifier: MIT
"""The reference model of a session: what Documentation/interface.md says, executable.

Which result a call has is read from that file's table of rules; what its effects do
is written here, from the list below the table and the channel states of design.md.
Nothing here knows of locks, files or processes: who calls and what is alive is told
by the caller (selftests/model/world.py).  It was committed before the program that
compares the module with it.
"""

import os
import re
from errno import EOWNERDEAD, ETIMEDOUT

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                        "../../Documentation/interface.md")
IDLE, SUCCESS, ERROR = range(3)                     # enum chipboot_state
NONE, PUBLISHER, EXIT, CLOSED, DEADLINE, OWNER = range(6)   # enum chipboot_origin
STATUS_VALID, TRUNCATED, GONE = 1, 2, 8             # CHIPBOOT_PAGE_*
ALIVE, DETACHED, OWNER_CLOSED, DEAD = range(4)      # enum chipboot_owner_state
EVENT_COMPLETE, EVENT_GONE, EVENT_CHANGE, EVENT_ERROR = 1, 2, 4, 8
TEXT_MAX = 1023
COLUMNS = ("ioctl", "handle", "caller", "state", "bound", "claimed", "argument")


def read_rules(path=DOCUMENT):
    """[({column: (negated, values) or None for any}, result, effects)], in order."""
    with open(path, encoding="utf-8") as document:
        text = document.read().split("## The rules")[1].split("## The effects")[0]
    rules = []
    for line in re.findall(r"(?m)^\| (?!ioctl)(?!-)(.*)\|$", text):
        cells = [cell.strip() for cell in line.split("|")]
        column = {}
        for name, cell in zip(COLUMNS, cells):
            no, values = cell.startswith("not "), cell.removeprefix("not ")
            column[name] = None if cell == "any" else \
                (no, frozenset(values.split(", ")))
        rules.append((column, cells[7], [x for x in cells[8].split(", ") if x]))
    return rules


RULES = read_rules()
_known = {}


def rule(**case):
    """The first rule for CASE: {column: value}, of argument a frozenset."""
    key = tuple(case[name] for name in COLUMNS)
    if key not in _known:
        for column, result, effects in RULES:
            if all(want is None or want[0] != bool(want[1] & (
                    value if isinstance(value, frozenset) else {value}))
                   for want, value in zip(column.values(), key)):
                _known[key] = result, effects
                break
        else:
            raise LookupError(f"no rule for {case}")
    return _known[key]


def cut(text, room):
    """As much of TEXT as fits in ROOM bytes, without half a UTF-8 character."""
    if len(text) <= room:
        return text
    for back in range(4):
        if text[room - back] & 0xc0 != 0x80:
            return text[:room - back]
    return text[:room]


class Channel:
    """A channel: the fields of its page, and who has it."""

    def __init__(self, generation=1):
        self.generation, self.claim, self.binding = generation, None, None
        self.clear()

    def clear(self):
        """The page as it was at creation."""
        self.state, self.code, self.origin, self.order = IDLE, 0, NONE, 0
        self.payload, self.words = (0, 0, 0), (0, 0)    # words: (seed, count)
        self.flags, self.status, self.text, self.pid = 0, 0, b"", None

    @property
    def name(self):
        """What the table calls its state."""
        if self.state == SUCCESS or self.origin == PUBLISHER:
            return "success" if self.state == SUCCESS else "error"
        return ("idle", "", "exit", "closed", "deadline", "abort")[self.origin]


class Session:
    """N channels and an owner; each method is an effect of the table."""

    def __init__(self, n, owner):
        self.channels = [Channel() for _ in range(n)]
        self.owner, self.owner_state = owner, ALIVE
        self.deadline, self.orders, self.changes = 0, 0, 1
        self.touched = {}       # channel: "changed" or "zeroed", for who compares

    def count(self, state):
        """How many channels are in STATE."""
        return sum(ch.state == state for ch in self.channels)

    def gone(self):
        """How many have died since they answered SUCCESS."""
        return sum(ch.flags & GONE != 0 for ch in self.channels)

    def first_failed(self):
        """The ERROR channel that answered first, or None."""
        failed = [(ch.order, i) for i, ch in enumerate(self.channels)
                  if ch.state == ERROR]
        return min(failed)[1] if failed else None

    def holds(self, seen):
        """CHIPBOOT_EVENT_*, for a handle that has SEEN this many changes."""
        return (EVENT_COMPLETE * (not self.count(IDLE)) |
                EVENT_GONE * bool(self.gone()) |
                EVENT_ERROR * bool(self.count(ERROR)) |
                EVENT_CHANGE * (seen != self.changes))

    def _change(self, i=None, how="changed"):
        self.changes += 1
        if i is not None:
            self.touched[i] = how

    def _answered(self, i, state, origin, code, flags, text):
        ch = self.channels[i]
        self.orders += 1
        ch.state, ch.origin, ch.code, ch.order = state, origin, code, self.orders
        ch.flags, ch.text = flags, text
        self._change(i)

    def answer(self, i, caller, publish):
        """PUBLISH; PUBLISH has state, code, payload, words, text, truncated."""
        ch = self.channels[i]
        ch.pid = ch.pid or caller
        ch.payload, ch.words = publish["payload"], publish["words"]
        self._answered(i, publish["state"], PUBLISHER, publish["code"],
                       TRUNCATED * publish["truncated"], publish["text"])

    def verdict(self, i, origin, code, cause, flags=0):
        """An answer by another; the kernel's own are followed by what was done."""
        ch, text = self.channels[i], cause
        if ch.state != IDLE:
            return
        if origin != OWNER:
            flags |= ch.flags & TRUNCATED
            if ch.text:
                text = cause + b"; last progress: "
                fits = cut(ch.text, TEXT_MAX - len(text))
                flags |= TRUNCATED * (fits != ch.text)
                text += fits
        self._answered(i, ERROR, origin, code, flags, text)

    def closed(self, i):
        """The last copy of the publisher handle is gone."""
        self.verdict(i, CLOSED, -EOWNERDEAD,
                     b"publisher handle closed without an answer")

    def expired(self):
        """The deadline passed."""
        for i in range(len(self.channels)):
            self.verdict(i, DEADLINE, -ETIMEDOUT, b"deadline passed")

    def died(self, i, status):
        """The bound process died: death, gone, or the end of the binding."""
        ch = self.channels[i]
        if ch.state == ERROR or ch.flags & GONE:
            self._change()
            return
        signal = status & 0x7f
        cause = b"killed by signal %d" % signal if signal else \
            b"exited with code %d" % (status >> 8)
        ch.status = status
        if ch.state == SUCCESS:
            ch.flags |= STATUS_VALID | GONE
            self._change(i)
        else:
            self.verdict(i, EXIT, -EOWNERDEAD, cause, STATUS_VALID)

    def bind(self, i, binding, process):
        """BIND; page and pid stay if the channel is answered (rebind)."""
        ch = self.channels[i]
        ch.binding = binding
        if ch.state == IDLE:
            ch.pid = process
            self._change(i)
        self._change()

    def progress(self, i, text, truncated):
        """PROGRESS."""
        self.channels[i].text = text
        self.channels[i].flags = TRUNCATED * truncated
        self._change(i)

    def reset(self, i, kept):
        """RESET; KEPT is the living process whose binding carries over, or None."""
        ch = self.channels[i]
        ch.clear()
        ch.generation, ch.pid = ch.generation + 1, kept
        self._change(i, "zeroed")

    def set_deadline(self, ns):
        """SET_DEADLINE."""
        self.deadline = ns
        self._change()

    def set_owner(self, state):
        """DETACH, the last close, the owner's death."""
        self.owner_state = state
        self._change()
