//! Fuzzes the reason a connection was closed with.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| matryoshka_pubsub_quic::testing::fuzz::close(data));
