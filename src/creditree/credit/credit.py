"""What a credit is: a function from a judged tree to one advantage for each sampled token. It never samples."""

from typing import ClassVar, Protocol

from creditree.fields import TokenField
from creditree.tree import RolloutTree


class Credit(Protocol):
    """What each token was worth."""

    name: ClassVar[str]

    @property
    def per_pair(self) -> bool:
        """Whether the advantage depends on (prefix, next token) alone: equal in every completion that holds it."""
        ...

    def assign(self, tree: RolloutTree) -> TokenField:
        """Return the advantages of `tree`; None for branches without a reward."""
        ...
