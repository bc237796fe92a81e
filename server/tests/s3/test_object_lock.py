"""Object Lock: what is retained or held cannot be removed, by nobody and nothing."""

import datetime
import time
import unittest

from botocore.exceptions import ClientError

import raw
from daemon import Daemon


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()


def tearDownModule():
    daemon.close()


def later(**arguments):
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(**arguments)


class Case(unittest.TestCase):
    counter = 0

    def refused(self, status, code, call, **arguments):
        with self.assertRaises(ClientError) as refused:
            call(**arguments)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))

    def bucket(self, lock=True):
        Case.counter += 1
        name = f"lock-{Case.counter}"
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        return name

    def configure(self, bucket, **retention):
        rule = {"Rule": {"DefaultRetention": retention}} if retention else {}
        return s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", **rule}
        )


class Buckets(Case):
    def test_lock_comes_with_versioning_and_stays(self):
        bucket = self.bucket()
        self.assertEqual(s3.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")
        found = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        self.assertEqual(found, {"ObjectLockEnabled": "Enabled"})
        self.refused(
            409,
            "InvalidBucketState",
            s3.put_bucket_versioning,
            Bucket=bucket,
            VersioningConfiguration={"Status": "Suspended"},
        )

    def test_a_default_is_configured(self):
        bucket = self.bucket()
        for wrong, code in (
            ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, "MalformedXML"),
            ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidRetentionPeriod"),
            ({"Mode": "GOVERNANCE", "Years": -1}, "InvalidRetentionPeriod"),
            ({"Mode": "LAX", "Days": 1}, "MalformedXML"),
        ):
            with self.assertRaises(ClientError) as refused:
                self.configure(bucket, **wrong)
            self.assertEqual(refused.exception.response["Error"]["Code"], code, wrong)
        self.configure(bucket, Mode="GOVERNANCE", Days=1)
        version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
        head = s3.head_object(Bucket=bucket, Key="k")
        self.assertEqual(head["ObjectLockMode"], "GOVERNANCE")
        self.assertAlmostEqual(head["ObjectLockRetainUntilDate"].timestamp(), later(days=1).timestamp(), delta=60)
        self.refused(403, "AccessDenied", s3.delete_object, Bucket=bucket, Key="k", VersionId=version)
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=True)

    def test_a_bucket_without_lock(self):
        bucket = self.bucket(lock=False)
        self.refused(404, "ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=bucket)
        with self.assertRaises(ClientError) as refused:
            self.configure(bucket)
        self.assertEqual(refused.exception.response["Error"]["Code"], "InvalidBucketState")
        until = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": later(days=1)}
        self.refused(400, "InvalidRequest", s3.put_object, Bucket=bucket, Key="k", Body=b"", **until)
        s3.put_object(Bucket=bucket, Key="k", Body=b"")
        for call in (s3.get_object_retention, s3.get_object_legal_hold):
            self.refused(400, "InvalidRequest", call, Bucket=bucket, Key="k")
        # With versions, the lock may come later.
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.configure(bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"", **until)


class Retention(Case):
    def retain(self, bucket, version, mode, until, **arguments):
        return s3.put_object_retention(
            Bucket=bucket, Key="k", VersionId=version, Retention={"Mode": mode, "RetainUntilDate": until}, **arguments
        )

    def test_compliance_binds_everybody(self):
        bucket = self.bucket()
        until = later(seconds=4)
        version = s3.put_object(
            Bucket=bucket, Key="k", Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
        )["VersionId"]
        found = s3.get_object_retention(Bucket=bucket, Key="k")["Retention"]
        self.assertEqual((found["Mode"], found["RetainUntilDate"]), ("COMPLIANCE", until))
        delete = {"Bucket": bucket, "Key": "k", "VersionId": version}
        self.refused(403, "AccessDenied", s3.delete_object, **delete, BypassGovernanceRetention=True)
        listed = s3.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": version}]}, BypassGovernanceRetention=True
        )
        self.assertEqual(listed["Errors"][0]["Code"], "AccessDenied")
        for mode, date in (("GOVERNANCE", until), ("COMPLIANCE", later(seconds=1))):
            with self.assertRaises(ClientError):
                self.retain(bucket, version, mode, date, BypassGovernanceRetention=True)
        # A marker and a new version on top take nothing away.
        s3.delete_object(Bucket=bucket, Key="k")
        s3.put_object(Bucket=bucket, Key="k", Body=b"y")
        self.assertEqual(s3.get_object(**delete)["Body"].read(), b"x")
        # Until its time is over.
        time.sleep(max(0.0, until.timestamp() - time.time()) + 0.1)
        s3.delete_object(**delete)

    def test_governance_yields_to_those_who_may(self):
        bucket = self.bucket()
        version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
        self.refused(404, "NoSuchObjectLockConfiguration", s3.get_object_retention, Bucket=bucket, Key="k")
        self.retain(bucket, version, "GOVERNANCE", later(days=2))
        self.retain(bucket, version, "GOVERNANCE", later(days=3))
        for mode, until in (("GOVERNANCE", later(days=1)), ("COMPLIANCE", later(days=4))):
            with self.assertRaises(ClientError) as refused:
                self.retain(bucket, version, mode, until)
            self.assertEqual(refused.exception.response["Error"]["Code"], "AccessDenied")
        self.retain(bucket, version, "GOVERNANCE", later(days=1), BypassGovernanceRetention=True)
        self.refused(403, "AccessDenied", s3.delete_object, Bucket=bucket, Key="k", VersionId=version)
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=True)

    def test_what_is_no_retention(self):
        bucket = self.bucket()
        version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
        with self.assertRaises(ClientError) as refused:
            self.retain(bucket, version, "LAX", later(days=1))
        self.assertEqual(refused.exception.response["Error"]["Code"], "MalformedXML")
        with self.assertRaises(ClientError) as refused:
            self.retain(bucket, version, "GOVERNANCE", later(days=-1))
        self.assertEqual(refused.exception.response["Error"]["Code"], "InvalidArgument")
        self.refused(
            400, "InvalidArgument", s3.put_object, Bucket=bucket, Key="k", Body=b"", ObjectLockMode="GOVERNANCE"
        )

    def test_copies_are_locked_too(self):
        bucket = self.bucket()
        s3.put_object(Bucket=bucket, Key="source", Body=b"x")
        lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": later(seconds=2), "ObjectLockLegalHoldStatus": "ON"}
        copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/source", **lock)["VersionId"]
        self.refused(403, "AccessDenied", s3.delete_object, Bucket=bucket, Key="copy", VersionId=copied)

    def test_uploads_in_parts_are_locked_too(self):
        bucket = self.bucket()
        lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": later(days=1), "ObjectLockLegalHoldStatus": "ON"}
        upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", **lock)["UploadId"]
        upload = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
        etag = s3.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
        done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
        self.refused(403, "AccessDenied", s3.delete_object, Bucket=bucket, Key="parts", VersionId=done["VersionId"])
        self.assertEqual(s3.head_object(Bucket=bucket, Key="parts")["ObjectLockLegalHoldStatus"], "ON")


class LegalHold(Case):
    def test_a_hold_binds_until_it_is_lifted(self):
        bucket = self.bucket()
        version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
        hold = lambda status: s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": status})
        self.refused(404, "NoSuchObjectLockConfiguration", s3.get_object_legal_hold, Bucket=bucket, Key="k")
        hold("ON")
        self.assertEqual(s3.get_object_legal_hold(Bucket=bucket, Key="k")["LegalHold"]["Status"], "ON")
        delete = {"Bucket": bucket, "Key": "k", "VersionId": version}
        self.refused(403, "AccessDenied", s3.delete_object, **delete, BypassGovernanceRetention=True)
        with self.assertRaises(ClientError) as refused:
            hold("PERHAPS")
        self.assertEqual(refused.exception.response["Error"]["Code"], "MalformedXML")
        hold("OFF")
        self.assertEqual(s3.get_object_legal_hold(Bucket=bucket, Key="k")["LegalHold"]["Status"], "OFF")
        s3.delete_object(**delete)


if __name__ == "__main__":
    unittest.main()
