"""What the Python programs share: settings, tokens, the server API, a cuttable way to the server, checks, events.

Settings come from the environment: SDK_WS_URL, SDK_API_URL, SDK_API_KEY, SDK_SECRET, SDK_GRPC, SDK_PROTO.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import traceback
import urllib.request
import uuid
from urllib.parse import urlsplit, urlunsplit

CHECK_SECONDS = 15
TOTAL_SECONDS = 60
MIXED_MESSAGES = 100


def setting(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set")
    return value


# ---- server ------------------------------------------------------------------------------


def token(**claims):
    def part(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = head + b"." + part(json.dumps(claims).encode())
    mac = hmac.new(setting("SDK_SECRET").encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(mac)).decode()


def short_token(user, seconds):
    """A token that lives so many seconds; negative for an expired one."""
    return token(sub=user, exp=int(time.time()) + seconds)


# The environment may name a proxy for the registries; the server is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def api_now(method, **params):
    request = urllib.request.Request(
        f"{setting('SDK_API_URL')}/{method}",
        json.dumps(params).encode(),
        {"Content-Type": "application/json", "X-API-Key": setting("SDK_API_KEY")},
    )
    with _opener.open(request, timeout=10) as answer:
        body = json.loads(answer.read())
    if "error" in body:
        raise AssertionError(f"API {method}: {body}")
    return body["result"]


async def api(method, **params):
    return await asyncio.to_thread(api_now, method, **params)


class Gate:
    """A way to the server that can be cut and opened again; nothing gets through while it is cut."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.writers = set()
        self.closed = False
        self.server = None

    @classmethod
    async def open_to(cls, host, port):
        gate = cls(host, port)
        gate.server = await asyncio.start_server(gate.accept, "127.0.0.1", 0)
        return gate

    @property
    def port(self):
        return self.server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        if self.closed:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, far_writer}
        await asyncio.gather(
            self.copy(reader, far_writer, writer), self.copy(far_reader, writer, far_writer)
        )
        self.writers -= {writer, far_writer}

    @staticmethod
    async def copy(reader, writer, other):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
            other.transport.abort()

    def cut(self):
        self.closed = True
        for writer in self.writers:
            writer.transport.abort()

    def open(self):
        self.closed = False


async def websocket_gate():
    """A gate to the WebSocket endpoint, and the URL that leads through it."""
    url = urlsplit(setting("SDK_WS_URL"))
    gate = await Gate.open_to(url.hostname, url.port)
    return gate, urlunsplit(url._replace(netloc=f"127.0.0.1:{gate.port}"))


def unique(namespace):
    """A channel nobody else uses."""
    return f"{namespace}:{uuid.uuid4()}"


# ---- events ------------------------------------------------------------------------------


class Events:
    """Everything that was told, in order; waits for what has not come yet."""

    def __init__(self):
        self.seen = []
        self.changed = asyncio.Condition()

    async def add(self, name, context):
        async with self.changed:
            self.seen.append((name, context))
            self.changed.notify_all()

    async def next(self, name, condition=lambda context: True):
        """Takes the first event of this name (and condition), one that has come already or the next to come."""
        async with self.changed:
            while True:
                for index, (seen, context) in enumerate(self.seen):
                    if seen == name and condition(context):
                        del self.seen[index]
                        return context
                await self.changed.wait()

    async def either(self, *names):
        """Takes the first event of any of these names, with its name."""
        async with self.changed:
            while True:
                for index, (seen, context) in enumerate(self.seen):
                    if seen in names:
                        del self.seen[index]
                        return seen, context
                await self.changed.wait()

    async def take(self, name, count):
        return [await self.next(name) for _ in range(count)]

    def count(self, name):
        return sum(1 for seen, _ in self.seen if seen == name)


async def until(question):
    """Repeats a question until its answer is yes; the check's time limit ends it otherwise."""
    while True:
        answer = question()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return
        await asyncio.sleep(0.02)


# ---- checks ------------------------------------------------------------------------------

_passed = 0


async def check(name, body, seconds=CHECK_SECONDS):
    """Runs one check; the first that fails ends the program."""
    global _passed
    try:
        await asyncio.wait_for(body, seconds)
    except Exception:
        traceback.print_exc()
        print(f"FAILED {name}: {sys.exc_info()[0].__name__}: {sys.exc_info()[1]}", flush=True)
        # What an SDK left running must not keep the program.
        os._exit(1)
    _passed += 1
    print(f"ok {name}", flush=True)


def left_out(name, reason):
    print(f"left out {name}: {reason}", flush=True)


def equal(got, expected):
    assert got == expected, f"{got!r} instead of {expected!r}"


def run(body, limit=TOTAL_SECONDS):
    """Runs a program within the overall time limit."""
    try:
        asyncio.run(asyncio.wait_for(body, limit))
    except Exception as error:
        traceback.print_exc()
        print(f"FAILED program: {type(error).__name__}: {error}", flush=True)
        os._exit(1)
    if _passed:
        print(f"{_passed} checks passed", flush=True)
    os._exit(0)


def tell(**value):
    print(json.dumps(value), flush=True)


# ---- mixed -------------------------------------------------------------------------------


async def mixed(name, total, publish, received):
    """One of many clients in a channel: tells that it is ready, waits for the line "go", publishes its messages, prints
    every message it receives and ends after `total`."""
    print(json.dumps({"ready": name}), flush=True)
    while (await asyncio.to_thread(sys.stdin.readline)).strip() != "go":
        pass

    async def publish_all():
        for n in range(MIXED_MESSAGES):
            await publish({"from": name, "n": n})

    publishing = asyncio.ensure_future(publish_all())
    lines = [json.dumps(await received()) for _ in range(total)]
    await publishing
    print("\n".join(lines), flush=True)
