//! Which implementation works: asked when keys are expanded or used to wrap; what the CPU has is found out once.

use std::{env, fmt, sync::OnceLock};

#[cfg(target_arch = "x86_64")]
use super::x86::{aesni, vaes256, vaes512};
use super::{
    Derived, OpenSegment, SealSegment, Subkeys, cbc64::Cbc64, cmac, gmac::Gmac, overwrite_stack,
};
use aes::{Aes256Dec, Aes256Enc};

/// An implementation of the suites for some kind of CPU. All give the same bytes and the same errors.
///
/// A value is the proof that this CPU runs it: detection is the only way to one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Backend(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Aesni(aesni::Proof),
    #[cfg(target_arch = "x86_64")]
    Vaes256(vaes256::Proof),
    #[cfg(target_arch = "x86_64")]
    Vaes512(vaes512::Proof),
}

impl Backend {
    /// Safe code over the crates `aes` and `ghash`, on every CPU. `aes` picks its instructions by
    /// itself, see [`Backend::instructions`].
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The backends this CPU can run, the preferred one first, [`Backend::PORTABLE`] last.
    #[must_use]
    pub fn available() -> &'static [Backend] {
        static AVAILABLE: OnceLock<Vec<Backend>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            let wide = [
                vaes512::Proof::detect().map(Kind::Vaes512),
                vaes256::Proof::detect().map(Kind::Vaes256),
                aesni::Proof::detect().map(Kind::Aesni),
            ];
            #[cfg(not(target_arch = "x86_64"))]
            let wide = [];
            let kinds = wide.into_iter().flatten().chain([Kind::Portable]);
            kinds.map(Backend).collect()
        })
    }

    /// The backend that works when nobody chooses: the first of [`Backend::available`], or the one
    /// that the environment variable `STRONGROOM_BACKEND` names. It is read once. A name that is not
    /// available changes nothing: it cannot make a process fail, and data is the same under each.
    #[must_use]
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Backend> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let named = env::var(VARIABLE).ok().and_then(|name| Self::named(&name));
            named.unwrap_or_else(|| Self::available().first().copied().unwrap_or(Self::PORTABLE))
        })
    }

    /// The available backend of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::available()
            .iter()
            .copied()
            .find(|backend| backend.name() == name)
    }

    /// A short name for logs and benchmarks: `vaes512`, `vaes256`, `aesni` or `portable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Aesni(_) => "aesni",
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes256(_) => "vaes256",
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes512(_) => "vaes512",
        }
    }

    /// The AES instructions the backend uses on this CPU. For [`Backend::PORTABLE`] this repeats the
    /// documented choice of `aes` 0.9, which does not tell it: whether there are AES instructions at
    /// all is its own answer, their width follows from the same CPU flags it reads.
    #[must_use]
    pub fn instructions(self) -> &'static str {
        match self.0 {
            Kind::Portable if !aes::hardware_accelerated() => "bit-sliced software",
            Kind::Portable => instructions_of_aes(),
            #[cfg(target_arch = "x86_64")]
            Kind::Aesni(_) => "AES-NI and PCLMULQDQ",
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes256(_) => "VAES and VPCLMULQDQ, 256 bit",
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes512(_) => "VAES and VPCLMULQDQ, 512 bit",
        }
    }

    /// Suite 1, to seal.
    pub(crate) fn cbc64_sealer(self, keys: Subkeys<'_>) -> Box<dyn SealSegment> {
        match self.0 {
            Kind::Portable => Box::new(Cbc64::<Aes256Enc>::new(keys)),
            #[cfg(target_arch = "x86_64")]
            Kind::Aesni(proof) => proof.sealer(keys),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes256(proof) => proof.sealer(keys),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes512(proof) => proof.sealer(keys),
        }
    }

    /// Suite 1, to open.
    pub(crate) fn cbc64_opener(self, keys: Subkeys<'_>) -> Box<dyn OpenSegment> {
        match self.0 {
            Kind::Portable => Box::new(Cbc64::<Aes256Dec>::new(keys)),
            #[cfg(target_arch = "x86_64")]
            Kind::Aesni(proof) => proof.opener(keys),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes256(proof) => proof.opener(keys),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes512(proof) => proof.opener(keys),
        }
    }

    /// Suite 0, to seal and to open.
    pub(crate) fn gmac(self, key: &[u8; 32]) -> Box<dyn SealAndOpen> {
        match self.0 {
            Kind::Portable => Box::new(Gmac::new(key)),
            #[cfg(target_arch = "x86_64")]
            Kind::Aesni(proof) => proof.gmac(key),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes256(proof) => proof.gmac(key),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes512(proof) => proof.gmac(key),
        }
    }

    /// Six blocks of SP 800-108r1 counter mode with PRF CMAC-AES-256 under `key`: an 8-bit counter
    /// before `fixed`, the fixed input data.
    pub(crate) fn kbkdf(self, key: &[u8; 32], fixed: &[u8; 47]) -> Derived {
        match self.0 {
            Kind::Portable => cmac::portable_kbkdf(key, fixed),
            #[cfg(target_arch = "x86_64")]
            Kind::Aesni(proof) => proof.kbkdf(key, fixed),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes256(proof) => proof.kbkdf(key, fixed),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes512(proof) => proof.kbkdf(key, fixed),
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Backend {
    /// The proof of the instructions that every backend but the portable one has.
    pub(super) fn aesni(self) -> Option<aesni::Proof> {
        match self.0 {
            Kind::Portable => None,
            Kind::Aesni(proof) => Some(proof),
            Kind::Vaes256(_) | Kind::Vaes512(_) => aesni::Proof::detect(),
        }
    }

    /// The proof of AVX-512, if this backend uses it.
    pub(super) fn vaes512(self) -> Option<vaes512::Proof> {
        match self.0 {
            Kind::Vaes512(proof) => Some(proof),
            _ => None,
        }
    }
}

impl Backend {
    /// Overwrites the stack below the caller's frame, where the functions it called before had
    /// theirs: spilled round keys, chain values, plaintext. The caller keeps those functions out of
    /// its own frame with `#[inline(never)]`.
    ///
    /// The size must be enough: the deepest of these functions reach 2.5 KiB in the x86 backends,
    /// which overwrite 4, and 7 KiB in the portable one, which overwrites 16. A test searches the
    /// process's memory for what should be gone, in both profiles.
    pub(crate) fn wipe_stack(self) {
        match self.0 {
            Kind::Portable => overwrite_stack::<{ 16 * KIB }>(),
            #[cfg(target_arch = "x86_64")]
            Kind::Aesni(proof) => proof.wipe_stack(),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes256(proof) => proof.wipe_stack(),
            #[cfg(target_arch = "x86_64")]
            Kind::Vaes512(proof) => proof.wipe_stack(),
        }
    }
}

/// Without optimisation frames are larger.
const KIB: usize = if cfg!(debug_assertions) {
    16 * 1024
} else {
    1024
};

/// For suite 0, whose two directions are the same.
pub(crate) trait SealAndOpen: SealSegment + OpenSegment {
    /// The tag under another counter block than a position has: for published vectors.
    #[cfg(test)]
    fn tag_under(&self, counter: super::Block, data: &[u8]) -> [u8; super::TAG_LEN];
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.instructions())
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name())
    }
}

#[cfg(target_arch = "x86_64")]
fn instructions_of_aes() -> &'static str {
    if is_x86_feature_detected!("vaes") && is_x86_feature_detected!("avx512f") {
        "VAES, 512 bit"
    } else if is_x86_feature_detected!("vaes") {
        "VAES, 256 bit"
    } else {
        "AES-NI"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions_of_aes() -> &'static str {
    "AES instructions"
}

/// Names the backend to use.
const VARIABLE: &str = "STRONGROOM_BACKEND";

#[cfg(test)]
mod tests {
    use super::*;

    /// Also when the environment forces one down: then a run tests what it says it does.
    #[test]
    fn the_detected_backend_is_the_one_asked_for_or_the_first() {
        let backend = Backend::detect();
        match env::var(VARIABLE) {
            Ok(asked) => assert_eq!(backend.name(), asked, "this CPU does not have it"),
            Err(_) => assert_eq!(backend, Backend::available()[0]),
        }
    }

    #[test]
    fn backends_go_by_their_names() {
        for &backend in Backend::available() {
            assert_eq!(Backend::named(backend.name()), Some(backend));
            assert!(backend.to_string().starts_with(backend.name()));
        }
        assert_eq!(Backend::available().last(), Some(&Backend::PORTABLE));
        assert_eq!(Backend::named("abacus"), None);
        let said = Backend::PORTABLE.to_string();
        assert_eq!(
            said.contains("software"),
            !aes::hardware_accelerated(),
            "{said}"
        );
    }
}
