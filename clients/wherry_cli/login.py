"""`wherry login REGISTRY[/path]`: try a user's credentials and keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidError, StalledError, WherryError, context
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from wherry.protocol.options import Credentials
    from wherry.system import System
    from wherry_cli.call import Call
    from wherry_cli.credential_target import Key


def run(call: Call) -> int:
    """Log in. The registry is asked first; only credentials that it takes are kept."""
    import trio

    from wherry_cli import coredumps

    coredumps.forbid()
    call.refuse_unbuilt()
    return trio.run(_login, call)


async def _login(call: Call) -> int:
    from wherry.config import auth, authwrite, registries_load
    from wherry_cli.credential_target import chosen_file, parse_key, written_file
    from wherry_cli.system_from import build_system, with_tls_details

    system = with_tls_details(build_system(call), call.given)
    chosen = chosen_file(call, system)
    if len(call.arguments) != 1:
        raise InvalidError(
            "login accepts only one registry to log in to"
            if call.arguments
            else "please provide a registry to log in to"
        )
    key = parse_key(call.arguments[0])
    sources = registries_load.load(system).credential_helpers
    with context("get credentials"):
        existing = await auth.find(key.key, system, path=chosen.path if chosen else None, sources=sources)
    if call.given.on("get-login"):
        if existing is None or not existing.username:
            raise InvalidError(f"not logged into {key.key}")
        call.write(f"{existing.username}\n")
        return 0
    if existing is not None and existing.identity_token:
        raise InvalidError("currently logged in, auth file contains an Identity token")
    username, password = _given(call)
    if not username and not password and existing is not None and existing.username and existing.password:
        call.write(f"Authenticating with existing credentials for {key.key}\n")
        if await _are_valid(call, key, existing, system):
            call.write(f"Existing credentials are valid. Already logged in to {key.registry}\n")
            return 0
        call.write("Existing credentials are invalid, please enter valid username and password\n")
    with context("getting username and password"):
        credentials = _asked(call, username, password, existing.username if existing else "")
    await _try(call, key, credentials, system)
    where = await authwrite.store(written_file(chosen, system), key.key, credentials, system, sources)
    if call.given.on("verbose"):
        call.write(f"Used:  {where}\n")
    call.write("Login Succeeded!\n")
    return 0


def _given(call: Call) -> tuple[str, str]:
    """Username and password of the flags, or of standard input."""
    given = call.given
    username, password = given.text("username") or "", given.text("password") or ""
    if given.on("password-stdin"):
        from wherry_cli.prompt import read_joined

        if password:
            raise InvalidError("can't specify both --password-stdin and --password")
        if not username:
            raise InvalidError("must provide --username with --password-stdin")
        password = read_joined(call.fds[0])
    return username, password


def _asked(call: Call, username: str, password: str, known: str) -> Credentials:
    """The credentials, with what is missing asked for; an empty answer keeps the `known` user."""
    from wherry.protocol.options import Credentials
    from wherry_cli.prompt import read_line, read_password

    if not username:
        call.write(f"Username ({known}): " if known else "Username: ")
        with context("reading username"):
            username = read_line(call.fds[0]).strip() or known
    if not password:
        call.write("Password: ")
        with context("reading password"):
            password = read_password(call.fds[0])
        call.write("\n")
    return Credentials(username.strip(), password)


async def check(call: Call, registry: str, credentials: Credentials, system: System) -> None:
    """Ask the registry whether it takes the credentials, within --command-timeout.

    Raises AuthError (`http_status` 401) where it does not, and what asking raises.
    """
    import trio

    from wherry.protocol.options import ImageAccess
    from wherry.registry.login import check_login
    from wherry_cli.access import tls_verify

    access = ImageAccess(cert_dir=call.given.text("cert-dir") or None, tls_verify=tls_verify(call.given))
    with trio.move_on_after(call.given.seconds("command-timeout") or float("inf")):
        await check_login(registry, credentials, access, system)
        return
    raise StalledError("context deadline exceeded")


async def _are_valid(call: Call, key: Key, credentials: Credentials, system: System) -> bool:
    try:
        await check(call, key.registry, credentials, system)
    except WherryError as error:
        call.log.write("debug", f"error logging into {quote(key.key)}: {error}")
        return False
    return True


async def _try(call: Call, key: Key, credentials: Credentials, system: System) -> None:
    try:
        with context(f"authenticating creds for {quote(key.key)}"):
            await check(call, key.registry, credentials, system)
    except WherryError as error:
        if error.http_status != 401:
            raise
        call.log.write("debug", str(error))
        error.args = (f"logging into {quote(key.key)}: invalid username/password",)
        raise
