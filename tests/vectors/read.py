"""Reads events.json and recomputes it, from the words of PROTOCOL.md alone: python3 read.py [events.json].

Needs the packages blake3 and cryptography. Prints a line for each thing verified; exits 1 at the first mismatch.
"""
import base64, hashlib, json, os, sys
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# name:form. uN: integer of N bytes, below what follows `<`. bN: N bytes. tN: text. eN: text, not empty. lN: sorted list.
CERTIFICATE = "user:b32 device:b32 name:t64 created_ms:u8 signature:b64"
PAYLOADS = {
    (0, 1): "rules:u2 kind:u1<3 founders:l16 invite_rank:u1<100 secret:b32 certificate:c",
    (0, 2): "user:b32 rank:u1<100 lifts:l64",
    (0, 3): "key:b32 rank:u1<100",
    (0, 4): "invite:b32 certificate:c proof:b64",
    (0, 5): "certificate:c",
    (0, 6): "invite:b32 joins:l1024",
    (0, 9): "",
    (0, 10): "key:t32 value:t1024 replaces:l64",
    (0, 11): "author:b32 grant:b32 seq:u8 id:b32",
    (1, 1): "text:t49152 mentions:l64",
    (1, 2): "target:b32 root:b32 text:t49152 mentions:l64",
    (1, 3): "target:b32 text:t49152 mentions:l64",
    (1, 4): "target:b32 emoji:e64 removed:u1<2",
    (1, 6): "source:t128 author:t128 ms:u8 order:u4 occurrence:u4 text:t49152",
    (1, 7): "name:t64",
}
HEADER = "version:u1<2 class:u1<2 kind:u2 room:b32 author:b32 grant:b32 seq:u8 prev:b32 parents:l8 hlc:u8 len:u4 commit:b32"
LINK = "version:u1<2 network:t64 room:b32 kind:u1<3 secret:b32 invite:b32 key:b32 expires_ms:u8"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ZERO = "00" * 32
unhex = bytes.fromhex

def need(holds, what):
    if not holds:
        raise ValueError(what)

class Bytes:
    """Reads from the front."""
    def __init__(self, data):
        self.data = data
    def take(self, n):
        need(n <= len(self.data), "bytes end too early")
        head, self.data = self.data[:n], self.data[n:]
        return head
    def number(self, size, limit=1 << 64):
        n = int.from_bytes(self.take(size), "big")
        need(n < limit, "a number or length is too large")
        return n
    def bytes(self, most):
        return self.take(self.number(4, most + 1))
    def value(self, form):
        size, _, limit = form[1:].partition("<")
        if form[0] == "u":
            return self.number(int(size), int(limit or 1 << 64))
        if form[0] == "b":
            return self.take(int(size)).hex()
        if form[0] == "c":
            return self.fields(CERTIFICATE)
        if form[0] == "l":
            ids = [self.take(32).hex() for _ in range(self.number(4, int(size) + 1))]
            need(all(a < b for a, b in zip(ids, ids[1:])), "a list does not ascend")
            return ids
        text = self.bytes(int(size)).decode()
        need(text or form[0] == "t", "an empty text")
        return text
    def fields(self, layout):
        return {name: self.value(form) for name, form in (f.split(":") for f in layout.split())}
    def end(self, value=None):
        need(not self.data, "bytes left over")
        return value

def whole(layout, data):
    r = Bytes(data)
    return r.end(r.fields(layout))

def derive(context, data):
    return blake3(data, derive_key_context="tidings/" + context + "/1").digest()

def commitment(salt, payload):
    return blake3(payload, key=derive("payload salt", salt)).digest()

def u32(n):
    return n.to_bytes(4, "big")

def u64(n):
    return n.to_bytes(8, "big")

def text(value):
    return u32(len(value.encode())) + value.encode()

def base32(data):
    return base64.b32encode(data).decode().rstrip("=").lower()

def did_key(key):
    n, digits = int.from_bytes(b"\xed\x01" + key, "big"), ""
    while n:
        n, digit = divmod(n, 58)
        digits = BASE58[digit] + digits
    return "did:key:z" + digits

def public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()

def user_of(entropy):
    return public(HKDF(SHA256(), 32, None, b"tidings/user key/1").derive(unhex(entropy)))

def verify(key, use, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(unhex(key)).verify(signature, b"tidings/" + use + b"/1\0" + message)
    except Exception:
        raise ValueError("the signature of the " + use.decode()) from None

def verify_certificate(c):
    claim = unhex(c["user"] + c["device"]) + text(c["name"]) + u64(c["created_ms"])
    verify(c["user"], b"certificate", claim, unhex(c["signature"]))
    return claim.hex()

def verify_proof(room, join, key):
    claim = room + join["invite"] + join["certificate"]["user"] + join["certificate"]["device"]
    verify(key, b"join", unhex(claim), unhex(join["proof"]))

def read_header(data):
    h = whole(HEADER, data)
    genesis, join = (h["class"], h["kind"]) == (0, 1), (h["class"], h["kind"]) == (0, 4)
    need(h["version"] == 1 and h["len"] <= 49152 and h["seq"] > 0, "version, payload length or seq")
    need((h["seq"] == 1) == (h["prev"] == ZERO), "prev")
    need((h["room"] == ZERO) == genesis, "room")
    need((h["grant"] == ZERO) == (genesis or join), "grant")
    need(h["seq"] == 1 or not (genesis or join), "a Genesis or Join above seq 1")
    return h

def read_payload(kind, data):
    return whole(PAYLOADS[kind], data) if kind in PAYLOADS else {}

def read_event(data):
    need(len(data) <= 50304, "event too long")
    r = Bytes(data)
    header, signature = r.bytes(1024), r.take(64)
    body = r.end((r.take(16), r.bytes(49152)) if r.number(1, 2) else None)
    h, name = read_header(header), derive("event id", header)
    if body:
        need((len(body[1]), commitment(*body).hex()) == (h["len"], h["commit"]), "payload commitment")
    verify(h["author"], b"event", name, signature)
    return name, h, header, signature, body

def check_user(v, words):
    bits = int.from_bytes(unhex(v["entropy"]) + hashlib.sha256(unhex(v["entropy"])).digest()[:1], "big")
    need(v["words"] == " ".join(words[bits >> 11 * (23 - n) & 2047] for n in range(24)), "words")
    key = user_of(v["entropy"])
    need((key.hex(), did_key(key)) == (v["user"], v["user_text"]), "user key")

def check_certificate(v):
    need(verify_certificate(v) == v["claim"] and v["claim"] + v["signature"] == v["certificate"], "bytes")
    device = public(unhex(v["device_seed"]))
    need((device.hex(), did_key(device)) == (v["device"], v["device_text"]), "device")
    need(user_of(v["entropy"]).hex() == v["user"], "user")

def check_event(v, events):
    name, h, header, signature, body = read_event(unhex(v["event"]))
    need((name.hex(), base32(name)) == (v["id"], v["id_text"]), "id")
    need((header.hex(), signature.hex()) == (v["header"], v["signature"]), "header or signature")
    need(body and (body[0].hex(), body[1].hex()) == (v["salt"], v["payload"]), "salt or payload")
    for field in ("class", "kind", "room", "author", "grant", "seq", "prev", "parents"):
        need(h[field] == v[field], field)
    need("%016x" % h["hlc"] == v["hlc"] and public(unhex(v["device_seed"])).hex() == v["author"], "hlc or device")
    fields = read_payload((h["class"], h["kind"]), body[1])
    need(fields == v["fields"], "fields")
    if "certificate" in fields:
        verify_certificate(fields["certificate"])
        need(fields["certificate"]["device"] == h["author"], "device of the certificate")
    if "proof" in fields:
        verify_proof(h["room"], fields, events[fields["invite"]]["fields"]["key"])

def check_join(v, events):
    event, join = events[v["event"]], events[v["event"]]["fields"]
    need(public(unhex(v["invite_seed"])).hex() == v["key"], "invite key")
    need((v["room"], v["invite"], v["proof"]) == (event["room"], join["invite"], join["proof"]), "fields")
    need([join["certificate"][k] for k in ("user", "device")] == [v["user"], v["device"]], "user or device")
    verify_proof(v["room"], join, v["key"])

def check_source(v):
    f = read_payload((1, 6), unhex(v["payload"]))
    record = text(f["source"]) + text(f["author"]) + u64(f["ms"]) + text(f["text"]) + u32(f["occurrence"])
    need(f == v["fields"] and derive("import source", record).hex() == v["source_id"], "source id")

def check_link(v):
    prefix, code = v["text"][:15], v["text"][15:]
    data = base64.b32decode(code.upper() + "=" * (-len(code) % 8))
    need(prefix == "tidings://join/" and len(v["text"]) <= 4096 and base32(data) == code, "text")
    need(derive("link checksum", data[:-4])[:4] == data[-4:], "checksum")
    r = Bytes(data[:-4])
    link = r.fields(LINK) | {"addresses": [r.value("t256") for _ in range(r.number(4, 9))], "text": v["text"]}
    need(r.end(link.pop("version")) == 1 and link == v, "fields")

def check_range(v):
    data, author, n = unhex(v["inflated"]), unhex(v["author"]), len(v["inflated"]) // 2
    # The chunks of the vectors are zstd frames with a content size of 4 bytes and one raw block.
    frame = unhex("28b52ffda0") + n.to_bytes(4, "little") + (n << 3 | 1).to_bytes(3, "little")
    need((frame + data).hex() == v["chunk"], "chunk")
    r = Bytes(data)
    first, prev, count = r.number(8), r.take(32), r.number(4, 1025)
    need(count > 0 and first > 0 and first + count - 1 == v["tip_seq"], "the seq of the tip")
    hlc, ids = 0, []
    for seq in range(first, first + count):
        kind, hlc, parents = r.number(2), (hlc + r.number(8)) % (1 << 64), r.value("l8")
        body = (r.take(16), r.bytes(49152)) if r.number(1, 2) else None
        left = u32(len(body[1])) + commitment(*body) if body else r.take(4 + 32)
        signature = r.take(64) if r.number(1, 2) else None
        root, genesis = v["class"] == 0 and kind in (1, 4), v["class"] == 0 and kind == 1
        header = bytes([1, v["class"]]) + kind.to_bytes(2, "big") + unhex(ZERO if genesis else v["room"]) + author
        header += unhex(ZERO if root else v["grant"]) + u64(seq) + prev + u32(len(parents)) + unhex("".join(parents))
        header += u64(hlc) + left
        prev = derive("event id", header)
        need(read_header(header) and (not root or prev.hex() == v["grant"]), "another log")
        need(not genesis or prev.hex() == v["room"], "another room")
        need(signature or (v["class"] == 1 and seq % 256 and seq != v["tip_seq"]), "a signature is missing")
        if signature:
            verify(v["author"], b"event", prev, signature)
        ids.append(prev.hex())
    need(r.end(ids) == v["ids"] and ids[-1] == v["tip_id"], "the tip")

def check_erased(v):
    name, _, _, _, body = read_event(unhex(v["event"]))
    need(name.hex() == v["id"] and body is None, "erased event")

def check_malformed(v):
    readers = {"header": read_header, "event": read_event, "control": lambda data: read_payload((0, v["kind"]), data),
               "content": lambda data: read_payload((1, v["kind"]), data)}
    try:
        readers[v["what"]](unhex(v["bytes"]))
    except ValueError:
        return
    need(False, "read, though it is malformed")

def check_words(words):
    listed = hashlib.sha256("".join(w + "\n" for w in words).encode()).hexdigest()
    need(listed == "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda", "not the list of BIP-39")

def main(path):
    at = "file"
    try:
        with open(path, encoding="utf-8") as f:
            file = json.load(f)
        words, events = file["word_list"].split(" "), {v["id"]: v for v in file["events"]}
        checks = {"users": lambda v: check_user(v, words), "certificates": check_certificate,
                  "events": lambda v: check_event(v, events), "joins": lambda v: check_join(v, events),
                  "source_ids": check_source, "links": check_link, "ranges": check_range, "erased": check_erased,
                  "malformed": check_malformed, "word_list": lambda v: check_words(words)}
        for section, values in file.items():
            for n, v in enumerate([values] if section == "word_list" else values):
                at = " ".join([section, str(n), v.get("label", "") if isinstance(v, dict) else ""]).strip()
                checks[section](v)
                print("ok", at)
        need(checks.keys() == file.keys(), "a section is missing")
    except Exception as error:
        print("mismatch:", at + ":", type(error).__name__, " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0

if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "events.json")))
