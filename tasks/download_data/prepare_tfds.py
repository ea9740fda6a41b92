"""Downloads a data set and prepares it as TensorFlow Datasets does; in a process of its own, since that is its code."""

import contextlib
import sys
from typing import Any

from hubtune.errors import InvalidData, SourceUnavailable
from hubtune.progress import Say
from tasks.fresh_process import serve

# TensorFlow Datasets tries ten times, with waits that double: it takes 200 s to tell that there is no network.
_RETRIES = 3


def prepare(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Download and prepare one.

    Args:
        request: `name`, name[/configuration][:version]; `root`, where data sets lie; `where`, for messages.
        say: takes progress lines.

    Returns:
        Nothing.

    Raises:
        InvalidData: there is no data set of that name, or it cannot be downloaded by a program.
        SourceUnavailable: a server did not answer.
    """
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    downloader.MAX_RETRIES = _RETRIES
    name, where = request["name"], request["where"]
    try:
        builder = tfds.builder(name, data_dir=request["root"])
    except (tfds.core.registered.DatasetNotFoundError, ValueError, AssertionError) as error:
        raise InvalidData(
            f"TensorFlow Datasets knows no {name}: {_first_line(error)}",
            where=where,
            remedy="Correct the name, configuration or version; see https://www.tensorflow.org/datasets/catalog.",
        ) from error
    if builder.builder_config is not None and "/" not in name:
        configurations = ", ".join(sorted(builder.builder_configs))
        raise InvalidData(
            f"The data set {name} has several configurations: {configurations}.",
            where=where,
            remedy=f"Name one of them: tfds:{name}/{builder.builder_config.name}.",
        )
    say(f"Downloading and preparing {builder.info.full_name} in {request['root']}")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except (requests.RequestException, tfds.download.DownloadError, ConnectionError) as error:
        raise SourceUnavailable(
            f"The data set could not be downloaded: {_first_line(error)}",
            where=where,
            remedy="check the network; or prepare it elsewhere, copy the folder and set data.data_dir",
        ) from error
    except AssertionError as error:  # a download that somebody has to do by hand
        raise InvalidData(
            f"The data set cannot be prepared: {_first_line(error)}",
            where=where,
            remedy="Prepare it as its page in the catalogue says, and set data.data_dir.",
        ) from error
    return {}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    serve(prepare)
