//! `lowbit bench kv`

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Session, Traced, check_outputs, tokens};
use lowbit::internals::Error;
use lowbit::internals::codec::{Pair, check_head_dim};
use lowbit::internals::report::decode::{self, Shape};
use lowbit::internals::roofline::{self, Effort, MeasureOptions};

/// Time to measure an attention in, and an encoding.
const BUDGET: Duration = Duration::from_millis(300);

/// The attention of new tokens, in one layer, over a cache of random tokens.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Tokens that are attended to, such as 1k,8k,1000; if none are given 1k,8k,32k,128k, and 1k,8k in software. Those that
    /// the device has no room for are skipped
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = held)]
    context: Vec<u64>,
    /// Query heads of a kv head; if none are given 1,4,8, and 4 in software
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = heads)]
    groups: Vec<usize>,
    /// Types, such as q8_0,q8_0:turbo3 (keys:values); if none is given all nine, and f16,q8_0,q4_0,turbo3 in software. Speeds are
    /// compared with f16 if it is among them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    types: Vec<Pair>,
    /// Heads of keys and values
    #[arg(long, value_name = "N", default_value = "8", value_parser = heads)]
    kv_heads: usize,
    /// The head dimension
    #[arg(long, value_name = "D", default_value = "128", value_parser = head_dim)]
    head_dim: usize,
    /// So many of the newest tokens ask: 1 for a step of generation, more for a part of a prompt
    #[arg(long, value_name = "N", default_value = "1", value_parser = held)]
    queries: u64,
    /// Also say what it is worth that query heads share loads: each is timed by itself too
    #[arg(long)]
    ungrouped: bool,
    #[command(flatten)]
    traced: Traced,
}

/// As many tokens as a device can number.
fn held(text: &str) -> Result<u64, &'static str> {
    let tokens = tokens(text).ok().filter(|&tokens| tokens <= u64::from(u32::MAX));
    tokens.ok_or("give a number of tokens from 1 to 4294967295, such as 8192 or 8k")
}

fn heads(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(heads @ 1..=1024) => Ok(heads),
        _ => Err("give a number of heads from 1 to 1024"),
    }
}

fn head_dim(text: &str) -> Result<usize, String> {
    let dim = text.parse().map_err(|_| "give a number, such as 128".to_owned())?;
    check_head_dim(dim).map(|()| dim).map_err(|error| error.to_string())
}

/// The given ones, each once, or those that are usual.
fn list<T: Copy + PartialEq>(given: &[T], usual: impl FnOnce() -> Vec<T>) -> Vec<T> {
    let mut list = Vec::new();
    for &one in given {
        if !list.contains(&one) {
            list.push(one);
        }
    }
    if list.is_empty() { usual() } else { list }
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    check_outputs(Vec::new(), &[], &arguments.traced)?;
    let terminal = &session.terminal;
    let &Arguments { kv_heads, head_dim, queries, ungrouped, .. } = arguments;
    session.with_device(&arguments.traced, |gpu| {
        let spinner = terminal.spinner();
        let options = MeasureOptions { effort: Effort::Quick, peak_gbs: None, sweep: false };
        let roofs = roofline::measure(gpu, &options, &mut |step| spinner.set_message(step.to_owned()))?;
        let contexts = list(&arguments.context, || decode::contexts(gpu));
        let groups = list(&arguments.groups, || decode::groups(gpu));
        let types = list(&arguments.types, || decode::types(gpu));
        let defaults =
            [arguments.context.is_empty(), arguments.groups.is_empty(), arguments.types.is_empty()];
        if gpu.adapter.is_software() && defaults.contains(&true) {
            terminal
                .notice("in software, unless given: --context 1k,8k --groups 4 --types f16,q8_0,q4_0,turbo3");
        }
        let (mut rows, mut skipped) = (Vec::new(), Vec::new());
        for &group in &groups {
            for &context in &contexts {
                for &types in &types {
                    let shape = Shape { context, queries, group, kv_heads, head_dim };
                    spinner.set_message(format!("{types} {shape}"));
                    match decode::measure(gpu, &roofs, types, shape, ungrouped, BUDGET) {
                        Ok(row) => rows.push(row),
                        Err(error) if error.is_input() || matches!(error, Error::OutOfMemory { .. }) => {
                            skipped.push((format!("{types} {shape}"), error));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        spinner.finish_and_clear();
        if rows.is_empty()
            && let Some((_, error)) = skipped.pop()
        {
            return Err(error.into());
        }
        decode::compare(&mut rows);
        for (case, error) in &skipped {
            terminal.notice(&format!("{case} is skipped: {error}"));
        }
        let skipped: Vec<_> = skipped
            .iter()
            .map(|(case, error)| json!({ "case": case, "reason": error.to_string() }))
            .collect();
        let document = json!({ "adapter": roofs.adapter, "version": roofs.version, "commit": roofs.commit,
            "roofs": roofs, "kernels": rows, "skipped": skipped });
        terminal.result(&document, || decode::text(&rows))?;
        Ok(Some(roofs))
    })
}
