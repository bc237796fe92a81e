"""Random operations of several clients against a small reference model, with versions, kills and restarts.

STRONGROOM_MODEL_ROUNDS and STRONGROOM_MODEL_SEED make it longer, and the same again.
"""

import os
import random
import threading
import time
import unittest

from botocore.exceptions import BotoCoreError, ClientError

from daemon import Daemon

ROUNDS = int(os.environ.get("STRONGROOM_MODEL_ROUNDS", "4"))
SEED = int(os.environ.get("STRONGROOM_MODEL_SEED", "0")) or random.randrange(1 << 32)
BUCKET, CLIENTS, KEYS, OPERATIONS = "model", 4, 3, 40
CUSTOMER = bytes(range(32))
MARKER = object()


def setUpModule():
    global daemon
    daemon = Daemon()
    daemon.stop()
    with (daemon.dir / "strongroom.toml").open("a") as settings:
        settings.write("\n[multipart]\nsmallest_part = 1\n")
    daemon.start()
    daemon.client().create_bucket(Bucket=BUCKET)


def tearDownModule():
    daemon.close()


def ssec(on):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER} if on else {}


class Unknown(Exception):
    """The daemon was killed: whether the operation took effect is not known."""


class Client:
    """One client and the keys that are its own; `history` has the versions of each, the newest first."""

    def __init__(self, name, seed):
        self.random = random.Random(seed)
        self.keys = [f"{name}/{n}" for n in range(KEYS)]
        self.history = {key: [] for key in self.keys}
        self.maybe = None

    # What the reference model says.

    def wrote(self, history, version, content, versioning):
        """The history after a write or a marker; off and suspended, it takes the place of the null version."""
        if versioning == "Enabled":
            return [(version, content)] + history
        kept = [entry for entry in history if entry[0] != "null"]
        if content is MARKER and versioning is None:
            return kept
        return [("null", content)] + kept

    def current(self, key):
        history = self.history[key]
        return history[0][1] if history and history[0][1] is not MARKER else None

    # What is done and expected.

    def run(self, s3, versioning):
        self.s3, self.versioning, self.failure = s3, versioning, None
        try:
            for _ in range(OPERATIONS):
                key = self.random.choice(self.keys)
                operation = self.random.choice(
                    (self.put, self.put, self.parts, self.copy, self.delete, self.remove, self.get, self.get_version, self.listed)
                )
                operation(key)
        except Unknown:
            pass
        except BaseException as failure:
            self.failure = failure

    def call(self, operation, **arguments):
        try:
            return getattr(self.s3, operation)(Bucket=BUCKET, **arguments)
        except ClientError as refused:
            if refused.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise Unknown from refused
            raise
        except BotoCoreError as lost:
            raise Unknown from lost

    def change(self, key, content, write):
        self.maybe = (key, content)
        version = write().get("VersionId", "null")
        self.history[key] = self.wrote(self.history[key], version, content, self.versioning)
        self.maybe = None

    def content(self):
        size = self.random.choice((0, 1, 100, 20_000, 70_000, 200_000))
        return self.random.randbytes(size), self.random.random() < 0.3

    def put(self, key):
        body, customer = self.content()
        self.change(key, (body, customer), lambda: self.call("put_object", Key=key, Body=body, **ssec(customer)))

    def parts(self, key):
        bodies, customer = [self.content()[0] + b"." for _ in range(self.random.randint(1, 3))], self.random.random() < 0.3
        upload = {"Key": key, "UploadId": self.call("create_multipart_upload", Key=key, **ssec(customer))["UploadId"]}
        listed = []
        for number, body in self.random.sample(list(enumerate(bodies, 1)), len(bodies)):
            reply = self.call("upload_part", **upload, PartNumber=number, Body=body, **ssec(customer))
            listed.append({"PartNumber": number, "ETag": reply["ETag"]})
        if self.random.random() < 0.2:
            self.call("abort_multipart_upload", **upload)
            return
        whole = {"Parts": sorted(listed, key=lambda part: part["PartNumber"])}
        complete = lambda: self.call("complete_multipart_upload", **upload, MultipartUpload=whole)
        self.change(key, (b"".join(bodies), customer), complete)

    def copy(self, key):
        source = self.random.choice(self.keys)
        found = self.current(source)
        if found is None or source == key or found[1]:
            return
        customer = self.random.random() < 0.3
        copy = lambda: self.call("copy_object", Key=key, CopySource=f"{BUCKET}/{source}", **ssec(customer))
        self.change(key, (found[0], customer), copy)

    def delete(self, key):
        self.change(key, MARKER, lambda: self.call("delete_object", Key=key))

    def remove(self, key):
        if not self.history[key]:
            return
        version, _ = self.random.choice(self.history[key])
        self.maybe = (key, version)
        self.call("delete_object", Key=key, VersionId=version)
        self.history[key] = [entry for entry in self.history[key] if entry[0] != version]
        self.maybe = None

    def get(self, key, version=None, content=None):
        found = content if version else self.current(key)
        named = {"VersionId": version} if version else {}
        if found is None:
            try:
                self.call("get_object", Key=key)
            except ClientError as refused:
                assert refused.response["Error"]["Code"] == "NoSuchKey", refused
                return
            raise AssertionError(f"{key} should not be there")
        body, customer = found
        try:
            read = self.call("get_object", Key=key, **named, **ssec(customer))["Body"].read()
        except (BotoCoreError, OSError) as lost:
            raise Unknown from lost
        assert read == body, f"{key} {version}: {len(read)} bytes for {len(body)}"

    def get_version(self, key):
        objects = [entry for entry in self.history[key] if entry[1] is not MARKER]
        if objects:
            self.get(key, *self.random.choice(objects))

    def listed(self, key):
        found = self.found(key)
        assert found == [(version, content is MARKER) for version, content in self.history[key]], (key, found)

    def found(self, key):
        page = self.call("list_object_versions", Prefix=key)
        versions = [(entry, False) for entry in page.get("Versions", [])]
        markers = [(entry, True) for entry in page.get("DeleteMarkers", [])]
        # The two lists of a reply are put together again by what they hide: the newest is said to be so.
        found = {entry["VersionId"]: marker for entry, marker in versions + markers}
        latest = [entry["VersionId"] for entry, _ in versions + markers if entry["IsLatest"]]
        expected = [version for version, _ in self.history[key]]
        ordered = [version for version in expected if version in found]
        assert latest == ordered[:1] or set(found) != set(expected), (key, latest, ordered)
        return [(version, found[version]) for version in ordered] + [
            (version, marker) for version, marker in found.items() if version not in expected
        ]

    def settle(self, s3):
        """After a restart: what was not known is one or the other, and nothing else."""
        self.s3 = s3
        if self.maybe is None:
            return
        (key, what), self.maybe = self.maybe, None
        before = self.history[key]
        page = self.call("list_object_versions", Prefix=key)
        there = {e["VersionId"]: e for e in page.get("Versions", []) + page.get("DeleteMarkers", [])}
        if isinstance(what, str):
            if what not in there:
                self.history[key] = [entry for entry in before if entry[0] != what]
            return
        new = [version for version in there if version not in [entry[0] for entry in before]]
        assert len(new) <= 1, (key, new)
        after = self.wrote(before, new[0] if new else "null", what, self.versioning)
        if new or self.versioning != "Enabled" and self.is_there(key, after, s3):
            self.history[key] = after

    def is_there(self, key, history, s3):
        kept, self.history[key] = self.history[key], history
        try:
            self.listed(key)
            self.get(key)
            return True
        except (AssertionError, ClientError):
            return False
        finally:
            self.history[key] = kept


class Model(unittest.TestCase):
    def test_random_histories_with_kills(self):
        print(f"seed {SEED}", flush=True)
        chance = random.Random(SEED)
        clients = [Client(f"c{n}", chance.randrange(1 << 32)) for n in range(CLIENTS)]
        versioning = None
        for _ in range(ROUNDS):
            s3 = daemon.client(max_pool_connections=CLIENTS * 2)
            threads = [threading.Thread(target=client.run, args=(s3, versioning)) for client in clients]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.2, 5))
            daemon.stop(9)
            for thread in threads:
                thread.join()
            for client in clients:
                if client.failure:
                    raise client.failure
            daemon.start()
            s3 = daemon.client()
            for client in clients:
                client.settle(s3)
                for key in client.keys:
                    client.listed(key)
                    client.get(key)
                    for version, content in client.history[key]:
                        if content is not MARKER:
                            client.get(key, version, content)
            versioning = chance.choice(("Enabled", "Enabled", "Suspended"))
            s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": versioning})


if __name__ == "__main__":
    unittest.main()
