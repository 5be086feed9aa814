// SPDX-License-Identifier: MIT
/*
 * Lists of chips, written like the kernel's cpulists: "0,2,5-7,8-14:2".
 *
 * Called by arguments.c.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "cmd.h"

/* More than any session can have. */
#define LIST_MAX (1 << 20)

static bool take_number(const char **at, uint32_t *number)
{
	uint64_t sum = 0;

	if (!isdigit((unsigned char)**at))
		return false;
	for (; isdigit((unsigned char)**at); (*at)++) {
		sum = sum * 10 + (**at - '0');
		if (sum > INT32_MAX)
			return false;
	}
	*number = sum;
	return true;
}

static bool take_range(const char **at, uint32_t *first, uint32_t *last,
		       uint32_t *step)
{
	*step = 1;
	if (!take_number(at, first))
		return false;
	*last = *first;
	if (**at != '-')
		return true;
	(*at)++;
	if (!take_number(at, last))
		return false;
	if (**at != ':')
		return true;
	(*at)++;
	return take_number(at, step) && *step;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool has_twice(const uint32_t *list, uint32_t count)
{
	uint32_t *sorted = malloc(count * sizeof(*sorted));
	bool twice = false;
	uint32_t i;

	if (!sorted)
		return false;
	for (i = 0; i < count; i++)
		sorted[i] = list[i];
	qsort(sorted, count, sizeof(*sorted), compare);
	for (i = 1; i < count; i++)
		twice |= sorted[i] == sorted[i - 1];
	free(sorted);
	return twice;
}

int parse_list(const char *text, uint32_t **numbers, const char **why)
{
	uint32_t *list = NULL;
	uint32_t count = 0;
	const char *at = text;

	for (;;) {
		uint32_t first, last, step;
		uint64_t number;

		if (!take_range(&at, &first, &last, &step) ||
		    (*at && *at != ',')) {
			*why = "is not a list like 0,2,5-7";
			goto fail;
		}
		if (last < first) {
			*why = "has a range that runs backwards";
			goto fail;
		}
		for (number = first; number <= last; number += step) {
			uint32_t *more;

			if (count == LIST_MAX) {
				*why = "is longer than any session";
				goto fail;
			}
			more = realloc(list, (count + 1) * sizeof(*list));
			if (!more) {
				*why = "is too long for the memory";
				goto fail;
			}
			list = more;
			list[count++] = number;
		}
		if (!*at)
			break;
		at++;
	}
	if (has_twice(list, count)) {
		*why = "names a chip twice";
		goto fail;
	}
	*numbers = list;
	return count;

fail:
	free(list);
	return -EINVAL;
}
