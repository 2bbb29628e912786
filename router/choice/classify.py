"""What a prompt is about: one of the eight capabilities, from its words alone.

Law: deterministic, and bounded whatever comes: at most the first 1,000 and the last 400 characters are looked at, because what somebody
wants stands at the beginning or the end, and what it is about in between. Words at both ends count more than those inside.
A guess, never a demand: it decides who is preferred, not who is admitted (router.choice.bounds).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fleet.serving import Capability
from router.choice import signs

_HEAD: Final = 1000
_TAIL: Final = 400
_ENDS_HEAD: Final = 400
_ENDS_TAIL: Final = 200
_OPENING_WORDS: Final = 30
_LEADING: Final = (1.6, 1.3, 1.3, 1.3)  # the first words say what is to be done
_CLOSING_WORDS: Final = 15
_INSIDE: Final = 0.25
_SURE: Final = 2.0
_FACT_WORDS: Final = 16
_STEMS: Final = range(4, 13)
_CODE_MARKS: Final = ";{}()[]="
_MOST: Final = 6.0  # of what the inside of a long text may add to one capability

_words = re.compile(r"[^\W_][\w'+#.;-]*[\w+#]|[^\W_]").findall
_code_lines = re.compile(
    r"(?m)[{};]\s*$|^\s*(?:def|class|import|from|return|for|if|const|let|var|func|fn)\b.*[:({;]|\w\(\)|\w\[\w+\]|[!=]="
).findall
_identifiers = re.compile(r"\b(?:[a-z]+[A-Z]\w*|[a-z]\w*_\w+|\w+\.(?:py|js|ts|go|rs|java|cpp|sh|sql|json|ya?ml|toml|html|css))\b").findall
_table_rows = re.compile(r"(?m)^[^\n,]+(?:,[^\n,]+){2,}$").findall
_numbers = re.compile(r"\d+(?:[.,]\d+)?").findall
_into_language = re.compile(
    rf"\b(?:into|to|in|from|auf|ins|ne|al|en|para o) (?:\w+ )?(?:{'|'.join(re.escape(w.rstrip('*')) for w in signs.LANGUAGES.split())})"
).search
_into_programming = re.compile(
    rf"\b(?:into|to|in|using|with|en|mit) (?:{'|'.join(map(re.escape, signs.PROGRAMMING.split()))}|go|c|c\+\+|c#)(?!\w)"
).search

_QUESTION: Final = frozenset(signs.QUESTION_WORDS.split())
_QUESTION_MARKS: Final = ("?", "\N{FULLWIDTH QUESTION MARK}")
_BEFORE: Final = frozenset(("in", "en", "à", "seit", "von", "of", "on", "at", "to", "from", "the"))
_PERSONAL: Final = frozenset(signs.PERSONAL_WORDS.split())


@dataclass(frozen=True, slots=True)
class Classification:
    """`score` is the capability's own, `margin` how far it is ahead of the next one; both 0 where nothing was recognised."""

    capability: Capability
    score: float
    margin: float


def _table(source: signs.Signs, separator: str) -> dict[str, list[tuple[Capability, float]]]:
    found: dict[str, list[tuple[Capability, float]]] = {}
    for capability, weights in source.items():
        for weight, entries in weights.items():
            for entry in entries.split(separator):
                if entry.strip():
                    found.setdefault(entry, []).append((capability, weight))
    return found


_ALL_WORDS: Final = _table(signs.WORDS, " ")
_WHOLE: Final = {word: marks for word, marks in _ALL_WORDS.items() if not word.endswith("*")}
_STEM: Final = {word[:-1]: marks for word, marks in _ALL_WORDS.items() if word.endswith("*")}
_PHRASES: Final = _table(signs.PHRASES, "|")


def _anchor(phrase: str) -> str:
    """A word that stands in every text with the phrase: its longest one but the last, which may be a beginning only. Empty: none."""
    words = _words(phrase)
    return max(words if phrase.endswith(" ") else words[:-1], key=len, default="")


_ANCHORED: Final[dict[str, list[str]]] = {}
for _phrase in _PHRASES:
    _ANCHORED.setdefault(_anchor(_phrase), []).append(_phrase)


def classify(text: str) -> Classification:
    """What a prompt is about. Any text will do, the empty one is general."""
    text = ends(text).strip()
    names = len(_identifiers(text))
    text = text.lower()
    words: list[str] = _words(text)
    scores: dict[Capability, float] = {"general": 0.0}
    for capability, points in (*_by_words(words), *_by_phrases(text, words), *_by_shape(text, names)):
        scores[capability] = scores.get(capability, 0.0) + points
    order = sorted(scores, key=lambda capability: -scores[capability])
    best = order[0]
    margin = scores[best] - (scores[order[1]] if len(order) > 1 else 0.0)
    if scores[best] < _SURE or best in ("general", "simple_qa"):
        talks = scores["general"] > scores.get("simple_qa", 0.0)
        best = "simple_qa" if not talks and _asks_a_fact(words, text) else "general"
    return Classification(best, round(scores.get(best, 0.0), 3), round(margin, 3))


def ends(text: str) -> str:
    """What is looked at of a text: all of a short one."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def _by_words(words: list[str]) -> Iterator[tuple[Capability, float]]:
    """Each word once, by where it first stands."""
    inside: dict[Capability, float] = {}
    closing = len(words) - _CLOSING_WORDS
    for word, at in {word: at for at, word in reversed(tuple(enumerate(words)))}.items():
        for capability, weight in _marks(word):
            if at < _OPENING_WORDS or at >= closing:
                yield capability, weight * (_LEADING[at] if at < len(_LEADING) else 1.0)
            else:
                inside[capability] = inside.get(capability, 0.0) + _INSIDE * weight
    for capability, points in inside.items():
        yield capability, min(points, _MOST)


def _marks(word: str) -> list[tuple[Capability, float]]:
    found = _WHOLE.get(word)
    if found is not None:
        return found
    for length in _STEMS:
        if length > len(word):
            break
        found = _STEM.get(word[:length])
        if found is not None:
            return found
    return []


def _by_phrases(text: str, words: list[str]) -> Iterator[tuple[Capability, float]]:
    near = text if len(text) <= _ENDS_HEAD + _ENDS_TAIL else f"{text[:_ENDS_HEAD]}\n{text[-_ENDS_TAIL:]}"
    for anchor in dict.fromkeys(("", *words)):
        for phrase in _ANCHORED.get(anchor, ()):
            if phrase in near:
                yield from _PHRASES[phrase]


def _by_shape(text: str, names: int) -> Iterator[tuple[Capability, float]]:
    """`names`: words that are written as only programs write them."""
    if names:
        yield "code_generation", min(1.5 + 0.5 * names, 3.0)
    if any(mark in text for mark in _CODE_MARKS) and (lines := len(_code_lines(text))):
        yield "code_generation", min(1.5 * lines, 4.0)
    if text.count("\n") > 1 and len(_table_rows(text)) > 2:
        yield "analysis", 3.0
    if _into_programming(text):
        yield "code_generation", 3.5
    elif _into_language(text):
        yield "translation", 3.0
    if "?" in text and len(_numbers(text)) > 2:
        yield "complex_reasoning", 1.5


def _asks_a_fact(words: list[str], text: str) -> bool:
    """A short question that is about nobody in particular."""
    if not words or len(words) > _FACT_WORDS or _PERSONAL.intersection(words):
        return False
    return words[0] in _QUESTION or (text.endswith(_QUESTION_MARKS) and (words[0] in _BEFORE or not text.isascii()))
