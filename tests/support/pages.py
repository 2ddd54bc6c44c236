"""The pages of the documentation: every README.md of the repository, as tests read it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tests.support.running import REPOSITORY

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.M)
_LINK = re.compile(r"!?\[(?:[^\]]|\](?!\())*\]\((?P<target>[^)\s]+)\)")
_CODE_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Page:
    """One page; `path` is relative to the root of the repository."""

    path: str

    @cached_property
    def text(self) -> str:
        return (REPOSITORY / self.path).read_text()

    @cached_property
    def prose(self) -> str:
        """The page without its blocks of code."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Give the blocks of code in one language."""
        found = _FENCE.finditer(self.text)
        return [block["text"] for block in found if block["language"] == language]

    def code_spans(self) -> list[str]:
        """Give what the prose shows in the font of code."""
        return _CODE_SPAN.findall(self.prose)

    def code(self) -> str:
        """Give everything that the page shows in the font of code, one piece per line."""
        fenced = [block["text"] for block in _FENCE.finditer(self.text)]
        return "\n".join([*self.code_spans(), *fenced])

    def anchors(self) -> set[str]:
        """Give the anchors of the headings, as GitHub makes them."""
        anchors: set[str] = set()
        for heading in _HEADING.finditer(self.prose):
            kept = re.sub(r"[^\w\- ]", "", heading["text"].lower().strip())
            anchors.add(kept.replace(" ", "-"))
        return anchors

    def links(self) -> Iterator[str]:
        """Give the target of every link."""
        for link in _LINK.finditer(self.prose):
            yield link["target"]

    def rows(self, header: str) -> list[list[str]]:
        """Give the cells of the table whose first line begins with `header`."""
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith(header):
                next(lines)  # the line of dashes
                break
        else:
            raise AssertionError(f"{self.path} has no table {header!r}")
        rows: list[list[str]] = []
        for line in lines:
            if not line.startswith("|"):
                break
            cells = re.split(r"(?<!\\)\|", line.strip("|"))
            rows.append([cell.strip() for cell in cells])
        return rows


def commands(block: str) -> list[str]:
    """Split a block of shell into its commands, each with the lines that continue it."""
    found: list[str] = []
    lines = iter(block.splitlines())
    for line in lines:
        command = line
        while command.endswith(("\\", "|")):
            command += "\n" + next(lines)
        if command.strip() and not command.startswith("#"):
            found.append(command)
    return found


def _find_pages() -> list[Page]:
    folders = [REPOSITORY / name for name in ("orderapi", "deploy", "tests")]
    paths = [REPOSITORY / "README.md"]
    for folder in folders:
        paths += sorted(
            path for path in folder.rglob("README.md") if "node_modules" not in path.parts
        )
    return [Page(str(path.relative_to(REPOSITORY))) for path in paths]


PAGES = _find_pages()
BY_PATH = {page.path: page for page in PAGES}
