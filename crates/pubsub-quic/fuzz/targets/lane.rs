//! Fuzzes a lane, in either version.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| matryoshka_pubsub_quic::testing::fuzz::lane(data));
