"""`python -m hubtune.inference FOLDER [--engine ENGINE]`: a published model's answers, with nothing else loaded.

Texts come on stdin as one JSON string on each line (a pair as a list of two); answers go to stdout as one JSON object
on each line, in the same order. This is how an export is proven before it is published: in a process that has only what
a service has.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from hubtune.errors import HubtuneError
from hubtune.inference.classifier import Classifier


def main() -> int:
    """Answer every text on stdin.

    Returns:
        The exit status; on a failure, stderr says why.
    """
    parser = argparse.ArgumentParser(prog="python -m hubtune.inference", description="Answer texts from stdin.")
    parser.add_argument("folder", type=Path, help="folder of a published model")
    parser.add_argument("--engine", choices=["onnx", "tensorflow"], help="default: the one it was published for")
    arguments = parser.parse_args()
    # Libraries print to stdout as they please: it becomes stderr, and the answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        texts = [json.loads(line) for line in sys.stdin.buffer]
        classifier = Classifier.from_folder(arguments.folder, arguments.engine)
        for answer in classifier.predict(texts):
            answers.write(json.dumps(answer.to_json()) + "\n")
        answers.flush()
    except HubtuneError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a command
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
