#!/bin/sh
# SPDX-License-Identifier: MIT
#
# chipboot run on a real terminal: tmux's screens, captured and compared whole.
#
# Times differ from run to run: in what is compared every " 12 s" is " T s".
#
# vm: --cpus 2 --timeout 3600 --file selftests/command_tap --file selftests/command_screen --file /usr/bin/tmux --file /lib/terminfo --file /usr/lib/locale/C.utf8

# The scripts in single quotes are the runtime processes'.
# shellcheck disable=SC2016

# shellcheck source=selftests/command_tap
. ./command_tap
# shellcheck source=selftests/command_screen
. ./command_screen
filter=
wanted=$(mktemp)
mkdir go

is_shown() {
	capture
	sed -e "$filter" -e 's/ *[0-9][0-9]* s\( \|,\|$\)/ T s\1/' "$out" |
		sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$out.cut"
	cmp -s "$wanted" "$out.cut"
}

# Until the screen is what $wanted says, line by line; blank lines at its end do not count.
# Never behind a pipe: $why would be a subshell's.
shows() {
	await is_shown ||
		why="the screen is not as expected: $(diff "$wanted" "$out.cut" | head -20)"
}

# A process says what it does, and answers when it is told to. Sixty-four that looked for
# a file again and again would be more than an emulated machine has to give.
cat >chip <<'END'
chipboot progress "loading firmware of chip $CHIPBOOT_CHIP"
read -r answer <"go/$CHIPBOOT_CHIP"
[ "$answer" = error ] && chipboot publish error 42 'device not found'
chipboot publish success
exec sleep 100000
END
seq 0 63 | while read -r i; do
	mkfifo "go/$i"
done

tell() { # ANSWER FIRST LAST
	for i in $(seq "$2" "$3"); do
		echo "$1" >"go/$i"
	done
}

rows() { # FIRST LAST
	seq "$1" "$2" | while read -r i; do
		printf '%2d pending T s  loading firmware of chip %d\n' "$i" "$i"
	done
}

# In 40 columns 18 are left for the text, and three stay free: where the echo of Ctrl-C has
# no place at the end of a row, it begins another, and the table does not go as a whole.
narrow() {
	sed 's/firmware of.*/firmware o/'
}

# ---- 64 chips, 80x24

open 80 24 'chipboot run -n 64 --keep-going -- sh ./chip'
{
	echo '[........................................] 0/64 up, T s'
	rows 0 20
	echo '+43 more: 43 pending'
} >"$wanted"
shows
ok '64 chips pending in 24 rows of 80 columns'

tell up 0 7
{
	echo '[#####...................................] 8/64 up, T s'
	rows 8 28
	echo '+43 more: 8 up, 35 pending'
} >"$wanted"
shows
ok 'chips that are up make room for those that are not'

tell error 60 60
{
	echo '[#####x..................................] 8/64 up, 1 failed, T s'
	rows 8 27
	echo '60 failed T s  error 42: device not found'
	echo '+43 more: 8 up, 35 pending'
} >"$wanted"
shows
ok 'one that fails is shown'
capture_more -S -
grep -q 'chip 60 after .*, error 42: device not found$' "$out" || why='no line about it'
ok 'and said, above the table'

# ---- resized while it runs

t resize-window -t t -x 40 -y 10
# The bar has what the words beside it leave.
filter='s/^\[[#x.]*\]/[=]/'
{
	echo '[=] 8/64 up, 1 failed, T s'
	rows 8 13 | narrow
	echo '60 failed T s  error 42: device n'
	echo '+57 more: 8 up, 49 pending'
} >"$wanted"
shows
ok 'resized to 40x10: one whole table'
t resize-window -t t -x 100 -y 30
{
	echo '[=] 8/64 up, 1 failed, T s'
	rows 8 33
	echo '60 failed T s  error 42: device not found'
	echo '+37 more: 8 up, 29 pending'
} >"$wanted"
shows
ok 'resized to 100x30: one whole table'
t resize-window -t t -x 20 -y 4
{
	echo '8/64 up, 1 failed'
	echo '60 failed T s'
	echo '+63 more: 8 up, 5'
} >"$wanted"
shows
ok 'resized to 20x4: as much as fits'
t resize-window -t t -x 80 -y 24

tell up 8 59
tell up 61 63
# The terminal takes it in pieces: a screen can have the line without the rows.
has_all() {
	capture_more -S -
	grep -q '63 of 64 chips up in' "$out" &&
		[ "$(grep -c 'success  *publisher' "$out")" -eq 63 ]
}
await has_all
ok 'the end: a line and a row for each'

# ---- 40x10 from the start, colours

small='chipboot run -n 64 -- sh ./chip'
small_screen() {
	echo '[=] 0/64 up, T s'
	rows 0 6 | narrow
	echo '+57 more: 57 pending'
}
open 40 10 "$small"
small_screen >"$wanted"
shows
capture_more -e
grep -q "$(printf '\033')\[3[0-9]m" "$out" || why="$why; no colours"
ok '64 chips in 40x10'
open 40 10 "NO_COLOR=1 $small"
small_screen >"$wanted"
shows
capture_more -e
grep -q "$(printf '\033')\[[0-9;]*m" "$out" && why="$why; coloured"
ok '64 chips in 40x10, NO_COLOR'

open 80 24 'TERM=dumb chipboot run -n 2 -- sh ./chip'
await screen_has 'chip 1: loading firmware of chip 1'
grep -q 'chip 0 started, pid' "$out" || why="$why; no line per event"
grep -q '0/2 up' "$out" && why="$why; a table"
ok 'a terminal that cannot: lines'

# ---- what others write, and the keyboard

open 60 12 'chipboot run -n 2 -- sh -c '\''chipboot progress "$(printf "a\033[2Jb\033]0;x\007c")"; printf "out\033[31mred\033[2J\n"; exec sleep 100000'\'
await screen_has 'a\x1b[2Jb\x1b]0;x\x07c'
await screen_has '[1] outred\x1b[2J'
[ "$(t display-message -p '#{pane_title}')" != x ] || why="$why; the title is set"
ok 'escape sequences in messages and output are harmless'

t send-keys -t t C-c
await screen_has 'code 130'
grep -q 'stopped by signal 2' "$out" || why="$why; not said"
grep -q '0/2 up' "$out" && why="$why; the table is still there"
ok 'Ctrl-C: the table goes, the end is said, the code is 130'

open 80 24 'chipboot run -n 2 -- sh ./chip'
await screen_has '0/2 up'
killall -KILL chipboot
await screen_has 'code 137'
t send-keys -t t 'typed'
await screen_has typed
ok 'SIGKILL of the launcher leaves a terminal that works'

t kill-server
finish
