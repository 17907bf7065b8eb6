#!/usr/bin/env python3
"""What it costs that the application answers: calls through the gateway beside the same calls made by a bare client.

    cargo build --release --bins --examples
    benches/proxy.py                # HTTP and gRPC, three rounds, and 9,000 clients that wait for their backend
    benches/proxy.py --rounds 1     # a look

The backend is examples/backend, the bare client examples/direct: hyper for HTTP, tonic for gRPC. Only ratios of one run say
anything. The exit code is 1 when a call failed or a client did not get in.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request

from compare import TARGET, Server, free_ports

CLIENTS = 16
# proxy.concurrency of the second part, and who wants in at once.
CONCURRENCY = 2000
CROWD = 9000


class Backend:
    """The example's backend as a process."""

    def __enter__(self):
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen([str(TARGET / "examples" / "backend"), self.address], stdout=subprocess.PIPE)
        self.process.stdout.readline()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def endpoint(self, protocol, kind):
        return f"http://{self.address}/{kind}" if protocol == "http" else f"grpc://{self.address}"


def gateway(folder, backend, protocol):
    """A gateway that passes calls and connects on."""
    more = {
        "client": {"insecure": True},
        "rpc": {"proxy": {"endpoint": backend.endpoint(protocol, "rpc")}, "without_namespace": {"proxy_enabled": True}},
    }
    return Server("gateway", folder, more)


def calls(folder, backend, protocol, count):
    """One round: calls through the gateway, then direct ones."""
    with gateway(folder, backend, protocol) as server:
        server.bench("rpc", "-n", CLIENTS, "-m", count // 10, "--method", "echo", "--url", server.socket)
        through = server.bench("rpc", "-n", CLIENTS, "-m", count, "--method", "echo", "--url", server.socket)["rpc"]
    command = [str(TARGET / "examples" / "direct"), backend.endpoint(protocol, "rpc"), str(CLIENTS), str(count)]
    direct = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return through, direct


def crowd(folder, backend):
    """Many clients at once whose connect takes a second of the backend's time."""
    more = {
        "client": {
            "insecure": False,
            "proxy": {"connect": {"enabled": True, "endpoint": backend.endpoint("http", "connect"), "timeout": "5s"}},
        },
        "channel": {"without_namespace": {"allow_subscribe_for_client": True}},
    }
    more["centripetal"] = {"proxy": {"concurrency": CONCURRENCY}}
    with Server("gateway", folder, more) as server:
        data = json.dumps({"name": "ann", "think_ms": 1000})
        options = ("-n", CROWD, "--concurrency", CROWD, "--data", data, "--subscriptions", 0, "--url", server.socket)
        report = server.bench("connect", *options)["connect"]
        with urllib.request.urlopen(f"{server.site}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        waits = [line for line in lines if line.startswith("centripetal_proxy_wait_duration_seconds_count")]
        return report, waits


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=50_000, help="calls of a round")
    parser.add_argument("--only", choices=["http", "grpc", "crowd"])
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder, Backend() as backend:
        for protocol in ("http", "grpc"):
            if options.only not in (None, protocol):
                continue
            rounds = [calls(folder, backend, protocol, options.calls) for _ in range(options.rounds)]
            failed += sum(through.get("failed", 0) for through, _ in rounds)
            print(f"{protocol}: {CLIENTS} clients, {options.calls} calls, {options.rounds} rounds")
            for name, value in (
                ("CPU per call, µs", lambda one: one["cpu_us"]),
                ("p50, ms", lambda one: one["latency_ms"]["p50"]),
                ("p99, ms", lambda one: one["latency_ms"]["p99"]),
            ):
                through = statistics.median(value(one) for one, _ in rounds)
                direct = statistics.median(value(one) for _, one in rounds)
                ratio = statistics.median(value(one) / value(other) for one, other in rounds)
                print(f"  {name:18} gateway {through:8.2f}   direct {direct:8.2f}   ratio {ratio:.2f}")
        if options.only in (None, "crowd"):
            report, waits = crowd(folder, backend)
            print(f"crowd: {report['count']} of {CROWD} connected in {report['seconds']:.2f} s at a concurrency of {CONCURRENCY}")
            print("\n".join(waits))
            failed += CROWD - report["count"]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
