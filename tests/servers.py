"""Servers of files for tests: a web server with faults of choice, and moto's S3."""

from __future__ import annotations

import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WebServer:
    """Serves ``files`` by name; what is in ``faults`` happens to the next requests of a file.

    A fault is "break" (half of the body, then the connection is closed), "busy" (503), "slow",
    "forbidden", "gone". ``ranges=False``: the whole file is sent whatever is asked for.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.ranges = True
        self.tags = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that hangs up is no news
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> Any:
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, body: bool) -> None:
                name = self.path.lstrip("/").partition("?")[0]
                fault = served.faults.get(name) or [""]
                fault = fault.pop(0) if body or fault[0] in ("busy", "forbidden") else ""
                status = {"busy": 503, "forbidden": 403, "gone": 404}.get(fault)
                if name not in served.files:
                    status = 404
                if status:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = served.files[name]
                tag = f'"{zlib.crc32(data):x}"'
                wanted = self.headers.get("If-Match", tag)
                if served.tags and wanted != tag:
                    self.send_response(412)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                first, last = 0, len(data) - 1
                asked = self.headers.get("Range")
                partial = served.ranges and asked is not None
                if partial:
                    begin, _, end = asked.removeprefix("bytes=").partition("-")
                    first, last = int(begin), min(int(end or last), last)
                part = data[first : last + 1]
                self.send_response(206 if partial else 200)
                self.send_header("Content-Length", str(len(part)))
                if served.tags:
                    self.send_header("ETag", tag)
                if partial:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                self.end_headers()
                if not body:
                    return
                served.requests.append((name, asked or "", len(part)))
                if fault == "slow":
                    time.sleep(1.5)
                if fault == "break":
                    self.wfile.write(part[: len(part) // 2])
                    self.close_connection = True
                    self.connection.close()
                    return
                self.wfile.write(part)

        return Handler
