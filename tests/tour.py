#!/usr/bin/env python3
"""Runs the commands of a page in order and compares what they print.

    tests/tour.py README.md
    tests/tour.py docs/USING.md

Takes every console, python and javascript block of the section "A five-minute tour", or of the page if it has none. In
a console block a line that begins with "$ " is a command, which a backslash at its end continues, and what follows it is
its output, where "..." stands for anything, also for any number of lines when it is alone on one. A program prints
nothing. The server is started first, as `make serve` does it, on a free port and in a directory of its own named `dev`.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECTION = "## A five-minute tour"
INTERPRETERS = {"python": "python3 -", "javascript": "node -"}


def main():
    page = Path(sys.argv[1]).resolve()
    strongroom = Path(os.environ.get("STRONGROOM", "target/release/strongroom")).resolve()
    steps = parse(page.read_text())
    if len(steps) < 5:
        sys.exit(f"{page}: no tour found")
    with tempfile.TemporaryDirectory(prefix="strongroom-tour-") as work:
        server, port = serve(strongroom, work)
        try:
            failed = run(steps, work, strongroom)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
    print(f"tour: {len(steps) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def parse(text):
    """(command, expected lines) of every block."""
    if SECTION in text:
        text = text.split(SECTION, 1)[1].split("\n## ", 1)[0]
    steps = []
    for language, block in re.findall(r"^```(console|python|javascript)\n(.*?)^```", text, re.S | re.M):
        if language != "console":
            steps.append((f"{INTERPRETERS[language]} <<'END-OF-PROGRAM'\n{block}END-OF-PROGRAM", []))
            continue
        for line in block.replace("\\\n", "").splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
    return [step for step in steps if not step[0].startswith("make serve")]


def serve(strongroom, work):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [strongroom, "dev", "--dir", "dev", "--listen", f"127.0.0.1:{port}"],
        cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    os.set_blocking(server.stderr.fileno(), False)
    deadline = time.monotonic() + 60
    while not Path(work, "dev", "client.env").exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the server did not start: {(server.stderr.read() or b'').decode()}")
        time.sleep(0.05)
    return server, port


def run(steps, work, strongroom):
    """One shell for all commands, so that what one sets the next one sees."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # The SDK for JavaScript complains about releases of Node.js that are to be old soon.
    env["NODE_NO_WARNINGS"] = "1"
    env["PATH"] = f"{strongroom.parent}:{env['PATH']}"
    shell = subprocess.Popen(
        ["bash"], cwd=work, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    mark = "==tour-step-done=="
    failed = 0
    for command, expected in steps:
        shell.stdin.write(f"{command}\necho; echo {mark}\n")
        shell.stdin.flush()
        printed = []
        while (line := shell.stdout.readline()) and line.strip() != mark:
            printed.append(line.rstrip())
        # The marker's own blank line, and blank lines that say nothing.
        printed = [line for line in printed if line]
        expected = [line.rstrip() for line in expected if line.strip()]
        if not matches(printed, expected):
            failed += 1
            print(f"tour: $ {command}\n  expected: {expected}\n  printed:  {printed}", file=sys.stderr)
    shell.stdin.close()
    shell.wait(timeout=60)
    return failed


def matches(printed, expected):
    pattern = "".join(
        r"(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


if __name__ == "__main__":
    main()
