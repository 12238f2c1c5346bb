"""Parse JSON files from elsewhere."""

import json
from typing import Any

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError


def parse_json(data: bytes, where: str) -> Any:
    """Return the value of a JSON text in any encoding that `decode_text` knows.

    Args:
        data: the bytes of the file.
        where: its name, for messages.

    Raises:
        UserError: it is not JSON, is nested too deeply, or holds a number of thousands of digits.
    """
    try:
        return json.loads(decode_text(data, where))
    except json.JSONDecodeError as error:
        raise UserError(
            f"expected JSON, got {where}, line {error.lineno}: {error.msg}; "
            "try copying it again or correcting it"
        ) from error
    except RecursionError as error:
        raise UserError(
            f"expected JSON, got deeper nesting than Python reads in {where}; try flattening it"
        ) from error
    except ValueError as error:  # Python converts at most 4,300 digits to an integer
        raise UserError(
            f"expected numbers of a few digits, got one of thousands in {where}; try correcting it"
        ) from error
