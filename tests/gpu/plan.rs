//! `lowbit plan`, as its users meet it: on a small model.

use std::fs;
use std::path::Path;

use lowbit::internals::io::gguf::{self, TensorType, Writer};
use serde_json::Value;

use crate::cli::{BAD_INPUT, done, json, lowbit, refused, run};

/// A model of two layers; 896 is no multiple of 256.
fn write_model(folder: &Path) {
    let mut writer = Writer::new();
    writer.metadata("general.architecture", "llama".into()).unwrap();
    for (key, value) in [
        ("block_count", 2),
        ("embedding_length", 512),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 2),
    ] {
        writer.metadata(&format!("llama.{key}"), gguf::Value::U32(value)).unwrap();
    }
    let mut add = |name: &str, rows: u64, cols: u64, of: &str| {
        let dims = if rows == 0 { vec![cols] } else { vec![cols, rows] };
        writer.tensor(name, &dims, TensorType::by_name(of).unwrap()).unwrap();
    };
    add("token_embd.weight", 1000, 512, "Q4_0");
    for layer in 0..2 {
        add(&format!("blk.{layer}.attn_norm.weight"), 0, 512, "F32");
        add(&format!("blk.{layer}.attn_k.weight"), 2, 512, "Q4_0");
        add(&format!("blk.{layer}.ffn_down.weight"), 512, 896, "IQ4_NL");
    }
    add("output.weight", 1000, 512, "IQ4_XS");
    let path = folder.join("model.gguf");
    writer.write(&path, |tensor, out| out.write(&vec![0; tensor.bytes as usize])).unwrap();
}

#[test]
fn plan_adds_up_products_in_each_format() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let arguments = ["plan", "model.gguf", "--context", "1000", "--vram", "0.002", "--quick", "--json"];
    let document = json(folder.path(), &arguments);
    let rows = document["formats"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["format"].as_str().unwrap()).collect();
    assert_eq!(names, ["as it is", "F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "TQ2_0"]);
    // 2 layers of 2 heads of 64 keys and 64 values.
    assert_eq!(document["kv_bytes"], 1000 * 2 * 2 * 128 * 2);
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap();
        let products = row["products"].as_array().unwrap();
        let us: f64 =
            products.iter().map(|of| of["us"].as_f64().unwrap() * of["per_token"].as_f64().unwrap()).sum();
        assert!(us > 0.0 && (number("ms_per_token") * 1e3 / us - 1.0).abs() < 1e-9, "{row}");
        assert!((number("tokens_per_s") * us / 1e6 - 1.0).abs() < 1e-9, "{row}");
        assert_eq!(number("memory_bytes"), number("bytes") + 1_024_000.0, "{row}");
        assert_eq!(row["fits"], number("memory_bytes") * 1.05 <= 2e6, "{row}");
        // Two keys of 512 are under 1 % of the bytes; they are as fast as the first in their format, if there is one.
        assert_eq!((products.len(), &products[2]["rows"]), (3, &2.into()), "{row}");
    }
    let cache = &document["cache"];
    assert_eq!((&cache["layers"][0]["count"], &cache["layers"][0]["kv_heads"]), (&2.into(), &2.into()));
    let types = cache["types"].as_array().unwrap();
    let names: Vec<&str> = types.iter().map(|row| row["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["f16", "q8_0", "q4_0", "turbo3"]);
    assert_eq!(types[1]["bytes"], 1_024_000 * 17 / 32);
    // The weights of the plan, and the cache at the measured roof.
    let weights = rows.iter().find(|row| row["format"] == cache["weights"]["format"]).unwrap();
    let (roof, cell) = (cache["bandwidth_gb_s"].as_f64().unwrap(), &cache["contexts"][0]["types"][0]);
    let ms = weights["ms_per_token"].as_f64().unwrap() + 1_024_000.0 / roof / 1e6;
    assert!((cell["tokens_per_s"].as_f64().unwrap() * ms / 1e3 - 1.0).abs() < 1e-9, "{cache}");
    let product = |row: usize, at: usize| &rows[row]["products"][at];
    // IQ4_XS has no kernel; what is nearest to its 4.25 bits stands for it.
    assert_eq!((&product(0, 0)["type"], &product(0, 0)["measured"]), (&"IQ4_NL".into(), &true.into()));
    assert_eq!((&product(0, 1)["type"], &product(0, 1)["measured"]), (&"IQ4_XS".into(), &false.into()));
    assert!(document["notices"].to_string().contains("IQ4_XS has no kernel"), "{document}");
    // Rows of 896 cannot be Q4_K.
    let q4_k = &rows[5];
    assert_eq!((&q4_k["format"], &q4_k["others"]), (&"Q4_K".into(), &serde_json::json!(["Q5_0"])));
    assert_eq!((&product(5, 2)["type"], &product(5, 2)["measured"]), (&"Q4_K".into(), &false.into()));
    assert_eq!(q4_k["bytes"], 2 * 1000 * 288 + 2 * 512 * 28 * 22 + 2 * 2 * 288 + 2 * 512 * 4);
    // What fits has the most bits.
    let recommended = document["recommended"].as_str().unwrap();
    let bits = |row: &Value| row["bits_per_weight"].as_f64().unwrap();
    let best = rows.iter().filter(|row| row["fits"] == true).map(bits).fold(0.0, f64::max);
    assert!(rows.iter().any(|row| row["format"] == recommended && bits(row) == best), "{document}");
}

#[test]
fn plan_prints_a_table_and_its_advice() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let quick = ["plan", "model.gguf", "--quick", "--weights", "q8_0,Q2_K"];
    let text = done(folder.path(), &quick);
    for words in
        ["0.002 billion weights in 6 matrices, on ", "tokens/s ceiling", "recommended: ", "fastest: "]
    {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(text.lines().any(|line| line.trim_start().starts_with("Q2_K (IQ4_NL) ")), "{text}");
    assert!(!text.contains("as it is") && !text.contains("memory") && !text.contains("fits"), "{text}");
    assert!(text.starts_with("not counted: the KV cache, of which no context is known\n"), "{text}");

    let text = done(folder.path(), &[&quick[..], &["--context", "10", "--vram", "0.0005"]].concat());
    assert!(text.starts_with("not counted: activations and what the driver takes"), "{text}");
    for words in [
        "memory GB",
        "fits",
        "f16 KV cache of 10 tokens",
        "none fits: the smallest, Q2_K, needs 0.00",
        "2 layers, 2 of them keep a cache of 512 values a token",
        "products with weights as Q2_K",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn plan_measures_all_but_the_smallest_shapes() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let measured = |arguments: &[&str]| {
        let plan = ["plan", "model.gguf", "--weights", "Q8_0", "--json"];
        let document = json(folder.path(), &[&plan[..], arguments].concat());
        let products = document["formats"][0]["products"].as_array().unwrap().clone();
        products.iter().map(|of| (of["rows"].as_u64().unwrap(), of["measured"] == true)).collect::<Vec<_>>()
    };
    assert_eq!(measured(&[]), [(512, true), (1000, true), (2, false)]);
    assert_eq!(measured(&["--quick"]), [(512, true), (1000, false), (2, false)]);
}

#[test]
fn plan_says_what_the_file_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    // One row, and rows of odd length: what every kernel has to pad.
    writer.tensor("a.weight", &[33, 1], TensorType::by_name("F16").unwrap()).unwrap();
    writer.tensor("up_exps.weight", &[1, 5, 3], TensorType::by_name("F32").unwrap()).unwrap();
    let path = folder.path().join("model.gguf");
    writer.write(&path, |tensor, out| out.write(&vec![0; tensor.bytes as usize])).unwrap();
    let ran = run(&mut lowbit(folder.path(), &["plan", "model.gguf", "--quick"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("no expert_used_count"), "{ran:?}");
    assert!(!ran.out.contains("memory GB"), "{ran:?}");
    // A cache is counted or refused, and may be given.
    let cache = ["plan", "model.gguf", "--quick", "--context", "1000"];
    let words = ["model.gguf", "it has no general.architecture", "--layers 32x8x128"];
    refused(&mut lowbit(folder.path(), &cache), BAD_INPUT, &words);
    let document =
        json(folder.path(), &[&cache[..], &["--layers", "2x2x64,1x1x32:16@10", "--json"]].concat());
    assert_eq!(document["kv_bytes"], 2 * (2 * 2 * 128 * 1000 + 48 * 10));
}

/// Where no driver is: a config.json needs none.
const NO_DEVICE: [(&str, &str); 3] = [
    ("VK_DRIVER_FILES", "/nonexistent/driver.json"),
    ("VK_ICD_FILENAMES", "/nonexistent/driver.json"),
    ("WGPU_BACKEND", "vulkan"),
];

fn asset(name: &str) -> String {
    format!("{}/assets/plan/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn plan_counts_the_cache_of_a_config_without_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let [nemotron, llama] = ["nemotron-super-49b", "llama-3.1-70b"].map(asset);
    let plan = |more: &[&str]| {
        let arguments = [&["plan", &nemotron, "--context", "131072"], more].concat();
        let ran = run(lowbit(folder.path(), &arguments).envs(NO_DEVICE));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        ran.out
    };
    let text = plan(&["--against", &llama]);
    for words in ["80 layers, 49 of them", "24.500", "40.000", "38.75 % less", "turbo3"] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(!text.contains("tokens/s") && !text.contains("fits"), "{text}");
    let text = plan(&["--kv", "q8_0:turbo3", "--bandwidth", "936", "--vram", "24", "--residual", "132"]);
    for words in [
        "q8_0:turbo3",
        "tokens/s: a ceiling",
        "936.0 GB/s",
        "the cache alone, without weights, and 5 %",
        "132 of them f16",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(text.starts_with("not counted: the weights, of which no format and number is known; "), "{text}");
    // 49.9 billion weights of 4.5 bits and 5 % leave room for less.
    let text = plan(&["--kv", "f16", "--vram", "48", "--weights", "Q4_0", "--parameters", "49.9B"]);
    for words in ["weights as Q4_0 (28.069 GB), cache and 5 %", " no ", " 87918"] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(text.starts_with("not counted: activations"), "{text}");
    let document: Value = serde_json::from_str(&plan(&["--json", "--kv", "f16"])).unwrap();
    assert!(document["not_counted"].to_string().contains("the weights"), "{document}");
    assert_eq!(document["cache"]["types"][0]["bytes"], 49_u64 << 29);
    assert_eq!(document["cache"]["values_per_token"], 49 * 2048);
    assert_eq!(document["adapter"], Value::Null);
}

#[test]
fn plan_reads_the_cache_of_a_config_at_the_measured_roof() {
    let folder = tempfile::tempdir().unwrap();
    let gemma = asset("gemma-3-27b");
    let arguments = ["plan", &gemma, "--context", "1024", "--kv", "f16", "--bandwidth", "measure", "--json"];
    let document = json(folder.path(), &arguments);
    let roof = document["cache"]["bandwidth_gb_s"].as_f64().unwrap();
    let cell = &document["cache"]["contexts"][0]["types"][0];
    let expected = roof * 1e9 / cell["read_bytes"].as_f64().unwrap();
    assert!((cell["tokens_per_s"].as_f64().unwrap() / expected - 1.0).abs() < 1e-9, "{document}");
    assert!(document["adapter"]["name"].is_string(), "{document}");
}

#[test]
fn plan_refuses_what_it_cannot_plan() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_model(folder);
    fs::write(folder.join("notes.txt"), "some text").unwrap();
    let mut writer = Writer::new();
    writer.tensor("norm.weight", &[32], TensorType::by_name("F32").unwrap()).unwrap();
    writer
        .write(&folder.join("vector.gguf"), |tensor, out| out.write(&vec![0; tensor.bytes as usize]))
        .unwrap();
    for (file, words) in [
        ("notes.txt", "not a GGUF file"),
        ("none.gguf", "none.gguf"),
        ("vector.gguf", "none of its 1 tensors is a matrix"),
    ] {
        refused(&mut lowbit(folder, &["plan", file]), BAD_INPUT, &[file, words]);
    }
    let llama = asset("llama-3.1-8b");
    fs::write(folder.join("odd.json"), r#"{"model_type": "llama", "num_attention_heads": "many"}"#).unwrap();
    fs::write(folder.join("new.json"), r#"{"model_type": "newllm", "num_hidden_layers": 2}"#).unwrap();
    for (arguments, words) in [
        (
            &["plan", "odd.json", "--context", "9"][..],
            "odd.json: num_attention_heads is 'many', not a whole number",
        ),
        (&["plan", "model.gguf", "--context", "9", "--against", "odd.json"], "odd.json: num_attention_heads"),
        (&["plan", "model.gguf", "--context", "9", "--against", "vector.gguf"], "no general.architecture"),
        (&["plan", "new.json", "--context", "9"], "'newllm': the KV cache of that architecture is not known"),
        (&["plan", "new.json", "--context", "9"], "--layers 32x8x128"),
        (
            &["plan", &llama, "--context", "9", "--against", "new.json"],
            "new.json: its model_type is 'newllm'",
        ),
        (&["plan", &llama], "give --context N"),
        (&["plan", &llama, "--context", "9", "--weights", "Q8_0"], "give --parameters N"),
        (
            &["plan", &llama, "--context", "9", "--weights", "Q8_0,Q4_K", "--parameters", "8B"],
            "give one format",
        ),
        (
            &["plan", "model.gguf", "--weights", "Q8_0", "--parameters", "8B"],
            "says how many weights there are",
        ),
        (&["plan", &llama, "--context", "9", "--trace", "t.json"], "nothing runs on a device"),
        (&["plan", &llama, "--context", "18446744073709551615"], "more than 2^64 bytes"),
    ] {
        refused(&mut lowbit(folder, arguments), BAD_INPUT, &[words]);
    }
    let ran = run(&mut lowbit(folder, &["plan", "--context", "9"]));
    assert!(ran.code == Some(BAD_INPUT) && ran.err.contains("<MODEL.gguf|config.json|FOLDER>"), "{ran:?}");
    let trace = ["plan", "model.gguf", "--trace", "model.gguf"];
    refused(&mut lowbit(folder, &trace), BAD_INPUT, &["overwrite an input"]);
    for (arguments, word) in [
        (&["--weights", "Q4_K_M"][..], "there is F32, F16, Q4_0"),
        (&["--weights", "Q4_K", "--parameters", "many"], "such as 8.03B"),
        (&["--weights", "Q4_K", "--parameters", "0"], "such as 8.03B"),
        (&["--parameters", "8B"], "--weights <LIST>"),
        (&["--context", "9", "--layers", "32x8"], "such as 32x8x128"),
        (&["--layers", "32x8x128"], "--context <N>"),
        (&["--vram", "0"], "a number above 0"),
        (&["--vram", "-8"], "a number above 0"),
        (&["--vram", "inf"], "a number above 0"),
        (&["--context", "0"], "invalid value '0' for '--context <N>'"),
        (&["--context", "many"], "invalid value 'many' for '--context <N>'"),
        (&["--context", "9", "--kv", "f16,q9"], "no cache type is called 'q9'"),
        (&["--context", "9", "--kv", "f16:q9"], "no cache type is called 'q9'"),
        (&["--kv", "f16"], "--context <N>"),
        (&["--residual", "4"], "--context <N>"),
        (&["--context", "9", "--bandwidth", "0"], "give `measure`, or a number above 0"),
        (&["--context", "9", "--bandwidth", "-1"], "give `measure`, or a number above 0"),
    ] {
        let ran = run(&mut lowbit(folder, &[&["plan", "model.gguf"], arguments].concat()));
        assert_eq!((ran.code, ran.out.as_str()), (Some(BAD_INPUT), ""), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(word), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn plan_takes_layers_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["plan", "--layers", "32x8x128", "--context", "131072", "--kv", "f16", "--json"];
    let ran = run(lowbit(folder.path(), &arguments).envs(NO_DEVICE));
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(document["cache"]["types"][0]["bytes"], 1_u64 << 34);
    // In place of what a file says, or does not say.
    fs::write(folder.path().join("new.json"), r#"{"model_type": "newllm"}"#).unwrap();
    let ran = run(lowbit(folder.path(), &[&["plan", "new.json"], &arguments[1..]].concat()).envs(NO_DEVICE));
    let other: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(other["cache"], document["cache"]);
}

/// A safetensors file of one matrix of 64 rows of 512, and a vector of 512, both of BF16.
fn write_checkpoint(path: &Path) {
    let header = r#"{"model.w":{"dtype":"BF16","shape":[64,512],"data_offsets":[0,65536]},"model.norm":{"dtype":"BF16","shape":[512],"data_offsets":[65536,66560]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; 66_560]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn plan_counts_the_weights_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_checkpoint(&path.join("model.safetensors"));
    fs::copy(asset("llama-3.1-8b"), path.join("config.json")).unwrap();
    let plan = |file: &str, more: &[&str]| {
        let arguments =
            [&["plan", file, "--context", "1000", "--vram", "1", "--kv", "f16", "--json"], more].concat();
        let ran = run(lowbit(path, &arguments).envs(NO_DEVICE));
        serde_json::from_str::<Value>(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))["cache"].clone()
    };
    for file in [".", "model.safetensors"] {
        let cache = plan(file, &[]);
        assert_eq!(
            (&cache["weights"]["format"], &cache["weights"]["bytes"]),
            (&"as it is".into(), &66_560.into())
        );
        assert_eq!(cache["types"][0]["bytes"], 1000 * 131_072);
        // A matrix of 8.5 bits; the vector stays.
        let cache = plan(file, &["--weights", "Q8_0"]);
        assert_eq!(cache["weights"]["bytes"], 64 * 512 / 32 * 34 + 1024);
    }
    refused(
        &mut lowbit(path, &["plan", ".", "--context", "9", "--weights", "Q8_0", "--parameters", "8B"]),
        BAD_INPUT,
        &["the files say how many weights there are"],
    );
    fs::remove_file(path.join("config.json")).unwrap();
    refused(&mut lowbit(path, &["plan", ".", "--context", "9"]), BAD_INPUT, &["config.json"]);
}
