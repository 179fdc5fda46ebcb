/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which sockets are recorded: AND between dimensions, OR within one. What only
 * depends on the socket (ports, networks, netns) is decided from its header;
 * what depends on its process once per owner, kept in `sockets`.
 */
#ifndef PERISCO_FILTER_H
#define PERISCO_FILTER_H

#include "sock.h"

/* Whether any dimension asks for the process. Folded by the verifier. */
static __always_inline bool filters_processes(void)
{
	return filter_pids || filter_comms || filter_exes || filter_uids || filter_cgroups;
}

static __always_inline bool filters_anything(void)
{
	return filters_processes() || filter_ports || filter_nets || filter_netns || filter_role;
}

/* Device and inode of the executable that `task` runs; zero for kernel threads. */
static __always_inline void fill_exe(struct process *process, struct task_struct *task, bool probe)
{
	struct file *file;

	if (probe) {
		file = BPF_CORE_READ(task, mm, exe_file);
		process->exe_inode = BPF_CORE_READ(file, f_inode, i_ino);
		process->exe_device = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
		return;
	}
	if (!task->mm)
		return;
	file = task->mm->exe_file;
	if (!file)
		return;
	process->exe_inode = file->f_inode->i_ino;
	process->exe_device = file->f_inode->i_sb->s_dev;
}

/* The process whose call this is. Not for programs that run in softirq. */
static __always_inline void current_process(struct process *process)
{
	__u64 id = bpf_get_current_pid_tgid();

	__builtin_memset(process, 0, sizeof(*process));
	process->pid = id >> 32;
	process->tid = id;
	process->uid = bpf_get_current_uid_gid();
	process->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(process->comm, sizeof(process->comm));
	if (!filter_exes)
		return;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		fill_exe(process, bpf_get_current_task_btf(), false);
	else
		fill_exe(process, (struct task_struct *)bpf_get_current_task(), true);
}

/* Whether the filters on processes let `process` through: YES or NO. */
static __always_inline __u8 wants_process(const struct process *process)
{
	if (process->pid == self_tgid)
		return NO;
	if (filter_pids && !bpf_map_lookup_elem(&pids, &process->pid))
		return NO;
	if (filter_comms) {
		struct comm_key key;

		__builtin_memcpy(key.comm, process->comm, sizeof(key.comm));
		if (!bpf_map_lookup_elem(&comms, &key))
			return NO;
	}
	if (filter_exes) {
		struct exe_key key = {.inode = process->exe_inode, .device = process->exe_device};

		if (!bpf_map_lookup_elem(&exes, &key))
			return NO;
	}
	if (filter_uids && !bpf_map_lookup_elem(&uids, &process->uid))
		return NO;
	if (filter_cgroups && !bpf_map_lookup_elem(&cgroups, &process->cgroup))
		return NO;
	return YES;
}

static __always_inline bool has_port(__u16 port)
{
	return ports[port >> 6] >> (port & 63) & 1;
}

static __always_inline bool in_nets(__u8 family, const __u8 *address)
{
	if (family == 4) {
		struct net4_key key = {.prefix = 32};

		__builtin_memcpy(key.address, address, sizeof(key.address));
		return bpf_map_lookup_elem(&nets4, &key);
	}
	struct net6_key key = {.prefix = 128};

	__builtin_memcpy(key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&nets6, &key);
}

/* Whether the filters on what the socket is let it through. */
static __always_inline bool wants_socket(const struct perisco_event *head)
{
	if (filter_ports && !has_port(head->local_port) && !has_port(head->remote_port))
		return false;
	if (filter_nets && !in_nets(head->family, head->local) &&
	    !in_nets(head->family, head->remote))
		return false;
	if (filter_netns && !bpf_map_lookup_elem(&netnses, &head->netns))
		return false;
	return true;
}

/*
 * Whether the socket of `head` is recorded, by all filters. `process`: whether
 * its process is wanted (YES, NO, UNKNOWN). Counts payload (if there is
 * `payload`) that is kept out.
 */
static __always_inline bool wanted(const struct perisco_event *head, __u8 process, __u8 role,
				   __u32 payload)
{
	if (!filters_processes()) {
		/* The recorder's own is the only process kept out. */
		if (process == NO)
			return false;
		process = YES;
	}
	if (process == YES && (!filter_role || role == filter_role) && wants_socket(head))
		return true;
	if (payload) {
		count(PERISCO_C_FILTERED, 1);
		if (process == UNKNOWN && wants_socket(head))
			count(PERISCO_C_UNOWNED, 1);
	}
	return false;
}

/* Says who uses the socket. `confirmed`: in a call, so its thread is known.
 * Not 0: the ring was full. */
static __always_inline int send_owner(struct perisco_event *head, const struct process *owner,
				      bool confirmed)
{
	head->kind = PERISCO_OWNER;
	head->pid = owner->pid;
	head->tid = owner->tid;
	head->uid = owner->uid;
	head->cgroup = owner->cgroup;
	head->flags = confirmed ? PERISCO_F_PROCESS : 0;
	return send_comm(head, owner->comm, false);
}

#endif
