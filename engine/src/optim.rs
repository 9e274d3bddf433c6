//! Optimisers: SGD with momentum, Adam, AdamW, RMSprop, over lists of tensors; clipping of gradients, and moving averages.

use crate::error::Result;
use crate::tensor::Tensor;
pub use convscope_kernels::optim::Rule;
use convscope_kernels::optim::{EMA, EmaSpec, STEP, StepSpec};
use convscope_kernels::reduce::{SUM_SQUARES, SquaresSpec};
use convscope_kernels::table::Accum;
use convscope_kernels::{Buffer, Context, DType, Device};

/// A bound on the norm of all gradients of a step together (Pascanu, Mikolov & Bengio, ICML 2013). The norm stays on the device of the
/// gradients.
#[derive(Clone, Debug)]
pub struct Clip {
    most: f64,
    /// The sum of squares, and its rounding error.
    squares: Tensor,
}

impl Clip {
    /// Bounds the norm of `grads`, which lie on one device, by `most`.
    ///
    /// # Errors
    /// If they differ in type or device, or the device is out of memory.
    pub fn new(context: &Context, grads: &[Tensor], most: f64) -> Result<Self> {
        let mut squares = grads.first().map_or_else(|| Buffer::zeros(DType::F32, 2), |first| first.buffer_like(2));
        for (i, grad) in grads.iter().enumerate() {
            let accum = if i == 0 { Accum::Write } else { Accum::Add };
            SUM_SQUARES.run(context, &SquaresSpec { len: grad.len() }, &[grad.buffer()], &mut [&mut squares], accum)?;
        }
        Ok(Clip { most, squares: Tensor::new([2], squares)? })
    }
}

/// Moves a moving average towards `new`: `average = decay * average + (1 - decay) * new`, on the device of `new`.
///
/// # Errors
/// If the shapes or types differ, or the device is out of memory.
///
/// ```
/// use convscope_engine::{Context, Tensor, optim::update_ema};
///
/// let mut average = Tensor::from_slice([2], &[1.0f32, 2.0])?;
/// update_ema(&Context::default(), &mut average, &Tensor::from_slice([2], &[2.0f32, 2.0])?, 0.75)?;
/// assert_eq!(average.f32(), [1.25, 2.0]);
/// # Ok::<(), convscope_engine::Error>(())
/// ```
pub fn update_ema(context: &Context, average: &mut Tensor, new: &Tensor, decay: f32) -> Result<()> {
    let spec = EmaSpec { len: new.len(), rate: f64::from(1.0 - decay) };
    let (old, mut out) = (average.on(new.device())?, new.buffer_like(new.len()));
    EMA.run(context, &spec, &[old.buffer(), new.buffer()], &mut [&mut out], Accum::Write)?;
    *average = Tensor::new(new.shape().clone(), out)?;
    Ok(())
}

/// An optimiser with its state of each parameter.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    context: Context,
    steps: u32,
    /// State tensors, per parameter.
    states: Vec<Vec<Tensor>>,
}

impl Optimizer {
    /// SGD (He et al. 2015 train ResNets with `momentum` 0.9 and `weight_decay` 1e-4).
    ///
    /// ```
    /// use convscope_engine::{Tensor, optim::Optimizer};
    ///
    /// let mut optimizer = Optimizer::sgd(0.1, 0.9, 0.0);
    /// let mut w = Tensor::from_slice([1], &[1.0f64])?;
    /// let grad = Tensor::from_slice([1], &[0.5f64])?;
    /// optimizer.step([(&mut w, &grad)])?;
    /// assert!((w.item()? - 0.95).abs() < 1e-6);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn sgd(lr: f64, momentum: f64, weight_decay: f64) -> Self {
        Self::new(Rule::Sgd { lr, momentum, weight_decay, nesterov: false })
    }

    /// Adam (Kingma & Ba, ICLR 2015) with the paper's decays.
    ///
    /// ```
    /// use convscope_engine::{Tensor, optim::Optimizer};
    ///
    /// let mut optimizer = Optimizer::adam(0.1);
    /// let mut w = Tensor::from_slice([1], &[1.0f64])?;
    /// let grad = Tensor::from_slice([1], &[0.5f64])?;
    /// optimizer.step([(&mut w, &grad)])?;
    /// assert!((w.item()? - 0.9).abs() < 1e-6);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn adam(lr: f64) -> Self {
        Self::new(Rule::Adam { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decoupled: false, step: 0 })
    }

    /// Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019).
    ///
    /// ```
    /// use convscope_engine::{Tensor, optim::Optimizer};
    ///
    /// let mut optimizer = Optimizer::adamw(0.1, 0.0);
    /// let mut w = Tensor::from_slice([1], &[1.0f64])?;
    /// let grad = Tensor::from_slice([1], &[0.5f64])?;
    /// optimizer.step([(&mut w, &grad)])?;
    /// assert!((w.item()? - 0.9).abs() < 1e-6);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn adamw(lr: f64, weight_decay: f64) -> Self {
        Self::new(Rule::Adam { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, decoupled: true, step: 0 })
    }

    /// RMSprop (Tieleman & Hinton 2012) with PyTorch's default decay 0.99.
    ///
    /// ```
    /// use convscope_engine::{Tensor, optim::Optimizer};
    ///
    /// let mut optimizer = Optimizer::rmsprop(0.1);
    /// let mut w = Tensor::from_slice([1], &[1.0f64])?;
    /// let grad = Tensor::from_slice([1], &[0.5f64])?;
    /// optimizer.step([(&mut w, &grad)])?;
    /// assert!((w.item()? - 0.0).abs() < 1e-6);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn rmsprop(lr: f64) -> Self {
        Self::new(Rule::RmsProp { lr, alpha: 0.99, eps: 1e-8, weight_decay: 0.0 })
    }

    /// An optimiser with any update rule, in the default context. It counts the steps of Adam itself.
    pub fn new(rule: Rule) -> Self {
        Optimizer { rule, context: Context::default(), steps: 0, states: Vec::new() }
    }

    /// Sets how steps run. A step is done on the device of its gradient.
    pub fn set_context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    /// Sets the learning rate, for schedules.
    pub fn set_lr(&mut self, rate: f64) {
        match &mut self.rule {
            Rule::Sgd { lr, .. } | Rule::Adam { lr, .. } | Rule::RmsProp { lr, .. } => *lr = rate,
        }
    }

    /// Number of state tensors of each parameter.
    pub fn states(&self) -> usize {
        self.rule.states()
    }

    /// The number of steps so far, and the state tensors of each parameter in the order of [`Optimizer::step`]'s list.
    pub fn state(&self) -> (u32, &[Vec<Tensor>]) {
        (self.steps, &self.states)
    }

    /// Restores the [`state`](Self::state) of an optimiser of the same rule and parameters; `states` is empty before the first step.
    pub fn load_state(&mut self, steps: u32, states: Vec<Vec<Tensor>>) {
        (self.steps, self.states) = (steps, states);
    }

    /// Replaces each parameter by its new value. The list and its order must be the same at every step.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if a gradient has another length or type than its parameter, or the device's memory is exhausted.
    pub fn step<'a>(&mut self, params: impl IntoIterator<Item = (&'a mut Tensor, &'a Tensor)>) -> Result<()> {
        self.step_clipped(params, None)
    }

    /// As [`Optimizer::step`], with gradients that are scaled where their norm is beyond the bound.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn step_clipped<'a>(
        &mut self,
        params: impl IntoIterator<Item = (&'a mut Tensor, &'a Tensor)>,
        clip: Option<&Clip>,
    ) -> Result<()> {
        self.steps += 1;
        if let Rule::Adam { step, .. } = &mut self.rule {
            *step = self.steps;
        }
        for (i, (w, g)) in params.into_iter().enumerate() {
            // The step runs on the gradient's device, where the parameter stays.
            let device = if w.device() == Device::Cpu { g.device() } else { w.device() };
            *w = w.on(device)?;
            let g = &g.on(device)?;
            if self.states.len() == i {
                self.states.push(vec![Tensor::zeros(w.shape().clone(), w.dtype()); self.rule.states()]);
            }
            let states = &mut self.states[i];
            *states = states.iter().map(|s| s.on(device)).collect::<Result<_>>()?;
            let spec = StepSpec { rule: self.rule, len: w.len(), clip: clip.map(|clip| clip.most) };
            let squares = clip.map(|clip| clip.squares.on(device)).transpose()?;
            let inputs: Vec<&Buffer> = [&*w, g].into_iter().chain(states.iter()).chain(&squares).map(Tensor::buffer).collect();
            let mut outputs: Vec<Buffer> = (0..=states.len()).map(|_| w.buffer_like(w.len())).collect();
            STEP.run(&self.context, &spec, &inputs, &mut outputs.iter_mut().collect::<Vec<_>>(), Accum::Write)?;
            let shape = w.shape().clone();
            let mut outputs = outputs.into_iter().map(|b| Tensor::new(shape.clone(), b));
            if let Some(new) = outputs.next() {
                *w = new?;
            }
            *states = outputs.collect::<Result<_>>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps from w = [1, -2] with gradients [0.5, -1], [0.25, 2], [-1, 0.1]; values from torch.optim 2.x in float64.
    #[test]
    fn steps_are_those_of_pytorch() {
        let grads = [[0.5, -1.0], [0.25, 2.0], [-1.0, 0.1]];
        let run = |mut opt: Optimizer| {
            let mut w = Tensor::from_slice([2], &[1.0f64, -2.0]).unwrap();
            for g in grads {
                let g = Tensor::from_slice([2], &g).unwrap();
                opt.step([(&mut w, &g)]).unwrap();
            }
            w.f64().to_vec()
        };
        let close = |got: Vec<f64>, want: [f64; 2]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{got:?} {want:?}");
        };
        close(run(Optimizer::sgd(0.1, 0.9, 0.01)), SGD);
        close(run(Optimizer::adam(0.1)), ADAM);
        close(run(Optimizer::adamw(0.1, 0.1)), ADAMW);
        close(run(Optimizer::rmsprop(0.1)), RMSPROP);
    }
    const SGD: [f64; 2] = [0.9116097489999999, -2.107969498];
    const ADAM: [f64; 2] = [0.8274177428854115, -1.9677376894782834];
    const ADAMW: [f64; 2] = [0.8006389224608368, -1.9099595859336627];
    const RMSPROP: [f64; 2] = [0.42572661607132584, -1.9402692234691479];
}
