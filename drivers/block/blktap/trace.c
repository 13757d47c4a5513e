// SPDX-License-Identifier: GPL-2.0-only
#include "blktap.h"
#include "compat.h"

#define CREATE_TRACE_POINTS
#include "trace.h"
