#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What an operator asks for: labelled output, files, JSON, chips by number, joining from
# outside, status, wait and dump, and the errors a new user meets.
#
# vm: --cpus 2 --timeout 1800

# The scripts in single quotes are the runtime processes'.
# shellcheck disable=SC2016

tests=0
out=$(mktemp)
chmod 644 "$out"
up='chipboot publish success'
why=

ok() { # DESCRIPTION, after the checks that set $why
	tests=$((tests + 1))
	if [ -z "$why" ]; then
		echo "ok $tests - $1"
	else
		echo "not ok $tests - $1"
		echo "# $why"
		sed 's/^/# | /' "$out"
	fi
	why=
}

try() {
	"$@" >"$out" 2>&1 </dev/null
	code=$?
}

as() { # USER COMMAND
	su -s /bin/sh "$1" -c "PATH=$PATH; cd /; $2"
}

code() {
	[ "$code" -eq "$1" ] || why="$why; exit code $code, not $1"
}

says() {
	grep -qF -e "$1" "$out" || why="$why; does not say: $1"
}

silent_about() {
	! grep -qF -e "$1" "$out" || why="$why; says: $1"
}

await() { # COMMAND: until it succeeds
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -ge 600 ]; then
			why="$why; never: $*"
			return
		fi
		sleep 0.2
	done
}

# ---- output

try chipboot run -n 2 -- sh -c "echo to stdout; echo to stderr >&2; printf 'no newline'; $up"
code 0
for line in '[0] to stdout' '[1] to stdout' '[0] to stderr' '[1] no newline'; do
	grep -qxF "$line" "$out" || why="$why; no line: $line"
done
ok 'output has labels, and a last line its newline'

chipboot run -n 1 -q -- sh -c "echo to stdout; echo to stderr >&2; $up" >"$out" 2>/dev/null
[ "$(cat "$out")" = '[0] to stdout' ] || why='stdout has more than the processes wrote there'
ok 'stdout is for the processes'

try chipboot run --chips 7,2 --env 'A=b c' --cwd / --output-dir logs -- sh -c "echo \$CHIPBOOT_CHANNEL/\$CHIPBOOT_CHANNELS \$CHIPBOOT_CHIP \$A \$PWD; echo err >&2; $up"
code 0
[ "$(cat logs/chip-7.log)" = "0/2 7 b c /
err" ] || why="$why; logs/chip-7.log: $(cat logs/chip-7.log)"
[ "$(head -1 logs/chip-2.log)" = '1/2 2 b c /' ] || why="$why; logs/chip-2.log"
ok '--chips, --env, --cwd, --output-dir'

for bad in '--chips 0,0' '--chips 5-2' '--chips ,' '--chips 1,' '--chips x' '--chips 0-4:0' \
	'--chips 0-4000000000' '-n 2 --chips 1' '-n 1 --env X' '-n 1 --env =x' \
	'-n 1 --env CHIPBOOT_CHANNEL=3' '-n 1 --cwd /no/such' '-n 1 --output-dir /no/such/dir' \
	'-n 1 --socket /tmp/s' '-n 1 --join 0' '-n 1 --socket /tmp/s --join 1' \
	'-n 1 --socket /no/such/dir/s --join 0' '-n 1 --kill-after -1'; do
	# shellcheck disable=SC2086
	try chipboot run $bad -- sh -c 'echo started'
	code 98
	silent_about started
	[ -s "$out" ] || why="$why; says nothing"
	ok "refused: $bad"
done

# ---- JSON

chipboot run --chips 3,5 --json -- sh -c "echo noise; chipboot progress \"\$(printf 'x\\377\\302\\233\"')\"; [ \$CHIPBOOT_CHIP = 5 ] && chipboot publish error 42 'device not found'; $up --buffer 0xffffffffffffffff" >"$out" 2>noise
code=$?
code 1
grep -qv '^{.*}$' "$out" && why="$why; not only objects on stdout"
grep -qF '[3] noise' noise || why="$why; no output on stderr"
says '"event":"progress"'
says 'x�\u009b\"'
says '"event":"failed"'
says '"text":"1 of 2 chips failed: [5]; first: chip 5 after '
[ "$(grep -c '"event":"summary"' "$out")" -eq 1 ] || why="$why; not one summary"
tail -1 "$out" | grep -q '"exit_code":1' || why="$why; the summary is not last"
ok '--json: an object per event, a summary, nothing else'

try chipboot run -n 1 --json -- sh -c "$up --buffer 0xffffffffffffffff"
says '"buffers":[18446744073709551615]'
ok '--json: the payload, all 64 bits'

# ---- wait, dump

try chipboot run -n 2 -- sh -c "[ \$CHIPBOOT_CHANNEL = 1 ] && { chipboot wait --any; echo any \$?; chipboot wait --all --timeout 0; echo look \$?; }; $up; chipboot wait --all; echo all \$?; chipboot wait --count 3; echo three \$?; chipboot wait; echo none \$?"
code 0
says '[1] any 0'
says '[1] look 99'
says '[0] all 0'
says '[0] three 98'
says '[0] none 98'
ok 'wait'
try chipboot run -n 2 --keep-going -- sh -c "[ \$CHIPBOOT_CHANNEL = 1 ] && chipboot publish error 5 'x
y'; [ \$CHIPBOOT_CHANNEL = 0 ] && $up --device-ctx 255; chipboot wait --all; echo code \$?; chipboot dump 0; chipboot dump 1; chipboot dump 1 --json; chipboot dump 2; echo no \$?"
says '[0] code 1'
says '[0] device_ctx:  0xff'
says '[0] message:     x\ny'
says '[0] {"channel":1,"state":"error","by":"publisher"'
says '[0] no 98'
ok 'wait with a failed peer, dump'
try chipboot wait --all
code 98
says 'was not started by a chipboot launcher'
ok 'wait outside of a run'

# ---- processes that others leave behind

try chipboot run -n 2 -q -- sh -c "sleep 7777 & sh -c 'trap \"\" TERM; sleep 7778 & wait' & $up"
code 0
await sh -c '! pidof sleep'
pidof sleep >"$out" && why="$why; left behind"
ok 'grandchildren are ended and reaped, also deaf ones'

sleep 7779 &
bystander=$!
try sh -c "sleep 7780 & exec chipboot run -n 1 -q -- sh -c '$up'"
code 0
kill -0 $bystander || why="$why; the bystander is gone"
[ "$(pidof sleep | wc -w)" -eq 2 ] || why="$why; a process that was there before is gone"
killall sleep
ok "not those that are not the launcher's"

# ---- join

chipboot run -n 3 --socket sock >"$out" 2>&1 </dev/null &
launcher=$!
await test -S sock
chipboot join sock --chip 9 -- true >refused 2>&1
[ $? -eq 98 ] && grep -q 'the run has no chip 9' refused || why="$why; chip 9"
chipboot join sock -- no-such-program >refused 2>&1
[ $? -eq 127 ] && grep -q 'program not found' refused || why="$why; no such program"
chmod 666 sock
as alice 'chipboot join /work/sock -- true' >refused 2>&1
[ $? -eq 98 ] && grep -q 'only user 0, who started the run, and root may join' refused ||
	why="$why; alice: $(cat refused)"
chipboot run -n 1 --socket sock >refused 2>&1
[ $? -eq 98 ] && grep -q 'something of that name is there' refused || why="$why; two at one path"
ok 'join: who and what is refused'
chipboot join sock --chip 1 -- sh -c "$up; exec sleep 1000" &
await grep -q 'chip 1 up' "$out"
chipboot join sock --chip 1 -- true >refused 2>&1
grep -q 'chip 1 is taken' refused || why="$why; taken"
chipboot join sock -- sh -c "$up; exec sleep 1000" &
victim=$!
chipboot join sock -- sh -c "$up; exec sleep 1000" &
await grep -q '3 of 3 chips up in' "$out"
ok 'join: processes of others come up'
kill -KILL $victim
wait $launcher
code=$?
code 1
says 'killed by signal 9'
[ -e sock ] && why="$why; the socket is still there"
await sh -c '! pidof sleep'
ok 'join: one that is lost is noticed, the others are ended'

chipboot run -n 1 --socket sock >"$out" 2>&1 </dev/null &
launcher=$!
await test -S sock
chipboot join sock -- sh -c "$up; exec sleep 1000" &
await grep -q '1 of 1 chips up in' "$out"
kill -KILL $launcher
await sh -c '! pidof sleep'
ok 'join: the death of the launcher ends them'
chipboot run -n 1 --socket sock >"$out" 2>&1 </dev/null &
launcher=$!
await chipboot join sock -- sh -c "$up"
wait $launcher
code=$?
code 0
ok 'a socket left behind by a launcher that was killed is replaced'

# ---- status, with two users

chgrp chipboot /dev/chipboot
chmod 660 /dev/chipboot
as bob 'chipboot run -n 1 -- true' >"$out" 2>&1
code=$?
code 98
says 'it is for members of the group chipboot'
ok 'no permission: the group is named'
chmod 666 /dev/chipboot
as alice 'exec chipboot run -n 3 -q -- sh -c "chipboot progress comm_init; [ \$CHIPBOOT_CHANNEL = 1 ] && chipboot publish success; exec sleep 1001"' &
as bob 'exec chipboot run -n 2 -q -- sh -c "chipboot progress bobs; exec sleep 1002"' &
await sh -c '[ $(pidof sleep | wc -w) -eq 5 ]'
as alice 'chipboot status -v' >"$out" 2>&1
says ' alice '
says comm_init
silent_about bob
says "other users' processes were not looked at"
ok "a user's status has no session of another's"
try chipboot status -v
says ' alice '
says ' bob '
says comm_init
says bobs
grep -q '^ *[0-9]* *[0-9]* alice 3  1      0       2 chipboot run -n 3' "$out" || why="$why; the counts"
ok "root's has both"
try chipboot status --json
says '"user":"alice"'
says '"pending":2'
# The command's own number; both come from the file VERSION.
version=$(chipboot --version | sed -n '1s/^chipboot \([^ ]*\) .*/\1/p')
says "\"module_loaded\":\"$version\""
ok 'status --json'
killall sleep
await sh -c '! pidof chipboot'
try chipboot status
code 0
says 'no sessions'
ok 'no sessions'

# ---- the module: not there, not loaded, not signed, another kernel's

release=$(uname -r)
mkdir -p "/lib/modules/$release/extra"
rmmod chipboot
try chipboot run -n 1 -- true
code 98
says "not installed for this kernel ($release) and not loaded"
ok 'not installed'
cp /vm/module.ko "/lib/modules/$release/extra/chipboot.ko"
depmod
try chipboot run -n 1 -- true
code 98
says 'installed but not loaded: as root, modprobe chipboot'
ok 'not loaded'
try chipboot --version
says 'installed but not loaded'
ok '--version says so'
mkdir -p /lib/modules/5.0-other/extra
mv "/lib/modules/$release/extra/chipboot.ko" /lib/modules/5.0-other/extra/
depmod
echo 'extra/chipboot.ko:' >/lib/modules/5.0-other/modules.dep
try chipboot run -n 1 -- true
code 98
says "installed for the kernel 5.0-other, but this is $release"
ok "another kernel's"
# What Secure Boot switches on can be switched on alone, for good.
mv /lib/modules/5.0-other/extra/chipboot.ko "/lib/modules/$release/extra/"
depmod
echo 1 >/sys/module/module/parameters/sig_enforce
try insmod /vm/module.ko
grep -qi 'key was rejected\|required key not available\|key' "$out" || why="$why; insmod"
try chipboot run -n 1 -- true
code 98
says 'this kernel loads only signed modules'
says 'Key was rejected by service'
ok 'Secure Boot'

echo "1..$tests"
