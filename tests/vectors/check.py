"""The vector file format, and the rescue tool's reader run over one vector."""

import hashlib
import io

from format1 import *

WIDTH = 160


def render(fields):
    """Lines of `name: value`; long hex is continued on lines that begin with two spaces."""
    out = []
    for name, value in fields:
        text = value.hex() if isinstance(value, bytes) else str(value)
        line = ("%s: %s" % (name, text)).rstrip()
        if len(line) <= WIDTH or not isinstance(value, bytes):
            out.append(line)
            continue
        out.append(name + ":")
        out += ["  " + text[i : i + WIDTH - 2] for i in range(0, len(text), WIDTH - 2)]
    return "\n".join(out) + "\n"


class Vector:
    def __init__(self, fields):
        self.fields = fields

    def all(self, name):
        return [value for key, value in self.fields if key == name]

    def text(self, name, default=None):
        return next(iter(self.all(name)), default)

    def hex(self, name, default=None):
        value = self.text(name)
        return default if value is None else bytes.fromhex(value)

    def int(self, name, default=None):
        value = self.text(name)
        return default if value is None else int(value)

    def __contains__(self, name):
        return self.text(name) is not None


def parse(text):
    fields = []
    for line in text.splitlines():
        if line.startswith("  "):
            fields[-1][1] += line.strip()
        else:
            name, _, value = line.partition(":")
            fields.append([name, value.strip()])
    return Vector(fields)


def pieces(recipe, blobs):
    """`a:offset+length` ranges, joined."""
    out = b""
    for piece in recipe.split():
        name, _, span = piece.partition(":")
        offset, length = map(int, span.split("+"))
        assert offset + length <= len(blobs[name]), piece
        out += blobs[name][offset : offset + length]
    return out


def run(vector):
    """None if the rescue tool's reader answers what the vector expects, else what is wrong."""
    try:
        problem = RUN[vector.text("kind")](vector)
        answer = "ok"
    except rescue.FormatError as error:
        problem = None
        answer = "unauthentic" if isinstance(error, rescue.Unauthentic) else type(error).__name__.lower()
        if isinstance(error, rescue.WrongCustomerKey) != (vector.text("error") == "wrong-customer-key"):
            return "wrong customer key is confused with another failure"
    if answer != vector.text("expect"):
        return "answers %s, %s is right" % (answer, vector.text("expect"))
    return problem


def differ(**pairs):
    for name, (got, wanted) in pairs.items():
        if got != wanted:
            return "%s is %r, should be %r" % (name, got, wanted)
    return None


def plain_of(v):
    return v.hex("plain") if "plain" in v else pattern(v.int("plain-len"))


def sealed_of(v):
    if "sealed" in v:
        return v.hex("sealed")
    suite, dk = v.int("suite"), v.hex("data-key")
    blobs = {"a": seal_blob(v.hex("a-data-key", dk), suite, v.int("part"), v.hex("salt"), plain_of(v))}
    if "b-salt" in v:
        plain = pattern(v.int("b-plain-len"))
        blobs["b"] = seal_blob(v.hex("b-data-key", dk), suite, v.int("b-part", 0), v.hex("b-salt"), plain)
    out = pieces(v.text("pieces"), blobs) if "pieces" in v else blobs["a"]
    assert len(out) == v.int("sealed-len") and sha256(out) == v.hex("sealed-sha256")
    return out


def run_blob(v):
    sealed = sealed_of(v)
    blob = rescue.Blob(io.BytesIO(sealed), 0, len(sealed), v.hex("data-key"))
    if "entry" in v:
        part, length, salt, suite = v.text("entry").split()
        stated = (int(part), int(suite), bytes.fromhex(salt), rescue.sealed_len(int(suite), int(length)))
        if stated != (blob.part, blob.suite, blob.salt, len(sealed)):
            raise rescue.Unauthentic()
    plain = b"".join(blob.plaintext())
    problem = differ(plain=(plain, plain_of(v)), length=(rescue.sealed_len(blob.suite, len(plain)), len(sealed)))
    if "suite" in v:
        again = seal_blob(v.hex("data-key"), v.int("suite"), v.int("part"), v.hex("salt"), plain)
        problem = problem or differ(sealed=(again, sealed))
    if "plain-sha256" in v:
        problem = problem or differ(sha256=(sha256(plain), v.hex("plain-sha256")))
    return problem


def context_of(v):
    empty = b""
    return rescue.context_bytes(
        v.int("mode"), v.hex("bucket"), v.hex("instance"), v.hex("object-key", empty), v.hex("kms-key-id", empty),
        v.hex("encryption-context", empty),
    )


def kek_of(v):
    return v.hex("kek") or bucket_kek(v.hex("secret"), v.hex("kek-id"), v.int("kek-generation"))[0]


def run_record(v):
    record = rescue.DataKeyRecord(v.hex("record"))
    kek, context, customer = kek_of(v), context_of(v), v.hex("customer-key")
    dk = record.open(kek, context, customer)
    again = data_key_record(kek, dk, context, record.state, record.generation, record.salt, record.digest, customer)
    return differ(
        data_key=(dk, v.hex("data-key")), state=(record.state, v.int("state")), salt=(record.salt, v.hex("salt")),
        generation=(record.generation, v.int("generation")), digest=(record.digest, v.hex("digest")),
        record=(again, v.hex("record")),
    ) or run_successor(v, record, context, customer)


def run_successor(v, record, context, customer):
    """A rewrap keeps salt and payload; a completion keeps salt and W."""
    if "from-record" in v:
        before = rescue.DataKeyRecord(v.hex("from-record"))
        kek = bucket_kek(v.hex("from-secret"), v.hex("kek-id"), v.int("from-generation"))[0]
        dk = before.open(kek, context, customer)
        return differ(salt=(before.salt, record.salt), data_key=(dk, v.hex("data-key")))
    if "upload-record" in v:
        before = rescue.DataKeyRecord(v.hex("upload-record"))
        return differ(state=(before.state, 0), salt=(before.salt, record.salt), w=(before.wrapped, record.wrapped))
    return None


def run_bucket_record(v):
    record = rescue.BucketKeyRecord(v.hex("record"))
    roots = []
    for root in v.all("root"):
        mk_id, version, strategy, cka, key = root.split()
        roots.append((bytes.fromhex(mk_id), int(version), int(strategy), bytes.fromhex(key)))
        assert cka_id(*roots[-1][:2]).hex() == cka
    secrets = [record.unwrap([root[3]]) for root in roots]
    again = bucket_record(secrets[0], record.bucket, record.generation, record.rev, record.state, roots)
    return differ(
        secrets=(set(secrets), {v.hex("secret")}), kek=(record.kek(secrets[0]), v.hex("kek")), record=(again, v.hex("record")),
        bucket=(record.bucket, v.hex("bucket")), generation=(record.generation, v.int("generation")),
        rev=(record.rev, v.int("rev")), state=(record.state, v.int("state")),
    )


def run_master_state(v):
    row, wanted = v.hex("row"), v.hex("mk-id")
    if len(row) != 66 or row[:4] != b"SRMS":
        raise rescue.Malformed("not the state of a master version")
    if row[4] != 1:
        raise rescue.Unsupported("version")
    mk_id, version, rev, state = row[5:21], rescue.u32(row, 21), rescue.u64(row, 25), row[33]
    if rev == 0 or state not in rescue.STATES:
        raise rescue.Malformed("rev or state")
    rescue.same(row, master_state(v.hex("secret"), v.int("generation"), mk_id, version, rev, state))
    return differ(mk_id=(mk_id, wanted), version=(version, v.int("version")), rev=(rev, v.int("rev")), state=(state, v.int("state")))


def run_manifest(v):
    entries = [line.split() for line in v.all("entry")]
    entries = [(int(p), int(s), int(n), bytes.fromhex(salt)) for p, s, n, salt in entries]
    pages = [bytes.fromhex(page) for page in v.all("page")]
    if "pattern-parts" in v:
        entries = pattern_entries(v.int("pattern-parts"))
        pages = pages_of(entries)
    head = v.hex("head")
    manifest = rescue.Manifest(v.hex("manifest"), pages, v.hex("digest"), head)
    rescue.parse_list(head, b"SROH")
    again = manifest_bytes(manifest.suite, manifest.total, head, entries)
    return differ(
        entries=(manifest.entries, entries), manifest=(again, v.hex("manifest")), suite=(manifest.suite, v.int("suite")),
        total=(manifest.total, v.int("total")), digest=(sha256(again), v.hex("digest")),
    )


def run_list(v):
    magic = {"head": b"SROH", "attrs": b"SRAT"}[v.text("kind")]
    got = rescue.parse_list(v.hex("list"), magic)
    pairs = [(pair + " ").split(" ")[:2] for pair in v.all("pair")]
    return differ(pairs=(got, [(n.encode(), bytes.fromhex(x)) for n, x in pairs]), bytes=(list_bytes(magic, got), v.hex("list")))


def run_sealed_attrs(v):
    if "data-key" in v:
        key = rescue.attrs_key_customer(v.hex("data-key"), v.hex("instance"), v.int("part"))
    else:
        key = rescue.attrs_key_bucket(v.hex("secret"), v.hex("bucket"), v.int("generation"), v.hex("instance"), v.int("part"))
    attrs = list_bytes(b"SRAT", rescue.open_attrs(key, v.hex("sealed")))
    return differ(attrs=(attrs, v.hex("attrs")), sealed=(seal_attrs(key, attrs), v.hex("sealed")))


def run_file(v):
    sealed = rescue.SealedFile(io.BytesIO(v.hex("file")))
    if sealed.bucket_record:
        keys = [bytes.fromhex(root.split()[4]) for root in v.all("root")]
        kek = sealed.bucket_record.kek(sealed.bucket_record.unwrap(keys))
    else:
        kek = v.hex("key-file")
    return differ(plain=(b"".join(sealed.open(kek).plaintext()), v.hex("plain")))


def run_wrapped_key(v):
    wrapped = rescue.WrappedKey(v.hex("wrapped"))
    dk = wrapped.open(kek_of(v), v.hex("context"))
    return differ(data_key=(dk, v.hex("data-key")), bucket=(wrapped.bucket, v.hex("bucket")), instance=(wrapped.instance, v.hex("instance")))


RUN = {
    "blob": run_blob,
    "record": run_record,
    "bucket-record": run_bucket_record,
    "master-state": run_master_state,
    "manifest": run_manifest,
    "head": run_list,
    "attrs": run_list,
    "sealed-attrs": run_sealed_attrs,
    "file": run_file,
    "wrapped-key": run_wrapped_key,
}
