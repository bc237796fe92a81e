#!/usr/bin/env python3
"""Kills and fails every system call of the vault's write path, and looks at what is left.

For each operation and each system call by which it changes the disk: the process is killed before the call,
or after it; or the call fails (EIO, ENOSPC, EDQUOT, EINTR), or writes only half. Then a new process starts on what is left,
and: what was acknowledged is there; what was not is there whole or not at all; every object there reads back; one pass of
background work leaves no orphan.

With --share K every Kth point is tried, with --double N also N pairs: killed, and killed again while it recovers.
"""

import argparse
import collections
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from trace import Tracer

OPERATIONS = [
    "first-start",
    "start",
    "recover",
    "sweep",
    "put-small",
    "put-large",
    "overwrite-small",
    "overwrite-large",
    "copy",
    "delete",
    "delete-missing",
    "create-bucket",
    "delete-bucket",
    "upload-create",
    "upload-part",
    "upload-part-again",
    "upload-complete",
    "upload-complete-again",
    "upload-abort",
    "version-overwrite",
    "version-marker",
    "version-delete",
    "archive",
    "restore",
    "restore-drop",
    "rewrap",
    "kms-first",
]
KILLS = ["kill-before", "kill-after"]
FAULTS = ["EIO", "ENOSPC", "EDQUOT", "EINTR", "short"]
PATIENCE = 60


class Wrong(Exception):
    pass


class Run:
    """One process, tampered with or not, on a directory of its own."""

    def __init__(self, scene, operation, when=0, how=None):
        self.messages = []
        with tempfile.TemporaryDirectory(dir=scene.work) as box:
            address = os.path.join(box, "told")
            ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            ear.bind(address)
            ear.settimeout(PATIENCE)
            process = subprocess.Popen(
                [scene.binary, scene.dir, operation, address],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=open(os.path.join(box, "stderr"), "wb"),
            )
            if ear.recv(4096) != b"begin":
                raise Wrong("the process did not begin")
            tracer = Tracer(process.pid, scene.dir, when, how)
            process.stdin.write(b"go\n")
            process.stdin.close()
            watchdog = threading.Timer(PATIENCE, os.kill, (process.pid, signal.SIGKILL))
            watchdog.start()
            self.status = tracer.run()
            watchdog.cancel()
            process.returncode = self.status  # reaped by the tracer
            ear.settimeout(0)
            try:
                while True:
                    self.messages.append(ear.recv(4096).decode())
            except BlockingIOError:
                pass
            ear.close()
            with open(os.path.join(box, "stderr"), "rb") as said:
                self.stderr = said.read().decode(errors="replace")
        self.seen, self.hit = tracer.seen, tracer.hit
        # Of each message: whether the fault was in when it was sent. The first was before the tracer came.
        self.late = [after for _, after in tracer.sent]
        self.killed = os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    def told(self, what, late=None):
        told = zip(self.messages, self.late + [True] * len(self.messages))
        return any(message == what and late in (None, after) for message, after in told)

    def error(self):
        return next((message for message in self.messages if message.startswith("error")), "")


class Scene:
    """A directory in the state an operation starts from."""

    def __init__(self, binary, work, template):
        self.binary, self.work = binary, work
        self.dir = os.path.join(work, "dir")
        shutil.rmtree(self.dir, ignore_errors=True)
        if template is None:
            os.mkdir(self.dir)
        else:
            subprocess.run(["cp", "-a", template, self.dir], check=True)

    def check(self):
        """The lines that say what is there. Anything left over, or unreadable, is an error."""
        done = subprocess.run(
            [self.binary, self.dir, "check"], capture_output=True, text=True, timeout=PATIENCE
        )
        lines = done.stdout.splitlines()
        if done.returncode != 0 or not lines or lines[-1] != "checked":
            raise Wrong(f"no start on what is left: {done.stderr.strip()[-600:]}")
        left = [line for line in lines if line.startswith("left ")]
        if left:
            raise Wrong("; ".join(left[:4]))
        return {line for line in lines if line.startswith(("bucket ", "object ", "upload ", "part ", "version "))}


def template_of(operation, templates):
    return {"first-start": None}.get(operation, templates)


PROBE = "object bucket probe 900-9"


def judge(run, state, before, after):
    """Holds what is left against what was told."""
    probe, state = PROBE in state, state - {PROBE}
    if state not in (before, after):
        raise Wrong(f"half visible: {sorted(state ^ before)}")
    if run.told("ack") and state != after:
        raise Wrong(f"acknowledged and lost: {sorted(after - state)}")
    if run.told("probe-ack") and not probe:
        raise Wrong("the write after it was acknowledged and lost")


def try_point(job):
    """One point. Returns (operation, how, outcome, error); the outcome says what was met."""
    binary, base, templates, operation, when, how, before, after = job
    work = tempfile.mkdtemp(dir=base)
    try:
        scene = Scene(binary, work, template_of(operation, templates))
        run = Run(scene, operation, when, how)
        if run.hit is None:
            return operation, how, "not reached", None
        name, path = run.hit
        where = f"{how} at call {when}, {name} {path[len(scene.dir):]}"
        try:
            if how in KILLS:
                if not run.killed:
                    raise Wrong(f"not killed: {run.messages}")
            elif not run.told("end") or os.WEXITSTATUS(run.status) != 0:
                raise Wrong(f"the process died: {run.messages} {run.stderr[-600:]}")
            if how == "EIO" and name == "fsync" and ".db" in path:
                if run.told("ack", late=True) or run.told("probe-ack", late=True):
                    raise Wrong("acknowledged after a failed fsync")
            if how == "EIO" and name == "fsync" and "/blobs" in path and run.told("ack", late=True):
                raise Wrong("acknowledged although its fsync failed")
            if how == "short" and not run.told("ack"):
                raise Wrong(f"a short write is not an error: {run.error()}")
            state = scene.check()
            judge(run, state, before, after)
        except (Wrong, subprocess.TimeoutExpired) as error:
            return operation, how, name, f"{operation}, {where}: {error}"
        return operation, how, name, None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def try_pair(job):
    """Killed at one call, and the recovery killed at another."""
    binary, base, templates, operation, seed, before, after = job
    chance = random.Random(seed)
    work = tempfile.mkdtemp(dir=base)
    try:
        scene = Scene(binary, work, template_of(operation, templates))
        first = Run(scene, operation, chance.randrange(1, 120), chance.choice(KILLS))
        second = Run(scene, "recover", chance.randrange(1, 150), chance.choice(KILLS))
        try:
            judge(first, scene.check(), before, after)
        except (Wrong, subprocess.TimeoutExpired) as error:
            return operation, "double", "pair", f"{operation}, pair {seed}: {first.hit} {second.hit}: {error}"
        return operation, "double", "pair", None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="the compiled example crash_ops")
    parser.add_argument("--share", type=int, default=1, help="try every Kth point")
    parser.add_argument("--double", type=int, default=0, help="pairs of crashes to try")
    parser.add_argument("--objects", type=int, default=0, help="also time a start with so many objects")
    parser.add_argument("--only", help="this operation alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    # Kills need no disk: what the kernel has taken survives them. The calls are the same on any file system.
    with tempfile.TemporaryDirectory(prefix="crash-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as base:
        sys.exit(everything(options, binary, base))


def everything(options, binary, base):
    start = time.monotonic()
    templates = os.path.join(base, "template")
    os.mkdir(templates)
    subprocess.run([binary, templates, "prepare"], check=True)
    operations = [options.only] if options.only else OPERATIONS
    jobs, pairs = [], []
    for operation in operations:
        work = tempfile.mkdtemp(dir=base)
        before = Scene(binary, work, template_of(operation, templates)).check() - {PROBE}
        scene = Scene(binary, work, template_of(operation, templates))
        clean = Run(scene, operation)
        if not clean.told("ack"):
            sys.exit(f"{operation} fails by itself: {clean.messages} {clean.stderr}")
        after = scene.check() - {PROBE}
        calls = len(clean.seen)
        print(f"{operation:16} {calls:4} calls: {tally(clean.seen)}", flush=True)
        for how, when in itertools.product(KILLS + FAULTS, range(1, calls + 1)):
            if how != "short" or clean.seen[when - 1].startswith("write"):
                jobs.append((binary, base, templates, operation, when, how, before, after))
        pairs += [(binary, base, templates, operation, seed, before, after) for seed in range(options.double)]
        shutil.rmtree(work)
    jobs = jobs[options.share // 2 :: options.share]
    pairs = pairs[:: len(operations)]
    tried = collections.Counter()
    errors = []
    with multiprocessing.Pool(options.jobs, maxtasksperchild=200) as pool:
        results = itertools.chain(pool.imap_unordered(try_point, jobs), pool.imap_unordered(try_pair, pairs))
        for _, how, met, error in results:
            tried["not reached" if met == "not reached" else how] += 1
            if sum(tried.values()) % 1000 == 0:
                print(f"{sum(tried.values())} of {len(jobs) + len(pairs)} tried", flush=True)
            if error:
                errors.append(error)
                print("WRONG", error, flush=True)
    if options.objects:
        errors += time_start(binary, base, options.objects)
    reached = sum(tried.values()) - tried["not reached"]
    print(f"{reached} points ({dict(tried)}), {len(errors)} wrong, {time.monotonic() - start:.0f} s")
    return 1 if errors else 0


def time_start(binary, base, objects):
    place = os.path.join(base, "many")
    os.mkdir(place)
    subprocess.run([binary, place, "prepare", str(objects)], check=True)
    done = subprocess.run([binary, place, "restart"], check=True, capture_output=True, text=True)
    took = int(done.stdout.split()[1])
    print(f"start with {objects} objects after a crash: {took} ms")
    return [f"the start took {took} ms"] if took > 2000 else []


def tally(seen):
    counts = collections.Counter(call.split()[0] for call in seen)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    main()
