#!/usr/bin/env python3
"""unpack.py CONSOLE DIRECTORY: what a guest handed out over its serial console.

Each file stands between `@@FILE name` and `@@END`, gzip in base64.
"""
import base64
import gzip
import pathlib
import re
import sys
import zlib

console, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
text = console.read_text(errors="replace").replace("\r", "")
for name, body in re.findall(r"@@FILE (\S+)\n(.*?)@@END", text, re.S):
    # The kernel's own messages may get in between; a damaged file is told, not used.
    lines = [line for line in body.split("\n") if re.fullmatch(r"[A-Za-z0-9+/=]+", line)]
    try:
        (directory / name).write_bytes(gzip.decompress(base64.b64decode("".join(lines))))
    except (ValueError, OSError, EOFError, zlib.error) as error:
        print(f"  WRONG {name} came damaged over the console: {error}")
