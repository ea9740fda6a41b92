"""Archives, of which none may write anywhere but into its folder."""

import errno
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hubtune.errors import UnsafeDownload, UnsupportedModel
from tasks.download_model import archive


def pack(file: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(str(file), mode) as opened:  # type: ignore[call-overload]  # its modes are literals there
        for member, content in members:
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return file


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2", "w:xz"])
def test_plain_files_are_unpacked(mode: str, tmp_path: Path) -> None:
    members = plain("./saved_model.pb", b"graph"), plain("variables/variables.index", b"index")
    archive.unpack(pack(tmp_path / "m", *members, mode=mode), tmp_path / "to", "m.tar.gz")
    assert (tmp_path / "to" / "saved_model.pb").read_bytes() == b"graph"
    assert (tmp_path / "to" / "variables" / "variables.index").read_bytes() == b"index"


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (plain("../outside"), "'../outside' leads out of the folder"),
        (plain("a/../../outside"), "leads out of the folder"),
        (plain("/outside"), "'/outside' leads out of the folder"),
        (special("link", tarfile.SYMTYPE, "/etc/passwd"), "'link' is a link, to '/etc/passwd'"),
        (special("link", tarfile.SYMTYPE, "saved_model.pb"), "is a link"),
        (special("link", tarfile.LNKTYPE, "../outside"), "is a link"),
        (special("pipe", tarfile.FIFOTYPE), "'pipe' is neither a file nor a folder"),
        (special("disk", tarfile.BLKTYPE), "'disk' is neither a file nor a folder"),
    ],
)
def test_what_leads_out_is_refused(member: tuple[tarfile.TarInfo, bytes], problem: str, tmp_path: Path) -> None:
    file = pack(tmp_path / "bad.tar.gz", plain("saved_model.pb"), member)
    with pytest.raises(UnsafeDownload, match=problem) as caught:
        archive.unpack(file, tmp_path / "in" / "to", "https://h.org/bad")
    assert "https://h.org/bad" in caught.value.where
    written = [path.name for path in tmp_path.rglob("*") if path.is_file() and path != file]
    assert written == ["saved_model.pb"]


def test_what_unpacks_to_too_much_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1_000_000)
    file = pack(tmp_path / "bomb.tar.gz", plain("a", bytes(900_000)), plain("b", bytes(900_000)))
    assert file.stat().st_size < 10_000
    with pytest.raises(UnsafeDownload, match=r"unpacks to more than 0\.001 GB"):
        archive.unpack(file, tmp_path / "to", "bomb")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["a"]


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_FILES", 3)
    file = pack(tmp_path / "many.tar.gz", *(plain(str(number), b"") for number in range(4)))
    with pytest.raises(UnsafeDownload, match="more than 3 files"):
        archive.unpack(file, tmp_path / "to", "many")


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2000])


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


# More than one block of bzip2 (900 kB): damage behind the first is met while the archive is unpacked, not opened.
LONG = 2_000_000


@pytest.mark.parametrize("damage", [cut_short, flip_a_byte])
@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_damaged_archive_is_refused(mode: str, damage: Callable[[Path], None], tmp_path: Path) -> None:
    import random

    file = pack(tmp_path / "m.tar.gz", plain("saved_model.pb", random.Random(0).randbytes(LONG)), mode=mode)
    damage(file)
    with pytest.raises(UnsafeDownload, match="damaged, or no tar archive"):
        archive.unpack(file, tmp_path / "to", "m.tar.gz")


@pytest.mark.parametrize("members", [("a", "a/b"), ("a" * 300,)])
def test_names_that_no_disk_takes_are_the_archives_fault(members: tuple[str, ...], tmp_path: Path) -> None:
    file = pack(tmp_path / "m.tar.gz", *(plain(name) for name in members))
    with pytest.raises(UnsafeDownload, match="damaged, or no tar archive"):
        archive.unpack(file, tmp_path / "to", "m.tar.gz")


def test_a_full_disk_is_not_the_archives_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def extract(*_: object, **__: object) -> None:  # a mock: no disk here can be filled
        raise OSError(errno.ENOSPC, "No space left on device")

    file = pack(tmp_path / "m.tar.gz", plain("a"))
    monkeypatch.setattr(tarfile.TarFile, "extract", extract)
    with pytest.raises(OSError, match="No space left"):
        archive.unpack(file, tmp_path / "to", "m.tar.gz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"<Error>NoSuchKey</Error>", bytes(100)])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(content)
    with pytest.raises(UnsafeDownload, match=f"archive of {len(content)} bytes is damaged, or no tar archive"):
        archive.unpack(tmp_path / "m.tar.gz", tmp_path / "to", "m.tar.gz")


@pytest.mark.parametrize(
    ("content", "kind"), [(b"\x89HDF\r\n\x1a\n rest", "HDF5 format"), (b"PK\x03\x04 rest", r"\.keras model")]
)
def test_keras_files_are_named(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(content)
    with pytest.raises(UnsupportedModel, match=kind) as caught:
        archive.unpack(tmp_path / "model.h5", tmp_path / "to", "model.h5")
    assert "model.export" in caught.value.remedy


def test_the_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    one, two = pack(tmp_path / "one", plain("a"), mode="w"), pack(tmp_path / "two", plain("a", b"y"), mode="w")
    assert archive.fingerprint(one) == archive.fingerprint(one)
    assert archive.fingerprint(one) != archive.fingerprint(two)
