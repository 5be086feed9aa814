#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the state word costs, read from the machine code.

Compiles the mailbox and two functions around the headers' inline reads, for x86-64
and aarch64, by gcc and by clang, and disassembles them.  Publishing must be one
release store of the state word and reading one acquire load: stlr and ldar (or
ldapr) on aarch64, plain moves on x86-64, and no fence and no locked instruction on
either.  Prints TAP.  That the checks can fail is shown by the same code compiled
with a memory order that is too weak, and with one that is too strong.

Owns: a temporary directory.  Called by: selftests/run; runs on the host.
"""

import os
import re
import subprocess
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Iuserspace/include", "-Iuapi", "-c"]
LIBRARY = "userspace/lib/mailbox.c"
READERS = """
#include <chipboot_mailbox.h>
int poll_mailbox(const struct chipboot_mailbox *mailbox);
int poll_session(const struct chipboot_observer *observer, uint32_t channel);
int poll_mailbox(const struct chipboot_mailbox *mailbox)
{
	return chipboot_mailbox_state(mailbox);
}
int poll_session(const struct chipboot_observer *observer, uint32_t channel)
{
	return chipboot_state(observer, channel);
}
"""

# Architecture: disassembler, compilers.
TARGETS = {
    "x86-64": ("objdump", (["gcc", "-m64"], ["clang", "-m64"])),
    "aarch64": ("aarch64-linux-gnu-objdump",
                (["aarch64-linux-gnu-gcc"], ["clang", "--target=aarch64-linux-gnu"],
                 ["aarch64-linux-gnu-gcc", "-march=armv8.3-a"])),
}

# Relaxed and sequentially consistent, in the place of another order.
WEAK, STRONG = 0, 5


def instructions(target, compiler, source, extra=()):
    """Each function's instructions: {name: [(mnemonic, operands), ...]}."""
    objdump = TARGETS[target][0]
    with tempfile.TemporaryDirectory() as directory:
        obj = os.path.join(directory, "out.o")
        subprocess.run([*compiler, *FLAGS, *extra, "-o", obj, source], check=True,
                       cwd=ROOT)
        text = subprocess.run([objdump, "-d", "--no-show-raw-insn", obj], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
    functions = {}
    body = None
    for line in text.splitlines():
        start = re.match(r"[0-9a-f]+ <([\w$]+)[\w.$]*>:$", line)
        if start:
            # What a compiler splits off (.cold, .part.0) belongs to its function.
            body = functions.setdefault(start[1], [])
        code = re.match(r"\s+[0-9a-f]+:\t(\S+)\s*(.*)$", line)
        if code:
            body.append((code[1], code[2]))
    return functions


def barriers(target, body):
    """Fences, and instructions that are one besides what else they do."""
    if target == "x86-64":
        # xchg of two registers is padding.
        heavy = re.compile(r"lock\b|xchg\w* .*\(|[lms]fence|cmpxchg|xadd")
    else:
        heavy = re.compile(r"dmb|dsb|isb|ldx|stx|ldax|stlx|ldaxr|swp|cas|ld(add|clr|set|eor)")
    return matching(body, heavy)


def matching(body, pattern):
    """The instructions, as text, that match from the beginning."""
    lines = [f"{name} {operands}" for name, operands in body]
    return [line for line in lines if re.match(pattern, line)]


def check_writer(target, body, state):
    """The complaint about a writer that ends in storing @state, or None."""
    if barriers(target, body):
        return f"has {barriers(target, body)}"
    if target == "aarch64":
        stores = matching(body, r"stlr\s")
        # No offset is possible, so the state word is where the page begins.
        return None if len(stores) == 1 else f"release stores: {stores}"
    stores = [i for i, (name, operands) in enumerate(body)
              if re.match(r"mov", name) and re.match(rf"\$0x{state},(0x0)?\(%r\w+\)$", operands)]
    if len(stores) != 1:
        return f"{len(stores)} plain stores of the state"
    for name, operands in body[stores[0] + 1:]:
        if name.startswith("ret"):
            return None
        if re.match(r"mov", name) and re.search(r",-?(0x)?[0-9a-f]*\(%r", operands):
            return f"after the state it stores: {name} {operands}"
    return "does not return after the state"


def check_reader(target, body):
    """The complaint about a reader of one state word, or None."""
    if barriers(target, body):
        return f"has {barriers(target, body)}"
    if target == "aarch64":
        loads = matching(body, r"lda(p?r)\s")
        return None if len(loads) == 1 else f"acquire loads: {loads}"
    loads = matching(body, r"mov\s+\(%r[^)]*\),%[er]\w+$")
    return None if loads else "no plain load of a word"


def ordered(macro, order):
    """Compiler options that put another memory order in the place of one."""
    return ["-w", f"-U{macro}", f"-D{macro}={order}"]


class Points:
    """Counts and prints test points."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def point(self, name, complaint):
        """One test point; it holds if there is no complaint."""
        self.count += 1
        print("not ok" if complaint else "ok", self.count, name, flush=True)
        if complaint:
            self.failed += 1
            print(f"# {complaint}", flush=True)


def check(points, target, compiler, readers):
    """All points of one compiler."""
    label = f"{target}, {' '.join(compiler)}"

    def look(function, source, *extra):
        return instructions(target, compiler, source, extra)[function]

    for function, state in (("chipboot_mailbox_write_success", 1),
                            ("chipboot_mailbox_write_error", 2)):
        points.point(f"{label}: {function}",
                     check_writer(target, look(function, LIBRARY), state))
        # A relaxed store on aarch64 is no stlr; x86-64 shows only too much order.
        order = WEAK if target == "aarch64" else STRONG
        body = look(function, LIBRARY, *ordered("__ATOMIC_RELEASE", order))
        points.point(f"{label}: {function}, wrongly ordered, is found out",
                     None if check_writer(target, body, state) else "it is not")
    for function, source in (("poll_mailbox", readers), ("poll_session", readers),
                             ("chipboot_mailbox_error_message", LIBRARY)):
        points.point(f"{label}: {function}", check_reader(target, look(function, source)))
        if target == "aarch64":
            body = look(function, source, *ordered("__ATOMIC_ACQUIRE", WEAK))
            points.point(f"{label}: {function}, wrongly ordered, is found out",
                         None if check_reader(target, body) else "it is not")


def main():
    """Print every point and the plan; 1 if one failed."""
    points = Points()
    print("TAP version 13")
    with tempfile.TemporaryDirectory() as directory:
        readers = os.path.join(directory, "readers.c")
        with open(readers, "w", encoding="utf-8") as file:
            file.write(READERS)
        for target, (_, compilers) in TARGETS.items():
            for compiler in compilers:
                check(points, target, compiler, readers)
    print(f"1..{points.count}")
    return 1 if points.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
