"""A client of the official Python SDK that records what it is told."""

import json

import centrifuge
from support import Events, setting


def encode(value):
    return json.dumps(value).encode() if Peer.binary else value


def decode(data):
    return json.loads(data) if Peer.binary else data


def recorder(base, events, names):
    """An event handler of the SDK that records what it is told."""

    def method(name):
        async def told(self, context):
            await events.add(name, context)

        return told

    methods = {f"on_{name}": method(name) for name in names}
    return type("Recorder", (base,), methods)()


CLIENT_EVENTS = [
    "connecting",
    "connected",
    "disconnected",
    "error",
    "subscribed",
    "unsubscribed",
    "publication",
]
SUBSCRIPTION_EVENTS = [
    "subscribing",
    "subscribed",
    "unsubscribed",
    "publication",
    "join",
    "leave",
    "error",
]


class Peer:
    """A client and what it was told."""

    # Protobuf instead of JSON, for the whole program.
    binary = False

    def __init__(self, url=None, **options):
        self.events = Events()
        self.client = centrifuge.Client(
            url or setting("SDK_WS_URL"),
            events=recorder(centrifuge.ClientEventHandler, self.events, CLIENT_EVENTS),
            use_protobuf=self.binary,
            min_reconnect_delay=0.02,
            max_reconnect_delay=0.1,
            proxy=None,
            **options,
        )

    @classmethod
    async def connected(cls, url=None, **options):
        peer = cls(url, **options)
        await peer.client.connect()
        peer.id = (await peer.events.next("connected")).client
        return peer

    async def start(self, channel):
        events = Events()
        handler = recorder(centrifuge.SubscriptionEventHandler, events, SUBSCRIPTION_EVENTS)
        sub = self.client.new_subscription(channel, events=handler)
        await sub.subscribe()
        return sub, events

    async def subscribe(self, channel):
        sub, events = await self.start(channel)
        await events.next("subscribed")
        return sub, events
