"""JSON objects that hold a digest of their content, so that any damage to them is noticed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "content_sha256"


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the digest of its content as its last key."""
    return {**content, SEAL: _digest(content)}


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the content of the bytes of a JSON object, without its digest.

    Objects of earlier versions have no digest, and are returned as they are.

    Raises:
        ValueError: they are not a JSON object, or not the content that was sealed.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("too many nested brackets") from error
    if not isinstance(content, dict):
        raise ValueError(f"{type(content).__name__}, not an object")
    last = next(reversed(content), "")  # the digest, even if a flipped bit has renamed it
    others = {key: value for key, value in content.items() if key != last}
    if content.get(last) == _digest(others):
        return others
    if SEAL in content:
        raise ValueError("content that does not match its digest")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
