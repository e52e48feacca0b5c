"""A version for prompts that declare none: the structure of their system instructions and tools, as a hash.

So completions group by the prompt that made them. The structure is what stays when a program fills in values:
- of the system and developer messages that open the conversation the text, without what programs put into it: numbers,
  dates, times, ids, e-mail addresses, URLs, and what redaction left in place of them;
- of the tools their names and those of their parameters, in alphabetical order.
What the user says, and descriptions of tools, are not part of it.
"""

import re
from hashlib import blake2b
from typing import Any

import orjson
import polars as pl

from transforms.messages import Messages

PREFIX = "structure:"

_LONGEST = 65_536  # characters of a text that are looked at
_INSTRUCTIONS = ("system", "developer")
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_VALUE = re.compile(
    r"https?://\S+"
    r"|[\w.+-]+@[\w-]+\.[\w.-]+"
    r"|\[redacted:\w+\]"
    r"|\b[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b"
    r"|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"
    rf"|\b(?:{_DAYS}|{_MONTHS})\b"
    r"|\b\w*\d\w*\b",
    re.IGNORECASE,
)
_JOINED = re.compile(r"#(?:[\s,.:/+-]*#)+")
_BLANK = re.compile(r"\s+")


def with_structure(normalised: pl.DataFrame, said: Messages) -> pl.DataFrame:
    """`normalised` with the prompt_version of the inferences that declare none: PREFIX and 16 hex digits, a BLAKE2b-64
    of the structure; NULL stays where neither instructions nor tools are known. Rows are the spans of `said`."""
    rows = normalised.select(
        pl.int_range(pl.len()).alias("row"),
        wanted=(pl.col("kind") == "llm") & (pl.col("prompt_version").fill_null("") == ""),
    ).with_columns(hashes=said.input_hashes, tools=said.tool_definitions_hash)
    rows = rows.filter(pl.col("wanted") & ((pl.col("hashes").list.len() > 0) | (pl.col("tools") != "")))
    if rows.is_empty():
        return normalised
    bodies = pl.DataFrame(pl.from_arrow(said.bodies.select(["hash", "role", "body"])))
    opening = _opening(rows, bodies.filter(pl.col("role").is_in(_INSTRUCTIONS)))
    keys = rows.select("row", "tools").join(opening, on="row", how="left", maintain_order="left")
    distinct = keys.select("tools", "system").unique(maintain_order=True)
    wanted = pl.concat([distinct["tools"], distinct["system"].explode()]).drop_nulls().unique()
    texts = dict(bodies.filter(pl.col("hash").is_in(wanted.implode())).select("hash", "body").iter_rows())
    versions = [_version(system or [], tools, texts) for tools, system in distinct.iter_rows()]
    distinct = distinct.with_columns(version=pl.Series(versions, dtype=pl.String))
    found = keys.join(distinct, on=["tools", "system"], how="left", nulls_equal=True, maintain_order="left")
    version = normalised["prompt_version"].scatter(found["row"], found["version"])
    return normalised.with_columns(version.alias("prompt_version"))


def _opening(rows: pl.DataFrame, instructions: pl.DataFrame) -> pl.DataFrame:
    """row, system (list of hashes): the messages before the first that is no instruction."""
    said = rows.select("row", hash="hashes").explode("hash").with_columns(place=pl.int_range(pl.len()).over("row"))
    said = said.filter(pl.col("hash").is_in(instructions["hash"].implode()))
    nth = pl.int_range(pl.len()).over("row")
    return said.filter(pl.col("place") == nth).group_by("row", maintain_order=True).agg(system="hash")


def _version(system: list[str], tools: str, texts: dict[str, str]) -> str | None:
    skeleton = [skeleton_of_text(_text(orjson.loads(texts[hash_]))) for hash_ in system if hash_ in texts]
    offered = skeleton_of_tools(orjson.loads(texts[tools])["parts"]) if tools in texts else []
    if not any(skeleton) and not offered:
        return None
    return PREFIX + blake2b(orjson.dumps([skeleton, offered]), digest_size=8).hexdigest()


def _text(message: dict[str, Any]) -> str:
    parts = (part.get("content") for part in message["parts"] if isinstance(part, dict))
    return "\n".join(part for part in parts if isinstance(part, str))


def skeleton_of_text(text: str) -> str:
    """`text` in lower case with `#` for each value, or run of values, that a program may have put there."""
    marked = _VALUE.sub("#", text[:_LONGEST])
    return _JOINED.sub("#", _BLANK.sub(" ", marked)).strip().lower()


def skeleton_of_tools(tools: list[dict[str, Any]]) -> list[list[str]]:
    """[name or type, names of its parameters in alphabetical order] of each of `tools`, sorted."""
    return sorted([str(tool.get("name") or tool.get("type")), *_parameters(tool)] for tool in tools)


def _parameters(tool: dict[str, Any]) -> list[str]:
    schema = tool.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return sorted(properties) if isinstance(properties, dict) else []
