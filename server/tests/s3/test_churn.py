"""Overwriters, readers and `strongroom verify` at once: no 5xx, no finding, every body whole.

CHURN_SECONDS sets the length: 15 unless given, 60 for the figures.
"""

import hashlib
import json
import os
import random
import subprocess
import threading
import time
import unittest
from collections import Counter

from botocore.exceptions import ClientError

from daemon import STRONGROOM, Daemon

BUCKET = "churn"
SECONDS = float(os.environ.get("CHURN_SECONDS", "15"))
# Objects of up to 16 KiB lie in the catalog, larger ones in blobs. Keys of "gone" are deleted and made again.
SIZES = {"inline": (1, 12_000), "blob": (20_000, 3_000_000), "gone": (1, 60_000)}
KEYS = [f"{kind}/{number}" for kind in SIZES for number in range(6)]


def setUpModule():
    global daemon
    daemon = Daemon()
    daemon.client().create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


def body(key, random):
    content = random.randbytes(random.randint(*SIZES[key.split("/")[0]]))
    return hashlib.sha256(content).digest() + content


def is_whole(content):
    return hashlib.sha256(content[32:]).digest() == content[:32]


class Churn(unittest.TestCase):
    def setUp(self):
        self.counts = Counter()
        self.faults = []
        self.end = time.monotonic() + SECONDS

    def worker(self, step, seed):
        client = daemon.client()
        generator = random.Random(seed)
        while time.monotonic() < self.end and not self.faults:
            try:
                self.counts[step(client, generator)] += 1
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is the result of the test
                self.faults.append(f"{step.__name__}: {fault!r}")

    def overwrite(self, client, generator):
        key = generator.choice(KEYS)
        if key.startswith("gone/") and generator.random() < 0.5:
            client.delete_object(Bucket=BUCKET, Key=key)
            return "deleted"
        client.put_object(Bucket=BUCKET, Key=key, Body=body(key, generator))
        return "written"

    def read(self, client, generator):
        key = generator.choice(KEYS)
        try:
            reply = client.get_object(Bucket=BUCKET, Key=key)
        except ClientError as error:
            if key.startswith("gone/") and error.response["Error"]["Code"] == "NoSuchKey":
                return "absent"
            raise
        content = reply["Body"].read()
        if len(content) != reply["ContentLength"] or not is_whole(content):
            raise AssertionError(f"{key}: {len(content)} bytes that were never written")
        if reply["ETag"].strip('"') != hashlib.md5(content).hexdigest():
            raise AssertionError(f"{key}: the headers of one object and the body of another")
        return "read"

    def verify(self, _client, _generator):
        run = subprocess.run(
            [STRONGROOM, "verify", "--json", "--dir", daemon.dir], capture_output=True, text=True, timeout=120
        )
        lines = run.stdout.splitlines()
        if run.returncode != 0 or len(lines) != 1:
            raise AssertionError(f"exit code {run.returncode}: {run.stdout}{run.stderr}")
        report = json.loads(lines[0])["report"]
        self.counts["verified objects"] += report["objects"]
        self.counts["changed under verify"] += report["changed"]
        return "verify runs"

    def test_every_body_is_whole_and_nothing_is_found(self):
        client = daemon.client()
        for key in KEYS:
            if not key.startswith("gone/"):
                client.put_object(Bucket=BUCKET, Key=key, Body=body(key, random.Random(key)))
        steps = [self.overwrite] * 2 + [self.read] * 4 + [self.verify]
        threads = [threading.Thread(target=self.worker, args=(step, seed)) for seed, step in enumerate(steps)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(dict(self.counts), flush=True)
        self.assertEqual(self.faults, [])
        for what in ("written", "deleted", "read", "absent", "verify runs", "verified objects"):
            self.assertGreater(self.counts[what], 0, what)

    def test_a_damaged_blob_is_a_finding(self):
        """The verify loop above can fail."""
        client = daemon.client()
        before = set(self.blobs())
        client.put_object(Bucket=BUCKET, Key="damaged", Body=bytes(100_000))
        (blob,) = set(self.blobs()) - before
        sealed = bytearray(blob.read_bytes())
        sealed[70_000] ^= 1
        blob.write_bytes(sealed)
        with self.assertRaisesRegex(AssertionError, "damaged"):
            self.verify(None, None)
        client.delete_object(Bucket=BUCKET, Key="damaged")

    def blobs(self):
        return [path for path in (daemon.dir / "data").rglob("*") if path.is_file() and path.stat().st_size > 90_000]


if __name__ == "__main__":
    unittest.main()
