# SPDX-License-Identifier: MIT
"""Random rounds for the model, the same for the same seed, and their words for people.

Any operation may come; what means something is more likely.
"""

import random

import session as model
import world
from world import CALLS, HOWS, NO_CHANNEL, World

TEXTS = (b"", b"a", b"comm_init", b"loading firmware", b"two\0halves", b"\xe2\x82\xac",
         b"\xff\xfe\x80")
WEIGHTS = {
    "control": {"CREATE": 6, "VERSION": 1},
    "control-ro": {"CREATE": 1, "VERSION": 1},
    "owner": {"CLAIM": 12, "RESET": 8, "ABORT": 4, "SET_DEADLINE": 3, "OBSERVE": 4,
              "STATUS": 3, "DETACH": .4},
    "publisher": {"PUBLISH": 7, "BIND": 10, "PROGRESS": 5, "STATUS": 2},
    "observer": {"READ": 2, "STATUS": 3, "OBSERVE": 2},
}
OTHERS = {"OPEN": 1, "CLOSE": 5, "DUP": 3, "CLOEXEC": 2, "SEND": 2, "RECV": 2.5,
          "FORK": 6, "EXEC": .7, "EXIT": .6, "THREAD_EXIT": .6, "THREAD": 2, "KILL": 3,
          "REAP": 1.5, "MMAP": 3, "MUNMAP": 1, "LOOK": 3, "MPROTECT": .5, "POLL": 4}
OP_SHARE, WRONG_KIND, ODD = .35, .03, .12


def pick(rng, weights):
    """One of the keys."""
    return rng.choices(list(weights), list(weights.values()))[0]


class Round:
    """The operations of a round; each is tried on a world as it is chosen."""

    def __init__(self, seed):
        self.rng, self.world, self.ops = random.Random(seed), World(), []
        length = self.rng.choice((30, 60, 120, 200))
        self.sizes = self.rng.choice(((1, 2, 3), (2, 3, 5), (1, 17, 40), (3, 70)))
        self.add((0, 0, "OPEN", 0, 0))
        while len(self.ops) < length and any(self.world.running):
            self.add(self.choose())

    def add(self, op):
        """Keep OP if it means something."""
        if self.world.do(op):
            self.ops.append(op)

    def choose(self):
        """The next operation."""
        rng, running = self.rng, self.world.running
        alive = [i for i, p in enumerate(running) if p]
        index = rng.choice(alive)
        owners = [i for i in alive
                  if any(s.owner is running[i] for s in self.world.sessions)]
        if owners and rng.random() < .3:
            index = rng.choice(owners)
        thread = rng.randrange(2)
        if not running[index].fds:
            # Somebody has to begin.
            name = "RECV" if self.world.mail and rng.random() < .5 else "OPEN"
            if rng.random() < .8:
                return (index, thread, name, *self.other(running[index], name))
        if rng.random() < OP_SHARE:
            name = pick(rng, OTHERS)
            return (index, thread, name, *self.other(running[index], name))
        return (index, thread, "IOCTL", *self.ioctl(running[index]))

    def slot(self, p, *kinds):
        """A descriptor of P's, of one of KINDS if there is one."""
        fitting = [n for n, f in p.fds.items() if not kinds or f.kind in kinds]
        if fitting and self.rng.random() > .05:
            return self.rng.choice(fitting)
        return self.rng.randrange(world.SLOTS)

    def likely(self, p):
        """A descriptor of P's; more often one that has something to do."""
        slots = list(p.fds)
        if not slots or self.rng.random() < .03:
            return self.rng.randrange(world.SLOTS)
        weights = []
        for file in p.fds.values():
            s, weight = file.session, 1
            if not s:
                weight = 6 if not self.world.sessions else .5
            elif file.kind == "owner":
                weight = 6 if s.owner is p and not s.owner_state else .5
            elif file.kind == "publisher":
                idle = s.channels[file.channel].state == model.IDLE
                weight = .3 if file.stale else 4 if idle else 1.5
            weights.append(weight)
        return self.rng.choices(slots, weights)[0]

    def free(self, p):
        """A place for a new descriptor: seldom one that is taken."""
        rng = self.rng
        free = [n for n in range(world.SLOTS) if n not in p.fds]
        return rng.choice(free) if free and rng.random() > .1 else \
            rng.randrange(world.SLOTS)

    def other(self, p, name):
        """Arguments of what is no ioctl."""
        rng, w = self.rng, self.world
        life = rng.randrange(len(w.lives))
        if name == "OPEN":
            return self.free(p), int(rng.random() < .1)
        if name in ("CLOSE", "POLL", "SEND"):
            return (self.slot(p),)
        if name == "DUP":
            return self.slot(p), self.free(p), int(rng.random() < .7)
        if name == "CLOEXEC":
            return self.slot(p), rng.randrange(2)
        if name == "RECV":
            return (self.free(p),)
        if name == "FORK":
            return (rng.randrange(world.PROCESSES),)
        if name in ("EXIT", "THREAD_EXIT"):
            return (rng.choice((0, 1, 7, 255)),)
        if name == "KILL":
            owners = {s.owner.life for s in w.sessions}
            bound = [ch.binding.process.life for s in w.sessions
                     for ch in s.channels if ch.binding]
            # An owner's end is a session's: not too often.
            victims = [x for x in bound if x not in owners]
            if victims and rng.random() < .8:
                life = rng.choice(victims)
            elif life in owners and rng.random() < .8:
                life = rng.randrange(len(w.lives))
            return life, rng.choice((9, 15, 1))
        if name == "REAP":
            kids = [q.life for q in w.lives if q.parent is p]
            return (rng.choice(kids) if kids and rng.random() > .1 else life,)
        if name == "MMAP":
            slot = self.slot(p, "observer")
            file = p.fds.get(slot)
            n = len(file.session.channels) if file and file.session else 1
            first = rng.randrange(n + 1) if rng.random() < ODD else 0
            count = rng.randrange(1, n + 2) if rng.random() < .3 else n
            prot = 1
            if rng.random() < .1:
                prot = 3 if not file or file.kind != "observer" else \
                    rng.choice((3, 5))
            return (slot, rng.randrange(world.MAPPINGS), first, count, prot,
                    int(rng.random() < .05))
        if name == "MPROTECT":
            return rng.choice(list(p.maps) or [0]), rng.choice((2, 3, 4, 5, 7))
        if name in ("MUNMAP", "LOOK"):
            return (rng.choice(list(p.maps) or [0]),)
        return ()

    def odd(self, *values):
        """0, seldom something else."""
        return self.rng.choice(values) if self.rng.random() < .03 else 0

    def text(self):
        """Bytes, a length, and seldom a bad pointer."""
        rng = self.rng
        kind = rng.random()
        if kind < .95:
            text = rng.choice(TEXTS)
        elif kind < .97:
            text = bytes(rng.choice(b"abc\xe2\x82\xac") for _ in range(1023))
        else:
            text = "\u20ac".encode() * rng.randrange(330, 341)
        length = len(text)
        if rng.random() < .02:
            length = rng.choice((1024, 4096, 0xffffffff))
        return text, length, int(rng.random() < .02)

    def channel(self, s):
        """One of the session's, seldom none."""
        rng = self.rng
        n = len(s.channels) if s else 1
        return rng.choice((n, n + 63, NO_CHANNEL)) if rng.random() < .04 else \
            rng.randrange(n)

    def range(self, s, answered):
        """Channels in a row; ANSWERED ones if possible."""
        rng = self.rng
        n = len(s.channels) if s else 1
        if rng.random() < .06:
            return rng.choice(((0, 0), (n, 1), (0, n + 1), (n - 1, 2),
                               (NO_CHANNEL, 2), (1, NO_CHANNEL)))
        first = rng.randrange(n)
        end = first + 1
        if s and answered and rng.random() < .85:
            done = [i for i, ch in enumerate(s.channels) if ch.state != model.IDLE]
            if done:
                # What is rare is tried more often.
                gone = [i for i in done if s.channels[i].flags & model.GONE]
                first = rng.choice(gone if gone and rng.random() < .5 else done)
                end = first + 1
                while end < n and s.channels[end].state != model.IDLE and \
                        rng.random() < .8:
                    end += 1
        elif rng.random() < .4:
            first, end = 0, n
        return first, end - first

    def ioctl(self, p):
        """Slot, call, how, slot for a new one, arguments, text."""
        rng = self.rng
        slot = self.likely(p)
        file = p.fds.get(slot)
        kind = file.kind if file else "observer"
        if rng.random() < WRONG_KIND:
            call = rng.choice(CALLS)
        else:
            call = pick(rng, WEIGHTS[kind])
        if call == "RESET" and file and file.session and rng.random() < .8 and \
                file.session.count(model.IDLE) == len(file.session.channels):
            call = rng.choice(("ABORT", "CLAIM"))
        how = rng.choice(HOWS[1:]) if rng.random() < .04 else "plain"
        args, text = getattr(self, "a_" + call.lower())(p, file)
        return (slot, CALLS.index(call), HOWS.index(how), self.free(p), tuple(args),
                text)

    # ---- the arguments, as executor.c's fill() takes them ----------------------

    def a_version(self, _p, _file):
        return (), b""

    def a_unknown(self, _p, _file):
        return (0,), b""

    def a_create(self, _p, _file):
        n = self.rng.choice(self.sizes)
        return (self.odd(0, 4097, NO_CHANNEL) or n if self.rng.random() > .02 else 0,
                self.odd(1, 1 << 31), self.odd(1)), b""

    def a_claim(self, _p, file):
        s = file.session if file else None
        channel = self.channel(s)
        if s and self.rng.random() < .6:
            free = [i for i, ch in enumerate(s.channels)
                    if not ch.claim and ch.state == model.IDLE]
            channel = self.rng.choice(free) if free else channel
        return (channel, self.odd(1), self.odd(1)), b""

    def a_reset(self, _p, file):
        return (*self.range(file.session if file else None, True),
                self.odd(2, 1 << 31) or self.rng.randrange(2), self.odd(1)), b""

    def a_abort(self, _p, file):
        text, length, bad = self.text()
        return (*self.range(file.session if file else None, False),
                self.odd(2) or int(self.rng.random() < .2),
                self.rng.choice((0, 1, 0xffffffff, 0x80000000)), bad, length), text

    def a_detach(self, _p, _file):
        return (self.odd(1),), b""

    def a_set_deadline(self, _p, _file):
        flag, bad = self.odd(2), self.odd(1)
        kind = self.rng.choice(("past", "soon", "absolute", "relative", "clear",
                                "never", "relative", "clear"))
        ns, flags, soon = {"past": (self.rng.randrange(1, 1000), 1, 0),
                           "soon": (2000000, 1, 1),
                           "absolute": (1 << 61, 1, 0),
                           "relative": (10 ** 15, 0, 0),
                           "clear": (0, self.rng.randrange(2), 0),
                           "never": ((1 << 64) - 1, 1, 0)}[kind]
        return (ns, flags | flag, bad, soon), b""

    def a_bind(self, p, _file):
        rng, lives = self.rng, self.world.lives
        kids = [q.life for q in lives if q.parent is p and q.state != "reaped"]
        whom = rng.random()
        if whom < .3 or whom < .85 and not kids:
            target = world.CALLER
        elif whom < .85:
            target = rng.choice(kids)
        else:
            target = rng.choice((rng.randrange(len(lives)), world.NOBODY,
                                 world.NEVER, p.life))
        return (target, self.odd(65, 1 << 31) or rng.choice((0, 40, 41)),
                self.odd(1), self.odd(1)), b""

    def generation(self, file):
        """The channel's, or the one before."""
        if not file or file.kind != "publisher":
            return 1
        now = file.session.channels[file.channel].generation
        return now if self.rng.random() > .05 else \
            self.rng.choice((0, now - 1, now + 1))

    def a_progress(self, _p, file):
        text, length, bad = self.text()
        return (self.generation(file), self.odd(2) or int(self.rng.random() < .15),
                bad, length, self.odd(1)), text

    def a_publish(self, _p, file):
        rng = self.rng
        generation = self.generation(file)
        if rng.random() < .03:
            state = rng.choice((0, 3, 0xffffffff))
        else:
            state = rng.choice((1, 1, 2))
        if state == 1:
            count = rng.choice((0, 1, 2, 17, 376)) if rng.random() > .02 else \
                rng.choice((377, NO_CHANNEL))
            return (generation, self.odd(1), 1, self.odd(5), rng.getrandbits(64),
                    rng.getrandbits(64), rng.getrandbits(64), rng.getrandbits(32),
                    count, self.odd(1, 2), 2, self.odd(3)), b"xyz"
        text, length, bad = self.text()
        return (generation, self.odd(2) or int(rng.random() < .15), state,
                rng.choice((0, 42, 0xffffffff)), self.odd(1), self.odd(1),
                self.odd(1), 0, self.odd(1), 2, bad or self.odd(2), length), text

    def a_observe(self, _p, file):
        rng = self.rng
        events = rng.randrange(16) if not file or rng.random() < .5 else \
            rng.randrange(16) & file.events
        return (events if rng.random() > .03 else 0x1f, self.odd(1)), b""

    def a_read(self, _p, file):
        return (self.channel(file.session if file else None), self.odd(1),
                self.odd(1)), b""

    def a_status(self, _p, file):
        rng = self.rng
        channel = NO_CHANNEL if rng.random() < .3 else \
            self.channel(file.session if file else None)
        return (channel, self.odd(2) or rng.randrange(2),
                rng.choice((0, 2)) or self.odd(1), rng.choice((0, 1, 2, 30))), b""


def script(ident, ops):
    """(lines of the round, those of OPS that mean something)."""
    w = World()
    did = [op for op in ops if w.do(op)]
    return [f"R {ident}", *w.lines, "."], did


def words(op):
    """OP, to be read."""
    index, thread, name, *a = op
    where = f"process {index}" + (" (second thread)" if thread else "")
    if name != "IOCTL":
        return f"{where}: {name} {' '.join(map(str, a))}".rstrip()
    slot, nr, how, to, args, text = a
    special = "" if HOWS[how] == "plain" else f" [{HOWS[how]}]"
    return (f"{where}: slot {slot}: {CALLS[nr]}{special} {args}"
            f"{' ' + repr(text[:40]) if text else ''} -> slot {to}")
