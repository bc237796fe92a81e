"""Uploads in parts: sealed part by part, joined without moving data, under every kind of key."""

import base64
import hashlib
import os
import unittest
import zlib
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

import raw
from daemon import Daemon

BUCKET = "multipart"
SMALLEST = 1000
KEY, OTHER = os.urandom(32), os.urandom(32)


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    daemon.stop()
    with (daemon.dir / "strongroom.toml").open("a") as settings:
        settings.write(f"\n[multipart]\nsmallest_part = {SMALLEST}\n")
    daemon.start()
    s3 = daemon.client()
    s3.create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


def ssec(key):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def source(key):
    return {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": key}


def etag_of(*parts):
    joined = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(parts)}"'


class Case(unittest.TestCase):
    def refused(self, status, code, call, **arguments):
        with self.assertRaises(ClientError) as refused:
            call(**arguments)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))
        return response

    def create(self, key, **arguments):
        return {
            "Bucket": BUCKET,
            "Key": key,
            "UploadId": s3.create_multipart_upload(Bucket=BUCKET, Key=key, **arguments)["UploadId"],
        }

    def part(self, upload, number, body, **arguments):
        reply = s3.upload_part(**upload, PartNumber=number, Body=body, **arguments)
        return {"PartNumber": number, "ETag": reply["ETag"]}

    def complete(self, upload, parts, **arguments):
        return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **arguments)

    def body(self, key, **arguments):
        return s3.get_object(Bucket=BUCKET, Key=key, **arguments)["Body"].read()


class Uploads(Case):
    def test_parts_in_any_order_become_one_object(self):
        upload = self.create("order", ContentType="text/plain", Metadata={"colour": "blue"}, StorageClass="STANDARD_IA")
        bodies = {1: os.urandom(150_000), 2: os.urandom(SMALLEST), 7: b"last"}
        parts = {number: self.part(upload, number, bodies[number]) for number in (7, 1, 2)}
        self.assertEqual(parts[1]["ETag"].strip('"'), hashlib.md5(bodies[1]).hexdigest())
        self.refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key="order")
        done = self.complete(upload, [parts[number] for number in (1, 2, 7)])
        expected = etag_of(bodies[1], bodies[2], bodies[7])
        self.assertEqual((done["ETag"], done["ServerSideEncryption"]), (expected, "AES256"))
        self.assertNotIn("SSECustomerAlgorithm", done)
        whole = b"".join(bodies.values())
        get = s3.get_object(Bucket=BUCKET, Key="order")
        self.assertEqual((get["Body"].read(), get["ETag"], get["ContentType"]), (whole, expected, "text/plain"))
        self.assertEqual((get["Metadata"], get["StorageClass"]), ({"colour": "blue"}, "STANDARD_IA"))
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="order")["Contents"][0]
        self.assertEqual((listed["ETag"], listed["Size"]), (expected, len(whole)))

    def test_a_part_sent_again_takes_the_place_of_the_first(self):
        upload = self.create("again")
        first = self.part(upload, 1, b"a" * SMALLEST)
        second = self.part(upload, 1, b"b" * SMALLEST)
        self.refused(400, "InvalidPart", self.complete, upload=upload, parts=[first])
        self.complete(upload, [second])
        self.assertEqual(self.body("again"), b"b" * SMALLEST)

    def test_parts_that_are_not_named_are_left_out(self):
        upload = self.create("left-out")
        one, _ = self.part(upload, 1, b"a" * SMALLEST), self.part(upload, 2, b"b" * SMALLEST)
        three = self.part(upload, 3, b"c")
        self.complete(upload, [one, three])
        self.assertEqual(self.body("left-out"), b"a" * SMALLEST + b"c")

    def test_lists_that_complete_nothing(self):
        upload = self.create("lists")
        one, two = self.part(upload, 1, b"a" * SMALLEST), self.part(upload, 2, b"b" * SMALLEST)
        self.refused(400, "InvalidPartOrder", self.complete, upload=upload, parts=[two, one])
        self.refused(400, "InvalidPartOrder", self.complete, upload=upload, parts=[one, one])
        self.refused(400, "InvalidPart", self.complete, upload=upload, parts=[one, {"PartNumber": 9, "ETag": one["ETag"]}])
        self.refused(400, "InvalidPart", self.complete, upload=upload, parts=[{"PartNumber": 1, "ETag": two["ETag"]}])
        self.refused(400, "MalformedXML", self.complete, upload=upload, parts=[])
        for body in (b"", b"<no", b"<CompleteMultipartUpload></CompleteMultipartUpload>"):
            reply = raw.request(daemon, "POST", f"/{BUCKET}/lists", {}, body, {"uploadId": upload["UploadId"]})
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "MalformedXML"), body)
        # None of them took anything away.
        self.complete(upload, [one, two])
        self.assertEqual(len(self.body("lists")), 2 * SMALLEST)

    def test_a_part_below_the_minimum(self):
        upload = self.create("small")
        small, last = self.part(upload, 1, b"a" * (SMALLEST - 1)), self.part(upload, 2, b"b")
        response = self.refused(400, "EntityTooSmall", self.complete, upload=upload, parts=[small, last])
        self.assertEqual((response["Error"]["PartNumber"], response["Error"]["MinSizeAllowed"]), ("1", str(SMALLEST)))
        # The last one may be as small as it likes.
        self.complete(upload, [small])

    def test_part_numbers_and_upload_ids_that_are_none(self):
        upload = self.create("numbers")
        for number in (0, 10_001, -1):
            self.refused(400, "InvalidArgument", s3.upload_part, **upload, PartNumber=number, Body=b"")
        gone = upload | {"UploadId": "0" * 32}
        for wrong in (gone, upload | {"UploadId": "nonsense"}, upload | {"Key": "another"}):
            self.refused(404, "NoSuchUpload", s3.upload_part, **wrong, PartNumber=1, Body=b"")
            self.refused(404, "NoSuchUpload", s3.list_parts, **wrong)
            self.refused(404, "NoSuchUpload", s3.abort_multipart_upload, **wrong)
            self.refused(404, "NoSuchUpload", self.complete, upload=wrong, parts=[{"PartNumber": 1, "ETag": '"x"'}])

    def test_abort_leaves_nothing(self):
        upload = self.create("aborted")
        part = self.part(upload, 1, b"a")
        s3.abort_multipart_upload(**upload)
        self.refused(404, "NoSuchUpload", s3.upload_part, **upload, PartNumber=2, Body=b"")
        self.refused(404, "NoSuchUpload", self.complete, upload=upload, parts=[part])
        self.refused(404, "NoSuchUpload", s3.abort_multipart_upload, **upload)
        self.refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key="aborted")

    def test_completing_twice_answers_twice(self):
        upload = self.create("twice")
        part = self.part(upload, 1, b"a")
        first, second = self.complete(upload, [part]), self.complete(upload, [part])
        self.assertEqual(first["ETag"], second["ETag"])
        self.refused(404, "NoSuchUpload", s3.upload_part, **upload, PartNumber=2, Body=b"")
        s3.delete_object(Bucket=BUCKET, Key="twice")
        self.refused(404, "NoSuchUpload", self.complete, upload=upload, parts=[part])

    def test_completing_on_a_condition(self):
        etag = s3.put_object(Bucket=BUCKET, Key="if", Body=b"old")["ETag"]
        upload = self.create("if")
        part = self.part(upload, 1, b"new")
        self.refused(412, "PreconditionFailed", self.complete, upload=upload, parts=[part], IfNoneMatch="*")
        self.refused(412, "PreconditionFailed", self.complete, upload=upload, parts=[part], IfMatch='"no"')
        self.assertEqual(self.body("if"), b"old")
        self.complete(upload, [part], IfMatch=etag)
        self.assertEqual(self.body("if"), b"new")
        upload = self.create("if-none")
        self.complete(upload, [self.part(upload, 1, b"x")], IfNoneMatch="*")

    def test_the_announced_size_must_be_that_of_the_parts(self):
        upload = self.create("announced")
        part = self.part(upload, 1, b"12345")
        self.refused(400, "InvalidRequest", self.complete, upload=upload, parts=[part], MpuObjectSize=6)
        self.complete(upload, [part], MpuObjectSize=5)

    def test_ten_thousand_parts(self):
        # Half of them are sent and half are copied, by several clients in no order.
        s3.put_object(Bucket=BUCKET, Key="block", Body=b"x" * SMALLEST)
        upload = self.create("many")
        path = f"/{BUCKET}/many"

        def part(number):
            if number % 2:
                reply = s3.upload_part(**upload, PartNumber=number, Body=b"x" * SMALLEST)
            else:
                reply = s3.upload_part_copy(**upload, PartNumber=number, CopySource=f"{BUCKET}/block")["CopyPartResult"]
            return {"PartNumber": number, "ETag": reply["ETag"]}

        with ThreadPoolExecutor(8) as clients:
            parts = list(clients.map(part, range(1, 10_001)))
        done = self.complete(upload, parts)
        self.assertTrue(done["ETag"].endswith('-10000"'))
        head = s3.head_object(Bucket=BUCKET, Key="many", PartNumber=10_000)
        self.assertEqual((head["PartsCount"], head["ContentLength"]), (10_000, SMALLEST))
        tail = s3.get_object(Bucket=BUCKET, Key="many", Range=f"bytes={9_999 * SMALLEST - 10}-{9_999 * SMALLEST + 9}")
        self.assertEqual(tail["Body"].read(), b"x" * 20)
        self.assertEqual(raw.request(daemon, "HEAD", path).headers["content-length"], str(10_000 * SMALLEST))


class Listings(Case):
    def test_parts_are_listed_in_pages(self):
        upload = self.create("listed")
        for number in (1, 3, 5, 10_000):
            self.part(upload, number, bytes([number % 251]) * 10)
        page = s3.list_parts(**upload, MaxParts=2)
        self.assertEqual([part["PartNumber"] for part in page["Parts"]], [1, 3])
        self.assertEqual((page["IsTruncated"], page["NextPartNumberMarker"], page["MaxParts"]), (True, 3, 2))
        self.assertEqual(page["Parts"][0]["ETag"].strip('"'), hashlib.md5(b"\1" * 10).hexdigest())
        self.assertEqual(page["Parts"][0]["Size"], 10)
        page = s3.list_parts(**upload, PartNumberMarker=3)
        self.assertEqual([part["PartNumber"] for part in page["Parts"]], [5, 10_000])
        self.assertFalse(page["IsTruncated"])
        self.assertIn("ID", page["Initiator"])

    def test_uploads_are_listed_by_key_and_age(self):
        bucket = "uploads"
        s3.create_bucket(Bucket=bucket)
        made = []
        for key in ("a/1", "a/2", "b", "b", "c d"):
            made.append((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]))
        page = s3.list_multipart_uploads(Bucket=bucket)
        self.assertEqual([(entry["Key"], entry["UploadId"]) for entry in page["Uploads"]], made)
        self.assertEqual(page["Uploads"][0]["StorageClass"], "STANDARD")
        found, marker = [], {}
        while True:
            page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=1, **marker)
            found += [(entry["Key"], entry["UploadId"]) for entry in page["Uploads"]]
            if not page["IsTruncated"]:
                break
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        self.assertEqual(found, made)
        page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
        self.assertEqual([entry["Prefix"] for entry in page["CommonPrefixes"]], ["a/"])
        self.assertEqual([entry["Key"] for entry in page["Uploads"]], ["b", "b", "c d"])
        page = s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")
        self.assertEqual([entry["Key"] for entry in page["Uploads"]], ["a/1", "a/2"])
        page = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="b")
        self.assertEqual([entry["Key"] for entry in page["Uploads"]], ["c d"])
        coded = raw.request(daemon, "GET", f"/{bucket}", query={"uploads": "", "encoding-type": "url"})
        self.assertIn(b"c%20d", coded.body)
        # Uploads do not keep a bucket.
        s3.delete_bucket(Bucket=bucket)


class CustomerKeys(Case):
    def test_sse_c_upload_completes_without_the_key(self):
        upload = self.create("c", **ssec(KEY))
        bodies = [os.urandom(200_000), os.urandom(70_000)]
        parts = [self.part(upload, number, body, **ssec(KEY)) for number, body in enumerate(bodies, 1)]
        self.assertNotEqual(parts[0]["ETag"].strip('"'), hashlib.md5(bodies[0]).hexdigest())
        done = self.complete(upload, parts)
        self.assertTrue(done["ETag"].endswith('-2"'))
        self.assertNotEqual(done["ETag"], etag_of(*bodies))
        for name in ("ServerSideEncryption", "SSECustomerAlgorithm"):
            self.assertNotIn(name, done)
        whole = b"".join(bodies)
        self.assertEqual(self.body("c", **ssec(KEY)), whole)
        self.assertEqual(self.body("c", Range="bytes=199990-200009", **ssec(KEY)), whole[199_990:200_010])
        self.refused(400, "InvalidRequest", s3.get_object, Bucket=BUCKET, Key="c")
        self.refused(403, "AccessDenied", s3.get_object, Bucket=BUCKET, Key="c", **ssec(OTHER))
        head = s3.head_object(Bucket=BUCKET, Key="c", **ssec(KEY))
        self.assertEqual((head["ETag"], head["SSECustomerAlgorithm"]), (done["ETag"], "AES256"))
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="c")["Contents"]
        self.assertIn(done["ETag"], [entry["ETag"] for entry in listed if entry["Key"] == "c"])

    def test_sse_c_part_without_the_key_or_with_another(self):
        upload = self.create("c-part", **ssec(KEY))
        without = self.refused(400, "InvalidRequest", s3.upload_part, **upload, PartNumber=1, Body=b"x")
        self.assertEqual(
            without["Error"]["Message"],
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.",
        )
        other = self.refused(400, "InvalidRequest", s3.upload_part, **upload, PartNumber=1, Body=b"x", **ssec(OTHER))
        self.assertEqual(
            other["Error"]["Message"], "The provided encryption parameters did not match the ones used originally."
        )
        managed = self.create("no-c")
        wrong = self.refused(400, "InvalidRequest", s3.upload_part, **managed, PartNumber=1, Body=b"x", **ssec(KEY))
        self.assertEqual(wrong["Error"]["Message"], without["Error"]["Message"])
        # AES256 need not be named on parts.
        self.part(managed, 1, b"x")

    def test_sse_c_part_by_part(self):
        upload = self.create("c-get", **ssec(KEY))
        bodies = [os.urandom(SMALLEST), os.urandom(SMALLEST + 1), b"end"]
        self.complete(upload, [self.part(upload, n, body, **ssec(KEY)) for n, body in enumerate(bodies, 1)])
        for number, body in enumerate(bodies, 1):
            get = s3.get_object(Bucket=BUCKET, Key="c-get", PartNumber=number, **ssec(KEY))
            self.assertEqual((get["Body"].read(), get["PartsCount"]), (body, 3))
            self.assertEqual(get["ResponseMetadata"]["HTTPStatusCode"], 206)
        for call in (s3.get_object, s3.head_object):
            with self.assertRaises(ClientError) as refused:
                call(Bucket=BUCKET, Key="c-get", PartNumber=4, **ssec(KEY))
            self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 400)


class Copies(Case):
    def test_parts_by_copy_of_ranges_and_under_every_key(self):
        body = os.urandom(300_000)
        s3.put_object(Bucket=BUCKET, Key="source", Body=body)
        s3.put_object(Bucket=BUCKET, Key="source-c", Body=body, **ssec(OTHER))
        for target in ({}, ssec(KEY)):
            upload = self.create("copied", **target)
            cuts = [(0, 99_999, "source", {}), (100_000, 199_999, "source-c", source(OTHER)), (200_000, 299_999, "source", {})]
            parts = []
            for number, (first, last, key, extra) in enumerate(cuts, 1):
                reply = s3.upload_part_copy(
                    **upload,
                    PartNumber=number,
                    CopySource=f"{BUCKET}/{key}",
                    CopySourceRange=f"bytes={first}-{last}",
                    **extra,
                    **target,
                )
                parts.append({"PartNumber": number, "ETag": reply["CopyPartResult"]["ETag"]})
                self.assertIn("LastModified", reply["CopyPartResult"])
            self.complete(upload, parts)
            self.assertEqual(self.body("copied", **target), body)

    def test_ranges_that_are_none(self):
        s3.put_object(Bucket=BUCKET, Key="five", Body=b"12345")
        upload = self.create("ranges")
        copy = {**upload, "PartNumber": 1, "CopySource": f"{BUCKET}/five"}
        for wrong in ("bytes=0-5", "bytes=5-6", "bytes=3-2", "bytes=0-", "bytes=-2", "lines=1-2"):
            with self.assertRaises(ClientError) as refused:
                s3.upload_part_copy(**copy, CopySourceRange=wrong)
            response = refused.exception.response
            self.assertIn(response["Error"]["Code"], ("InvalidArgument", "InvalidRange"), wrong)
        self.refused(412, "PreconditionFailed", s3.upload_part_copy, **copy, CopySourceIfMatch='"no"')
        self.refused(404, "NoSuchKey", s3.upload_part_copy, **copy | {"CopySource": f"{BUCKET}/nothing"})
        s3.put_object(Bucket=BUCKET, Key="five-c", Body=b"12345", **ssec(KEY))
        hidden = copy | {"CopySource": f"{BUCKET}/five-c"}
        self.refused(400, "InvalidRequest", s3.upload_part_copy, **hidden)
        self.refused(403, "AccessDenied", s3.upload_part_copy, **hidden, **source(OTHER))


class Reads(Case):
    def test_part_numbers_of_a_read(self):
        upload = self.create("read")
        bodies = [b"a" * SMALLEST, b"b" * (SMALLEST + 5), b"c"]
        self.complete(upload, [self.part(upload, number, body) for number, body in zip((2, 4, 9), bodies)])
        # Reads number the parts as they stand in the object.
        for number, body in enumerate(bodies, 1):
            get = s3.get_object(Bucket=BUCKET, Key="read", PartNumber=number)
            self.assertEqual((get["Body"].read(), get["PartsCount"]), (body, 3))
        head = s3.head_object(Bucket=BUCKET, Key="read", PartNumber=2)
        self.assertEqual((head["ContentLength"], head["PartsCount"]), (SMALLEST + 5, 3))
        self.assertEqual(head["ContentRange"], f"bytes {SMALLEST}-{2 * SMALLEST + 4}/{2 * SMALLEST + 6}")
        self.refused(400, "InvalidPart", s3.get_object, Bucket=BUCKET, Key="read", PartNumber=4)
        # What came in one PUT is one part, and has no count.
        s3.put_object(Bucket=BUCKET, Key="one", Body=b"x")
        get = s3.get_object(Bucket=BUCKET, Key="one", PartNumber=1)
        self.assertEqual(get["Body"].read(), b"x")
        self.refused(400, "InvalidPart", s3.get_object, Bucket=BUCKET, Key="one", PartNumber=2)

    def test_attributes_of_an_object(self):
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="attributes", ChecksumAlgorithm="SHA256")
        upload = {"Bucket": BUCKET, "Key": "attributes", "UploadId": upload["UploadId"]}
        bodies = [b"a" * SMALLEST, b"b"]
        parts = []
        for number, body in enumerate(bodies, 1):
            reply = s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")
            parts.append({"PartNumber": number, "ETag": reply["ETag"], "ChecksumSHA256": reply["ChecksumSHA256"]})
        done = self.complete(upload, parts)
        digests = b"".join(hashlib.sha256(body).digest() for body in bodies)
        composite = base64.b64encode(hashlib.sha256(digests).digest()).decode() + "-2"
        self.assertEqual((done["ChecksumSHA256"], done["ChecksumType"]), (composite, "COMPOSITE"))
        wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
        reply = s3.get_object_attributes(Bucket=BUCKET, Key="attributes", ObjectAttributes=wanted)
        self.assertEqual((reply["ETag"], reply["ObjectSize"]), (etag_of(*bodies).strip('"'), SMALLEST + 1))
        self.assertEqual((reply["Checksum"]["ChecksumSHA256"], reply["StorageClass"]), (composite, "STANDARD"))
        self.assertEqual(reply["ObjectParts"]["TotalPartsCount"], 2)
        shown = [(part["PartNumber"], part["Size"], part["ChecksumSHA256"]) for part in reply["ObjectParts"]["Parts"]]
        self.assertEqual(shown, [(n, len(b), base64.b64encode(hashlib.sha256(b).digest()).decode()) for n, b in enumerate(bodies, 1)])
        page = s3.get_object_attributes(Bucket=BUCKET, Key="attributes", ObjectAttributes=["ObjectParts"], MaxParts=1)
        self.assertTrue(page["ObjectParts"]["IsTruncated"])
        self.assertNotIn("ETag", page)
        self.refused(404, "NoSuchKey", s3.get_object_attributes, Bucket=BUCKET, Key="nothing", ObjectAttributes=["ETag"])
        reply = raw.request(daemon, "GET", f"/{BUCKET}/attributes", {"x-amz-object-attributes": "Colour"}, query={"attributes": ""})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))


class Checksums(Case):
    def upload(self, key, bodies, algorithm, field, kind=None):
        kind = {"ChecksumType": kind} if kind else {}
        reply = s3.create_multipart_upload(Bucket=BUCKET, Key=key, ChecksumAlgorithm=algorithm, **kind)
        self.assertEqual(reply["ChecksumAlgorithm"], algorithm)
        upload = {"Bucket": BUCKET, "Key": key, "UploadId": reply["UploadId"]}
        parts = []
        for number, body in enumerate(bodies, 1):
            sent = s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
            parts.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
        return upload, parts

    def test_full_object_crc32(self):
        bodies = [os.urandom(SMALLEST), os.urandom(77)]
        upload, parts = self.upload("crc", bodies, "CRC32", "ChecksumCRC32", "FULL_OBJECT")
        whole = base64.b64encode(zlib.crc32(b"".join(bodies)).to_bytes(4, "big")).decode()
        self.refused(400, "BadDigest", self.complete, upload=upload, parts=parts, ChecksumCRC32="AAAAAA==", ChecksumType="FULL_OBJECT")
        done = self.complete(upload, parts, ChecksumCRC32=whole, ChecksumType="FULL_OBJECT")
        self.assertEqual((done["ChecksumCRC32"], done["ChecksumType"]), (whole, "FULL_OBJECT"))
        head = s3.head_object(Bucket=BUCKET, Key="crc", ChecksumMode="ENABLED")
        self.assertEqual((head["ChecksumCRC32"], head["ChecksumType"]), (whole, "FULL_OBJECT"))

    def test_wrong_and_missing_checksums(self):
        upload, parts = self.upload("sums", [b"x" * SMALLEST], "SHA256", "ChecksumSHA256")
        wrong = [parts[0] | {"ChecksumSHA256": base64.b64encode(bytes(32)).decode()}]
        self.refused(400, "InvalidPart", self.complete, upload=upload, parts=wrong)
        missing = [{"PartNumber": 1, "ETag": parts[0]["ETag"]}]
        self.refused(400, "InvalidRequest", self.complete, upload=upload, parts=missing)
        self.refused(
            400, "InvalidRequest", s3.upload_part, **upload, PartNumber=2, Body=b"x", ChecksumAlgorithm="CRC32"
        )
        self.refused(400, "BadDigest", s3.upload_part, **upload, PartNumber=2, Body=b"x", ChecksumSHA256=base64.b64encode(bytes(32)).decode())
        listed = s3.list_parts(**upload)
        self.assertEqual((listed["ChecksumAlgorithm"], listed["ChecksumType"]), ("SHA256", "COMPOSITE"))
        self.assertEqual(listed["Parts"][0]["ChecksumSHA256"], parts[0]["ChecksumSHA256"])
        self.complete(upload, parts)
        self.refused(400, "InvalidRequest", s3.create_multipart_upload, Bucket=BUCKET, Key="k", ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")


class Restart(Case):
    def test_uploads_survive_a_kill(self):
        global s3
        upload = self.create("killed")
        one = self.part(upload, 1, b"a" * SMALLEST)
        daemon.stop(9)
        daemon.start()
        s3 = daemon.client()
        two = self.part(upload, 2, b"b")
        self.complete(upload, [one, two])
        self.assertEqual(self.body("killed"), b"a" * SMALLEST + b"b")


if __name__ == "__main__":
    unittest.main()
