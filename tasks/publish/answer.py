"""A SavedModel's answers, from a process in which nothing but TensorFlow and `hubtune.inference` is loaded."""

from pathlib import Path
from typing import Any

from hubtune.errors import ExportFailed, HubtuneError
from hubtune.inference.classifier import Classifier
from hubtune.progress import Say
from tasks.fresh_process import serve


def _work(request: dict[str, Any], _: Say) -> dict[str, Any]:
    try:
        classifier = Classifier.from_folder(Path(request["folder"]), "tensorflow")
        answers = classifier.predict(request["texts"])
    except HubtuneError as error:
        raise ExportFailed(
            f"the SavedModel does not answer in a fresh process:\n{error}",
            where="python -m tasks.publish.answer",
            remedy="nothing was published; report this, with the recipe",
        ) from error
    return {"answers": [answer.to_json() for answer in answers]}


if __name__ == "__main__":
    serve(_work)
