"""Buckets, objects and listings as S3 clients use them."""

import base64
import datetime
import email.utils
import hashlib
import http.client
import os
import ssl
import unittest
import urllib.parse
import zlib

from botocore.exceptions import ClientError

import raw
from daemon import Daemon

BUCKET = "objects"


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


class Case(unittest.TestCase):
    def refused(self, status, code, call, **arguments):
        with self.assertRaises(ClientError) as refused:
            call(**arguments)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))


class Buckets(Case):
    def test_life_of_a_bucket(self):
        s3.create_bucket(Bucket="short-lived")
        self.assertIn("short-lived", [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]])
        s3.head_bucket(Bucket="short-lived")
        self.assertIsNone(s3.get_bucket_location(Bucket="short-lived")["LocationConstraint"])
        s3.put_object(Bucket="short-lived", Key="k", Body=b"")
        self.refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket="short-lived")
        s3.delete_object(Bucket="short-lived", Key="k")
        s3.delete_bucket(Bucket="short-lived")
        self.refused(404, "404", s3.head_bucket, Bucket="short-lived")
        self.refused(404, "NoSuchBucket", s3.list_objects_v2, Bucket="short-lived")
        # The name may be used again, by a bucket that has nothing of the old one.
        s3.create_bucket(Bucket="short-lived")
        self.assertEqual(s3.list_objects_v2(Bucket="short-lived")["KeyCount"], 0)

    def test_a_bucket_made_again_by_its_owner_is_left_as_it_is(self):
        s3.create_bucket(Bucket="again")
        s3.put_object(Bucket="again", Key="k", Body=b"kept")
        s3.create_bucket(Bucket="again")
        s3.create_bucket(Bucket="again", ACL="private", ObjectOwnership="ObjectWriter")
        self.assertEqual(s3.get_object(Bucket="again", Key="k")["Body"].read(), b"kept")
        for other in ({"ACL": "public-read"}, {"ObjectOwnership": "BucketOwnerEnforced"}):
            self.refused(409, "BucketAlreadyExists", s3.create_bucket, Bucket="again", **other)
        self.refused(409, "BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="again", ObjectLockEnabledForBucket=True)
        self.assertEqual(len(s3.get_bucket_acl(Bucket="again")["Grants"]), 1)
        s3.create_bucket(Bucket="again-public", ACL="public-read")
        self.refused(409, "BucketAlreadyExists", s3.create_bucket, Bucket="again-public")

    def test_pages_of_buckets(self):
        names = [f"page-{n}" for n in range(5)]
        for name in [*names, "pagf"]:
            s3.create_bucket(Bucket=name)
        self.assertEqual([bucket["Name"] for bucket in s3.list_buckets(Prefix="page-")["Buckets"]], names)
        for size in (1, 2, 5, 6):
            found, token = [], {}
            while True:
                page = s3.list_buckets(Prefix="page-", MaxBuckets=size, **token)
                self.assertLessEqual(len(page["Buckets"]), size)
                self.assertEqual(page["Prefix"], "page-")
                found += [bucket["Name"] for bucket in page["Buckets"]]
                if "ContinuationToken" not in page:
                    break
                token = {"ContinuationToken": page["ContinuationToken"]}
            self.assertEqual(found, names, size)
        for size in ("0", "10001"):
            reply = raw.request(daemon, "GET", "/", query={"max-buckets": size})
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))

    def test_names_that_no_bucket_may_have(self):
        for name in ("Upper", "a", "under_score", "1.2.3.4", "a-.b", "a.-b", "a..b", "xn--abc", "sthree-a", "abc-s3alias"):
            self.assertEqual(raw.request(daemon, "PUT", f"/{name}").error()["Code"], "InvalidBucketName")


class Objects(Case):
    def test_headers_and_metadata_come_back(self):
        sent = {
            "ContentType": "text/plain; charset=utf-8",
            "CacheControl": "max-age=60",
            "ContentDisposition": 'attachment; filename="a b.txt"',
            "ContentEncoding": "identity",
            "ContentLanguage": "de",
            "Metadata": {"colour": "blue", "empty": ""},
        }
        s3.put_object(Bucket=BUCKET, Key="headers", Body=b"x", **sent)
        for reply in (s3.get_object(Bucket=BUCKET, Key="headers"), s3.head_object(Bucket=BUCKET, Key="headers")):
            for name, value in sent.items():
                self.assertEqual(reply[name], value, name)
        overridden = s3.get_object(Bucket=BUCKET, Key="headers", ResponseContentType="image/png")
        self.assertEqual(overridden["ContentType"], "image/png")

    def test_expires_and_website_redirect_come_back_and_a_copy_keeps_the_first_only(self):
        expires = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.timezone.utc)
        s3.put_object(Bucket=BUCKET, Key="page", Body=b"x", Expires=expires, WebsiteRedirectLocation="/other")
        s3.copy_object(Bucket=BUCKET, Key="page-copy", CopySource=f"{BUCKET}/page")
        for key, redirect in (("page", "/other"), ("page-copy", None)):
            for reply in (s3.get_object(Bucket=BUCKET, Key=key), s3.head_object(Bucket=BUCKET, Key=key)):
                self.assertEqual(reply["Expires"], expires)
                self.assertEqual(reply.get("WebsiteRedirectLocation"), redirect)
        # What is no date is kept and given back as it was.
        raw.request(daemon, "PUT", f"/{BUCKET}/page", {"Expires": "0"}, b"x")
        self.assertEqual(raw.request(daemon, "GET", f"/{BUCKET}/page").headers["expires"], "0")

    def test_metadata_over_two_kib(self):
        self.refused(400, "MetadataTooLarge", s3.put_object, Bucket=BUCKET, Key="k", Metadata={"a": "x" * 2100})

    def test_names_of_every_kind(self):
        names = ["plain", "with space", "ünï/cödé", "a//b", "trailing/", "+plus", "per%cent", "x" * 1024, "quote'\"&<>", "./dots/.."]
        for name in names:
            s3.put_object(Bucket=BUCKET, Key="names/" + name[:1000], Body=name.encode())
            self.assertEqual(s3.get_object(Bucket=BUCKET, Key="names/" + name[:1000])["Body"].read(), name.encode())
        listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="names/")["Contents"]]
        self.assertEqual(listed, sorted(("names/" + name[:1000] for name in names), key=str.encode))
        self.refused(400, "KeyTooLongError", s3.put_object, Bucket=BUCKET, Key="x" * 1025)

    def test_content_md5(self):
        good = base64.b64encode(hashlib.md5(b"x").digest()).decode()
        s3.put_object(Bucket=BUCKET, Key="md5", Body=b"x", ContentMD5=good)
        self.refused(400, "BadDigest", s3.put_object, Bucket=BUCKET, Key="md5", Body=b"y", ContentMD5=good)
        self.refused(400, "InvalidDigest", s3.put_object, Bucket=BUCKET, Key="md5", Body=b"y", ContentMD5="AAAA")
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="md5")["Body"].read(), b"x")

    def test_additional_checksums(self):
        body = os.urandom(100_000)
        crc32 = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
        for algorithm, field, value in (("CRC32", "ChecksumCRC32", crc32), ("SHA256", "ChecksumSHA256", sha256)):
            # boto3 sends it in a trailer of a signed or unsigned chunked body.
            put = s3.put_object(Bucket=BUCKET, Key="sum", Body=body, ChecksumAlgorithm=algorithm)
            self.assertEqual(put[field], value)
            head = s3.head_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
            self.assertEqual((head[field], head["ChecksumType"]), (value, "FULL_OBJECT"))
            get = s3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
            self.assertEqual((get["Body"].read(), get[field]), (body, value))
            # In a header, right and wrong.
            s3.put_object(Bucket=BUCKET, Key="sum", Body=body, **{field: value})
            self.refused(400, "BadDigest", s3.put_object, Bucket=BUCKET, Key="sum", Body=b"other", **{field: value})

    def test_an_algorithm_that_is_named_and_not_there(self):
        named = {"x-amz-sdk-checksum-algorithm": "SHA256"}
        crc32 = base64.b64encode(zlib.crc32(b"x").to_bytes(4, "big")).decode()
        for headers in (named, named | {"x-amz-checksum-crc32": crc32}):
            reply = raw.request(daemon, "PUT", f"/{BUCKET}/named", headers, b"x")
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidRequest"))
        self.refused(404, "404", s3.head_object, Bucket=BUCKET, Key="named")

    def test_a_declared_trailer_that_does_not_come(self):
        body = b"4\r\nbody\r\n0\r\n\r\n"
        headers = {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": "4",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "content-encoding": "aws-chunked",
        }
        reply = raw.request(daemon, "PUT", f"/{BUCKET}/trailer", headers, body)
        self.assertEqual(reply.status, 400)
        self.refused(404, "404", s3.head_object, Bucket=BUCKET, Key="trailer")

    def test_conditional_reads(self):
        etag = s3.put_object(Bucket=BUCKET, Key="if", Body=b"x")["ETag"]
        get = {"Bucket": BUCKET, "Key": "if"}
        s3.get_object(**get, IfMatch=etag)
        self.refused(412, "PreconditionFailed", s3.get_object, **get, IfMatch='"no"')
        self.refused(304, "304", s3.get_object, **get, IfNoneMatch=etag)
        modified = s3.head_object(**get)["LastModified"]
        self.refused(304, "304", s3.get_object, **get, IfModifiedSince=modified)
        s3.get_object(**get, IfUnmodifiedSince=modified)

    def test_conditional_writes_and_deletes(self):
        put = {"Bucket": BUCKET, "Key": "once", "Body": b"x"}
        etag = s3.put_object(**put, IfNoneMatch="*")["ETag"]
        self.refused(412, "PreconditionFailed", s3.put_object, **put, IfNoneMatch="*")
        self.refused(412, "PreconditionFailed", s3.put_object, **put, IfMatch='"no"')
        s3.put_object(**put, IfMatch=etag)
        self.refused(404, "NoSuchKey", s3.put_object, Bucket=BUCKET, Key="never", Body=b"", IfMatch=etag)
        self.refused(412, "PreconditionFailed", s3.delete_object, Bucket=BUCKET, Key="once", IfMatch='"no"')
        s3.delete_object(Bucket=BUCKET, Key="once", IfMatch=etag)
        for condition in (etag, "*"):
            self.refused(404, "NoSuchKey", s3.delete_object, Bucket=BUCKET, Key="once", IfMatch=condition)
        gone = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "once", "ETag": etag}]})
        self.assertEqual([error["Code"] for error in gone["Errors"]], ["NoSuchKey"])
        self.refused(501, "NotImplemented", s3.put_object, **put, IfNoneMatch=etag)

    def test_what_is_not_there(self):
        self.refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key="nothing")
        self.refused(404, "404", s3.head_object, Bucket=BUCKET, Key="nothing")
        self.assertEqual(s3.delete_object(Bucket=BUCKET, Key="nothing")["ResponseMetadata"]["HTTPStatusCode"], 204)

    def test_error_bodies_are_whole(self):
        error = raw.request(daemon, "GET", f"/{BUCKET}/nothing").error()
        self.assertEqual((error["Code"], error["Key"], error["Resource"]), ("NoSuchKey", "nothing", f"/{BUCKET}/nothing"))
        self.assertTrue(error["RequestId"])

    def test_delete_many(self):
        for n in range(5):
            s3.put_object(Bucket=BUCKET, Key=f"many/{n}", Body=b"")
        reply = s3.delete_objects(
            Bucket=BUCKET, Delete={"Objects": [{"Key": f"many/{n}"} for n in range(6)]}
        )
        self.assertEqual(len(reply["Deleted"]), 6)
        self.assertEqual(s3.list_objects_v2(Bucket=BUCKET, Prefix="many/")["KeyCount"], 0)

    def test_storage_classes(self):
        s3.put_object(Bucket=BUCKET, Key="class", Body=b"", StorageClass="STANDARD_IA")
        self.assertEqual(s3.head_object(Bucket=BUCKET, Key="class")["StorageClass"], "STANDARD_IA")
        self.refused(400, "InvalidStorageClass", s3.put_object, Bucket=BUCKET, Key="class", StorageClass="CELLAR")

    def test_unsigned_and_badly_signed_requests(self):
        self.assertEqual(raw.request(daemon, "GET", f"/{BUCKET}", sign=False).status, 403)
        reply = raw.request(daemon, "PUT", f"/{BUCKET}/tampered", {}, b"x")
        self.assertEqual(reply.status, 200)
        other = daemon.client()
        other._request_signer._credentials.secret_key = "wrong" * 8
        self.refused(403, "SignatureDoesNotMatch", other.list_objects_v2, Bucket=BUCKET)

    def test_a_put_says_how_long_it_is(self):
        signer = daemon.client(signature_version="s3v4")
        where = {"Bucket": BUCKET, "Key": "long"}
        url = urllib.parse.urlsplit(signer.generate_presigned_url("put_object", Params=where))
        context = ssl.create_default_context(cafile=daemon.env["AWS_CA_BUNDLE"])
        for length, status in ((None, 411), ("0", 200)):
            connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=60)
            connection.putrequest("PUT", f"{url.path}?{url.query}")
            if length:
                connection.putheader("Content-Length", length)
            connection.endheaders()
            self.assertEqual(connection.getresponse().status, status)
            connection.close()

    def test_signatures_that_are_none_and_dates_where_old_clients_have_them(self):
        for value, status, code in (
            ("", 403, "AccessDenied"),
            ("AWS HAHAHA", 400, "InvalidArgument"),
            ("HAHAHA", 400, "InvalidArgument"),
            ("AWS key:signature", 400, "InvalidRequest"),
        ):
            reply = raw.request(daemon, "GET", f"/{BUCKET}", {"Authorization": value}, sign=False)
            self.assertEqual((reply.status, reply.error()["Code"]), (status, code), value)
        date = email.utils.formatdate(usegmt=True)
        self.assertEqual(raw.request(daemon, "GET", f"/{BUCKET}", {"Date": date}).status, 200)
        signer = daemon.client(signature_version="s3v4")
        long = signer.generate_presigned_url("list_objects_v2", Params={"Bucket": BUCKET}, ExpiresIn=604_801)
        reply = raw.send(daemon, "GET", long, {})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "AuthorizationQueryParametersError"))

    def test_a_body_that_is_not_what_was_signed(self):
        signed = raw.presign(daemon, "PUT", f"/{BUCKET}/presigned")
        self.assertEqual(raw.send(daemon, "PUT", signed, {}, b"any").status, 200)
        reply = raw.request(daemon, "PUT", f"/{BUCKET}/unsigned-body", {}, b"signed", sent=b"other!")
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "XAmzContentSHA256Mismatch"))
        self.refused(404, "404", s3.head_object, Bucket=BUCKET, Key="unsigned-body")

    def test_large_object_in_one_put(self):
        block = os.urandom(1 << 20)
        body = block * 24
        s3.put_object(Bucket=BUCKET, Key="large", Body=body)
        digest = hashlib.sha256()
        for chunk in s3.get_object(Bucket=BUCKET, Key="large")["Body"].iter_chunks(1 << 20):
            digest.update(chunk)
        self.assertEqual(digest.digest(), hashlib.sha256(body).digest())


class Listings(Case):
    @classmethod
    def setUpClass(cls):
        s3.create_bucket(Bucket="listing")
        cls.keys = sorted([f"a/{n}" for n in range(4)] + [f"b/{n}" for n in range(3)] + ["a", "c", "a-b"])
        for key in cls.keys:
            s3.put_object(Bucket="listing", Key=key, Body=key.encode())

    def test_pages_of_both_forms_hold_every_key_once(self):
        for operation in ("list_objects", "list_objects_v2"):
            for size in (1, 2, 3, 1000):
                pages = s3.get_paginator(operation).paginate(Bucket="listing", PaginationConfig={"PageSize": size})
                found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
                self.assertEqual(found, self.keys, (operation, size))

    def test_delimiter(self):
        for operation in ("list_objects", "list_objects_v2"):
            for size in (1, 2, 1000):
                pages = s3.get_paginator(operation).paginate(
                    Bucket="listing", Delimiter="/", PaginationConfig={"PageSize": size}
                )
                pages = list(pages)
                keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
                prefixes = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
                self.assertEqual((keys, prefixes), (["a", "a-b", "c"], ["a/", "b/"]), (operation, size))

    def test_prefix_start_after_and_max_keys(self):
        page = s3.list_objects_v2(Bucket="listing", Prefix="a/", StartAfter="a/1", MaxKeys=1)
        self.assertEqual([entry["Key"] for entry in page["Contents"]], ["a/2"])
        self.assertTrue(page["IsTruncated"])
        empty = s3.list_objects_v2(Bucket="listing", MaxKeys=0)
        self.assertEqual((empty["KeyCount"], empty["IsTruncated"]), (0, False))
        self.refused(400, "InvalidArgument", s3.list_objects_v2, Bucket="listing", MaxKeys=-1)

    def test_entries_are_described(self):
        entry = s3.list_objects_v2(Bucket="listing", Prefix="c", FetchOwner=True)["Contents"][0]
        self.assertEqual(entry["ETag"].strip('"'), hashlib.md5(b"c").hexdigest())
        self.assertEqual((entry["Size"], entry["StorageClass"]), (1, "STANDARD"))
        self.assertIn("ID", entry["Owner"])


class ListingEdges(Case):
    """Every way to say where a listing begins, ends and folds, in both forms."""

    @classmethod
    def setUpClass(cls):
        s3.create_bucket(Bucket="edges")
        cls.keys = ["a b", "a%b", "a.b", "a/b/1", "a/b/2", "a/c", "ab", "b+c", "b/"]
        for key in cls.keys:
            s3.put_object(Bucket="edges", Key=key, Body=b"x")

    def both(self, start="", **arguments):
        for list_, marker in ((s3.list_objects, "Marker"), (s3.list_objects_v2, "StartAfter")):
            page = list_(Bucket="edges", **arguments, **({marker: start} if start else {}))
            keys = [entry["Key"] for entry in page.get("Contents", [])]
            yield page, keys, [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]

    def test_delimiters_of_every_kind(self):
        for delimiter, keys, prefixes in (
            (" ", ["a%b", "a.b", "a/b/1", "a/b/2", "a/c", "ab", "b+c", "b/"], ["a "]),
            ("%", ["a b", "a.b", "a/b/1", "a/b/2", "a/c", "ab", "b+c", "b/"], ["a%"]),
            (".", ["a b", "a%b", "a/b/1", "a/b/2", "a/c", "ab", "b+c", "b/"], ["a."]),
            ("/", ["a b", "a%b", "a.b", "ab", "b+c"], ["a/", "b/"]),
            ("/b", ["a b", "a%b", "a.b", "a/c", "ab", "b+c", "b/"], ["a/b"]),
            ("\n", self.keys, []),
        ):
            for page, found, folded in self.both(Delimiter=delimiter):
                self.assertEqual((page["Delimiter"], found, folded), (delimiter, keys, prefixes))

    def test_no_delimiter_is_none(self):
        for page, found, folded in self.both(Delimiter=""):
            self.assertNotIn("Delimiter", page)
            self.assertEqual((found, folded), (self.keys, []))

    def test_prefixes(self):
        for prefix, keys in (("a/b/", ["a/b/1", "a/b/2"]), ("a%", ["a%b"]), ("\n", []), ("b/", ["b/"]), ("z", [])):
            for page, found, _ in self.both(Prefix=prefix):
                self.assertEqual((page["Prefix"], found), (prefix, keys))
        for page, found, folded in self.both(Prefix="a/", Delimiter="/"):
            self.assertEqual((found, folded), (["a/c"], ["a/b/"]))

    def test_where_a_listing_begins(self):
        for start, keys in (("\n", self.keys), ("a.", self.keys[2:]), ("a/c", self.keys[6:]), ("zzz", [])):
            for page, found, _ in self.both(start):
                self.assertEqual((page.get("Marker", page.get("StartAfter")), found), (start, keys))
                self.assertFalse(page["IsTruncated"])

    def test_how_much_a_listing_holds(self):
        for page, found, _ in self.both(MaxKeys=0):
            self.assertEqual((found, page["IsTruncated"]), ([], False))
        for page, found, _ in self.both():
            self.assertEqual((page["MaxKeys"], page["IsTruncated"]), (1000, False))
        for value in ("blah", "-1"):
            reply = raw.request(daemon, "GET", "/edges", query={"max-keys": value})
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))

    def test_folding_goes_on_where_a_page_ended(self):
        pages, start = [], ""
        while True:
            page = s3.list_objects(Bucket="edges", Delimiter="/", MaxKeys=1, Marker=start)
            pages += [entry["Key"] for entry in page.get("Contents", [])]
            pages += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            if not page["IsTruncated"]:
                break
            start = page["NextMarker"]
        self.assertEqual(pages, ["a b", "a%b", "a.b", "a/", "ab", "b+c", "b/"])

    def test_a_token_goes_before_a_start(self):
        first = s3.list_objects_v2(Bucket="edges", StartAfter="a.b", MaxKeys=1)
        token = first["NextContinuationToken"]
        second = s3.list_objects_v2(Bucket="edges", StartAfter="a.b", ContinuationToken=token)
        self.assertEqual((second["ContinuationToken"], second["StartAfter"]), (token, "a.b"))
        self.assertEqual([entry["Key"] for entry in second["Contents"]], self.keys[4:])
        empty = raw.request(daemon, "GET", "/edges", query={"list-type": "2", "continuation-token": "*"})
        self.assertEqual((empty.status, empty.error()["Code"]), (400, "InvalidArgument"))

    def test_owners_only_where_they_are_asked_for(self):
        me = s3.list_buckets()["Owner"]
        for entry in s3.list_objects(Bucket="edges")["Contents"]:
            self.assertEqual(entry["Owner"], me)
        for entry in s3.list_objects_v2(Bucket="edges", FetchOwner=True)["Contents"]:
            self.assertEqual(entry["Owner"], me)
        for entry in s3.list_objects_v2(Bucket="edges")["Contents"]:
            self.assertNotIn("Owner", entry)
        for entry in s3.list_object_versions(Bucket="edges")["Versions"]:
            self.assertEqual(entry["Owner"], me)
        upload = s3.create_multipart_upload(Bucket="edges", Key="u")["UploadId"]
        [listed] = s3.list_multipart_uploads(Bucket="edges")["Uploads"]
        parts = s3.list_parts(Bucket="edges", Key="u", UploadId=upload)
        for entry in (listed, parts):
            self.assertEqual((entry["Owner"], entry["Initiator"]), (me, me))
        s3.abort_multipart_upload(Bucket="edges", Key="u", UploadId=upload)

    def test_names_are_coded_on_demand(self):
        page = raw.request(daemon, "GET", "/edges", query={"encoding-type": "url", "prefix": "b+"})
        self.assertIn(b"<Key>b%2Bc</Key>", page.body)
        page = raw.request(daemon, "GET", "/edges", query={"list-type": "2", "encoding-type": "url", "prefix": "b+"})
        self.assertIn(b"<Prefix>b%2B</Prefix>", page.body)
        wrong = raw.request(daemon, "GET", "/edges", query={"encoding-type": "rot13"})
        self.assertEqual((wrong.status, wrong.error()["Code"]), (400, "InvalidArgument"))


class Restart(Case):
    def test_everything_is_there_after_a_kill(self):
        body = os.urandom(300_000)
        s3.put_object(Bucket=BUCKET, Key="kept", Body=body)
        daemon.stop(9)
        daemon.start()
        again = daemon.client()
        self.assertEqual(again.get_object(Bucket=BUCKET, Key="kept")["Body"].read(), body)
        again.put_object(Bucket=BUCKET, Key="kept", Body=b"new")
        self.assertEqual(again.get_object(Bucket=BUCKET, Key="kept")["Body"].read(), b"new")
        self.assertEqual(daemon.stop(), 0)
        daemon.start()


if __name__ == "__main__":
    unittest.main()
