"""Vectors of sealed blobs: every length at an edge, every rule of F-26 broken once."""

import check
from inputs import *


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


def make():
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
