# SPDX-License-Identifier: MIT
"""Where the throwaway machine's parts lie in the tree.

Called by: selftests/vm/run, selftests/vm/kernel, selftests/vm/kselftest.
"""

import os

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, "build")


def kernels():
    """{name: (arch, suites, packages)} in the order of the table."""
    table = {}
    with open(os.path.join(HERE, "kernels"), encoding="utf-8") as lines:
        for line in lines:
            field = line.split("#", 1)[0].split()
            if field:
                name, arch, suites, packages = field
                table[name] = (arch, suites.split(","), packages.split(","))
    return table


def kernel_dir(name):
    """What selftests/vm/kernel fills."""
    return os.path.join(BUILD, "kernels", name)
