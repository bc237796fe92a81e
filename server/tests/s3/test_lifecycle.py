"""Lifecycle rules and the archive, with days of two seconds: what expires, what moves, what comes back."""

import os
import time
import unittest

from botocore.exceptions import ClientError

import raw
from daemon import Daemon

DAY = 2
KEY, OTHER = os.urandom(32), os.urandom(32)


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    daemon.stop()
    with (daemon.dir / "strongroom.toml").open("a") as settings:
        settings.write(f"\n[lifecycle]\nday_seconds = {DAY}\ninterval_seconds = 1\n\n[keys]\ncache_seconds = 1\n")
    daemon.start()
    s3 = daemon.client()


def tearDownModule():
    daemon.close()


def ssec(key):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def eventually(what, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise AssertionError("did not happen in time")
        time.sleep(0.1)
    return found


class Case(unittest.TestCase):
    counter = 0

    def refused(self, status, code, call, **arguments):
        with self.assertRaises(ClientError) as refused:
            call(**arguments)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))
        return response

    def bucket(self, *rules, versions=False):
        Case.counter += 1
        name = f"lifecycle-{Case.counter}"
        s3.create_bucket(Bucket=name)
        if versions:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        self.rules(name, *rules)
        return name

    def rules(self, bucket, *rules):
        if rules:
            rules = [{"ID": f"r{n}", "Status": "Enabled", "Filter": {"Prefix": ""}} | rule for n, rule in enumerate(rules)]
            s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules}, TransitionDefaultMinimumObjectSize="varies_by_storage_class")

    def keys(self, bucket):
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def class_of(self, bucket, key, **arguments):
        return s3.head_object(Bucket=bucket, Key=key, **arguments).get("StorageClass", "STANDARD")


class Expiration(Case):
    def test_what_a_rule_names_goes_and_the_rest_stays(self):
        bucket = self.bucket(
            {"Filter": {"Prefix": "old/"}, "Expiration": {"Days": 1}},
            {"Filter": {"Tag": {"Key": "t", "Value": "1"}}, "Expiration": {"Days": 1}},
            {"Filter": {"And": {"Prefix": "big", "ObjectSizeGreaterThan": 10}}, "Expiration": {"Days": 1}},
            {"Filter": {"Prefix": "off"}, "Status": "Disabled", "Expiration": {"Days": 1}},
        )
        put = lambda key, **more: s3.put_object(Bucket=bucket, Key=key, **{"Body": b"x", **more})
        put("tagged", Tagging="t=1")
        put("tagged-otherwise", Tagging="t=2")
        put("big-1", Body=b"x" * 11)
        put("big-2", Body=b"x" * 10)
        put("off")
        reply = put("old/1")
        self.assertIn('rule-id="r0"', reply["Expiration"])
        self.assertIn("expiry-date=", s3.head_object(Bucket=bucket, Key="old/1")["Expiration"])
        self.assertNotIn("Expiration", s3.head_object(Bucket=bucket, Key="off"))
        eventually(lambda: self.keys(bucket) == ["big-2", "off", "tagged-otherwise"])
        time.sleep(DAY + 1)
        self.assertEqual(self.keys(bucket), ["big-2", "off", "tagged-otherwise"])

    def test_expiring_in_a_bucket_with_versions_puts_a_marker(self):
        bucket = self.bucket({"Expiration": {"Days": 1}}, versions=True)
        version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
        found = eventually(lambda: s3.list_object_versions(Bucket=bucket).get("DeleteMarkers"))
        self.assertTrue(found[0]["IsLatest"])
        self.assertEqual(s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read(), b"x")

    def test_noncurrent_versions_and_the_markers_they_leave(self):
        bucket = self.bucket(
            {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}},
            {"Expiration": {"ExpiredObjectDeleteMarker": True}},
            versions=True,
        )
        made = [s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % n)["VersionId"] for n in range(4)]
        left = lambda: [e["VersionId"] for e in s3.list_object_versions(Bucket=bucket).get("Versions", [])]
        eventually(lambda: left() == [made[3], made[2]])
        time.sleep(DAY + 1)
        self.assertEqual(left(), [made[3], made[2]])
        s3.delete_object(Bucket=bucket, Key="k")
        for version in made[2:]:
            s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
        # Nothing below the marker any more: it goes by itself.
        eventually(lambda: "DeleteMarkers" not in s3.list_object_versions(Bucket=bucket))

    def test_uploads_that_nobody_ends(self):
        bucket = self.bucket({"Filter": {"Prefix": "tmp/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
        gone = s3.create_multipart_upload(Bucket=bucket, Key="tmp/k")
        self.assertEqual(gone["AbortRuleId"], "r0")
        self.assertIn("AbortDate", gone)
        kept = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        listed = lambda: [e["UploadId"] for e in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
        eventually(lambda: listed() == [kept])

    def test_what_is_locked_does_not_expire(self):
        Case.counter += 1
        bucket = f"lifecycle-{Case.counter}"
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        held = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")["VersionId"]
        free = s3.put_object(Bucket=bucket, Key="free", Body=b"x")["VersionId"]
        for key in ("k", "free"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"y")
        self.rules(bucket, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
        versions = lambda: [e["VersionId"] for e in s3.list_object_versions(Bucket=bucket)["Versions"]]
        eventually(lambda: free not in versions())
        time.sleep(DAY)
        self.assertIn(held, versions())


class Archive(Case):
    def test_written_into_the_archive(self):
        bucket = self.bucket()
        for archive in ("GLACIER", "DEEP_ARCHIVE"):
            s3.put_object(Bucket=bucket, Key=archive, Body=b"cold", StorageClass=archive)
            self.assertEqual(self.class_of(bucket, archive), archive)
            refused = self.refused(403, "InvalidObjectState", s3.get_object, Bucket=bucket, Key=archive)
            self.assertEqual(refused["Error"]["StorageClass"], archive)
            self.refused(403, "InvalidObjectState", s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/{archive}")
        listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
        self.assertEqual([entry["StorageClass"] for entry in listed], ["DEEP_ARCHIVE", "GLACIER"])
        # Readable at once.
        s3.put_object(Bucket=bucket, Key="ir", Body=b"x", StorageClass="GLACIER_IR")
        self.assertEqual(s3.get_object(Bucket=bucket, Key="ir")["Body"].read(), b"x")

    def test_restored_for_its_days(self):
        bucket = self.bucket()
        body = os.urandom(200_000)
        s3.put_object(Bucket=bucket, Key="k", Body=body, StorageClass="GLACIER")
        restore = {"Bucket": bucket, "Key": "k"}
        request = lambda days, tier="Standard": {"Days": days, "GlacierJobParameters": {"Tier": tier}}
        first = s3.restore_object(**restore, RestoreRequest=request(4))
        self.assertEqual(first["ResponseMetadata"]["HTTPStatusCode"], 202)
        eventually(lambda: 'ongoing-request="false", expiry-date="' in s3.head_object(Bucket=bucket, Key="k")["Restore"])
        get = s3.get_object(Bucket=bucket, Key="k")
        self.assertEqual((get["Body"].read(), get["StorageClass"]), (body, "GLACIER"))
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
        self.assertEqual(self.class_of(bucket, "copy"), "STANDARD")
        again = s3.restore_object(**restore, RestoreRequest=request(1))
        self.assertEqual(again["ResponseMetadata"]["HTTPStatusCode"], 200)
        eventually(lambda: "Restore" not in s3.head_object(Bucket=bucket, Key="k"))
        self.refused(403, "InvalidObjectState", s3.get_object, Bucket=bucket, Key="k")

    def test_what_cannot_be_restored(self):
        bucket = self.bucket()
        s3.put_object(Bucket=bucket, Key="warm", Body=b"x")
        days = {"Days": 1, "GlacierJobParameters": {"Tier": "Standard"}}
        self.refused(403, "InvalidObjectState", s3.restore_object, Bucket=bucket, Key="warm", RestoreRequest=days)
        self.refused(404, "NoSuchKey", s3.restore_object, Bucket=bucket, Key="nothing", RestoreRequest=days)
        s3.put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass="DEEP_ARCHIVE")
        cold = {"Bucket": bucket, "Key": "cold"}
        for wrong in ({"Days": 0}, {"Days": -1}, {}):
            self.refused(400, "MalformedXML", s3.restore_object, **cold, RestoreRequest=wrong)
        # Expedited is not for the deepest archive.
        expedited = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
        with self.assertRaises(ClientError):
            s3.restore_object(**cold, RestoreRequest=expedited)

    def test_customer_keys_restore_without_the_key_and_read_with_it(self):
        bucket = self.bucket()
        s3.put_object(Bucket=bucket, Key="c", Body=b"secret", StorageClass="GLACIER", **ssec(KEY))
        # The state is told before any key is looked at.
        for key in ({}, ssec(KEY), ssec(OTHER)):
            self.refused(403, "InvalidObjectState", s3.get_object, Bucket=bucket, Key="c", **key)
        self.assertEqual(self.class_of(bucket, "c", **ssec(KEY)), "GLACIER")
        self.refused(400, "400", s3.head_object, Bucket=bucket, Key="c")
        s3.restore_object(Bucket=bucket, Key="c", RestoreRequest={"Days": 5})
        eventually(lambda: 'ongoing-request="false"' in s3.head_object(Bucket=bucket, Key="c", **ssec(KEY))["Restore"])
        self.assertEqual(s3.get_object(Bucket=bucket, Key="c", **ssec(KEY))["Body"].read(), b"secret")
        self.refused(400, "InvalidRequest", s3.get_object, Bucket=bucket, Key="c")
        self.refused(403, "AccessDenied", s3.get_object, Bucket=bucket, Key="c", **ssec(OTHER))

    def test_transitions_go_down_the_classes(self):
        moves = [{"Days": 1, "StorageClass": "GLACIER_IR"}, {"Days": 3, "StorageClass": "GLACIER"}]
        bucket = self.bucket({"Transitions": moves})
        body = os.urandom(300_000)
        etag = s3.put_object(Bucket=bucket, Key="k", Body=body)["ETag"]
        s3.put_object(Bucket=bucket, Key="small", Body=b"inline")
        eventually(lambda: self.class_of(bucket, "k") == "GLACIER_IR")
        self.assertEqual(s3.get_object(Bucket=bucket, Key="k")["Body"].read(), body)
        for key in ("k", "small"):
            eventually(lambda: self.class_of(bucket, key) == "GLACIER")
            self.refused(403, "InvalidObjectState", s3.get_object, Bucket=bucket, Key=key)
        s3.restore_object(Bucket=bucket, Key="k", RestoreRequest={"Days": 30})
        eventually(lambda: 'ongoing-request="false"' in s3.head_object(Bucket=bucket, Key="k").get("Restore", ""))
        get = s3.get_object(Bucket=bucket, Key="k")
        self.assertEqual((get["Body"].read(), get["ETag"]), (body, etag))

    def test_transitions_need_no_key_and_no_hsm(self):
        bucket = self.bucket()
        body = os.urandom(100_000)
        s3.put_object(Bucket=bucket, Key="managed", Body=body)
        s3.put_object(Bucket=bucket, Key="customer", Body=body, **ssec(KEY))
        self.rules(bucket, {"Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}]})
        tokens, aside = daemon.dir / "token" / "tokens", daemon.dir / "token" / "aside"
        tokens.rename(aside)
        try:
            moved = lambda: [e["StorageClass"] for e in self.listed(bucket)] == ["DEEP_ARCHIVE"] * 2
            eventually(moved)
            # No key is left, and no HSM to get one.
            self.assertEqual(raw.request(daemon, "HEAD", f"/{bucket}/managed").status, 503)
        finally:
            aside.rename(tokens)
            eventually(lambda: raw.request(daemon, "PUT", f"/{bucket}/back", {}, b"").status == 200)
        eventually(lambda: raw.request(daemon, "HEAD", f"/{bucket}/managed").status == 200)
        for key in ("managed", "customer"):
            s3.restore_object(Bucket=bucket, Key=key, RestoreRequest={"Days": 30})
        read = lambda key, **more: s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()
        head = lambda key, **more: s3.head_object(Bucket=bucket, Key=key, **more).get("Restore", "")
        eventually(lambda: 'ongoing-request="false"' in head("managed"))
        eventually(lambda: 'ongoing-request="false"' in head("customer", **ssec(KEY)))
        self.assertEqual((read("managed"), read("customer", **ssec(KEY))), (body, body))

    def listed(self, bucket):
        return s3.list_objects_v2(Bucket=bucket).get("Contents", [])


if __name__ == "__main__":
    unittest.main()
