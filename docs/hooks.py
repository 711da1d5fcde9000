"""What MkDocs asks while it builds the site: pages from outside `docs/`, and links as they are in the repository.

README, CHANGELOG, PAPERS, the recipes and the examples stay where readers of the repository look for them, and are
pages of the site too. Links are written for the repository; here they are turned to the pages of the site. What is in
the repository and not on the site (raw results, sources) is named, without a link; what is nowhere stays as it is, and
the strict build fails.
"""

import posixpath
import re
from ast import get_docstring, parse
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {"README.md": "index.md", "README.ja.md": "ja/index.md"}
"""Documents of the repository that lie elsewhere on the site; all others keep their place."""
PATTERNS = ("*.md", "recipes/*/*.md", "recipes/*/*.png", "examples/*.py")
_FENCE = re.compile(r"^ *(```|~~~)")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside `docs/`: documents and pictures as they are, examples as pages."""
    for path in sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern)):
        place = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            files.append(File.generated(config, f"{place.removesuffix('.py')}.md", content=_example(path)))
        else:
            files.append(File.generated(config, OUTSIDE.get(place, place), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with its links turned to the site's."""
    here = _in_repository(page.file.src_uri)
    lines, fenced = [], False
    for line in markdown.splitlines():
        fenced ^= bool(_FENCE.match(line))
        lines.append(line if fenced else _LINK.sub(lambda link: _turned(link, here, page, files), line))
    return "\n".join(lines)


def _turned(link: re.Match[str], here: str, page: Page, files: Files) -> str:
    sign, text, target = link.groups()
    path, mark, anchor = target.partition("#")
    if not path or "://" in path:
        return link.group()
    place = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
    known = files.get_file_from_path(_on_site(place))
    if known is not None:
        there = posixpath.relpath(known.src_uri, posixpath.dirname(page.file.src_uri) or ".")
        return f"{sign}[{text}]({there}{mark}{anchor})"
    return text if (ROOT / place).exists() else link.group()


def _in_repository(uri: str) -> str:
    """Return where a page of the site lies in the repository."""
    back = {there: here for here, there in OUTSIDE.items()}
    if uri in back:
        return back[uri]
    return f"docs/{uri}" if (ROOT / "docs" / uri).exists() else uri


def _on_site(place: str) -> str:
    """Return where a file of the repository lies on the site."""
    if place.startswith("examples/"):
        return place.removesuffix(".py") + ".md"
    return OUTSIDE.get(place, place.removeprefix("docs/"))


def _example(path: Path) -> str:
    """Return an example as a page: its title from its docstring, and the whole file."""
    source = path.read_text(encoding="utf-8")
    title = (get_docstring(parse(source)) or path.stem).splitlines()[0].rstrip(".")
    return f"# {title.partition(':')[0]}\n\n`examples/{path.name}`\n\n```python\n{source}```\n"
