"""Rows -> token ids, once, so that no training step handles strings."""

from pathlib import Path

from hubtune.inference.tokenizer import WordPieceTokenizer
from hubtune.progress import Progress, Say
from schemas.handoff import SPLITS, TokensFacts

# Texts that are encoded at a time: enough to keep all cores of the tokenizer busy, few enough for a live progress line.
_CHUNK = 8192


def tokenise(model: Path, rows: Path, max_length: int, folder: Path, say: Say) -> TokensFacts:
    """Turn every text of a `rows` artifact into the ids of its word pieces.

    Args:
        model: a `model` artifact with a `tokenizer/`.
        rows: a `rows` artifact.
        max_length: tokens per text, special ones included; the rest of a longer text is cut.
        folder: where the content of the `tokens` artifact is written.
        say: takes progress lines.

    Returns:
        How many texts and tokens there are, and the most tokens in one text.
    """
    import polars as pl

    tokenizer = WordPieceTokenizer.load(model / "tokenizer")
    tables = {split: pl.read_parquet(rows / f"{split}.parquet") for split in SPLITS}
    texts = sum(table.height for table in tables.values())
    tokens = longest = 0
    progress = Progress(say, "Tokenising", texts, "texts")
    for split, table in tables.items():
        ids: list[list[int]] = []
        for start in range(0, table.height, _CHUNK):
            chunk = table["text"][start : start + _CHUNK].to_list()
            ids += tokenizer.encode(chunk, max_length)
            progress.advance(len(chunk))
        column = pl.Series("ids", ids, dtype=pl.List(pl.Int32))
        table.select("key", column, "label").write_parquet(folder / f"{split}.parquet")
        tokens += sum(map(len, ids))
        longest = max(longest, *map(len, ids)) if ids else longest
    progress.finish()
    return TokensFacts(texts=texts, tokens=tokens, longest=longest)
