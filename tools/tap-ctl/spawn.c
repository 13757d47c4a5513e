// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/blktap.h>
#include <signal.h>
#include <unistd.h>

#include "client.h"
#include "command.h"
#include "report.h"
#include "tapdisk.h"

static int run_spawn(const struct args *args)
{
	struct client *client;
	pid_t pid;
	int err;

	/* Not needed, but says best what is wrong where there is no module. */
	err = client_open(&client);
	if (err)
		return err;
	client_close(client);
	if (faccessat(AT_FDCWD, BLKTAP_CONTROL_NODE, R_OK | W_OK, AT_EACCESS) &&
	    errno == EACCES) {
		report("spawn: not permitted: it takes CAP_SYS_ADMIN (run as root)");
		return -EPERM;
	}
	err = tapdisk_spawn(&pid, -1, args->timeout);
	if (err)
		return err;
	err = say("%s%d\n", isatty(STDOUT_FILENO) ? "tapdisk spawned with pid " : "", pid);
	if (err)
		tapdisk_stop(pid, SIGTERM);
	return err;
}

static const struct opt *const opts[] = { &opt_timeout, NULL };

const struct command cmd_spawn = {
	.name = "spawn",
	.summary = "Start a tapdisk that serves no tap yet, and print its pid",
	.about = "It ends when the last tap attached to it is detached, or by SIGTERM before\n"
		 "one is.",
	.opts = opts,
	.run = run_spawn,
};
