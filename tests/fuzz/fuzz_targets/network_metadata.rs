#![no_main]

#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

libfuzzer_sys::fuzz_target!(|file: &[u8]| drop(convscope_tests::parsers::NETWORK_METADATA.check(file, &MEMORY)));
