#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| drop(convscope_tests::parsers::ONNX.run(file)));
