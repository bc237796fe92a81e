"""What headers announce of a body, and what it then is: refused in S3's words."""

import base64
import hashlib
import os
import types
import unittest
import zlib

import raw
from botocore.exceptions import ClientError
from daemon import Daemon

BUCKET = "announced"
BODY = b"the body"


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def framed(trailer=b""):
    return b"%x\r\n%s\r\n0\r\n%s" % (len(BODY), BODY, trailer)


class Announced(unittest.TestCase):
    def refused(self, reply, status, code, text=""):
        error = reply.error()
        self.assertEqual((reply.status, error["Code"]), (status, code), reply.body)
        self.assertIn(text, error["Message"])
        return error

    def put(self, headers, body=BODY, key="k"):
        return raw.request(daemon, "PUT", f"/{BUCKET}/{key}", headers, body)

    def put_framed(self, headers, body):
        """Signs the request and not its frames."""
        headers = {"content-encoding": "aws-chunked", **headers}
        payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        return raw.request(daemon, "PUT", f"/{BUCKET}/framed", headers, body, payload=payload)

    def test_a_digest_that_is_none_is_no_wrong_signature(self):
        for payload in ["invalid", "unsigned-payload"]:
            reply = raw.request(daemon, "GET", f"/{BUCKET}", payload=payload)
            error = self.refused(reply, 400, "InvalidArgument", "or a valid sha256 value.")
            self.assertEqual(error["ArgumentValue"], payload)

    def test_a_framed_body_without_its_length(self):
        for headers in [{}, {"x-amz-decoded-content-length": "many"}]:
            self.refused(self.put_framed(headers, framed(b"\r\n")), 411, "MissingContentLength")

    def test_a_framed_body_needs_no_trailer(self):
        length = {"x-amz-decoded-content-length": str(len(BODY))}
        reply = self.put_framed(length, framed(b"\r\n"))
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="framed")["Body"].read(), BODY)

    def test_a_declared_trailer_comes_and_is_a_checksum(self):
        length = {"x-amz-decoded-content-length": str(len(BODY))}
        declared = {**length, "x-amz-trailer": "x-amz-checksum-crc32"}
        right = b"x-amz-checksum-crc32:%s\r\n" % crc32(BODY).encode()
        self.assertEqual(self.put_framed(declared, framed(right + b"\r\n")).status, 200)
        self.refused(self.put_framed(declared, framed(b"\r\n")), 400, "MalformedTrailerError")
        invalid = framed(b"x-amz-checksum-crc32:not-base-64\r\n\r\n")
        self.refused(self.put_framed(declared, invalid), 400, "InvalidRequest", "trailing header is invalid")
        other = {**length, "x-amz-trailer": "content-md5"}
        self.refused(self.put_framed(other, framed(b"\r\n")), 400, "InvalidRequest", "x-amz-trailer header")
        self.refused(self.put({"x-amz-trailer": "x-amz-checksum-crc32"}), 400, "MalformedTrailerError")

    def test_a_framed_body_is_whole_and_as_long_as_declared(self):
        length = {"x-amz-decoded-content-length": str(len(BODY))}
        for cut in (b"0\r\n", b"\r\n0\r\n", BODY[-1:] + b"\r\n0\r\n"):
            body = framed().removesuffix(cut)
            error = self.refused(self.put_framed(length, body), 400, "IncompleteBody", "terminated unexpectedly")
            self.assertNotIn("NumberBytesExpected", error)
        for declared in (len(BODY) - 1, len(BODY) + 1):
            length = {"x-amz-decoded-content-length": str(declared)}
            error = self.refused(self.put_framed(length, framed(b"\r\n")), 400, "IncompleteBody", "number of bytes")
            self.assertEqual((error["NumberBytesExpected"], error["NumberBytesProvided"]), (str(declared), str(len(BODY))))

    def test_only_what_was_declared_stands_behind_a_body_and_the_last_counts(self):
        declared = {"x-amz-decoded-content-length": str(len(BODY)), "x-amz-trailer": "x-amz-checksum-crc32"}
        right, wrong = (b"x-amz-checksum-crc32:%s\r\n" % crc32(data).encode() for data in (BODY, b""))
        self.refused(self.put_framed(declared, framed(right + b"bonus:1\r\n")), 400, "MalformedTrailerError")
        self.refused(self.put_framed(declared, framed(b"\r\n" + right)), 400, "MalformedTrailerError")
        self.refused(self.put_framed(declared, framed(right + wrong)), 400, "BadDigest")
        self.assertEqual(self.put_framed(declared, framed(wrong + right)).status, 200)

    def test_how_a_body_travelled_is_not_kept_and_other_codings_are(self):
        length = {"x-amz-decoded-content-length": str(len(BODY))}
        for given, kept in [("aws-chunked", None), ("gzip, aws-chunked", "gzip"), ("foo, aws-chunked, bar", "foo, bar")]:
            self.assertEqual(self.put_framed(length | {"content-encoding": given}, framed(b"\r\n")).status, 200)
            self.assertEqual(s3.head_object(Bucket=BUCKET, Key="framed").get("ContentEncoding"), kept)
        # Of a body without frames it says what it says.
        self.assertEqual(self.put({"content-encoding": "aws-chunked"}).status, 200)
        self.assertEqual(s3.head_object(Bucket=BUCKET, Key="k")["ContentEncoding"], "aws-chunked")

    def test_a_wrong_signature_is_told_what_it_should_be_of(self):
        path, key = f"/{BUCKET}/some thing", os.urandom(32)
        names = ("algorithm", "key", "key-md5")
        digest = base64.b64encode(hashlib.md5(key).digest()).decode()
        customer = dict(zip(names, ("AES256", base64.b64encode(key).decode(), digest)))
        customer = {f"x-amz-server-side-encryption-customer-{name}": value for name, value in customer.items()}
        user = types.SimpleNamespace(access_key=daemon.env["AWS_ACCESS_KEY_ID"], secret_key="another secret")
        for headers in ({}, customer):
            reply = raw.request(daemon, "PUT", path, headers, BODY, query={"x": "a b", "acl": ""}, user=user)
            error = self.refused(reply, 403, "SignatureDoesNotMatch", "Check your key and signing method.")
            self.assertEqual(error["AWSAccessKeyId"], user.access_key)
            self.assertEqual(len(error["SignatureProvided"]), 64)
            to_sign = error["StringToSign"]
            self.assertTrue(to_sign.startswith("AWS4-HMAC-SHA256\n"))
            self.assertEqual(bytes.fromhex(error["StringToSignBytes"]), to_sign.encode())
            if headers:
                # What would tell the customer's key again is left out.
                self.assertNotIn("CanonicalRequest", error)
                self.assertNotIn(customer["x-amz-server-side-encryption-customer-key"].encode(), reply.body)
            else:
                canonical = error["CanonicalRequest"]
                lines = canonical.split("\n")
                self.assertEqual(lines[:3], ["PUT", f"/{BUCKET}/some%20thing", "acl=&x=a%20b"])
                self.assertEqual(lines[-1], hashlib.sha256(BODY).hexdigest())
                self.assertEqual(to_sign.split("\n")[-1], hashlib.sha256(canonical.encode()).hexdigest())
                self.assertEqual(bytes.fromhex(error["CanonicalRequestBytes"]), canonical.encode())

    def test_a_chunk_that_was_not_signed(self):
        payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        headers = {"x-amz-decoded-content-length": str(len(BODY))}
        body = b"%x;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n\r\n" % (len(BODY), b"1" * 64, BODY, b"2" * 64)
        reply = raw.request(daemon, "PUT", f"/{BUCKET}/signed", headers, body, payload=payload)
        error = self.refused(reply, 403, "SignatureDoesNotMatch")
        lines = error["StringToSign"].split("\n")
        self.assertEqual((lines[0], lines[-1]), ("AWS4-HMAC-SHA256-PAYLOAD", hashlib.sha256(BODY).hexdigest()))
        self.assertEqual(error["SignatureProvided"], "1" * 64)

    def test_a_body_that_was_not_signed_is_told_its_digest(self):
        reply = raw.request(daemon, "PUT", f"/{BUCKET}/k", {}, BODY, sent=BODY[::-1])
        error = self.refused(reply, 400, "XAmzContentSHA256Mismatch")
        sums = [hashlib.sha256(body).hexdigest() for body in (BODY, BODY[::-1])]
        self.assertEqual([error["ClientComputedContentSHA256"], error["S3ComputedContentSHA256"]], sums)

    def test_a_wrong_md5_of_a_list_is_told_as_it_came(self):
        wrong = base64.b64encode(hashlib.md5(b"").digest()).decode()
        body = b"<Delete><Object><Key>k</Key></Object></Delete>"
        reply = raw.request(daemon, "POST", f"/{BUCKET}", {"content-md5": wrong}, body, query={"delete": ""})
        self.assertEqual(self.refused(reply, 400, "BadDigest")["ExpectedDigest"], wrong)

    def test_a_checksum_that_does_not_exist(self):
        self.refused(self.put({"x-amz-checksum-bad": crc32(BODY)}), 400, "InvalidRequest", "algorithm type")

    def test_a_wrong_md5_is_told_beside_the_right_one(self):
        wrong, right = (base64.b64encode(hashlib.md5(data).digest()).decode() for data in (b"", BODY))
        error = self.refused(self.put({"content-md5": wrong}), 400, "BadDigest")
        self.assertEqual(error["ExpectedDigest"], hashlib.md5(b"").hexdigest())
        self.assertEqual(error["CalculatedDigest"], right)

    def test_a_list_of_keys_comes_with_a_digest_and_is_what_was_signed(self):
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"x")
        body = b"<Delete><Object><Key>kept</Key></Object></Delete>"
        post = dict(body=body, query={"delete": ""})
        self.refused(raw.request(daemon, "POST", f"/{BUCKET}", **post), 400, "InvalidRequest", "Content-MD5 OR")
        headers = {"x-amz-checksum-crc32": crc32(body)}
        reply = raw.request(daemon, "POST", f"/{BUCKET}", headers, sent=body.replace(b"kept", b"lost"), **post)
        error = self.refused(reply, 400, "XAmzContentSHA256Mismatch")
        self.assertEqual(error["ClientComputedContentSHA256"], hashlib.sha256(body).hexdigest())
        s3.head_object(Bucket=BUCKET, Key="kept")

    def test_no_head_of_the_service(self):
        self.assertEqual(raw.request(daemon, "HEAD", "/").status, 405)


class Uploads(unittest.TestCase):
    def refused(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], code)
        return error

    def test_parts_are_named_by_their_etags_and_a_retry_names_the_same(self):
        upload = dict(Bucket=BUCKET, Key="u")
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        etags = [s3.upload_part(**upload, PartNumber=number, Body=BODY)["ETag"] for number in (1, 2)]
        parts = [{"PartNumber": number + 1, "ETag": etag} for number, etag in enumerate(etags)]

        def complete(*parts):
            return dict(upload, MultipartUpload={"Parts": list(parts)})

        finish = s3.complete_multipart_upload
        self.refused("MalformedXML", finish, **complete({"PartNumber": 1}))
        error = self.refused("InvalidPart", finish, **complete({"PartNumber": 1, "ETag": "other"}))
        self.assertEqual((error["UploadId"], error["PartNumber"]), (upload["UploadId"], "1"))
        etag = finish(**complete(parts[0]))["ETag"]
        self.assertEqual(finish(**complete(parts[0]))["ETag"], etag)
        self.refused("NoSuchUpload", finish, **complete(*parts))

    def test_a_part_number_that_cannot_be(self):
        s3.put_object(Bucket=BUCKET, Key="whole", Body=BODY)
        for number in (0, -1, 10_001):
            self.refused("InvalidArgument", s3.get_object, Bucket=BUCKET, Key="whole", PartNumber=number)


class Places(unittest.TestCase):
    def test_the_first_region_takes_buckets_for_all(self):
        place = {"LocationConstraint": "eu-central-1"}
        s3.create_bucket(Bucket="elsewhere", CreateBucketConfiguration=place)
        self.assertEqual(s3.get_bucket_location(Bucket="elsewhere")["LocationConstraint"], "eu-central-1")
        with self.assertRaises(ClientError) as caught:
            s3.create_bucket(Bucket="nowhere", CreateBucketConfiguration={"LocationConstraint": "nowhere"})
        self.assertEqual(caught.exception.response["Error"]["Code"], "InvalidLocationConstraint")


if __name__ == "__main__":
    unittest.main()
