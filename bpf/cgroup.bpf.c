/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The cgroup back end: payload from the packets of sockets, with their real
 * numbers. Needs no tracing of kernel functions, sees every network namespace,
 * and works under lockdown=confidentiality. Programs only ever allow (return 1).
 *
 * A packet is seen after translation (NAT) on its way out and before it on its
 * way in, so addresses are those of the socket, by which its two directions
 * agree with each other and with its OPEN and CLOSE.
 */
#include "packet.h"

/* 17 × 32 KB: a packet of BIG TCP is at most 512 KB. */
#define MAX_CHUNKS 17

#define LOOPBACK_IFINDEX    1
#define BPF_F_CURRENT_NETNS (-1L)

/* Bytes of the payload that are asked for. */
static __always_inline __u32 asked(const struct packet *packet)
{
	return snaplen && snaplen < packet->length ? snaplen : packet->length;
}

/* Makes `head` that of chunk `i` and returns how many bytes to copy. */
static __always_inline __u32 set_chunk(struct perisco_event *head, const struct packet *packet,
				       __u32 i)
{
	__u32 keep = packet->keep, before = i * PERISCO_LARGE;
	__u32 n = keep - before;

	if (n > PERISCO_LARGE)
		n = PERISCO_LARGE;
	/* SYN takes a number, and stands before the first byte; FIN after the
	 * last. The last chunk says how far the packet goes. */
	head->seq = packet->seq + before + (i && packet->flags & TCP_SYN);
	head->tcp_flags = packet->flags & ~(TCP_FIN | (i ? TCP_SYN : 0));
	head->length = n;
	if (before + n == keep || i == MAX_CHUNKS - 1) {
		head->length = packet->length - before;
		head->tcp_flags |= packet->flags & TCP_FIN;
	}
	if (packet->cut)
		head->gap = PERISCO_GAP_FILLING;
	else if (keep < packet->length)
		head->flags |= PERISCO_F_SNAPPED;
	if (before + n < keep && i == MAX_CHUNKS - 1) {
		head->gap = PERISCO_GAP_CALL_LIMIT;
		count(PERISCO_C_LIMIT, 1);
		count(PERISCO_C_LIMIT_BYTES, keep - before - n);
	}
	return n;
}

/*
 * Sends chunk `i`; false: the ring was full. `again`: the sender's copy found
 * it full, which was counted then.
 */
static __always_inline bool send_chunk(struct __sk_buff *skb, struct perisco_event *head,
				       const struct packet *packet, __u32 i, bool again)
{
	__u32 at = packet->payload + i * PERISCO_LARGE;
	__u32 n = set_chunk(head, packet, i);
	int done = 0;

#define LOAD(target, bytes) bpf_skb_load_bytes(skb, at, target, bytes)
	SEND_DATA(head, n, LOAD, done);
#undef LOAD
	if (done < 0) {
		if (!again)
			lost_data(n);
		return false;
	}
	if (again) {
		count(PERISCO_C_RECOVERED, 1);
		count(PERISCO_C_RECOVERED_BYTES, n);
	}
	return true;
}

/* Whether the other end of the connection of `head` is a socket of the same
 * network namespace, by the very same addresses: no translation in between. */
static __always_inline bool peer_is_here(struct __sk_buff *skb, const struct perisco_event *head)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *peer;
	bool here;

	/* As of a packet from here to there. */
	if (head->family == 4) {
		__builtin_memcpy(&tuple.ipv4.saddr, head->local, 4);
		__builtin_memcpy(&tuple.ipv4.daddr, head->remote, 4);
		tuple.ipv4.sport = bpf_htons(head->local_port);
		tuple.ipv4.dport = bpf_htons(head->remote_port);
		peer = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, head->local, 16);
		__builtin_memcpy(tuple.ipv6.daddr, head->remote, 16);
		tuple.ipv6.sport = bpf_htons(head->local_port);
		tuple.ipv6.dport = bpf_htons(head->remote_port);
		peer = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!peer)
		return false;
	/* A listener on that port is not the other end; nor is what is left of
	 * a closed socket, for which the packet is simply copied. */
	here = peer->state != TCP_LISTEN && peer->state != TCP_TIME_WAIT;
	bpf_sk_release(peer);
	return here;
}

/* The other end of this packet's socket is here. */
static __always_inline void note_peer(struct __sk_buff *skb)
{
	struct tcp_sock *sk = skb->sk ? bpf_skc_to_tcp_sock(skb->sk) : NULL;

	if (sk)
		peer_here[place_of(number_of(sk))] = number_of(sk);
}

/*
 * Which chunks of an incoming packet to copy: all, but what came over loopback
 * was captured when it was sent, save the chunks that found no room then.
 */
static __always_inline __u32 chunks_to_copy(struct __sk_buff *skb, const struct perisco_event *head,
					    const struct packet *packet, bool *again)
{
	struct missed_key key = {.netns = head->netns,
				 .seq = packet->seq,
				 .source = packet->source,
				 .destination = packet->destination};
	__u32 *chunks, which;

	/* Resets are often sent by no socket at all, so they are not left out. */
	if (skb->ifindex != LOOPBACK_IFINDEX || packet->flags & TCP_RST || !peer_is_here(skb, head))
		return ~0u;
	/* And stays there as long as this socket lives. */
	if (head->socket)
		note_peer(skb);
	chunks = bpf_map_lookup_elem(&missed, &key);
	if (!chunks)
		return 0;
	which = *chunks;
	if (!bpf_map_delete_elem(&missed, &key))
		__sync_fetch_and_add(&missed_packets, -1);
	*again = true;
	return which;
}

/* Notes which chunks of a packet sent over loopback found the ring full. */
static __always_inline void note_missed(const struct perisco_event *head,
					const struct packet *packet, __u32 chunks)
{
	struct missed_key key = {.netns = head->netns,
				 .seq = packet->seq,
				 .source = packet->source,
				 .destination = packet->destination};

	if (!bpf_map_update_elem(&missed, &key, &chunks, BPF_NOEXIST))
		__sync_fetch_and_add(&missed_packets, 1);
	else
		bpf_map_update_elem(&missed, &key, &chunks, BPF_ANY);
}

/*
 * Whether an incoming packet was captured when it was sent, for all that its
 * socket tells: the short way of `chunks_to_copy` for all but the first packet
 * of a connection.
 */
static __always_inline bool was_captured(struct __sk_buff *skb)
{
	const struct tcp_header *tcp;
	struct tcp_sock *sk;
	__u32 at;

	if (skb->ifindex != LOOPBACK_IFINDEX || missed_packets || !skb->sk)
		return false;
	sk = bpf_skc_to_tcp_sock(skb->sk);
	if (!sk)
		return false;
	if (peer_here[place_of(number_of(sk))] != number_of(sk))
		return false;
	tcp = linear_header(skb, &at);
	return tcp && !(tcp->flags & TCP_RST);
}

/* Its state is gone (LRU): the next call on the socket shall note it again. */
static __always_inline void ask_again(struct __sk_buff *skb)
{
	struct tcp_sock *sk = skb->sk ? bpf_skc_to_tcp_sock(skb->sk) : NULL;

	if (sk)
		forget_cached(sk);
}

/* Whether the filters let the packet of `head` through; fills in its role. */
static __always_inline bool passes(struct __sk_buff *skb, struct perisco_event *head, __u32 payload)
{
	bool only_cgroups =
		filter_cgroups && !filter_pids && !filter_comms && !filter_exes && !filter_uids;
	__u8 process = UNKNOWN;

	if (head->socket) {
		/* Without filters this is only asked for since there are `self_sockets`. */
		if (!filters_anything() || filters_processes() || filter_role || self_sockets) {
			struct socket_state *state = state_of((void *)head->socket);

			if (state) {
				process = state->wanted;
				head->role = state->role;
			} else if (filters_processes()) {
				ask_again(skb);
			}
		}
	} else {
		struct listener *listener = listener_of(head);

		if (listener)
			process = listener->wanted;
		head->role = PERISCO_ROLE_SERVER;
	}
	/* The packet says its cgroup, if the process is not known. */
	if (only_cgroups && process == UNKNOWN) {
		head->cgroup = bpf_skb_cgroup_id(skb);
		process = bpf_map_lookup_elem(&cgroups, &head->cgroup) ? YES : NO;
	}
	return wanted(head, process, head->role, payload);
}

static __always_inline bool fill_packet(struct perisco_event *head, struct __sk_buff *skb,
					const struct packet *packet, __u8 direction)
{
	struct tcp_sock *tcp;
	struct sock *sk;

	if (!skb->sk)
		return false;
	tcp = bpf_skc_to_tcp_sock(skb->sk);
	if (!tcp)
		return false;
	sk = &tcp->inet_conn.icsk_inet.sk;
	/* The sockets that send resets for others are raw ones: not is_tcp. */
	if (!is_tcp(sk, false))
		return false;
	fill_socket(head, sk, false);
	/* A reset may be sent after the port was given back. */
	if (!head->local_port)
		head->local_port = bpf_ntohs(tcp->inet_conn.icsk_inet.inet_sport);
	head->kind = PERISCO_DATA;
	head->direction = direction;
	head->seq = packet->seq;
	head->ack = packet->ack;
	head->tcp_flags = packet->flags;
	head->flags = PERISCO_F_PACKET | PERISCO_F_ACK;
	if (sk->__sk_common.skc_state != TCP_LISTEN)
		return true;
	/* Bytes that come with the end of the handshake, or with a SYN (fast
	 * open), pass a listener: the connection has no socket yet. */
	head->socket = 0;
	fill_from_packet(head, skb, packet);
	return packet->length > 0;
}

/* The arguments of `later_chunk`, in one number. */
#define CHUNK_INDEX     0xff
#define CHUNK_DIRECTION 8
#define CHUNK_ROLE      9
#define CHUNK_AGAIN     11

/*
 * Chunk 1 and later of a packet, if it is one of `which`; 1: the ring was full. A global function
 * is verified once, not once for each round of the loop that calls it, but 5.10 lets it take
 * numbers and the context only: so it parses again, which is little beside copying 32 KB.
 */
__noinline int later_chunk(struct __sk_buff *skb, __u32 what, __u32 which)
{
	struct perisco_event head;
	struct packet packet = {};
	__u32 i = what & CHUNK_INDEX;

	if (i >= MAX_CHUNKS || !(which >> i & 1))
		return 0;
	if (!parse_packet(skb, &packet, false) ||
	    !fill_packet(&head, skb, &packet, what >> CHUNK_DIRECTION & 1))
		return 0;
	/* A packet that is cut has no such chunk. */
	packet.keep = asked(&packet);
	if (i * PERISCO_LARGE >= packet.keep)
		return 0;
	head.role = what >> CHUNK_ROLE & 3;
	return !send_chunk(skb, &head, &packet, i, what >> CHUNK_AGAIN & 1);
}

/* The chunks `which` of the payload; returns those that found the ring full. */
static __always_inline __u32 send_payload(struct __sk_buff *skb, struct perisco_event *head,
					  const struct packet *packet, __u32 which, bool again)
{
	__u32 what = head->direction << CHUNK_DIRECTION | head->role << CHUNK_ROLE |
		     again << CHUNK_AGAIN;
	__u32 keep = packet->keep, full = 0;

	if (which & 1 && !send_chunk(skb, head, packet, 0, again))
		full = 1;
	for (__u32 i = 1; i < MAX_CHUNKS; i++) {
		if (i * PERISCO_LARGE >= keep)
			break;
		/* No branch here: each would double the paths to verify. */
		full |= (later_chunk(skb, what | i, which) & 1) << i;
	}
	return full;
}

/* Whose SYN it is: a connection that is never answered opens nothing at which
 * this would be told. */
static __always_inline void tell_client(struct perisco_event *head)
{
	struct socket_state *state;

	if (head->direction != PERISCO_SENT || !(head->tcp_flags & TCP_SYN))
		return;
	state = state_of((void *)head->socket);
	if (!state || !state->owner.pid || state->told)
		return;
	if (!send_owner(head, &state->owner, state->confirmed))
		state->told = 1;
}

/* What to keep of a packet while the ring is filling, by the share of its process; 0: nothing. */
static __always_inline __u32 fit_packet(struct __sk_buff *skb, const struct perisco_event *head,
					__u32 all)
{
	struct socket_state *state = head->socket ? state_of((void *)head->socket) : NULL;

	if (state)
		return fit(all, state->owner.pid, state->owner.cgroup);
	return fit(all, 0, bpf_skb_cgroup_id(skb));
}

static __always_inline int on_packet(struct __sk_buff *skb, __u8 direction)
{
	struct perisco_event head;
	struct packet packet = {};
	__u32 chunks = ~0u, full;
	bool again = false;

	if (!begun || !parse_packet(skb, &packet, true))
		return 1;
	if (!packet.length && !(packet.flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		return 1;
	if (!fill_packet(&head, skb, &packet, direction))
		return 1;
	if ((filters_anything() || self_sockets) && !passes(skb, &head, packet.length))
		return 1;
	if (skip_loopback_ingress && direction == PERISCO_RECEIVED)
		chunks = chunks_to_copy(skb, &head, &packet, &again);
	if (!chunks)
		return 1;
	if (!packet.length) {
		send_head(&head);
		tell_client(&head);
		return 1;
	}
	packet.keep = asked(&packet);
	/* What is copied in place of another was counted whole, by chunks. */
	if (!again && is_filling()) {
		__u32 keep = fit_packet(skb, &head, packet.keep);

		if (!keep)
			return 1;
		packet.cut = keep < packet.keep;
		packet.keep = keep;
	}
	full = send_payload(skb, &head, &packet, chunks, again);
	if (full && !packet.cut && skip_loopback_ingress && direction == PERISCO_SENT &&
	    skb->ifindex == LOOPBACK_IFINDEX)
		note_missed(&head, &packet, full);
	return 1;
}

SEC("cgroup_skb/ingress")
int packet_received(struct __sk_buff *skb)
{
	if (skip_loopback_ingress && was_captured(skb))
		return 1;
	return on_packet(skb, PERISCO_RECEIVED);
}

SEC("cgroup_skb/egress")
int packet_sent(struct __sk_buff *skb)
{
	return on_packet(skb, PERISCO_SENT);
}
