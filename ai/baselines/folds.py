"""Time-ordered folds: models learn from what is before a month and are judged by the two months from it on.

usage: folds.py TRAIN.csv.gz ROWS.csv PROGRAM [--seeds N] [--since SECOND]

TRAIN.csv.gz is the file of transfers, ROWS.csv what `PROGRAM ai export` wrote of it, PROGRAM is `selfchain`. Both
rivals see the same rows: LightGBM with 63 leaves stops early on the last 20 % before the fold; ours does the same
inside `ai train`. The last month of train is the last that any fold looks at: valid is not read.
"""

import argparse
import calendar
import gzip
import json
import pathlib
import subprocess
import tempfile

import lightgbm
import numpy
import pandas
from sklearn.metrics import average_precision_score, roc_auc_score

FOLDS = [("2017-11", "2018-01"), ("2018-01", "2018-03"), ("2018-03", "2018-05")]
PLACES = ["file", "line", "time", "from", "to", "label"]


def second(month):
    year, number = map(int, month.split("-"))
    return calendar.timegm((year, number, 1, 0, 0, 0))


def rival(rows, since, begin, end, seed):
    columns = [column for column in rows.columns if column not in PLACES]
    past = rows[(rows.time >= since) & (rows.time < begin)]
    look = rows[(rows.time >= begin) & (rows.time < end)]
    cut = int(len(past) * 0.8)
    fit, stop = past.iloc[:cut], past.iloc[cut:]
    model = lightgbm.LGBMClassifier(
        n_estimators=2000, num_leaves=63, learning_rate=0.05, min_child_samples=50, subsample=0.8,
        subsample_freq=1, colsample_bytree=0.8, random_state=seed, n_jobs=1, verbose=-1,
    )
    model.fit(
        fit[columns], fit.label, eval_set=[(stop[columns], stop.label)], eval_metric="average_precision",
        callbacks=[lightgbm.early_stopping(50, first_metric_only=True, verbose=False)],
    )
    score = model.predict_proba(look[columns])[:, 1]
    return average_precision_score(look.label, score), roc_auc_score(look.label, score), len(look), look.label.mean()


def split(source, folder, begin, end):
    """The transfers before the fold and those of it, as two files."""
    paths = [folder / "before.csv", folder / "fold.csv"]
    with gzip.open(source, "rt") as lines, open(paths[0], "w") as before, open(paths[1], "w") as fold:
        head = next(lines)
        before.write(head)
        fold.write(head)
        for line in lines:
            time = int(line.split(",", 1)[0])
            if time < begin:
                before.write(line)
            elif time < end:
                fold.write(line)
    return paths


def ours(program, paths, since, seed, folder):
    model = folder / "model.safetensors"
    subprocess.run(
        [program, "ai", "train", "--input", paths[0], "--since", str(since), "--reports-after", "14", "--seed",
         str(seed), "--output", model],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    said = subprocess.run(
        [program, "ai", "eval", "--json", "--model", model, "--input", paths[1], "--history", paths[0]],
        check=True, capture_output=True, text=True,
    )
    figures = json.loads(said.stdout.splitlines()[-1])["evaluation"]
    return figures["average_precision"], figures["roc_auc"]


def told(pairs):
    values = numpy.array(pairs)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    return f"{mean[0]:.3f} ± {spread[0]:.3f} | {mean[1]:.3f} ± {spread[1]:.3f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("rows")
    parser.add_argument("program")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--since", type=int, default=1496275200)
    given = parser.parse_args()
    rows = pandas.read_csv(given.rows)
    rows = rows[rows.file == 0]
    print("| fold | rows | bad | ours: PR-AUC | ROC-AUC | LightGBM: PR-AUC | ROC-AUC |\n|---|---|---|---|---|---|---|")
    for begin, end in FOLDS:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            paths = split(given.train, folder, second(begin), second(end))
            seeds = range(1, given.seeds + 1)
            own = [ours(given.program, paths, given.since, seed, folder) for seed in seeds]
            rivals = [rival(rows, given.since, second(begin), second(end), seed) for seed in seeds]
        count, share = rivals[0][2:]
        print(f"| {begin} to {end} | {count} | {share:.3f} | {told(own)} | {told([one[:2] for one in rivals])} |", flush=True)


main()
