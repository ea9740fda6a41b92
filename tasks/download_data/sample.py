"""The built-in data source `sample`: questions written for this project, labelled sincere (0) or insincere (1)."""

from pathlib import Path

# The pipeline runs from a checkout; examples/README.md says what is in the file.
PATH = Path(__file__).parents[2] / "examples" / "questions.csv"
