"""The contract of server-side encryption as S3 clients rely on it: its rows, and what their tests share.

Each row has one test, with the row's number in its name, in the module of the feature it is about:
`test_contract_encryption` (what PUT, GET, HEAD, COPY and DELETE do), `_bucket_encryption`, `_ceph`, and, where a
feature is needed to see the row, `_post`, `_multipart`, `_attributes`, `_versioning`, `_kms`, `_policy`, `_archive`.

    4.1  What each operation takes and answers
     01  PutObject takes all encryption headers and answers with those that apply
     02  a POST form takes them as fields
     03  GetObject and HeadObject take a customer key, and show what protects the object
     04  GetObjectAttributes takes a customer key and shows nothing
     05  CopyObject takes one encryption for the target and a customer key for the source
     06  CreateMultipartUpload takes all of them
     07  UploadPart takes the customer key; the managed header need not be repeated
     08  UploadPartCopy takes the upload's customer key and the source's
     09  CompleteMultipartUpload needs no key and never answers with customer headers
     10  ListParts needs no key
     11  abort, delete, restore, tagging and ACL take no encryption header
     12  UpdateObjectEncryption names the new encryption in its body
     13  an ETag is the MD5 of a managed object, fresh on every write of any other, and `-N` of N parts
     14  no reply holds a customer key; customer objects never show the managed header
     15  checksums are of the plaintext, under customer keys too

    4.2  Customer keys
     01  together with the managed header: refused
     02  an algorithm other than AES256: refused
     03  no algorithm        04  no key        05  no MD5 of the key
     06  a key that is not 32 bytes in base64
     07  an MD5 that is another key's
     08  a read without the key        09  with another key        10  the same by HEAD: the status alone
     11  a version read with the key of another version
     12  a copy whose source needs a key that is not there
     13  a copy of a customer object that asks for nothing gets the bucket's default
     14  a key for an object that has none
     15  a part without the upload's key
     16  a part with a key where the upload has none
     17  a part with another key
     18  a rotation in place with the same wrong key twice
     19  over plain HTTP
     20  a write where customer keys are blocked, whatever the key
     21  the managed header on a read
     22  a part number that a customer object does not have
     23  a copy onto itself that changes nothing
     24  another key, to clients of ceph
     25  presigned URLs: the headers are signed, and sent by who uses the URL
     26  a key in a query string
     27  deleting and listing need no key

    4.3  Managed keys and key ids
     01  an unknown encryption        02  a key id with AES256        03  a key id alone
     04  aws:kms with a customer key
     05  an unknown key id        06  a disabled key        07  a key pending deletion
     08  no permission for the key: the bucket's policy says who may name which, 4.5 06
     09  the key service is away        10  no key service configured

    4.4  Default encryption of a bucket
     01  what is put is what is got
     02  deleting it is idempotent and goes back to the default of defaults
     03  none or two rules        04  a key id is not looked for when it is put
     05  a new bucket        06  a new bucket, to clients of ceph
     07  a key id with AES256        08  no bucket        09  a body that is not the schema's
     10  headers win over the default        11  objects that are there stay as they are
     12  UpdateObjectEncryption re-wraps in place, and its refusals
     13  customer keys blocked and opened per bucket

    4.5  Encryption in bucket policies
     01  the condition keys see what the request says        02  encryption mandated
     03  the bucket's default is no header: it does not satisfy a mandate
     04  customer keys mandated        05  customer keys forbidden        06  one key id mandated
     07  the IfExists operators let a missing header pass
     08  a multipart upload is judged when it is created

    4.6  Versions, storage classes, archive
     01  each version has a key of its own
     02  storage classes are kept and shown        03  an unknown storage class
     04  reading what is archived        05  copying what is archived        06  HEAD of what is archived
     07  restoring: first, again, and of what is not archived
     08  restoring takes no key; reading the restored copy does
     09  archived and without its key: the archive is what is answered
     10  a transition keeps the encryption
"""

import base64
import hashlib
import os
import unittest

import raw

SSE = "x-amz-server-side-encryption"
KMS_KEY = f"{SSE}-aws-kms-key-id"
CONTEXT = f"{SSE}-context"
BUCKET_KEY = f"{SSE}-bucket-key-enabled"
ALGORITHM, KEY, KEY_MD5 = (f"{SSE}-customer-{name}" for name in ("algorithm", "key", "key-MD5"))
COPY_SOURCE = "x-amz-copy-source"
SOURCE_ALGORITHM, SOURCE_KEY, SOURCE_KEY_MD5 = (
    f"x-amz-copy-source-server-side-encryption-customer-{name}" for name in ("algorithm", "key", "key-MD5")
)

NEEDS = "Requests specifying Server Side Encryption with Customer provided keys must "
INCOMPATIBLE = (
    "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
)
NO_ALGORITHM = NEEDS + "provide a valid encryption algorithm."
NO_KEY = NEEDS + "provide an appropriate secret key."
NO_MD5 = NEEDS + "provide the client calculated MD5 of the secret key."
WRONG_KEY = NEEDS + "provide the correct secret key."
NOT_SECURE = NEEDS + "be made over a secure connection."
WRONG_ALGORITHM = "The Encryption request you specified is not valid. Supported value: AES256."
INVALID_KEY = "The secret key was invalid for the specified algorithm."
OTHER_MD5 = "The calculated MD5 hash of the key did not match the hash that was provided."
STORED_ENCRYPTED = (
    "The object was stored using a form of Server Side Encryption."
    " The correct parameters must be provided to retrieve the object."
)
NOT_APPLICABLE = "The encryption parameters are not applicable to this object."
OTHER_THAN_ORIGINALLY = "The provided encryption parameters did not match the ones used originally."
PART_NEEDS_KEY = (
    "The multipart upload initiate requested encryption."
    " Subsequent part requests must include the appropriate encryption parameters."
)
ONTO_ITSELF = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's"
    " metadata, storage class, website redirect location or encryption attributes."
)
NEEDS_KMS_HEADER = (
    "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
)
NOT_THE_SCHEMA = "The XML you provided was not well-formed or did not validate against our published schema"
# What an argument error about a customer key names, whichever of its headers is meant.
ARGUMENT = {"ArgumentName": SSE, "ArgumentValue": "null"}
# Elements that every error may have.
ALWAYS = {"Code", "Message", "Resource", "RequestId", "HostId"}


def encoded(data):
    return base64.b64encode(data).decode()


def customer(key):
    """The headers of a customer key."""
    return {ALGORITHM: "AES256", KEY: encoded(key), KEY_MD5: encoded(hashlib.md5(key).digest())}


def source_customer(key):
    """The headers of the customer key of a copy's source."""
    return {name.replace(SSE, f"x-amz-copy-source{SSE.removeprefix('x-amz')}"): value for name, value in customer(key).items()}


def without(headers, *names):
    return {name: value for name, value in headers.items() if name not in names}


class Contract(unittest.TestCase):
    """Calls of one daemon, each reply searched for every customer key the test ever used."""

    daemon = None
    bucket = "contract"

    def setUp(self):
        self.keys = []

    def key(self):
        self.keys.append(os.urandom(32))
        return self.keys[-1]

    def call(self, method, path, headers=None, body=b"", query=None, **more):
        return self.searched(raw.request(self.daemon, method, path, headers, body, query, **more))

    def searched(self, reply):
        whole = repr(reply.headers).encode() + reply.body
        for key in self.keys:
            for form in (key, encoded(key).encode(), key.hex().encode()):
                self.assertNotIn(form, whole, "the reply holds a customer key")
        return reply

    def put(self, name, body=b"test", headers=None):
        reply = self.call("PUT", self.path(name), headers, body)
        self.assertEqual(reply.status, 200, reply.body)
        return reply

    def path(self, name):
        return f"/{self.bucket}/{name}"

    def copy(self, source, target, headers=None):
        return self.call("PUT", self.path(target), {COPY_SOURCE: self.path(source)} | (headers or {}))

    def post(self, name, fields, body=b"test"):
        """A signed form whose policy lets every field of it pass."""
        client = self.daemon.client(signature_version="s3v4")
        form = client.generate_presigned_post(
            self.bucket, name, Fields=dict(fields), Conditions=[{field: value} for field, value in fields.items()]
        )
        boundary = os.urandom(16).hex()
        lines = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, value in form["fields"].items()
        ]
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
            "Content-Type: text/plain\r\n\r\n"
        )
        data = "".join(lines).encode() + body + f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(data)),
            "Host": form["url"].split("/")[2],
        }
        return self.searched(raw.send(self.daemon, "POST", form["url"], headers, data))

    def shows(self, reply, encryption, status=200):
        """That the reply names the encryption: None, "AES256", or a customer key."""
        self.assertEqual(reply.status, status, reply.body)
        shown = {name: value for name, value in reply.headers.items() if name.startswith(SSE)}
        if isinstance(encryption, bytes):
            expected = {ALGORITHM: "AES256", KEY_MD5.lower(): encoded(hashlib.md5(encryption).digest())}
        else:
            expected = {SSE: encryption} if encryption else {}
        self.assertEqual(shown, expected)

    def refused(self, reply, status, code, message, **elements):
        """Status, code, the message to the letter, and exactly these elements beside those of every error."""
        self.assertEqual(reply.status, status, reply.body)
        self.assertEqual(reply.headers["content-type"], "application/xml")
        error = reply.error()
        self.assertEqual((error["Code"], error["Message"]), (code, message))
        self.assertTrue(error["RequestId"] and error["HostId"])
        self.assertEqual({name: error[name] for name in error if name not in ALWAYS}, elements)

    def refused_bare(self, reply, status):
        """A refusal by HEAD has no body."""
        self.assertEqual((reply.status, reply.body), (status, b""))

    def etag(self, reply):
        return reply.headers["etag"].strip('"')

    def reads(self, name, body, headers=None, query=None):
        reply = self.call("GET", self.path(name), headers, query=query)
        self.assertEqual((reply.status, reply.body == body), (200, True), reply.body[:500])
        return reply
