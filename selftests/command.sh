#!/bin/sh
# SPDX-License-Identifier: MIT
#
# chipboot run, publish, progress, wait, dump: every exit code, what is refused before
# anything is created, signals, and what is said of whom.
#
# vm: --cpus 2 --timeout 3600 --file selftests/command_tap

# The scripts in single quotes are the runtime processes'.
# shellcheck disable=SC2016

# shellcheck source=selftests/command_tap
. ./command_tap
mkfifo fifo

# The kernel numbers sessions: has there been another since?
session() {
	chipboot run -n 1 --json -- sh -c "$up" 2>/dev/null </dev/null |
		sed -n 's/.*"session":\([0-9]*\).*/\1/p'
}
sessions=$(session)

# ---- refused before anything is created

for timeout in 0 -1 -0 nan inf 1e999 '' ' 1' 1s 0x1 0.0000000001; do
	try chipboot run -n 2 "--timeout=$timeout" -- sh -c 'echo started'
	code 98
	silent_about started
	ok "timeout '$timeout' is refused"
done
for n in 0 -1 x 1x '' 4294967296 4294967297; do
	try chipboot run "-n$n" -- sh -c 'echo started'
	code 98
	silent_about started
	ok "-n '$n' is refused"
done
try chipboot run -n 2
code 98
ok 'no command'
try chipboot run -n 2 -- no-such-program
code 98
says 'program not found: no-such-program'
ok 'a program that is not there is named'
try chipboot run -n 2 -- /etc/passwd
code 98
says 'cannot execute /etc/passwd: Permission denied'
ok 'a program that is not executable is named'
try chipboot run -n 2 -- /tmp
code 98
says 'cannot execute /tmp: Is a directory'
ok 'a directory is named'
for bad in '--chips 0,0' '--chips 5-2' '--chips ,' '--chips 1,' '--chips x' '--chips 0-4:0' \
	'--chips 0-4000000000' '-n 2 --chips 1' '-n 1 --env X' '-n 1 --env =x' \
	'-n 1 --env CHIPBOOT_CHANNEL=3' '-n 1 --cwd /no/such' '-n 1 --cwd /etc/passwd' \
	'-n 1 --output-dir /no/such/dir' '-n 1 --output-dir /etc/passwd' \
	'-n 1 --socket /tmp/s' '-n 1 --join 0' '-n 1 --socket /tmp/s --join 1' \
	'-n 1 --socket /no/such/dir/s --join 0' '-n 1 --kill-after -1' '-n 1 --colour'; do
	# shellcheck disable=SC2086
	try chipboot run $bad -- sh -c 'echo started'
	code 98
	silent_about started
	[ -s "$out" ] || why="$why; says nothing"
	ok "refused: $bad"
done
try chipboot run -n 1 --socket "/tmp/$(printf '%0200d' 0)"
code 98
says "a socket's path has 1 to 107 bytes"
ok 'a path too long for a socket'
mkdir elsewhere
printf '#!/bin/sh\n%s\n' "$up" >elsewhere/there
chmod +x elsewhere/there
try chipboot run -n 1 --cwd elsewhere -- ./here
code 98
says 'cannot execute ./here: No such file or directory'
ok 'the program is looked for in --cwd'
[ "$(session)" -eq $((sessions + 1)) ] || why='a session was created'
for file in /tmp/s s logs; do
	[ ! -e $file ] || why="$why; left behind: $file"
done
ok 'nothing was created for what was refused'
try chipboot run -n 1 --cwd elsewhere --output-dir logs -- ./there
code 0
[ -f logs/chip-0.log ] || why="$why; --output-dir is not where the launcher was started"
ok 'the program is run in --cwd, --output-dir is not there'
echo old >logs/chip-0.log
try chipboot run -n 1 --output-dir logs -- no-such-program
[ "$(cat logs/chip-0.log)" = old ] || why="$why; lost"
ok 'what is refused does not cost the last output'
try chipboot run -n 1 --output-dir logs -- ./elsewhere/there
[ -s logs/chip-0.log ] && why="$why; $(cat logs/chip-0.log)"
ok 'a run replaces it'
try chipboot run -n 100000 -- true
code 98
says '100000 chips are more than a session may have, 4096'
says max_channels_per_session
ok 'the limit is named'
for words in progress 'progress a b' 'publish error' 'publish error x y' \
	'publish error 2147483648 y' 'publish error 1 a b' publish \
	'publish success 1' 'publish success --buffer -1' \
	'publish success --device-ctx 18446744073709551616' 'no-such-command'; do
	# shellcheck disable=SC2086
	try chipboot $words
	code 98
	ok "chipboot $words: misuse"
done
try chipboot progress x
code 98
says 'CHIPBOOT_CHANNELS is not set'
ok 'not a runtime process'
try chipboot --version
code 0
says 'loaded (kernel interface 1)'
ok 'version'

# ---- answers

try chipboot run -n 3 -- sh -c "$up --device-ctx 0xffffffffffffffff --window-base 010 --window-size 18446744073709551615 --buffer 1 --buffer 0x2"
code 0
has_line '3 of 3 chips up in [0-9]+\.[0-9]{3} s'
silent_about gone
at='20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z'
for chip in 0 1 2; do
	has_line "$at chip $chip started, pid [0-9]+"
	has_line "$at chip $chip up after [0-9]+\.[0-9]{3} s"
	has_line "$at chip $chip: process [0-9]+ exited with code 0"
	has_line " *$chip success +publisher +[0-9]+\.[0-9]{3} s *"
done
ok 'all up, from a shell script; a line per event, with its time'

try chipboot run -n 8 --keep-going -- sh -c "case \$CHIPBOOT_CHANNEL in 3) chipboot publish error 42 'device not found' ;; 5) until chipboot dump 3 | grep -q error; do :; done; chipboot publish error -5 nothing ;; *) $up ;; esac"
code 2
has_line '2 of 8 chips failed: \[3,5\]; first: chip 3 after [0-9]+\.[0-9]{3} s, error 42: device not found'
has_line ' *3 error +42 publisher +[0-9]+\.[0-9]{3} s device not found *'
has_line ' *5 error +-5 publisher +[0-9]+\.[0-9]{3} s nothing *'
[ "$(sed '1,/2 of 8 chips failed/d' "$out" | grep -cE '^ *[0-9] success +publisher')" -eq 6 ] ||
	why="$why; not 6 rows of success below it"
ok 'the end in one line that names who, and the table of every answer'

try chipboot run -n 3 -- sh -c "[ \$CHIPBOOT_CHANNEL = 1 ] && chipboot publish error -5 'no device'; $up"
code 1
says 'chip 1 after '
says 'error -5: no device'
says '1 of 3 chips failed: [1]; first: chip 1 after '
ok 'one error'

try chipboot run -n 3 --keep-going -- sh -c "[ \$CHIPBOOT_CHANNEL != 1 ] && exit \$((CHIPBOOT_CHANNEL + 3)); sleep 1; $up"
code 2
says '1 of 3 chips up in '
says '2 of 3 chips failed: [0,2]; first: chip '
says 'exited with code 3'
says 'exited with code 5'
ok 'keep-going collects every answer'

try chipboot run -n 120 --keep-going -- sh -c 'exit 1'
code 97
says '120 of 120 chips failed: '
ok '97 at most'

try chipboot run -n 64 -- sh -c "chipboot progress bring-up; $up"
code 0
says '64 of 64 chips up in '
ok '64 chips'

try chipboot run -n 2 -- sh -c 'chipboot publish success; chipboot publish success; echo "second: $?"'
says 'answered already'
says 'second: 1'
code 0
ok 'a second answer is refused, with code 1'

try chipboot run -n 1 -- sh -c 'CHIPBOOT_PUBLISHER_FD=77 chipboot progress x; echo "code $?"; exec chipboot publish success'
code 0
says 'CHIPBOOT_PUBLISHER_FD=77: no such descriptor is open'
says 'code 98'
ok 'garbage in the environment'

printf '#!/no/such/interpreter\n' >broken
printf 'exec chipboot publish success\n' >plain
chmod +x broken plain
try chipboot run -n 1 -- ./broken
code 1
says 'cannot execute ./broken: No such file or directory'
ok 'an exec that fails is the answer'
try sh -c 'ulimit -n 64; exec chipboot run -n 40 -- sleep 1000'
code 98
says 'cannot start chip '
says 'too many open descriptors: raise the limit (ulimit -n)'
no_process sleep
ok 'too many descriptors: named, and nobody is left'
try chipboot run -n 1 -- ./plain
code 0
ok 'a script without an interpreter line'

try chipboot run -n 1 -- sh -c "chipboot publish error 7 \"\$(printf 'a\\033[31mb\\nc\\\\\\303\\251\\377\\302\\233\\342\\200\\256d')\""
code 1
says 'a\x1b[31mb\nc\\é\xff\u{9b}\u{202e}d'
ok 'untrusted text is escaped'

# ---- deaths, time-outs

try chipboot run -n 3 -- sh -c '[ $CHIPBOOT_CHANNEL = 1 ] && chipboot progress comm_init && kill -SEGV $$; exec sleep 1000'
code 1
says '1 of 3 chips failed: [1]; first: chip 1 after '
says 'killed by signal 11'
says 'last progress: comm_init'
no_process sleep
ok 'death in bring-up'

try chipboot run -n 3 -- sh -c "$up; [ \$CHIPBOOT_CHANNEL = 1 ] && until grep -q '3 of 3' $out; do sleep 0.1; done && kill -KILL \$\$; exec sleep 1000"
code 1
says '3 of 3 chips up in '
says 'chip 1 gone after '
says 'killed by signal 9'
no_process sleep
ok 'death after all were up'

try chipboot run -n 3 --timeout 10 -- sh -c "[ \$CHIPBOOT_CHANNEL = 1 ] && chipboot progress first && chipboot progress second && exec sleep 1000; $up"
code 99
says 'timed out after 10 s: chips [1] pending; chip 1: second since '
no_process sleep
ok 'time-out'

try chipboot run -n 2 --timeout 0.5 --kill-after 0 -- sh -c 'trap "" TERM; while :; do sleep 1; done'
code 99
says 'timed out after 0.5 s: chips [0,1] pending; chip 0: no progress reported; chip 1: no progress reported'
ok 'time-out of all, SIGTERM ignored'

try chipboot run -n 400 --timeout 0.002 --kill-after 0 -- sleep 1000
code 99
says 'timed out after 0.002 s: chips ['
silent_about 'cannot start'
no_process sleep
ok 'time-out while they are being started'

try chipboot run -n 3 --keep-going --timeout 10 -- sh -c "[ \$CHIPBOOT_CHANNEL = 1 ] && exec sleep 1000; [ \$CHIPBOOT_CHANNEL = 2 ] && exit 9; $up; sleep 12; echo finished"
code 99
says 'chips [1] pending'
says '; 1 of 3 chips failed: [2]; first: chip 2 after '
says finished
no_process sleep
ok 'time-out with --keep-going: the others go on'

# ---- signals to the launcher

# The launcher runs in the foreground: a shell's background jobs ignore SIGINT and
# SIGQUIT. Meanwhile COMMAND finds its number in the file pid.
launch() { # COMMAND ARGS-OF-RUN...
	# Here, not by the redirection: the last run's "ready" is in it.
	: >"$out"
	rm -f pid
	(
		await test -s pid
		await sh -c "[ \"\$(grep -c ready '$out')\" -ge 3 ]"
		# shellcheck disable=SC2034	# for COMMAND
		launcher=$(cat pid)
		eval "$1"
	) &
	helper=$!
	shift
	sh -c 'echo $$ >pid; exec chipboot run -n 3 "$@"' - "$@" >"$out" 2>&1 </dev/null
	code=$?
	wait $helper
}

for signal in HUP:129 INT:130 QUIT:131 TERM:143; do
	launch "kill -${signal%:*} \$launcher" --kill-after 60 -- sh -c 'echo ready; exec sleep 1000'
	code "${signal#*:}"
	says 'stopped by signal '
	says ': 0 of 3 chips were up'
	no_process sleep
	ok "SIG${signal%:*} to the launcher alone ends the run, code ${signal#*:}"
	launch "kill -${signal%:*} \$launcher" --kill-after 60 -- sh -c "trap 'echo caught; exit 0' ${signal%:*}; echo ready; while :; do read -r nothing <fifo; done"
	code "${signal#*:}"
	[ "$(grep -c caught "$out")" -eq 3 ] || why="$why; not caught by all"
	ok "SIG${signal%:*} is what the processes get"
done
for signal in USR1 USR2; do
	launch "kill -$signal \$launcher; await sh -c '[ \$(grep -c caught \"$out\") -eq 3 ]' && kill -TERM \$launcher" \
		-- sh -c "trap 'echo caught' $signal; $up; echo ready; while :; do sleep 0.2; done"
	code 143
	[ "$(grep -c caught "$out")" -eq 3 ] || why="$why; not caught by all"
	says '3 of 3 chips were up'
	ok "SIG$signal is forwarded, and ends nothing"
done
launch 'kill -TERM $launcher' --kill-after 2 -- sh -c 'trap "" TERM; echo ready; exec sleep 1000'
code 143
no_process sleep
ok 'SIGTERM, ignored: SIGKILL after --kill-after'
launch 'kill -TERM $launcher; sleep 1; kill -TERM $launcher' --kill-after 100000 \
	-- sh -c 'trap "" TERM; echo ready; exec sleep 1000'
code 143
no_process sleep
ok 'a second signal kills at once'
try sh -c 'trap "" HUP; exec chipboot run -n 1 -- sh -c "$0"' 'kill -HUP $PPID; sleep 1; exec chipboot publish success'
code 0
says '1 of 1 chips up in '
ok 'SIGHUP, ignored as by nohup, ends nobody'

launch 'kill -KILL $launcher' -- sh -c 'echo ready; exec sleep 1000' 2>/dev/null
code 137
no_process_soon sleep
no_process sleep
ok 'SIGKILL of the launcher ends the processes'

# Chip 2 never came, so there is no end to wait for; who waits outlives the chip's process,
# and the pipe to the launcher that its stderr was: SIGPIPE would be 141.
launch 'kill -KILL $launcher' --socket s --join 2 -- sh -c '(chipboot wait --all 2>complaint.$CHIPBOOT_CHANNEL; echo "code $?" >waited.$CHIPBOOT_CHANNEL) & echo ready; echo ready; exec sleep 1000' 2>/dev/null
await sh -c '[ "$(cat waited.* | grep -c code)" -eq 2 ]'
cat waited.* >"$out"
[ "$(grep -cx 'code 100' "$out")" -eq 2 ] || why="$why; not 100"
ok 'wait: code 100 when the launcher is gone'

# ---- a process that even SIGKILL does not end

# In the old freezer that is how it is, until it is thawed.
mkdir /tmp/freezer
mount -t cgroup -o freezer none /tmp/freezer
mkdir /tmp/freezer/chip
held='echo $$ >/tmp/freezer/chip/cgroup.procs; echo FROZEN >/tmp/freezer/chip/freezer.state; exec sleep 1000'
stuck() { # until the launcher says so
	await grep -q "$1" "$out"
	echo THAWED >/tmp/freezer/chip/freezer.state
}
: >"$out"
stuck 'has not ended' &
chipboot run -n 2 --timeout 20 --kill-after 0 -- sh -c "[ \$CHIPBOOT_CHANNEL = 0 ] && { $up; exec sleep 1000; }; $held" >"$out" 2>&1 </dev/null
code=$?
code 99
says ' chip 1: process '
says ' was killed and has not ended: something in the kernel holds it'
[ "$(grep -c 'was killed and has' "$out")" -eq 1 ] || why="$why; not once"
no_process sleep
wait
ok 'who is waited for after SIGKILL is said'
: >"$out"
stuck '"event":"stuck"' &
chipboot run -n 1 --json --timeout 20 --kill-after 0 -- sh -c "$held" >"$out" 2>&1 </dev/null
code=$?
code 99
says '"event":"stuck"'
wait
ok 'who is waited for, as JSON'
: >"$out"
stuck 'more process was killed' &
chipboot run -n 1 --timeout 240 --kill-after 0 -- sh -c "sh -c '$held' & until grep -q FROZEN /tmp/freezer/chip/freezer.state; do sleep 0.1; done; $up" >"$out" 2>&1 </dev/null
code=$?
code 0
says '1 more process was killed, and something in the kernel holds it'
no_process sleep
wait
ok 'what a process left behind is waited for, and that is said'
umount /tmp/freezer

# ---- the exit codes that are left

for words in run join publish 'publish success' 'publish error' progress wait dump status ''; do
	# shellcheck disable=SC2086
	try chipboot $words --help
	code 0
	grep -q '^Usage: ' "$out" || why="$why; no usage"
	ok "chipboot $words --help: code 0"
done
for words in 'status x' 'wait --all --any' 'wait --count 0' 'wait --count x' 'wait --all --timeout x' \
	'wait --all x' dump 'dump x' 'dump 0 1' join 'join s' 'join s --chip x -- true' ''; do
	# shellcheck disable=SC2086
	try chipboot $words
	code 98
	[ -s "$out" ] || why="$why; says nothing"
	ok "chipboot $words: code 98"
done
try chipboot run -n 1 -- sh -c "$up --buffer 1; echo \"publish \$?\"; chipboot progress x; echo \"progress \$?\"; chipboot dump 0; echo \"dump \$?\""
says 'publish 0'
says 'progress 1'
says 'dump 0'
ok 'publish 0, progress 1 after the answer, dump 0'
try chipboot run -n 1 --timeout 2 --kill-after 600 --keep-going -- sh -c "trap '' TERM; sleep 4; $up; echo \"publish \$?\""
says 'publish 1'
ok 'publish: code 1 after the deadline'

finish
