"""A server of one's own: started on this machine, waited for, started again where it dies, stopped with its user."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import socket
from tempfile import mkstemp
from time import monotonic

import urllib3
from urllib3.exceptions import HTTPError

from creditree.engines.vllm import lifeline
from creditree.engines.vllm.client import ServerError
from creditree.engines.vllm.command import HOST, RANKS, OwnSpec
from creditree.errors import ConfigError
from creditree.text import one_line

LOOK_S, TELL_S, ANSWER_S, GOODBYE_S = 0.5, 15.0, 5.0, 20.0
SHORT_LIFE_S, MOST_SHORT_LIVES = 600.0, 3
"""A server that has died so often in a row, each time within so many seconds, is not started again."""
MOST_SHOWN, MOST_READ = 200, 1 << 14
"""Characters of a line of the log that a message has, and bytes of it that are looked at."""
IN_USE = "address already in use"


class OwnServer:
    """Starts a server and waits until it answers; `told` hears how far it is.

    It listens on this machine alone, at a free port, and asks for a key that nobody else has. A process beside it
    (`lifeline`) ends it with this one, however this one ends.
    """

    def __init__(self, spec: OwnSpec, told: Callable[[str], None] = lambda sentence: None) -> None:
        """Raise ConfigError where vLLM is not installed, ServerError where it does not start in time."""
        self.spec = spec
        self.key = secrets.token_hex(16)
        self._told = told
        self._lock, self._over = threading.Lock(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._begun, self._short_lives = monotonic(), 0
        self._logged = 0
        _check_installed(spec.python)
        if spec.rank is not None and spec.rank > RANKS[-1]:
            raise ConfigError(f"lora.rank is {spec.rank}, and vLLM serves adapters up to {RANKS[-1]}; set it to less.")
        self._is_temporary = spec.log is None
        self.log = _temporary_log() if spec.log is None else spec.log
        try:
            self._first()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self._port}"

    @property
    def process_id(self) -> int | None:
        """Of the process that ends it with this one; None where it is stopped."""
        return None if self._process is None else self._process.pid

    def revive(self) -> bool:
        """Start the server again if it has died; return whether it had. Raises ServerError where it dies too often."""
        with self._lock:
            if self._over.is_set() or self._process is None or self._process.poll() is None:
                return False
            lasted = monotonic() - self._begun
            self._short_lives = self._short_lives + 1 if lasted < SHORT_LIFE_S else 1
            if self._short_lives >= MOST_SHORT_LIVES:
                raise ServerError(f"the server that was started here has died {self._short_lives} times{self._last()}.")
            self._told(f"the server has died after {lasted:.0f} s and is started again{self._last()}")
            self._let_go()
            self._start()
            self._wait()
            return True

    def stop(self) -> None:
        """End the server; again is nothing. Its log stays, unless it is a temporary one of a server that worked."""
        self._over.set()
        process = self._process
        worked = process is None or process.poll() is None
        self._let_go()
        if process is not None:
            try:
                process.wait(GOODBYE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = None
        if self._is_temporary and worked:
            self.log.unlink(missing_ok=True)

    def _first(self) -> None:
        """Start it at a free port; one that somebody else has taken meanwhile is exchanged."""
        self._told(f"starting vLLM; what it says goes to {self.log}")
        while True:
            self._port = _free_port()
            self._start()
            try:
                self._wait()
            except ServerError:
                self._short_lives += 1
                if IN_USE not in self._tail().lower() or self._short_lives >= MOST_SHORT_LIVES:
                    raise
                self._let_go()
                continue
            self._short_lives = 0
            return

    def _start(self) -> None:
        theirs, self._pipe = os.pipe()
        watch = [sys.executable, "-I", lifeline.__file__, str(theirs)]
        self._begun = monotonic()
        try:
            with self.log.open("ab") as log:
                self._logged = log.tell()
                self._process = subprocess.Popen(
                    [*watch, *self.spec.command(self._port)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.spec.variables(self.key, os.environ),
                    pass_fds=(theirs,),
                    start_new_session=True,  # Ctrl-C in a terminal is for this process, which then ends it
                )
        except OSError as error:
            raise ServerError(f"the log of the server cannot be written: {self.log} ({error.strerror}).") from None
        finally:
            os.close(theirs)

    def _let_go(self) -> None:
        """Close the pipe: what is at its other end ends."""
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def _wait(self) -> None:
        assert self._process is not None
        told = self._begun
        while not self._is_ready():
            now, code = monotonic(), self._process.poll()
            if code is not None:
                raise ServerError(
                    f"vLLM ended with exit code {code} after {now - self._begun:.0f} s, before it was "
                    f"ready{self._last()}."
                )
            if now - self._begun > self.spec.ready_s:
                raise ServerError(
                    f"vLLM was not ready in {self.spec.ready_s:.0f} s (engine.start.ready_s){self._last()}."
                )
            if now - told >= TELL_S:
                told = now
                self._told(f"waiting for vLLM for {now - self._begun:.0f} s: {self._last_line()}")
            if self._over.wait(LOOK_S):
                raise ServerError("the server is not waited for any more.")
        self._told(f"vLLM is ready after {monotonic() - self._begun:.0f} s")

    def _is_ready(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.url}/health", retries=False, timeout=ANSWER_S).status == 200
        except HTTPError:
            return False

    def _last(self) -> str:
        """Return where its log is, and what it said last of what went wrong."""
        wrong = [line for line in self._tail().splitlines() if "Error" in line or "error:" in line]
        said = one_line(wrong[-1], MOST_SHOWN) if wrong else self._last_line()
        return f"; its log, {self.log}, says: {said.rstrip('.')}"

    def _last_line(self) -> str:
        lines = [line for line in self._tail().splitlines() if line.strip()]
        return one_line(lines[-1], MOST_SHOWN) if lines else "nothing yet"

    def _tail(self) -> str:
        """Return what the server, as it was started last, has said last."""
        with suppress(OSError), self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._logged, size - MOST_READ))
            return log.read().decode(errors="replace")
        return ""


def _check_installed(python: str) -> None:
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        looked = subprocess.run([python, "-I", "-c", look], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ConfigError(
            f"engine.start.python is '{python}', which cannot be run ({error.strerror}); name the interpreter of the "
            "environment that vLLM is installed in."
        ) from None
    if looked.returncode != 0:
        raise ConfigError(
            f"vLLM is not installed for '{python}'; install creditree[vllm] there, or set engine.start.python to the "
            "interpreter of an environment that has it (docs/server.md)."
        )


def _free_port() -> int:
    with socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _temporary_log() -> Path:
    descriptor, name = mkstemp(prefix="creditree-server-", suffix=".log")
    os.close(descriptor)
    return Path(name)
