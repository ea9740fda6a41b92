"""docs/errors.md lists every error as the code has it; `python -m tests.docs.test_errors_page` prints the page."""

import inspect
from pathlib import Path

from hubtune.errors import HubtuneError

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

INTRODUCTION = """# Errors

Whatever goes wrong for a reason that is known ends as one of these. Each says what was wrong, `where:` that came from,
and what to do (`remedy:`): as the first lines of a failed run's state, on the command line, and with `--json` as
`{"error": {"type", "what", "where", "remedy"}}`. [Debug a failed step](how-to/failed-step.md) has the way from there.

Status is that of the command line: 1, a run failed; 2, the input was wrong and nothing was started. Tried again are
tasks that fail with an error of which it can help: three times, long ones once, with growing pauses.

| error | status | tried again | what it says |
| --- | --- | --- | --- |
"""


def page() -> str:
    return INTRODUCTION + "".join(map(_row, _family(HubtuneError)[1:]))


def _row(kind: type[HubtuneError]) -> str:
    parent = kind.__mro__[1]
    of = "" if parent is HubtuneError else f" A kind of `{parent.__name__}`."
    text = " ".join(inspect.cleandoc(kind.__doc__ or "").split())
    return f"| `{kind.__name__}` | {kind.exit_status} | {'yes' if kind.retryable else 'no'} | {text}{of} |\n"


def _family(kind: type[HubtuneError]) -> list[type[HubtuneError]]:
    children = [child for child in kind.__subclasses__() if child.__module__ == HubtuneError.__module__]
    return [kind, *(relative for child in children for relative in _family(child))]


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    print(page(), end="")
