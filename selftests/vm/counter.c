// SPDX-License-Identifier: MIT
/*
 * Counts a machine's instructions: a plugin of QEMU's TCG.
 *
 * Loaded by selftests/vm/run --count FILE.  A program in the machine executes marks,
 * instructions that do nothing (userspace/bench/mark.h); for each the plugin
 * writes a line into FILE: the mark's number, the processor that was at it, and how
 * many instructions all processors have executed since the start, of user programs
 * and of the kernel:
 *
 *	17 0 48151623 42108
 *
 * With profile=1 an instruction's address is counted as well, between marks 2 and 3,
 * and FILE gets a line for each, "pc ADDRESS COUNT".
 *
 * One thread runs all processors in turn when instructions are counted, so nothing
 * here is atomic.  An instruction that faults is counted again when it is repeated,
 * and one with a repeat prefix is counted for each repetition.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

#define MARK_PROFILE_ON		2
#define MARK_PROFILE_OFF	3

int qemu_plugin_version = 1;

static FILE *out;
static uint64_t user, kernel;

/* Addresses, in a table that is probed linearly and never full. */
#define PLACES	(1u << 21)
struct place {
	uint64_t address;
	uint64_t count;
	uint64_t before;
};

static struct place *places;
static uint64_t places_used;

static struct place *place_of(uint64_t address)
{
	uint64_t i = address * UINT64_C(0x9e3779b97f4a7c15) >> 43;

	while (places[i].address && places[i].address != address)
		i = (i + 1) % PLACES;
	if (!places[i].address && ++places_used > PLACES / 2) {
		fprintf(stderr, "counter: more code than fits\n");
		exit(1);
	}
	places[i].address = address;
	return &places[i];
}

static void profile(int mark)
{
	uint64_t i;

	for (i = 0; i < PLACES; i++) {
		if (mark == MARK_PROFILE_ON)
			places[i].before = places[i].count;
		else if (places[i].count > places[i].before)
			fprintf(out, "pc %#lx %lu\n", places[i].address,
				places[i].count - places[i].before);
	}
}

static void at_mark(unsigned int cpu, void *data)
{
	int mark = (intptr_t)data;

	fprintf(out, "%d %u %lu %lu\n", mark, cpu, user, kernel);
	if (places && (mark == MARK_PROFILE_ON || mark == MARK_PROFILE_OFF))
		profile(mark);
}

/* The number in a mark, or -1 for any other instruction. */
static int mark_number(const struct qemu_plugin_insn *insn)
{
	static const unsigned char nop[] = { 0x0f, 0x1f, 0x80 };
	const unsigned char *code = qemu_plugin_insn_data(insn);
	size_t size = qemu_plugin_insn_size(insn);
	uint32_t word;

	/* x86: nopl 0x636200xx(%rax) */
	if (size == 7 && !memcmp(code, nop, sizeof(nop))) {
		memcpy(&word, code + sizeof(nop), sizeof(word));
		return word >> 8 == 0x636200 ? (int)(word & 0xff) : -1;
	}
	/* aarch64: mov xzr, #0x63xx */
	if (size == 4) {
		memcpy(&word, code, sizeof(word));
		if ((word & 0xffe0001f) == 0xd280001f &&
		    (word >> 5 & 0xff00) == 0x6300)
			return word >> 5 & 0xff;
	}
	return -1;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	size_t i, n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);
		int mark = mark_number(insn);

		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64,
							   address >> 63 ?
							   &kernel : &user, 1);
		if (places)
			qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64,
								   &place_of(address)->count, 1);
		if (mark >= 0)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, at_mark,
							       CB_NO_REGS,
							       (void *)(intptr_t)mark);
	}
}

static void ended(plugin_id id, void *data)
{
	(void)id;
	(void)data;
	fclose(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
		else if (!strncmp(argv[i], "profile=", 8) && atoi(argv[i] + 8))
			places = calloc(PLACES, sizeof(*places));
	}
	if (!out) {
		fprintf(stderr, "counter: out=FILE is missing, or cannot be written\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
