"""The inputs that both sides of a benchmark share, made by hubtune's own blocks.

One data set becomes a folder with `rows/` and `tokens/` (as the artifacts of those kinds hold them), `texts/` (the same
rows as CSV, for the peers) and `ready.json`; the pretrained model is converted once for all of them.
"""

import csv
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.report import SPLITS
from schemas.handoff import ModelFacts

MAX_LENGTH = 128
# Of the shuffle that decides which rows a subset holds.
_SEED = 0


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Args:
        folder: with rows/, tokens/ and texts/.
        model: a `model` artifact's folder.
        facts: the model's.
    """

    folder: Path
    model: Path
    facts: ModelFacts

    @classmethod
    def read(cls, folder: Path) -> "Prepared":
        """What `prepare` left in a folder."""
        ready = json.loads((folder / "ready.json").read_text(encoding="utf-8"))
        return cls(folder, Path(ready["model"]), ModelFacts.model_validate(ready["facts"]))

    @property
    def rows(self) -> Path:
        """The `rows` artifact's folder."""
        return self.folder / "rows"

    @property
    def tokens(self) -> Path:
        """The `tokens` artifact's folder."""
        return self.folder / "tokens"

    @property
    def texts(self) -> Path:
        """The same rows as CSV files."""
        return self.folder / "texts"


def prepare(work: Path, data: Path, rows: int | None) -> Prepared:
    """Convert the starter, take a part of the training file, clean and tokenise; nothing that is there already.

    Args:
        work: where prepared data sets and the model lie.
        data: folder with train.csv, validation.csv, test.csv (columns text, label) and labels.json.
        rows: so many rows of the training file, the first of a fixed shuffle; None: all of them, as they are.

    Returns:
        The prepared data set. Both sides get the rows that hubtune's cleaning keeps.
    """
    from schemas.data_recipe import DataRecipe
    from schemas.recipe import PreprocessRecipe
    from tasks.download_data.read import read
    from tasks.preprocess.clean import preprocess
    from tasks.preprocess.texts import raw_shards
    from tasks.retrain.tokenise import tokenise

    work, data = work.resolve(), data.resolve()
    model, facts = _model(work)
    folder = work / f"{data.name}-{rows or 'all'}-{model.name}"
    if (folder / "ready.json").exists():
        return Prepared.read(folder)
    files = {split: data / f"{split}.csv" for split in SPLITS}
    for name in ("raw", "rows", "quarantine", "tokens", "texts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if rows is not None:
        files["train"] = _part(files["train"], rows, folder / "train.csv")
    labels = json.loads((data / "labels.json").read_text(encoding="utf-8"))
    recipe = DataRecipe.model_validate({split: str(path) for split, path in files.items()} | {"labels": labels})
    read(recipe, folder / "raw", _say)
    preprocess(
        raw_shards(folder / "raw"),
        PreprocessRecipe(),
        recipe,
        None,
        folder / "rows",
        folder / "quarantine",
        _say,
    )
    tokenise(model, folder / "rows", MAX_LENGTH, facts.max_positions, folder / "tokens", _say)
    _write_texts(folder)
    (folder / "ready.json").write_text(json.dumps({"model": str(model), "facts": facts.model_dump()}))
    return Prepared.read(folder)


def _model(work: Path) -> tuple[Path, ModelFacts]:
    from tasks.download_model import starter

    identity = hashlib.sha256(json.dumps(starter.fingerprint(), sort_keys=True).encode()).hexdigest()[:8]
    folder = work / identity
    facts = folder / "facts.json"
    if not facts.exists():
        folder.mkdir(parents=True, exist_ok=True)
        facts.write_text(starter.provide(folder, _say).model_dump_json(), encoding="utf-8")
    return folder, ModelFacts.model_validate_json(facts.read_text(encoding="utf-8"))


def _part(source: Path, rows: int, target: Path) -> Path:
    import numpy as np

    with source.open(encoding="utf-8", newline="") as file:
        header, *records = csv.reader(file)
    kept = [records[position] for position in np.random.default_rng(_SEED).permutation(len(records))[:rows]]
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *kept])
    return target


def _write_texts(folder: Path) -> None:
    import polars as pl

    for split in SPLITS:
        table: Any = pl.read_parquet(folder / "rows" / f"{split}.parquet", columns=["text", "label"])
        with (folder / "texts" / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([table.columns, *table.rows()])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
