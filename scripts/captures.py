"""Captures that scripts/bench and scripts/instructions make by themselves.

All are functions of their arguments: the same bytes on every machine. Packets
are Ethernet, IPv4, TCP in pcap files of microseconds; checksums are left zero
or stale, as captures on a sender leave them.
"""

import random
import struct

FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
RECORD = struct.Struct("<IIII")  # seconds, microseconds, bytes captured, bytes on the wire
ETHERNET, IPV4, TCP = 14, 20, 20
ADDRESSES = slice(ETHERNET + 12, ETHERNET + 20)  # source and destination in a packet
BEGIN = 1_700_000_000  # seconds since 1970 at which made-up captures begin
FIN_ACK, SYN, SYN_ACK, ACK, PUSH = 0x11, 0x02, 0x12, 0x10, 0x18
CHUNK = 1 << 20  # bytes written at once


def packet(ends, from_server, flags, seq, ack, payload=b"", ident=1):
    """One packet between ends: ((address, port), (address, port)), client first."""
    source, target = ends[::-1] if from_server else ends
    return b"".join([
        b"\x02" * 12 + b"\x08\x00",
        struct.pack(">BBHHHBBH", 0x45, 0, IPV4 + TCP + len(payload), ident & 0xFFFF, 0x4000, 64, 6, 0),
        source[0], target[0],
        struct.pack(">HHIIBBHHH", source[1], target[1], seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 0xFFFF, 0, 0),
        payload,
    ])


def record(micros, data):
    """A packet as a pcap record; micros count from BEGIN."""
    return RECORD.pack(BEGIN + micros // 1_000_000, micros % 1_000_000, len(data), len(data)) + data


def handshake(ends, micros):
    """SYN, SYN+ACK, ACK; sequence numbers go on with 1 on both sides."""
    return [record(micros, packet(ends, False, SYN, 0, 0)),
            record(micros + 1, packet(ends, True, SYN_ACK, 0, 1)),
            record(micros + 2, packet(ends, False, ACK, 1, 1))]


def goodbye(ends, micros, client, server):
    """FIN, FIN+ACK, ACK after the bytes up to these sequence numbers."""
    return [record(micros, packet(ends, False, FIN_ACK, client, server)),
            record(micros + 1, packet(ends, True, FIN_ACK, server, client + 1)),
            record(micros + 2, packet(ends, False, ACK, client + 1, server + 1))]


def three_packets(path):
    """The smallest capture there is to look at: a connection, a request."""
    ends = ((b"\x0a\0\0\1", 40_000), (b"\x0a\0\0\2", 80))
    syn, syn_ack, _ = handshake(ends, 0)
    request = packet(ends, False, PUSH, 1, 1, b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
    path.write_bytes(b"".join([FILE_HEADER, syn, syn_ack, record(3, request)]))


def tls_records(size, generator):
    """TLS records of random bytes, size bytes in all (RFC 8446 section 5.1)."""
    out = []
    while size > 0:
        body = min(16_384, max(1, size - 5))
        out.append(b"\x17\x03\x03" + struct.pack(">H", body) + generator.randbytes(body))
        size -= 5 + body
    return b"".join(out)


def uninteresting(path, size, segment, kind):
    """Eight connections of segments in one direction: kind "tls" (records), "random"
    (random bytes, as of a database of its own protocol). The bytes come again after 1 MiB."""
    generator = random.Random(1)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + generator.randbytes(506)
    stream = tls_records(CHUNK, generator) if kind == "tls" else generator.randbytes(CHUNK)
    stream += stream[:segment]
    ends = [((b"\x0a\0\0\1", 40_000 + index), (b"\x0a\0\0\2", 443)) for index in range(8)]
    sent, written, micros = [0] * len(ends), 0, 0
    with open(path, "wb") as file:
        file.write(FILE_HEADER)
        for end in ends:
            file.write(b"".join(handshake(end, micros)))
            first = hello if kind == "tls" else generator.randbytes(len(hello))
            file.write(record(micros + 3, packet(end, False, PUSH, 1, 1, first)))
            micros += 10
        while written < size:
            for index, end in enumerate(ends):
                offset = sent[index] % CHUNK
                data = packet(end, True, ACK, 1 + sent[index], 1 + len(hello), stream[offset:offset + segment])
                file.write(record(micros, data))
                sent[index] += segment
                written += len(data)
                micros += 10
    return path


def connections(path, count, close):
    """So many connections, each with one request and its answer, one after the other;
    all of them closed, or none."""
    request = b"GET /item/1 HTTP/1.1\r\nHost: shop\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server = (b"\x0a\1\0\1", 80)
    with open(path, "wb") as file:
        file.write(FILE_HEADER)
        for index in range(count):
            ends = ((b"\x0a\2" + struct.pack(">H", index % 50_000), 1_025 + index // 50_000), server)
            micros = index * 10
            file.write(b"".join([
                *handshake(ends, micros),
                record(micros + 3, packet(ends, False, PUSH, 1, 1, request)),
                record(micros + 4, packet(ends, True, PUSH, 1, 1 + len(request), answer)),
                *(goodbye(ends, micros + 5, 1 + len(request), 1 + len(answer)) if close else ()),
            ]))


def records(data):
    """Where the records of a pcap file in memory begin, a record cut short left out."""
    if data[:4] != FILE_HEADER[:4] or data[20:22] != b"\x01\0":
        raise ValueError("not a little-endian pcap file of microseconds and Ethernet")
    at, found = len(FILE_HEADER), []
    while at + RECORD.size <= len(data):
        end = at + RECORD.size + struct.unpack_from("<I", data, at + 8)[0]
        if end > len(data):
            break
        found.append(at)
        at = end
    return found, at


def farewells(data, offsets):
    """Packets that close what the records leave open (IPv4 without options)."""
    following = {}  # (address, port) of sender and receiver: sequence number after its last byte
    for offset in offsets:
        at = offset + RECORD.size + ETHERNET
        total, = struct.unpack_from(">H", data, at + 2)
        addresses, tcp = data[at + 12:at + 20], at + IPV4
        source, target, seq = struct.unpack_from(">HHI", data, tcp)
        flags, length = data[tcp + 13], total - IPV4 - (data[tcp + 12] >> 4) * 4
        key = ((bytes(addresses[:4]), source), (bytes(addresses[4:]), target))
        if flags & 0x05:  # FIN or RST: closed already
            following[key] = None
        elif following.get(key, 0) is not None:
            following[key] = seq + length + (1 if flags & SYN else 0)
    seconds, micros = struct.unpack_from("<II", data, offsets[-1])
    at = (seconds - BEGIN) * 1_000_000 + micros + 1
    # The server's port is the one that all share.
    ports = [port for (_, port), _ in following]
    server = max(set(ports), key=ports.count)
    out = []
    for ends, client in following.items():
        answered = following.get(ends[::-1])
        if ends[1][1] == server and client is not None and answered is not None:
            out += goodbye(ends, at, client, answered)
    return b"".join(out)


class Repeated:
    """The packets of a capture again and again, each time as other connections
    (both addresses of a packet become 10.n.n.1) and later; with close, what it
    leaves open is closed each time."""

    def __init__(self, data, close=False):
        if close:
            offsets, end = records(data)
            data = data[:end] + farewells(data, offsets)
        self.offsets, end = records(data)
        self.data = bytearray(data[len(FILE_HEADER):end])
        self.offsets = [offset - len(FILE_HEADER) for offset in self.offsets]
        self.times = [struct.unpack_from("<I", self.data, offset)[0] for offset in self.offsets]
        # Whole seconds, so that only one word of a time changes.
        self.span = self.times[-1] - self.times[0] + 1

    def turn(self, number):
        """The bytes of one turn; valid until the next."""
        address = bytes([10, number >> 8 & 0xFF, number & 0xFF, 1])
        both, data, later = address + address, self.data, number * self.span
        pack = struct.Struct("<I").pack_into
        first = RECORD.size + ADDRESSES.start
        for offset, seconds in zip(self.offsets, self.times):
            pack(data, offset, seconds + later)
            data[offset + first:offset + first + 8] = both
        return data

    def write(self, path, turns):
        """A file of so many turns."""
        with open(path, "wb") as file:
            file.write(FILE_HEADER)
            for number in range(turns):
                file.write(self.turn(number))
