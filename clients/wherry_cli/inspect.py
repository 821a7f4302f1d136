"""`wherry inspect IMAGE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from wherry.errors import InvalidError, context

if TYPE_CHECKING:
    from wherry_cli.call import Call
    from wherry_cli.flagparser import Given
    from wherry_client import AsyncClient

View = Literal["summary", "manifest", "config", "raw-config"]

_TAGS_REFUSED = "Registry disallows tag list retrieval; skipping"


def run(call: Call) -> int:
    """Print what the flags ask for: a summary, the configuration, or the bytes of one of both."""
    if len(call.arguments) != 1:
        raise InvalidError("Exactly one argument expected")
    given = call.given
    if given.on("raw") and given.text("format"):
        raise InvalidError("raw output does not support format option")
    from wherry.protocol.messages import InspectOptions
    from wherry_cli.access import image_access, platform_choice
    from wherry_cli.request import ask

    view = _view(given)
    options = InspectOptions(
        access=image_access(call),
        platform=platform_choice(given),
        view=view,
        tags=not given.on("no-tags"),
        digest_algorithm=_algorithm(given),
    )
    call.refuse_unbuilt()

    async def question(client: AsyncClient) -> bytes:
        return await client.inspect(call.arguments[0], options)

    document = ask(call, question)
    if view == "summary":
        _show_summary(call, document)
    elif view == "config":
        with context("Error writing OCI-formatted configuration data to standard output"):
            _show_config(call, document)
    else:
        call.write(document)
    return 0


def _view(given: Given) -> View:
    if given.on("config"):
        return "raw-config" if given.on("raw") else "config"
    return "manifest" if given.on("raw") else "summary"


def _algorithm(given: Given) -> str:
    """ "" where the flag was not given; given empty it means sha256."""
    name = given.text("manifest-digest")
    return "" if name is None else name or "sha256"


def _show_summary(call: Call, document: bytes) -> None:
    from wherry_cli.inspected import read_summary, summary_json

    result = read_summary(document)
    if result.repo_tags is None:
        call.log.write("warning", _TAGS_REFUSED)
    form = call.given.text("format") or ""
    if not form:
        # The usual case does without the template's modules.
        call.write(summary_json(result))
        return
    from wherry_cli.gotemplate import asks_for_json, render
    from wherry_cli.inspected import summary_value

    if asks_for_json(form):
        call.write(summary_json(result))
    else:
        render(form, f"{call.program} inspect", summary_value(result), call.write)


def _show_config(call: Call, document: bytes) -> None:
    from wherry_cli.inspected import config_json

    form = call.given.text("format") or ""
    if not form:
        call.write(config_json(document))
        return
    from wherry_cli.gotemplate import asks_for_json, render
    from wherry_cli.inspected import config_value

    if asks_for_json(form):
        call.write(config_json(document))
    else:
        render(form, f"{call.program} inspect", config_value(document), call.write)
