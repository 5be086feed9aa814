# SPDX-License-Identifier: MIT
"""Processes, descriptors and sessions around the model, and the script of a round.

An operation is a tuple (process, thread, name, arguments...), all numbers.  World.do()
takes any, also one whose process or descriptor is not there: a round stays a round
when some of its operations are taken out.  It says what should come of it by
selftests/model/session.py and writes both for selftests/model/executor.c, which
describes the script.

Where the interface leaves an order open and the kernel does not, the kernel's is
followed: a process that gives back many descriptors at once goes from the lowest to the
highest, and what nobody else has is then released, the last one first; and who was
bound last to a process is told first of its death.
"""

from errno import EACCES, EAGAIN, EBADF, ECHILD, EINVAL, ENODEV, EPERM
import errno

import session as model

CALLS = ("VERSION CREATE CLAIM RESET ABORT DETACH SET_DEADLINE BIND PROGRESS PUBLISH "
         "OBSERVE READ STATUS unknown").split()
HOWS = "plain magic short longer tail fault readonly".split()
OPS = ("OPEN IOCTL CLOSE DUP CLOEXEC SEND RECV FORK EXEC EXIT THREAD_EXIT THREAD KILL "
       "REAP MMAP MUNMAP LOOK MPROTECT POLL").split()
PROCESSES, LIVES, SESSIONS, CHANNELS = 6, 256, 4, 72    # as in executor.c
SLOTS, MAPPINGS, MAIL = 10, 2, 8
MAX_CHANNELS = 4096             # max_channels_per_session as the module has it
CALLER, NOBODY, NEVER = 1000, 1001, 1002    # BIND's pid, beside a life
IOCTL = OPS.index("IOCTL")
NO_CHANNEL = 0xffffffff
KTIME_MAX = (1 << 63) - 1
IN, PRI, RDNORM, ERR, HUP, NVAL = 1, 2, 0x40, 8, 0x10, 0x20     # poll()


class File:
    """An open file: a handle."""

    def __init__(self, kind, session=None, channel=0, events=model.EVENT_COMPLETE):
        self.kind, self.session, self.channel = kind, session, channel
        self.events, self.seen, self.stale, self.refs = events, 0, False, 0


class Binding:
    """A process whose death counts for a channel."""

    def __init__(self, process, session, channel, signal):
        self.process, self.session, self.channel = process, session, channel
        self.signal, self.signalled = signal, False


class Process:
    """A life, from fork to reaping; LIFE is its number in the round."""

    def __init__(self, life, parent):
        self.life, self.parent, self.state = life, parent, "alive"
        self.threads, self.code, self.status = {0}, None, 0
        self.fds, self.cloexec, self.maps, self.hooks = {}, {}, {}, []
        self.dying, self.signals = False, 0


class World:
    """All of a round; LINES is its script."""

    def __init__(self):
        first = Process(0, None)
        self.running, self.lives = [first] + [None] * (PROCESSES - 1), [first]
        self.sessions, self.mail, self.lines = [], [], []
        self.ids, self.changes, self.told = {}, {}, {}

    # ---- references ----------------------------------------------------------

    def put(self, file):
        """One reference less."""
        file.refs -= 1
        if not file.refs:
            self.release(file)

    def put_slots(self, p, slots):
        """The descriptors that P gives back all at once."""
        last = []
        for slot in sorted(slots):
            file = p.fds.pop(slot)
            file.refs -= 1
            if not file.refs:
                last.append(file)
        for file in reversed(last):
            self.release(file)

    def release(self, file):
        """That was the last reference."""
        if not file.session:
            return
        s = file.session
        if file.kind == "owner":
            if s.owner.dying:
                self.owner_died(s)
            elif s.owner_state == model.ALIVE:
                s.set_owner(model.OWNER_CLOSED)
        elif file.kind == "publisher":
            ch = s.channels[file.channel]
            if ch.claim is file:
                ch.claim = None
                if not (ch.binding and ch.binding.process.dying):
                    s.closed(file.channel)

    def install(self, p, slot, file, cloexec=True):
        """A descriptor; what stood in the slot goes afterwards."""
        old = p.fds.get(slot)
        file.refs += 1
        p.fds[slot], p.cloexec[slot] = file, cloexec
        if old:
            self.put(old)

    # ---- death ---------------------------------------------------------------

    def signal(self, s):
        """The owner is dead: everyone bound gets its signal, once."""
        for ch in s.channels:
            b = ch.binding
            if b and b.signal and not b.signalled and not b.process.dying:
                b.signalled = True
                b.process.signals += 1

    def owner_died(self, s):
        """As the hook and the owner handle's release tell it."""
        if s.owner_state in (model.ALIVE, model.OWNER_CLOSED):
            s.set_owner(model.DEAD)
            self.signal(s)

    def die(self, p, status):
        """The last thread ends."""
        p.dying, p.status, p.threads = True, status, set()
        self.put_slots(p, p.fds)
        for file, *_ in p.maps.values():
            self.put(file)
        p.maps = {}
        p.state = "zombie"
        for hook in reversed(p.hooks):
            if isinstance(hook, model.Session):
                self.owner_died(hook)
            elif hook.session.channels[hook.channel].binding is hook:
                hook.session.died(hook.channel, status)
        for child in self.lives:
            if child.parent is p:
                child.parent = None
        self.running[self.running.index(p)] = None

    # ---- an ioctl ------------------------------------------------------------

    def argument(self, p, file, call, how, a):
        """What the table calls special about it, and the channel it means."""
        s, special = file.session, set()
        n = len(s.channels) if s else 0
        channel = file.channel if file.kind == "publisher" else None
        if how in ("magic", "tail", "fault", "readonly"):
            special.add(how)
        if how == "short" and call != "DETACH":
            special.add("short")
        if call == "CREATE":
            special |= flags(flag=a[1], reserved=a[2], zero=not a[0],
                             many=a[0] > MAX_CHANNELS)
        elif call == "CLAIM":
            special |= flags(flag=a[1], reserved=a[2])
            channel = a[0]
        elif call in ("RESET", "ABORT"):
            special |= flags(zero=not a[1], flag=a[2] & ~1)
            if s and a[0] + a[1] <= n and a[0] < n:
                wanted = [i for i in range(a[0], a[0] + a[1])
                          if s.channels[i].state == model.IDLE]
                channel = wanted[0] if wanted else a[0]
            else:
                special.add("no-channel")
            if call == "RESET":
                special |= flags(reserved=a[3])
            else:
                special |= flags(long=a[5] > 1023, text=a[4] and 0 < a[5] <= 1023)
        elif call == "DETACH":
            special |= flags(argument=a[0])
        elif call == "SET_DEADLINE":
            special |= flags(flag=a[1] & ~1, reserved=a[2], clear=not a[0],
                             past=a[1] & 1 and 0 < a[0] < 1000 and not a[3],
                             future=a[0] >= 1000)
        elif call == "BIND":
            special |= flags(flag=a[2], reserved=a[3], signal=a[1] > 64)
            special.add(self.whom(p, a[0]))
        elif call == "PROGRESS":
            special |= flags(flag=a[1] & ~1, reserved=a[4], long=a[3] > 1023,
                             text=a[2] and 0 < a[3] <= 1023)
        elif call == "PUBLISH":
            special |= self.special_of_publish(a)
        elif call == "OBSERVE":
            special |= flags(flag=a[1] or a[0] & ~0xf, more=a[0] & ~file.events)
        elif call == "READ":
            special |= flags(flag=a[1], page=a[2])
            channel = a[0]
        elif call == "STATUS":
            special |= flags(flag=a[1] & ~1, ack=a[1] & 1, pending=a[2] == 1 and a[3])
            if file.kind != "publisher":
                channel = a[0] if a[0] != NO_CHANNEL else None
        if channel is not None and channel >= n:
            special.add("no-channel")
            channel = None
        if call in ("PROGRESS", "PUBLISH") and file.kind == "publisher" and \
                a[0] != s.channels[file.channel].generation:
            special.add("generation")
        return frozenset(special or {"plain"}), channel

    @staticmethod
    def special_of_publish(a):
        """PUBLISH: generation flags state code ctx base size seed count words text
        len."""
        state, flag, code, payload, count = a[2], a[1], a[3], a[4:7], a[8]
        if state == model.SUCCESS:
            bad = flag or code or a[10] != 2 or a[11]
        elif state == model.ERROR:
            bad = any(payload) or count or a[9] != 2
        else:
            bad = True
        return flags(flag=flag & ~1, kind=bad, words=a[9] and 0 < count <= 376,
                     long=a[11] > 1023, text=a[10] and 0 < a[11] <= 1023) | \
            flags(**{"words-many": count > 376})

    def whom(self, p, target):
        """BIND's argument: who that is to the caller."""
        if target == CALLER or target == p.life:
            return "self"
        if target in (NOBODY, NEVER) or target >= len(self.lives) or \
                self.lives[target].state == "reaped":
            return "nobody"
        q = self.lives[target]
        if q.parent is not p:
            return "stranger"
        return "zombie" if q.state == "zombie" else "child"

    def case(self, p, file, call, how, a):
        """The columns of the table."""
        special, channel = self.argument(p, file, call, how, a)
        s = file.session
        ch = s.channels[channel] if s and channel is not None else None
        owner = s and p is s.owner
        caller = "other" if not owner or s.owner_state > model.DETACHED else \
            "owner" if s.owner_state == model.ALIVE else "detached"
        bound = "no"
        if ch and ch.binding:
            q = ch.binding.process
            bound = "dead" if q.dying else "caller" if q is p else "other"
        if call == "RESET" and ch and ch.state == model.IDLE and a[1] > 1:
            special |= {"range"}
        return {"ioctl": call, "caller": caller, "bound": bound, "argument": special,
                "handle": "stale" if file.stale else file.kind,
                "state": ch.name if ch else "idle",
                "claimed": "yes" if ch and ch.claim else "no"}, channel

    def ioctl(self, p, slot, nr, how, to, a, text):
        """The result, and what the executor needs to look at the output."""
        call, file, out = CALLS[nr], p.fds.get(slot), []
        if not file:
            return -EBADF, out
        case, channel = self.case(p, file, call, HOWS[how], a)
        result, effects = model.rule(**case)
        if result not in ("0", "fd"):
            return -getattr(errno, result), out
        s, value = file.session, 0
        length = {"ABORT": 5, "PROGRESS": 3, "PUBLISH": 11}.get(call)
        text = text[:a[length]].split(b"\0")[0] if length else b""
        if call == "CREATE":
            s = model.Session(a[0], p)
            s.clock = 0     # 1: the deadline is relative, 2: in a moment
            p.hooks.append(s)
            self.sessions.append(s)
            self.install(p, to, File("owner", s))
        elif call == "CLAIM":
            new = File("publisher", s, channel)
            s.channels[channel].claim = new
            out = [s.channels[channel].generation]
            self.install(p, to, new)
        elif call == "OBSERVE":
            self.install(p, to, File("observer", s, 0, a[0] or file.events))
        elif call == "RESET":
            for i in range(a[0], a[0] + a[1]):
                self.reset(s, i, a[2] & 1)
        elif call == "ABORT":
            before = s.count(model.IDLE)
            for i in range(a[0], a[0] + a[1]):
                s.verdict(i, model.OWNER, signed(a[3]), text,
                          model.TRUNCATED * (a[2] & 1))
            out = [before - s.count(model.IDLE)]
        elif call == "DETACH":
            s.set_owner(model.DETACHED)
        elif call == "SET_DEADLINE":
            s.set_deadline(min(a[0], KTIME_MAX))
            s.clock = 2 if a[3] else int(bool(a[0]) and not a[1] & 1)
            if "verdict" in effects or a[3]:
                s.expired()
        elif call == "BIND":
            self.bind(p, s, file.channel, a)
        elif call == "PROGRESS":
            s.progress(file.channel, text, a[1] & 1)
        elif call == "PUBLISH":
            s.answer(file.channel, p, {
                "state": a[2], "code": signed(a[3]), "payload": tuple(a[4:7]),
                "words": (a[7], a[8]) if a[8] else (0, 0), "text": text,
                "truncated": a[1] & 1})
        elif call == "READ":
            out = [self.sessions.index(s)]
        elif call == "STATUS":
            own = file.kind == "publisher"
            out = [self.sessions.index(s), file.events, s.holds(file.seen),
                   s.channels[file.channel].generation if own and not file.stale
                   else 0, file.channel if own else a[0]]
            if a[1] & 1:
                file.seen = s.changes
        return value, out

    def reset(self, s, i, keep):
        """RESET of one channel."""
        ch = s.channels[i]
        if ch.claim and not keep:
            ch.claim.stale, ch.claim = True, None
        if ch.binding and (not keep or ch.binding.process.dying):
            self.unbind(ch)
        s.reset(i, ch.binding.process if ch.binding else None)

    @staticmethod
    def unbind(ch):
        """The binding is nobody's."""
        if ch.binding and ch.binding in ch.binding.process.hooks:
            ch.binding.process.hooks.remove(ch.binding)
        ch.binding = None

    def bind(self, p, s, i, a):
        """BIND that is allowed."""
        q = p if a[0] == CALLER else self.lives[a[0]]
        ch = s.channels[i]
        b = Binding(q, s, i, a[1])
        self.unbind(ch)
        q.hooks.append(b)
        s.bind(i, b, q)
        if q.dying:
            s.died(i, q.status)
        if s.owner_state == model.DEAD:
            self.signal(s)

    # ---- the other operations --------------------------------------------------

    def mmap(self, p, slot, m, first, count, prot, private):
        """mmap(2); prot as PROT_*: 1 read, 2 write, 4 execute."""
        file = p.fds.get(slot)
        if not file:
            return -EBADF
        # The VFS first: these files have no mmap, an observer is read-only.
        if not private and prot & 2 and file.kind in ("observer", "control-ro"):
            return -EACCES
        if file.kind != "observer":
            return -ENODEV
        if private:
            return -EINVAL
        if prot & 4:
            return -EPERM
        if first + count > len(file.session.channels):
            return -EINVAL
        file.refs += 1
        old = p.maps.get(m)
        p.maps[m] = (file, first, count)
        if old:
            self.put(old[0])
        return 0

    def exec(self, p):
        """execve(2): other threads, mappings and close-on-exec descriptors go."""
        p.threads, p.code = {0}, None
        self.put_slots(p, [slot for slot in p.fds if p.cloexec[slot]])
        for file, *_ in p.maps.values():
            self.put(file)
        p.maps = {}

    def poll(self, p, slot):
        """poll(2), asked for all."""
        file = p.fds.get(slot)
        if not file:
            return NVAL
        if not file.session:
            return IN | RDNORM      # no poll method: always
        s, bits = file.session, 0
        if s.holds(file.seen) & file.events:
            bits |= IN | RDNORM
        if s.count(model.ERROR):
            bits |= PRI
        if s.owner_state >= model.OWNER_CLOSED:
            bits |= HUP
        return bits | (ERR if file.stale else 0)

    def do(self, op):
        """Do OP and write it; False if it means nothing here."""
        index, thread, name, *a = op
        p = self.running[index]
        text = b""
        if name == "KILL":
            p = self.lives[a[0]] if a[0] < len(self.lives) else None
        if not p or p.state != "alive":
            return False
        thread = thread if thread in p.threads else next(iter(p.threads))
        result, args = 0, a
        if name == "IOCTL":
            slot, nr, how, to, a, text = a
            a = list(a)
            if not self.sane(p, slot, CALLS[nr], HOWS[how], a):
                return False
            result, out = self.ioctl(p, slot, nr, how, to, a, text)
            args = [slot, nr, how, to, *a, *out]
        elif name == "OPEN":
            self.install(p, a[0], File("control-ro" if a[1] else "control"))
        elif name == "CLOSE":
            file = p.fds.pop(a[0], None)
            result = 0 if file else -EBADF
            if file:
                self.put(file)
        elif name == "DUP":
            if a[0] == a[1]:
                return False
            if a[0] in p.fds:
                self.install(p, a[1], p.fds[a[0]], bool(a[2]))
            else:
                result = -EBADF
        elif name == "CLOEXEC":
            if a[0] in p.fds:
                p.cloexec[a[0]] = bool(a[1])
            else:
                result = -EBADF
        elif name == "SEND":
            if len(self.mail) >= MAIL:
                return False
            if a[0] in p.fds:
                p.fds[a[0]].refs += 1
                self.mail.append(p.fds[a[0]])
            else:
                result = -EBADF
        elif name == "RECV":
            if self.mail:
                file = self.mail.pop(0)
                self.install(p, a[0], file)
                file.refs -= 1
            else:
                result = -EAGAIN
        elif name == "FORK":
            if self.running[a[0]] or len(self.lives) >= LIVES - 1:
                return False
            args = [a[0], len(self.lives)]
            self.fork(p, a[0])
        elif name == "EXEC":
            self.exec(p)
        elif name == "EXIT":
            args = [a[0], 0, p.life]
            self.die(p, a[0] << 8)
        elif name == "THREAD_EXIT":
            # Whose code the process's is, the leader's or the last one's, depends
            # on the kernel: all exit with the same.
            p.code = a[0] if p.code is None else p.code
            p.threads.discard(thread)
            last = not p.threads
            args = [p.code, int(last), p.life]
            if last:
                self.die(p, p.code << 8)
        elif name == "THREAD":
            if 1 in p.threads:
                return False
            p.threads.add(1)
        elif name == "KILL":
            self.die(p, a[1])
        elif name == "REAP":
            q = self.lives[a[0]] if a[0] < len(self.lives) else None
            if not q:
                return False
            if q.parent is not p or q.state == "reaped":
                result = -ECHILD
            elif q.state == "alive":
                result = -EAGAIN
            else:
                q.state, result = "reaped", q.status
        elif name == "MMAP":
            if not a[3]:
                return False
            result = self.mmap(p, *a)
        elif name in ("MUNMAP", "LOOK", "MPROTECT"):
            if a[0] not in p.maps:
                return False
            file, first, count = p.maps[a[0]]
            if name == "LOOK":
                args = [a[0], self.sessions.index(file.session), first, count]
            elif name == "MUNMAP":
                del p.maps[a[0]]
                self.put(file)
            else:
                result = -EACCES
        elif name == "POLL":
            result = self.poll(p, a[0])
        self.write(index, thread, name, result, args, text)
        return True

    def sane(self, p, slot, call, how, a):
        """What the executor has no room for, or would not be the same each time."""
        if call == "CREATE":
            return len(self.sessions) < SESSIONS and \
                (a[0] <= CHANNELS or a[0] > MAX_CHANNELS)
        if call in ("DETACH", "unknown"):
            return how in ("plain", "magic")
        if call == "SET_DEADLINE" and a[3]:
            # One that would fire later, when something is IDLE again.
            file = p.fds.get(slot)
            return bool(file and file.session and file.session.count(model.IDLE))
        return True

    def fork(self, p, index):
        """fork(2): the child has the thread that called, as its first."""
        child = Process(len(self.lives), p)
        child.fds, child.cloexec = dict(p.fds), dict(p.cloexec)
        child.maps = dict(p.maps)
        for file in [*child.fds.values(), *(m[0] for m in child.maps.values())]:
            file.refs += 1
        self.running[index] = child
        self.lives.append(child)

    # ---- the script ------------------------------------------------------------

    def write(self, index, thread, name, result, args, text):
        """The operation, and all that is otherwise after it."""
        out = self.lines
        out.append(f"O {index} {thread} {OPS.index(name)} {result} "
                   f"{text.hex() or '-'} {' '.join(map(str, map(int, args)))}")
        for i, s in enumerate(self.sessions):
            new = i not in self.changes
            if new or self.changes[i] != s.changes:
                self.write_session(out, i, s, new)
                self.changes[i] = s.changes
        for p in self.lives:
            if p.signals != self.told.get(p.life, 0):
                out.append(f"K {p.life} {p.signals}")
                self.told[p.life] = p.signals
        out.append("X")

    @staticmethod
    def write_session(out, i, s, new):
        """A session that has changed, and its pages that have."""
        first = s.first_failed()
        kind = s.clock
        # A relative one is measured by the executor when it is set, and stays so.
        s.clock = 3 if kind else 0
        out.append(f"S {i} {s.count(model.IDLE)} {s.count(model.SUCCESS)} "
                   f"{s.count(model.ERROR)} {s.gone()} "
                   f"{NO_CHANNEL if first is None else first} {s.owner_state} "
                   f"{s.deadline} {kind} 1 {s.owner.life} {len(s.channels)}")
        how = {"changed": 1, "zeroed": 2}
        for c, ch in enumerate(s.channels):
            bound = int(bool(ch.binding and not ch.binding.process.dying))
            if not new and c not in s.touched and bound == ch.was_bound:
                continue
            ch.was_bound = bound
            touch = 3 if new else how.get(s.touched.get(c), 0)
            out.append(f"P {i} {ch.text.hex() or '-'} {c} {touch} {ch.state} {ch.code} "
                       f"{ch.origin} {ch.flags} {ch.status} {ch.order} "
                       f"{ch.generation} {ch.pid.life if ch.pid else LIVES} {bound} "
                       f"{' '.join(map(str, ch.payload))} {ch.words[0]} {ch.words[1]}")
        s.touched = {}


def signed(value):
    """A __s32 that was given as __u32."""
    return value - (1 << 32) if value >= 1 << 31 else value


def flags(**which):
    """Those that are true, by name."""
    return {name for name, true in which.items() if true}
