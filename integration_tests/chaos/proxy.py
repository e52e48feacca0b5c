"""A proxy between job and store that can swallow the store's replies, or lie in its name."""

import http.client
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_TIMEOUT_S = 120
_SPANS = "spans_data"


class StoreProxy:
    """Forwards HTTP to the store at `store`.

    swallow: how many of the next inserts are carried out while their replies never arrive: the connection breaks.
    lie: how many of the next inserts of spans are acknowledged without being carried out: a planted fault.
    delay_s: by which each request is held up. reset_share: of the connections that break before they are forwarded.
    """

    def __init__(self, store: str) -> None:
        self.swallow = self.lie = 0
        self.swallowed = 0
        self.delay_s = self.reset_share = 0.0
        self._lock = threading.Lock()
        proxy, target = self, urlsplit(store).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def _forward(self) -> None:
                body = self._body()
                time.sleep(proxy.delay_s)
                if random.random() < proxy.reset_share:
                    self.close_connection = True
                    return None
                insert = "INSERT" in self.path or b"INSERT" in body[:200]
                spans = _SPANS in self.path or _SPANS.encode() in body[:200]
                if insert and spans and proxy._take("lie"):
                    return self._reply(200, [], b"")
                upstream = http.client.HTTPConnection(target, timeout=_TIMEOUT_S)
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "host")}
                    upstream.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
                    answer = upstream.getresponse()
                    content = answer.read()
                except OSError:
                    self.close_connection = True
                    return None
                finally:
                    upstream.close()
                if insert and answer.status == 200 and proxy._take("swallow"):
                    proxy.swallowed += 1
                    self.close_connection = True
                    return None
                return self._reply(answer.status, answer.getheaders(), content)

            do_GET = do_POST = _forward

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                pieces = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, what: str) -> bool:
        with self._lock:
            left = getattr(self, what)
            setattr(self, what, max(0, left - 1))
            return left > 0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
