/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: each answer, each death that counts, each reset.  Not ABI.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM chipboot

#if !defined(CHIPBOOT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define CHIPBOOT_TRACE_H

#include <linux/tracepoint.h>

#include "channel.h"

TRACE_EVENT(chipboot_publish,
	TP_PROTO(u64 session, u32 channel, const struct channel *ch),
	TP_ARGS(session, channel, ch),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, channel)
		__field(u32, generation)
		__field(u32, order)
		__field(u8, state)
		__field(u8, origin)
		__field(s32, error_code)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->channel = channel;
		__entry->generation = ch->generation;
		__entry->order = ch->order;
		__entry->state = ch->state;
		__entry->origin = ch->origin;
		__entry->error_code = ch->page->error_code;
	),
	TP_printk("session=%llu channel=%u generation=%u order=%u state=%u origin=%u error_code=%d",
		  __entry->session, __entry->channel, __entry->generation,
		  __entry->order, __entry->state, __entry->origin,
		  __entry->error_code)
);

TRACE_EVENT(chipboot_died,
	TP_PROTO(u64 session, u32 channel, u16 wait_status, bool oom_victim),
	TP_ARGS(session, channel, wait_status, oom_victim),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, channel)
		__field(u16, wait_status)
		__field(bool, oom_victim)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->channel = channel;
		__entry->wait_status = wait_status;
		__entry->oom_victim = oom_victim;
	),
	TP_printk("session=%llu channel=%u wait_status=%#x oom_victim=%d",
		  __entry->session, __entry->channel, __entry->wait_status,
		  __entry->oom_victim)
);

TRACE_EVENT(chipboot_reset,
	TP_PROTO(u64 session, u32 channel, u32 generation, bool keep),
	TP_ARGS(session, channel, generation, keep),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, channel)
		__field(u32, generation)
		__field(bool, keep)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->channel = channel;
		__entry->generation = generation;
		__entry->keep = keep;
	),
	TP_printk("session=%llu channel=%u generation=%u keep=%d",
		  __entry->session, __entry->channel, __entry->generation,
		  __entry->keep)
);

#endif /* CHIPBOOT_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
