"""`hubtune predict`: texts in, labels and probabilities out, from the command line or from a file to a file."""

import csv
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hubtune.errors import InvalidData, InvalidRecipe, UnexpectedFailure
from hubtune.inference import Classifier, Prediction
from hubtune.inference.classifier import Text

# Large enough to group texts by length, small enough that a file of any size passes through little memory.
_TEXTS_AT_ONCE = 4096


def run_predict(
    model: str, version: int | None, texts: Sequence[str], source: Path | None, output: Path | None, as_json: bool
) -> int:
    """Classify texts and write the answers.

    Args:
        model: name of a published model.
        version: its version, or None for the newest.
        texts: texts from the command line; for a model of pairs, each two are one.
        source: a .txt, .jsonl or .csv file of texts.
        output: a .jsonl or .csv file for the answers; without it they are printed. It appears, or is replaced, when all
            answers are in, so it may be the input file too.
        as_json: print a JSON list.

    Returns:
        The exit status 0.

    Raises:
        InvalidRecipe: no texts, a file of a kind that is not known or cannot hold pairs, no such input file, or no way
            to write the output.
        InvalidData: a line or row of the input file cannot be read.
        UnexpectedFailure: the answers could not be written to the end, for instance because the disk is full.
        ModelNotFound: no such model or version.
    """
    if bool(texts) == bool(source):
        raise InvalidRecipe(
            "there are no texts to classify" if not texts else "texts and --input exclude each other",
            where="hubtune predict",
            remedy=f'give texts (hubtune predict {model} "a text") or a file (--input FILE)',
        )
    for path, kinds in ((source, {".txt", *_READERS}), (output, set(_WRITERS))):
        if path and path.suffix not in kinds:
            raise InvalidRecipe(
                f"{path.name!r} is of no known kind", where=str(path), remedy=f"use one of {', '.join(sorted(kinds))}"
            )
    if source:
        _check_source(source)
    classifier = Classifier.load(model, version)
    answers = _answers(classifier, _read(source, classifier) if source else _given(texts, classifier))
    if output:
        with _replacing(output) as file:
            count = _WRITERS[output.suffix](file, answers, classifier)
        if as_json:
            print(json.dumps({"texts": count, "output": str(output)}))
        else:
            Console().print(f"{count:,} texts classified: {output}", markup=False)
    elif as_json:
        print(_encodable(json.dumps([_as_object(answer) for answer in answers], ensure_ascii=False)))
    else:
        _print(answers, classifier, Console())
    return 0


def _read(source: Path, classifier: Classifier) -> Iterator[Text]:
    if source.suffix != ".txt":
        yield from _READERS[source.suffix](source, classifier.pairs)
    elif classifier.pairs:
        raise InvalidRecipe(
            f"{classifier.name} classifies pairs of texts, and a line of {source.name!r} holds one",
            where="--input",
            remedy="give a .jsonl or .csv file with the fields text and text_pair",
        )
    else:
        yield from _read_lines(source)


def _given(texts: Sequence[str], classifier: Classifier) -> Sequence[Text]:
    if not classifier.pairs:
        return texts
    if len(texts) % 2:
        raise InvalidRecipe(
            f"{classifier.name} classifies pairs of texts, and {len(texts)} texts are an odd number",
            where="hubtune predict",
            remedy=f'give two texts for each pair: hubtune predict {classifier.name} "a text" "another"',
        )
    return list(zip(texts[::2], texts[1::2], strict=True))


def _answers(classifier: Classifier, texts: Iterable[Text]) -> Iterator[Prediction]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, _TEXTS_AT_ONCE)):
        yield from classifier.predict(chunk)


def _check_source(source: Path) -> None:
    try:
        if source.is_file():
            source.open("rb").close()
            return
        problem = "is no file" if source.exists() else "does not exist"
    except OSError as error:
        problem = f"cannot be opened: {error.strerror or error}"
    raise InvalidRecipe(
        f"{str(source)!r} {problem}", where="--input", remedy="give the path of a file that you may read"
    )


def _read_lines(path: Path) -> Iterator[str]:
    for line in _lines(path, newline=None):
        yield line.rstrip("\n")


def _read_jsonl(path: Path, pairs: bool) -> Iterator[Text]:
    for number, line in enumerate(_lines(path, newline=None), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InvalidData(
                    f"a line is no JSON: {error}",
                    where=where,
                    remedy='write one JSON object per line, for instance {"text": "How?"}',
                ) from error
            yield _text_of(row, where, pairs)


def _read_csv(path: Path, pairs: bool) -> Iterator[Text]:
    # Strict: otherwise a quote that is never closed would swallow the rows after it without a word.
    reader = csv.DictReader(_lines(path, newline=""), strict=True)
    place = "header"
    number = 0
    try:
        _ = reader.fieldnames  # reads the header
        place = "row 1"
        for row in reader:
            number += 1
            yield _text_of(row, f"{path}, {place}", pairs)
            place = f"row {number + 1}"
    except csv.Error as error:
        raise InvalidData(
            f"the file is no well-formed CSV: {error}",
            where=f"{path}, {place}",
            remedy="close each quote, double the quotes within a quoted cell, and shorten cells that are too long",
        ) from error


def _lines(path: Path, newline: str | None) -> Iterator[str]:
    """The lines of a UTF-8 file, with or without byte order mark (spreadsheets write one)."""
    number = 0
    try:
        # Undecodable bytes arrive as surrogates, so that the line that holds them can be named.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as file:
            for number, line in enumerate(file, start=1):  # noqa: B007
                line.encode()
                yield line
    except UnicodeEncodeError as error:
        raise InvalidData(
            f"a line holds bytes that are not UTF-8, after {error.object[: error.start][-20:]!r}",
            where=f"{path}, line {number}",
            remedy="save the file as UTF-8, or convert it, for instance with iconv -f WINDOWS-1252 -t UTF-8",
        ) from error
    except OSError as error:
        raise InvalidData(
            f"the file cannot be read on: {error.strerror or error}",
            where=f"{path}, after line {number}",
            remedy="copy the file to a disk that can be read, then run again",
        ) from error


def _text_of(row: object, where: str, pairs: bool) -> Text:
    fields = row if isinstance(row, dict) else {}

    def text(name: str) -> str:
        found = fields.get(name)
        if not isinstance(found, str):
            raise InvalidData(
                f"a row has no field `{name}` that holds a text", where=where, remedy=f"name the column `{name}`"
            )
        return found

    return (text("text"), text("text_pair")) if pairs else text("text")


@contextmanager
def _replacing(output: Path) -> Iterator[TextIO]:
    """A file that takes the place of `output` when the block ends well, and vanishes when it does not."""
    try:
        target = output.resolve()  # where a link leads; the link itself stays
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(None, "you may not write to it")
        temporary = target.with_name(f".hubtune-{secrets.token_hex(8)}")
        # Halves of surrogate pairs, which JSON may hold, are written as JSON escapes them.
        file = temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="")
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise InvalidRecipe(
            f"{str(output)!r} cannot be written: {getattr(error, 'strerror', None) or error}",
            where="--output",
            remedy="give the path of a file in a folder that exists and that you may write to",
        ) from error
    try:
        with file:
            if target.exists():
                shutil.copymode(target, temporary)
            yield file
        temporary.replace(target)
    except OSError as error:
        raise UnexpectedFailure(
            f"the answers could not be written: {error.strerror or error}",
            where=str(output),
            remedy="make space on the disk, or name another file, then run again; nothing was changed",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_jsonl(file: TextIO, answers: Iterable[Prediction], classifier: Classifier) -> int:
    count = 0
    for answer in answers:
        file.write(json.dumps(_as_object(answer), ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_csv(file: TextIO, answers: Iterable[Prediction], classifier: Classifier) -> int:
    several = classifier.task == "multilabel"
    writer = csv.writer(file)
    columns = [f"probability_{label}" for label in classifier.labels]
    second = ["text_pair"] if classifier.pairs else []
    writer.writerow(["text", *second, "labels" if several else "label", *columns])
    count = 0
    for answer in answers:
        # Class names may hold any separator, and no class is not an empty name: several are a JSON array.
        said = json.dumps(answer.labels, ensure_ascii=False) if several else answer.label
        shares = [answer.probabilities[label] for label in classifier.labels]
        writer.writerow([answer.text, *([answer.text_pair] if second else []), said, *shares])
        count += 1
    return count


_READERS = {".jsonl": _read_jsonl, ".csv": _read_csv}
_WRITERS = {".jsonl": _write_jsonl, ".csv": _write_csv}


def _as_object(answer: Prediction) -> dict[str, object]:
    second = {} if answer.text_pair is None else {"text_pair": answer.text_pair}
    return {"text": answer.text, **second, **answer.to_json()}


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _print(answers: Iterable[Prediction], classifier: Classifier, console: Console) -> None:
    texts = ["Text", *(["Second text"] if classifier.pairs else [])]
    table = Table(*texts, "Labels" if classifier.task == "multilabel" else "Label", "Probability")
    table.columns[-1].justify = "right"
    for answer in answers:
        labels = "\n".join(map(escape, answer.labels)) or "(none)"
        shares = "\n".join(f"{answer.probabilities[label]:.3f}" for label in answer.labels)
        asked = [answer.text] if answer.text_pair is None else [answer.text, answer.text_pair]
        table.add_row(*(escape(_encodable(text)) for text in asked), labels, shares)
    console.print(table)
