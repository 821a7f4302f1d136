"""Odd image configs, and what skopeo makes of them (golden/configs.json, recorded by record.py)."""

from __future__ import annotations

EVERYTHING = (
    b'{"created":"2020-01-02T03:04:05.120000000+00:00","author":"<a&b>","Architecture":"amd64","OS":"linux",'
    b'"os.version":"1","os.features":["x"],"variant":"v8","docker_version":"24","foo":{"bar":1.5},'
    b'"rootfs":{"type":"layers","diff_ids":["sha256:a","b"]},"config":{"User":"u",'
    b'"ExposedPorts":{"80/tcp":{},"22/tcp":null},"Env":["A=1",null],"Entrypoint":["e"],"Cmd":null,'
    b'"Volumes":{"/b":{},"/a":{"x":1}},"WorkingDir":"/w","Labels":{"b":"2","a":null,"B":"x\\u2028<"},'
    b'"StopSignal":"9","ArgsEscaped":true,"Healthcheck":{"Test":["x"]},"Shell":["sh"],"StopTimeout":5},'
    b'"history":[{"created":"2020-01-02T03:04:05.1234567891+05:30","created_by":"x\\u2028","empty_layer":true,'
    b'"comment":"c","author":"a"},null,{}]}'
)

CONFIGS = (
    EVERYTHING,
    b"{}",
    b"null",
    b'{"config":{}}',
    b'{"config":{"Env":[]}}',
    b'{"config":{"Labels":{}}}',
    b'{"config":null,"rootfs":{"diff_ids":[]}}',
    b'{"created":"2020-01-02T03:04:05Z","config":{"env":["x"],"LABELS":{"q":"r"}},"history":[]}',
    b'{"created":"0001-01-01T00:00:00Z"}',
    b'{"created":"2020-01-02T03:04:05-00:00"}',
    b'{"created":"2020-01-02T03:04:05.000-07:00"}',
    b'{"created":"2020-01-02T3:04:05Z"}',
    b'{"created":"2020-01-02T03:04:05,5Z"}',
    b'{"created":"2020-02-29T03:04:05+05:60"}',
    b'{"created":"2020-02-30T03:04:05Z"}',
    b'{"created":"2020-13-01T03:04:05Z"}',
    b'{"created":"2020-01-02T24:04:05Z"}',
    b'{"created":"2020-01-02T03:60:05Z"}',
    b'{"created":"2020-01-02T03:04:60Z"}',
    b'{"created":1}',
    b'{"architecture":1}',
    b'{"os.features":"x"}',
    b'{"config":"x"}',
    b'{"config":{"Env":"x"}}',
    b'{"config":{"Env":[1]}}',
    b'{"config":{"Labels":{"a":1}}}',
    b'{"config":{"Labels":[]}}',
    b'{"config":{"Volumes":{"a":"x"}}}',
    b'{"rootfs":{"diff_ids":[1]}}',
    b'{"history":[{"empty_layer":"x"}]}',
    b'{"history":[1]}',
    b"[]",
    b'"x"',
    b'{"config":{"Cmd":"one"}}',
    b'{"config":{"Entrypoint":"one","ArgsEscaped":1}}',
    b'{"config":{"Hostname":1}}',
    b'{"config":{"Healthcheck":{"Interval":1.5}}}',
    b'{"Size":"x"}',
    b'{"Size":12}',
    b'{"docker_version":2}',
    b'{"container_config":{"Cmd":"x","StopTimeout":"y"}}',
    b'{"id":"x","parent":1}',
    b'{"config":{"StopTimeout":1.0}}',
    b'{"os.version":"\x7f\\u0001\\b\\f\\t"}',
)
