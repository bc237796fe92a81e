"""Vectors of data key records."""

from inputs import *


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


def make():
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
    for mode, more in ((2, dict(customer_key=CUSTOMER)), (3, dict(kms_key_id=KMS_KEY)), (4, {})):
        record_bad("read-as-mode-%d" % mode, "unauthentic", "the catalog says another mode", mode=mode, **more)
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
    record_bad("encryption-context", "unauthentic", "another encryption context", of=3, encryption_context=rescue.encryption_context([(b"dept", b"9")]))
    record_bad("encryption-context-absent", "unauthentic", "no encryption context", of=3, encryption_context=b"")
    record_bad("encryption-context-empty-list", "unauthentic", "an empty list is not an absent one", of=3,
               case=dict(encryption_context=b""), encryption_context=le16(0))
    record_bad("context-fields-shifted", "unauthentic", "the lengths are part of the context",
               case=dict(encryption_context=b"ab"), object_key=OBJECT_KEY + le16(0) + le16(2) + b"ab", encryption_context=None)
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
