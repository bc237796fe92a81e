"""Versions, delete markers, tags of versions, and writes and deletes on conditions."""

import os
import unittest

from botocore.exceptions import ClientError

import raw
from daemon import Daemon

KEY, OTHER = os.urandom(32), os.urandom(32)


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()


def tearDownModule():
    daemon.close()


def ssec(key):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


class Case(unittest.TestCase):
    counter = 0

    def refused(self, status, code, call, **arguments):
        with self.assertRaises(ClientError) as refused:
            call(**arguments)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))
        return response

    def bucket(self, status=None):
        Case.counter += 1
        name = f"versions-{Case.counter}"
        s3.create_bucket(Bucket=name)
        if status:
            self.versioning(name, status)
        return name

    def versioning(self, bucket, status):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def put(self, bucket, key, body, **arguments):
        return s3.put_object(Bucket=bucket, Key=key, Body=body, **arguments).get("VersionId")

    def get(self, bucket, key, version=None, **arguments):
        version = {"VersionId": version} if version else {}
        return s3.get_object(Bucket=bucket, Key=key, **version, **arguments)["Body"].read()

    def history(self, bucket, **arguments):
        """(key, version, latest, is a marker), in the order of the reply's two lists."""
        page = s3.list_object_versions(Bucket=bucket, **arguments)
        entry = lambda found, marker: (found["Key"], found["VersionId"], found["IsLatest"], marker)
        return [entry(found, False) for found in page.get("Versions", [])] + [
            entry(found, True) for found in page.get("DeleteMarkers", [])
        ]


class Versions(Case):
    def test_a_bucket_says_whether_it_keeps_versions(self):
        bucket = self.bucket()
        self.assertNotIn("Status", s3.get_bucket_versioning(Bucket=bucket))
        self.versioning(bucket, "Enabled")
        self.assertEqual(s3.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")
        self.versioning(bucket, "Suspended")
        self.assertEqual(s3.get_bucket_versioning(Bucket=bucket)["Status"], "Suspended")
        body = b"<VersioningConfiguration><Status>Perhaps</Status></VersioningConfiguration>"
        reply = raw.request(daemon, "PUT", f"/{bucket}", {}, body, {"versioning": ""})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "MalformedXML"))
        self.refused(404, "NoSuchBucket", s3.get_bucket_versioning, Bucket="no-such-bucket-here")

    def test_every_write_stays(self):
        bucket = self.bucket("Enabled")
        made = [self.put(bucket, "k", b"%d" % n) for n in range(3)]
        self.assertEqual(len(set(made)), 3)
        self.assertEqual(self.get(bucket, "k"), b"2")
        for n, version in enumerate(made):
            self.assertEqual(self.get(bucket, "k", version), b"%d" % n)
            head = s3.head_object(Bucket=bucket, Key="k", VersionId=version)
            self.assertEqual((head["VersionId"], head["ContentLength"]), (version, 1))
        self.assertEqual(s3.get_object(Bucket=bucket, Key="k")["VersionId"], made[2])
        expected = [("k", version, version == made[2], False) for version in reversed(made)]
        self.assertEqual(self.history(bucket), expected)

    def test_a_marker_hides_and_its_removal_shows_again(self):
        bucket = self.bucket("Enabled")
        version = self.put(bucket, "k", b"x")
        deleted = s3.delete_object(Bucket=bucket, Key="k")
        marker = deleted["VersionId"]
        self.assertEqual((deleted["DeleteMarker"], marker != version), (True, True))
        hidden = raw.request(daemon, "GET", f"/{bucket}/k")
        self.assertEqual((hidden.status, hidden.error()["Code"]), (404, "NoSuchKey"))
        self.assertEqual((hidden.headers["x-amz-delete-marker"], hidden.headers["x-amz-version-id"]), ("true", marker))
        self.refused(404, "404", s3.head_object, Bucket=bucket, Key="k")
        self.assertEqual(s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0)
        self.assertEqual(self.get(bucket, "k", version), b"x")
        for method in ("GET", "HEAD"):
            reply = raw.request(daemon, method, f"/{bucket}/k", query={"versionId": marker})
            self.assertEqual((reply.status, reply.headers["x-amz-delete-marker"]), (405, "true"))
            self.assertEqual(reply.headers["allow"], "DELETE")
        self.assertIn(("k", marker, True, True), self.history(bucket))
        self.assertIn(("k", version, False, False), self.history(bucket))
        undone = s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)
        self.assertEqual((undone["DeleteMarker"], undone["VersionId"]), (True, marker))
        self.assertEqual(self.get(bucket, "k"), b"x")

    def test_a_version_removed_for_good(self):
        bucket = self.bucket("Enabled")
        first, second = self.put(bucket, "k", b"1"), self.put(bucket, "k", b"2")
        removed = s3.delete_object(Bucket=bucket, Key="k", VersionId=second)
        self.assertEqual(removed["VersionId"], second)
        self.assertNotIn("DeleteMarker", removed)
        self.assertEqual(self.get(bucket, "k"), b"1")
        self.refused(404, "NoSuchVersion", s3.get_object, Bucket=bucket, Key="k", VersionId=second)
        s3.delete_object(Bucket=bucket, Key="k", VersionId=second)
        s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
        self.assertEqual(self.history(bucket), [])
        s3.delete_bucket(Bucket=bucket)

    def test_version_ids_that_are_none(self):
        bucket = self.bucket("Enabled")
        self.put(bucket, "k", b"x")
        self.refused(400, "InvalidArgument", s3.get_object, Bucket=bucket, Key="k", VersionId="not a version")
        self.refused(404, "NoSuchVersion", s3.get_object, Bucket=bucket, Key="k", VersionId="0" * 32)
        self.refused(404, "NoSuchVersion", s3.get_object, Bucket=bucket, Key="k", VersionId="null")
        self.refused(400, "InvalidArgument", s3.delete_object, Bucket=bucket, Key="k", VersionId="not a version")

    def test_the_null_version(self):
        bucket = self.bucket()
        self.assertIsNone(self.put(bucket, "k", b"before"))
        self.assertEqual(self.history(bucket), [("k", "null", True, False)])
        self.versioning(bucket, "Enabled")
        kept = self.put(bucket, "k", b"kept")
        self.assertEqual(self.get(bucket, "k", "null"), b"before")
        self.assertEqual(s3.get_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"], "null")
        self.versioning(bucket, "Suspended")
        self.put(bucket, "k", b"after")
        self.assertEqual((self.get(bucket, "k"), self.get(bucket, "k", "null")), (b"after", b"after"))
        self.assertEqual(self.history(bucket), [("k", "null", True, False), ("k", kept, False, False)])
        deleted = s3.delete_object(Bucket=bucket, Key="k")
        self.assertEqual((deleted["DeleteMarker"], deleted["VersionId"]), (True, "null"))
        self.assertEqual(self.history(bucket), [("k", kept, False, False), ("k", "null", True, True)])
        s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
        self.assertEqual(self.get(bucket, "k"), b"kept")

    def test_a_bucket_with_versions_or_markers_is_not_empty(self):
        bucket = self.bucket("Enabled")
        marker = s3.delete_object(Bucket=bucket, Key="never")["VersionId"]
        self.refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
        s3.delete_object(Bucket=bucket, Key="never", VersionId=marker)
        s3.delete_bucket(Bucket=bucket)

    def test_each_version_has_its_own_key(self):
        bucket = self.bucket("Enabled")
        managed = self.put(bucket, "k", b"managed")
        one, two = self.put(bucket, "k", b"one", **ssec(KEY)), self.put(bucket, "k", b"two", **ssec(OTHER))
        self.assertEqual(self.get(bucket, "k", managed), b"managed")
        self.assertEqual(self.get(bucket, "k", one, **ssec(KEY)), b"one")
        self.assertEqual(self.get(bucket, "k", two, **ssec(OTHER)), b"two")
        read = {"Bucket": bucket, "Key": "k"}
        self.refused(403, "AccessDenied", s3.get_object, **read, VersionId=one, **ssec(OTHER))
        self.refused(400, "InvalidRequest", s3.get_object, **read, VersionId=one)
        self.refused(400, "InvalidRequest", s3.get_object, **read, VersionId=managed, **ssec(KEY))
        # Removing them needs none.
        for version in (managed, one, two):
            s3.delete_object(**read, VersionId=version)

    def test_copies_of_versions(self):
        bucket = self.bucket("Enabled")
        old, new = self.put(bucket, "k", b"old"), self.put(bucket, "k", b"new")
        source = {"Bucket": bucket, "Key": "k", "VersionId": old}
        copy = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
        self.assertEqual((copy["CopySourceVersionId"], self.get(bucket, "copy")), (old, b"old"))
        # An old version onto itself is how it is brought back.
        back = s3.copy_object(Bucket=bucket, Key="k", CopySource=source)
        self.assertEqual((self.get(bucket, "k"), back["VersionId"] not in (old, new)), (b"old", True))
        marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
        self.refused(404, "NoSuchKey", s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k")
        self.refused(
            400, "InvalidRequest", s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k?versionId={marker}"
        )


class Listings(Case):
    def test_pages_hold_every_version_once(self):
        bucket = self.bucket("Enabled")
        for n in range(3):
            for key in ("a", "b/1", "b/2", "c"):
                self.put(bucket, key, b"%d" % n)
        s3.delete_object(Bucket=bucket, Key="c")
        whole = sorted(self.history(bucket))
        self.assertEqual(len(whole), 13)
        for size in (1, 2, 5, 1000):
            pages = s3.get_paginator("list_object_versions").paginate(
                Bucket=bucket, PaginationConfig={"PageSize": size}
            )
            found = []
            for page in pages:
                entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
                self.assertLessEqual(len(entries), size)
                found += [(e["Key"], e["VersionId"], e["IsLatest"], "Size" not in e) for e in entries]
            self.assertEqual(sorted(found), whole, size)

    def test_prefix_delimiter_and_coding(self):
        bucket = self.bucket("Enabled")
        for key in ("a b", "d/1", "d/2", "e"):
            self.put(bucket, key, b"")
        page = s3.list_object_versions(Bucket=bucket, Delimiter="/")
        self.assertEqual([entry["Key"] for entry in page["Versions"]], ["a b", "e"])
        self.assertEqual([entry["Prefix"] for entry in page["CommonPrefixes"]], ["d/"])
        self.assertEqual([entry[0] for entry in self.history(bucket, Prefix="d/")], ["d/1", "d/2"])
        self.assertEqual([entry[0] for entry in self.history(bucket, KeyMarker="d/1")], ["d/2", "e"])
        reply = raw.request(daemon, "GET", f"/{bucket}", query={"versions": "", "encoding-type": "url"})
        self.assertIn(b"a%20b", reply.body)
        reply = raw.request(daemon, "GET", f"/{bucket}", query={"versions": "", "version-id-marker": "null"})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))

    def test_entries_are_described(self):
        bucket = self.bucket()
        put = s3.put_object(Bucket=bucket, Key="k", Body=b"test", StorageClass="STANDARD_IA")
        entry = s3.list_object_versions(Bucket=bucket)["Versions"][0]
        self.assertEqual((entry["ETag"], entry["Size"], entry["StorageClass"]), (put["ETag"], 4, "STANDARD_IA"))
        self.assertIn("ID", entry["Owner"])


class Deletes(Case):
    def test_many_versions_and_markers_at_once(self):
        bucket = self.bucket("Enabled")
        one, two = self.put(bucket, "k", b"1"), self.put(bucket, "k", b"2")
        marked = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "never"}]})
        self.assertEqual([entry["DeleteMarker"] for entry in marked["Deleted"]], [True, True])
        marker = marked["Deleted"][0]["DeleteMarkerVersionId"]
        objects = [{"Key": "k", "VersionId": version} for version in (one, two, marker)]
        done = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        self.assertEqual([entry["VersionId"] for entry in done["Deleted"]], [one, two, marker])
        self.assertEqual(done["Deleted"][2]["DeleteMarkerVersionId"], marker)
        self.assertEqual([entry[0] for entry in self.history(bucket)], ["never"])

    def test_quiet_says_errors_only(self):
        bucket = self.bucket("Enabled")
        self.put(bucket, "k", b"")
        objects = [{"Key": "k"}, {"Key": "k", "VersionId": "not a version"}]
        done = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        self.assertNotIn("Deleted", done)
        self.assertEqual([entry["VersionId"] for entry in done["Errors"]], ["not a version"])

    def test_a_thousand_and_not_one_more(self):
        bucket = self.bucket()
        objects = [{"Key": f"k{n}"} for n in range(1001)]
        self.refused(400, "MalformedXML", s3.delete_objects, Bucket=bucket, Delete={"Objects": objects})
        done = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects[:1000]})
        self.assertEqual(len(done["Deleted"]), 1000)


class Conditions(Case):
    def test_writes(self):
        bucket = self.bucket("Enabled")
        put = {"Bucket": bucket, "Key": "k", "Body": b"x"}
        etag = s3.put_object(**put, IfNoneMatch="*")["ETag"]
        self.refused(412, "PreconditionFailed", s3.put_object, **put, IfNoneMatch="*")
        s3.put_object(**put, IfMatch=etag)
        s3.delete_object(Bucket=bucket, Key="k")
        # Under a marker there is nothing.
        self.refused(404, "NoSuchKey", s3.put_object, **put, IfMatch=etag)
        s3.put_object(**put, IfNoneMatch="*")
        self.refused(400, "InvalidRequest", s3.put_object, **put, IfMatch=etag, IfNoneMatch="*")

    def test_copies(self):
        bucket = self.bucket()
        etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
        copy = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/k"}
        s3.copy_object(**copy, IfNoneMatch="*")
        self.refused(412, "PreconditionFailed", s3.copy_object, **copy, IfNoneMatch="*")
        self.refused(412, "PreconditionFailed", s3.copy_object, **copy, IfMatch='"no"')
        s3.copy_object(**copy, IfMatch=etag)

    def test_deletes(self):
        for status in (None, "Enabled"):
            bucket = self.bucket(status)
            self.put(bucket, "k", b"xy")
            head = s3.head_object(Bucket=bucket, Key="k")
            delete = {"Bucket": bucket, "Key": "k"}
            for wrong in ({"IfMatch": '"no"'}, {"IfMatchSize": 3}, {"IfMatchLastModifiedTime": 0}):
                self.refused(412, "PreconditionFailed", s3.delete_object, **delete, **wrong)
            s3.delete_object(
                **delete, IfMatch=head["ETag"], IfMatchSize=2, IfMatchLastModifiedTime=head["LastModified"]
            )
            self.refused(404, "NoSuchKey", s3.delete_object, **delete, IfMatch=head["ETag"])

    def test_many_deletes(self):
        bucket = self.bucket()
        etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
        s3.put_object(Bucket=bucket, Key="l", Body=b"y")
        objects = [{"Key": "k", "ETag": '"no"'}, {"Key": "l", "ETag": etag}, {"Key": "k", "ETag": etag, "Size": 1}]
        done = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        self.assertEqual([entry["Code"] for entry in done["Errors"]], ["PreconditionFailed"] * 2)
        self.assertEqual([entry["Key"] for entry in done["Deleted"]], ["k"])


class Tags(Case):
    def tags(self, bucket, key="k", **arguments):
        reply = s3.get_object_tagging(Bucket=bucket, Key=key, **arguments)
        return {tag["Key"]: tag["Value"] for tag in reply["TagSet"]}

    def test_life_of_tags(self):
        bucket = self.bucket()
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b%20c=%2B")
        self.assertEqual(self.tags(bucket), {"a": "1", "b c": "+"})
        head = s3.head_object(Bucket=bucket, Key="k")
        self.assertEqual((head["TagCount"], s3.get_object(Bucket=bucket, Key="k")["TagCount"]), (2, 2))
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "d", "Value": ""}]})
        self.assertEqual(self.tags(bucket), {"d": ""})
        s3.delete_object_tagging(Bucket=bucket, Key="k")
        self.assertEqual(self.tags(bucket), {})
        after = s3.head_object(Bucket=bucket, Key="k")
        self.assertNotIn("TagCount", after)
        self.assertEqual((after["ETag"], after["LastModified"]), (head["ETag"], head["LastModified"]))
        self.refused(404, "NoSuchKey", s3.get_object_tagging, Bucket=bucket, Key="nothing")

    def test_limits(self):
        bucket = self.bucket()
        s3.put_object(Bucket=bucket, Key="k", Body=b"")
        pairs = lambda n: [{"Key": f"k{i}", "Value": "v"} for i in range(n)]
        put = {"Bucket": bucket, "Key": "k"}
        s3.put_object_tagging(**put, Tagging={"TagSet": pairs(10)})
        self.refused(400, "BadRequest", s3.put_object_tagging, **put, Tagging={"TagSet": pairs(11)})
        for wrong in (
            [{"Key": "k" * 129, "Value": "v"}],
            [{"Key": "k", "Value": "v" * 257}],
            [{"Key": "aws:k", "Value": "v"}],
            [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}],
        ):
            self.refused(400, "InvalidTag", s3.put_object_tagging, **put, Tagging={"TagSet": wrong})
        self.refused(400, "InvalidArgument", s3.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="a=1&a=2")
        self.assertEqual(len(self.tags(bucket)), 10)

    def test_each_version_has_its_own(self):
        bucket = self.bucket("Enabled")
        one, two = self.put(bucket, "k", b"1", Tagging="n=1"), self.put(bucket, "k", b"2")
        self.assertEqual((self.tags(bucket), self.tags(bucket, VersionId=one)), ({}, {"n": "1"}))
        reply = s3.put_object_tagging(
            Bucket=bucket, Key="k", VersionId=one, Tagging={"TagSet": [{"Key": "m", "Value": "2"}]}
        )
        self.assertEqual(reply["VersionId"], one)
        self.assertEqual((self.tags(bucket), self.tags(bucket, VersionId=one)), ({}, {"m": "2"}))
        marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
        self.refused(405, "MethodNotAllowed", s3.get_object_tagging, Bucket=bucket, Key="k", VersionId=marker)
        self.refused(404, "NoSuchKey", s3.get_object_tagging, Bucket=bucket, Key="k")
        self.assertEqual(self.tags(bucket, VersionId=two), {})

    def test_copies_keep_or_replace_them(self):
        bucket = self.bucket()
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
        copy = {"Bucket": bucket, "CopySource": f"{bucket}/k"}
        s3.copy_object(**copy, Key="kept")
        self.assertEqual(self.tags(bucket, "kept"), {"a": "1"})
        s3.copy_object(**copy, Key="replaced", TaggingDirective="REPLACE", Tagging="b=2")
        self.assertEqual(self.tags(bucket, "replaced"), {"b": "2"})
        s3.copy_object(**copy, Key="none", TaggingDirective="REPLACE")
        self.assertEqual(self.tags(bucket, "none"), {})


if __name__ == "__main__":
    unittest.main()
