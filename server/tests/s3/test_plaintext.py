"""Plain objects: only where an operator opened a bucket for them, and never by accident."""

import hashlib
import json
import os
import subprocess
import unittest

from botocore.exceptions import ClientError

import raw
from daemon import STRONGROOM, Daemon

MARK = b"this stands readable on the disk, or it does not; "
HEADERS = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm")


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()


def tearDownModule():
    daemon.close()


def command(*arguments):
    return subprocess.run(
        [STRONGROOM, "bucket", "plaintext", *arguments, "--dir", daemon.dir], capture_output=True, text=True
    )


def on_disk(mark):
    """Whether the mark stands in any file below the daemon's directory."""
    return any(mark in file.read_bytes() for file in daemon.dir.rglob("*") if file.is_file())


class Plaintext(unittest.TestCase):
    def bucket(self, name, opened=True):
        s3.create_bucket(Bucket=name)
        if opened:
            done = command("allow", name)
            self.assertEqual(done.returncode, 0, done.stderr)
        return name

    def headers(self, method, path):
        reply = raw.request(daemon, method, path)
        self.assertEqual(reply.status, 200)
        return [name for name in HEADERS if name in reply.headers]

    def test_an_opened_bucket_stores_what_asks_for_nothing_plain_and_says_nothing_of_encryption(self):
        bucket = self.bucket("opened")
        mark = MARK + os.urandom(8).hex().encode()
        body = mark * 2000
        put = s3.put_object(Bucket=bucket, Key="k", Body=body)
        self.assertNotIn("ServerSideEncryption", put)
        self.assertEqual(put["ETag"].strip('"'), hashlib.md5(body).hexdigest())
        self.assertEqual(self.headers("GET", f"/{bucket}/k") + self.headers("HEAD", f"/{bucket}/k"), [])
        self.assertEqual(s3.get_object(Bucket=bucket, Key="k")["Body"].read(), body)
        self.assertTrue(on_disk(mark))
        with self.assertRaises(ClientError) as refused:
            s3.get_bucket_encryption(Bucket=bucket)
        self.assertEqual(refused.exception.response["Error"]["Code"], "ServerSideEncryptionConfigurationNotFoundError")

    def test_it_is_authenticated_all_the_same(self):
        bucket = self.bucket("authenticated")
        mark = MARK + os.urandom(8).hex().encode()
        s3.put_object(Bucket=bucket, Key="k", Body=mark * 2000)
        [blob] = [file for file in (daemon.dir / "data").rglob("*") if file.is_file() and mark in file.read_bytes()]
        content = blob.read_bytes()
        blob.chmod(0o600)
        blob.write_bytes(content.replace(mark, mark.replace(b"readable", b"READABLE"), 1))
        with self.assertRaises(ClientError) as refused:
            s3.get_object(Bucket=bucket, Key="k")
        self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 500)

    def test_who_asks_for_encryption_gets_it(self):
        bucket = self.bucket("asking")
        mark = MARK + os.urandom(8).hex().encode()
        put = s3.put_object(Bucket=bucket, Key="managed", Body=mark, ServerSideEncryption="AES256")
        self.assertEqual(put["ServerSideEncryption"], "AES256")
        key = os.urandom(32)
        s3.put_object(Bucket=bucket, Key="customer", Body=mark, SSECustomerAlgorithm="AES256", SSECustomerKey=key)
        # A default that the bucket has is asking, too.
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
        self.assertEqual(s3.put_object(Bucket=bucket, Key="default", Body=mark)["ServerSideEncryption"], "AES256")
        self.assertFalse(on_disk(mark))

    def test_copies_between_sealed_and_plain(self):
        plain, sealed = self.bucket("plain-side"), self.bucket("sealed-side", opened=False)
        s3.put_object(Bucket=sealed, Key="k", Body=b"x")
        copy = s3.copy_object(Bucket=plain, Key="k", CopySource=f"{sealed}/k")
        self.assertNotIn("ServerSideEncryption", copy)
        back = s3.copy_object(Bucket=sealed, Key="back", CopySource=f"{plain}/k")
        self.assertEqual(back["ServerSideEncryption"], "AES256")
        self.assertEqual(s3.get_object(Bucket=sealed, Key="back")["Body"].read(), b"x")

    def test_closing_seals_what_comes_and_leaves_what_is_there(self):
        bucket = self.bucket("closing")
        s3.put_object(Bucket=bucket, Key="before", Body=b"x")
        done = command("deny", bucket)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(s3.put_object(Bucket=bucket, Key="after", Body=b"x")["ServerSideEncryption"], "AES256")
        self.assertEqual(self.headers("GET", f"/{bucket}/before"), [])

    def test_no_bucket_is_open_by_itself(self):
        bucket = self.bucket("closed", opened=False)
        mark = MARK + os.urandom(8).hex().encode()
        self.assertEqual(s3.put_object(Bucket=bucket, Key="k", Body=mark)["ServerSideEncryption"], "AES256")
        self.assertFalse(on_disk(mark))

    def test_it_is_on_record_before_it_is_done(self):
        bucket = self.bucket("recorded")
        command("deny", bucket)
        trail = [json.loads(line) for line in (daemon.dir / "audit" / "daemon.jsonl").read_text().splitlines()]
        names = [
            event["eventName"]
            for event in trail
            if event.get("additionalEventData", {}).get("bucketName") == bucket
        ]
        self.assertEqual(names, ["AllowBucketPlaintext", "DenyBucketPlaintext"])
        self.assertIn("plain objects in a bucket", daemon.log_text())

    def test_a_bucket_that_is_not_there(self):
        done = command("allow", "no-such-bucket")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no-such-bucket", done.stderr)


class Stopped(unittest.TestCase):
    def test_the_command_works_without_the_daemon_and_is_on_record(self):
        s3.create_bucket(Bucket="offline")
        daemon.stop()
        try:
            done = command("allow", "offline")
            self.assertEqual(done.returncode, 0, done.stderr)
        finally:
            daemon.start()
        self.assertNotIn("ServerSideEncryption", s3.put_object(Bucket="offline", Key="k", Body=b"x"))
        trail = (daemon.dir / "audit" / "commands.jsonl").read_text()
        self.assertIn("AllowBucketPlaintext", trail)
