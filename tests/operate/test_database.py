"""Whether the server's database is one's own, whatever names it; and who is told of its password."""

from pathlib import Path

import pytest

from deployments.database import is_shared
from hubtune.cli.up import of_workers

POSTGRESQL = "postgresql+asyncpg://prefect:word@db.example.org/prefect"
PARTS = {"DRIVER": "postgresql+asyncpg", "HOST": "db.example.org", "USER": "prefect", "NAME": "prefect"}
PREFIXES = ("PREFECT_SERVER_DATABASE", "PREFECT_API_DATABASE")


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    for prefix in PREFIXES:
        for name in ("CONNECTION_URL", "PASSWORD", *PARTS):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_address_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: str) -> None:
    assert not is_shared(tmp_path)
    monkeypatch.setenv(f"{prefix}_CONNECTION_URL", f"sqlite+aiosqlite:///{tmp_path}/own.db")
    assert not is_shared(tmp_path)
    monkeypatch.setenv(f"{prefix}_CONNECTION_URL", POSTGRESQL)
    assert is_shared(tmp_path)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_parts_of_it_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: str) -> None:
    for name, value in PARTS.items():
        monkeypatch.setenv(f"{prefix}_{name}", value)
    assert is_shared(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("profiles.toml", f'active = "team"\n[profiles.team]\nPREFECT_API_DATABASE_CONNECTION_URL = "{POSTGRESQL}"\n'),
        ("prefect.toml", f'[server.database]\nconnection_url = "{POSTGRESQL}"\n'),
        ("pyproject.toml", f'[tool.prefect.server.database]\nconnection_url = "{POSTGRESQL}"\n'),
        (".env", f"PREFECT_SERVER_DATABASE_CONNECTION_URL={POSTGRESQL}\n"),
    ],
)
def test_a_file(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert is_shared(tmp_path)


def test_workers_are_not_told_of_it() -> None:
    told = {"PREFECT_API_URL": "http://127.0.0.1:4200/api", "PREFECT_API_AUTH_STRING": "ops:word", "HOME": "/home/ops"}
    kept = {f"{prefix}_{name}": "word" for prefix in PREFIXES for name in ("CONNECTION_URL", "PASSWORD")}
    kept |= {"prefect_api_database_password": "word", "HUBTUNE_AUTH": "ops:word", "HUBTUNE_ALERTS": "https://host/word"}
    assert of_workers(told | kept) == told
