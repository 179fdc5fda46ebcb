"""Rewrites a classic pcap the way a bad network or a bad capture would.

    mangle.py reorder|retransmit|duplicate IN OUT

reorder     every third pair of consecutive segments with data of one direction is swapped
retransmit  every fourth segment with data comes again, three packets later
duplicate   every packet comes twice, as from two mirror ports
The times are given out anew in ascending order.
"""
import struct
import sys


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    head, at, out = data[:24], 24, []
    assert struct.unpack("<I", head[:4])[0] == 0xA1B2C3D4, "classic little-endian pcap wanted"
    while at < len(data):
        s, us, n, full = struct.unpack("<IIII", data[at:at + 16])
        out.append([s * 1000000 + us, full, data[at + 16:at + 16 + n]])
        at += 16 + n
    return head, out


def payload(p):
    """(direction, number of TCP payload bytes) of an Ethernet/IPv4/TCP packet."""
    ip = p[2][14:]
    ihl = (ip[0] & 15) * 4
    total = struct.unpack(">H", ip[2:4])[0]
    tcp = ip[ihl:]
    return tcp[:4], total - ihl - (tcp[12] >> 4) * 4


def main():
    how, src, dst = sys.argv[1:]
    head, packets = read(src)
    times = [p[0] for p in packets]
    out = list(packets)
    if how == "reorder":
        k, i = 0, 0
        while i + 1 < len(out):
            a, b = payload(out[i]), payload(out[i + 1])
            if a[1] and b[1] and a[0] == b[0]:
                k += 1
                if k % 3 == 1:
                    out[i], out[i + 1] = out[i + 1], out[i]
                    i += 1
            i += 1
    elif how == "retransmit":
        out, due, k = [], [], 0
        for i, p in enumerate(packets):
            out.append(p)
            while due and due[0][0] <= i:
                out.append(due.pop(0)[1])
            if payload(p)[1]:
                k += 1
                if k % 4 == 2:
                    due.append((i + 3, p))
        out += [p for _, p in due]
    elif how == "duplicate":
        out = [p for p in packets for _ in range(2)]
    else:
        sys.exit(__doc__)
    if len(out) == len(times):
        out = [[t, p[1], p[2]] for t, p in zip(times, out)]
    else:  # a copy gets the time of its place: just after the one before it
        last, fixed = 0, []
        for p in out:
            last = max(last + 3, p[0])
            fixed.append([last, p[1], p[2]])
        out = fixed
    with open(dst, "wb") as f:
        f.write(head)
        for t, full, b in out:
            f.write(struct.pack("<IIII", t // 1000000, t % 1000000, len(b), full) + b)


main()
