"""Durations as people write them: `90`, `30s`, `15m`, `1h30m`."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(value: object) -> float:
    """Give a duration in seconds; a bare number is seconds.

    Raises:
        ValueError: it is no duration.

    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    found = _FORM.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{value!r} is not a duration; write 30s, 15m, 2h or 1h30m")
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
