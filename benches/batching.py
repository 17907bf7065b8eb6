#!/usr/bin/env python3
"""What batching saves: CPU time of the node per delivery, at 1, 10 and 100 publications a second and channel, with and without.

    cargo build --release
    benches/batching.py                 # 10 seconds a cell
    benches/batching.py --seconds 3     # a look

100 subscribers of one channel over WebSocket. The delay of both options is 100 ms. Prints a table in Markdown; latency is the 99th
percentile, since the delay is the price.
"""

import argparse
import os
import tempfile

from compare import Server

SUBSCRIBERS = 100
RATES = (1, 10, 100)
WAYS = {
    "neither": {},
    "`batch_max_delay`": {"channel": {"batch_max_delay": "100ms"}},
    "`write_delay`": {"client": {"write_delay": "100ms", "max_messages_in_frame": -1}},
}


def cpu(pid):
    """Seconds of CPU a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cell(options, rate, seconds):
    with tempfile.TemporaryDirectory() as folder, Server("gateway", folder, **options) as server:
        before = cpu(server.process.pid)
        report = server.bench("fanout", "-n", SUBSCRIBERS, "-m", max(rate * seconds, 5), "--rate", rate,
                              "--url", server.socket, "--api", server.api)
        used = cpu(server.process.pid) - before
    counted = report["counted"]
    assert counted["lost"] == 0, "a batch must lose nothing"
    return 1e6 * used / counted["expected"], report["deliver"]["latency_ms"]["p99"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    print("| options | " + " | ".join(f"{rate}/s: CPU µs a delivery, p99 ms" for rate in RATES) + " |")
    print("|---" * (len(RATES) + 1) + "|")
    for name, options in WAYS.items():
        cells = [cell(options, rate, seconds) for rate in RATES]
        print(f"| {name} | " + " | ".join(f"{used:.1f}, {p99:.1f}" for used, p99 in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
