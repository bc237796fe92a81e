"""POST of a form: its policy, and what success answers."""

import base64
import hashlib
import os
import unittest
import urllib.parse

import raw
from daemon import Daemon

BUCKET = "forms"


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client(signature_version="s3v4")
    s3.create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


def encode(fields, body, filename="file.txt"):
    boundary = os.urandom(16).hex()
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: text/plain\r\n\r\n'
    text = "".join(parts).encode() + head.encode() + body + f"\r\n--{boundary}--\r\n".encode()
    return text, f"multipart/form-data; boundary={boundary}"


class Form(unittest.TestCase):
    def form(self, key, fields=None, conditions=None, seconds=60):
        fields = fields or {}
        given = [{name: value} for name, value in fields.items()]
        signed = s3.generate_presigned_post(
            BUCKET, key, Fields=dict(fields), Conditions=given if conditions is None else conditions, ExpiresIn=seconds
        )
        return signed["fields"]

    def post(self, fields, body=b"content", filename="file.txt"):
        text, kind = encode(fields, body, filename)
        return raw.send(daemon, "POST", f"{daemon.env['AWS_ENDPOINT_URL']}/{BUCKET}", {"content-type": kind}, text)

    def refused(self, reply, status, code):
        self.assertEqual((reply.status, reply.error()["Code"]), (status, code), reply.body)


class Policy(Form):
    def test_a_signed_form_makes_an_object(self):
        fields = self.form("plain", {"Content-Type": "text/x-note", "x-amz-meta-colour": "blue"})
        reply = self.post(fields)
        self.assertEqual(reply.status, 204, reply.body)
        self.assertEqual(reply.headers["etag"].strip('"'), hashlib.md5(b"content").hexdigest())
        get = s3.get_object(Bucket=BUCKET, Key="plain")
        self.assertEqual((get["Body"].read(), get["ContentType"], get["Metadata"]), (b"content", "text/x-note", {"colour": "blue"}))
        self.assertEqual(self.post(self.form("empty"), b"").status, 204)
        self.assertEqual(s3.head_object(Bucket=BUCKET, Key="empty")["ContentLength"], 0)

    def test_the_name_of_the_file_becomes_part_of_the_key(self):
        self.assertEqual(self.post(self.form("up/${filename}"), filename="a b.txt").status, 204)
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="up/a b.txt")["Body"].read(), b"content")

    def test_conditions(self):
        starts = [["starts-with", "$x-amz-meta-tag", "ab"]]
        self.assertEqual(self.post(self.form("k", {"x-amz-meta-tag": "abc"}, starts)).status, 204)
        for fields, conditions in (
            ({"x-amz-meta-tag": "xbc"}, starts),
            ({"x-amz-meta-tag": "ab"}, [["eq", "$x-amz-meta-tag", "abc"]]),
        ):
            self.refused(self.post(self.form("refused", fields, conditions)), 403, "AccessDenied")
        fields = self.form("refused") | {"x-amz-meta-tag": "not in the policy"}
        self.refused(self.post(fields), 403, "AccessDenied")
        fields = self.form("refused") | {"key": "another"}
        self.refused(self.post(fields), 403, "AccessDenied")
        size = [["content-length-range", 3, 5]]
        self.assertEqual(self.post(self.form("sized", conditions=size), b"1234").status, 204)
        self.refused(self.post(self.form("refused", conditions=size), b"123456"), 400, "EntityTooLarge")
        self.refused(self.post(self.form("refused", conditions=size), b"12"), 400, "EntityTooSmall")
        self.assertEqual(raw.request(daemon, "HEAD", f"/{BUCKET}/refused").status, 404)

    def test_a_policy_that_is_over_or_was_changed(self):
        self.refused(self.post(self.form("refused", seconds=-10)), 403, "AccessDenied")
        fields = self.form("refused")
        other = base64.b64encode(base64.b64decode(fields["policy"]).replace(b"refused", b"changed")).decode()
        self.refused(self.post(fields | {"policy": other}), 403, "SignatureDoesNotMatch")
        self.refused(self.post({"key": "refused"}), 403, "AccessDenied")

    def test_what_success_answers(self):
        reply = self.post(self.form("k", {"success_action_status": "200"}))
        self.assertEqual((reply.status, reply.body), (200, b""))
        reply = self.post(self.form("k", {"success_action_status": "201"}))
        self.assertEqual(reply.status, 201)
        posted = {name.rsplit("}")[-1]: value for name, value in reply.error().items()}
        self.assertEqual((posted["Bucket"], posted["Key"]), (BUCKET, "k"))
        reply = self.post(self.form("k", {"success_action_redirect": "https://page.example/done?x=1"}))
        self.assertEqual(reply.status, 303)
        location = urllib.parse.urlsplit(reply.headers["location"])
        query = urllib.parse.parse_qs(location.query)
        self.assertEqual((location.netloc, query["bucket"], query["key"], query["x"]), ("page.example", [BUCKET], ["k"], ["1"]))

    def test_a_form_of_unknown_length(self):
        text, kind = encode(self.form("refused"), b"content")
        headers = {"content-type": kind, "transfer-encoding": "chunked"}
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
        self.refused(
            raw.send(daemon, "POST", f"{daemon.env['AWS_ENDPOINT_URL']}/{BUCKET}", headers, chunked),
            411,
            "MissingContentLength",
        )
