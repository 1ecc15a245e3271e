"""Writes what the executable model says of 1,000 of its own random rooms, for the tests to read.

python3 export_rooms.py rooms.json.gz     writes the fixture; with - the JSON goes to standard output, not compressed.

A room: its events in the order of their ids, named by their place in this list, -1 for none or one that nobody has. An
event: kind, author, grant, prev, and what it says (see `said`). Users are numbers; a device is 8 times its user and its
letter's place, the user key 7. Then the model's verdict: for each event 0 if it is valid, else the place of its reason
in `reasons`; void events that are proofs; members with rank; devices; Sets in force; places erased.
"""
import gzip
import json
import os
import random
import sys

sys.dont_write_bytecode = True
if os.environ.get("PYTHONHASHSEED") != "0":
    os.execve(sys.executable, [sys.executable] + sys.argv, os.environ | {"PYTHONHASHSEED": "0"})

import authority as model

ROOMS = 1000
KINDS = ["Genesis", "Grant", "OpenInvite", "Join", "Enrol", "CloseInvite", "Revoke", "RevokeDevice", "Leave", "Set",
         "Erase", "Text"]
REASONS = ["", "not allowed", "prev", "grant", "left", "invite", "closed", "revoked", "device revoked", "not enrolled"]


class Numbers:
    """Names as numbers."""

    def __init__(self, ids, users):
        self.ids = {name: n for n, name in enumerate(ids)}
        self.users = {name: n for n, name in enumerate(users)}

    def id(self, name):
        return self.ids.get(name, -1)

    def list(self, names):
        return sorted(self.id(name) for name in names)

    def device(self, name):
        user, _, letter = name.partition(".")
        return 8 * self.users[user] + (ord(letter) - ord("a") if letter else 7)

    def cuts(self, cuts):
        return [[cls, self.device(author), self.id(grant), seq, self.list(ids)]
                for (cls, author, grant), (seq, ids) in sorted(cuts.items())]


def said(e, n):
    d = e.d
    return {
        "Genesis": lambda: [n.users[d["user"]], sorted(n.users[u] for u in d["founders"]), d["invite_rank"]],
        "Grant": lambda: [n.users[d["user"]], d["rank"], n.list(d["lifts"])],
        "OpenInvite": lambda: [d["rank"]],
        "Join": lambda: [n.id(d["invite"])],
        "CloseInvite": lambda: [n.id(d["invite"]), n.list(d["joins"])],
        "Revoke": lambda: [n.users[d["user"]], n.cuts(d["cuts"]), n.list(d["joins"])],
        "RevokeDevice": lambda: [n.device(d["device"]), n.cuts(d["cuts"])],
        "Set": lambda: [d["key"], n.list(d["replaces"])],
        "Erase": lambda: [n.device(d["log"][1]), n.id(d["log"][2]), d["seq"], n.id(d["id"])],
    }.get(e.kind, list)()


def room(seed):
    r = random.Random(seed)
    events, users, _ = model.random_room(r, r.randint(20, 90))
    n = Numbers(sorted(events), users)
    ordered = [events[i] for i in sorted(events)]
    evaluated = model.Room(ordered)
    valid = {e.id for e in ordered if evaluated.valid(e)}
    state = evaluated.state(valid)
    values = {e.d["value"]: n.id(e.id) for e in ordered if e.kind == "Set"}
    return {
        "events": [[KINDS.index(e.kind), n.device(e.author), n.id(e.grant), n.id(e.prev), *said(e, n)] for e in ordered],
        "why": [REASONS.index(evaluated.why[e.id] or "") for e in ordered],
        "proofs": n.list(model.proofs(evaluated, valid) - valid),
        "members": sorted([n.users[u], rank] for u, rank in state["members"].items()),
        "devices": sorted(n.device(d) for devices in state["devices"].values() for d in devices),
        "settings": {key: values[value] for key, value in sorted(state["settings"].items())},
        "erased": sorted([n.device(log[1]), n.id(log[2]), seq, n.id(i)] for log, seq, i in state["erased"]),
    }


def main():
    rooms = {"kinds": KINDS, "reasons": REASONS, "rooms": [room(seed) for seed in range(ROOMS)]}
    text = json.dumps(rooms, separators=(",", ":")).encode()
    if sys.argv[1] == "-":
        sys.stdout.buffer.write(text)
    else:
        with open(sys.argv[1], "wb") as out:
            out.write(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main()
