/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the netlink interface share. */
#ifndef _BLKTAP_NETLINK_H
#define _BLKTAP_NETLINK_H

#include <net/genetlink.h>

struct blktap;

/* netlink.c */
extern struct genl_family blktap_family;

void blktap_netlink_multicast(struct sk_buff *skb);

/* netlink-vbd.c */
bool blktap_netlink_put_vbds(struct sk_buff *skb, struct blktap *tap);
int blktap_netlink_made_for_vbd(struct genl_info *info, struct blktap *tap);
int blktap_netlink_vbd_set(struct sk_buff *skb, struct genl_info *info);
int blktap_netlink_vbd_dump(struct sk_buff *skb, struct netlink_callback *cb);

static inline int refuse(struct genl_info *info, int attr, int err, const char *why)
{
	if (attr)
		NL_SET_BAD_ATTR(info->extack, info->attrs[attr]);
	info->extack->_msg = why;
	return err;
}

static inline int may_change(struct sk_buff *skb, struct genl_info *info)
{
	if (netlink_capable(skb, CAP_SYS_ADMIN))
		return 0;
	return refuse(info, 0, -EPERM, "this needs CAP_SYS_ADMIN");
}

static inline int end_msg(struct sk_buff *skb, void *head, bool fits)
{
	if (fits) {
		genlmsg_end(skb, head);
		return 0;
	}
	genlmsg_cancel(skb, head);
	return -EMSGSIZE;
}

#endif /* _BLKTAP_NETLINK_H */
