"""The rivals on the very rows that `selfchain ai export` writes: LightGBM after a search of 20 points, logistic
regression, an isolation forest, and one rule.

usage: baselines.py ROWS.csv OUT.json [--since SECOND] [--seeds N] [--points N]

ROWS.csv holds two files: 0 is train, 1 is valid. Everything is chosen on train: its last 20 % in time tells when
LightGBM stops and which point of the search is best; valid is looked at once, by the best point, once a seed.
"""

import argparse
import json
import random
import time

import lightgbm
import numpy
import pandas
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.preprocessing import StandardScaler

PLACES = ["file", "line", "time", "from", "to", "label"]


def figures(label, score):
    rate, recall, _ = roc_curve(label, score)
    return {
        "pr_auc": float(average_precision_score(label, score)),
        "roc_auc": float(roc_auc_score(label, score)),
        "recall_at_1pct_fpr": float(numpy.interp(0.01, rate, recall)),
    }


def points(count):
    """The first is what the issue names, the others are drawn around it."""
    draw = random.Random(1)
    yield dict(num_leaves=63, learning_rate=0.05, min_child_samples=50, subsample=0.8, colsample_bytree=0.8, reg_lambda=0.0)
    for _ in range(count - 1):
        yield dict(
            num_leaves=draw.choice([31, 63, 63, 127]),
            learning_rate=draw.choice([0.02, 0.03, 0.05, 0.08]),
            min_child_samples=draw.choice([10, 20, 50, 100, 200]),
            subsample=draw.choice([0.6, 0.8, 1.0]),
            colsample_bytree=draw.choice([0.5, 0.65, 0.8, 1.0]),
            reg_lambda=draw.choice([0.0, 1.0, 5.0, 20.0]),
        )


def boosted(fit, stop, columns, point, seed):
    model = lightgbm.LGBMClassifier(
        n_estimators=2000, subsample_freq=1, random_state=seed, n_jobs=1, verbose=-1, **point
    )
    return model.fit(
        fit[columns], fit.label, eval_set=[(stop[columns], stop.label)], eval_metric="average_precision",
        callbacks=[lightgbm.early_stopping(50, first_metric_only=True, verbose=False)],
    )


def score(model, rows, columns):
    return model.predict_proba(rows[columns])[:, 1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("out")
    parser.add_argument("--since", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=20)
    given = parser.parse_args()
    rows = pandas.read_csv(given.rows)
    columns = [column for column in rows.columns if column not in PLACES]
    train, valid = rows[(rows.file == 0) & (rows.time >= given.since)], rows[rows.file == 1]
    cut = int(len(train) * 0.8)
    fit, stop = train.iloc[:cut], train.iloc[cut:]
    out = {"rows": given.rows.split("/")[-1], "fit": len(fit), "stop": len(stop), "valid": len(valid)}

    began, searched = time.time(), []
    for point in points(given.points):
        model = boosted(fit, stop, columns, point, 1)
        on_stop = figures(stop.label, score(model, stop, columns))["pr_auc"]
        searched.append((on_stop, model.best_iteration_, point))
        print(f"{on_stop:.4f} {model.best_iteration_} {point}", flush=True)
    best = max(searched, key=lambda one: one[0])
    out["lightgbm_best"] = {"stop_pr_auc": best[0], "trees": best[1], **best[2]}
    out["lightgbm_named"] = {}
    for name, point in [("lightgbm", best[2]), ("lightgbm_named", searched[0][2])]:
        seeds = [
            figures(valid.label, score(boosted(fit, stop, columns, point, seed), valid, columns))
            for seed in range(1, given.seeds + 1)
        ]
        out[name] = {
            key: {"mean": float(numpy.mean([one[key] for one in seeds])), "std": float(numpy.std([one[key] for one in seeds]))}
            for key in seeds[0]
        }
    out["lightgbm_seconds"] = time.time() - began

    scale = StandardScaler().fit(fit[columns])
    plain = LogisticRegression(max_iter=300, C=0.1).fit(scale.transform(fit[columns]), fit.label)
    out["logistic_regression"] = figures(valid.label, plain.predict_proba(scale.transform(valid[columns]))[:, 1])
    forest = IsolationForest(random_state=1, n_jobs=1).fit(fit[columns])
    out["isolation_forest"] = figures(valid.label, -forest.score_samples(valid[columns]))
    out["rule_young_receiver"] = figures(valid.label, valid.to_age)
    print(json.dumps(out, indent=1))
    with open(given.out, "w") as file:
        json.dump(out, file, indent=1)


main()
