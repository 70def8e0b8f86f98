//! The instruction mix of a shader's loops, read from the assembly that AMD's compiler (ACO) gives.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What the instructions of a loop are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// All of them.
    pub all: usize,
    /// On the vector unit: the fma, dot products, conversions and selections below, and others.
    pub vector: usize,
    /// Multiply-adds of floats; a packed or dual one counts once.
    pub fma: usize,
    /// Dot products of integers, and matrix products.
    pub dot: usize,
    /// Conversions between numbers.
    pub convert: usize,
    /// Selections.
    pub select: usize,
    /// On the scalar unit, its loads included.
    pub scalar: usize,
    /// Loads and stores of memory.
    pub memory: usize,
    /// Accesses of workgroup memory.
    pub shared: usize,
}

impl Mix {
    fn add(&mut self, operation: &str) {
        let begins = |names: &[&str]| names.iter().any(|name| operation.starts_with(name));
        self.all += 1;
        self.vector += usize::from(begins(&["v_"]));
        self.fma += usize::from(begins(&["v_fma", "v_pk_fma", "v_dual_fma", "v_mad_f", "v_mac_f"]));
        self.dot += usize::from(begins(&["v_dot", "v_wmma", "v_swmma", "v_mfma"]));
        self.convert += usize::from(begins(&["v_cvt"]));
        self.select += usize::from(begins(&["v_cndmask", "v_dual_cndmask"]));
        self.scalar += usize::from(begins(&["s_"]) && !begins(&["s_wait", "s_delay", "s_clause", "s_nop"]));
        self.memory += usize::from(begins(&["buffer_", "global_", "scratch_", "flat_"]));
        self.shared += usize::from(begins(&["ds_"]));
    }
}

/// Of the loops that have no other within them, the one with the most multiply-adds and dot products, or else the longest.
pub fn hottest(assembly: &str) -> Option<Mix> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut code: Vec<(&str, &str)> = Vec::new();
    for line in assembly.lines() {
        if let Some(label) = line.strip_suffix(':').filter(|label| label.starts_with("BB")) {
            places.insert(label, code.len());
        } else if let Some((operation, rest)) = line.strip_prefix('\t').and_then(|line| {
            let line = line.split(';').next().unwrap_or(line).trim();
            Some(line.split_once(' ').unwrap_or((line, ""))).filter(|(operation, _)| !operation.is_empty())
        }) {
            code.push((operation, rest));
        }
    }
    let backwards = code.iter().enumerate().filter_map(|(at, (operation, rest))| {
        let target = rest.split_whitespace().find_map(|word| places.get(word))?;
        let jumps = operation.starts_with("s_branch") || operation.starts_with("s_cbranch");
        (jumps && *target <= at).then_some((*target, at))
    });
    let loops: Vec<(usize, usize)> = backwards.collect();
    let inner = loops
        .iter()
        .filter(|own| !loops.iter().any(|other| other != *own && other.0 >= own.0 && other.1 <= own.1));
    let mixes = inner.map(|&(first, last)| {
        let mut mix = Mix::default();
        code[first..=last].iter().for_each(|(operation, _)| mix.add(operation));
        mix
    });
    mixes.max_by_key(|mix| (mix.fma + mix.dot, mix.all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_loop_with_products_is_found() {
        let text = "BB0:\n\ts_mov_b32 s0, 0 ; 00\nBB1:\n\tv_mov_b32 v0, 0\nBB2:\n\tbuffer_load_b128 v[0:3], v4\n\ts_waitcnt vmcnt(0)\n\tv_fma_f32 v0, v1, v2, v0\n\ts_cbranch_scc1 BB2 ; bf\n\tv_cndmask_b32 v1, v2, v3\n\ts_branch BB1\n\ts_endpgm\n";
        let mix = hottest(text).unwrap();
        assert_eq!((mix.all, mix.vector, mix.fma, mix.memory, mix.scalar), (4, 1, 1, 1, 1));
        assert_eq!(hottest("BB0:\n\ts_endpgm\n"), None);
    }
}
