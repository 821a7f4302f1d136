"""`wherry experimental-image-proxy`: the server, on a socket that our parent left us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import WherryError
from wherry.protocol.options import ImageAccess
from wherry.server.settings import ProxySettings
from wherry_cli.access import image_access, platform_choice, policy_options
from wherry_cli.system_from import build_system, with_tls_details

if TYPE_CHECKING:
    from wherry_cli.call import Call


def run(call: Call) -> int:
    """Serve until the client goes or says Shutdown; the exit status."""
    from wherry.server.listen import serve_fd
    from wherry_cli import coredumps

    coredumps.forbid()
    call.refuse_unbuilt()
    given = call.given
    refuse, access, system = "", ImageAccess(), build_system(call)
    try:
        system = with_tls_details(system, given)
        access = image_access(call)
    except WherryError as error:
        refuse = str(error)  # told by Initialize, as skopeo does: a client sees no stderr
    settings = ProxySettings(
        access=access,
        platform=platform_choice(given),
        policy=policy_options(given),
        refuse=refuse,
        log=call.log.write,
    )
    return serve_fd(given.number("sockfd"), system, settings)
