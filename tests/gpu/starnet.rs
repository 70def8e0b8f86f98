//! Networks in few bits: on the device as the oracle says, to the bit, and as accurate as is claimed.

use std::path::{Path, PathBuf};

use lowbit::internals::classify::engine::{Engine, Keep};
use lowbit::internals::classify::starnet::{Accuracy, Hybrid, Limits, accuracy, calibrated};
use lowbit::internals::gpu::Context;
use lowbit::internals::io::{npy, onnx};
use lowbit::internals::network::low_bit::Budgets;
use lowbit::internals::network::lower::{Names, lower};
use lowbit::internals::network::registers::{Budget, prove, with_registers};
use lowbit::internals::network::{Element, Network};
use lowbit::internals::oracle::network::{Values, run};

use super::cli::{BAD_INPUT, done, json, lowbit, refused};
use super::network::read;

fn assets(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(path)
}

fn digits(half: &str) -> Vec<f32> {
    npy::read_matrix(&assets("classifier/digits_8").join(half).with_extension("npy")).unwrap().values
}

fn budgets(activation_bits: u32, weight_bits: u32) -> Budgets {
    Budgets { first: Budget::FIRST, rest: Budget { register_bits: 8, activation_bits, weight_bits } }
}

/// Every StarNet of the assets with its budget.
fn starnets() -> Vec<(&'static str, Network, Budgets)> {
    let all = [("budget_96", budgets(2, 1)), ("budget_112", budgets(3, 1)), ("budget_72", budgets(2, 2))];
    let read = |(name, budgets)| {
        let model = onnx::read(&assets("starnet").join(name).with_extension("onnx")).unwrap();
        (name, lower(&model, &Names::default()).unwrap(), budgets)
    };
    all.into_iter().map(read).collect()
}

/// How many values of integers were compared: all that the engine keeps.
fn same_as_the_oracle(gpu: &Context, name: &str, network: &Network, rows: &[f32]) -> usize {
    let count = rows.len() / network.values[network.input].elements();
    let engine = Engine::new(gpu, network, count as u64, Keep::All).unwrap();
    engine.run_batches(gpu, rows, |_, _| Ok(())).unwrap();
    let mut compared = 0;
    for (at, expected) in run(network, rows).iter().enumerate() {
        let Values::I(codes) = expected else { continue };
        if codes.is_empty() {
            continue;
        }
        let found = read(gpu, engine.buffer(at).unwrap(), count);
        let expected: Vec<f64> = codes.iter().map(|&code| code as f64).collect();
        assert_eq!(found, expected, "{name}: {}", network.values[at].name);
        compared += 1;
    }
    compared
}

#[test]
fn integers_are_the_oracles_and_the_cpu_computes_the_same_first_layer() {
    let gpu = crate::harness::device();
    let (calibration, test) = (digits("calibration"), digits("test"));
    for (name, network, budgets) in starnets() {
        let low_bit = calibrated(&gpu, &network, &budgets, &calibration).unwrap();
        let rows = &test[..40 * 64];
        // The input, and each layer but the head, before and behind its shuffle.
        assert!(same_as_the_oracle(&gpu, name, &low_bit, rows) >= 6, "{name}");
        let engine = Engine::new(&gpu, &low_bit, 16, Keep::Output).unwrap();
        let hybrid = Hybrid::new(&gpu, &low_bit, 16).unwrap();
        let (found, time) = hybrid.run(&gpu, rows).unwrap();
        assert_eq!(found, engine.run(&gpu, rows).unwrap(), "{name}");
        assert_eq!((time.frames, found.len()), (40, 400));
        assert!(hybrid.run(&gpu, &rows[..63]).is_err());
    }
}

#[test]
fn a_budget_that_is_broken_on_purpose_wraps_around() {
    let gpu = crate::harness::device();
    let test = &digits("test")[..8 * 64];
    let (name, network, budgets) = starnets().remove(0);
    let whole = calibrated(&gpu, &network, &budgets, &digits("calibration")).unwrap();
    let small = Budgets { rest: Budget { register_bits: 5, ..budgets.rest }, ..budgets };
    let broken = with_registers(&whole, &small).unwrap();
    assert!(prove(&whole).iter().all(|proof| proof.overflow.is_none()));
    assert!(prove(&broken).iter().skip(1).any(|proof| proof.overflow.is_some()));
    // The device wraps around as the oracle does, and what it computes is something else.
    assert!(same_as_the_oracle(&gpu, name, &broken, test) >= 6);
    let codes = |network: &Network| -> Vec<i64> {
        let all = run(network, test);
        all.iter().flat_map(Values::integers).copied().collect()
    };
    assert_ne!(codes(&whole), codes(&broken));
    let outputs =
        |network: &Network| Engine::new(&gpu, network, 8, Keep::Output).unwrap().run(&gpu, test).unwrap();
    assert_ne!(outputs(&whole), outputs(&broken));
}

#[test]
fn starnets_keep_their_accuracy_in_few_bits_and_cannot_overflow() {
    let gpu = crate::harness::device();
    let (calibration, test) = (digits("calibration"), digits("test"));
    let classes = npy::read_labels(&assets("starnet/labels.npy")).unwrap();
    let text = std::fs::read_to_string(assets("starnet/expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, network, budgets) in starnets() {
        let low_bit = calibrated(&gpu, &network, &budgets, &calibration).unwrap();
        let proofs = prove(&low_bit);
        assert!(
            proofs.len() == 6 && proofs.iter().all(|proof| proof.overflow.is_none()),
            "{name}: {proofs:?}"
        );
        let stars = proofs.iter().filter(|proof| proof.operator == "star-conv").count();
        assert_eq!(stars, 3, "{name}");
        let integers = low_bit.values.iter().filter(|value| value.element == Element::I8).count();
        assert!(integers >= 6, "{name}");
        let found = accuracy(&gpu, &network, &low_bit, &test, &classes).unwrap();
        assert!(found.f32() - found.low_bit() <= 0.02, "{name}: {found:?}");
        found.gate(&Limits::default()).unwrap();
        // One that names nothing rightly, and one that is right as often, of other rows.
        let dead = Accuracy { right_low_bit: 0, lost: found.right_f32, changed: found.rows, ..found };
        assert!(dead.gate(&Limits::default()).unwrap_err().to_string().contains("the accuracy drops by 0.9"));
        let other = Accuracy { right_low_bit: found.right_f32, changed: 400, ..found };
        assert!(other.gate(&Limits::default()).unwrap_err().to_string().contains("get another class"));
        // onnxruntime's answers are within rounding of these: a row on the edge may tip.
        let right = expected[name]["right_in_onnxruntime"].as_u64().unwrap() as usize;
        assert!(found.right_f32.abs_diff(right) <= 1, "{name}: {found:?}");
        let squares: f64 = Engine::new(&gpu, &network, 1024, Keep::Output)
            .and_then(|engine| engine.run(&gpu, &test))
            .unwrap()
            .iter()
            .map(|&p| f64::from(p) * f64::from(p))
            .sum();
        let known = expected[name]["probability_sum_of_squares"].as_f64().unwrap();
        assert!((squares / known - 1.0).abs() < 1e-5, "{name}: {squares} {known}");
    }
    // A class that is none, and one class too few.
    let (_, network, budgets) = starnets().remove(0);
    let low_bit = calibrated(&gpu, &network, &budgets, &calibration).unwrap();
    let error = accuracy(&gpu, &network, &low_bit, &test[..128], &[3, 10]).unwrap_err().to_string();
    assert!(error.contains("the class of row 1 (counted from 0) is 10"), "{error}");
    assert!(accuracy(&gpu, &network, &low_bit, &test[..128], &[3]).is_err());
}

#[test]
fn budget_says_what_is_proven_and_what_is_not() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let path = |name: &str| assets(name).to_str().unwrap().to_owned();
    let model = &path("starnet/budget_96.onnx");
    let [calibration, test] =
        &["calibration", "test"].map(|half| path(&format!("classifier/digits_8/{half}.npy")));
    let labels = &path("starnet/labels.npy");
    // Without data, of products alone.
    let text = done(folder, &["classify", "budget", model]);
    for word in ["star-conv", "any weights", "96", "no input can make the products", "--calibration DATA"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let all = ["classify", "budget", model, "--calibration", calibration, "--test", test, "--labels", labels];
    let found = json(folder, &[&all[..], &["--json"]].concat());
    assert_eq!((&found["proven"], &found["biases_known"]), (&true.into(), &true.into()));
    assert_eq!(found["layers"].as_array().unwrap().len(), 6);
    assert_eq!(found["accuracy"]["rows"], 899);
    assert_eq!(found["accuracy_kept"], true, "{found}");
    let text = done(folder, &all);
    assert!(
        text.contains("no input can make a sum leave its register") && text.contains("frames/s"),
        "{text}"
    );
    // What is proven may still have lost its accuracy.
    for (more, words) in [
        (&["--max-drop", "0"][..], "the accuracy drops by 0.00"),
        (&["--max-drop", "0.008"], "899 rows are too few to be certain"),
        (&["--max-flipped", "0.001"], "of 899 rows get another class"),
    ] {
        let ran = super::cli::run(&mut lowbit(folder, &[&all[..], more].concat()));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.out.contains("FAILS") && ran.err.contains(words), "{ran:?}");
    }
    done(folder, &[&all[..], &["--max-drop", "0.008", "--point"]].concat());
    // Smaller registers cannot hold it: the table is shown, and the gate fails by layer and channel.
    let ran = super::cli::run(&mut lowbit(folder, &["classify", "budget", model, "--register-bits", "6"]));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("channel") && ran.err.contains("a register of 6 bits holds 31"), "{ran:?}");
    // A network of integers has all that there is to know.
    let path_of_integers = path("onnx/qlinear_conv_int8.onnx");
    let integers = ["classify", "budget", path_of_integers.as_str()];
    let ran = super::cli::run(&mut lowbit(folder, &integers));
    assert!(ran.code == Some(1) && ran.out.contains("f32") && ran.err.contains("can reach"), "{ran:?}");
    let wide = ["--register-bits", "32", "--first-register-bits", "32", "--json"];
    let found = json(folder, &[&integers[..], &wide].concat());
    assert_eq!((&found["proven"], &found["biases_known"]), (&true.into(), &true.into()));
    let refuse =
        |arguments: &[&str], words: &[&str]| refused(&mut lowbit(folder, arguments), BAD_INPUT, words);
    let budget = ["classify", "budget", model];
    let with = |more: &[&'static str]| [&budget[..], more].concat();
    refuse(&with(&["--register-bits", "3"]), &["a register of 3 bits: 4 to 32"]);
    refuse(&with(&["--weight-bits", "8"]), &["a weight of 8 bits: 1 to 7"]);
    refuse(&["classify", "budget", calibration], &["calibration.npy"]);
    refuse(&["classify", "budget", &path("onnx/relu.onnx")], &["no layer with weights"]);
    refuse(&[&budget[..], &["--calibration", labels]].concat(), &["labels.npy"]);
    refuse(&[&all[..6], &[test.as_str(), "--labels", calibration]].concat(), &["calibration.npy"]);
}
