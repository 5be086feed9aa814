# SPDX-License-Identifier: MIT
"""A disk with a Debian on it, and a machine that boots from it.

Owns: the directory it is given (disk.img, another as it was kept, mnt, and what a boot
leaves behind). Called by: selftests/install/run. QEMU by emulation, as in
selftests/vm/run: no KVM.
What would take a quarter of an hour there, compiling above all, is done on the same disk
without booting it (Disk.inside).
"""

import contextlib
import importlib.machinery
import importlib.util
import os
import re
import shlex
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "selftests", "vm"))

# An emulated machine beside a busy core is twenty times slower.
BOOT_TIMEOUT = 3600
APPEND = ("root=/dev/vda rw console=ttyS0 quiet nokaslr mitigations=off no_timer_check "
          "tsc=reliable log_buf_len=4M cryptomgr.notests panic=-1 oops=panic "
          "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 "
          "systemd.firstboot=off systemd.show_status=0 systemd.default_timeout_start_sec=1800")
ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")

# In a mount and pid namespace of its own, so that nothing is left behind.
INSIDE = """
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$1/dev/${node%:*}" c 1 "${node#*:}"
done
ln -s /proc/self/fd "$1/dev/fd"
root=$1
shift
exec chroot "$root" env -i "$@"
"""

# What runs a boot's step, and says on the second port what came of it.
UNIT = """[Unit]
Description=a step of selftests/install/run
After=multi-user.target
[Service]
Type=oneshot
Environment=HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
WorkingDirectory=/srv/proof
ExecStart=/bin/sh -c 'stty -F /dev/ttyS1 raw -echo; \
 { bash ./step; echo "step ended: $$?"; echo "kernel log:"; dmesg; \
 echo "end of log"; } >/dev/ttyS1 2>&1'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""


class Failure(Exception):
    """What has to be told in a line."""


def vm_script(name):
    """One of selftests/vm's programs, as a module."""
    path = os.path.join(TOP, "selftests", "vm", name)
    loader = importlib.machinery.SourceFileLoader("vm_" + name, path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Disk:
    """An ext4 image."""

    def __init__(self, directory):
        self.directory = directory
        self.image = os.path.join(directory, "disk.img")
        self.mnt = os.path.join(directory, "mnt")
        os.makedirs(self.mnt, exist_ok=True)

    def let_go(self):
        """What a run that was killed has left mounted."""
        while os.path.ismount(self.mnt):
            subprocess.run(["umount", self.mnt], check=True)

    def make(self, tarball):
        """A new one, of what is in TARBALL."""
        with open(self.image, "wb") as image:
            image.truncate(4 << 30)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal",
                        self.image], check=True)
        with self.mounted():
            subprocess.run(["tar", "-C", self.mnt, "-xpf", tarball,
                            "--xattrs", "--xattrs-include=*"], check=True)

    def keep(self):
        """As it is now, for back()."""
        subprocess.run(["cp", "--sparse=always", self.image, self.image + ".kept"],
                       check=True)

    def back(self):
        """As it was when it was kept."""
        os.replace(self.image + ".kept", self.image)

    @contextlib.contextmanager
    def mounted(self):
        """Its files, in the directory mnt."""
        subprocess.run(["mount", "-o", "loop", self.image, self.mnt], check=True)
        try:
            yield self.mnt
        finally:
            subprocess.run(["umount", self.mnt], check=True)

    def inside(self, script):
        """Run a shell script with the disk as its root, without booting it.

        Returns (exit code, output)."""
        with self.mounted():
            done = subprocess.run(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork",
                 "--kill-child", "sh", "-ec", INSIDE, "sh", self.mnt, *ENVIRONMENT,
                 "sh", "-ec", script],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False, errors="replace")
        return done.returncode, done.stdout

    def boot(self, script, release):
        """Boot kernel RELEASE, run a bash script in it as a service, power off.

        Returns (exit code of the script, its output, the kernel's log)."""
        kernel = os.path.join(self.directory, "vmlinux")
        initrd = os.path.join(self.directory, "initrd")
        with self.mounted() as mnt:
            with open(f"{mnt}/srv/proof/step", "w", encoding="utf-8") as file:
                file.write(script)
            unit = f"{mnt}/etc/systemd/system/proof.service"
            with open(unit, "w", encoding="utf-8") as file:
                file.write(UNIT)
            wants = f"{mnt}/etc/systemd/system/multi-user.target.wants"
            os.makedirs(wants, exist_ok=True)
            if not os.path.lexists(f"{wants}/proof.service"):
                os.symlink("../proof.service", f"{wants}/proof.service")
            # The ELF image: unpacking itself is most of an emulated boot.
            with open(kernel, "wb") as file:
                file.write(vm_script("kernel").extract_vmlinux(
                    f"{mnt}/boot/vmlinuz-{release}"))
            with open(f"{mnt}/boot/initrd.img-{release}", "rb") as source, \
                    open(initrd, "wb") as file:
                file.write(source.read())
        output = os.path.join(self.directory, "output")
        self._qemu(kernel, initrd, output)
        with open(output, encoding="utf-8", errors="replace") as file:
            text = file.read().replace("\r\n", "\n")
        match = re.search(r"(?ms)(.*)^step ended: (\d+)\nkernel log:\n(.*)^end of log$",
                          text)
        if not match:
            raise Failure(f"the machine did not come to its end; see {output} and "
                          f"{self.directory}/console")
        return int(match.group(2)), match.group(1), match.group(3)

    def _qemu(self, kernel, initrd, output):
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu",
            "Nehalem,+rdrand", "-smp", "2", "-m", "1024", "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot",
            "-serial", f"file:{self.directory}/console",
            "-serial", f"file:{output}",
            "-drive", f"file={self.image},format=raw,if=virtio,cache=unsafe",
            "-kernel", kernel, "-initrd", initrd, "-append", APPEND]
        try:
            done = subprocess.run(["setpriv", "--pdeathsig", "KILL", *command],
                                  stdin=subprocess.DEVNULL, check=False,
                                  timeout=BOOT_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"the machine did not end in {BOOT_TIMEOUT} s; see "
                          f"{output} and {self.directory}/console") from error
        if done.returncode:
            raise Failure(f"QEMU: exit code {done.returncode}: {shlex.join(command)}")
