"""The table of scripts/bench, which see: rows, rounds, and how they are told."""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import bench_measure as measure
import bench_rows
from bench_peers import Peers

RESULTS = pathlib.Path("benches/RESULTS.md")


def figure(number):
    """A ratio in as many digits as say something."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def ratio_cells(ratio):
    """What, measured, target, whether met."""
    values = ratio["values"]
    told = figure(ratio["median"]) if values else "not measured"
    if len(values) > 1:
        told += f" ({figure(min(values))}–{figure(max(values))})"
    sign = "≤" if ratio["at_most"] else "≥"
    return ratio["what"], told, f"{sign} {figure(ratio['limit'])}", {True: "met", False: "MISSED", None: "-"}[ratio["met"]]


def tool_cells(result, name):
    """Wall, CPU, rates, memory of one tool."""
    runs = [one for one in result["measures"][name] if one]
    if not runs:
        return None
    wall = measure.median([one["wall"] for one in runs])
    form = "{:.2f}" if wall >= 0.1 else "{:.4f}"
    cpu = measure.spread([one["cpu"] for one in runs], form) if any(one["cpu"] for one in runs) else "-"
    rates = [f"{result['bytes'] / wall / 1e6:,.0f}" if result['bytes'] >= 1e6 else "-"]
    for key in ("packets", "transactions"):
        rates.append(f"{result[key] / wall / 1e3:,.0f}" if key in result else "-")
    rss = max(one["rss"] for one in runs)
    return [name, measure.spread([one["wall"] for one in runs], form), cpu, *rates, f"{rss / 1e6:,.0f}" if rss else "-"]


HEADS = ["tool", "wall s", "CPU s", "MB/s", "kpackets/s", "ktransactions/s", "peak MB"]


def print_row(result, out):
    """One row, for people."""
    print(f"\n{result['row']}: {result['bytes'] / 1e6:,.0f} MB", file=out)
    if "found" in result:
        mark = {True: ": all", False: ": NOT ALL RIGHT", None: ""}[result["found_all"]]
        print(f"  found: {result['found']}{mark}", file=out)
    cells = [HEADS, *filter(None, (tool_cells(result, name) for name in result["measures"]))]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADS))]
    for row in cells:
        rest = "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        print(f"  {row[0].ljust(widths[0])}  {rest}", file=out)
    for ratio in result["ratios"]:
        what, told, target, met = ratio_cells(ratio)
        cpu = f"; of CPU time {measure.spread(ratio['cpu_values'])}" if ratio.get("cpu_values") else ""
        print(f"  {what}: {told}, target {target}: {met}{cpu}", file=out)
    for note in result["notes"]:
        print(f"  {note}", file=out)
    out.flush()


def summary(results):
    """Rows of the issue's table: name, what, measured, target, met."""
    lines = []
    for result in results:
        if result.get("found_all") is not None:
            met = "met" if result["found_all"] else "MISSED"
            lines.append((result["row"], "found", f"{result['transactions']:,}", "all, paired", met))
        lines += [(result["row"], *ratio_cells(ratio)) for ratio in result["ratios"]]
    return lines


def conditions(machine, versions, rounds):
    """Where and how it was measured."""
    busy = f", others took {machine['others_percent']:.0f} % of the CPU time meanwhile" if "others_percent" in machine else ""
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, "
            f"Linux {machine['kernel']}{busy}; perisco {machine['perisco']}; {told}; {rounds} rounds.")


def markdown(results, machine, versions, rounds):
    """The text of RESULTS.md."""
    out = ["# Results of `scripts/bench`", "", conditions(machine, versions, rounds), "",
           "Wall times over each other within a round: median (least–most). tshark and Suricata run in one round only.", "",
           "| row | what | measured | target | |", "|---|---|---|---|---|"]
    out += [f"| {' | '.join(line)} |" for line in summary(results)]
    out += ["", "## Times", "", f"| row | {' | '.join(HEADS)} |", "|---" * (len(HEADS) + 1) + "|"]
    for result in results:
        for name in result["measures"]:
            cells = tool_cells(result, name)
            if cells:
                out.append(f"| {result['row']} | {' | '.join(cells)} |")
    out += ["", "## Found", ""]
    for result in results:
        told = [result["found"]] if "found" in result else []
        if told or result["notes"]:
            out.append(f"- {result['row']}: {'; '.join([*told, *result['notes']])}")
    return "\n".join(out) + "\n"


def perisco_version(perisco, commit):
    """Its version, and the commit where it was built from the present one."""
    told = subprocess.run([perisco, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return told[-1] + (f" ({commit})" if commit else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perisco")
    parser.add_argument("--folder", default="target/bench")
    parser.add_argument("--commit", default="")
    parser.add_argument("--perf", default="../shared/perf")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default="")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--corpora", action="store_true", help="says which corpora the rows need, and ends")
    parser.add_argument("row", nargs="*")
    arguments = parser.parse_args()
    rows = bench_rows.chosen(arguments.row)
    if arguments.corpora:
        print("\n".join(bench_rows.corpora_of(rows)))
        return 0
    perisco = os.path.realpath(arguments.perisco)
    folder = pathlib.Path(arguments.folder).resolve()
    machine = {**measure.machine(), "perisco": perisco_version(perisco, arguments.commit)}
    wanted = [name for name in arguments.peers.split(",") if name]
    peers = Peers(wanted, folder, pathlib.Path(arguments.perf).resolve())
    bench = bench_rows.Rows(perisco, folder, max(1, arguments.rounds), peers, machine["cores"])
    out = sys.stderr if arguments.json else sys.stdout
    print(conditions(machine, peers.versions, bench.rounds), file=out)
    results, others = [], measure.Others()
    for row in rows:
        results.append(bench.run(row))
        results[-1].pop("outputs", None)
        print_row(results[-1], out)
    lines = summary(results)
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(5)]
    print("\nWall times over each other within a round: median (least–most).", file=out)
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip(), file=out)
    machine["others_percent"] = others.percent()
    print(f"Others took {machine['others_percent']:.0f} % of the machine meanwhile.", file=out)
    if arguments.json:
        json.dump({"machine": machine, "peers": peers.versions, "rounds": bench.rounds, "rows": results}, sys.stdout, indent=1)
        print()
    if arguments.write:
        RESULTS.write_text(markdown(results, machine, peers.versions, bench.rounds))
        print(f"Written to {RESULTS}.", file=out)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
