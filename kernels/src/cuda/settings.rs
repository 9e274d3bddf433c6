//! Settings of the work that a thread gives to devices. A setting holds for the length of one call, on the thread that makes it, as do
//! forced rows ([`crate::core::table::with_forced`]).

use super::precision::Precision;
use std::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    /// Rounding of the operands of products.
    pub precision: Precision,
    /// Whether [`crate::core::table::Table::run`] waits for each kernel.
    pub waits: bool,
}

thread_local! {
    static CURRENT: Cell<Settings> = const { Cell::new(Settings { precision: Precision::F32, waits: false }) };
}

impl Settings {
    /// Those of this thread.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Runs `f` with these settings. The former ones come back at its end, also where it panics.
    pub fn hold_in<T>(self, f: impl FnOnce() -> T) -> T {
        struct Restore(Settings);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        f()
    }
}

#[cfg(test)]
mod tests {
    use super::super::precision::{allowed, with_precision};
    use super::super::waiting_for_each;
    use super::*;

    #[test]
    fn settings_end_with_their_call_and_concern_no_other_thread() {
        let default = Settings::current();
        let panicked = std::panic::catch_unwind(|| {
            with_precision(Precision::F16, || {
                waiting_for_each(|| {
                    assert_eq!(Settings::current(), Settings { precision: Precision::F16, waits: true });
                    assert_eq!(std::thread::spawn(Settings::current).join().unwrap(), default, "another thread");
                    with_precision(Precision::Bf16, || assert_eq!(allowed(), Precision::Bf16));
                    assert_eq!(allowed(), Precision::F16, "the inner call is over");
                    std::panic::resume_unwind(Box::new("with settings"));
                })
            })
        });
        assert!(panicked.is_err());
        assert_eq!(Settings::current(), default, "after a panic");
    }
}
