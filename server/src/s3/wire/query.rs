//! What stands behind the `?` of an address, and other texts that are coded like it.

/// `a=b&c=d`, URL-coded.
pub(in crate::s3) fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        })
        .collect()
}

/// URL decoding. What is no code stands for itself, and what is no UTF-8 for a replacement: the
/// protocol crate refuses such a request later.
pub(in crate::s3) fn decoded(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'))
        });
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if first == b'+' && plus_is_space {
                    b' '
                } else {
                    first
                });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_code_stands_for_itself() {
        assert_eq!(decoded("%", false), "%");
        assert_eq!(decoded("%+1%zz+%41", false), "%+1%zz+A");
    }

    #[test]
    fn pairs_are_split_and_then_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("a=b%26c&&d+e&f=g=h"),
            [pair("a", "b&c"), pair("d e", ""), pair("f", "g=h")]
        );
        assert!(pairs("").is_empty());
    }
}
