"""The import rules of the layout, and what must not be loaded just because something was imported."""

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "tf_keras", "tensorflow_hub", "tensorflow_text", "tf2onnx", "onnx")


def test_import_rules() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("hubtune.cli.app", (*HEAVY, "prefect", "polars", "pandera", "onnxruntime", "pydantic", "gcsfs")),
        ("hubtune.storage", (*HEAVY, "prefect", "polars", "pandera", "gcsfs", "onnxruntime")),
        ("hubtune.inference", (*HEAVY, "prefect", "polars", "pandera", "gcsfs")),
        ("deployments.metrics", (*HEAVY, "prefect", "polars", "pandera", "onnxruntime", "gcsfs")),
        ("schemas.recipe", (*HEAVY, "prefect", "polars", "gcsfs")),
        ("flows.retrain", (*HEAVY, "polars", "pandera", "onnxruntime", "gcsfs", "sklearn")),
    ],
)
def test_heavy_packages_stay_out(module: str, unwanted: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(' '.join(name for name in {unwanted!r} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
