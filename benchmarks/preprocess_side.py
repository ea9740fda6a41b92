"""Reads and preprocesses a file as blocks 2 and 3 do, without Prefect: `... FILE FOLDER`. Prints one JSON line."""

import json
import sys
import time
from pathlib import Path


def main(file: str, folder: Path) -> None:
    """Read the file into a `raw` folder, and preprocess that into `rows` and `quarantine`."""
    started = time.perf_counter()
    from schemas.data_recipe import DataRecipe
    from schemas.recipe import PreprocessRecipe
    from tasks.download_data.read import read
    from tasks.preprocess.clean import preprocess
    from tasks.preprocess.texts import raw_shards

    data = DataRecipe.model_validate({"source": file, "labels": {"0": "sincere", "1": "insincere"}})
    for name in ("raw", "rows", "quarantine"):
        (folder / name).mkdir()
    read(data, folder / "raw", lambda line: None)
    was_read = time.perf_counter()
    facts, _ = preprocess(
        raw_shards(folder / "raw"),
        PreprocessRecipe(),
        data,
        None,
        folder / "rows",
        folder / "quarantine",
        lambda line: None,
    )
    report = {
        "program": "hubtune",
        "read_seconds": was_read - started,
        "preprocess_seconds": time.perf_counter() - was_read,
        "rows_kept": facts.train + facts.validation + facts.test,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
