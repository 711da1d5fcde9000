"""Other real servers: those that take no token ids are refused, llama.cpp's own measures a base model.

Each test starts its server from a command that the environment names, and skips without it; PORT in it is replaced:

    CREDITREE_REFUSED_SERVER="PYTHON -m llama_cpp.server --model FILE.gguf --host 127.0.0.1 --port PORT"
    CREDITREE_REFUSED_SERVER="transformers serve DIRECTORY --host 127.0.0.1 --port PORT"
    CREDITREE_LLAMA_SERVER="llama-server -m FILE.gguf --host 127.0.0.1 --port PORT"  CREDITREE_LLAMA_MODEL=FILE.gguf
"""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_connection, socket

import numpy as np
import pytest

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.vllm.client import Patience, ServerError
from creditree.engines.vllm.engine import VllmEngine
from creditree.engines.vllm.llama_server import LlamaServer
from creditree.engines.vllm.server import ServerSpec
from creditree.models.load import load_model
from creditree.models.scores import token_scores
from creditree.rng import Key
from creditree.tree import token_array

READY_S = 300.0


@contextmanager
def started(variable: str) -> Iterator[str]:
    """Give the block the URL of a server whose command is in the environment."""
    command = os.environ.get(variable)
    if command is None:
        pytest.skip(f"no server to start: {variable} has its command")
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.replace("PORT", str(port)) for word in shlex.split(command)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + READY_S
        while time.monotonic() < until and server.poll() is None:
            try:
                create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def test_a_server_that_takes_no_ids_is_refused_in_a_sentence() -> None:
    model = load_model("builtin:word_problems")
    spec_patience = Patience(120.0, 120.0, 0.2)
    with (
        started("CREDITREE_REFUSED_SERVER") as url,
        pytest.raises(ServerError, match=r"token ids|names no model|fails \(HTTP 500"),
    ):
        VllmEngine(model, None, ServerSpec(url, patience=spec_patience), [token_array([5, 7, 9])])


def test_llama_cpp_draws_from_a_base_model() -> None:
    with started("CREDITREE_LLAMA_SERVER") as url:
        model = load_model(os.environ["CREDITREE_LLAMA_MODEL"], "bfloat16")
        prompt = token_array(model.tokenizer.encode("The capital of France is"))
        spec = ServerSpec(url, limit=0.2, patience=Patience(120.0, 120.0, 0.5))
        engine = VllmEngine(model, None, spec, [prompt], dialect=LlamaServer())
        ((*samples,),), _ = engine.sample([SampleRequest(prompt, (Key.of(0), Key.of(1)), 12)], Sampling(1.0))
        for sample in samples:
            whole = np.concatenate([prompt, sample.token_ids])
            assert float(np.abs(token_scores(model, whole, len(sample.token_ids)) - sample.logprobs).mean()) < 0.2
