"""The rows of the contract about keys that clients name: `aws:kms`."""

import hashlib
import os
import time
import tomllib
import unittest
import uuid

import contract
from contract import BUCKET_KEY, CONTEXT, KMS_KEY, SSE, customer, encoded, source_customer
from daemon import Daemon

MD5 = hashlib.md5(b"test").hexdigest()
KMS = {SSE: "aws:kms"}


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Kms.daemon = daemon
    Kms.s3 = daemon.client()
    Kms.s3.create_bucket(Bucket=Kms.bucket)
    root = tomllib.loads((daemon.dir / "strongroom.toml").read_text())["kms"][0]["root"]
    Kms.id = str(uuid.UUID(root))
    Kms.arn = f"arn:aws:kms:us-east-1:000000000000:key/{Kms.id}"


class Kms(contract.Contract):
    def shows_key(self, reply, bucket_key=None, context=None, status=200):
        """That the reply names the one key there is."""
        self.assertEqual(reply.status, status, reply.body)
        shown = {name: value for name, value in reply.headers.items() if name.startswith(SSE)}
        expected = {SSE: "aws:kms", KMS_KEY: self.arn}
        if bucket_key:
            expected[BUCKET_KEY] = bucket_key
        if context:
            expected[CONTEXT] = context
        self.assertEqual(shown, expected)

    def create(self, headers):
        return self.call("POST", self.path("upload"), headers, query={"uploads": ""})

    def state(self, name, then):
        """Runs `then` while the key is in that state."""
        self.daemon.configure(lambda text: text.replace("[[kms]]", f'[[kms]]\nstate = "{name}"'))
        try:
            then()
        finally:
            self.daemon.configure(lambda text: text.replace(f'state = "{name}"\n', ""))

    def test_4_1_01_put_under_every_name_of_the_key(self):
        self.shows_key(self.put("p", headers=KMS))
        for name in (self.id, self.arn, "alias/dev", "arn:aws:kms:us-east-1:000000000000:alias/dev"):
            self.shows_key(self.put("p", headers=KMS | {KMS_KEY: name}))
        context = encoded(b'{"ward": "b", "floor": "2"}')
        self.shows_key(
            self.put("p", headers=KMS | {CONTEXT: context, BUCKET_KEY: "true"}), bucket_key="true", context=context
        )

    def test_4_1_03_get_and_head(self):
        for headers, flag in ((KMS, None), (KMS | {BUCKET_KEY: "true", CONTEXT: encoded(b'{"a": "b"}')}, "true")):
            self.put("g", headers=headers)
            self.shows_key(self.reads("g", b"test"), flag)
            self.shows_key(self.call("HEAD", self.path("g")), flag)

    def test_4_1_05_copies(self):
        key = self.key()
        self.put("c-managed")
        self.put("c-customer", headers=customer(key))
        self.put("c-kms", headers=KMS)
        for source, opened in (("c-managed", {}), ("c-customer", source_customer(key)), ("c-kms", {})):
            self.shows_key(self.copy(source, "c-target", opened | KMS))
            self.shows_key(self.reads("c-target", b"test"))
            # What the source was under does not come along.
            self.shows(self.copy(source, "c-target", opened), "AES256")
            self.shows(self.reads("c-target", b"test"), "AES256")
            self.shows(self.copy(source, "c-target", opened | customer(key)), key)

    def test_4_1_13_etags(self):
        seen = {MD5}
        for _ in range(2):
            etags = [self.etag(self.put("e", headers=KMS))]
            self.copy("e", "e-copy", KMS)
            etags.append(self.etag(self.call("HEAD", self.path("e-copy"))))
            for etag in etags:
                self.assertRegex(etag, "^[0-9a-f]{32}$")
                self.assertNotIn(etag, seen)
                seen.add(etag)

    def test_4_2_01_with_a_customer_key(self):
        reply = self.call("PUT", self.path("k"), KMS | {KMS_KEY: self.id} | customer(self.key()), b"x")
        self.refused(reply, 400, "InvalidArgument", contract.INCOMPATIBLE, ArgumentName=SSE, ArgumentValue="aws:kms")

    def test_4_2_14_a_key_for_an_object_that_needs_none(self):
        self.put("k14", headers=KMS)
        reply = self.call("GET", self.path("k14"), customer(self.key()))
        self.refused(reply, 400, "InvalidRequest", contract.NOT_APPLICABLE)

    def test_4_3_05_an_unknown_key_id(self):
        self.put("source")
        absent = f"arn:aws:kms:us-east-1:000000000000:key/{uuid.UUID(int=7)}"
        elsewhere = self.arn.replace("us-east-1", "eu-west-9")
        for name, message in (
            ("fake-key-id", "Invalid keyId 'fake-key-id'"),
            (absent, f"Key '{absent}' does not exist"),
            (elsewhere, "Invalid arn eu-west-9"),
        ):
            headers = KMS | {KMS_KEY: name}
            for reply in (self.call("PUT", self.path("k"), headers, b"x"), self.copy("source", "k", headers)):
                self.refused(reply, 400, "KMS.NotFoundException", message)

    def test_4_3_06_a_disabled_key(self):
        self.put("k06", headers=KMS)
        self.put("managed")

        def refused():
            for reply in (
                self.call("PUT", self.path("k"), KMS, b"x"), self.call("GET", self.path("k06")),
                self.copy("managed", "k", KMS), self.copy("k06", "k"),
            ):
                self.refused(reply, 400, "KMS.DisabledException", f"{self.arn} is disabled.")
            self.reads("managed", b"test")

        self.state("disabled", refused)
        self.shows_key(self.reads("k06", b"test"))

    def test_4_3_07_a_key_pending_deletion(self):
        self.put("k07", headers=KMS)

        def refused():
            for reply in (self.call("PUT", self.path("k"), KMS, b"x"), self.call("GET", self.path("k07"))):
                self.refused(reply, 400, "KMS.KMSInvalidStateException", f"{self.arn} is pending deletion.")

        self.state("pending_deletion", refused)

    def test_4_3_09_the_key_service_is_away(self):
        self.put("k09", headers=KMS)
        # So that no key is at hand from before.
        self.daemon.stop()
        self.daemon.start()
        tokens = self.daemon.dir / "token" / "tokens"
        aside = tokens.with_name("aside")
        tokens.rename(aside)
        try:
            for reply in (self.call("PUT", self.path("k"), KMS, b"x"), self.call("GET", self.path("k09"))):
                self.assertEqual((reply.status, reply.error()["Code"]), (503, "ServiceUnavailable"))
        finally:
            aside.rename(tokens)
        deadline = time.monotonic() + 30
        while (reply := self.call("GET", self.path("k09"))).status == 503:
            self.assertLess(time.monotonic(), deadline, "no recovery")
            time.sleep(0.1)
        self.shows_key(reply)
        self.refused_bare(self.call("HEAD", self.path("k")), 404)

    def update(self, name, key=None):
        body = (
            '<ObjectEncryption xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><SSE-KMS>'
            f"<KMSKeyArn>{key or self.arn}</KMSKeyArn><BucketKeyEnabled>true</BucketKeyEnabled></SSE-KMS>"
            "</ObjectEncryption>"
        ).encode()
        md5 = encoded(hashlib.md5(body).digest())
        return self.call("PUT", self.path(name), {"Content-MD5": md5}, body, {"encryption": ""})

    def test_4_1_12_update_object_encryption(self):
        body = os.urandom(100_000)
        self.put("u", body, {"x-amz-meta-colour": "blue"})
        before = self.call("HEAD", self.path("u")).headers
        self.shows(self.update("u"), None)
        after = self.reads("u", body)
        self.shows_key(after, "true")
        for name in ("etag", "last-modified", "x-amz-meta-colour"):
            self.assertEqual(after.headers[name], before[name])

    def test_4_4_12_what_update_object_encryption_refuses(self):
        key = self.key()
        self.put("u-customer", headers=customer(key))
        reply = self.update("u-customer")
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidRequest"))
        self.reads("u-customer", b"test", customer(key))
        reply = self.update("u-absent")
        self.assertEqual((reply.status, reply.error()["Code"]), (404, "NoSuchKey"))
        self.put("u-managed")
        reply = self.update("u-managed", self.arn.replace("us-east-1", "eu-west-9"))
        self.assertEqual(reply.status, 400)
        self.shows(self.reads("u-managed", b"test"), "AES256")

    def test_4_4_10_headers_win_over_the_default(self):
        self.s3.create_bucket(Bucket="kms-default")
        self.bucket = "kms-default"
        rule = {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": self.arn},
            "BucketKeyEnabled": True,
        }
        self.s3.put_bucket_encryption(
            Bucket=self.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
        )
        key = self.key()
        self.shows_key(self.put("d"), "true")
        self.shows_key(self.reads("d", b"test"), "true")
        self.shows(self.put("d", headers={SSE: "AES256"}), "AES256")
        self.shows(self.put("d", headers=customer(key)), key)
        self.shows_key(self.copy("d", "d2", source_customer(key)), "true")


if __name__ == "__main__":
    unittest.main()
