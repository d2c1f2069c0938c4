"""Does a search find texts for their length? Cranfield and CISI, at MiniLM's output and inside it.

`length_table` by words of the documents, before and after corrections, with queries. Rank is the
mean place of a document over all queries: 0 first, 1 last, 0.5 by chance. "relevant" is what people
judged: the mean place of relevant documents in the order of length, 0.5 where they are as long as
others. Erased is the logarithm of the length, of rows of length one: with the documents' map for
queries, after own means of documents and queries, and with a map of their own for queries.
"""

import argparse
from pathlib import Path

import numpy as np
from _common import report, yes_or_no
from scipy.stats import rankdata

from isotropy import (
    ComponentRemoval,
    ConceptErasure,
    MeanRemoval,
    TaperedWhitening,
    Whitening,
)
from isotropy.encoders import encode
from isotropy.evaluate import read_task
from isotropy.metrics import length_table

LAYERS = (0, 3, 5, "output")
CORRECTORS = {
    "centred": MeanRemoval(),
    "2 directions removed": ComponentRemoval(2),
    "tapered 0.5": TaperedWhitening(0.5),
    "whitened": Whitening(),
}

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--data", type=Path, default=Path("../shared/data"))
options.add_argument("--rows", type=Path, help="a folder where embeddings are kept")
options.add_argument("--tokens", type=int, default=256, help="after which texts are cut")
options.add_argument("--quick", action="store_true", help="layer 0 alone; writes no file")


def embedded(folder, name, layer, tokens, texts):
    path = folder / f"{name}-{layer}-{tokens}.npy" if folder else None
    if path and path.is_file():
        return np.load(path)
    rows = encode("minilm", texts, layer=layer, max_length=tokens)
    if path:
        np.save(path, rows)
    return rows


def erased(rows, lengths):
    return ConceptErasure(concept="numbers", normalize="before").fit(rows, np.log1p(lengths))


def settings(rows, asked, lengths, asked_lengths):
    """Name to corrected documents and queries."""
    yield "none", (rows, asked)
    for name, corrector in CORRECTORS.items():
        corrector.fit(rows, queries=asked)
        yield name, (corrector.transform(rows), corrector.transform_queries(asked))
    erasure = erased(rows, lengths)
    yield "length erased", (erasure.transform(rows), erasure.transform(asked))
    centred = MeanRemoval(normalize="before").fit(rows, queries=asked)
    rows, asked = centred.transform(rows), centred.transform_queries(asked)
    erasure = erased(rows, lengths)
    after = erasure.transform(rows)
    yield "centred, length erased", (after, erasure.transform(asked))
    own = erased(asked, asked_lengths).transform(asked)
    yield "centred, length erased, queries' own", (after, own)


def relevant_place(task, lengths):
    place = (rankdata(lengths) - 1) / (len(lengths) - 1)
    return float(np.mean([place[row] for item in task.judged for row in item]))


def main():
    chosen = options.parse_args()
    if not chosen.data.is_dir():
        raise SystemExit(f"{chosen.data}: no such folder; --data names one with text collections.")
    lines, bins = [], []
    for name in ("cranfield", "cisi"):
        task = yes_or_no(read_task(chosen.data / f"ir/{name}"))
        lengths = [len(text.split()) for text in task.documents]
        where = relevant_place(task, lengths)
        for layer in LAYERS[:1] if chosen.quick else LAYERS:
            rows, asked = (
                embedded(chosen.rows, f"{name}-{part}", layer, chosen.tokens, texts)
                for part, texts in task.parts.items()
            )
            words = [len(text.split()) for text in task.queries]
            for how, after in settings(rows, asked, lengths, words):
                table = length_table(after[0], lengths, queries=after[1])
                first, last = table.bins[0], table.bins[-1]
                lines.append(
                    {
                        "collection": name,
                        "layer": layer,
                        "correction": how,
                        "nDCG@10": round(
                            task.score(dict(zip(task.parts, after, strict=True))).main, 1
                        ),
                        "cosine ~ length": round(table.cosine_correlation, 2),
                        "found ~ length": round(table.occurrence_correlation, 2),
                        "rank ~ length": round(table.rank_correlation, 2),
                        "rank, shortest fifth": round(first.rank, 2),
                        "rank, longest fifth": round(last.rank, 2),
                        "relevant": round(where, 2),
                    }
                )
                bins.append({"of": [name, layer, how], "bins": [vars(b) for b in table.bins]})
    title = f"Length of documents and search, MiniLM, texts cut at {chosen.tokens} tokens"
    report("length", title, lines, write=not chosen.quick, tables=bins)


if __name__ == "__main__":
    main()
