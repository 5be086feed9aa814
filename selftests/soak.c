// SPDX-License-Identifier: GPL-2.0-only
/* vm: --cpus 2 --mem 1024 --timeout 7200 */
/*
 * Random rounds of 1 to 512 chips with random deaths, for as long as one likes.
 *
 *	soak [SECONDS [SEED]]
 *
 * `make test` has it run for 20 seconds, `make soak` for an hour in the KASAN kernel.
 * A host process brings up its chips, as a launcher would, and is sometimes killed
 * itself; this one watches with an observer.  What each chip will do follows from the
 * seed, so that everybody knows what is to be read in the end: an answer that is not
 * there, or is another, is lost.  The last two lines before the verdict are the sums.
 */
#include "process_test.h"

#define CHIPS_MAX	512
#define TOLD_MAX	20	/* complaints that are printed */
#define HANG_NS		(200 * 1000000ull)

enum fate {
	ANSWERS,		/* SUCCESS, and ends when it is told to */
	ANSWERS_AND_DIES,	/* SUCCESS, and dies of itself: GONE */
	FAILS,			/* ERROR */
	EXITS,			/* without an answer */
	KILLS_ITSELF,
	CLOSES,			/* its handle, and lives on */
	IS_KILLED,		/* by its host, while it sleeps */
	HANGS,			/* until the deadline */
	FATES
};

static const char * const fate_name[FATES] = {
	"answers", "answers and dies", "fails", "exits", "kills itself", "closes",
	"is killed", "hangs",
};

/* What everybody sees: set by the watcher before a round, and the sums. */
static struct soak {
	__u64 seed;		/* of the round's generation */
	__u32 chips;
	__u32 generation;
	bool hangs;		/* somebody does */
	bool bound;		/* all of them are */
	bool host_dies;
	pid_t pid[CHIPS_MAX];
	__u64 lost, told, deaths, rounds, generations, channels, hosts;
	__u64 of_fate[FATES];
} *soak;

static __u64 mix(__u64 x)
{
	/* splitmix64's last step */
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static __u64 chip_random(__u32 chip, __u32 what)
{
	return mix(soak->seed + chip * 64ull + what);
}

static enum fate fate_of(__u32 chip)
{
	__u64 r = chip_random(chip, 0);

	/* in every fourth generation nobody fails */
	if (soak->seed % 4 == 0 || r % 8 < 4)
		return ANSWERS;
	r = (r >> 8) % (soak->hangs ? FATES : HANGS);
	return (enum fate)r;
}

static int exit_code_of(__u32 chip)
{
	return (int)(chip_random(chip, 1) % 256);
}

static int signal_of(__u32 chip)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGSEGV, SIGABRT, SIGUSR1 };

	return signals[chip_random(chip, 2) % 5];
}

static struct chipboot_publish success_of(__u32 chip, __u64 *words)
{
	return cb_a_success(soak->generation, chip_random(chip, 3), words,
			    (__u32)(chip_random(chip, 4) % 17));
}

static const char *error_text_of(__u32 chip, char *buf, size_t size)
{
	snprintf(buf, size, "chip %u has had enough of %#llx", chip,
		 (unsigned long long)soak->seed);
	return buf;
}

/* Is the process one that ends by itself or by its host's hand, and is bound? */
static bool dies(enum fate fate)
{
	return fate == ANSWERS_AND_DIES || fate == EXITS || fate == KILLS_ITSELF ||
	       fate == IS_KILLED;
}

static bool is_bound(__u32 chip)
{
	/* who nobody can tell of otherwise is */
	return soak->bound || fate_of(chip) == IS_KILLED || chip_random(chip, 5) % 4;
}

/* ---- a chip's process --------------------------------------------------------- */

static void die_of(__u32 chip)
{
	if (chip_random(chip, 6) % 2)
		_exit(exit_code_of(chip));
	raise(signal_of(chip));
}

static void be_chip(__u32 chip, int publisher, int end)
{
	const enum fate fate = fate_of(chip);
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p;
	char text[64];
	char c;

	cb_progress(publisher, soak->generation, fate_name[fate]);
	switch (fate) {
	case ANSWERS:
	case ANSWERS_AND_DIES:
		p = success_of(chip, words);
		cb_publish(publisher, &p);
		if (fate == ANSWERS_AND_DIES)
			die_of(chip);
		break;
	case FAILS:
		error_text_of(chip, text, sizeof(text));
		cb_error(publisher, soak->generation, (int)chip, text);
		break;
	case EXITS:
		_exit(exit_code_of(chip));
	case KILLS_ITSELF:
		raise(signal_of(chip));
		break;
	case CLOSES:
		close(publisher);
		break;
	default:
		break;
	}
	/* with the host dead it is the death signal that ends it */
	while (soak->host_dies)
		pause();
	while (read(end, &c, 1) > 0)
		;
	_exit(0);
}

/* ---- the host's process ----------------------------------------------------------- */

static void host_gives_up(const char *what, int ret)
{
	printf("# host: %s: %s\n", what, strerror(-ret));
	fflush(stdout);
	_exit(1);
}

static void lose(__u32 chip, const char *what, const struct chipboot_page *page)
{
	__atomic_add_fetch(&soak->lost, 1, __ATOMIC_RELAXED);
	if (__atomic_add_fetch(&soak->told, 1, __ATOMIC_RELAXED) > TOLD_MAX)
		return;
	printf("# seed %#llx, chip %u of %u, which %s: %s: state %d, origin %u, code %d, flags %#x, status %#x, '%s'\n",
	       (unsigned long long)soak->seed, chip, soak->chips,
	       fate_name[fate_of(chip)], what, page->state, page->origin,
	       page->error_code, page->flags, page->wait_status, page->message);
	fflush(stdout);
}

static void start_chip(int owner, __u32 chip, int end[2])
{
	__u32 generation;
	int publisher = cb_claim(owner, chip, &generation);
	pid_t pid;
	int ret;

	if (publisher < 0)
		host_gives_up("CLAIM", publisher);
	pid = fork();
	if (pid < 0)
		host_gives_up("fork", -errno);
	if (!pid) {
		close(owner);
		close(end[1]);
		be_chip(chip, publisher, end[0]);
	}
	soak->pid[chip] = pid;
	if (is_bound(chip)) {
		ret = cb_bind(publisher, pid, SIGKILL);
		if (ret)
			host_gives_up("BIND", ret);
	}
	close(publisher);
	soak->of_fate[fate_of(chip)]++;
}

/* After everybody has ended: a death is in the page, in waitpid()'s words. */
static void host_reaps(int observer)
{
	struct chipboot_page page;
	__u32 i;

	for (i = 0; i < soak->chips; i++) {
		const int status = cb_reap(soak->pid[i]);
		const bool status_valid = is_bound(i);

		if (dies(fate_of(i)) || status)
			soak->deaths++;
		if (cb_read(observer, i, &page))
			host_gives_up("READ", -EIO);
		if (page.state == CHIPBOOT_SUCCESS && status_valid &&
		    !(page.flags & CHIPBOOT_PAGE_GONE))
			lose(i, "is dead, and not GONE", &page);
		if ((page.flags & CHIPBOOT_PAGE_STATUS_VALID) &&
		    page.wait_status != (__u16)status)
			lose(i, "waitpid() has another status", &page);
		if (page.origin == CHIPBOOT_ORIGIN_EXIT &&
		    !(page.flags & CHIPBOOT_PAGE_STATUS_VALID))
			lose(i, "died without a status", &page);
	}
}

static void host_generation(struct pt_kid *me, int owner, int observer)
{
	int end[2], ret;
	__u32 i;

	if (pipe2(end, O_CLOEXEC))
		host_gives_up("pipe", -errno);
	for (i = 0; i < soak->chips; i++)
		start_chip(owner, i, end);
	close(end[0]);
	pt_say(me);
	if (soak->host_dies)
		pt_sleep_for_ever();
	for (i = 0; i < soak->chips; i++) {
		if (fate_of(i) == IS_KILLED)
			kill(soak->pid[i], signal_of(i));
	}
	if (soak->hangs) {
		ret = cb_deadline(owner, HANG_NS, 0);
		if (ret)
			host_gives_up("SET_DEADLINE", ret);
	}
	pt_wait_go(me);
	close(end[1]);
	host_reaps(observer);
	pt_say(me);
}

static void be_host(struct pt_kid *me, int control, int sock)
{
	int owner = cb_create(control, soak->chips, NULL);
	int observer, ret;

	if (owner < 0)
		host_gives_up("CREATE", owner);
	observer = cb_observe(owner, CHIPBOOT_EVENT_COMPLETE);
	if (observer < 0)
		host_gives_up("OBSERVE", observer);
	ret = cb_send_fds(sock, &observer, 1);
	if (ret)
		host_gives_up("sendmsg", ret);
	for (;;) {
		pt_wait_go(me);
		if (!soak->chips)
			_exit(0);
		if (soak->generation > 1) {
			ret = cb_deadline(owner, 0, 0);
			if (!ret)
				ret = cb_reset(owner, 0, soak->chips, 0);
			if (ret)
				host_gives_up("RESET", ret);
		}
		host_generation(me, owner, observer);
	}
}

/* ---- the watcher ------------------------------------------------------------------ */

static bool is_success_of(__u32 chip, const struct chipboot_page *page)
{
	__u64 words[CHIPBOOT_WORDS_MAX];
	struct chipboot_publish p = success_of(chip, words);

	return page->state == CHIPBOOT_SUCCESS &&
	       page->origin == CHIPBOOT_ORIGIN_PUBLISHER &&
	       page->device_ctx == p.device_ctx &&
	       page->local_window_base == p.local_window_base &&
	       page->actual_window_size == p.actual_window_size &&
	       page->count == (__s32)p.count &&
	       !memcmp(page->words, words, p.count * sizeof(words[0]));
}

static bool died_by_its_fate(__u32 chip, const struct chipboot_page *page)
{
	const int status = page->wait_status & ~0x80;

	if (!is_bound(chip))
		return page->origin == CHIPBOOT_ORIGIN_CLOSED;
	if (page->origin != CHIPBOOT_ORIGIN_EXIT)
		return false;
	return status == (fate_of(chip) == EXITS ? exit_code_of(chip) << 8 :
			  signal_of(chip));
}

/* Is it what this chip's fate gives, by itself? */
static bool is_its_fate(__u32 chip, const struct chipboot_page *page)
{
	char text[64];

	switch (fate_of(chip)) {
	case ANSWERS:
	case ANSWERS_AND_DIES:
		return is_success_of(chip, page);
	case FAILS:
		return page->state == CHIPBOOT_ERROR &&
		       page->origin == CHIPBOOT_ORIGIN_PUBLISHER &&
		       page->error_code == (__s32)chip &&
		       !strcmp(page->message, error_text_of(chip, text, sizeof(text)));
	case CLOSES:
		return page->state == CHIPBOOT_ERROR &&
		       page->origin == CHIPBOOT_ORIGIN_CLOSED &&
		       page->error_code == -EOWNERDEAD;
	case HANGS:
		return page->state == CHIPBOOT_ERROR &&
		       page->origin == CHIPBOOT_ORIGIN_DEADLINE;
	default:
		return page->state == CHIPBOOT_ERROR && page->error_code == -EOWNERDEAD &&
		       died_by_its_fate(chip, page);
	}
}

/* Or what has come before it: the deadline, or the end of all by the host's death. */
static bool is_overtaken(const struct chipboot_page *page)
{
	if (page->state != CHIPBOOT_ERROR)
		return false;
	if (soak->hangs && page->origin == CHIPBOOT_ORIGIN_DEADLINE)
		return page->error_code == -ETIMEDOUT;
	return soak->host_dies && page->origin == CHIPBOOT_ORIGIN_EXIT &&
	       (page->wait_status & 0x7f) == SIGKILL;
}

static void snapshot(struct chipboot_page *copy, const struct chipboot_page *page)
{
	__u32 seq;

	do {
		seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);
		memcpy(copy, page, sizeof(*copy));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while ((seq & 1) || seq != __atomic_load_n(&page->seq, __ATOMIC_RELAXED));
}

static void look(const char *map, size_t stride)
{
	struct chipboot_page page;
	__u32 i;

	for (i = 0; i < soak->chips; i++) {
		snapshot(&page, (const void *)(map + i * stride));
		if (page.generation != soak->generation)
			lose(i, "another generation", &page);
		else if (page.state == CHIPBOOT_IDLE)
			lose(i, "no answer", &page);
		else if (!is_its_fate(i, &page) && !is_overtaken(&page))
			lose(i, "another answer", &page);
	}
}

static bool wait_complete(int observer)
{
	struct pollfd p = { .fd = observer, .events = POLLIN };
	__u64 end = cb_now() + (__u64)CB_PATIENCE_MS * 1000000u;
	struct chipboot_status st;
	int ret;

	for (;;) {
		/* POLLHUP alone is the host's death: it does not end the round */
		ret = poll(&p, 1, CB_PATIENCE_MS);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret > 0 && (p.revents & POLLIN))
			return true;
		if (cb_now() > end)
			break;
		usleep(1000);
	}
	cb_status(observer, 0, 0, &st);
	printf("# seed %#llx: %u of %u chips have no answer after %d s\n",
	       (unsigned long long)soak->seed, st.idle, soak->chips,
	       CB_PATIENCE_MS / 1000);
	return false;
}

/* One generation; false: the session is over. */
static bool watch(struct pt_kid *host, int observer, const char *map, size_t stride)
{
	int ret;

	pt_go(host);
	ret = pt_await(host);
	if (ret) {
		printf("# seed %#llx: the host does not start: %s\n",
		       (unsigned long long)soak->seed, strerror(-ret));
		soak->lost++;
		return false;
	}
	if (soak->host_dies) {
		usleep((useconds_t)(mix(soak->seed ^ 1) % 2000));
		kill(host->pid, SIGKILL);
		soak->hosts++;
		soak->deaths += 1 + soak->chips;
	}
	if (!wait_complete(observer))
		soak->lost++;
	look(map, stride);
	soak->generations++;
	soak->channels += soak->chips;
	if (soak->host_dies)
		return false;
	pt_go(host);
	return !pt_await(host);
}

static void plan(__u64 seed, __u32 generation)
{
	__u64 r = mix(seed);
	__u32 most = 1u << (r % 10);

	soak->seed = mix(seed + generation);
	soak->generation = generation;
	soak->chips = 1 + (__u32)((r >> 8) % most);
	if (r % 10 == 9 && (r >> 20) % 8 == 0)
		soak->chips = CHIPS_MAX;
	soak->hangs = soak->seed % 16 == 3;
	soak->host_dies = soak->seed % 8 == 5;
	/* without their host nobody ends those that are not */
	soak->bound = soak->host_dies;
}

static void one_round(int control, __u64 seed)
{
	const __u32 generations = 1 + (__u32)(mix(seed ^ 2) % 3);
	const size_t stride = (size_t)sysconf(_SC_PAGESIZE);
	int pair[2], observer = -1;
	struct pt_kid host;
	const char *map;
	size_t size;
	pid_t pid;
	__u32 i;

	plan(seed, 1);
	size = soak->chips * stride;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) || pt_prepare(&host))
		ksft_exit_fail_msg("no descriptors: %s\n", strerror(errno));
	pid = pt_fork_prepared(&host);
	if (!pid)
		be_host(&host, control, pair[1]);
	if (pid < 0)
		ksft_exit_fail_msg("fork: %s\n", strerror(-pid));
	if (cb_recv_fds(pair[0], &observer, 1))
		ksft_exit_fail_msg("no observer\n");
	map = cb_map(observer, (__u32)stride, 0, soak->chips);
	if (!map)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	for (i = 1; i <= generations; i++) {
		const __u32 chips = soak->chips;

		plan(seed, i);
		soak->chips = chips;
		if (!watch(&host, observer, map, stride))
			break;
	}
	if (!soak->host_dies) {
		soak->chips = 0;
		pt_go(&host);
	}
	/* its chips are orphans, which end here */
	pt_kill_all();
	munmap((void *)(uintptr_t)map, size);
	close(observer);
	close(pair[0]);
	close(pair[1]);
	pt_forget(&host);
	soak->rounds++;
}

static void report(__u64 begin)
{
	int i;

	ksft_print_msg("%llu s: %llu rounds, %llu generations, %llu channels, %llu deaths, of them %llu hosts, lost %llu\n",
		       (cb_now() - begin) / 1000000000u, soak->rounds,
		       soak->generations, soak->channels, soak->deaths, soak->hosts,
		       soak->lost);
	ksft_print_msg("of the chips");
	for (i = 0; i < FATES; i++)
		printf("%s %llu %s", i ? "," : "", soak->of_fate[i], fate_name[i]);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const __u64 seconds = argc > 1 ? strtoull(argv[1], NULL, 0) : 20;
	const __u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : cb_now();
	__u64 begin = cb_now(), told = begin, now = begin, round = 0;
	int control;

	(void)test_harness_run;		/* of its header only the rest is used */
	ksft_print_header();
	ksft_set_plan(1);
	soak = cb_shared(sizeof(*soak));
	if (!soak || pt_adopt_orphans())
		ksft_exit_fail_msg("no memory: %s\n", strerror(errno));
	control = cb_open();
	if (control < 0)
		ksft_exit_fail_msg("%s: %s\n", CB_DEVICE, strerror(-control));
	ksft_print_msg("seed %#llx\n", seed);
	fflush(stdout);
	while (now < begin + seconds * 1000000000u && soak->lost < TOLD_MAX) {
		one_round(control, mix(seed + round++));
		now = cb_now();
		if (now > told + 300 * 1000000000ull) {
			report(begin);
			told = now;
		}
	}
	report(begin);
	close(control);
	ksft_test_result(soak->rounds && !soak->lost, "soak\n");
	ksft_finished();
}
