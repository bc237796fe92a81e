"""Section 4.5 of the contract: bucket policies that mandate or forbid an encryption."""

import hashlib
import json
import re
import unittest

import contract
from contract import KMS_KEY, SSE, customer, source_customer
from daemon import Daemon

CUSTOMER_CONDITION = "s3:x-amz-server-side-encryption-customer-algorithm"
CONDITION = "s3:x-amz-server-side-encryption"
KMS_CONDITION = "s3:x-amz-server-side-encryption-aws-kms-key-id"


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Policies.daemon = daemon
    Policies.s3 = daemon.client()


class Policies(contract.Contract):
    def setUp(self):
        super().setUp()
        self.bucket = "policy-" + hashlib.md5(self.id().encode()).hexdigest()[:12]
        self.s3.create_bucket(Bucket=self.bucket)

    def deny(self, *conditions):
        """Puts a policy that denies every PutObject for which one of the conditions holds."""
        statements = [
            {
                "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{self.bucket}/*", "Condition": condition,
            }
            for condition in conditions
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.s3.put_bucket_policy(Bucket=self.bucket, Policy=policy)
        self.assertEqual(json.loads(self.s3.get_bucket_policy(Bucket=self.bucket)["Policy"]), json.loads(policy))

    def denied(self, reply):
        self.assertEqual((reply.status, reply.error()["Code"]), (403, "AccessDenied"))

    def writes(self, headers):
        """The same asked by PUT, COPY and a form."""
        return (
            self.call("PUT", self.path("k"), headers, b"test"), self.copy("source", "k", headers), self.post("k", headers)
        )

    def decides(self, allowed, refused):
        for headers in refused:
            for reply in self.writes(headers):
                self.denied(reply)
        for headers in allowed:
            for reply in self.writes(headers):
                self.assertIn(reply.status, (200, 204), reply.body)

    def test_4_5_01_the_condition_keys_see_what_the_request_says(self):
        self.put("source")
        self.deny({"StringEquals": {CONDITION: "AES256"}})
        self.decides([{}, customer(self.key())], [{SSE: "AES256"}])
        self.deny({"StringEquals": {CUSTOMER_CONDITION: "AES256"}})
        self.decides([{}, {SSE: "AES256"}], [customer(self.key())])
        self.s3.delete_bucket_policy(Bucket=self.bucket)
        self.decides([{}, {SSE: "AES256"}, customer(self.key())], [])

    def test_4_5_02_encryption_mandated(self):
        self.put("source")
        self.deny({"StringNotEquals": {CONDITION: "AES256"}}, {"Null": {CONDITION: "true"}})
        self.decides([{SSE: "AES256"}], [{}, {SSE: "aws:kms"}, customer(self.key())])
        # Reading is not writing.
        self.reads("source", b"test")

    def test_4_5_03_the_buckets_default_is_no_header(self):
        self.put("source")
        self.s3.put_bucket_encryption(
            Bucket=self.bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        self.deny({"Null": {CONDITION: "true"}})
        self.decides([{SSE: "AES256"}], [{}])

    def test_4_5_04_customer_keys_mandated(self):
        key = self.key()
        self.put("source", headers=customer(key))
        self.deny({"Null": {CUSTOMER_CONDITION: "true"}})
        self.denied(self.call("PUT", self.path("k"), {}, b"test"))
        self.denied(self.call("PUT", self.path("k"), {SSE: "AES256"}, b"test"))
        # The key of a source is not the key of the target.
        self.denied(self.copy("source", "k", source_customer(key)))
        self.put("k", headers=customer(key))
        self.shows(self.copy("source", "k", source_customer(key) | customer(key)), key)

    def test_4_5_05_customer_keys_forbidden(self):
        self.put("source")
        self.deny({"Null": {CUSTOMER_CONDITION: "false"}})
        self.decides([{}, {SSE: "AES256"}], [customer(self.key())])

    def test_4_5_06_one_key_id_mandated(self):
        self.put("source")
        self.deny({"StringNotEquals": {KMS_CONDITION: "the-key"}})
        self.decides([], [{}, {SSE: "AES256"}, {SSE: "aws:kms"}, {SSE: "aws:kms", KMS_KEY: "another"}])

    def test_4_5_07_if_exists(self):
        self.put("source")
        self.deny({"StringNotEqualsIfExists": {CONDITION: "aws:kms"}})
        # A header that is not there fulfils the condition, and the statement denies.
        self.decides([], [{SSE: "AES256"}, {}])
        self.deny({"StringEqualsIfExists": {CONDITION: "aws:kms"}})
        self.decides([{SSE: "AES256"}], [{}])

    def test_4_5_08_a_multipart_upload_is_judged_when_it_is_created(self):
        self.put("source")
        self.deny({"StringNotEquals": {CONDITION: "AES256"}}, {"Null": {CONDITION: "true"}})
        for headers in ({}, {SSE: "aws:kms"}):
            refused = self.call("POST", self.path("k"), headers, query={"uploads": ""})
            self.assertEqual((refused.status, refused.error()["Code"]), (403, "AccessDenied"))
        created = self.call("POST", self.path("k"), {SSE: "AES256"}, query={"uploads": ""})
        upload = re.search(rb"<UploadId>([^<]+)</UploadId>", created.body)[1].decode()
        part = self.call("PUT", self.path("k"), {}, b"test", {"partNumber": "1", "uploadId": upload})
        self.shows(part, "AES256")
        body = (
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
            f"<ETag>{self.etag(part)}</ETag></Part></CompleteMultipartUpload>"
        )
        self.shows(self.call("POST", self.path("k"), {}, body.encode(), {"uploadId": upload}), "AES256")
        self.reads("k", b"test")


if __name__ == "__main__":
    unittest.main()
