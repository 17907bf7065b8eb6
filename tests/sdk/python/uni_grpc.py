"""The stream of clients that only listen, with code generated from the published schema.

uni_grpc.py <host:port>

Shares no code with the project: proto/unistream.proto is compiled by grpcio-tools when the program starts.
"""

import asyncio
import importlib
import json
import os
import sys
import tempfile

import grpc
import grpc_tools
from grpc_tools import protoc
from support import api, check, equal, run, setting, short_token, token, unique


def generate():
    folder = tempfile.TemporaryDirectory(prefix="uni-proto-")
    schemas = os.path.dirname(os.path.abspath(setting("SDK_PROTO")))
    arguments = [
        "protoc",
        f"-I{schemas}",
        f"-I{os.path.join(os.path.dirname(grpc_tools.__file__), '_proto')}",
        f"--python_out={folder.name}",
        f"--grpc_python_out={folder.name}",
        os.path.join(schemas, "unistream.proto"),
    ]
    if protoc.main(arguments):
        sys.exit("the schema does not compile")
    sys.path.insert(0, folder.name)
    modules = [importlib.import_module(f"unistream_pb2{part}") for part in ("", "_grpc")]
    folder.cleanup()
    return modules


pb, pb_grpc = generate()


class Listener:
    """One call."""

    def __init__(self, target, **request):
        self.channel = grpc.aio.insecure_channel(target)
        stub = pb_grpc.CentrifugoUniStreamStub(self.channel)
        self.call = stub.Consume(pb.ConnectRequest(**request))

    async def next(self, kind):
        """The next push that is no ping, which is of this kind."""
        while True:
            push = await asyncio.wait_for(self.call.read(), 10)
            assert push is not grpc.aio.EOF, await self.call.code()
            if push.ByteSize():
                assert push.HasField(kind), push
                return push

    async def end(self):
        """Status and trailers."""
        equal(await asyncio.wait_for(self.call.read(), 10), grpc.aio.EOF)
        return await self.call.code(), dict(await self.call.trailing_metadata() or ())

    async def close(self):
        self.call.cancel()
        await self.channel.close()


async def checks(target):
    user, channel = unique("user"), unique("open")
    listener = Listener(target, token=token(sub=user, channels=[channel]), name="stub")

    async def connect():
        push = await listener.next("connect")
        connect = push.connect
        assert connect.client and connect.session and not connect.node, connect
        equal((connect.ping, connect.pong), (300, False))
        equal(connect.subs[channel].positioned, True)
        return connect

    async def publications():
        await api("publish", channel=channel, data={"n": 1}, tags={"k": "v"})
        while True:
            push = await asyncio.wait_for(listener.call.read(), 10)
            if push.HasField("pub"):
                break
            assert push.HasField("join"), push
        equal(json.loads(push.pub.data), {"n": 1})
        equal((push.channel, push.pub.offset, dict(push.pub.tags)), (channel, 1, {"k": "v"}))

    async def recovery():
        for n in range(2, 5):
            await api("publish", channel=channel, data={"n": n})
        since = pb.SubscribeRequest(recover=True, epoch=epoch, offset=2)
        again = Listener(target, token=token(sub=user, channels=[channel]), subs={channel: since})
        result = (await again.next("connect")).connect.subs[channel]
        assert result.recovered and result.was_recovering, result
        equal([json.loads(p.data)["n"] for p in result.publications], [3, 4])
        await again.close()

    async def disconnect():
        await api("disconnect", user=user, session=session)
        while True:
            push = await asyncio.wait_for(listener.call.read(), 10)
            if push.HasField("disconnect"):
                break
        equal((push.disconnect.code, push.disconnect.reason), (3503, "force disconnect"))
        equal((await listener.end())[0], grpc.StatusCode.OK)

    async def refusals():
        for request, code in [
            ({}, 3501),
            ({"token": "nonsense"}, 3500),
            ({"token": short_token(user, -10)}, 3005),
        ]:
            refused = Listener(target, **request)
            equal((await refused.next("disconnect")).disconnect.code, code)
            status, trailers = await refused.end()
            equal(status, grpc.StatusCode.OK)
            assert "disconnect" not in trailers, trailers

    async def bytes_without_sense():
        channel = grpc.aio.insecure_channel(target)
        path = "/centrifugal.centrifugo.unistream.CentrifugoUniStream/"
        for method, body, expected in [
            ("Consume", b"\xff\xff", grpc.StatusCode.INTERNAL),
            ("Consume", b"\x0a" + b"\x80\x80\x80\x03" + bytes(6 << 20), grpc.StatusCode.RESOURCE_EXHAUSTED),
            ("Other", b"", grpc.StatusCode.UNIMPLEMENTED),
        ]:
            call = channel.unary_stream(path + method)(body)
            equal(await asyncio.wait_for(call.code(), 10), expected)
        await channel.close()

    found = {}

    async def first():
        found["connect"] = await connect()

    await check("the first push tells of the connection", first())
    session = found["connect"].session
    epoch = found["connect"].subs[channel].epoch
    await check("publications arrive", publications())
    await check("what was missed comes with the connection", recovery())
    await check("the end is told", disconnect())
    await check("refusals are ends", refusals())
    await check("bytes without sense have a status", bytes_without_sense())


if __name__ == "__main__":
    run(checks(sys.argv[1]))
