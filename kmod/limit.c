// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits on channels, as module parameters.  A page and its kernel memory are
 * charged to a memory cgroup too; these are for hosts without one, and so that
 * one user cannot take the channels of all.
 *
 * Called by session.c, and by control.c for VERSION.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/compiler.h>
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uidgid.h>

#include "handle.h"
#include "limit.h"
#include "session.h"

static unsigned int max_channels = 65536;
module_param(max_channels, uint, 0644);
MODULE_PARM_DESC(max_channels, "channels on this host, of all users (ENOSPC)");

static unsigned int max_channels_per_user = 16384;
module_param(max_channels_per_user, uint, 0644);
MODULE_PARM_DESC(max_channels_per_user, "channels of one user (EDQUOT)");

static unsigned int max_channels_per_session = 4096;
module_param(max_channels_per_session, uint, 0644);
MODULE_PARM_DESC(max_channels_per_session, "channels in one session (ERANGE)");

/**
 * struct user_channels - one user's channels.  Lives while there are any
 * @node: in user_table
 * @uid: the user
 * @channels: how many
 */
struct user_channels {
	struct hlist_node node;
	kuid_t uid;
	u32 channels;
};

/* Guards user_table, its entries and channels_in_use. */
static DEFINE_MUTEX(limits_mutex);
static DEFINE_HASHTABLE(user_table, 6);
static u32 channels_in_use;

/*
 * A parameter, now.  data_race(): who changes it writes it plainly, at any time, but it
 * is one word, and each refusal says by which value.
 */
#define parameter(name)		data_race(READ_ONCE(name))

/**
 * limits_per_session() - max_channels_per_session, now
 *
 * Return: never more than STATUS can list as pending.
 */
u32 limits_per_session(void)
{
	return min_t(u32, parameter(max_channels_per_session),
		     HANDLE_PENDING_WORDS_MAX * 64);
}

static struct user_channels *user_find(kuid_t uid)
{
	struct user_channels *user;

	hash_for_each_possible(user_table, user, node, __kuid_val(uid))
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/* Is there room for @n more, where @used are in use? */
static bool has_room(u32 used, u32 n, unsigned int max)
{
	return used <= max && n <= max - used;
}

/**
 * limits_charge() - count @n channels to the calling user
 * @n: how many
 *
 * Return: whose they are, for limits_uncharge(); or -ERANGE, -EDQUOT, -ENOSPC
 * for the limit of that session, user or host; or -ENOMEM.
 */
struct user_channels *limits_charge(u32 n)
{
	kuid_t uid = current_uid();
	struct user_channels *user, *new;
	const char *limit;
	unsigned int max;
	int err;

	max = limits_per_session();
	if (n > max) {
		pr_notice_ratelimited("session of %u channels refused: max_channels_per_session is %u\n",
				      n, max);
		return ERR_PTR(-ERANGE);
	}
	new = kzalloc(sizeof(*new), CHIPBOOT_GFP);
	if (!new)
		return ERR_PTR(-ENOMEM);
	new->uid = uid;

	mutex_lock(&limits_mutex);
	user = user_find(uid);
	max = parameter(max_channels_per_user);
	if (!has_room(user ? user->channels : 0, n, max)) {
		limit = "max_channels_per_user";
		err = -EDQUOT;
		goto refuse;
	}
	max = parameter(max_channels);
	if (!has_room(channels_in_use, n, max)) {
		limit = "max_channels";
		err = -ENOSPC;
		goto refuse;
	}
	if (!user) {
		user = new;
		new = NULL;
		hash_add(user_table, &user->node, __kuid_val(uid));
	}
	user->channels += n;
	channels_in_use += n;
	mutex_unlock(&limits_mutex);
	kfree(new);
	return user;

refuse:
	mutex_unlock(&limits_mutex);
	kfree(new);
	pr_notice_ratelimited("session of %u channels refused for user %u: %s is %u\n",
			      n, from_kuid(&init_user_ns, uid), limit, max);
	return ERR_PTR(err);
}

/**
 * limits_uncharge() - give back what limits_charge() gave
 * @user: whose they are
 * @n: how many
 */
void limits_uncharge(struct user_channels *user, u32 n)
{
	mutex_lock(&limits_mutex);
	channels_in_use -= n;
	user->channels -= n;
	if (!user->channels) {
		hash_del(&user->node);
		kfree(user);
	}
	mutex_unlock(&limits_mutex);
}

/**
 * limits_all_returned() - is no channel in use?  For module exit
 *
 * Return: whether none is.
 */
bool limits_all_returned(void)
{
	return !channels_in_use && hash_empty(user_table);
}
