"""Vectors of bucket key records."""

from inputs import *


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


def make():
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

    master_states()


def master_states():
    """F-74: rows tagged under the control ring."""
    mk_id, version = ROOT_A[:2]

    def case(name, expect, about, edit=lambda row: row, generation=1, rev=2, state=2, secret=SECRET):
        row = edit(master_state(SECRET, 1, mk_id, version, rev, state))
        vector(name, "master-state", expect, about, ("secret", secret), ("generation", generation), ("mk-id", mk_id), ("version", version),
               ("rev", rev), ("state", state), ("row", row))

    case("example-master-state-1", "ok", "the worked example")
    for state in (1, 3, 4):
        case("master-state-%d" % state, "ok", "state %d" % state, state=state)
    case("master-state-bad-length-65", "malformed", "a byte missing", lambda row: row[:-1])
    case("master-state-bad-length-67", "malformed", "a byte more", lambda row: row + b"\0")
    case("master-state-bad-magic", "malformed", "the magic of a bucket key record", lambda row: put(row, 0, b"SRBK"))
    case("master-state-bad-version-2", "unsupported", "version 2", lambda row: put(row, 4, b"\2"))
    case("master-state-bad-state-0", "malformed", "state 0", state=0)
    case("master-state-bad-state-5", "malformed", "state 5", state=5)
    case("master-state-bad-rev-0", "malformed", "rev begins at 1", rev=0)
    for name, at in (("mk-id", 5), ("mk-version", 21), ("rev", 26), ("state", 33), ("tag", 65)):
        case("master-state-bad-%s-bit" % name, "unauthentic", "a bit", lambda row: flip(row, at))
    case("master-state-bad-generation", "unauthentic", "another generation of the ring", generation=2)
    case("master-state-bad-secret", "unauthentic", "another ring", secret=OTHER_KEY)
