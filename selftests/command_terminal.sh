#!/bin/sh
# SPDX-License-Identifier: MIT
#
# chipboot run on a real terminal: tmux's screens, captured and compared.
#
# Times differ from run to run: in what is compared every " 12 s" is " T s".
#
# vm: --cpus 2 --timeout 1800 --file /usr/bin/tmux --file /lib/terminfo --file /usr/lib/locale/C.utf8

# The scripts in single quotes are the runtime processes'.
# shellcheck disable=SC2016

export PATH="$PWD:$PATH" LOCPATH="$PWD" LC_ALL=C.utf8 TERMINFO="$PWD/terminfo" TERM=xterm
tests=0
server=0
filter=
screen=$(mktemp)
wanted=$(mktemp)
mkdir go

ok() { # DESCRIPTION, after the checks that set $why
	tests=$((tests + 1))
	if [ -z "$why" ]; then
		echo "ok $tests - $1"
	else
		echo "not ok $tests - $1"
		echo "# $why"
		sed 's/^/# | /' "$screen"
	fi
	why=
}

# Each terminal is a server of its own: one that ends takes its time.
t() {
	tmux -L "$server" "$@"
}

capture() {
	t capture-pane -p "$@" -t t | sed -e "$filter" -e 's/ *[0-9][0-9]* s\( \|,\|$\)/ T s\1/' >"$screen"
}

# Until the screen is what stdin says, line by line; blank lines at its end do not count.
shows() {
	cat >"$wanted"
	tries=0
	while :; do
		capture
		sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' "$screen" >"$screen.cut"
		cmp -s "$wanted" "$screen.cut" && return
		tries=$((tries + 1))
		[ $tries -lt 600 ] || break
		sleep 0.2
	done
	why="the screen is not as expected: $(diff "$wanted" "$screen.cut" | head -20)"
}

# A terminal of that size with a shell script in it; it stays when that ends.
open() { # COLUMNS ROWS SCRIPT
	t kill-server 2>/dev/null
	server=$((server + 1))
	rm -f go/*
	printf 'trap : INT\n%s\necho "code $?"\nexec sleep 100000\n' "$3" >script
	tmux -L "$server" -f /dev/null new-session -d -s t -x "$1" -y "$2" sh ./script
}

# A process says what it does, and answers when it is told to.
cat >chip <<'END'
chipboot progress "loading firmware of chip $CHIPBOOT_CHIP"
until [ -e "go/$CHIPBOOT_CHIP" ] || [ -e go/all ]; do sleep 0.5; done
[ -e "go/error$CHIPBOOT_CHIP" ] && chipboot publish error 42 'device not found'
chipboot publish success
exec sleep 100000
END
rows() { # FIRST LAST
	seq "$1" "$2" | while read -r i; do
		printf '%2d pending T s  loading firmware of chip %d\n' "$i" "$i"
	done
}

# In 40 columns 20 are left for the text, and one stays free.
narrow() {
	sed 's/firmware of.*/firmware of/'
}

# ---- 64 chips, 80x24

open 80 24 'chipboot run -n 64 --keep-going -- sh ./chip'
{
	echo '[........................................] 0/64 up, T s'
	rows 0 20
	echo '+43 more: 43 pending'
} | shows
ok '64 chips pending in 24 rows of 80 columns'

touch go/0 go/1 go/2 go/3 go/4 go/5 go/6 go/7
{
	echo '[#####...................................] 8/64 up, T s'
	rows 8 28
	echo '+43 more: 8 up, 35 pending'
} | shows
ok 'chips that are up make room for those that are not'

touch go/error60 go/60
{
	echo '[#####x..................................] 8/64 up, 1 failed, T s'
	rows 8 27
	echo '60 failed T s  error 42: device not found'
	echo '+43 more: 8 up, 35 pending'
} | shows
ok 'one that fails is shown'
t capture-pane -p -S - -t t >"$screen"
grep -q 'chip 60 after .*, error 42: device not found$' "$screen" || why='no line about it'
ok 'and said, above the table'

# ---- resized while it runs

t resize-window -t t -x 40 -y 10
# The bar has what the words beside it leave.
filter='s/^\[[#x.]*\]/[=]/'
{
	echo '[=] 8/64 up, 1 failed, T s'
	rows 8 13 | narrow
	echo '60 failed T s  error 42: device not'
	echo '+57 more: 8 up, 49 pending'
} | shows
ok 'resized to 40x10: one whole table'
t resize-window -t t -x 100 -y 30
tries=0
while :; do
	capture
	[ "$(grep -c '8/64 up, 1 failed' "$screen")" -eq 1 ] &&
		[ "$(grep -c ' pending ' "$screen")" -ge 26 ] && break
	tries=$((tries + 1))
	if [ $tries -ge 300 ]; then
		why='not one whole table after the resize'
		break
	fi
	sleep 0.2
done
ok 'resized to 100x30: one whole table'

touch go/all
tries=0
until t capture-pane -p -S - -t t | grep -q '63 of 64 chips up in'; do
	tries=$((tries + 1))
	if [ $tries -ge 600 ]; then
		why='no final line'
		break
	fi
	sleep 0.5
done
t capture-pane -p -S - -t t >"$screen"
[ "$(grep -c 'success  *publisher' "$screen")" -eq 63 ] || why="$why; not 63 rows of success"
ok 'the end: a line and a row for each'

# ---- 40x10 from the start, NO_COLOR, an escape sequence in a message

open 40 10 'NO_COLOR=1 chipboot run -n 64 -- sh ./chip'
{
	echo '[=] 0/64 up, T s'
	rows 0 6 | narrow
	echo '+57 more: 57 pending'
} | shows
capture -e
grep -q "$(printf '\033')\[3[0-9]m" "$screen" && why="$why; coloured"
ok '64 chips in 40x10, NO_COLOR'

open 60 12 'chipboot run -n 2 -- sh -c '\''chipboot progress "$(printf "a\033[2Jb\033]0;x\007c")"; printf "out\033[31mred\033[2J\n"; exec sleep 100000'\'
tries=0
while :; do
	capture
	grep -qF 'a\x1b[2Jb\x1b]0;x\x07c' "$screen" &&
		grep -qF '[1] outred\x1b[2J' "$screen" && break
	tries=$((tries + 1))
	if [ $tries -ge 300 ]; then
		why='not escaped, or not there'
		break
	fi
	sleep 0.2
done
ok 'escape sequences in messages and output are harmless'

t send-keys -t t C-c
tries=0
until t capture-pane -p -t t | grep -q 'code 130'; do
	tries=$((tries + 1))
	if [ $tries -ge 300 ]; then
		why='no end after Ctrl-C'
		break
	fi
	sleep 0.2
done
capture
grep -q 'stopped by signal 2' "$screen" || why="$why; not said"
grep -q '0/2 up' "$screen" && why="$why; the table is still there"
ok 'Ctrl-C: the table goes, the end is said, the code is 130'

t kill-server
echo "1..$tests"
