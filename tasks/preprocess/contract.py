"""A contract of the user's own: a pandera model or schema that clean rows must keep as well."""

import difflib
import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pandera.errors
import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context

from hubtune.errors import InvalidData, InvalidRecipe

_WHERE = "preprocess.contract"
# Of an error that is not of pandera's making, a message shows no more.
_SHOWN_CHARACTERS = 300


class Contract:
    """What `preprocess.contract` names, loaded.

    Its rows have the columns `text`, normalised, `text_pair` too where texts are pairs, and `label`, the name of the
    class (a list of names with multilabel).

    Args:
        name: `module:name`; the module is looked for in the working directory too.

    Raises:
        InvalidRecipe: there is no such module, or what it holds under the name is no contract.
    """

    def __init__(self, name: str) -> None:
        module_name, _, attribute = name.partition(":")
        before = sys.modules.get(module_name)
        try:
            module, content = _load(module_name)
            found = _schema(module, attribute)
        finally:
            if before is not None:  # a module that others use too, if the recipe names the wrong one
                sys.modules[module_name] = before
        if not isinstance(found, pa.DataFrameSchema):
            raise InvalidRecipe(
                f"{name!r} is no contract: {_instead(module, attribute, found)}",
                where=_WHERE,
                remedy="Name a subclass of pandera.polars.DataFrameModel, or a pandera.polars.DataFrameSchema.",
            )
        if found.drop_invalid_rows or any(column.drop_invalid_rows for column in found.columns.values()):
            raise InvalidRecipe(
                f"The contract {name!r} drops invalid rows, so that nobody would hear of them.",
                where=_WHERE,
                remedy="Leave drop_invalid_rows out of it: rows that break it go to quarantine.",
            )
        self.name, self._schema = name, found
        self.digest = hashlib.sha256(content).hexdigest()
        """Of the module's file: with another content, rows are judged again."""

    def broken(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Which rows break the contract.

        Args:
            rows: columns `index`, `text`, `label`, and `text_pair` of pairs.

        Returns:
            Columns `index` (of a row that breaks it) and `broken` (the first check that it breaks, in words).

        Raises:
            InvalidData: the rows as a whole break it, or a check failed to run.
        """
        everything = ValidationDepth.SCHEMA_AND_DATA
        try:
            # Whatever the environment says of pandera's checks: these decide what is trained on.
            with config_context(validation_enabled=True, validation_depth=everything):
                self._schema.validate(rows.drop("index"), lazy=True)
        except pandera.errors.SchemaErrors as error:
            return self._failures(rows, error)
        except Exception as error:
            raise InvalidData(
                f"The contract {self.name!r} could not be checked: {type(error).__name__}: "
                f"{str(error)[:_SHOWN_CHARACTERS]}",
                where=_WHERE,
                remedy=f"Correct the contract; its rows have the columns {_columns(rows)}.",
            ) from error
        return pl.DataFrame(schema={"index": rows.schema["index"], "broken": pl.String})

    def _failures(self, rows: pl.DataFrame, error: pandera.errors.SchemaErrors) -> pl.DataFrame:
        broken = pl.Series("broken", [None] * rows.height, dtype=pl.String)
        # The answers, and not pandera's table of failures: it may be cut short, and puts an answer about all rows down
        # to the first ones.
        for each in reversed(error.schema_errors):
            answers = each.check_output
            if not isinstance(answers, pl.DataFrame) or answers.height != rows.height:
                raise self._broken_as_a_whole(each, rows)
            wrong = answers.to_series().not_().fill_null(False).arg_true()
            broken = broken.scatter(wrong, _check(each))
        return pl.DataFrame([rows["index"], broken]).drop_nulls()

    def _broken_as_a_whole(self, error: pandera.errors.SchemaError, rows: pl.DataFrame) -> InvalidData:
        return InvalidData(
            f"The rows as a whole break the contract {self.name!r} ({_check(error)}): {str(error)[:_SHOWN_CHARACTERS]}",
            where=_WHERE,
            remedy=f"Repair the data, or correct the contract: its rows have the columns {_columns(rows)}, and a check "
            "that is to send rows to quarantine answers for each row.",
        )


def _load(name: str) -> tuple[ModuleType, bytes]:
    """The module as its file is now, whatever was imported under the name before, and the file's content."""
    # The recipe lies beside the contract as often as not, and commands do not look there. Last: nothing that happens to
    # lie there may stand in for a library.
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        importlib.invalidate_caches()
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"No module named {name!r}")
        content = Path(spec.origin).read_bytes()
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        # What is hashed is what runs: an import may take what it had before, or a compiled file that is older.
        exec(compile(content, spec.origin, "exec"), vars(module))  # noqa: S102
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise InvalidRecipe(
            f"The module {name!r} cannot be imported: {type(error).__name__}: {error}.",
            where=_WHERE,
            remedy=f"Put {name.replace('.', '/')}.py into {here}, or install it; and see that it imports by itself.",
        ) from error
    finally:
        if added:
            sys.path.remove(here)
    return module, content


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


def _columns(rows: pl.DataFrame) -> str:
    *names, last = rows.drop("index").columns
    return f"{', '.join(names)} and {last}"


def _check(error: pandera.errors.SchemaError) -> str:
    check = error.check
    words = str(check if isinstance(check, str) else check.error or check.name)
    return f"{error.schema.name}: {words}" if isinstance(error.schema, pa.Column) else words
