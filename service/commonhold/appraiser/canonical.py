"""The one JSON form that is hashed and signed: RFC 8785 (JCS), for documents of text, whole numbers, lists and objects.

Pure. Independent libraries make the same bytes, so whoever has a document can check its hash.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias

from commonhold.units import Hash32, hex_text

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"


def canonical(document: Mapping[str, Json]) -> bytes:
    """The bytes of `document`; its names are ASCII and its numbers below 2^53, where RFC 8785 and this are the same."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def hex_list(values: tuple[Hash32, ...]) -> list[Json]:
    """The hexadecimal text of each value, in the same order."""
    return [hex_text(value) for value in values]
