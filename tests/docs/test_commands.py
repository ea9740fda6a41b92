"""Every command on the pages is run by a test or named as one that none can run; each is one that there is."""

import re
import uuid
from pathlib import Path

import pytest
import typer.main
import yaml
from prefect.cli import _app as prefect_cli

from hubtune.cli.app import app
from schemas.recipe import Recipe
from tests.docs.pages import (
    CHECKOUT,
    FOLLOWED,
    LANGUAGES,
    NOT_RUN,
    PAGES,
    Command,
    commands,
    fences,
    inline_commands,
    text_of,
)

FOREIGN = {"gcloud", "mv", "nvidia-smi", "pip", "uv"}
# Named without what they take: "`hubtune predict` with one text".
NAMED = {Command(f"hubtune {name}") for name in ("predict", "tensorboard")}
# What a reader puts in the place of these words.
PLACEHOLDERS = {"ID": str(uuid.uuid4()), "...": ""}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    assert {fence.language for fence in fences(page)} <= set(LANGUAGES)
    # None was passed over.
    assert len(re.findall(r"^ *```", text_of(page), re.MULTILINE)) == 2 * len(fences(page))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run_or_it_is_said_why_not(page: str) -> None:
    listed = NOT_RUN.get(page, {})
    assert set(listed) <= {command.text for command in commands(page)}, "these are on the page no more"
    # The same command on a page that is followed is another one: its recipe and its environment are those of that page.
    for command in commands(page):
        assert page in FOLLOWED or not command.words or command.text in listed, (
            f"run {command.text!r} in tests/road/test_pages.py, or say in tests/docs/pages.py why it cannot be"
        )


def test_what_is_said_of_other_tests_holds() -> None:
    for page, listed in NOT_RUN.items():
        for command in commands(page):
            for name in re.findall(r"(?:tests|docs)/[\w/.-]+", listed.get(command.text, "")):
                assert _is_run_in(name, command), f"{name} does not run {command.text!r} of {page}"
    followed = (CHECKOUT / "tests" / "road" / "test_pages.py").read_text(encoding="utf-8")
    for page in FOLLOWED:
        assert f'"{page}"' in followed


def _is_run_in(name: str, command: Command) -> bool:
    """Whether a page has the same command and is followed; or a test has it, or each word that says what it does."""
    if name.endswith(".md"):
        return name in FOLLOWED and command in commands(name) and command.text not in NOT_RUN.get(name, {})
    content = (CHECKOUT / name).read_text(encoding="utf-8")
    _, *words = command.words
    options = [word for word in words if word.startswith("--")]
    first, *others = [word for word in words if word not in options]
    # Prefect's commands are two words (`worker start`), but for this one.
    second = others[:1] if "prefect" in command.words[0] and first != "deploy" else []
    return command.text in content or all(f'"{word}"' in content for word in [first, *second, *options])


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("tests/operate/test_alerts.py", "hubtune up --detach"),
        ("tests/operate/conftest.py", "prefect work-pool create default --type process"),
        ("docs/how-to/gcs.md", "hubtune retrain recipe.yaml"),
        ("docs/how-to/own-data.md", ".venv/bin/hubtune retrain recipe.yaml"),
    ],
)
def test_what_does_not_run_a_command_is_noticed(name: str, command: str) -> None:
    assert not _is_run_in(name, Command(command))


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) or inline_commands(page)])
def test_every_command_is_one_that_there_is(page: str) -> None:
    for command in [*commands(page), *inline_commands(page)]:
        if command.words:
            _parse(command)
        else:
            name = re.fullmatch(r"export ([A-Z_]+)=\S+", command.text)
            assert name is not None, command
            assert name[1].startswith(("HUBTUNE_", "PREFECT_", "UV_")), command


def _parse(command: Command) -> None:
    program, *arguments = command.words
    arguments = [filled for word in arguments if (filled := PLACEHOLDERS.get(word, word))]
    name = Path(program).name
    if name == "hubtune":
        group = typer.main.get_command(app)
        assert isinstance(group, typer.core.TyperGroup)
        if arguments == ["--help"]:
            return
        assert arguments[0] in group.commands, command
        if command in NAMED:
            return
        group.commands[arguments[0]].make_context(arguments[0], arguments[1:])
    elif name == "prefect":
        if arguments[0] == "--no-prompt":
            arguments = arguments[1:]
        prefect_cli._app.parse_args(arguments, exit_on_error=False, print_error=False)
    elif name == "make":
        targets = re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert arguments[0] in targets, command
    elif name == "python":
        assert arguments[0] == "-m", command
        source = (CHECKOUT / f"{arguments[1].replace('.', '/')}.py").read_text(encoding="utf-8")
        for option in (word for word in arguments[2:] if word.startswith("--")):
            assert f'"{option}"' in source, command
    else:
        assert name in FOREIGN, command


@pytest.mark.parametrize(
    "wrong", ["hubtune retrain --epochs 2", "hubtune promote it 1", "prefect worker begin", "make it", "hubtune up now"]
)
def test_a_command_that_there_is_not_is_noticed(wrong: str) -> None:
    with pytest.raises((AssertionError, Exception)) as raised:
        _parse(Command(wrong))
    assert not isinstance(raised.value, AttributeError | TypeError | NameError)


@pytest.mark.parametrize("page", [page for page in PAGES if any(each.language == "yaml" for each in fences(page))])
def test_every_recipe_is_valid(page: str) -> None:
    for fence in fences(page):
        if fence.language == "yaml":
            content = yaml.safe_load(fence.content)
            if "scrape_configs" not in content:
                Recipe.model_validate({"name": "of-a-page"} | content)
