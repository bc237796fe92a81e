"""The rows of the contract about forms: an object posted by a browser."""

import unittest

import contract
from contract import ALGORITHM, ARGUMENT, KEY, KEY_MD5, SSE, customer, without
from daemon import Daemon


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Post.daemon = daemon
    daemon.client().create_bucket(Bucket=Post.bucket)


class Post(contract.Contract):
    def test_4_1_02_a_form_takes_the_headers_as_fields(self):
        key = self.key()
        for fields, encryption in (({}, "AES256"), ({SSE: "AES256"}, "AES256"), (customer(key), key)):
            self.shows(self.post("form", fields), encryption, 204)
            self.shows(self.reads("form", b"test", customer(key) if encryption == key else {}), encryption)
            created = self.post("form", fields | {"success_action_status": "201"})
            self.shows(created, encryption, 201)
            self.assertIn(b"<Key>form</Key>", created.body)

    def test_4_2_01_with_the_managed_header(self):
        reply = self.post("both", customer(self.key()) | {SSE: "AES256"})
        self.refused(reply, 400, "InvalidArgument", contract.INCOMPATIBLE, ArgumentName=SSE, ArgumentValue="AES256")

    def test_4_2_02_to_07_a_key_that_is_not_whole(self):
        whole = customer(self.key())
        wrong = {"ArgumentName": SSE, "ArgumentValue": "AES192"}
        for fields, code, message, elements in (
            (whole | {ALGORITHM: "AES192"}, "InvalidEncryptionAlgorithmError", contract.WRONG_ALGORITHM, wrong),
            (without(whole, ALGORITHM), "InvalidArgument", contract.NO_ALGORITHM, ARGUMENT),
            (without(whole, KEY), "InvalidArgument", contract.NO_KEY, ARGUMENT),
            (without(whole, KEY_MD5), "InvalidArgument", contract.NO_MD5, ARGUMENT),
            (whole | {KEY: "AAAA"}, "InvalidArgument", contract.INVALID_KEY, ARGUMENT),
            (whole | {KEY_MD5: "AAAA"}, "InvalidArgument", contract.OTHER_MD5, ARGUMENT),
        ):
            self.refused(self.post("bad", fields), 400, code, message, **elements)
        self.refused_bare(self.call("HEAD", self.path("bad")), 404)

    def test_4_3_01_an_unknown_encryption(self):
        self.refused(
            self.post("bad", {SSE: "AES192"}), 400, "InvalidArgument",
            "The encryption algorithm specified is not valid.", ArgumentName=SSE, ArgumentValue="AES192",
        )


if __name__ == "__main__":
    unittest.main()
