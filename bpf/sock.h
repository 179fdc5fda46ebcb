/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A socket → the header of an event; an event → the ring. All programs send
 * through here, so that nothing is lost uncounted.
 */
#ifndef PERISCO_SOCK_H
#define PERISCO_SOCK_H

#include "share.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif

/* Event with payload, by size class. */
struct small_event {
	struct perisco_event head;
	__u8 payload[PERISCO_SMALL];
};

struct medium_event {
	struct perisco_event head;
	__u8 payload[PERISCO_MEDIUM];
};

struct large_event {
	struct perisco_event head;
	__u8 payload[PERISCO_LARGE];
};

struct comm_event {
	struct perisco_event head;
	char comm[PERISCO_COMM];
};

/*
 * Wakes the reader once for each 2^`wake_shift` bytes queued: waking for each event
 * tripled the cost of recording. `before`: what was queued when the record of `bytes`
 * was not reserved yet.
 */
static __always_inline __u64 wake(__u64 before, __u32 bytes)
{
	__u64 after = before + IN_RING(bytes);

	return (after ^ before) >> wake_shift ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/*
 * Whether payload may take `bytes` more of a ring with `queued` in it. The last
 * sixteenth is for events without: how connections open and end, and what of them
 * is missing, is told where nothing else can be.
 */
static __always_inline bool has_room(__u64 queued, __u32 bytes)
{
	return queued + IN_RING(bytes) <= ring_bytes - ring_bytes / 16;
}

/* A data event of `bytes` of payload found the ring full. */
static __always_inline void lost_data(__u32 bytes)
{
	__sync_fetch_and_add(&lost_events, 1);
	count(PERISCO_C_LOST_RING, 1);
	count(PERISCO_C_LOST_RING_BYTES, bytes);
}

/* Any other event found the ring full. */
static __always_inline void lost_other(void)
{
	__sync_fetch_and_add(&lost_events, 1);
	count(PERISCO_C_LOST_OTHER, 1);
}

/* Bounds `n` (1 ..= size, a power of two) in a form that LLVM keeps and the
 * verifier of 5.10 understands. */
#define BOUNDED(n, size)                                                                           \
	({                                                                                         \
		__u64 bounded_ = (n);                                                              \
		bounded_ -= 1;                                                                     \
		barrier_var(bounded_);                                                             \
		bounded_ &= (size)-1;                                                              \
		barrier_var(bounded_);                                                             \
		bounded_ + 1;                                                                      \
	})

/*
 * One data event of the class `type`, if `n` (not 0) fits it:
 * reserves, copies `head`, fills with READ(target, n) (an expression; not 0
 * is a failure, then the event says UNREADABLE), submits.
 * Sets `done` to 1 if the event was sent, -1 if the ring was full.
 */
#define SEND_CLASS(type, head_, n, READ, done)                                                     \
	do {                                                                                       \
		__u64 queued_ = in_ring();                                                         \
		struct type *record_ = NULL;                                                       \
		if (has_room(queued_, sizeof(*record_)))                                           \
			record_ = bpf_ringbuf_reserve(&events, sizeof(*record_), 0);               \
		if (!record_) {                                                                    \
			done = -1;                                                                 \
			break;                                                                     \
		}                                                                                  \
		__u64 bytes_ = BOUNDED(n, sizeof(record_->payload));                               \
		record_->head = *(head_);                                                          \
		record_->head.captured = bytes_;                                                   \
		record_->head.lost = lost_events;                                                  \
		if (READ(record_->payload, bytes_)) {                                              \
			record_->head.captured = 0;                                                \
			record_->head.gap = PERISCO_GAP_UNREADABLE;                                \
			count(PERISCO_C_UNREADABLE, 1);                                            \
			count(PERISCO_C_UNREADABLE_BYTES, bytes_);                                 \
		}                                                                                  \
		bpf_ringbuf_submit(record_, wake(queued_, sizeof(*record_)));                      \
		done = 1;                                                                          \
	} while (0)

/* The smallest class that holds `n` bytes (1 ..= PERISCO_LARGE). */
#define SEND_DATA(head_, n, READ, done)                                                            \
	do {                                                                                       \
		if ((n) <= PERISCO_SMALL)                                                          \
			SEND_CLASS(small_event, head_, n, READ, done);                             \
		else if ((n) <= PERISCO_MEDIUM)                                                    \
			SEND_CLASS(medium_event, head_, n, READ, done);                            \
		else                                                                               \
			SEND_CLASS(large_event, head_, n, READ, done);                             \
	} while (0)

/* An event without payload: data gaps and flags, OPEN, CLOSE, LISTEN, FORK, EXIT. */
static __always_inline int send_head(struct perisco_event *head)
{
	__u64 queued = in_ring();
	struct perisco_event *record;

	if (!fits_head(head, queued))
		return -1;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		if (head->kind == PERISCO_DATA)
			lost_data(0);
		else
			lost_other();
		return -1;
	}
	head->captured = 0;
	head->lost = lost_events;
	*record = *head;
	bpf_ringbuf_submit(record, wake(queued, sizeof(*record)));
	return 0;
}

/*
 * An event with a comm: OWNER, EXEC. `at_once` wakes the reader, for what it
 * must look up while it is there.
 */
static __always_inline int send_comm(struct perisco_event *head, const char *comm, bool at_once)
{
	__u64 queued = in_ring();
	struct comm_event *record;

	if (!fits_head(head, queued))
		return -1;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		lost_other();
		return -1;
	}
	head->captured = PERISCO_COMM;
	head->lost = lost_events;
	record->head = *head;
	__builtin_memcpy(record->comm, comm, PERISCO_COMM);
	bpf_ringbuf_submit(record, at_once ? BPF_RB_FORCE_WAKEUP : wake(queued, sizeof(*record)));
	return 0;
}

/*
 * Reads a field of a socket: by a direct load where the verifier knows `sk` as
 * a pointer to a kernel type (cheaper, and allowed under
 * lockdown=confidentiality), else by bpf_probe_read_kernel. `probe` is a
 * compile-time constant.
 */
#define SK(probe, sk, field) ((probe) ? BPF_CORE_READ(sk, field) : (sk)->field)

/* IPv4 address in the first four bytes, the rest zero. */
static __always_inline void put4(__u8 *to, __be32 address)
{
	__u64 zero = nothing;

	*(__be32 *)to = address;
	*(__u32 *)(to + 4) = zero;
	*(__u64 *)(to + 8) = zero;
}

static __always_inline bool is_mapped(const __be32 *address)
{
	return !address[0] && !address[1] && address[2] == bpf_htonl(0xffff);
}

/* Family and both addresses. A v4-mapped IPv6 socket is IPv4 on the wire. */
static __always_inline void fill_addresses(struct perisco_event *head, struct sock *sk, bool probe)
{
	struct in6_addr local, remote;

	if (SK(probe, sk, __sk_common.skc_family) == AF_INET) {
		head->family = 4;
		put4(head->local, SK(probe, sk, __sk_common.skc_rcv_saddr));
		put4(head->remote, SK(probe, sk, __sk_common.skc_daddr));
		return;
	}
	for (int i = 0; i < 4; i++) {
		local.in6_u.u6_addr32[i] =
			SK(probe, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i]);
		remote.in6_u.u6_addr32[i] =
			SK(probe, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32[i]);
	}
	/* The remote decides: a listener's and a fresh socket's local may be `::`. */
	if (is_mapped(remote.in6_u.u6_addr32)) {
		head->family = 4;
		put4(head->local, local.in6_u.u6_addr32[3]);
		put4(head->remote, remote.in6_u.u6_addr32[3]);
		return;
	}
	head->family = 6;
	__builtin_memcpy(head->local, &local, 16);
	__builtin_memcpy(head->remote, &remote, 16);
}

static __always_inline bool is_tcp(struct sock *sk, bool probe)
{
	__u16 family = SK(probe, sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) &&
	       SK(probe, sk, sk_protocol) == IPPROTO_TCP && SK(probe, sk, sk_type) == SOCK_STREAM;
}

/*
 * Clears `head` and fills in time and socket: identity, netns, ports,
 * addresses. The caller adds kind, numbers and process.
 */
static __always_inline void fill_socket(struct perisco_event *head, struct sock *sk, bool probe)
{
	__builtin_memset(head, 0, sizeof(*head));
	head->at = bpf_ktime_get_boot_ns();
	head->socket = (__u64)sk;
	/* Two pointers: not one SK(), which would follow the second directly. */
	head->netns = probe ? BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum)
			    : sk->__sk_common.skc_net.net->ns.inum;
	head->local_port = SK(probe, sk, __sk_common.skc_num);
	head->remote_port = bpf_ntohs(SK(probe, sk, __sk_common.skc_dport));
	fill_addresses(head, sk, probe);
}

#endif
