"""A contract of the user's own: a pandera model or schema that clean rows must keep as well."""

import difflib
import hashlib
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandera.errors
import pandera.polars as pa
import polars as pl

from hubtune.errors import InvalidData, InvalidRecipe

_WHERE = "preprocess.contract"
# Of an error that is not of pandera's making, a message shows no more.
_SHOWN_CHARACTERS = 300


class Contract:
    """What `preprocess.contract` names, loaded.

    Its rows have two columns: `text`, normalised, and `label`, the name of the class (a list of names with multilabel).

    Args:
        name: `module:name`; the module is looked for in the working directory too.

    Raises:
        InvalidRecipe: there is no such module, or what it holds under the name is no contract.
    """

    def __init__(self, name: str) -> None:
        module_name, _, attribute = name.partition(":")
        module = _module(module_name)
        found = _schema(module, attribute)
        if not isinstance(found, pa.DataFrameSchema):
            raise InvalidRecipe(
                f"{name!r} is no contract: {_instead(module, attribute, found)}",
                where=_WHERE,
                remedy="Name a subclass of pandera.polars.DataFrameModel, or a pandera.polars.DataFrameSchema.",
            )
        self.name, self._schema = name, found
        source = inspect.getsourcefile(module)
        content = Path(source).read_bytes() if source else repr(found).encode()
        self.digest = hashlib.sha256(content).hexdigest()
        """Of the module's file: with another content, rows are judged again."""

    def broken(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Which rows break the contract.

        Args:
            rows: columns `index`, `text`, `label`.

        Returns:
            Columns `index` (of a row that breaks it) and `broken` (the first check that it breaks, in words).

        Raises:
            InvalidData: the rows as a whole break it, or a check failed to run.
        """
        try:
            self._schema.validate(rows.drop("index"), lazy=True)
        except pandera.errors.SchemaErrors as error:
            return self._failures(rows, error)
        except Exception as error:
            raise InvalidData(
                f"The contract {self.name!r} could not be checked: {type(error).__name__}: "
                f"{str(error)[:_SHOWN_CHARACTERS]}",
                where=_WHERE,
                remedy="Correct the contract; its rows have the columns text and label.",
            ) from error
        return pl.DataFrame(schema={"index": rows.schema["index"], "broken": pl.String})

    def _failures(self, rows: pl.DataFrame, error: pandera.errors.SchemaErrors) -> pl.DataFrame:
        for each in error.schema_errors:
            answers = each.check_output
            # pandera would put an answer about all rows down to the first ones.
            if isinstance(answers, pl.DataFrame) and answers.height != rows.height:
                name = getattr(each.check, "name", each.check)
                raise self._broken_as_a_whole(str(name), "its answer is no")
        failures = error.failure_cases
        for failure in failures.filter(pl.col("index").is_null()).iter_rows(named=True):
            raise self._broken_as_a_whole(_check(failure), failure["failure_case"])
        first_of_each = failures.unique("index", keep="first", maintain_order=True).sort("index")
        positions = first_of_each["index"].cast(pl.Int64)
        words = [_check(row) for row in first_of_each.iter_rows(named=True)]
        return pl.DataFrame({"index": rows["index"].gather(positions), "broken": pl.Series(words, dtype=pl.String)})

    def _broken_as_a_whole(self, check: str, answer: object) -> InvalidData:
        return InvalidData(
            f"The rows as a whole break the contract {self.name!r} ({check}): {answer}.",
            where=_WHERE,
            remedy="Repair the data, or correct the contract: its rows have the columns text and label, and a check "
            "that is to send rows to quarantine answers for each row.",
        )


def _module(name: str) -> ModuleType:
    # As `python -m` does: the recipe lies beside the contract as often as not, and commands do not look there.
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except Exception as error:
        what = f"The module {name!r} cannot be imported: {type(error).__name__}: {error}."
        remedy = f"Put {name.replace('.', '/')}.py into {here}, or install it; and see that it imports by itself."
        raise InvalidRecipe(what, where=_WHERE, remedy=remedy) from error
    finally:
        if added:
            sys.path.remove(here)


def _schema(module: ModuleType, attribute: str) -> object:
    found = getattr(module, attribute, None)
    if not (inspect.isclass(found) and issubclass(found, pa.DataFrameModel)):
        return found
    try:
        return found.to_schema()
    except Exception as error:
        raise InvalidRecipe(
            f"The model {attribute!r} is no contract: {type(error).__name__}: {error}",
            where=_WHERE,
            remedy=f"Correct it in {module.__file__}.",
        ) from error


def _instead(module: ModuleType, attribute: str, found: object) -> str:
    if found is not None:
        return f"it is a {type(found).__module__}.{type(found).__qualname__}."
    names = [each for each in vars(module) if not each.startswith("_")]
    near = difflib.get_close_matches(attribute, names, n=1)
    return f"{module.__name__} has no {attribute!r}{f'; did you mean {near[0]!r}?' if near else '.'}"


def _check(failure: dict[str, Any]) -> str:
    column = failure["column"]
    return f"{column}: {failure['check']}" if column else str(failure["check"])
