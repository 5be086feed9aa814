#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `make install` into an empty tree: all that a user's program needs is there, every
# version in it is VERSION's, and `make uninstall` takes all of it away. Users' programs are
# built against the tree. Called by: selftests/run.

cd "${0%/*}/../.." || exit 1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
. selftests/host/tap
version=$(cat VERSION)
series=${version%.*}
major=${version%%.*}
lib=$root/usr/lib

# No kernel: the module is somebody else's test. Not what this make was told either.
make_in() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s "$@" DESTDIR="$root" \
		prefix=/usr KDIR=/nonexistent
}

soname() {
	local real=$lib/libchipboot.so.$version
	[ "$(readlink "$lib/libchipboot.so")" = "libchipboot.so.$major" ] &&
		[ "$(readlink "$lib/libchipboot.so.$major")" = "libchipboot.so.$version" ] &&
		readelf -d "$real" | grep -q "soname: \[libchipboot.so.$major\]"
}

# Every function of the version script, and no other symbol.
symbols() {
	local has wants
	has=$(nm -D --defined-only "$lib/libchipboot.so.$version" |
		awk '$2 != "A" { print $3 }' | sort)
	wants=$(sed "s/CHIPBOOT_THIS_RELEASE/CHIPBOOT_$series/" userspace/lib/libchipboot.map |
		awk '/^CHIPBOOT_/ { node = $1 }
		     /^\t\tchipboot/ { sub(";", "", $1); print $1 "@@" node }' | sort)
	grep -q "@@CHIPBOOT_$series$" <<<"$wants" || return
	diff <(echo "$wants") <(echo "$has")
}

pkg_config() {
	[ "$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --modversion chipboot)" = "$version" ]
}

command_version() {
	[ "$("$root/usr/bin/chipboot" --version | head -1)" = \
		"chipboot $version (kernel interface $(abi))" ]
}

abi() {
	sed -n 's/^#define CHIPBOOT_ABI_VERSION[[:space:]]*//p' uapi/linux/chipboot.h
}

# What names the release without being made from VERSION.
changelogs() {
	[ "$(sed -n 's/^## \([^,]*\),.*/\1/p' CHANGELOG.md | head -1)" = "$version" ] ||
		{ echo "CHANGELOG.md is about another release"; return 1; }
	[ "$(sed -n '1s/^chipboot (\(.*\)) .*/\1/p' debian/changelog)" = "$version" ] ||
		{ echo "debian/changelog is about another release"; return 1; }
}

# Debian's list is the record of what was released, under which node: what stands there
# has to stay.
debian_symbols() {
	diff <(sed -n 's/^ \(chipboot[^ ]*\) .*/\1/p' debian/libchipboot0.symbols | sort) \
		<(nm -D --defined-only "$lib/libchipboot.so.$version" |
			awk '$2 != "A" { sub("@@", "@", $3); print $3 }' | sort)
}

nothing_left() {
	make_in uninstall >/dev/null || return
	[ -z "$(find "$root" ! -type d)" ] || { find "$root" ! -type d; return 1; }
}

point "make install" make_in install
point "soname libchipboot.so.$major" soname
point "symbols, of CHIPBOOT_$series" symbols
point "pkg-config: $version" pkg_config
point "chipboot --version: $version" command_version
point "CHANGELOG, debian/changelog: $version" changelogs
point "debian/libchipboot0.symbols" debian_symbols
mkdir "$root/programs"
PKG_CONFIG_PATH=$lib/pkgconfig point "C and C++ programs, shared and static" \
	selftests/install/consumers "$root/programs" "$root"
rm -r "$root/programs"
point "make uninstall leaves nothing" nothing_left
echo "1..$count"
