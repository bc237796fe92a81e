"""The rows of the contract where clients of ceph expect other answers: `compat = "ceph"`."""

import json
import unittest

from botocore.exceptions import ClientError

import contract
import users
from contract import customer, source_customer
from daemon import Daemon
from users import User


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    daemon.configure(lambda text: text.replace("[s3]", '[s3]\ncompat = "ceph"'))
    Ceph.daemon = daemon
    daemon.client().create_bucket(Bucket=Ceph.bucket)


class Ceph(contract.Contract):
    def test_4_2_24_another_key(self):
        self.put("k", headers=customer(self.key()))
        wrong = self.key()
        for reply in (
            self.call("GET", self.path("k"), customer(wrong)),
            self.call("GET", self.path("k"), customer(wrong) | {"Range": "bytes=0-1"}),
            self.copy("k", "copy", source_customer(wrong)),
        ):
            self.refused(reply, 400, "InvalidArgument", contract.WRONG_KEY)
        self.refused_bare(self.call("HEAD", self.path("k"), customer(wrong)), 400)
        self.reads("k", b"test", customer(self.keys[0]))
        # Without any key nothing differs.
        self.refused(self.call("GET", self.path("k")), 400, "InvalidRequest", contract.STORED_ENCRYPTED)

    def test_4_4_06_a_new_bucket(self):
        reply = self.call("GET", f"/{self.bucket}", query={"encryption": ""})
        self.refused(
            reply, 404, "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        )
        # Objects are encrypted all the same.
        self.shows(self.put("managed"), "AES256")

    def test_a_write_on_condition_that_the_object_is_another(self):
        etag = self.put("other").headers["etag"]
        for value, status in ((etag, 412), ('"no"', 200)):
            reply = self.call("PUT", self.path("other"), {"If-None-Match": value}, b"changed")
            self.assertEqual(reply.status, status, reply.body)
        reply = self.call("PUT", self.path("first"), {"If-None-Match": '"no"'}, b"x")
        self.assertEqual(reply.status, 200, reply.body)

    def test_what_is_not_there_meets_every_condition_of_a_delete(self):
        for value in ('"no"', "*"):
            self.assertEqual(self.call("DELETE", self.path("nothing"), {"If-Match": value}).status, 204)
        self.put("something")
        self.assertEqual(self.call("DELETE", self.path("something"), {"If-Match": '"no"'}).status, 412)

    def test_errors_that_have_other_names(self):
        self.put("source", b"12345")
        s3 = self.daemon.client()
        many = {"TagSet": [{"Key": str(n), "Value": ""} for n in range(11)]}
        with self.assertRaises(ClientError) as refused:
            s3.put_object_tagging(Bucket=self.bucket, Key="source", Tagging=many)
        self.assertEqual(refused.exception.response["Error"]["Code"], "InvalidTag")
        part = {"Bucket": self.bucket, "Key": "parts", "PartNumber": 1}
        part["UploadId"] = s3.create_multipart_upload(Bucket=self.bucket, Key="parts")["UploadId"]
        with self.assertRaises(ClientError) as refused:
            s3.upload_part_copy(**part, CopySource=f"{self.bucket}/source", CopySourceRange="bytes=0-21")
        answer = refused.exception.response
        self.assertEqual((answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]), (416, "InvalidRange"))

    def test_a_listing_without_an_order_folds_nothing(self):
        self.put("a")
        unordered = {"allow-unordered": "true"}
        for form in ({}, {"list-type": "2"}):
            listed = self.call("GET", f"/{self.bucket}", query=form | unordered)
            self.assertIn(b"<Key>a</Key>", listed.body)
            folded = self.call("GET", f"/{self.bucket}", query=form | unordered | {"delimiter": "/"})
            self.assertEqual((folded.status, folded.error()["Code"]), (400, "InvalidArgument"))

    def test_nobody_sees_an_empty_list_of_buckets(self):
        reply = self.call("GET", "/", sign=False)
        self.assertEqual(reply.status, 200, reply.body)
        self.assertNotIn(b"<Bucket>", reply.body)

    def test_requests_signed_by_version_2(self):
        old = self.daemon.client(signature_version="s3")
        old.put_object(Bucket=self.bucket, Key="old", Body=b"old")
        self.assertEqual(old.get_object(Bucket=self.bucket, Key="old")["Body"].read(), b"old")

    def test_who_may_write_an_object_may_say_its_acl_and_tags(self):
        writer = User("writer")
        users.add(self.daemon, writer)
        s3 = self.daemon.client()
        allow = {
            "Effect": "Allow",
            "Principal": {"AWS": "writer"},
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{self.bucket}/shared/*",
        }
        s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
        theirs = users.client(self.daemon, writer)
        theirs.put_object(Bucket=self.bucket, Key="shared/k", ACL="public-read", Tagging="a=b", Body=b"x")
        with self.assertRaises(ClientError):
            theirs.put_object(Bucket=self.bucket, Key="k", Body=b"x")


if __name__ == "__main__":
    unittest.main()
