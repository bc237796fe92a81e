"""Writes the structures of format 1: the other half of rescue/strongroom_rescue.py, for tests only.

Written from docs/FORMAT.md. Every value a writer would draw at random is an argument, so the output is a
function of its inputs. The F-nn in comments are rules of that page.
"""

import hashlib
import hmac
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "rescue"))

import strongroom_rescue as rescue  # noqa: E402

lp, kdf, cmac, aes, xor = rescue.lp, rescue.kdf, rescue.cmac, rescue.aes, rescue.xor
SEGMENT = rescue.SEGMENT


def le16(n):
    return struct.pack("<H", n)


def le32(n):
    return struct.pack("<I", n)


def le64(n):
    return struct.pack("<Q", n)


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


# -- blob ------------------------------------------------------------------------------------------------------


def fx_bytes(suite, part):
    """F-11."""
    return bytes([1, suite, 16, 6 if suite == 1 else 0]) + le32(part)


def subkeys(dk, salt, fx):
    """F-13."""
    blocks = [cmac(dk, bytes([i]) + b"SRB1\0" + salt + fx + struct.pack(">H", 768)) for i in range(1, 7)]
    keys = b"".join(blocks)
    return keys[:32], keys[32:64], keys[64:]


def header_bytes(dk, salt, fx):
    """F-10, F-14."""
    return b"STRGROOM" + fx + salt + sha256(dk + salt + fx + b"SRC1")


def pad(plain):
    """F-18."""
    p = 16 - len(plain) % 16
    return plain + bytes([p]) * p


def ivs_of(k_iv, i, final):
    """F-19."""
    return aes(k_iv, b"".join(struct.pack("<QII", i, j, final) for j in range(64)))


def cbc64(k_enc, ivs, padded):
    """F-17, row by row."""
    before, out = ivs, []
    for at in range(0, len(padded), 1024):
        row = padded[at : at + 1024]
        before = aes(k_enc, xor(row, before[: len(row)]))
        out.append(before)
    return b"".join(out)


def seal_segment(keys, suite, i, final, plain, padded=None):
    """F-17 to F-23. `padded` overrides the padding, to make what no writer would."""
    k_enc, k_iv, k_mac = keys
    nonce = struct.pack("<IQ", final, i)
    if suite == 2:
        return AESGCM(k_enc).encrypt(nonce, plain, b"")
    if suite == 1:
        if padded is None:
            padded = pad(plain) if final else plain
        plain = cbc64(k_enc, ivs_of(k_iv, i, final), padded)
    return plain + AESGCM(k_mac).encrypt(nonce, b"", plain)


def seal_blob(dk, suite, part, salt, plain):
    """F-15."""
    fx = fx_bytes(suite, part)
    keys = subkeys(dk, salt, fx)
    count = len(plain) // SEGMENT + 1
    out = [header_bytes(dk, salt, fx)]
    for i in range(count):
        out.append(seal_segment(keys, suite, i, int(i == count - 1), plain[i * SEGMENT : (i + 1) * SEGMENT]))
    return b"".join(out)


# -- records ---------------------------------------------------------------------------------------------------


def context_hash(salt, context):
    """F-47."""
    return sha256(b"sr-context-1" + bytes(4) + salt + context)


def data_key_payload(dk, h, customer_key=None):
    """F-49."""
    if customer_key is None:
        return dk
    inner = kdf(customer_key, b"sr-ssec-1", h, 64)
    return aes_key_wrap(inner[:32], dk) + inner[32:]


def data_key_prefix(mode, state, generation, salt, digest):
    """F-40."""
    return b"SRDK" + bytes([1, mode, state, 0]) + le32(generation) + salt + digest


def data_key_record(kek, dk, context, state, generation, salt, digest=bytes(32), customer_key=None):
    """F-48, F-50."""
    h = context_hash(salt, context)
    keys = kdf(kek, b"sr-wrap-1", h, 64)
    prefix = data_key_prefix(context[0], state, generation, salt, digest)
    wrapped = aes_key_wrap(keys[:32], data_key_payload(dk, h, customer_key))
    return prefix + wrapped + mac(keys[32:], prefix + wrapped)


def bucket_kek(secret, bucket, generation):
    """F-60: KEK, check."""
    keys = kdf(secret, b"sr-bkt-1", bucket + le32(generation), 64)
    return keys[:32], keys[32:]


def cka_id(mk_id, version):
    """F-65."""
    return sha256(b"sr-mk-1" + mk_id + le32(version))[:16]


def bucket_record(secret, bucket, generation, rev, state, roots):
    """F-61, F-62. roots: (mk_id, version, strategy, master key)."""
    body = b"SRBK\1" + bucket + le32(generation) + le64(rev) + bytes([state])
    wraps = b""
    for mk_id, version, strategy, key in roots:
        wrap = aes_key_wrap if strategy == 1 else aes_key_wrap_with_padding
        wraps += mk_id + le32(version) + bytes([strategy]) + wrap(key, secret)
    tag_key = kdf(secret, b"sr-bst-1", bucket + le32(generation), 32)
    return body + bucket_kek(secret, bucket, generation)[1] + bytes([len(roots)]) + wraps + mac(tag_key, body)


def master_state(secret, generation, mk_id, version, rev, state):
    """F-74. secret and generation: the control ring's."""
    body = b"SRMS\1" + mk_id + le32(version) + le64(rev) + bytes([state])
    return body + mac(kdf(secret, b"sr-bst-1", b"\xff" * 16 + le32(generation), 32), body)


# -- manifest, lists, attributes -------------------------------------------------------------------------------


def list_bytes(magic, pairs):
    """F-86; as given, so that a bad list can be made too."""
    return magic + b"\1" + le16(len(pairs)) + b"".join(lp(n) + lp(v) for n, v in pairs)


def entry_bytes(part, start, length, salt):
    """F-81."""
    return le32(part) + le64(start) + le64(length) + salt


def pages_of(entries):
    return [b"".join(entry_bytes(*e) for e in entries[i : i + 128]) for i in range(0, len(entries), 128)]


def manifest_bytes(suite, total, head, entries, pages=None):
    """F-80."""
    pages = pages_of(entries) if pages is None else pages
    head_part = b"SRMF" + bytes([1, suite, 0, 0]) + le64(total) + sha256(head)
    return head_part + le32(len(entries)) + le32(len(pages)) + b"".join(sha256(page) for page in pages)


def pattern_entries(count):
    """The entries of the large vectors: part k = 1 .. count has 5 MiB + k bytes, its salt is SHA-256(le32 k)."""
    entries, start = [], 0
    for k in range(1, count + 1):
        length = 5242880 + k
        entries.append((k, start, length, sha256(le32(k))))
        start += length
    return entries


def seal_attrs(key, attrs):
    """F-90."""
    return aes_key_wrap_with_padding(key, attrs)


# -- file, wrapped key -----------------------------------------------------------------------------------------


def sealed_file(bucket_key_record, instance, record, blob):
    """F-95."""
    return (
        b"SRFILE01" + le32(len(bucket_key_record)) + bucket_key_record + instance + le32(len(record)) + record + blob
    )


def wrapped_key(bucket, instance, record):
    """F-98."""
    return b"SRWKEY01" + bucket + instance + record


def pattern(length):
    """Plaintext of the vectors: byte i is i mod 251."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]
