/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The workload of scripts/kernels: each system call that sends or receives on
 * TCP, over connections of their own, IPv4 and IPv6, both directions; and
 * what was sent, written down for check.py.
 *
 *     traffic TRUTH GO [CASE]
 *
 * Opens two connections, exchanges some bytes on them, prints "ready" and
 * waits until the file GO is there: the recorder is started in between. With
 * CASE only those whose name begins so. Every end
 * appends a line to TRUTH for each connection:
 *
 *     CASE 4|6 LOCAL-PORT REMOTE-PORT SENT-KEY SENT RECEIVED-KEY RECEIVED
 *         SENT-BEFORE RECEIVED-BEFORE PID
 *
 * A stream of key K is lines of 512 bytes, each (K, number of the line) in 32
 * bits each and 504 bytes (31 K + 7 i + i / 256) mod 256 for i from 0 on: bytes
 * of a wrong place or stream show.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "calls.h"

/* Bytes of each call, in turn: around the sizes of the recorder's events. */
static const size_t SMALL[] = {1, 300, 512, 513, 4096, 4097, 12001, 0};
static const size_t LARGE[] = {32768, 32769, 65537, 0};
static const size_t MEGABYTE[] = {1 << 20, 0};
/* For a recorder that is told to copy 1 MB of a call: a gap of exact length. */
static const size_t CALL_LIMIT[] = {(1 << 20) + 300000, 0};
static const size_t MEGABYTES_3[] = {3 << 20, 0};
static const size_t MEGABYTES_13[] = {13 << 20, 0};
static const size_t MEGABYTES_20[] = {20 << 20, 0};
static const size_t TINY[] = {200, 1, 199, 7, 200, 31, 200, 200, 0};

struct test {
	const char *name;
	send_fn send;
	receive_fn receive;
	const size_t *sizes;
	/* Most bytes asked for in one receiving call. */
	size_t ask;
	/* io_uring operation that must be there. */
	int uring_op;
};

#define NO_URING -1
static const struct test TESTS[] = {
	/* The first one is opened before the recorder starts. */
	{"midway", by_write, by_read, SMALL, 65536, NO_URING},
	{"write", by_write, by_read, SMALL, 65536, NO_URING},
	{"write-large", by_write, by_recvfrom, LARGE, 1 << 20, NO_URING},
	{"write-megabyte", by_write, by_waitall, MEGABYTE, 1 << 20, NO_URING},
	{"call-limit", by_write, by_read, CALL_LIMIT, 65536, NO_URING},
	{"write-3MB", by_write, by_read, MEGABYTES_3, 65536, NO_URING},
	{"write-20MB", by_write, by_waitall, MEGABYTES_20, 20 << 20, NO_URING},
	{"writev-13MB", by_writev_wide, by_readv_wide, MEGABYTES_13, 13 << 20, NO_URING},
	{"sendfile-20MB", by_sendfile, by_recvfrom, MEGABYTES_20, 20 << 20, NO_URING},
	{"writev", by_writev, by_readv, SMALL, 8192, NO_URING},
	{"writev-many", by_writev_many, by_readv_many, SMALL, 65536, NO_URING},
	{"writev-many-large", by_writev_many, by_waitall, LARGE, 30000, NO_URING},
	{"writev-mixed", by_writev_mixed, by_preadv2, LARGE, 100000, NO_URING},
	{"sendto", by_sendto, by_recvfrom, SMALL, 700, NO_URING},
	{"sendmsg", by_sendmsg, by_recvmsg, SMALL, 9999, NO_URING},
	{"sendmmsg", by_sendmmsg, by_recvmmsg, SMALL, 65536, NO_URING},
	{"pwritev2", by_pwritev2, by_preadv2, SMALL, 5000, NO_URING},
	{"sendfile", by_sendfile, by_read, SMALL, 65536, NO_URING},
	{"sendfile-large", by_sendfile, by_read, LARGE, 65536, NO_URING},
	{"splice-out", by_splice, by_read, SMALL, 65536, NO_URING},
	{"vmsplice", by_vmsplice, by_read, SMALL, 65536, NO_URING},
	{"splice-in", by_write, by_splice_in, LARGE, 65536, NO_URING},
	{"splice-in-small", by_write, by_splice_in, SMALL, 700, NO_URING},
	{"splice-through", by_sendfile, by_splice_in, LARGE, 65536, NO_URING},
	{"corked", by_msg_more, by_waitall, SMALL, 4000, NO_URING},
	{"zerocopy", by_zerocopy, by_read, LARGE, 65536, NO_URING},
	{"peek", by_write, by_peek, SMALL, 3000, NO_URING},
	{"nonblocking", by_write, by_nonblocking, SMALL, 65536, NO_URING},
	{"uring-send", by_uring_send, by_uring_recv, SMALL, 65536, IORING_OP_SEND},
	{"uring-send-large", by_uring_send, by_uring_recv, LARGE, 1 << 20, IORING_OP_SEND},
	{"uring-write", by_uring_write, by_uring_read, SMALL, 65536, IORING_OP_WRITE},
	{"uring-writev", by_uring_writev, by_uring_readv, SMALL, 65536, IORING_OP_WRITEV},
	{"uring-sendmsg", by_uring_sendmsg, by_uring_recvmsg, SMALL, 65536, IORING_OP_SENDMSG},
	{"uring-async", by_uring_async, by_uring_read, LARGE, 65536, IORING_OP_SEND},
	{"uring-send-zc", by_uring_zc, by_uring_recv, LARGE, 65536, URING_SEND_ZC},
	/* The client reads the answer when its connection is closed already. */
	{"closed-by-fin", by_write, by_read, SMALL, 700, NO_URING},
	{"closed-by-reset", by_write, by_read, SMALL, 700, NO_URING},
	/* The last one runs in several processes at once. */
	{"parallel", by_write, by_read, TINY, 65536, NO_URING},
};
#define TEST_COUNT (int)(sizeof(TESTS) / sizeof(*TESTS))
/* So much that it goes one way only, over IPv4, and when the ring has room. */
#define BULK            (10 << 20)
#define PARALLEL        4
#define PARALLEL_ROUNDS 50
/* Bytes each way before the recorder starts. */
static const size_t EARLY[] = {1000, 0};

static int truth;

static void die(const char *what, const char *test)
{
	fprintf(stderr, "traffic: %s: %s: %s\n", test, what, strerror(errno));
	exit(1);
}

#define LINE 512
static void fill(char *buf, uint32_t key, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t line = (from + i) / LINE, at = (from + i) % LINE, after = at - 8;
		uint32_t word = at < 4 ? key : (uint32_t)line;
		buf[i] = (char)(at < 8 ? word >> at % 4 * 8 : 31 * key + 7 * after + after / 256);
	}
}

/* One direction of one connection. */
struct stream {
	uint32_t key;
	size_t at;
	/* `at` when the recorder was not there yet. */
	size_t before;
};

static void send_all(const struct test *t, int fd, struct stream *s, const size_t *sizes)
{
	for (; *sizes; sizes++) {
		/* Fresh memory: nothing of an earlier call is left in it. */
		char *buf = malloc(*sizes);
		fill(buf, s->key, s->at, *sizes);
		for (size_t sent = 0; sent < *sizes;) {
			ssize_t r = t->send(fd, buf + sent, *sizes - sent);
			if (r <= 0)
				die("send", t->name);
			sent += (size_t)r;
		}
		s->at += *sizes;
		/* These lend their pages until they are acknowledged. */
		if (t->send != by_zerocopy && t->send != by_vmsplice)
			free(buf);
	}
}

static void receive_all(const struct test *t, int fd, struct stream *s, const size_t *sizes)
{
	size_t total = 0, got = 0;
	for (; *sizes; sizes++)
		total += *sizes;
	char *buf = malloc(t->ask), *want = malloc(t->ask);
	while (got < total) {
		size_t ask = total - got < t->ask ? total - got : t->ask;
		ssize_t r = t->receive(fd, buf, ask);
		if (r <= 0)
			die("receive", t->name);
		if (s->at == 0 && s->key == 0 && r >= 1) {
			/* The server learns the client's key from the first word; it may come in
			 * parts. */
			for (size_t have = (size_t)r; have < 4; r = (ssize_t)have) {
				ssize_t more = read(fd, buf + have, 4 - have);
				if (more <= 0)
					die("receive", t->name);
				have += (size_t)more;
			}
			memcpy(&s->key, buf, 4);
		}
		fill(want, s->key, s->at, (size_t)r);
		if (memcmp(buf, want, (size_t)r))
			die("received other bytes than were sent", t->name);
		s->at += (size_t)r;
		got += (size_t)r;
	}
	free(buf);
	free(want);
}

static unsigned short port_of(int fd, int remote)
{
	struct sockaddr_in6 a; /* the port stands at the same place in both families */
	socklen_t n = sizeof(a);
	if (remote ? getpeername(fd, (void *)&a, &n) : getsockname(fd, (void *)&a, &n))
		die("name", "port");
	return ntohs(a.sin6_port);
}

/* One end of one connection, from its first byte to its close. */
struct end {
	int fd;
	/* Of here and there; a closed socket does not tell. */
	unsigned short ports[2];
	struct stream out, in;
};

static int is_bulk(const struct test *t)
{
	return t->sizes[0] > BULK;
}

/* Waits until the socket is in TCP's state CLOSE. */
static void await_close(const struct test *t, int fd)
{
	struct tcp_info info;
	do {
		socklen_t n = sizeof(info);
		usleep(1000);
		if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n))
			die("state", t->name);
	} while (info.tcpi_state != TCP_CLOSE);
}

/* The answer comes and the connection ends before the client reads. */
static void talk_closed(const struct test *t, struct end *e, int client, const size_t *sizes)
{
	int reset = !strcmp(t->name, "closed-by-reset"), waiting = 1;
	if (client) {
		send_all(t, e->fd, &e->out, sizes);
		if (!reset)
			shutdown(e->fd, SHUT_WR);
		await_close(t, e->fd);
		receive_all(t, e->fd, &e->in, sizes);
		return;
	}
	receive_all(t, e->fd, &e->in, sizes);
	e->out.key = e->in.key + 1;
	send_all(t, e->fd, &e->out, sizes);
	while (reset && waiting > 0 && !ioctl(e->fd, SIOCOUTQ, &waiting))
		usleep(1000);
	struct linger linger = {.l_onoff = reset};
	if (setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)))
		die("linger", t->name);
}

static void talk(const struct test *t, struct end *e, int client, const size_t *sizes)
{
	if (!strncmp(t->name, "closed", 6)) {
		talk_closed(t, e, client, sizes);
		return;
	}
	if (client)
		send_all(t, e->fd, &e->out, sizes);
	if (client && is_bulk(t))
		return;
	receive_all(t, e->fd, &e->in, sizes);
	e->out.key = client ? e->out.key : e->in.key + 1;
	if (!client && !is_bulk(t))
		send_all(t, e->fd, &e->out, sizes);
}

static void finish(const struct test *t, struct end *e, int v6)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "%s %d %u %u %u %zu %u %zu %zu %zu %d\n", t->name,
			 v6 ? 6 : 4, e->ports[0], e->ports[1], e->out.key, e->out.at, e->in.key,
			 e->in.at, e->out.before, e->in.before, getpid());
	if (write(truth, line, (size_t)n) != n)
		die("truth", t->name);
	close(e->fd);
}

static int listener[2];

static socklen_t loopback(struct sockaddr_in6 *a, int v6, unsigned short port)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)a;
	memset(a, 0, sizeof(*a));
	if (v6) {
		*a = (struct sockaddr_in6){.sin6_family = AF_INET6,
					   .sin6_port = htons(port),
					   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		return sizeof(*a);
	}
	*a4 = (struct sockaddr_in){.sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return sizeof(*a4);
}

/* A socket with a port that no case had before, chosen by the kernel: check.py
 * knows connections by their ports. */
static int fresh_socket(int v6)
{
	static char used[65536];
	for (;;) {
		struct sockaddr_in6 a;
		socklen_t n = loopback(&a, v6, 0);
		int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		if (fd < 0 || bind(fd, (void *)&a, n))
			die("bind", "open");
		unsigned short port = port_of(fd, 0);
		if (!used[port]) {
			used[port] = 1;
			return fd;
		}
		close(fd);
	}
}

static void open_end(struct end *e, int client, int v6, uint32_t key)
{
	*e = (struct end){.out.key = client ? key : 0, .in.key = client ? key + 1 : 0};
	if (client) {
		struct sockaddr_in6 a;
		socklen_t n = loopback(&a, v6, port_of(listener[v6], 0));
		e->fd = fresh_socket(v6);
		if (connect(e->fd, (void *)&a, n))
			die("connect", "open");
	} else {
		e->fd = accept(listener[v6], NULL, NULL);
	}
	int on = 1;
	if (e->fd < 0 || setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
		die("socket", "open");
	for (int remote = 0; remote < 2; remote++)
		e->ports[remote] = port_of(e->fd, remote);
}

/* Time that the CPUs were idle so far, of all that there are, in clock ticks. */
static long long idle_ticks(void)
{
	long long idle;
	FILE *file = fopen("/proc/stat", "r");
	if (!file || fscanf(file, "cpu %*d %*d %*d %lld", &idle) != 1)
		die("stat", "idle");
	fclose(file);
	return idle;
}

/*
 * Waits until the CPUs have little to do, at most some seconds: the recorder,
 * which has no priority here, has emptied its ring. Else bulk would be a test
 * of its speed.
 */
static void await_idle(void)
{
	long long all = sysconf(_SC_NPROCESSORS_ONLN) * sysconf(_SC_CLK_TCK) / 5;
	for (int i = 0; i < 100; i++) {
		long long before = idle_ticks();
		usleep(200000);
		if (idle_ticks() - before > all * 2 / 3)
			return;
	}
}

/* Whether a case has its turn here, for IPv6 or IPv4. */
static int has_turn(const struct test *t, int client, int v6, const char *only)
{
	if ((only && strncmp(only, t->name, strlen(only))) || (is_bulk(t) && v6))
		return 0;
	if (t->uring_op == NO_URING ||
	    (ring.fd >= 0 && uring_supports(&ring, (unsigned)t->uring_op)))
		return 1;
	if (client && !v6)
		fprintf(stderr, "traffic: %s: not on this kernel\n", t->name);
	return 0;
}

static void run_parallel(int client, uint32_t key)
{
	for (uint32_t child = 0; child < PARALLEL; child++) {
		if (fork())
			continue;
		const struct test *t = &TESTS[TEST_COUNT - 1];
		struct end e;
		open_end(&e, client, child % 2, key + 2 + child * 2);
		for (int round = 0; round < PARALLEL_ROUNDS; round++)
			talk(t, &e, client, t->sizes);
		finish(t, &e, child % 2);
		exit(0);
	}
}

/* Both sides walk the same list in the same order. */
static void run_side(int client, const char *go, const char *only)
{
	struct end early[2];
	/* Keys differ by two: the answer's is one more. */
	uint32_t key = 0x10000000;
	if (uring_open(&ring))
		ring.fd = -1;
	for (int v6 = 0; v6 < 2; v6++) {
		open_end(&early[v6], client, v6, key += 2);
		talk(&TESTS[0], &early[v6], client, EARLY);
		early[v6].out.before = early[v6].out.at;
		early[v6].in.before = early[v6].in.at;
	}
	if (client) {
		puts("ready");
		fflush(stdout);
	}
	while (access(go, F_OK))
		usleep(20000);
	for (int i = 0; i < TEST_COUNT - 1; i++)
		for (int v6 = 0; v6 < 2; v6++) {
			const struct test *t = &TESTS[i];
			struct end e = early[v6];
			if (!has_turn(t, client, v6, only))
				continue;
			if (client && is_bulk(t))
				await_idle();
			if (i > 0)
				open_end(&e, client, v6, key += 2);
			talk(t, &e, client, t->sizes);
			finish(t, &e, v6);
			if (client && is_bulk(t))
				await_idle();
		}
	if (!only)
		run_parallel(client, key);
}

static int wait_all(void)
{
	int status, bad = 0;
	while (wait(&status) > 0)
		bad |= !WIFEXITED(status) || WEXITSTATUS(status);
	return bad;
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 4)
		return fprintf(stderr, "usage: traffic TRUTH GO [CASE]\n"), 2;
	truth = open(argv[1], O_CREAT | O_WRONLY | O_APPEND | O_TRUNC, 0644);
	alarm(300); /* a hang is a failure, not a wait */
	/*
	 * Real-time, all the same: none is preempted in the middle of a BPF program.
	 * Where the kernel does that (PREEMPT) it leaves the program out for others
	 * meanwhile, and on an emulated machine a thousand times as often as on a
	 * real one.
	 */
	struct sched_param priority = {.sched_priority = 1};
	sched_setscheduler(0, SCHED_FIFO, &priority);
	for (int v6 = 0; v6 < 2; v6++) {
		struct sockaddr_in6 a;
		socklen_t n = loopback(&a, v6, 0);
		listener[v6] = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		if (bind(listener[v6], (void *)&a, n) || listen(listener[v6], 16))
			die("listen", "open");
	}
	pid_t server = fork();
	if (server == 0) {
		alarm(300);
		run_side(0, argv[2], argv[3]);
		return wait_all();
	}
	run_side(1, argv[2], argv[3]);
	return wait_all();
}
