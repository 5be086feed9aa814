// SPDX-License-Identifier: MIT
/*
 * Text cut at a number of terminal columns, by the locale's widths.
 *
 * Called by screen.c, with text that escape.c has made harmless.
 */
#include <string.h>
#include <wchar.h>

#include "cmd.h"

/* Characters without width that may pile up on one that has some. */
#define PILE_MAX 4

unsigned int put_cut(FILE *out, const char *text, unsigned int columns)
{
	mbstate_t state = { 0 };
	unsigned int used = 0;
	unsigned int pile = 0;
	wchar_t character;

	while (*text) {
		size_t bytes = mbrtowc(&character, text, strlen(text), &state);
		int width;

		if (bytes == (size_t)-1 || bytes == (size_t)-2) {
			/* Not of this locale. */
			memset(&state, 0, sizeof(state));
			if (used == columns)
				break;
			fputc('?', out);
			used++;
			for (text++; (*text & 0xc0) == 0x80; text++)
				;
			continue;
		}
		width = wcwidth(character);
		pile = width ? 0 : pile + 1;
		if (width < 0 || pile > PILE_MAX) {
			text += bytes;
			continue;
		}
		if (used + width > columns)
			break;
		fwrite(text, 1, bytes, out);
		used += width;
		text += bytes;
	}
	return used;
}
