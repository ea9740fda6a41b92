"""Writes both forms of a classifier, in a process of its own: `python -m tasks.publish.export`."""

import shutil
import time
from pathlib import Path
from typing import Any

from hubtune.progress import Say
from tasks.fresh_process import serve
from tasks.publish.classifier_graph import load_classifier
from tasks.publish.onnx_export import OPSET, export_onnx
from tasks.publish.saved_model_export import export_saved_model
from tasks.publish.text_operations import text_operations


def export(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Export the SavedModel, and the ONNX model with its tokenizer where ONNX can express the classifier.

    Args:
        request: `model`, `classifier` (folders of the artifacts), `folder` (where the files go) and `replace` (what is
            replaced in the texts).
        say: takes progress lines.

    Returns:
        `engine`: `onnx`, or `tensorflow` where there is a SavedModel alone.

    Raises:
        ExportFailed: an encoder could not be exported to ONNX.
    """
    model, folder = Path(request["model"]), Path(request["folder"])
    classifier = load_classifier(model, Path(request["classifier"]))
    started = time.monotonic()
    export_saved_model(classifier, model, folder, request["replace"])
    say(f"SavedModel written in {time.monotonic() - started:.1f} s")
    if classifier.trained.interface == "text_embedding":
        operations = ", ".join(text_operations(classifier.pretrained))
        say(
            f"published as a SavedModel alone, which needs TensorFlow to answer: the model takes text apart with "
            f"operations that ONNX (opset {OPSET}) does not have ({operations})"
        )
        return {"engine": "tensorflow"}
    started = time.monotonic()
    export_onnx(classifier, folder / "model.onnx")
    shutil.copytree(model / "tokenizer", folder / "tokenizer")
    size = (folder / "model.onnx").stat().st_size / 1e6
    say(f"ONNX model written in {time.monotonic() - started:.1f} s ({size:,.1f} MB)")
    return {"engine": "onnx"}


if __name__ == "__main__":
    serve(export)
