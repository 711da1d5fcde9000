"""What has been computed before the first adapted layer, by whoever forwarded the same tokens earlier."""

from typing import Protocol

from torch import Tensor

from creditree.tree import IntArray


class TrunkStore(Protocol):
    """Holds inputs of the first adapted layer. Below it nothing learns, so they stay right whatever the adapter is."""

    def trunk(self, handles: IntArray) -> Tensor | None:
        """Return the inputs of the first adapted layer [N, hidden], or None where any of them is not stored.

        `handles` [N]: of tokens, as whoever holds them gave them out when it computed them; 0: it did not.
        """
        ...
