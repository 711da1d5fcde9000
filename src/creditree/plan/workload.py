"""What memory and work of a run depend on: sizes of the model, of what is trained, and of a training step."""

from dataclasses import dataclass, replace

from creditree.demand import Branches, Learned, Learns, Reach
from creditree.models.load import Dtype
from creditree.models.shapes import Shape
from creditree.processor import multiplies_bfloat16
from creditree.signals import InfluenceSpec

NUM_BYTES: dict[Dtype, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "int8": 2, "nf4": 2}
"""Bytes of one activation, by the base model's precision: quantised models compute in bfloat16."""


def is_widened(dtype: Dtype, *, on_host: bool) -> bool:
    """Return whether torch takes products over a base of `dtype` in float32 here, though activations are bfloat16."""
    return on_host and NUM_BYTES[dtype] == 2 and not multiplies_bfloat16()


@dataclass(frozen=True, slots=True)
class Workload:
    """A training step, as far as memory and work depend on it. Tokens and rows are counts at most.

    `layers`: the adapted ones;  `replays`: groups sampled after the first one, of a problem, and `withheld`: how many
    of all groups do not learn;  `branches`: what is forked below a group;  `influence`: what is asked of the steps of
    first completions;  `early`: where the tokens are that learn, where `learns` is early;  `reference`: whether a KL
    penalty needs the base's log-probabilities;  `nucleus`: whether top-p cuts the distribution;
    `evaluation_problems`: of the largest evaluation, 0 for none;  `stored_tokens`: slots of the store before it
    forgets, None for all of a step;  `native`: whether native code decodes, or torch, and `static`: torch in static
    shapes, as on CUDA.

    `all_weights`: every weight learns, no adapter;  `validates`: a copy of the best weights is kept;  `on_host`: the
    memory in question is the host's, so that copies for checkpoints are in it;  `most_problems`: what a schedule may
    raise `problems` to (`problems_assumed`: a guess, where it has no bound);  `mini_batch`: completions of one
    optimiser step (None: all);  `off_policy`: the groups of the next problems are sampled beside the forks of these;
    `grouped`: whether `group` is the method's number of that name, or all that an explorer takes of a problem, which
    does not say how;  `remote`: another process samples, whose memory is not counted;  `widened`: torch takes products
    of bfloat16 in float32 (`models/products.py`).
    """

    shape: Shape
    dtype: Dtype
    layers: tuple[int, ...]
    prompt_tokens: int
    max_new_tokens: int
    group: int
    rank: int = 8
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    problems: int = 1
    replays: int = 0
    learns: Learns = "everything"
    early: Reach | None = None
    reference: bool = False
    entropies: bool = False
    nucleus: bool = False
    evaluation_problems: int = 0
    micro_batch_tokens: int = 1024
    max_rows: int = 512
    stored_tokens: int | None = None
    threads: int = 1
    native: bool = True
    static: bool = False
    branches: Branches | None = None
    influence: InfluenceSpec | None = None
    all_weights: bool = False
    validates: bool = False
    on_host: bool = True
    most_problems: int = 0
    problems_assumed: bool = False
    mini_batch: int | None = None
    off_policy: bool = False
    withheld: int = 0
    grouped: bool = True
    remote: bool = False
    widened: bool = False

    @property
    def group_key(self) -> str:
        """What a user would change for a smaller `group`."""
        return "method.group" if self.grouped else "what method.explore samples of a problem"

    @property
    def item(self) -> int:
        """Bytes of one activation."""
        return NUM_BYTES[self.dtype]

    @property
    def sum_item(self) -> int:
        """Bytes of one number where sums are kept: float32 at least."""
        return max(4, self.item)

    @property
    def adapter_item(self) -> int:
        """Bytes of one number of the adapter: float32, over a float64 base float64."""
        return max(4, self.item)

    @property
    def kept_expected(self) -> int:
        """Tokens that a replay keeps in the middle: it cuts a completion of T tokens evenly at 0 to T - 1."""
        return (self.max_new_tokens - 1) // 2

    @property
    def queries(self) -> int:
        """Numbers in the queries of a token, in one layer."""
        return self.shape.num_heads * self.shape.head_dim

    @property
    def keys(self) -> int:
        """Numbers in the keys of a token, in one layer; as many are in its values."""
        return self.shape.num_kv_heads * self.shape.head_dim

    @property
    def first_layer(self) -> int:
        """The lowest adapted layer: nothing is kept for a backward pass below it."""
        return self.layers[0]

    @property
    def layers_below(self) -> int:
        """Layers from the first adapted one up to the last, which is left out: it is asked for some rows only."""
        return self.shape.num_layers - 1 - self.first_layer

    @property
    def trained(self) -> int:
        """Numbers that learn: all, or the adapter's. A projection that is not known counts as hidden to hidden."""
        if self.all_weights:
            return self.shape.num_parameters
        sizes = (self.shape.projection(name) or (self.shape.hidden_size,) * 2 for name in self.targets)
        return len(self.layers) * sum(self.rank * sum(size) for size in sizes)

    @property
    def learned(self) -> Learned:
        """Which tokens learn."""
        return Learned(self.learns, self.early)

    @property
    def forked(self) -> int:
        """Completions of a problem that go on from a fork."""
        return self.group * self.branches.each if self.branches else 0

    @property
    def leaves(self) -> int:
        """Completions of a problem."""
        return self.group * (1 + self.replays) + self.forked

    @property
    def completions(self) -> int:
        """Completions of a step."""
        return self.problems * self.leaves

    @property
    def sampled(self) -> int:
        """Tokens sampled in a step."""
        return self.completions * self.max_new_tokens

    @property
    def at_most(self) -> "Workload":
        """The same with as many problems as a step can have."""
        return replace(self, problems=max(self.problems, self.most_problems), most_problems=0)

    @property
    def learned_together(self) -> int:
        """Problems of one optimiser step: as many in each of round(completions / mini_batch) steps."""
        if self.mini_batch is None:
            return self.problems
        return -(-self.problems // max(1, min(self.problems, int(self.completions / self.mini_batch + 0.5))))
