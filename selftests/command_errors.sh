#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a new user meets before the first run: no module, one that does not load, no
# permission, a limit. Each as it would happen, and the sentence that says what to do.
#
# The last points take from this machine what it cannot get back: loading unsigned
# modules. What says so on a host is kmod; busybox has words of its own.
#
# vm: --cpus 2 --timeout 1800 --file selftests/command_tap --file /bin/kmod

# The scripts in single quotes are the runtime processes'.
# shellcheck disable=SC2016

# shellcheck source=selftests/command_tap
. ./command_tap
release=$(uname -r)
modules=/lib/modules/$release
module=$modules/extra/chipboot.ko
parameters=/sys/module/chipboot/parameters
for name in modprobe rmmod depmod; do
	ln -s kmod $name
done

refused() {
	code 98
	grep -q '^chipboot: ' "$out" || why="$why; not chipboot's own sentence"
	[ "$(wc -l <"$out")" -eq 1 ] || why="$why; not one line"
	silent_about started
}

# ---- no permission

chmod 600 /dev/chipboot
as alice 'chipboot run -n 1 -- echo started' >"$out" 2>&1
code=$?
refused
says 'no permission to open /dev/chipboot: its mode 0600 leaves it to root; a udev rule opens it to a group'
ok "the node is root's: the rule that gives it to a group"
chgrp chipboot /dev/chipboot
chmod 660 /dev/chipboot
as bob 'chipboot run -n 1 -- echo started' >"$out" 2>&1
code=$?
refused
says 'it is for members of the group chipboot (as root: usermod -aG chipboot USER, then log in anew)'
ok 'the node is a group'\''s: which'
as alice 'chipboot run -n 1 -- chipboot publish success' >"$out" 2>&1
code=$?
code 0
ok 'who is in it may'

# A container of an ordinary user's is a user namespace: the group has no number there.
as bob 'unshare -U -r chipboot run -n 1 -- echo started' >"$out" 2>&1
code=$?
refused
says 'it is for members of a group that has no number in this container; who starts it must be one, and let it keep its groups (podman: --group-add keep-groups)'
ok "a container of bob's: that he must be in the group"
as alice 'unshare -U -r chipboot run -n 1 -- chipboot publish success' >"$out" 2>&1
code=$?
code 0
ok "a container of alice's, who is in it, may"
chgrp root /dev/chipboot
chmod 666 /dev/chipboot

# ---- the device

mv /dev/chipboot /dev/elsewhere
try chipboot run -n 1 -- echo started
refused
says 'the chipboot module is loaded, but /dev/chipboot is not here: in a container, pass it in (--device /dev/chipboot)'
ok 'loaded, but no device: as in a container'
ln -s /dev/null /dev/chipboot
try chipboot run -n 1 -- echo started
refused
says '/dev/chipboot does not answer like chipboot'\''s module: what has that name is something else'
ok 'something else has its name'
rm /dev/chipboot
mv /dev/elsewhere /dev/chipboot

# ---- limits

echo 6 >$parameters/max_channels_per_session
try chipboot run -n 7 -- echo started
refused
says "7 chips are more than a session may have, 6 (root can raise $parameters/max_channels_per_session)"
ok 'more than a session may have'
echo 4096 >$parameters/max_channels_per_session
echo 5 >$parameters/max_channels_per_user
try chipboot run -n 7 -- echo started
refused
says "7 channels are more than the module's limit max_channels_per_user leaves this user; it is 5 (root can raise it in $parameters/max_channels_per_user)"
ok 'more than a user may have'
echo 16384 >$parameters/max_channels_per_user
chipboot run -n 4 -- sleep 1000 2>/dev/null &
launcher=$!
await sh -c '[ $(pidof sleep | wc -w) -eq 4 ]'
echo 6 >$parameters/max_channels
as alice 'chipboot run -n 3 -- echo started' >"$out" 2>&1
code=$?
refused
says "3 channels are more than the module's limit max_channels leaves this host; it is 6 (root can raise it in $parameters/max_channels)"
ok 'more than the host may have, with what others have taken'
as alice 'chipboot run -n 2 -- chipboot publish success' >"$out" 2>&1
code=$?
code 0
ok 'and what is left can be had'
kill $launcher
wait $launcher

# ---- the module: not there, not loaded, another kernel's

mkdir -p "$modules/extra"
./rmmod chipboot
try chipboot run -n 1 -- echo started
refused
says "the chipboot module is not installed for this kernel ($release) and not loaded: see Install in chipboot's README"
ok 'not installed'
cp /vm/module.ko "$module"
./depmod
try chipboot run -n 1 -- echo started
refused
says 'the chipboot module is installed but not loaded: as root, modprobe chipboot'
ok 'not loaded'
try chipboot --version
code 0
says 'chipboot 0.1.0 (kernel interface 1)'
says 'module: the chipboot module is installed but not loaded'
ok '--version says so'
try chipboot status
code 0
has_line 'module: none loaded, 0.1.0 installed; command and library: 0.1.0'
says 'no sessions'
ok 'status says so'
./modprobe chipboot
try chipboot run -n 1 -- chipboot publish success
code 0
ok 'what it says helps'
./rmmod chipboot

mkdir -p /lib/modules/5.0-other/extra
mv "$module" /lib/modules/5.0-other/extra/
./depmod
echo 'extra/chipboot.ko:' >/lib/modules/5.0-other/modules.dep
try chipboot run -n 1 -- echo started
refused
says "the chipboot module is installed for the kernel 5.0-other, but this is $release: build and install it for this one"
ok 'installed for another kernel'
rm -r /lib/modules/5.0-other

# Two letters make of this kernel's module another's: the release, and, since kernels
# that keep their interfaces do not look at that, a word after it.
other=9${release#?}
sed "s/vermagic=$release \(.*\)mod_unload/vermagic=$other \1mod_unloaD/" /vm/module.ko >"$module"
./depmod
try ./modprobe chipboot
says "could not insert 'chipboot': Exec format error"
dmesg | grep -q "chipboot: version magic '$other .*' should be '$release " || why="$why; the kernel's log"
try chipboot run -n 1 -- echo started
refused
says "was built for the kernel $other, while this is $release: as root, modprobe chipboot; if that says \"Exec format error\""
says 'build and install it for this one'
ok 'built for another kernel: modprobe says Exec format error'

# ---- the module: not signed

# Secure Boot switches on two things, which can be switched on by themselves, for good:
# first lockdown, then enforced signatures. Each has its words.
cp /vm/module.ko "$module"
./depmod
mount -t securityfs none /sys/kernel/security
echo integrity >/sys/kernel/security/lockdown
try ./modprobe chipboot
says "could not insert 'chipboot': Operation not permitted"
as alice 'chipboot run -n 1 -- echo started' >"$out.said" 2>&1
code=$?
cat "$out.said" >>"$out"
code 98
says 'is installed but not loaded, and this kernel loads only signed modules (Secure Boot)'
says 'if that says "Key was rejected by service" or "Operation not permitted", sign the module with a key enrolled by mokutil'
ok 'Secure Boot by lockdown: modprobe says Operation not permitted'
umount /sys/kernel/security
echo 1 >/sys/module/module/parameters/sig_enforce
try ./modprobe chipboot
says "could not insert 'chipboot': Key was rejected by service"
ok 'Secure Boot by enforced signatures: modprobe says Key was rejected by service'
try insmod "$module"
says 'Key was rejected by service'
ok 'and so does insmod'
try chipboot run -n 1 -- echo started
refused
says 'this kernel loads only signed modules (Secure Boot)'
says 'if that says "Key was rejected by service"'
ok 'and chipboot says what to do about it'

finish
