"""Regularizers in the real trainers: what is trained, what is logged, what the card says."""

import warnings
from copy import deepcopy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")
datasets = pytest.importorskip("datasets")

from sentence_transformers import (  # noqa: E402
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses  # noqa: E402
from torch import nn  # noqa: E402
from transformers import (  # noqa: E402  # noqa: E402
    BertConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from isotropy import score  # noqa: E402
from isotropy.io.texts import documentation_sentences  # noqa: E402
from isotropy.losses import (  # noqa: E402
    Alignment,
    BarlowTwins,
    CollapseWarning,
    IsotropyCallback,
    MeanCosine,
    RegularizedLoss,
    Regularizer,
    SpreadOut,
    Uniformity,
    alignment,
    embedding_matrices,
    mean_cosine,
    regularize_embeddings,
    spread_out,
)

TEXTS = documentation_sentences(80)
PAIRS = {"sentence1": TEXTS[:32], "sentence2": TEXTS[32:64]}
SCORED = {**PAIRS, "score": [i / 31 for i in range(32)]}


def features_of(model, columns=("sentence1", "sentence2"), n=12):
    tokens = model.preprocess if hasattr(model, "preprocess") else model.tokenize
    return [tokens(PAIRS[column][:n]) for column in columns]


def embeddings_of(model, features):
    return [model(dict(f))["sentence_embedding"] for f in features]


LOSSES = {
    "cosent": lambda m: losses.CoSENTLoss(m),
    "negatives": lambda m: losses.MultipleNegativesRankingLoss(m),
    "cached": lambda m: losses.CachedMultipleNegativesRankingLoss(m, mini_batch_size=5),
    "matryoshka": lambda m: losses.MatryoshkaLoss(
        m, losses.MultipleNegativesRankingLoss(m), [16, 4]
    ),
    "cached matryoshka": lambda m: losses.MatryoshkaLoss(
        m, losses.CachedMultipleNegativesRankingLoss(m, mini_batch_size=5), [16, 4]
    ),
}


def gradients(model, terms):
    model.zero_grad()
    sum(terms.values()).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("columns", ["each", "together"])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_those_of_the_sum(model, name, columns):
    model.eval()  # no dropout, so that two passes compare
    features, labels = features_of(model), torch.linspace(0, 1, 12)
    both = RegularizedLoss(model, LOSSES[name](model), SpreadOut(), 0.7, columns=columns)
    terms = both([dict(f) for f in features], labels)
    assert set(terms) == {"base_loss", "regularizer"}
    found = gradients(model, terms)

    base = LOSSES[name](model)([dict(f) for f in features], labels)
    rows = embeddings_of(model, features)
    if columns == "together":
        rows = [torch.cat(rows)]
    term = 0.7 * torch.stack([spread_out(X) for X in rows]).mean()
    wanted = gradients(model, {"base": base, "term": term})
    assert terms["base_loss"].item() == pytest.approx(base.item(), rel=1e-5)
    assert terms["regularizer"].item() == pytest.approx(term.item(), rel=1e-4)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_as_it_was_afterwards(model, name):
    loss = LOSSES[name](model)
    inner = [dict(vars(m)) for m in loss.modules()]
    RegularizedLoss(model, loss, MeanCosine())(features_of(model), torch.linspace(0, 1, 12))
    for module, before in zip(loss.modules(), inner, strict=True):
        assert vars(module).get("calculate_loss") is before.get("calculate_loss")
    assert not model._forward_hooks


def test_three_columns_of_which_the_last_two_are_embedded_together(model):
    model.eval()
    features = [*features_of(model), features_of(model, ["sentence1"])[0]]
    loss = RegularizedLoss(model, losses.MultipleNegativesRankingLoss(model), MeanCosine())
    found = loss([dict(f) for f in features])["regularizer"]
    wanted = np.mean([mean_cosine(X).item() for X in embeddings_of(model, features)])
    assert found.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["negatives", "cached"])
def test_a_regularizer_of_two_views_takes_the_first_two_columns(model, name):
    model.eval()
    features = features_of(model)
    found = RegularizedLoss(model, LOSSES[name](model), Alignment())([dict(f) for f in features])
    wanted = alignment(*embeddings_of(model, features))
    assert found["regularizer"].item() == pytest.approx(wanted.item(), rel=1e-5)
    one = losses.CosineSimilarityLoss(model)
    with pytest.raises(ValueError, match="two views"):
        RegularizedLoss(model, _OneColumn(model, one), BarlowTwins())(features[:1])


class _OneColumn(nn.Module):
    """A loss of one column."""

    def __init__(self, model, other):
        super().__init__()
        self.model = model

    def forward(self, features, labels=None):
        return self.model(features[0])["sentence_embedding"].square().mean()


def test_a_loss_of_another_model_is_named(model):
    other = deepcopy(model)
    loss = RegularizedLoss(model, losses.CoSENTLoss(other), MeanCosine())
    with pytest.raises(RuntimeError, match="both must hold the same"):
        loss(features_of(model), torch.linspace(0, 1, 12))


def test_the_weight_rises_over_the_schedule(model):
    def value(loss, **options):
        terms = loss(features_of(model), torch.linspace(0, 1, 12))
        return terms["regularizer"].item() if "regularizer" in terms else 0.0

    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    full = value(RegularizedLoss(model, losses.CoSENTLoss(model), MeanCosine(), 2.0))
    step = 0
    rising = RegularizedLoss(model, losses.CoSENTLoss(model), MeanCosine(), 2.0, schedule=4)
    with pytest.raises(ValueError, match=r"follow\(trainer\)"):
        value(rising)
    rising.follow(lambda: step)
    for step, share in enumerate([0, 0.25, 0.5, 0.75, 1, 1]):  # noqa: B007
        assert value(rising) / full == pytest.approx(share, abs=5e-3)
    own = RegularizedLoss(
        model, losses.CoSENTLoss(model), MeanCosine(), 2.0, lambda step: 0.5**step
    )
    own.follow(lambda: step)
    assert value(own) / full == pytest.approx(0.5**5, abs=5e-3)
    model.eval()  # evaluation has the full weight, so that its figures compare
    assert value(own) == pytest.approx(full, rel=1e-4)
    with pytest.raises(TypeError, match="takes a trainer"):
        own.follow(3)


def test_losses_within_a_loss_follow_too(model):
    inner = RegularizedLoss(model, losses.CoSENTLoss(model), MeanCosine(), schedule=4)
    outer = RegularizedLoss(model, inner, SpreadOut(), schedule=2)
    outer.follow(lambda: 0)
    model.train()
    terms = outer(features_of(model), torch.linspace(0, 1, 12))
    assert list(terms) == ["base_loss", "regularizer", "regularizer_2"]
    assert terms["regularizer"] == terms["regularizer_2"] == 0


class Weights(MeanCosine):
    """Notes the weight that it has at each step, by a value of 1."""

    def measure(self, X):
        return 1 + 0 * X.sum()


def sentence_trainer(model, tmp_path, loss, watcher=None, **options):
    data = datasets.Dataset.from_dict(SCORED)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments(SentenceTransformerTrainingArguments, tmp_path, **options),
        train_dataset=data,
        eval_dataset=data,
        loss=loss,
        callbacks=[watcher] if watcher else [],
    )
    if isinstance(loss, RegularizedLoss):
        loss.follow(trainer)
    return trainer


def test_a_schedule_counts_steps_of_the_optimizer_and_goes_on_in_a_resumed_run(model, tmp_path):
    def run(resume=None, **options):
        loss = RegularizedLoss(model, losses.CoSENTLoss(model), Weights(), 1.0, schedule=8)
        watcher = Watcher()
        options = {"save_strategy": "steps", "save_steps": 2, "logging_steps": 1, **options}
        trainer = sentence_trainer(
            model,
            tmp_path,
            loss,
            watcher,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            **options,
        )
        trainer.train(resume_from_checkpoint=resume)
        trained = [log["regularizer"] for log in watcher.logs if "regularizer" in log]
        return trained, [log["eval_regularizer"] for log in watcher.logs if "eval_loss" in log]

    first, evaluated = run(max_steps=4, eval_steps=2)
    np.testing.assert_allclose(first, [0, 1 / 8, 2 / 8, 3 / 8], atol=1e-3)
    assert evaluated == [1, 1]  # the best checkpoint is no early one
    resumed, _ = run(str(tmp_path / "checkpoint-4"), max_steps=6)
    np.testing.assert_allclose(resumed, [4 / 8, 5 / 8], atol=1e-3)


@pytest.mark.parametrize("skipping", [False, True], ids=["", "budget spent"])
def test_the_best_model_is_chosen_by_a_figure_of_the_callback(model, tmp_path, skipping):
    trainer = sentence_trainer(
        model,
        tmp_path,
        losses.CoSENTLoss(model),
        max_steps=4,
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="isotropy_output_isoscore",
        greater_is_better=True,
    )
    callback = IsotropyCallback(trainer, TEXTS, budget=1e-9 if skipping else None)
    trainer.add_callback(callback)
    trainer.train()
    scored = {entry["step"]: entry["eval_isotropy_output_isoscore"] for entry in callback.history}
    assert trainer.state.best_metric == max(scored[2], scored[4])


def test_each_column_has_its_own_running_moments_and_evaluation_leaves_them(model):
    model.train()
    loss = RegularizedLoss(model, losses.CoSENTLoss(model), MeanCosine(momentum=0.9))
    loss(features_of(model), torch.linspace(0, 1, 12))
    first, second = (loss.regularizer._pasts[column].mean for column in (0, 1))
    assert not torch.equal(first, second)
    model.eval()
    loss(features_of(model), torch.linspace(0, 1, 12))
    assert loss.regularizer._pasts[0].mean is first


def test_wrong_arguments_are_named(model):
    base = losses.CoSENTLoss(model)
    for options, what in [
        ({"weight": float("nan")}, "weight must be"),
        ({"weight": "1"}, "weight must be"),
        ({"schedule": 0}, "schedule must be"),
        ({"schedule": 0.1}, "schedule must be"),
        ({"columns": "all"}, "columns must be"),
    ]:
        with pytest.raises(ValueError, match=what):
            RegularizedLoss(model, base, MeanCosine(), **options)
    with pytest.raises(TypeError, match="regularizer must be a module"):
        RegularizedLoss(model, base, mean_cosine)
    with pytest.raises(TypeError, match="loss must be"):
        RegularizedLoss(model, "cosent", MeanCosine())


class Watcher(TrainerCallback):
    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(dict(logs))


def arguments(kind, tmp_path, **options):
    defaults = {
        "output_dir": str(tmp_path),
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-4,
        "logging_steps": 2,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 0,
    }
    return kind(**{**defaults, **options})


@pytest.mark.parametrize("name", LOSSES)
def test_in_the_trainer_of_sentence_transformers(model, tmp_path, name):
    data = datasets.Dataset.from_dict(SCORED if name == "cosent" else PAIRS)
    loss = RegularizedLoss(model, LOSSES[name](model), MeanCosine(), 0.5, schedule=2)
    watcher = Watcher()
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments(SentenceTransformerTrainingArguments, tmp_path),
        train_dataset=data,
        eval_dataset=data,
        loss=loss,
        callbacks=[watcher],
    )
    loss.follow(trainer)
    trainer.add_callback(IsotropyCallback(trainer, TEXTS, layers=[0, "output"], budget=None))
    trainer.train()

    trained = [log for log in watcher.logs if "loss" in log]
    assert len(trained) == 3
    for log in trained[1:]:
        assert log["loss"] == pytest.approx(log["base_loss"] + log["regularizer"], abs=2e-3)
    evaluated = [log for log in watcher.logs if "eval_loss" in log]
    assert len(evaluated) == 2 and all("eval_regularizer" in log for log in evaluated)
    scored = [log for log in watcher.logs if "eval_isotropy_output_mean_cosine" in log]
    assert len(scored) == 3  # at the start, and at two evaluations
    assert {"eval_isotropy_layer_0_isoscore", "eval_isotropy_output_effective_rank"} <= set(
        scored[0]
    )
    with torch.no_grad():
        rows = model.encode(TEXTS)
    assert scored[-1]["eval_isotropy_output_mean_cosine"] == pytest.approx(
        score(rows, ["mean_cosine"])["mean_cosine"], abs=1e-5
    )
    model.save_pretrained(str(tmp_path / "saved"))
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "RegularizedLoss" in card and "MeanCosine(gather=False, momentum=None)" in card
    assert '"weight": 0.5' in card and '"schedule": 2' in card and "gao2019representation" in card
    assert "loss:RegularizedLoss" in card


def test_the_regularizer_does_its_work_in_the_trainer(encoder_path, tmp_path):
    after = []
    for weight in (0.0, 50.0):
        torch.manual_seed(0)
        encoder = SentenceTransformer(encoder_path, device="cpu")
        loss = RegularizedLoss(encoder, losses.CoSENTLoss(encoder), MeanCosine(), weight)
        trainer = SentenceTransformerTrainer(
            model=encoder,
            args=arguments(
                SentenceTransformerTrainingArguments,
                tmp_path,
                max_steps=12,
                learning_rate=1e-2,
                eval_strategy="no",
            ),
            train_dataset=datasets.Dataset.from_dict(SCORED),
            loss=loss,
        )
        trainer.train()
        after.append(score(encoder.encode(TEXTS), ["mean_cosine"])["mean_cosine"])
    assert after[1] < 0.8 * after[0]


# -- language models -----------------------------------------------------------------------------


def language_model(tied=True):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=60, n_positions=16, n_embd=32, n_layer=1, n_head=2, tie_word_embeddings=tied
    )
    made = GPT2LMHeadModel(config)
    with torch.no_grad():  # a cone
        made.get_input_embeddings().weight.add_(0.05)
    return made


def token_data(n=64):
    rng = np.random.default_rng(0)
    ids = rng.zipf(1.5, size=(n, 16)).clip(max=59).tolist()
    return datasets.Dataset.from_dict({"input_ids": ids, "labels": ids})


def lm_trainer(model, tmp_path, watcher=None, **options):
    data = token_data()
    return Trainer(
        model=model,
        args=arguments(TrainingArguments, tmp_path, **options),
        train_dataset=data,
        eval_dataset=data,
        callbacks=[watcher] if watcher else [],
    )


class Scaled(Regularizer):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(32))


def test_embedding_matrices_are_given_once():
    tied, apart = language_model(), language_model(tied=False)
    assert list(embedding_matrices(tied)) == ["embeddings"]
    assert list(embedding_matrices(tied, "input")) == ["input_embeddings"]
    assert list(embedding_matrices(apart)) == ["input_embeddings", "output_embeddings"]
    assert embedding_matrices(apart, "output")["output_embeddings"].shape == (60, 32)
    with pytest.raises(ValueError, match="no both embeddings"):
        embedding_matrices(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="embeddings must be"):
        embedding_matrices(tied, "tied")


@pytest.mark.parametrize("steps", [1, 4], ids="accumulating {}".format)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_one_step_adds_the_gradient_of_the_regularizer_once(tmp_path, tied, steps):
    """Against a plain run: with SGD the difference of the steps is the regularizer's own step."""
    moved = []
    for weight in (None, 0.3):
        model = language_model(tied)
        trainer = lm_trainer(
            model,
            tmp_path,
            max_steps=1,
            per_device_train_batch_size=8 // steps,
            gradient_accumulation_steps=steps,
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            eval_strategy="no",
        )
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if weight is not None:
            regularize_embeddings(trainer, MeanCosine(), weight)
        start = language_model(tied)
        trainer.train()
        moved.append({n: m.detach().clone() for n, m in embedding_matrices(model).items()})
    for name, matrix in embedding_matrices(start).items():
        (wanted,) = torch.autograd.grad(0.3 * mean_cosine(matrix), matrix)
        difference = moved[0][name] - moved[1][name]
        torch.testing.assert_close(difference, wanted, rtol=1e-3, atol=1e-6)


def test_a_language_model_in_the_trainer(tmp_path):
    after = {}
    for weight in (0.0, 5.0):
        model, watcher = language_model(), Watcher()
        trainer = lm_trainer(model, tmp_path, watcher, max_steps=40, learning_rate=3e-3)
        before = mean_cosine(model.get_input_embeddings().weight).item()
        regularize_embeddings(trainer, MeanCosine(), weight, schedule=5)
        trainer.add_callback(IsotropyCallback(trainer, budget=None))
        trainer.train()
        after[weight] = mean_cosine(model.get_input_embeddings().weight).item()
        trained = [log for log in watcher.logs if "loss" in log]
        assert all("regularizer" in log for log in trained)
        scored = [log for log in watcher.logs if "eval_isotropy_embeddings_mean_cosine" in log]
        assert scored[0]["eval_isotropy_embeddings_mean_cosine"] == pytest.approx(before, abs=1e-5)
        # Perplexity is the model's own.
        plain = lm_trainer(model, tmp_path).evaluate()["eval_loss"]
        assert trainer.evaluate()["eval_loss"] == pytest.approx(plain, rel=1e-6)
    assert after[5.0] < 0.5 * after[0.0]


def test_each_matrix_has_its_own_running_moments(tmp_path):
    model = language_model(tied=False)
    trainer = lm_trainer(model, tmp_path, max_steps=3, eval_strategy="no", learning_rate=0.0)
    regularizer = MeanCosine(momentum=0.9)
    regularize_embeddings(trainer, regularizer)
    trainer.train()
    for name, matrix in embedding_matrices(model).items():
        (wanted,) = torch.nn.functional.normalize(matrix.detach()).mean(0, keepdim=True)
        torch.testing.assert_close(regularizer._pasts[name].mean, wanted, rtol=1e-4, atol=1e-6)


def test_matrices_that_are_not_trained_are_named_or_left_out(tmp_path):
    model = language_model(tied=False)
    model.get_input_embeddings().weight.requires_grad_(False)
    trainer = lm_trainer(model, tmp_path, Watcher(), max_steps=1, eval_strategy="no")
    with pytest.raises(ValueError, match=r"input_embeddings.*would have no effect"):
        regularize_embeddings(trainer, MeanCosine(), embeddings="input")
    regularize_embeddings(trainer, MeanCosine())  # the output's alone
    wanted = mean_cosine(model.get_output_embeddings().weight).item()
    trainer.train()
    logged = [log["regularizer"] for log in trainer.state.log_history if "regularizer" in log]
    assert logged == [] or logged[0] == pytest.approx(wanted, abs=1e-5)
    model.get_output_embeddings().weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"not trained.*modules_to_save"):
        trainer.compute_loss(
            model.train(), {k: torch.ones(1, 4).long() for k in ("input_ids", "labels")}
        )


class Adapted(nn.Module):
    """As much of PEFT's LoRA of an embedding as is asked for."""

    merged = disable_adapters = False
    active_adapters = ("default",)

    def __init__(self, base, rank=2):
        super().__init__()
        self.base_layer, self.scaling = base.requires_grad_(False), {"default": 0.5}
        self.A = nn.Parameter(torch.randn(rank, base.weight.shape[1]))
        self.B = nn.Parameter(torch.randn(base.weight.shape[0], rank))

    @property
    def weight(self):
        return self.base_layer.weight

    def get_delta_weight(self, name):
        return self.B @ self.A * self.scaling[name]

    def forward(self, ids):
        return self.base_layer(ids) + 0.5 * self.B[ids] @ self.A


def test_embeddings_with_an_adapter_are_regularized_as_the_model_uses_them(tmp_path):
    model = language_model()
    model.requires_grad_(False)
    adapted = Adapted(model.get_input_embeddings())
    model.set_input_embeddings(adapted)
    matrix = embedding_matrices(model, "input")["input_embeddings"]
    torch.testing.assert_close(matrix[7], adapted(torch.tensor(7)))
    trainer = lm_trainer(model, tmp_path, max_steps=30, learning_rate=1e-2, eval_strategy="no")
    before = mean_cosine(matrix).item()
    regularize_embeddings(trainer, MeanCosine(), 20.0)
    trainer.train()
    assert mean_cosine(embedding_matrices(model, "input")["input_embeddings"]) < 0.5 * abs(before)
    adapted.active_adapters = ()
    assert embedding_matrices(model, "input")["input_embeddings"] is adapted.weight


@pytest.mark.parametrize("kind", ["target_modules", "modules_to_save", "trainable_token_indices"])
def test_embeddings_that_peft_trains(kind):
    peft = pytest.importorskip("peft")
    option = {
        "target_modules": {"target_modules": ["wte"]},
        "modules_to_save": {"target_modules": ["c_attn"], "modules_to_save": ["wte"]},
        "trainable_token_indices": {
            "target_modules": ["c_attn"],
            "trainable_token_indices": {"wte": [1, 2, 3]},
        },
    }[kind]
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, init_lora_weights=False, fan_in_fan_out=True, **option)
    model = peft.get_peft_model(language_model(tied=False), config)
    matrix = embedding_matrices(model, "input")["input_embeddings"]
    assert matrix.requires_grad
    ids = torch.arange(60)
    torch.testing.assert_close(matrix, model.get_input_embeddings()(ids))


def test_wrong_trainers_are_named(tmp_path):
    trainer = lm_trainer(language_model(), tmp_path)
    for wrong, why in [
        (Alignment(), "compares two views"),
        (BarlowTwins(), "compares two views"),
        (Uniformity(queue=9), "own past copies"),
        (Scaled(), "parameters of its own"),
    ]:
        with pytest.raises(ValueError, match=why):
            regularize_embeddings(trainer, wrong)
    with pytest.raises(TypeError, match="must be a module"):
        regularize_embeddings(trainer, mean_cosine)
    with pytest.raises(ValueError, match="gather"):
        regularize_embeddings(trainer, MeanCosine(gather=True))
    with pytest.raises(ValueError, match="weight must be"):
        regularize_embeddings(trainer, MeanCosine(), float("inf"))
    regularize_embeddings(trainer, MeanCosine())
    with pytest.raises(ValueError, match="already"):
        regularize_embeddings(trainer, MeanCosine())


# -- the callback --------------------------------------------------------------------------------


class State:
    is_world_process_zero = True
    global_step = 0


class Log:
    """As much of a trainer as the callback needs."""

    def __init__(self):
        self.logs = []

    def log(self, logs):
        self.logs.append(logs)


def test_named_matrices_and_metrics():
    log, state, model = Log(), State(), nn.Linear(8, 100)
    callback = IsotropyCallback(
        log,
        matrices={"rows": lambda m: m.weight},
        metrics=["stable_rank"],
        max_rows=50,
        budget=None,
    )
    callback.on_train_begin(None, state, None, model=model)
    state.global_step = 5
    callback.on_evaluate(None, state, None, model=nn.DataParallel(model))
    assert [list(entry) for entry in log.logs] == [["eval_isotropy_rows_stable_rank"]] * 2
    assert [entry["step"] for entry in callback.history] == [0, 5]
    # The same rows every time.
    assert len({entry["eval_isotropy_rows_stable_rank"] for entry in log.logs}) == 1
    state.is_world_process_zero, state.global_step = False, 6
    callback.on_evaluate(None, state, None, model=model)
    assert len(log.logs) == 2


@pytest.mark.parametrize("kind", ["cone", "line", "point", "nan"])
def test_collapse_is_warned_of_once(kind):
    log, state, model = Log(), State(), nn.Linear(16, 64)
    callback = IsotropyCallback(log, matrices={"rows": lambda m: m.weight}, budget=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_train_begin(None, state, None, model=model)
    with torch.no_grad():
        if kind == "cone":
            model.weight.add_(10)
        elif kind == "line":
            model.weight.copy_(torch.outer(torch.randn(64), torch.randn(16)))
        elif kind == "point":
            model.weight.copy_(torch.ones(16).expand(64, 16))
        else:
            model.weight[3, 4] = torch.nan
    state.global_step = 1
    with pytest.warns(CollapseWarning, match=r"rows collapses.*isotropy\.losses"):
        callback.on_evaluate(None, state, None, model=model)
    state.global_step = 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_evaluate(None, state, None, model=model)


def test_the_budget_is_kept(monkeypatch):
    from isotropy.losses import _callback

    log, state, model, clock = Log(), State(), nn.Linear(8, 30), [0.0]

    def take(m):
        clock[0] += 1.0  # each scoring takes a second
        return m.weight

    monkeypatch.setattr(_callback.time, "perf_counter", lambda: clock[0])
    callback = IsotropyCallback(log, matrices={"rows": take}, budget=0.02)
    clock[0] = 100.0
    callback.on_train_begin(None, state, None, model=model)
    for step in range(1, 61):
        clock[0] += 10.0
        state.global_step = step
        callback.on_evaluate(None, state, None, model=model)
    scored = len(log.logs) - 1  # the first is before training
    assert scored == 12  # of 600 s in steps 12 s


def test_wrong_arguments_of_the_callback_are_named():
    log = Log()
    with pytest.raises(TypeError, match="must be a trainer"):
        IsotropyCallback(["a text"])
    with pytest.raises(TypeError, match="one string"):
        IsotropyCallback(log, "a text")
    with pytest.raises(ValueError, match="two texts"):
        IsotropyCallback(log, ["a text"])
    with pytest.raises(ValueError, match="No metrics are called"):
        IsotropyCallback(log, metrics=["isotropicness"])
    with pytest.raises(ValueError, match="budget"):
        IsotropyCallback(log, budget=0)


def test_the_trainer_is_not_kept_alive():
    import gc
    import weakref

    log = Log()
    callback, reference = IsotropyCallback(log, matrices={}), weakref.ref(log)
    del log
    gc.collect()
    assert reference() is None and callback._trainer() is None


def test_a_regularizer_of_one_s_own(model):
    class MeanLength(Regularizer):
        """Rows as long as one."""

        def measure(self, X):
            return (X.norm(dim=1) - 1).square().mean()

    terms = RegularizedLoss(model, losses.CoSENTLoss(model), MeanLength())(
        features_of(model), torch.linspace(0, 1, 12)
    )
    rows = torch.cat(embeddings_of(model, features_of(model)))
    assert terms["regularizer"].item() == pytest.approx(MeanLength()(rows).item(), rel=1e-5)
    assert RegularizedLoss(model, losses.CoSENTLoss(model), MeanLength()).citation == ""
    assert "wang2020" in RegularizedLoss(model, losses.CoSENTLoss(model), Uniformity()).citation


def test_a_plain_bert_has_input_embeddings_alone():
    from transformers import BertModel

    tiny = BertModel(
        BertConfig(
            vocab_size=30,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
        )
    )
    assert list(embedding_matrices(tiny)) == ["input_embeddings"]
