"""What an open image tells: manifest, config, layers."""

from __future__ import annotations

from tests.wire.shared_steps import (
    ENOENT,
    ID_METHODS,
    INIT,
    LAYER,
    SIZE,
    got,
    whole,
)
from tests.wire.steps import (
    Call,
    End,
    Scenario,
    error,
    scenario,
    tail,
)

IMAGES: dict[str, Scenario] = {
    **{
        name: whole(f"oci:{name}")
        for name in (
            *("one", "two", "plain", "zstd", "big", "foreign", "sparse", "emptyconfig", "sha512", "multi"),
            *("l64", "badlayer"),
        )
    },
    **{name: whole(f"dir:{name}") for name in ("s2dir", "s2types", "s2list", "ocidir")},
    "archive_one": whole("oci-archive:one.tar"),
    "archive_one_gz": whole("oci-archive:one.tar.gz"),
    "archive_multi": whole("oci-archive:multi.tar"),
    "l400": scenario(
        INIT,
        Call("OpenImage", "oci:l400"),
        Call("GetLayerInfo", 1, differs="oversized replies", ours=error(".+ use GetLayerInfoPiped")),
        *got("a", "GetLayerInfoPiped", 1),
    ),
    "l3000_piped": scenario(
        INIT, Call("OpenImage", "oci:l3000"), *got("a", "GetLayerInfoPiped", 1), *got("b", "GetManifest", 1)
    ),
    "l3000_inline": scenario(
        INIT,
        Call("OpenImage", "oci:l3000"),
        Call("GetLayerInfo", 1, differs="oversized replies", ours=error(".+")),
        End(differs="oversized replies", ours={"exit": 0, "stdout": ""}),
    ),
    "artifact": scenario(
        INIT,
        Call("OpenImage", "oci:artifact"),
        *got("a", "GetManifest", 1),
        *(Call(method, 1) for method in ("GetFullConfig", "GetConfig")),
        Call("GetLayerInfo", 1),
    ),
    **{
        name: scenario(
            INIT, Call("OpenImage", f"dir:{name}"), Call("GetManifest", 1), Call("GetLayerInfo", 1)
        )
        for name in ("s1dir", "s1signed", "s2odd")
    },
    **{
        name: scenario(
            INIT,
            Call("OpenImage", f"oci:{name}"),
            *got("a", "GetManifest", 1),
            Call("GetFullConfig", 1, **more),
            Call("GetConfig", 1, **more),
            Call("GetLayerInfo", 1),
        )
        for name, more in (
            ("badconfig", {}),
            ("noconfig", tail("open noconfig/blobs/sha256/", "[0-9a-f]{64}: " + ENOENT)),
        )
    },
    "badmanifest": scenario(  # hostile-cases D-01
        INIT,
        Call("OpenImage", "oci:badmanifest", differs="hostile", ours=error(".+")),
        Call("OpenImageOptional", "oci:badmanifest", differs="hostile", ours=error(".+")),
    ),
    "after_close": scenario(
        INIT,
        Call("OpenImage", "oci:one"),
        Call("CloseImage", 1),
        *(Call(method, 1) for method in ID_METHODS),
        Call("GetBlob", 1, LAYER, SIZE),
        Call("GetRawBlob", 1, LAYER),
    ),
}
