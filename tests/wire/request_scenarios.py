"""Requests: framing, JSON, argument counts and types, ids; no image matters here."""

from __future__ import annotations

import re

from tests.wire.shared_steps import (
    ID_METHODS,
    INIT,
    LAYER,
    MISTYPED,
    SYNTAX,
    TRUNCATED,
    got,
    raw,
)
from tests.wire.steps import (
    Call,
    Data,
    End,
    Finish,
    Receive,
    Scenario,
    Send,
    error,
    scenario,
)

REQUESTS: dict[str, Scenario] = {
    "initialize": scenario(INIT, Call("Initialize"), Call("Shutdown")),
    "initialize_with_args": scenario(
        Call("Initialize", 1), Call("Initialize", None), INIT, Call("Initialize", 1)
    ),
    "before_initialize": scenario(
        *(
            Call(method)
            for method in ("OpenImage", "OpenImageOptional", *ID_METHODS, "GetBlob", "GetRawBlob")
        ),
        Call("FinishPipe", 1),
        Call("Nope"),
        INIT,
    ),
    "shutdown_before_initialize": scenario(Call("Shutdown")),
    "shutdown_with_args": scenario(INIT, Call("Shutdown", 1, "two")),
    "unknown_methods": scenario(
        Call("nope"),
        INIT,
        Call("Nope", 1),
        Call("initialize"),
        Call(""),
        Call("<&>\u2028\u2029"),
        Call('schneeflöckchen ☃ 𝄞 \x00\x01\b\f\n\r\t"\\/\x7f\x80'),
        raw("null"),
        raw("{}"),
    ),
    "arg_counts": scenario(
        INIT,
        *(
            Call(method)
            for method in ("OpenImage", "OpenImageOptional", *ID_METHODS, "GetBlob", "GetRawBlob")
        ),
        *(Call(method, 1, 2) for method in ("OpenImage", "OpenImageOptional", *ID_METHODS)),
        Call("GetBlob", 1),
        Call("GetBlob", 1, 2, 3, 4),
        Call("GetRawBlob", 1),
        Call("GetRawBlob", 1, 2, 3),
    ),
    "reference_types": scenario(
        INIT,
        *(Call(method, value) for method in ("OpenImage", "OpenImageOptional") for value in MISTYPED),
    ),
    "id_types": scenario(
        INIT,
        *(Call(method, value) for method in ID_METHODS for value in ("1", *MISTYPED[:-1])),
        *(Call("GetBlob", value, LAYER, 1) for value in ("1", *MISTYPED[:-1])),
        *(Call("GetRawBlob", value, LAYER) for value in ("1", *MISTYPED[:-1])),
        *(Call("FinishPipe", value) for value in ("1", *MISTYPED[:-1])),
    ),
    "ids_unknown": scenario(
        INIT,
        *(Call(method, value) for method in ID_METHODS for value in (0, 99)),
        *(Call("GetBlob", value, LAYER, 1) for value in (0, 99)),
        *(Call("GetRawBlob", value, LAYER) for value in (0, 99)),
        Call("CloseImage", 2**53 - 1),
        Call("CloseImage", 2**53),
        Call("CloseImage", 2**53 + 2),
        raw('{"method":"CloseImage","args":[1e300]}'),
        raw('{"method":"CloseImage","args":[18446744073709551616]}'),
    ),
    "ids_odd": scenario(
        INIT,
        Call("OpenImage", "oci:one"),
        *(
            raw(
                '{"method":"GetLayerInfo","args":[%s]}' % number,  # noqa: UP031
                differs="odd numbers",
                ours=error(".+"),
            )
            for number in ("1.9", "-1", "-0.5", "-1e300", "0.5", "99.5")
        ),
        Call("CloseImage", 1),
    ),
    "numbers_as_floats": scenario(
        INIT,
        Call("OpenImage", "oci:one"),
        raw('{"method":"GetLayerInfo","args":[1.0]}'),
        raw('{"method":"GetLayerInfo","args":[1e0]}'),
        raw('{"method":"GetLayerInfo","args":[10E-1]}'),
        raw('{"method":"GetLayerInfo","args":[0.1e1]}'),
        raw('{"method":"GetLayerInfo","args":[-0]}'),
        raw('{"method":"GetLayerInfo","args":[0.0]}'),
        raw(
            '{"method":"FinishPipe","args":[4294967301]}',
            differs="pipe ids",
            ours=error("finishpipe: no active pipe 4294967301"),
        ),
        raw('{"method":"FinishPipe","args":[9007199254740992]}'),
    ),
    "finish_pipe": scenario(
        Call("FinishPipe", 1),
        Call("FinishPipe", 0),
        INIT,
        Call("FinishPipe", 1, 2, "three"),
        Call("OpenImage", "oci:one"),
        *got("a", "GetManifest", 1),
        Finish("a"),
        Call("GetFullConfig", 1, pipe="b", read=False),
        Finish("b"),
        Data("b"),
        Call("GetManifest", 1, pipe="c", read=False),
        Call("GetLayerInfoPiped", 1, pipe="d"),
        Finish("d"),
        Finish("c"),
        Data("c"),
        Data("d"),
    ),
    "finish_pipe_without_args": scenario(
        INIT,
        Call("FinishPipe", differs="FinishPipe without arguments", ours=error(".+")),
        End(differs="FinishPipe without arguments", ours={"exit": 0, "stdout": ""}),
    ),
    "finish_pipe_null_args": scenario(
        raw(
            '{"method":"FinishPipe","args":null}',
            differs="FinishPipe without arguments",
            ours=error(".+"),
        ),
        End(differs="FinishPipe without arguments", ours={"exit": 0, "stdout": ""}),
    ),
    "bad_json": scenario(
        *(
            raw(text, **SYNTAX)
            for text in ("garbage", "{", '{"method":"Initialize"', "[", '"', "{'method':1}")
        ),
        *(
            raw(text, **SYNTAX)
            for text in (" ", "\n", '{"method":"Initialize",}', '{"method":"a\nb"}', "\xff")
        ),
        *(
            raw(text, **SYNTAX)
            for text in ('{"method":"Initialize"}x', '{"method":"Nope"}{}', "nul", "-", "01")
        ),
        raw(b"\xef\xbb\xbf{}", **SYNTAX),
        INIT,
    ),
    "bad_shapes": scenario(
        *(raw(text) for text in ("[]", '"text"', "1", "true", "[1,2]", '{"method":1}', '{"method":[]}')),
        *(raw(text) for text in ('{"method":{}}', '{"method":true}', '{"method":"Nope","args":{}}')),
        *(raw(f'{{"method":"Nope","args":{args}}}') for args in ('"x"', "1", "false")),
        raw('{"method":"Nope","args":[1e999]}'),
        raw('{"method":null,"args":null}'),
        INIT,
    ),
    "lenient_json": scenario(
        raw('{"METHOD":"Initialize","Args":[]}'),
        raw('{"Method":"OpenImage","ARGS":["oci:one"]}'),
        raw('{"\u017fmethod":"Nope","method":"Initialize"}'),
        raw('{"method":"Initialize","arg\u017f":[1]}'),
        raw('  {"method" : "GetLayerInfo" ,\t"args":\r\n[ 1 ] }  \n'),
        raw('{"id":7,"jsonrpc":"2.0","method":"CloseImage","args":[1],"more":{"deep":[null]}}'),
        raw('{"args":[],"method":"Initialize"}'),
        raw('{"method":"Initialize","args":null}'),
        raw('{"method":"Initialize"}'),
        raw('{"method":"In\\u0069tialize"}'),
        raw(b'{"method":"bad \xff\xfe utf-8"}'),
        raw('{"method":"lone \\ud800 surrogate"}'),
        raw('{"method":"pair \\ud83d\\ude00"}'),
    ),
    "duplicate_keys": scenario(
        INIT,
        raw(
            '{"method":"Nope","method":"Initialize"}',
            differs="duplicate keys",
            ours={"recv": re.compile(r'\{"success":false,.*(already initialized|[Dd]uplicate).*\}')},
        ),
    ),
    "request_of_32768_bytes": scenario(
        INIT, raw('{"method":"Initialize","pad":"' + "x" * (32768 - 32) + '"}')
    ),
    "request_of_32769_bytes": scenario(
        INIT,
        raw('{"method":"Initialize","pad":"' + "x" * (32769 - 32) + '"}', **TRUNCATED),
        Call("Initialize"),
    ),
    "request_of_100000_bytes": scenario(INIT, raw('{"method":"' + "x" * 99987 + '"}', **TRUNCATED), INIT),
    "long_error": scenario(Call("n" * 4000)),
    "reply_of_192089_bytes": scenario(
        Call(
            "<" * 32000,
            differs="oversized replies",
            ours={
                "recv": re.compile(
                    r'\{"success":false,"value":null,"pipeid":0,"error_code":"other",.{9,32000}'
                )
            },
        ),
        INIT,
    ),
    "pipelined": scenario(
        Send(INIT.packet),
        Send(Call("OpenImage", "oci:one").packet),
        Send(Call("GetManifest", 1).packet),
        Receive(),
        Receive(),
        Receive(pipe="a"),
        Finish("a"),
        Data("a"),
    ),
}
