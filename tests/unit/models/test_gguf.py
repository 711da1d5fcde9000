"""A GGUF file as the base model: the weights that its blocks say, converted once, refused in one sentence."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib import import_module
from json import loads
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch
from gguf import GGUFReader

from creditree.errors import ModelError
from creditree.models import gguf
from creditree.models.load import load_model
from tests.gguf_files import write_gguf


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_weights_tokenizer_and_template_come_from_the_file(tmp_path: Path, cache: Path) -> None:
    expected = write_gguf(tmp_path / "tiny.gguf")
    model = load_model(str(tmp_path / "tiny.gguf"))
    ids = torch.tensor([[2, 12, 3, 13, 9]])
    with torch.no_grad():
        theirs = expected(ids, use_cache=False).logits
        ours = model.transformer.model(ids, use_cache=False).logits
    assert (ours - theirs).abs().max() < 1e-5
    assert model.name == str(tmp_path / "tiny.gguf")
    # 0 and 1 are special, digits are 2 to 11, then + = and the space; the merge of + and = is 15.
    assert model.tokenizer.encode("1+=2", add_special_tokens=False) == [3, 15, 4]
    assert model.tokenizer.chat_template is not None


def test_it_is_converted_once_and_says_from_what(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    first = gguf.converted(path)
    digest = sha256(path.read_bytes()).hexdigest()
    assert loads((first / gguf.SOURCE).read_text()) == {
        "file": "tiny.gguf", "bytes": path.stat().st_size, "sha256": digest,
    }  # fmt: skip
    moved = path.rename(tmp_path / "elsewhere.gguf").rename(path)
    monkeypatch.setattr(gguf, "_dequantise", None)  # a second conversion would fail
    assert gguf.converted(moved) == first
    assert [entry.name for entry in first.parent.iterdir()] == [first.name]


def test_the_file_is_read_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    readings: list[object] = []

    class Counted(GGUFReader):
        def __init__(self, *words: Any) -> None:
            readings.append(words)
            super().__init__(*words)

    monkeypatch.setattr("gguf.GGUFReader", Counted)
    gguf.converted(tmp_path / "tiny.gguf")
    assert len(readings) == 1
    assert vars(import_module("gguf"))["GGUFReader"] is Counted


def test_of_several_at_once_one_converts_and_the_others_wait(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = tmp_path / "tiny.gguf", list[Path]()
    path.write_bytes(gguf.MAGIC)

    def slowly(source: Path, folder: Path) -> None:
        made.append(source)
        sleep(0.2)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(gguf, "_dequantise", slowly)
    with ThreadPoolExecutor(3) as pool:  # a lock of one open file keeps out another's, as of another process
        found = set(pool.map(gguf.converted, [path] * 3))
    assert made == [path]
    assert [entry.name for entry in next(iter(found)).parent.iterdir()] == [entry.name for entry in found]


def test_a_run_can_say_which_file_its_model_came_from(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    digest = sha256(path.read_bytes()).hexdigest()
    assert gguf.source_sha256(str(path)) == digest
    assert gguf.source_sha256(str(gguf.converted(path))) == digest
    assert gguf.source_sha256(str(tmp_path)) is gguf.source_sha256("builtin:arithmetic") is None
    path.write_bytes(path.read_bytes() + b"\0")  # as another chat template would: no weight is another
    assert gguf.source_sha256(str(path)) == sha256(path.read_bytes()).hexdigest() != digest


def test_what_is_no_gguf_is_refused(tmp_path: Path, cache: Path) -> None:
    other = tmp_path / "text.gguf"
    other.write_text("version https://git-lfs")
    cut = tmp_path / "cut.gguf"
    write_gguf(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    for path, words in (
        (tmp_path / "none.gguf", "does not exist"),
        (other, "no GGUF file"),
        (cut, "could not be read"),
    ):
        with pytest.raises(ModelError, match=words) as error:
            load_model(str(path))
        assert "\n" not in str(error.value)
    assert not list((cache / "creditree" / "gguf").iterdir())


def test_the_package_is_asked_for(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'creditree\[gguf\]'"):
        gguf.converted(tmp_path / "tiny.gguf")
