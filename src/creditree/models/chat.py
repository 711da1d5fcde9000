"""Chat templates: rendered in a process of their own, within a time, a memory and a length."""

import json
import os
import queue
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from creditree.errors import ModelError

DEADLINE_S = 10.0
"""A template takes a millisecond; this is for machines that are busy."""
START_S = 120.0
MEMORY_BYTES = 1 << 30
MOST_CHARACTERS = 1 << 23
"""Longer than the longest question that fits any context."""

Message = Mapping[str, str]


class ChatTemplate:
    """The chat template of a tokenizer, or None's place where it has none (`is_there`).

    Raises ModelError, with the template engine's own words, where it cannot be rendered.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        self._name, self._tokenizer = name, tokenizer
        self._checked = False

    @property
    def is_there(self) -> bool:
        """Whether the tokenizer has a template."""
        return self._tokenizer.chat_template is not None

    def render(self, messages: Sequence[Message], *, answer_next: bool) -> str:
        """Return a conversation as text; `answer_next`: up to where the model's answer begins."""
        if not self._checked:
            self._check()
            self._checked = True
        return self._render(messages, answer_next=answer_next)

    def ending(self, question: str, answer: str) -> str:
        """Return what the template writes after an answer; nothing where it cannot be rendered, or leaves that out."""
        before, _, after = self._conversation(question, answer).rpartition(answer)
        return after if before else ""

    def between(self, question: str, answer: str) -> str:
        """Return what the template writes between a question and its answer; nothing where it cannot be rendered."""
        before = self._conversation(question, answer).rpartition(answer)[0]
        return before.rpartition(question)[2]

    def _conversation(self, question: str, answer: str) -> str:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return str(self._attempt(messages, answer_next=False).get("text", ""))

    def _render(self, messages: Sequence[Message], *, answer_next: bool) -> str:
        reply = self._attempt(messages, answer_next=answer_next)
        if "text" in reply:
            return str(reply["text"])
        advice = "mend it in the model's directory (chat_template.jinja, or chat_template in tokenizer_config.json)"
        if messages[0]["role"] == "system" and "text" in self._attempt(messages[1:], answer_next=answer_next):
            advice = "without the system message it can: leave out task.prompt.system and put its text into "
            advice += "task.prompt.text"
        raise ModelError(
            f"the chat template of model '{self._name}' cannot be rendered ({reply['error']}); {advice}, or set "
            "task.prompt.chat: false."
        )

    def _check(self) -> None:
        """Raise ModelError for a template that leaves out what is asked."""
        probe = "Creditree asks"
        if probe not in self._render([{"role": "user", "content": probe}], answer_next=True):
            raise ModelError(
                f"the chat template of model '{self._name}' leaves out what the user says, so every prompt would be "
                "the same; mend it in the model's directory, or set task.prompt.chat: false."
            )

    def _attempt(self, messages: Sequence[Message], *, answer_next: bool) -> Mapping[str, Any]:
        try:
            template = self._tokenizer.get_chat_template()
        except ValueError:
            return {"error": "it has several templates and none is called 'default'"}
        if not isinstance(template, str):
            return {"error": f"it is no text but {_shown(template)}"}
        special = {name: str(token) for name, token in self._tokenizer.special_tokens_map.items()}
        job = {"template": template, "messages": list(messages), "answer_next": answer_next, "special_tokens": special}
        return _renderer().render(job)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _renderer() -> "_Renderer":
    return _Renderer()


class _Renderer:
    """One process, started when it is first needed, and again after it was ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = Lock()

    def render(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the ``text`` of a conversation, or the ``error`` that there was instead."""
        with self._lock:
            if self._process is None and not self._start():
                return {"error": "the process for it could not be started"}
            return self._asked(json.dumps(job).encode("ascii") + b"\n")

    def _start(self) -> bool:
        limits = (DEADLINE_S, MEMORY_BYTES, MOST_CHARACTERS)
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("chat_worker.py")), *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
            start_new_session=os.name == "posix",  # Ctrl-C in a terminal is for the parent
        )
        self._finalizer = weakref.finalize(self, _stop, process)
        self._said = queue.SimpleQueue()
        Thread(target=_listen, args=(process, self._said), name="creditree-chat", daemon=True).start()
        if self._hear(START_S) is None:
            self._end()
            return False
        return True

    def _asked(self, line: bytes) -> Mapping[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()
        said = self._hear(DEADLINE_S)
        if said is None:
            self._end()
            return {"error": f"it did not end within {DEADLINE_S:g} s"}
        reply: Mapping[str, Any] = json.loads(said)
        return reply

    def _hear(self, seconds: float) -> bytes | None:
        try:
            return self._said.get(timeout=seconds)
        except queue.Empty:
            return None

    def _end(self) -> None:
        self._finalizer()
        self._process = None


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with suppress(OSError):
        assert process.stdin is not None
        process.stdin.close()


def _listen(process: subprocess.Popen[bytes], said: "queue.SimpleQueue[bytes | None]") -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            said.put(line)
    said.put(None)
