//! Check of the memory of a run before it begins.

use super::device::DeviceChoice;
use super::error::CliError;
use convscope_kernels::{Device, cuda};
use convscope_models::network::{Param, ShapedNetwork};

/// Kind of a pass, which decides its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassKind {
    /// Values are freed after their last use.
    Inference,
    /// All layers' outputs are kept, for pictures and gradients.
    Recorded,
    /// As `Recorded`; also a gradient, a momentum and a new value per parameter.
    Training,
}

/// Copies of a 3x3 kernel's weight on a device: the weight and its transformed form, with 36 values for each 9.
const PREPARED: usize = 5;
/// Scratch of an operation on a device, in multiples of the largest tensor: Winograd's transforms of input and output have 36
/// values for each 16.
const SCRATCH: usize = 5;

/// Bytes of a pass over `images` images on `device`.
fn need(shaped: &ShapedNetwork, images: usize, pass: PassKind, device: Device) -> usize {
    let network = shaped.network;
    let sizes: Vec<usize> = shaped.shapes.iter().map(|s| s.len()).collect();
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let recorded = sizes.iter().sum::<usize>() + 2 * largest;
    let parameters = network.parameter_count();
    let (an_image, in_all) = match pass {
        PassKind::Inference => (3 * largest, 0),
        PassKind::Recorded => (recorded, 0),
        PassKind::Training => (recorded, 3 * parameters),
    };
    let (an_image, in_all) = match device {
        // Weights are in memory already.
        Device::Cpu => (an_image, in_all),
        Device::Cuda(_) => {
            let there = |p: &Param| if p.shape.ends_with(&[3, 3]) { PREPARED * p.len() } else { p.len() };
            (an_image + SCRATCH * largest, in_all + network.params().iter().map(there).sum::<usize>())
        }
    };
    an_image.saturating_mul(images).saturating_add(in_all).saturating_mul(4)
}

/// Checks that a pass over `images` images fits into memory. Without the check, the host's kernel would kill the program, and a device
/// would fail midway. If `auto` chose a device that is too small, the CPU takes its place.
pub fn check_memory(choice: &mut DeviceChoice, shaped: &ShapedNetwork, images: usize, pass: PassKind) -> Result<(), CliError> {
    let [h, w] = shaped.size;
    loop {
        let device = choice.device;
        let (free, location) = match device {
            Device::Cpu => (system_bytes("/proc/meminfo", "MemAvailable"), String::new()),
            Device::Cuda(_) => (Some(cuda::queue(device)?.free_bytes()?), format!(" on {device}")),
        };
        let need = need(shaped, images, pass, device);
        let Some(free) = free.filter(|free| need > *free) else { return Ok(()) };
        let giga = |bytes: usize| bytes as f64 / 1e9;
        let why = format!(
            "{images} image(s) of {w}x{h} need about {:.1} GB in {}, and {:.1} GB are free{location}",
            giga(need),
            shaped.network.name,
            giga(free)
        );
        match device {
            Device::Cuda(_) if choice.auto => choice.give_up(why),
            Device::Cuda(_) => return Err(CliError::failure(format!("{why}: choose a smaller --size, or --device cpu"))),
            Device::Cpu => return Err(CliError::failure(format!("{why}: choose a smaller --size"))),
        }
    }
}

/// A quantity in a file of lines such as `MemAvailable:   123 kB`, as Linux has them; `None` elsewhere.
pub fn system_bytes(file: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use convscope_models::families;

    /// If the device's memory is too small, `auto` falls back to the CPU with a reason; an explicit device is an error.
    #[test]
    fn a_device_that_is_too_small_is_given_up_under_auto() {
        let Some(device) = convscope_emu::device() else { return };
        let network = families::build("vgg16", None).unwrap();
        let shaped = network.at(32, 32).unwrap();
        let free = cuda::queue(device).unwrap().free_bytes().unwrap();
        let on = |auto| DeviceChoice { device, because: None, auto };
        let mut small = on(true);
        check_memory(&mut small, &shaped, 1, PassKind::Recorded).unwrap();
        assert_eq!((small.device, &small.because), (device, &None), "a small pass fits into {free} bytes");

        // Exceeds the device's memory, not the host's: images of 32x32 take less than 20 MB.
        let images = free / need(&shaped, 1, PassKind::Recorded, Device::Cpu) + 1;
        let e = check_memory(&mut on(false), &shaped, images, PassKind::Recorded).unwrap_err();
        assert!(e.message.contains(&format!("{images} image(s) of 32x32 need about")), "{}", e.message);
        assert!(e.message.ends_with("GB are free on cuda:15: choose a smaller --size, or --device cpu"), "{}", e.message);
        let mut given_up = on(true);
        match check_memory(&mut given_up, &shaped, images, PassKind::Recorded) {
            Ok(()) => assert!(given_up.device == Device::Cpu && given_up.because.is_some_and(|b| b.ends_with("free on cuda:15"))),
            Err(e) => assert!(e.message.ends_with("free: choose a smaller --size"), "the host is as small: {}", e.message),
        }
    }
}
