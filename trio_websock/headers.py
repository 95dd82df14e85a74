"""HTTP headers, and whatever else is names with one or more values each.

In: pairs, from an application or from a parser. Out: a mapping that keeps every one of them. Knows nothing of what a
header means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

__all__ = [
    "FIELD_NAME",
    "FIELD_VALUE",
    "HeaderInput",
    "Headers",
    "MultiMapping",
    "forget_index",
    "kinds_of",
    "trusted_headers",
    "values_by_name",
]

HeaderInput: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers as an application gives them: a mapping, or pairs where a name may be repeated."""

# What may be sent as a header: a line break in either part would let a stranger write our messages.
FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.1
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5


class MultiMapping(Mapping[str, str]):
    """Names with one or more values, in the order given; indexing gives the first value."""

    __slots__ = ("_first_values", "_pairs")

    def __init__(self, pairs: HeaderInput = ()) -> None:
        self._first_values: dict[str, str] | None = None
        self._pairs: tuple[tuple[str, str], ...]
        if isinstance(pairs, MultiMapping):  # as a mapping it would show the first value of each name only
            self._pairs = pairs._pairs
        else:
            self._pairs = tuple(_checked_pairs(pairs))

    @staticmethod
    def _fold(name: str) -> str:
        return name

    def get_all(self, name: str) -> list[str]:
        """Every value of ``name``, in order; an empty list if there is none."""
        wanted = self._fold(name)
        return [value for key, value in self._pairs if self._fold(key) == wanted]

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every name and value as they came."""
        return self._pairs

    def __getitem__(self, name: str) -> str:
        wanted = self._fold(name)
        if self._first_values is not None:
            return self._first_values[wanted]
        for key, value in self._pairs:
            if self._fold(key) == wanted:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())

    def _index(self) -> dict[str, str]:
        # Only for whoever looks at all names: by searching, dict(query) would be quadratic in what a peer sends. Most
        # connections are asked for a few headers once, and would only keep the memory.
        if self._first_values is None:
            self._first_values = {}
            for name, value in self._pairs:
                self._first_values.setdefault(self._fold(name), value)
        return self._first_values

    def __eq__(self, other: object) -> bool:
        # A Mapping's own would compare the first values only: two cookies would be as good as one.
        if not isinstance(other, Mapping):
            return NotImplemented
        if isinstance(other, MultiMapping):
            return self._all_values() == other._all_values()
        return self._all_values() == {name: [value] for name, value in other.items()}

    def _all_values(self) -> Mapping[str, list[str]]:
        values: dict[str, list[str]] = {}
        for name, value in self._pairs:
            values.setdefault(self._fold(name), []).append(value)
        return values

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._pairs)!r})"


def _checked_pairs(pairs: HeaderInput) -> Iterator[tuple[str, str]]:
    if isinstance(pairs, (str, bytes)):
        raise _no_pairs(pairs)
    try:
        given = iter(pairs.items() if isinstance(pairs, Mapping) else pairs)
    except TypeError:
        raise _no_pairs(pairs) from None
    for pair in given:
        try:
            name, value = pair
        except (TypeError, ValueError):
            raise _no_header(pair) from None
        if not isinstance(name, str) or not isinstance(value, str) or isinstance(pair, str):
            raise _no_header(pair)
        yield name, value


def _no_pairs(given: object) -> TypeError:
    return TypeError(f"expected a mapping or pairs of a name and a value, not {type(given).__name__}")


def _no_header(pair: object) -> TypeError:
    return TypeError(f"a header must be a name and a value, both str, not {kinds_of(pair)}")


def kinds_of(pair: object) -> str:
    """What came in the place of a header, for the text of an error; never the value, which may be a secret."""
    parts = pair if isinstance(pair, (list, tuple)) and len(pair) == 2 else (pair,)
    return " and ".join(type(part).__name__ for part in parts)


class Headers(MultiMapping):
    """HTTP headers: names in any case, repeated values kept.

    ``headers["name"]`` is the first value, ``headers.get_all("name")`` all of them.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: HeaderInput = ()) -> None:
        super().__init__(pairs)
        self._values: Mapping[str, list[str]] | None = None  # by name, in lower case

    @staticmethod
    def _fold(name: str) -> str:
        return name.lower()

    def get_all(self, name: str) -> list[str]:
        wanted, size = name.lower(), len(name)
        if self._values is not None:
            return list(self._values.get(wanted, ()))
        # Most names differ in length already.
        return [value for key, value in self._pairs if len(key) == size and key.lower() == wanted]

    def __getitem__(self, name: str) -> str:
        if self._first_values is not None:
            return self._first_values[name.lower()]
        for value in self.get_all(name):
            return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def tokens(self, name: str) -> list[str]:
        """The comma-separated elements of every ``name`` header, stripped, in order."""
        values = self.get_all(name)
        if not values:
            return []
        joined = ",".join(values)
        return [token for token in (part.strip(" \t") for part in joined.split(",")) if token]


def trusted_headers(pairs: Iterable[tuple[str, str]], values: Mapping[str, list[str]] | None = None) -> Headers:
    """Headers made of what a parser has decoded: it is ``str`` for certain, and is not looked at one by one.

    Args:
        pairs: names and values.
        values: the same, by name in lower case, if the parser has it.
    """
    headers = Headers.__new__(Headers)
    headers._first_values = None
    headers._pairs = tuple(pairs)
    headers._values = values
    return headers


def values_by_name(headers: Headers) -> Mapping[str, list[str]]:
    """Every value of every header, by its name in lower case."""
    return headers._all_values() if headers._values is None else headers._values


def forget_index(headers: Headers) -> None:
    """Let go of what serves the many questions of a handshake, and is too much for as long as a connection lives."""
    headers._values = None
