"""The rows of the contract where clients of ceph expect other answers: `compat = "ceph"`."""

import unittest

import contract
from contract import customer, source_customer
from daemon import Daemon


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    daemon.configure(lambda text: text.replace("[s3]", '[s3]\ncompat = "ceph"'))
    Ceph.daemon = daemon
    daemon.client().create_bucket(Bucket=Ceph.bucket)


class Ceph(contract.Contract):
    def test_4_2_24_another_key(self):
        self.put("k", headers=customer(self.key()))
        wrong = self.key()
        for reply in (
            self.call("GET", self.path("k"), customer(wrong)),
            self.call("GET", self.path("k"), customer(wrong) | {"Range": "bytes=0-1"}),
            self.copy("k", "copy", source_customer(wrong)),
        ):
            self.refused(reply, 400, "InvalidArgument", contract.WRONG_KEY)
        self.refused_bare(self.call("HEAD", self.path("k"), customer(wrong)), 400)
        self.reads("k", b"test", customer(self.keys[0]))
        # Without any key nothing differs.
        self.refused(self.call("GET", self.path("k")), 400, "InvalidRequest", contract.STORED_ENCRYPTED)

    def test_4_4_06_a_new_bucket(self):
        reply = self.call("GET", f"/{self.bucket}", query={"encryption": ""})
        self.refused(
            reply, 404, "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        )
        # Objects are encrypted all the same.
        self.shows(self.put("managed"), "AES256")


if __name__ == "__main__":
    unittest.main()
