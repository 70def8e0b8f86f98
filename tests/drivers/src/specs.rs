//! Every shader that lowbit compiles: the registry's, the core's own, and `attend` as caches specialize it.

use std::collections::BTreeSet;

use anyhow::Result;
use lowbit::internals::cases::REGISTRY;
use lowbit::internals::codec::{CacheType, Codec, Side};
use lowbit::internals::gpu::Spec;
use lowbit::internals::gpu::dispatch::{Row, SHIPPED, named};
use lowbit::internals::gpu::source::FILES;
use lowbit::internals::kv::attend;

/// A shader with its kernel's stem.
#[derive(Clone, Debug)]
pub struct Shader {
    /// The stem of its entry in the registry.
    pub stem: &'static str,
    /// How it is specialized.
    pub spec: Spec,
}

/// The labels of those that GPUs of this maker are given: by the shipped table (`gpu/dispatch`), and all of kernels that it does not
/// speak of.
pub fn given(maker: &str) -> Result<BTreeSet<String>> {
    let own = SHIPPED.iter().filter(|row| row.on == maker);
    // A maker's own row stands before one for all GPUs that speaks of the same work.
    let instead = |row: &&Row| {
        !own.clone().any(|own| (&own.kernel, &own.of, &own.sizes) == (&row.kernel, &row.of, &row.sizes))
    };
    let rows: Vec<_> =
        SHIPPED.iter().filter(|row| row.on == "gpu").filter(instead).chain(own.clone()).collect();
    let mut given = BTreeSet::new();
    for entry in REGISTRY.iter().filter(|entry| entry.stem != "attend") {
        given.extend(entry.stages.iter().map(Spec::label));
        let first = entry.variants.first().map_or("", |spec| spec.file);
        let stem = first.rsplit('/').next().unwrap_or(first);
        let spoken =
            rows.iter().any(|row| row.kernel == first || row.variant.split(' ').next() == Some(stem));
        let whole: Vec<Spec> =
            entry.specs().into_iter().filter(|spec| !entry.stages.contains(spec)).collect();
        if !spoken {
            given.extend(whole.iter().map(Spec::label));
            continue;
        }
        let decoders =
            if entry.decoders.is_empty() { vec![None] } else { entry.decoders.iter().map(Some).collect() };
        for decoder in decoders {
            let has = |spec: &&Spec| {
                decoder.is_none_or(|decoder| spec.slots.iter().flatten().any(|(_, file)| file == decoder))
            };
            let list: Vec<Spec> = whole.iter().filter(has).copied().collect();
            let taken: Vec<&Spec> = rows.iter().filter_map(|row| named(&list, &row.variant)).collect();
            // Where no row names one, the first runs. All families have subgroups, so that those of rows do.
            let first = list.first().filter(|_| taken.is_empty());
            given.extend(taken.into_iter().chain(first).map(Spec::label));
        }
    }
    given.extend(attend::STAGES.iter().map(Spec::label));
    // Of a kernel that a row of theirs speaks of, what it names.
    let spoken = |spec: &Spec| {
        let mut of_kernel = rows.iter().filter(|row| row.kernel == spec.file).peekable();
        of_kernel.peek().is_none() || of_kernel.any(|row| named(&[*spec], &row.variant).is_some())
    };
    given.extend(attends()?.iter().filter(|spec| spoken(spec)).map(Spec::label));
    Ok(given)
}

/// Those whose labels have all of the words `only`.
pub fn all(only: &[String]) -> Result<Vec<Shader>> {
    let mut all: Vec<Shader> = Vec::new();
    for entry in REGISTRY.iter().filter(|entry| entry.stem != "attend") {
        all.extend(entry.specs().into_iter().map(|spec| Shader { stem: entry.stem, spec }));
    }
    let own = FILES.iter().filter(|(name, _)| name.starts_with("gpu/"));
    all.extend(own.map(|(name, _)| Shader { stem: "gpu", spec: Spec::new(name) }));
    let attends = attends()?.into_iter().chain(attend::STAGES.iter().copied());
    all.extend(attends.map(|spec| Shader { stem: "attend", spec }));
    all.retain(|shader| {
        let label = shader.spec.label();
        let words: Vec<&str> = label.split(' ').collect();
        only.iter().all(|word| words.contains(&word.as_str()) || shader.stem == word)
    });
    Ok(all)
}

/// `attend` for every type of cache at a dimension of 128, for keys that lie by token, and for latents.
fn attends() -> Result<Vec<Spec>> {
    const DIM: usize = 128;
    const RANK: usize = 512;
    const ROPE: usize = 64;
    let mut pairs = Vec::new();
    for ty in CacheType::ALL {
        pairs.push((Codec::new(ty, Side::Keys, DIM)?, Codec::new(ty, Side::Values, DIM)?, false));
    }
    let f16 = |side, dim| Codec::new(CacheType::F16, side, dim);
    pairs.push((f16(Side::Keys, DIM)?, f16(Side::Values, DIM)?, true));
    pairs.push((f16(Side::Keys, ROPE)?, Codec::latent(CacheType::F16, RANK)?, false));
    pairs.push((f16(Side::Keys, ROPE)?, Codec::latent(CacheType::Q8_0, RANK)?, false));
    let mut specs = Vec::new();
    for (keys, values, by_token) in &pairs {
        for spec in attend::VARIANTS {
            if attend::fits(spec, keys, values)? {
                specs.push(attend::specialized(spec, keys, values, *by_token)?);
            }
        }
    }
    Ok(specs)
}
