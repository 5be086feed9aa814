// SPDX-License-Identifier: MIT
/*
 * Times, and how they are written.
 */
#include <time.h>

#include "cmd.h"

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

uint64_t now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

void put_wall(FILE *out, uint64_t wall)
{
	time_t seconds = wall / NS_PER_S;
	struct tm parts;
	char text[32];

	gmtime_r(&seconds, &parts);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	fprintf(out, "%s.%06uZ", text, (unsigned int)(wall % NS_PER_S / 1000));
}

void put_age(FILE *out, uint64_t ns)
{
	if (ns < 10 * NS_PER_S)
		fprintf(out, "%.1f s", ns / 1e9);
	else
		fprintf(out, "%llu s", (unsigned long long)(ns / NS_PER_S));
}
