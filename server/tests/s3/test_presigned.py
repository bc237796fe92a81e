"""Presigned URLs: all that their signer said counts, and nothing of what their sender adds."""

import base64
import hashlib
import json
import time
import unittest
import uuid
import zlib

import raw
from daemon import Daemon


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()


def tearDownModule():
    daemon.close()


class Presigned(unittest.TestCase):
    def setUp(self):
        self.bucket = f"presigned-{uuid.uuid4().hex[:12]}"
        s3.create_bucket(Bucket=self.bucket)
        s3.put_object(Bucket=self.bucket, Key="a", Body=b"x")

    def url(self, method="GET", key="a", **more):
        return raw.presign(daemon, method, f"/{self.bucket}/{key}", **more)

    def send(self, url, method="GET", headers=None, body=b""):
        return raw.send(daemon, method, url, dict(headers or {}), body)

    def put(self, key, query, headers=None, body=b"y"):
        return self.send(self.url("PUT", key, query=query), "PUT", headers, body)

    def deny(self, action, condition):
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": action,
            "Resource": f"arn:aws:s3:::{self.bucket}/*",
            "Condition": condition,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        s3.put_bucket_policy(Bucket=self.bucket, Policy=policy)


class WhoSends(Presigned):
    def test_policies_see_that_the_query_is_signed(self):
        self.deny("s3:GetObject", {"StringNotEquals": {"s3:authType": "REST-HEADER"}})
        self.assertEqual(self.send(self.url()).status, 403)
        s3.get_object(Bucket=self.bucket, Key="a")

    def test_a_second_signature_is_refused_and_hides_nothing(self):
        digest = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        for second in ("AWS4-HMAC-SHA256 x", "AWS a:b", "Bearer x"):
            reply = self.send(self.url(), headers=digest | {"authorization": second})
            self.assertEqual(reply.status, 400, second)
            self.assertEqual(reply.error()["Code"], "InvalidArgument")

    def test_a_header_makes_an_old_signature_no_younger(self):
        self.deny("s3:GetObject", {"NumericGreaterThan": {"s3:signatureAge": "1500"}})
        url = self.url()
        self.assertEqual(self.send(url).status, 200)
        time.sleep(3)
        self.assertEqual(self.send(url).status, 403)
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.assertEqual(self.send(url, headers={"x-amz-date": now}).status, 403)

    def test_a_body_that_its_sender_digests_is_not_signed(self):
        self.deny("s3:PutObject", {"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}})
        for headers in ({}, {"x-amz-content-sha256": hashlib.sha256(b"y").hexdigest()}):
            reply = self.send(self.url("PUT", "b"), "PUT", headers, b"y")
            self.assertEqual(reply.status, 403, headers)
        digest = hashlib.sha256(b"y").hexdigest()
        signed = raw.request(daemon, "PUT", f"/{self.bucket}/b", {"x-amz-content-sha256": digest}, b"y")
        self.assertEqual(signed.status, 200, signed.body)

    def test_headers_that_nobody_signed_are_refused(self):
        for query in ({}, {"x-amz-meta-a": "b"}):
            for header in ("x-amz-meta-c", "x-amz-acl", "x-amz-server-side-encryption", "x-amz-copy-source"):
                reply = self.put("b", query, {header: "private"})
                self.assertEqual((reply.status, reply.error()["Code"]), (403, "AccessDenied"), (query, header))
        twice = self.put("b", {"x-amz-meta-a": "b"}, {"x-amz-meta-a": "c"})
        self.assertEqual((twice.status, twice.error()["Code"]), (400, "InvalidArgument"))

    def test_what_was_signed_for_another_service_is_refused(self):
        query = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
        self.assertEqual(self.send(raw.presign(daemon, "GET", "/", query=query)).status, 200)
        reply = self.send(raw.presign(daemon, "GET", "/", query=query, service="sts"))
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "AuthorizationQueryParametersError"))
        self.assertIn('incorrect service "sts"', reply.error()["Message"])

    def test_version_2_is_not_taken(self):
        url = f"{daemon.env['AWS_ENDPOINT_URL']}/{self.bucket}/a?AWSAccessKeyId=x&Signature=y&Expires=9999999999"
        reply = self.send(url)
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidRequest"))


class WhoSigns(Presigned):
    def test_what_the_query_says_in_place_of_headers_is_kept(self):
        said = {
            "x-amz-meta-colour": "dark blue",
            "x-amz-storage-class": "STANDARD_IA",
            "x-amz-tagging": "a=b&c=d%20e",
            "X-Amz-Acl": "public-read",
            "x-amz-server-side-encryption": "aws:kms",
            "x-id": "PutObject",
        }
        reply = self.put("b", said)
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(reply.headers["x-amz-server-side-encryption"], "aws:kms")
        head = s3.head_object(Bucket=self.bucket, Key="b")
        self.assertEqual(head["Metadata"], {"colour": "dark blue"})
        self.assertEqual(head["StorageClass"], "STANDARD_IA")
        self.assertEqual(head["ServerSideEncryption"], "aws:kms")
        tags = s3.get_object_tagging(Bucket=self.bucket, Key="b")["TagSet"]
        self.assertEqual(tags, [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d e"}])
        grants = s3.get_object_acl(Bucket=self.bucket, Key="b")["Grants"]
        self.assertIn("READ", [grant["Permission"] for grant in grants])

    def test_a_checksum_of_the_body_binds_it_and_one_of_no_body_does_not(self):
        of_x = base64.b64encode(zlib.crc32(b"x").to_bytes(4)).decode()
        self.assertEqual(self.put("b", {"x-amz-checksum-crc32": of_x}, body=b"x").status, 200)
        reply = self.put("b", {"x-amz-checksum-crc32": of_x})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "BadDigest"))
        # As the JavaScript SDK presigns every PUT.
        of_nothing = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC32"}
        self.assertEqual(self.put("b", of_nothing).status, 200)

    def test_a_source_in_the_query_makes_it_a_copy(self):
        reply = self.put("copy", {"x-amz-copy-source": f"{self.bucket}/a"}, body=b"")
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(s3.get_object(Bucket=self.bucket, Key="copy")["Body"].read(), b"x")

    def test_policies_see_what_the_query_says(self):
        self.deny("s3:PutObject", {"StringEquals": {"s3:x-amz-acl": "public-read"}})
        self.assertEqual(self.put("b", {"x-amz-acl": "public-read"}).status, 403)
        self.assertEqual(self.put("b", {"x-amz-acl": "private"}).status, 200)

    def test_a_query_that_nobody_signed_says_nothing(self):
        s3.put_bucket_acl(Bucket=self.bucket, ACL="public-read-write")
        url = f"{daemon.env['AWS_ENDPOINT_URL']}/{self.bucket}/b?x-amz-meta-a=b"
        self.assertEqual(self.send(url, "PUT", body=b"y").status, 200)
        signed = raw.request(daemon, "PUT", f"/{self.bucket}/c", body=b"y", query={"x-amz-meta-a": "b"})
        self.assertEqual(signed.status, 200)
        for key in ("b", "c"):
            self.assertEqual(s3.head_object(Bucket=self.bucket, Key=key)["Metadata"], {})


if __name__ == "__main__":
    unittest.main()
