"""Keep credentials out of what people read: messages, tracebacks, and the log of a worker.

A service may quote the request that it refuses, an SDK may log one, and each in a spelling of its own: as it is, in a
URL, in JSON. What signs requests is known by its value where somebody has said it, and by its look everywhere else.
"""

from __future__ import annotations

import os
import re
from typing import Iterable, List, Mapping, Pattern, Set

#: HIDDEN stands in place of what was taken out.
HIDDEN = "(redacted)"
#: SHORTEST is the length of the shortest secret that is looked for; a shorter one would be part of many words.
SHORTEST = 8
#: _OF_SECRETS finds the names of environment variables whose values are secrets, and not places of such.
_OF_SECRETS = re.compile(
    r"(?i)(?:secret|token|passw(?:or)?d|api_?key|access_?key|credential)(?!.*(?:file|path|dir|ur[il])$)"
)
#: _SIGNS finds what looks like a credential of AWS or of a hub, or like a part of a signed request. It is strict: the
#: words of a vendor have signatures and tokens of other kinds.
_SIGNS = re.compile(
    r"(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|\b(?:hf_|gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}"
    r"|(?i:(?:x-amz-security-token|x-amz-credential|x-amz-signature|awsaccesskeyid|aws_access_key_id|aws_session_token"
    r"|(?:aws_)?secret_?access_?key|client_secret|passw(?:or)?d|api[-_]?key|access[-_]token)"
    r"['\"]?\s*(?:[=:]|%3d)\s*['\"]?[^\s,&<'\"]+)"
    r"|(?i:\bsignature(?:[=:]|%3d)\s*[0-9a-f]{32,})"
    r"|(?i:\bauthorization['\"]?\s*[=:]\s*['\"]?(?:\w+\s+)?[^\s'\"]{8,})"
)

_known: Set[str] = set()


def keep_secret(secrets: Iterable[str]) -> None:
    """Have these taken out of all texts of this process from now on."""
    _known.update(secret for secret in secrets if len(secret) >= SHORTEST)


def known() -> List[str]:
    """Return what was said to be kept secret, in order."""
    return sorted(_known)


def of_environment(environ: Mapping[str, str] = os.environ) -> List[str]:
    """Return the values of the environment variables that hold secrets."""
    return [value for name, value in environ.items() if len(value) >= SHORTEST and _OF_SECRETS.search(name)]


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without ``secrets``, those that are known, those of the environment, and what looks like one."""
    hidden = {*secrets, *_known, *of_environment()}
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = _spellings(secret).sub(HIDDEN, text)
    return _SIGNS.sub(HIDDEN, text)


def _spellings(secret: str) -> Pattern[str]:
    """Find a secret as it is, with escapes of JSON or XML, and quoted for a URL once or several times."""
    return re.compile("".join(_spelling(character) for character in secret))


def _spelling(character: str) -> str:
    if character.isalnum() and character.isascii():
        return character
    quoted = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    plus = r"|\+" if character == " " else ""
    return rf"(?:\\*{re.escape(character)}|(?i:{quoted})|&#?\w+;{plus})"
