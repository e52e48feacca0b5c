import gzip
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import tiktoken.model
from tiktoken_ext import openai_public

import schemas.encodings as module
from schemas.encodings import EncodingError, encoding, encodings, read_encodings, read_ranks

TABLE = Path(module.__file__).with_suffix(".toml").read_text()


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_an_encoding_is_defined_as_tiktoken_defines_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(url: str, expected_hash: str) -> dict[bytes, int]:
        asked.append(expected_hash)
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", load)
    theirs = getattr(openai_public, name)()
    ours = encodings().definitions[name]
    assert (ours.pattern, [ours.sha256]) == (theirs["pat_str"], asked)


def test_an_encoding_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    fresh = encoding.__wrapped__("cl100k_base")
    assert fresh.encode_ordinary("tiktoken is great!") == [83, 1609, 5963, 374, 2294, 0]  # from the OpenAI Cookbook


def test_every_model_that_tiktoken_knows_by_these_encodings_is_exact() -> None:
    names = dict(tiktoken.model.MODEL_TO_ENCODING)
    names |= {
        f"{prefix}x": name for prefix, name in tiktoken.model.MODEL_PREFIX_TO_ENCODING.items() if prefix[-1] == "-"
    }
    names |= {"gpt-5.2-pro": "o200k_base", "ft:gpt-4o-mini-2024-07-18:claude::1": "o200k_base"}
    known = {model: name for model, name in names.items() if name in encodings().definitions}
    assert len(known) > 25
    assert {model: (encodings().of(model).encoding, encodings().of(model).exact) for model in known} == {
        model: (name, True) for model, name in known.items()
    }


@pytest.mark.parametrize(
    "model",
    ["gpt-2", "gpt-4.7", "gpt-6-sol", "gpt-oss-120b", "o10", "o1x", "claude-sonnet-4-5", "gpt-4ox", "", "x" * 10_000],
)
def test_a_model_that_tiktoken_does_not_know_is_an_estimate(model: str) -> None:
    assert not encodings().of(model).exact


@pytest.mark.parametrize(
    ("model", "per_mille"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 1200),
        ("anthropic/claude-opus-4.8", 1560),
        ("Claude-Sonnet-5", 1560),
        ("projects/p/locations/l/publishers/google/models/gemini-2.5-pro", 1100),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", 1000),
        ("mistral.mixtral-8x7b-instruct-v0:1", 1200),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 1200),
        ("deepseek.r1-v1:0", 1320),
        ("nobody-knows-this", 1000),
    ],
)
def test_a_family_is_found_behind_the_prefixes_of_gateways_and_regions(model: str, per_mille: int) -> None:
    assert encodings().of(model).per_mille == per_mille


def test_the_first_model_that_a_rule_names_decides() -> None:
    assert encodings().of("my-deployment", "gpt-4o") == encodings().of("gpt-4o")
    assert encodings().of("gpt-4", "gpt-4o") == encodings().of("gpt-4")
    assert encodings().of(None, None) == encodings().default


def test_other_ranks_than_the_table_names_are_refused() -> None:
    good = b"IQ== 0\nIg== 1\n"
    digest = sha256(good).hexdigest()
    assert read_ranks(gzip.compress(good), digest) == {b"!": 0, b'"': 1}
    with pytest.raises(EncodingError, match=digest):
        read_ranks(gzip.compress(b"IQ== 0\n"), digest)
    with pytest.raises(EncodingError, match="cannot be read"):
        read_ranks(gzip.compress(good)[:-9], digest)
    with pytest.raises(EncodingError, match="cannot be read"):
        read_ranks(good, digest)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ('prefixes = ["acme"]\nencoding = "p50k_base"\nexact = true', "acme: unknown encoding p50k_base"),
        ('prefixes = ["gpt-4o-"]\nencoding = "o200k_base"\nexact = true', "a model is named twice"),
        (
            'prefixes = ["acme"]\nencoding = "o200k_base"\nexact = true\nper_mille = 900',
            "acme: per_mille of an exact count",
        ),
        ('prefixes = ["acme"]\nencoding = "o200k_base"\nper_mille = 900', "acme: an estimate needs"),
        ('prefixes = ["acme"]\nencoding = "o200k_base"\nper_mille = 0\nsource = "x"', "acme: an estimate needs"),
        ('names = ["Acme"]\nencoding = "o200k_base"\nexact = true', "Acme: names are in lower case"),
    ],
)
def test_a_rule_that_does_not_hold_is_refused(rule: str, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        read_encodings(f"{TABLE}\n[[model]]\n{rule}\n")
