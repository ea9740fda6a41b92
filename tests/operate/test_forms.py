"""The forms of the Prefect UI: what they are made from, as people see it and as the server checks it.

`python -m tests.operate.test_forms` writes forms.json anew: look at the difference, it is what people will see.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

from schemas.recipe import Recipe
from schemas.train_recipe import TrainRecipe
from tests.operate.conftest import Stage

Json = dict[str, Any]
SNAPSHOT = Path(__file__).with_name("forms.json")
CHECKOUT = Path(__file__).parents[2]
# Flows that people start.
ENTRY_POINTS = sorted(
    {
        deployment["entrypoint"]
        for deployment in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
        if not deployment["entrypoint"].startswith("flows/train.py")
    }
)


def forms() -> Json:
    """Flow -> JSON schema of its parameters, as it is registered."""
    return {name: parameter_schema(import_object(name)).model_dump() for name in ENTRY_POINTS}


def fields(schema: Json) -> Iterator[tuple[str, Json]]:
    """Name and schema of each field of the sections, nested ones too."""
    for definition in schema["definitions"].values():
        yield from _fields(definition)


def _fields(schema: Json) -> Iterator[tuple[str, Json]]:
    for name, field in schema.get("properties", {}).items():
        yield name, field
        yield from _fields(field)


def test_the_forms_are_those_that_were_looked_at_last() -> None:
    assert forms() == json.loads(SNAPSHOT.read_bytes()), "python -m tests.operate.test_forms writes the file anew"


@pytest.mark.parametrize("flow", ENTRY_POINTS)
def test_every_field_says_what_it_is(flow: str) -> None:
    schema = forms()[flow]
    assert all(field["description"] for field in schema["properties"].values())
    found = dict(fields(schema))
    assert len(found) > 50
    for name, field in found.items():
        assert field.get("title"), name
        assert field.get("description") or "$ref" in field, name
        assert field["title"] != name, f"{name} has no title of its own"


@pytest.mark.parametrize("flow", ENTRY_POINTS)
def test_nothing_common_is_a_choice_between_types_or_raw_json(flow: str) -> None:
    for name, field in fields(forms()[flow]):
        variants = field.get("anyOf", [field])
        others = [each for each in variants if each.get("type") != "null"]
        if len(others) == 1 and len(variants) > 1:
            # Empty means something else than the default there, so that it has to be chosen.
            assert field["default"] is not None, name
        raw = [each for each in others if each.get("type") == "object" and "properties" not in each]
        if raw:
            # The newer UI has no field for such a mapping at all.
            assert any(each.get("type") == "array" for each in others), f"{name} can be given as JSON alone"
            assert others[0] not in raw, f"{name} is JSON unless another type is chosen"


def refused(recipe: Json) -> list[str]:
    """What a server says against a recipe before anything runs."""
    schema = parameter_schema(import_object("flows/retrain.py:retrain")).model_dump()
    return [error.message for error in validate({"recipe": recipe}, schema)]


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"name": None, "data": {"source": None, "id": None, "slices": []}},
        {"data": {"source": "sample", "labels": ["0 = fine", "1 = bad"]}},
        {"data": {"source": "sample", "labels": {"0": "fine", "1": "bad"}}},
        {"train": {"epochs": None, "hidden": None, "layers": None, "early_stopping_patience": None, "clip_norm": None}},
        {"train": {"mode": "partial", "freeze_layers": "embeddings", "max_length": "auto"}},
        {"train": {"class_weights": {"sincere": 1.0, "insincere": 3}}},
        {"train": {"class_weights": ["sincere = 1.0", "insincere=3"]}},
        {"train": {"class_weights": "balanced"}},
        {"train": {"class_weights": []}},
        {"drift": {"warn": None, "figures": {"labels": {}, "words": {"fail": 0.5}}}},
    ],
    ids=str,
)
def test_what_a_form_sends_is_accepted_by_the_server_and_by_the_flow(recipe: Json) -> None:
    assert not refused(recipe)
    complete = Recipe.model_validate(recipe)
    # A run that another run asks for is given what is complete.
    assert not refused(complete.as_parameters())
    assert Recipe.model_validate(complete.as_parameters()) == complete


def test_a_null_is_taken_wherever_empty_is_the_default() -> None:
    sections = {name: field.annotation for name, field in Recipe.model_fields.items()}
    for name, section in sections.items():
        assert isinstance(section, type) or name == "name"
        for field, about in getattr(section, "model_fields", {}).items():
            if about.default is None:
                assert not refused({name: {field: None}}), (name, field)


def test_lines_of_a_form_are_a_mapping_in_their_order() -> None:
    labels = Recipe.model_validate({"data": {"source": "rows.csv", "labels": ["1 = bad", " 0=fine "]}, "name": "x"})
    assert list((labels.data.labels or {}).items()) == [("1", "bad"), ("0", "fine")]
    assert Recipe.model_validate({"data": {"source": "rows.csv", "labels": []}, "name": "x"}).data.labels is None
    assert Recipe.model_validate({"data": {"labels": []}}) == Recipe.model_validate({})
    # A server on PostgreSQL gives a mapping back in another order.
    assert labels.as_parameters()["data"]["labels"] == ["1 = bad", "0 = fine"]
    odd = Recipe.model_validate({"data": {"source": "rows.csv", "labels": {"a=b": "x", "c": "y"}}, "name": "x"})
    assert odd.as_parameters()["data"]["labels"] == {"a=b": "x", "c": "y"}
    with pytest.raises(ValidationError, match="in more than one line"):
        Recipe.model_validate({"data": {"labels": ["0 = fine", "0 = bad"]}})
    with pytest.raises(ValidationError, match="each line names a raw label and its class"):
        Recipe.model_validate({"data": {"labels": ["fine"]}})


def test_lines_of_a_form_are_weights_of_classes() -> None:
    weighed = TrainRecipe.model_validate({"class_weights": ["insincere = 3", " a=b =.5 "]})
    assert weighed.class_weights == {"insincere": 3.0, "a=b": 0.5}
    assert TrainRecipe.model_validate({"class_weights": []}).class_weights is None
    with pytest.raises(ValidationError, match="in more than one line"):
        TrainRecipe.model_validate({"class_weights": ["a = 1", "a = 2"]})
    with pytest.raises(ValidationError, match="each line names a class and its weight"):
        TrainRecipe.model_validate({"class_weights": ["insincere"]})
    with pytest.raises(ValidationError, match="greater than 0"):
        TrainRecipe.model_validate({"class_weights": ["insincere = 0"]})


def test_types_of_a_field_are_told_apart_by_titles() -> None:
    """Without one, a form calls them `str`, `int` and `None`."""
    for flow, schema in forms().items():
        for name, field in fields(schema):
            variants = field.get("anyOf", [])
            # Nothing chosen is the same as no lines there.
            untitled = [each for each in variants if "title" not in each and each != {"type": "null"}]
            assert not untitled, (flow, name)
            if field.get("default", ...) is not ...:
                assert all("title" in each for each in variants), (flow, name)


@pytest.mark.parametrize(
    "recipe",
    [
        {"name": "Not A Name"},
        {"data": {"labels": ["0"]}},
        {"data": {"labels": ["0 = "]}},
        {"data": {"labels": ["0 = a = b"]}},
        {"data": {"format": "xls"}},
        {"preprocess": {"test_fraction": 0.9}},
        {"preprocess": {"contract": "no contract"}},
        {"drift": {"figures": {"lengths": {}}}},
        {"drift": {"figures": {"length": {"warn": -1}}}},
        {"train": {"epochs": 0}},
        {"train": {"mode": "magic"}},
        {"train": {"class_weights": ["insincere"]}},
        {"train": {"class_weights": ["insincere = 0.0"]}},
        {"train": {"class_weights": ["insincere = -1"]}},
        {"train": {"class_weights": ["= 3"]}},
        {"train": {"hidden": [0]}},
        {"train": {"misspelt": 1}},
    ],
    ids=str,
)
def test_wrong_values_are_refused_at_submission(recipe: Json) -> None:
    assert refused(recipe)


@pytest.mark.slow
def test_the_server_refuses_them_when_somebody_presses_run(stage: Stage) -> None:
    found = stage.get("/deployments/name/Retrain/on-demand")
    given = {"parameters": {"recipe": {"train": {"epochs": 0}}}, "state": {"type": "SCHEDULED"}}
    answer = httpx.post(f"{stage.settings['PREFECT_API_URL']}/deployments/{found['id']}/create_flow_run", json=given)
    assert answer.status_code == httpx.codes.CONFLICT
    assert "0 is less than the minimum of 1" in answer.text
    assert found["parameter_openapi_schema"] == json.loads(SNAPSHOT.read_bytes())["flows/retrain.py:retrain"]


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(forms(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
