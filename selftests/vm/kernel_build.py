# SPDX-License-Identifier: MIT
"""Build the debug kernels, which Debian does not have.

    build/sources/PACKAGE/  the source: linux/, and package, what it came from
    build/kernels/NAME/     build (the kernel's objects), log, and what
                            selftests/vm/kernel says of every kernel

The configuration is tinyconfig, selftests/debug/base.config, and
selftests/debug/NAME.config, of which each line must be granted. A kernel is
built once: again only if one of the two, or the source, is another.

Called by: selftests/vm/kernel.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time

import kernel_source
import vmtree
from private_apt import AptError, whole_or_absent

FRAGMENTS = os.path.join(vmtree.TOP, "selftests", "debug")


def _fragments(kernel):
    return [os.path.join(FRAGMENTS, f"{name}.config")
            for name in ("base", kernel.name)]


def _read(path):
    with open(path, encoding="utf-8") as text:
        return text.read()


def _logged(log, *command, cwd=None):
    """Run COMMAND; what it says belongs to LOG, and its end to an error."""
    env = {name: value for name, value in os.environ.items()
           if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    begin = log.tell()
    done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT,
                          cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          check=False)
    if done.returncode:
        said = _read(log.name)[begin:].strip().splitlines()
        cause = next((line for line in said if "rror" in line), said[-1:])
        raise AptError(f"{command[0]} failed, see {log.name}: {cause}")


def _configure(kernel, make, tree, objects, log):
    _logged(log, *make, "-s", "tinyconfig")
    _logged(log, f"{tree}/scripts/kconfig/merge_config.sh", "-m", ".config",
            *_fragments(kernel), cwd=objects)
    _logged(log, *make, "-s", "olddefconfig")
    granted = set(_read(f"{objects}/.config").splitlines())
    wanted = re.findall(r"(?m)^(?:CONFIG_.*|# CONFIG_\w+ is not set)$",
                        "".join(_read(path) for path in _fragments(kernel)))
    refused = sorted(set(wanted) - granted)
    if refused:
        raise AptError(f"the kernel's configuration refuses {refused}")


def _build(kernel, tree, say):
    """Fill the empty directory of KERNEL."""
    objects = os.path.join(kernel.directory, "build")
    os.makedirs(objects)
    make = ["make", "-C", tree, f"O={objects}", f"CC={kernel.compiler}",
            f"-j{os.cpu_count()}"]
    with open(os.path.join(kernel.directory, "log"), "w",
              encoding="utf-8") as log:
        _configure(kernel, make, tree, objects, log)
        say(f"{kernel.name}: building it (5 to 10 minutes on two idle cores)")
        # modules: there are none, but the list of what they may use is made.
        _logged(log, *make, "bzImage", "modules")
    # Not the ELF image inside: KASAN does not survive being entered that way.
    shutil.copyfile(f"{objects}/arch/x86/boot/bzImage",
                    os.path.join(kernel.directory, "image"))
    os.symlink("build", os.path.join(kernel.directory, "headers"))
    return objects


def make(kernel, write_kbuild, say):
    """See to it that KERNEL is there."""
    source = os.path.join(vmtree.BUILD, "sources", kernel.packages[0])
    with whole_or_absent(source) as missing:
        if missing:
            kernel_source.fetch(kernel.suites, kernel.packages[0], source, say)
    package = _read(os.path.join(source, "package")).strip()
    what = "".join(_read(path) for path in _fragments(kernel)) + package
    key = hashlib.sha256(what.encode()).hexdigest()
    with whole_or_absent(kernel.directory, key + "\n") as missing:
        if not missing:
            return
        begin = time.monotonic()
        objects = _build(kernel, os.path.join(source, "linux"), say)
        write_kbuild(kernel, objects, os.path.join(kernel.directory, "kbuild"))
        release = re.search(r'"(.*)"', _read(
            f"{objects}/include/generated/utsrelease.h")).group(1)
        with open(os.path.join(kernel.directory, "release"), "w",
                  encoding="utf-8") as out:
            out.write(release + "\n")
        say(f"{kernel.name}: {release}, from {package}, is ready in "
            f"build/kernels/{kernel.name}, after "
            f"{time.monotonic() - begin:.0f} s")
