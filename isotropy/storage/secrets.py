"""What a secret is in a URL or a text, and how either is shown without it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

__all__ = ["Address", "masked", "safe_url"]

STARS = "***"

_PARTS = (
    "password|passwd|passphrase|pwd|secret|token|signature|credential|apikey|accesskey|accountkey"
    "|privatekey|keyid|connectionstring|sas"
)
_SECRET_NAME = re.compile(rf"(?:.*(?:{_PARTS}).*|key|sig|pass|auth|authorization)")

_NAME = r"[\w.%+-]+"
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
# A semicolon ends a value only where another name follows, as in Azure's connection strings.
_PAIR = re.compile(
    rf"(?P<before>^|[?&;#,({{\s])(?P<name>{_NAME}\s*=\s*|'{_NAME}'\s*[:=]\s*|\"{_NAME}\"\s*[:=]\s*)"
    rf"(?P<value>{_QUOTED}|(?:(?!;\s*{_NAME}=)[^&#\s\"'])+)"
)
# In a URL nothing but the next parameter ends a value.
_PARAMETER = re.compile(rf"(?P<before>[?&])(?P<name>{_NAME}=)(?P<value>[^&#]+)")
# From the colon to the last @: a password may hold an @ or a slash that should have been encoded.
# A port, with or without a path behind it, is none. A path makes one slash of the two.
_URL = re.compile(r"(?:[\w+.-]+::)*[A-Za-z][\w+.-]+:/")
_USER = re.compile(r"(?P<user>\w:/{1,2}[^:/@\s]*):(?!\d+(?:[/?#\s]|$))(?P<password>[^\s\"'<>]*)@")
# A port that is no number is a password whose @ and host are missing.
_PORT = re.compile(
    r"(?P<user>\w://[^:/@\s]*):(?!\d+(?:[/?#\s]|$)|\*\*\*|@|:)(?P<password>[^\s\"'<>/?#]+)"
)
_LONE = re.compile(r"(?i)(?P<scheme>\bhttps?:/{1,2})(?P<password>[^:/@\s]+)@")
_WORDS = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|(?i:\b(?:bearer|basic)\s+)[\w+/=.~-]{8,}"
)


class Address(os.PathLike[str]):
    """A URL, whose secrets are seen only by who asks for them by name.

    Whatever shows it (`str`, `repr`, f-strings, paths, JSON by way of `str`) shows `safe_url`.

    Parameters
    ----------
    url : str
    options : mapping, optional
        What the connection is made with beside the URL; its values may be secrets too.

    Examples
    --------
    >>> place = Address("postgresql://me:hidden@host/base#items")
    >>> print(place)
    postgresql://me:***@host/base#items
    >>> place.reveal()
    'postgresql://me:hidden@host/base#items'
    """

    __slots__ = ("_options", "_url")

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self._url = url
        self._options = dict(options or {})

    def reveal(self) -> str:
        """The URL as it was given, for the connection alone.

        Returns
        -------
        str

        Examples
        --------
        >>> Address("s3://bucket/rows.npy").reveal()
        's3://bucket/rows.npy'
        """
        return self._url

    def secrets(self) -> set[str]:
        """The secrets that the URL and the options hold, as they stand there.

        Returns
        -------
        set of str

        Examples
        --------
        >>> sorted(Address("https://host/x?sig=a%2Fb", {"token": "t0ken"}).secrets())
        ['a%2Fb', 't0ken']
        """
        return {*_of_url(self._url), *_of_options(self._options)}

    @property
    def options(self) -> dict[str, Any]:
        """What the connection is made with beside the URL, for the connection alone."""
        return dict(self._options)

    @property
    def suffix(self) -> str:
        """The end of the name, which tells the format; what follows a question mark is none."""
        name = re.split(r"[?#]", self._url, maxsplit=1)[0].rpartition("/")[2]
        return f".{name.rpartition('.')[2].lower()}" if "." in name else ""

    def __fspath__(self) -> str:
        return safe_url(self._url)

    __str__ = __fspath__

    def __repr__(self) -> str:
        return f"Address({safe_url(self._url)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self._url, self._options) == (
            other._url,
            other._options,
        )

    def __hash__(self) -> int:
        return hash(self._url)


def safe_url(url: str | os.PathLike[str]) -> str:
    """A URL with stars for every secret in it; a path as it is.

    Parameters
    ----------
    url : str or path-like

    Returns
    -------
    str

    Examples
    --------
    >>> safe_url("postgresql://me:hidden@host/base?sslpassword=x&port=1#items")
    'postgresql://me:***@host/base?sslpassword=***&port=1#items'
    >>> safe_url("parts/key=7/rows.npy")
    'parts/key=7/rows.npy'
    """
    text = os.fspath(url)
    if not _URL.match(text):
        return text
    return _without_patterns(_PARAMETER.sub(_hidden_pair, text))


def masked(text: str, secrets_of: Any = None) -> str:
    """A text, such as an error of a database, with stars for the secrets in it.

    Parameters
    ----------
    text : str
    secrets_of : str, path-like or Address, or a list of them, optional
        A URL whose secrets are hidden also where they stand alone, decoded or encoded. Those in
        the environment (``PGPASSWORD``, ``AWS_SECRET_ACCESS_KEY``) always are.

    Returns
    -------
    str

    Notes
    -----
    A secret is the password of a URL, the value of what is called password, key, token, signature
    or the like (``sig=``, ``X-Amz-Signature=``, ``AccountKey=``, ``"secret": ...``), a token of
    Hugging Face and an access key of AWS.

    Examples
    --------
    >>> masked("no route to https://me:hidden@host", "https://me:hidden@host")
    'no route to https://me:***@host'
    >>> masked("port 'hid den' is no number", "postgresql://me:hid%20den@host")
    "port '***' is no number"
    """
    text = _without_patterns(text)
    known = {*_secrets_of(secrets_of), *_of_environment()}
    forms = {form for secret in known for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = _form_pattern(form).sub(STARS, text)
    return text


def _without_patterns(text: str) -> str:
    text = _USER.sub(rf"\g<user>:{STARS}@", text)
    text = _PORT.sub(rf"\g<user>:{STARS}", text)
    text = _LONE.sub(rf"\g<scheme>{STARS}@", text)
    text = _PAIR.sub(_hidden_pair, text)
    return _WORDS.sub(STARS, text)


def _hidden_pair(found: re.Match[str]) -> str:
    value: str = found["value"]
    if not _is_secret(found["name"]) or value.startswith(STARS):
        return found[0]
    mark = value[0] if value[0] in "'\"" else ""
    rest = "" if mark else value[len(value.rstrip(":.,")) :]  # of the sentence that it stands in
    return f"{found['before']}{found['name']}{mark}{STARS}{mark}{rest}"


def _is_secret(name: str) -> bool:
    plain = re.sub(r"[^a-z]", "", unquote(name).lower())
    return _SECRET_NAME.fullmatch(plain) is not None


def _secrets_of(given: Any) -> set[str]:
    if isinstance(given, Address):
        return given.secrets()
    if isinstance(given, str | os.PathLike):
        return set(_of_url(os.fspath(given)))
    if isinstance(given, list | tuple):
        return set().union(*map(_secrets_of, given))
    return set()


def _of_url(url: str) -> Iterator[str]:
    if not _URL.search(url):
        return
    for pattern in (_USER, _PORT, _LONE):
        yield from (found["password"] for found in pattern.finditer(url))
    for pattern in (_PARAMETER, _PAIR):
        for found in pattern.finditer(url):
            if _is_secret(found["name"]):
                yield found["value"].strip("'\"")


def _of_options(options: Any, named: bool = False) -> Iterator[str]:
    """Texts under names of secrets, and all that lies below such a name."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from _of_options(value, named or _is_secret(str(name)))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _of_options(value, named)
    elif isinstance(options, str):
        yield from [options] if named else _of_url(options)


def _of_environment() -> Iterator[str]:
    # Short values (a switch, a number) and paths (PWD is the folder that we are in) would hide
    # what is no secret.
    return (
        text
        for name, text in os.environ.items()
        if len(text) >= 8 and _is_secret(name) and text[0] not in "/~." and "PWD" not in name
    )


def _forms(secret: str) -> set[str]:
    """A secret as it was written, decoded and encoded again, and as Python shows it."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    coded = {
        code(text, safe=safe)
        for text in plain
        for code in (quote, quote_plus)
        for safe in ("", "/")
    }
    shown = {repr(text)[1:-1] for text in plain}
    return {form for form in plain | coded | shown if form and form != STARS}


def _form_pattern(form: str) -> re.Pattern[str]:
    """Anywhere; a short one only where it stands alone, lest it be found in every other word."""
    text = re.escape(form)
    return re.compile(text if len(form) >= 8 else rf"(?<!\w){text}(?!\w)")
