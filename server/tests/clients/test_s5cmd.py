"""s5cmd. It has no options for customer keys."""

import json
import unittest

from round_trip import Client, RoundTrip


class S5cmd(Client):
    def env(self):
        return super().env() | {"S3_ENDPOINT_URL": self.daemon.env["AWS_ENDPOINT_URL"]}

    def s5cmd(self, *words):
        return self.run("s5cmd", "--json", "--retry-count", "0", *words)

    def make_bucket(self, bucket):
        self.s5cmd("mb", f"s3://{bucket}")

    def put(self, path, bucket, key, sse=None):
        self.s5cmd("cp", "--part-size", "5", *(["--sse", sse] if sse else []), path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path, sse=None):
        self.s5cmd("cp", f"s3://{bucket}/{key}", path)

    def range(self, bucket, key, start, end, sse=None):
        # It asks for ranges, of 5 MiB here, and puts them together.
        self.s5cmd("cp", "--part-size", "5", f"s3://{bucket}/{key}", "pieces")
        return (self.work / "pieces").read_bytes()[start:end]

    def list(self, bucket, prefix):
        entries = [json.loads(line) for line in self.s5cmd("ls", f"s3://{bucket}/{prefix}").splitlines()]
        names = {kind: [] for kind in ("file", "directory")}
        for entry in entries:
            names[entry["type"]].append(entry["key"].removeprefix(f"s3://{bucket}/"))
        return names["file"], names["directory"]

    def copy(self, bucket, source, target, sse=None):
        self.s5cmd("cp", *(["--sse", sse] if sse else []), f"s3://{bucket}/{source}", f"s3://{bucket}/{target}")

    def encryption(self, bucket, key, sse=None):
        return json.loads(self.s5cmd("head", f"s3://{bucket}/{key}"))["server_side_encryption"]

    def delete(self, bucket, key, sse=None):
        self.s5cmd("rm", f"s3://{bucket}/{key}")

    def remove_bucket(self, bucket):
        self.s5cmd("rb", f"s3://{bucket}")


class S5cmdRoundTrip(RoundTrip, unittest.TestCase):
    client = S5cmd


if __name__ == "__main__":
    unittest.main()
