"""One vLLM server for all tests here: `make vllm` installs it; without it these tests skip."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import pytest
import urllib3

from creditree.models.load import load_model

PYTHON = "CREDITREE_VLLM_PYTHON"
MODEL = "builtin:word_problems"
READY_S = 600.0
OPTIONS = (
    "--host", "127.0.0.1", "--dtype", "bfloat16", "--max-model-len", "512", "--enforce-eager", "--enable-lora",
    "--max-lora-rank", "16", "--max-loras", "2", "--served-model-name", "base",
)  # fmt: skip


@dataclass(frozen=True)
class Started:
    """A server's URL, and the directory of the model that it serves."""

    url: str
    model: Path


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Return a server of the built-in model for word problems."""
    python = os.environ.get(PYTHON, ".venv-vllm/bin/python")
    if not Path(python).exists():
        pytest.skip("vLLM is not installed: `make vllm` installs its CPU build and runs these tests")
    folder = tmp_path_factory.mktemp("vllm")
    model = load_model(MODEL)
    model.network.model.save_pretrained(str(folder / "model"))
    model.tokenizer.save_pretrained(str(folder / "model"))
    with socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder / "model")]
    own = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "0", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | own | {"HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*command, "--port", str(port), *OPTIONS], stdout=log, stderr=log, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(server, url, folder / "log")
            yield Started(url, folder / "model")
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            if urllib3.request("GET", f"{url}/health", retries=False, timeout=5.0).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(1.0)
    pytest.fail(f"vLLM did not start: {log.read_text(errors='replace')[-3000:]}")
