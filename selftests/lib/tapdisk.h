/* SPDX-License-Identifier: GPL-2.0-only */
/* A registered tapdisk that takes its orders step by step and serves from memory. */
#ifndef SELFTESTS_LIB_TAPDISK_H
#define SELFTESTS_LIB_TAPDISK_H

#include "nl.h"
#include "server.h"

#define TAPDISK_SECTORS 2048

struct tapdisk {
	int channel;
	struct btnl nl;			/* the admin */
	struct tap tap;
	struct server server;
};

/* Register this process, and open the admin's socket. */
void tapdisk_start(struct tapdisk *td);

/* ALLOC and ATTACH, with the ring mapped. */
void tapdisk_attach(struct tapdisk *td);

/* The answer to an ATTACH order: open and map the ring. */
void tapdisk_map(struct tapdisk *td, uint32_t minor);

/* OPEN of @name, with a disk and a server behind it. */
void tapdisk_open(struct tapdisk *td, const char *name);

/* One command, its order answered with @status: what DONE says. */
int tapdisk_do(struct tapdisk *td, int cmd, unsigned int order, int status, const char *text);

/* CLOSE, DETACH, FREE: each if it applies. */
void tapdisk_close(struct tapdisk *td);
void tapdisk_detach(struct tapdisk *td);
void tapdisk_free(struct tapdisk *td);

/* All of that, and the end of the registration. */
void tapdisk_end(struct tapdisk *td);

/* A command about the tap with the tapdisk's pid: its acknowledgement. */
int tapdisk_order(struct tapdisk *td, int cmd, const char *name, uint32_t timeout);

#endif
