"""`wherry logout REGISTRY[/path]`, `wherry logout --all`: forget credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidError, WherryError, context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.config.authwrite import Target
    from wherry.system import System
    from wherry_cli.call import Call
    from wherry_cli.credential_target import Key


def run(call: Call) -> int:
    """Log out, of one registry or of all; other tools' files stay as they are."""
    import trio

    from wherry_cli import coredumps

    coredumps.forbid()
    call.refuse_unbuilt()
    return trio.run(_logout, call)


async def _logout(call: Call) -> int:
    from wherry.config import authwrite, registries_load
    from wherry.model.goquote import quote
    from wherry_cli.credential_target import check_accessible, chosen_file, parse_key, written_file
    from wherry_cli.system_from import build_system, with_tls_details

    system = with_tls_details(build_system(call), call.given)
    check_accessible(call, system)
    chosen = chosen_file(call, system)
    if call.given.on("all"):
        if call.arguments:
            raise InvalidError("--all takes no arguments")
        sources = registries_load.load(system).credential_helpers
        await authwrite.remove_all(written_file(chosen, system), system, sources)
        call.write("Removed login credentials for all registries\n")
        return 0
    if len(call.arguments) != 1:
        raise InvalidError(
            "logout accepts only one registry to log out from"
            if call.arguments
            else "please provide a registry to log out from"
        )
    key = parse_key(call.arguments[0])
    sources = registries_load.load(system).credential_helpers
    with context(f"logging out of {quote(key.key)}"):
        removed = await authwrite.remove(written_file(chosen, system), key.key, system, sources)
    if removed:
        call.write(f"Removed login credentials for {key.key}\n")
        return 0
    return await _explain(call, key, chosen, system, sources)


async def _explain(
    call: Call, key: Key, chosen: Target | None, system: System, sources: Sequence[str]
) -> int:
    """Nothing was removed: are there credentials that another tool keeps?"""
    from wherry.config import auth
    from wherry_cli.login import check

    with context("get credentials"):
        found = await auth.find(key.key, system, path=chosen.path if chosen else None, sources=sources)
    if found is not None and found.username and found.password:
        try:
            await check(call, key.registry, found, system)
        except WherryError as error:
            call.log.write("debug", f"the credentials that were found are not valid: {error}")
        else:
            call.write(
                f"Not logged into {key.key} with current tool. Existing credentials were established via "
                "docker login. Please use docker logout instead.\n"
            )
            return 0
    raise InvalidError(f"not logged into {key.key}")
