// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "report.h"

static int run_set(const struct args *args)
{
	uint32_t timeout = args->request_timeout;
	uint32_t policy = args->on_timeout && !strcmp(args->on_timeout, "fail") ?
			  BLKTAP_ON_TIMEOUT_FAIL : BLKTAP_ON_TIMEOUT_WAIT;
	struct request rq = {
		.cmd = BLKTAP_CMD_SET, .minor = args->minor,
		.request_timeout = args->request_timeout >= 0 ? &timeout : NULL,
		.on_timeout = args->on_timeout ? &policy : NULL,
	};
	struct client *client;
	int err;

	if (!rq.request_timeout && !rq.on_timeout) {
		report("set: give --request-timeout, or --on-timeout");
		return -EINVAL;
	}
	err = client_open(&client);
	if (err)
		return err;
	err = client_get(client, &rq, NULL, NULL);
	client_close(client);
	return err;
}

static const struct opt *const opts[] = {
	&opt_minor, &opt_request_timeout, &opt_on_timeout, NULL,
};

const struct command cmd_set = {
	.name = "set",
	.summary = "Set how long a tap's requests may wait for its tapdisk",
	.about = "A request that waits for longer is reported, and with --on-timeout=fail ends\n"
		 "with an error; in any case it does where the tapdisk has gone.",
	.opts = opts,
	.required = "m",
	.run = run_set,
};
