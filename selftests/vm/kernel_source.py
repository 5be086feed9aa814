# SPDX-License-Identifier: MIT
"""Debian's kernel source packages.

Called by: selftests/intree/prepare, which puts chipboot into one, and
selftests/vm/kernel, which builds the debug kernels from one.
"""

import os
import subprocess

from private_apt import AptError, PrivateApt


def _unpack(deb, package, tree):
    """The kernel's own archive out of DEB into TREE."""
    os.makedirs(tree)
    pipe = subprocess.run(
        ["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | '
         'tar -x --to-stdout "./usr/src/$2.tar.xz" | xz -dc | '
         'tar -x -C "$3" --strip-components=1', "sh", deb, package, tree],
        stderr=subprocess.PIPE, text=True, check=False)
    if pipe.returncode or not os.path.exists(f"{tree}/Kbuild"):
        raise AptError(f"{os.path.basename(deb)} does not unpack: "
                       f"{pipe.stderr.strip()}")


def fetch(suites, package, final, say):
    """Fill the empty directory FINAL from PACKAGE of SUITES: linux/, and package,
    which says what it came from. SAY tells how far it is.

    linux-source stands for the newest of its suites."""
    apt = PrivateApt(os.path.join(final, "apt"), "amd64", suites)
    say(f"{package}: reading package lists")
    apt.update()
    if package == "linux-source":
        package = apt.depends(package)[0]
    say(f"{package}: downloading it (150 MB, deleted afterwards)")
    deb = apt.download(package)
    say(f"{package}: unpacking it (1.7 GB)")
    _unpack(deb, package, os.path.join(final, "linux"))
    with open(os.path.join(final, "package"), "w", encoding="utf-8") as out:
        out.write(os.path.basename(deb) + "\n")
    apt.remove()
