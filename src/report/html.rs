//! The report as one HTML file that needs nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::attention::{self, Evaluation, TypeRow};
use super::caches;
use super::classifiers::{self, ClassifierRow};
use super::clustering::{self, ClusteringRow};
use super::photo::PhotoRow;
use super::starnet::{self, StarNetRow};
use super::{Report, svg};
use crate::Result;
use crate::roofline::kernels::KernelRow;

const STYLE: &str = "
:root { color-scheme: light; }
body { background: #fff; font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 1060px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.sub { color: #57606a; margin-top: .2rem; } .notice { background: #fff8e1; border-left: 4px solid #e0a800; padding: .4rem .8rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d8dee4; white-space: nowrap; }
td.w, th.w { white-space: normal; } td.w { min-width: 7rem; }
table.figures :is(th, td):not(:first-child) { text-align: right; } table.figures td:first-child { white-space: normal; min-width: 11rem; }
th { color: #57606a; font-weight: 600; } td.n, th.n { text-align: right; }
.meter { display: inline-block; width: 80px; height: 9px; background: #eaeef2; margin-right: .5rem; }
.meter i { display: block; height: 100%; background: #1f61b5; }
svg { max-width: 100%; height: auto; border: 1px solid #d8dee4; }
figure { display: inline-block; width: 48%; margin: 0 1% 0 0; vertical-align: top; } figure img { width: 100%; }
.curves figure { width: 32%; } figcaption { color: #57606a; } .swatches { display: flex; height: 34px; margin: .6rem 0 1.4rem; }
@media (max-width: 640px) { figure { width: 100%; } }
";

/// The whole page.
pub fn page(report: &Report) -> Result<String> {
    let roofs = &report.roofs;
    let mut html = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>lowbit report: {name}</title><style>{STYLE}</style></head><body>\n\
         <h1>lowbit report</h1><p class=\"sub\">{name} · {backend} · {driver} · lowbit {version}{commit}</p>\n",
        name = escape(&roofs.adapter.name),
        backend = escape(&roofs.adapter.backend),
        driver = escape(&roofs.adapter.driver),
        version = roofs.version,
        commit = roofs.commit.map(|commit| format!(" ({commit})")).unwrap_or_default(),
    );
    for notice in &report.notices {
        let _ = writeln!(html, "<p class=\"notice\">{}</p>", escape(notice));
    }
    let _ = writeln!(html, "{}", svg::roofline(roofs, &report.kernels)?);
    kernels_table(&mut html, &report.kernels);
    clusterings_section(&mut html, &report.clusterings);
    caches_section(&mut html, &report.kv_cache);
    classifiers_section(&mut html, &report.classifiers);
    starnets_section(&mut html, &report.starnets);
    html.push_str("<h2>Roofs</h2>");
    roofs_table(&mut html, report);
    if roofs.sweep.len() > 1 {
        let _ = writeln!(html, "{}", svg::sweep(roofs)?);
    }
    for photo in &report.photos {
        photo_section(&mut html, photo);
    }
    compilers_section(&mut html)?;
    html += "</body></html>\n";
    Ok(html)
}

fn roofs_table(html: &mut String, report: &Report) {
    let roofs = &report.roofs;
    html.push_str(
        "<div class=\"wide\"><table><tr><th>roof</th><th class=\"n\">value</th><th class=\"n\">spread</th>\
         <th>formula</th><th>variant</th></tr>",
    );
    for (name, roof) in roofs.named() {
        let _ = match roof {
            Some(roof) => write!(
                html,
                "<tr><td>{name}</td><td class=\"n\">{:.1} {}</td><td class=\"n\">{:.1} to {:.1}</td><td class=\"w\">{}</td>\
                 <td class=\"w\">{}</td></tr>",
                roof.value,
                roof.unit,
                roof.low,
                roof.high,
                escape(&roof.formula),
                escape(&roof.variant)
                    + &roof
                        .note
                        .as_deref()
                        .map(|note| format!("<br><em>{}</em>", escape(note)))
                        .unwrap_or_default()
            ),
            None => write!(html, "<tr><td>{name}</td><td colspan=\"4\">this adapter has none</td></tr>"),
        };
    }
    let _ = writeln!(
        html,
        "</table></div><p class=\"sub\">Launch: {} a dispatch, {:.1} us for a submission and its wait. \
         Value: the median of the best round; spread: the slowest tenth of all rounds to the fastest. \
         Gigabytes are 10<sup>9</sup> bytes; copy counts what it reads and what it writes.</p>",
        roofs.launch.dispatch(),
        roofs.launch.round_trip_us
    );
}

/// What a compiler of a GPU that was not here made of the shaders (`make drivers`).
#[derive(Deserialize)]
struct Compiler {
    what: String,
    driver: String,
    shaders: usize,
    failed: usize,
    spilled: usize,
    given: usize,
    given_spilled: usize,
}

fn compilers_section(html: &mut String) -> Result<()> {
    let text = include_str!("../../benches/results/compilers/summary.json");
    let all: BTreeMap<String, Compiler> = serde_json::from_str(text)
        .map_err(|error| crate::Error::Input(format!("what compilers made of the shaders: {error}")))?;
    html.push_str(
        "<h2>Compilers</h2><p class=\"sub\">What compilers of GPUs that were not at hand made of every shader when this version was made: those \
         that failed, and those with spilled registers or private memory, of all and of those that GPUs are given.</p>\
         <div class=\"wide\"><table><tr><th>GPU</th><th>driver</th><th class=\"n\">shaders</th><th class=\"n\">failed</th>\
         <th class=\"n\">spill</th><th class=\"n\">given to GPUs</th><th class=\"n\">spill</th></tr>",
    );
    for compiler in all.values() {
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"w\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&compiler.what),
            escape(&compiler.driver),
            compiler.shaders,
            compiler.failed,
            compiler.spilled,
            compiler.given,
            compiler.given_spilled
        );
    }
    html.push_str("</table></div>");
    Ok(())
}

fn kernels_table(html: &mut String, rows: &[KernelRow]) {
    html.push_str(
        "<h2>Kernels</h2><p class=\"sub\">Each verified against its oracle on poisoned, guarded buffers, then timed. \
         Share of roof: the shortest time that the measured roofs allow, over the time taken.</p>\
         <div class=\"wide\"><table><tr><th>kernel</th><th>size</th><th>variant</th><th class=\"n\">verified</th>\
         <th class=\"n\">us</th><th class=\"n\">GB/s</th><th class=\"n\">Gop/s</th><th>bound by</th>\
         <th>share of roof</th></tr>",
    );
    for row in rows {
        let share = row.share.value * 100.0;
        let shown = if row.share.valid {
            format!(
                "<span class=\"meter\"><i style=\"width:{:.0}%\"></i></span>{share:.1} %",
                share.min(100.0)
            )
        } else {
            "invalid".into()
        };
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"w\">{}</td><td class=\"w\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td>\
             <td class=\"n\">{:.2}</td><td class=\"n\">{:.2}</td><td>{}</td><td>{shown}</td></tr>",
            row.kernel,
            escape(&row.case),
            escape(&row.variant),
            row.verified,
            row.timing.us,
            row.gb_s,
            row.gop_s,
            row.share.bound
        );
    }
    html.push_str("</table></div>\n");
}

fn clusterings_section(html: &mut String, rows: &[ClusteringRow]) {
    html.push_str("<h2>K-means</h2>");
    figures(html, clustering::HEADER, rows.iter().map(clustering::cells));
    let _ = writeln!(html, "<p class=\"sub\">{}.</p>", clustering::NOTE);
}

fn caches_section(html: &mut String, evaluation: &Evaluation) {
    html.push_str("<h2>KV caches</h2>");
    figures(html, attention::HEADER, evaluation.types.iter().map(TypeRow::figures));
    let _ = writeln!(
        html,
        "<p class=\"sub\">{}; {}.</p><p>Recommended: {}.</p>",
        escape(&caches::subject(evaluation)),
        escape(attention::NOTE),
        escape(&evaluation.recommendation)
    );
}

fn classifiers_section(html: &mut String, rows: &[ClassifierRow]) {
    html.push_str("<h2>INT8 classifiers</h2>");
    figures(html, classifiers::HEADER, rows.iter().map(classifiers::cells));
    let _ = writeln!(html, "<p class=\"sub\">{}.</p><div class=\"curves\">", classifiers::NOTE);
    for row in rows {
        let verdict = escape(&row.judgement.audit.verdict);
        let _ =
            writeln!(html, "<figure>{}<figcaption>{}: {verdict}</figcaption></figure>", row.curves, row.name);
    }
    html.push_str("</div>\n");
}

fn starnets_section(html: &mut String, rows: &[StarNetRow]) {
    html.push_str("<h2>Networks whose sums cannot overflow</h2>");
    figures(html, starnet::HEADER, rows.iter().map(starnet::cells));
    let _ = writeln!(html, "<p class=\"sub\">{}.</p>", starnet::NOTE);
}

/// A table whose columns are figures, but for the first.
fn figures<const N: usize>(html: &mut String, header: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let header = header.map(|name| format!("<th class=\"w\">{name}</th>")).concat();
    let _ = write!(html, "<div class=\"wide\"><table class=\"figures\"><tr>{header}</tr>");
    for row in rows {
        let _ = write!(html, "<tr>{}</tr>", row.map(|cell| format!("<td>{}</td>", escape(&cell))).concat());
    }
    html.push_str("</table></div>");
}

fn photo_section(html: &mut String, photo: &PhotoRow) {
    let palette = &photo.palette;
    let picture = |png: &[u8], caption: &str| {
        format!(
            "<figure><img alt=\"{caption}\" src=\"data:image/png;base64,{}\"><figcaption>{caption}</figcaption></figure>",
            BASE64_STANDARD.encode(png)
        )
    };
    let colours = palette.colours.len();
    let _ = write!(
        html,
        "<h2>{} in {colours} colours</h2>\n<p class=\"sub\">{} x {} pixels, exact k-means in Oklab: {} iterations of \
         {:.1} ms, rms error {:.4}</p>\n{}{}<div class=\"swatches\">",
        photo.name,
        palette.width,
        palette.height,
        palette.clustering.n_iter,
        palette.clustering.ms_per_iteration,
        palette.rms_error,
        picture(&photo.before, "before"),
        picture(&photo.after, "after"),
    );
    for swatch in &palette.colours {
        let _ = write!(
            html,
            "<span title=\"{hex} {share:.1} %\" style=\"background:{hex};flex:{flex:.4}\"></span>",
            hex = swatch.hex,
            share = swatch.share * 100.0,
            flex = swatch.share.max(0.005),
        );
    }
    html.push_str("</div>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
