"""The settings of a bucket, and what a bucket answers that never set any."""

import unittest

from botocore.exceptions import ClientError

import raw
from daemon import Daemon

BUCKET = "settings"


def setUpModule():
    global daemon, s3
    daemon = Daemon()
    s3 = daemon.client()
    s3.create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


class Case(unittest.TestCase):
    def refused(self, status, code, call, *arguments, **named):
        with self.assertRaises(ClientError) as refused:
            call(*arguments, **named)
        response = refused.exception.response
        self.assertEqual((response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]), (status, code))
        return response["Error"]


class Tagging(Case):
    def test_life_of_a_tag_set(self):
        self.refused(404, "NoSuchTagSet", s3.get_bucket_tagging, Bucket=BUCKET)
        tags = [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": ""}]
        s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags})
        self.assertEqual(s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"], tags)
        for _ in range(2):
            deleted = s3.delete_bucket_tagging(Bucket=BUCKET)
            self.assertEqual(deleted["ResponseMetadata"]["HTTPStatusCode"], 204)
        self.refused(404, "NoSuchTagSet", s3.get_bucket_tagging, Bucket=BUCKET)

    def test_tag_sets_that_are_refused(self):
        same = [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]
        self.refused(400, "InvalidTag", s3.put_bucket_tagging, Bucket=BUCKET, Tagging={"TagSet": same})
        many = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
        self.refused(400, "BadRequest", s3.put_bucket_tagging, Bucket=BUCKET, Tagging={"TagSet": many})
        self.refused(404, "NoSuchBucket", s3.put_bucket_tagging, Bucket="nothing-here", Tagging={"TagSet": []})


class RequestPayment(Case):
    def test_the_owner_pays(self):
        self.assertEqual(s3.get_bucket_request_payment(Bucket=BUCKET)["Payer"], "BucketOwner")
        owner, requester = {"Payer": "BucketOwner"}, {"Payer": "Requester"}
        s3.put_bucket_request_payment(Bucket=BUCKET, RequestPaymentConfiguration=owner)
        put = s3.put_bucket_request_payment
        self.refused(501, "NotImplemented", put, Bucket=BUCKET, RequestPaymentConfiguration=requester)


class Lifecycle(Case):
    def setUp(self):
        s3.delete_bucket_lifecycle(Bucket=BUCKET)

    def put(self, *rules, **named):
        return s3.put_bucket_lifecycle_configuration(
            Bucket=BUCKET, LifecycleConfiguration={"Rules": list(rules)}, **named
        )

    def get(self):
        return s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)

    def rule(self, **changes):
        return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 1}} | changes

    def test_what_was_put_comes_back(self):
        self.refused(404, "NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=BUCKET)
        tag = {"Key": "k", "Value": "v"}
        rules = [
            self.rule(ID="1"),
            {"ID": "2", "Status": "Disabled", "Prefix": "old/", "Expiration": {"ExpiredObjectDeleteMarker": True}},
            {
                "ID": "3",
                "Status": "Enabled",
                "Filter": {"And": {"Prefix": "", "Tags": [tag, tag | {"Key": "l"}], "ObjectSizeGreaterThan": 1}},
                "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER"}],
                "NoncurrentVersionTransitions": [
                    {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2, "StorageClass": "DEEP_ARCHIVE"}
                ],
                "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 100},
            },
            {
                "ID": "4",
                "Status": "Enabled",
                "Filter": {},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
            },
            self.rule(ID="5", Filter={"Tag": tag}),
            self.rule(ID="6", Filter={"ObjectSizeLessThan": 5}),
        ]
        put = self.put(*rules)
        self.assertEqual(put["TransitionDefaultMinimumObjectSize"], "all_storage_classes_128K")
        got = self.get()
        self.assertEqual(got["Rules"], rules)
        self.assertEqual(got["TransitionDefaultMinimumObjectSize"], "all_storage_classes_128K")
        self.put(self.rule(), TransitionDefaultMinimumObjectSize="varies_by_storage_class")
        self.assertEqual(self.get()["TransitionDefaultMinimumObjectSize"], "varies_by_storage_class")
        for _ in range(2):
            deleted = s3.delete_bucket_lifecycle(Bucket=BUCKET)
            self.assertEqual(deleted["ResponseMetadata"]["HTTPStatusCode"], 204)
        self.refused(404, "NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=BUCKET)

    def test_dates(self):
        self.put(self.rule(Expiration={"Date": "2031-02-03T00:00:00Z"}))
        date = self.get()["Rules"][0]["Expiration"]["Date"]
        self.assertEqual(date.isoformat(), "2031-02-03T00:00:00+00:00")
        late = self.rule(Expiration={"Date": "2031-02-03T00:00:01Z"})
        self.refused(400, "InvalidArgument", self.put, late)

    def test_a_rule_without_an_id_gets_one(self):
        self.put({name: value for name, value in self.rule().items() if name != "ID"})
        self.assertTrue(self.get()["Rules"][0]["ID"])

    def test_rules_that_are_refused(self):
        tag, move = {"Key": "k", "Value": "v"}, {"Days": 5, "StorageClass": "GLACIER"}
        for code, changes in (
            ("InvalidArgument", {"ID": "x" * 256}),
            ("MalformedXML", {"Status": "enabled"}),
            ("InvalidArgument", {"Expiration": {"Days": 0}}),
            ("MalformedXML", {"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}),
            ("MalformedXML", {"Expiration": {}}),
            ("MalformedXML", {"Prefix": "both"}),
            ("MalformedXML", {"Filter": {"Prefix": "a", "Tag": tag}}),
            ("MalformedXML", {"Filter": {"And": {"Prefix": "a"}}}),
            ("InvalidRequest", {"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}}),
            ("InvalidTag", {"Filter": {"And": {"Tags": [tag, tag]}}}),
            ("InvalidRequest", {"Filter": {"Tag": tag}, "Expiration": {"ExpiredObjectDeleteMarker": True}}),
            ("InvalidRequest", {"Filter": {"Tag": tag}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}),
            ("InvalidArgument", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}}),
            ("MalformedXML", {"Transitions": [{"Days": 1, "StorageClass": "STANDARD"}]}),
            ("MalformedXML", {"Transitions": [{"StorageClass": "GLACIER"}]}),
            ("InvalidArgument", {"Transitions": [{"Days": -1, "StorageClass": "GLACIER"}]}),
            ("InvalidArgument", {"Transitions": [{"Days": 29, "StorageClass": "STANDARD_IA"}]}),
            ("InvalidArgument", {"Transitions": [move], "Expiration": {"Days": 5}}),
            ("InvalidArgument", {"Transitions": [move, move], "Expiration": {"Days": 50}}),
            ("InvalidRequest", {"Transitions": [move], "Expiration": {"Date": "2031-02-03T00:00:00Z"}}),
            ("InvalidArgument", {"NoncurrentVersionExpiration": {"NoncurrentDays": 0}}),
            ("InvalidArgument", {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}),
            ("MalformedXML", {"NoncurrentVersionExpiration": {"NewerNoncurrentVersions": 1}}),
        ):
            with self.subTest(changes=changes):
                self.refused(400, code, self.put, self.rule(**changes))
        self.refused(400, "InvalidArgument", self.put, self.rule(), self.rule())
        self.refused(400, "InvalidRequest", self.put, {"Status": "Enabled", "Filter": {}})
        self.refused(400, "MalformedXML", self.put)
        self.refused(404, "NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=BUCKET)
