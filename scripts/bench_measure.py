"""Runs commands for scripts/bench and takes their time and memory."""

import datetime
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import tempfile
import threading
import time

SAMPLE_SECONDS = 0.004  # between two looks at a process's memory; what lives shorter is missed
TIMEOUT_SECONDS = 900  # a peer that takes longer is given up
READ_BYTES = 1 << 16


class Failed(RuntimeError):
    """A command that ended otherwise than it should."""


def run(command, ok=(0,), stdout=subprocess.DEVNULL):
    """Runs a command; wall and CPU seconds and the peak of resident bytes, the mapped file included."""
    with tempfile.NamedTemporaryFile(mode="r") as told:
        # Its own small process starts the command: a child's peak counts its parent's memory too.
        argv = ["/usr/bin/time", "-q", "-f", "%M", "-o", told.name, "timeout", str(TIMEOUT_SECONDS), *command]
        begin = time.perf_counter()
        process = subprocess.Popen(argv, stdout=stdout, stderr=subprocess.PIPE)
        errors = process.stderr.read()  # until it ends
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode not in ok:
            raise Failed(f"{' '.join(command)}: exit {process.returncode}: {errors.decode(errors='replace').strip()[-400:]}")
        rss = int(told.read().split()[-1]) * 1024
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": rss}


def start_seconds(command):
    """Wall seconds of a short command, without a helper in between."""
    begin = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - begin
    if status != 0:
        raise Failed(f"{' '.join(command)}: status {status}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": 0}


def own_bytes(pid):
    """Resident memory of a process besides mapped files; 0 where it has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(found) * 1024 for found in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", text, re.M))


def peak_memory(command, feed=None, slow_bytes=0):
    """Runs a command; wall and CPU seconds and the peak of its memory besides mapped files.

    feed(write) gives its standard input. With slow_bytes only so many bytes of
    its output are taken a second, for SLOW_SECONDS, and then the rest.
    """
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                               stdout=subprocess.PIPE if slow_bytes else subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    peak, over = [0], threading.Event()

    def watch():
        while not over.is_set():
            peak[0] = max(peak[0], own_bytes(process.pid))
            time.sleep(SAMPLE_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        if feed:
            feed(process.stdin.write)
            process.stdin.close()
        if slow_bytes:
            read_slowly(process.stdout, slow_bytes)
        process.wait(TIMEOUT_SECONDS)
    finally:
        process.kill()
        over.set()
        watcher.join()
    if process.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - begin, "cpu": cpu, "rss": peak[0]}


SLOW_SECONDS = 5


def read_slowly(file, bytes_a_second):
    """Reads a pipe to its end, slowly at first."""
    end = time.perf_counter() + SLOW_SECONDS
    while file.read(READ_BYTES):
        if time.perf_counter() < end:
            time.sleep(READ_BYTES / bytes_a_second)


class Others:
    """What processes other than this one and its children take of the machine from now on."""

    def __init__(self):
        self.begin = time.perf_counter()
        self.busy, self.own = self.now()

    def now(self):
        """CPU seconds of all that runs here, and of ours; what feeds a pipe is ours."""
        ticks = [int(part) for part in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        idle = ticks[3] + ticks[4]
        return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])

    def percent(self):
        """Of all processors, since the beginning."""
        busy, own = self.now()
        taken = max(0.0, busy - self.busy - (own - self.own))
        return taken / max(time.perf_counter() - self.begin, 1e-3) / os.cpu_count() * 100


def warm(path):
    """Brings a file into the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def median(values):
    """The middle one."""
    return statistics.median(values)


def spread(values, form="{:.2f}"):
    """Median, and the range where there are several."""
    text = form.format(median(values))
    if len(values) > 1:
        text += f" ({form.format(min(values))}–{form.format(max(values))})"
    return text


def machine():
    """What it was measured on; no names."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.M)
    memory = re.search(r"^MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[1]) / 1e6) if memory else 0,
        "kernel": platform.release().split("-")[0],
        "system": release,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
