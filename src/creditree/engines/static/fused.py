"""The kernels of a decode step, compiled: what lies between the products is fused (norms, rotation, residuals, draws).

Layers are compiled one at a time, and all that are alike share what was compiled: that takes as long as one layer, not
as long as the model. The products themselves stay with the library that eager torch calls.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from creditree.engines.draw import Drawn, draw_each
from creditree.engines.static.attention import SplitPlan
from creditree.models.lean import LeanLayer, turn_of
from creditree.models.transformer import Rope

_SHAPES = 256
"""Compiled versions of a function that torch keeps, one for each shape; its default of 8 is too few."""
FEWEST_BYTES = 1 << 27
"""Bytes of weights from which fused kernels are tried. Ours, not measured: compiling takes seconds, which a model whose
steps take microseconds never gets back."""

Draw = Callable[..., Drawn]


@cache
def _kernels() -> tuple[Any, Draw]:
    from torch import _dynamo  # takes seconds to import

    _dynamo.config.recompile_limit = max(_SHAPES, _dynamo.config.recompile_limit)
    layer = torch.compile(LeanLayer.forward, dynamic=False, fullgraph=True)
    return layer, torch.compile(draw_each, dynamic=False, fullgraph=True)


def fused_layers(layers: Sequence[LeanLayer], hidden: Tensor, rope: Rope, plan: SplitPlan, first: int) -> Tensor:
    """Run layers, of which the first has number `first`, on hidden states: what `Transformer.layers` computes."""
    compiled, turn = _kernels()[0], turn_of(*rope)
    for index, layer in enumerate(layers, start=first):
        hidden = compiled(layer, hidden, turn, plan.alone(index), 0)
    return hidden


def fused_draw() -> Draw:
    """Return `draw_each`, compiled."""
    return _kernels()[1]
