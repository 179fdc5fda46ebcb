/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The contract between the BPF programs and the recorder: what stands in the
 * ring buffer, and nothing else. `src/record/event.rs` reads it and asserts
 * the same offsets at compile time.
 *
 * Every record is one `struct perisco_event`, followed by `captured` bytes.
 * Every record says all that is needed to place it: none depends on an
 * earlier one, because any of them may have found the ring full.
 */
#ifndef PERISCO_EVENT_H
#define PERISCO_EVENT_H

/* Payload bytes of the three sizes of ring reservations. A call or packet of
 * more is cut into several events, their `seq` going on. */
#define PERISCO_SMALL  512
#define PERISCO_MEDIUM 4096
#define PERISCO_LARGE  32768

/* TASK_COMM_LEN of the kernel. */
#define PERISCO_COMM 16

/* `kind` */
/* Payload, or the flags SYN, FIN, RST, on their way. `captured` bytes follow. */
#define PERISCO_DATA 1
/* The socket became established, or (`PERISCO_F_MIDWAY`) was found so by the
 * iterator. `seq` and `ack`: the next byte to be sent and to be received. */
#define PERISCO_OPEN 2
/* The socket is gone. `seq` and `ack`: one past the last byte sent (write_seq; cgroup: snd_nxt)
 * and received (rcv_nxt), a FIN counted as in TCP. `tcp_flags` has
 * PERISCO_FIN_SENT, PERISCO_FIN_RECEIVED, PERISCO_RESET as far as known. */
#define PERISCO_CLOSE 3
/* A process (`pid`, `uid`, `cgroup`) uses the socket; said once for each
 * change. `captured` is PERISCO_COMM: its comm follows. */
#define PERISCO_OWNER 4
/* A process called exec: its comm follows. No socket. */
#define PERISCO_EXEC 5
/* A process was forked: `pid` the child, `tid` the parent (both tgids). No socket. */
#define PERISCO_FORK 6
/* The last thread of a process ended. No socket. */
#define PERISCO_EXIT 7
/* A socket listens (`lport`, `laddr`; remote all zero), or was found so. */
#define PERISCO_LISTEN 8

/* `direction`, as seen from the local end of the socket */
#define PERISCO_SENT     0
#define PERISCO_RECEIVED 1

/* `role` of the local end */
#define PERISCO_ROLE_UNKNOWN 0
#define PERISCO_ROLE_CLIENT  1
#define PERISCO_ROLE_SERVER  2

/* `gap`: why fewer bytes follow than moved (`captured` < `length`). A reason
 * of 0 with `captured` < `length` is the snap length. */
#define PERISCO_GAP_NONE 0
/* The memory could not be read (a page not resident, a kind of iterator that
 * is not known). */
#define PERISCO_GAP_UNREADABLE 1
/* One call moved more than the programs copy. */
#define PERISCO_GAP_CALL_LIMIT 2
/* Pages of the page cache whose address cannot be computed on this kernel. */
#define PERISCO_GAP_PAGES 3
/* The ring was filling: the beginning was kept, so that there is room for the beginning of others.
 */
#define PERISCO_GAP_FILLING 4

/* `flags` */
/* Found by the iterator: the connection is older than the recorder. */
#define PERISCO_F_MIDWAY 1
/* `ack` is known. */
#define PERISCO_F_ACK 2
/* The bytes were seen as a packet (cgroup): repeats and disorder are possible. */
#define PERISCO_F_PACKET 4
/* `pid`, `tid` and `uid` are the process whose call this is. */
#define PERISCO_F_PROCESS 8
/* `snap length` cut this event's write or packet. */
#define PERISCO_F_SNAPPED 16

/* `tcp_flags`: those of the TCP header for packets; for CLOSE these */
#define PERISCO_FIN_SENT     1
#define PERISCO_FIN_RECEIVED 2
#define PERISCO_RESET        4

struct perisco_event {
	__u64 at;       /* CLOCK_BOOTTIME, nanoseconds */
	__u64 socket;   /* identity among live sockets: the address of struct sock; 0 none */
	__u64 cgroup;   /* cgroup2 id of the socket or process; 0 unknown */
	__u32 netns;    /* inode number of the network namespace; 0 unknown */
	__u32 pid;      /* process (tgid) in the initial pid namespace; 0 unknown */
	__u32 tid;      /* thread */
	__u32 uid;      /* in the initial user namespace */
	__u32 seq;      /* sequence number of the first byte that moved */
	__u32 ack;      /* next byte expected from the other side, when the bytes moved */
	__u32 length;   /* bytes that moved */
	__u32 captured; /* bytes that follow this header; at most PERISCO_LARGE */
	__u32 lost;     /* events that found no room so far, running, all CPUs; wraps */
	__u16 local_port;
	__u16 remote_port;
	__u8 kind;
	__u8 direction;
	__u8 family; /* 4, 6, or 0: no socket */
	__u8 tcp_flags;
	__u8 role;
	__u8 gap;
	__u8 flags;
	__u8 unused;
	__u8 local[16]; /* IPv4 in the first four bytes, as on the wire; v4-mapped IPv6 is made IPv4
			 */
	__u8 remote[16];   /* the same */
	__u32 reserved[2]; /* zero */
};

_Static_assert(sizeof(struct perisco_event) == 112, "layout of perisco_event");

/* Counters, by index into the per-CPU array `counters`. */
#define PERISCO_C_CUT              0 /* packets or calls cut because the ring was filling */
#define PERISCO_C_CUT_BYTES        1 /* what was cut off */
#define PERISCO_C_LOST_RING        2 /* data events that found the ring full */
#define PERISCO_C_LOST_RING_BYTES  3 /* their payload */
#define PERISCO_C_LOST_OTHER       4 /* other events that found the ring full */
#define PERISCO_C_UNREADABLE       5 /* data events of unreadable memory */
#define PERISCO_C_UNREADABLE_BYTES 6
#define PERISCO_C_LIMIT            7 /* calls longer than what is copied */
#define PERISCO_C_LIMIT_BYTES      8
#define PERISCO_C_STATE            9 /* calls not seen: a table was full, or programs were left out */
#define PERISCO_C_FILTERED         10 /* calls or packets with payload that the filters kept out */
#define PERISCO_C_UNOWNED          11 /* of these: kept out because the process was not known */
#define PERISCO_C_RECOVERED        12 /* of LOST_RING: copied from the other end after all */
#define PERISCO_C_RECOVERED_BYTES  13
/* Events of processes that had had their share of a full ring: neither in LOST_RING nor in CUT. */
#define PERISCO_C_SHARE       14
#define PERISCO_C_SHARE_BYTES 15 /* their payload */
#define PERISCO_COUNTERS      16

#endif
