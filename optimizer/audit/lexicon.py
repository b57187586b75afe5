"""Units as documents spell them. Each has an exact scale in the base unit and its dimensions."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

Dimensions = tuple[int, int, int, int, int]
"""Exponents of byte, second, FLOP, dollar and joule."""

NONE: Final[Dimensions] = (0, 0, 0, 0, 0)
BYTES: Final[Dimensions] = (1, 0, 0, 0, 0)
SECONDS: Final[Dimensions] = (0, 1, 0, 0, 0)
PER_SECOND: Final[Dimensions] = (0, -1, 0, 0, 0)
BANDWIDTH: Final[Dimensions] = (1, -1, 0, 0, 0)
FLOP: Final[Dimensions] = (0, 0, 1, 0, 0)
FLOPS: Final[Dimensions] = (0, -1, 1, 0, 0)
DOLLARS: Final[Dimensions] = (0, 0, 0, 1, 0)
DOLLAR_RATE: Final[Dimensions] = (0, -1, 0, 1, 0)
ENERGY: Final[Dimensions] = (0, 0, 0, 0, 1)
PER_JOULE: Final[Dimensions] = (0, 0, 0, 0, -1)
POWER: Final[Dimensions] = (0, -1, 0, 0, 1)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as written: ``scale`` in base units; ``other`` the scale of its second reading, named ``other_name``."""

    name: str
    scale: Fraction
    dimensions: Dimensions = NONE
    other: Fraction | None = None
    other_name: str = ""

    @property
    def scaled(self) -> bool:
        """Whether a whole number before it is a rounded figure (12 GB) rather than a count (12)."""
        return self.scale != 1 or self.dimensions != NONE

    def over(self, divisor: "Unit") -> "Unit":
        """Unit per ``divisor``, a unit of time or energy."""
        a, b = self.dimensions, divisor.dimensions
        dimensions = (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4])
        other = None if self.other is None else self.other / divisor.scale
        return Unit(
            f"{self.name}/{divisor.name}",
            self.scale / divisor.scale,
            dimensions,
            other,
            self.other_name,
        )


ONE: Final = Unit("", Fraction(1))
PERCENT: Final = Unit("%", Fraction(1, 100))


def _bytes() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for index, (letter, word) in enumerate(zip("KMGTP", ("kilo", "mega", "giga", "tera", "peta"), strict=True), 1):
        decimal, binary = Fraction(1000**index), Fraction(1024**index)
        both = Unit(letter + "B", decimal, BYTES, binary, letter + "iB")
        spellings = (letter + "B", letter.lower() + "b", letter.lower() + "B", f"{word}bytes", f"{word}byte")
        units |= dict.fromkeys(spellings, both)
        exact = Unit(letter + "iB", binary, BYTES)
        units |= dict.fromkeys((letter + "iB", letter + "ib", letter + "i", f"{word[:2]}bibytes"), exact)
        bits = Unit(letter + "b", decimal / 8, BYTES, decimal, letter + "B")
        units |= dict.fromkeys((letter + "b", letter + "bit", letter + "bits", f"{word}bits"), bits)
        rate = Unit(letter + "b/s", decimal / 8, BANDWIDTH)
        units |= {letter + "bps": rate, letter + "bit/s": rate}
        units[letter + "Bps"] = Unit(letter + "B/s", decimal, BANDWIDTH, binary, letter + "iB/s")
    units["G"] = units["GB"]
    return units


def _compute() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for letter, scale in (("", 1), ("M", 10**6), ("G", 10**9), ("T", 10**12), ("P", 10**15), ("E", 10**18)):
        amount, rate = Unit(f"{letter}FLOP", Fraction(scale), FLOP), Unit(f"{letter}FLOP/s", Fraction(scale), FLOPS)
        for stem in ("FLOP", "Flop", "flop"):
            units |= {f"{letter}{stem}": amount, f"{letter}{stem}s": amount}
        units |= dict.fromkeys((f"{letter}FLOPS", f"{letter}FLOPs/s", f"{letter}flops"), rate)
    units["flops"] = units["FLOPs"]
    return units


def _times() -> dict[str, Unit]:
    table = (
        ("s", Fraction(1), ("s", "sec", "secs", "second", "seconds")),
        ("ms", Fraction(1, 1000), ("ms", "msec", "millisecond", "milliseconds")),
        ("us", Fraction(1, 10**6), ("us", "µs", "μs", "usec", "microsecond", "microseconds")),
        ("ns", Fraction(1, 10**9), ("ns", "nanosecond", "nanoseconds")),
        ("min", Fraction(60), ("min", "mins", "minute", "minutes")),
        ("h", Fraction(3600), ("h", "hr", "hrs", "hour", "hours")),
        ("years", Fraction(86400 * 365), ("year", "years")),
        ("d", Fraction(86400), ("d", "day", "days")),
        ("weeks", Fraction(86400 * 7), ("week", "weeks")),
    )
    return {word: Unit(name, scale, SECONDS) for name, scale, words in table for word in words}


def _power() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for letter, scale in (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9)):
        units[f"{letter}W"] = Unit(f"{letter}W", Fraction(scale), POWER)
        units[f"{letter}J"] = Unit(f"{letter}J", Fraction(scale), ENERGY)
        units[f"{letter}Wh"] = Unit(f"{letter}Wh", Fraction(scale * 3600), ENERGY)
    words = {"watt": "W", "kilowatt": "kW", "megawatt": "MW", "joule": "J", "kilojoule": "kJ", "megajoule": "MJ"}
    return units | {f"{word}{end}": units[name] for word, name in words.items() for end in ("", "s")}


TIMES: Final = _times()
ENERGIES: Final = {name: unit for name, unit in _power().items() if name.endswith("Wh")}
"""What energy is priced by."""
_BYTE: Final = Unit("bytes", Fraction(1), BYTES)
SPACED_B: Final = Unit("bytes", Fraction(1), BYTES, Fraction(10**9), "billions")
"""A "B" set off from its number: ``57,344 B`` are bytes, ``19 B`` may be billions."""
SPACED_G: Final = Unit("G", Fraction(10**9), NONE, Fraction(2**30), "Gi")
"""A "G" set off from its number: ``37 G`` of parameters, or of bytes."""
_BIT: Final = Unit("bits", Fraction(1, 8), BYTES)

SCALES: Final[dict[str, Unit]] = {
    "k": Unit("K", Fraction(1000), NONE, Fraction(1024), "Ki"),
    "K": Unit("K", Fraction(1000), NONE, Fraction(1024), "Ki"),
    "M": Unit("M", Fraction(10**6), NONE, Fraction(2**20), "Mi"),
    "B": Unit("B", Fraction(10**9), NONE),
    "b": Unit("B", Fraction(10**9), NONE),
    "T": Unit("T", Fraction(10**12), NONE),
    "bn": Unit("B", Fraction(10**9), NONE),
    "Bn": Unit("B", Fraction(10**9), NONE),
}
SCALE_WORDS: Final[dict[str, Unit]] = {
    "thousand": Unit("thousand", Fraction(1000)),
    "million": Unit("M", Fraction(10**6)),
    "billion": Unit("B", Fraction(10**9)),
    "trillion": Unit("T", Fraction(10**12)),
}
UNITS: Final[dict[str, Unit]] = {
    **_bytes(),
    **_compute(),
    **_power(),
    **TIMES,
    **dict.fromkeys(("byte", "bytes", "Bytes", "Byte"), _BYTE),
    **dict.fromkeys(("bit", "bits"), _BIT),
    **SCALE_WORDS,
    "percent": PERCENT,
    "pct": PERCENT,
    "USD": Unit("$", Fraction(1), DOLLARS),
}
MILLIONS: Final = {
    **dict.fromkeys(("M", "million", "Mtok", "MTok", "Mtoken", "Mtokens"), SCALES["M"]),
    "billion": SCALES["B"],
}
"""Behind a slash: a price for so many."""
UNSPACED_ONLY: Final = {"G", "d", "us", "ns", "Mi", "Gi", "Ki", "Ti", "Pi"}
"""Too short to be read as a unit after a space, where they may be a word or a symbol."""

APPROXIMATE: Final = {"about", "around", "roughly", "approximately", "approx", "nearly", "almost", "circa", "ca"}
BOUNDS: Final = {"over", "under", "up", "least", "most", "than", "above", "below", "exceeds", "beyond", "within"}

STOPS: Final = frozenset(
    """
    comes come works work amounts amount adds yields yield makes make and or but with while because if so that
    which then than versus vs to from when where whereas giving hence thus therefore since as by for in on at
    into across via using not no we you it they this these those there have has had can could may might must
    shall will would should do does did are was were be been being is equals equal gives give totals holds hold
    handles handle uses use needs need requires require takes take stores store leaves contains contain means
    mean i.e e.g i.e. e.g. ie eg plus minus times divided multiplied mod modulo of von over between calculated
    computed claimed stated instead rather only just each every all both the a an yielding leads resulting
    results result against under about around roughly approximately approx nearly almost namely don't doesn't
    didn't after before per-step up down however although still now
    """.split()  # noqa: SIM905 - a word list reads as one
)
"""Words at which a label or the nouns behind a number end."""
