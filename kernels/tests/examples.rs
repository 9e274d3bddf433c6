//! Runs the example, which asserts its result.

#[path = "../examples/add_row.rs"]
mod add_row;

#[test]
fn a_row_from_outside_is_checked_and_timed() {
    add_row::main().unwrap();
}
