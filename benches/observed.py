#!/usr/bin/env python3
"""What it costs to be watched: everything for operators on, beside everything off, in pairs of runs.

    cargo build --release
    benches/observed.py                         # five pairs
    benches/observed.py --pairs 1 --clients 500 # a look

On is: Prometheus, Graphite and metrics over OpenTelemetry every two seconds, which is more often than anybody asks; all spans at
default sampling and logs over OpenTelemetry; log level `info`; health, debug and admin endpoints. A fan-out to 2000 tells the
CPU of a delivery, the step from 2000 to 8000 idle connections the memory of one. The runs of a pair change places from pair
to pair. Prints all pairs and medians; the exit code is 1 when a limit is not kept: 3 % more CPU a delivery, 200 bytes more
a connection, nothing lost, doubled or reordered, and that somebody took the telemetry at all.
"""

import argparse
import os
import socketserver
import statistics
import sys
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from compare import Server, fanout

MORE_CPU, MORE_MEMORY = 1.03, 200
LOGS = {"level": "info"}
# Seconds between two looks at the metrics.
EVERY = 2


class Collector(BaseHTTPRequestHandler):
    """Takes whatever is exported."""

    taken = 0

    def do_POST(self):
        Collector.taken += len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Graphite(socketserver.StreamRequestHandler):
    """Takes lines."""

    taken = 0

    def handle(self):
        for line in self.rfile:
            Graphite.taken += len(line)


class Scraper(threading.Thread):
    """Scrapes one server until it is stopped."""

    taken = 0

    def __init__(self, server):
        super().__init__(daemon=True)
        self.address, self.over = f"{server.site}/metrics", threading.Event()

    def run(self):
        while not self.over.wait(EVERY):
            try:
                with urllib.request.urlopen(self.address, timeout=10) as answer:
                    Scraper.taken += len(answer.read())
            except OSError as error:
                print(f"not scraped: {error}", file=sys.stderr)


def everything(graphite):
    own = ("command_spans", "proxy_spans", "engine_spans", "metrics", "logs")
    return {
        "prometheus": {"enabled": True},
        "opentelemetry": {"enabled": True, "api": True},
        "graphite": {"enabled": True, "host": "127.0.0.1", "port": graphite, "interval": f"{EVERY}s"},
        "health": {"enabled": True},
        "debug": {"enabled": True},
        "admin": {"enabled": True, "password": "of the operator", "secret": "of sessions"},
        "log": LOGS,
        "centripetal": {"telemetry": dict.fromkeys(own, True)},
    }


NOTHING = {"prometheus": {"enabled": False}, "health": {"enabled": False}, "log": {"level": "none"}}


def alone(settings, watched, case):
    """What a case says of a server of its own."""
    with tempfile.TemporaryDirectory() as folder, Server("gateway", folder, settings) as server:
        scraper = Scraper(server)
        if watched:
            scraper.start()
        found = case(server)
        scraper.over.set()
        if watched:
            scraper.join()
    return found


def measured(settings, watched, options):
    """CPU of a delivery in µs, memory of a connection in bytes, messages that went wrong."""
    figures, counted = alone(settings, watched, fanout("-n", options.clients, "-m", options.publications))

    def resident(connections):
        report = lambda server: server.bench("idle", "-n", connections, "--wait", 3, "--url", server.socket)
        return alone(settings, watched, report)["server"]["end"]

    # What a scrape or a batch needs is needed once: only the difference between few and many is the connections'.
    few, many = options.connections // 4, options.connections
    memory = (resident(many) - resident(few)) / (many - few)
    wrong = sum(counted[what] for what in ("lost", "doubled", "reordered"))
    return figures["CPU per delivery, µs"], memory, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--publications", type=int, default=500)
    parser.add_argument("--connections", type=int, default=8000)
    options = parser.parse_args()
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    graphite = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Graphite)
    for sink in (collector, graphite):
        sink.daemon_threads = True
        threading.Thread(target=sink.serve_forever, daemon=True).start()
    os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_address[1]}"
    os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = str(1000 * EVERY)
    kinds = {"on": (everything(graphite.server_address[1]), True), "off": (NOTHING, False)}
    print("| pair | CPU of a delivery, µs: on | off | ratio | memory a connection, bytes: on | off | difference |")
    print("|---|---|---|---|---|---|---|")
    ratios, differences, faults = [], [], 0
    for pair in range(options.pairs):
        found = {}
        for kind in sorted(kinds, reverse=pair % 2 == 0):
            print(f"pair {pair + 1} of {options.pairs}: {kind}", file=sys.stderr)
            *found[kind], wrong = measured(*kinds[kind], options)
            faults += wrong
        (cpu_on, memory_on), (cpu_off, memory_off) = found["on"], found["off"]
        ratios.append(cpu_on / cpu_off)
        differences.append(memory_on - memory_off)
        print(f"| {pair + 1} | {cpu_on:.2f} | {cpu_off:.2f} | {ratios[-1]:.3f} | {memory_on:,.0f} | {memory_off:,.0f} | "
              f"{differences[-1]:+,.0f} |", flush=True)
    ratio, difference = statistics.median(ratios), statistics.median(differences)
    print(f"| median | | | {ratio:.3f} | | | {difference:+,.0f} |")
    taken = {"collector": Collector.taken, "Graphite": Graphite.taken, "scrapes": Scraper.taken}
    print(f"\ntaken, bytes: {taken}; lost, doubled or reordered: {faults}")
    kept = ratio <= MORE_CPU and difference <= MORE_MEMORY and not faults and all(taken.values())
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
