// SPDX-License-Identifier: GPL-2.0-only
/* Guests' disks in the admin's interface: VBD_GET, VBD_SET, and their events. */
#include <linux/err.h>
#include <linux/netlink.h>

#include "blktap.h"
#include "netlink.h"

#define VBD_MSG_SIZE	(BLKTAP_NAME_MAX + 256)	/* a vbd, whole */
#define VBDS_SHOWN	16			/* in a tap's message */

static bool put_ids(struct sk_buff *skb, const struct blktap_vbd *vbd)
{
	return !nla_put_u32(skb, BLKTAP_A_DOMID, vbd->domid) &&
	       !nla_put_u32(skb, BLKTAP_A_DEVID, vbd->devid);
}

/* Name and cookie are there as long as the vbd waits for a tap. */
static bool put_vbd(struct sk_buff *skb, const struct blktap_vbd *vbd)
{
	bool asks = vbd->image && !vbd->answered;

	return put_ids(skb, vbd) &&
	       (!vbd->tap || !nla_put_u32(skb, BLKTAP_A_MINOR, vbd->tap->minor)) &&
	       (!asks || !nla_put_u32(skb, BLKTAP_A_COOKIE, vbd->cookie)) &&
	       (!asks || !nla_put_string(skb, BLKTAP_A_NAME, vbd->image)) &&
	       (!asks || !vbd->rdonly || !nla_put_flag(skb, BLKTAP_A_RDONLY));
}

struct put_arg {
	struct sk_buff *skb;
	struct netlink_callback *cb;
	unsigned int nr;
	bool fits;
};

static int put_nested(struct blktap_vbd *vbd, void *data)
{
	struct put_arg *arg = data;
	struct nlattr *nest;

	if (arg->nr++ == VBDS_SHOWN)
		return -E2BIG;
	nest = nla_nest_start(arg->skb, BLKTAP_A_VBD);
	arg->fits = nest && put_ids(arg->skb, vbd);
	if (arg->fits)
		nla_nest_end(arg->skb, nest);
	return arg->fits ? 0 : -EMSGSIZE;
}

/* Those that a tap is tied to, into the tap's message. */
bool blktap_netlink_put_vbds(struct sk_buff *skb, struct blktap *tap)
{
	struct put_arg arg = { .skb = skb, .fits = true };

	if (blktap_has_vbd(tap))
		blktap_vbd_each(tap, 0, put_nested, &arg);
	return arg.fits;
}

static int dump_one(struct blktap_vbd *vbd, void *data)
{
	struct put_arg *arg = data;
	struct netlink_callback *cb = arg->cb;
	void *head = genlmsg_put(arg->skb, NETLINK_CB(cb->skb).portid,
				 cb->nlh->nlmsg_seq, &blktap_family,
				 NLM_F_MULTI, BLKTAP_CMD_VBD_GET);

	arg->fits = head && !end_msg(arg->skb, head, put_vbd(arg->skb, vbd));
	return arg->fits ? 0 : -EMSGSIZE;
}

int blktap_netlink_vbd_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct put_arg arg = { .skb = skb, .cb = cb, .fits = true };

	cb->args[0] += blktap_vbd_each(NULL, cb->args[0], dump_one, &arg);
	return skb->len ?: arg.fits ? 0 : -EMSGSIZE;
}

static int get_id(struct genl_info *info, struct blktap_vbd_id *id)
{
	struct nlattr *cookie = info->attrs[BLKTAP_A_COOKIE];

	if (!info->attrs[BLKTAP_A_DOMID] || !info->attrs[BLKTAP_A_DEVID])
		return refuse(info, 0, -EINVAL,
			      "a guest's disk has a domid and a devid");
	id->domid = nla_get_u32(info->attrs[BLKTAP_A_DOMID]);
	id->devid = nla_get_u32(info->attrs[BLKTAP_A_DEVID]);
	id->cookie = cookie ? nla_get_u32(cookie) : 0;
	return 0;
}

static int no_vbd(struct genl_info *info)
{
	return refuse(info, BLKTAP_A_DEVID, -ENOENT,
		      "no such disk of a guest waits for a tap");
}

/**
 * blktap_netlink_made_for_vbd - ALLOC may say for which vbd
 * @info: the request
 * @tap: the tap, new
 */
int blktap_netlink_made_for_vbd(struct genl_info *info, struct blktap *tap)
{
	struct blktap_vbd_id id;
	int err;

	if (!info->attrs[BLKTAP_A_DOMID] && !info->attrs[BLKTAP_A_DEVID])
		return 0;
	err = get_id(info, &id);
	if (err)
		return err;
	err = blktap_vbd_made(&id, tap);
	return err == -ENOENT ? no_vbd(info) : err;
}

int blktap_netlink_vbd_set(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *error = info->attrs[BLKTAP_A_ERROR];
	struct nlattr *text = info->attrs[BLKTAP_A_TEXT];
	struct blktap_vbd_id id;
	int err;

	err = may_change(skb, info);
	if (!err)
		err = get_id(info, &id);
	if (err)
		return err;
	err = blktap_vbd_answer(&id, error ? -(int)nla_get_u32(error) : 0,
				text ? nla_data(text) : NULL);
	if (err == -ENOENT)
		return no_vbd(info);
	if (err == -ENODEV)
		return refuse(info, BLKTAP_A_DEVID, err,
			      "its tap has no disk: open it first");
	return err;
}

/**
 * blktap_netlink_vbd_event - tell the group of a guest's disk
 * @event: BLKTAP_EVENT_VBD_*
 * @vbd: the disk
 *
 * An event that can't be sent for want of memory is lost: VBD_GET tells the rest.
 */
void blktap_netlink_vbd_event(u32 event, const struct blktap_vbd *vbd)
{
	struct sk_buff *skb;
	bool fits;
	void *head;

	if (!genl_has_listeners(&blktap_family, &init_net, 0))
		return;
	skb = genlmsg_new(VBD_MSG_SIZE, GFP_KERNEL);
	if (!skb)
		return;
	head = genlmsg_put(skb, 0, 0, &blktap_family, 0, BLKTAP_CMD_EVENT);
	fits = head && !nla_put_u32(skb, BLKTAP_A_EVENT, event) &&
	       put_vbd(skb, vbd);
	if (head && !end_msg(skb, head, fits))
		blktap_netlink_multicast(skb);
	else
		nlmsg_free(skb);
}
