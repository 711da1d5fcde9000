"""One vLLM server for all tests here, as a run starts it: `make vllm` installs it; without it these tests skip."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from creditree.engines.vllm.client import KEY
from creditree.engines.vllm.command import OwnSpec, half_of_cores
from creditree.engines.vllm.own import OwnServer
from creditree.models.load import load_model

PYTHON = "CREDITREE_VLLM_PYTHON"
MODEL = "builtin:word_problems"


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
    spec = OwnSpec(
        python, str(folder / "model"), "bfloat16", "cpu", 1, half_of_cores(), rank=16, log=folder / "server.log"
    )
    server = OwnServer(spec, print)
    os.environ[KEY] = server.key
    try:
        yield Started(server.url, folder / "model")
    finally:
        server.stop()
        del os.environ[KEY]
