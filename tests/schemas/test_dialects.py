import shutil
from pathlib import Path

import pytest

import schemas.dialects
import schemas.vocabulary
from schemas.dialects import DialectError, dialects, read_dialects
from schemas.vocabulary import VocabularyError, read_vocabulary, vocabulary

HERE = Path(schemas.dialects.__file__).parent
WORDS = Path(schemas.vocabulary.__file__).parent
GOOD = 'name = "acme"\n[[detect]]\nrank = 1\nscopes = ["acme"]\n'


def read(folder: Path, text: str) -> None:
    (folder / "acme.toml").write_text(text)
    read_dialects(folder)


def test_every_dialect_of_the_documents_is_there() -> None:
    names = {dialect.name for dialect in dialects()}
    assert names >= {"gen_ai", "openinference", "traceloop", "ai_sdk", "ai_sdk_v7", "langfuse", "langsmith", "mlflow"}
    assert names >= {"openlit", "pydantic_ai", "logfire", "litellm", "strands", "google_adk", "anthropic_sdk"}
    assert names >= {"claude_code", "codex", "inferred", "plain"}


def test_a_file_is_all_that_a_new_dialect_takes(tmp_path: Path) -> None:
    for path in HERE.glob("*.toml"):
        shutil.copy(path, tmp_path)
    (tmp_path / "acme.toml").write_text(GOOD + '[fields]\ninput = ["acme.tokens"]\n')
    added = {dialect.name: dialect for dialect in read_dialects(tmp_path)}
    assert len(added) == len(dialects()) + 1
    assert added["acme"].sources["input"][0].key == "acme.tokens"


def test_a_dialect_reads_its_own_sources_before_those_that_it_extends() -> None:
    by_name = {dialect.name: dialect for dialect in dialects()}
    own = by_name["strands"].sources["input"]
    assert own == by_name["gen_ai"].sources["input"]
    assert by_name["langsmith"].sources["kind"][0].key == "langsmith.span.kind"
    assert by_name["inferred"].sources["input"][0] == by_name["gen_ai"].sources["input"][0]


def test_a_field_that_is_replaced_takes_nothing_from_what_the_dialect_extends() -> None:
    assert "ttft" not in {dialect.name: dialect for dialect in dialects()}["openlit"].sources


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "acme.toml: file: "),
        ('name = "other"', "acme.toml: name: must be acme"),
        (GOOD + "[colours]\n", "acme.toml: colours: unknown key"),
        (GOOD + "rnak = 2\n", "acme.toml: detect[0].rnak: unknown key"),
        ('name = "acme"\n[[detect]]\nscopes = ["acme"]\n', "acme.toml: detect[0].rank: is missing"),
        ('name = "acme"\n[[detect]]\nrank = "1"\n', "acme.toml: detect[0].rank: must be int, not '1'"),
        ('name = "acme"\n[[detect]]\nrank = 1\nkeys = [1]\n', "acme.toml: detect[0].keys: must be text or a list"),
        ('name = "acme"\ndetect = ["acme"]\n', "acme.toml: detect[0]: must be a table"),
        (GOOD + '[fields]\ncolour = ["c"]\n', "acme.toml: fields.colour: unknown field"),
        (
            GOOD + '[fields]\ninput = [{ path = "a" }]\n',
            "acme.toml: fields.input[0]: needs exactly one of key, pattern",
        ),
        (GOOD + '[fields]\ninput = [{ key = "a", event = "b" }]\n', "acme.toml: fields.input[0]: needs exactly one of"),
        (
            GOOD + '[fields]\nttft = [{ key = "a", unit = "hours" }]\n',
            "acme.toml: fields.ttft[0].unit: must be one of s, ms",
        ),
        (
            GOOD + '[fields]\nttft = [{ key = "a", kind = "last" }]\n',
            "acme.toml: fields.ttft[0].kind: must be one of first_chunk",
        ),
        (
            GOOD + '[fields]\ninput = [{ key = "a", format = "xml" }]\n',
            "acme.toml: fields.input[0].format: must be one of json",
        ),
        (
            GOOD + '[fields]\nkind = [{ key = "a", map = "kinds" }]\n',
            "acme.toml: fields.kind[0].map: no table maps.kinds",
        ),
        (GOOD + "[fields]\ninput = [{ pattern = '(' }]\n", "acme.toml: fields.input[0].pattern: bad expression"),
        (
            GOOD + '[fields]\nkind = [{ span = "name", match = "names" }]\n[maps.names]\n\'(\' = "llm"\n',
            "acme.toml: maps.names: bad expression",
        ),
        ('name = "acme"\nextends = ["acme"]\n', "acme.toml: extends: no dialect acme"),
        (GOOD + "[maps.names]\na = 1\n", "acme.toml: maps.names: must map words to words"),
        ('name = "acme"\nextends = ["nobody"]\n', "acme.toml: extends: no dialect nobody"),
        (GOOD + "[usage]\nexclusive = 1\n", "acme.toml: usage.exclusive: must be bool, not 1"),
        (GOOD + "[[detect]]\nrank = 1\n", "acme.toml: detect.rank: 1 is taken by acme"),
    ],
)
def test_a_bad_table_is_refused_with_its_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DialectError) as refusal:
        read(tmp_path, text)
    assert str(refusal.value).startswith(says)


def test_a_dialect_cannot_change_the_words_of_one_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('name = "base"\n[maps.names]\na = "b"\n')
    with pytest.raises(DialectError, match="acme.toml: maps.names: is a table of a dialect that it extends"):
        read(tmp_path, 'name = "acme"\nextends = ["base"]\n[maps.names]\na = "c"\n')


def test_every_kind_that_a_dialect_maps_to_is_a_kind() -> None:
    shared = {"span_kinds", "operation_kinds"}
    for dialect in dialects():
        for source in dialect.sources.get("kind", ()):
            table = source.map or source.match
            if table not in shared:
                assert set(dialect.maps[table].values()) <= set(schemas.vocabulary.KINDS), (dialect.name, table)


def test_every_operation_has_a_kind_and_every_alias_an_operation() -> None:
    words = vocabulary()
    assert set(words.operation_aliases.values()) <= set(words.operation_kinds)
    assert set(words.operations_of_kinds.values()) <= set(words.operation_kinds)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("operations.toml", 'chat = "llm"', 'chat = "talk"', "operations.toml: kinds.chat: unknown kind talk"),
        (
            "operations.toml",
            'llm_call = "chat"',
            'llm_call = "caht"',
            "operations.toml: aliases.llm_call: unknown operation",
        ),
        (
            "usage_shapes.toml",
            'input = "exclusive"',
            'input = "maybe"',
            "usage_shapes.toml: shape anthropic: input must be",
        ),
        (
            "usage_shapes.toml",
            "cache_read =",
            "cache_raed =",
            "usage_shapes.toml: shape openai_chat: unknown count cache_raed",
        ),
    ],
)
def test_a_bad_word_in_the_vocabulary_is_refused(tmp_path: Path, file: str, old: str, new: str, says: str) -> None:
    for path in WORDS.glob("*.toml"):
        shutil.copy(path, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(VocabularyError, match=says):
        read_vocabulary(tmp_path)
