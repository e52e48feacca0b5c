"""Reads the fields of a rules file and gathers everything that is wrong with them, each with its cure."""

import re
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)")
_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_MINUTE_NS = 60 * 10**9
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class RuleError(ValueError):
    """A rules file that cannot hold: a line for each fault, with the field and the cure."""


class Fields:
    """One mapping of the file. `where` is its place in it, as groups[0].rules[2]. Faults go to the list `faults`."""

    def __init__(self, given: Any, where: str, faults: list[str]) -> None:
        self.where, self.faults = where, faults
        self._seen: set[str] = set()
        if isinstance(given, Mapping):
            self._given = dict(given)
        else:
            self._given = {}
            faults.append(f"{where or 'the file'}: must be a mapping of fields, not {type(given).__name__}")

    def has(self, field: str) -> bool:
        return self._given.get(field) is not None

    def value(self, field: str) -> Any:
        """The value of `field` as it stands; None when it is not there."""
        self._seen.add(field)
        return self._given.get(field)

    def fault(self, field: str, what: str) -> None:
        place = f"{self.where}.{field}" if self.where else field
        self.faults.append(f"{place}: {what}")

    def text(self, field: str, default: str = "", most: int = 1_000) -> str:
        found = self.value(field)
        if found is None:
            return default
        if not isinstance(found, str) or len(found) > most:
            self.fault(field, f"must be a text of at most {most} characters")
            return default
        return found

    def name(self, field: str) -> str:
        found = self.text(field)
        if not _NAME.fullmatch(found):
            self.fault(field, f"{found!r} is no name: 1 to 63 of letters, digits, '.', '_', '-', not '.' first")
        return found

    def one_of(self, field: str, allowed: Collection[str], default: str = "") -> str:
        found = self.value(field)
        found = default if found is None else found
        if found not in allowed:
            what = "is missing" if found in ("", None) else f"{found!r} is not known"
            self.fault(field, f"{what}: one of {', '.join(allowed)}")
            return next(iter(allowed))
        return found

    def some_of(self, field: str, allowed: Collection[str], default: tuple[str, ...] = ()) -> tuple[str, ...]:
        found = self.texts(field) if self.has(field) else default
        self._seen.add(field)
        for one in found:
            if one not in allowed:
                self.fault(field, f"{one!r} is not known: any of {', '.join(allowed)}")
        return found

    def texts(self, field: str) -> tuple[str, ...]:
        found = self.value(field)
        if isinstance(found, str):
            found = [found]
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found) or len(found) > 100:
            self.fault(field, "must be a list of at most 100 texts")
            return ()
        return tuple(dict.fromkeys(found))

    def minutes(self, field: str, default: int, least: int, most: int) -> int:
        found = self.value(field)
        if found is None:
            return default
        ns = duration_ns(found)
        if ns is None or ns % _MINUTE_NS or not least <= ns // _MINUTE_NS <= most:
            self.fault(field, f"{found!r} is none of {least}m to {most}m: whole minutes, as 5m, 2h, 1d")
            return default
        return ns // _MINUTE_NS

    def whole(self, field: str, default: int, least: int, most: int) -> int:
        found = self.value(field)
        if found is None:
            return default
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
            self.fault(field, f"must be a whole number of {least} to {most}")
            return default
        return found

    def number(self, field: str, unit: str) -> float | None:
        """In the units of a rule: `ns` takes a duration, `dollars` gives whole nano-dollars, `share` takes percent."""
        found = self.value(field)
        if found is None:
            return None
        if unit == "ns":
            ns = duration_ns(found)
            if ns is None:
                self.fault(field, f"{found!r} is no duration: write it as 800ms or 2s")
            return ns
        text = str(found).strip()
        percent = unit == "share" and text.endswith("%")
        try:
            value = Decimal(text.removesuffix("%") if percent else text)
            if isinstance(found, bool) or not value.is_finite() or abs(value) > 10**15:
                raise InvalidOperation
        except InvalidOperation:
            self.fault(field, f"{found!r} is no number below 10^15" + (" or share, as 5%" if unit == "share" else ""))
            return None
        if unit == "dollars":
            return _nano(value)
        value = value / 100 if percent else value
        return int(value) if value == value.to_integral_value() else float(value)

    def rest(self) -> None:
        """To be called last: what was never asked for is a fault."""
        for field in self._given.keys() - self._seen:
            self.fault(field, f"is not known here: one of {', '.join(sorted(self._seen))}")


def _nano(dollars: Decimal) -> float:
    nano = dollars * 10**9
    return int(nano) if nano == nano.to_integral_value() else float(nano)


def duration_ns(text: Any) -> int | None:
    """`5m` as ns; None for what is no duration."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return None if match is None else int(Decimal(match[1]) * _NS[match[2]])
