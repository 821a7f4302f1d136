"""The image proxy: latencies of requests, blobs from every place, and readers that stall."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import proxy_client
from benchmarks.environment import PLACES, Bench
from benchmarks.harness import (
    Case,
    Contender,
    Measure,
    Sample,
    UnsupportedError,
    cpu_seconds,
    memory_peak,
    thread_count,
)
from benchmarks.proxy_client import Proxy

STUCK = 64


def cases(bench: Bench) -> list[Case]:
    return [*_latencies(bench), *_blobs(bench), *_stuck(bench)]


# --- latencies


def _latencies(bench: Bench) -> Iterator[Case]:
    for place in PLACES:
        yield Case(
            f"proxy.openimage.{place}",
            f"OpenImage from {place}, p50 (cpu: with its CloseImage)",
            partial(_requests, bench, place, _open_image),
            bench.rounds,
        )
    for name, timed in (("getmanifest", _get_manifest), ("closeimage", _close_image)):
        yield Case(
            f"proxy.{name}.oci",
            "GetManifest, read, FinishPipe, p50" if timed is _get_manifest else "CloseImage, p50",
            partial(_requests, bench, "oci", timed),
            bench.rounds,
        )


@contextmanager
def _requests(
    bench: Bench, place: str, timed: Callable[[Proxy, str], float], contender: Contender
) -> Iterator[Measure]:
    with bench.proxy(contender, place) as proxy:
        reference = bench.reference(place, "one")

        def measure() -> Sample:
            before = cpu_seconds(proxy.pid)
            times = [timed(proxy, reference) for _ in range(bench.requests)]
            cpu = (cpu_seconds(proxy.pid) - before) / len(times)
            more = {"requests": len(times), "p90": statistics.quantiles(times, n=10)[8]}
            return Sample(statistics.median(times), cpu, rss=memory_peak(proxy.pid), more=more)

        yield measure


def _open_image(proxy: Proxy, reference: str) -> float:
    began = time.perf_counter()
    image = proxy.open_image(reference)
    took = time.perf_counter() - began
    proxy.call("CloseImage", image)
    return took


def _close_image(proxy: Proxy, reference: str) -> float:
    image = proxy.open_image(reference)
    began = time.perf_counter()
    proxy.call("CloseImage", image)
    return time.perf_counter() - began


def _get_manifest(proxy: Proxy, reference: str) -> float:
    image = proxy.open_image(reference)
    began = time.perf_counter()
    proxy.manifest(image)
    took = time.perf_counter() - began
    proxy.call("CloseImage", image)
    return took


# --- blobs


def _blobs(bench: Bench) -> Iterator[Case]:
    for method in ("GetRawBlob", "GetBlob"):
        for place in PLACES:
            for image, parallel in (("one", 1), ("ten", 4)):
                yield _blob_case(bench, method, place, image, parallel, "read")
        yield _blob_case(bench, method, "oci", "one", 1, "splice")
        yield _blob_case(bench, method, "lean", "l64", 1, "read")


def _blob_case(bench: Bench, method: str, place: str, image: str, parallel: int, sink: str) -> Case:
    name = f"proxy.{method.lower()}.{place}.{image}.{parallel}" + (".splice" if sink == "splice" else "")
    title = f"{method}, {image} from {place}, {parallel} at once, {sink} sink"
    return Case(name, title, partial(_blob, bench, method, place, image, parallel, sink), bench.rounds)


@contextmanager
def _blob(
    bench: Bench, method: str, place: str, image: str, parallel: int, sink: str, contender: Contender
) -> Iterator[Measure]:
    fixture = bench.images[image]
    with bench.proxy(contender, place) as proxy:
        _require_method(proxy, method)
        handle = proxy.open_image(bench.reference(place, image))
        # Not timed: every byte is checked once, and connections are open afterwards for both sides.
        proxy_client.get_layers(proxy, handle, fixture.layers, method, parallel, None)

        def measure() -> Sample:
            before, began = cpu_seconds(proxy.pid), time.perf_counter()
            chosen = proxy_client.SINKS[sink]
            proxy_client.get_layers(proxy, handle, fixture.layers, method, parallel, chosen)
            wall = time.perf_counter() - began
            cpu = cpu_seconds(proxy.pid) - before
            return Sample(wall, cpu, fixture.size, memory_peak(proxy.pid))

        yield measure


def _require_method(proxy: Proxy, method: str) -> None:
    try:
        proxy.call(method)
    except proxy_client.ReplyError as error:
        if "unknown method" in str(error):
            raise UnsupportedError(f"has no {method}") from None


# --- readers that stall


def _stuck(bench: Bench) -> Iterator[Case]:
    for place in ("oci", "lean"):
        yield Case(
            f"proxy.stuck.{place}",
            f"{STUCK} blobs from {place} that nobody reads, then GetManifest; the last blob completes",
            partial(_stalled, bench, place),
            bench.rounds,
        )


@contextmanager
def _stalled(bench: Bench, place: str, contender: Contender) -> Iterator[Measure]:
    """Each round has a proxy of its own: skopeo's never gives such threads back."""

    def measure() -> Sample:
        with bench.proxy(contender, place) as proxy:
            return _stall(bench, proxy, bench.reference(place, "ten"))

    yield measure


def _stall(bench: Bench, proxy: Proxy, reference: str) -> Sample:
    image = proxy.open_image(reference)
    layer = max(bench.images["ten"].layers, key=lambda layer: layer.size)
    readers: list[int] = []
    try:
        for _ in range(STUCK):
            readers += proxy.call("GetBlob", image, layer.digest, layer.size)[2]
        _, pipe, (last,) = proxy.call("GetBlob", image, layer.digest, layer.size)
        readers.append(last)
        began = time.perf_counter()
        proxy.manifest(image)
        wall = time.perf_counter() - began
        began = time.perf_counter()
        count = proxy_client.reading_sink(last, layer.size)
        proxy.call("FinishPipe", pipe)
        more = {"last_blob": time.perf_counter() - began, "threads": thread_count(proxy.pid)}
        if count != layer.size:
            raise proxy_client.ReplyError(f"the last blob ended after {count} of {layer.size} bytes")
        return Sample(wall, cpu_seconds(proxy.pid), count, memory_peak(proxy.pid), more)
    finally:
        for reader in readers:
            os.close(reader)
