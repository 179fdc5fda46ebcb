/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps and settings of all programs. Settings are `const volatile`: the
 * loader writes them before the programs are verified, so code that a setting
 * turns off is not there at all.
 */
#ifndef PERISCO_MAPS_H
#define PERISCO_MAPS_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include "event.h"

/* ---- settings ---- */

/* Which programs deliver the payload. */
#define PERISCO_SOCKET 1
#define PERISCO_CGROUP 2
const volatile __u32 back_end = 0;
/* Bytes kept of each write or packet; 0: all. */
const volatile __u32 snaplen = 0;
/* The reader is woken each time that so many bytes (a power of two, this is its exponent) are
 * queued; it also looks on a timer. */
const volatile __u32 wake_shift = 18;
/* Size of the ring. */
const volatile __u32 ring_bytes = 64 << 20;
/* cgroup: what arrives over loopback was captured when it was sent. */
const volatile bool skip_loopback_ingress = false;

/* Filters: each says whether its dimension is asked for (filter.h). */
const volatile bool filter_pids = false;
const volatile bool filter_comms = false;
const volatile bool filter_exes = false;
const volatile bool filter_uids = false;
const volatile bool filter_cgroups = false;
const volatile bool filter_ports = false;
const volatile bool filter_nets = false;
const volatile bool filter_netns = false;
const volatile __u8 filter_role = PERISCO_ROLE_UNKNOWN;
/* One bit for each port. */
const volatile __u64 ports[65536 / 64] = {};

/* ---- state that user space sees or sets while the programs run ---- */

/* The recorder's own process, in the initial pid namespace: never recorded. */
__u32 self_tgid = 0;
/* Sockets of the recorder itself seen so far; 0 spares the look-up. */
__u32 self_sockets = 0;
/* Entries of `missed`, about; 0 spares the look-up. */
__u32 missed_packets = 0;
/* Events that found no room so far: each later event carries it. */
__u64 lost_events = 0;
/*
 * Set when all programs are attached: until then none tells anything. Bytes
 * that only some of them could see would be a gap at the very beginning.
 */
__u32 begun = 0;
/* Of the iterator: whether it looks for listeners (0) or connections (1). */
__u32 scan_pass = 0;

/*
 * Always 0, which the verifier does not know. What is zero in one path and any
 * byte in another makes two paths of all that follows; with this it is any byte
 * in both.
 */
volatile __u64 nothing = 0;

/* ---- maps ---- */

/* Size is set by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PERISCO_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Yes, no, and not known yet. */
#define UNKNOWN 0
#define YES     1
#define NO      2

/* A process, as far as filters and owner events ask. */
struct process {
	__u64 cgroup;
	__u32 pid;
	__u32 tid;
	__u32 uid;
	__u32 exe_device; /* s_dev of the executable; read when filter_exes */
	__u64 exe_inode;
	char comm[PERISCO_COMM];
};

/* What is known of a live socket. */
struct socket_state {
	struct process owner; /* pid 0: none known */
	__u8 wanted;          /* by the filters on processes: YES, NO, UNKNOWN */
	__u8 role;            /* PERISCO_ROLE_* */
	__u8 confirmed;       /* the owner was seen in a call, not only inferred */
	__u8 opened;          /* an OPEN event was sent */
	__u32 read_to;        /* socket back end: end of the last receive, */
	__u8 has_read;        /* if there was one */
	__u8 told;            /* cgroup back end: the owner was sent with the SYN */
	__u8 closed;          /* kept only for what is read after the close */
	__u8 unused[5];
};

/* Key: the address of struct sock. An entry is deleted or marked when its socket
 * closes, so that an address used again starts afresh; LRU, so that a host of more
 * sockets loses knowledge (asked for again at the next call), not memory. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct socket_state);
} sockets SEC(".maps");

/*
 * What is asked of a socket most often, without a hash look-up (which is a third of what a packet
 * costs): by a number made from its address, one word for each socket, so that no one reads half of
 * it. Others may take its place: then the question is answered the long way, and the place taken
 * back. Emptied when a socket opens and when it closes.
 */
#define CACHED 4096

/* Sockets whose process, mixed into the word, is confirmed. */
volatile __u64 used_by[CACHED];
/* cgroup: sockets whose other end is a socket of the same network namespace. */
volatile __u64 peer_here[CACHED];

/* A number for a socket. Of all arithmetic with pointers the verifier allows a difference only. */
static __always_inline __u64 number_of(const void *sk)
{
	__u64 number = (__u64)sk;

	asm volatile("%0 -= %1" : "+r"(number) : "r"(used_by));
	return number;
}

/* Its place: the golden ratio spreads numbers that have a common distance (Knuth, 6.4). */
static __always_inline __u32 place_of(__u64 number)
{
	return number * 0x9e3779b97f4a7c15ull >> 52 & (CACHED - 1);
}

/* Its word with a process. Sockets are less than 2^42 bytes apart, pids less than 2^22. */
static __always_inline __u64 word_of(__u64 number, __u32 pid)
{
	return number ^ (__u64)pid << 42;
}

static __always_inline void forget_cached(const void *sk)
{
	__u32 place = place_of(number_of(sk));

	used_by[place] = 0;
	peer_here[place] = 0;
}

struct listener_key {
	__u32 netns;
	__u32 port;
};

/* Who listens: the owner of what is accepted, until its first call. */
struct listener {
	struct process owner;
	__u64 socket;
	__u8 wanted; /* YES if any process that holds it is wanted */
	__u8 unused[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct listener_key);
	__type(value, struct listener);
} listeners SEC(".maps");

/* Filter sets; the value says nothing. */
#define SET(name, key_type, entries)                                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, __u8);                                                               \
	} name SEC(".maps")

struct comm_key {
	char comm[PERISCO_COMM];
};

struct exe_key {
	__u64 inode;
	__u32 device;
	__u32 unused;
};

/* Children are added as they are forked, the dead are taken out. */
SET(pids, __u32, 65536);
SET(comms, struct comm_key, 1024);
SET(exes, struct exe_key, 1024);
SET(uids, __u32, 1024);
SET(cgroups, __u64, 65536);
SET(netnses, __u32, 1024);

struct net4_key {
	__u32 prefix;
	__u8 address[4];
};

struct net6_key {
	__u32 prefix;
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct net4_key);
	__type(value, __u8);
} nets4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct net6_key);
	__type(value, __u8);
} nets6 SEC(".maps");

/* A packet over loopback of which an event found no room when it was sent. */
struct missed_key {
	__u32 netns;
	__u32 seq;
	__u16 source; /* ports of the TCP header */
	__u16 destination;
};

/* Value: which chunks, one bit each. What arrives with such a number is
 * copied in their place. Small: arrival follows within microseconds. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct missed_key);
	__type(value, __u32);
} missed SEC(".maps");

static __always_inline void count(__u32 counter, __u64 by)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	/* LLVM makes an addition of 0 an atomic OR, which 5.10 does not know. */
	asm volatile("" : "+r"(by));
	/* Atomic: on one CPU a program may interrupt another. */
	if (value)
		__sync_fetch_and_add(value, by);
}

#endif
