//! `--device` and `--precision`: where to compute, and how exactly on tensor cores.

use super::args::Common;
use super::error::CliError;
use convscope_kernels::{Device, Precision, cuda};

/// Where to compute, and why not on a GPU if `auto` did not take one.
#[derive(Clone, Debug)]
pub struct DeviceChoice {
    pub device: Device,
    pub because: Option<String>,
    /// Whether it may be changed: `auto`.
    pub auto: bool,
}

impl DeviceChoice {
    /// Takes the CPU instead.
    pub fn give_up(&mut self, because: String) {
        (self.device, self.because) = (Device::Cpu, Some(because));
    }

    /// `computed on cuda:0 (NVIDIA H200)`, or `computed on the CPU, because ..`
    pub fn describe(&self) -> String {
        match (&self.because, cuda::queue(self.device)) {
            (Some(reason), _) => format!("computed on the CPU, because {reason}"),
            (None, Ok(queue)) => format!("computed on {} ({})", self.device, queue.name()),
            (None, Err(_)) => "computed on the CPU".to_string(),
        }
    }
}

/// What was typed; a device that cannot be used is an error, except under `auto`.
pub fn choose(common: &Common) -> Result<DeviceChoice, CliError> {
    let text = common.device.as_str();
    let choice = |device, because| Ok(DeviceChoice { device, because, auto: text == "auto" });
    let wanted = match text {
        "cpu" => return choice(Device::Cpu, None),
        "auto" | "cuda" => Device::Cuda(0),
        _ => match text.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
            Some(ordinal) => Device::Cuda(ordinal),
            None => return Err(CliError::usage(format!("--device {text}: expects auto, cpu or cuda:N"))),
        },
    };
    match cuda::queue(wanted) {
        Ok(_) => choice(wanted, None),
        Err(e) if text == "auto" => {
            let reason = match e {
                convscope_kernels::Error::Device { reason, .. } => reason,
                other => other.to_string(),
            };
            choice(Device::Cpu, Some(reason))
        }
        Err(e) => Err(CliError::failure(format!("--device {text}: {e}"))),
    }
}

/// The rounding that was typed.
pub fn precision(common: &Common) -> Result<Precision, CliError> {
    let found = Precision::ALL.into_iter().find(|p| p.to_string() == common.precision);
    let names = || Precision::ALL.map(|p| p.to_string()).join(", ");
    let wrong = || CliError::usage(format!("--precision {}: expects one of {}", common.precision, names()));
    found.ok_or_else(wrong)
}
