"""What has been computed before the first adapted layer, by whoever forwarded the same tokens earlier."""

from typing import Protocol

from torch import Tensor

from creditree.tree import IntArray


class TrunkStore(Protocol):
    """Holds inputs of the first adapted layer. Below it nothing learns, so they stay right whatever the adapter is."""

    def trunk(self, token_ids: IntArray, parent: IntArray) -> Tensor | None:
        """Return the inputs of the first adapted layer [N, hidden], or None where any of them is not stored.

        `token_ids` [N]: tokens of trees in preorder;  `parent` [N]: index of the token before each, -1 at a root.
        """
        ...
