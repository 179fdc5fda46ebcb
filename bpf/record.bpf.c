/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one object of the recorder. Which of its programs are loaded is decided
 * at run time (`src/record/backend/`): one that this kernel refuses costs
 * nothing and does not stop the others.
 */
#include "filter.h"
#include <bpf/bpf_tracing.h>

#include "owner.bpf.c"
#include "scan.bpf.c"
#include "cgroup.bpf.c"
#if __has_include("socket.bpf.c")
#include "socket.bpf.c"
#endif

/* BSD as well as GPL: the helpers that read the kernel are for GPL programs only. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
