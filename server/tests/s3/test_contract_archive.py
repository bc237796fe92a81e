"""Section 4.6 of the contract: the archive, and what is restored from it."""

import hashlib
import os
import time
import unittest

import contract
from contract import customer, source_customer
from daemon import Daemon

CLASS = "x-amz-storage-class"
NOT_VALID = "The operation is not valid for the object's storage class"
ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    # With days of two seconds, for what moves by itself.
    daemon.configure(lambda text: text + "\n[lifecycle]\nday_seconds = 2\ninterval_seconds = 1\n")
    Archive.daemon = daemon
    Archive.s3 = daemon.client()
    Archive.s3.create_bucket(Bucket=Archive.bucket)


class Archive(contract.Contract):
    def restore(self, name, days=1, tier="Standard"):
        body = (
            f"<RestoreRequest><Days>{days}</Days><GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>"
            "</RestoreRequest>"
        )
        return self.call("POST", self.path(name), {}, body.encode(), {"restore": ""})

    def restored(self, name, headers=None):
        """Waits for the restored copy and returns the HEAD that shows it."""
        deadline = time.monotonic() + 60
        while True:
            head = self.call("HEAD", self.path(name), headers)
            self.assertEqual(head.status, 200)
            if 'ongoing-request="false"' in head.headers.get("x-amz-restore", ""):
                return head
            self.assertLess(time.monotonic(), deadline, head.headers)
            time.sleep(0.1)

    def test_4_6_10_a_transition_keeps_the_encryption(self):
        bucket, key = "moved", self.key()
        self.s3.create_bucket(Bucket=bucket)
        whole = {"managed": {}, "customer": customer(key)}
        for name, headers in whole.items():
            self.assertEqual(self.call("PUT", f"/{bucket}/{name}", headers, b"test").status, 200)
        before = {name: self.call("HEAD", f"/{bucket}/{name}", headers) for name, headers in whole.items()}
        rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}}
        self.s3.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={"Rules": [rule | {"Transitions": [{"Days": 1, "StorageClass": "GLACIER_IR"}]}]},
            TransitionDefaultMinimumObjectSize="varies_by_storage_class",
        )
        deadline = time.monotonic() + 60
        for name, headers in whole.items():
            while (after := self.call("HEAD", f"/{bucket}/{name}", headers)).headers.get(CLASS) != "GLACIER_IR":
                self.assertLess(time.monotonic(), deadline, after.headers)
                time.sleep(0.2)
            self.shows(after, key if headers else "AES256")
            for kept in ("etag", "last-modified", "content-length"):
                self.assertEqual(after.headers[kept], before[name].headers[kept])
            self.assertEqual(self.call("GET", f"/{bucket}/{name}", headers).body, b"test")
        self.refused(
            self.call("GET", f"/{bucket}/customer"), 400, "InvalidRequest", contract.STORED_ENCRYPTED
        )

    def test_4_6_04_reading_what_is_archived(self):
        for name in ARCHIVES:
            self.put("archived", headers={CLASS: name})
            for headers in ({}, {"Range": "bytes=0-1"}):
                self.refused(
                    self.call("GET", self.path("archived"), headers), 403, "InvalidObjectState", NOT_VALID,
                    StorageClass=name,
                )

    def test_4_6_05_copying_what_is_archived(self):
        self.put("a5", headers={CLASS: "GLACIER"})
        self.refused(self.copy("a5", "a5-copy"), 403, "InvalidObjectState", NOT_VALID, StorageClass="GLACIER")
        self.refused_bare(self.call("HEAD", self.path("a5-copy")), 404)

    def test_4_6_06_head_of_what_is_archived(self):
        key = self.key()
        self.put("a6", headers={CLASS: "GLACIER"})
        head = self.call("HEAD", self.path("a6"))
        self.shows(head, "AES256")
        self.assertEqual((head.headers[CLASS], head.headers["content-length"]), ("GLACIER", "4"))
        self.put("a6", headers=customer(key) | {CLASS: "GLACIER"})
        self.refused_bare(self.call("HEAD", self.path("a6")), 400)
        self.shows(self.call("HEAD", self.path("a6"), customer(key)), key)

    def test_4_6_07_restoring(self):
        self.put("a7", headers={CLASS: "GLACIER"})
        self.assertEqual(self.restore("a7").status, 202)
        head = self.restored("a7")
        self.assertRegex(
            head.headers["x-amz-restore"],
            r'^ongoing-request="false", expiry-date="\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"$',
        )
        self.assertEqual(head.headers[CLASS], "GLACIER")
        self.reads("a7", b"test")
        self.shows(self.copy("a7", "a7-copy"), "AES256")
        # Again: it is there already, and stays for as long as was asked now.
        self.assertEqual(self.restore("a7", days=3).status, 200)
        self.assertNotEqual(self.restored("a7").headers["x-amz-restore"], head.headers["x-amz-restore"])
        self.put("active")
        reply = self.restore("active")
        self.assertEqual((reply.status, reply.error()["Code"]), (403, "InvalidObjectState"))

    def test_4_6_08_restoring_takes_no_key(self):
        key, body = self.key(), os.urandom(100_000)
        self.put("a8", body, customer(key) | {CLASS: "DEEP_ARCHIVE"})
        self.assertEqual(self.restore("a8").status, 202)
        self.restored("a8", customer(key))
        self.refused(self.call("GET", self.path("a8")), 400, "InvalidRequest", contract.STORED_ENCRYPTED)
        self.refused(
            self.call("GET", self.path("a8"), customer(self.key())), 403, "AccessDenied", contract.WRONG_KEY
        )
        self.shows(self.reads("a8", body, customer(key)), key)
        self.shows(self.copy("a8", "a8-copy", source_customer(key)), "AES256")

    def test_4_6_09_archived_and_without_its_key(self):
        self.put("a9", headers=customer(self.key()) | {CLASS: "GLACIER"})
        for headers in ({}, customer(self.key()), customer(self.keys[0])):
            self.refused(
                self.call("GET", self.path("a9"), headers), 403, "InvalidObjectState", NOT_VALID, StorageClass="GLACIER"
            )


if __name__ == "__main__":
    unittest.main()
