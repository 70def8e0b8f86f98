//! WGSL forbids to mix some operators without parentheses; naga lets them pass, browsers do not.

use lowbit::internals::gpu::source::FILES;

/// Kinds of binary operators that WGSL's grammar keeps apart.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Arithmetic,
    Shift,
    /// Each of these mixes with itself alone.
    Bitwise(char),
    Relation,
    /// Each of these mixes with relations and itself alone.
    Logic(char),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name, a number, or anything that ends an operand.
    Operand(String),
    Operator(Kind),
    Open,
    Close,
    /// Whatever ends an expression: `,`, `;`, braces, assignments.
    End,
}

/// Names before a `<` that begins a list of types, not a comparison.
const TEMPLATES: [&str; 16] = [
    "array",
    "atomic",
    "bitcast",
    "ptr",
    "var",
    "vec2",
    "vec3",
    "vec4",
    "mat2x2",
    "mat3x3",
    "mat4x4",
    "coop_mat8x8",
    "coopLoad",
    "coopLoadT",
    "coop_mat16x16",
    "binding_array",
];
/// Words before an expression, after which an operator is unary.
const WORDS: [&str; 6] = ["return", "let", "if", "while", "case", "const"];

fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut all: Vec<(usize, Token)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let before = all.last().map(|(_, token)| token.clone());
            let operand = match &before {
                Some(Token::Operand(word)) => !WORDS.contains(&word.as_str()),
                Some(Token::Close) => true,
                _ => false,
            };
            let word: usize = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || (*c == '.' && first.is_numeric()))
                .count();
            let assigns = ["<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^="];
            let (length, token) = if word > 0 {
                (word, Token::Operand(rest[..word].to_owned()))
            } else if let Some(assign) = assigns.iter().find(|assign| rest.starts_with(**assign)) {
                (assign.len(), Token::End)
            } else if first == '<'
                && matches!(&before, Some(Token::Operand(word)) if TEMPLATES.contains(&word.as_str()))
            {
                (template(rest), Token::Operand("template".into()))
            } else {
                match (rest.get(..2).unwrap_or_default(), first) {
                    ("<<" | ">>", _) => (2, Token::Operator(Kind::Shift)),
                    ("&&", _) if operand => (2, Token::Operator(Kind::Logic('&'))),
                    ("||", _) => (2, Token::Operator(Kind::Logic('|'))),
                    ("==" | "!=" | "<=" | ">=", _) => (2, Token::Operator(Kind::Relation)),
                    ("++" | "--" | "->", _) => (2, Token::End),
                    (_, '<' | '>') => (1, Token::Operator(Kind::Relation)),
                    (_, '&' | '|' | '^') if operand => (1, Token::Operator(Kind::Bitwise(first))),
                    (_, '+' | '-' | '*' | '/' | '%') if operand => (1, Token::Operator(Kind::Arithmetic)),
                    // A unary operator is a part of its operand.
                    (_, '+' | '-' | '*' | '&' | '!' | '~' | '.' | '@') => (1, Token::Operand(String::new())),
                    (_, '(' | '[') => (1, Token::Open),
                    (_, ')' | ']') => (1, Token::Close),
                    _ => (first.len_utf8(), Token::End),
                }
            };
            // What stands for itself in front of an operand does not make the next operator binary.
            if token != Token::Operand(String::new()) {
                all.push((number + 1, token));
            }
            rest = rest[length..].trim_start();
        }
    }
    all
}

/// The length of `<…>` at the start of `rest`, nested ones included.
fn template(rest: &str) -> usize {
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    rest.len()
}

/// Whether WGSL's grammar has an expression with these operators side by side.
fn legal(operators: &[Kind]) -> bool {
    if let Some(bitwise) = operators.iter().find(|kind| matches!(kind, Kind::Bitwise(_))) {
        return operators.iter().all(|kind| kind == bitwise);
    }
    let logic: Vec<&Kind> = operators.iter().filter(|kind| matches!(kind, Kind::Logic(_))).collect();
    logic.windows(2).all(|pair| pair[0] == pair[1])
        && operators.split(|kind| matches!(kind, Kind::Logic(_))).all(|comparison| {
            let sides: Vec<&[Kind]> = comparison.split(|kind| *kind == Kind::Relation).collect();
            sides.len() <= 2 && sides.iter().all(|side| !side.contains(&Kind::Shift) || side.len() == 1)
        })
}

/// The lines with an expression that WGSL forbids.
fn faults(text: &str) -> Vec<usize> {
    let mut faults = Vec::new();
    let mut open: Vec<Vec<Kind>> = vec![Vec::new()];
    for (line, token) in tokens(text) {
        let ended = match token {
            Token::Operand(_) => None,
            Token::Operator(kind) => {
                open.last_mut().unwrap().push(kind);
                None
            }
            Token::Open => {
                open.push(Vec::new());
                None
            }
            Token::Close => Some(open.pop().unwrap()),
            Token::End => Some(std::mem::take(open.last_mut().unwrap())),
        };
        if ended.is_some_and(|operators| !legal(&operators)) {
            faults.push(line);
        }
        if open.is_empty() {
            open.push(Vec::new());
        }
    }
    faults
}

#[test]
fn operators_that_wgsl_keeps_apart_are_in_parentheses() {
    for (name, text) in FILES {
        let lines = faults(text);
        assert!(lines.is_empty(), "shaders/{name}.wgsl: mixed operators without parentheses in {lines:?}");
    }
}

#[test]
fn what_wgsl_forbids_is_found() {
    for wrong in [
        "let x = a << 1u | b;",
        "let x = a >> 1u >> b;",
        "let x = f(a, (b >> c & 1u) == 1u);",
        "let x = a + b << 2u;",
        "let x = a & b | c;",
        "let x = a ^ b + c;",
        "let x = a & b == c;",
        "let x = a && b || c;",
        "let x = y[a & 3u + 1u];",
        "x = a * b >> 2u;",
        "x += a | b & c;",
        "if (a < b == c) {",
        "return bitcast<u32>(x) & 1u << 2u;",
        "let x = a\n    << 1u | b;",
    ] {
        assert_eq!(faults(wrong).len(), 1, "{wrong}");
    }
    for right in [
        "let x = (a << 1u) | b;",
        "let x = a | b | c;",
        "let x = a << 1u;",
        "let x = a < b << 1u && c;",
        "let x = a + b < c * d && e >= -f;",
        "let x = a == (b & c);",
        "var<workgroup> x: array<vec4<f32>, 4 * N>;",
        "let x = vec4<f32>(-a, b) * -c + array<u32, 2>(1u, 2u)[i & 1u];",
        "x = &y; x = *z * 2.0; a <<= 1u; b |= c & d;",
        "let x = f(&a, b) & 3u; // a & b << c",
        "let x = select(1u, 0u, !a || !b);",
        "for (var i = 0u; i < n; i++) { x[i] = a - b; }",
    ] {
        assert!(faults(right).is_empty(), "{right}");
    }
}
