"""A sentence-transformers module for correctors that no native module can hold."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from isotropy.correctors import load as load_corrector

__all__ = ["CorrectorModule"]

_FILE = "corrector.safetensors"


class CorrectorModule(nn.Module):
    """Apply a fitted corrector to the sentence embeddings.

    Loading an encoder that has one takes isotropy, and ``trust_remote_code=True``. Native modules
    serve everywhere: `wrap` uses this class only where the corrector is no affine map.

    Parameters
    ----------
    corrector : fitted corrector
    truncate_dim : int, optional
        Leading dimensions of the embeddings that the corrector takes; all by default.
    """

    def __init__(self, corrector: Any, truncate_dim: int | None = None) -> None:
        super().__init__()
        self.corrector, self.truncate_dim = corrector, truncate_dim

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Correct ``features["sentence_embedding"]``."""
        rows: torch.Tensor = features["sentence_embedding"]
        features["sentence_embedding"] = self.corrector.transform(rows[:, : self.truncate_dim])
        return features

    def get_sentence_embedding_dimension(self) -> int:
        """Dimensions of the corrected embeddings."""
        return int(self.corrector._n_features_out)

    get_embedding_dimension = get_sentence_embedding_dimension

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the corrector and the width into a folder."""
        folder = Path(output_path)
        self.corrector.save(folder / _FILE)
        (folder / "config.json").write_text(json.dumps({"truncate_dim": self.truncate_dim}))

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> Self:
        """Read what `save` wrote, from a folder or the Hub."""
        folder: str | None = os.path.join(model_name_or_path, subfolder)
        if not os.path.isdir(str(folder)):
            from sentence_transformers.util import load_dir_path

            wanted = ("token", "cache_folder", "revision", "local_files_only")
            given = {name: kwargs[name] for name in wanted if name in kwargs}
            folder = load_dir_path(model_name_or_path, subfolder=subfolder, **given)
        if folder is None:
            raise ValueError(f"{model_name_or_path}: has no folder {subfolder!r}.")
        options = json.loads((Path(folder) / "config.json").read_text())
        return cls(load_corrector(Path(folder) / _FILE), **options)
