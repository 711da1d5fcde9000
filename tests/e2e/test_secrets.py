"""A run from end to end with secrets in its environment, and a model that writes what steers: neither gets through."""

import json
import secrets
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from creditree.cli.main import run
from tests.e2e.test_hostile_text import HAZARDS, Commands
from tests.tiny_models import char_tokenizer, random_model

NAMES = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "GOOGLE_API_KEY", "AZURE_OPENAI_KEY",
    "VLLM_API_KEY", "DATABASE_URL", "PGPASSWORD", "SSH_AUTH_SOCK", "PIP_INDEX_URL", "NETRC", "KUBECONFIG",
)  # fmt: skip
"""Variables whose content belongs to nobody but the user."""
JUDGE = """
def judge(completions, answers, **columns):
    return [float(len(text) % 3) for text in completions]
"""
STEERING = '\x1b\x07\x9b\u202e\u2066<>&[]\\"'
"""Characters of a model that writes almost nothing else."""
TEXTS = (".html", ".md", ".json", ".jsonl", ".yaml", ".csv", ".svg", "")


def written(folder: Path) -> dict[Path, bytes]:
    """Return what every file below a folder holds, tables as they read."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[path] = path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            found[path] += repr([table.to_pylist(), table.schema.metadata]).encode(errors="backslashreplace")
    return found


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


def hostile_model(folder: Path) -> Path:
    """Save a model most of whose tokens steer a terminal, or are marks of HTML."""
    random_model("llama", torch.float32).save_pretrained(folder)
    tokenizer = char_tokenizer()
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    kept = [token for token in state["model"]["vocab"] if token in "0123456789*=?+ " or token.startswith("<")]
    vocabulary = {token: place for place, token in enumerate(kept)}
    for place in range(len(kept), 64):
        vocabulary[STEERING[place] if place < len(STEERING) else f"{STEERING[place % len(STEERING)]}{place}"] = place
    state["model"]["vocab"] = vocabulary
    tokenizer.backend_tokenizer.from_str(json.dumps(state)).save(str(folder / "tokenizer.json"))
    tokenizer.save_pretrained(folder / "settings")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / "settings" / name).is_file():
            (folder / "settings" / name).rename(folder / name)
    return folder


def test_secrets_and_what_a_model_writes_stay_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: Commands
) -> None:
    hidden = {name: f"s3cret-{secrets.token_hex(12)}" for name in (*NAMES, f"X_{secrets.token_hex(4).upper()}")}
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "judge.py").write_text(JUDGE)
    model = hostile_model(tmp_path / "model")
    config = {
        "model": {"name": str(model)},
        "task": {
            "name": "multiplication",
            "digits_a": 1,
            "digits_b": 1,
            "num_held_out": 8,
            "prompt": {"text": "{question}"},
        },
        "reward": f"{tmp_path / 'judge.py'}:judge",
        "method": {"name": "grpo", "group": 4},
        "sampling": {"temperature": 1.0, "max_new_tokens": 12},
        "train": {"steps": 2, "problems_per_step": 1, "threads": 1},
        "evaluation": {"problems": 3, "temperatures": [1.0]},
        "log": {"checkpoint_every": 1, "rollouts_every": 1},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = tmp_path / "run"
    commands("train", tmp_path / "run.yaml", "--run", done)
    commands("eval", done, "--problems", "2", "--temperature", "1", "--trust-run", "--out", tmp_path / "kept")
    commands("report", done)
    commands("tree", done)
    files = written(done) | written(tmp_path / "kept")
    assert len(files) > 15
    texts = [row["text"] for path in done.glob("rollouts/*.parquet") for row in pq.read_table(path).to_pylist()]
    assert HAZARDS & set("".join(texts)), "the model is not as hostile as it should be"
    for path, content in files.items():
        for name, value in hidden.items():
            assert value.encode() not in content, f"{path} holds {name}"
        if path.suffix in TEXTS and path.suffix != ".parquet":
            assert not HAZARDS & set(content.decode("utf-8")), path


def test_code_of_a_model_is_run_by_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a configuration nor a saved run can ask for it; there is no option that could."""
    model = hostile_model(tmp_path / "model")
    settings = json.loads((model / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own", "AutoTokenizer": "own.Own"}
    (model / "config.json").write_text(json.dumps(settings))
    (model / "own.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\nclass Own: pass\n")
    saved = tmp_path / "saved"
    (saved / "adapter").mkdir(parents=True)
    for block in ({"name": str(model)}, {"name": str(model), "trust_remote_code": True}):
        values = {"task": "multiplication", "model": block, "train": {"steps": 1}}
        for path in (tmp_path / "run.yaml", saved / "config.yaml"):
            path.write_text(yaml.safe_dump(values), encoding="utf-8")
        for arguments in (("train", str(tmp_path / "run.yaml"), "--dry-run"), ("eval", str(saved), "--trust-run")):
            monkeypatch.setattr(sys, "argv", ["creditree", *arguments])
            with pytest.raises(SystemExit):
                run()
    assert not (tmp_path / "canary").exists()
