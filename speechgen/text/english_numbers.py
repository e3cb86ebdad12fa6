"""Words of English numbers, from Unicode's tables (unicode-rbnf), loaded when the first number is spelled."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unicode_rbnf import RbnfEngine

__all__ = ["DIGITS", "Numbers", "from_roman", "spell_digits"]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LONGEST_NUMBER = 15
"""Digits; what has more is read digit by digit."""
_GROUPS = ("", " thousand", " million", " billion", " trillion")


class Numbers:
    """Spells numbers given as digits, as Americans or the British do: one hundred (and) five."""

    def __init__(self, american: bool) -> None:
        self.american = american

    def cardinal(self, digits: str) -> str:
        """`1,005` -> one thousand five; digit by digit if it is long or begins with a zero."""
        digits = digits.replace(",", "")
        if len(digits) > _LONGEST_NUMBER or (digits[0] == "0" and digits != "0"):
            return spell_digits(digits, "oh" if len(digits) == 2 else "zero")
        number = int(digits)
        rules = "spellout-cardinal" if self.american else "spellout-cardinal-verbose"
        if number < 1000:
            return _below_thousand(number, rules)
        spoken = [
            _below_thousand(group, rules) + _GROUPS[index]
            for index in reversed(range(len(_GROUPS)))
            if (group := number // 1000**index % 1000)
        ]
        if not self.american and 0 < number % 1000 < 100:
            spoken.insert(-1, "and")
        return " ".join(spoken)

    def ordinal(self, digits: str) -> str:
        """`21` -> twenty-first."""
        digits = digits.replace(",", "").lstrip("0") or "0"
        if len(digits) > _LONGEST_NUMBER:
            return f"{spell_digits(digits)}th"
        last = int(digits) % 1000
        if not last and digits != "0":
            return f"{self.cardinal(digits)}th"
        rules = "spellout-ordinal" if self.american else "spellout-ordinal-verbose"
        link = " " if self.american or last > 99 else " and "
        before = self.cardinal(str(int(digits) - last)) + link if int(digits) > last else ""
        return before + _below_thousand(last, rules)

    def number(self, text: str) -> str:
        """`3.14` -> three point one four."""
        whole, point, decimals = text.partition(".")
        return " ".join([*([self.cardinal(whole)] if whole else []), *(["point", spell_digits(decimals)] if point else [])])

    def year(self, digits: str) -> str:
        """`1905` -> nineteen oh five; `2005` -> two thousand five."""
        century, rest = divmod(int(digits), 100)
        if len(digits) != 4 or not century or (century % 10 == 0 and rest < 10):
            return self.cardinal(digits)
        return f"{self.cardinal(str(century))} {self.cardinal(digits[2:]) if rest else 'hundred'}"

    def count(self, number: str, one: str, many: str) -> str:
        """`2`, "cat", "cats" -> two cats."""
        return f"{self.number(number)} {one if number == '1' else many}"


def spell_digits(digits: str, zero: str = "zero") -> str:
    """`105` -> one zero five."""
    return " ".join(zero if digit == "0" else _below_thousand(int(digit), "spellout-cardinal") for digit in digits)


def from_roman(numeral: str) -> int:
    """`XIV` -> 14."""
    values = [{"I": 1, "V": 5, "X": 10, "L": 50}[letter] for letter in numeral]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


@lru_cache(maxsize=1)
def _engine() -> RbnfEngine:
    from unicode_rbnf import RbnfEngine

    return RbnfEngine.for_language("en")


@lru_cache(maxsize=4000)
def _below_thousand(number: int, rules: str) -> str:
    """Words of one group of three digits: the library takes a millisecond for each."""
    return _engine().format_number(number, ruleset_names=[rules]).text
