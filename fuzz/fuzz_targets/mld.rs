#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ilagate_fuzz::mld(bytes));
