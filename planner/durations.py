"""Durations as people write them: `90`, `30s`, `15m`, `1h30m`."""

import re

MAX_SECONDS = 366 * 86_400.0

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"(\d{1,12}(?:\.\d{1,12})?)"
_FORM = re.compile("".join(f"(?:{_NUMBER}{unit})?" for unit in _UNITS), re.ASCII)


def parse_duration(value: object) -> float:
    """Give a duration in seconds, from 0 to a year; a bare number, or its text, is seconds.

    Raises:
        ValueError: it is no duration.

    """
    seconds = _seconds(value)
    if seconds is not None and 0 <= seconds <= MAX_SECONDS:
        return float(seconds)
    if seconds is not None and seconds > MAX_SECONDS:
        raise ValueError(f"{value!r} is longer than a year")
    raise ValueError(f"{value!r} is not a duration; write 30s, 15m, 2h or 1h30m")


def is_duration(text: str) -> bool:
    """Tell whether a text reads as a duration."""
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(_NUMBER, text, re.ASCII):
        return float(text)
    found = _FORM.fullmatch(text)
    if found is None or not found[0]:
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS.values(), strict=True) if part)


def format_duration(seconds: float) -> str:
    """Write a duration in its largest whole units: `90` seconds are `1m30s`."""
    if seconds < 60:
        return f"{seconds:g}s"
    parts, rest = [], seconds
    for name, unit in _UNITS.items():
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count:g}{name}")
    return "".join(parts)
