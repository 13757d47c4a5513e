// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/blktap.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client.h"
#include "command.h"
#include "node.h"
#include "report.h"

static const struct opt *const opts[] = { NULL };

static int run_check(const struct args *args)
{
	struct client *client;
	struct stat st;
	int err;

	(void)args;
	err = client_open(&client);
	if (err)
		return err;
	client_close(client);
	if (stat(BLKTAP_CONTROL_NODE, &st)) {
		report("%s: %s: is devtmpfs on /dev?", BLKTAP_CONTROL_NODE, strerror(errno));
		return -errno;
	}
	if (!S_ISCHR(st.st_mode)) {
		report("%s: not a character device", BLKTAP_CONTROL_NODE);
		return -ENODEV;
	}
	printf("ok\n");
	return 0;
}

const struct command cmd_check = {
	.name = "check",
	.summary = "Print ok if the kernel module is there",
	.opts = opts,
	.run = run_check,
};

static int run_major(const struct args *args)
{
	int major = node_major();

	(void)args;
	if (major < 0)
		return major;
	printf("%d\n", major);
	return 0;
}

const struct command cmd_major = {
	.name = "major",
	.summary = "Print the major number of the block devices",
	.opts = opts,
	.run = run_major,
};
