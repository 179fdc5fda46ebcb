/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who owns a socket, and when it opens and closes: serves both back ends, and
 * reads no payload. Also the life of processes, and the sockets that are older
 * than the recorder.
 */

static __always_inline struct socket_state *state_of(const void *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&sockets, &key);
}

static __always_inline void keep_state(const void *sk, const struct socket_state *state)
{
	__u64 key = (__u64)sk;

	if (bpf_map_update_elem(&sockets, &key, state, BPF_ANY))
		count(PERISCO_C_STATE, 1);
	if (state->owner.pid && state->owner.pid == self_tgid)
		__sync_fetch_and_add(&self_sockets, 1);
}

static __always_inline struct listener *listener_of(const struct perisco_event *head)
{
	struct listener_key key = {.netns = head->netns, .port = head->local_port};

	return bpf_map_lookup_elem(&listeners, &key);
}

/*
 * The next byte to be sent and to be received, as the back end will show
 * them: packets leave later than they are written, and are read later than
 * they come.
 */
static __always_inline void fill_next(struct perisco_event *head, struct tcp_sock *tcp, bool probe)
{
	if (back_end == PERISCO_CGROUP) {
		head->seq = SK(probe, tcp, snd_nxt);
		head->ack = SK(probe, tcp, rcv_nxt);
	} else {
		head->seq = SK(probe, tcp, write_seq);
		head->ack = SK(probe, tcp, copied_seq);
	}
}

static __always_inline void send_open(struct perisco_event *head, struct socket_state *state,
				      __u8 flags)
{
	head->kind = PERISCO_OPEN;
	head->role = state->role;
	head->flags = PERISCO_F_ACK | flags;
	head->cgroup = state->owner.cgroup;
	if (!send_head(head))
		state->opened = 1;
}

/* ---- socket states ---- */

/* In the context of the process that connects. */
static __always_inline void on_connect(struct sock *sk)
{
	struct socket_state state = {.role = PERISCO_ROLE_CLIENT, .confirmed = 1};

	forget_cached(sk);
	current_process(&state.owner);
	state.wanted = wants_process(&state.owner);
	keep_state(sk, &state);
}

/* In the context of the process that listens. */
static __always_inline void on_listen(struct sock *sk)
{
	struct perisco_event head;
	struct listener listener = {.socket = (__u64)sk};

	fill_socket(&head, sk, false);
	struct listener_key key = {.netns = head.netns, .port = head.local_port};

	current_process(&listener.owner);
	listener.wanted = wants_process(&listener.owner);
	if (bpf_map_update_elem(&listeners, &key, &listener, BPF_ANY))
		count(PERISCO_C_STATE, 1);
	if (!wanted(&head, listener.wanted, PERISCO_ROLE_SERVER, 0))
		return;
	head.kind = PERISCO_LISTEN;
	head.role = PERISCO_ROLE_SERVER;
	head.pid = listener.owner.pid;
	head.tid = listener.owner.tid;
	head.uid = listener.owner.uid;
	head.cgroup = listener.owner.cgroup;
	head.flags = PERISCO_F_PROCESS;
	send_head(&head);
}

/* Of a connection whose process has not been seen yet. */
static __always_inline void infer_state(struct socket_state *state,
					const struct perisco_event *head, int from)
{
	struct listener *listener = from == TCP_SYN_RECV ? listener_of(head) : NULL;

	state->role = from == TCP_SYN_SENT ? PERISCO_ROLE_CLIENT : PERISCO_ROLE_SERVER;
	if (listener) {
		state->owner = listener->owner;
		state->wanted = listener->wanted;
	}
}

/* In softirq for servers and most clients: the current process says nothing. */
static __always_inline void on_established(struct sock *sk, int from)
{
	struct perisco_event head;
	struct socket_state *known = state_of(sk);
	struct socket_state state = {};
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	if (!tcp)
		return;
	forget_cached(sk);
	fill_socket(&head, sk, false);
	if (known && !known->closed)
		state = *known;
	else
		infer_state(&state, &head, from);
	if (wanted(&head, state.wanted, state.role, 0)) {
		/* What was sent with the SYN (TCP fast open) comes before: not write_seq. */
		head.seq = tcp->snd_una;
		head.ack = tcp->rcv_nxt;
		send_open(&head, &state, 0);
		if (state.owner.pid && !state.told)
			send_owner(&head, &state.owner, state.confirmed);
	}
	keep_state(sk, &state);
}

/* How it ended, as far as the last state and the socket's error tell. */
static __always_inline __u8 endings(struct sock *sk, int from)
{
	bool sent = from == TCP_FIN_WAIT1 || from == TCP_FIN_WAIT2 || from == TCP_CLOSING ||
		    from == TCP_LAST_ACK;
	bool received =
		sk->__sk_common.skc_flags >> bpf_core_enum_value(enum sock_flags, SOCK_DONE) & 1;
	int error = sk->sk_err;
	__u8 how = (sent ? PERISCO_FIN_SENT : 0) | (received ? PERISCO_FIN_RECEIVED : 0);

	/* What never opened: a refusal is shown by its packet, and an ICMP message,
	 * which leaves the same error, is no reset. */
	if (from == TCP_SYN_SENT)
		return 0;
	/* tcp_reset() sets one of these. A close that throws data away (unread
	 * bytes, SO_LINGER 0) sets none, and leaves out the states of a FIN. */
	if (error == ECONNRESET || error == ECONNREFUSED || error == EPIPE)
		how |= PERISCO_RESET;
	else if (!error && (from == TCP_ESTABLISHED || from == TCP_CLOSE_WAIT))
		how |= PERISCO_RESET;
	return how;
}

/* Whether bytes have come that no call has read: that is possible after the close. */
static __always_inline bool is_unread(struct tcp_sock *tcp, __u8 how)
{
	__u32 fin = how & PERISCO_FIN_RECEIVED ? 1 : 0;

	return (__s32)(tcp->rcv_nxt - fin - tcp->copied_seq) > 0;
}

static __always_inline void on_closed(struct sock *sk, int from)
{
	struct perisco_event head;
	struct socket_state *state = state_of(sk);
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u64 key = (__u64)sk;
	__u8 how;

	if (!tcp)
		return;
	fill_socket(&head, sk, false);
	/* skc_num is 0 by now if the port was chosen by the kernel. */
	head.local_port = bpf_ntohs(tcp->inet_conn.icsk_inet.inet_sport);
	if (from == TCP_LISTEN) {
		struct listener *listener = listener_of(&head);
		struct listener_key at = {.netns = head.netns, .port = head.local_port};

		/* Another may listen there by now (SO_REUSEPORT, other address). */
		if (listener && listener->socket == key)
			bpf_map_delete_elem(&listeners, &at);
		return;
	}
	how = endings(sk, from);
	if (wanted(&head, state ? state->wanted : UNKNOWN,
		   state ? state->role : PERISCO_ROLE_UNKNOWN, 0)) {
		head.kind = PERISCO_CLOSE;
		head.seq = tcp->write_seq;
		head.ack = tcp->rcv_nxt;
		head.flags = PERISCO_F_ACK;
		head.tcp_flags = how;
		/* What was written but never left, its FIN too, no packet can have. */
		if (back_end == PERISCO_CGROUP && tcp->snd_nxt != head.seq) {
			head.seq = tcp->snd_nxt;
			head.tcp_flags &= ~PERISCO_FIN_SENT;
		}
		if (state) {
			head.role = state->role;
			head.cgroup = state->owner.cgroup;
		}
		send_head(&head);
	}
	if (state && back_end == PERISCO_SOCKET && is_unread(tcp, how))
		state->closed = 1;
	else
		bpf_map_delete_elem(&sockets, &key);
	forget_cached(sk);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(socket_state_changed, struct sock *sk, int from, int to)
{
	if (!begun || !is_tcp(sk, false))
		return 0;
	if (to == TCP_SYN_SENT)
		on_connect(sk);
	else if (to == TCP_LISTEN)
		on_listen(sk);
	else if (to == TCP_ESTABLISHED)
		on_established(sk, from);
	else if (to == TCP_CLOSE)
		on_closed(sk, from);
	return 0;
}

/* ---- calls: who really uses it ---- */

/* This process uses the socket, whose state was someone else's or nobody's. Its
 * call has just moved `sent` or `received` bytes. */
static __always_inline void new_owner(struct sock *sk, struct tcp_sock *tcp,
				      struct socket_state *old, __u32 sent, __u32 received)
{
	struct perisco_event head;
	struct socket_state state = {.confirmed = 1};

	current_process(&state.owner);
	state.wanted = wants_process(&state.owner);
	if (old) {
		state.role = old->role;
		state.opened = old->opened;
	}
	fill_socket(&head, sk, false);
	if (!old && listener_of(&head))
		state.role = PERISCO_ROLE_SERVER;
	if (wanted(&head, state.wanted, state.role, 0)) {
		if (!state.opened) {
			fill_next(&head, tcp, false);
			if (back_end == PERISCO_SOCKET) {
				head.seq -= sent;
				head.ack -= received;
			}
			send_open(&head, &state, PERISCO_F_MIDWAY);
		}
		send_owner(&head, &state.owner, true);
	}
	keep_state(sk, &state);
}

/* Whether this process is known to use the socket: the short way of `note_call`. */
static __always_inline bool is_noted(const struct sock *sk)
{
	__u64 number = number_of(sk);

	return used_by[place_of(number)] == word_of(number, bpf_get_current_pid_tgid() >> 32);
}

/* Notes who moved `sent` or `received` bytes, and returns what is known of the socket. */
static __always_inline struct socket_state *note_call(struct sock *sk, __u32 sent, __u32 received)
{
	struct socket_state *state = state_of(sk);
	struct tcp_sock *tcp;

	/* Closed by now: what is known stays as it is, and nothing is to come back. */
	if (sk->__sk_common.skc_state == TCP_CLOSE)
		return state;
	/* Of a socket that had this address before. */
	if (state && state->closed)
		state = NULL;
	if (state && state->confirmed && state->owner.pid == bpf_get_current_pid_tgid() >> 32) {
		__u64 number = number_of(sk);

		used_by[place_of(number)] = word_of(number, state->owner.pid);
		return state;
	}
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return state;
	new_owner(sk, tcp, state, sent, received);
	return state_of(sk);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(socket_sent, struct sock *sk, int moved)
{
	if (moved > 0 && begun && !is_noted(sk) && is_tcp(sk, false))
		note_call(sk, moved, 0);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(socket_received, struct sock *sk, int moved)
{
	if (moved > 0 && begun && !is_noted(sk) && is_tcp(sk, false))
		note_call(sk, 0, moved);
	return 0;
}

/* ---- processes ---- */

static __always_inline void fill_process(struct perisco_event *head, __u8 kind)
{
	__u64 id = bpf_get_current_pid_tgid();

	__builtin_memset(head, 0, sizeof(*head));
	head->at = bpf_ktime_get_boot_ns();
	head->kind = kind;
	head->pid = id >> 32;
	head->tid = id;
	head->uid = bpf_get_current_uid_gid();
	head->cgroup = bpf_get_current_cgroup_id();
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec)
{
	struct perisco_event head;
	char comm[PERISCO_COMM];

	fill_process(&head, PERISCO_EXEC);
	bpf_get_current_comm(comm, sizeof(comm));
	/* A process may live for milliseconds: its executable is asked for now. */
	send_comm(&head, comm, true);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct perisco_event head;
	__u32 of = parent->tgid, is = child->tgid;
	__u8 yes = 1;

	if (child->pid != child->tgid)
		return 0;
	if (filter_pids && bpf_map_lookup_elem(&pids, &of) &&
	    bpf_map_update_elem(&pids, &is, &yes, BPF_ANY))
		count(PERISCO_C_STATE, 1);
	fill_process(&head, PERISCO_FORK);
	head.pid = is;
	head.tid = of;
	send_head(&head);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct perisco_event head;
	__u32 pid = task->tgid;

	/* Threads that are left: the process lives on. */
	if (task->signal->live.counter > 0)
		return 0;
	if (filter_pids)
		bpf_map_delete_elem(&pids, &pid);
	fill_process(&head, PERISCO_EXIT);
	send_head(&head);
	return 0;
}
