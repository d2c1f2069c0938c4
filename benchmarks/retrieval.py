"""Does a correction help search, at which size, in how few bits, and is it sure?

Needs the retrieval collections and STS files (``--data``, with folders ir and sts) and
isotropy[demo,export]. MiniLM, mean-pooled, 256 tokens. Correctors are fitted on the documents,
without queries or labels; the bank of `HubnessBias` is every other query, judged on the rest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import faiss
import numpy as np
from _common import report
from scipy.stats import spearmanr
from sentence_transformers import quantize_embeddings

from isotropy import (
    ComponentRemoval,
    HubnessBias,
    MeanRemoval,
    RandomRotation,
    Whitening,
)
from isotropy.encoders import encode
from isotropy.metrics import k_skewness
from isotropy.search import code_ranges

COLLECTIONS, LAYERS, SIZES = ("cranfield", "cisi"), (0, 5, 6), (384, 256, 128, 64)
BOOTSTRAPS = 2000
SCALAR, IP = faiss.ScalarQuantizer, faiss.METRIC_INNER_PRODUCT


# -- data --------------------------------------------------------------------------------------


class Collection:
    def __init__(self, folder: Path) -> None:
        documents = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
        queries = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
        self.texts = [entry["text"] for entry in documents]
        place = {entry["id"]: index for index, entry in enumerate(documents)}
        judged: dict[str, dict[int, float]] = {}
        for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            query, document, relevance = line.split("\t")
            if float(relevance) > 0:  # Cranfield's grades run against each other: relevant or not
                judged.setdefault(query, {})[place[document]] = 1.0
        kept = [entry for entry in queries if entry["id"] in judged]
        self.queries = [entry["text"] for entry in kept]
        self.judged = [judged[entry["id"]] for entry in kept]


def pairs_of(path: Path) -> tuple[list[str], list[str], list[float]]:
    rows = [line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8")]
    rows = [row for row in rows if row[4]]
    return [row[5] for row in rows], [row[6] for row in rows], [float(row[4]) for row in rows]


def embeddings(cache: Path, name: str, layer: int, texts: list[str]) -> np.ndarray:
    path = cache / f"{name}-{layer}.npy"
    if path.is_file():
        return np.load(path)
    rows = encode("minilm", texts, layer=layer, max_length=256)
    np.save(path, rows)
    return rows


# -- scores ------------------------------------------------------------------------------------


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def judged_scores(scores: np.ndarray, judged: list[dict[int, float]]) -> dict[str, np.ndarray]:
    """nDCG@10 (of binary relevance) and recall@100 of each query."""
    order = np.argsort(-scores, axis=1, kind="stable")
    discount = 1 / np.log2(np.arange(10) + 2)
    ndcg, recall = [], []
    for found, wanted in zip(order, judged, strict=True):
        gains = np.array([wanted.get(int(index), 0.0) for index in found[:10]])
        ideal = np.sort(list(wanted.values()))[::-1][:10]
        ndcg.append(gains @ discount / (ideal @ discount[: len(ideal)]))
        recall.append(len(set(found[:100].tolist()) & set(wanted)) / len(wanted))
    return {"nDCG@10": np.array(ndcg), "recall@100": np.array(recall)}


def interval(apart: np.ndarray) -> str:
    """95 % bootstrap interval of the mean difference over queries, in points."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(apart), size=(BOOTSTRAPS, len(apart)))
    low, high = 100 * np.quantile(apart[draws].mean(1), [0.025, 0.975])
    return f"{low:+.1f} to {high:+.1f}"


def coded(documents: np.ndarray, queries: np.ndarray, bits: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows as what their codes stand for, so that products are those of the codes."""
    if bits == "float":
        return documents, queries
    if bits == "1 bit":
        # Hamming distance orders as the inner product of signs.
        signs = (
            np.unpackbits(quantize_embeddings(rows, precision="ubinary"), axis=1)
            for rows in (documents, queries)
        )
        left, right = (2.0 * part[:, : documents.shape[1]] - 1 for part in signs)
        return left, right
    ranges = code_ranges(documents)
    codes = (
        quantize_embeddings(rows, precision="int8", ranges=ranges) for rows in (documents, queries)
    )
    left, right = (part.astype(np.float32) + 0.5 for part in codes)
    return left, right


# -- tables ------------------------------------------------------------------------------------


def corrections(k: int) -> dict:
    """What is tried at k dimensions; plain truncation is the first."""
    chosen = None if k == 384 else k
    return {
        "raw": None,
        "centred": MeanRemoval(),
        "top 3 removed": ComponentRemoval(3),
        "rotated (PCA)": Whitening("pca", power=0, n_components=chosen),
        "power 0.5": Whitening("pca", power=0.5, n_components=chosen),
        "power 0.75": Whitening("pca", power=0.75, n_components=chosen),
        "whitened": Whitening("pca", n_components=chosen),
        "centred and rotated": RandomRotation(chosen),
    }


def search(collection: Collection, D: np.ndarray, Q: np.ndarray, where: dict) -> list[dict]:
    table, base = [], None
    for k in SIZES:
        for name, corrector in corrections(k).items():
            left, right = D, Q
            if corrector is not None:
                corrector.fit(D)
                left, right = corrector.transform(D), corrector.transform(Q)
            left, right = unit(left[:, :k]), unit(right[:, :k])
            for bits in ("float", "8 bits", "1 bit"):
                stored, asked = coded(left, right, bits)
                found = judged_scores(asked @ stored.T, collection.judged)
                if base is None:
                    base = found
                table.append(
                    {
                        **where,
                        "dims": k,
                        "codes": bits,
                        "correction": name,
                        **{key: round(100 * float(v.mean()), 1) for key, v in found.items()},
                        "nDCG to raw": interval(found["nDCG@10"] - base["nDCG@10"]),
                        "k-skewness": round(k_skewness(stored, asked, measure="dot"), 1),
                    }
                )
    return table


def hubness(collection: Collection, D: np.ndarray, Q: np.ndarray, where: dict) -> list[dict]:
    """The bias, learned from every other query and judged on the rest."""
    bank, asked = Q[::2], Q[1::2]
    judged = collection.judged[1::2]
    table = []
    for name in ("raw", "centred", "power 0.5"):
        corrector = corrections(384)[name]
        left, right, known = D, asked, bank
        if corrector is not None:
            corrector.fit(D)
            left, right, known = (corrector.transform(rows) for rows in (D, asked, bank))
        base = None
        for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
            bias = HubnessBias(10, alpha=alpha).fit(left, queries=known)
            stored, question = bias.transform(left), bias.transform_queries(right)
            found = judged_scores(question @ stored.T, judged)
            base = found if base is None else base
            table.append(
                {
                    **where,
                    "correction": name,
                    "alpha": alpha,
                    **{key: round(100 * float(v.mean()), 1) for key, v in found.items()},
                    "nDCG to alpha 0": interval(found["nDCG@10"] - base["nDCG@10"]),
                    "k-skewness": round(k_skewness(stored, question, measure="dot"), 1),
                }
            )
    return table


def by_faiss(collection: Collection, D: np.ndarray, Q: np.ndarray, where: dict) -> list[dict]:
    """The codes of faiss itself, of raw rows and of centred and rotated ones."""
    table = []
    for k in SIZES:
        for name in ("raw", "centred and rotated"):
            corrector = corrections(k)[name]
            left, right = D, Q
            if corrector is not None:
                corrector.fit(D)
                left, right = corrector.transform(D), corrector.transform(Q)
            left, right = (np.ascontiguousarray(unit(rows[:, :k])) for rows in (left, right))
            row = {**where, "dims": k, "correction": name}
            for bits, index in {
                "float": faiss.IndexFlatIP(k),
                "8 bits": faiss.IndexScalarQuantizer(k, SCALAR.QT_8bit, IP),
                "4 bits": faiss.IndexScalarQuantizer(k, SCALAR.QT_4bit, IP),
                "1 bit": faiss.IndexBinaryFlat(k),
            }.items():
                stored, asked = left, right
                if bits == "1 bit":
                    stored, asked = (np.packbits(rows > 0, axis=1) for rows in (left, right))
                index.train(stored)
                index.add(stored)
                order = index.search(asked, 100)[1]
                scores = np.zeros((len(Q), len(D)))
                np.put_along_axis(scores, order, np.arange(100, 0, -1)[None], axis=1)
                found = judged_scores(scores, collection.judged)["nDCG@10"]
                row[bits] = round(100 * float(found.mean()), 1)
            table.append(row)
    return table


def similarity(data: Path, cache: Path) -> list[dict]:
    left, right, scores = pairs_of(data / "sts" / "sts-test.csv")
    texts = list(dict.fromkeys([*left, *right]))
    index = {text: at for at, text in enumerate(texts)}
    a, b = ([index[text] for text in side] for side in (left, right))
    table = []
    for layer in LAYERS:
        E = embeddings(cache, "sts-test", layer, texts)
        for k in SIZES:
            for name, corrector in corrections(k).items():
                X = E if corrector is None else corrector.fit(E).transform(E)
                X = unit(X[:, :k])
                row: dict = {"layer": layer, "dims": k, "correction": name}
                for bits in ("float", "8 bits", "1 bit"):
                    stored = unit(coded(X, X, bits)[0])
                    cosines = (stored[a] * stored[b]).sum(1)
                    row[bits] = round(100 * float(spearmanr(cosines, scores)[0]), 1)
                table.append(row)
    return table


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder that holds ir and sts")
    options.add_argument("--cache", type=Path, help="folder to keep the encoded rows in")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        cache = chosen.cache or Path(folder)
        cache.mkdir(exist_ok=True)
        found, biased, indexed = [], [], []
        for name in COLLECTIONS:
            collection = Collection(chosen.data / "ir" / name)
            for layer in LAYERS:
                D = embeddings(cache, f"{name}-documents", layer, collection.texts)
                Q = embeddings(cache, f"{name}-queries", layer, collection.queries)
                where = {"collection": name, "layer": layer}
                found += search(collection, D, Q, where)
                biased += hubness(collection, D, Q, where)
                indexed += by_faiss(collection, D, Q, where)
        report("retrieval", "Retrieval, corrected on the documents (x 100)", found)
        report("retrieval_hubness", "Retrieval with a bias against hubs (x 100)", biased)
        report("retrieval_faiss", "nDCG@10 x 100 of faiss indexes", indexed)
        table = similarity(chosen.data, cache)
        report("retrieval_sts", "STS-B test, Spearman x 100, fitted on its sentences", table)


if __name__ == "__main__":
    main()
