"""UpdateObjectEncryption: another key for the same bytes."""

import os
import re
import unittest

from botocore.exceptions import ClientError

from daemon import Daemon

BUCKET = "update-encryption"


def setUpModule():
    global daemon, s3, arn
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket=BUCKET)
    [_, root] = re.findall(r'root = "([0-9a-f]{32})"', (daemon.dir / "strongroom.toml").read_text())
    uuid = "-".join((root[:8], root[8:12], root[12:16], root[16:20], root[20:]))
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{uuid}"


def tearDownModule():
    daemon.close()


class UpdateObjectEncryption(unittest.TestCase):
    def update(self, key, kms_key=None, **arguments):
        wanted = {"SSEKMS": {"KMSKeyArn": kms_key or arn}}
        return s3.update_object_encryption(Bucket=BUCKET, Key=key, ObjectEncryption=wanted, **arguments)

    def test_bytes_etag_and_dates_stay(self):
        body = os.urandom(200_000)
        s3.put_object(Bucket=BUCKET, Key="k", Body=body, Metadata={"m": "1"}, Tagging="t=1")
        before = s3.head_object(Bucket=BUCKET, Key="k")
        self.assertEqual(before["ServerSideEncryption"], "AES256")
        self.update("k")
        after = s3.get_object(Bucket=BUCKET, Key="k")
        self.assertEqual((after["ServerSideEncryption"], after["SSEKMSKeyId"]), ("aws:kms", arn))
        self.assertEqual(after["Body"].read(), body)
        for name in ("ETag", "LastModified", "Metadata", "TagCount"):
            self.assertEqual(before.get(name, after[name]), after[name], name)

    def test_what_cannot_be_updated(self):
        s3.put_object(Bucket=BUCKET, Key="c", Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey=os.urandom(32))
        s3.put_object(Bucket=BUCKET, Key="m", Body=b"x")
        for arguments, status, code in (
            (("c",), 400, "InvalidRequest"),
            (("nothing",), 404, "NoSuchKey"),
            (("m", arn[:-4] + "0000"), 400, "KMS.NotFoundException"),
        ):
            with self.assertRaises(ClientError) as refused:
                self.update(*arguments)
            response = refused.exception.response
            self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))


if __name__ == "__main__":
    unittest.main()
