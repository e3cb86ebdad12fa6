"""English numbers, symbols and abbreviations to words: `£3m on 5/3/2024` -> `three million pounds on March fifth, …`.

Rules of one regular expression each, applied one after the other; later rules count on what earlier ones have taken away.
What is written short is in `english_words`, the words of numbers in `english_numbers`. Nothing else is touched: text in
words comes back as it is, and so does what was spelled out already. Linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from speechgen.text import english_words as words
from speechgen.text.english_numbers import Numbers, from_roman, spell_digits
from speechgen.text.normalize import canonical
from speechgen.text.spans import guard

__all__ = ["EnglishReader"]

Match = re.Match[str]
Rules = tuple[tuple[str, str | Callable[[Match], str]], ...]


def _any(choices: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(choices, key=len, reverse=True)))})"


# No rule may start within a number, else long ones would take quadratic time.
_START = r"(?<!\d)(?<!\d[.,])"
_WHOLE = r"(?:\d{1,3}(?:,\d{3}){1,5}(?!\d)|\d++)"
_NUMBER = rf"(?:{_WHOLE}(?:\.\d++)?)"
_MONTH = "|".join(rf"{name[:3]}(?:{name[3:]}\b|{'t?' * (name == 'September')}\b\.?)" for name in words.MONTHS if name != "May")
_MONTH = rf"(?<!\w)(?:{_MONTH}|May\b)"
_UNIT = _any(words.UNITS)
_MONEY = rf"[{re.escape(''.join(words.CURRENCIES))}]"
_SCALE = rf"(?: ?({_any(words.SCALES)})\b)?"
_MERIDIEM = r"(?: ?(?P<half>[ap])(?:m\b|\.m\b\.?))"
_ROMAN = r"((?=[IVX]|L[IVX])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?![\w-])"
_DOMAIN, _PART, _RULER = (_any(table.split()) for table in (words.DOMAINS, words.PARTS, words.RULERS))
_PER = _any(["second", "minute", "hour", "day", "week", "month", "year", "person", "night", "kg", "lb", "hr", "min"])
_COUNTED = r"(?:people|men|women|children|times)\b"
_TH = r"(?i:st|nd|rd|th)\b"


class EnglishReader:
    """Spells out what is not written in words.

    Attributes:
        american: 5/3 is a day in May, and nobody says "and" within a number.
    """

    def __init__(self, american: bool = True) -> None:
        self.american = american
        self._numbers = Numbers(american)
        self._raw_rules = _compile(self._addresses())
        self._rules = _compile((*self._times(), *self._names(), *self._quantities(), *self._remains()))

    def __call__(self, text: str) -> str:
        """Return `text` as it would be read aloud, in canonical form; doing it twice changes nothing."""
        return guard(self._read, text)

    def _read(self, text: str) -> str:
        for pattern, reading in self._raw_rules:
            text = pattern.sub(reading, text)
        text = canonical(text)
        if not text.isascii():  # digits of other scripts, and below the line
            text = re.sub(r"[^\D0-9]|[⁰-₉]", lambda match: str(unicodedata.digit(match.group(), "")), text)
        for pattern, reading in self._rules:
            text = pattern.sub(reading, text)
        return canonical(text)

    def _addresses(self) -> Rules:
        """What can be told only before text is in canonical form: addresses, and dashes and brackets between numbers."""
        return (
            (r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++", self._address),
            (r"(?<!\w)(?:https?://|www\.)[^\s<>()\[\]{}\"]*[\w/]", self._address),
            (
                rf"(?<![\w.@/-])(?:[\w-]++\.)+{_DOMAIN}\b(?!\.\w)(?:/[\w./?=&#%~:+-]*)?(?<![.?:])",
                self._address,
            ),
            (r"(?<=\d) [-−–] (?=[\d.,]++ ?=)", " minus "),
            (r"(?<=\d)\s?–\s?(?=[\d$£€])|(?<=\d) - (?=\d)", "-"),
            (r"(?<!\S)–(?=\.?\d)", "-"),
            (r"(?<=[\w)]) < (?=[\w(-])", " is less than "),
            (r"(?<=[\w)]) > (?=[\w(-])", " is greater than "),
            (r"(?<=\d)\^(?=\d)", " to the power of "),
            ("№ ?", "No. "),
            ("[_|•·†‡]", " "),
            ("[¼-¾⅐-⅞]", lambda match: " " + unicodedata.normalize("NFKC", match.group()).replace("\u2044", "/")),
        )

    def _times(self) -> Rules:
        """Telephone numbers, dates and times, and what is from one number to another."""
        return (
            (rf"(?<![\w/.-]){_any(words.FIXED)}(?![\w/+#-]|\.\w)", lambda match: words.FIXED[match.group()]),
            (r"(?<![\w+])\+\d{1,4}(?:[ .-]?\(?\d{1,4}\)?){2,6}(?!\d)", self._phone),
            (r"\(\d{3,5}\) ?\d{3,4}[- ]?\d{4}(?!\d)", self._phone),
            (r"(?<![\w.,/-])(\d{4})([/-])(\d\d?)\2(\d\d?)(?:T(?=\d\d:)|(?![\w/-]))", self._iso_date),
            (r"(?<![\w.,-])(?:\d{1,5}(?:-\d{1,7}){2,5}|\d{3}-\d{4})(?![\w-])", self._phone),
            (r"(?<![\w.,-])0\d{2,4} \d{3,4}(?: \d{3,4})?(?!\d)", self._phone),
            (r"(?<![\w.,/])(\d\d?)([/.])(\d\d?)\2(\d{4}|(?<=/)\d\d)(?![\w/]|[.,]\d)", self._numeric_date),
            (rf"({_MONEY})({_NUMBER})-(?={_NUMBER}(?!-))", r"\2 to \1"),
            (r"(?<=[\d%°])-(?=[\d$£€])|(?i:(?<=[\d ][ap]m)|(?<=[ap]\.m\.))(?:-| — )(?=\d)", " to "),
            (rf"(?i)(?<![\w:.,])(?P<hour>\d\d?):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:]){_MERIDIEM}?", self._time),
            (rf"(?i){_START}(?P<hour>1[0-2]|0?[1-9])(?P<minute>)(?P<second>){_MERIDIEM}", self._time),
            (r"(?<![\w:.])(\d{1,3}):(\d{1,3})(?![\w:])", r"\1 to \2"),
            (rf"({_MONTH}) (\d\d?)(?:{_TH})?(?: to (\d\d?)\b)?(?![\w:%°]|[.,/]\d)", self._month_day),
            (rf"(?:\b([Tt]he) )?{_START}(\d\d?)(?:{_TH})? (?:of )?({_MONTH})(?!\w)", self._day_month),
            (rf"({_MONTH})(?= \d{{4}}(?!\d))", lambda match: _month(match[1])),
            (r"(?<![\d.,])'?((?:1[1-9]|20)\d0|[2-9]0)'?s\b", self._decade),
        )

    def _names(self) -> Rules:
        """Abbreviations, and Roman numbers after names."""
        return (
            (r"(?<!\w)(\d{1,5}[A-Z]? (?:[A-Z][\w']{0,30} ){1,3})(St|Dr)\b\.?", self._street),
            (rf"(?<!\w)({_any(words.TITLES)})\. ?(?=[^\W\d_a-z])", lambda match: words.TITLES[match[1]] + " "),
            (r"(?<!\w)([A-Z][\w']{1,30} )(St)\.(?= [a-z]|[,;:)]|$)", self._street),
            (rf"(?<![\w.])({_any(words.NUMBERED)})\. ?(?=\d)", lambda match: words.NUMBERED[match[1]] + " "),
            (
                rf"(?<![\w.])({_any(words.SHORT)})\.",
                lambda match: words.SHORT[match[1]] + _stop(match, match[1] in words.ENDING),
            ),
            (r"(?<![\w.])vs\b", "versus"),
            (rf"(?<!\w)({_PART}) (?!(?<!War )I [a-z]){_ROMAN}", lambda match: f"{match[1]} {from_roman(match[2])}"),
            (
                rf"(?<!\w)({_RULER}) (?![IVX](?:\.? [A-Z]|\.\w)|I (?!of\b|was\b|and\b)){_ROMAN}",
                lambda match: f"{match[1]} the {self._numbers.ordinal(str(from_roman(match[2])))}",
            ),
            (
                r"(?<!\w)([A-Z]\w*[a-z]) (VI{0,3}|I{2,3}|IX|X(?:I{1,3}|IV|VI{0,3}|IX))(?<! V)(?![\w-])",
                lambda match: f"{match[1]} {from_roman(match[2])}",
            ),
        )

    def _quantities(self) -> Rules:
        """Numbers with what they count."""
        number, ordinal, count = self._numbers.number, self._numbers.ordinal, self._numbers.count

        def scaled(digits: str, scale: str) -> str:
            return f"{number(digits)} {words.SCALES[scale]}"

        return (
            (r"(?<![\w.])[vV]?(\d+(?:\.\d+){2,5})(?!\w|\.\d)", self._version),
            (r"(?<![\w.])[vV](?=\d)", "version "),
            (r"(?<=\d) ?(?<!\b0)x ?(?=\d)", " by "),
            (r"(?<=\d) ?[×*] ?(?=\d)|(?<=\d)x\b", " times "),
            (r"(?<=\d) / (?=\d)", " divided by "),
            (r"(?<![\w.)])-(?=[$£€]?\.?\d)", "minus "),
            (
                rf"(?:(?<!\w)(US|CA|AU|NZ|HK|C|A))?({_MONEY}) ?({_NUMBER}|\.\d\d){_SCALE}",
                lambda match: self._money(match, *match.groups()),
            ),
            (
                rf"{_START}({_NUMBER}){_SCALE} ?({_MONEY})(?! ?\d)",
                lambda match: self._money(match, None, match[3], match[1], match[2]),
            ),
            (rf"{_START}(\d+) ?¢", lambda match: count(match[1], "cent", "cents")),
            (rf"{_START}(\d\d?)p\b", lambda match: count(match[1], "penny", "pence")),
            (rf"{_START}({_NUMBER})(?:([bmt]n|M\b)|(?<=\.\d)([KkB]))\b", lambda match: scaled(match[1], match[2] or match[3])),
            (rf"{_START}(\d++\.\d++)/(?=\d)", lambda match: f"{number(match[1])} out of "),
            (rf"{_START}(?:({_WHOLE}) )?(?<!\d)(\d{{1,4}})/(\d{{1,4}})(?: ?({_UNIT})(?!\w))?(?![\w/])", self._fraction),
            (r"(?<!\d)([1-9])'(1[01]|\d)(?:\"|''|(?![\w']))", r"\1 foot \2"),
            (rf"{_START}({_NUMBER})( ?|-)({_UNIT})([²³])?(?!\w|'\w)(?:\.(?= [a-z]))?", self._unit),
            (rf"{_START}({_NUMBER}) ?%", lambda match: f"{number(match[1])} percent"),
            (rf"{_START}({_WHOLE}){_TH}", lambda match: ordinal(match[1])),
            (rf"(?<=[a-z])/({_PER})\b", lambda match: f" per {words.UNITS.get(match[1], match[1])}"),
        )

    def _remains(self) -> Rules:
        """Numbers beside letters (MP3, 221B, COVID-19), bare numbers and symbols."""
        number, year = self._numbers.number, self._numbers.year
        return (
            (r"(?<!\w)#(?=\d)", "number "),
            (r"(?<!\w)#(?=\w)", "hashtag "),
            (r"(?<=\bA)-?(?=\d)|(?<=\d)(?=A\b)", "-"),  # "A four" would be read as an article
            (r"(?<=[^\W\d_])(?<!\bA)-?(?=\d)|(?<=\d)(?=[^\W\d_])(?!A\b)", " "),
            (
                r"(?<![\d.,])(?<!number )(?:1[1-9]|20)\d\d(?!\d|[.,]\d| (?:people|men|women|children|times)\b)",
                lambda match: year(match.group()),
            ),
            (rf"{_START}{_NUMBER}|(?<![\w.])\.\d++", lambda match: number(match.group())),
            (r"\d+", lambda match: spell_digits(match.group())),
            (r"(?<=\w)/(?=\w)|\*", " "),
            (rf"[{re.escape(''.join(words.SYMBOLS))}]", lambda match: f" {words.SYMBOLS[match.group()]} "),
        )

    def _address(self, match: Match) -> str:
        address = re.sub(r"^\w+://", "", match.group()).rstrip("/")
        spaced = re.sub(r"[^\w]|_", lambda mark: words.ADDRESS.get(mark.group(), " "), address)
        return " ".join(
            words.ADDRESS_WORDS.get(word) or (word if _SPOKEN.search(word) else word.upper()) for word in spaced.split()
        )

    def _phone(self, match: Match) -> str:
        groups = re.findall(r"\d+", match.group())
        return "plus " * (match.group()[0] == "+") + ", ".join(spell_digits(group, "oh") for group in groups)

    def _date(self, year: str, month: int, day: int) -> str:
        return f"{self._day(words.MONTHS[month - 1], str(day))}, {self._numbers.year(year)}"

    def _day(self, month: str, day: str) -> str:
        return f"{month} {self._numbers.ordinal(day)}" if self.american else f"the {self._numbers.ordinal(day)} of {month}"

    def _iso_date(self, match: Match) -> str:
        year, month, day = match[1], int(match[3]), int(match[4])
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return self._phone(match)
        return self._date(year, month, day) + " at " * match.group().endswith("T")

    def _numeric_date(self, match: Match) -> str:
        month, day = int(match[1]), int(match[3])
        if match[2] == "." or not self.american:
            month, day = day, month
        if month > 12:
            month, day = day, month
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return f"{match[1]} slash {match[3]} slash {match[4]}"
        return self._date(match[4], month, day)

    def _month_day(self, match: Match) -> str:
        last = f" to {self._numbers.ordinal(match[3])}" if match[3] else ""
        return f"{_month(match[1])} {'' if self.american else 'the '}{self._numbers.ordinal(match[2])}{last}"

    def _day_month(self, match: Match) -> str:
        return f"{match[1] or 'the'} {self._numbers.ordinal(match[2])} of {_month(match[3])}"

    def _time(self, match: Match) -> str:
        hour, minute, second, half = (match[name] or "" for name in ("hour", "minute", "second", "half"))
        spoken = [self._numbers.cardinal(str(int(hour)))]
        if minute == "00" and not half and not second:
            spoken.append("o'clock" if 1 <= int(hour) <= 12 else "hundred")
        elif minute and (minute != "00" or second):
            spoken.append(self._numbers.cardinal(minute))
        if second:
            spoken.append(f"and {self._numbers.count(str(int(second)), 'second', 'seconds')}")
        return " ".join([*spoken, *([half.upper() + "M"] if half else [])]) + _stop(match, ends=True)

    def _decade(self, match: Match) -> str:
        spoken = self._numbers.year(match[1])
        return f"{spoken[:-1]}ies" if spoken.endswith("y") else f"{spoken}s"

    def _street(self, match: Match) -> str:
        return match[1] + {"St": "Street", "Dr": "Drive"}[match[2]] + _stop(match, ends=True)

    def _version(self, match: Match) -> str:
        parts = match[1].split(".")
        spoken = (" dot " if len(parts) == 4 else " point ").join(map(self._numbers.cardinal, parts))
        return "version " * (match.group()[0] in "vV") + spoken

    def _money(self, match: Match, country: str | None, symbol: str, number: str, scale: str | None) -> str:
        one, many, small, smalls = words.CURRENCIES[symbol]
        if _ARTICLE.search(match.string, max(0, match.start() - 3), match.start()) and match.string[match.end() :][:1] == " ":
            many = one  # a five dollar bill
        prefix = f"{country} " if country else ""
        whole, _, decimals = number.replace(",", "").partition(".")
        if scale:
            return f"{self._numbers.number(number)} {words.SCALES[scale]} {prefix}{many}"
        if not small or len(decimals) != 2:
            return self._numbers.count(number, prefix + one, prefix + many)
        amounts = [self._numbers.count(whole, prefix + one, prefix + many)] if int(whole or 0) or not int(decimals) else []
        amounts += [self._numbers.count(str(int(decimals)), small, smalls)] if int(decimals) else []
        return " and ".join(amounts)

    def _fraction(self, match: Match) -> str:
        whole, upper, lower, unit = match.groups()
        number = self._numbers.cardinal
        parts = _PARTS.get(lower) or (self._numbers.ordinal(lower) if int(lower) > 2 else "")
        if upper == lower:
            spoken = f"{number(upper)} out of {number(lower)}"
        elif not parts or (int(lower) > 20 and int(lower) not in (32, 64, 100, 1000)):
            spoken = f"{number(upper)} over {number(lower)}"
        elif upper == "1":
            spoken = f"{'a' if whole else 'one'} {parts}"
        else:
            spoken = f"{number(upper)} {'halves' if lower == '2' else parts + 's'}"
        unit = " " + (_plural(words.UNITS[unit]) if whole else words.UNITS[unit]) if unit else ""
        return (f"{number(whole)} and " if whole else "") + spoken + unit

    def _unit(self, match: Match) -> str:
        number, link, unit, power = match.groups()
        spoken = words.UNITS[unit]
        if number != "1" and link != "-":
            spoken = _plural(spoken)
        return f"{self._numbers.number(number)}{link or ' '}{ {'²': 'square ', '³': 'cubic '}.get(power, '') }{spoken}"


_SPOKEN = re.compile("[aeiouyAEIOUY0-9]|^.$")
_PARTS = {"2": "half", "4": "quarter"}
_NO_MORE = re.compile("[\"']*$")
_NEXT_SENTENCE = re.compile("[\"']*(?:$| [\"'(]*[A-Z](?![A-Z]))")
_ARTICLE = re.compile(r"\b[aA] $")


def _month(short: str) -> str:
    return next(name for name in words.MONTHS if name[:3] == short[:3])


def _plural(unit: str) -> str:
    first, space, rest = unit.partition(" ")
    return words.PLURALS.get(first, f"{first}s") + space + rest


def _stop(match: Match, ends: bool) -> str:
    """The point of an abbreviation if it also closes the text, or a sentence where the abbreviation often `ends` one."""
    closes = (_NEXT_SENTENCE if ends else _NO_MORE).match(match.string, match.end())
    return "." if match.group().endswith(".") and closes else ""


def _compile(rules: Rules) -> list[tuple[re.Pattern[str], str | Callable[[Match], str]]]:
    return [(re.compile(pattern), reading) for pattern, reading in rules]
