"""Go templates against what skopeo made of the same templates and the same image.

golden/templates.json is skopeo's output; its `recorded` member says which version and by which command. The
image is docs/examples/hello.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.errors import NotYetError, WherryError
from wherry.protocol.messages import InspectedLayer, InspectResult
from wherry_cli.gotemplate import asks_for_json, render, values
from wherry_cli.gotemplate.gotime import time_text
from wherry_cli.inspected import config_value, summary_value

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "templates.json").read_bytes())
CASES: list[dict[str, Any]] = GOLDEN["cases"]

# Whose exact text is Go's reflect or strconv's own; that it fails, and where, is the same.
GO_TAIL = (
    "error calling",
    "bad number syntax",
    "strconv",
    "malformed character constant",
    "integer overflow",
)


@pytest.fixture(scope="module", autouse=True)
def utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def summary() -> values.Value:
    shown = GOLDEN["summary"]
    layers = tuple(
        InspectedLayer(one["MIMEType"], one["Digest"], one["Size"], one["Annotations"])
        for one in shown["LayersData"]
    )
    return summary_value(
        InspectResult(
            name="",
            tag="",
            digest=shown["Digest"],
            repo_tags=tuple(shown["RepoTags"]),
            created=shown["Created"],
            docker_version=shown["DockerVersion"],
            labels=shown["Labels"],
            architecture=shown["Architecture"],
            os=shown["Os"],
            layers=tuple(shown["Layers"]),
            layers_data=layers,
            env=tuple(shown["Env"]),
        )
    )


def config() -> values.Value:
    return config_value(json.dumps(GOLDEN["config"]).encode())


def rendered(case: dict[str, Any]) -> tuple[str, str]:
    """(what was written, the error's text)."""
    pieces: list[str] = []
    try:
        data = config() if case["config"] else summary()
        render(case["template"], "skopeo inspect", data, pieces.append)
    except WherryError as error:
        return "".join(pieces), str(error)
    return "".join(pieces), ""


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{{.Created.Month}}", "Month of times"),
        ("{{.Digest.Validate}}", "Validate of digests"),
        ('{{define "x"}}{{end}}', "{{define}}"),
        ('{{template "x"}}', "{{template}}"),
        ('{{block "x" .}}{{end}}', "{{block}}"),
        ('{{printf "%#v" 1}}', "%#v"),
        ('{{printf "%*d" 1 2}}', "widths and indexes"),
        ("{{1i}}", "complex numbers"),
    ],
)
def test_what_is_not_built_is_refused(template: str, what: str) -> None:
    with pytest.raises(NotYetError, match=f"^{re.escape(what)}.* (is|are) not yet built in wherry$"):
        render(template, "wherry inspect", summary(), str)


def test_zone_of_the_machine_is_named() -> None:
    os.environ["TZ"] = "XST-2"
    time.tzset()
    try:
        assert time_text("2024-05-06T07:08:09.12+02:00") == "2024-05-06 07:08:09.12 +0200 XST"
        assert time_text("2024-05-06T07:08:09+03:00") == "2024-05-06 07:08:09 +0300 +0300"
        assert time_text("2024-05-06T07:08:09Z") == "2024-05-06 07:08:09 +0000 UTC"
    finally:
        os.environ["TZ"] = "UTC"
        time.tzset()


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not asks_for_json(case["template"])],
    ids=lambda case: f"{'config ' if case['config'] else ''}{case['template']}",
)
def test_template_as_skopeo(case: dict[str, Any]) -> None:
    written, error = rendered(case)
    assert written == case["stdout"]
    expected = case["error"]
    for tail in GO_TAIL:
        if tail in expected:
            assert error.partition(tail)[:2] == expected.partition(tail)[:2]
            return
    assert error == expected
