"""What a crew does for a trainer: few problems, resumption, failures, measurements, and weights that are sent once."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import DataError
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.scale.crew import SentWeights
from creditree.scale.engine import CrewEngine
from creditree.scale.verifier import CrewVerifier
from creditree.scale.worker import CrewWorker
from creditree.train.loop import Loop
from creditree.train.settings import Parts, Settings
from creditree.train.trainer import Trainer
from creditree.verify.last_integer import LastInteger
from creditree.verify.verifier import Answer
from tests.crews import CrewBeside, with_crew
from tests.scaled import SETTINGS, matrices, parts_of, small, trained
from tests.tiny_models import tiny
from tests.training import SUMS, Notes

ATTNRL = small("attnrl")


def crew_of(size: int, settings: Settings = SETTINGS) -> CrewBeside:
    return CrewBeside([CrewWorker.training(parts_of(ATTNRL), settings) for _ in range(size)])


def trainer_of(parts: Parts, path: Path, *, resume: bool = False) -> Trainer:
    opened = RunDirectory.resume if resume else RunDirectory.create
    trainer = Trainer(parts, SETTINGS, opened(path, "seed: 0\n"), Notes(parts.learner))
    if resume:
        trainer.restore()
    return trainer


def test_whole_problems_are_sent_and_fewer_than_workers_are_dealt_by_completions() -> None:
    loop, _ = trained(small("t-spmo"), 2)
    crew = loop.parts.engine.crew  # type: ignore[attr-defined]
    assert {what for _, what in crew.orders} == {"explore", "gradient"}
    few, said = trained(small("t-spmo"), 2, replace(SETTINGS, problems_per_step=1))
    alone, also = trained(small("t-spmo"), None, replace(SETTINGS, problems_per_step=1))
    assert {what for _, what in few.parts.engine.crew.orders} == {"sample", "gradient"}  # type: ignore[attr-defined]
    assert said == also
    np.testing.assert_allclose(matrices(few)[1], matrices(alone)[1], rtol=0, atol=1e-10)


def test_the_processor_seconds_of_workers_count() -> None:
    loop, _ = trained(small("t-spmo"), 2)
    seconds = loop.state.seconds
    crew = loop.parts.engine.crew  # type: ignore[attr-defined]
    assert seconds.training_cpu >= crew.cpu_s > 0


def test_a_run_of_a_crew_goes_on_with_another_and_alone(tmp_path: Path) -> None:
    whole = trainer_of(parts_of(ATTNRL), tmp_path / "whole")
    whole.train()
    begun = trainer_of(with_crew(parts_of(ATTNRL), crew_of(2)), tmp_path / "run")
    begun.loop.step()
    begun.keeper.done(begun._whole(), proven=True)
    begun.keeper.save()
    begun.run.close()
    again = trainer_of(with_crew(parts_of(ATTNRL), crew_of(3)), tmp_path / "run", resume=True)
    assert again.state.step == 1
    again.train()
    for own, other in zip(matrices(again.loop), matrices(whole.loop), strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-10)


def test_a_step_that_cannot_be_sampled_is_skipped_as_it_is_alone() -> None:
    crew = crew_of(2)
    loop_parts = with_crew(parts_of(ATTNRL), crew)
    with torch.no_grad():
        loop_parts.learner.matrices[1].fill_(float("nan"))
    loop = Loop(loop_parts, SETTINGS)
    result = loop.step()
    assert [skip.reason for skip in result.skips] == ["the logits of sampling are NaN or infinite"]


def test_completions_of_a_crew_are_those_of_one_engine_with_and_without_what_is_trained() -> None:
    parts = parts_of(ATTNRL)
    with torch.no_grad():
        for matrix in parts.learner.matrices:
            matrix.add_(0.3)
    crew = CrewBeside([CrewWorker.training(parts_of(ATTNRL), SETTINGS) for _ in range(3)])
    engine = CrewEngine(crew, parts.model, parts.learner.trained, 4, "cpu")
    assert engine.max_rows == 12
    engine.good_rows = 2
    requests = [
        SampleRequest(np.array([5, 6, 7 + n]), tuple(Key.of(n).at(k) for k in range(3)), 6 + n) for n in range(4)
    ]
    for weights in (nullcontext(), parts.learner.trained.off()):
        with weights:
            crewed, ledger = engine.sample(requests, Sampling(0.9))
            alone, also = InProcessEngine(parts.model).sample(requests, Sampling(0.9))
        assert [[s.token_ids.tolist() for s in own] for own in crewed] == [
            [s.token_ids.tolist() for s in own] for own in alone
        ]
        assert ledger.decoded >= also.decoded
    assert len({place for place, _ in crew.orders}) == 3


def test_a_worker_takes_weights_that_it_has_not_and_no_others() -> None:
    parts = parts_of(ATTNRL)
    first = SentWeights.of(parts.learner.trained)
    assert SentWeights.of(parts.learner.trained, first.digest).arrays == {}
    with torch.no_grad():
        parts.learner.matrices[0].add_(1.0)
    changed = SentWeights.of(parts.learner.trained, first.digest)
    assert changed.digest != first.digest
    assert set(changed.arrays) == set(first.arrays)
    with parts.learner.trained.off():
        assert SentWeights.of(parts.learner.trained).digest is None


def test_verdicts_of_a_crew_are_those_of_one_verifier_and_what_it_cannot_use_is_said() -> None:
    crew = CrewBeside([CrewWorker(InProcessEngine(tiny()), None, [LastInteger()]) for _ in range(2)])
    verifier = CrewVerifier(LastInteger(), crew)
    answers = [Answer(SUMS.training(Key.of(0), n), "", f"it is {n}") for n in range(40)]
    assert verifier.judge(answers) == LastInteger().judge(answers)
    assert len(crew.orders) == 5  # 8 a piece
    assert verifier.judge(answers[:3]) == LastInteger().judge(answers[:3])
    assert len(crew.orders) == 5  # so few are judged here
    assert verifier.rules() == LastInteger().rules()
    with pytest.raises(DataError, match="exceed the context"):
        CrewEngine(crew, tiny(), None, 4, "cpu").sample([SampleRequest(np.arange(3), (Key.of(0),), 999)], Sampling())
