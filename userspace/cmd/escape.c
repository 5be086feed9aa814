// SPDX-License-Identifier: MIT
/*
 * Text of a runtime process made harmless for a terminal: control characters,
 * those that turn the writing direction, and what is not UTF-8 become visible
 * escapes.
 *
 * Called by run.c and table.c.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

/*
 * One character of valid UTF-8 at @text: its bytes, or 0 if it is none.  Overlong
 * forms, surrogates and what lies beyond U+10FFFF are not valid.
 */
static unsigned int decode(const unsigned char *text, uint32_t *character)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned int length, i;

	if (text[0] < 0x80) {
		*character = text[0];
		return 1;
	}
	if (text[0] >= 0xf0 && text[0] < 0xf8)
		length = 4;
	else if (text[0] >= 0xe0 && text[0] < 0xf0)
		length = 3;
	else if (text[0] >= 0xc0 && text[0] < 0xe0)
		length = 2;
	else
		return 0;
	*character = text[0] & (0x7f >> length);
	for (i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		*character = *character << 6 | (text[i] & 0x3f);
	}
	if (*character < smallest[length] || *character > 0x10ffff ||
	    (*character >= 0xd800 && *character <= 0xdfff))
		return 0;
	return length;
}

static bool harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ||	/* C0, DEL, C1 */
	       (c >= 0x200b && c <= 0x200f) ||		/* invisible, direction */
	       (c >= 0x2028 && c <= 0x202e) ||		/* line ends, direction */
	       (c >= 0x2060 && c <= 0x206f) ||		/* invisible, direction */
	       c == 0x61c || c == 0xfeff ||
	       (c >= 0xe0000 && c <= 0xe007f);		/* tags */
}

char *escape(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	char *result = NULL;
	uint32_t character;
	unsigned int bytes;
	size_t size;
	FILE *out;

	out = open_memstream(&result, &size);
	if (!out)
		return NULL;
	for (; *at; at += bytes) {
		bytes = decode(at, &character);
		if (!bytes) {
			fprintf(out, "\\x%02x", *at);
			bytes = 1;
		} else if (character == '\n') {
			fputs("\\n", out);
		} else if (character == '\t') {
			fputs("\\t", out);
		} else if (character == '\\') {
			/* Or a text could pretend to be an escape. */
			fputs("\\\\", out);
		} else if (harmful(character)) {
			fprintf(out, character < 0x80 ? "\\x%02x" : "\\u{%x}",
				character);
		} else {
			fwrite(at, 1, bytes, out);
		}
	}
	if (fclose(out)) {
		free(result);
		return NULL;
	}
	return result;
}
