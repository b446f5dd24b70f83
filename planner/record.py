"""Records: what is stored as JSON and read back, by this and by later versions."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every record: immutable, made by keywords, compared by value.

    Types are checked where a record is read (`msgspec.convert`); where it is made, mypy sees to that. Each
    record repeats `frozen` and `kw_only`, which are not inherited by all who look. A changed copy is made by
    `msgspec.structs.replace`.
    """
