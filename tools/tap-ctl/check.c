// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <linux/blktap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client.h"
#include "command.h"
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

/* The block major by its name, in /proc/devices; 0: there is none. */
static int find_major(FILE *devices)
{
	bool block = false;
	char line[128], name[64];
	int major;

	while (fgets(line, sizeof(line), devices)) {
		if (isalpha((unsigned char)*line))
			block = !strncmp(line, "Block", 5);
		else if (block && sscanf(line, "%d %63s", &major, name) == 2 &&
			 !strcmp(name, BLKTAP_DISK_NAME))
			return major;
	}
	return 0;
}

static int run_major(const struct args *args)
{
	FILE *devices = fopen("/proc/devices", "re");
	int major;

	(void)args;
	if (!devices) {
		report("/proc/devices: %s", strerror(errno));
		return -errno;
	}
	major = find_major(devices);
	fclose(devices);
	if (!major) {
		report("blktap: the kernel module is not loaded: modprobe blktap");
		return -ENODEV;
	}
	printf("%d\n", major);
	return 0;
}

const struct command cmd_major = {
	.name = "major",
	.summary = "Print the major number of the block devices",
	.opts = opts,
	.run = run_major,
};
