# SPDX-License-Identifier: MIT
"""A Debian root file system, of what a device host has before chipboot comes to it.

Owns: build/install/base/ (root.tar, and repo/ with the packages of a newer kernel).
Called by: selftests/install/run. Kept until it is removed or its list of packages
changes, because it takes minutes to make. The mirrors are the machine's own.
"""

import glob
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "selftests", "vm"))

import private_apt      # noqa: E402

BASE = os.path.join(TOP, "build", "install", "base")

# An init, what builds a module (pahole: for 6.12), what the packages depend on, a
# compiler for users' programs, and rootless containers with a systemd of their user's.
PACKAGES = ("systemd-sysv udev dbus kmod dkms linux-image-cloud-amd64 "
            "linux-headers-cloud-amd64 openssl zstd initramfs-tools procps python3 "
            "libjson-c5 libsmartcols1 g++ libc6-dev pkg-config pahole "
            "podman crun uidmap dbus-user-session libpam-systemd").split()
NEWER_KERNEL = ["linux-image-6.12-cloud-amd64", "linux-headers-6.12-cloud-amd64"]
KERNEL_PACKAGE = re.compile(r"linux-(image|headers|kbuild|binary|modules|compiler)-")

# The machine has a disk and nothing else; a small initramfs is an early first process.
SMALL = ("mkdir -p $1/etc/initramfs-tools/conf.d && "
         "echo MODULES=list >$1/etc/initramfs-tools/conf.d/small && "
         "printf '%s\\n' virtio_pci virtio_blk ext4 >>$1/etc/initramfs-tools/modules")


def say(text):
    print(f"install/root: {text}", file=sys.stderr, flush=True)


def make_root():
    """root.tar, by mmdebstrap."""
    archive, security = private_apt.mirrors()
    keyring = f"[signed-by={private_apt.KEYRING}]"
    lines = [f"deb {keyring} {archive} bookworm main"]
    if security:
        lines.append(f"deb {keyring} {security} bookworm-security main")
    say("mmdebstrap; this takes minutes")
    subprocess.run(
        ["mmdebstrap", "--mode=root", "--variant=minbase", "--quiet",
         f"--include={','.join(PACKAGES)}",
         "--dpkgopt=force-unsafe-io",
         "--dpkgopt=path-exclude=/usr/share/man/*",
         "--dpkgopt=path-exclude=/usr/share/locale/*",
         f"--essential-hook={SMALL}",
         # What is installed later is installed whole, its manual too.
         "--customize-hook=rm -f $1/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
         "bookworm", f"{BASE}/root.tar", *lines],
        check=True, stdin=subprocess.DEVNULL)


def fetch_newer_kernel():
    """The packages of a newer kernel, into repo/."""
    apt = private_apt.PrivateApt(f"{BASE}/apt", "amd64", ["bookworm-security"])
    apt.update()
    todo, seen = list(NEWER_KERNEL), []
    while todo:
        name = todo.pop(0)
        if name not in seen:
            seen.append(name)
            todo += [other for other in apt.depends(name)
                     if KERNEL_PACKAGE.match(other)]
    os.makedirs(f"{BASE}/repo", exist_ok=True)
    for name in seen:
        shutil.copy(apt.download(name), f"{BASE}/repo/")
    apt.remove()
    say(f"a newer kernel: {len(glob.glob(f'{BASE}/repo/*.deb'))} packages")


def make():
    """The directory, made now or before, of these packages."""
    contents = " ".join(PACKAGES + NEWER_KERNEL)
    with private_apt.whole_or_absent(BASE, contents) as missing:
        if missing:
            fetch_newer_kernel()
            make_root()
    return BASE
