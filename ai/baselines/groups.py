"""What each group of features adds: LightGBM on rows that `selfchain ai export` wrote.

usage: groups.py ROWS.csv FOLD [TIME_MIN]
FOLD: `inner` fits on the first 80 % of train and looks at the rest; `valid` fits there, stops early on the
rest of train, and looks at valid once.
"""

import sys

import lightgbm
import numpy
import pandas
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

GROUPS = [
    ("amount", ["amount", "digits"]),
    ("time", ["from_gap_out", "from_gap_in", "to_gap_in", "to_gap_out", "from_age", "to_age"]),
    ("velocity", ["from_out_hour", "from_out_day", "from_out_week", "to_in_hour", "to_in_day", "to_in_week"]),
    ("volume", ["from_count_out", "from_count_in", "to_count_in", "to_count_out", "to_sum_in", "to_mean_in", "to_spread_in"]),
    ("flow", ["drain", "from_flow", "to_flow"]),
    ("deviation", ["from_deviation", "from_max", "to_deviation", "to_max", "to_repeat"]),
    ("graph", ["from_fan_out", "from_fan_in", "to_fan_in", "to_fan_out", "pair", "to_young"]),
    ("reports", ["from_reports", "to_reports", "to_report_share", "from_met", "to_met"]),
]


def main():
    rows = pandas.read_csv(sys.argv[1])
    train, valid = rows[rows.file == 0], rows[rows.file == 1]
    if len(sys.argv) > 3:
        train = train[train.time >= int(sys.argv[3])]
    cut = int(len(train) * 0.8)
    fit, stop = train.iloc[:cut], train.iloc[cut:]
    look = stop if sys.argv[2] == "inner" else valid
    if sys.argv[2] == "inner":
        cut = int(len(fit) * 0.8)
        fit, stop = fit.iloc[:cut], fit.iloc[cut:]
    columns = []
    print(f"| groups up to | features | PR-AUC | ROC-AUC | recall at 1 % FPR | trees |\n|---|---|---|---|---|---|")
    for name, group in GROUPS if "--all" not in sys.argv else GROUPS[-1:]:
        columns += group
        if "--all" in sys.argv:
            columns = [column for _, group in GROUPS for column in group]
        model = lightgbm.LGBMClassifier(
            n_estimators=400, num_leaves=63, learning_rate=0.05, min_child_samples=50,
            subsample=0.8, subsample_freq=1, colsample_bytree=0.8, random_state=1, n_jobs=1, verbose=-1,
        )
        model.fit(
            fit[columns], fit.label, eval_set=[(stop[columns], stop.label)], eval_metric="average_precision",
            callbacks=[lightgbm.early_stopping(30, first_metric_only=True, verbose=False)],
        )
        score = model.predict_proba(look[columns])[:, 1]
        rate, recall, _ = roc_curve(look.label, score)
        print(
            f"| {name} | {len(columns)} | {average_precision_score(look.label, score):.3f} | "
            f"{roc_auc_score(look.label, score):.3f} | {numpy.interp(0.01, rate, recall):.3f} | "
            f"{model.best_iteration_} |", flush=True,
        )


main()
