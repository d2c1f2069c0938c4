"""What is shared by two texts, in languages that write words apart and in those that do not."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

__all__ = ["terms"]

# Thai and Lao, Tibetan, Burmese, Khmer, kana and Han, with their later blocks: no spaces between
# words. Korean writes them.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)


@cache
def _runs() -> re.Pattern[str]:
    """Runs of a script without spaces (group 1), and words of all others (group 2)."""
    # Vowel signs and accents are marks, no letters: they belong to the word they stand in.
    marks = "".join(
        chr(code) for code in range(0x300, 0x12000) if unicodedata.category(chr(code))[0] == "M"
    )
    inside = f"(?:\\w|[{re.escape(marks)}])"
    return re.compile(f"((?:(?=[{_UNSPACED}]){inside})+)|((?:(?![{_UNSPACED}]){inside})+)")


def terms(text: str) -> list[str]:
    """The terms of a text that another text may share: words, or pairs of characters.

    Chinese, Japanese, Thai and their like write no space between words: there, each two
    neighbouring characters are a term. A text may hold both.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str
        In lower case, in the order of the text.

    Examples
    --------
    >>> terms("A cat; the CAT.")
    ['a', 'cat', 'the', 'cat']
    >>> terms("GPT 很好用")
    ['gpt', '很好', '好用']
    """
    found: list[str] = []
    for run, word in _runs().findall(text.lower()):
        if word:
            found.append(word)
        else:
            found += [run[k : k + 2] for k in range(max(1, len(run) - 1))]
    return found
