// SPDX-License-Identifier: GPL-2.0-only
/*
 * One bug of each kind that a debug kernel is there to catch: the one that the
 * parameter names is committed while the module is loaded. Called by: selftests/debug/awake,
 * which wants each to be found in the kernel log.
 *
 *	insmod planted.ko bug=after_free
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

static char *bug = "";
module_param(bug, charp, 0444);
MODULE_PARM_DESC(bug, "which; an unknown one is refused with EINVAL");

/* A pointer, or a number, of which the compiler does not know what it is. */
#define opaque(x)						\
({								\
	typeof(x) _x = (x);					\
								\
	OPTIMIZER_HIDE_VAR(_x);					\
	_x;							\
})

/* No bug, though a console's driver may make lockdep believe it. */
static void warn_in_interrupt(struct irq_work *work)
{
	pr_warn("planted: a warning out of an interrupt\n");
}

/* None: the machine that catches nothing has nothing to catch. */
static void plant_nothing(void)
{
	struct irq_work work = IRQ_WORK_INIT_HARD(warn_in_interrupt);

	irq_work_queue(&work);
	irq_work_sync(&work);
}

/* KASAN. */
static void plant_after_free(void)
{
	u8 *p = kmalloc(100, GFP_KERNEL);

	if (!p)
		return;
	kfree(p);
	WRITE_ONCE(*opaque(p), 1);
}

static void plant_out_of_bounds(void)
{
	u8 *p = kmalloc(100, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(opaque(p)[100], 1);
	kfree(p);
}

/* kmemleak; the machine looks for it at its end. */
static void plant_leak(void)
{
	int i;

	/* One or two may still be found in a register or on a stack. */
	for (i = 0; i < 16; i++)
		if (!opaque(kmalloc(256, GFP_KERNEL)))
			return;
}

/* lockdep. */
static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static void plant_abba(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

/* A lock that sleeps on PREEMPT_RT, inside one that does not. */
static void plant_nesting(void)
{
	static DEFINE_RAW_SPINLOCK(outer);
	static DEFINE_SPINLOCK(inner);

	raw_spin_lock(&outer);
	spin_lock(&inner);
	spin_unlock(&inner);
	raw_spin_unlock(&outer);
}

static void plant_atomic_sleep(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	msleep(20);
	spin_unlock(&lock);
}

/* UBSAN. */
static void plant_shift(void)
{
	int by = opaque(40);

	pr_info("planted: %d\n", 1 << by);
}

/* DEBUG_OBJECTS. */
static void nothing_to_do(struct timer_list *timer)
{
}

static void plant_timer(void)
{
	struct timer_list *timer = kzalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, nothing_to_do, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	kfree(timer);
}

static void nothing_to_work(struct work_struct *work)
{
}

static void plant_work(void)
{
	struct work_struct work;

	/* On the stack, and not said to be. */
	INIT_WORK(&work, nothing_to_work);
}

/* The checks that are always there in counters. */
static void plant_refcount(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static void plant_list(void)
{
	static LIST_HEAD(list);
	static struct list_head entry;

	list_add(&entry, &list);
	list_add(&entry, &list);
}

/* DEBUG_VM. */
static void plant_page(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	put_page(page);
	put_page(opaque(page));
}

/* KCSAN. */
static int racy;
static int flag;
static DECLARE_COMPLETION(raced);

static int race_writes(void *unused)
{
	unsigned long end = jiffies + 30 * HZ;

	while (time_before(jiffies, end) && !READ_ONCE(flag)) {
		racy++;
		barrier();
		cond_resched();
	}
	complete(&raced);
	return 0;
}

static void plant_race(void)
{
	struct task_struct *task = kthread_run(race_writes, NULL, "planted");
	unsigned long end = jiffies + 20 * HZ;
	int seen = 0;

	if (IS_ERR(task))
		return;
	while (time_before(jiffies, end)) {
		seen += racy;
		barrier();
		cond_resched();
	}
	WRITE_ONCE(flag, 1);
	wait_for_completion(&raced);
	pr_info("planted: %d\n", seen);
}

/*
 * A flag that is raised without a barrier between it and what it is about.  KCSAN
 * looks at one access of some thousand, and finds it late only while the writer
 * waits: so most accesses are to what the flag is about.
 */
#define MESSAGE	100

static int message_writes(void *unused)
{
	unsigned long end = jiffies + 20 * HZ;
	int i;

	while (time_before(jiffies, end)) {
		if (READ_ONCE(flag)) {
			udelay(1);
			continue;
		}
		for (i = 0; i < MESSAGE; i++) {
			racy++;
			barrier();
		}
		/* Pairs with nothing: that is the bug. */
		WRITE_ONCE(flag, 1);
	}
	complete(&raced);
	return 0;
}

static void plant_barrier(void)
{
	struct task_struct *task = kthread_run(message_writes, NULL, "planted");
	unsigned long end = jiffies + 20 * HZ;
	int i, seen = 0;

	if (IS_ERR(task))
		return;
	while (time_before(jiffies, end)) {
		/* Would pair with a release in message_writes(). */
		if (!smp_load_acquire(&flag)) {
			udelay(1);
			continue;
		}
		for (i = 0; i < MESSAGE; i++) {
			seen += racy;
			barrier();
		}
		/* Pairs with the dependency in message_writes(). */
		smp_store_release(&flag, 0);
	}
	wait_for_completion(&raced);
	pr_info("planted: %d\n", seen);
}

static const struct {
	const char *name;
	void (*plant)(void);
} bugs[] = {
	{ "none", plant_nothing },
	{ "after_free", plant_after_free },
	{ "out_of_bounds", plant_out_of_bounds },
	{ "leak", plant_leak },
	{ "abba", plant_abba },
	{ "nesting", plant_nesting },
	{ "atomic_sleep", plant_atomic_sleep },
	{ "shift", plant_shift },
	{ "timer", plant_timer },
	{ "work", plant_work },
	{ "refcount", plant_refcount },
	{ "list", plant_list },
	{ "page", plant_page },
	{ "race", plant_race },
	{ "barrier", plant_barrier },
};

static int __init planted_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bugs); i++) {
		if (!strcmp(bug, bugs[i].name)) {
			bugs[i].plant();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit planted_exit(void)
{
}

module_init(planted_init);
module_exit(planted_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("bugs of chipboot's debug kernels");
