// SPDX-License-Identifier: GPL-2.0-only
/* Attributes of netlink messages to and from our structures. */
#include "message.h"

#include <errno.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static struct nla_policy policy[BLKTAP_A_MAX + 1] = {
	[BLKTAP_A_MINOR] = { .type = NLA_U32 },
	[BLKTAP_A_PID] = { .type = NLA_U32 },
	[BLKTAP_A_NAME] = { .type = NLA_STRING },
	[BLKTAP_A_STATE] = { .type = NLA_U32 },
	[BLKTAP_A_RDONLY] = { .type = NLA_FLAG },
	[BLKTAP_A_FORCE] = { .type = NLA_FLAG },
	[BLKTAP_A_TIMEOUT] = { .type = NLA_U32 },
	[BLKTAP_A_ERROR] = { .type = NLA_U32 },
	[BLKTAP_A_TEXT] = { .type = NLA_STRING },
	[BLKTAP_A_EVENT] = { .type = NLA_U32 },
	[BLKTAP_A_RING_MAJOR] = { .type = NLA_U32 },
	[BLKTAP_A_DISK_MAJOR] = { .type = NLA_U32 },
	[BLKTAP_A_DISK] = { .type = NLA_STRING },
	[BLKTAP_A_CAPACITY] = { .type = NLA_U64 },
	[BLKTAP_A_SECTOR_SIZE] = { .type = NLA_U32 },
	[BLKTAP_A_OPENERS] = { .type = NLA_U32 },
	[BLKTAP_A_NR_TAPS] = { .type = NLA_U32 },
	[BLKTAP_A_POOL] = { .type = NLA_STRING },
	[BLKTAP_A_POOL_PAGES] = { .type = NLA_U32 },
	[BLKTAP_A_POOL_FREE] = { .type = NLA_U32 },
	[BLKTAP_A_COUNTERS] = { .type = NLA_NESTED },
	[BLKTAP_A_RING_MODE] = { .type = NLA_FLAG },
	[BLKTAP_A_REQUEST_TIMEOUT] = { .type = NLA_U32 },
	[BLKTAP_A_ON_TIMEOUT] = { .type = NLA_U32 },
	[BLKTAP_A_DOMID] = { .type = NLA_U32 },
	[BLKTAP_A_DEVID] = { .type = NLA_U32 },
	[BLKTAP_A_COOKIE] = { .type = NLA_U32 },
	[BLKTAP_A_VBD] = { .type = NLA_NESTED },
};

#define FIELD(name)	offsetof(struct message, name)

/* Where the u32 and string attributes go. */
static const struct {
	enum blktap_attr attr;
	size_t offset;
} fields[] = {
	{ BLKTAP_A_MINOR, FIELD(minor) },
	{ BLKTAP_A_PID, FIELD(pid) },
	{ BLKTAP_A_NAME, FIELD(name) },
	{ BLKTAP_A_STATE, FIELD(state) },
	{ BLKTAP_A_ERROR, FIELD(error) },
	{ BLKTAP_A_TEXT, FIELD(text) },
	{ BLKTAP_A_EVENT, FIELD(event) },
	{ BLKTAP_A_DISK_MAJOR, FIELD(disk_major) },
	{ BLKTAP_A_DISK, FIELD(disk) },
	{ BLKTAP_A_SECTOR_SIZE, FIELD(sector_size) },
	{ BLKTAP_A_OPENERS, FIELD(openers) },
	{ BLKTAP_A_NR_TAPS, FIELD(nr_taps) },
	{ BLKTAP_A_POOL, FIELD(pool) },
	{ BLKTAP_A_POOL_PAGES, FIELD(pool_pages) },
	{ BLKTAP_A_POOL_FREE, FIELD(pool_free) },
	{ BLKTAP_A_REQUEST_TIMEOUT, FIELD(request_timeout) },
	{ BLKTAP_A_ON_TIMEOUT, FIELD(on_timeout) },
	{ BLKTAP_A_DOMID, FIELD(vbd.domid) },
	{ BLKTAP_A_DEVID, FIELD(vbd.devid) },
	{ BLKTAP_A_COOKIE, FIELD(vbd.cookie) },
};

void message_free(struct message *msg)
{
	free(msg->name);
	free(msg->text);
	free(msg->disk);
	free(msg->pool);
	msg->name = NULL;
	msg->text = NULL;
	msg->disk = NULL;
	msg->pool = NULL;
}

static int read_fields(struct message *msg, struct nlattr **attrs)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct nlattr *a = attrs[fields[i].attr];
		void *field = (char *)msg + fields[i].offset;

		if (!a)
			continue;
		if (policy[fields[i].attr].type == NLA_U32) {
			*(uint32_t *)field = nla_get_u32(a);
			continue;
		}
		*(char **)field = nla_strdup(a);
		if (!*(char **)field)
			return -ENOMEM;
	}
	return 0;
}

static void read_counters(struct message *msg, struct nlattr *nest)
{
	struct nlattr *a;
	int rem;

	nla_for_each_nested(a, nest, rem) {
		int type = nla_type(a);

		if (type <= BLKTAP_C_MAX && nla_len(a) == sizeof(uint64_t))
			msg->counters[type] = nla_get_u64(a);
	}
}

/* The one attribute of which there may be several. */
static void read_vbds(struct message *msg, struct nlmsghdr *nlh)
{
	struct genlmsghdr *hdr = genlmsg_hdr(nlh);
	struct nlattr *attrs[BLKTAP_A_MAX + 1], *a;
	int rem;

	nla_for_each_attr(a, genlmsg_attrdata(hdr, 0), genlmsg_attrlen(hdr, 0), rem) {
		struct vbd_ids *vbd = &msg->vbds[msg->nr_vbds];

		if (nla_type(a) != BLKTAP_A_VBD || msg->nr_vbds == VBDS_MAX ||
		    nla_parse_nested(attrs, BLKTAP_A_MAX, a, policy) ||
		    !attrs[BLKTAP_A_DOMID] || !attrs[BLKTAP_A_DEVID])
			continue;
		vbd->domid = nla_get_u32(attrs[BLKTAP_A_DOMID]);
		vbd->devid = nla_get_u32(attrs[BLKTAP_A_DEVID]);
		msg->nr_vbds++;
	}
}

int message_read(struct message *msg, struct nlmsghdr *nlh)
{
	struct nlattr *attrs[BLKTAP_A_MAX + 1];
	int err;

	*msg = (struct message){ 0 };
	if (!genlmsg_valid_hdr(nlh, 0) || genlmsg_parse(nlh, 0, attrs, BLKTAP_A_MAX, policy)) {
		report("the kernel's answer is malformed: do module and tools match?");
		return -EBADMSG;
	}
	msg->cmd = genlmsg_hdr(nlh)->cmd;
	for (int i = 0; i <= BLKTAP_A_MAX; i++)
		if (attrs[i])
			msg->has |= 1U << i;
	if (attrs[BLKTAP_A_CAPACITY])
		msg->capacity = nla_get_u64(attrs[BLKTAP_A_CAPACITY]);
	if (attrs[BLKTAP_A_COUNTERS])
		read_counters(msg, attrs[BLKTAP_A_COUNTERS]);
	if (attrs[BLKTAP_A_VBD])
		read_vbds(msg, nlh);
	err = read_fields(msg, attrs);
	if (err) {
		message_free(msg);
		report("reading the kernel's answer: out of memory");
	}
	return err;
}

int message_write(struct nl_msg *msg, const struct request *rq)
{
	if ((rq->minor >= 0 && nla_put_u32(msg, BLKTAP_A_MINOR, rq->minor)) ||
	    (rq->pid && nla_put_u32(msg, BLKTAP_A_PID, rq->pid)) ||
	    (rq->name && nla_put_string(msg, BLKTAP_A_NAME, rq->name)) ||
	    (rq->rdonly && nla_put_flag(msg, BLKTAP_A_RDONLY)) ||
	    (rq->ring && nla_put_flag(msg, BLKTAP_A_RING_MODE)) ||
	    (rq->force && nla_put_flag(msg, BLKTAP_A_FORCE)) ||
	    (rq->timeout && nla_put_u32(msg, BLKTAP_A_TIMEOUT, rq->timeout)) ||
	    (rq->pool && nla_put_string(msg, BLKTAP_A_POOL, rq->pool)) ||
	    (rq->pages && nla_put_u32(msg, BLKTAP_A_POOL_PAGES, rq->pages)) ||
	    (rq->request_timeout &&
	     nla_put_u32(msg, BLKTAP_A_REQUEST_TIMEOUT, *rq->request_timeout)) ||
	    (rq->on_timeout && nla_put_u32(msg, BLKTAP_A_ON_TIMEOUT, *rq->on_timeout)) ||
	    (rq->vbd && (nla_put_u32(msg, BLKTAP_A_DOMID, rq->vbd->domid) ||
			 nla_put_u32(msg, BLKTAP_A_DEVID, rq->vbd->devid) ||
			 (rq->vbd->cookie &&
			  nla_put_u32(msg, BLKTAP_A_COOKIE, rq->vbd->cookie)))) ||
	    (rq->error && nla_put_u32(msg, BLKTAP_A_ERROR, rq->error)) ||
	    (rq->text && nla_put_string(msg, BLKTAP_A_TEXT, rq->text)))
		return -ENOMEM;
	return 0;
}
