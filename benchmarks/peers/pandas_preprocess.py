"""The same work with pandas and pandera, as one would write it: `... FILE FOLDER`. Prints one JSON line.

Its splits are another hash's, so that its rows are not hubtune's row by row; how many it keeps is.
"""

import hashlib
import json
import re
import sys
import time
import unicodedata
from pathlib import Path

_SPACES = re.compile(r"\s+")
_HIDDEN = re.compile("[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2060-\u206f\ufeff\ufffd]")


def main(file: str, folder: Path) -> None:
    """Read, validate, normalise, deduplicate, split and write."""
    started = time.perf_counter()
    import pandas as pd
    import pandera.pandas as pa

    table = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""], encoding_errors="replace")
    was_read = time.perf_counter()
    bad_bytes = table["text"].str.contains("\ufffd", regex=False, na=False)
    table["clean"] = table["text"].map(_clean, na_action="ignore")
    table["class"] = table["label"].str.strip().map({"0": 0, "1": 1})
    reason = pd.Series(pd.NA, index=table.index, dtype="string")
    for words, holds in (
        ("undecodable bytes", bad_bytes),
        ("null text", table["text"].isna()),
        ("blank text", table["clean"] == ""),
        ("too long", table["clean"].str.len() > 10_000),
        ("unknown label", table["label"].notna() & table["class"].isna()),
        ("missing label", table["label"].isna()),
    ):
        reason = reason.mask(reason.isna() & holds, words)
    sound = table[reason.isna()]
    conflict = sound.groupby("clean")["class"].transform("nunique") > 1
    reason[sound.index[conflict]] = "conflicting labels"
    sound = sound[~conflict]
    reason[sound.index[sound["clean"].duplicated()]] = "duplicate"
    kept = table[reason.isna()].copy()
    digests = kept["clean"].map(lambda text: hashlib.blake2b(text.encode(), digest_size=16).digest())
    position = digests.map(lambda digest: int.from_bytes(digest[:8], "big") / 2**64)
    kept["key"] = digests
    kept["split"] = position.map(lambda at: "test" if at < 0.1 else "validation" if at >= 0.9 else "train")
    kept["class"] = kept["class"].astype("int32")
    pa.DataFrameSchema(
        {
            "clean": pa.Column(str, [pa.Check.str_length(min_value=1)], unique=True),
            "class": pa.Column("int32", pa.Check.isin([0, 1])),
            "split": pa.Column(str, pa.Check.isin(["train", "validation", "test"])),
        }
    ).validate(kept[["clean", "class", "split"]], lazy=True)
    for split, part in kept.groupby("split"):
        part[["key", "clean", "class"]].to_parquet(folder / f"{split}.parquet", compression="zstd", index=False)
    away = table[reason.notna()].assign(reason=reason[reason.notna()])
    away[["text", "label", "reason"]].to_parquet(folder / "quarantine.parquet", compression="zstd")
    report = {
        "program": "pandas",
        "read_seconds": was_read - started,
        "preprocess_seconds": time.perf_counter() - was_read,
        "rows_kept": len(kept),
    }
    print(json.dumps(report))


def _clean(text: str) -> str:
    return unicodedata.normalize("NFKC", _HIDDEN.sub("", _SPACES.sub(" ", text))).strip()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
