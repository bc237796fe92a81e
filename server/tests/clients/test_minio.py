"""minio-py."""

import unittest

import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.error import S3Error
from minio.sse import SseCustomerKey, SseS3

from round_trip import Client, CustomerRoundTrip, Failed


class MinioPy(Client):
    def __init__(self, daemon, work):
        super().__init__(daemon, work)
        self.minio = Minio(
            endpoint=daemon.env["AWS_ENDPOINT_URL"].removeprefix("https://"),
            access_key=daemon.env["AWS_ACCESS_KEY_ID"],
            secret_key=daemon.env["AWS_SECRET_ACCESS_KEY"],
            region=daemon.env["AWS_REGION"],
            # Its own pool would try five times.
            http_client=urllib3.PoolManager(ca_certs=daemon.env["AWS_CA_BUNDLE"], retries=False),
        )

    def customer(self, sse):
        return SseCustomerKey(sse) if isinstance(sse, bytes) else None

    def write(self, sse):
        return SseS3() if isinstance(sse, str) else self.customer(sse)

    def make_bucket(self, bucket):
        self.minio.make_bucket(bucket_name=bucket)

    def put(self, path, bucket, key, sse=None):
        self.minio.fput_object(bucket_name=bucket, object_name=key, file_path=str(path), sse=self.write(sse))

    def get(self, bucket, key, path, sse=None):
        try:
            self.minio.fget_object(bucket_name=bucket, object_name=key, file_path=str(path), ssec=self.customer(sse))
        except S3Error as error:
            raise Failed(str(error)) from error

    def range(self, bucket, key, start, end, sse=None):
        reply = self.minio.get_object(
            bucket_name=bucket, object_name=key, offset=start, length=end - start, ssec=self.customer(sse)
        )
        with reply:
            return reply.read()

    def list(self, bucket, prefix):
        found = list(self.minio.list_objects(bucket_name=bucket, prefix=prefix))
        return (
            [entry.object_name for entry in found if not entry.is_dir],
            [entry.object_name for entry in found if entry.is_dir],
        )

    def copy(self, bucket, source, target, sse=None):
        source = CopySource(bucket_name=bucket, object_name=source, ssec=self.customer(sse))
        self.minio.copy_object(bucket_name=bucket, object_name=target, source=source, sse=self.write(sse))

    def encryption(self, bucket, key, sse=None):
        headers = self.minio.stat_object(bucket_name=bucket, object_name=key, ssec=self.customer(sse)).metadata
        name = "x-amz-server-side-encryption" + ("-customer-algorithm" if isinstance(sse, bytes) else "")
        return headers[name]

    def delete(self, bucket, key, sse=None):
        self.minio.remove_object(bucket_name=bucket, object_name=key)

    def remove_bucket(self, bucket):
        self.minio.remove_bucket(bucket_name=bucket)


class MinioRoundTrip(CustomerRoundTrip, unittest.TestCase):
    client = MinioPy


if __name__ == "__main__":
    unittest.main()
