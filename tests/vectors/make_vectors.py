#!/usr/bin/env python3
"""Makes the vectors of format 1 and the worked examples of docs/FORMAT.md.

    make_vectors.py            write tests/vectors/*.vec and the examples in docs/FORMAT.md
    make_vectors.py --check    compare both with what is there, and run the rescue tool's reader over every vector
"""

import io
import sys

import check
import page
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
    VECTORS[name] = [("expect", expect), ("kind", kind), ("about", about), *fields]


def flip(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def put(data, at, new):
    return data[:at] + new + data[at + len(new) :]


# -- blobs -----------------------------------------------------------------------------------------------------


def blob_fields(suite, part, length):
    return [("data-key", DK), ("suite", suite), ("part", part), ("salt", SALT), ("plain-len", length)]


def blob_ok(suite, part, length):
    plain = pattern(length)
    sealed = seal_blob(DK, suite, part, SALT, plain)
    fields = blob_fields(suite, part, length)
    if len(sealed) <= 2048:
        fields.append(("sealed", sealed))
    fields += [("sealed-len", len(sealed)), ("sealed-sha256", sha256(sealed)), ("plain-sha256", sha256(plain))]
    name = "blob-%d-len-%d" % (suite, length) + ("-part-%d" % part if part else "")
    vector(name, "blob", "ok", "%d bytes in suite %d, part %d" % (length, suite, part), *fields)


def blob_raw(name, expect, about, sealed, *more, key=DK):
    vector("blob-" + name, "blob", expect, about, ("data-key", key), *more, ("sealed", sealed))


def blob_recipe(name, expect, about, suite, length, pieces, *more):
    """A large blob put together from pieces of blob a and blob b."""
    plain = pattern(length)
    blobs = {"a": seal_blob(DK, suite, 0, SALT, plain)}
    fields = dict(more)
    if "b-salt" in fields:
        blobs["b"] = seal_blob(
            fields.get("b-data-key", DK), suite, fields.get("b-part", 0), fields["b-salt"], pattern(fields["b-plain-len"])
        )
    out = check.pieces(pieces, blobs)
    vector("blob-" + name, "blob", expect, about, *blob_fields(suite, 0, length), *more, ("pieces", pieces),
           ("sealed-len", len(out)), ("sealed-sha256", sha256(out)))


def forged(suite, padded, final=1, fx=None):
    """A blob whose tags are right and whose content no writer makes."""
    fx = fx or fx_bytes(suite, 0)
    keys = subkeys(DK, SALT, fx)
    return header_bytes(DK, SALT, fx) + seal_segment(keys, suite, 0, final, padded, padded=padded)


def blobs():
    for suite in (0, 1, 2):
        for length in BLOCK_EDGES + SEGMENT_EDGES + FAR_EDGES:
            blob_ok(suite, 0, length)
        for part in (1, 7, 10000):
            blob_ok(suite, part, 1025)
    vector("example-blob-1-hello", "blob", "ok", "the worked example", *hello(1))
    vector("example-blob-0-hello", "blob", "ok", "the worked example", *hello(0))
    vector("example-blob-2-hello", "blob", "ok", "the worked example", *hello(2))

    blob = seal_blob(DK, 1, 0, SALT, pattern(17))
    # F-26, step 1
    blob_raw("bad-empty", "malformed", "no byte at all", b"")
    blob_raw("bad-79-bytes", "malformed", "one byte less than a header", blob[:79])
    for at in (0, 7):
        blob_raw("bad-magic-byte-%d" % at, "malformed", "wrong magic", flip(blob, at, 0x20))
    # step 2
    blob_raw("bad-format-0", "unsupported", "format 0", put(blob, 8, b"\0"))
    blob_raw("bad-format-2", "unsupported", "format 2", put(blob, 8, b"\2"))
    blob_raw("bad-suite-3", "unsupported", "suite 3", put(blob, 9, b"\3"))
    blob_raw("bad-suite-255", "unsupported", "suite 255", put(blob, 9, b"\xff"))
    blob_raw("bad-suite-before-segment-byte", "unsupported", "an unknown suite is named before a wrong segment byte", put(blob, 9, b"\3\x0f"))
    blob_raw("bad-suite-3-header-only", "unsupported", "an unknown suite is named before a missing segment", put(blob, 9, b"\3")[:80])
    # step 3
    for value in (0, 15, 17):
        blob_raw("bad-segment-byte-%d" % value, "malformed", "segment size other than 2^16", put(blob, 10, bytes([value])))
    for suite, lanes in ((1, 0), (1, 5), (1, 7), (0, 6), (2, 6), (0, 1)):
        one = seal_blob(DK, suite, 0, SALT, pattern(17))
        blob_raw("bad-lanes-%d-in-suite-%d" % (lanes, suite), "malformed", "lanes byte of another suite", put(one, 11, bytes([lanes])))
    for part in (10001, 65536 + 1, 0xFFFFFFFF):
        fx = fx_bytes(1, part)
        blob_raw("bad-part-%d" % part, "malformed", "a part above 10,000, committed to", forged(1, pad(b"x"), fx=fx))
    # step 4
    for suite in (0, 1, 2):
        one = seal_blob(DK, suite, 0, SALT, b"")
        blob_raw("bad-header-only-suite-%d" % suite, "malformed", "no segment", one[:80])
        blob_raw("bad-15-bytes-of-segment-suite-%d" % suite, "malformed", "less than a tag", one[:95])
    blob_raw("bad-tag-only-suite-1", "malformed", "a last segment without a padding block", blob[:96])
    blob_raw("bad-last-31-suite-1", "malformed", "31 bytes of last segment", blob[:111])
    for cut in (1, 8, 15):
        blob_raw("bad-last-mod-16-minus-%d" % cut, "malformed", "last segment not in whole blocks", blob[:-cut])
    blob_raw("bad-one-byte-more", "malformed", "a byte behind the last segment", blob + b"\0")
    for suite in (0, 2):
        blob_recipe("bad-last-65552-suite-%d" % suite, "malformed", "the last segment is full", suite, 65536, "a:0+65632")
        blob_recipe("bad-last-15-suite-%d" % suite, "malformed", "one full segment and less than a tag", suite, 65536, "a:0+65647")
    blob_recipe("bad-second-segment-16-suite-1", "malformed", "a last segment without a padding block", 1, 65536, "a:0+65648")
    # step 4 before step 5
    blob_raw("bad-length-before-commitment", "malformed", "a wrong length is named before a wrong key", blob[:-1], key=OTHER_KEY)
    # step 5
    blob_raw("bad-data-key", "unauthentic", "another data key", blob, key=OTHER_KEY)
    blob_raw("bad-salt-bit", "unauthentic", "a bit of the salt", flip(blob, 16))
    for at in (48, 79):
        blob_raw("bad-commit-byte-%d" % at, "unauthentic", "a bit of the commitment", flip(blob, at))
    blob_raw("bad-part-bit", "unauthentic", "the number of another part", flip(blob, 12))
    blob_raw("bad-suite-0-for-2", "unauthentic", "the suite is under the commitment", put(seal_blob(DK, 0, 0, SALT, pattern(17)), 9, b"\2"))
    header = header_bytes(DK, SALT, fx_bytes(1, 0))
    blob_raw("bad-zero-commit", "unauthentic", "a commitment of zeros", put(blob, 48, bytes(32)))
    # step 6
    for suite in (0, 1, 2):
        one = seal_blob(DK, suite, 0, SALT, pattern(17))
        blob_raw("bad-first-byte-suite-%d" % suite, "unauthentic", "a bit of the first sealed byte", flip(one, 80))
        blob_raw("bad-tag-first-bit-suite-%d" % suite, "unauthentic", "a bit of the tag", flip(one, len(one) - 16, 0x80))
        blob_raw("bad-tag-last-bit-suite-%d" % suite, "unauthentic", "a bit of the tag", flip(one, len(one) - 1))
        blob_raw("bad-final-flag-suite-%d" % suite, "unauthentic", "a last segment sealed as if it were not the last",
                 forged(suite, pad(b"hello") if suite == 1 else b"hello", final=0))
        last = {0: 23, 1: 32, 2: 23}[suite]
        size = 131079
        end = 80 + 2 * 65552
        for name, about, pieces in (
            ("segments-swapped", "segments 0 and 1 swapped", "a:0+80 a:65632+65552 a:80+65552 a:%d+%d" % (end, last)),
            ("segment-0-dropped", "segment 0 dropped", "a:0+80 a:65632+65552 a:%d+%d" % (end, last)),
            ("segment-1-dropped", "segment 1 dropped", "a:0+65632 a:%d+%d" % (end, last)),
            ("segment-0-twice", "segment 0 duplicated", "a:0+65632 a:80+65552 a:65632+65552 a:%d+%d" % (end, last)),
            ("segment-0-for-1", "segment 0 in the place of segment 1", "a:0+65632 a:80+65552 a:%d+%d" % (end, last)),
        ):
            blob_recipe("bad-%s-suite-%d" % (name, suite), "unauthentic", about, suite, size, pieces)
        other = [("b-salt", OTHER_SALT), ("b-plain-len", size)]
        blob_recipe("bad-segment-of-another-blob-suite-%d" % suite, "unauthentic", "segment 1 of another blob under the same data key",
                    suite, size, "a:0+65632 b:65632+65552 a:%d+%d" % (end, last), *other)
        blob_recipe("bad-header-of-another-blob-suite-%d" % suite, "unauthentic", "the header of another blob under the same data key",
                    suite, size, "b:0+80 a:80+%d" % (end - 80 + last), *other)
        part = [("b-salt", SALT), ("b-plain-len", size), ("b-part", 2)]
        blob_recipe("bad-segment-of-another-part-suite-%d" % suite, "unauthentic", "segment 1 of another part",
                    suite, size, "a:0+65632 b:65632+65552 a:%d+%d" % (end, last), *part)
    blob_recipe("bad-cut-at-segment-suite-1", "unauthentic", "cut at a segment boundary: a full segment does not pose as the last", 1, 131072, "a:0+131184")
    blob_recipe("bad-last-shorter-suite-1", "unauthentic", "the last segment one block shorter", 1, 65536 + 100, "a:0+65728 a:65744+16")
    blob_recipe("bad-full-last-as-middle", "unauthentic", "a last segment of full size with more behind it", 1, 65535, "a:0+65632 b:65632+32",
                ("b-salt", SALT), ("b-plain-len", 65536))
    # step 7
    for name, padded in (
        ("00", bytes(16)),
        ("17", bytes([17]) * 32),
        ("ff", b"\xff" * 16),
        ("unequal-first", bytes([3]) + bytes([16]) * 15),
        ("unequal-near-end", b"x" * 12 + bytes([4, 4, 5, 4])),
        ("zeros-then-count", b"x" * 10 + bytes(5) + bytes([6])),
    ):
        blob_raw("bad-padding-" + name, "unauthentic", "padding that no writer makes, under a right tag", forged(1, padded))
    # F-83
    for name, expect, part, length, salt, suite in (
        ("ok", "ok", 0, 17, SALT, 1),
        ("other-part", "unauthentic", 1, 17, SALT, 1),
        ("other-length", "unauthentic", 0, 33, SALT, 1),
        ("other-salt", "unauthentic", 0, 17, OTHER_SALT, 1),
        ("other-suite", "unauthentic", 0, 17, SALT, 0),
    ):
        more = [("plain-len", 17)] if expect == "ok" else []
        blob_raw("entry-" + name, expect, "read for a manifest entry", blob, ("entry", "%d %d %s %d" % (part, length, salt.hex(), suite)), *more)


def hello(suite):
    plain = b"hello"
    sealed = seal_blob(DK, suite, 0, SALT, plain)
    return [("data-key", DK), ("suite", suite), ("part", 0), ("salt", SALT), ("plain", plain), ("sealed", sealed)]


# -- data key records ------------------------------------------------------------------------------------------

CONTEXTS = {
    1: dict(object_key=OBJECT_KEY),
    2: dict(object_key=OBJECT_KEY),
    3: dict(object_key=OBJECT_KEY, kms_key_id=KMS_KEY, encryption_context=KMS_CONTEXT),
    4: dict(object_key=OBJECT_KEY),
    5: dict(),
}


def record_case(mode, state=1, generation=1, secret=SECRET, kek_id=BUCKET, digest=None, **change):
    """Inputs and bytes of a record, and the fields that describe it."""
    extra = dict(CONTEXTS[mode], **{k: v for k, v in change.items() if k in ("object_key", "kms_key_id", "encryption_context")})
    bucket = bytes(16) if mode == 5 else BUCKET
    if mode == 5:
        generation, state = 0, 2
    context = rescue.context_bytes(mode, bucket, INSTANCE, **extra)
    kek = KEY_FILE if mode == 5 else bucket_kek(secret, kek_id, generation)[0]
    if digest is None:
        digest = sha256(b"manifest") if state == 1 else bytes(32)
    customer = CUSTOMER if mode == 2 else None
    record = data_key_record(kek, DK, context, state, generation, RECORD_SALT, digest, customer)
    fields = [("kek", kek)] if mode == 5 else [("secret", secret), ("kek-id", kek_id), ("kek-generation", generation)]
    fields += [("mode", mode), ("bucket", bucket), ("instance", INSTANCE)]
    fields += [(k.replace("_", "-"), v) for k, v in extra.items()]
    if customer:
        fields.append(("customer-key", customer))
    outcome = [("data-key", DK), ("state", state), ("generation", generation), ("salt", RECORD_SALT), ("digest", digest)]
    return fields, record, outcome


def record_ok(name, about, *more, **case):
    fields, record, outcome = record_case(**case)
    vector(name, "record", "ok", about, *fields, ("record", record), *outcome, *more)


def record_bad(name, expect, about, of=1, edit=None, error=None, case=None, **fields_change):
    fields, record, _ = record_case(of, **(case or {}))
    if edit:
        record = edit(record)
    fields = [(k, fields_change.get(k.replace("-", "_"), v)) for k, v in fields]
    fields += [(k.replace("_", "-"), v) for k, v in fields_change.items() if k.replace("_", "-") not in dict(fields)]
    vector("record-bad-" + name, "record", expect, about, *([("error", error)] if error else []),
           *[f for f in fields if f[1] is not None], ("record", record))


def records():
    record_ok("example-record-1-managed", "the worked example", mode=1)
    record_ok("example-record-2-customer", "the worked example", mode=2)
    record_ok("example-record-5-keyfile", "the worked example", mode=5)
    for mode, name in ((1, "managed"), (2, "customer"), (3, "kms"), (4, "plain")):
        for state, word in ((0, "upload"), (1, "complete"), (2, "no-manifest")):
            record_ok("record-%d-%s-%s" % (mode, name, word), "mode %d in state %d" % (mode, state), mode=mode, state=state)
        old = record_case(mode, state=1)[1]
        record_ok("record-%d-%s-rewrapped" % (mode, name), "the same data key under generation 2 of another secret: the salt stays",
                  ("from-record", old), ("from-secret", SECRET), ("from-generation", 1), mode=mode, generation=2, secret=SECRET_2)
        upload = record_case(mode, state=0)[1]
        record_ok("record-%d-%s-completed" % (mode, name), "an upload's record completed: prefix and commit anew, salt and W stay",
                  ("upload-record", upload), mode=mode)
    record_ok("record-5-keyfile", "a sealed file under a key file", mode=5)
    record_ok("record-1-direct-tier", "under a bucket key record of its own: instance id and generation 0", mode=1, generation=0, kek_id=INSTANCE)
    record_ok("record-1-empty-object-key", "an empty object key", mode=1, object_key=b"")
    record_ok("record-1-object-key-1024", "the longest S3 key", mode=1, object_key=bytes(range(1, 256)) * 4 + b"abcd")
    record_ok("record-1-object-key-not-utf8", "the key is bytes", mode=1, object_key=b"\xff\xfe\x00/..")
    record_ok("record-3-no-context", "mode 3 without an encryption context", mode=3, encryption_context=b"")
    record_ok("record-1-generation-max", "generation 2^32 - 1", mode=1, generation=0xFFFFFFFF)

    # F-51, step 1
    record_bad("empty", "malformed", "no byte", edit=lambda r: b"")
    for size in (147, 149, 187, 189):
        record_bad("length-%d" % size, "malformed", "neither 148 nor 188 bytes", edit=lambda r: (r + bytes(50))[:size])
    record_bad("magic", "malformed", "wrong magic", edit=lambda r: flip(r, 0))
    # step 2
    record_bad("version-0", "unsupported", "version 0", edit=lambda r: put(r, 4, b"\0"))
    record_bad("version-2", "unsupported", "version 2", edit=lambda r: put(r, 4, b"\2"))
    for mode in (0, 6, 7, 255):
        record_bad("mode-%d" % mode, "unsupported", "a mode that is reserved or unknown", edit=lambda r: put(r, 5, bytes([mode])))
    # step 3
    record_bad("zero-byte", "malformed", "the reserved byte", edit=lambda r: put(r, 7, b"\1"))
    record_bad("state-3", "malformed", "a state that does not exist", edit=lambda r: put(r, 6, b"\3"))
    record_bad("digest-in-state-0", "malformed", "a digest in state 0", case=dict(state=0, digest=sha256(b"x")))
    record_bad("digest-in-state-2", "malformed", "a digest in state 2", case=dict(state=2, digest=sha256(b"x")))
    record_bad("length-148-mode-2", "malformed", "148 bytes in mode 2", edit=lambda r: put(r, 5, b"\2"))
    record_bad("length-188-mode-1", "malformed", "188 bytes in mode 1", of=2, edit=lambda r: put(r, 5, b"\1"))
    # step 4
    record_bad("mode-3-for-1", "unauthentic", "the record's mode is not that of the catalog", edit=lambda r: put(r, 5, b"\3"))
    for mode in (2, 3, 4, 5):
        record_bad("read-as-mode-%d" % mode, "unauthentic", "the catalog says another mode", mode=mode)
    # step 6: what the commitment covers
    for name, at in (("state-bit", 6), ("generation-bit", 8), ("salt-bit", 12), ("digest-bit", 44), ("wrap-first-bit", 76),
                     ("wrap-last-bit", 115), ("commit-first-bit", 116), ("commit-last-bit", 147)):
        # the reader's key is the record's: it does not follow a forged generation
        case = dict(state=1) if name != "state-bit" else dict(state=2)
        record_bad(name, "unauthentic", "one bit", edit=lambda r: flip(r, at, 3 if name == "state-bit" else 1), case=case)
    record_bad("kek", "unauthentic", "another secret", secret=OTHER_KEY)
    record_bad("bucket", "unauthentic", "the record of another bucket's object", bucket=OTHER_ID)
    record_bad("instance", "unauthentic", "the record of another instance", instance=OTHER_ID)
    record_bad("object-key", "unauthentic", "the record of another object key", object_key=b"photos/other.jpg")
    record_bad("object-key-normalised", "unauthentic", "the key is not normalised", object_key="photos/ka\u0308se.jpg".encode())
    record_bad("kms-key-id", "unauthentic", "another KMS key", of=3, kms_key_id=ROOT_B[0].hex().encode())
    record_bad("kms-key-id-upper-case", "unauthentic", "the id is lower-case hex", of=3, kms_key_id=KMS_KEY.upper())
    record_bad("encryption-context", "unauthentic", "another encryption context", of=3, encryption_context=rescue.encryption_context([(b"dept", b"9")]))
    record_bad("encryption-context-absent", "unauthentic", "no encryption context", of=3, encryption_context=b"")
    record_bad("encryption-context-empty-list", "unauthentic", "an empty list is not an absent one", of=3,
               case=dict(encryption_context=b""), encryption_context=le16(0))
    record_bad("context-fields-shifted", "unauthentic", "the lengths are part of the context", of=3,
               object_key=OBJECT_KEY[:-1], kms_key_id=b"g" + KMS_KEY)
    # steps 7 to 9
    fields, _, _ = record_case(1)
    kek = bucket_kek(SECRET, BUCKET, 1)[0]
    h = context_hash(RECORD_SALT, rescue.context_bytes(1, BUCKET, INSTANCE, OBJECT_KEY))
    keys = kdf(kek, b"sr-wrap-1", h, 64)
    prefix = data_key_prefix(1, 2, 1, RECORD_SALT, bytes(32))
    bad = aes_key_wrap(OTHER_KEY, DK)
    vector("record-bad-wrap-under-commit", "record", "unauthentic", "W is not a wrap, the commitment is right",
           *fields, ("record", prefix + bad + mac(keys[32:], prefix + bad)))
    record_bad("customer-key", "unauthentic", "another customer key", of=2, error="wrong-customer-key", customer_key=OTHER_KEY)
    record_bad("customer-kek", "unauthentic", "the customer key alone opens nothing", of=2, secret=OTHER_KEY)
    h = context_hash(RECORD_SALT, rescue.context_bytes(2, BUCKET, INSTANCE, OBJECT_KEY))
    keys = kdf(kek, b"sr-wrap-1", h, 64)
    inner = kdf(CUSTOMER, b"sr-ssec-1", h, 64)
    prefix = data_key_prefix(2, 2, 1, RECORD_SALT, bytes(32))
    for name, payload, error in (
        ("inner-wrap", aes_key_wrap(OTHER_KEY, DK) + inner[32:], None),
        ("verifier", aes_key_wrap(inner[:32], DK) + flip(inner[32:], 0), "wrong-customer-key"),
    ):
        wrapped = aes_key_wrap(keys[:32], payload)
        fields, _, _ = record_case(2)
        vector("record-bad-" + name, "record", "unauthentic", "inside a right outer wrap", *([("error", error)] if error else []),
               *fields, ("record", prefix + wrapped + mac(keys[32:], prefix + wrapped)))


# -- bucket key records ----------------------------------------------------------------------------------------


def root_field(root):
    mk_id, version, strategy, key = root
    return ("root", "%s %d %d %s %s" % (mk_id.hex(), version, strategy, cka_id(mk_id, version).hex(), key.hex()))


def bucket_case(roots, generation=1, rev=1, state=1, secret=SECRET, bucket=BUCKET):
    record = bucket_record(secret, bucket, generation, rev, state, roots)
    fields = [("secret", secret), ("kek", bucket_kek(secret, bucket, generation)[0]), ("bucket", bucket),
              ("generation", generation), ("rev", rev), ("state", state)]
    return [root_field(r) for r in roots], record, fields


def bucket_ok(name, about, roots, **case):
    fields, record, outcome = bucket_case(roots, **case)
    vector(name, "bucket-record", "ok", about, *fields, ("record", record), *outcome)


def bucket_bad(name, expect, about, edit, roots=(ROOT_A, ROOT_B), error=None, readers=None, **case):
    fields, record, _ = bucket_case(roots, **case)
    if readers is not None:
        fields = [root_field(r) for r in readers]
    vector("bucket-record-bad-" + name, "bucket-record", expect, about, *([("error", error)] if error else []),
           *fields, ("record", edit(record)))


def bucket_records():
    root_c = (bytes([0x0C]) * 16, 0xFFFFFFFF, 1, sha256(b"master key c"))
    bucket_ok("example-bucket-record-1-wrap", "the worked example", [ROOT_A])
    bucket_ok("example-bucket-record-2-wraps", "the worked example", [ROOT_A, ROOT_B], generation=2, rev=3, state=2)
    bucket_ok("bucket-record-1-wrap-kwp", "one wrap by AES-KWP", [ROOT_B])
    bucket_ok("bucket-record-2-wraps", "two roots, either opens", [ROOT_A, ROOT_B])
    bucket_ok("bucket-record-3-wraps", "three roots, the highest version number", [ROOT_A, ROOT_B, root_c])
    bucket_ok("bucket-record-8-wraps", "eight roots", [(bytes([i]) * 16, i, 1 + i % 2, sha256(bytes([i]))) for i in range(1, 9)])
    for state, word in ((1, "active"), (2, "unwrap-only"), (3, "disabled"), (4, "shredded")):
        bucket_ok("bucket-record-state-%s" % word, "state %d, rev %d" % (state, state), [ROOT_A], state=state, rev=state)
    bucket_ok("bucket-record-direct-tier", "generation 0, the instance id in the place of the bucket id", [ROOT_A], bucket=INSTANCE, generation=0)
    bucket_ok("bucket-record-control-ring", "the bucket id of the control ring", [ROOT_A, ROOT_B], bucket=b"\xff" * 16)
    bucket_ok("bucket-record-large-numbers", "generation and rev at their ends", [ROOT_A], generation=0xFFFFFFFF, rev=0xFFFFFFFFFFFFFFFF)
    bucket_ok("bucket-record-other-master-version", "another version of the root: nothing but the wrap list differs", [(ROOT_A[0], 2, 1, sha256(b"a2"))])

    same = lambda r: r
    bucket_bad("empty", "malformed", "no byte", lambda r: b"")
    bucket_bad("length-159", "malformed", "a byte less than one wrap needs", lambda r: r[:-1], roots=[ROOT_A])
    bucket_bad("length-161", "malformed", "a byte behind the tag", lambda r: r + b"\0", roots=[ROOT_A])
    bucket_bad("one-wrap-missing", "malformed", "n says two wraps, one is there", lambda r: r[:128] + r[189:])
    bucket_bad("one-wrap-more", "malformed", "n says one wrap, two are there", lambda r: put(r, 66, b"\1"))
    bucket_bad("magic", "malformed", "wrong magic", lambda r: flip(r, 3))
    bucket_bad("version-2", "unsupported", "version 2", lambda r: put(r, 4, b"\2"))
    bucket_bad("no-wrap", "malformed", "n is 0", lambda r: put(r, 66, b"\0"))
    bucket_bad("9-wraps", "malformed", "n is 9", same, roots=[(bytes([i]) * 16, 1, 1, sha256(bytes([i]))) for i in range(1, 10)])
    bucket_bad("state-0", "malformed", "state 0", same, roots=[ROOT_A], state=0)
    bucket_bad("state-5", "malformed", "state 5", same, roots=[ROOT_A], state=5)
    bucket_bad("rev-0", "malformed", "rev begins at 1", same, roots=[ROOT_A], rev=0)
    bucket_bad("wraps-unsorted", "malformed", "wraps not in the order of mk_id", same, roots=[ROOT_B, ROOT_A])
    bucket_bad("root-twice", "malformed", "one root twice", same, roots=[ROOT_A, ROOT_A])
    for strategy in (0, 3):
        bucket_bad("strategy-%d" % strategy, "unsupported", "a strategy that does not exist", lambda r: put(r, 87, bytes([strategy])), roots=[ROOT_A])
    bucket_bad("master-key", "unauthentic", "another master key", same, roots=[ROOT_A], readers=[ROOT_A[:3] + (OTHER_KEY,)])
    bucket_bad("wrap-bit", "unauthentic", "a bit of the wrap", lambda r: flip(r, 90), roots=[ROOT_A])
    bucket_bad("kwp-wrap-bit", "unauthentic", "a bit of the wrap, AES-KWP", lambda r: flip(r, 90), roots=[ROOT_B])
    bucket_bad("check-bit", "unauthentic", "a bit of the check", lambda r: flip(r, 40), roots=[ROOT_A])
    bucket_bad("bucket-bit", "unauthentic", "the record of another bucket", lambda r: flip(r, 5), roots=[ROOT_A])
    bucket_bad("generation-bit", "unauthentic", "another generation", lambda r: flip(r, 21, 2), roots=[ROOT_A])
    bucket_bad("rev-bit", "unauthentic", "a forged rev counts as disabled", lambda r: flip(r, 25, 2), roots=[ROOT_A], error="disabled")
    bucket_bad("state-enabled", "unauthentic", "disabled turned into active counts as disabled", lambda r: put(r, 33, b"\1"), roots=[ROOT_A], state=3, error="disabled")
    bucket_bad("tag-bit", "unauthentic", "a bit of the tag counts as disabled", lambda r: flip(r, len(r) - 1), roots=[ROOT_A], error="disabled")


# -- manifests, lists, attributes ------------------------------------------------------------------------------


def small_entries(lengths, first):
    entries, start = [], 0
    for k, length in enumerate(lengths):
        entries.append((first + k, start, length, sha256(b"part" + le32(first + k))))
        start += length
    return entries


def entry_field(entry):
    part, start, length, salt = entry
    return ("entry", "%d %d %d %s" % (part, start, length, salt.hex()))


def manifest_ok(name, about, suite, entries, pattern_parts=None):
    total = sum(e[2] for e in entries)
    manifest = manifest_bytes(suite, total, HEAD, entries)
    fields = [("suite", suite), ("total", total), ("head", HEAD), ("digest", sha256(manifest)), ("manifest", manifest)]
    if pattern_parts:
        fields.append(("pattern-parts", pattern_parts))
    else:
        fields += [("page", p) for p in pages_of(entries)] + [entry_field(e) for e in entries]
    vector(name, "manifest", "ok", about, *fields)


def manifest_bad(name, expect, about, entries=None, total=None, edit=None, pages=None, digest=None, given_pages=None, head=HEAD):
    """The digest is that of the edited manifest unless given: what fails is the named rule."""
    entries = small_entries([5, 7], 1) if entries is None else entries
    pages = pages_of(entries) if pages is None else pages
    total = sum(e[2] for e in entries) % (1 << 64) if total is None else total
    manifest = manifest_bytes(1, total, HEAD, entries, pages)
    if edit:
        manifest = edit(manifest)
    vector("manifest-bad-" + name, "manifest", expect, about, ("head", head), ("digest", digest or sha256(manifest)),
           ("manifest", manifest), *[("page", p) for p in (pages if given_pages is None else given_pages)])


def manifests():
    one = [(0, 0, 5, SALT)]
    manifest_ok("example-manifest-1-part", "the worked example", 1, one)
    manifest_ok("example-manifest-129-parts", "the worked example: two pages", 1, pattern_entries(129), 129)
    manifest_ok("manifest-1-part-empty", "an empty object is one entry of length 0", 1, [(0, 0, 0, SALT)])
    manifest_ok("manifest-1-part-multipart", "a multipart object of one part", 1, [(10000, 0, 5, SALT)])
    for suite in (0, 2):
        manifest_ok("manifest-1-part-suite-%d" % suite, "suite %d" % suite, suite, one)
    manifest_ok("manifest-2-parts", "two parts", 1, small_entries([5 << 20, 7], 1))
    manifest_ok("manifest-2-parts-sparse", "part numbers need not be dense", 1, [(3, 0, 9, SALT), (9999, 9, 1, OTHER_SALT)])
    manifest_ok("manifest-2-parts-last-empty", "a part of no bytes", 1, small_entries([5, 0], 1))
    for count in (64, 128, 129, 10000):
        manifest_ok("manifest-%d-parts" % count, "%d parts" % count, 1, pattern_entries(count), count)

    manifest_bad("empty", "malformed", "no byte", edit=lambda m: b"")
    manifest_bad("short", "malformed", "cut within the fixed fields", edit=lambda m: m[:55])
    manifest_bad("cut", "malformed", "a page digest cut", edit=lambda m: m[:-1])
    manifest_bad("trailing", "malformed", "a byte behind the last digest", edit=lambda m: m + b"\0")
    manifest_bad("magic", "malformed", "wrong magic", edit=lambda m: flip(m, 2))
    manifest_bad("version-2", "unsupported", "version 2", edit=lambda m: put(m, 4, b"\2"))
    manifest_bad("suite-3", "unsupported", "suite 3", edit=lambda m: put(m, 5, b"\3"))
    for at in (6, 7):
        manifest_bad("zero-byte-%d" % at, "malformed", "a reserved byte", edit=lambda m: put(m, at, b"\1"))
    manifest_bad("no-parts", "malformed", "an object has at least one entry", entries=[], total=0)
    manifest_bad("parts-count", "malformed", "more parts than the page holds", edit=lambda m: put(m, 48, le32(3)))
    manifest_bad("pages-count", "malformed", "pages that do not follow from parts", edit=lambda m: put(m, 52, le32(2)) + bytes(32))
    manifest_bad("10001-parts", "malformed", "more than 10,000 parts", edit=lambda m: put(m, 48, le32(10001) + le32(79)) + bytes(78 * 32),
                 given_pages=[])
    manifest_bad("page-missing", "malformed", "a page is missing", given_pages=[])
    manifest_bad("page-short", "malformed", "a page is short", given_pages=[pages_of(small_entries([5, 7], 1))[0][:-1]])
    lone = pages_of(small_entries([5, 7], 1))
    manifest_bad("page-not-full", "malformed", "a page before the last that is not full", entries=pattern_entries(129),
                 pages=[pages_of(pattern_entries(129))[0][:-52], pages_of(pattern_entries(129))[0][-52:] + pages_of(pattern_entries(129))[1]])
    manifest_bad("digest", "unauthentic", "another manifest than the record's", digest=sha256(b"another"))
    manifest_bad("total-bit", "unauthentic", "the total under the record's digest", edit=lambda m: flip(m, 8),
                 digest=sha256(manifest_bytes(1, 12, HEAD, small_entries([5, 7], 1))))
    manifest_bad("page-bit", "unauthentic", "a bit of a page", given_pages=[flip(lone[0], 60)])
    manifest_bad("page-salt-bit", "unauthentic", "a bit of a salt", given_pages=[flip(lone[0], 51)])
    big = pages_of(pattern_entries(256))
    manifest_bad("pages-swapped", "unauthentic", "two pages swapped", entries=pattern_entries(256), given_pages=big[::-1])
    manifest_bad("head", "unauthentic", "another head", head=list_bytes(b"SROH", []))
    a, b = SALT, OTHER_SALT
    for name, about, entries, total in (
        ("parts-descend", "part numbers descend", [(2, 0, 5, a), (1, 5, 7, b)], 12),
        ("part-twice", "a part twice", [(1, 0, 5, a), (1, 5, 7, b)], 12),
        ("part-10001", "a part above 10,000", [(10001, 0, 5, a)], 5),
        ("part-0-among-others", "part 0 stands alone", [(0, 0, 5, a), (1, 5, 7, b)], 12),
        ("first-start", "the first start is 0", [(1, 1, 5, a)], 5),
        ("gap", "a gap between parts", [(1, 0, 5, a), (2, 6, 7, b)], 12),
        ("overlap", "parts that overlap", [(1, 0, 5, a), (2, 4, 7, b)], 12),
        ("total", "the parts do not add up", [(1, 0, 5, a), (2, 5, 7, b)], 13),
        ("sum-overflows", "the sum passes 2^64", [(1, 0, 1 << 63, a), (2, 1 << 63, 1 << 63, b)], 0),
    ):
        manifest_bad(name, "malformed", about, entries=entries, total=total)


def lists():
    pairs = [(b":created", le64(1_700_000_000_000)), (b"content-type", b"image/jpeg"), (b"x-amz-meta-city", "Zürich".encode())]
    attrs = [(b"etag-md5", hashlib.md5(b"hello").digest())]
    for kind, magic, example, entries in (("head", b"SROH", "example-head-1", pairs), ("attrs", b"SRAT", "example-attrs-1", attrs)):

        def ok(name, about, entries):
            vector(name, kind, "ok", about, ("list", list_bytes(magic, entries)),
                   *[("pair", "%s %s" % (n.decode(), v.hex())) for n, v in entries])

        def bad(name, expect, about, data):
            vector("%s-bad-%s" % (kind, name), kind, expect, about, ("list", data))

        ok(example, "the worked example", entries)
        ok(kind + "-empty", "no entry", [])
        ok(kind + "-empty-value", "an empty value", [(b"a", b"")])
        ok(kind + "-bytewise-order", "order is by bytes, a prefix first", [(b"-", b"1"), (b"0", b"2"), (b"a", b"3"), (b"a-b", b"4"), (b"aa", b"5"), (b"b", b"6")])
        ok(kind + "-any-value-bytes", "values are any bytes", [(b"v", bytes(range(256)))])
        good = list_bytes(magic, [(b"a", b"1"), (b"b", b"2")])
        bad("empty", "malformed", "no byte", b"")
        bad("short", "malformed", "cut within the count", good[:6])
        bad("magic", "malformed", "the other list's magic", (b"SRAT" if magic == b"SROH" else b"SROH") + good[4:])
        bad("version-2", "unsupported", "version 2", put(good, 4, b"\2"))
        bad("count-more", "malformed", "an entry that is not there", put(good, 5, le16(3)))
        bad("count-less", "malformed", "bytes behind the last entry", put(good, 5, le16(1)))
        bad("cut", "malformed", "the last value cut", good[:-1])
        bad("length-beyond-end", "malformed", "a length beyond the end", put(good, len(good) - 3, le16(2)))
        bad("unsorted", "malformed", "names not sorted", list_bytes(magic, [(b"b", b"2"), (b"a", b"1")]))
        bad("name-twice", "malformed", "a name twice", list_bytes(magic, [(b"a", b"1"), (b"a", b"2")]))
        bad("upper-case", "malformed", "an upper-case letter", list_bytes(magic, [(b"A", b"1")]))
        bad("not-ascii", "malformed", "a name that is not ASCII", list_bytes(magic, [("ä".encode(), b"1")]))


def attributes():
    def ok(name, about, attrs, part=0, data_key=False):
        if data_key:
            key, fields = rescue.attrs_key_customer(DK, INSTANCE, part), [("data-key", DK)]
        else:
            key = rescue.attrs_key_bucket(SECRET, BUCKET, 1, INSTANCE, part)
            fields = [("secret", SECRET), ("bucket", BUCKET), ("generation", 1)]
        vector(name, "sealed-attrs", "ok", about, *fields, ("instance", INSTANCE), ("part", part), ("attrs", attrs), ("sealed", seal_attrs(key, attrs)))

    ok("example-sealed-attrs-1", "the worked example", ATTRS)
    ok("sealed-attrs-part-3", "attributes of a part", ATTRS, part=3)
    ok("sealed-attrs-customer", "attributes of a customer-key object", ATTRS, data_key=True)
    ok("sealed-attrs-customer-part-3", "attributes of its part", ATTRS, part=3, data_key=True)
    ok("sealed-attrs-empty-list", "seven bytes: the one-block form of RFC 5649", list_bytes(b"SRAT", []))
    ok("sealed-attrs-multiple-of-8", "no padding byte", list_bytes(b"SRAT", [(b"abcde", b"")]))
    ok("sealed-attrs-large", "several KiB", list_bytes(b"SRAT", [(b"a", pattern(3000))]))

    def bad(name, expect, about, edit=lambda s: s, secret=SECRET, bucket=BUCKET, generation=1, instance=INSTANCE, part=0, attrs=ATTRS):
        sealed = edit(seal_attrs(rescue.attrs_key_bucket(SECRET, BUCKET, 1, INSTANCE, 0), attrs))
        vector("sealed-attrs-bad-" + name, "sealed-attrs", expect, about, ("secret", secret), ("bucket", bucket),
               ("generation", generation), ("instance", instance), ("part", part), ("sealed", sealed))

    bad("first-bit", "unauthentic", "one bit", lambda s: flip(s, 0))
    bad("last-bit", "unauthentic", "one bit", lambda s: flip(s, len(s) - 1))
    bad("secret", "unauthentic", "another bucket key", secret=OTHER_KEY)
    bad("bucket", "unauthentic", "another bucket", bucket=OTHER_ID)
    bad("generation", "unauthentic", "another generation", generation=2)
    bad("instance", "unauthentic", "attributes of another instance", instance=OTHER_ID)
    bad("part", "unauthentic", "attributes of another part", part=1)
    bad("cut-block", "unauthentic", "a block cut", lambda s: s[:-8])


# -- sealed files, wrapped keys --------------------------------------------------------------------------------


def file_case(suite=1, plain=b"hello", key_file=False, roots=(ROOT_A,), state=2, generation=None, mode=None, part=0, object_key=b"",
              bucket_edit=lambda r: r):
    bucket = bytes(16) if key_file else BUCKET
    gen = 0 if key_file else 1
    mode = mode or (5 if key_file else 1)
    kek = KEY_FILE if key_file else bucket_kek(SECRET, BUCKET, 1)[0]
    context = rescue.context_bytes(mode, bucket, INSTANCE, object_key)
    digest = sha256(b"manifest") if state == 1 else bytes(32)
    record = data_key_record(kek, DK, context, state, gen if generation is None else generation, RECORD_SALT, digest)
    ring = b"" if key_file else bucket_edit(bucket_record(SECRET, BUCKET, 1, 1, 1, roots))
    return sealed_file(ring, INSTANCE, record, seal_blob(DK, suite, part, SALT, plain))


def files():
    root, key_file = [root_field(ROOT_A)], [("key-file", KEY_FILE)]

    def ok(name, about, keys, **case):
        plain = case.get("plain", b"hello")
        vector(name, "file", "ok", about, *keys, ("data-key", DK), ("plain", plain), ("file", file_case(**case)))

    ok("example-file-1-token", "the worked example", root)
    ok("example-file-5-keyfile", "the worked example", key_file, key_file=True)
    ok("file-1-empty", "an empty file", root, plain=b"")
    ok("file-1-suite-2", "suite 2", root, suite=2, plain=pattern(100))
    ok("file-1-two-roots", "two roots", [root_field(ROOT_B)], roots=(ROOT_A, ROOT_B))
    ok("file-5-1025", "a row and a byte", key_file, key_file=True, plain=pattern(1025))

    def bad(name, expect, about, data, keys=root):
        vector("file-bad-" + name, "file", expect, about, *keys, ("file", data))

    good, good5 = file_case(), file_case(key_file=True)
    at = 12 + 160 + 16  # of len2
    bad("empty", "malformed", "no byte", b"")
    bad("magic", "malformed", "wrong magic", flip(good, 7))
    bad("len1-159", "malformed", "no bucket key record has 159 bytes", put(good, 8, le32(159)))
    bad("len1-huge", "malformed", "a length beyond the end", put(good, 8, le32(0xFFFFFFFF)))
    bad("len2-147", "malformed", "no data key record has 147 bytes", put(good, at, le32(147)))
    bad("len2-188", "malformed", "a sealed file has no customer mode", put(good, at, le32(188)))
    for size in (8, 11, 12, 100, at, at + 4, at + 100):
        bad("cut-at-%d" % size, "malformed", "cut within the head", good[:size])
    bad("no-blob", "malformed", "no blob", good[: at + 4 + 148])
    bad("cut-in-blob", "malformed", "the blob cut within a block", good[:-1])
    bad("trailing", "malformed", "a byte behind the blob", good + b"\0")
    bad("blob-suite-0", "malformed", "suite 0 in a sealed file", file_case(suite=0))
    bad("blob-part-1", "malformed", "a part in a sealed file", file_case(part=1))
    bad("state-1", "malformed", "a record with a manifest", file_case(state=1))
    bad("mode-3", "malformed", "another mode", file_case(mode=3))
    bad("mode-5-with-bucket-record", "malformed", "mode 5 with a bucket key record", file_case(mode=5))
    bad("mode-1-under-key-file", "malformed", "mode 1 without a bucket key record", file_case(key_file=True, mode=1), key_file)
    bad("generation-2", "malformed", "another generation than the bucket key record's", file_case(generation=2))
    bad("generation-1-under-key-file", "malformed", "a generation under a key file", file_case(key_file=True, generation=1), key_file)
    bad("bucket-record-version", "unsupported", "version 2 of the bucket key record", put(good, 16, b"\2"))
    bad("bucket-record-magic", "malformed", "magic of the bucket key record", put(good, 12, b"X"))
    bad("record-version", "unsupported", "version 2 of the data key record", put(good, at + 8, b"\2"))
    bad("blob-format", "unsupported", "format 2 of the blob", put(good, at + 4 + 148 + 8, b"\2"))
    bad("instance-bit", "unauthentic", "the instance id", flip(good, at - 1))
    bad("object-key", "unauthentic", "a record for an object key", file_case(object_key=b"x"))
    bad("bucket-id-bit", "unauthentic", "the bucket id", flip(good, 12 + 5))
    bad("bucket-tag-bit", "unauthentic", "the state tag", flip(good, 12 + 159))
    bad("commit-bit", "unauthentic", "the commitment of the record", flip(good, at + 4 + 147))
    bad("blob-tag-bit", "unauthentic", "the tag of the blob", flip(good, len(good) - 1))
    bad("master-key", "unauthentic", "another master key", good, [root_field(ROOT_A[:3] + (OTHER_KEY,))])
    bad("key-file", "unauthentic", "another key file", good5, [("key-file", OTHER_KEY)])
    other = sealed_file(b"", INSTANCE, file_case(key_file=True)[12 + 16 + 4 :][:148], seal_blob(OTHER_KEY, 1, 0, SALT, b"hello"))
    bad("blob-of-another-file", "unauthentic", "a blob under another data key", other, key_file)


def wrapped_keys():
    context = b"volume 7, extent 42"
    kek = bucket_kek(SECRET, BUCKET, 1)[0]

    def make(state=2, mode=1, digest=bytes(32), context=context):
        record = data_key_record(kek, DK, rescue.context_bytes(mode, BUCKET, INSTANCE, context), state, 1, RECORD_SALT, digest)
        return wrapped_key(BUCKET, INSTANCE, record)

    keys = [("secret", SECRET), ("kek-id", BUCKET), ("kek-generation", 1)]
    outcome = [("data-key", DK), ("bucket", BUCKET), ("instance", INSTANCE), ("salt", RECORD_SALT)]

    def bad(name, expect, about, data, keys=keys, context=context):
        vector("wrapped-key-bad-" + name, "wrapped-key", expect, about, *keys, ("context", context), ("wrapped", data))

    vector("example-wrapped-key-1", "wrapped-key", "ok", "the worked example", *keys, ("context", context), ("wrapped", make()), *outcome)
    vector("wrapped-key-no-context", "wrapped-key", "ok", "an empty context", *keys, ("context", b""), ("wrapped", make(context=b"")), *outcome)
    good = make()
    bad("empty", "malformed", "no byte", b"")
    bad("length-187", "malformed", "a byte missing", good[:-1])
    bad("length-189", "malformed", "a byte more", good + b"\0")
    bad("magic", "malformed", "wrong magic", flip(good, 7))
    bad("state-1", "malformed", "a state with a manifest", make(state=1, digest=sha256(b"m")))
    bad("mode-5", "malformed", "another mode", make(mode=5))
    bad("record-magic", "malformed", "magic of the record", flip(good, 40))
    bad("record-version", "unsupported", "version 2 of the record", put(good, 44, b"\2"))
    bad("record-mode-6", "unsupported", "the reserved mode", put(good, 45, b"\6"))
    bad("bucket-bit", "unauthentic", "the bucket id", flip(good, 8))
    bad("instance-bit", "unauthentic", "the instance id", flip(good, 24))
    bad("commit-bit", "unauthentic", "the commitment", flip(good, 187))
    bad("context", "unauthentic", "another context", good, context=b"volume 7, extent 43")
    bad("secret", "unauthentic", "another bucket key", good, keys=[("secret", OTHER_KEY), *keys[1:]])


def main():
    for make in (blobs, records, bucket_records, manifests, lists, attributes, files, wrapped_keys):
        make()
    checking = sys.argv[1:] == ["--check"]
    here = pathlib.Path(__file__).resolve().parent
    wanted = {name + ".vec": check.render(fields) for name, fields in VECTORS.items()}
    wanted_page = page.fill((ROOT / "docs/FORMAT.md").read_text(), sys.modules[__name__])
    if not checking:
        for old in here.glob("*.vec"):
            if old.name not in wanted:
                old.unlink()
        for name, text in wanted.items():
            (here / name).write_text(text)
        (ROOT / "docs/FORMAT.md").write_text(wanted_page)
    present = {path.name: path.read_text() for path in here.glob("*.vec")}
    wrong = [name for name in sorted(set(wanted) | set(present)) if wanted.get(name) != present.get(name)]
    if wanted_page != (ROOT / "docs/FORMAT.md").read_text():
        wrong.append("docs/FORMAT.md")
    for name, text in present.items():
        problem = check.run(check.parse(text))
        if problem:
            wrong.append("%s: %s" % (name, problem))
    for line in wrong:
        print("differs or fails:", line)
    print("%d vectors, %d wrong" % (len(present), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
