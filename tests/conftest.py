"""Which tests share a process, and which start first."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
# They take longest: whatever is left at the end should be short.
_FIRST = ("road", "operate", "retrain", "retrain processes", "publish", "download_model")
# Of `retrain`: these mostly wait for processes of their own.
_START_PROCESSES = ("test_strategy.py", "test_checkpoints.py", "test_train.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests run in one process, so that its fixtures (trained models, a Prefect server) are made once."""

    def group(item: pytest.Item) -> str:
        folder = item.path.relative_to(_TESTS).parts[0]
        return "retrain processes" if folder == "retrain" and item.path.name in _START_PROCESSES else folder

    items.sort(key=lambda item: _FIRST.index(group(item)) if group(item) in _FIRST else len(_FIRST))
    for item in items:
        if group(item) in _FIRST:
            item.add_marker(pytest.mark.xdist_group(group(item)))
