"""What could run code that came with data: no module of the package has any of it, whatever it is called there."""

import ast

import pytest

from tests.sources import FILES, SOURCE, tree_of

MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "code"}
"""Modules whose readers build objects of any kind, or run text."""
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"}
CALLS |= {"torch.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all"}
CALLS |= {"pandas.read_pickle", "torch.hub.load", "torch.jit.load", "torch.package", "subprocess.getstatusoutput"}
READERS = ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM")
"""Their `from_pretrained` runs files of a model's directory where `trust_remote_code` is set; here it says False."""
TOLD = ("Loader", "shell", "trust_remote_code", "weights_only", "allow_pickle", "use_safetensors", "gguf_file")
"""The keywords that decide."""
FROM_GGUF = "gguf_file"
"""Such a file has no code beside it that is looked for."""


def called(node: ast.Call, names: dict[str, str]) -> str:
    """Return the full name of what is called, as it was imported; "" for what is no name."""
    first, dot, rest = dotted(node.func).partition(".")
    return f"{names.get(first, first)}{dot}{rest}"


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` as a text."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname: one.name for one in node.names if one.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def safe_loaders(tree: ast.Module) -> set[str]:
    """Return the names of loaders of YAML that build plain values only: SafeLoader, and what is made of it here."""
    own = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return {"SafeLoader", "yaml.SafeLoader", "yaml.CSafeLoader"} | {
        node.name for node in own if [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]
    }


def hazards(tree: ast.Module) -> list[str]:
    """Return what in a program could run foreign code, with its line."""
    names, loaders = imported(tree), safe_loaders(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wrong = {one.name.partition(".")[0] for one in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            wrong = {(node.module or "").partition(".")[0]} & (MODULES if not node.level else set())
            wrong |= {f"{node.module}.{one.name}" for one in node.names} & CALLS
        elif isinstance(node, ast.Call):
            wrong = _of_call(node, called(node, names), loaders)
        else:
            continue
        found += [f"line {node.lineno}: {one}" for one in sorted(wrong)]
    return found


def _of_call(node: ast.Call, name: str, loaders: set[str]) -> set[str]:
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg in TOLD}
    wrong = {name} & CALLS
    if name == "yaml.load" and not loaders & {*map(ast.unparse, node.args[1:]), given.get("Loader", "")}:
        wrong.add("yaml.load without SafeLoader")
    if given.get("shell", "False") != "False":
        wrong.add("shell=True")
    if given.get("trust_remote_code", "False") != "False" or given.get("weights_only") == "False":
        wrong.add("trust_remote_code" if "trust_remote_code" in given else "weights_only=False")
    if given.get("allow_pickle", "False") != "False":
        wrong.add("allow_pickle")
    owner, _, method = name.rpartition(".")
    reads = method == "from_pretrained" and owner.rpartition(".")[2] in READERS and FROM_GGUF not in given
    if reads and "trust_remote_code" not in given:
        wrong.add("from_pretrained that does not say trust_remote_code=False")
    if reads and "AutoModel" in owner and given.get("use_safetensors") != "True":
        wrong.add("from_pretrained that does not say use_safetensors=True")
    return wrong


def test_no_module_has_what_could_run_foreign_code() -> None:
    assert len(FILES) > 300
    found = {str(path.relative_to(SOURCE)): hazards(tree_of(path)) for path in FILES}
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import multiprocessing.x, dill",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "import os as system_\nsystem_.system(text)",
        "from os import system",
        "import torch\ntorch.load(path)",
        "from torch import load as read\nread(path)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, yaml.Loader)",
        "import yaml\nyaml.load(text, Loader=yaml.FullLoader)",
        "import yaml as y\ny.unsafe_load(text)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=shell)",
        "AutoConfig.from_pretrained(name, trust_remote_code=True)",
        "AutoConfig.from_pretrained(name, trust_remote_code=trusted)",
        "AutoTokenizer.from_pretrained(name)",
        "AutoModelForCausalLM.from_pretrained(name, trust_remote_code=False)",
        "np.load(path, allow_pickle=True)",
        "f(weights_only=False)",
    ],
)
def test_each_kind_is_seen(text: str) -> None:
    assert hazards(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "import yaml\nclass Own(yaml.SafeLoader): ...\nyaml.load(text, Own)",
        "import yaml\nyaml.safe_load(text)",
        "import re\nre.compile(text)",
        "model.eval()",
        "from .code import x",
        "subprocess.run([text], shell=False)",
        "AutoModelForCausalLM.from_pretrained(name, trust_remote_code=False, use_safetensors=True)",
    ],
)
def test_what_is_harmless_passes(text: str) -> None:
    assert hazards(ast.parse(text)) == []
