//! The work of a CUDA device, as plain data, and the trait of drivers that do it: NVIDIA's (`nvidia`) or, in tests, an emulation on
//! the host. Launchers are the same code for both, so a test under emulation proves them too.

use crate::core::accum::Accum;

/// One argument of a kernel, as its declaration has it.
#[derive(Clone, Debug)]
pub enum Arg {
    /// A pointer into device memory, or null.
    Pointer(u64),
    /// `int`
    Int(i32),
    /// `float`
    Float(f32),
    /// `unsigned long long`
    Long(u64),
    /// A struct of `int`s.
    Ints(Vec<i32>),
}

impl Arg {
    /// The bytes that the kernel reads, and the kind in a letter: `p`, `i`, `f`, `l` or `s` (a struct).
    pub fn bytes(&self) -> (char, Vec<u8>) {
        match self {
            Arg::Pointer(v) => ('p', v.to_ne_bytes().to_vec()),
            Arg::Int(v) => ('i', v.to_ne_bytes().to_vec()),
            Arg::Float(v) => ('f', v.to_ne_bytes().to_vec()),
            Arg::Long(v) => ('l', v.to_ne_bytes().to_vec()),
            Arg::Ints(v) => ('s', v.iter().flat_map(|v| v.to_ne_bytes()).collect()),
        }
    }
}

/// Whether they are the same to a kernel: bit by bit.
impl PartialEq for Arg {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Arg::Pointer(a), Arg::Pointer(b)) | (Arg::Long(a), Arg::Long(b)) => a == b,
            (Arg::Int(a), Arg::Int(b)) => a == b,
            (Arg::Float(a), Arg::Float(b)) => a.to_bits() == b.to_bits(),
            (Arg::Ints(a), Arg::Ints(b)) => a == b,
            _ => false,
        }
    }
}

impl From<i32> for Arg {
    fn from(v: i32) -> Self {
        Arg::Int(v)
    }
}
impl From<bool> for Arg {
    fn from(v: bool) -> Self {
        Arg::Int(i32::from(v))
    }
}
/// Sizes are `int` in kernels; tables refuse operands of more elements than that counts.
impl From<usize> for Arg {
    fn from(v: usize) -> Self {
        Arg::Int(v as i32)
    }
}
impl From<f64> for Arg {
    fn from(v: f64) -> Self {
        Arg::Float(v as f32)
    }
}
impl From<u64> for Arg {
    fn from(v: u64) -> Self {
        Arg::Long(v)
    }
}
impl From<Accum> for Arg {
    fn from(v: Accum) -> Self {
        Arg::Int(i32::from(v == Accum::Add))
    }
}
impl<T> From<Option<T>> for Arg
where
    Arg: From<T>,
{
    /// A pointer that is null where there is nothing.
    fn from(v: Option<T>) -> Self {
        v.map_or(Arg::Pointer(0), Arg::from)
    }
}

/// A kernel, its grid and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Name in the `.cu` text.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [usize; 3],
    /// Threads of a block along x, y, z.
    pub block: [usize; 3],
    /// Bytes of dynamic shared memory.
    pub shared: usize,
    /// In the order of the declaration.
    pub args: Vec<Arg>,
}

/// Work that is enqueued now and done later.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A kernel.
    Launch(Launch),
    /// So many bytes within the device.
    Copy {
        /// Where they go.
        to: u64,
        /// Where they lie.
        from: u64,
        /// Number of bytes.
        bytes: usize,
    },
}

/// The address of a block that a device out of memory could not allocate. Devices have no memory from here on.
pub(super) const NOWHERE: u64 = 1 << 63;

impl Work {
    /// Whether it reaches a block without memory.
    pub(super) fn reaches_nowhere(&self) -> bool {
        match self {
            Work::Launch(launch) => launch.args.iter().any(|arg| matches!(arg, Arg::Pointer(p) if *p >= NOWHERE)),
            Work::Copy { to, from, .. } => *to.max(from) >= NOWHERE,
        }
    }

    /// Asks the driver for it.
    ///
    /// # Safety
    /// As [`Driver::launch`] or [`Driver::copy`].
    pub unsafe fn start(&self, driver: &dyn Driver) -> Result<(), String> {
        match self {
            // SAFETY: the caller's.
            Work::Launch(launch) => unsafe { driver.launch(launch) }.map_err(|e| format!("{}: {e}", launch.kernel)),
            // SAFETY: the caller's.
            Work::Copy { to, from, bytes } => unsafe { driver.copy(*to, *from, *bytes) },
        }
    }
}

/// A device with one queue of work. Everything asked for is done in order; what went wrong comes back as text.
///
/// # Safety
/// Implementations keep the memory they give valid until it is freed, and read and write nothing but the ranges in their arguments.
pub unsafe trait Driver: Send + Sync {
    /// Name of the device, such as `NVIDIA H200`.
    fn name(&self) -> String;

    /// Bytes of its L2.
    fn cache_bytes(&self) -> usize;

    /// Its compute capability, such as 9.0.
    fn capability(&self) -> (i32, i32);

    /// Bytes that could still be allocated.
    fn free_bytes(&self) -> Result<usize, String>;

    /// New memory.
    fn allocate(&self, bytes: usize) -> Result<u64, String>;

    /// Gives memory back.
    ///
    /// # Safety
    /// It came from `allocate` and nobody uses it any more.
    unsafe fn free(&self, address: u64);

    /// Copies to the device, in the order of its work. `from` has been read when the call returns.
    ///
    /// # Safety
    /// As many bytes at `to` are allocated.
    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<(), String>;

    /// Copies from the device, in the order of its work. `to` has been written when the call returns.
    ///
    /// # Safety
    /// As many bytes at `from` are allocated.
    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<(), String>;

    /// Copies within the device.
    ///
    /// # Safety
    /// `bytes` bytes are allocated at both addresses.
    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), String>;

    /// Starts a kernel.
    ///
    /// # Safety
    /// The arguments are those of the kernel's declaration and the memory that it reaches through them is allocated.
    unsafe fn launch(&self, launch: &Launch) -> Result<(), String>;

    /// Waits for all work.
    fn synchronize(&self) -> Result<(), String>;

    /// Captures `work` as a CUDA graph and returns its id, without running it. Each kernel has run before, so its module is loaded.
    ///
    /// # Safety
    /// As [`Work::start`], whenever it is replayed.
    unsafe fn capture(&self, work: &[Work]) -> Result<u64, String>;

    /// Does what was recorded.
    ///
    /// # Safety
    /// The number is that of a record which was not forgotten, and the memory that its work reaches is allocated.
    unsafe fn replay(&self, graph: u64) -> Result<(), String>;

    /// Forgets a record.
    ///
    /// # Safety
    /// It came from `capture` and is not used any more.
    unsafe fn forget(&self, graph: u64);

    /// Seconds from the start to the end of what `work` asks for, by the device's own clock; waits for the end.
    fn timed(&self, work: &mut dyn FnMut()) -> Result<f64, String>;
}
