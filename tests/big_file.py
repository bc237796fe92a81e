#!/usr/bin/env python3
"""Seals and opens a large sparse file through pipes, and says what memory that takes.

big_file.py [GIB]: the file has holes only, nothing but a pipe is between the two programs, and what comes out is compared
with what went in, so no disk is needed. Each program may take 1 MiB more than it takes for four bytes: memory of its own,
without the pages of the program itself, of which the kernel keeps as many as it likes.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

STRONGROOM = os.environ.get("STRONGROOM", "target/release/strongroom")
LIMIT_KIB = 1024


class Watched:
    """A program of which the kernel is asked again and again what memory it has."""

    def __init__(self, arguments, **pipes):
        self.process = subprocess.Popen(arguments, **pipes)
        self.peak = 0
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        status = Path(f"/proc/{self.process.pid}/status")
        while self.process.poll() is None:
            try:
                lines = status.read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                break  # it has just ended
            for line in lines:
                if line.startswith("RssAnon:"):
                    self.peak = max(self.peak, int(line.split()[1]))
            time.sleep(0.002)

    def end(self):
        code = self.process.wait()
        self.thread.join()
        assert code == 0, f"{self.process.args} ended with {code}"
        return self.peak


def main():
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory(prefix="strongroom-big-") as home:
        home = Path(home)
        key, large = home / "key", home / "large"
        key.write_bytes(bytes(range(32)))
        with open(large, "wb") as file:
            file.truncate(int(gib * 2**30))

        def command(way):
            return [STRONGROOM, way, "--key-file", key, "-"]

        def with_little(way, content):
            """Its memory while it waits for more than it has read."""
            program = Watched(command(way), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            program.process.stdin.write(content)
            program.process.stdin.flush()
            time.sleep(0.5)
            out, _ = program.process.communicate()
            return program.end(), out

        idle_seal, sealed = with_little("seal", b"noon")
        idle_open, opened = with_little("open", sealed)
        assert opened == b"noon"
        idle = {"seal": idle_seal, "open": idle_open}
        begin = time.monotonic()
        seal = Watched(command("seal"), stdin=open(large, "rb"), stdout=subprocess.PIPE)
        opener = Watched(command("open"), stdin=seal.process.stdout, stdout=subprocess.PIPE)
        seal.process.stdout.close()
        compare = subprocess.Popen(["cmp", "-", large], stdin=opener.process.stdout)
        # Only `cmp` is to have this end: if it stops at a wrong byte, the other two end as well.
        opener.process.stdout.close()
        assert compare.wait() == 0, "what came out is not what went in"
        more = {"seal": seal.end() - idle["seal"], "open": opener.end() - idle["open"]}
        seconds = time.monotonic() - begin
    print(f"{gib:g} GiB through both in {seconds:.0f} s")
    for way, kib in more.items():
        print(f"{way}: {kib} KiB over the {idle[way]} KiB of four bytes, at most {LIMIT_KIB}")
    if max(more.values()) > LIMIT_KIB:
        sys.exit("too much memory")


if __name__ == "__main__":
    main()
