#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Is each test there that Documentation/security.md names?  Prints TAP.

Called by: selftests/run; runs on the host.
"""

import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
DOCUMENT = "Documentation/security.md"


def rows(text):
    """(attack, what stands in its column of tests) of every table."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 3 and cells[2] != "test" and \
                not cells[0].startswith("-"):
            yield cells[0], cells[2]


def missing(tests):
    """What TESTS names and is not there."""
    named = 0
    for part in tests.split(";"):
        names = re.findall(r"`([^`]+)`", part)
        if not names:
            continue
        named += 1
        if names[0].startswith("make "):
            with open("Makefile", encoding="utf-8") as makefile:
                if f"\n{names[0][5:]}:" not in makefile.read():
                    yield names[0]
            continue
        path = "selftests/" + (names[0] if "." in names[0] else names[0] + ".c")
        if not os.path.exists(path):
            yield path
            continue
        with open(path, encoding="utf-8") as source:
            text = source.read()
        for name in names[1:]:
            if not re.search(rf"\nTEST(_F)?\((\w+, )?{name.split('.')[-1]}\)", text):
                yield f"{path}: {name}"
        if path.endswith(".sh"):
            said = part.partition(":")[2].strip()
            if f"ok '{said}'" not in text:
                yield f"{path}: {said}"
    if not named:
        yield "no test"


def main():
    os.chdir(ROOT)
    with open(DOCUMENT, encoding="utf-8") as document:
        attacks = list(rows(document.read()))
    print(f"TAP version 13\n1..{len(attacks)}")
    bad = 0
    for number, (attack, tests) in enumerate(attacks, 1):
        wrong = list(missing(tests))
        bad += bool(wrong)
        print(f"{'not ' if wrong else ''}ok {number} {attack}", *wrong)
    return bad > 0 or not attacks


if __name__ == "__main__":
    sys.exit(main())
