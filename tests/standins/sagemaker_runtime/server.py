"""``python -m tests.standins.sagemaker_runtime.server NAME=SAVED_MODEL ...``: the services over HTTP on 127.0.0.1.

Prints its address once it listens, and ends with its standard input. A SavedModel that is not there is made: the
network of `container.write_network`. ``GET /state`` tells what exists, ``PUT /habits`` replaces the habits, and
``PUT /time`` lets seconds pass for leases.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.standins.sagemaker_runtime.container import write_network
from tests.standins.sagemaker_runtime.service import Reply, Service

#: What an endpoint of a name runs on; others run on a processor alone.
INSTANCE_TYPES = {"on-gpu": "ml.g4dn.xlarge"}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    service: Service


class Handler(BaseHTTPRequestHandler):
    """Finds the service by the path and the headers that boto3 sends."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    server: Server

    def do_GET(self) -> None:
        self._reply(Reply(200, json.dumps(self.server.service.state()).encode()))

    def do_PUT(self) -> None:
        if self.path == "/habits":
            self.server.service.behave(json.loads(self._body()))
            self._reply(Reply(200))
        elif self.path == "/time":
            self.server.service.pass_time(json.loads(self._body()))
            self._reply(Reply(200))
        else:
            self._reply(self.server.service.object("PUT", self._object(), self._body()))

    def do_DELETE(self) -> None:
        self._reply(self.server.service.object("DELETE", self._object(), b""))

    def do_POST(self) -> None:
        body, service = self._body(), self.server.service
        family, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        if family == "SageMaker":
            self._reply(service.perform(operation, json.loads(body)))
        elif operation == "GetMetricStatistics":
            self._reply(service.statistics(json.loads(body)))
        elif self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            self._reply(service.assume_role())
        else:
            self._reply(service.invoke(self.path.split("/")[2], body, self.headers))

    def _object(self) -> str:
        return self.path.partition("?")[0].lstrip("/")

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        else:
            parts = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        return body

    def _reply(self, reply: Reply) -> None:
        time.sleep(reply.delay_s)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.broken else reply.body)
        self.wfile.flush()
        self.close_connection = self.close_connection or reply.broken

    def log_message(self, *args: object) -> None:
        """Say nothing: a test that fails shows what the client saw."""


def main() -> None:
    server = Server(("127.0.0.1", 0), Handler)
    server.service = Service()
    for each in sys.argv[1:]:
        name, _, model = each.partition("=")
        if not Path(model).exists():
            write_network(Path(model))
        variants = ("blue", "green") if name == "two-variants" else ("AllTraffic",)
        server.service.add_endpoint(name, Path(model), INSTANCE_TYPES.get(name, "ml.c5.xlarge"), variants)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until the test closes it, or dies


if __name__ == "__main__":
    main()
