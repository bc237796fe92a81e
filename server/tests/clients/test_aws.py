"""The aws command line."""

import json
import unittest

from round_trip import Client, CustomerRoundTrip


class Aws(Client):
    def s3(self, *words):
        return self.run("aws", "s3", *words)

    def api(self, operation, *words):
        return json.loads(self.run("aws", "s3api", operation, "--output", "json", *words) or "{}")

    def customer(self, sse, algorithm="--sse-c", key="--sse-c-key"):
        """The options of a customer key, from a file so that no list of processes shows it."""
        if not isinstance(sse, bytes):
            return []
        (self.work / "key").write_bytes(sse)
        return [algorithm, "AES256", key, "fileb://key"]

    def customer_of_api(self, sse):
        return self.customer(sse, "--sse-customer-algorithm", "--sse-customer-key")

    def write(self, sse):
        return ["--sse", sse] if isinstance(sse, str) else self.customer(sse)

    def make_bucket(self, bucket):
        self.s3("mb", f"s3://{bucket}")

    def put(self, path, bucket, key, sse=None):
        self.s3("cp", path, f"s3://{bucket}/{key}", *self.write(sse))

    def get(self, bucket, key, path, sse=None):
        self.s3("cp", f"s3://{bucket}/{key}", path, *self.customer(sse))

    def range(self, bucket, key, start, end, sse=None):
        self.api(
            "get-object", "--bucket", bucket, "--key", key, "--range", f"bytes={start}-{end - 1}", "piece",
            *self.customer_of_api(sse),
        )
        return (self.work / "piece").read_bytes()

    def list(self, bucket, prefix):
        lines = self.s3("ls", f"s3://{bucket}/{prefix}").decode().splitlines()
        keys = [prefix + line.split()[-1] for line in lines if not line.lstrip().startswith("PRE ")]
        return keys, [prefix + line.split()[-1] for line in lines if line.lstrip().startswith("PRE ")]

    def copy(self, bucket, source, target, sse=None):
        self.s3(
            "cp", f"s3://{bucket}/{source}", f"s3://{bucket}/{target}",
            *self.customer(sse, "--sse-c-copy-source", "--sse-c-copy-source-key"), *self.write(sse),
        )

    def encryption(self, bucket, key, sse=None):
        head = self.api("head-object", "--bucket", bucket, "--key", key, *self.customer_of_api(sse))
        return head["SSECustomerAlgorithm" if isinstance(sse, bytes) else "ServerSideEncryption"]

    def delete(self, bucket, key, sse=None):
        self.s3("rm", f"s3://{bucket}/{key}")

    def remove_bucket(self, bucket):
        self.s3("rb", f"s3://{bucket}")


class AwsRoundTrip(CustomerRoundTrip, unittest.TestCase):
    client = Aws


if __name__ == "__main__":
    unittest.main()
