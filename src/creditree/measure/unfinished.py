"""What an evaluation without a directory of its own has sampled is kept until it has ended: a stop loses little."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import rmtree

from creditree.errors import RunError
from creditree.runs.environment import describe_environment
from creditree.runs.evaluation import BASE, COMPLETIONS, EvaluationDirectory


class _Unchosen(EvaluationDirectory):
    """Nobody named it, so nobody could choose another: completions of other weights give way."""

    def keep_base(self, base: Mapping[str, object]) -> None:
        """Write which base model is measured."""
        if os.path.lexists(self.path / BASE) and self.read_json(BASE) != base:
            parts = (self.path / COMPLETIONS).rglob("part-*.parquet")
            self.forget(*(part.relative_to(self.path).as_posix() for part in parts), BASE)
        super().keep_base(base)


@contextmanager
def unfinished(settings_yaml: str, code: Sequence[str | None]) -> Iterator[EvaluationDirectory | None]:
    """Yield a directory for the evaluation under these settings, which goes when the block has ended without an error.

    `code`: digests of what judges. The same command finds it again, with the same code on the same machine only. None
    where another process measures the same, or nothing can be written.
    """
    known = json.dumps([settings_yaml, describe_environment(), list(code)], sort_keys=True, default=str)
    path = _folder() / sha256(known.encode()).hexdigest()[:32]
    try:
        opened = _Unchosen.open(path, settings_yaml)
    except (RunError, OSError):
        yield None
        return
    with opened as directory:
        yield directory
    rmtree(path, ignore_errors=True)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "creditree" / "evaluations"
