//! The trials of every tuner: each variant that runs here gives right results, or is told of.

use lowbit::internals::classify::engine::{Engine, Keep};
use lowbit::internals::codec::{CacheType, Codec, Side};
use lowbit::internals::format::Format;
use lowbit::internals::gpu::{Context, Options};
use lowbit::internals::kmeans::assign;
use lowbit::internals::kmeans::centroid::{Centroid, Scales};
use lowbit::internals::kmeans::element::{Element, Layout};
use lowbit::internals::kmeans::frame::Transform;
use lowbit::internals::kmeans::seed::Seed;
use lowbit::internals::kv::attend::{self, Heads};
use lowbit::internals::matmul::Path;
use lowbit::internals::matmul::choice::tuned;
use lowbit::internals::report::tuning::network;

fn measuring() -> Context {
    Context::open(&Options { measure: true, ..Options::default() }).unwrap()
}

fn all_were_right(gpu: &Context) {
    let wrong: Vec<String> =
        gpu.notices().into_iter().filter(|notice| notice.contains("wrong result")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn assignments_are_tried() {
    let gpu = measuring();
    assign::tuned(&gpu, Layout::F32, 10_000, 16, 4).unwrap();
    // Many small problems.
    assign::tuned(&gpu, Layout::F32, 20, 16, 4).unwrap();
    all_were_right(&gpu);
}

#[test]
fn sums_and_seeds_are_tried_in_every_frame() {
    let gpu = measuring();
    for (element, transform) in [
        (Element::F32, Transform::Plain),
        (Element::U8, Transform::Centred(vec![0.0; 8])),
        (Element::I8, Transform::Unit),
        (Element::F16, Transform::Plain),
    ] {
        let layout = Layout::new(element, &transform);
        Centroid::tuned(&gpu, layout, 8, Scales::new(1.0, None)).unwrap();
        Seed::tuned(&gpu, layout, 1000, 8, 20).unwrap();
    }
    all_were_right(&gpu);
}

#[test]
fn products_are_tried_on_every_path() {
    let gpu = measuring();
    let format = Format::by_name("Q8_0").unwrap();
    tuned(&gpu, format, [70, 64, 2], Path::Auto).unwrap();
    // Tiles that are shared.
    tuned(&gpu, format, [70, 1024, 12], Path::Auto).unwrap();
    all_were_right(&gpu);
}

#[test]
fn an_attention_is_tried() {
    let gpu = measuring();
    let codec = |side| Codec::new(CacheType::Turbo2, side, 32).unwrap();
    let heads = Heads { kv: 2, each: 1, dim: 32 };
    for queries in [1, 17] {
        attend::fastest(&gpu, &codec(Side::Keys), &codec(Side::Values), heads, queries).unwrap();
    }
    all_were_right(&gpu);
}

#[test]
fn large_layers_are_tried() {
    let gpu = measuring();
    Engine::new(&gpu, &network(64), 300, Keep::Output).unwrap();
    all_were_right(&gpu);
}
