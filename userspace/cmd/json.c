// SPDX-License-Identifier: MIT
/*
 * JSON: json-c's, with two things that it leaves to its callers.  Text that is not
 * UTF-8 becomes valid (U+FFFD for what is not), and characters that a terminal would
 * obey are written as \u escapes, which mean the same.
 *
 * Called by events.c, report.c, status.c and observe.c.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "json.h"

void json_put(struct json_object *object, const char *key,
	      struct json_object *value)
{
	json_object_object_add(object, key, value);
}

void json_put_text(struct json_object *object, const char *key,
		   const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t left = text ? strlen(text) : 0;
	char *valid = NULL;
	size_t size;
	FILE *out;

	if (!text) {
		json_put(object, key, NULL);
		return;
	}
	out = open_memstream(&valid, &size);
	if (!out)
		return;
	while (left) {
		uint32_t character;
		unsigned int bytes = decode_utf8(at, left, &character);

		if (bytes)
			fwrite(at, 1, bytes, out);
		else
			fputs("\357\277\275", out);
		bytes += !bytes;
		at += bytes;
		left -= bytes;
	}
	if (!fclose(out))
		json_put(object, key, json_object_new_string_len(valid, size));
	free(valid);
}

void json_put_number(struct json_object *object, const char *key,
		     uint64_t number)
{
	json_put(object, key, json_object_new_uint64(number));
}

void json_put_status(struct json_object *object, uint16_t status)
{
	if (WIFSIGNALED(status))
		json_put_number(object, "signal", WTERMSIG(status));
	else
		json_put_number(object, "exit_code", WEXITSTATUS(status));
}

void json_put_payload(struct json_object *object,
		      const struct chipboot_answer *answer)
{
	struct json_object *buffers = json_object_new_array();
	int i;

	json_put_number(object, "device_ctx", answer->device_ctx);
	json_put_number(object, "window_base", answer->window_base);
	json_put_number(object, "window_size", answer->window_size);
	for (i = 0; i < answer->count; i++)
		json_object_array_add(buffers,
				      json_object_new_uint64(answer->words[i]));
	json_put(object, "buffers", buffers);
}

static void put_unicode(FILE *out, uint32_t character)
{
	if (character >= 0x10000) {
		character -= 0x10000;
		fprintf(out, "\\u%04x\\u%04x", 0xd800 + (character >> 10),
			0xdc00 + (character & 0x3ff));
	} else {
		fprintf(out, "\\u%04x", character);
	}
}

char *json_line(struct json_object *object, size_t *length)
{
	const unsigned char *at;
	char *line = NULL;
	size_t left;
	FILE *out = open_memstream(&line, length);

	if (!out) {
		json_object_put(object);
		return NULL;
	}
	at = (const unsigned char *)
		json_object_to_json_string_length(object,
						  JSON_C_TO_STRING_PLAIN |
						  JSON_C_TO_STRING_NOSLASHESCAPE,
						  &left);
	while (at && left) {
		uint32_t character;
		unsigned int bytes = decode_utf8(at, left, &character);

		/* Beyond ASCII only strings have characters. */
		if (bytes && character >= 0x7f && is_harmful(character))
			put_unicode(out, character);
		else
			fwrite(at, 1, bytes + !bytes, out);
		bytes += !bytes;
		at += bytes;
		left -= bytes;
	}
	fputc('\n', out);
	json_object_put(object);
	if (fclose(out)) {
		free(line);
		return NULL;
	}
	return line;
}
