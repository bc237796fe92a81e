#!/usr/bin/env python3
"""Strongroom's rescue tool: reads what format 1 wrote, given the keys, without Strongroom.

One file, Python 3.9 or later, one package: `cryptography`. Written from docs/FORMAT.md; the F-nn in the
comments are its rules. It only reads. Nothing that has not been authenticated is ever written: output goes to
a temporary file first and appears under its name when the last byte has verified.

    strongroom_rescue.py file          SEALED OUT     --master-key F | --secret F | --key-file F
    strongroom_rescue.py bucket-record RECORD         [--master-key F | --secret F] [--write-secret F]
    strongroom_rescue.py record        RECORD         KEYS CONTEXT [--customer-key F] [--write-data-key F]
    strongroom_rescue.py wrapped-key   WRAPPED        KEYS [--context TEXT] [--write-data-key F]
    strongroom_rescue.py manifest      MANIFEST PAGES [--digest HEX] [--head F]
    strongroom_rescue.py attrs         SEALED         KEYS or --data-key F, --instance HEX [--part N]
    strongroom_rescue.py blob          SEALED OUT     --data-key F [--length N] [--salt HEX] [--part N]

Keys come from files (32 raw bytes, or their hex or base64), never from the command line. A master key inside
an HSM does not come out: let the token unwrap one blob that `bucket-record` prints, and pass the result as
--secret.

Exit code: 0 ok, 1 input or output failed, 2 usage, 3 unauthentic, 4 malformed, 5 unsupported.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import os
import shutil
import struct
import sys
import tempfile

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_unwrap_with_padding,
)

HEADER, TAG, BLOCK = 80, 16, 16
SEGMENT, SEALED_SEGMENT = 65536, 65552
ROW = 64 * BLOCK
MAX_SEGMENTS = 1 << 28
PAGE_ENTRIES, ENTRY = 128, 52
MANAGED, CUSTOMER, KMS, PLAIN, KEY_FILE = 1, 2, 3, 4, 5
MODES = {"managed": MANAGED, "customer": CUSTOMER, "kms": KMS, "plain": PLAIN, "key-file": KEY_FILE}
STATES = {1: "active", 2: "unwrap only", 3: "disabled", 4: "shredded"}


class FormatError(Exception):
    """One of the error classes of F-04."""


class Malformed(FormatError):
    """The public structure is wrong."""

    code = 4


class Unsupported(FormatError):
    """A format, version, suite, mode or strategy this reader does not know."""

    code = 5


class Unauthentic(FormatError):
    """Something failed once a key was in play."""

    code = 3

    def __init__(self, message="not authentic (damaged, forged, or another key or context)"):
        super().__init__(message)


class WrongCustomerKey(Unauthentic):
    """The one failure under a key that has a name of its own (F-51)."""

    def __init__(self):
        super().__init__("wrong customer key")


# -- primitives ------------------------------------------------------------------------------------------------


def kdf(key, label, context, size):
    """F-08: SP 800-108r1 counter mode over HMAC-SHA-256."""
    out, i = b"", 1
    while len(out) < size:
        block = struct.pack(">I", i) + label + b"\0" + context + struct.pack(">I", 8 * size)
        out += hmac.new(key, block, hashlib.sha256).digest()
        i += 1
    return out[:size]


def cmac(key, message):
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def aes(key, blocks, decrypt=False):
    """The bare permutation, on whole blocks."""
    cipher = Cipher(algorithms.AES(key), modes.ECB())
    run = cipher.decryptor() if decrypt else cipher.encryptor()
    return run.update(blocks) + run.finalize()


def xor(a, b):
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


def gcm_open(key, nonce, sealed, aad):
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Unauthentic() from None


def same(a, b):
    if not hmac.compare_digest(a, b):
        raise Unauthentic()


def kw_open(key, wrapped, padded=False):
    try:
        return (aes_key_unwrap_with_padding if padded else aes_key_unwrap)(key, wrapped)
    except InvalidUnwrap:
        raise Unauthentic() from None


def u16(data, at):
    return struct.unpack_from("<H", data, at)[0]


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def lp(data):
    """F-02."""
    if len(data) > 65535:
        raise Malformed("a field of more than 65,535 bytes")
    return struct.pack("<H", len(data)) + data


# -- sealed blob (F-10 to F-32) --------------------------------------------------------------------------------


def sealed_len(suite, length):
    """F-24."""
    full, rest = divmod(length, SEGMENT)
    if suite == 1:
        return HEADER + SEALED_SEGMENT * full + BLOCK * (rest // BLOCK + 1) + TAG
    return HEADER + length + TAG * (full + 1)


class Blob:
    """One sealed blob in a seekable file; steps 1 to 5 of F-26 are done by the constructor."""

    def __init__(self, file, start, size, data_key):
        self.file, self.start = file, start
        file.seek(start)
        header = file.read(HEADER)
        if size < HEADER or len(header) < HEADER or header[:8] != b"STRGROOM":
            raise Malformed("not a sealed blob: shorter than 80 bytes or without the magic")
        fx, self.salt = header[8:16], header[16:48]
        self.suite, self.part = fx[1], u32(fx, 4)
        if fx[0] != 1:
            raise Unsupported("blob format %d" % fx[0])
        if self.suite > 2:
            raise Unsupported("suite %d" % self.suite)
        if fx[2] != 16 or fx[3] != (6 if self.suite == 1 else 0) or self.part > 10000:
            raise Malformed("segment size, lanes or part number of the header")
        body = size - HEADER
        self.segments = -(-body // SEALED_SEGMENT)
        self.last = body - (self.segments - 1) * SEALED_SEGMENT
        if not 1 <= self.segments <= MAX_SEGMENTS:
            raise Malformed("no segment, or more than 2^28")
        if self.suite == 1:
            fits = 32 <= self.last <= SEALED_SEGMENT and self.last % BLOCK == 0
        else:
            fits = TAG <= self.last <= SEALED_SEGMENT - 1
        if not fits:
            raise Malformed("length of the last segment (the blob was cut or extended)")
        same(header[48:80], hashlib.sha256(data_key + self.salt + fx + b"SRC1").digest())  # F-14
        keys = b"".join(
            cmac(data_key, bytes([i]) + b"SRB1\0" + self.salt + fx + struct.pack(">H", 768)) for i in range(1, 7)
        )  # F-13
        self.k_enc, self.k_iv, self.k_mac = keys[:32], keys[32:64], keys[64:]

    def plaintext(self):
        """Yields the plaintext of each segment after its tag has verified; raises Unauthentic at the first bad one."""
        for i in range(self.segments):
            last = i == self.segments - 1
            self.file.seek(self.start + HEADER + i * SEALED_SEGMENT)
            size = self.last if last else SEALED_SEGMENT
            sealed = self.file.read(size)
            if len(sealed) != size:
                raise Malformed("the input became shorter while it was read")
            yield self.open_segment(i, int(last), sealed)

    def open_segment(self, i, final, sealed):
        nonce = struct.pack("<IQ", final, i)  # F-20
        if self.suite == 2:
            return gcm_open(self.k_enc, nonce, sealed, b"")  # F-22
        data, tag = sealed[:-TAG], sealed[-TAG:]
        gcm_open(self.k_mac, nonce, tag, data)  # F-21, F-23: GMAC is GCM without a plaintext
        if self.suite == 0:
            return data
        ivs = aes(self.k_iv, b"".join(struct.pack("<QII", i, j, final) for j in range(64)))  # F-19
        chain = (ivs + data)[: len(data)]  # F-17: what each block was xored with lies one row before it
        plain = xor(aes(self.k_enc, data, decrypt=True), chain)
        if final:  # F-18
            pad = plain[-1]
            if not 1 <= pad <= BLOCK or plain[-pad:] != bytes([pad]) * pad:
                raise Unauthentic()
            plain = plain[:-pad]
        return plain


# -- data key record (F-40 to F-56) ----------------------------------------------------------------------------


def context_bytes(mode, bucket, instance, object_key=b"", kms_key_id=b"", encryption_context=b""):
    """F-43."""
    return bytes([mode]) + bucket + instance + lp(object_key) + lp(kms_key_id) + lp(encryption_context)


def encryption_context(pairs):
    """F-46, from (name, value) pairs of bytes."""
    if not pairs:
        return b""
    return struct.pack("<H", len(pairs)) + b"".join(lp(n) + lp(v) for n, v in sorted(pairs))


class DataKeyRecord:
    """Structure only: steps 1 to 3 of F-51."""

    def __init__(self, record):
        if len(record) not in (148, 188) or record[:4] != b"SRDK":
            raise Malformed("not a data key record: length or magic")
        self.mode, self.state = record[5], record[6]
        if record[4] != 1:
            raise Unsupported("data key record version %d" % record[4])
        if self.mode not in MODES.values():
            raise Unsupported("data key record mode %d" % self.mode)
        if record[7] != 0 or self.state > 2:
            raise Malformed("reserved byte or state of the data key record")
        self.generation, self.salt, self.digest = u32(record, 8), record[12:44], record[44:76]
        if self.state != 1 and self.digest != bytes(32):
            raise Malformed("a manifest digest in a state that has none")
        if len(record) != (188 if self.mode == CUSTOMER else 148):
            raise Malformed("length of the data key record in mode %d" % self.mode)
        self.authenticated, self.wrapped, self.commit = record[:-32], record[76:-32], record[-32:]

    def open(self, kek, context, customer_key=None):
        """Steps 4 to 9 of F-51; `context` from F-43, made from what the caller knows."""
        if context[0] != self.mode:
            raise Unauthentic()
        h = hashlib.sha256(b"sr-context-1".ljust(16, b"\0") + self.salt + context).digest()  # F-47
        keys = kdf(kek, b"sr-wrap-1", h, 64)  # F-48
        same(self.commit, hmac.new(keys[32:], self.authenticated, hashlib.sha256).digest())  # F-50
        payload = kw_open(keys[:32], self.wrapped)
        if self.mode != CUSTOMER:
            return payload
        if customer_key is None:
            raise WrongCustomerKey()
        inner = kdf(customer_key, b"sr-ssec-1", h, 64)  # F-49
        if not hmac.compare_digest(payload[40:], inner[32:]):
            raise WrongCustomerKey()
        return kw_open(inner[:32], payload[:40])


# -- bucket key record (F-60 to F-73) --------------------------------------------------------------------------


class BucketKeyRecord:
    """Structure only: steps 1 to 4 of F-67."""

    def __init__(self, record):
        if len(record) < 160 or record[:4] != b"SRBK":
            raise Malformed("not a bucket key record: length or magic")
        if record[4] != 1:
            raise Unsupported("bucket key record version %d" % record[4])
        self.bucket, self.generation, self.rev = record[5:21], u32(record, 21), u64(record, 25)
        self.state, self.check, count = record[33], record[34:66], record[66]
        if not 1 <= count <= 8 or len(record) != 99 + 61 * count or self.state not in STATES or self.rev == 0:
            raise Malformed("wrap count, length, state or rev of the bucket key record")
        self.body, self.tag, self.wraps = record[:34], record[-32:], []
        for at in range(67, 67 + 61 * count, 61):
            self.wraps.append((record[at : at + 16], u32(record, at + 16), record[at + 20], record[at + 21 : at + 61]))
        ids = [wrap[0] for wrap in self.wraps]
        if any(a >= b for a, b in zip(ids, ids[1:])):
            raise Malformed("the wraps are not in ascending order of mk_id")
        for wrap in self.wraps:
            if wrap[2] not in (1, 2):
                raise Unsupported("wrap strategy %d" % wrap[2])

    def kdf_context(self):
        return self.bucket + struct.pack("<I", self.generation)

    def kek(self, secret):
        """F-60, F-62: the KEK, after check and state tag. A record with a bad tag counts as disabled: refused."""
        keys = kdf(secret, b"sr-bkt-1", self.kdf_context(), 64)
        same(self.check, keys[32:])
        tag_key = kdf(secret, b"sr-bst-1", self.kdf_context(), 32)
        same(self.tag, hmac.new(tag_key, self.body, hashlib.sha256).digest())
        return keys[:32]

    def unwrap(self, master_keys):
        """The secret, under whichever of the master keys opens a wrap (F-64)."""
        for _, _, strategy, blob in self.wraps:
            for key in master_keys:
                try:
                    secret = kw_open(key, blob, padded=strategy == 2)
                    self.kek(secret)
                    return secret
                except Unauthentic:
                    continue
        raise Unauthentic()


# -- manifest, head, attributes (F-80 to F-92) -----------------------------------------------------------------


class Manifest:
    """F-85. `digest` is the data key record's, or None when there is no record to compare with."""

    def __init__(self, manifest, pages, digest=None, head=None):
        if len(manifest) < 56 or manifest[:4] != b"SRMF":
            raise Malformed("not a manifest: length or magic")
        if manifest[4] != 1:
            raise Unsupported("manifest version %d" % manifest[4])
        if manifest[5] > 2:
            raise Unsupported("suite %d" % manifest[5])
        self.suite, self.total, self.head_digest = manifest[5], u64(manifest, 8), manifest[16:48]
        parts, count = u32(manifest, 48), u32(manifest, 52)
        if manifest[6:8] != b"\0\0" or not 1 <= parts <= 10000 or count != -(-parts // PAGE_ENTRIES):
            raise Malformed("reserved bytes, parts or pages of the manifest")
        if len(manifest) != 56 + 32 * count or len(pages) != count:
            raise Malformed("length of the manifest or number of pages")
        sizes = [ENTRY * min(PAGE_ENTRIES, parts - PAGE_ENTRIES * i) for i in range(count)]
        if [len(page) for page in pages] != sizes:
            raise Malformed("length of a manifest page")
        if digest is not None:
            same(digest, hashlib.sha256(manifest).digest())
        for i, page in enumerate(pages):
            same(manifest[56 + 32 * i : 88 + 32 * i], hashlib.sha256(page).digest())
        self.entries = [
            (u32(page, at), u64(page, at + 4), u64(page, at + 12), page[at + 20 : at + 52])
            for page in pages
            for at in range(0, len(page), ENTRY)
        ]
        at, before = 0, -1  # F-82
        for part, start, length, _ in self.entries:
            if part <= before or part > 10000 or start != at or (part == 0 and parts > 1):
                raise Malformed("part numbers or starts of the manifest")
            at, before = at + length, part
        if at != self.total:
            raise Malformed("the parts do not add up to the total length")
        if head is not None:
            same(self.head_digest, hashlib.sha256(head).digest())


def split_pages(data):
    """Pages stored one after the other: all are full but the last (F-81)."""
    full = ENTRY * PAGE_ENTRIES
    return [data[i : i + full] for i in range(0, len(data), full)]


def parse_list(data, magic):
    """F-86: `magic` is SROH for a head, SRAT for attributes."""
    if len(data) < 7 or data[:4] != magic:
        raise Malformed("not a %s list: length or magic" % magic.decode())
    if data[4] != 1:
        raise Unsupported("%s version %d" % (magic.decode(), data[4]))
    fields, at = [], 7
    for _ in range(2 * u16(data, 5)):
        if at + 2 > len(data) or at + 2 + u16(data, at) > len(data):
            raise Malformed("a list entry reaches beyond its end")
        fields.append(data[at + 2 : at + 2 + u16(data, at)])
        at += 2 + u16(data, at)
    names = fields[::2]
    if at != len(data):
        raise Malformed("bytes behind the last list entry")
    if any(a >= b for a, b in zip(names, names[1:])):
        raise Malformed("list names are not unique and sorted")
    if any(c > 0x7F or 0x41 <= c <= 0x5A for name in names for c in name):
        raise Malformed("a list name is not lower-case ASCII")
    return list(zip(names, fields[1::2]))


def attrs_key_bucket(secret, bucket, generation, instance, part):
    """F-91."""
    k_meta = kdf(secret, b"sr-meta-1", bucket + struct.pack("<I", generation), 32)
    return kdf(k_meta, b"sr-attr-1", instance + struct.pack("<I", part), 32)


def attrs_key_customer(data_key, instance, part):
    """F-92."""
    return kdf(data_key, b"sr-attr-2", instance + struct.pack("<I", part), 32)


def open_attrs(key, sealed):
    """F-90."""
    if len(sealed) < 16 or len(sealed) % 8:
        raise Malformed("length of sealed attributes")
    return parse_list(kw_open(key, sealed, padded=True), b"SRAT")


# -- sealed file and wrapped key (F-95 to F-99) ----------------------------------------------------------------


def check_magic(magic, wanted, what):
    """F-99: the last two characters of these magics are a version."""
    if magic == wanted:
        return
    if len(magic) == 8 and magic[:6] == wanted[:6] and magic[6:].isdigit():
        raise Unsupported("%s of version %s" % (what, magic[6:].decode()))
    raise Malformed("not a %s: magic" % what)


class SealedFile:
    """The envelope of a sealed file; `open` gives its blob."""

    def __init__(self, file):
        self.file, self.size = file, file.seek(0, os.SEEK_END)
        file.seek(0)
        check_magic(file.read(8), b"SRFILE01", "sealed file")
        size = self.length()
        if size != 0 and size not in [99 + 61 * n for n in range(1, 9)]:
            raise Malformed("length of the bucket key record")
        bucket_record = self.exactly(size)
        self.instance = self.exactly(16)
        if self.length() != 148:
            raise Malformed("length of the data key record")
        record = self.exactly(148)
        self.start = file.tell()
        self.bucket_record = BucketKeyRecord(bucket_record) if size else None
        self.record = DataKeyRecord(record)
        mode, generation = (MANAGED, self.bucket_record.generation) if size else (KEY_FILE, 0)
        if (self.record.state, self.record.mode, self.record.generation) != (2, mode, generation):
            raise Malformed("state, mode or generation of the data key record")
        header = self.file.read(HEADER)
        if len(header) == HEADER and header[:9] == b"STRGROOM\1" and (header[9] == 0 or header[12:16] != bytes(4)):
            raise Malformed("a sealed file holds part 0 in suite 1 or 2")

    def exactly(self, size):
        data = self.file.read(size)
        if len(data) != size:
            raise Malformed("the sealed file ends within its head")
        return data

    def length(self):
        return u32(self.exactly(4), 0)

    def open(self, kek):
        bucket = self.bucket_record.bucket if self.bucket_record else bytes(16)
        data_key = self.record.open(kek, context_bytes(self.record.mode, bucket, self.instance))
        return Blob(self.file, self.start, self.size - self.start, data_key)


class WrappedKey:
    """F-98."""

    def __init__(self, data):
        check_magic(data[:8], b"SRWKEY01", "wrapped key")
        if len(data) != 188:
            raise Malformed("a wrapped key has 188 bytes")
        self.bucket, self.instance, self.record = data[8:24], data[24:40], DataKeyRecord(data[40:])
        if self.record.mode != MANAGED or self.record.state != 2:
            raise Malformed("mode or state of the wrapped key's record")

    def open(self, kek, context):
        return self.record.open(kek, context_bytes(MANAGED, self.bucket, self.instance, context))


# -- command line ----------------------------------------------------------------------------------------------


def read_key(path):
    """32 raw bytes, or their hex or base64 with white space around."""
    with open(path, "rb") as file:
        raw = file.read(4096)
    if len(raw) == 32:
        return raw
    for decode in (binascii.unhexlify, lambda text: base64.b64decode(text, validate=True)):
        try:
            key = decode(raw.strip())
        except ValueError:
            continue
        if len(key) == 32:
            return key
    raise OSError("%s does not hold a 32-byte key (raw, hex or base64)" % path)


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def seekable(path, stack):
    """The input, copied to a temporary file first when it is a pipe (it is still sealed)."""
    if path != "-":
        file = open(path, "rb")
    else:
        file = tempfile.TemporaryFile()
        shutil.copyfileobj(sys.stdin.buffer, file)
    stack.append(file)
    return file


def write_verified(path, chunks, force, mode=0o644):
    """Writes all chunks or nothing: the name appears only after the last of them was yielded."""
    if path == "-":
        with tempfile.TemporaryFile() as spool:
            for chunk in chunks:
                spool.write(chunk)
            spool.seek(0)
            shutil.copyfileobj(spool, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    if os.path.exists(path) and not force:
        raise OSError("%s exists; --force overwrites it" % path)
    handle, temporary = tempfile.mkstemp(prefix=".rescue-", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def hex_of(size):
    def parse(text):
        value = binascii.unhexlify(text)
        if len(value) != size:
            raise ValueError("%d bytes in hex wanted" % size)
        return value

    parse.__name__ = "%d bytes in hex" % size
    return parse


def secret_of(args, record):
    if args.secret:
        return read_key(args.secret)
    if args.master_key:
        return record.unwrap([read_key(path) for path in args.master_key])
    raise OSError("a key is needed: --master-key or --secret")


def kek_of(args):
    if args.kek:
        return read_key(args.kek)
    if not args.bucket_record:
        raise OSError("a key is needed: --kek, or --bucket-record with --master-key or --secret")
    record = BucketKeyRecord(read_file(args.bucket_record))
    return record.kek(secret_of(args, record))


def show(**facts):
    for name, value in facts.items():
        print("%s: %s" % (name.replace("_", "-"), value.hex() if isinstance(value, bytes) else value))


def show_list(entries):
    for name, value in entries:
        text = value.decode("utf-8", "replace") if value.isascii() and value.decode().isprintable() else value.hex()
        print("%s: %s" % (name.decode(), text))


def give_data_key(args, data_key):
    if args.write_data_key:
        write_verified(args.write_data_key, [data_key], args.force, 0o600)
    else:
        print("authentic (--write-data-key FILE writes the data key)")


def run_blob(args, stack):
    file = seekable(args.sealed, stack)
    blob = Blob(file, 0, file.seek(0, os.SEEK_END), read_key(args.data_key))
    if args.length is not None and sealed_len(blob.suite, args.length) != blob.file.seek(0, os.SEEK_END):
        raise Unauthentic()
    if args.salt is not None:
        same(args.salt, blob.salt)
    if args.part is not None and args.part != blob.part:
        raise Unauthentic()
    write_verified(args.out, exactly(blob.plaintext(), args.length), args.force)


def exactly(chunks, length):
    """Passes the chunks on, and ends in an error if they are not of the length that was stated."""
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        yield chunk
    if length not in (None, seen):
        raise Unauthentic()


def run_record(args, _):
    record = DataKeyRecord(read_file(args.record))
    pairs = [tuple(pair.encode().partition(b"=")[::2]) for pair in args.encryption_context]
    object_key = args.object_key_hex if args.object_key_hex is not None else os.fsencode(args.object_key)
    context = context_bytes(
        MODES[args.mode], args.bucket, args.instance, object_key, args.kms_key_id.encode(), encryption_context(pairs)
    )
    data_key = record.open(kek_of(args), context, read_key(args.customer_key) if args.customer_key else None)
    show(generation=record.generation, state=record.state, manifest_digest=record.digest)
    give_data_key(args, data_key)


def run_wrapped_key(args, _):
    wrapped = WrappedKey(read_file(args.wrapped))
    context = args.context_hex if args.context_hex is not None else os.fsencode(args.context)
    data_key = wrapped.open(kek_of(args), context)
    show(bucket=wrapped.bucket, instance=wrapped.instance, generation=wrapped.record.generation)
    give_data_key(args, data_key)


def run_bucket_record(args, _):
    record = BucketKeyRecord(read_file(args.record))
    if args.secret or args.master_key:
        secret = secret_of(args, record)
        record.kek(secret)
        if args.write_secret:
            write_verified(args.write_secret, [secret], args.force, 0o600)
    show(bucket=record.bucket, generation=record.generation, rev=record.rev, state=STATES[record.state])
    for mk_id, version, strategy, blob in record.wraps:
        cka_id = hashlib.sha256(b"sr-mk-1" + mk_id + struct.pack("<I", version)).digest()[:16]  # F-65
        show(wrap="mk_id %s version %d CKA_ID %s %s %s" % (
            mk_id.hex(), version, cka_id.hex(), ("kw", "kwp")[strategy - 1], blob.hex()))
    print("authentic" if args.secret or args.master_key else "not authenticated (no key given)")


def run_manifest(args, _):
    head = read_file(args.head) if args.head else None
    manifest = Manifest(read_file(args.manifest), split_pages(read_file(args.pages)), args.digest, head)
    entries = parse_list(head, b"SROH") if head is not None else []
    show(suite=manifest.suite, total=manifest.total, head_digest=manifest.head_digest, parts=len(manifest.entries))
    for part, start, length, salt in manifest.entries:
        print("part %d start %d length %d salt %s" % (part, start, length, salt.hex()))
    show_list(entries)


def run_attrs(args, _):
    if args.data_key:
        key = attrs_key_customer(read_key(args.data_key), args.instance, args.part)
    else:
        if not args.bucket_record:
            raise OSError("a key is needed: --data-key, or --bucket-record with --master-key or --secret")
        record = BucketKeyRecord(read_file(args.bucket_record))
        secret = secret_of(args, record)
        record.kek(secret)
        key = attrs_key_bucket(secret, record.bucket, record.generation, args.instance, args.part)
    show_list(open_attrs(key, read_file(args.sealed)))


def run_file(args, stack):
    sealed = SealedFile(seekable(args.sealed, stack))
    if sealed.bucket_record:
        kek = sealed.bucket_record.kek(secret_of(args, sealed.bucket_record))
    elif args.key_file:
        kek = read_key(args.key_file)
    else:
        raise OSError("this file was sealed under a key file: --key-file")
    write_verified(args.out, sealed.open(kek).plaintext(), args.force)


def parser():
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)

    def command(name, run, *positional):
        sub = commands.add_parser(name)
        sub.set_defaults(run=run)
        sub.add_argument("--force", action="store_true", help="overwrite the output")
        for argument in positional:
            sub.add_argument(argument)
        return sub

    def root_keys(sub):
        sub.add_argument("--master-key", action="append", metavar="FILE", help="a root's key; may be repeated")
        sub.add_argument("--secret", metavar="FILE", help="the secret of the bucket key record, already unwrapped")

    def bucket_keys(sub):
        root_keys(sub)
        sub.add_argument("--bucket-record", metavar="FILE")
        sub.add_argument("--kek", metavar="FILE", help="the bucket key itself")

    def data_key_out(sub):
        sub.add_argument("--write-data-key", metavar="FILE")

    blob = command("blob", run_blob, "sealed", "out")
    blob.add_argument("--data-key", required=True, metavar="FILE")
    blob.add_argument("--length", type=int, help="plaintext length the manifest states")
    blob.add_argument("--salt", type=hex_of(32), help="salt the manifest states")
    blob.add_argument("--part", type=int, help="part number the manifest states")

    record = command("record", run_record, "record")
    bucket_keys(record)
    data_key_out(record)
    record.add_argument("--mode", choices=MODES, default="managed")
    record.add_argument("--bucket", type=hex_of(16), required=True)
    record.add_argument("--instance", type=hex_of(16), required=True)
    record.add_argument("--object-key", default="")
    record.add_argument("--object-key-hex", type=binascii.unhexlify)
    record.add_argument("--kms-key-id", default="")
    record.add_argument("--encryption-context", action="append", default=[], metavar="NAME=VALUE")
    record.add_argument("--customer-key", metavar="FILE")

    wrapped = command("wrapped-key", run_wrapped_key, "wrapped")
    bucket_keys(wrapped)
    data_key_out(wrapped)
    wrapped.add_argument("--context", default="")
    wrapped.add_argument("--context-hex", type=binascii.unhexlify)

    bucket = command("bucket-record", run_bucket_record, "record")
    root_keys(bucket)
    bucket.add_argument("--write-secret", metavar="FILE")

    manifest = command("manifest", run_manifest, "manifest", "pages")
    manifest.add_argument("--digest", type=hex_of(32), help="manifest digest of the data key record")
    manifest.add_argument("--head", metavar="FILE")

    attrs = command("attrs", run_attrs, "sealed")
    bucket_keys(attrs)
    attrs.add_argument("--data-key", metavar="FILE")
    attrs.add_argument("--instance", type=hex_of(16), required=True)
    attrs.add_argument("--part", type=int, default=0)

    file = command("file", run_file, "sealed", "out")
    root_keys(file)
    file.add_argument("--key-file", metavar="FILE")
    return top


def main():
    args, stack = parser().parse_args(), []
    try:
        args.run(args, stack)
        return 0
    except FormatError as error:
        kind = "unauthentic" if isinstance(error, Unauthentic) else type(error).__name__.lower()
        print("%s: %s" % (kind, error), file=sys.stderr)
        return error.code
    except OSError as error:
        print("error: %s" % error, file=sys.stderr)
        return 1
    finally:
        for file in stack:
            file.close()


if __name__ == "__main__":
    sys.exit(main())
