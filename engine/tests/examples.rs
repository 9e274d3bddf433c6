//! Runs the examples; each asserts its result.

#[path = "../examples/03_convolution.rs"]
mod convolution;
#[path = "../examples/01_gradients.rs"]
mod gradients;
#[path = "../examples/04_new_op.rs"]
mod new_op;
#[path = "../examples/02_regression.rs"]
mod regression;

#[test]
fn gradients_of_an_expression() {
    gradients::main().unwrap();
}

#[test]
fn a_line_is_fitted() {
    regression::main().unwrap();
}

#[test]
fn a_filter_is_learnt() {
    convolution::main().unwrap();
}

#[test]
fn an_operation_is_added() {
    new_op::main().unwrap();
}
