"""The rows of the contract that GetObjectAttributes takes part in."""

import unittest
import xml.etree.ElementTree as ElementTree

import contract
from contract import ALGORITHM, ARGUMENT, KEY, KEY_MD5, SSE, customer, without
from daemon import Daemon


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Attributes.daemon = daemon
    daemon.client().create_bucket(Bucket=Attributes.bucket)


class Attributes(contract.Contract):
    def attributes(self, name, headers=None):
        headers = {"x-amz-object-attributes": "ETag,ObjectSize,StorageClass"} | (headers or {})
        return self.call("GET", self.path(name), headers, query={"attributes": ""})

    def test_4_1_04_get_object_attributes(self):
        key = self.key()
        for name, headers in (("managed", {}), ("customer", customer(key))):
            put = self.put(name, headers=headers)
            reply = self.attributes(name, headers)
            self.shows(reply, None)
            found = {child.tag.split("}")[-1]: child.text for child in ElementTree.fromstring(reply.body)}
            self.assertEqual(found, {"ETag": self.etag(put), "ObjectSize": "4", "StorageClass": "STANDARD"})

    def test_4_2_02_to_07_a_key_that_is_not_whole(self):
        self.put("k", headers=customer(self.key()))
        whole = customer(self.keys[0])
        wrong = {"ArgumentName": SSE, "ArgumentValue": "AES192"}
        for headers, code, message, elements in (
            (whole | {ALGORITHM: "AES192"}, "InvalidEncryptionAlgorithmError", contract.WRONG_ALGORITHM, wrong),
            (without(whole, ALGORITHM), "InvalidArgument", contract.NO_ALGORITHM, ARGUMENT),
            (without(whole, KEY), "InvalidArgument", contract.NO_KEY, ARGUMENT),
            (without(whole, KEY_MD5), "InvalidArgument", contract.NO_MD5, ARGUMENT),
            (whole | {KEY: "AAAA"}, "InvalidArgument", contract.INVALID_KEY, ARGUMENT),
            (whole | {KEY_MD5: "AAAA"}, "InvalidArgument", contract.OTHER_MD5, ARGUMENT),
        ):
            self.refused(self.attributes("k", headers), 400, code, message, **elements)

    def test_4_2_08_without_the_key(self):
        self.put("k", headers=customer(self.key()))
        self.refused(self.attributes("k"), 400, "InvalidRequest", contract.STORED_ENCRYPTED)

    def test_4_2_09_with_another_key(self):
        self.put("k", headers=customer(self.key()))
        self.refused(self.attributes("k", customer(self.key())), 403, "AccessDenied", contract.WRONG_KEY)

    def test_4_2_14_a_key_for_an_object_without_one(self):
        self.put("m")
        self.refused(self.attributes("m", customer(self.key())), 400, "InvalidRequest", contract.NOT_APPLICABLE)


if __name__ == "__main__":
    unittest.main()
