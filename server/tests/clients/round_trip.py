"""The round trip that every client makes with a development daemon over TLS, under managed and customer keys.

A client's module names its commands in a subclass of `Client`; what they must have done is checked here, by what the
client itself says and by a second client.
"""

import base64
import hashlib
import os
import secrets
import subprocess
import tempfile
from pathlib import Path

from daemon import Daemon

LARGE = 20 << 20
# Over the ends of parts of 5, 8, 10 and 15 MiB, and of every segment size.
RANGE = ((5 << 20) - 8, (16 << 20) + 8)
MANAGED = "AES256"


class Client:
    """What a client can be told to do. `sse` is None, `MANAGED`, or a customer key of 32 bytes."""

    # Whether it sends the large file in parts.
    multipart = True

    def __init__(self, daemon, work):
        self.daemon, self.work = daemon, work

    def make_bucket(self, bucket):
        raise NotImplementedError

    def put(self, path, bucket, key, sse=None):
        raise NotImplementedError

    def get(self, bucket, key, path, sse=None):
        raise NotImplementedError

    def range(self, bucket, key, start, end, sse=None):
        """The bytes from `start` to before `end`."""
        raise NotImplementedError

    def list(self, bucket, prefix):
        """The keys, and the common prefixes at the delimiter `/`, of what begins with `prefix`."""
        raise NotImplementedError

    def copy(self, bucket, source, target, sse=None):
        raise NotImplementedError

    def encryption(self, bucket, key, sse=None):
        """The encryption that a HEAD shows."""
        raise NotImplementedError

    def delete(self, bucket, key, sse=None):
        raise NotImplementedError

    def remove_bucket(self, bucket):
        raise NotImplementedError

    def env(self):
        return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | self.daemon.env

    def run(self, *command):
        """Standard output of a command that succeeds."""
        done = subprocess.run([str(word) for word in command], env=self.env(), cwd=self.work, capture_output=True)
        self.log = done.stderr.decode()
        if done.returncode != 0:
            raise Failed(f"{command}: {self.log}")
        return done.stdout


class Failed(Exception):
    """The client ended with an error."""


class RoundTrip:
    """The tests of a client without customer keys. Mix into a `unittest.TestCase` that names its `client`."""

    client = None

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.close)
        work = tempfile.TemporaryDirectory(prefix="strongroom-client-")
        cls.addClassCleanup(work.cleanup)
        cls.work = Path(work.name)
        cls.tool = cls.client(cls.daemon, cls.work)
        cls.witness = cls.daemon.client()
        (cls.work / "small").write_bytes(b"meet me at noon\n")
        (cls.work / "large").write_bytes(os.urandom(LARGE))

    def file(self, name):
        return (self.work / name).read_bytes()

    def same(self, bucket, key, name, sse=None):
        back = self.work / "back"
        back.unlink(missing_ok=True)
        self.tool.get(bucket, key, back, sse)
        self.assertTrue(back.read_bytes() == self.file(name), f"{key} came back different")

    def round_trip(self, bucket, sse):
        tool, keys = self.tool, ("docs/small", "docs/deep/large", "copied")
        tool.make_bucket(bucket)
        tool.put(self.work / "small", bucket, "docs/small", sse)
        tool.put(self.work / "large", bucket, "docs/deep/large", sse)
        self.same(bucket, "docs/small", "small", sse)
        self.same(bucket, "docs/deep/large", "large", sse)
        start, end = RANGE
        self.assertTrue(tool.range(bucket, "docs/deep/large", start, end, sse) == self.file("large")[start:end])
        self.assertEqual(tool.list(bucket, "docs/"), (["docs/small"], ["docs/deep/"]))
        tool.copy(bucket, "docs/deep/large", "copied", sse)
        self.same(bucket, "copied", "large", sse)
        for key in keys:
            self.assertEqual(tool.encryption(bucket, key, sse), "AES256")
            self.witness_sees(bucket, key, sse)
        parts = self.witness.list_objects_v2(Bucket=bucket, Prefix="docs/deep/")["Contents"][0]["ETag"]
        self.assertEqual("-" in parts, tool.multipart, parts)
        for key in keys:
            tool.delete(bucket, key, sse)
        self.assertEqual(self.witness.list_objects_v2(Bucket=bucket)["KeyCount"], 0)
        tool.remove_bucket(bucket)
        self.assertNotIn(bucket, [found["Name"] for found in self.witness.list_buckets()["Buckets"]])

    def witness_sees(self, bucket, key, sse):
        """What protects the object is what was asked for."""
        if not isinstance(sse, bytes):
            self.assertEqual(self.witness.head_object(Bucket=bucket, Key=key)["ServerSideEncryption"], "AES256")
            return
        head = self.witness.head_object(Bucket=bucket, Key=key, SSECustomerAlgorithm="AES256", SSECustomerKey=sse)
        self.assertEqual(head["SSECustomerKeyMD5"], base64.b64encode(hashlib.md5(sse).digest()).decode())
        self.assertNotIn("ServerSideEncryption", head)

    def test_round_trip_without_asking_for_anything(self):
        self.round_trip("round-trip", None)

    def test_asking_for_managed_keys_by_name(self):
        self.tool.make_bucket("by-name")
        self.tool.put(self.work / "small", "by-name", "named", MANAGED)
        self.tool.copy("by-name", "named", "copied", MANAGED)
        for key in ("named", "copied"):
            self.same("by-name", key, "small")
            self.assertEqual(self.tool.encryption("by-name", key), "AES256")


class CustomerRoundTrip(RoundTrip):
    """The tests of a client that takes customer keys too."""

    def test_round_trip_under_a_customer_key(self):
        self.round_trip("customer", customer_key())

    def test_without_the_key_or_with_another_there_is_nothing(self):
        key = customer_key()
        self.tool.make_bucket("refused")
        self.tool.put(self.work / "small", "refused", "mine", key)
        for wrong in (None, customer_key()):
            with self.assertRaises(Failed):
                self.tool.get("refused", "mine", self.work / "back", wrong)
        self.same("refused", "mine", "small", key)


def customer_key():
    """32 bytes that are text, for those clients that take no other."""
    return secrets.token_hex(16).encode()
