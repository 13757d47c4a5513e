// SPDX-License-Identifier: GPL-2.0-only
/* The list of taps and tapdisks. */
#include "taps.h"

#include <errno.h>
#include <stdlib.h>

#include "report.h"

#define DUMP_TRIES	100	/* of a dump that is interrupted by changes */

int message_move(struct message *msg, void *arg)
{
	struct message *to = arg;

	message_free(to);
	*to = *msg;
	*msg = (struct message){ 0 };
	return 0;
}

int tap_get(struct client *client, int minor, struct message *tap)
{
	struct request rq = { .cmd = BLKTAP_CMD_GET, .minor = minor };

	*tap = (struct message){ 0 };
	return client_get(client, &rq, message_move, tap);
}

void taps_free(struct taps *taps)
{
	for (size_t i = 0; i < taps->nr; i++)
		message_free(&taps->at[i]);
	free(taps->at);
	*taps = (struct taps){ 0 };
}

int taps_add(struct message *msg, void *arg)
{
	struct taps *taps = arg;
	struct message *at = reallocarray(taps->at, taps->nr + 1, sizeof(*at));

	if (!at) {
		report("list: out of memory");
		return -ENOMEM;
	}
	taps->at = at;
	at[taps->nr] = (struct message){ 0 };
	return message_move(msg, &at[taps->nr++]);
}

static int compare(const void *a, const void *b)
{
	const struct message *x = a, *y = b;
	bool x_tap = message_has(x, BLKTAP_A_MINOR), y_tap = message_has(y, BLKTAP_A_MINOR);

	if (x_tap != y_tap)
		return x_tap ? -1 : 1;
	if (x_tap)
		return (x->minor > y->minor) - (x->minor < y->minor);
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool serves(const struct taps *taps, uint32_t pid)
{
	for (size_t i = 0; i < taps->nr; i++)
		if (taps->at[i].pid == pid)
			return true;
	return false;
}

int taps_merge(struct taps *taps, struct taps *tapdisks)
{
	int err;

	for (size_t i = 0; i < tapdisks->nr; i++) {
		struct message *tapdisk = &tapdisks->at[i];

		/* The dumps differ in time: one of the two may know of a tap. */
		if (tapdisk->nr_taps || serves(taps, tapdisk->pid))
			continue;
		err = taps_add(tapdisk, taps);
		if (err)
			return err;
	}
	if (taps->nr)
		qsort(taps->at, taps->nr, sizeof(*taps->at), compare);
	return 0;
}

int taps_dump(struct client *client, uint8_t cmd, struct taps *taps)
{
	int err = -EAGAIN;

	for (int i = 0; i < DUMP_TRIES && err == -EAGAIN; i++) {
		taps_free(taps);
		err = client_dump(client, cmd, taps_add, taps);
	}
	if (err == -EAGAIN)
		report("what is there changes faster than it can be read: try again");
	return err;
}

int taps_get(struct client *client, struct taps *taps)
{
	struct taps tapdisks = { 0 };
	int err;

	*taps = (struct taps){ 0 };
	err = taps_dump(client, BLKTAP_CMD_GET, taps);
	if (!err)
		err = taps_dump(client, BLKTAP_CMD_TAPDISK_GET, &tapdisks);
	if (!err)
		err = taps_merge(taps, &tapdisks);
	taps_free(&tapdisks);
	if (err)
		taps_free(taps);
	return err;
}

int taps_served(struct client *client, uint32_t pid)
{
	struct taps tapdisks = { 0 };
	int served = 0;

	if (taps_dump(client, BLKTAP_CMD_TAPDISK_GET, &tapdisks))
		return -EIO;
	for (size_t i = 0; i < tapdisks.nr; i++)
		if (tapdisks.at[i].pid == pid)
			served = tapdisks.at[i].nr_taps;
	taps_free(&tapdisks);
	return served;
}
