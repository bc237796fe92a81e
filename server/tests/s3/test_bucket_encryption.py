"""Row 4.4 of the S3 contract: the default encryption of a bucket, and which types it blocks."""

import base64
import os
import unittest

from botocore.exceptions import ClientError

import raw
from daemon import Daemon

XML = "http://s3.amazonaws.com/doc/2006-03-01/"


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()


def tearDownModule():
    daemon.close()


def ssec(key):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def rule(algorithm="AES256", key=None, blocked=None, bucket_key=None):
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}
    if key is not None:
        rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] = key
    if blocked is not None:
        rule["BlockedEncryptionTypes"] = {"EncryptionType": blocked}
    if bucket_key is not None:
        rule["BucketKeyEnabled"] = bucket_key
    return rule


def put(bucket, *rules):
    return s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": list(rules)})


def get(bucket):
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert len(rules) == 1
    return rules[0]


class Case(unittest.TestCase):
    def setUp(self):
        self.bucket = f"encryption-{self._testMethodName[5:15].replace('_', '-').strip('-')}-{os.urandom(3).hex()}"
        s3.create_bucket(Bucket=self.bucket)

    def refused(self, status, code, call, *arguments, **named):
        with self.assertRaises(ClientError) as refused:
            call(*arguments, **named)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))
        return response["Error"]


class Default(Case):
    def test_4_4_a_new_bucket_has_aes256(self):
        self.assertEqual(
            get(self.bucket),
            {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False},
        )

    def test_4_4_what_was_put_comes_back_and_a_delete_resets(self):
        for sent in (
            rule(bucket_key=True),
            rule("aws:kms", "any-key", bucket_key=True),
            rule("aws:kms", bucket_key=False),
            rule(bucket_key=False, blocked=["SSE-C"]),
            rule(bucket_key=False, blocked=["NONE"]),
        ):
            put(self.bucket, sent)
            self.assertEqual(get(self.bucket) | {"BlockedEncryptionTypes": None}, sent | {"BlockedEncryptionTypes": None})
            if "BlockedEncryptionTypes" in sent:
                self.assertEqual(get(self.bucket)["BlockedEncryptionTypes"], sent["BlockedEncryptionTypes"])
        for _ in range(2):
            deleted = s3.delete_bucket_encryption(Bucket=self.bucket)
            self.assertEqual(deleted["ResponseMetadata"]["HTTPStatusCode"], 204)
        self.assertEqual(get(self.bucket)["ApplyServerSideEncryptionByDefault"], {"SSEAlgorithm": "AES256"})

    def test_4_4_one_rule_exactly(self):
        self.refused(400, "MalformedXML", put, self.bucket)
        self.refused(400, "MalformedXML", put, self.bucket, rule(), rule())

    def test_4_4_a_key_id_needs_kms(self):
        error = self.refused(400, "InvalidArgument", put, self.bucket, rule("AES256", "k"))
        self.assertEqual(
            error["Message"],
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
        )
        self.assertEqual(error["ArgumentName"], "ApplyServerSideEncryptionByDefault")

    def test_4_4_bodies_that_make_no_sense(self):
        inner = "<SSEAlgorithm>AES256</SSEAlgorithm>"
        apply = f"<ApplyServerSideEncryptionByDefault>{inner}</ApplyServerSideEncryptionByDefault>"
        for body in (
            "not xml",
            f'<ServerSideEncryptionConfiguration xmlns="{XML}"/>',
            f'<ServerSideEncryptionConfiguration xmlns="{XML}"><Rule/></ServerSideEncryptionConfiguration>',
            f"<ServerSideEncryptionConfiguration><Rule>{apply.replace('AES256', 'ROT13')}</Rule></ServerSideEncryptionConfiguration>",
            f"<ServerSideEncryptionConfiguration><Rule>{apply}<Else/></Rule></ServerSideEncryptionConfiguration>",
            f"<ServerSideEncryptionConfiguration><Rule>{apply}<BlockedEncryptionTypes/></Rule></ServerSideEncryptionConfiguration>",
        ):
            reply = raw.request(daemon, "PUT", f"/{self.bucket}", body=body.encode(), query={"encryption": ""})
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "MalformedXML"), body)
        reply = raw.request(daemon, "PUT", f"/{self.bucket}", query={"encryption": ""})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "MissingRequestBodyError"))

    def test_4_4_no_bucket(self):
        for call in (s3.get_bucket_encryption, s3.delete_bucket_encryption):
            self.refused(404, "NoSuchBucket", call, Bucket="no-such-bucket-here")
        self.refused(404, "NoSuchBucket", put, "no-such-bucket-here", rule())

    def test_4_4_dsse_is_not_implemented(self):
        self.refused(501, "NotImplemented", put, self.bucket, rule("aws:kms:dsse"))

    def test_4_4_headers_win_over_the_default_and_objects_stay_as_they_are(self):
        s3.put_object(Bucket=self.bucket, Key="before", Body=b"x")
        put(self.bucket, rule("aws:kms", "no-such-key"))
        key = os.urandom(32)
        stored = s3.put_object(Bucket=self.bucket, Key="customer", Body=b"x", **ssec(key))
        self.assertNotIn("ServerSideEncryption", stored)
        stored = s3.put_object(Bucket=self.bucket, Key="managed", Body=b"x", ServerSideEncryption="AES256")
        self.assertEqual(stored["ServerSideEncryption"], "AES256")
        self.assertEqual(s3.get_object(Bucket=self.bucket, Key="before")["ServerSideEncryption"], "AES256")
        # A default that cannot be met is not quietly replaced by a weaker one.
        with self.assertRaises(ClientError):
            s3.put_object(Bucket=self.bucket, Key="default", Body=b"x")
        with self.assertRaises(ClientError):
            s3.copy_object(Bucket=self.bucket, Key="copy", CopySource=f"{self.bucket}/before")


class Blocked(Case):
    def writes(self, key):
        yield s3.put_object, {"Bucket": self.bucket, "Key": "k", "Body": b"x", **ssec(key)}
        s3.put_object(Bucket=self.bucket, Key="source", Body=b"x")
        yield s3.copy_object, {"Bucket": self.bucket, "Key": "k", "CopySource": f"{self.bucket}/source", **ssec(key)}

    def test_4_2_customer_keys_are_blocked_and_opened_by_the_bucket(self):
        key = os.urandom(32)
        s3.put_object(Bucket=self.bucket, Key="old", Body=b"x", **ssec(key))
        put(self.bucket, rule(blocked=["SSE-C"]))
        for call, arguments in self.writes(key):
            self.refused(403, "AccessDenied", call, **arguments)
        # What is there opens as before, and may be copied to where it is not blocked.
        self.assertEqual(s3.get_object(Bucket=self.bucket, Key="old", **ssec(key))["Body"].read(), b"x")
        # A configuration that does not speak of it changes nothing about it, nor does a delete.
        put(self.bucket, rule())
        s3.delete_bucket_encryption(Bucket=self.bucket)
        for call, arguments in self.writes(key):
            self.refused(403, "AccessDenied", call, **arguments)
        put(self.bucket, rule(blocked=["NONE"]))
        for call, arguments in self.writes(key):
            call(**arguments)

    def test_4_2_the_block_comes_before_any_look_at_the_key(self):
        put(self.bucket, rule(blocked=["SSE-C"]))
        prefix = "x-amz-server-side-encryption-customer-"
        for headers in (
            {f"{prefix}key": "nonsense"},
            {f"{prefix}algorithm": "AES192"},
            {f"{prefix}algorithm": "AES256", f"{prefix}key": base64.b64encode(b"short").decode()},
        ):
            reply = raw.request(daemon, "PUT", f"/{self.bucket}/k", headers, b"x")
            self.assertEqual((reply.status, reply.error()["Code"]), (403, "AccessDenied"))

    def test_4_4_types_that_cannot_be_blocked(self):
        for types in (["SSE-S3"], ["NONE", "SSE-C"]):
            self.refused(400, "MalformedXML", put, self.bucket, rule(blocked=types))


class Modes(unittest.TestCase):
    """What the server's own configuration decides."""

    def restart(self, before, after):
        daemon.stop()
        file = daemon.dir / "strongroom.toml"
        file.write_text(file.read_text().replace(before, after))
        daemon.start()

    def test_4_2_customer_keys_are_blocked_on_new_buckets_unless_the_server_opens_them(self):
        self.restart("customer_keys = true", "customer_keys = false")
        try:
            s3.create_bucket(Bucket="closed")
            key = os.urandom(32)
            with self.assertRaises(ClientError) as refused:
                s3.put_object(Bucket="closed", Key="k", Body=b"x", **ssec(key))
            self.assertEqual(refused.exception.response["Error"]["Code"], "AccessDenied")
            put("closed", rule(blocked=["NONE"]))
            s3.put_object(Bucket="closed", Key="k", Body=b"x", **ssec(key))
        finally:
            self.restart("customer_keys = false", "customer_keys = true")

    def test_compat_ceph_answers_as_ceph_does(self):
        self.restart("customer_keys = true", 'customer_keys = true\ncompat = "ceph"')
        try:
            s3.create_bucket(Bucket="compat")
            key = os.urandom(32)
            s3.put_object(Bucket="compat", Key="k", Body=b"x", **ssec(key))
            for call in (s3.get_object, s3.head_object):
                with self.assertRaises(ClientError) as refused:
                    call(Bucket="compat", Key="k", **ssec(os.urandom(32)))
                self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 400)
            for _ in range(2):
                with self.assertRaises(ClientError) as refused:
                    s3.get_bucket_encryption(Bucket="compat")
                error = refused.exception.response
                self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 404)
                self.assertEqual(error["Error"]["Code"], "ServerSideEncryptionConfigurationNotFoundError")
                put("compat", rule())
                self.assertEqual(get("compat")["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], "AES256")
                s3.delete_bucket_encryption(Bucket="compat")
        finally:
            self.restart('customer_keys = true\ncompat = "ceph"', "customer_keys = true")
