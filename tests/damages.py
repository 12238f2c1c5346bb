"""Ways in which a file gets damaged: a crash, a full disk, a flipped bit, an editor."""

import json


def _middle(change):
    def damage(content):
        half = len(content) // 2
        return content[:half] + change(content[half : half + 1]) + content[half + 1 :]

    return damage


def _misspelt(content):
    """Change a letter of the first key; of no key, the first byte."""
    place = content.find(b'"') + 1
    return content[:place] + b"Q" + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "ten bytes short": lambda content: content[:-10],
    "zeros": lambda content: bytes(len(content)),
    "a flipped bit": _middle(lambda byte: bytes([(byte or b"\0")[0] ^ 1])),
    "no UTF-8": _middle(lambda byte: b"\xff"),
    "one byte more": _middle(lambda byte: byte + b" "),
    "a misspelt key": _misspelt,
    "{}": lambda content: b"{}",
    "[]": lambda content: b"[]\n",
    "deep": lambda content: b'{"a":' + b"[" * 100_000 + b"\n",
    "another type": lambda content: json.dumps({"metrics": 3, "step": "x", "kind": []}).encode(),
    "missing": None,
}
"""New content by old content; None removes the file."""


def damage(path, kind):
    """Damage a file; return whether that changed it."""
    change = DAMAGES[kind]
    content = path.read_bytes()
    if change is None:
        path.unlink()
        return True
    path.write_bytes(change(content))
    return change(content) != content
