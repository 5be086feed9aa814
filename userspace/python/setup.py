# SPDX-License-Identifier: MIT
"""Build the package `chipboot`: its C half with libchipboot's sources in it.

Called by pip (pyproject.toml names setuptools) and by the Makefile. Works in the
source tree only, where the library's sources lie beside it; what it makes on the
way lies under the tree's build/.
"""

import glob
import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, "build", "python")

with open(os.path.join(TOP, "VERSION"), encoding="ascii") as file:
    VERSION = file.read().strip()

os.makedirs(BUILD, exist_ok=True)

FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror=implicit"]
MACROS = [("_GNU_SOURCE", None), ("CHIPBOOT_RELEASE", f'"{VERSION}"')]
INCLUDES = [os.path.join(TOP, "userspace", "include"),
            os.path.join(TOP, "userspace", "lib"), os.path.join(TOP, "uapi")]

class BuildExt(build_ext):
    """Compiles the library too: setup() takes no sources outside this directory."""

    def build_extension(self, ext):
        # The library's symbols stay inside: a program may load its own too.
        ext.extra_objects = self.compiler.compile(
            sorted(glob.glob(os.path.join(TOP, "userspace", "lib", "*.c"))),
            output_dir=self.build_temp, macros=MACROS, include_dirs=INCLUDES,
            extra_postargs=FLAGS + ["-fvisibility=hidden"])
        super().build_extension(ext)


setup(
    version=VERSION,
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(
        "chipboot._chipboot", ["chipboot/_chipboot.c"],
        include_dirs=INCLUDES, extra_compile_args=FLAGS,
        extra_link_args=["-pthread"],
        define_macros=MACROS + [("Py_LIMITED_API", "0x03090000")],
        py_limited_api=True,
    )],
    options={
        "build": {"build_base": BUILD},
        "egg_info": {"egg_base": BUILD},
        "bdist_wheel": {"py_limited_api": "cp39"},
    },
)
