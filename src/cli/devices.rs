//! `lowbit devices`

use super::Session;
use lowbit::internals::Error;
use lowbit::internals::gpu::{AdapterReport, adapters};
use lowbit::internals::table;

pub fn run(session: &Session) -> anyhow::Result<()> {
    let wanted = session.adapter.as_deref();
    let mut found = adapters();
    let names = found.iter().map(|adapter| adapter.name.clone()).collect();
    if let Some(wanted) = wanted {
        found.retain(|adapter| adapter.name.to_lowercase().contains(&wanted.to_lowercase()));
    }
    if found.is_empty() {
        return Err(Error::NoAdapter { wanted: wanted.map(str::to_owned), found: names }.into());
    }
    session.terminal.result(&found, || text(&found))
}

type Fact<'a> = (&'a str, &'a dyn Fn(&AdapterReport) -> String);

fn text(found: &[AdapterReport]) -> String {
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let facts: &[Fact<'_>] = &[
        ("backend", &|a| a.backend.clone()),
        ("kind", &|a| a.kind.to_owned()),
        ("driver", &|a| a.driver.clone()),
        ("largest buffer", &|a| mebibytes(a.max_buffer_bytes)),
        ("largest binding", &|a| mebibytes(a.max_binding_bytes)),
        ("workgroup", &|a| {
            format!("{} invocations, {} KiB", a.max_workgroup_invocations, a.max_workgroup_bytes >> 10)
        }),
        ("subgroups", &|a| match a.subgroup_size {
            Some((min, max)) if min == max => format!("{min}"),
            Some((min, max)) => format!("{min} to {max}"),
            None => "no".into(),
        }),
        ("f16 in shaders", &|a| yes(a.shader_f16)),
        ("64-bit integers in shaders", &|a| yes(a.shader_int64)),
        ("GPU timestamps", &|a| yes(a.timestamps)),
        ("cooperative matrices", &|a| match a.cooperative_matrix.as_slice() {
            [] => "no".into(),
            shapes => shapes.join("\n"),
        }),
    ];
    let mut text = String::new();
    for adapter in found {
        let rows = facts.iter().map(|(name, fact)| vec![(*name).to_owned(), fact(adapter)]).collect();
        text += &table::render(&[&adapter.name, ""], rows);
        text += "\n";
    }
    text
}
