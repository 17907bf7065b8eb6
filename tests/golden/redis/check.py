#!/usr/bin/env python3
"""Plays the recording against this server: `record.py --check` on free ports, judged by this project's rules.

Left out is what depends on the moment (how many announcements of a node fall into a step), what only this server does
(messages that prove that a connection hears), and features of `not_yet.txt`. What differs is played once more, and counts
when it differs again. Prints one line `DIFFERS run:step` a difference, with both sides below.
"""
import argparse
import json
import os
import re
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import record  # noqa: E402

POSITIONED = "centrifugo.client.hist:r"
META, STREAM = "centrifugo.stream.meta.hist:r", "centrifugo.stream.hist:r"


def listed(file):
    """Names of a list."""
    try:
        with open(os.path.join(HERE, file)) as f:
            return {line.split()[0] for line in f if line.strip() and not line.startswith("#")}
    except FileNotFoundError:
        return set()


def place(base):
    """Free ports in place of fixed ones."""
    record.REDIS_PORT, record.TAP_PORT = base, base + 10
    record.NODE_PORT, record.CLUSTER_PORT = base + 20, base + 60


def without(missing):
    """Takes missing features out of the configuration and the steps."""
    dump = json.dump

    def trimmed(config, file, **more):
        if "channel" in config and "emulation" in missing:
            config.pop("http_stream", None)
        if "channel" in config and "delta" in missing:
            for namespace in config["channel"]["namespaces"]:
                namespace.pop("delta_publish", None)
                namespace.pop("allowed_delta_types", None)
        dump(config, file, **more)

    class Json:
        def __getattr__(self, name):
            return getattr(json, name)
    record.json = Json()
    record.json.dump = trimmed
    if "emulation" in missing:
        class Nothing:
            def __init__(self, *_):
                pass

            def emulate(self, _port):
                return {}

            def close(self):
                pass
        record.HttpStream = Nothing


def consistent():
    """Makes the recorder's hand-made publications ones that a node could have sent.

    A node moves the position with the same script that publishes; the recorder publishes only, so this server would find,
    rightly, that the position in Redis is behind. A new case begins with a channel that nobody listens to any more.
    """
    plain, connect = record.Conn.cmd, record.Client.__init__
    state = {"dirty": False}

    def cmd(self, *args):
        if args[:2] == ("PUBLISH", POSITIONED):
            state["dirty"] = True
            found = re.match(rb"__([pd])1:(\d+):([A-Za-z]{8})(?:__|:)", args[2])
            epoch = plain(self, "HGET", META, "e")
            if found and found.group(3) == epoch and int(found.group(2)) and whole(args[2]):
                plain(self, "HSET", META, "s", found.group(2))
        return plain(self, *args)

    def whole(payload):
        try:
            record.explain(POSITIONED.encode(), payload, "centrifugo")
            return True
        except Exception:
            return False

    def client(self, *args, **more):
        conn = record.Conn(record.REDIS_PORT)
        limit = time.time() + 30
        while state["dirty"] and plain(conn, "PUBSUB", "NUMSUB", POSITIONED)[1] != 0:
            if time.time() > limit:
                raise SystemExit("the channel is listened to for ever")
            time.sleep(0.02)
        if state["dirty"]:
            plain(conn, "DEL", META, STREAM)
        state["dirty"] = False
        connect(self, *args, **more)
    record.Conn.cmd, record.Client.__init__ = cmd, client
    return plain, connect


def comparable(run, file, item, missing):
    """Whether this says something about the server."""
    label = item.get("step") or item.get("when")
    if "delta" in missing and "delta" in label or "emulation" in missing and "emulation" in label:
        return False
    if file != "pubsub.json":
        return True
    if run == "lists" and ("hist with delta" in label or "delta namespace" in label):
        return False  # Lists have no deltas; those of the other product cannot be decoded (engines.md 3.5).
    if item["decoded"]["kind"] == "service":
        return False
    command = item["decoded"].get("command", {})
    chance = label in ("node start second", "node stop second", "node stop")
    return not (chance and item["channel"].endswith(".control") and "node" in command)


def grouped(run, file, items, missing):
    groups = {}
    for item in items:
        if comparable(run, file, item, missing):
            label = item.get("step") or item.get("when")
            if file == "keys.json" and "delta" in missing:
                item = {**item, "keys": [key for key in item["keys"] if "delta" not in key["key"]]}
            groups.setdefault(label, []).append(json.dumps(record.norm(item), sort_keys=True))
    return {label: sorted(set(group) if label.startswith("node ") else group) for label, group in groups.items()}


def play(args, run, missing):
    """One run; what differs, by name, with both sides."""
    args.only = [run]
    undo = consistent() if run == "receive" else None
    try:
        new = record.record(args)
    finally:
        if undo:
            record.Conn.cmd, record.Client.__init__ = undo
    different = {}
    for file in ("keys.json", "pubsub.json"):
        with open(os.path.join(HERE, file)) as f:
            old = json.load(f)["runs"]
        for name, value in new[file].items():
            a, b = grouped(name, file, old[name], missing), grouped(name, file, value, missing)
            for label in sorted(set(a) | set(b)):
                left, right = a.get(label, []), b.get(label, [])
                if left != right:
                    different[name + ":" + label] = ([x for x in left if x not in right], [x for x in right if x not in left])
    with open(os.path.join(HERE, "receive.json")) as f:
        old = {case["case"]: case for case in json.load(f)["runs"]["receive"]}
    compared = ("client_gets", "close", "server_alive", "node_answers", "api")
    for case in new["receive.json"].get("receive", []):
        left, right = ({k: record.norm(c[k]) for k in compared if k in c} for c in (old[case["case"]], case))
        if case["case"] == "survey after the silent node said shutdown":
            # It is greeted again when it was forgotten since the case before, which is a matter of seconds.
            del left["node_answers"], right["node_answers"]
        if left != right:
            different["receive:" + case["case"]] = ([json.dumps(left)], [json.dumps(right)])
    for count, part in new["sharding.json"].items():
        if not part["all_equal"]:
            different["sharding:" + count] = (["every channel where the rule puts it"], [json.dumps(part["channels"])])
    return different


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--server", required=True, help="command that starts a server; '-c <config file>' is appended")
    ap.add_argument("--port-base", type=int, default=23000, help="first of 70 free ports")
    ap.add_argument("--only", action="append", required=True, choices=[*record.RUNS, "sharding", "receive"])
    args = ap.parse_args()
    args.verbose, args.out, runs = False, HERE, args.only
    missing, known = listed("not_yet.txt"), listed("differs.txt")
    place(args.port_base)
    without(missing)
    count = 0
    for run in runs:
        different = play(args, run, missing)
        if not known.issuperset(name.replace(" ", "_") for name in different):
            again = play(args, run, missing)
            different = {name: sides for name, sides in again.items() if name in different}
        for name, (expected, got) in different.items():
            count += 1
            print("DIFFERS %s" % name.replace(" ", "_"))
            for title, side in (("expected", expected), ("got     ", got)):
                for text in side:
                    print("  %s %s" % (title, text[:2000]))
    print("runs: %d, differences: %d" % (len(runs), count))


if __name__ == "__main__":
    main()
