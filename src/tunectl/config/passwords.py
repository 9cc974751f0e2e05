"""Passwords in what is shown: a storage URL may hold one, and nothing that is printed may.

It knows what URLs look like and nothing of who prints them.
"""

from __future__ import annotations

import re

HIDDEN = "***"
# A password may hold a colon, a slash and, where the user forgot to quote it, an @ as well.
_USER_INFO = re.compile(r"(://[^\s/:@]*):\S*@")
_QUERY = re.compile(
    r"([?&;](?:\w*password|passwd|pwd|\w*token|secret)=)[^&;\s'\")]*", re.IGNORECASE
)


def hide_passwords(text: str) -> str:
    """Return a text with the passwords of the URLs in it replaced by `***`.

    Args:
        text: Anything that is about to be shown, with any number of URLs in it.
    """
    if "://" not in text and "=" not in text:
        return text
    return _QUERY.sub(rf"\1{HIDDEN}", _USER_INFO.sub(rf"\1:{HIDDEN}@", text))
