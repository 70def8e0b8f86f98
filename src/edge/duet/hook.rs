//! The line that calls the macro before each layer.

/// A file's bytes with the line `hook` in front: behind a byte order mark, with the line ending of the first line, and
/// with every other byte as it was.
pub(super) fn prepend(file: &[u8], hook: &str) -> Vec<u8> {
    let mark = if file.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let ending: &[u8] = match file.iter().position(|c| matches!(c, b'\r' | b'\n')) {
        Some(i) if file[i..].starts_with(b"\r\n") => b"\r\n",
        Some(i) => &file[i..=i],
        None => b"\n",
    };
    [&file[..mark], hook.as_bytes(), ending, &file[mark..]].concat()
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file without the line `hook` in front, if it is one that [`prepend`] makes.
pub(super) fn strip(file: &[u8], hook: &str) -> Option<Vec<u8>> {
    let mark = if file.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let rest = file[mark..].strip_prefix(hook.as_bytes())?;
    [&b"\r\n"[..], b"\n", b"\r"].into_iter().find_map(|ending| {
        let without = [&file[..mark], rest.strip_prefix(ending)?].concat();
        (prepend(&without, hook) == file).then_some(without)
    })
}

/// Which lines of a file, counted from 1, call the macro, or try to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// The first that always calls it.
    pub(super) always: Option<usize>,
    /// The first that does so in an indented block, and so only when a condition holds.
    pub(super) conditional: Option<usize>,
    /// The first with `M98 P"sys/M573.g"`, which is looked for below /sys: another file.
    pub(super) astray: Option<usize>,
}

/// What a line has to do with the macro.
#[derive(PartialEq)]
enum Call {
    Macro,
    Astray,
}

/// Words that begin a meta command. Those that open a block come first.
const META: [&str; 13] = [
    "if", "elif", "else", "while", "abort", "break", "continue", "echo", "global", "return", "set", "skip",
    "var",
];
const OPEN_BLOCK: usize = 4;

/// The lines that call the macro.
pub(super) fn find(file: &[u8]) -> Calls {
    let text = String::from_utf8_lossy(file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file));
    let lines = text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    let mut calls = Calls::default();
    // The indentation of the command that opened the outermost block.
    let mut block: Option<usize> = None;
    for (i, line) in lines.enumerate() {
        let code = code(line);
        let command = code.trim_start();
        if command.is_empty() {
            continue;
        }
        let indentation = code.len() - command.len();
        block = block.filter(|opened| indentation > *opened);
        let word = command.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        // Meta commands are in lower case only, and hold no others.
        if let Some(meta) = META.iter().position(|meta| *meta == word) {
            block = block.or((meta < OPEN_BLOCK).then_some(indentation));
            continue;
        }
        let place = match (call(command), block) {
            (Some(Call::Macro), None) => &mut calls.always,
            (Some(Call::Macro), Some(_)) => &mut calls.conditional,
            (Some(Call::Astray), _) => &mut calls.astray,
            (None, _) => continue,
        };
        place.get_or_insert(i + 1);
    }
    calls
}

/// What is behind these is text or the name of a file, up to the end of the line, without quotes too.
const TEXT_BEHIND: [&str; 7] = ["23", "28", "30", "32", "36", "38", "117"];

/// Whether a command is `M573`, or `M98` with its file.
fn call(command: &str) -> Option<Call> {
    let mut rest = command;
    let mut astray = None;
    while let Some(at) = rest.find(['m', 'M', '"', '{']) {
        let starts = rest[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c.is_ascii_digit());
        let (first, behind) = rest[at..].split_at(1);
        rest = match first {
            // Neither strings nor expressions hold commands.
            "\"" => behind.split_once('"').map_or("", |(_, rest)| rest),
            "{" => behind.split_once('}').map_or("", |(_, rest)| rest),
            _ if starts => {
                let digits =
                    behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
                let (number, parameters) = behind.split_at(digits);
                match number {
                    "573" => return Some(Call::Macro),
                    "98" => match runs(parameters) {
                        Some(Call::Macro) => return Some(Call::Macro),
                        found => astray = astray.or(found),
                    },
                    number if TEXT_BEHIND.contains(&number) => break,
                    _ => {}
                }
                parameters
            }
            _ => behind,
        };
    }
    astray
}

/// Whether the file of an M98 is the macro, or one in the folder sys of /sys, which stands for a mistake.
fn runs(parameters: &str) -> Option<Call> {
    let path = parameters.trim_start();
    let path = path.strip_prefix(['P', 'p'])?.trim_start();
    let path = match path.strip_prefix('"') {
        Some(path) => path.split('"').next()?,
        None => path.split_whitespace().next()?,
    };
    // The card's file system does not tell upper and lower case.
    let path = path.to_ascii_lowercase();
    let path = path.strip_prefix("0:").filter(|path| path.starts_with('/')).unwrap_or(&path);
    match path {
        "m573.g" | "/sys/m573.g" => Some(Call::Macro),
        "sys/m573.g" | "/sys/sys/m573.g" => Some(Call::Astray),
        _ => None,
    }
}

/// A line without its comments: behind `;`, and in parentheses. Strings may hold both.
fn code(line: &str) -> String {
    let (mut quoted, mut depth) = (false, 0usize);
    let mut code = String::new();
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => break,
            _ => {}
        }
        match c {
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            code.push(c);
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always(line: usize) -> Calls {
        Calls { always: Some(line), ..Calls::default() }
    }

    #[test]
    fn a_hook_is_found_by_its_command() {
        for line in [
            "M573",
            "m573",
            "  M573 ; mine",
            "\tM573 P0.1 Q0.2",
            "N12 M573",
            "M400 M573",
            "(first) M573",
            "M118 S\"a ; b\" M573",
            "M98 P\"M573.g\"",
            "m98 p\"m573.G\"",
            "M98 P\"/sys/M573.g\"",
            "M98 P\"0:/sys/M573.g\" R1",
            "M98 PM573.g",
        ] {
            assert_eq!(find(format!("G1 X1\r\n{line}\r\n").as_bytes()), always(2), "{line}");
        }
        assert_eq!(find(b"\xef\xbb\xbfM573"), always(1));
        assert_eq!(find(b"G1\n\nM573\n"), always(3));
    }

    #[test]
    fn other_files_are_no_hook() {
        for line in ["M98 P\"sys/M573.g\"", "M98 PSYS/m573.g", "M98 P\"0:/sys/sys/M573.g\""] {
            assert_eq!(find(line.as_bytes()), Calls { astray: Some(1), ..Calls::default() }, "{line}");
        }
        let both = find(b"M98 P\"sys/M573.g\" M573\nM98 P\"sys/M573.g\"\n");
        assert_eq!(both, Calls { astray: Some(2), ..always(1) });
        for line in [
            "M98 P\"1:/sys/M573.g\"",
            "M98 P\"macros/M573.g\"",
            "M98 P\"/macros/M573.g\"",
            "M98 P\"/M573.g\"",
        ] {
            assert_eq!(find(line.as_bytes()), Calls::default(), "{line}");
        }
    }

    #[test]
    fn a_call_in_a_block_is_conditional() {
        for (file, call) in [
            ("if global.x == 1\n  M573\n", 2),
            ("if false\n  G1 X1\n\n  M573\n", 4),
            ("if a\n  if b\n    G1\n  M573\n", 4),
            ("if a\n  G1\nelse\n  M573\n", 4),
            ("while iterations < 3\n\tM98 P\"M573.g\"\n", 2),
        ] {
            assert_eq!(
                find(file.as_bytes()),
                Calls { conditional: Some(call), ..Calls::default() },
                "{file}"
            );
        }
        // Behind the block it is not; and indentation alone makes none.
        assert_eq!(find(b"if a\n  M573\nM573\n"), Calls { conditional: Some(2), ..always(3) });
        assert_eq!(find(b"if a\n  G1\n; here\nM573\n"), always(4));
        assert_eq!(find(b"G1\n  M573\n"), always(2));
        assert_eq!(find(b"  if a\n  M573\n"), always(2));
    }

    #[test]
    fn what_only_speaks_of_it_is_no_hook() {
        for line in [
            "",
            "; M573",
            "(M573)",
            "M5730",
            "M573.1",
            "M57",
            "GM573",
            "echo \"M573\"",
            "M118 S\"M573 was here\"",
            "M118 S{\"M573\"}",
            "M98 P\"other.g\" ; M573.g",
            "M98 P\"M573.g.bak\"",
            "M98",
            "M98 P",
            "M98 P\"",
            "M",
            "M118 S\"never ended M573",
            "M118 S'M573'",
            "M117 Now M573",
            "m117 M573",
            "M32 M573",
            "echo M573",
            "  echo M573",
            "if M573 then",
            "set global.x = 1 M573",
            "abort M573",
        ] {
            assert_eq!(find(line.as_bytes()), Calls::default(), "{line}");
        }
    }

    #[test]
    fn every_other_byte_stays() {
        for (file, made) in [
            (&b""[..], &b"H\n"[..]),
            (b"G1", b"H\nG1"),
            (b"G1\nG2", b"H\nG1\nG2"),
            (b"G1\r\nG2\r\n", b"H\r\nG1\r\nG2\r\n"),
            (b"\r\nG2\n", b"H\r\n\r\nG2\n"),
            (b"G1\rG2", b"H\rG1\rG2"),
            (b"\xef\xbb\xbfG1\r\n", b"\xef\xbb\xbfH\r\nG1\r\n"),
            (b"\xff\x00\n", b"H\n\xff\x00\n"),
        ] {
            assert_eq!(prepend(file, "H"), made, "{file:?}");
            assert_eq!(strip(made, "H").as_deref(), Some(file), "{file:?}");
            assert_eq!(find(&prepend(file, "M573 ; x")), always(1));
        }
    }

    #[test]
    fn only_what_was_made_is_stripped() {
        for file in [&b""[..], b"H", b"G1\nH\n", b"HG1\n", b"H\nG1\r\n", b"h\nG1"] {
            assert_eq!(strip(file, "H"), None, "{file:?}");
        }
    }
}
