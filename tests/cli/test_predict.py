"""`hubtune predict` with a real published model: files in and out, and what is told when they are wrong."""

import csv
import json
import sys
from pathlib import Path

import pytest

from hubtune.cli import app
from hubtune.cli.predict import run_predict
from hubtune.errors import InvalidData, InvalidRecipe, UnexpectedFailure
from hubtune.storage import Producer, PublishedModel, Store
from schemas.handoff import ReleaseFacts
from tests.inference.handmade_release import LABELS, write_handmade_release

MARK = b"\xef\xbb\xbf"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HUBTUNE_CACHE", str(tmp_path / "cache"))
    store = Store.open()
    publish(store, "handmade", write_handmade_release(tmp_path / "release"))
    return store


def publish(store: Store, name: str, folder: Path) -> None:
    facts = ReleaseFacts(name=name, labels=LABELS, engine="onnx", metrics={})
    release = store.put("release", folder, producer=Producer(task="publish", version=1, parameters={}), facts=facts)
    PublishedModel(store, name).publish(release)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def predict(source: Path, output: Path | None = None) -> int:
    return run_predict("handmade", None, [], source, output, as_json=True)


def test_a_file_may_be_answered_in_place(files: Path) -> None:
    path = files / "rows.csv"
    path.write_text("id,text\n" + "1,a lovely chair\n2,an awful table\n" * 5000)
    assert predict(path, path) == 0
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["good", "bad"] * 5000
    assert list(rows[0]) == ["text", "label", *(f"probability_{label}" for label in LABELS)]
    assert [child.name for child in files.iterdir()] == ["rows.csv"]


def test_a_failure_late_in_the_file_leaves_no_half_of_the_answers(files: Path) -> None:
    source, output = files / "rows.jsonl", files / "answers.csv"
    source.write_text('{"text": "fine"}\n' * 5000 + '{"txt": "fine"}\n')
    for before in (None, "what was here"):
        if before is not None:
            output.write_text(before)
        with pytest.raises(InvalidData, match=r"no field `text`[\s\S]*rows\.jsonl, line 5001"):
            predict(source, output)
        assert (output.read_text() if output.exists() else None) == before
        assert len(list(files.iterdir())) == (1 if before is None else 2)


def test_the_answers_go_where_a_link_leads_and_keep_the_permissions(files: Path) -> None:
    (files / "rows.txt").write_text("fine\n")
    (files / "real.jsonl").write_text("")
    (files / "real.jsonl").chmod(0o600)
    (files / "link.jsonl").symlink_to("real.jsonl")
    predict(files / "rows.txt", files / "link.jsonl")
    assert (files / "link.jsonl").is_symlink()
    assert json.loads((files / "real.jsonl").read_text())["label"] == "good"
    assert (files / "real.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "text,id\r\nfine,1\r\ndéjà vu,2\r\n"),
        ("rows.jsonl", '{"text": "fine"}\r\n\r\n{"text": "déjà vu"}'),
        ("rows.txt", "fine\ndéjà vu\n"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_text(
    files: Path, name: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / name).write_bytes(MARK + content.encode())
    predict(files / name)
    assert [answer["text"] for answer in json.loads(capsys.readouterr().out)] == ["fine", "déjà vu"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b'{"text": "a"}\n\n{"text": "a"\n', r"no JSON[\s\S]*rows\.jsonl, line 3"),
        ("rows.jsonl", b'{"text": ' + b"[" * 100_000 + b"\n", r"no JSON[\s\S]*line 1"),
        ("rows.jsonl", b'["a"]\n', r"no field `text`[\s\S]*line 1"),
        ("rows.jsonl", b'{"text": "a"}\n{"text": "caf\xe9"}\n', r"not UTF-8[\s\S]*rows\.jsonl, line 2"),
        ("rows.txt", b"fine\n" * 9000 + b"caf\xe9\n" + b"fine\n" * 9000, r"not UTF-8[\s\S]*rows\.txt, line 9001"),
        ("rows.csv", b'text\n"a\nb"\ncaf\xe9\n', r"not UTF-8[\s\S]*rows\.csv, line 4"),
        ("rows.csv", b"text\na\n" + b"a" * 200_000 + b"\n", r"no well-formed CSV[\s\S]*rows\.csv, row 2"),
        ("rows.csv", b'text\na\n"never closed\nb\n', r"no well-formed CSV[\s\S]*rows\.csv, row 2"),
        ("rows.csv", b"question\na\n", r"no field `text`[\s\S]*rows\.csv, row 1"),
        ("rows.csv", b'"' + b"a" * 200_000, r"no well-formed CSV[\s\S]*rows\.csv, header"),
    ],
)
def test_what_cannot_be_read_is_named(files: Path, name: str, content: bytes, message: str) -> None:
    (files / name).write_bytes(content)
    with pytest.raises(InvalidData, match=message) as caught:
        predict(files / name)
    assert caught.value.remedy


def test_half_a_surrogate_pair_passes(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = files / "rows.jsonl", files / "answers.jsonl"
    source.write_text('{"text": "fine \\ud83d"}\n')
    predict(source, output)
    assert json.loads(output.read_text())["text"] == "fine \ud83d"
    predict(source, files / "answers.csv")
    capsys.readouterr()
    predict(source)
    assert json.loads(capsys.readouterr().out)[0]["text"] == "fine \ud83d"
    run_predict("handmade", None, [], source, None, as_json=False)
    assert "good" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["absent.csv", "folder.csv", "rows.txt/rows.csv", "x" * 5000 + ".csv"])
def test_a_missing_input_is_wrong_input(files: Path, name: str) -> None:
    (files / "folder.csv").mkdir()
    (files / "rows.txt").write_text("fine\n")
    with pytest.raises(InvalidRecipe) as caught:
        predict(files / name)
    assert caught.value.where == "--input"
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    "name", ["absent/out.csv", "folder.csv", "rows.txt/out.csv", "x" * 5000 + ".csv", "loop.csv", "x" * 300 + ".csv"]
)
def test_an_output_that_cannot_be_written_is_wrong_input(files: Path, name: str) -> None:
    (files / "folder.csv").mkdir()
    (files / "rows.txt").write_text("fine\n")
    (files / "loop.csv").symlink_to("loop.csv")
    before = sorted(files.iterdir())
    with pytest.raises(InvalidRecipe) as caught:
        predict(files / "rows.txt", files / name)
    assert caught.value.where == "--output"
    assert caught.value.remedy
    assert sorted(files.iterdir()) == before


def test_a_full_disk_is_told(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "rows.txt").write_text("fine\n")

    def full(*_: object) -> None:  # a mock: a disk cannot be filled here
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UnexpectedFailure, match="No space left"):
        predict(files / "rows.txt", files / "out.csv")
    assert [child.name for child in files.iterdir()] == ["rows.txt"]


def test_the_command_ends_with_status_two(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hubtune", "predict", "handmade", "--input", str(files / "absent.txt")])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    run_predict("handmade", None, ["[red]fine[/]"], None, None, as_json=False)
    assert "[red]fine[/]" in capsys.readouterr().out


def test_several_labels_in_each_form(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(store, "several", write_handmade_release(tmp_path / "several", task="multilabel"))
    texts, expected = ["fine but broken", "a table"], [["good", "bad"], []]

    def several(output: Path | None = None, as_json: bool = True) -> str:
        (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
        assert run_predict("several", None, [], tmp_path / "in.txt", output, as_json) == 0
        return capsys.readouterr().out

    answers = json.loads(several())
    assert [list(answer) for answer in answers] == [["text", "labels", "probabilities"]] * 2
    assert [answer["labels"] for answer in answers] == expected
    assert all(list(answer["probabilities"]) == LABELS for answer in answers)
    several(tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == answers
    several(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["text", "labels", *(f"probability_{label}" for label in LABELS)]
    assert [json.loads(row["labels"]) for row in rows] == expected
    assert float(rows[1]["probability_good"]) == answers[1]["probabilities"]["good"]
    table = several(as_json=False)
    assert "Labels" in table
    assert [
        words[-2:] for words in map(str.split, table.replace("│", " ").splitlines()) if words[-1:] == ["0.731"]
    ] == [
        ["good", "0.731"],
        ["bad", "0.731"],
    ]
    assert "(none)" in table


@pytest.fixture
def of_pairs(store: Store, tmp_path: Path) -> None:
    publish(store, "handmade", write_handmade_release(tmp_path / "pairs", pairs=True))


@pytest.mark.usefixtures("of_pairs")
def test_each_two_texts_are_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_predict("handmade", None, ["fine", "an awful table", "awful", "a lovely chair"], None, None, True) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [(answer["text"], answer["text_pair"], answer["label"]) for answer in answers] == [
        ("fine", "an awful table", "bad"),
        ("awful", "a lovely chair", "good"),
    ]
    assert run_predict("handmade", None, ["fine", "awful"], None, None, False) == 0
    shown = capsys.readouterr().out
    assert "Second text" in shown
    assert "bad" in shown
    with pytest.raises(InvalidRecipe, match="3 texts are an odd number"):
        run_predict("handmade", None, ["fine", "awful", "fine"], None, None, True)


@pytest.mark.usefixtures("of_pairs")
def test_files_of_pairs_have_two_columns(files: Path) -> None:
    (files / "rows.csv").write_text("text_pair,text\nan awful table,fine\n")
    (files / "rows.jsonl").write_text('{"text": "awful", "text_pair": "a lovely chair"}\n')
    assert predict(files / "rows.csv", files / "answers.jsonl") == 0
    answer = json.loads((files / "answers.jsonl").read_text())
    assert (answer["text"], answer["text_pair"], answer["label"]) == ("fine", "an awful table", "bad")
    assert predict(files / "rows.jsonl", files / "answers.csv") == 0
    with (files / "answers.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["text"], row["text_pair"], row["label"]) == ("awful", "a lovely chair", "good")
    (files / "rows.jsonl").write_text('{"text": "awful"}\n')
    with pytest.raises(InvalidData, match="no field `text_pair`"):
        predict(files / "rows.jsonl")
    (files / "rows.txt").write_text("fine\n")
    with pytest.raises(InvalidRecipe, match=r"a line of 'rows\.txt' holds one"):
        predict(files / "rows.txt")
