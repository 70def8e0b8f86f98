//! The roofs of an adapter, for people.

use crate::roofline::{Roof, Roofs};
use crate::table::{render, size};

/// The roofs of an adapter.
pub fn text(roofs: &Roofs) -> String {
    let row = |name: &str, roof: Option<&Roof>| match roof {
        Some(roof) => vec![
            name.to_owned(),
            format!("{:.1} {}", roof.value, roof.unit),
            format!("{:.1} to {:.1}", roof.low, roof.high),
            roof.formula.clone(),
            roof.variant.clone()
                + roof.note.as_deref().map(|note| format!("\n{note}")).as_deref().unwrap_or(""),
        ],
        None => vec![name.to_owned(), "-".into(), "-".into(), "this adapter has none".into(), String::new()],
    };
    let mut text = format!("{} ({}, {})\n", roofs.adapter.name, roofs.adapter.backend, roofs.adapter.driver);
    text += &render(
        &["roof", "value", "spread", "formula", "variant"],
        roofs.named().into_iter().map(|(name, roof)| row(name, roof)).collect(),
    );
    if let Some(peak) = roofs.peak_gbs {
        text += &format!("copy is {:.1} % of the datasheet's {peak} GB/s\n", roofs.copy.value / peak * 100.0);
    }
    text += "value: the median of the best round; spread: the slowest tenth of all rounds to the fastest\n";
    let launch = &roofs.launch;
    text +=
        &format!("launch: {} a dispatch, {:.1} us a round trip\n", launch.dispatch(), launch.round_trip_us);
    if !roofs.sweep.is_empty() {
        let points = roofs.sweep.iter().map(|p| format!("{} {:.1}", size(p.bytes), p.gb_s));
        text += &format!("copy by size, GB/s: {}\n", points.collect::<Vec<_>>().join(", "));
    }
    text
}
