"""Which tests share a process, and which start first."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
# They take longest: whatever is left at the end should be short.
_FIRST = ("operate", "faults", "road", "retrain", "up", "retrain processes", "publish", "download_model")
# Files that are a group of their own: they share no fixture that is dear with the rest of their folder.
_APART = {
    "retrain/test_strategy.py": "retrain processes",
    "retrain/test_checkpoints.py": "retrain processes",
    "retrain/test_train.py": "retrain processes",
    "operate/test_up.py": "up",
    "operate/test_up_postgresql.py": "up",
    "road/test_faults.py": "faults",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests run in one process, so that its fixtures (trained models, a Prefect server) are made once."""

    def group(item: pytest.Item) -> str:
        path = item.path.relative_to(_TESTS)
        return _APART.get(path.as_posix(), path.parts[0])

    items.sort(key=lambda item: _FIRST.index(group(item)) if group(item) in _FIRST else len(_FIRST))
    for item in items:
        if group(item) in _FIRST:
            item.add_marker(pytest.mark.xdist_group(group(item)))
