"""The settings of a bucket, and what a bucket answers that never set any."""

import base64
import hashlib
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


class Cors(Case):
    RULES = [
        {
            "ID": "pages",
            "AllowedOrigins": ["https://*.example"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedHeaders": ["x-amz-*", "Content-Type"],
            "ExposeHeaders": ["ETag", "x-amz-request-id"],
            "MaxAgeSeconds": 600,
        },
        {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
    ]

    def setUp(self):
        s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": self.RULES})

    def tearDown(self):
        s3.delete_bucket_cors(Bucket=BUCKET)

    def preflight(self, path=f"/{BUCKET}/key", **headers):
        names = {
            "origin": "Origin",
            "method": "Access-Control-Request-Method",
            "headers": "Access-Control-Request-Headers",
        }
        return raw.request(
            daemon, "OPTIONS", path, {names[name]: value for name, value in headers.items()}, sign=False
        )

    def allowed(self, reply):
        return {name: value for name, value in reply.headers.items() if name.startswith("access-control-")}

    def test_what_was_put_comes_back(self):
        self.assertEqual(s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"], self.RULES)
        for _ in range(2):
            deleted = s3.delete_bucket_cors(Bucket=BUCKET)
            self.assertEqual(deleted["ResponseMetadata"]["HTTPStatusCode"], 204)
        self.refused(404, "NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=BUCKET)

    def test_rules_that_are_refused(self):
        for code, changes in (
            ("InvalidRequest", {"AllowedMethods": ["PATCH"]}),
            ("InvalidRequest", {"AllowedOrigins": ["https://*.*"]}),
            ("InvalidRequest", {"AllowedHeaders": ["*-*"]}),
            ("InvalidRequest", {"ExposeHeaders": ["x-*"]}),
            ("MalformedXML", {"AllowedMethods": []}),
            ("MalformedXML", {"AllowedOrigins": []}),
        ):
            rules = {"CORSRules": [self.RULES[0] | changes]}
            self.refused(400, code, s3.put_bucket_cors, Bucket=BUCKET, CORSConfiguration=rules)
        for rules in ([], [self.RULES[1]] * 101):
            rules = {"CORSRules": rules}
            self.refused(400, "MalformedXML", s3.put_bucket_cors, Bucket=BUCKET, CORSConfiguration=rules)

    def test_a_preflight_needs_no_signature_and_is_told_the_rule(self):
        reply = self.preflight(origin="https://a.example", method="PUT", headers="X-Amz-Date, content-type")
        self.assertEqual(reply.status, 200)
        self.assertEqual(
            self.allowed(reply),
            {
                "access-control-allow-origin": "https://a.example",
                "access-control-allow-credentials": "true",
                "access-control-allow-methods": "GET, PUT",
                "access-control-allow-headers": "x-amz-date, content-type",
                "access-control-expose-headers": "ETag, x-amz-request-id",
                "access-control-max-age": "600",
            },
        )
        self.assertIn("Origin", reply.headers["vary"])
        anywhere = self.preflight(origin="http://other", method="GET")
        self.assertEqual(
            self.allowed(anywhere), {"access-control-allow-origin": "*", "access-control-allow-methods": "GET"}
        )

    def test_preflights_that_are_refused(self):
        for status, headers in (
            (400, {}),
            (400, {"origin": "https://a.example"}),
            (400, {"origin": "https://a.example", "method": "BREW"}),
            (403, {"origin": "http://a.example", "method": "PUT"}),
            (403, {"origin": "https://a.example", "method": "DELETE"}),
            (403, {"origin": "https://a.example", "method": "PUT", "headers": "x-other"}),
        ):
            reply = self.preflight(**headers)
            self.assertEqual(reply.status, status, headers)
            self.assertEqual(self.allowed(reply), {})
        self.assertEqual(reply.error()["Code"], "AccessForbidden")
        self.assertEqual((reply.error()["Method"], reply.error()["ResourceType"]), ("PUT", "OBJECT"))
        s3.delete_bucket_cors(Bucket=BUCKET)
        self.assertEqual(self.preflight(origin="https://a.example", method="PUT").status, 403)
        missing = self.preflight("/no-such-bucket-here/k", origin="https://a.example", method="PUT")
        self.assertEqual((missing.status, missing.error()["Code"]), (404, "NoSuchBucket"))

    def test_replies_say_it_too_and_errors_as_well(self):
        origin = {"Origin": "https://a.example"}
        s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
        for path, status in ((f"/{BUCKET}/k", 200), (f"/{BUCKET}/nothing", 404)):
            reply = raw.request(daemon, "GET", path, origin)
            self.assertEqual(reply.status, status)
            self.assertEqual(reply.headers["access-control-allow-origin"], "https://a.example")
            self.assertEqual(reply.headers["access-control-expose-headers"], "ETag, x-amz-request-id")
        unsigned = raw.request(daemon, "PUT", f"/{BUCKET}/k", origin, b"x", sign=False)
        self.assertEqual(unsigned.status, 403)
        self.assertIn("access-control-allow-origin", unsigned.headers)
        self.assertEqual(self.allowed(raw.request(daemon, "GET", f"/{BUCKET}/k")), {})
        self.assertEqual(self.allowed(raw.request(daemon, "DELETE", f"/{BUCKET}/nothing", origin)), {})
        # A request that names a method is judged by that one.
        named = origin | {"Access-Control-Request-Method": "GET"}
        reply = raw.request(daemon, "DELETE", f"/{BUCKET}/nothing", named)
        self.assertIn("access-control-allow-origin", reply.headers)


class Unset(Case):
    """Features that are not here: a bucket answers as one that never used them."""

    def test_empty_answers(self):
        for call, elements in (
            (s3.get_bucket_logging, {"LoggingEnabled"}),
            (s3.get_bucket_notification_configuration, {"QueueConfigurations"}),
            (s3.get_bucket_accelerate_configuration, {"Status"}),
            (s3.list_bucket_analytics_configurations, {"AnalyticsConfigurationList"}),
            (s3.list_bucket_inventory_configurations, {"InventoryConfigurationList"}),
            (s3.list_bucket_metrics_configurations, {"MetricsConfigurationList"}),
            (s3.list_bucket_intelligent_tiering_configurations, {"IntelligentTieringConfigurationList"}),
        ):
            self.assertFalse(elements & set(call(Bucket=BUCKET)))
        self.refused(404, "NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=BUCKET)
        self.refused(404, "ReplicationConfigurationNotFoundError", s3.get_bucket_replication, Bucket=BUCKET)
        self.refused(404, "NoSuchConfiguration", s3.get_bucket_metrics_configuration, Bucket=BUCKET, Id="x")

    def test_switching_off_what_is_off(self):
        s3.put_bucket_logging(Bucket=BUCKET, BucketLoggingStatus={})
        s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
        s3.delete_bucket_website(Bucket=BUCKET)
        s3.delete_bucket_replication(Bucket=BUCKET)

    def test_switching_on(self):
        enabled = {"LoggingEnabled": {"TargetBucket": BUCKET, "TargetPrefix": "p"}}
        self.refused(501, "NotImplemented", s3.put_bucket_logging, Bucket=BUCKET, BucketLoggingStatus=enabled)
        website = {"IndexDocument": {"Suffix": "index.html"}}
        self.refused(501, "NotImplemented", s3.put_bucket_website, Bucket=BUCKET, WebsiteConfiguration=website)

    def test_a_bucket_that_is_not_there(self):
        self.refused(404, "NoSuchBucket", s3.get_bucket_logging, Bucket="no-such-bucket-here")


class Digests(Case):
    """What a client says of the body of a setting is compared with the body."""

    BODY = b'<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>'

    def tearDown(self):
        s3.delete_bucket_tagging(Bucket=BUCKET)

    def put(self, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return raw.request(daemon, "PUT", f"/{BUCKET}", headers, self.BODY, query={"tagging": ""})

    def test_content_md5(self):
        right = base64.b64encode(hashlib.md5(self.BODY).digest()).decode()
        self.assertEqual(self.put(content_md5=right).status, 200)
        wrong = base64.b64encode(bytes(16)).decode()
        self.assertEqual(self.put(content_md5=wrong).error()["Code"], "BadDigest")
        self.assertEqual(self.put(content_md5="nonsense").error()["Code"], "InvalidDigest")

    def test_checksums(self):
        right = base64.b64encode(hashlib.sha256(self.BODY).digest()).decode()
        self.assertEqual(self.put(x_amz_checksum_sha256=right).status, 200)
        wrong = base64.b64encode(bytes(32)).decode()
        self.assertEqual(self.put(x_amz_checksum_sha256=wrong).error()["Code"], "BadDigest")

    def test_a_list_of_keys(self):
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"x")
        body = b"<Delete><Object><Key>kept</Key></Object></Delete>"
        wrong = base64.b64encode(bytes(16)).decode()
        reply = raw.request(daemon, "POST", f"/{BUCKET}", {"content-md5": wrong}, body, query={"delete": ""})
        self.assertEqual((reply.status, reply.error()["Code"]), (400, "BadDigest"))
        s3.head_object(Bucket=BUCKET, Key="kept")
