"""What grpcio sees of a gRPC stream in one situation, against a running server.

grpc_conformance.py <situation>

Prints `observed: ...` at the end; the same situations are in tests/sdk/go/grpc.go, and docs/grpc.md has the table of both.
"""

import asyncio
import json
import sys

import grpc
from grpc_client import Stream, connection, pb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from google.protobuf.descriptor_pool import DescriptorPool
from support import Gate, api, check, equal, run, setting, token, unique

PATH = "/proto.Centrifuge/Communicate"
MIB = 1 << 20


async def user(name, **options):
    """A client of this name; options are those of the stream."""
    stream = Stream(**options)
    stream.result = await stream.connect(token=token(sub=name))
    return stream


async def joined(name, where, **options):
    stream = await user(name, **options)
    return stream, await stream.subscribe(where)


async def ends(stream):
    """Status and disconnect code of a stream that has ended, as text."""
    status, trailer = await stream.events.next("end")
    code = trailer.get("code")
    return f"{status.name}, {code}" if code else status.name


async def goes_on(stream):
    """A stream that has nothing to do with what happened."""
    where = unique("open")
    await stream.subscribe(where)
    await stream.publish(where, "still there")
    equal((await stream.events.next("pub", lambda event: event[0] == where))[0], where)


async def leaves_once(watcher, where, client):
    _, leave = await watcher.events.next("leave")
    equal(leave.info.client, client)
    # What follows by order: a second leave would be before it.
    await watcher.publish(where, "fence")
    await watcher.events.next("pub")
    equal(watcher.events.count("leave"), 0)


async def cancellation():
    where, shared = unique("open"), connection()
    watcher, _ = await joined("watcher", where)
    other = await user("other", channel=shared)
    leaver, _ = await joined("leaver", where, channel=shared)
    leaver.call.cancel()
    await leaves_once(watcher, where, leaver.result.client)
    await goes_on(other)
    return (await leaver.call.code()).name


async def half_close():
    where = unique("open")
    stream = Stream()
    commands = [pb.Command(connect=pb.ConnectRequest(token=token(sub="alice")))]
    commands.append(pb.Command(subscribe=pb.SubscribeRequest(channel=where)))
    publish = pb.PublishRequest(channel=where, data=b"{}")
    commands += [pb.Command(publish=publish) for _ in range(50)]
    loop, replies = asyncio.get_running_loop(), []
    for number, command in enumerate(commands, 1):
        command.id = number
        stream.waiting[number] = loop.create_future()
        stream.waiting[number].add_done_callback(lambda reply: replies.append(reply.result().id))
    for command in commands:
        await stream.call.write(command)
    await stream.call.done_writing()
    end = await ends(stream)
    equal(replies, list(range(1, 53)))
    return f"{end} after {len(replies)} replies"


async def deadline():
    where, shared = unique("open"), connection()
    watcher, _ = await joined("watcher", where)
    other = await user("other", channel=shared)
    late, _ = await joined("late", where, channel=shared, timeout=2)
    end = await ends(late)
    await leaves_once(watcher, where, late.result.client)
    await goes_on(other)
    return end


async def metadata():
    shared = connection()
    other = await user("other", channel=shared)
    fits = Stream(channel=shared, metadata=[("x-large", "x" * 10_000)])
    await fits.connect(token=token(sub="fits"))
    large = Stream(channel=shared, metadata=[("x-large", "x" * 20_000)])
    end = await ends(large)
    await goes_on(other)
    return end


def document(size):
    """A JSON text of so many bytes that does not repeat itself."""
    text = "".join(f"{n:07x}" for n in range(size // 7 + 1))
    return f'"{text[: size - 2]}"'.encode()


async def large_message():
    where = unique("open")
    shared = connection(**{"grpc.max_receive_message_length": 8 * MIB})
    stream, _ = await joined("alice", where, channel=shared)
    data = document(4 * MIB)
    await stream.ask("publish", pb.PublishRequest(channel=where, data=data))
    _, publication = await stream.events.next("pub")
    assert publication.data == data, "what comes back is different"
    return "echoed"


async def own_limit():
    where, shared = unique("open"), connection()
    other = await user("other", channel=shared)
    stream, _ = await joined("alice", where, channel=shared)
    await api("publish", channel=where, data=document(5 * MIB).decode())
    end = await ends(stream)
    await goes_on(other)
    return end


async def raw(*messages, **options):
    """Messages as bytes on a stream beside a good one; how it ends."""
    shared = connection()
    other = await user("other", channel=shared)
    call = shared.stream_stream(PATH)(**options)
    for message in messages:
        await call.write(message)
    replies = 0
    try:
        async for _ in call:
            replies += 1
    except grpc.aio.AioRpcError:
        pass
    equal(replies, 0)
    trailers = dict(await call.trailing_metadata() or ())
    code = json.loads(trailers["disconnect"])["code"] if "disconnect" in trailers else None
    status = (await call.code()).name
    await goes_on(other)
    return f"{status}, {code}" if code else status


async def too_large():
    data = document(4 * MIB)
    rpc = pb.Command(id=1, rpc=pb.RPCRequest(data=data)).SerializeToString()
    return await raw(rpc)


async def malformed():
    return await raw(b"\x08\x01\x22\xff\xff")


async def unknown_compression():
    # The library knows deflate, the server does not. Headers are enough: a message that comes after the refusal makes the
    # library forget the status.
    return await raw(compression=grpc.Compression.Deflate)


async def compressed_request():
    where = unique("open")
    stream, _ = await joined("alice", where, compression=grpc.Compression.Gzip)
    await stream.publish(where, "x" * 50_000)
    _, _, data = await stream.publication()
    equal(data, "x" * 50_000)
    return "gzip"


class Counting(Gate):
    """A way to the server that counts."""

    passed = 0

    async def copy(self, reader, writer, other):
        original = writer.write

        def write(data):
            self.passed += len(data)
            original(data)

        writer.write = write
        await super().copy(reader, writer, other)


async def compressed_response():
    host, port = setting("SDK_GRPC").rsplit(":", 1)
    gate = await Counting.open_to(host, int(port))
    where = unique("open")
    stream, _ = await joined("alice", where, target=f"127.0.0.1:{gate.port}")
    before = gate.passed
    await api("publish", channel=where, data="x" * 500_000)
    _, _, data = await stream.publication()
    equal(len(data), 500_000)
    gate.cut()
    assert gate.passed - before < 50_000, f"{gate.passed - before} bytes for 500,000"
    return "gzip"


async def stopped_reader():
    where, shared = unique("open"), connection()
    reader, _ = await joined("reader", where, channel=shared)
    other, _ = await joined("other", where, channel=shared)
    reader.flowing.clear()
    count = 400
    for number in range(count):
        await api("publish", channel=where, data={"n": number, "x": "x" * 50_000})
        _, _, data = await other.publication()
        equal(data["n"], number)
    reader.flowing.set()
    end = await ends(reader)
    await goes_on(other)
    return end


async def paused_reader():
    where, shared = unique("open"), connection()
    reader, _ = await joined("reader", where, channel=shared)
    reader.flowing.clear()
    count = 200
    for number in range(count):
        await api("publish", channel=where, data={"n": number, "x": "x" * 20_000})
    equal(reader.events.count("pub") <= 1, True)
    reader.flowing.set()
    for number in range(count):
        _, _, data = await reader.publication()
        equal(data["n"], number)
    return "everything, in order"


async def old_connection():
    where, shared, count = unique("open"), connection(), 400

    subscribed = asyncio.Event()

    async def publish():
        await subscribed.wait()
        for number in range(count):
            await api("publish", channel=where, data={"n": number})
            await asyncio.sleep(0.01)

    publishing = asyncio.ensure_future(publish())
    seen, position, ended = [], {}, []

    def take(publication):
        seen.append(json.loads(publication.data)["n"])
        position["offset"] = publication.offset

    while len(seen) < count:
        stream = Stream(channel=shared)
        try:
            await stream.connect(token=token(sub="alice"))
            result = await stream.subscribe(where, recover=bool(position), **position)
            equal(result.recovered, bool(position))
            position.setdefault("offset", result.offset)
            position["epoch"] = result.epoch
            subscribed.set()
            for publication in result.publications:
                take(publication)
            while len(seen) < count:
                name, context = await stream.events.either("pub", "end")
                if name == "end":
                    ended.append((context[0].name, context[1].get("code")))
                    break
                take(context[1])
        except (ConnectionError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The connection is at its end, its streams are not taken any more.
            status, trailer = await stream.events.next("end")
            ended.append((status.name, trailer.get("code")))
        await asyncio.sleep(0.05)
    await publishing
    equal(seen, list(range(count)))
    assert len(ended) >= 2, ended
    kinds = sorted({f"{status}, {code}" if code else status for status, code in ended})
    return f"{' or '.join(kinds)}; nothing lost"


async def many_streams():
    where, shared, count = unique("quiet"), connection(), 500
    streams = await asyncio.gather(*(user(f"user-{n}", channel=shared) for n in range(count)))
    await asyncio.gather(*(stream.subscribe(where) for stream in streams))
    await api("publish", channel=where, data={"n": 1})
    for stream in streams:
        equal((await stream.publication())[2], {"n": 1})
    return "all served"


async def pings_of_the_client():
    frequent = {
        "grpc.keepalive_time_ms": 500,
        "grpc.keepalive_timeout_ms": 5000,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.keepalive_permit_without_calls": 1,
    }
    stream = await user("alice", channel=connection(**frequent))
    await asyncio.sleep(6)
    await goes_on(stream)
    return "no ENHANCE_YOUR_CALM"


async def pings_of_the_server():
    # Every second, and gone after another.
    stream = await user("alice")
    await asyncio.sleep(5)
    await goes_on(stream)
    return "answered"


async def health():
    stub = health_pb2_grpc.HealthStub(connection())
    for service in ["", "proto.Centrifuge"]:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        equal(answer.status, health_pb2.HealthCheckResponse.SERVING)
    watching = stub.Watch(health_pb2.HealthCheckRequest())
    equal((await watching.read()).status, health_pb2.HealthCheckResponse.SERVING)
    try:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    except grpc.aio.AioRpcError as error:
        return f"SERVING; {error.code().name} for others"
    raise AssertionError("an unknown service has health")


def described():
    with grpc.insecure_channel(setting("SDK_GRPC")) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "proto.Centrifuge" in database.get_services(), database.get_services()
        service = DescriptorPool(database).FindServiceByName("proto.Centrifuge")
        method = service.methods_by_name["Communicate"]
        return method.input_type.full_name, method.output_type.full_name


async def reflection():
    equal(await asyncio.to_thread(described), ("proto.Command", "proto.Reply"))
    return "v1alpha"


async def refusal():
    shared = connection()
    other = await user("other", channel=shared)
    stream = Stream(channel=shared, metadata=[("authorization", "Bearer x")])
    end = await ends(stream)
    await goes_on(other)
    return end


async def unknown_method():
    call = connection().unary_unary("/proto.Centrifuge/Dance")
    try:
        await call(b"")
    except grpc.aio.AioRpcError as error:
        return error.code().name
    raise AssertionError("somebody dances")


SITUATIONS = [
    cancellation,
    half_close,
    deadline,
    metadata,
    large_message,
    own_limit,
    too_large,
    malformed,
    unknown_compression,
    compressed_request,
    compressed_response,
    stopped_reader,
    paused_reader,
    old_connection,
    many_streams,
    pings_of_the_client,
    pings_of_the_server,
    health,
    reflection,
    refusal,
    unknown_method,
]


async def observe(situation):
    observed = None

    async def body():
        nonlocal observed
        observed = await situation()

    await check(situation.__name__, body(), seconds=50)
    print(f"observed: {observed}", flush=True)


def main(arguments):
    for situation in SITUATIONS:
        if arguments == [situation.__name__]:
            run(observe(situation))
    sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
