/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * IP and TCP headers of an skb, for the cgroup back end: where the payload
 * stands and its numbers. Data starts at the network header there.
 */
#ifndef PERISCO_PACKET_H
#define PERISCO_PACKET_H

#include "sock.h"

#define ETH_P_IP   0x0800
#define ETH_P_IPV6 0x86dd

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04

/* IPv6 extension headers that a TCP packet may bring (RFC 8200, section 4). */
#define NEXTHDR_HOP      0
#define NEXTHDR_ROUTING  43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH     51
#define NEXTHDR_DEST     60
/* Each of them at most once, destination options twice: RFC 8200, 4.1. */
#define MAX_EXTENSIONS 6

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 seq;
	__be32 ack;
	__u8 offset; /* high four bits: words of 4 bytes */
	__u8 flags;
};
/* Bytes of it that are read. */
#define TCP_HEADER 14

struct packet {
	__u32 seq;
	__u32 ack;
	__u32 payload; /* offset of the payload, and how much there is */
	__u32 length;
	__u16 source;
	__u16 destination;
	__u8 flags; /* of the TCP header */
	__u8 family;
	bool cut; /* `keep` is less than was asked for, since the ring is filling */
	__u8 unused;
	__u32 keep; /* bytes of the payload to copy */
};

/*
 * The TCP header of a packet without IP options or extension headers, read in
 * place: a fraction of what copying it out costs. NULL: copy it. Both versions
 * of IP are one path to the verifier: 5.10 goes through the program for each.
 */
static __always_inline const struct tcp_header *linear_header(struct __sk_buff *skb, __u32 *at)
{
	const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const __u8 *tcp;
	__u32 six;

	if (data + 20 > end)
		return NULL;
	/* The version is 4 or 6: its second bit. */
	six = data[0] >> 5 & 1;
	barrier_var(six);
	*at = 20 + six * 20;
	/* Version 4 with five words of header, or version 6; then TCP. */
	if ((data[0] & (0xff - six * 0x0f)) != 0x45 + six * 0x1b)
		return NULL;
	if (data[9] + six * (data[6] - data[9]) != IPPROTO_TCP)
		return NULL;
	tcp = data + (*at & 63);
	return tcp + TCP_HEADER > end ? NULL : (void *)tcp;
}

/* Offset of the TCP header; 0 if there is none. */
static __always_inline __u32 tcp_offset4(struct __sk_buff *skb)
{
	__u8 ip[10];

	if (bpf_skb_load_bytes(skb, 0, ip, sizeof(ip)) || ip[9] != IPPROTO_TCP)
		return 0;
	return (ip[0] & 15) * 4;
}

static __always_inline __u32 tcp_offset6(struct __sk_buff *skb)
{
	__u32 at = 40;
	__u8 next, extension[2];

	if (bpf_skb_load_bytes(skb, 6, &next, 1))
		return 0;
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (next == IPPROTO_TCP)
			return at;
		if (next != NEXTHDR_HOP && next != NEXTHDR_ROUTING && next != NEXTHDR_FRAGMENT &&
		    next != NEXTHDR_AUTH && next != NEXTHDR_DEST)
			return 0;
		if (bpf_skb_load_bytes(skb, at, extension, sizeof(extension)))
			return 0;
		if (next == NEXTHDR_FRAGMENT)
			at += 8;
		else if (next == NEXTHDR_AUTH)
			at += (extension[1] + 2) * 4;
		else
			at += (extension[1] + 1) * 8;
		next = extension[0];
	}
	return next == IPPROTO_TCP ? at : 0;
}

/* Offset of the TCP header of any packet; 0 if there is none. */
static __always_inline __u32 tcp_offset(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return tcp_offset4(skb);
	return skb->protocol == bpf_htons(ETH_P_IPV6) ? tcp_offset6(skb) : 0;
}

/* The same, verified once: in line, each way through the extension headers
 * multiplies the paths of the whole program. */
__noinline int tcp_offset_apart(struct __sk_buff *skb)
{
	return tcp_offset(skb);
}

/* The length is the skb's, not that of the IP header, which is 0 for packets
 * of more than 64 KB (BIG TCP). The IP layer has trimmed any padding. `apart`:
 * with a call, for which a function that is itself called has no stack left. */
static __always_inline bool parse_packet(struct __sk_buff *skb, struct packet *packet, bool apart)
{
	const struct tcp_header *linear = NULL;
	struct tcp_header tcp;
	__u32 at = 0;

	/* What is called for long packets only has no use for the short way. */
	if (apart)
		linear = linear_header(skb, &at);
	if (linear) {
		__builtin_memcpy(&tcp, linear, TCP_HEADER);
	} else {
		at = apart ? tcp_offset_apart(skb) : tcp_offset(skb);
		if (!at || bpf_skb_load_bytes(skb, at, &tcp, TCP_HEADER))
			return false;
	}
	packet->payload = at + (tcp.offset >> 4) * 4;
	packet->length = skb->len > packet->payload ? skb->len - packet->payload : 0;
	packet->seq = bpf_ntohl(tcp.seq);
	packet->ack = bpf_ntohl(tcp.ack);
	packet->source = bpf_ntohs(tcp.source);
	packet->destination = bpf_ntohs(tcp.destination);
	packet->flags = tcp.flags;
	return true;
}

/* Ports and addresses as they stand in the packet: for a listener, whose own
 * say nothing of the connection. */
static __always_inline void fill_from_packet(struct perisco_event *head, struct __sk_buff *skb,
					     const struct packet *packet)
{
	bool sent = head->direction == PERISCO_SENT;
	__u8 *source = sent ? head->local : head->remote;
	__u8 *destination = sent ? head->remote : head->local;

	head->family = skb->protocol == bpf_htons(ETH_P_IP) ? 4 : 6;
	head->local_port = sent ? packet->source : packet->destination;
	head->remote_port = sent ? packet->destination : packet->source;
	if (head->family == 4) {
		put4(head->local, 0);
		put4(head->remote, 0);
		bpf_skb_load_bytes(skb, 12, source, 4);
		bpf_skb_load_bytes(skb, 16, destination, 4);
	} else {
		bpf_skb_load_bytes(skb, 8, source, 16);
		bpf_skb_load_bytes(skb, 24, destination, 16);
	}
}

#endif
