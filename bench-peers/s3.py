#!/usr/bin/env python3
"""P10 and P12: the S3 face with encryption beside the same daemon with plain objects.

    bench-peers/s3.py                 below the temporary directory
    TMPDIR=/dev/shm bench-peers/s3.py with no disk under it, where nothing hides the cipher

Needs target/release/strongroom (or STRONGROOM) and the Python clients of `.ci/setup test`. One curl
asks for a plain and a sealed object in turn (A B A B); a pair's ratio is the plain time by the sealed one, so 1 is free
encryption. The interval is that of the median of all pairs, 95 % by bootstrap. CPU seconds are the daemon's own, of runs
of one kind in turns. Customer keys go over TLS only, so all transfers do: on one connection, but beside customer keys on
one each, since the daemon closes a connection that carried a key.
"""

import base64
import hashlib
import os
import random
import statistics
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("STRONGROOM", str(ROOT / "target/release/strongroom"))
sys.path.insert(0, str(ROOT / "server/tests/s3"))

from daemon import Daemon, free_port  # noqa: E402

PAIRS = int(os.environ.get("PAIRS", "24"))
CUSTOMER_KEY = os.urandom(32)
CUSTOMER = {
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": base64.b64encode(CUSTOMER_KEY).decode(),
    "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(CUSTOMER_KEY).digest()).decode(),
}
# Kind: bucket, key, encryption.
PLAIN = ("plain", "object", {})
MANAGED = ("sealed", "managed", {})
OF_CUSTOMER = ("sealed", "customer", CUSTOMER)
HEADERS = [("algorithm", "SSECustomerAlgorithm"), ("key", "SSECustomerKey"), ("key-MD5", "SSECustomerKeyMD5")]
SIZES = {"64 MiB": 64 << 20, "4 KiB": 4 << 10}
FREE_FROM = 0.97
HSM_CALLS = "strongroom_hsm_calls_total"


class Bench:
    def __init__(self):
        self.daemon = Daemon()
        self.admin = f"127.0.0.1:{free_port()}"
        self.daemon.configure(lambda text: text.replace("[listen]", f'[listen]\nadmin = "{self.admin}"'))
        self.s3 = s3 = self.daemon.client(signature_version="s3v4")
        for bucket in ("plain", "sealed"):
            s3.create_bucket(Bucket=bucket)
        allow = [os.environ["STRONGROOM"], "--dir", self.daemon.dir, "bucket", "plaintext", "allow", "plain"]
        subprocess.run(allow, check=True, stdout=subprocess.DEVNULL)
        s3.put_object(Bucket="plain", Key="check", Body=b"")
        stored = s3.head_object(Bucket="plain", Key="check")
        assert "ServerSideEncryption" not in stored, "the plain side is plain"

    def curl(self, way, body, kinds):
        """Seconds of each transfer, all on one connection or each on its own."""
        blocks = []
        alone = any(encryption for _, _, encryption in kinds)
        for bucket, key, encryption in kinds:
            call = {"PUT": "put_object", "GET": "get_object"}[way]
            url = self.s3.generate_presigned_url(call, {"Bucket": bucket, "Key": key, **encryption})
            lines = [
                f'url = "{url}"',
                f'cacert = "{self.daemon.env["AWS_CA_BUNDLE"]}"',
                'header = "expect:"',
                *(['header = "connection: close"'] if alone else []),
                'output = "/dev/null"',
                r'write-out = "%{http_code} %{num_connects} %{time_total}\n"',
                *(f'header = "x-amz-server-side-encryption-customer-{name}: {encryption[of]}"' for name, of in HEADERS if encryption),
                *([f'upload-file = "{body}"'] if way == "PUT" else []),
            ]
            blocks.append("\n".join(lines))
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--config", "-"],
            input="\nnext\n".join(blocks).encode(),
            capture_output=True,
            check=True,
        )
        lines = [line.split() for line in done.stdout.decode().splitlines()]
        assert len(lines) == len(kinds) and all(line[0] == "200" for line in lines), done
        connections = sum(int(line[1]) for line in lines)
        assert connections == (len(kinds) if alone else 1), f"{connections} connections"
        return [float(line[2]) for line in lines]

    def pairs(self, way, body, sealed):
        """Plain time by sealed time, pair by pair; the first pair makes connection and caches warm."""
        times = self.curl(way, body, [PLAIN, sealed] * (PAIRS + 1))[2:]
        return [plain / ours for plain, ours in zip(times[::2], times[1::2])], times

    def cpu_of(self, way, body, kind, times):
        before = self.cpu()
        self.curl(way, body, [kind] * times)
        return self.cpu() - before

    def cpu(self):
        fields = Path(f"/proc/{self.daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def hsm_calls(self):
        with urllib.request.urlopen(f"http://{self.admin}/metrics") as reply:
            lines = reply.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(HSM_CALLS))


def interval(ratios):
    """The median, and where it lies with 95 %."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), medians[50], medians[-51]


def main():
    bench = Bench()
    try:
        print("| | work | plain, ms | sealed, ms | speed against plain (95 %) | CPU against plain | |")
        print("|---|---|---:|---:|---|---:|---|")
        for size, length in SIZES.items():
            body = bench.daemon.root / "body"
            body.write_bytes(os.urandom(length))
            for way in ("PUT", "GET"):
                for name, sealed in (("SSE-S3", MANAGED), ("SSE-C", OF_CUSTOMER)):
                    row(bench, size, length, body, way, name, sealed)
        calls = bench.hsm_calls()
        assert calls > 0, "the counter counts"
        body.write_bytes(os.urandom(4096))
        for way in ("PUT", "GET"):
            bench.curl(way, body, [MANAGED] * 1000)
        print(f"\nP12: {bench.hsm_calls() - calls:.0f} HSM calls for 1,000 PUTs and 1,000 GETs of a warm bucket")
    finally:
        bench.daemon.close()


def row(bench, size, length, body, way, name, sealed):
    ratios, times = bench.pairs(way, body, sealed)
    median, low, high = interval(ratios)
    cpu = ""
    if length > 1 << 20:
        spent = {kind: 0.0 for kind in ("plain", "sealed")}
        for _ in range(3):
            spent["plain"] += bench.cpu_of(way, body, PLAIN, 8)
            spent["sealed"] += bench.cpu_of(way, body, sealed, 8)
        cpu = f"{spent['sealed'] / spent['plain']:.2f}"
    plain, ours = min(times[::2]) * 1000, min(times[1::2]) * 1000
    verdict = "holds" if high >= FREE_FROM else "short"
    print(f"| P10 | {way} {size}, {name} | {plain:.1f} | {ours:.1f} | {median:.3f} ({low:.3f} to {high:.3f}) | {cpu} | {verdict} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
