"""Sections 1 to 5 of PROTOCOL.md: how bytes are read, hashed, signed and written as text; keys and certificates.

Bytes are hexadecimal text throughout, as in the vectors: what PROTOCOL.md writes as a ‖ b is a + b here.
"""
import base64, hashlib, hmac, io, re
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CERTIFICATE = "user:[32] device:[32] name:text≤64 created_ms:u64 signature:[64]"
KEYS = {}  # The private keys that were given so far, by their public keys.

def need(holds, what):
    if not holds:
        raise ValueError(what)

def unhex(data):
    need(re.fullmatch("([0-9a-f]{2})*", data), "not lower-case hexadecimal")
    return bytes.fromhex(data)

def read(layout, data):
    """The fields of a structure that is all of the data."""
    stream = io.BytesIO(unhex(data))
    fields = structure(stream, layout)
    need(not stream.read(), "bytes left over")
    return fields

def structure(stream, layout):
    """A field is name:form. [n] is n bytes, () a structure, * a list; + is there if the last u8 is 1, - if it is 0."""
    fields, flag = {}, None
    for when, name, *form in re.findall(r"([+-]?)(\w+):(\w+|\[\w+\]|\(.*?\))(\*?)≤?(\d*)", layout):
        if not when or flag == "-+".index(when):
            fields[name] = value(stream, *form)
            flag = fields[name] if form[0] == "u8" else flag
    return fields

def value(stream, form, many="", most=""):
    if many:
        values = [value(stream, form) for _ in range(value(stream, "u32", most=most))]
        need(form != "[32]" or values == sorted(set(values)), "a list does not ascend")
        return values
    if form[0] == "(":
        return structure(stream, form[1:-1])
    if form in ("bytes", "text", "filled"):
        data = value(stream, f"[{value(stream, 'u32', most=most)}]")
        need(data or form != "filled", "an empty text")
        return data if form == "bytes" else unhex(data).decode()
    size = int(form[1:]) // 8 if form[0] == "u" else int(form[1:-1])
    data = stream.read(size)
    need(len(data) == size, "bytes end too early")
    if form[0] == "[":
        return data.hex()
    number = int.from_bytes(data, "big")
    need(most == "" or number <= int(most), "a number, length or count is too large")
    return number

def text(value):
    return f"{len(value.encode()):08x}" + value.encode().hex()

def digest(context, data):
    return blake3(unhex(data), derive_key_context=f"tidings/{context}/1").hexdigest()

def sealed(body):
    """What a header ends with: length and commitment of the payload."""
    key = unhex(digest("payload salt", body["salt"]))
    return f"{len(body['payload']) // 2:08x}" + blake3(unhex(body["payload"]), key=key).hexdigest()

def check_signature(signature, key, tag, message):
    """Signs again and compares: the vectors' signatures are the deterministic ones, by keys that they give."""
    again = KEYS[key].sign(f"tidings/{tag}/1\0".encode() + unhex(message)) if key in KEYS else b""
    need(signature == again.hex(), f"the signature of the {tag}")

def check_certificate(c, device):
    claim = c["user"] + c["device"] + text(c["name"]) + f"{c['created_ms']:016x}"
    check_signature(c["signature"], c["user"], "certificate", claim)
    need(c["device"] == device, "a certificate of another device")
    return claim

def base32(data):
    return base64.b32encode(unhex(data)).decode().rstrip("=").lower()

def unbase32(letters):
    data = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8)).hex()
    need(base32(data) == letters, "not base32")
    return data

def did_key(key):
    n = int("ed01" + key, 16)
    return "did:key:z" + "".join(BASE58[n // 58**place % 58] for place in reversed(range(47)))

def public(seed):
    key = Ed25519PrivateKey.from_private_bytes(unhex(seed))
    name = key.public_key().public_bytes_raw().hex()
    KEYS[name] = key
    return name

def derived(entropy, label, size):
    """HKDF-SHA256: what is extracted without salt, expanded to one block."""
    extracted = hmac.digest(bytes(32), unhex(entropy), "sha256")
    return hmac.digest(extracted, f"tidings/{label}/1\x01".encode(), "sha256")[:size].hex()

def user_key(entropy):
    return public(derived(entropy, "user key", 32))

def x25519_public(private):
    return X25519PrivateKey.from_private_bytes(unhex(private)).public_key().public_bytes_raw().hex()

def montgomery(key):
    """An ed25519 public key as X25519 has it: (1 + y) / (1 - y) (RFC 7748, section 4.1)."""
    p, y = 2**255 - 19, int.from_bytes(unhex(key), "little") % 2**255
    return ((1 + y) * pow(1 - y, -1, p) % p).to_bytes(32, "little").hex()

def agree(private, theirs):
    return X25519PrivateKey.from_private_bytes(unhex(private)).exchange(X25519PublicKey.from_public_bytes(unhex(theirs))).hex()

def decrypt(key, data, aad):
    return ChaCha20Poly1305(unhex(key)).decrypt(bytes(12), unhex(data), unhex(aad)).hex()

def mac(key, data):
    return blake3(unhex(data), key=unhex(key)).hexdigest()

def phrase(entropy, words):
    listed = hashlib.sha256("".join(word + "\n" for word in words).encode()).hexdigest()
    need(listed == "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda", "not the list of BIP-39")
    bits = int(entropy + hashlib.sha256(unhex(entropy)).hexdigest()[:2], 16)
    return " ".join(words[bits >> 11 * place & 2047] for place in reversed(range(24)))
