/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: a request's stages, and what the ring and the maps do for it. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM blktap

#if !defined(_BLKTAP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _BLKTAP_TRACE_H

#include <linux/tracepoint.h>
#include <linux/blk-mq.h>

#define show_ring_op(op)					\
	__print_symbolic(op,					\
			 { BLKTAP_OP_READ,	"READ" },	\
			 { BLKTAP_OP_WRITE,	"WRITE" },	\
			 { BLKTAP_OP_FLUSH,	"FLUSH" },	\
			 { BLKTAP_OP_TRIM,	"TRIM" },	\
			 { BLKTAP_OP_LAYOUTGET,	"LAYOUTGET" },	\
			 { BLKTAP_OP_LAYOUTCOMMIT, "LAYOUTCOMMIT" }, \
			 { BLKTAP_OP_RECALLED,	"RECALLED" })

#define show_state(state)					\
	__print_symbolic(state,					\
			 { BLKTAP_EXT_READ_WRITE_DATA, "READ_WRITE_DATA" }, \
			 { BLKTAP_EXT_READ_DATA, "READ_DATA" },	\
			 { BLKTAP_EXT_INVALID_DATA, "INVALID_DATA" }, \
			 { BLKTAP_EXT_NONE_DATA, "NONE_DATA" },	\
			 { TAP_EXT_DIRTY, "DIRTY" })

DECLARE_EVENT_CLASS(blktap_rq,
	TP_PROTO(struct blktap *tap, struct request *rq),
	TP_ARGS(tap, rq),
	TP_STRUCT__entry(
		__field(u32, minor)
		__field(int, tag)
		__field(u32, op)
		__field(u64, sector)
		__field(u32, nr)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		__entry->tag = rq->tag;
		__entry->op = (__force u32)req_op(rq);
		__entry->sector = blk_rq_pos(rq);
		__entry->nr = blk_rq_sectors(rq);
	),
	TP_printk("tap %u tag %d op %u sector %llu+%u", __entry->minor,
		  __entry->tag, __entry->op, __entry->sector, __entry->nr)
);

/* A request comes from the block layer. */
DEFINE_EVENT(blktap_rq, blktap_queue,
	TP_PROTO(struct blktap *tap, struct request *rq), TP_ARGS(tap, rq));
/* It goes on in a work item. */
DEFINE_EVENT(blktap_rq, blktap_punt,
	TP_PROTO(struct blktap *tap, struct request *rq), TP_ARGS(tap, rq));
/* The layout is closed: it waits at the gate. */
DEFINE_EVENT(blktap_rq, blktap_gate,
	TP_PROTO(struct blktap *tap, struct request *rq), TP_ARGS(tap, rq));

TRACE_EVENT(blktap_end,
	TP_PROTO(struct blktap *tap, struct request *rq, blk_status_t status),
	TP_ARGS(tap, rq, status),
	TP_STRUCT__entry(
		__field(u32, minor)
		__field(int, tag)
		__field(u64, sector)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		__entry->tag = rq->tag;
		__entry->sector = blk_rq_pos(rq);
		__entry->error = blk_status_to_errno(status);
	),
	TP_printk("tap %u tag %d sector %llu error %d", __entry->minor,
		  __entry->tag, __entry->sector, __entry->error)
);

/* A hit: I/O on a part of a request begins, in the submitter's context or not. */
TRACE_EVENT(blktap_hit,
	TP_PROTO(struct blktap *tap, struct request *rq, struct tap_cmd *cmd),
	TP_ARGS(tap, rq, cmd),
	TP_STRUCT__entry(
		__field(u32, minor)
		__field(int, tag)
		__field(u64, sector)
		__field(u32, nr)
		__field(u8, state)
		__field(u8, file)
		__field(u64, at)
		__field(bool, nowait)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		__entry->tag = rq->tag;
		__entry->sector = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT);
		__entry->nr = cmd->part >> SECTOR_SHIFT;
		__entry->state = cmd->ext.state;
		__entry->file = cmd->ext.file;
		__entry->at = __entry->sector + cmd->ext.delta;
		__entry->nowait = cmd->nowait;
	),
	TP_printk("tap %u tag %d sector %llu+%u %s file %u sector %llu%s",
		  __entry->minor, __entry->tag, __entry->sector, __entry->nr,
		  show_state(__entry->state), __entry->file, __entry->at,
		  __entry->nowait ? " inline" : "")
);

TRACE_EVENT(blktap_post,
	TP_PROTO(struct blktap *tap, const struct blktap_ring_request *req,
		 u64 sector),
	TP_ARGS(tap, req, sector),
	TP_STRUCT__entry(
		__field(u32, minor)
		__field(u32, id)
		__field(u8, op)
		__field(u64, sector)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		__entry->id = req->id;
		__entry->op = req->operation;
		__entry->sector = sector;
	),
	TP_printk("tap %u slot %u %s sector %llu", __entry->minor, __entry->id,
		  show_ring_op(__entry->op), __entry->sector)
);

TRACE_EVENT(blktap_response,
	TP_PROTO(struct blktap *tap, u32 id, u8 op, blk_status_t status),
	TP_ARGS(tap, id, op, status),
	TP_STRUCT__entry(
		__field(u32, minor)
		__field(u32, id)
		__field(u8, op)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		__entry->id = id;
		__entry->op = op;
		__entry->error = blk_status_to_errno(status);
	),
	TP_printk("tap %u slot %u %s error %d", __entry->minor, __entry->id,
		  show_ring_op(__entry->op), __entry->error)
);

TRACE_EVENT(blktap_grant,
	TP_PROTO(struct blktap *tap, const struct tap_extent *ext, int err),
	TP_ARGS(tap, ext, err),
	TP_STRUCT__entry(
		__field(u32, minor)
		__field(u64, first)
		__field(u64, last)
		__field(u8, state)
		__field(u8, file)
		__field(s64, delta)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		__entry->first = ext->first;
		__entry->last = ext->last;
		__entry->state = ext->state;
		__entry->file = ext->file;
		__entry->delta = ext->delta;
		__entry->error = err;
	),
	TP_printk("tap %u sectors %llu-%llu %s file %u delta %lld%s",
		  __entry->minor, __entry->first, __entry->last,
		  show_state(__entry->state), __entry->file, __entry->delta,
		  __entry->error ? " stale" : "")
);

TRACE_EVENT(blktap_sync,
	TP_PROTO(struct blktap *tap, bool committed, int err),
	TP_ARGS(tap, committed, err),
	TP_STRUCT__entry(
		__field(u32, minor)
		__field(bool, committed)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		__entry->committed = committed;
		__entry->error = err;
	),
	TP_printk("tap %u%s error %d", __entry->minor,
		  __entry->committed ? " committed" : "", __entry->error)
);

/* The layout is closed, drained (of I/O in files) and opened again. */
TRACE_EVENT(blktap_recall,
	TP_PROTO(struct blktap *tap, const char *stage),
	TP_ARGS(tap, stage),
	TP_STRUCT__entry(
		__field(u32, minor)
		__string(stage, stage)
	),
	TP_fast_assign(
		__entry->minor = tap->minor;
		compat_assign_str(stage, stage);
	),
	TP_printk("tap %u %s", __entry->minor, __get_str(stage))
);

#endif /* _BLKTAP_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
