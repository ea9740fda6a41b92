"""docs/artifact-kinds.md says of each kind what schemas/handoff.py does; docs/artifacts.md lists all kinds.

`python -m tests.docs.test_artifact_pages` prints the first.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from schemas import handoff

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "artifact-kinds.md"
OVERVIEW = CHECKOUT / "docs" / "artifacts.md"

INTRODUCTION = """# Kinds of artifacts

What blocks hand to each other: the files of each kind of artifact, and the facts that travel with its address. They are
the contract between two blocks; `schemas/handoff.py` is where it is made, and where this page comes from.
[Artifacts and keys](artifacts.md) says which block makes which, and where they lie.
"""


def page() -> str:
    sections = [INTRODUCTION]
    for kind, facts in kinds():
        text = re.sub(r" \(kind `\w+`\)", "", inspect.cleandoc(facts.__doc__ or ""))
        rows = [f"| `{name}` | `{_shown(field.annotation)}` |" for name, field in facts.model_fields.items()]
        sections.append("\n".join([f"## {kind}", "", text, "", "| fact | type |", "| --- | --- |", *rows, ""]))
    figures = ", ".join(f"`{name}`" for name in handoff.Metrics.model_fields)
    sections.append(f"`Metrics` are {figures}.\n")
    return "\n".join(sections)


def kinds() -> Iterator[tuple[str, type[BaseModel]]]:
    """Kind and facts, in the order of the file."""
    for value in vars(handoff).values():
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == handoff.__name__:
            kind = re.search(r"\(kind `(\w+)`\)", value.__doc__ or "")
            if kind:
                yield kind[1], value


def _shown(annotation: object) -> str:
    text = inspect.formatannotation(annotation).replace("schemas.handoff.", "")
    return text.replace("Literal['train', 'validation', 'test']", "split").replace(" | ", " or ")


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_kind_that_is_stored_is_in_the_overview() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", OVERVIEW.read_text(encoding="utf-8"), re.MULTILINE)
    stored = {
        kind
        for path in (CHECKOUT / "tasks").rglob("*.py")
        for kind in re.findall(r'\.put\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert set(listed) == stored
    # What is handed from block to block has facts of its own; these two are read by the block that makes them.
    assert stored - {kind for kind, _ in kinds()} == {"checkpoint", "diverged"}


if __name__ == "__main__":
    print(page(), end="")
