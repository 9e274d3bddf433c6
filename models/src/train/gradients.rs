//! One step's work on a network, up to the optimiser.

use crate::model::{Mode, Model};
use crate::network::LayerId;
use convscope_engine::{Result, Rules, Tape, Tensor, Var};

/// What a batch says of a model.
pub struct Gradients {
    /// Mean loss of the batch.
    pub loss: f64,
    /// `[n, classes]`
    pub logits: Tensor,
    /// Of the parameters that were asked for, in their order.
    pub grads: Vec<Tensor>,
    /// The pass itself.
    pub tape: Tape,
}

/// Runs `model` in training mode from the output `x` of layer `from` (the images `[n,c,h,w]` of the input), and backward from its
/// loss of the output activation against `targets [n, classes]`, rows of probabilities, to the parameters at the places `wanted` of
/// [`Model::params`](crate::Model). Moves the running statistics of batch-norms; weights stay. `seed` is of the dropout masks.
///
/// # Errors
/// As [`Model::run`]; a shape that does not fit.
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
    // Every layer lies on the way to the output.
    let wants: Vec<Var> = wanted.iter().filter_map(|i| run.params()[*i]).collect();
    let grads = tape.backward(loss, None, &wants, &Rules::default())?.iter().map(|(_, grad)| grad.clone()).collect();
    model.update_statistics(&tape, &run)?;
    let (loss, logits) = (f64::from(tape.value(loss)?.f32()[0]), tape.value(run.output())?.clone());
    Ok(Gradients { loss, logits, grads, tape })
}
