// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ktap.h"

#define CASE_SECONDS	60
#define EXIT_SKIP	4

int ktap_scale(void)
{
	const char *s = getenv("BLKTAP_TEST_SCALE");
	int scale = s ? atoi(s) : 1;

	return scale > 1 ? scale : 1;
}

void ktap_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	flockfile(stdout);
	fputs("# ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	funlockfile(stdout);
	va_end(ap);
}

void ktap_fail(const char *file, int line, const char *what, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	ktap_say("%s:%d: %s: %s", base ? base + 1 : file, line, what, why);
	_exit(1);
}

void ktap_skip(const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	ktap_say("SKIP %s", why);
	_exit(EXIT_SKIP);
}

static void show_file(pid_t pid, const char *file)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	f = fopen(path, "r");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		printf("# %s: %s\n", file, line);
	}
	fclose(f);
}

/* What the processes of a case that has failed were waiting for. */
static void show_group(pid_t group)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);

		if (pid <= 0 || pid == group || getpgid(pid) != group)
			continue;
		printf("# process %d\n", pid);
		show_file(pid, "stack");
	}
	if (proc)
		closedir(proc);
}

/* Wait up to @seconds; false: it is still there. */
static bool wait_child(pid_t pid, int seconds, int *status)
{
	struct timespec end, now, nap = { .tv_nsec = 5000000 };

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	do {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		nanosleep(&nap, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end.tv_sec);
	return false;
}

/* Returns the child's exit status, 128 + signal, or -1 for one that can't be killed. */
static int run_child(const struct ktap_case *c, int seconds)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		c->run();
		exit(0);
	}
	if (!wait_child(pid, seconds, &status)) {
		ktap_say("ran out of its %d s", seconds);
		show_file(pid, "wchan");
		show_file(pid, "stack");
		kill(-pid, SIGKILL);
		if (!wait_child(pid, 10 * ktap_scale(), &status)) {
			ktap_say("process %d can't be killed", pid);
			show_file(pid, "stack");
			return -1;
		}
		return 128 + SIGKILL;
	}
	if (status)
		show_group(pid);
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status)) {
		ktap_say("killed by %s", strsignal(WTERMSIG(status)));
		return 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}

static bool is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return true;
	return argc < 2;
}

/* Returns run_child()'s result; 1 also where only something was left behind. */
static int run_case(int number, const struct ktap_case *c, const struct ktap_checks *checks)
{
	int rc, seconds = CASE_SECONDS * ktap_scale();
	const char *left = NULL;

	if (checks && checks->before)
		checks->before(c->name);
	rc = run_child(c, seconds + (checks ? checks->seconds : 0));
	if (checks && checks->after)
		left = checks->after();
	if (left) {
		ktap_say("after %s: %s", c->name, left);
		rc = rc < 0 ? rc : 1;
	}
	if (rc == EXIT_SKIP)
		printf("ok %d %s # SKIP\n", number, c->name);
	else
		printf("%s %d %s\n", rc ? "not ok" : "ok", number, c->name);
	return rc;
}

int ktap_main(int argc, char **argv, const struct ktap_case *cases, int nr,
	      const struct ktap_checks *checks)
{
	int n = 0, planned = 0, failed = 0, skipped = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < nr; i++)
		planned += is_wanted(cases[i].name, argc, argv);
	printf("TAP version 13\n1..%d\n", planned);

	for (int i = 0; i < nr; i++) {
		int rc;

		if (!is_wanted(cases[i].name, argc, argv))
			continue;
		rc = run_case(++n, &cases[i], checks);
		skipped += rc == EXIT_SKIP;
		failed += rc && rc != EXIT_SKIP;
		if (rc < 0) {
			printf("Bail out! A process is stuck in the kernel\n");
			return 1;
		}
	}
	if (failed)
		return 1;
	return planned && skipped == planned ? EXIT_SKIP : 0;
}
