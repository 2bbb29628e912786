"""On which line of a TOML text every key, table and array element begins.

tomllib gives values without places, so this scans the text a second time, for places only. Its law: the text is valid TOML
(tomllib has accepted it); what is not valid is not diagnosed here. A path is a tuple of keys and array indexes, as in
`("model", 0, "replicas", "max")`, whether the text spells it as a header, a dotted key or an inline table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
    (?P<skip>[ \t\r]+|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<string>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')
  | (?P<sign>[\[\]{}=,.])
  | (?P<bare>[^\s\#"'\[\]{}=,.]+)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def lines_of(text: str) -> Mapping[Path, int]:
    """Line numbers from 1 by path; a table is where it is first named."""
    scanner = _Scanner(_tokens(text))
    scanner.document()
    return scanner.lines


def _tokens(text: str) -> list[_Token]:
    tokens, line = [], 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            tokens.append(_Token(match.lastgroup or "", match[0], line))
        line += match[0].count("\n")
    return tokens


@dataclass(slots=True)
class _Scanner:
    tokens: list[_Token]
    at: int = 0
    lines: dict[Path, int] = field(default_factory=dict)
    rows: dict[Path, int] = field(default_factory=dict)

    def document(self) -> None:
        table: Path = ()
        while self.at < len(self.tokens):
            if self._peek() == "\n":
                self.at += 1
            elif self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line, is_row = self._take().line, self._peek() == "["
        self.at += is_row
        keys = self._keys("]")
        self.at += is_row
        parent = self._table((), keys[:-1], line)
        path = (*parent, keys[-1])
        if is_row:
            self.rows[path] = self.rows.get(path, 0) + 1
        return self._table(parent, keys[-1:], line)

    def _table(self, parent: Path, keys: list[str], line: int) -> Path:
        """The path that keys name below a parent; the name of an array of tables means its newest row."""
        for key in keys:
            parent = (*parent, key)
            self.lines.setdefault(parent, line)
            if parent in self.rows:
                parent = (*parent, self.rows[parent] - 1)
                self.lines.setdefault(parent, line)
        return parent

    def _pair(self, table: Path) -> None:
        line = self.tokens[self.at].line
        self._value(self._table(table, self._keys("="), line))

    def _keys(self, end: str) -> list[str]:
        keys = []
        while (token := self._take()).text != end or token.kind != "sign":
            if token.kind in ("bare", "string"):
                keys.append(_unquoted(token.text))
        return keys

    def _value(self, path: Path) -> None:
        opening = self._peek()
        if opening == "[":
            self._items(path, "]")
        elif opening == "{":
            self._items(path, "}")
        else:
            while self._peek() not in (",", "]", "}", "\n", ""):
                self.at += 1

    def _items(self, path: Path, end: str) -> None:
        index = 0
        self.at += 1
        while (text := self._peek()) != end:
            if text in (",", "\n"):
                self.at += 1
            elif end == "}":
                self._pair(path)
            else:
                self.lines[(*path, index)] = self.tokens[self.at].line
                self._value((*path, index))
                index += 1
        self.at += 1

    def _peek(self) -> str:
        """The next sign or newline; a letter for a key or value, so that no string is taken for a sign; empty at the end."""
        if self.at >= len(self.tokens):
            return ""
        token = self.tokens[self.at]
        return token.text if token.kind in ("sign", "newline") else "x"

    def _take(self) -> _Token:
        self.at += 1
        return self.tokens[self.at - 1]


def _unquoted(key: str) -> str:
    if key.startswith('"'):
        return str(json.loads(re.sub(r"\\U(0*)([0-9A-Fa-f]{8})", lambda m: json.dumps(chr(int(m[2], 16)))[1:-1], key)))
    return key.strip("'")
