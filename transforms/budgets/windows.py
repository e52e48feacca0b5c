"""Windows of budgets: days, weeks from Monday, months, in the owner's time zone; or all time.

A window begins at the first midnight of its first day, and where the clocks leave midnight out, at the moment when
they do. So a day has 23, 24 or 25 hours, and windows follow each other without gap or overlap.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

SECOND = 10**9
DAY = "day"
WEEK = "week"
MONTH = "month"
TOTAL = "total"
WINDOWS = (DAY, WEEK, MONTH, TOTAL)


class Span(NamedTuple):
    """UTC ns: start inclusive, end exclusive; both 0 for all time."""

    start: int
    end: int


ALL_TIME = Span(0, 0)


def zone(name: str) -> ZoneInfo:
    """The time zone with this IANA name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"there is no time zone {name!r}: give an IANA name such as Europe/Berlin") from error


def window_at(window: str, time_zone: ZoneInfo, time: int) -> Span:
    """The window that holds `time` (UTC ns)."""
    if window == TOTAL:
        return ALL_TIME
    first = _first_day(window, datetime.fromtimestamp(time // SECOND, UTC).astimezone(time_zone).date())
    # Where clocks go back over midnight a day comes twice: the second time belongs to the window that began.
    while time < (start := _midnight(first, time_zone)):
        first = _first_day(window, first - timedelta(days=1))
    while time >= (end := _midnight(following := _next(window, first), time_zone)):
        first, start = following, end
    return Span(start, end)


def _first_day(window: str, day: date) -> date:
    if window == DAY:
        return day
    return day - timedelta(days=day.weekday()) if window == WEEK else day.replace(day=1)


def _next(window: str, first: date) -> date:
    if window == MONTH:
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=1 if window == DAY else 7)


def _midnight(day: date, time_zone: ZoneInfo) -> int:
    """UTC ns of the first midnight of `day`; a midnight that clocks leave out is the moment when they do."""
    return int(datetime(day.year, day.month, day.day, tzinfo=time_zone).timestamp()) * SECOND
