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
    def refused(self, status, code, call, **arguments):
        with self.assertRaises(ClientError) as refused:
            call(**arguments)
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
