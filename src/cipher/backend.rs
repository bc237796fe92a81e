//! Which implementation works, decided when keys are expanded and nowhere else.

use std::fmt;

/// An implementation of the suites for some kind of CPU. All give the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Backend {
    /// Safe code over the crates `aes` and `ghash`, on every CPU. `aes` picks its instructions by
    /// itself, see [`Backend::instructions`].
    Portable,
}

impl Backend {
    /// The backends this CPU can run, the preferred one first.
    #[must_use]
    pub fn available() -> &'static [Backend] {
        &[Backend::Portable]
    }

    /// The backend that works when nobody chooses: the first of [`Backend::available`].
    #[must_use]
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// A short name for logs and benchmarks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backend::Portable => "portable",
        }
    }

    /// The AES instructions the backend uses on this CPU. For [`Backend::Portable`] this repeats the
    /// documented choice of `aes` 0.9, which does not tell it: whether there are AES instructions at
    /// all is its own answer, their width follows from the same CPU flags it reads.
    #[must_use]
    pub fn instructions(self) -> &'static str {
        match self {
            Backend::Portable if !aes::hardware_accelerated() => "bit-sliced software",
            Backend::Portable => wide_instructions(),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.instructions())
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn wide_instructions() -> &'static str {
    cpufeatures::new!(vaes512, "avx512f", "vaes");
    cpufeatures::new!(vaes256, "vaes");
    if vaes512::get() {
        "VAES, 512 bit"
    } else if vaes256::get() {
        "VAES, 256 bit"
    } else {
        "AES-NI"
    }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn wide_instructions() -> &'static str {
    "AES instructions"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detected_backend_is_available_and_says_what_it_uses() {
        let backend = Backend::detect();
        assert!(Backend::available().contains(&backend));
        let said = backend.to_string();
        assert!(said.starts_with(backend.name()), "{said}");
        assert_eq!(
            said.contains("software"),
            !aes::hardware_accelerated(),
            "{said}"
        );
    }
}
