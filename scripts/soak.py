"""The run of scripts/soak, which see: recorder, load, looks, and what is left."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

LOOK_SECONDS = 0.02  # between two looks at the disk
MEMORY_SECONDS = 0.5  # between two looks at memory
WARM_SHARE = 0.25  # of the time, in which memory may still grow
GROWTH = 1.10  # of resident memory after that, at most
SETTLE_SECONDS = 1  # for the last packets to come out of the ring buffer
END_SECONDS = 60
CONNECTIONS = 50
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "MB": 10**6, "GB": 10**9}


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("namespace", "keep", "site", "out", "perisco"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    return parser.parse_args()


def taken(folder):
    """Bytes on disk as du(1) counts them; what is removed meanwhile takes nothing."""
    blocks = os.stat(folder).st_blocks
    for entry in os.scandir(folder):
        try:
            blocks += entry.stat(follow_symlinks=False).st_blocks
        except FileNotFoundError:
            pass
    return blocks * 512


def resident(pid):
    """Resident memory in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def start(args, folder, log):
    command = [args.perisco, "record", "--ring", folder, "--keep", args.keep, "--netns", args.namespace]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    for _ in range(600):
        if "recording to" in pathlib.Path(log.name).read_text():
            return process
        if process.poll() is not None:
            sys.exit(f"the recorder does not start:\n{pathlib.Path(log.name).read_text()}")
        time.sleep(0.1)
    sys.exit("the recorder does not start within a minute")


def watch(recorder, folder, seconds, load):
    """Bytes on disk and resident memory over time."""
    disk, memory, next_memory = [], [], 0.0
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end and load.poll() is None:
        disk.append(taken(folder))
        if now >= next_memory:
            memory.append(resident(recorder.pid))
            next_memory = now + MEMORY_SECONDS
        time.sleep(LOOK_SECONDS)
    return disk, memory


def opens_alone(file):
    """Packets that tshark finds; None if it complains."""
    done = subprocess.run(["tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.number"],
                          capture_output=True, text=True)
    odd = [line for line in done.stderr.splitlines() if not line.startswith("Running as user")]
    if done.returncode or odd:
        print(f"  {file}: {odd}")
        return None
    return len(done.stdout.splitlines())


def main():
    args = arguments()
    number, unit = re.fullmatch(r"(\d+)(\w+)", args.keep).groups()
    limit = int(number) * UNITS[unit]
    folder = tempfile.mkdtemp(prefix="ring-", dir=args.out)
    log = open(os.path.join(args.out, "recorder.log"), "w+")
    seconds = args.minutes * 60
    recorder = start(args, folder, log)
    load = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{args.namespace}", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{int(seconds) + 5}s",
         "-s", f"{args.site}/random.lua", "http://127.0.0.1:8080"], stdout=subprocess.PIPE, text=True)
    disk, memory = watch(recorder, folder, seconds, load)
    load.send_signal(signal.SIGINT)
    answered = load.communicate()[0]
    time.sleep(SETTLE_SECONDS)
    recorder.send_signal(signal.SIGINT)
    code = recorder.wait(END_SECONDS)
    said = pathlib.Path(log.name).read_text()
    files = sorted(str(path) for path in pathlib.Path(folder).glob("perisco_*"))
    alone = [opens_alone(file) for file in files]
    report = subprocess.run([args.perisco, "analyze", "--format", "json", *files], capture_output=True, text=True)
    ok = judge(disk, memory, limit, code, said, alone, report, answered)
    shutil.rmtree(folder)
    sys.exit(0 if ok else 1)


def judge(disk, memory, limit, code, said, alone, report, answered):
    warm = memory[int(len(memory) * WARM_SHARE):] or memory
    quarter = max(1, len(warm) // 4)
    begin, end = statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])
    at_limit = sum(size > 0.8 * limit for size in disk) / max(1, len(disk))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", answered)
    print(f"load        {rate[1] if rate else '?'} requests a second")
    print(f"disk        {len(disk)} looks, most {max(disk)} of {limit} bytes, {at_limit:.0%} of the time above 80 %")
    print(f"memory      {begin / 1e6:.1f} MB at first, {end / 1e6:.1f} MB at last, most {max(memory) / 1e6:.1f} MB")
    print(f"segments    {len(alone)}, {sum(count or 0 for count in alone)} packets")
    print(f"recorder    exit code {code}: {' / '.join(line for line in said.splitlines() if 'perisco: ' in line)}")
    held = {
        "the disk limit held at every look": max(disk) <= limit,
        "the ring was at its limit": at_limit > 0.5,
        "memory stayed flat": end <= begin * GROWTH,
        "nothing was lost": code == 0 and "nothing lost" in said,
        "every segment opens alone in tshark": len(alone) > 2 and all(alone),
        "the set analyses as one": analyses(report),
    }
    for what, is_so in held.items():
        print(f"{'ok  ' if is_so else 'FAIL'}        {what}")
    return all(held.values())


def analyses(report):
    """No damage, nothing missing within, and connections that go on over all segments."""
    if report.returncode != 0:
        print(f"  analyze: exit code {report.returncode}: {report.stderr[:500]}")
        return False
    found = json.loads(report.stdout)
    flows, loss, transactions = found["flows"]["count"], found["loss"], found["transactions"]["count"]
    print(f"analysis    {transactions} transactions in {flows} connections, {loss['gap_bytes']} bytes missing")
    # Not one for each connection and segment: they go on from one to the next.
    return flows <= CONNECTIONS and loss["gap_bytes"] == 0 and not loss["damage"]


main()
