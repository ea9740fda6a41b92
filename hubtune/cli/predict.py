"""`hubtune predict`: texts in, labels and probabilities out, from the command line or from a file to a file."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hubtune.errors import InvalidData, InvalidRecipe, SourceNotFound
from hubtune.inference import Classifier, Prediction

# Large enough to group texts by length, small enough that a file of any size passes through little memory.
_TEXTS_AT_ONCE = 4096


def run_predict(
    model: str, version: int | None, texts: Sequence[str], source: Path | None, output: Path | None, as_json: bool
) -> int:
    """Classify texts and write the answers.

    Args:
        model: name of a published model.
        version: its version, or None for the newest.
        texts: texts from the command line.
        source: a .txt, .jsonl or .csv file of texts.
        output: a .jsonl or .csv file for the answers; without it they are printed.
        as_json: print a JSON list.

    Returns:
        The exit status 0.

    Raises:
        InvalidRecipe: no texts, or a file of a kind that is not known.
        ModelNotFound: no such model or version.
    """
    if bool(texts) == bool(source):
        raise InvalidRecipe(
            "there are no texts to classify" if not texts else "texts and --input exclude each other",
            where="hubtune predict",
            remedy=f'give texts (hubtune predict {model} "a text") or a file (--input FILE)',
        )
    for path, kinds in ((source, _READERS), (output, _WRITERS)):
        if path and path.suffix not in kinds:
            raise InvalidRecipe(
                f"{path.name!r} is of no known kind", where=str(path), remedy=f"use one of {', '.join(sorted(kinds))}"
            )
    if source and not source.is_file():
        raise SourceNotFound(f"{str(source)!r} does not exist", where="--input", remedy="give the path of a file")
    classifier = Classifier.load(model, version)
    answers = _answers(classifier, _READERS[source.suffix](source) if source else texts)
    if output:
        with output.open("w", encoding="utf-8", newline="") as file:
            count = _WRITERS[output.suffix](file, answers, classifier.labels)
        if as_json:
            print(json.dumps({"texts": count, "output": str(output)}))
        else:
            Console().print(f"{count:,} texts classified: {output}", markup=False)
    elif as_json:
        print(json.dumps([_as_object(answer) for answer in answers], ensure_ascii=False))
    else:
        _print(answers, Console())
    return 0


def _answers(classifier: Classifier, texts: Iterable[str]) -> Iterator[Prediction]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, _TEXTS_AT_ONCE)):
        yield from classifier.predict(chunk)


def _read_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n")


def _read_jsonl(path: Path) -> Iterator[str]:
    for number, line in enumerate(_read_lines(path), start=1):
        if line.strip():
            yield _text_of(json.loads(line), path, number)


def _read_csv(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            yield _text_of(row, path, number)


def _text_of(row: object, path: Path, number: int) -> str:
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise InvalidData(
            "a row has no field `text` that holds a text",
            where=f"{path}, row {number}",
            remedy="name the column `text`",
        )
    return text


def _write_jsonl(file: TextIO, answers: Iterable[Prediction], labels: Sequence[str]) -> int:
    count = 0
    for answer in answers:
        file.write(json.dumps(_as_object(answer), ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_csv(file: TextIO, answers: Iterable[Prediction], labels: Sequence[str]) -> int:
    writer = csv.writer(file)
    writer.writerow(["text", "label", *(f"probability_{label}" for label in labels)])
    count = 0
    for answer in answers:
        writer.writerow([answer.text, answer.label, *(answer.probabilities[label] for label in labels)])
        count += 1
    return count


_READERS = {".txt": _read_lines, ".jsonl": _read_jsonl, ".csv": _read_csv}
_WRITERS = {".jsonl": _write_jsonl, ".csv": _write_csv}


def _as_object(answer: Prediction) -> dict[str, object]:
    return {"text": answer.text, "label": answer.label, "probabilities": answer.probabilities}


def _print(answers: Iterable[Prediction], console: Console) -> None:
    table = Table("Text", "Label", "Probability")
    table.columns[2].justify = "right"
    for answer in answers:
        table.add_row(escape(answer.text), escape(answer.label), f"{answer.probabilities[answer.label]:.3f}")
    console.print(table)
