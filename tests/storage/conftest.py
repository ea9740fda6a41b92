import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubtune.storage import Store
from tests.gcs_fake import GcsFake
from tests.gcs_fake import gcs as gcs  # a fixture


@dataclass
class Place:
    """A store's root, and a way to tamper with what lies there."""

    root: str
    folder: Path
    fake: GcsFake | None

    def open(self) -> Store:
        return Store.open(self.root)

    def names(self) -> list[str]:
        """Every file or object of the store that is meant to be seen, by its path below the root."""
        if self.fake:
            return self.fake.names()
        names = [file.relative_to(self.root).as_posix() for file in Path(self.root).rglob("*") if file.is_file()]
        return sorted(name for name in names if "/." not in name and not name.startswith("scratch/"))

    def read(self, name: str) -> bytes:
        return self.fake.stored(name).content if self.fake else (Path(self.root) / name).read_bytes()

    def overwrite(self, name: str, content: bytes) -> None:
        if self.fake:
            self.fake.overwrite(name, content)
        else:
            (Path(self.root) / name).write_bytes(content)

    def remove(self, name: str) -> None:
        if self.fake:
            del self.fake.buckets["bucket"][self.root.removeprefix("gs://bucket/") + "/" + name]
        else:
            (Path(self.root) / name).unlink()

    def forget_mirror(self) -> None:
        shutil.rmtree(os.environ["HUBTUNE_CACHE"], ignore_errors=True)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("HUBTUNE_CACHE", str(tmp_path / "mirror"))
    return Place(str(tmp_path / "store"), tmp_path, None)


@pytest.fixture
def in_bucket(tmp_path: Path, gcs: GcsFake) -> Place:
    return Place(gcs.root, tmp_path, gcs)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    """The same test on local disk and on Cloud Storage."""
    found: Place = request.getfixturevalue(f"in_{request.param}")
    return found
