"""Which tests share a process, and which start first."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
# They take longest: whatever is left at the end should be short.
_FIRST = ("road", "retrain", "publish", "download_model")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests run in one process, so that its fixtures (trained models, a Prefect server) are made once."""

    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(_TESTS).parts[0]

    items.sort(key=lambda item: _FIRST.index(folder(item)) if folder(item) in _FIRST else len(_FIRST))
    for item in items:
        if folder(item) in _FIRST:
            item.add_marker(pytest.mark.xdist_group(folder(item)))
