//! Patterns for names: `*` stands for any characters, also none, `?` for exactly one.

/// Whether the whole of `name` is what `pattern` describes.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Behind the last star, and where in the name it ended: only that one need ever take more.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((behind, end)) => {
                    (p, n) = (behind, end + 1);
                    star = Some((p, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_take_any_characters_and_question_marks_one() {
        for (pattern, name) in [
            ("", ""),
            ("*", ""),
            ("*", "output.weight"),
            ("output*", "output.weight"),
            ("*.weight", "output.weight"),
            ("blk.?.ffn_*.weight", "blk.7.ffn_down.weight"),
            ("*a*b*", "xxaxxbxx"),
            ("a**b?", "a.b.bü"),
            ("*ab", "aaab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("?", ""),
            ("output", "output.weight"),
            ("weight", "output.weight"),
            ("blk.?.*", "blk.10.ffn"),
            ("*a*b", "ba"),
            ("A", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        // No pattern takes exponential time.
        assert!(!matches(&"*a".repeat(500), &("a".repeat(499) + &"b".repeat(500))));
    }
}
