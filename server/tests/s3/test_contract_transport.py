"""The rows of the contract about how a customer key travels, and about servers that take or have none."""

import re
import unittest

import contract
from contract import KEY_MD5, SOURCE_KEY, SSE, customer, encoded, source_customer
from daemon import Daemon


def setUpModule():
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    Closed.daemon = Http.daemon = WithoutKeys.daemon = daemon
    daemon.client().create_bucket(Bucket=contract.Contract.bucket)


class Closed(contract.Contract):
    def test_4_2_20_a_write_where_customer_keys_are_blocked(self):
        key = self.key()
        self.put("before", headers=customer(key))
        self.daemon.configure(lambda text: text.replace("customer_keys = true", "customer_keys = false"))
        self.put("managed")
        for headers in (customer(key), customer(key) | {KEY_MD5: "wrong"}, {KEY_MD5: "alone"}):
            for reply in (self.call("PUT", self.path("k"), headers, b"x"), self.copy("managed", "k", headers)):
                self.assertEqual((reply.status, reply.error()["Code"]), (403, "AccessDenied"))
        # What is there can be read, copied away, and deleted.
        self.reads("before", b"test", customer(key))
        self.shows(self.copy("before", "after", source_customer(key)), "AES256")
        self.assertEqual(self.call("DELETE", self.path("before")).status, 204)


class WithoutKeys(contract.Contract):
    def test_4_3_10_no_key_service_configured(self):
        keys = re.compile(r"^\[\[kms\]\]\n(.+\n)*", re.M)
        if keys.search((self.daemon.dir / "strongroom.toml").read_text()):
            self.daemon.configure(lambda text: keys.sub("", text))
        self.put("managed")
        for reply in (self.call("PUT", self.path("k"), {SSE: "aws:kms"}, b"x"), self.copy("managed", "k", {SSE: "aws:kms"})):
            self.refused(
                reply, 501, "NotImplemented", "Server side encryption specified but KMS is not configured"
            )


class Http(contract.Contract):
    def test_4_2_19_over_plain_http(self):
        self.daemon.configure(lambda text: text.replace('[tls]\ncertificate = "tls/server.crt"\nkey = "tls/server.key"\n', ""))
        self.assertTrue(self.daemon.env["AWS_ENDPOINT_URL"].startswith("http://"))
        key = self.key()
        self.shows(self.put("managed"), "AES256")
        for headers in (customer(key), {SSE + "-customer-algorithm": "AES256"}, {SSE + "-customer-key": encoded(key)}):
            for reply in (
                self.call("PUT", self.path("k"), headers, b"x"), self.call("GET", self.path("managed"), headers)
            ):
                self.refused(reply, 400, "InvalidRequest", contract.NOT_SECURE)
            self.refused_bare(self.call("HEAD", self.path("managed"), headers), 400)
        for headers in (source_customer(key), {SOURCE_KEY: encoded(key)}):
            self.refused(self.copy("managed", "copy", headers), 400, "InvalidRequest", contract.NOT_SECURE)
        self.refused(self.post("form", customer(key)), 400, "InvalidRequest", contract.NOT_SECURE)
        self.reads("managed", b"test")


if __name__ == "__main__":
    unittest.main()
