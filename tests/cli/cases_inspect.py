"""Cases of inspect: every image in every form, templates, platforms, registries and their errors."""

from __future__ import annotations

from tests.cli.table import case

OCI_EXTRA = [
    "rich",
    "nocreated",
    "nolayers",
    "emptyconfig",
    "nulls",
    "zerotime",
    "badtime",
    "badjson",
    "arrayconfig",
    "windows",
    "index",
    "armindex",
    "emptyindex",
    "artifact",
    "oldartifact",
    "typedimage",
    "untagged",
    "twice",
    "noblobs",
    "oddtype",
    "brokenindex",
    "nolayoutfile",
    "badlayer",
    "noconfig",
    "badconfig",
    "badmanifest",
    "foreign",
]
DIR_EXTRA = [
    "rich-s2",
    "s2",
    "list",
    "armlist",
    "ocidir",
    "signed",
    "futuredir",
    "noversion",
    "nomanifest",
    "garbage",
    "s1",
]
OCI_IMAGES = [
    "one",
    "two",
    "multi",
    "artifact",
    "sparse",
    "sha512",
    "untagged",
    "plain",
    "zstd",
    "foreign",
    "l64",
    "badconfig",
    "badindex",
    "badmanifest",
    "emptyconfig",
    "noconfig",
    "nomanifest",
    "oddtype",
]
DIR_IMAGES = ["s2dir", "s2list", "s2odd", "s2types", "s1dir", "s1signed", "ocidir"]
ARCHIVES = ["one.tar", "one.tar.gz", "multi.tar", "twotags.tar:first", "twotags.tar:second", "notatar.tar"]

REFERENCES = (
    [(f"x-{name}", f"oci:{{X}}/{name}") for name in OCI_EXTRA]
    + [(f"x-{name}", f"dir:{{X}}/{name}") for name in DIR_EXTRA]
    + [(f"img-{name}", f"oci:{{IMG}}/{name}") for name in OCI_IMAGES]
    + [(f"img-{name}", f"dir:{{IMG}}/{name}") for name in DIR_IMAGES]
    + [(f"archive-{name.replace(':', '-')}", f"oci-archive:{{IMG}}/{name}") for name in ARCHIVES]
    + [("several-one", "oci:{X}/several:one"), ("several-at-2", "oci:{X}/several:@2")]
)
FORMS = {"plain": "", "raw": "--raw ", "config": "--config ", "config-raw": "--config --raw "}
PLAIN_ONLY = tuple(
    [
        "img-l64",
        "img-artifact",
        "img-foreign",
        "img-badconfig",
        "img-badindex",
        "img-badmanifest",
        "img-emptyconfig",
        "img-noconfig",
        "img-oddtype",
        "img-nomanifest",
        "archive-twotags.tar-second",
        "x-noversion",
    ]
)
NEVER_OPENED = [
    "x-twice",
    "x-noblobs",
    "x-brokenindex",
    "x-nolayoutfile",
    "x-futuredir",
    "x-nomanifest",
    "archive-notatar.tar",
]

IMAGES = [
    case(f"{name}-{form}", f"inspect {flags}{reference}")
    for name, reference in REFERENCES
    for form, flags in FORMS.items()
    if form == "plain" or (name not in PLAIN_ONLY and (form == "raw" or name not in NEVER_OPENED))
]

TEMPLATES = {
    "name": "{{.Name}}",
    "digest": "{{.Digest}}",
    "json-word": "json",
    "json-word-spaced": " json ",
    "json-dot": "{{json .}}",
    "json-dot-spaced": "{{ json . }}",
    "json-labels": "{{json .Labels}}",
    "json-layers": "{{json .LayersData}}",
    "json-created": "{{json .Created}}",
    "json-string": "{{json .Digest}}",
    "labels": "{{.Labels}}",
    "layers": "{{.Layers}}",
    "layers-data": "{{.LayersData}}",
    "env": "{{.Env}}",
    "repo-tags": "{{.RepoTags}}",
    "created": "{{.Created}}",
    "created-method": "{{.Created.Year}}",
    "everything": "{{.}}",
    "two-fields": "Name: {{.Name}} Digest: {{.Digest}}",
    "escapes": "a\\tb\\n{{.Os}}\\n",
    "trailing-newline": "{{.Os}}\n",
    "no-action": "plain text",
    "blank": " ",
    "table": "table {{.Os}} {{.Architecture}}",
    "table-text": "table OS:{{.Os}} {{.DockerVersion}} x",
    "table-tabs": "table {{.Os}}\\t{{.Architecture}}\\t{{.Tag}}",
    "table-digest": "table {{.Digest}} {{.Os}}",
    "range-layers": "{{range .Layers}}{{.}} {{end}}",
    "range-lines": "{{range .LayersData}}{{.Digest}} {{.Size}}{{println}}{{end}}",
    "range-labels": "{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}",
    "range-own": "{{range .}}{{.Os}}{{end}}",
    "range-else": "{{range .RepoTags}}{{.}}{{else}}none{{end}}",
    "if-else": "{{if .Tag}}tag{{else}}no tag{{end}}",
    "with": "{{with .Os}}os {{.}}{{end}}",
    "comparison": '{{eq .Os "linux"}} {{ne .Os "linux"}} {{and .Os .Tag}} {{or .Tag .Os}} {{not .Tag}}',
    "order": "{{lt 1 2}} {{gt (len .Layers) 1}}",
    "index-map": '{{index .Labels "a.first"}}',
    "index-list": "{{index .Layers 1}}",
    "index-missing-key": '[{{index .Labels "nope"}}]',
    "map-field": "{{.Labels.html}}",
    "map-field-missing": "{{.Labels.nope}}",
    "index-out-of-range": "{{index .Layers 7}}",
    "field-of-element": "{{(index .LayersData 0).Size}}",
    "len": "{{len .Layers}} {{len .Labels}} {{len .Os}}",
    "slice": "{{slice .Os 1 3}}",
    "printf": '{{printf "%q %s %v %5d|%-6s|%x" .Os .Os .Env 7 .Os .Os}}',
    "print": "{{print .Os 1 2}} {{println .Os .Tag}}",
    "html": "{{html .Env}} {{js .Os}} {{urlquery .Os}}",
    "join": '{{join .Env ","}}',
    "upper-lower-title": "{{upper .Os}} {{lower .Os}} {{title .Os}}",
    "pipe": "{{.Os | upper | lower | title}}",
    "pad": "[{{pad .Os 2 3}}]",
    "split": '{{split .Os "n"}}',
    "truncate": "{{truncate .Os 3}}",
    "truncate-digest": "{{truncate .Digest 10}}",
    "variable": "{{$x := .Os}}{{$x}}",
    "trim": "a {{- .Os -}} b",
    "comment": "{{/* hidden */}}shown",
    "missing-field": "{{.Nope}}",
    "missing-field-later": "os {{.Os}} then {{.Nope}}",
    "missing-nested": "{{.Os.Nope}}",
    "missing-in-range": "{{range .LayersData}}{{.Nope}}{{end}}",
    "missing-function": "{{nofunc .Os}}",
    "unclosed": "{{.Os",
    "unclosed-range": "{{range .Layers}}",
    "extra-end": "{{.Os}}{{end}}",
    "empty-action": "{{}}",
    "bad-number": "{{1a}}",
    "unterminated-string": '{{print "a}}',
}

FORMATS = [
    *(
        case(f"format-{name}", ("inspect", "--format", text, "oci:{X}/rich"))
        for name, text in TEMPLATES.items()
    ),
    *(
        case(f"format-bare-{name}", ("inspect", "-f", text, "oci:{X}/nocreated"))
        for name, text in {
            "created": "{{.Created}}",
            "labels": "{{.Labels}}",
            "env": "{{.Env}}",
            "all": "{{.}}",
        }.items()
    ),
    *(
        case(f"format-config-{name}", ("inspect", "--config", "-f", text, "oci:{X}/rich"))
        for name, text in {
            "os": "{{.OS}} {{.Architecture}} {{.Variant}} {{.OSVersion}} {{.OSFeatures}} {{.Author}}",
            "env": "{{.Config.Env}}",
            "diff-ids": "{{.RootFS.DiffIDs}}",
            "rootfs": "{{.RootFS}}",
            "history": "{{range .History}}{{.CreatedBy}}|{{.EmptyLayer}}|{{.Comment}};{{end}}",
            "labels": "{{json .Config.Labels}}",
            "ports": "{{.Config.ExposedPorts}}",
            "created": "{{.Created}}",
            "missing": "{{.Os}}",
            "json": "json",
        }.items()
    ),
    case("format-empty", ("inspect", "--format", "", "oci:{X}/nolayers")),
    case("format-with-raw", "inspect --raw --format x oci:{X}/rich"),
    case("format-with-raw-config", "inspect --raw --config --format x oci:{X}/rich"),
    case("format-with-raw-empty", ("inspect", "--raw", "--format", "", "oci:{X}/nolayers")),
    case("format-checked-before-image", "inspect --raw --format x nonsense"),
]

OPTIONS = [
    case("manifest-digest-sha256", "inspect --manifest-digest sha256 -f {{.Digest}} oci:{X}/rich"),
    case("manifest-digest-sha512", "inspect --manifest-digest sha512 -f {{.Digest}} oci:{X}/rich"),
    case("manifest-digest-sha384", "inspect --manifest-digest sha384 -f {{.Digest}} oci:{X}/rich"),
    case("manifest-digest-md5", "inspect --manifest-digest md5 oci:{X}/rich"),
    case("manifest-digest-empty", "inspect --manifest-digest= -f {{.Digest}} oci:{IMG}/sha512"),
    case("manifest-digest-list", "inspect --manifest-digest sha512 -f {{.Digest}} oci:{X}/index"),
    case("no-tags", "inspect --no-tags oci:{X}/nolayers"),
    case("shared-blob-dir", "inspect --shared-blob-dir {X}/rich/blobs oci:{X}/noblobs"),
    case("shared-blob-dir-good", "inspect --shared-blob-dir {X}/several/blobs oci:{X}/noblobs"),
    case("retry-times", "inspect --retry-times 1 oci:{X}/several:zzz"),
    case("credentials-ignored-for-oci", "inspect --creds a:b -f {{.Os}} oci:{X}/rich"),
    case("policy-not-read", "--policy /nonexistent inspect -f {{.Os}} oci:{X}/rich"),
    case("policy-reject-ignored", "--policy {ETC}/reject.json inspect -f {{.Os}} oci:{X}/rich"),
    case("relative-path", "inspect -f {{.Os}} oci:image", setup=(("copy", "image", "{X}/rich"),)),
    case("relative-path-error", "inspect -f {{.Os}} oci:./home/../nothing"),
    *(
        case(
            f"platform-{name}",
            f"{flags} inspect oci:{{X}}/{image}" if image != "list" else f"{flags} inspect dir:{{X}}/list",
        )
        for name, flags, image in (
            ("arm", "--override-arch arm", "index"),
            ("arm-v6", "--override-arch arm --override-variant v6", "index"),
            ("arm-v7", "--override-arch arm --override-variant v7", "index"),
            ("arm-v8", "--override-arch arm --override-variant v8", "index"),
            ("arm-v5", "--override-arch arm --override-variant v5", "index"),
            ("arm64", "--override-arch arm64", "index"),
            ("arm64-v8", "--override-arch arm64 --override-variant v8", "index"),
            ("arm64-v9", "--override-arch arm64 --override-variant v9", "index"),
            ("aarch64", "--override-arch aarch64", "index"),
            ("x86-64", "--override-arch x86_64", "index"),
            ("windows", "--override-os windows", "index"),
            ("plan9", "--override-os plan9", "index"),
            ("s390x", "--override-arch s390x", "index"),
            ("variant-only", "--override-variant v7", "index"),
            ("amd64-v2", "--override-variant v2", "index"),
            ("empty-arch", "--override-arch=", "index"),
            ("list-s390x", "--override-arch s390x", "list"),
            ("list-arm", "--override-arch arm", "list"),
            ("list-arm-v6", "--override-arch arm --override-variant v6", "list"),
            ("list-arm64", "--override-arch arm64", "list"),
            ("no-list", "--override-arch arm64", "rich"),
        )
    ),
]

HTTP = "--tls-verify=false "
ONE_DIGEST = "sha256:" + "1" * 64
DOCKER = [
    case(f"docker-{repo}-{form}", f"inspect {HTTP}{flags}docker://{{REGISTRY}}/repo/{repo}{tag}")
    for repo, tag in (
        ("one", ""),
        ("one", ":v1"),
        ("index", ""),
        ("s2", ":v2"),
        ("list", ""),
        ("artifact", ""),
        ("armlist", ""),
    )
    for form, flags in FORMS.items()
    if not tag or form == "plain"
]
DOCKER = [
    *{one.id: one for one in DOCKER}.values(),
    case("docker-tag", f"inspect {HTTP}docker://{{REGISTRY}}/repo/one:v1"),
    case("docker-no-tags", f"inspect {HTTP}-n docker://{{REGISTRY}}/repo/one:v1"),
    case(
        "docker-format-tags",
        f"inspect {HTTP}-f '{{{{.Name}}}} {{{{.RepoTags}}}}' docker://{{REGISTRY}}/repo/one:v1",
    ),
    case("docker-unknown-tag", f"inspect {HTTP}docker://{{REGISTRY}}/repo/one:nope"),
    case("docker-unknown-repository", f"inspect {HTTP}docker://{{REGISTRY}}/repo/nope"),
    case("docker-unknown-digest", f"inspect {HTTP}docker://{{REGISTRY}}/repo/one@{ONE_DIGEST}"),
    case("docker-refused", f"inspect {HTTP}docker://{{CLOSED}}/x"),
    case("docker-refused-tls", "inspect docker://{CLOSED}/x"),
    case("docker-http-without-flag", "inspect docker://{REGISTRY}/repo/one"),
    case("docker-platform", f"--override-arch arm inspect {HTTP}docker://{{REGISTRY}}/repo/index"),
    case("docker-creds", f"inspect {HTTP}--creds me:secret docker://{{AUTHREG}}/repo/one"),
    case(
        "docker-username-password",
        f"inspect {HTTP}--username me --password secret -f {{{{.Os}}}} docker://{{AUTHREG}}/repo/one",
    ),
    case("docker-creds-wrong", f"inspect {HTTP}--creds me:wrong docker://{{AUTHREG}}/repo/one"),
    case("docker-creds-none", f"inspect {HTTP}docker://{{AUTHREG}}/repo/one"),
    case("docker-no-creds", f"inspect {HTTP}--no-creds docker://{{AUTHREG}}/repo/one"),
    case("docker-registry-token", f"inspect {HTTP}--registry-token abc docker://{{AUTHREG}}/repo/one"),
    case("docker-cert-dir-missing", f"inspect {HTTP}--cert-dir /nonexistent docker://{{REGISTRY}}/repo/one"),
    case(
        "docker-user-agent",
        f"--user-agent-prefix me inspect {HTTP}-nf {{{{.Os}}}} docker://{{REGISTRY}}/repo/one",
    ),
    *(
        case(f"creds-{name}", f"inspect {flags} docker://host.example/x")
        for name, flags in {
            "empty": "--creds ''",
            "no-user": "--creds :secret",
            "username-alone": "--username me",
            "password-alone": "--password secret",
            "and-username": "--creds a:b --username c --password d",
            "and-no-creds": "--creds a:b --no-creds",
            "username-and-no-creds": "--username a --password b --no-creds",
            "and-password": "--creds a:b --password d",
            "password-and-no-creds": "--password d --no-creds",
        }.items()
    ),
    *(
        case(f"fake-{name}", f"inspect {HTTP}-f '{{{{.Name}}}} {{{{.RepoTags}}}}' docker://{{FAKE}}/{name}")
        for name in [
            "plain",
            "denied",
            "ecr404",
            "notfound",
            "plain404",
            "servererror",
            "nulltags",
            "notags",
            "oddtags",
            "badtags",
            "htmltags",
            "brokentags",
            "nomanifest",
            "noname",
            "custom",
            "plainmanifest",
            "long",
            "html",
            "broken",
            "toomany",
            "noblob",
            "unauth",
            "plain401",
            "noerrors",
            "details",
            "detail",
            "nomessage",
            "odd",
        ]
    ),
    case("fake-denied-no-tags", f"inspect {HTTP}-n docker://{{FAKE}}/denied"),
    case("fake-denied-json", f"inspect {HTTP}docker://{{FAKE}}/denied"),
    case("fake-toomany-raw", f"inspect {HTTP}--raw docker://{{FAKE}}/toomany"),
    case("fake-toomany-config", f"inspect {HTTP}--config docker://{{FAKE}}/toomany"),
    case("fake-toomany-config-raw", f"inspect {HTTP}--config --raw docker://{{FAKE}}/toomany"),
]
