"""Computes the golden vectors again, from the words of PROTOCOL.md alone: python3 read.py [events.json].

Sections 6 to 13; those before are in primitives.py. Needs the packages blake3 and cryptography. Prints a line for each
vector that comes out the same; exits 1 at the first that does not.
"""
import hashlib, json, os, sys
sys.dont_write_bytecode = True
from primitives import CERTIFICATE, base32, check_certificate, check_signature, did_key, digest, need, phrase, public
from primitives import agree, montgomery, decrypt, derived, mac, read, sealed, text, unbase32, unhex, user_key, x25519_public

# Layouts, whose signs are explained at primitives.structure.
HEADER = ("version:u8 class:u8≤1 kind:u16 room:[32] author:[32] grant:[32] seq:u64 prev:[32] parents:[32]*≤8 hlc:u64 "
          "length:u32≤49152 commitment:[32]")
BODY = "here:u8≤1 +salt:[16] +payload:bytes≤49152"
ROW = f"kind:u16 hlc:u64 parents:[32]*≤8 {BODY} -length:u32 -commitment:[32] signed:u8≤1 +signature:[64]"
LINK = ("version:u8 network:text≤64 room:[32] kind:u8≤2 secret:[32] invite:[32] key:[32] expires_ms:u64 "
        "addresses:(address:text≤256)*≤8")
GRANT_LINK = ("version:u8 network:text≤64 room:[32] kind:u8≤2 secret:[32] grant:[32] addresses:(address:text≤256)*≤8")
DEVICE_LINK = ("version:u8 network:text≤64 user:[32] home:[32] secret:[32] expires_ms:u64 "
               "addresses:(address:text≤256)*≤8")
ENTRY = "kind:u16 about:[32] hlc:u64 body:bytes≤2048"
CUTS = "cuts:(class:u8≤1 author:[32] grant:[32] seq:u64 ids:[32]*≤8)*≤64"
CONTROL = {
    1: f"rules:u16 kind:u8≤2 founders:[32]*≤16 invite_rank:u8≤99 secret:[32] certificate:({CERTIFICATE})",
    2: "user:[32] rank:u8≤99 lifts:[32]*≤64", 3: "key:[32] rank:u8≤99",
    4: f"invite:[32] certificate:({CERTIFICATE}) proof:[64]", 5: f"certificate:({CERTIFICATE})",
    6: "invite:[32] joins:[32]*≤1024", 7: f"user:[32] {CUTS} joins:[32]*≤1024",
    8: f"device:[32] {CUTS}", 9: "", 10: "key:text≤32 value:text≤1024 replaces:[32]*≤64",
    11: "author:[32] grant:[32] seq:u64 id:[32]", 12: "room:[32]"}
CONTENT = {
    1: "text:text≤49152 mentions:[32]*≤64", 2: "target:[32] root:[32] text:text≤49152 mentions:[32]*≤64",
    3: "target:[32] text:text≤49152 mentions:[32]*≤64", 4: "target:[32] emoji:filled≤64 removed:u8≤1",
    5: "hash:[32] len:u64 name:text≤255 media:text≤127 text:text≤49152 mentions:[32]*≤64 has_reply:u8≤1 +target:[32] +root:[32]",
    6: "source:text≤128 author:text≤128 ms:u64 order:u32 occurrence:u32 text:text≤49152",
    7: "name:text≤64 has_home:u8≤1 +home:[32]", 8: "sealing:[32]",
    9: "recipients:(id:[32] sealed_key:[80])*≤64 ciphertext:bytes≤32784",
    10: f"message:[32] author:[32] grant:[32] top:[32] seq:u64 prev:[32] rows:({ROW})*≤256",
    32: "target:[32] hidden:u8≤1",
    40: "room:[32] kind:u8≤2 secret:[32] invite:[32] key:[32] name:text≤64 addresses:(address:text≤256)*≤8",
    41: "room:[32] event:[32]", 42: "room:[32]"}
CONTENT[33] = CONTENT[9]
BEACON = "device:[32] kind:u16 hlc:u64 payload:bytes≤1024 signature:[64]"
SIGNAL = {
    1: "event:[32] at:u64", 2: "until_ms:u64", 3: "online:u8≤1", 4: "addresses:(address:text≤256)*≤8",
    5: "control:[32] content:[32] durable:u8≤1 erased:u64"}
ANSWER = "device:[32] nonce:[16] hlc:u64 control:[32] content:[32] durable:u8≤1 signature:[64]"
ZERO = "00" * 32

def read_header(data):
    h = read(HEADER, data)
    genesis, join = (h["class"] == 0 and h["kind"] == kind for kind in (1, 4))
    need(h["version"] == 1 and h["seq"] > 0 and (h["seq"] == 1) == (h["prev"] == ZERO), "version, seq or prev")
    need((h["room"] == ZERO) == genesis and (h["grant"] == ZERO) == (genesis or join), "room or grant")
    need(h["seq"] == 1 or not (genesis or join), "a Genesis or Join above seq 1")
    return h | {"id": digest("event id", data)}

def read_event(data):
    need(len(data) <= 2 * 50304, "an event is too long")
    e = read(f"header:bytes≤1024 signature:[64] {BODY}", data)
    e |= read_header(e["header"])
    need(not e["here"] or e["header"].endswith(sealed(e)), "payload length or commitment")
    check_signature(e["signature"], e["author"], "event", e["id"])
    return e

def read_control(kind, data):
    f = read(CONTROL[kind], data)
    logs = [(cut["class"], cut["author"], cut["grant"]) for cut in f.get("cuts", [])]
    need(logs == sorted(set(logs)), "cuts do not ascend by log")
    return f

def read_content(kind, data):
    f = read(CONTENT[kind], data)
    need(kind != 5 or f["len"] <= 2**34, "a file that is too long")
    if kind == 10:
        need([row["here"] for row in f["rows"]] == [1] + [0] * (len(f["rows"]) - 1), "words that nobody adopts")
        need([row["signed"] for row in f["rows"]] == [0] * (len(f["rows"]) - 1) + [1], "not signed at its top alone")
        need(f["rows"][0]["kind"] in (1, 2, 5), "neither a text nor a reply nor a file")
        read_content(f["rows"][0]["kind"], f["rows"][0]["payload"])
    return f

# A function for each section: what its vectors hold besides what they are computed from.

def user(v, file):
    key = user_key(v["entropy"])
    return {"words": phrase(v["entropy"], file["word_list"].split(" ")), "user": key, "user_text": did_key(key)}

def certificate(v, file):
    key, device, c = user_key(v["entropy"]), public(v["device_seed"]), read(CERTIFICATE, v["certificate"])
    need(c["user"] == key, "a certificate of another user")
    return c | {"claim": check_certificate(c, device), "device_text": did_key(device)}

def join(v, file):
    key, events = public(v["invite_seed"]), {e["id"]: e for e in file["events"]}
    room, f = events[v["event"]]["room"], events[v["event"]]["fields"]
    invite, c = events[f["invite"]], f["certificate"]
    need((invite["class"], invite["kind"], invite["fields"]["key"]) == (0, 3, key), "no OpenInvite with this key")
    made = {"room": room, "invite": f["invite"], "user": c["user"], "device": c["device"]}
    check_signature(f["proof"], key, "join", "".join(made.values()))
    return made | {"key": key, "proof": f["proof"]}

def event(v, file):
    device, e = public(v["device_seed"]), read_event(v["event"])
    readers = ({kind: read_control for kind in CONTROL}, {kind: read_content for kind in CONTENT})
    f = readers[e["class"]].get(e["kind"], lambda kind, data: {})(e["kind"], e["payload"])
    need(e["author"] == device, "an event of another device")
    if (e["class"], e["kind"]) == (1, 10):
        ids = rebuilt({"class": 1, "room": e["room"], "author": f["author"], "grant": f["grant"]}, f)
        need((ids[0], ids[-1]) == (f["message"], f["top"]), "another message, or another top")
    if "certificate" in f:
        check_certificate(f["certificate"], device)
    need("proof" not in f or e["id"] in [j["event"] for j in file["joins"]], "a Join whose proof is in no vector")
    names = "class kind room author grant seq prev parents salt payload header id signature".split()
    return {name: e[name] for name in names} | {"hlc": f"{e['hlc']:016x}", "id_text": base32(e["id"]), "fields": f}

def erased(v, file):
    e = read_event(v["event"])
    need(not e["here"], "the payload is here")
    return {"id": e["id"]}

def source_id(v, file):
    f = read(CONTENT[6], v["payload"])
    record = text(f["source"]) + text(f["author"]) + f"{f['ms']:016x}" + text(f["text"]) + f"{f['occurrence']:08x}"
    return {"fields": f, "source_id": digest("import source", record)}

def link(v, file, layout=LINK, version=1):
    data = unbase32(v["text"].removeprefix("tidings://join/"))
    need(digest("link checksum", data[:-8])[:8] == data[-8:] and len(v["text"]) <= 4096, "checksum or length")
    f = read(layout, data[:-8])
    need(f.pop("version") == version and f.keys() | {"text"} == v.keys(), "version or fields")
    f["addresses"] = [a["address"] for a in f["addresses"]]
    return f | {"text": "tidings://join/" + base32(data)}

def grant_link(v, file):
    return link(v, file, GRANT_LINK, 2)

def self_room(v, file):
    key, e = user_key(v["entropy"]), read_event(v["event"])
    g = read(CONTROL[1], e["payload"])
    need((g["rules"], g["kind"], g["founders"], g["invite_rank"], g["secret"]) == (1, 0, [key], 0, ZERO), "no self-room")
    need([g["certificate"][f] for f in ("user", "device", "name", "created_ms")] == [key, key, "", 0], "certificate")
    check_certificate(g["certificate"], key)
    need((e["author"], e["seq"], e["parents"], e["hlc"]) == (key, 1, [], 0), "a header of another self-room")
    need(e["salt"] == derived(v["entropy"], "self-room salt", 16), "the salt of the event")
    sealing = x25519_public(derived(v["entropy"], "words sealing key", 32))
    return {"salt": e["salt"], "sealing": sealing, "room": e["id"]}

def opened(v, private):
    """What is sealed to a key, and its public half."""
    s, own, where = read(CONTENT[9], v["payload"]), x25519_public(private), v["room"] + v["author"]
    ids = [r["id"] for r in s["recipients"]]
    need(ids == sorted(set(ids)), "recipients do not ascend")
    [sealed_key] = [r["sealed_key"] for r in s["recipients"] if r["id"] == own]
    fresh = sealed_key[:64]
    key = decrypt(digest("sealed key", agree(private, fresh) + fresh + own), sealed_key[64:], where)
    padded = decrypt(key, s["ciphertext"], where)
    size, length = len(padded) // 2, int(padded[:8], 16)
    need(size >= 256 and size & (size - 1) == 0 and not padded[8 + 2 * length:].strip("0"), "padding")
    return padded[8:8 + 2 * length], own

def sealed_records(v, file):
    plain, own = opened(v, digest("device sealing key", v["device_seed"]))
    read(f"version:u8 whole:u8≤1 entries:({ENTRY})*", plain)
    return {"sealing": own, "plain": plain}

def report(v, file):
    plain, own = opened(v, hashlib.sha512(unhex(v["device_seed"])).hexdigest()[:64])
    r = read("version:u8 target:[32] reason:text≤1000", plain)
    need(r.pop("version") == 1, "another version")
    need(own == montgomery(v["device"]), "the key of a device, as X25519 has it")
    return r | {"device": public(v["device_seed"]), "sealing": own}

def device_link(v, file):
    data = unbase32(v["text"].removeprefix("tidings://device/"))
    need(digest("link checksum", data[:-8])[:8] == data[-8:] and len(v["text"]) <= 4096, "checksum or length")
    f = read(DEVICE_LINK, data[:-8])
    need(f.pop("version") == 1 and f.keys() | {"text"} == v.keys(), "version or fields")
    f["addresses"] = [a["address"] for a in f["addresses"]]
    return f | {"text": "tidings://device/" + base32(data)}

def enrolment(v, file):
    key = digest("enrol", v["secret"])
    said = v["user"] + v["home"] + "".join(f"{len(v[p]) // 2:08x}" + v[p] for p in ("first", "new"))
    said += v["first_nonce"] + v["new_nonce"] + v["device"] + text(v["name"])
    macs = [mac(key, f"{role:02x}" + said) for role in range(3)]
    commitment = digest("enrol commitment", v["new_nonce"] + v["device"] + text(v["name"]))
    return {"commitment": commitment, "proof_of_new": macs[0], "proof_of_first": macs[1], "check_code": f"{int(macs[2][:8], 16) % 10**6:06}"}

def log_range(v, file):
    r = read(f"seq:u64 prev:[32] rows:({ROW})*≤1024", v["inflated"])
    ids = rebuilt(v, r)
    seq = r["seq"] + len(ids) - 1
    need(all(row["signed"] or (v["class"] == 1 and n % 256 and n < v["tip_seq"])
             for n, row in enumerate(r["rows"], r["seq"])), "a signature is missing")
    n = len(v["inflated"]) // 2  # The frames here have a content size of 4 bytes, and one raw block.
    frame = "28b52ffda0" + n.to_bytes(4, "little").hex() + (n << 3 | 1).to_bytes(3, "little").hex()
    return {"ids": ids, "tip_seq": seq, "tip_id": ids[-1], "chunk": frame + v["inflated"]}

def rebuilt(v, r):
    """The ids of a range's events, by its log and room; their signatures hold."""
    ids, hlc = [], 0
    need(r["rows"], "a range without events")
    for seq, row in enumerate(r["rows"], r["seq"]):
        genesis, join = (v["class"] == 0 and row["kind"] == kind for kind in (1, 4))
        hlc = (hlc + row["hlc"]) % 2**64
        header = f"01{v['class']:02x}{row['kind']:04x}" + (ZERO if genesis else v["room"]) + v["author"]
        header += (ZERO if genesis or join else v["grant"]) + f"{seq:016x}" + (ids[-1] if ids else r["prev"])
        header += f"{len(row['parents']):08x}" + "".join(row["parents"]) + f"{hlc:016x}"
        header += sealed(row) if row["here"] else f"{row['length']:08x}" + row["commitment"]
        ids.append(read_header(header)["id"])
        need(not genesis or ids[-1] == v["room"], "another room")
        need(not (genesis or join) or ids[-1] == v["grant"], "another log")
        if row["signed"]:
            check_signature(row["signature"], v["author"], "event", ids[-1])
    return ids

def read_beacon(data):
    b = read(BEACON, data)
    f = {} if b["kind"] not in SIGNAL else read(SIGNAL[b["kind"]], b["payload"])
    need(f.get("until_ms", 0) <= (b["hlc"] >> 16) + 10_000, "typing for too long")
    return b, f

SLOTS = {}  # What the beacons so far leave, by device and kind.

def beacon(v, file):
    (b, f), device = read_beacon(v["beacon"]), public(v["device_seed"])
    claim = v["room"] + v["beacon"][:-128]
    need(b["device"] == device, "a beacon of another device")
    check_signature(b["signature"], device, "beacon", claim)
    for clock in {"at", "erased"} & set(f):
        f[clock] = f"{f[clock]:016x}"
    if "addresses" in f:
        f["addresses"] = [a["address"] for a in f["addresses"]]
    key = (device, b["kind"])
    if b["kind"] not in (2, 3) and (key not in SLOTS or (b["hlc"], v["beacon"]) > SLOTS[key]):
        SLOTS[key] = (b["hlc"], v["beacon"])
    hashes = {key: digest("beacon", slot) for key, (_, slot) in SLOTS.items()}
    all_of_them = digest("slots", "".join(hashes[key] for key in sorted(hashes)))
    return b | {"hlc": f"{b['hlc']:016x}", "fields": f, "claim": claim, "hash": digest("beacon", v["beacon"]),
                "fingerprint": all_of_them}

def answer(v, file):
    a, device = read(ANSWER, v["answer"]), public(v["device_seed"])
    claim = v["room"] + v["answer"][:-128]
    need(a["device"] == device, "an answer of another device")
    check_signature(a["signature"], device, "answer", claim)
    return a | {"hlc": f"{a['hlc']:016x}", "claim": claim}

def malformed(v, file):
    readers = {"header": read_header, "event": read_event, "beacon": read_beacon,
               "answer": lambda data: read(ANSWER, data),
               "control": lambda data: read_control(v["kind"], data),
               "content": lambda data: read_content(v["kind"], data)}
    unhex(v["bytes"])
    try:
        readers[v["what"]](v["bytes"])
    except ValueError:
        return {}
    raise ValueError("read, though it is malformed")

SECTIONS = {"users": user, "certificates": certificate, "joins": join, "events": event, "erased": erased,
            "source_ids": source_id, "beacons": beacon, "answers": answer, "links": link, "grant_links": grant_link,
            "ranges": log_range, "malformed": malformed, "self_rooms": self_room, "sealed": sealed_records, "reports": report,
            "device_links": device_link, "enrolments": enrolment}
at = "file"
try:
    with open((sys.argv[1:] or [os.path.join(os.path.dirname(__file__), "events.json")])[0], encoding="utf-8") as f:
        file = json.load(f)
    need(file.keys() == SECTIONS.keys() | {"word_list"} and all(file.values()), "a section is missing or unknown")
    for section, check in SECTIONS.items():
        for n, v in enumerate(file[section]):
            at = " ".join([section, str(n), v.get("label", "")]).strip()
            made = v | check(v, file)
            need(made == v, "another " + " ".join(name for name in made if made[name] != v.get(name)))
            print("ok", at)
except Exception as error:
    sys.exit(f"mismatch: {at}: {type(error).__name__} {' '.join(str(error).split())}")
