"""Evaluates rooms with the executable model of room authority, whose path is the argument.

Standard input: {"rooms": [[event, ...], ...], "mutant": name of a rule change of the model, or ""}. An event has id, kind,
author, grant, seq, prev and d, as the model's Event; lists stand for tuples, and cuts are a list of [log, seq, ids].
Standard output: for each room the valid ids, why others are void, which of those are proofs, members, devices, settings and
erased places.
"""
import importlib.util
import json
import sys


def load(path):
    spec = importlib.util.spec_from_file_location("authority", path)
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    return model


def event(model, told):
    e = model.Event.__new__(model.Event)
    e.cls = model.CONTENT if told["kind"] == "Text" else model.CONTROL
    e.id, e.kind, e.author, e.grant = told["id"], told["kind"], told["author"], told["grant"]
    e.seq, e.prev, e.parents = told["seq"], told["prev"], ()
    e.d = {k: tuple(v) if isinstance(v, list) else v for k, v in told["d"].items()}
    if "cuts" in e.d:
        e.d["cuts"] = {tuple(log): (seq, tuple(ids)) for log, seq, ids in e.d["cuts"]}
    return e


def verdict(model, told):
    room = model.Room([event(model, e) for e in told])
    valid = {e.id for e in room.ev.values() if room.valid(e)}
    state = room.state(valid)
    return {
        "valid": sorted(valid),
        "why": {i: why for i, why in room.why.items() if why},
        "proofs": sorted(model.proofs(room, valid) - valid),
        "members": state["members"],
        "devices": {user: sorted(devices) for user, devices in state["devices"].items()},
        "settings": state["settings"],
        "erased": sorted([author, grant, seq, i] for (_, author, grant), seq, i in state["erased"]),
    }


def main():
    model = load(sys.argv[1])
    asked = json.load(sys.stdin)
    model.MUTANT = asked["mutant"]
    json.dump([verdict(model, room) for room in asked["rooms"]], sys.stdout)


if __name__ == "__main__":
    main()
