"""Vectors of sealed files and wrapped keys."""

from cases_bucket import root_field
from inputs import *


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
    bad("magic", "malformed", "wrong magic", flip(good, 0))
    bad("magic-version-02", "unsupported", "a later version", put(good, 6, b"02"))
    bad("magic-version-not-digits", "malformed", "no version at all", put(good, 6, b"0x"))
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
    bad("magic", "malformed", "wrong magic", flip(good, 0))
    bad("magic-version-02", "unsupported", "a later version", put(good, 6, b"02"))
    bad("magic-version-not-digits", "malformed", "no version at all", put(good, 6, b"0x"))
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


def make():
    files()
    wrapped_keys()
