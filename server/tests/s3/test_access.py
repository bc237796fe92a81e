"""Who may do what: policies, ACLs, ownership, public access, several users and nobody."""

import datetime
import json
import os
import signal
import time
import unittest
import uuid

from botocore.exceptions import ClientError

import raw
import users
from daemon import Daemon
from users import User

SSE = "s3:x-amz-server-side-encryption"
CUSTOMER = "s3:x-amz-server-side-encryption-customer-algorithm"
ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
SIGNED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


def setUpModule():
    global daemon, main, alt, clerk, admin, nobody, ALT, CLERK, ADMIN
    daemon = Daemon()
    ALT = User("alt", 'email = "alt@example.com"\ndisplay_name = "Alt"')
    allow = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    deny = {"Sid": "NoSecrets", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*/secret*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
    CLERK = User("clerk", f"account = \"root\"\npolicy = '{policy}'")
    ADMIN = User("operator", "admin = true")
    users.add(daemon, ALT, CLERK, ADMIN)
    main = daemon.client()
    alt, clerk, admin = (users.client(daemon, user) for user in (ALT, CLERK, ADMIN))
    nobody = users.client(daemon)


def tearDownModule():
    daemon.close()


def canonical(client):
    return client.list_buckets()["Owner"]["ID"]


class Case(unittest.TestCase):
    def setUp(self):
        self.bucket = f"access-{uuid.uuid4().hex[:12]}"
        main.create_bucket(Bucket=self.bucket)

    def put(self, key, client=None, **more):
        return (client or main).put_object(Bucket=self.bucket, Key=key, Body=b"x", **more)

    def get(self, key, client=None, **more):
        return (client or main).get_object(Bucket=self.bucket, Key=key, **more)["Body"].read()

    def policy(self, *statements, **more):
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        main.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(document), **more)

    def statement(self, effect="Allow", action="s3:*", principal="*", condition=None, keys="*", sid=None):
        one = {
            "Effect": effect,
            "Principal": principal,
            "Action": action,
            "Resource": [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/{keys}"],
        }
        if condition:
            one["Condition"] = condition
        if sid:
            one["Sid"] = sid
        return one

    def deny_put(self, condition, sid=None):
        one = self.statement("Deny", "s3:PutObject", condition=condition, sid=sid)
        one["Resource"] = f"arn:aws:s3:::{self.bucket}/*"
        return one

    def refused(self, call, *arguments, code="AccessDenied", status=403, **more):
        with self.assertRaises(ClientError) as refused:
            call(*arguments, **more)
        response = refused.exception.response
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], status, response)
        if response["Error"]["Code"] != str(status):
            self.assertEqual(response["Error"]["Code"], code)
        return response["Error"]


class Users(Case):
    def test_a_bucket_is_its_owners_and_nobody_elses(self):
        self.put("a")
        for other in (alt, nobody):
            self.refused(self.get, "a", other)
            self.refused(self.put, "b", other)
            self.refused(other.list_objects_v2, Bucket=self.bucket)
            self.refused(other.head_bucket, Bucket=self.bucket)
            self.refused(other.delete_object, Bucket=self.bucket, Key="a")
            self.refused(other.delete_bucket, Bucket=self.bucket)
            self.refused(other.get_bucket_policy, Bucket=self.bucket)
            self.refused(other.get_bucket_encryption, Bucket=self.bucket)
        self.assertNotIn(self.bucket, [b["Name"] for b in alt.list_buckets()["Buckets"]])
        self.assertIn(self.bucket, [b["Name"] for b in main.list_buckets()["Buckets"]])
        self.refused(nobody.list_buckets)
        self.refused(nobody.create_bucket, Bucket="nobodys")
        self.refused(nobody.head_bucket, Bucket="no-such-bucket", code="NoSuchBucket", status=404)
        self.refused(alt.create_bucket, Bucket=self.bucket, code="BucketAlreadyExists", status=409)

    def test_a_user_of_an_account_may_what_its_policy_says(self):
        self.put("a")
        self.put("secret")
        self.assertEqual(self.get("a", clerk), b"x")
        clerk.list_objects_v2(Bucket=self.bucket)
        self.refused(self.get, "secret", clerk)
        self.assertIn("GetObject denied: user policy, statement 1 (NoSecrets)", self.log_line())
        self.refused(self.put, "b", clerk)
        self.refused(clerk.create_bucket, Bucket="clerks-own")
        # The other side of another account does not agree.
        alt.create_bucket(Bucket=self.bucket + "-alt")
        self.refused(clerk.list_objects_v2, Bucket=self.bucket + "-alt")

    def log_line(self):
        time.sleep(0.1)
        return [line for line in daemon.log_text().splitlines() if "GetObject" in line][-1]

    def test_an_administrator_may_everything_and_writes_for_the_owner(self):
        self.put("a", admin)
        self.assertEqual(self.get("a"), b"x")
        self.policy(self.statement("Deny"))
        self.refused(self.get, "a", admin)
        self.refused(self.get, "a")
        admin.delete_bucket_policy(Bucket=self.bucket)
        self.assertEqual(self.get("a", admin), b"x")

    def test_the_users_file_is_read_again_and_a_broken_one_is_not_taken(self):
        before = (daemon.dir / "users.toml").read_text()
        late = User("late")
        newcomer = users.client(daemon, late)
        self.refused(newcomer.list_buckets, code="InvalidAccessKeyId")
        users.replace(daemon, before + late.table())
        newcomer.list_buckets()
        users.replace(daemon, "broken")
        self.assertIn("the users stay as they were", daemon.log_text())
        newcomer.list_buckets()
        main.list_buckets()
        users.replace(daemon, before)
        self.refused(newcomer.list_buckets, code="InvalidAccessKeyId")

    def test_sighup_reads_the_users_file_and_stops_nothing(self):
        seen = daemon.log_text().count("the users file was read again")
        os.kill(daemon.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while daemon.log_text().count("the users file was read again") == seen:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        main.list_buckets()
        alt.list_buckets()

    def test_what_is_not_there_is_told_to_those_who_may_list(self):
        self.refused(self.get, "none", code="NoSuchKey", status=404)
        self.refused(main.head_object, Bucket=self.bucket, Key="none", code="NotFound", status=404)
        self.policy(self.statement(action="s3:GetObject", principal={"AWS": "alt"}))
        self.refused(self.get, "none", alt)
        self.refused(alt.head_object, Bucket=self.bucket, Key="none")
        self.policy(self.statement(action=["s3:GetObject", "s3:ListBucket"], principal={"AWS": "alt"}))
        self.refused(self.get, "none", alt, code="NoSuchKey", status=404)
        self.refused(alt.head_object, Bucket=self.bucket, Key="none", code="NotFound", status=404)

    def test_expected_bucket_owner(self):
        self.put("a")
        for owner in ("root", canonical(main)):
            self.get("a", ExpectedBucketOwner=owner)
        # One place asks, for every operation.
        other = {"ExpectedBucketOwner": "111122223333"}
        which = {"Bucket": self.bucket, "Key": "a"}
        for call, more in (
            (main.get_object, which),
            (main.head_bucket, {"Bucket": self.bucket}),
            (main.put_object_acl, which | {"ACL": "private"}),
            (main.list_objects_v2, {"Bucket": self.bucket}),
            (main.get_bucket_logging, {"Bucket": self.bucket}),
            (main.create_multipart_upload, which),
            (main.delete_objects, {"Bucket": self.bucket, "Delete": {"Objects": [{"Key": "a"}]}}),
            (main.delete_bucket, {"Bucket": self.bucket}),
        ):
            self.refused(call, **more, **other)
        copy = which | {"CopySource": which}
        self.refused(main.copy_object, **copy, MetadataDirective="REPLACE", ExpectedSourceBucketOwner="alt")
        main.copy_object(**copy, MetadataDirective="REPLACE", ExpectedSourceBucketOwner="root")


class Encryption(Case):
    """4.5: conditions see the header of the request, not the bucket's default."""

    def customer(self):
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}

    def test_4_5_require_sse(self):
        self.policy(
            self.deny_put({"StringNotEquals": {SSE: "AES256"}}, "Wrong"), self.deny_put({"Null": {SSE: "true"}}, "None")
        )
        self.refused(self.put, "a")
        self.refused(self.put, "a", **self.customer())
        self.put("a", ServerSideEncryption="AES256")
        self.assertIn("PutObject denied: bucket policy, statement 0 (Wrong)", daemon.log_text())

    def test_4_5_null_true_denies_what_only_the_default_encrypts(self):
        main.put_bucket_encryption(
            Bucket=self.bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        self.policy(self.deny_put({"Null": {SSE: "true"}}))
        self.refused(self.put, "a")
        self.put("a", ServerSideEncryption="AES256")

    def test_4_5_require_sse_c(self):
        self.policy(self.deny_put({"Null": {CUSTOMER: "true"}}))
        self.refused(self.put, "a")
        self.refused(self.put, "a", ServerSideEncryption="AES256")
        self.put("a", **self.customer())

    def test_4_5_forbid_sse_c(self):
        self.policy(self.deny_put({"Null": {CUSTOMER: "false"}}))
        self.put("a")
        self.refused(self.put, "a", **self.customer())

    def test_4_5_forbid_any_request_for_encryption(self):
        self.policy(self.deny_put({"Null": {SSE: "false"}}), self.deny_put({"Null": {CUSTOMER: "false"}}))
        self.put("a")
        self.refused(self.put, "a", ServerSideEncryption="AES256")
        self.refused(self.put, "a", **self.customer())

    def test_4_5_mandates_hold_for_copies(self):
        self.put("a")
        self.policy(self.deny_put({"Null": {SSE: "true"}}))
        source = {"Bucket": self.bucket, "Key": "a"}
        self.refused(main.copy_object, Bucket=self.bucket, Key="b", CopySource=source)
        main.copy_object(Bucket=self.bucket, Key="b", CopySource=source, ServerSideEncryption="AES256")

    def test_4_5_parts_are_checked_where_their_upload_is_created(self):
        self.policy(self.deny_put({"Null": {SSE: "true"}}))
        which = {"Bucket": self.bucket, "Key": "parts"}
        self.refused(main.create_multipart_upload, **which)
        upload = main.create_multipart_upload(ServerSideEncryption="AES256", **which)["UploadId"]
        # A part has no header that asks for encryption.
        part = main.upload_part(UploadId=upload, PartNumber=1, Body=b"x", **which)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        main.complete_multipart_upload(UploadId=upload, MultipartUpload=parts, **which)
        self.assertEqual(self.get("parts"), b"x")

    def test_an_uploaded_object_has_the_acl_and_owner_of_its_creation(self):
        self.policy(self.statement(principal={"AWS": "alt"}))
        which = {"Bucket": self.bucket, "Key": "parts"}
        upload = alt.create_multipart_upload(ACL="public-read", **which)["UploadId"]
        part = alt.upload_part(UploadId=upload, PartNumber=1, Body=b"x", **which)
        self.refused(nobody.upload_part, UploadId=upload, PartNumber=1, Body=b"x", **which)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        alt.complete_multipart_upload(UploadId=upload, MultipartUpload=parts, **which)
        self.assertEqual(self.get("parts", nobody), b"x")
        self.assertEqual(alt.get_object_acl(**which)["Owner"]["ID"], canonical(alt))

    def test_plaintext_travel_is_forbidden(self):
        self.policy(self.statement("Deny", condition={"Bool": {"aws:SecureTransport": "true"}}))
        self.refused(self.put, "a")
        main.delete_bucket_policy(Bucket=self.bucket)
        self.policy(self.statement("Deny", condition={"Bool": {"aws:SecureTransport": "false"}}))
        self.put("a")
        self.policy(self.statement("Deny", condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}}))
        self.put("a")


class Policies(Case):
    def test_what_is_put_comes_back_byte_by_byte(self):
        self.refused(main.get_bucket_policy, Bucket=self.bucket, code="NoSuchBucketPolicy", status=404)
        document = json.dumps({"Version": "2012-10-17", "Statement": [self.statement()]}, indent=3)
        main.put_bucket_policy(Bucket=self.bucket, Policy=document)
        self.assertEqual(main.get_bucket_policy(Bucket=self.bucket)["Policy"], document)
        main.delete_bucket_policy(Bucket=self.bucket)
        main.delete_bucket_policy(Bucket=self.bucket)
        self.refused(main.get_bucket_policy, Bucket=self.bucket, code="NoSuchBucketPolicy", status=404)

    def test_what_is_not_understood_is_refused(self):
        for change in (
            {"Conditions": {}},
            {"Action": "s3:PutObjekt"},
            {"Condition": {"StringSame": {"s3:prefix": "a"}}},
            {"Condition": {"StringEquals": {"s3:prefiks": "a"}}},
            {"Resource": "arn:aws:s3:::another/*"},
            {"Principal": {"AWS": "arn:aws:iam::*:user/x"}},
        ):
            statement = self.statement(sid="Here") | change
            document = json.dumps({"Version": "2012-10-17", "Statement": statement})
            error = self.refused(
                main.put_bucket_policy, Bucket=self.bucket, Policy=document, code="MalformedPolicy", status=400
            )
            self.assertIn("statement 0", error["Message"])
        self.refused(main.get_bucket_policy, Bucket=self.bucket, code="NoSuchBucketPolicy", status=404)

    def test_anonymous_reads_where_a_policy_says_so(self):
        self.put("public/a")
        self.put("b")
        self.policy(self.statement(action="s3:GetObject", keys="public/*"))
        self.assertEqual(self.get("public/a", nobody), b"x")
        self.refused(self.get, "b", nobody)
        self.refused(self.put, "public/b", nobody)
        reply = raw.request(daemon, "GET", f"/{self.bucket}/public/a", sign=False)
        self.assertEqual((reply.status, reply.body), (200, b"x"))
        # Headers of the reply are the signer's to choose.
        path, override = f"/{self.bucket}/public/a", {"response-content-type": "text/html"}
        reply = raw.request(daemon, "GET", path, query=override, sign=False)
        self.assertEqual(reply.status, 400)
        self.assertIn(b"<Code>InvalidRequest</Code>", reply.body)
        reply = raw.request(daemon, "GET", path, query=override)
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "text/html"))

    def test_a_deny_outranks_an_allow_and_ownership(self):
        self.put("a")
        self.policy(self.statement(), self.statement("Deny", "s3:GetObject"))
        for client in (main, alt, nobody):
            self.refused(self.get, "a", client)
        self.put("b", alt)

    def test_an_owner_cannot_lock_itself_out_of_the_policy(self):
        self.policy(self.statement("Deny"))
        self.refused(main.list_objects_v2, Bucket=self.bucket)
        main.get_bucket_policy(Bucket=self.bucket)
        main.delete_bucket_policy(Bucket=self.bucket)
        main.list_objects_v2(Bucket=self.bucket)

    def test_principals_by_every_name(self):
        self.put("a")
        for principal in (
            "alt",
            "arn:aws:iam:::user/alt",
            "arn:aws:iam::alt:root",
            "arn:aws:iam::alt:user/alt",
        ):
            self.policy(self.statement(principal={"AWS": [principal]}))
            self.assertEqual(self.get("a", alt), b"x", principal)
            self.refused(self.get, "a", nobody)
        self.policy(self.statement(principal={"CanonicalUser": canonical(alt)}))
        self.get("a", alt)
        self.policy(self.statement(principal={"AWS": "someone-else"}))
        self.refused(self.get, "a", alt)

    def test_conditions_on_the_request(self):
        only_alt = {"AWS": "alt"}
        for condition, allowed, refused in (
            ({"StringEquals": {"s3:x-amz-acl": "public-read"}}, {"ACL": "public-read"}, {"ACL": "private"}),
            ({"StringEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}}, {"StorageClass": "STANDARD_IA"}, {}),
            ({"Null": {"s3:if-none-match": "false"}}, {"IfNoneMatch": "*"}, {}),
        ):
            self.policy(self.statement(principal=only_alt, condition=condition))
            self.put(f"new-{uuid.uuid4()}", alt, **allowed)
            self.refused(self.put, "b", alt, **refused)
        self.policy(self.statement(principal=only_alt, condition={"StringLike": {"s3:prefix": "home/*"}}))
        alt.list_objects_v2(Bucket=self.bucket, Prefix="home/x")
        self.refused(alt.list_objects_v2, Bucket=self.bucket)
        self.policy(self.statement(principal=only_alt, condition={"NumericLessThanEquals": {"s3:max-keys": "10"}}))
        alt.list_objects_v2(Bucket=self.bucket, MaxKeys=10)
        self.refused(alt.list_objects_v2, Bucket=self.bucket, MaxKeys=11)
        self.policy(self.statement(principal=only_alt, condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))
        alt.list_objects_v2(Bucket=self.bucket)
        self.policy(self.statement(principal=only_alt, condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
        self.refused(alt.list_objects_v2, Bucket=self.bucket)
        self.policy(self.statement(principal=only_alt, condition={"DateLessThan": {"aws:CurrentTime": "2020-01-01"}}))
        self.refused(alt.list_objects_v2, Bucket=self.bucket)

    def test_variables(self):
        self.policy(self.statement(keys="${aws:username}/*"))
        self.put("alt/a", alt)
        self.refused(self.put, "root/a", alt)
        self.refused(self.put, "/a", nobody)

    def test_copies_need_both_ends(self):
        theirs = self.bucket + "-theirs"
        alt.create_bucket(Bucket=theirs)
        self.put("public/a")
        self.put("b")

        def copy(key):
            alt.copy_object(Bucket=theirs, Key="copy", CopySource={"Bucket": self.bucket, "Key": key})

        self.refused(copy, "b")
        self.policy(self.statement(action="s3:GetObject", principal={"AWS": "alt"}, keys="public/*"))
        copy("public/a")
        self.refused(copy, "b")
        self.refused(copy, "public/none")
        # And the target, by what the copy says of its source.
        self.policy(
            self.statement(
                action="s3:PutObject",
                principal={"AWS": "alt"},
                condition={"StringLike": {"s3:x-amz-copy-source": f"{theirs}/*"}},
            )
        )
        alt.copy_object(Bucket=self.bucket, Key="in", CopySource={"Bucket": theirs, "Key": "copy"})
        self.refused(self.put, "in", alt)

    def test_tags_come_along_with_a_copy_for_those_who_may_read_and_give_them(self):
        theirs = self.bucket + "-theirs"
        alt.create_bucket(Bucket=theirs)
        self.put("plain")
        self.put("tagged", Tagging="secret=yes")

        def copy(key, **more):
            alt.copy_object(Bucket=theirs, Key="copy", CopySource={"Bucket": self.bucket, "Key": key}, **more)

        self.policy(self.statement(action="s3:GetObject", principal={"AWS": "alt"}))
        copy("plain")
        self.refused(copy, "tagged")
        copy("tagged", TaggingDirective="REPLACE", Tagging="other=tag")
        self.policy(self.statement(action=["s3:GetObject", "s3:GetObjectTagging"], principal={"AWS": "alt"}))
        copy("tagged")
        tags = alt.get_object_tagging(Bucket=theirs, Key="copy")["TagSet"]
        self.assertEqual(tags, [{"Key": "secret", "Value": "yes"}])
        # At the other end, they are tags that the request gives.
        no_secrets = {"StringEquals": {"s3:RequestObjectTag/secret": "yes"}}
        self.policy(self.statement("Deny", "s3:PutObjectTagging", condition=no_secrets))
        source = {"Bucket": self.bucket, "Key": "tagged"}
        self.refused(main.copy_object, Bucket=self.bucket, Key="copy", CopySource=source)
        main.copy_object(Bucket=self.bucket, Key="copy", CopySource={"Bucket": self.bucket, "Key": "plain"})

    def test_what_belongs_to_an_object_or_bucket_is_not_deleted_or_written_as_that(self):
        empty = self.bucket + "-empty"
        main.create_bucket(Bucket=empty)
        self.put("a")
        for method, path, names in (
            ("DELETE", f"/{self.bucket}/a", ("acl", "retention", "legal-hold", "uploads", "torrent")),
            ("PUT", f"/{self.bucket}/a", ("uploadId", "partNumber", "versions", "restore", "torrent")),
            ("DELETE", f"/{empty}", ("acl", "versioning", "logging", "object-lock", "location")),
            ("PUT", f"/{self.bucket}-no", ("location", "versions", "uploads")),
        ):
            for name in names:
                reply = raw.request(daemon, method, path, body=b"", query={name: ""})
                self.assertEqual((reply.status, reply.error()["Code"]), (405, "MethodNotAllowed"), (method, name))
        self.assertEqual(self.get("a"), b"x")
        main.head_bucket(Bucket=empty)
        self.refused(main.head_bucket, Bucket=f"{self.bucket}-no", code="NoSuchBucket", status=404)

    def test_a_version_that_is_none_is_told_of_its_key_alone(self):
        self.put("a")
        self.policy(self.statement("Deny", "s3:DeleteObject*", condition={"StringEquals": {"s3:ExistingObjectTag/a": "b"}}))
        objects = [{"Key": "a", "VersionId": "none"}, {"Key": "a"}]
        done = main.delete_objects(Bucket=self.bucket, Delete={"Objects": objects})
        self.assertEqual([one["Key"] for one in done["Deleted"]], ["a"])
        self.assertEqual([one["Code"] for one in done["Errors"]], ["InvalidArgument"])

    def test_a_header_of_copies_tells_nothing_about_keys(self):
        self.policy(self.statement(action=["s3:GetObject", "s3:DeleteObject"], principal={"AWS": "alt"}))
        for more in ({}, {"x-amz-copy-source": f"/{self.bucket}/none"}):
            reply = raw.request(daemon, "GET", f"/{self.bucket}/none", more, user=ALT)
            self.assertEqual(reply.status, 403, reply.body)
        objects = {"Objects": [{"Key": "none", "ETag": "00000000000000000000000000000000"}]}
        for client, code in ((alt, "AccessDenied"), (main, "NoSuchKey")):
            done = client.delete_objects(Bucket=self.bucket, Delete=objects)
            self.assertEqual([one["Code"] for one in done["Errors"]], [code])

    def test_governance_is_passed_by_for_those_who_may(self):
        bucket = self.bucket + "-locked"
        main.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)

        def kept():
            until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
            lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
            return main.put_object(Bucket=bucket, Key="a", Body=b"x", **lock)["VersionId"]

        def allow(*actions):
            statement = self.statement(action=list(actions), principal={"AWS": "alt"})
            statement["Resource"] = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
            document = {"Version": "2012-10-17", "Statement": statement}
            main.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))

        version = kept()
        which = {"Bucket": bucket, "Key": "a", "VersionId": version, "BypassGovernanceRetention": True}
        objects = {"Objects": [{"Key": "a", "VersionId": version}]}
        none = {"Retention": {}}
        allow("s3:DeleteObjectVersion", "s3:PutObjectRetention")
        self.refused(alt.delete_object, **which)
        self.refused(alt.put_object_retention, **which, **none)
        done = alt.delete_objects(Bucket=bucket, Delete=objects, BypassGovernanceRetention=True)
        self.assertEqual([one["Code"] for one in done["Errors"]], ["AccessDenied"])
        main.get_object(Bucket=bucket, Key="a", VersionId=version)
        allow("s3:DeleteObjectVersion", "s3:PutObjectRetention", "s3:BypassGovernanceRetention")
        # Who may has to say so.
        self.refused(alt.delete_object, Bucket=bucket, Key="a", VersionId=version)
        alt.put_object_retention(**which, **none)
        version = kept()
        alt.delete_object(**which | {"VersionId": version})

    def test_deletes_are_decided_key_by_key(self):
        for key in ("a", "b", "keep/c"):
            self.put(key)
        self.policy(
            self.statement(action="s3:DeleteObject", principal={"AWS": "alt"}),
            self.statement("Deny", "s3:DeleteObject", keys="keep/*", sid="Keep"),
        )
        objects = [{"Key": key} for key in ("a", "keep/c", "b")]
        done = alt.delete_objects(Bucket=self.bucket, Delete={"Objects": objects})
        self.assertEqual([one["Key"] for one in done["Deleted"]], ["a", "b"])
        self.assertEqual([(one["Key"], one["Code"]) for one in done["Errors"]], [("keep/c", "AccessDenied")])
        self.get("keep/c")

    def test_an_acl_on_a_write_needs_its_own_action(self):
        self.policy(self.statement(action="s3:PutObject", principal={"AWS": "alt"}))
        self.put("a", alt)
        self.refused(self.put, "a", alt, ACL="public-read")
        self.refused(self.put, "b", alt, ACL="public-read")
        # Who writes by the bucket's ACL has it, unless a policy says no.
        main.put_bucket_acl(Bucket=self.bucket, ACL="public-read-write")
        self.put("b", alt, ACL="public-read")
        self.policy(self.statement("Deny", "s3:PutObjectAcl", principal={"AWS": "alt"}))
        self.refused(self.put, "c", alt, ACL="public-read")
        self.refused(alt.create_multipart_upload, Bucket=self.bucket, Key="c", ACL="public-read")
        self.put("c", alt)


class TagsAndVersions(Case):
    def test_tags_of_the_object_that_is_there(self):
        for key, value in (("open", "yes"), ("closed", "no")):
            self.put(key, Tagging=f"public={value}")
        condition = {"StringEquals": {"s3:ExistingObjectTag/public": "yes"}}
        self.policy(self.statement(action="s3:GetObject", condition=condition))
        self.get("open", nobody)
        self.refused(self.get, "closed", nobody)
        self.refused(self.get, "none", nobody)
        tags = {"TagSet": [{"Key": "public", "Value": "yes"}]}
        main.put_object_tagging(Bucket=self.bucket, Key="closed", Tagging=tags)
        self.get("closed", nobody)

    def test_tags_of_the_request_by_header_and_by_body(self):
        condition = {"StringEquals": {"s3:RequestObjectTag/public": "yes"}}
        self.policy(
            self.statement(
                action=["s3:PutObject", "s3:PutObjectTagging"], principal={"AWS": "alt"}, condition=condition
            )
        )
        self.put("a", alt, Tagging="public=yes&x=y")
        self.refused(self.put, "b", alt)
        self.refused(self.put, "b", alt, Tagging="public=no")

        def tag(value):
            tags = {"TagSet": [{"Key": "public", "Value": value}]}
            alt.put_object_tagging(Bucket=self.bucket, Key="a", Tagging=tags)

        tag("yes")
        self.refused(tag, "no")
        condition = {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["public", "other"]}}
        self.policy(self.statement(action="s3:*", principal={"AWS": "alt"}, condition=condition))
        self.put("c", alt, Tagging="public=no")
        self.refused(self.put, "d", alt, Tagging="public=no&secret=1")

    def test_versions_have_actions_and_acls_of_their_own(self):
        main.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        old = self.put("a")["VersionId"]
        new = self.put("a")["VersionId"]
        self.policy(self.statement(action="s3:GetObject", principal={"AWS": "alt"}))
        self.get("a", alt)
        self.refused(self.get, "a", alt, VersionId=old)
        main.delete_bucket_policy(Bucket=self.bucket)
        main.put_object_acl(Bucket=self.bucket, Key="a", VersionId=old, ACL="public-read")
        self.get("a", nobody, VersionId=old)
        self.refused(self.get, "a", nobody)
        self.refused(self.get, "a", nobody, VersionId=new)
        self.policy(self.statement("Deny", "s3:DeleteObjectVersion"))
        main.delete_object(Bucket=self.bucket, Key="a")
        self.refused(main.delete_object, Bucket=self.bucket, Key="a", VersionId=old)

    def test_bypassing_a_retention_is_an_action(self):
        locked = self.bucket + "-locked"
        main.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
        until = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2099-01-01T00:00:00Z"}
        version = main.put_object(Bucket=locked, Key="a", Body=b"x", **until)["VersionId"]
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:BypassGovernanceRetention"}
        deny["Resource"] = f"arn:aws:s3:::{locked}/*"
        document = {"Version": "2012-10-17", "Statement": deny}
        main.put_bucket_policy(Bucket=locked, Policy=json.dumps(document))
        which = {"Bucket": locked, "Key": "a", "VersionId": version}
        self.refused(main.delete_object, BypassGovernanceRetention=True, **which)
        main.delete_bucket_policy(Bucket=locked)
        self.refused(main.delete_object, **which)
        main.delete_object(BypassGovernanceRetention=True, **which)


class Acls(Case):
    def grants(self, client, **more):
        acl = client.get_object_acl(Bucket=self.bucket, **more) if more else client.get_bucket_acl(Bucket=self.bucket)
        return acl["Owner"]["ID"], sorted(
            (grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"]) for grant in acl["Grants"]
        )

    def test_by_default_everything_is_the_owners(self):
        me = canonical(main)
        self.put("a")
        self.assertEqual(self.grants(main), (me, [(me, "FULL_CONTROL")]))
        self.assertEqual(self.grants(main, Key="a"), (me, [(me, "FULL_CONTROL")]))
        self.assertRegex(me, "^[0-9a-f]{64}$")

    def test_canned_acls_of_a_bucket(self):
        me = canonical(main)
        for acl, more in (
            ("public-read", [(ALL, "READ")]),
            ("public-read-write", [(ALL, "READ"), (ALL, "WRITE")]),
            ("authenticated-read", [(SIGNED, "READ")]),
            ("private", []),
        ):
            main.put_bucket_acl(Bucket=self.bucket, ACL=acl)
            self.assertEqual(self.grants(main), (me, sorted([(me, "FULL_CONTROL")] + more)))
            for client, reads in ((alt, acl != "private"), (nobody, acl.startswith("public"))):
                if reads:
                    client.list_objects_v2(Bucket=self.bucket)
                else:
                    self.refused(client.list_objects_v2, Bucket=self.bucket)
                if acl == "public-read-write":
                    self.put("by-others", client)
                    client.delete_object(Bucket=self.bucket, Key="by-others")
                else:
                    self.refused(self.put, "by-others", client)
        self.refused(main.put_bucket_acl, Bucket=self.bucket, ACL="everything", code="InvalidArgument", status=400)

    def test_canned_acls_of_an_object(self):
        for acl, by_alt, by_nobody in (
            ("private", False, False),
            ("public-read", True, True),
            ("authenticated-read", True, False),
            ("bucket-owner-full-control", False, False),
        ):
            for how in ("with", "after"):
                if how == "with":
                    self.put("a", ACL=acl)
                else:
                    self.put("a")
                    main.put_object_acl(Bucket=self.bucket, Key="a", ACL=acl)
                for client, reads in ((alt, by_alt), (nobody, by_nobody)):
                    if reads:
                        self.assertEqual(self.get("a", client), b"x", acl)
                        client.head_object(Bucket=self.bucket, Key="a")
                    else:
                        self.refused(self.get, "a", client)
                    self.refused(client.get_object_acl, Bucket=self.bucket, Key="a")
                    self.refused(self.put, "a", client)
                self.get("a")

    def test_grants_in_headers(self):
        other = canonical(alt)
        self.put("a", GrantRead=f"id={other}", GrantReadACP=f"id={other}")
        self.assertEqual(self.get("a", alt), b"x")
        self.assertEqual(self.grants(alt, Key="a")[1], [(other, "READ"), (other, "READ_ACP")])
        self.refused(self.get, "a", nobody)
        self.put("b", GrantRead='emailAddress="alt@example.com"')
        self.get("b", alt)
        self.put("c", GrantRead=f'uri="{ALL}"')
        self.get("c", nobody)
        self.refused(self.put, "d", GrantRead="emailAddress=x@y", code="UnresolvableGrantByEmailAddress", status=400)
        self.refused(self.put, "d", GrantRead="id=x", code="InvalidArgument", status=400)
        self.refused(self.put, "d", ACL="private", GrantRead=f"id={other}", code="InvalidRequest", status=400)
        fresh = self.bucket + "-granted"
        main.create_bucket(Bucket=fresh, GrantFullControl=f"id={other}")
        alt.put_object(Bucket=fresh, Key="a", Body=b"x")
        alt.put_bucket_acl(Bucket=fresh, ACL="private")

    def test_grants_in_xml(self):
        me, other = canonical(main), canonical(alt)

        def policy(*grants, owner=me):
            return {
                "Owner": {"ID": owner},
                "Grants": [
                    {"Grantee": {"Type": "CanonicalUser", "ID": who}, "Permission": permission}
                    for who, permission in grants
                ],
            }

        self.put("a")
        main.put_object_acl(
            Bucket=self.bucket, Key="a", AccessControlPolicy=policy((me, "FULL_CONTROL"), (other, "WRITE_ACP"))
        )
        self.refused(self.get, "a", alt)
        alt.put_object_acl(Bucket=self.bucket, Key="a", AccessControlPolicy=policy((other, "FULL_CONTROL")))
        self.get("a", alt)
        # The owner is still the owner.
        self.assertEqual(self.grants(main, Key="a"), (me, [(other, "FULL_CONTROL")]))
        self.refused(
            main.put_object_acl, Bucket=self.bucket, Key="a", AccessControlPolicy=policy(owner=other)
        )
        self.refused(
            main.put_object_acl,
            Bucket=self.bucket,
            Key="a",
            AccessControlPolicy=policy(("f" * 64, "READ")),
            code="InvalidArgument",
            status=400,
        )
        grant = {"Grantee": {"Type": "AmazonCustomerByEmail", "EmailAddress": "alt@example.com"}, "Permission": "READ"}
        by_email = {"Owner": {"ID": me}, "Grants": [grant]}
        main.put_bucket_acl(Bucket=self.bucket, AccessControlPolicy=by_email)
        self.assertEqual(self.grants(main)[1], [(other, "READ")])
        alt.list_objects_v2(Bucket=self.bucket)

    def test_an_owner_gives_up_writing_by_an_acl_and_takes_it_back(self):
        self.put("a")
        me = canonical(main)
        main.put_bucket_acl(Bucket=self.bucket, AccessControlPolicy={"Owner": {"ID": me}, "Grants": []})
        self.get("a")
        self.refused(self.put, "b")
        main.get_bucket_acl(Bucket=self.bucket)
        main.put_bucket_acl(Bucket=self.bucket, ACL="private")
        self.put("b")

    def test_an_object_belongs_to_who_wrote_it(self):
        main.put_bucket_acl(Bucket=self.bucket, ACL="public-read-write")
        self.put("a", alt)
        self.assertEqual(self.grants(alt, Key="a")[0], canonical(alt))
        self.assertEqual(self.get("a", alt), b"x")
        self.refused(self.get, "a")
        self.refused(main.head_object, Bucket=self.bucket, Key="a")
        owners = {one["Key"]: one["Owner"]["ID"] for one in main.list_objects(Bucket=self.bucket)["Contents"]}
        self.assertEqual(owners, {"a": canonical(alt)})
        self.put("own")
        self.get("own")
        self.put("b", alt, ACL="bucket-owner-read")
        self.get("b")
        self.put("c", alt, ACL="bucket-owner-full-control")
        main.put_object_acl(Bucket=self.bucket, Key="c", ACL="bucket-owner-read")
        # What nobody signed is the bucket owner's.
        self.put("d", nobody)
        self.assertEqual(self.grants(main, Key="d")[0], canonical(main))
        main.delete_object(Bucket=self.bucket, Key="a")

    def test_what_nobody_signed_may_come_in_chunks_and_is_checked(self):
        main.put_bucket_acl(Bucket=self.bucket, ACL="public-read-write")
        body = os.urandom(200_000)
        # boto3 sends this as aws-chunked with a checksum behind it.
        nobody.put_object(Bucket=self.bucket, Key="a", Body=body, ChecksumAlgorithm="SHA256")
        self.assertEqual(self.get("a"), body)
        headers = {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": "3",
            "x-amz-trailer": "x-amz-checksum-crc32",
        }
        for trailer, code in (("x-amz-checksum-crc32:NSRBwg==", None), ("x-amz-checksum-crc32:AAAAAA==", "BadDigest")):
            framed = f"3\r\nabc\r\n0\r\n{trailer}\r\n\r\n".encode()
            reply = raw.request(daemon, "PUT", f"/{self.bucket}/b", headers, framed, sign=False)
            self.assertEqual(reply.status, 400 if code else 200)
            if code:
                self.assertEqual(reply.error()["Code"], code)
        self.assertEqual(self.get("b"), b"abc")
        headers["x-amz-content-sha256"] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        del headers["x-amz-trailer"]
        reply = raw.request(daemon, "PUT", f"/{self.bucket}/c", headers, framed, sign=False)
        self.assertEqual(reply.status, 501)

    def test_an_overwrite_takes_the_old_acl_away(self):
        self.put("a", ACL="public-read")
        self.get("a", nobody)
        self.put("a")
        self.refused(self.get, "a", nobody)

    def test_a_copy_has_an_acl_of_its_own(self):
        self.put("a", ACL="public-read")
        source = {"Bucket": self.bucket, "Key": "a"}
        main.copy_object(Bucket=self.bucket, Key="b", CopySource=source)
        self.refused(self.get, "b", nobody)
        main.copy_object(Bucket=self.bucket, Key="c", CopySource=source, ACL="public-read")
        self.get("c", nobody)

    def test_anonymous_learns_of_missing_keys_where_it_may_list(self):
        self.refused(self.get, "none", nobody)
        main.put_bucket_acl(Bucket=self.bucket, ACL="public-read")
        self.refused(self.get, "none", nobody, code="NoSuchKey", status=404)


class Ownership(Case):
    def controls(self, ownership):
        main.put_bucket_ownership_controls(
            Bucket=self.bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]}
        )

    def test_put_get_delete(self):
        missing = {"code": "OwnershipControlsNotFoundError", "status": 404}
        self.refused(main.get_bucket_ownership_controls, Bucket=self.bucket, **missing)
        for ownership in ("BucketOwnerPreferred", "ObjectWriter", "BucketOwnerEnforced"):
            self.controls(ownership)
            rules = main.get_bucket_ownership_controls(Bucket=self.bucket)["OwnershipControls"]["Rules"]
            self.assertEqual(rules, [{"ObjectOwnership": ownership}])
        main.delete_bucket_ownership_controls(Bucket=self.bucket)
        self.refused(main.get_bucket_ownership_controls, Bucket=self.bucket, **missing)
        fresh = self.bucket + "-new"
        main.create_bucket(Bucket=fresh, ObjectOwnership="BucketOwnerPreferred")
        rules = main.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"]["Rules"]
        self.assertEqual(rules, [{"ObjectOwnership": "BucketOwnerPreferred"}])

    def test_enforced_buckets_take_no_acls(self):
        self.put("public", ACL="public-read")
        self.get("public", nobody)
        self.controls("BucketOwnerEnforced")
        no = {"code": "AccessControlListNotSupported", "status": 400}
        self.refused(self.put, "a", ACL="public-read", **no)
        self.refused(main.put_bucket_acl, Bucket=self.bucket, ACL="public-read", **no)
        self.refused(main.put_object_acl, Bucket=self.bucket, Key="public", ACL="public-read", **no)
        self.put("a", ACL="bucket-owner-full-control")
        # Old grants mean nothing while it lasts.
        self.refused(self.get, "public", nobody)
        # And what others write is the bucket owner's.
        self.policy(self.statement(principal={"AWS": "alt"}))
        self.put("b", alt)
        self.get("b")

    def test_enforcing_needs_a_private_acl_first(self):
        main.put_bucket_acl(Bucket=self.bucket, ACL="public-read")
        no = {"code": "InvalidBucketAclWithObjectOwnership", "status": 400}
        self.refused(self.controls, "BucketOwnerEnforced", **no)
        self.refused(
            main.create_bucket, Bucket=self.bucket + "2", ACL="public-read", ObjectOwnership="BucketOwnerEnforced", **no
        )

    def test_preferred_takes_what_is_given(self):
        self.controls("BucketOwnerPreferred")
        main.put_bucket_acl(Bucket=self.bucket, ACL="public-read-write")
        self.put("given", alt, ACL="bucket-owner-full-control")
        self.get("given")
        self.refused(self.get, "given", alt)
        self.put("kept", alt)
        self.refused(self.get, "kept")
        self.get("kept", alt)


class PublicAccess(Case):
    def block(self, **flags):
        names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        flags = {name: flags.get(name, False) for name in names}
        main.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=flags)
        return flags

    def test_put_get_delete(self):
        missing = {"code": "NoSuchPublicAccessBlockConfiguration", "status": 404}
        self.refused(main.get_public_access_block, Bucket=self.bucket, **missing)
        flags = self.block(BlockPublicAcls=True, RestrictPublicBuckets=True)
        found = main.get_public_access_block(Bucket=self.bucket)
        self.assertEqual(found["PublicAccessBlockConfiguration"], flags)
        main.delete_public_access_block(Bucket=self.bucket)
        self.refused(main.get_public_access_block, Bucket=self.bucket, **missing)

    def test_block_public_acls(self):
        self.block(BlockPublicAcls=True)
        for acl in ("public-read", "public-read-write", "authenticated-read"):
            self.refused(main.put_bucket_acl, Bucket=self.bucket, ACL=acl)
            self.refused(self.put, "a", ACL=acl)
        self.put("a", ACL="private")
        self.refused(main.put_object_acl, Bucket=self.bucket, Key="a", ACL="public-read")
        self.refused(self.put, "a", GrantRead=f"uri={ALL}")

    def test_ignore_public_acls(self):
        self.put("a", ACL="public-read")
        main.put_bucket_acl(Bucket=self.bucket, ACL="public-read")
        self.get("a", nobody)
        self.block(IgnorePublicAcls=True)
        for client in (alt, nobody):
            self.refused(self.get, "a", client)
            self.refused(client.list_objects_v2, Bucket=self.bucket)
        self.get("a")

    def test_block_public_policy(self):
        self.block(BlockPublicPolicy=True)
        self.refused(self.policy, self.statement())
        self.policy(self.statement(principal={"AWS": "alt"}))
        self.policy(self.statement(condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))

    def test_restrict_public_buckets(self):
        self.put("a")
        self.policy(self.statement(), self.statement(principal={"AWS": "alt"}))
        self.get("a", nobody)
        self.block(RestrictPublicBuckets=True)
        for client in (alt, nobody):
            self.refused(self.get, "a", client)
        self.get("a")

    def test_status(self):
        def public():
            return main.get_bucket_policy_status(Bucket=self.bucket)["PolicyStatus"]["IsPublic"]

        self.assertFalse(public())
        self.policy(self.statement(principal={"AWS": "alt"}))
        self.assertFalse(public())
        self.policy(self.statement())
        self.assertTrue(public())
        main.delete_bucket_policy(Bucket=self.bucket)
        main.put_bucket_acl(Bucket=self.bucket, ACL="authenticated-read")
        self.assertTrue(public())
