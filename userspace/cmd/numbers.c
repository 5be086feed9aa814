// SPDX-License-Identifier: MIT
/*
 * Numbers from the command line: all of the text must be the number, and it must
 * fit.
 *
 * Called by run.c and publish.c.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "cmd.h"

/* Any base as C writes it; strtoull() alone takes "-1" and " 1". */
int parse_u64(const char *text, uint64_t *value)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 0);
	if (*end)
		return -EINVAL;
	if (errno)
		return -errno;
	*value = number;
	return 0;
}

int parse_s32(const char *text, int32_t *value)
{
	bool negative = *text == '-';
	uint64_t magnitude;
	int ret = parse_u64(negative ? text + 1 : text, &magnitude);

	if (ret < 0)
		return ret;
	if (magnitude > (uint64_t)INT32_MAX + negative)
		return -ERANGE;
	*value = negative ? (int32_t)-(int64_t)magnitude : (int32_t)magnitude;
	return 0;
}

/* Seconds, with a fraction, as nanoseconds. */
int parse_seconds(const char *text, uint64_t *ns)
{
	double seconds;
	char *end;

	/* Not "inf", "nan", "-1", " 1", nor hexadecimal. */
	if (!isdigit((unsigned char)*text) && *text != '.')
		return -EINVAL;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return -EINVAL;
	seconds = strtod(text, &end);
	if (end == text || *end)
		return -EINVAL;
	/* The kernel's clocks end at 2^63 ns, 292 years. */
	if (!isfinite(seconds) || seconds >= 9e9)
		return -ERANGE;
	*ns = seconds * 1e9;
	return 0;
}
