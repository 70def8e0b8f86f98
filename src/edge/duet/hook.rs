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

/// The first line that calls the macro, counted from 1, and whether it does so by a path that RepRapFirmware looks for
/// in another folder.
pub(super) fn find(file: &[u8]) -> Option<(usize, bool)> {
    let text = String::from_utf8_lossy(file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file));
    let lines = text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    lines.enumerate().find_map(|(i, line)| calls(line).map(|astray| (i + 1, astray)))
}

/// Whether a line calls the macro: `M573`, or `M98` with its file. `Some(true)` if by `M98 P"sys/M573.g"`, which is
/// looked for below /sys and so is not there.
fn calls(line: &str) -> Option<bool> {
    let code = code(line);
    let mut rest = code.trim_start();
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
                    "573" => return Some(false),
                    "98" => {
                        if let Some(astray) = runs(parameters) {
                            return Some(astray);
                        }
                        parameters
                    }
                    _ => parameters,
                }
            }
            _ => behind,
        };
    }
    None
}

/// Whether the file of an M98 is the macro, and if so, whether its path leads elsewhere.
fn runs(parameters: &str) -> Option<bool> {
    let path = parameters.trim_start();
    let path = path.strip_prefix(['P', 'p'])?.trim_start();
    let path = match path.strip_prefix('"') {
        Some(path) => path.split('"').next()?,
        None => path.split_whitespace().next()?,
    };
    // The card's file system does not tell upper and lower case.
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('/').next()?;
    (name == "m573.g").then(|| path != name && !path.starts_with('/') && !path.starts_with("0:/"))
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
            assert_eq!(find(format!("G1 X1\r\n{line}\r\n").as_bytes()), Some((2, false)), "{line}");
        }
        assert_eq!(find(b"\xef\xbb\xbfM573"), Some((1, false)));
        assert_eq!(find(b"G1\n\nM573\n"), Some((3, false)));
        assert_eq!(find(b"M98 P\"sys/M573.g\""), Some((1, true)));
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
        ] {
            assert_eq!(find(line.as_bytes()), None, "{line}");
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
            assert_eq!(find(&prepend(file, "M573 ; x")), Some((1, false)));
        }
    }
}
