"""The rows of the contract that are about multipart uploads."""

import hashlib
import os
import re
import unittest

import contract
from contract import (
    ALGORITHM, ARGUMENT, COPY_SOURCE, KEY, KEY_MD5, SSE, customer, encoded, source_customer, without,
)
from daemon import Daemon

# The least a part but the last may have.
PART = 5 << 20


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Multipart.daemon = daemon
    Multipart.s3 = daemon.client()
    Multipart.s3.create_bucket(Bucket=Multipart.bucket)


class Multipart(contract.Contract):
    def create(self, name, headers=None):
        return self.call("POST", self.path(name), headers, query={"uploads": ""})

    def created(self, name, headers=None):
        reply = self.create(name, headers)
        self.assertEqual(reply.status, 200, reply.body)
        return re.search(rb"<UploadId>([^<]+)</UploadId>", reply.body)[1].decode()

    def part(self, name, upload, number, body, headers=None):
        return self.call("PUT", self.path(name), headers, body, {"partNumber": str(number), "uploadId": upload})

    def part_copy(self, name, upload, number, source, headers=None):
        headers = {COPY_SOURCE: self.path(source)} | (headers or {})
        return self.call("PUT", self.path(name), headers, query={"partNumber": str(number), "uploadId": upload})

    def complete(self, name, upload, etags, headers=None):
        parts = "".join(
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>' for number, etag in etags.items()
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        return self.call("POST", self.path(name), headers, body, {"uploadId": upload})

    def whole(self, name, bodies, key=None):
        """Uploads the parts and completes: the reply to that."""
        headers = customer(key) if key else {}
        upload = self.created(name, headers)
        etags = {n: self.etag(self.part(name, upload, n, body, headers)) for n, body in enumerate(bodies, 1)}
        reply = self.complete(name, upload, etags)
        self.assertEqual(reply.status, 200, reply.body)
        return reply

    def copied_etag(self, reply):
        self.assertEqual(reply.status, 200, reply.body)
        return re.search(rb"<ETag>(?:&quot;|\")?([0-9a-f-]+)", reply.body)[1].decode()

    def abort(self, name, upload):
        return self.call("DELETE", self.path(name), query={"uploadId": upload})

    def test_4_1_06_create(self):
        key = self.key()
        for headers, encryption in (({}, "AES256"), ({SSE: "AES256"}, "AES256"), (customer(key), key)):
            self.shows(self.create("create", headers), encryption)

    def test_4_1_07_upload_part(self):
        key = self.key()
        for headers, encryption in (({}, "AES256"), ({SSE: "AES256"}, "AES256"), (customer(key), key)):
            upload = self.created("part", headers)
            # The managed header was said once.
            sent = customer(key) if encryption == key else {}
            reply = self.part("part", upload, 1, b"test", sent)
            self.shows(reply, encryption)
            md5 = hashlib.md5(b"test").hexdigest()
            self.assertEqual(self.etag(reply) == md5, encryption == "AES256")
            self.assertEqual(self.abort("part", upload).status, 204)

    def test_4_1_08_upload_part_copy(self):
        old, key = self.key(), self.key()
        body = os.urandom(100_000)
        self.put("pc-managed", body)
        self.put("pc-customer", body, customer(old))
        for source, opened in (("pc-managed", {}), ("pc-customer", source_customer(old))):
            for asked, encryption in (({}, "AES256"), (customer(key), key)):
                upload = self.created("pc", asked)
                reply = self.part_copy(
                    "pc", upload, 1, source, opened | asked | {"x-amz-copy-source-range": "bytes=10-99999"}
                )
                self.shows(reply, encryption)
                done = self.complete("pc", upload, {1: self.copied_etag(reply)})
                self.assertEqual(done.status, 200, done.body)
                self.shows(self.reads("pc", body[10:], asked), encryption)

    def test_4_1_09_complete(self):
        key = self.key()
        bodies = [os.urandom(PART), b"the end"]
        self.shows(self.whole("complete", bodies), "AES256")
        self.shows(self.reads("complete", b"".join(bodies)), "AES256")
        # It takes no key, and has nothing to say about it.
        self.shows(self.whole("complete", bodies, key), None)
        self.shows(self.reads("complete", b"".join(bodies), customer(key)), key)

    def test_4_1_10_list_parts_needs_no_key(self):
        key = self.key()
        upload = self.created("list", customer(key))
        self.part("list", upload, 3, b"test", customer(key))
        reply = self.call("GET", self.path("list"), query={"uploadId": upload})
        self.shows(reply, None)
        self.assertIn(b"<PartNumber>3</PartNumber>", reply.body)
        listed = self.s3.list_parts(Bucket=self.bucket, Key="list", UploadId=upload)["Parts"]
        self.assertEqual([(part["PartNumber"], part["Size"]) for part in listed], [(3, 4)])
        uploads = self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix="list")["Uploads"]
        self.assertEqual([(entry["Key"], entry["UploadId"]) for entry in uploads], [("list", upload)])

    def test_4_1_11_abort_needs_no_key(self):
        key = self.key()
        upload = self.created("abort", customer(key))
        self.part("abort", upload, 1, b"test", customer(key))
        self.shows(self.abort("abort", upload), None, 204)
        reply = self.part("abort", upload, 2, b"test", customer(key))
        self.assertEqual((reply.status, reply.error()["Code"]), (404, "NoSuchUpload"))
        self.refused_bare(self.call("HEAD", self.path("abort")), 404)

    def test_4_1_13_etags_of_parts(self):
        bodies = [os.urandom(PART), b"last"]
        self.whole("etag", bodies)
        parts = b"".join(hashlib.md5(body).digest() for body in bodies)
        self.assertEqual(
            self.etag(self.call("HEAD", self.path("etag"))), hashlib.md5(parts).hexdigest() + "-2"
        )
        key, seen = self.key(), set()
        for _ in range(2):
            self.whole("etag", bodies, key)
            etag = self.etag(self.call("HEAD", self.path("etag"), customer(key)))
            self.assertRegex(etag, "^[0-9a-f]{32}-2$")
            self.assertNotIn(etag, seen)
            seen.add(etag)

    def test_4_2_01_with_the_managed_header(self):
        reply = self.create("both", customer(self.key()) | {SSE: "AES256"})
        self.refused(reply, 400, "InvalidArgument", contract.INCOMPATIBLE, ArgumentName=SSE, ArgumentValue="AES256")

    def bad_key(self, headers, code, message, elements):
        """`headers` spoil a customer key, on create and on a part."""
        key = self.keys[0]
        self.refused(self.create("bad", headers), 400, code, message, **elements)
        upload = self.created("bad", customer(key))
        self.refused(self.part("bad", upload, 1, b"never", headers), 400, code, message, **elements)
        self.put("bad-source")
        self.refused(self.part_copy("bad", upload, 1, "bad-source", headers), 400, code, message, **elements)
        reply = self.call("GET", self.path("bad"), query={"uploadId": upload})
        self.assertNotIn(b"<Part>", reply.body)
        self.assertEqual(self.abort("bad", upload).status, 204)

    def test_4_2_02_another_algorithm(self):
        headers = customer(self.key()) | {ALGORITHM: "AES192"}
        self.bad_key(
            headers, "InvalidEncryptionAlgorithmError", contract.WRONG_ALGORITHM,
            {"ArgumentName": SSE, "ArgumentValue": "AES192"},
        )

    def test_4_2_03_no_algorithm(self):
        self.bad_key(without(customer(self.key()), ALGORITHM), "InvalidArgument", contract.NO_ALGORITHM, ARGUMENT)

    def test_4_2_04_no_key(self):
        self.bad_key(without(customer(self.key()), KEY), "InvalidArgument", contract.NO_KEY, ARGUMENT)

    def test_4_2_05_missing_key_md5(self):
        self.bad_key(without(customer(self.key()), KEY_MD5), "InvalidArgument", contract.NO_MD5, ARGUMENT)

    def test_4_2_06_a_key_that_is_none(self):
        headers = customer(self.key()) | {KEY: encoded(b"short")}
        self.bad_key(headers, "InvalidArgument", contract.INVALID_KEY, ARGUMENT)

    def test_4_2_07_the_md5_of_another_key(self):
        headers = customer(self.key()) | {KEY_MD5: customer(self.key())[KEY_MD5]}
        self.bad_key(headers, "InvalidArgument", contract.OTHER_MD5, ARGUMENT)

    def test_4_2_08_to_10_reads_of_the_whole(self):
        key = self.key()
        self.whole("read", [os.urandom(PART), b"the end"], key)
        for query in (None, {"partNumber": "2"}):
            self.refused(
                self.call("GET", self.path("read"), query=query), 400, "InvalidRequest", contract.STORED_ENCRYPTED
            )
            self.refused(
                self.call("GET", self.path("read"), customer(self.key()), query=query),
                403, "AccessDenied", contract.WRONG_KEY,
            )
            self.refused_bare(self.call("HEAD", self.path("read"), query=query), 400)
            self.refused_bare(self.call("HEAD", self.path("read"), customer(self.key()), query=query), 403)

    def test_4_2_15_a_part_without_the_uploads_key(self):
        self.put("p15-source")
        upload = self.created("p15", customer(self.key()))
        for reply in (self.part("p15", upload, 1, b"x"), self.part_copy("p15", upload, 1, "p15-source")):
            self.refused(reply, 400, "InvalidRequest", contract.PART_NEEDS_KEY)

    def test_4_2_16_a_part_with_a_key_where_the_upload_has_none(self):
        self.put("p16-source")
        upload, headers = self.created("p16"), customer(self.key())
        for reply in (self.part("p16", upload, 1, b"x", headers), self.part_copy("p16", upload, 1, "p16-source", headers)):
            self.refused(reply, 400, "InvalidRequest", contract.PART_NEEDS_KEY)

    def test_4_2_17_a_part_with_another_key(self):
        self.put("p17-source")
        upload, headers = self.created("p17", customer(self.key())), customer(self.key())
        for reply in (self.part("p17", upload, 1, b"x", headers), self.part_copy("p17", upload, 1, "p17-source", headers)):
            self.refused(reply, 400, "InvalidRequest", contract.OTHER_THAN_ORIGINALLY)
        # The upload goes on under its own key.
        own = customer(self.keys[0])
        reply = self.complete("p17", upload, {1: self.etag(self.part("p17", upload, 1, b"mine", own))})
        self.assertEqual(reply.status, 200, reply.body)
        self.reads("p17", b"mine", own)

    def test_4_2_12_a_part_copy_without_the_key_of_its_source(self):
        self.put("p12-source", headers=customer(self.key()))
        upload = self.created("p12")
        self.refused(
            self.part_copy("p12", upload, 1, "p12-source"), 400, "InvalidRequest", contract.STORED_ENCRYPTED
        )
        self.refused(
            self.part_copy("p12", upload, 1, "p12-source", source_customer(self.key())),
            403, "AccessDenied", contract.WRONG_KEY,
        )

    def test_4_2_22_part_numbers(self):
        key = self.key()
        bodies = [os.urandom(PART), b"the end"]
        self.whole("p22", bodies, key)
        for number, body in enumerate(bodies, 1):
            reply = self.call("GET", self.path("p22"), customer(key), query={"partNumber": str(number)})
            self.shows(reply, key, 206)
            self.assertTrue(reply.body == body)
            self.assertEqual(reply.headers["x-amz-mp-parts-count"], "2")
        reply = self.call("GET", self.path("p22"), customer(key), query={"partNumber": "3"})
        # The protocol's own status for it is 416 where no customer key is in play.
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidPart"))

    def test_4_2_23_parts_do_not_change_a_copy(self):
        """A copy of an assembled object is one object of one part."""
        self.whole("p23", [os.urandom(PART), b"the end"])
        self.shows(self.copy("p23", "p23-copy"), "AES256")
        self.assertRegex(self.etag(self.call("HEAD", self.path("p23-copy"))), "^[0-9a-f]{32}$")


if __name__ == "__main__":
    unittest.main()
