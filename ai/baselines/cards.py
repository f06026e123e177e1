"""Our trees on card payments: eight points are compared inside the training month, the best is judged on valid.

usage: cards.py PROGRAM TRAIN.csv.gz VALID.csv.gz OUT.json [--forests N] [--runs N]

PROGRAM is `selfchain`. The points are compared on the last six days of TRAIN by the PR-AUC of three forests that
learnt from the days before: no row of VALID is read for the choice. Then the best one learns from all of TRAIN, in
`--runs` runs of other seeds, with one forest and with the mean of `--forests`, and VALID is looked at once a run.
OUT.json gains the key `ours`.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy

# 2018-07-19, after 24 of 30 days.
CUT = 1531958400
FIXED = ["--reports-after", "7", "--only-reported", "--trees", "2000", "--thresholds", "255"]
POINTS = [
    dict(rate=0.05, ridge=1, feature_share=0.8, row_share=0.8),
    dict(rate=0.05, ridge=3, feature_share=0.8, row_share=0.8),
    dict(rate=0.05, ridge=0.3, feature_share=0.8, row_share=0.8),
    dict(rate=0.03, ridge=1, feature_share=0.8, row_share=0.8),
    dict(rate=0.1, ridge=1, feature_share=0.8, row_share=0.8),
    dict(rate=0.05, ridge=1, feature_share=0.5, row_share=0.8),
    dict(rate=0.05, ridge=1, feature_share=0.8, row_share=1),
    dict(rate=0.05, ridge=0.3, feature_share=0.5, row_share=1),
]


def said(program, *words):
    done = subprocess.run([program, "ai", *map(str, words)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(program, point, model, *words):
    flags = [word for key, value in point.items() for word in ("--" + key.replace("_", "-"), value)]
    return said(program, "train", "--json", "--output", model, *FIXED, *flags, *words)


def judge(program, model, *words):
    figures = said(program, "eval", "--json", "--model", model, "--reports-after", 7, *words)["evaluation"]
    names = {"pr_auc": "average_precision", "roc_auc": "roc_auc", "recall_at_1pct_fpr": "recall_at_percent"}
    return {name: figures[key] for name, key in names.items()}


def told(runs):
    return {
        key: {"mean": float(numpy.mean([one[key] for one in runs])), "std": float(numpy.std([one[key] for one in runs]))}
        for key in runs[0]
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("out")
    parser.add_argument("--forests", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    model = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"

    began, searched = time.time(), []
    for point in POINTS:
        train(given.program, point, model, "--input", given.train, "--until", CUT, "--forests", 3)
        figures = judge(given.program, model, "--input", given.train, "--since", CUT)
        searched.append({**point, "cut_pr_auc": figures["pr_auc"]})
        print(searched[-1], flush=True)
    best = max(range(len(POINTS)), key=lambda at: searched[at]["cut_pr_auc"])
    ours = {"searched": searched, "best": POINTS[best], "runs": given.runs, "forests": given.forests}
    for name, forests in [("one_forest", 1), ("forests_mean", given.forests)]:
        runs = []
        for run in range(given.runs):
            train(given.program, POINTS[best], model, "--input", given.train, "--forests", forests, "--seed", 1 + run * forests)
            runs.append(judge(given.program, model, "--input", given.valid, "--history", given.train))
            print(name, runs[-1], flush=True)
        ours[name] = told(runs)
    ours["seconds"] = time.time() - began
    out = pathlib.Path(given.out)
    record = json.loads(out.read_text()) if out.exists() else {}
    out.write_text(json.dumps({**record, "ours": ours}, indent=1) + "\n")


main()
