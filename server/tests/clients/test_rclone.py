"""rclone, configured by its environment."""

import re
import unittest

from round_trip import Client, CustomerRoundTrip


class Rclone(Client):
    sse = None

    def env(self):
        env = super().env()
        # It refuses to start with this one, and has its own.
        env["RCLONE_CA_CERT"] = env.pop("AWS_CA_BUNDLE")
        env |= {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_STRONGROOM_TYPE": "s3",
            "RCLONE_CONFIG_STRONGROOM_PROVIDER": "Other",
            "RCLONE_CONFIG_STRONGROOM_ENV_AUTH": "true",
            "RCLONE_CONFIG_STRONGROOM_ENDPOINT": env["AWS_ENDPOINT_URL"],
            "RCLONE_CONFIG_STRONGROOM_REGION": env["AWS_REGION"],
        }
        if isinstance(self.sse, bytes):
            env["RCLONE_S3_SSE_CUSTOMER_ALGORITHM"] = "AES256"
            env["RCLONE_S3_SSE_CUSTOMER_KEY"] = self.sse.decode()
        elif self.sse:
            env["RCLONE_S3_SERVER_SIDE_ENCRYPTION"] = self.sse
        return env

    def rclone(self, *words, sse=None):
        self.sse = sse
        return self.run("rclone", "--retries", "1", *words)

    def make_bucket(self, bucket):
        self.rclone("mkdir", f"strongroom:{bucket}")

    def put(self, path, bucket, key, sse=None):
        self.rclone("--s3-upload-cutoff", "8Mi", "copyto", path, f"strongroom:{bucket}/{key}", sse=sse)

    def get(self, bucket, key, path, sse=None):
        self.rclone("copyto", f"strongroom:{bucket}/{key}", path, sse=sse)

    def range(self, bucket, key, start, end, sse=None):
        return self.rclone(
            "cat", "--offset", start, "--count", end - start, f"strongroom:{bucket}/{key}", sse=sse
        )

    def list(self, bucket, prefix):
        names = [prefix + name for name in self.rclone("lsf", f"strongroom:{bucket}/{prefix}").decode().splitlines()]
        return [name for name in names if not name.endswith("/")], [name for name in names if name.endswith("/")]

    def copy(self, bucket, source, target, sse=None):
        self.rclone("copyto", f"strongroom:{bucket}/{source}", f"strongroom:{bucket}/{target}", sse=sse)

    def encryption(self, bucket, key, sse=None):
        self.rclone("-vv", "--dump", "headers", "lsjson", "--stat", f"strongroom:{bucket}/{key}", sse=sse)
        name = "X-Amz-Server-Side-Encryption" + ("-Customer-Algorithm" if isinstance(sse, bytes) else "")
        replies = self.log.split("HTTP RESPONSE")
        return re.search(rf"{name}: (\S+)", replies[-1])[1]

    def delete(self, bucket, key, sse=None):
        # It looks at the object first.
        self.rclone("deletefile", f"strongroom:{bucket}/{key}", sse=sse)

    def remove_bucket(self, bucket):
        self.rclone("rmdir", f"strongroom:{bucket}")


class RcloneRoundTrip(CustomerRoundTrip, unittest.TestCase):
    client = Rclone


if __name__ == "__main__":
    unittest.main()
