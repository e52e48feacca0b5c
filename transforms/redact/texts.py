"""Redact private data in texts: keys and tokens, e-mail addresses, card numbers, phone numbers.

The rules run on the few texts that hold one of their marks: linear-time regular expressions over whole columns.
Word boundaries are ASCII ones, as the Unicode ones are many times slower. A rule that raises fails closed: the
texts that it was to clean are replaced as a whole.
"""

import re
from collections.abc import Callable

import polars as pl

from transforms.columns import replace_rows

FAILED = "[redaction failed]"

_B = r"(?-u:\b)"
_KEYS = (
    rf"{_B}sk-(?:ant|proj|svcacct|admin|or|lf)-[A-Za-z0-9_-]{{16,}}",  # Anthropic, OpenAI, OpenRouter, Langfuse
    rf"{_B}sk-[A-Za-z0-9]{{20,}}",
    rf"{_B}(?:AKIA|ASIA)[0-9A-Z]{{16}}{_B}",
    rf"{_B}gh[oprsu]_[A-Za-z0-9]{{36,}}",
    rf"{_B}github_pat_[A-Za-z0-9_]{{22,}}",
    rf"{_B}AIza[0-9A-Za-z_-]{{35}}",
    rf"{_B}xox[abeoprs]-[A-Za-z0-9-]{{10,}}",
    rf"{_B}sm_[a-z0-9]{{12}}_[A-Za-z0-9_]{{20,}}",  # our own
)
_PRIVATE_KEY = r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|\z)"
_TOKEN = (
    rf"{_B}eyJ[A-Za-z0-9_-]{{8,}}\.eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]*"
    rf"|{_B}(?i:bearer)[ \t]+[A-Za-z0-9._~+/-]{{16,}}=*"
)
_EMAIL = r"[\p{L}\p{N}._%+-]+@(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}"
_PHONES = (
    r"\+[1-9][0-9]{7,14}",  # E.164
    r"\+[1-9][0-9]{0,2}[ .(-]{1,2}[0-9](?:[ .()-]{0,2}[0-9]){6,12}",  # the same with punctuation
    r"\([2-9][0-9]{2}\) ?[0-9]{3}[ .-][0-9]{4}",  # North America
    r"[2-9][0-9]{2}-[0-9]{3}-[0-9]{4}",
    r"[2-9][0-9]{2}\.[0-9]{3}\.[0-9]{4}",
    r"[2-9][0-9]{2} [0-9]{3}-[0-9]{4}",
    r"0[1-9](?:[ .-][0-9]{2}){4}",  # France
    r"0[1-9][0-9]{1,3} [0-9]{3,4} [0-9]{3,4}",  # Great Britain
    r"0[1-9][0-9]{1,3}[ /][0-9]{6,8}",  # Germany, Great Britain
)
# the character before is kept: a plus or a bracket has no word boundary of its own
_PHONE = rf"(^|[^0-9A-Za-z_.+-])(?:{'|'.join(_PHONES)}){_B}"
_CARD = r"(?<![0-9A-Za-z_.])[2-6][0-9](?:[ -]?[0-9]){11,17}(?![0-9A-Za-z_])"
_CARD_LIKELY = rf"(?:^|[^0-9A-Za-z_.])[2-6][0-9](?:[ -]?[0-9]){{11,17}}{_B}"
_DIGITS = r"[0-9][0-9 .()/-]{7}"


def redact_text(values: pl.Series, enabled: pl.Series) -> pl.Series:
    """`values` (str) with private data replaced by `[redacted:KIND]` where `enabled` (bool; NULL counts as true).

    Kinds: api_key, private_key, token, email, card, phone. NULL stays NULL. Never raises on any text: what a rule
    could not clean becomes `[redaction failed]`.
    """
    rows = enabled.fill_null(value=True).arg_true()
    if rows.is_empty():
        return values
    texts = values if len(rows) == len(values) else values.gather(rows)
    # what no rule has a mark of stays as it is: most texts, and none is copied
    marked = pl.any_horizontal(pl.col("text").str.contains(mark) for mark, _ in _RULES)
    distinct = texts.unique().to_frame("text").filter(marked).to_series()
    cleaned = distinct
    for mark, clean in _RULES if len(distinct) else ():
        hit = cleaned.str.contains(mark).arg_true()
        if len(hit):
            cleaned = replace_rows(cleaned, hit, _attempt(clean, cleaned.gather(hit)))
    changed = distinct != cleaned
    if not changed.any():
        return values
    return replace_rows(values, rows, texts.replace(distinct.filter(changed), cleaned.filter(changed)))


def may_be_private(documents: pl.Series) -> pl.Series:
    """Which of `documents` (str, JSON as orjson writes it) can hold a text that `redact_text` changes (bool).

    True where it is not sure. What a rule looks for has no character that JSON escapes, but for the tab of a token;
    only what may stand before it does: a line end before a key is an `n` there, so no word boundary is asked for.
    """
    found = pl.repeat(False, len(documents), dtype=pl.Boolean, eager=True)
    for mark in _JSON_MARKS:
        found |= documents.str.contains(mark).fill_null(value=False)
    return found


def _attempt(clean: Callable[[pl.Series], pl.Series], texts: pl.Series) -> pl.Series:
    try:
        return clean(texts)
    except Exception:  # fails closed, whatever the error: a text not known to be clean is not passed on
        return pl.Series([FAILED]).new_from_index(0, len(texts))


def _replace(pattern: str, replacement: str) -> tuple[str, Callable[[pl.Series], pl.Series]]:
    return pattern, lambda texts: texts.str.replace_all(pattern, replacement)


def _clean_numbers(texts: pl.Series) -> pl.Series:
    cards = texts.str.contains(_CARD_LIKELY).arg_true()
    cleaned = [re.sub(_CARD, _card_or_number, text) for text in texts.gather(cards)]
    texts = replace_rows(texts, cards, pl.Series(cleaned, dtype=pl.String))
    phones = texts.str.contains(_PHONE).arg_true()
    return replace_rows(texts, phones, texts.gather(phones).str.replace_all(_PHONE, "${1}[redacted:phone]"))


def _card_or_number(match: re.Match[str]) -> str:
    digits = re.sub("[ -]", "", match[0])
    return "[redacted:card]" if _is_card(digits) else match[0]


def _is_card(digits: str) -> bool:
    """An issuer's prefix and length, and the check digit (ISO/IEC 7812-1, Luhn)."""
    issuers = (
        r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
        r"|35\d{14}|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}|(?:50|5[6-8]|6\d)\d{11,17}"
    )
    doubled = (int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits)))
    return bool(re.fullmatch(issuers, digits)) and sum(value // 10 + value % 10 for value in doubled) % 10 == 0


# (what a text must hold for a rule to be tried, the rule); a mere search is many times faster than replacing
_RULES: tuple[tuple[str, Callable[[pl.Series], pl.Series]], ...] = (
    _replace(_PRIVATE_KEY, "[redacted:private_key]"),
    _replace(_TOKEN, "[redacted:token]"),
    _replace("|".join(_KEYS), "[redacted:api_key]"),
    _replace(_EMAIL, "[redacted:email]"),
    (_DIGITS, _clean_numbers),
)
_JSON_MARKS = (
    "-----BEGIN ",
    r"eyJ[A-Za-z0-9_-]{8}|(?i:bearer)(?: |\\t)",
    "|".join(_KEYS).replace(_B, ""),
    _EMAIL,
    _DIGITS,
)
