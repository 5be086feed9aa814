#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `make sign` with a throwaway key, on the throwaway machine's module: the signature is
# that key's, of the whole module, and replaces another. That a kernel takes it is
# the firmware's word (a key is enrolled at its screen), and not tested here.
# Called by: selftests/run, which has built the module.

cd "${0%/*}/../.." || exit 1
. selftests/host/tap
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
headers=build/kernels/6.1/headers
built=build/kmod/$(cat build/kernels/6.1/release)/chipboot.ko
module=$work/chipboot.ko
cp "$built" "$module"

new_key() {
	openssl req -new -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1/" \
		-keyout "$work/$1.key" -outform DER -out "$work/$1.der" 2>/dev/null
}

sign() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s sign KDIR=$headers \
		SIGN_MODULE="$module" SIGN_KEY="$1" SIGN_CERT="$2"
}

signer_is() {
	[ "$(/sbin/modinfo -F signer "$module")" = "$1" ]
}

# The signature apart from the module, as the kernel takes them apart.
take_apart() {
	python3 -B - "$module" "$work" <<-'END'
		import sys
		data = open(sys.argv[1], "rb").read()
		magic = b"~Module signature appended~\n"
		assert data.endswith(magic) and data.count(magic) == 1
		end = len(data) - len(magic)
		length = int.from_bytes(data[end - 4:end], "big")
		start = end - 12 - length
		open(sys.argv[2] + "/body", "wb").write(data[:start])
		open(sys.argv[2] + "/signature", "wb").write(data[start:start + length])
	END
}

verifies() {
	openssl x509 -inform DER -in "$work/$1.der" -out "$work/$1.pem" &&
		openssl cms -verify -binary -inform DER -in "$work/signature" \
			-content "$work/body" -certfile "$work/$1.pem" -nointern -noverify \
			-out /dev/null 2>"$work/why"
}

whole() {
	take_apart && cmp "$built" "$work/body" && verifies first
}

broken_is_noticed() {
	verifies first && ! verifies second || return
	printf X | dd of="$work/body" bs=1 seek=5000 conv=notrunc status=none
	! verifies first
}

replaced() {
	sign "$work/second.key" "$work/second.der" && signer_is second && take_apart &&
		cmp "$built" "$work/body" && verifies second && ! verifies first
}

# refused WORDS KEY CERT: with words that say why, and the module stays as it was.
refused() {
	local words=$1 said
	shift
	cp "$module" "$work/before"
	if said=$(sign "$@" 2>&1); then
		return 1
	fi
	echo "$said" | head -1
	[[ $said == *"$words"* ]] && cmp "$module" "$work/before"
}

new_key first && new_key second
point "a module is signed" sign "$work/first.key" "$work/first.der"
point "modinfo names the signer" signer_is first
point "the signature is the key's, of the whole module" whole
point "a changed module, or another key, does not verify" broken_is_noticed
point "a second signature replaces the first" replaced
point "without a key: says so" refused "no key" "" ""
point "a key that is not there: says so" refused "no such key" "$work/none" "$work/first.der"
point "a certificate that is none: says so" refused first.key "$work/first.key" "$work/first.key"
echo "1..$count"
