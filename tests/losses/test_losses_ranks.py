"""Two processes with half of the rows each: value and gradient of one process with all rows."""

import os
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("torch was built without distributed", allow_module_level=True)

PROGRAM = """
import datetime, sys
import torch
from torch import distributed as dist
from isotropy import losses
from isotropy.tables import LOSSES

rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group(
    "gloo", f"file://{file}", datetime.timedelta(seconds=60), world_size=2, rank=rank
)
torch.manual_seed(0)
rows, other = torch.randn(2, 13, 6, dtype=torch.float64)
own = slice(0, 5) if rank == 0 else slice(5, 13)  # of unequal sizes
model = torch.nn.Linear(6, 4).double()
wrapped = torch.nn.parallel.DistributedDataParallel(model)
worst = {}
for name, kind in LOSSES.items():
    views = kind.n_views
    options = [{}]
    if issubclass(kind, losses.MomentRegularizer):
        options.append({"momentum": 0.7})
    if issubclass(kind, losses.RowRegularizer):
        options.append({"queue": 9})
    for option in options:
        alone, parallel = kind(**option), kind(gather=True, **option)
        for step in range(3):  # the past takes part from the second on
            X, Y = rows + step, other - step
            ids = {"ids": torch.arange(13) + 4 * step} if "queue" in option else {}
            own_ids = {name: numbers[own] for name, numbers in ids.items()}
            value = parallel(*[wrapped(V[own]) for V in (X, Y)[:views]], **own_ids)
            model.zero_grad()
            value.backward()
            found = [p.grad.clone() for p in model.parameters()]
            wanted_value = alone(*[model(V) for V in (X, Y)[:views]], **ids)
            wanted = torch.autograd.grad(wanted_value, list(model.parameters()))
            away = [abs(value.item() - wanted_value.item())]
            away += [(f - w).abs().max().item() for f, w in zip(found, wanted)]
            worst[f"{name} {option} {step}"] = max(away)
assert len(worst) > 60, len(worst)
bad = {name: value for name, value in worst.items() if not value < 1e-10}
# A rank without rows takes part too.
empty = losses.MeanCosine(gather=True)(rows if rank == 0 else rows[:0])
assert abs(empty.item() - losses.mean_cosine(rows).item()) < 1e-12
dist.destroy_process_group()
assert not bad, bad
"""


def test_two_processes_give_what_one_gives(tmp_path):
    program = tmp_path / "rank.py"
    program.write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(program), str(rank), str(tmp_path / "store")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [rank.communicate(timeout=120)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)


def test_without_a_process_group_rows_are_taken_as_they_are():
    from isotropy import losses

    X = torch.randn(9, 4)
    assert losses.MeanCosine(gather=True)(X) == losses.MeanCosine()(X)
