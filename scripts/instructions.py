"""Counts the instructions of `perisco analyze` by stage and holds them against
benches/instructions.json; see scripts/instructions, which calls this.

Instructions, not time: the same to 0.1 % on a noisy machine. They miss what
caches and waiting cost; scripts/bench measures that.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

import callgrind
import captures

BASELINE = pathlib.Path("benches/instructions.json")
SLICES = pathlib.Path("benches/captures")

# Hash seeds are random: totals of two runs differ by up to 0.7 %, single stages
# by 2 %, allocations by 6 % (all seen with h2-small). These leave room for that
# and for little else.
STAGE_PERCENT = 5.0
TOTAL_PERCENT = 3.0
ALLOCATIONS_PERCENT = 10.0
# Starting up allocates some thousand times, in small captures not few of all:
# fewer than this more for each transaction are no failure. One per message is 1.
ALLOCATIONS_FLOOR = 0.1
# Another compiler inlines and vectorises otherwise.
OTHER_COMPILER = 4.0  # times the percentages above
# A stage that grew by less than this share of all is not worth a failure.
FLOOR_PERCENT = 0.5
# glibc picks its memcpy by processor, gcc of each distribution builds zstd
# otherwise: shown, not judged, and not in the total. Calls of the allocator are judged.
NOT_JUDGED = ("libc", "zstd")
SCALING_TURNS = 40  # rounds enough that all threads have work
SCALING_THREADS = (1, 2, 4, 8)

# What callgrind.py reads.
DETAILS = ["--dump-instr=yes", "--compress-pos=no", "--compress-strings=no"]

# name: slice, how often it is repeated, arguments: enough that starting up is
# small, few enough for CI. zstd: the slice as it is, compressed, so that no zstd
# of another version comes between.
CASES = {
    "h1-small": ("h1-small", 16, []),
    "h1-large-mtu1500": ("h1-large-mtu1500", 40, []),
    "h2-small": ("h2-small", 8, []),
    "grpc": ("grpc", 8, []),
    "mixed-10k-conns": ("mixed-10k-conns", 10, []),
    "jsonl": ("h1-small", 8, ["--format", "jsonl"]),
    "zstd": ("h1-small", 1, []),
}


def capture_of(name, work, turns):
    """The capture of a case; made once."""
    source = SLICES / f"{CASES[name][0]}.pcap.zst"
    if turns == 1:
        return source
    path = work / f"{CASES[name][0]}-{turns}.pcap"
    if not path.exists():
        data = subprocess.run(["zstd", "-q", "-dc", str(source)], check=True, capture_output=True).stdout
        captures.Repeated(data).write(path, turns)
    if name != "zstd":
        return path
    packed = path.with_suffix(".pcap.zst")
    if not packed.exists():
        subprocess.run(["zstd", "-q", str(path), "-o", str(packed)], check=True)
    return packed


def run_callgrind(binary, arguments, capture, out, extra=()):
    """Runs the analyzer under callgrind; its output goes nowhere."""
    command = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={out}", *extra,
               binary, "analyze", *arguments, str(capture)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def transactions(binary, capture):
    """How many transactions the analyzer finds."""
    done = subprocess.run([binary, "analyze", "--format", "json", str(capture)], check=True, capture_output=True)
    return json.loads(done.stdout)["transactions"]["count"]


def measure(binary, name, work):
    """Instructions of a case by stage on one thread."""
    capture, out = capture_of(name, work, CASES[name][1]), work / "callgrind.out"
    run_callgrind(binary, ["--threads", "1", *CASES[name][2]], capture, out, DETAILS)
    stages, allocations = callgrind.count(out, binary)
    if not stages.get("decode"):
        raise SystemExit(f"{binary} has no line tables: its instructions belong to no source file of ours")
    # Each instruction belongs to exactly one stage, but for rounding.
    if abs(sum(stages.values()) - callgrind.total(out)) > len(callgrind.NAMES):
        raise SystemExit(f"{name}: the stages are {sum(stages.values())} instructions of {callgrind.total(out)}")
    return {"transactions": transactions(binary, capture), "stages": stages, "allocations": allocations}


def command_line(*command):
    """The first line that a command says, empty where there is none."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.splitlines()[0] if told else ""


def tools():
    """What the counts depend on besides the source."""
    flags = set(re.findall(r"^flags\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)[:1])
    return {
        "machine": platform.machine(),
        "rustc": command_line("rustc", "--version"),
        "avx2": any(" avx2 " in f" {text} " for text in flags),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": command_line("valgrind", "--version"),
    }


def judged(figures):
    """The total that is held against the baseline's."""
    return sum(cost for stage, cost in figures["stages"].items() if stage not in NOT_JUDGED)


def percent(now, before):
    """By how much it grew."""
    return (now / before - 1) * 100 if before else (0.0 if not now else float("inf"))


def compare(name, now, before, factor):
    """Rows of the table, and what grew too much."""
    rows, grown = [], []
    floor = judged(before) * FLOOR_PERCENT / 100
    for stage in callgrind.NAMES:
        new, old = now["stages"].get(stage, 0), before["stages"].get(stage, 0)
        if not new and not old:
            continue
        verdict = ""
        if stage in NOT_JUDGED:
            verdict = "not judged"
        elif percent(new, old) > STAGE_PERCENT * factor and new - old > floor:
            verdict = "GREW"
            grown.append(f"{name}: {stage} by {percent(new, old):.1f} %")
        elif percent(new, old) < -STAGE_PERCENT and old - new > floor:
            verdict = "shrank"
        rows.append((name, stage, old, new, now["transactions"], verdict))
    more = now["transactions"] * ALLOCATIONS_FLOOR
    for what, old, new, limit, least in (
            ("all judged", judged(before), judged(now), TOTAL_PERCENT, 0),
            ("allocations", before["allocations"], now["allocations"], ALLOCATIONS_PERCENT, more)):
        verdict = ""
        if percent(new, old) > limit * factor and new - old > least:
            verdict = "GREW"
            grown.append(f"{name}: {what} by {percent(new, old):.1f} %")
        elif percent(new, old) < -limit:
            verdict = "shrank"
        rows.append((name, what, old, new, now["transactions"], verdict))
    if now["transactions"] != before["transactions"]:
        grown.append(f"{name}: {now['transactions']} transactions instead of {before['transactions']}")
    return rows, grown


def print_table(rows):
    """The rows as a table."""
    print(f"{'case':18}{'stage':12}{'baseline':>14}{'now':>14}{'change':>9}{'each':>9}")
    last = None
    for name, stage, old, new, count, verdict in rows:
        change = f"{percent(new, old):+.1f} %" if old else "new"
        each = f"{new / count:,.1f}" if count else ""
        print(f"{name if name != last else '':18}{stage:12}{old:>14,}{new:>14,}{change:>9}{each:>9}  {verdict}".rstrip())
        last = name
    print("Instructions on one thread; each: per transaction.")


def check(arguments, work):
    """Counts, compares or stores; the exit code."""
    figures = {}
    for name in arguments.case:
        figures[name] = measure(arguments.perisco, name, work)
    present = tools()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"tools": present, "cases": {}}
    if arguments.write:
        BASELINE.write_text(json.dumps({"tools": present, "cases": {**baseline["cases"], **figures}}, indent=1) + "\n")
    differs = [key for key in present if present[key] != baseline["tools"].get(key)]
    for key in differs:
        print(f"{key} is {present[key]!r}, the baseline's {baseline['tools'].get(key)!r}")
    if "machine" in differs and not arguments.write:
        print("The baseline is of another kind of machine: nothing is compared.")
        return 0
    factor = OTHER_COMPILER if {"rustc", "avx2"} & set(differs) else 1.0
    if factor > 1 and not arguments.write:
        print(f"Hence what may grow unseen is {factor:.0f} times as much.")
    rows, grown = [], []
    for name, now in figures.items():
        before = baseline["cases"].get(name)
        if before is None:
            before = now
            if not arguments.write:
                grown.append(f"{name} has no baseline")
        case_rows, case_grown = compare(name, now, before, factor)
        rows += case_rows
        grown += case_grown
    print_table(rows)
    if arguments.write:
        print(f"Stored in {BASELINE}.")
        return 0
    if any(row[-1] == "shrank" for row in rows):
        print("What shrank can grow back unseen until `scripts/instructions --write` has stored the new counts.")
    if grown:
        print("\nMore instructions than the baseline allows "
              f"({STAGE_PERCENT * factor:.0f} % a stage, {TOTAL_PERCENT * factor:.0f} % in all, "
              f"{ALLOCATIONS_PERCENT * factor:.0f} % of allocations):")
        print("\n".join(f"  {line}" for line in grown))
        print("If that is the price of something wanted, `scripts/instructions --write` stores the new counts.")
    return 1 if grown else 0


def threads_of(binary, name, count, work):
    """Instructions of each thread, most first, and those of the first by stage."""
    for old in work.glob("threads.out*"):
        old.unlink()
    run_callgrind(binary, ["--threads", str(count), *CASES[name][2]], capture_of(name, work, SCALING_TURNS),
                  work / "threads.out", ["--separate-threads=yes", "--fair-sched=try", *DETAILS])
    totals = sorted(((callgrind.total(path), path) for path in work.glob("threads.out*-*")), reverse=True)
    stages, _ = callgrind.count(totals[0][1], binary)
    return [total for total, _ in totals if total], stages


# What one thread does however many there are: it reads, and finds out whose each packet is.
SERIAL = ("walk", "packet", "share")


def scaling(arguments, work):
    """How far more threads could help, by what they can share and what they cannot."""
    print(f"{'case':18}{'threads':>8}{'all':>16}{'serial':>16}{'bound':>8}  each thread, in % of all with one")
    for name in arguments.case:
        alone = None
        for count in SCALING_THREADS:
            each, stages = threads_of(arguments.perisco, name, count, work)
            alone = alone or sum(each)
            serial = sum(stages.get(stage, 0) for stage in SERIAL)
            bound = alone / max(sum(each) / count, serial)
            shares = " ".join(f"{one / alone * 100:.1f}" for one in each)
            print(f"{name:18}{count:>8}{sum(each):>16,}{serial:>16,}{bound:>7.2f}x  {shares}", flush=True)
    print(f"serial: {', '.join(SERIAL)} of the thread with most; what it waits, spinning, is counted too.\n"
          "bound: all instructions with one thread / the larger of what is serial and of all by the number\n"
          "of threads. No speed-up can be larger with this division of the work; caches and waiting make it\n"
          "smaller. What each thread takes is as valgrind lets them run, one at a time: the first one takes\n"
          "from the others what they would have had.")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perisco", required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("case", nargs="*")
    arguments = parser.parse_args()
    arguments.perisco = os.path.realpath(arguments.perisco)
    for name in arguments.case:
        if name not in CASES:
            parser.error(f"there is no case {name}: {', '.join(CASES)}")
    arguments.case = arguments.case or list(CASES)
    with tempfile.TemporaryDirectory(prefix="perisco-instructions-") as work:
        return (scaling if arguments.scaling else check)(arguments, pathlib.Path(work))


if __name__ == "__main__":
    sys.exit(main())
