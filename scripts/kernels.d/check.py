#!/usr/bin/env python3
"""Whether a recording holds every byte that traffic.c says was sent.

    check.py TRUTH RECORDING [--call-bytes BYTES | --cut-bytes BYTES] [--ends 1|2]

RECORDING is a pcapng file (plain), or the records of the ring buffer as they
came (record_events.rs: each after its length in 32 bits). Rebuilds
both directions of each connection by sequence number, each end's copy apart,
and compares them with what traffic.c wrote down. --call-bytes: the recorder was
told to copy so much of a call: beyond that the sender's one call is a hole.
--cut-bytes: a filling ring cut so much in all, but nothing off the beginning of a
stream.
Prints a line for what is wrong, and a summary; exit status 1 if anything is.
"""
import argparse
import struct
import sys
from collections import defaultdict

LINE = 512  # bytes of a line of the pattern
SENT, RECEIVED = 0, 1
FIN, SYN = 1, 2


def pattern(key, length):
    """What traffic.c's fill() makes."""
    filler = bytes((31 * key + 7 * i + i // 256) & 0xFF for i in range(LINE - 8))
    lines = (length + LINE - 1) // LINE
    return b"".join(struct.pack("<II", key, i) + filler for i in range(lines))[:length]


class Copy:
    """One direction of one connection as one end saw it."""

    def __init__(self):
        self.pieces = []  # (seq, length, bytes)

    def add(self, seq, length, data):
        self.pieces.append((seq, length, data))

    def stream(self):
        """(bytes, [(offset, length) of holes]): the first sequence number is offset 0."""
        base = self.pieces[0][0]
        # Differences, not numbers: they wrap.
        placed = sorted(((seq - base + 2**31) % 2**32 - 2**31, length, data) for seq, length, data in self.pieces)
        first, out, holes = placed[0][0], bytearray(), []
        for at, length, data in placed:
            at -= first
            if at > len(out):
                holes.append((len(out), at - len(out)))
                out.extend(bytes(at - len(out)))
            new = data[len(out) - at:]
            out.extend(new)
            if at + length > len(out):
                holes.append((len(out), at + length - len(out)))
                out.extend(bytes(at + length - len(out)))
        return bytes(out), merged(holes)


def merged(holes):
    out = []
    for at, length in holes:
        if out and sum(out[-1]) == at:
            out[-1] = (out[-1][0], out[-1][1] + length)
        else:
            out.append((at, length))
    return out


def read_events(data, copies):
    """Records of struct perisco_event (bpf/event.h)."""
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        record = data[at + 4:at + 4 + size]
        at += 4 + size
        seq, _, length, captured, _, local, remote = struct.unpack_from("<IIIIIHH", record, 40)
        kind, way, family = record[64:67]
        if kind == 1 and length:
            copies[family, local, remote, way].add(seq, length, record[112:112 + captured])


def read_pcapng(data, copies):
    """Ethernet packets; which end saw one is in the direction flags of its block."""
    at, ended = 0, set()
    while at + 12 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == 6:
            captured, original = struct.unpack_from("<II", data, at + 20)
            packet = data[at + 28:at + 28 + captured]
            read_packet(packet, original, direction(data, at + 28 + (captured + 3) // 4 * 4, at + size - 4), copies, ended)
        at += size


def direction(data, at, end):
    """Bits 0-1 of epb_flags: SENT, RECEIVED, or None."""
    while at + 4 <= end:
        code, length = struct.unpack_from("<HH", data, at)
        if code == 2:
            return {2: SENT, 1: RECEIVED}.get(data[at + 4] & 3)
        if code == 0:
            break
        at += 4 + (length + 3) // 4 * 4
    return None


def read_packet(packet, original, way, copies, ended):
    """One Ethernet frame. Without a direction it counts for both ends."""
    six = packet[12:14] == b"\x86\xdd"
    header = 14 + (40 if six else (packet[14] & 15) * 4)
    source, destination, seq = struct.unpack_from(">HHI", packet, header)
    start = header + (packet[header + 12] >> 4) * 4
    flags = packet[header + 13]
    # One without payload stands after the last byte, also after those that are
    # not there; but after a FIN, which takes a number too.
    if flags & SYN or original <= start and (source, destination, way) in ended:
        return
    if flags & FIN:
        ended.add((source, destination, way))
    family = 6 if six else 4
    if way != RECEIVED:
        copies[family, source, destination, SENT].add(seq, original - start, packet[start:])
    if way != SENT:
        copies[family, destination, source, RECEIVED].add(seq, original - start, packet[start:])


def compare(copy, key, total, before, expected):
    """What is wrong with one copy, which must have the `expected` holes (None: any, but for
    the beginning): a text, or None."""
    got, holes = copy.stream()
    if expected is None and (not holes or holes[0][0]):
        expected = holes
    want = pattern(key, total)
    if not total - before <= len(got) <= total:
        return f"{len(got)} bytes instead of {total - before}"
    want = want[total - len(got):]
    if holes != expected:
        return f"holes {holes[:5]} instead of {expected} ({len(copy.pieces)} pieces)"
    for at, length in holes:
        want = want[:at] + bytes(length) + want[at + length:]
    if got != want:
        at = next(i for i, (a, b) in enumerate(zip(got, want)) if a != b)
        return f"wrong from offset {at} of {len(got)} on: {got[at:at + 8].hex()} instead of {want[at:at + 8].hex()}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("truth")
    parser.add_argument("recording")
    parser.add_argument("--call-bytes", type=int)
    parser.add_argument("--cut-bytes", type=int)
    parser.add_argument("--ends", type=int, default=2, help="copies of each direction that must be there")
    options = parser.parse_args()
    copies = defaultdict(Copy)
    with open(options.recording, "rb") as file:
        data = file.read()
    (read_pcapng if data[:4] == b"\x0a\x0d\x0d\x0a" else read_events)(data, copies)

    bad, good, size = [], 0, 0
    with open(options.truth) as file:
        lines = [line.split() for line in file]
    found = defaultdict(int)
    for name, family, local, remote, *rest in lines:
        family, local, remote = int(family), int(local), int(remote)
        sent_key, sent, received_key, received, sent_before, received_before, _ = map(int, rest)
        for way, key, total, before in ((SENT, sent_key, sent, sent_before), (RECEIVED, received_key, received, received_before)):
            place = f"{name} IPv{family} {local} {'->' if way == SENT else '<-'} {remote}"
            if not total:
                continue
            sender = (local, remote) if way == SENT else (remote, local)
            copy = copies.get((family, local, remote, way))
            if copy is None:
                found[family, sender, place.split()[0]] += 0
                continue
            found[family, sender, name] += 1
            cut = options.call_bytes if way == SENT else None
            expected = [(cut, total - cut)] if cut else []
            problem = compare(copy, key, total, before, None if options.cut_bytes else expected)
            if problem:
                bad.append(f"{place}: {problem}")
            else:
                good += 1
                size += total - before
    for (family, sender, name), ends in found.items():
        if ends < options.ends:
            bad.append(f"{name} IPv{family} {sender[0]} -> {sender[1]}: recorded at {ends} of {options.ends} ends")
    # Of all events: what was sent again may have been cut again.
    cut_bytes = sum(length - len(data) for copy in copies.values() for _, length, data in copy.pieces)
    if options.cut_bytes is not None and not 0 < options.cut_bytes == cut_bytes:
        bad.append(f"{cut_bytes} bytes are cut off, {options.cut_bytes} are counted")
    for line in bad[:40]:
        print(f"  WRONG {line}")
    print(f"  {good} streams identical ({size} bytes), {len(bad)} wrong")
    if not lines:
        print("  WRONG no truth: the workload did not run")
    return 1 if bad or not good else 0


sys.exit(main())
