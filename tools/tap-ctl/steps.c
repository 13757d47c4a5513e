// SPDX-License-Identifier: GPL-2.0-only
#include "steps.h"

#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "image.h"
#include "node.h"
#include "tapdisk.h"
#include "taps.h"

int step_allocate(struct client *client, const char *node, char path[PATH_MAX])
{
	struct request alloc = { .cmd = BLKTAP_CMD_ALLOC, .minor = -1 };
	struct request undo = { .cmd = BLKTAP_CMD_FREE };
	struct message tap = { 0 };
	char usual[NODE_PATH_MAX];
	int err;

	err = client_get(client, &alloc, message_move, &tap);
	message_free(&tap);
	if (err)
		return err;
	node_path(tap.minor, usual);
	snprintf(path, PATH_MAX, "%s", node ?: usual);
	err = node_make(path, makedev(tap.disk_major, tap.minor));
	if (err) {
		undo.minor = tap.minor;
		client_order(client, &undo, NULL);
		return err;
	}
	return tap.minor;
}

int step_allocate_for(struct client *client, const struct vbd_ids *vbd)
{
	struct request alloc = { .cmd = BLKTAP_CMD_ALLOC, .minor = -1, .vbd = vbd };
	struct message tap = { 0 };
	int err;

	err = client_get(client, &alloc, message_move, &tap);
	message_free(&tap);
	return err ?: (int)tap.minor;
}

int step_image(struct client *client, int minor, const char *image, char **name)
{
	struct message tap;
	int err;

	err = tap_get(client, minor, &tap);
	if (err)
		return err;
	message_free(&tap);
	return image_name(image, name);
}

int step_detach(struct client *client, int minor, uint32_t pid, uint32_t timeout)
{
	struct request detach = {
		.cmd = BLKTAP_CMD_DETACH, .minor = minor, .pid = pid, .timeout = timeout,
	};
	struct message tap;
	int watch = -1, err;

	err = tap_get(client, minor, &tap);
	if (err)
		return err;
	message_free(&tap);
	if (tap.pid)
		watch = tapdisk_watch(tap.pid);
	err = client_order(client, &detach, NULL);
	if (!err && taps_served(client, tap.pid) == 0)
		tapdisk_await(watch);
	if (watch >= 0)
		close(watch);
	return err;
}

int step_free(struct client *client, int minor, const char *node, uint32_t timeout)
{
	struct request free = { .cmd = BLKTAP_CMD_FREE, .minor = minor, .timeout = timeout };
	char usual[NODE_PATH_MAX];
	dev_t usual_dev, node_dev;
	int err;

	/* Nodes go first: once it is free, the minor may be another one's. */
	node_path(minor, usual);
	usual_dev = node_remove(usual, minor);
	node_dev = node ? node_remove(node, minor) : 0;
	err = client_order(client, &free, NULL);
	if (err && usual_dev)
		node_make(usual, usual_dev);
	if (err && node_dev)
		node_make(node, node_dev);
	return err;
}
