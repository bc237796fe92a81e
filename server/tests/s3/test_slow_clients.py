"""With the progress deadlines off, thousands of streams at one byte a second beside a normal client.

SLOW_CLIENTS sets the number of uploads, and of downloads: 200 unless given, 2,000 for the figures.
"""

import base64
import os
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

import raw
from daemon import Daemon

BUCKET = "slow"
CLIENTS = int(os.environ.get("SLOW_CLIENTS", "200"))
# The better of several rounds: what disturbs this machine meanwhile only ever adds.
ROUNDS, REQUESTS = 3, 150
THREADS, GROWTH, FACTOR = 64, 512 << 20, 2


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    daemon.stop()
    with (daemon.dir / "strongroom.toml").open("a") as settings:
        # `[limits]` is the last table of the file.
        settings.write("connections = 0\nbody_seconds = 0\nwrite_stall_seconds = 0\n")
    daemon.start()
    s3 = daemon.client(max_pool_connections=1)
    s3.create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


class SlowClients(unittest.TestCase):
    def status(self, name):
        text = Path(f"/proc/{daemon.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")))

    def p99(self):
        """Of a client that writes and reads 4 KiB over one connection, in seconds."""
        best = []
        for _ in range(ROUNDS):
            times = []
            for turn in range(REQUESTS):
                started = time.perf_counter()
                if turn % 2:
                    s3.get_object(Bucket=BUCKET, Key="normal")["Body"].read()
                else:
                    s3.put_object(Bucket=BUCKET, Key="normal", Body=bytes(4096))
                times.append(time.perf_counter() - started)
            best.append(sorted(times)[REQUESTS * 99 // 100])
        return min(best)

    def heads(self):
        host = urllib.parse.urlsplit(daemon.env["AWS_ENDPOINT_URL"]).netloc
        for number in range(CLIENTS):
            for method, key, more in (
                ("PUT", f"upload-{number}", "Content-Length: 8388608\r\n"),
                ("GET", "download", ""),
            ):
                url = urllib.parse.urlsplit(raw.presign(daemon, method, f"/{BUCKET}/{key}", seconds=3600))
                yield f"{method} {url.path}?{url.query} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()

    def test_they_cost_little_memory_few_threads_and_no_time_of_others(self):
        s3.put_object(Bucket=BUCKET, Key="download", Body=bytes(8 << 20))
        self.p99()
        before, rss = self.p99(), self.status("VmRSS") * 1024
        url = urllib.parse.urlsplit(daemon.env["AWS_ENDPOINT_URL"])
        slow = subprocess.Popen(
            [sys.executable, "slow_clients.py", url.hostname, str(url.port), daemon.env["AWS_CA_BUNDLE"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(slow.kill)
        threads, growth, sampling = [], [], True

        def sample():
            while sampling:
                threads.append(self.status("Threads"))
                growth.append(self.status("VmRSS") * 1024 - rss)
                time.sleep(0.1)

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            for head in self.heads():
                slow.stdin.write(base64.b64encode(head).decode() + "\n")
            slow.stdin.write("\n")
            slow.stdin.flush()
            self.assertEqual(slow.stdout.readline(), "ready\n")
            time.sleep(5)
            during = self.p99()
            slow.stdin.close()
            alive = int(slow.stdout.readline())
        finally:
            sampling = False
            sampler.join()
        slow.wait(timeout=60)
        print(
            f"{alive} of {2 * CLIENTS} streams, {max(threads)} threads, {max(growth) >> 20} MiB more,"
            f" p99 {before * 1000:.1f} ms before and {during * 1000:.1f} ms beside them",
            flush=True,
        )
        self.assertEqual(alive, 2 * CLIENTS, "streams were cut")
        self.assertLess(max(threads), THREADS)
        self.assertLess(max(growth), GROWTH)
        self.assertLess(during, FACTOR * before)


if __name__ == "__main__":
    unittest.main()
