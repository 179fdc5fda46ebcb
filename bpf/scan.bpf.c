/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sockets that are older than the recorder: every open file of every process,
 * in all network namespaces (iter/tcp walks only the reader's own). Run twice
 * by user space: first for listeners, then for connections, whose role and
 * filters depend on them.
 */

/* From the task of the iterator, which is not the current one. */
static __always_inline void process_of(struct process *process, struct task_struct *task)
{
	__u32 goes_on = 1;

	__builtin_memset(process, 0, sizeof(*process));
	process->pid = task->tgid;
	process->tid = task->pid;
	process->uid = task->cred->uid.val;
	process->cgroup = task->cgroups->dfl_cgrp->kn->id;
	/*
	 * The comm of the process is that of its leader, which the iterator walks.
	 * In 5.10 what follows the NUL may be the end of an earlier name
	 * (__set_task_comm), by which no filter would know it. Without a branch:
	 * each would be a path of its own.
	 */
	for (int i = 0; i < PERISCO_COMM; i++) {
		__u32 c = (__u8)task->comm[i];

		goes_on &= (c + 255) >> 8;
		process->comm[i] = c & -goes_on;
	}
	if (filter_exes)
		fill_exe(process, task, false);
}

static __always_inline void found_listener(struct perisco_event *head,
					   const struct process *process)
{
	struct listener_key key = {.netns = head->netns, .port = head->local_port};
	struct listener *known = bpf_map_lookup_elem(&listeners, &key);
	struct listener listener = {
		.owner = *process, .socket = head->socket, .wanted = wants_process(process)};

	/* Held by several processes: the first is named, unless a later one is wanted. */
	if (known && (known->wanted == YES || listener.wanted != YES))
		return;
	if (bpf_map_update_elem(&listeners, &key, &listener, BPF_ANY))
		count(PERISCO_C_STATE, 1);
	if (!wanted(head, listener.wanted, PERISCO_ROLE_SERVER, 0))
		return;
	head->kind = PERISCO_LISTEN;
	head->role = PERISCO_ROLE_SERVER;
	head->flags = PERISCO_F_MIDWAY;
	head->pid = process->pid;
	head->tid = process->tid;
	head->uid = process->uid;
	head->cgroup = process->cgroup;
	send_head(head);
}

static __always_inline void found_connection(struct perisco_event *head,
					     const struct process *process, __u8 tcp_state)
{
	struct socket_state *known = state_of((void *)head->socket);
	struct socket_state state = {.owner = *process, .wanted = wants_process(process)};

	/* Seen since the programs were attached, or held by several processes. */
	if (known && (known->confirmed || known->wanted == YES || state.wanted != YES))
		return;
	if (tcp_state == TCP_SYN_SENT)
		state.role = PERISCO_ROLE_CLIENT;
	else if (listener_of(head))
		state.role = PERISCO_ROLE_SERVER;
	if (known) {
		state.role = known->role;
		state.opened = known->opened;
	}
	if (wanted(head, state.wanted, state.role, 0) && tcp_state != TCP_SYN_SENT) {
		if (!state.opened)
			send_open(head, &state, PERISCO_F_MIDWAY);
		send_owner(head, process, false);
	}
	keep_state((void *)head->socket, &state);
}

static __always_inline void found(struct sock *sk, struct tcp_sock *tcp, struct task_struct *task,
				  bool probe)
{
	struct perisco_event head;
	struct process process;
	__u8 tcp_state;

	tcp_state = SK(probe, sk, __sk_common.skc_state);
	if (tcp_state == TCP_CLOSE || (tcp_state == TCP_LISTEN) != (scan_pass == 0))
		return;
	process_of(&process, task);
	fill_socket(&head, sk, probe);
	if (tcp_state == TCP_LISTEN) {
		found_listener(&head, &process);
		return;
	}
	fill_next(&head, tcp, probe);
	found_connection(&head, &process, tcp_state);
}

SEC("iter/task_file")
int scan_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;

	/* The reader of the iterator is the recorder, whatever its pid namespace. */
	self_tgid = bpf_get_current_pid_tgid() >> 32;
	if (!task || !file || (file->f_inode->i_mode & S_IFMT) != S_IFSOCK)
		return 0;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_sock_from_file)) {
		struct tcp_sock *tcp;

		socket = bpf_sock_from_file(file);
		if (!socket)
			return 0;
		sk = socket->sk;
		if (!sk)
			return 0;
		if (!is_tcp(sk, false))
			return 0;
		tcp = bpf_skc_to_tcp_sock(sk);
		if (tcp)
			found(sk, tcp, task, false);
		return 0;
	}
	/* 5.10: the socket is a plain address there. */
	socket = file->private_data;
	if (!socket)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (sk && is_tcp(sk, true))
		found(sk, (struct tcp_sock *)sk, task, true);
	return 0;
}
