#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `make dist`: a tarball that has every file of the project, is the same when it is made
# again, also from itself, and from which library, command and a tarball are built
# where there is no git. Called by: selftests/run.

cd "${0%/*}/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. selftests/host/tap
name=chipboot-$(cat VERSION)

own_make() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL PATH="$work/bin:$PATH" make -s "$@"
}

unpack() {
	packaging/dist "$work/out" >/dev/null && tar -C "$work" -xf "$work/out/$name.tar.xz"
}

# The tree as it is here, but for what is built, and git's own.
whole() {
	local here
	if [ -e .git ]; then
		here=$(git ls-files | LC_ALL=C sort)
	else
		here=$(find . \( -path ./build -o -name __pycache__ \) -prune \
			-o ! -type d -printf '%P\n' | LC_ALL=C sort)
	fi
	diff <(echo "$here") \
		<(cd "$work/$name" && find . ! -type d -printf '%P\n' | LC_ALL=C sort)
}

# Any call of git fails loudly.
no_git() {
	mkdir "$work/bin"
	printf '#!/bin/sh\necho "git was called: $*" >&2\nexit 1\n' >"$work/bin/git"
	chmod +x "$work/bin/git"
}

builds() {
	own_make -C "$work/$name" userspace KDIR=/nonexistent >/dev/null &&
		"$work/$name/build/bin/chipboot" --version | head -1
}

again() {
	own_make -C "$work/$name" dist >/dev/null &&
		cmp "$work/out/$name.tar.xz" "$work/$name/build/$name.tar.xz"
}

no_git
point "make dist" unpack
point "has every file" whole
point "builds without git" builds
point "made again, without git, it is the same" again
echo "1..$count"
