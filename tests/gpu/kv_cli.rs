//! `lowbit kv eval`, as its users meet it. It needs no device.

use std::fs;
use std::path::{Path, PathBuf};

use lowbit::internals::codec::CacheType;
use lowbit::internals::io::npy;
use lowbit::internals::random::Random;

use super::cli::{BAD_INPUT, done, json, lowbit, refused};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kv").join(name)
}

/// The tensors of assets/kv, under their names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["q.npy", "k.npy", "v.npy"] {
        fs::copy(asset(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn eval<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["kv", "eval", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy"], more].concat()
}

fn write(path: &Path, shape: &[usize], change: impl Fn(&mut [f32])) {
    let mut values = Random::new(1).floats(shape.iter().product());
    change(&mut values);
    npy::write_tensor(path, shape, &values).unwrap();
}

#[test]
fn the_table_has_a_row_for_each_type_and_a_recommendation() {
    let folder = folder();
    let folder = folder.path();
    let text = done(folder, &eval(&["--types", "q8_0,kivi4,q8_0:turbo3", "--causal", "--context", "1000"]));
    assert!(text.contains("1 layer, 4 query heads, 4 kv heads, 256 tokens of 32 values; causal"), "{text}");
    assert!(text.contains("of 1000 tokens") && text.contains("form: with the least mean KL"), "{text}");
    let kivi = text.lines().find(|line| line.starts_with(" kivi4 ")).unwrap();
    // 4 heads x 1000 tokens x 64 values x 5 bits.
    assert!(kivi.contains("5.000") && kivi.trim_end().ends_with(" 156.2"), "{text}");
    assert!(
        text.contains("\nrecommended: kivi4") && text.contains("0.01 and an output L2 of at most 10 %"),
        "{text}"
    );
    // A limit that is given holds alone.
    let text = done(folder, &eval(&["--types", "kivi4:turbo2,q8_0", "--max-kl", "0.01"]));
    assert!(text.contains("\nrecommended: kivi4:turbo2") && !text.contains("output L2 of"), "{text}");
    let text = done(folder, &eval(&["--types", "kivi4:turbo2,q8_0", "--max-l2", "0.01"]));
    assert!(text.contains("\nrecommended: q8_0") && !text.contains("a mean KL of"), "{text}");
    let text = done(
        folder,
        &eval(&["--types", "turbo2", "--max-kl", "1e-6", "--plain", "--sinks", "4", "--window", "9"]),
    );
    assert!(text.contains("recommended: none of these types has a mean KL of at most 0.000001"), "{text}");
    assert!(text.contains("the first 4 and the newest 9 tokens stay f16"), "{text}");
}

#[test]
fn the_document_has_every_form_and_layer() {
    let folder = folder();
    let folder = folder.path();
    let found = json(folder, &eval(&["--types", "f16,q4_0", "--json"]));
    let [f16, q4_0] = [&found["types"][0], &found["types"][1]];
    assert_eq!((f16["type"].as_str(), q4_0["type"].as_str()), (Some("f16"), Some("q4_0")));
    assert_eq!((f16["kl"]["max"].as_f64(), f16["form"]["center"].as_bool()), (Some(0.0), Some(false)));
    assert_eq!(q4_0["bits_per_value"].as_f64(), Some(4.5));
    let forms = q4_0["forms"].as_array().unwrap();
    let kl = |of: &serde_json::Value| of["kl"]["mean"].as_f64().unwrap();
    assert_eq!((forms.len(), q4_0["layers"].as_array().unwrap().len()), (4, 1));
    assert!(forms.iter().all(|of| kl(of) >= kl(q4_0)) && q4_0["refused"].is_null());
    assert_eq!(found["recommended"]["type"], "q4_0");
    assert!(q4_0.get("decode").is_none());
    let form = |flags: &[&str]| {
        let found = json(folder, &eval(&[&["--types", "q4_0", "--json"], flags].concat()));
        assert_eq!(found["types"][0]["forms"].as_array().unwrap().len(), 1);
        let flag = |name: &str| found["types"][0]["form"][name].as_bool().unwrap();
        (flag("center"), flag("rotate"))
    };
    assert_eq!(form(&["--center"]), (true, false));
    assert_eq!(form(&["--rotate"]), (false, true));
    assert_eq!(form(&["--center", "--rotate"]), (true, true));
    assert_eq!(form(&["--plain"]), (false, false));
    let all = json(folder, &eval(&["--json"]));
    assert_eq!(all["types"].as_array().unwrap().len(), CacheType::ALL.len() + 4);
}

#[test]
fn grouped_heads_of_layers_and_odd_vectors_work() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write(&folder.join("q.npy"), &[2, 6, 33, 80], |_| ());
    write(&folder.join("k.npy"), &[2, 2, 33, 80], |k| k[..80].fill(0.0));
    write(&folder.join("v.npy"), &[2, 2, 33, 80], |v| v[80..160].fill(0.25));
    let found = json(folder, &eval(&["--json", "--causal"]));
    assert_eq!((found["layers"].as_u64(), found["heads"].as_u64()), (Some(2), Some(6)));
    for row in found["types"].as_array().unwrap() {
        assert_eq!(row["layers"].as_array().unwrap().len(), 2);
        assert!(row["kl"]["max"].as_f64().unwrap().is_finite() && row["cosine"].as_f64().unwrap() > 0.5);
    }
}

#[test]
fn heads_of_any_size_and_a_few_queries_are_evaluated() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let shapes = |q: [usize; 3], k: [usize; 3], v: [usize; 3]| {
        for (name, shape) in [("q.npy", q), ("k.npy", k), ("v.npy", v)] {
            write(&folder.join(name), &shape, |_| ());
        }
    };
    // The newest three queries, keys and values of two dimensions, which no device has.
    shapes([4, 3, 192], [2, 40, 192], [2, 40, 128]);
    let text = done(folder, &eval(&["--types", "q8_0,f16", "--causal"]));
    for words in [
        "192 values in keys and 128 in values",
        "the 3 queries of a head have the newest positions",
        "keys have 192 values",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let found = json(folder, &eval(&["--types", "q8_0", "--causal", "--no-time", "--json"]));
    let number = |key: &str| found[key].as_u64().unwrap();
    assert_eq!(["head_dim", "value_dim", "tokens", "queries"].map(number), [192, 128, 40, 3]);
    // 2 heads of 40 tokens and 320 values of 8.5 bits.
    assert_eq!(found["types"][0]["bytes"], 2 * 40 * 320 * 17 / 16);
    // 72 values are groups of 32, 32 and 8.
    shapes([2, 40, 72], [2, 40, 72], [2, 40, 72]);
    let text = done(folder, &eval(&["--types", "turbo3", "--no-time"]));
    assert!(text.contains("rotated keys are so by blocks of 8 of their 72 values"), "{text}");
    let found = json(folder, &eval(&["--types", "q8_0,turbo3", "--json"]));
    assert_eq!(found["types"][0]["bits_per_value"].as_f64(), Some((8 * 72 + 3 * 16) as f64 / 72.0));
    assert!(found["untimed"].as_str().unwrap().contains("72 is not supported"), "{found}");
}

#[test]
fn bad_tensors_are_refused_by_their_file() {
    let folder = folder();
    let folder = folder.path();
    let with = |side: &str, shape: &[usize], change: &dyn Fn(&mut [f32]), words: &[&str]| {
        write(&folder.join("bad.npy"), shape, change);
        let mut arguments = eval(&[]);
        let at = arguments.iter().position(|argument| *argument == side).unwrap();
        arguments[at + 1] = "bad.npy";
        refused(&mut lowbit(folder, &arguments), BAD_INPUT, &[&["bad.npy"], words].concat());
    };
    let whole = [4, 256, 32];
    with("--q", &[4, 255, 33], &|_| (), &["[4, 255, 33]", "k.npy [4, 256, 32]", "and their head dimension"]);
    with("--q", &[2, 4, 255, 32], &|_| (), &["as many layers as keys"]);
    with("--v", &[4, 255, 32], &|_| (), &["keys and values have as many layers, heads and tokens"]);
    with("--q", &[6, 256, 32], &|_| (), &["heads of queries are a multiple"]);
    with("--q", &[2, 256, 32], &|_| (), &["heads of queries are a multiple"]);
    with("--v", &[2, 256, 32], &|_| (), &["as many layers, heads and tokens"]);
    with("--k", &[256, 32], &|_| (), &["[256, 32]", "expected [heads, tokens, head_dim]"]);
    with("--k", &whole, &|k| k[32 * 3 + 7] = f32::NAN, &["layer 0, head 0, token 3, channel 7 is NaN"]);
    with("--v", &whole, &|v| v[256 * 32] = f32::INFINITY, &["head 1, token 0, channel 0 is inf"]);
    with("--q", &whole, &|q| q[0] = f32::NEG_INFINITY, &["is -inf", "finite"]);
    with("--k", &whole, &|k| k[1] = 65505.0, &["channel 1 is 65505", "at most 65504"]);
    // Queries are not cached.
    write(&folder.join("big.npy"), &whole, |q| q[0] = 70000.0);
    let mut arguments = eval(&["--types", "q8_0"]);
    arguments[3] = "big.npy";
    done(folder, &arguments);

    // More queries than there are positions.
    write(&folder.join("q.npy"), &[4, 257, 32], |_| ());
    refused(&mut lowbit(folder, &eval(&["--causal"])), BAD_INPUT, &["257 queries", "256 tokens"]);
    fs::remove_file(folder.join("v.npy")).unwrap();
    refused(&mut lowbit(folder, &eval(&[])), BAD_INPUT, &["v.npy"]);
}

#[test]
fn bad_options_are_refused() {
    let folder = folder();
    let folder = folder.path();
    for (more, words) in [
        (["--window", "257"], ["k.npy", "256 tokens"]),
        (["--sinks", "256"], ["k.npy", "256 tokens"]),
        (["--types", "q8_0,f16,q8_0:q8_0"], ["q8_0", "twice"]),
    ] {
        refused(&mut lowbit(folder, &eval(&more)), BAD_INPUT, &words);
    }
    let both = eval(&["--window", "200", "--sinks", "100"]);
    refused(&mut lowbit(folder, &both), BAD_INPUT, &["100 sinks", "window of 200", "256 tokens"]);
    // What clap refuses.
    for (more, word) in [
        (["--types", "q9_0"], "q9_0"),
        (["--types", "q8_0:"], "no cache type"),
        (["--max-kl", "-1"], "0 or more"),
        (["--max-kl", "NaN"], "0 or more"),
        (["--context", "0"], "0"),
        (["--plain", "--center"], "--plain"),
    ] {
        let ran = super::cli::run(&mut lowbit(folder, &eval(&more)));
        assert!(ran.code == Some(BAD_INPUT) && ran.out.is_empty() && ran.err.contains(word), "{ran:?}");
    }
}

#[test]
fn decode_steps_are_timed_where_there_is_a_gpu_or_when_asked_for() {
    let folder = folder();
    let folder = folder.path();
    // One side that is encoded is enough: a software driver takes seconds for each kernel.
    let types = ["--types", "f16:q4_0", "--center", "--rotate", "--sinks", "4", "--window", "16", "--json"];
    let found = json(folder, &eval(&[&types[..], &["--time", "--context", "600"]].concat()));
    let decode = &found["types"][0]["decode"];
    assert!(decode["us_per_token"].as_f64() > Some(0.0) && decode["share"].as_f64() > Some(0.0), "{found}");
    assert!(found.get("untimed").is_none(), "{found}");
    let found = json(folder, &eval(&[&types[..], &["--no-time"]].concat()));
    assert!(found["types"][0].get("decode").is_none() && found.get("untimed").is_none(), "{found}");
    // Without either there are times, or a reason why there are none; and always the rest of the table.
    let mut without = lowbit(folder, &eval(&["--types", "q4_0"]));
    without.env("WGPU_BACKEND", "empty");
    let ran = super::cli::run(&mut without);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("no decode times: there is no GPU\n"), "{ran:?}");
    assert!(ran.out.contains("recommended: q4_0") && !ran.out.contains("us a token"), "{ran:?}");
    let mut asked = lowbit(folder, &eval(&["--types", "q4_0", "--time"]));
    asked.env("WGPU_BACKEND", "empty");
    refused(&mut asked, 3, &["no usable GPU"]);
    let nobody = eval(&["--types", "q4_0", "--adapter", "nobody's"]);
    refused(&mut lowbit(folder, &nobody), BAD_INPUT, &["nobody's"]);
}

#[test]
fn a_bench_of_caches_reads_what_it_says() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let bench = ["bench", "kv", "--kv-heads", "1", "--head-dim", "32", "--groups", "1"];
    // A context is given in thousands too, one of several steps is filled by all of them, and one that no binding holds is skipped.
    let shapes = ["--types", "f16,f16:q8_0", "--context", "40,1k,1024,2500,4294967295", "--json"];
    let found = json(folder, &[&bench[..], &shapes].concat());
    let rows = found["kernels"].as_array().unwrap();
    let cases: Vec<(&str, u64)> =
        rows.iter().map(|row| (row["type"].as_str().unwrap(), row["context"].as_u64().unwrap())).collect();
    let expected = [40, 1024, 2500].map(|context| [("f16", context), ("f16:q8_0", context)]);
    assert_eq!(cases, expected.concat());
    // All 40 tokens are f16, and 68 of more: 64 bytes a side. Of q8_0 they are 34.
    let bytes: Vec<u64> = rows.iter().map(|row| row["bytes"].as_u64().unwrap()).collect();
    let mixed = |tokens: u64| (tokens - 68) * (64 + 34) + 68 * 128;
    assert_eq!(bytes, [40 * 128, 40 * 128, 1024 * 128, mixed(1024), 2500 * 128, mixed(2500)]);
    for row in rows {
        let positive = |value: &serde_json::Value| value.as_f64() > Some(0.0);
        assert!(positive(&row["us"]) && positive(&row["gb_s"]) && positive(&row["of_read_roof"]), "{row}");
        assert!(positive(&row["against_f16"]) && row["against_ungrouped"].is_null(), "{row}");
        assert!(positive(&row["append"]["tokens_s"]) && row["variant"].as_str().is_some(), "{row}");
    }
    let skipped = found["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 2, "{found}");
    assert!(skipped[1]["case"].as_str().unwrap().starts_with("f16:q8_0 context=4294967295"), "{found}");
    assert!(skipped[1]["reason"].as_str().unwrap().contains("tokens fit"), "{found}");
    fs::write(folder.join("old.json"), found.to_string()).unwrap();
    let text = done(folder, &["bench", "compare", "old.json", "old.json"]);
    assert!(text.matches("SAME").count() >= 4, "{text}");

    // Where nothing fits, there is nothing to tell.
    let none = [&bench[..], &["--types", "f16", "--context", "4294967295"]].concat();
    refused(&mut lowbit(folder, &none), BAD_INPUT, &["keys of 4294967", "tokens fit"]);
}

#[test]
fn bad_benches_of_caches_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (option, value, word) in [
        ("--types", "q9_0", "no cache type is called"),
        ("--types", "q8_0:", "no cache type"),
        ("--context", "0", "1 to 4294967295"),
        ("--context", "8kk", "such as 8192 or 8k"),
        ("--context", "4194304k", "1 to 4294967295"),
        ("--context", "-1", "1"),
        ("--groups", "0", "heads from 1 to 1024"),
        ("--groups", "4,x", "heads from 1 to 1024"),
        ("--kv-heads", "0", "heads from 1 to 1024"),
        ("--head-dim", "100", "[32, 64, 80, 96, 128, 256] is 96"),
        ("--head-dim", "0", "is 32"),
    ] {
        let ran = super::cli::run(&mut lowbit(folder.path(), &["bench", "kv", option, value]));
        assert!(ran.code == Some(BAD_INPUT) && ran.out.is_empty() && ran.err.contains(word), "{ran:?}");
    }
}
