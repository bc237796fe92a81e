"""The checksum that every object has, where it is shown, and of what."""

import base64
import hashlib
import os
import unittest
import xml.etree.ElementTree as ElementTree

import contract
from contract import customer
from daemon import Daemon

MODE = {"x-amz-checksum-mode": "ENABLED"}
CRC64 = "x-amz-checksum-crc64nvme"
PARTS = [os.urandom(700), os.urandom(500), b"tail"]
WHOLE = b"".join(PARTS)


def crc64nvme(data):
    """By the bit, from the polynomial."""
    crc = (1 << 64) - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x9A6C9329AC4BC9B5 if crc & 1 else 0)
    return base64.b64encode((crc ^ ((1 << 64) - 1)).to_bytes(8, "big")).decode()


def sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


assert crc64nvme(b"123456789") == base64.b64encode(bytes.fromhex("ae8b14860a799888")).decode()


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    daemon.configure(lambda text: text + "\n[multipart]\nsmallest_part = 5\n")
    Case.daemon = daemon
    daemon.client().create_bucket(Bucket=Case.bucket)


def tree(reply):
    root = ElementTree.fromstring(reply.body)
    return {item.tag.rsplit("}")[-1]: item.text for item in root.iter()}


class Case(contract.Contract):
    def sums(self, reply, status=200):
        self.assertEqual(reply.status, status, reply.body)
        return {name: value for name, value in reply.headers.items() if name.startswith("x-amz-checksum-")}

    def upload(self, name, headers=None, algorithm=None):
        """An object of three parts; gives back the reply to the last call."""
        create = dict(headers or {})
        if algorithm:
            create["x-amz-checksum-algorithm"] = algorithm
        created = self.call("POST", self.path(name), create, query={"uploads": ""})
        upload = tree(created)["UploadId"]
        entries, self.of_parts = "", []
        for number, body in enumerate(PARTS, 1):
            query = {"partNumber": str(number), "uploadId": upload}
            part = self.call("PUT", self.path(name), headers, body, query)
            self.of_parts.append(self.sums(part))
            own = f"<ChecksumSHA256>{sha256(body)}</ChecksumSHA256>" if algorithm else ""
            entries += f"<Part><PartNumber>{number}</PartNumber><ETag>{self.etag(part)}</ETag>{own}</Part>"
        self.listed = self.call("GET", self.path(name), headers, query={"uploadId": upload})
        body = f"<CompleteMultipartUpload>{entries}</CompleteMultipartUpload>"
        done = self.call("POST", self.path(name), {}, body.encode(), {"uploadId": upload})
        self.assertEqual(done.status, 200, done.body)
        return done

    def attributes(self, name, headers=None):
        wanted = {"x-amz-object-attributes": "Checksum,ObjectParts"}
        return tree(self.call("GET", self.path(name), wanted | (headers or {}), query={"attributes": ""}))


class Default(Case):
    WANTED = {CRC64: crc64nvme(WHOLE), "x-amz-checksum-type": "FULL_OBJECT"}

    def test_a_put_and_its_copy(self):
        for headers in ({}, customer(self.key())):
            self.assertEqual(self.sums(self.put("put", WHOLE, headers)), self.WANTED)
            for method in ("GET", "HEAD"):
                self.assertEqual(self.sums(self.call(method, self.path("put"), MODE | headers)), self.WANTED)
                self.assertEqual(self.sums(self.call(method, self.path("put"), headers)), {})
                ranged = self.call(method, self.path("put"), MODE | headers | {"Range": "bytes=0-1"})
                self.assertEqual(self.sums(ranged, 206), {})
            self.assertEqual(self.attributes("put", headers)["ChecksumCRC64NVME"], self.WANTED[CRC64])
        self.put("put", WHOLE)
        self.assertEqual(tree(self.copy("put", "copy"))["ChecksumCRC64NVME"], self.WANTED[CRC64])

    def test_a_client_that_names_another_gets_that_one_alone(self):
        named = {"x-amz-checksum-sha256": sha256(WHOLE)}
        wanted = named | {"x-amz-checksum-type": "FULL_OBJECT"}
        self.assertEqual(self.sums(self.put("named", WHOLE, named)), wanted)
        self.assertEqual(self.sums(self.call("HEAD", self.path("named"), MODE)), wanted)

    def test_an_upload_in_parts(self):
        for headers in ({}, customer(self.key())):
            done = tree(self.upload("parts", headers))
            if not headers:
                self.assertEqual((done["ChecksumCRC64NVME"], done["ChecksumType"]), (self.WANTED[CRC64], "FULL_OBJECT"))
            # Nobody asked for those of the parts.
            self.assertEqual(self.of_parts, [{}] * 3)
            self.assertNotIn("Checksum", repr(self.listed.body))
            for method in ("GET", "HEAD"):
                self.assertEqual(self.sums(self.call(method, self.path("parts"), MODE | headers)), self.WANTED)
                part = self.call(method, self.path("parts"), MODE | headers, query={"partNumber": "2"})
                self.assertEqual(self.sums(part, 206), {})
            shown = self.attributes("parts", headers)
            self.assertEqual((shown["ChecksumCRC64NVME"], shown["TotalPartsCount" if "TotalPartsCount" in shown else "PartsCount"]), (self.WANTED[CRC64], "3"))
            self.assertNotIn("PartNumber", shown)

    def test_one_that_is_not_of_what_came(self):
        wrong = {CRC64: crc64nvme(b"")}
        self.refused(
            self.call("PUT", self.path("never"), wrong, WHOLE), 400, "BadDigest",
            "The CRC64NVME you specified did not match the calculated checksum.",
        )


class Parts(Case):
    def test_each_part_shows_its_own_and_the_object_that_of_all(self):
        composite = sha256(b"".join(hashlib.sha256(part).digest() for part in PARTS)) + "-3"
        for headers in ({}, customer(self.key())):
            self.upload("own", headers, "SHA256")
            wanted = {"x-amz-checksum-sha256": composite, "x-amz-checksum-type": "COMPOSITE"}
            for method in ("GET", "HEAD"):
                self.assertEqual(self.sums(self.call(method, self.path("own"), MODE | headers)), wanted)
                for number, body in enumerate(PARTS, 1):
                    query = {"partNumber": str(number)}
                    part = self.call(method, self.path("own"), MODE | headers, query=query)
                    own = wanted | {"x-amz-checksum-sha256": sha256(body)}
                    self.assertEqual(self.sums(part, 206), own)
            self.assertEqual(self.attributes("own", headers)["ChecksumType"], "COMPOSITE")
        self.put("whole", WHOLE)
        part = self.call("GET", self.path("whole"), MODE, query={"partNumber": "1"})
        self.assertEqual(self.sums(part, 206)[CRC64], crc64nvme(WHOLE))


class Locks(Case):
    def test_a_put_that_locks_says_what_it_writes(self):
        client = self.daemon.client()
        client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        lock = {"x-amz-object-lock-legal-hold": "ON"}
        message = (
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
        )
        put = lambda headers: self.call("PUT", "/locked/k", lock | headers, WHOLE)
        self.refused(put({}), 400, "InvalidRequest", message)
        for digest in (
            {"Content-MD5": base64.b64encode(hashlib.md5(WHOLE).digest()).decode()},
            {"x-amz-checksum-sha256": sha256(WHOLE)},
        ):
            self.assertEqual(put(digest).status, 200)


class Dates(Case):
    def test_every_write_says_when_its_object_expires(self):
        client = self.daemon.client()
        client.create_bucket(Bucket="dated")
        rule = {"ID": "soon", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}
        client.put_bucket_lifecycle_configuration(Bucket="dated", LifecycleConfiguration={"Rules": [rule]})
        shown = [client.put_object(Bucket="dated", Key="a", Body=b"a")["Expiration"]]
        shown.append(client.copy_object(Bucket="dated", Key="b", CopySource="dated/a")["Expiration"])
        which = {"Bucket": "dated", "Key": "c"}
        upload = which | {"UploadId": client.create_multipart_upload(**which)["UploadId"]}
        part = client.upload_part(**upload, PartNumber=1, Body=b"c")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        shown.append(client.complete_multipart_upload(**upload, MultipartUpload=parts)["Expiration"])
        for expiration in shown:
            self.assertIn('rule-id="soon"', expiration)


if __name__ == "__main__":
    unittest.main()
