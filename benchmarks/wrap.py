"""What a correction inside an encoder costs when it encodes (isotropy[demo])."""

import numpy as np
import torch
from _common import report, timed
from sentence_transformers import SentenceTransformer

from isotropy import Whitening
from isotropy.encoders import bundled_minilm, wrap
from isotropy.io.texts import documentation_sentences

texts = documentation_sentences(2000)
bare = SentenceTransformer(str(bundled_minilm()), device="cpu")
corrected = wrap(bare, texts, Whitening(power=0.5))
tail = list(corrected.children())[-2:]
rows = bare.encode(texts, convert_to_tensor=True)


@torch.inference_mode()
def added():
    for part in rows.split(32):  # as many a batch as `encode` takes
        features = {"sentence_embedding": part}
        for module in tail:
            features = module(features)


seconds = timed(
    {
        "bare encoder": lambda: bare.encode(texts),
        "corrected encoder": lambda: corrected.encode(texts),
        "added modules alone": added,
    },
    5,
)
base = np.median(seconds["bare encoder"])
table = [
    {
        "what": name,
        "median s": round(float(np.median(values)), 4),
        "least s": round(min(values), 4),
        "to the bare encoder": f"{100 * float(np.median(values)) / base:.2f} %",
    }
    for name, values in seconds.items()
]
report("wrap", "Encoding 2,000 sentences with MiniLM", table)
