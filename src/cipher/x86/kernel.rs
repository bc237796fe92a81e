//! The body of the kernel, expanded once for each width of vector.
//!
//! A *group* is [`VECTORS`] vectors, as many as keep the AES units busy; 64 lanes are one group or a
//! few. While a group runs through AES, another one runs through GHASH in the gaps: sealing hashes
//! the group before, opening the group itself.
//!
//! GHASH keeps one sum for each block of a vector: every vector counts with a power of `H^BLOCKS`,
//! the same for all its blocks, so the table of powers is short and the reduction needs no shuffle
//! across blocks. Only the end folds the sums, each with its own power.

/// Repeats a block of code with a constant.
macro_rules! unroll {
    ($name:ident in [$($value:literal)*] $body:block) => {
        $({
            const $name: usize = $value;
            $body
        })*
    };
}

macro_rules! fused_kernel {
    ($features:literal) => {
        use std::{hint::black_box, mem::MaybeUninit, ptr};

        use subtle::ConstantTimeEq;

        use super::{
            hash, kdf,
            schedule::{self, Schedule},
        };
        use crate::cipher::{
            BLOCK_LEN, Block, Derived, OpenSegment, Position, SealSegment, Subkeys, TAG_LEN, Unauthentic,
            backend::SealAndOpen, wiped::{Flat, Wiped},
        };

        const WIDTH: usize = BLOCKS * BLOCK_LEN;
        const GROUP_LEN: usize = VECTORS * WIDTH;
        /// Groups of one row of all lanes.
        const GROUPS: usize = 64 * BLOCK_LEN / GROUP_LEN;

        type Group = [[u8; WIDTH]; VECTORS];

        /// One row of all lanes, on boundaries of cache lines: each vector lies in one line.
        #[repr(align(64))]
        struct Row([Group; GROUPS]);

        /// This CPU has the instructions: the argument for every call from ordinary code. Only
        /// [`Proof::detect`] makes one.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(in crate::cipher) struct Proof(());

        /// The keys of a blob, expanded.
        struct Keys {
            data: Schedule,
            iv: Schedule,
            mac: Mac,
        }

        struct Mac {
            aes: Schedule,
            /// `H^BLOCKS` to the powers `VECTORS` to 1.
            powers: [__m128i; VECTORS],
            /// `H` to the powers `2 * BLOCKS` to 1.
            last: [__m128i; 2 * BLOCKS],
        }

        // SAFETY: round keys and powers, plain bytes without a drop of their own.
        unsafe impl Flat for Keys {}
        // SAFETY: as above.
        unsafe impl Flat for Mac {}

        struct Sealer(Proof, Wiped<Keys>);
        struct Opener(Proof, Wiped<Keys>);
        struct Authenticator(Proof, Wiped<Mac>);

        impl Proof {
            /// To seal suite 1 with.
            pub(in crate::cipher) fn sealer(self, subkeys: Subkeys<'_>) -> Box<dyn SealSegment> {
                // SAFETY: `self` proves that the CPU has the features.
                unsafe { sealer(self, subkeys) }
            }

            /// To open suite 1 with.
            pub(in crate::cipher) fn opener(self, subkeys: Subkeys<'_>) -> Box<dyn OpenSegment> {
                // SAFETY: `self` proves that the CPU has the features.
                unsafe { opener(self, subkeys) }
            }

            /// To seal and open suite 0 with, under its MAC key.
            pub(in crate::cipher) fn gmac(self, key: &[u8; 32]) -> Box<dyn SealAndOpen> {
                // SAFETY: `self` proves that the CPU has the features.
                unsafe { authenticator(self, key) }
            }

            /// See [`crate::cipher::Backend::wipe_stack`].
            pub(in crate::cipher) fn wipe_stack(self) {
                // SAFETY: `self` proves that the CPU has the features.
                unsafe { wipe_stack() }
            }

            /// See [`crate::cipher::cmac::kbkdf`].
            pub(in crate::cipher) fn kbkdf(self, key: &[u8; 32], fixed: &[u8; 47]) -> Derived {
                // SAFETY: `self` proves that the CPU has the features.
                unsafe { kdf::kbkdf(key, fixed) }
            }
        }

        impl SealSegment for Sealer {
            fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
                let Self(Proof(()), keys) = self;
                // SAFETY: the proof says that the CPU has the features.
                unsafe { seal(keys, at, plain, out) }
            }
        }

        impl OpenSegment for Opener {
            fn open(
                &self,
                at: Position,
                sealed: &[u8],
                tag: &[u8; TAG_LEN],
                out: &mut [u8],
            ) -> Result<(), Unauthentic> {
                let Self(Proof(()), keys) = self;
                // SAFETY: the proof says that the CPU has the features.
                let expected = unsafe { open(keys, at, sealed, out) };
                if expected.ct_eq(tag).into() {
                    Ok(())
                } else {
                    Err(Unauthentic)
                }
            }
        }

        impl SealSegment for Authenticator {
            fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
                let Self(Proof(()), mac) = self;
                // SAFETY: the proof says that the CPU has the features.
                unsafe { copy(mac, at.counter_block(), plain, out) }
            }
        }

        impl SealAndOpen for Authenticator {
            #[cfg(test)]
            fn tag_under(&self, counter: Block, data: &[u8]) -> [u8; TAG_LEN] {
                let Self(Proof(()), mac) = self;
                // SAFETY: the proof says that the CPU has the features.
                unsafe { copy(mac, counter, data, &mut vec![0; data.len()]) }
            }
        }

        impl OpenSegment for Authenticator {
            fn open(
                &self,
                at: Position,
                sealed: &[u8],
                tag: &[u8; TAG_LEN],
                out: &mut [u8],
            ) -> Result<(), Unauthentic> {
                if self.seal(at, sealed, out).ct_eq(tag).into() {
                    Ok(())
                } else {
                    Err(Unauthentic)
                }
            }
        }

        // Keys are expanded in their box: moved there, they would be copied on the way.
        #[target_feature(enable = $features)]
        fn sealer(proof: Proof, subkeys: Subkeys<'_>) -> Box<Sealer> {
            let mut sealer = Box::new(Sealer(proof, Wiped::new(Keys::empty())));
            sealer.1.expand(subkeys);
            sealer
        }

        #[target_feature(enable = $features)]
        fn opener(proof: Proof, subkeys: Subkeys<'_>) -> Box<Opener> {
            let mut opener = Box::new(Opener(proof, Wiped::new(Keys::empty())));
            opener.1.expand(subkeys);
            schedule::invert(&mut opener.1.data);
            opener
        }

        #[target_feature(enable = $features)]
        fn authenticator(proof: Proof, key: &[u8; 32]) -> Box<Authenticator> {
            let mut authenticator = Box::new(Authenticator(proof, Wiped::new(Mac::empty())));
            schedule::expand_all([key], [&mut authenticator.1.aes]);
            authenticator.1.raise();
            authenticator
        }

        impl Keys {
            #[inline]
            #[target_feature(enable = $features)]
            fn empty() -> Self {
                let [data, iv] = [schedule::empty(); 2];
                Self { data, iv, mac: Mac::empty() }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn expand(&mut self, Subkeys { enc, iv, mac }: Subkeys<'_>) {
                let schedules = [&mut self.data, &mut self.iv, &mut self.mac.aes];
                schedule::expand_all([enc, iv, mac], schedules);
                self.mac.raise();
            }
        }

        impl Mac {
            #[inline]
            #[target_feature(enable = $features)]
            fn empty() -> Self {
                Self {
                    aes: schedule::empty(),
                    powers: [_mm_setzero_si128(); VECTORS],
                    last: [_mm_setzero_si128(); 2 * BLOCKS],
                }
            }

            /// The powers of the hash key, as many at a time as a vector has blocks. Each is a product
            /// of two that are half as high: their latencies add up log2 times.
            #[inline]
            #[target_feature(enable = $features)]
            fn raise(&mut self) {
                let [zero] = schedule::encrypt(&self.aes, [_mm_setzero_si128()]);
                let low = hash::powers::<BLOCKS>(hash::key(zero));
                let step = low[0];
                let low = gather(&low);
                let high = multiply(low, broadcast(step));
                scatter(high, self.last.first_chunk_mut().expect("twice as many"));
                scatter(low, self.last.last_chunk_mut().expect("twice as many"));

                let first = hash::powers::<BLOCKS>(step);
                let mut rising = [gather(&first); VECTORS / BLOCKS];
                for i in 1..rising.len() {
                    let half = 1 << i.ilog2();
                    let factor = first_block(rising[half - 1]);
                    rising[i] = multiply(rising[i - half], broadcast(factor));
                }
                let (powers, _) = self.powers.as_chunks_mut();
                for (vector, powers) in rising.iter().rev().zip(powers) {
                    scatter(*vector, powers);
                }
            }
        }

        /// Block by block, reduced.
        #[inline]
        #[target_feature(enable = $features)]
        fn multiply(a: Vector, b: Vector) -> Vector {
            let mut product = Product::zero();
            product.add(a, b);
            product.reduce()
        }

        /// Seals one segment; `out` is as long as `plain`, or longer by its padding.
        #[target_feature(enable = $features)]
        fn seal(keys: &Keys, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
            let mask = mask(&keys.mac, at.counter_block());
            let mut ivs = Row([EMPTY; GROUPS]);
            ivs.fill(&keys.iv, at, out.len());
            let ivs = &ivs.0;
            let padding = out.len() - plain.len();
            let sealed_len = out.len();
            let mut sums = zero();

            let (plains, rest) = as_groups(plain);
            let (groups, out_rest) = as_groups_mut(out, plains.len());
            // Where a row is one group its blocks stay in their registers for the next one: by way of
            // memory they would come too late.
            let mut chain = load_group(&ivs[0]);
            for (g, plain) in plains.iter().enumerate() {
                let (done, now) = groups.split_at_mut(g);
                if GROUPS > 1 {
                    chain = load_group(if g < GROUPS { &ivs[g] } else { &done[g - GROUPS] });
                }
                let hashed = done.last().unwrap_or(&EMPTY);
                (sums, chain) = seal_group(keys, sums, hashed, plain, chain, &mut now[0]);
            }
            if let Some(group) = groups.last() {
                sums = absorb(&keys.mac, sums, group);
            }
            if !out_rest.is_empty() {
                let g = groups.len();
                let chain = if g < GROUPS { &ivs[g] } else { &groups[g - GROUPS] };
                seal_rest(keys, rest, padding, chain, out_rest);
            }
            finish(&keys.mac, mask, sums, out_rest, sealed_len)
        }

        /// One group through AES, and the group `hashed` through GHASH. Returns the sums, and the
        /// group sealed.
        #[inline]
        #[target_feature(enable = $features)]
        fn seal_group(
            keys: &Keys,
            sums: Vector,
            hashed: &Group,
            plain: &Group,
            mut state: [Vector; VECTORS],
            out: &mut Group,
        ) -> (Vector, [Vector; VECTORS]) {
            // The compiler is not to keep 15 round keys in registers across groups: loading them
            // again is free, spilling the state is not.
            let Keys { data, mac, .. } = black_box(keys);
            let first = broadcast(data[0]);
            let ahead = [plain.as_ptr(), out.as_ptr()];
            for i in 0..VECTORS {
                state[i] = xor3(load(&plain[i]), state[i], first);
            }
            let mut product = Product::zero();
            unroll!(ROUND in [1 2 3 4 5 6 7 8 9 10 11 12 13] {
                let key = broadcast(data[ROUND]);
                for state in &mut state {
                    *state = enc(*state, key);
                }
                for i in share(ROUND) {
                    let (first, second) = (load(&hashed[2 * i]), load(&hashed[2 * i + 1]));
                    product.add_two(
                        [reverse(first), broadcast(mac.powers[2 * i + 1])],
                        [reverse(second), broadcast(mac.powers[2 * i + 2])],
                    );
                }
                prefetch(ahead, ROUND);
                product.pin(&mut state);
            });
            let key = broadcast(data[14]);
            for (state, out) in state.iter_mut().zip(out) {
                *state = enc_last(*state, key);
                store(out, *state);
            }
            product.add_two(
                [reverse(load(&hashed[VECTORS - 2])), broadcast(mac.powers[VECTORS - 1])],
                [sums, broadcast(mac.powers[0])],
            );
            (xor(product.reduce(), reverse(load(&hashed[VECTORS - 1]))), state)
        }

        /// The end of a segment, less than a group, and its padding.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn seal_rest(keys: &Keys, rest: &[u8], padding: usize, chain: &Group, out: &mut [u8]) {
            let mut last = EMPTY;
            let bytes = last.as_flattened_mut();
            bytes[..rest.len()].copy_from_slice(rest);
            bytes[rest.len()..out.len()].fill(u8::try_from(padding).unwrap_or(0));
            let vectors = out.len().div_ceil(WIDTH);
            for (block, chain) in last.iter_mut().zip(chain).take(vectors) {
                let state = xor(load(block), load(chain));
                store(block, encrypt(&keys.data, state));
            }
            out.copy_from_slice(&last.as_flattened()[..out.len()]);
        }

        /// Opens one segment into `out` of the same length, padding included, and returns the tag
        /// it should have.
        #[target_feature(enable = $features)]
        fn open(keys: &Keys, at: Position, sealed: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
            let mask = mask(&keys.mac, at.counter_block());
            let mut ivs = Row([EMPTY; GROUPS]);
            ivs.fill(&keys.iv, at, out.len());
            let ivs = &ivs.0;
            let mut sums = zero();

            let (groups, rest) = as_groups(sealed);
            let (out, out_rest) = as_groups_mut(out, groups.len());
            let chain = |g| if g < GROUPS { &ivs[g] } else { &groups[g - GROUPS] };
            for (g, (group, out)) in groups.iter().zip(out).enumerate() {
                sums = open_group(keys, sums, group, chain(g), out);
            }
            if !rest.is_empty() {
                open_rest(keys, rest, chain(groups.len()), out_rest);
            }
            finish(&keys.mac, mask, sums, rest, sealed.len())
        }

        /// The end of a segment, less than a group.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn open_rest(keys: &Keys, rest: &[u8], chain: &Group, out: &mut [u8]) {
            let mut last = EMPTY;
            last.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
            let vectors = rest.len().div_ceil(WIDTH);
            for (block, chain) in last.iter_mut().zip(chain).take(vectors) {
                let state = decrypt(&keys.data, load(block));
                store(block, xor(state, load(chain)));
            }
            out.copy_from_slice(&last.as_flattened()[..rest.len()]);
        }

        /// One group through AES backwards and through GHASH.
        #[inline]
        #[target_feature(enable = $features)]
        fn open_group(
            keys: &Keys,
            sums: Vector,
            sealed: &Group,
            chain: &Group,
            out: &mut Group,
        ) -> Vector {
            let Keys { data, mac, .. } = black_box(keys);
            // To be hashed it is loaded again, not kept.
            let hashed = black_box(sealed);
            let first = broadcast(data[0]);
            let ahead = [sealed.as_ptr(), out.as_ptr()];
            let mut state = [first; VECTORS];
            for i in 0..VECTORS {
                state[i] = xor(load(&sealed[i]), first);
            }
            let mut product = Product::zero();
            unroll!(ROUND in [1 2 3 4 5 6 7 8 9 10 11 12 13] {
                let key = broadcast(data[ROUND]);
                for state in &mut state {
                    *state = dec(*state, key);
                }
                for i in share(ROUND) {
                    let (first, second) = (load(&hashed[2 * i]), load(&hashed[2 * i + 1]));
                    product.add_two(
                        [reverse(first), broadcast(mac.powers[2 * i + 1])],
                        [reverse(second), broadcast(mac.powers[2 * i + 2])],
                    );
                }
                prefetch(ahead, ROUND);
                product.pin(&mut state);
            });
            let key = broadcast(data[14]);
            for i in 0..VECTORS {
                store(&mut out[i], xor(dec_last(state[i], key), load(&chain[i])));
            }
            product.add_two(
                [reverse(load(&hashed[VECTORS - 2])), broadcast(mac.powers[VECTORS - 1])],
                [sums, broadcast(mac.powers[0])],
            );
            xor(product.reduce(), reverse(load(&hashed[VECTORS - 1])))
        }

        /// Copies a segment and authenticates the copy (F-23).
        #[target_feature(enable = $features)]
        fn copy(mac: &Mac, counter: Block, from: &[u8], to: &mut [u8]) -> [u8; TAG_LEN] {
            let mask = mask(mac, counter);
            let mut sums = zero();
            let (groups, rest) = as_groups(from);
            let (copies, to_rest) = as_groups_mut(to, groups.len());
            for (group, copy) in groups.iter().zip(copies) {
                let mut product = Product::zero();
                product.add(sums, broadcast(mac.powers[0]));
                for i in 0..VECTORS - 1 {
                    let vector = load(&group[i]);
                    store(&mut copy[i], vector);
                    product.add(reverse(vector), broadcast(mac.powers[i + 1]));
                }
                let last = load(&group[VECTORS - 1]);
                store(&mut copy[VECTORS - 1], last);
                sums = xor(product.reduce(), reverse(last));
            }
            to_rest.copy_from_slice(rest);
            finish(mac, mask, sums, rest, from.len())
        }

        /// The pairs of vectors of a group that are hashed beside AES round `round`, 1 to 13: all but
        /// the last pair, which waits for the sums, and counts with powers 1 and 0.
        const fn share(round: usize) -> std::ops::Range<usize> {
            const PAIRS: usize = VECTORS / 2 - 1;
            PAIRS * (round - 1) / 13..PAIRS * round / 13
        }

        impl Row {
            /// The IVs of the first lanes, as many as `len` bytes have (F-19).
            #[inline]
            #[target_feature(enable = $features)]
            fn fill(&mut self, keys: &Schedule, at: Position, len: usize) {
                let mut input = xor(
                    load(&FIRST_LANES),
                    broadcast(schedule::from_bytes(&at.iv_input(0).0)),
                );
                let vectors = self.0.as_flattened_mut();
                for vector in vectors.iter_mut().take(len.div_ceil(WIDTH)) {
                    store(vector, encrypt(keys, input));
                    input = add(input, broadcast(_mm_set_epi64x(BLOCKS as i64, 0)));
                }
            }
        }

        /// What the hash is XORed with (F-21): the encrypted first counter block.
        #[inline]
        #[target_feature(enable = $features)]
        fn mask(mac: &Mac, counter: Block) -> __m128i {
            let [mask] = schedule::encrypt(&mac.aes, [schedule::from_bytes(&counter.0)]);
            mask
        }

        /// Hashes whole vectors, at most a group.
        #[inline]
        #[target_feature(enable = $features)]
        fn absorb(mac: &Mac, sums: Vector, vectors: &[[u8; WIDTH]]) -> Vector {
            let Some((last, others)) = vectors.split_last() else {
                return sums;
            };
            let powers = &mac.powers[VECTORS - vectors.len()..];
            let mut product = Product::zero();
            for (vector, power) in others.iter().zip(&powers[1..]) {
                product.add(reverse(load(vector)), broadcast(*power));
            }
            product.add(sums, broadcast(powers[0]));
            xor(product.reduce(), reverse(load(last)))
        }

        /// Hashes the `rest` (less than a group) of `len` bytes and their length; the tag.
        #[inline]
        #[target_feature(enable = $features)]
        fn finish(mac: &Mac, mask: __m128i, sums: Vector, rest: &[u8], len: usize) -> [u8; TAG_LEN] {
            let (vectors, rest) = rest.as_chunks();
            let mut sums = absorb(mac, sums, vectors);
            // What is less than a vector goes to the end of one, before the lengths.
            let mut blocks = rest.len().div_ceil(BLOCK_LEN);
            let mut end = zero();
            if blocks > 0 {
                let mut bytes = [0; 2 * WIDTH];
                let start = 2 * WIDTH - (blocks + 1) * BLOCK_LEN;
                bytes[start..start + rest.len()].copy_from_slice(rest);
                let (halves, _) = bytes.as_chunks();
                if blocks == BLOCKS {
                    // With them one block too many: they fill a vector of their own.
                    let mut whole = [0; WIDTH];
                    whole[..rest.len()].copy_from_slice(rest);
                    sums = absorb(mac, sums, &[whole]);
                    blocks = 0;
                } else {
                    end = load(&halves[1]);
                }
            }
            // The two lengths in bits: of what is authenticated, and of nothing encrypted.
            let lengths = schedule::from_u128((8 * len as u128) << 64);
            let end = xor(reverse(end), last_block(lengths));
            let (_, low) = mac.last.as_chunks::<BLOCKS>().0.split_at(1);
            let mut product = Product::zero();
            product.add(end, gather(&low[0]));
            let falling = mac.last[BLOCKS - 1 - blocks..].first_chunk().expect("of twice as many");
            product.add(sums, gather(falling));
            schedule::to_bytes(_mm_xor_si128(hash::reverse(product.fold()), mask))
        }

        /// A frame as deep as those of the functions here together, all zeros.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn wipe_stack() {
            let mut frame = [MaybeUninit::<Vector>::uninit(); FRAMES / WIDTH];
            for vector in &mut frame {
                // SAFETY: a place in `frame`. Volatile: the compiler must neither leave it out nor
                // make it a call of `memset`, which takes three times as long to begin.
                unsafe { ptr::write_volatile(vector, MaybeUninit::new(zero())) };
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn encrypt(keys: &Schedule, state: Vector) -> Vector {
            let [first, middle @ .., last] = keys;
            let mut state = xor(state, broadcast(*first));
            for key in middle {
                state = enc(state, broadcast(*key));
            }
            enc_last(state, broadcast(*last))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn decrypt(keys: &Schedule, state: Vector) -> Vector {
            let [first, middle @ .., last] = keys;
            let mut state = xor(state, broadcast(*first));
            for key in middle {
                state = dec(state, broadcast(*key));
            }
            dec_last(state, broadcast(*last))
        }

        /// Calls into the cache what a run of segments comes to soon: beside AES round `round`, 1 to
        /// 13, its share of the lines that lie [`AHEAD`] bytes behind the group at each of `starts`.
        /// All at once they would hold up the rounds.
        #[inline]
        #[target_feature(enable = $features)]
        fn prefetch(starts: [*const [u8; WIDTH]; 2], round: usize) {
            const LINES: usize = GROUP_LEN / CACHE_LINE;
            for line in LINES * (round - 1) / 13..LINES * round / 13 {
                for start in starts {
                    // A hint: of an address that cannot be read the CPU takes no notice.
                    _mm_prefetch::<_MM_HINT_T0>(start.cast::<u8>().wrapping_add(AHEAD + line * CACHE_LINE).cast());
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn load_group(group: &Group) -> [Vector; VECTORS] {
            let mut vectors = [zero(); VECTORS];
            for (vector, bytes) in vectors.iter_mut().zip(group) {
                *vector = load(bytes);
            }
            vectors
        }

        /// A sum of carry-less products, block by block.
        struct Product {
            low: Vector,
            middle: Vector,
            high: Vector,
        }

        impl Product {
            #[inline]
            #[target_feature(enable = $features)]
            fn zero() -> Self {
                Self { low: zero(), middle: zero(), high: zero() }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn add(&mut self, a: Vector, b: Vector) {
                self.low = xor(self.low, clmul::<0x00>(a, b));
                self.high = xor(self.high, clmul::<0x11>(a, b));
                self.middle = xor3(self.middle, clmul::<0x01>(a, b), clmul::<0x10>(a, b));
            }

            /// Ends a round: what was written before this comes before what is written after it. Left
            /// to itself the compiler takes the hash first and the rounds then, and spills.
            #[inline]
            #[target_feature(enable = $features)]
            fn pin(&mut self, state: &mut [Vector; VECTORS]) {
                let Self { low, middle, high } = self;
                let [first, .., last] = state;
                pin([low, middle, high, first, last]);
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn add_two(&mut self, [a, b]: [Vector; 2], [c, d]: [Vector; 2]) {
                self.low = xor3(self.low, clmul::<0x00>(a, b), clmul::<0x00>(c, d));
                self.high = xor3(self.high, clmul::<0x11>(a, b), clmul::<0x11>(c, d));
                self.middle = xor3(self.middle, clmul::<0x01>(a, b), clmul::<0x10>(a, b));
                self.middle = xor3(self.middle, clmul::<0x01>(c, d), clmul::<0x10>(c, d));
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn reduce(self) -> Vector {
                let reducer = broadcast(_mm_set1_epi64x(hash::REDUCER));
                let middle = xor3(self.middle, swap(self.low), clmul::<0x00>(self.low, reducer));
                xor3(self.high, swap(middle), clmul::<0x00>(middle, reducer))
            }

            /// Of all blocks together, reduced.
            #[inline]
            #[target_feature(enable = $features)]
            fn fold(self) -> __m128i {
                hash::reduce(fold_blocks(self.low), fold_blocks(self.middle), fold_blocks(self.high))
            }
        }

        fn as_groups(bytes: &[u8]) -> (&[Group], &[u8]) {
            let (groups, rest) = bytes.split_at(bytes.len() / GROUP_LEN * GROUP_LEN);
            let (vectors, _) = groups.as_chunks::<WIDTH>();
            (vectors.as_chunks().0, rest)
        }

        fn as_groups_mut(bytes: &mut [u8], count: usize) -> (&mut [Group], &mut [u8]) {
            let (groups, rest) = bytes.split_at_mut(count * GROUP_LEN);
            let (vectors, _) = groups.as_chunks_mut::<WIDTH>();
            (vectors.as_chunks_mut().0, rest)
        }

        /// The lanes of the first vector, as [`Position::iv_input`] has them.
        const FIRST_LANES: [u8; WIDTH] = {
            let mut lanes = [0; WIDTH];
            let mut lane = 0;
            while lane < BLOCKS {
                lanes[lane * BLOCK_LEN + 8] = [0, 1, 2, 3][lane];
                lane += 1;
            }
            lanes
        };
        /// Without optimisation frames are larger.
        const FRAMES: usize = if cfg!(debug_assertions) { 96 << 10 } else { 4 << 10 };
        const CACHE_LINE: usize = 64;
        /// As far as memory is away while a segment is worked on.
        const AHEAD: usize = 8192;
        const EMPTY: Group = [[0; WIDTH]; VECTORS];
    };
}
