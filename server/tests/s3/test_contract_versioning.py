"""The rows of the contract that are about versions."""

import unittest

import contract
from contract import COPY_SOURCE, customer, source_customer
from daemon import Daemon


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Versions.daemon = daemon
    s3 = daemon.client()
    s3.create_bucket(Bucket=Versions.bucket)
    s3.put_bucket_versioning(Bucket=Versions.bucket, VersioningConfiguration={"Status": "Enabled"})


class Versions(contract.Contract):
    def version(self, name, body, headers=None):
        return {"versionId": self.put(name, body, headers).headers["x-amz-version-id"]}

    def history(self, name):
        """Three versions, each protected in its own way: (query, headers, body, what is shown)."""
        first, second = self.key(), self.key()
        return [
            (self.version(name, b"first", customer(first)), customer(first), b"first", first),
            (self.version(name, b"managed"), {}, b"managed", "AES256"),
            (self.version(name, b"second", customer(second)), customer(second), b"second", second),
        ]

    def test_4_2_11_the_key_of_another_version(self):
        (first, own, _, _), _, (second, other, _, _) = self.history("v11")
        for query, headers in ((first, other), (second, own), (second, customer(self.key()))):
            reply = self.call("GET", self.path("v11"), headers, query=query)
            self.refused(reply, 403, "AccessDenied", contract.WRONG_KEY)
            self.refused_bare(self.call("HEAD", self.path("v11"), headers, query=query), 403)
        for query in (first, second):
            reply = self.call("GET", self.path("v11"), query=query)
            self.refused(reply, 400, "InvalidRequest", contract.STORED_ENCRYPTED)
            self.refused_bare(self.call("HEAD", self.path("v11"), query=query), 400)

    def test_4_6_01_each_version_has_a_key_of_its_own(self):
        history = self.history("v01")
        for query, headers, body, encryption in history:
            reply = self.reads("v01", body, headers, query)
            self.shows(reply, encryption)
            self.assertEqual(reply.headers["x-amz-version-id"], query["versionId"])
            self.shows(self.call("HEAD", self.path("v01"), headers, query=query), encryption)
        # A copy of a version opens it with the key of that version.
        query, headers, body, key = history[0]
        source = {COPY_SOURCE: f"{self.path('v01')}?versionId={query['versionId']}"} | source_customer(key)
        reply = self.call("PUT", self.path("v01-copy"), source)
        self.shows(reply, "AES256")
        self.assertEqual(reply.headers["x-amz-copy-source-version-id"], query["versionId"])
        self.reads("v01-copy", body)
        # Deleting needs none: neither a marker on top nor a version for good.
        self.assertEqual(self.call("DELETE", self.path("v01")).status, 204)
        self.refused_bare(self.call("HEAD", self.path("v01")), 404)
        self.assertEqual(self.call("DELETE", self.path("v01"), query=query).status, 204)
        reply = self.call("GET", self.path("v01"), headers, query=query)
        self.assertEqual((reply.status, reply.error()["Code"]), (404, "NoSuchVersion"))


if __name__ == "__main__":
    unittest.main()
