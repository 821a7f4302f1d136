"""Times as Go's time.Time shows them and what its simple methods answer."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Moment(NamedTuple):
    """`local`: the clock where it was, without a zone; `offset`: seconds east; `zone`: "Z" or "+02:00"."""

    local: datetime
    fraction: str
    offset: int
    zone: str

    @property
    def unix(self) -> int:
        """Seconds since the epoch."""
        return (self.local.replace(tzinfo=UTC) - _EPOCH) // _SECOND - self.offset

    @property
    def nanosecond(self) -> int:
        """The part below a second."""
        return int(self.fraction[:9].ljust(9, "0") or "0")


def parse(text: str) -> Moment:
    """A time as encoding/json writes it."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(text)
    day, clock, fraction, zone = found.groups()
    offset = 0
    if zone != "Z":
        offset = (int(zone[1:3]) * 60 + int(zone[4:6])) * 60 * (-1 if zone[0] == "-" else 1)
    return Moment(_datetime(day, clock), fraction or "", offset, zone)


def _datetime(day: str, clock: str) -> datetime:
    return datetime.fromisoformat(f"{max(day, '0001')}T{clock}")


def time_text(text: str) -> str:
    """`Time.String`: `2024-05-06 07:08:09.12 +0200 +0200`; the zone's own name where it is UTC or ours."""
    moment = parse(text)
    fraction = f".{moment.fraction.rstrip('0')}" if moment.fraction.strip("0") else ""
    numeric = "+0000" if moment.zone == "Z" else moment.zone.replace(":", "")
    shown = f"{text[:10]} {text[11:19]}{fraction} {numeric}"
    if moment.zone == "Z":
        return f"{shown} UTC"
    here = time.localtime(moment.unix)
    return f"{shown} {here.tm_zone if here.tm_gmtoff == moment.offset else numeric}"


METHODS: dict[str, Callable[[Moment], int]] = {
    "Year": lambda moment: moment.local.year,
    "Day": lambda moment: moment.local.day,
    "Hour": lambda moment: moment.local.hour,
    "Minute": lambda moment: moment.local.minute,
    "Second": lambda moment: moment.local.second,
    "Nanosecond": lambda moment: moment.nanosecond,
    "YearDay": lambda moment: moment.local.timetuple().tm_yday,
    "Unix": lambda moment: moment.unix,
    "UnixMilli": lambda moment: moment.unix * 1000 + moment.nanosecond // 10**6,
    "UnixNano": lambda moment: moment.unix * 10**9 + moment.nanosecond,
}
"""Methods without arguments that answer a number."""

OTHER_METHODS = frozenset(
    (
        "Add",
        "AddDate",
        "After",
        "AppendFormat",
        "Before",
        "Clock",
        "Compare",
        "Date",
        "Equal",
        "Format",
        "GoString",
        "ISOWeek",
        "In",
        "IsDST",
        "IsZero",
        "Local",
        "Location",
        "Month",
        "Round",
        "Sub",
        "Truncate",
        "UTC",
        "UnixMicro",
        "Weekday",
        "Zone",
        "ZoneBounds",
    )
)
"""Methods that exist in Go and are not built."""
