//! Fuzzes the control stream, from the hello on.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| matryoshka_pubsub_quic::testing::fuzz::control(data));
