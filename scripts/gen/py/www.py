"""Writes the document root of the web servers: always the same files, with the
same times (nginx's ETag is made of time and size).

    www.py FOLDER
"""
import gzip
import os
import random
import sys

root = sys.argv[1]
os.makedirs(os.path.join(root, "users"), exist_ok=True)
rnd = random.Random(7)
files = {
    "index.html": b'<!doctype html><html><head><link rel="stylesheet" href="/style.css">'
                  b'<script src="/app.js"></script></head><body>hello</body></html>\n',
    "style.css": b"body { color: #234; margin: 1em }\n" * 20,
    "app.js": b"console.log('hello from app.js');\n" * 10,
    "small.txt": b"a small file of 33 bytes in all.\n",
    "lines.txt": b"".join(b"%05d the quick brown fox jumps over the lazy dog\n" % i for i in range(400)),
    "data.json": b"[" + b",".join(b'{"id":%d,"name":"user %d","score":%d}' % (i, i, rnd.randrange(1000)) for i in range(300)) + b"]\n",
    "blob.bin": rnd.randbytes(60000),
    "upload.bin": rnd.randbytes(150000),
    "empty.txt": b"",
}
files["lines.txt.gz"] = gzip.compress(files["lines.txt"], 9, mtime=0)
for name, data in files.items():
    p = os.path.join(root, name)
    with open(p, "wb") as f:
        f.write(data)
    os.utime(p, (1714564800, 1714564800))
