#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What an operator asks for: labelled output, files, JSON, chips by number, joining from
# outside, status, wait and dump.
#
# vm: --cpus 2 --timeout 3600 --file selftests/command_tap

# The scripts in single quotes are the runtime processes'.
# shellcheck disable=SC2016

# shellcheck source=selftests/command_tap
. ./command_tap

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
no_process_soon sleep
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
printf '#!/no/such/interpreter\n' >broken
chmod +x broken
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
no_process_soon sleep
ok 'join: one that is lost is noticed, the others are ended'

chipboot run -n 1 --socket sock >"$out" 2>&1 </dev/null &
launcher=$!
await test -S sock
chipboot join sock -- sh -c "$up; exec sleep 1000" &
await grep -q '1 of 1 chips up in' "$out"
kill -KILL $launcher
no_process_soon sleep
ok 'join: the death of the launcher ends them'
chipboot run -n 1 --socket sock >"$out" 2>&1 </dev/null &
launcher=$!
await chipboot join sock -- sh -c "$up"
wait $launcher
code=$?
code 0
ok 'a socket left behind by a launcher that was killed is replaced'

chipboot run -n 2 --socket sock --keep-going >"$out" 2>&1 </dev/null &
launcher=$!
await test -S sock
chipboot join sock --chip 0 -- ./broken >refused 2>&1
[ $? -eq 126 ] && grep -q 'cannot execute ./broken: No such file or directory' refused ||
	why="$why; 126: $(cat refused)"
chipboot join sock -- sh -c "$up; exit 5"
[ $? -eq 5 ] || why="$why; not the command's code"
wait $launcher
code=$?
code 2
says 'cannot execute ./broken: No such file or directory'
says 'chip 1 gone after '
ok "join: its code is the command's, or 126, and that is the chip's answer"
try chipboot join sock -- true
code 98
says 'cannot join at sock: No such file or directory'
ok 'join: no launcher'

# A container is a pid namespace of its own: its processes have numbers here, ours none there.
chipboot run -n 1 --socket sock >"$out" 2>&1 </dev/null &
launcher=$!
await test -S sock
unshare -p -f -m sh -c "mount -t proc proc /proc; chipboot join sock -- sh -c '$up; exec sleep 1003'" &
await grep -q '1 of 1 chips up in' "$out"
await pidof sleep
kill -KILL "$(pidof sleep)"
wait $launcher
code=$?
code 1
says 'chip 0 gone after '
says 'killed by signal 9'
ok 'join: from a container, and lost'
unshare -p -f -m sh -c "mount -t proc proc /proc; exec chipboot run -n 1 --socket sock" >"$out" 2>&1 </dev/null &
container=$!
await test -S sock
chipboot join sock -- sh -c "$up; exec sleep 1004" &
await grep -q '1 of 1 chips up in' "$out"
await pidof sleep
kill -KILL "$(pidof sleep)"
wait $container
code=$?
code 1
says 'chip 0 gone after '
says 'killed by signal 9'
ok 'join: a container by one from outside of it, and lost'

# ---- status, with two users

chmod 666 /dev/chipboot
as alice 'exec chipboot run -n 3 -q -- sh -c "chipboot progress comm_init; [ \$CHIPBOOT_CHANNEL = 1 ] && chipboot publish success; exec sleep 1001"' &
as bob 'exec chipboot run -n 2 -q -- sh -c "chipboot progress bobs; exec sleep 1002"' &
await sh -c '[ $(pidof sleep | wc -w) -eq 5 ]'
as alice 'chipboot status -v' >"$out" 2>&1
has_line ' *[0-9]+ +[0-9]+ alice +3 +1 +0 +2 chipboot run -n 3 .*'
has_line ' *0 +[0-9]+ pending +[0-9.]+ s comm_init *'
has_line ' *1 +[0-9]+ up +[0-9.]+ s *'
silent_about bob
says "other users' processes were not looked at"
ok "a user's status -v has every channel, and no session of another's"
as alice 'chipboot status --json' >"$out" 2>&1
says '"user":"alice"'
silent_about bob
says '"complete":false'
ok "nor has its JSON"
try chipboot status -v
has_line ' *[0-9]+ +[0-9]+ alice +3 +1 +0 +2 chipboot run -n 3 .*'
has_line ' *[0-9]+ +[0-9]+ bob +2 +0 +0 +2 chipboot run -n 2 .*'
says comm_init
says bobs
silent_about 'not looked at'
has_line 'module: [0-9.]+ loaded, none installed; command and library: [0-9.]+'
ok "root's has both"
try chipboot status --json
says '"user":"alice"'
says '"user":"bob"'
says '"pending":2'
# The command's own number; both come from the file VERSION.
version=$(chipboot --version | sed -n '1s/^chipboot \([^ ]*\) .*/\1/p')
says "\"module_loaded\":\"$version\""
says '"pending_list":"0,2"'
says '"complete":true'
ok 'status --json'
# As where a process may trace only what it has started.
echo 1 >/proc/sys/kernel/yama/ptrace_scope
as alice 'chipboot status -v' >"$out" 2>&1
code=$?
code 0
says ' alice '
has_line ' *pending: \[0,2\]; no more can be seen: it takes the permission to trace \(root\)'
ok 'status -v without the permission to trace: who is pending, and why no more'
try chipboot status -v
says comm_init
ok "root's has it all the same"
echo 0 >/proc/sys/kernel/yama/ptrace_scope
killall sleep
no_process_soon chipboot
# What a daemon's child holds is a session still.
chipboot run -n 1 -q -- sh -c "$up; sleep 1005 & exec sleep 1006" 2>/dev/null </dev/null &
launcher=$!
await sh -c '[ $(pidof sleep | wc -w) -eq 2 ]'
kill -KILL $launcher
await sh -c '[ $(pidof sleep | wc -w) -eq 1 ]'
try chipboot status
has_line ' *[0-9]+ +dead +- +1 +0 +1 +0 -'
ok 'a session whose launcher is dead'
killall sleep
no_process_soon sleep
try chipboot status
code 0
says 'no sessions'
ok 'no sessions'

finish
