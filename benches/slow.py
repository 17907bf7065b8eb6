#!/usr/bin/env python3
"""Readers that stop for a while among others: what the others notice, what each costs, and whether each ends without a gap.

    cargo build --release
    benches/slow.py                                  # 2000 subscribers, 50 of them stop for 15 seconds, 100 publications a second
    benches/slow.py --clients 200 --stopped 5 --stop 3 --rate 20     # a look

One run in which the same readers do not stop, then one for each `slow_policy` that keeps a connection: `latest`, `recover`.
Payloads are 4 KB, so that more is published than kernels hold; afterwards the readers read as fast as a phone.
Prints a table; the exit code is 1 when a limit is not kept: p99 of the others within 20 % of the run without, no gap with
`recover`, 256 KB a reader, and that somebody was late at all.
"""

import argparse
import json
import socket
import struct
import sys
import tempfile
import threading
import time
import urllib.request

from compare import Server
from overload import busy, resident

LIMIT = 256 * 1024
# What a reader takes at once, bytes, and in a second.
CHUNK, PACE = 65536, 2_000_000
# A ping, whole frame.
PING = b"\x81\x02{}"


class Reader(threading.Thread):
    """A client over WebSocket that subscribes, reads nothing for a while, and then everything."""

    def __init__(self, server, channel, stop):
        super().__init__(daemon=True)
        host, _, port = server.site.removeprefix("http://").partition(":")
        self.peer = socket.socket()
        # What the kernel holds for a reader that stops is not the gateway's.
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.peer.connect((host, int(port)))
        self.stop, self.offsets, self.faults, self.buffer, self.at = stop, [], [], b"", 0
        head = ("GET /connection/websocket HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket",
                "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", "")
        self.peer.sendall("\r\n".join(head).encode())
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.peer.recv(4096)
        self.buffer = self.buffer.split(b"\r\n\r\n", 1)[1]
        self.send(json.dumps({"id": 1, "connect": {}}) + "\n" + json.dumps({"id": 2, "subscribe": {"channel": channel}}))
        self.over = threading.Event()

    def send(self, text):
        self.peer.sendall(bytes([0x81, 0x80 | 126]) + struct.pack(">H", len(text)) + bytes(4) + text.encode())

    def frame(self):
        """The next text frame; None when no whole one is there."""
        while len(self.buffer) - self.at >= 2:
            length, head = self.buffer[self.at + 1] & 0x7F, 2
            if length >= 126:
                head = 4 if length == 126 else 10
                if len(self.buffer) - self.at < head:
                    return None
                length = int.from_bytes(self.buffer[self.at + 2:self.at + head])
            start, end = self.at + head, self.at + head + length
            if len(self.buffer) < end:
                return None
            opcode, payload, self.at = self.buffer[self.at] & 15, self.buffer[start:end], end
            if opcode == 8:
                raise ConnectionError(payload[2:].decode())
            if opcode == 1:
                return payload
        return None

    def run(self):
        try:
            self.peer.settimeout(30)
            while not any("subscribe" in message for message in self.messages()):
                self.buffer += self.peer.recv(65536)
            time.sleep(self.stop)
            self.peer.settimeout(1)
            self.catch_up()
            # Looked at when nothing is measured any more: these programs share the processors with the others.
            while self.messages():
                pass
        except (OSError, ValueError) as error:
            self.faults.append(str(error))
        self.peer.close()

    def catch_up(self):
        """Takes what comes, not faster than a phone, until the run is over and nothing comes; looks at none but pings."""
        chunks = [self.buffer[self.at:]]
        while True:
            try:
                chunks.append(self.peer.recv(CHUNK))
            except TimeoutError:
                if self.over.is_set():
                    break
                continue
            time.sleep(len(chunks[-1]) / PACE)
            if not chunks[-1]:
                break
            if PING in chunks[-2][1 - len(PING):] + chunks[-1]:
                self.send("{}")
        self.buffer, self.at = b"".join(chunks), 0

    def messages(self):
        frame = self.frame()
        messages = [json.loads(line) for line in frame.split(b"\n")] if frame else []
        for message in messages:
            push = message.get("push", {})
            if "pub" in push:
                self.offsets.append(push["pub"]["offset"])
            if "unsubscribe" in push:
                self.faults.append("unsubscribed")
        return messages

    def gaps(self, top):
        """Steps over something, and what is missing at the end."""
        return sum(after != before + 1 for before, after in zip(self.offsets, [*self.offsets[1:], top + 1]))


def lagging(server):
    """Deliveries that were left out or put off."""
    with urllib.request.urlopen(f"{server.site}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("centripetal_lagging_deliveries_total"))


def position(server, channel):
    """Offset of the newest publication."""
    body = json.dumps({"channel": channel, "limit": 0}).encode()
    request = urllib.request.Request(f"{server.api}/history", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["result"]["offset"]


def run(policy, options):
    publications = options.rate * (options.stop + 6)
    channel = {"slow_policy": policy or "disconnect", "history_size": publications}
    with tempfile.TemporaryDirectory() as folder, Server("gateway", folder, channel=channel) as server:
        done, report = threading.Event(), {}
        others = options.clients - options.stopped

        def load():
            report.update(server.bench("fanout", "-n", others, "--channel", "load", "--size", options.size, "-m", publications, "--rate", options.rate,
                                       "--url", server.socket, "--api", server.api))
            done.set()

        loading = threading.Thread(target=load)
        loading.start()
        name = busy(server, 1)[0]
        # Everybody is there as soon as something is published; until then they connect.
        time.sleep(1)
        before = resident(server.process.pid)
        readers = [Reader(server, name, options.stop if policy else 0) for _ in range(options.stopped)]
        for reader in readers:
            reader.start()
        peak = before
        while not done.wait(0.1):
            peak = max(peak, resident(server.process.pid))
        loading.join()
        for reader in readers:
            reader.over.set()
        for reader in readers:
            reader.join()
        late, top = lagging(server), position(server, name)
    # With `latest` everybody who is late has something left out, which the benchmark counts as lost.
    assert policy == "latest" or report["counted"]["lost"] == 0, "the others lost something"
    return report["deliver"]["latency_ms"]["p99"], readers, peak - before, (late, top)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--stopped", type=int, default=50)
    parser.add_argument("--stop", type=int, default=15, help="seconds")
    parser.add_argument("--rate", type=int, default=100, help="publications a second")
    parser.add_argument("--size", type=int, default=4000, help="bytes of a payload")
    options = parser.parse_args()
    plain, _, usual, _ = run(None, options)
    print("| `slow_policy` | p99 of the others, ms | to without | memory a reader, KB | late deliveries | readers with a gap | ended | kept |")
    print("|---|---|---|---|---|---|---|---|")
    print(f"| nobody stops | {plain:.1f} | | | | | | |")
    kept = True
    for policy in ("latest", "recover"):
        p99, readers, grown, (late, top) = run(policy, options)
        # History and the others grow without them as well.
        memory = max(grown - usual, 0) / len(readers)
        ended = sum(bool(reader.faults) for reader in readers)
        gaps = sum(reader.gaps(top) > 0 for reader in readers)
        good = p99 <= 1.2 * plain and memory <= LIMIT and late > 0 and not ended and (policy == "latest" or not gaps)
        kept = kept and good
        print(f"| `{policy}` | {p99:.1f} | {p99 / plain:.2f} | {memory / 1024:.0f} | {late:,} | {gaps} of {len(readers)} | "
              f"{ended} | {'yes' if good else 'NO'} |", flush=True)
        for fault in {fault for reader in readers for fault in reader.faults}:
            print(f"{policy}: {fault}", file=sys.stderr)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
