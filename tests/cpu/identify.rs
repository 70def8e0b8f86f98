//! `lowbit edge identify`: parameters of the flow model from telemetry logs. No device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lowbit::internals::edge::identify::design::{Design, Term};
use lowbit::internals::edge::identify::residuals::Covariance;
use lowbit::internals::edge::identify::{Fix, Identification, Log, Method, Options, Parameter, identify};
use lowbit::internals::random::Random;
use serde_json::Value;

fn asset(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/edge").join(name)
}

/// Nearly normal, of variance 1.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

/// What a synthetic log is made of.
#[derive(Clone)]
struct Recipe {
    rows: usize,
    dt: f64,
    /// How much steps differ from each other.
    uneven: f64,
    /// k_e, k_base, tau, gamma.
    parameters: [f64; 4],
    /// Amplitude, angular frequency and phase of each wave of Q around its mean.
    waves: Vec<[f64; 3]>,
    mean: f64,
    /// Mean and amplitude of w_rot.
    turning: [f64; 2],
    /// Noise of the current, as a part of its size.
    noise: f64,
    /// Noise of Q, in its unit.
    noise_of_q: f64,
    dq: bool,
    seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rows: 30_000,
            dt: 0.001,
            uneven: 0.0,
            parameters: [12.0, 0.05, 0.02, 0.35],
            waves: vec![[1.5, 9.0, 0.3], [0.8, 23.0, 1.1], [0.4, 41.0, 2.0], [0.15, 67.0, 0.7]],
            mean: 6.0,
            turning: [20.0, 15.0],
            noise: 0.01,
            noise_of_q: 0.0,
            dq: false,
            seed: 1,
        }
    }
}

impl Recipe {
    fn log(&self) -> Log {
        let mut random = Random::new(self.seed);
        let dt: Vec<f64> =
            (0..self.rows).map(|_| self.dt * (1.0 + self.uneven * (2.0 * random.unit() - 1.0))).collect();
        let times: Vec<f64> = dt
            .iter()
            .scan(0.0, |time, dt| {
                *time += dt;
                Some(*time)
            })
            .collect();
        // The wave, or a derivative of it, as the cosine is the sine a quarter later.
        let wave = |t: f64, derivative: i32| -> f64 {
            let quarter = f64::from(derivative) * std::f64::consts::FRAC_PI_2;
            self.waves.iter().map(|[a, w, p]| a * w.powi(derivative) * (w * t + p + quarter).sin()).sum()
        };
        let [mean_speed, speed] = self.turning;
        let w_rot: Vec<f64> =
            times.iter().map(|t| mean_speed + speed * ((2.1 * t).sin() + 0.5 * (5.3 * t).cos())).collect();
        let [k_e, k_base, tau, gamma] = self.parameters;
        let exact: Vec<f64> = times
            .iter()
            .zip(&w_rot)
            .map(|(&t, w)| {
                let q = self.mean + wave(t, 0);
                k_e * q + k_base * wave(t, 1) + tau * wave(t, 2) + gamma * w * q
            })
            .collect();
        let size = (exact.iter().map(|i| i * i).sum::<f64>() / self.rows as f64).sqrt();
        Log {
            q: times
                .iter()
                .map(|&t| self.mean + wave(t, 0) + self.noise_of_q * normal(&mut random))
                .collect(),
            dq: self.dq.then(|| times.iter().map(|&t| wave(t, 1)).collect()),
            i_actual: exact.iter().map(|i| i + self.noise * size * normal(&mut random)).collect(),
            w_rot,
            dt,
        }
    }

    fn identify(&self, options: &Options) -> lowbit::internals::Result<Identification> {
        identify(&self.log(), options)
    }
}

fn by(method: Method) -> Options {
    Options { method, ..Options::default() }
}

#[test]
fn tau_and_gamma_are_recovered_within_a_percent_by_both_methods() {
    for (i, (tau, gamma)) in
        [(0.02, 0.35), (0.0015, 0.1), (0.1, 0.98), (0.3, 0.5), (0.495, 0.03), (0.001, 0.999)]
            .into_iter()
            .enumerate()
    {
        for (dq, uneven) in [(false, 0.0), (true, 0.0), (false, 0.4), (true, 0.4)] {
            // A slow motor asks for faster waves, as noise is a part of the whole current.
            let faster = if tau < 0.01 { 3.0 } else { 1.0 };
            let mut recipe = Recipe {
                parameters: [12.0, 0.05, tau, gamma],
                dq,
                uneven,
                seed: i as u64,
                ..Recipe::default()
            };
            recipe.waves.iter_mut().for_each(|wave| wave[1] *= faster);
            for method in [Method::LeastSquares, Method::Bayesian] {
                let found = recipe.identify(&by(method)).unwrap();
                let off = [
                    found.values.tau_s / tau - 1.0,
                    found.values.gamma / gamma - 1.0,
                    found.values.k_e / 12.0 - 1.0,
                ];
                assert!(
                    off.iter().all(|off| off.abs() < 0.01),
                    "{tau} {gamma} {dq} {uneven} {method:?}: {off:?}"
                );
                assert_eq!(found.agree, None);
            }
            let both = recipe.identify(&Options::default()).unwrap();
            assert_eq!(both.agree, Some(true), "{:?}", both.warnings);
            both.gate().unwrap();
        }
    }
}

#[test]
fn without_noise_all_four_parameters_are_exact_and_both_methods_agree() {
    for (dq, uneven) in [(false, 0.0), (true, 0.3), (false, 0.3)] {
        let recipe = Recipe { noise: 0.0, dq, uneven, rows: 4000, ..Recipe::default() };
        let found = recipe.identify(&Options::default()).unwrap();
        for (of, known) in found.parameters.iter().zip(recipe.parameters) {
            assert!((of.estimate / known - 1.0).abs() < 2e-3, "{dq} {uneven} {of:?}");
            assert!((of.bayesian.unwrap() / of.estimate - 1.0).abs() < 1e-3, "{of:?}");
        }
        assert_eq!((found.agree, found.rank), (Some(true), 4));
        assert!(found.bayesian.unwrap().evaluations <= 100);
    }
}

#[test]
fn every_seed_of_the_search_lands_on_the_least_squares() {
    let log = Recipe { rows: 3000, ..Recipe::default() }.log();
    for seed in 0..20 {
        let options = Options { seed, ..Options::default() };
        let found = identify(&log, &options).unwrap();
        assert_eq!(found.agree, Some(true), "{seed}: {:?}", found.warnings);
        assert_eq!(found, identify(&log, &options).unwrap());
    }
}

#[test]
fn sound_least_squares_are_not_disagreed_with() {
    // Few rows, of less than a period, so that the objective is a long flat valley: where in it the search ends is noise.
    for seed in 0..24 {
        for noise in [1e-3, 1e-4] {
            let recipe = Recipe { rows: 60, noise, dq: true, seed, ..Recipe::default() };
            let found = identify(&recipe.log(), &Options { seed, ..Options::default() }).unwrap();
            assert!(found.condition_number > 1000.0);
            assert_eq!(found.agree, Some(true), "{seed} {noise}: {:?}", found.warnings);
        }
    }
    // Nothing is left, and a parameter is 0: no part of it is a tolerance.
    for seed in 0..10 {
        let parameters = [12.0, 0.0, 0.02, 0.35];
        let recipe = Recipe { rows: 100, noise: 0.0, parameters, dq: seed % 2 == 0, ..Recipe::default() };
        let found = recipe.identify(&Options { seed, ..Options::default() }).unwrap();
        assert_eq!(found.agree, Some(true), "{seed}: {:?}", found.warnings);
    }
}

#[test]
fn intervals_hold_what_they_promise() {
    for coloured in [false, true] {
        let (mut inside, mut all, mut classical) = (0, 0, 0);
        for seed in 0..150 {
            let mut log =
                Recipe { rows: 1000, dt: 0.002, noise: 0.0, dq: true, seed, ..Recipe::default() }.log();
            let (mut random, mut state) = (Random::new(1000 + seed), 0.0);
            for current in &mut log.i_actual {
                state = if coloured { 0.8 * state } else { 0.0 } + normal(&mut random);
                *current += state;
            }
            let found = identify(&log, &by(Method::LeastSquares)).unwrap();
            classical += usize::from(found.quality.covariance == Covariance::White);
            for (of, known) in found.parameters.iter().zip(Recipe::default().parameters) {
                let [low, high] = of.interval.unwrap();
                all += 1;
                inside += usize::from((low..=high).contains(&known));
            }
        }
        let share = inside as f64 / all as f64;
        assert!((0.92..0.975).contains(&share), "{coloured}: {share}");
        // White residuals are taken for others in one case of twenty.
        assert!(if coloured { classical == 0 } else { (130..150).contains(&classical) }, "{classical}");
    }
}

fn number(of: &Value, key: &str) -> f64 {
    of[key].as_f64().unwrap_or_else(|| panic!("{key}: {of}"))
}

fn close(found: f64, known: f64, what: &str) {
    assert!((found / known - 1.0).abs() < 1e-6 || (found == 0.0 && known == 0.0), "{what}: {found} {known}");
}

#[test]
fn scipys_bounded_least_squares_say_the_same() {
    let log = Log::read(&asset("log.csv")).unwrap();
    assert_eq!(log.rows(), 800);
    let expected: Value = serde_json::from_str(&fs::read_to_string(asset("expected.json")).unwrap()).unwrap();
    let cases = expected["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let known = case["known"].as_object().unwrap();
        let fixed = known.iter().map(|(name, value)| format!("{name}={value}").parse().unwrap()).collect();
        let found = identify(&log, &Options { fixed, ..by(Method::LeastSquares) }).unwrap();
        assert_eq!(found.rows_used as f64, number(case, "rows_used"));
        close(found.condition_number, number(case, "condition_number"), "condition number");
        let quality = &found.quality;
        close(quality.residual_rms_a, number(case, "residual_rms_a"), "residual");
        close(quality.r_squared.unwrap(), number(case, "r_squared"), "R^2");
        let test = &case["ljung_box"];
        close(quality.ljung_box.statistic, number(test, "statistic"), "Ljung-Box");
        assert!((quality.ljung_box.p_value - number(test, "p_value")).abs() < 1e-6);
        assert_eq!(quality.ljung_box.lags as f64, number(test, "lags"));
        assert_eq!(quality.white, number(test, "p_value") > 0.05);
        let mut errors = case["standard_errors"].as_array().unwrap().iter();
        for (i, name) in case["names"].as_array().unwrap().iter().enumerate() {
            let of = found.parameters.iter().find(|of| of.name.name() == name).unwrap();
            close(of.estimate, case["values"][i].as_f64().unwrap(), of.name.name());
            assert_eq!(of.at_bound, case["at_bound"][i].as_bool().unwrap());
            assert_eq!(of.at_bound, of.standard_error.is_none());
            let Some(error) = of.standard_error else { continue };
            let plain = errors.next().unwrap().as_f64().unwrap();
            if quality.white {
                close(error, plain, "standard error");
                let [low, high] = of.interval.unwrap();
                close(0.5 * (high - low), plain * number(case, "quantile"), "interval");
            } else {
                assert!(error >= plain * (1.0 - 1e-9), "{error} {plain}");
            }
        }
    }
}

#[test]
fn a_parameter_beyond_its_bound_is_held_there_by_both_methods() {
    let recipe = Recipe { parameters: [12.0, 0.05, 0.0001, -0.2], ..Recipe::default() };
    let found = recipe.identify(&Options::default()).unwrap();
    let [_, k_base, tau, gamma] = found.parameters.as_slice() else { panic!() };
    for (of, bound) in [(tau, 0.001), (gamma, 0.0)] {
        assert_eq!((of.estimate, of.at_bound, of.bayesian, of.interval), (bound, true, Some(bound), None));
    }
    assert!(!k_base.at_bound && k_base.interval.is_some());
    assert_eq!(found.agree, Some(true));
    assert!(
        found.warnings.iter().any(|w| w.contains("gamma is held at its bound 0")),
        "{:?}",
        found.warnings
    );
}

/// What is wrong with a log.
fn refusal(recipe: &Recipe, fixed: &[&str]) -> String {
    let fixed: Vec<Fix> = fixed.iter().map(|fix| fix.parse().unwrap()).collect();
    let error = recipe.identify(&Options { fixed, ..Options::default() }).unwrap_err();
    assert!(error.is_input() && error.exit_code() == 2, "{error:?}");
    error.to_string()
}

fn says(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
}

#[test]
fn what_a_log_does_not_determine_is_named() {
    let one = |w: f64| vec![[1.5, w, 0.3]];
    for (dq, uneven, noise) in [(false, 0.0, 0.0), (true, 0.0, 0.01), (false, 0.3, 0.01), (true, 0.3, 0.0)] {
        let base = Recipe { dq, uneven, noise, rows: 5000, ..Recipe::default() };
        // One frequency, around 0: ddQ is -w^2 Q.
        let wave = Recipe { waves: one(20.0), mean: 0.0, ..base.clone() };
        let text = refusal(&wave, &[]);
        says(
            &text,
            &[
                "rank 3 of 4",
                "k_e and tau cannot be told apart",
                "Q and ddQ are parallel",
                "two or more frequencies",
            ],
        );
        assert!(!text.contains("gamma") && !text.contains("k_base"), "{text}");
        wave.identify(&Options { fixed: vec!["k_e=12".parse().unwrap()], ..Options::default() }).unwrap();
        // A constant speed.
        let steady = Recipe { turning: [20.0, 0.0], ..base.clone() };
        let text = refusal(&steady, &[]);
        says(&text, &["rank 3 of 4", "k_e and gamma cannot be told apart", "vary w_rot", "`fix` k_e=…"]);
        steady.identify(&Options { fixed: vec!["k_e=12".parse().unwrap()], ..Options::default() }).unwrap();
        // No speed.
        let still = Recipe { turning: [0.0, 0.0], ..base.clone() };
        let text = refusal(&still, &[]);
        says(&text, &["rank 3 of 4", "gamma has no effect", "w_rot*Q is 0", "`fix` gamma=…"]);
        still.identify(&Options { fixed: vec!["gamma=0".parse().unwrap()], ..Options::default() }).unwrap();
        // A constant flow: nothing has any derivative.
        let text = refusal(&Recipe { waves: Vec::new(), ..base.clone() }, &[]);
        says(&text, &["rank 2 of 4", "k_base has no effect", "tau has no effect", "vary the flow Q"]);
        // Both at once.
        let dull = Recipe { waves: Vec::new(), turning: [20.0, 0.0], ..base.clone() };
        says(&refusal(&dull, &[]), &["rank 1 of 4", "k_base has", "tau has", "k_e and gamma cannot"]);
        // One frequency and a constant speed: all three are one column.
        let both = Recipe { waves: one(20.0), mean: 0.0, turning: [20.0, 0.0], ..base.clone() };
        let text = refusal(&both, &[]);
        says(
            &text,
            &[
                "rank 2 of 4",
                "k_e, tau and gamma cannot be told apart",
                "vary w_rot",
                "two or more frequencies",
            ],
        );
        says(&refusal(&both, &["k_e=12"]), &["rank 2 of 3", "tau and gamma cannot be told apart"]);
        // No flow at all.
        says(
            &refusal(&Recipe { waves: Vec::new(), mean: 0.0, ..base }, &[]),
            &["rank 0 of 4", "k_e has no effect"],
        );
    }
}

#[test]
fn the_formula_with_tau_times_dq_is_not_identifiable() {
    let log = Recipe { dq: true, rows: 2000, ..Recipe::default() }.log();
    let (q, dq) = (log.q.clone(), log.dq.clone().unwrap());
    let turning = q.iter().zip(&log.w_rot).map(|(q, w)| q * w).collect();
    let term = |parameter, column, values| Term { parameter, column, values };
    let terms = vec![
        term(Parameter::KE, "Q", q),
        term(Parameter::KBase, "dQ", dq.clone()),
        term(Parameter::Tau, "dQ", dq),
        term(Parameter::Gamma, "w_rot*Q", turning),
    ];
    let design = Design::new(terms, log.i_actual, vec![1.0; 2000]).unwrap();
    let found = design.conditioning();
    assert_eq!((found.rank, found.confounded), (3, vec![vec![1, 2]]));
    assert!(found.condition_number > 1e12);
    let text = design.check().unwrap_err().to_string();
    says(
        &text,
        &["k_base and tau cannot be told apart", "the same column (dQ)", "only k_base + tau is identifiable"],
    );
    assert!(!text.contains("gamma") && !text.contains("k_e"), "{text}");
}

#[test]
fn a_log_that_is_all_but_deficient_is_warned_of() {
    let nearly = Recipe { turning: [20.0, 0.1], noise: 0.0, dq: true, ..Recipe::default() };
    let found = nearly.identify(&by(Method::LeastSquares)).unwrap();
    assert!(found.condition_number > 100.0, "{}", found.condition_number);
    assert!(found.warnings.iter().any(|w| w.contains("condition number")), "{:?}", found.warnings);
    assert!((found.values.gamma / 0.35 - 1.0).abs() < 0.01);
    assert!(Recipe::default().identify(&by(Method::LeastSquares)).unwrap().warnings.is_empty());
}

#[test]
fn noise_of_q_is_found_its_bias_estimated_and_a_longer_window_helps() {
    let noisy = Recipe { noise_of_q: 2.5e-4, noise: 0.001, ..Recipe::default() };
    let found = noisy.identify(&by(Method::LeastSquares)).unwrap();
    assert!((found.filter.noise / 2.5e-4 - 1.0).abs() < 0.02, "{:?}", found.filter);
    let tau = &found.parameters[2];
    let (bias, error) = (tau.noise_bias.unwrap(), tau.estimate - 0.02);
    // The estimate is to first order, and the bias is not small.
    assert!(bias < -0.0002 && (0.8..1.3).contains(&(bias / error)), "{bias} {error}");
    assert!(found.warnings.iter().any(|w| w.contains("noise of Q shifts tau")), "{:?}", found.warnings);
    let longer = noisy.identify(&Options { window: 21, ..by(Method::LeastSquares) }).unwrap();
    assert!((longer.values.tau_s / 0.02 - 1.0).abs() < 0.01, "{:?}", longer.values);
    assert!(!longer.warnings.iter().any(|w| w.contains("noise of Q")), "{:?}", longer.warnings);
    // Where noise is all there is of ddQ, tau is refused.
    let drowned = Recipe { noise_of_q: 0.1, ..noisy };
    says(&refusal(&drowned, &[]), &["tau has no effect", "no more than its errors", "`window`"]);
}

#[test]
fn a_window_that_is_too_long_is_found_and_its_bias_estimated() {
    let recipe = Recipe { noise: 0.0, rows: 5000, ..Recipe::default() };
    let found = recipe.identify(&Options { window: 71, ..by(Method::LeastSquares) }).unwrap();
    let tau = &found.parameters[2];
    let (bias, error) = (tau.filter_bias.unwrap(), tau.estimate - 0.02);
    assert!(error.abs() > 0.0002 && (0.5..1.5).contains(&(bias / error)), "{bias} {error}");
    assert!(found.warnings.iter().any(|w| w.contains("shorter `window`")), "{:?}", found.warnings);
    // A longer one is not advised as well.
    assert!(!found.warnings.iter().any(|w| w.contains("longer")), "{:?}", found.warnings);
    // Where the filter leaves next to nothing of ddQ, it is not to smooth more.
    let waves = vec![[1.5, 1500.0, 0.3], [0.8, 1650.0, 1.1]];
    let text = refusal(&Recipe { waves, noise: 0.0, rows: 5000, ..Recipe::default() }, &[]);
    says(&text, &["tau has no effect", "log with a shorter dt, or smooth less by a shorter `window`"]);
    assert!(!text.contains("longer"), "{text}");
    // Noise alone is not taken for that.
    let noisy = Recipe { noise_of_q: 1e-3, ..Recipe::default() }
        .identify(&Options { window: 21, ..by(Method::LeastSquares) });
    assert!(!noisy.unwrap().warnings.iter().any(|w| w.contains("shorter")));
}

#[test]
fn rows_count_by_their_dt() {
    // Rows of half the step that come twice weigh as much as one: the optimum stays.
    let log = Recipe { dq: true, rows: 2000, ..Recipe::default() }.log();
    let term = |parameter, column, values: &[f64]| Term { parameter, column, values: values.to_vec() };
    let dq = log.dq.clone().unwrap();
    let make = |times: usize, weight: f64| {
        let again = |values: &[f64]| values.iter().flat_map(|v| vec![*v; times]).collect::<Vec<f64>>();
        let terms = vec![term(Parameter::KE, "Q", &again(&log.q)), term(Parameter::KBase, "dQ", &again(&dq))];
        Design::new(terms, again(&log.i_actual), vec![weight; 2000 * times]).unwrap().optimum().unwrap()
    };
    let (once, twice) = (make(1, 1.0), make(2, 0.5));
    assert!((once.objective / twice.objective - 1.0).abs() < 1e-12);
    for (a, b) in once.values.iter().zip(&twice.values) {
        assert!((a / b - 1.0).abs() < 1e-10, "{a} {b}");
    }
}

#[test]
fn gaps_are_left_out() {
    let mut log = Recipe { rows: 6000, ..Recipe::default() }.log();
    // The printer stood still for a second that the log has not.
    let cut = |values: &mut Vec<f64>| drop(values.drain(2000..3000));
    [&mut log.dt, &mut log.q, &mut log.w_rot, &mut log.i_actual].into_iter().for_each(cut);
    log.dt[2000] = 1.001;
    let found = identify(&log, &Options::default()).unwrap();
    assert_eq!((found.filter.gaps, found.filter.rows_left_out), (1, 16));
    assert!((found.values.tau_s / 0.02 - 1.0).abs() < 0.01);
}

#[test]
fn the_first_step_says_nothing() {
    let log = Recipe { rows: 1000, ..Recipe::default() }.log();
    let known = identify(&log, &Options::default()).unwrap();
    assert!((known.duration_s - 0.999).abs() < 1e-9 && (known.filter.window_s - 0.008).abs() < 1e-12);
    assert!((known.trace.time[0] - 0.004).abs() < 1e-12 && known.trace.row[0] == 4);
    // Many loggers write 0 there, and some the time of day.
    for first in [0.0, 1.7e9, 1e-300] {
        let mut other = log.clone();
        other.dt[0] = first;
        assert_eq!(identify(&other, &Options::default()).unwrap(), known, "{first}");
    }
    let mut other = log.clone();
    other.dt[0] = -1.0;
    let error = identify(&other, &Options::default()).unwrap_err().to_string();
    says(&error, &["dt of row 0 is -1: it has to be a finite number of 0 or above"]);
    other.dt[0] = 0.0;
    other.dt[1] = 0.0;
    let error = identify(&other, &Options::default()).unwrap_err().to_string();
    says(&error, &["dt of row 1 is 0: it has to be a finite number above 0"]);
    // One long step moves no other number than the length.
    let mut other = log;
    other.dt[500] = 1000.0;
    assert!((identify(&other, &Options::default()).unwrap().filter.window_s - 0.008).abs() < 1e-12);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for text in
        ["k_f=1", "k_e", "k_e=", "k_e=x", "k_e=NaN", "tau=0", "tau=0.6", "gamma=-0.1", "gamma=1.1", "k_e=inf"]
    {
        assert!(text.parse::<Fix>().is_err(), "{text}");
    }
    let fix = |text: &str| text.parse::<Fix>().unwrap();
    let all = ["k_e=12", "k_base=0.05", "tau=0.02", "gamma=0.3"].map(fix).to_vec();
    let options = |fixed: &[Fix], method| Options { fixed: fixed.to_vec(), ..by(method) };
    assert!(options(&all, Method::Both).check().is_err());
    assert!(options(&all[2..], Method::Bayesian).check().is_err());
    assert!(options(&[all[0], all[0]], Method::Both).check().is_err());
    let log = Recipe { rows: 1000, ..Recipe::default() }.log();
    let found = identify(&log, &options(&all[2..], Method::Both)).unwrap();
    assert_eq!((found.agree, found.bayesian), (None, None));
    assert!(found.warnings.iter().any(|w| w.contains("nothing to search")));
    let mut found = identify(&log, &options(&all[3..], Method::Both)).unwrap();
    assert_eq!((found.agree, found.values.gamma, found.parameters[3].fixed), (Some(true), 0.3, true));
    found.agree = Some(false);
    let error = found.gate().unwrap_err();
    assert_eq!(error.exit_code(), 1, "{error}");
}

#[test]
fn logs_that_are_no_columns_are_refused() {
    let good = Recipe { rows: 100, ..Recipe::default() }.log();
    let error = |log: &Log| identify(log, &Options::default()).unwrap_err().to_string();
    says(&error(&Log { q: vec![1.0; 99], ..good.clone() }), &["the column Q has 99 rows, but dt has 100"]);
    let mut negative = good.clone();
    negative.dt[7] = -0.1;
    says(&error(&negative), &["dt of row 7 is -0.1"]);
    let mut nan = good.clone();
    nan.w_rot[3] = f64::NAN;
    says(&error(&nan), &["w_rot of row 3 is NaN"]);
    let huge = Log { i_actual: vec![1e300; 100], ..good.clone() };
    says(&error(&huge), &["I_actual has values that are too large"]);
    says(&error(&Log { dt: vec![1e-200; 100], ..good }), &["too large to compute with"]);
    says(&error(&Log::default()), &["0 rows, fewer than the window of 9"]);
}

/// Runs the tool in a folder.
fn tool(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lowbit"));
    command.args(["edge", "identify"]).args(arguments).current_dir(folder).env("RUST_BACKTRACE", "1");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panicked"), "{arguments:?}: {err}");
    (output.status.code(), out, err)
}

#[test]
fn the_tool_says_it_as_a_table_as_json_and_as_a_picture() {
    let temporary = tempfile::tempdir().unwrap();
    let (folder, log) = (temporary.path(), asset("log.csv"));
    let log = log.to_str().unwrap();
    let (code, out, err) = tool(folder, &[log, "--svg", "fit.svg"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    says(
        &out,
        &[
            "k_base",
            "0.001 to 0.5",
            "Ljung-Box 8.97",
            "residuals white",
            "search of",
            "agrees",
            "order 4 over 9 rows",
        ],
    );
    let picture = fs::read_to_string(folder.join("fit.svg")).unwrap();
    says(&picture, &["measured", "fitted", "0.8475 A RMS", "</svg>"]);
    let (code, out, _) = tool(folder, &[log, "--json", "--method", "bayesian", "--fix", "k_e=12"]);
    assert_eq!(code, Some(0));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&document["method"], &document["rows"], &document["rows_used"]),
        (&"bayesian".into(), &800.into(), &792.into())
    );
    assert_eq!(
        (&document["values"]["k_e"], &document["rank"], &document["agree"]),
        (&12.0.into(), &3.into(), &Value::Null)
    );
    assert!((number(&document["values"], "tau_s") / 0.019970712704892885 - 1.0).abs() < 1e-4, "{document}");
    assert_eq!(document["filter"]["window_rows"], 9);
    assert_eq!(document["parameters"].as_array().unwrap().len(), 4);
}

#[test]
fn the_tool_refuses_what_is_wrong_in_words() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let head = "dt,Q,w_rot,I_actual\n";
    let row = |i: i32| {
        let t = 0.01 * f64::from(i);
        let (q, w) = (5.0 + (9.0 * t).sin() + (23.0 * t).cos(), 3.0 + (2.0 * t).sin());
        format!("0.01,{q},{w},{}\n", 12.0 * q + 0.3 * w * q)
    };
    let rows = |from: i32, to: i32| (from..to).map(row).collect::<String>();
    let good = rows(0, 100);
    let with = |line: &str| format!("{head}{}{line}\n{good}", rows(0, 2));
    let files: [(&str, Vec<u8>, &[&str]); 17] = [
        ("empty.csv", Vec::new(), &["the file is empty"]),
        ("header.csv", head.into(), &["no line behind the names"]),
        ("few.csv", format!("{head}{}", rows(0, 5)).into(), &["5 rows, fewer than the window of 9 rows"]),
        ("short.csv", format!("{head}{}", rows(0, 30)).into(), &["22 of its 30 rows", "30 or more"]),
        ("text.csv", with("0.01,fast,1,1").into(), &["line 4, column 2 ('Q'): 'fast' is no number"]),
        ("blank.csv", with("0.01,,1,1").into(), &["line 4, column 2 ('Q'): the cell is empty"]),
        ("nan.csv", with("0.01,1,NaN,1").into(), &["line 4, column 3 ('w_rot'): 'NaN' is no finite number"]),
        ("inf.csv", with("0.01,1,1,inf").into(), &["line 4", "'inf' is no finite number"]),
        ("back.csv", with("-0.01,1,1,1").into(), &["line 4, column 1 ('dt'): '-0.01' is no time", "above 0"]),
        ("zero.csv", with("0,1,1,1").into(), &["line 4, column 1 ('dt'): '0' is no time"]),
        ("ragged.csv", with("0.01,1,1").into(), &["line 4 has 3 cells; the first line has 4"]),
        (
            "missing.csv",
            format!("dt,Q,layer\n{}", "1,2,3\n".repeat(20)).into(),
            &["the columns 'w_rot', 'I_actual' are missing; there are 'dt', 'Q', 'layer'"],
        ),
        ("nameless.csv", good.clone().into(), &["its columns have no names", "'dt'"]),
        (
            "twice.csv",
            format!("dt,Q,Q,w_rot,I_actual\n{}", "1,2,2,3,4\n".repeat(20)).into(),
            &["two columns are called 'Q'"],
        ),
        (
            "constant.csv",
            format!("{head}{}", "0.01,5,3,60\n".repeat(100)).into(),
            &["rank 1 of 4", "k_e and gamma cannot", "tau has no effect"],
        ),
        (
            "huge.csv",
            format!("{head}{}", "1e300,1e300,1e300,1e300\n".repeat(100)).into(),
            &["too large to compute with"],
        ),
        ("binary.csv", (0..=255u8).cycle().take(4000).collect(), &["binary.csv: "]),
    ];
    for (name, bytes, words) in files {
        fs::write(folder.join(name), bytes).unwrap();
        for more in [&[][..], &["--json"]] {
            let (code, out, err) = tool(folder, &[&[name], more].concat());
            assert_eq!((code, out.as_str()), (Some(2), ""), "{name}: {err}");
            says(&err, &["error: ", name]);
            says(&err, words);
            assert!(err.lines().count() <= 2, "{err}");
        }
    }
    // The first row has no row before.
    fs::write(folder.join("first.csv"), format!("{head}0,5,3,60\n{good}")).unwrap();
    assert_ne!(tool(folder, &["first.csv"]).0, Some(2));
    fs::write(folder.join("first.csv"), format!("{head}-1,5,3,60\n{good}")).unwrap();
    says(&tool(folder, &["first.csv"]).2, &["line 2, column 1 ('dt'): '-1' is no time"]);
    fs::write(folder.join("good.csv"), format!("{head}{good}")).unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    let refused: [(&[&str], &[&str]); 12] = [
        (&["folder"], &["this is a folder"]),
        (&["nothing.csv"], &["nothing.csv"]),
        (&["good.csv", "--fix", "k_f=1"], &["k_f=1", "the parameters are k_e, k_base, tau and gamma"]),
        (&["good.csv", "--fix", "tau=0.9"], &["tau is 0.9: it has to be in [0.001, 0.5]"]),
        (&["good.csv", "--fix", "gamma=-1"], &["gamma is -1: it has to be in [0, 1]"]),
        (&["good.csv", "--fix", "k_e=x"], &["its value is no number"]),
        (&["good.csv", "--fix", "k_e=1", "--fix", "k_e=2"], &["k_e is fixed twice"]),
        (&["good.csv", "--svg", "good.csv"], &["this would overwrite an input"]),
        (&["good.csv", "--svg", "nowhere/x.svg"], &["the folder nowhere does not exist"]),
        (&["good.csv", "--window", "8"], &["the window is 8 rows", "odd number from 9 to 1001"]),
        (&["good.csv", "--order", "1"], &["the order is 1: it has to be from 2 to 8"]),
        (&["good.csv", "--method", "guess"], &["least-squares", "bayesian", "both"]),
    ];
    for (arguments, words) in refused {
        let (code, out, err) = tool(folder, arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        says(&err, words);
    }
    let untouched = fs::read_to_string(folder.join("good.csv")).unwrap();
    assert_eq!(untouched, format!("{head}{good}"));
}
