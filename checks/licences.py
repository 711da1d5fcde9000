"""The packages that Creditree needs, with versions and licences, as a page: ``docs/dependencies.md``.

``python -m checks.licences > docs/dependencies.md`` writes it, ``python -m checks.licences --check`` (in `make check`)
compares it with what pyproject.toml, constraints.txt and the metadata of the installed packages say, and refuses a
licence that is not known to go together with Apache-2.0. No network is asked.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dependencies.md"
EXTRAS = ("quant", "gguf", "wandb", "tensorboard", "trackio")
"""What users may ask for; `dev` and `docs` are for those who work on Creditree, and nothing of them is shipped."""
PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD",
        "BSL-1.0",
        "CC0-1.0",
    }
    | {"CNRI-Python", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "ZPL-2.1"}
)
FILE_LEVEL = frozenset({"MPL-2.0"})
"""Copyleft of their own files only: they may be used unchanged, as here, under any licence of the whole."""
SPELLINGS: Mapping[str, str] = {
    "apache": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache 2.0 license": "Apache-2.0", "apache license 2.0":
    "Apache-2.0", "apache license, version 2.0": "Apache-2.0", "apache software license": "Apache-2.0",
    "bsd": "BSD", "bsd license": "BSD", "3-clause bsd license": "BSD-3-Clause", "bsd 3-clause": "BSD-3-Clause",
    "bsd-3-clause license": "BSD-3-Clause", "isc license": "ISC", "mit license": "MIT",
    "isc license (iscl)": "ISC",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense", "zlib/libpng license": "Zlib",
}  # fmt: skip
LONGEST = 60
"""Letters of a licence's name: more are its text."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package by the name that it gives itself; `version` as constraints.txt pins it."""

    name: str
    version: str
    licence: str


def needed(requirements: Iterable[str], versions: Mapping[str, str], seen: dict[str, str]) -> Iterator[str]:
    """Yield the canonical names of what requirements lead to, here and now, each once; `seen` remembers them.

    What has no tested version is of this environment, and is left out.
    """
    for requirement in map(Requirement, requirements):
        name, asked = canonicalize_name(requirement.name), {"", *requirement.extras}
        if name not in versions or (name in seen and asked == {""}):
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if name not in seen:
            seen[name] = found.metadata["Name"]
            yield name
        wanted = (one for one in map(Requirement, found.requires or ()) if _applies(one, asked))
        plain = (f"{one.name}[{','.join(sorted(one.extras))}]" if one.extras else one.name for one in wanted)
        yield from needed(plain, versions, seen)


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def licence_of(name: str) -> str:
    """Return a package's licence as an SPDX expression where it is one; "" where it says none."""
    metadata = distribution(name).metadata
    expression = metadata["License-Expression"]
    if expression:
        return str(expression)
    classifiers = [one for one in metadata.get_all("Classifier") or () if one.startswith("License :: OSI Approved :: ")]
    stated = [metadata["License"] or "", *(one.rpartition(" :: ")[2] for one in classifiers)]
    named = (" ".join(one.split()) for one in stated if len(one) <= LONGEST)
    return next(filter(None, (SPELLINGS.get(one.lower(), one) for one in named)), "")


def is_compatible(licence: str) -> bool:
    """Return whether a work under Apache-2.0 may need what is under this licence: one branch of OR, all of AND."""
    branches = re.split(r"\s+OR\s+", licence.replace("(", "").replace(")", ""), flags=re.IGNORECASE)
    known = PERMISSIVE | FILE_LEVEL
    return any(all(part.strip() in known for part in re.split(r"\s+AND\s+", branch)) for branch in branches)


def pinned() -> dict[str, str]:
    """Return the versions of constraints.txt by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in pairs}


def packages() -> dict[str, list[Package]]:
    """Return what Creditree needs, and what each extra adds, by heading."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions, seen = pinned(), dict[str, str]()
    sections = {"": project["dependencies"], **{extra: project["optional-dependencies"][extra] for extra in EXTRAS}}
    found: dict[str, list[Package]] = {}
    for heading, requirements in sections.items():
        names = sorted(needed(requirements, versions, seen))
        found[heading] = [Package(seen[name], versions[name], licence_of(name)) for name in names]
    return found


def page(found: Mapping[str, list[Package]]) -> str:
    """Return the page."""
    lines = [
        "# What Creditree needs",
        "",
        "Made by `python -m checks.licences > docs/dependencies.md` from `pyproject.toml`, the tested versions in",
        "`constraints.txt` and what the packages say of themselves; `make check` compares it with them. Creditree's",
        "own licence is Apache-2.0. None of these packages is copied into it. `MPL-2.0` is copyleft of a package's own",
        "files and asks nothing of who uses them unchanged; a licence with more than that is refused by `make check`.",
        "",
        "The list is of Linux, with torch's CPU build. Its CUDA build brings NVIDIA's libraries, under NVIDIA's own",
        "licences. `make audit` asks for known vulnerabilities of all of them.",
    ]
    for heading, own in found.items():
        title = "Always" if not heading else f"With the extra `{heading}`"
        lines += ["", f"## {title}", ""]
        lines += ["| package | version | licence |", "|---|---|---|"] if own else ["Not among the tested versions."]
        lines += [f"| {one.name} | {one.version} | {one.licence or 'not stated'} |" for one in own]
    return "\n".join(lines) + "\n"


def problems(found: Mapping[str, list[Package]]) -> list[str]:
    """Return what is wrong, a sentence each."""
    wrong = [
        f"{one.name} is under {one.licence or 'no stated licence'}, which is not known to go with Apache-2.0: leave it "
        "out, or add its licence to checks/licences.py with the reason."
        for own in found.values()
        for one in own
        if not is_compatible(one.licence)
    ]
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page(found):
        wrong.append("docs/dependencies.md is not in step: run python -m checks.licences > docs/dependencies.md.")
    return wrong


def main(arguments: list[str]) -> int:
    """Print the page, or with ``--check`` what is wrong."""
    found = packages()
    if arguments != ["--check"]:
        print(page(found), end="")
        return 0
    wrong = problems(found)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
