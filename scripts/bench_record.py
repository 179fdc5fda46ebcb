"""The rounds of scripts/bench-record, which see: load, capturers, figures.

CPU is that of server, load and capturer together, from the beginning of the
load to the end of the capturer, divided by the requests answered. What BPF
programs and packet taps take in the kernel is charged to the task that runs,
hence in it (unless the kernel accounts for interrupts apart,
CONFIG_IRQ_TIME_ACCOUNTING). What a capturer takes to start is not; it has a column of its own.
Afterwards `perisco analyze` reads what each capturer wrote: how many of the
requests are there whole, and of how many the head of the answer was seen, says
more than a count of drops.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 3  # for a capturer to attach; the slowest loads BPF programs
DRAIN_SECONDS = 1  # for the last packets to come out of the ring
END_SECONDS = 60  # a capturer that has not ended by then is killed
ANALYZE_SECONDS = 600
MEMORY_SECONDS = 0.5  # between two looks at how much memory a capturer has
REASON_LETTERS = 400  # of why a capturer does not start
LARGE_BYTES = 16 << 30  # what a capturer may write of a load of large bodies

H1, H2C = 8080, 8081
LOADS = {
    "h1": (H1, ["wrk", "-t1", "-c50", "-d{seconds}s", "--latency", "http://127.0.0.1:8080/r"]),
    "h2c": (H2C, ["h2load", "-t1", "-c20", "-m16", "-D", "{seconds}", "--log-file={folder}/h2load",
                  "http://127.0.0.1:8081/r"]),
    "large": (H1, ["wrk", "-t1", "-c16", "-d{seconds}s", "--latency", "http://127.0.0.1:8080/large0"]),
    "distinct": (H1, ["wrk", "-t1", "-c16", "-d{seconds}s", "--latency", "-s", "{site}/distinct.lua",
                      "http://127.0.0.1:8080"]),
}
LARGE = ("large", "distinct")


class Capturer:
    """A pipeline of commands that writes one file."""

    def __init__(self, name, commands=(), file=None, in_namespace=True, loads=tuple(LOADS)):
        self.name, self.commands, self.file = name, commands, file
        self.in_namespace, self.loads = in_namespace, loads


def perisco(binary, backend, extra=(), loads=tuple(LOADS)):
    # Not in the namespace: it sees all, and `ip netns exec` would hide the cgroup mount.
    command = [binary, "record", "-o", "{folder}/perisco.pcapng", "--backend", backend,
               "--port", "{port}", *extra]
    name = "perisco " + " ".join([backend, *extra])
    return Capturer(name, [command], "perisco.pcapng", in_namespace=False, loads=loads)


def capturers(binary):
    tcpdump = ["tcpdump", "-i", "lo", "-s", "0", "-B", "65536", "-w", "-", "tcp port {port}"]
    dumpcap = ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", "tcp port {port}", "-w", "{folder}/dumpcap.pcapng"]
    zstd = ["zstd", "-q", "-f", "-o", "{folder}/tcpdump.pcap.zst"]
    found = [
        Capturer("none"),
        Capturer("tcpdump | zstd", [tcpdump, zstd], "tcpdump.pcap.zst"),
        Capturer("dumpcap", [dumpcap], "dumpcap.pcapng"),
    ]
    for backend in ("cgroup", "socket"):
        found.append(perisco(binary, backend))
        # As it is by default, and as it would be without redaction.
        found.append(perisco(binary, backend, ("--redact-none",)))
        found.append(perisco(binary, backend, ("--snaplen", "4096"), LARGE))
    return found


def cpu(pid):
    """Seconds of CPU of a process, its threads and what they left, until now."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine():
    """Seconds of CPU that all tasks and interrupts took, until now."""
    with open("/proc/stat") as stat:
        times = [int(field) for field in stat.readline().split()[1:9]]
    return (sum(times) - times[3] - times[4] - times[7]) / TICKS


def wait(process, seconds):
    """CPU seconds of a process that ends; kills one that does not."""
    deadline = time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            process.kill()
            deadline = float("inf")
        time.sleep(0.02)


class Memory(threading.Thread):
    """Looks now and then at the resident memory of processes, in MB."""

    def __init__(self, processes):
        super().__init__(daemon=True)
        self.processes, self.seen, self.over = processes, [], threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(MEMORY_SECONDS):
            self.seen.append(sum(resident(process.pid) for process in self.processes))

    def figures(self):
        """Of the first and the last quarter of the time, and the most ever seen."""
        self.over.set()
        self.join()
        seen = self.seen or [0]
        quarter = max(1, len(seen) // 4)
        return {"begin_mb": statistics.median(seen[:quarter]),
                "end_mb": statistics.median(seen[-quarter:]), "peak_mb": max(seen)}


def resident(pid):
    """Resident memory in MB; 0 of a process that has ended."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return sum(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1000
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.running = []

    def spawn(self, command, in_namespace, **options):
        prefix = ["ip", "netns", "exec", self.arguments.namespace] if in_namespace else []
        process = subprocess.Popen(prefix + command, **options)
        self.running.append(process)
        return process

    def end(self):
        for process in self.running:
            if process.returncode is None and process.poll() is None:
                process.kill()
                process.wait()
        self.running.clear()

    def start(self, capturer, port, folder):
        """The processes of a capturer, attached; or why it does not run."""
        errors, processes = open(f"{folder}/errors", "w+"), []
        for index, command in enumerate(capturer.commands):
            command = [part.format(port=port, folder=folder) for part in command]
            last = index == len(capturer.commands) - 1
            processes.append(self.spawn(
                command, capturer.in_namespace,
                stdin=processes[-1].stdout if processes else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if last else subprocess.PIPE, stderr=errors))
        for process in processes[:-1]:
            process.stdout.close()
        if processes:
            time.sleep(START_SECONDS)
        for process in processes:
            if process.poll() is not None:
                errors.seek(0)
                reason = " ".join(errors.read().split())
                raise RuntimeError(reason[:REASON_LETTERS] or f"exit code {process.returncode}")
        return processes

    def run(self, load, capturer):
        """The figures of one run."""
        # One folder for each run: what another left behind must not count.
        with tempfile.TemporaryDirectory(dir=self.arguments.work, prefix="record-") as folder:
            try:
                return self.measure(load, capturer, folder)
            finally:
                self.end()

    def measure(self, load, capturer, folder):
        port, command = LOADS[load]
        seconds = self.arguments.seconds
        processes = self.start(capturer, port, folder)
        begun = [cpu(process.pid) for process in processes]
        server, all_tasks = cpu(self.arguments.server_pid), machine()
        command = [part.format(seconds=seconds, folder=folder, site=self.arguments.site) for part in command]
        with open(f"{folder}/load", "w+") as text:
            generator = self.spawn(command, True, stdout=text, stderr=subprocess.STDOUT)
            memory = Memory(processes)
            load_cpu = wait(generator, seconds + 30)
            memory = memory.figures()
            text.seek(0)
            figures = load_figures(load, text.read(), folder)
        server = cpu(self.arguments.server_pid) - server
        time.sleep(DRAIN_SECONDS if processes else 0)
        if processes:
            processes[0].send_signal(signal.SIGINT)
        capture_cpu = sum(wait(process, END_SECONDS) for process in processes) - sum(begun)
        # `perisco record` says by its exit code that something was lost.
        killed = [process for process in processes if process.returncode == -signal.SIGKILL]
        all_tasks = machine() - all_tasks
        ours = server + load_cpu + capture_cpu
        requests = figures["requests"]
        figures.update(
            load=load, capturer=capturer.name, start_seconds=sum(begun),
            cpu_us=ours / requests * 1e6, machine_us=all_tasks / requests * 1e6,
            capturer_us=capture_cpu / requests * 1e6,
            others_seconds=all_tasks - ours, killed=bool(killed), **memory)
        if capturer.file:
            figures.update(self.kept(f"{folder}/{capturer.file}", requests))
            with open(f"{folder}/errors", errors="replace") as errors:
                figures["drops"] = max(figures["drops"], told_drops(errors.read()))
        return figures

    def kept(self, file, requests):
        """What is in a capture, by `perisco analyze`."""
        size = os.path.getsize(file)
        command = [self.arguments.perisco, "analyze", "--format", "json", file]
        done = subprocess.run(command, capture_output=True, timeout=ANALYZE_SECONDS)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"not readable: {done.stderr.decode().strip()}")
        report = json.loads(done.stdout)
        transactions = report["transactions"]
        return {
            "file_bytes": size / requests, "drops": report["loss"]["dropped_packets"],
            "whole": transactions["completeness"]["complete"] / requests,
            "heads": (transactions["count"] - transactions["unknown"]) / requests,
            "gap_bytes": report["loss"]["gap_bytes"],
        }


def load_figures(load, text, folder):
    """Requests, requests per second and p99 in milliseconds."""
    if load == "h2c":
        requests = int(re.search(r"(\d+) succeeded", text)[1])
        rate = float(re.search(r"finished in [\d.]+s, ([\d.]+) req/s", text)[1])
        with open(f"{folder}/h2load") as log:
            times = sorted(int(line.split("\t")[2]) for line in log)
        p99 = times[len(times) * 99 // 100] / 1000
    else:
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        if failed:
            raise RuntimeError(f"{failed[1]} requests failed")
        requests = int(re.search(r"(\d+) requests in", text)[1])
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
        number, unit = re.search(r"\n\s+99%\s+([\d.]+)(us|ms|s)", text).groups()
        p99 = float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    if requests == 0:
        raise RuntimeError("no request was answered")
    return {"requests": requests, "rate": rate, "p99_ms": p99}


def told_drops(errors):
    """Packets that a capturer says on standard error it dropped."""
    patterns = [r"(\d+) packets? dropped by kernel", r"interface '[^']*': \d+/(\d+) \("]
    return sum(int(number) for pattern in patterns for number in re.findall(pattern, errors))


def spread(values, form):
    """Median, and the range where there is one."""
    values = sorted(values)
    text = form.format(statistics.median(values))
    if len(values) > 1:
        text += f" ({form.format(values[0])}-{form.format(values[-1])})"
    return text


def table(load, rounds, names):
    """Prints the medians over the rounds of one load."""
    none = [figures["none"] for figures in rounds if "none" in figures]
    if not none:
        for figures in rounds:
            for name, one in figures.items():
                print(f"\n{load}: {name}: {one['requests']} requests, {one['drops']} drops; resident memory "
                      f"{one['begin_mb']:.0f} MB at first, {one['end_mb']:.0f} at last, {one['peak_mb']:.0f} at most")
        return
    print(f"\n{load}: none has {spread([one['rate'] for one in none], '{:.0f}')} requests/s, "
          f"{spread([one['cpu_us'] for one in none], '{:.1f}')} CPU us/request, "
          f"p99 {spread([one['p99_ms'] for one in none], '{:.1f}')} ms")
    heads = ["capturer", "CPU ratio", "machine ratio", "requests/s ratio", "p99 ms", "capturer us/req", "drops",
             "whole", "heads", "gap bytes", "bytes/req", "start s", "MB at first", "at last", "most"]
    rows = [heads]
    for name in names:
        pairs = [(figures[name], figures["none"]) for figures in rounds
                 if name in figures and "none" in figures]
        if name == "none" or not pairs:
            continue
        of = [figures for figures, _ in pairs]
        rows.append([
            name,
            spread([one["cpu_us"] / base["cpu_us"] for one, base in pairs], "{:.2f}"),
            spread([one["machine_us"] / base["machine_us"] for one, base in pairs], "{:.2f}"),
            spread([one["rate"] / base["rate"] for one, base in pairs], "{:.2f}"),
            spread([one["p99_ms"] for one in of], "{:.1f}"),
            spread([one["capturer_us"] for one in of], "{:.1f}"),
            spread([one["drops"] for one in of], "{:.0f}"),
            spread([one["whole"] * 100 for one in of], "{:.1f}%"),
            spread([one["heads"] * 100 for one in of], "{:.1f}%"),
            spread([one["gap_bytes"] for one in of], "{:.0f}"),
            spread([one["file_bytes"] for one in of], "{:.0f}"),
            spread([one["start_seconds"] for one in of], "{:.2f}")
            + (" KILLED" if any(one["killed"] for one in of) else ""),
            *(spread([one[key] for one in of], "{:.0f}") for key in ("begin_mb", "end_mb", "peak_mb")),
        ])
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    others = [one["others_seconds"] for figures in rounds for one in figures.values()]
    print(f"Others took {spread(others, '{:.1f}')} s of CPU on this machine in each run.")


def usable(bench, load, wanted):
    """The capturers of a load that start here."""
    found = []
    for capturer in capturers(bench.arguments.perisco):
        base = () if bench.arguments.alone else ("none",)
        if load not in capturer.loads or (wanted and capturer.name not in (*wanted, *base)):
            continue
        with tempfile.TemporaryDirectory(dir=bench.arguments.work, prefix="record-") as folder:
            try:
                processes = bench.start(capturer, LOADS[load][0], folder)
                for process in processes[:1]:
                    process.send_signal(signal.SIGINT)
                for process in processes:
                    wait(process, END_SECONDS)
                found.append(capturer)
            except (RuntimeError, OSError) as error:
                print(f"{capturer.name} is left out: {error}", flush=True)
            finally:
                bench.end()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--load", default=",".join(LOADS))
    parser.add_argument("--capturer", default="")
    parser.add_argument("--alone", action="store_true")
    for name in ("namespace", "work", "perisco", "site"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--server-pid", type=int, required=True)
    arguments = parser.parse_args()
    bench = Bench(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for load in arguments.load.split(","):
            if load not in LOADS:
                parser.error(f"there is no load {load}: {', '.join(LOADS)}")
            free = shutil.disk_usage(arguments.work).free
            if load in LARGE and free < LARGE_BYTES:
                print(f"{load} is left out: {free >> 30} GB free in {arguments.work}, "
                      f"{LARGE_BYTES >> 30} GB needed")
                continue
            wanted = [name for name in arguments.capturer.split(",") if name]
            ready = usable(bench, load, wanted)
            rounds = []
            for number in range(arguments.rounds):
                figures = {}
                # Each is first, second, … in turn.
                turn = number % len(ready)
                for capturer in ready[turn:] + ready[:turn]:
                    try:
                        figures[capturer.name] = bench.run(load, capturer)
                        print(json.dumps({"round": number + 1, **figures[capturer.name]}),
                              file=sys.stderr, flush=True)
                    except (RuntimeError, OSError, TypeError, subprocess.TimeoutExpired) as error:
                        print(f"{load}, round {number + 1}, {capturer.name}: {error}", flush=True)
                rounds.append(figures)
            table(load, rounds, [capturer.name for capturer in ready])
    finally:
        bench.end()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
