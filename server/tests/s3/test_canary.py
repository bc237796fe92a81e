"""What rests on the disk: a canary goes in, and nothing of it may be found below the directory."""

import base64
import hashlib
import os
import unittest

from daemon import Daemon


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket="canary")


def tearDownModule():
    daemon.close()


def forms(secret):
    return {secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)}


class Canary(unittest.TestCase):
    def test_no_plaintext_no_md5_no_key(self):
        key = os.urandom(32)
        small = b"canary-" + os.urandom(24).hex().encode()
        large = small * 10_000
        customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
        for name, body in (("small", small), ("large", large)):
            s3.put_object(Bucket="canary", Key=name, Body=body, ChecksumAlgorithm="SHA256")
            s3.put_object(Bucket="canary", Key=f"{name}-mine", Body=body, ChecksumAlgorithm="SHA256", **customer)
            s3.copy_object(Bucket="canary", Key=f"{name}-copy", CopySource=f"canary/{name}")
        forbidden = {small} | forms(key) | forms(hashlib.md5(key).digest())
        for body in (small, large):
            forbidden |= forms(hashlib.md5(body).digest()) | forms(hashlib.sha256(body).digest())
        files = [path for path in daemon.dir.rglob("*") if path.is_file()]
        self.assertGreater(len(files), 5)
        for path in files:
            content = path.read_bytes()
            for secret in forbidden:
                self.assertNotIn(secret, content, path)
        # The search can find: names are not secret, and are there.
        self.assertTrue(any(b"large-copy" in path.read_bytes() for path in files))


if __name__ == "__main__":
    unittest.main()
