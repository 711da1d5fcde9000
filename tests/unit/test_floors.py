"""What no import contract can say: below the doors nothing names an option, prints, or exits.

And nothing asks a path what it is in a way that raises for a name that no file can have: a user may have named it.
"""

import ast
import re

from tests.sources import FILES, SOURCE, tree_of

DOORS = {"cli", "__main__.py"}
OPTION = re.compile(r"(?<![-\w`.])--[a-z][a-z-]+")
OF_OTHERS = {
    "engines/native/compiler.py",  # a compiler's
    "engines/vllm/adapters.py",  # those that a server is started with
    "engines/vllm/command.py",  # vLLM's
    "export/gguf.py",  # the converter's
    "report/card.py",  # a document that shows the command that made it
    "runs/environment.py",  # those of git and nvidia-smi
    "verify/sandbox.py",  # docker's
}
PROGRAMS = {"engines/vllm/lifeline.py"}
"""Run as a process of its own: its exit code is its answer."""
PROBES = {"is_file", "is_dir", "exists"}
CATCHING = {
    "engines/native/cache.py",  # its own folder
    "models/directory.py",  # says why a name cannot be looked for
    "tasks/files.py",  # says why a file cannot be read
}
BELOW = [path for path in FILES if path.relative_to(SOURCE).parts[0] not in DOORS]


def named_options(tree: ast.Module) -> list[str]:
    """Return the options that string literals of a program name, its docstrings left out."""
    documented: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented.add(id(node.body[0].value))  # type: ignore[attr-defined]
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [found for node in texts if id(node) not in documented for found in OPTION.findall(str(node.value))]


def ends(tree: ast.Module) -> set[str]:
    """Return what a program calls or raises that prints on standard output, or ends the process."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found |= set() if any(keyword.arg == "file" for keyword in node.keywords) else {"print"}
        if isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node):
            found.add("SystemExit")
        if isinstance(node, ast.Attribute) and node.attr == "exit" and ast.unparse(node) == "sys.exit":
            found.add("sys.exit")
    return found


def test_below_the_doors_nothing_names_an_option_prints_or_exits() -> None:
    for path in BELOW:
        tree = tree_of(path)
        if str(path.relative_to(SOURCE)) not in OF_OTHERS:
            assert named_options(tree) == [], path
        if str(path.relative_to(SOURCE)) not in PROGRAMS:
            assert ends(tree) == set(), path


def probed(tree: ast.Module) -> list[str]:
    """Return the calls by which a program asks a path what it is with pathlib's methods."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and not node.args)
    return [ast.unparse(call) for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in PROBES]


def test_paths_are_asked_what_they_are_by_one_module() -> None:
    for path in FILES:
        if str(path.relative_to(SOURCE)) not in CATCHING:
            assert probed(tree_of(path)) == [], path
    assert probed(ast.parse("(a / 'b').is_file()")) == ["(a / 'b').is_file()"]


def test_the_check_can_fail() -> None:
    assert named_options(ast.parse('raise ValueError(f"{path}: add --out DIR")')) == ["--out"]
    assert named_options(ast.parse('"""The command line has --out for it."""')) == []
    found = ends(ast.parse("import sys\nprint(1)\nsys.exit(2)\nraise SystemExit(3)"))
    assert found == {"print", "sys.exit", "SystemExit"}


def test_the_command_line_is_thin() -> None:
    lines = [line for path in (SOURCE / "cli").rglob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) <= 1414
