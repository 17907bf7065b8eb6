"""A gRPC client with code generated from the published schema, against a running server.

grpc_client.py <v1|v2>                                 all checks
grpc_client.py <v1|v2> mixed <name> <channel> <total>  one of many clients in a channel
grpc_client.py v2 follow <name> <channel> <last>       prints what comes until that number
grpc_client.py rpc                                     calls that a backend answers
grpc_client.py v2 quiet <channel> <seconds>            says nothing for so long, then gets a message on the same stream

Shares no code with the project: the schema (SDK_PROTO) is compiled by grpcio-tools when the program starts.
"""

import asyncio
import importlib
import json
import os
import re
import sys
import tempfile

import grpc
import grpc_tools
from grpc_tools import protoc
from support import (
    TOTAL_SECONDS,
    Events,
    Gate,
    api,
    check,
    equal,
    left_out,
    mixed,
    run,
    setting,
    short_token,
    tell,
    token,
    unique,
    until,
)


def generate():
    """Compiles the schema into a temporary folder and imports the two modules made from it."""
    folder = tempfile.TemporaryDirectory(prefix="sdk-proto-")
    schema = os.path.abspath(setting("SDK_PROTO"))
    arguments = [
        "protoc",
        f"-I{os.path.dirname(schema)}",
        f"-I{os.path.join(os.path.dirname(grpc_tools.__file__), '_proto')}",
        f"--python_out={folder.name}",
        f"--grpc_python_out={folder.name}",
        schema,
    ]
    if protoc.main(arguments):
        sys.exit("the schema does not compile")
    sys.path.insert(0, folder.name)
    name = os.path.basename(schema).removesuffix(".proto")
    modules = [importlib.import_module(f"{name}_pb2{part}") for part in ("", "_grpc")]
    folder.cleanup()
    return modules


pb, services = generate()

# Requests in the order of their V1 method numbers, with the type of their result.
METHODS = {
    "connect": (0, pb.ConnectResult),
    "subscribe": (1, pb.SubscribeResult),
    "unsubscribe": (2, pb.UnsubscribeResult),
    "publish": (3, pb.PublishResult),
    "presence": (4, pb.PresenceResult),
    "presence_stats": (5, pb.PresenceStatsResult),
    "history": (6, pb.HistoryResult),
    "rpc": (9, pb.RPCResult),
    "refresh": (10, pb.RefreshResult),
}
# Bodies of V1 pushes by their number, and the V2 name of the field.
PUSHES = {
    0: ("pub", pb.Publication),
    1: ("join", pb.Join),
    2: ("leave", pb.Leave),
    3: ("unsubscribe", pb.UnsubscribeV1),
    4: ("message", pb.Message),
    5: ("subscribe", pb.Subscribe),
}


class Refused(Exception):
    """The reply carries an error."""

    def __init__(self, error):
        super().__init__(f"{error.code} {error.message}")
        self.code = error.code


def connection(target=None, **options):
    """A connection of its own, with options of the library, and with TLS when SDK_GRPC_CA names the authority to trust."""
    own = {"grpc.enable_http_proxy": 0, "grpc.use_local_subchannel_pool": 1, **options}
    target, own = target or setting("SDK_GRPC"), list(own.items())
    authority = os.environ.get("SDK_GRPC_CA")
    if not authority:
        return grpc.aio.insecure_channel(target, options=own)
    with open(authority, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    return grpc.aio.secure_channel(target, credentials, options=own)


class Stream:
    """One stream, one client. Pushes are recorded as (channel, body) under the name of their field."""

    v1 = False

    def __init__(self, target=None, metadata=(), channel=None, **options):
        self.channel = channel or connection(target)
        self.call = services.CentrifugeStub(self.channel).Communicate(metadata=metadata, **options)
        self.events = Events()
        # Nothing is read while this is not set.
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.waiting = {}
        self.pong = False
        self.pings = 0
        self.last_id = 0
        self.reader = asyncio.ensure_future(self.read())

    @classmethod
    async def connected(cls, target=None, metadata=(), **request):
        stream = cls(target, metadata)
        stream.result = await stream.connect(**request)
        return stream

    async def connect(self, **request):
        result = await self.ask("connect", pb.ConnectRequest(**request))
        self.pong = result.pong
        return result

    async def ask(self, kind, request):
        """Sends one command and waits for its reply; the stream's end is an answer as well."""
        self.last_id += 1
        number, result_type = METHODS[kind]
        if self.v1:
            params = request.SerializeToString()
            command = pb.Command(id=self.last_id, method=number, params=params)
        else:
            command = pb.Command(id=self.last_id, **{kind: request})
        future = self.waiting[self.last_id] = asyncio.get_running_loop().create_future()
        await self.call.write(command)
        reply = await future
        if reply.HasField("error"):
            raise Refused(reply.error)
        if self.v1:
            return result_type.FromString(reply.result)
        assert reply.HasField(kind), reply
        return getattr(reply, kind)

    async def read(self):
        try:
            async for reply in self.call:
                await self.take(reply)
                await self.flowing.wait()
        except grpc.aio.AioRpcError:
            pass
        trailers = dict(await self.call.trailing_metadata() or ())
        end = json.loads(trailers["disconnect"]) if "disconnect" in trailers else {}
        await self.events.add("end", (await self.call.code(), end))
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"stream ended: {end}"))
                # Nobody may wait for it any more.
                future.exception()

    async def take(self, reply):
        if reply.id:
            self.waiting.pop(reply.id).set_result(reply)
        elif self.v1:
            push = pb.PushV1.FromString(reply.result)
            name, body = PUSHES[push.type]
            await self.events.add(name, (push.channel, body.FromString(push.data)))
        elif reply.HasField("push"):
            name = next(field.name for field, _ in reply.push.ListFields() if field.message_type)
            await self.events.add(name, (reply.push.channel, getattr(reply.push, name)))
        else:
            self.pings += 1
            if self.pong:
                await self.call.write(pb.Command())

    async def subscribe(self, channel, **request):
        return await self.ask("subscribe", pb.SubscribeRequest(channel=channel, **request))

    async def publish(self, channel, value):
        request = pb.PublishRequest(channel=channel, data=json.dumps(value).encode())
        await self.ask("publish", request)

    async def publication(self):
        channel, publication = await self.events.next("pub")
        return channel, publication, json.loads(publication.data)

    async def end(self):
        """How the stream ended: status, code, reason, whether to reconnect."""
        status, trailer = await self.events.next("end")
        if self.v1:
            # The older generation knows no code.
            trailer.pop("code", None)
        elif status == grpc.StatusCode.OK:
            _, push = await self.events.next("disconnect")
            equal((push.code, push.reason), (trailer["code"], trailer["reason"]))
        return status, trailer

    async def close(self):
        await self.call.done_writing()
        await self.events.next("end")
        await self.channel.close()


def ending(code, reason, reconnect=False):
    trailer = {"reason": reason, "reconnect": reconnect}
    return trailer if Stream.v1 else {"code": code, **trailer}


async def error_of(call, code):
    try:
        await call
    except Refused as error:
        equal(error.code, code)
    else:
        raise AssertionError(f"no error {code}")


# ---- checks ------------------------------------------------------------------------------


async def connect_with_a_token():
    stream = await Stream.connected(token=token(sub="alice"))
    assert re.fullmatch("[0-9a-f-]{36}", stream.result.client), stream.result
    await stream.close()


async def connect_with_a_token_in_the_metadata():
    metadata = [("authorization", f"Bearer {token(sub='alice')}")]
    stream = await Stream.connected(metadata=metadata)
    await stream.close()


async def refused(code, reason, **request):
    stream = Stream()
    try:
        await stream.connect(**request)
    except ConnectionError:
        equal(await stream.end(), (grpc.StatusCode.OK, ending(code, reason)))
        return
    raise AssertionError("connected")


async def a_wrong_token_in_the_metadata_is_refused():
    stream = Stream(metadata=[("authorization", f"Bearer {token(sub='alice')[:-4]}AAAA")])
    status, trailer = await stream.events.next("end")
    equal(status, grpc.StatusCode.UNAUTHENTICATED)
    equal(trailer, {"code": 3500, "reason": "invalid token", "reconnect": False})


async def an_expired_token_is_error_109():
    stream = Stream()
    await error_of(stream.connect(token=short_token("alice", -10)), 109)


async def a_token_is_refreshed():
    stream = await Stream.connected(token=short_token("alice", 20))
    assert stream.result.expires and 0 < stream.result.ttl <= 20, stream.result
    request = pb.RefreshRequest(token=short_token("alice", 100))
    result = await stream.ask("refresh", request)
    assert result.expires and 20 < result.ttl <= 100, result
    equal(result.client, stream.result.client)
    await stream.close()


async def the_api_disconnects_for_good():
    user = unique("user")
    stream = await Stream.connected(token=token(sub=user))
    await api("disconnect", user=user)
    equal(await stream.end(), (grpc.StatusCode.OK, ending(3503, "force disconnect")))


async def a_publication_arrives(stream, channel):
    await stream.publish(channel, {"text": "héllo"})
    where, own, data = await stream.publication()
    equal((where, data, own.offset), (channel, {"text": "héllo"}, 1))
    equal((own.info.user, own.info.client), ("alice", stream.result.client))
    await api("publish", channel=channel, data={"from": "api"}, tags={"k": "v"})
    _, other, data = await stream.publication()
    equal((data, other.HasField("info")), ({"from": "api"}, False))
    equal(dict(other.tags), {"k": "v"})


async def presence_shows_who_is_there(stream, channel):
    result = await stream.ask("presence", pb.PresenceRequest(channel=channel))
    users = {client: info.user for client, info in result.presence.items()}
    equal(users, {stream.result.client: "alice"})
    stats = await stream.ask("presence_stats", pb.PresenceStatsRequest(channel=channel))
    equal((stats.num_clients, stats.num_users), (1, 1))


async def joins_and_leaves_arrive(stream, channel):
    other = await Stream.connected(token=token(sub="bob"))
    await other.subscribe(channel)

    def is_bob(event):
        return event[1].info.user == "bob"

    _, join = await stream.events.next("join", is_bob)
    equal(join.info.client, other.result.client)
    await other.close()
    _, leave = await stream.events.next("leave", is_bob)
    equal(leave.info.client, other.result.client)


async def after_unsubscribing_nothing_arrives(stream, channel):
    await stream.ask("unsubscribe", pb.UnsubscribeRequest(channel=channel))
    fence = unique("open")
    await stream.subscribe(fence)
    await api("publish", channel=channel, data={"late": True})
    await api("publish", channel=fence, data={})
    equal((await stream.publication())[0], fence)


async def history_is_read_both_ways():
    stream = await Stream.connected(token=token(sub="alice"))
    channel = unique("open")
    top = await stream.subscribe(channel)
    for n in range(1, 6):
        await api("publish", channel=channel, data={"n": n})

    async def ask(since=None, epoch=None, **options):
        if since:
            options["since"] = pb.StreamPosition(offset=since, epoch=epoch or top.epoch)
        return await stream.ask("history", pb.HistoryRequest(channel=channel, **options))

    async def read(expected, **options):
        result = await ask(**options)
        equal([json.loads(publication.data)["n"] for publication in result.publications], expected)
        equal((result.offset, result.epoch), (5, top.epoch))

    if not Stream.v1:
        # To a V1 server no limit may mean everything.
        await read([], limit=0)
    await read([1, 2, 3, 4, 5], limit=100)
    await read([1, 2], limit=2)
    await read([5, 4, 3, 2, 1], limit=100, reverse=True)
    await read([3, 4], limit=2, since=2)
    await read([3, 2], limit=2, since=4, reverse=True)
    await error_of(ask(limit=1, since=2, epoch="another"), 112)
    await stream.close()


async def ten_messages_are_recovered():
    host, port = setting("SDK_GRPC").rsplit(":", 1)
    gate = await Gate.open_to(host, int(port))
    target = f"127.0.0.1:{gate.port}"
    channel = unique("open")
    stream = await Stream.connected(target, token=token(sub="alice"))
    subscribed = await stream.subscribe(channel)
    assert subscribed.recoverable
    await api("publish", channel=channel, data={"n": 0})
    _, last, _ = await stream.publication()
    gate.cut()
    status, _ = await stream.events.next("end")
    equal(status, grpc.StatusCode.UNAVAILABLE)
    for n in range(1, 11):
        await api("publish", channel=channel, data={"n": n})
    gate.open()
    stream = await Stream.connected(target, token=token(sub="alice"))
    position = {"offset": last.offset, "epoch": subscribed.epoch}
    again = await stream.subscribe(channel, recover=True, **position)
    assert again.recovered, again
    numbers = [json.loads(publication.data)["n"] for publication in again.publications]
    equal(numbers, list(range(1, 11)))
    equal([publication.offset for publication in again.publications], list(range(2, 12)))
    await api("publish", channel=channel, data={"n": 11})
    equal((await stream.publication())[2], {"n": 11})
    await stream.close()


async def a_server_side_subscription_comes_with_the_token():
    channel, user = unique("open"), unique("user")
    stream = await Stream.connected(token=token(sub=user, channels=[channel]))
    equal(list(stream.result.subs), [channel])
    await api("publish", channel=channel, data={"n": 1})
    where, _, data = await stream.publication()
    equal((where, data), (channel, {"n": 1}))
    await api("unsubscribe", user=user, channel=channel)
    equal((await stream.events.next("unsubscribe"))[0], channel)
    later = unique("open")
    await api("subscribe", user=user, channel=later)
    equal((await stream.events.next("subscribe"))[0], later)
    await stream.close()


async def a_closed_stream_leaves_its_channels():
    stream = await Stream.connected(token=token(sub="alice"))
    channel = unique("open")
    await stream.subscribe(channel)
    await stream.close()

    async def gone():
        return (await api("presence_stats", channel=channel))["num_clients"] == 0

    await until(gone)


async def all_checks():
    await check("connect with a token", connect_with_a_token())
    await check("connect with a token in the metadata", connect_with_a_token_in_the_metadata())
    await check("connect without a token is refused", refused(3501, "bad request"))
    wrong = token(sub="alice")[:-4] + "AAAA"
    await check("a wrong token is refused", refused(3500, "invalid token", token=wrong))
    await check(
        "a wrong token in the metadata is refused", a_wrong_token_in_the_metadata_is_refused()
    )
    await check("an expired token is error 109", an_expired_token_is_error_109())
    await check("a token is refreshed", a_token_is_refreshed())
    await check("the API disconnects for good", the_api_disconnects_for_good())
    stream = await Stream.connected(token=token(sub="alice"))
    channel = unique("open")
    await stream.subscribe(channel)
    await check("a publication arrives", a_publication_arrives(stream, channel))
    await check("presence shows who is there", presence_shows_who_is_there(stream, channel))
    await check("joins and leaves arrive", joins_and_leaves_arrive(stream, channel))
    await check(
        "after unsubscribing nothing arrives", after_unsubscribing_nothing_arrives(stream, channel)
    )
    nowhere, closed = unique("nowhere"), unique("closed")
    await check("an unknown namespace is error 102", error_of(stream.subscribe(nowhere), 102))
    await check("a forbidden channel is error 103", error_of(stream.subscribe(closed), 103))
    await check("a forbidden publish is error 103", error_of(stream.publish(closed, {}), 103))
    await stream.close()
    await check("history is read forwards and backwards", history_is_read_both_ways())
    await check("ten messages are recovered after a cut", ten_messages_are_recovered())
    await check(
        "a server-side subscription comes with the token",
        a_server_side_subscription_comes_with_the_token(),
    )
    await check("a closed stream leaves its channels", a_closed_stream_leaves_its_channels())
    if Stream.v1:
        left_out("codes of disconnects", "the trailer of V1 has reason and reconnect only")


async def one(name, channel, total):
    stream = await Stream.connected(token=token(sub=name))
    await stream.subscribe(channel)

    async def received():
        return (await stream.publication())[2]

    await mixed(name, int(total), lambda value: stream.publish(channel, value), received)


async def follow(name, channel, last):
    """Prints every number of the channel, and every time it has subscribed; comes back until the last one."""
    position = None
    while True:
        stream = Stream()
        try:
            await stream.connect(token=token(sub=name))
            request = {"recover": True, **position} if position else {}
            result = await stream.subscribe(channel, **request)
        except (ConnectionError, grpc.RpcError, asyncio.InvalidStateError):
            await stream.channel.close()
            await asyncio.sleep(0.05)
            continue
        tell(subscribed={"wasRecovering": result.was_recovering, "recovered": result.recovered})
        if position is None or not result.recovered:
            position = {"offset": result.offset, "epoch": result.epoch}
        publications = list(result.publications)
        while True:
            for publication in publications:
                position["offset"] = publication.offset
                n = json.loads(publication.data)["n"]
                tell(n=n)
                if n == last:
                    return
            kind, context = await stream.events.either("pub", "unsubscribe", "end")
            if kind != "pub":
                break
            publications = [context[1]]
        await stream.channel.close()


async def quiet(channel, seconds):
    stream = await Stream.connected(token=token(sub="quiet"))
    await stream.subscribe(channel)
    print(f"quiet for {seconds} s", flush=True)
    try:
        status, trailer = await asyncio.wait_for(stream.events.next("end"), seconds)
        sys.exit(f"the stream ended: {status} {trailer}")
    except asyncio.TimeoutError:
        pass
    await api("publish", channel=channel, data={"still": "there"})
    equal((await stream.publication())[2], {"still": "there"})
    print(f"still there after {seconds} s, with {stream.pings} pings", flush=True)


async def calls_reach_the_backend():
    stream = await Stream.connected(token=token(sub="caller"))
    request = pb.RPCRequest(method="add", data=b'{"a": 2, "b": 3}')
    result = await stream.ask("rpc", request)
    equal(json.loads(result.data), {"sum": 5})
    await error_of(stream.ask("rpc", pb.RPCRequest(method="unknown", data=b"{}")), 1404)
    await stream.close()


async def the_backend_ends_a_stream():
    stream = await Stream.connected(token=token(sub="caller"))
    quitting = asyncio.ensure_future(stream.ask("rpc", pb.RPCRequest(method="quit", data=b"{}")))
    _, trailer = await stream.end()
    equal((trailer["code"], trailer["reason"]), (4501, "come back never"))
    await asyncio.gather(quitting, return_exceptions=True)


async def calls():
    await check("calls reach the backend", calls_reach_the_backend())
    await check("the backend ends a stream", the_backend_ends_a_stream())


def main(arguments):
    match arguments:
        case ["rpc"]:
            run(calls())
        case [("v1" | "v2") as version]:
            Stream.v1 = version == "v1"
            run(all_checks())
        case [("v1" | "v2") as version, "mixed", name, channel, total]:
            Stream.v1 = version == "v1"
            run(one(name, channel, total))
        case ["v2", "follow", name, channel, last]:
            run(follow(name, channel, int(last)), 5 * TOTAL_SECONDS)
        case ["v2", "quiet", channel, seconds]:
            run(quiet(channel, float(seconds)), float(seconds) + TOTAL_SECONDS)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
