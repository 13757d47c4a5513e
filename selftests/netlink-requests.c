// SPDX-License-Identifier: GPL-2.0-only
/* Netlink requests that must be refused: by whom they come, what they hold, what they name. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/state.h"
#include "lib/tapdisk.h"

#define NO_SUCH_MINOR	0xfedcb
#define NO_SUCH_PID	4000000

/* --- who --------------------------------------------------------------------- */

/* All others change something, or have a tapdisk do something, and are an admin's. */
static bool is_anybody_s(int cmd)
{
	switch (cmd) {
	case BLKTAP_CMD_GET:
	case BLKTAP_CMD_TAPDISK_GET:
	case BLKTAP_CMD_POOL_GET:
	case BLKTAP_CMD_VBD_GET:
	case BLKTAP_CMD_DONE:	/* no request, nor is */
	case BLKTAP_CMD_EVENT:
		return true;
	}
	return false;
}

/* So that nothing is refused for the want of it. */
static void put_everything(struct nl_msg *msg, int cmd, uint32_t minor)
{
	if (cmd == BLKTAP_CMD_POOL_SET) {
		nla_put_string(msg, BLKTAP_A_POOL, "default");
		nla_put_u32(msg, BLKTAP_A_POOL_PAGES, 500);
		return;
	}
	if (cmd == BLKTAP_CMD_VBD_SET) {
		nla_put_u32(msg, BLKTAP_A_DOMID, 1);
		nla_put_u32(msg, BLKTAP_A_DEVID, 1);
		return;
	}
	if (cmd != BLKTAP_CMD_ALLOC)
		nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	if (cmd == BLKTAP_CMD_ATTACH || cmd == BLKTAP_CMD_RECOVER)
		nla_put_u32(msg, BLKTAP_A_PID, getpid());
	if (cmd == BLKTAP_CMD_OPEN)
		nla_put_string(msg, BLKTAP_A_NAME, "aio:/image");
	if (cmd == BLKTAP_CMD_SET) {
		nla_put_u32(msg, BLKTAP_A_REQUEST_TIMEOUT, 7);
		nla_put_u32(msg, BLKTAP_A_ON_TIMEOUT, BLKTAP_ON_TIMEOUT_FAIL);
	}
}

/* What there is to change. */
struct state {
	long state, timeout, policy;
	char pages[32];
};

static struct state state_of(struct btnl *nl, uint32_t minor)
{
	struct state s = {
		.state = btnl_get_u32(nl, minor, BLKTAP_A_STATE),
		.timeout = btnl_get_u32(nl, minor, BLKTAP_A_REQUEST_TIMEOUT),
		.policy = btnl_get_u32(nl, minor, BLKTAP_A_ON_TIMEOUT),
	};

	CHECK(sysfs_read(MISC_DIR "/pools/default", "size", s.pages, sizeof(s.pages)));
	return s;
}

static void expect_unchanged(struct btnl *nl, uint32_t minor, const struct state *was,
			     const char *what)
{
	struct state s = state_of(nl, minor);

	CHECK(s.state == was->state && s.timeout == was->timeout && s.policy == was->policy &&
	      !strcmp(s.pages, was->pages), "%s has changed something: state %lx, %ld s, %ld, %s pages",
	      what, s.state, s.timeout, s.policy, s.pages);
}

static void expect_reads_only(struct btnl *nl, uint32_t minor)
{
	struct state was = state_of(nl, minor);
	char what[32];

	for (int cmd = BLKTAP_CMD_UNSPEC + 1; cmd <= BLKTAP_CMD_MAX; cmd++) {
		struct nl_msg *msg;
		int err;

		if (is_anybody_s(cmd))
			continue;
		msg = btnl_new(nl, cmd);
		put_everything(msg, cmd, minor);
		err = btnl_send_for_ack(nl, msg);
		CHECK(err == EPERM, "command %d: %s", cmd, err ? strerror(err) : "accepted");
		snprintf(what, sizeof(what), "command %d", cmd);
		expect_unchanged(nl, minor, &was, what);
	}
	CHECK(btnl_get_u32(nl, minor, BLKTAP_A_MINOR) == (long)minor);
	CHECK(btnl_dump(nl, btnl_new(nl, BLKTAP_CMD_GET), NULL, NULL) == 1);
	CHECK(btnl_dump(nl, btnl_new(nl, BLKTAP_CMD_TAPDISK_GET), NULL, NULL) >= 0);
	CHECK(btnl_dump(nl, btnl_new(nl, BLKTAP_CMD_POOL_GET), NULL, NULL) >= 1);
	CHECK(btnl_dump(nl, btnl_new(nl, BLKTAP_CMD_VBD_GET), NULL, NULL) >= 0);
}

static int as_nobody(void *minor)
{
	struct btnl nl;

	CHECK_OK(setgid(65534));
	CHECK_OK(setuid(65534));
	btnl_open(&nl);
	expect_reads_only(&nl, *(uint32_t *)minor);
	return 0;
}

/* Root of its own user namespace is nobody here. */
static int as_root_of_a_namespace(void *minor)
{
	struct btnl nl;

	if (unshare(CLONE_NEWUSER))
		return ENOSYS;
	btnl_open(&nl);
	expect_reads_only(&nl, *(uint32_t *)minor);
	return 0;
}

static void without_capability_only_reads(void)
{
	struct btnl nl;
	uint32_t minor;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	CHECK(in_child(as_nobody, &minor) == 0);
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 0) == 0, "%s", nl.text);
}

static void a_user_namespace_gives_no_capability(void)
{
	struct btnl nl;
	uint32_t minor;
	int err;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	err = in_child(as_root_of_a_namespace, &minor);
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 0) == 0, "%s", nl.text);
	if (err == ENOSYS)
		ktap_skip("no user namespaces");
	CHECK(err == 0);
}

/* --- what -------------------------------------------------------------------- */

/* How a request is spoilt. */
struct spoilt {
	const char *what;
	int cmd;
	void (*put)(struct nl_msg *msg);
};

static void put_nothing(struct nl_msg *msg)
{
	(void)msg;
}

static void put_short_minor(struct nl_msg *msg)
{
	nla_put_u8(msg, BLKTAP_A_MINOR, 0);
}

static void put_long_minor(struct nl_msg *msg)
{
	nla_put_u64(msg, BLKTAP_A_MINOR, 0);
}

static void put_empty_minor(struct nl_msg *msg)
{
	nla_put(msg, BLKTAP_A_MINOR, 0, NULL);
}

static void put_unknown(struct nl_msg *msg)
{
	nla_put_u32(msg, BLKTAP_A_MINOR, 0);
	nla_put_u32(msg, BLKTAP_A_MAX + 7, 1);
}

static void put_timeout(struct nl_msg *msg, uint32_t seconds)
{
	nla_put_u32(msg, BLKTAP_A_MINOR, 0);
	nla_put_u32(msg, BLKTAP_A_TIMEOUT, seconds);
}

static void put_timeout_0(struct nl_msg *msg)
{
	put_timeout(msg, 0);
}

static void put_timeout_86401(struct nl_msg *msg)
{
	put_timeout(msg, 86401);
}

static void put_timeout_max(struct nl_msg *msg)
{
	put_timeout(msg, 0xffffffff);
}

static void put_name(struct nl_msg *msg, size_t len, size_t nul)
{
	char *name = malloc(len + 1);

	memset(name, 'n', len);
	memcpy(name, "aio:/", len < 5 ? len : 5);
	if (nul < len)
		name[nul] = 0;
	nla_put_u32(msg, BLKTAP_A_MINOR, 0);
	nla_put(msg, BLKTAP_A_NAME, len, name);
	free(name);
}

static void put_empty_name(struct nl_msg *msg)
{
	put_name(msg, 0, 0);
}

static void put_long_name(struct nl_msg *msg)
{
	put_name(msg, BLKTAP_NAME_MAX + 1, BLKTAP_NAME_MAX);
}

static void put_huge_name(struct nl_msg *msg)
{
	put_name(msg, 20000, 20000);
}

static void put_minor_only(struct nl_msg *msg)
{
	nla_put_u32(msg, BLKTAP_A_MINOR, 0);
}

static void put_wrong_flag(struct nl_msg *msg)
{
	put_minor_only(msg);
	nla_put_u32(msg, BLKTAP_A_FORCE, 1);
}

static void put_pool(struct nl_msg *msg, const char *pool, int pages)
{
	nla_put_string(msg, BLKTAP_A_POOL, pool);
	if (pages >= 0)
		nla_put_u32(msg, BLKTAP_A_POOL_PAGES, pages);
}

static void put_pool_without_value(struct nl_msg *msg)
{
	put_pool(msg, "default", -1);
}

static void put_empty_pool(struct nl_msg *msg)
{
	put_minor_only(msg);
	put_pool(msg, "", -1);
}

static void put_pool_with_slash(struct nl_msg *msg)
{
	put_minor_only(msg);
	put_pool(msg, "a/b", -1);
}

static void put_pool_dotdot(struct nl_msg *msg)
{
	put_minor_only(msg);
	put_pool(msg, "..", -1);
}

static void put_long_pool(struct nl_msg *msg)
{
	put_minor_only(msg);
	put_pool(msg, "0123456789012345678901234567890123456789012345678901234567890123456789",
		 -1);
}

static void put_pool_0(struct nl_msg *msg)
{
	put_pool(msg, "default", 0);
}

static void put_pool_10(struct nl_msg *msg)
{
	put_pool(msg, "default", 10);
}

static const struct spoilt spoilt[] = {
	{ "GET without a minor", BLKTAP_CMD_GET, put_nothing },
	{ "FREE without a minor", BLKTAP_CMD_FREE, put_nothing },
	{ "ATTACH without anything", BLKTAP_CMD_ATTACH, put_nothing },
	{ "ATTACH without a pid", BLKTAP_CMD_ATTACH, put_minor_only },
	{ "DETACH without a minor", BLKTAP_CMD_DETACH, put_nothing },
	{ "OPEN without anything", BLKTAP_CMD_OPEN, put_nothing },
	{ "OPEN without a name", BLKTAP_CMD_OPEN, put_minor_only },
	{ "CLOSE without a minor", BLKTAP_CMD_CLOSE, put_nothing },
	{ "PAUSE without a minor", BLKTAP_CMD_PAUSE, put_nothing },
	{ "RESUME without a minor", BLKTAP_CMD_RESUME, put_nothing },
	{ "STATS without a minor", BLKTAP_CMD_STATS, put_nothing },
	{ "RECALL without a minor", BLKTAP_CMD_RECALL, put_nothing },
	{ "RECOVER without anything", BLKTAP_CMD_RECOVER, put_nothing },
	{ "RECOVER without a pid", BLKTAP_CMD_RECOVER, put_minor_only },
	{ "SET without a minor", BLKTAP_CMD_SET, put_nothing },
	{ "VBD_SET without a guest", BLKTAP_CMD_VBD_SET, put_nothing },
	{ "POOL_GET without a pool", BLKTAP_CMD_POOL_GET, put_nothing },
	{ "POOL_SET without a pool", BLKTAP_CMD_POOL_SET, put_nothing },
	{ "POOL_SET without a value", BLKTAP_CMD_POOL_SET, put_pool_without_value },
	{ "a minor of one byte", BLKTAP_CMD_GET, put_short_minor },
	{ "a minor of eight bytes", BLKTAP_CMD_GET, put_long_minor },
	{ "a minor of no bytes", BLKTAP_CMD_FREE, put_empty_minor },
	{ "an unknown attribute", BLKTAP_CMD_FREE, put_unknown },
	{ "timeout 0", BLKTAP_CMD_FREE, put_timeout_0 },
	{ "timeout 86401", BLKTAP_CMD_PAUSE, put_timeout_86401 },
	{ "timeout 2^32 - 1", BLKTAP_CMD_CLOSE, put_timeout_max },
	{ "a name of no bytes", BLKTAP_CMD_OPEN, put_empty_name },
	{ "a name too long by one", BLKTAP_CMD_OPEN, put_long_name },
	{ "a huge name", BLKTAP_CMD_OPEN, put_huge_name },
	{ "a flag with a value", BLKTAP_CMD_CLOSE, put_wrong_flag },
	{ "an empty pool name", BLKTAP_CMD_POOL_SET, put_empty_pool },
	{ "a pool name with a slash", BLKTAP_CMD_POOL_SET, put_pool_with_slash },
	{ "pool ..", BLKTAP_CMD_POOL_SET, put_pool_dotdot },
	{ "a pool name too long", BLKTAP_CMD_POOL_SET, put_long_pool },
	{ "a pool of no pages", BLKTAP_CMD_POOL_SET, put_pool_0 },
	{ "a pool below one request", BLKTAP_CMD_POOL_SET, put_pool_10 },
};

/* Minor 0 is there, so that nothing is refused for its absence. */
static void spoilt_requests_are_explained(void)
{
	struct btnl nl;
	uint32_t minor;
	int bad = 0;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	CHECK(minor == 0, "%u", minor);
	for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
		struct nl_msg *msg = btnl_new(&nl, spoilt[i].cmd);
		int err;

		spoilt[i].put(msg);
		err = btnl_send_for_ack(&nl, msg);
		if ((err == EINVAL || err == ERANGE || err == ENAMETOOLONG) && nl.text[0])
			continue;
		ktap_say("%s: %s, text '%s'", spoilt[i].what, err ? strerror(err) : "accepted",
			 nl.text);
		bad++;
	}
	CHECK(!bad, "%d of them", bad);
	CHECK(btnl_get_u32(&nl, minor, BLKTAP_A_STATE) == 0);
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 0) == 0, "%s", nl.text);
}

/* --- SET ----------------------------------------------------------------------- */

struct setting {
	const char *what;
	int error;
	const char *text;
	int attr;
	int len;
	uint64_t value;		/* little-endian: its first bytes */
};

static const struct setting bad_settings[] = {
	{ "request_timeout 86401", ERANGE, "integer out of range",
	  BLKTAP_A_REQUEST_TIMEOUT, 4, 86401 },
	{ "request_timeout -1", ERANGE, "integer out of range",
	  BLKTAP_A_REQUEST_TIMEOUT, 4, 0xffffffff },
	{ "an empty request_timeout", EINVAL, "invalid attribute length",
	  BLKTAP_A_REQUEST_TIMEOUT, 0, 0 },
	{ "request_timeout of 8 bytes", EINVAL, "invalid attribute length",
	  BLKTAP_A_REQUEST_TIMEOUT, 8, 7 },
	{ "an on_timeout that is none", ERANGE, "integer out of range",
	  BLKTAP_A_ON_TIMEOUT, 4, BLKTAP_ON_TIMEOUT_FAIL + 1 },
	{ "on_timeout -1", ERANGE, "integer out of range", BLKTAP_A_ON_TIMEOUT, 4, 0xffffffff },
	{ "an empty on_timeout", EINVAL, "invalid attribute length", BLKTAP_A_ON_TIMEOUT, 0, 0 },
	{ "on_timeout of 1 byte", EINVAL, "invalid attribute length", BLKTAP_A_ON_TIMEOUT, 1, 1 },
};

static int set_both(struct btnl *nl, uint32_t minor, uint32_t timeout, uint32_t policy)
{
	struct nl_msg *msg = btnl_new(nl, BLKTAP_CMD_SET);

	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	nla_put_u32(msg, BLKTAP_A_REQUEST_TIMEOUT, timeout);
	nla_put_u32(msg, BLKTAP_A_ON_TIMEOUT, policy);
	return btnl_send_for_ack(nl, msg);
}

static void settings_are_what_was_set(void)
{
	static const uint32_t timeouts[] = { 0, 1, 86400, 60 };
	struct state s;
	struct btnl nl;
	uint32_t minor;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	s = state_of(&nl, minor);
	CHECK(s.timeout == 120 && s.policy == BLKTAP_ON_TIMEOUT_WAIT, "%ld, %ld", s.timeout,
	      s.policy);
	for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
		CHECK(!set_both(&nl, minor, timeouts[i], i % 2), "%s", nl.text);
		s = state_of(&nl, minor);
		CHECK(s.timeout == timeouts[i] && s.policy == (long)i % 2, "%ld, %ld", s.timeout,
		      s.policy);
	}
	/* Each may be left out, and so may both. */
	CHECK(!btnl_order(&nl, BLKTAP_CMD_SET, minor, 0), "%s", nl.text);
	expect_unchanged(&nl, minor, &s, "SET of nothing");
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 0) == 0, "%s", nl.text);
}

/* Nor does what is good beside it. */
static void bad_settings_are_explained_and_change_nothing(void)
{
	struct state was;
	struct btnl nl;
	uint32_t minor;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	was = state_of(&nl, minor);
	for (size_t i = 0; i < sizeof(bad_settings) / sizeof(bad_settings[0]); i++) {
		const struct setting *b = &bad_settings[i];
		struct nl_msg *msg = btnl_new(&nl, BLKTAP_CMD_SET);
		int err;

		nla_put_u32(msg, BLKTAP_A_MINOR, minor);
		if (b->attr == BLKTAP_A_REQUEST_TIMEOUT)
			nla_put_u32(msg, BLKTAP_A_ON_TIMEOUT, BLKTAP_ON_TIMEOUT_FAIL);
		else
			nla_put_u32(msg, BLKTAP_A_REQUEST_TIMEOUT, 7);
		nla_put(msg, b->attr, b->len, &b->value);
		err = btnl_send_for_ack(&nl, msg);
		CHECK(err == b->error, "%s: %s", b->what, err ? strerror(err) : "accepted");
		CHECK(!strcmp(nl.text, b->text), "%s: '%s'", b->what, nl.text);
		expect_unchanged(&nl, minor, &was, b->what);
	}
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 0) == 0, "%s", nl.text);
}

/* --- what is no request of the family ------------------------------------------ */

static void unknown_commands_are_eopnotsupp(void)
{
	static const int cmds[] = {
		BLKTAP_CMD_UNSPEC, BLKTAP_CMD_DONE, BLKTAP_CMD_EVENT, BLKTAP_CMD_MAX + 1, 255,
	};
	struct btnl nl;

	btnl_open(&nl);
	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		int err = btnl_send_for_ack(&nl, btnl_new(&nl, cmds[i]));

		CHECK(err == EOPNOTSUPP, "command %d: %s", cmds[i], strerror(err));
	}
}

/* A genetlink header cut short, and attributes that run out of the message. */
static void cut_messages_are_refused(void)
{
	struct btnl nl;
	struct nl_msg *msg;
	struct nlattr *a;
	int err;

	btnl_open(&nl);
	msg = nlmsg_alloc_size(4096);
	nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl.family, 0, 0);
	err = btnl_send_for_ack(&nl, msg);
	CHECK(err == EINVAL, "%s", strerror(err));

	msg = btnl_new(&nl, BLKTAP_CMD_FREE);
	a = nla_reserve(msg, BLKTAP_A_MINOR, 4);
	a->nla_len = 4000;
	err = btnl_send_for_ack(&nl, msg);
	CHECK(err == EINVAL, "%s", strerror(err));

	msg = btnl_new(&nl, BLKTAP_CMD_FREE);
	a = nla_reserve(msg, BLKTAP_A_MINOR, 4);
	a->nla_len = 1;
	err = btnl_send_for_ack(&nl, msg);
	CHECK(err == EINVAL, "%s", strerror(err));
}

/* --- what they name ----------------------------------------------------------- */

static void unknown_minors_are_named(void)
{
	static const int cmds[] = {
		BLKTAP_CMD_GET, BLKTAP_CMD_FREE, BLKTAP_CMD_DETACH, BLKTAP_CMD_CLOSE,
		BLKTAP_CMD_PAUSE, BLKTAP_CMD_RESUME, BLKTAP_CMD_STATS, BLKTAP_CMD_RECALL,
		BLKTAP_CMD_RECOVER, BLKTAP_CMD_SET,
	};
	static const uint32_t minors[] = { 7, NO_SUCH_MINOR, 0x100000, 0x80000000, 0xffffffff };
	struct btnl nl;

	btnl_open(&nl);
	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		for (size_t j = 0; j < sizeof(minors) / sizeof(minors[0]); j++) {
			int err = btnl_order(&nl, cmds[i], minors[j], 0);

			CHECK(err == ENODEV || err == ENOENT || err == ERANGE || err == EINVAL,
			      "command %d of minor %#x: %s", cmds[i], minors[j], strerror(err));
			CHECK(nl.text[0], "command %d has no text", cmds[i]);
		}
	}
}

static void unknown_pids_are_esrch(void)
{
	struct tapdisk td = { 0 };
	struct nl_msg *msg;
	struct btnl nl;
	uint32_t minor;
	int err;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	msg = btnl_new(&nl, BLKTAP_CMD_ATTACH);
	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	nla_put_u32(msg, BLKTAP_A_PID, NO_SUCH_PID);
	err = btnl_send_for_ack(&nl, msg);
	CHECK(err == ESRCH, "%s", strerror(err));
	CHECK(nl.text[0]);

	/* Process 1 exists, but is no tapdisk. */
	msg = btnl_new(&nl, BLKTAP_CMD_ATTACH);
	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	nla_put_u32(msg, BLKTAP_A_PID, 1);
	err = btnl_send_for_ack(&nl, msg);
	CHECK(err == ESRCH, "%s", strerror(err));
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 0) == 0, "%s", nl.text);

	/* The pid of an order must be that of the tap's tapdisk. */
	tapdisk_start(&td);
	tapdisk_attach(&td);
	msg = btnl_new(&td.nl, BLKTAP_CMD_PAUSE);
	nla_put_u32(msg, BLKTAP_A_MINOR, td.tap.h.minor);
	nla_put_u32(msg, BLKTAP_A_PID, 1);
	err = btnl_send_for_ack(&td.nl, msg);
	CHECK(err == ESRCH, "%s", strerror(err));
	tapdisk_detach(&td);
	tapdisk_free(&td);
}

static void a_minor_can_be_asked_for(void)
{
	struct btnl nl;
	struct nl_msg *msg;
	int err;

	btnl_open(&nl);
	msg = btnl_new(&nl, BLKTAP_CMD_ALLOC);
	nla_put_u32(msg, BLKTAP_A_MINOR, 5000);
	CHECK(btnl_send_for_ack(&nl, msg) == 0, "%s", nl.text);
	CHECK(btnl_get_u32(&nl, 5000, BLKTAP_A_MINOR) == 5000);
	msg = btnl_new(&nl, BLKTAP_CMD_ALLOC);
	nla_put_u32(msg, BLKTAP_A_MINOR, 5000);
	err = btnl_send_for_ack(&nl, msg);
	CHECK(err == EBUSY || err == EEXIST, "%s", strerror(err));
	CHECK(nl.text[0]);
	msg = btnl_new(&nl, BLKTAP_CMD_ALLOC);
	nla_put_u32(msg, BLKTAP_A_MINOR, 1 << 20);
	err = btnl_send_for_ack(&nl, msg);
	CHECK(err == ERANGE || err == EINVAL, "%s", strerror(err));
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, 5000, 0) == 0, "%s", nl.text);
}

/* --- in the wrong state -------------------------------------------------------- */

/* At once or by DONE, but without asking the tapdisk. */
static void expect_refused(struct tapdisk *td, int cmd, const char *name, const char *what)
{
	int err = tapdisk_order(td, cmd, name, 2) ?: btnl_wait_done(&td->nl, td->nl.seq, 1);

	CHECK(err > 0 && err != ETIMEDOUT, "%s: %d", what, err);
	CHECK(td->nl.text[0], "%s: no text", what);
	CHECK(!channel_wait(td->channel, 0), "%s: the tapdisk is asked", what);
}

static void orders_in_the_wrong_state_are_refused(void)
{
	struct tapdisk td = { 0 };
	struct btnl nl;
	uint32_t idle;
	int err;

	btnl_open(&nl);
	idle = btnl_alloc(&nl);
	err = btnl_do(&nl, BLKTAP_CMD_DETACH, idle, 1);
	CHECK(err > 0 && err != ETIMEDOUT && nl.text[0], "DETACH of an idle tap: %d", err);
	/* As REMOVE_DEVICE: what is closed is closed. */
	err = btnl_do(&nl, BLKTAP_CMD_CLOSE, idle, 1);
	CHECK(err == 0, "CLOSE of an idle tap: %d", err);
	err = btnl_do(&nl, BLKTAP_CMD_PAUSE, idle, 1);
	CHECK(err > 0 && err != ETIMEDOUT && nl.text[0], "PAUSE of an idle tap: %d", err);
	err = btnl_do(&nl, BLKTAP_CMD_STATS, idle, 1);
	CHECK(err > 0 && err != ETIMEDOUT && nl.text[0], "STATS of an idle tap: %d", err);
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, idle, 0) == 0, "%s", nl.text);

	tapdisk_start(&td);
	tapdisk_attach(&td);
	expect_refused(&td, BLKTAP_CMD_ATTACH, NULL, "ATTACH twice");
	expect_refused(&td, BLKTAP_CMD_RESUME, NULL, "RESUME of a closed tap");
	tapdisk_open(&td, "aio:/x");
	expect_refused(&td, BLKTAP_CMD_OPEN, "aio:/y", "OPEN twice");
	expect_refused(&td, BLKTAP_CMD_DETACH, NULL, "DETACH of an open tap");
	expect_refused(&td, BLKTAP_CMD_RESUME, NULL, "RESUME of a running tap");
	tapdisk_end(&td);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(without_capability_only_reads),
	KTAP_CASE(a_user_namespace_gives_no_capability),
	KTAP_CASE(spoilt_requests_are_explained),
	KTAP_CASE(settings_are_what_was_set),
	KTAP_CASE(bad_settings_are_explained_and_change_nothing),
	KTAP_CASE(unknown_commands_are_eopnotsupp),
	KTAP_CASE(cut_messages_are_refused),
	KTAP_CASE(unknown_minors_are_named),
	KTAP_CASE(unknown_pids_are_esrch),
	KTAP_CASE(a_minor_can_be_asked_for),
	KTAP_CASE(orders_in_the_wrong_state_are_refused),
};

KTAP_MAIN(cases, &state_checks)
