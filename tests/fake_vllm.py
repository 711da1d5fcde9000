"""A small server of vLLM's protocol over a real tiny model, and a proxy that does wrong to what passes through it."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.models.adapter import Adapter
from creditree.models.load import Model
from creditree.models.scores import token_scores
from creditree.models.trained import load_trained
from creditree.rng import Key
from creditree.tree import token_array
from tests.tiny_models import tiny

Reply = tuple[int, Any]
NOT_FOUND: Reply = (404, {"detail": "Not Found"})


@dataclass(eq=False)
class FakeVllm:
    """Answers as vLLM does. What it cannot do is left out: `ids`, `scores`, `loads`, `tells`.

    `no_ids`: what it answers to ids where it takes none (real ones were seen to fail: 500);  `max_loras`: adapters that
    it holds at once.
    """

    model: Model = field(default_factory=lambda: tiny("qwen2", torch.float32))
    ids: bool = True
    no_ids: int = 422
    returns: bool = True
    scores: bool = True
    loads: bool = True
    max_loras: int = 2
    max_model_len: int = 64
    adapters: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    most_held: int = 0
    _adapter: Adapter | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answers: int = 0

    def __post_init__(self) -> None:
        self._engine = InProcessEngine(self.model)

    def restart(self) -> None:
        """Forget all adapters, as a new process does."""
        self.adapters.clear()

    def answer(self, path: str, body: dict[str, Any] | None) -> Reply:
        with self._lock:
            self.asked.append((path, body or {}))
            if path == "/v1/models":
                names = [{"id": "base", "max_model_len": self.max_model_len}]
                return 200, {"data": [*names, *({"id": name, "parent": "base"} for name in self.adapters)]}
            if path == "/health":
                return 200, ""
            if path == "/version":
                return 200, {"version": "0.0-fake"}
            if path == "/v1/completions" and body is not None:
                return self._completions(body)
            if path == "/v1/load_lora_adapter" and body is not None and self.loads:
                return self._load(body["lora_name"], Path(body["lora_path"]))
            if path == "/v1/unload_lora_adapter" and body is not None and self.loads:
                return (200, "Success") if self.adapters.pop(body["lora_name"], None) else (404, {"message": "none"})
            return NOT_FOUND

    def _load(self, name: str, path: Path) -> Reply:
        if name in self.adapters:
            return 400, {"message": f"The lora adapter '{name}' has already been loaded."}
        if not path.is_dir():
            return 404, {"message": f"No adapter found for {path}"}
        if self._adapter is None:
            found = load_trained(self.model, path)
            assert isinstance(found, Adapter)
            self._adapter = found
        self._adapter.load(path)
        self.adapters[name] = self._adapter.state()
        self.most_held = max(self.most_held, len(self.adapters))
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    @contextmanager
    def _as(self, name: str) -> Iterator[None]:
        if name != "base":
            assert self._adapter is not None
            self._adapter.load_state(self.adapters[name])
            yield
        elif self._adapter is not None:
            with self._adapter.off():
                yield
        else:
            yield

    def _completions(self, body: dict[str, Any]) -> Reply:
        name, prompt = body["model"], body["prompt"]
        if name != "base" and name not in self.adapters:
            return 404, {"error": {"message": f"The model `{name}` does not exist.", "code": 404}}
        if not self.ids and isinstance(prompt, list):
            return self.no_ids, {"detail": [{"msg": "Input should be a valid string"}]}
        ids = token_array(prompt)
        with self._as(name):
            self._engine.forget()
            keys = tuple(Key.of(body.get("seed", 0)).at(index) for index in range(body.get("n", 1)))
            sampling = Sampling(body["temperature"], body.get("top_p", 1.0))
            ((*samples,),), _ = self._engine.sample([SampleRequest(ids, keys, body["max_tokens"])], sampling)
            scored = token_scores(self.model, ids).tolist() if "prompt_logprobs" in body and self.scores else None
        self._answers += 1
        choices = [self._choice(index, one, prompt) for index, one in enumerate(samples)]
        if scored is not None:
            pairs = zip(prompt[1:], scored, strict=True)
            choices[0]["prompt_logprobs"] = [None, *({str(t): {"logprob": v, "rank": 1}} for t, v in pairs)]
        return 200, {"id": f"cmpl-{self._answers}", "model": name, "choices": choices}

    def _choice(self, index: int, one: Sample, prompt: list[int]) -> dict[str, Any]:
        told = {"token_ids": one.token_ids.tolist(), "prompt_token_ids": prompt} if self.returns else {}
        return {
            "index": index,
            "text": self.model.text(one.token_ids),
            "finish_reason": one.finish_reason,
            "logprobs": {"token_logprobs": one.logprobs.tolist(), "tokens": []},
            **told,
        }


@dataclass(eq=False)
class FakeLlama:
    """Answers as llama.cpp's `llama-server` does, as far as it is asked."""

    model: Model
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any] | None) -> Reply:
        if path == "/v1/models":
            return 200, {"data": [{"id": "m.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 64}}]}
        if path == "/props":
            return 200, {"build_info": "b1-fake"}
        if path != "/completion" or body is None:
            return 404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}
        with self._lock:
            request = SampleRequest(token_array(body["prompt"]), (Key.of(body["seed"]),), body["n_predict"])
            sampling = Sampling(body["temperature"], body["top_p"])
            (((sample,),), _) = InProcessEngine(self.model).sample([request], sampling)
        pairs = zip(sample.token_ids.tolist(), sample.logprobs.tolist(), strict=True)
        return 200, {
            "model": "m.gguf",
            "tokens": sample.token_ids.tolist(),
            "completion_probabilities": [{"id": token, "logprob": value} for token, value in pairs],
            "stop_type": {"stop": "eos", "length": "limit"}[sample.finish_reason],
            "truncated": False,
            "generation_settings": {"seed": body["seed"]},
        }


Fault = Callable[["FaultyProxy", str, dict[str, Any] | None], Reply | bytes | None]
"""Answers in the place of what is behind: a status and a body, raw bytes to be sent as they are, None for nothing."""


@dataclass(eq=False)
class FaultyProxy:
    """Passes everything on, but for what `faults` say of the next requests of a path (None: passed on)."""

    behind: FakeVllm
    faults: dict[str, list[Fault | None]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    last: dict[str, Reply] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def answer(self, path: str, body: dict[str, Any] | None) -> Reply | bytes | None:
        waiting = self.faults.get(path)
        fault = waiting.pop(0) if waiting else self.always.get(path)
        if fault is None:
            found = self.behind.answer(path, body)
            self.last[path] = found
            return found
        self.done.append(path)
        return fault(self, path, body)


def drop(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> None:
    """Do what is asked and break the connection off without a word."""
    proxy.behind.answer(path, body)


def late(seconds: float) -> Fault:
    """Answer after a while."""

    def fault(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
        time.sleep(seconds)
        return proxy.behind.answer(path, body)

    return fault


def truncate(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> bytes:
    """Promise a whole answer and send the first half of it."""
    data = json.dumps(proxy.behind.answer(path, body)[1]).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data[: len(data) // 2]


def garbage(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
    """Answer what is no JSON."""
    return 200, "<html>"


def fewer(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
    """Leave the last completion out."""
    status, found = proxy.behind.answer(path, body)
    return status, found | {"choices": found["choices"][:-1]}


def shorter(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
    """Leave the last token of a completion out, as if it had ended there."""
    status, found = proxy.behind.answer(path, body)
    choice = found["choices"][0]
    choice["token_ids"] = choice["token_ids"][:-1]
    choice["logprobs"]["token_logprobs"] = choice["logprobs"]["token_logprobs"][:-1]
    return status, found


def unlike(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
    """Give a token without its log-probability."""
    status, found = proxy.behind.answer(path, body)
    found["choices"][0]["logprobs"]["token_logprobs"][0] = None
    return status, found


def repeat(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
    """Answer what was answered before."""
    return proxy.last[path]


def failing(status: int) -> Fault:
    """Answer with a status alone."""
    return lambda proxy, path, body: (status, {"message": "no"})


def restarted(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
    """Start the server anew, then ask it."""
    proxy.behind.restart()
    return proxy.behind.answer(path, body)


def serving(name: Callable[[FakeVllm], str]) -> Fault:
    """Sample and score other weights than those that were asked for, and say that they are these."""

    def fault(proxy: FaultyProxy, path: str, body: dict[str, Any] | None) -> Reply:
        assert body is not None
        if body["model"] == "base" or body["model"] not in proxy.behind.adapters:
            return proxy.behind.answer(path, body)
        status, found = proxy.behind.answer(path, body | {"model": name(proxy.behind)})
        return status, found | {"model": body["model"]}

    return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: Any

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _reply(self, body: dict[str, Any] | None) -> None:
        found = self.target.answer(self.path, body)
        if not isinstance(found, tuple):
            self.wfile.write(found or b"")
            self.close_connection = True
            return
        status, content = found
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away are what is tested."""


@contextmanager
def served(target: FakeVllm | FakeLlama | FaultyProxy) -> Iterator[str]:
    """Give the block the URL at which a target answers."""
    handler = type("Handler", (_Handler,), {"target": target})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def stand_in(folder: Path) -> str:
    """Return an interpreter that is said to have vLLM: what is started with it passes all on to a fake (BEHIND)."""
    path = folder / "python"
    script = Path(__file__).with_name("started_vllm.py")
    path.write_text(f'#!/bin/sh\n[ "$1" = -I ] && exit 0\nshift 2\nexec "{sys.executable}" -I "{script}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def completions(asked: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the bodies that asked for completions, those of scores left out."""
    return [body for path, body in asked if path == "/v1/completions" and "prompt_logprobs" not in body]
