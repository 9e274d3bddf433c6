//! Forward and backward pass of a training step.

use crate::model::{Mode, Model};
use crate::network::LayerId;
use convscope_engine::{Result, Rules, Tape, Tensor, Var};

/// Loss and gradients of a batch.
pub struct Gradients {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Logits `[n, classes]`.
    pub logits: Tensor,
    /// Gradients of the wanted parameters, in their order.
    pub grads: Vec<Tensor>,
    /// The tape of the pass.
    pub tape: Tape,
}

/// Runs `model` in training mode from the output `x` of layer `from` (images `[n,c,h,w]` for the input layer), and back from the
/// loss of its output activation to the parameters with the indices `wanted` in [`Model::params`](crate::Model).
///
/// `targets` are probabilities `[n, classes]`. `seed` is for the dropout masks. Running statistics of batch-norms are updated;
/// weights are not.
///
/// # Errors
/// As [`Model::run`]; an [`Error`](convscope_engine::Error) for a shape that does not fit.
pub fn gradients(
    model: &mut Model,
    (from, x): (LayerId, Tensor),
    targets: Tensor,
    wanted: &[usize],
    seed: u64,
) -> Result<Gradients> {
    let network = &model.network;
    let mut tape = Tape::new();
    let x = tape.leaf(x, &network[from].name);
    let target = tape.leaf(targets, "target");
    let run = model.run(&mut tape, from, x, network.output(), Mode::Training { seed })?;
    let loss = network.output_activation.loss(&mut tape, run.output(), target)?;
    // Every layer is on the path to the output.
    let wants: Vec<Var> = wanted.iter().filter_map(|i| run.params()[*i]).collect();
    let grads = tape.backward(loss, None, &wants, &Rules::default())?.iter().map(|(_, grad)| grad.clone()).collect();
    model.update_statistics(&tape, &run)?;
    let (loss, logits) = (f64::from(tape.value(loss)?.f32()[0]), tape.value(run.output())?.clone());
    Ok(Gradients { loss, logits, grads, tape })
}
