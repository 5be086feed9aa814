// SPDX-License-Identifier: MIT
/*
 * What went wrong and what to do about it, in words.
 *
 * An errno says little by itself: EPERM of a claim and of a binding are two stories.
 * Each thread remembers its last error in this library together with the call it
 * came from, or with words written when it happened, and chipboot_explain() tells.
 *
 * cb_error() and its kin are called wherever the library fails.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "internal.h"

static _Thread_local struct {
	int error;
	enum cb_call call;
	char text[512];			/* empty: look it up by call */
} last;

#define NOT_THE_OWNER \
	"only the process that created the session may do that, until it detaches"
#define NO_SUCH_CHANNEL \
	"the session has no such channel"
#define OF_AN_EARLIER_ROUND \
	"the launcher has reset the channel; this publisher is of an earlier round"

static const struct {
	enum cb_call call;
	int error;
	const char *text;
} table[] = {
	{
		CB_CREATE, ENOMEM,
		"no memory for the session: a page for each channel, charged to this process's memory control group (in a container: its memory limit)"
	},
	{ CB_CLAIM, EPERM, NOT_THE_OWNER },
	{ CB_CLAIM, ENOENT, NO_SUCH_CHANNEL },
	{ CB_CLAIM, EBUSY, "the channel is claimed, and its publisher still open" },
	{ CB_CLAIM, EALREADY, "the channel has its answer; reset it first" },
	{
		CB_CLAIM, ECANCELED,
		"the channel got its verdict (a death, the deadline, an abort); reset it first"
	},
	{ CB_RESET, EPERM, NOT_THE_OWNER },
	{ CB_RESET, ENOENT, "the range of channels leaves the session" },
	{ CB_RESET, EBUSY, "a channel of the range has not answered; abort it first" },
	{ CB_RESET, EINVAL, "no channels to reset, or an unknown flag" },
	{ CB_ABORT, EPERM, NOT_THE_OWNER },
	{ CB_ABORT, ENOENT, "the range of channels leaves the session" },
	{ CB_ABORT, EINVAL, "no channels to abort" },
	{ CB_DETACH, EPERM, NOT_THE_OWNER },
	{ CB_DEADLINE, EPERM, NOT_THE_OWNER },
	{ CB_BIND, EPERM, "a channel can be bound only to this process or its child" },
	{ CB_BIND, ESRCH, "there is no such process to bind" },
	{ CB_BIND, EBUSY, "the channel is bound to another process, which lives" },
	{ CB_BIND, ESTALE, OF_AN_EARLIER_ROUND },
	{ CB_PROGRESS, EALREADY, "the channel has its answer already" },
	{ CB_PROGRESS, ESTALE, OF_AN_EARLIER_ROUND },
	{ CB_PUBLISH, EALREADY, "the channel is answered already; that is done once" },
	{
		CB_PUBLISH, ECANCELED,
		"the channel got another verdict first: the deadline, the launcher's abort, or a death"
	},
	{ CB_PUBLISH, ESTALE, OF_AN_EARLIER_ROUND },
	{ CB_PUBLISH, EOVERFLOW, "more than 376 buffer pointers" },
	{
		CB_OBSERVE, EPERM,
		"an observer is made by the process that created the session, or from an observer with the same events"
	},
	{ CB_READ, ENOENT, NO_SUCH_CHANNEL },
	{ CB_STATUS, ENOENT, NO_SUCH_CHANNEL },
	{ CB_STATUS, ENOTTY, "the descriptor is not a chipboot handle" },
	{ CB_ANY, EINVAL, "an argument is out of range, or NULL" },
	{ CB_ANY, EBADF, "the handle was closed in this process when it was forked" },
	{
		CB_ANY, ENOTTY,
		"the descriptor is not a chipboot handle, or the module is older than this program"
	},
	{ CB_ANY, EOPNOTSUPP, "this kind of chipboot handle cannot do that" },
	{ CB_ANY, E2BIG, "the module is older than this program" },
	{ CB_ANY, EPROTO, "a channel's page holds what no publisher can have written" },
	{ CB_ANY, EPROTONOSUPPORT, "the loaded module is older than this library" },
	{ CB_ANY, ENXIO, "the chipboot module is not there" },
	{ CB_ANY, EACCES, "no permission to use the chipboot device" },
	{
		CB_ANY, ERANGE,
		"more channels than a session may have (module parameter max_channels_per_session)"
	},
	{
		CB_ANY, EDQUOT,
		"more channels than a user may have (module parameter max_channels_per_user)"
	},
	{
		CB_ANY, ENOSPC,
		"more channels than the host may have (module parameter max_channels)"
	},
	{ CB_ANY, EOWNERDEAD, "the launcher that owns the session is gone" },
	{ CB_ANY, ETIMEDOUT, "not in time" },
	{ CB_ANY, EMFILE, "too many open descriptors: raise the limit (ulimit -n)" },
	{ CB_ANY, ENFILE, "too many open files on this host (sysctl fs.file-max)" },
};

int cb_error(enum cb_call call, int error)
{
	last.error = error < 0 ? -error : error;
	last.call = call;
	last.text[0] = '\0';
	return -last.error;
}

int cb_errorf(int error, const char *format, ...)
{
	va_list arguments;

	cb_error(CB_ANY, error);
	va_start(arguments, format);
	vsnprintf(last.text, sizeof(last.text), format, arguments);
	va_end(arguments);
	return -last.error;
}

static const char *look_up(enum cb_call call, int error)
{
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].call == call && table[i].error == error)
			return table[i].text;
	return NULL;
}

const char *chipboot_explain(int error, char *buffer, size_t size)
{
	const char *text = NULL;

	if (!buffer || !size)
		return buffer;
	if (error < 0)
		error = -error;
	if (error == last.error) {
		if (last.text[0])
			text = last.text;
		else
			text = look_up(last.call, error);
	}
	if (!text)
		text = look_up(CB_ANY, error);
	if (!text)
		text = strerror(error);
	snprintf(buffer, size, "%s", text);
	return buffer;
}

const char *chipboot_state_name(int state)
{
	switch (state) {
	case CHIPBOOT_STATE_IDLE:
		return "idle";
	case CHIPBOOT_STATE_SUCCESS:
		return "success";
	case CHIPBOOT_STATE_ERROR:
		return "error";
	}
	return "unknown";
}

const char *chipboot_origin_name(int origin)
{
	switch (origin) {
	case CHIPBOOT_BY_NOBODY:
		return "none";
	case CHIPBOOT_BY_PUBLISHER:
		return "publisher";
	case CHIPBOOT_BY_EXIT:
		return "exit";
	case CHIPBOOT_BY_CLOSE:
		return "closed";
	case CHIPBOOT_BY_DEADLINE:
		return "deadline";
	case CHIPBOOT_BY_OWNER:
		return "owner";
	}
	return "unknown";
}

/* ---- why the device does not open ---- */

static bool module_is_loaded(void)
{
	return access("/sys/module/chipboot", F_OK) == 0;
}

/* Does depmod know a module of that name for that kernel?  @module is its file. */
static bool find_module(const char *release, char *module, size_t size)
{
	char path[PATH_MAX];
	char line[2048];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, ":")] = '\0';
		found = strstr(line, "/chipboot.ko") ||
			!strncmp(line, "chipboot.ko", 11);
	}
	fclose(file);
	if (found && *line == '/')
		snprintf(module, size, "%s", line);
	else if (found)
		snprintf(module, size, "/lib/modules/%s/%s", release, line);
	return found;
}

/*
 * The kernel that a module's file was built for, "" if it does not say: one that is
 * compressed does not here.
 */
static void built_for(const char *module, char *release, size_t size)
{
	static const char key[] = "vermagic=";
	int fd = open(module, O_RDONLY | O_CLOEXEC);
	const char *text = MAP_FAILED;
	const char *at = NULL;
	struct stat file;

	*release = '\0';
	if (fd >= 0 && !fstat(fd, &file) && file.st_size)
		text = mmap(NULL, file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (text == MAP_FAILED)
		return;
	at = memmem(text, file.st_size, key, sizeof(key) - 1);
	if (at) {
		const char *word = at + sizeof(key) - 1;
		size_t length = strnlen(word, text + file.st_size - word);

		snprintf(release, size, "%.*s", (int)length, word);
		release[strcspn(release, " ")] = '\0';
	}
	munmap((void *)text, file.st_size);
}

/* A kernel that has the module, although the running one does not. */
static bool other_kernel(char *release, size_t size)
{
	DIR *dir = opendir("/lib/modules");
	char module[PATH_MAX];
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
		    !find_module(entry->d_name, module, sizeof(module)))
			continue;
		snprintf(release, size, "%s", entry->d_name);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Does @path say @word at its beginning, or anywhere? */
static bool file_says(const char *path, const char *word)
{
	char text[256] = "";
	FILE *file = fopen(path, "re");
	bool says;

	if (!file)
		return false;
	says = fgets(text, sizeof(text), file) && strstr(text, word);
	fclose(file);
	return says;
}

/*
 * What Secure Boot makes of a kernel, where it can be read without root.  Whether the
 * module is signed with a key it knows, only loading it shows.
 */
static bool wants_signatures(void)
{
	return file_says("/sys/module/module/parameters/sig_enforce", "Y") ||
	       file_says("/sys/kernel/security/lockdown", "[integrity]") ||
	       file_says("/sys/kernel/security/lockdown", "[confidentiality]");
}

/*
 * The group's name from /etc/group alone: a library that a static program may
 * link does not pull in name services.
 */
static void group_name(gid_t gid, char *name, size_t size)
{
	struct group entry, *found;
	char buffer[4096];
	FILE *file;

	snprintf(name, size, "%u", gid);
	file = fopen("/etc/group", "re");
	if (!file)
		return;
	while (!fgetgrent_r(file, &entry, buffer, sizeof(buffer), &found))
		if (found->gr_gid == gid) {
			snprintf(name, size, "%s", found->gr_name);
			break;
		}
	fclose(file);
}

/*
 * In a container of an ordinary user's most of the host's groups have no number, and
 * all of those are shown as this one.
 */
static bool has_no_number_here(gid_t gid)
{
	unsigned int overflow = 65534;
	FILE *file;

	if (file_says("/proc/self/gid_map", "0          0 4294967295"))
		return false;
	file = fopen("/proc/sys/kernel/overflowgid", "re");
	if (file) {
		if (fscanf(file, "%u", &overflow) != 1)
			overflow = 65534;
		fclose(file);
	}
	return gid == overflow;
}

static int no_permission(int error, const char *device)
{
	struct stat node;
	char group[64];

	if (stat(device, &node) < 0 || !S_ISCHR(node.st_mode))
		return cb_errorf(error, "no permission to open %s", device);
	if ((node.st_mode & 0060) == 0060 && has_no_number_here(node.st_gid))
		return cb_errorf(error,
				 "no permission to open %s: it is for members of a group that has no number in this container; who starts it must be one, and let it keep its groups (podman: --group-add keep-groups)",
				 device);
	group_name(node.st_gid, group, sizeof(group));
	if ((node.st_mode & 0060) == 0060 && node.st_gid)
		return cb_errorf(error,
				 "no permission to open %s: it is for members of the group %s (as root: usermod -aG %s USER, then log in anew)",
				 device, group, group);
	if ((node.st_mode & 0006) == 0006)
		return cb_errorf(error,
				 "no permission to open %s although its mode allows it: a container's device rules or a security policy forbid it",
				 device);
	return cb_errorf(error,
			 "no permission to open %s: its mode %04o leaves it to root; a udev rule opens it to a group (KERNEL==\"chipboot\", GROUP=\"video\", MODE=\"0660\")",
			 device, node.st_mode & 07777);
}

static int no_module(void)
{
	char module[PATH_MAX], other[256];
	struct utsname kernel;

	uname(&kernel);
	if (!find_module(kernel.release, module, sizeof(module))) {
		if (other_kernel(other, sizeof(other)))
			return cb_errorf(ENXIO,
					 "the chipboot module is installed for the kernel %s, but this is %s: build and install it for this one",
					 other, kernel.release);
		return cb_errorf(ENXIO,
				 "the chipboot module is not installed for this kernel (%s) and not loaded: see Install in chipboot's README",
				 kernel.release);
	}
	built_for(module, other, sizeof(other));
	/* Where a kernel's interfaces stay the same, another's module can do. */
	if (*other && strcmp(other, kernel.release))
		return cb_errorf(ENXIO,
				 "the chipboot module is installed but not loaded, and was built for the kernel %s, while this is %s: as root, modprobe chipboot; if that says \"Exec format error\" or \"Invalid module format\", build and install it for this one",
				 other, kernel.release);
	if (wants_signatures())
		return cb_errorf(ENXIO,
				 "the chipboot module is installed but not loaded, and this kernel loads only signed modules (Secure Boot): as root, modprobe chipboot; if that says \"Key was rejected by service\" or \"Operation not permitted\", sign the module with a key enrolled by mokutil");
	return cb_errorf(ENXIO,
			 "the chipboot module is installed but not loaded: as root, modprobe chipboot");
}

int cb_error_open(int error, const char *device)
{
	switch (error) {
	case EACCES:
		return no_permission(EACCES, device);
	case EPERM:
		/* What a container's device rules say, whatever the file's mode. */
		return cb_errorf(EACCES,
				 "the kernel refuses %s to this process: in a container, its device rules must allow it (--device %s)",
				 device, device);
	case ENOENT:
	case ENXIO:
	case ENODEV:
		break;
	default:
		return cb_errorf(error, "%s: %s", device,
				 strerror(error));
	}

	if (module_is_loaded())
		return cb_errorf(ENXIO,
				 "the chipboot module is loaded, but %s is not here: in a container, pass it in (--device %s)",
				 device, device);
	return no_module();
}

/* ---- which limit ---- */

static int limit_reached(int error, const char *parameter, const char *what,
			 uint32_t channels)
{
	char path[128];
	char value[32] = "?";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/chipboot/parameters/%s",
		 parameter);
	file = fopen(path, "re");
	if (file) {
		if (fgets(value, sizeof(value), file))
			value[strcspn(value, "\n")] = '\0';
		fclose(file);
	}
	return cb_errorf(error,
			 "%u channels are more than the module's limit %s leaves %s; it is %s (root can raise it in %s)",
			 channels, parameter, what, value, path);
}

int cb_error_limit(int error, uint32_t channels)
{
	switch (error) {
	case ERANGE:
		return limit_reached(error, "max_channels_per_session",
				     "a session", channels);
	case EDQUOT:
		return limit_reached(error, "max_channels_per_user",
				     "this user", channels);
	case ENOSPC:
		return limit_reached(error, "max_channels", "this host",
				     channels);
	}
	return cb_error(CB_CREATE, error);
}
