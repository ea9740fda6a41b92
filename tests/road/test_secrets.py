"""Passwords that a recipe only names."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
from prefect.blocks.system import Secret
from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data.task import _password

Secret(value="s3cret").save("questions-database")

def password(block):
    database = {"source": "postgresql://h/db", "query": "SELECT 1", "password_block": block}
    return _password(DataRecipe.model_validate(database))

assert password(None) is None
assert password("questions-database") == "s3cret"
try:
    password("no-such-block")
except InvalidData as error:
    print(error)
"""


@pytest.mark.slow
def test_the_password_is_read_from_the_block_that_is_named(prefect_server: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | prefect_server, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "no Prefect secret block named 'no-such-block'" in result.stdout
    assert "s3cret" not in result.stdout + result.stderr
