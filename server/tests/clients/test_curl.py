"""curl, which signs by itself and leaves every header to us."""

import base64
import hashlib
import unittest
import xml.etree.ElementTree as ElementTree

from round_trip import Client, CustomerRoundTrip

SSE = "x-amz-server-side-encryption"


class Curl(Client):
    multipart = False

    def curl(self, url, *options, headers=()):
        # From a file: the arguments of a process are for everyone to read.
        (self.work / "headers").write_text("".join(f"{name}: {value}\n" for name, value in headers))
        env = self.daemon.env
        (self.work / "curlrc").write_text(f'user = "{env["AWS_ACCESS_KEY_ID"]}:{env["AWS_SECRET_ACCESS_KEY"]}"\n')
        return self.run(
            "curl", "--silent", "--show-error", "--fail", "--config", "curlrc", "--cacert", env["AWS_CA_BUNDLE"],
            "--aws-sigv4", f"aws:amz:{env['AWS_REGION']}:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
            "-H", "@headers", *options, env["AWS_ENDPOINT_URL"] + url,
        )

    def customer(self, sse, prefix="x-amz-"):
        if not isinstance(sse, bytes):
            return []
        name = f"{prefix}server-side-encryption-customer-"
        return [
            (name + "algorithm", "AES256"),
            (name + "key", base64.b64encode(sse).decode()),
            (name + "key-MD5", base64.b64encode(hashlib.md5(sse).digest()).decode()),
        ]

    def write(self, sse):
        return [(SSE, sse)] if isinstance(sse, str) else self.customer(sse)

    def make_bucket(self, bucket):
        self.curl(f"/{bucket}", "-X", "PUT")

    def put(self, path, bucket, key, sse=None):
        self.curl(f"/{bucket}/{key}", "-T", path, headers=self.write(sse))

    def get(self, bucket, key, path, sse=None):
        self.curl(f"/{bucket}/{key}", "-o", path, headers=self.customer(sse))

    def range(self, bucket, key, start, end, sse=None):
        return self.curl(f"/{bucket}/{key}", "-r", f"{start}-{end - 1}", headers=self.customer(sse))

    def list(self, bucket, prefix):
        # In order and encoded: it signs a query as it stands.
        query = f"delimiter=%2F&list-type=2&prefix={prefix.replace('/', '%2F')}"
        page = ElementTree.fromstring(self.curl(f"/{bucket}?{query}"))
        space = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}
        return (
            [entry.text for entry in page.findall("s3:Contents/s3:Key", space)],
            [entry.text for entry in page.findall("s3:CommonPrefixes/s3:Prefix", space)],
        )

    def copy(self, bucket, source, target, sse=None):
        headers = [("x-amz-copy-source", f"/{bucket}/{source}"), *self.customer(sse, "x-amz-copy-source-")]
        self.curl(f"/{bucket}/{target}", "-X", "PUT", headers=headers + self.write(sse))

    def encryption(self, bucket, key, sse=None):
        head = self.curl(f"/{bucket}/{key}", "--head", headers=self.customer(sse)).decode()
        lines = [line.partition(":") for line in head.splitlines()]
        found = {name.lower(): value.strip() for name, _, value in lines}
        return found[SSE + ("-customer-algorithm" if isinstance(sse, bytes) else "")]

    def delete(self, bucket, key, sse=None):
        self.curl(f"/{bucket}/{key}", "-X", "DELETE")

    def remove_bucket(self, bucket):
        self.curl(f"/{bucket}", "-X", "DELETE")


class CurlRoundTrip(CustomerRoundTrip, unittest.TestCase):
    client = Curl


if __name__ == "__main__":
    unittest.main()
