# SPDX-License-Identifier: MIT
"""test_mailbox.py once more, with AddressSanitizer and UndefinedBehaviorSanitizer in
the extension and in libchipboot within; and that this finds what it is to find.

Built here, in a copy of what the package is built from, by gcc. Python's own memory is
malloc()'s then, which the sanitizer watches too.
"""

import pathlib
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ("-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined "
         "-fno-sanitize-recover=all")
PYTEST = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:terminal",
          "-p", "no:cacheprovider", "-p", "no:faulthandler", "-s",
          str(TOP / "selftests/python/test_mailbox.py")]


def run(command, where, **env):
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **env}
    return subprocess.run(command, cwd=where, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)


def build(tree, change=lambda text: text):
    """The package from a copy of its sources, with mailbox.c changed."""
    for name in "userspace", "uapi":
        shutil.copytree(TOP / name, tree / name)
    shutil.copy(TOP / "VERSION", tree)
    source = tree / "userspace/lib/mailbox.c"
    source.write_text(change(source.read_text(encoding="utf-8")), encoding="utf-8")
    done = run(["/usr/bin/python3", "-B", "-W", "ignore", "setup.py", "-q", "build",
                "--build-lib", str(tree / "lib")], tree / "userspace/python",
               CC="gcc", CFLAGS=FLAGS)
    assert done.returncode == 0, done.stdout
    library = (tree / "lib/chipboot/_chipboot.abi3.so").read_bytes()
    assert b"__asan_report_load8" in library and b"__ubsan_handle" in library
    return tree / "lib"


def outcome(library, *choice, **env):
    """How test_mailbox.py ends with that package."""
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout.strip()
    # Leaks are what Python does not free at its end.
    return run([*PYTEST, *choice], TOP, LD_PRELOAD=runtime, PYTHONMALLOC="malloc",
               PYTHONPATH=str(library), ASAN_OPTIONS="detect_leaks=0",
               UBSAN_OPTIONS="print_stacktrace=1", **env)


def test_mailbox(tmp_path, capsys):
    done = outcome(build(tmp_path))
    assert done.returncode == 0 and "not ok" not in done.stdout, done.stdout
    with capsys.disabled():
        print(*[f"{line}, sanitized" for line in done.stdout.splitlines()
                if re.match(r"# \d+ seeds", line)], sep="\n", flush=True)


# Each fault is there if the environment says so.
FAULTS = [
    ('#include "internal.h"', '#include "internal.h"\n#include <stdlib.h>\n'
     '#define BAD(n) (atoi(getenv("BAD")) == (n))'),
    ("if (count < 0 || (size_t)count > mailbox->max_buffer_count)",
     "if (!BAD(1) && (count < 0 || (size_t)count > mailbox->max_buffer_count))"),
    ("if ((size_t)count > capacity)", "if (!BAD(1) && (size_t)count > capacity)"),
    ("length = strnlen(message, sizeof(message));",
     "length = BAD(2) ? strlen(message) : strnlen(message, sizeof(message));"),
    ("cb_load(message, mailbox->page->message,",
     "cb_load(message, mailbox->page->message + (BAD(3) ? 8 : BAD(4) ? 1 : 0),"),
]


def plant(text):
    for right, wrong in FAULTS:
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    return text


@pytest.fixture(name="faulty", scope="module")
def fixture_faulty(tmp_path_factory):
    return build(tmp_path_factory.mktemp("faulty"), plant)


@pytest.mark.parametrize("fault, found", [
    ("1", "stack-buffer-overflow"),     # trusts the page's count
    ("2", "stack-buffer-overflow"),     # looks for a message's end behind it
    ("3", "SEGV"),                      # reads eight bytes behind the page
    ("4", "SEGV")])                     # reads one
def test_it_would_be_found(faulty, fault, found):
    done = outcome(faulty, "-k", "random_pages", BAD=fault)
    assert done.returncode != 0, done.stdout
    assert found in done.stdout and "in chipboot_mailbox_" in done.stdout, done.stdout
