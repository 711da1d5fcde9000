"""Whether what was written gives the log-probabilities of what was trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from creditree.errors import ModelError
from creditree.export.request import Verified
from creditree.export.source import TrainedRun
from creditree.models.merge import base_model
from creditree.models.reading import load_weights, one_sentence, reason_of
from creditree.models.texts import Texts
from creditree.models.widened import plain_scores, widen
from creditree.train.inputs import BaseDigests
from creditree.tree import FloatArray, IntArray

TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 0.01, "bfloat16": 0.05}
"""The mean of |log p - log p'|, in nats, that merging may cost: the sum W + s B A is rounded to the type of W once, by
2^-24 of it in float32 and 2^-9 in bfloat16, in each matrix that is adapted. Ours."""
TEXTS = (
    "The capital of France is Paris, and that of Japan is Tokyo.",
    "What is 12 * 34? 12 * 34 = 408.",
    "def add(a, b):\n    return a + b\n",
    "Anna has 3 apples and buys 4 more. How many apples does she have now? She has 3 + 4 = 7.",
    "Die Summe ist 12; \u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002",
)
"""Read by every model beside what its run kept: what was not trained on has to be kept as well."""
MOST_ROLLOUTS = 4
LONGEST = 256
"""Tokens of a text that are compared."""


def probes(source: TrainedRun, texts: Texts) -> list[IntArray]:
    """Return the token ids on which models are compared: what the run kept, its first prompt, and fixed texts."""
    found = source.rollout_ids(MOST_ROLLOUTS)
    first = None if source.summary is None else source.summary.details.first
    for text in (*([first.prompt] if first is not None else []), *TEXTS):
        try:
            found.append(texts.encode([(text, False)]))
        except ModelError:  # a tokenizer of few letters
            continue
    ids = [np.array(tokens[:LONGEST], dtype=np.int64) for tokens in found]
    return [tokens for tokens in ids if len(tokens) > 1]


def trained_scores(source: TrainedRun, ids: Sequence[IntArray]) -> tuple[FloatArray, FloatArray]:
    """Return the tokens' log-probabilities by what was trained, and by its base.

    An adapter stands beside its base, and PEFT computes with both. Raises ModelError where the base is not the one that
    was trained on.
    """
    from peft import PeftModel

    base, trained = source.base, source.trained
    model = base_model(base.name, base.dtype)
    BaseDigests.of_files(base.name, model, base.dtype).check(trained)
    if not source.is_adapter:
        before = _scores(model, ids)
        del model
        return _scores(load_weights(str(trained), dtype="auto"), ids), before
    with one_sentence(lambda error: f"PEFT cannot load the adapter in '{trained}' ({reason_of(error)})."):
        adapted: Any = PeftModel.from_pretrained(model, str(trained)).eval()
    after = _scores(adapted, ids)
    with adapted.disable_adapter():
        return after, plain_scores(adapted, ids)


def verified(folder: Path, dtype: str, ids: Sequence[IntArray], after: FloatArray, before: FloatArray) -> Verified:
    """Compare what lies in `folder`, of weights in `dtype`, with what was trained, both computed in float32.

    Raises ModelError where they differ by more than rounding may.
    """
    gaps = np.abs(_scores(load_weights(str(folder), dtype="auto"), ids) - after)
    effect, limit = float(np.abs(after - before).mean()), TOLERANCE[dtype]
    found = Verified(len(gaps), float(gaps.mean()), float(gaps.max()), effect, limit)
    if not found.difference <= limit:
        raise ModelError(
            f"what was merged is not what was trained: {found.words()}; nothing is left of it; export the adapter "
            "itself with `adapter`."
        )
    return found


def _scores(model: Any, ids: Sequence[IntArray]) -> FloatArray:
    widen(model)
    return plain_scores(model.eval(), ids)
