"""What the client sends, and what it makes of a server that is slow, endless, or wants a key."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from creditree.engines.vllm import client as client_module
from creditree.engines.vllm.client import Client, Patience, RefusedError, ServerError, server_url
from creditree.errors import ConfigError

QUICK = Patience(answer_s=5.0, outage_s=0.05, first_pause_s=0.01)
OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(send: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """Give the block the URL of a server of bytes, which is handed each connection with what was asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    try:
                        send(line, line.recv(65536))
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def whole(body: bytes, head: bytes = OK) -> bytes:
    return head + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def test_the_key_is_sent_and_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def send(line: socket.socket, asked: bytes) -> None:
        heard.append(asked)
        known = b"Bearer secret" in asked
        line.sendall(whole(b"{}") if known else whole(b'{"error": "Unauthorized"}', b"HTTP/1.1 401 No\r\n"))

    with answering(send) as url:
        monkeypatch.delenv("VLLM_API_KEY", raising=False)
        with pytest.raises(ServerError, match=r"asks for a key \(HTTP 401: Unauthorized\); .* VLLM_API_KEY"):
            Client(url, QUICK).get("/v1/models", lambda answer: answer)
        monkeypatch.setenv("VLLM_API_KEY", "secret")
        assert Client(f"{url}/v1/", QUICK).get("/v1/models", lambda answer: answer) == {}
    assert heard[-1].startswith(b"GET /v1/models HTTP/1.1")


def test_bytes_that_trickle_are_not_waited_for_for_ever() -> None:
    def send(line: socket.socket, asked: bytes) -> None:
        line.sendall(OK + b"Content-Length: 1000000\r\n\r\n")
        for _ in range(100):
            line.sendall(b" " * 70_000)
            time.sleep(0.02)

    words = r"sends its answers too slowly|does not answer in time"
    with answering(send) as url, pytest.raises(ServerError, match=words):
        Client(url, Patience(0.1, 0.05, 0.01)).get("/", lambda answer: answer)


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_BYTES", 1 << 20)

    def send(line: socket.socket, asked: bytes) -> None:
        line.sendall(OK + b"Content-Length: 100000000\r\n\r\n")
        for _ in range(100):
            line.sendall(b" " * 100_000)

    with answering(send) as url, pytest.raises(ServerError, match="sends an answer of more than 1 MiB"):
        Client(url, QUICK).get("/", lambda answer: answer)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"object": "error", "message": "too long."}', "too long"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"msg": "no string"}]}', '[{"msg": "no string"}]'),
        (b"<html>\n no\x1b[31m </html>", "<html> no\\x1b[31m </html>"),
        (b"", "without a reason"),
    ],
)
def test_a_refusal_has_the_server_s_reason_in_one_printable_line(body: bytes, words: str) -> None:
    answer = whole(body, b"HTTP/1.1 400 No\r\n")
    with answering(lambda line, asked: line.sendall(answer)) as url, pytest.raises(RefusedError) as caught:
        Client(url, QUICK).once("POST", "/", {})
    assert str(caught.value) == words
    assert caught.value.status == 400


def test_a_redirection_is_not_followed() -> None:
    answer = whole(b"", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n")
    with answering(lambda line, asked: line.sendall(answer)) as url, pytest.raises(RefusedError) as caught:
        Client(url, QUICK).once("GET", "/")
    assert caught.value.status == 302


def test_a_closed_client_asks_no_more() -> None:
    with answering(lambda line, asked: line.sendall(whole(b"", b"HTTP/1.1 503 No\r\n"))) as url:
        client = Client(url, Patience(5.0, 60.0, 30.0))
        threading.Timer(0.1, client.close).start()
        with pytest.raises(ServerError, match="is not asked any more"):
            client.get("/", lambda answer: answer)


def test_urls() -> None:
    assert server_url("http://here:8000/v1/") == "http://here:8000"
    assert server_url("https://here/behind/v1") == "https://here/behind"
    with pytest.raises(ConfigError, match="holds a password"):
        server_url("http://user:word@here")
