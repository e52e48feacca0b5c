"""Who is notified in tests: a webhook that remembers what it was told, a mail server, an Alertmanager."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from aiosmtpd.controller import Controller

from pipelines.ports import free_port


class Webhook:
    """An HTTP server on loopback; statuses: what it answers, one after the other, then 200. hits: (headers, body)."""

    def __init__(self, *statuses: int, headers: dict[str, str] | None = None) -> None:
        self.hits: list[tuple[dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.statuses = list(statuses)
        hook, extra = self, headers or {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                hook.times.append(time.time())
                hook.hits.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def alerts(self) -> list[dict[str, Any]]:
        return [alert for _, body in self.hits for alert in json.loads(body)["alerts"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mailbox:
    """A mail server on loopback; mails: (sender, receivers, content)."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], str]] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self._controller.start()
        self.port = self._controller.port

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content.decode(errors="replace")))
        return "250 OK"

    def close(self) -> None:
        self._controller.stop()


@contextmanager
def alertmanager(folder: Path, hook: str) -> Iterator[str]:
    """Debian's Alertmanager, which tells `hook` of everything at once; its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    config = f"""
route: {{receiver: hook, group_by: [incident], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: hook
    webhook_configs: [{{url: "{hook}", send_resolved: true}}]
"""
    (folder / "alertmanager.yml").write_text(config)
    url = f"http://127.0.0.1:{free_port()}"
    command = ["prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}", "--cluster.listen-address="]
    command += [f"--storage.path={folder / 'data'}", f"--web.listen-address={url.removeprefix('http://')}"]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: _answers(f"{url}/-/ready"), 30)
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def eventually(happened: Callable[[], object], timeout_s: float = 60, what: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)
