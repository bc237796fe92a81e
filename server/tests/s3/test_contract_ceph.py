"""The rows of the contract where clients of ceph expect other answers: `compat = "ceph"`."""

import json
import unittest

from botocore.exceptions import ClientError

import contract
import raw
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

    def test_clients_that_sign_with_version_2(self):
        old = self.daemon.client(signature_version="s3")
        bucket = "version-2"
        old.create_bucket(Bucket=bucket)
        key = "a b/\u00fc+c"
        old.put_object(Bucket=bucket, Key=key, Body=b"x", Metadata={"b": "2", "a": "1"})
        self.assertEqual(old.get_object(Bucket=bucket, Key=key)["Body"].read(), b"x")
        old.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
        # The address of a bucket is signed with a slash at its end, and sent without.
        self.assertEqual([one["Key"] for one in old.list_objects(Bucket=bucket)["Contents"]], [key, "copy"])
        old.get_bucket_acl(Bucket=bucket)
        old.list_object_versions(Bucket=bucket)
        url = old.generate_presigned_url("list_objects", Params={"Bucket": bucket})
        self.assertEqual(raw.send(self.daemon, "GET", url, {}).status, 200)
        # What it presigns to be sent as headers, it puts into the query.
        where = {"Bucket": bucket, "Key": "presigned", "ACL": "public-read", "Metadata": {"q": "r"}}
        url = old.generate_presigned_url("put_object", Params=where)
        self.assertEqual(raw.send(self.daemon, "PUT", url, {}, b"y").status, 200)
        self.assertEqual(old.head_object(Bucket=bucket, Key="presigned")["Metadata"], {"q": "r"})
        changed = url.replace("public-read", "public-read-write")
        self.assertEqual(raw.send(self.daemon, "PUT", changed, {}, b"y").status, 403)
        old.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": one} for one in (key, "copy", "presigned")]})
        old.delete_bucket(Bucket=bucket)
        # A key that is not the signer's.
        self.daemon.env["AWS_SECRET_ACCESS_KEY"] += "x"
        try:
            with self.assertRaises(ClientError) as refused:
                self.daemon.client(signature_version="s3").list_objects(Bucket=self.bucket)
        finally:
            self.daemon.env["AWS_SECRET_ACCESS_KEY"] = self.daemon.env["AWS_SECRET_ACCESS_KEY"][:-1]
        self.assertEqual(refused.exception.response["Error"]["Code"], "SignatureDoesNotMatch")

    def test_policies_see_which_version_signed(self):
        bucket = "no-version-2"
        new = self.daemon.client()
        new.create_bucket(Bucket=bucket)
        new.put_object(Bucket=bucket, Key="k", Body=b"x")
        deny = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {"StringEquals": {"s3:signatureversion": "AWS"}},
        }
        new.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": deny}))
        old = self.daemon.client(signature_version="s3")
        with self.assertRaises(ClientError) as refused:
            old.get_object(Bucket=bucket, Key="k")
        self.assertEqual(refused.exception.response["Error"]["Code"], "AccessDenied")
        url = old.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        self.assertEqual(raw.send(self.daemon, "GET", url, {}).status, 403)
        new.get_object(Bucket=bucket, Key="k")

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
