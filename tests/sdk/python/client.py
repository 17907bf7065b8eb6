"""The official Python SDK (`centrifuge-python`) against a running server.

client.py <json|protobuf>                                 all checks
client.py <json|protobuf> mixed <name> <channel> <total>  one of many clients in a channel
client.py <json|protobuf> follow <name> <channel> <last>  prints what comes until that number
client.py <json|protobuf> deltas <name> <channel> <last>  the same with deltas, prints whole payloads
client.py <json|protobuf> rpc                             calls that a backend answers
"""

import asyncio
import re
import sys

import centrifuge
from peer import Peer, decode, encode
from support import (
    TOTAL_SECONDS,
    api,
    check,
    equal,
    mixed,
    run,
    short_token,
    tell,
    token,
    unique,
    until,
    websocket_gate,
)

# ---- checks ------------------------------------------------------------------------------


async def connect_with_a_token():
    peer = await Peer.connected(token=token(sub="alice"))
    assert re.fullmatch("[0-9a-f-]{36}", peer.id), peer.id
    await peer.client.disconnect()


async def refused(code, **options):
    peer = Peer(**options)
    await peer.client.connect()
    context = await peer.events.next("disconnected")
    equal(context.code, code)


async def an_expired_token_is_exchanged():
    asked = 0

    async def get_token():
        nonlocal asked
        asked += 1
        return short_token("alice", 60)

    peer = Peer(token=short_token("alice", -10), get_token=get_token)
    await peer.client.connect()
    context = await peer.events.next("error")
    equal(context.error.code, 109)
    await peer.events.next("connected")
    equal(asked, 1)
    await peer.client.disconnect()


async def an_expired_token_without_another_is_refused():
    peer = Peer(token=short_token("alice", -10))
    await peer.client.connect()
    await peer.events.next("disconnected")


async def a_short_token_is_refreshed():
    asked = 0

    async def get_token():
        nonlocal asked
        asked += 1
        return short_token("alice", 2)

    peer = await Peer.connected(token=short_token("alice", 2), get_token=get_token)
    # The second question comes after the life that the first refresh was answered with.
    await until(lambda: asked >= 2)
    equal(peer.client.state, centrifuge.ClientState.CONNECTED)
    equal(peer.events.count("connecting"), 1)
    await peer.client.disconnect()


async def the_api_disconnects_for_good():
    user = unique("user")
    peer = await Peer.connected(token=token(sub=user))
    await api("disconnect", user=user)
    context = await peer.events.next("disconnected")
    equal((context.code, context.reason), (3503, "force disconnect"))


async def a_publication_arrives(peer, sub, events):
    await sub.publish(encode({"text": "héllo"}))
    own = (await events.next("publication")).pub
    equal(decode(own.data), {"text": "héllo"})
    equal((own.offset, own.info.user, own.info.client), (1, "alice", peer.id))
    await api("publish", channel=sub.channel, data={"from": "api"}, tags={"k": "v"})
    other = (await events.next("publication")).pub
    equal(decode(other.data), {"from": "api"})
    equal((other.tags, other.info), ({"k": "v"}, None))


async def presence_shows_who_is_there(peer, sub):
    presence = await sub.presence()
    equal(list(presence.clients), [peer.id])
    equal(presence.clients[peer.id].user, "alice")
    stats = await sub.presence_stats()
    equal((stats.num_clients, stats.num_users), (1, 1))


async def joins_and_leaves_arrive(sub, events):
    other = await Peer.connected(token=token(sub="bob"))
    theirs, _ = await other.subscribe(sub.channel)
    join = await events.next("join", lambda context: context.info.user == "bob")
    equal(join.info.client, other.id)
    await theirs.unsubscribe()
    leave = await events.next("leave", lambda context: context.info.user == "bob")
    equal(leave.info.client, other.id)
    await other.client.disconnect()


async def after_unsubscribing_nothing_arrives(peer, sub, events):
    channel = sub.channel
    await sub.unsubscribe()
    await events.next("unsubscribed")

    async def gone():
        return (await api("presence_stats", channel=channel))["num_clients"] == 0

    await until(gone)
    await api("publish", channel=channel, data={"late": True})
    # What is published later elsewhere arrives, so the other would have arrived as well.
    fence, fence_events = await peer.subscribe(unique("open"))
    await api("publish", channel=fence.channel, data={})
    await fence_events.next("publication")
    equal(events.count("publication"), 0)


async def ended(peer, channel, code):
    _, events = await peer.start(channel)
    equal((await events.next("unsubscribed")).code, code)


async def error_of(call, code):
    try:
        await call
    except centrifuge.ReplyError as error:
        equal(error.code, code)
    else:
        raise AssertionError(f"no error {code}")


async def history_is_read_both_ways():
    peer = await Peer.connected(token=token(sub="alice"))
    sub, _ = await peer.subscribe(unique("open"))
    for n in range(1, 6):
        await api("publish", channel=sub.channel, data={"n": n})
    top = await sub.history(limit=0)
    equal((top.publications, top.offset), ([], 5))

    async def read(expected, since=None, **options):
        position = centrifuge.StreamPosition(since, top.epoch) if since else None
        page = await sub.history(since=position, **options)
        equal([decode(publication.data)["n"] for publication in page.publications], expected)
        equal((page.offset, page.epoch), (5, top.epoch))

    await read([1, 2, 3, 4, 5], limit=100)
    await read([1, 2], limit=2)
    await read([5, 4, 3, 2, 1], limit=100, reverse=True)
    await read([3, 4], limit=2, since=2)
    await read([3, 2], limit=2, since=4, reverse=True)
    lost = centrifuge.StreamPosition(2, "another")
    await error_of(sub.history(limit=1, since=lost), 112)
    await peer.client.disconnect()


async def ten_messages_are_recovered():
    gate, url = await websocket_gate()
    peer = await Peer.connected(url, token=token(sub="alice"))
    sub, events = await peer.start(unique("open"))
    assert (await events.next("subscribed")).recoverable
    await events.next("subscribing")
    await api("publish", channel=sub.channel, data={"n": 0})
    await events.next("publication")
    gate.cut()
    await events.next("subscribing")
    for n in range(1, 11):
        await api("publish", channel=sub.channel, data={"n": n})
    gate.open()
    again = await events.next("subscribed")
    equal((again.was_recovering, again.recovered), (True, True))
    await api("publish", channel=sub.channel, data={"n": 11})
    publications = [context.pub for context in await events.take("publication", 11)]
    equal([decode(publication.data)["n"] for publication in publications], list(range(1, 12)))
    equal([publication.offset for publication in publications], list(range(2, 13)))
    await peer.client.disconnect()


async def a_server_side_subscription_comes_with_the_token():
    channel, user = unique("open"), unique("user")
    peer = await Peer.connected(token=token(sub=user, channels=[channel]))
    equal((await peer.events.next("subscribed")).channel, channel)
    await api("publish", channel=channel, data={"n": 1})
    context = await peer.events.next("publication")
    equal((context.channel, decode(context.pub.data)), (channel, {"n": 1}))
    await api("unsubscribe", user=user, channel=channel)
    equal((await peer.events.next("unsubscribed")).channel, channel)
    later = unique("open")
    await api("subscribe", user=user, channel=later)
    equal((await peer.events.next("subscribed")).channel, later)
    await peer.client.disconnect()


async def all_checks():
    await check("connect with a token", connect_with_a_token())
    await check("connect without a token is refused", refused(3501))
    wrong = token(sub="alice")[:-4] + "AAAA"
    await check("a wrong token is refused", refused(3500, token=wrong))
    await check("an expired token is exchanged for a new one", an_expired_token_is_exchanged())
    await check(
        "an expired token without another is refused",
        an_expired_token_without_another_is_refused(),
    )
    await check("a short token is refreshed on the same connection", a_short_token_is_refreshed())
    await check("the API disconnects for good", the_api_disconnects_for_good())
    peer = await Peer.connected(token=token(sub="alice"))
    sub, events = await peer.subscribe(unique("open"))
    await check("a publication arrives", a_publication_arrives(peer, sub, events))
    await check("presence shows who is there", presence_shows_who_is_there(peer, sub))
    await check("joins and leaves arrive", joins_and_leaves_arrive(sub, events))
    await check(
        "after unsubscribing nothing arrives",
        after_unsubscribing_nothing_arrives(peer, sub, events),
    )
    await check("an unknown namespace is error 102", ended(peer, unique("nowhere"), 102))
    await check("a forbidden channel is error 103", ended(peer, unique("closed"), 103))
    forbidden = peer.client.publish(unique("closed"), encode({}))
    await check("a forbidden publish is error 103", error_of(forbidden, 103))
    await peer.client.disconnect()
    await check("history is read forwards and backwards", history_is_read_both_ways())
    await check("ten messages are recovered after a cut", ten_messages_are_recovered())
    await check(
        "a server-side subscription comes with the token",
        a_server_side_subscription_comes_with_the_token(),
    )


async def one(name, channel, total):
    peer = await Peer.connected(token=token(sub=name))
    sub, events = await peer.subscribe(channel)

    async def received():
        return decode((await events.next("publication")).pub.data)

    await mixed(name, int(total), lambda value: sub.publish(encode(value)), received)


async def follow(name, channel, last, delta=None):
    """Prints every number of the channel, and every time it has subscribed; comes back by itself until the last one."""
    done = asyncio.Event()

    class Follower(centrifuge.SubscriptionEventHandler):
        async def on_subscribed(self, context):
            recovered = {"wasRecovering": context.was_recovering, "recovered": context.recovered}
            tell(subscribed=recovered)

        async def on_publication(self, context):
            value = decode(context.pub.data)
            n = value["n"]
            tell(**(value if delta else {"n": n}))
            if n == last:
                done.set()

    peer = Peer(token=token(sub=name))
    sub = peer.client.new_subscription(channel, events=Follower(), delta=delta)
    await sub.subscribe()
    await peer.client.connect()
    await done.wait()


async def calls_reach_the_backend():
    peer = await Peer.connected(token=token(sub="caller"))
    result = await peer.client.rpc("add", encode({"a": 2, "b": 3}))
    equal(decode(result.data), {"sum": 5})
    try:
        await peer.client.rpc("unknown", encode({}))
    except centrifuge.CentrifugeError as error:
        equal(error.code, 1404)
    else:
        raise AssertionError("an unknown method was answered")
    await peer.client.disconnect()


async def the_backend_ends_a_connection():
    peer = await Peer.connected(token=token(sub="caller"))
    quitting = asyncio.ensure_future(peer.client.rpc("quit", encode({})))
    context = await peer.events.next("disconnected")
    equal((context.code, context.reason), (4501, "come back never"))
    quitting.cancel()


async def calls():
    await check("calls reach the backend", calls_reach_the_backend())
    await check("the backend ends a connection", the_backend_ends_a_connection())


def main(arguments):
    match arguments:
        case [("json" | "protobuf") as encoding, "rpc"]:
            Peer.binary = encoding == "protobuf"
            run(calls())
        case [("json" | "protobuf") as encoding]:
            Peer.binary = encoding == "protobuf"
            run(all_checks())
        case [("json" | "protobuf") as encoding, "mixed", name, channel, total]:
            Peer.binary = encoding == "protobuf"
            run(one(name, channel, total))
        case [("json" | "protobuf") as encoding, "follow", name, channel, last]:
            Peer.binary = encoding == "protobuf"
            run(follow(name, channel, int(last)), 5 * TOTAL_SECONDS)
        case [("json" | "protobuf") as encoding, "deltas", name, channel, last]:
            Peer.binary = encoding == "protobuf"
            run(follow(name, channel, int(last), centrifuge.DeltaType.FOSSIL), TOTAL_SECONDS)
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
