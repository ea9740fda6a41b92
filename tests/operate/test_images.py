"""Images of the workers, as far as they can be checked without Docker: what they copy, which Python, which packages."""

import re
import tomllib
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.operate.conftest import CHECKOUT
from tests.operate.test_work_pools import FOLDER, KUBERNETES, rendered

IMAGES = CHECKOUT / "deployments" / "images"
KINDS = ["cpu", "gpu", "tpu"]
PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
WANTED = [Requirement(line) for line in PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["pipeline"]]
# Of another minor version of TensorFlow, and the package that has another name there.
OF_THE_TPU = {"tensorflow", "tensorflow-text", "tf-keras", "tensorboard", "tensorflow-tpu", "libtpu"}


def instructions(kind: str) -> list[tuple[str, str]]:
    """Keyword and rest of each instruction, with continued lines joined."""
    text = (IMAGES / f"{kind}.Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line]


def of(kind: str, keyword: str) -> list[str]:
    return [rest for word, rest in instructions(kind) if word == keyword]


def locked(path: Path) -> dict[str, set[str]]:
    """Package -> versions; a lock for several versions of Python may have several of one."""
    found: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=\S)", path.read_text(encoding="utf-8")):
        if match := re.match(r"([a-z0-9-]+)(?:\[[a-z-]+\])?==(\S+)", entry):
            assert "--hash=sha256:" in entry, match[0]
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_copied_is_there_and_is_sent_to_docker(kind: str) -> None:
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    sent = [line[1:] for line in ignored if line.startswith("!")]
    for rest in of(kind, "COPY"):
        if rest.startswith("--from=build "):
            continue
        *sources, _ = rest.split()
        for source in sources:
            assert (CHECKOUT / source).exists(), source
            assert any(fnmatch(source, f"{pattern}*") for pattern in sent), source
    # The flows of prefect.yaml, and all that they import.
    (packages,) = [
        contract["layers"] for contract in PROJECT["tool"]["importlinter"]["contracts"] if "layers" in contract
    ]
    folders = {layer.split(".")[0] for layer in packages}
    assert folders <= {rest.split()[0] for rest in of(kind, "COPY")}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_one_python_that_hubtune_supports(kind: str) -> None:
    versions = {re.match(r"python:(\d+\.\d+\.\d+)-slim-bookworm( AS build)?$", rest) for rest in of(kind, "FROM")}
    (version,) = {match[1] for match in versions if match is not None}
    assert len(of(kind, "FROM")) == len(versions) == 2
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_as_the_user_of_the_pods_and_holds_no_secret(kind: str) -> None:
    (user,) = of(kind, "USER")
    for name in KUBERNETES:
        pod = rendered(name)["job_manifest"]["spec"]["template"]["spec"]["securityContext"]
        assert user == f"{pod['runAsUser']}:{pod['runAsGroup']}"
        assert pod["fsGroup"] == pod["runAsGroup"]
    assert any(f"--uid {user.split(':')[0]} " in rest for rest in of(kind, "RUN"))
    assert not of(kind, "ARG")
    assert of(kind, "WORKDIR") == [FOLDER]


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_it_installs_is_locked(kind: str) -> None:
    for rest in of(kind, "RUN"):
        for command in rest.split("&&"):
            if re.search(r"pip (install|sync) ", command):
                assert "--require-hashes" in command or "--no-deps --build-constraints" in command, command
    assert any(f"/build/{kind}.lock" in rest for rest in of(kind, "RUN"))
    # No address of an index gets into a lock.
    assert "://" not in (IMAGES / f"{kind}.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_its_lock_has_all_that_the_pipeline_needs_and_nothing_of_dev(kind: str) -> None:
    lock, all_locked = locked(IMAGES / f"{kind}.lock"), locked(CHECKOUT / "requirements.lock")
    apart = OF_THE_TPU if kind == "tpu" else set()
    for requirement in WANTED:
        wanted = canonicalize_name(requirement.name)
        if wanted not in apart:
            assert all(version in requirement.specifier for version in lock[wanted]), wanted
    for name in set(lock) & set(all_locked) - apart:
        assert lock[name] == all_locked[name], name
    # Complete: what each package requires on this machine is there.
    told = {package["name"] for package in PROJECT["tool"]["uv"]["dependency-metadata"]}
    for name in set(lock) & set(all_locked) - told:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if (need.marker is None or need.marker.evaluate({"extra": ""})) and need.name not in apart:
                assert canonicalize_name(need.name) in lock, (name, need.name)
    assert not {"pytest", "mypy", "ruff", "hypothesis", "pre-commit", "hatchling"} & set(lock)


def test_the_gpu_has_the_libraries_that_tensorflow_names() -> None:
    lock = locked(IMAGES / "gpu.lock")
    named = [Requirement(need) for need in metadata.requires("tensorflow") or [] if "and-cuda" in need]
    assert {need.name for need in named} >= {"nvidia-cudnn-cu12", "nvidia-nccl-cu12", "nvidia-cublas-cu12"}
    for need in named:
        assert all(version in need.specifier for version in lock[need.name]), need.name
    assert not [name for name in locked(IMAGES / "cpu.lock") if name.startswith("nvidia")]


def test_the_tpu_has_one_tensorflow_that_has_its_kernels() -> None:
    lock = locked(IMAGES / "tpu.lock")
    assert "tensorflow" not in lock
    assert lock["libtpu"] == {"0.0.14"}
    minor = {
        version.rpartition(".")[0]
        for name in ("tensorflow-tpu", "tensorflow-text", "tf-keras")
        for version in lock[name]
    }
    assert minor == {"2.20"}
