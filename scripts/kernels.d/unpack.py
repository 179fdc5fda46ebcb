#!/usr/bin/env python3
"""unpack.py CONSOLE MEMORY DIRECTORY: what a guest handed out.

Each file lies in the guest's MEMORY, where a line of its CONSOLE says:
`@@FILE name MiB size`.
"""
import pathlib
import re
import sys

console, memory, directory = map(pathlib.Path, sys.argv[1:4])
text = console.read_text(errors="replace").replace("\r", "")
for name in re.findall(r"@@FAILED (\S+)", text):
    print(f"  WRONG the guest could not hand out {name}")
with open(memory, "rb") as file:
    for name, place, size in re.findall(r"@@FILE (\S+) (\d+) (\d+)", text):
        file.seek(int(place) << 20)
        (directory / name).write_bytes(file.read(int(size)))
