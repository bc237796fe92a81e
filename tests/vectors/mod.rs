//! Reads the vector files of this directory (README.md says what they hold).
#![allow(unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// One vector: its name and its fields in order.
pub struct Vector {
    pub name: String,
    fields: Vec<(String, String)>,
}

impl Vector {
    /// Every vector, by name; there are several hundred, so an empty directory fails here.
    pub fn all() -> Vec<Vector> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
        let mut vectors: Vec<Vector> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ext| ext == "vec"))
            .map(|path| {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                Vector::parse(name, &fs::read_to_string(&path).unwrap())
            })
            .collect();
        vectors.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(vectors.len() > 400, "vectors are missing");
        vectors
    }

    fn parse(name: String, text: &str) -> Vector {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            if let Some(more) = line.strip_prefix("  ") {
                fields.last_mut().unwrap().1.push_str(more.trim());
            } else {
                let (key, value) = line.split_once(':').unwrap();
                fields.push((key.to_owned(), value.trim().to_owned()));
            }
        }
        Vector { name, fields }
    }

    pub fn texts<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let mine = move |field: &&(String, String)| field.0 == key;
        self.fields.iter().filter(mine).map(|(_, value)| &**value)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|f| f.0 == key).map(|f| &*f.1)
    }

    /// A field this vector must have.
    pub fn want(&self, key: &str) -> &str {
        self.text(key)
            .unwrap_or_else(|| panic!("{}: no field {key}", self.name))
    }

    /// Bytes; an absent field is empty.
    pub fn bytes(&self, key: &str) -> Vec<u8> {
        unhex(self.text(key).unwrap_or_default())
    }

    pub fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        unhex(self.want(key)).try_into().unwrap()
    }

    pub fn number<T: TryFrom<u64>>(&self, key: &str) -> T {
        let number: u64 = self.want(key).parse().unwrap();
        T::try_from(number).ok().unwrap()
    }

    pub fn number_or<T: TryFrom<u64>>(&self, key: &str, default: T) -> T {
        self.text(key).map_or(default, |_| self.number(key))
    }

    /// The plaintext: given, or the pattern of `plain-len`.
    pub fn plain(&self) -> Vec<u8> {
        match self.text("plain") {
            Some(text) => unhex(text),
            None => pattern(self.number("plain-len")),
        }
    }
}

/// Byte i is i mod 251.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd hex: {text}");
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}
