"""registries.conf files and names that are looked up in them; golden/registries.json has skopeo's answers."""

from __future__ import annotations

DIGEST = "@sha256:" + "ab" * 32
ONE = "127.0.0.1:1"


def registry(body: str) -> str:
    return f"[[registry]]\n{body}\n"


def mirror(location: str, more: str = "") -> str:
    return f'[[registry.mirror]]\nlocation = "{location}"\n{more}\n'


def prefixed(prefix: str, location: str, more: str = "") -> str:
    return registry(f'prefix = "{prefix}"\nlocation = "{location}"\n{more}')


_NESTED = (
    prefixed(ONE, "127.0.0.1:2")
    + prefixed(f"{ONE}/ns", "127.0.0.1:3/a/b")
    + prefixed(f"{ONE}/ns/app", "127.0.0.1:4/c")
    + prefixed(f"{ONE}/ns/app:one", "127.0.0.1:5/tagged:two")
)
_MIRRORS = (
    prefixed(ONE, "127.0.0.1:2")
    + mirror("127.0.0.1:3", "insecure = true")
    + mirror("127.0.0.1:4/ns")
    + mirror("127.0.0.1:5", 'pull-from-mirror = "digest-only"')
    + mirror("127.0.0.1:6", 'pull-from-mirror = "tag-only"')
    + mirror("127.0.0.1:7", 'pull-from-mirror = "all"')
)

# Files that are taken, and the names that are looked up.
LOOKUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", (f"{ONE}/x", f"{ONE}/x:tag", f"{ONE}/x{DIGEST}")),
    (
        _NESTED,
        (
            f"{ONE}/x",
            f"{ONE}/ns/x",
            f"{ONE}/nsx/x",
            f"{ONE}/ns/app",
            f"{ONE}/ns/app:two",
            f"{ONE}/ns/app:one",
            f"{ONE}/ns/app-2",
            f"{ONE}/ns/app/sub",
            f"{ONE}/ns/app{DIGEST}",
            "127.0.0.1:11/x",
        ),
    ),
    (_MIRRORS, (f"{ONE}/x", f"{ONE}/x{DIGEST}", "127.0.0.1:2/x")),
    (
        prefixed(ONE, "127.0.0.1:2", "mirror-by-digest-only = true")
        + mirror("127.0.0.1:3")
        + mirror("127.0.0.1:4"),
        (f"{ONE}/x:tag", f"{ONE}/x{DIGEST}"),
    ),
    # insecure: of the registry, of mirrors, of what a location is by its own table
    (registry(f'location = "{ONE}"\ninsecure = true'), (f"{ONE}/x", "127.0.0.1:2/x")),
    (
        prefixed(ONE, "127.0.0.1:2", "insecure = true") + mirror("127.0.0.1:3"),
        (f"{ONE}/x", "127.0.0.1:2/x", "127.0.0.1:3/x"),
    ),
    (
        registry(f'location = "{ONE}"')
        + mirror("127.0.0.1:3")
        + registry('location = "127.0.0.1:3"\ninsecure = true'),
        (f"{ONE}/x", "127.0.0.1:3/x"),
    ),
    # A host without port is a prefix of the host with any port.
    (prefixed("127.0.0.1", "127.0.0.1:2"), (f"{ONE}/x",)),
    (prefixed("127.0.0.1", "127.0.0.1"), (f"{ONE}/x",)),
    # a location that is a prefix with a namespace; slashes at its end
    (prefixed(f"{ONE}/ns/", "127.0.0.1:2/other//"), (f"{ONE}/ns/x", f"{ONE}/ns")),
    # wildcards
    (
        prefixed("*.example.invalid", "127.0.0.1:2/w"),
        (
            "a.example.invalid/x",
            "a.b.example.invalid/x:t",
            "a.example.invalid:5000/x",
            "a.example.invalid.org:1/x",
            f"{ONE}/a.example.invalid/x",
        ),
    ),
    (
        registry('prefix = "*.example.invalid"\ninsecure = true') + mirror("127.0.0.1:3/m"),
        ("a.example.invalid/x", "a.example.invalid:1/x"),
    ),
    (
        prefixed("*.example.invalid", "127.0.0.1:2") + prefixed("a.example.invalid", "127.0.0.1:3"),
        ("a.example.invalid/x", "b.example.invalid/x"),
    ),
    (prefixed("*.b.b", "127.0.0.1:2"), ("a.b.b/x", "a.b.b.b.b/x")),
    # the first of equal prefixes counts; keys in other letter cases
    (prefixed(ONE, "127.0.0.1:2") + prefixed(ONE, "127.0.0.1:3"), (f"{ONE}/x",)),
    (f'[[Registry]]\nPrefix = "{ONE}"\nLOCATION = "127.0.0.1:2"\nInsecure = true\n', (f"{ONE}/x",)),
    # unknown keys, and those that have no effect here
    (
        'surprise = 1\nshort-name-mode = "disabled"\n'
        'unqualified-search-registries = ["a.example", "b.example:5000/"]\n'
        'credential-helpers = ["containers-auth.json"]\n'
        f'{registry(f"""location = "127.0.0.1:2"{chr(10)}prefix = "{ONE}"{chr(10)}surprise = "x" """)}'
        '[aliases]\nshort = "quay.io/x/y"\n"ns/short" = "localhost/x"\nnone = ""\n[other]\na = 1\n',
        (f"{ONE}/x",),
    ),
    ("[registries]\nother = 1\n[registries.search]\nsurprise = 1\n", (f"{ONE}/x",)),
    # blocked
    (registry(f'location = "{ONE}"\nblocked = true'), (f"{ONE}/x", "127.0.0.1:2/x")),
    (registry(f'location = "{ONE}/ns"\nblocked = true'), (f"{ONE}/ns/x", f"{ONE}/x")),
    (
        registry(f'location = "{ONE}"\nblocked = true') + mirror("127.0.0.1:3"),
        (f"{ONE}/x",),
    ),
    (
        registry(f'location = "{ONE}"')
        + mirror("127.0.0.1:3")
        + registry('location = "127.0.0.1:3"\nblocked = true'),
        (f"{ONE}/x",),
    ),
    (registry('prefix = "*.example.invalid"\nblocked = true'), ("a.example.invalid/x",)),
    # names that rewriting breaks
    (prefixed(f"{ONE}/x", "127.0.0.1:2"), (f"{ONE}/x:tag", f"{ONE}/x/y")),
    (prefixed(ONE, "127.0.0.1:2/UPPER"), (f"{ONE}/x",)),
    (prefixed(ONE, "127.0.0.1:2/a b"), (f"{ONE}/x",)),
    (prefixed(ONE, "noslash"), (f"{ONE}/x",)),
)

# Files that are refused.
REFUSED: tuple[str, ...] = (
    "[registries.search]\nregistries = []\n",
    '[registries.insecure]\nregistries = ["a"]\n',
    registry('location = "http://a.example"'),
    prefixed("https://a.example", "b.example"),
    registry("insecure = true"),
    registry('location = "/"'),
    registry('prefix = "a.example"'),
    registry('location = "a.example"\npull-from-mirror = "all"'),
    registry('location = "a.example"') + mirror(""),
    registry('location = "a.example"') + mirror("http://b.example"),
    registry('location = "a.example"') + mirror("b.example", 'pull-from-mirror = "always"'),
    registry('location = "a.example"\nmirror-by-digest-only = true')
    + mirror("b.example", 'pull-from-mirror = "all"'),
    prefixed("a.example", "c.example") + prefixed("b.example", "c.example", "blocked = true"),
    prefixed("a.example", "c.example") + prefixed("b.example", "c.example", "insecure = true"),
    registry('prefix = "*.a.example"') + registry('prefix = "*.a.example"\nblocked = true'),
    prefixed("*.a.example/ns", "b.example"),
    prefixed("*.a.example:5000", "b.example"),
    'unqualified-search-registries = ["a.example/ns"]\n',
    'unqualified-search-registries = ["https://a.example"]\n',
    'unqualified-search-registries = [""]\n',
    'short-name-mode = "prompt"\n',
    '[aliases]\n"a.example/x" = "b.example/y"\n',
    '[aliases]\n"x:tag" = "b.example/y"\n',
    '[aliases]\n"x y" = "b.example/y"\n',
    '[aliases]\nx = "b.example/y:tag"\n',
    f'[aliases]\nx = "b.example/y{DIGEST}"\n',
    '[aliases]\nx = "y"\n',
    '[aliases]\nx = "y/z"\n',
    '[aliases]\nx = "B/Z"\n',
    # values of other types
    registry("location = 5"),
    registry('location = "a.example"\ninsecure = "true"'),
    registry('location = "a.example"\nblocked = 1'),
    registry('location = "a.example"\nmirror = "b.example"'),
    registry('location = "a.example"\nmirror = [1]'),
    registry('location = "a.example"\n[[registry.mirror]]\nlocation = [1]'),
    "[registry]\nlocation = 'a.example'\n",
    "registry = 5\n",
    "registry = [5]\n",
    'unqualified-search-registries = ["[::1]:5000"]',
    "credential-helpers = [true]\n",
    "credential-helpers = 'x'\n",
    "short-name-mode = 1.5\n",
    "[aliases]\nx = 2026-11-22\n",
    "additional-layer-store-auth-helper = {a = 1}\n",
)

# Environments, and whether a registry is reached through the proxy that they name. The proxy refuses
# connections, as do the hosts: what `skopeo inspect` says tells which of them it was.
PROXY = "http://127.0.0.1:9"
HTTPS: dict[str, str] = {"HTTPS_PROXY": PROXY}


def no_proxy(*entries: str) -> dict[str, str]:
    return HTTPS | {"NO_PROXY": ",".join(entries)}


PROXIES: tuple[tuple[dict[str, str], str], ...] = (
    ({}, "a.invalid"),
    (HTTPS, "a.invalid"),
    (HTTPS, "a.invalid:5000"),
    ({"https_proxy": PROXY}, "a.invalid"),
    ({"https_proxy": "http://127.0.0.1:10", "HTTPS_PROXY": PROXY}, "a.invalid"),
    ({"HTTPS_PROXY": "", "https_proxy": PROXY}, "a.invalid"),
    ({"HTTP_PROXY": PROXY}, "a.invalid"),
    ({"ALL_PROXY": PROXY}, "a.invalid"),
    # the proxy's own spelling
    ({"HTTPS_PROXY": "127.0.0.1:9"}, "a.invalid"),
    ({"HTTPS_PROXY": "localhost:9"}, "a.invalid"),
    ({"HTTPS_PROXY": "http://user:pass@127.0.0.1:9/path"}, "a.invalid"),
    ({"HTTPS_PROXY": "http://[::1"}, "a.invalid"),
    # loopback never
    (HTTPS, "localhost:5000"),
    (HTTPS, "127.0.0.1:1"),
    (HTTPS, "127.8.9.1:1"),
    (HTTPS, "x.localhost:5000"),
    # a list of hosts and domains
    (no_proxy("b.invalid"), "a.invalid"),
    (no_proxy("a.invalid"), "a.invalid"),
    (no_proxy("a.invalid"), "b.a.invalid"),
    (no_proxy("a.invalid"), "ba.invalid"),
    (no_proxy("A.Invalid"), "a.invalid"),
    (no_proxy("a.invalid"), "A.INVALID"),
    (no_proxy(".a.invalid"), "a.invalid"),
    (no_proxy(".a.invalid"), "b.a.invalid"),
    (no_proxy("*.a.invalid"), "a.invalid"),
    (no_proxy("*.a.invalid"), "b.a.invalid"),
    (no_proxy("b.invalid", " a.invalid "), "a.invalid"),
    (no_proxy("invalid"), "a.invalid"),
    (no_proxy("*"), "a.invalid"),
    (no_proxy("b.invalid", "*"), "a.invalid"),
    (no_proxy("*invalid"), "a.invalid"),
    (no_proxy("a*"), "a.invalid"),
    (no_proxy("b.invalid a.invalid"), "a.invalid"),
    (no_proxy("", ":", ":443", "."), "a.invalid"),
    # ports
    (no_proxy("a.invalid:443"), "a.invalid"),
    (no_proxy("a.invalid:80"), "a.invalid"),
    (no_proxy("a.invalid:5000"), "a.invalid:5000"),
    (no_proxy("a.invalid:5000"), "a.invalid:5001"),
    (no_proxy("a.invalid:"), "a.invalid:5001"),
    (no_proxy(".a.invalid:5000"), "b.a.invalid:5000"),
    (no_proxy("*.a.invalid:5000"), "b.a.invalid:5001"),
    # addresses and networks
    (no_proxy("240.0.0.1"), "240.0.0.1:5000"),
    (no_proxy("240.0.0.1:5000"), "240.0.0.1:5000"),
    (no_proxy("240.0.0.1:5001"), "240.0.0.1:5000"),
    (no_proxy("[240.0.0.1]:5000"), "240.0.0.1:5000"),
    (no_proxy("240.0.0.2"), "240.0.0.1:5000"),
    (no_proxy("240.0.0.0/30"), "240.0.0.1:5000"),
    (no_proxy("240.0.0.9/29"), "240.0.0.14:5000"),
    (no_proxy("240.0.0.0/32"), "240.0.0.1:5000"),
    (no_proxy("0.0.0.0/0"), "240.0.0.1:5000"),
    (no_proxy("0.0.0.0/0"), "a.invalid"),
    (no_proxy("240.0.0.0/255.0.0.0"), "240.0.0.1:5000"),
    (no_proxy("::ffff:240.0.0.1"), "240.0.0.1:5000"),
    (no_proxy("0.0.1"), "240.0.0.1:5000"),
    (no_proxy("240.0.0.01"), "240.0.0.1:5000"),
)
