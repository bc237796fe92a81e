"""Vectors of manifests, heads, attributes and sealed attributes."""

from inputs import *


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


def make():
    manifests()
    lists()
    attributes()
