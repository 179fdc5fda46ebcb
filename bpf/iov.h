/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What one call moved → data events. The payload is read where the call left
 * it: in the memory that the message's iterator went through, which is
 * resident (the kernel has just copied from or to it) and not yet given back
 * to the application.
 *
 * Nothing is kept from before the call: the iterator stands behind the last
 * byte moved, and is walked back as iov_iter_revert() does. A call whose
 * iterator went a way other than its return value says is a gap, not a guess.
 *
 * A loop over a whole call in one program is too much for the verifier, and
 * bpf_loop is not there before 5.17: so one event is a global function, which
 * is verified once, a round of many events is another, and what they work on
 * lies in a map.
 */
#ifndef PERISCO_IOV_H
#define PERISCO_IOV_H

#include "filter.h"

/* Bytes copied of one call, set by the loader: no more than the ring can hold
 * at once, which also bounds the time that a call is held up. */
const volatile __u32 call_bytes = 64 << 20;
/*
 * Rounds of one call, and events of a round. Every event but the last moves
 * PERISCO_LARGE bytes, ends a piece of at least GATHER_BYTES, is filled with
 * smaller ones, or has GATHER_PIECES of them: 64 MB of single pages are 16,384.
 */
#define CALL_ROUNDS  256
#define ROUND_EVENTS 256
/* Pieces smaller than this are put together into one event, HTTP/2's frame
 * heads with their frames. */
#define GATHER_BYTES PERISCO_MEDIUM
/* Pieces put together in one round. */
#define GATHER_PIECES 64
/* Empty pieces skipped in one round. */
#define EMPTY_PIECES 8
/* Pieces walked back at a time, times in a round, and rounds: 32,768 pieces,
 * UIO_MAXIOV (1,024) or 64 MB of single pages. */
#define REWIND_PIECES 32
#define REWIND_TIMES  32
#define REWIND_ROUNDS 32

/* `kind` of the memory. */
enum {
	OPAQUE, /* of a kind that is not known */
	FLAT,   /* one user buffer (ITER_UBUF) */
	USER,   /* struct iovec, user memory */
	KERNEL, /* struct kvec */
	PAGES,  /* struct bio_vec */
	PIPE,   /* struct pipe_buffer of a pipe's ring */
	PAGE,   /* one page, as tcp_sendpage has it */
};

/* A call whose bytes are being sent to the ring. */
struct transfer {
	struct perisco_event head; /* of the next event */
	__u64 pieces;              /* address of the next piece's descriptor; PIPE: its index */
	__u64 ring;                /* PIPE: the array, */
	__u64 ring_mask;           /* and its size less one */
	__u64 skip;                /* bytes of the next piece that were moved earlier */
	__u64 at;                  /* rest of the current piece: address */
	__u64 left;                /* and length */
	__u32 keep;                /* bytes still to be copied */
	__u32 rest;                /* bytes moved beyond these */
	__u32 unwound;             /* bytes still to be walked back */
	__u32 filled;              /* bytes in `gathered` */
	__u8 kind;
	__u8 in_kernel; /* the current piece is kernel memory */
	__u8 gap;       /* PERISCO_GAP_*: why copying stopped */
	__u8 rest_gap;  /* why `rest` is not copied */
	__u8 busy;      /* taken by a program that has not ended */
	__u8 unused[7];
	/* Twice the size: the verifier knows neither sum of offset and length. */
	__u8 gathered[2 * GATHER_BYTES];
};

/* One for each program that copies. A program is never entered twice on a CPU
 * (the kernel counts that as a recursion miss; 5.10 does not preempt one), so
 * two calls cannot meet in one entry; `busy` makes sure. */
enum { SENDING, SENDING_AGAIN, SENDING_PAGE, RECEIVING, RECEIVING_AGAIN, SPLICING, TRANSFERS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TRANSFERS);
	__type(key, __u32);
	__type(value, struct transfer);
} transfers SEC(".maps");

/* x86-64: struct page ↔ its memory. Not there without CONFIG_KALLSYMS_ALL. */
extern const void vmemmap_base __ksym __weak;
extern const void page_offset_base __ksym __weak;

/* Address of the memory of `page`; 0 if this kernel does not let it be computed. */
static __always_inline __u64 page_address(__u64 page)
{
	__u64 pages, memory, size = bpf_core_type_size(struct page);

	if (!&vmemmap_base || !&page_offset_base || !size)
		return 0;
	if (bpf_probe_read_kernel(&pages, sizeof(pages), &vmemmap_base) ||
	    bpf_probe_read_kernel(&memory, sizeof(memory), &page_offset_base))
		return 0;
	return memory + (page - pages) / size * PAGE_SIZE;
}

/* Sets the current piece to `length` bytes of `page`, from `offset` on. */
static __always_inline int set_page(struct transfer *t, __u64 page, __u32 offset, __u32 length)
{
	__u64 address = page_address(page);

	if (!address) {
		t->gap = PERISCO_GAP_PAGES;
		return -1;
	}
	t->at = address + offset;
	t->left = length;
	return 0;
}

static __always_inline struct pipe_buffer *pipe_slot(const struct transfer *t)
{
	return (void *)(t->ring +
			(t->pieces & t->ring_mask) * bpf_core_type_size(struct pipe_buffer));
}

/* Length of the piece that `t->pieces` names; -1 if it cannot be read. */
static __always_inline __s64 piece_length(const struct transfer *t)
{
	struct iovec vector;
	struct bio_vec pages;
	__u32 length;

	switch (t->kind) {
	case USER:
	case KERNEL:
		if (bpf_probe_read_kernel(&vector, sizeof(vector), (void *)t->pieces))
			return -1;
		return vector.iov_len;
	case PAGES:
		if (bpf_probe_read_kernel(&pages, sizeof(pages), (void *)t->pieces))
			return -1;
		return pages.bv_len;
	case PIPE:
		if (bpf_core_read(&length, sizeof(length), &pipe_slot(t)->len))
			return -1;
		return length;
	default:
		return -1;
	}
}

/* A piece's descriptor; struct bio_vec has the same size. */
#define STRIDE(t) ((t)->kind == PIPE ? 1 : sizeof(struct iovec))

/*
 * Walks back over up to REWIND_PIECES pieces. 0: go on; 1: `pieces` and `skip`
 * name the first byte moved; -1: unreadable.
 */
__noinline int walk_back(__u32 which)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &which);

	if (!t)
		return -1;
	for (int i = 0; i < REWIND_PIECES; i++) {
		__s64 length;

		t->pieces -= STRIDE(t);
		length = piece_length(t);
		if (length < 0)
			return -1;
		if (t->unwound <= length) {
			t->skip = length - t->unwound;
			return 1;
		}
		t->unwound -= length;
	}
	return 0;
}

/* The same for up to REWIND_TIMES times as many. */
__noinline int walk_far_back(__u32 which)
{
	for (int i = 0; i < REWIND_TIMES; i++) {
		int found = walk_back(which);

		if (found)
			return found;
	}
	return 0;
}

/* Makes the next piece the current one. -1: it cannot be read. */
__noinline int next_piece(__u32 which)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &which);
	struct iovec vector;
	struct bio_vec pages;
	struct pipe_buffer *slot;

	if (!t)
		return -1;
	switch (t->kind) {
	case USER:
	case KERNEL:
		if (bpf_probe_read_kernel(&vector, sizeof(vector), (void *)t->pieces))
			return -1;
		t->at = (__u64)vector.iov_base;
		t->left = vector.iov_len;
		break;
	case PAGES:
		if (bpf_probe_read_kernel(&pages, sizeof(pages), (void *)t->pieces))
			return -1;
		if (set_page(t, (__u64)pages.bv_page, pages.bv_offset, pages.bv_len))
			return -1;
		break;
	case PIPE:
		slot = pipe_slot(t);
		if (set_page(t, (__u64)BPF_CORE_READ(slot, page), BPF_CORE_READ(slot, offset),
			     BPF_CORE_READ(slot, len)))
			return -1;
		break;
	default:
		return -1;
	}
	t->pieces += STRIDE(t);
	if (t->skip > t->left)
		return -1;
	t->at += t->skip;
	t->left -= t->skip;
	t->skip = 0;
	return 0;
}

static __always_inline void move_on(struct transfer *t, __u32 n)
{
	t->at += n;
	t->left -= n;
	t->keep -= n;
}

/* READ of SEND_DATA: from the current piece. */
#define READ_PIECE(to, n)                                                                          \
	(t->in_kernel ? bpf_probe_read_kernel(to, n, (void *)t->at)                                \
		      : bpf_probe_read_user(to, n, (void *)t->at))
/* READ of SEND_DATA: what was put together. */
#define READ_GATHERED(to, n) bpf_probe_read_kernel(to, n, t->gathered)

/* Prepares the head for the next `n` bytes; the last event of a call that the
 * snap length or a filling ring cuts counts what is cut. */
static __always_inline void measure(struct transfer *t, __u32 n, bool last)
{
	t->head.length = n;
	if (last && t->rest_gap != PERISCO_GAP_CALL_LIMIT) {
		t->head.gap = t->rest_gap;
		t->head.length += t->rest;
		t->rest = 0;
	}
}

/* A ring that is filling leaves little of the rest of the call, or nothing (fit). */
static __always_inline void shorten(struct transfer *t)
{
	__u32 keep;

	if (!is_filling() || !t->keep)
		return;
	keep = fit(t->keep, t->head.pid, t->head.cgroup);
	if (keep >= t->keep)
		return;
	/* Beyond what a call may keep, nothing was counted yet. */
	if (t->rest_gap == PERISCO_GAP_CALL_LIMIT)
		count(keep ? PERISCO_C_CUT_BYTES : PERISCO_C_SHARE_BYTES, t->rest);
	t->rest += t->keep - keep;
	t->keep = keep;
	t->rest_gap = PERISCO_GAP_FILLING;
	t->head.flags &= ~PERISCO_F_SNAPPED;
}

/* Adds what fits of the current piece to `gathered`. 1: that is all, or the next
 * piece cannot be read, which is then an event of its own. */
__noinline int gather_piece(__u32 which)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &which);
	__u64 n, at;

	if (!t || t->filled >= GATHER_BYTES)
		return 1;
	at = t->filled;
	n = GATHER_BYTES - at;
	if (n > t->left)
		n = t->left;
	if (n > t->keep)
		n = t->keep;
	if (n) {
		n = BOUNDED(n, GATHER_BYTES);
		/* LLVM knows this bound, the verifier does not. */
		barrier_var(at);
		at &= GATHER_BYTES - 1;
		if (READ_PIECE(t->gathered + at, n))
			return 1;
		move_on(t, n);
		t->filled += n;
	}
	if (!t->keep || t->filled >= GATHER_BYTES)
		return 1;
	return !t->left && next_piece(which);
}

/* One event. 0: there is more; 1: done, or no way to go on. */
__noinline int copy_some(__u32 which)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &which);
	int sent = 0;
	__u32 n;

	if (!t)
		return 1;
	for (int i = 0; i < EMPTY_PIECES && !t->left; i++)
		if (next_piece(which))
			return 1;
	if (!t->left)
		return 0;
	shorten(t);
	t->filled = 0;
	if (t->left < t->keep && t->left < GATHER_BYTES)
		for (int i = 0; i < GATHER_PIECES; i++)
			if (gather_piece(which))
				break;
	n = t->filled;
	if (n) {
		measure(t, n, !t->keep);
		SEND_DATA(&t->head, n, READ_GATHERED, sent);
	} else {
		n = t->left < t->keep ? t->left : t->keep;
		if (n > PERISCO_LARGE)
			n = PERISCO_LARGE;
		if (!n)
			return 1;
		measure(t, n, n == t->keep);
		SEND_DATA(&t->head, n, READ_PIECE, sent);
		move_on(t, n);
	}
	if (sent < 0)
		lost_data(n);
	t->head.seq += n;
	return !t->keep;
}

/* Up to ROUND_EVENTS events; returns what copy_some does. */
__noinline int copy_many(__u32 which)
{
	for (int i = 0; i < ROUND_EVENTS; i++)
		if (copy_some(which))
			return 1;
	return 0;
}

/* The next `length` bytes of the call are not copied, and why. */
static __always_inline void send_gap(struct transfer *t, __u32 length, __u8 reason)
{
	bool limit = reason == PERISCO_GAP_CALL_LIMIT;

	if (!length)
		return;
	t->head.length = length;
	t->head.gap = reason;
	send_head(&t->head);
	t->head.seq += length;
	/* What a filling ring cut was counted then. */
	if (reason == PERISCO_GAP_FILLING)
		return;
	count(limit ? PERISCO_C_LIMIT : PERISCO_C_UNREADABLE, 1);
	count(limit ? PERISCO_C_LIMIT_BYTES : PERISCO_C_UNREADABLE_BYTES, length);
}

/* Takes the entry `which`, empty: its head is to be filled, then where the bytes are. */
static __always_inline struct transfer *take_transfer(__u32 which)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &which);

	if (!t || t->busy) {
		count(PERISCO_C_STATE, 1);
		return NULL;
	}
	t->busy = 1;
	t->kind = OPAQUE;
	t->gap = PERISCO_GAP_UNREADABLE;
	t->left = 0;
	t->skip = 0;
	t->unwound = 0;
	return t;
}

/* Sends the `moved` bytes that `t` describes, and gives it back. */
static __always_inline void send_transfer(struct transfer *t, __u32 which, __u32 moved)
{
	__u32 most = snaplen && snaplen < call_bytes ? snaplen : call_bytes;
	int found = !t->unwound, ended = 0;

	t->keep = moved < most ? moved : most;
	t->rest = moved - t->keep;
	t->rest_gap = PERISCO_GAP_CALL_LIMIT;
	if (snaplen && snaplen < moved) {
		t->head.flags |= PERISCO_F_SNAPPED;
		t->rest_gap = PERISCO_GAP_NONE;
	}
	t->in_kernel = t->kind != FLAT && t->kind != USER;
	for (int i = 0; i < REWIND_ROUNDS && !found; i++)
		found = walk_far_back(which);
	for (int i = 0; i < CALL_ROUNDS && found > 0 && !ended; i++)
		ended = copy_many(which);
	if (found >= 0 && !ended)
		t->gap = PERISCO_GAP_CALL_LIMIT;
	if (t->keep && t->rest_gap != PERISCO_GAP_FILLING) {
		t->keep += t->rest;
		t->rest = 0;
	}
	send_gap(t, t->keep, t->gap);
	send_gap(t, t->rest, t->rest_gap);
	t->busy = 0;
}

/* A kernel pointer as a number: the verifier lets no one calculate with what it
 * knows as a pointer. Also sets `pieces`. */
static __always_inline __u64 as_number(struct transfer *t, const void *pointer)
{
	t->pieces = (__u64)pointer;
	return *(volatile __u64 *)&t->pieces;
}

/* Where an iterator stands after a call that moved `moved` bytes. */
static __always_inline void set_iterator(struct transfer *t, struct iov_iter *iter, __u32 moved)
{
	__u64 offset = iter->iov_offset;
	__u32 type;

	/* All kinds have their pointer in the same union. */
	__u64 first = as_number(t, iter->kvec);

	if (bpf_core_field_exists(((struct iov_iter___5_10 *)0)->type))
		/* Bit 0 is the direction. */
		type = ((struct iov_iter___5_10 *)iter)->type & ~1u;
	else
		type = iter->iter_type;
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) &&
	    type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		t->kind = FLAT;
		t->at = first + offset - moved;
		t->left = moved;
		return;
	}
	if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC))
		t->kind = USER;
	else if (type == bpf_core_enum_value(enum iter_type, ITER_KVEC))
		t->kind = KERNEL;
	else if (type == bpf_core_enum_value(enum iter_type, ITER_BVEC))
		t->kind = PAGES;
	/* The last bytes moved are of the piece it stands in, the others lie before. */
	if (moved <= offset)
		t->skip = offset - moved;
	else
		t->unwound = moved - offset;
}

#endif
