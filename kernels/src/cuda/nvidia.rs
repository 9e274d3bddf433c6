//! NVIDIA's driver, found at run time through cudarc. Nothing here is needed to build, and nothing here panics on a machine without it.

use super::driver::{Driver, Launch, Work};
use super::source;
use cudarc::driver::{DriverError, result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::Mutex;

/// The oldest devices that the kernels' PTX is made for: Ampere.
const OLDEST: (i32, i32) = (8, 0);

/// Bytes of shared memory that a kernel gets without asking.
const USUAL_SHARED: usize = 48 << 10;

/// Bytes of page-locked host memory for uploads: more than a photo.
const STAGING: usize = 4 << 20;

/// The functions of the driver's library that this file calls. cudarc looks up each at its first call and panics if it is missing, so
/// [`Nvidia::open`] looks up all of them first.
const FUNCTIONS: &[&str] = &[
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRetain",
    "cuEventCreate",
    "cuEventDestroy_v2",
    ELAPSED,
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncSetAttribute",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemPoolSetAttribute",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
];

/// Looked up here: cudarc calls a second version, which drivers before 570 lack.
const ELAPSED: &str = "cuEventElapsedTime";

/// A device with its primary context and one stream.
pub(super) struct Nvidia {
    name: String,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// For capturing graphs. Nothing runs on it.
    capture_stream: sys::CUstream,
    cache_bytes: usize,
    capability: (i32, i32),
    staging: Mutex<Staging>,
    /// Kernels by name, and which texts were loaded.
    kernels: Mutex<Kernels>,
}

#[derive(Default)]
struct Kernels {
    functions: HashMap<&'static str, sys::CUfunction>,
    modules: HashMap<&'static str, sys::CUmodule>,
}

/// Page-locked host memory that uploads go through. The driver reads it after the call returns, in the order of the stream.
struct Staging {
    /// [`STAGING`] bytes, never freed.
    memory: *mut u8,
    /// When the last copy out of it is over.
    copied: Event,
}

// SAFETY: the driver's handles and page-locked memory belong to no thread. Every method makes the context current first.
unsafe impl Send for Nvidia {}
// SAFETY: the same. The tables and the staging memory are behind locks, and a queue captures one graph at a time.
unsafe impl Sync for Nvidia {}

fn say(what: &str) -> impl Fn(DriverError) -> String {
    // Formatting an error asks the driver for its text, which is there by now.
    move |e| match e.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => "the device is out of memory".to_string(),
        _ => format!("{what} failed: {e:?}"),
    }
}

/// The driver's library with every function of [`FUNCTIONS`], or the reason why it cannot be used.
fn probe() -> Result<(), String> {
    // SAFETY: loads NVIDIA's library, whose start-up code asks nothing of us, and drops it.
    if !unsafe { sys::is_culib_present() } {
        return Err("there is no NVIDIA driver on this machine".to_string());
    }
    // SAFETY: the library was just there.
    let library = unsafe { sys::culib() };
    // SAFETY: the symbol is looked up and not used.
    let is_missing = |name: &&&str| unsafe { library.get::<*const c_void>(name.as_bytes()) }.is_err();
    match FUNCTIONS.iter().find(is_missing) {
        Some(name) => Err(too_old(&format!("it lacks {name}, and "))),
        None => Ok(()),
    }
}

fn too_old(detail: &str) -> String {
    format!("the NVIDIA driver is too old: {detail}the kernels want one of {} or newer", source::OLDEST_DRIVER)
}

impl Nvidia {
    /// The device of this ordinal, ready to be used, or why there is none.
    pub fn open(ordinal: u8) -> Result<Self, String> {
        probe()?;
        result::init().map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_NO_DEVICE => "the NVIDIA driver sees no device".to_string(),
            _ => say("starting the NVIDIA driver")(e),
        })?;
        let count = result::device::get_count().map_err(say("counting devices"))?;
        if i32::from(ordinal) >= count {
            return Err(match count {
                0 => "the NVIDIA driver sees no device".to_string(),
                _ => format!("there are {count} CUDA devices, from 0 on"),
            });
        }
        let device = result::device::get(i32::from(ordinal)).map_err(say("opening the device"))?;
        let name = result::device::get_name(device).map_err(say("asking the device's name"))?;
        use sys::CUdevice_attribute::*;
        // SAFETY: the device was just given.
        let ask = |a| unsafe { result::device::get_attribute(device, a) }.map_err(say("asking the device's properties"));
        let capability = (ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?, ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?);
        if capability < OLDEST {
            let ((a, b), (c, d)) = (capability, OLDEST);
            return Err(format!("{name} has compute capability {a}.{b}, and the kernels want {c}.{d} or newer"));
        }
        if ask(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? == 0 {
            return Err(format!("{name} has no memory pools"));
        }
        let cache_bytes = ask(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.max(0) as usize;
        // SAFETY: calls in the driver's order, each with what the one before gave.
        let (context, stream, capture_stream, memory) = unsafe {
            let context = result::primary_ctx::retain(device).map_err(say("opening the device"))?;
            result::ctx::set_current(context).map_err(say("opening the device"))?;
            let stream = || result::stream::create(result::stream::StreamKind::NonBlocking).map_err(say("making a stream"));
            let (stream, capture_stream) = (stream()?, stream()?);
            // Memory stays with the process instead of going back at each synchronisation.
            let pool = result::device::get_default_mem_pool(device).map_err(say("opening the memory pool"))?;
            let mut threshold = u64::MAX;
            let all = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, all, (&raw mut threshold).cast()).map_err(say("setting up the memory pool"))?;
            let memory = result::malloc_host(STAGING, 0).map_err(say("allocating page-locked memory"))?;
            (context, stream, capture_stream, memory.cast())
        };
        let staging = Mutex::new(Staging { memory, copied: Event::new(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)? });
        let kernels = Mutex::default();
        let nvidia = Nvidia { name, context, stream, capture_stream, cache_bytes, capability, staging, kernels };
        // A driver too old for the PTX says so here, not in the middle of a network.
        nvidia.function("fill")?;
        Ok(nvidia)
    }

    fn enter(&self) -> Result<(), String> {
        // SAFETY: the context was retained and is never released.
        unsafe { result::ctx::set_current(self.context) }.map_err(say("entering the device's context"))
    }

    /// A kernel, its module loaded on first use: the driver assembles PTX for its device and keeps the result in its own cache.
    fn function(&self, name: &'static str) -> Result<sys::CUfunction, String> {
        let mut kernels = self.kernels.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(f) = kernels.functions.get(name) {
            return Ok(*f);
        }
        let source = source::of_kernel(name).ok_or("no kernel has this name")?;
        let module = match kernels.modules.get(source.file) {
            Some(module) => *module,
            None => {
                let text = CString::new(source.ptx).map_err(|_| "its PTX has a zero byte")?;
                // SAFETY: PTX text that ends in a zero; the callers made the context current.
                let module = unsafe { result::module::load_data(text.as_ptr().cast()) }.map_err(|e| match e.0 {
                    sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => too_old(""),
                    _ => say(&format!("assembling {}", source.file))(e),
                })?;
                kernels.modules.insert(source.file, module);
                module
            }
        };
        let c_name = CString::new(name).map_err(|_| "a zero byte in a name")?;
        // SAFETY: a module that was loaded and never is unloaded.
        let f = unsafe { result::module::get_function(module, c_name) }.map_err(say("finding the kernel"))?;
        kernels.functions.insert(name, f);
        Ok(f)
    }
}

impl Nvidia {
    /// # Safety
    /// As [`Driver::launch`].
    unsafe fn launch_on(&self, stream: sys::CUstream, launch: &Launch) -> Result<(), String> {
        let f = self.function(launch.kernel)?;
        // In words of eight bytes, so that each argument lies as aligned as any type wants.
        let mut args: Vec<Vec<u64>> = launch.args.iter().map(|a| words(&a.bytes().1)).collect();
        let mut pointers: Vec<*mut c_void> = args.iter_mut().map(|a| a.as_mut_ptr().cast()).collect();
        let [grid, block] = [launch.grid, launch.block].map(|[x, y, z]| (x as u32, y as u32, z as u32));
        if launch.shared > USUAL_SHARED {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a kernel of a module that is never unloaded.
            unsafe { result::function::set_function_attribute(f, most, launch.shared as i32) }
                .map_err(say("asking for shared memory"))?;
        }
        // SAFETY: the caller's; the driver copies the arguments before it returns.
        unsafe { result::launch_kernel(f, grid, block, launch.shared as u32, stream, &mut pointers) }
            .map_err(say("starting the kernel"))
    }

    /// # Safety
    /// As [`Driver::copy`].
    unsafe fn copy_on(&self, stream: sys::CUstream, to: u64, from: u64, bytes: usize) -> Result<(), String> {
        // SAFETY: the caller's.
        unsafe { result::memcpy_dtod_async(to, from, bytes, stream) }.map_err(say("copying on the device"))
    }
}

// SAFETY: the driver's own rules: memory is valid until freed, in the order of the stream.
unsafe impl Driver for Nvidia {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    fn capability(&self) -> (i32, i32) {
        self.capability
    }

    fn free_bytes(&self) -> Result<usize, String> {
        self.enter()?;
        result::mem_get_info().map(|(free, _)| free).map_err(say("asking for free memory"))
    }

    fn allocate(&self, bytes: usize) -> Result<u64, String> {
        self.enter()?;
        // SAFETY: the stream lives as long as self.
        unsafe { result::malloc_async(self.stream, bytes) }.map_err(say("allocating"))
    }

    unsafe fn free(&self, address: u64) {
        if self.enter().is_ok() {
            // SAFETY: the caller's. A failure to free cannot be acted on.
            let _ = unsafe { result::free_async(address, self.stream) };
        }
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<(), String> {
        self.enter()?;
        let staging = self.staging.lock().unwrap_or_else(|e| e.into_inner());
        for (i, chunk) in from.chunks(STAGING).enumerate() {
            staging.copied.wait()?;
            // SAFETY: there are STAGING bytes, and the last copy out of them is over.
            let staged = unsafe {
                std::ptr::copy_nonoverlapping(chunk.as_ptr(), staging.memory, chunk.len());
                std::slice::from_raw_parts(staging.memory, chunk.len())
            };
            // SAFETY: the caller's; the staging memory is written again after `copied`, and never freed.
            unsafe { result::memcpy_htod_async(to + (i * STAGING) as u64, staged, self.stream) }
                .map_err(say("copying to the device"))?;
            // Without the event, the end of all work serves.
            staging.copied.record(self.stream).or_else(|_| self.synchronize())?;
        }
        Ok(())
    }

    unsafe fn download(&self, to: &mut [u8], from: u64) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the caller's; `to` is borrowed until the copy is over, which `synchronize` waits for.
        unsafe { result::memcpy_dtoh_async(to, from, self.stream) }.map_err(say("copying from the device"))?;
        self.synchronize()
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the caller's.
        unsafe { self.copy_on(self.stream, to, from, bytes) }
    }

    unsafe fn launch(&self, launch: &Launch) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the caller's.
        unsafe { self.launch_on(self.stream, launch) }
    }

    unsafe fn capture(&self, work: &[Work]) -> Result<u64, String> {
        self.enter()?;
        // SAFETY: a stream of which nobody else knows; the driver's own order of calls.
        unsafe {
            result::stream::begin_capture(self.capture_stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)
                .map_err(say("capturing a graph"))?;
            let done = work.iter().try_for_each(|work| match work {
                Work::Launch(launch) => self.launch_on(self.capture_stream, launch),
                Work::Copy { to, from, bytes } => self.copy_on(self.capture_stream, *to, *from, *bytes),
            });
            // Also where something failed: the stream is of no use before.
            let graph = result::stream::end_capture(self.capture_stream).map_err(say("capturing a graph"))?;
            let made = done.and_then(|()| {
                result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)).map_err(say("making a graph"))
            });
            result::graph::destroy(graph).map_err(say("giving a graph back"))?;
            made.map(|graph| graph as u64)
        }
    }

    unsafe fn replay(&self, graph: u64) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the caller's: `capture` made the number of a graph.
        unsafe { result::graph::launch(graph as sys::CUgraphExec, self.stream) }.map_err(say("starting a graph"))
    }

    unsafe fn forget(&self, graph: u64) {
        // It may be under way.
        if self.synchronize().is_ok() {
            // SAFETY: the caller's. A failure to give it back cannot be acted on.
            let _ = unsafe { result::graph::exec_destroy(graph as sys::CUgraphExec) };
        }
    }

    fn synchronize(&self) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the stream lives as long as self.
        unsafe { result::stream::synchronize(self.stream) }.map_err(say("a kernel"))
    }

    fn timed(&self, work: &mut dyn FnMut()) -> Result<f64, String> {
        self.enter()?;
        let timed = || Event::new(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let [start, end] = [timed()?, timed()?];
        start.record(self.stream)?;
        work();
        self.enter()?;
        end.record(self.stream)?;
        self.synchronize()?;
        Ok(f64::from(start.milliseconds_to(&end)?) / 1e3)
    }
}

/// A point in a stream of work.
struct Event(sys::CUevent);

impl Event {
    fn new(flags: sys::CUevent_flags) -> Result<Self, String> {
        result::event::create(flags).map(Event).map_err(say("making an event"))
    }

    fn record(&self, stream: sys::CUstream) -> Result<(), String> {
        // SAFETY: the event lives as long as self, the stream as long as the device.
        unsafe { result::event::record(self.0, stream) }.map_err(say("recording an event"))
    }

    /// Waits until the work before the latest `record` is over; at once if there was none.
    fn wait(&self) -> Result<(), String> {
        // SAFETY: the event lives as long as self.
        unsafe { result::event::synchronize(self.0) }.map_err(say("a kernel"))
    }

    /// Both have been recorded, and are over.
    fn milliseconds_to(&self, end: &Event) -> Result<f32, String> {
        type Elapsed = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult;
        let mut milliseconds = 0.0;
        // SAFETY: the function has this type since CUDA 2; a pair of events that it cannot take is an error.
        let result = unsafe {
            let elapsed = sys::culib().get::<Elapsed>(ELAPSED.as_bytes()).map_err(|e| e.to_string())?;
            elapsed(&raw mut milliseconds, self.0, end.0)
        };
        result.result().map_err(say("reading an event's time"))?;
        Ok(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nobody else has it. A failure cannot be acted on.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let word = |b: &[u8]| {
        let mut w = [0; 8];
        w[..b.len()].copy_from_slice(b);
        u64::from_ne_bytes(w)
    };
    bytes.chunks(8).map(word).collect()
}
