"""From a file to the Authorization header: what registries and token servers are sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.fakes.registry import FakeRegistry, Reply
from tests.transports.contract import make_system
from tests.transports.docker_images import LAYER, basic_challenge, bearer_challenge, image, serve
from wherry.errors import AuthError, RegistryError, WherryError
from wherry.interfaces import ListsTags
from wherry.protocol.options import Credentials, ImageAccess
from wherry.registry.login import check_login
from wherry.system import System
from wherry.transports import docker

FILE = ImageAccess(tls_verify=False, authfile="auth.json")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> System:
    return make_system(tmp_path)


def keep(here: System, **entries: object) -> None:
    path = Path(here.root) / "auth.json"
    path.write_text(json.dumps({"auths": entries}))
    path.chmod(0o600)


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": basic(user, password).removeprefix("Basic ")}


async def open_image(fake: FakeRegistry, name: str, here: System, access: ImageAccess = FILE) -> None:
    async with docker.parse(f"//{fake.name}/{name}", here).source(here, access):
        pass


def serve_everywhere(fake: FakeRegistry) -> None:
    serve(fake, LAYER)
    for name in ("ns/a", "ns/b", "other"):
        fake.manifest(name, "latest", image())


async def test_each_repository_has_its_own_credentials(fake: FakeRegistry, here: System) -> None:
    """One server, several images: the longest key of each counts, at Basic's and at a token server's."""
    serve_everywhere(fake)
    keep(
        here,
        **{
            fake.name: entry("host", "h"),
            f"{fake.name}/ns": entry("ns", "n"),
            f"{fake.name}/ns/a": entry("repo", "r"),
        },
    )
    basic_challenge(fake)
    users = {"ns/a": ("repo", "r"), "ns/b": ("ns", "n"), "other": ("host", "h")}
    for name, user in users.items():
        await open_image(fake, name, here)
        assert fake.asked("GET", f"/v2/{name}/manifests/latest")[-1].header("Authorization") == basic(*user)
    bearer_challenge(fake)
    for name, user in users.items():
        await open_image(fake, name, here)
        asked = fake.asked("GET", "/token")[-1]
        assert asked.header("Authorization") == basic(*user)
        assert f"account={user[0]}" in asked.target


async def test_destinations_and_tags_are_reached_with_the_files_credentials(
    fake: FakeRegistry, here: System
) -> None:
    keep(here, **{f"{fake.name}/x": entry("me", "pw")})
    basic_challenge(fake)
    fake.on("GET", "/v2/x/tags/list", Reply(body=b'{"name":"x","tags":["a"]}'))
    reference = docker.parse(f"//{fake.name}/x", here)
    assert isinstance(reference, ListsTags)
    assert list(await reference.repository_tags(here, FILE)) == ["a"]
    assert fake.asked("GET", "/v2/x/tags/list")[0].header("Authorization") == basic("me", "pw")
    raw = image()
    fake.on("PUT", "/v2/x/manifests/latest", Reply(201))
    async with reference.destination(here, FILE) as destination:
        await destination.put_manifest(raw, "application/vnd.oci.image.manifest.v1+json")
        await destination.commit()
    [put] = fake.asked("PUT", "/v2/x/manifests/latest")
    assert put.header("Authorization") == basic("me", "pw")


@pytest.mark.parametrize(
    ("access", "sent"),
    [
        (FILE, basic("me", "pw")),
        (ImageAccess(tls_verify=False, authfile="auth.json", anonymous=True), None),
        (
            ImageAccess(tls_verify=False, authfile="auth.json", credentials=Credentials("flag", "f")),
            basic("flag", "f"),
        ),
        (ImageAccess(tls_verify=False), None),
    ],
)
async def test_flags_come_first(
    access: ImageAccess, sent: str | None, fake: FakeRegistry, here: System
) -> None:
    serve(fake, LAYER)
    keep(here, **{fake.name: entry("me", "pw")})
    basic_challenge(fake)
    await open_image(fake, "x", here, access)
    assert fake.asked("GET", "/v2/x/manifests/latest")[0].header("Authorization") == sent


async def test_an_identity_token_is_posted(fake: FakeRegistry, here: System) -> None:
    serve(fake, LAYER)
    keep(here, **{fake.name: {**entry("00000000-0000", ""), "identitytoken": "it+en/="}})
    bearer_challenge(fake, realm=f"{fake.url}/token?from=realm")
    fake.on("POST", "/token", Reply(body=b'{"access_token":"made","expires_in":900}'))
    await open_image(fake, "x", here)
    assert fake.asked("GET", "/token") == []
    [asked] = fake.asked("POST", "/token")
    assert asked.header("Authorization") is None
    assert asked.header("Content-Type") == "application/x-www-form-urlencoded"
    assert asked.body == asked.body.strip()
    assert list(parse_qs(asked.body.decode()).items()) == [
        ("client_id", ["containers/image"]),
        ("from", ["realm"]),
        ("grant_type", ["refresh_token"]),
        ("refresh_token", ["it+en/="]),
        ("scope", ["repository:x:pull"]),
        ("service", ["s"]),
    ]
    assert fake.asked("GET", "/v2/x/manifests/latest")[0].header("Authorization") == "Bearer made"


async def test_an_identity_token_that_is_refused(fake: FakeRegistry, here: System) -> None:
    secret = "cAnArY-5ecret"
    keep(here, **{fake.name: {"identitytoken": secret}})
    bearer_challenge(fake)
    fake.on("POST", "/token", Reply(401, body=b'{"errors":[{"code":"UNAUTHORIZED"}]}'))
    with pytest.raises(AuthError, match="unable to retrieve auth token: invalid username/password") as caught:
        await open_image(fake, "x", here)
    assert secret not in str(caught.value)
    fake.on("POST", "/token", Reply(403, body=b"no"))
    with pytest.raises(AuthError, match="Trying to obtain access token: "):
        await open_image(fake, "x", here)


async def test_an_identity_token_is_not_sent_where_a_redirect_leads(fake: FakeRegistry, here: System) -> None:
    serve(fake, LAYER)
    keep(here, **{fake.name: {"identitytoken": "it"}})
    bearer_challenge(fake)
    with FakeRegistry() as other:
        fake.on("POST", "/token", Reply(307, {"Location": f"{other.url}/token"}))
        with pytest.raises(RegistryError, match="redirected with status 307"):
            await open_image(fake, "x", here)
        assert other.seen == []


# --- login ------------------------------------------------------------------------------------------------

INSECURE = ImageAccess(tls_verify=False)


async def test_a_login_at_a_token_server_asks_for_no_scope(fake: FakeRegistry, here: System) -> None:
    bearer_challenge(fake)
    fake.on(
        "GET",
        "/v2/",
        Reply(401, {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="s"'}),
        Reply(body=b"{}"),
    )
    await check_login(fake.name, Credentials("me", "pw"), INSECURE, here)
    [asked] = fake.asked("GET", "/token")
    assert asked.target == "/token?account=me&service=s"
    assert asked.header("Authorization") == basic("me", "pw")
    assert fake.asked("GET", "/v2/")[-1].header("Authorization") == "Bearer t0ken"


@pytest.mark.parametrize("challenge", [basic_challenge, bearer_challenge])
async def test_a_login_that_is_refused(challenge, fake: FakeRegistry, here: System) -> None:  # type: ignore[no-untyped-def]
    challenge(fake)
    fake.on("GET", "/token", Reply(401, body=b"{}"))
    with pytest.raises(WherryError, match=r"^authentication required$|invalid username/password") as caught:
        await check_login(fake.name, Credentials("me", "pw"), INSECURE, here)
    assert caught.value.http_status == 401


async def test_a_login_does_not_ask_the_files(fake: FakeRegistry, here: System) -> None:
    keep(here, **{fake.name: entry("file", "f")})
    basic_challenge(fake)
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}), Reply(body=b"{}"))
    await check_login(fake.name, Credentials("me", "pw"), FILE, here)
    assert fake.asked("GET", "/v2/")[-1].header("Authorization") == basic("me", "pw")
