//! What `make fuzz` asks of segments of any bytes, asked of some thousand: so that its question goes on being one.
#![cfg(feature = "gcm")]

#[path = "../fuzz/fuzz_targets/segment.rs"]
#[allow(
    clippy::expect_used,
    reason = "a failed set-up ends the fuzzer, and this test"
)]
mod segment;

use proptest::prelude::*;
use strongroom::format::SEGMENT_LEN;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn short_segments_hold_what_the_fuzzer_asks(data in proptest::collection::vec(any::<u8>(), 0..2100)) {
        segment::check(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Around the length of a whole segment with its tag, where the length alone is refused or not.
    #[test]
    fn whole_segments_hold_what_the_fuzzer_asks(
        choice in any::<u8>(),
        index in any::<u8>(),
        byte in any::<u8>(),
        more in 0..20_usize,
    ) {
        let mut data = vec![byte; 2 + SEGMENT_LEN + more];
        data[..2].copy_from_slice(&[choice, index]);
        segment::check(&data);
    }
}
