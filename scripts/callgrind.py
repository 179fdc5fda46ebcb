"""Reads what callgrind wrote (with --dump-instr=yes, uncompressed names) and
says which stage of the analyzer each instruction belongs to.

An instruction belongs to the innermost source file of ours on its inline stack
(addr2line), so that it does not matter what the compiler inlined where. What
other crates and the standard library do in functions of their own is charged
to the stages that call them, in proportion to what their calls cost. The C
library and zstd, which other compilers built, are kept apart.
"""

import collections
import re
import subprocess

# The first that fits is the stage; None: look further out.
STAGES = [
    (r"time\.rs|analyze/(owner|limits|fields|options|mod)\.rs|analyze/[a-z_]+/limits\.rs", None),
    (r"pcap/compress", "decompress"),
    (r"pcap/", "walk"),
    (r"analyze/packet/", "packet"),
    (r"analyze/(flow|reassembly)/", "flow"),
    (r"analyze/(decode/|transaction\.rs)", "decode"),
    (r"analyze/(report/|shard/output\.rs)", "report"),
    (r"analyze/", "share"),
    (r"", "start"),
]
NAMES = ["walk", "decompress", "packet", "flow", "decode", "report", "share", "start", "zstd", "libc"]
FOREIGN = re.compile(r"/registry/src/|/rustc/|/rustlib/|/git/checkouts/|/library/(core|alloc|std)/")
OURS = re.compile(r"^(.*/src/)(?:analyze|pcap|record|bin/perisco)/")
ZSTD = re.compile(r"^_?(ZSTD|HUF|FSE|HIST|XXH|POOL|BIT|COVER|ERR_)")
ALLOCATION = re.compile(r"^(malloc|calloc|realloc|posix_memalign|aligned_alloc)(@|$)")
ROUNDS = 50  # of spreading over callers; chains of foreign functions are shorter


class Function:
    """A function: what its own instructions cost by stage, and who calls it."""

    def __init__(self):
        self.costs = collections.Counter()  # address: instructions
        self.callers = collections.Counter()  # (function, address): instructions of the calls
        self.calls = 0


def parse(path):
    """The functions by (object, name)."""
    functions = collections.defaultdict(Function)
    current, obj, callee_obj, callee, calls = None, "", "", None, 0
    awaits_cost = False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            first = line[0]
            if first in "0123456789":
                address, _, cost = line.split()
                if awaits_cost:
                    functions[callee].callers[current, int(address, 16)] += int(cost)
                    functions[callee].calls += calls
                    awaits_cost = False
                else:
                    functions[current].costs[int(address, 16)] += int(cost)
            elif line.startswith("fn="):
                current = (obj, line[3:].strip())
            elif line.startswith("ob="):
                obj = callee_obj = line[3:].strip()
            elif line.startswith("cob="):
                callee_obj = line[4:].strip()
            elif line.startswith("cfn="):
                callee, callee_obj = (callee_obj, line[4:].strip()), obj
            elif line.startswith("calls="):
                calls, awaits_cost = int(line[6:].split()[0]), True
            elif line.startswith("ob") or line.startswith("jump"):
                raise ValueError(f"not understood: {line!r}")
    return functions


def stage_of(files, root):
    """The stage of an inline stack of source files, innermost first; None: foreign."""
    for file in files:
        if not file.startswith(root):
            continue
        for pattern, stage in STAGES:
            if re.match(pattern, file[len(root):]):
                if stage:
                    return stage
                break
    return None


def stages_of(binary, addresses):
    """The stage of each address of the binary; None where all of its source is foreign."""
    asked = "".join(f"{address:#x}\n" for address in addresses)
    told = subprocess.run(["addr2line", "-a", "-i", "-e", binary], input=asked, capture_output=True,
                          text=True, check=True).stdout
    stacks, stack = {}, []
    for line in told.splitlines():
        if line.startswith("0x"):
            stack = stacks[int(line, 16)] = []
        else:
            stack.append(line.rsplit(":", 1)[0])
    distinct = {file for stack in stacks.values() for file in stack}
    roots = [OURS.match(file)[1] for file in distinct if OURS.match(file) and not FOREIGN.search(file)]
    # A thread may run nothing of ours; a binary without line tables seems to run nothing of ours.
    root = min(roots, key=len, default="/no source of ours/")
    cache = {}
    for address, stack in stacks.items():
        key = tuple(stack)
        if key not in cache:
            cache[key] = stage_of(stack, root)
        stacks[address] = cache[key]
    return stacks


def spread(functions, stages, binary):
    """For each function, how its foreign instructions share out over stages."""
    shares = {}
    for _ in range(ROUNDS):
        changed = 0.0
        for key, function in functions.items():
            share, total = collections.Counter(), sum(function.callers.values())
            for (caller, address), cost in function.callers.items():
                stage = stages.get(address) if caller[0] == binary else None
                if stage:
                    share[stage] += cost / total if total else 0
                else:
                    for name, part in shares.get(caller, {"start": 1.0}).items():
                        share[name] += part * cost / total if total else 0
            share = dict(share) or {"start": 1.0}
            before = shares.get(key, {})
            changed = max(changed, *(abs(share.get(name, 0) - before.get(name, 0)) for name in {*share, *before}))
            shares[key] = share
        if changed < 1e-3:
            break
    return shares


def count(path, binary):
    """Instructions by stage, and calls of the C library's allocator."""
    functions = parse(path)
    ours = sorted({address for (obj, _), function in functions.items() if obj == binary
                   for address in function.costs}
                  | {address for function in functions.values()
                     for (obj, _), address in function.callers if obj == binary})
    stages = stages_of(binary, ours)
    shares = spread(functions, stages, binary)
    totals, allocations = collections.Counter(), 0
    for (obj, name), function in functions.items():
        if obj != binary:
            totals["libc"] += sum(function.costs.values())
            if ALLOCATION.match(name):
                allocations += function.calls
            continue
        if ZSTD.match(name):
            totals["zstd"] += sum(function.costs.values())
            continue
        for address, cost in function.costs.items():
            stage = stages.get(address)
            if stage:
                totals[stage] += cost
            else:
                for share, part in shares[obj, name].items():
                    totals[share] += cost * part
    return {name: round(totals[name]) for name in NAMES if round(totals[name])}, allocations


def total(path):
    """All instructions that a file counts."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    raise ValueError(f"{path} says no total")
