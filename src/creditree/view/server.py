"""A run in the browser while it trains: a server for this machine alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from creditree.errors import RunError
from creditree.report.page.live import live_policy
from creditree.runs.directory import RunDirectory
from creditree.view.index import CompletionIndex
from creditree.view.site import Site

LOOPBACK = "127.0.0.1"
PORT = 8765
EVERY_S = 1.0
"""Seconds between two looks for new steps."""


class Server(ThreadingHTTPServer):
    """Listens on the loopback interface."""

    daemon_threads = True

    def __init__(self, site: Site, port: int) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.site = site
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{LOOPBACK}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """Answers GET alone, and only to whoever asks for this machine by its own name.

    Another site's page may send requests here, under a name of its own that leads to this address (DNS rebinding): its
    ``Host`` tells.
    """

    server: Server
    server_version = "creditree"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        if self.headers.get("Host") not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this server answers to its own name alone\n")
            return
        parts = urlsplit(self.path)
        self._send(*self.server.site.answer(parts.path, parts.query))

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", live_policy()),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal is for the address."""


@contextmanager
def serving(path: Path, port: int = PORT) -> Iterator[Server]:
    """Serve a run in the block; port 0: any that is free.

    Raises RunError where there is no run, or the port is taken.
    """
    run = RunDirectory.read(path)
    index = CompletionIndex(run)
    try:
        server = Server(Site(path, index), port)
    except OSError as error:
        raise RunError(f"port {port} cannot be listened on ({error.strerror}); choose another `port`, or 0.") from error
    ends = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
        threading.Thread(target=_watch, args=(index, ends), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        ends.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()


def _watch(index: CompletionIndex, ends: threading.Event) -> None:
    """Read new steps as they are kept; a few at a time, so that the newest can be searched at once."""
    while not ends.is_set():
        if index.refresh(most=16) == 0:
            ends.wait(EVERY_S)
