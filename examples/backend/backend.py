"""The chat application of `rules.rs` in Python: answers the gateway's questions over HTTP and over gRPC.

    pip install grpcio grpcio-tools
    python backend.py [HTTP_HOST:PORT] [GRPC_HOST:PORT]

The rules come first; the two servers at the end only translate.
"""

import base64
import concurrent.futures
import http.server
import importlib
import json
import os
import sys
import tempfile
import threading
import time

import grpc
from grpc_tools import protoc

KINDS = {
    "connect": "Connect",
    "refresh": "Refresh",
    "subscribe": "Subscribe",
    "publish": "Publish",
    "sub_refresh": "SubRefresh",
    "rpc": "RPC",
}


# ---- rules -------------------------------------------------------------------------------


class Refused(Exception):
    """An error for the client."""


class Closed(Exception):
    """The end of the connection."""


class Forbidden(Exception):
    """HTTP status 403, gRPC status PERMISSION_DENIED."""


def after(ttl):
    """So many seconds from now; 0 stands for never."""
    return 0 if ttl is None else int(time.time()) + ttl


def connect(question):
    """Whoever says a name gets in."""
    data = question["data"] or {}
    name = data.get("name")
    if name is None:
        return None
    if name == "banned":
        raise Closed(4501, "banned")
    if name == "nobody":
        raise Refused(1001, "who are you")
    if name == "forbidden":
        raise Forbidden
    rooms = [channel for channel in question["channels"] if channel.startswith("rooms:")]
    return {
        "user": name,
        "expire_at": after(data.get("ttl")),
        "info": {"name": name},
        "meta": {"since": "today"},
        "data": {"hello": name},
        "channels": [*rooms, *data.get("channels", []), "news"],
    }


def refresh(question):
    """Everybody may stay for another hour, except `gone`."""
    if question["user"] == "forbidden":
        raise Forbidden
    if question["user"] == "nothing":
        return None
    return {"expired": question["user"] == "gone", "expire_at": after(3600)}


def subscribe(question):
    """All rooms are open, except for the secret ones."""
    room = question["channel"].rsplit(":", 1)[-1]
    if room == "secret":
        raise Refused(1403, "this room is secret")
    if room == "forbidden":
        raise Forbidden
    if room == "private":
        raise Closed(4502, "stay away")
    if room == "plain":
        return None
    data = question["data"] or {}
    return {
        "expire_at": after(data.get("ttl")),
        "info": {"seat": 3},
        "data": {"topic": room},
        "override": {"presence": {"value": True}},
    }


def publish(question):
    """What is said is marked as checked; spam is refused."""
    data = question["data"]
    if not isinstance(data, dict):
        return None
    if data.get("text") == "spam":
        raise Refused(1400, "no spam here")
    return {"data": {**data, "checked": True}, "tags": {"lang": "en"}}


def sub_refresh(question):
    """A subscription goes on for an hour, except in a room that closes."""
    return {"expired": question["channel"].endswith("closing"), "expire_at": after(3600)}


def rpc(question):
    data = question["data"] or {}
    match question["method"]:
        case "add" | "chat:add":
            return {"data": {"sum": data.get("a", 0) + data.get("b", 0)}}
        case "whoami":
            return {"data": {"user": question["user"], "meta": question["meta"]}}
        case "echo":
            return {"data": question["data"]}
        case "quit":
            raise Closed(4501, "come back never")
        case "nothing":
            return None
        case _:
            raise Refused(1404, "no such method")


def answer(kind, question):
    """The answer as a message: result, error or disconnect."""
    try:
        result = globals()[kind](question)
    except Refused as refused:
        code, message = refused.args
        return {"error": {"code": code, "message": message}}
    except Closed as closed:
        code, reason = closed.args
        return {"disconnect": {"code": code, "reason": reason}}
    return {} if result is None else {"result": result}


# ---- HTTP --------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """One path for every question."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        kind = self.path.strip("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if kind not in KINDS:
            return self.respond(404)
        fields = json.loads(body)
        if "b64data" in fields:
            fields["data"] = json.loads(base64.b64decode(fields["b64data"]))
        question = {"data": None, "meta": None, "method": "", "channels": [], **fields}
        try:
            return self.respond(200, json.dumps(answer(kind, question)).encode())
        except Forbidden:
            return self.respond(403)

    def respond(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# ---- gRPC --------------------------------------------------------------------------------


def generate():
    """Compiles the schema into a temporary folder and imports what is made from it."""
    here = os.path.dirname(os.path.abspath(__file__))
    schema = os.path.join(here, "..", "..", "proto")
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"-I{schema}", f"--python_out={folder}", "proxy.proto"]
        if protoc.main(["protoc", *arguments]):
            sys.exit("the schema does not compile")
        sys.path.insert(0, folder)
        return importlib.import_module("proxy_pb2")


def payload(data):
    return json.loads(data) if data else None


def fill(message, fields):
    """Puts an answer into a message; fields of type bytes carry JSON."""
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if field.type == field.TYPE_BYTES:
            setattr(message, name, json.dumps(value).encode())
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        elif field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, name).update(value)
        elif field.message_type:
            getattr(message, name).SetInParent()
            fill(getattr(message, name), value)
        else:
            setattr(message, name, value)
    return message


def handler(pb, kind, method):
    request_type = getattr(pb, f"{method}Request")
    response_type = getattr(pb, f"{method}Response")

    def call(request, context):
        data = getattr(request, "data", b"")
        if getattr(request, "b64data", ""):
            data = base64.b64decode(request.b64data)
        question = {
            "data": payload(data),
            "meta": payload(getattr(request, "meta", b"")),
            "channels": getattr(request, "channels", []),
        }
        for name in ("user", "channel", "method"):
            question[name] = getattr(request, name, "")
        try:
            return fill(response_type(), answer(kind, question))
        except Forbidden:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "forbidden")

    return grpc.unary_unary_rpc_method_handler(
        call, request_type.FromString, response_type.SerializeToString
    )


def main():
    addresses = [*sys.argv[1:], *["127.0.0.1:3000", "127.0.0.1:3001"][len(sys.argv) - 1 :]]
    host, port = addresses[0].rsplit(":", 1)
    web = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()
    pb = generate()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    handlers = {method: handler(pb, kind, method) for kind, method in KINDS.items()}
    name = pb.DESCRIPTOR.services_by_name["CentrifugoProxy"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    grpc_port = server.add_insecure_port(addresses[1])
    server.start()
    grpc_host = addresses[1].rsplit(":", 1)[0]
    print(f"listening on {host}:{web.server_address[1]} {grpc_host}:{grpc_port}", flush=True)
    server.wait_for_termination()


main()
