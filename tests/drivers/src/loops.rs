//! The instruction mix of a shader's loops, read from the assembly that AMD's compiler (ACO), NVIDIA's (NAK) and Adreno's (ir3)
//! give.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// What the instructions of a loop are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// All of them, but for those that only wait.
    pub all: usize,
    /// On the vector unit: the fma, dot products, conversions and selections below, and others.
    pub vector: usize,
    /// Multiply-adds of floats; a packed or dual one counts once.
    pub fma: usize,
    /// Dot products of integers, and matrix products. Where there is no instruction for one, four multiplications of integers count
    /// as one, if they are more than the multiply-adds of floats: fewer are of places in memory.
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

/// How a compiler writes its instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    Aco,
    Nak,
    Ir3,
}

/// An instruction, how often it is repeated, the label that it jumps to, and whether what is written below it may come next.
struct Line<'a> {
    operation: &'a str,
    scalar: bool,
    times: usize,
    target: Option<&'a str>,
    falls: bool,
}

impl Mix {
    fn add(&mut self, dialect: Dialect, line: &Line<'_>) {
        let begins = |names: &[&str]| names.iter().any(|name| line.operation.starts_with(name));
        let kinds: [(&mut usize, bool); 7] = match dialect {
            Dialect::Aco => [
                (&mut self.fma, begins(&["v_fma", "v_pk_fma", "v_dual_fma", "v_mad_f", "v_mac_f"])),
                (&mut self.dot, begins(&["v_dot", "v_wmma", "v_swmma", "v_mfma"])),
                (&mut self.convert, begins(&["v_cvt"])),
                (&mut self.select, begins(&["v_cndmask", "v_dual_cndmask"])),
                (&mut self.scalar, line.scalar),
                (&mut self.memory, begins(&["buffer_", "global_", "scratch_", "flat_"])),
                (&mut self.shared, begins(&["ds_"])),
            ],
            Dialect::Nak => [
                (&mut self.fma, begins(&["ffma", "hfma2"])),
                (&mut self.dot, begins(&["idp", "hmma", "imma"])),
                (&mut self.convert, begins(&["i2f", "f2f", "f2i", "i2i"])),
                (&mut self.select, begins(&["sel"])),
                (&mut self.scalar, line.scalar),
                (
                    &mut self.memory,
                    begins(&["ld.global", "st.global", "ld.local", "st.local", "atom.", "red."]),
                ),
                (&mut self.shared, begins(&["ld.shared", "st.shared", "shfl"])),
            ],
            Dialect::Ir3 => [
                (&mut self.fma, begins(&["mad.f"])),
                (&mut self.dot, begins(&["dp4acc", "dp2acc"])),
                (&mut self.convert, begins(&["cov"])),
                (&mut self.select, begins(&["sel."])),
                (&mut self.scalar, line.scalar),
                (&mut self.memory, begins(&["isam", "ldib", "stib", "ldg", "stg", "ldp", "stp", "atomic"])),
                (&mut self.shared, begins(&["ldl", "stl", "shfl"])),
            ],
        };
        for (count, is) in kinds {
            *count += line.times * usize::from(is);
        }
        self.all += line.times;
        let elsewhere: &[&str] = match dialect {
            Dialect::Aco | Dialect::Nak => {
                &["buffer_", "global_", "scratch_", "flat_", "ds_", "ld", "st.", "bra", "exit"]
            }
            Dialect::Ir3 => {
                &["isam", "ld", "st", "atomic", "resinfo", "shfl", "br", "jump", "bar", "fence", "end"]
            }
        };
        self.vector += line.times * usize::from(!line.scalar && !begins(elsewhere));
    }

    fn of(dialect: Dialect, code: &[&Line<'_>]) -> Self {
        let mut mix = Self::default();
        code.iter().for_each(|line| mix.add(dialect, line));
        let products: &[&str] = match dialect {
            Dialect::Aco | Dialect::Nak => &[],
            Dialect::Ir3 => &["mul.s24", "mad.s24"],
        };
        let integers = code.iter().filter(|line| products.contains(&line.operation)).map(|line| line.times);
        let integers: usize = integers.sum();
        if integers > mix.fma {
            mix.dot += integers / 4;
        }
        mix
    }
}

/// Of the loops that have no other within them, the one with the most multiply-adds and dot products, or else the longest.
pub fn hottest(assembly: &str) -> Option<Mix> {
    let first = assembly.split_whitespace().next().unwrap_or_default();
    let dialect = if first == "Native" {
        Dialect::Ir3
    } else if assembly.contains("block ") {
        Dialect::Nak
    } else {
        Dialect::Aco
    };
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut code: Vec<Line<'_>> = Vec::new();
    for line in assembly.lines() {
        let (label, line) = match dialect {
            Dialect::Aco => read_aco(line),
            Dialect::Nak => read_nak(line),
            Dialect::Ir3 => read_ir3(line),
        };
        places.extend(label.map(|label| (label, code.len())));
        code.extend(line);
    }
    let mixes = innermost(&code, &places).into_iter().map(|own| {
        let own: Vec<&Line<'_>> = own.iter().map(|&at| &code[at]).collect();
        Mix::of(dialect, &own)
    });
    mixes.max_by_key(|mix| (mix.fma + mix.dot, mix.all))
}

/// The loops that have no other within them, as the places of their instructions. A loop begins where a path from the beginning comes
/// back to a place of itself, and is all from which that is reached without passing it: compilers put what follows a loop between
/// its parts, and its test in front of where they jump back to.
fn innermost(code: &[Line<'_>], places: &HashMap<&str, usize>) -> Vec<BTreeSet<usize>> {
    let after = |at: usize| {
        let falls = Some(at + 1).filter(|_| code[at].falls);
        let target = code[at].target.and_then(|label| places.get(label)).copied();
        [falls, target].into_iter().flatten().filter(|&next| next < code.len()).collect::<Vec<usize>>()
    };
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); code.len()];
    (0..code.len()).for_each(|at| after(at).into_iter().for_each(|next| before[next].push(at)));
    // Whether a place was met, and whether it is on the path.
    let mut met = vec![(false, false); code.len()];
    let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut loops: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut next = (!code.is_empty()).then_some(0);
    loop {
        if let Some(at) = next.take() {
            met[at] = (true, true);
            path.push((at, after(at)));
        }
        let Some((at, open)) = path.last_mut() else { break };
        let at = *at;
        match open.pop() {
            None => {
                met[at].1 = false;
                path.pop();
            }
            Some(to) if met[to].1 => {
                let own = loops.entry(to).or_insert_with(|| [to].into());
                let mut open = vec![at];
                while let Some(at) = open.pop() {
                    if own.insert(at) {
                        open.extend(&before[at]);
                    }
                }
            }
            Some(to) => next = (!met[to].0).then_some(to),
        }
    }
    let all: Vec<BTreeSet<usize>> = loops.into_values().collect();
    let inner = all.iter().filter(|own| !all.iter().any(|other| other != *own && other.is_subset(own)));
    inner.cloned().collect()
}

/// What a line says: where it is, and an instruction.
type Read<'a> = (Option<&'a str>, Option<Line<'a>>);

/// `BB3:`, or `\tv_fma_f32 v0, v1, v2, v0 ; d6…`.
fn read_aco(line: &str) -> Read<'_> {
    let label = line.strip_suffix(':').filter(|label| label.starts_with("BB"));
    let read = || {
        let text = line.strip_prefix('\t')?.split(';').next()?;
        let mut words = text.split_whitespace();
        let operation = words.next()?;
        if ["s_wait", "s_delay", "s_clause", "s_nop"].iter().any(|idle| operation.starts_with(idle)) {
            return None;
        }
        let jumps = operation.starts_with("s_branch") || operation.starts_with("s_cbranch");
        let target = words.find(|word| word.starts_with("BB")).filter(|_| jumps);
        let falls = !operation.starts_with("s_branch") && operation != "s_endpgm";
        Some(Line { operation, scalar: operation.starts_with("s_"), times: 1, target, falls })
    };
    (label, read())
}

/// `block 4 L8 [3, 35] -> {`, or `@!p1 bra pT L13 // delay=1`, or `r8 p1 = iadd3 r5 r6 rZ // …`. Uniform registers are scalar.
fn read_nak(line: &str) -> Read<'_> {
    let text = line.split("//").next().unwrap_or_default().trim();
    if text.starts_with("block") {
        return (text.split_whitespace().find(|word| word.starts_with('L')), None);
    }
    let read = || {
        let (results, text) = text.split_once(" = ").unwrap_or(("", text));
        let mut words = text.split_whitespace().skip_while(|word| word.starts_with('@')).peekable();
        let operation = words.next().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))?;
        if ["nop", "bssy", "bsync", "bclear"].contains(&operation) {
            return None;
        }
        // A condition is before it, or its first operand; `pT` is none.
        let always = !text.trim().starts_with('@')
            && (operation == "exit" || (operation == "bra" && words.peek() == Some(&"pT")));
        let target = words.find(|word| word.starts_with('L')).filter(|_| operation == "bra");
        let uniform = results.trim_start_matches(['@', '!']).trim().starts_with('u');
        let scalar = uniform || operation.starts_with("ldc");
        Some(Line { operation, scalar, times: 1, target, falls: !always })
    };
    (None, read())
}

/// `l36:`, or `(ss)(rpt1)mad.f32 r1.x, r2.x, r3.x, (last)r1.x`, or `br p0.x, #l453`. Registers 48 to 55 are of all lanes: scalar.
fn read_ir3(line: &str) -> Read<'_> {
    let (mut text, mut times) = (line, 1);
    while let Some((flag, rest)) = text.strip_prefix('(').and_then(|text| text.split_once(')')) {
        times += flag.strip_prefix("rpt").and_then(|more| more.parse::<usize>().ok()).unwrap_or(0);
        text = rest.trim_start();
    }
    if let Some(label) = text.strip_suffix(':').filter(|label| label.starts_with('l')) {
        return (Some(label), None);
    }
    let read = || {
        let mut words = text.split_whitespace();
        let operation = words.next().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))?;
        if operation == "nop" {
            return None;
        }
        let jumps = ["br", "jump"].iter().any(|jump| operation.starts_with(jump));
        let target = text.split_once('#').map(|(_, label)| label).filter(|_| jumps);
        let mut register = || words.next()?.strip_prefix('r')?.split('.').next()?.parse::<u32>().ok();
        let scalar = operation.starts_with("ldc") || register().is_some_and(|at| (48..56).contains(&at));
        let falls = !operation.starts_with("jump") && operation != "end";
        Some(Line { operation, scalar, times, target, falls })
    };
    (None, read())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_loop_with_products_is_found() {
        let text = "BB0:\n\ts_mov_b32 s0, 0 ; 00\nBB1:\n\tv_mov_b32 v0, 0\nBB2:\n\tbuffer_load_b128 v[0:3], v4\n\ts_waitcnt vmcnt(0)\n\tv_fma_f32 v0, v1, v2, v0\n\ts_cbranch_scc1 BB2 ; bf\n\tv_cndmask_b32 v1, v2, v3\n\ts_branch BB1\n\ts_endpgm\n";
        let mix = hottest(text).unwrap();
        assert_eq!((mix.all, mix.vector, mix.fma, mix.memory, mix.scalar), (3, 1, 1, 1, 1));
        assert_eq!(hottest("BB0:\n\ts_endpgm\n"), None);
    }

    #[test]
    fn nvidias_assembly_is_read_too() {
        let text = "block.u 0 L2 [] -> {\n      ur0     = s2r sr[0x25]   // delay=1\n} -> [1]\nblock 1 L8 [0, 1] -> {\n      r1      = ld.global.b128 [r2]    // delay=2\n      r7      = ffma.ftz r1 r2 r7  // delay=1\n      ur2     = uiadd3 ur2 0x1 urZ\n                nop L0\n@!p1            bra pT L8     // delay=1\n} -> [1, 2]\nblock 2 L9 [1] -> {\n                exit    // delay=1\n} -> []\n";
        let mix = hottest(text).unwrap();
        assert_eq!((mix.all, mix.vector, mix.fma, mix.memory, mix.scalar), (4, 1, 1, 1, 1));
    }
    #[test]
    fn what_follows_a_loop_is_none_of_it_where_it_is_written_between_its_parts() {
        let text = "block 0 L0 [] -> {\n r0 = mov rZ // delay=1\n} -> [1]\nblock 1 L1 [0, 4] -> {\n p0 = isetp.lt r0 r1 // delay=1\n@!p0 bra pT L3 // delay=1\n} -> [2, 3]\nblock 2 L2 [1] -> {\n r2 = ffma r0 r1 r2 // delay=1\n bra pT L4 // delay=1\n} -> [4]\nblock 3 L3 [1] -> {\n st.global.b32 [r4] r2 // delay=1\n r9 = iadd3 r9 r9 rZ // delay=1\n exit // delay=1\n} -> []\nblock 4 L4 [2] -> {\n r0 = iadd3 r0 0x1 rZ // delay=1\n bra pT L1 // delay=1\n} -> [1]\n";
        let mix = hottest(text).unwrap();
        assert_eq!((mix.all, mix.vector, mix.fma, mix.memory), (6, 3, 1, 0));
    }

    #[test]
    fn a_loop_that_is_entered_at_its_test_is_whole() {
        let text = "BB0:\n\ts_mov_b32 s0, 0\n\ts_branch BB4\nBB9:\n\tv_fma_f32 v0, v1, v2, v0\nBB4:\n\ts_cmp_lt_u32 s0, s1\n\ts_cbranch_scc1 BB9\n\tv_mov_b32 v1, v0\n\ts_endpgm\n";
        let mix = hottest(text).unwrap();
        assert_eq!((mix.all, mix.vector, mix.fma, mix.scalar), (3, 1, 1, 2));
    }

    #[test]
    fn adrenos_assembly_is_read_too() {
        let text = "Native code for unnamed CL shader (null)\n; num_ubos: 0\n@in(r48.x)\tin0 (wrmask=0x7)\nl2:\n(sy)(rpt1)mul.s24 r1.x, r2.x, r3.x\n(nop3) mad.s24 r1.x, r2.x, r3.x, (last)r1.x\nmad.s24 r1.x, r2.x, r3.x, r1.x\nadd.u r48.x, r48.x, 1\n(rpt2)nop\nisam.v.base0 (u32)(xyzw)r3.x, r3.w, s#0, t#1\n(rpt1)mad.f32 r4.x, r5.x, r6.x, r4.x\n(ss)br !p0.x, #l2\n(jp)end\n; CL prog: 9 instr\n";
        let mix = hottest(text).unwrap();
        assert_eq!((mix.all, mix.vector, mix.fma, mix.memory, mix.scalar, mix.dot), (9, 6, 2, 1, 1, 1));
    }
}
