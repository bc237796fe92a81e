"""Section 4.4 of the contract: the default encryption of a bucket."""

import base64
import hashlib
import unittest
import xml.etree.ElementTree as ElementTree

import contract
from contract import KEY_MD5, SSE, customer
from daemon import Daemon

SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
AES256 = "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>"
KMS = (
    "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>"
    "<KMSMasterKeyID>no-such-key</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>"
)


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    BucketEncryption.daemon = daemon
    BucketEncryption.s3 = daemon.client()


class BucketEncryption(contract.Contract):
    def setUp(self):
        super().setUp()
        self.bucket = "default-" + hashlib.md5(self.id().encode()).hexdigest()[:12]
        self.s3.create_bucket(Bucket=self.bucket)

    def configure(self, *rules, body=None, bucket=None):
        if body is None:
            rules = "".join(f"<Rule>{rule}</Rule>" for rule in rules)
            body = f'<ServerSideEncryptionConfiguration xmlns="{SPACE}">{rules}</ServerSideEncryptionConfiguration>'
        body = body.encode()
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        return self.call("PUT", f"/{bucket or self.bucket}", {"Content-MD5": md5}, body, {"encryption": ""})

    def configuration(self):
        reply = self.call("GET", f"/{self.bucket}", query={"encryption": ""})
        self.assertEqual(reply.status, 200, reply.body)
        return self.flat(ElementTree.fromstring(reply.body))

    def flat(self, element):
        """(path, text) of every leaf, whose names must be S3's."""
        space, _, name = element.tag.removeprefix("{").partition("}")
        self.assertEqual(space, SPACE)
        if len(element) == 0:
            return [(name, element.text)]
        return [(f"{name}/{path}", text) for child in element for path, text in self.flat(child)]

    def leaves(self, *pairs):
        root = "ServerSideEncryptionConfiguration/Rule/"
        return sorted((root + path, text) for path, text in pairs)

    DEFAULT = (
        ("ApplyServerSideEncryptionByDefault/SSEAlgorithm", "AES256"), ("BucketKeyEnabled", "false"),
    )

    def test_4_4_01_what_is_put_is_what_is_got(self):
        self.assertEqual(self.configure(AES256).status, 200)
        self.assertEqual(sorted(self.configuration()), self.leaves(*self.DEFAULT))
        self.assertEqual(self.configure(KMS + "<BucketKeyEnabled>true</BucketKeyEnabled>").status, 200)
        self.assertEqual(
            sorted(self.configuration()),
            self.leaves(
                ("ApplyServerSideEncryptionByDefault/SSEAlgorithm", "aws:kms"),
                ("ApplyServerSideEncryptionByDefault/KMSMasterKeyID", "no-such-key"),
                ("BucketKeyEnabled", "true"),
            ),
        )

    def test_4_4_02_deleting_it(self):
        self.configure(KMS)
        for _ in range(2):
            reply = self.call("DELETE", f"/{self.bucket}", query={"encryption": ""})
            self.assertEqual((reply.status, reply.body), (204, b""))
            self.assertEqual(sorted(self.configuration()), self.leaves(*self.DEFAULT))
        self.shows(self.put("k"), "AES256")

    def test_4_4_03_none_or_two_rules(self):
        for rules in ([], [AES256, AES256]):
            self.refused(self.configure(*rules), 400, "MalformedXML", contract.NOT_THE_SCHEMA)
        self.assertEqual(sorted(self.configuration()), self.leaves(*self.DEFAULT))

    def test_4_4_04_a_key_id_is_not_looked_for_when_it_is_put(self):
        self.assertEqual(self.configure(KMS).status, 200)
        self.assertIn("no-such-key", [text for _, text in self.configuration()])

    def test_4_4_05_a_new_bucket(self):
        self.assertEqual(sorted(self.configuration()), self.leaves(*self.DEFAULT))

    def test_4_4_07_a_key_id_with_aes256(self):
        rule = (
            "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
            "<KMSMasterKeyID>some-key</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>"
        )
        reply = self.configure(rule)
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "InvalidArgument"))
        self.assertEqual(reply.error()["ArgumentName"], "ApplyServerSideEncryptionByDefault")
        self.assertEqual(
            reply.error()["Message"],
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
        )

    def test_4_4_08_no_bucket(self):
        for reply in (
            self.configure(AES256, bucket="no-such-bucket"),
            self.call("GET", "/no-such-bucket", query={"encryption": ""}),
            self.call("DELETE", "/no-such-bucket", query={"encryption": ""}),
        ):
            self.refused(
                reply, 404, "NoSuchBucket", "The specified bucket does not exist", BucketName="no-such-bucket"
            )

    def test_4_4_09_a_body_that_is_not_the_schemas(self):
        unknown = AES256.replace("AES256", "AES512")
        whole = f'<ServerSideEncryptionConfiguration xmlns="{SPACE}"><Rule>%s</Rule></ServerSideEncryptionConfiguration>'
        for body in (
            "<ServerSideEncryptionConfiguration>", "not xml", whole % unknown, whole % "<Nothing/>", "<Other/>",
            whole % (AES256 + "<BlockedEncryptionTypes><EncryptionType>SSE-S3</EncryptionType></BlockedEncryptionTypes>"),
        ):
            self.refused(self.configure(body=body), 400, "MalformedXML", contract.NOT_THE_SCHEMA)

    def test_4_4_10_headers_win_over_the_default(self):
        self.configure(KMS)
        self.shows(self.put("managed", headers={SSE: "AES256"}), "AES256")
        key = self.key()
        self.shows(self.put("customer", headers=customer(key)), key)
        self.shows(self.copy("managed", "copied", customer(key)), key)
        self.reads("customer", b"test", customer(key))

    def test_4_4_11_objects_that_are_there_stay_as_they_are(self):
        key = self.key()
        self.put("managed")
        self.put("customer", headers=customer(key))
        self.configure(KMS)
        self.shows(self.reads("managed", b"test"), "AES256")
        self.shows(self.reads("customer", b"test", customer(key)), key)

    def test_4_4_13_customer_keys_blocked_and_opened_per_bucket(self):
        def say(what):
            blocked = f"<BlockedEncryptionTypes><EncryptionType>{what}</EncryptionType></BlockedEncryptionTypes>"
            self.assertEqual(self.configure(AES256 + blocked).status, 200)
            self.assertIn(what, [text for _, text in self.configuration()])

        key = self.key()
        self.put("k", headers=customer(key))
        say("SSE-C")
        for headers in (customer(key), customer(key) | {KEY_MD5: "wrong"}):
            for reply in (self.call("PUT", self.path("k2"), headers, b"x"), self.copy("k", "k2", headers)):
                self.assertEqual((reply.status, reply.error()["Code"]), (403, "AccessDenied"))
        self.reads("k", b"test", customer(key))
        say("NONE")
        self.put("k2", headers=customer(key))


if __name__ == "__main__":
    unittest.main()
