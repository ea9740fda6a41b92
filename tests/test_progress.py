from hubtune.progress import Progress


def test_lines_say_how_far_and_how_long() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Embedding", 1040, "texts", every_seconds=0)
    progress.advance(520)
    progress.advance(520)
    progress.finish()
    assert lines[0].startswith("Embedding: 520 texts of 1,040 texts (50%), ")
    assert lines[1].startswith("Embedding: 1,040 texts of 1,040 texts (100%), 0 s left")
    assert lines[2].startswith("Embedding: 1,040 texts done in ")


def test_an_unknown_total_and_bytes() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Download", None, "bytes", every_seconds=0)
    progress.advance(12_345_678)
    assert lines == ["Download: 12.3 MB so far"]


def test_lines_are_rare() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Embedding", 10_000, "texts", every_seconds=3600)
    for _ in range(10_000):
        progress.advance(1)
    assert lines == []
