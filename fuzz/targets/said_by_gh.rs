#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::run("said_by_gh", bytes));
