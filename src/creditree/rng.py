"""Counter-based randomness: every random number is a function of a key, never of what was drawn before.

A key is a path such as (seed, step, problem, branch, purpose). Equal paths give equal numbers whatever else shared the
batch, so a resumed run is the same run, and two policies can be compared under common random numbers.
Generator: Philox-4x64-10 (Salmon et al., SC 2011), through numpy.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Key:
    """A position in the tree of random streams: ``Key.of(seed).at(step, problem.id, "cut").uniforms(8)``."""

    digest: bytes

    @classmethod
    def of(cls, seed: int) -> "Key":
        """Return the root key of a run."""
        return cls(b"creditree").at(seed)

    def at(self, *path: int | str) -> "Key":
        """Return the key below this one along `path`; different paths give independent streams."""
        digest = self.digest
        for part in path:
            tagged = f"s{part}" if isinstance(part, str) else f"i{int(part)}"
            digest = blake2b(tagged.encode(), key=digest, digest_size=16).digest()
        return Key(digest)

    def generator(self) -> np.random.Generator:
        """Return a fresh numpy generator at the start of this key's stream."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.digest, "little")))

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """Return the first `count` numbers of this stream, uniform in [0, 1); a longer call starts with the shorter."""
        return self.generator().random(count)

    def integer(self, low: int, high: int) -> int:
        """Return one integer uniform in [low, high], both ends included."""
        return int(self.generator().integers(low, high, endpoint=True))

    def choose(self, count: int, size: int) -> tuple[int, ...]:
        """Return `count` different indices of range(size) in random order, or all of them if there are fewer."""
        return tuple(int(i) for i in self.generator().permutation(size)[:count])
