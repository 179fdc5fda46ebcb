"""The rows of scripts/bench: on what captures what is run, and the targets."""

import collections
import pathlib
import subprocess
import sys

import bench_found
import bench_measure as measure
import captures
from bench_peers import SLOW

CORPORA = ("h1-small", "h1-large", "h1-large-mtu1500", "h2-small", "grpc", "mixed-10k-conns")
MANY = ("h1-small", "h1-large")
JSONL = ("h1-small", "h2-small", "grpc")
FRAME_BYTES = 4 << 20  # of a frame among many, before compression
FILES = 8  # of a rotated set
UNINTERESTING_BYTES = 1_000_000_000
# What loopback and offloading hand over at once, and what a network carries.
UNINTERESTING = {"tls-64k": (64_000, "tls"), "random-64k": (64_000, "random"),
                 "tls-1448": (1_448, "tls"), "random-1448": (1_448, "random")}
STARTS = 20  # in each round
MEMORY_BYTES = 200_000_000
CONNECTIONS = 1_000_000
MILLION = {"million-closed": True, "million-open": False}  # closed one after the other, or all open at the end
PIECE_BYTES = 100_000_000  # of h1-small, for what is said of 100 MB and repeated in pipes
PIPES = {"pipe-1GB": 10, "pipe-10GB": 100}
SLOW_READER = 4_000_000  # bytes a second at first


# Wall time of `above` over that of `below` in the same round; at most or at least the limit.
Ratio = collections.namedtuple("Ratio", "above below limit at_most")


def at_most(above, below, limit):
    """A ratio that should be small."""
    return Ratio(above, below, limit, True)


def at_least(above, below, limit):
    """A ratio that should be large."""
    return Ratio(above, below, limit, False)


TARGETS = {
    "h1-small": [at_most("perisco", "tcpdump", 1.0), at_least("suricata", "perisco", 50),
                 at_least("tshark", "perisco", 100)],
    "h1-large": [at_most("perisco", "cat", 1.5), at_most("perisco", "tcpdump", 1.5)],
    "h1-large-mtu1500": [at_most("perisco", "cat", 1.5), at_most("perisco", "tcpdump", 1.5)],
    "h2-small": [at_most("perisco", "tcpdump", 2.0), at_least("suricata", "perisco", 40)],
    "grpc": [at_most("perisco", "tcpdump", 2.0), at_least("suricata", "perisco", 15),
             at_least("tshark", "perisco", 100)],
    "mixed-10k-conns": [at_most("perisco", "tcpdump", 1.5), at_least("suricata", "perisco", 15)],
}
CLOCK_SECONDS = 1e-6  # the least that CPU time is told in
ONE_FRAME, JSONL_LIMIT, THREADS_LIMIT = 1.15, 2.0, 1.7
GB_PER_SECOND, START_SECONDS = 5.0, 0.005


def names():
    """All rows in the order of the table."""
    return [*CORPORA, *(f"zstd-one/{name}" for name in CORPORA), *(f"zstd-many/{name}" for name in MANY),
            "rotated/h1-small", *(f"jsonl/{name}" for name in JSONL), *(f"threads/{name}" for name in CORPORA),
            *(f"uninteresting/{name}" for name in UNINTERESTING), "start-up", "memory/100MB", "memory/mixed-10k-conns",
            *(f"memory/{name}" for name in MILLION), *(f"memory/{name}" for name in PIPES), "memory/slow-reader"]


def chosen(wanted):
    """The rows that arguments name: a row, the part before its slash, or a capture file."""
    rows = []
    for name in wanted:
        if pathlib.Path(name).is_file():
            rows.append(name)
            continue
        found = [row for row in names() if row == name or row.split("/")[0] == name]
        if not found:
            raise SystemExit(f"there is no row {name}: {', '.join(names())}; or a capture file")
        rows += found
    return rows or names()


def corpora_of(rows):
    """The corpora that rows need."""
    needed = []
    for row in rows:
        name = row.split("/")[-1]
        if row.startswith("memory/") and name not in CORPORA and name not in MILLION:
            name = "h1-small"
        if name in CORPORA and name not in needed:
            needed.append(name)
    return needed


def make(path, write, source=None):
    """Writes a capture that is not there yet, or is older than its source; one that was
    not finished is not there."""
    if not path.exists() or (source and path.stat().st_mtime < source.stat().st_mtime):
        print(f"making {path.name}", file=sys.stderr, flush=True)
        part = path.with_name(f"part-{path.name}")
        write(part)
        part.rename(path)
    return path


def pcapng(source, plain, packets=()):
    """A capture as pcapng, or the packets of it that a range names."""
    subprocess.run(["editcap", *(["-r"] if packets else []), "-F", "pcapng", str(source), str(plain), *packets], check=True)


def one_frame(source, plain, part):
    """As `zstd FILE` writes it."""
    pcapng(source, plain)
    subprocess.run(["zstd", "-q", "-f", "-3", "-T0", str(plain), "-o", str(part)], check=True)


def many_frames(source, plain, part):
    """Frames of so many bytes, one behind the other."""
    pcapng(source, plain)
    with open(plain, "rb") as file, open(part, "wb") as out:
        while piece := file.read(FRAME_BYTES):
            out.write(subprocess.run(["zstd", "-q", "-3"], input=piece, capture_output=True, check=True).stdout)


def rotate(source, plain, part, index, packets):
    """One file of a set as a recorder that rotates leaves it."""
    each = -(-packets // FILES)
    pcapng(source, plain, [f"{index * each + 1}-{min(packets, (index + 1) * each)}"])
    subprocess.run(["zstd", "-q", "-f", "-3", str(plain), "-o", str(part)], check=True)


class Rows:
    """Runs rows."""

    def __init__(self, perisco, folder, rounds, peers, cores):
        self.perisco, self.folder, self.rounds, self.peers, self.cores = perisco, folder, rounds, peers, cores
        self.made = folder / "made"
        self.made.mkdir(parents=True, exist_ok=True)

    def run(self, row):
        """One row: its measures, ratios, what was found, notes."""
        kind, _, name = row.partition("/")
        methods = {"zstd-one": self.one_frame, "zstd-many": self.many_frames, "rotated": self.rotated,
                   "jsonl": self.jsonl, "threads": self.threads, "uninteresting": self.uninteresting,
                   "memory": self.memory}
        if pathlib.Path(row).is_file():
            result = self.corpus(pathlib.Path(row).resolve(), [])
        elif row == "start-up":
            result = self.start_up()
        elif kind in methods:
            result = methods[kind](name)
        else:
            result = self.corpus(self.capture(row), TARGETS[row])
        return {"row": row if not pathlib.Path(row).is_file() else pathlib.Path(row).name, **result}

    def capture(self, name):
        """A corpus."""
        return self.folder / "corpus" / f"{name}.pcap"

    def analyze(self, *arguments):
        """A command of ours."""
        return [self.perisco, "analyze", *(str(argument) for argument in arguments)]

    def rounds_of(self, commands, ratios, size, ok=(0,)):
        """Runs commands in turn, another first in each round; slow peers in the first round only."""
        measures, notes, order = {name: [] for name in commands}, [], list(commands)
        outputs = {}
        for number in range(self.rounds):
            turn = number % len(order)
            for name in order[turn:] + order[:turn]:
                if name in SLOW and number > 0:
                    continue
                try:
                    measures[name].append(self.once(name, commands[name], outputs, ok))
                except measure.Failed as error:
                    notes.append(f"{name} failed: {error}")
                    measures[name].append(None)
        result = {"bytes": size, "measures": measures, "notes": notes, "outputs": outputs}
        result["ratios"] = [judge(ratio, measures) for ratio in ratios]
        return result

    def once(self, name, command, outputs, ok):
        """One run; tshark's lines are kept for counting."""
        if name != "tshark":
            return measure.run(command, ok if name.startswith("perisco") else (0,))
        path = self.made / "tshark.txt"
        with open(path, "wb") as file:
            taken = measure.run(command, stdout=file)
        outputs[name] = path
        return taken

    def corpus(self, path, ratios):
        """A capture against the peers, and what was found in it."""
        measure.warm(path)
        figures = bench_found.found(self.perisco, path)
        commands = {"perisco": self.analyze(path), "perisco -j1": self.analyze("--threads", 1, path)}
        for name in ("cat", "tcpdump", *SLOW):
            command = self.peers.command(name, path)
            if command and (ratios or name not in SLOW):
                commands[name] = command
        result = self.rounds_of(commands, ratios, path.stat().st_size, ok=(0, 1))
        text, right = bench_found.judge(figures, bench_found.truth(path.with_suffix(".truth")))
        result.update(packets=figures["packets"], transactions=figures["transactions"], found=text, found_all=right)
        for name in SLOW:
            if result["measures"].get(name, [None])[0]:
                output = result["outputs"].get(name)
                if output:
                    output = output.rename(output.with_name(f"{path.stem}.txt"))
                result["notes"].append(f"{name} reports {self.peers.found(name, output):,} responses")
        return result

    def compressed(self, name, kind):
        """The corpus as pcapng.zst: one frame, many, or several files; made once."""
        source, plain = self.capture(name), self.made / f"{name}.{kind}.pcapng"
        try:
            if kind == "rotated":
                packets = bench_found.found(self.perisco, source)["packets"]
                return [make(self.made / f"{name}.{kind}{index}.pcapng.zst",
                             lambda part, index=index: rotate(source, plain, part, index, packets), source)
                        for index in range(FILES)]
            write = one_frame if kind == "one" else many_frames
            return [make(self.made / f"{name}.{kind}.pcapng.zst", lambda part: write(source, plain, part), source)]
        finally:
            plain.unlink(missing_ok=True)

    def against_zstd(self, paths, limit):
        """Analysing against decompressing alone."""
        for path in paths:
            measure.warm(path)
        commands = {"perisco": self.analyze(*paths)}
        if "zstd" in self.peers:
            commands["zstd"] = ["zstd", "-q", "-dc", *map(str, paths)]
        size = sum(path.stat().st_size for path in paths)
        return self.rounds_of(commands, [at_most("perisco", "zstd", limit)], size, ok=(0, 1))

    def one_frame(self, name):
        """Decompression overlaps with everything else."""
        return self.against_zstd(self.compressed(name, "one"), ONE_FRAME)

    def many_frames(self, name):
        """Frames are decompressed side by side: the limit is one part for each core."""
        return self.against_zstd(self.compressed(name, "many"), 1 / self.cores)

    def rotated(self, name):
        """Files are."""
        return self.against_zstd(self.compressed(name, "rotated"), 1 / self.cores)

    def jsonl(self, name):
        """Every transaction with all its headers as a line, against the summary."""
        path = self.capture(name)
        measure.warm(path)
        commands = {"perisco jsonl": self.analyze("--format", "jsonl", path), "perisco": self.analyze(path)}
        return self.rounds_of(commands, [at_most("perisco jsonl", "perisco", JSONL_LIMIT)], path.stat().st_size, ok=(0, 1))

    def threads(self, name):
        """One thread against two."""
        path = self.capture(name)
        measure.warm(path)
        commands = {f"perisco -j{count}": self.analyze("--threads", count, path) for count in (1, 2)}
        return self.rounds_of(commands, [at_least("perisco -j1", "perisco -j2", THREADS_LIMIT)], path.stat().st_size, ok=(0, 1))

    def uninteresting(self, name):
        """Flows that are not HTTP, on one thread."""
        segment, kind = UNINTERESTING[name]
        path = make(self.made / f"uninteresting-{name}.pcap",
                    lambda part: captures.uninteresting(part, UNINTERESTING_BYTES, segment, kind))
        measure.warm(path)
        size = path.stat().st_size
        commands = {"perisco -j1": self.analyze("--threads", 1, path)}
        if "cat" in self.peers:
            commands["cat"] = ["cat", str(path)]
        result = self.rounds_of(commands, [], size)
        rates = [size / one["cpu"] / 1e9 for one in result["measures"]["perisco -j1"] if one]
        result["ratios"] = [value("GB a CPU second", rates, GB_PER_SECOND, False)]
        return result

    def start_up(self):
        """The smallest capture."""
        path = self.made / "three-packets.pcap"
        captures.three_packets(path)
        command = self.analyze(path)
        taken = [measure.start_seconds(command) for _ in range(self.rounds * STARTS)]
        result = {"bytes": path.stat().st_size, "measures": {"perisco": taken}, "notes": []}
        result["ratios"] = [value("ms", [one["wall"] * 1000 for one in taken], START_SECONDS * 1000, True)]
        return result

    def memory(self, name):
        """The peak of memory besides mapped files; once, as it does not depend on luck."""
        command, feed, slow, size = self.memory_command(name)
        taken = measure.peak_memory(command, feed, slow)
        result = {"bytes": size, "measures": {"perisco": [taken]}, "notes": []}
        result["ratios"] = [value("MB besides the mapped file", [taken["rss"] / 1e6], MEMORY_BYTES / 1e6, True)]
        return result

    def memory_command(self, name):
        """A command, what feeds it, how slowly it is read, and how many bytes it gets."""
        if name == "mixed-10k-conns":
            return self.analyze(self.capture(name)), None, 0, self.capture(name).stat().st_size
        if name in MILLION:
            path = make(self.made / f"{name}.pcap",
                        lambda part: captures.connections(part, CONNECTIONS, MILLION[name]))
            return self.analyze(path), None, 0, path.stat().st_size
        with open(self.capture("h1-small"), "rb") as file:
            piece = captures.Repeated(file.read(PIECE_BYTES), close=True)
        size = len(piece.data)
        if name in PIPES:
            turns = PIPES[name]

            def feed(write):
                write(captures.FILE_HEADER)
                for number in range(turns):
                    write(piece.turn(number))
            return self.analyze("-"), feed, 0, size * turns
        path = self.made / "h1-small-100MB.pcap"
        piece.write(path, 1)
        if name == "slow-reader":
            return self.analyze("--format", "jsonl", path), None, SLOW_READER, size
        return self.analyze(path), None, 0, size


def judge(ratio, measures):
    """A ratio in each round; without values where one of the two is not here."""
    pairs = [(above, below) for above, below in zip(measures.get(ratio.above, []), measures.get(ratio.below, []))
             if above and below]
    values = [above["wall"] / below["wall"] for above, below in pairs]
    judged = value(f"{ratio.above} / {ratio.below}", values, ratio.limit, ratio.at_most)
    # Told besides: on a busy machine wall time is mostly the others'.
    return {**judged, "cpu_values": [above["cpu"] / max(below["cpu"], CLOCK_SECONDS) for above, below in pairs]}


def value(what, values, limit, small):
    """Something measured against its limit."""
    told = {"what": what, "values": values, "limit": limit, "at_most": small, "median": None, "met": None}
    if values:
        middle = measure.median(values)
        told.update(median=middle, met=middle <= limit if small else middle >= limit)
    return told
