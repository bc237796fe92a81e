"""The AWS SDK for JavaScript, through `s3.cjs`."""

import json
import os
import unittest
from pathlib import Path

from round_trip import Client, CustomerRoundTrip


class JavaScript(Client):
    sse = None

    def env(self):
        env = super().env()
        env["NODE_EXTRA_CA_CERTS"] = env["AWS_CA_BUNDLE"]
        env["NODE_PATH"] = os.environ["NODE_PATH"]
        if isinstance(self.sse, bytes):
            (self.work / "key").write_bytes(self.sse)
            env["SSE"] = "key"
        elif self.sse:
            env["SSE"] = self.sse
        return env

    def node(self, *words, sse=None):
        self.sse = sse
        return self.run("node", Path(__file__).with_name("s3.cjs"), *words)

    def make_bucket(self, bucket):
        self.node("mb", bucket)

    def put(self, path, bucket, key, sse=None):
        self.node("put", path, bucket, key, sse=sse)

    def get(self, bucket, key, path, sse=None):
        self.node("get", bucket, key, path, sse=sse)

    def range(self, bucket, key, start, end, sse=None):
        return self.node("range", bucket, key, start, end, sse=sse)

    def list(self, bucket, prefix):
        return tuple(json.loads(self.node("list", bucket, prefix)))

    def copy(self, bucket, source, target, sse=None):
        self.node("copy", bucket, source, target, sse=sse)

    def encryption(self, bucket, key, sse=None):
        head = json.loads(self.node("head", bucket, key, sse=sse))
        return head["SSECustomerAlgorithm" if isinstance(sse, bytes) else "ServerSideEncryption"]

    def delete(self, bucket, key, sse=None):
        self.node("rm", bucket, key)

    def remove_bucket(self, bucket):
        self.node("rb", bucket)


class JavaScriptRoundTrip(CustomerRoundTrip, unittest.TestCase):
    client = JavaScript


if __name__ == "__main__":
    unittest.main()
