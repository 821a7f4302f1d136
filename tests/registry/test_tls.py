"""TLS versions, cipher suites and groups, as --tls-details restricts them; servers that have others."""

from __future__ import annotations

import datetime
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.fakes.registry import FakeRegistry, Reply
from wherry.config.tlsdetails import CIPHER_SUITES
from wherry.errors import InvalidError, NetworkError
from wherry.protocol.options import TlsDetails
from wherry.registry import origin
from wherry.registry.engine import Engine, Reach, Request
from wherry.registry.tls import TlsSettings

GCM_128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
GCM_256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
NEW = "TLS_AES_128_GCM_SHA256"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def cert_dir(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return str(tmp_path)


@contextmanager
def server(
    authority: trustme.CA, most: str = "", suites: str = "", group: str = "", *, expired: bool = False
) -> Iterator[FakeRegistry]:
    """A server with at most this version, these suites of TLS 1.2 (OpenSSL's names), this group alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = datetime.datetime.now(datetime.UTC)
    ends = now - datetime.timedelta(days=1) if expired else None
    begins = now - datetime.timedelta(days=9) if expired else None
    authority.issue_cert("127.0.0.1", not_before=begins, not_after=ends).configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers(suites or "ALL:@SECLEVEL=0")
        if most:
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion[most]
    if group:
        context.set_ecdh_curve(group)
    with FakeRegistry(tls=context) as running:
        running.on("GET", "/x", Reply(body=b"a"))
        yield running


async def ask(fake: FakeRegistry, settings: TlsSettings) -> bytes:
    request = Request("GET", origin.parse(f"{fake.url}/x"), reach=Reach(settings))
    async with Engine() as engine:
        exchange = await engine.start(request)
        try:
            return await exchange.read(10)
        finally:
            exchange.release()


NO = "tls: "
OLD, TLS_1_2 = "TLSv1", "TLSv1_2"
SUITE_128, SUITE_256 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.parametrize(
    ("most", "suites", "group", "details", "connections"),
    [
        # connections: how many it takes; 0 where there is no way
        ("", "", "", TlsDetails(), 1),
        (TLS_1_2, "", "", TlsDetails(), 1),
        (TLS_1_2, "", "", TlsDetails("1.2"), 1),
        (TLS_1_2, "", "", TlsDetails("1.3"), 0),
        ("", "", "", TlsDetails("1.3"), 1),
        (OLD, "", "", TlsDetails(), 0),
        (OLD, "", "", TlsDetails("1.1"), 0),
        (OLD, "", "", TlsDetails("1.0"), 1),
        (TLS_1_2, SUITE_128, "", TlsDetails("", (GCM_128,)), 1),
        (TLS_1_2, SUITE_128, "", TlsDetails("", (GCM_256,)), 0),
        (TLS_1_2, SUITE_256, "", TlsDetails("", (GCM_128, GCM_256, NEW)), 1),
        (TLS_1_2, "", "", TlsDetails("", (NEW,)), 0),
        (TLS_1_2, "", "", TlsDetails("", ()), 0),
        ("", "", "", TlsDetails("", ()), 1),
        ("", "", "", TlsDetails("", (GCM_128,)), 1),
        ("", "", "secp384r1", TlsDetails("", None, ("secp384r1",)), 1),
        ("", "", "secp384r1", TlsDetails("", None, ("x25519",)), 0),
        ("", "", "secp384r1", TlsDetails("", None, ("x25519", "secp384r1")), 2),
        ("", "", "secp384r1", TlsDetails("", None, ("x25519", "secp256r1", "secp521r1")), 0),
        (TLS_1_2, "", "prime256v1", TlsDetails("", None, ("x25519", "secp521r1", "secp256r1")), 3),
        ("", "", "X25519", TlsDetails("", None, ("x25519", "secp384r1")), 1),
        ("", "", "prime256v1", TlsDetails("", None, ("X25519MLKEM768", "secp256r1")), None),
    ],
)
async def test_what_details_allow(
    authority: trustme.CA,
    cert_dir: str,
    most: str,
    suites: str,
    group: str,
    details: TlsDetails,
    connections: int | None,
) -> None:
    with server(authority, most, suites, group) as fake:
        settings = TlsSettings(True, cert_dir, details)
        if connections == 0:
            with pytest.raises(NetworkError, match=NO) as caught:
                await ask(fake, settings)
            assert caught.value.code == "other"
            return
        assert await ask(fake, settings) == b"a"
        assert connections is None or fake.connections == connections


async def test_r76_old_versions_and_expired_certificates(authority: trustme.CA, cert_dir: str) -> None:
    """Refused by default; without verification the old version still is."""
    with server(authority, OLD) as fake:
        for settings in (TlsSettings(True, cert_dir), TlsSettings(False)):
            with pytest.raises(NetworkError, match=r"tls: .*version"):
                await ask(fake, settings)
    with server(authority, expired=True) as fake:
        with pytest.raises(NetworkError, match=r"x509: certificate has expired or is not yet valid$"):
            await ask(fake, TlsSettings(True, cert_dir))
        assert await ask(fake, TlsSettings(False)) == b"a"


def test_groups_that_openssl_lacks() -> None:
    """Of a list the known ones count; where there is none it is an error."""
    with pytest.raises(InvalidError, match=r'^OpenSSL .* knows none of the TLS named groups "made-up"$'):
        TlsSettings(details=TlsDetails("", None, ("made-up",))).contexts()
    assert len(TlsSettings(details=TlsDetails("", None, ("made-up", "x25519"))).contexts()) == 1


def test_settings_that_differ_share_no_connection() -> None:
    """C-21 for details: the pool's key tells them apart."""
    details = [TlsDetails(), TlsDetails("1.3"), TlsDetails("", ()), TlsDetails("", None, ("x25519",))]
    assert len({TlsSettings(details=each).fingerprint() for each in details}) == len(details)


@pytest.mark.parametrize("suite", sorted(CIPHER_SUITES))
def test_every_suite_is_one_of_openssl_or_old(suite: str) -> None:
    """What OpenSSL lacks is known to be broken: RC4 and 3DES. A list of such alone leaves TLS 1.3."""
    (context,) = TlsSettings(details=TlsDetails("1.0", (suite,))).contexts()
    old = [cipher["name"] for cipher in context.get_ciphers() if not cipher["name"].startswith("TLS_")]
    if "_WITH_" not in suite or "RC4" in suite or "3DES" in suite:
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    else:
        assert len(old) == 1
        assert context.minimum_version == ssl.TLSVersion.TLSv1
