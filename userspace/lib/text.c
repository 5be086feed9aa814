// SPDX-License-Identifier: MIT
/*
 * How much of a text fits into a channel's page, without cutting a UTF-8 character
 * in half.
 *
 * Called by session.c (abort), publisher.c and mailbox.c.
 */
#include <string.h>

#include "internal.h"

/* Bytes of the character that @lead starts; 1 for what starts none. */
static unsigned int character_length(unsigned char lead)
{
	if (lead >= 0xf0 && lead < 0xf8)
		return 4;
	if (lead >= 0xe0 && lead < 0xf0)
		return 3;
	if (lead >= 0xc0 && lead < 0xe0)
		return 2;
	return 1;
}

/*
 * Bytes of @text that fit, if it has @length bytes before its end.  Only a character
 * that the edge really splits is dropped: text of another encoding keeps its 1023
 * bytes.
 */
uint32_t cb_text_fit(const char *text, size_t length)
{
	unsigned int back;

	if (length <= CHIPBOOT_MAX_TEXT)
		return length;
	for (back = 1; back <= 3; back++) {
		unsigned char byte = text[CHIPBOOT_MAX_TEXT - back];

		if ((byte & 0xc0) == 0x80)
			continue;
		if (character_length(byte) > back &&
		    (text[CHIPBOOT_MAX_TEXT] & 0xc0) == 0x80)
			return CHIPBOOT_MAX_TEXT - back;
		break;
	}
	return CHIPBOOT_MAX_TEXT;
}

/* Bytes of @text to publish; sets CHIPBOOT_PUBLISH_TRUNCATED if that is not all. */
uint32_t cb_text_length(const char *text, uint32_t *flags)
{
	size_t length = strnlen(text, CHIPBOOT_MAX_TEXT + 1);

	if (length > CHIPBOOT_MAX_TEXT)
		*flags |= CHIPBOOT_PUBLISH_TRUNCATED;
	return cb_text_fit(text, length);
}
