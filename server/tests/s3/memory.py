"""Searches the memory of a process, from outside."""

import os
import re
from pathlib import Path


def mappings(pid):
    """(start, end, name, locked) of each mapping that holds anything."""
    found, size = [], 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
        if head:
            start, end, name, size = int(head[1], 16), int(head[2], 16), f"{head[3]} {head[4]}", 0
        elif line.startswith(("Rss:", "Swap:")):
            size += int(line.split()[1])
        elif line.startswith("VmFlags:") and size > 0:
            found.append((start, end, name, "lo" in line.split()))
    return found


def search(pid, needles):
    """Every place of every needle: (name of the needle, name of the mapping, locked or not)."""
    pattern = re.compile(b"|".join(re.escape(needle) for needle in needles.values()))
    names = {needle: name for name, needle in needles.items()}
    hits = []
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for start, end, name, locked in mappings(pid):
            for match in pattern.finditer(_read(memory, start, end)):
                hits.append((names[match[0]], name, locked))
    finally:
        os.close(memory)
    return hits


def _read(memory, start, end):
    parts = []
    at = start
    while at < end:
        try:
            part = os.pread(memory, min(end - at, 64 << 20), at)
        except OSError:
            # Guard pages, device pages and secret memory cannot be read, and so not be stolen this way.
            part = b""
        if not part:
            part = bytes(4096)
        parts.append(part)
        at += len(part)
    return b"".join(parts)
