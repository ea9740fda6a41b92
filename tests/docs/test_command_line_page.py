"""docs/command-line.md says of each command what it takes; `python -m tests.docs.test_command_line_page` prints it."""

from pathlib import Path

import typer.main
from typer.core import TyperArgument, TyperGroup, TyperOption

from hubtune.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"

INTRODUCTION = """# The command line

`hubtune COMMAND --help` says the same as this page. In a checkout the command is `.venv/bin/hubtune`.

Status 0: done; 1: a run failed; 2: the input was wrong, and nothing was started. What was wrong goes to stderr; the
report of a run goes to stdout, also where it failed. With `--json` stdout holds one JSON value and nothing else, also
where there is an [error](errors.md).

| variable | what it sets |
| --- | --- |
| `HUBTUNE_STORE` | the store: a folder, or `gs://bucket/prefix`; `~/.hubtune/store` unless set |
| `HUBTUNE_CACHE` | where files of a bucket are kept that were read; `~/.cache/hubtune` unless set |
| `HUBTUNE_DASK` | a Dask cluster for shards of rows and texts: `tcp://scheduler:8786`, or `local` |
| `HUBTUNE_AUTH` | `user:password` of the Prefect server |
| `HUBTUNE_ALERTS` | where `hubtune up` has messages sent ([alerts](how-to/alerts.md)) |
| `PREFECT_API_URL` | the server that runs are recorded on; without it, a temporary one |
"""


def page() -> str:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    sections = [INTRODUCTION]
    for name, command in group.commands.items():
        taken = [param for param in command.params if isinstance(param, TyperArgument | TyperOption)]
        rows = [_row(param) for param in taken if param.name != "help"]
        table = "| | default | |\n| --- | --- | --- |\n" + "".join(rows) if rows else ""
        sections.append("\n".join([f"## hubtune {name}", "", command.help or "", *(["", table] if table else [""])]))
    return "\n".join(sections)


def _row(param: TyperArgument | TyperOption) -> str:
    if isinstance(param, TyperArgument):
        shown = param.metavar or (param.name.upper() if param.required else f"[{param.name.upper()}]")
        again = ""
    else:
        value = "" if param.is_flag else f" {param.metavar or param.opts[0].lstrip('-').upper()}"
        shown, again = param.opts[0] + value, " May be given several times." if param.multiple else ""
    allowed = f" From {param.min} to {param.max}." if param.min is not None and param.max is not None else ""
    allowed = allowed or (f" At least {param.min}." if param.min is not None else "")
    default = "" if param.default in (None, False, ()) or callable(param.default) else f"`{param.default}`"
    text = f"{param.help or ''}{allowed}{again}".replace("|", "\\|")
    return f"| `{shown}` | {default} | {text} |\n"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    print(page(), end="")
