"""The fixed inputs of vectors and worked examples, and the list the cases are added to."""

import rules
from format1 import *

DK = bytes(range(0x00, 0x20))
SALT = bytes(range(0x20, 0x40))
SECRET = bytes(range(0x40, 0x60))
SECRET_2 = bytes(range(0x50, 0x70))
CUSTOMER = bytes(range(0x60, 0x80))
BUCKET = bytes(range(0x80, 0x90))
INSTANCE = bytes(range(0x90, 0xA0))
RECORD_SALT = bytes(range(0xA0, 0xC0))
KEY_FILE = bytes(range(0xC0, 0xE0))
OTHER_ID = bytes(range(0xE0, 0xF0))
OTHER_KEY = sha256(b"another key")
OTHER_SALT = sha256(b"another salt")
ROOT_A = (bytes([0x0A]) * 16, 1, 1, sha256(b"master key a"))
ROOT_B = (bytes([0x0B]) * 16, 3, 2, sha256(b"master key b"))
OBJECT_KEY = "photos/käse.jpg".encode()
KMS_KEY = ROOT_A[0].hex().encode()
KMS_CONTEXT = rescue.encryption_context([(b"aws:s3:arn", b"arn:aws:s3:::photos"), (b"dept", b"9")])
HEAD = list_bytes(
    b"SROH",
    [
        (b":created", le64(1_700_000_000_000)),
        (b"content-type", b"image/jpeg"),
        (b"x-amz-meta-city", "Zürich".encode()),
    ],
)
ATTRS = list_bytes(b"SRAT", [(b"etag-md5", hashlib.md5(b"hello").digest())])
BLOCK_EDGES = [0, 1, 15, 16, 17, 1007, 1008, 1023, 1024, 1025, 1040]
SEGMENT_EDGES = [65519, 65520, 65521, 65535, 65536, 65537, 65551, 65552, 65553]
FAR_EDGES = [131071, 131072, 3 * 1024 * 1024 + 7]

VECTORS = {}


def vector(name, kind, expect, about, *fields):
    assert name not in VECTORS, name
    VECTORS[name] = [("expect", expect), ("kind", kind), ("about", about), ("rules", rules.shown_by(name)), *fields]


def flip(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def put(data, at, new):
    return data[:at] + new + data[at + len(new) :]
