#!/usr/bin/env python3
"""Runs the gateway, the floor and, where its executable is given, the reference, one after the other, several rounds,
and prints medians and ratios. Only ratios of one run say anything: times move by a third from hour to hour.

    cargo build --release --bins --examples
    benches/compare.py                                  # the gateway and the floor
    REFERENCE=/path/to/centrifugo benches/compare.py    # and the reference, with the same configuration
    benches/compare.py --rounds 1 --only fan-out        # a look
    benches/compare.py --json FILE                      # keep all figures

Every case starts its servers anew. A figure whose run lost, doubled or reordered anything is printed as such and makes
the exit code 1. Needs a quiet machine, Linux, and nothing but Python.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Server:
    """A started server and how to reach it."""

    def __init__(self, kind, folder, more=None, client=None, channel=None):
        http, grpc, api = free_ports(3)
        self.socket = f"ws://127.0.0.1:{http}/connection/websocket"
        self.site = f"http://127.0.0.1:{http}"
        self.http_stream, self.sse = f"{self.site}/connection/http_stream", f"{self.site}/connection/sse"
        self.api = f"{self.site}/api"
        self.stream, self.grpc_api = f"grpc://127.0.0.1:{grpc}", f"grpc://127.0.0.1:{api}"
        self.kind = kind
        config = {
            "http_server": {"address": "127.0.0.1", "port": http},
            "client": {"insecure": True, **(client or {})},
            "http_api": {"insecure": True},
            "grpc_api": {"enabled": True, "address": "127.0.0.1", "port": api},
            "http_stream": {"enabled": True},
            "sse": {"enabled": True},
            "health": {"enabled": True},
            "prometheus": {"enabled": True},
            "log": {"level": "error"},
            "channel": {"without_namespace": {"history_size": 1000, "history_ttl": "300s", "force_recovery": True,
                                              **(channel or {})}},
        }
        if kind == "gateway":
            config["centripetal"] = {"grpc": {"address": "127.0.0.1", "port": grpc}}
        for section, options in (more or {}).items():
            config[section] = {**config.get(section, {}), **options}
        file = Path(folder) / f"{kind}.json"
        file.write_text(json.dumps(config))
        command = {
            "gateway": [str(TARGET / "centripetal"), "--config", str(file)],
            "floor": [str(TARGET / "examples" / "floor"), str(http)],
            "reference": [os.environ.get("REFERENCE", ""), "--config", str(file)],
        }[kind]
        self.log = open(Path(folder) / f"{kind}.log", "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.wait(http)

    def wait(self, port):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        sys.exit(f"the {self.kind} does not serve; see {self.log.name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def bench(self, mode, *options):
        command = [str(TARGET / "centripetal"), "bench", mode, "--json", "--pid", str(self.process.pid), *map(str, options)]
        done = subprocess.run(command, capture_output=True, text=True)
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")


def fanout(*options, api="api", url="socket"):
    def run(server):
        report = server.bench("fanout", "--url", getattr(server, url), "--api", getattr(server, api), *options)
        latency = report["deliver"]["latency_ms"]
        return {
            "CPU per delivery, µs": report["deliver"]["cpu_us"],
            "deliveries a second": report["deliver"]["per_second"],
            "p50, ms": latency["p50"],
            "p99, ms": latency["p99"],
        }, report["counted"]

    return run


def idle(*options, url="socket"):
    def run(server):
        report = server.bench("idle", "--url", getattr(server, url), "--wait", 2, *options)
        return {"memory a connection, bytes": report["server"]["per_connection"]}, None

    return run


def connect(server):
    report = server.bench("connect", "-n", 4000, "--url", server.socket)
    return {"CPU of connect + subscribe, µs": report["connect"]["cpu_us"]}, None


def publish(connections, api, calls):
    def run(server):
        report = server.bench("publish", "-n", connections, "-m", calls, "--url", server.socket, "--api", getattr(server, api))
        return {"CPU per call, µs": report["publish"]["cpu_us"]}, None

    return run


def storm(server):
    options = ("-n", 8000, "--stay", 500, "-m", 200, "--rate", 10, "--url", server.socket, "--api", server.api)
    report = server.bench("storm", *options)
    after, before = report["storm"]["stayed_ms"]["p99"], report["storm"]["stayed_before_ms"]["p99"]
    return {
        "all back, s": report["storm"]["back_seconds"],
        "worst publish call, ms": report["publish"]["latency_ms"]["max"],
        "p99 of those that stayed, to before": round(after / before, 2) if before else None,
    }, report["counted"]


# Name, servers that can do it, measurement.
EVERYBODY, NOT_FLOOR, OURS = ("gateway", "floor", "reference"), ("gateway", "reference"), ("gateway",)
CASES = [
    ("paced fan-out, 2000 WebSocket", EVERYBODY, fanout("-n", 2000, "-m", 500)),
    ("paced fan-out, 2000 HTTP stream", NOT_FLOOR, fanout("-n", 2000, "-m", 500, url="http_stream")),
    ("paced fan-out, 2000 SSE", NOT_FLOOR, fanout("-n", 2000, "-m", 500, url="sse")),
    ("burst, 1000 WebSocket", NOT_FLOOR, fanout("-n", 1000, "-m", 2000, "--rate", 0, "--batch", 50)),
    ("paced fan-out, 1000 WebSocket", OURS, fanout("-n", 1000, "-m", 200, "--rate", 20)),
    ("paced fan-out, 1000 gRPC connections", OURS, fanout("-n", 1000, "-m", 200, "--rate", 20, url="stream")),
    ("paced fan-out, 1000 gRPC streams, 50 a connection", OURS,
     fanout("-n", 1000, "--streams", 50, "-m", 200, "--rate", 20, url="stream")),
    ("idle WebSocket", NOT_FLOOR, idle("-n", 5000)),
    ("idle HTTP stream", NOT_FLOOR, idle("-n", 5000, url="http_stream")),
    ("idle SSE", NOT_FLOOR, idle("-n", 5000, url="sse")),
    ("idle gRPC, a connection each", OURS, idle("-n", 2000, url="stream")),
    ("idle gRPC, 50 streams a connection", OURS, idle("-n", 5000, "--streams", 50, url="stream")),
    ("connect + subscribe", NOT_FLOOR, connect),
    ("publish, HTTP API, 1 connection", NOT_FLOOR, publish(1, "api", 20000)),
    ("publish, HTTP API, 16 connections", NOT_FLOOR, publish(16, "api", 40000)),
    ("publish, gRPC API, 1 connection", NOT_FLOOR, publish(8, "grpc_api", 40000)),
    ("storm of 8000", NOT_FLOOR, storm),
]


def table(results, kinds):
    """Medians, and ratios of the gateway to the others, as Markdown."""
    others = [kind for kind in kinds if kind != "gateway"]
    head = ["case", "figure", *kinds, *[f"to {kind}" for kind in others]]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (case, figure), rounds in results.items():
        medians = {kind: statistics.median(values) for kind, values in rounds.items()}
        cells = [f"{medians[kind]:,.6g}" if kind in medians else "" for kind in kinds]
        for kind in others:
            comparable = kind in medians and "gateway" in medians and medians[kind]
            cells.append(f"{medians['gateway'] / medians[kind]:.2f}" if comparable else "")
        lines.append("| " + " | ".join([case, figure, *cells]) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each case runs (3)")
    parser.add_argument("--only", default="", help="cases whose name this regular expression finds")
    parser.add_argument("--json", metavar="FILE", help="write all figures of all rounds")
    arguments = parser.parse_args()
    kinds = ["gateway", "floor"] + (["reference"] if os.environ.get("REFERENCE") else [])
    cases = [case for case in CASES if re.search(arguments.only, case[0])]
    results, faults = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            for name, able, run in cases:
                for kind in (kind for kind in kinds if kind in able):
                    print(f"round {number + 1} of {arguments.rounds}: {name}: {kind}", file=sys.stderr)
                    with Server(kind, folder) as server:
                        figures, counted = run(server)
                    # The floor promises nothing: it drops what a full socket does not take.
                    wrong = sum(counted[what] for what in ("lost", "doubled", "reordered")) if counted else 0
                    if wrong:
                        print(f"  {json.dumps(counted)}", file=sys.stderr)
                        faults += wrong if kind == "gateway" else 0
                    for figure, value in figures.items():
                        if value is not None:
                            results.setdefault((name, figure), {}).setdefault(kind, []).append(value)
    print(table(results, kinds))
    print(f"\nlost, doubled or reordered by the gateway: {faults}")
    if arguments.json:
        rows = [{"case": case, "figure": figure, **rounds} for (case, figure), rounds in results.items()]
        Path(arguments.json).write_text(json.dumps(rows, indent=1))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
