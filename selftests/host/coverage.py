#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How much of the state machine the unit tests come through.

Builds kmod/channel.c and selftests/unit/*.c with gcov's counters, runs them, and
asks gcov for the lines and branches of channel.c: each line must be run and each
branch taken both ways.  What was not is named.  Prints TAP, and the figures.

Owns: build/coverage/.  Called by: selftests/run and `make coverage`; runs on the
host.
"""

import glob
import gzip
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
OUT = "build/coverage"
SOURCE = "kmod/channel.c"
LEAST_LINES = LEAST_BRANCHES = 100.0


def build():
    """The unit tests, in a tree of their own; their programs."""
    shutil.rmtree(OUT, ignore_errors=True)
    programs = [f"{OUT}/selftests/unit/{os.path.basename(source)[:-2]}"
                for source in sorted(glob.glob("selftests/unit/*.c"))]
    env = {k: v for k, v in os.environ.items()
           if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    # The harness ends each test by _exit(), and the counters are written by exit().
    subprocess.run(["make", "-s", f"B={OUT}", "CC=gcc",
                    "CFLAGS=-O0 -g --coverage -D_exit=exit", *programs],
                   check=True, env=env, stdout=sys.stderr)
    return programs


def count():
    """gcov's count of SOURCE: its lines, as gcov's JSON has them."""
    subprocess.run(["gcov", "-b", "-j", "-o", f"{OUT}/obj/unit/channel.o", SOURCE],
                   check=True, stdout=subprocess.DEVNULL)
    # gcov knows no place but the current directory.
    found = glob.glob("*.gcov.json.gz")
    try:
        with gzip.open(found[0]) as data:
            files = json.load(data)["files"]
    finally:
        for path in found:
            os.unlink(path)
    return next(file["lines"] for file in files
                if os.path.realpath(file["file"]) == os.path.realpath(SOURCE))


def main():
    os.chdir(ROOT)
    print("TAP version 13\n1..3")
    programs = build()
    failed = [program for program in programs
              if subprocess.run([program], stdout=subprocess.DEVNULL,
                                check=False).returncode]
    print(f"{'not ' if failed else ''}ok 1 the unit tests pass", *failed)
    lines = count()
    branches = [(line["line_number"], branch["count"])
                for line in lines for branch in line["branches"]]
    run = [(line["line_number"], line["count"]) for line in lines]
    bad = bool(failed)
    for number, what, least, counts in (
            (2, "lines run", LEAST_LINES, run),
            (3, "branches taken", LEAST_BRANCHES, branches)):
        never = [line for line, times in counts if not times]
        done = len(counts) - len(never)
        share = 100 * done / len(counts) if counts else 0
        print(f"# {SOURCE}: {done} of {len(counts)} {what}, {share:.1f} %")
        if share < least:
            bad = True
            print(f"not ok {number} {what}: at least {least} %; never: line",
                  *sorted(set(never)))
        else:
            print(f"ok {number} {what}")
    return bad


if __name__ == "__main__":
    sys.exit(main())
