"""A server of one's own: started with what it needs, waited for, started again, and ended with whoever started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from creditree.engines.vllm.client import KEY, Client, Patience, ServerError
from creditree.engines.vllm.command import OwnSpec
from creditree.engines.vllm.own import OwnServer
from creditree.errors import ConfigError
from tests.fake_vllm import FakeVllm, served, stand_in
from tests.tiny_models import tiny

SPEC = OwnSpec("python", "dir", "bfloat16", "cpu", 2)


def spec_of(folder: Path, ready_s: float = 60.0, rank: int | None = None) -> OwnSpec:
    return OwnSpec(stand_in(folder), "dir", "bfloat16", "cpu", 1, rank=rank, ready_s=ready_s, log=folder / "log")


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVllm]:
    fake = FakeVllm(tiny("qwen2", torch.float32))
    with served(fake) as url:
        monkeypatch.setenv("BEHIND", url)
        yield fake


def until(true: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def children(server: OwnServer) -> list[psutil.Process]:
    assert server.process_id is not None
    watching = psutil.Process(server.process_id)
    assert until(lambda: len(watching.children()) == 1)
    return [watching, *watching.children(recursive=True)]


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def kill(server: OwnServer) -> None:
    """Kill the server itself, and wait until it has ended: until then its port may take a request."""
    process = children(server)[1]
    process.kill()
    assert until(lambda: is_gone(process))


def test_on_a_cpu_it_is_told_its_memory_and_not_to_compile() -> None:
    words = SPEC.command(81)
    assert words[:5] == ["python", "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    assert "--enforce-eager" in words
    assert "--enable-lora" not in words
    assert not any(word.startswith("--gpu") for word in words)
    variables = SPEC.variables("secret", {"PYTHONPATH": "here", "A": "b"})
    assert variables == {
        "A": "b",
        KEY: "secret",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "1800",
    }


def test_on_a_gpu_it_is_told_its_share_and_which() -> None:
    spec = OwnSpec("python", "dir", "bfloat16", "cuda:1", 0.4, rank=12, options=("--enforce-eager",))
    words = spec.command(81)
    assert words[words.index("--gpu-memory-utilization") + 1] == "0.4"
    assert words[words.index("--max-lora-rank") + 1] == "16"  # the least that vLLM takes and that holds 12
    assert words[-1] == "--enforce-eager"
    assert spec.variables("k", {})["CUDA_VISIBLE_DEVICES"] == "1"
    assert spec.variables("k", {"CUDA_VISIBLE_DEVICES": "5,7"})["CUDA_VISIBLE_DEVICES"] == "7"


def test_it_answers_when_it_is_ready_and_ends_with_stop(tmp_path: Path, behind: FakeVllm) -> None:
    heard: list[str] = []
    server = OwnServer(spec_of(tmp_path, rank=8), heard.append)
    processes = children(server)
    assert heard[0] == f"starting vLLM; what it says goes to {tmp_path / 'log'}"
    assert heard[-1].startswith("vLLM is ready after")
    assert "INFO: loading --host 127.0.0.1" in (tmp_path / "log").read_text()
    names = Client(server.url, reviver=server).get("/v1/models", lambda answer: [one["id"] for one in answer["data"]])
    assert names == ["base"]
    server.stop()
    server.stop()
    assert all(map(is_gone, processes))


def test_one_that_dies_is_started_again_by_whoever_asks_it(tmp_path: Path, behind: FakeVllm) -> None:
    heard: list[str] = []
    server = OwnServer(spec_of(tmp_path), heard.append)
    try:
        client = Client(server.url, Patience(60.0, 60.0, 0.01), reviver=server)
        for _ in range(2):
            kill(server)
            assert client.get("/version", lambda answer: answer["version"]) == "0.0-fake"
        assert sum("is started again" in text for text in heard) == 2
        kill(server)
        with pytest.raises(ServerError, match=r"has died 3 times; its log, .*log, says: INFO: loading"):
            client.get("/version", lambda answer: answer["version"])
    finally:
        server.stop()


def test_what_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "no room for keys and values.")
    with pytest.raises(ServerError, match=r"exit code 3 .* says: RuntimeError: no room for keys and values\.$"):
        OwnServer(spec_of(tmp_path))
    monkeypatch.setenv("FAILS", "never")
    with pytest.raises(ServerError, match=r"was not ready in 0 s \(engine\.start\.ready_s\)"):
        OwnServer(spec_of(tmp_path, ready_s=0.3))


def test_an_interpreter_without_vllm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vLLM is not installed for '.*'; install creditree\[vllm\] there"):
        OwnServer(OwnSpec(sys.executable, "dir", "bfloat16", "cpu", 1))
    with pytest.raises(ConfigError, match=r"engine\.start\.python is 'no/python', which cannot be run"):
        OwnServer(OwnSpec("no/python", "dir", "bfloat16", "cpu", 1))


HOLDER = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from creditree.engines.vllm.command import OwnSpec
from creditree.engines.vllm.own import OwnServer
server = OwnServer(OwnSpec({python!r}, "dir", "bfloat16", "cpu", 1, log=Path({log!r})))
print(server.process_id, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("whom", ["the process that started it", "the process that watches that"])
def test_it_ends_however_its_parents_end(whom: str, tmp_path: Path, behind: FakeVllm) -> None:
    source = HOLDER.format(path=sys.path, python=stand_in(tmp_path), log=str(tmp_path / "log"))
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        watching = psutil.Process(int(holder.stdout.readline()))
        processes = [watching, *watching.children()]
        assert len(processes) == 2
        os.kill(holder.pid if whom == "the process that started it" else watching.pid, signal.SIGKILL)
        assert until(lambda: all(map(is_gone, processes)))
        holder.kill()
