"""Forms as the public suite of Ceph's gateway posts them: signed by version 2, every field with a file name."""

import base64
import hashlib
import unittest
import urllib.parse
import xml.etree.ElementTree as ElementTree

import forms
import raw
from daemon import Daemon

BUCKET = "forms"
KEY = ["starts-with", "$key", "foo"]
ACL = {"acl": "private"}
TYPE = ["starts-with", "$Content-Type", "text/plain"]
RANGE = ["content-length-range", 0, 1024]
TAGS = "<Tagging><TagSet><Tag><Key>0</Key><Value>0</Value></Tag><Tag><Key>1</Key><Value>1</Value></Tag></TagSet></Tagging>"


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    daemon.configure(lambda text: text.replace("[s3]", '[s3]\ncompat = "ceph"'))
    s3 = daemon.client()
    for bucket in (BUCKET, "other"):
        s3.create_bucket(Bucket=bucket, ObjectOwnership="ObjectWriter")
        s3.delete_public_access_block(Bucket=bucket)
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")


class Case(unittest.TestCase):
    def post(self, fields, body=b"bar", bucket=BUCKET, **more):
        return forms.post(daemon, bucket, fields, body, named=True, **more)

    def fields(self, policy, **changed):
        return {"key": "foo.txt", "acl": "private", "Content-Type": "text/plain"} | forms.sign_2(daemon, policy) | changed

    def signed(self, *conditions, fields=None, body=b"bar", **more):
        policy = forms.policy(*(conditions or ({"bucket": BUCKET}, KEY, ACL, TYPE, RANGE)), **more)
        return self.post(self.fields(policy) | (fields or {}), body)

    def stored(self, key, body=b"bar"):
        got = s3.get_object(Bucket=BUCKET, Key=key)
        self.assertEqual(got["Body"].read(), body)
        return got

    def refused(self, reply, status, code=None):
        self.assertEqual(reply.status, status, reply.body)
        if code:
            self.assertEqual(reply.error()["Code"], code)


class Anonymous(Case):
    FIELDS = {"key": "foo.txt", "acl": "public-read", "Content-Type": "text/plain"}

    def test_request(self):
        self.assertEqual(self.post(self.FIELDS).status, 204)
        self.stored("foo.txt")

    def test_success_codes(self):
        reply = self.post(self.FIELDS | {"success_action_status": "201"})
        self.assertEqual(reply.status, 201)
        # Of no schema.
        self.assertEqual(ElementTree.fromstring(reply.body).find("Key").text, "foo.txt")
        reply = self.post(self.FIELDS | {"success_action_status": "404"})
        self.assertEqual((reply.status, reply.body), (204, b""))

    def test_tags(self):
        self.assertEqual(self.post(self.FIELDS | {"tagging": TAGS}).status, 204)
        tags = s3.get_object_tagging(Bucket=BUCKET, Key="foo.txt")["TagSet"]
        self.assertEqual(tags, [{"Key": "0", "Value": "0"}, {"Key": "1", "Value": "1"}])


class Signed(Case):
    def test_request(self):
        self.assertEqual(self.signed().status, 204)
        self.stored("foo.txt")
        policy = forms.policy({"bucket": BUCKET}, KEY, ACL, RANGE)
        fields = self.fields(policy)
        del fields["Content-Type"]
        self.assertEqual(self.post(fields).status, 204)

    def test_a_large_file(self):
        body = b"foo" * (1 << 20)
        limit = ["content-length-range", 0, 5 << 20]
        self.assertEqual(self.signed({"bucket": BUCKET}, KEY, ACL, TYPE, limit, body=body).status, 204)
        self.stored("foo.txt", body)

    def test_the_name_of_the_file_as_key(self):
        policy = forms.policy({"bucket": BUCKET}, KEY, ACL, TYPE, RANGE)
        self.assertEqual(self.post(self.fields(policy, key="${filename}"), filename="foo2.txt").status, 204)
        self.stored("foo2.txt")

    def test_fields_that_are_ignored(self):
        self.assertEqual(self.signed(fields={"x-ignore-foo": "bar"}).status, 204)

    def test_names_are_in_any_case(self):
        policy = forms.policy(
            {"bUcKeT": BUCKET}, ["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"},
            ["StArTs-WiTh", "$CoNtEnT-TyPe", "text/plain"], RANGE,
        )
        signed = forms.sign_2(daemon, policy)
        fields = {
            "kEy": "foo.txt", "aWSAccessKeyId": signed["AWSAccessKeyId"], "aCl": "private",
            "signature": signed["signature"], "pOLICy": policy, "Content-Type": "text/plain",
        }
        self.assertEqual(self.post(fields).status, 204)
        for document in (
            {"expiration": forms.until(), "CONDITIONS": []}, {"EXPIRATION": forms.until(), "conditions": []}
        ):
            self.refused(self.post(self.fields(forms.encoded(document))), 400, "InvalidPolicyDocument")

    def test_values_with_a_dollar(self):
        reply = self.signed(
            {"bucket": BUCKET}, ["starts-with", "$key", "\\$foo"], ACL, TYPE, RANGE, fields={"key": "\\$foo.txt"}
        )
        self.assertEqual(reply.status, 204)
        self.stored("\\$foo.txt")

    def test_redirect(self):
        url = f"{daemon.env['AWS_ENDPOINT_URL']}/{BUCKET}"
        conditions = ({"bucket": BUCKET}, KEY, ACL, TYPE, ["eq", "$success_action_redirect", url], RANGE)
        reply = self.signed(*conditions, fields={"success_action_redirect": url})
        etag = s3.head_object(Bucket=BUCKET, Key="foo.txt")["ETag"].strip('"')
        location = f"{url}?bucket={BUCKET}&key=foo.txt&etag=%22{etag}%22"
        self.assertEqual((reply.status, reply.headers["location"]), (303, location))
        # Which a browser then asks for.
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(location).query))
        self.assertEqual(raw.request(daemon, "GET", f"/{BUCKET}", query=query, sign=False).status, 200)

    def test_a_signature_that_is_not_right(self):
        policy = forms.policy({"bucket": BUCKET}, KEY, ACL, TYPE, RANGE)
        good = self.fields(policy)
        for changed in ({"signature": good["signature"][::-1]}, {"AWSAccessKeyId": "foo"}):
            self.refused(self.post(good | changed), 403)
        for gone in ("signature", "policy", "key"):
            self.refused(self.post({name: value for name, value in good.items() if name != gone}), 400, "InvalidArgument")

    def test_a_policy_that_does_not_permit_it(self):
        bucket, meta = {"bucket": BUCKET}, {"x-amz-meta-foo": "barclamp"}
        rest = (KEY, ACL, TYPE, RANGE)
        starts = ["starts-with", "$x-amz-meta-foo", "bar"]
        self.assertEqual(self.signed(bucket, *rest, starts, fields=meta).status, 204)
        self.assertEqual(self.stored("foo.txt")["Metadata"], {"foo": "barclamp"})
        self.refused(self.signed(*rest), 403, "AccessDenied")
        self.refused(self.signed(bucket, *rest, starts), 403, "AccessDenied")
        self.refused(self.signed(bucket, *rest, ["eq", "$x-amz-meta-foo", ""], fields=meta), 403, "AccessDenied")
        self.refused(self.signed(bucket, *rest, fields=meta), 403, "AccessDenied")
        self.refused(self.signed(expiration=forms.until(-6000)), 403, "AccessDenied")
        policy = forms.policy(bucket, *rest)
        fields = self.fields(policy, bucket=BUCKET, key="${filename}")
        self.refused(self.post(fields, bucket="other", filename="foo.txt"), 403, "AccessDenied")

    def test_a_policy_that_is_none(self):
        invalid = (400, "InvalidPolicyDocument")
        self.refused(self.signed(expiration=forms.until(form="%Y-%m-%d %H:%M:%S.123456+00:00")), *invalid)
        for document in ({"expiration": forms.until()}, {"conditions": []}):
            self.refused(self.post(self.fields(forms.encoded(document))), *invalid)
        for wrong in ({}, ["content-length-range", 0], ["content-length-range", -1, 0]):
            self.refused(self.signed({"bucket": BUCKET}, KEY, ACL, TYPE, wrong), *invalid)

    def test_sizes(self):
        rest = ({"bucket": BUCKET}, KEY, ACL, TYPE)
        self.refused(self.signed(*rest, ["content-length-range", 0, 0]), 400, "EntityTooLarge")
        self.refused(self.signed(*rest, ["content-length-range", 512, 1000]), 400, "EntityTooSmall")
        self.assertEqual(self.signed(*rest, ["content-length-range", 2, 3]).status, 204)

    def test_fields_that_may_be_empty_need_not_be_there(self):
        empty = [["starts-with", f"${name}", ""] for name in ("tagging", "x-amz-server-side-encryption")]
        rest = ({"bucket": BUCKET}, KEY, ACL, TYPE, RANGE, *empty)
        self.assertEqual(self.signed(*rest).status, 204)
        self.assertEqual(self.signed(*rest, fields={"tagging": TAGS}).status, 204)
        self.assertEqual(len(s3.get_object_tagging(Bucket=BUCKET, Key="foo.txt")["TagSet"]), 2)

    def test_a_checksum_may_be_added(self):
        self.assertEqual(self.signed(fields={"x-amz-checksum-sha256": checksum(b"bar")}).status, 204)
        self.refused(self.signed(fields={"x-amz-checksum-sha256": checksum(b"baz")}), 400, "BadDigest")


def checksum(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


if __name__ == "__main__":
    unittest.main()
