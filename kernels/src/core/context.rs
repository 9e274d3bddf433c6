//! Where and how kernels run: device, threads, precision, instruction set, rows by name.

use crate::core::choice::{Choice, parse_choices};
use crate::core::device::Device;
use crate::core::error::{Error, Result};
use crate::core::isa::Isa;
use crate::core::precision::Precision;
use std::sync::{Arc, OnceLock};

/// Stack of a thread in bytes: that of a main thread.
const STACK: usize = 8 << 20;

/// Where and how kernels run.
///
/// A context is a value: a table's [`run`](crate::table::Table::run) takes one, and two of them do not see each other. A clone is cheap.
///
/// ```
/// use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
/// use convscope_kernels::{Context, DType};
///
/// let spec = GemmSpec { m: 64, n: 64, k: 64, ta: false, tb: false, bias: Bias::None };
/// let naive = Context::default().with_rows("gemm=naive")?;
/// assert_eq!(GEMM.pick(&naive, DType::F32, &spec)?.name(), "naive");
/// assert_ne!(GEMM.pick(&Context::default(), DType::F32, &spec)?.name(), "naive");
/// # Ok::<(), convscope_kernels::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Context(Arc<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    device: Device,
    precision: Precision,
    /// At most [`Isa::best`].
    isa: Isa,
    /// The last one of a table counts.
    choices: Vec<Choice>,
    blocking: bool,
    threads: Option<Arc<rayon::ThreadPool>>,
}

/// The CPU, exact products, all its instructions and threads, and what the environment says. A mistake there is ignored; [`Context::from_environment`] reports it.
impl Default for Context {
    fn default() -> Self {
        match environment() {
            Ok(context) => context.clone(),
            Err(_) => Self::of(Vec::new()),
        }
    }
}

/// The context of the environment, read once.
fn environment() -> &'static Result<Context> {
    static ENVIRONMENT: OnceLock<Result<Context>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        Isa::from_environment()?;
        Ok(Context::of(parse_choices(&std::env::var("CONVSCOPE_KERNEL").unwrap_or_default())?))
    })
}

impl Context {
    fn of(choices: Vec<Choice>) -> Self {
        let (device, precision, isa) = (Device::Cpu, Precision::F32, Isa::best());
        Context(Arc::new(Settings { device, precision, isa, choices, blocking: false, threads: None }))
    }

    /// The default context.
    ///
    /// # Errors
    /// A mistake in `CONVSCOPE_KERNEL` or `CONVSCOPE_ISA`.
    pub fn from_environment() -> Result<Self> {
        environment().clone()
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same on another device.
    pub fn with_device(self, device: Device) -> Self {
        self.with(|s| s.device = device)
    }

    /// The same with operands of products rounded so on tensor cores.
    pub fn with_precision(self, precision: Precision) -> Self {
        self.with(|s| s.precision = precision)
    }

    /// The same with rows of this instruction set at most. What the machine lacks stays out.
    pub fn with_isa(self, isa: Isa) -> Self {
        self.with(|s| s.isa = isa.min(Isa::best()))
    }

    /// The same with rows by name, as `conv2d.fwd=naive,gemm=packed?`: see [`crate::choice`].
    ///
    /// # Errors
    /// A text of another form; a table or row that this crate does not have. [`Context::with_choice`] names a row from outside.
    pub fn with_rows(self, text: &str) -> Result<Self> {
        let choices = parse_choices(text)?;
        Ok(self.with(|s| s.choices.extend(choices)))
    }

    /// The same with a row by name, which may be that of a table from outside the crate.
    pub fn with_choice(self, choice: Choice) -> Self {
        self.with(|s| s.choices.push(choice))
    }

    /// The same with each kernel of a GPU waited for, so that the time of a [`Call`](crate::Call) is the kernel's and not its launch's (as
    /// `CUDA_LAUNCH_BLOCKING`).
    pub fn with_blocking(self, blocking: bool) -> Self {
        self.with(|s| s.blocking = blocking)
    }

    /// The same with a pool of `threads` threads of its own; 0 of as many as there are cores. [`Context::install`] works there.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn with_threads(self, threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build();
        let pool = Arc::new(pool.map_err(|e| Error::Threads(e.to_string()))?);
        Ok(self.with(|s| s.threads = Some(pool)))
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// The rounding of operands of products on tensor cores.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// The best instruction set of a row.
    pub fn isa(&self) -> Isa {
        self.0.isa
    }

    /// Whether each kernel of a GPU is waited for.
    pub fn is_blocking(&self) -> bool {
        self.0.blocking
    }

    /// Threads of the pool.
    pub fn threads(&self) -> usize {
        self.0.threads.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
    }

    /// The row by name of a table.
    pub(super) fn choice(&self, op: &str) -> Option<&Choice> {
        self.0.choices.iter().rev().find(|choice| choice.op == op)
    }

    /// Runs `f` on a thread of the context's pool, or of rayon's global one. A program calls this once, around all its work: from outside
    /// a pool each kernel puts the caller to sleep and has it woken.
    pub fn install<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        match &self.0.threads {
            Some(pool) => pool.install(f),
            None => rayon::scope(|_| f()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::device::DType;
    use crate::core::table::Accum;
    use crate::ops::gemm::{Bias, GEMM, GemmSpec};
    use crate::{Buffer, conv2d};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    const SPEC: GemmSpec = GemmSpec { m: 40, n: 40, k: 40, ta: false, tb: false, bias: Bias::None };

    fn run(context: &Context) -> &'static str {
        let (a, b) = (Buffer::zeros(DType::F32, 1600), Buffer::zeros(DType::F32, 1600));
        let mut c = Buffer::new(DType::F32, 1600);
        GEMM.run(context, &SPEC, &[&a, &b], &mut [&mut c], Accum::Write).unwrap().kernel
    }

    #[test]
    fn contexts_of_two_threads_do_not_see_each_other() {
        let plain = Context::default();
        let named = |name: &str| plain.clone().with_rows(&format!("gemm={name}")).unwrap();
        let contexts = [(named("naive").with_isa(Isa::Portable), "naive"), (named("packed"), "packed")];
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            for (context, name) in &contexts {
                scope.spawn(|| {
                    for _ in 0..20 {
                        both.wait();
                        assert_eq!(run(context), *name);
                    }
                });
            }
        });
        assert_eq!((contexts[0].0.isa(), plain.isa()), (Isa::Portable, Isa::best()), "a clone leaves its origin as it is");
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let plain = run(&Context::default());
        let context = Context::default().with_rows("gemm=naive").unwrap().with_blocking(true).with_threads(2).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            context.install(|| {
                assert_eq!(run(&context), "naive");
                std::panic::resume_unwind(Box::new("within a context"))
            })
        }));
        assert!(panicked.is_err_and(|e| e.is::<&str>()));
        assert_eq!(run(&Context::default()), plain);
        assert_eq!(context.install(|| run(&context)), "naive", "its threads work on");
    }

    #[test]
    fn work_is_done_on_as_many_threads_as_were_asked_for() {
        for threads in [1, 3] {
            let context = Context::default().with_threads(threads).unwrap();
            assert_eq!((context.threads(), context.install(rayon::current_num_threads)), (threads, threads));
        }
        assert!(Context::default().install(rayon::current_thread_index).is_some(), "the global pool");
    }

    /// No row of a better instruction set runs, chosen or by name.
    #[test]
    fn the_instruction_set_is_a_cap() {
        let portable = Context::default().with_isa(Isa::Portable);
        let spec = conv2d::Conv2dSpec::simple(1, 16, 12, 12, 16, 3);
        let name = conv2d::FWD.pick(&portable, DType::F32, &spec).unwrap().name();
        assert!(["_avx", "_neon"].iter().all(|isa| !name.contains(isa)), "{name}");
        if Isa::best() >= Isa::Avx2 {
            let forced = portable.with_rows("conv2d.fwd=im2col_avx2").unwrap();
            let message = conv2d::FWD.pick(&forced, DType::F32, &spec).map(|row| row.name()).unwrap_err().to_string();
            assert!(message.contains("not on this machine"), "{message}");
        }
    }
}
