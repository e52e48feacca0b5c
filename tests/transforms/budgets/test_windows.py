from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.budgets.windows import ALL_TIME, SECOND, WINDOWS, window_at, zone

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Africa/Cairo",
    "America/Havana",
    "America/Asuncion",
    "Asia/Beirut",
]
ZONES += ["Pacific/Apia", "Australia/Lord_Howe", "Asia/Kathmandu"]


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def utc(time: int) -> str:
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%MZ")


@pytest.mark.parametrize(
    ("window", "time_zone", "at", "start", "end"),
    [
        ("day", "UTC", "2026-11-09T11:30Z", "2026-11-09T00:00Z", "2026-11-10T00:00Z"),
        ("day", "Europe/Berlin", "2026-11-09T23:30Z", "2026-11-09T23:00Z", "2026-11-10T23:00Z"),
        # 23 and 25 hours
        ("day", "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("day", "Europe/Berlin", "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("day", "America/New_York", "2026-03-08T12:00Z", "2026-03-08T05:00Z", "2026-03-09T04:00Z"),
        ("day", "America/New_York", "2026-11-01T12:00Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
        # midnight is left out: the day begins at 01:00
        ("day", "Africa/Cairo", "2024-04-26T12:00Z", "2024-04-25T22:00Z", "2024-04-26T21:00Z"),
        ("day", "Africa/Cairo", "2024-04-25T21:59Z", "2024-04-24T22:00Z", "2024-04-25T22:00Z"),
        # midnight comes twice: the day begins at the first
        ("day", "America/Havana", "2024-11-03T04:30Z", "2024-11-03T04:00Z", "2024-11-04T05:00Z"),
        ("day", "America/Havana", "2024-11-03T05:30Z", "2024-11-03T04:00Z", "2024-11-04T05:00Z"),
        # 30 December 2011 was left out
        ("day", "Pacific/Apia", "2011-12-30T12:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z"),
        ("week", "UTC", "2027-01-01T00:00Z", "2026-12-28T00:00Z", "2027-01-04T00:00Z"),
        ("week", "Europe/Berlin", "2026-03-29T21:59Z", "2026-03-22T23:00Z", "2026-03-29T22:00Z"),
        ("month", "UTC", "2028-02-29T23:59Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
        ("month", "Europe/Berlin", "2026-10-31T22:59Z", "2026-09-30T22:00Z", "2026-10-31T23:00Z"),
        ("month", "America/New_York", "2027-01-01T04:59Z", "2026-12-01T05:00Z", "2027-01-01T05:00Z"),
    ],
)
def test_a_window_begins_and_ends_at_the_owners_midnight(window, time_zone, at, start, end):
    span = window_at(window, zone(time_zone), ns(at))
    assert (utc(span.start), utc(span.end)) == (start, end)


def first_moment(day: date, time_zone: ZoneInfo) -> int:
    """By looking at every quarter of an hour: the first one of that date or a later one."""
    quarter = timedelta(minutes=15)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2)
    while at.astimezone(time_zone).date() < day:
        at += quarter
    return int(at.timestamp()) * SECOND


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month"]),
    st.integers(ns("2000-01-01T00:00Z"), ns("2037-12-31T00:00Z")),
)
@example("America/Asuncion", "day", ns("2024-03-24T03:30Z"))
@example("Africa/Cairo", "month", ns("2023-10-31T22:00Z"))
def test_every_moment_lies_in_one_window_that_looking_at_the_calendar_finds_too(name, window, time):
    where = ZoneInfo(name)
    span = window_at(window, where, time)
    assert span.start <= time < span.end
    assert window_at(window, where, span.start) == window_at(window, where, span.end - 1) == span
    following = window_at(window, where, span.end)
    assert following.start == span.end and window_at(window, where, span.start - 1).end == span.start
    first = datetime.fromtimestamp(time // SECOND, UTC).astimezone(where).date()
    if window == "week":
        first -= timedelta(days=first.isoweekday() - 1)
    if window == "month":
        first = date(first.year, first.month, 1)
    assert span.start == first_moment(first, where)


def test_all_time_is_one_window_without_an_end():
    assert {window_at("total", zone("UTC"), time) for time in (0, ns("2026-11-09T11:30Z"), 2**63 - 1)} == {ALL_TIME}
    assert WINDOWS == ("day", "week", "month", "total")


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "/etc/localtime"])
def test_a_time_zone_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="IANA name"):
        zone(name)
