#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Unpack Debian packages, with what they depend on, into a tree of their own.

    selftests/vm/vm_root.py NAME          make it if it is not there yet

Owns build/roots/NAME/. The names are in selftests/vm/roots. Nothing in such a
tree is installed: no script of any package runs. Called by: the Makefile (programs
for arm64), and selftests/vm/kernel for a compiler that this machine cannot run:
that one runs in the tree by bwrap, as anybody.
"""

import os
import subprocess
import sys

sys.dont_write_bytecode = True      # the source tree stays clean
import vmtree           # noqa: E402
from private_apt import AptError, PrivateApt, whole_or_absent    # noqa: E402


def say(text):
    print(f"vm/root: {text}", file=sys.stderr, flush=True)


def fetch(name, final):
    """Fill the empty directory FINAL."""
    arch, suites, packages = vmtree.roots()[name]
    apt = PrivateApt(os.path.join(final, "apt"), arch, suites)
    say(f"{name}: reading package lists ({', '.join(suites)})")
    apt.update()
    debs = apt.download_all(packages)
    size = sum(map(os.path.getsize, debs)) / 1e6
    say(f"{name}: {len(debs)} packages, {size:.0f} MB")
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", deb, final], check=True)
    # As base-files has them, where all is in /usr.
    for link in ("bin", "sbin", "lib", "lib64"):
        if not os.path.exists(os.path.join(final, link)):
            os.symlink(f"usr/{link}", os.path.join(final, link))
    apt.remove()
    say(f"{name}: ready in build/roots/{name}")


def make(name):
    """The tree NAME, made now or before."""
    final = vmtree.root_dir(name)
    arch, suites, packages = vmtree.roots()[name]
    with whole_or_absent(final, " ".join([arch, *suites, *packages])) as missing:
        if missing:
            fetch(name, final)
    return final


def main():
    names = vmtree.roots()
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        say(f"usage: selftests/vm/vm_root.py NAME; names: {' '.join(names)}")
        return 2
    os.umask(0o022)
    try:
        make(sys.argv[1])
    except (AptError, OSError, subprocess.CalledProcessError) as error:
        say(f"{sys.argv[1]}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
