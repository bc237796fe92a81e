"""The encryption rows of the S3 contract: SSE-S3 and SSE-C on PUT, GET, HEAD, COPY and DELETE."""

import base64
import hashlib
import os
import unittest

from botocore.exceptions import ClientError

import raw
from daemon import Daemon

BUCKET = "encryption"
ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"
KEY = "x-amz-server-side-encryption-customer-key"
KEY_MD5 = "x-amz-server-side-encryption-customer-key-MD5"


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


def customer(key, prefix="x-amz-"):
    return {
        f"{prefix}server-side-encryption-customer-algorithm": "AES256",
        f"{prefix}server-side-encryption-customer-key": base64.b64encode(key).decode(),
        f"{prefix}server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


def ssec(key):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


class Managed(unittest.TestCase):
    def test_every_object_is_encrypted_and_says_so(self):
        put = s3.put_object(Bucket=BUCKET, Key="a", Body=b"test")
        self.assertEqual(put["ServerSideEncryption"], "AES256")
        self.assertEqual(put["ETag"], '"098f6bcd4621d373cade4e832627b4f6"')
        get = s3.get_object(Bucket=BUCKET, Key="a")
        self.assertEqual(get["Body"].read(), b"test")
        self.assertEqual(get["ServerSideEncryption"], "AES256")
        head = s3.head_object(Bucket=BUCKET, Key="a")
        self.assertEqual(head["ServerSideEncryption"], "AES256")
        self.assertEqual(head["ETag"], put["ETag"])
        self.assertEqual(head["ContentLength"], 4)

    def test_asking_for_it_by_name_is_the_same(self):
        put = s3.put_object(Bucket=BUCKET, Key="b", Body=b"x", ServerSideEncryption="AES256")
        self.assertEqual(put["ServerSideEncryption"], "AES256")

    def test_unknown_algorithm(self):
        for name in ("aes:kms", "AES192"):
            reply = raw.request(daemon, "PUT", f"/{BUCKET}/c", {"x-amz-server-side-encryption": name}, b"x")
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))
            self.assertEqual(reply.error()["ArgumentValue"], name)

    def test_key_id_with_aes256_or_with_nothing(self):
        kid = {"x-amz-server-side-encryption-aws-kms-key-id": "k"}
        for headers in (kid, kid | {"x-amz-server-side-encryption": "AES256"}):
            reply = raw.request(daemon, "PUT", f"/{BUCKET}/c", headers, b"x")
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))

    def test_write_header_on_a_read(self):
        s3.put_object(Bucket=BUCKET, Key="d", Body=b"x")
        for method in ("GET", "HEAD"):
            reply = raw.request(daemon, method, f"/{BUCKET}/d", {"x-amz-server-side-encryption": "AES256"})
            self.assertEqual(reply.status, 400)

    def test_sizes_around_every_boundary(self):
        for size in (0, 1, 15, 16, 17, 1023, 1024, 16_000, 65_519, 65_535, 65_536, 65_537, 131_072, 3_000_001):
            body = os.urandom(size)
            s3.put_object(Bucket=BUCKET, Key="sizes", Body=body)
            get = s3.get_object(Bucket=BUCKET, Key="sizes")
            self.assertEqual(get["Body"].read(), body, size)
            self.assertEqual(get["ETag"].strip('"'), hashlib.md5(body).hexdigest())

    def test_ranges(self):
        body = os.urandom(200_000)
        s3.put_object(Bucket=BUCKET, Key="ranges", Body=body)
        for text, expected in (
            ("bytes=0-0", body[:1]),
            ("bytes=65535-65536", body[65535:65537]),
            ("bytes=100000-", body[100000:]),
            ("bytes=-1", body[-1:]),
            ("bytes=199999-999999", body[199999:]),
        ):
            get = s3.get_object(Bucket=BUCKET, Key="ranges", Range=text)
            self.assertEqual(get["Body"].read(), expected, text)
            self.assertEqual(get["ResponseMetadata"]["HTTPStatusCode"], 206)
        with self.assertRaises(ClientError) as refused:
            s3.get_object(Bucket=BUCKET, Key="ranges", Range="bytes=200000-")
        self.assertEqual(refused.exception.response["Error"]["Code"], "InvalidRange")
        self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 416)


class Customer(unittest.TestCase):
    def setUp(self):
        self.key = os.urandom(32)

    def refused(self, call, status, code, message=None):
        with self.assertRaises(ClientError) as refused:
            call()
        response = refused.exception.response
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], status)
        self.assertEqual(response["Error"]["Code"], code)
        if message:
            self.assertEqual(response["Error"]["Message"], message)

    def test_round_trip_and_headers(self):
        body = os.urandom(100_000)
        put = s3.put_object(Bucket=BUCKET, Key="mine", Body=body, **ssec(self.key))
        md5 = base64.b64encode(hashlib.md5(self.key).digest()).decode()
        self.assertEqual((put["SSECustomerAlgorithm"], put["SSECustomerKeyMD5"]), ("AES256", md5))
        self.assertNotIn("ServerSideEncryption", put)
        self.assertNotEqual(put["ETag"].strip('"'), hashlib.md5(body).hexdigest())
        get = s3.get_object(Bucket=BUCKET, Key="mine", **ssec(self.key))
        self.assertEqual(get["Body"].read(), body)
        self.assertEqual((get["SSECustomerAlgorithm"], get["SSECustomerKeyMD5"]), ("AES256", md5))
        self.assertNotIn("ServerSideEncryption", get)
        head = s3.head_object(Bucket=BUCKET, Key="mine", **ssec(self.key))
        self.assertEqual(head["ETag"], put["ETag"])
        part = s3.get_object(Bucket=BUCKET, Key="mine", Range="bytes=70000-70009", **ssec(self.key))
        self.assertEqual(part["Body"].read(), body[70000:70010])

    def test_etag_is_fresh_on_every_write(self):
        first = s3.put_object(Bucket=BUCKET, Key="fresh", Body=b"x", **ssec(self.key))["ETag"]
        second = s3.put_object(Bucket=BUCKET, Key="fresh", Body=b"x", **ssec(self.key))["ETag"]
        self.assertNotEqual(first, second)

    def test_get_without_key(self):
        s3.put_object(Bucket=BUCKET, Key="k1", Body=b"x", **ssec(self.key))
        self.refused(
            lambda: s3.get_object(Bucket=BUCKET, Key="k1"),
            400,
            "InvalidRequest",
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
        )
        reply = raw.request(daemon, "HEAD", f"/{BUCKET}/k1")
        self.assertEqual((reply.status, reply.body), (400, b""))

    def test_get_with_wrong_key(self):
        s3.put_object(Bucket=BUCKET, Key="k2", Body=b"x", **ssec(self.key))
        self.refused(
            lambda: s3.get_object(Bucket=BUCKET, Key="k2", **ssec(os.urandom(32))),
            403,
            "AccessDenied",
            "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.",
        )
        reply = raw.request(daemon, "HEAD", f"/{BUCKET}/k2", customer(os.urandom(32)))
        self.assertEqual((reply.status, reply.body), (403, b""))

    def test_key_for_an_object_that_has_none(self):
        s3.put_object(Bucket=BUCKET, Key="k3", Body=b"x")
        self.refused(
            lambda: s3.get_object(Bucket=BUCKET, Key="k3", **ssec(self.key)),
            400,
            "InvalidRequest",
            "The encryption parameters are not applicable to this object.",
        )

    def test_incomplete_or_wrong_headers(self):
        whole = customer(self.key)
        short = customer(self.key[:16])
        other_md5 = whole | {KEY_MD5: customer(os.urandom(32))[KEY_MD5]}
        text = "Requests specifying Server Side Encryption with Customer provided keys must provide "
        rows = [
            ({n: v for n, v in whole.items() if n != ALGORITHM}, "InvalidArgument", text + "a valid encryption algorithm."),
            ({n: v for n, v in whole.items() if n != KEY}, "InvalidArgument", text + "an appropriate secret key."),
            ({n: v for n, v in whole.items() if n != KEY_MD5}, "InvalidArgument", text + "the client calculated MD5 of the secret key."),
            (whole | {ALGORITHM: "AES192"}, "InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256."),
            (short, "InvalidArgument", "The secret key was invalid for the specified algorithm."),
            (whole | {KEY: "!!"}, "InvalidArgument", "The secret key was invalid for the specified algorithm."),
            (other_md5, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided."),
        ]
        s3.put_object(Bucket=BUCKET, Key="k4", Body=b"x", **ssec(self.key))
        for headers, code, message in rows:
            for method, body in (("PUT", b"x"), ("GET", b"")):
                reply = raw.request(daemon, method, f"/{BUCKET}/k4", headers, body)
                self.assertEqual((reply.status, reply.error()["Code"], reply.error()["Message"]), (400, code, message))

    def test_both_kinds_at_once(self):
        reply = raw.request(
            daemon, "PUT", f"/{BUCKET}/k5", customer(self.key) | {"x-amz-server-side-encryption": "AES256"}, b"x"
        )
        self.assertEqual(reply.status, 400)
        error = reply.error()
        self.assertEqual(error["Code"], "InvalidArgument")
        self.assertEqual((error["ArgumentName"], error["ArgumentValue"]), ("x-amz-server-side-encryption", "AES256"))
        self.assertEqual(
            error["Message"],
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
        )

    def test_delete_and_list_need_no_key(self):
        s3.put_object(Bucket=BUCKET, Key="k6", Body=b"x", **ssec(self.key))
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="k6")["Contents"]
        self.assertEqual([entry["Size"] for entry in listed], [1])
        reply = s3.delete_object(Bucket=BUCKET, Key="k6")
        self.assertEqual(reply["ResponseMetadata"]["HTTPStatusCode"], 204)

    def test_key_in_the_query_string(self):
        url = raw.presign(daemon, "GET", f"/{BUCKET}/k7")
        key = "x-amz-server-side-encryption-customer-key=" + base64.b64encode(self.key).decode()
        reply = raw.send(daemon, "GET", f"{url}&{key}", {})
        self.assertEqual(reply.status, 400)

    def test_presigned_url_with_customer_headers(self):
        s3.put_object(Bucket=BUCKET, Key="k8", Body=b"signed", **ssec(self.key))
        url = raw.presign(daemon, "GET", f"/{BUCKET}/k8", customer(self.key))
        self.assertEqual(raw.send(daemon, "GET", url, customer(self.key)).body, b"signed")
        self.assertEqual(raw.send(daemon, "GET", url, {}).status, 403)
        plain = raw.presign(daemon, "GET", f"/{BUCKET}/k8")
        unsigned = raw.send(daemon, "GET", plain, customer(self.key))
        self.assertEqual((unsigned.status, unsigned.error()["Code"]), (403, "AccessDenied"))

    def test_the_connection_is_closed_after_a_customer_key(self):
        reply = raw.request(daemon, "PUT", f"/{BUCKET}/k9", customer(self.key), b"x")
        self.assertEqual((reply.status, reply.headers.get("connection")), (200, "close"))

    def test_nothing_of_the_key_is_logged(self):
        s3.put_object(Bucket=BUCKET, Key="k10", Body=b"x", **ssec(self.key))
        log = daemon.log_text()
        for form in (base64.b64encode(self.key).decode(), self.key.hex()):
            self.assertNotIn(form, log)


class Copies(unittest.TestCase):
    def test_in_all_directions(self):
        keys = {"managed": None, "first": os.urandom(32), "second": os.urandom(32)}
        body = os.urandom(150_000)
        for source, source_key in keys.items():
            s3.put_object(Bucket=BUCKET, Key="from", Body=body, **(ssec(source_key) if source_key else {}))
            for target, target_key in keys.items():
                extra = dict(ssec(target_key)) if target_key else {}
                if source_key:
                    extra |= {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": source_key}
                copied = s3.copy_object(Bucket=BUCKET, Key="to", CopySource=f"{BUCKET}/from", **extra)
                if target_key:
                    self.assertEqual(copied["SSECustomerAlgorithm"], "AES256")
                else:
                    self.assertEqual(copied["ServerSideEncryption"], "AES256")
                read = s3.get_object(Bucket=BUCKET, Key="to", **(ssec(target_key) if target_key else {}))
                self.assertEqual(read["Body"].read(), body, (source, target))
                self.assertEqual(read["ETag"], copied["CopyObjectResult"]["ETag"])

    def test_rekey_in_place(self):
        old, new = os.urandom(32), os.urandom(32)
        s3.put_object(Bucket=BUCKET, Key="rekey", Body=b"x", Metadata={"colour": "blue"}, **ssec(old))
        source = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": old}
        s3.copy_object(Bucket=BUCKET, Key="rekey", CopySource=f"{BUCKET}/rekey", **source, **ssec(new))
        with self.assertRaises(ClientError):
            s3.get_object(Bucket=BUCKET, Key="rekey", **ssec(old))
        read = s3.get_object(Bucket=BUCKET, Key="rekey", **ssec(new))
        self.assertEqual((read["Body"].read(), read["Metadata"]), (b"x", {"colour": "blue"}))

    def refused(self, status, code, **arguments):
        with self.assertRaises(ClientError) as refused:
            s3.copy_object(**arguments)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))
        return response["Error"]["Message"]

    def test_source_key_missing_wrong_or_not_applicable(self):
        key = os.urandom(32)
        s3.put_object(Bucket=BUCKET, Key="s", Body=b"x", **ssec(key))
        s3.put_object(Bucket=BUCKET, Key="m", Body=b"x")
        here = {"Bucket": BUCKET, "Key": "t"}
        wrong = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": os.urandom(32)}
        self.refused(400, "InvalidRequest", **here, CopySource=f"{BUCKET}/s")
        self.refused(403, "AccessDenied", **here, CopySource=f"{BUCKET}/s", **wrong)
        self.refused(400, "InvalidRequest", **here, CopySource=f"{BUCKET}/m", **wrong)

    def test_rotation_with_equal_but_wrong_keys(self):
        s3.put_object(Bucket=BUCKET, Key="r", Body=b"x", **ssec(os.urandom(32)))
        wrong = os.urandom(32)
        source = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": wrong}
        message = self.refused(
            400, "InvalidArgument", Bucket=BUCKET, Key="r", CopySource=f"{BUCKET}/r", **source, **ssec(wrong)
        )
        self.assertEqual(message, "The provided encryption parameters did not match the ones used originally.")

    def test_onto_itself_with_nothing_changed(self):
        s3.put_object(Bucket=BUCKET, Key="self", Body=b"x")
        self.refused(400, "InvalidRequest", Bucket=BUCKET, Key="self", CopySource=f"{BUCKET}/self")
        s3.copy_object(Bucket=BUCKET, Key="self", CopySource=f"{BUCKET}/self", ServerSideEncryption="AES256")
        s3.copy_object(
            Bucket=BUCKET, Key="self", CopySource=f"{BUCKET}/self", MetadataDirective="REPLACE", Metadata={"a": "b"}
        )
        self.assertEqual(s3.head_object(Bucket=BUCKET, Key="self")["Metadata"], {"a": "b"})


if __name__ == "__main__":
    unittest.main()
