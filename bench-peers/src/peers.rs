//! The libraries beside which Strongroom is measured, each as a sealer of 64 KiB segments under one key.

use std::cell::RefCell;

use aes_gcm::aead::{AeadInOut, KeyInit, inout::InOutBuf};
use aws_lc_rs::aead as aws;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use strongroom::cipher::Backend;
use strongroom::format::{OpenKeys, Salt, SealKeys, Suite};
use strongroom::secret::Secret;

/// Authenticated encryption of numbered segments: ciphertext, then a tag of 16 bytes.
pub(crate) trait Aead {
    fn name(&self) -> String;
    /// `sealed` is 16 bytes longer than `plain`.
    fn seal(&self, index: u64, plain: &[u8], sealed: &mut [u8]);
    /// `plain` is 16 bytes shorter than `sealed`. Ends the program if it is not authentic.
    fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]);
}

/// Suite 1 on one backend.
pub(crate) struct Ours {
    backend: Backend,
    seal: SealKeys,
    open: OpenKeys,
}

impl Ours {
    pub(crate) fn new(backend: Backend) -> Self {
        let dk = Secret::take(&mut KEY.clone()).expect("locked memory");
        let suite = Suite::Cbc64Gmac;
        let (seal, header) =
            SealKeys::create_on(backend, &dk, suite, 0, Salt([1; 32])).expect("built in");
        let (open, _) = OpenKeys::open_on(backend, &dk, &header).expect("its own header");
        Self {
            backend,
            seal,
            open,
        }
    }
}

impl Aead for Ours {
    fn name(&self) -> String {
        format!("suite 1, {}", self.backend)
    }

    fn seal(&self, index: u64, plain: &[u8], sealed: &mut [u8]) {
        let len = self.seal.seal_segment(index, false, plain, sealed);
        assert_eq!(len.ok(), Some(sealed.len()));
    }

    fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]) {
        let len = self.open.open_segment(index, false, sealed, plain);
        assert_eq!(len.ok(), Some(plain.len()));
    }
}

/// Every peer, the fastest authenticated one first.
pub(crate) fn all() -> Vec<Box<dyn Aead>> {
    vec![
        Box::new(AwsLc::new(&KEY)),
        Box::new(Ring::new()),
        Box::new(Graviola(graviola::aead::AesGcm::new(&KEY))),
        Box::new(OpenSsl::new()),
        Box::new(RustCrypto {
            name: "RustCrypto aes-gcm",
            cipher: aes_gcm::Aes256Gcm::new(&KEY.into()),
        }),
        Box::new(RustCrypto {
            name: "chacha20poly1305",
            cipher: chacha20poly1305::ChaCha20Poly1305::new(&KEY.into()),
        }),
    ]
}

/// AWS-LC by way of aws-lc-rs.
pub(crate) struct AwsLc(aws::LessSafeKey);

impl AwsLc {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = aws::UnboundKey::new(&aws::AES_256_GCM, key).expect("a key of 32 bytes");
        Self(aws::LessSafeKey::new(key))
    }
}

impl Aead for AwsLc {
    fn name(&self) -> String {
        "aws-lc-rs AES-256-GCM".to_owned()
    }

    fn seal(&self, index: u64, plain: &[u8], sealed: &mut [u8]) {
        let (out, tag) = sealed.split_at_mut(plain.len());
        let nonce = aws::Nonce::assume_unique_for_key(nonce(index));
        let done = self
            .0
            .seal_out_of_place_scatter(nonce, aws::Aad::empty(), plain, out, &[], tag);
        done.expect("seals");
    }

    fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]) {
        let (body, tag) = sealed.split_at(plain.len());
        let nonce = aws::Nonce::assume_unique_for_key(nonce(index));
        let done = self
            .0
            .open_separate_gather(nonce, aws::Aad::empty(), body, tag, plain);
        done.expect("authentic");
    }
}

struct Ring(ring::aead::LessSafeKey);

impl Ring {
    fn new() -> Self {
        let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &KEY);
        Self(ring::aead::LessSafeKey::new(
            key.expect("a key of 32 bytes"),
        ))
    }
}

impl Aead for Ring {
    fn name(&self) -> String {
        "ring AES-256-GCM".to_owned()
    }

    fn seal(&self, index: u64, plain: &[u8], sealed: &mut [u8]) {
        use ring::aead::{Aad, Nonce};
        let (body, tag) = sealed.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce(index));
        let made = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::empty(), body)
            .expect("seals");
        tag.copy_from_slice(made.as_ref());
    }

    fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]) {
        use ring::aead::{Aad, Nonce};
        let (body, tag) = sealed.split_at(plain.len());
        plain.copy_from_slice(body);
        let tag: [u8; 16] = tag.try_into().expect("a tag");
        let nonce = Nonce::assume_unique_for_key(nonce(index));
        let opened = self
            .0
            .open_in_place_separate_tag(nonce, Aad::empty(), tag.into(), plain, 0..);
        opened.expect("authentic");
    }
}

struct Graviola(graviola::aead::AesGcm);

impl Aead for Graviola {
    fn name(&self) -> String {
        "graviola AES-256-GCM".to_owned()
    }

    fn seal(&self, index: u64, plain: &[u8], sealed: &mut [u8]) {
        let (body, tag) = sealed.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        let tag = tag.first_chunk_mut().expect("room for a tag");
        self.0.encrypt(&nonce(index), &[], body, tag);
    }

    fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]) {
        let (body, tag) = sealed.split_at(plain.len());
        plain.copy_from_slice(body);
        let opened = self.0.decrypt(&nonce(index), &[], plain, tag);
        assert!(opened.is_ok(), "authentic");
    }
}

struct OpenSsl {
    seal: RefCell<CipherCtx>,
    open: RefCell<CipherCtx>,
}

impl OpenSsl {
    fn new() -> Self {
        let cipher = Some(Cipher::aes_256_gcm());
        let mut seal = CipherCtx::new().expect("a context");
        seal.encrypt_init(cipher, Some(&KEY), None).expect("a key");
        let mut open = CipherCtx::new().expect("a context");
        open.decrypt_init(cipher, Some(&KEY), None).expect("a key");
        Self {
            seal: seal.into(),
            open: open.into(),
        }
    }
}

impl Aead for OpenSsl {
    fn name(&self) -> String {
        let version = openssl::version::version();
        let version: Vec<&str> = version.split(' ').take(2).collect();
        format!("{} AES-256-GCM", version.join(" "))
    }

    fn seal(&self, index: u64, plain: &[u8], sealed: &mut [u8]) {
        let (body, tag) = sealed.split_at_mut(plain.len());
        let mut ctx = self.seal.borrow_mut();
        ctx.encrypt_init(None, None, Some(&nonce(index)))
            .expect("a nonce");
        ctx.cipher_update(plain, Some(body)).expect("seals");
        ctx.cipher_final(&mut []).expect("seals");
        ctx.tag(tag).expect("a tag");
    }

    fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]) {
        let (body, tag) = sealed.split_at(plain.len());
        let mut ctx = self.open.borrow_mut();
        ctx.decrypt_init(None, None, Some(&nonce(index)))
            .expect("a nonce");
        ctx.set_tag(tag).expect("a tag");
        ctx.cipher_update(body, Some(plain)).expect("opens");
        ctx.cipher_final(&mut []).expect("authentic");
    }
}

struct RustCrypto<C> {
    name: &'static str,
    cipher: C,
}

impl<C> Aead for RustCrypto<C>
where
    C: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn seal(&self, index: u64, plain: &[u8], sealed: &mut [u8]) {
        let (body, tag) = sealed.split_at_mut(plain.len());
        let buffer = InOutBuf::new(plain, body).expect("of one length");
        let made = self
            .cipher
            .encrypt_inout_detached(&nonce(index).into(), &[], buffer);
        tag.copy_from_slice(&made.expect("seals"));
    }

    fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]) {
        let (body, tag) = sealed.split_at(plain.len());
        let buffer = InOutBuf::new(body, plain).expect("of one length");
        let tag = tag.try_into().expect("a tag");
        self.cipher
            .decrypt_inout_detached(&nonce(index).into(), &[], buffer, tag)
            .expect("authentic");
    }
}

fn nonce(index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&index.to_le_bytes());
    nonce
}

/// Of all peers.
pub(crate) const KEY: [u8; 32] = [0x42; 32];
