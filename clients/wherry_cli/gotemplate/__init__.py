"""Go templates, as far as `inspect --format` uses them: text/template, and what containers/common adds.

Built: fields, maps, variables, pipelines, if, with, range, break, continue, comparison, printing, the
functions of both, the numbers and the text of a time, the parts of a digest. Not built, and refused as such:
define, block, template, complex numbers, `%#v` and `%*d`, other methods.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wherry.errors import InvalidError
from wherry_cli.gotemplate.functions import FUNCTIONS
from wherry_cli.gotemplate.parser import Parser
from wherry_cli.gotemplate.runner import Runner
from wherry_cli.gotemplate.tabwriter import align
from wherry_cli.gotemplate.values import Value, interface

if TYPE_CHECKING:
    from collections.abc import Callable

_JSON = re.compile(r"[ \t\r\n\f]*(json|{{[ \t\r\n\f]*json\.?[ \t\r\n\f]*}})[ \t\r\n\f]*")
_OWN_RANGE = re.compile(r"{{\s*range\s*\.\s*}}.*{{\s*end\s*-?\s*}}", re.DOTALL)
_ESCAPES = {"\\t": "\t", "\\n": "\n"}
_TABLE = {"table ": "", "\\t": "\t", " ": "\t", "\\n": "\n"}


def asks_for_json(form: str) -> bool:
    """Whether a --format is one of the spellings of the normal JSON output."""
    return not form or _JSON.fullmatch(form) is not None


def render(form: str, name: str, data: Value, write: Callable[[str], None]) -> None:
    """Write what the template `form` makes of `data`; what was made before an error is written too.

    `name`: of the template, in error texts. A `table ` prefix aligns columns. Raises InvalidError with
    text/template's text, NotYetError.
    """
    table = form.startswith("table ")
    normal = _replace(form, _TABLE if table else _ESCAPES)
    normal = normal if normal.endswith("\n") else normal + "\n"
    text = _enclose(normal, table)
    try:
        nodes = Parser(name, text, FUNCTIONS).parse()
    except InvalidError:
        # The escapes may have broken a string: the text as it was given decides.
        text = _enclose(form.removeprefix("table ") if table else form, table)
        nodes = Parser(name, text, FUNCTIONS).parse()
    data = Value("slice", "[]interface {}", (interface(data),))
    if not table:
        Runner(name, text, write).run(nodes, data)
        return
    pieces: list[str] = []
    try:
        Runner(name, text, pieces.append).run(nodes, data)
    finally:
        write(align("".join(pieces)))


def _replace(text: str, table: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, table)), lambda found: table[found[0]], text)


def _enclose(text: str, always: bool) -> str:
    """Inside a range over the list that the data comes in, unless the text has its own."""
    if not always and _OWN_RANGE.search(text):
        return text
    return f"{{{{range .}}}}{text}{{{{end -}}}}"
