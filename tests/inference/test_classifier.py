"""The published model as services use it, from a folder and from a store; without TensorFlow."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubtune.errors import CorruptArtifact, InvalidData, ModelNotFound, NeedsTensorFlow, UnsupportedModel
from hubtune.inference import Classifier, Prediction
from hubtune.storage import Producer, PublishedModel, Store
from schemas.handoff import ReleaseFacts
from tests.inference.handmade_release import LABELS, WORDS, write_description, write_handmade_release

PRODUCER = Producer(task="publish", version=1, parameters={})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_handmade_release(tmp_path_factory.mktemp("handmade"))


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return Classifier.from_folder(folder)


@pytest.fixture
def store(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HUBTUNE_CACHE", str(tmp_path / "cache"))
    store = Store.open(str(tmp_path / "store"))
    publish(store, folder)
    return store


def publish(store: Store, folder: Path) -> int:
    facts = ReleaseFacts(name="handmade", labels=LABELS, engine="onnx", metrics={})
    return PublishedModel(store, "handmade").publish(store.put("release", folder, producer=PRODUCER, facts=facts))


def test_answers_have_the_best_label_and_every_probability(classifier: Classifier) -> None:
    answers = classifier.predict(["a lovely chair", "An AWFUL broken table"])
    assert [answer.label for answer in answers] == ["good", "bad"]
    assert answers[0].text == "a lovely chair"
    assert list(answers[0].probabilities) == LABELS
    assert sum(answers[0].probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert all(type(value) is float for value in answers[0].probabilities.values())
    assert isinstance(answers[0], Prediction)


def test_of_several_classes_each_is_decided_by_itself(tmp_path: Path) -> None:
    classifier = Classifier.from_folder(write_handmade_release(tmp_path, task="multilabel"))
    answers = classifier.predict(["a lovely chair", "fine but broken", "a table"])
    assert [answer.labels for answer in answers] == [["good"], ["good", "bad"], []]
    assert [answer.label for answer in answers] == [None, None, None]
    assert (classifier.task, list(answers[0].probabilities)) == ("multilabel", LABELS)
    # "fine" and "broken": each class has 2 for its word and -0.5 from each of the two special tokens.
    expected = 1 / (1 + np.exp([-1, -1, 2]))
    np.testing.assert_allclose(list(answers[1].probabilities.values()), expected, rtol=1e-6)
    assert answers[1].to_json() == {"labels": ["good", "bad"], "probabilities": answers[1].probabilities}


def test_a_probability_of_a_half_is_enough(tmp_path: Path) -> None:
    vectors = np.zeros((4 + len(WORDS), 3), np.float32)
    vectors[2, 1] = -1e-3
    classifier = Classifier.from_folder(write_handmade_release(tmp_path, vectors, "multilabel"))
    assert classifier.predict(["fine"])[0].labels == ["good", "neither"]


def test_models_of_the_first_format_have_one_class_for_each_text(tmp_path: Path) -> None:
    write_handmade_release(tmp_path)
    path = tmp_path / "classifier.json"
    description = json.loads(path.read_text())
    del description["task"]
    path.write_text(json.dumps(description | {"format": 1}))
    classifier = Classifier.from_folder(tmp_path)
    (answer,) = classifier.predict(["lovely"])
    assert (classifier.task, answer.label, answer.labels) == ("multiclass", "good", ["good"])
    assert answer.to_json() == {"label": "good", "probabilities": answer.probabilities}


def test_probabilities_are_an_array_in_class_order(classifier: Classifier) -> None:
    # "fine": the logits are 2 for its word, and 0.5 from each of the special tokens for the class "neither".
    expected = np.exp([2, 0, 1]) / np.exp([2, 0, 1]).sum()
    probabilities = classifier.probabilities(["fine"])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, [expected], rtol=1e-6)
    assert classifier.labels == LABELS


def test_no_texts_no_answers(classifier: Classifier) -> None:
    assert classifier.predict([]) == []
    assert classifier.probabilities([]).shape == (0, 3)


@pytest.mark.parametrize(
    "text", ["", " \t\n", "\u200b", "\ud800", "fine " * 50_000, "x" * 100_000, "\0", "[SEP] [CLS]"]
)
def test_awkward_texts_get_an_answer(classifier: Classifier, text: str) -> None:
    probabilities = classifier.probabilities([text])
    assert probabilities.shape == (1, 3)
    assert np.isfinite(probabilities).all()


def test_ten_thousand_texts_of_all_lengths_in_order(classifier: Classifier) -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(0, 40))) for _ in range(10_000)]
    together = classifier.probabilities(texts)
    alone = np.concatenate([classifier.probabilities([text]) for text in texts[::500]])
    np.testing.assert_allclose(together[::500], alone, atol=1e-6)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_text_keeps_its_answer_wherever_it_stands(classifier: Classifier, data: st.DataObject) -> None:
    some = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
    texts = data.draw(st.lists(st.one_of(some, st.text(max_size=20)), min_size=1, max_size=80))
    order = data.draw(st.permutations(range(len(texts))))
    straight = classifier.probabilities(texts)
    permuted = classifier.probabilities([texts[position] for position in order])
    np.testing.assert_allclose(permuted, straight[list(order)], atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "not one string: 'one text'"),
        (["fine", None], "text 1 is no string but NoneType: None"),
        ([b"fine"], "text 0 is no string but bytes"),
        ([float("nan")], "text 0 is no string but float: nan"),
    ],
)
def test_what_is_no_text_is_named(classifier: Classifier, texts: list[str], message: str) -> None:
    with pytest.raises(InvalidData, match=message) as caught:
        classifier.predict(texts)
    assert caught.value.remedy


def test_load_takes_the_newest_version_or_the_one_that_is_named(store: Store, tmp_path: Path) -> None:
    always_bad = np.zeros((4 + len(WORDS), 3), np.float32)
    always_bad[2, 1] = 5
    assert publish(store, write_handmade_release(tmp_path / "second", always_bad)) == 2
    assert Classifier.load("handmade", store=store.root).predict(["fine"])[0].label == "bad"
    assert Classifier.load("handmade", 1, store=store.root).predict(["fine"])[0].label == "good"


def test_load_says_which_models_there_are(store: Store) -> None:
    with pytest.raises(ModelNotFound, match="handmade"):
        Classifier.load("something-else", store=store.root)
    with pytest.raises(ModelNotFound, match="7"):
        Classifier.load("handmade", 7, store=store.root)


def test_load_fetches_and_checks_only_what_it_needs(folder: Path, tmp_path: Path, store: Store) -> None:
    both = write_handmade_release(tmp_path / "both")
    (both / "saved_model.pb").write_bytes(b"not needed here")
    assert publish(store, both) == 2
    stored = next(Path(store.root).glob("models/handmade/2/saved_model.pb"))
    stored.chmod(0o644)
    stored.write_bytes(b"damaged")
    assert Classifier.load("handmade", store=store.root).predict(["fine"])[0].label == "good"


def test_a_damaged_file_is_never_used(store: Store) -> None:
    stored = next(Path(store.root).glob("models/handmade/1/model.onnx"))
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.unlink()
    stored.write_bytes(content)
    with pytest.raises(CorruptArtifact):
        Classifier.load("handmade", store=store.root)


def test_what_was_replaced_in_training_is_replaced_in_answering(tmp_path: Path) -> None:
    write_handmade_release(tmp_path)
    texts = ["@fine", "@awful", "&#102;ine"]
    plain = Classifier.from_folder(tmp_path).predict(texts)
    assert [answer.label for answer in plain] == ["good", "bad", "neither"]
    write_description(tmp_path, replace=["users", "html_entities"])
    replaced = Classifier.from_folder(tmp_path).predict(texts)
    assert [answer.label for answer in replaced] == ["neither", "neither", "good"]


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no published model"):
        Classifier.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 4, "new_field": 1}, "format 4; this hubtune reads up to format 3"),
        ({"task": "regression"}, "task"),
        ({"normalisation": 2}, "normalised by rules 2"),
        ({"engine": "magic"}, "engine"),
        ({"labels": None}, "labels"),
    ],
)
def test_descriptions_that_this_version_cannot_use(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write_description(tmp_path, **changes)
    with pytest.raises(UnsupportedModel, match=message) as caught:
        Classifier.from_folder(tmp_path)
    assert caught.value.remedy


def test_a_description_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "classifier.json").write_text("{")
    with pytest.raises(UnsupportedModel, match="no JSON"):
        Classifier.from_folder(tmp_path)


def test_an_onnx_file_that_does_not_load(folder: Path, tmp_path: Path) -> None:
    write_handmade_release(tmp_path)
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:100])
    with pytest.raises(CorruptArtifact, match="does not load"):
        Classifier.from_folder(tmp_path)


def test_first_answer_within_three_seconds_and_without_tensorflow(store: Store) -> None:
    program = (
        "import sys\n"
        "from hubtune.inference import Classifier\n"
        f"classifier = Classifier.load('handmade', store={store.root!r})\n"
        "assert classifier.predict(['lovely'])[0].label == 'good'\n"
        "print([name for name in ('tensorflow', 'prefect', 'tasks', 'schemas', 'flows') if name in sys.modules])\n"
    )
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
    assert time.monotonic() - started < 3


def test_nothing_is_told_to_the_makers_of_libraries(folder: Path, tmp_path: Path) -> None:
    # ONNX Runtime would name its session and the device in files, and send what it does to its makers.
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    for place in places.values():
        place.mkdir()
    # It also keeps silent where this variable is set.
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    subprocess.run(
        [sys.executable, "-m", "hubtune.inference", str(folder)],
        env=inherited | {name: str(place) for name, place in places.items()},
        input='"lovely"\n',
        capture_output=True,
        text=True,
        check=True,
    )
    assert [path for place in places.values() for path in place.rglob("*")] == []


# A mock: the environment of these tests always has TensorFlow, so a finder plays the one that does not.
WITHOUT_TENSORFLOW = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_text"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def test_needs_tensorflow_says_what_to_install(tmp_path: Path) -> None:
    write_description(tmp_path, engine="tensorflow", interface="text_embedding", max_length=None)
    program = WITHOUT_TENSORFLOW + (
        "import json, pathlib\n"
        "from hubtune.errors import HubtuneError\n"
        "from hubtune.inference import Classifier\n"
        "try:\n"
        f"    Classifier.from_folder(pathlib.Path({str(tmp_path)!r}))\n"
        "except HubtuneError as error:\n"
        "    print(json.dumps(error.to_json()))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    error = json.loads(ended.stdout)
    assert error["type"] == NeedsTensorFlow.__name__
    assert "handmade" in error["what"]
    assert error["where"] == str(tmp_path)
    assert error["remedy"].startswith('pip install "tensorflow')


def test_a_model_that_takes_text_has_no_onnx_engine(tmp_path: Path) -> None:
    write_description(tmp_path, engine="tensorflow", interface="text_embedding", max_length=None)
    with pytest.raises(UnsupportedModel, match="no ONNX model"):
        Classifier.from_folder(tmp_path, engine="onnx")


def test_answers_on_the_command_line(folder: Path) -> None:
    command = [sys.executable, "-m", "hubtune.inference", str(folder)]
    lines = "".join(json.dumps(text) + "\n" for text in ["lovely\nchair", "awful \u2028 \ud800", ""])
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["label"] for answer in answers] == ["good", "bad", "neither"]
    assert list(answers[0]["probabilities"]) == LABELS


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hubtune.inference", str(tmp_path)]
    ended = subprocess.run(command, input='"fine"\n', capture_output=True, text=True, check=False)
    assert ended.returncode == ModelNotFound.exit_status
    assert "there is no published model" in ended.stderr
