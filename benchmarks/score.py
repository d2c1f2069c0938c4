"""How long does it take to score rows with every metric that moments give, against a fit?"""

from _common import arguments, cone, parser, ratios, report, timed

from isotropy import Whitening, score
from isotropy.metrics import METRICS

chosen = arguments(parser(__doc__, rows=130_000, dims=768, repeats=7))
X = cone(chosen.rows, chosen.dims)
by_moments = [name for name, metric in METRICS.items() if metric.needs == "moments"]
with_gram = [name for name, metric in METRICS.items() if metric.needs != "rows"]
tasks = {
    "bare X.T @ X": lambda: X.T @ X,
    "Whitening fit": lambda: Whitening().fit(X),
    f"score, {len(by_moments)} metrics of moments": lambda: score(X, by_moments),
    f"score, {len(with_gram)} with the unit Gram matrix": lambda: score(X, with_gram),
}
title = f"Scoring, float32, {chosen.rows:,} x {chosen.dims}, against a fit"
rows = ratios(timed(tasks, chosen.repeats), "Whitening fit")
report("score", title, rows, write=not chosen.quick)
