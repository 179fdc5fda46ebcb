/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who may have how much of a ring that is filling, so that a process that says
 * more than the reader can take loses its own bytes and not those of others.
 *
 * While the ring is less than three quarters full nobody is asked and nothing
 * is counted. From there on each process, and each cgroup, has so many bytes
 * for each half of the ring that the reader has taken, fewer the fuller it is:
 * at its worst a crowd of greedy ones has to share what is left by a crowd.
 */
#ifndef PERISCO_SHARE_H
#define PERISCO_SHARE_H

#include "maps.h"

/* Bytes that the reader has not taken yet, reserved ones included. */
static __always_inline __u64 in_ring(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
}

/* What a record of `bytes` takes of the ring: a header of 8 bytes stands before it. */
#define IN_RING(bytes) ((bytes) + 8)

/* From here on shares count, and packets are cut. */
static __always_inline bool is_filling(void)
{
	return in_ring() >= ring_bytes / 4 * 3;
}

/* Processes and cgroups whose share is known. Of more than these some begin anew. */
#define SHARES 4096

struct share {
	__u64 window; /* the half of the ring, counted by what the reader took */
	__u64 used;   /* bytes of it */
};

/* Key: a process, or a cgroup with SHARE_OF_CGROUP. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SHARES);
	__type(key, __u64);
	__type(value, struct share);
} shares SEC(".maps");

/* Events without payload that any process may have, however small the ring. */
#define FEW 8

#define SHARE_OF_CGROUP (1ull << 63)
/* The root: where cgroups tell nothing apart everybody is in it. */
#define ROOT_CGROUP 1

/* Takes `bytes` of the share of `key`, `most` in this window; false: they are not there. */
static __always_inline bool take_share(__u64 key, __u64 window, __u64 most, __u32 bytes)
{
	struct share *share = bpf_map_lookup_elem(&shares, &key);
	struct share first = {.window = window, .used = bytes};

	if (bytes > most)
		return false;
	if (!share) {
		/* No room in an LRU map: only if many add to it at this moment. */
		bpf_map_update_elem(&shares, &key, &first, BPF_ANY);
		return true;
	}
	if (share->window != window) {
		share->window = window;
		share->used = 0;
	}
	if (share->used + bytes > most)
		return false;
	__sync_fetch_and_add(&share->used, bytes);
	return true;
}

/*
 * Whether process `pid` (0: all whose process is not known) of `cgroup` may
 * have `bytes` more, of `most` for a process. A cgroup has twice that.
 */
static __always_inline bool in_share(__u32 pid, __u64 cgroup, __u64 most, __u32 bytes)
{
	__u64 window = bpf_ringbuf_query(&events, BPF_RB_CONS_POS) / (ring_bytes / 2);

	if (!take_share(pid, window, most, bytes))
		return false;
	return cgroup <= ROOT_CGROUP ||
	       take_share(cgroup | SHARE_OF_CGROUP, window, 2 * most, bytes);
}

/* An event of a process that has had its share. */
static __always_inline void over_share(__u32 bytes)
{
	__sync_fetch_and_add(&lost_events, 1);
	count(PERISCO_C_SHARE, 1);
	count(PERISCO_C_SHARE_BYTES, bytes);
}

/*
 * How many of `all` bytes of a packet or call of `pid` to keep, so that a
 * reader that falls behind never costs the beginning of a message: all while
 * the ring is less than three quarters full, then little, in the end what a
 * head takes as a rule. The ring fills with bodies; heads stand at the
 * beginning of what is written. Who has had its share is cut shorter, and in
 * the last eighth has nothing: 0. Counts what is cut off. A global function,
 * whose result is one number to the verifier, not a path for each way to it.
 */
__noinline int fit(__u32 all, __u32 pid, __u64 cgroup)
{
	__u64 queued = in_ring();
	__u32 most = PERISCO_MEDIUM;
	__u64 share = ring_bytes / 16;

	if (queued < ring_bytes / 4 * 3)
		return all;
	if (queued >= ring_bytes / 8 * 7) {
		most = PERISCO_SMALL;
		share = queued < ring_bytes / 32 * 29 ? ring_bytes / 64 : ring_bytes / 512;
	}
	if (!in_share(pid, cgroup, share, all <= PERISCO_SMALL ? PERISCO_SMALL : most)) {
		if (queued >= ring_bytes / 8 * 7) {
			over_share(all);
			return 0;
		}
		most = PERISCO_SMALL;
	}
	if (all <= most)
		return all;
	count(PERISCO_C_CUT, 1);
	count(PERISCO_C_CUT_BYTES, all - most);
	return most;
}

/* Takes an event of the share of `fits_head`, or counts it as lost. */
__noinline int head_in_share(__u32 pid, __u64 cgroup)
{
	if (in_share(pid, cgroup, ring_bytes / 1024 + FEW * sizeof(struct perisco_event),
		     sizeof(struct perisco_event)))
		return 1;
	over_share(0);
	return 0;
}

/*
 * Whether an event without payload may go into the last sixteenth of the ring,
 * which is theirs alone: a thousandth for each process, so that who opens and
 * closes connections without end does not take it all. `queued`: what is in it.
 */
static __always_inline bool fits_head(const struct perisco_event *head, __u64 queued)
{
	struct socket_state *state;

	if (queued < ring_bytes - ring_bytes / 16)
		return true;
	if (head->pid)
		return head_in_share(head->pid, head->cgroup);
	state = bpf_map_lookup_elem(&sockets, &head->socket);
	if (!state)
		return head_in_share(0, head->cgroup);
	return head_in_share(state->owner.pid, state->owner.cgroup);
}

#endif
