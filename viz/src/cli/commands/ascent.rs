use crate::cli::args::{AscentArgs, Common};
use crate::cli::problem::Problem;

pub fn run(_: &Common, _: &AscentArgs) -> Result<(), Problem> {
    Err(Problem::failure("coming"))
}
