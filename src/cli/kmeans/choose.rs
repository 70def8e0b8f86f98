//! `lowbit kmeans choose`

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use indicatif::ProgressBar;

use super::fitting::Fitting;
use super::{Points, Session, Traced, about, borrowed, check_outputs, notices, written};
use lowbit::internals::io::output::{check_ending, write_whole};
use lowbit::internals::kmeans::{Choosing, Progress};
use lowbit::internals::report::choice;

const METHODS: &str = "First centroids: k-means++, k-means|| (few passes, for large k and many points), bisecting, two-level or random";

#[derive(Args, Debug)]
#[command(mut_arg("init", |arg| arg.help(METHODS).value_name("METHOD")))]
pub struct Arguments {
    #[command(flatten)]
    points: Points,
    /// Numbers of clusters to try: 2..20 (both ends too), 2..64:2 by steps, 2..256x2 by factors, and several of these or single
    /// numbers with commas between
    #[arg(short, long, value_name = "2..20")]
    k: Numbers,
    /// Measure silhouettes of so many rows at most, uniformly drawn; their time grows with its square
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    sample: usize,
    /// Measure no silhouettes: the elbow alone
    #[arg(long, conflicts_with = "sample")]
    no_silhouette: bool,
    #[command(flatten)]
    fitting: Fitting,
    /// Draw inertia and silhouettes over k here, with elbow and best silhouette
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    traced: Traced,
}

/// Numbers of clusters, as they were given.
#[derive(Clone, Debug, PartialEq)]
struct Numbers(Vec<usize>);

/// The most that one call tries.
const MOST: usize = 10_000;

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for part in text.split(',') {
            add(part.trim(), &mut all)?;
        }
        Ok(Self(all))
    }
}

/// Adds a number or a range.
fn add(part: &str, all: &mut Vec<usize>) -> Result<(), String> {
    let number = |text: &str| match text.parse() {
        Ok(0) => Err(format!("{part}: numbers of clusters are 1 or more")),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{part:?} is neither a number nor a range such as 2..20, 2..64:2 or 2..256x2")),
    };
    // A number is a range of one.
    let (from, rest) = part.split_once("..").unwrap_or((part, part));
    let (to, step) = rest.split_at(rest.find([':', 'x']).unwrap_or(rest.len()));
    let (from, to) = (number(from)?, number(to)?);
    let by = if step.is_empty() { 1 } else { number(&step[1..])? };
    let times = step.starts_with('x');
    if times && by == 1 {
        return Err(format!("{part}: a factor is 2 or more"));
    }
    if from > to {
        return Err(format!("{part} is empty: the smaller end comes first"));
    }
    let mut next = Some(from);
    while let Some(k) = next.filter(|&k| k <= to) {
        if all.len() == MOST {
            return Err(format!(
                "more than {MOST} numbers of clusters: take larger steps, such as {from}..{to}x2"
            ));
        }
        all.push(k);
        next = if times { k.checked_mul(by) } else { k.checked_add(by) };
    }
    Ok(())
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { points, k: Numbers(ks), fitting, svg, traced, .. } = arguments;
    if let Some(path) = fitting.given()? {
        anyhow::bail!(
            "--init {}: centroids of a file are of one number of clusters; the methods (k-means++, random and others) are of any",
            path.display()
        );
    }
    let inputs = [points.files(), fitting.files()].concat();
    check_outputs(svg.iter().map(PathBuf::as_path).collect(), &borrowed(&inputs), traced)?;
    if let Some(path) = svg {
        check_ending(path, "svg", "a picture of curves is SVG")?;
    }
    if svg.is_some() && ks.iter().all(|k| *k == ks[0]) {
        anyhow::bail!("--svg: one number of clusters has no curve; give several");
    }
    let terminal = &session.terminal;
    let data = points.open(false, terminal)?;
    let weights = fitting.weights(&data, ks.iter().copied().max().unwrap_or(1), session)?;
    let kmeans = fitting.settings(points.settings(1)).init(fitting.init(false, session)?);
    let sample = (!arguments.no_silhouette).then_some(arguments.sample);
    session.with_device(traced, |gpu| {
        let bar = terminal.bar(ks.len() as u64, "k-means {bar:20} {pos}/{len} {elapsed} ETA {eta} {msg}");
        let chosen = kmeans.choose(gpu, &data, weights.as_deref(), ks, sample, |news| show(&bar, news));
        bar.finish_and_clear();
        let chosen = chosen.map_err(about(data.path()))?;
        notices(terminal, &chosen.notices);
        if let Some(path) = svg {
            let picture = choice::svg(&chosen)?;
            write_whole(path, |out| std::io::Write::write_all(out, picture.as_bytes()))?;
        }
        written(terminal, svg.as_deref());
        terminal.result(&chosen, || choice::text(&chosen))?;
        Ok(None)
    })
}

fn show(bar: &ProgressBar, news: Choosing<'_>) {
    match news {
        Choosing::Fitting { k, done, of, progress } => {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.set_message(match progress {
                Progress::Seeding { chosen, of } => format!("k={k}: seed {chosen} of {of}"),
                Progress::Iterating { n_iter, changed, .. } => {
                    format!("k={k}: iteration {n_iter}, {changed} moved")
                }
                _ => format!("k={k}"),
            });
        }
        Choosing::Measuring { done, of } => {
            bar.set_position(bar.length().unwrap_or_default());
            bar.set_message(format!("silhouettes: {done} of {of} rows"));
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    fn of(text: &str) -> Result<Vec<usize>, String> {
        text.parse().map(|Numbers(all)| all)
    }

    #[test]
    fn ranges_have_both_ends_steps_and_factors() {
        for (text, expected) in [
            ("4", &[4][..]),
            ("2,4, 8", &[2, 4, 8]),
            ("2..5", &[2, 3, 4, 5]),
            ("3..3", &[3]),
            ("2..9:3", &[2, 5, 8]),
            ("2..16x2", &[2, 4, 8, 16]),
            ("3..50x4", &[3, 12, 48]),
            ("8,2..4,20..30:5", &[8, 2, 3, 4, 20, 25, 30]),
            ("18446744073709551615", &[usize::MAX]),
            ("9223372036854775808..18446744073709551615x2", &[1 << 63]),
        ] {
            assert_eq!(of(text).unwrap(), expected, "{text}");
        }
        assert_eq!(of("1..10000").unwrap().len(), 10_000);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for (text, words) in [
            ("", "\"\" is neither a number nor a range"),
            ("2,,3", "\"\" is neither"),
            ("0", "1 or more"),
            ("0..4", "1 or more"),
            ("20..2", "20..2 is empty"),
            ("2..8:0", "1 or more"),
            ("2..8x1", "a factor is 2 or more"),
            ("2..8x0", "1 or more"),
            ("2..", "\"2..\" is neither"),
            ("2-20", "\"2-20\" is neither"),
            ("2..20:2:3", "is neither"),
            ("-3..4", "is neither"),
            ("1..10001", "more than 10000 numbers of clusters"),
            ("1..18446744073709551615", "such as 1..18446744073709551615x2"),
            ("99999999999999999999", "is neither"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
