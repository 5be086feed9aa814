// SPDX-License-Identifier: MIT
/*
 * chipboot status: the sessions on this host that the caller may see.
 *
 * There is no list of them anywhere; a session is found by its handles in
 * /proc/PID/fd, and /proc decides whose processes may be looked at.  What fdinfo
 * says needs no more than that.  A line per channel needs a copy of an observer
 * (pidfd_getfd), for which the kernel asks the permission to trace that process.
 * A copy never acknowledges: that belongs to the handle, and so to its holder.
 */
#include <argp.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"

struct found {
	uint64_t id;
	uint32_t channels, idle, success, error, gone;
	pid_t owner;
	char owner_state[16];
	char pending[256];
	struct chipboot_observer *observer;
	int refused;			/* errno of the last try to get one */
};

struct status {
	bool verbose, json;
	struct found *sessions;
	size_t count;
	bool not_all;			/* some processes are not ours to look at */
};

/* ---- scanning /proc ---- */

static struct found *session_of(struct status *status, uint64_t id)
{
	struct found *more;
	size_t i;

	for (i = 0; i < status->count; i++)
		if (status->sessions[i].id == id)
			return &status->sessions[i];
	more = realloc(status->sessions, (status->count + 1) * sizeof(*more));
	if (!more)
		return NULL;
	status->sessions = more;
	more[status->count] = (struct found) { .id = id };
	return &more[status->count++];
}

static void take_key(struct found *found, const char *key, const char *value)
{
	if (!strcmp(key, "chipboot-channels"))
		found->channels = strtoul(value, NULL, 10);
	else if (!strcmp(key, "chipboot-idle"))
		found->idle = strtoul(value, NULL, 10);
	else if (!strcmp(key, "chipboot-success"))
		found->success = strtoul(value, NULL, 10);
	else if (!strcmp(key, "chipboot-error"))
		found->error = strtoul(value, NULL, 10);
	else if (!strcmp(key, "chipboot-gone"))
		found->gone = strtoul(value, NULL, 10);
	else if (!strcmp(key, "chipboot-owner"))
		found->owner = strtol(value, NULL, 10);
	else if (!strcmp(key, "chipboot-owner-state"))
		snprintf(found->owner_state, sizeof(found->owner_state), "%s",
			 value);
	else if (!strcmp(key, "chipboot-pending"))
		snprintf(found->pending, sizeof(found->pending), "%s", value);
}

static void get_observer(struct found *found, pid_t pid, int fd)
{
	int process = pidfd_open(pid, 0);
	int copy = process < 0 ? -1 : pidfd_getfd(process, fd, 0);

	if (copy < 0) {
		found->refused = errno;
	} else if (chipboot_observer_from_fd(copy, &found->observer) < 0) {
		found->refused = ENOMEM;
		close(copy);
	}
	if (process >= 0)
		close(process);
}

static void take_handle(struct status *status, pid_t pid, int fd, bool observer)
{
	struct found *found = NULL;
	char path[64], line[8192];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		char *value = strchr(line, ':');

		if (!value)
			continue;
		*value++ = '\0';
		value += strspn(value, " \t");
		value[strcspn(value, "\n")] = '\0';
		if (!strcmp(line, "chipboot-session"))
			found = session_of(status, strtoull(value, NULL, 10));
		else if (found)
			take_key(found, line, value);
	}
	fclose(file);
	if (found && observer && status->verbose && !found->observer)
		get_observer(found, pid, fd);
}

static void scan_process(struct status *status, pid_t pid)
{
	struct dirent *entry;
	char path[64], name[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir) {
		status->not_all |= errno == EACCES;
		return;
	}
	while ((entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, name,
					    sizeof(name) - 1);

		if (length < 0)
			continue;
		name[length] = '\0';
		if (strncmp(name, "anon_inode:[chipboot-", 21))
			continue;
		take_handle(status, pid, atoi(entry->d_name),
			    !strncmp(name + 21, "observer", 8));
	}
	closedir(dir);
}

static int by_id(const void *a, const void *b)
{
	const struct found *x = a;
	const struct found *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int scan(struct status *status)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	if (!dir) {
		complain("/proc: %s", strerror(errno));
		return -1;
	}
	while ((entry = readdir(dir)))
		if (isdigit((unsigned char)*entry->d_name) &&
		    atoi(entry->d_name) != getpid())
			scan_process(status, atoi(entry->d_name));
	closedir(dir);
	if (status->count)
		qsort(status->sessions, status->count,
		      sizeof(*status->sessions), by_id);
	return 0;
}

/* ---- who the owner is ---- */

/* The command line, arguments parted by spaces; to be freed. */
static char *command_of(pid_t pid)
{
	char path[64], text[4096] = "";
	ssize_t length = -1;
	ssize_t i;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		length = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	for (i = 0; i < length - 1; i++)
		if (!text[i])
			text[i] = ' ';
	return strdup(length > 0 ? text : "-");
}

static void user_of(pid_t pid, char *name, size_t size)
{
	struct passwd *user;
	struct stat file;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (!pid || stat(path, &file) < 0) {
		snprintf(name, size, "-");
		return;
	}
	user = getpwuid(file.st_uid);
	if (user)
		snprintf(name, size, "%s", user->pw_name);
	else
		snprintf(name, size, "%u", file.st_uid);
}

/* ---- versions ---- */

/* modinfo knows compressed modules too.  "none": no such module for this kernel. */
static void installed_module(char *version, size_t size)
{
	static const char ask[] =
		"PATH=/usr/sbin:/sbin:$PATH modinfo -F version chipboot 2>/dev/null";
	FILE *pipe = popen(ask, "re");

	snprintf(version, size, "none");
	if (!pipe)
		return;
	if (fgets(version, size, pipe))
		version[strcspn(version, "\n")] = '\0';
	if (pclose(pipe) || !*version)
		snprintf(version, size, "none");
}

static void loaded_module(char *version, size_t size)
{
	FILE *file = fopen("/sys/module/chipboot/version", "re");

	snprintf(version, size, "none");
	if (!file)
		return;
	if (fgets(version, size, file))
		version[strcspn(version, "\n")] = '\0';
	fclose(file);
}

/* ---- as text ---- */

enum { CHANNEL, PID, STATE, SINCE, DOING, CHANNEL_COLUMNS };

static int fill_channel(struct table *table, const struct found *found,
			uint32_t i, uint64_t now)
{
	struct chipboot_channel info;
	struct chipboot_answer answer;
	char since[32] = "";
	FILE *out;
	int ret;

	if (chipboot_read(found->observer, i, &answer) < 0 ||
	    chipboot_channel_info(found->observer, i, &info) < 0)
		return 0;
	out = fmemopen(since, sizeof(since), "w");
	if (out && answer.updated_ns)
		put_age(out, now - answer.updated_ns);
	if (out)
		fclose(out);
	ret = table_row(table);
	if (!ret)
		ret = table_cell(table, CHANNEL, "%u", i);
	if (!ret && info.pid)
		ret = table_cell(table, PID, "%d", info.pid);
	if (!ret)
		ret = table_cell(table, STATE, "%s",
				 answer.flags & CHIPBOOT_IS_GONE ? "gone" :
				 answer.state == CHIPBOOT_STATE_IDLE ?
				 "pending" : answer.state ==
				 CHIPBOOT_STATE_SUCCESS ? "up" : "failed");
	if (!ret)
		ret = table_cell(table, SINCE, "%s", since);
	if (!ret)
		ret = table_untrusted(table, DOING, answer.message);
	return ret;
}

static void print_channels(const struct found *found)
{
	static const struct column columns[CHANNEL_COLUMNS] = {
		[CHANNEL] = { "CHANNEL", true, false },
		[PID] = { "PID", true, false },
		[STATE] = { "STATE", false, false },
		[SINCE] = { "SINCE", true, false },
		[DOING] = { "DOING", false, false },
	};
	struct chipboot_info info;
	struct table *table;
	uint32_t i;

	if (!found->observer) {
		printf("  pending: [%s]; no more can be seen: %s\n",
		       found->pending, found->refused == EPERM ?
		       "it takes the permission to trace (root)" :
		       found->refused ? strerror(found->refused) :
		       "none of its observers is in a process of yours");
		return;
	}
	table = table_new(stdout, columns, CHANNEL_COLUMNS, 0);
	if (!table || chipboot_observer_info(found->observer, 0, &info) < 0)
		return;
	for (i = 0; i < found->channels; i++)
		if (fill_channel(table, found, i, info.now_ns))
			break;
	table_print(table);
	table_free(table);
}

enum { SESSION, OWNER, USER, N, UP, FAILED, PENDING, COMMAND, COLUMNS };

static const struct column session_columns[COLUMNS] = {
	[SESSION] = { "SESSION", true, false },
	[OWNER] = { "OWNER", true, false },
	[USER] = { "USER", false, false },
	[N] = { "N", true, false },
	[UP] = { "UP", true, false },
	[FAILED] = { "FAILED", true, false },
	[PENDING] = { "PENDING", true, false },
	[COMMAND] = { "COMMAND", false, false },
};

static int fill_session(struct table *table, const struct found *found)
{
	bool alive = !strcmp(found->owner_state, "alive");
	char *command = command_of(alive ? found->owner : 0);
	char user[64];
	int ret = table_row(table);

	user_of(alive ? found->owner : 0, user, sizeof(user));
	if (!ret)
		ret = table_cell(table, SESSION, "%llu",
				 (unsigned long long)found->id);
	if (!ret && alive)
		ret = table_cell(table, OWNER, "%d", found->owner);
	else if (!ret)
		ret = table_cell(table, OWNER, "%s", found->owner_state);
	if (!ret)
		ret = table_cell(table, USER, "%s", user);
	if (!ret)
		ret = table_cell(table, N, "%u", found->channels);
	if (!ret)
		ret = table_cell(table, UP, "%u", found->success - found->gone);
	if (!ret)
		ret = table_cell(table, FAILED, "%u",
				 found->error + found->gone);
	if (!ret)
		ret = table_cell(table, PENDING, "%u", found->idle);
	if (!ret)
		ret = table_untrusted(table, COMMAND, command ? command : "-");
	free(command);
	return ret;
}

static void print_text(const struct status *status, const char *loaded,
		       const char *installed)
{
	struct table *table = NULL;
	size_t i;

	printf("module: %s loaded, %s installed; command and library: %s\n",
	       loaded, installed, CHIPBOOT_RELEASE);
	for (i = 0; i < status->count; i++) {
		if (!table)
			table = table_new(stdout, session_columns, COLUMNS, 0);
		if (!table || fill_session(table, &status->sessions[i]))
			break;
		if (!status->verbose)
			continue;
		table_print(table);
		table_free(table);
		table = NULL;
		print_channels(&status->sessions[i]);
	}
	if (table)
		table_print(table);
	table_free(table);
	if (!status->count)
		printf("no sessions\n");
	if (status->not_all)
		printf("other users' processes were not looked at: root sees all\n");
}

/* ---- as JSON ---- */

static struct json_object *channels_json(const struct found *found)
{
	struct json_object *list = json_object_new_array();
	struct chipboot_channel channel;
	struct chipboot_answer answer;
	struct chipboot_info info;
	uint32_t i;

	if (chipboot_observer_info(found->observer, 0, &info) < 0)
		return list;
	for (i = 0; i < found->channels; i++) {
		struct json_object *object = json_object_new_object();

		if (chipboot_read(found->observer, i, &answer) < 0 ||
		    chipboot_channel_info(found->observer, i, &channel) < 0) {
			json_object_put(object);
			break;
		}
		json_put_number(object, "channel", i);
		json_put_number(object, "pid", channel.pid);
		json_put_text(object, "state",
			      chipboot_state_name(answer.state));
		json_put(object, "gone",
			 json_object_new_boolean(answer.flags & CHIPBOOT_IS_GONE));
		json_put_text(object, "by",
			      chipboot_origin_name(answer.origin));
		json_put(object, "since_ns", answer.updated_ns ?
			 json_object_new_uint64(info.now_ns - answer.updated_ns) :
			 NULL);
		json_put_text(object, "doing", answer.message);
		json_object_array_add(list, object);
	}
	return list;
}

static void print_json(const struct status *status, const char *loaded,
		       const char *installed)
{
	struct json_object *object = json_object_new_object();
	struct json_object *list = json_object_new_array();
	size_t length, i;
	char *line;

	json_put_text(object, "module_loaded", strcmp(loaded, "none") ? loaded :
		      NULL);
	json_put_text(object, "module_installed",
		      strcmp(installed, "none") ? installed : NULL);
	json_put_text(object, "command", CHIPBOOT_RELEASE);
	for (i = 0; i < status->count; i++) {
		const struct found *found = &status->sessions[i];
		struct json_object *session = json_object_new_object();
		char *command = command_of(found->owner);
		char user[64];

		user_of(found->owner, user, sizeof(user));
		json_put_number(session, "session", found->id);
		json_put_number(session, "owner", found->owner);
		json_put_text(session, "owner_state", found->owner_state);
		json_put_text(session, "user", user);
		json_put_text(session, "command", command);
		json_put_number(session, "channels", found->channels);
		json_put_number(session, "up", found->success - found->gone);
		json_put_number(session, "failed", found->error + found->gone);
		json_put_number(session, "pending", found->idle);
		json_put_text(session, "pending_list", found->pending);
		if (found->observer)
			json_put(session, "details", channels_json(found));
		json_object_array_add(list, session);
		free(command);
	}
	json_put(object, "sessions", list);
	json_put(object, "complete", json_object_new_boolean(!status->not_all));
	line = json_line(object, &length);
	if (line)
		fputs(line, stdout);
	free(line);
}

/* ---- the command ---- */

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct status *status = state->input;

	switch (key) {
	case 'v':
		status->verbose = true;
		return 0;
	case 'j':
		status->json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument: %s", argument);
		return EINVAL;
	}
	return ARGP_ERR_UNKNOWN;
}

int command_status(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "verbose", 'v', NULL, 0, "A line per channel", 0 },
		{ "json", 'j', NULL, 0, "As a JSON object", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options, .parser = parse,
		.doc = "Show the sessions on this host.\n"
		       "\013Those whose processes you may look at in /proc: your own; root's view has\n"
		       "all. Exit status: 0; 98 misuse.",
	};
	struct status status = { .verbose = false };
	char loaded[64], installed[64];
	size_t i;

	if (argp_parse(&argp, argc, argv, 0, NULL, &status) ||
	    scan(&status) < 0)
		return EXIT_MISUSE;
	loaded_module(loaded, sizeof(loaded));
	installed_module(installed, sizeof(installed));
	if (status.json)
		print_json(&status, loaded, installed);
	else
		print_text(&status, loaded, installed);
	for (i = 0; i < status.count; i++)
		chipboot_observer_close(status.sessions[i].observer);
	free(status.sessions);
	return fflush(stdout) ? EXIT_MISUSE : 0;
}
