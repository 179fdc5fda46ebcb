/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One io_uring request at a time, by raw system calls: the guests have no
 * liburing, and a static binary needs none for this.
 */
#ifndef PERISCO_URING_H
#define PERISCO_URING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of kernel 6.0; this file also builds with older headers. */
#define URING_SEND_ZC 47
/* A completion that only says the pages of a zero-copy send are free again. */
#define URING_CQE_NOTIF 8u
#define URING_CQE_MORE 2u

struct uring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array;
	unsigned *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static inline int uring_open(struct uring *ring)
{
	struct io_uring_params p = {0};
	int fd = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (fd < 0)
		return -errno;
	size_t sq_bytes = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	size_t cq_bytes = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
	char *sq = mmap(NULL, sq_bytes, prot, flags, fd, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, cq_bytes, prot, flags, fd, IORING_OFF_CQ_RING);
	ring->sqes = mmap(NULL, p.sq_entries * sizeof(*ring->sqes), prot, flags, fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || (void *)ring->sqes == MAP_FAILED)
		return -ENOMEM;
	ring->fd = fd;
	ring->sq_tail = (unsigned *)(sq + p.sq_off.tail);
	ring->sq_mask = (unsigned *)(sq + p.sq_off.ring_mask);
	ring->sq_array = (unsigned *)(sq + p.sq_off.array);
	ring->cq_head = (unsigned *)(cq + p.cq_off.head);
	ring->cq_tail = (unsigned *)(cq + p.cq_off.tail);
	ring->cq_mask = (unsigned *)(cq + p.cq_off.ring_mask);
	ring->cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	return 0;
}

/* Waits for one completion: its result, or -errno. */
static inline int uring_reap(struct uring *ring, unsigned *flags)
{
	unsigned head = *ring->cq_head;
	while (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		if (syscall(SYS_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno != EINTR)
			return -errno;
	struct io_uring_cqe *cqe = &ring->cqes[head & *ring->cq_mask];
	int result = cqe->res;
	*flags = cqe->flags;
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	return result;
}

/* Submits one request and waits until it is done: its result, or -errno. */
static inline int uring_do(struct uring *ring, const struct io_uring_sqe *request)
{
	unsigned tail = *ring->sq_tail, slot = tail & *ring->sq_mask, flags = 0;
	ring->sqes[slot] = *request;
	ring->sq_array[slot] = slot;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	int result = uring_reap(ring, &flags);
	while (flags & URING_CQE_MORE)
		uring_reap(ring, &flags);
	return result;
}

static inline int uring_supports(struct uring *ring, unsigned op)
{
	union {
		struct io_uring_probe probe;
		char space[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)];
	} u;
	memset(&u, 0, sizeof(u));
	if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_PROBE, &u, 256) < 0)
		return 0;
	return op <= u.probe.last_op && (u.probe.ops[op].flags & IO_URING_OP_SUPPORTED);
}

#endif
