//! Blocks of coroutines.

use convscope_kernels::cuda::driver::{Driver, Launch, Work};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, OnceLock};

/// Bytes of a thread's stack.
const STACK: usize = 64 << 10;
/// Threads of a warp.
const WARP: usize = 32;
/// Alignment of device memory: the driver gives at least this.
const ALIGN: usize = 256;
/// Bytes of device memory.
const MEMORY: usize = 1 << 30;
/// How often in a row all threads may find that what they wait for has not happened.
const PATIENCE: usize = 100;
/// Quiet NaNs: what shared memory holds before a block.
const POISON: u32 = 0x7fc0_dead;

/// Bytes of each copy from device to host so far.
static DOWNLOADS: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Bytes of each copy from an emulated device to the host since the last call.
pub fn take_downloads() -> Vec<usize> {
    std::mem::take(&mut DOWNLOADS.lock().unwrap_or_else(|e| e.into_inner()))
}

/// A kernel as `emu.h` lists it.
#[repr(C)]
struct Entry {
    name: *const c_char,
    call: Option<unsafe extern "C" fn(*const *mut c_void)>,
    kinds: *const c_char,
}

/// Where the shared memory of a file's kernels lies; both null where there is none.
#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    start: *mut u8,
    end: *mut u8,
}

include!(concat!(env!("OUT_DIR"), "/lists.rs"));

#[derive(Clone, Copy)]
struct Kernel {
    call: unsafe extern "C" fn(*const *mut c_void),
    kinds: &'static str,
    /// First word and number of words, of all kernels of its file.
    shared: (usize, usize),
}

fn kernels() -> &'static HashMap<&'static str, Kernel> {
    static KERNELS: OnceLock<HashMap<&'static str, Kernel>> = OnceLock::new();
    KERNELS.get_or_init(|| {
        let mut all = HashMap::new();
        for (mut entry, range) in lists() {
            // SAFETY: a constant of the same file.
            let Range { start, end } = unsafe { *range };
            let shared = (start as usize, (end as usize - start as usize) / 4);
            // SAFETY: each list is an array of entries that ends with one without a name; its texts live as long as the program.
            while let Some(Entry { name, call: Some(call), kinds }) = unsafe { entry.as_ref() } {
                // SAFETY: texts that end in a zero.
                let text = |p: *const c_char| unsafe { CStr::from_ptr(p) }.to_str().expect("C++ names are ASCII");
                let [name, kinds] = [*name, *kinds].map(text);
                assert!(all.insert(name, Kernel { call: *call, kinds, shared }).is_none(), "two kernels are called {name}");
                // SAFETY: this was not the last one.
                entry = unsafe { entry.add(1) };
            }
        }
        all
    })
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Index {
    x: u32,
    y: u32,
    z: u32,
}

impl Index {
    /// Index `i` in a box of this size, x fastest.
    fn of(i: usize, [x, y, _]: [usize; 3]) -> Self {
        Index { x: (i % x) as u32, y: (i / x % y) as u32, z: (i / x / y) as u32 }
    }
}

/// What a thread knows of itself.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct State {
    thread: Index,
    block: Index,
    block_size: Index,
    grid_size: Index,
    /// How often its warp has exchanged numbers.
    exchanges: u32,
    /// Bytes of dynamic shared memory.
    shared: u32,
    /// Position in its block, x fastest.
    index: usize,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Wait {
    Ready,
    Block,
    Warp,
    /// For what another thread does: to be asked again.
    Other,
    /// It has less shared memory than it wants.
    Refused,
    Done,
}

/// A thread that waits, and the way back to whoever resumed it.
type Thread = (Coroutine<(), Wait, (), DefaultStack>, *const Yielder<(), Wait>);

thread_local! {
    static CURRENT: Cell<*mut State> = const { Cell::new(std::ptr::null_mut()) };
    static YIELDER: Cell<*const Yielder<(), Wait>> = const { Cell::new(std::ptr::null()) };
    static LANES: Cell<*mut u32> = const { Cell::new(std::ptr::null_mut()) };
}

#[unsafe(no_mangle)]
extern "C" fn emu_current() -> *mut State {
    CURRENT.get()
}

#[unsafe(no_mangle)]
extern "C" fn emu_lanes() -> *mut u32 {
    LANES.get()
}

#[unsafe(no_mangle)]
extern "C" fn emu_sync(kind: i32) {
    // SAFETY: only kernels call this, on a coroutine whose yielder was set before it was resumed.
    unsafe { (*YIELDER.get()).suspend([Wait::Block, Wait::Warp, Wait::Other, Wait::Refused][kind as usize]) };
}

/// Held by the launch that runs. Shared memory is static, so there is one in the whole process, on whatever device.
static ALONE: Mutex<()> = Mutex::new(());

/// Host memory as a device. One block runs at a time, on the thread that launches it.
#[derive(Default)]
pub struct Emulator {
    state: Mutex<Launches>,
    /// What was recorded, by number.
    graphs: Mutex<HashMap<u64, Vec<Work>>>,
}

#[derive(Default)]
struct Launches {
    count: u64,
    sizes: HashMap<u64, usize>,
    stacks: Vec<DefaultStack>,
}

/// The order in which a launch runs its threads.
struct Order {
    threads: Vec<usize>,
    /// Whether a warp runs as far as it can before the next one. Otherwise all threads go from barrier to barrier together.
    by_warps: bool,
}

impl Order {
    /// Forward, reversed, shuffled, or warp after warp in a shuffled order, by launch number.
    fn new(threads: usize, launch: u64) -> Self {
        let random = |i: usize| convscope_kernels::random::philox(launch, i as u64)[0];
        let kind = convscope_kernels::random::philox(7, launch)[0] % 4;
        let mut order: Vec<usize> = (0..threads).collect();
        match kind {
            0 => {}
            1 => order.reverse(),
            2 => order.sort_by_key(|i| random(*i)),
            _ => order.sort_by_key(|i| random(i / WARP)),
        }
        Order { threads: order, by_warps: kind == 3 }
    }
}

impl Launches {
    /// Runs all blocks; an error if barriers diverge.
    ///
    /// # Safety
    /// As [`Driver::launch`]; `args` points to values of the declared kinds.
    unsafe fn run(&mut self, kernel: Kernel, launch: &Launch, args: &[*mut c_void]) -> Result<(), String> {
        let threads: usize = launch.block.iter().product();
        let blocks: usize = launch.grid.iter().product();
        self.count += 1;
        let order = Order::new(threads, self.count);
        let sizes = |[x, y, z]: [usize; 3]| Index { x: x as u32, y: y as u32, z: z as u32 };
        // The pointers of the whole arrays, taken once: a kernel indexes the words of its warp, and keeps its pointers while others run.
        let mut lanes = vec![POISON; threads.next_multiple_of(WARP) * WARP];
        let lanes = lanes.as_mut_ptr();
        let (call, args) = (kernel.call, args.as_ptr());
        for block in 0..blocks {
            poison(kernel.shared);
            let mut states: Vec<State> = (0..threads)
                .map(|t| State {
                    thread: Index::of(t, launch.block),
                    block: Index::of(block, launch.grid),
                    block_size: sizes(launch.block),
                    grid_size: sizes(launch.grid),
                    exchanges: 0,
                    shared: launch.shared as u32,
                    index: t,
                })
                .collect();
            let states = states.as_mut_ptr();
            // SAFETY: `t` is less than `threads`, which is the length of `states` and at most that of `lanes` over WARP.
            let enter = move |t: usize, yielder: *const Yielder<(), Wait>| unsafe {
                CURRENT.set(states.add(t));
                LANES.set(lanes.add(t / WARP * WARP * WARP));
                YIELDER.set(yielder);
            };
            let started = Cell::new(0);
            let mut waiting: Vec<Option<Thread>> = (0..threads).map(|_| None).collect();
            let mut waits = vec![Wait::Done; threads];
            // A thread that never waits leaves its coroutine to the next one: only threads that wait have one of their own.
            while started.get() < threads {
                let (started, order) = (&started, &order);
                let body = move |yielder: &Yielder<(), Wait>, ()| {
                    while let Some(t) = order.threads.get(started.get()) {
                        started.set(started.get() + 1);
                        enter(*t, yielder);
                        // SAFETY: the caller's.
                        unsafe { call(args) }
                    }
                };
                // SAFETY: what the body borrows lives until the end of this block, where every coroutine has ended or was reset.
                let mut thread = unsafe { Coroutine::with_stack_unchecked(self.stack()?, body) };
                match thread.resume(()) {
                    CoroutineResult::Yield(wait) => {
                        // SAFETY: the state of the thread that ran last.
                        let t = unsafe { (*CURRENT.get()).index };
                        waits[t] = wait;
                        waiting[t] = Some((thread, YIELDER.get()));
                    }
                    CoroutineResult::Return(()) => self.stacks.push(thread.into_stack()),
                }
            }
            let result = self.finish(launch, &order, &mut waiting, &mut waits, enter);
            for (mut thread, _) in waiting.into_iter().flatten() {
                // SAFETY: frames of C++ without destructors that matter.
                unsafe { thread.force_reset() }
                self.stacks.push(thread.into_stack());
            }
            result?;
        }
        Ok(())
    }

    /// A stack of a coroutine that has ended, or a new one.
    fn stack(&mut self) -> Result<DefaultStack, String> {
        self.stacks.pop().map_or_else(|| DefaultStack::new(STACK).map_err(|e| format!("no stack: {e}")), Ok)
    }

    /// Runs the threads of a block that wait to their ends; an error if barriers diverge.
    fn finish(
        &mut self,
        launch: &Launch,
        order: &Order,
        waiting: &mut [Option<Thread>],
        waits: &mut [Wait],
        enter: impl Fn(usize, *const Yielder<(), Wait>),
    ) -> Result<(), String> {
        let mut idle = 0;
        // The threads were just started.
        let mut moved = true;
        loop {
            if waits.contains(&Wait::Refused) {
                return Err(format!("{} bytes of shared memory are not what the kernel wants", launch.shared));
            }
            if waits.iter().all(|w| *w == Wait::Done) {
                return Ok(());
            }
            moved |= release(waits);
            // What another thread waited for may have happened.
            waits.iter_mut().filter(|w| **w == Wait::Other).for_each(|w| *w = Wait::Ready);
            idle = if moved { 0 } else { idle + 1 };
            if idle == PATIENCE || !waits.contains(&Wait::Ready) {
                let count = |kind| waits.iter().filter(|w| **w == kind).count();
                return Err(format!(
                    "a barrier that not all threads reach: {} wait for their block, {} for their warp, {} for others, {} are done",
                    count(Wait::Block),
                    count(Wait::Warp),
                    count(Wait::Ready),
                    count(Wait::Done)
                ));
            }
            moved = false;
            for warp in order.threads.chunks(WARP) {
                loop {
                    for &t in warp {
                        moved |= self.resume(&mut waiting[t], &mut waits[t], |yielder| enter(t, yielder));
                    }
                    if !order.by_warps || !release(waits) {
                        break;
                    }
                }
            }
        }
    }

    /// Runs a thread that is ready up to where it waits next. Whether it did more than ask for what others do.
    fn resume(&mut self, slot: &mut Option<Thread>, wait: &mut Wait, enter: impl Fn(*const Yielder<(), Wait>)) -> bool {
        let (Some((thread, yielder)), Wait::Ready) = (&mut *slot, *wait) else { return false };
        enter(*yielder);
        *wait = match thread.resume(()) {
            CoroutineResult::Yield(wait) => wait,
            CoroutineResult::Return(()) => Wait::Done,
        };
        if *wait == Wait::Done
            && let Some((thread, _)) = slot.take()
        {
            self.stacks.push(thread.into_stack());
        }
        *wait != Wait::Other
    }
}

/// Lets those go on whose whole warp, or whole block, waits at the same kind of barrier. Whether any were let go.
fn release(waits: &mut [Wait]) -> bool {
    let mut any = false;
    for warp in waits.chunks_mut(WARP) {
        if warp.iter().all(|w| *w == Wait::Warp) {
            warp.fill(Wait::Ready);
            any = true;
        }
    }
    if waits.iter().all(|w| *w == Wait::Block) {
        waits.fill(Wait::Ready);
        any = true;
    }
    any
}

/// Shared memory holds nothing that a block may rely on.
fn poison((start, words): (usize, usize)) {
    if words > 0 {
        // SAFETY: the section holds the kernels' shared arrays and nothing else, and no kernel is running.
        unsafe { std::slice::from_raw_parts_mut(start as *mut u32, words) }.fill(POISON);
    }
}

fn layout(bytes: usize) -> Result<Layout, String> {
    Layout::from_size_align(bytes.max(1), ALIGN).map_err(|e| e.to_string())
}

// SAFETY: addresses are host pointers to allocations that live until freed.
unsafe impl Driver for Emulator {
    fn name(&self) -> String {
        "emulation on the host".to_string()
    }

    fn cache_bytes(&self) -> usize {
        4096
    }

    /// Hopper's, so that its rows run too.
    fn capability(&self) -> (i32, i32) {
        (9, 0)
    }

    fn free_bytes(&self) -> Result<usize, String> {
        let state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        Ok(MEMORY - state.sizes.values().sum::<usize>())
    }

    fn allocate(&self, bytes: usize) -> Result<u64, String> {
        if bytes > self.free_bytes()? {
            return Err("the device is out of memory".to_string());
        }
        // SAFETY: the size is not zero.
        let p = unsafe { alloc(layout(bytes)?) };
        if p.is_null() {
            return Err("the host is out of memory".to_string());
        }
        // SAFETY: just allocated. New memory holds poison.
        unsafe { std::slice::from_raw_parts_mut(p, bytes) }.fill(0xff);
        self.state.lock().unwrap_or_else(|e| e.into_inner()).sizes.insert(p as u64, bytes);
        Ok(p as u64)
    }

    unsafe fn free(&self, address: u64) {
        let size = self.state.lock().unwrap_or_else(|e| e.into_inner()).sizes.remove(&address);
        if let Some(Ok(layout)) = size.map(layout) {
            // SAFETY: the caller's, and the layout is that of the allocation.
            unsafe { dealloc(address as *mut u8, layout) }
        }
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<(), String> {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
        Ok(())
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<(), String> {
        DOWNLOADS.lock().unwrap_or_else(|e| e.into_inner()).push(to.len());
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), String> {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch) -> Result<(), String> {
        let kernel = *kernels().get(launch.kernel).ok_or("no kernel has this name")?;
        let given: Vec<(char, Vec<u8>)> = launch.args.iter().map(|a| a.bytes()).collect();
        let kinds: String = given.iter().map(|(kind, bytes)| format!("{kind}{}", bytes.len())).collect();
        if kinds != kernel.kinds {
            return Err(format!("the launcher gives {kinds} where the kernel is declared with {}", kernel.kinds));
        }
        if launch.block.iter().product::<usize>() > 256 {
            return Err(format!("{:?} threads are more than a block has", launch.block));
        }
        let mut words: Vec<Vec<u64>> = given
            .iter()
            .map(|(_, bytes)| {
                let mut words = vec![0u64; bytes.len().div_ceil(8)];
                // SAFETY: the block holds all bytes.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), words.as_mut_ptr().cast(), bytes.len()) };
                words
            })
            .collect();
        let args: Vec<*mut c_void> = words.iter_mut().map(|w| w.as_mut_ptr().cast()).collect();
        let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        // SAFETY: the caller's; the kinds were compared.
        unsafe { state.run(kernel, launch, &args) }
    }

    fn synchronize(&self) -> Result<(), String> {
        Ok(())
    }

    unsafe fn capture(&self, work: &[Work]) -> Result<u64, String> {
        let mut graphs = self.graphs.lock().unwrap_or_else(|e| e.into_inner());
        let number = graphs.keys().max().map_or(0, |last| last + 1);
        graphs.insert(number, work.to_vec());
        Ok(number)
    }

    unsafe fn replay(&self, graph: u64) -> Result<(), String> {
        let graphs = self.graphs.lock().unwrap_or_else(|e| e.into_inner());
        let work = graphs.get(&graph).ok_or("no such graph")?;
        // SAFETY: the caller's.
        work.iter().try_for_each(|w| unsafe { w.start(self) })
    }

    unsafe fn forget(&self, graph: u64) {
        self.graphs.lock().unwrap_or_else(|e| e.into_inner()).remove(&graph);
    }

    /// The host's clock, as work is done when it is asked for.
    fn timed(&self, work: &mut dyn FnMut()) -> Result<f64, String> {
        let start = std::time::Instant::now();
        work();
        Ok(start.elapsed().as_secs_f64())
    }
}
