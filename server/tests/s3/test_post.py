"""POST of a form: its policy, and what success answers."""

import base64
import hashlib
import json
import unittest
import urllib.parse

import forms
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


class Form(unittest.TestCase):
    def form(self, key, fields=None, conditions=None, seconds=60):
        fields = fields or {}
        given = [{name: value} for name, value in fields.items()]
        signed = s3.generate_presigned_post(
            BUCKET, key, Fields=dict(fields), Conditions=given if conditions is None else conditions, ExpiresIn=seconds
        )
        return signed["fields"]

    def post(self, fields, body=b"content", **more):
        return forms.post(daemon, BUCKET, fields, body, **more)

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
        # In every field, and without the directories of the sender.
        fields = self.form("up/${filename}", conditions=[["starts-with", "$x-amz-meta-name", ""]])
        reply = self.post(fields | {"x-amz-meta-name": "[${filename}]"}, filename="C:\\d\\b.txt")
        self.assertEqual(reply.status, 204, reply.body)
        self.assertEqual(s3.head_object(Bucket=BUCKET, Key="up/b.txt")["Metadata"], {"name": "[b.txt]"})

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
        text, kind = forms.encode(self.form("refused"), b"content")
        headers = {"content-type": kind, "transfer-encoding": "chunked"}
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
        self.refused(
            raw.send(daemon, "POST", f"{daemon.env['AWS_ENDPOINT_URL']}/{BUCKET}", headers, chunked),
            411,
            "MissingContentLength",
        )

    def test_a_form_that_is_none(self):
        url = f"{daemon.env['AWS_ENDPOINT_URL']}/{BUCKET}"
        whole, kind = forms.encode(self.form("refused"), b"content")
        boundary = kind.partition("boundary=")[2].encode()
        for kind, text in (
            ("multipart/form-data", whole),
            ("multipart/form-data; boundary=" + "x" * 71, whole),
            (kind, b"nothing"),
            (kind, whole[: len(whole) // 4]),
        ):
            self.refused(raw.send(daemon, "POST", url, {"content-type": kind}, text), 400, "MalformedPOSTRequest")
        no_file = whole[: whole.index(b'--' + boundary + b'\r\nContent-Disposition: form-data; name="file"')]
        reply = raw.send(daemon, "POST", url, {"content-type": kind}, no_file + b"--" + boundary + b"--\r\n")
        self.refused(reply, 400, "InvalidArgument")
        # A file that is cut off is not taken for a shorter one.
        cut = whole[: -len(boundary) - 8]
        self.refused(raw.send(daemon, "POST", url, {"content-type": kind}, cut), 400, "IncompleteBody")
        self.refused(self.post(self.form("refused") | {"x-ignore-a": "a" * 70_000}), 400, "MaxPostPreDataLengthExceededError")
        self.assertEqual(raw.request(daemon, "HEAD", f"/{BUCKET}/refused").status, 404)
        for path in ("/refused", "/a/b"):
            self.refused(self.post(self.form("refused"), path=path), 405, "MethodNotAllowed")
        self.refused(forms.post(daemon, "", self.form("refused")), 405, "MethodNotAllowed")

    def test_a_large_file_is_streamed(self):
        body = bytes(range(256)) * (40 << 10)
        reply = self.post(self.form("large"), body)
        self.assertEqual((reply.status, reply.headers["etag"].strip('"')), (204, hashlib.md5(body).hexdigest()))
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="large")["Body"].read(), body)

    def test_what_comes_behind_the_file_is_ignored(self):
        self.assertEqual(self.post(self.form("late"), after="acl").status, 204)
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="late")["Body"].read(), b"content")

    def test_a_redirect_that_makes_no_sense_is_as_if_it_were_not_there(self):
        for url in ("nowhere", "javascript:alert(1)", "ftp://a/b", ""):
            self.assertEqual(self.post(self.form("k", {"success_action_redirect": url})).status, 204, url)
        reply = self.post(self.form("a b&c", {"redirect": "http://page.example/#top"}))
        etag = reply.headers["etag"].strip('"')
        location = f"http://page.example/?bucket={BUCKET}&key=a%20b%26c&etag=%22{etag}%22"
        self.assertEqual((reply.status, reply.headers["location"]), (303, location))
        self.assertTrue(self.post(self.form("a b")).headers["location"].endswith(f"/{BUCKET}/a%20b"))


class Signature(Form):
    CONDITIONS = ({"bucket": BUCKET}, {"key": "signed"})

    def signed(self, change=None, body=b"content", **more):
        fields = {"key": "signed"} | forms.sign_4(daemon, *self.CONDITIONS, **more)
        return self.post(fields | (change or {}), body)

    def test_each_part_of_it_must_be_there_and_be_right(self):
        reply = self.signed()
        self.assertEqual(reply.status, 204, reply.body)
        for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "policy"):
            fields = {"key": "signed"} | forms.sign_4(daemon, *self.CONDITIONS)
            del fields[name]
            self.refused(self.post(fields), 400, "InvalidArgument")
        access_key = daemon.env["AWS_ACCESS_KEY_ID"]
        for change, status, code in (
            ({"x-amz-algorithm": "AWS4-HMAC-SHA512"}, 400, "InvalidArgument"),
            ({"x-amz-credential": access_key}, 400, "InvalidArgument"),
            ({"x-amz-date": "yesterday"}, 400, "InvalidArgument"),
            ({"x-amz-date": "20200101T000000Z"}, 400, "InvalidArgument"),
            ({"x-amz-signature": "0" * 64}, 403, "SignatureDoesNotMatch"),
            ({"x-amz-signature": ""}, 403, "SignatureDoesNotMatch"),
        ):
            self.refused(self.signed(change), status, code)
        self.refused(self.signed(service="ec2"), 400, "InvalidArgument")
        self.refused(self.signed(day="20200101"), 400, "InvalidArgument")
        fields = forms.sign_4(daemon, *self.CONDITIONS)
        fields["x-amz-credential"] = fields["x-amz-credential"].replace(access_key, "AKNOBODY")
        self.refused(self.post({"key": "signed"} | fields), 403, "InvalidAccessKeyId")

    def test_a_policy_is_understood_whole_or_refused(self):
        for more in (
            {"expiration": "2030-01-01 00:00:00"},
            {"expiration": 5},
            {"conditions": {}},
            {"conditions": [{}]},
            {"conditions": [["content-length-range", 0]]},
            {"conditions": [["ends-with", "$key", "d"]]},
            {"version": 1},
        ):
            self.refused(self.signed(**more), 400, "InvalidPolicyDocument")
        self.refused(self.signed(expiration=forms.until(-1)), 403, "AccessDenied")

    def test_a_form_of_another_bucket(self):
        s3.create_bucket(Bucket="another")
        fields = {"key": "signed", "bucket": BUCKET} | forms.sign_4(daemon, *self.CONDITIONS)
        self.refused(forms.post(daemon, "another", fields), 403, "AccessDenied")
        # One that names no bucket is good for none.
        fields = {"key": "signed"} | forms.sign_4(daemon, {"key": "signed"})
        self.refused(self.post(fields), 403, "AccessDenied")

    def test_version_2_is_refused(self):
        fields = {"key": "signed"} | forms.sign_2(daemon, forms.policy(*self.CONDITIONS))
        reply = self.post(fields)
        self.refused(reply, 400, "InvalidRequest")
        self.assertIn("AWS4-HMAC-SHA256", reply.error()["Message"])


class Fields(Form):
    def test_what_the_fields_say_is_what_the_object_gets(self):
        fields = {
            "Cache-Control": "no-cache",
            "Content-Disposition": "attachment",
            "Content-Encoding": "br",
            "Expires": "Thu, 01 Dec 2033 16:00:00 GMT",
            "x-amz-storage-class": "STANDARD_IA",
            "x-amz-website-redirect-location": "/other",
            "x-amz-meta-Wort": "schön",
            "tagging": "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag></TagSet></Tagging>",
        }
        reply = self.post(self.form("all", fields))
        self.assertEqual(reply.status, 204, reply.body)
        head = s3.head_object(Bucket=BUCKET, Key="all")
        self.assertEqual(
            [head[name] for name in ("CacheControl", "ContentDisposition", "ContentEncoding", "StorageClass")],
            ["no-cache", "attachment", "br", "STANDARD_IA"],
        )
        self.assertEqual((head["WebsiteRedirectLocation"], head["ContentType"]), ("/other", "binary/octet-stream"))
        self.assertIn("wort", head["Metadata"])
        tags = s3.get_object_tagging(Bucket=BUCKET, Key="all")["TagSet"]
        self.assertEqual(tags, [{"Key": "a b", "Value": "1+2"}])
        self.refused(self.post(self.form("refused", {"tagging": "<Tagging>"})), 400, "MalformedXML")
        self.refused(self.post(self.form("refused", {"Cache-Control": "a\x01b"})), 400, "InvalidArgument")
        self.refused(self.post(self.form("")), 400, "InvalidArgument")
        self.refused(self.post(self.form("k" * 1025)), 400, "KeyTooLongError")

    def test_checksums_are_compared(self):
        good = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
        bad = base64.b64encode(bytes(32)).decode()
        reply = self.post(self.form("summed", {"x-amz-checksum-sha256": good}))
        self.assertEqual((reply.status, reply.headers["x-amz-checksum-sha256"]), (204, good))
        self.refused(self.post(self.form("refused", {"x-amz-checksum-sha256": bad})), 400, "BadDigest")
        md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        self.refused(self.post(self.form("refused", {"Content-MD5": md5})), 400, "BadDigest")

    def test_headers_beside_the_form_do_not_count(self):
        beside = {
            "x-amz-meta-colour": "red",
            "x-amz-storage-class": "GLACIER",
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-copy-source": f"{BUCKET}/k",
            "x-amz-tagging": "a=b",
            "if-match": '"never"',
            "cache-control": "no-store",
        }
        reply = self.post(self.form("beside"), headers=beside)
        self.assertEqual(reply.status, 204, reply.body)
        head = s3.head_object(Bucket=BUCKET, Key="beside")
        self.assertEqual((head["Metadata"], head["ServerSideEncryption"]), ({}, "AES256"))
        self.assertTrue({"StorageClass", "CacheControl", "TagCount"}.isdisjoint(head))
        # Nor do fields that would make another operation of it.
        self.post(self.form("source"), b"source")
        reply = self.post(self.form("beside", {"x-amz-copy-source": f"{BUCKET}/source"}))
        self.assertEqual(reply.status, 204, reply.body)
        self.assertEqual(s3.get_object(Bucket=BUCKET, Key="beside")["Body"].read(), b"content")

    def test_encryption_that_the_policy_does_not_name(self):
        key = {
            "x-amz-server-side-encryption-customer-algorithm": "AES256",
            "x-amz-server-side-encryption-customer-key": base64.b64encode(bytes(32)).decode(),
            "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(bytes(32)).digest()).decode(),
        }
        for added in ({"x-amz-server-side-encryption": "AES256"}, key):
            reply = self.post(self.form("refused") | added)
            self.refused(reply, 403, "AccessDenied")
            self.assertIn("Extra input fields: x-amz-server-side-encryption", reply.error()["Message"])
        self.assertEqual(reply.headers["connection"], "close")
        self.assertEqual(raw.request(daemon, "HEAD", f"/{BUCKET}/refused").status, 404)

    def test_object_lock(self):
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        until = "2099-01-01T00:00:00Z"
        fields = {"key": "k", "x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": until}
        digest = {"Content-MD5": base64.b64encode(hashlib.md5(b"content").digest()).decode()}

        def post(fields):
            conditions = [{name: value} for name, value in fields.items()]
            return forms.post(daemon, "locked", fields | forms.sign_4(daemon, {"bucket": "locked"}, *conditions))

        # As with a PUT, what is locked must be what was meant.
        self.refused(post(fields), 400, "InvalidRequest")
        reply = post(fields | digest)
        self.assertEqual(reply.status, 204, reply.body)
        self.assertEqual(s3.head_object(Bucket="locked", Key="k")["ObjectLockMode"], "GOVERNANCE")
        self.assertIn("x-amz-version-id", reply.headers)


class Access(Form):
    """Who may post: decided as for a PUT, on what the fields say."""

    def setUp(self):
        s3.create_bucket(Bucket="open")
        self.addCleanup(self.remove)

    def remove(self):
        for item in s3.list_objects_v2(Bucket="open").get("Contents", []):
            s3.delete_object(Bucket="open", Key=item["Key"])
        s3.delete_bucket(Bucket="open")

    def allow(self, *statements):
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        s3.put_public_access_block(
            Bucket="open",
            PublicAccessBlockConfiguration=dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False
            ),
        )
        s3.put_bucket_policy(Bucket="open", Policy=json.dumps(document))

    def statement(self, effect="Allow", **more):
        named = {"Effect": effect, "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::open/*"}
        return named | more

    def anonymous(self, fields=None):
        return forms.post(daemon, "open", {"key": "k"} | (fields or {}))

    def owner(self, fields=None):
        fields = {"key": "k"} | (fields or {})
        signed = forms.sign_4(daemon, {"bucket": "open"}, *({name: value} for name, value in fields.items()))
        return forms.post(daemon, "open", fields | signed)

    def test_nobody(self):
        self.refused(self.anonymous(), 403, "AccessDenied")
        self.allow(self.statement())
        self.assertEqual(self.anonymous().status, 204)
        # A signature must be good even where none is needed.
        self.refused(self.anonymous({"x-amz-signature": "0"}), 400, "InvalidArgument")
        signed = forms.sign_4(daemon, {"bucket": "open"}, {"key": "k"})
        self.refused(self.anonymous(signed | {"x-amz-signature": "0" * 64}), 403, "SignatureDoesNotMatch")
        # Tags need a permission of their own.
        tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
        self.refused(self.anonymous({"tagging": tags}), 403, "AccessDenied")

    def test_conditions_of_a_bucket_policy_see_the_fields(self):
        encryption = {"s3:x-amz-server-side-encryption": "AES256"}
        self.allow(self.statement("Deny", Condition={"StringNotEquals": encryption}))
        self.refused(self.owner(), 403, "AccessDenied")
        fields = {"x-amz-server-side-encryption": "AES256"}
        self.assertEqual(self.owner(fields).status, 204)
        signed = forms.sign_4(daemon, {"bucket": "open"}, {"key": "k"})
        beside = forms.post(daemon, "open", {"key": "k"} | signed, headers=fields)
        self.refused(beside, 403, "AccessDenied")
        self.allow(self.statement("Deny", Condition={"StringEquals": {"s3:authType": "POST"}}))
        self.refused(self.owner(), 403, "AccessDenied")
        s3.put_object(Bucket="open", Key="k")
        self.allow(self.statement("Deny", Condition={"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}))
        self.assertEqual(self.owner().status, 204)


if __name__ == "__main__":
    unittest.main()
