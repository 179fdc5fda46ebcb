"""The tools that scripts/bench measures `perisco analyze` against: which are
here, their commands, and what they find.

PERISCO_PEERS names a chroot with a newer tshark or a Suricata in it, in which
the folder of the captures is mounted as /perf/corpus and Suricata's
configuration is /perf/suricata.yaml (as the scripts that make the captures set it up).
"""

import os
import pathlib
import re
import shutil
import subprocess

PORTS = {"h2-small": 8081, "grpc": 50051}
ONLY = ["--only-protocols", "eth,ethertype,ip,tcp,http,http2,grpc,protobuf"]
HTTP1_FIELDS = ["tcp.stream", "frame.time_epoch", "http.request.method", "http.request.uri", "http.response.code",
                "http.request_in", "http.time"]
HTTP2_FIELDS = ["tcp.stream", "frame.time_epoch", "http2.streamid", "http2.headers.method", "http2.headers.path",
                "http2.headers.status"]
GRPC_FIELDS = [*HTTP2_FIELDS, "http2.header.name", "grpc.message_length"]
PAIRED_SINCE = (4, 2)  # tshark: http2.request_in, http2.time, --only-protocols
SLOW = ("tshark", "suricata")  # once, in the first round


def version_of(command, *arguments):
    """The first number that looks like a version in what a command says of itself."""
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "?"


class Peers:
    """What is here, by name: cat, tcpdump, zstd, tshark, suricata."""

    def __init__(self, wanted, scratch, perf):
        self.scratch, self.versions, self.prefix, self.perf = scratch, {}, {}, perf
        chroot = os.environ.get("PERISCO_PEERS", "")
        self.chroot = pathlib.Path(chroot) if chroot else None
        for name, ask in (("cat", "--version"), ("tcpdump", "--version"), ("zstd", "--version"),
                          ("tshark", "--version"), ("suricata", "-V")):
            if wanted and name not in wanted:
                continue
            inside = self.chroot and name in SLOW and (self.chroot / "usr/bin" / name).exists()
            if inside:
                self.prefix[name] = ["chroot", str(self.chroot), name]
            elif shutil.which(name):
                self.prefix[name] = [name]
            else:
                continue
            self.versions[name] = version_of(self.prefix[name], ask)

    def __contains__(self, name):
        return name in self.prefix

    def file(self, name, capture):
        """The path of a capture as this peer sees it; None where it cannot."""
        if self.prefix[name][0] != "chroot":
            return str(capture)
        inside = pathlib.Path("/perf/corpus") / capture.name
        return str(inside) if (self.chroot / str(inside)[1:]).exists() else None

    def command(self, name, capture):
        """What this peer runs on a capture; None where it cannot."""
        path = self.file(name, capture) if name in self else None
        if path is None:
            return None
        prefix = self.prefix[name]
        if name == "cat":
            return [*prefix, path]
        if name == "tcpdump":
            return [*prefix, "-r", path, "-w", "/dev/null"]
        if name == "zstd":
            return [*prefix, "-q", "-dc", path]
        return self.tshark(prefix, path, capture.stem) if name == "tshark" else self.suricata(prefix, path)

    def tshark(self, prefix, path, corpus):
        """tshark with the fewest protocols and fields that pair and time."""
        newer = tuple(int(part) for part in self.versions["tshark"].split(".")[:2]) >= PAIRED_SINCE
        port = PORTS.get(corpus)
        fields = HTTP1_FIELDS if port is None else GRPC_FIELDS if corpus == "grpc" else HTTP2_FIELDS
        shown = ("http.request or http.response" if port is None else
                 "http2.headers or grpc" if corpus == "grpc" else "http2.headers")
        if newer and port:
            fields = [*fields, "http2.request_in", "http2.time"]
        return [*prefix, "-n", "-r", path, *(ONLY if newer else []),
                *(["-d", f"tcp.port=={port},http2"] if port else []),
                "-Y", shown, "-T", "fields", *(part for field in fields for part in ("-e", field))]

    def suricata(self, prefix, path):
        """Suricata writing one event for each transaction, without rules."""
        inside = prefix[0] == "chroot"
        folder = self.suricata_folder()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        config = "/perf/suricata.yaml" if inside else str(self.perf / "suricata.yaml")
        log = "/tmp/perisco-bench" if inside else str(folder)
        return [*prefix, "-c", config, "-S", "/dev/null", "-k", "none", "--runmode", "single", "-r", path, "-l", log]

    def suricata_folder(self):
        """Where its events go."""
        if self.prefix["suricata"][0] == "chroot":
            return self.chroot / "tmp/perisco-bench"
        return self.scratch / "suricata"

    def found(self, name, output):
        """Transactions that it reports: responses with a status. output: what it wrote, None for Suricata."""
        if name == "suricata":
            with open(self.suricata_folder() / "eve.json", "rb") as file:
                return sum(b'"event_type":"http"' in line and b'"status"' in line for line in file)
        column = 4 if output.stem not in PORTS else 5
        with open(output, "rb") as file:
            lines = (line.rstrip(b"\n").split(b"\t") for line in file)
            return sum(1 + fields[column].count(b",") for fields in lines if len(fields) > column and fields[column])
