"""Pieces of a measurement: their size, and that nothing depends on it."""

from dataclasses import replace

import pytest
import torch

from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.evaluate import examiner as examining
from creditree.evaluate import pieces
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.examiner import Examiner
from creditree.evaluate.pieces import rows_at_once
from creditree.rng import Key
from creditree.tasks.task import PromptTemplate
from tests.tiny_models import tiny
from tests.training import Scripted, Sums


def test_a_piece_is_so_much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("qwen2", torch.float32)
    weights = sum(parameter.numel() for parameter in model.transformer.model.parameters())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(pieces, "THREAD_FLOP", 2 * weights * 0.4 * 100 * 7)  # 7 completions of 100 tokens, a thread
    assert rows_at_once(model, 100) == 21
    assert rows_at_once(model, 50) == 42
    assert rows_at_once(model, 100_000) == 8  # the least


@pytest.mark.parametrize("native", [True, False])
def test_what_is_measured_does_not_depend_on_how_it_is_cut(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("qwen2", torch.float64 if not native else torch.float32)
    engine = InProcessEngine(model, native=native)
    examiner = Examiner(model, engine, Scripted(), PromptTemplate(), 12, Key.of(0))
    problems = Sums().held_out("test", 9)

    def found(rows: int) -> Evaluation:
        monkeypatch.setattr(examining, "rows_at_once", lambda model, tokens: rows)
        cut = examiner.pieces(problems, 3)
        assert len(cut) == {27: 1, 12: 3, 1: 9}[rows]  # 9, 4 and 1 problems together
        parts = [one for piece in cut for one in examiner.examine(piece, Sampling(0.9), 3)]
        return Evaluation.of(parts)

    whole = found(27)
    assert found(12).attempts == found(1).attempts == whole.attempts
    assert len({one.text for one in whole.all}) > 9
    assert replace(examiner, key=Key.of(1)).evaluate(problems, Sampling(0.9), 3).attempts != whole.attempts
