"""Python's documentation comes out as sentences: no code, no markup, the same ones each time."""

from itertools import pairwise

import pytest

from isotropy.io import texts as _texts
from isotropy.io.texts import documentation_sentences

SENTENCES = documentation_sentences()


def test_over_two_thousand_different_sentences_of_readable_length_come_out():
    assert 2000 <= len(SENTENCES) <= 4000
    assert len(set(SENTENCES)) == len(SENTENCES)
    assert all(20 <= len(sentence) <= 400 for sentence in SENTENCES)


def test_each_starts_and_ends_as_a_sentence_does():
    for sentence in SENTENCES:
        assert sentence[0].isupper() or sentence[0] in '"“', sentence
        assert sentence.rstrip(")\"”'")[-1] in ".!?", sentence


def test_each_is_mostly_words():
    for sentence in SENTENCES:
        words = [word.strip(".,;:!?()\"'“”") for word in sentence.split()]
        assert len(words) >= 4, sentence
        assert sum(word.replace("-", "").isalpha() for word in words) >= len(words) / 3, sentence


@pytest.mark.parametrize(
    "trace", ["\n", "  ", ">>>", " # ", "::=", "****", "+---", "Changed in version", "[1]"]
)
def test_no_trace_of_layout_is_left(trace):
    assert not [sentence for sentence in SENTENCES if trace in sentence]


def test_limit_takes_the_first_ones():
    assert documentation_sentences(7) == SENTENCES[:7]
    assert documentation_sentences(0) == []
    assert documentation_sentences(10**6) == SENTENCES
    with pytest.raises(ValueError, match="limit must be at least 0, got -1"):
        documentation_sentences(-1)


def sentences_of(monkeypatch, text):
    import pydoc_data.topics

    monkeypatch.setattr(pydoc_data.topics, "topics", {"topic": text})
    return documentation_sentences()


def test_wrapped_lines_are_joined_and_sentences_cut_apart(monkeypatch):
    text = "The first sentence is on\ntwo lines.  Is the second one a question?  Yes, it is one!"
    assert sentences_of(monkeypatch, text) == [
        "The first sentence is on two lines.",
        "Is the second one a question?",
        # "Yes, it is one!" is shorter than 20 characters
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "Some containers, e.g. Python lists, hold references.",
        "Names, i.e. Identifiers, are bound by statements.",
        "Since version 3.8 the value is computed later.",
        "Values such as 1, 2, ... Infinity are all accepted here.",
        "The attribute sys.path holds the folders to look in.",
        "What comes last (see also the section below.)",
    ],
)
def test_a_stop_inside_a_sentence_does_not_cut_it(monkeypatch, sentence):
    assert sentences_of(monkeypatch, sentence) == [sentence]


def test_markup_is_removed(monkeypatch):
    text = (
        'The *first* word of a **bold claim** is "x * y" here. [2]\n\n'
        "Changed in version 3.8: The mark-\nup of *many words at once* goes away.\n\n"
        'Note that "*args" and "**kwargs" are left alone here.'
    )
    assert sentences_of(monkeypatch, text) == [
        'The first word of a bold claim is "x * y" here.',
        "The mark-up of many words at once goes away.",
        'Note that "*args" and "**kwargs" are left alone here.',
    ]


def test_headings_code_grammar_and_tables_are_left_out(monkeypatch):
    text = """A Heading That Ends With a Stop.
*********************************

Assert statements are a way to insert assertions:

   assert_stmt ::= "assert" expression Here it looks like a sentence.

   >>> print("This looks like a whole sentence.")
   This looks like a whole sentence too.

   if __debug__:
       raise AssertionError("It is not.")

+-----------+------------------------------------------+
| Operation | This looks like a sentence in a table.   |
+-----------+------------------------------------------+

The sentence after all that is kept."""
    assert sentences_of(monkeypatch, text) == ["The sentence after all that is kept."]


def test_list_entries_and_definitions_are_paragraphs_of_their_own(monkeypatch):
    text = """* The first entry goes on
  over two lines.

* The second entry is a short one.
* The third entry stands right below.

1. The numbered entry is kept as well.

str.method(argument)
   Return what the method is there for."""
    assert sentences_of(monkeypatch, text) == [
        "The first entry goes on over two lines.",
        "The second entry is a short one.",
        "The third entry stands right below.",
        "The numbered entry is kept as well.",
        "Return what the method is there for.",
    ]


def test_neighbours_come_from_the_same_text():
    """The order is the documentation's: many sentences begin where the one before ended."""
    from pydoc_data.topics import topics

    flat = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    plain = [sentence for sentence in SENTENCES if sentence in flat]
    assert len(plain) > 1000
    in_order = sum(flat.index(a) < flat.index(b) for a, b in pairwise(plain))
    assert in_order > 0.99 * len(plain)


def test_bounds_are_the_ones_documented():
    assert (_texts.SHORTEST, _texts.LONGEST) == (20, 400)
