/* SPDX-License-Identifier: MIT */
/*
 * JSON objects as the command writes them, on top of json-c.
 */
#ifndef CHIPBOOT_JSON_H
#define CHIPBOOT_JSON_H

#include <json-c/json.h>

#include "cmd.h"

void json_put(struct json_object *object, const char *key,
	      struct json_object *value);
void json_put_text(struct json_object *object, const char *key,
		   const char *text);
void json_put_number(struct json_object *object, const char *key,
		     uint64_t number);
/* "exit_code" or "signal" */
void json_put_status(struct json_object *object, uint16_t status);
/* device_ctx, window_base, window_size, buffers */
void json_put_payload(struct json_object *object,
		      const struct chipboot_answer *answer);
/* One line with its newline, to be freed; NULL without memory.  Frees @object. */
char *json_line(struct json_object *object, size_t *length);

#endif /* CHIPBOOT_JSON_H */
