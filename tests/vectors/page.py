"""The worked examples of docs/FORMAT.md: each structure taken apart, field by field, with its inputs beside it."""

import re

from cases_bucket import bucket_case
from cases_file import file_case
from cases_record import record_case
from format1 import *


class Example:
    """Rows of (`in`, a byte offset, or nothing for what is derived; name; bytes)."""

    def __init__(self):
        self.rows, self.at = [], 0

    def input(self, name, value):
        self.rows.append(("in", name, value))

    def derived(self, name, value):
        self.rows.append(("", name, value))

    def out(self, name, value):
        self.rows.append((str(self.at), name, value))
        self.at += len(value)

    def text(self):
        lines = []
        for where, name, value in self.rows:
            text = value.hex() if isinstance(value, bytes) else str(value)
            parts = [text[i : i + 96] for i in range(0, len(text), 96)] or ["(empty)"]
            lines.append("%-5s%-24s%s" % (where, name, parts[0]))
            lines += [" " * 29 + part for part in parts[1:]]
        return "\n".join(line.rstrip() for line in lines)


def fill(text, v):
    """The page with every `<!-- example NAME -->` ... `<!-- end -->` filled from the inputs in module `v`."""

    def one(match):
        example = Example()
        about = EXAMPLES[match[1]](example, v)
        return "<!-- example %s -->\n%s\n\n```text\n%s\n```\n<!-- end -->" % (match[1], about, example.text())

    return re.sub(r"<!-- example (\S+) -->\n.*?<!-- end -->", one, text, flags=re.S)


def blob(suite):
    def make(e, v):
        plain, fx = b"hello", fx_bytes(suite, 0)
        k_enc, k_iv, k_mac = subkeys(v.DK, v.SALT, fx)
        e.input("DK", v.DK)
        e.input("salt", v.SALT)
        e.input("plaintext \"hello\"", plain)
        if suite != 0:
            e.derived("K_enc", k_enc)
        if suite == 1:
            e.derived("K_iv", k_iv)
        if suite != 2:
            e.derived("K_mac", k_mac)
        if suite == 1:
            e.derived("IV[0] of (0, final)", ivs_of(k_iv, 0, 1)[:16])
            e.derived("P[0], padded", pad(plain))
        e.derived("nonce of (0, final)", struct.pack("<IQ", 1, 0))
        sealed = seal_blob(v.DK, suite, 0, v.SALT, plain)
        e.out("magic", sealed[:8])
        e.out("fx", sealed[8:16])
        e.out("salt", sealed[16:48])
        e.out("header_commit", sealed[48:80])
        e.out("segment 0, ciphertext", sealed[80:-16])
        e.out("segment 0, tag", sealed[-16:])
        return "Five bytes in suite %d: %d bytes sealed." % (suite, len(sealed))

    return make


def record(mode, about):
    def make(e, v):
        fields, data, outcome = record_case(mode)
        facts, results = dict(fields), dict(outcome)
        context = rescue.context_bytes(
            mode, facts["bucket"], facts["instance"], facts.get("object-key", b""), facts.get("kms-key-id", b""),
            facts.get("encryption-context", b""),
        )
        h = context_hash(v.RECORD_SALT, context)
        if mode == 5:
            kek = facts["kek"]
            e.input("KEK = key file", kek)
        else:
            kek = bucket_kek(facts["secret"], facts["kek-id"], facts["kek-generation"])[0]
            e.input("secret", facts["secret"])
            e.derived("KEK, generation 1", kek)
        e.input("DK", v.DK)
        e.input("salt", v.RECORD_SALT)
        e.input("bucket_id", facts["bucket"])
        e.input("instance_id", facts["instance"])
        e.input("object key", facts.get("object-key", b""))
        if mode == 2:
            e.input("customer key", v.CUSTOMER)
        e.derived("context", context)
        e.derived("h", h)
        keys = kdf(kek, b"sr-wrap-1", h, 64)
        e.derived("wk", keys[:32])
        e.derived("ck", keys[32:])
        if mode == 2:
            inner = kdf(v.CUSTOMER, b"sr-ssec-1", h, 64)
            e.derived("iwk", inner[:32])
            e.derived("verifier", inner[32:])
            e.derived("P", data_key_payload(v.DK, h, v.CUSTOMER))
        for name, start, end in (("magic", 0, 4), ("version, mode, state, 0", 4, 8), ("generation", 8, 12), ("salt", 12, 44),
                                 ("manifest_digest", 44, 76), ("W", 76, len(data) - 32), ("commit", len(data) - 32, len(data))):
            e.out(name, data[start:end])
        digest = "; manifest_digest is SHA-256(\"manifest\")" if results["state"] == 1 else ""
        return "%s, state %d%s: %d bytes." % (about, results["state"], digest, len(data))

    return make


def bucket(roots, **case):
    def make(e, v):
        chosen = [getattr(v, name) for name in roots]
        _, data, fields = bucket_case(chosen, **case)
        facts = dict(fields)
        e.input("secret", facts["secret"])
        for mk_id, version, strategy, key in chosen:
            e.input("mk_id", mk_id)
            e.input("  master key, v%d, %s" % (version, ("kw", "kwp")[strategy - 1]), key)
            e.derived("  its CKA_ID", cka_id(mk_id, version))
        e.derived("KEK", facts["kek"])
        for name, size in (("magic", 4), ("version", 1), ("bucket_id", 16), ("generation", 4), ("rev", 8), ("state", 1), ("check", 32), ("n", 1)):
            e.out(name, data[e.at : e.at + size])
        for _ in chosen:
            for name, size in (("mk_id", 16), ("mk_version", 4), ("strategy", 1), ("blob", 40)):
                e.out(name, data[e.at : e.at + size])
        e.out("tag", data[e.at :])
        return "Generation %d, rev %d, state %d, %s: %d bytes." % (
            facts["generation"], facts["rev"], facts["state"], "one wrap" if len(chosen) == 1 else "two wraps", len(data))

    return make


def state_row(e, v):
    mk_id, version = v.ROOT_A[:2]
    e.input("secret of the ring", v.SECRET)
    row = master_state(v.SECRET, 1, mk_id, version, 2, 2)
    for name, size in (("magic", 4), ("version", 1), ("mk_id", 16), ("mk_version", 4), ("rev", 8), ("state", 1), ("tag", 32)):
        e.out(name, row[e.at : e.at + size])
    return "Version 1 of a master key for unwrapping only, rev 2, under generation 1 of the control ring: %d bytes." % len(row)


def manifest_rows(e, manifest, pages):
    for name, size in (("magic", 4), ("version, suite, 0, 0", 4), ("total", 8), ("SHA-256(head)", 32), ("parts", 4), ("pages", 4)):
        e.out(name, manifest[e.at : e.at + size])
    for i in range(pages):
        e.out("SHA-256(page %d)" % i, manifest[e.at : e.at + 32])


def manifest_one(e, v):
    entry = (0, 0, 5, v.SALT)
    page = entry_bytes(*entry)
    manifest = manifest_bytes(1, 5, v.HEAD, [entry])
    e.input("head", v.HEAD)
    e.input("entry: part", page[:4])
    e.input("entry: start", page[4:12])
    e.input("entry: length", page[12:20])
    e.input("entry: salt", page[20:])
    e.derived("page 0", page)
    manifest_rows(e, manifest, 1)
    e.derived("manifest_digest", sha256(manifest))
    return "The object \"hello\", one blob, suite 1, with the head above: %d bytes, one page of 52." % len(manifest)


def manifest_two_pages(e, v):
    entries = pattern_entries(129)
    pages = pages_of(entries)
    total = sum(entry[2] for entry in entries)
    manifest = manifest_bytes(1, total, v.HEAD, entries)
    e.input("head", v.HEAD)
    e.derived("page 0, first entry", pages[0][:52])
    e.derived("page 0, last entry", pages[0][-52:])
    e.derived("page 1", pages[1])
    manifest_rows(e, manifest, 2)
    e.derived("manifest_digest", sha256(manifest))
    return ("129 parts: part k = 1 .. 129 has 5,242,880 + k bytes and the salt SHA-256(le32 k). Page 0 holds 128 entries in %d bytes, page 1 one in %d; "
            "the manifest has %d bytes." % (len(pages[0]), len(pages[1]), len(manifest)))


def list_rows(e, data):
    e.out("magic", data[:4])
    e.out("version", data[4:5])
    e.out("n", data[5:7])
    while e.at < len(data):
        for name in ("name", "value"):
            size = 2 + rescue.u16(data, e.at)
            e.out("lp(%s)" % name, data[e.at : e.at + size])


def head(e, v):
    list_rows(e, v.HEAD)
    return "A head of three facts: `:created` = 1,700,000,000,000 ms, `content-type` = `image/jpeg`, `x-amz-meta-city` = `Zürich` in UTF-8."


def attrs(e, v):
    list_rows(e, v.ATTRS)
    return "Attributes: the MD5 of \"hello\" under the name `etag-md5`."


def sealed_attrs(e, v):
    k_meta = kdf(v.SECRET, b"sr-meta-1", v.BUCKET + le32(1), 32)
    key = rescue.attrs_key_bucket(v.SECRET, v.BUCKET, 1, v.INSTANCE, 0)
    e.input("secret", v.SECRET)
    e.input("bucket_id", v.BUCKET)
    e.input("instance_id", v.INSTANCE)
    e.input("attrs", v.ATTRS)
    e.derived("K_meta, generation 1", k_meta)
    e.derived("key, part 0", key)
    sealed = seal_attrs(key, v.ATTRS)
    e.out("sealed", sealed)
    return "The attributes above, sealed for (instance, part 0) under the bucket key's secret: %d bytes become %d." % (len(v.ATTRS), len(sealed))


def file_rows(e, data):
    e.out("magic", data[:8])
    size = rescue.u32(data, 8)
    e.out("len1", data[8:12])
    if size:
        e.out("bucket key record", data[12 : 12 + size])
    e.out("instance_id", data[e.at : e.at + 16])
    e.out("len2", data[e.at : e.at + 4])
    e.out("data key record", data[e.at : e.at + 148])
    e.out("blob", data[e.at :])


def file_token(e, v):
    e.input("master key, v1, kw", v.ROOT_A[3])
    e.input("secret", v.SECRET)
    e.input("DK", v.DK)
    e.input("record salt", v.RECORD_SALT)
    e.input("blob salt", v.SALT)
    file_rows(e, file_case())
    return "\"hello\" under the token: the bucket key record with one wrap of section 4.1, a data key record of mode 1 in state 2, the blob of suite 1 of section 2.4."


def file_keyfile(e, v):
    e.input("key file", v.KEY_FILE)
    e.input("DK", v.DK)
    e.input("record salt", v.RECORD_SALT)
    e.input("blob salt", v.SALT)
    file_rows(e, file_case(key_file=True))
    return "\"hello\" under a key file: the data key record of mode 5 of section 3.1, the blob of suite 1 of section 2.4."


def wrapped(e, v):
    facts = dict(v.VECTORS["example-wrapped-key-1"])
    data = facts["wrapped"]
    e.input("secret", facts["secret"])
    e.input("DK", v.DK)
    e.input("salt", v.RECORD_SALT)
    e.input("caller's context", facts["context"])
    for name, size in (("magic", 8), ("bucket_id", 16), ("instance_id", 16), ("data key record", 148)):
        e.out(name, data[e.at : e.at + size])
    return "A wrapped key; the caller's context is the text \"%s\"." % facts["context"].decode()


EXAMPLES = {
    "blob-0-hello": blob(0),
    "blob-1-hello": blob(1),
    "blob-2-hello": blob(2),
    "record-1-managed": record(1, "Mode 1"),
    "record-2-customer": record(2, "Mode 2"),
    "record-5-keyfile": record(5, "Mode 5"),
    "bucket-record-1-wrap": bucket(["ROOT_A"]),
    "bucket-record-2-wraps": bucket(["ROOT_A", "ROOT_B"], generation=2, rev=3, state=2),
    "master-state-1": state_row,
    "head-1": head,
    "manifest-1-part": manifest_one,
    "manifest-129-parts": manifest_two_pages,
    "attrs-1": attrs,
    "sealed-attrs-1": sealed_attrs,
    "file-1-token": file_token,
    "file-5-keyfile": file_keyfile,
    "wrapped-key-1": wrapped,
}
