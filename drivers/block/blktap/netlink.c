// SPDX-License-Identifier: GPL-2.0-only
/*
 * The admin's interface: generic netlink family "blktap". Handlers look up,
 * check and start an operation (accept.c), and wait for none. They take the locks
 * that they need themselves: genetlink's own is everybody's in the host.
 */
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "blktap.h"
#include "compat.h"
#include "netlink.h"

#define TAP_MSG_SIZE	(BLKTAP_NAME_MAX + 1536)	/* a tap, whole */

static atomic_t taps_seq;	/* changes with the set of taps */

static struct netlink_range_validation minor_range = {
	.max = BLKTAP_MINORS - 1,
};

static struct netlink_range_validation pid_range = {
	.min = 1,
	.max = INT_MAX,
};

static struct netlink_range_validation timeout_range = {
	.min = 1,
	.max = BLKTAP_TIMEOUT_MAX,
};

static struct netlink_range_validation request_timeout_range = {
	.max = BLKTAP_TIMEOUT_MAX,
};

static struct netlink_range_validation pages_range = {
	.min = BLKTAP_SEGMENT_MAX,
	.max = INT_MAX / 2,
};

static const struct nla_policy blktap_policy[BLKTAP_A_MAX + 1] = {
	[BLKTAP_A_MINOR]	= NLA_POLICY_FULL_RANGE(NLA_U32, &minor_range),
	[BLKTAP_A_PID]		= NLA_POLICY_FULL_RANGE(NLA_U32, &pid_range),
	[BLKTAP_A_NAME]		= { .type = NLA_NUL_STRING,
				    .len = BLKTAP_NAME_MAX - 1 },
	[BLKTAP_A_RDONLY]	= { .type = NLA_FLAG },
	[BLKTAP_A_FORCE]	= { .type = NLA_FLAG },
	[BLKTAP_A_TIMEOUT]	= NLA_POLICY_FULL_RANGE(NLA_U32, &timeout_range),
	[BLKTAP_A_POOL]		= { .type = NLA_NUL_STRING,
				    .len = BLKTAP_POOL_NAME_MAX - 1 },
	[BLKTAP_A_RING_MODE]	= { .type = NLA_FLAG },
	[BLKTAP_A_REQUEST_TIMEOUT] = NLA_POLICY_FULL_RANGE(NLA_U32,
							   &request_timeout_range),
	[BLKTAP_A_ON_TIMEOUT]	= NLA_POLICY_MAX(NLA_U32,
						 BLKTAP_ON_TIMEOUT_FAIL),
	[BLKTAP_A_POOL_PAGES]	= NLA_POLICY_FULL_RANGE(NLA_U32, &pages_range),
	[BLKTAP_A_DOMID]	= { .type = NLA_U32 },
	[BLKTAP_A_DEVID]	= { .type = NLA_U32 },
	[BLKTAP_A_COOKIE]	= { .type = NLA_U32 },
	[BLKTAP_A_ERROR]	= NLA_POLICY_MAX(NLA_U32, MAX_ERRNO),
	[BLKTAP_A_TEXT]		= { .type = NLA_NUL_STRING, .len = 1023 },
};

/* The tap that a message is about, with a reference; or an ERR_PTR. */
static struct blktap *tap_of(struct genl_info *info)
{
	struct nlattr *attr = info->attrs[BLKTAP_A_MINOR];
	struct blktap *tap;

	if (!attr)
		return ERR_PTR(refuse(info, 0, -EINVAL, "no minor is given"));
	tap = blktap_get(nla_get_u32(attr));
	if (!tap)
		return ERR_PTR(refuse(info, BLKTAP_A_MINOR, -ENODEV,
				      "no tap has this minor"));
	return tap;
}

#define PUT(attr, value) nla_put_u64_64bit(skb, attr, value, BLKTAP_C_PAD)

static bool put_direct_counters(struct sk_buff *skb, struct tap_direct *direct,
				const struct tap_direct_counters *sum)
{
	return !PUT(BLKTAP_C_HITS, sum->hits) &&
	       !PUT(BLKTAP_C_MISSES, direct->misses) &&
	       !PUT(BLKTAP_C_UPCALLS, direct->upcalls) &&
	       !PUT(BLKTAP_C_COMMITS, direct->commits) &&
	       !PUT(BLKTAP_C_ZERO_COPIED, sum->bytes[0] + sum->bytes[1]) &&
	       !PUT(BLKTAP_C_PUNTS, sum->punts) &&
	       !PUT(BLKTAP_C_RECALLS, direct->recalls) &&
	       !PUT(BLKTAP_C_EXTENTS, READ_ONCE(direct->layout.nr)) &&
	       !PUT(BLKTAP_C_MAP_BYTES, tap_maps_bytes(direct));
}

static bool put_counters(struct sk_buff *skb, struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct nlattr *nest = nla_nest_start(skb, BLKTAP_A_COUNTERS);
	struct tap_direct_counters sum = {};
	unsigned int in_ring, waiting;
	struct tap_counters c;

	if (!nest)
		return false;
	if (tap->direct)
		tap_direct_count(tap->direct, &sum);
	spin_lock(&ring->lock);
	c = ring->count;
	in_ring = ring->busy;
	waiting = ring->nr_waiting;
	spin_unlock(&ring->lock);

	if (PUT(BLKTAP_C_READS, c.reqs[BLKTAP_OP_READ]) ||
	    PUT(BLKTAP_C_WRITES, c.reqs[BLKTAP_OP_WRITE]) ||
	    PUT(BLKTAP_C_FLUSHES, c.reqs[BLKTAP_OP_FLUSH]) ||
	    PUT(BLKTAP_C_TRIMS, c.reqs[BLKTAP_OP_TRIM]) ||
	    PUT(BLKTAP_C_READ_SECTORS, c.sectors[BLKTAP_OP_READ] +
				       (sum.bytes[0] >> SECTOR_SHIFT)) ||
	    PUT(BLKTAP_C_WRITE_SECTORS, c.sectors[BLKTAP_OP_WRITE] +
					(sum.bytes[1] >> SECTOR_SHIFT)) ||
	    PUT(BLKTAP_C_ERRORS, c.errors) ||
	    PUT(BLKTAP_C_KICKS, c.kicks) ||
	    PUT(BLKTAP_C_RING_FULL, c.ring_full) ||
	    PUT(BLKTAP_C_POOL_EMPTY, c.pool_empty) ||
	    PUT(BLKTAP_C_IN_RING, in_ring) ||
	    PUT(BLKTAP_C_WAITING, waiting) ||
	    PUT(BLKTAP_C_COPIED, c.copied))
		return false;
	if (tap->direct && !put_direct_counters(skb, tap->direct, &sum))
		return false;
	nla_nest_end(skb, nest);
	return true;
}

#undef PUT

static bool put_gendisk(struct sk_buff *skb, struct blktap *tap)
{
	struct gendisk *disk = tap->disk;

	return !nla_put_string(skb, BLKTAP_A_DISK, disk->disk_name) &&
	       !nla_put_u64_64bit(skb, BLKTAP_A_CAPACITY, get_capacity(disk),
				  BLKTAP_A_PAD) &&
	       !nla_put_u32(skb, BLKTAP_A_SECTOR_SIZE,
			    queue_logical_block_size(disk->queue)) &&
	       !nla_put_u32(skb, BLKTAP_A_OPENERS,
			    atomic_read(&tap->openers)) &&
	       (!tap->rdonly || !nla_put_flag(skb, BLKTAP_A_RDONLY)) &&
	       (tap->direct || !nla_put_flag(skb, BLKTAP_A_RING_MODE)) &&
	       put_counters(skb, tap);
}

static bool put_tap(struct sk_buff *skb, struct blktap *tap, pid_t pid)
{
	lockdep_assert_held(&tap->lock);
	return !nla_put_u32(skb, BLKTAP_A_MINOR, tap->minor) &&
	       !nla_put_u32(skb, BLKTAP_A_STATE, blktap_state(tap)) &&
	       (!pid || !nla_put_u32(skb, BLKTAP_A_PID, pid)) &&
	       (!tap->name || !nla_put_string(skb, BLKTAP_A_NAME, tap->name)) &&
	       !nla_put_u32(skb, BLKTAP_A_RING_MAJOR, MAJOR(blktap_ring_dev)) &&
	       !nla_put_u32(skb, BLKTAP_A_DISK_MAJOR, blktap_disk_major) &&
	       !nla_put_u32(skb, BLKTAP_A_REQUEST_TIMEOUT,
			    READ_ONCE(tap->ring.timeout)) &&
	       !nla_put_u32(skb, BLKTAP_A_ON_TIMEOUT,
			    READ_ONCE(tap->ring.on_timeout)) &&
	       (!tap->pool || !nla_put_string(skb, BLKTAP_A_POOL,
					      kobject_name(&tap->pool->kobj))) &&
	       blktap_netlink_put_vbds(skb, tap) &&
	       (!tap->disk || put_gendisk(skb, tap));
}

/* A tap as seen by the calling process, in whose namespace the pid is. */
static int fill_tap(struct sk_buff *skb, struct blktap *tap, u32 portid,
		    u32 seq, int flags, struct netlink_callback *cb)
{
	void *head = genlmsg_put(skb, portid, seq, &blktap_family, flags,
				 BLKTAP_CMD_GET);
	struct pid *pid;
	bool fits;

	if (!head)
		return -EMSGSIZE;
	if (cb)
		genl_dump_check_consistent(cb, head);
	/* A disk is removed under the lock: that takes a while. */
	if (mutex_lock_killable(&tap->lock)) {
		genlmsg_cancel(skb, head);
		return -EINTR;
	}
	pid = tap_ring_pid(&tap->ring);
	fits = put_tap(skb, tap, pid_vnr(pid));
	mutex_unlock(&tap->lock);
	put_pid(pid);
	return end_msg(skb, head, fits);
}

static int reply_tap(struct genl_info *info, struct blktap *tap)
{
	struct sk_buff *skb = genlmsg_new(TAP_MSG_SIZE, GFP_KERNEL);
	int err;

	if (!skb)
		return -ENOMEM;
	err = fill_tap(skb, tap, info->snd_portid, info->snd_seq, 0, NULL);
	if (err) {
		nlmsg_free(skb);
		return err;
	}
	return genlmsg_reply(skb, info);
}

static int doit_get(struct sk_buff *skb, struct genl_info *info)
{
	struct blktap *tap = tap_of(info);
	int err;

	if (IS_ERR(tap))
		return PTR_ERR(tap);
	err = reply_tap(info, tap);
	blktap_put(tap);
	return err;
}

static int dump_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = TAP_MSG_SIZE;
	return 0;
}

static int dump_taps(struct sk_buff *skb, struct netlink_callback *cb)
{
	unsigned long minor = cb->args[0];
	struct blktap *tap;
	int err = 0;

	cb->seq = atomic_read(&taps_seq) ?: 1;
	while (!err && (tap = blktap_find(&minor))) {
		err = fill_tap(skb, tap, NETLINK_CB(cb->skb).portid,
			       cb->nlh->nlmsg_seq, NLM_F_MULTI, cb);
		blktap_put(tap);
		if (!err)
			minor++;
	}
	cb->args[0] = minor;
	return err && !skb->len ? err : skb->len;
}

/* The sender won't know of the tap: it has to go. */
static void undo_alloc(struct blktap *tap)
{
	struct blktap_op *op = blktap_op_alloc(tap, BLKTAP_CMD_FREE,
					       BLKTAP_TIMEOUT);

	if (!op)
		return;
	blktap_op_start(op);
	blktap_op_put(op);
}

static int doit_alloc(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *attr = info->attrs[BLKTAP_A_MINOR];
	struct blktap *tap;
	int err;

	err = may_change(skb, info);
	if (err)
		return err;
	tap = blktap_alloc(attr ? (int)nla_get_u32(attr) : -1);
	if (tap == ERR_PTR(-EEXIST))
		return refuse(info, BLKTAP_A_MINOR, -EEXIST,
			      "another tap has this minor");
	if (IS_ERR(tap))
		return PTR_ERR(tap);
	err = blktap_netlink_made_for_vbd(info, tap) ?: reply_tap(info, tap);
	if (err)
		undo_alloc(tap);
	blktap_put(tap);
	return err;
}

static int fill_tapdisk(struct sk_buff *skb, struct netlink_callback *cb,
			struct blktap_tapdisk *td)
{
	void *head = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				 cb->nlh->nlmsg_seq, &blktap_family,
				 NLM_F_MULTI, BLKTAP_CMD_TAPDISK_GET);

	if (!head)
		return -EMSGSIZE;
	return end_msg(skb, head,
		       !nla_put_u32(skb, BLKTAP_A_PID, pid_vnr(td->pid)) &&
		       !nla_put_u32(skb, BLKTAP_A_NR_TAPS,
				    atomic_read(&td->taps)));
}

static int dump_tapdisks(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct blktap_tapdisk *td;
	int err = 0;

	while (!err && (td = blktap_tapdisk_nth(cb->args[0]))) {
		err = fill_tapdisk(skb, cb, td);
		blktap_tapdisk_put(td);
		if (!err)
			cb->args[0]++;
	}
	return skb->len;
}

/* Where a PID is given: is it that of the process which has the ring? */
static int check_pid(struct genl_info *info, struct blktap *tap)
{
	struct nlattr *attr = info->attrs[BLKTAP_A_PID];
	struct pid *want, *have;
	bool same;

	if (!attr)
		return 0;
	want = find_get_pid(nla_get_u32(attr));
	have = tap_ring_pid(&tap->ring);
	same = want && want == have;
	put_pid(want);
	put_pid(have);
	return same ? 0 : refuse(info, BLKTAP_A_PID, -ESRCH,
				 "this process is not the tap's tapdisk");
}

static int op_set_tapdisk(struct blktap_op *op, struct genl_info *info)
{
	struct nlattr *attr = info->attrs[BLKTAP_A_PID];
	struct pid *pid;

	if (!attr)
		return refuse(info, 0, -EINVAL, "no pid of a tapdisk is given");
	pid = find_get_pid(nla_get_u32(attr));
	if (pid)
		op->tapdisk = blktap_tapdisk_find(pid);
	put_pid(pid);
	return op->tapdisk ? 0 : refuse(info, BLKTAP_A_PID, -ESRCH,
					"no tapdisk has this pid");
}

static int op_set_name(struct blktap_op *op, struct genl_info *info)
{
	struct nlattr *attr = info->attrs[BLKTAP_A_NAME];

	if (!attr)
		return op->cmd == BLKTAP_CMD_OPEN ?
		       refuse(info, 0, -EINVAL, "no image name is given") : 0;
	if (nla_len(attr) < 2)
		return refuse(info, BLKTAP_A_NAME, -EINVAL,
			      "the image name is empty");
	op->name = nla_strdup(attr, GFP_KERNEL);
	return op->name ? 0 : -ENOMEM;
}

/* What a command takes besides MINOR, into the operation. */
static int op_set_args(struct blktap_op *op, struct genl_info *info)
{
	int err = 0;

	if (info->attrs[BLKTAP_A_RDONLY])
		op->flags |= BLKTAP_ORDER_F_RDONLY;
	if (info->attrs[BLKTAP_A_FORCE] && op->cmd == BLKTAP_CMD_CLOSE)
		op->flags |= BLKTAP_ORDER_F_FORCE;
	if (info->attrs[BLKTAP_A_RING_MODE])
		op->flags |= BLKTAP_ORDER_F_RING;
	op->portid = info->snd_portid;
	op->seq = info->snd_seq;

	if (op->cmd == BLKTAP_CMD_ATTACH || op->cmd == BLKTAP_CMD_RECOVER)
		return op_set_tapdisk(op, info);
	err = check_pid(info, op->tap);
	if (!err && (op->cmd == BLKTAP_CMD_OPEN || op->cmd == BLKTAP_CMD_RESUME))
		err = op_set_name(op, info);
	return err;
}

static int start_op(struct genl_info *info, struct blktap *tap)
{
	struct nlattr *attr = info->attrs[BLKTAP_A_TIMEOUT];
	struct blktap_op *op;
	int err;

	op = blktap_op_alloc(tap, info->genlhdr->cmd,
			     attr ? nla_get_u32(attr) : BLKTAP_TIMEOUT);
	if (!op)
		return -ENOMEM;
	err = op_set_args(op, info);
	if (!err) {
		err = blktap_op_start(op);
		if (err == -EBUSY)
			err = refuse(info, 0, err,
				     "another operation on this tap is under way");
	}
	blktap_op_put(op);
	return err;
}

/* Every command that ends in DONE. */
static int doit_op(struct sk_buff *skb, struct genl_info *info)
{
	struct blktap *tap;
	int err;

	err = may_change(skb, info);
	if (err)
		return err;
	tap = tap_of(info);
	if (IS_ERR(tap))
		return PTR_ERR(tap);
	err = start_op(info, tap);
	blktap_put(tap);
	return err;
}

static int doit_set(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *timeout = info->attrs[BLKTAP_A_REQUEST_TIMEOUT];
	struct nlattr *policy = info->attrs[BLKTAP_A_ON_TIMEOUT];
	struct blktap *tap;
	int err;

	err = may_change(skb, info);
	if (err)
		return err;
	tap = tap_of(info);
	if (IS_ERR(tap))
		return PTR_ERR(tap);
	if (policy)
		WRITE_ONCE(tap->ring.on_timeout, nla_get_u32(policy));
	if (timeout)
		tap_recover_set_timeout(tap, nla_get_u32(timeout));
	blktap_put(tap);
	return 0;
}

static int fill_pool(struct sk_buff *skb, struct blktap_pool *pool, u32 portid,
		     u32 seq, int flags)
{
	void *head = genlmsg_put(skb, portid, seq, &blktap_family, flags,
				 BLKTAP_CMD_POOL_GET);

	if (!head)
		return -EMSGSIZE;
	return end_msg(skb, head,
		       !nla_put_string(skb, BLKTAP_A_POOL,
				       kobject_name(&pool->kobj)) &&
		       !nla_put_u32(skb, BLKTAP_A_POOL_PAGES,
				    READ_ONCE(pool->size)) &&
		       !nla_put_u32(skb, BLKTAP_A_POOL_FREE,
				    blktap_pool_free(pool)));
}

static struct blktap_pool *pool_of(struct genl_info *info)
{
	struct nlattr *attr = info->attrs[BLKTAP_A_POOL];
	struct blktap_pool *pool;

	if (!attr)
		return ERR_PTR(refuse(info, 0, -EINVAL, "no pool is given"));
	pool = blktap_pool_find(nla_data(attr));
	return pool ?: ERR_PTR(refuse(info, BLKTAP_A_POOL, -ENOENT,
				      "no pool has this name"));
}

static int doit_pool_get(struct sk_buff *skb, struct genl_info *info)
{
	struct blktap_pool *pool = pool_of(info);
	struct sk_buff *reply;
	int err;

	if (IS_ERR(pool))
		return PTR_ERR(pool);
	reply = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	err = reply ? fill_pool(reply, pool, info->snd_portid, info->snd_seq, 0) :
		      -ENOMEM;
	blktap_pool_put(pool);
	if (!err)
		return genlmsg_reply(reply, info);
	nlmsg_free(reply);
	return err;
}

static int dump_pools(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct blktap_pool *pool;
	int err = 0;

	while (!err && (pool = blktap_pool_nth(cb->args[0]))) {
		err = fill_pool(skb, pool, NETLINK_CB(cb->skb).portid,
				cb->nlh->nlmsg_seq, NLM_F_MULTI);
		blktap_pool_put(pool);
		if (!err)
			cb->args[0]++;
	}
	return skb->len;
}

/* POOL_SET with a MINOR: the tap goes into the pool, which is made if need be. */
static int pool_take_tap(struct genl_info *info)
{
	struct blktap *tap = tap_of(info);
	int err;

	if (IS_ERR(tap))
		return PTR_ERR(tap);
	mutex_lock(&tap->lock);
	err = tap->removed ? -ENODEV :
	      blktap_pool_move(tap, nla_data(info->attrs[BLKTAP_A_POOL]));
	mutex_unlock(&tap->lock);
	blktap_put(tap);
	if (err == -EBUSY)
		return refuse(info, BLKTAP_A_MINOR, err,
			      "the tap has a disk: close it first");
	if (err == -EINVAL)
		return refuse(info, BLKTAP_A_POOL, err,
			      "this can't be a pool's name");
	return err;
}

static int doit_pool_set(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *pages = info->attrs[BLKTAP_A_POOL_PAGES];
	struct blktap_pool *pool;
	int err;

	err = may_change(skb, info);
	if (err)
		return err;
	if (info->attrs[BLKTAP_A_MINOR] && info->attrs[BLKTAP_A_POOL]) {
		err = pool_take_tap(info);
		if (err || !pages)
			return err;
	}
	if (!pages)
		return refuse(info, 0, -EINVAL, "no pages and no tap are given");
	pool = pool_of(info);
	if (IS_ERR(pool))
		return PTR_ERR(pool);
	err = blktap_pool_resize(pool, nla_get_u32(pages));
	blktap_pool_put(pool);
	return err;
}

#define OP(name) { .cmd = BLKTAP_CMD_ ## name, .doit = doit_op }

static const struct genl_ops blktap_genl_ops[] = {
	{
		.cmd	= BLKTAP_CMD_GET,
		.doit	= doit_get,
		.start	= dump_start,
		.dumpit	= dump_taps,
	}, {
		.cmd	= BLKTAP_CMD_ALLOC,
		.doit	= doit_alloc,
	}, {
		.cmd	= BLKTAP_CMD_TAPDISK_GET,
		.dumpit	= dump_tapdisks,
	}, {
		.cmd	= BLKTAP_CMD_POOL_GET,
		.doit	= doit_pool_get,
		.dumpit	= dump_pools,
	}, {
		.cmd	= BLKTAP_CMD_POOL_SET,
		.doit	= doit_pool_set,
	}, {
		.cmd	= BLKTAP_CMD_SET,
		.doit	= doit_set,
	}, {
		.cmd	= BLKTAP_CMD_VBD_GET,
		.start	= dump_start,
		.dumpit	= blktap_netlink_vbd_dump,
	}, {
		.cmd	= BLKTAP_CMD_VBD_SET,
		.doit	= blktap_netlink_vbd_set,
	},
	OP(FREE),
	OP(ATTACH),
	OP(DETACH),
	OP(OPEN),
	OP(CLOSE),
	OP(PAUSE),
	OP(RESUME),
	OP(STATS),
	OP(RECALL),
	OP(RECOVER),
};

static const struct genl_multicast_group blktap_groups[] = {
	{ .name = BLKTAP_GENL_MCGRP },
};

struct genl_family blktap_family __ro_after_init = {
	.name		= BLKTAP_GENL_NAME,
	.version	= BLKTAP_GENL_VERSION,
	.maxattr	= BLKTAP_A_MAX,
	.policy		= blktap_policy,
	.module		= THIS_MODULE,
	.parallel_ops	= true,
	.ops		= blktap_genl_ops,
	.n_ops		= ARRAY_SIZE(blktap_genl_ops),
	.resv_start_op	= __BLKTAP_CMD_MAX,
	.mcgrps		= blktap_groups,
	.n_mcgrps	= ARRAY_SIZE(blktap_groups),
};

void blktap_netlink_multicast(struct sk_buff *skb)
{
	genlmsg_multicast_netns(&blktap_family, &init_net, skb, 0, 0,
				GFP_KERNEL);
}

static bool put_event(struct sk_buff *skb, u32 event, struct blktap *tap,
		      struct pid *pid)
{
	struct pid *owner;
	bool fits;

	if (nla_put_u32(skb, BLKTAP_A_EVENT, event))
		return false;
	if (!tap)
		return !nla_put_u32(skb, BLKTAP_A_PID, pid_nr(pid));
	if (event != BLKTAP_EVENT_TAP_STATE)
		return !nla_put_u32(skb, BLKTAP_A_MINOR, tap->minor);
	owner = tap_ring_pid(&tap->ring);
	fits = put_tap(skb, tap, pid_nr(owner));
	put_pid(owner);
	return fits;
}

/**
 * blktap_netlink_event - tell the group
 * @event: BLKTAP_EVENT_*, but DONE
 * @tap: the tap that it is about, locked for TAP_STATE; or NULL
 * @pid: else the process
 *
 * An event that can't be sent for want of memory is lost, as netlink has it:
 * the listener's dump tells the rest.
 */
void blktap_netlink_event(u32 event, struct blktap *tap, struct pid *pid)
{
	struct sk_buff *skb;
	void *head;

	if (event == BLKTAP_EVENT_TAP_ADDED || event == BLKTAP_EVENT_TAP_REMOVED)
		atomic_inc(&taps_seq);
	if (!genl_has_listeners(&blktap_family, &init_net, 0))
		return;
	skb = genlmsg_new(TAP_MSG_SIZE, GFP_NOIO);
	if (!skb)
		return;
	head = genlmsg_put(skb, 0, 0, &blktap_family, 0, BLKTAP_CMD_EVENT);
	if (head && !end_msg(skb, head, put_event(skb, event, tap, pid)))
		blktap_netlink_multicast(skb);
	else
		nlmsg_free(skb);
}

/**
 * blktap_netlink_notice - tell the group of something that people may want to know
 * @event: BLKTAP_EVENT_*
 * @tap: the tap that it is about
 * @text: for the admin, or NULL
 */
void blktap_netlink_notice(u32 event, struct blktap *tap, const char *text)
{
	struct sk_buff *skb;
	void *head;
	bool fits;

	if (!genl_has_listeners(&blktap_family, &init_net, 0))
		return;
	skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!skb)
		return;
	head = genlmsg_put(skb, 0, 0, &blktap_family, 0, BLKTAP_CMD_EVENT);
	fits = head && !nla_put_u32(skb, BLKTAP_A_EVENT, event) &&
	       !nla_put_u32(skb, BLKTAP_A_MINOR, tap->minor) &&
	       (!text || !nla_put_string(skb, BLKTAP_A_TEXT, text));
	if (head && !end_msg(skb, head, fits))
		blktap_netlink_multicast(skb);
	else
		nlmsg_free(skb);
}

static struct sk_buff *done_msg(struct blktap_op *op, u32 event, bool text)
{
	size_t len = text && op->text ? strlen(op->text) + 1 : 0;
	struct sk_buff *skb = genlmsg_new(len + 256, GFP_KERNEL);
	bool fits;
	void *head;

	if (!skb)
		return NULL;
	head = genlmsg_put(skb, op->portid, op->seq, &blktap_family, 0,
			   event ? BLKTAP_CMD_EVENT : BLKTAP_CMD_DONE);
	fits = head &&
	       (!event || !nla_put_u32(skb, BLKTAP_A_EVENT, event)) &&
	       !nla_put_u32(skb, BLKTAP_A_MINOR, op->tap->minor) &&
	       !nla_put_u32(skb, BLKTAP_A_ERROR, -op->error) &&
	       (!text || !op->text ||
		!nla_put_string(skb, BLKTAP_A_TEXT, op->text));
	if (head && !end_msg(skb, head, fits))
		return skb;
	nlmsg_free(skb);
	return NULL;
}

/**
 * blktap_netlink_done - an operation has ended: tell the group
 * @op: the operation
 *
 * Return: the DONE message for the one who asked, for blktap_netlink_send(),
 * at least without its text; NULL where there is no memory for even that.
 */
struct sk_buff *blktap_netlink_done(struct blktap_op *op)
{
	struct sk_buff *event, *done;

	if (op->cmd != BLKTAP_CMD_STATS) {
		event = done_msg(op, BLKTAP_EVENT_DONE, op->error);
		if (event)
			blktap_netlink_multicast(event);
	}
	done = done_msg(op, 0, true);
	return done ?: done_msg(op, 0, false);
}

/* Send a message to a port; 0: to nobody. */
void blktap_netlink_send(struct sk_buff *skb, u32 portid)
{
	if (portid)
		genlmsg_unicast(&init_net, skb, portid);
	else
		nlmsg_free(skb);
}

static int socket_gone(struct notifier_block *nb, unsigned long event,
		       void *data)
{
	struct netlink_notify *n = data;

	if (event == NETLINK_URELEASE && n->protocol == NETLINK_GENERIC &&
	    net_eq(n->net, &init_net))
		blktap_op_requester_gone(n->portid);
	return NOTIFY_DONE;
}

static struct notifier_block socket_notifier = {
	.notifier_call	= socket_gone,
};

int blktap_netlink_init(void)
{
	int err;

	err = netlink_register_notifier(&socket_notifier);
	if (err)
		return err;
	err = genl_register_family(&blktap_family);
	if (err)
		netlink_unregister_notifier(&socket_notifier);
	return err;
}

void blktap_netlink_exit(void)
{
	genl_unregister_family(&blktap_family);
	netlink_unregister_notifier(&socket_notifier);
}
