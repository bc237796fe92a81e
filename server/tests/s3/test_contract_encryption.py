"""Rows 4.1 to 4.3 of the contract on PUT, GET, HEAD, COPY, DELETE and lists, and what storage classes they take.
`contract` lists all rows."""

import hashlib
import os
import re
import unittest
import zlib

import contract
import raw
from contract import (
    ALGORITHM, ARGUMENT, CONTEXT, KEY, KEY_MD5, KMS_KEY, SOURCE_KEY, SSE, customer,
    encoded, source_customer, without,
)
from daemon import Daemon

CLASS = "x-amz-storage-class"
LABELS = ("REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR")


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Contract.daemon = daemon
    Contract.s3 = daemon.client()
    Contract.s3.create_bucket(Bucket=Contract.bucket)


class Contract(contract.Contract):
    def everywhere(self, name, headers, check):
        """A customer key's headers, good or bad, on every operation that takes them, for a customer object `name`."""
        source = {header.replace(SSE, "x-amz-copy-source-server-side-encryption"): headers[header] for header in headers}
        held = self.etag(self.call("HEAD", self.path(name), customer(self.keys[0])))
        check(self.call("PUT", self.path(name), headers, b"never stored"))
        check(self.call("GET", self.path(name), headers))
        check(self.copy(name, f"{name}-copy", source))
        check(self.copy(name, f"{name}-copy", source_customer(self.keys[0]) | headers))
        self.refused_bare(self.call("HEAD", self.path(name), headers), 400)
        # Nothing of that wrote anything.
        self.assertEqual(self.etag(self.call("HEAD", self.path(name), customer(self.keys[0]))), held)
        self.refused_bare(self.call("HEAD", self.path(f"{name}-copy")), 404)


class Operations(Contract):
    def test_4_1_01_put_object(self):
        self.shows(self.put("p1"), "AES256")
        self.shows(self.put("p1", headers={SSE: "AES256"}), "AES256")
        key = self.key()
        self.shows(self.put("p1", headers=customer(key)), key)
        put = self.s3.put_object(
            Bucket=self.bucket, Key="p1", Body=b"test", SSECustomerAlgorithm="AES256", SSECustomerKey=key
        )
        self.assertEqual(put["SSECustomerKeyMD5"], customer(key)[KEY_MD5])

    def test_4_1_03_get_and_head_object(self):
        key = self.key()
        self.put("g-managed", b"managed body")
        self.put("g-customer", b"customer body", customer(key))
        for name, body, headers, encryption in (
            ("g-managed", b"managed body", {}, "AES256"),
            ("g-customer", b"customer body", customer(key), key),
        ):
            self.shows(self.reads(name, body, headers), encryption)
            head = self.call("HEAD", self.path(name), headers)
            self.shows(head, encryption)
            self.assertEqual((head.headers["content-length"], head.body), (str(len(body)), b""))
            piece = self.call("GET", self.path(name), headers | {"Range": "bytes=2-5"})
            self.shows(piece, encryption, 206)
            self.assertEqual(piece.body, body[2:6])

    def test_4_1_05_copy_object(self):
        old, new = self.key(), self.key()
        body = os.urandom(100_000)
        self.put("c-managed", body)
        self.put("c-customer", body, customer(old))
        for source, opened in (("c-managed", {}), ("c-customer", source_customer(old))):
            for asked, encryption in (
                ({}, "AES256"), ({SSE: "AES256"}, "AES256"), (customer(old), old), (customer(new), new)
            ):
                self.shows(self.copy(source, "c-target", opened | asked), encryption)
                sent = customer(encryption) if isinstance(encryption, bytes) else {}
                self.shows(self.reads("c-target", body, sent), encryption)

    def test_4_1_11_delete_takes_no_key_and_shows_nothing(self):
        self.put("d", headers=customer(self.key()))
        self.shows(self.call("DELETE", self.path("d")), None, 204)
        self.refused_bare(self.call("HEAD", self.path("d")), 404)

    def test_4_1_13_etags(self):
        key = self.key()
        md5 = hashlib.md5(b"test").hexdigest()
        self.assertEqual(md5, "098f6bcd4621d373cade4e832627b4f6")
        self.assertEqual(self.etag(self.put("e-managed")), md5)
        seen = {md5}
        for turn in range(3):
            put = self.etag(self.put("e-customer", headers=customer(key)))
            copied = self.copy("e-customer", "e-copy", source_customer(key) | customer(key))
            copied = re.search(rb"<ETag>(?:&quot;|\")([0-9a-f]{32})(?:&quot;|\")</ETag>", copied.body)[1].decode()
            for etag, name in ((put, "e-customer"), (copied, "e-copy")):
                self.assertRegex(etag, "^[0-9a-f]{32}$")
                self.assertNotIn(etag, seen, "an ETag that was there before, or the MD5")
                seen.add(etag)
                self.assertEqual(self.etag(self.call("HEAD", self.path(name), customer(key))), etag)
        self.copy("e-customer", "e-back", source_customer(key))
        self.assertEqual(self.etag(self.call("HEAD", self.path("e-back"))), md5)

    def test_4_1_14_no_reply_holds_a_key(self):
        # `call` searches each reply; this shows that it would find one.
        key = self.key()
        with self.assertRaises(AssertionError):
            self.searched(raw.Reply(200, {"x": encoded(key)}, b""))
        self.put("n", headers=customer(key))
        for method in ("GET", "HEAD"):
            reply = self.call(method, self.path("n"), customer(key))
            self.assertNotIn(SSE, reply.headers)
        self.assertNotIn(KEY, reply.headers)
        # Not in an error about it either.
        self.refused(
            self.call("GET", self.path("n"), customer(key) | {KEY_MD5: "!" + encoded(key)}),
            400, "InvalidArgument", contract.OTHER_MD5, **ARGUMENT,
        )

    def test_4_1_15_checksums_are_of_the_plaintext(self):
        key = self.key()
        body = os.urandom(70_000)
        crc32 = encoded(zlib.crc32(body).to_bytes(4, "big"))
        sha256 = encoded(hashlib.sha256(body).digest())
        for name, value in (("x-amz-checksum-crc32", crc32), ("x-amz-checksum-sha256", sha256)):
            put = self.put("s", body, customer(key) | {name: value})
            self.assertEqual(put.headers[name], value)
            head = self.call("HEAD", self.path("s"), customer(key) | {"x-amz-checksum-mode": "ENABLED"})
            self.assertEqual((head.headers[name], head.headers["x-amz-checksum-type"]), (value, "FULL_OBJECT"))
            wrong = self.call("PUT", self.path("s"), customer(key) | {name: value}, body[1:] + b"x")
            self.assertEqual((wrong.status, wrong.error()["Code"]), (400, "BadDigest"))


class CustomerKeys(Contract):
    def test_4_2_01_with_the_managed_header(self):
        key = self.key()
        self.put("k01")
        both = customer(key) | {SSE: "AES256"}
        for reply in (self.call("PUT", self.path("k01"), both, b"never"), self.copy("k01", "k01-copy", both)):
            self.refused(
                reply, 400, "InvalidArgument", contract.INCOMPATIBLE, ArgumentName=SSE, ArgumentValue="AES256"
            )
        self.reads("k01", b"test")

    def test_4_2_02_another_algorithm(self):
        self.put("k02", headers=customer(self.key()))
        for name in ("AES192", "aes256", "<AES>"):
            self.everywhere(
                "k02", customer(self.keys[0]) | {ALGORITHM: name},
                lambda reply: self.refused(
                    reply, 400, "InvalidEncryptionAlgorithmError", contract.WRONG_ALGORITHM,
                    ArgumentName=SSE, ArgumentValue=name,
                ),
            )

    def incomplete(self, name, missing, message):
        self.put(name, headers=customer(self.key()))
        self.keys = self.keys[-1:]
        self.everywhere(
            name, without(customer(self.keys[0]), *missing),
            lambda reply: self.refused(reply, 400, "InvalidArgument", message, **ARGUMENT),
        )

    def test_4_2_03_no_algorithm(self):
        self.incomplete("k03", [ALGORITHM], contract.NO_ALGORITHM)
        self.incomplete("k03", [ALGORITHM, KEY_MD5], contract.NO_ALGORITHM)

    def test_4_2_04_no_key(self):
        self.incomplete("k04", [KEY], contract.NO_KEY)
        self.incomplete("k04", [KEY, KEY_MD5], contract.NO_KEY)

    def test_4_2_05_missing_key_md5(self):
        self.incomplete("k05", [KEY_MD5], contract.NO_MD5)

    def test_4_2_06_a_key_that_is_none(self):
        self.put("k06", headers=customer(self.key()))
        short, long = self.keys[0][:16], self.keys[0] + b"x"
        whole = customer(self.keys[0])
        for bad in (customer(short), customer(long), whole | {KEY: "!" + whole[KEY][1:]}, whole | {KEY: whole[KEY][:-1]}):
            self.everywhere(
                "k06", bad,
                lambda reply: self.refused(reply, 400, "InvalidArgument", contract.INVALID_KEY, **ARGUMENT),
            )

    def test_4_2_07_the_md5_of_another_key(self):
        self.put("k07", headers=customer(self.key()))
        for md5 in (customer(self.key())[KEY_MD5], encoded(b"short"), "not base64"):
            self.everywhere(
                "k07", customer(self.keys[0]) | {KEY_MD5: md5},
                lambda reply: self.refused(reply, 400, "InvalidArgument", contract.OTHER_MD5, **ARGUMENT),
            )

    def test_4_2_08_a_read_without_the_key(self):
        self.put("k08", headers=customer(self.key()))
        for headers in ({}, {"Range": "bytes=0-1"}):
            reply = self.call("GET", self.path("k08"), headers)
            self.refused(reply, 400, "InvalidRequest", contract.STORED_ENCRYPTED)
            self.shows(reply, None, 400)

    def test_4_2_09_a_read_with_another_key(self):
        self.put("k09", headers=customer(self.key()))
        for headers in ({}, {"Range": "bytes=0-1"}):
            reply = self.call("GET", self.path("k09"), customer(self.key()) | headers)
            self.refused(reply, 403, "AccessDenied", contract.WRONG_KEY)
        # A copy answers as a read does.
        self.refused(
            self.copy("k09", "k09-copy", source_customer(self.key())), 403, "AccessDenied", contract.WRONG_KEY
        )

    def test_4_2_10_the_same_by_head(self):
        self.put("k10", headers=customer(self.key()))
        self.refused_bare(self.call("HEAD", self.path("k10")), 400)
        self.refused_bare(self.call("HEAD", self.path("k10"), customer(self.key())), 403)
        self.shows(self.call("HEAD", self.path("k10"), customer(self.keys[0])), self.keys[0])

    def test_4_2_12_a_copy_without_the_key_of_its_source(self):
        self.put("k12", headers=customer(self.key()))
        for headers in ({}, {SSE: "AES256"}, customer(self.keys[0])):
            reply = self.copy("k12", "k12-copy", headers)
            self.refused(reply, 400, "InvalidRequest", contract.STORED_ENCRYPTED)

    def test_4_2_13_a_copy_that_asks_for_nothing(self):
        key = self.key()
        before = self.etag(self.put("k13", headers=customer(key)))
        self.shows(self.copy("k13", "k13-copy", source_customer(key)), "AES256")
        self.assertNotEqual(self.etag(self.reads("k13-copy", b"test")), before)
        # In place it is a change, and legal.
        self.shows(self.copy("k13", "k13", source_customer(key)), "AES256")
        self.shows(self.reads("k13", b"test"), "AES256")

    def test_4_2_14_a_key_for_an_object_without_one(self):
        key = self.key()
        self.put("k14")
        for reply in (
            self.call("GET", self.path("k14"), customer(key)), self.copy("k14", "k14-copy", source_customer(key))
        ):
            self.refused(reply, 400, "InvalidRequest", contract.NOT_APPLICABLE)
        self.refused_bare(self.call("HEAD", self.path("k14"), customer(key)), 400)

    def test_4_2_18_rotation_with_the_same_wrong_key_twice(self):
        self.put("k18", headers=customer(self.key()))
        wrong, other = self.key(), self.key()
        self.refused(
            self.copy("k18", "k18", source_customer(wrong) | customer(wrong)),
            400, "InvalidArgument", contract.OTHER_THAN_ORIGINALLY,
        )
        # Two wrong keys, or another target, are a wrong key like any.
        for target, key in (("k18", other), ("k18-copy", wrong)):
            reply = self.copy("k18", target, source_customer(wrong) | customer(key))
            self.refused(reply, 403, "AccessDenied", contract.WRONG_KEY)
        # The right one twice is no change of the key, and one of the encryption all the same.
        right = self.keys[0]
        self.shows(self.copy("k18", "k18", source_customer(right) | customer(right)), right)
        self.shows(self.copy("k18", "k18", source_customer(right) | customer(other)), other)
        self.shows(self.reads("k18", b"test", customer(other)), other)

    def test_4_2_21_the_managed_header_on_a_read(self):
        self.put("k21")
        for name, value in ((SSE, "AES256"), (SSE, "aws:kms"), (KMS_KEY, "k"), (CONTEXT, encoded(b"{}"))):
            reply = self.call("GET", self.path("k21"), {name: value})
            self.refused(
                reply, 400, "InvalidArgument", f"{name} header is not supported for this operation.",
                ArgumentName=name, ArgumentValue=value,
            )
            self.refused_bare(self.call("HEAD", self.path("k21"), {name: value}), 400)

    def test_4_2_22_a_part_number_of_an_object_without_parts(self):
        key = self.key()
        self.put("k22", headers=customer(key))
        reply = self.call("GET", self.path("k22"), customer(key), query={"partNumber": "2"})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidPart"))

    def test_4_2_23_a_copy_onto_itself_that_changes_nothing(self):
        self.put("k23", headers={"x-amz-meta-colour": "blue"})
        self.refused(self.copy("k23", "k23"), 400, "InvalidRequest", contract.ONTO_ITSELF)
        key = self.key()
        self.shows(self.copy("k23", "k23", {SSE: "AES256"}), "AES256")
        self.shows(self.copy("k23", "k23", {"x-amz-storage-class": "STANDARD_IA"}), "AES256")
        self.shows(self.copy("k23", "k23", {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-colour": "red"}), "AES256")
        self.shows(self.copy("k23", "k23", customer(key)), key)
        self.assertEqual(self.reads("k23", b"test", customer(key)).headers["x-amz-meta-colour"], "red")

    def test_4_2_25_presigned_urls(self):
        key = self.key()
        url = raw.presign(self.daemon, "PUT", self.path("k25"), customer(key))
        self.assertNotIn(encoded(key), url)
        self.shows(self.searched(raw.send(self.daemon, "PUT", url, customer(key), b"signed")), key)
        url = raw.presign(self.daemon, "GET", self.path("k25"), customer(key))
        read = self.searched(raw.send(self.daemon, "GET", url, customer(key)))
        self.shows(read, key)
        self.assertEqual(read.body, b"signed")
        # What was signed must come, as it was signed.
        for headers in ({}, without(customer(key), KEY), customer(self.key())):
            reply = self.searched(raw.send(self.daemon, "GET", url, headers))
            self.assertEqual((reply.status, reply.error()["Code"]), (403, "SignatureDoesNotMatch"))
        # What was not signed must not come.
        url = raw.presign(self.daemon, "GET", self.path("k25"))
        reply = self.searched(raw.send(self.daemon, "GET", url, customer(key)))
        self.assertEqual(reply.status, 403)
        self.assertEqual(
            (reply.error()["Code"], reply.error()["Message"]),
            ("AccessDenied", "There were headers present in the request which were not signed"),
        )

    def test_4_2_26_a_key_in_a_query_string(self):
        key = self.key()
        url = raw.presign(self.daemon, "GET", self.path("k26"))
        for name in (KEY, KEY.title(), SOURCE_KEY):
            reply = raw.send(self.daemon, "GET", f"{url}&{name}={encoded(key)}", {})
            self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidRequest"))

    def test_4_2_27_deleting_and_listing_need_no_key(self):
        self.put("k27/a", b"12345", customer(self.key()))
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="k27/")["Contents"]
        self.assertEqual([(entry["Key"], entry["Size"]) for entry in listed], [("k27/a", 5)])
        self.assertEqual(self.call("DELETE", self.path("k27/a")).status, 204)
        self.assertEqual(self.s3.list_objects_v2(Bucket=self.bucket, Prefix="k27/")["KeyCount"], 0)


class ManagedKeys(Contract):
    def written(self, headers):
        """PUT and COPY with the headers."""
        self.put("m-source")
        return (self.call("PUT", self.path("m"), headers, b"never"), self.copy("m-source", "m", headers))

    def test_4_3_01_an_unknown_encryption(self):
        for name in ("aes:kms", "AES192", "aes256"):
            for reply in self.written({SSE: name}):
                self.refused(
                    reply, 400, "InvalidArgument", "The encryption algorithm specified is not valid.",
                    ArgumentName=SSE, ArgumentValue=name,
                )

    def test_4_3_02_a_key_id_with_aes256(self):
        for reply in self.written({SSE: "AES256", KMS_KEY: "some-key"}):
            self.refused(
                reply, 400, "InvalidArgument", contract.NEEDS_KMS_HEADER, ArgumentName=KMS_KEY, ArgumentValue="some-key"
            )

    def test_4_3_03_a_key_id_alone(self):
        for reply in self.written({KMS_KEY: "some-key"}):
            self.refused(
                reply, 400, "InvalidArgument", contract.NEEDS_KMS_HEADER, ArgumentName=KMS_KEY, ArgumentValue="some-key"
            )

    def test_4_3_04_kms_with_a_customer_key(self):
        for reply in self.written(customer(self.key()) | {SSE: "aws:kms"}):
            self.refused(
                reply, 400, "InvalidArgument", contract.INCOMPATIBLE, ArgumentName=SSE, ArgumentValue="aws:kms"
            )


class StorageClasses(Contract):
    def test_4_6_02_storage_classes_are_kept_and_shown(self):
        for name in LABELS:
            self.put("label", headers={CLASS: name})
            self.assertEqual(self.reads("label", b"test").headers[CLASS], name)
        self.put("label", headers={CLASS: "STANDARD"})
        self.assertNotIn(CLASS, self.reads("label", b"test").headers)
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="label")["Contents"]
        self.assertEqual([entry["StorageClass"] for entry in listed], ["STANDARD"])

    def test_4_6_03_an_unknown_storage_class(self):
        self.put("source")
        for reply in (
            self.call("PUT", self.path("k"), {CLASS: "CELLAR"}, b"x"), self.copy("source", "k", {CLASS: "CELLAR"})
        ):
            self.refused(
                reply, 400, "InvalidStorageClass", "The storage class you specified is not valid",
                StorageClassRequested="CELLAR",
            )


if __name__ == "__main__":
    unittest.main()
