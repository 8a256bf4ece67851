//! Rows of the tables of instructions: which forms there are, and what each gives.

/// An instruction in all its forms, with its definition.
pub struct Row {
    /// Opcode and modifiers; `[.x|.y|]` is one of these or none.
    pub forms: &'static str,
    /// Registers by a letter and their bits: `d32` is the result, `a`, `b`, `c`, `e` are what it is made of. `#` is as many bits
    /// as the form's last type has, `@` as its first. What is none of these stands as it is.
    pub operands: &'static str,
    /// The result of values of `a`, `b`, `c`, `e`; nothing where the ISA leaves it open.
    pub result: fn(&Form, [u64; 4]) -> Option<u64>,
}

/// One form of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The opcode, then the modifiers.
    pub words: Vec<String>,
}

impl Form {
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    pub fn text(&self) -> String {
        self.words.join(".")
    }

    /// The types in their order.
    pub fn types(&self) -> impl DoubleEndedIterator<Item = &str> {
        let all = self.words[1..].iter().map(String::as_str);
        all.filter(|word| bits(word).is_some())
    }

    /// The last type.
    pub fn of(&self) -> &str {
        self.types().next_back().unwrap_or("b32")
    }

    /// The first type.
    pub fn to(&self) -> &str {
        self.types().next().unwrap_or("b32")
    }

    /// The first of some words that the form has.
    pub fn one_of<'w>(&self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().copied().find(|word| self.has(word))
    }
}

/// Bits of a type's values.
pub fn bits(name: &str) -> Option<u32> {
    Some(match name {
        "pred" => 1,
        "u8" | "s8" | "b8" | "e2m1x2" => 8,
        "u16" | "s16" | "b16" | "f16" | "bf16" | "e4m3x2" | "e5m2x2" | "e2m3x2" | "e3m2x2"
        | "ue8m0x2" | "e2m1x4" => 16,
        "u32" | "s32" | "b32" | "f32" | "tf32" | "u16x2" | "s16x2" | "f16x2" | "bf16x2" => 32,
        "u64" | "s64" | "b64" | "f64" | "f32x2" => 64,
        _ => return None,
    })
}

/// All forms of a pattern.
pub fn forms(pattern: &str) -> Vec<Form> {
    let Some(open) = pattern.find('[') else {
        let words = pattern.split('.').map(str::to_owned).collect();
        return vec![Form { words }];
    };
    let close = open + pattern[open..].find(']').expect("a bracket is closed");
    let (before, after) = (&pattern[..open], &pattern[close + 1..]);
    let choices = pattern[open + 1..close].split('|');
    choices
        .flat_map(|choice| forms(&format!("{before}{choice}{after}")))
        .collect()
}

impl Row {
    pub fn forms(&self) -> Vec<Form> {
        forms(self.forms)
    }
}

const BETWEEN: [char; 6] = [',', ' ', '|', '!', '{', '}'];

/// The registers of operands, by their letters and bits.
pub fn registers_of(operands: &str, form: &Form) -> Vec<(char, u32)> {
    let parts = operands.split(BETWEEN);
    parts.filter_map(|part| register(part, form)).collect()
}

/// The instruction as it is written.
pub fn statement(operands: &str, form: &Form) -> String {
    let mut text = format!("{} ", form.text());
    for part in operands.split_inclusive(BETWEEN) {
        let own = part.trim_end_matches(BETWEEN);
        match register(own, form) {
            Some((letter, width)) => {
                text += &format!("%{letter}{width}{}", &part[own.len()..]);
            }
            None => text += part,
        }
    }
    text + ";"
}

fn register(part: &str, form: &Form) -> Option<(char, u32)> {
    let mut letters = part.chars();
    let letter = letters
        .next()
        .filter(|letter| ('a'..='e').contains(letter))?;
    let width = match letters.as_str() {
        "#" => bits(form.of())?,
        "@" => bits(form.to())?,
        number => number.parse().ok()?,
    };
    Some((letter, width))
}

/// Declarations of every register that rows name, and of `%at`.
pub fn registers() -> String {
    let letters = ["a", "b", "c", "d", "e"];
    let kinds = [
        ("pred", 1),
        ("b8", 8),
        ("b16", 16),
        ("b32", 32),
        ("b64", 64),
    ];
    let each = kinds
        .iter()
        .flat_map(|(kind, bits)| letters.map(|letter| format!(".reg .{kind} %{letter}{bits};\n")));
    each.chain([".reg .b64 %at;\n".to_owned()]).collect()
}

/// The low bits of a number.
pub fn low(value: i128, bits: u32) -> u64 {
    (value as u128 & (u128::MAX >> (128 - bits))) as u64
}

/// The integer that bits are of a type.
pub fn integer(name: &str, value: u64) -> i128 {
    let width = bits(name).expect("a type");
    let value = low(value.into(), width);
    let is_negative = name.starts_with('s') && value >> (width - 1) & 1 == 1;
    i128::from(value) - if is_negative { 1i128 << width } else { 0 }
}

/// The least and the largest integer of a type.
pub fn range(name: &str) -> (i128, i128) {
    let width = bits(name).expect("a type");
    if name.starts_with('s') {
        (-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1)
    } else {
        (0, (1i128 << width) - 1)
    }
}
