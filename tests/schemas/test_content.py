import tomllib

import pytest

from schemas.content import _table, content_tables
from schemas.dialects import dialects
from transforms.messages.formats import FORMATS


def test_every_format_that_the_tables_name_exists():
    used = {take.format for table in content_tables() for part in table.sets for take in part.takes}
    assert used == set(FORMATS)


def test_every_rank_and_dialect_is_used_once():
    tables = content_tables()
    names = [name for table in tables for name in table.dialects]
    assert len({table.rank for table in tables}) == len(tables)
    assert len(set(names)) == len(names)
    assert set(names) <= {dialect.name for dialect in dialects()}


@pytest.mark.parametrize(
    ("side", "take"),
    [
        ("sideways", 'key = "a", format = "body"'),
        ("input", 'format = "body"'),
        ("input", 'key = "a", keys = "a", format = "body"'),
        ("input", 'keys = "(", format = "body"'),
    ],
)
def test_a_malformed_table_is_refused(side, take):
    text = f'rank = 1\ndialects = []\n[[content]]\nside = "{side}"\ntake = [{{ {take} }}]\n'
    with pytest.raises(Exception, match=r"none of input, output, tools|exactly one|unterminated|missing \)"):
        _table(tomllib.loads(text))
