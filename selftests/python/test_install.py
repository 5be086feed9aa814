# SPDX-License-Identifier: MIT
"""README's way to the package, as typed, in a copy of what it is built from; and
on a host without the module."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


def readme():
    """The section "Use it from Python"."""
    text = (TOP / "README.md").read_text(encoding="utf-8")
    return text.split("\n## Use it from Python\n")[1].split("\n## ")[0]


def run(command, where):
    # Debian's Python, and nothing of what the test itself was started with.
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("PYTHON", "PIP"))}
    env["PATH"] = "/usr/bin:/bin"
    done = subprocess.run(command, shell=True, cwd=where, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(name="tree", scope="module")
def fixture_tree(tmp_path_factory):
    """Where README's commands have been typed."""
    tree = tmp_path_factory.mktemp("tree")
    for name in "userspace", "uapi":
        shutil.copytree(TOP / name, tree / name)
    shutil.copy(TOP / "VERSION", tree)
    before = sorted(tree.glob("userspace/**/*"))
    commands = [line.strip() for line in readme().splitlines()
                if re.match(r"    (python3|venv/)", line)]
    assert len(commands) == 2 and "pip install" in commands[1]
    for command in commands:
        run(command, tree)
    assert sorted(tree.glob("userspace/**/*")) == before, "not a clean tree"
    return tree


def test_version(tree):
    code = "import chipboot; print(chipboot.__version__)"
    assert run(f"venv/bin/python -c '{code}'", tree).strip() == \
        (TOP / "VERSION").read_text(encoding="ascii").strip()


def test_what_is_installed(tree):
    package = next(tree.glob("venv/lib/python3*/site-packages/chipboot"))
    names = {path.name for path in package.iterdir()} - {"__pycache__"}
    assert names == {"__init__.py", "_chipboot.abi3.so", "_chipboot.pyi",
                     "_mailbox.py", "_session.py", "py.typed"}
    info = next(package.parent.glob("chipboot-*.dist-info"))
    assert "Tag: cp39-abi3-linux" in (info / "WHEEL").read_text(encoding="ascii")


def test_without_the_module(tree):
    """The mailbox works, a session says what is missing."""
    code = """
import ctypes, errno, mmap, os, chipboot
page = mmap.mmap(-1, chipboot.CHIP_BOOTSTRAP_MAILBOX_SIZE)
channel = chipboot.ChipBootstrapChannel(
    ctypes.addressof(ctypes.c_char.from_buffer(page)), 376)
channel.write_success(1, 2, 3, [4])
assert channel.buffer_ptrs == [4]
assert not os.path.exists("/dev/chipboot"), "this host has the module"
try:
    chipboot.Session(1)
except chipboot.Error as error:
    print(error.errno == errno.ENXIO, error)
"""
    (tree / "use.py").write_text(code, encoding="utf-8")
    assert re.match("True .* not loaded: see Install", run("venv/bin/python use.py", tree))


def test_stable_abi_only():
    """Of Python's private symbols only those that the stable ABI has. The public
    ones are the headers' matter, under Py_LIMITED_API."""
    library = TOP / "build/python/lib/chipboot/_chipboot.abi3.so"
    symbols = run(f"nm -D --undefined-only {library}", TOP)
    used = set(re.findall(r"\bU (_?Py\w+)", symbols))
    assert "PyType_FromSpec" in used
    assert not {name for name in used if name.startswith("_Py")} - {
        "_PyArg_ParseTuple_SizeT", "_PyArg_ParseTupleAndKeywords_SizeT",
        "_Py_BuildValue_SizeT", "_Py_NoneStruct", "_Py_TrueStruct",
        "_Py_FalseStruct", "_Py_Dealloc"}
