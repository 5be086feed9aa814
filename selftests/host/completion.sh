#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The bash completion, sourced with bash-completion on this host, where tests of no
# machine run. Called by: selftests/run.

cd "${0%/*}/../.." || exit 1
PATH="$PWD/build/bin:$PATH"
# shellcheck disable=SC1091	# the distribution's
. /usr/share/bash-completion/bash_completion
# shellcheck disable=SC1091	# bash-completion's way of writing
. userspace/completion/chipboot
count=0

# completes LINE WANTED...: all WANTED are among what completes LINE's last word.
completes() {
	local line=$1 wanted bad=
	shift
	COMP_LINE=$line
	COMP_POINT=${#line}
	read -ra COMP_WORDS <<<"$line"
	[[ $line == *' ' ]] && COMP_WORDS+=('')
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	COMPREPLY=()
	_chipboot 2>/dev/null
	for wanted; do
		[[ " ${COMPREPLY[*]} " == *" $wanted "* ]] || bad+=" $wanted"
	done
	count=$((count + 1))
	if [ -z "$bad" ]; then
		echo "ok $count $line"
	else
		echo "not ok $count $line"
		echo "# lacks$bad; has: ${COMPREPLY[*]}"
	fi
}

completes 'chipboot ' run join publish progress status wait dump
completes 'chipboot st' status
completes 'chipboot run --time' --timeout
completes 'chipboot run -n 8 --ke' --keep-going
completes 'chipboot run --cwd sel' selftests
completes 'chipboot join userspace/comp' userspace/completion
completes 'chipboot publish ' success error
completes 'chipboot wait --a' --all --any
completes 'chipboot status -' --verbose --json
completes 'chipboot run -n 2 -- chipb' chipboot
completes 'chipboot run -n 2 -- chipboot wa' wait
echo "1..$count"
