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
        entry = entries[path]
        _, size, modified, changed, inode, _, _ = stamps.get(path, _UNKNOWN)
        record = _RECORD.pack(
            changed // _SECOND & _WORD,
            changed % _SECOND,
            modified // _SECOND & _WORD,
            modified % _SECOND,
            0,  # git does not compare the device
            inode & _WORD,
            entry.mode,
            user,
            group,
            size & _WORD,
            entry.oid.raw,
            min(len(path), _LONGEST_NAME),
        )
        parts += (record, path, b"\0" * (8 - (len(record) + len(path)) % 8))
    data = b"".join(parts)
    return data + sha1(data, usedforsecurity=False).digest()
