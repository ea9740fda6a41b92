"""The pages of the project: the commands on them, the files that they tell to write, and what no test can run."""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGES = ["README.md", *(path.relative_to(CHECKOUT).as_posix() for path in sorted(CHECKOUT.glob("docs/**/*.md")))]
LANGUAGES = ("sh", "text", "yaml", "csv", "python", "mermaid")

# Pages whose commands `tests/road/test_pages.py` runs, but for those below.
FOLLOWED = (
    "docs/tutorial.md",
    "docs/how-to/own-contract.md",
    "docs/how-to/failed-step.md",
    "README.md",
    "docs/how-to/rollback.md",
    "docs/how-to/gcs.md",
)

_MADE = "it has made the environment that the tests run in"
_OTHER_PACKAGES = "it would change the environment that the tests run in"
_POOL = "tests/operate/test_work_pools.py makes pools of each template under names of its own"
_WORKER = "a worker runs until it is stopped; tests/operate/conftest.py and tests/operate/test_work_pools.py start some"
_LIMIT = "tests/road/test_pages.py types it, on the server of the tutorial"
_NOT_THE_WORKER = "that worker's package is not here; tests/operate/test_work_pools.py has one for processes"
# Page -> command -> why it is not run as it stands; which other test or page does the same, where one does.
NOT_RUN: dict[str, dict[str, str]] = {
    "README.md": {
        "make retrain": "it makes the environment, then runs `hubtune retrain`, as tests/road/conftest.py does",
        "make test": "it is what runs this",
    },
    "docs/benchmarks.md": {
        ".venv/bin/python -m benchmarks.speed DATA/quora_insincere --peers PEERS/bin/python --only MEASUREMENT ... "
        "--json speed.json": "hours, with packages of others",
        ".venv/bin/python -m benchmarks.quality_peers DATA --peers PEERS/bin/python --json quality.json": "the same",
    },
    "docs/how-to/alerts.md": {
        ".venv/bin/hubtune up --detach": "tests/operate/test_up_postgresql.py runs it with a webhook of its own",
    },
    "docs/how-to/failed-step.md": {
        ".venv/bin/hubtune tensorboard support-tickets": "it runs until it is stopped; tests/cli/test_tensorboard.py",
    },
    "docs/how-to/gcs.md": {
        "gcloud storage rsync --recursive ~/.hubtune/store gs://bucket/prefix": "there is no gcloud, and no bucket",
    },
    "docs/how-to/gpu-pool.md": {
        "make setup": _MADE,
        ".tools/bin/uv pip sync --require-hashes --python .venv/bin/python deployments/images/gpu.lock": (
            _OTHER_PACKAGES
        ),
        ".tools/bin/uv pip install --no-deps --no-build-isolation --python .venv/bin/python --editable .": (
            _OTHER_PACKAGES
        ),
        "nvidia-smi": "there is no GPU",
        ".venv/bin/hubtune up": "tests/operate/test_up.py runs it until Ctrl-C",
    },
    "docs/how-to/offline.md": {"make setup": _MADE},
    "docs/how-to/own-data.md": {
        ".venv/bin/hubtune retrain recipe.yaml": "the data of its recipes are not here; docs/tutorial.md has some",
    },
    "docs/how-to/own-model.md": {
        ".venv/bin/hubtune retrain recipe.yaml --set model.source=/models/encoder --set "
        "model.preprocessor=/models/preprocessor": "tests/road/conftest.py does, with a model that is there (`small`)",
    },
    "docs/how-to/postgresql.md": {
        ".venv/bin/hubtune up --detach": "tests/operate/test_up_postgresql.py runs it, on a PostgreSQL of its own",
    },
    "docs/how-to/tpu.md": {
        "make setup": _MADE,
        ".tools/bin/uv pip sync --require-hashes --python .venv/bin/python deployments/images/tpu.lock": (
            _OTHER_PACKAGES
        ),
        ".tools/bin/uv pip install --no-deps --no-build-isolation --python .venv/bin/python --editable .": (
            _OTHER_PACKAGES
        ),
        "TPU_NAME=local HUBTUNE_STORE=gs://bucket/store .venv/bin/prefect worker start --pool accelerator": (
            "there is no TPU"
        ),
    },
    "docs/operating.md": {
        ".venv/bin/hubtune up": "tests/operate/test_up.py runs it until Ctrl-C",
        ".venv/bin/prefect work-pool create default --type process": _POOL,
        ".venv/bin/prefect work-pool create accelerator --type process": _POOL,
        ".venv/bin/prefect work-pool set-concurrency-limit accelerator 1": _LIMIT,
        ".venv/bin/prefect --no-prompt deploy --all": "tests/operate/conftest.py runs it before workers start",
        ".venv/bin/prefect worker start --pool default": _WORKER,
        ".venv/bin/prefect worker start --pool accelerator": _WORKER,
    },
    "docs/tutorial.md": {"make setup": _MADE},
    "docs/work-pools.md": {
        "prefect work-pool set-concurrency-limit accelerator 1": _LIMIT,
        "prefect work-pool create accelerator --type process --base-job-template deployments/work_pools/process.json": (
            _POOL
        ),
        "HUBTUNE_STORE=gs://bucket/store prefect worker start --pool accelerator": _WORKER,
        "prefect work-pool create accelerator --type docker --base-job-template deployments/work_pools/docker.json": (
            _POOL
        ),
        'pip install prefect==3.8.8 prefect-docker==0.7.4 "fastapi<0.151"': _OTHER_PACKAGES,
        "prefect worker start --pool accelerator": _NOT_THE_WORKER,
        "prefect work-pool create accelerator --type kubernetes --base-job-template "
        "deployments/work_pools/kubernetes-gpu.json": _POOL,
        'pip install prefect==3.8.8 prefect-kubernetes==0.8.0 "fastapi<0.151"': _OTHER_PACKAGES,
        "prefect work-pool create accelerator --type kubernetes --base-job-template "
        "deployments/work_pools/gke-tpu.json": _POOL,
        "prefect work-pool create accelerator --type vertex-ai --base-job-template "
        "deployments/work_pools/vertex-ai.json": _POOL,
        'pip install prefect==3.8.8 "prefect-gcp[aiplatform]==0.6.22" "fastapi<0.151"': _OTHER_PACKAGES,
        "prefect --no-prompt deploy --name train-on-accelerator --job-variable "
        '\'{"image": "registry.example.org/hubtune:1", "store": "gs://bucket/store"}\'': (
            "tests/operate/test_work_pools.py makes deployments with variables"
        ),
    },
}

_FENCE = re.compile(r'^( *)```(\w*)(?: title="([^"\n]+)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Fence:
    """A block of a page: `title` is the file that the page says to write it to."""

    language: str
    title: str
    content: str


@dataclass(frozen=True)
class Command:
    """A command of a page: as the shell takes it, and with which status the page says that it ends."""

    text: str
    status: int = 0

    @property
    def words(self) -> list[str]:
        """What the shell makes of its first line, without settings in front; [] for an `export`."""
        words = shlex.split(self.text.partition("\n")[0].partition(" <<")[0])
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        return [] if words[0] == "export" else words


def text_of(page: str) -> str:
    return (CHECKOUT / page).read_text(encoding="utf-8")


def fences(page: str) -> list[Fence]:
    """The blocks of a page, in order."""
    return [
        Fence(language, title, textwrap.dedent(content))
        for _, language, title, content in _FENCE.findall(text_of(page))
    ]


def commands(page: str) -> list[Command]:
    """The commands of a page, in order."""
    return [command for fence in fences(page) if fence.language == "sh" for command in _commands(fence.content)]


def _commands(content: str) -> list[Command]:
    found = []
    lines = iter(re.sub(r" *\\\n\s*", " ", content).splitlines())
    for line in lines:
        command, _, comment = (part.strip() for part in re.sub(r"^#", " #", line).partition(" #"))
        if not command:
            continue
        if document := re.search(r"<<(\w+)$", command):
            command += "\n"
            for inner in lines:
                command += f"{inner}\n"
                if inner == document[1]:
                    break
        status = re.search(r"ends with status (\d)", comment)
        found.append(Command(command, int(status[1]) if status else 0))
    return found


def inline_commands(page: str) -> list[Command]:
    """Commands that a page names within its sentences."""
    prose = _FENCE.sub("", text_of(page))
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)
    return [Command(span) for span in spans if re.match(r"(hubtune|prefect|make) [a-z-]", span)]
