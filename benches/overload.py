#!/usr/bin/env python3
"""Publishes half as much again as this machine can deliver, for a minute, and looks at what becomes of the gateway.

    cargo build --release
    benches/overload.py                 # 60 seconds
    benches/overload.py --seconds 10    # a look

First it measures what the machine delivers to 500 subscribers as fast as it goes, then it asks for 1.5 times that. Meanwhile
the server API is asked ten times a second in another channel, and the memory is watched. Afterwards 100 subscribers at a
quiet pace show when the latency is what it was before. Prints a table; the exit code is 1 when a limit is not kept.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from compare import TARGET, Server

SUBSCRIBERS = 500
STUCK = 5
BATCH = 20
SIZE = 1000
# What may wait for one connection (client.queue_max_size).
BUDGET = 1 << 20


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def closed_slow(server):
    """Connections closed for a full queue (3008) or a write that took too long (3009)."""
    with urllib.request.urlopen(f"{server.site}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    codes = ('code="3008"', 'code="3009"')
    closes = [line for line in lines if line.startswith("centripetal_connection_closes_total")]
    return sum(int(float(line.split()[-1])) for line in closes if any(code in line for code in codes))


class Watch(threading.Thread):
    """Asks the API and looks at the memory until it is stopped."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.calls, self.failed, self.peak, self.over = server, [], 0, 0, threading.Event()

    def run(self):
        body = json.dumps({"channel": "other", "data": {}}).encode()
        while not self.over.wait(0.1):
            self.peak = max(self.peak, resident(self.server.process.pid))
            request = urllib.request.Request(f"{self.server.api}/publish", body, {"Content-Type": "application/json"})
            start = time.monotonic()
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    self.failed += "error" in json.load(answer)
            except OSError:
                self.failed += 1
            self.calls.append(1000 * (time.monotonic() - start))


def stuck(server, channel):
    """A client that subscribes and then reads nothing more."""
    host, _, port = server.site.removeprefix("http://").partition(":")
    peer = socket.create_connection((host, int(port)), 10)
    head = ("GET /connection/websocket HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", "")
    peer.sendall("\r\n".join(head).encode())
    commands = [{"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": channel}}]
    text = "\n".join(map(json.dumps, commands)).encode()
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
    peer.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
    return peer


def busy(server, count):
    """Channels of the load, as soon as there are so many."""
    request = urllib.request.Request(f"{server.api}/channels", b'{"pattern": "load*"}', {"Content-Type": "application/json"})
    while True:
        with urllib.request.urlopen(request, timeout=10) as answer:
            names = list(json.load(answer)["result"]["channels"])
        if len(names) >= count:
            return names
        time.sleep(0.05)


def quiet(server, seconds):
    return server.bench("fanout", "-n", 100, "-m", 20 * seconds, "--rate", 20, "--channel", "quiet",
                        "--url", server.socket, "--api", server.api)["deliver"]["latency_ms"]["p99"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    load = ("-n", SUBSCRIBERS, "--size", SIZE, "--batch", BATCH)
    with tempfile.TemporaryDirectory() as folder, Server("gateway", folder) as server:
        before = quiet(server, 5)
        where = ("--url", server.socket, "--api", server.api)
        burst = server.bench("fanout", *load, "-m", 4000, "--rate", 0, *where)
        capacity = burst["deliver"]["per_second"]
        rate = int(1.5 * capacity / SUBSCRIBERS)
        print(f"{capacity:,.0f} deliveries a second; now {1.5 * capacity:,.0f} for {seconds} s", file=sys.stderr)
        idle, slow = resident(server.process.pid), closed_slow(server)
        watch = Watch(server)
        watch.start()
        # Several publishers side by side, as one would wait for the answers of its own calls.
        shares = 3
        processes = [subprocess.Popen(
            [str(TARGET / "centripetal"), "bench", "fanout", "--json", "--pid", str(server.process.pid),
             *map(str, load[2:]), "-n", str(SUBSCRIBERS // shares), "--channel", f"load{n}", "--quiet", "5",
             "-m", str(rate * seconds), "--rate", str(rate), *where],
            stdout=subprocess.PIPE, text=True) for n in range(shares)]
        names = busy(server, shares)
        readers = [stuck(server, names[n % shares]) for n in range(STUCK)]
        # They ask for more than there is, so they take longer than they would.
        reports = [json.loads(process.communicate()[0]) for process in processes]
        watch.over.set()
        watch.join()
        slow = closed_slow(server) - slow
        lost = sum(report["counted"]["lost"] for report in reports)
        expected = sum(report["counted"]["expected"] for report in reports)
        for reader in readers:
            reader.close()
        after = quiet(server, 5)
    calls = sorted(watch.calls)
    bound = idle + SUBSCRIBERS * BUDGET
    rows = [
        ("asked for, deliveries a second", f"{1.5 * capacity:,.0f}", True),
        ("peak memory, MB (bound: mailboxes of all)", f"{watch.peak / 1e6:.0f} ({bound / 1e6:.0f})", watch.peak <= bound),
        ("clients that read nothing, closed with 3008 or 3009", f"{slow} of {STUCK}", slow >= STUCK),
        ("publications lost by the other clients", f"{lost:,} of {expected:,}", lost == 0),
        ("API calls answered meanwhile", f"{len(calls) - watch.failed} of {len(calls)}", watch.failed == 0),
        ("API call p50, p99, ms", f"{calls[len(calls) // 2]:.0f}, {calls[len(calls) * 99 // 100]:.0f}", True),
        ("p99 at a quiet pace before, and in the 5 s after, ms", f"{before:.1f}, {after:.1f}", after <= max(2 * before, before + 20)),
    ]
    print("| what | value | kept |\n|---|---|---|")
    for what, value, kept in rows:
        print(f"| {what} | {value} | {'yes' if kept else 'NO'} |")
    return 0 if all(kept for *_, kept in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
