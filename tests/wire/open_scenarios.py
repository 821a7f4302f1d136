"""Initialize with bad settings, and OpenImage: names, what is not there, policies, platforms."""

from __future__ import annotations

from tests.wire.shared_steps import (
    ABSENT,
    ENOENT,
    INIT,
    got,
    opens,
    opens_tail,
)
from tests.wire.steps import (
    Call,
    Scenario,
    error,
    scenario,
    tail,
)

# Policy files that the tests put beside the images.
POLICIES = {
    "accept.json": '{"default":[{"type":"insecureAcceptAnything"}]}',
    "reject.json": '{"default":[{"type":"reject"}]}',
    "scopes.json": '{"default":[{"type":"reject"}],"transports":{"oci":{"{CWD}/one":'
    '[{"type":"insecureAcceptAnything"}],"{CWD}/multi:latest":[{"type":"insecureAcceptAnything"}]},'
    '"dir":{"":[{"type":"insecureAcceptAnything"}],"{CWD}/s2list":[{"type":"reject"}]}}}',
    "unknownkey.json": '{"default":[{"type":"reject"}],"surprise":1}',
    "nodefault.json": '{"transports":{}}',
    "nonsense.json": "{nonsense",
}


OPEN: dict[str, Scenario] = {
    "names": scenario(
        INIT,
        *opens(
            "foo", "", ":", "nosuch:foo", "nosuch:", "oci", "OCI:one", "docker:foo", "docker://", "docker:/x"
        ),
        *opens("docker://UPPER/case", "docker://a/b@sha256:12", "docker://a/b:c@sha256:12", "docker://-bad"),
        *opens("docker://a/b:" + "t" * 129, "docker://" + "a" * 256, "docker://x/<&>"),
        *opens("docker://a/b:tag@" + ABSENT, "docker://" + "0" * 64),
        *opens("oci:one:bad tag", "oci:one:@1x", "oci:one:latest:x"),
        *opens_tail("oci:", "open index.json: ", ENOENT),
        *opens_tail("oci::", "open index.json: ", ENOENT),
        *opens_tail("oci::tag", "open index.json: ", ENOENT),
        *opens_tail("oci-archive:", ""),
        *opens_tail("dir:", "open manifest.json: ", ENOENT),
    ),
    "serial_numbers": scenario(
        INIT,
        *(Call("OpenImage", "oci:one") for _ in range(3)),
        Call("CloseImage", 2),
        Call("OpenImage", "oci:nowhere", **tail("open nowhere/index.json: ", ENOENT)),
        Call("OpenImageOptional", "oci:one"),
        Call("CloseImage", 2),
        Call("GetLayerInfo", 4),
    ),
    "oci_not_found": scenario(
        INIT,
        *opens("oci:one:nope", "oci:twotags:nope", "oci:twotags", "oci:one:@0", "oci:one:@5"),
        *opens_tail("oci:nowhere", "open nowhere/index.json: ", ENOENT),
        *opens_tail("oci:nowhere:tag", "open nowhere/index.json: ", ENOENT),
        *opens_tail("oci:s2dir", "open s2dir/index.json: ", ENOENT),
        *opens_tail("oci:one.tar", "open one.tar/index.json: ", "(?i:not a directory)"),
        *opens_tail("oci:badindex", "", ".+"),
        *opens_tail("oci:nomanifest", "open nomanifest/blobs/sha256/", "[0-9a-f]{64}: " + ENOENT),
    ),
    "oci_tags": scenario(
        INIT,
        *opens(
            "oci:one:latest",
            "oci:twotags:first",
            "oci:twotags:second",
            "oci:untagged",
            "oci:{CWD}/one:latest",
        ),
        *(step for number in range(1, 11, 2) for step in got(f"m{number}", "GetManifest", number)),
    ),
    "dir_not_found": scenario(
        INIT,
        *opens_tail("dir:nowhere", "open nowhere/manifest.json: ", ENOENT),
        *opens_tail("dir:one", "open one/manifest.json: ", ENOENT),
        *opens_tail(
            "dir:one.tar",
            'reading version file \\"one.tar/version\\": open one.tar/version: ',
            "(?i:not a directory)",
        ),
    ),
    "oci_archive": scenario(
        INIT,
        *opens("oci-archive:one.tar:nope", "oci-archive:twotags.tar"),
        *opens("oci-archive:nowhere.tar", "oci-archive:nowhere.tar:tag"),
        *opens("oci-archive:one.tar:latest", "oci-archive:twotags.tar:second"),
        *opens_tail("oci-archive:notatar.tar", "", ".+"),
    ),
    "odd_media_type": scenario(  # hostile-cases R-51
        INIT, *opens("oci:oddtype", differs="hostile", ours=error("rejecting ambiguous manifest, .+"))
    ),
    "policy_reject": scenario(
        INIT,
        *opens("oci:one", "dir:s2dir", "oci:multi", "oci-archive:one.tar"),
        before=("--policy", "policy/reject.json", "--tmpdir", "{TMP}"),
    ),
    "policy_accept": scenario(INIT, *opens("oci:one"), before=("--policy=policy/accept.json",)),
    "policy_scopes": scenario(
        INIT,
        *opens(
            "oci:one", "oci:one:latest", "oci:two", "oci:multi:latest", "oci:multi", "dir:s2dir", "dir:s2list"
        ),
        before=("--policy", "policy/scopes.json", "--override-arch", "amd64"),
    ),
    "policy_precedes_not_found": scenario(
        INIT,
        *opens("oci:one:nope"),
        *opens_tail("oci:nowhere", "open nowhere/index.json: ", ENOENT),
        *opens_tail("oci:nomanifest", "open nomanifest/blobs/sha256/", "[0-9a-f]{64}: " + ENOENT),
        before=("--policy", "policy/reject.json"),
    ),
    "require_signed": scenario(
        INIT,
        *opens("oci:one", "oci:{CWD}/one:latest", "dir:s2dir", "oci-archive:one.tar"),
        before=("--require-signed", "--policy", "policy/accept.json", "--tmpdir={TMP}"),
    ),
    "platform_flags": scenario(
        INIT,
        Call("OpenImage", "oci:multi"),
        *got("a", "GetManifest", 1),
        Call("OpenImage", "dir:s2list"),
        *got("b", "GetManifest", 2),
        Call("OpenImage", "oci-archive:multi.tar"),
        Call("GetLayerInfo", 3),
        before=("--insecure-policy", "--override-arch", "arm64", "--override-os=linux"),
    ),
    "platform_flags_after": scenario(
        INIT,
        Call("OpenImage", "oci:multi"),
        *got("a", "GetManifest", 1),
        before=(),
        after=("--override-variant", "v7", "--override-arch=arm", "--insecure-policy"),
    ),
    "platform_variant_falls_back": scenario(
        INIT,
        *opens("oci:multi"),
        Call("GetLayerInfo", 1),
        *opens("dir:s2list"),
        before=("--insecure-policy", "--override-arch=arm", "--override-variant=v8"),
    ),
    "platform_variant_too_new": scenario(
        INIT,
        *opens("oci:multi", "dir:s2list"),
        before=("--insecure-policy", "--override-arch=arm", "--override-variant=v6"),
    ),
    "platform_missing": scenario(
        INIT,
        *opens("oci:multi", "dir:s2list", "oci:one", "dir:s2dir"),
        before=("--insecure-policy", "--override-arch=s390x", "--override-os=linux"),
    ),
    "platform_os_missing": scenario(
        INIT,
        *opens("oci:multi"),
        before=("--insecure-policy", "--override-arch=amd64", "--override-os=plan9"),
    ),
}

INITIALIZE: dict[str, Scenario] = {
    "no_policy_file": scenario(
        Call("Initialize", **tail("open policy/nowhere.json: ", ENOENT)),
        Call("OpenImage", "oci:one"),
        Call("Initialize", **tail("open policy/nowhere.json: ", ENOENT)),
        before=("--policy", "policy/nowhere.json"),
    ),
    **{
        f"policy_{name}": scenario(
            Call("Initialize", **tail('invalid policy in \\"policy/' + name + '.json\\": ')),
            Call("Shutdown"),
            before=("--policy", f"policy/{name}.json"),
        )
        for name in ("nonsense",)
    },
    **{
        f"policy_{name}": scenario(INIT, before=("--policy", f"policy/{name}.json"))
        for name in ("unknownkey", "nodefault")
    },
    "creds_and_no_creds": scenario(INIT, after=("--creds", "a:b", "--no-creds")),
    "username_without_password": scenario(INIT, after=("--username", "a")),
    "password_without_username": scenario(INIT, after=("--password", "a")),
    "creds_and_username": scenario(INIT, after=("--creds", "a:b", "--username", "a")),
    "username_and_no_creds": scenario(INIT, after=("--username", "a", "--password", "b", "--no-creds")),
    "creds_without_password": scenario(INIT, after=("--creds", "alone")),
    "creds_empty": scenario(INIT, after=("--creds", "")),
    "creds_without_user": scenario(INIT, after=("--creds", ":b")),
    "token": scenario(INIT, after=("--registry-token", "t", "--no-creds")),
    "two_faults": scenario(INIT, INIT, before=("--policy", "policy/nowhere.json"), after=("--username", "a")),
}
