"""What a layer profile, and scorecards while training, cost (isotropy[demo,train])."""

import logging
import tempfile

import torch
from _common import ratios, report, timed
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers.trainer_callback import PrinterCallback

from isotropy.encoders import bundled_minilm, layer_profile
from isotropy.io.texts import documentation_sentences
from isotropy.losses import IsotropyCallback

logging.disable(logging.WARNING)
texts = documentation_sentences(1000)
encoder = SentenceTransformer(str(bundled_minilm()), device="cpu")
bare = encoder[0].auto_model.eval()


@torch.inference_mode()
def forward():
    for start in range(0, len(texts), 32):
        part = texts[start : start + 32]
        options = {"padding": True, "truncation": True, "max_length": encoder.max_seq_length}
        bare(**encoder.tokenizer(part, return_tensors="pt", **options))


seconds = timed(
    {"bare forward pass": forward, "layer_profile": lambda: layer_profile(encoder, texts)}, 3
)
report(
    "layers",
    "Profile of MiniLM's 7 hidden states, tokens and texts, 1,000 sentences",
    ratios(seconds, "bare forward pass"),
)

with tempfile.TemporaryDirectory() as folder:
    pairs = Dataset.from_dict({"anchor": texts[:640], "positive": texts[1:641]})
    model = SentenceTransformer(str(bundled_minilm()), device="cpu")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=4,
            per_device_train_batch_size=16,
            eval_strategy="steps",
            eval_steps=40,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=pairs,
        eval_dataset=pairs.select(range(16)),
        loss=MultipleNegativesRankingLoss(model),
    )
    trainer.remove_callback(PrinterCallback)
    callback = IsotropyCallback(trainer, texts[640:736])
    trainer.add_callback(callback)
    trainer.train()
    total = trainer.state.log_history[-1]["train_runtime"]
rows = [
    {
        "what": "IsotropyCallback, 96 texts, evaluation every 40 of 160 steps",
        "scored at steps": str([entry["step"] for entry in callback.history]),
        "s": round(callback._spent, 2),
        "of training": f"{100 * callback._spent / total:.2f} %",
        "s at the start": round(callback.seconds_at_start, 2),
    }
]
report("layers_callback", "Scorecards while training MiniLM", rows)
