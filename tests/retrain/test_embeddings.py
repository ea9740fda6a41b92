"""Look-ups over several artifacts, for arbitrary keys."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hubtune.errors import CorruptArtifact
from tasks.retrain.embeddings import Embeddings, write_embeddings

# Few byte values, zeros among them, so that keys share beginnings and end in zeros.
KEY = st.lists(st.sampled_from([0, 1, 127, 128, 255]), min_size=16, max_size=16).map(bytes)


def _array(keys: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)


@given(st.sets(KEY, min_size=1), st.lists(KEY, min_size=1), st.data())
def test_what_is_written_is_found_and_the_rest_is_unknown(
    tmp_path_factory: pytest.TempPathFactory, known: set[bytes], asked: list[bytes], data: st.DataObject
) -> None:
    parts: list[list[bytes]] = [[], [], []]
    for key in sorted(known):
        parts[data.draw(st.integers(0, 2))].append(key)
    folders: list[Path] = []
    value: dict[bytes, list[float]] = {}
    for number, part in enumerate(parts):
        folder = tmp_path_factory.mktemp("part")
        vectors = np.array([[number, position] for position in range(len(part))], np.float32).reshape(-1, 2)
        write_embeddings(folder, _array(part), vectors)
        folders.append(folder)
        value |= {key: vector.tolist() for key, vector in zip(part, vectors, strict=True)}
    embeddings = Embeddings(folders)
    unknown = [asked[row] for row in embeddings.unknown(_array(asked))]
    assert unknown == sorted(set(asked) - known)
    found = [key for key in asked if key in known]
    if found:
        assert embeddings.look_up(_array(found)).tolist() == [value[key] for key in found]
    if unknown:
        with pytest.raises(CorruptArtifact, match="have no embedding"):
            embeddings.look_up(_array(asked))


def test_of_two_vectors_for_a_text_the_first_counts(tmp_path: Path) -> None:
    key = _array([bytes(16)])
    for name, vector in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        write_embeddings(tmp_path / name, key, np.array([[vector]], np.float32))
    assert Embeddings([tmp_path / "a", tmp_path / "b"]).look_up(key).tolist() == [[1.0]]
