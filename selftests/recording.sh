#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The recorded run in README.md: typed into a shell on a real terminal, tmux's.
#
#	recording.sh --print	prints it; `make recording` puts it into README.md
#	recording.sh		README.md's is what a run prints now, times and pids aside
#
# vm: --cpus 2 --timeout 1200 --file selftests/command_tap --file selftests/command_screen --file README.md --file /usr/bin/tmux --file /lib/terminfo --file /usr/lib/locale/C.utf8

# The scripts in single quotes are the terminal's.
# shellcheck disable=SC2016

# shellcheck source=selftests/command_tap
. ./command_tap
# shellcheck source=selftests/command_screen
. ./command_screen

# Four of eight come up; three of the others wait for the one that will fail. Which of
# them has come how far when the screen is looked at is not left to chance.
cat >runtime <<'END'
#!/bin/sh
chipboot progress 'loading firmware'
case $CHIPBOOT_CHIP in
0 | 1 | 2 | 6)
	sleep 1
	chipboot publish success
	exec sleep 1000 ;;
3)
	read -r go <fifo
	chipboot publish error 42 'device not found'
	exit 1 ;;
esac
sleep 1
chipboot progress 'comm_init, waiting for chip 3'
exec sleep 1000
END
chmod +x runtime
mkfifo fifo

type_it() {
	t send-keys -t t "$1" Enter
}

has_come_up() {
	capture
	grep -q '4/8 up' "$out" && [ "$(grep -c 'waiting for chip 3' "$out")" -eq 3 ]
}

# The screen without blanks at its ends of lines, and without empty lines.
text() {
	sed -e 's/ *$//' -e '/^$/d' "$out"
}

is_back() { # the line before the prompt
	capture
	text | tail -2 | grep -qx -e "$1" && [ "$(text | tail -1)" = '$' ]
}

is_clear() {
	capture
	[ "$(text)" = '$' ]
}

# The prompt that waits at the end says nothing.
screen() {
	echo '```'
	text | sed '$s/^\$$//' | sed '/^$/d'
	echo '```'
}

record() {
	open 100 20 "exec env PS1='\$ ' sh -i"
	await is_back '\$'
	# Not the shell's greeting.
	type_it clear
	await is_clear
	type_it 'chipboot run -n 8 --timeout 120 -- ./runtime'
	await has_come_up
	printf 'On a terminal, while chips 4, 5 and 7 wait for chip 3:\n\n'
	screen
	echo >fifo
	await is_back '   7 error *-125 owner .*'
	type_it 'echo $?'
	await is_back 1
	printf '\nAnd when chip 3 has failed:\n\n'
	screen
	t kill-server
}

if [ "${1-}" = --print ]; then
	record
	[ -z "$why" ]
	exit
fi

shape() {
	sed -e 's/20[0-9-]*T[0-9:.]*Z/TIME/g' -e 's/[0-9][0-9.]* s\>/T s/g' -e 's/  */ /g' "$1"
}

record >recorded
sed -n '/^<!-- recording/,/^<!-- end of recording/p' README.md | sed -e 1d -e '$d' >published
shape recorded >recorded.shape
shape published >published.shape
diff published.shape recorded.shape >"$out" ||
	why="README.md's recording is not what a run prints now: type \`make recording'"
[ -s recorded.shape ] || why="$why; nothing recorded"
ok "README.md's recorded run has the shape of one now"
finish
