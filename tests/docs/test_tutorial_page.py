"""docs/tutorial.md names the fields of the form as the form does."""

import json
import re

from tests.docs.pages import CHECKOUT, text_of

FORMS = json.loads((CHECKOUT / "tests" / "operate" / "forms.json").read_bytes())


def test_the_fields_are_those_of_the_form() -> None:
    sections = FORMS["flows/retrain.py:retrain"]["definitions"]
    titles = {
        section["title"].removesuffix("Recipe"): {field.get("title") for field in section["properties"].values()}
        for section in sections.values()
        if "properties" in section
    }
    table = text_of("docs/tutorial.md").partition("| field | value |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| (?:(\w+): )?([A-Z][\w ]+) \|", table, re.MULTILINE)
    assert len(named) == 7
    for section, title in named:
        assert title in titles[section], title
