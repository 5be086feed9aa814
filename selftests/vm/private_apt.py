# SPDX-License-Identifier: MIT
"""A private apt: reads and downloads packages of any Debian suite and
architecture without root and without touching the machine's own packages.

Owns: the directory it is given (configuration, package lists, downloads).
Called by: selftests/vm/kernel, selftests/vm/kernel_source.py,
selftests/vm/vm_root.py and selftests/vm/kselftest.

The mirrors are those of the machine's own apt sources, read at run time, so
that a site's mirror or proxy is respected and no host name stands in any file.
"""

import contextlib
import fcntl
import glob
import os
import re
import shutil
import subprocess

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class AptError(Exception):
    """Something the user has to be told in one line."""


def _is_whole(text, stamp):
    try:
        with open(stamp, encoding="utf-8") as file:
            return file.read() == text
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def whole_or_absent(directory, contents=""):
    """Lock DIRECTORY and say whether it still has to be made.

    Only a stamp naming the directory and CONTENTS makes it whole: an interrupted
    download, a tree that was moved (paths are absolute inside) and one that was
    to hold something else are done again. The body fills the emptied directory;
    the stamp is set when it ends well."""
    text = f"{directory}\n{contents}"
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    stamp = os.path.join(directory, "stamp")
    if _is_whole(text, stamp):
        yield False
        return
    with open(directory + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_whole(text, stamp):
            yield False
            return
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        yield True
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(text)


def _one_line_entries(text):
    """(URI, suite, components) of the classic format."""
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
        if match:
            yield match.group(1), match.group(2), match.group(3).split()


def _deb822_entries(text):
    """(URI, suite, components) of the .sources format."""
    text = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", text):
        stanza = re.sub(r"\n[ \t]+", " ", stanza)
        field = {}
        for line in stanza.splitlines():
            key, colon, value = line.partition(":")
            if colon:
                field[key.strip().lower()] = value.split()
        if "deb" not in field.get("types", []):
            continue
        if field.get("enabled", ["yes"])[0].lower() in ("no", "false", "0"):
            continue
        for uri in field.get("uris", []):
            for suite in field.get("suites", []):
                yield uri, suite, field.get("components", [])


def _codename():
    with open("/etc/os-release", encoding="utf-8") as release:
        match = re.search(r"(?m)^VERSION_CODENAME=\"?([a-z]+)", release.read())
    return match.group(1) if match else "stable"


def mirrors():
    """The machine's own (archive, security archive) URIs."""
    entries = []
    for path in ["/etc/apt/sources.list",
                 *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        if not path.endswith((".list", ".sources")) or not os.path.exists(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as source:
            text = source.read()
        if path.endswith(".list"):
            entries += _one_line_entries(text)
        else:
            entries += _deb822_entries(text)

    # Other publishers' sources are told apart by their suite's name.
    names = (_codename(), "stable", "oldstable")
    archive = security = None
    for uri, suite, components in entries:
        if "main" not in components:
            continue
        if suite in names:
            archive = archive or uri
        elif suite in [name + tail for name in names
                       for tail in ("-security", "/updates")]:
            security = security or uri
    if not archive:
        raise AptError("no Debian archive among the apt sources of this "
                       "machine (/etc/apt/sources.list and sources.list.d)")
    return archive, security


class PrivateApt:
    """apt-get and apt-cache for ARCH and SUITES, all state under DIRECTORY."""

    def __init__(self, directory, arch, suites):
        self.directory = os.path.abspath(directory)
        self.downloads = os.path.join(self.directory, "debs")
        self.config = os.path.join(self.directory, "apt.conf")
        self._write_config(arch, suites)

    def _write_config(self, arch, suites):
        base = self.directory
        for sub in ("lists/partial", "cache/archives/partial", "none", "debs"):
            os.makedirs(os.path.join(base, sub), exist_ok=True)
        archive, security = mirrors()
        signed = f" signed-by={KEYRING}" if os.path.exists(KEYRING) else ""
        with open(f"{base}/sources.list", "w", encoding="utf-8") as sources:
            for suite in suites:
                uri = security if suite.endswith("-security") else archive
                if not uri:
                    raise AptError(f"{suite}: this machine's apt sources have "
                                   "no security archive to take it from")
                sources.write(f"deb [arch={arch}{signed}] {uri} {suite} main\n")
        # An empty status file: what this machine has installed is no matter.
        open(f"{base}/status", "w", encoding="utf-8").close()
        with open(self.config, "w", encoding="utf-8") as config:
            config.write(
                f'Dir::Etc::sourcelist "{base}/sources.list";\n'
                f'Dir::Etc::sourceparts "{base}/none";\n'
                f'Dir::Etc::preferencesparts "{base}/none";\n'
                f'Dir::State::Lists "{base}/lists";\n'
                f'Dir::State::status "{base}/status";\n'
                f'Dir::Cache "{base}/cache";\n'
                f'Dir::Log "{base}";\n'
                f'APT::Architecture "{arch}";\n'
                f'APT::Architectures {{ "{arch}"; }};\n'
                'Acquire::Languages "none";\n'
                'Acquire::Retries "3";\n'
                'APT::Sandbox::User "";\n'
                'APT::Update::Post-Invoke { "true"; };\n')

    def _run(self, *command, cwd=None):
        # The machine's own configuration is still read first: a proxy that
        # the site needs stands there.
        env = dict(os.environ, APT_CONFIG=self.config, LC_ALL="C")
        try:
            done = subprocess.run(command, env=env, cwd=cwd, text=True,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, check=False)
        except FileNotFoundError as error:
            raise AptError(f"{command[0]} is not installed") from error
        if done.returncode:
            why = [line for line in done.stderr.splitlines()
                   if line.startswith("E:")] or [done.stderr.strip()]
            raise AptError(f"{' '.join(command)}: {why[-1]}")
        return done.stdout

    def update(self):
        """Fetch the package lists."""
        self._run("apt-get", "-qq", "update")

    def depends(self, package):
        """Names in the Depends field of the newest version of PACKAGE."""
        text = self._run("apt-cache", "show", "--no-all-versions", package)
        match = re.search(r"(?m)^Depends: (.*)$", text)
        if not match:
            return []
        return [re.split(r"[ :(|]", name.strip())[0]
                for name in match.group(1).split(",")]

    def download(self, package):
        """Fetch the newest version of PACKAGE; the path of its .deb."""
        self._run("apt-get", "-qq", "download", package, cwd=self.downloads)
        found = glob.glob(f"{self.downloads}/{glob.escape(package)}_*.deb")
        if not found:
            raise AptError(f"{package}: downloaded, but no .deb is there")
        return found[0]

    def download_all(self, packages):
        """Fetch PACKAGES and all that they depend on; the .deb files."""
        self._run("apt-get", "-qq", "-y", "-d", "--no-install-recommends",
                  "install", *packages)
        return sorted(glob.glob(f"{self.directory}/cache/archives/*.deb"))

    def remove(self):
        """Give back the disk space: lists and downloads."""
        shutil.rmtree(self.directory, ignore_errors=True)
