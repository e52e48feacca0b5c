"""Rules files: what they may say, and what is said of one that is wrong."""

from typing import Any

import pytest

from transforms.alerts.fields import duration_ns
from transforms.alerts.parse import RuleError, parse_file, parse_rules
from transforms.alerts.rules import Kind, Signal

HOOK = {"name": "hook", "webhook": {"url": "https://hooks.example.com/a", "secret": "0123456789abcdef"}}


def _file(*rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"org": "acme", "receivers": [HOOK], "groups": [{"name": "g", "rules": list(rules)}]} | fields


def _faults(given: Any) -> list[str]:
    with pytest.raises(RuleError) as refused:
        parse_file(given)
    return str(refused.value).splitlines()


def test_a_rule_of_each_kind_is_read_in_the_units_of_the_stream():
    kinds: list[dict[str, Any]] = [
        {
            "name": "spend",
            "kind": "threshold",
            "metric": "cost",
            "above": "12.5",
            "window": "1h",
            "receivers": ["hook"],
        },
        {"name": "errors", "kind": "ratio", "metric": "errors", "above": "5%", "resolve": "2%", "for": "2m"},
        {"name": "slow", "kind": "quantile", "metric": "ttft", "quantile": 0.95, "above": "800ms", "by": ["model"]},
        {"name": "budget", "kind": "budget", "above": "80%"},
        {"name": "free", "kind": "unpriced"},
        {"name": "odd", "kind": "anomaly", "metric": "calls", "direction": "down"},
        {"name": "mute", "kind": "absence", "window": "15m", "where": {"service": ["a", "b"]}},
    ]
    read = parse_file(_file(*kinds, budget_events=["hook"]))
    spend, errors, slow, budget, free, odd, mute = read.rules
    assert (spend.name, spend.above, spend.window, spend.receivers) == ("g/spend", 12_500_000_000, 60, ("hook",))
    assert (errors.signal, errors.above, errors.resolve, errors.hold) == (Signal("errors", "attempts"), 0.05, 0.02, 2)
    assert (slow.signal, slow.above, slow.by) == (Signal("ttft", quantile=0.95), 800_000_000, ("model",))
    assert (budget.signal, budget.above, budget.by) == (Signal("used", "limit"), 0.8, ("budget",))
    assert (free.above, free.by, free.window) == (0, ("provider", "model"), 15)
    assert (odd.kind, odd.direction, odd.sensitivity) == (Kind.ANOMALY, "down", 6)
    assert (mute.window, mute.where) == (15, (("service", ("a", "b")),))
    assert [one.name for one in read.receivers] == ["hook"] and read.budget_events == ("hook",)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": "treshold"}, "groups[0].rules[0].kind: 'treshold' is not known: one of threshold, ratio"),
        ({"metric": "spend"}, "groups[0].rules[0].metric: 'spend' is not known: one of calls, errors"),
        ({"above": "many"}, "groups[0].rules[0].above: 'many' is no number below 10^15"),
        ({"above": "nan"}, "groups[0].rules[0].above: 'nan' is no number"),
        ({"above": None}, "groups[0].rules[0].above: give either above or below"),
        ({"below": 3}, "groups[0].rules[0].above: give either above or below"),
        ({"resolve": 9}, "groups[0].rules[0].resolve: must lie on the safe side of the limit"),
        ({"window": "90s"}, "groups[0].rules[0].window: '90s' is none of 1m to 1440m: whole minutes, as 5m"),
        ({"window": 5}, "groups[0].rules[0].window: 5 is none of"),
        ({"by": ["user"]}, "groups[0].rules[0].by: 'user' is not known: any of team, key_id"),
        ({"where": {"user": "x"}}, "groups[0].rules[0].where.user: is not known here: one of team"),
        ({"where": "x"}, "groups[0].rules[0].where: must be a mapping of fields, not str"),
        ({"severity": "bad"}, "groups[0].rules[0].severity: 'bad' is not known: one of critical, warning, info"),
        ({"receivers": ["me"]}, "g/r: there is no receiver 'me': add it to receivers"),
        ({"treshold": 1}, "groups[0].rules[0].treshold: is not known here: one of above, at_least"),
        ({"name": "a b"}, "groups[0].rules[0].name: 'a b' is no name"),
    ],
)
def test_a_fault_names_its_field_and_its_cure(change: dict[str, Any], fault: str):
    rule = {"name": "r", "kind": "threshold", "metric": "calls", "above": 5} | change
    [said] = _faults(_file(rule))
    assert said.startswith(fault)


@pytest.mark.parametrize(
    ("receiver", "fault"),
    [
        ({"name": "a"}, "receivers[0].webhook: give one of webhook, alertmanager, email, chat"),
        ({"name": "a", "webhook": {"url": "https://h.example"}}, "receivers[0].webhook.secret: is missing"),
        ({"name": "a", "alertmanager": {"url": "ftp://h"}}, "receivers[0].alertmanager.url: is no http:// or https://"),
        (
            {"name": "a", "alertmanager": {"url": "http://me:pw@h"}},
            "receivers[0].alertmanager.url: must not hold a user",
        ),
        ({"name": "a", "alertmanager": {"url": "http://h/\r\nX: y"}}, "receivers[0].alertmanager.url: is no http://"),
        ({"name": "a", "email": ["me"]}, "receivers[0].email: 'me' is no address"),
        ({"name": "a", "email": ["a@b.c?smtp=evil"]}, "receivers[0].email: 'a@b.c?smtp=evil' is no address"),
        ({"name": "a", "chat": "slack"}, "receivers[0].chat: is no URL of a chat"),
        ({"name": "a", "email": ["a@b.c"], "chat": "x://y"}, "receivers[0].webhook: give one of"),
    ],
)
def test_a_receiver_that_cannot_be_is_refused(receiver: dict[str, Any], fault: str):
    assert _faults(_file(receivers=[receiver]))[0].startswith(fault)


def test_all_faults_of_a_file_are_told_at_once_and_limits_hold():
    assert _faults([1])[0] == "the file: must be a mapping of fields, not list"
    rule = {"name": "r", "kind": "threshold", "metric": "calls", "above": 5}
    assert _faults(_file(rule, rule)) == ["groups: there are two rules 'g/r': give one of them another name"]
    many = [{"name": f"g{n}", "rules": []} for n in range(71)]
    assert _faults({"org": "acme", "groups": many}) == ["groups: must be a list of at most 70"]
    full = [rule | {"name": f"r{n}"} for n in range(21)]
    assert _faults(_file(*full)) == ["groups[0].rules: must be a list of at most 20"]
    assert len(_faults(_file(rule | {"kind": "x", "window": "x"}, org="A B"))) == 3


def test_secrets_are_not_in_what_is_shown_of_a_receiver():
    chat = {"name": "c", "chat": "slack://T1/B2/C3verysecret"}
    shown = repr(parse_file(_file(receivers=[HOOK, chat])))
    assert "0123456789abcdef" not in shown and "verysecret" not in shown


def test_the_rules_of_a_file_can_be_read_without_the_rest():
    rule = {"name": "r", "kind": "threshold", "metric": "calls", "above": 5, "receivers": ["anybody"]}
    assert parse_rules([{"name": "g", "rules": [rule]}])[0].receivers == ("anybody",)
    assert (duration_ns("1.5s"), duration_ns("2d"), duration_ns("5"), duration_ns(5)) == (
        15 * 10**8,
        172_800 * 10**9,
        None,
        None,
    )
