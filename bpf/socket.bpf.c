/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The socket back end: what each call on a TCP socket moves, with the process
 * in hand and the true sequence numbers. The hooks are the last functions that
 * every way in goes through, from write(2) to io_uring and sendfile(2):
 *
 *   tcp_sendmsg_locked   all sends; from 6.5 on sendfile and splice too
 *   do_tcp_sendpages     sendfile and splice before 6.5
 *   tcp_recvmsg          all receives but splice
 *   tcp_splice_read      splice from a socket
 *
 * Not seen, and so gaps: TCP_ZEROCOPY_RECEIVE, and what the kernel itself reads
 * with tcp_read_sock (kTLS, sockmap). Where bytes are is iov.h's.
 */
#include "iov.h"

/* Parameters of tcp_recvmsg on this kernel, from its BTF: 6 before 5.19, 5, and
 * 4 from 7.x on (and in kernels that took it back). Set by the loader. */
const volatile __u32 tcp_recvmsg_parameters = 5;

/* Threads whose last send is remembered. */
#define SENDS 16384

/* The send that a thread is in, or was in last: what is not known any more at
 * its end. */
struct send {
	__u64 socket;
	__u64 at;
	__u32 seq;
	__u32 ack;
	__u8 unconnected; /* seq is not chosen yet: TCP fast open */
	__u8 ended;
	__u8 unused[6];
};

/* Key: thread, as bpf_get_current_pid_tgid() has it. Never deleted: LRU. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SENDS);
	__type(key, __u64);
	__type(value, struct send);
} sends SEC(".maps");

#define TCP(sk, field) BPF_CORE_READ((struct tcp_sock *)(sk), field)

static __always_inline int send_begins(struct sock *sk)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct send *entry = bpf_map_lookup_elem(&sends, &thread);
	struct send send = {
		.socket = (__u64)sk,
		.seq = TCP(sk, write_seq),
		.ack = TCP(sk, copied_seq),
		.unconnected = sk->__sk_common.skc_state == TCP_CLOSE,
	};

	if (thread >> 32 == self_tgid || !is_tcp(sk, false))
		return 0;
	/* Before any byte is on its way: who answers them does so later. */
	send.at = bpf_ktime_get_boot_ns();
	/* The end of the last one was never seen. */
	if (entry && !entry->ended && (entry->socket != send.socket || entry->seq != send.seq))
		count(PERISCO_C_STATE, 1);
	if (entry)
		*entry = send;
	else if (bpf_map_update_elem(&sends, &thread, &send, BPF_ANY))
		count(PERISCO_C_STATE, 1);
	return 0;
}

/*
 * Whether the bytes of a send that ended at `end` lie in one piece before it.
 * Not if another thread has sent on the socket while this one waited for
 * memory, without the lock: what is whose cannot be told then.
 */
static __always_inline bool in_one_piece(const struct send *send, struct sock *sk, __u32 end,
					 __u32 moved)
{
	__u32 advanced = end - send->seq;
	__u8 state = sk->__sk_common.skc_state;

	/* A FIN takes a number too: shutdown(2) by another thread. */
	if (advanced == moved + 1 && state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
		return true;
	return advanced == moved || send->unconnected;
}

/* The head of the events of a call of this process. NULL: not to be recorded. */
static __always_inline struct transfer *begin(struct sock *sk, const struct socket_state *state,
					      __u32 which, __u32 moved)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct transfer *t = take_transfer(which);

	if (!t)
		return NULL;
	fill_socket(&t->head, sk, false);
	/* What is read after the connection has closed: its port is given back. */
	if (!t->head.local_port)
		t->head.local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	if (!wanted(&t->head, state ? state->wanted : UNKNOWN,
		    state ? state->role : PERISCO_ROLE_UNKNOWN, moved)) {
		t->busy = 0;
		return NULL;
	}
	t->head.kind = PERISCO_DATA;
	t->head.flags = PERISCO_F_PROCESS | PERISCO_F_ACK;
	t->head.role = state ? state->role : PERISCO_ROLE_UNKNOWN;
	t->head.pid = thread >> 32;
	t->head.tid = thread;
	t->head.uid = bpf_get_current_uid_gid();
	t->head.cgroup = bpf_get_current_cgroup_id();
	return t;
}

/* Begins the transfer of the send that ends. */
static __always_inline struct transfer *sent(struct sock *sk, __u32 which, long moved)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct send *send = bpf_map_lookup_elem(&sends, &thread);
	__u32 end = TCP(sk, write_seq);
	struct transfer *t;

	if (thread >> 32 == self_tgid)
		return NULL;
	if (!send || send->socket != (__u64)sk) {
		if (moved > 0)
			count(PERISCO_C_STATE, 1);
		return NULL;
	}
	if (send->ended)
		return NULL;
	send->ended = 1;
	if (moved <= 0 || !begun)
		return NULL;
	if (!in_one_piece(send, sk, end, moved)) {
		count(PERISCO_C_UNREADABLE, 1);
		count(PERISCO_C_UNREADABLE_BYTES, moved);
		return NULL;
	}
	t = begin(sk, note_call(sk, moved, 0), which, moved);
	if (!t)
		return NULL;
	t->head.direction = PERISCO_SENT;
	t->head.at = send->at;
	t->head.seq = send->unconnected ? end - moved : send->seq;
	t->head.ack = send->ack;
	return t;
}

/*
 * Whether the other end's FIN has been read: it takes a sequence number, and
 * the call that reads the last byte usually takes it too. SOCK_DONE first: the
 * kernel sets it after rcv_nxt counts the FIN, which no reader has passed yet
 * if it comes only now.
 */
static __always_inline bool fin_read(struct sock *sk, __u32 copied_seq)
{
	unsigned long flags = *(volatile unsigned long *)&sk->__sk_common.skc_flags;

	return flags >> bpf_core_enum_value(enum sock_flags, SOCK_DONE) & 1 &&
	       copied_seq == TCP(sk, rcv_nxt);
}

/*
 * Begins the transfer of what was received: it ends at copied_seq. Two threads
 * that read one socket at the same moment may both find the same end; what is
 * whose cannot be told then, and the second is left out.
 */
static __always_inline struct transfer *received(struct sock *sk, __u32 which, long moved)
{
	struct socket_state *state;
	struct transfer *t;
	__u32 end;

	if (!begun || bpf_get_current_pid_tgid() >> 32 == self_tgid || !is_tcp(sk, false))
		return NULL;
	end = TCP(sk, copied_seq);
	end -= fin_read(sk, end);
	state = note_call(sk, 0, moved);
	if (state) {
		if (state->has_read && state->read_to == end)
			return NULL;
		/* Something was read that was not seen. */
		if (state->has_read && state->read_to != end - (__u32)moved)
			count(PERISCO_C_STATE, 1);
		state->read_to = end;
		state->has_read = 1;
	} else if (which == RECEIVING_AGAIN) {
		return NULL;
	}
	t = begin(sk, state, which, moved);
	if (!t)
		return NULL;
	t->head.direction = PERISCO_RECEIVED;
	t->head.seq = end - (__u32)moved;
	t->head.ack = TCP(sk, write_seq);
	return t;
}

/*
 * Programs named `..._again` are the same a second time. Where the kernel is
 * preemptible a task can be put aside in the middle of a program, and until it
 * goes on the kernel leaves that program out for all others on that CPU: then
 * the second one does its work. Who comes first leaves a mark (`ended`,
 * `read_to`) by which the other has nothing to do. Loaded only where the kernel
 * says PREEMPT in its version.
 */

SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(message_begins, struct sock *sk)
{
	return send_begins(sk);
}

SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(message_begins_again, struct sock *sk)
{
	return send_begins(sk);
}

static __always_inline int on_message_sent(struct sock *sk, struct msghdr *message, __u64 size,
					   int moved, __u32 which)
{
	struct transfer *t = sent(sk, which, moved);

	if (!t)
		return 0;
	/* Else the iterator tells nothing. */
	if (size - message->msg_iter.count == (__u32)moved)
		set_iterator(t, &message->msg_iter, moved);
	send_transfer(t, which, moved);
	return 0;
}

SEC("fexit/tcp_sendmsg_locked")
int BPF_PROG(message_sent, struct sock *sk, struct msghdr *message, __u64 size, int moved)
{
	return on_message_sent(sk, message, size, moved, SENDING);
}

SEC("fexit/tcp_sendmsg_locked")
int BPF_PROG(message_sent_again, struct sock *sk, struct msghdr *message, __u64 size, int moved)
{
	return on_message_sent(sk, message, size, moved, SENDING_AGAIN);
}

SEC("fentry/do_tcp_sendpages")
int BPF_PROG(page_begins, struct sock *sk)
{
	return send_begins(sk);
}

SEC("fexit/do_tcp_sendpages")
int BPF_PROG(page_sent, struct sock *sk, struct page *page, int offset, __u64 size, int flags,
	     long moved)
{
	struct transfer *t = sent(sk, SENDING_PAGE, moved);

	if (!t)
		return 0;
	set_page(t, as_number(t, page), offset, moved);
	t->kind = PAGE;
	send_transfer(t, SENDING_PAGE, moved);
	return 0;
}

/* Not BPF_PROG: where flags and result stand depends on the kernel. The
 * barriers keep LLVM from one load at a computed offset, which the verifier
 * refuses. */
static __always_inline int on_message_received(__u64 *ctx, __u32 which)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct msghdr *message = (struct msghdr *)ctx[1];
	struct transfer *t;
	int flags, moved;

	if (tcp_recvmsg_parameters == 6) {
		flags = ctx[4];
		moved = ctx[6];
		barrier_var(moved);
	} else if (tcp_recvmsg_parameters == 5) {
		flags = ctx[3];
		moved = ctx[5];
		barrier_var(moved);
	} else {
		flags = ctx[3];
		moved = ctx[4];
		barrier_var(moved);
	}
	/* An urgent byte is read beside the stream. */
	if (moved <= 0 || flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return 0;
	t = received(sk, which, moved);
	if (!t)
		return 0;
	/* Else bytes were thrown away (MSG_TRUNC) or went to a device. */
	if (ctx[2] - message->msg_iter.count == (__u32)moved)
		set_iterator(t, &message->msg_iter, moved);
	send_transfer(t, which, moved);
	return 0;
}

SEC("fexit/tcp_recvmsg")
int message_received(__u64 *ctx)
{
	return on_message_received(ctx, RECEIVING);
}

SEC("fexit/tcp_recvmsg")
int message_received_again(__u64 *ctx)
{
	return on_message_received(ctx, RECEIVING_AGAIN);
}

SEC("fexit/tcp_splice_read")
int BPF_PROG(spliced, struct socket *socket, long *position, struct pipe_inode_info *pipe,
	     __u64 size, unsigned int flags, long moved)
{
	struct transfer *t;

	if (moved <= 0)
		return 0;
	t = received(socket->sk, SPLICING, moved);
	if (!t)
		return 0;
	/* The pipe is locked: its last buffers are those of this call. */
	t->kind = PIPE;
	t->ring = (__u64)pipe->bufs;
	t->ring_mask = pipe->ring_size - 1;
	t->pieces = pipe->head;
	t->unwound = moved;
	send_transfer(t, SPLICING, moved);
	return 0;
}
