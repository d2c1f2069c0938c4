"""What the losses cost, beside their plain forms (isotropy[train] and the package IsoScore)."""

import argparse
import ctypes
import gc
import multiprocessing
from functools import partial

import numpy as np
import torch
from _common import cone, ratios, report, timed
from IsoScore.IsoScore import IsoScore_star as package_isoscore_star
from sentence_transformers.sentence_transformer.losses import GlobalOrthogonalRegularizationLoss

from isotropy.losses import isoscore_star, mean_cosine, spread_out, uniformity

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--quick", action="store_true", help="fewer rows; writes no file")
QUICK = options.parse_args().quick
MATRIX = (25_000 if QUICK else 250_000, 768)
BATCH = (1024 if QUICK else 8192, 768)
REPEATS = 2 if QUICK else 7


def rows(n, d):
    return torch.from_numpy(cone(n, d))


def forward_backward(function, X):
    def run():
        X.grad = None
        function(X).backward()

    return run


def pairs(X):
    """The mean cosine from the n x n matrix."""
    U = torch.nn.functional.normalize(X, dim=1)
    cosines = U @ U.T
    return (cosines.sum() - cosines.diagonal().sum()) / (len(X) * (len(X) - 1))


def sentence_transformers_gor(X):
    loss = GlobalOrthogonalRegularizationLoss(None)
    return sum(loss.compute_gor(X))


def svd_isoscore_star(X, zeta=0.2):
    """As the package computes it, on the rows themselves so that gradients reach them."""
    d = torch.tensor(float(X.shape[1]))
    C = torch.cov(X.T)
    C = (1 - zeta) * C + zeta * C.diagonal().mean() * torch.eye(X.shape[1])
    values = torch.linalg.svdvals(C)
    values = values * d.sqrt() / torch.linalg.vector_norm(values)
    defect = torch.linalg.vector_norm(values - 1) / (2 * (d - d.sqrt())).sqrt()
    return ((d - defect**2 * (d - d.sqrt())) ** 2 - d) / (d * (d - 1))


def resident(field):
    """A field of this process's memory in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def peak(name, shape, queue):
    """Memory beyond the rows that forward and backward take, over that of the rows."""
    X = rows(*shape).requires_grad_()
    function = FORMS[name]
    function(X[:64]).backward()  # what libraries hold once
    X.grad = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # so that nothing held in reserve is used unseen
    with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")  # the peak counts from here
    before = resident("VmRSS")
    function(X).backward()
    queue.put((resident("VmHWM") - before) / (X.numel() * X.element_size()))


FORMS = {
    "mean_cosine": mean_cosine,
    "mean cosine from n x n": pairs,
    "spread_out": spread_out,
    "GlobalOrthogonalRegularizationLoss": sentence_transformers_gor,
    "uniformity": uniformity,
}


def memory(name, shape):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=peak, args=(name, shape, queue))
    process.start()
    found = queue.get(timeout=600)
    process.join()
    return f"{found:.2f} x"


def main():
    X = rows(*MATRIX).requires_grad_()
    plain, into = X.detach(), torch.empty(MATRIX)
    seconds = timed(
        {
            "one elementwise pass (x * 2)": lambda: plain * 2,
            "the same into held memory": partial(torch.mul, plain, 2, out=into),
            "mean_cosine, forward": lambda: mean_cosine(plain),
            "mean_cosine, forward and backward": forward_backward(mean_cosine, X),
        },
        REPEATS,
    )
    table = ratios(seconds, "one elementwise pass (x * 2)")
    table[-1]["memory beyond the matrix"] = memory("mean_cosine", MATRIX)
    title = f"Cosine regularizer on {MATRIX[0]:,} x {MATRIX[1]}, float32"
    report("losses_cosine", title, table, write=not QUICK)
    del X, plain, into, seconds

    X = rows(*BATCH).requires_grad_()
    names = [name for name in FORMS if name != "uniformity"]
    seconds = timed({name: forward_backward(FORMS[name], X) for name in names}, REPEATS)
    table = ratios(seconds, "mean_cosine")
    for row in table:
        row["value"] = round(FORMS[row["what"]](X.detach()).item(), 6)
        row["memory beyond the batch"] = memory(row["what"], BATCH)
    title = f"Forward and backward on a batch of {BATCH[0]:,} x {BATCH[1]}"
    report("losses_batch", title, table, write=not QUICK)

    X = rows(512, 768).requires_grad_()
    plain, prior = X.detach(), torch.eye(768) * torch.cov(X.detach().T).diagonal().mean()
    package = lambda: package_isoscore_star(plain, prior, 0.2)  # noqa: E731
    forward = timed(
        {
            "isoscore_star": lambda: isoscore_star(plain),
            "package IsoScore": package,
            "the same by SVD": lambda: svd_isoscore_star(plain),
        },
        10,
    )
    both = timed(
        {
            "isoscore_star": forward_backward(isoscore_star, X),
            "the same by SVD": forward_backward(svd_isoscore_star, X),
        },
        10,
    )
    table = []
    values = {
        "isoscore_star": isoscore_star(plain).item(),
        "package IsoScore": float(package()),
        "the same by SVD": svd_isoscore_star(plain).item(),
    }
    reference = svd_isoscore_star(plain.double()).item()
    for name in forward:
        row = {"what": name, "value": f"{values[name]:.8f}"}
        row["off float64"] = f"{abs(values[name] - reference):.1e}"
        for label, seconds in (("forward", forward), ("forward and backward", both)):
            if name in seconds:
                spent = np.median(seconds[name])
                row[f"{label} ms"] = round(1000 * float(spent), 2)
                ratio = spent / np.median(seconds["isoscore_star"])
                row[f"{label}, ratio"] = round(float(ratio), 1)
        row["gradient reaches the rows"] = _reached(name, X)
        table.append(row)
    report("losses_isoscore", "IsoScore* of 512 x 768", table, write=not QUICK)


def _reached(name, X):
    if name == "package IsoScore":
        return bool(package_isoscore_star(X, torch.eye(768), 0.2).requires_grad)
    return True


if __name__ == "__main__":
    main()
