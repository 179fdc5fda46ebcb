/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every system call that sends or receives on a TCP socket, each behind the
 * same two signatures. What to send with them is traffic.c's.
 */
#ifndef PERISCO_CALLS_H
#define PERISCO_CALLS_H

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "uring.h"

/* UIO_MAXIOV of the kernel: the most pieces of one call. */
#define MAX_PIECES 1024
/* Bytes that a pipe holds by default. */
#define PIPE_BYTES 65536

static struct uring ring;

/* Cuts `n` bytes into pieces, the i-th of `size(i)` bytes, the last of what is left. */
static int cut(struct iovec *pieces, int most, size_t (*size)(int), char *at, size_t n)
{
	int count = 0;
	for (; n > 0 && count < most; count++) {
		size_t take = size(count);
		if (take > n || count == most - 1)
			take = n;
		pieces[count] = (struct iovec){at, take};
		at += take;
		n -= take;
	}
	return count;
}

/* A head, an empty piece and the body, as servers send. */
static size_t few(int i)
{
	return i == 0 ? 137 : i == 1 ? 0 : (size_t)1 << 30;
}
/* Like HTTP/2: heads of nine bytes and frames of up to 200. */
static size_t many(int i)
{
	return i % 2 ? (size_t)(i * 37 % 200) : 9;
}
/* Small ones between pieces of some pages. */
static size_t mixed(int i)
{
	return i % 3 == 1 ? 9000 : (size_t)(20 + i);
}

/* The most pieces that one call takes, of all sizes up to some pages. */
static size_t wide(int i)
{
	static const size_t of[] = {9, 40000, 4095, 4096, 0, 30001};
	return of[i % 6];
}

#define PIECES(name, size)                                                                         \
	struct iovec name[MAX_PIECES];                                                             \
	int name##_count = cut(name, MAX_PIECES, size, buf, n)

/* Sending: bytes sent by one call, or -1. */
typedef ssize_t (*send_fn)(int fd, char *buf, size_t n);

static ssize_t by_write(int fd, char *buf, size_t n)
{
	return write(fd, buf, n);
}
static ssize_t by_writev(int fd, char *buf, size_t n)
{
	PIECES(v, few);
	return writev(fd, v, v_count);
}
static ssize_t by_writev_many(int fd, char *buf, size_t n)
{
	PIECES(v, many);
	return writev(fd, v, v_count);
}
static ssize_t by_writev_mixed(int fd, char *buf, size_t n)
{
	PIECES(v, mixed);
	return writev(fd, v, v_count);
}
static ssize_t by_writev_wide(int fd, char *buf, size_t n)
{
	PIECES(v, wide);
	return writev(fd, v, v_count);
}
static ssize_t by_pwritev2(int fd, char *buf, size_t n)
{
	PIECES(v, few);
	return pwritev2(fd, v, v_count, -1, 0);
}
static ssize_t by_sendto(int fd, char *buf, size_t n)
{
	return sendto(fd, buf, n, MSG_NOSIGNAL, NULL, 0);
}

static ssize_t by_sendmsg(int fd, char *buf, size_t n)
{
	PIECES(v, mixed);
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)v_count};
	return sendmsg(fd, &m, 0);
}

static ssize_t by_sendmmsg(int fd, char *buf, size_t n)
{
	struct mmsghdr m[3] = {0};
	struct iovec v[3] = {{buf, n / 3}, {buf + n / 3, n / 3}, {buf + n / 3 * 2, n - n / 3 * 2}};
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
	ssize_t sent = 0;
	int done = sendmmsg(fd, m, 3, 0);
	for (int i = 0; i < done; i++)
		sent += m[i].msg_len;
	return done < 0 ? -1 : sent;
}

/* Corked: the kernel holds the bytes back until the next call. */
static ssize_t by_msg_more(int fd, char *buf, size_t n)
{
	ssize_t first = n > 1 ? send(fd, buf, n / 2, MSG_MORE) : 0;
	ssize_t rest = first < 0 ? -1 : send(fd, buf + first, n - (size_t)first, 0);
	return rest < 0 ? -1 : first + rest;
}

static ssize_t by_zerocopy(int fd, char *buf, size_t n)
{
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on));
	return send(fd, buf, n, MSG_ZEROCOPY);
}

static ssize_t by_sendfile(int fd, char *buf, size_t n)
{
	/* Not at the start of a page, as a range request would. */
	char name[] = "/tmp/fileXXXXXX", pad[777] = {0};
	int file = mkstemp(name);
	unlink(name);
	off_t at = sizeof(pad);
	if (file < 0 || write(file, pad, sizeof(pad)) < 0 || write(file, buf, n) != (ssize_t)n)
		return -1;
	ssize_t sent = 0;
	while ((size_t)sent < n) {
		ssize_t r = sendfile(fd, file, &at, n - (size_t)sent);
		if (r <= 0)
			return -1;
		sent += r;
	}
	close(file);
	return sent;
}

static ssize_t through_pipe(int fd, char *buf, size_t n, int gift)
{
	int p[2];
	ssize_t sent = 0;
	if (n > PIPE_BYTES / 2)
		n = PIPE_BYTES / 2;
	struct iovec v = {buf, n};
	if (pipe(p) || (gift ? vmsplice(p[1], &v, 1, 0) : write(p[1], buf, n)) != (ssize_t)n)
		return -1;
	while ((size_t)sent < n) {
		ssize_t r = splice(p[0], NULL, fd, NULL, n - (size_t)sent, 0);
		if (r <= 0)
			return -1;
		sent += r;
	}
	close(p[0]);
	close(p[1]);
	return sent;
}

static ssize_t by_splice(int fd, char *buf, size_t n)
{
	return through_pipe(fd, buf, n, 0);
}
static ssize_t by_vmsplice(int fd, char *buf, size_t n)
{
	return through_pipe(fd, buf, n, 1);
}

static ssize_t by_uring(unsigned char op, unsigned char flags, int fd, const void *buf, size_t n)
{
	struct io_uring_sqe sqe = {
		.opcode = op, .flags = flags, .fd = fd, .addr = (uintptr_t)buf, .len = (unsigned)n};
	if (op == IORING_OP_WRITEV || op == IORING_OP_READV || op == IORING_OP_WRITE ||
	    op == IORING_OP_READ)
		sqe.off = (uint64_t)-1;
	int result = uring_do(&ring, &sqe);
	if (result < 0)
		errno = -result;
	return result < 0 ? -1 : result;
}

static ssize_t by_uring_send(int fd, char *buf, size_t n)
{
	return by_uring(IORING_OP_SEND, 0, fd, buf, n);
}
static ssize_t by_uring_write(int fd, char *buf, size_t n)
{
	return by_uring(IORING_OP_WRITE, 0, fd, buf, n);
}
/* By a thread of io-wq. */
static ssize_t by_uring_async(int fd, char *buf, size_t n)
{
	return by_uring(IORING_OP_SEND, IOSQE_ASYNC, fd, buf, n);
}
static ssize_t by_uring_zc(int fd, char *buf, size_t n)
{
	return by_uring(URING_SEND_ZC, 0, fd, buf, n);
}

static ssize_t by_uring_writev(int fd, char *buf, size_t n)
{
	PIECES(v, many);
	return by_uring(IORING_OP_WRITEV, 0, fd, v, (size_t)v_count);
}

static ssize_t by_uring_sendmsg(int fd, char *buf, size_t n)
{
	PIECES(v, few);
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)v_count};
	return by_uring(IORING_OP_SENDMSG, 0, fd, &m, 1);
}

/* Receiving: bytes that came, 0 at the end, or -1. */
typedef ssize_t (*receive_fn)(int fd, char *buf, size_t n);

static ssize_t by_read(int fd, char *buf, size_t n)
{
	return read(fd, buf, n);
}
static ssize_t by_readv(int fd, char *buf, size_t n)
{
	PIECES(v, few);
	return readv(fd, v, v_count);
}
static ssize_t by_readv_many(int fd, char *buf, size_t n)
{
	PIECES(v, many);
	return readv(fd, v, v_count);
}
static ssize_t by_readv_wide(int fd, char *buf, size_t n)
{
	PIECES(v, wide);
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)v_count};
	return recvmsg(fd, &m, MSG_WAITALL);
}
static ssize_t by_preadv2(int fd, char *buf, size_t n)
{
	PIECES(v, mixed);
	return preadv2(fd, v, v_count, -1, 0);
}
static ssize_t by_recvfrom(int fd, char *buf, size_t n)
{
	return recvfrom(fd, buf, n, 0, NULL, NULL);
}
static ssize_t by_waitall(int fd, char *buf, size_t n)
{
	return recv(fd, buf, n, MSG_WAITALL);
}

static ssize_t by_recvmsg(int fd, char *buf, size_t n)
{
	PIECES(v, mixed);
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)v_count};
	return recvmsg(fd, &m, 0);
}

static ssize_t by_recvmmsg(int fd, char *buf, size_t n)
{
	struct iovec v = {buf, n};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
	return recvmmsg(fd, &m, 1, 0, NULL) < 0 ? -1 : (ssize_t)m.msg_len;
}

/* Looks twice, then takes: the bytes move once. */
static ssize_t by_peek(int fd, char *buf, size_t n)
{
	if (recv(fd, buf, n, MSG_PEEK) < 0 || recv(fd, buf, 1, MSG_PEEK | MSG_TRUNC) < 0)
		return -1;
	return recv(fd, buf, n, 0);
}

/* As an event loop does: until EAGAIN, then wait. */
static ssize_t by_nonblocking(int fd, char *buf, size_t n)
{
	for (;;) {
		ssize_t r = recv(fd, buf, n, MSG_DONTWAIT);
		if (r >= 0 || errno != EAGAIN)
			return r;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		poll(&p, 1, -1);
	}
}

static ssize_t by_splice_in(int fd, char *buf, size_t n)
{
	int p[2];
	if (pipe(p))
		return -1;
	if (n > PIPE_BYTES)
		n = PIPE_BYTES;
	ssize_t came = splice(fd, NULL, p[1], NULL, n, 0), got = 0;
	while (got < came) {
		ssize_t r = read(p[0], buf + got, (size_t)(came - got));
		if (r <= 0)
			return -1;
		got += r;
	}
	close(p[0]);
	close(p[1]);
	return came;
}

static ssize_t by_uring_recv(int fd, char *buf, size_t n)
{
	return by_uring(IORING_OP_RECV, 0, fd, buf, n);
}
static ssize_t by_uring_read(int fd, char *buf, size_t n)
{
	return by_uring(IORING_OP_READ, IOSQE_ASYNC, fd, buf, n);
}

static ssize_t by_uring_readv(int fd, char *buf, size_t n)
{
	PIECES(v, many);
	return by_uring(IORING_OP_READV, 0, fd, v, (size_t)v_count);
}

static ssize_t by_uring_recvmsg(int fd, char *buf, size_t n)
{
	PIECES(v, few);
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)v_count};
	return by_uring(IORING_OP_RECVMSG, 0, fd, &m, 1);
}

#endif
