"""Row 4.3 of the S3 contract: keys that requests name, and what they may say besides."""

import base64
import hashlib
import json
import os
import re
import time
import unittest

from botocore.exceptions import ClientError

import raw
import users
from daemon import Daemon
from users import User

BUCKET = "kms"
SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
CONTEXT = f"{SSE}-context"
BUCKET_KEY = f"{SSE}-bucket-key-enabled"
KMS = {"ServerSideEncryption": "aws:kms"}


def setUpModule():
    global daemon, s3, uuid, arn
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket=BUCKET)
    [_, root] = re.findall(r'root = "([0-9a-f]{32})"', (daemon.dir / "strongroom.toml").read_text())
    uuid = "-".join((root[:8], root[8:12], root[12:16], root[16:20], root[20:]))
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{uuid}"


def tearDownModule():
    daemon.close()


def context(pairs):
    return base64.b64encode(json.dumps(pairs).encode()).decode()


class Case(unittest.TestCase):
    def refused(self, status, code, call, *arguments, **named):
        with self.assertRaises(ClientError) as refused:
            call(*arguments, **named)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))
        return response["Error"]["Message"]

    def kms_errors(self, code, message, **asked):
        """Every way to write answers the same."""
        asked = KMS | asked
        s3.put_object(Bucket=BUCKET, Key="source", Body=b"x")
        target = {"Bucket": BUCKET, "Key": "k"}
        self.assertEqual(self.refused(400, code, s3.put_object, **target, Body=b"x", **asked), message)
        copy = {"CopySource": f"{BUCKET}/source"}
        self.assertEqual(self.refused(400, code, s3.copy_object, **target, **copy, **asked), message)


class Keys(Case):
    def test_4_3_a_key_has_several_names_and_replies_say_its_arn(self):
        for name in (None, uuid, arn, "dev", "alias/dev", "arn:aws:kms:us-east-1:000000000000:alias/dev"):
            asked = KMS | ({"SSEKMSKeyId": name} if name else {})
            put = s3.put_object(Bucket=BUCKET, Key="named", Body=b"test", **asked)
            for reply in (put, s3.head_object(Bucket=BUCKET, Key="named"), s3.get_object(Bucket=BUCKET, Key="named")):
                self.assertEqual((reply["ServerSideEncryption"], reply["SSEKMSKeyId"]), ("aws:kms", arn), name)
                self.assertNotIn("BucketKeyEnabled", reply)
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="named")["Body"].read(), b"test")

    def test_4_1_the_etag_says_nothing_of_the_content_and_is_the_same_everywhere(self):
        etags = set()
        for _ in range(2):
            put = s3.put_object(Bucket=BUCKET, Key="etag", Body=b"test", **KMS)
            etags.add(put["ETag"])
            self.assertEqual(s3.head_object(Bucket=BUCKET, Key="etag")["ETag"], put["ETag"])
            [listed] = s3.list_objects_v2(Bucket=BUCKET, Prefix="etag")["Contents"]
            self.assertEqual(listed["ETag"], put["ETag"])
        self.assertEqual(len(etags), 2)
        self.assertNotIn(f'"{hashlib.md5(b"test").hexdigest()}"', etags)

    def test_4_3_05_a_key_that_is_not_there(self):
        self.kms_errors("KMS.NotFoundException", "Invalid keyId 'fake-key-id'", SSEKMSKeyId="fake-key-id")
        missing = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
        self.kms_errors("KMS.NotFoundException", f"Key '{missing}' does not exist", SSEKMSKeyId=missing)
        abroad = arn.replace("us-east-1", "eu-west-9")
        self.kms_errors("KMS.NotFoundException", "Invalid arn eu-west-9", SSEKMSKeyId=abroad)

    def test_4_3_two_layers_are_not_offered(self):
        reply = raw.request(daemon, "PUT", f"/{BUCKET}/k", {SSE: "aws:kms:dsse"}, b"x")
        self.assertEqual((reply.status, reply.error()["Code"]), (501, "NotImplemented"))

    def test_copies_between_managed_and_named_keys(self):
        s3.put_object(Bucket=BUCKET, Key="managed", Body=b"test")
        to = s3.copy_object(Bucket=BUCKET, Key="named-copy", CopySource=f"{BUCKET}/managed", **KMS)
        self.assertEqual((to["ServerSideEncryption"], to["SSEKMSKeyId"]), ("aws:kms", arn))
        # A copy does not take the encryption of its source along.
        back = s3.copy_object(Bucket=BUCKET, Key="back", CopySource=f"{BUCKET}/named-copy")
        self.assertEqual(back["ServerSideEncryption"], "AES256")
        self.assertNotIn("SSEKMSKeyId", back)
        # Onto itself, with nothing changed but the encryption.
        s3.copy_object(Bucket=BUCKET, Key="managed", CopySource=f"{BUCKET}/managed", **KMS)
        reply = s3.get_object(Bucket=BUCKET, Key="managed")
        self.assertEqual((reply["Body"].read(), reply["ServerSideEncryption"]), (b"test", "aws:kms"))


class Besides(Case):
    def put(self, headers, key="k"):
        return raw.request(daemon, "PUT", f"/{BUCKET}/{key}", {SSE: "aws:kms"} | headers, b"x")

    def test_4_1_a_context_is_bound_and_echoed_where_it_was_written(self):
        sent = context({"department": "payroll", "a": ""})
        reply = self.put({CONTEXT: sent}, "context")
        self.assertEqual((reply.status, reply.headers[CONTEXT]), (200, sent))
        read = raw.request(daemon, "GET", f"/{BUCKET}/context")
        self.assertEqual((read.status, read.body), (200, b"x"))
        self.assertNotIn(CONTEXT, read.headers)

    def test_4_3_contexts_that_are_none(self):
        for sent in ("%%%", base64.b64encode(b"not json").decode(), context({"a": 1}), context([]), context("x")):
            reply = self.put({CONTEXT: sent})
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"), sent)

    def test_4_1_the_bucket_key_flag_is_kept_and_told(self):
        self.assertEqual(self.put({BUCKET_KEY: "true"}, "flag").headers[BUCKET_KEY], "true")
        for reply in (s3.get_object(Bucket=BUCKET, Key="flag"), s3.head_object(Bucket=BUCKET, Key="flag")):
            self.assertTrue(reply["BucketKeyEnabled"])
        self.assertNotIn(BUCKET_KEY, self.put({BUCKET_KEY: "false"}, "flag").headers)
        self.assertNotIn("BucketKeyEnabled", s3.head_object(Bucket=BUCKET, Key="flag"))
        reply = self.put({BUCKET_KEY: "perhaps"})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))


class Default(Case):
    def test_4_4_a_default_key_is_used_and_headers_win_over_it(self):
        s3.create_bucket(Bucket="kms-default")
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/dev"}
        rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
        s3.put_bucket_encryption(Bucket="kms-default", ServerSideEncryptionConfiguration={"Rules": [rule]})
        put = {"Bucket": "kms-default", "Key": "k", "Body": b"x"}
        reply = s3.put_object(**put)
        self.assertEqual(
            (reply["ServerSideEncryption"], reply["SSEKMSKeyId"], reply["BucketKeyEnabled"]), ("aws:kms", arn, True)
        )
        self.assertEqual(s3.put_object(**put, ServerSideEncryption="AES256")["ServerSideEncryption"], "AES256")
        customer = s3.put_object(**put, SSECustomerAlgorithm="AES256", SSECustomerKey=os.urandom(32))
        self.assertNotIn("ServerSideEncryption", customer)
        self.assertNotIn("BucketKeyEnabled", s3.put_object(**put, **KMS, BucketKeyEnabled=False))


class States(Case):
    """What the configuration says of a key holds as soon as it is saved, without a restart."""

    def save(self, text, told):
        seen = daemon.log_text().count(told)
        file = daemon.dir / "strongroom.toml"
        new = file.with_suffix(".new")
        new.write_text(text)
        os.replace(new, file)
        deadline = time.monotonic() + 20
        while daemon.log_text().count(told) == seen:
            self.assertLess(time.monotonic(), deadline, daemon.log_text()[-2000:])
            time.sleep(0.05)

    def configure(self, before, after):
        text = (daemon.dir / "strongroom.toml").read_text()
        self.assertIn(before, text)
        self.save(text.replace(before, after), "the settings file was read again")

    def test_a_broken_file_changes_nothing_and_a_new_key_waits_for_a_start(self):
        text = (daemon.dir / "strongroom.toml").read_text()
        try:
            self.save(text + "\n[[kms]]\nroot = 1\n", "the settings file cannot be used")
            s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", **KMS)
            self.save(text + f'\n[[kms]]\nroot = "{"ab" * 16}"\naliases = ["new"]\n', "which the next start opens")
            s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", **KMS)
            self.refused(
                400, "KMS.NotFoundException", s3.put_object, Bucket=BUCKET, Key="k", Body=b"x", **KMS, SSEKMSKeyId="new"
            )
        finally:
            self.save(text, "the settings file was read again")

    def test_4_3_08_no_permission_for_the_key(self):
        alt = User("alt")
        users.add(daemon, alt)
        other = users.client(daemon, alt)
        statement = {"Effect": "Allow", "Principal": {"AWS": "alt"}, "Action": "s3:*", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
        s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
        which = {"Bucket": BUCKET, "Key": "private"}
        upload = other.create_multipart_upload(Bucket=BUCKET, Key="parts", **KMS)["UploadId"]
        enabled = 'aliases = ["aws/s3", "dev"]'
        changed = f'{enabled}\nusers = ["root", "nobody"]'
        self.configure(enabled, changed)
        try:
            self.assertEqual(daemon.log_text().count("the users file has nobody of that name"), 1)
            s3.put_object(**which, Body=b"x", **KMS)
            self.assertEqual(s3.get_object(**which)["Body"].read(), b"x")
            other.put_object(Bucket=BUCKET, Key="k", Body=b"x")
            to = {"Bucket": BUCKET, "Key": "to"}
            write, read = "kms:GenerateDataKey", "kms:Decrypt"
            for action, call, more in (
                (write, other.put_object, which | {"Body": b"y"} | KMS),
                (write, other.copy_object, to | {"CopySource": f"{BUCKET}/k"} | KMS),
                (write, other.create_multipart_upload, which | KMS),
                (write, other.upload_part, {"Bucket": BUCKET, "Key": "parts", "UploadId": upload, "PartNumber": 1, "Body": b"x"}),
                (read, other.get_object, which),
                (read, other.get_object, which | {"Range": "bytes=0-0"}),
                (read, other.copy_object, to | {"CopySource": which}),
            ):
                message = self.refused(403, "AccessDenied", call, **more)
                self.assertRegex(message, f"^User: arn:aws:iam::[0-9]{{12}}:root is not authorized to perform: {action} ")
                self.assertIn(f" on resource: {arn} because ", message)
            attributes = {"ObjectAttributes": ["ObjectSize"]}
            self.refused(403, "AccessDenied", other.get_object_attributes, **which, **attributes)
            self.refused(403, "403", other.head_object, **which)
            s3.head_object(**which)
            s3.get_object_attributes(**which, **attributes)
            self.assertEqual(s3.get_object(**which)["Body"].read(), b"x")
            both = f'{enabled}\nusers = ["root", "alt"]'
            self.configure(changed, both)
            changed = both
            self.assertEqual(other.get_object(**which)["Body"].read(), b"x")
        finally:
            self.configure(changed, enabled)

    def test_4_3_06_07_disabled_and_pending_deletion_and_back(self):
        s3.put_object(Bucket=BUCKET, Key="state", Body=b"x", **KMS)
        s3.put_object(Bucket=BUCKET, Key="other", Body=b"x")
        enabled = 'aliases = ["aws/s3", "dev"]'
        for state, code, message in (
            ("disabled", "KMS.DisabledException", f"{arn} is disabled."),
            ("pending_deletion", "KMS.KMSInvalidStateException", f"{arn} is pending deletion."),
        ):
            changed = f'{enabled}\nstate = "{state}"'
            self.configure(enabled, changed)
            try:
                self.kms_errors(code, message)
                self.assertEqual(self.refused(400, code, s3.get_object, Bucket=BUCKET, Key="state"), message)
                # Nobody else is concerned.
                self.assertEqual(s3.get_object(Bucket=BUCKET, Key="other")["Body"].read(), b"x")
                self.assertEqual(len(s3.list_objects_v2(Bucket=BUCKET, Prefix="state")["Contents"]), 1)
            finally:
                self.configure(changed, enabled)
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="state")["Body"].read(), b"x")

    def test_4_3_10_no_key_is_configured(self):
        table = re.search(r"\[\[kms\]\]\n.*\n.*\n", (daemon.dir / "strongroom.toml").read_text()).group()
        self.configure(table, "# none\n")
        try:
            self.refused(501, "NotImplemented", s3.put_object, Bucket=BUCKET, Key="k", Body=b"x", **KMS)
        finally:
            self.configure("# none\n", table)
