"""What a viewer answers: the page, the state of the run, searches, and the trees of a problem."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from creditree.errors import ConfigError, CreditreeError
from creditree.overview.run import forests_of, overview_of
from creditree.overview.trees import ShownForest
from creditree.report.page.live import fragment_html, live_html
from creditree.report.page.payload import forest_payload
from creditree.runs.directory import RunDirectory
from creditree.text import json_escaped
from creditree.view.index import CompletionIndex
from creditree.view.query import Query

Answer = tuple[HTTPStatus, str, bytes]
"""Status, type and content."""
HTML, JSON = "text/html; charset=utf-8", "application/json; charset=utf-8"


class Site:
    """The pages of one run; nothing else is served, whatever is asked for."""

    def __init__(self, path: Path, index: CompletionIndex) -> None:
        self._path, self._index = path, index
        self._run = RunDirectory.read(path)
        self._pages: Mapping[str, Callable[[Mapping[str, Sequence[str]]], tuple[str, str]]] = {
            "/": lambda words: (HTML, live_html(overview_of(path, tokens=0))),
            "/overview": lambda words: (HTML, fragment_html(overview_of(path, tokens=0))),
            "/state": lambda words: (JSON, _json(self.state())),
            "/search": lambda words: (JSON, _json(self._search(words))),
            "/forest": lambda words: (JSON, _json(self._forest(words))),
        }
        self._forests = lru_cache(maxsize=4)(self._read)

    def answer(self, address: str, query: str) -> Answer:
        """Return the answer to a request: 404 for what there is not, 400 with a sentence for what makes no sense."""
        page = self._pages.get(address)
        if page is None:
            return HTTPStatus.NOT_FOUND, JSON, _json({"error": "there is no such page"}).encode()
        try:
            kind, text = page(parse_qs(query, max_num_fields=40))
        except (CreditreeError, ValueError) as error:
            return HTTPStatus.BAD_REQUEST, JSON, _json({"error": str(error)}).encode()
        return HTTPStatus.OK, kind, text.encode()

    def state(self) -> dict[str, Any]:
        """Return what changes while a run trains: `version` tells whether the overview is another."""
        marks = [self._mark(name) for name in ("metrics.jsonl", "summary.json")]
        kept = self._run.rollout_steps()
        return {
            "version": sha256(repr(marks).encode()).hexdigest()[:16],
            "ended": marks[1] is not None,
            "kept": len(kept),
            "indexed": len(self._index.steps),
            "completions": self._index.num_completions,
            "failed": {str(step): words for step, words in self._index.failed.items()},
        }

    def _mark(self, name: str) -> tuple[int, int] | None:
        try:
            status = (self._path / name).stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def _search(self, words: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        match = self._index.search(Query.of(words))
        return {"total": match.total, "of": self._index.num_completions, "rows": match.rows}

    def _forest(self, words: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        numbers = {name: values[-1] for name, values in words.items()}
        try:
            step, place = int(numbers["step"]), int(numbers["place"])
            forests = self._forests(step)
            return forest_payload(forests[max(0, place)])
        except (KeyError, IndexError) as error:
            raise ConfigError("name a step that was kept, and the place of a problem in it.") from error

    def _read(self, step: int) -> tuple[ShownForest, ...]:
        return tuple(forests_of(self._run, step))


def _json(value: object) -> str:
    return json_escaped(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str))
