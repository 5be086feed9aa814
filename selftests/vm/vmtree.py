# SPDX-License-Identifier: MIT
"""Where the throwaway machine's parts lie in the tree, and what the tables beside
this file say of kernels and roots.

Called by: selftests/vm/run, selftests/vm/kernel, selftests/vm/vm_root.py,
selftests/vm/kernel_build.py, selftests/vm/kselftest.
"""

import collections
import os

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, "build")
DEFAULT_ARCH = "x86_64"


def _rows(table, fields):
    with open(os.path.join(HERE, table), encoding="utf-8") as lines:
        for line in lines:
            field = line.split("#", 1)[0].split()
            if field:
                if len(field) != fields:
                    raise ValueError(f"selftests/vm/{table}: {len(field)} "
                                     f"fields, not {fields}: {line.strip()}")
                yield field


class Kernel(collections.namedtuple(
        "Kernel", "name arch compiler suites packages")):
    """A line of selftests/vm/kernels."""

    @property
    def directory(self):
        """What selftests/vm/kernel fills."""
        tail = "" if self.arch == DEFAULT_ARCH else "-" + self.arch
        return os.path.join(BUILD, "kernels", self.name + tail)

    @property
    def debug(self):
        """Is it built here from a source, to watch what the module does?"""
        return self.packages[0].startswith("linux-source-")

    @property
    def arm64(self):
        """Is it for that processor, whatever its page size?"""
        return self.arch.startswith("arm64")

    @property
    def debian_arch(self):
        """What Debian calls the architecture."""
        return "arm64" if self.arm64 else "amd64"

    @property
    def userspace(self):
        """Where the programs for it are built."""
        return os.path.join(BUILD, "arm64") if self.arm64 else BUILD

    def release(self):
        """As uname -r says it; None if it has not been fetched."""
        try:
            with open(os.path.join(self.directory, "release"),
                      encoding="utf-8") as release:
                return release.read().strip()
        except FileNotFoundError:
            return None


def kernels(arch=None):
    """All kernels, or those of ARCH, in the order of the table."""
    rows = (Kernel(name, of, compiler, suites.split(","), packages.split(","))
            for name, of, compiler, suites, packages in _rows("kernels", 5))
    return [kernel for kernel in rows if arch in (None, kernel.arch)]


def find_kernel(name, arch=DEFAULT_ARCH):
    """The kernel NAME of ARCH, the first if None; None if there is none.

    A version finds the "newest" that has been fetched, while it is of that."""
    known = kernels(arch)
    if name is None:
        return known[0] if known else None
    for kernel in known:
        if kernel.name == name:
            return kernel
    version, rt, rest = name.partition("-rt")
    for kernel in known:
        if kernel.name == "newest" + rt and not rest and \
                (kernel.release() or "").startswith(version + "."):
            return kernel
    return None


def roots():
    """{name: (Debian's architecture, suites, packages)}."""
    return {name: (arch, suites.split(","), packages.split(","))
            for name, arch, suites, packages in _rows("roots", 4)}


def root_dir(name):
    """What selftests/vm/vm_root.py fills."""
    return os.path.join(BUILD, "roots", name)
