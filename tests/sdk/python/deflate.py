"""`websockets` with compression: what the server compresses decodes to the bytes that were published, and the other way."""

import json
import random

import websockets
from support import api, check, equal, run, setting, token, unique
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

TEXTS = ["", "short", "äöü€😀" * 300, "x" * 60000, str(random.random())]
CHANNEL = unique("open")


async def client(**options):
    socket = await websockets.connect(setting("SDK_WS_URL"), proxy=None, **options)
    commands = ({"connect": {"token": token(sub="python")}}, {"subscribe": {"channel": CHANNEL}})
    for number, command in enumerate(commands, 1):
        await socket.send(json.dumps({"id": number, **command}))
        answer = json.loads(await socket.recv())
        assert answer.get("id") == number and "error" not in answer, answer
    return socket


async def publication(socket):
    while True:
        for line in (await socket.recv()).split("\n"):
            message = json.loads(line)
            if "pub" in message.get("push", {}):
                return message["push"]["pub"]["data"]


async def publications_of_the_server(sockets):
    for text in TEXTS:
        await api("publish", channel=CHANNEL, data={"text": text})
        for socket in sockets:
            equal(await publication(socket), {"text": text})


async def publications_of_the_client(sockets):
    for text in TEXTS:
        publish = {"channel": CHANNEL, "data": {"text": text}}
        await sockets[0].send(json.dumps({"id": 9, "publish": publish}))
        for socket in sockets:
            equal(await publication(socket), {"text": text})


async def what_was_agreed_upon(sockets):
    names = [[extension.name for extension in socket.protocol.extensions] for socket in sockets]
    equal(names, [["permessage-deflate"], ["permessage-deflate"], []])


async def all_checks():
    small = ClientPerMessageDeflateFactory(client_max_window_bits=9)
    sockets = [
        await client(extensions=[small], compression=None),
        await client(),
        await client(compression=None),
    ]
    await check("what was agreed upon", what_was_agreed_upon(sockets))
    await check("publications of the server", publications_of_the_server(sockets))
    await check("publications of the client", publications_of_the_client(sockets))
    for socket in sockets:
        await socket.close()


run(all_checks())
