# SPDX-License-Identifier: MIT
#
# chipboot: module, library, command, tests. Everything built lies under build/.
# `make help` lists the goals. Kbuild beside this file is the kernel's.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:

.PHONY: all
all: module userspace

TOP	:= $(CURDIR)
Q	:= $(if $(filter 1,$(V) $(VERBOSE)),,@)
say	= @$(if $(Q),printf '  %-7s %s\n' $(1) $(2),:)

# The throwaway machine's kernel: a line of selftests/vm/kernels.
VM_KERNEL ?= 6.1
VM_ARCH	?= x86_64
VM_DIR	:= $(TOP)/build/kernels/$(VM_KERNEL)$(if $(filter-out x86_64,$(VM_ARCH)),-$(VM_ARCH))

# Programs for an arm64 machine are cross-built, against unpacked packages.
ifneq ($(filter arm64%,$(VM_ARCH)),)
B	:= build/arm64
ROOT	:= build/roots/arm64
CROSS	:= aarch64-linux-gnu-
override CPPFLAGS += -idirafter $(ROOT)/usr/include
CMD_LIBS := $(ROOT)/usr/lib/aarch64-linux-gnu/libsmartcols.so \
	$(ROOT)/usr/lib/aarch64-linux-gnu/libjson-c.so
else
B	:= build
CMD_LIBS := -lsmartcols -ljson-c
endif

CC	?= gcc
ifeq ($(origin CC),default)
CC	:= $(CROSS)gcc
endif
CXX	?= g++
ifeq ($(origin CXX),default)
CXX	:= $(CROSS)g++
endif
AR	:= $(CROSS)ar
INSTALL	:= install

# Every version comes from here: of the module (Kbuild), of the Python package
# (setup.py), of the library's soname and of its newest symbols' node.
VERSION	:= $(file <VERSION)
VERSION_WORDS := $(subst ., ,$(VERSION))
SONAME	:= libchipboot.so.$(firstword $(VERSION_WORDS))
SYMBOL_NODE := CHIPBOOT_$(word 1,$(VERSION_WORDS)).$(word 2,$(VERSION_WORDS))

DESTDIR	?=
prefix	?= /usr/local
bindir	?= $(prefix)/bin
libdir	?= $(prefix)/lib
incdir	?= $(prefix)/include
mandir	?= $(prefix)/share/man
bashdir	?= $(prefix)/share/bash-completion/completions
# systemd and udev look below /usr/local/lib too.
sysdir	?= $(prefix)/lib

# ---- which kernels --------------------------------------------------------

# The host's kernel, for which `make` and `make install` build the module.
KDIR	?= /lib/modules/$(shell uname -r)/build

# ---- what is missing ------------------------------------------------------

DEPS	:= selftests/check/deps

.PHONY: deps-build
deps-build:
	@$(DEPS) build

# ---- module ---------------------------------------------------------------

# `make check` builds elsewhere (KMOD), with other arguments (C=2, W=1).
KMOD	:= build/kmod
MODULE_ARGS :=

# Built in a mirror of symbolic links, one per kernel: the source tree stays
# clean and Kbuild stays what DKMS and a distribution expect. $(1) is the header
# tree, $(2) what runs the kernel's make there, and more arguments. Links to files
# that are gone are removed. Locked: Kbuild does not survive two builds in one
# directory.
define build_module
	+$(Q)mkdir -p $(KMOD) && exec 9>$(KMOD)/lock && flock 9 && \
	release=$$(sed -n 's/.*"\(.*\)"/\1/p' $(1)/include/generated/utsrelease.h) && \
	dir=$(TOP)/$(KMOD)/$$release && mkdir -p $$dir && \
	cp -rsf $(TOP)/VERSION $(TOP)/Kbuild $(TOP)/kmod $(TOP)/uapi $$dir/ && \
	find $$dir -xtype l -delete && \
	$(2) M=$$dir $(if $(Q),-s) $(MODULE_ARGS) modules >$$dir/log 2>&1 || \
	{ cat $$dir/log; exit 1; }; \
	$(if $(Q),grep -E 'warning|error' $$dir/log >&2,cat $$dir/log); \
	$(if $(Q),printf '  %-7s %s\n' MODULE $(KMOD)/$$release/chipboot.ko)
endef

# A debug kernel is built here, and has modules of its own: bugs to catch, KUnit.
DEBUG	:= $(filter debug-%,$(VM_KERNEL))
DEBUG_DIR := build/debug/$(VM_KERNEL)
DEPS_MODULE := module$(if $(CROSS),-arm64)$(if $(DEBUG),-debug)
DEPS_TEST := test$(if $(CROSS),-arm64)$(if $(DEBUG),-debug)

.PHONY: module module-vm vm-kernel debug-modules
ifneq ($(wildcard $(KDIR)/Makefile),)
module: | deps-build
	$(call build_module,$(KDIR),$(MAKE) -C $(KDIR))
else
module:
	@echo "no kernel headers in $(KDIR): building the module for the" \
	      "throwaway machine's kernel instead (make KDIR=... names others)"
	@$(MAKE) module-vm
endif

vm-kernel:
	@$(DEPS) $(DEPS_MODULE)
	$(Q)selftests/vm/kernel $(VM_KERNEL) $(VM_ARCH)

module-vm: vm-kernel | deps-build
# BTF for a module would take pahole, and nobody reads it in the machine.
	$(call build_module,$(VM_DIR)/headers,$(VM_DIR)/kbuild CONFIG_DEBUG_INFO_BTF_MODULES= KCFLAGS=-Werror)

debug-modules: vm-kernel
	$(call say,MODULES,$(DEBUG_DIR)/selftests/debug)
	$(Q)mkdir -p $(DEBUG_DIR) && \
	cp -rsf $(TOP)/kmod $(TOP)/uapi $(TOP)/selftests $(DEBUG_DIR)/ && \
	find $(DEBUG_DIR) -xtype l -delete && \
	$(VM_DIR)/kbuild M=$(TOP)/$(DEBUG_DIR)/selftests/debug -s \
		KCFLAGS=-Werror modules

# ---- userspace ------------------------------------------------------------

WARN	:= -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	   -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wformat=2 \
	   -Wundef -Wvla
CFLAGS	?= -O2 -g
# What every object needs, whatever CFLAGS the user or a packager gives.
UCFLAGS	:= -std=gnu11 -D_GNU_SOURCE -MMD -MP $(WARN) \
	   -Iuserspace/include -Iuapi -DCHIPBOOT_RELEASE=\"$(VERSION)\"
O	:= $(B)/obj

LIB_SRC	:= $(wildcard userspace/lib/*.c)
LIB_OBJ	:= $(LIB_SRC:userspace/%.c=$(O)/%.o)
CMD_SRC	:= $(wildcard userspace/cmd/*.c)
CMD_OBJ	:= $(CMD_SRC:userspace/%.c=$(O)/%.o)
EXAMPLES := $(patsubst userspace/examples/%.c,$(B)/bin/%,\
		$(wildcard userspace/examples/*.c))
LIB_A	:= $(if $(LIB_SRC),$(B)/lib/libchipboot.a)
LIB_SO	:= $(if $(LIB_SRC),$(B)/lib/libchipboot.so)
COMMAND	:= $(if $(CMD_SRC),$(B)/bin/chipboot)

# Libraries of an arm64 machine, for those who link with them.
.PHONY: root
root: | deps-build
	$(if $(ROOT),$(Q)selftests/vm/vm_root.py arm64)

# The manual: from the headers, and from what is beside the script.
MAN_SRC	:= $(wildcard userspace/man/*) userspace/include/chipboot.h \
	userspace/include/chipboot_mailbox.h uapi/linux/chipboot.h \
	userspace/examples/hello.c VERSION CHANGELOG.md

.PHONY: userspace man
userspace: $(LIB_A) $(LIB_SO) $(COMMAND) $(EXAMPLES) man

man: build/man/stamp
build/man/stamp: $(MAN_SRC) | deps-build
	$(call say,MAN,build/man)
	$(Q)rm -rf build/man && userspace/man/pages build/man && touch $@

$(O)/lib/%.o: userspace/lib/%.c | deps-build
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UCFLAGS) $(CPPFLAGS) $(CFLAGS) -fPIC -c -o $@ $<

$(O)/%.o: userspace/%.c | deps-build root
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UCFLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(B)/lib/libchipboot.a: $(LIB_OBJ)
	$(call say,AR,$@)
	@mkdir -p $(@D) && rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/lib/libchipboot.map: userspace/lib/libchipboot.map VERSION
	@mkdir -p $(@D)
	$(Q)sed 's/^CHIPBOOT_THIS_RELEASE /$(SYMBOL_NODE) /' $< >$@

$(LIB_SO).$(VERSION): $(LIB_OBJ) $(B)/lib/libchipboot.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs \
		-Wl,--version-script,$(B)/lib/libchipboot.map \
		-o $@ $(LIB_OBJ) -pthread

$(B)/lib/libchipboot.so: $(LIB_SO).$(VERSION)
	$(Q)ln -sf libchipboot.so.$(VERSION) $(B)/lib/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

# Finds the library beside it, in the tree and under any prefix. A distribution
# sets RPATH to nothing.
RPATH	?= $$ORIGIN/../lib
LINK	= $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -L$(B)/lib \
	  -lchipboot $(if $(RPATH),-Wl$(comma)-rpath$(comma)'$(RPATH)') -pthread
comma	:= ,

$(B)/bin/chipboot: $(CMD_OBJ) $(LIB_SO)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(LINK) -Wl,--as-needed $(CMD_LIBS)

$(EXAMPLES): $(B)/bin/%: $(O)/examples/%.o $(LIB_SO)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(LINK)

# ---- tests ----------------------------------------------------------------

KSELFTEST := build/kselftest/tools/testing/selftests
TEST_SRC := $(wildcard selftests/*.c)
TESTS_BIN := $(TEST_SRC:%.c=$(B)/%)
UNIT_SRC := $(wildcard selftests/unit/*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)

.PHONY: kselftest
kselftest:
	$(Q)selftests/vm/kselftest

# Static: a test program travels into the machine alone.
TEST_CC	= $(CC)
TEST_LIB = $(LIB_A)
$(TESTS_BIN): $(B)/selftests/%: selftests/%.c $(LIB_A) | kselftest
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(TEST_CC) $(UCFLAGS) -Wno-missing-prototypes -Wno-shadow \
		-isystem $(KSELFTEST) $(CFLAGS) -MF $@.d -MT $@ \
		-static -o $@ $< $(TEST_LIB) -pthread

# Goes through the scripts of selftests/model/run; needs nothing of ours.
MODEL_BIN := $(B)/selftests/model/executor
$(MODEL_BIN): selftests/model/executor.c | deps-build
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UCFLAGS) $(CFLAGS) -MF $@.d -MT $@ -static -o $@ $<

# One of them is a 32-bit program: with its own libc, and none of our library.
$(B)/selftests/interface32: TEST_CC = $(if $(CROSS),arm-linux-gnueabihf-gcc,\
	$(if $(findstring clang,$(CC)),$(CC) --target=i686-linux-gnu,i686-linux-gnu-gcc))
$(B)/selftests/interface32: TEST_LIB :=

# The state machine, which has no file or task types, on the host, with shims.
UNIT_CC	= $(CC) -std=gnu11 -D_GNU_SOURCE -MMD -MP -Wall -Wextra -Werror \
	  -Iselftests/unit/include -Ikmod -Iuapi -isystem $(KSELFTEST) \
	  $(CFLAGS) -c -o $@ $<

$(O)/unit/%.o: selftests/unit/%.c | kselftest
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(UNIT_CC)

$(O)/unit/channel.o: kmod/channel.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(UNIT_CC)

$(UNIT_BIN): $(B)/selftests/unit/%: $(O)/unit/%.o $(O)/unit/channel.o
	$(call say,UNIT,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $^ -pthread

# In C++ on the machine, as static and as alone as those in C.
WARN_CXX := -std=c++17 -Wall -Wextra -Werror -Wpedantic
CXXFLAGS ?= -O2 -g
TESTS_CXX := $(patsubst %.cpp,$(B)/%,$(wildcard selftests/*.cpp))
TEST_CXX = -D_GNU_SOURCE -MMD -MP -MF $@.d -MT $@ $(WARN_CXX) \
	   -Iselftests -Iuserspace/include $(CXXFLAGS) -o $@ $<

$(TESTS_CXX): $(B)/selftests/%: selftests/%.cpp $(LIB_A) | deps-build
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(TEST_CXX) -static $(LIB_A) -pthread

# What needs no module runs on the host, with AddressSanitizer in the library too.
# Its runtime is the compiler's, so there is a library for each of the two.
ASAN	:= -fsanitize=address -fno-omit-frame-pointer
HOST_CC	:= $(if $(findstring clang,$(CC)),clang,gcc)
HOST_C	:= $(patsubst %.c,$(B)/%,$(wildcard selftests/host/*.c))
HOST_CXX := $(patsubst %.cpp,$(B)/%,$(wildcard selftests/host/*.cpp))
HOST_BIN := $(HOST_C) $(HOST_CXX:%=%-g++) $(HOST_CXX:%=%-clang++)

$(HOST_C): $(B)/selftests/%: selftests/%.c $(B)/asan/$(HOST_CC).a | kselftest
	$(call say,HOST,$@)
	@mkdir -p $(@D)
	$(Q)$(HOST_CC) $(UCFLAGS) -Wno-missing-prototypes -Wno-shadow \
		-Iselftests -isystem $(KSELFTEST) $(CFLAGS) $(ASAN) \
		-MF $@.d -MT $@ -o $@ $< $(B)/asan/$(HOST_CC).a -pthread

# $(1) is the C compiler, $(2) the C++ compiler of the same house.
define host_rules
$(O)/asan-$(1)/%.o: userspace/lib/%.c
	$$(call say,CC,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(1) $$(UCFLAGS) $$(CFLAGS) $$(ASAN) -c -o $$@ $$<

$(B)/asan/$(1).a: $(LIB_SRC:userspace/lib/%.c=$(O)/asan-$(1)/%.o)
	$$(call say,AR,$$@)
	@mkdir -p $$(@D) && rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^

$$(HOST_CXX:%=%-$(2)): $(B)/selftests/%-$(2): selftests/%.cpp $(B)/asan/$(1).a
	$$(call say,HOST,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(2) $$(TEST_CXX) $$(ASAN) $(B)/asan/$(1).a -pthread
endef
$(eval $(call host_rules,gcc,g++))
$(eval $(call host_rules,clang,clang++))

$(B)/vm/init: selftests/vm/init.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UCFLAGS) -O2 -static -o $@ $<

# Static, as it travels into the machine alone.
BENCH_OBJ := $(patsubst userspace/%.c,$(O)/%.o,$(wildcard userspace/bench/*.c))
$(B)/bench/bench: $(BENCH_OBJ) $(LIB_A)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -static -o $@ $^ -pthread

# Runs in this machine's QEMU, whatever is in that.
build/vm/counter.so: selftests/vm/counter.c | deps-build
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)gcc $(filter-out -I%,$(UCFLAGS)) -MF $@.d -MT $@ -O2 -fPIC -shared \
		-fvisibility=hidden -o $@ $<

.PHONY: vm-counter
vm-counter: build/vm/counter.so

.PHONY: programs vm-parts test-parts demo recording test test-kernels test-arm64
.PHONY: test-mutants check intree vm readme-kernels readme-bench test-litmus coverage
.PHONY: test-model test-model-faults soak
programs: $(TESTS_BIN) $(TESTS_CXX) $(MODEL_BIN) $(if $(CROSS),,$(UNIT_BIN) $(HOST_BIN)) \
	$(B)/vm/init $(B)/bench/bench
VM_OPTIONS := --kernel $(VM_KERNEL) --arch $(VM_ARCH)
VM_GOAL	:= $(if $(CROSS),vm-arm64,vm)
vm-parts: module-vm userspace $(B)/vm/init
test-parts: vm-parts programs python $(if $(DEBUG),debug-modules)

# The package as pip would make it, where the tests import it.
.PHONY: python
python:
	$(Q)cd userspace/python && /usr/bin/python3 -B -W ignore setup.py -q build \
		--build-lib $(TOP)/$(B)/python/lib

demo:
	@$(DEPS) --install $(VM_GOAL)
	@$(MAKE) vm-parts
	$(Q)selftests/vm/run $(VM_OPTIONS) --file userspace/examples/demo -- ./demo

vm:
	@$(DEPS) --install $(VM_GOAL)
	@$(MAKE) vm-parts
	$(Q)selftests/vm/run $(VM_OPTIONS) --shell

# README.md's recorded run, from a real one; `make test` looks whether it still is one.
recording:
	@$(DEPS) --install test
	@$(MAKE) vm-parts
	$(Q)selftests/vm/run $(VM_OPTIONS) $$(sed -n 's/^# vm: //p' selftests/recording.sh) \
		--file selftests/recording.sh -- sh ./recording.sh --print >build/recording.md
	$(Q)sed -i -e '/^<!-- recording/r build/recording.md' \
		-e '/^<!-- recording/,/^<!-- end/{/^<!--/!d}' README.md

test:
	@$(DEPS) --install $(DEPS_TEST)
	@$(MAKE) test-parts
	$(Q)selftests/run $(VM_OPTIONS) $(JOBS:%=--jobs %) $(TESTS)

# The kernels of selftests/vm/kernels, or KERNELS="5.10 newest".
test-kernels:
	@$(DEPS) --install test
	$(Q)selftests/vm/matrix x86_64 $(KERNELS)

test-arm64:
	@$(DEPS) --install test-arm64
	$(Q)selftests/vm/matrix arm64 $(KERNELS)

# The tables of the last runs into the README, each between its marks.
into_readme = sed -i -e '/<!-- $(subst /,.,$(1)) -->/,/<!-- end -->/{//!d}' \
	-e '/<!-- $(subst /,.,$(1)) -->/r $(1)' README.md

readme-kernels: build/matrix.md
	$(Q)$(call into_readme,$<)

readme-bench: build/bench/summary.md
	$(Q)$(call into_readme,$<)

# In each debug kernel, or in KERNELS=debug-kasan; once they catch what is planted. Beside
# it random operations in each, 10^6 unless OPS= says how many. TESTS="fail_nth": some.
test-debug:
	@$(DEPS) --install test-debug
	$(Q)selftests/vm/matrix debug $(KERNELS)

# Random rounds with random deaths in the KASAN kernel, SOAK seconds long; `make test` has 20.
SOAK	?= 3600

soak:
	@$(DEPS) --install test-debug
	@$(MAKE) vm-parts $(B)/selftests/soak VM_KERNEL=debug-kasan
	$(Q)selftests/vm/run --kernel debug-kasan --cpus 2 --mem 1536 \
		--timeout $$(($(SOAK) * 2 + 600)) --file $(B)/selftests/soak \
		-- ./soak $(SOAK)

# A broken module must not pass: MUTANTS="stale-death-accepted ..." breaks it so.
test-mutants:
	@$(DEPS) --install test
	@$(MAKE) test-parts
	$(Q)selftests/mutants/run $(MUTANTS)

# Random operations, compared with a model: OPS of them, chosen by SEED.
OPS	?= 100000
SEED	?= 1

test-model:
	@$(DEPS) --install vm
	@$(MAKE) vm-parts $(MODEL_BIN)
	$(Q)selftests/model/run --ops $(OPS) --seed $(SEED) -- $(VM_OPTIONS)

test-model-faults:
	@$(DEPS) --install vm
	@$(MAKE) vm-parts $(MODEL_BIN)
	$(Q)selftests/model/planted

# The memory order, by herd7 and the kernel's memory model.
test-litmus:
	@$(DEPS) --install litmus
	@$(MAKE) kselftest
	$(Q)selftests/vm/vm_root.py herd7
	$(Q)selftests/litmus/run

# Of the state machine, by its unit tests; `make test` asks the same.
coverage:
	@$(DEPS) --install coverage
	@$(MAKE) kselftest
	$(Q)selftests/host/coverage.py

check:
	@$(DEPS) --install check
	@$(MAKE) vm-kernel kselftest python
	$(Q)selftests/check/run

# Beside what a user would pick instead: QUICK=1 takes less than two minutes.
.PHONY: bench bench-check bench-parts
bench-parts: vm-counter
	@$(MAKE) vm-parts $(B)/bench/bench
	@$(MAKE) vm-parts build/arm64/bench/bench VM_ARCH=arm64

bench:
	@$(DEPS) --install bench
	@$(MAKE) bench-parts
	$(Q)userspace/bench/run $(if $(filter 1,$(QUICK)),--quick)

# What is counted, against userspace/bench/recorded.csv.
bench-check:
	@$(DEPS) --install bench-check
	@$(MAKE) bench-parts
	$(Q)userspace/bench/run --check

# As a part of a kernel source: INTREE=6.12, or another that
# selftests/intree/prepare can fetch.
INTREE	?= 6.12

intree:
	@$(DEPS) --install intree
	@$(MAKE) userspace $(B)/vm/init
	$(Q)selftests/intree/run $(INTREE)

# ---- install --------------------------------------------------------------

define PKGCONFIG
prefix=$(prefix)
libdir=$(libdir)
includedir=$(incdir)

Name: chipboot
Description: One start-up answer from each of N runtime processes
Version: $(VERSION)
Libs: -L$${libdir} -lchipboot
Libs.private: -pthread
Cflags: -I$${includedir}
endef

MAN_PAGES = $$(cd build/man && find man* -type f)

.PHONY: install install-userspace install-module uninstall
install: install-userspace install-module

install-userspace: userspace
	$(Q)$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/pkgconfig \
		$(DESTDIR)$(incdir)/linux $(DESTDIR)$(mandir) \
		$(DESTDIR)$(bashdir)
	$(Q)$(INSTALL) -m 755 $(B)/bin/chipboot $(DESTDIR)$(bindir)/
	$(Q)for page in $(MAN_PAGES); do \
		$(INSTALL) -m 644 -D build/man/$$page $(DESTDIR)$(mandir)/$$page; done
	$(Q)$(INSTALL) -m 644 userspace/completion/chipboot $(DESTDIR)$(bashdir)/
	$(Q)$(INSTALL) -m 644 -D userspace/system/60-chipboot.rules \
		$(DESTDIR)$(sysdir)/udev/rules.d/60-chipboot.rules
	$(Q)$(INSTALL) -m 644 -D userspace/system/modules-load.conf \
		$(DESTDIR)$(sysdir)/modules-load.d/chipboot.conf
	$(Q)$(INSTALL) -m 644 -D userspace/system/sysusers.conf \
		$(DESTDIR)$(sysdir)/sysusers.d/chipboot.conf
	$(Q)$(INSTALL) -m 644 $(B)/lib/libchipboot.a $(DESTDIR)$(libdir)/
	$(Q)$(INSTALL) -m 755 $(LIB_SO).$(VERSION) $(DESTDIR)$(libdir)/
	$(Q)ln -sf libchipboot.so.$(VERSION) $(DESTDIR)$(libdir)/$(SONAME)
	$(Q)ln -sf $(SONAME) $(DESTDIR)$(libdir)/libchipboot.so
	$(Q)$(INSTALL) -m 644 uapi/linux/chipboot.h $(DESTDIR)$(incdir)/linux/
	$(Q)$(INSTALL) -m 644 userspace/include/chipboot.h \
		userspace/include/chipboot_mailbox.h \
		userspace/include/chipboot.hpp $(DESTDIR)$(incdir)/
	$(file >$(B)/chipboot.pc,$(PKGCONFIG))
	$(Q)$(INSTALL) -m 644 $(B)/chipboot.pc $(DESTDIR)$(libdir)/pkgconfig/

ifneq ($(wildcard $(KDIR)/Makefile),)
install-module: module
	$(Q)release=$$(sed -n 's/.*"\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h) && \
	$(MAKE) -C $(KDIR) M=$(TOP)/$(KMOD)/$$release \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) modules_install
else
install-module: | deps-build
	@echo "no kernel headers in $(KDIR): the module is not installed"
endif

uninstall:
	rm -f $(DESTDIR)$(bindir)/chipboot $(DESTDIR)$(libdir)/libchipboot.* \
		$(DESTDIR)$(libdir)/pkgconfig/chipboot.pc \
		$(DESTDIR)$(incdir)/chipboot.h \
		$(DESTDIR)$(incdir)/chipboot_mailbox.h \
		$(DESTDIR)$(incdir)/chipboot.hpp \
		$(DESTDIR)$(incdir)/linux/chipboot.h \
		$(DESTDIR)$(bashdir)/chipboot \
		$(DESTDIR)$(mandir)/man1/chipboot.1 $(DESTDIR)$(mandir)/man4/chipboot.4 \
		$(DESTDIR)$(mandir)/man7/libchipboot.7 \
		$(DESTDIR)$(mandir)/man3/chipboot_*.3 \
		$(DESTDIR)$(sysdir)/udev/rules.d/60-chipboot.rules \
		$(DESTDIR)$(sysdir)/modules-load.d/chipboot.conf \
		$(DESTDIR)$(sysdir)/sysusers.d/chipboot.conf
	@echo "the module, if installed, stays in $(DESTDIR)/lib/modules"

# For Secure Boot: between make and make install.
SIGN_KEY ?=
SIGN_CERT ?=
SIGN_MODULE ?= $(KMOD)/$(shell sed -n 's/.*"\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h)/chipboot.ko

.PHONY: sign
sign:
	$(Q)packaging/sign '$(SIGN_MODULE)' '$(KDIR)' '$(SIGN_KEY)' '$(SIGN_CERT)'

# ---- a release ------------------------------------------------------------

.PHONY: dist deb
dist:
	$(Q)packaging/dist build

deb:
	@$(DEPS) --install deb
	$(Q)packaging/deb build/deb

.PHONY: test-install
test-install:
	@$(DEPS) --install test-install
	$(Q)selftests/install/run

# ---- the rest -------------------------------------------------------------

.PHONY: clean distclean help
# What was downloaded stays: it is slow to get and does not go stale here.
clean:
	rm -rf $(filter-out build/intree build/kernels build/kselftest build/sources,$(wildcard build/*)) \
		build/intree/*/build*

distclean:
	rm -rf build

help:
	@echo "make            module, library and command, into build/"
	@echo "make install    DESTDIR= prefix=/usr/local (also: uninstall)"
	@echo "make sign       SIGN_KEY= SIGN_CERT=, the module for Secure Boot"
	@echo "make dist       a tarball of the sources, which builds without git"
	@echo "make deb        Debian packages, in build/deb"
	@echo "make demo       the main job, in a throwaway machine"
	@echo "make test       the tests; TESTS=\"death waiting\" runs some, JOBS=1 one at a time"
	@echo "make test-kernels  on every kernel; KERNELS=\"5.10 newest\" on some"
	@echo "make test-arm64    on arm64, with pages of 4 and of 16 KiB"
	@echo "make test-debug    in kernels that watch: KASAN, lockdep, KCSAN, ..."
	@echo "make soak          an hour of random deaths in the KASAN kernel; SOAK=3600"
	@echo "make test-mutants  the tests against modules broken on purpose"
	@echo "make test-model    random operations against a model; OPS=100000 SEED=1"
	@echo "make test-model-faults  does the model find five planted faults?"
	@echo "make test-litmus   the memory order, by the kernel's memory model"
	@echo "make coverage   how much of the state machine the unit tests come through"
	@echo "make test-install  the packages on a Debian that boots (as root)"
	@echo "make check      style, static analysis, other compilers"
	@echo "make bench      beside what a user would pick instead; QUICK=1"
	@echo "make bench-check  what is counted, against what is recorded"
	@echo "make intree     built as a part of a kernel source; INTREE=6.12"
	@echo "make recording  the recorded run in README.md, anew"
	@echo "make vm         a shell in the throwaway machine"
	@echo "make module-vm  only the module for that machine; VM_KERNEL=6.12 VM_ARCH="
	@echo "make clean      (distclean: the downloads too)"
	@echo "KDIR= names the kernel to build for, V=1 shows the commands"

-include $(wildcard $(O)/*/*.d $(B)/selftests/*.d $(B)/selftests/*/*.d \
	$(B)/vm/*.d build/vm/*.d)
