//! Temporary.
use selfchain_ai::dataset::Dataset;
use selfchain_ai::features::*;
use selfchain_ai::model::Predict;
use selfchain_ai::trees::*;
fn load(path: &str) -> [Dataset; 2] {
    let mut sets = [Dataset::default(), Dataset::default()];
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |n: &str| header.iter().position(|c| c == n).unwrap();
    let first = header.iter().position(|c| c == "amount").unwrap();
    let (tb, fb) = (
        header.iter().position(|c| c == "to_bad"),
        header.iter().position(|c| c == "from_bad"),
    );
    let label = at("label");
    for record in reader.records() {
        let r = record.unwrap();
        let row = Row(core::array::from_fn(|k| r[first + k].parse().unwrap()));
        let time: u64 = r[at("time")].parse().unwrap();
        let to: u128 = r[at("to")].parse().unwrap();
        let from: u128 = r[at("from")].parse().unwrap();
        let culprit = if tb.is_some_and(|c| &r[c] == "1") {
            to + 1
        } else if fb.is_some_and(|c| &r[c] == "1") {
            from + 1
        } else {
            0
        };
        let file: usize = r[0].parse().unwrap();
        if file == 0 && time < std::env::var("SINCE").map_or(0, |s| s.parse().unwrap()) {
            continue;
        }
        sets[file].push(row, &r[label] == "1", time, culprit);
    }
    sets
}
fn ap(s: &[i32], l: &[bool]) -> (f64, f64) {
    let mut o: Vec<usize> = (0..s.len()).collect();
    o.sort_by_key(|i| -s[*i]);
    let p = l.iter().filter(|x| **x).count() as f64;
    let (mut tp, mut n, mut sum, mut prev) = (0.0, 0.0, 0.0, 0.0);
    let mut i = 0;
    let (mut auc, mut fp) = (0.0, 0.0);
    while i < o.len() {
        let mut j = i;
        let (mut dp, mut dn) = (0.0, 0.0);
        while j < o.len() && s[o[j]] == s[o[i]] {
            if l[o[j]] {
                dp += 1.0
            } else {
                dn += 1.0
            }
            j += 1;
        }
        auc += dn * (tp + dp / 2.0);
        tp += dp;
        fp += dn;
        n += dp + dn;
        sum += (tp / p - prev) * tp / n;
        prev = tp / p;
        i = j;
    }
    (sum, auc / (p * fp))
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [train_set, valid] = load(&args[1]);
    let mut o = TreeOptions::default();
    for pair in &args[2..] {
        let (k, v) = pair.split_once('=').unwrap();
        match k {
            "rate" => o.rate = v.parse().unwrap(),
            "ridge" => o.ridge = v.parse().unwrap(),
            "rows" => o.row_share = v.parse().unwrap(),
            "feat" => o.feature_share = v.parse().unwrap(),
            "thr" => o.thresholds = v.parse().unwrap(),
            "trees" => o.trees = v.parse().unwrap(),
            "pat" => o.patience = v.parse().unwrap(),
            "seed" => o.seed = v.parse().unwrap(),
            _ => panic!(),
        }
    }
    let (fit, late) = train_set.split(0.8);
    let stop = if std::env::var("KNOWN").is_ok() {
        late
    } else {
        late.without_known_culprits(&fit)
    };
    let t = std::time::Instant::now();
    let m = train(&fit, Some(&stop), &o, &mut |_| ()).unwrap();
    let eval = |m: &Symmetric, d: &Dataset| {
        let mut s = Vec::new();
        m.log_odds(&d.rows, &[], &mut s);
        let s: Vec<i32> = s.iter().map(|x| x.0).collect();
        ap(&s, &d.labels)
    };
    let (a, b) = (eval(&m, &stop), eval(&m, &valid));
    println!(
        "{:?} trees {} {:.1}s stop AP {:.4} AUC {:.4}  valid AP {:.4} AUC {:.4}",
        args[2..].join(" "),
        m.trees().len(),
        t.elapsed().as_secs_f64(),
        a.0,
        a.1,
        b.0,
        b.1
    );
    let whole = TreeOptions {
        trees: m.trees().len(),
        ..o
    };
    let m2 = train(&train_set, None, &whole, &mut |_| ()).unwrap();
    let b = eval(&m2, &valid);
    println!(
        "   refit: valid AP {:.4} AUC {:.4} ({:.1}s)",
        b.0,
        b.1,
        t.elapsed().as_secs_f64()
    );
    let t = std::time::Instant::now();
    for _ in 0..5 {
        eval(&m2, &valid);
    }
    let mut s = Vec::new();
    let t2 = std::time::Instant::now();
    for _ in 0..5 {
        s.clear();
        m2.log_odds(&valid.rows, &[], &mut s);
    }
    println!(
        "   {:.0} ns a row",
        t2.elapsed().as_nanos() as f64 / 5.0 / valid.len() as f64
    );
    let _ = t;
}
