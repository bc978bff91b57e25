"""Every difference of a results table, and whether its benchmark can resolve it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from frcore.reporting.audit.resolution import ALPHA, independent, mcnemar

Effects = Mapping[tuple[str, str], float]
"""(benchmark, metric) -> design effect."""

GROUP = ["table", "backbone", "train_data", "benchmark", "metric"]
"""Rows that agree in these were made to be compared."""

TOO_SMALL = "too small"
OPEN = "open"
BEYOND = "beyond chance"

VERDICTS = {
    BEYOND: "significant even if the two models' errors are independent",
    OPEN: "depends on which trials each model got wrong, which the table does not say",
    TOO_SMALL: "not significant whichever trials they were",
}

COLUMNS = [*GROUP, "better", "worse", "value", "difference", "trials_apart", "trials", "people",
           "comparisons", "p_at_best", "p_independent", "p_people", "verdict"]  # fmt: skip


def differences(frame: pd.DataFrame, effects: Effects) -> pd.DataFrame:
    """The differences between all rows of one group, with `COLUMNS`.

    `BEYOND` takes the errors as independent, the design effect where one is known, and all
    differences of the group together (Bonferroni). `TOO_SMALL` takes what favours the ranking most:
    all errors in common, independent trials, one comparison. Either holds for every pair of counts
    that is printed like this one.

    Args:
        frame: columns of `GROUP`, `method`, `value` in percent, `trials` and `people`.
        effects: the design effects that are known; 1 for others.
    """
    ordered = frame.sort_values("value", ascending=False, kind="stable")
    ordered["errors"] = ((1 - ordered["value"] / 100) * ordered["trials"]).round()
    ordered["place"], ordered["slack"] = range(len(ordered)), _rounding(ordered)
    found = ordered.merge(ordered[[*GROUP, "method", "value", "errors", "place"]], on=GROUP,
                          suffixes=("", "_of_worse"))  # fmt: skip
    found = found[found["place"] < found["place_of_worse"]].reset_index(drop=True)
    found = found.rename(columns={"method": "better", "method_of_worse": "worse"})
    errors, others, trials = (found[name] for name in ("errors", "errors_of_worse", "trials"))
    apart, discordant = others - errors, independent(errors, others, trials)
    most, least = apart + found["slack"], (apart - found["slack"]).clip(lower=0)
    keys = zip(found["benchmark"], found["metric"], strict=True)
    effect = pd.Series([effects.get(key, 1.0) for key in keys], dtype=float)
    clusters = (trials / found["people"]).clip(lower=effect)
    found = found.assign(
        difference=(found["value"] - found["value_of_worse"]).round(4),
        trials_apart=apart.astype(int),
        comparisons=found.groupby(GROUP)["place"].transform("size"),
        p_at_best=mcnemar(most, most),
        p_independent=mcnemar(least / effect, discordant / effect),
        p_people=mcnemar(least / clusters, discordant / clusters),
        verdict=OPEN,
    )
    found.loc[found["p_at_best"] > ALPHA, "verdict"] = TOO_SMALL
    found.loc[found["p_independent"] * found["comparisons"] <= ALPHA, "verdict"] = BEYOND
    return found.sort_values(["benchmark", "metric"], kind="stable")[COLUMNS]


def _rounding(frame: pd.DataFrame) -> pd.Series:
    """By how many trials a difference may be off, as the values of its group are rounded."""
    digits = frame["value"].map(lambda value: len(f"{value:.4f}".rstrip("0").partition(".")[2]))
    unit = 0.1 ** digits.groupby([frame[name] for name in GROUP]).transform("max")
    return 2 * (unit / 200 * frame["trials"] + 0.5).floordiv(1)
