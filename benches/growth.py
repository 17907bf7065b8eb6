#!/usr/bin/env python3
"""Measures how costs grow, with `centripetal bench` and a gateway of its own, and draws it.

    cargo build --release
    benches/growth.py measure target/growth.json        # about ten minutes
    pip install matplotlib
    benches/growth.py plot target/growth.json docs/images

Subscribers, channels and subscriptions of a client grow while the deliveries a second stay the same; connections grow
while nothing happens. Publications come in batches, so that deliveries and not calls are what is measured. The exit code
is 1 when anything was lost, doubled or reordered.
"""

import json
import sys
import tempfile
from pathlib import Path

from compare import Server

# Deliveries a second: what two cores carry with room to spare, and the load client beside it.
PACE = 40_000
SECONDS = 8


def batch(rate):
    """Publications of one call: ten calls a second at least, and at most a hundred publications each."""
    return max(1, min(100, int(rate // 50)))


def deliveries(server, subscribers, channels, subscriptions=1):
    """Every channel has `subscribers * subscriptions / channels` subscribers."""
    each = subscribers * subscriptions / channels
    rate = max(1, PACE / each)
    report = server.bench(
        "channels", "-n", subscribers, "--channels", channels, "--subscriptions", subscriptions, "--rate", rate,
        "--batch", batch(rate), "-m", int(rate * SECONDS), "--url", server.socket, "--api", server.api)
    cpu = report["deliver"]["cpu_us"]
    return {
        "subscribers": subscribers, "channels": channels, "subscriptions": subscriptions,
        "publications_per_second": rate, "cpu_us": cpu, "deliveries_per_cpu_second": 1e6 / cpu,
        "p99_ms": report["deliver"]["latency_ms"]["p99"], "counted": report["counted"],
    }


def memory(server, connections):
    report = server.bench("idle", "-n", connections, "--wait", 2, "--url", server.socket)
    return {"connections": connections, "bytes": report["server"]["per_connection"]}


SERIES = {
    "subscribers": [lambda server, n=n: deliveries(server, n, 1) for n in (10, 100, 1000, 10_000)],
    "channels": [lambda server, n=n: deliveries(server, 10_000, n) for n in (1, 10, 100, 1000, 10_000)],
    "subscriptions": [lambda server, n=n: deliveries(server, 200, 200, n) for n in (1, 10, 100)],
    "connections": [lambda server, n=n: memory(server, n) for n in (1000, 2000, 5000, 10_000, 15_000)],
}


def measure(path):
    results, faults = {}, 0
    for name, points in SERIES.items():
        for point in points:
            with tempfile.TemporaryDirectory() as folder, Server("gateway", folder) as server:
                row = point(server)
            print(name, json.dumps(row), file=sys.stderr)
            results.setdefault(name, []).append(row)
            faults += sum(row.get("counted", {}).get(what, 0) for what in ("lost", "doubled", "reordered"))
    Path(path).write_text(json.dumps(results, indent=1) + "\n")
    return 1 if faults else 0


def plot(path, folder):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    results = json.loads(Path(path).read_text())
    for name, x, y, title, unit in [
        ("subscribers", "subscribers", "deliveries_per_cpu_second", "One channel", "subscribers"),
        ("channels", "channels", "deliveries_per_cpu_second", "10,000 subscribers", "channels"),
        ("subscriptions", "subscriptions", "deliveries_per_cpu_second", "200 clients, 200 channels", "subscriptions of a client"),
        ("connections", "connections", "bytes", "Idle WebSocket connections", "connections"),
    ]:
        rows = results[name]
        figure, axes = pyplot.subplots(figsize=(6, 3.4))
        axes.plot([row[x] for row in rows], [row[y] for row in rows], marker="o", color="#4338ca")
        axes.set(title=title, xlabel=unit, ylabel="bytes a connection" if y == "bytes" else "deliveries a CPU second")
        axes.set_ylim(bottom=0)
        if y != "bytes":
            axes.set_xscale("log")
        axes.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(Path(folder) / f"growth-{name}.svg", metadata={"Date": None})
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", path]:
            sys.exit(measure(path))
        case ["plot", path, folder]:
            sys.exit(plot(path, folder))
        case _:
            sys.exit(__doc__)
