//! The queue of a device, on a driver that runs nothing: it notes the order of work and whether its memory was allocated.

use convscope_kernels::cuda::driver::{Arg, Driver, Launch, Work};
use convscope_kernels::cuda::queue::Queue;
use convscope_kernels::{Buffer, DType, Device, cuda};
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Elements of a buffer that can be allocated only after everything else was freed, or not at all.
const LARGE: usize = 1 << 20;

#[derive(Default)]
struct Seen {
    addresses: Mutex<Addresses>,
    /// The value of each launch, in order.
    launches: Mutex<Vec<f32>>,
    /// Work on memory that was not allocated.
    wrong: AtomicUsize,
    /// Large buffers cannot be allocated, even after everything was freed.
    full: AtomicBool,
}

#[derive(Default)]
struct Addresses {
    last: u64,
    live: BTreeSet<u64>,
    /// Sizes of large blocks that were refused and not asked for since: they are refused every other time.
    refused: BTreeSet<usize>,
    graphs: HashMap<u64, Vec<Work>>,
}

struct Mock(Arc<Seen>);

impl Mock {
    fn lock(&self) -> MutexGuard<'_, Addresses> {
        assert!(!std::thread::panicking(), "the driver was called while a panic unwinds");
        self.0.addresses.lock().unwrap()
    }

    fn touch(&self, address: u64) {
        if !self.lock().live.contains(&address) {
            self.0.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: it has no memory.
unsafe impl Driver for Mock {
    fn name(&self) -> String {
        "mock".to_string()
    }
    fn cache_bytes(&self) -> usize {
        4096
    }
    fn capability(&self) -> (i32, i32) {
        (8, 0)
    }
    fn free_bytes(&self) -> Result<usize, String> {
        Ok(1 << 30)
    }
    fn allocate(&self, bytes: usize) -> Result<u64, String> {
        let full = self.0.full.load(Ordering::Relaxed);
        let mut addresses = self.lock();
        if bytes >= 4 * LARGE && (full || !addresses.refused.remove(&bytes)) {
            addresses.refused.insert(bytes);
            return Err("out of memory".to_string());
        }
        addresses.last += 1 << 8;
        let address = addresses.last;
        addresses.live.insert(address);
        Ok(address)
    }
    unsafe fn free(&self, address: u64) {
        assert!(self.lock().live.remove(&address), "freed twice");
    }
    unsafe fn upload(&self, to: u64, _: &[u8]) -> Result<(), String> {
        self.touch(to);
        Ok(())
    }
    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<(), String> {
        self.touch(from);
        to.fill(0);
        Ok(())
    }
    unsafe fn copy(&self, to: u64, from: u64, _: usize) -> Result<(), String> {
        [to, from].into_iter().for_each(|address| self.touch(address));
        Ok(())
    }
    unsafe fn launch(&self, launch: &Launch) -> Result<(), String> {
        let [Arg::Pointer(address), Arg::Float(value)] = launch.args[..] else { return Err("other arguments".to_string()) };
        self.touch(address);
        self.0.launches.lock().unwrap().push(value);
        Ok(())
    }
    fn synchronize(&self) -> Result<(), String> {
        drop(self.lock());
        Ok(())
    }
    unsafe fn capture(&self, work: &[Work]) -> Result<u64, String> {
        let mut addresses = self.lock();
        addresses.last += 1;
        let graph = addresses.last;
        addresses.graphs.insert(graph, work.to_vec());
        Ok(graph)
    }
    unsafe fn replay(&self, graph: u64) -> Result<(), String> {
        let work = self.lock().graphs[&graph].clone();
        // SAFETY: the caller's.
        work.iter().try_for_each(|work| unsafe { work.start(self) })
    }
    unsafe fn forget(&self, graph: u64) {
        self.lock().graphs.remove(&graph);
    }
    fn timed(&self, work: &mut dyn FnMut()) -> Result<f64, String> {
        work();
        Ok(0.0)
    }
}

/// A mock device of this ordinal, its queue, and a small buffer on it.
fn mock(ordinal: u8) -> (Arc<Seen>, &'static Queue, Arc<Buffer>) {
    let seen = Arc::new(Seen::default());
    let device: Device = cuda::attach(ordinal, Box::new(Mock(seen.clone()))).unwrap();
    (seen, cuda::queue(device).unwrap(), Buffer::zeros(DType::F32, 64).on(device).unwrap())
}

fn launch(queue: &Queue, on: &Buffer, value: f64) {
    let launch = Launch { kernel: "any", grid: [1; 3], block: [1; 3], shared: 0, args: vec![on.into(), value.into()] };
    // SAFETY: nothing runs.
    unsafe { queue.launch(launch) }
}

/// Two threads use buffers and give them back while two others run out of memory, which frees what was given back.
#[test]
fn no_work_is_pending_on_memory_that_is_freed() {
    let (seen, queue, small) = mock(9);
    let end = Instant::now() + Duration::from_secs(3);
    let goes_on = || Instant::now() < end && seen.wrong.load(Ordering::Relaxed) == 0;
    let rounds = AtomicUsize::new(0);
    queue.capture(|| {
        std::thread::scope(|scope| {
            for thread in 0..2 {
                scope.spawn(|| {
                    while goes_on() {
                        launch(queue, &small.like(DType::F32, 64), 0.0);
                    }
                });
                let (small, rounds, goes_on) = (&small, &rounds, &goes_on);
                scope.spawn(move || {
                    while goes_on() {
                        rounds.fetch_add(1, Ordering::Relaxed);
                        // Never given back, so that each comes from the driver, which refuses it at first.
                        std::mem::forget(small.like(DType::F32, LARGE << thread));
                    }
                });
            }
        });
    });
    queue.check().unwrap();
    assert_eq!(seen.wrong.load(Ordering::Relaxed), 0, "work was started on memory that had been freed");
    println!("{} times out of memory", rounds.into_inner());
}

#[test]
fn work_of_a_capture_that_panics_is_started_later_and_in_order() {
    let (seen, queue, small) = mock(10);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        queue.capture(|| {
            (0..5).for_each(|i| launch(queue, &small, f64::from(i)));
            resume_unwind(Box::new("within a capture"))
        })
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"within a capture"));
    assert_eq!(seen.launches.lock().unwrap()[..], [], "started while the panic unwound");
    launch(queue, &small, 5.0);
    assert_eq!(seen.launches.lock().unwrap()[..], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "and nothing is pending any more");
}

#[test]
fn a_buffer_without_memory_reaches_no_driver() {
    let (seen, queue, small) = mock(11);
    seen.full.store(true, Ordering::Relaxed);
    let failure = || queue.check().unwrap_err().to_string();
    for captured in [false, true] {
        let using = || {
            let none = small.like(DType::F32, LARGE);
            assert!(failure().contains("no room for"));
            // Also where the failure was reported, and the buffer used in spite of it.
            launch(queue, &none, 1.0);
            assert!(failure().contains("there was no room"));
            drop(none.clone());
            assert!(failure().contains("no room"));
            assert!(none.on(Device::Cpu).unwrap_err().to_string().contains("there was no room"));
            queue.check().unwrap();
        };
        if captured {
            queue.capture(using)
        } else {
            using()
        }
        queue.synchronize().unwrap();
    }
    assert_eq!(seen.launches.lock().unwrap()[..], []);
    assert_eq!(seen.wrong.load(Ordering::Relaxed), 0);
}

/// The queue's failure is one, so this is a device of its own.
#[test]
fn after_a_failure_nothing_is_started_until_it_was_reported() {
    let (seen, queue, small) = mock(12);
    let other = Launch { kernel: "any", grid: [1; 3], block: [1; 3], shared: 0, args: vec![] };
    // SAFETY: nothing runs.
    unsafe { queue.launch(other) };
    launch(queue, &small, 1.0);
    queue.capture(|| launch(queue, &small, 2.0));
    assert!(queue.check().unwrap_err().to_string().contains("any: other arguments"));
    launch(queue, &small, 3.0);
    queue.synchronize().unwrap();
    assert_eq!(seen.launches.lock().unwrap()[..], [3.0]);
}
