// SPDX-License-Identifier: MIT
/*
 * Text of a runtime process made harmless for a terminal: control characters,
 * those that turn the writing direction, and what is not UTF-8 become visible
 * escapes.
 *
 * Called by whoever shows such text.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

/*
 * One character of valid UTF-8 at @text, which has at least 1 byte: how many bytes it
 * takes, or 0 if it is none.  Overlong forms, surrogates and what lies beyond U+10FFFF
 * are not valid.
 */
unsigned int decode_utf8(const unsigned char *text, size_t size,
			 uint32_t *character)
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
	if (length > size)
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

bool is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ||	/* C0, DEL, C1 */
	       (c >= 0x200b && c <= 0x200f) ||		/* invisible, direction */
	       (c >= 0x2028 && c <= 0x202e) ||		/* line ends, direction */
	       (c >= 0x2060 && c <= 0x206f) ||		/* invisible, direction */
	       c == 0x61c || c == 0xfeff ||
	       (c >= 0xe0000 && c <= 0xe007f);		/* tags */
}

/* Bytes of a sequence at @text that only sets colours (ESC [ digits ; m), else 0. */
static size_t colour_sequence(const char *text, size_t length)
{
	size_t i;

	if (length < 3 || text[0] != '\033' || text[1] != '[')
		return 0;
	for (i = 2; i < length; i++) {
		if (text[i] == 'm')
			return i + 1;
		if ((text[i] < '0' || text[i] > '9') && text[i] != ';' &&
		    text[i] != ':')
			return 0;
	}
	return 0;
}

void escape_to(FILE *out, const char *text, size_t length, unsigned int flags)
{
	bool colour = flags & ESCAPE_KEEPS_COLOUR;
	const char *end = text + length;
	uint32_t character;
	size_t bytes;

	for (; text < end; text += bytes) {
		const unsigned char *at = (const unsigned char *)text;

		bytes = decode_utf8(at, end - text, &character);
		if (!bytes) {
			fprintf(out, "\\x%02x", *at);
			bytes = 1;
			continue;
		}
		if (colour) {
			size_t sequence = colour_sequence(text, end - text);

			if (sequence || character == '\t' || character == '\\') {
				if (sequence)
					bytes = sequence;
				fwrite(text, 1, bytes, out);
				continue;
			}
		}
		if (character == '\n')
			fputs("\\n", out);
		else if (character == '\t')
			fputs("\\t", out);
		else if (character == '\\')
			/* Or a text could pretend to be an escape. */
			fputs("\\\\", out);
		else if (is_harmful(character))
			fprintf(out, character < 0x80 ? "\\x%02x" : "\\u{%x}",
				character);
		else
			fwrite(text, 1, bytes, out);
	}
}

char *escape(const char *text)
{
	char *result = NULL;
	size_t size;
	FILE *out = open_memstream(&result, &size);

	if (!out)
		return NULL;
	escape_to(out, text, strlen(text), 0);
	if (fclose(out)) {
		free(result);
		return NULL;
	}
	return result;
}
