//! `halfwarp bench`.

use super::harness::{Folder, run, run_args};

#[test]
fn the_table_has_llama_benchs_columns_and_a_row_per_test() {
    let table = run("bench -p 8,16 -n 4 --pg 8,4 -d 0,32 -r 2 -t 1").ok();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|l| l.starts_with('|'))
        .map(|l| l.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows[0], ["model", "size", "params", "backend", "threads", "test", "t/s", "GB/s", "of read"]);
    let tests: Vec<&str> = rows[2..].iter().map(|row| row[5]).collect();
    let expected = ["pp8", "pp8 @ d32", "pp16", "pp16 @ d32", "tg4", "tg4 @ d32", "pp8+tg4", "pp8+tg4 @ d32"];
    assert_eq!(tests, expected);
    for row in &rows[2..] {
        let (mean, deviation) = row[6].split_once(" ± ").expect("mean and deviation");
        assert!(mean.parse::<f64>().unwrap() > 0.0 && deviation.parse::<f64>().unwrap() >= 0.0);
        assert_eq!(row[7].is_empty(), row[5].starts_with("pp"), "bytes per second are decoding's: {row:?}");
    }
}

#[test]
fn json_is_an_array_with_llama_benchs_fields_that_agree() {
    let json = run("bench -p 8 -n 4 -r 3 -t 1,2 -o json").json();
    let records = json.as_array().unwrap();
    assert_eq!(records.len(), 4);
    for record in records {
        let number = |name: &str| record[name].as_f64().unwrap_or_else(|| panic!("{name} in {record}"));
        let list = |name: &str| -> Vec<f64> {
            record[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let n_tokens = number("n_prompt") + number("n_gen");
        let (ns, ts) = (list("samples_ns"), list("samples_ts"));
        assert_eq!((ns.len(), ts.len()), (3, 3));
        for (ns, ts) in ns.iter().zip(&ts) {
            assert!((ts * ns / 1e9 / n_tokens - 1.0).abs() < 1e-3, "{record}");
        }
        assert!((number("avg_ts") - ts.iter().sum::<f64>() / 3.0).abs() < 1e-6);
        assert_eq!(number("model_n_params"), 5_918_720.0);
        assert_eq!(number("n_depth"), 0.0);
        assert_eq!(record["avg_gb_s"].is_null(), number("n_gen") == 0.0);
        for name in ["build_commit", "cpu_info", "backends", "model_filename", "model_type", "test_time"] {
            assert!(record[name].is_string(), "{name}");
        }
        for name in ["model_size", "n_threads", "avg_ns", "stddev_ns", "stddev_ts", "read_gb_s"] {
            assert!(record[name].is_number(), "{name}");
        }
    }
}

#[test]
fn csv_and_jsonl_hold_the_same_records() {
    let csv = run("bench -p 8 -n 4 -r 1 -t 1 -o csv").ok();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().unwrap().clone();
    assert!(names.iter().any(|n| n == "avg_ts") && names.iter().all(|n| n != "samples_ts"));
    assert_eq!(reader.records().map(|r| assert_eq!(r.unwrap().len(), names.len())).count(), 2);
    let lines = run("bench -p 8 -n 4 -r 1 -t 1 -o jsonl").ok();
    let tests: Vec<(u64, u64)> = lines
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
        .map(|v| (v["n_prompt"].as_u64().unwrap(), v["n_gen"].as_u64().unwrap()))
        .collect();
    assert_eq!(tests, [(8, 0), (0, 4)]);
}

#[test]
fn a_shape_is_measured_without_a_download() {
    let record = &run("bench --random 2x4x64 -p 0 -n 3 -r 1 -o json").json()[0];
    let (v, n, c, l) = (50257u64, 1024, 64, 2);
    let n_params = v * c + n * c + l * (12 * c * c + 13 * c) + 2 * c;
    assert_eq!(record["model_n_params"], n_params);
    assert_eq!(record["model_filename"], "2x4x64 (random)");
}

#[test]
fn a_plot_is_drawn_over_several_depths() {
    let folder = Folder::new("bench-plot");
    let file = folder.file("speed.svg");
    let path = file.to_str().unwrap();
    run_args(["bench", "-p", "0", "-n", "2", "-r", "1", "-d", "0,40,80", "--plot", path]).ok();
    let svg = std::fs::read_to_string(&file).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(svg.contains("tokens per second") && svg.contains("measured"));
    let n_shares = svg.matches(" %").count() - svg.matches("% of").count();
    let bound = svg.matches("memory bound").count();
    assert!(
        [(1, 3), (0, 0)].contains(&(bound, n_shares)),
        "a share at each depth where memory is a bound: {svg}"
    );

    let bad = "/no/such/folder/speed.svg";
    let run = run_args(["bench", "-p", "0", "-n", "1", "-r", "1", "-d", "0,8", "--plot", bad]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains(bad), "{}", run.stderr);
}

#[test]
fn each_number_of_threads_has_a_footnote_and_more_than_there_are_cores_a_warning() {
    let n_cores = std::thread::available_parallelism().unwrap().get();
    let (n, m) = (n_cores + 1, n_cores + 2);
    let bench = run(&format!("bench -p 8 -n 2 -r 1 -t 1,{n},{m}"));
    let warning = format!("warning: {m} threads on {n_cores} cores are no faster than {n_cores}\n");
    assert_eq!(bench.stderr, warning);
    let table = bench.ok();
    let notes: Vec<&str> = table.lines().filter(|line| line.starts_with("read: ")).collect();
    assert_eq!(notes.len(), 3, "{table}");
    for (note, threads) in
        notes.iter().zip(["1 thread".into(), format!("{n} threads"), format!("{m} threads")])
    {
        assert!(note.contains(&format!(" GB/s, {threads} over memory")), "{note}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    run("bench -p 513").fails(1, &["pp513", "513", "512"]);
    run("bench -p 0 -n 100 -d 500").fails(1, &["tg100 @ d500", "600", "512"]);
    run("bench -p 0 -n 0").fails(1, &["-p", "-n", "0"]);
    run("bench -r 0").fails(2, &["0", "--repetitions"]);
    run("bench -p x").fails(2, &["x", "--n-prompt"]);
    run("bench --pg 5").fails(2, &["5", "--pg", "512,128"]);
    run("bench --random gpt5").fails(2, &["gpt5", "gpt2-xl"]);
    run("bench --random 2x5x64").fails(1, &["--random", "64", "5"]);
    run("bench --device cuda:99").fails(1, &["CUDA"]);
    run("bench --threads 0").fails(2, &["0", "--threads"]);
    run("bench --random gpt2 --model tales").fails(2, &["--random", "--model"]);
}
