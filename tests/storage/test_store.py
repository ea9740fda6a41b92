import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubtune.errors import CorruptArtifact, HubtuneError, InvalidRecipe, StoreUnavailable
from hubtune.storage import Artifact, Store, task_key
from hubtune.storage.files import is_safe_path
from tests.gcs_fake import GcsFake
from tests.storage.conftest import Place
from tests.storage.content import FILES, PRODUCER, Facts, contents, fill, put
from tests.storage.processes import remember, start, together

KEY = task_key("test.make", 1, {}, [])


def test_what_is_put_comes_out_again(place: Place) -> None:
    store = place.open()
    source = put(store, {"a": b"1"}, kind="raw")
    artifact = put(store, inputs=(source,))
    assert artifact.uri == f"{place.root}/artifacts/model/{artifact.digest}"
    assert artifact.facts == {"rows": 3, "accuracy": 0.1}
    assert store.is_whole(artifact)
    assert contents(place.open().checkout(artifact)) == FILES
    manifest = store.manifest(artifact)
    assert [file.path for file in manifest.files] == sorted(FILES)
    assert manifest.producer == PRODUCER
    assert manifest.inputs == [f"raw/{source.digest}"]


def test_an_equal_artifact_is_kept_with_its_own_facts(place: Place) -> None:
    first = put(place.open())
    before = place.names()
    second = put(place.open(), facts=Facts(rows=99))
    assert second == first
    assert place.names() == before
    assert put(place.open(), kind="other").digest != first.digest


def test_the_digest_does_not_depend_on_the_place(in_folder: Place, gcs: GcsFake) -> None:
    assert put(in_folder.open()).digest == put(Store.open(gcs.root)).digest


def test_unknown_artifacts(place: Place) -> None:
    store = place.open()
    unknown = Artifact(kind="model", digest="0" * 64, uri="")
    assert not store.is_whole(unknown)
    with pytest.raises(CorruptArtifact, match=r"model/0000.* is not in the store"):
        store.checkout(unknown)
    with pytest.raises(CorruptArtifact, match="is no digest"):
        store.checkout(Artifact(kind="model", digest="../../etc", uri=""))
    with pytest.raises(HubtuneError, match="cannot name anything"):
        store.checkout(Artifact(kind="../model", digest="0" * 64, uri=""))


names = st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="/\\"), min_size=1, max_size=8)
paths = st.lists(names, min_size=1, max_size=3).map("/".join).filter(is_safe_path)
trees = st.dictionaries(paths, st.binary(max_size=2000), min_size=1, max_size=5)


def fits_a_disk(tree: dict[str, bytes]) -> bool:
    folders = {"/".join(path.split("/")[:depth]) for path in tree for depth in range(1, path.count("/") + 1)}
    return not folders & tree.keys() and "manifest.json" not in tree


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees.filter(fits_a_disk), other=trees.filter(fits_a_disk))
def test_equal_content_has_an_equal_address(place: Place, tree: dict[str, bytes], other: dict[str, bytes]) -> None:
    store = place.open()
    artifact = put(store, tree)
    assert put(store, dict(reversed(tree.items()))).digest == artifact.digest
    assert (put(store, other).digest == artifact.digest) == (tree == other)
    assert contents(store.checkout(artifact)) == tree


# aiohttp would rather have a file than bytes; gcsfs gives it bytes on purpose.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_files_above_the_sizes_of_one_request(place: Place) -> None:
    # gcsfs sends files from 5 MiB on in resumable uploads; files are hashed in threads from 8 MiB on.
    store = place.open()
    files = {"small": b"s" * 10, "large": bytes(range(256)) * 24_000, "larger": b"0123456789abcde" * 600_001}
    artifact = put(store, files)
    assert contents(store.checkout(artifact)) == files


def test_listings_with_many_pages(in_bucket: Place) -> None:
    assert in_bucket.fake
    in_bucket.fake.page = 3
    store = in_bucket.open()
    files = {f"shard-{number:02}/part": b"%d" % number for number in range(10)}
    artifact = put(store, files)
    assert store.is_whole(artifact)
    assert sorted(store.backend.children(f"artifacts/model/{artifact.digest}")) == sorted(
        ["manifest.json", *(path.partition("/")[0] for path in files)]
    )


def test_the_manifest_is_written_last(in_bucket: Place) -> None:
    assert in_bucket.fake
    store = in_bucket.open()
    before: list[list[str]] = []
    fake = in_bucket.fake
    fake.before = lambda request: before.append(fake.names()) if "POST /upload" in request else None
    artifact = put(store)
    assert not any(name.endswith("manifest.json") for names in before for name in names)
    assert len(before[-1]) == len(FILES)
    assert fake.names("manifest.json") == [f"artifacts/model/{artifact.digest}/manifest.json"]


def test_manifests_are_read_at_once(place: Place) -> None:
    store = place.open()
    one, other, damaged = (put(store, {"a": text}) for text in (b"1", b"2", b"3"))
    place.overwrite(f"artifacts/model/{damaged.digest}/manifest.json", b"other")
    found = store.manifests("model", [other.digest, one.digest, damaged.digest, "0" * 64, one.digest])
    assert found == {
        other.digest: store.manifest(other),
        one.digest: store.manifest(one),
        damaged.digest: None,
        "0" * 64: None,
    }


def test_recall_in_another_process(place: Place) -> None:
    assert place.open().recall(KEY) is None
    together(start(remember, place.root, KEY.task))
    known = place.open().recall(KEY)
    assert known is not None
    assert contents(place.open().checkout(known["model"])) == FILES
    assert known["model"].facts == Facts().model_dump()


def test_what_is_remembered_last_counts(place: Place) -> None:
    store = place.open()
    first, second = put(store, {"a": b"1"}), put(store, {"a": b"2"})
    store.remember(KEY, {"model": first})
    store.remember(KEY, {"model": second, "other": first})
    assert store.recall(KEY) == {"model": second, "other": first}


def test_collections(place: Place) -> None:
    store = place.open()
    assert store.collection("embeddings/none") == []
    members = [put(store, {"a": bytes([number])}, kind="embeddings") for number in range(5)]
    for member in [*members, members[0]]:
        store.append("embeddings/key", member)
    assert store.collection("embeddings/key") == sorted(members, key=lambda member: member.digest)
    place.remove(f"artifacts/embeddings/{members[2].digest}/a")
    assert members[2] not in place.open().collection("embeddings/key")
    assert len(place.open().collection("embeddings/key")) == 4


def test_only_the_files_that_are_needed_are_fetched(place: Place) -> None:
    artifact = put(place.open())
    place.overwrite(f"artifacts/{artifact.kind}/{artifact.digest}/saved_model.pb", b"damaged")
    folder = place.open().checkout(artifact, only=lambda path: path == "vocab.txt")
    assert (folder / "vocab.txt").read_bytes() == FILES["vocab.txt"]
    if place.fake:
        assert [path.name for path in folder.iterdir()] == ["vocab.txt"]
    with pytest.raises(CorruptArtifact, match=r"saved_model\.pb"):
        place.open().checkout(artifact)


def test_what_is_discarded_is_gone_for_every_reader(place: Place) -> None:
    store = place.open()
    kept, artifact = put(store, {"a": b"1"}), put(store)
    store.remember(KEY, {"model": artifact, "other": kept})
    for member in (kept, artifact):
        store.append("all", member)
    assert contents(store.checkout(artifact)) == FILES
    store.discard(artifact)
    for reader in (store, place.open()):
        assert not reader.is_whole(artifact)
        assert reader.recall(KEY) is None
        assert reader.collection("all") == [kept]
        with pytest.raises(CorruptArtifact, match="is not in the store"):
            reader.checkout(artifact)
    assert not [name for name in place.names() if artifact.digest in name and name.startswith("artifacts/")]
    assert contents(place.open().checkout(kept)) == {"a": b"1"}
    # Made again, it is there again, and what pointed at it is right again.
    assert put(place.open()) == artifact
    assert place.open().recall(KEY) == {"model": artifact, "other": kept}
    assert contents(place.open().checkout(artifact)) == FILES


def test_what_is_gone_already_can_be_discarded(place: Place) -> None:
    store = place.open()
    store.discard(Artifact(kind="model", digest="0" * 64, uri=""))
    artifact = put(store)
    store.discard(artifact)
    place.open().discard(artifact)
    assert not store.is_whole(artifact)
    with pytest.raises(CorruptArtifact, match="is no digest"):
        store.discard(Artifact(kind="model", digest="..", uri=""))
    with pytest.raises(HubtuneError, match="cannot name anything"):
        store.discard(Artifact(kind="..", digest="0" * 64, uri=""))


def test_damaged_and_half_written_artifacts_can_be_discarded(place: Place) -> None:
    store = place.open()
    artifact = put(store)
    place.overwrite(f"artifacts/model/{artifact.digest}/vocab.txt", b"other")
    place.remove(f"artifacts/model/{artifact.digest}/manifest.json")
    store.discard(artifact)
    assert place.names() == []


def test_discarding_leaves_nothing_behind_in_a_folder(in_folder: Place) -> None:
    store = in_folder.open()
    store.discard(put(store))
    assert [path.name for path in Path(in_folder.root, "artifacts").rglob("*")] == ["model"]


def test_the_manifest_is_discarded_first(in_bucket: Place) -> None:
    fake = in_bucket.fake
    assert fake
    store = in_bucket.open()
    artifact = put(store)
    left: list[list[str]] = []
    fake.before = lambda request: left.append(fake.names()) if request.startswith("DELETE") else None
    store.discard(artifact)
    assert len(left) == len(FILES) + 1
    assert [any(name.endswith("manifest.json") for name in names) for names in left] == [True, *[False] * len(FILES)]
    assert fake.names() == []


def test_a_bucket_that_fails_while_it_discards(in_bucket: Place) -> None:
    fake = in_bucket.fake
    assert fake
    store = in_bucket.open()
    artifact = put(store)
    fake.fail("status", method="DELETE", each=True)
    store.discard(artifact)
    assert fake.names() == []
    fake.heal()
    put(store)
    fake.fail("status", method="DELETE", target="vocab", times=10_000)
    with pytest.raises(StoreUnavailable, match=r"could not delete .*vocab\.txt"):
        store.discard(artifact)
    fake.heal()
    assert not store.is_whole(artifact), "what is half gone is gone for readers"
    store.discard(artifact)
    assert fake.names() == []
    put(store)
    fake.fail("lost_reply", method="DELETE", each=True)
    store.discard(artifact)
    assert fake.names() == []


def test_a_folder_that_does_not_let_go(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("this is no folder")
    with pytest.raises(StoreUnavailable, match="could not remove"):
        Store.open(str(tmp_path / "store")).discard(Artifact(kind="model", digest="0" * 64, uri=""))


def test_scratch_is_removed(place: Place) -> None:
    store = place.open()
    with pytest.raises(FileNotFoundError), store.scratch() as folder:
        (fill(folder) / "missing").read_bytes()
    with store.scratch() as first, store.scratch() as second:
        assert first != second
        (second / "abandoned").mkdir()
    abandoned = store.backend.scratch / "abandoned"  # its owner is dead: nobody holds the lock
    fill(abandoned)
    with store.scratch() as folder:
        assert [child for child in store.backend.scratch.iterdir() if child.is_dir()] == [folder]
    assert not [child for child in store.backend.scratch.iterdir() if child.is_dir()]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: None, "holds no file"),
        (lambda folder: (folder / "link").symlink_to("/etc/hostname"), "symbolic link"),
        (lambda folder: (folder / "link").symlink_to(folder.parent), "symbolic link"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "its manifest"),
        (lambda folder: (folder / "two\nlines").write_text(""), "unprintable"),
        (lambda folder: (folder / "back\\slash").write_text(""), "backslash"),
    ],
)
def test_what_cannot_be_stored_is_refused(place: Place, tmp_path: Path, make: object, reason: str) -> None:
    folder = tmp_path / "content"
    folder.mkdir()
    assert callable(make)
    make(folder)
    with pytest.raises(HubtuneError, match=reason):
        place.open().put("model", folder, producer=PRODUCER, facts=Facts())
    assert place.names() == []


@pytest.mark.parametrize("root", ["s3://bucket", "gs://", "https://example.com/store"])
def test_other_roots_are_refused(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRecipe, match=re.escape(root)):
        Store.open(root)
    monkeypatch.setenv("HUBTUNE_STORE", root)
    with pytest.raises(InvalidRecipe, match="HUBTUNE_STORE"):
        Store.open()


def test_the_root_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "set"))
    assert Store.open().root == str(tmp_path / "set")
    monkeypatch.delenv("HUBTUNE_STORE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store.open().root == str(tmp_path / ".hubtune/store")
    assert Store.open("~/mine").root == str(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert Store.open("here").root == str(tmp_path / "here")
    assert Store.open("gs://bucket/some/prefix/").root == "gs://bucket/some/prefix"
    assert list(tmp_path.iterdir()) == []  # opening writes nothing
