//! Replays repeated work as CUDA graphs.
//!
//! A forward pass launches a few hundred kernels at some microseconds each; at small batch that is longer than the kernels run. A step of
//! gradient ascent repeats the last one exactly, because the order of allocation is deterministic. So the queue collects launches until a
//! result is read, compares the list with recent ones, and replays the graph on a match. Order and results never change.

use super::driver::{Driver, Work};

/// Lists of work that are remembered. A step of gradient ascent has two.
const MOST: usize = 16;
/// A shorter list of work is not worth a graph.
const LEAST: usize = 4;

/// The most recent lists of work, and their graphs.
#[derive(Default)]
pub(super) struct Graphs {
    /// The most recent list is the last.
    kept: Vec<Kept>,
    /// Graphs launched so far.
    pub replays: u64,
}

struct Kept {
    work: Vec<Work>,
    graph: Graph,
}

enum Graph {
    /// The list came once.
    Wanted,
    /// The id that [`Driver::capture`] returned.
    Made(u64),
    /// The driver cannot capture the list.
    Refused,
}

impl Graphs {
    /// Starts `work`: as a graph if the same list came before, otherwise one by one.
    ///
    /// # Errors
    /// The driver's first failure. The rest of the list is not started.
    ///
    /// # Safety
    /// As [`Work::start`] for each element.
    pub unsafe fn start(&mut self, driver: &dyn Driver, work: Vec<Work>) -> Result<(), String> {
        // SAFETY: the caller's, here and below.
        let each = |work: &[Work]| work.iter().try_for_each(|w| unsafe { w.start(driver) });
        if work.len() < LEAST {
            return each(&work);
        }
        let Some(at) = self.kept.iter().position(|k| k.work == work) else {
            each(&work)?;
            if self.kept.len() == MOST
                && let Graph::Made(graph) = self.kept.remove(0).graph
            {
                // SAFETY: it is not started any more.
                unsafe { driver.forget(graph) };
            }
            self.kept.push(Kept { work, graph: Graph::Wanted });
            return Ok(());
        };
        let mut kept = self.kept.remove(at);
        if let Graph::Wanted = kept.graph {
            // SAFETY: the caller's.
            kept.graph = unsafe { driver.capture(&kept.work) }.map_or(Graph::Refused, Graph::Made);
        }
        let done = match kept.graph {
            Graph::Made(graph) => {
                self.replays += 1;
                // SAFETY: the work is the same, so its memory is that which the caller answers for.
                unsafe { driver.replay(graph) }
            }
            _ => each(&kept.work),
        };
        self.kept.push(kept);
        done
    }
}
