"""Credentials, hidden in everything that is shown or kept.

URLs are parsed as urllib and SQLAlchemy parse them, which differ where a password has a slash, a
question mark or an at sign in clear. Where they differ, more is hidden rather than less.
"""

import re
import shlex
from collections.abc import Sequence
from urllib.parse import quote, unquote, unquote_plus

HIDDEN = "***"
# Parameters of a URL that hold no secret. Others are hidden, for drivers have many more.
HARMLESS = frozenset(
    "application_name cache charset check_same_thread client_encoding connect_timeout database"
    " db dbname driver gssencmode host hostaddr isolation_level mode nolock options passfile port"
    " service sslcert sslcrl sslkey sslmode sslrootcert target_session_attrs timeout uri user"
    " username".split()
)
_SECRET_KEY = r"[\w-]*(?:passw|pwd|secret|token|credential|api_?key)[\w-]*"
# A URL in a text. A password may have spaces and quotes in clear: it reaches to the last @ of the
# line, unless what follows the colon is a port.
_URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/:@]*:(?!\d+(?:[/\s?#,;)]|$))[^\n]*@)?[^\s'\"]*"
)
_BARE_USER = re.compile(r"(?<![^\s'\"=/])[^\s'\":/@=]+:[^\s'\"/@]+@")  # the slashes forgotten
_ASSIGNMENT = re.compile(
    rf"({_SECRET_KEY}\s*=\s*)(\{{[^}}]*\}}|'[^']*'|\"[^\"]*\"|[^\s;&'\"]+)", re.IGNORECASE
)
# In a word of its own (an ODBC string, libpq's `key=value`) a value reaches to the semicolon or to
# the next key.
_WHOLE_ASSIGNMENT = re.compile(
    rf"({_SECRET_KEY}\s*=\s*)(\{{[^}}]*\}}|.+?)(?=;|\s+[\w-]+\s*=|$)", re.IGNORECASE | re.DOTALL
)


def redact(text: str, *urls: str | None) -> str:
    """Hide the credentials of every URI in `text`: `http://user:key@host` -> `http://***@host`.

    Args:
        text: a message, or one value.
        urls: URLs in use; their passwords are hidden in any spelling, wherever they stand.
    """
    for url in urls:
        if url and url in text:
            text = text.replace(url, redact_url(url))
        for secret in sorted(_secrets(url or ""), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    text = _URL.sub(lambda found: redact_url(found.group()), text)
    text = _BARE_USER.sub(f"{HIDDEN}@", text)
    return _ASSIGNMENT.sub(rf"\1{HIDDEN}", text)


def redact_command(words: Sequence[str]) -> str:
    """Write a command as a shell reads it, without credentials.

    Each word is redacted before it is quoted, so that nothing in a password can end it early.
    """
    return shlex.join(_redact_word(word) for word in words)


def redact_url(url: str) -> str:
    """Hide the user, the password and every parameter of a URL that may be a secret.

    Args:
        url: the whole URL, and nothing else.
    """
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return _redact_without_scheme(url)
    end = 0 if scheme.startswith("sqlite") else _end_of_user(rest)
    if end < 0:
        return f"{scheme}://{HIDDEN}"
    place, question, query = rest[end:].partition("?")
    place, hash_sign, _ = place.partition("#")
    query = "&".join(map(_redact_parameter, query.split("&"))) if question else ""
    end_mark = f"#{HIDDEN}" if hash_sign else ""
    return f"{scheme}://{HIDDEN + '@' if end else ''}{place}{end_mark}{question}{query}"


def _end_of_user(rest: str) -> int:
    """Find where `user:password@` ends, after the slashes; -1 where that cannot be told."""
    host = re.match(r"[^/?#]*", rest)
    assert host is not None
    end = host.group().rfind("@") + 1  # as urllib finds it
    wider = re.match(r"[^:/]*:[^@]*@", rest)  # as SQLAlchemy does
    if wider is None or wider.end() <= end:
        return end
    if "?" in wider.group():
        return -1
    after = re.match(r"[^/?#]*", rest[wider.end() :])
    assert after is not None
    return wider.end() + after.group().rfind("@") + 1


def _redact_parameter(parameter: str) -> str:
    key, equals, _ = parameter.partition("=")
    name = unquote_plus(key).casefold()
    if name in HARMLESS:
        return parameter
    return f"{key}={HIDDEN}" if equals and re.fullmatch(_SECRET_KEY, name) else HIDDEN


def _redact_without_scheme(word: str) -> str:
    head, at, host = word.rpartition("@")
    if at and ":" in head:
        before, slashes, _ = head.rpartition("//")
        return f"{before if slashes else ''}{slashes}{HIDDEN}@{host}"
    return _WHOLE_ASSIGNMENT.sub(rf"\1{HIDDEN}", word)


def _redact_word(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if "://" in value:
        before, _, _ = value.partition("://")
        scheme = re.search(r"[A-Za-z0-9+.-]*$", before)
        start = scheme.start() if scheme else 0
        return f"{option}{equals}{value[:start]}{redact_url(value[start:])}"
    return f"{option}{equals}{_redact_without_scheme(value)}"


def _secrets(url: str) -> set[str]:
    """List the secrets in a URL, in every spelling that a message may use."""
    scheme, slashes, rest = url.partition("://")
    found: set[str] = set()
    if slashes and not scheme.startswith("sqlite"):
        end = _end_of_user(rest)
        user = rest[: end - 1] if end > 0 else rest.rpartition("@")[0] if end < 0 else ""
        is_token = ":" not in user and scheme.startswith("http")
        found |= {user} if is_token else {user.partition(":")[2]}
    query = rest.partition("?")[2]
    for parameter in query.split("&"):
        key, _, value = parameter.partition("=")
        if unquote_plus(key).casefold() not in HARMLESS:
            found |= {value, unquote_plus(value)}
            found |= {
                inner.group(2).strip("{}")
                for inner in _WHOLE_ASSIGNMENT.finditer(unquote_plus(value))
            }
    spelled = found | {unquote(text) for text in found}
    spelled |= {quote(text, safe="") for text in spelled} | {repr(t)[1:-1] for t in spelled}
    return {text for text in spelled if text}
