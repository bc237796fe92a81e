"""s3cmd. It sends customer keys with nothing but uploads, so it is a client of managed keys."""

import re
import unittest

from round_trip import Client, RoundTrip


class S3cmd(Client):
    def __init__(self, daemon, work):
        super().__init__(daemon, work)
        endpoint = daemon.env["AWS_ENDPOINT_URL"].removeprefix("https://")
        (work / "s3cfg").write_text(
            "[default]\n"
            f"access_key = {daemon.env['AWS_ACCESS_KEY_ID']}\n"
            f"secret_key = {daemon.env['AWS_SECRET_ACCESS_KEY']}\n"
            f"host_base = {endpoint}\n"
            f"host_bucket = {endpoint}\n"
            f"ca_certs_file = {daemon.env['AWS_CA_BUNDLE']}\n"
            f"bucket_location = {daemon.env['AWS_REGION']}\n"
        )

    def s3cmd(self, *words):
        return self.run("s3cmd", "-c", "s3cfg", "--no-progress", *words).decode()

    def make_bucket(self, bucket):
        self.s3cmd("mb", f"s3://{bucket}")

    def put(self, path, bucket, key, sse=None):
        named = ["--server-side-encryption"] if sse else []
        self.s3cmd("put", *named, path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path, sse=None):
        self.s3cmd("get", f"s3://{bucket}/{key}", path)

    def range(self, bucket, key, start, end, sse=None):
        # The ranges it can ask for are those that finish a download.
        (self.work / "partial").write_bytes(bytes(start))
        self.s3cmd("get", "--continue", f"s3://{bucket}/{key}", "partial")
        return (self.work / "partial").read_bytes()[start:end]

    def list(self, bucket, prefix):
        words = [line.split() for line in self.s3cmd("ls", f"s3://{bucket}/{prefix}").splitlines()]
        names = [(line[0] == "DIR", line[-1].removeprefix(f"s3://{bucket}/")) for line in words]
        return [name for is_prefix, name in names if not is_prefix], [name for is_prefix, name in names if is_prefix]

    def copy(self, bucket, source, target, sse=None):
        named = ["--server-side-encryption"] if sse else []
        self.s3cmd("cp", *named, f"s3://{bucket}/{source}", f"s3://{bucket}/{target}")

    def encryption(self, bucket, key, sse=None):
        return re.search(r"SSE: +(\S+)", self.s3cmd("info", f"s3://{bucket}/{key}"))[1]

    def delete(self, bucket, key, sse=None):
        self.s3cmd("del", f"s3://{bucket}/{key}")

    def remove_bucket(self, bucket):
        self.s3cmd("rb", f"s3://{bucket}")


class S3cmdRoundTrip(RoundTrip, unittest.TestCase):
    client = S3cmd


if __name__ == "__main__":
    unittest.main()
