#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `make deb`: the packages are built and lintian is silent; each has what it is said to
# have, and nothing is in two. Unpacked, without a Debian to install them on: users'
# programs build against them, the command, Python's package and DKMS's instructions work.
# What apt, DKMS and systemd make of them: selftests/install. Called by: selftests/run.

cd "${0%/*}/../.." || exit 1
. selftests/host/tap
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
version=$(cat VERSION)
debs=build/deb
machine=$(gcc -dumpmachine)
lib=$root/usr/lib/$machine

# Not what this make was told.
build() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL packaging/deb $debs >/dev/null
}

# What the package has: files and links, a line each.
files() {
	dpkg-deb -c $debs/"$1"_"$version"_*.deb | awk '$1 !~ /^d/ { print $6 }' |
		sed 's/^\.//' | grep -v '^/usr/share/doc/'
}

unpack() {
	local name
	for name in chipboot chipboot-dkms libchipboot0 libchipboot-dev python3-chipboot; do
		files $name >"$work/$name" && [ -s "$work/$name" ] || return
		dpkg-deb -x $debs/${name}_"$version"_*.deb "$root" || return
	done
}

# has PACKAGE FILE...: it has those; and no other package has.
has() {
	local package=$1 file good=0
	shift
	for file; do
		[ "$(cd "$work" && grep -lx -- "$file" chipboot* libchipboot* python3-*)" \
			= "$package" ] || { echo "$package: $file"; good=1; }
	done
	return $good
}

command_package() {
	has chipboot /usr/bin/chipboot /usr/share/bash-completion/completions/chipboot \
		/usr/share/man/man1/chipboot.1.gz /etc/cdi/chipboot.yaml \
		/usr/lib/udev/rules.d/60-chipboot.rules \
		/usr/lib/modules-load.d/chipboot.conf /usr/lib/sysusers.d/chipboot.conf
}

# What an administrator reads there.
documents() {
	local name good=0
	for name in access containers install; do
		ls "$root/usr/share/doc/chipboot/$name.md"* >/dev/null || good=1
	done
	return $good
}

# A page for each function: the pages are checked by selftests/check/manual, here that
# none is left behind.
library_packages() {
	has libchipboot0 "${lib#"$root"}/libchipboot.so.$version" &&
		has libchipboot-dev /usr/include/chipboot.h /usr/include/chipboot.hpp \
			/usr/include/chipboot_mailbox.h /usr/include/linux/chipboot.h \
			"${lib#"$root"}/libchipboot.a" "${lib#"$root"}/libchipboot.so" \
			"${lib#"$root"}/pkgconfig/chipboot.pc" &&
		diff <(cd build/man && find man[347] -type f -o -type l | sort) \
			<(sed -n 's,^/usr/share/man/\(.*\)\.gz$,\1,p' "$work/libchipboot-dev" | sort)
}

each_in_one() {
	local twice
	twice=$(cat "$work"/*chipboot* | sort | uniq -d)
	echo -n "$twice"
	[ -z "$twice" ]
}

# As the files in the tree, and as its users would read them.
system_files() {
	local lib=$root/usr/lib
	grep -qx 'KERNEL=="chipboot", .*GROUP="chipboot", MODE="0660"' \
		"$lib/udev/rules.d/60-chipboot.rules" &&
		grep -qx chipboot "$lib/modules-load.d/chipboot.conf" &&
		grep -qx 'g chipboot -' "$lib/sysusers.d/chipboot.conf" &&
		dpkg-deb --ctrl-tarfile $debs/chipboot_"$version"_*.deb | tar -xO ./postinst |
		grep -q '^ *systemd-sysusers .*chipboot.conf'
}

programs() {
	mkdir "$work/programs"
	PKG_CONFIG_LIBDIR=$lib/pkgconfig selftests/install/consumers "$work/programs" "$root"
}

command_runs() {
	LD_LIBRARY_PATH=$lib "$root/usr/bin/chipboot" --version | head -1 |
		grep "^chipboot $version "
}

python_runs() {
	[ "$(LD_LIBRARY_PATH=$lib PYTHONPATH=$root/usr/lib/python3/dist-packages \
		/usr/bin/python3 -B -c 'import chipboot, ctypes
page = ctypes.create_string_buffer(4096 + 8)
mailbox = chipboot.ChipBootstrapChannel((ctypes.addressof(page) + 7) & ~7, 376)
mailbox.write_success(1, 2, 3, [4])
print(chipboot.__version__, mailbox.device_ctx, mailbox.buffer_ptrs)')" = "$version 1 [4]" ]
}

# As DKMS does it: its paths, and the kernel's headers that it names. Nothing else of
# this tree, no git, no running kernel.
module() {
	local source=$root/usr/src/chipboot-$version tree=$work/dkms
	mkdir -p "$tree/chipboot/$version"
	cp -r "$source" "$tree/chipboot/$version/build"
	(
		PACKAGE_NAME="" PACKAGE_VERSION=""
		# shellcheck disable=SC2034	# dkms.conf reads them
		dkms_tree=$tree kernel_source_dir=$PWD/build/kernels/6.1/headers
		# shellcheck disable=SC1090,SC1091	# lies in the package
		. "$source/dkms.conf"
		[ "$PACKAGE_NAME $PACKAGE_VERSION" = "chipboot $version" ] || exit
		[[ ${MAKE[0]} == "make -C $kernel_source_dir "* ]] ||
			{ echo "not the kernel that it names: ${MAKE[0]}"; exit; }
		# How this machine runs that kernel's make.
		# shellcheck disable=SC2086	# a command line
		set -- ${MAKE[0]#"make -C $kernel_source_dir "}
		env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL build/kernels/6.1/kbuild \
			"$@" CONFIG_DEBUG_INFO_BTF_MODULES= >"$work/log" 2>&1 || cat "$work/log"
	)
	[ "$(/sbin/modinfo -F version "$tree/chipboot/$version/build/chipboot.ko")" = "$version" ]
}

# Kernels it is for, and those that DKMS is to leave out instead of failing.
kernels_left_out() {
	local BUILD_EXCLUSIVE_KERNEL="" kernel
	# shellcheck disable=SC1090,SC2034	# lies in the package; the pattern is read
	. "$root/usr/src/chipboot-$version/dkms.conf"
	for kernel in 5.10.0-46-amd64 5.15.0 6.1.0-56-cloud-amd64 6.12.117+deb12-amd64 7.3.4 10.1.0; do
		[[ $kernel =~ $BUILD_EXCLUSIVE_KERNEL ]] || { echo "left out: $kernel"; return 1; }
	done
	for kernel in 4.19.0-27-amd64 5.4.0 5.9.16 1.2.13; do
		! [[ $kernel =~ $BUILD_EXCLUSIVE_KERNEL ]] || { echo "tried: $kernel"; return 1; }
	done
}

point "make deb: built, and lintian says nothing" build
point "they unpack" unpack
point "chipboot: command, completion, manual, udev, modules-load, sysusers, CDI" command_package
point "chipboot: how to install it, who may do what, containers" documents
point "libchipboot0, libchipboot-dev: library, headers, pkg-config, every manual page" \
	library_packages
point "no file is in two of them" each_in_one
point "the group is made when chipboot is installed, and the node is its" system_files
point "C and C++ programs, shared and static" programs
point "the command runs" command_runs
point "python3-chipboot runs" python_runs
point "chipboot-dkms: builds in DKMS's directories, for the kernel it names" module
point "chipboot-dkms: kernels that it is not for are left out" kernels_left_out
echo "1..$count"
