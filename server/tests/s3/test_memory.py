"""What is left in the daemon's memory when its requests are over: no customer key, no PIN outside locked pages.

MEMORY_REQUESTS sets the number of requests of each kind: 200 unless given.
"""

import base64
import hashlib
import http.client
import os
import ssl
import time
import unittest
import urllib.parse

import memory
import raw
from daemon import Daemon

BUCKET = "memory"
REQUESTS = int(os.environ.get("MEMORY_REQUESTS", "200"))
# All customer keys of a run begin with the same bytes: one search finds any of them.
COMMON = os.urandom(15)


def setUpModule():
    global daemon
    daemon = Daemon()
    daemon.client().create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


def customer(key, prefix="x-amz-"):
    return {
        f"{prefix}server-side-encryption-customer-algorithm": "AES256",
        f"{prefix}server-side-encryption-customer-key": base64.b64encode(key).decode(),
        f"{prefix}server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


def new_key():
    return COMMON + os.urandom(32 - len(COMMON))


def key_forms():
    return {
        "raw": COMMON,
        "base64": base64.b64encode(COMMON),
        "hex": COMMON.hex().encode(),
        "HEX": COMMON.hex().upper().encode(),
    }


class Memory(unittest.TestCase):
    def requests(self, kind):
        """PUT, GET, HEAD and COPY in turn, small objects and ones of several batches."""
        for turn in range(REQUESTS // 4):
            body = os.urandom(3_000_000 if turn % 25 == 3 else 20_000 if turn % 2 else 100)
            key = new_key()
            mine = customer(key) if kind == "customer" else {}
            source = customer(key, "x-amz-copy-source-") | customer(new_key()) if kind == "customer" else {}
            path = f"/{BUCKET}/{kind}-{turn}"
            self.assertEqual(raw.request(daemon, "PUT", path, mine, body).status, 200)
            self.assertEqual(raw.request(daemon, "GET", path, mine).body, body)
            self.assertEqual(raw.request(daemon, "HEAD", path, mine).status, 200)
            reply = raw.request(daemon, "PUT", f"{path}-copy", {"x-amz-copy-source": path[1:]} | source)
            self.assertEqual(reply.status, 200, reply.body)

    def test_no_customer_key_is_left(self):
        self.requests("managed")
        self.requests("customer")
        # Refused requests brought a key as well.
        wrong = customer(new_key())
        self.assertEqual(raw.request(daemon, "GET", f"/{BUCKET}/customer-0", wrong).status // 100, 4)
        mismatch = customer(new_key()) | {"x-amz-server-side-encryption-customer-key-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
        self.assertEqual(raw.request(daemon, "PUT", f"/{BUCKET}/never", mismatch, b"x").status, 400)
        time.sleep(0.1)
        self.assertEqual(memory.search(daemon.process.pid, key_forms()), [])

        # The search finds a key that is in use: a request whose body has not come yet.
        connection = self.unfinished()
        time.sleep(0.3)
        forms = {name for name, _, _ in memory.search(daemon.process.pid, key_forms())}
        self.assertIn("base64", forms)
        # And when the client gives up in the middle, that one is gone too.
        connection.close()
        time.sleep(0.1)
        self.assertEqual(memory.search(daemon.process.pid, key_forms()), [])

    def unfinished(self):
        headers = customer(new_key())
        url = urllib.parse.urlsplit(raw.presign(daemon, "PUT", f"/{BUCKET}/unfinished", headers))
        context = ssl.create_default_context(cafile=daemon.env["AWS_CA_BUNDLE"])
        connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=10)
        connection.putrequest("PUT", f"{url.path}?{url.query}")
        for name, value in (headers | {"Content-Length": "1000000"}).items():
            connection.putheader(name, value)
        connection.endheaders(b"the beginning")
        return connection

    def test_the_pin_lies_in_locked_memory_only(self):
        pin = (daemon.dir / "token" / "pin").read_bytes().strip()
        self.requests("managed")
        needles = {"pin": pin, "access key": daemon.env["AWS_ACCESS_KEY_ID"].encode()}
        time.sleep(0.1)
        hits = memory.search(daemon.process.pid, needles)
        self.assertIn("access key", {name for name, _, _ in hits}, "the search finds what is not secret")
        self.assertEqual([hit for hit in hits if hit[0] == "pin" and not hit[2]], [])


if __name__ == "__main__":
    unittest.main()
