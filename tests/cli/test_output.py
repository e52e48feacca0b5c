import pytest

from cli.output import Form, dollars, seconds, show


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (1_234_000, "$0.001234"),
        (-2_500_000_000, "-$2.50"),
        (7_000_000_000, "$7.00"),
        (None, "-"),
    ],
)
def test_dollars_are_exact_to_the_nano_dollar(nano, text):
    assert dollars(nano) == text


@pytest.mark.parametrize(
    ("ns", "text"), [(2_310_000_000, "2.31 s"), (81_000_000, "81 ms"), (1_500_000, "1.5 ms"), (None, "-")]
)
def test_a_duration_has_the_unit_that_reads_best(ns, text):
    assert seconds(ns) == text


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Form.json, '[{"a":1,"b":null},{"a":2,"b":"x"}]\n'),
        (Form.jsonl, '{"a":1,"b":null}\n{"a":2,"b":"x"}\n'),
        (Form.csv, "a,b\r\n1,\r\n2,x\r\n"),
    ],
)
def test_each_form_carries_the_same_rows(capsys, form, text):
    show([{"a": 1, "b": None, "c": 0}, {"a": 2, "b": "x", "c": 0}], ["a", "b"], form)
    assert capsys.readouterr().out == text


def test_a_table_shows_square_brackets_as_they_are(capsys):
    show([{"name": "[bold]x[/]"}], ["name"], Form.table)
    assert "[bold]x[/]" in capsys.readouterr().out
