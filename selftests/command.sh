#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The chipboot command: exit codes, and what it says of whom.
#
# vm: --cpus 2 --timeout 1200

# The scripts in single quotes are the runtime processes'.
# shellcheck disable=SC2016

tests=0
out=$(mktemp)

ok() { # DESCRIPTION, after the checks that set $why
	tests=$((tests + 1))
	if [ -z "$why" ]; then
		echo "ok $tests - $1"
	else
		echo "not ok $tests - $1"
		echo "# $why"
		sed 's/^/# | /' "$out"
	fi
}

# Run; the code in $code, both streams in $out.
try() {
	why=
	"$@" >"$out" 2>&1 </dev/null
	code=$?
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

# A process is a zombie or gone: it is not running.
no_process() {
	for stat in /proc/[0-9]*/stat; do
		read -r line 2>/dev/null <"$stat" || continue
		case $line in
		*"($1) Z"*) ;;
		*"($1) "*) why="$why; left: $line" ;;
		esac
	done
}

up='chipboot publish success'
mkfifo fifo

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
try chipboot run -n 100000 -- true
code 98
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
says '3 of 3 chips up in '
silent_about gone
ok 'all up, from a shell script'

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

try chipboot run -n 3 --keep-going --timeout 10 -- sh -c "[ \$CHIPBOOT_CHANNEL = 1 ] && exec sleep 1000; [ \$CHIPBOOT_CHANNEL = 2 ] && exit 9; $up; sleep 12; echo finished"
code 99
says 'chips [1] pending'
says '; 1 of 3 chips failed: [2]; first: chip 2 after '
says finished
no_process sleep
ok 'time-out with --keep-going: the others go on'

# ---- signals to the launcher

signalled() { # SIGNAL CODE SCRIPT
	why=
	# Here, not by the job's redirection: the last run's "ready" is in it.
	: >"$out"
	chipboot run -n 3 --kill-after 2 -- sh -c "$3" >"$out" 2>&1 </dev/null &
	launcher=$!
	until [ "$(grep -c ready "$out")" -eq 3 ]; do sleep 0.1; done
	kill "-$1" $launcher
	wait $launcher
	code=$?
	code "$2"
	says 'stopped by signal '
	no_process sleep
}

signalled TERM 143 'echo ready; exec sleep 1000'
says '0 of 3 chips were up'
ok 'SIGTERM is forwarded'
signalled HUP 129 "$up; echo ready; exec sleep 1000"
says '3 of 3 chips were up'
ok 'SIGHUP after all were up'
signalled TERM 143 'trap "" TERM; echo ready; exec sleep 1000'
ok 'SIGTERM, ignored'
signalled TERM 143 'trap "echo caught; exit 0" TERM; echo ready; while :; do read -r nothing <fifo; done'
says caught
ok 'the processes can end by themselves'

why=
: >"$out"
chipboot run -n 3 -- sh -c 'echo ready; exec sleep 1000' >"$out" 2>&1 </dev/null &
launcher=$!
until [ "$(grep -c ready "$out")" -eq 3 ]; do sleep 0.1; done
kill -KILL $launcher
wait $launcher 2>/dev/null
tries=0
while [ -n "$(pidof sleep)" ] && [ $tries -lt 600 ]; do
	sleep 0.1
	tries=$((tries + 1))
done
no_process sleep
ok 'SIGKILL of the launcher ends the processes'

echo "1..$tests"
