"""The official Python package for the server API (`cent`) against a running server.

server_api.py                                             all checks
"""

import asyncio
import sys

import cent
from peer import Peer
from support import check, equal, left_out, run, setting, token, unique, until


def client(key=None):
    return cent.Client(setting("SDK_API_URL"), key or setting("SDK_API_KEY"), timeout=5)


async def call(method, request):
    return await asyncio.to_thread(getattr(client(), method), request)


async def error_of(call_, code):
    try:
        await call_
    except cent.CentApiResponseError as error:
        equal(error.code, code)
    else:
        raise AssertionError(f"no error {code}")


async def publish(channel, **data):
    return await call("publish", cent.PublishRequest(channel=channel, data=data))


# ---- checks ------------------------------------------------------------------------------


async def the_key_is_checked():
    request = cent.InfoRequest()
    try:
        await asyncio.to_thread(client("wrong").info, request)
    except cent.CentUnauthorizedError:
        return
    raise AssertionError("a wrong key was accepted")


async def publications_reach_subscribers():
    peer = await Peer.connected(token=token(sub="alice"))
    channels = [unique("open"), unique("open")]
    subs = [await peer.subscribe(channel) for channel in channels]
    result = await publish(channels[0], n=1)
    equal(result.offset, 1)
    assert result.epoch
    equal((await subs[0][1].next("publication")).pub.data, {"n": 1})
    request = cent.BroadcastRequest(channels=channels, data={"n": 2}, tags={"k": "v"})
    result = await call("broadcast", request)
    equal([response.result.offset for response in result.responses], [2, 1])
    for _, events in subs:
        publication = (await events.next("publication")).pub
        equal((publication.data, publication.tags), ({"n": 2}, {"k": "v"}))
    await peer.client.disconnect()


async def an_idempotency_key_counts_once():
    channel = unique("open")
    request = cent.PublishRequest(channel=channel, data={}, idempotency_key="once")
    first, second = await call("publish", request), await call("publish", request)
    equal((second.offset, second.epoch), (first.offset, first.epoch))
    equal((await publish(channel)).offset, 2)


async def history_is_read_and_removed():
    channel = unique("open")
    for n in range(1, 6):
        epoch = (await publish(channel, n=n)).epoch

    async def read(expected, **options):
        result = await call("history", cent.HistoryRequest(channel=channel, **options))
        equal([publication.data["n"] for publication in result.publications], expected)
        equal((result.offset, result.epoch), (5, epoch))

    await read([], limit=0)
    await read([1, 2], limit=2)
    await read([5, 4, 3, 2, 1], limit=-1, reverse=True)
    since = cent.StreamPosition(offset=2, epoch=epoch)
    await read([3, 4], limit=2, since=since)
    lost = cent.StreamPosition(offset=2, epoch="another")
    await error_of(call("history", cent.HistoryRequest(channel=channel, since=lost)), 112)
    await call("history_remove", cent.HistoryRemoveRequest(channel=channel))
    await read([], limit=-1)


async def presence_names_connections():
    peer = await Peer.connected(token=token(sub="alice"))
    channel = unique("open")
    await peer.subscribe(channel)
    result = await call("presence", cent.PresenceRequest(channel=channel))
    equal({client: info.user for client, info in result.presence.items()}, {peer.id: "alice"})
    stats = await call("presence_stats", cent.PresenceStatsRequest(channel=channel))
    equal((stats.num_clients, stats.num_users), (1, 1))
    listed = await call("channels", cent.ChannelsRequest(pattern="open:*"))
    equal(listed.channels[channel].num_clients, 1)
    await peer.client.disconnect()

    async def gone():
        request = cent.PresenceStatsRequest(channel=channel)
        return (await call("presence_stats", request)).num_clients == 0

    await until(gone)


async def connections_are_subscribed_and_unsubscribed():
    user, channel = unique("user"), unique("open")
    peer = await Peer.connected(token=token(sub=user))
    await call("subscribe", cent.SubscribeRequest(user=user, channel=channel, data={"d": 1}))
    subscribed = await peer.events.next("subscribed")
    equal((subscribed.channel, subscribed.data), (channel, {"d": 1}))
    await publish(channel, n=1)
    equal((await peer.events.next("publication")).pub.data, {"n": 1})
    await call("unsubscribe", cent.UnsubscribeRequest(user=user, channel=channel))
    equal((await peer.events.next("unsubscribed")).channel, channel)
    await peer.client.disconnect()


async def connections_are_closed():
    user = unique("user")
    peer = await Peer.connected(token=token(sub=user))
    why = cent.Disconnect(code=4500, reason="enough")
    await call("disconnect", cent.DisconnectRequest(user=user, disconnect=why))
    context = await peer.events.next("disconnected")
    equal((context.code, context.reason), (4500, "enough"))


async def a_refreshed_connection_may_expire():
    user = unique("user")
    peer = await Peer.connected(token=token(sub=user))
    await call("refresh", cent.RefreshRequest(user=user, expired=True))
    context = await peer.events.next("connecting", lambda context: context.code >= 3000)
    equal(context.code, 3005)
    await peer.client.disconnect()


async def nodes_are_listed():
    result = await call("info", cent.InfoRequest())
    equal(len(result.nodes), 1)
    assert result.nodes[0].uid


async def a_batch_is_carried_out_in_order():
    channel = unique("open")
    requests = [cent.PublishRequest(channel=channel, data={"n": n}) for n in range(3)]
    requests.append(cent.HistoryRequest(channel=channel, limit=10))
    result = await call("batch", cent.BatchRequest(requests=requests))
    equal([reply.offset for reply in result.replies], [1, 2, 3, 3])
    equal([publication.data["n"] for publication in result.replies[3].publications], [0, 1, 2])


async def the_asynchronous_client_works_too():
    session = cent.AsyncClient(setting("SDK_API_URL"), setting("SDK_API_KEY"))
    channel = unique("open")
    result = await session.publish(cent.PublishRequest(channel=channel, data={}))
    equal(result.offset, 1)
    await session._session.close()


async def all_checks():
    await check("the key is checked", the_key_is_checked())
    await check("publications reach subscribers", publications_reach_subscribers())
    await check("an idempotency key counts once", an_idempotency_key_counts_once())
    await check("history is read and removed", history_is_read_and_removed())
    await check("presence names connections", presence_names_connections())
    await check(
        "connections are subscribed and unsubscribed",
        connections_are_subscribed_and_unsubscribed(),
    )
    await check("connections are closed", connections_are_closed())
    await check("a refreshed connection may expire", a_refreshed_connection_may_expire())
    await check("nodes are listed", nodes_are_listed())
    await check("a batch is carried out in order", a_batch_is_carried_out_in_order())
    await check("the asynchronous client works too", the_asynchronous_client_works_too())
    unknown = cent.PublishRequest(channel=unique("nowhere"), data={})
    await check("an unknown namespace is error 102", error_of(call("publish", unknown), 102))
    bare = cent.PresenceRequest(channel=unique("bare"))
    await check("presence that is off is error 108", error_of(call("presence", bare), 108))
    left_out("push notifications, user status, connections", "methods of the commercial edition")


if len(sys.argv) > 1:
    sys.exit(__doc__)
run(all_checks())
