"""Logits that are NaN or infinite are refused by every engine before a draw; native code reads nothing outside."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from creditree.engines.completions import Completions
from creditree.engines.draw import draw, draw_each
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.engines.native.compiler import compiler_path
from creditree.engines.native.decoder import NativeDecoder, _at
from creditree.engines.static.decoder import StaticDecoder
from creditree.errors import DataError, NonFiniteError
from creditree.models.load import Model
from creditree.rng import Key
from creditree.tree import token_array
from tests.tiny_models import tiny

needs_compiler = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler here: torch decodes")
SAMPLINGS = (Sampling(1.0), Sampling(0.0), Sampling(0.7, 0.9), Sampling(1.0, entropies=True))
ASKED = SampleRequest(token_array([7, 9, 12]), tuple(Key.of(i) for i in range(3)), 6)

ENGINES: dict[str, Callable[[Model], InProcessEngine]] = {
    "native": lambda model: InProcessEngine(model),
    "torch": lambda model: InProcessEngine(model, native=False),
    "static": lambda model: InProcessEngine(model, native=False, static=True),
}


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ENGINES)
def test_each_engine_refuses_and_can_be_used_again(name: str, dtype: torch.dtype) -> None:
    model = tiny(dtype=dtype)
    engine = ENGINES[name](model)
    kinds = {"native": NativeDecoder, "static": StaticDecoder}
    assert name not in kinds or isinstance(engine._decoder(), kinds[name])
    head = model.transformer.model.get_parameter("lm_head.weight")
    last = len(head) - 1
    good, _ = engine.sample([ASKED], Sampling(1.0))
    engine.forget()
    for bad in (torch.nan, torch.inf):
        with torch.no_grad():
            held = head[last, 3].clone()
            head[last, 3] = bad  # one logit of each row is bad, the last one
        for sampling in SAMPLINGS:
            with pytest.raises(NonFiniteError, match="model 'random:qwen2' computes logits that are NaN or infinite"):
                engine.sample([ASKED], sampling)
        with torch.no_grad():
            head[last, 3] = held
    again, _ = engine.sample([ASKED], Sampling(1.0))
    assert [s.token_ids.tolist() for s in again[0]] == [s.token_ids.tolist() for s in good[0]]


@needs_compiler
@pytest.mark.parametrize("name", ENGINES)
def test_what_overflows_in_the_middle_of_a_completion_is_found_there(name: str) -> None:
    """The embedding of one token is too large: its square is infinite, and the norm of that is not a number."""
    model = tiny("llama", dtype=torch.float32)
    engine = ENGINES[name](model)
    (found,), _ = engine.sample([ASKED], Sampling(1.0))
    later = int(found[0].token_ids[2])
    assert later not in ASKED.context_ids
    with torch.no_grad():
        model.transformer.model.get_parameter("model.embed_tokens.weight")[later] = torch.inf
    engine.forget()
    with pytest.raises(NonFiniteError):
        engine.sample([ASKED], Sampling(1.0))


def test_a_token_that_can_never_be_drawn_is_no_fault() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 1.0]])
    drawn = draw(logits, torch.zeros(1, dtype=torch.int64), torch.tensor([0.99], dtype=torch.float64), Sampling(1.0))
    assert drawn.token.tolist() == [2]
    with pytest.raises(NonFiniteError):
        draw(
            logits * torch.inf,
            torch.zeros(1, dtype=torch.int64),
            torch.tensor([0.5], dtype=torch.float64),
            Sampling(0.0),
        )


@pytest.mark.parametrize("size", [5, 64, 1300])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_static_draws_stay_inside_the_vocabulary_whatever_they_are_given(size: int, bad: float) -> None:
    logits = torch.full((2, size), bad)
    logits[1] = 0.0
    drawn = draw_each(logits, torch.tensor([0.99, 0.99], dtype=torch.float64), Sampling(1.0))
    assert 0 <= int(drawn.token[0]) < size
    assert bool(drawn.logprob[0].isnan())
    assert bool(drawn.logprob[1].isfinite())


@pytest.mark.parametrize("token", [-1, 64, 100_000])
@pytest.mark.parametrize("name", ENGINES)
def test_a_prompt_outside_the_embedding_is_named(name: str, token: int) -> None:
    engine = ENGINES[name](tiny(dtype=torch.float32))
    asked = SampleRequest(token_array([7, token, 9]), (Key.of(0),), 4)
    with pytest.raises(
        DataError, match=f"holds token {token}, but model 'random:qwen2' has embeddings for tokens 0 to 63"
    ):
        engine.sample([asked], Sampling(1.0))


@needs_compiler
def test_native_code_checks_what_it_is_given_itself() -> None:
    """What Python would have to get wrong for it: slots, tokens, lengths and members outside the tables."""
    engine = InProcessEngine(tiny(dtype=torch.float32))
    engine.sample([ASKED], Sampling(1.0))
    native = engine._decoder(16)
    assert isinstance(native, NativeDecoder)
    code, handle, store = native._code, native._handle, native.store

    def forward(slots: list[int], start: int, length: int) -> int:
        paths = np.array(slots, dtype=np.int32)
        first, size = np.array([start]), np.array([length])
        return int(code.creditree_forward(handle, _at(paths), len(paths), _at(first), _at(size), 1))

    assert forward([1, 2, 3], 0, 3) == 0
    outside = [[1, 2, store.used], [1, 2, -1]]
    assert [forward(slots, 0, 3) for slots in outside] == [-1, -1]
    assert [forward([1, 2, 3], start, length) for start, length in ((0, 4), (-1, 2), (0, 0), (2, 2))] == [-1] * 4
    held, store.token[2] = store.token[2], 64
    assert forward([1, 2, 3], 0, 3) == -1
    store.token[2] = held
    assert forward([1, 2, 3] * 6, 0, 18) == -1  # more positions than there are angles
    assert begin(native, which=0, row=0, budget=6) == 0
    assert [begin(native, which=w, row=r, budget=6) for w, r in ((1, 0), (-1, 0), (0, 1), (0, -1))] == [-1] * 4
    assert begin(native, which=0, row=0, budget=7) == -1  # more than its table has columns
    assert begin(native, which=0, row=0, budget=6, slot=store.used) == -1


def begin(native: NativeDecoder, which: int, row: int, budget: int, slot: int = 3) -> int:
    """Begin with one completion after the slots 1, 2 and `slot`, in tables of 6 columns."""
    asked = SampleRequest(ASKED.context_ids, (Key.of(0),), 6)
    completions = Completions([asked], [(0, Key.of(0))], Sampling(1.0))
    completions.budget[0] = budget
    stopped = completions.stopped.view(np.uint8)
    tables = [completions.uniform, completions.budget, completions.tokens, completions.drawn, completions.slots]
    numbers = [completions.logprobs, completions.sampler_logprobs]
    addresses = [array.ctypes.data for array in (*tables, *numbers)]
    ends = np.zeros(64, dtype=np.uint8)
    fields = np.array([ends.ctypes.data, 6, *addresses, 0, stopped.ctypes.data, 1], dtype=np.int64)
    sampling, paths = np.array([1.0, 1.0]), np.array([1, 2, slot], dtype=np.int32)
    length, whose, rows = np.array([3]), np.array([which]), np.array([row])
    return int(
        native._code.creditree_begin(
            native._handle, _at(sampling), _at(fields), 1, _at(paths), _at(length), 3, 1, _at(whose), _at(rows)
        )
    )


SANITIZED = """
import sys
from creditree.engines.native import compiler
compiler.FLAGS = (*compiler.FLAGS, "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
import pytest
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_native_code_under_the_address_sanitizer(tmp_path: Path) -> None:
    """Its own tests, with every read and write outside its arrays and all undefined behaviour ending the process."""
    runtimes = [_runtime(name) for name in ("libasan.so", "libubsan.so")]
    if not all(runtimes):
        pytest.skip("no address sanitizer here")
    environment = os.environ | {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0:detect_odr_violation=0",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    tests = [
        str(Path(__file__).with_name(name))
        for name in ("test_native.py", "test_native_products.py", "test_not_finite.py")
    ]
    command = [sys.executable, "-c", SANITIZED, *tests, "-m", "not slow"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "passed" in done.stdout


def _runtime(name: str) -> str:
    """Where the compiler keeps a runtime library, or nothing."""
    found = subprocess.run(
        [compiler_path() or "c++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    path = found.stdout.strip()
    return path if Path(path).is_absolute() else ""
