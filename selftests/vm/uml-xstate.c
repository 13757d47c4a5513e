// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into User-Mode Linux 6.1. It saves 2696 bytes of a process's extended
 * processor state and hands the same number back to PTRACE_SETREGSET, but the
 * host takes nothing but the size of its own CPU's state. That is more where there is
 * AMX: what is missing are components that no guest process can have in use (they must
 * be asked for by arch_prctl), so their initial state, zero, is right. It is less where
 * the CPU lays its components out closer, as AMD's do: PTRACE_GETREGSET has filled no
 * more than that, and the rest means nothing.
 */
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define XSTATE_MAX 65536

static long set_xstate(long pid, const struct iovec *given)
{
	static unsigned char state[XSTATE_MAX] __attribute__((aligned(64)));
	static size_t host_size;
	struct iovec iov = { state, sizeof(state) };

	if (!host_size) {
		if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov) < 0)
			return -1;
		host_size = iov.iov_len;
		memset(state, 0, sizeof(state));
	}
	memcpy(state, given->iov_base, given->iov_len < host_size ? given->iov_len : host_size);
	iov.iov_len = host_size;
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov);
}

/* As libc's: the PEEK requests, whose result libc takes from memory, return it. */
long ptrace(enum __ptrace_request request, ...)
{
	long pid, addr, data, value, result;
	va_list args;

	va_start(args, request);
	pid = va_arg(args, pid_t);
	addr = va_arg(args, long);
	data = va_arg(args, long);
	va_end(args);

	if (request == PTRACE_SETREGSET && addr == NT_X86_XSTATE)
		return set_xstate(pid, (const struct iovec *)data);
	if (request < PTRACE_PEEKTEXT || request > PTRACE_PEEKUSER)
		return syscall(SYS_ptrace, request, pid, addr, data);
	result = syscall(SYS_ptrace, request, pid, addr, &value);
	return result < 0 ? result : value;
}
