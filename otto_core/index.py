"""An index file made of what Otto knows itself, so that none has to be trusted.

Version 2 of gitformat-index(5).
"""

import os
from collections.abc import Mapping
from hashlib import sha1
from struct import Struct

from merge.trees import Entry
from otto_core.scan import Stamp

_HEADER = Struct(">4sII")
_RECORD = Struct(">10I20sH")
_WORD = 0xFFFFFFFF
_LONGEST_NAME = 0xFFF
_SECOND = 1_000_000_000
_UNKNOWN = Stamp(0, 0, 0, 0, 0, 0, 0)


def encode(entries: Mapping[bytes, Entry], stamps: Mapping[bytes, Stamp]) -> bytes:
    """Write an index of these entries; git compares the content of files that have no stamp here."""
    user, group = os.getuid(), os.getgid()
    parts = [_HEADER.pack(b"DIRC", 2, len(entries))]
    for path in sorted(entries):
        entry, known = entries[path], stamps.get(path, _UNKNOWN)
        changed, modified = divmod(known.ctime_ns, _SECOND), divmod(known.mtime_ns, _SECOND)
        record = _RECORD.pack(
            *(changed[0] & _WORD, changed[1]),
            *(modified[0] & _WORD, modified[1]),
            *(0, known.inode & _WORD),  # git does not compare the device
            *(entry.mode, user, group),
            known.size & _WORD,
            entry.oid.raw,
            min(len(path), _LONGEST_NAME),
        )
        parts += (record, path, b"\0" * (8 - (len(record) + len(path)) % 8))
    data = b"".join(parts)
    return data + sha1(data, usedforsecurity=False).digest()
